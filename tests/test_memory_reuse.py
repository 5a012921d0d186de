"""Memory that is used again: never while anybody can still see it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import threading
import warnings
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.kernels.cpu.runtime import memory
from lossary.kernels.cpu.runtime.memory import Pool
from lossary.kernels.thresholds import POOL_LIMIT_BYTES
from lossary.kernels.thresholds import POOLED_BYTES as LEAST

SHAPE = (LEAST // 4,)


def place(x: Any) -> int:
    return int(x.ctypes.data)


def test_memory_is_used_again_when_its_array_is_gone() -> None:
    pool = Pool(10 * LEAST)
    first = pool.empty(SHAPE, np.float32)
    at = place(first)
    assert at % 64 == 0 and first.flags.writeable and first.flags.c_contiguous
    second = pool.empty(SHAPE, np.float32)
    assert place(second) != at, "the first is still there"
    del first
    third = pool.empty((LEAST // 8,), np.float64)
    assert place(third) == at, "of the same size, whatever its type"
    del third
    other = pool.empty((LEAST // 4 + 1,), np.float32)
    assert place(other) != at, "of another size"


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
    pool = Pool(100 * LEAST)
    array = pool.empty(SHAPE, np.float32)
    at = place(array)
    kept = keep(array)
    del array
    gc.collect()
    others = [pool.empty(SHAPE, np.float32) for _ in range(3)]
    assert at not in map(place, others)
    del kept
    gc.collect()
    assert place(pool.empty(SHAPE, np.float32)) == at


def test_memory_in_a_cycle_is_free_when_the_cycle_is_collected() -> None:
    pool = Pool(10 * LEAST)
    cycle: list[Any] = [pool.empty(SHAPE, np.float32)]
    at = place(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert place(pool.empty(SHAPE, np.float32)) == at


def test_no_more_is_kept_than_the_limit() -> None:
    pool = Pool(3 * LEAST)
    arrays = [pool.empty(SHAPE, np.float32) for _ in range(5)]
    del arrays
    assert sum(block.size for block in pool.free) <= 3 * LEAST and len(pool.free) == 2
    beyond = pool.empty((LEAST,), np.float32)  # larger than the limit: NumPy's own
    assert beyond.flags.owndata
    assert Pool(0).empty(SHAPE, np.float32).flags.owndata
    assert pool.empty((10,), np.float32).flags.owndata


def test_results_are_ordinary_arrays() -> None:
    array = Pool(10 * LEAST).empty((4, LEAST // 4), np.float32)
    array[:] = 1
    assert array.dtype == np.float32 and array.shape == (4, LEAST // 4) and type(array) is np.ndarray
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(array)), array)
    copied = array.copy()
    array += 1
    assert (copied == 1).all() and (array == 2).all()


def test_threads_that_make_and_drop_arrays_never_meet_in_one_block() -> None:
    """Each thread fills its arrays with a number of its own; a shared block would show another's."""
    pool = Pool(6 * LEAST)
    wrong: list[Any] = []
    begin = threading.Barrier(4)

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        held: list[Any] = []
        begin.wait()
        for step in range(400):
            size = int(rng.integers(2)) + SHAPE[0]
            array = pool.empty((size,), np.float32)
            array[::1024] = number * 1000 + step
            held.append((array if rng.random() < 0.5 else array[:], number * 1000 + step))
            if len(held) > 3:
                held.pop(int(rng.integers(len(held))))
            for kept, mark in held:
                if not (kept[::1024] == mark).all():
                    wrong.append((number, step))

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def _in_child(queue: Any, pool: Pool, held: Any) -> None:
    mine = [pool.empty(SHAPE, np.float32) for _ in range(2)]
    for array in mine:
        array[:] = 7
    queue.put(bool((held == 3).all()) and place(held) not in map(place, mine))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_goes_on_with_a_copy_of_its_own() -> None:
    pool = Pool(10 * LEAST)
    pool.empty(SHAPE, np.float32)  # one free block
    held = pool.empty((LEAST // 4,), np.float32)
    held[:] = 3
    del_me = pool.empty(SHAPE, np.float32)
    del del_me
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of a fork while there are threads
        child = context.Process(target=_in_child, args=(queue, pool, held))
        child.start()
    assert queue.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0 and (held == 3).all()


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy"])
def test_gradients_of_successive_calls_share_memory_only_in_turn(name: str) -> None:
    pytest.importorskip("numba", reason="kernels need the fast extra")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1 << 14, 128)).astype(np.float32)
    y = np.zeros(x.shape if name == "huber" else x.shape[:1], np.float32 if name == "huber" else np.int64)
    loss = lossary.get(name)
    memory.POOL.free.clear()
    first = loss.grad(x, y)
    before, at = first.copy(), place(first)
    second = loss.grad(2 * x, y)
    np.testing.assert_array_equal(first, before)
    assert not np.shares_memory(first, second)
    del first
    third = loss.grad(x, y)
    assert place(third) == at and memory.POOL.limit == POOL_LIMIT_BYTES
    np.testing.assert_array_equal(third, before)
