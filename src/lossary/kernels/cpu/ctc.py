"""Connectionist temporal classification on the CPU: value and gradient of every sequence, log-softmax included.

Here is what is asked of the kernel and where its memory lies; the loops are those of `lossary.kernels.cpu.ctc_loops`,
which is imported only when a kernel is compiled. A thread holds the lattice of one sequence at a time, so memory does
not grow with the batch. Logits may be frames first or batch first: the gradient has their layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lossary.kernels.cpu import memory, threads
from lossary.kernels.cpu.sequences import dealt, factors, kernel, outcome
from lossary.kernels.table import Outcome, Wanted, least

LATTICES = 4  # numbers per state and frame: mantissa and power, of a blank and of a label
PIECE = 1024  # classes whose exponentials are added before the sum goes on in double precision
LEAST = 256  # entries of logits from which the kernel is used


@dataclass(frozen=True)
class Variant:
    """What a compiled kernel can do."""

    number: str  # the type to compute exponentials in; all else is double precision
    stored: str  # that of logits and their gradient: the same, uint16 (bfloat16) or int16 (float16)
    softmax: bool  # whether the scores are logits


@cache
def _compiled(variant: Variant) -> Callable[..., int]:
    """Return the kernel of a variant as a function of C."""

    def make() -> bytes:
        from lossary.kernels.cpu import ctc_loops

        return ctc_loops.object_file(variant)

    return kernel("ctc", ("ctc_loops.py", "row_loops.py"), (variant, LATTICES, PIECE), make, 10)


def sequences(
    logits: Any,
    labels: Any,
    input_lengths: Any,
    target_lengths: Any,
    *,
    blank: int,
    softmax: bool,
    dtype: Any,
    factor: Any,
    gradient: bool,
    count: int = 0,
) -> tuple[Any, Any]:
    """Return the values of sequences, in double precision, and the gradient in the logits, or None.

    Parameters
    ----------
    logits: (b, t, c) in float32, float64, float16, or in bfloat16 held as uint16; any layout.
    labels: (b, s) classes; lengths: (b,), within the array.
    dtype: the type to compute exponentials in.
    factor: (b,) of each sequence's gradient; one with 0 is not looked at: its value and gradient are 0.
    count: threads; 0 leaves it to the kernel.
    """
    size = logits.dtype.itemsize
    if (logits.shape[-1] > 1 and logits.strides[-1] != size) or any(s < 0 or s % size for s in logits.strides):
        logits = np.ascontiguousarray(logits)
    batch, frames, classes = logits.shape
    symbols = int(target_lengths.max()) if batch else 0
    labels = np.ascontiguousarray(labels[:, :symbols], np.int64)
    lengths = np.array((input_lengths, target_lengths), np.int64)
    factor = np.ascontiguousarray(factor, np.float64)
    values = np.zeros(batch)
    grad = _like(logits) if gradient else None
    if logits.size == 0:
        impossible = lengths[1] > 0
        return np.where(impossible & (factor != 0), np.inf, 0.0), grad
    kind = np.dtype(np.int16) if logits.dtype == np.float16 else logits.dtype
    run_sequences = _compiled(Variant(np.dtype(dtype).name, kind.name, softmax))
    workers = max(1, min(count or threads.default_count(), batch))
    order = dealt(lengths[0] * (2 * lengths[1] + 1 + classes), workers)
    width = symbols + 3
    steps = [step // size for array in (logits, logits if grad is None else grad) for step in array.strides[:2]]
    sizes = np.array((batch, frames, symbols, classes, *steps, blank, gradient, width), np.int64)
    room = 3 * frames + 2 * frames * width + 4 * width + LATTICES * width * (2 + (frames + 1 if gradient else 2))
    arrays = (logits, labels, lengths, factor, order, values, grad)
    addresses = [None if array is None else array.ctypes.data for array in arrays]

    def run(begin: int, end: int) -> int:
        wide, marks = np.empty(room), np.empty(2 * width + classes, np.int64)
        return run_sequences(*addresses, wide.ctypes.data, marks.ctypes.data, sizes.ctypes.data, begin, end)

    threads.share(run, batch, workers)
    return values, grad


def _like(logits: Any) -> Any:
    """Return memory for a gradient in the order of the logits: batch first, or frames first."""
    batch, frames, classes = logits.shape
    if batch > 1 and frames > 1 and logits.strides[0] < logits.strides[1]:
        return memory.empty((frames, batch, classes), logits.dtype).transpose(1, 0, 2)
    return memory.empty(logits.shape, logits.dtype)


def evaluate(call: Any, wanted: Wanted) -> Outcome | None:
    """Compute a call on NumPy arrays, or return None if it is not for this kernel."""
    logits, labels, input_lengths, target_lengths = call.arrays
    dtype = np.dtype(call.dtype)
    if wanted.order > 1 or dtype.name not in ("float32", "float64") or logits.size < least(LEAST):
        return None
    given = call.given[0]
    if given.ndim != len(call.batch) + 2:  # one sequence repeated over the batch: its gradients add up
        return None
    if isinstance(given, np.ndarray) and given.dtype == np.float16 and dtype == np.float32:
        logits = given  # widened in registers
    call.check_values()
    batch, (frames, classes), symbols = call.batch, logits.shape[-2:], labels.shape[-2]
    rows = int(np.prod(batch))
    labels = np.broadcast_to(labels[..., 0], (*batch, symbols)).reshape(rows, symbols)
    lengths = [np.broadcast_to(x[..., 0, 0], batch).reshape(rows) for x in (input_lengths, target_lengths)]
    known = ((labels >= 0) & (labels < classes)) | (np.arange(symbols) >= lengths[1][:, None])
    fits = (lengths[0] >= 0) & (lengths[0] <= frames) & (lengths[1] >= 0) & (lengths[1] <= symbols)
    if not (known.all() and fits.all()):  # not checked: the definition may make of it what it will
        return None
    values, grad = sequences(
        logits.reshape(rows, frames, classes),
        labels,
        *lengths,
        blank=call.params["blank"],
        softmax=call.params["from_logits"],
        dtype=dtype,
        factor=factors(wanted, batch),
        gradient=wanted.order == 1,
        count=wanted.threads,
    )
    return outcome(values, batch, dtype, wanted, (grad.reshape(logits.shape),) if grad is not None else ())
