"""What a rule is: a record, from which the documents, ``--list``, ``--explain`` and the tests are derived."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

FAMILIES = {
    "LOS1": "What the prediction means",
    "LOS2": "What the target means",
    "LOS3": "Reductions and means",
    "LOS4": "Training loops",
    "LOS5": "Formulas written by hand",
    "LOS6": "Names and arguments",
    "LOS9": "Files",
}

Position = tuple[int, int]  # line from 1, character from 0


@dataclass(frozen=True)
class Edit:
    """Replace the text from one position to another."""

    start: Position
    end: Position
    text: str


@dataclass(frozen=True)
class Fix:
    """Edits that mend a finding. `safe`: they change no number, or only to what the code plainly says it wants."""

    message: str
    edits: tuple[Edit, ...]
    safe: bool = True


@dataclass(frozen=True)
class Problem:
    """What a rule has found: where, what, and what to do instead."""

    node: ast.AST
    message: str
    help: str = ""
    fix: Fix | None = None


# A rule is asked about an event (a loss called, a formula written, a loop closed) and answers with problems.
Check = Callable[[Any], Iterable[Problem]]


@dataclass(frozen=True)
class Rule:
    """One rule: its code, its reason, and examples that the tests run."""

    code: str
    name: str
    on: tuple[str, ...]
    check: Check
    summary: str
    reason: str
    numbers: str
    wrong: str
    right: str
    near: tuple[str, ...] = ()
    default: bool = True
    fixable: bool = False

    @property
    def family(self) -> str:
        """The title of the rule's family."""
        return FAMILIES[self.code[:4]]


RULES: dict[str, Rule] = {}


def rule(code: str, name: str, *, on: str | tuple[str, ...], **facts: Any) -> Callable[[Check], Check]:
    """Enter a check among the rules; the docstring of the check is the reason.

    `on` names the events the rule is asked about; see `lossary.lint.events`.
    """

    def enter(check: Check) -> Check:
        if code in RULES or any(known.name == name for known in RULES.values()):
            raise ValueError(f"rule {code} ({name}) is there already")
        if code[:4] not in FAMILIES:
            raise ValueError(f"rule {code}: no such family; known: {', '.join(FAMILIES)}")
        summary, _, reason = " ".join((check.__doc__ or "").split("\n\n")[0].split()), "", (check.__doc__ or "")
        reason = " ".join(reason.partition("\n\n")[2].split())
        events = (on,) if isinstance(on, str) else on
        RULES[code] = Rule(code, name, events, check, summary, reason, **facts)
        return check

    return enter


@dataclass(frozen=True, order=True)
class Finding:
    """A problem with its place: `line` and `column` from 1, in the file or in the cell of a notebook."""

    path: str
    cell: int
    line: int
    column: int
    code: str
    message: str
    end_line: int = 0
    end_column: int = 0
    help: str = ""
    fix: Fix | None = None  # its edits count lines and characters of the code that was read
    source: tuple[str, ...] = ()  # the lines from `line` to `end_line`, at most a few
    file_line: int = 0  # the line of the file itself; of a notebook, the line of its JSON
    file_end_line: int = 0

    @property
    def rule(self) -> Rule:
        """The record of the rule that was broken."""
        return RULES[self.code]
