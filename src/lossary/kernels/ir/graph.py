"""From a definition to straight-line scalar source, by running it on symbols.

A definition is a generator over a namespace `xp`. Here the namespace is one whose numbers are symbols: every operation
enters a graph, in which equal operations are one node. Pulling the generator once per order gives the value, the
gradient and the curvature as nodes; what they need, in order, is the body of the loop of a kernel. So options that
are off, calls into `lossary.numerics`, loops over constants and tuples need no translation: Python has run them. The
names of the definition's locals are read off its frame between the yields, so the source reads like the definition.

A number that is the same for all examples (a parameter, and whatever is made of parameters alone) is *uniform*: it is
computed by Python, once per call and in double precision, as NumPy would, and enters the loop as an argument.

An `if` on such a parameter is decided when the definition is traced, by where the parameter lies among the values at
which the record says that the formula changes (`Loss.corners`): each of these values, and each gap between two of them,
has a kernel of its own if the definition asks for it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lossary import tolerances
from lossary.catalogue import Loss
from lossary.catalogue.domains import Domain
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
_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPARISONS = set(_COMPARED)
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
        return bool(_COMPARED[symbol](0, side) if swapped else _COMPARED[symbol](side, 0))

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


class Namespace:
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
    def function(self: Namespace, *parts: Any) -> Node:
        if len(parts) != count:
            raise UnsupportedError(f"xp.{name} of {len(parts)} arguments has no scalar form")
        return self.graph.node(name, tuple(map(self.graph.number, parts)), "number")

    return function


# What generated source may call: each a function of `lossary.kernels.cpu.math` or its like for another device.
FUNCTIONS = {"exp": 1, "expm1": 1, "log": 1, "log1p": 1, "tanh": 1, "sqrt": 1, "sign": 1, "maximum": 2, "minimum": 2}
FUNCTIONS |= {"lgamma": 1, "digamma": 1, "trigamma": 1}
for _name, _count in FUNCTIONS.items():
    setattr(Namespace, _name, _call(_name, _count))

# What is called instead where the argument is known to lie in a range.
SPECIAL = {
    "exp": ("exp_nonpositive", (-math.inf, 0.0)),
    "expm1": ("expm1_nonpositive", (-math.inf, 0.0)),
    "log1p": ("log1p_fraction", (0.0, 1.0)),
}


def called(node: Node) -> str:
    """Return the function that computes a node: the cheapest that is right for whatever its argument may be."""
    name, suffices = SPECIAL.get(node.operation, ("", ranges.ANYTHING))
    return name if name and ranges.within(node.parts[0].range, suffices) else node.operation


# Names that the template around the loop uses.
_TEMPLATE = """T INF NAN BLOCK PIECE abs where raised floor load store plus types block run uniforms njit entry i first
last length start stop begin end number example_weight derivative_scale factor block_sum suspect sums found values room
either height rows width r j k column label outside counting total count settings numbers weights scratch lanes LANES
moved cleared low inner span part many along tiles ignored"""
RESERVED = frozenset([*_TEMPLATE.split(), *(name for name, _ in SPECIAL.values())])


# --- a definition, traced -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Program:
    """What a kernel computes in its loop, and what Python computes before it."""

    lines: tuple[str, ...]
    arguments: tuple[str, ...]  # of the loss, in its order, that the loop reads
    results: tuple[tuple[str, ...], ...]  # of each order, the variables that hold its results
    uniforms: tuple[tuple[str, str], ...]  # name in the loop, Python expression in the parameters
    functions: tuple[str, ...] = field(default=())


def trace(
    loss: Loss,
    static: Mapping[str, Any],
    uniform: Sequence[str],
    arrays: Sequence[str],
    order: int,
    wanted: set[int],
    regions: Regions = (),
) -> Program:
    """Run a definition on symbols and write down what the wanted orders need.

    `static` parameters are fixed here, `uniform` ones are numbers given at each call, and `arrays` are parameters
    that differ from example to example. `regions` says where uniform ones lie that decide which formula is taken.
    """
    return Writer(loss, _run(loss, static, uniform, arrays, order, regions)[1], wanted).program()


def graph_of(loss: Loss, static: Mapping[str, Any], uniform: Sequence[str], regions: Regions) -> Graph:
    """Return all operations of a definition."""
    return _run(loss, static, uniform, (), loss.derivatives, regions)[0]


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


def _run(
    loss: Loss,
    static: Mapping[str, Any],
    uniform: Sequence[str],
    arrays: Sequence[str],
    order: int,
    regions: Regions = (),
) -> tuple[Graph, list[tuple[Node, ...]]]:
    graph = Graph(regions)
    given = [graph.node("argument", (name,), "number") for name in loss.arguments]
    params: dict[str, Any] = dict(static)
    params |= {name: graph.node("parameter", (name,), "uniform") for name in uniform}
    params |= {name: graph.node("argument", (name,), "number") for name in arrays}
    for node, name in zip(given, loss.arguments, strict=True):
        node.name = name
    for name in (*uniform, *arrays):
        params[name].name = name

    return graph, pulled(graph, lambda: loss.define(Namespace(graph), *given, **params), order)


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


_PRECEDENCE = {"|": 1, "&": 2, **dict.fromkeys(_COMPARISONS, 3), "+": 4, "-": 4, "*": 5, "/": 5, "negative": 6, "~": 6}
ATOM = 9


class Writer:
    """Writes the nodes that results need as assignments, inlining what is used once and has no name."""

    def __init__(self, loss: Loss, orders: list[tuple[Node, ...]], wanted: set[int]) -> None:
        self.loss, self.orders, self.wanted = loss, orders, wanted
        self.uses: dict[int, int] = {}
        self.needed: dict[int, Node] = {}
        self.written: dict[int, str] = {}
        self.taken: set[str] = set(loss.arguments) | set(FUNCTIONS) | RESERVED
        self.uniforms: dict[str, str] = {}
        self.functions: set[str] = set()

    def program(self) -> Program:
        """Return all that is wanted, as the body of one loop."""
        roots = [node for k in sorted(self.wanted) for node in self.orders[k]]
        for root in roots:
            self._count(root)
        lines: list[str] = []
        for at in sorted(self.needed):
            node = self.needed[at]
            if node.operation in ("argument", "constant", "uniform"):
                continue
            if self.uses[at] > 1 or (node.name and node.operation != "negative"):
                text = self._text(node)[0]
                name = self._fresh(node.name or self._title(node))
                self.written[at] = name
                lines.append(f"{name} = {text}")
        results = []
        titles = ("value", "slope", "curve")
        for k in range(len(self.orders)):
            names = []
            for number, node in enumerate(self.orders[k] if k in self.wanted else ()):
                title = titles[k] if k == 0 or len(self.loss.wrt) == 1 else f"{titles[k]}_in_{self.loss.wrt[number]}"
                text = self._text(node)[0]
                if not (node.at in self.written and text == title):
                    title = self._fresh(title)
                    lines.append(f"{title} = {text}")
                names.append(title)
            results.append(tuple(names))
        arguments = [n.parts[0] for n in self.needed.values() if n.operation == "argument"]
        ordered = [name for name in (*self.loss.arguments, *self.loss.defaults) if name in arguments]
        return Program(
            tuple(lines), tuple(ordered), tuple(results), tuple(self.uniforms.items()), tuple(sorted(self.functions))
        )

    def _count(self, node: Node) -> None:
        """Count how often each node is used by what is needed; a stack, for a long series nests deep."""
        stack = [node]
        while stack:
            node = stack.pop()
            self.uses[node.at] = self.uses.get(node.at, 0) + 1
            if node.at in self.needed:
                continue
            self.needed[node.at] = node
            if node.operation != "uniform":
                stack.extend(part for part in node.parts if isinstance(part, Node))

    def _fresh(self, name: str) -> str:
        chosen, number = name, 2
        while chosen in self.taken:
            chosen, number = f"{name}_{number}", number + 1
        self.taken.add(chosen)
        return chosen

    def _title(self, node: Node) -> str:
        words = {"+": "total", "-": "difference", "*": "product", "/": "ratio", "where": "chosen", "abs": "size"}
        return words.get(node.operation, "holds" if node.kind == "truth" else f"{node.operation}_of")

    def _text(self, node: Node, below: int = 0) -> tuple[str, int]:
        """The expression of a node and how tightly it binds, in brackets if the surroundings bind tighter."""
        text, precedence = self._bare(node)
        return (f"({text})", ATOM) if precedence < below else (text, precedence)

    def _bare(self, node: Node) -> tuple[str, int]:
        if node.at in self.written:
            return self.written[node.at], ATOM
        operation, parts = node.operation, node.parts
        if operation == "argument":
            return parts[0], ATOM
        if operation == "constant":
            return literal(parts[0]), ATOM
        if operation == "uniform":
            return self._uniform(parts[0]), ATOM
        if operation == "negative":
            return "-" + self._text(parts[0], 6)[0], 6
        if operation == "~":
            return "not " + self._text(parts[0], 3)[0], 2
        if operation in _PRECEDENCE:
            own = _PRECEDENCE[operation]
            left, right = self._text(parts[0], own + (own == 3))[0], self._text(parts[1], own + 1)[0]
            if operation in "&|":
                left, right = self._text(parts[0], 4)[0], self._text(parts[1], 4)[0]
            return f"{left} {operation} {right}", own
        function = called(node)
        self.functions.add(function)
        return f"{function}({', '.join(self._text(part)[0] for part in parts)})", ATOM

    def _uniform(self, node: Node) -> str:
        expression = _python(node)
        for name, held in self.uniforms.items():
            if held == expression:
                return name
        name = self._fresh(node.name or "uniform")
        self.uniforms[name] = expression
        return name


def literal(x: float) -> str:
    """Return a number of the loop's type as source."""
    if math.isinf(x):
        return "INF" if x > 0 else "-INF"
    return "NAN" if math.isnan(x) else f"T({x!r})"


def _python(x: Any) -> str:
    """A uniform as a Python expression in the parameters."""
    if not isinstance(x, Node):
        return repr(x)
    if x.operation == "parameter":
        return str(x.parts[0])
    if x.operation == "negative":
        return f"(-{_python(x.parts[0])})"
    if x.operation == "abs":
        return f"abs({_python(x.parts[0])})"
    return f"({_python(x.parts[0])} {x.operation} {_python(x.parts[1])})"


# --- what the data must satisfy -------------------------------------------------------------------------------------


def outside(domain: Domain, x: str) -> str:
    """The condition, on a scalar called `x`, of lying outside a domain, as `lossary.evaluate.checks` has it, or "".

    NaN lies in every interval: it is an outcome to be found and named, not a misuse. A kernel excuses what every type
    is excused; a number that is further outside and may be excused for having been made in a coarser type is suspect,
    and looked at by the check itself.
    """
    if not domain.bounded:
        return ""
    if domain.kind == "set":
        return " & ".join(f"({x} != T({v!r}))" for v in domain.values)
    if domain.kind in ("count", "integer"):
        low = f"({x} < T({domain.low!r})) | " if math.isfinite(domain.low) else ""
        return f"{low}({x} != floor({x}))"
    if domain.kind != "interval":
        raise UnsupportedError(f"the domain {domain.text} is checked elsewhere")
    tests = []
    ends = ((domain.low, domain.closed[0], "<", -1), (domain.high, domain.closed[1], ">", 1))
    for bound, closed, beyond, sign in ends:
        if math.isfinite(bound):
            limit = bound + sign * tolerances.LEAST * max(abs(bound), 1.0) if closed else bound
            tests.append(f"({x} {beyond}{'' if closed else '='} T({limit!r}))")
    return " | ".join(tests)
