"""The loop that checks CTC targets and lengths, in the compiler's Python: imported only to compile it."""

from __future__ import annotations

from typing import Any

from numba import types

from lossary.kernels.cpu.math import load, pointer_to, store
from lossary.kernels.cpu.runtime.compile import entry

_INDEX, _INDICES, _NUMBERS = types.intp, pointer_to(types.intp), pointer_to(types.float64)


@entry(types.int64(*[_INDEX] * 6, *[_INDICES] * 5, _NUMBERS, _INDICES))
def checked_targets(
    batch: int,
    frames: int,
    classes: int,
    columns: int,
    total: int,
    mean: int,
    targets: Any,
    frames_at: Any,
    lengths_at: Any,
    lengths: Any,
    order: Any,
    factors: Any,
    labels: Any,
) -> int:
    """Return the longest target of a batch, -1 if a length or a label is out of range; write what the kernel takes."""
    longest, found, wrong = 0, 0, False
    most = total if columns < 0 else columns
    for n in range(batch):
        here, goal = load(frames_at, n), load(lengths_at, n)
        wrong |= here < 0 or here > frames or goal < 0 or goal > most
        longest = max(longest, goal)
        found += goal
        store(lengths, n, here)
        store(lengths, batch + n, goal)
        store(order, n, n)
        store(factors, n, 1.0 / (max(goal, 1) * batch) if mean else 1.0)
    if wrong or (columns < 0 and found != total):
        return -1
    start = 0
    for n in range(batch):
        goal = load(lengths, batch + n)
        for j in range(goal):
            label = load(targets, start + j)
            wrong |= label < 0 or label >= classes
            store(labels, n * longest + j, label)
        start += goal if columns < 0 else columns
    return -1 if wrong else longest
