"""Moved to `lossary.toolkit.padded_sequences`."""

from lossary.toolkit.padded_sequences import *  # noqa: F403
from lossary.toolkit.padded_sequences import __all__ as __all__
