"""Connectionist temporal classification on the CPU: value and gradient of every sequence, log-softmax included.

Here is what is asked of the kernel and where its memory lies; the loops are those of `sequence.ctc_loops`,
which is imported only when a kernel is compiled. A thread holds the lattice of one sequence at a time, so memory does
not grow with the batch. Logits may be frames first or batch first: the gradient has their layout.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lossary.kernels.cpu.runtime import cache as store
from lossary.kernels.cpu.runtime import memory, threads
from lossary.kernels.cpu.runtime.cache import COMPILING
from lossary.kernels.cpu.runtime.layouts import dense, in_numbers
from lossary.kernels.cpu.sequence.common import dealt, factors, kernel, outcome
from lossary.kernels.table import Outcome, Wanted, least

LATTICES = 4  # numbers per state and frame: mantissa and power, of a blank and of a label
PIECE = 1024  # classes whose exponentials are added before the sum goes on in double precision
_DOORS = 3  # states of a lattice that are no label: before the first, the blank at the start, after the last
LEAST = 256  # entries of logits from which the kernel is used


@dataclass(frozen=True)
class Variant:
    """What a compiled kernel can do."""

    number: str  # the type to compute exponentials in; all else is double precision
    stored: str  # that of logits and their gradient: the same, uint16 (bfloat16) or int16 (float16)
    softmax: bool  # whether the scores are logits


@cache
def compiled(variant: Variant) -> Callable[..., int]:
    """Return the kernel of a variant as a function of C."""

    def make() -> bytes:
        from lossary.kernels.cpu.sequence import ctc_loops

        return ctc_loops.object_file(variant)

    return kernel("ctc", ("sequence/ctc_loops.py", "softmax/loops.py"), (variant, LATTICES, PIECE), make, 10)


def measured(
    shape: tuple[int, int, int], symbols: int, steps: Sequence[int], blank: int, gradient: bool
) -> tuple[int, ...]:
    """Return what the kernel is told of a batch of sequences, of frames and of classes.

    `symbols` are the labels in a row of targets. The steps are those of logits and gradient along the first two axes.
    """
    batch, frames, classes = shape
    return (batch, frames, symbols, classes, *steps, blank, int(gradient), symbols + _DOORS)


def scratch(frames: int, classes: int, symbols: int, gradient: bool) -> tuple[int, int]:
    """Return how many doubles, and how many whole numbers, a thread needs for itself."""
    width = symbols + _DOORS
    lattices = LATTICES * width * (2 + (frames + 1 if gradient else 2))
    return 3 * frames + 2 * frames * width + 4 * width + lattices, 2 * width + classes


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
    read = in_numbers(logits)
    if read is None or (logits.shape[-1] > 1 and read[-1] != 1):
        logits = dense(logits)
        read = in_numbers(logits)
        assert read is not None
    batch, frames, classes = logits.shape
    symbols = int(target_lengths.max()) if batch else 0
    labels = dense(labels[:, :symbols], np.int64)
    lengths = np.array((input_lengths, target_lengths), np.int64)
    factor = dense(factor, np.float64)
    values = np.zeros(batch)
    grad = _like(logits) if gradient else None
    if logits.size == 0:
        impossible = lengths[1] > 0
        return np.where(impossible & (factor != 0), np.inf, 0.0), grad
    kind = np.dtype(np.int16) if logits.dtype == np.float16 else logits.dtype
    run_sequences = compiled(Variant(np.dtype(dtype).name, kind.name, softmax))
    workers = max(1, min(count or threads.default_count(), batch))
    order = dealt(lengths[0] * (2 * lengths[1] + 1 + classes), workers)
    written = read if grad is None else in_numbers(grad)
    assert written is not None
    steps = [*read[:2], *written[:2]]
    sizes = np.array(measured((batch, frames, classes), symbols, steps, blank, gradient), np.int64)
    room, places = scratch(frames, classes, symbols, gradient)
    arrays = (logits, labels, lengths, factor, order, values, grad)
    addresses = [None if array is None else array.ctypes.data for array in arrays]

    def run(begin: int, end: int) -> int:
        wide, marks = np.empty(room), np.empty(places, np.int64)
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


# What a small call is told of its labels and lengths, before anything is read from where they point.
_SURVEY = '''"""The longest target of a batch, -1 if a length or a label is out of range; what the kernel is given."""

from numba import types
from lossary.kernels.cpu.runtime.compile import entry
from lossary.kernels.cpu.math import load, store

I, P, W = types.intp, types.CPointer(types.intp), types.CPointer(types.float64)


@entry(types.int64(I, I, I, I, I, I, P, P, P, P, P, W, P))
def run(batch, frames, classes, columns, total, mean, targets, frames_at, lengths_at, lengths, order, shares, labels):
    longest, spoken, wrong = 0, 0, False
    most = total if columns < 0 else columns
    for n in range(batch):
        here, goal = load(frames_at, n), load(lengths_at, n)
        wrong |= here < 0 or here > frames or goal < 0 or goal > most
        longest = max(longest, goal)
        spoken += goal
        store(lengths, n, here)
        store(lengths, batch + n, goal)
        store(order, n, n)
        store(shares, n, 1.0 / (max(goal, 1) * batch) if mean else 1.0)
    if wrong or (columns < 0 and spoken != total):
        return -1
    start = 0
    for n in range(batch):
        goal = load(lengths, batch + n)
        for j in range(goal):
            label = load(targets, start + j)
            wrong |= label < 0 or label >= classes
            store(labels, n * longest + j, label)
        start += goal if columns < 0 else columns
    return -1 if wrong else longest
'''


@cache
def survey() -> Callable[..., int]:
    """Return the function that looks at labels and lengths, and writes them down as the kernel takes them.

    It takes the numbers of sequences, frames and classes, of labels in a row (-1: all targets in one) and in all, and
    whether a mean is wanted; the addresses of targets and of both lengths; and those to write to: both lengths one
    after the other, the order of the sequences, by what each is multiplied, and labels, in rows as long as the longest.
    """
    with COMPILING:
        made = store.module("ctc_survey", _SURVEY)
        return ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_ssize_t] * 6, *[ctypes.c_void_p] * 7)(made.run.address)
