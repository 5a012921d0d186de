"""Losses as objects with `forward` and `backward`, in NumPy: what a framework's criterion does, written to be read.

A loss at work takes three steps. It compares each output with its truth, which gives **one value per example**; it
**sums** them; and it **divides** the sum, so that one number stands for the batch. `backward` goes the same way: the
gradient of each example, divided by the same denominator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from lossary.backends.numpy import namespace as xp
from lossary.catalogue import Loss, get
from lossary.errors import ArgumentError, ParameterError, suggest
from lossary.evaluate import reduction, transforms
from lossary.losses.penalty import l2_penalty
from lossary.training.layers import Array, Parameter
from lossary.training.steps import add_penalty

DivideBy = Literal["examples", "rows", "nothing"]


class Criterion:
    """A loss of the catalogue as an object: `forward` gives one number, `backward` its gradient.

    `divide_by` is what the sum over the batch is divided by: ``"examples"``, the number of values (or the sum of their
    weights), which is the mean; ``"rows"``, the number of rows of the first array, as is usual for several yes/no
    labels in a row; ``"nothing"``, which leaves the sum. `params` are the parameters of the loss.

    After `forward`, `values` has one value per example and `denominator` what their sum was divided by.

    >>> criterion = Criterion("squared_error")
    >>> float(criterion.forward(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.5, 3.5])))
    0.5
    >>> criterion.values, criterion.denominator
    (array([1.  , 0.25, 0.25]), 3.0)
    >>> criterion.backward().round(3)                    # 2 (pred - target) / 3
    array([-0.667, -0.333, -0.333])
    """

    def __init__(self, loss: Loss | str, *, divide_by: DivideBy = "examples", **params: Any) -> None:
        self.loss = get(loss).bind(**params) if params else get(loss)
        known = ("examples", "rows", "nothing")
        if divide_by not in known:
            hint = suggest(str(divide_by), known)
            raise ParameterError(f"divide_by: got {divide_by!r}, expected one of {', '.join(known)}{hint}")
        self.divide_by = divide_by

    def forward(self, *arrays: Any, weight: Any = None, mask: Any = None) -> Any:
        """Return the loss of a batch; `arrays` are those of the loss, and what `mask` leaves out takes no part."""
        # 1. One value per example: the least that means anything is one output against one truth.
        self.values = transforms.value(self.loss, *arrays, weight=weight, mask=mask)
        # 2. The sum, and 3. divided: one number for the batch, so that one update serves all of it.
        _, examples = reduction.total(self.values, weight=weight, mask=mask)
        counts = {"examples": float(examples), "rows": float(np.shape(arrays[0])[0]), "nothing": 1.0}
        self.denominator = counts[self.divide_by]
        self._call: tuple[tuple[Any, ...], Any, Any] | None = (arrays, weight, mask)
        return reduction.average(self.values.sum(), self.denominator)

    def backward(self) -> Any:
        """Return the gradient of the latest `forward` with respect to the prediction."""
        if getattr(self, "_call", None) is None:
            raise ArgumentError("backward: there is nothing to differentiate; call forward(prediction, target) first")
        arrays, weight, mask = self._call  # type: ignore[misc]  # looked at above
        # 1. The gradient of each example: how its value changes with its prediction.
        gradient = transforms.value_and_grad(self.loss, *arrays, weight=weight, mask=mask, reduction="sum")[1]
        # 2. The sum hands it on as it is, and 3. the division divides it too.
        if isinstance(gradient, tuple):
            return tuple(reduction.average(each, self.denominator) for each in gradient)
        return reduction.average(gradient, self.denominator)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.loss.name!r}, divide_by={self.divide_by!r})"


class _CrossEntropy(Criterion):
    """Cross-entropy on logits against one-hot labels, divided by rows, with weight decay of a model's parameters."""

    _name: str

    def __init__(self, parameters: Sequence[Parameter] = (), weight_decay: float = 1e-5) -> None:
        super().__init__(self._name, divide_by="rows")
        if not weight_decay >= 0:
            raise ParameterError(f"weight_decay: got {weight_decay!r}, expected a number >= 0")
        self.parameters, self.weight_decay = list(parameters), weight_decay

    def forward(self, x: Any, label_onehot: Any, *, weight: Any = None, mask: Any = None) -> Any:  # type: ignore[override]
        """Return the loss of a batch of logits; the decay is not part of it, see `decay_loss`."""
        if np.shape(x) != np.shape(label_onehot):
            raise ArgumentError(
                f"label_onehot: got shape {np.shape(label_onehot)}, expected that of the logits, {np.shape(x)}; "
                "class indices become one-hot by numpy.eye(classes)[indices]"
            )
        self.predict = self.probabilities(x)
        return super().forward(x, label_onehot, weight=weight, mask=mask)

    def probabilities(self, x: Any) -> Array:
        """Return the probabilities of logits, without overflow."""
        link = self.loss.link
        assert link is not None  # logits have one
        return link.inverse(xp, np.asarray(x, float))

    def decay_loss(self) -> float:
        """Return ``weight_decay / 2`` times the sum of the squared weights: the number whose gradient is the decay."""
        decayed = (parameter for parameter in self.parameters if parameter.decay)
        return self.weight_decay * sum(float(np.sum(l2_penalty(parameter.value))) for parameter in decayed)

    def decay_backward(self) -> None:
        """Add the gradient of the decay, ``weight_decay * W``, to the `grad` of every parameter that decays."""
        add_penalty(self.parameters, self.weight_decay)

    def backward(self) -> Array:
        """Add the decay to the parameters' gradients; return ``(predict - label_onehot) / rows``.

        This is for layers that add to their gradients, which are set to 0 before each batch. The layers of
        `lossary.training` set theirs: with them, call `decay_backward` again after the model's `backward`, or pass
        ``l2=`` to `fit`.
        """
        self.decay_backward()
        return super().backward()


class SigmoidCrossEntropy(_CrossEntropy):
    """Cross-entropy of yes/no labels on logits, by hand: sigmoid, logarithm, sum, divided by **rows**.

    The sum of a row's entries is not divided by their number, so that the gradient is ``(predict - label) / rows``.

    >>> criterion = SigmoidCrossEntropy(weight_decay=0)
    >>> logits, labels = np.array([[2.0, -1.0], [0.0, 1000.0]]), np.array([[1.0, 0.0], [1.0, 1.0]])
    >>> round(float(criterion.forward(logits, labels)), 4)
    0.5667
    >>> criterion.backward().round(3) + 0.0
    array([[-0.06 ,  0.134],
           [-0.25 ,  0.   ]])
    """

    _name = "binary_cross_entropy_with_logits"

    def sigmoid(self, x: Any) -> Array:
        """Return ``1 / (1 + exp(-x))``, written for each sign of x so that no exponential overflows."""
        return self.probabilities(x)


class SoftmaxCrossEntropy(_CrossEntropy):
    """Cross-entropy of one class per row on logits, by hand: softmax, logarithm, sum, divided by rows.

    >>> criterion = SoftmaxCrossEntropy(weight_decay=0)
    >>> logits = np.array([[0.05, -0.6461, 0.913, -0.0553], [-0.3201, 1.5033, 0.207, 1.8456]])
    >>> round(float(criterion.forward(logits, np.eye(4)[[0, 0]])), 4)
    2.2152
    >>> bool(np.allclose(criterion.backward(), (criterion.predict - np.eye(4)[[0, 0]]) / 2))
    True
    """

    _name = "softmax_cross_entropy"

    def softmax(self, x: Any) -> Array:
        """Return each row's exponentials divided by their sum; the largest logit is subtracted first."""
        return self.probabilities(x)
