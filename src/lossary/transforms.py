"""Moved to `lossary.evaluate.transforms`."""

from lossary.evaluate.transforms import *  # noqa: F403
