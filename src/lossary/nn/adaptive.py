"""Fast path of the adaptive softmax for small calls: sorts labels by cluster in one pass, for all clusters at once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lossary.backends import cache
from lossary.backends.torch import fast


class SortedLabels(NamedTuple):
    """Labels of an adaptive softmax: the head's entry for each; those in clusters, one cluster after the other."""

    in_head: Tensor
    order: Tensor  # which labels are in clusters
    inside: Tensor  # their entries there
    counts: Sequence[int]  # how many there are in each cluster


def sort(labels: Tensor, ends: Sequence[int]) -> SortedLabels | None:
    """Return the labels sorted by clusters, which end at given classes; None to take the general path.

    That is for tensors which are not contiguous memory of the CPU, and for labels that are out of range.
    """
    if (
        not fast.possible()
        or not fast.ordinary(labels)
        or labels.dtype is not torch.int64
        or not labels.is_contiguous()
    ):
        return None
    from lossary.kernels.cpu.labels import cluster_labels

    at_end = (ctypes.c_int64 * len(ends))(*ends)
    counts = (ctypes.c_int64 * len(ends))()
    in_head, order, inside = torch.empty_like(labels), torch.empty_like(labels), torch.empty_like(labels)
    written = [x.data_ptr() for x in (in_head, order, inside)]
    addresses = labels.data_ptr(), ctypes.addressof(at_end), *written, ctypes.addressof(counts)
    if cluster_labels()(len(labels), len(ends), *addresses):
        return None
    _, *outside = counts
    many = sum(outside)
    return SortedLabels(in_head, order[:many], inside[:many], outside)


def costs(
    scores: Sequence[Tensor], labels: SortedLabels, general: Callable[[Sequence[Tensor], SortedLabels], Tensor]
) -> Tensor | None:
    """Return what each label costs in the head, plus in its cluster if it is in one; None to take the general path.

    `scores` are those of the head, then those of each cluster that has labels. `general` is the general path.
    """
    head = scores[0]
    if not fast.possible() or not fast.ordinary(*scores) or not fast.few(head):
        return None
    if not all(x.dtype is head.dtype and x.is_contiguous() and x.numel() <= fast.MOST for x in scores):
        return None
    return fast.answer(_ClustersCall(len(scores), labels.counts, general), *scores, *labels[:3])


def _bound(shape: torch.Size, dtype: torch.dtype, gradient: bool) -> Callable[..., float]:
    """Return cross-entropy bound to rows of one shape."""
    key = ("adaptive softmax", shape, dtype, gradient)
    try:
        found: Callable[..., float] = cache.entry(key)
    except KeyError:
        from lossary.kernels.cpu.softmax.host import DenseCrossEntropy

        rows, classes = shape
        found = DenseCrossEntropy(rows, classes, fast.FLOATS[dtype], 0.0, False, gradient)
        cache.keep(key, found)
    return found


class _ClustersCall(fast.HandWrittenCall):
    """A small call on clusters: all of it but its tensors."""

    reduction = "none"

    def __init__(
        self, leaves: int, counts: Sequence[int], general_path: Callable[[Sequence[Tensor], SortedLabels], Tensor]
    ) -> None:
        self.leaves, self.counts, self.general_path = leaves, counts, general_path

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
            kernel = _bound(x.shape, x.dtype, gradient)
            weights = 0 if factor is None else factor.data_ptr() + step
            kernel(x.data_ptr(), labels, 0, weights, 1.0, values, grads[number].data_ptr() if gradient else 0)
        return costs.index_add_(0, order, further) if tail else costs, grads

    def general(self, *tensors: Tensor) -> Tensor:
        """Return the same by the general path."""
        in_head, order, inside = tensors[self.leaves :]
        return self.general_path(tensors[: self.leaves], SortedLabels(in_head, order, inside, self.counts))
