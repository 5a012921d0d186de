"""The loops of the linear-chain CRF kernel, in Numba's Python; `sequence.crf` calls them.

The recursion of the definition, from the end to the beginning and back, in double precision. A step of it is a product
of the exponentials of the transitions, made once, with those of the scores, each row and each step in units of its
largest: multiplications where the definition has exponentials. A row of which that leaves nothing, because scores lie
hundreds apart, is done again in logarithms. Sequences do not depend on each other, so results are the same for any
number of threads. This module is imported only to compile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import from_dtype, types

from lossary.kernels.cpu import math as scalar
from lossary.kernels.cpu.runtime import compile as compiling
from lossary.kernels.cpu.sequence import ctc_loops
from lossary.kernels.cpu.softmax import loops as row_loops

load: Any = scalar.load
store: Any = scalar.store
plus: Any = scalar.plus
past: Any = row_loops.past
row: Any = row_loops._row
apart = ctc_loops.apart

_LEAST = 1e-250  # a sum below this may have lost what it was made of


@apart
def _exponentials(count: int, x: Any, base: float, out: Any) -> float:
    """Write exponentials in units of the largest; return their sum."""
    scalar.whole_registers()
    total = 0.0
    for j in range(count):
        term = scalar.exp_f64(load(x, j) - base)
        store(out, j, term)
        total = plus(total, term)
    return total


@apart
def _product(count: int, a: Any, b: Any) -> float:
    scalar.whole_registers()
    total = 0.0
    for j in range(count):
        total = plus(total, load(a, j) * load(b, j))
    return total


@apart
def _add(count: int, factor: float, a: Any, out: Any) -> None:
    scalar.whole_registers()
    for j in range(count):
        store(out, j, load(out, j) + factor * load(a, j))


@apart
def _multiplied(count: int, factor: float, a: Any, b: Any, out: Any) -> None:
    scalar.whole_registers()
    for j in range(count):
        store(out, j, factor * (load(a, j) * load(b, j)))


@apart
def _sums(count: int, a: Any, b: Any, out: Any) -> None:
    scalar.whole_registers()
    for j in range(count):
        store(out, j, load(a, j) + load(b, j))


@row_loops.plain
def _largest(count: int, x: Any) -> float:
    top = -math.inf
    for j in range(count):
        here = load(x, j)
        top = here if here > top else top
    return top


def object_file(stored_name: str) -> bytes:
    """Compile the kernel for emissions of a type."""
    stored, pointer = from_dtype(np.dtype(stored_name)), row_loops.pointer_to
    scores, whole, wide = pointer(stored), pointer(types.int64), pointer(types.float64)
    inputs, outputs = (scores, whole, whole, wide, whole, wide), (wide, scores, wide)
    signature = types.int32(*inputs, *outputs, wide, whole, types.intp, types.intp)
    return compiling.object_file(_sequences(stored_name), signature)


def _sequences(stored_name: str) -> Callable[..., int]:
    """Evaluate sequences one after the other, in the order given."""
    number = np.dtype(stored_name).type
    zero = number(0)

    def run(
        emissions_at: Any,
        tags_at: Any,
        lengths_at: Any,
        factor_at: Any,
        order_at: Any,
        moves: Any,
        values_at: Any,
        grad_at: Any,
        pairs_at: Any,
        wide_at: Any,
        sizes: Any,
        start: int,
        stop: int,
    ) -> int:
        steps, tags, gradient = load(sizes, 0), load(sizes, 1), load(sizes, 2)
        whole, square = steps * tags, tags * tags
        # Scores of moves, their exponentials in units of the largest of each row, those units, scores of the ends.
        weights, tops = past(moves, square), past(moves, 2 * square)
        first, last = past(tops, tags), past(tops, 2 * tags)
        # For each step: scores with all that may follow, their exponentials, and for each tag before the sum of what
        # follows it, as a number and as a logarithm.
        onward, exponentials = wide_at, past(wide_at, whole)
        leaving, logs = past(wide_at, 2 * whole), past(wide_at, 3 * whole)
        ending, line = past(wide_at, 4 * whole), past(wide_at, 4 * whole + tags)
        marginal, coming = past(wide_at, 4 * whole + 2 * tags), past(wide_at, 4 * whole + 3 * tags)
        terms = past(wide_at, 4 * whole + 4 * tags)

        for turn in range(start, stop):
            n = load(order_at, turn)
            here, factor = load(lengths_at, n), load(factor_at, n)
            emissions, known = past(emissions_at, n * whole), past(tags_at, n * steps)
            grad, pairs = past(grad_at, n * whole), past(pairs_at, n * square)
            if factor == 0.0:
                here = 0
            if gradient:
                ctc_loops._fill(row(past(grad, here * tags), (steps - here) * tags), zero)
                ctc_loops._fill(row(pairs, square), 0.0)
            if here == 0:
                store(values_at, n, 0.0)
                continue

            # From the end to the beginning.
            broken = False
            total_of_first = 0.0
            for j in range(tags):
                store(ending, j, 0.0)
            for back in range(here):
                t = here - 1 - back
                x, w = past(onward, t * tags), past(exponentials, t * tags)
                for j in range(tags):
                    score = types.float64(load(emissions, t * tags + j))
                    if t == 0:
                        score += load(first, j)
                    if t == here - 1:
                        score += load(last, j)
                    broken = broken or not score < math.inf
                    store(x, j, score + load(ending, j))
                top = _largest(tags, x)
                base = top if top > -math.inf else 0.0
                total_of_first = _exponentials(tags, x, base, w)
                if t == 0:
                    break
                for i in range(tags):
                    s = _product(tags, past(weights, i * tags), w)
                    if s > _LEAST:
                        store(ending, i, (scalar.log_f64(s) + load(tops, i)) + base)
                    else:
                        s = 0.0
                        _sums(tags, past(moves, i * tags), x, line)
                        top = _largest(tags, line)
                        log_sum = -math.inf
                        if top > -math.inf:
                            log_sum = top + scalar.log_f64(_exponentials(tags, line, top, terms))
                        store(ending, i, log_sum)
                    store(leaving, t * tags + i, s)
                    store(logs, t * tags + i, load(ending, i))
                top = _largest(tags, ending)
                if top > -math.inf:
                    for i in range(tags):
                        store(ending, i, load(ending, i) - top)

            # The cost of each tag, given the one before it and all that may follow.
            value = 0.0
            for t in range(here):
                x = past(onward, t * tags)
                if t:
                    _sums(tags, past(moves, load(known, t - 1) * tags), x, line)
                else:
                    for j in range(tags):
                        store(line, j, load(x, j))
                top, place = -math.inf, 0
                for j in range(tags):
                    if load(line, j) > top:
                        top, place = load(line, j), j
                chosen = load(line, load(known, t))
                if chosen == -math.inf:
                    value = math.inf
                    continue
                store(line, place, -math.inf)
                value += (top - chosen) + scalar.log1p_f64(_exponentials(tags, line, top, terms))
            store(values_at, n, math.nan if broken else value)
            if not gradient:
                continue
            if broken:
                ctc_loops._fill(row(grad, here * tags), number(math.nan))
                ctc_loops._fill(row(pairs, square), math.nan)
                continue

            # From the beginning to the end: the probability of each tag, and of each pair of neighbours.
            for j in range(tags):
                share = load(exponentials, j) / total_of_first if total_of_first > 0.0 else 0.0
                store(marginal, j, share)
            for t in range(here):
                if t:
                    x, w = past(onward, t * tags), past(exponentials, t * tags)
                    was, now = load(known, t - 1), load(known, t)
                    others = 0.0
                    taken = was * tags + now
                    before = load(pairs, taken)
                    for j in range(tags):
                        store(coming, j, 0.0)
                    for i in range(tags):
                        share, s = load(marginal, i), load(leaving, t * tags + i)
                        if i != was:
                            others += share
                        if share == 0.0:
                            continue
                        if s > 0.0:
                            _multiplied(tags, share / s, past(weights, i * tags), w, line)
                        elif load(logs, t * tags + i) > -math.inf:
                            _sums(tags, past(moves, i * tags), x, line)
                            _exponentials(tags, line, load(logs, t * tags + i), terms)
                            for j in range(tags):
                                store(line, j, share * load(terms, j))
                        else:
                            continue
                        _add(tags, 1.0, line, coming)
                        _add(tags, factor, line, past(pairs, i * tags))
                        if i == was:
                            for j in range(tags):
                                if j != now:
                                    others += load(line, j)
                    # Of the move that was made: minus the probability of all others, which keeps its digits.
                    store(pairs, taken, before - factor * others)
                    for j in range(tags):
                        store(marginal, j, load(coming, j))
                others = 0.0
                was = load(known, t)
                for j in range(tags):
                    share = load(marginal, j)
                    if j != was:
                        others += share
                        store(grad, t * tags + j, number(share * factor))
                store(grad, t * tags + was, number(0.0 - others * factor))
        return 0

    return run
