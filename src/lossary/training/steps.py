"""One training step in NumPy: forward pass, hand-written backward pass, optimiser step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from lossary.losses.penalty import l2_penalty
from lossary.training.layers import Layer, Parameter
from lossary.training.optimisers import Optimiser
from lossary.training.task import Batch, Task


class Steps(Protocol):
    """The part of training that depends on how gradients are computed; `fit` does the rest."""

    def learn(self, batch: Batch) -> float:
        """Return the mean loss of a batch, and set every parameter's `grad` to its derivative."""
        ...

    def step(self, rate: float) -> None:
        """Move the parameters against the gradient of the latest batch, penalty included."""
        ...

    def measure(self, batch: Batch) -> float:
        """Return the mean loss of held-out examples."""
        ...


class ByHand:
    """The three steps in NumPy, with the hand-written gradients of the losses and of the layers."""

    def __init__(self, model: Layer, task: Task, descent: Optimiser, l2: float) -> None:
        self._model, self._task, self._l2 = model, task, l2
        self._parameters = list(model.parameters)
        self._directions = descent.directions(self._parameters)

    def learn(self, batch: Batch) -> float:
        """Go forward and backward."""
        # 1. Forward: from the inputs to predictions, and to one number that says how wrong they are.
        outputs = self._model.forward(batch.X)
        value, grad = self._task.value_and_grad(outputs, batch)

        # 2. Backward: the chain rule, from the loss's own gradient through the layers in reverse, sets every
        #    parameter's `grad` to the derivative of the loss.
        self._model.backward(grad)
        return float(value)

    def step(self, rate: float) -> None:
        """Step downhill."""
        # 3. Step: against the gradient, downhill. W -= lr * grad
        for parameter, direction in zip(self._parameters, next(self._directions), strict=True):
            parameter.value -= rate * direction

    def measure(self, batch: Batch) -> float:
        """Go forward only."""
        return float(self._task.value_and_grad(self._model.predict(batch.X), batch)[0])


def add_penalty(parameters: Sequence[Parameter], l2: float) -> float:
    """Add the gradient of `l2` times the L2 penalty to that of every parameter that decays; return its value."""
    total = 0.0
    if l2:
        for parameter in parameters:
            if parameter.decay:
                value, grad = l2_penalty.value_and_grad(parameter.value, reduction="sum")
                total += l2 * float(value)
                parameter.grad = parameter.grad + l2 * grad
    return total


def gradient_norm(parameters: Sequence[Parameter]) -> float:
    """Return the Euclidean length of the gradient of all parameters together."""
    return math.sqrt(sum(float(np.vdot(parameter.grad, parameter.grad)) for parameter in parameters))
