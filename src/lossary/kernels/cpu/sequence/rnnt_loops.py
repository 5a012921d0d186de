"""The loops of the transducer kernel, in Numba's Python; `sequence.rnnt` calls them.

Each row of logits is read twice: for its sum of exponentials, and, once the alignments are known, for its gradient,
which is written in the same pass. Between lies the lattice of one sequence, a few numbers for each place: the recursion
of the definition, frame by frame instead of diagonal by diagonal, in double precision. Sequences do not depend on each
other, so results are the same for any number of threads. This module is imported only to compile.
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
from lossary.kernels.cpu.sequence.rnnt_spec import KEPT, RnntVariant
from lossary.kernels.cpu.sizes import CLASSES
from lossary.kernels.cpu.softmax import loops as row_loops

load: Any = scalar.load
store: Any = scalar.store
past: Any = row_loops.past
row: Any = row_loops._row
narrow: Any = scalar.narrowed
read: Any = scalar.widened


def object_file(variant: RnntVariant) -> bytes:
    """Compile the kernel of a variant."""
    stored, pointer = from_dtype(np.dtype(variant.stored)), row_loops.pointer_to
    logits, whole, wide = pointer(stored), pointer(types.int64), pointer(types.float64)
    inputs, outputs = (logits, whole, whole, wide, whole), (wide, logits)
    signature = types.int32(*inputs, *outputs, wide, whole, types.intp, types.intp)
    return compiling.object_file(_sequences(variant), signature)


def _sequences(variant: RnntVariant) -> Callable[..., int]:
    """Evaluate sequences one after the other, in the order given."""
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
        sizes: Any,
        start: int,
        stop: int,
    ) -> int:
        batch, frames, places, classes = load(sizes, 0), load(sizes, 1), load(sizes, 2), load(sizes, 3)
        blank, wanted = load(sizes, 4), load(sizes, 5)
        ending = wide_at
        of_places = past(wide_at, places)
        whole = frames * places * classes

        for turn in range(start, stop):
            n = load(order_at, turn)
            here, goal = load(lengths_at, n), load(lengths_at, batch + n)
            factor = load(factor_at, n)
            x, grad = past(x_at, n * whole), past(grad_at, n * whole)
            labels = past(labels_at, n * (places - 1))
            if factor == 0.0:
                store(values_at, n, 0.0)
                if wanted:
                    ctc_loops._fill(row(grad, whole), zero)
                continue

            # What the network expects at each place: log-probabilities of the blank and of the label whose turn it is.
            broken = False
            for t in range(here):
                for u in range(goal + 1):
                    place = t * places + u
                    source = row(past(x, place * classes), classes)
                    top = lowest
                    for low in range(0, classes, CLASSES):
                        top = ctc_loops._largest(source[low : min(low + CLASSES, classes)], top)
                    base = zero if top == lowest else top
                    others, tops = 0.0, 0.0
                    for low in range(0, classes, CLASSES):
                        found = ctc_loops._sum_of_exponentials(source[low : min(low + CLASSES, classes)], base)
                        others, tops = others + found[0], tops + found[1]
                    log_total, inverse = 0.0, 0.0
                    if top != lowest:
                        log_total = scalar.log1p_f64(others + (tops - 1.0))
                        inverse = 1.0 / (others + tops)
                    kept = past(of_places, KEPT * place)
                    store(kept, 0, types.float64(base))
                    store(kept, 1, log_total)
                    store(kept, 2, inverse)
                    broken = broken or log_total != log_total
                    by_label = -math.inf
                    if u < goal:
                        by_label = (types.float64(read(source[load(labels, u)])) - load(kept, 0)) - log_total
                    store(kept, 3, (types.float64(read(source[blank])) - load(kept, 0)) - log_total)
                    store(kept, 4, by_label)

            # From the end to the beginning, in units of the likeliest place of each frame.
            for u in range(goal):
                store(ending, u, -math.inf)
            store(ending, goal, 0.0)
            total = 0.0
            for back in range(here):
                t = here - 1 - back
                unit, right = -math.inf, -math.inf
                for step in range(goal + 1):
                    u = goal - step
                    kept = past(of_places, KEPT * (t * places + u))
                    by_blank, by_label = load(kept, 3) + load(ending, u), load(kept, 4) + right
                    larger = by_blank if by_blank > by_label else by_label
                    blank_share, label_share = 0.0, 0.0
                    if larger > -math.inf:
                        tail = scalar.exp_f64(-abs(by_blank - by_label))
                        blank_share = label_share = 1.0 / (1.0 + tail)
                        if by_blank > by_label:
                            label_share *= tail
                        else:
                            blank_share *= tail
                        larger += scalar.log1p_f64(tail)
                    store(kept, 3, blank_share)
                    store(kept, 4, label_share)
                    store(ending, u, larger)
                    right = larger
                    unit = larger if larger > unit else unit
                if unit > -math.inf:
                    total += unit
                    for u in range(goal + 1):
                        store(ending, u, load(ending, u) - unit)
            # Without a frame only the empty target is possible.
            log_likelihood = load(ending, 0) + total
            possible = log_likelihood > -math.inf
            store(values_at, n, math.nan if broken else 0.0 - log_likelihood)
            if not wanted:
                continue

            # From the beginning to the end: the probability of being at each place, and with it the gradient there.
            if broken or not possible:
                ctc_loops._fill(row(grad, whole), number(math.nan) if broken else zero)
                if not broken:
                    continue
            for u in range(goal + 1):
                store(ending, u, 0.0)
            store(ending, 0, 1.0)
            for t in range(frames):
                arriving = 0.0
                for u in range(places):
                    place = t * places + u
                    source, out = row(past(x, place * classes), classes), row(past(grad, place * classes), classes)
                    if t >= here or u > goal:
                        ctc_loops._fill(out, zero)
                        continue
                    if broken:
                        continue
                    kept = past(of_places, KEPT * place)
                    base, log_total = load(kept, 0), load(kept, 1)
                    blank_share, label_share = load(kept, 3), load(kept, 4)
                    being = load(ending, u) + arriving
                    arriving = being * label_share
                    store(ending, u, being * blank_share)
                    weight = being * factor
                    ctc_loops._softmax(source, number(base), number(load(kept, 2) * weight), out)
                    log_p = (types.float64(read(source[blank])) - base) - log_total
                    derivative = blank_share * scalar.expm1_f64(log_p) + label_share * scalar.exp_f64(log_p)
                    out[blank] = narrow(number(derivative * weight), out)
                    if u < goal:
                        c = load(labels, u)
                        log_p = (types.float64(read(source[c])) - base) - log_total
                        derivative = label_share * scalar.expm1_f64(log_p) + blank_share * scalar.exp_f64(log_p)
                        out[c] = narrow(number(derivative * weight), out)
        return 0

    return run
