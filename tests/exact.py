"""Values and derivatives of the oracles, and the error that a correct algorithm may make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mpmath import mp, mpf

import oracles
from lossary.catalogue import Loss

FIRST, SECOND = mpf(10) ** -20, mpf(10) ** -14


def to_exact(x: Any) -> Any:
    """Turn an array into nested lists of mpf (or int for indices), exactly."""
    if isinstance(x, np.ndarray):
        return [to_exact(v) for v in x] if x.ndim else to_exact(x[()])
    if isinstance(x, (bool, np.bool_)):
        return bool(x)
    if isinstance(x, (int, np.integer)):
        return int(x)
    return mpf(float(x)) if isinstance(x, (float, np.floating)) else x


class Exact:
    """One example of a loss at 60 digits: its value, and derivatives by central differences."""

    first_step, second_step = FIRST, SECOND

    def __init__(self, loss: Loss, arrays: Sequence[Any], params: dict[str, Any], anchor: int | None = None) -> None:
        oracle: Callable[..., Any] = getattr(oracles, loss.name)
        self.loss = loss
        self.arrays = [to_exact(np.asarray(a)) for a in arrays]
        params = {k: to_exact(np.asarray(v)) if np.ndim(v) else to_exact(v) for k, v in params.items()}
        tail = () if anchor is None else (anchor,)
        self.f = lambda arrays: mpf(oracle(*arrays, *tail, **params))

    def value(self) -> Any:
        return self.f(self.arrays)

    def moved(self, moves: Sequence[tuple[int, tuple[int, ...], Any]]) -> Any:
        arrays = [_copy(a) for a in self.arrays]
        for which, at, by in moves:
            if not at:
                arrays[which] += by
                continue
            inner = arrays[which]
            for i in at[:-1]:
                inner = inner[i]
            inner[at[-1]] += by
        return self.f(arrays)

    def first(self, which: int, at: tuple[int, ...], base: Sequence[Any] = ()) -> Any:
        h = self.first_step
        return (self.moved([*base, (which, at, h)]) - self.moved([*base, (which, at, -h)])) / (2 * h)

    def second(self, a: tuple[int, tuple[int, ...]], b: tuple[int, tuple[int, ...]]) -> Any:
        h = self.second_step
        if a == b:
            return (self.moved([(*a, h)]) - 2 * self.value() + self.moved([(*a, -h)])) / h**2
        corners = [(s * t, self.moved([(*a, s * h), (*b, t * h)])) for s in (1, -1) for t in (1, -1)]
        return sum(sign * corner for sign, corner in corners) / (4 * h**2)

    def third(self, a: tuple[int, tuple[int, ...]], b: tuple[int, tuple[int, ...]]) -> Any:
        """The derivative of the second derivative in `a` along `b`."""
        h = mpf(10) ** -9
        if a == b:
            p2, p1, m1, m2 = (self.moved([(*a, k * h)]) for k in (2, 1, -1, -2))
            return (p2 - 2 * p1 + 2 * m1 - m2) / (2 * h**3)

        def curvature(shift: Any) -> Any:
            moves = [self.moved([(*b, shift), (*a, k * h)]) for k in (1, 0, -1)]
            return (moves[0] - 2 * moves[1] + moves[2]) / h**2

        return (curvature(h) - curvature(-h)) / (2 * h)

    def places(self) -> list[tuple[int, tuple[int, ...]]]:
        """Every entry of every real-valued array."""
        found: list[tuple[int, tuple[int, ...]]] = []
        for which, array in enumerate(self.arrays):
            found.extend((which, at) for at in _entries(array))
        return found

    def size(self, place: tuple[int, tuple[int, ...]]) -> Any:
        inner = self.arrays[place[0]]
        for i in place[1]:
            inner = inner[i]
        return abs(inner)


class ExactAtExtremes(Exact):
    """The same, to be asked within ``mp.workdps(ExactAtExtremes.DIGITS)``: steps far below the smallest input."""

    first_step, second_step = mpf(10) ** -160, mpf(10) ** -160
    DIGITS = 1000

    def slopes(self, which: int, at: tuple[int, ...]) -> tuple[Any, Any]:
        """The slopes to the left and to the right, which differ at a kink."""
        h, here = self.first_step, self.value()
        return (here - self.moved([(which, at, -h)])) / h, (self.moved([(which, at, h)]) - here) / h


def _copy(x: Any) -> Any:
    return [_copy(v) for v in x] if isinstance(x, list) else x


def _entries(x: Any) -> list[tuple[int, ...]]:
    if isinstance(x, list):
        return [(i, *rest) for i, v in enumerate(x) for rest in _entries(v)]
    return [()] if isinstance(x, mpf) else []


__all__ = ["Exact", "ExactAtExtremes", "mp", "to_exact"]
