"""The graph of scalar operations that a definition describes: nodes, each operation once, simplified as it is built.

Equal operations are one node. A node knows its kind (a number, a truth value, or *uniform*: the same for all examples)
and the interval that holds it whatever the data (`lossary.kernels.ir.ranges`), from which cheaper functions follow.
Nothing here knows a target: an emitter (`lossary.kernels.cpu.emit` for Numba) writes its text.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Literal

from lossary.kernels.ir import ranges

Kind = Literal["number", "truth", "uniform"]


class UnsupportedError(Exception):
    """The definition uses something no kernel can be generated for."""


class Node:
    """One operation on symbols: its name, what it is applied to, what kind of thing it is, and where it lies."""

    __slots__ = ("at", "graph", "kind", "name", "operation", "parts", "range")

    def __init__(self, graph: Graph, operation: str, parts: tuple[Any, ...], kind: Kind, at: int) -> None:
        self.graph, self.operation, self.parts, self.kind, self.at = graph, operation, parts, kind, at
        self.name = ""
        self.range = ranges.after(operation, parts) if kind == "number" else ranges.ANYTHING

    def __bool__(self) -> bool:
        raise UnsupportedError("an `if` on data has no straight-line form")

    def __neg__(self) -> Node:
        return self.graph.negative(self)

    def __abs__(self) -> Node:
        return self.graph.node("abs", (self,), "uniform") if self.kind == "uniform" else self.graph.size(self)

    def __invert__(self) -> Node:
        return self.graph.node("~", (self,), "truth")

    # NumPy must not take an operator over.
    __array_ufunc__ = None
    __hash__ = object.__hash__


def _binary(symbol: str, swapped: bool = False) -> Callable[[Node, Any], Any]:
    def apply(self: Node, other: Any) -> Any:
        a, b = (other, self) if swapped else (self, other)
        return self.graph.binary(symbol, a, b)

    return apply


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**"}.items():
    setattr(Node, f"__{_name}__", _binary(_symbol))
    setattr(Node, f"__r{_name}__", _binary(_symbol, swapped=True))
for _name, _symbol in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Node, f"__{_name}__", _binary(_symbol))
for _name, _symbol in {"and": "&", "or": "|"}.items():
    setattr(Node, f"__{_name}__", _binary(_symbol))
    setattr(Node, f"__r{_name}__", _binary(_symbol, swapped=True))
COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPARISONS = set(COMPARED)
# For each of some parameters, the two neighbouring corners (`Loss.corners`) between which it lies, or the one it is.
Regions = tuple[tuple[str, float, float], ...]


# Divisors whose reciprocal neither overflows nor loses digits.
_HARMLESS = (1.0, 2.0**64)


def _spares_nothing(weight: Node, factor: Node) -> bool:
    """Whether this is the product of `lossary.numerics.times`, in which a weight of 0 gives 0, whatever the factor is.

    There the factor is replaced only where it is not finite; but for the sign of zero the product might always be.
    """
    if factor.operation != "where" or factor.parts[0].operation != "&":
        return False
    condition, zero, x = factor.parts
    graph, lost = weight.graph, condition.parts
    nothing = zero.operation in ("constant", "filled") and zero.parts[0] == 0
    return nothing and lost[0] is graph.binary("==", weight, 0) and lost[1] is ~graph.finite(x)


class Graph:
    """The operations met so far, each once."""

    def __init__(self, regions: Regions = ()) -> None:
        self.nodes: dict[tuple[Any, ...], Node] = {}
        self.regions = {name: (low, high) for name, low, high in regions}
        self.asked: set[str] = set()  # parameters by which the definition has chosen its formula

    def node(self, operation: str, parts: tuple[Any, ...], kind: Kind) -> Node:
        """Return the node of an operation, the one there is if there is one."""
        key = (operation, *(p.at if isinstance(p, Node) else repr(p) for p in parts), kind)
        if key not in self.nodes:
            self.nodes[key] = Node(self, operation, parts, kind, len(self.nodes))
        return self.nodes[key]

    def number(self, x: Any) -> Node:
        """Return something as a number of the data's type: a constant or a uniform takes that type."""
        if isinstance(x, Node):
            if x.kind == "truth":
                raise UnsupportedError("a truth value is used as a number")
            return x if x.kind == "number" else self.node("uniform", (x,), "number")
        if isinstance(x, (bool, int, float)):
            return self.node("constant", (float(x),), "number")
        raise UnsupportedError(f"{type(x).__name__} is not a number")

    def binary(self, symbol: str, a: Any, b: Any) -> Any:
        """Apply an operator."""
        if symbol in "&|":
            if isinstance(a, bool) or isinstance(b, bool):  # what is decided already
                known, other = (a, b) if isinstance(a, bool) else (b, a)
                return other if known == (symbol == "&") else known
            return self.node(symbol, (a, b), "truth")
        if all(not isinstance(p, Node) or p.kind == "uniform" for p in (a, b)):
            if symbol in _COMPARISONS:
                return self.decided(symbol, a, b)
            return self.node(symbol, (a, b), "uniform")
        if symbol == "**":
            return self.power(a, b)
        x, y = self.number(a), self.number(b)
        one = self.number(1)
        if (symbol == "*" and x is one) or (symbol in "*/" and y is one):
            return y if x is one else x
        if symbol == "/" and y.operation == "constant" and y.parts[0] and math.isfinite(y.parts[0]):
            return self.node("*", (x, self.number(1 / y.parts[0])), "number")  # costs half a unit in the last place
        if symbol == "/" and ranges.within(y.range, _HARMLESS) and x is not one:
            return self.node("*", (x, self.node("/", (one, y), "number")), "number")  # which equal divisors share
        if symbol == "*" and _spares_nothing(x, y):
            zero, factor = y.parts[1:]
            return self.node("where", (y.parts[0].parts[0], zero, self.node("*", (x, factor), "number")), "number")
        return self.node(symbol, (x, y), "truth" if symbol in _COMPARISONS else "number")

    def decided(self, symbol: str, a: Any, b: Any) -> bool:
        """Whether a parameter compares so with a constant, wherever it lies in its region."""
        swapped = not isinstance(a, Node)
        node, constant = (b, a) if swapped else (a, b)
        if node.operation != "parameter" or isinstance(constant, Node):
            raise UnsupportedError("an `if` on what follows from parameters")
        name = node.parts[0]
        self.asked.add(name)
        low, high = self.regions.get(name, (-math.inf, math.inf))
        if low < constant < high:
            raise UnsupportedError(f"an `if` that asks whether {name} is {constant}, which is no special value of it")
        # Any number of the region stands for all of them: they lie on the same side of the constant.
        side = 0 if low == high == constant else 1 if constant <= low else -1
        return bool(COMPARED[symbol](0, side) if swapped else COMPARED[symbol](side, 0))

    def power(self, base: Any, exponent: Any) -> Node:
        """A power: by multiplication where the exponent is a small whole number."""
        x = self.number(base)
        if isinstance(exponent, (int, float)):
            if exponent == 0:
                return self.number(1)
            if exponent == 0.5:
                return self.node("sqrt", (x,), "number")
            if exponent in (1, 2, 3, 4):
                result = x
                for _ in range(int(exponent) - 1):
                    result = self.node("*", (result, x), "number")
                return result
        return self.node("raised", (x, self.number(exponent)), "number")

    def negative(self, x: Node) -> Node:
        """Change the sign; twice is not at all."""
        if x.operation == "negative":
            first: Node = x.parts[0]
            return first
        return self.node("negative", (x,), x.kind)

    def size(self, x: Any) -> Node:
        """The size; that of a negated number is that of the number."""
        x = self.number(x)
        return self.node("abs", (x.parts[0] if x.operation == "negative" else x,), "number")

    def finite(self, x: Any) -> Node:
        """Whether a number is neither infinite nor NaN."""
        return self.node("<", (self.size(x), self.number(math.inf)), "truth")


# The cheaper function that suffices where the argument lies in a range.
SPECIAL = {
    "exp": ("exp_nonpositive", (-math.inf, 0.0)),
    "expm1": ("expm1_nonpositive", (-math.inf, 0.0)),
    "log1p": ("log1p_fraction", (0.0, 1.0)),
}


def called(node: Node) -> str:
    """Return the function that computes a node: the cheapest that is right on the whole range of its argument."""
    name, suffices = SPECIAL.get(node.operation, ("", ranges.ANYTHING))
    return name if name and ranges.within(node.parts[0].range, suffices) else node.operation


def python_expression(x: Any) -> str:
    """Return a uniform as a Python expression in the parameters: the host computes it once per call, in float64."""
    if not isinstance(x, Node):
        return repr(x)
    if x.operation == "parameter":
        return str(x.parts[0])
    if x.operation == "negative":
        return f"(-{python_expression(x.parts[0])})"
    if x.operation == "abs":
        return f"abs({python_expression(x.parts[0])})"
    return f"({python_expression(x.parts[0])} {x.operation} {python_expression(x.parts[1])})"
