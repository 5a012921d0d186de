"""The RNN transducer on the CPU: calls the kernel for value and gradient of every sequence, log-softmax included.

The loops are those of `sequence.rnnt_loops`, which is imported only when a kernel is compiled. Nothing of the size of
the logits is made but their gradient: a thread holds the lattice of one sequence, a few numbers for each place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from lossary.kernels.cpu.runtime import memory, threads
from lossary.kernels.cpu.runtime.layouts import dense
from lossary.kernels.cpu.sequence.common import SequenceKernel, dealt, factors, kernel, result
from lossary.kernels.cpu.sequence.rnnt_spec import KEPT, RnntVariant
from lossary.kernels.registry import least
from lossary.kernels.request import Request, Result
from lossary.kernels.thresholds import RNNT_ELEMENTS


@cache
def _compiled(variant: RnntVariant) -> Callable[..., int]:
    """Return the kernel of a variant as a function of C."""

    def make() -> bytes:
        from lossary.kernels.cpu.sequence import rnnt_loops

        return rnnt_loops.object_file(variant)

    return kernel("rnnt", "lossary.kernels.cpu.sequence.rnnt_loops", variant, make, 9)


def _run(call: Any, request: Request) -> Result | None:
    """Compute a call on NumPy arrays, or return None if it is not for this kernel."""
    logits, labels, input_lengths, target_lengths = call.arrays
    dtype = np.dtype(call.dtype)
    if (
        request.orders not in ((), (1,))
        or dtype.name not in ("float32", "float64")
        or logits.size < least(RNNT_ELEMENTS)
    ):
        return None
    given = call.given[0]
    if given.ndim != len(call.batch) + 3:  # one sequence repeated over the batch: its gradients add up
        return None
    if isinstance(given, np.ndarray) and given.dtype == np.float16 and dtype == np.float32:
        logits = given  # widened in registers
    call.check_values()
    batch, (frames, places, classes) = call.batch, logits.shape[-3:]
    rows = int(np.prod(batch))
    labels = np.broadcast_to(labels[..., 0, 0], (*batch, places - 1)).reshape(rows, places - 1)
    lengths = np.array([np.broadcast_to(x[..., 0, 0, 0], batch).reshape(rows) for x in (input_lengths, target_lengths)])
    inside = np.arange(places - 1) < lengths[1][:, None]
    known = ((labels >= 0) & (labels < classes) & (labels != call.params["blank"])) | ~inside
    fits = (lengths >= 0) & (lengths <= np.array([[frames], [places - 1]]))
    if not (known.all() and fits.all()):  # not checked, and the definition may make of it what it will
        return None
    factor = factors(request, batch)
    logits, labels, lengths = dense(logits), dense(labels, np.int64), dense(lengths, np.int64)
    values, grad = np.zeros(rows), memory.empty(logits.shape, logits.dtype) if request.orders else None
    kind = np.dtype(np.int16) if logits.dtype == np.float16 else logits.dtype
    run_sequences = _compiled(RnntVariant(dtype.name, kind.name))
    workers = max(1, min(request.threads or threads.default_count(), rows))
    order = dealt(lengths[0] * (lengths[1] + 1), workers)
    sizes = np.array((rows, frames, places, classes, call.params["blank"], len(request.orders)), np.int64)
    arrays = (logits, labels, lengths, factor, order, values, grad)
    addresses = [None if array is None else array.ctypes.data for array in arrays]

    def run(begin: int, end: int) -> int:
        wide = np.empty(places * (1 + KEPT * frames))
        return run_sequences(*addresses, wide.ctypes.data, sizes.ctypes.data, begin, end)

    threads.share(run, rows, workers)
    return result(values, batch, dtype, request, () if grad is None else (grad,))


KERNEL = SequenceKernel(_run)
