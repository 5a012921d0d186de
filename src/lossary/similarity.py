"""Moved to `lossary.pairs`."""

from lossary.pairs.coupling import *  # noqa: F403
