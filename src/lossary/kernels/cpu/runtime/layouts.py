"""Layouts of rows in memory: contiguous, or with strided entries, as the classes of images have."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.kernels.cpu.runtime import memory
from lossary.kernels.thresholds import LEAST_LANES


@dataclass(frozen=True)
class Layout:
    """How rows lie in memory: an array (outer, entries, inner) and the step of each axis, in numbers."""

    outer: int
    inner: int
    steps: tuple[int, int, int]
    split: int  # how many axes of the batch are outer ones
    span: int  # numbers from the first to the last

    def alike(self, other: Layout) -> bool:
        """Whether two arrays are gone through in one order, and the same axis of both is the innermost."""
        own, others = ((x.outer, x.inner, x.split, x.steps[1] == 1) for x in (self, other))
        return own == others

    def steps_of(self, array: Any) -> tuple[int, int, int] | None:
        """Return the steps of another array with the same batch in this order; None if it must be copied first."""
        return _steps(array, self.split)

    def copied(self, array: Any) -> Any:
        """Return a copy of an array that is gone through in this order."""
        if self.steps[1] == 1:
            return dense(array)
        return np.moveaxis(dense(np.moveaxis(array, -1, self.split)), self.split, -1)

    def output(self, shape: tuple[int, ...], dtype: Any, given: Any = None) -> tuple[Any, tuple[int, int, int]]:
        """Return an array for results of rows in the order of memory that these have, and its steps.

        It is that of the array given, if that is of this order.
        """
        *batch, entries = shape
        along = self.steps[1] == 1
        split = len(batch) if along else self.split
        steps = (0, 1, entries) if along else (entries * self.inner, self.inner, 1)
        fits = given is not None and given.dtype == dtype and given.shape == shape
        turned = np.moveaxis(given, -1, split) if fits else None
        if turned is None or not turned.flags.c_contiguous or not turned.flags.aligned:
            given = np.moveaxis(memory.empty((*batch[:split], entries, *batch[split:]), dtype), split, -1)
        return given, steps


def dense(array: Any, dtype: Any = None) -> Any:
    """Return an array in C order, aligned and in the byte order of this machine; a copy only if it is not so already.

    `numpy.ascontiguousarray` leaves memory as it is whose address is no multiple of the size of a number.
    """
    return np.require(array, array.dtype.newbyteorder("=") if dtype is None else dtype, ("C", "A"))


def in_numbers(array: Any) -> tuple[int, ...] | None:
    """Return the steps of an array counted in numbers, not in bytes; None if a kernel cannot read its memory.

    An axis of length 1 is never walked along: whatever its stride is, its step is given as 0.
    """
    size = array.dtype.itemsize
    strides = [stride if n > 1 else 0 for n, stride in zip(array.shape, array.strides, strict=True)]
    if not array.flags.aligned or not array.dtype.isnative or any(s < 0 or s % size for s in strides):
        return None
    return tuple(stride // size for stride in strides)


def _collapsed(shape: Sequence[int], steps: Sequence[int]) -> int | None:
    """Return the step with which several axes can be walked as one, or None; 0 says that all its places are one.

    Where no axis is longer than 1 there is nothing to walk, and any step is right: it is 1.
    """
    walked = [(n, step) for n, step in zip(shape, steps, strict=True) if n != 1]
    for (_, step), (n, inner) in itertools.pairwise(walked):
        if step != n * inner:
            return None
    return walked[-1][1] if walked else 1


def _steps(array: Any, split: int) -> tuple[int, int, int] | None:
    """Return the steps of an array seen as (outer, entries, inner), the batch cut in two; None if it cannot be."""
    found = in_numbers(array)
    if found is None:
        return None
    *batch, entries = array.shape
    *steps, entry = found
    outer, inner = _collapsed(batch[:split], steps[:split]), _collapsed(batch[split:], steps[split:])
    return None if outer is None or inner is None else (outer, entry if entries > 1 else 1, inner)


def layout(array: Any) -> Layout | None:
    """Return how the rows of an array lie in memory, a row on the last axis; None if it must be copied first."""
    found = in_numbers(array)
    if found is None or array.size == 0:
        return None
    *batch, entries = array.shape
    *steps, entry = found
    span = 1 + sum((n - 1) * step for n, step in zip(array.shape, found, strict=True))
    if entry == 1 or entries == 1:
        row = _collapsed(batch, steps)
        return None if row is None else Layout(1, math.prod(batch), (0, 1, row), 0, span)
    # Entries are not innermost: as many trailing axes of the batch as possible are walked side by side.
    split = len(batch)
    while split and _collapsed(batch[split - 1 :], steps[split - 1 :]) == 1:
        split -= 1
    inner, outer = math.prod(batch[split:]), _collapsed(batch[:split], steps[:split])
    if outer is None or inner < LEAST_LANES:
        return None
    return Layout(math.prod(batch[:split]), inner, (outer, entry, 1), split, span)
