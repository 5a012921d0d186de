"""The linear-chain CRF on the CPU: calls the kernel for value and gradients of every sequence.

The loops are those of `sequence.crf_loops`, which is imported only when a kernel is compiled. A thread holds the
lattice of one sequence; the gradients in the transitions are returned for each sequence apart, to be added by the
caller, so that no sum depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from lossary.kernels.cpu.runtime import memory, threads
from lossary.kernels.cpu.runtime.layouts import dense
from lossary.kernels.cpu.sequence.common import SequenceKernel, dealt, factors, kernel, result
from lossary.kernels.registry import least
from lossary.kernels.request import Request, Result
from lossary.kernels.thresholds import CRF_ELEMENTS, CRF_MOST_PAIRS


@cache
def _compiled(stored: str) -> Callable[..., int]:
    """Return the kernel for emissions of a type as a function of C."""

    def make() -> bytes:
        from lossary.kernels.cpu.sequence import crf_loops

        return crf_loops.object_file(stored)

    return kernel("crf", "lossary.kernels.cpu.sequence.crf_loops", stored, make, 11)


def _run(call: Any, request: Request) -> Result | None:
    """Compute a call on NumPy arrays, or return None if it is not for this kernel."""
    emissions, transitions, tags, lengths = call.arrays
    dtype, batch = np.dtype(call.dtype), call.batch
    steps, classes = emissions.shape[-2:]
    rows = int(np.prod(batch))
    if (
        request.orders not in ((), (1,))
        or dtype.name not in ("float32", "float64")
        or emissions.size < least(CRF_ELEMENTS)
    ):
        return None
    # Emissions of one sequence repeated, or moves for each sequence; those of all are one matrix seen many times.
    if (
        call.given[0].ndim != len(batch) + 2
        or call.given[1].ndim != 2
        or rows * classes * classes > CRF_MOST_PAIRS
        or not rows
    ):
        return None
    call.check_values()
    tags = np.broadcast_to(tags[..., 0], (*batch, steps)).reshape(rows, steps)
    lengths = np.broadcast_to(lengths[..., 0, 0], batch).reshape(rows)
    known = ((tags >= 0) & (tags < classes)) | (np.arange(steps) >= lengths[:, None])
    if not (known.all() and ((lengths >= 0) & (lengths <= steps)).all()):  # not checked: the definition's
        return None
    moves = transitions[(0,) * len(batch)].astype(np.float64)
    ends = [np.zeros(classes) if call.params[name] is None else call.params[name] for name in ("start", "end")]
    if not (moves < np.inf).all():  # NaN or infinity spoils every sequence in its own way
        return None
    tops = moves.max(axis=1, initial=-np.inf)
    tops[tops == -np.inf] = 0.0
    flat = [moves, np.exp(moves - tops[:, None]), tops, *(np.broadcast_to(end, classes) for end in ends)]
    scores = np.concatenate([np.ravel(part) for part in flat]).astype(np.float64, copy=False)
    factor = factors(request, batch)
    emissions, tags = dense(emissions), dense(tags, np.int64)
    lengths, values = dense(lengths, np.int64), np.zeros(rows)
    grad = memory.empty(emissions.shape, dtype) if request.orders else None
    pairs = np.empty((rows, classes, classes)) if request.orders else None
    run_sequences = _compiled(dtype.name)
    workers = max(1, min(request.threads or threads.default_count(), rows))
    arrays = (emissions, tags, lengths, factor, dealt(lengths, workers), scores, values, grad, pairs)
    addresses = [None if array is None else array.ctypes.data for array in arrays]
    sizes = np.array((steps, classes, len(request.orders)), np.int64)

    def run(begin: int, end: int) -> int:
        wide = np.empty((4 * steps + 5) * classes)
        return run_sequences(*addresses, wide.ctypes.data, sizes.ctypes.data, begin, end)

    threads.share(run, rows, workers)
    derivatives = () if grad is None or pairs is None else (grad, pairs.reshape(*batch, classes, classes))
    return result(values, batch, dtype, request, derivatives)


KERNEL = SequenceKernel(_run)
