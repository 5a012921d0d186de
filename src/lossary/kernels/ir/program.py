"""Straight-line programs: the nodes that results need, as assignments of expressions to names, for any target.

A program names what is used more than once or what the definition names; everything else stands where it is used. An
emitter prints its expressions in the target's syntax and puts a loop around them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossary.catalogue import Loss
from lossary.kernels.ir.graph import SPECIAL, Node, Regions, called, python_expression
from lossary.kernels.ir.trace import FUNCTIONS, SymbolNamespace, traced


@dataclass(frozen=True, slots=True)
class Constant:
    """A number of the type that the kernel computes in."""

    value: float


@dataclass(frozen=True, slots=True)
class Variable:
    """An argument, a uniform, or what an earlier assignment holds."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation or a function applied to expressions.

    `function` is the cheapest function that is right on the range of the argument (`lossary.kernels.ir.graph.SPECIAL`);
    a target that has none of these applies `operation`.
    """

    operation: str
    parts: tuple[Expression, ...]
    function: str


@dataclass(frozen=True, slots=True)
class RowNumber:
    """A number of the row as a whole, kept from one loop over the row to the next (see `lossary.kernels.ir.rows`)."""

    name: str
    truth: bool = False  # whether it is a truth value, kept as 0 or 1


@dataclass(frozen=True, slots=True)
class RowCell:
    """The entry of a row at a loop's index: of an array of the call, or of a row that is kept between loops."""

    row: str | int  # an array's name, or the number of a kept row
    index: str = "j"  # "k" is the inner index of a loop over pairs of entries


Expression = Constant | Variable | Apply | RowNumber | RowCell


@dataclass(frozen=True)
class Program:
    """What a kernel computes for each example, and what the host computes once per call."""

    steps: tuple[tuple[str, Expression], ...]  # assignments, in order
    arguments: tuple[str, ...]  # of the loss, in its order, that the steps read
    results: tuple[tuple[str, ...], ...]  # of each order, the variables that hold its results
    uniforms: tuple[tuple[str, str], ...]  # variable, Python expression in the parameters


def pointwise(
    loss: Loss,
    static: Mapping[str, Any],
    uniform: Sequence[str],
    arrays: Sequence[str],
    order: int,
    orders: set[int],
    regions: Regions = (),
    reserved: Collection[str] = (),
    namespace: type[SymbolNamespace] = SymbolNamespace,
) -> Program:
    """Trace a pointwise definition up to an order, and return the program of some of the orders.

    `static` parameters are fixed here, `uniform` ones are numbers given at each call, and `arrays` are parameters
    that differ from example to example. `regions` says where uniform ones lie that decide which formula is taken, and
    `reserved` are names that the program must not use.
    """
    nodes = traced(loss, static, uniform, arrays, order, regions, namespace)[1]
    return PointwiseLowering(loss, nodes, orders, reserved).program()


class Lowering:
    """Turns nodes into expressions, with a name for what is used more than once."""

    def __init__(self, loss: Loss, reserved: Collection[str]) -> None:
        self.loss = loss
        self.uses: dict[int, int] = {}
        self.needed: dict[int, Any] = {}
        self.written: dict[int, str] = {}
        self.taken = {*loss.arguments, *FUNCTIONS, *(name for name, _ in SPECIAL.values()), *reserved}
        self.uniforms: dict[str, str] = {}

    def fresh(self, name: str) -> str:
        """Return a name that nothing else has."""
        chosen, number = name, 2
        while chosen in self.taken:
            chosen, number = f"{name}_{number}", number + 1
        self.taken.add(chosen)
        return chosen

    def title(self, node: Node) -> str:
        """Return a name for a node to which the definition gives none."""
        words = {"+": "total", "-": "difference", "*": "product", "/": "ratio", "where": "chosen", "abs": "size"}
        return words.get(node.operation, "holds" if node.kind == "truth" else f"{node.operation}_of")

    def expression(self, node: Any) -> Expression:
        """Return the expression of a node: its name if it has been assigned."""
        if node.at in self.written:
            return Variable(self.written[node.at])
        operation, parts = node.operation, node.parts
        if operation == "argument":
            return Variable(parts[0])
        if operation == "constant":
            return Constant(parts[0])
        if operation == "uniform":
            return Variable(self._uniform(parts[0]))
        return Apply(operation, tuple(map(self.expression, parts)), called(node))

    def _uniform(self, node: Node) -> str:
        expression = python_expression(node)
        for name, held in self.uniforms.items():
            if held == expression:
                return name
        name = self.fresh(node.name or "uniform")
        self.uniforms[name] = expression
        return name


class PointwiseLowering(Lowering):
    """Lowers the orders of a pointwise definition."""

    def __init__(
        self, loss: Loss, nodes: list[tuple[Node, ...]], orders: set[int], reserved: Collection[str] = ()
    ) -> None:
        super().__init__(loss, reserved)
        self.nodes, self.orders = nodes, orders

    def program(self) -> Program:
        """Return the assignments for all orders asked for."""
        for k in sorted(self.orders):
            for root in self.nodes[k]:
                self._count(root)
        steps: list[tuple[str, Expression]] = []
        for at in sorted(self.needed):
            node = self.needed[at]
            if node.operation in ("argument", "constant", "uniform"):
                continue
            if self.uses[at] > 1 or (node.name and node.operation != "negative"):
                expression = self.expression(node)
                name = self.fresh(node.name or self.title(node))
                self.written[at] = name
                steps.append((name, expression))
        results = []
        titles = ("value", "slope", "curve")
        for k in range(len(self.nodes)):
            names = []
            for number, node in enumerate(self.nodes[k] if k in self.orders else ()):
                title = titles[k] if k == 0 or len(self.loss.wrt) == 1 else f"{titles[k]}_in_{self.loss.wrt[number]}"
                expression = self.expression(node)
                if not (node.at in self.written and expression == Variable(title)):
                    title = self.fresh(title)
                    steps.append((title, expression))
                names.append(title)
            results.append(tuple(names))
        arguments = [n.parts[0] for n in self.needed.values() if n.operation == "argument"]
        ordered = [name for name in (*self.loss.arguments, *self.loss.defaults) if name in arguments]
        return Program(tuple(steps), tuple(ordered), tuple(results), tuple(self.uniforms.items()))

    def _count(self, root: Node) -> None:
        """Count how often each node is used by what is needed; a stack, because a long series nests deep."""
        stack = [root]
        while stack:
            node = stack.pop()
            self.uses[node.at] = self.uses.get(node.at, 0) + 1
            if node.at in self.needed:
                continue
            self.needed[node.at] = node
            if node.operation != "uniform":
                stack.extend(part for part in node.parts if isinstance(part, Node))
