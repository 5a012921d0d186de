"""The softmax family on the CPU: one kernel for all losses of a softmax and a label or a distribution.

A row of logits is read from memory once. Its scores (scaled, capped, shifted, with a margin on the label's) go into a
piece of scratch that stays in the cache; there the exponentials replace them, and from there the gradient is written.
All options meet in one place: what differs between losses is a handful of numbers for each row, made by `_labelled` or
`_spread`, never a loop over the classes.

Long rows are worked through one at a time, along the classes. Where rows are short, or the classes are not the fastest
axis in memory, many rows go side by side (a *tile*, classes by lanes), and loops run along the lanes. In both cases a
row's result depends on that row alone, so it is the same for any number of threads.

Accuracy is that of the definitions in `lossary.numerics`: the log-normaliser is taken by `log1p` of everything but the
largest term, and ``1 - p`` of the largest class as what the others leave of it. NaN stays in its row, a logit of -inf
is a class that is masked out, and a row whose factor is 0 is not looked at.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, njit, types

from lossary import numerics
from lossary.kernels.cpu import scalar, threads
from lossary.kernels.table import Outcome, Wanted, least

# Along a row sums are taken in pieces of this many classes, each in as many partial sums as the machine has lanes, and
# the pieces are added in double precision.
PIECE = 1024
STRIPS = 32  # the same across lanes: as many classes make a partial sum
# Rows shorter than this go side by side.
SHORT = 48
TILE = 32768  # entries of a tile: with its costs it stays in the second-level cache
LEAST_LANES, MOST_LANES = 16, 2048  # from a vector register of float32 to where nothing more is gained
LEAST = 2048  # entries from which the kernel is used; below, NumPy is as fast
LEAST_SHARED = 65536  # entries from which threads are used: their start costs some tens of microseconds

LIKELIHOOD, FOCAL, POLY, POWER = 0, 1, 2, 3  # functions of the label's log-probability

_Decorator = Callable[[Any], Any]
intrinsic: _Decorator = extending.intrinsic
overload: Any = extending.overload
plus: Any = scalar.plus
select: Any = scalar.select

_PARTS: dict[str, Any] = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# Contraction (a * b + c in one rounding) is the only licence given to the compiler; where a sum may be taken in any
# order, `plus` says so on the spot. Nothing is assumed of NaN, infinities or the sign of zero.
plain: _Decorator = njit(**_PARTS, fastmath={"contract"})
# The same expressions give the same bits wherever they stand: an index and its one-hot row agree exactly.
strict: _Decorator = njit(**_PARTS)
whole: _Decorator = njit(nogil=True, cache=True, error_model="numpy")


# --- bits -----------------------------------------------------------------------------------------------------------


def _integer(kind: Any) -> Any:
    return types.int32 if kind == types.float32 else types.int64


@intrinsic
def _ordered(typing: Any, x: Any) -> Any:
    """An integer that compares as the number does, with NaN beyond infinity: a maximum of these needs no licence."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.IntType(signature.return_type.bitwidth)
        bits = builder.bitcast(arguments[0], kind)
        sign = builder.ashr(bits, ir.Constant(kind, kind.width - 1))
        return builder.xor(bits, builder.and_(sign, ir.Constant(kind, (1 << (kind.width - 1)) - 1)))

    return _integer(x)(x), build


@intrinsic
def _number(typing: Any, x: Any) -> Any:
    """The number of which `_ordered` made an integer."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.IntType(signature.args[0].bitwidth)
        sign = builder.ashr(arguments[0], ir.Constant(kind, kind.width - 1))
        bits = builder.xor(arguments[0], builder.and_(sign, ir.Constant(kind, (1 << (kind.width - 1)) - 1)))
        return builder.bitcast(bits, ir.FloatType() if kind.width == 32 else ir.DoubleType())

    return (types.float32 if x == types.int32 else types.float64)(x), build


@intrinsic
def _read(typing: Any, x: Any) -> Any:
    """A stored number in the type to compute in: bfloat16 is held as uint16, float16 as int16."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if x == types.uint16:
            wide = builder.zext(arguments[0], ir.IntType(32))
            return builder.bitcast(builder.shl(wide, ir.Constant(ir.IntType(32), 16)), ir.FloatType())
        if x == types.int16:
            return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())
        return arguments[0]

    return (x if x in (types.float32, types.float64) else types.float32)(x), build


@intrinsic
def _narrow(typing: Any, x: Any, out: Any) -> Any:
    """A computed number in the type of the entries of `out`, rounded to the nearest, ties to even."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = arguments[0]
        if out.dtype == types.uint16:
            word = ir.IntType(32)
            bits = builder.bitcast(number, word)
            odd = builder.and_(builder.lshr(bits, ir.Constant(word, 16)), ir.Constant(word, 1))
            rounded = builder.add(bits, builder.add(odd, ir.Constant(word, 0x7FFF)))
            quiet = builder.or_(bits, ir.Constant(word, 0x400000))
            chosen = builder.select(builder.fcmp_unordered("uno", number, number), quiet, rounded)
            return builder.trunc(builder.lshr(chosen, ir.Constant(word, 16)), ir.IntType(16))
        if out.dtype == types.int16:
            return builder.bitcast(builder.fptrunc(number, ir.HalfType()), ir.IntType(16))
        return number

    return out.dtype(x, out), build


def _of_type(in_float32: Any, in_float64: Any) -> Any:
    """Return one compiled function out of the two of an elementary function, chosen by the type of the number."""

    def generic(x: Any) -> Any:
        raise NotImplementedError("for compiled code only")

    @overload(generic, inline="always")
    def choose(x):  # type: ignore[no-untyped-def]
        return (lambda x: in_float32(x)) if x == types.float32 else (lambda x: in_float64(x))

    return generic


exp = _of_type(scalar.exp_f32, scalar.exp_f64)
expm1 = _of_type(scalar.expm1_f32, scalar.expm1_f64)
log1p = _of_type(scalar.log1p_f32, scalar.log1p_f64)
tanh = _of_type(scalar.tanh_f32, scalar.tanh_f64)


# --- loops over a strip: classes of one row, or lanes of one class ----------------------------------------------------


@plain
def _take(source: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = _read(source[i])


@plain
def _transform(out: Any, scale: Any, cap: Any) -> None:
    """Turn logits into scores: capped, then scaled."""
    if cap != 0:
        for i in range(out.size):
            out[i] = cap * tanh(out[i] / cap)
    if scale != 1:
        for i in range(out.size):
            out[i] *= scale


@plain
def _add(out: Any, shift: Any) -> None:
    for i in range(out.size):
        out[i] += shift[i]


@plain
def _add_to_all(out: Any, shift: Any) -> None:
    for i in range(out.size):
        out[i] += shift


@plain
def _times_slope_of_cap(source: Any, out: Any, cap: Any) -> None:
    """Multiply by the derivative of ``cap * tanh(x / cap)``."""
    one, two = out.dtype.type(1), out.dtype.type(2)
    for i in range(out.size):
        tail = exp(-two * abs(_read(source[i]) / cap))
        half = two / (one + tail)
        held = out[i]
        # A gradient of exactly 0 stays 0: under a mask the logit may be NaN, and its slope with it.
        out[i] = held * (tail * half * half) if held != 0 else held


@plain
def _store(source: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = _narrow(source[i], out)


@plain
def _fill(out: Any, number: Any) -> None:
    for i in range(out.size):
        out[i] = number


@plain
def _erase(out: Any) -> None:
    for i in range(out.size):
        out[i] = 0


@strict
def _multiply(out: Any, factors: Any) -> None:
    for i in range(out.size):
        out[i] *= factors[i]


@strict
def _multiply_all(out: Any, factor: Any) -> None:
    for i in range(out.size):
        out[i] *= factor


@strict
def _distance(score: Any, top: Any) -> Any:
    """How far a score is below the top: infinitely far at -inf, even where the top is NaN."""
    return select(score == -np.inf, -score, top - score)


# --- along a row ----------------------------------------------------------------------------------------------------


@plain
def _largest(scores: Any) -> Any:
    top = _ordered(scores.dtype.type(-np.inf))
    for i in range(scores.size):
        here = _ordered(scores[i])
        top = here if here > top else top
    return _number(top)


@plain
def _exponentials(scores: Any, base: Any) -> Any:
    """Replace scores by exponentials; return the sum of those below the largest, and how many there are of that."""
    nothing, one = scores.dtype.type(0), scores.dtype.type(1)
    others, tops = nothing, nothing
    for i in range(scores.size):
        shifted = scores[i] - base
        term = exp(shifted)
        is_top = shifted == nothing
        others = plus(others, select(is_top, nothing, term))
        tops = plus(tops, select(is_top, one, nothing))
        scores[i] = term
    return others, tops


@plain
def _cost_of(scores: Any, costs: Any, base: Any) -> Any:
    """Return the sum of the costs, of the costs of classes not at -inf, and of cost times distance from the top."""
    nothing = scores.dtype.type(0)
    total, live, apart = nothing, nothing, nothing
    for i in range(scores.size):
        cost = costs[i]
        total = plus(total, cost)
        live = plus(live, select(scores[i] == -np.inf, nothing, cost))
        apart = plus(apart, select(cost == nothing, nothing, cost * _distance(scores[i], base)))
    return total, live, apart


@plain
def _spread_of(scores: Any, base: Any) -> Any:
    """Return the sum of exponential times distance from the top: the entropy, but for the normaliser."""
    nothing = scores.dtype.type(0)
    spread = nothing
    for i in range(scores.size):
        shifted = scores[i] - base
        spread = plus(spread, select(shifted == -np.inf, nothing, -shifted * exp(shifted)))
    return spread


@strict
def _smooth(targets: Any, logits: Any, remaining: Any, share: Any) -> None:
    """Take smoothing's part from a target and give it, in equal shares, to the classes that are not at -inf."""
    nothing = targets.dtype.type(0)
    for i in range(targets.size):
        targets[i] = remaining * targets[i] + select(_read(logits[i]) != -np.inf, share, nothing)


@plain
def _count(source: Any) -> int:
    """How many classes are not at -inf."""
    count = 0
    for i in range(source.size):
        count += _read(source[i]) != -np.inf
    return count


@plain
def _times(exponentials: Any, factor: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = _narrow(exponentials[i] * factor, out)


@strict
def _spread_gradient(
    exponentials: Any, costs: Any, rest: Any, total: Any, drift: Any, inverse: Any, factor: Any
) -> None:
    """Replace exponentials by the gradient, ``total * p - cost``, with 1 - p of the largest from the others."""
    one = exponentials.dtype.type(1)
    for i in range(exponentials.size):
        e, cost = exponentials[i], costs[i]
        complement = select(e == one, rest, one - e * inverse)
        exponentials[i] = e * ((total - cost + drift) * inverse * factor) - cost * complement * factor


# --- across lanes ---------------------------------------------------------------------------------------------------


@plain
def _largest_lanes(scores: Any, top: Any) -> None:
    for i in range(scores.size):
        top[i] = select(scores[i] > top[i], scores[i], top[i])


@strict
def _ground(top: Any) -> None:
    """A row of nothing but -inf has no largest score to subtract: 0 takes its place."""
    nothing = top.dtype.type(0)
    for i in range(top.size):
        top[i] = select(top[i] == -np.inf, nothing, top[i])


@plain
def _exponentials_lanes(scores: Any, base: Any, others: Any, tops: Any) -> None:
    nothing, one = scores.dtype.type(0), scores.dtype.type(1)
    for i in range(scores.size):
        shifted = scores[i] - base[i]
        term = exp(shifted)
        is_top = shifted == nothing
        others[i] += select(is_top, nothing, term)
        tops[i] += select(is_top, one, nothing)
        scores[i] = term


@plain
def _cost_lanes(scores: Any, costs: Any, base: Any, total: Any, live: Any, apart: Any) -> None:
    nothing = scores.dtype.type(0)
    for i in range(scores.size):
        cost = costs[i]
        total[i] += cost
        live[i] += select(scores[i] == -np.inf, nothing, cost)
        apart[i] += select(cost == nothing, nothing, cost * _distance(scores[i], base[i]))


@strict
def _smooth_lanes(targets: Any, logits: Any, remaining: Any, share: Any) -> None:
    nothing = targets.dtype.type(0)
    for i in range(targets.size):
        targets[i] = remaining * targets[i] + select(logits[i] != -np.inf, share[i], nothing)


@plain
def _count_lanes(logits: Any, count: Any) -> None:
    for i in range(logits.size):
        count[i] += logits[i] != -np.inf


@plain
def _spread_lanes(scores: Any, base: Any, spread: Any) -> None:
    nothing = scores.dtype.type(0)
    for i in range(scores.size):
        shifted = scores[i] - base[i]
        spread[i] += select(shifted == -np.inf, nothing, -shifted * exp(shifted))


@plain
def _flush(part: Any, whole: Any) -> None:
    """Add partial sums to the wide ones and start again."""
    for i in range(part.size):
        whole[i] += part[i]
        part[i] = 0


@plain
def _times_lanes(exponentials: Any, across: Any, factor: Any) -> None:
    """Multiply each lane by a number of its own; a row whose factor is 0 gets 0 whatever is there."""
    nothing = factor.dtype.type(0)
    for i in range(exponentials.size):
        exponentials[i] = select(factor[i] == nothing, nothing, exponentials[i] * across[i])


@strict
def _spread_gradient_lanes(
    exponentials: Any, costs: Any, rest: Any, total: Any, drift: Any, inverse: Any, factor: Any
) -> None:
    nothing, one = factor.dtype.type(0), factor.dtype.type(1)
    for i in range(exponentials.size):
        e, cost = exponentials[i], costs[i]
        complement = select(e == one, rest[i], one - e * inverse[i])
        gradient = e * ((total[i] - cost + drift[i]) * inverse[i] * factor[i]) - cost * complement * factor[i]
        exponentials[i] = select(factor[i] == nothing, nothing, gradient)


# --- one row, once its sums are known -------------------------------------------------------------------------------
# The numbers of a row are lanes: arrays with an entry for each row of a tile, with one entry for a long row.

(BASE, REST, INVERSE, LOG_TOTAL, LSE, SCORE, PRESENT, WEIGHT, RATE, FACTOR) = range(10)
(TERM, P, NOT_P, LOG_P, VALUE, SLOPE, DRIFT, ACROSS, OWN, TOTAL, SHARE) = range(10, 21)
_FIELDS = 21
# Sums over the classes, in double precision.
(OTHERS, TOPS, COSTS, LIVE, APART, SPREAD, COUNT) = range(7)
_SUMS = 7


@strict
def _normalise(lanes: Any, sums: Any, count: int) -> None:
    """Finish the softmax: 1 - p of the largest, one over the sum (0 if there is none), its log, the log-normaliser."""
    base, rest, inverse = lanes[BASE, :count], lanes[REST, :count], lanes[INVERSE, :count]
    log_total, lse, others, tops = (
        lanes[LOG_TOTAL, :count],
        lanes[LSE, :count],
        sums[OTHERS, :count],
        sums[TOPS, :count],
    )
    nothing, one = base.dtype.type(0), base.dtype.type(1)
    for i in range(count):
        beyond = base.dtype.type(others[i] + (tops[i] - 1.0))
        total = base.dtype.type(others[i] + tops[i])
        inverse[i] = select(total == nothing, nothing, one / total)
        rest[i] = beyond * inverse[i]
        log_total[i] = log1p(beyond)
        lse[i] = base[i] + log_total[i]


@strict
def _at_label(lanes: Any, count: int) -> None:
    """Find the label's exponential, probability, 1 less that, and log-probability.

    Of a label outside the row nothing is wanted: it is as if it were certain.
    """
    score, base, inverse, rest = lanes[SCORE, :count], lanes[BASE, :count], lanes[INVERSE, :count], lanes[REST, :count]
    present, log_total, term = lanes[PRESENT, :count], lanes[LOG_TOTAL, :count], lanes[TERM, :count]
    probability, complement, logarithm = lanes[P, :count], lanes[NOT_P, :count], lanes[LOG_P, :count]
    nothing, one, lowest = score.dtype.type(0), score.dtype.type(1), score.dtype.type(-np.inf)
    for i in range(count):
        shifted = score[i] - base[i]
        power_of_e = exp(shifted)
        here = present[i] != nothing
        p = power_of_e * inverse[i]
        term[i] = power_of_e
        probability[i] = select(here, p, one)
        complement[i] = select(here, select(shifted == nothing, rest[i], one - p), nothing)
        logarithm[i] = select(here, select(score[i] == lowest, lowest, shifted - log_total[i]), nothing)


@strict
def _likelihood(lanes: Any, count: int) -> None:
    """The cost ``-w log p`` as a sum of two terms, the same two as for a distribution, and its slope in ``log p``."""
    score, base, log_total = lanes[SCORE, :count], lanes[BASE, :count], lanes[LOG_TOTAL, :count]
    present, weight = lanes[PRESENT, :count], lanes[WEIGHT, :count]
    cost, slope = lanes[VALUE, :count], lanes[SLOPE, :count]
    nothing, lowest = score.dtype.type(0), score.dtype.type(-np.inf)
    for i in range(count):
        unseen = (present[i] == nothing) | (weight[i] == nothing)
        apart = select(unseen, nothing, weight[i] * _distance(score[i], base[i]))
        live = select(unseen | (score[i] == lowest), nothing, weight[i] * log_total[i])
        cost[i] = apart + live
        slope[i] = -weight[i]


@strict
def _focal(lanes: Any, count: int, gamma: Any) -> None:
    """The cost ``-w (1 - p)^gamma log p``, and its slope in ``log p``."""
    probability, complement, logarithm = lanes[P, :count], lanes[NOT_P, :count], lanes[LOG_P, :count]
    weight, cost, slope = lanes[WEIGHT, :count], lanes[VALUE, :count], lanes[SLOPE, :count]
    nothing, one = cost.dtype.type(0), cost.dtype.type(1)
    for i in range(count):  # the power by itself: the only call into the C library, unless gamma is a usual one
        slope[i] = complement[i] * complement[i] if gamma == 2 else complement[i] ** gamma
    for i in range(count):
        focus = weight[i] * slope[i]
        # log p / (1 - p) tends to -1 as p tends to 1.
        ratio = select(complement[i] == nothing, -one, logarithm[i] / complement[i])
        pull = gamma * probability[i]
        cost[i] = select(focus == nothing, nothing, -focus * logarithm[i])
        slope[i] = focus * (select(pull == nothing, nothing, pull * ratio) - one)


@strict
def _poly(lanes: Any, count: int, epsilon: Any) -> None:
    """The cost ``-log p + epsilon (1 - p)``, and its slope in ``log p``."""
    probability, complement, logarithm = lanes[P, :count], lanes[NOT_P, :count], lanes[LOG_P, :count]
    cost, slope = lanes[VALUE, :count], lanes[SLOPE, :count]
    one = cost.dtype.type(1)
    for i in range(count):
        cost[i] = epsilon * complement[i] - logarithm[i]
        slope[i] = -one - epsilon * probability[i]


@strict
def _power(lanes: Any, count: int, q: Any) -> None:
    """The cost ``(1 - p^q) / q``, and its slope in ``log p``."""
    logarithm, cost, slope = lanes[LOG_P, :count], lanes[VALUE, :count], lanes[SLOPE, :count]
    for i in range(count):
        cost[i] = -expm1(q * logarithm[i]) / q
        slope[i] = -exp(q * logarithm[i])


@strict
def _drift(lanes: Any, count: int, z_loss: Any) -> None:
    """Add `z_loss` times the square of the log-normaliser to the cost; its slope is the drift of the normaliser."""
    cost, drift, lse = lanes[VALUE, :count], lanes[DRIFT, :count], lanes[LSE, :count]
    two = cost.dtype.type(2)
    if z_loss == 0:
        _erase(drift)
    else:
        for i in range(count):
            cost[i] += z_loss * lse[i] * lse[i]
            drift[i] = two * z_loss * lse[i]


@strict
def _clear(lanes: Any, count: int) -> None:
    """Rows whose factor is 0 cost exactly 0."""
    cost, factor = lanes[VALUE, :count], lanes[FACTOR, :count]
    nothing = cost.dtype.type(0)
    for i in range(count):
        cost[i] = select(factor[i] == nothing, nothing, cost[i])


@strict
def _labelled(lanes: Any, count: int, kind: int, parameter: Any, z_loss: Any) -> None:
    """From the softmax at the label to the value, the factor of all exponentials, and the gradient at the label."""
    _at_label(lanes, count)
    if kind == LIKELIHOOD:
        _likelihood(lanes, count)
    elif kind == FOCAL:
        _focal(lanes, count, parameter)
    elif kind == POLY:
        _poly(lanes, count, parameter)
    else:
        _power(lanes, count, parameter)
    _drift(lanes, count, z_loss)
    _clear(lanes, count)
    across, own, slope, drift = lanes[ACROSS, :count], lanes[OWN, :count], lanes[SLOPE, :count], lanes[DRIFT, :count]
    inverse, factor, term = lanes[INVERSE, :count], lanes[FACTOR, :count], lanes[TERM, :count]
    complement, rate = lanes[NOT_P, :count], lanes[RATE, :count]
    nothing = own.dtype.type(0)
    for i in range(count):
        away = factor[i] == nothing
        across[i] = select(away, nothing, (drift[i] - slope[i]) * inverse[i] * factor[i])
        at_label = term[i] * (drift[i] * inverse[i] * factor[i]) + slope[i] * complement[i] * factor[i]
        own[i] = select(away, nothing, at_label * rate[i])


@strict
def _distributed(lanes: Any, sums: Any, count: int, z_loss: Any) -> None:
    """From the costs of the classes to the value, and the drift of the log-normaliser."""
    cost, total, log_total = lanes[VALUE, :count], lanes[TOTAL, :count], lanes[LOG_TOTAL, :count]
    nothing = cost.dtype.type(0)
    for i in range(count):
        total[i] = sums[COSTS, i]
        live = cost.dtype.type(sums[LIVE, i])
        apart = cost.dtype.type(sums[APART, i])
        cost[i] = apart + select(live == nothing, nothing, live * log_total[i])
    _drift(lanes, count, z_loss)
    _clear(lanes, count)


@strict
def _with_margin(cosine: Any, margin: Any) -> Any:
    """Return the label's cosine with its angle enlarged, or itself less a number, and the slope of that."""
    _, cos, sin, threshold, drop = margin
    one, nothing = cos / cos, cos * 0
    if not cosine > threshold:
        return cosine - drop, one
    sine = math.sqrt(max((one - cosine) * (one + cosine), nothing))
    cotangent = nothing if sine == nothing else cosine / sine
    return cosine * cos - sine * sin, cos + sin * cotangent


# --- rows -----------------------------------------------------------------------------------------------------------
# Empty arrays are options that are absent: labels or targets, class_weight, shift, grad, lse, entropy, correct. Only
# `costs`, the scratch for what each class costs, is None where no class but the label's costs anything (neither soft
# targets nor smoothing): that compiles to another kernel. Logits, targets, gradients are flat, with steps in entries.


@strict
def _find(labels: Any, step: int, classes: int, scores: Any, class_weight: Any, stray: Any, lanes: Any) -> None:
    """Bring the scores and weights of the labels into their lanes. Class k of lane i is at ``k * step + i``."""
    one, nothing = lanes.dtype.type(1), lanes.dtype.type(0)
    present, score, weight, rate = lanes[PRESENT], lanes[SCORE], lanes[WEIGHT], lanes[RATE]
    for i in range(labels.size):
        k = labels[i]
        inside = 0 <= k < classes
        rate[i] = one
        present[i] = one if inside else nothing
        score[i] = scores[k * step + i] if inside else nothing
        if class_weight.size:
            weight[i] = class_weight[k] if inside else nothing
        else:
            weight[i] = one if inside else stray


@strict
def _set_back(labels: Any, step: int, classes: int, scores: Any, scale: Any, margin: Any, lanes: Any) -> None:
    """Put the margin on the labels' scores."""
    score, rate = lanes[SCORE], lanes[RATE]
    for i in range(labels.size):
        if 0 <= labels[i] < classes:
            cosine, rate[i] = _with_margin(score[i] / scale, margin)
            score[i] = cosine * scale
            scores[labels[i] * step + i] = score[i]


@strict
def _put(labels: Any, step: int, classes: int, numbers: Any, out: Any) -> None:
    """Write a number of each lane at its label."""
    for i in range(labels.size):
        if 0 <= labels[i] < classes:
            out[labels[i] * step + i] = numbers[i]


@strict
def _outside(labels: Any, classes: int, factor: Any) -> int:
    """Whether a label that counts is outside its row."""
    found = 0
    for i in range(labels.size):
        found |= (factor[i] != 0) & ((labels[i] < 0) | (labels[i] >= classes))
    return found


@whole
def long_rows(
    x: Any,
    x_step: int,
    labels: Any,
    targets: Any,
    target_step: int,
    class_weight: Any,
    shift: Any,
    factor: Any,
    factor_step: int,
    numbers: Any,
    margin: Any,
    kind: int,
    classes: int,
    scores: Any,
    costs: Any,
    lanes: Any,
    sums: Any,
    values: Any,
    grad: Any,
    lse: Any,
    entropy: Any,
    correct: Any,
    start: int,
    stop: int,
) -> int:
    """Evaluate rows whose classes are contiguous, one after the other; return whether a label was outside its row."""
    suspect = 0
    scale, cap, smoothing, z_loss, parameter, stray, common = numbers
    nothing, one = values.dtype.type(0), values.dtype.type(1)
    for row in range(start, stop):
        lanes[FACTOR, 0] = factor[row * factor_step] * (common * scale)
        source = x[row * x_step : row * x_step + classes]
        if lanes[FACTOR, 0] == nothing:
            values[row] = nothing
            if grad.size:
                _erase(grad[row * classes : (row + 1) * classes])
            continue
        if labels.size and not 0 <= labels[row] < classes:
            suspect = 1

        top = values.dtype.type(-np.inf)
        for low in range(0, classes, PIECE):
            high = min(low + PIECE, classes)
            piece = scores[low:high]
            _take(source[low:high], piece)
            if scale != one or cap != nothing:
                _transform(piece, scale, cap)
            if shift.size:
                _add(piece, shift[low:high])
            here = _largest(piece)
            top = top if here <= top else here
        if costs is None:
            own = labels[row : row + 1]
            _find(own, 1, classes, scores, class_weight, stray, lanes)
            if margin[0] != nothing:
                _set_back(own, 1, classes, scores, scale, margin, lanes)
                top = _largest(scores)
        base = nothing if top == -np.inf else top
        lanes[BASE, 0] = base

        if costs is not None:
            if not targets.size:
                _erase(costs)
                if 0 <= labels[row] < classes:
                    costs[labels[row]] = one
            else:
                _take(targets[row * target_step : row * target_step + classes], costs)
            if smoothing != nothing:
                allowed = _count(source)
                share = smoothing / values.dtype.type(allowed) if allowed else nothing
                _smooth(costs, source, one - smoothing, share)
            if class_weight.size:
                _multiply(costs, class_weight)
            total, live, apart = 0.0, 0.0, 0.0
            for low in range(0, classes, PIECE):
                high = min(low + PIECE, classes)
                found = _cost_of(scores[low:high], costs[low:high], base)
                total, live, apart = total + found[0], live + found[1], apart + found[2]
            sums[COSTS, 0], sums[LIVE, 0], sums[APART, 0] = total, live, apart
        if correct.size:
            k = labels[row]
            right = 0 <= k < classes and scores[k] == top
            if right:
                right = not _holds(scores[:k], top)
            correct[row] = right
        if entropy.size:
            spread = 0.0
            for low in range(0, classes, PIECE):
                spread += _spread_of(scores[low : min(low + PIECE, classes)], base)

        others, tops = 0.0, 0.0
        for low in range(0, classes, PIECE):
            part = _exponentials(scores[low : min(low + PIECE, classes)], base)
            others, tops = others + part[0], tops + part[1]
        sums[OTHERS, 0], sums[TOPS, 0] = others, tops
        _normalise(lanes, sums, 1)
        if entropy.size:
            entropy[row] = values.dtype.type(spread) * lanes[INVERSE, 0] + lanes[LOG_TOTAL, 0]
        if lse.size:
            lse[row] = lanes[LSE, 0]
        if costs is None:
            _labelled(lanes, 1, kind, parameter, z_loss)
        else:
            _distributed(lanes, sums, 1, z_loss)
        values[row] = lanes[VALUE, 0]

        if grad.size:
            out = grad[row * classes : (row + 1) * classes]
            k = -1
            if costs is None:
                k = labels[row] if lanes[PRESENT, 0] != nothing else -1
            for low in range(0, classes, PIECE):
                high = min(low + PIECE, classes)
                piece = scores[low:high]
                if costs is None:
                    if cap == nothing:
                        _times(piece, lanes[ACROSS, 0], out[low:high])
                        continue
                    _multiply_all(piece, lanes[ACROSS, 0])
                    if low <= k < high:
                        scores[k] = lanes[OWN, 0]
                else:
                    _spread_gradient(
                        piece,
                        costs[low:high],
                        lanes[REST, 0],
                        lanes[TOTAL, 0],
                        lanes[DRIFT, 0],
                        lanes[INVERSE, 0],
                        lanes[FACTOR, 0],
                    )
                if cap != nothing:
                    _times_slope_of_cap(source[low:high], piece, cap)
                _store(piece, out[low:high])
            if cap == nothing and k >= 0:
                out[k] = _narrow(lanes[OWN, 0], out)
    return suspect


@whole
def tiled_rows(
    x: Any,
    x_steps: Any,
    labels: Any,
    targets: Any,
    target_steps: Any,
    class_weight: Any,
    shift: Any,
    factor: Any,
    factor_step: int,
    numbers: Any,
    margin: Any,
    kind: int,
    shape: Any,
    width: int,
    scores: Any,
    logits: Any,
    costs: Any,
    lanes: Any,
    part: Any,
    sums: Any,
    values: Any,
    grad: Any,
    grad_steps: Any,
    lse: Any,
    entropy: Any,
    correct: Any,
    start: int,
    stop: int,
) -> int:
    """Evaluate rows side by side; return whether a label was outside its row.

    An array of shape (outer, classes, inner) has a step for each of these axes.
    """
    suspect = 0
    scale, cap, smoothing, z_loss, parameter, stray, common = numbers
    nothing, one = values.dtype.type(0), values.dtype.type(1)
    _, classes, inner = shape
    tiles = (inner + width - 1) // width
    for tile in range(start, stop):
        block, low = tile // tiles, tile % tiles * width
        count = min(width, inner - low)
        first = block * inner + low
        if factor_step:
            _take(factor[first : first + count], lanes[FACTOR, :count])
            _multiply_all(lanes[FACTOR, :count], common * scale)
        else:
            _fill(lanes[FACTOR, :count], factor[0] * (common * scale))
        own = labels[first : first + count] if labels.size else labels
        suspect |= _outside(own, classes, lanes[FACTOR])
        _gather(x, block * x_steps[0] + low * x_steps[2], x_steps[1], x_steps[2], scores, width, classes, count)
        if logits.size:
            _take(scores, logits)
        if scale != one or cap != nothing:
            _transform(scores, scale, cap)
        if shift.size:
            for c in range(classes):
                _add_to_all(scores[c * width : c * width + count], shift[c])
        if costs is None:
            _find(own, width, classes, scores, class_weight, stray, lanes)
            if margin[0] != nothing:
                _set_back(own, width, classes, scores, scale, margin, lanes)
        base = lanes[BASE, :count]
        _fill(base, values.dtype.type(-np.inf))
        for c in range(classes):
            _largest_lanes(scores[c * width : c * width + count], base)
        if correct.size:
            for i in range(count):
                k = labels[first + i]
                right = 0 <= k < classes and scores[k * width + i] == base[i]
                for c in range(k if right else 0):
                    right = right and scores[c * width + i] != base[i]
                correct[first + i] = right
        _ground(base)
        for field in range(2 if costs is None and not entropy.size else _SUMS):  # the first two are always needed
            _erase(part[field, :count])
            _erase(sums[field, :count])
        if costs is not None:
            if not targets.size:
                _erase(costs)
                _fill(lanes[RATE, :count], one)
                _put(own, width, classes, lanes[RATE], costs)
            else:
                steps = target_steps
                _gather(targets, block * steps[0] + low * steps[2], steps[1], steps[2], costs, width, classes, count)
            if smoothing != nothing:
                for c in range(classes):
                    _count_lanes(logits[c * width : c * width + count], sums[COUNT, :count])
                for i in range(count):
                    allowed = values.dtype.type(sums[COUNT, i])
                    lanes[SHARE, i] = smoothing / allowed if allowed != nothing else nothing
            for c in range(classes):
                strip = costs[c * width : c * width + count]
                if smoothing != nothing:
                    _smooth_lanes(strip, logits[c * width : c * width + count], one - smoothing, lanes[SHARE, :count])
                if class_weight.size:
                    _multiply_all(strip, class_weight[c])
                _cost_lanes(
                    scores[c * width : c * width + count],
                    strip,
                    base,
                    part[COSTS, :count],
                    part[LIVE, :count],
                    part[APART, :count],
                )
                if c % STRIPS == STRIPS - 1 or c == classes - 1:
                    for field in (COSTS, LIVE, APART):
                        _flush(part[field, :count], sums[field, :count])
        if entropy.size:
            for c in range(classes):
                _spread_lanes(scores[c * width : c * width + count], base, part[SPREAD, :count])
                if c % STRIPS == STRIPS - 1 or c == classes - 1:
                    _flush(part[SPREAD, :count], sums[SPREAD, :count])
        for c in range(classes):
            _exponentials_lanes(scores[c * width : c * width + count], base, part[OTHERS, :count], part[TOPS, :count])
            if c % STRIPS == STRIPS - 1 or c == classes - 1:
                _flush(part[OTHERS, :count], sums[OTHERS, :count])
                _flush(part[TOPS, :count], sums[TOPS, :count])
        _normalise(lanes, sums, count)
        if costs is None:
            _labelled(lanes, count, kind, parameter, z_loss)
        else:
            _distributed(lanes, sums, count, z_loss)
        _take(lanes[VALUE, :count], values[first : first + count])
        if lse.size:
            _take(lanes[LSE, :count], lse[first : first + count])
        if entropy.size:
            for i in range(count):
                spread = values.dtype.type(sums[SPREAD, i])
                entropy[first + i] = spread * lanes[INVERSE, i] + lanes[LOG_TOTAL, i]

        if grad.size:
            for c in range(classes):
                strip = scores[c * width : c * width + count]
                if costs is None:
                    _times_lanes(strip, lanes[ACROSS, :count], lanes[FACTOR, :count])
                else:
                    _spread_gradient_lanes(
                        strip,
                        costs[c * width : c * width + count],
                        lanes[REST, :count],
                        lanes[TOTAL, :count],
                        lanes[DRIFT, :count],
                        lanes[INVERSE, :count],
                        lanes[FACTOR, :count],
                    )
            if costs is None:
                _put(own, width, classes, lanes[OWN], scores)
            if cap != nothing:
                for c in range(classes):
                    at = c * width
                    _times_slope_of_cap(logits[at : at + count], scores[at : at + count], cap)
            at = block * grad_steps[0] + low * grad_steps[2]
            _scatter(scores, width, classes, count, grad, at, grad_steps[1], grad_steps[2])
    return suspect


@plain
def _gather(x: Any, at: int, class_step: int, lane_step: int, out: Any, width: int, classes: int, count: int) -> None:
    """Bring rows side by side: one strip of lanes for each class."""
    if lane_step == 1:
        for c in range(classes):
            _take(x[at + c * class_step : at + c * class_step + count], out[c * width : c * width + count])
    else:
        for i in range(count):
            row = x[at + i * lane_step : at + i * lane_step + classes]
            for c in range(classes):
                out[c * width + i] = _read(row[c])


@plain
def _scatter(
    strips: Any, width: int, classes: int, count: int, out: Any, at: int, class_step: int, lane_step: int
) -> None:
    """Put strips of lanes back where their rows are."""
    if lane_step == 1:
        for c in range(classes):
            _store(strips[c * width : c * width + count], out[at + c * class_step : at + c * class_step + count])
    else:
        for i in range(count):
            row = out[at + i * lane_step : at + i * lane_step + classes]
            for c in range(classes):
                row[c] = _narrow(strips[c * width + i], row)


@strict
def _holds(scores: Any, top: Any) -> bool:
    """Whether a score is there."""
    found = False
    for i in range(scores.size):
        found |= scores[i] == top
    return found


# --- what is asked for ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """A loss of the softmax family in the kernel's terms.

    `kind` is the function of the label's log-probability and `parameter` its number. Logits are capped, multiplied by
    `scale`, and `shift` is added, one number per class. `margin` changes the label's score: cosine and sine of an
    angle, the cosine from which it applies, and what is subtracted elsewhere. `stray` is the weight of a label that is
    outside the row: 0 where a cost per class is summed.
    """

    kind: int = LIKELIHOOD
    parameter: float = 0.0
    class_weight: Any = None
    shift: Any = None
    smoothing: float = 0.0
    scale: float = 1.0
    soft_cap: float = 0.0
    z_loss: float = 0.0
    margin: tuple[float, float, float, float] | None = None
    stray: float = 1.0


@dataclass(frozen=True)
class Layout:
    """How rows lie in memory: an array (outer, classes, inner) and the step of each axis, in entries."""

    flat: Any
    outer: int
    inner: int
    steps: tuple[int, int, int]
    split: int  # how many axes of the batch are outer ones


class _Memory:
    """Memory as a flat array, whatever the flags of the array that owns it: it is only read."""

    def __init__(self, array: Any, size: int, kind: str) -> None:
        self.owner = array
        self.__array_interface__ = {
            "data": (array.ctypes.data, False),
            "shape": (size,),
            "typestr": kind,
            "version": 3,
        }


def _flat(array: Any, size: int) -> Any:
    kind = array.dtype.str
    if array.dtype == np.float16:
        kind = np.dtype(np.int16).str
    return np.asarray(_Memory(array, size, kind))


def _collapsed(shape: Sequence[int], strides: Sequence[int]) -> int | None:
    """Return the step with which several axes can be walked as one, or None."""
    walked = [(n, step) for n, step in zip(shape, strides, strict=True) if n != 1]
    for (_, step), (n, inner) in itertools.pairwise(walked):
        if step != n * inner:
            return None
    return walked[-1][1] if walked else 0


def layout(array: Any) -> Layout | None:
    """Return how the rows of an array lie in memory, its classes on the last axis; None if it must be copied first."""
    size = array.dtype.itemsize
    if any(step < 0 or step % size for step in array.strides) or not array.flags.aligned or not array.dtype.isnative:
        return None
    *batch, classes = array.shape
    *steps, class_step = (step // size for step in array.strides)
    if array.size == 0:
        return None
    span = 1 + sum((n - 1) * step for n, step in zip(array.shape, (*steps, class_step), strict=True))
    if class_step == 1 or classes == 1:
        step = _collapsed(batch, steps)
        if step is None:
            return None
        return Layout(_flat(array, span), 1, math.prod(batch), (0, 1, step), 0)
    # The classes are not innermost: as many trailing axes of the batch as possible are walked side by side.
    split = len(batch)
    while split and _collapsed(batch[split - 1 :], steps[split - 1 :]) in (0, 1):
        split -= 1
    inner, step = math.prod(batch[split:]), _collapsed(batch[:split], steps[:split])
    if step is None or inner < LEAST_LANES:
        return None
    return Layout(_flat(array, span), math.prod(batch[:split]), inner, (step, class_step, 1), split)


@dataclass(frozen=True)
class Rows:
    """What the kernel gives: a value per row, and what else was asked for, in the shape of the batch."""

    values: Any
    grad: Any
    lse: Any
    entropy: Any
    correct: Any
    suspect: bool


def softmax_rows(
    logits: Any,
    target: Any,
    plan: Plan,
    *,
    dtype: Any,
    weights: Any = None,
    scale: float = 1.0,
    gradient: bool = True,
    outputs: Sequence[str] = (),
    count: int = 0,
    out: Any = None,
) -> Rows:
    """Evaluate a plan on rows of logits, the classes on the last axis.

    Parameters
    ----------
    logits: (..., c) in float32, float64, float16, or in bfloat16 held as uint16; any layout.
    target: (...) indices, or (..., c) distributions.
    plan: what is computed.
    dtype: the type to compute in.
    weights: a factor of each row's gradient, or None; a row with 0 is not looked at: its value and gradient are 0.
    scale: a factor of all gradients.
    gradient: whether the gradient is wanted. It has the type of the logits, and their layout where that is dense.
    outputs: further results by name: ``lse`` (the log-normaliser), ``entropy`` of the softmax, ``correct`` (whether
        the label is the first of the largest scores). Rows with weight 0 have 0.
    count: threads; 0 leaves it to the kernel.
    out: a C-contiguous array for the gradient.
    """
    dtype = np.dtype(dtype)
    batch, classes = logits.shape[:-1], logits.shape[-1]
    place = layout(logits)
    if place is None:
        logits = np.ascontiguousarray(logits)
        place = layout(logits)
    nothing = np.empty(0, dtype)
    rows = math.prod(batch)
    values = np.zeros(rows, dtype)
    further = {name: np.zeros(rows, bool if name == "correct" else dtype) for name in outputs}
    if place is None:  # no rows, or no classes
        grad = np.zeros(logits.shape, logits.dtype) if gradient else None
        return Rows(values.reshape(batch), grad, *_shaped(further, batch), False)
    number = dtype.type
    indexed = target.dtype.kind in "iu" and target.ndim == len(batch)
    labels = np.ascontiguousarray(target, np.int64).reshape(-1) if indexed else np.empty(0, np.int64)
    labels = _flat(labels, labels.size)
    soft, soft_steps = nothing, (0, 0, 0)
    if not indexed:
        target = target.astype(dtype, copy=False)
        found = layout(target)
        if found is None or (found.outer, found.inner, found.split) != (place.outer, place.inner, place.split):
            target = _like(np.ascontiguousarray(target), place, batch)
            found = layout(target)
        assert found is not None
        soft, soft_steps = found.flat, found.steps
    dense = not indexed or plan.smoothing != 0
    short = place.inner > 1 and ((place.steps[2] == 1 and place.steps[1] != 1) or classes < SHORT)

    def per_class(given: Any) -> Any:
        if given is None:
            return nothing
        return np.array(np.broadcast_to(given, (classes,)), dtype)

    factor = np.ones(1, dtype) if weights is None else np.array(weights, dtype).reshape(-1)
    numbers = tuple(
        map(
            number,
            (plan.scale, plan.soft_cap, plan.smoothing, plan.z_loss, plan.parameter, plan.stray, scale),
        )
    )
    margin = tuple(map(number, (1.0, *plan.margin) if plan.margin else (0.0,) * 5))
    grad, flat_grad, grad_steps = _gradient(logits, place, batch, gradient, out)
    common = (labels, soft)
    options = (per_class(plan.class_weight), per_class(plan.shift), factor, int(weights is not None), numbers, margin)
    results = [further.get(name, np.empty(0, bool if name == "correct" else dtype)) for name in _FURTHER]

    if short:
        width = _width(classes, place.inner)
        tiles = place.outer * -(-place.inner // width)

        def run(first: int, last: int) -> Any:
            area = classes * width
            kept = area if plan.soft_cap or plan.smoothing else 0
            scratch = np.empty(area, dtype), np.empty(kept, dtype), np.empty(area, dtype) if dense else None
            return tiled_rows(
                place.flat, place.steps, *common, soft_steps, *options, plan.kind,
                (place.outer, classes, place.inner), width, *scratch,
                np.zeros((_FIELDS, width), dtype), np.zeros((_SUMS, width), dtype), np.zeros((_SUMS, width)),
                values, flat_grad, grad_steps, *results, first, last,
            )  # fmt: skip
    else:
        tiles = rows

        def run(first: int, last: int) -> Any:
            scratch = np.empty(classes, dtype), np.empty(classes, dtype) if dense else None
            return long_rows(
                place.flat, place.steps[2], *common, soft_steps[2], *options, plan.kind,
                classes, *scratch, np.zeros((_FIELDS, 1), dtype), np.zeros((_SUMS, 1)),
                values, flat_grad, *results, first, last,
            )  # fmt: skip

    few = rows * classes < LEAST_SHARED
    suspect = threads.share(run, tiles, 1 if few else count or threads.default_count())
    return Rows(values.reshape(batch), grad, *_shaped(further, batch), bool(suspect))


def _width(classes: int, rows: int) -> int:
    """Return the lanes of a tile: an odd multiple of the least, so that its strips do not share the cache's sets."""
    most = min(MOST_LANES, TILE // classes, rows)
    return LEAST_LANES * (max(1, -(-most // LEAST_LANES)) | 1)


_FURTHER = ("lse", "entropy", "correct")


def _shaped(further: dict[str, Any], batch: tuple[int, ...]) -> tuple[Any, Any, Any]:
    lse, entropy, correct = (further[name].reshape(batch) if name in further else None for name in _FURTHER)
    return lse, entropy, correct


def _like(array: Any, place: Layout, batch: tuple[int, ...]) -> Any:
    """Copy an array into the order of memory that a layout has."""
    if place.steps[1] == 1:
        return array
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, -1, place.split)), place.split, -1)


def _gradient(logits: Any, place: Layout, batch: tuple[int, ...], wanted: bool, out: Any) -> tuple[Any, Any, Any]:
    """Make room for the gradient in the order of the logits: the array, its memory, the steps of its axes."""
    classes = logits.shape[-1]
    kind = np.dtype(np.int16) if logits.dtype == np.float16 else logits.dtype
    if not wanted:
        return None, np.empty(0, kind), (0, 0, 0)
    if place.steps[1] == 1 or classes == 1:
        grad = np.empty(logits.shape, logits.dtype) if out is None else out
        return grad, grad.reshape(-1).view(kind), (0, 1, classes)
    shape = (*batch[: place.split], classes, *batch[place.split :])
    grad = np.empty(shape, logits.dtype)
    steps = (classes * place.inner, place.inner, 1)
    return np.moveaxis(grad, place.split, -1), grad.reshape(-1).view(kind), steps


# --- the losses of the family ---------------------------------------------------------------------------------------


def _evaluate(make: Callable[[Any], Plan | None], call: Any, wanted: Wanted) -> Outcome | None:
    dtype = np.dtype(call.dtype)
    if wanted.order > 1 or dtype.name not in ("float32", "float64"):
        return None
    given, logits, target = call.given[0], call.arrays[0], call.arrays[1]
    if given.ndim != len(call.batch) + 1:  # one row repeated over the batch: its gradients add up
        return None
    if isinstance(given, np.ndarray) and given.dtype == np.float16 and dtype == np.float32:
        logits = given  # widened in registers
    plan = make(call) if logits.size >= least(LEAST) else None
    if plan is None:
        return None
    known = all(allowed.kind == "index" or not allowed.bounded for allowed in call.domains)
    if not known:
        call.check_values()
    target = target[..., 0] if target.dtype.kind in "iu" else target
    target = np.broadcast_to(target, call.batch if target.dtype.kind in "iu" else logits.shape)
    done = softmax_rows(
        logits,
        target,
        plan,
        dtype=dtype,
        weights=wanted.weights,
        scale=wanted.scale,
        gradient=wanted.order == 1,
        count=wanted.threads,
    )
    if done.suspect and known:
        call.check_values()
    values = done.values
    if wanted.weights is not None and wanted.value is not None:
        values = values * wanted.weights
    value = values if wanted.value == "each" else values.sum(dtype=np.float64) if wanted.value == "sum" else None
    return Outcome(value, (done.grad,) if wanted.order else ())


@dataclass(frozen=True)
class RowKernel:
    """The kernel of a loss of the family: the plan it makes of a call, or None where the call is not for it."""

    plan: Callable[[Any], Plan | None]

    def __call__(self, call: Any, wanted: Wanted) -> Outcome | None:
        """Compute a call on NumPy arrays, or return None if it is not for this kernel."""
        return _evaluate(self.plan, call, wanted)


def _numbers(call: Any, *names: str) -> list[float] | None:
    """Return parameters as numbers, or None if one of them is not."""
    found = [call.params[name] for name in names]
    return [float(v) for v in found] if all(isinstance(v, (int, float)) for v in found) else None


def _of_counts(call: Any, formula: Callable[..., Any], number: float) -> Any:
    """Return numbers per class made of class counts; a call on tensors may hold their memory as NumPy sees it."""
    counts = call.arrays[2]
    if isinstance(counts, np.ndarray):
        with np.errstate(divide="ignore", invalid="ignore"):
            return formula(np, counts, number)
    return formula(call.xp, counts, number)


def _shift(xp: Any, counts: Any, tau: float) -> Any:
    return numerics.times(xp, tau * xp.ones_like(counts), xp.log(counts))


@RowKernel
def cross_entropy(call: Any) -> Plan | None:
    """Minus the log-likelihood of a label or a distribution, with every option."""
    numbers = _numbers(call, "label_smoothing", "temperature", "z_loss")
    cap, weight = call.params["soft_cap"], call.params["class_weight"]
    if numbers is None or not isinstance(cap, (int, float, type(None))) or getattr(weight, "ndim", 0) > 1:
        return None
    smoothing, temperature, z_loss = numbers
    return Plan(
        class_weight=weight, smoothing=smoothing, scale=1 / temperature, z_loss=z_loss, soft_cap=cap or 0.0, stray=0.0
    )


@RowKernel
def focal(call: Any) -> Plan | None:
    """Right examples turned down."""
    numbers, weight = _numbers(call, "gamma"), call.params["class_weight"]
    return None if numbers is None or getattr(weight, "ndim", 0) > 1 else Plan(FOCAL, numbers[0], weight)


@RowKernel
def poly(call: Any) -> Plan | None:
    """The first term of the expansion reweighted."""
    numbers = _numbers(call, "epsilon")
    return None if numbers is None else Plan(POLY, numbers[0])


@RowKernel
def power(call: Any) -> Plan | None:
    """A power of the probability in place of its logarithm."""
    numbers = _numbers(call, "q")
    return None if numbers is None else Plan(POWER, numbers[0])


@RowKernel
def adjusted(call: Any) -> Plan | None:
    """Logits shifted by the log of the class counts."""
    numbers = _numbers(call, "tau")
    if numbers is None or call.arrays[2].ndim != 1:
        return None
    return Plan(shift=_of_counts(call, _shift, numbers[0]))


@RowKernel
def balanced(call: Any) -> Plan | None:
    """Classes weighted by their effective number."""
    numbers = _numbers(call, "beta")
    if numbers is None or call.arrays[2].ndim != 1:
        return None
    return Plan(class_weight=_of_counts(call, numerics.effective_number_weights, numbers[0]))


@RowKernel
def angular(call: Any) -> Plan | None:
    """The label's angle enlarged."""
    numbers, easy = _numbers(call, "margin", "scale"), call.params["easy_margin"]
    if numbers is None:
        return None
    margin, scale = numbers
    cos, sin = math.cos(margin), math.sin(margin)
    bounds = (0.0, 0.0) if easy else (-cos, margin * sin)
    return Plan(scale=scale, margin=(cos, sin, *bounds))


@RowKernel
def cosine(call: Any) -> Plan | None:
    """The label's cosine made smaller."""
    numbers = _numbers(call, "margin", "scale")
    if numbers is None:
        return None
    margin, scale = numbers
    return Plan(scale=scale, margin=(1.0, 0.0, math.inf, margin))
