"""The chunk loop of a linear head: computes the logits of some rows, their loss and gradient, then the next rows.

It is the same for NumPy arrays and tensors, which differ in their `ChunkProducts`, the matrix products of a head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lossary.head.chunks import host_memory, spans
from lossary.head.problem import LinearHead, LinearProblem, is_one


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

    device = "cpu"  # the kind of device
    factor_bytes = (
        0  # of an entry of the gradient in the type of the products' factors, if it is not that of the logits
    )

    def total_memory(self) -> float:
        """Return how many bytes of memory the device has."""
        return host_memory()

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
    def factor(self, hidden: Any, coefficients: Any = None) -> Any:
        """Return hidden states in the type that products are made of.

        `coefficients` are the weights of rows of which none was dropped: those of weight 0 are zeros.
        """

    @abstractmethod
    def logits(self, hidden: Any, out: Any) -> Any:
        """Write the logits of some rows to `out` and return them."""

    def narrowed(self, grad: Any) -> Any:
        """Return the gradient in logits in the type that products are made of."""
        return grad

    @abstractmethod
    def gradient_in_hidden(self, grad: Any, out: Any) -> Any:
        """Return the gradient in hidden states, given that in their logits; write it to `out` unless that is None."""

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

    def release(self) -> None:  # noqa: B027 (most need none)
        """Release the memory that only chunks need."""

    def finished(self, name: str, scale: Any) -> Any:
        """Return a gradient in the shape and type of its array, and release the sum over chunks."""
        xp, like = self.problem.xp, self.problem.tensors[name]
        grad = self.totals.pop(name, None)
        if grad is None:  # there was no chunk
            grad = self.zeros(*(self.weight.shape[:1] if name == "bias" else like.shape))
        if name == "bias" and not like.ndim:
            grad = grad.sum()
        if self.scale_at_end and not is_one(scale):
            grad *= scale
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
    buffers: list[Any] = []
    for span in problem.spans(count, products.device, products.total_memory(), products.factor_bytes):
        where = span if kept is None else kept[span]
        part = problem.part(where)
        dropped = part.coefficients if kept is None else None
        hidden, size = products.factor(part.hidden, dropped), span.stop - span.start
        if not buffers:  # of one's own logits and the teacher's; the first chunk is the longest
            buffers += [products.empty(size, problem.classes) for _ in range(1 if teacher is None else 2)]
        logits = products.logits(hidden, buffers[0][:size])
        if part.teacher is not None:
            hidden_of_teacher = teacher_products.factor(part.teacher.hidden)
            teacher_logits = teacher_products.logits(hidden_of_teacher, buffers[1][:size])
            part = replace(part, teacher=LinearHead(teacher_logits, None, None))
            del hidden_of_teacher, teacher_logits
        if upstream is None:
            rows.check(xp, logits, part, span.start)
        factors = [part.coefficients] * rows.outputs
        if upstream is not None:
            factors = [u[where] if f is None else f * u[where] for f, u in zip(factors, upstream, strict=True)]
        scale_now = 1.0 if products.scale_at_end else scale
        values, grad = _in_blocks(part, logits, factors, scale_now, bool(wrt), products.threads)
        for output, value in zip(outputs, values, strict=True):
            output[where] = value
        if "bias" in wrt:
            products.add_to_bias(grad)
        if "hidden" in wrt or "weight" in wrt:
            grad = products.narrowed(grad)  # the wide one is freed before the products
        if in_hidden is not None:
            into = in_hidden[where] if kept is None else None
            found = products.gradient_in_hidden(grad, into)
            if into is None:
                in_hidden[where] = found
        if "weight" in wrt:
            products.add_to_weight(grad, hidden)
        # The next chunk, and the gradients in their final types, take the place of what this one has made.
        del values, value, grad, logits, hidden, part
    buffers.clear()
    products.release()
    if in_hidden is not None:
        products.totals["hidden"], in_hidden = in_hidden, None
    return tuple(outputs), {name: products.finished(name, scale) for name in wrt}


def _in_blocks(
    part: LinearProblem, logits: Any, factors: Sequence[Any], scale: Any, gradient: bool, threads: int
) -> tuple[tuple[Any, ...], Any]:
    """Return what `RowLoss.values_and_gradient` does for a chunk, with the temporaries of a block of its rows.

    The gradient of a block takes the place of its logits. A loss that runs in blocks by itself is given the chunk.
    """
    rows, xp, size = part.rows, part.xp, int(logits.shape[0])
    most = None if rows.runs_in_blocks or part.overwrites_logits() else part.block_rows(size)
    if most is None or most >= size:
        return rows.values_and_gradient(xp, logits, part, factors, scale, gradient, threads)
    found = []
    for block in spans(size, most):
        some = [None if factor is None else factor[block] for factor in factors]
        values, grad = rows.values_and_gradient(xp, logits[block], part.part(block), some, scale, gradient, threads)
        found.append(values)
        if gradient:
            logits[block] = grad
    return tuple(xp.concat(each, axis=0) for each in zip(*found, strict=True)), logits if gradient else None
