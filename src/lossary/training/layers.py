"""Layers of a small neural network, each with a forward pass and a hand-written backward pass.

A layer computes an output from an input (`forward`) and keeps in its own attributes what it will need to answer one
question later: *the loss changes by `grad` per unit of my output; how much does it change per unit of my input, and of
my parameters?* (`backward`). That answer is the chain rule, and a network is nothing but layers asked in reverse.

Everywhere `X` has one example per row, `L` is the loss (one number), and the gradient of a thing has its shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from lossary.errors import ParameterError, suggest

Array = Any  # an ndarray


@dataclass(eq=False)
class Parameter:
    """Numbers to be learned, their latest gradient, and whether a penalty applies to them (`decay`)."""

    name: str
    value: Array
    decay: bool = True
    grad: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.grad = np.zeros_like(self.value)


class Layer(Protocol):
    """Anything with these three methods and a list of parameters can be part of a network."""

    @property
    def parameters(self) -> Sequence[Parameter]:
        """What the layer learns; empty if nothing."""
        ...

    def predict(self, x: Array) -> Array:
        """Return the output and remember nothing."""
        ...

    def forward(self, x: Array) -> Array:
        """Return the output and keep what `backward` needs."""
        ...

    def backward(self, grad: Array) -> Array:
        """Take dL/d(output) of the latest `forward`; set every parameter's `grad`; return dL/d(input)."""
        ...


class Linear:
    """``Y = X W + b``: every output is a weighted sum of all inputs, plus a number of its own.

    The weights start random, so that no two units begin alike and stay alike, and of a size that keeps the signal from
    growing or fading as it passes through many layers: ``"glorot"`` (variance 2 / (inputs + outputs), for tanh and for
    the output), ``"he"`` (variance 2 / inputs, because a ReLU silences half of them) or ``"zeros"`` (enough for a
    linear model, whose problem is convex). The bias starts at 0 and is not shrunk by a penalty: where the data
    lie is not complexity. `seed` is a number or a `numpy.random.Generator`.

    >>> layer = Linear(2, 1, init="zeros")
    >>> layer.weight.value[:] = [[2.0], [3.0]]
    >>> layer.forward(np.array([[10.0, 1.0]]))
    array([[23.]])
    >>> layer.backward(np.array([[1.0]]))        # dL/dX: each input is weighted by its weight
    array([[2., 3.]])
    >>> layer.weight.grad.T                      # dL/dW: each weight is weighted by its input
    array([[10.,  1.]])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        init: Literal["glorot", "he", "zeros"] = "glorot",
        seed: int | np.random.Generator = 0,
        dtype: Any = np.float64,
    ) -> None:
        if min(inputs, outputs) < 1:
            raise ParameterError(f"Linear: got {inputs} inputs and {outputs} outputs, expected at least one of each")
        draw = np.random.default_rng(seed)
        shape = (inputs, outputs)
        if init == "glorot":  # uniform on [-a, a] has variance a^2 / 3
            limit = math.sqrt(6 / (inputs + outputs))
            weight = draw.uniform(-limit, limit, shape)
        elif init == "he":
            weight = draw.normal(0.0, math.sqrt(2 / inputs), shape)
        elif init == "zeros":
            weight = np.zeros(shape)
        else:
            known = ("glorot", "he", "zeros")
            raise ParameterError(
                f"Linear: init: got {init!r}, expected one of {', '.join(known)}{suggest(init, known)}"
            )
        self.weight = Parameter("weight", weight.astype(dtype))
        self.bias = Parameter("bias", np.zeros(outputs, dtype), decay=False)
        self.parameters = (self.weight, self.bias)

    def predict(self, x: Array) -> Array:
        """Return ``X W + b``."""
        return x @ self.weight.value + self.bias.value

    def forward(self, x: Array) -> Array:
        """Return ``X W + b`` and keep `X`."""
        self._x = x
        return self.predict(x)

    def backward(self, grad: Array) -> Array:
        """Set the gradients of weight and bias; return dL/dX."""
        # Entry by entry Y[n, j] = sum_i X[n, i] W[i, j] + b[j]. A weight touches every example, an input every output:
        #   dL/dW[i, j] = sum_n X[n, i] dL/dY[n, j]       that is   dL/dW = X^T dL/dY
        #   dL/db[j]    = sum_n dL/dY[n, j]                         dL/db = column sums of dL/dY
        #   dL/dX[n, i] = sum_j dL/dY[n, j] W[i, j]                 dL/dX = dL/dY W^T
        self.weight.grad = self._x.T @ grad
        self.bias.grad = grad.sum(axis=0)
        return grad @ self.weight.value.T

    def __repr__(self) -> str:
        inputs, outputs = self.weight.value.shape
        return f"Linear({inputs}, {outputs})"


class ReLU:
    """``max(x, 0)``: lets a positive signal through as it is and stops a negative one.

    >>> relu = ReLU()
    >>> relu.forward(np.array([[-1.0, 0.0, 2.0]]))
    array([[0., 0., 2.]])
    >>> relu.backward(np.array([[5.0, 5.0, 5.0]]))
    array([[0., 0., 5.]])
    """

    parameters: Sequence[Parameter] = ()

    def predict(self, x: Array) -> Array:
        """Return ``max(x, 0)``."""
        return np.maximum(x, 0)

    def forward(self, x: Array) -> Array:
        """Return ``max(x, 0)`` and keep where the input was positive."""
        self._open = x > 0
        return self.predict(x)

    def backward(self, grad: Array) -> Array:
        """Return dL/dX."""
        # The derivative of max(x, 0) is 1 for x > 0 and 0 for x < 0; at the corner any number between, and we take 0:
        #   dL/dX = dL/dY where X > 0, else 0
        return np.where(self._open, grad, grad.dtype.type(0))

    def __repr__(self) -> str:
        return "ReLU()"


class Tanh:
    """The hyperbolic tangent: nearly the identity around 0, saturating smoothly at -1 and 1.

    >>> tanh = Tanh()
    >>> tanh.forward(np.array([[0.0, 100.0]]))
    array([[0., 1.]])
    >>> tanh.backward(np.array([[1.0, 1.0]]))    # a saturated unit no longer learns
    array([[1., 0.]])
    """

    parameters: Sequence[Parameter] = ()

    def predict(self, x: Array) -> Array:
        """Return ``tanh(x)``."""
        return np.tanh(x)

    def forward(self, x: Array) -> Array:
        """Return ``tanh(x)`` and keep it."""
        self._y = self.predict(x)
        return self._y

    def backward(self, grad: Array) -> Array:
        """Return dL/dX."""
        # tanh = sinh / cosh, so tanh' = (cosh^2 - sinh^2) / cosh^2 = 1 - tanh^2: the output suffices.
        #   dL/dX = dL/dY (1 - Y^2)
        return grad * (1 - self._y * self._y)

    def __repr__(self) -> str:
        return "Tanh()"


class Sequential:
    """Layers one after the other. It is a layer itself, so networks nest.

    >>> model = Sequential(Linear(2, 3), Tanh(), Linear(3, 1))
    >>> model.predict(np.zeros((4, 2))).shape
    (4, 1)
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters of all layers, first layer first."""
        return [parameter for layer in self.layers for parameter in layer.parameters]

    def predict(self, x: Array) -> Array:
        """Return the output for rows of inputs and remember nothing."""
        for layer in self.layers:
            x = layer.predict(x)
        return x

    def forward(self, x: Array) -> Array:
        """Return the output; every layer keeps what its `backward` needs."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, grad: Array) -> Array:
        """Set the gradients of all parameters; return dL/d(input)."""
        # For Y = g(f(X)) the chain rule reads dL/dX = dL/dY g' f': the last layer answers first, and its answer is
        # the question to the layer before.
        for layer in reversed(self.layers):
            grad = layer.backward(grad)
        return grad

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


ACTIVATIONS: dict[str, tuple[type[ReLU] | type[Tanh], Literal["he", "glorot"]]] = {
    "relu": (ReLU, "he"),
    "tanh": (Tanh, "glorot"),
}


def mlp(
    inputs: int,
    hidden: int | Sequence[int],
    outputs: int,
    *,
    activation: str = "relu",
    seed: int | np.random.Generator = 0,
    dtype: Any = np.float64,
) -> Sequential:
    """Return a multi-layer perceptron: linear layers with an activation between them, none after the last.

    `hidden` is the width of the hidden layer, or the widths of several; ``()`` gives a linear model. `activation` is
    ``"relu"`` or ``"tanh"``. The output is a real number per column (a real prediction, a score or a logit), as the
    losses of the catalogue want it. The same `seed` gives the same weights to the last bit.

    Raises `ParameterError` for an unknown activation or a width below 1.

    >>> mlp(4, (16, 8), 3, activation="tanh")
    Sequential(Linear(4, 16), Tanh(), Linear(16, 8), Tanh(), Linear(8, 3))
    """
    if activation not in ACTIVATIONS:
        raise ParameterError(
            f"mlp: activation: got {activation!r}, expected one of {', '.join(ACTIVATIONS)}"
            f"{suggest(str(activation), ACTIVATIONS)}"
        )
    kind, init = ACTIVATIONS[activation]
    draw = np.random.default_rng(seed)
    layers: list[Layer] = []
    width = inputs
    for units in (hidden,) if isinstance(hidden, int) else hidden:
        layers += [Linear(width, units, init=init, seed=draw, dtype=dtype), kind()]
        width = units
    return Sequential(*layers, Linear(width, outputs, seed=draw, dtype=dtype))
