"""Log Gamma and its derivatives, written once for arrays, for compiled code and for symbols.

All know how to choose between numbers and how to take a logarithm, and are handed in; the rest is arithmetic. Log Gamma
itself is for targets without a C library, which has a better one near its zeros at 1 and 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

# Bernoulli numbers B2, B4, ... of the asymptotic series of log Gamma; after the shift to x >= 10 the first neglected
# term is below 1e-18.
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
_OF_LGAMMA = tuple(number / (2 * k * (2 * k - 1)) for k, number in enumerate(_BERNOULLI, 1))[::-1]
_OF_DIGAMMA = tuple(number / (2 * k) for k, number in enumerate(_BERNOULLI, 1))[::-1]
_OF_TRIGAMMA = _BERNOULLI[::-1]
_SHIFT = 10


def lgamma_of(where: Callable[..., Any], log: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return log Gamma for positive numbers in double precision, infinite at 0 and at infinity.

    Beside its zeros at 1 and 2 its error is some 1e-15, however small the result.
    """

    def lgamma(x: Any) -> Any:
        product = 1.0
        for _ in range(_SHIFT):
            small = x < _SHIFT
            product = where(small, product * x, product)
            x = where(small, x + 1.0, x)
        inverse = 1.0 / x
        square = inverse * inverse
        series = 0.0
        for coefficient in _OF_LGAMMA:
            series = series * square + coefficient
        # Written so that infinity is not taken from itself.
        return (x - 0.5) * (log(x) - 1.0) + 0.5 * (math.log(2.0 * math.pi) - 1.0) + series * inverse - log(product)

    return lgamma


def digamma_of(where: Callable[..., Any], log: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the first derivative of log Gamma for positive numbers in double precision."""

    def digamma(x: Any) -> Any:
        total = 0.0
        for _ in range(_SHIFT):
            small = x < _SHIFT
            total = where(small, total - 1.0 / x, total)
            x = where(small, x + 1.0, x)
        inverse = 1.0 / (x * x)
        series = 0.0
        for coefficient in _OF_DIGAMMA:
            series = (series + coefficient) * inverse
        return total + log(x) - 0.5 / x - series

    return digamma


def trigamma_of(where: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return the second derivative of log Gamma for positive numbers in double precision."""

    def trigamma(x: Any) -> Any:
        total = 0.0
        for _ in range(_SHIFT):
            small = x < _SHIFT
            total = where(small, total + 1.0 / (x * x), total)
            x = where(small, x + 1.0, x)
        inverse = 1.0 / (x * x)
        series = 0.0
        for coefficient in _OF_TRIGAMMA:
            series = (series + coefficient) * inverse
        return total + 1.0 / x + 0.5 * inverse + series / x

    return trigamma
