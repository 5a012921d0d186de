"""Runs a generated kernel over the blocks of a call, in threads, and adds the partial sums of the blocks in order."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from lossary.kernels.cpu.runtime import sums, threads
from lossary.kernels.thresholds import FEW_SUMS


class Workspace:
    """Memory that one call at a time works in: scratch for the kernel, and the partial sums of each block."""

    # Those that no call uses at the moment, by their sizes.
    _free: ClassVar[dict[tuple[int, int], list[Workspace]]] = {}

    def __init__(self, scratch: int, sums: int = 0) -> None:
        held: Any = np.empty(8 * (2 + sums) + scratch, np.uint8)
        self.totals_at = held.ctypes.data
        sums_at = self.totals_at + 8 * 2
        self.scratch_at = sums_at + 8 * sums
        self.ends = (self.scratch_at, sums_at) if scratch else (sums_at,)
        self.numbers = (ctypes.c_double * (2 + sums)).from_buffer(held)  # two totals, and the sums

    @classmethod
    def free(cls, scratch: int, sums: int = 0) -> list[Workspace]:
        """Return the free ones of a size, to take from and to give back to."""
        return cls._free.setdefault((scratch, sums), [])


class Blocks:
    """A compiled function with the number of its blocks.

    The function takes the first block and the one after the last, what `run` is given, the address of `scratch` bytes
    if it needs any, and that of the partial sums, of which each block has one or two (`fields`). It returns whether a
    value was out of domain. With `keep`, workspaces are kept for the next run.
    """

    def __init__(self, function: Callable[..., int], parts: int, fields: int, scratch: int, keep: bool) -> None:
        self.function, self.parts, self.fields, self.scratch = function, parts, fields, scratch
        self.few = 0 < parts <= FEW_SUMS
        self.later = range(2 + fields, 2 + fields * parts, fields)
        self.added = sums.block_sums()
        self.free: list[Workspace] = Workspace.free(scratch, fields * parts) if keep else []

    def run(self, given: tuple[Any, ...], spread: int) -> tuple[float, float, int]:
        """Run all blocks; return what the first and the last partial sums add up to, and whether a value is wrong."""
        try:
            workspace = self.free.pop()
        except IndexError:
            workspace = Workspace(self.scratch, self.fields * self.parts)
        if spread > 1:
            wrong = self._shared(given, workspace, spread)
        else:
            wrong = self.function(0, self.parts, *given, *workspace.ends)
        numbers, fields = workspace.numbers, self.fields
        if self.few:  # as `added` does it, without another call
            total, count = numbers[2], numbers[1 + fields]
            for at in self.later:
                total += numbers[at]
                count += numbers[at + fields - 1]
        else:
            self.added(workspace.ends[-1], self.parts, fields, workspace.totals_at)
            total, count = numbers[0], numbers[1]
        self.free.append(workspace)
        return total, count, wrong

    def _shared(self, given: tuple[Any, ...], workspace: Workspace, spread: int) -> int:
        """Run all blocks in several threads, each with scratch memory of its own."""
        sums_at, free = workspace.ends[-1], Workspace.free(self.scratch)

        def some(first: int, last: int) -> int:
            try:
                own = free.pop()
            except IndexError:
                own = Workspace(self.scratch)
            wrong = self.function(first, last, *given, *own.ends[:-1], sums_at)
            free.append(own)
            return wrong

        return threads.share(some, self.parts, spread)
