"""Pool of memory for large results, reused once no array lives on it.

The first touch of fresh memory costs the operating system more than a kernel's whole pass over it. So a large result
is laid into memory of an earlier one that has been garbage-collected with all its views, if there is some of its size.
Nothing else changes for whoever holds a result: it is theirs alone for as long as any array, tensor or buffer on it
lives.

Free memory is kept up to `POOL_LIMIT_BYTES`, what was freed first given back first; ``LOSSARY_POOL`` sets another limit
in MiB, and 0 keeps none.
"""

from __future__ import annotations

import math
import os
from collections import deque
from typing import Any

import numpy as np

from lossary.kernels.thresholds import POOL_LIMIT_BYTES, POOLED_BYTES

_ALIGNED = 64  # to the beginning of a line of the cache


class Pool:
    """Free blocks of memory.

    There is no lock: a block leaves and enters a deque in a single step of the interpreter. So threads may call at
    once, a result may be collected at any moment, also in the midst of a call, and the child of a fork goes on with a
    copy of its own.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.free: deque[Any] = deque()

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an array in C order whose entries may be anything, as `numpy.empty` does."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if not POOLED_BYTES <= size <= self.limit:
            return np.empty(shape, dtype)
        block = self._taken(size + _ALIGNED)
        if block is None:
            block = np.empty(size + _ALIGNED, np.uint8)
        return np.asarray(_Lease(self, block, size)).view(dtype).reshape(shape)

    def _taken(self, size: int) -> Any:
        """Return a free block of exactly this size, or None. It has left the deque: nobody else can have it."""
        for _ in range(len(self.free)):
            try:
                block = self.free.popleft()
            except IndexError:  # another thread has just taken the last one
                return None
            if block.size == size:
                return block
            self.free.append(block)
        return None

    def give_back(self, block: Any) -> None:
        """Keep a block for later, and let go of the oldest ones beyond the limit."""
        self.free.append(block)
        try:
            while sum(held.size for held in self.free.copy()) > self.limit:
                self.free.popleft()
        except IndexError:  # another thread has just taken the last one
            pass


class _Lease:
    """A block while an array lives on it: NumPy keeps this as what the array's memory belongs to."""

    __slots__ = ("__array_interface__", "block", "pool")

    def __init__(self, pool: Pool, block: Any, size: int) -> None:
        self.pool, self.block = pool, block
        at = block.ctypes.data
        place = (at + -at % _ALIGNED, False)
        self.__array_interface__ = {"data": place, "shape": (size,), "typestr": "|u1", "version": 3}

    def __del__(self) -> None:
        self.pool.give_back(self.block)


def _limit() -> int:
    given = os.environ.get("LOSSARY_POOL", "")
    return int(given) << 20 if given.isdecimal() else POOL_LIMIT_BYTES


POOL = Pool(_limit())
empty = POOL.empty
