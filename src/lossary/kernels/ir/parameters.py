"""Which parameters of a call are fixed in its kernel, and which are numbers given at each call."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from lossary.catalogue import Loss
from lossary.kernels.ir import trace
from lossary.kernels.ir.graph import Graph, Regions, UnsupportedError
from lossary.kernels.ir.rows import traced_rows

# Parameters that are fixed, with their values; the names of those that are given; the regions in which these lie.
Settled = tuple[tuple[tuple[str, Any], ...], tuple[str, ...], Regions]


def of_pointwise(loss: Loss, numbers: Mapping[str, Any]) -> Settled:
    """Return how the parameters of a call of a pointwise loss, arrays apart, enter its kernel: numbers are given."""
    free = tuple(
        name for name, held in numbers.items() if isinstance(held, (int, float)) and not isinstance(held, bool)
    )
    fixed = tuple((name, value) for name, value in numbers.items() if name not in free)
    regions = trace.regions_of(loss, numbers, free)
    return _settled(_pointwise_graph(loss, fixed, free, regions), numbers, free, regions)


def of_rows(loss: Loss, alternative: int, numbers: Mapping[str, Any], arrays: tuple[str, ...]) -> Settled:
    """Return how the parameters of a call of a loss on rows, arrays apart, enter its kernel.

    An option at its default, mostly off, and a choice between forms are fixed.
    """
    free = tuple(name for name, held in numbers.items() if _is_free(loss, name, held))
    fixed = tuple((name, value) for name, value in numbers.items() if name not in free)
    regions = trace.regions_of(loss, numbers, free)
    return _settled(_row_graph(loss, alternative, fixed, free, arrays, regions), numbers, free, regions)


def _settled(graph: Graph | None, numbers: Mapping[str, Any], free: tuple[str, ...], regions: Regions) -> Settled:
    uniform, regions = trace.settled(graph, numbers, free, regions)
    return tuple((name, value) for name, value in numbers.items() if name not in uniform), uniform, regions


def _is_free(loss: Loss, name: str, held: Any) -> bool:
    return (
        isinstance(held, float) and held != loss.defaults[name] and loss.parameter_domains[name][0].kind == "interval"
    )


@cache
def _pointwise_graph(
    loss: Loss, static: tuple[tuple[str, Any], ...], uniform: tuple[str, ...], regions: Regions
) -> Graph | None:
    try:
        return trace.graph_of(loss, dict(static), uniform, regions)
    except UnsupportedError:
        return None


@cache
def _row_graph(
    loss: Loss,
    alternative: int,
    static: tuple[tuple[str, Any], ...],
    uniform: tuple[str, ...],
    arrays: tuple[str, ...],
    regions: Regions,
) -> Graph | None:
    try:
        orders = traced_rows(loss, alternative, dict(static), uniform, arrays, loss.derivatives, regions)
    except UnsupportedError:
        return None
    return orders[0][0].graph
