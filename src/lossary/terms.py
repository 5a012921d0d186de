"""A total of several terms that remembers what it is made of.

Most trained losses are sums: a loss of data, a penalty, a regulariser. Once added up, nobody can see which of them
grew, or which was the first to become NaN. `weighted_sum` adds them and keeps the account.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from numbers import Real
from operator import add
from types import MappingProxyType
from typing import Any

from lossary.errors import ArgumentError, ParameterError, ShapeError
from lossary.words import aligned


@dataclass(frozen=True, eq=False)
class WeightedSum:
    """A weighted sum and its account: per term, by name, its weight, its raw value, and what it adds to the total.

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

    def __float__(self) -> float:
        return _number(self.total)

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("term", "weight", "value", "weighted")]
        for name, weight in self.weights.items():
            rows.append((name, *(f"{_number(x):.6g}" for x in (weight, self.raw[name], self.weighted[name]))))
        rows.append(("total", "", "", f"{float(self):.6g}"))
        culprit = self.first_nonfinite
        return "\n".join(aligned(rows) + ([f"the first term that is not finite: {culprit}"] if culprit else []))


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
    return WeightedSum(total, *(MappingProxyType(part) for part in (weights, raw, weighted)))


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
