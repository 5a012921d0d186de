"""Compare losses on a data set: train the same model with each, score held-out rows, say which is better."""

from lossary.compare.candidates import Candidate, read_loss
from lossary.compare.comparison import Comparison
from lossary.compare.heads import Head, head_for, suitable
from lossary.compare.results import VALIDATION, Difference, Results, Row, Settings, Table
from lossary.compare.run import compare
from lossary.compare.verdict import footnotes, table_cells

__all__ = [
    "VALIDATION",
    "Candidate",
    "Comparison",
    "Difference",
    "Head",
    "Results",
    "Row",
    "Settings",
    "Table",
    "compare",
    "footnotes",
    "head_for",
    "read_loss",
    "suitable",
    "table_cells",
]
