"""The call cache: what the first call of a (loss, shapes, dtypes, parameters) computed, kept for later ones.

Checking a call, choosing dtypes and looking for a kernel take several times as long as a kernel on twenty thousand
numbers, and depend on the key alone. The first call does that work; the fast paths of the backends keep its result
here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lossary.catalogue import Loss
from lossary.errors import LossaryError
from lossary.evaluate import checks
from lossary.kernels.request import DenseCalls

NUMBERS = frozenset((float, int, bool, str, type(None)))  # types of parameters that a key may hold
_MOST = 4096  # entries kept; a program that needs more (every batch of another length) starts over

_entries: dict[tuple[Any, ...], Any] = {}


def entry(key: tuple[Any, ...]) -> Any:
    """Return the entry of a key, or raise `KeyError`."""
    return _entries[key]


def keep(key: tuple[Any, ...], found: Any) -> None:
    """Store the result of a first call under its key."""
    if len(_entries) >= _MOST:
        clear()
    _entries[key] = found


_shortcuts: list[dict[Any, Any]] = [_entries]


def clear_with(shortcut: dict[Any, Any]) -> None:
    """Register a dictionary of shortcuts to entries, which is cleared whenever the cache is."""
    _shortcuts.append(shortcut)


def clear() -> None:
    """Clear the cache and its shortcuts."""
    for held in _shortcuts:
        held.clear()


@dataclass(frozen=True)
class Dense:
    """A call on arrays of one float dtype (and labels), each with the whole batch, whose parameters are numbers."""

    loss: Loss
    params: dict[str, Any]  # all of them
    alternative: int
    batch: tuple[int, ...]
    like: Any  # the array that determines the dtype and the width of a row

    @property
    def width(self) -> int:
        """The entries of a row; 1 for a loss on numbers."""
        return int(math.prod(self.like.shape) // math.prod(self.batch))

    def calls(
        self,
        dtype: str,
        reduction: Literal["none", "mean", "sum"],
        orders: tuple[int, ...],
        check: bool,
        denominator: float | None = None,
        class_weight: bool = False,
    ) -> DenseCalls:
        """Return the description of these calls that a kernel is bound to."""
        return DenseCalls(
            loss=self.loss,
            alternative=self.alternative,
            params=self.params,
            batch=self.batch,
            width=self.width,
            dtype=dtype,
            reduction=reduction,
            orders=orders,
            check=check,
            denominator=denominator,
            class_weight=class_weight,
        )


def dense(
    loss: Loss, arrays: Sequence[Any], params: Mapping[str, Any], floats: Collection[Any], label: Any
) -> Dense | None:
    """Return a call as a dense one, its numbers of a dtype in `floats`, its labels of dtype `label`; None if it is not.

    An empty call, or one that the general path would reject, is not dense.
    """
    if loss.coupling is not None or len(arrays) != len(loss.arguments):
        return None
    try:
        held = checks.parameters(loss, params)
        alternative, batch = checks.shapes(loss, loss.signatures, arrays)
    except LossaryError:  # the general path raises the error, or accepts the call
        return None
    if held.get("ignore_index") is not None and not -(2**63) <= held["ignore_index"] < 2**63:
        held["ignore_index"] = None  # no label of 64 bits equals it
    signature = loss.signatures[alternative]
    if signature.rank > 1 or any(type(value) not in NUMBERS for value in held.values()):
        return None
    # The width of a row is that of the first array that has one: a number may come before it.
    like = next(x for x, core in zip(arrays, signature.inputs, strict=True) if core or not signature.rank)
    if like.dtype not in floats or 0 in like.shape:
        return None
    for name, core, x in zip(loss.arguments, signature.inputs, arrays, strict=True):
        expected = label if loss.domain(name, alternative).kind == "index" else like.dtype
        if x.shape[: x.ndim - len(core)] != batch or x.dtype != expected:
            return None
    return Dense(loss, held, alternative, tuple(batch), like)
