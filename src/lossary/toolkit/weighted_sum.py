"""A weighted sum of loss terms that keeps its terms.

Most training objectives are sums: a data loss, a penalty, a regulariser. From the total alone nobody can see which of
them grew, or which was the first to become NaN. `weighted_sum` adds them and keeps each of them.
"""

from __future__ import annotations

import math
from functools import reduce
from numbers import Real
from operator import add
from typing import Any

from lossary.backends import registry
from lossary.errors import ArgumentError, ParameterError, ShapeError
from lossary.toolkit.sum_result import WeightedSum, total_of


def weighted_sum(**terms: Any) -> WeightedSum:
    """Add named terms, each a value or a pair ``(weight, value)``, and keep each of them.

    A value is a single number: a Python number, a NumPy scalar, a tensor of no dimensions, as reduced by
    `lossary.mean`. A weight is a finite Python number; 1 by default, negative for a term to be maximised. A term of
    weight 0 adds exactly 0, whatever its value is.

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
    if registry.differentiates(total):
        from lossary.toolkit.tensor_sum import TensorSum

        return TensorSum.from_parts(total, weights, raw, weighted)
    return WeightedSum.from_parts(total, weights, raw, weighted)


def _pair(name: str, term: Any) -> tuple[float, Any]:
    """Return a term's weight and value; raise an error for one that is malformed."""
    if isinstance(term, tuple):
        if len(term) != 2:
            raise ArgumentError(
                f"weighted_sum: {name}: got a tuple of {len(term)}, expected a value or a pair (weight, value)"
            )
        weight, value = term
    else:
        weight, value = 1.0, term
    value = total_of(value)
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
