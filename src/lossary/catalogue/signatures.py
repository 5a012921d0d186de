"""Signatures of losses: the core dimensions of one example, in the notation of NumPy's generalised ufuncs.

``"(c),()->()"`` is a row of `c` numbers and a single number, giving one number. Alternatives are separated by ``|``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property

Core = tuple[str, ...]


@dataclass(frozen=True)
class Signature:
    """The core dimensions of each array of one example; the value has none.

    >>> parse_signatures("(c),()->()")[0].inputs
    (('c',), ())
    """

    inputs: tuple[Core, ...]

    @cached_property
    def rank(self) -> int:
        """Number of core dimensions of the largest argument: 0 for a pointwise loss, 1 for a loss on rows."""
        return max(len(core) for core in self.inputs)

    def __str__(self) -> str:
        return ",".join(f"({','.join(core)})" for core in self.inputs) + "->()"


def dimension(label: str) -> tuple[str, int]:
    """Read a dimension that is written by another: ``"s+1"`` is one longer than s.

    >>> dimension("s"), dimension("s+1")
    (('s', 0), ('s', 1))
    """
    base, _, more = label.partition("+")
    return base, int(more or 0)


@cache
def parse_signatures(text: str) -> tuple[Signature, ...]:
    """Read ``"(c),()->() | (c),(c)->()"`` into one `Signature` per alternative."""
    alternatives = []
    for part in text.split("|"):
        left, arrow, right = part.strip().partition("->")
        if not arrow or right.strip() != "()":
            raise ValueError(f"signature {part.strip()!r} must end in '->()': a loss gives one value per example")
        cores = re.findall(r"\(([^)]*)\)", left)
        alternatives.append(Signature(tuple(tuple(d.strip() for d in core.split(",") if d.strip()) for core in cores)))
    if len({len(s.inputs) for s in alternatives}) != 1:
        raise ValueError(f"the alternatives of signature {text!r} must take the same number of arrays")
    return tuple(alternatives)


def shape_in_words(core: Core, batched: bool = True) -> str:
    """Return the shape of an array as documents write it: N stands for any number of leading dimensions.

    >>> shape_in_words(()), shape_in_words(("c",)), shape_in_words(("b", "d"), batched=False)
    ('(N,)', '(N, C)', '(B, D)')
    """
    sizes = ["N"] * batched + [label.upper().replace("+", " + ") for label in core]
    return f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"
