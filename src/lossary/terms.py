"""A total of several terms that remembers what it is made of.

Most trained losses are sums: a loss of data, a penalty, a regulariser. Once added up, nobody can see which of them
grew, or which was the first to become NaN. `weighted_sum` adds them and keeps the account.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from numbers import Real
from operator import add
from types import MappingProxyType
from typing import Any

from lossary.backends import registry as _dispatch
from lossary.errors import ArgumentError, ParameterError, ShapeError
from lossary.text.layout import aligned


@dataclass(frozen=True, eq=False, repr=False)
class WeightedSum:
    """A weighted sum and its account: per term, by name, its weight, its raw value, and what it adds to the total.

    It is used like the number it is: in arithmetic, comparisons, formatting and ``float()``. Of tensors it is a tensor
    itself (`lossary.terms_torch.TensorSum`), to call `backward` on and to hand to a ``GradScaler``. Negated, multiplied
    or divided by a number it is the same sum with other weights and keeps its account: ``total / steps`` can still be
    printed. What any other operation gives is a plain number or tensor, the same as from `total`.

    `total` and the values keep the type they came with, so that a tensor's total can be differentiated. ``float()``
    gives the total as a number; ``str()`` gives a table.
    """

    total: Any
    weights: Mapping[str, float]
    raw: Mapping[str, Any]
    weighted: Mapping[str, Any]

    @property
    def first_nonfinite(self) -> str | None:
        """Name of the first term whose raw value, or else whose contribution, is NaN or infinite; None if none is.

        A term of weight 0 is named too: its value does not reach the total, but it is worth knowing.
        """
        for part in (self.raw, self.weighted):  # where terms are multiplied, one spoils the contributions of all
            for name, value in part.items():
                if not math.isfinite(_number(value)):
                    return name
        return None

    # -- as text -----------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("term", "weight", "value", "weighted")]
        for name, weight in self.weights.items():
            rows.append((name, *(f"{_number(x):.6g}" for x in (weight, self.raw[name], self.weighted[name]))))
        rows.append(("total", "", "", f"{float(self):.6g}"))
        culprit = self.first_nonfinite
        return "\n".join(aligned(rows) + ([f"the first term that is not finite: {culprit}"] if culprit else []))

    def __repr__(self) -> str:
        terms = ", ".join(f"{name}={_number(value):.6g}" for name, value in self.weighted.items())
        return f"<{type(self).__name__} {float(self):.6g}: {terms}>"

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else str(self)

    # -- as a number -------------------------------------------------------------------------------------------------

    def item(self) -> float:
        """Return the total as a Python number."""
        return _number(self.total)

    def __float__(self) -> float:
        return _number(self.total)

    def __int__(self) -> int:
        return int(float(self))

    def __bool__(self) -> bool:
        return bool(self.total)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        import numpy as np

        return np.asarray(self.total).__array__(*args, **kwargs)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*map(plain, inputs), **options)

    def __neg__(self) -> Any:
        return self._times(-1.0, -self.total)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return abs(self.total)

    def __round__(self, digits: int | None = None) -> Any:
        return round(float(self), digits)

    def __add__(self, other: Any) -> Any:
        return self.total + plain(other)

    def __radd__(self, other: Any) -> Any:
        return plain(other) + self.total

    def __sub__(self, other: Any) -> Any:
        return self.total - plain(other)

    def __rsub__(self, other: Any) -> Any:
        return plain(other) - self.total

    def __mul__(self, other: Any) -> Any:
        product = self.total * plain(other)
        return self._times(other, product) if _is_factor(other) else product

    def __rmul__(self, other: Any) -> Any:
        product = plain(other) * self.total
        return self._times(other, product) if _is_factor(other) else product

    def __truediv__(self, other: Any) -> Any:
        quotient = self.total / plain(other)
        return self._times(1 / other, quotient) if _is_factor(other) else quotient

    def __rtruediv__(self, other: Any) -> Any:
        return plain(other) / self.total

    def __floordiv__(self, other: Any) -> Any:
        return self.total // plain(other)

    def __rfloordiv__(self, other: Any) -> Any:
        return plain(other) // self.total

    def __mod__(self, other: Any) -> Any:
        return self.total % plain(other)

    def __rmod__(self, other: Any) -> Any:
        return plain(other) % self.total

    def __pow__(self, other: Any) -> Any:
        return self.total ** plain(other)

    def __rpow__(self, other: Any) -> Any:
        return plain(other) ** self.total

    def __eq__(self, other: object) -> Any:
        return self.total == plain(other)

    def __ne__(self, other: object) -> Any:
        return self.total != plain(other)

    def __lt__(self, other: Any) -> Any:
        return self.total < plain(other)

    def __le__(self, other: Any) -> Any:
        return self.total <= plain(other)

    def __gt__(self, other: Any) -> Any:
        return self.total > plain(other)

    def __ge__(self, other: Any) -> Any:
        return self.total >= plain(other)

    def __hash__(self) -> int:
        return id(self)  # as that of a tensor: it compares by value and is found by identity

    def _times(self, factor: float, total: Any) -> Any:
        """Return the account of the total times a factor."""
        weights, weighted = ({k: v * factor for k, v in part.items()} for part in (self.weights, self.weighted))
        return self.made(total, weights, self.raw, weighted)

    @classmethod
    def made(
        cls, total: Any, weights: Mapping[str, Any], raw: Mapping[str, Any], weighted: Mapping[str, Any]
    ) -> WeightedSum:
        """Return a sum with this account, which nobody can change."""
        return cls(total, *map(MappingProxyType, (weights, raw, weighted)))

    # -- copies ------------------------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self.made, (self.total, *map(dict, (self.weights, self.raw, self.weighted)))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        make, parts = self.__reduce_ex__(2)
        return make(*(copy.deepcopy(part, memo) for part in parts))


def plain(x: Any) -> Any:
    """Return the total of a weighted sum, and anything else as it is."""
    return x.total if isinstance(x, WeightedSum) else x


def _is_factor(x: Any) -> bool:
    """Whether a sum times this, or divided by it, is the same sum with other weights."""
    return isinstance(x, Real) and not isinstance(x, (bool, WeightedSum)) and x != 0


def _number(x: Any) -> float:
    """Read a Python number, an array scalar or a tensor of no dimensions, whether or not it requires a gradient."""
    return float(x.item() if hasattr(x, "item") else x)


def weighted_sum(**terms: Any) -> WeightedSum:
    """Add named terms, each a value or a pair ``(weight, value)``, and remember each of them.

    A value is a single number: a Python number, a NumPy scalar, a tensor of no dimensions, as reduced by
    `lossary.mean`. A weight is a finite Python number; 1 if not said, and negative for what is to be made large. A term
    of weight 0 adds exactly 0, whatever its value is.

    Raises `ArgumentError` for no terms or something that is no number, `ShapeError` for a value that is not reduced,
    `ParameterError` for a weight that is NaN or infinite.

    >>> total = weighted_sum(data=0.5, size=(0.01, 30.0))
    >>> print(total)
    term   weight  value  weighted
    data        1    0.5       0.5
    size     0.01     30       0.3
    total                      0.8
    >>> float(total), total.weighted["size"]
    (0.8, 0.3)
    >>> print((total / 2).weights, f"{total / 2:.2f}", total + 1)
    {'data': 0.5, 'size': 0.005} 0.40 1.8
    >>> weighted_sum(data=0.5, size=(0.01, float("nan"))).first_nonfinite
    'size'
    """
    if not terms:
        raise ArgumentError(
            "weighted_sum: no terms were given; name each of them: weighted_sum(data=value, size=(1e-4, penalty))"
        )
    weights: dict[str, float] = {}
    raw: dict[str, Any] = {}
    weighted: dict[str, Any] = {}
    for name, term in terms.items():
        weight, value = _pair(name, term)
        weights[name], raw[name] = weight, value
        weighted[name] = weight * value if weight else 0.0  # 0 * NaN would be NaN
    total = reduce(add, weighted.values())
    if _dispatch.differentiates(total):
        from lossary.terms_torch import TensorSum

        return TensorSum.made(total, weights, raw, weighted)
    return WeightedSum.made(total, weights, raw, weighted)


def _pair(name: str, term: Any) -> tuple[float, Any]:
    """Read a term, or say what is wrong with it."""
    if isinstance(term, tuple):
        if len(term) != 2:
            raise ArgumentError(
                f"weighted_sum: {name}: got a tuple of {len(term)}, expected a value or a pair (weight, value)"
            )
        weight, value = term
    else:
        weight, value = 1.0, term
    value = plain(value)
    if isinstance(weight, bool) or not isinstance(weight, Real):
        raise ArgumentError(
            f"weighted_sum: {name}: got a weight of type {type(weight).__name__}, expected a number; the order is "
            "(weight, value)"
        )
    if not math.isfinite(weight):
        raise ParameterError(f"weighted_sum: {name}: got the weight {weight}, expected a finite number")
    shape = getattr(value, "shape", None)
    if shape is None and (isinstance(value, bool) or not isinstance(value, Real)):
        raise ArgumentError(
            f"weighted_sum: {name}: got {type(value).__name__}, expected a single number; reduce it first with "
            "lossary.mean or lossary.total"
        )
    if shape is not None and tuple(shape) != ():
        raise ShapeError(
            f"weighted_sum: {name}: got an array of shape {tuple(shape)}, expected a single number; reduce it first "
            "with lossary.mean"
        )
    return float(weight), value
