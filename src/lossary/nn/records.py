"""Moved to `lossary.nn.from_catalogue`: pickled modules name this path."""

from lossary.nn.from_catalogue import ClassifierLoss as ClassifierLoss
from lossary.nn.from_catalogue import RecordLoss as RecordLoss
