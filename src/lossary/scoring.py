"""Moved to `lossary.compare.metrics`."""

from lossary.compare.metrics import *
