"""Tolerances of domain checks: how far rounding can carry a number outside its domain.

Numbers arrive in one precision and have often been made in another: log-probabilities come from a bfloat16 softmax and
are then widened, cosines are computed in float32 and compared in float64. The type of an array therefore
is not enough. Each number tells more: the coarsest type that holds it exactly is the coarsest it can have been computed
in, and no number is trusted beyond float32. Every check of a domain, those inside kernels included, takes its tolerance
from here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lossary import numerics
from lossary.catalogue.domains import Domain

Array = Any

# The unit roundoff of a type: the largest relative error of one rounding.
BFLOAT16, FLOAT16, FLOAT32 = 2.0**-8, 2.0**-11, 2.0**-24
# The excess that is allowed for every number. Sums of many products are rounded many times, in float32 or wider.
LEAST = 32 * FLOAT32
# The most roundings of a number in a half type: half types hold results, sums run in float32.
_ROUNDINGS = 4
assert _ROUNDINGS * BFLOAT16 == numerics.ROUNDING  # up to which definitions clip a number to the bound

_ROW_SUM = 5e-3  # how far the sum of any row may be from 1: labels may have two digits
_LARGEST_NORMALISER = 128.0  # larger deviations of logarithms have other causes than a rounded normaliser
_HALF_DENORMAL = 2.0**-25  # the largest error of a float16 too small to be normal
_SMALLEST = 1e-35  # the least probability whose logarithm float32 recovers


def roundoff(x: Array) -> Array:
    """Return, for each number, the unit roundoff of the coarsest type that holds it exactly, at least float32's.

    >>> [float(np.log2(u)) for u in roundoff(np.array([1.0078125, 0.33349609375, 1 / 3]))]
    [-8.0, -11.0, -24.0]
    """
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        single = x.astype(np.float32)
        exact = (single == x) | (x != x)
        in_bfloat16 = exact & ((single.view(np.uint32) & np.uint32(0xFFFF)) == 0)
        in_float16 = exact & (x.astype(np.float16) == x)
    return np.where(in_bfloat16 | (x != x), BFLOAT16, np.where(in_float16, FLOAT16, FLOAT32))


def slack(x: Array, scale: float = 1.0) -> Array:
    """Return how far each number may be outside an interval whose bound is of size 1 or 0.

    `scale` is the size of the numbers that these were computed from in float32, where that is more than 1.
    """
    return np.maximum(LEAST * max(scale, 1.0), _ROUNDINGS * roundoff(x))


def beyond(allowed: Domain, x: Array, scale: float = 1.0) -> Array:
    """Return which numbers are outside an interval by more than rounding explains; NaN is inside every interval.

    A bound that does not belong to the interval is not excused: a variance of 0 is no rounded variance. `scale` is that
    of `slack`.

    >>> from lossary.catalogue.domains import parse_domain
    >>> beyond(parse_domain("[-1, 1]"), np.array([1.0000001, 1.01, 1.0078125])).tolist()
    [False, True, False]
    """
    low = x < allowed.low if allowed.closed[0] else (x <= allowed.low) & (allowed.low != -np.inf)
    high = x > allowed.high if allowed.closed[1] else (x >= allowed.high) & (allowed.high != np.inf)
    outside = np.asarray(low | high)
    if outside.any():
        some = np.asarray(x)[outside].astype(np.float64)
        allowance = slack(some, scale)
        excused = np.zeros(some.shape, bool)
        for bound, closed, sign in ((allowed.low, allowed.closed[0], -1), (allowed.high, allowed.closed[1], 1)):
            if closed and np.isfinite(bound):
                excess = sign * (some - bound)
                excused |= (excess >= 0) & (excess <= allowance * max(abs(bound), 1.0))
        outside[outside] = ~excused
    return outside


def unnormalised(rows: Array, logarithms: bool) -> tuple[Array, Array]:
    """Return which rows are no distributions by more than rounding explains, and what their probabilities sum to.

    A probability p made with unit roundoff u is off by a few ``u p``, so a row is off by a few u. A logarithm is off by
    ``u |log p|``, and its probability by p times as much: over the row that is u times the entropy. The normaliser that
    was subtracted has been rounded as well, and is hardly larger than the largest logarithm. Probabilities may be the
    exponentials of such logarithms, in a finer type.
    """
    rows = np.asarray(rows, np.float64)
    if not rows.shape[-1]:
        nothing = np.zeros(rows.shape[:-1])
        return nothing < 0, nothing
    with np.errstate(all="ignore"):
        probabilities = np.exp(rows) if logarithms else rows
        sums = probabilities.sum(axis=-1)
        # The tolerance of every row comes first: few rows need a larger one.
        outside = (rows > _ROW_SUM).any(axis=-1) if logarithms else (rows < 0).any(axis=-1)
        bad = np.asarray(outside | (np.abs(sums - 1) > _ROW_SUM))
        if bad.any():
            excused = _logarithms if logarithms else _probabilities
            bad[bad] = ~excused(rows[bad], sums[bad])
    return bad, sums


def _probabilities(rows: Array, sums: Array) -> Array:
    """Return which rows of numbers are probabilities up to rounding."""
    unit = roundoff(rows).min(axis=-1)
    logs = np.log(np.where(rows > 0, rows, 1.0))
    rounding = _ROUNDINGS * unit + 2 * unit * _entropy(logs, rows)
    tolerance = np.maximum(_ROW_SUM, rounding) + rows.shape[-1] * _HALF_DENORMAL * (unit > FLOAT32)
    low = -np.maximum(LEAST, _ROUNDINGS * unit)
    valid = (rows >= low[..., None]).all(axis=-1) & (np.abs(sums - 1) <= tolerance)
    if valid.all():
        return valid
    # Exponentials of logarithms in a half type: their own logarithms are such numbers, to the digits of float32.
    read = rows > _SMALLEST
    for dtype in (_as_bfloat16, np.float16):
        held = np.asarray(dtype(logs.astype(np.float32)), np.float64)
        near = np.abs(held - logs) <= 16 * FLOAT32 * np.maximum(np.abs(logs), 1.0)
        whole = ((rows >= 0) & (near | ~read)).all(axis=-1)
        valid |= whole & _logarithms(np.where(rows > 0, held, -np.inf), sums)
    return valid


def _logarithms(rows: Array, sums: Array) -> Array:
    """Return which rows of numbers are logarithms of probabilities up to rounding."""
    unit = roundoff(rows).min(axis=-1)
    size = np.where((rows < 0) & (rows >= -_LARGEST_NORMALISER), -rows, 0.0)
    rounding = unit * (2 * (1 + _entropy(rows, np.exp(rows))) + size.max(axis=-1))
    tolerance = np.asarray(_ROW_SUM + rounding)
    return np.asarray((rows <= tolerance[..., None]).all(axis=-1) & (np.abs(sums - 1) <= tolerance))


def _entropy(logarithms: Array, probabilities: Array) -> Array:
    below = (logarithms < 0) & (logarithms > -np.inf)
    return np.where(below, -logarithms * probabilities, 0.0).sum(axis=-1)


def _as_bfloat16(x: Array) -> Array:
    """Round float32 to bfloat16, which NumPy lacks: to the nearest, ties to even."""
    bits = x.view(np.uint32)
    up = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return ((bits + up) & np.uint32(0xFFFF0000)).view(np.float32)
