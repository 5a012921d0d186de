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
from lossary.errors import DomainError
from lossary.kernels.cpu.blocks import Blocks
from lossary.kernels.cpu.emit import TYPES
from lossary.kernels.cpu.row_source import RowVariant, write
from lossary.kernels.cpu.runtime import cache as machine_code
from lossary.kernels.cpu.runtime import layouts, threads
from lossary.kernels.cpu.runtime.cache import COMPILING
from lossary.kernels.cpu.sizes import LANES
from lossary.kernels.ir import parameters
from lossary.kernels.ir.graph import UnsupportedError
from lossary.kernels.ir.row_program import Argument
from lossary.kernels.registry import least
from lossary.kernels.request import DenseCalls, KernelMissingError, Request, Result
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
def _compile(variant: RowVariant) -> RowsKernel | None:
    with COMPILING:
        try:
            source, program, scratch = write(variant)
            made = machine_code.module(variant.loss.name, source)
        except (UnsupportedError, KernelMissingError):
            return None
        outputs = (variant.value == "each") + len(variant.loss.wrt) * len(variant.orders)
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


def find(
    loss: Loss,
    alternative: int,
    params: Mapping[str, Any],
    arrays: tuple[str, ...],
    dtype: str,
    request: Request,
    weighing: str,
    width: int,
) -> RowsKernel | None:
    """Return the kernel that computes a request for a loss on rows of a width, or None if there is none.

    `params` are the parameters that are the same for all entries; `arrays` names those with one number for each entry.
    """
    if dtype not in TYPES or not loss.kernel:
        return None
    loss = loss.unbound
    static, uniform, regions = parameters.of_rows(loss, alternative, params, arrays)
    rows = height(width)
    return _compile(
        RowVariant(
            loss, alternative, dtype, static, uniform, arrays, request.orders, request.value, weighing, rows, regions
        )
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


# --- bound ------------------------------------------------------------------------------------------------------------


class DenseRows(Blocks):
    """The generated kernel of a loss on rows of one length, bound to contiguous arrays: what the call caches keep."""

    def __init__(self, kernel: RowsKernel, calls: DenseCalls, params: Mapping[str, Any], ignored: int | None) -> None:
        self.length, self.width = math.prod(calls.batch), calls.width
        rows = height(self.width)
        scratch = _scratch(kernel, self.width, rows)
        super().__init__(kernel.function, -(-self.length // rows), 2, scratch, keep=True)
        extra = ("class_weight",) if calls.class_weight else ()
        names = [*calls.loss.arguments, *extra]
        self.kernel, self.params, self.ignored = kernel, params, ignored
        self.inputs = tuple(names.index(a.name) for a in kernel.arguments)
        self.divides, self.scaled = calls.reduction == "mean", bool(calls.orders)
        self.denominator = float(self.length if calls.denominator is None else calls.denominator)
        along = (0, self.width, 1)
        steps: dict[str, Any] = dict.fromkeys(kernel.tables, along)
        steps |= {a.name: (0, 0, 1) if a.name in extra else along if a.kind == "row" else 1 for a in kernel.arguments}
        self.settings = kernel.settings(rows, self.width, self.length, steps, ignored)
        self.settings_at = self.settings.ctypes.data
        self.usual = self._numbers(self.denominator)
        self.usual_at = self.usual.ctypes.data
        whole = kernel.scratch or self.scaled  # whether rows are read whole, rather than at a label alone
        self.shared = self.length * (self.width if whole else 1) >= SHARED_ELEMENTS

    def _numbers(self, denominator: float) -> Any:
        """What the kernel takes beside shapes and addresses, derivatives to be divided by a denominator."""
        return self.kernel.numbers(
            self.width, self.params, [1 / denominator if self.divides else 1.0] if self.scaled else []
        )

    def compute(
        self, addresses: Sequence[int], denominator: float | None = None, spread: int = 1
    ) -> tuple[float, float]:
        """Fill the outputs tile by tile, a second time if ignored labels change the denominator."""
        spread = spread if self.shared else 1
        if denominator is not None:
            return self._scaled(addresses, denominator, spread), denominator
        total, kept, wrong = self.run((self.settings_at, self.usual_at, *addresses), spread)
        if wrong:
            raise DomainError
        if self.ignored is None or kept == self.length:
            return total, self.denominator
        if self.divides:  # labels to ignore are rare, and only now counted
            if kept == 0:
                raise DomainError
            if self.scaled:
                self._scaled(addresses, kept, spread)
        return total, kept

    def _scaled(self, addresses: Sequence[int], denominator: float, spread: int) -> float:
        numbers = self._numbers(denominator)
        total, _, wrong = self.run((self.settings_at, numbers.ctypes.data, *addresses), spread)
        if wrong:
            raise DomainError
        return total


def bind(calls: DenseCalls) -> DenseRows | None:
    """Return the kernel bound to what some calls share, or None if there is none."""
    domains = [calls.loss.domain(name, calls.alternative) for name in calls.loss.arguments]
    if calls.check and any(allowed.bounded and allowed.kind != "index" for allowed in domains):
        return None
    params = dict(calls.params)
    ignored = params.pop("ignore_index", None)
    extra = ("class_weight",) if calls.class_weight else ()
    numbers = {name: held for name, held in params.items() if name not in extra}
    request = Request("each" if calls.reduction == "none" else "sum", calls.orders)
    weighing = "" if ignored is None else "ignore"
    kernel = find(calls.loss, calls.alternative, numbers, extra, calls.dtype, request, weighing, calls.width)
    return None if kernel is None else DenseRows(kernel, calls, params, ignored)


def _scratch(kernel: RowsKernel, width: int, rows: int) -> int:
    """Return the bytes of scratch memory for a block of rows; at least 1, for the kernel takes an address."""
    return 1 + kernel.scratch * width * rows * np.dtype(kernel.dtype).itemsize


# --- a prepared call --------------------------------------------------------------------------------------------------


def run(call: Any, request: Request, smallest: int = ROW_ELEMENTS) -> Result | None:
    """Compute a call on NumPy arrays, or return None if it is not for a kernel: of fewer entries than the smallest."""
    row = next(x for x, core in zip(call.arrays, call.signature.inputs, strict=True) if core)
    width, length = row.shape[-1], math.prod(call.batch)
    if width * length < max(least(smallest), 1):
        return None
    arrays = dict(zip(call.loss.arguments, call.arrays, strict=True))
    if any(arrays[name].shape[:-1] != call.batch for name in call.loss.wrt):
        return None
    arrays |= {name: held for name, held in call.params.items() if isinstance(held, np.ndarray)}
    numbers = {name: held for name, held in call.params.items() if name not in arrays}
    extra = tuple(name for name in arrays if name not in call.loss.arguments)
    weighing = "" if request.weights is None else "weight"
    dtype = np.dtype(call.dtype)
    kernel = find(call.loss, call.alternative, numbers, extra, dtype.name, request, weighing, width)
    if kernel is None:
        return None
    if any(a.kind == "row" and arrays[a.name].shape[:-1] not in (call.batch, ()) for a in kernel.arguments):
        return None
    checks_labels = all(allowed.kind == "index" or not allowed.bounded for allowed in call.domains)
    if not checks_labels:
        call.check_values()
    given = [_RowInput(arrays[a.name], a.kind, call.batch, dtype) for a in kernel.arguments]
    dense = layouts.Layout(1, length, (0, 1, width), 0, length * width)  # a curvature of 0 reads no row
    like = next((x.place for x in given if x.place is not None), dense)
    steps = {a.name: x.steps(like) for a, x in zip(kernel.arguments, given, strict=True)}
    values = np.empty(call.batch, dtype) if request.value == "each" else None
    derivatives: list[Any] = []
    buffers = call.out or [None] * len(call.loss.wrt)
    for _ in request.orders:
        for name, buffer in zip(call.loss.wrt, buffers, strict=True):
            table = f"derivative_{len(derivatives)}"
            if table in kernel.tables:
                derivative, (outer, entry, along) = like.output(arrays[name].shape, dtype, buffer)
                steps[table] = outer, along, entry
            else:
                derivative = np.empty(call.batch, dtype)  # in a number of each row
            derivatives.append(derivative)
    memory = [x.array for x in given]
    if request.weights is not None:
        memory.append(layouts.dense(np.broadcast_to(request.weights, call.batch), dtype))
    memory += [*([] if values is None else [values]), *derivatives]

    rows = span(width, like.steps[1] == 1 or width == 1)
    parts = like.outer * -(-like.inner // rows)
    settings = kernel.settings(rows, width, like.inner, steps)
    factors = kernel.numbers(width, numbers, [request.scale] if request.orders else [])
    blocks = Blocks(kernel.function, parts, 2, _scratch(kernel, width, rows), keep=False)
    shared = like.outer * like.inner * width >= SHARED_ELEMENTS
    spread = (request.threads or threads.default_count()) if shared else 1
    total, _, wrong = blocks.run(tuple(x.ctypes.data for x in (settings, factors, *memory)), spread)
    if wrong and checks_labels:
        call.check_values()
    count = len(call.loss.wrt)
    grouped = tuple(tuple(derivatives[at : at + count]) for at in range(0, len(derivatives), count))
    return Result(total if request.value == "sum" else values, grouped)


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
