"""Fast path of NumPy calls: caches the kernel chosen for each (loss, shapes, dtypes, parameters).

A kernel goes through twenty thousand numbers in ten microseconds; checking a call, choosing types and looking for the
kernel take five times as long, and depend on shapes, types and parameters alone. So the first call finds them out, and
later calls like it run the bound kernel. All other calls return None here and take the general path.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from lossary.catalogue import Loss
from lossary.errors import DomainError, LossaryError
from lossary.evaluate import checks
from lossary.kernels import table

NUMBERS = frozenset((float, int, bool, str, type(None)))
_KEPT = 4096  # kinds remembered; a program that meets more starts over

_kinds: dict[tuple[Any, ...], _Kind | None] = {}


def evaluated(
    loss: Loss, arrays: Sequence[Any], params: Mapping[str, Any], how: Any, order: int, check: bool
) -> tuple[Any, tuple[Any, ...]] | None:
    """Return the value under a reduction and the derivatives of an order, 0 for none; None if the call is not plain."""
    if not table.available() or all(x.size < table.least(table.LEAST_ROWS) for x in arrays if type(x) is np.ndarray):
        return None
    key: list[Any] = [loss, how, order, check, *params.items()]
    for value in params.values():
        if type(value) not in NUMBERS:
            return None
    for x in arrays:
        if type(x) is not np.ndarray or not x.flags.c_contiguous or not x.flags.aligned:
            return None
        key += x.shape, x.dtype
    kept = tuple(key)
    try:
        kind = _kinds[kept]
    except KeyError:
        if len(_kinds) >= _KEPT:
            _kinds.clear()
        _kinds[kept] = kind = _kind(loss, arrays, params, how, order, check)
    if kind is None:
        return None
    try:
        return kind.evaluate(arrays)
    except DomainError:  # the long way says which value it is
        return None


def form(
    loss: Loss, arrays: Sequence[Any], params: Mapping[str, Any], floats: Collection[Any], label: Any
) -> tuple[dict[str, Any], int, tuple[int, ...], Any] | None:
    """Return the parameters, the alternative, the batch, and the array that says type and width, of a plain call.

    None if it is not one: numbers are of one of the types `floats` and labels of the type `label`, each array has the
    whole batch, all parameters are numbers, and there is something to compute.
    """
    if loss.coupling is not None or len(arrays) != len(loss.arguments):
        return None
    try:
        held = checks.parameters(loss, params)
        alternative, batch = checks.shapes(loss, loss.signatures, arrays)
    except LossaryError:  # the long way says what is wrong, or takes it as it is
        return None
    if held.get("ignore_index") is not None and not -(2**63) <= held["ignore_index"] < 2**63:
        held["ignore_index"] = None  # no label of 64 bits is it
    signature = loss.signatures[alternative]
    if signature.rank > 1 or any(type(value) not in NUMBERS for value in held.values()):
        return None
    # The width of a row is that of the first array that has one: a number may stand before it.
    like = next(x for x, core in zip(arrays, signature.inputs, strict=True) if core or not signature.rank)
    if like.dtype not in floats or 0 in like.shape:
        return None
    for name, core, x in zip(loss.arguments, signature.inputs, arrays, strict=True):
        wanted = label if loss.domain(name, alternative).kind == "index" else like.dtype
        if x.shape[: x.ndim - len(core)] != batch or x.dtype != wanted:
            return None
    return held, alternative, batch, like


_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def _kind(
    loss: Loss, arrays: Sequence[Any], params: Mapping[str, Any], how: Any, order: int, check: bool
) -> _Kind | None:
    found = form(loss, arrays, params, _FLOATS, np.dtype(np.intp))
    if found is None or how not in ("none", "mean", "sum"):
        return None
    held, alternative, batch, like = found
    width = like.size // math.prod(batch)
    by_hand = like.ndim > len(batch) and bool(table.by_hand(loss)[0])  # for long rows, and for fewer entries
    from lossary.kernels.cpu.bound import BoundCrossEntropy, bind

    if like.size < table.least(table.LEAST_ROWS if by_hand else table.LEAST):
        return None
    if (
        by_hand
        and width > table.SIDE_BY_SIDE
        and not BoundCrossEntropy.suits(loss, alternative, held, like.size, width)
    ):
        return None
    plan = bind(loss, alternative, held, batch, width, like.dtype.name, how, order, check)
    return None if plan is None else _Kind(loss, plan, batch, like.dtype, how, order)


class _Kind:
    """A kind of call."""

    def __init__(self, loss: Loss, plan: Any, batch: tuple[int, ...], dtype: Any, how: str, order: int) -> None:
        from lossary.kernels.cpu.runtime import memory, threads

        self.plan, self.batch, self.dtype, self.how = plan, batch, dtype, how
        self.wrt = tuple(loss.arguments.index(name) for name in loss.wrt) if order else ()
        self.empty, self.threads = memory.empty, threads.default_count

    def evaluate(self, arrays: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
        """Return value and derivatives; a DomainError leads the long way."""
        plan = self.plan
        values = [self.empty(self.batch, self.dtype)] if self.how == "none" else []
        slopes = [self.empty(arrays[at].shape, self.dtype) for at in self.wrt]
        given = [arrays[at] for at in plan.inputs]
        addresses = [x.__array_interface__["data"][0] for x in (*given, *values, *slopes)]
        total, count = plan.compute(addresses, None, self.threads() if plan.shared else 1)
        if self.how == "none":
            return values[0][()], tuple(slopes)
        return self.dtype.type(total / count if self.how == "mean" else total), tuple(slopes)
