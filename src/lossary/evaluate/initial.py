"""Initial scores: the constant prediction that minimises the mean of a loss over given targets.

A loss that elicits a statistic has a closed form: the link of the mean, the median or the quantile of the targets
(`fit_intercept_only` in scikit-learn). Every other loss is searched: one number where the derivative changes its sign,
between the neighbours of the best of many candidates; a row of classes by L-BFGS (Nocedal and Wright 2006,
Numerical Optimization, algorithm 7.4). All of it is computed in double precision.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.backends import registry
from lossary.catalogue import Loss, get
from lossary.errors import ArgumentError
from lossary.evaluate.call import Call, prepare

Array = Any

# Probabilities and rates are kept this far from where their link is infinite.
EPSILON = float(np.finfo(np.float64).eps)
REPRESENTATIVES = 2048  # targets at most on which candidates are compared
ENTRIES = 1 << 22  # entries of rows that are evaluated at once


def initial_score(
    loss: Loss | str, target: Any, weight: Any = None, mask: Any = None, classes: int | None = None, **params: Any
) -> Any:
    """Return the constant prediction that minimises the mean of a loss over some targets; see `Loss.initial_score`."""
    loss = get(loss)
    _need_initial_score(loss)
    target = np.asarray(registry.to_numpy(target))
    if not loss.signatures[0].rank and target.dtype.kind in "iub":
        target = target.astype(np.float64)
    predictor = np.zeros(_shape(loss, target, classes, params))
    pred = loss.activation.inverse(registry.namespace(predictor), predictor)
    weight, mask = (None if x is None else np.asarray(registry.to_numpy(x)) for x in (weight, mask))
    call = prepare(loss, (pred, target), params, weight, mask)
    mean = Mean.of(call)
    with np.errstate(all="ignore"):
        found = _closed_form(call, mean)
        if found is None:
            found = _descended(mean) if call.signature.rank else _searched(mean)
    return np.asarray(found, np.float64) if call.signature.rank else float(found)


def _need_initial_score(loss: Loss) -> None:
    """Raise `ArgumentError` for a loss that no constant prediction minimises."""
    alone = len(loss.arguments) == 2 and loss.target is not None and loss.coupling is None
    if alone and loss.wrt == loss.arguments[:1] and "evaluation" not in loss.properties:
        of_classes = all(signature.inputs[0] == ("c",) for signature in loss.signatures)
        well_behaved = loss.elicits or (loss.input in ("logit", "affinity") and {"convex", "smooth"} <= loss.properties)
        if loss.signature == "(),()->()" or (of_classes and well_behaved):
            return
    raise ArgumentError(
        f"{loss.name}: has no initial score; it is for losses of one prediction and one target, and on rows of classes "
        "for those that elicit the mean, or are convex and smooth in the logits"
    )


def _shape(loss: Loss, target: Array, classes: int | None, params: Any) -> tuple[int, ...]:
    """Return the shape of predictions for some targets."""
    if not loss.signatures[0].rank:
        return tuple(target.shape)
    labels = all(signature.inputs[1] == () for signature in loss.signatures)
    if not labels and (target.dtype.kind == "f" or loss.signatures[0].inputs[1] or _one_hot(target, classes)):
        return tuple(target.shape)
    ignored = params.get("ignore_index", loss.bound.get("ignore_index"))
    kept = target if ignored is None else target[target != ignored]
    return (*target.shape, classes or int(kept.max(initial=1)) + 1)


def _one_hot(target: Array, classes: int | None) -> bool:
    """Whether whole numbers are rows of 0 and 1 that name one class each."""
    wide = target.ndim > 1 and target.shape[-1] > 1 and classes in (None, target.shape[-1])
    return bool(wide and np.isin(target, (0, 1)).all() and (target.sum(-1) == 1).all())


# --- the mean of a loss ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mean:
    """The mean of a loss as a function of one prediction for all targets.

    Equal targets are merged into one with their total weight. `shape` is that of the prediction, `weights` sum to 1.
    """

    loss: Loss
    targets: Array
    weights: Array
    shape: tuple[int, ...]
    params: dict[str, Any]

    @classmethod
    def of(cls, call: Call) -> Mean:
        """Return the mean over the targets of a call that are kept."""
        pred, target = call.given
        rank = call.signature.rank
        target = np.asarray(target).reshape(-1, *target.shape[len(call.batch) :])
        weights: Array = (
            np.ones(len(target)) if call.weights is None else np.asarray(call.weights, np.float64).reshape(-1)
        )
        target, weights = target[weights > 0], weights[weights > 0]
        if not len(target):
            raise ArgumentError(f"{call.loss.name}: initial_score: got no target that is kept, expected at least one")
        if target.ndim == 1:
            target, where = np.unique(target, return_inverse=True)
            weights = np.bincount(where.reshape(-1), weights=weights)
        return cls(call.loss, target, weights / weights.sum(), pred.shape[-1:] if rank else (), dict(call.params))

    def __call__(self, pred: Array) -> tuple[float, Array]:
        """Return the mean and its gradient; a mean that is not a number is infinite."""
        height = max(ENTRIES // max(math.prod(self.shape), 1), 1)
        value, grad = 0.0, np.zeros(self.shape)
        for start in range(0, len(self.targets), height):
            some = slice(start, start + height)
            values, terms = self._terms(pred, self.targets[some], self.weights[some])
            value += float(values.sum())
            grad = grad + terms.sum(0)
        return (math.inf if math.isnan(value) else value), grad

    def _terms(self, pred: Array, targets: Array, weights: Array) -> tuple[Array, Array]:
        """Return what each target contributes to the mean and to its gradient."""
        repeated = np.broadcast_to(pred, (len(targets), *self.shape))
        call = prepare(self.loss, (repeated, targets), self.params, check=False)
        values, derivatives, _ = call.pull(1)
        return weights * call.values(values), call.restore(derivatives[0], weights)[0]

    def derivative(self, pred: float) -> float:
        """Return the derivative of the mean of a pointwise loss, 0 where it is no more than rounding."""
        _, terms = self._terms(np.float64(pred), self.targets, self.weights)
        total = float(terms.sum())
        return total if abs(total) > 8 * EPSILON * float(np.abs(terms).sum()) else 0.0

    def representative(self) -> Mean:
        """Return the mean over fewer targets, each with the weight of those around it."""
        if len(self.targets) <= REPRESENTATIVES:
            return self
        starts = np.unique(np.searchsorted(np.cumsum(self.weights), np.linspace(0, 1, REPRESENTATIVES, endpoint=False)))
        weights = np.add.reduceat(self.weights, starts)
        targets = np.add.reduceat(self.weights * self.targets, starts) / weights
        return Mean(self.loss, targets, weights, self.shape, self.params)


# --- closed forms ---------------------------------------------------------------------------------------------------


def _closed_form(call: Call, mean: Mean) -> Any:
    """Return the link of the statistic that the loss elicits; None where there is none, or a parameter moves it."""
    loss = call.loss
    given = {name: value for name, value in mean.params.items() if value is not loss.defaults[name]}
    moved = {name for name, value in given.items() if np.ndim(value) or value != loss.defaults[name]}
    if loss.link is None or moved - {loss.elicits}:
        return None
    if not loss.elicits:
        return None
    if loss.elicits != "mean":
        level = float(mean.params.get(loss.elicits, 0.5))
        return loss.link.link(registry.namespace(mean.targets), _quantile(mean.targets, mean.weights, level))
    target = call.domains[1]
    if target.kind == "index":
        average = np.zeros(mean.shape)
        average[mean.targets.astype(np.intp)] = mean.weights
    else:
        average = mean.weights @ mean.targets
    if target.values == (-1.0, 1.0):
        average = 0.5 * (average + 1)  # the probability of the label 1
    return loss.link.link(registry.namespace(mean.targets), _inside(average, loss))


def _inside(average: Array, loss: Loss) -> Array:
    """Return means clipped away from the ends at which the link is infinite."""
    link = loss.link
    if link is None or link.name == "identity":
        return average
    return np.clip(average, EPSILON, 1 - EPSILON if link.name == "logit" else None)


def _quantile(x: Array, weights: Array, level: float) -> Any:
    """Return the weighted quantile of sorted numbers, halfway between two where all between them are as good."""
    reached = np.cumsum(weights)
    slack = 4 * EPSILON * len(x)
    low = x[min(int(np.searchsorted(reached, level - slack)), len(x) - 1)]
    high = x[min(int(np.searchsorted(reached, level + slack, side="right")), len(x) - 1)]
    return low + 0.5 * (high - low)


# --- one number -----------------------------------------------------------------------------------------------------


def _searched(mean: Mean) -> float:
    """Return the minimiser of the mean: the best candidate, refined between its neighbours."""
    sketch = mean.representative()
    points: list[float] = _candidates(mean).tolist()
    values = [sketch(np.float64(x))[0] for x in points]
    _extended(mean.loss, lambda x: sketch(np.float64(x))[0], points, values)
    least = min(values)
    best = [i for i, value in enumerate(values) if value <= least + 16 * EPSILON * abs(least)]
    low, high = points[max(best[0] - 1, 0)], points[min(best[-1] + 1, len(points) - 1)]
    below, above = _sign_change(mean.derivative, low, high)
    left, right = (_flat_end(mean.derivative, below, low), _flat_end(mean.derivative, above, high))
    found = [left + 0.5 * (right - left), left, right, points[values.index(least)]]
    exact = [mean(np.float64(x))[0] for x in found]
    enough = min(exact) + 16 * EPSILON * abs(min(exact))
    return next(x for x, value in zip(found, exact, strict=True) if value <= enough)


def _extended(loss: Loss, value: Callable[[float], float], points: list[float], values: list[float]) -> None:
    """Add candidates beyond the outermost while the mean falls there, if no domain or link sets that end."""
    if loss.domain(loss.arguments[0]).bounded or (loss.link is not None and loss.link.name != "identity"):
        return  # beyond these ends are probabilities that no target calls for
    for sign, at in ((-1, 0), (1, -1)):
        while sign * points[at] > 0 and values[at] == min(values):
            further = 2 * points[at]
            reached = value(further)
            if not reached < values[at] - 1e-12 * abs(values[len(values) // 2]):
                break
            where = 0 if at == 0 else len(points)
            points.insert(where, further)
            values.insert(where, reached)


def _candidates(mean: Mean) -> Array:
    """Return numbers of the loss's domain, sorted: ends, all orders of magnitude, and where the targets are."""
    loss = mean.loss
    xp = registry.namespace(mean.targets)
    allowed = loss.domain(loss.arguments[0])
    reach = -math.log(EPSILON)
    spread = reach * np.sinh(np.linspace(-6, 6, 121)) / math.sinh(6)
    found = [loss.activation.inverse(xp, spread)]
    found.append(
        np.array([end for end, closed in zip((allowed.low, allowed.high), allowed.closed, strict=True) if closed])
    )
    if loss.link is not None:
        quantiles = np.interp(np.linspace(0, 1, 121), np.cumsum(mean.weights), mean.targets)
        found.append(loss.link.link(xp, _inside(quantiles, loss)))
    points = np.unique(np.concatenate(found))
    return points[[allowed.contains(float(x)) for x in points]]


def _sign_change(derivative: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Return the two numbers between which a derivative turns positive, or twice the one where it is 0.

    Every two secant steps are followed by a bisection, so that a kink converges, too.
    """
    at_low, at_high = derivative(low), derivative(high)
    if at_low >= 0 or at_high <= 0:  # the least value is at an end of the domain
        return (low, low) if at_low >= 0 else (high, high)
    for number in range(200):
        middle = low + 0.5 * (high - low)
        if not low < middle < high:
            break
        secant = high - at_high * ((high - low) / (at_high - at_low))
        x = secant if number % 3 and low < secant < high else middle
        at = derivative(x)
        if at == 0:
            return x, x
        if at < 0:
            low, at_low = x, at
        else:
            high, at_high = x, at
    return low, high


def _flat_end(derivative: Callable[[float], float], inside: float, outside: float) -> float:
    """Return how far from one number towards another a derivative remains 0."""
    flat, share = inside, 1e-12
    while share < 1 and derivative(inside + share * (outside - inside)) == 0:
        flat, share = inside + share * (outside - inside), 8 * share
    steep = inside + min(share, 1.0) * (outside - inside)
    if flat == inside:
        return inside
    for _ in range(60):
        middle = flat + 0.5 * (steep - flat)
        if middle in (flat, steep):
            break
        flat, steep = (middle, steep) if derivative(middle) == 0 else (flat, middle)
    return flat


# --- a row of classes -----------------------------------------------------------------------------------------------


def _descended(mean: Mean, memory: int = 10, steps: int = 500) -> Array:
    """Return the row of the least mean, found by L-BFGS in the space of unbounded outputs."""
    activation = mean.loss.activation
    x = np.zeros(mean.shape)
    xp = registry.namespace(x)

    def at(x: Array) -> tuple[float, Array]:
        value, grad = mean(activation.inverse(xp, x))
        return value, activation.pullback(xp, x, grad)

    value, grad = at(x)
    pairs: deque[tuple[Array, Array]] = deque(maxlen=memory)
    for _ in range(steps):
        if np.abs(grad).max() <= 1e-11 * max(1.0, abs(value)):
            break
        direction = -_inverse_hessian_times(grad, pairs)
        if not direction @ grad < 0:
            direction = -grad
        step = 1.0
        while step > EPSILON:  # until the mean falls enough (Armijo)
            ahead, slopes = at(x + step * direction)
            if ahead <= value + 1e-4 * step * (direction @ grad):
                break
            step *= 0.5
        else:
            break
        moved, bent = step * direction, slopes - grad
        if moved @ bent > 0:
            pairs.append((moved, bent))
        x, value, grad = x + moved, ahead, slopes
    return activation.inverse(xp, x)


def _inverse_hessian_times(grad: Array, pairs: deque[tuple[Array, Array]]) -> Array:
    """Return the inverse Hessian, estimated from recent steps and changes of the gradient, times a gradient."""
    result = grad.copy()
    shares = []
    for step, change in reversed(pairs):
        share = (step @ result) / (step @ change)
        shares.append(share)
        result -= share * change
    if pairs:
        step, change = pairs[-1]
        result *= (step @ change) / (change @ change)
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        result += step * (share - (change @ result) / (step @ change))
    return result
