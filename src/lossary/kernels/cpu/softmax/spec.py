"""What host and loops of the softmax kernel share: a loss in the kernel's terms, and what a compiled kernel can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

LIKELIHOOD, FOCAL, POLY, POWER = 0, 1, 2, 3  # functions of the label's log-probability

# Numbers that the loops hold for each row: in the type of the values, and sums over the classes in double precision.
FIELDS, SUMS = 21, 7
STRIP_ROOM = 3  # numbers held for each of their classes

# The whole numbers of a call, by their places in `sizes`: first how long each of the eleven arrays is, 0 if absent.
CLASSES_AT, INNER_AT, WIDTH_AT = 11, 12, 13  # classes; rows side by side in memory; rows of a tile
LOGIT_STEPS, TARGET_STEPS, GRAD_STEPS = 14, 17, 20  # three each, along (outer, classes, inner), in numbers
WEIGHTED_AT = 23  # 1 if each row has a weight of its own, 0 if all have the one there is


@dataclass(frozen=True)
class SoftmaxSpec:
    """A loss of the softmax family in the kernel's terms.

    `kind` is the function of the label's log-probability and `parameter` its number. Logits are capped, multiplied by
    `scale`, and `shift` is added, one number per class. `margin` changes the label's score: cosine and sine of an
    angle, the cosine from which it applies, and what is subtracted elsewhere. A label out of range costs nothing.
    """

    kind: int = LIKELIHOOD
    parameter: float = 0.0
    class_weight: Any = None
    shift: Any = None
    smoothing: float = 0.0
    scale: float = 1.0
    soft_cap: float = 0.0
    z_loss: float = 0.0
    margin: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class SoftmaxVariant:
    """What a compiled kernel can do; what else may differ from call to call are numbers and absent arrays."""

    number: str  # the type to compute in
    stored: str  # that of logits and their gradient: the same, uint16 (bfloat16) or int16 (float16)
    soft: str  # that of soft targets, likewise
    tiled: bool  # rows side by side
    costs: bool  # every class has a cost: soft targets, smoothing
    capped: bool
    kind: int
    margin: bool
    further: bool  # more results than value and gradient
