"""The clusters of an adaptive softmax: labels sorted in one pass, and the costs of all clusters taken at once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from lossary.backends.torch import fast as lean
from lossary.nn import _small as small


class Sorted(NamedTuple):
    """Labels of an adaptive softmax: the head's entry for each; those in clusters, one cluster after the other."""

    in_head: Tensor
    order: Tensor  # which labels are in clusters
    inside: Tensor  # their entries there
    counts: Sequence[int]  # how many there are in each cluster


def sort(labels: Tensor, ends: Sequence[int]) -> Sorted | None:
    """Return the labels by clusters, which end at given classes; None if they are not plain, or one names no class."""
    if not small.possible() or not small.plain(labels) or labels.dtype is not torch.int64 or not labels.is_contiguous():
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
    return Sorted(in_head, order[:many], inside[:many], outside)


def costs(
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


@lru_cache(4096)
def _compiled(shape: torch.Size, dtype: torch.dtype, gradient: bool) -> Callable[..., float]:
    from lossary.kernels.cpu.softmax.host import DenseCrossEntropy

    count, classes = shape
    return DenseCrossEntropy(count, classes, lean.FLOATS[dtype], 0.0, False, gradient)


class _Clusters(small.SmallCall):
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
            kernel = _compiled(x.shape, x.dtype, gradient)
            weights = 0 if factor is None else factor.data_ptr() + step
            kernel(x.data_ptr(), labels, 0, weights, 1.0, values, grads[number].data_ptr() if gradient else 0)
        return costs.index_add_(0, order, further) if tail else costs, grads

    def general(self, *tensors: Tensor) -> Tensor:
        """Return the same the way of all rows."""
        in_head, order, inside = tensors[self.leaves :]
        return self.long_way(tensors[: self.leaves], Sorted(in_head, order, inside, self.counts))
