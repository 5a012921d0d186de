"""A loss as JavaScript functions: its variants by parameters, and which parameters are arguments at run time.

A number stays symbolic, so that a slider moves it. Where a parameter chooses the formula (a flag, a word, an option
that is None or a number, a special value of `Loss.corners`), there is a function for each choice, with the condition
under which it computes the loss. A parameter that is neither has no slider: `EmittedLoss.refused` says why.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from lossary.catalogue import Loss, get, names
from lossary.kernels.ir import program as pointwise_ir
from lossary.kernels.ir.graph import Regions, UnsupportedError
from lossary.kernels.ir.row_program import row_program
from lossary.kernels.ir.rows import traced_rows
from lossary.kernels.ir.trace import traced
from lossary.kernels.js import emit
from lossary.kernels.js.namespace import PointwiseNamespace, RowsNamespace


@dataclass(frozen=True)
class EmittedLoss:
    """One loss in JavaScript.

    `source` is an array with one entry for each alternative of the signature: a list of ``[condition, function]``, of
    which the first whose condition holds for the parameters computes the loss.
    """

    loss: Loss
    source: str
    free: tuple[str, ...]  # parameters that are numbers at run time
    chosen: Mapping[str, tuple[Any, ...]]  # parameters that choose a function: None, True and False, or words
    refused: Mapping[str, str]  # parameters that are fixed at their defaults, and why


def has_functions(loss: Loss) -> bool:
    """Whether a loss can be emitted: it is one on numbers or on rows, and does not couple a batch."""
    return loss.coupling is None and loss.kernel and all(signature.rank < 2 for signature in loss.signatures)


def emitted_losses() -> tuple[str, ...]:
    """Return the names of all losses of the catalogue that have functions."""
    return tuple(name for name in names() if has_functions(get(name)))


def module() -> str:
    """Return the runtime and all losses as one script, which defines ``LOSSES`` and ``computed``.

    ``computed(name, x, p, alternative)`` is ``[value, gradients, curvatures]`` of one example.
    """
    entries = [f"{json.dumps(name)}: {functions(get(name)).source}" for name in emitted_losses()]
    joined = ",\n".join(entries)
    return f"const LOSSES = (() => {{\n{emit.runtime()}return {{\n{joined}\n}};\n}})();\n{_CALL}"


_CALL = """const computed = (name, x, p, alternative = 0) => {
  for (const [holds, run] of LOSSES[name][alternative]) if (holds(p)) return run(x, p);
  throw new RangeError(`${name}: no formula for ${JSON.stringify(p)}`);
};
"""


@cache
def functions(loss: Loss) -> EmittedLoss:
    """Return a loss in JavaScript; raises `UnsupportedError` for one that `has_functions` does not hold for."""
    if not has_functions(loss):
        raise UnsupportedError(f"{loss.name} is defined on a batch, or on more than a row")
    free, chosen, refused = _sorted_parameters(loss)
    found = [_alternative(loss, alternative, free, chosen, refused) for alternative in range(len(loss.signatures))]
    return EmittedLoss(loss, f"[{', '.join(found)}]", free, chosen, refused)


def _sorted_parameters(loss: Loss) -> tuple[tuple[str, ...], dict[str, tuple[Any, ...]], dict[str, str]]:
    free: list[str] = []
    chosen: dict[str, tuple[Any, ...]] = {}
    refused: dict[str, str] = {}
    for name, default in loss.defaults.items():
        domain, per_class = loss.parameter_domains[name]
        if name == "ignore_index":
            continue  # of a batch: an ignored example has no loss at all
        if per_class:
            refused[name] = "one number for each class, not one number"
        elif domain.kind == "flag":
            chosen[name] = (False, True)
        elif domain.kind == "one of":
            chosen[name] = domain.choices
        elif domain.kind == "set":
            chosen[name] = domain.values
        else:
            free.append(name)
            if default is None:
                chosen[name] = (None,)
    return tuple(free), chosen, refused


def _alternative(
    loss: Loss,
    alternative: int,
    free: Sequence[str],
    chosen: Mapping[str, tuple[Any, ...]],
    refused: Mapping[str, str],
) -> str:
    """The functions of one alternative of the signature, with their conditions."""
    written: list[str] = []
    fixed = {name: loss.defaults[name] for name in refused}
    choices = [(name, (*values, _NUMBER) if name in free else values) for name, values in chosen.items()]
    for picked in itertools.product(*(values for _, values in choices)):
        static = fixed | {n: v for (n, _), v in zip(choices, picked, strict=True) if v is not _NUMBER}
        uniform = [name for name in free if name not in static]
        for regions in _regions(loss, alternative, static, uniform):
            conditions = [_equals(name, static[name]) for name, _ in choices if name in static]
            conditions += [_is_number(name) for name, values in choices if name in free and name not in static]
            conditions += [_within(*region) for region in regions]
            body = _function(loss, alternative, static, uniform, regions)
            written.append(f"[(p) => {' && '.join(conditions) or 'true'}, {body}]")
    joined = ",\n".join(written)
    return f"[{joined}]"


_NUMBER = object()  # stands for a parameter that is a number, where None is a choice too


def _regions(loss: Loss, alternative: int, static: Mapping[str, Any], uniform: Sequence[str]) -> Iterator[Regions]:
    """Yield the regions of parameters in each of which the definition takes one formula."""
    segments = {name: _segments(loss, name) for name in uniform}
    asked: set[str] = set()
    while True:
        splits = [[(name, *segment) for segment in segments[name]] for name in uniform if name in asked]
        before = set(asked)
        for regions in itertools.product(*splits):
            rest = [(name, *segments[name][0]) for name in uniform if name not in asked]
            asked |= _graph(loss, alternative, static, uniform, (*regions, *rest)).asked
        if asked == before:
            yield from itertools.product(*splits)
            return


def _segments(loss: Loss, name: str) -> list[tuple[float, float]]:
    """The special values of a parameter and the gaps between them, as far as they lie in its range."""
    domain = loss.parameter_domains[name][0]
    corners = [float(corner) for corner in loss.corners.get(name, ())]
    found = [(corner, corner) for corner in corners]
    ends = [-math.inf, *corners, math.inf]
    found += [(a, b) for a, b in itertools.pairwise(ends) if b > domain.low and a < domain.high]
    return found


def _graph(loss: Loss, alternative: int, static: Mapping[str, Any], uniform: Sequence[str], regions: Regions) -> Any:
    if loss.signatures[alternative].rank:
        nodes = traced_rows(loss, alternative, static, uniform, (), loss.derivatives, regions, RowsNamespace)
        return nodes[0][0].graph
    return traced(loss, static, uniform, (), loss.derivatives, regions, PointwiseNamespace)[0]


def _function(loss: Loss, alternative: int, static: Mapping[str, Any], uniform: Sequence[str], regions: Regions) -> str:
    signature, highest = loss.signatures[alternative], loss.derivatives
    if not signature.rank:
        orders = set(range(highest + 1))
        program = pointwise_ir.pointwise(
            loss, static, uniform, (), highest, orders, regions, emit.RESERVED, PointwiseNamespace
        )
        return emit.pointwise(program, loss.arguments, uniform)
    orders_of_rows = tuple(range(1, highest + 1))
    on_rows = row_program(
        loss, alternative, static, uniform, (), orders_of_rows, True, regions, emit.RESERVED, namespace=RowsNamespace
    )
    cores = dict(zip(loss.arguments, signature.inputs, strict=True))
    width = next(at for at, core in enumerate(signature.inputs) if core)
    return emit.rows(on_rows, loss.arguments, uniform, width, [bool(cores[name]) for name in loss.wrt], highest)


# --- conditions -------------------------------------------------------------------------------------------------------


def _of(name: str) -> str:
    return f"p[{json.dumps(name)}]"


def _equals(name: str, held: Any) -> str:
    return f"({_of(name)} ?? null) === null" if held is None else f"{_of(name)} === {json.dumps(held)}"


def _is_number(name: str) -> str:
    return f"({_of(name)} ?? null) !== null"


def _within(name: str, low: float, high: float) -> str:
    if low == high:
        return f"{_of(name)} === {emit.number(low)}"
    return f"{_of(name)} > {emit.number(low)} && {_of(name)} < {emit.number(high)}"
