"""How rows lie in memory: one after the other, or with their entries far apart, as the classes of images do."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.kernels.cpu import memory

LEAST_LANES = 16  # rows side by side that repay going through an array across its rows: a register of float32


@dataclass(frozen=True)
class Layout:
    """How rows lie in memory: an array (outer, entries, inner) and the step of each axis, in numbers."""

    outer: int
    inner: int
    steps: tuple[int, int, int]
    split: int  # how many axes of the batch are outer ones
    span: int  # numbers from the first to the last

    def alike(self, other: Layout) -> bool:
        """Whether two arrays are gone through in one order."""
        return (self.outer, self.inner, self.split) == (other.outer, other.inner, other.split)

    def copied(self, array: Any) -> Any:
        """Return a copy of an array that is gone through in this order."""
        if self.steps[1] == 1:
            return np.ascontiguousarray(array)
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, self.split)), self.split, -1)

    def room(self, shape: tuple[int, ...], dtype: Any, given: Any = None) -> tuple[Any, tuple[int, int, int]]:
        """Return room for results of rows in the order of memory that these have, and its steps.

        It is that of the array given, if that is of this order.
        """
        *batch, entries = shape
        along = self.steps[1] == 1 or entries == 1
        split = len(batch) if along else self.split
        steps = (0, 1, entries) if along else (entries * self.inner, self.inner, 1)
        fits = given is not None and given.dtype == dtype and given.shape == shape
        dense = np.moveaxis(given, -1, split) if fits else None
        if dense is None or not dense.flags.c_contiguous or not dense.flags.aligned:
            given = np.moveaxis(memory.empty((*batch[:split], entries, *batch[split:]), dtype), split, -1)
        return given, steps


def _collapsed(shape: Sequence[int], strides: Sequence[int]) -> int | None:
    """Return the step with which several axes can be walked as one, or None."""
    walked = [(n, step) for n, step in zip(shape, strides, strict=True) if n != 1]
    for (_, step), (n, inner) in itertools.pairwise(walked):
        if step != n * inner:
            return None
    return walked[-1][1] if walked else 0


def layout(array: Any) -> Layout | None:
    """Return how the rows of an array lie in memory, a row on the last axis; None if it must be copied first."""
    size = array.dtype.itemsize
    if any(step < 0 or step % size for step in array.strides) or not array.flags.aligned or not array.dtype.isnative:
        return None
    *batch, entries = array.shape
    *steps, entry_step = (step // size for step in array.strides)
    if array.size == 0:
        return None
    span = 1 + sum((n - 1) * step for n, step in zip(array.shape, (*steps, entry_step), strict=True))
    if entry_step == 1 or entries == 1:
        step = _collapsed(batch, steps)
        return None if step is None else Layout(1, math.prod(batch), (0, 1, step), 0, span)
    # Entries are not innermost: as many trailing axes of the batch as possible are walked side by side.
    split = len(batch)
    while split and _collapsed(batch[split - 1 :], steps[split - 1 :]) in (0, 1):
        split -= 1
    inner, step = math.prod(batch[split:]), _collapsed(batch[:split], steps[:split])
    if step is None or inner < LEAST_LANES:
        return None
    return Layout(math.prod(batch[:split]), inner, (step, entry_step, 1), split, span)
