"""Softmax cross-entropy of few rows and their labels, by the kernel of the softmax family."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lossary.errors import DomainError
from lossary.nn import _small as small


def cross_entropy(
    scores: Tensor, labels: Tensor, how: str, weight: Tensor | None = None, ignored: int = -100, smoothing: float = 0.0
) -> Tensor | None:
    """Return the reduced cross-entropy of rows of scores, the mean over the weights of labels that are not ignored.

    None if the call is not a small and plain one, a label names no class, or the mean is one of nothing.
    """
    given = (scores, labels) if weight is None else (scores, labels, weight)
    if not small.possible() or not small.plain(*given) or not small.few(scores):
        return None
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or labels.dtype is not torch.int64:
        return None
    if not scores.is_contiguous() or not labels.is_contiguous():
        return None
    if weight is not None and (weight.shape != scores.shape[1:] or weight.dtype is not scores.dtype):
        return None
    if weight is not None and (not weight.is_contiguous() or weight.requires_grad):
        return None
    return small.taken(_Call(how, ignored, smoothing), *given)


@lru_cache(4096)
def _compiled(shape: torch.Size, dtype: torch.dtype, smoothing: float, weighted: bool, gradient: bool) -> _Compiled:
    """Return what counts labels, what adds up their weights, and what computes."""
    from lossary.kernels.cpu import lanes, rows

    (count, classes), name = shape, small.FLOATS[dtype]
    kernel = rows.Labelled(count, classes, name, smoothing, weighted, gradient)
    return lanes.survey(), lanes.weighed_survey(name), kernel


_Compiled = tuple[Callable[..., int], Callable[..., int], Callable[..., float]]


class _Call(small.Call):
    """A small call: all of it but its tensors."""

    def __init__(self, how: str, ignored: int, smoothing: float) -> None:
        self.how, self.ignored, self.smoothing = how, ignored, smoothing

    def evaluate(
        self, tensors: Sequence[Tensor], gradient: bool, factors: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the reduced value and the gradient; a wrong label or a mean of nothing raises `DomainError`."""
        scores, labels, *weights = tensors
        survey, weigh, kernel = _compiled(scores.shape, scores.dtype, self.smoothing, bool(weights), gradient)
        count, classes = scores.shape
        mean, at = self.how == "mean", labels.data_ptr()
        share: float = survey(count, classes, self.ignored, at)
        if share < count:
            if share < 0:
                raise DomainError
            kept = labels != self.ignored
            factors = kept.to(scores.dtype) if factors is None else torch.where(kept, factors, 0)
        of_classes = weights[0].data_ptr() if weights else 0
        if weights and mean:
            total = ctypes.c_double()
            weigh(count, classes, self.ignored, at, of_classes, ctypes.addressof(total))
            share = total.value
        if mean and share == 0:
            raise DomainError
        values = scores.new_empty(count) if self.how == "none" else None
        grad = torch.empty_like(scores) if gradient else None
        summed = kernel(
            scores.data_ptr(),
            at,
            of_classes,
            0 if factors is None else factors.data_ptr(),
            1 / share if mean else 1.0,
            0 if values is None else values.data_ptr(),
            0 if grad is None else grad.data_ptr(),
        )
        return scores.new_full((), summed / share if mean else summed) if values is None else values, grad

    def at_length(self, *tensors: Tensor) -> Tensor:
        """Return the same the way of all rows."""
        from lossary.nn.functional import cross_entropy

        options = {"ignore_index": self.ignored, "label_smoothing": self.smoothing}
        return cross_entropy(*tensors, reduction=self.how, **options)  # type: ignore[arg-type]
