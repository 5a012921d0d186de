"""Compiled passes over class indices: ranges, ignored ones, weights, counts per class, clusters of a vocabulary."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

from lossary.kernels.cpu.runtime.cache import written_by_hand

NO_LABEL = -(2**62)  # stands for a label to ignore where there is none
_LOOPS = "lossary.kernels.cpu.labels_loops"


@cache
def kept_labels() -> Callable[[int, int, int, int], int]:
    """Return the function of length, classes, ignored label and the labels' address that counts kept labels.

    It returns -1 if a kept label is out of range.
    """

    def make() -> bytes:
        from lossary.kernels.cpu import labels_loops

        return labels_loops.kept_labels.object_file()

    return _loaded("kept_labels", "", make, 3, 1)


@cache
def kept_weight(dtype: str) -> Callable[..., int]:
    """Return the function of length, classes, ignored label, and addresses of labels, class weights and their sum.

    It writes the sum of the weights of kept labels, in float64, and returns whether one of them is out of range.
    """

    def make() -> bytes:
        from numba import types

        from lossary.kernels.cpu import labels_loops

        return labels_loops.kept_weight(getattr(types, dtype)).object_file()

    return _loaded("kept_weight", dtype, make, 3, 3)


@cache
def class_counts(dtype: str) -> Callable[[int, int, int, int], int]:
    """Return the function of rows, their length, and the addresses of class indices and of counts per class.

    A row of indices ends at the first below 0. The function returns whether an index is out of range.
    """

    def make() -> bytes:
        from numba import types

        from lossary.kernels.cpu import labels_loops

        return labels_loops.class_counts(getattr(types, dtype)).object_file()

    return _loaded("class_counts", dtype, make, 2, 2)


@cache
def cluster_labels() -> Callable[..., int]:
    """Return the function of how many labels and clusters there are, and of addresses, that sorts labels by cluster.

    It reads the labels and where each cluster ends, the head's own first. It writes the entry of the head for every
    label; of those outside the head their numbers, cluster by cluster, and their entries there; and how many each has.
    """

    def make() -> bytes:
        from lossary.kernels.cpu import labels_loops

        return labels_loops.cluster_labels.object_file()

    return _loaded("cluster_labels", "", make, 2, 6)


def _loaded(name: str, dtype: str, make: Callable[[], bytes], integers: int, pointers: int) -> Callable[..., int]:
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_ssize_t] * integers, *[ctypes.c_void_p] * pointers)
    found: Callable[..., int] = written_by_hand(name, _LOOPS, (name, dtype), make, prototype)
    return found
