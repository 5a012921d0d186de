"""A small neural network in NumPy, written to be read: layers, optimisers, schedules and the training loop.

Training a network is three steps, repeated. **Forward**: from inputs to predictions, and to one number that says how
wrong they are; that number is a loss of the catalogue. **Backward**: the chain rule, from the loss's hand-written
gradient through the layers in reverse, says how that number would change with every parameter. **Step**: move each
parameter a little against its gradient, ``W -= lr * grad``. There is no automatic differentiation here and nothing
hidden: `steps.ByHand` shows the three steps, numbered, and every layer derives its own backward in three lines of
comment. `fit(..., backend="torch")` lets PyTorch take the same three steps instead.

>>> import numpy as np
>>> from lossary.training import Adam, fit, mlp
>>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
>>> y = np.array([0.0, 1.0, 1.0, 0.0])                       # exclusive or: no line separates it, one hidden layer does
>>> network = mlp(2, 8, 1, activation="tanh", seed=0)
>>> history = fit(network, "squared_error", X, y, epochs=500, optimiser=Adam(lr=0.03))
>>> network.predict(X)[:, 0].round(2) + 0.0
array([0., 1., 1., 0.])
>>> history.epochs[-1].loss < 1e-4 < history.epochs[0].loss
True

Read in this order: `criterion` (a loss with its forward and backward), `layers` (what a gradient is), `optimisers` and
`schedules` (what to do with it), `steps` and `loop` (doing it).
There is no `model.zero_grad()` as in PyTorch: `backward` sets gradients rather than adding to them.
"""

from lossary.training.criterion import Criterion, SigmoidCrossEntropy, SoftmaxCrossEntropy
from lossary.training.history import Epoch, History
from lossary.training.layers import Layer, Linear, Parameter, ReLU, Sequential, Tanh, mlp
from lossary.training.loop import evaluate, fit
from lossary.training.optimisers import SGD, Adam, Optimiser
from lossary.training.schedules import (
    Schedule,
    constant,
    cosine,
    exponential,
    inverse_time,
    step_decay,
    warmup,
)

__all__ = [
    "SGD",
    "Adam",
    "Criterion",
    "Epoch",
    "History",
    "Layer",
    "Linear",
    "Optimiser",
    "Parameter",
    "ReLU",
    "Schedule",
    "Sequential",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "Tanh",
    "constant",
    "cosine",
    "evaluate",
    "exponential",
    "fit",
    "inverse_time",
    "mlp",
    "step_decay",
    "warmup",
]
