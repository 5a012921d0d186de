"""What may be refused: which cells, by which error, in which words. Any other refusal is a failure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from lossary import errors

from . import tables
from .tables import Cell


@dataclass(frozen=True)
class Rule:
    """A combination that is refused, the error, and what its sentence says."""

    name: str
    applies: Callable[[Cell], bool]
    error: type[Exception]
    sentence: str


RULES = (
    Rule(
        "what is no dense array",
        lambda c: c["layout"] in tables.REFUSED,
        errors.LossaryError,
        "got a (masked array|nested tensor|tensor of layout)",
    ),
    Rule(
        "in place needs an array of the gradient's type, in memory of its own",
        lambda c: c["entry"] == "in place",
        errors.ArgumentError,
        "out.*(shares memory|expected that of the gradient|read-only)",
    ),
)


def rule(cell: Cell, error: Exception) -> str:
    """Return the name of the rule by which a cell may be refused with this error, or nothing."""
    for r in RULES:
        if r.applies(cell) and isinstance(error, r.error) and re.search(r.sentence, str(error)):
            return r.name
    return ""
