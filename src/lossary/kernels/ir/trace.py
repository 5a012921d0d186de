"""Tracing: runs a definition on symbols, and returns the nodes that it yields for each order.

A definition is a generator over a namespace `xp`. Here the namespace is one whose numbers are symbols: every operation
enters a graph (`lossary.kernels.ir.graph`). Pulling the generator once per order gives the value, the gradient and the
curvature as nodes. So options that are off, calls into `lossary.numerics`, loops over constants and tuples need no
translation: Python has run them. The names of the definition's locals are read off its frame between the yields, so
emitted source reads like the definition.

A number that is the same for all examples (a parameter, and whatever is made of parameters alone) is *uniform*: Python
computes it once per call and in double precision, as NumPy would, and the kernel takes it as an argument.

An `if` on such a parameter is decided when the definition is traced, by where the parameter lies among the values at
which the record says that the formula changes (`Loss.corners`): each of these values, and each gap between two of them,
has a kernel of its own if the definition asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lossary.catalogue import Loss
from lossary.kernels.ir.graph import Graph, Node, Regions, UnsupportedError


class SymbolNamespace:
    """The namespace `xp` of symbols."""

    inf, pi = math.inf, math.pi

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __getattr__(self, name: str) -> Any:
        raise UnsupportedError(f"xp.{name} has no scalar form")

    def abs(self, x: Any) -> Node:
        """The size."""
        return self.graph.size(x)

    def where(self, condition: Any, yes: Any, no: Any) -> Node:
        """A select; one of two by which is smaller, or by sign of a number and its negative, has a name of its own."""
        if isinstance(condition, bool):
            return self.graph.number(yes if condition else no)
        first, second = self.graph.number(yes), self.graph.number(no)
        if condition.operation == ">=":
            number, bound = condition.parts
            if number is first and bound is self.graph.number(0) and self.graph.negative(first) is second:
                return self.graph.size(first)
            if number is second and bound is first:
                return self.graph.node("minimum", (second, first), "number")
        return self.graph.node("where", (condition, first, second), "number")

    def zeros_like(self, x: Any) -> Node:
        """A zero of the data's type."""
        return self.graph.number(0)

    def ones_like(self, x: Any) -> Node:
        """A one of the data's type."""
        return self.graph.number(1)

    def astype(self, x: Any, like: Any) -> Node:
        """A truth value as 0 or 1; a number already has the data's type."""
        return self.where(x, 1, 0) if x.kind == "truth" else x

    def is_index(self, x: Any) -> bool:
        """Whether this is an array of class indices: not in a pointwise loss."""
        return False

    def isnan(self, x: Node) -> Node:
        """Whether this is not a number."""
        return self.graph.node("!=", (x, x), "truth")

    def isfinite(self, x: Node) -> Node:
        """Whether this is neither infinite nor NaN."""
        return self.graph.finite(x)


def _call(name: str, count: int) -> Callable[..., Node]:
    def function(self: SymbolNamespace, *parts: Any) -> Node:
        if len(parts) != count:
            raise UnsupportedError(f"xp.{name} of {len(parts)} arguments has no scalar form")
        return self.graph.node(name, tuple(map(self.graph.number, parts)), "number")

    return function


# The functions that an emitter must provide, with how many arguments each takes.
FUNCTIONS = {"exp": 1, "expm1": 1, "log": 1, "log1p": 1, "tanh": 1, "sqrt": 1, "sign": 1, "maximum": 2, "minimum": 2}
FUNCTIONS |= {"lgamma": 1, "digamma": 1, "trigamma": 1}
for _name, _count in FUNCTIONS.items():
    setattr(SymbolNamespace, _name, _call(_name, _count))


# --- a definition, traced -------------------------------------------------------------------------------------------


def graph_of(loss: Loss, static: Mapping[str, Any], uniform: Sequence[str], regions: Regions) -> Graph:
    """Return all operations of a definition."""
    return traced(loss, static, uniform, (), loss.derivatives, regions)[0]


def regions_of(loss: Loss, numbers: Mapping[str, Any], names: Iterable[str]) -> Regions:
    """Return the region of each of some parameters that has corners, for the numbers of a call."""
    found = []
    for name in names:
        corners, held = loss.corners.get(name, ()), numbers[name]
        if corners and not isinstance(corners[0], (str, bool)):
            low = max((c for c in corners if c <= held), default=-math.inf)
            high = min((c for c in corners if c >= held), default=math.inf)
            found.append((name, low, high))
    return tuple(found)


# A power with one of these exponents is a few multiplications, so a parameter that is an exponent is fixed at them.
EXPONENTS = (0, 0.5, 1, 2, 3, 4)


def settled(
    graph: Graph | None, numbers: Mapping[str, Any], free: Sequence[str], regions: Regions
) -> tuple[tuple[str, ...], Regions]:
    """Return which of the free parameters stay numbers given at each call, and the regions that matter to a kernel.

    `graph` holds all operations of the definition in these regions; it is None where it has none.
    """
    powers, asked = (powers_of(graph), graph.asked) if graph else ((), frozenset[str]())
    uniform = tuple(name for name in free if not (name in powers and numbers[name] in EXPONENTS))
    return uniform, tuple(region for region in regions if region[0] in asked and region[0] in uniform)


def powers_of(graph: Graph) -> tuple[str, ...]:
    """Which uniform parameters are the exponent of a power in a graph, as they stand."""
    powers = [node.parts[1] for node in graph.nodes.values() if node.operation == "raised"]
    roots = [node.parts[0] for node in powers if node.operation == "uniform" and isinstance(node.parts[0], Node)]
    return tuple({root.parts[0] for root in roots if root.operation == "parameter"})


def traced(
    loss: Loss,
    static: Mapping[str, Any],
    uniform: Sequence[str],
    arrays: Sequence[str],
    order: int,
    regions: Regions = (),
    namespace: type[SymbolNamespace] = SymbolNamespace,
) -> tuple[Graph, list[tuple[Node, ...]]]:
    """Run a pointwise definition on symbols; return the graph, and the nodes of each order.

    `static` parameters are fixed here, `uniform` ones are numbers given at each call, and `arrays` are parameters
    that differ from example to example. `regions` says where uniform ones lie that decide which formula is taken.
    `namespace` is another one where an emitter provides more functions than `FUNCTIONS`.
    """
    graph = Graph(regions)
    given = [graph.node("argument", (name,), "number") for name in loss.arguments]
    params: dict[str, Any] = dict(static)
    params |= {name: graph.node("parameter", (name,), "uniform") for name in uniform}
    params |= {name: graph.node("argument", (name,), "number") for name in arrays}
    for node, name in zip(given, loss.arguments, strict=True):
        node.name = name
    for name in (*uniform, *arrays):
        params[name].name = name

    return graph, pulled(graph, lambda: loss.define(namespace(graph), *given, **params), order)


def pulled(graph: Graph, start: Callable[[], Iterator[Any]], order: int) -> list[tuple[Node, ...]]:
    """Return what a definition that runs on symbols yields, up to an order.

    A symbol has not all that an array has: a definition that asks for more, or that ends early, is left without kernel.
    """
    orders: list[tuple[Node, ...]] = []
    try:
        steps = start()
        for _ in range(order + 1):
            found = next(steps)
            orders.append(tuple(map(graph.number, found if isinstance(found, tuple) else (found,))))
            name_after(steps)
    except (AttributeError, TypeError, StopIteration) as failure:
        raise UnsupportedError(str(failure)) from failure
    return orders


def name_after(steps: Iterator[Any]) -> None:
    """Give nodes the names of the definition's locals."""
    for name, held in steps.gi_frame.f_locals.items():  # type: ignore[attr-defined]
        if isinstance(held, Node) and not held.name and held.operation not in ("constant", "uniform"):
            held.name = name
