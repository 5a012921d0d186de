"""Variants of catalogue losses that match torch at kinks, poles and clamps.

Each is a definition that wraps one of the catalogue: it takes the value and the gradient of the original and changes
them where torch differs. So it has everything a definition has: kernels, derivatives of higher order, `torch.func`. It
stops at the gradient, because torch's losses have no Hessian of their own; a variant yields a Hessian only where torch
has a second derivative that does not follow from its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.catalogue import Loss, dress, get

Definition = Callable[..., Iterator[Any]]


def _variant(name: str, **facts: Any) -> Callable[[Definition], Loss]:
    """Make a record of a definition: the record of a loss of the catalogue, with other facts where they differ."""

    def make(define: Definition) -> Loss:
        own_name = f"torch_{define.__name__}"
        return dress(replace(get(name), name=own_name, define=define, aliases=(), **{"derivatives": 1, **facts}))

    return make


# Looked up once, so that a compiler tracing a call finds definitions and not the catalogue.
_BINARY, _KL, _POISSON, _POISSON_RATE, _GAUSSIAN, _RANKING, _HINGE_EMBEDDING = (
    get(name).define
    for name in (
        "binary_cross_entropy",
        "kl_divergence",
        "poisson_nll",
        "poisson_nll_rate",
        "gaussian_nll",
        "margin_ranking",
        "hinge_embedding",
    )
)


class _OneClass:
    """The namespace of rows that hold one class each: a sum over classes is that class's term."""

    def __init__(self, xp: Namespace) -> None:
        self._xp = xp

    def __getattr__(self, name: str) -> Any:
        return getattr(self._xp, name)

    def sum(self, x: Any) -> Any:
        """The only term."""
        return x


# From here on torch's gradient of `binary_cross_entropy` no longer has 1 / (p (1 - p)), but 1e12, and its second
# derivative no longer the square of that, but 1e24.
_STEEPEST = 1e12
_HIGHEST = 100.0


def _binary(xp: Namespace, probs: Any, target: Any) -> Iterator[Any]:
    edge = probs * (1 - probs) < 1 / _STEEPEST
    inside = _BINARY(xp, xp.where(edge, xp.zeros_like(probs) + 0.5, probs), target)
    one, nothing = xp.ones_like(probs), xp.zeros_like(probs)
    never, always = probs == 0, probs == 1
    open_probs = xp.where(never | always, 0.5 * one, probs)  # at 0 and 1 logarithms and gradients are infinite
    of_yes, of_no = (xp.minimum(next(_BINARY(xp, open_probs, label)), _HIGHEST) for label in (one, nothing))
    of_yes = xp.where(never, _HIGHEST * one, xp.where(always, nothing, of_yes))
    of_no = xp.where(always, _HIGHEST * one, xp.where(never, nothing, of_no))
    yield xp.where(edge, target * of_yes + (1 - target) * of_no, next(inside))
    yield xp.where(edge, (probs - target) * _STEEPEST, next(inside)), of_yes - of_no
    curvature = (probs * probs - 2 * probs * target + target) * _STEEPEST * _STEEPEST
    yield xp.where(edge, curvature, next(inside)), nothing


@_variant("binary_cross_entropy", derivatives=2)
def binary(xp: Namespace, probs: Any, target: Any) -> Iterator[Any]:
    """Logarithms that stop at -100, and a gradient that stops at 1e12, where it is not that of the value."""
    for number, quantity in enumerate(_binary(xp, probs, target)):
        yield quantity[0] if number else quantity


@_variant("binary_cross_entropy", wrt=("probs", "target"), derivatives=2)
def binary_in_both(xp: Namespace, probs: Any, target: Any) -> Iterator[Any]:
    """The same, differentiated in the target too."""
    return _binary(xp, probs, target)


@_variant("kl_divergence", signature="(),()->()", input="real", target="real")
def divergence(xp: Namespace, log_probs: Any, target: Any) -> Iterator[Any]:
    """One term for each class."""
    return _KL(_OneClass(xp), log_probs, target)


@_variant("kl_divergence", signature="(),()->()", input="real", target="real")
def divergence_of_logs(xp: Namespace, log_probs: Any, target: Any) -> Iterator[Any]:
    """One term for each class, the target's probability given as a logarithm."""
    probability = xp.exp(target)
    ratio = _KL(_OneClass(xp), log_probs - target, xp.ones_like(target))
    for quantity in ratio:
        yield numerics.times(xp, probability, quantity)


@_variant("poisson_nll", input="real", target="real", domains={}, parameters={"full": "flag"})
def poisson(xp: Namespace, log_rate: Any, target: Any, *, full: bool = False) -> Iterator[Any]:
    """`full` adds Stirling's approximation of ``log(target!)``, to counts above 1."""
    steps = _POISSON(xp, log_rate, target)
    yield next(steps) + _stirling(xp, target) if full else next(steps)
    yield next(steps)


@_variant(
    "poisson_nll_rate", input="real", target="real", domains={}, parameters={"full": "flag", "eps": "(-inf, inf)"}
)
def poisson_rate(xp: Namespace, rate: Any, target: Any, *, full: bool = False, eps: float = 1e-8) -> Iterator[Any]:
    """`eps` is added to the rate inside the logarithm only."""
    steps = _POISSON_RATE(xp, rate + eps, target)
    value = next(steps) - eps
    yield value + _stirling(xp, target) if full else value
    yield next(steps)


def _stirling(xp: Namespace, count: Any) -> Any:
    """Return Stirling's approximation of log(count!), and 0 for counts up to 1."""
    large = count > 1
    safe = xp.where(large, count, xp.ones_like(count))
    series = numerics.xlogy(xp, safe, safe) - safe + 0.5 * xp.log(2 * xp.pi * safe)
    return xp.where(large, series, xp.zeros_like(count))


@_variant("gaussian_nll", domains={"target": "real", "var": "[0, inf)"}, parameters={"full": "flag", "eps": "[0, inf)"})
def gaussian(
    xp: Namespace, pred: Any, target: Any, var: Any, *, full: bool = False, eps: float = 1e-6
) -> Iterator[Any]:
    """A variance below `eps` is raised to it, and its gradient passes all the same."""
    return _GAUSSIAN(xp, pred, target, xp.where(var < eps, xp.zeros_like(var) + eps, var), full=full)


def _pushing(xp: Namespace, violation: Any, cost: Any) -> Any:
    """Return the cost of a violated margin, written so that autograd, too, pushes where the margin is met exactly.

    Where the target requires a gradient, the value is made of ordinary operations, and the kinks are theirs.
    """
    return xp.where(violation == 0, violation, cost)


@_variant("margin_ranking", target="real", domains={}, parameters={"margin": "(-inf, inf)"})
def ranking(xp: Namespace, first: Any, second: Any, target: Any, *, margin: float = 0.0) -> Iterator[Any]:
    """A margin that is met exactly still pushes; the definition leaves such a pair alone. Any target is a factor."""
    steps = _RANKING(xp, first, second, target, margin=margin)
    violation = margin - target * (first - second)
    yield _pushing(xp, violation, next(steps))
    met = violation == 0
    of_first, of_second = next(steps)
    yield xp.where(met, -target, of_first), xp.where(met, target, of_second)


@_variant("hinge_embedding", target="real", domains={}, parameters={"margin": "(-inf, inf)"})
def hinge_embedding(xp: Namespace, pred: Any, target: Any, *, margin: float = 1.0) -> Iterator[Any]:
    """A target that is neither 1 nor -1 is charged for both; a margin that is met exactly still pushes."""
    one, nothing = xp.ones_like(pred), xp.zeros_like(pred)
    similar = _HINGE_EMBEDDING(xp, pred, one)
    apart = _HINGE_EMBEDDING(xp, pred, -one, margin=margin)
    is_similar, is_apart = target != -1, target != 1
    cost = _pushing(xp, margin - pred, next(apart))
    yield xp.where(is_similar, next(similar), nothing) + xp.where(is_apart, cost, nothing)
    push = xp.where(margin - pred == 0, -one, next(apart))
    yield xp.where(is_similar, next(similar), nothing) + xp.where(is_apart, push, nothing)


@_variant("triplet_margin", parameters={"margin": "(-inf, inf)", "eps": "(-inf, inf)", "swap": "flag"})
def triplet(
    xp: Namespace,
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    margin: float = 1.0,
    eps: float = 1e-6,
    swap: bool = False,
) -> Iterator[Any]:
    """`eps` is added to every component of a difference, and a margin that is met exactly still pushes."""
    near_direction, near = numerics.unit(xp, anchor - positive + eps)
    far_direction, far = numerics.unit(xp, anchor - negative + eps)
    if swap:
        other_direction, other = numerics.unit(xp, positive - negative + eps)
        swapped = 0.5 + 0.5 * xp.sign(far - other)  # a tie is shared
        nearest = xp.minimum(far, other)
    else:
        other_direction, swapped, nearest = far_direction, xp.zeros_like(far), far
    steps = ranking.define(xp, near, nearest, -xp.ones_like(near), margin=margin)
    yield next(steps)
    by_near, by_far = next(steps)
    pull, push = by_near * near_direction, by_far * (1 - swapped) * far_direction
    push_apart = by_far * swapped * other_direction
    yield pull + push, push_apart - pull, -push - push_apart


_COSINE_EPSILON = 9.999999960041972e-13  # 1e-12 as the float32 that torch holds it in, for any type


@_variant("cosine_embedding", target="real", parameters={"margin": "(-inf, inf)"})
def cosine(xp: Namespace, first: Any, second: Any, target: Any, *, margin: float = 0.0) -> Iterator[Any]:
    """1e-12 is added to the squared length of every vector. A target that is neither 1 nor -1 costs nothing.

    The cosine is that of vectors with two more components, orthogonal to all of the other vector's.
    """
    extra = _COSINE_EPSILON**0.5  # the component that is added
    first_length, second_length = (_longer(xp, numerics.norm(xp, x), extra) for x in (first, second))
    first_direction, second_direction = first / first_length, second / second_length
    difference = first_direction - second_direction
    first_rest, second_rest = extra / first_length, extra / second_length
    rest = first_rest * first_rest + second_rest * second_rest
    distance = 0.5 * (xp.sum(difference * difference) + rest)
    nothing, one = xp.zeros_like(distance), xp.ones_like(distance)
    steps = ranking.define(xp, 1 - distance, nothing, -one, margin=-margin)
    yield xp.where(target == 1, distance, xp.where(target == -1, next(steps), nothing))
    by_cosine = xp.where(target == 1, -one, xp.where(target == -1, next(steps)[0], nothing))
    cosine = xp.sum(first_direction * second_direction)
    yield (
        by_cosine * (second_direction - first_direction * cosine) / first_length,
        by_cosine * (first_direction - second_direction * cosine) / second_length,
    )


def _longer(xp: Namespace, length: Any, extra: float) -> Any:
    """Return the length of a vector with one more component, without overflow."""
    larger = xp.maximum(length, extra)
    ratio, rest = length / larger, extra / larger
    return larger * xp.sqrt(ratio * ratio + rest * rest)
