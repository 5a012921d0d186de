"""Moved to `lossary.compare`: `tables`, `folds` and `stress`."""

from lossary.compare.folds import Scaling, Split, hold_out, sample, splits
from lossary.compare.stress import Stress
from lossary.compare.tables import BUNDLED, CLASS_TASKS, TASKS, Dataset, counted, load

__all__ = [
    "BUNDLED",
    "CLASS_TASKS",
    "TASKS",
    "Dataset",
    "Scaling",
    "Split",
    "Stress",
    "counted",
    "hold_out",
    "load",
    "sample",
    "splits",
]
