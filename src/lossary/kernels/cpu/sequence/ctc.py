"""CTC on the CPU: calls the kernel for value and gradient of every sequence, log-softmax included.

The loops are those of `sequence.ctc_loops`, which is imported only when a kernel is compiled. A thread holds the
lattice of one sequence at a time, so memory does not grow with the batch. Logits may be frames first or batch first:
the gradient has their layout.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from lossary.errors import DomainError
from lossary.kernels.cpu.runtime import memory, threads
from lossary.kernels.cpu.runtime.cache import written_by_hand
from lossary.kernels.cpu.runtime.layouts import dense, in_numbers
from lossary.kernels.cpu.sequence.common import SequenceKernel, dealt, factors, kernel, result
from lossary.kernels.cpu.sequence.ctc_spec import LATTICES, CtcVariant
from lossary.kernels.registry import least
from lossary.kernels.request import Request, Result
from lossary.kernels.thresholds import CTC_ELEMENTS

_DOORS = 3  # states of a lattice that are no label: before the first, the blank at the start, after the last


@cache
def compiled(variant: CtcVariant) -> Callable[..., int]:
    """Return the kernel of a variant as a function of C."""

    def make() -> bytes:
        from lossary.kernels.cpu.sequence import ctc_loops

        return ctc_loops.object_file(variant)

    return kernel("ctc", "lossary.kernels.cpu.sequence.ctc_loops", variant, make, 10)


def measured(
    shape: tuple[int, int, int], symbols: int, steps: Sequence[int], blank: int, gradient: bool
) -> tuple[int, ...]:
    """Return the `sizes` of a batch of sequences, as the kernel takes them.

    `symbols` are the labels in a row of targets. The steps are those of logits and gradient along the first two axes.
    """
    batch, frames, classes = shape
    return (batch, frames, symbols, classes, *steps, blank, int(gradient), symbols + _DOORS)


def scratch(frames: int, classes: int, symbols: int, gradient: bool) -> tuple[int, int]:
    """Return how many doubles, and how many whole numbers, a thread needs for itself."""
    width = symbols + _DOORS
    lattices = LATTICES * width * (2 + (frames + 1 if gradient else 2))
    return 3 * frames + 2 * frames * width + 4 * width + lattices, 2 * width + classes


class BoundCtc:
    """The kernel bound to log-probabilities of one shape, layout and dtype: a call gives addresses and targets."""

    def __init__(self, dtype: str, shape: tuple[int, int, int], steps: tuple[int, int]) -> None:
        self.kernel, self.checked = compiled(CtcVariant(dtype, dtype, False)), checked_targets()
        self.shape, self.steps = shape, steps * 2  # (sequences, frames, classes); of log-probabilities and gradient

    def compute(
        self,
        log_probs: int,
        targets: tuple[int, int, int],
        labels: tuple[int, int],
        blank: int,
        mean: bool,
        factors: int,
        grad: int,
    ) -> tuple[Any, Any]:
        """Fill the gradient, if it has an address, and return the cost and the share in a mean of every sequence.

        `targets` are the addresses of labels, input lengths and target lengths, `labels` how many there are in a row
        (-1: all targets in one row) and in all. The gradient is multiplied by factors at an address, or by the shares.
        Raises `DomainError` if a length or a label is out of range.
        """
        batch, frames, classes = self.shape
        columns, total = labels
        # Both lengths of every sequence, its place in the order, its share in the value, and labels: 8 bytes each.
        checked = np.empty(4 * batch + max(batch * total if columns < 0 else total, 1))
        lengths = checked.ctypes.data
        order, shares, padded = (lengths + 8 * k * batch for k in (2, 3, 4))
        longest = self.checked(batch, frames, classes, columns, total, mean, *targets, lengths, order, shares, padded)
        if longest < 0:
            raise DomainError
        doubles, places = scratch(frames, classes, longest, grad != 0)
        values, own = np.empty(batch), np.empty(doubles + places)
        sizes = measured(self.shape, longest, self.steps, blank, grad != 0)
        counts = (ctypes.c_int64 * len(sizes))(*sizes)
        wide = own.ctypes.data
        written = values.ctypes.data, grad, wide, wide + 8 * doubles, ctypes.addressof(counts)
        self.kernel(log_probs, padded, lengths, factors or shares, order, *written, 0, batch)
        return values, checked[3 * batch : 4 * batch]


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
    factor: (b,) of each sequence's gradient; one with 0 is skipped: its value and gradient are 0.
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
    run_sequences = compiled(CtcVariant(np.dtype(dtype).name, kind.name, softmax))
    workers = max(1, min(count or threads.default_count(), batch))
    order = dealt(lengths[0] * (2 * lengths[1] + 1 + classes), workers)
    written = read if grad is None else in_numbers(grad)
    assert written is not None
    steps = [*read[:2], *written[:2]]
    sizes = np.array(measured((batch, frames, classes), symbols, steps, blank, gradient), np.int64)
    doubles, places = scratch(frames, classes, symbols, gradient)
    arrays = (logits, labels, lengths, factor, order, values, grad)
    addresses = [None if array is None else array.ctypes.data for array in arrays]

    def run(begin: int, end: int) -> int:
        wide, marks = np.empty(doubles), np.empty(places, np.int64)
        return run_sequences(*addresses, wide.ctypes.data, marks.ctypes.data, sizes.ctypes.data, begin, end)

    threads.share(run, batch, workers)
    return values, grad


def _like(logits: Any) -> Any:
    """Return memory for a gradient in the order of the logits: batch first, or frames first."""
    batch, frames, classes = logits.shape
    if batch > 1 and frames > 1 and logits.strides[0] < logits.strides[1]:
        return memory.empty((frames, batch, classes), logits.dtype).transpose(1, 0, 2)
    return memory.empty(logits.shape, logits.dtype)


def _run(call: Any, request: Request) -> Result | None:
    """Compute a call on NumPy arrays, or return None if it is not for this kernel."""
    logits, labels, input_lengths, target_lengths = call.arrays
    dtype = np.dtype(call.dtype)
    if (
        request.orders not in ((), (1,))
        or dtype.name not in ("float32", "float64")
        or logits.size < least(CTC_ELEMENTS)
    ):
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
        factor=factors(request, batch),
        gradient=bool(request.orders),
        count=request.threads,
    )
    return result(values, batch, dtype, request, (grad.reshape(logits.shape),) if grad is not None else ())


_TARGETS = "lossary.kernels.cpu.sequence.targets_loops"


@cache
def checked_targets() -> Callable[..., int]:
    """Return the function that checks labels and lengths, and writes them as the kernel takes them.

    It takes the numbers of sequences, frames and classes, of labels in a row (-1: all targets in one row) and in all,
    and whether the reduction is a mean; the addresses of targets and of both lengths; and those to write to: both
    lengths one after the other, the order of the sequences, the factor of each, and labels, in rows as long as the
    longest. It returns the longest target, or -1 if a length or a label is out of range.
    """

    def make() -> bytes:
        from lossary.kernels.cpu.sequence import targets_loops

        return targets_loops.checked_targets.object_file()

    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_ssize_t] * 6, *[ctypes.c_void_p] * 7)
    found: Callable[..., int] = written_by_hand("checked_targets", _TARGETS, None, make, prototype)
    return found


KERNEL = SequenceKernel(_run)
