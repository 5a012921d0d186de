"""Agreement of contenders: a contender is timed only if its results agree with an independent computation.

An answer is held against an independent one in double precision on the same (rounded) inputs, in three ways: the value;
each entry of a gradient, beside the largest one, for a single one that is wrong; and the sum of all its errors beside
the sum of its sizes, for many small ones that are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.cases import Answer


@dataclass(frozen=True)
class Tolerance:
    """What counts as equal: relative errors of the value, of an entry beside the largest, and of all entries."""

    value: float
    entry: float
    total: float

    def __str__(self) -> str:
        return f"value {self.value:g}, an entry of the gradient {self.entry:g} of the largest, all {self.total:g}"


# bfloat16 has three digits, and PyTorch rounds to it after each operation.
TOLERANCES = {
    "float64": Tolerance(1e-9, 1e-9, 1e-9),
    "float32": Tolerance(1e-3, 1e-4, 1e-4),
    "bfloat16": Tolerance(2e-2, 3e-2, 3e-2),
}
_BLOCK = 1 << 20


def disagreement(found: Answer, right: Answer, tolerance: Tolerance) -> str:
    """Return a sentence about how an answer is wrong, or nothing.

    >>> disagreement(Answer(1.0), Answer(1.0), TOLERANCES["float32"])
    ''
    >>> disagreement(Answer(2.0), Answer(1.0), TOLERANCES["float32"])
    'its value is 2, expected 1'
    """
    size = max(abs(right.value), np.finfo(float).tiny)
    if not abs(found.value - right.value) <= tolerance.value * size:
        return f"its value is {found.value:.6g}, expected {right.value:.6g}"
    for number, (grad, expected) in enumerate(zip(found.grads, right.grads, strict=False), start=1):
        which = "its gradient" if len(right.grads) == 1 else f"its gradient {number}"
        if grad.shape != expected.shape:
            return f"{which} has shape {grad.shape}, expected {expected.shape}"
        largest, total = (float(f(np.abs(expected))) for f in (np.max, np.sum))
        worst = errors = 0.0
        for ours, theirs in _blocks(grad, expected):
            error = np.abs(ours.astype(float) - theirs)
            worst, errors = max(worst, float(error.max())), errors + float(error.sum())
            if not np.isfinite(errors):
                return f"{which} is not finite"
        if not worst <= tolerance.entry * largest:
            return f"an entry of {which} is off by {worst / largest:.2g} of the largest"
        if not errors <= tolerance.total * total:
            return f"the errors of {which} add up to {errors / total:.2g} of it"
    return ""


def _blocks(*arrays: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """Cut arrays of one shape into parts along the first axis, so that temporary arrays stay small."""
    first = arrays[0]
    if not first.size:
        return []
    step = max(1, _BLOCK * len(first) // first.size)
    return [tuple(a[start : start + step] for a in arrays) for start in range(0, len(first), step)]
