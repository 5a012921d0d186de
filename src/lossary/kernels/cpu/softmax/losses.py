"""The losses of the softmax family: each a function that writes a call in the terms of the softmax kernel.

Rows that the kernel has no terms for, and short ones, go to the loops generated from the definition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary import numerics
from lossary.kernels.cpu import generated_rows
from lossary.kernels.cpu.softmax import host
from lossary.kernels.cpu.softmax.spec import FOCAL, POLY, POWER, SoftmaxSpec
from lossary.kernels.table import HALVES, Outcome, Wanted, least
from lossary.kernels.thresholds import SIDE_BY_SIDE_CLASSES, SOFTMAX_ELEMENTS


def _evaluate(make: Callable[[Any], SoftmaxSpec | None], call: Any, wanted: Wanted) -> Outcome | None:
    dtype = np.dtype(call.dtype)
    if wanted.order > 1 or dtype.name not in ("float32", "float64"):
        return None
    logits, target = call.arrays[0], call.arrays[1]
    if call.given[0].ndim != len(call.batch) + 1:  # one row repeated over the batch: its gradients add up
        return None
    narrow = any(x.dtype in HALVES for x in (logits, target))  # widened in registers
    if not narrow and logits.shape[-1] <= SIDE_BY_SIDE_CLASSES:
        short = generated_rows.evaluate(call, wanted, SOFTMAX_ELEMENTS)
        if short is not None:
            return short
    plan = make(call) if logits.size >= least(SOFTMAX_ELEMENTS) else None
    if plan is None:  # a kernel made of the definition may do for what those written by hand do not know
        long = not narrow and logits.shape[-1] > SIDE_BY_SIDE_CLASSES
        return generated_rows.evaluate(call, wanted, SOFTMAX_ELEMENTS) if long else None
    known = all(allowed.kind == "index" or not allowed.bounded for allowed in call.domains)
    if not known:
        call.check_values()
    indexed = call.domains[1].kind == "index"
    target = np.broadcast_to(target[..., 0], call.batch) if indexed else np.broadcast_to(target, logits.shape)
    done = host.softmax_rows(
        logits,
        target,
        plan,
        dtype=dtype,
        weights=wanted.weights,
        scale=wanted.scale,
        gradient=wanted.order == 1,
        count=wanted.threads,
        out=call.out[0] if call.out else None,
    )
    if done.suspect and known:
        call.check_values()
    values = done.values
    if wanted.weights is not None and wanted.value is not None:
        values = values * wanted.weights
    value = values if wanted.value == "each" else values.sum(dtype=np.float64) if wanted.value == "sum" else None
    return Outcome(value, (done.grad,) if wanted.order else ())


@dataclass(frozen=True)
class SoftmaxKernel:
    """The kernel of a loss of the family. `plan` writes a call in its terms; None where it cannot."""

    plan: Callable[[Any], SoftmaxSpec | None]

    def __call__(self, call: Any, wanted: Wanted) -> Outcome | None:
        """Compute a call on NumPy arrays, or return None if it is not for this kernel."""
        return _evaluate(self.plan, call, wanted)


def _numbers(call: Any, *names: str) -> list[float] | None:
    """Return parameters as numbers, or None if one of them is not."""
    found = [call.params[name] for name in names]
    return [float(v) for v in found] if all(isinstance(v, (int, float)) for v in found) else None


def _indexed(call: Any) -> bool:
    """Whether targets are class indices: a cost that is not linear in log-probabilities is taken at one class."""
    return bool(call.domains[1].kind == "index")


def _of_counts(call: Any, formula: Callable[..., Any], number: float) -> Any:
    """Return numbers per class made of class counts; a call on tensors may hold their memory as NumPy sees it."""
    counts = call.arrays[2]
    if isinstance(counts, np.ndarray):
        with np.errstate(divide="ignore", invalid="ignore"):
            return formula(np, counts, number)
    return formula(call.xp, counts, number)


def _shift(xp: Any, counts: Any, tau: float) -> Any:
    return numerics.times(xp, tau * xp.ones_like(counts), xp.log(counts))


@SoftmaxKernel
def cross_entropy(call: Any) -> SoftmaxSpec | None:
    """Minus the log-likelihood of a label or a distribution, with every option."""
    numbers = _numbers(call, "label_smoothing", "temperature", "z_loss")
    cap, weight = call.params["soft_cap"], call.params["class_weight"]
    if numbers is None or not isinstance(cap, (int, float, type(None))) or getattr(weight, "ndim", 0) > 1:
        return None
    smoothing, temperature, z_loss = numbers
    return SoftmaxSpec(
        class_weight=weight, smoothing=smoothing, scale=1 / temperature, z_loss=z_loss, soft_cap=cap or 0.0
    )


@SoftmaxKernel
def focal(call: Any) -> SoftmaxSpec | None:
    """Right examples turned down."""
    numbers, weight = _numbers(call, "gamma", "label_smoothing"), call.params["class_weight"]
    if numbers is None or numbers[1] or getattr(weight, "ndim", 0) > 1 or not _indexed(call):
        return None
    return SoftmaxSpec(FOCAL, numbers[0], weight)


@SoftmaxKernel
def poly(call: Any) -> SoftmaxSpec | None:
    """The first term of the expansion reweighted."""
    numbers = _numbers(call, "epsilon")
    return None if numbers is None or not _indexed(call) else SoftmaxSpec(POLY, numbers[0])


@SoftmaxKernel
def power(call: Any) -> SoftmaxSpec | None:
    """A power of the probability in place of its logarithm."""
    numbers = _numbers(call, "q")
    return None if numbers is None or not _indexed(call) else SoftmaxSpec(POWER, numbers[0])


@SoftmaxKernel
def adjusted(call: Any) -> SoftmaxSpec | None:
    """Logits shifted by the log of the class counts."""
    numbers = _numbers(call, "tau")
    if numbers is None or call.arrays[2].ndim != 1:
        return None
    return SoftmaxSpec(shift=_of_counts(call, _shift, numbers[0]))


@SoftmaxKernel
def balanced(call: Any) -> SoftmaxSpec | None:
    """Classes weighted by their effective number."""
    numbers = _numbers(call, "beta")
    if numbers is None or call.arrays[2].ndim != 1:
        return None
    return SoftmaxSpec(class_weight=_of_counts(call, numerics.effective_number_weights, numbers[0]))


@SoftmaxKernel
def angular(call: Any) -> SoftmaxSpec | None:
    """The label's angle enlarged."""
    numbers, easy = _numbers(call, "margin", "scale"), call.params["easy_margin"]
    if numbers is None:
        return None
    margin, scale = numbers
    cos, sin = math.cos(margin), math.sin(margin)
    bounds = (0.0, 0.0) if easy else (-cos, margin * sin)
    return SoftmaxSpec(scale=scale, margin=(cos, sin, *bounds))


@SoftmaxKernel
def cosine(call: Any) -> SoftmaxSpec | None:
    """The label's cosine made smaller."""
    numbers = _numbers(call, "margin", "scale")
    if numbers is None:
        return None
    margin, scale = numbers
    return SoftmaxSpec(scale=scale, margin=(1.0, 0.0, math.inf, margin))
