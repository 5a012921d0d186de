"""The plane: random directions with filter normalisation, and the loss on a grid of two of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.errors import ParameterError
from lossary.training.layers import Parameter

Array = NDArray[Any]


def direction(parameters: Sequence[Parameter], rng: np.random.Generator) -> list[Array]:
    """Return a random direction in which each filter is as long as the network's own.

    A filter is the column of weights that makes one unit. Scaling a layer up and the next one down leaves a network the
    same and its landscape apart, unless steps are measured in the size of the weights. Biases do not move.

    >>> weight = Parameter("weight", np.array([[3.0, 0.0], [4.0, 2.0]]))
    >>> (moved,) = direction([weight], np.random.default_rng(0))
    >>> np.linalg.norm(moved, axis=0).round(12)
    array([5., 2.])
    """
    found = []
    for parameter in parameters:
        drawn = rng.standard_normal(parameter.value.shape)
        if parameter.value.ndim < 2:
            found.append(np.zeros_like(parameter.value))
            continue
        length = np.linalg.norm(drawn, axis=0)
        found.append((drawn * (np.linalg.norm(parameter.value, axis=0) / length)).astype(parameter.value.dtype))
    return found


def grid(span: float, resolution: int) -> Array:
    """Return the steps along a direction, symmetric around 0, which is exactly in the middle.

    >>> grid(1.0, 5)
    array([-1. , -0.5,  0. ,  0.5,  1. ])
    """
    if not (isinstance(resolution, int) and 5 <= resolution <= 201 and resolution % 2):
        raise ParameterError(
            f"resolution: got {resolution}, expected an odd number from 5 to 201: the trained network is in the middle"
        )
    if not 0 < span < np.inf:
        raise ParameterError(
            f"span: got {span:g}, expected a number in (0, inf): 1 steps as far as the weights are long"
        )
    half = np.arange(1, resolution // 2 + 1) * (span / (resolution // 2))
    return np.concatenate([-half[::-1], [0.0], half])


def plane(
    parameters: Sequence[Parameter],
    measure: Callable[[], float],
    directions: tuple[Sequence[Array], Sequence[Array]],
    steps: Array,
    progress: Callable[[], None] = lambda: None,
) -> Array:
    """Return what `measure` gives at every pair of steps, the first direction along rows; weights are put back.

    An overflow is infinite or NaN and belongs to the landscape.
    """
    start = [parameter.value.copy() for parameter in parameters]
    values = np.empty((len(steps), len(steps)))
    try:
        for i, a in enumerate(steps):
            for j, b in enumerate(steps):
                for parameter, at, first, second in zip(parameters, start, *directions, strict=True):
                    parameter.value[...] = at + a * first + b * second
                with np.errstate(all="ignore"):
                    values[i, j] = measure()
            progress()
    finally:
        for parameter, at in zip(parameters, start, strict=True):
            parameter.value[...] = at
    return values
