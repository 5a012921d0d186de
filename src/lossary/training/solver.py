"""L-BFGS for convex objectives that may have kinks: no learning rate, and it says whether it converged.

A weak Wolfe line search by bisection keeps quasi-Newton methods convergent where the objective is not differentiable
(Lewis and Overton 2013, doi:10.1007/s10107-012-0514-2), so that absolute errors, quantiles and hinges are solved like
smooth losses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_MEMORY = 60  # pairs of steps and gradient changes that model the curvature
_ARMIJO, _WOLFE = 1e-4, 0.5
_HALVINGS = 40  # of a line search
_GRADIENT = 1e-6  # converged: the gradient has fallen below this share of its first norm
_WINDOW = 20
_FLAT = 1e-6  # converged: the last `_WINDOW` steps won less than this share of the total decrease
_STALLED = 1e-5  # the same where no further step is found: at a kink, to the precision of the numbers


@dataclass(frozen=True)
class Solution:
    """Where the solver stopped: the point, its value, and the value and gradient norm at every step."""

    x: Array
    values: list[float]
    gradient_norms: list[float]
    converged: bool


def minimise(
    objective: Callable[[Array], tuple[float, Array]],
    start: Array,
    steps: int,
    callback: Callable[[Array], None] | None = None,
) -> Solution:
    """Minimise a function given by its value and gradient, with at most so many steps.

    `callback` is called with the point after each step.

    >>> solution = minimise(lambda x: (float(abs(x).sum()), np.sign(x)), np.array([3.0, -2.0]), steps=100)
    >>> solution.converged, bool(abs(solution.x).max() < 1e-6)
    (True, True)
    """
    x = start.copy()
    value, gradient = objective(x)
    values, norms = [value], [float(np.linalg.norm(gradient))]
    pairs: deque[tuple[Array, Array, float]] = deque(maxlen=_MEMORY)
    converged = norms[0] == 0
    for _ in range(steps):
        if converged:
            break
        direction = -_inverse_hessian_times(gradient, pairs)
        found = _line_search(objective, x, value, gradient, direction, 1.0 if pairs else 1.0 / norms[0])
        if found is None and pairs:  # the model of the curvature has become useless: steepest descent
            pairs.clear()
            found = _line_search(objective, x, value, gradient, -gradient, 1.0 / norms[-1])
        if found is None:
            # At a kink, or at the precision of the numbers: the optimum if the last steps won next to nothing.
            converged = norms[-1] <= 100 * _GRADIENT * norms[0] or _recent(values, 5) <= _STALLED * _total(values)
            break
        moved, value, changed = found
        step, change = moved - x, changed - gradient
        curvature = float(step @ change)
        if curvature > 1e-12 * float(np.linalg.norm(step) * np.linalg.norm(change)):
            pairs.append((step, change, curvature))
        x, gradient = moved, changed
        values.append(value)
        norms.append(float(np.linalg.norm(gradient)))
        if callback is not None:
            callback(x)
        flat = len(values) > _WINDOW and _recent(values) <= _FLAT * _total(values)
        converged = norms[-1] <= _GRADIENT * norms[0] or flat
    return Solution(x, values, norms, converged)


def _recent(values: list[float], steps: int = _WINDOW) -> float:
    return values[-min(len(values), steps + 1)] - values[-1]


def _total(values: list[float]) -> float:
    return max(values[0] - values[-1], 1e-4 * abs(values[0]), 1e-12)


def _inverse_hessian_times(gradient: Array, pairs: deque[tuple[Array, Array, float]]) -> Array:
    """Return the L-BFGS approximation of the inverse Hessian times a gradient, by the two-loop recursion."""
    q = gradient.copy()
    weights = []
    for step, change, curvature in reversed(pairs):
        weight = float(step @ q) / curvature
        q -= weight * change
        weights.append(weight)
    if pairs:
        _, change, curvature = pairs[-1]
        q *= curvature / float(change @ change)
    for (step, change, curvature), weight in zip(pairs, reversed(weights), strict=True):
        q += (weight - float(change @ q) / curvature) * step
    return q


def _line_search(
    objective: Callable[[Array], tuple[float, Array]],
    x: Array,
    value: float,
    gradient: Array,
    direction: Array,
    length: float,
) -> tuple[Array, float, Array] | None:
    """Return a point, value and gradient that meet the weak Wolfe conditions, or None if there is none in precision."""
    slope = float(gradient @ direction)
    if not slope < 0:
        return None
    low, high = 0.0, np.inf
    best: tuple[Array, float, Array] | None = None
    for _ in range(_HALVINGS):
        point = x + length * direction
        new_value, new_gradient = objective(point)
        if not new_value <= value + _ARMIJO * length * slope:  # NaN and infinity are too far, too
            high = length
        elif float(new_gradient @ direction) < _WOLFE * slope:
            best = (point, new_value, new_gradient)
            low = length
        else:
            return point, new_value, new_gradient
        length = 2 * low if high == np.inf else (low + high) / 2
    return best if best is not None and best[1] < value else None
