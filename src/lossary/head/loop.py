"""The chunk loop of a linear head: computes the logits of some rows, their loss and gradient, then the next rows.

It is the same for NumPy arrays and tensors, which differ in their `ChunkProducts`, the matrix products of a head.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lossary.catalogue import links
from lossary.head.problem import LinearHead, LinearProblem, is_one, row_kernel


class ChunkProducts(ABC):
    """The matrix products of a head for one chunk after another, and the sums over chunks that they make.

    `wrt` names the arrays of the head whose gradients are computed.
    """

    threads = 0  # of a kernel; 0 leaves the number to it
    scale_at_end = False  # whether the gradients are scaled when all chunks are added up, and not by the loss
    weight: Any
    bias: Any

    def __init__(self, problem: LinearProblem, wrt: Sequence[str]) -> None:
        self.problem, self.wrt, self.dtype = problem, wrt, problem.dtype
        self.totals: dict[str, Any] = {}

    def free_bytes(self) -> float:
        """Return how many bytes are free where the logits are made."""
        return free_memory()

    @abstractmethod
    def kept_rows(self) -> Any:
        """Return the numbers of the rows whose weight is not 0, or None for all rows."""

    @abstractmethod
    def empty(self, *shape: int) -> Any:
        """Return memory to compute into."""

    @abstractmethod
    def zeros(self, *shape: int) -> Any:
        """Return zeros in the type computed in."""

    @abstractmethod
    def factor(self, hidden: Any) -> Any:
        """Return hidden states in the type that products are made of."""

    @abstractmethod
    def logits(self, hidden: Any, out: Any) -> Any:
        """Write the logits of some rows to `out` and return them."""

    @abstractmethod
    def gradient_in_hidden(self, grad: Any) -> Any:
        """Return the gradient in hidden states, given that in their logits."""

    @abstractmethod
    def add_to_weight(self, grad: Any, hidden: Any) -> None:
        """Add the chunk's part of the gradient in the weight."""

    @abstractmethod
    def add_to_bias(self, grad: Any) -> None:
        """Add the chunk's part of the gradient in the bias."""

    def total(self, name: str, *shape: int) -> tuple[Any, bool]:
        """Return the sum over chunks of a gradient, and whether nothing has been written to it yet."""
        first = name not in self.totals
        if first:
            self.totals[name] = self.empty(*shape)
        return self.totals[name], first

    def finished(self, name: str, grad: Any, scale: Any) -> Any:
        """Return a gradient in the shape and type of its array; None stands for a sum over no chunk."""
        xp, like = self.problem.xp, self.problem.tensors[name]
        if grad is None:
            grad = self.zeros(*(self.weight.shape[:1] if name == "bias" else like.shape))
        if name == "bias" and not like.ndim:
            grad = grad.sum()
        if self.scale_at_end and not is_one(scale):
            grad = grad * scale
        return xp.cast(xp.asarray(grad, name, like), xp.gradient_dtype(like, self.dtype))


def evaluate_chunks(
    problem: LinearProblem, products: ChunkProducts, upstream: Sequence[Any] | None = None, scale: Any = 1.0
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the weighted value of each row, and the gradients in the arrays that `products` names.

    The gradients are those of the sum of the values, each times its `upstream`, times `scale`. Rows of weight 0 are
    dropped before their logits are made.
    """
    rows, xp, teacher, wrt = problem.rows, problem.xp, problem.teacher, products.wrt
    kept = products.kept_rows()
    count = problem.count if kept is None else len(kept)
    outputs = [products.zeros(problem.count) for _ in range(rows.outputs)]
    in_hidden = None
    if "hidden" in wrt:
        in_hidden = (products.empty if kept is None else products.zeros)(*problem.hidden.shape)
    if teacher is not None:
        of_teacher = replace(problem, hidden=teacher.hidden, weight=teacher.weight, bias=teacher.bias, teacher=None)
        teacher_products = type(products)(of_teacher, ())
    buffer = None
    for span in problem.spans(count, _overwrites_logits(problem), products.free_bytes()):
        where = span if kept is None else kept[span]
        part = problem.part(where)
        hidden, size = products.factor(part.hidden), span.stop - span.start
        if buffer is None:
            buffer = products.empty(size, problem.classes)
        logits = products.logits(hidden, buffer[:size])
        if part.teacher is not None:
            made = products.empty(size, problem.classes)
            made = teacher_products.logits(teacher_products.factor(part.teacher.hidden), made)
            part = replace(part, teacher=LinearHead(made, None, None))
        if upstream is None:
            rows.check(xp, logits, part, span.start)
        factors = [part.coefficients] * rows.outputs
        if upstream is not None:
            factors = [u[where] if f is None else f * u[where] for f, u in zip(factors, upstream, strict=True)]
        scale_now = 1.0 if products.scale_at_end else scale
        values, grad = rows.values_and_gradient(xp, logits, part, factors, scale_now, bool(wrt), products.threads)
        for output, value in zip(outputs, values, strict=True):
            output[where] = value
        if in_hidden is not None:
            in_hidden[where] = products.gradient_in_hidden(grad)
        if "weight" in wrt:
            products.add_to_weight(grad, hidden)
        if "bias" in wrt:
            products.add_to_bias(grad)
    grads = {name: in_hidden if name == "hidden" else products.totals.get(name) for name in wrt}
    return tuple(outputs), {name: products.finished(name, grad, scale) for name, grad in grads.items()}


def _overwrites_logits(problem: LinearProblem) -> bool:
    """Whether a kernel writes the gradient over the logits, so that a chunk needs no memory beside them."""
    rows = problem.rows
    return (
        rows.activation is links.IDENTITY
        and problem.xp.readable(problem.weight) is not None
        and row_kernel(rows.loss) is not None
    )


def free_memory() -> float:
    """Return how many bytes of memory are free, or infinity where the system does not tell."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf
