"""The loops of the softmax kernel, in Numba's Python; `softmax.host` calls them.

A row of logits is read from memory once. Its scores (scaled, capped, shifted, with a margin on the label's) go into a
piece of scratch that stays in the cache; there the exponentials replace them, and from there the gradient is written.
All options meet in one place: what differs between losses is a handful of numbers for each row, made by `_labelled` or
`_distributed`, never a loop over the classes.

Long rows are worked through one at a time, along the classes. Where rows are short, or the classes are not the fastest
axis in memory, many rows go side by side (a *tile*, classes by lanes), and loops run along the lanes. In both cases a
row's result depends on that row alone, so it is the same for any number of threads.

Accuracy is that of the definitions in `lossary.numerics`: the log-normaliser is taken by `log1p` of everything but the
largest term, and ``1 - p`` of the largest class as what the others leave of it. NaN stays in its row, a logit of -inf
is a class that is masked out, and a row whose factor is 0 is skipped.

What a kernel can do is fixed when it is made (`SoftmaxVariant`): code that a loss has no use for is not compiled. This
module is imported only to compile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, from_dtype, njit, types
from numba.np import arrayobj

from lossary.kernels.cpu import math as scalar
from lossary.kernels.cpu.runtime import compile as compiling
from lossary.kernels.cpu.sizes import CLASSES, STRIPS
from lossary.kernels.cpu.softmax.spec import (
    CLASSES_AT,
    FIELDS,
    FOCAL,
    GRAD_STEPS,
    INNER_AT,
    LIKELIHOOD,
    LOGIT_STEPS,
    POLY,
    POWER,
    SUMS,
    TARGET_STEPS,
    WEIGHTED_AT,
    WIDTH_AT,
    SoftmaxVariant,
)

_Decorator = Callable[[Any], Any]
intrinsic: _Decorator = extending.intrinsic
overload: Any = extending.overload
arrays: Any = arrayobj
pointer_to: Any = types.CPointer
load: Any = scalar.load
plus: Any = scalar.plus
select: Any = scalar.select
widened: Any = scalar.widened
narrowed: Any = scalar.narrowed

# Contraction (a * b + c in one rounding) is the only licence given to the compiler; where a sum may be taken in any
# order, `plus` says so on the spot. Nothing is assumed of NaN, infinities or the sign of zero.
plain: _Decorator = njit(**compiling.OPTIONS, fastmath={"contract"})
# The same expressions give the same bits wherever they stand: an index and its one-hot row agree exactly.
strict: _Decorator = njit(**compiling.OPTIONS)
inlined: _Decorator = njit(**compiling.OPTIONS, forceinline=True)  # what only names the arguments of a kernel


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
        out[i] = widened(source[i])


@plain
def _cap(out: Any, cap: Any) -> None:
    for i in range(out.size):
        out[i] = cap * tanh(out[i] / cap)


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
        tail = exp(-two * abs(widened(source[i]) / cap))
        half = two / (one + tail)
        held = out[i]
        # A gradient of exactly 0 stays 0: under a mask the logit may be NaN, and its slope with it.
        out[i] = held * (tail * half * half) if held != 0 else held


@plain
def _store(source: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = narrowed(source[i], out)


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
        targets[i] = remaining * targets[i] + select(widened(logits[i]) != -np.inf, share, nothing)


@plain
def _count(source: Any) -> int:
    """How many classes are not at -inf."""
    count = 0
    for i in range(source.size):
        count += widened(source[i]) != -np.inf
    return count


@plain
def _times(exponentials: Any, factor: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = narrowed(exponentials[i] * factor, out)


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
(TERM, P, NOT_P, LOG_P, VALUE, SLOPE, DRIFT, ACROSS, OWN, TOTAL, SHARE) = range(10, FIELDS)
# Sums over the classes, in double precision.
(OTHERS, TOPS, COSTS, LIVE, APART, SPREAD, COUNT) = range(SUMS)


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

    A label out of range costs nothing: it is as if it were certain.
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
def _likelihood(lanes: Any, count: int, _: Any) -> None:
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
    """The cost ``w (-log p + epsilon (1 - p))``, and its slope in ``log p``."""
    probability, complement, logarithm = lanes[P, :count], lanes[NOT_P, :count], lanes[LOG_P, :count]
    weight, cost, slope = lanes[WEIGHT, :count], lanes[VALUE, :count], lanes[SLOPE, :count]
    one = cost.dtype.type(1)
    for i in range(count):
        cost[i] = weight[i] * (epsilon * complement[i] - logarithm[i])
        slope[i] = weight[i] * (-one - epsilon * probability[i])


@strict
def _power(lanes: Any, count: int, q: Any) -> None:
    """The cost ``w (1 - p^q) / q``, and its slope in ``log p``."""
    logarithm, weight = lanes[LOG_P, :count], lanes[WEIGHT, :count]
    cost, slope = lanes[VALUE, :count], lanes[SLOPE, :count]
    for i in range(count):
        cost[i] = weight[i] * (-expm1(q * logarithm[i]) / q)
        slope[i] = weight[i] * -exp(q * logarithm[i])


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


# What a label costs, by the function of its log-probability.
_COST_OF_LABEL = {LIKELIHOOD: _likelihood, FOCAL: _focal, POLY: _poly, POWER: _power}


@strict
def _slopes(lanes: Any, count: int) -> None:
    """From the slope in the label's log-probability to the factor of all exponentials, and the label's gradient."""
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
    cos, sin, threshold, drop = margin
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
def _find(labels: Any, step: int, classes: int, scores: Any, class_weight: Any, lanes: Any) -> None:
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
            weight[i] = one if inside else nothing


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
                out[c * width + i] = widened(row[c])


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
                row[c] = narrowed(strips[c * width + i], row)


@strict
def _holds(scores: Any, top: Any) -> bool:
    """Whether a score is there."""
    found = False
    for i in range(scores.size):
        found |= scores[i] == top
    return found


# --- memory ---------------------------------------------------------------------------------------------------------


@intrinsic
def _row(typing: Any, pointer: Any, size: Any) -> Any:
    """An array of so many numbers where a pointer points."""
    kind = types.Array(pointer.dtype, 1, "C")

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = arrays.make_array(kind)(context, builder)
        step = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(pointer.dtype)))
        arrays.populate_array(made, arguments[0], [arguments[1]], [step], step, None)
        return made._getvalue()

    return kind(pointer, types.intp), build


@intrinsic
def past(typing: Any, pointer: Any, count: Any) -> Any:
    """A pointer moved on by so many numbers."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.intp), build


@intrinsic
def _rows(typing: Any, pointer: Any, count: Any, size: Any) -> Any:
    """An array of so many rows of so many numbers where a pointer points."""
    kind = types.Array(pointer.dtype, 2, "C")

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = arrays.make_array(kind)(context, builder)
        step = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(pointer.dtype)))
        stride = builder.mul(step, arguments[2])
        arrays.populate_array(made, arguments[0], arguments[1:], [stride, step], step, None)
        return made._getvalue()

    return kind(pointer, types.intp, types.intp), build


# --- kernels --------------------------------------------------------------------------------------------------------


def object_file(variant: SoftmaxVariant) -> bytes:
    """Compile the kernel of a variant."""
    numbers, logits, targets = (
        pointer_to(from_dtype(np.dtype(kind))) for kind in (variant.number, variant.stored, variant.soft)
    )
    whole, wide, truth = pointer_to(types.int64), pointer_to(types.float64), pointer_to(types.uint8)
    inputs = (logits, whole, targets, numbers, numbers, numbers)
    outputs = (numbers, logits, numbers, numbers, truth)
    scratch = (numbers, numbers, wide)
    signature = types.int32(*inputs, *outputs, *scratch, numbers, whole, types.intp, types.intp)
    return compiling.object_file((_tiled if variant.tiled else _long)(variant), signature)


# `_long` and `_tiled` take the same 18 arguments. Arrays are pointers, absent ones of length 0 (`_arrays`).
#
# | argument          | what it points to                                                                              |
# |-------------------|------------------------------------------------------------------------------------------------|
# | `x_at`            | logits as stored, (outer, classes, inner) with the steps `LOGIT_STEPS`                         |
# | `labels_at`       | a class index for each row, or absent                                                          |
# | `targets_at`      | soft targets as stored, with the steps `TARGET_STEPS`, or absent                               |
# | `class_weight_at` | a number for each class, or absent                                                             |
# | `shift_at`        | a number for each class that is added to the scores, or absent                                 |
# | `factor_at`       | the weight of each row's gradient, or one for all; a row with 0 has value and gradient 0       |
# | `values_at`       | out: the value of each row                                                                     |
# | `grad_at`         | out: the gradient as the logits are stored, with the steps `GRAD_STEPS`, or absent             |
# | `lse_at`          | out: the log-normaliser of each row, or absent                                                 |
# | `entropy_at`      | out: the entropy of each row's softmax, or absent                                              |
# | `correct_at`      | out: whether the label is the first of the largest scores, or absent                           |
# | `strips_at`       | scratch: `STRIP_ROOM` numbers for each class and lane: scores, costs, logits as they came      |
# | `lanes_at`        | scratch: `FIELDS` numbers for each lane, and the partial sums of a tile                        |
# | `sums_at`         | scratch: `SUMS` sums over the classes for each lane, in double precision                       |
# | `numbers`         | scale, soft cap, smoothing, z_loss, parameter, scale of all gradients, four of the margin      |
# | `sizes`           | the whole numbers of the call, by the places that `softmax.spec` names                         |
# | `start`, `stop`   | the first row (`_long`) or tile (`_tiled`) of this share, and the one after the last           |


@inlined
def _arrays(
    x_at: Any,
    labels_at: Any,
    targets_at: Any,
    class_weight_at: Any,
    shift_at: Any,
    factor_at: Any,
    values_at: Any,
    grad_at: Any,
    lse_at: Any,
    entropy_at: Any,
    correct_at: Any,
    sizes: Any,
) -> Any:
    """The arrays of a call, of the lengths that stand first in `sizes`."""
    return (
        _row(x_at, load(sizes, 0)),
        _row(labels_at, load(sizes, 1)),
        _row(targets_at, load(sizes, 2)),
        _row(class_weight_at, load(sizes, 3)),
        _row(shift_at, load(sizes, 4)),
        _row(factor_at, load(sizes, 5)),
        _row(values_at, load(sizes, 6)),
        _row(grad_at, load(sizes, 7)),
        _row(lse_at, load(sizes, 8)),
        _row(entropy_at, load(sizes, 9)),
        _row(correct_at, load(sizes, 10)),
    )


@inlined
def _scalars(numbers: Any) -> Any:
    """Scale, cap, smoothing, z_loss, the cost's parameter, the scale of all gradients, and the margin."""
    margin = load(numbers, 6), load(numbers, 7), load(numbers, 8), load(numbers, 9)
    scale, cap, smoothing, z_loss = load(numbers, 0), load(numbers, 1), load(numbers, 2), load(numbers, 3)
    return scale, cap, smoothing, z_loss, load(numbers, 4), load(numbers, 5), margin


@inlined
def _three(sizes: Any, at: int) -> Any:
    return load(sizes, at), load(sizes, at + 1), load(sizes, at + 2)


def _long(variant: SoftmaxVariant) -> Callable[..., int]:
    """Evaluate rows whose classes are contiguous, one after the other; return whether a label is out of range."""
    labelled, costly, capped = not variant.costs, variant.costs, variant.capped
    with_margin, further, cost_of_label = variant.margin, variant.further, _COST_OF_LABEL[variant.kind]

    def run(
        x_at: Any,
        labels_at: Any,
        targets_at: Any,
        class_weight_at: Any,
        shift_at: Any,
        factor_at: Any,
        values_at: Any,
        grad_at: Any,
        lse_at: Any,
        entropy_at: Any,
        correct_at: Any,
        strips_at: Any,
        lanes_at: Any,
        sums_at: Any,
        numbers: Any,
        sizes: Any,
        start: int,
        stop: int,
    ) -> int:
        x, labels, targets, class_weight, shift, factor, values, grad, lse, entropy, correct = _arrays(
            x_at,
            labels_at,
            targets_at,
            class_weight_at,
            shift_at,
            factor_at,
            values_at,
            grad_at,
            lse_at,
            entropy_at,
            correct_at,
            sizes,
        )
        scale, cap, smoothing, z_loss, parameter, common, margin = _scalars(numbers)
        classes, factor_step = load(sizes, CLASSES_AT), load(sizes, WEIGHTED_AT)
        x_step, target_step = load(sizes, LOGIT_STEPS + 2), load(sizes, TARGET_STEPS + 2)
        scores, costs = _row(strips_at, classes), _row(past(strips_at, classes), classes)
        lanes, sums = _rows(lanes_at, FIELDS, 1), _rows(sums_at, SUMS, 1)
        suspect = 0
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
            for low in range(0, classes, CLASSES):
                high = min(low + CLASSES, classes)
                piece = scores[low:high]
                _take(source[low:high], piece)
                if capped:
                    _cap(piece, cap)
                if scale != one:
                    _multiply_all(piece, scale)
                if shift.size:
                    _add(piece, shift[low:high])
                here = _largest(piece)
                top = top if here <= top else here
            if labelled:
                own = labels[row : row + 1]
                _find(own, 1, classes, scores, class_weight, lanes)
                if with_margin:
                    _set_back(own, 1, classes, scores, scale, margin, lanes)
                    top = _largest(scores)
            base = nothing if top == -np.inf else top
            lanes[BASE, 0] = base

            if costly:
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
                for low in range(0, classes, CLASSES):
                    high = min(low + CLASSES, classes)
                    found = _cost_of(scores[low:high], costs[low:high], base)
                    total, live, apart = total + found[0], live + found[1], apart + found[2]
                sums[COSTS, 0], sums[LIVE, 0], sums[APART, 0] = total, live, apart
            spread = 0.0
            if further:
                if correct.size:
                    k = labels[row]
                    right = 0 <= k < classes and scores[k] == top
                    if right:
                        right = not _holds(scores[:k], top)
                    correct[row] = right
                if entropy.size:
                    for low in range(0, classes, CLASSES):
                        spread += _spread_of(scores[low : min(low + CLASSES, classes)], base)

            others, tops = 0.0, 0.0
            for low in range(0, classes, CLASSES):
                part = _exponentials(scores[low : min(low + CLASSES, classes)], base)
                others, tops = others + part[0], tops + part[1]
            sums[OTHERS, 0], sums[TOPS, 0] = others, tops
            _normalise(lanes, sums, 1)
            if further:
                if entropy.size:
                    entropy[row] = values.dtype.type(spread) * lanes[INVERSE, 0] + lanes[LOG_TOTAL, 0]
                if lse.size:
                    lse[row] = lanes[LSE, 0]
            if labelled:
                _at_label(lanes, 1)
                cost_of_label(lanes, 1, parameter)
                _drift(lanes, 1, z_loss)
                _clear(lanes, 1)
                _slopes(lanes, 1)
            else:
                _distributed(lanes, sums, 1, z_loss)
            values[row] = lanes[VALUE, 0]

            if grad.size:
                out = grad[row * classes : (row + 1) * classes]
                k = -1
                if labelled:
                    k = labels[row] if lanes[PRESENT, 0] != nothing else -1
                for low in range(0, classes, CLASSES):
                    high = min(low + CLASSES, classes)
                    piece = scores[low:high]
                    if labelled:
                        if not capped:
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
                    if capped:
                        _times_slope_of_cap(source[low:high], piece, cap)
                    _store(piece, out[low:high])
                if not capped and k >= 0:
                    out[k] = narrowed(lanes[OWN, 0], out)
        return suspect

    return run


def _tiled(variant: SoftmaxVariant) -> Callable[..., int]:
    """Evaluate rows side by side; return whether a label is out of range.

    An array of shape (outer, classes, inner) has a step for each of these axes.
    """
    labelled, costly, capped = not variant.costs, variant.costs, variant.capped
    keeps = variant.capped or variant.costs  # the logits as they came are needed again
    with_margin, further, cost_of_label = variant.margin, variant.further, _COST_OF_LABEL[variant.kind]

    def run(
        x_at: Any,
        labels_at: Any,
        targets_at: Any,
        class_weight_at: Any,
        shift_at: Any,
        factor_at: Any,
        values_at: Any,
        grad_at: Any,
        lse_at: Any,
        entropy_at: Any,
        correct_at: Any,
        strips_at: Any,
        lanes_at: Any,
        sums_at: Any,
        numbers: Any,
        sizes: Any,
        start: int,
        stop: int,
    ) -> int:
        x, labels, targets, class_weight, shift, factor, values, grad, lse, entropy, correct = _arrays(
            x_at,
            labels_at,
            targets_at,
            class_weight_at,
            shift_at,
            factor_at,
            values_at,
            grad_at,
            lse_at,
            entropy_at,
            correct_at,
            sizes,
        )
        scale, cap, smoothing, z_loss, parameter, common, margin = _scalars(numbers)
        classes, inner, width = load(sizes, CLASSES_AT), load(sizes, INNER_AT), load(sizes, WIDTH_AT)
        factor_step = load(sizes, WEIGHTED_AT)
        x_steps, target_steps = _three(sizes, LOGIT_STEPS), _three(sizes, TARGET_STEPS)
        grad_steps = _three(sizes, GRAD_STEPS)
        area = classes * width
        scores, costs = _row(strips_at, area), _row(past(strips_at, area), area)
        logits = _row(past(strips_at, 2 * area), area if keeps and (capped or smoothing != 0) else 0)
        lanes, part = _rows(lanes_at, FIELDS, width), _rows(past(lanes_at, FIELDS * width), SUMS, width)
        sums = _rows(sums_at, SUMS, width)
        suspect = 0
        nothing, one = values.dtype.type(0), values.dtype.type(1)
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
            if capped:
                _cap(scores, cap)
            if scale != one:
                _multiply_all(scores, scale)
            if shift.size:
                for c in range(classes):
                    _add_to_all(scores[c * width : c * width + count], shift[c])
            if labelled:
                _find(own, width, classes, scores, class_weight, lanes)
                if with_margin:
                    _set_back(own, width, classes, scores, scale, margin, lanes)
            base = lanes[BASE, :count]
            _fill(base, values.dtype.type(-np.inf))
            for c in range(classes):
                _largest_lanes(scores[c * width : c * width + count], base)
            if further and correct.size:
                for i in range(count):
                    k = labels[first + i]
                    right = 0 <= k < classes and scores[k * width + i] == base[i]
                    for c in range(k if right else 0):
                        right = right and scores[c * width + i] != base[i]
                    correct[first + i] = right
            _ground(base)
            for field in range(SUMS if costly or further else 2):  # the first two are always needed
                _erase(part[field, :count])
                _erase(sums[field, :count])
            if costly:
                if not targets.size:
                    _erase(costs)
                    _fill(lanes[RATE, :count], one)
                    _put(own, width, classes, lanes[RATE], costs)
                else:
                    steps = target_steps
                    _gather(
                        targets, block * steps[0] + low * steps[2], steps[1], steps[2], costs, width, classes, count
                    )
                if smoothing != nothing:
                    for c in range(classes):
                        _count_lanes(logits[c * width : c * width + count], sums[COUNT, :count])
                    for i in range(count):
                        allowed = values.dtype.type(sums[COUNT, i])
                        lanes[SHARE, i] = smoothing / allowed if allowed != nothing else nothing
                for c in range(classes):
                    strip = costs[c * width : c * width + count]
                    if smoothing != nothing:
                        _smooth_lanes(
                            strip, logits[c * width : c * width + count], one - smoothing, lanes[SHARE, :count]
                        )
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
            if further and entropy.size:
                for c in range(classes):
                    _spread_lanes(scores[c * width : c * width + count], base, part[SPREAD, :count])
                    if c % STRIPS == STRIPS - 1 or c == classes - 1:
                        _flush(part[SPREAD, :count], sums[SPREAD, :count])
            for c in range(classes):
                _exponentials_lanes(
                    scores[c * width : c * width + count], base, part[OTHERS, :count], part[TOPS, :count]
                )
                if c % STRIPS == STRIPS - 1 or c == classes - 1:
                    _flush(part[OTHERS, :count], sums[OTHERS, :count])
                    _flush(part[TOPS, :count], sums[TOPS, :count])
            _normalise(lanes, sums, count)
            if labelled:
                _at_label(lanes, count)
                cost_of_label(lanes, count, parameter)
                _drift(lanes, count, z_loss)
                _clear(lanes, count)
                _slopes(lanes, count)
            else:
                _distributed(lanes, sums, count, z_loss)
            _take(lanes[VALUE, :count], values[first : first + count])
            if further:
                if lse.size:
                    _take(lanes[LSE, :count], lse[first : first + count])
                if entropy.size:
                    for i in range(count):
                        spread = values.dtype.type(sums[SPREAD, i])
                        entropy[first + i] = spread * lanes[INVERSE, i] + lanes[LOG_TOTAL, i]

            if grad.size:
                for c in range(classes):
                    strip = scores[c * width : c * width + count]
                    if labelled:
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
                if labelled:
                    _put(own, width, classes, lanes[OWN], scores)
                if capped:
                    for c in range(classes):
                        at = c * width
                        _times_slope_of_cap(logits[at : at + count], scores[at : at + count], cap)
                at = block * grad_steps[0] + low * grad_steps[2]
                _scatter(scores, width, classes, count, grad, at, grad_steps[1], grad_steps[2])
        return suspect

    return run
