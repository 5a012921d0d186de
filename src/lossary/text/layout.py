"""Layout of text in a terminal: columns of numbers and words, where a Chinese character takes two."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def width(text: str) -> int:
    """Return how many columns of a terminal a text takes: a Chinese character takes two, an accent none.

    >>> width("residual"), width("残差")
    (8, 4)
    """
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return one line of text per row: the first column flush left, numbers flush right.

    >>> aligned([("loss", "mean"), ("huber", "0.5")])
    ['loss   mean', 'huber   0.5']
    """
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]

    def padded(at: int, cell: str) -> str:
        gap = " " * (widths[at] - width(cell))
        return gap + cell if at else cell + gap

    return ["  ".join(padded(at, cell) for at, cell in enumerate(row)).rstrip() for row in rows]
