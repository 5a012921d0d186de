"""A kernel with all its arguments but the addresses: what is found out once about calls of one kind.

A call is plain if its arrays are whole blocks of memory of one float type (and labels), its parameters are numbers, and
every example counts, but for labels to be ignored. Then shapes, types and parameters decide everything: `plan` says
once what `lossary.lean` (tensors) and `lossary.plain` (NumPy arrays) do for every call that is like it.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from lossary.catalogue import Loss
from lossary.errors import DomainError
from lossary.kernels import table
from lossary.kernels.cpu import lanes, pointwise, rows, threads
from lossary.kernels.table import Wanted

How = Literal["none", "mean", "sum"]

_FEW = 7  # sums that NumPy adds one after the other, so that Python may as well: the result is the same to the bit


class Plan:
    """How to compute calls of one kind.

    Called with the addresses of the arrays that the kernel takes (`inputs` says which, in order), of values if each is
    wanted, and of derivatives, it fills the results and returns the sum of all values and how many there are to divide
    it by. A `DomainError` says that the long way has to be gone: an array has a value outside its domain, or the mean
    would be one of nothing.
    """

    inputs: tuple[int, ...]
    function: Callable[..., int]
    shared: bool  # whether the work is worth several threads
    parts: int  # pieces of the work, each with a sum of its own
    fields: int = 1  # what is written down for each

    def __call__(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        raise NotImplementedError

    def sums(self) -> Any:
        """Room for what each piece adds up."""
        numbers = self.fields * self.parts
        return (ctypes.c_double * numbers)() if self.parts <= _FEW else np.empty(numbers)


def _address(sums: Any) -> Any:
    return sums.ctypes.data if isinstance(sums, np.ndarray) else sums


def _total(sums: Any) -> float:
    if isinstance(sums, np.ndarray):
        return float(sums.sum())
    total: float = 0.0
    for x in sums:  # not `sum`, which compensates for rounding from Python 3.12 on
        total += x
    return total


class Numbers(Plan):
    """Calls of a pointwise loss."""

    def __init__(
        self,
        found: pointwise.Compiled,
        loss: Loss,
        params: Mapping[str, Any],
        how: How,
        order: int,
        length: int,
        count: float,
    ) -> None:
        self.function, self.length, self.count, self.order = found.function, length, count, order
        self.inputs = tuple(loss.arguments.index(name) for name in found.arguments)
        self.parts = -(-length // pointwise.BLOCK)
        self.divides = how == "mean"
        self.uniforms = tuple(map(float, found.uniforms(**{name: params[name] for name in found.uniform_names})))
        self.shared = length >= pointwise.LEAST_SHARED

    def __call__(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        count = self.count if count is None else count
        scale = ((1 / count if self.divides else 1.0),) if self.order else ()
        sums = self.sums()
        rest = (self.length, *addresses, *self.uniforms, *scale, _address(sums))
        if self.shared and spread > 1:
            suspect = threads.share(lambda first, last: self.function(first, last, *rest), self.parts, spread)
        else:
            suspect = self.function(0, self.parts, *rest)
        if suspect:
            raise DomainError
        return _total(sums), count


class Rows(Plan):
    """Calls of a loss on rows of one length."""

    fields = 2

    def __init__(
        self,
        found: lanes.Compiled,
        names: Sequence[str],
        shared: Sequence[str],
        params: Mapping[str, Any],
        how: How,
        order: int,
        shape: tuple[int, int],
        count: float,
        ignored: int | None,
    ) -> None:
        self.kernel, self.function, self.params = found, found.function, params
        self.inputs = tuple(names.index(a.name) for a in found.arguments)
        self.length, self.width = shape
        self.divides, self.order, self.count, self.ignored = how == "mean", order, count, ignored
        height = lanes.height(self.width)
        self.parts = -(-self.length // height)
        along = (0, self.width, 1)
        steps: dict[str, Any] = dict.fromkeys(found.tables, along)
        steps |= {a.name: (0, 0, 1) if a.name in shared else along if a.kind == "row" else 1 for a in found.arguments}
        self.settings = found.settings(height, self.width, self.length, steps, ignored)
        self.settings_at = self.settings.ctypes.data
        self.usual = self._numbers(count)
        self.usual_at = self.usual.ctypes.data
        self.shared = self.length * self.width >= lanes.LEAST_SHARED
        self.scratch = 1 + found.scratch * self.width * height * np.dtype(found.dtype).itemsize
        self.free: list[Any] = _free.setdefault(self.scratch, [])

    def _numbers(self, count: float) -> Any:
        """What the kernel takes beside shapes and addresses, derivatives to be divided by a count."""
        return self.kernel.numbers(self.width, self.params, [1 / count if self.divides else 1.0] if self.order else [])

    def __call__(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        sums = self.sums()
        self._run(addresses, sums, spread, count)
        total = _total(sums[::2])
        if count is not None or self.ignored is None:
            return total, self.count if count is None else count
        kept = _total(sums[1::2])
        if self.divides and kept < self.length:  # labels to ignore are rare, and how many there are is known only now
            if kept == 0:
                raise DomainError
            if self.order:
                self._run(addresses, sums, spread, kept)
        return total, kept if kept < self.length else self.count

    def _run(self, addresses: Sequence[int], sums: Any, spread: int, count: float | None) -> None:
        numbers = self.usual if count is None else self._numbers(count)
        rest = (self.settings_at, self.usual_at if count is None else numbers.ctypes.data, *addresses)
        sums_at = _address(sums)
        if self.shared and spread > 1:
            outside = threads.share(lambda first, last: self._some(first, last, rest, sums_at), self.parts, spread)
        else:
            outside = self._some(0, self.parts, rest, sums_at)
        if outside:
            raise DomainError

    def _some(self, first: int, last: int, rest: tuple[Any, ...], sums: Any) -> int:
        """Compute some of the parts, with scratch memory of their own."""
        try:
            held = self.free.pop()
        except IndexError:
            room = (ctypes.c_byte * self.scratch)()
            held = ctypes.addressof(room), room
        found = self.function(first, last, *rest, held[0], sums)
        self.free.append(held)
        return found


class Labelled(Plan):
    """Calls of softmax cross-entropy on few long rows and their labels, for the kernel written by hand."""

    def __init__(
        self,
        params: Mapping[str, Any],
        how: How,
        order: int,
        shape: tuple[int, int],
        dtype: str,
        ignored: int | None,
        weighed: bool,
    ) -> None:
        self.length, self.width = shape
        self.kernel = rows.Labelled(*shape, dtype, float(params["label_smoothing"]), weighed, bool(order))
        self.inputs = (0, 1, 2) if weighed else (0, 1)
        self.survey, self.shared = lanes.survey(), False
        self.divides, self.order, self.weighed, self.each = how == "mean", order, weighed, how == "none"
        self.ignored, self.dtype = lanes.NO_LABEL if ignored is None else ignored, dtype

    @staticmethod
    def suits(loss: Loss, alternative: int, params: Mapping[str, Any], entries: int, width: int) -> bool:
        """Whether calls are of these."""
        if loss.name != "softmax_cross_entropy" or width <= table.SIDE_BY_SIDE or entries >= rows.LEAST_SHARED:
            return False
        own = {"label_smoothing", "class_weight"}
        plain = all(params[name] == held for name, held in loss.defaults.items() if name not in own | {"ignore_index"})
        return plain and loss.domain("target", alternative).kind == "index"

    def __call__(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        logits, labels, *rest = addresses
        class_weight = rest.pop(0) if self.weighed else 0
        values = rest.pop(0) if self.each else 0
        grad = rest.pop(0) if self.order else 0
        kept = self.survey(self.length, self.width, self.ignored, labels)
        if kept < 0 or (kept == 0 and self.divides):
            raise DomainError
        factors = None
        if kept < self.length:
            held = np.ctypeslib.as_array(ctypes.cast(labels, ctypes.POINTER(ctypes.c_int64)), (self.length,))
            factors = (held != self.ignored).astype(self.dtype)
        count = kept if count is None else count
        told = 0 if factors is None else factors.ctypes.data
        total = self.kernel(logits, labels, class_weight, told, 1 / count if self.divides else 1.0, values, grad)
        return total, count


# Scratch memory that nobody uses at the moment, by its size in bytes: where it is, and what holds it.
_free: dict[int, list[Any]] = {}


def plan(
    loss: Loss,
    alternative: int,
    params: Mapping[str, Any],
    batch: tuple[int, ...],
    width: int,
    dtype: str,
    how: How,
    order: int,
    check: bool,
    count: float | None = None,
    weighed: bool = False,
) -> Plan | None:
    """Return how calls of one kind are computed, or None if there is no kernel for them.

    `params` are all of the loss's, as numbers; with `weighed` an array of class weights comes after those of the loss.
    A mean divides by `count`, or by the number of values. With `check`, values are held to their domains.
    """
    params, length = dict(params), math.prod(batch)
    ignored = params.pop("ignore_index", None)
    wanted = Wanted("each" if how == "none" else "sum", order)
    held = float(length if count is None else count)
    if not loss.signatures[alternative].rank:
        found = None if ignored is not None else pointwise.find(loss, params, (), dtype, wanted, check)
        return None if found is None else Numbers(found, loss, params, how, order, length, held)
    domains = [loss.domain(name, alternative) for name in loss.arguments]
    if check and any(allowed.bounded and allowed.kind != "index" for allowed in domains):
        return None
    if count is None and Labelled.suits(loss, alternative, params, length * width, width):
        return Labelled(params, how, order, (length, width), dtype, ignored, weighed)
    extra = ("class_weight",) if weighed else ()
    own = {name: value for name, value in params.items() if name not in extra}
    on_rows = lanes.find(loss, alternative, own, extra, dtype, wanted, "" if ignored is None else "ignore", width)
    if on_rows is None:
        return None
    return Rows(on_rows, [*loss.arguments, *extra], extra, params, how, order, (length, width), held, ignored)
