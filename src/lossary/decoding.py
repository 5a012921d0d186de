"""Moved to `lossary.toolkit.decoding`."""

from lossary.toolkit.decoding import *  # noqa: F403
from lossary.toolkit.decoding import __all__ as __all__
