"""Moved to `lossary.toolkit.preference`."""

from lossary.toolkit.preference import *  # noqa: F403
from lossary.toolkit.preference import __all__ as __all__
