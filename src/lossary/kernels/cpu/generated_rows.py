"""Losses on rows on the CPU: finds and calls the generated kernel, which works on tiles of rows side by side.

Every loss on one row of scores, or on rows of one length, has such a kernel; the softmax family has a better one for
long rows in `softmax.host`. The values of a tile are added in their order, so a result does not depend on the number
of threads.
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
from lossary.kernels.cpu import generated_pointwise
from lossary.kernels.cpu.emit import TYPES
from lossary.kernels.cpu.row_source import RowVariant, write
from lossary.kernels.cpu.runtime import cache as machine_code
from lossary.kernels.cpu.runtime import layouts, sums, threads
from lossary.kernels.cpu.runtime.cache import COMPILING
from lossary.kernels.cpu.sizes import LANES
from lossary.kernels.ir import trace
from lossary.kernels.ir.graph import Graph, Regions, UnsupportedError
from lossary.kernels.ir.row_program import Argument
from lossary.kernels.ir.rows import traced_rows
from lossary.kernels.table import Outcome, Wanted, least
from lossary.kernels.thresholds import FAR_ENTRIES, FAR_ROWS, ROW_ELEMENTS, SHARED_ELEMENTS


@dataclass(frozen=True)
class RowsKernel:
    """A kernel ready to be called, and the meaning of its arguments.

    The function takes the first tile and the one after the last, the addresses of `settings` and `numbers`, those of
    arrays, weights, results and scratch memory, and that of two numbers for each tile: the sum of its values, and how
    many of its rows count. It returns whether a label that counts is outside its row.
    """

    function: Callable[..., int]
    arguments: tuple[Argument, ...]
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


@cache
def _graph(
    loss: Loss,
    alternative: int,
    static: tuple[tuple[str, Any], ...],
    uniform: tuple[str, ...],
    arrays: tuple[str, ...],
    regions: Regions,
) -> Graph | None:
    try:
        orders = traced_rows(loss, alternative, dict(static), uniform, arrays, loss.derivatives, regions)
    except UnsupportedError:
        return None
    return orders[0][0].graph


@cache
def _compile(variant: RowVariant) -> RowsKernel | None:
    with COMPILING:
        try:
            source, program, scratch = write(variant)
        except UnsupportedError:
            return None
        made = machine_code.module(variant.loss.name, source)
        outputs = (variant.value == "each") + (len(variant.loss.wrt) if variant.order else 0)
        pointers = 2 + len(program.arguments) + (variant.weighing == "weight") + outputs + 2
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_ssize_t] * 2, *[ctypes.c_void_p] * pointers)
        function = prototype(made.run.address)
        return RowsKernel(
            function,
            program.arguments,
            program.tables,
            made.uniforms,
            variant.uniform,
            scratch,
            variant.dtype,
        )


# --- a call ---------------------------------------------------------------------------------------------------------


def evaluate(call: Any, wanted: Wanted, smallest: int = ROW_ELEMENTS) -> Outcome | None:
    """Compute a call on NumPy arrays, or return None if it is not for a kernel: of fewer entries than the smallest."""
    if not call.signature.rank:
        return generated_pointwise.evaluate(call, wanted)
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
    given = [_RowInput(arrays[a.name], a.kind, call.batch, dtype) for a in compiled.arguments]
    dense = layouts.Layout(1, length, (0, 1, width), 0, length * width)  # a curvature of 0 reads no row
    like = next((x.place for x in given if x.place is not None), dense)
    steps = {a.name: x.steps(like) for a, x in zip(compiled.arguments, given, strict=True)}
    values = np.empty(call.batch, dtype) if wanted.value == "each" else None
    derivatives = []
    if wanted.order:
        places = call.out or [None] * len(call.loss.wrt)
        for number, (name, place) in enumerate(zip(call.loss.wrt, places, strict=True)):
            if f"derivative_{number}" in compiled.tables:
                derivative, (outer, entry, row) = like.output(arrays[name].shape, dtype, place)
                steps[f"derivative_{number}"] = outer, row, entry
            else:
                derivative = np.empty(call.batch, dtype)  # in a number of each row
            derivatives.append(derivative)
    memory = [x.array for x in given]
    if wanted.weights is not None:
        memory.append(layouts.dense(np.broadcast_to(wanted.weights, call.batch), dtype))
    memory += [*([] if values is None else [values]), *derivatives]
    total, suspect = _run(compiled, memory, steps, like, width, numbers, wanted)
    if suspect and known:
        call.check_values()
    return Outcome(total if wanted.value == "sum" else values, tuple(derivatives))


class _RowInput:
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
    compiled: RowsKernel,
    memory: Sequence[Any],
    steps: Mapping[str, Any],
    like: layouts.Layout,
    width: int,
    params: Mapping[str, Any],
    wanted: Wanted,
) -> tuple[float, int]:
    rows = span(width, like.steps[1] == 1 or width == 1)
    parts = like.outer * -(-like.inner // rows)
    tile_sums = np.empty((parts, 2))
    settings = compiled.settings(rows, width, like.inner, steps)
    numbers = compiled.numbers(width, params, [wanted.scale] if wanted.order else [])
    pointers = [x.ctypes.data for x in (settings, numbers, *memory)]

    def run(first: int, last: int) -> int:
        scratch = np.empty(compiled.scratch * width * rows, compiled.dtype)
        return compiled.function(first, last, *pointers, scratch.ctypes.data, tile_sums.ctypes.data)

    entries = like.outer * like.inner * width
    spread = 1 if entries < SHARED_ELEMENTS else (wanted.threads or threads.default_count())
    suspect = threads.share(run, parts, spread)
    return sums.total(tile_sums), suspect


def find(
    loss: Loss,
    alternative: int,
    params: Mapping[str, Any],
    arrays: tuple[str, ...],
    dtype: str,
    wanted: Wanted,
    weighing: str,
    width: int,
) -> RowsKernel | None:
    """Return the kernel that computes a request for a loss on rows of a width, or None if there is none.

    `params` are the parameters that are the same for all entries; `arrays` names those with one number for each entry.
    """
    if dtype not in TYPES or not loss.kernel:
        return None
    loss = loss.unbound
    # An option at its default, mostly off, and a choice between forms are settled before anything is compiled.
    free = tuple(name for name, held in params.items() if _is_free(loss, name, held))
    fixed = tuple((name, held) for name, held in params.items() if name not in free)
    regions = trace.regions_of(loss, params, free)
    uniform, regions = trace.settled(_graph(loss, alternative, fixed, free, arrays, regions), params, free, regions)
    static = tuple((name, held) for name, held in params.items() if name not in uniform)
    rows = height(width)
    return _compile(
        RowVariant(
            loss, alternative, dtype, static, uniform, arrays, wanted.order, wanted.value, weighing, rows, regions
        )
    )


def _is_free(loss: Loss, name: str, held: Any) -> bool:
    return (
        isinstance(held, float) and held != loss.defaults[name] and loss.parameter_domains[name][0].kind == "interval"
    )


def height(width: int) -> int:
    """How many rows make a tile: short rows in whole registers, long ones so that their scratch stays in the cache."""
    return LANES if width <= LANES else LANES // 4


def span(width: int, along: bool) -> int:
    """How many rows are brought side by side at once: those of a tile if they lie one after the other.

    If their entries are far apart, as many as are worth going to each, and stay in the cache.
    """
    rows = height(width)
    return rows if along else max(rows, min(FAR_ROWS, FAR_ENTRIES // width) // rows * rows)
