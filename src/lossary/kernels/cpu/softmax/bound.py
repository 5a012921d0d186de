"""The softmax kernel bound to a few long rows and their labels, for the call cache."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import numpy as np

from lossary.errors import DomainError
from lossary.kernels.cpu import labels
from lossary.kernels.cpu.softmax.host import DenseCrossEntropy
from lossary.kernels.request import DenseCalls


class BoundCrossEntropy:
    """The hand-written kernel for softmax cross-entropy, bound to few long rows and their labels."""

    inputs: tuple[int, ...]
    shared = False

    def __init__(self, calls: DenseCalls) -> None:
        params, self.dtype = calls.params, calls.dtype
        self.length, self.width = math.prod(calls.batch), calls.width
        self.weighted, self.scaled = calls.class_weight, bool(calls.orders)
        smoothing = float(params["label_smoothing"])
        self.kernel = DenseCrossEntropy(self.length, self.width, self.dtype, smoothing, self.weighted, self.scaled)
        self.inputs = (0, 1, 2) if self.weighted else (0, 1)
        self.kept_labels = labels.kept_labels()
        self.divides, self.each_value = calls.reduction == "mean", calls.reduction == "none"
        ignored = params.get("ignore_index")
        self.ignored = labels.NO_LABEL if ignored is None else ignored

    def compute(
        self, addresses: Sequence[int], denominator: float | None = None, spread: int = 1
    ) -> tuple[float, float]:
        """Fill the outputs row by row, once the kept labels are counted."""
        logits, targets, *rest = addresses
        class_weight = rest.pop(0) if self.weighted else 0
        values = rest.pop(0) if self.each_value else 0
        grad = rest.pop(0) if self.scaled else 0
        kept = self.kept_labels(self.length, self.width, self.ignored, targets)
        if kept < 0 or (kept == 0 and self.divides):
            raise DomainError
        factors = None
        if kept < self.length:
            held = np.ctypeslib.as_array(ctypes.cast(targets, ctypes.POINTER(ctypes.c_int64)), (self.length,))
            factors = (held != self.ignored).astype(self.dtype)
        denominator = kept if denominator is None else denominator
        factors_at = 0 if factors is None else factors.ctypes.data
        scale = 1 / denominator if self.divides else 1.0
        total = self.kernel(logits, targets, class_weight, factors_at, scale, values, grad)
        return total, denominator


def takes_dense(calls: DenseCalls) -> bool:
    """Whether the bound kernel takes calls of cross-entropy: class indices, and no option but smoothing and weights."""
    others = calls.loss.defaults.keys() - {"label_smoothing", "class_weight", "ignore_index"}
    usual = all(calls.params[name] == calls.loss.defaults[name] for name in others)
    return usual and calls.denominator is None and calls.loss.domain("target", calls.alternative).kind == "index"
