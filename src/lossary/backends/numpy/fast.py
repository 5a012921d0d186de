"""Fast path of NumPy calls: runs the bound kernel that the call cache has for (loss, shapes, dtypes, parameters)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossary.backends import cache
from lossary.catalogue import Loss
from lossary.errors import DomainError
from lossary.kernels import registry as kernels
from lossary.kernels.request import BoundKernel


def evaluated(
    loss: Loss, arrays: Sequence[Any], params: Mapping[str, Any], reduction: Any, orders: tuple[int, ...], check: bool
) -> tuple[Any, tuple[Any, ...]] | None:
    """Return the value under a reduction and the derivatives of an order, if any; None to take the general path."""
    if not kernels.available():
        return None
    if all(x.size < kernels.least(kernels.LEAST_ROWS) for x in arrays if type(x) is np.ndarray):
        return None
    key: list[Any] = [loss, reduction, orders, check, *params.items()]
    for value in params.values():
        if type(value) not in cache.NUMBERS:
            return None
    for x in arrays:
        if type(x) is not np.ndarray or not x.flags.c_contiguous or not x.flags.aligned:
            return None
        key += x.shape, x.dtype
    kept = tuple(key)
    try:
        call = cache.entry(kept)
    except KeyError:
        call = _bound(loss, arrays, params, reduction, orders, check)
        cache.keep(kept, call)
    if call is None:
        return None
    try:
        found: tuple[Any, tuple[Any, ...]] = call.run(arrays)
    except DomainError:  # the general path names the value
        return None
    return found


_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def _bound(
    loss: Loss, arrays: Sequence[Any], params: Mapping[str, Any], reduction: Any, orders: tuple[int, ...], check: bool
) -> _BoundCall | None:
    dense = cache.dense(loss, arrays, params, _FLOATS, np.dtype(np.intp))
    if dense is None or reduction not in ("none", "mean", "sum"):
        return None
    softmax = dense.like.ndim > len(dense.batch) and bool(kernels.by_hand(loss)[0])
    if dense.like.size < kernels.least(kernels.LEAST_ROWS if softmax else kernels.LEAST):
        return None
    kernel = kernels.find(loss)
    bound = None if kernel is None else kernel.bind(dense.calls(dense.like.dtype.name, reduction, orders, check))
    return None if bound is None else _BoundCall(loss, bound, dense.batch, dense.like.dtype, reduction, orders)


class _BoundCall:
    """A bound kernel, and the arrays that its results are returned in."""

    def __init__(
        self,
        loss: Loss,
        kernel: BoundKernel,
        batch: tuple[int, ...],
        dtype: Any,
        reduction: str,
        orders: tuple[int, ...],
    ) -> None:
        from lossary.kernels.cpu.runtime import memory, threads

        self.kernel, self.batch, self.dtype, self.reduction = kernel, batch, dtype, reduction
        self.wrt = tuple(loss.arguments.index(name) for name in loss.wrt) * len(orders)
        self.empty, self.threads = memory.empty, threads.default_count

    def run(self, arrays: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
        """Return value and derivatives; raises `DomainError` to request the general path."""
        kernel = self.kernel
        values = [self.empty(self.batch, self.dtype)] if self.reduction == "none" else []
        derivatives = [self.empty(arrays[at].shape, self.dtype) for at in self.wrt]
        inputs = [arrays[at] for at in kernel.inputs]
        addresses = [x.__array_interface__["data"][0] for x in (*inputs, *values, *derivatives)]
        total, count = kernel.compute(addresses, None, self.threads() if kernel.shared else 1)
        if self.reduction == "none":
            return values[0][()], tuple(derivatives)
        return self.dtype.type(total / count if self.reduction == "mean" else total), tuple(derivatives)
