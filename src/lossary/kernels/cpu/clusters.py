"""Which cluster of an adaptive softmax each label belongs to, in one pass over few labels."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

from lossary.kernels.cpu.runtime import cache as store
from lossary.kernels.cpu.runtime.cache import COMPILING

_SORTED = '''"""Labels as entries of the head and of their clusters; -1 if one of them names no class."""

from numba import types
from lossary.kernels.cpu.runtime.compile import entry
from lossary.kernels.cpu.math import load, store

I, P = types.intp, types.CPointer(types.intp)


@entry(types.int32(I, I, P, P, P, P, P, P))
def run(length, clusters, labels, cutoffs, in_head, order, inside, counts):
    wrong = False
    for k in range(clusters):
        store(counts, k, 0)
    for i in range(length):
        label = load(labels, i)
        wrong |= label < 0 or label >= load(cutoffs, clusters - 1)
        k = 0
        while k < clusters - 1 and label >= load(cutoffs, k):
            k += 1
        store(in_head, i, load(cutoffs, 0) + k - 1 if k else label)
        store(counts, k, load(counts, k) + 1)
    if wrong:
        return types.int32(-1)
    at = 0
    for k in range(1, clusters):
        low, high = load(cutoffs, k - 1), load(cutoffs, k)
        for i in range(length):
            label = load(labels, i)
            if low <= label < high:
                store(order, at, i)
                store(inside, at, label - low)
                at += 1
    return types.int32(0)
'''


@cache
def sort() -> Callable[..., int]:
    """Return the function of how many labels and clusters there are, and of addresses, that sorts labels.

    It is given the labels and where each cluster ends, the head's own first. It writes the entry of the head for every
    label; of those outside the head their numbers, cluster by cluster, and their entries there; and how many each has.
    """
    with COMPILING:
        made = store.module("clusters", _SORTED)
        return ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_ssize_t] * 2, *[ctypes.c_void_p] * 6)(made.run.address)
