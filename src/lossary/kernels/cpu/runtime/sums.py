"""Deterministic sum of the partial sums of blocks: one after the other, whichever thread has computed them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from lossary.kernels.cpu.runtime.cache import written_by_hand

_LOOPS = "lossary.kernels.cpu.runtime.sums_loops"


@cache
def block_sums() -> Callable[[int, int, int, int], int]:
    """Return the function of a table's address, its rows and columns, and the address of two numbers to be written."""

    def make() -> bytes:
        from lossary.kernels.cpu.runtime import sums_loops

        return sums_loops.block_sums.object_file()

    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, *[ctypes.c_ssize_t] * 2, ctypes.c_void_p)
    found: Callable[[int, int, int, int], int] = written_by_hand("block_sums", _LOOPS, None, make, prototype)
    return found


def total(partial: Any) -> float:
    """Return the sum of the first column of an array of float64 in C order, or of its numbers if there is one only."""
    found = (ctypes.c_double * 2)()
    rows = len(partial)
    block_sums()(partial.ctypes.data, rows, partial.size // rows if rows else 1, ctypes.addressof(found))
    return found[0]
