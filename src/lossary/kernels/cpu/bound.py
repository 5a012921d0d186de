"""A kernel with all its arguments but the addresses: what is found out once about calls of one kind.

A call is plain if its arrays are whole blocks of memory of one float type (and labels), its parameters are numbers, and
every example counts, but for labels to be ignored. Then shapes, types and parameters decide everything: `plan` says
once what `backends.torch.fast` (tensors) and `backends.numpy.fast` (NumPy arrays) do for every call that is like it.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from lossary.catalogue import Loss
from lossary.errors import DomainError
from lossary.kernels import table
from lossary.kernels.cpu import generated_pointwise as pointwise
from lossary.kernels.cpu import generated_rows as lanes
from lossary.kernels.cpu.runtime import sums as totals
from lossary.kernels.cpu.runtime import threads
from lossary.kernels.cpu.sizes import BLOCK
from lossary.kernels.cpu.softmax import host as rows
from lossary.kernels.table import Wanted

How = Literal["none", "mean", "sum"]

_FEW = 3  # sums that are added sooner here than by compiled code


class Plan:
    """How to compute calls of one kind."""

    inputs: tuple[int, ...]  # which arrays the kernel takes, in order
    shared: bool  # whether the work is worth several threads

    def compute(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        """Fill the results, and return the sum of all values and how many there are to divide it by.

        The addresses are those of the arrays, of values if each is wanted, and of derivatives. A `DomainError` says
        that the long way has to be gone: an array has a value outside its domain, or the mean would be one of nothing.
        """
        raise NotImplementedError


class _Room:
    """Memory that one call at a time works in: scratch for the kernel, and what each piece of the work adds up."""

    # Those that nobody uses at the moment, by their sizes.
    _free: ClassVar[dict[tuple[int, int], list[_Room]]] = {}

    def __init__(self, scratch: int, sums: int = 0) -> None:
        held = (ctypes.c_byte * (8 * (2 + sums) + scratch))()
        self.totals_at = ctypes.addressof(held)
        sums_at = self.totals_at + 8 * 2
        self.scratch_at = sums_at + 8 * sums
        self.ends = (self.scratch_at, sums_at) if scratch else (sums_at,)
        self.numbers = (ctypes.c_double * (2 + sums)).from_buffer(held)  # two totals, and the sums

    @classmethod
    def free(cls, scratch: int, sums: int = 0) -> list[_Room]:
        """Return the free ones of a size, to take from and to give back to."""
        return cls._free.setdefault((scratch, sums), [])


class _Generated(Plan):
    """Calls of a generated kernel.

    Its function takes the first piece of the work and the one after the last, what `run` is given, the address of
    scratch memory if it needs any, and that of the sums, of which each piece has one, or two.
    """

    function: Callable[..., int]

    def __init__(self, parts: int, fields: int, scratch: int) -> None:
        self.parts, self.fields, self.scratch = parts, fields, scratch
        self.few = parts <= _FEW
        self.later = range(2 + fields, 2 + fields * parts, fields)
        self.added = totals.added()
        self.free = _Room.free(scratch, fields * parts)

    def run(self, given: tuple[Any, ...], spread: int) -> tuple[float, float]:
        """Compute everything, and return what the first and the last sums of all pieces add up to."""
        try:
            room = self.free.pop()
        except IndexError:
            room = _Room(self.scratch, self.fields * self.parts)
        if spread > 1 and self.shared:
            suspect = self._shared(given, room, spread)
        else:
            suspect = self.function(0, self.parts, *given, *room.ends)
        numbers, fields = room.numbers, self.fields
        if self.few:  # as `added` does it, without another call
            total, count = numbers[2], numbers[1 + fields]
            for at in self.later:
                total += numbers[at]
                count += numbers[at + fields - 1]
        else:
            self.added(room.ends[-1], self.parts, fields, room.totals_at)
            total, count = numbers[0], numbers[1]
        self.free.append(room)
        if suspect:
            raise DomainError
        return total, count

    def _shared(self, given: tuple[Any, ...], room: _Room, spread: int) -> int:
        """Compute everything in several threads, each with scratch memory of its own."""
        sums_at, free = room.ends[-1], _Room.free(self.scratch)

        def some(first: int, last: int) -> int:
            try:
                own = free.pop()
            except IndexError:
                own = _Room(self.scratch)
            suspect = self.function(first, last, *given, *own.ends[:-1], sums_at)
            free.append(own)
            return suspect

        return threads.share(some, self.parts, spread)


class Numbers(_Generated):
    """Calls of a pointwise loss."""

    def __init__(
        self,
        found: pointwise.PointwiseKernel,
        loss: Loss,
        params: Mapping[str, Any],
        how: How,
        order: int,
        length: int,
        count: float,
    ) -> None:
        super().__init__(-(-length // BLOCK), 1, 0)
        self.function, self.length, self.count = found.function, length, count
        self.inputs = tuple(loss.arguments.index(name) for name in found.arguments)
        self.scaled, self.divides = bool(order), how == "mean"
        self.uniforms = tuple(map(float, found.uniforms(**{name: params[name] for name in found.uniform_names})))
        self.usual = self._numbers(count)
        self.shared = length >= pointwise.LEAST_SHARED

    def _numbers(self, count: float) -> tuple[float, ...]:
        """What the kernel takes beside lengths and addresses, derivatives to be divided by a count."""
        return (*self.uniforms, 1 / count if self.divides else 1.0) if self.scaled else self.uniforms

    def compute(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        """Fill the results block by block."""
        numbers = self.usual if count is None else self._numbers(count)
        total, _ = self.run((self.length, *addresses, *numbers), spread)
        return total, self.count if count is None else count


class Rows(_Generated):
    """Calls of a loss on rows of one length."""

    def __init__(
        self,
        found: lanes.RowsKernel,
        names: Sequence[str],
        shared: Sequence[str],
        params: Mapping[str, Any],
        how: How,
        order: int,
        shape: tuple[int, int],
        count: float,
        ignored: int | None,
    ) -> None:
        self.length, self.width = shape
        height = lanes.height(self.width)
        scratch = 1 + found.scratch * self.width * height * np.dtype(found.dtype).itemsize
        super().__init__(-(-self.length // height), 2, scratch)
        self.kernel, self.function, self.params = found, found.function, params
        self.inputs = tuple(names.index(a.name) for a in found.arguments)
        self.divides, self.order, self.count, self.ignored = how == "mean", order, count, ignored
        along = (0, self.width, 1)
        steps: dict[str, Any] = dict.fromkeys(found.tables, along)
        steps |= {a.name: (0, 0, 1) if a.name in shared else along if a.kind == "row" else 1 for a in found.arguments}
        self.settings = found.settings(height, self.width, self.length, steps, ignored)
        self.settings_at = self.settings.ctypes.data
        self.usual = self._numbers(count)
        self.usual_at = self.usual.ctypes.data
        whole = found.scratch or order  # whether rows are gone through, not read at a label alone
        self.shared = self.length * (self.width if whole else 1) >= lanes.LEAST_SHARED

    def _numbers(self, count: float) -> Any:
        """What the kernel takes beside shapes and addresses, derivatives to be divided by a count."""
        return self.kernel.numbers(self.width, self.params, [1 / count if self.divides else 1.0] if self.order else [])

    def compute(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        """Fill the results tile by tile, a second time if labels to be ignored change the divisor."""
        if count is not None:
            return self._scaled(addresses, count, spread)[0], count
        total, kept = self.run((self.settings_at, self.usual_at, *addresses), spread)
        if self.ignored is None or kept == self.length:
            return total, self.count
        if self.divides:  # labels to ignore are rare, and how many there are is known only now
            if kept == 0:
                raise DomainError
            if self.order:
                self._scaled(addresses, kept, spread)
        return total, kept

    def _scaled(self, addresses: Sequence[int], count: float, spread: int) -> tuple[float, float]:
        numbers = self._numbers(count)
        return self.run((self.settings_at, numbers.ctypes.data, *addresses), spread)


class Listed(Plan):
    """Calls of a loss that takes how often each class is meant, given lists of the classes meant, which -1 ends."""

    def __init__(self, counted: Plan, argument: int, shape: tuple[int, int], dtype: str) -> None:
        self.counted, self.inputs, self.shared = counted, counted.inputs, counted.shared
        self.at, self.shape = counted.inputs.index(argument), shape
        self.listed = lanes.listed(dtype)
        self.room = math.prod(shape) * np.dtype(dtype).itemsize
        self.free = _Room.free(self.room)

    def compute(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        """Count the classes in each list, and fill the results."""
        try:
            room = self.free.pop()
        except IndexError:
            room = _Room(self.room)
        given = list(addresses)
        given[self.at] = room.scratch_at
        if self.listed(*self.shape, addresses[self.at], room.scratch_at):
            raise DomainError
        done = self.counted.compute(given, count, spread)
        self.free.append(room)
        return done


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
        if table.by_hand(loss)[1] != "cross_entropy" or width <= table.SIDE_BY_SIDE or entries >= rows.LEAST_SHARED:
            return False
        own = {"label_smoothing", "class_weight"}
        plain = all(params[name] == held for name, held in loss.defaults.items() if name not in own | {"ignore_index"})
        return plain and loss.domain("target", alternative).kind == "index"

    def compute(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        """Fill the results row by row, once it is known how many labels count."""
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
