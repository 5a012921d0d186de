"""Moved to `lossary.compare.tables`, `lossary.compare.folds` and `lossary.compare.stress`."""

from lossary.compare.tables import *
