"""Elementary functions in Triton for float32 and float64: within a few units in the last place, for any argument.

Triton has fast versions of some (`tl.exp` of float32 loses digits as its argument grows) and takes others from a
library of the device, which its interpreter lacks. These are made of what both have: `tl.exp2` on a reduced argument,
`tl.log`, arithmetic and selects. Infinities, NaN and signed zeros come out as in the C library.
"""

# mypy: disable-error-code="no-untyped-def, misc"
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def exp(x):
    """The exponential."""
    if x.dtype == tl.float64:
        result = tl.exp(x)
    else:
        # x = n log 2 + r with |r| <= log(2) / 2, and 2^n in two factors so that subnormal results come out right.
        bounded = tl.where(x < -105.0, -105.0, tl.where(x > 89.0, 89.0, x))
        n = tl.floor(bounded * 1.4426950408889634 + 0.5)
        r = (bounded - n * 0.693359375) - n * -0.00021219444170128554
        whole = tl.where(x == x, n, 0.0).to(tl.int32)
        half = whole >> 1
        first = ((half + 127) << 23).to(tl.float32, bitcast=True)
        second = ((whole - half + 127) << 23).to(tl.float32, bitcast=True)
        result = tl.exp2(r * 1.4426950408889634) * first * second
    return result


@triton.jit
def expm1(x):
    """``exp(x) - 1`` without cancellation: the logarithm of what was rounded puts back what rounding lost."""
    u = exp(x)
    less = u - 1.0
    near = divide(less * x, tl.log(u))
    result = tl.where((x > 1.0) | (less == -1.0), less, near)
    return tl.where(u == 1.0, x, result)


@triton.jit
def log(x):
    """The natural logarithm: -inf at 0, NaN below."""
    return tl.log(x)


@triton.jit
def log1p(x):
    """``log(1 + x)`` without cancellation."""
    u = x + 1.0
    less = u - 1.0
    result = tl.where(less == 0.0, x, tl.log(u) * divide(x, tl.where(less == 0.0, 1.0, less)))
    return tl.where(x < float("inf"), result, x)


@triton.jit
def tanh(x):
    """The hyperbolic tangent."""
    u = expm1(tl.abs(x) * -2.0)
    size = divide(u, u + 2.0)
    return tl.where(x == 0.0, x, tl.where(x < 0.0, size, -size))


@triton.jit
def sqrt(x):
    """The square root, correctly rounded."""
    if x.dtype == tl.float64:
        result = tl.sqrt(x)
    else:
        result = tl.sqrt_rn(x)
    return result


@triton.jit
def divide(x, y):
    """The quotient, correctly rounded."""
    if y.dtype == tl.float64:
        result = x / y
    else:
        result = tl.div_rn(x, y)
    return result


@triton.jit
def raised(x, y):
    """``x ** y`` for x >= 0: NaN for negative x, 1 for y = 0. By way of float64."""
    wide = y.to(tl.float64)
    result = tl.exp(wide * tl.log(x.to(tl.float64)))
    return tl.where(wide == 0.0, 1.0, result).to(x.dtype)


@triton.jit
def sign(x):
    """-1, 0 or 1; NaN for NaN."""
    return tl.where(x > 0.0, 1.0, tl.where(x < 0.0, -1.0, x))


@triton.jit
def maximum(x, y):
    """The larger of two numbers; NaN if one is."""
    return tl.where((x >= y) | (x != x), x, y)


@triton.jit
def minimum(x, y):
    """The smaller of two numbers; NaN if one is."""
    return tl.where((x <= y) | (x != x), x, y)


@triton.jit
def largest(x):
    """The largest entry of each row; NaN if one is."""
    found = tl.max(tl.where(x == x, x, float("-inf")), 1, keep_dims=True)
    broken = tl.max((x != x).to(tl.int32), 1, keep_dims=True)
    return tl.where(broken > 0, float("nan"), found)


@triton.jit
def least(x):
    """The smallest entry of each row; NaN if one is."""
    return -largest(-x)


@triton.jit
def total(x):
    """The sum of each row."""
    return tl.sum(x, 1, keep_dims=True)
