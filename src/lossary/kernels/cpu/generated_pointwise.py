"""Pointwise losses on the CPU: a generated loop over fixed blocks, values, sums and derivatives in one pass.

Each block of `BLOCK` elements has its own sum, in float64, and the sums are added in their order, so a result does not
depend on the number of threads. Arrays that are contiguous and of the computing type, or in half precision, which is
widened in registers, are read and written where they are; others (strided, broadcast, integers) pass through a small
buffer that stays in the cache.
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
from lossary.kernels.cpu.runtime import cache as store
from lossary.kernels.cpu.runtime import memory, threads
from lossary.kernels.cpu.runtime import sums as totals
from lossary.kernels.cpu.runtime.cache import COMPILING
from lossary.kernels.ir import graph as codegen
from lossary.kernels.table import HALVES, LEAST, Outcome, Wanted, least

BLOCK = 4096  # elements whose values have a sum of their own
PIECE = 512  # as in `lossary.kernels.cpu.math`, which this module does not import: it needs the compiler
_BUFFERED = 8 * BLOCK  # elements that pass through a buffer at a time
LEAST_SHARED = 65536  # elements from which threads are used: their start costs some tens of microseconds

TYPES = {"float32": ("f32", ctypes.c_float), "float64": ("f64", ctypes.c_double)}


# --- one generated kernel -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """All that the source of a kernel depends on."""

    loss: Loss
    dtype: str
    static: tuple[tuple[str, Any], ...]
    uniform: tuple[str, ...]
    arrays: tuple[str, ...]
    order: int
    value: str | None
    weighted: bool
    checked: bool
    narrow: tuple[tuple[str, str], ...] = ()  # arrays in half precision, and how they are held
    regions: codegen.Regions = ()  # of uniform parameters that choose the formula


@dataclass(frozen=True)
class Compiled:
    """A kernel ready to be called: its C function and the meaning of the function's arguments."""

    function: Callable[..., int]
    arguments: tuple[str, ...]
    uniforms: Callable[..., tuple[float, ...]]
    uniform_names: tuple[str, ...]


_HEADER = '''"""{name}: {what}, in {dtype}.

Generated from {where} by lossary; the folder may be deleted at any time.
"""

from numba import njit, types
from numba import {dtype} as T
from lossary.kernels.cpu.runtime.compile import entry
{imports}
INF, NAN = T(float("inf")), T(float("nan"))
BLOCK, PIECE = {block}, {piece}


def uniforms({parameters}):
    """What is the same for all elements, computed once."""
    return ({uniforms})


@njit(error_model="numpy", fastmath={{"contract"}}, pipeline_class=Unaliased)
def block(start, stop, {names}):
    """One block: returns its sum and whether an element lies outside the domain."""
    whole_registers()
    suspect = False
    block_sum = 0.0
{loop}    return block_sum, suspect


@entry(types.int32(types.intp, types.intp, types.intp, {types}))
def run(first, last, length, {names}, sums):
    """The blocks from `first` up to `last`; each leaves its sum in `sums`."""
    whole_registers()
    suspect = types.int32(0)
    for number in range(first, last):
        start = number * BLOCK
        block_sum, found = block(start, min(start + BLOCK, length), {names})
        store(sums, number, block_sum)
        suspect |= found
    return suspect
'''

_LOOP = """    for i in range(start, stop):
{body}
"""
# Where a value costs more than its way through memory, those of a piece are kept aside and then summed: doubles in the
# main loop would halve its lanes. A piece is small, so that memory is read ahead meanwhile.
_LOOP_IN_PIECES = """    values = room(T(0.0))
    for begin in range(start, stop, PIECE):
        end = min(begin + PIECE, stop)
        for i in range(begin, end):
{body}
        for i in range(end - begin):
            block_sum = plus(block_sum, types.float64(load(values, i)))
"""
# What is a few instructions: a loop of nothing else waits for memory.
_CHEAP = {"abs", "where", "maximum", "minimum", "sign"}


def write(variant: Variant) -> tuple[str, codegen.Program]:
    """Return the source of a kernel, and the program it holds."""
    loss, order, weighted = variant.loss, variant.order, variant.weighted
    orders = ({0} if variant.value else set()) | ({order} if order else set())
    program = codegen.trace(loss, dict(variant.static), variant.uniform, variant.arrays, order, orders, variant.regions)
    in_pieces = variant.value == "sum" and not _CHEAP.issuperset(program.functions)
    inputs = [*program.arguments, *(["example_weight"] if weighted else [])]
    body = [f"{name} = load({name}_at, i)" for name in inputs]
    tests = _tests(variant, program)
    if tests:
        body.append(f"suspect = either(suspect, ({tests}){' & (example_weight != T(0.0))' if weighted else ''})")
    body += program.lines

    def by_weight(result: str, factor: str) -> str:
        return f"where(example_weight == T(0.0), T(0.0), {result} * {factor})" if weighted else result

    narrow = {name: f"types.{held}" for name, held in variant.narrow}
    kinds, outputs = [narrow.get(name, "T") for name in inputs], []
    if variant.value:
        weighed = by_weight(program.results[0][0], "example_weight")
        if variant.value == "each":
            outputs.append("value_out")
            kinds.append("T")
            body.append(f"store(value_out, i, {weighed})")
        elif in_pieces:
            body.append(f"store(values, i - begin, {weighed})")
        else:
            body.append(f"block_sum = plus(block_sum, types.float64({weighed}))")
    if order:
        body.append(f"factor = {'example_weight * ' if weighted else ''}derivative_scale")
        for number, derivative in enumerate(program.results[order]):
            outputs.append(f"derivative_{number}_out")
            kinds.append(narrow.get(loss.wrt[number], "T"))
            scaled = by_weight(derivative, "factor") if weighted else f"{derivative} * factor"
            body.append(f"store(derivative_{number}_out, i, {scaled})")

    arguments = [f"{name}_at" for name in inputs] + outputs
    uniforms = [name for name, _ in program.uniforms] + (["derivative_scale"] if order else [])
    indent = " " * (12 if in_pieces else 8)
    loop = (_LOOP_IN_PIECES if in_pieces else _LOOP).format(body="\n".join(indent + line for line in body))
    source = _HEADER.format(
        name=loss.name,
        what=_what(variant),
        dtype=variant.dtype,
        where=f"{loss.define.__module__}.{loss.define.__qualname__}",
        imports=_imports(program, variant, tests),
        block=BLOCK,
        piece=PIECE,
        loop=loop,
        parameters=", ".join(variant.uniform),
        uniforms="".join(f"{expression}, " for _, expression in program.uniforms),
        names=", ".join([*arguments, *uniforms]),
        types=", ".join(
            [f"types.CPointer({kind})" for kind in kinds] + ["T"] * len(uniforms) + ["types.CPointer(types.float64)"]
        ),
    )
    return source, program


# What a generated module calls under another name than it has there, and what is the same for both types.
_RENAMED = {"where": "select", "abs": "absolute"}
_OF_ANY_TYPE = {
    "abs",
    "where",
    "sqrt",
    "maximum",
    "minimum",
    "load",
    "store",
    "plus",
    "room",
    "lanes",
    "either",
    "floor",
    "Unaliased",
    "whole_registers",
}


def import_lines(used: Iterable[str], dtype: str) -> str:
    """Return the imports of a generated source, by the names it uses."""
    lines = ["from lossary.kernels.cpu.math import ("]
    for name in sorted(used):
        own = _RENAMED.get(name, name) if name in _OF_ANY_TYPE else f"{name}_{TYPES[dtype][0]}"
        lines.append(f"    {own}{'' if own == name else f' as {name}'},")
    return "\n".join([*lines, ")"])


def _imports(program: codegen.Program, variant: Variant, tests: str) -> str:
    used = {"load", "store", "plus", "room", "either", "Unaliased", "whole_registers", *program.functions}
    used |= ({"where"} if variant.weighted else set()) | ({"floor"} if "floor(" in tests else set())
    return import_lines(used, variant.dtype)


def _tests(variant: Variant, program: codegen.Program) -> str:
    """The condition of an element outside the domain of one of the arrays."""
    if not variant.checked:
        return ""
    alternative = _alternative(variant.loss)
    found = [
        codegen.outside(variant.loss.domain(name, alternative), name)
        for name in program.arguments
        if name in variant.loss.arguments
    ]
    return " | ".join(f"({test})" for test in found if test)


def _alternative(loss: Loss) -> int:
    return next(number for number, signature in enumerate(loss.signatures) if signature.rank == 0)


def _what(variant: Variant) -> str:
    values = {"each": "values", "sum": "their sum", None: ""}[variant.value]
    orders = ("", "gradient", "diagonal of the Hessian")[variant.order]
    fixed = ", ".join(f"{name}={value!r}" for name, value in variant.static)
    said = " and ".join(text for text in (values, orders) if text)
    return said + (", weighted" if variant.weighted else "") + (f", with {fixed}" if fixed else "")


@cache
def _graph(
    loss: Loss, static: tuple[tuple[str, Any], ...], uniform: tuple[str, ...], regions: codegen.Regions
) -> codegen.Graph | None:
    try:
        return codegen.graph_of(loss, dict(static), uniform, regions)
    except codegen.UnsupportedError:
        return None


@cache
def _compile(variant: Variant) -> Compiled | None:
    with COMPILING:
        try:
            source, program = write(variant)
        except codegen.UnsupportedError:
            return None
        made = store.module(variant.loss.name, source)
        floating = TYPES[variant.dtype][1]
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
        return Compiled(function, program.arguments, made.uniforms, variant.uniform)


# --- a call ---------------------------------------------------------------------------------------------------------


def evaluate(call: Any, wanted: Wanted) -> Outcome | None:
    """Compute a call on NumPy arrays, or return None if it is not for a kernel."""
    if call.signature.rank or math.prod(call.batch) < least(LEAST):
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
    """Return what is wanted, and whether a value lies outside its domain; None if there is no kernel.

    `arrays` are those of the loss and the parameters that differ from example to example; `numbers` are the others.
    Under float32 those of the loss may be in half precision, and their derivatives then are too (`table.HALVES`).
    Derivatives are written to `room` where that has arrays that lie as the kernel writes.
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
) -> Compiled | None:
    """Return the kernel for what is wanted of a loss under its parameters, or None if there is none.

    `narrow` are the arrays in half precision, by name, and how they are held.
    """
    if dtype not in TYPES or not loss.kernel:
        return None
    loss = loss.unbound
    free = tuple(name for name in numbers if _is_number(numbers[name]))
    fixed = tuple((name, value) for name, value in numbers.items() if name not in free)
    regions = codegen.regions_of(loss, numbers, free)
    uniform, regions = codegen.settled(_graph(loss, fixed, free, regions), numbers, free, regions)
    static = tuple((name, value) for name, value in numbers.items() if name not in uniform)
    extra = tuple(name for name in arrays if name not in loss.arguments)
    weighted = wanted.weights is not None
    return _compile(
        Variant(loss, dtype, static, uniform, extra, wanted.order, wanted.value, weighted, check, narrow, regions)
    )


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def _run(
    compiled: Compiled,
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
        slopes = zip(room or [None] * len(loss.wrt), loss.wrt, strict=True)
        outputs += [_place(x, shape, axes, _held(arrays[name], dtype)) for x, name in slopes]
    blocks = -(-length // BLOCK)
    sums = np.empty(blocks)
    out = [x.ctypes.data for x in outputs]
    uniforms = compiled.uniforms(**{name: numbers[name] for name in compiled.uniform_names})
    scalars = (*map(float, uniforms), *((float(wanted.scale),) if wanted.order else ()))
    function, sums_at = compiled.function, sums.ctypes.data

    if all(source.direct for source in sources):
        pointers = [*(source.address for source in sources), *out, *scalars, sums_at]

        def run(first: int, last: int) -> int:
            return function(first, last, length, *pointers)
    else:

        def run(first: int, last: int) -> int:
            buffers = [None if source.direct else source.buffer() for source in sources]
            found = 0
            for start in range(first, last, _BUFFERED // BLOCK):
                stop = min(start + _BUFFERED // BLOCK, last)
                begin, end = start * BLOCK, min(stop * BLOCK, length)
                read = [
                    source.address if buffer is None else source.fill(buffer, begin, end) - begin * buffer.itemsize
                    for source, buffer in zip(sources, buffers, strict=True)
                ]
                found |= function(start, stop, length, *read, *out, *scalars, sums_at)
            return found

    spread = 1 if length < LEAST_SHARED else (wanted.threads or threads.default_count())
    suspect = threads.share(run, blocks, spread)
    if axes != tuple(range(len(axes))):
        back = np.argsort(axes)
        outputs = [x.transpose(back) for x in outputs]
    value: Any = None
    if wanted.value == "each":
        value = outputs.pop(0)
    elif wanted.value == "sum":
        value = totals.total(sums)
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
        """Return room for a part of the row; an input that is the same throughout fills it for good."""
        room = np.empty(_BUFFERED, self.dtype)
        if self.constant:
            room[:] = self.array[(0,) * self.array.ndim]
        return room

    def fill(self, buffer: Any, begin: int, end: int) -> int:
        """Copy a range of the row into the buffer, in its type, and return the buffer's address."""
        if self.constant:
            pass
        elif self.flat is not None:
            np.copyto(buffer[: end - begin], self.flat[begin:end], casting="unsafe")
        else:
            at = 0
            flags: Any = ["external_loop", "buffered", "ranged"]
            walk: Any = np.nditer(self.array, flags=flags, order="C", buffersize=_BUFFERED)
            with walk as pieces:
                pieces.iterrange = (begin, end)
                for piece in pieces:
                    np.copyto(buffer[at : at + piece.size], piece, casting="unsafe")
                    at += piece.size
        return int(buffer.ctypes.data)


def _in_line(x: Any) -> bool:
    """Whether an array is one row of equally distant numbers, so that flattening it copies nothing."""
    return all(x.strides[a] == x.strides[a + 1] * x.shape[a + 1] for a in range(x.ndim - 1))
