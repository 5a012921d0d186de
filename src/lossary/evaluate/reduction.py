"""Reductions: one rule for weights, masks and denominators of the mean, for every loss.

``mean = sum(w * v) / sum(w)`` over the entries that are kept. An entry that is masked, or has weight 0, contributes
exactly 0 to value and gradient whatever it holds, NaN included. `denominator` replaces ``sum(w)``: the number of
tokens of all micro-batches, or of all workers. The mean over nothing is 0; `total` returns its weight, 0, beside it.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Literal

from lossary.backends import registry
from lossary.backends.protocol import Operations
from lossary.errors import DomainError, ParameterError, ShapeError, real_number, suggest

Reduction = Literal["none", "mean", "sum"]
REDUCTIONS: tuple[Reduction, ...] = ("none", "mean", "sum")


def coefficients(
    xp: Operations, shape: tuple[int, ...], dtype: Any, weight: Any = None, mask: Any = None, like: Any = None
) -> Any:
    """Return the weight of every entry: `weight` where kept, exactly 0 where masked; None if all weigh 1.

    A weight or a mask that is a Python number becomes an array on the device of `like`.
    """
    if weight is None and mask is None:
        return None
    like = like if hasattr(like, "dtype") else mask if weight is None else weight
    w = xp.cast(_spread(xp, 1.0 if weight is None else weight, "weight", shape, like, dtype), dtype)
    seen = None if weight is None else xp.readable(w)
    if seen is not None and not ((seen >= 0) & (seen < math.inf)).all():
        wrong = seen[~((seen >= 0) & (seen < math.inf))].flat[0]
        raise DomainError(f"weight: got {wrong:g}, expected finite numbers >= 0 (a negative weight rewards the error)")
    if mask is not None:
        keep = _spread(xp, mask, "mask", shape, like, dtype)
        seen = xp.readable(keep)
        if seen is not None and not ((seen == 0) | (seen == 1)).all():
            raise DomainError("mask: expected booleans (True = keep) or 0 and 1; use weight= for other numbers")
        w = xp.where(keep != 0, w, xp.zeros_like(w))
    return w


def _spread(xp: Operations, given: Any, name: str, shape: tuple[int, ...], like: Any, dtype: Any) -> Any:
    array = xp.asarray(given, name, like, dtype)
    alike = array.ndim == len(shape) and all(a in (1, s) for a, s in zip(array.shape, shape, strict=True))
    if array.ndim and not alike:
        hint = f"; did you mean {name}[:, None]?" if array.shape == shape[:1] else ""
        raise ShapeError(
            f"{name}: got shape {tuple(array.shape)}, expected the shape of the values, {tuple(shape)}{hint}"
        )
    return xp.broadcast_to(array, shape)


def weigh(xp: Operations, values: Any, weights: Any) -> Any:
    """Return the weighted values: exactly 0 where the weight is 0."""
    if weights is None:
        return values
    if isinstance(weights, float) and weights:
        return values * weights
    return xp.where(weights == 0, xp.zeros_like(values), values) * weights


def scale(
    xp: Operations, shape: tuple[int, ...], dtype: Any, weights: Any, reduction: Reduction, denominator: Any = None
) -> Any:
    """Return the number by which the weighted sum is divided under a reduction; 0 means an empty mean."""
    if reduction not in REDUCTIONS:
        hint = suggest(str(reduction), REDUCTIONS)
        raise ParameterError(f"reduction: got {reduction!r}, expected one of {', '.join(REDUCTIONS)}{hint}")
    if reduction != "mean":
        if denominator is not None:
            raise ParameterError(f"denominator: only a mean has one, and reduction is {reduction!r}")
        return 1.0
    if denominator is not None:
        given = checked_denominator(denominator)
        # The reciprocal of a whole number has the default type, which may be narrower than the values.
        return xp.cast(xp.asarray(given, "denominator", None, dtype), dtype) if hasattr(given, "dtype") else given
    return float(math.prod(shape)) if weights is None else weights.sum(dtype=xp.accumulator(dtype))


def total(values: Any, *, weight: Any = None, mask: Any = None) -> tuple[Any, Any]:
    """Return the weighted sum of values and the sum of the weights, as they must travel between workers.

    >>> summed, count = total([1.0, float("nan"), 4.0], weight=[1.0, 1.0, 2.0], mask=[True, False, True])
    >>> float(summed), float(count)
    (9.0, 3.0)
    """
    xp = registry.namespace(values, weight, mask)
    v = xp.asarray(values, "values")
    dtype = xp.compute_dtype([v])
    weights = coefficients(xp, v.shape, dtype, weight, mask, v)
    return reduce_sum(xp, weigh(xp, xp.cast(v, dtype), weights), dtype), scale(xp, v.shape, dtype, weights, "mean")


def mean(values: Any, *, weight: Any = None, mask: Any = None, denominator: Any = None) -> Any:
    """Return ``sum(w * v) / sum(w)`` over kept entries; 0 if none is kept.

    `weight` are numbers >= 0 and `mask` is true where an entry is kept; both have the shape of `values` (or 1 along
    an axis). `denominator` replaces ``sum(w)``.

    >>> float(mean([1.0, 4.0], weight=[3.0, 1.0]))
    1.75
    >>> float(mean([2.0, float("nan")], mask=[True, False]))
    2.0
    >>> float(mean([1.0, 2.0], denominator=12))   # two of the twelve tokens of the global batch
    0.25
    """
    summed, count = total(values, weight=weight, mask=mask)
    return average(summed, count if denominator is None else checked_denominator(denominator))


def reduce_sum(xp: Operations, values: Any, dtype: Any) -> Any:
    """Sum everything in a wide accumulator and give the result in `dtype`."""
    return xp.scalar(values.sum(dtype=xp.accumulator(dtype)), dtype)


def average(summed: Any, count: Any) -> Any:
    """Divide a sum, or a weight, by the denominator; the mean over nothing is 0."""
    # The sum over nothing is 0, and so is the weight of each entry: dividing by 1 gives 0.
    divisor = count + (count == 0)
    return summed / divisor if isinstance(summed, float) else registry.namespace(summed).ratio(summed, divisor)


def checked_denominator(given: Any) -> Any:
    """Return the denominator, checked unless it is a tensor on a device."""
    if isinstance(given, Real) or not hasattr(given, "dtype"):
        real_number("denominator", given, "a number > 0", lambda x: x > 0)
    return given
