"""Numerically stable functions of the namespace `xp`: overflow, cancellation, ``-inf`` and ``0 * log 0``.

A definition in `lossary.losses` never writes ``log(1 + exp(x))`` or divides by a norm that may vanish: it calls a
function of this page, so each decision is made, explained and tested once. Reductions run over the last axis and keep
it, so that a row and its sums combine without reshaping.
"""

from __future__ import annotations

from typing import Any

from lossary.backends.protocol import Namespace

# How far outside its domain a number may be for having been made in a coarse type, and be taken for the bound itself.
ROUNDING = 2.0**-6


def absent(option: Any, neutral: float = 0) -> bool:
    """Whether an option of a definition has its neutral value, so that its terms need not be computed.

    Only a plain number can be seen to be neutral; one that is learned, or differs from example to example, is present.
    """
    return isinstance(option, (int, float)) and option == neutral


# --- products and quotients with a decided value at 0 and infinity --------------------------------------------------


def times(xp: Namespace, weight: Any, x: Any) -> Any:
    """Return ``weight * x`` where a weight of 0 gives 0, whatever `x` is: ``0 * inf = 0``, ``0 * nan = 0``.

    Where `x` is finite the product is an ordinary one: its derivative in the weight is `x` at a weight of 0 too.
    """
    lost = (weight == 0) & ~xp.isfinite(x)
    return weight * xp.where(lost, xp.zeros_like(x), x)


def divide(xp: Namespace, a: Any, b: Any) -> Any:
    """Return ``a / b``, and 0 where `b` is 0: the convention for directions of zero vectors and empty overlaps."""
    nothing = b == 0
    return xp.where(nothing, xp.zeros_like(a + b), a / xp.where(nothing, xp.ones_like(b), b))


def xlogy(xp: Namespace, x: Any, y: Any) -> Any:
    """Return ``x * log(y)`` with ``0 * log 0 = 0``."""
    lost = (x == 0) & ~((y > 0) & xp.isfinite(y))
    return x * xp.log(xp.where(lost, xp.ones_like(x * y), y))


def rounded_into(xp: Namespace, x: Any, low: float | None = None, high: float | None = None) -> Any:
    """Return `x`, but the bound where rounding may have carried it past: probabilities of 1.0000001 are 1.

    What is further outside stays what it is, and gives what the formula gives there: nothing is clipped in silence.
    """
    if low is not None:
        x = xp.where((x < low) & (x >= low - ROUNDING), low * xp.ones_like(x), x)
    if high is not None:
        x = xp.where((x > high) & (x <= high + ROUNDING), high * xp.ones_like(x), x)
    return x


# --- kinks ----------------------------------------------------------------------------------------------------------
#
# Automatic differentiation goes through these functions (a second derivative through the gradient, a first one through
# the value where a target or a parameter is learned), and at a tie `abs`, `maximum` and `minimum` differentiate as
# frameworks please: often as the mean of both branches. That is a right slope only where nothing else depends on the
# tie. So a function that is smooth takes one branch in all its parts (`one_sided_abs`), and one with a true kink
# differentiates as its hand-written slope does (`positive_part` and `step`).


def positive_part(xp: Namespace, x: Any) -> Any:
    """Return ``max(x, 0)``, which differentiates as 0 at its kink."""
    return xp.where(x <= 0, xp.zeros_like(x), x)


def one_sided_abs(xp: Namespace, x: Any) -> Any:
    """Return ``abs(x)``, which at 0 differentiates as `x`, like a ``where(x >= 0, ...)`` beside it.

    It is for formulas that are smooth at 0 although they are written with the size of `x`.
    """
    return xp.where(x >= 0, x, -x)


def step(xp: Namespace, x: Any) -> Any:
    """Return 1 where `x` is positive, else 0: the slope of `positive_part`, with the subgradient 0 at its kink.

    NaN stays NaN: a slope of 0 would hide it.
    """
    return xp.where(x > 0, xp.ones_like(x), xp.where(x <= 0, xp.zeros_like(x), x))


def masked(xp: Namespace, keep: Any, x: Any) -> Any:
    """Return `x` where `keep` is true and ``-inf`` elsewhere: entries that take no part in a maximum or a softmax."""
    return xp.where(keep, x, xp.zeros_like(x) - xp.inf)


def largest(xp: Namespace, x: Any) -> tuple[Any, Any]:
    """Return the largest entry of a row and the gradient of taking it: 1 at that entry, shared equally by ties."""
    top = xp.max(x)
    ties = xp.where(x == top, xp.ones_like(x), xp.zeros_like(x))
    return top, divide(xp, ties, xp.sum(ties))


# --- recursions along a sequence -------------------------------------------------------------------------------------


def shifted(xp: Namespace, row: Any, by: int, edge: Any) -> Any:
    """Return a row moved by some places to the right, or to the left if negative, with those of `edge` moved in."""
    if by > 0:
        return xp.concat([edge[..., :by], row[..., :-by]])
    return xp.concat([row[..., -by:], edge[..., by:]])


def likeliest(xp: Namespace, row: Any, counts: Any) -> Any:
    """Return the largest entry of a row, as the unit to write it in: 0 if there is none, or if the row does not count.

    A recursion in logarithms that writes every step in units of its likeliest state spends no digits on what all
    states have in common.
    """
    top = xp.max(row)
    return xp.where(counts & (top > -xp.inf), top, xp.zeros_like(top))


# --- the logistic family --------------------------------------------------------------------------------------------


def softplus(xp: Namespace, x: Any) -> Any:
    """Return ``log(1 + exp(x))``, exact at both ends: ``x`` for large `x`, ``exp(x)`` for very negative ones."""
    larger = xp.where(x < 0, xp.zeros_like(x), x)  # the branch of `one_sided_abs`
    return larger + xp.log1p(xp.exp(-one_sided_abs(xp, x)))


def sigmoid(xp: Namespace, x: Any) -> Any:
    """Return ``1 / (1 + exp(-x))``; the smaller of the two tails keeps its relative accuracy."""
    tail = xp.exp(-one_sided_abs(xp, x))
    return xp.where(x >= 0, xp.ones_like(x), tail) / (1 + tail)


def sigmoid_slope(xp: Namespace, x: Any) -> Any:
    """Return ``sigmoid(x) * sigmoid(-x)``, the slope of `sigmoid`: the variance of a coin that falls so."""
    return sigmoid(xp, x) * sigmoid(xp, -x)


def doubted_logistic(xp: Namespace, lead: Any, doubt: Any) -> Any:
    """Return ``(1 - doubt) * softplus(-lead) + doubt * softplus(lead)``.

    It is the logistic cost of a lead whose label is wrong with probability `doubt`: cross-entropy, the label smoothed.
    """
    return (1 - doubt) * softplus(xp, -lead) + doubt * softplus(xp, lead)


def doubted_logistic_slope(xp: Namespace, lead: Any, doubt: Any) -> Any:
    """Return ``doubt * sigmoid(lead) - (1 - doubt) * sigmoid(-lead)``, the slope of `doubted_logistic`."""
    return doubt * sigmoid(xp, lead) - (1 - doubt) * sigmoid(xp, -lead)


def sech_squared(xp: Namespace, x: Any) -> Any:
    """Return ``1 - tanh(x)**2``, the slope of `tanh`, relatively accurate in its tails."""
    tail = xp.exp(-2 * one_sided_abs(xp, x))
    return 4 * tail / ((1 + tail) * (1 + tail))


def log1mexp(xp: Namespace, x: Any) -> Any:
    """Return ``log(1 - exp(x))`` for ``x <= 0`` (Maechler 2012: the better of two forms on either side of -log 2)."""
    near = x > -0.6931471805599453
    end = x == 0  # where it is -inf, with an infinite slope that no product with 0 survives
    inside = xp.where(near, xp.where(end, -xp.ones_like(x), x), -xp.ones_like(x))
    beside = xp.where(end, xp.zeros_like(x) - xp.inf, xp.log(-xp.expm1(inside)))
    return xp.where(near, beside, xp.log1p(-xp.exp(xp.where(near, -xp.ones_like(x), x))))


# --- rows of classes ------------------------------------------------------------------------------------------------


def log_softmax(xp: Namespace, z: Any) -> tuple[Any, Any, Any]:
    """Return log-probabilities, probabilities and log-normaliser (log-sum-exp) of a row of logits.

    A logit of ``-inf`` is a class that is masked out: probability exactly 0, log-probability ``-inf``. A row with
    nothing left has probability 0 everywhere. The log-probability of the largest logit keeps its *relative* accuracy,
    however near to 0 it is: there the sum is taken without the largest term, which is 1, and `log1p` adds it exactly.
    """
    top = xp.max(z)
    # A row of nothing but -inf has no maximum to subtract; with 0 in its place every exponential is 0.
    empty = top == -xp.inf
    top = xp.where(empty, xp.zeros_like(top), top)
    shifted = z - top
    exponentials = xp.exp(shifted)
    is_top = shifted == 0
    tops = xp.sum(xp.where(is_top, xp.ones_like(z), xp.zeros_like(z)))
    # What the largest term is more than 1 is exactly 0, but it changes with the logit: where several are largest, the
    # derivatives beyond the first need it.
    others = xp.sum(xp.where(is_top, exponentials - 1, exponentials))
    beyond = xp.where(empty, xp.zeros_like(top), others + (tops - 1))
    log_total = xp.where(empty, xp.zeros_like(top) - xp.inf, xp.log1p(beyond))
    total = others + tops
    log_probabilities = xp.where(z == -xp.inf, z, shifted - log_total)
    return log_probabilities, divide(xp, exponentials, total), top + log_total


def logsumexp(xp: Namespace, z: Any) -> Any:
    """Return the log of the sum of exponentials of a row; ``-inf`` for a row that is all ``-inf``."""
    return log_softmax(xp, z)[2]


def log_add(xp: Namespace, a: Any, b: Any) -> Any:
    """Return ``log(exp(a) + exp(b))``; ``-inf`` is the logarithm of nothing and adds nothing, with derivative 0."""
    in_order = a >= b
    larger, smaller = xp.where(in_order, a, b), xp.where(in_order, b, a)
    nothing = smaller == -xp.inf
    gap = xp.where(nothing, xp.zeros_like(smaller), smaller) - xp.where(nothing, xp.zeros_like(larger), larger)
    return xp.where(nothing, larger, larger + xp.log1p(xp.exp(gap)))


def residual_probabilities(
    xp: Namespace, log_probabilities: Any, probabilities: Any, wanted: Any, total: Any = 1
) -> Any:
    """Return ``total * probabilities - wanted``, without cancellation where `wanted` (which sums to `total`) is 0 or 1.

    Written as ``wanted (p - 1) + (total - wanted) p``, with p - 1 by `expm1`: the gradient of cross-entropy keeps its
    relative accuracy on examples that are already classified well.
    """
    return wanted * xp.expm1(log_probabilities) + (total - wanted) * probabilities


def target_log_probability(
    xp: Namespace, scores: Any, target: Any, smoothing: float = 0.0
) -> tuple[Any, Any, Any, Any]:
    """Return log-probabilities, probabilities, the target's distribution, and the log-probability that a cost is of.

    That is the one of the label's class where the target is an index, and every class's own where it is a distribution:
    ``sum(wanted * cost(it))`` is the expected cost in both.
    """
    log_probabilities, probabilities, _ = log_softmax(xp, scores)
    wanted = class_distribution(xp, target, scores)
    if not absent(smoothing):
        return log_probabilities, probabilities, smoothed(xp, wanted, scores, smoothing), log_probabilities
    if xp.is_index(target):
        return log_probabilities, probabilities, wanted, xp.sum(times(xp, wanted, log_probabilities))
    return log_probabilities, probabilities, wanted, log_probabilities


def smoothed(xp: Namespace, wanted: Any, scores: Any, smoothing: float) -> Any:
    """Return a distribution of which that much is spread evenly over all classes; a masked class takes none of it."""
    allowed = xp.astype(scores != -xp.inf, scores)
    return (1 - smoothing) * wanted + smoothing * divide(xp, allowed, xp.sum(allowed))


def softmax_chain(
    xp: Namespace, log_probabilities: Any, probabilities: Any, wanted: Any, slope: Any, curve: Any
) -> tuple[Any, Any]:
    """Return gradient and Hessian diagonal in the scores of an expected function of the log-probabilities.

    It is expected under `wanted`: one-hot, a distribution, or either with classes weighted. `slope` and `curve` are its
    first and second derivative, at the label or for every class. The log-probability of class j has gradient
    ``one_hot_j - p`` and Hessian diagonal ``-p (1 - p)``; this is the chain rule, summed over j.
    """
    slopes = times(xp, wanted, slope)
    # An infinite second derivative is met at probability 1 only, where what it is multiplied by is 0 of higher order.
    curves = wanted * xp.where(xp.isfinite(curve), curve, xp.zeros_like(curve))
    total = xp.sum(slopes)
    complement = xp.expm1(log_probabilities)  # p - 1
    gradient = -residual_probabilities(xp, log_probabilities, probabilities, slopes, total)
    bend = curves * complement * complement + (xp.sum(curves) - curves) * probabilities * probabilities
    return gradient, bend + total * probabilities * complement


def class_distribution(xp: Namespace, target: Any, like: Any) -> Any:
    """Return the target as a distribution over classes: soft labels unchanged, indices one-hot in the type of `like`.

    An index outside the row (an ignored label) becomes a row of zeros, hence costs nothing.
    """
    return xp.one_hot(target, like) if xp.is_index(target) else target


def effective_number_weights(xp: Namespace, class_counts: Any, beta: float) -> Any:
    """Return class weights inverse to the effective number ``(1 - beta**n) / (1 - beta)``, summing to the classes.

    A class without examples has weight 0. (Cui 2019, arXiv:1901.05555)
    """
    class_counts = rounded_into(xp, class_counts, 0.0)
    # beta**n by expm1, for beta is near 1 and n may be small; beta = 0 leaves one effective example per class. The
    # difference from 1 is taken before beta is rounded to the type of the counts, which would cost it three digits.
    power = class_counts * xp.log1p((beta - 1) * xp.ones_like(class_counts))
    effective = -xp.expm1(xp.where(class_counts == 0, xp.zeros_like(class_counts), power))
    inverse = divide(xp, xp.ones_like(effective), effective)
    return divide(xp, inverse * xp.row_length(class_counts), xp.sum(inverse))


# --- exponential families -------------------------------------------------------------------------------------------


def scaled_exp(xp: Namespace, factor: Any, x: Any) -> Any:
    """Return ``factor * exp(x)`` wherever the product is representable, even if the exponential alone is not.

    A factor of 0 gives exactly 0, whatever `x` is.
    """
    nothing = factor == 0
    half = xp.exp(0.5 * xp.where(nothing, xp.zeros_like(x), x))
    return xp.where(nothing, xp.zeros_like(x), factor * half * half)


def i_divergence(xp: Namespace, amount: Any, reference: Any, log_ratio: Any) -> Any:
    """Return ``amount - reference - reference * log_ratio`` without cancellation, given ``log(amount / reference)``.

    It is the generalised Kullback-Leibler divergence (Csiszar's I-divergence) of a reference >= 0 from an amount
    >= 0. Within a factor e of each other, where the terms would cancel, it is summed as a series:
    ``exp(x) - 1 - x = x^2/2 (1 + x/3 (1 + x/4 (1 + ...)))``. A reference of 0 leaves the amount, and an infinite amount
    is infinitely far from any reference.
    """
    near = xp.abs(log_ratio) < 1
    x = xp.where(near, log_ratio, xp.zeros_like(log_ratio))
    series = xp.ones_like(x)
    for k in range(19, 2, -1):  # the first term left out is below 1e-18 of the sum
        series = 1 + x / k * series
    apart = xp.where(amount == xp.inf, amount, amount - reference - times(xp, reference, log_ratio))
    return xp.where(near, 0.5 * reference * x * x * series, apart)


# Stirling's series for log Gamma, in odd powers of 1/x; from x = 10 on the first term left out is below 1e-17.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_STIRLING_FROM = 10
# Below, log(n!) and n log n cancel to a tenth; from here on the way down from n + 7 is short and loses nothing.
_DESCENT_FROM = 3
_DESCENT = 7


def log_factorial_excess(xp: Namespace, n: Any) -> Any:
    """Return ``log(n!) - (n log n - n)`` for n >= 0, whole or not: what Stirling's leading terms leave of it.

    It grows like ``log(n) / 2``, so for large n it comes from its own series and not from terms that cancel. With it,
    the log of a probability with large factorials becomes a sum of `i_divergence` and a few small numbers (Loader 2000,
    Fast and accurate computation of binomial probabilities).
    """
    large, middle = n >= _STIRLING_FROM, n >= _DESCENT_FROM
    high = xp.where(large, n, xp.where(middle, n + _DESCENT, _STIRLING_FROM * xp.ones_like(n)))
    inverse = 1 / high
    series = xp.zeros_like(n)
    for coefficient in reversed(_STIRLING):
        series = coefficient + inverse * inverse * series
    leading = 0.5 * xp.log(2 * xp.pi * high) + inverse * series
    # From n + 7 down to n, every term of the size of the result: n log((n + 7) / n) - 7 and the logarithm of a product.
    start = xp.where(middle, xp.where(large, xp.ones_like(n), n), _DESCENT_FROM * xp.ones_like(n))
    product = start + 1
    for step in range(2, _DESCENT):
        product = product * (start + step)
    top = start + _DESCENT
    descent = (start * xp.log1p(_DESCENT / start) - _DESCENT) - xp.log(product / (top * top * top) / (top * top * top))
    small = xp.where(middle, xp.zeros_like(n), n)
    direct = xp.lgamma(small + 1) - xlogy(xp, small, small) + small
    return xp.where(large, leading, xp.where(middle, leading + descent, direct))


def log_rising(xp: Namespace, start: Any, steps: Any) -> Any:
    """Return ``log(Gamma(start + steps) / Gamma(start))``, the log of a rising factorial, for start > 0, steps >= 0.

    For large starts the two log-gammas agree in nearly all their digits; their difference is taken term by term.
    """
    end = start + steps
    excess = log_factorial_excess(xp, end) - log_factorial_excess(xp, start)
    return excess + (start - 1) * xp.log1p(steps / start) + steps * (xp.log(end) - 1)


# --- vectors --------------------------------------------------------------------------------------------------------


def norm(xp: Namespace, x: Any) -> Any:
    """Return the Euclidean norm of a row, free of overflow; 0 for the zero vector."""
    top = xp.max(xp.abs(x))
    # The zero vector: no root of 0, which has an infinite slope.
    return top * xp.sqrt(xp.where(top == 0, xp.ones_like(top), xp.sum(divide(xp, x, top) ** 2)))


def unit(xp: Namespace, x: Any) -> tuple[Any, Any]:
    """Return the row scaled to length 1, and its length; a zero vector has direction 0."""
    length = norm(xp, x)
    return divide(xp, x, length), length


def unit_pullback(xp: Namespace, direction: Any, length: Any, grad: Any) -> Any:
    """Return the gradient with respect to a row, given the one with respect to its direction; 0 at the zero vector."""
    # A direction is of length 1 but for rounding; dividing by its square keeps that out of a projection that cancels.
    along = divide(xp, xp.sum(direction * grad), xp.sum(direction * direction))
    return divide(xp, grad - direction * along, length)


def norm_curvature(xp: Namespace, direction: Any, length: Any) -> Any:
    """Return the Hessian diagonal of the norm of a row, ``(1 - direction**2) / length``; 0 at the zero vector.

    Where the row points along an axis, ``1 - direction**2`` is taken as what the other components leave.
    """
    squares = direction * direction
    along = squares > 0.5  # true of one component at most
    others = xp.sum(xp.where(along, xp.zeros_like(squares), squares))
    return divide(xp, xp.where(along, others, 1 - squares), length)


def one_minus_cosine(xp: Namespace, direction: Any, other: Any) -> Any:
    """Return ``1 - cos`` of two directions as half their squared distance, which keeps its digits near 0.

    A zero vector has no direction: its cosine is taken as 0 with everything.
    """
    difference = direction - other
    absent = (xp.max(xp.abs(direction)) == 0) | (xp.max(xp.abs(other)) == 0)
    half = 0.5 * xp.sum(difference * difference)
    return xp.where(absent, xp.ones_like(half), half)


def cosine_curvature(xp: Namespace, direction: Any, length: Any, gradient: Any, cosine: Any) -> Any:
    """Return the Hessian diagonal of the cosine in a row, given its gradient there; 0 at the zero vector.

    The gradient is `unit_pullback` of the other direction.
    """
    return -divide(xp, 2 * direction * gradient + cosine * norm_curvature(xp, direction, length), length)
