"""What a landscape holds: the slices of several losses, and how each bends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_FAR = 0.1  # a step, in shares of the span, over which bending is taken


@dataclass(frozen=True, eq=False)
class Slice:
    """The landscape of one loss: `values[i, j]` is the mean loss at step i of the first and j of the second direction.

    `trained` is the mean loss of the trained network, which is in the middle.
    """

    label: str
    loss: str
    values: Array
    trained: float
    epochs: int
    steps: Array

    @property
    def bending(self) -> tuple[float, float]:
        """How the loss bends up along the two directions: its second difference at the middle, over the step squared.

        The unit is the rise of the loss over the slice, so that losses of different sizes can be compared; the step is
        a tenth of the slice, for a network of ReLUs is bent in edges alone.
        """
        middle = len(self.values) // 2
        reach = max(1, round(_FAR * len(self.values)))
        step = reach * float(self.steps[middle + 1])
        with np.errstate(all="ignore"):
            first, second = (
                (v[middle - reach] - 2 * v[middle] + v[middle + reach]) / self.rise / step**2
                for v in (self.values[:, middle], self.values[middle])
            )
        return float(first), float(second)

    @property
    def rise(self) -> float:
        """How far the loss rises within the slice: from the trained network to the highest finite point."""
        known = self.values[np.isfinite(self.values)]
        return float(known.max() - self.trained) or math.nan


@dataclass(frozen=True, eq=False)
class Landscapes:
    """The slices of several losses, with the same data, network, seed and random directions."""

    data: str
    rows: int
    model: str
    span: float
    seed: int
    steps: Array
    slices: tuple[Slice, ...]
    command: str
