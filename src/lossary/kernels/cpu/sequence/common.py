"""What the kernels of sequences share: who works on what, how the code is kept, weights and results."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lossary.kernels.cpu.runtime import cache as store
from lossary.kernels.table import Outcome, Wanted


def kernel(
    name: str, loops: tuple[str, ...], variant: Any, make: Callable[[], bytes], arrays: int
) -> Callable[..., int]:
    """Return a kernel as a function of C: of so many arrays, and of the first and last sequence of a share.

    `loops` are the files its code is made of, `variant` what else it depends on.
    """
    here = Path(__file__).parents[1]
    made_of = repr((*((here / file).read_text() for file in loops), variant))
    pointers, integers = [ctypes.c_void_p] * arrays, [ctypes.c_ssize_t] * 2
    return ctypes.CFUNCTYPE(ctypes.c_int32, *pointers, *integers)(store.function(name, made_of, make))


def dealt(work: Any, workers: int) -> Any:
    """Return the sequences in an order of which every worker's part is about as much work, the longest first."""
    longest = np.argsort(-work, kind="stable")
    return np.concatenate([longest[k::workers] for k in range(workers)]).astype(np.int64)


def factors(wanted: Wanted, batch: tuple[int, ...]) -> Any:
    """Return by what the gradient of each sequence is multiplied."""
    weights = 1.0 if wanted.weights is None else wanted.weights
    return np.ascontiguousarray(np.broadcast_to(weights, batch).reshape(-1) * wanted.scale, np.float64)


def outcome(values: Any, batch: tuple[int, ...], dtype: Any, wanted: Wanted, derivatives: tuple[Any, ...]) -> Outcome:
    """Return what is wanted of the values of all sequences, and the derivatives.

    A sequence whose factor is 0 was not looked at, and its value is 0 already. What is certain costs 0, and not -0.
    """
    values = values.reshape(batch) + 0.0
    if wanted.weights is not None:
        values = values * wanted.weights
    value = values.astype(dtype) if wanted.value == "each" else values.sum() if wanted.value == "sum" else None
    return Outcome(value, derivatives)
