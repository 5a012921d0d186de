"""Bound kernels: a compiled kernel with its shapes, types and parameters fixed, so that a call gives only addresses.

They serve the fast paths of the backends: calls whose arrays are contiguous and of one float type (and labels), whose
parameters are numbers, and whose examples have no weights. Then shapes, types and parameters decide everything, and
`bind` decides it once for all calls that share them.
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
from lossary.kernels.cpu import generated_pointwise, generated_rows, labels
from lossary.kernels.cpu.runtime import sums, threads
from lossary.kernels.cpu.sizes import BLOCK
from lossary.kernels.cpu.softmax.host import DenseCrossEntropy
from lossary.kernels.table import Wanted
from lossary.kernels.thresholds import FEW_SUMS, SHARED_ELEMENTS, SIDE_BY_SIDE_CLASSES

Reduction = Literal["none", "mean", "sum"]


class BoundKernel:
    """A kernel bound to shapes, types and parameters."""

    inputs: tuple[int, ...]  # which arrays the kernel takes, in order
    shared: bool  # whether the work is worth several threads

    def compute(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        """Fill the results, and return the sum of all values and how many there are to divide it by.

        The addresses are those of the arrays, of values if each is to be returned, and of derivatives. `count` is the
        divisor of a mean where it is not that of the shapes, `spread` the number of threads. Raises `DomainError` to
        request the general path: an array has a value out of domain, or the mean is one over no example.
        """
        raise NotImplementedError


class _Workspace:
    """Memory that one call at a time works in: scratch for the kernel, and the partial sum of each block."""

    # Those that no call uses at the moment, by their sizes.
    _free: ClassVar[dict[tuple[int, int], list[_Workspace]]] = {}

    def __init__(self, scratch: int, sums: int = 0) -> None:
        held = (ctypes.c_byte * (8 * (2 + sums) + scratch))()
        self.totals_at = ctypes.addressof(held)
        sums_at = self.totals_at + 8 * 2
        self.scratch_at = sums_at + 8 * sums
        self.ends = (self.scratch_at, sums_at) if scratch else (sums_at,)
        self.numbers = (ctypes.c_double * (2 + sums)).from_buffer(held)  # two totals, and the sums

    @classmethod
    def free(cls, scratch: int, sums: int = 0) -> list[_Workspace]:
        """Return the free ones of a size, to take from and to give back to."""
        return cls._free.setdefault((scratch, sums), [])


class _BoundGenerated(BoundKernel):
    """A generated kernel, bound.

    Its function takes the first block of the work and the one after the last, what `run` is given, the address of
    scratch memory if it needs any, and that of the partial sums, of which each block has one, or two.
    """

    function: Callable[..., int]

    def __init__(self, parts: int, fields: int, scratch: int) -> None:
        self.parts, self.fields, self.scratch = parts, fields, scratch
        self.few = parts <= FEW_SUMS
        self.later = range(2 + fields, 2 + fields * parts, fields)
        self.added = sums.block_sums()
        self.free = _Workspace.free(scratch, fields * parts)

    def run(self, given: tuple[Any, ...], spread: int) -> tuple[float, float]:
        """Compute everything, and return what the first and the last sums of all pieces add up to."""
        try:
            workspace = self.free.pop()
        except IndexError:
            workspace = _Workspace(self.scratch, self.fields * self.parts)
        if spread > 1 and self.shared:
            suspect = self._shared(given, workspace, spread)
        else:
            suspect = self.function(0, self.parts, *given, *workspace.ends)
        numbers, fields = workspace.numbers, self.fields
        if self.few:  # as `added` does it, without another call
            total, count = numbers[2], numbers[1 + fields]
            for at in self.later:
                total += numbers[at]
                count += numbers[at + fields - 1]
        else:
            self.added(workspace.ends[-1], self.parts, fields, workspace.totals_at)
            total, count = numbers[0], numbers[1]
        self.free.append(workspace)
        if suspect:
            raise DomainError
        return total, count

    def _shared(self, given: tuple[Any, ...], workspace: _Workspace, spread: int) -> int:
        """Compute everything in several threads, each with scratch memory of its own."""
        sums_at, free = workspace.ends[-1], _Workspace.free(self.scratch)

        def some(first: int, last: int) -> int:
            try:
                own = free.pop()
            except IndexError:
                own = _Workspace(self.scratch)
            suspect = self.function(first, last, *given, *own.ends[:-1], sums_at)
            free.append(own)
            return suspect

        return threads.share(some, self.parts, spread)


class BoundPointwise(_BoundGenerated):
    """The kernel of a pointwise loss, bound."""

    def __init__(
        self,
        found: generated_pointwise.PointwiseKernel,
        loss: Loss,
        params: Mapping[str, Any],
        reduction: Reduction,
        order: int,
        length: int,
        count: float,
    ) -> None:
        super().__init__(-(-length // BLOCK), 1, 0)
        self.function, self.length, self.count = found.function, length, count
        self.inputs = tuple(loss.arguments.index(name) for name in found.arguments)
        self.scaled, self.divides = bool(order), reduction == "mean"
        self.uniforms = tuple(map(float, found.uniforms(**{name: params[name] for name in found.uniform_names})))
        self.usual = self._numbers(count)
        self.shared = length >= SHARED_ELEMENTS

    def _numbers(self, count: float) -> tuple[float, ...]:
        """What the kernel takes beside lengths and addresses, derivatives to be divided by a count."""
        return (*self.uniforms, 1 / count if self.divides else 1.0) if self.scaled else self.uniforms

    def compute(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        """Fill the results block by block."""
        numbers = self.usual if count is None else self._numbers(count)
        total, _ = self.run((self.length, *addresses, *numbers), spread)
        return total, self.count if count is None else count


class BoundRows(_BoundGenerated):
    """The generated kernel of a loss on rows of one length, bound."""

    def __init__(
        self,
        found: generated_rows.RowsKernel,
        names: Sequence[str],
        shared: Sequence[str],
        params: Mapping[str, Any],
        reduction: Reduction,
        order: int,
        shape: tuple[int, int],
        count: float,
        ignored: int | None,
    ) -> None:
        self.length, self.width = shape
        height = generated_rows.height(self.width)
        scratch = 1 + found.scratch * self.width * height * np.dtype(found.dtype).itemsize
        super().__init__(-(-self.length // height), 2, scratch)
        self.kernel, self.function, self.params = found, found.function, params
        self.inputs = tuple(names.index(a.name) for a in found.arguments)
        self.divides, self.order, self.count, self.ignored = reduction == "mean", order, count, ignored
        along = (0, self.width, 1)
        steps: dict[str, Any] = dict.fromkeys(found.tables, along)
        steps |= {a.name: (0, 0, 1) if a.name in shared else along if a.kind == "row" else 1 for a in found.arguments}
        self.settings = found.settings(height, self.width, self.length, steps, ignored)
        self.settings_at = self.settings.ctypes.data
        self.usual = self._numbers(count)
        self.usual_at = self.usual.ctypes.data
        whole = found.scratch or order  # whether rows are gone through, not read at a label alone
        self.shared = self.length * (self.width if whole else 1) >= SHARED_ELEMENTS

    def _numbers(self, count: float) -> Any:
        """What the kernel takes beside shapes and addresses, derivatives to be divided by a count."""
        return self.kernel.numbers(self.width, self.params, [1 / count if self.divides else 1.0] if self.order else [])

    def compute(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        """Fill the results tile by tile, a second time if ignored labels change the divisor."""
        if count is not None:
            return self._scaled(addresses, count, spread)[0], count
        total, kept = self.run((self.settings_at, self.usual_at, *addresses), spread)
        if self.ignored is None or kept == self.length:
            return total, self.count
        if self.divides:  # labels to ignore are rare, and only now counted
            if kept == 0:
                raise DomainError
            if self.order:
                self._scaled(addresses, kept, spread)
        return total, kept

    def _scaled(self, addresses: Sequence[int], count: float, spread: int) -> tuple[float, float]:
        numbers = self._numbers(count)
        return self.run((self.settings_at, numbers.ctypes.data, *addresses), spread)


class BoundClassLists(BoundKernel):
    """A kernel for class counts, bound to lists of class indices that -1 ends instead of one row of counts each."""

    def __init__(self, counted: BoundKernel, argument: int, shape: tuple[int, int], dtype: str) -> None:
        self.kernel, self.inputs, self.shared = counted, counted.inputs, counted.shared
        self.at, self.shape = counted.inputs.index(argument), shape
        self.class_counts = labels.class_counts(dtype)
        self.scratch = math.prod(shape) * np.dtype(dtype).itemsize
        self.free = _Workspace.free(self.scratch)

    def compute(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        """Count the classes in each list, and fill the results."""
        try:
            workspace = self.free.pop()
        except IndexError:
            workspace = _Workspace(self.scratch)
        given = list(addresses)
        given[self.at] = workspace.scratch_at
        if self.class_counts(*self.shape, addresses[self.at], workspace.scratch_at):
            raise DomainError
        done = self.kernel.compute(given, count, spread)
        self.free.append(workspace)
        return done


class BoundCrossEntropy(BoundKernel):
    """The hand-written kernel for softmax cross-entropy, bound to few long rows and their labels."""

    def __init__(
        self,
        params: Mapping[str, Any],
        reduction: Reduction,
        order: int,
        shape: tuple[int, int],
        dtype: str,
        ignored: int | None,
        weighted: bool,
    ) -> None:
        self.length, self.width = shape
        self.kernel = DenseCrossEntropy(*shape, dtype, float(params["label_smoothing"]), weighted, bool(order))
        self.inputs = (0, 1, 2) if weighted else (0, 1)
        self.kept_labels, self.shared = labels.kept_labels(), False
        self.divides, self.each_value = reduction == "mean", reduction == "none"
        self.order, self.weighted = order, weighted
        self.ignored, self.dtype = labels.NO_LABEL if ignored is None else ignored, dtype

    @staticmethod
    def suits(loss: Loss, alternative: int, params: Mapping[str, Any], entries: int, width: int) -> bool:
        """Whether this kernel takes such calls."""
        if table.by_hand(loss)[1] != "cross_entropy" or width <= SIDE_BY_SIDE_CLASSES or entries >= SHARED_ELEMENTS:
            return False
        own = {"label_smoothing", "class_weight"}
        others = loss.defaults.keys() - own - {"ignore_index"}
        usual = all(params[name] == loss.defaults[name] for name in others)
        return usual and loss.domain("target", alternative).kind == "index"

    def compute(self, addresses: Sequence[int], count: float | None = None, spread: int = 1) -> tuple[float, float]:
        """Fill the results row by row, once the kept labels are counted."""
        logits, targets, *rest = addresses
        class_weight = rest.pop(0) if self.weighted else 0
        values = rest.pop(0) if self.each_value else 0
        grad = rest.pop(0) if self.order else 0
        kept = self.kept_labels(self.length, self.width, self.ignored, targets)
        if kept < 0 or (kept == 0 and self.divides):
            raise DomainError
        factors = None
        if kept < self.length:
            held = np.ctypeslib.as_array(ctypes.cast(targets, ctypes.POINTER(ctypes.c_int64)), (self.length,))
            factors = (held != self.ignored).astype(self.dtype)
        count = kept if count is None else count
        factors_at = 0 if factors is None else factors.ctypes.data
        scale = 1 / count if self.divides else 1.0
        total = self.kernel(logits, targets, class_weight, factors_at, scale, values, grad)
        return total, count


def bind(
    loss: Loss,
    alternative: int,
    params: Mapping[str, Any],
    batch: tuple[int, ...],
    width: int,
    dtype: str,
    reduction: Reduction,
    order: int,
    check: bool,
    count: float | None = None,
    weighted: bool = False,
) -> BoundKernel | None:
    """Return the kernel bound to what calls of one kind share, or None if there is no kernel for them.

    `params` are all of the loss's, as numbers; with `weighted` an array of class weights comes after those of the loss.
    A mean divides by `count`, or by the number of values. With `check`, values are held to their domains.
    """
    params, length = dict(params), math.prod(batch)
    ignored = params.pop("ignore_index", None)
    wanted = Wanted("each" if reduction == "none" else "sum", order)
    held = float(length if count is None else count)
    if not loss.signatures[alternative].rank:
        found = None if ignored is not None else generated_pointwise.find(loss, params, (), dtype, wanted, check)
        return None if found is None else BoundPointwise(found, loss, params, reduction, order, length, held)
    domains = [loss.domain(name, alternative) for name in loss.arguments]
    if check and any(allowed.bounded and allowed.kind != "index" for allowed in domains):
        return None
    if count is None and BoundCrossEntropy.suits(loss, alternative, params, length * width, width):
        return BoundCrossEntropy(params, reduction, order, (length, width), dtype, ignored, weighted)
    extra = ("class_weight",) if weighted else ()
    own = {name: value for name, value in params.items() if name not in extra}
    on_rows = generated_rows.find(
        loss, alternative, own, extra, dtype, wanted, "" if ignored is None else "ignore", width
    )
    if on_rows is None:
        return None
    return BoundRows(
        on_rows, [*loss.arguments, *extra], extra, params, reduction, order, (length, width), held, ignored
    )
