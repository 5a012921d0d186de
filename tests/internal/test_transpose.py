"""Small tables turned into their transposes by compiled code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import types

from lossary.kernels.cpu import transpose
from lossary.kernels.cpu.runtime import compile as compiling
from lossary.kernels.cpu.runtime import objects


@cache
def compiled(dtype: str) -> Callable[..., int]:
    def run(source, at, step, rows, columns, out, out_at, out_step):
        transpose.turned(source, at, step, rows, columns, out, out_at, out_step)
        return types.int32(0)

    whole, pointer = types.intp, types.CPointer(getattr(types, dtype))
    signature = types.int32(pointer, whole, whole, whole, whole, pointer, whole, whole)
    address = objects.load(compiling.object_file(run, signature))
    size = ctypes.c_ssize_t
    return ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, *[size] * 4, ctypes.c_void_p, *[size] * 2)(address)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 21, 64])
def test_a_table_is_turned_and_nothing_beside_it_is_touched(dtype: str, columns: int) -> None:
    turn = compiled(dtype)
    for rows in [*range(1, 20), 31, 32, 63, 64]:
        x = np.arange(rows * (columns + 3), dtype=dtype).reshape(rows, columns + 3)
        out = np.full((columns, rows + 2), -1, dtype)
        turn(x.ctypes.data, 1, columns + 3, rows, columns, out.ctypes.data, 1, rows + 2)
        np.testing.assert_array_equal(out[:, 1:-1], x[:, 1 : columns + 1].T)
        assert (out[:, 0] == -1).all()
        assert (out[:, -1] == -1).all()


def test_rows_that_are_one_and_the_same_are_repeated() -> None:
    x, out = np.arange(9.0), np.zeros((9, 12))
    compiled("float64")(x.ctypes.data, 0, 0, 12, 9, out.ctypes.data, 0, 12)
    np.testing.assert_array_equal(out, np.broadcast_to(x[:, None], (9, 12)))
