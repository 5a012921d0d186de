"""Shared by the sequence kernels: loading the code, the order of sequences for threads, weights, results."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.kernels.cpu.runtime.cache import written_by_hand
from lossary.kernels.request import DenseCalls, Request, Result


@dataclass(frozen=True)
class SequenceKernel:
    """The kernel of a loss with lengths: a function of a prepared call and a request."""

    run: Callable[[Any, Request], Result | None]

    def bind(self, calls: DenseCalls) -> None:
        """Return None: what such calls share does not decide how they are computed, their lengths do."""


def kernel(name: str, loops: str, variant: Any, make: Callable[[], bytes], arrays: int) -> Callable[..., int]:
    """Return a kernel as a C function: of so many arrays, and of the first and last sequence of a share.

    `loops` is the module that holds it, `variant` what else it depends on, and `make` compiles it.
    """
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * arrays, *[ctypes.c_ssize_t] * 2)
    found: Callable[..., int] = written_by_hand(name, loops, variant, make, prototype)
    return found


def dealt(work: Any, workers: int) -> Any:
    """Return the sequences in an order of which every worker's part is about as much work, the longest first."""
    longest = np.argsort(-work, kind="stable")
    return np.concatenate([longest[k::workers] for k in range(workers)]).astype(np.int64)


def factors(request: Request, batch: tuple[int, ...]) -> Any:
    """Return by what the gradient of each sequence is multiplied."""
    weights = 1.0 if request.weights is None else request.weights
    return np.ascontiguousarray(np.broadcast_to(weights, batch).reshape(-1) * request.scale, np.float64)


def result(values: Any, batch: tuple[int, ...], dtype: Any, request: Request, derivatives: tuple[Any, ...]) -> Result:
    """Return the result of a request, of the values of all sequences and the derivatives.

    A sequence whose factor is 0 was skipped, and its value is 0 already. What is certain costs 0, and not -0.
    """
    values = values.reshape(batch) + 0.0
    if request.weights is not None:
        values = values * request.weights
    value = values.astype(dtype) if request.value == "each" else values.sum() if request.value == "sum" else None
    return Result(value, (derivatives,) if request.orders else ())
