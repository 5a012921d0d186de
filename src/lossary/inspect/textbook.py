"""The textbook form of quantities that a definition computes in a form that loses no digits.

A worked computation shows the route that a teacher writes; how the number is really computed is a note beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lossary.inspect.tracing import Step


@dataclass(frozen=True)
class _Route:
    """Textbook expressions in order; the steps they make needless; what is said of the form that is computed."""

    expressions: dict[str, str]
    needless: frozenset[str]
    note: str


_ROUTES = (
    _Route(
        {"total": "sum(exponentials)", "log_total": "log(total)"},
        frozenset({"is_top", "tops", "others", "beyond"}),
        "log_total is computed as log1p(total - 1), with the largest terms, each exactly 1, counted apart from the"
        " others: small terms are not lost beside them.",
    ),
)


def textbook(steps: Sequence[Step]) -> tuple[list[Step], list[str]]:
    """Return steps in the form a teacher writes, and the notes on how they are computed."""
    shown: list[Step] = []
    notes: dict[str, None] = {}
    for step in steps:
        inner, found = textbook(step.steps)
        notes |= dict.fromkeys(found)
        shown.append(replace(step, steps=tuple(inner)) if step.steps else step)
    for route in _ROUTES:
        named = {step.name: step for step in shown}
        if not named.keys() >= {*route.expressions, *route.needless}:
            continue
        at = min(number for number, step in enumerate(shown) if step.name in route.expressions)
        before = [s for s in shown[:at] if s.name not in route.needless]
        after = [s for s in shown[at:] if s.name not in route.needless and s.name not in route.expressions]
        shown = [*before, *(replace(named[n], expression=text) for n, text in route.expressions.items()), *after]
        notes[route.note] = None
    return shown, list(notes)
