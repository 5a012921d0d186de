"""Moved to `lossary.toolkit.negative_sampling`."""

from lossary.toolkit.negative_sampling import *  # noqa: F403
from lossary.toolkit.negative_sampling import __all__ as __all__
