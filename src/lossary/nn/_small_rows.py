"""Softmax cross-entropy of few rows and their labels, by the kernel of the softmax family; clusters of classes too."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from lossary import lean
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
    ) -> tuple[Tensor, Sequence[Tensor]]:
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
        grads = [torch.empty_like(scores)] if gradient else []
        summed = kernel(
            scores.data_ptr(),
            at,
            of_classes,
            0 if factors is None else factors.data_ptr(),
            1 / share if mean else 1.0,
            0 if values is None else values.data_ptr(),
            grads[0].data_ptr() if gradient else 0,
        )
        return scores.new_full((), summed / share if mean else summed) if values is None else values, grads

    def at_length(self, *tensors: Tensor) -> Tensor:
        """Return the same the way of all rows."""
        from lossary.nn.functional import cross_entropy

        options = {"ignore_index": self.ignored, "label_smoothing": self.smoothing}
        return cross_entropy(*tensors, reduction=self.how, **options)  # type: ignore[arg-type]


# --- clusters of classes --------------------------------------------------------------------------------------------


class Sorted(NamedTuple):
    """Labels of an adaptive softmax: the head's entry for each; those in clusters, one cluster after the other."""

    in_head: Tensor
    order: Tensor  # which labels are in clusters
    inside: Tensor  # their entries there
    counts: Sequence[int]  # how many there are in each cluster


def clusters(labels: Tensor, ends: Sequence[int]) -> Sorted | None:
    """Return the labels by clusters, which end at given classes; None if they are not plain, or one names no class."""
    if not small.possible() or not small.plain(labels) or labels.dtype is not torch.int64 or not labels.is_contiguous():
        return None
    from lossary.kernels.cpu import clusters

    at_end = (ctypes.c_int64 * len(ends))(*ends)
    counts = (ctypes.c_int64 * len(ends))()
    in_head, order, inside = torch.empty_like(labels), torch.empty_like(labels), torch.empty_like(labels)
    written = [x.data_ptr() for x in (in_head, order, inside)]
    addresses = labels.data_ptr(), ctypes.addressof(at_end), *written, ctypes.addressof(counts)
    if clusters.sort()(len(labels), len(ends), *addresses):
        return None
    _, *outside = counts
    many = sum(outside)
    return Sorted(in_head, order[:many], inside[:many], outside)


def cost_of_clusters(
    scores: Sequence[Tensor], known: Sorted, at_length: Callable[[Sequence[Tensor], Sorted], Tensor]
) -> Tensor | None:
    """Return what each label costs in the head, and in its cluster if it is in one; None if the call is not plain.

    `scores` are those of the head, then those of each cluster that has labels. `at_length` is the long way.
    """
    head = scores[0]
    if not small.possible() or not small.plain(*scores) or not small.few(head):
        return None
    if not all(x.dtype is head.dtype and x.is_contiguous() and x.numel() <= lean.MOST for x in scores):
        return None
    return small.taken(_Clusters(len(scores), known.counts, at_length), *scores, *known[:3])


class _Clusters(small.Call):
    """A small call on clusters: all of it but its tensors."""

    how = "none"

    def __init__(
        self, leaves: int, counts: Sequence[int], long_way: Callable[[Sequence[Tensor], Sorted], Tensor]
    ) -> None:
        self.leaves, self.counts, self.long_way = leaves, counts, long_way

    def evaluate(
        self, tensors: Sequence[Tensor], gradient: bool, factors: Tensor | None = None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Return what each label costs, and the gradients in the scores."""
        (head, *tail), (in_head, order, inside) = tensors[: self.leaves], tensors[self.leaves :]
        grads = [torch.empty_like(x) for x in tensors[: self.leaves]] if gradient else []
        costs, size = head.new_empty(len(head)), head.itemsize
        further = head.new_empty(len(order))
        of_clusters = None if factors is None else factors.index_select(0, order)
        at, parts = 0, [(head, in_head.data_ptr(), costs.data_ptr(), factors, 0)]
        for x in tail:
            parts.append((x, inside.data_ptr() + 8 * at, further.data_ptr() + size * at, of_clusters, size * at))
            at += len(x)
        for number, (x, labels, values, factor, step) in enumerate(parts):
            kernel = _compiled(x.shape, x.dtype, 0.0, False, gradient)[2]
            weights = 0 if factor is None else factor.data_ptr() + step
            kernel(x.data_ptr(), labels, 0, weights, 1.0, values, grads[number].data_ptr() if gradient else 0)
        return costs.index_add_(0, order, further) if tail else costs, grads

    def at_length(self, *tensors: Tensor) -> Tensor:
        """Return the same the way of all rows."""
        in_head, order, inside = tensors[self.leaves :]
        return self.long_way(tensors[: self.leaves], Sorted(in_head, order, inside, self.counts))
