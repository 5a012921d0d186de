"""The loop over chunks of rows: logits, the loss and its gradient, and their part of the gradients of the head."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lossary.head.problem import Problem, Rows, Teacher, _is_one


class Products:
    """The matrix products of a head on NumPy arrays, into memory that is there already."""

    threads = 0
    late = False  # whether the gradients are scaled at the end

    def __init__(self, problem: Problem, wanted: Sequence[str]) -> None:
        self.problem, self.wanted = problem, wanted
        self.grads: dict[str, Any] = {}
        self.dtype = problem.dtype
        self.weight = self._in_dtype(problem.weight)
        self.bias = None if problem.bias is None else self._in_dtype(problem.bias)

    def _in_dtype(self, x: Any) -> Any:
        return self.problem.xp.cast(x, self.dtype)

    def available(self) -> float:
        """Return how many bytes are free."""
        return free_memory()

    def kept(self) -> Any:
        """Return the numbers of the rows that count, or None if all do."""
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

    def narrow(self, hidden: Any) -> Any:
        """Return hidden states in the type to multiply in."""
        return self._in_dtype(hidden)

    def logits(self, hidden: Any, out: Any) -> Any:
        """Make the logits of some rows."""
        np.matmul(hidden, self.weight.T, out=out)
        if self.bias is not None:
            out += self.bias
        return out

    def pull_hidden(self, grad: Any) -> Any:
        """Return the gradient in hidden states, given that in their logits."""
        return np.matmul(grad, self.weight)

    def pull_weight(self, grad: Any, hidden: Any) -> None:
        """Add to the gradient of the weight: in pieces that are still in the cache when they are added."""
        total, first = self._total("weight", self.weight.shape)
        rows = max(1, 2**20 // max(1, hidden.shape[1] * hidden.itemsize))
        piece = None if first else self.empty(min(rows, len(total)), hidden.shape[1])
        for low in range(0, len(total), rows):
            own = total[low : low + rows]
            if piece is None:
                np.matmul(grad[:, low : low + rows].T, hidden, out=own)
            else:
                own += np.matmul(grad[:, low : low + rows].T, hidden, out=piece[: len(own)])

    def pull_bias(self, grad: Any) -> None:
        """Add to the gradient of the bias."""
        total, first = self._total("bias", self.weight.shape[:1])
        if first:
            total[...] = 0
        total += grad.sum(0)

    def _total(self, name: str, shape: tuple[int, ...]) -> tuple[Any, bool]:
        first = name not in self.grads
        if first:
            self.grads[name] = self.empty(*shape)
        return self.grads[name], first

    def finish(self, name: str, grad: Any, scale: Any) -> Any:
        """Give a gradient the shape and type of its array."""
        xp, like = self.problem.xp, self.problem.tensors[name]
        if grad is None:
            grad = self.zeros(*(self.weight.shape[:1] if name == "bias" else like.shape))
        if name == "bias" and not like.ndim:
            grad = grad.sum()
        if self.late and not _is_one(scale):
            grad = grad * scale
        return xp.cast(xp.asarray(grad, name, like), xp.gradient_dtype(like, self.dtype))


def evaluate(
    problem: Problem,
    products: Any,
    order: int,
    upstream: Sequence[Any] | None = None,
    scale: Any = 1.0,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the weighted value of each row, and the gradients that the products were told to make.

    The gradients are those of the sum of the values, each times its `upstream`, times `scale`.
    """
    rows, xp = problem.rows, problem.xp
    kept = products.kept()
    count = problem.count if kept is None else len(kept)
    outputs = [products.zeros(problem.count) for _ in range(rows.outputs)]
    wanted = products.wanted if order else ()
    grads: dict[str, Any] = {}
    if "hidden" in wanted:
        grads["hidden"] = (products.zeros if kept is not None else products.empty)(*problem.hidden.shape)
    in_place = _has_row_kernel(rows, xp, problem)
    buffer = None
    teacher = problem.teacher
    if teacher is not None:
        own = replace(problem, hidden=teacher.hidden, weight=teacher.weight, bias=teacher.bias, teacher=None)
        taught = type(products)(own, ())
    for span in problem.spans(count, in_place, products.available()):
        where = span if kept is None else kept[span]
        part = problem.part(where)
        hidden, size = products.narrow(part.hidden), span.stop - span.start
        if buffer is None:
            buffer = products.empty(size, problem.classes)
        logits = products.logits(hidden, buffer[:size])
        if part.teacher is not None:
            made = taught.logits(taught.narrow(part.teacher.hidden), products.empty(size, problem.classes))
            part = replace(part, teacher=Teacher(made, None, None))
        if upstream is None:
            rows.inspect(xp, logits, part, span.start)
        factors = [part.coefficients] * rows.outputs
        if upstream is not None:
            factors = [u[where] if f is None else f * u[where] for f, u in zip(factors, upstream, strict=True)]
        now = 1.0 if products.late else scale
        values, grad = rows.pull(xp, logits, part, factors, now, order, products.threads)
        for output, value in zip(outputs, values, strict=True):
            output[where] = value
        if "hidden" in wanted:
            grads["hidden"][where] = products.pull_hidden(grad)
        if "weight" in wanted:
            products.pull_weight(grad, hidden)
        if "bias" in wanted:
            products.pull_bias(grad)
    grads |= {name: products.grads.get(name) for name in ("weight", "bias") if name in wanted}
    return tuple(outputs), {name: products.finish(name, grad, scale) for name, grad in grads.items()}


def _has_row_kernel(rows: Rows, xp: Any, problem: Problem) -> bool:
    from lossary.kernels import table

    if rows.link or rows.pointwise or xp.readable(problem.weight) is None:
        return False
    return hasattr(table.find(rows.loss), "plan")


def free_memory() -> float:
    """Return how many bytes of memory are free, as far as the system says."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # not every system says
        return math.inf
