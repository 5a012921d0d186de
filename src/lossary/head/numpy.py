"""A linear head and its loss on NumPy arrays: the matrix products of the chunk loop, values and gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lossary.evaluate import reduction
from lossary.head.loop import ChunkProducts, evaluate_chunks
from lossary.head.problem import LinearProblem

BLOCK_BYTES = 2**20  # of the gradient of the weight, which are still in the cache when a product is added to them


class ArrayProducts(ChunkProducts):
    """The matrix products of a head on NumPy arrays."""

    def __init__(self, problem: LinearProblem, wrt: Sequence[str]) -> None:
        super().__init__(problem, wrt)
        self.weight = self.factor(problem.weight)
        self.bias = None if problem.bias is None else self.factor(problem.bias)

    def kept_rows(self) -> Any:
        """Return the numbers of the rows whose weight is not 0, or None for all rows."""
        coefficients = self.problem.coefficients
        if coefficients is None or (coefficients != 0).all():
            return None
        return np.flatnonzero(coefficients)

    def empty(self, *shape: int) -> Any:
        """Return memory to compute into."""
        return np.empty(shape, self.dtype)

    def zeros(self, *shape: int) -> Any:
        """Return zeros in the type computed in."""
        return np.zeros(shape, self.dtype)

    def factor(self, hidden: Any, coefficients: Any = None) -> Any:
        """Return hidden states in the type that products are made of."""
        return self.problem.xp.cast(hidden, self.dtype)

    def logits(self, hidden: Any, out: Any) -> Any:
        """Write the logits of some rows to `out` and return them."""
        np.matmul(hidden, self.weight.T, out=out)
        if self.bias is not None:
            out += self.bias
        return out

    def gradient_in_hidden(self, grad: Any, out: Any) -> Any:
        """Return the gradient in hidden states, given that in their logits; write it to `out` unless that is None."""
        return np.matmul(grad, self.weight, out=out)

    def add_to_weight(self, grad: Any, hidden: Any) -> None:
        """Add the chunk's part of the gradient in the weight, a block of classes at a time."""
        total, first = self.total("weight", *self.weight.shape)
        classes = max(1, BLOCK_BYTES // max(1, hidden.shape[1] * hidden.itemsize))
        block = None if first else self.empty(min(classes, len(total)), hidden.shape[1])
        for low in range(0, len(total), classes):
            own = total[low : low + classes]
            if block is None:
                np.matmul(grad[:, low : low + classes].T, hidden, out=own)
            else:
                own += np.matmul(grad[:, low : low + classes].T, hidden, out=block[: len(own)])

    def add_to_bias(self, grad: Any) -> None:
        """Add the chunk's part of the gradient in the bias."""
        total, first = self.total("bias", self.weight.shape[0])
        if first:
            total[...] = 0
        total += grad.sum(0)


def values(problem: LinearProblem) -> tuple[Any, ...]:
    """Return everything that the rows give, one number per row each."""
    outputs, _ = evaluate_chunks(problem, ArrayProducts(problem, ()))
    return tuple(x.reshape(problem.batch)[()] for x in outputs)


def value(problem: LinearProblem) -> Any:
    """Return the reduced value."""
    return value_and_grad(problem, ())[0]


def value_and_grad(problem: LinearProblem, wrt: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """Return the reduced value, and the gradients in the arrays that `wrt` names."""
    count = problem.divisor()
    inverse = float(reduction.average(1.0, count))
    (each,), grads = evaluate_chunks(problem, ArrayProducts(problem, wrt), scale=inverse)
    if "hidden" in grads:
        grads["hidden"] = grads["hidden"].reshape(*problem.batch, problem.hidden.shape[-1])
    if problem.reduction == "none":
        return each.reshape(problem.batch)[()], grads
    summed = reduction.reduce_sum(problem.xp, each, problem.dtype)
    return (reduction.average(summed, count) if problem.reduction == "mean" else summed), grads
