"""What the pieces of a call add up to: one after the other, so that it does not matter who has computed them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

from lossary.kernels.cpu.runtime import cache as store
from lossary.kernels.cpu.runtime.cache import COMPILING

_ADDED = '''"""The sums of the first and of the last column of a table of float64."""

from numba import types
from lossary.kernels.cpu.runtime.compile import entry
from lossary.kernels.cpu.math import load, store


@entry(types.int32(types.CPointer(types.float64), types.intp, types.intp, types.CPointer(types.float64)))
def run(table, rows, columns, out):
    first, last = 0.0, 0.0
    for i in range(rows):
        first += load(table, i * columns)
        last += load(table, i * columns + columns - 1)
    store(out, 0, first)
    store(out, 1, last)
    return types.int32(0)
'''


@cache
def added() -> Callable[[int, int, int, int], int]:
    """Return the function of a table's address, its rows and columns, and the address of two numbers to be written."""
    with COMPILING:
        made = store.module("totals", _ADDED)
        return ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, *[ctypes.c_ssize_t] * 2, ctypes.c_void_p)(
            made.run.address
        )


def total(sums: Any) -> float:
    """Return the sum of the first column of an array of float64 in C order, or of its numbers if there is one only."""
    found = (ctypes.c_double * 2)()
    rows = len(sums)
    added()(sums.ctypes.data, rows, sums.size // rows if rows else 1, ctypes.addressof(found))
    return found[0]
