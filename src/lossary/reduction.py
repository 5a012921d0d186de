"""Moved to `lossary.evaluate.reduction`."""

from lossary.evaluate.reduction import *  # noqa: F403
