"""Multi-label losses on lists of class indices ended by -1, instead of multi-hot rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lossary.errors import DomainError
from lossary.kernels.cpu import labels
from lossary.kernels.cpu.blocks import Workspace
from lossary.kernels.request import BoundKernel


class BoundClassLists:
    """A kernel for class counts, bound to lists of class indices that -1 ends instead of one row of counts each."""

    def __init__(self, counted: BoundKernel, argument: int, shape: tuple[int, int], dtype: str) -> None:
        self.kernel, self.inputs, self.shared = counted, counted.inputs, counted.shared
        self.at, self.shape = counted.inputs.index(argument), shape
        self.class_counts = labels.class_counts(dtype)
        self.scratch = math.prod(shape) * np.dtype(dtype).itemsize
        self.free = Workspace.free(self.scratch)

    def compute(
        self, addresses: Sequence[int], denominator: float | None = None, spread: int = 1
    ) -> tuple[float, float]:
        """Count the classes in each list, and fill the outputs."""
        try:
            workspace = self.free.pop()
        except IndexError:
            workspace = Workspace(self.scratch)
        given = list(addresses)
        given[self.at] = workspace.scratch_at
        if self.class_counts(*self.shape, addresses[self.at], workspace.scratch_at):
            raise DomainError
        done = self.kernel.compute(given, denominator, spread)
        self.free.append(workspace)
        return done
