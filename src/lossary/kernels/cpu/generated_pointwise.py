"""Pointwise losses on the CPU: finds and calls the generated kernel that computes values, sums and derivatives.

A kernel makes one pass over fixed blocks of elements (`pointwise_source`); the sums of blocks are added in their order,
so a result does not depend on the number of threads. Arrays that are contiguous and of the computing type, or in half
precision, which is widened in registers, are read and written where they are; others (strided, broadcast, integers)
pass through a small buffer that stays in the cache.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lossary.catalogue import Loss
from lossary.kernels.cpu.pointwise_source import PointwiseVariant, write
from lossary.kernels.cpu.runtime import cache as machine_code
from lossary.kernels.cpu.runtime import memory, sums, threads
from lossary.kernels.cpu.runtime.cache import COMPILING
from lossary.kernels.cpu.sizes import BLOCK
from lossary.kernels.ir import trace
from lossary.kernels.ir.graph import Graph, Regions, UnsupportedError
from lossary.kernels.table import HALVES, Outcome, Wanted, least
from lossary.kernels.thresholds import BUFFERED_BLOCKS, POINTWISE_ELEMENTS, SHARED_ELEMENTS

TYPES = {"float32": ctypes.c_float, "float64": ctypes.c_double}


# --- one generated kernel -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PointwiseKernel:
    """A kernel ready to be called: its C function and the meaning of the function's arguments."""

    function: Callable[..., int]
    arguments: tuple[str, ...]
    uniforms: Callable[..., tuple[float, ...]]
    uniform_names: tuple[str, ...]


@cache
def _graph(loss: Loss, static: tuple[tuple[str, Any], ...], uniform: tuple[str, ...], regions: Regions) -> Graph | None:
    try:
        return trace.graph_of(loss, dict(static), uniform, regions)
    except UnsupportedError:
        return None


@cache
def _compile(variant: PointwiseVariant) -> PointwiseKernel | None:
    with COMPILING:
        try:
            source, program = write(variant)
        except UnsupportedError:
            return None
        made = machine_code.module(variant.loss.name, source)
        floating = TYPES[variant.dtype]
        outputs = (variant.value == "each") + (len(variant.loss.wrt) if variant.order else 0)
        pointers = len(program.arguments) + variant.weighted + outputs
        scalars = len(program.uniforms) + (variant.order > 0)
        prototype = ctypes.CFUNCTYPE(
            ctypes.c_int32,
            *[ctypes.c_ssize_t] * 3,
            *[ctypes.c_void_p] * pointers,
            *[floating] * scalars,
            ctypes.c_void_p,
        )
        function = prototype(made.run.address)
        function.owner = made  # type: ignore[attr-defined]  # the code lives as long as its module
        return PointwiseKernel(function, program.arguments, made.uniforms, variant.uniform)


# --- a call ---------------------------------------------------------------------------------------------------------


def evaluate(call: Any, wanted: Wanted) -> Outcome | None:
    """Compute a call on NumPy arrays, or return None if it is not for a kernel."""
    if call.signature.rank or math.prod(call.batch) < least(POINTWISE_ELEMENTS):
        return None
    if any(x.ndim < len(call.batch) for name, x in _named(call.loss, call.given) if name in call.loss.wrt):
        return None  # one example repeated over the batch: its shares add up
    arrays = dict(_named(call.loss, call.arrays))
    numbers = {}
    for name, value in call.params.items():
        if isinstance(value, np.ndarray):
            arrays[name] = value
        else:
            numbers[name] = value
    computed = compute(call.loss, arrays, numbers, call.batch, np.dtype(call.dtype), wanted, call.check, call.out)
    if computed is None:
        return None
    outcome, suspect = computed
    if suspect:
        call.check_values()
    return outcome


def _named(loss: Loss, arrays: Sequence[Any]) -> Iterable[tuple[str, Any]]:
    return zip(loss.arguments, arrays, strict=True)


def compute(
    loss: Loss,
    arrays: Mapping[str, Any],
    numbers: Mapping[str, Any],
    batch: tuple[int, ...],
    dtype: Any,
    wanted: Wanted,
    check: bool,
    room: Sequence[Any] = (),
) -> tuple[Outcome, int] | None:
    """Return the results asked for, and whether a value lies outside its domain; None if there is no kernel.

    `arrays` are those of the loss and the parameters that differ from example to example; `numbers` are the others.
    Under float32 those of the loss may be in half precision, and their derivatives then are too (`table.HALVES`).
    Derivatives are written to the output buffers `room` where these have the layout in which the kernel writes.
    """
    narrow = tuple((name, HALVES[x.dtype].name) for name, x in arrays.items() if _held(x, dtype) != dtype)
    compiled = find(loss, numbers, arrays, dtype.name, wanted, check, narrow)
    return None if compiled is None else _run(compiled, loss, arrays, numbers, batch, dtype, wanted, room)


def find(
    loss: Loss,
    numbers: Mapping[str, Any],
    arrays: Iterable[str],
    dtype: str,
    wanted: Wanted,
    check: bool,
    narrow: tuple[tuple[str, str], ...] = (),
) -> PointwiseKernel | None:
    """Return the kernel that computes a request for a loss under its parameters, or None if there is none.

    `narrow` are the arrays in half precision, by name, and how they are held.
    """
    if dtype not in TYPES or not loss.kernel:
        return None
    loss = loss.unbound
    free = tuple(name for name in numbers if _is_number(numbers[name]))
    fixed = tuple((name, value) for name, value in numbers.items() if name not in free)
    regions = trace.regions_of(loss, numbers, free)
    uniform, regions = trace.settled(_graph(loss, fixed, free, regions), numbers, free, regions)
    static = tuple((name, value) for name, value in numbers.items() if name not in uniform)
    extra = tuple(name for name in arrays if name not in loss.arguments)
    weighted = wanted.weights is not None
    return _compile(
        PointwiseVariant(
            loss, dtype, static, uniform, extra, wanted.order, wanted.value, weighted, check, narrow, regions
        )
    )


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def _run(
    compiled: PointwiseKernel,
    loss: Loss,
    arrays: Mapping[str, Any],
    numbers: Mapping[str, Any],
    batch: tuple[int, ...],
    dtype: Any,
    wanted: Wanted,
    room: Sequence[Any],
) -> tuple[Outcome, int]:
    length = math.prod(batch)
    inputs = [arrays[name] for name in compiled.arguments]
    if wanted.weights is not None:
        inputs.append(wanted.weights.astype(dtype, copy=False))
    # Axes in the order of memory, so that arrays in Fortran order are read as they lie.
    axes = _axes(inputs, len(batch))
    shape = tuple(batch[a] for a in axes)
    sources = [_Source(x, shape, axes, dtype) for x in inputs]
    outputs = [memory.empty(shape, dtype)] if wanted.value == "each" else []
    if wanted.order:
        derivatives = zip(room or [None] * len(loss.wrt), loss.wrt, strict=True)
        outputs += [_place(x, shape, axes, _held(arrays[name], dtype)) for x, name in derivatives]
    blocks = -(-length // BLOCK)
    block_sums = np.empty(blocks)
    out = [x.ctypes.data for x in outputs]
    uniforms = compiled.uniforms(**{name: numbers[name] for name in compiled.uniform_names})
    scalars = (*map(float, uniforms), *((float(wanted.scale),) if wanted.order else ()))
    function, sums_at = compiled.function, block_sums.ctypes.data

    if all(source.direct for source in sources):
        pointers = [*(source.address for source in sources), *out, *scalars, sums_at]

        def run(first: int, last: int) -> int:
            return function(first, last, length, *pointers)
    else:

        def run(first: int, last: int) -> int:
            buffers = [None if source.direct else source.buffer() for source in sources]
            found = 0
            for start in range(first, last, BUFFERED_BLOCKS):
                stop = min(start + BUFFERED_BLOCKS, last)
                begin, end = start * BLOCK, min(stop * BLOCK, length)
                read = [
                    source.address if buffer is None else source.fill(buffer, begin, end) - begin * buffer.itemsize
                    for source, buffer in zip(sources, buffers, strict=True)
                ]
                found |= function(start, stop, length, *read, *out, *scalars, sums_at)
            return found

    spread = 1 if length < SHARED_ELEMENTS else (wanted.threads or threads.default_count())
    suspect = threads.share(run, blocks, spread)
    if axes != tuple(range(len(axes))):
        back = np.argsort(axes)
        outputs = [x.transpose(back) for x in outputs]
    value: Any = None
    if wanted.value == "each":
        value = outputs.pop(0)
    elif wanted.value == "sum":
        value = sums.total(block_sums)
    return Outcome(value, tuple(outputs)), suspect


def _held(x: Any, dtype: Any) -> Any:
    """Return the type in which a kernel that computes in `dtype` has the numbers of an array in memory."""
    return x.dtype if x.dtype in HALVES and dtype == np.float32 else dtype


def _place(given: Any, shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any) -> Any:
    """Return an array to write to, in the order of the inputs: the given one if it lies so."""
    if given is not None and given.dtype == dtype and given.ndim == len(axes):
        turned = given.transpose(axes)
        if turned.shape == shape and turned.flags.c_contiguous and turned.flags.aligned:
            return turned
    return memory.empty(shape, dtype)


def _axes(inputs: Sequence[Any], count: int) -> tuple[int, ...]:
    if count < 2 or all(x.flags.c_contiguous for x in inputs):
        return tuple(range(count))
    leader = next((x for x in inputs if x.ndim == count), None)
    if leader is None:
        return tuple(range(count))
    return tuple(sorted(range(count), key=lambda a: -abs(leader.strides[a])))


class _Source:
    """An input of a kernel, seen as one long row in the order of the outputs."""

    def __init__(self, x: Any, shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any) -> None:
        if x.ndim == len(axes):
            x = x.transpose(axes)
        self.dtype = _held(x, dtype)
        self.direct = x.dtype == self.dtype and x.flags.c_contiguous and x.flags.aligned and x.shape == shape
        if self.direct:
            self.address = x.ctypes.data
            self.array = x
            return
        self.array = np.broadcast_to(x, shape)
        self.flat = self.array.reshape(-1) if _in_line(self.array) else None
        self.constant = not any(self.array.strides)

    def buffer(self) -> Any:
        """Return a buffer for a part of the row; an input that is the same throughout fills it for good."""
        buffer = np.empty(BUFFERED_BLOCKS * BLOCK, self.dtype)
        if self.constant:
            buffer[:] = self.array[(0,) * self.array.ndim]
        return buffer

    def fill(self, buffer: Any, begin: int, end: int) -> int:
        """Copy a range of the row into the buffer, in its type, and return the buffer's address."""
        if self.constant:
            pass
        elif self.flat is not None:
            np.copyto(buffer[: end - begin], self.flat[begin:end], casting="unsafe")
        else:
            at = 0
            flags: Any = ["external_loop", "buffered", "ranged"]
            walk: Any = np.nditer(self.array, flags=flags, order="C", buffersize=BUFFERED_BLOCKS * BLOCK)
            with walk as pieces:
                pieces.iterrange = (begin, end)
                for piece in pieces:
                    np.copyto(buffer[at : at + piece.size], piece, casting="unsafe")
                    at += piece.size
        return int(buffer.ctypes.data)


def _in_line(x: Any) -> bool:
    """Whether an array is one row of equally distant numbers, so that flattening it copies nothing."""
    return all(x.strides[a] == x.strides[a + 1] * x.shape[a + 1] for a in range(x.ndim - 1))
