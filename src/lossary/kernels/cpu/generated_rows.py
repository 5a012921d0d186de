"""Losses on rows, on the CPU: loops generated from the definition, over tiles of rows that lie side by side.

Every loss on one row of scores, or on rows of one length, has such a kernel; the softmax family has a better one for
long rows in `softmax.host`. A tile's rows are turned into columns and worked through together, entry by
entry, with what is needed again in scratch memory; its values are added in their order, so a result does not depend on
the number of threads.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lossary.catalogue import Loss
from lossary.kernels.cpu import generated_pointwise as pointwise
from lossary.kernels.cpu.generated_pointwise import TYPES, import_lines
from lossary.kernels.cpu.runtime import cache as store
from lossary.kernels.cpu.runtime import layouts, threads
from lossary.kernels.cpu.runtime import sums as totals
from lossary.kernels.cpu.runtime.cache import COMPILING
from lossary.kernels.ir import graph as codegen
from lossary.kernels.ir import rows as rowgen
from lossary.kernels.table import Outcome, Wanted, least

NO_LABEL = -(2**62)  # stands for a label to ignore where there is none
LANES = 64  # rows of a tile, as in `lossary.kernels.cpu.math`
_FAR, _ROOM = 256, 32768  # rows whose entries are far apart, and entries, that are brought side by side
_LEAST = 16384  # entries from which the kernel is used; below, NumPy is as fast
LEAST_SHARED = 65536  # entries from which threads are used: their start costs some tens of microseconds


@dataclass(frozen=True)
class Variant:
    """All that the source of a kernel depends on."""

    loss: Loss
    alternative: int
    dtype: str
    static: tuple[tuple[str, Any], ...]
    uniform: tuple[str, ...]
    arrays: tuple[str, ...]  # parameters with one number per entry
    order: int
    value: str | None
    weighing: str  # "" (all rows count), "weight" (by a number each) or "ignore" (but those of one label)
    height: int  # rows of a tile
    regions: codegen.Regions = ()  # of uniform parameters that choose the formula


@dataclass(frozen=True)
class Compiled:
    """A kernel ready to be called, and the meaning of its arguments.

    The function takes the first tile and the one after the last, the addresses of `settings` and `numbers`, those of
    arrays, weights, results and scratch memory, and that of two numbers for each tile: the sum of its values, and how
    many of its rows count. It returns whether a label that counts is outside its row.
    """

    function: Callable[..., int]
    arguments: tuple[rowgen.Argument, ...]
    tables: tuple[str, ...]  # arrays and derivatives of which rows are brought side by side
    uniforms: Callable[..., tuple[float, ...]]
    uniform_names: tuple[str, ...]
    scratch: int
    dtype: str

    def settings(self, span: int, width: int, inner: int, steps: Mapping[str, Any], ignored: int | None = None) -> Any:
        """The whole numbers of a call: shape, steps, the label that does not count.

        Rows are those of an array (outer, inner, width); `span` of the inner ones are brought side by side. In `steps`
        stands, for each array by its name and for each derivative, how far apart its entries are along the three; one
        number alone for an array of numbers or labels.
        """
        tables = [step for name in self.tables for step in steps[name]]
        singles = [steps[a.name] for a in self.arguments if a.kind != "row"]
        return np.array([span, width, inner, *tables, *singles, *([] if ignored is None else [ignored])], np.intp)

    def numbers(self, width: int, params: Mapping[str, Any], scale: Sequence[float]) -> Any:
        """The other numbers of a call: what is the same for all rows, and the factor of derivatives, if any."""
        given = {name: params[name] for name in self.uniform_names}
        return np.array([*self.uniforms(width, **given), *scale], self.dtype)


_HEADER = '''"""{name}: {what}, in {dtype}.

Generated from {where} by lossary; the folder may be deleted at any time.
"""

from numba import njit, types
from numba import {dtype} as T
from lossary.kernels.cpu.runtime.compile import entry
{imports}
INF, NAN = T(float("inf")), T(float("nan"))


def uniforms({parameters}):
    """What is the same for all rows, computed once."""
    return ({uniforms})


# No contraction: what two passes compute must be the same number in both, or no entry is the largest of its row.
@njit(error_model="numpy", pipeline_class=Unaliased)
def tiles(block, low, begin, many, span, width, {names}, scratch):
    """Rows side by side: the sum of their values, how many count, and whether a label is outside its row."""
    whole_registers()
    suspect = types.int32(0)
    values = lanes(T(0.0))
    total, counting = 0.0, 0.0
{before}
    for part in range(0, many, LANES):
        start, rows = begin + part, min(LANES, many - part)
{body}
{after}
    return total, counting, suspect


@entry(types.int32(types.intp, types.intp, types.CPointer(types.intp), types.CPointer(T), {types}))
def run(first, last, settings, numbers, {pointers}scratch, sums):
    """The spans from `first` up to `last`; each leaves its sum, and the count of its rows, in `sums`."""
    whole_registers()
    suspect = types.int32(0)
{read}
    along = (inner + span - 1) // span
    for number in range(first, last):
        block, low = number // along, number % along * span
        many = min(span, inner - low)
        total, count, found = tiles(block, low, block * inner + low, many, span, width, {names}, scratch)
        store(sums, 2 * number, total)
        store(sums, 2 * number + 1, count)
        suspect |= found
    return suspect
'''


def write(variant: Variant) -> tuple[str, rowgen.RowProgram]:
    """Return the source of a kernel, and the program it holds."""
    loss, order = variant.loss, variant.order
    orders = rowgen.trace(
        loss, variant.alternative, dict(variant.static), variant.uniform, variant.arrays, order, variant.regions
    )
    program = rowgen.RowWriter(
        loss, variant.alternative, orders, variant.value is not None, order, bool(variant.weighing)
    ).tile()
    body = [*_weights(variant, program), *program.lines]
    if variant.value == "each":
        body += ["for r in range(rows):", "    store(value_out, start + r, load(values, r))"]
    if variant.value == "sum":
        body += ["for r in range(rows):", "    total = plus(total, types.float64(load(values, r)))"]
    if not variant.weighing:
        body.append("counting += float(rows)")
    pointers = {f"{a.name}_at": "types.intp" if a.kind == "label" else "T" for a in program.arguments}
    if variant.weighing == "weight":
        pointers["example_weight_at"] = "T"
    outputs = ["value_out"] if variant.value == "each" else []
    outputs += [f"derivative_{k}_out" for k in range(len(loss.wrt) if order else 0)]
    pointers |= dict.fromkeys(outputs, "T")
    steps = [name for table in program.tables for name in (f"{table}_outer", f"{table}_row", f"{table}_entry")]
    steps += [f"{a.name}_step" for a in program.arguments if a.kind != "row"]
    more = ["ignored"] if variant.weighing == "ignore" else []
    settings = ["span", "width", "inner", *steps, *more]
    uniforms = [name for name, _ in program.uniforms] + (["derivative_scale"] if order else [])
    read = [f"{name} = load(settings, {at})" for at, name in enumerate(settings)]
    read += [f"{name} = load(numbers, {at})" for at, name in enumerate(uniforms)]
    functions = {*program.functions, "load", "store", "plus", "lanes", "Unaliased", "whole_registers"}
    functions |= {"where"} if variant.weighing else set()
    imports = import_lines(functions, variant.dtype)
    imports += f"\nfrom lossary.kernels.cpu.transpose import cleared, moved\n\nLANES = {variant.height}"
    source = _HEADER.format(
        name=loss.name,
        what=" and ".join(
            filter(None, [{"each": "values", "sum": "their sum"}.get(variant.value or ""), *_ORDERS[order]])
        ),
        dtype=variant.dtype,
        where=f"{loss.define.__module__}.{loss.define.__qualname__}",
        imports=imports,
        parameters=", ".join(("row_length", *variant.uniform)),
        uniforms="".join(f"{expression}, " for _, expression in program.uniforms),
        names=", ".join([*steps, *more, *pointers, *uniforms]),
        pointers="".join(f"{name}, " for name in pointers),
        types=", ".join(f"types.CPointer({kind})" for kind in (*pointers.values(), "T", "types.float64")),
        read="\n".join(f"    {line}" for line in read),
        before="\n".join(f"    {line}" for line in program.before),
        body="\n".join(f"        {line}" for line in body),
        after="\n".join(f"    {line}" for line in program.after),
    )
    return source, program


_ORDERS: tuple[tuple[str, ...], ...] = ((), ("gradient",), ("diagonal of the Hessian",))


def _weights(variant: Variant, program: rowgen.RowProgram) -> list[str]:
    if not variant.weighing:
        return []
    label = next((a.name for a in program.arguments if a.kind == "label"), "")
    if variant.weighing == "weight":
        weight = "load(example_weight_at, start + r)"
    elif label:
        weight = f"where(load({label}_at, (start + r) * {label}_step) == ignored, T(0.0), T(1.0))"
    else:
        raise codegen.UnsupportedError("only a label can be one to ignore")
    return [
        "weights = lanes(T(0.0))",
        "for r in range(rows):",
        f"    store(weights, r, {weight})",
        "    counting = plus(counting, where(load(weights, r) == T(0.0), 0.0, 1.0))",
    ]


@cache
def _graph(
    loss: Loss,
    alternative: int,
    static: tuple[tuple[str, Any], ...],
    uniform: tuple[str, ...],
    arrays: tuple[str, ...],
    regions: codegen.Regions,
) -> codegen.Graph | None:
    try:
        orders = rowgen.trace(loss, alternative, dict(static), uniform, arrays, loss.derivatives, regions)
    except codegen.UnsupportedError:
        return None
    return orders[0][0].graph


@cache
def _compile(variant: Variant) -> Compiled | None:
    with COMPILING:
        try:
            source, program = write(variant)
        except codegen.UnsupportedError:
            return None
        made = store.module(variant.loss.name, source)
        outputs = (variant.value == "each") + (len(variant.loss.wrt) if variant.order else 0)
        pointers = 2 + len(program.arguments) + (variant.weighing == "weight") + outputs + 2
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_ssize_t] * 2, *[ctypes.c_void_p] * pointers)
        function = prototype(made.run.address)
        return Compiled(
            function,
            program.arguments,
            program.tables,
            made.uniforms,
            variant.uniform,
            program.scratch,
            variant.dtype,
        )


# --- a call ---------------------------------------------------------------------------------------------------------


def evaluate(call: Any, wanted: Wanted, smallest: int = _LEAST) -> Outcome | None:
    """Compute a call on NumPy arrays, or return None if it is not for a kernel: of fewer entries than the smallest."""
    if not call.signature.rank:
        return pointwise.evaluate(call, wanted)
    row = next(x for x, core in zip(call.arrays, call.signature.inputs, strict=True) if core)
    width, length = row.shape[-1], math.prod(call.batch)
    if width * length < max(least(smallest), 1):
        return None
    arrays = dict(zip(call.loss.arguments, call.arrays, strict=True))
    if any(arrays[name].shape[:-1] != call.batch for name in call.loss.wrt):
        return None
    numbers = {}
    for name, held in call.params.items():
        if isinstance(held, np.ndarray):
            arrays[name] = held
        else:
            numbers[name] = held
    extra = tuple(name for name in arrays if name not in call.loss.arguments)
    alternative = call.loss.signatures.index(call.signature)
    weighing = "" if wanted.weights is None else "weight"
    dtype = np.dtype(call.dtype)
    compiled = find(call.loss, alternative, numbers, extra, dtype.name, wanted, weighing, width)
    if compiled is None:
        return None
    if any(a.kind == "row" and arrays[a.name].shape[:-1] not in (call.batch, ()) for a in compiled.arguments):
        return None
    known = all(allowed.kind == "index" or not allowed.bounded for allowed in call.domains)
    if not known:
        call.check_values()
    given = [_Rows(arrays[a.name], a.kind, call.batch, dtype) for a in compiled.arguments]
    dense = layouts.Layout(1, length, (0, 1, width), 0, length * width)  # a curvature of 0 reads no row
    like = next((x.place for x in given if x.place is not None), dense)
    steps = {a.name: x.steps(like) for a, x in zip(compiled.arguments, given, strict=True)}
    values = np.empty(call.batch, dtype) if wanted.value == "each" else None
    slopes = []
    if wanted.order:
        places = call.out or [None] * len(call.loss.wrt)
        for number, (name, place) in enumerate(zip(call.loss.wrt, places, strict=True)):
            if f"derivative_{number}" in compiled.tables:
                slope, (outer, entry, row) = like.room(arrays[name].shape, dtype, place)
                steps[f"derivative_{number}"] = outer, row, entry
            else:
                slope = np.empty(call.batch, dtype)  # in a number of each row
            slopes.append(slope)
    memory = [x.array for x in given]
    if wanted.weights is not None:
        memory.append(layouts.dense(np.broadcast_to(wanted.weights, call.batch), dtype))
    memory += [*([] if values is None else [values]), *slopes]
    total, suspect = _run(compiled, memory, steps, like, width, numbers, wanted)
    if suspect and known:
        call.check_values()
    return Outcome(total if wanted.value == "sum" else values, tuple(slopes))


class _Rows:
    """An array as it lies in memory for the loops: where that is not possible, a copy."""

    def __init__(self, x: Any, kind: str, batch: tuple[int, ...], dtype: Any) -> None:
        self.kind = kind
        self.place: layouts.Layout | None = None
        if kind == "row" and x.shape[:-1] == batch:
            x = x.astype(dtype, copy=False)
            self.place = layouts.layout(x)
            if self.place is None:
                x = layouts.dense(x)
                self.place = layouts.layout(x)
        elif kind == "row":
            x = layouts.dense(x, dtype)  # one row, the same for all
        else:
            whole = np.broadcast_to(x, (*batch, 1))
            x = layouts.dense(whole, np.intp if kind == "label" else dtype)
        self.array = x

    def steps(self, like: layouts.Layout) -> Any:
        """How far apart entries are, in the order in which the rows of another array are gone through."""
        if self.kind != "row":
            return 1
        if self.place is None:
            return 0, 0, 1
        found = like.steps_of(self.array)
        if found is None:
            self.array = like.copied(self.array)
            found = like.steps_of(self.array)
            assert found is not None
        outer, entry, row = found
        return outer, row, entry


def _run(
    compiled: Compiled,
    memory: Sequence[Any],
    steps: Mapping[str, Any],
    like: layouts.Layout,
    width: int,
    params: Mapping[str, Any],
    wanted: Wanted,
) -> tuple[float, int]:
    rows = span(width, like.steps[1] == 1 or width == 1)
    parts = like.outer * -(-like.inner // rows)
    sums = np.empty((parts, 2))
    settings = compiled.settings(rows, width, like.inner, steps)
    numbers = compiled.numbers(width, params, [wanted.scale] if wanted.order else [])
    pointers = [x.ctypes.data for x in (settings, numbers, *memory)]

    def run(first: int, last: int) -> int:
        scratch = np.empty(compiled.scratch * width * rows, compiled.dtype)
        return compiled.function(first, last, *pointers, scratch.ctypes.data, sums.ctypes.data)

    entries = like.outer * like.inner * width
    spread = 1 if entries < LEAST_SHARED else (wanted.threads or threads.default_count())
    suspect = threads.share(run, parts, spread)
    return totals.total(sums), suspect


def find(
    loss: Loss,
    alternative: int,
    params: Mapping[str, Any],
    arrays: tuple[str, ...],
    dtype: str,
    wanted: Wanted,
    weighing: str,
    width: int,
) -> Compiled | None:
    """Return the kernel for what is wanted of a loss on rows of a width, or None if there is none.

    `params` are the parameters that are the same for all entries; `arrays` names those with one number for each entry.
    """
    if dtype not in TYPES or not loss.kernel:
        return None
    loss = loss.unbound
    # An option at its default, mostly off, and a choice between forms are settled before anything is compiled.
    free = tuple(name for name, held in params.items() if _is_free(loss, name, held))
    fixed = tuple((name, held) for name, held in params.items() if name not in free)
    regions = codegen.regions_of(loss, params, free)
    uniform, regions = codegen.settled(_graph(loss, alternative, fixed, free, arrays, regions), params, free, regions)
    static = tuple((name, held) for name, held in params.items() if name not in uniform)
    rows = height(width)
    return _compile(
        Variant(loss, alternative, dtype, static, uniform, arrays, wanted.order, wanted.value, weighing, rows, regions)
    )


def _is_free(loss: Loss, name: str, held: Any) -> bool:
    return (
        isinstance(held, float) and held != loss.defaults[name] and loss.parameter_domains[name][0].kind == "interval"
    )


# A survey of labels: how many rows count, or -1 if one that counts names no class.
_SURVEY = '''"""How many labels are not to be ignored; -1 if one of these names no class."""

from numba import types
from lossary.kernels.cpu.runtime.compile import entry
from lossary.kernels.cpu.math import load


@entry(types.int32(types.intp, types.intp, types.intp, types.CPointer(types.intp)))
def run(length, classes, ignored, labels):
    kept = types.int32(0)
    wrong = types.int32(0)
    for i in range(length):
        label = load(labels, i)
        counts = types.int32(label != ignored)
        kept += counts
        wrong |= counts & types.int32((label < 0) | (label >= classes))
    return types.int32(-1) if wrong else kept
'''


@cache
def survey() -> Callable[[int, int, int, int], int]:
    """Return the function of length, classes, ignored label and address that counts labels."""
    with COMPILING:
        made = store.module("survey", _SURVEY)
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_ssize_t] * 3, ctypes.c_void_p)
        return prototype(made.run.address)


# The same under class weights, whose sum over the labels that count is written down.
_WEIGHED = '''"""The sum of the weights of labels that are not to be ignored; 1 if one of these names no class."""

from numba import types
from numba import {dtype} as T
from lossary.kernels.cpu.runtime.compile import entry
from lossary.kernels.cpu.math import load, store


@entry(
    types.int32(
        types.intp, types.intp, types.intp, types.CPointer(types.intp), types.CPointer(T), types.CPointer(types.float64)
    )
)
def run(length, classes, ignored, labels, weights, total):
    found = 0.0
    wrong = types.int32(0)
    for i in range(length):
        label = load(labels, i)
        if label != ignored:
            if label < 0 or label >= classes:
                wrong = types.int32(1)
            else:
                found += types.float64(load(weights, label))
    store(total, 0, found)
    return wrong
'''


@cache
def weighed_survey(dtype: str) -> Callable[..., int]:
    """Return the function of length, classes, ignored label, and addresses of labels, weights and their sum."""
    with COMPILING:
        made = store.module("weighed_survey", _WEIGHED.format(dtype=dtype))
        return ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_ssize_t] * 3, *[ctypes.c_void_p] * 3)(made.run.address)


# Rows of labels, each ended by the first below 0, as how often each class is listed; 1 if one of them names no class.
_LISTED = '''"""How often each class is listed in rows of labels that end at the first below 0; 1 for a wrong one."""

from numba import types
from numba import {dtype} as T
from lossary.kernels.cpu.runtime.compile import entry
from lossary.kernels.cpu.math import load, store


@entry(types.int32(types.intp, types.intp, types.CPointer(types.intp), types.CPointer(T)))
def run(length, width, labels, out):
    wrong = types.int32(0)
    for i in range(length):
        listed = True
        for j in range(width):
            store(out, i * width + j, T(0.0))
        for j in range(width):
            label = load(labels, i * width + j)
            wrong |= types.int32((label < -1) | (label >= width))
            listed = listed and label >= 0
            if listed and label < width:
                at = i * width + label
                store(out, at, load(out, at) + T(1.0))
    return wrong
'''


@cache
def listed(dtype: str) -> Callable[[int, int, int, int], int]:
    """Return the function of rows, their length, and the addresses of labels and of counts that counts labels."""
    with COMPILING:
        made = store.module("listed", _LISTED.format(dtype=dtype))
        return ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_ssize_t] * 2, *[ctypes.c_void_p] * 2)(made.run.address)


def height(width: int) -> int:
    """How many rows make a tile: short rows in whole registers, long ones so that their scratch stays in the cache."""
    return LANES if width <= LANES else LANES // 4


def span(width: int, along: bool) -> int:
    """How many rows are brought side by side at once: those of a tile if they lie one after the other.

    If their entries are far apart, as many as are worth going to each, and stay in the cache.
    """
    rows = height(width)
    return rows if along else max(rows, min(_FAR, _ROOM // width) // rows * rows)
