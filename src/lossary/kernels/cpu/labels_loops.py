"""Loops over class indices, in the compiler's Python: imported only to compile them (`lossary.kernels.cpu.labels`)."""

from __future__ import annotations

from typing import Any

from numba import types

from lossary.kernels.cpu.math import load, pointer_to, store
from lossary.kernels.cpu.runtime.compile import EntryPoint, entry

_INDEX, _INDICES = types.intp, pointer_to(types.intp)


@entry(types.int32(_INDEX, _INDEX, _INDEX, _INDICES))
def kept_labels(length: int, classes: int, ignored: int, labels: Any) -> Any:
    """Count the labels that are not to be ignored; -1 if one of these is out of range."""
    kept = types.int32(0)
    wrong = types.int32(0)
    for i in range(length):
        label = load(labels, i)
        counted = types.int32(label != ignored)
        kept += counted
        wrong |= counted & types.int32((label < 0) | (label >= classes))
    return types.int32(-1) if wrong else kept


def kept_weight(number: Any) -> EntryPoint:
    """Return the kernel for class weights of a type."""

    @entry(types.int32(_INDEX, _INDEX, _INDEX, _INDICES, pointer_to(number), pointer_to(types.float64)))
    def run(length: int, classes: int, ignored: int, labels: Any, weights: Any, total: Any) -> Any:
        """Write the sum of the weights of labels that are not to be ignored; 1 if one of these is out of range."""
        found = 0.0
        wrong = types.int32(0)
        for i in range(length):
            label = load(labels, i)
            if label != ignored:
                if label < 0 or label >= classes:
                    wrong = types.int32(1)
                else:
                    found += types.float64(load(weights, label))
        store(total, 0, found)
        return wrong

    return run


def class_counts(number: Any) -> EntryPoint:
    """Return the kernel for counts of a type."""

    @entry(types.int32(_INDEX, _INDEX, _INDICES, pointer_to(number)))
    def run(length: int, width: int, labels: Any, out: Any) -> Any:
        """Write how often each class is in a row of labels that ends at the first below 0; 1 for one out of range."""
        wrong = types.int32(0)
        for i in range(length):
            listed = True
            for j in range(width):
                store(out, i * width + j, number(0.0))
            for j in range(width):
                label = load(labels, i * width + j)
                wrong |= types.int32((label < -1) | (label >= width))
                listed = listed and label >= 0
                if listed and label < width:
                    at = i * width + label
                    store(out, at, load(out, at) + number(1.0))
        return wrong

    return run


@entry(types.int32(_INDEX, _INDEX, _INDICES, _INDICES, _INDICES, _INDICES, _INDICES, _INDICES))
def cluster_labels(
    length: int, clusters: int, labels: Any, cutoffs: Any, in_head: Any, order: Any, inside: Any, counts: Any
) -> Any:
    """Write labels as entries of the head and of their clusters; -1 if one of them is out of range."""
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
