"""Thread pool that shares out the blocks of a kernel.

They are Python threads: compiled code holds no lock, and starting a share costs some tens of microseconds. In exchange
the pool may be used by several threads at once, survives a fork (the child starts its own), and does not depend on
an OpenMP runtime, which allows neither. A share is a range of blocks whose bounds do not enter any result.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_pool: ThreadPoolExecutor | None = None


def _forget() -> None:
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def default_count() -> int:
    """How many threads to use: ``NUMBA_NUM_THREADS`` if set, else the processors this process may run on."""
    given = os.environ.get("NUMBA_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share(run: Callable[[int, int], int], blocks: int, count: int) -> int:
    """Call ``run(first, last)`` on ranges that cover all blocks, and return the `or` of what it returns."""
    count = max(1, min(count, blocks))
    if count == 1:
        return run(0, blocks)
    bounds = [blocks * k // count for k in range(count + 1)]
    pool = _executor()
    try:
        others = [pool.submit(run, bounds[k], bounds[k + 1]) for k in range(1, count)]
    except RuntimeError:  # the interpreter is shutting down and starts no threads any more
        return run(0, blocks)
    found = run(bounds[0], bounds[1])
    for other in others:
        found |= other.result()
    return found


def _executor() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="lossary")
    return _pool
