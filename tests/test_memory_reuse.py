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


def gradient(count: int = LEAST, fill: float = 1.0) -> Any:
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


KEPT = """
import numpy as np, lossary
from pathlib import Path

def resident():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

x, y = np.ones(1 << 20, np.float32), np.zeros(1 << 20, np.float32)
lossary.squared_error.grad(x[: 1 << 19], y[: 1 << 19])
before = resident()
held = [lossary.squared_error.grad(x, y) for _ in range(10)]
assert resident() - before > 39
del held
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much is resident")
@pytest.mark.parametrize(("limit", "least", "most"), [("", 39, 46), ("9", 7, 11), ("3", 0, 3), ("0", 0, 3)])
def test_no_more_is_kept_than_the_limit(limit: str, least: float, most: float) -> None:
    """``LOSSARY_POOL`` is in MiB, an array takes four, and none is kept that is larger than the limit."""
    quiet = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "LOSSARY_KERNELS": ""}
    environment = {**os.environ, **quiet, "LOSSARY_POOL": limit}
    run = subprocess.run([sys.executable, "-c", KEPT], env=environment, capture_output=True, text=True, check=True)
    assert least <= float(run.stdout) <= most


def test_results_are_ordinary_arrays() -> None:
    array = lossary.squared_error.grad(np.ones((4, LEAST // 4), np.float32), np.zeros((4, LEAST // 4), np.float32))
    assert array.dtype == np.float32 and array.shape == (4, LEAST // 4) and type(array) is np.ndarray
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)), array)
    copied = array.copy()
    array += 1
    assert (copied == 2).all() and (array == 3).all()


def test_threads_that_make_and_drop_results_never_meet_in_one_block() -> None:
    """Each thread asks for gradients that are a number of its own; a shared block would show another's."""
    wrong: list[Any] = []
    begin = threading.Barrier(4)

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        held: list[Any] = []
        begin.wait()
        for step in range(60):
            mark = number * 1000 + step
            array = gradient(LEAST + 256 + int(rng.integers(2)), mark)
            held.append((array if rng.random() < 0.5 else array[:], mark))
            if len(held) > 3:
                held.pop(int(rng.integers(len(held))))
            wrong.extend((number, step) for kept, fill in held if not (kept[::1024] == fill).all())

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def _in_child(queue: Any, held: Any) -> None:
    mine = [gradient(fill=7) for _ in range(2)]
    queue.put(bool((held == 3).all()) and address(held) not in map(address, mine))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_goes_on_with_a_copy_of_its_own() -> None:
    held, free = gradient(fill=3), gradient(fill=5)
    del free
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of a fork while there are threads
        child = context.Process(target=_in_child, args=(queue, held))
        child.start()
    assert queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0 and (held == 3).all()


@pytest.mark.parametrize(("name", "columns"), [("huber", 130), ("softmax_cross_entropy", 131)])
def test_gradients_of_successive_calls_share_memory_only_in_turn(name: str, columns: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1 << 14, columns)).astype(np.float32)
    y = np.zeros(x.shape if name == "huber" else x.shape[:1], np.float32 if name == "huber" else np.int64)
    loss = lossary.get(name)
    first = loss.grad(x, y)
    before, at = first.copy(), address(first)
    second = loss.grad(2 * x, y)
    np.testing.assert_array_equal(first, before)
    assert not np.shares_memory(first, second)
    del first
    third = loss.grad(x, y)
    assert address(third) == at
    np.testing.assert_array_equal(third, before)
