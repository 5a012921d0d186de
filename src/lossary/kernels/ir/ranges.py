"""Interval analysis: bounds of every symbol, whatever the data, so that a kernel may call a cheaper function.

A range is a pair of bounds that no result of an operation passes in float32 or float64, rounding, overflow and the
error of the elementary functions included; infinite bounds belong to it. Of NaN it says nothing: any symbol may be NaN.
Nor does it tell the signs of zero apart, so nothing is known of a quotient by a number that may be 0.

Bounds are numbers of float32, moved outward where they are not: rounding to nearest, in either type, passes none of
them, and neither does a product that is rounded together with a sum.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

Range = tuple[float, float]

ANYTHING: Range = (-math.inf, math.inf)
_LARGEST = (2 - 2.0**-23) * 2.0**127
_SMALLEST = 2.0**-149
_SPREAD = 2.0**-20  # more than any elementary function is off, relatively


def after(operation: str, parts: Sequence[Any]) -> Range:
    """Return the range of an operation applied to symbols."""
    if operation in ("constant", "filled"):
        return _outward(parts[0], parts[0])
    if operation == "where":
        return _selected(*parts)
    if operation == "*" and parts[0] is parts[1]:
        return _outward(*_times(*[_magnitude(parts[0].range)] * 2))
    rule = _RULES.get(operation)
    return _outward(*rule(*(part.range for part in parts))) if rule else ANYTHING


def within(inner: Range, outer: Range) -> bool:
    """Whether all numbers of a range lie in another.

    >>> within((0.0, 1.0), (-math.inf, 1.0)), within(ANYTHING, (0.0, 1.0))
    (True, False)
    """
    return outer[0] <= inner[0] and inner[1] <= outer[1]


# --- bounds ---------------------------------------------------------------------------------------------------------


def _outward(low: float, high: float) -> Range:
    return ANYTHING if math.isnan(low) or math.isnan(high) else (-_upward(-low), _upward(high))


def _upward(x: float) -> float:
    """The least number of float32 that is not below x."""
    if math.isinf(x):
        return x
    if abs(x) > _LARGEST:
        return math.inf if x > 0 else -_LARGEST
    near = float(struct.unpack("f", struct.pack("f", x))[0])
    if near >= x:
        return near
    if near == 0:
        return _SMALLEST
    (bits,) = struct.unpack("i", struct.pack("f", near))
    return float(struct.unpack("f", struct.pack("i", bits + (1 if near > 0 else -1)))[0])


def _product(a: float, b: float) -> float:
    """The product of two bounds. Zero times infinity is NaN, of which a range says nothing."""
    return 0.0 if a == 0 or b == 0 else a * b


def _quotient(a: float, b: float) -> float:
    return 0.0 if math.isinf(b) else a / b


# --- what is known of each operation --------------------------------------------------------------------------------


def _plus(x: Range, y: Range) -> Range:
    return x[0] + y[0], x[1] + y[1]


def _minus(x: Range, y: Range) -> Range:
    return x[0] - y[1], x[1] - y[0]


def _times(x: Range, y: Range) -> Range:
    corners = [_product(a, b) for a in x for b in y]
    return min(corners), max(corners)


def _over(x: Range, y: Range) -> Range:
    if y[0] <= 0 <= y[1]:
        return ANYTHING
    corners = [_quotient(a, b) for a in x for b in y]
    return min(corners), max(corners)


def _negative(x: Range) -> Range:
    return -x[1], -x[0]


def _magnitude(x: Range) -> Range:
    return max(x[0], -x[1], 0.0), max(-x[0], x[1])


def _rising(function: Callable[[float], float], least: float, most: float, fixed: float) -> Callable[[Range], Range]:
    """The rule of a rising function with the given limits, which at `fixed` is exact, hence off on neither side."""

    def at(x: float, outward: int) -> float:
        try:
            exact = function(x)
        except (OverflowError, ValueError):  # beyond the numbers, or below the domain
            exact = most if x > 0 else least
        if math.isinf(exact) or x == fixed:
            return exact
        bound = exact + outward * (abs(exact) * _SPREAD + 4 * _SMALLEST)
        anchor = function(fixed)
        if math.isfinite(fixed) and (bound - anchor) * (exact - anchor) < 0:
            bound = anchor
        return max(least, min(most, bound))

    return lambda x: (at(x[0], -1), at(x[1], 1))


def _sign(x: Range) -> Range:
    return float((x[0] > 0) - (x[0] < 0)), float((x[1] > 0) - (x[1] < 0))


def _selected(condition: Any, yes: Any, no: Any) -> Range:
    """Either of two; where one of them is chosen by a comparison with a constant, it lies on that side of it."""
    first, second = yes.range, no.range
    if condition.operation in ("<", "<=", ">", ">="):
        x, bound = condition.parts
        below = condition.operation in ("<", "<=")
        if bound.operation in ("constant", "filled"):
            if x is yes:
                first = _cut(first, bound.range, below)
            if x is no:
                second = _cut(second, bound.range, not below)
    return min(first[0], second[0]), max(first[1], second[1])


def _cut(x: Range, bound: Range, below: bool) -> Range:
    """The part of a range below or above a bound; the bound itself if nothing of it is there."""
    low, high = (x[0], min(x[1], bound[1])) if below else (max(x[0], bound[0]), x[1])
    return (low, high) if low <= high else bound


def _sum(x: Range) -> Range:
    return 0.0 if x[0] >= 0 else -math.inf, 0.0 if x[1] <= 0 else math.inf


def _itself(x: Range) -> Range:
    return x


_RULES: dict[str, Callable[..., Range]] = {
    "+": _plus,
    "-": _minus,
    "*": _times,
    "/": _over,
    "negative": _negative,
    "abs": _magnitude,
    "maximum": lambda x, y: (max(x[0], y[0]), max(x[1], y[1])),
    "minimum": lambda x, y: (min(x[0], y[0]), min(x[1], y[1])),
    "exp": _rising(math.exp, 0.0, math.inf, 0.0),
    "expm1": _rising(math.expm1, -1.0, math.inf, 0.0),
    "log": _rising(math.log, -math.inf, math.inf, 1.0),
    "log1p": _rising(math.log1p, -math.inf, math.inf, 0.0),
    "tanh": _rising(math.tanh, -1.0, 1.0, 0.0),
    "sqrt": _rising(math.sqrt, 0.0, math.inf, 0.0),
    "raised": lambda x, y: (0.0, math.inf),
    "sign": _sign,
    # on rows
    "sum": _sum,
    "sum_over_first": _sum,
    "sum_over_second": _sum,
    "max": _itself,
    "min": _itself,
    "first": _itself,
    "second": _itself,
    "entry": lambda x, label: x,
    "one_hot": lambda label: (0.0, 1.0),
}
