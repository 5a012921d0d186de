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
from lossary.errors import DomainError
from lossary.kernels.cpu.blocks import Blocks
from lossary.kernels.cpu.pointwise_source import PointwiseVariant, write
from lossary.kernels.cpu.runtime import cache as machine_code
from lossary.kernels.cpu.runtime import memory, threads
from lossary.kernels.cpu.runtime.cache import COMPILING
from lossary.kernels.cpu.sizes import BLOCK
from lossary.kernels.ir import parameters
from lossary.kernels.ir.graph import UnsupportedError
from lossary.kernels.registry import least
from lossary.kernels.request import HALVES, DenseCalls, KernelMissingError, Request, Result
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
def _compile(variant: PointwiseVariant) -> PointwiseKernel | None:
    with COMPILING:
        try:
            source, program = write(variant)
            made = machine_code.module(variant.loss.name, source)
        except (UnsupportedError, KernelMissingError):
            return None
        floating = TYPES[variant.dtype]
        outputs = (variant.value == "each") + len(variant.loss.wrt) * len(variant.orders)
        pointers = len(program.arguments) + variant.weighted + outputs
        scalars = len(program.uniforms) + bool(variant.orders)
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


def find(
    loss: Loss,
    numbers: Mapping[str, Any],
    arrays: Iterable[str],
    dtype: str,
    request: Request,
    check: bool,
    narrow: tuple[tuple[str, str], ...] = (),
) -> PointwiseKernel | None:
    """Return the kernel that computes a request for a loss under its parameters, or None if there is none.

    `narrow` are the arrays in half precision, by name, and how they are held.
    """
    if dtype not in TYPES or not loss.kernel:
        return None
    loss = loss.unbound
    static, uniform, regions = parameters.of_pointwise(loss, numbers)
    extra = tuple(name for name in arrays if name not in loss.arguments)
    weighted = request.weights is not None
    return _compile(
        PointwiseVariant(
            loss, dtype, static, uniform, extra, request.orders, request.value, weighted, check, narrow, regions
        )
    )


# --- bound ------------------------------------------------------------------------------------------------------------


class BoundPointwise(Blocks):
    """The kernel of a pointwise loss, bound to parameters and a length; `keep` keeps its workspaces for later runs."""

    def __init__(
        self, kernel: PointwiseKernel, params: Mapping[str, Any], orders: Sequence[int], length: int, keep: bool
    ) -> None:
        super().__init__(kernel.function, -(-length // BLOCK), 1, 0, keep)
        self.length, self.scaled, self.shared = length, bool(orders), length >= SHARED_ELEMENTS
        self.uniforms = tuple(map(float, kernel.uniforms(**{name: params[name] for name in kernel.uniform_names})))

    def scalars(self, scale: float) -> tuple[float, ...]:
        """What the kernel takes after lengths and addresses: uniform numbers, and the factor of derivatives if any."""
        return (*self.uniforms, scale) if self.scaled else self.uniforms


class DensePointwise(BoundPointwise):
    """The same, bound to the denominator of a mean as well: what the call caches keep."""

    def __init__(self, kernel: PointwiseKernel, calls: DenseCalls, params: Mapping[str, Any]) -> None:
        length = math.prod(calls.batch)
        super().__init__(kernel, params, calls.orders, length, keep=True)
        self.inputs = tuple(calls.loss.arguments.index(name) for name in kernel.arguments)
        self.divides = calls.reduction == "mean"
        self.denominator = float(length if calls.denominator is None else calls.denominator)
        self.usual = self.scalars(1 / self.denominator if self.divides else 1.0)

    def compute(
        self, addresses: Sequence[int], denominator: float | None = None, spread: int = 1
    ) -> tuple[float, float]:
        """Fill the outputs block by block."""
        scalars = self.usual
        if denominator is not None:
            scalars = self.scalars(1 / denominator if self.divides else 1.0)
        total, _, wrong = self.run((self.length, *addresses, *scalars), spread if self.shared else 1)
        if wrong:
            raise DomainError
        return total, self.denominator if denominator is None else denominator


def bind(calls: DenseCalls) -> DensePointwise | None:
    """Return the kernel bound to what some calls share, or None if there is none."""
    params = dict(calls.params)
    if params.pop("ignore_index", None) is not None:
        return None
    request = Request("each" if calls.reduction == "none" else "sum", calls.orders)
    kernel = find(calls.loss, params, (), calls.dtype, request, calls.check)
    return None if kernel is None else DensePointwise(kernel, calls, params)


# --- a prepared call --------------------------------------------------------------------------------------------------


def run(call: Any, request: Request) -> Result | None:
    """Compute a call on NumPy arrays, or return None if it is not for a kernel."""
    if call.signature.rank or math.prod(call.batch) < least(POINTWISE_ELEMENTS):
        return None
    loss, batch, dtype = call.loss, call.batch, np.dtype(call.dtype)
    given = dict(zip(loss.arguments, call.given, strict=True))
    if any(given[name].ndim < len(batch) for name in loss.wrt):
        return None  # one example repeated over the batch: its gradients add up
    arrays = dict(zip(loss.arguments, call.arrays, strict=True))
    arrays |= {name: held for name, held in call.params.items() if isinstance(held, np.ndarray)}
    numbers = {name: held for name, held in call.params.items() if name not in arrays}
    narrow = tuple((name, HALVES[x.dtype].name) for name, x in arrays.items() if _held(x, dtype) != dtype)
    kernel = find(loss, numbers, arrays, dtype.name, request, call.check, narrow)
    if kernel is None:
        return None

    inputs = [arrays[name] for name in kernel.arguments]
    if request.weights is not None:
        inputs.append(request.weights.astype(dtype, copy=False))
    # Axes in the order of memory, so that arrays in Fortran order are read as they lie.
    axes = _axes(inputs, len(batch))
    shape = tuple(batch[a] for a in axes)
    sources = [_Source(x, shape, axes, dtype) for x in inputs]
    outputs = [memory.empty(shape, dtype)] if request.value == "each" else []
    buffers = call.out or [None] * len(loss.wrt)
    for _ in request.orders:
        outputs += [
            _output(x, shape, axes, _held(arrays[name], dtype)) for x, name in zip(buffers, loss.wrt, strict=True)
        ]
    bound = BoundPointwise(kernel, numbers, request.orders, math.prod(batch), keep=False)
    written = (*(x.ctypes.data for x in outputs), *bound.scalars(float(request.scale)))
    if all(source.direct for source in sources):
        read = tuple(source.address for source in sources)
    else:
        bound.function, read = _buffered(bound.function, sources), ()
    spread = (request.threads or threads.default_count()) if bound.shared else 1
    total, _, wrong = bound.run((bound.length, *read, *written), spread)
    if wrong:
        call.check_values()
    if axes != tuple(range(len(axes))):
        back = np.argsort(axes)
        outputs = [x.transpose(back) for x in outputs]
    value = outputs.pop(0) if request.value == "each" else total if request.value == "sum" else None
    count = len(loss.wrt)
    return Result(value, tuple(tuple(outputs[at : at + count]) for at in range(0, len(outputs), count)))


def _buffered(function: Callable[..., int], sources: Sequence[_Source]) -> Callable[..., int]:
    """Return a function of blocks that reads its inputs through buffers which stay in the cache."""

    def blocks(first: int, last: int, length: int, *others: Any) -> int:
        buffers = [None if source.direct else source.buffer() for source in sources]
        wrong = 0
        for start in range(first, last, BUFFERED_BLOCKS):
            stop = min(start + BUFFERED_BLOCKS, last)
            begin, end = start * BLOCK, min(stop * BLOCK, length)
            read = [
                source.address if buffer is None else source.fill(buffer, begin, end) - begin * buffer.itemsize
                for source, buffer in zip(sources, buffers, strict=True)
            ]
            wrong |= function(start, stop, length, *read, *others)
        return wrong

    return blocks


def _held(x: Any, dtype: Any) -> Any:
    """Return the type in which a kernel that computes in `dtype` has the numbers of an array in memory."""
    return x.dtype if x.dtype in HALVES and dtype == np.float32 else dtype


def _output(given: Any, shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any) -> Any:
    """Return an array to write to, in the order of the inputs: the given one if its layout is that."""
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
