"""NumPy formulas of losses from a textbook, as contenders: right for ordinary inputs, such as the benchmarks use.

Each formula yields the mean of a loss, then the gradient of that mean. In double precision, a block of examples at a
time, they are also the answers that every contender is held against: they share nothing with Lossary's definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.cases import Answer

Formula = Callable[..., Iterator[Any]]


def squared_error(pred: Any, target: Any) -> Iterator[Any]:
    """The square of the residual."""
    residual = pred - target
    yield (residual**2).mean()
    yield 2 * residual / pred.size


def absolute_error(pred: Any, target: Any) -> Iterator[Any]:
    """The size of the residual."""
    residual = pred - target
    yield np.abs(residual).mean()
    yield np.sign(residual) / pred.size


def huber(pred: Any, target: Any) -> Iterator[Any]:
    """Quadratic within 1, linear beyond."""
    residual = pred - target
    yield np.where(np.abs(residual) <= 1, 0.5 * residual**2, np.abs(residual) - 0.5).mean()
    yield np.clip(residual, -1, 1) / pred.size


def log_cosh(pred: Any, target: Any) -> Iterator[Any]:
    """The logarithm of the hyperbolic cosine of the residual."""
    residual = pred - target
    yield np.log(np.cosh(residual)).mean()
    yield np.tanh(residual) / pred.size


def pinball(pred: Any, target: Any) -> Iterator[Any]:
    """The tilted absolute error of a median."""
    residual = target - pred
    yield np.maximum(0.5 * residual, -0.5 * residual).mean()
    yield -0.5 * np.sign(residual) / pred.size


def poisson_nll(pred: Any, target: Any) -> Iterator[Any]:
    """Minus the log-likelihood of counts, of the logarithm of their rate."""
    rate = np.exp(pred)
    yield (rate - target * pred).mean()
    yield (rate - target) / pred.size


def binary_cross_entropy_with_logits(logits: Any, target: Any) -> Iterator[Any]:
    """Minus the log-likelihood of two classes."""
    probability = 1 / (1 + np.exp(-logits))
    yield (-target * np.log(probability) - (1 - target) * np.log(1 - probability)).mean()
    yield (probability - target) / logits.size


def sigmoid_focal(logits: Any, target: Any) -> Iterator[Any]:
    """The cross-entropy of two classes times the square of the probability of the wrong one."""
    signs = 2 * target - 1
    right = 1 / (1 + np.exp(-signs * logits))
    cost = -np.log(right)
    yield ((1 - right) ** 2 * cost).mean()
    yield -signs * (1 - right) ** 2 * (2 * right * cost + 1 - right) / logits.size


def softmax_cross_entropy(
    logits: Any, target: Any, *, label_smoothing: float = 0.0, class_weight: Any = None
) -> Iterator[Any]:
    """Minus the log-likelihood of classes on axis 1, of labels or of distributions; the mean over the rows."""
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    classes, count = logits.shape[1], logits.size // logits.shape[1]
    if target.ndim < logits.ndim and not label_smoothing and class_weight is None:
        index = np.expand_dims(target, 1)
        of_label = np.take_along_axis(probabilities, index, 1)
        yield -np.log(of_label).mean()
        np.put_along_axis(probabilities, index, of_label - 1, 1)
        yield probabilities / count
        return
    wanted = target
    if target.ndim < logits.ndim:
        wanted = np.full_like(logits, label_smoothing / classes)
        np.put_along_axis(wanted, np.expand_dims(target, 1), 1 - label_smoothing + label_smoothing / classes, 1)
    if class_weight is not None:
        wanted = wanted * class_weight.reshape(-1, *[1] * (logits.ndim - 2))
    costs = np.log(probabilities)
    costs *= wanted
    yield -costs.sum() / count
    del costs
    yield (probabilities * wanted.sum(axis=1, keepdims=True) - wanted) / count


FORMULAS: dict[str, Formula] = {
    formula.__name__: formula
    for formula in (
        squared_error,
        absolute_error,
        huber,
        log_cosh,
        pinball,
        poisson_nll,
        binary_cross_entropy_with_logits,
        sigmoid_focal,
        softmax_cross_entropy,
    )
}

_BLOCK = 1 << 18  # numbers that fit into a cache


def exact(formula: Formula, inputs: Any, target: Any, **params: Any) -> Answer:
    """Evaluate a formula in double precision, a block of examples at a time."""
    wide = {name: x.astype(float) if hasattr(x, "astype") else x for name, x in params.items()}
    grad = np.empty(inputs.shape)
    examples = len(inputs)
    step = max(1, _BLOCK * examples // max(inputs.size, 1))
    value = 0.0
    for start in range(0, examples, step):
        part = slice(start, start + step)
        goal = target[part] if target.dtype.kind in "iu" else target[part].astype(float)
        found = formula(inputs[part].astype(float), goal, **wide)
        share = len(goal) / examples
        value += share * float(next(found))
        grad[part] = next(found)
        grad[part] *= share
    return Answer(value, (grad,))
