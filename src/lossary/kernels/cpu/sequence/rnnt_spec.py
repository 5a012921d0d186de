"""What host and loops of the transducer kernel share: what a compiled kernel depends on, and its lattice."""

from __future__ import annotations

from dataclasses import dataclass

KEPT = 5  # numbers for each place of a lattice


@dataclass(frozen=True)
class RnntVariant:
    """What a compiled kernel can do."""

    number: str  # the type to compute exponentials in; the lattice is double precision
    stored: str  # that of logits and their gradient: the same, or int16 (float16)
