"""Learning rate schedules: functions of time, in epochs, that scale the learning rate.

A schedule is a function from time to a factor on the optimiser's learning rate. Time is counted in epochs and runs
continuously: 2.5 is the middle of the third epoch, so a schedule means the same whatever the batch size. Any function
of that kind will do, ``lambda time: 1 / (1 + time)`` for one, and they compose: a warm-up is put before another
schedule, and factors multiply.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from lossary.errors import ParameterError

Schedule = Callable[[float], float]


def _positive(where: str, name: str, value: float) -> None:
    if not value > 0:
        raise ParameterError(f"{where}: {name}: got {value!r}, expected a number > 0")


def constant(factor: float = 1.0) -> Schedule:
    """Return the schedule that never changes.

    >>> constant()(7.0)
    1.0
    """
    return lambda time: factor


def step_decay(every: float, factor: float = 0.1) -> Schedule:
    """Return the schedule that multiplies the rate by `factor` after each `every` epochs.

    >>> [step_decay(10, 0.5)(time) for time in (0, 9.9, 10, 25)]
    [1.0, 1.0, 0.5, 0.25]
    """
    _positive("step_decay", "every", every)
    _positive("step_decay", "factor", factor)
    return lambda time: float(factor ** math.floor(time / every))


def exponential(half_life: float) -> Schedule:
    """Return the schedule that halves the rate every `half_life` epochs, smoothly.

    >>> [exponential(10)(time) for time in (0, 10, 20)]
    [1.0, 0.5, 0.25]
    """
    _positive("exponential", "half_life", half_life)
    return lambda time: float(0.5 ** (time / half_life))


def cosine(epochs: float, floor: float = 0.0) -> Schedule:
    """Return the schedule that falls from 1 to `floor` along half a cosine over `epochs`, and stays there.

    >>> [round(cosine(10)(time), 3) for time in (0, 5, 10, 11)]
    [1.0, 0.5, 0.0, 0.0]
    """
    _positive("cosine", "epochs", epochs)
    return lambda time: floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(time / epochs, 1.0)))


def inverse_time(half_life: float) -> Schedule:
    """Return the schedule ``1 / (1 + time / half_life)``, whose steps add up to infinity and their squares do not.

    That is what stochastic subgradient descent needs to reach the minimum of a convex loss (Robbins and Monro 1951).

    >>> [inverse_time(10)(time) for time in (0, 10, 30)]
    [1.0, 0.5, 0.25]
    """
    _positive("inverse_time", "half_life", half_life)
    return lambda time: 1 / (1 + time / half_life)


def warmup(epochs: float, then: Schedule | None = None) -> Schedule:
    """Return the schedule that rises linearly from 0 over `epochs` and goes on with `then`, whose time starts there.

    >>> [warmup(2, then=cosine(8))(time) for time in (0, 1, 2, 10)]
    [0.0, 0.5, 1.0, 0.0]
    """
    _positive("warmup", "epochs", epochs)
    after = then or constant()
    return lambda time: time / epochs * after(0.0) if time < epochs else after(time - epochs)
