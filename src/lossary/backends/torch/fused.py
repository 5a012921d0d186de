"""Definitions of losses in fused torch operators, for blocks of a call on the CPU that no kernel computes.

Each is a definition like those in `lossary.losses` and gives the same numbers; it is written for fewer passes over
memory: torch selects by a condition at a sixth of the speed of its arithmetic, so bounds take the place of conditions.
An input of which the shorter formula would make another number (an infinity times 0) is left to the loss's own
definition, and so are options that a fused operator lacks. Nothing here is differentiated: gradients are written out,
and the Hessian is that of the loss's own definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from itertools import islice
from typing import Any

import torch
from torch.nn import functional

from lossary.catalogue import Loss
from lossary.numerics import absent

Tensor = torch.Tensor
Definition = Callable[..., Iterator[Any]]

# Fused definitions by the name of the loss. They yield None to leave a block to the loss's own definition.
_FUSED: dict[str, Definition] = {}


def definition(loss: Loss) -> Definition:
    """Return the fused definition of a loss, or its own if there is none."""
    own = loss.define
    # A loss of somebody else may have the name of one of these.
    fused = _FUSED.get(loss.name) if own.__module__.startswith("lossary.") else None
    if fused is None:
        return own

    @wraps(own)
    def define(xp: Any, *arrays: Tensor, **params: Any) -> Iterator[Any]:
        found = 0
        if not any(isinstance(held, Tensor) and name not in _MAY_BE_TENSORS for name, held in params.items()):
            for quantity in fused(*arrays, **params):
                if quantity is None:
                    break
                found += 1
                yield quantity
        yield from islice(own(xp, *arrays, **params), found, None)

    define.in_place = fused in _IN_PLACE  # type: ignore[attr-defined]
    return define


_MAY_BE_TENSORS = ("class_weight", "pos_weight")  # other parameters are numbers in torch's operators
# Fused definitions without temporaries as large as their arrays: they write their gradient where it belongs.
_IN_PLACE: set[Any] = set()


def _fused(*names: str) -> Callable[[Any], Any]:
    def register(define: Any) -> Any:
        _FUSED.update(dict.fromkeys(names, define))
        return define

    return register


def _finite(x: Tensor) -> bool:
    """Whether all of a block is finite, seen from its sum: a sum that overflows says no, which is never wrong."""
    return bool(torch.isfinite(x.sum()))


# --- regression -------------------------------------------------------------------------------------------------------


@_fused("squared_error")
def _squared_error(pred: Tensor, target: Tensor) -> Iterator[Any]:
    residual = pred - target
    yield residual * residual
    yield residual.mul_(2)


@_fused("absolute_error")
def _absolute_error(pred: Tensor, target: Tensor) -> Iterator[Any]:
    residual = pred - target
    value = residual.abs()
    if not _finite(value):
        yield None
    yield value
    yield residual.sign_()


@_fused("huber")
def _huber(pred: Tensor, target: Tensor, *, delta: float = 1.0) -> Iterator[Any]:
    if not delta > 0:
        yield None
    pred, target = torch.broadcast_tensors(pred, target)
    yield functional.huber_loss(pred, target, reduction="none", delta=delta)
    yield (pred - target).clamp_(-delta, delta)


@_fused("smooth_l1")
def _smooth_l1(pred: Tensor, target: Tensor, *, beta: float = 1.0) -> Iterator[Any]:
    if not beta > 0:
        yield None
    pred, target = torch.broadcast_tensors(pred, target)
    yield functional.smooth_l1_loss(pred, target, reduction="none", beta=beta)
    yield (pred - target).div_(beta).clamp_(-1, 1)


# --- two classes, counts, distributions -------------------------------------------------------------------------------


def _softplus(x: Tensor) -> Tensor:
    return functional.softplus(x, threshold=40)  # beyond, log(1 + exp(x)) is x in every float type


@_fused("binary_cross_entropy_with_logits")
def _binary_logits(
    logits: Tensor, target: Tensor, *, pos_weight: Any = 1.0, label_smoothing: float = 0.0
) -> Iterator[Any]:
    wanted = target if absent(label_smoothing) else target * (1 - label_smoothing) + 0.5 * label_smoothing
    positive = wanted if absent(pos_weight, 1) else wanted * pos_weight
    negative = 1 - wanted
    common = logits.abs().neg_().exp_().log1p_()
    value = positive * (common + (-logits).clamp_min_(0)) + negative * (common + logits.clamp_min(0))
    if not _finite(value):
        yield None
    yield value
    yield negative * logits.sigmoid() - positive * (-logits).sigmoid_()


@_fused("logistic_margin")
def _logistic_margin(pred: Tensor, target: Tensor) -> Iterator[Any]:
    against = -(target * pred)
    yield _softplus(against)
    yield against.sigmoid_() * -target


@_fused("torch_binary")
def _binary(probs: Tensor, target: Tensor) -> Iterator[Any]:
    if not (probs.amin() >= 0 and probs.amax() <= 1):
        yield None
    probs, target = torch.broadcast_tensors(probs, target)
    yield functional.binary_cross_entropy(probs, target, reduction="none")
    yield torch.ops.aten.binary_cross_entropy_backward(torch.ones_like(probs), probs, target, None, 0)


@_fused("torch_divergence")
def _divergence(log_probs: Tensor, target: Tensor) -> Iterator[Any]:
    value = target.log().clamp_min_(torch.finfo(target.dtype).min).sub_(log_probs).mul_(target)  # 0 log 0 = 0
    if not _finite(value):
        yield None
    yield value
    yield -target


@_fused("poisson_nll", "torch_poisson")
def _poisson(log_rate: Tensor, target: Tensor, *, full: bool = False) -> Iterator[Any]:
    rate = log_rate.exp()
    value = rate - target * log_rate
    yield value if not full and _finite(value) else None
    yield rate.sub_(target)


@_fused("torch_gaussian")
def _gaussian(pred: Tensor, target: Tensor, var: Tensor, *, full: bool = False, eps: float = 1e-6) -> Iterator[Any]:
    residual, raised = pred - target, var.clamp_min(eps)
    standardised = residual.abs().div_(raised.sqrt())
    value = (standardised * standardised).add_(raised.log()).mul_(0.5)
    yield value.add_(0.9189385332046727) if full else value
    by_var = (1 + standardised).div_(raised).mul_(1 - standardised).mul_(0.5)
    yield residual.div_(raised), by_var


# --- margins ----------------------------------------------------------------------------------------------------------


def _reached(violation: Tensor) -> Tensor:
    """Return 1 from a violation of 0 on, and 0 below."""
    return violation.sign().add_(1).clamp_max_(1)


@_fused("torch_ranking")
def _ranking(first: Tensor, second: Tensor, target: Tensor, *, margin: float = 0.0) -> Iterator[Any]:
    violation = margin - target * (first - second)
    if not _finite(violation):
        yield None
    yield violation.clamp_min(0)
    push = _reached(violation).mul_(target)
    yield -push, push


@_fused("torch_hinge_embedding")
def _hinge_embedding(pred: Tensor, target: Tensor, *, margin: float = 1.0) -> Iterator[Any]:
    alike = (1 + target).mul_(0.5)
    violation = margin - pred
    value = alike * pred + (1 - alike) * violation.clamp_min(0)
    if not _finite(value) or bool((target.abs() - 1).abs_().amax() != 0):  # a target of neither is charged for both
        yield None
    yield value
    yield alike - (1 - alike) * _reached(violation)


@_fused("multi_margin")
def _multi_margin(
    pred: Tensor, target: Tensor, *, p: int = 1, margin: float = 1.0, class_weight: Tensor | None = None
) -> Iterator[Any]:
    at, kept = _label(target, pred)
    violation = pred + (margin - pred.gather(-1, at))
    violation.scatter_(-1, at, 0.0)
    if not _finite(violation) or not bool(kept.all()):
        yield None
    share = 1 / pred.shape[-1] if class_weight is None else class_weight[at] / pred.shape[-1]
    shortfall = violation.clamp_min(0)
    cost = (shortfall if p == 1 else shortfall * shortfall).sum(-1, keepdim=True)
    yield cost * share
    slope = violation.sign_().clamp_min_(0) if p == 1 else shortfall.mul_(2)
    slope.scatter_(-1, at, -slope.sum(-1, keepdim=True))
    yield slope * share


@_fused("multilabel_margin")
def _multilabel_margin(pred: Tensor, target: Tensor) -> Iterator[Any]:
    """One pass for each label that a row has, in place of a table of all pairs of classes."""
    most = int((target != 0).sum(-1).amax())
    times, listed = target.topk(most, -1)
    absent_classes = target == 0
    value, gradient = torch.zeros_like(pred[..., :1]), torch.zeros_like(pred)
    if not _finite(pred) or bool((target < 0).any()):
        yield None
    for number in range(most):
        at, count = listed[..., number, None], times[..., number, None]
        violation = (1 - (pred.gather(-1, at) - pred)).mul_(absent_classes)
        value += count * violation.clamp_min(0).sum(-1, keepdim=True)
        reached = violation.sign_().clamp_min_(0).mul_(count)
        gradient += reached
        gradient.scatter_add_(-1, at, -reached.sum(-1, keepdim=True))
    yield value / pred.shape[-1]
    yield gradient.div_(pred.shape[-1])


# --- rows of classes --------------------------------------------------------------------------------------------------


def _label(target: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Return class indices of which each is inside the row, and which of them were."""
    kept = (target >= 0) & (target < row.shape[-1])
    return torch.where(kept, target, 0), kept


@_fused("nll")
def _nll(log_probs: Tensor, target: Tensor, *, class_weight: Tensor | None = None) -> Iterator[Any]:
    if class_weight is not None and class_weight.ndim > 1:
        yield None
    at, kept = _label(target, log_probs)
    cost = kept.to(log_probs.dtype) if class_weight is None else kept * class_weight[at]
    yield torch.where(cost == 0, 0, -log_probs.gather(-1, at) * cost)

    def write(factor: Any, out: Tensor) -> None:
        out.zero_().scatter_(-1, at, (-cost * factor).to(out.dtype))

    yield write


_IN_PLACE.add(_nll)


@_fused("softmax_cross_entropy")
def _cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    class_weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    temperature: float = 1.0,
    z_loss: float = 0.0,
    soft_cap: float | None = None,
) -> Iterator[Any]:
    options = not absent(temperature, 1) or not absent(z_loss) or soft_cap is not None
    soft = target.is_floating_point()
    if options or (soft and label_smoothing) or (class_weight is not None and class_weight.ndim > 1):
        yield None
    if soft:
        yield from _of_distributions(logits, target, class_weight)
    else:
        yield from _of_labels(logits, target, class_weight, label_smoothing)


def _softmax(logits: Tensor) -> Tensor:
    """Return probabilities in the layout of the logits, whose classes may be any dimension in memory."""
    if logits.ndim > 2 and logits.stride(-1) != 1:
        return torch.softmax(logits.movedim(-1, 1), 1).movedim(1, -1)
    return torch.softmax(logits, -1)


def _of_labels(logits: Tensor, target: Tensor, class_weight: Tensor | None, smoothing: float) -> Iterator[Any]:
    """Return value and gradient of cross-entropy on class indices.

    The probability that the label lacks is summed without the label's own, so that it keeps its digits near 0.
    """
    at, kept = _label(target, logits)
    top, of_label = logits.amax(-1, keepdim=True), logits.gather(-1, at)
    probabilities = _softmax(logits)
    largest = probabilities.amax(-1, keepdim=True)
    probabilities.scatter_(-1, at, 0.0)
    lacking = probabilities.sum(-1, keepdim=True)
    beside = (top - of_label) - largest.log()
    value = torch.where(lacking < 0.5, -(-lacking).log1p_(), beside)
    cost = kept.to(logits.dtype) if class_weight is None else kept * class_weight[at]
    if not bool(torch.isfinite(top.sum())):  # a row of masked classes alone, or an infinite logit
        yield None
    if not smoothing:
        yield torch.where(cost == 0, 0, value * cost)
        probabilities.scatter_(-1, at, -lacking)
        yield probabilities if class_weight is None and bool(kept.all()) else probabilities.mul_(cost)
        return
    if not _finite(logits):
        yield None
    weights = torch.ones_like(logits[..., :1, :]) if class_weight is None else class_weight
    spread = weights * (smoothing / logits.shape[-1])
    everywhere = spread.sum(-1, keepdim=True)
    cost = cost * (1 - smoothing)
    total = cost + everywhere
    yield value * cost - everywhere * largest.log() - (logits - top).mul_(spread).sum(-1, keepdim=True)
    probabilities.mul_(total).sub_(spread)
    of_class = spread.expand_as(logits).gather(-1, at)
    yield probabilities.scatter_(-1, at, everywhere - of_class - total * lacking)


def _of_distributions(logits: Tensor, target: Tensor, class_weight: Tensor | None) -> Iterator[Any]:
    """Return value and gradient of cross-entropy on distributions; what the likeliest class lacks keeps its digits."""
    cost = target if class_weight is None else class_weight * target
    total = cost.sum(-1, keepdim=True)
    top = logits.amax(-1, keepdim=True)
    probabilities = _softmax(logits)
    largest, at = probabilities.max(-1, keepdim=True)
    complement = 1 - probabilities
    lacking = probabilities.scatter_(-1, at, 0.0).sum(-1, keepdim=True)
    probabilities.scatter_(-1, at, largest)
    complement.scatter_(-1, at, lacking)
    above = torch.where(lacking < 0.5, -(-lacking).log1p_(), -largest.log())  # the log-normaliser less the top
    value = total * above - (logits - top).mul_(cost).sum(-1, keepdim=True)
    if not _finite(value):
        yield None
    yield value
    yield (total - cost).mul_(probabilities).sub_(complement.mul_(cost))
