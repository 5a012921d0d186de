"""What host and loops of the CTC kernel share: what a compiled kernel depends on, and the layout of its lattices."""

from __future__ import annotations

from dataclasses import dataclass

LATTICES = 4  # numbers per state and frame: mantissa and power, of a blank and of a label


@dataclass(frozen=True)
class CtcVariant:
    """What a compiled kernel can do."""

    number: str  # the type to compute exponentials in; all else is double precision
    stored: str  # that of logits and their gradient: the same, uint16 (bfloat16) or int16 (float16)
    softmax: bool  # whether the scores are logits
