"""Optimisers of a small network: the direction of a step, given the gradient (SGD with momentum, Adam).

The gradient points where the loss rises fastest, so a step goes against it: ``W -= lr * grad``. That line stands in
`lossary.training.steps`; an optimiser only replaces `grad` by a better direction, from what it remembers of earlier
ones.
It is a frozen bundle of settings; its memory lives in the generator that `directions` starts for one training, so the
same optimiser can train any number of networks without one leaking into the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lossary.errors import ParameterError
from lossary.training.layers import Parameter

Array = Any


class Optimiser(Protocol):
    """Settings of a descent: a learning rate and a rule for directions."""

    @property
    def lr(self) -> float:
        """The learning rate, before the schedule's factor."""
        ...

    def directions(self, parameters: Sequence[Parameter]) -> Iterator[list[Array]]:
        """Yield, each time it is asked, one direction per parameter, from the gradients the parameters hold then."""
        ...


def _in_range(where: str, name: str, value: float, *, below: float = np.inf, zero: bool = True) -> None:
    if not ((value >= 0 if zero else value > 0) and value < below):
        least = "[0" if zero else "(0"
        raise ParameterError(f"{where}: {name}: got {value!r}, expected a number in {least}, {below:g})")


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, with optional momentum.

    With `momentum` m the direction is a velocity, ``v = m v + grad``: a heavy ball that averages over noise and keeps
    going through ravines; a steady gradient ends up multiplied by 1 / (1 - m). `nesterov` looks at the gradient as if
    the ball had already rolled one step further: ``grad + m v``. The conventions are PyTorch's.

    >>> parameter = Parameter("weight", np.zeros(1))
    >>> parameter.grad = np.ones(1)
    >>> steps = SGD(lr=0.1, momentum=0.5).directions([parameter])
    >>> [float(next(steps)[0][0]) for _ in range(4)]
    [1.0, 1.5, 1.75, 1.875]
    """

    lr: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _in_range("SGD", "lr", self.lr, zero=False)
        _in_range("SGD", "momentum", self.momentum, below=1)
        if self.nesterov and not self.momentum:
            raise ParameterError("SGD: nesterov: looks ahead along the momentum, which is 0; pass momentum=0.9, say")

    def directions(self, parameters: Sequence[Parameter]) -> Iterator[list[Array]]:
        """Yield the gradients, or the velocities they add up to."""
        velocities = [np.zeros_like(p.value) for p in parameters] if self.momentum else []
        while True:
            grads = [p.grad for p in parameters]
            if not self.momentum:
                yield grads
                continue
            for velocity, grad in zip(velocities, grads, strict=True):
                velocity *= self.momentum
                velocity += grad
            if self.nesterov:
                yield [grad + self.momentum * v for grad, v in zip(grads, velocities, strict=True)]
            else:
                yield velocities


@dataclass(frozen=True)
class Adam:
    """Adaptive moments (Kingma and Ba 2015, arXiv:1412.6980): every weight gets a step size of its own.

    The direction is the running mean of the gradient over the root of the running mean of its square, so that it has
    size about 1 whatever the units of the loss, and a weight whose gradient keeps changing sign moves little. Both
    means start at 0 and are therefore too small at first by a known factor, ``1 - beta^t``, which is divided out.

    `betas` are how much of the two means is kept at each step; `eps`, in the units of the gradient, keeps the division
    finite. The penalty of `fit` is part of the gradient here, as in Kingma and Ba, and thus rescaled with it; that
    differs from AdamW (arXiv:1711.05101), which shrinks the weights beside the step.

    >>> parameter = Parameter("weight", np.zeros(2))
    >>> parameter.grad = np.array([1e-3, -1e3])
    >>> next(Adam().directions([parameter]))[0].round(4)         # the first step is the sign of the gradient
    array([ 1., -1.])
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _in_range("Adam", "lr", self.lr, zero=False)
        _in_range("Adam", "betas[0]", self.betas[0], below=1)
        _in_range("Adam", "betas[1]", self.betas[1], below=1)
        _in_range("Adam", "eps", self.eps, zero=False)

    def directions(self, parameters: Sequence[Parameter]) -> Iterator[list[Array]]:
        """Yield mean over root mean square of the gradients, corrected for their start at 0."""
        keep_mean, keep_square = self.betas
        means = [np.zeros_like(p.value) for p in parameters]
        squares = [np.zeros_like(p.value) for p in parameters]
        step = 0
        while True:
            step += 1
            directions = []
            for parameter, mean, square in zip(parameters, means, squares, strict=True):
                mean += (1 - keep_mean) * (parameter.grad - mean)
                square *= keep_square
                square += (1 - keep_square) * parameter.grad**2
                root = np.sqrt(square / (1 - keep_square**step)) + self.eps
                directions.append(mean / (1 - keep_mean**step) / root)
            yield directions
