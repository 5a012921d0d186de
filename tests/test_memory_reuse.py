"""Memory of large results that is used again: never while anybody can still see it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import warnings
from typing import Any

import numpy as np
import pytest

import lossary

pytest.importorskip("numba", reason="results of kernels are laid into such memory")

LEAST = 1 << 20  # entries of float32 from which memory is kept: four megabytes


def gradient(count: int = LEAST, fill: float = 0.25) -> Any:
    """A large gradient of which every entry is one number."""
    return lossary.squared_error.grad(np.full(count, fill / 2, np.float32), np.zeros(count, np.float32))


def address(x: Any) -> int:
    return int(x.ctypes.data)


def test_memory_is_used_again_when_its_array_is_gone() -> None:
    first = gradient()
    at = address(first)
    assert at % 64 == 0 and first.flags.writeable and first.flags.c_contiguous
    second = gradient()
    assert address(second) != at, "the first is still there"
    del first
    third = lossary.squared_error.grad(np.ones(LEAST // 2), np.zeros(LEAST // 2))
    assert address(third) == at, "of the same size, whatever its type"
    del third
    assert address(gradient(LEAST + 1)) != at, "of another size"


@pytest.mark.parametrize(
    "keep",
    [
        lambda x: x[5:6],
        lambda x: x.reshape(4, -1)[1].T,
        lambda x: x.view(np.int32)[::-1],
        lambda x: memoryview(x)[3:4],
        lambda x: np.asarray(memoryview(x)),
        lambda x: np.lib.stride_tricks.as_strided(x, (2,), (4,)),
        lambda x: np.from_dlpack(x),
        lambda x: (x for _ in (1,)),
        lambda x: np.broadcast_to(x, (3, *x.shape)),
        lambda x: np.frombuffer(x, np.uint8),
        lambda x: pytest.importorskip("torch").from_numpy(x)[2:3],
        lambda x: pytest.importorskip("torch").from_numpy(x).numpy(),
    ],
)
def test_memory_that_anything_can_still_see_is_not_handed_out(keep: Any) -> None:
    count = LEAST + 64  # a size of its own, of which no earlier test has left memory
    array = gradient(count)
    at = address(array)
    kept = keep(array)
    del array
    gc.collect()
    others = [gradient(count) for _ in range(3)]
    assert at not in map(address, others)
    del kept
    gc.collect()
    assert address(gradient(count)) == at


def test_memory_in_a_cycle_is_free_when_the_cycle_is_collected() -> None:
    cycle: list[Any] = [gradient(LEAST + 128)]
    at = address(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert address(gradient(LEAST + 128)) == at


LIMITED = """
import numpy as np, lossary
def gradients(sizes):
    return [lossary.squared_error.grad(np.ones(n, np.float32), np.zeros(n, np.float32)) for n in sizes]
def kept(limit_in_arrays):
    held = gradients([1 << 20] * 5)
    before = {x.ctypes.data for x in held}
    del held
    return sum(x.ctypes.data in before for x in gradients([1 << 20] * 5))
# The C library may give an address again as well; memory of the pool begins at a cache line, its own does not.
aligned = [x.ctypes.data % 64 == 0 for x in gradients([1 << 20, 4 << 20, 10])]
print(*map(int, aligned))
"""


@pytest.mark.parametrize(("limit", "pooled"), [("12", [True, False, False]), ("0", [False] * 3), ("", [True] * 2)])
def test_no_more_is_kept_than_the_limit(limit: str, pooled: list[bool]) -> None:
    """``LOSSARY_POOL`` is in MiB: beyond it, and for small results, memory is NumPy's own."""
    environment = {**os.environ, "LOSSARY_POOL": limit}
    script = """
import numpy as np, lossary
for n in (1 << 20, 4 << 20, 10):
    grad = lossary.squared_error.grad(np.ones(n, np.float32), np.zeros(n, np.float32))
    while isinstance(grad.base, np.ndarray):
        grad = grad.base
    print(int(grad.base is not None))
held = [lossary.squared_error.grad(np.ones(1 << 20, np.float32), np.zeros(1 << 20, np.float32)) for _ in range(5)]
"""
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert [line == "1" for line in run.stdout.split()][: len(pooled)] == pooled
