"""Losses of the softmax family: each translates a call to the terms of the softmax kernel.

Rows that the kernel has no terms for, and short ones, go to the loops generated from the definition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lossary import numerics
from lossary.kernels.cpu.generated import KERNEL
from lossary.kernels.cpu.softmax import host
from lossary.kernels.cpu.softmax.bound import BoundCrossEntropy, takes_dense
from lossary.kernels.cpu.softmax.spec import FOCAL, POLY, POWER, SoftmaxSpec
from lossary.kernels.registry import least
from lossary.kernels.request import HALVES, BoundKernel, DenseCalls, Request, Result
from lossary.kernels.thresholds import SHARED_ELEMENTS, SIDE_BY_SIDE_CLASSES, SOFTMAX_ELEMENTS


@dataclass(frozen=True)
class SoftmaxKernel:
    """The kernel of a loss of the family. `spec` writes a call in its terms; None where it cannot."""

    spec: Callable[[Any], SoftmaxSpec | None]
    binds: bool = False  # whether it is cross-entropy itself, of which a bound kernel is made

    def bind(self, calls: DenseCalls) -> BoundKernel | None:
        """Return the kernel bound to what some calls share.

        Of long rows only few are bound, with class indices: all others are computed by `run`, so that the bits of a
        result depend neither on the layout of the logits nor on whether a target is an index or its one-hot row.
        """
        if calls.width <= SIDE_BY_SIDE_CLASSES:
            return KERNEL.bind(calls)
        few = math.prod(calls.batch) * calls.width < SHARED_ELEMENTS
        return BoundCrossEntropy(calls) if few and self.binds and takes_dense(calls) else None

    def run(self, call: Any, request: Request) -> Result | None:
        """Compute a call on NumPy arrays, or return None if it is not for this kernel."""
        dtype = np.dtype(call.dtype)
        if request.orders not in ((), (1,)) or dtype.name not in ("float32", "float64"):
            return None
        logits, target = call.arrays[0], call.arrays[1]
        if call.given[0].ndim != len(call.batch) + 1:  # one row repeated over the batch: its gradients add up
            return None
        narrow = any(x.dtype in HALVES for x in (logits, target))  # widened in registers
        if not narrow and logits.shape[-1] <= SIDE_BY_SIDE_CLASSES:
            short = KERNEL.run(call, request, SOFTMAX_ELEMENTS)
            if short is not None:
                return short
        spec = self.spec(call) if logits.size >= least(SOFTMAX_ELEMENTS) else None
        if spec is None:  # loops generated from the definition may take what those written by hand have no terms for
            long = not narrow and logits.shape[-1] > SIDE_BY_SIDE_CLASSES
            return KERNEL.run(call, request, SOFTMAX_ELEMENTS) if long else None
        return _run(spec, call, request, dtype)


def _run(spec: SoftmaxSpec, call: Any, request: Request, dtype: Any) -> Result:
    logits, target = call.arrays[0], call.arrays[1]
    checks_labels = all(allowed.kind == "index" or not allowed.bounded for allowed in call.domains)
    if not checks_labels:
        call.check_values()
    indexed = call.domains[1].kind == "index"
    target = np.broadcast_to(target[..., 0], call.batch) if indexed else np.broadcast_to(target, logits.shape)
    done = host.softmax_rows(
        logits,
        target,
        spec,
        dtype=dtype,
        weights=request.weights,
        scale=request.scale,
        gradient=bool(request.orders),
        count=request.threads,
        out=call.out[0] if call.out else None,
    )
    if done.suspect and checks_labels:
        call.check_values()
    values = done.values
    if request.weights is not None and request.value is not None:
        values = values * request.weights
    value = values if request.value == "each" else values.sum(dtype=np.float64) if request.value == "sum" else None
    return Result(value, ((done.grad,),) if request.orders else ())


def _numbers(call: Any, *names: str) -> list[float] | None:
    """Return parameters as numbers, or None if one of them is not."""
    found = [call.params[name] for name in names]
    return [float(v) for v in found] if all(isinstance(v, (int, float)) for v in found) else None


def _indexed(call: Any) -> bool:
    """Whether targets are class indices: a cost that is not linear in log-probabilities is taken at one class."""
    return bool(call.domains[1].kind == "index")


class _ArraysOnly:
    """NumPy as the namespace of formulas on class counts: a call on tensors holds their memory as NumPy arrays."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def row_length(self, x: Any) -> int:
        """How many classes there are."""
        return int(x.shape[-1])


_NUMPY = _ArraysOnly()


def _of_counts(call: Any, formula: Callable[..., Any], number: float) -> Any:
    """Return numbers per class made of class counts."""
    counts = call.arrays[2]
    if isinstance(counts, np.ndarray):
        with np.errstate(divide="ignore", invalid="ignore"):
            return formula(_NUMPY, counts, number)
    return formula(call.xp, counts, number)


def _shift(xp: Any, counts: Any, tau: float) -> Any:
    return numerics.times(xp, tau * xp.ones_like(counts), xp.log(counts))


@partial(SoftmaxKernel, binds=True)
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
