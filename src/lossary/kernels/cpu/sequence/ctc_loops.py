"""The loops of the CTC kernel, in Numba's Python; `sequence.ctc` calls them.

The probability of a thousand frames is far below the smallest number of the machine. It is held as a *scaled number*: a
mantissa near 1 and a power of two, each a double. Sums and products of probabilities are then what they are on paper, a
few instructions each and no logarithm; nothing is lost to underflow however unlikely a path is. The power of a
probability of 0 is -inf.

The states of a target lie in two lattices: the blank after j labels, and the j-th label, of which there is none for
j = 0. Within a frame all states are worked on side by side. Sequences do not depend on each other, so results are the
same for any number of threads. This module is imported only to compile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import from_dtype, njit, types

from lossary.kernels.cpu import math as scalar
from lossary.kernels.cpu.runtime import compile as compiling
from lossary.kernels.cpu.sequence.ctc_spec import LATTICES, CtcVariant
from lossary.kernels.cpu.sizes import CLASSES
from lossary.kernels.cpu.softmax import loops as row_loops

load: Any = scalar.load
store: Any = scalar.store
select: Any = scalar.select
plus: Any = scalar.plus
past: Any = row_loops.past
exp: Any = row_loops.exp
row: Any = row_loops._row
narrow: Any = scalar.narrowed
read: Any = scalar.widened
plain = row_loops.plain

# The arrays of one step are different pieces of memory, which the code need not make sure of.
apart: Callable[[Any], Any] = njit(**compiling.OPTIONS, fastmath={"contract"}, pipeline_class=scalar.Unaliased)

_MAGIC, _MAGIC_BITS = scalar._MAGIC_64, scalar._MAGIC_BITS_64
_FRACTION, _ONE = np.int64(0x000FFFFFFFFFFFFF), np.int64(0x3FF0000000000000)
_LOG2E, _LN2_HIGH, _LN2_LOW = scalar._LOG2E_64, scalar._LN2_HIGH_64, scalar._LN2_LOW_64
_FAR = -1000.0  # a power of two this far below another adds nothing to it
_HUGE = 1e12  # logarithms beyond this are all power and no mantissa


# --- scaled numbers -------------------------------------------------------------------------------------------------


@plain
def _power(n: Any) -> Any:
    """2 to a whole number; 0 where that is very negative or NaN."""
    raised = scalar.from_bits_f64((scalar.bits_f64(n + _MAGIC) - _MAGIC_BITS + np.int64(1023)) << np.int64(52))
    return select(n > _FAR, raised, 0.0)


@plain
def _mantissa(x: Any) -> Any:
    return scalar.from_bits_f64((scalar.bits_f64(x) & _FRACTION) | _ONE)


@plain
def _exponent(x: Any) -> Any:
    whole = (scalar.bits_f64(x) >> np.int64(52)) - np.int64(1023)
    return scalar.from_bits_f64(whole + _MAGIC_BITS) - _MAGIC


@plain
def _higher(a: Any, b: Any) -> Any:
    return select(a > b, a, b)


# --- along the states of one frame ----------------------------------------------------------------------------------


@apart
def _scale(count: int, logs: Any, powers: Any) -> None:
    """Replace logarithms of probabilities by mantissas, and give the powers."""
    scalar.whole_registers()
    for i in range(count):
        x = load(logs, i)
        n = (x * _LOG2E + _MAGIC) - _MAGIC
        r = (x - n * _LN2_HIGH) - n * _LN2_LOW
        huge = abs(x) > _HUGE
        store(logs, i, select(huge, 1.0, scalar._growth_f64(r) * r + 1.0))
        store(powers, i, select(huge, x * _LOG2E, n))


@apart
def _forward(
    count: int,
    blank_m: Any,
    blank_e: Any,
    label_m: Any,
    label_e: Any,
    skip: Any,
    emit_m: Any,
    emit_e: Any,
    rest_m: float,
    rest_e: float,
    next_blank_m: Any,
    next_blank_e: Any,
    next_label_m: Any,
    next_label_e: Any,
) -> None:
    """Beginnings of paths, one frame longer: each state after itself, the one before, or past a blank."""
    scalar.whole_registers()
    for j in range(count):
        bm, be, lm, le = load(blank_m, j), load(blank_e, j), load(label_m, j), load(label_e, j)
        top = _higher(be, le)
        x = (bm * _power(be - top) + lm * _power(le - top)) * rest_m
        store(next_blank_m, j, _mantissa(x))
        store(next_blank_e, j, (top + rest_e) + _exponent(x))
        step_m, step_e = load(blank_m, j - 1), load(blank_e, j - 1)
        skip_m, skip_e = load(label_m, j - 1), load(label_e, j - 1) + load(skip, j)
        top = _higher(_higher(le, step_e), skip_e)
        x = lm * _power(le - top) + step_m * _power(step_e - top) + skip_m * _power(skip_e - top)
        x = x * load(emit_m, j)
        store(next_label_m, j, _mantissa(x))
        store(next_label_e, j, (top + load(emit_e, j)) + _exponent(x))


@apart
def _backward(
    count: int,
    blank_m: Any,
    blank_e: Any,
    label_m: Any,
    label_e: Any,
    skip: Any,
    emit_m: Any,
    emit_e: Any,
    rest_m: float,
    rest_e: float,
    next_blank_m: Any,
    next_blank_e: Any,
    next_label_m: Any,
    next_label_e: Any,
) -> None:
    """Endings of paths, one frame longer."""
    scalar.whole_registers()
    for j in range(count):
        bm, be = load(blank_m, j) * rest_m, load(blank_e, j) + rest_e
        lm, le = load(label_m, j) * load(emit_m, j), load(label_e, j) + load(emit_e, j)
        step_m, step_e = load(label_m, j + 1) * load(emit_m, j + 1), load(label_e, j + 1) + load(emit_e, j + 1)
        skip_e = step_e + load(skip, j + 1)
        top = _higher(be, step_e)
        x = bm * _power(be - top) + step_m * _power(step_e - top)
        store(next_blank_m, j, _mantissa(x))
        store(next_blank_e, j, top + _exponent(x))
        top = _higher(_higher(be, le), skip_e)
        x = bm * _power(be - top) + lm * _power(le - top) + step_m * _power(skip_e - top)
        store(next_label_m, j, _mantissa(x))
        store(next_label_e, j, top + _exponent(x))


@apart
def _through(count: int, begun_m: Any, begun_e: Any, ended_m: Any, ended_e: Any, unit: float, out: Any) -> float:
    """The weight of the paths through each state, in a unit near that of all paths; return their sum."""
    scalar.whole_registers()
    total = 0.0
    for j in range(count):
        power = _power((load(begun_e, j) + load(ended_e, j)) - unit)
        weight = (load(begun_m, j) * load(ended_m, j)) * power
        store(out, j, weight)
        total = plus(total, weight)
    return total


# --- along the classes of one frame ---------------------------------------------------------------------------------


@plain
def _largest(source: Any, lowest: Any) -> Any:
    top = row_loops._ordered(lowest)
    for i in range(source.size):
        here = row_loops._ordered(read(source[i]))
        top = here if here > top else top
    return row_loops._number(top)


@plain
def _sum_of_exponentials(source: Any, base: Any) -> Any:
    """Return the sum of the exponentials below the largest, and how many there are of that."""
    nothing = base - base
    others, tops = nothing, nothing
    for i in range(source.size):
        shifted = read(source[i]) - base
        is_top = shifted == nothing
        term = exp(shifted)
        others = plus(others, select(is_top, nothing, term))
        tops = plus(tops, select(is_top, term, nothing))
    return others, tops


@plain
def _softmax(source: Any, base: Any, factor: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = narrow(exp(read(source[i]) - base) * factor, out)


@plain
def _fill(out: Any, number: Any) -> None:
    for i in range(out.size):
        out[i] = number


# --- the kernel -----------------------------------------------------------------------------------------------------


def object_file(variant: CtcVariant) -> bytes:
    """Compile the kernel of a variant."""
    stored, pointer = from_dtype(np.dtype(variant.stored)), row_loops.pointer_to
    logits, whole, wide = pointer(stored), pointer(types.int64), pointer(types.float64)
    inputs, outputs, scratch = (logits, whole, whole, wide, whole), (wide, logits), (wide, whole)
    signature = types.int32(*inputs, *outputs, *scratch, whole, types.intp, types.intp)
    return compiling.object_file(_sequences(variant), signature)


def _sequences(variant: CtcVariant) -> Callable[..., int]:
    """Evaluate sequences one after the other, in the order given."""
    normalised, double = variant.softmax, variant.number == "float64"
    number = np.dtype(variant.number).type
    lowest, zero = number(-np.inf), number(0)

    def run(
        x_at: Any,
        labels_at: Any,
        lengths_at: Any,
        factor_at: Any,
        order_at: Any,
        values_at: Any,
        grad_at: Any,
        wide_at: Any,
        marks_at: Any,
        sizes: Any,
        start: int,
        stop: int,
    ) -> int:
        batch, frames, symbols, classes = load(sizes, 0), load(sizes, 1), load(sizes, 2), load(sizes, 3)
        x_batch, x_frame, g_batch, g_frame = load(sizes, 4), load(sizes, 5), load(sizes, 6), load(sizes, 7)
        blank, gradient, width = load(sizes, 8), load(sizes, 9), load(sizes, 10)

        # The memory of this thread. A lattice of one frame has a place before its first state and one after its last.
        bases, totals, inverses = wide_at, past(wide_at, frames), past(wide_at, 2 * frames)
        emit_m = past(wide_at, 3 * frames)
        emit_e = past(emit_m, frames * width)
        skip = past(emit_e, frames * width)
        blank_share, label_share, share = past(skip, width), past(skip, 2 * width), past(skip, 3 * width)
        ended = past(skip, 4 * width)
        begun = past(ended, 2 * LATTICES * width)
        spelled, first, seen = marks_at, past(marks_at, width), past(marks_at, 2 * width)
        size = LATTICES * width
        for c in range(classes):
            store(seen, c, -1)

        for turn in range(start, stop):
            n = load(order_at, turn)
            here, goal = load(lengths_at, n), load(lengths_at, batch + n)
            factor = load(factor_at, n)
            x, grad = past(x_at, n * x_batch), past(grad_at, n * g_batch)
            if factor == 0.0:
                store(values_at, n, 0.0)
                if gradient:
                    for t in range(frames):
                        _fill(row(past(grad, t * g_frame), classes), zero)
                continue
            count = goal + 1

            # The target: its classes, the first place of each, and where a blank may be skipped. Place 0 is the blank.
            store(spelled, 0, blank)
            store(skip, 0, -math.inf)
            for j in range(1, count):
                store(spelled, j, load(labels_at, n * symbols + j - 1))
                free = j > 1 and load(spelled, j) != load(spelled, j - 1)
                store(skip, j, 0.0 if free else -math.inf)
            store(skip, count, -math.inf)
            for j in range(count):
                c = load(spelled, j)
                if load(seen, c) < 0:
                    store(seen, c, j)
                store(first, j, load(seen, c))
            for j in range(count):
                store(seen, load(spelled, j), -1)

            # The probability of every state in every frame.
            broken = False
            for t in range(here):
                source = row(past(x, t * x_frame), classes)
                base, log_total, inverse = zero, 0.0, 1.0
                if normalised:
                    top = lowest
                    for low in range(0, classes, CLASSES):
                        top = _largest(source[low : min(low + CLASSES, classes)], top)
                    base = zero if top == lowest else top
                    others, tops = 0.0, 0.0
                    for low in range(0, classes, CLASSES):
                        found = _sum_of_exponentials(source[low : min(low + CLASSES, classes)], base)
                        others, tops = others + found[0], tops + found[1]
                    log_total = scalar.log1p_f64(others + (tops - 1.0))
                    inverse = 1.0 / (others + tops)
                store(bases, t, types.float64(base))
                store(totals, t, log_total)
                store(inverses, t, inverse)
                logs = past(emit_m, t * width)
                for j in range(count):
                    log_p = types.float64(read(source[load(spelled, j)]))
                    if normalised and log_p != -math.inf:
                        log_p = (log_p - load(bases, t)) - log_total
                    broken = broken or log_p != log_p
                    store(logs, j, log_p)
                store(logs, count, -math.inf)
                _scale(count + 1, logs, past(emit_e, t * width))

            # Forwards, from the door of the first blank.
            at = begun
            for lattice in range(2):
                for k in range(LATTICES):
                    for j in range(count + 2):
                        store(past(begun, lattice * size), k * width + j, -math.inf if k % 2 else 1.0)
            store(at, width + 1, 0.0)
            for t in range(here):
                there = past(begun, (t + 1) * size if gradient else (t + 1) % 2 * size)
                _forward(
                    count,
                    past(at, 1),
                    past(at, width + 1),
                    past(at, 2 * width + 1),
                    past(at, 3 * width + 1),
                    skip,
                    past(emit_m, t * width),
                    past(emit_e, t * width),
                    load(emit_m, t * width),
                    load(emit_e, t * width),
                    past(there, 1),
                    past(there, width + 1),
                    past(there, 2 * width + 1),
                    past(there, 3 * width + 1),
                )
                for k in range(LATTICES):
                    store(there, k * width, -math.inf if k % 2 else 1.0)
                at = there
            blank_m, blank_e = load(at, count), load(at, width + count)
            label_m, label_e = load(at, 2 * width + count), load(at, 3 * width + count)
            unit = _higher(blank_e, label_e)
            whole = blank_m * _power(blank_e - unit) + label_m * _power(label_e - unit)
            possible = unit > -math.inf
            value = math.inf
            if broken:
                value = math.nan
            elif possible:
                value = 0.0 - (scalar.log_f64(whole) + unit * _LN2_HIGH + unit * _LN2_LOW)
            store(values_at, n, value)
            if not gradient:
                continue
            unit = unit + _exponent(whole)

            # Backwards, writing the gradient of each frame on the way.
            for t in range(here, frames):
                _fill(row(past(grad, t * g_frame), classes), zero)
            if broken or not possible:
                for t in range(here):
                    _fill(row(past(grad, t * g_frame), classes), number(math.nan) if broken else zero)
                continue
            for lattice in range(2):
                for k in range(LATTICES):
                    for j in range(count + 2):
                        store(past(ended, lattice * size), k * width + j, -math.inf if k % 2 else 1.0)
            store(ended, width + count, 0.0)
            store(ended, 3 * width + count, 0.0)
            for back in range(here):
                t = here - 1 - back
                ending, there = past(ended, back % 2 * size), past(ended, (back + 1) % 2 * size)
                at = past(begun, (t + 1) * size)
                total = _through(
                    count, past(at, 1), past(at, width + 1), past(ending, 1), past(ending, width + 1), unit, blank_share
                )
                blanks = total
                total += _through(
                    count,
                    past(at, 2 * width + 1),
                    past(at, 3 * width + 1),
                    past(ending, 2 * width + 1),
                    past(ending, 3 * width + 1),
                    unit,
                    label_share,
                )
                for j in range(count):
                    store(share, j, 0.0)
                store(share, 0, blanks)
                for j in range(1, count):
                    k = load(first, j)
                    store(share, k, load(share, k) + load(label_share, j))
                source, out = row(past(x, t * x_frame), classes), row(past(grad, t * g_frame), classes)
                if normalised:
                    _softmax(source, number(load(bases, t)), number(load(inverses, t) * factor), out)
                else:
                    _fill(out, zero)
                for j in range(count):
                    if load(first, j) == j:
                        c = load(spelled, j)
                        occupancy = load(share, j) / total
                        derivative = -occupancy
                        if normalised:
                            p = load(emit_m, t * width + j) * _power(load(emit_e, t * width + j))
                            derivative = p - occupancy
                            if double and p > 0.0:
                                log_p = (types.float64(read(source[c])) - load(bases, t)) - load(totals, t)
                                derivative = (1.0 - occupancy) * p + occupancy * scalar.expm1_f64(log_p)
                        out[c] = narrow(number(derivative * factor), out)
                if t:
                    _backward(
                        count,
                        past(ending, 1),
                        past(ending, width + 1),
                        past(ending, 2 * width + 1),
                        past(ending, 3 * width + 1),
                        skip,
                        past(emit_m, t * width),
                        past(emit_e, t * width),
                        load(emit_m, t * width),
                        load(emit_e, t * width),
                        past(there, 1),
                        past(there, width + 1),
                        past(there, 2 * width + 1),
                        past(there, 3 * width + 1),
                    )
        return 0

    return run
