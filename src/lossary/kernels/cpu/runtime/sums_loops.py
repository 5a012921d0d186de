"""The loop that adds partial sums, in the compiler's Python: imported only to compile it."""

from __future__ import annotations

from typing import Any

from numba import types

from lossary.kernels.cpu.math import load, pointer_to, store
from lossary.kernels.cpu.runtime.compile import entry

_NUMBERS = pointer_to(types.float64)


@entry(types.int32(_NUMBERS, types.intp, types.intp, _NUMBERS))
def block_sums(table: Any, rows: int, columns: int, out: Any) -> Any:
    """Write the sums of the first and of the last column of a table of float64, added row by row."""
    first, last = 0.0, 0.0
    for i in range(rows):
        first += load(table, i * columns)
        last += load(table, i * columns + columns - 1)
    store(out, 0, first)
    store(out, 1, last)
    return types.int32(0)
