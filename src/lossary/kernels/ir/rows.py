"""Tracing a definition on rows: the graph whose symbols are entries of a row, or numbers of the row as a whole.

As in `lossary.kernels.ir.trace` the definition is run on symbols. A sum or a maximum over the row ends a *pass*: what
depends on it waits for the next loop over the row (`RowNode.level`). What is multiplied by a row that is 1 at the label
and 0 elsewhere is computed at the label alone. `lossary.kernels.ir.row_program` makes loops of the graph.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lossary.catalogue import Loss
from lossary.kernels.ir.graph import Graph, Node, Regions, UnsupportedError
from lossary.kernels.ir.trace import SymbolNamespace, pulled

# What is done with constants before there is a kernel.
_FOLDED: dict[str, Callable[[float, float], Any]] = {
    "*": operator.mul,
    "==": operator.eq,
    "!=": operator.ne,
}
REDUCTIONS = {"sum", "max", "min"}
# Of a table of pairs of entries: a row laid along one axis, and sums over the other.
AXES = ("first", "second")
PAIR_SUMS = ("sum_over_first", "sum_over_second")


class RowNode(Node):
    """An operation that gives one number for each entry of the row (`wide`), or one for the row."""

    __slots__ = ("level", "pair", "wide")
    graph: RowGraph
    level: int  # the pass that can compute it
    wide: bool
    pair: bool  # whether it belongs to two entries of the row at once

    def __getitem__(self, at: Any) -> Any:
        """Lay a row along the first or the second axis of a table of pairs, or take one of its sums as a row."""
        whole = slice(None)
        if self.operation in PAIR_SUMS and at == {"sum_over_second": (..., 0), "sum_over_first": (..., 0, whole)}.get(
            self.operation
        ):
            return self
        axis = {(2, True): "first", (1, True): "second"}.get((at.index(None) if None in at else 0, whole in at), "")
        if not axis or len(at) != 3 or self.pair or not self.wide:
            raise UnsupportedError("entries of a row are taken by label only")
        return self.graph.node(axis, (self,), "number")


class RowGraph(Graph):
    """Operations on rows, each once."""

    def __init__(self, regions: Regions = ()) -> None:
        super().__init__(regions)
        self.length = self.node("parameter", ("row_length",), "uniform")
        self.length.name = "row_length"

    def node(self, operation: str, parts: tuple[Any, ...], kind: Any, wide: bool | None = None) -> Node:
        """Return the node of an operation, the one there is if there is one; `wide` if it is a row."""
        key = (operation, *(p.at if isinstance(p, Node) else repr(p) for p in parts), kind, wide)
        if key not in self.nodes:
            made = RowNode(self, operation, parts, kind, len(self.nodes))
            inner = [p for p in parts if isinstance(p, RowNode)] if kind != "uniform" and operation != "uniform" else []
            reduction = operation in REDUCTIONS
            made.wide = (not reduction and any(p.wide for p in inner)) if wide is None else wide
            made.level = max((p.level for p in inner), default=0) + (reduction or operation in PAIR_SUMS)
            made.pair = operation in AXES or (operation not in PAIR_SUMS and any(p.pair for p in inner))
            flat = any(p.wide and not p.pair and p.operation != "filled" for p in inner)
            if made.pair and operation not in AXES and (reduction or flat):
                raise UnsupportedError("a row meets a table of pairs without saying along which axis it lies")
            self.nodes[key] = made
        return self.nodes[key]

    def number(self, x: Any) -> Node:
        """Return something as a number of the data's type; a label is none."""
        if isinstance(x, Node) and x.kind == "index":  # type: ignore[comparison-overlap]
            raise UnsupportedError("a label is used as a number")
        return super().number(x)

    def binary(self, symbol: str, a: Any, b: Any) -> Any:
        """Apply an operator. What is multiplied by a row that is 1 at the label is computed there alone."""
        if symbol == "*":
            for hot, other in ((a, b), (b, a)):
                if getattr(hot, "operation", "") == "one_hot" and isinstance(other, RowNode) and other.wide:
                    there = self.seen(other, hot.parts[0], True)
                    if isinstance(there, Node):
                        nothing = self.number(0.0)
                        return self.node("where", (self.node("!=", (hot, nothing), "truth"), there, nothing), "number")
        return super().binary(symbol, a, b)

    def seen(self, x: Any, label: Any, there: bool) -> Any:
        """Return what a row is at a label, or everywhere else: a number of the row, a truth value, or None.

        None where that is not straight-line code, or differs from entry to entry.
        """
        if not isinstance(x, RowNode) or x.kind == "uniform" or not x.wide:
            return x
        if x.pair:
            return None
        if x.operation == "filled":
            return self.number(x.parts[0])
        if x.operation == "one_hot":
            return self.number(float(there)) if x.parts[0] is label else None
        if x.operation == "argument":
            return self._entry(x, label) if there else None
        if x.operation == "where":
            condition, *choices = (self.seen(part, label, there) for part in x.parts)
            if isinstance(condition, bool):
                return choices[not condition]
            parts = (condition, *choices)
        else:
            parts = tuple(self.seen(part, label, there) for part in x.parts)
        known = self._known(x.operation, parts)
        if known is not None or any(part is None or isinstance(part, bool) for part in parts):
            return known
        return self.node(x.operation, parts, x.kind)

    def _entry(self, argument: Any, label: Any) -> Node:
        found: Any = self.node("entry", (argument, label), "number", False)
        found.name = found.name or f"{argument.parts[0]}_at_{label.parts[0]}"
        return found  # type: ignore[no-any-return]

    def _known(self, operation: str, parts: Sequence[Any]) -> Any:
        """Return what an operation on constants gives, as far as kernels have use for it."""
        if operation == "&" and any(part is False for part in parts):
            return False
        if not all(getattr(part, "operation", "") == "constant" for part in parts):
            return None
        values = [part.parts[0] for part in parts]
        if operation == "negative":
            return self.number(-values[0])
        if operation in _FOLDED:
            found = _FOLDED[operation](*values)
            return found if isinstance(found, bool) else self.number(found)
        return None

    def label_of(self, x: Any) -> Any:
        """Return the one label on which a row depends by being 1 there, or None."""
        labels: dict[int, Any] = {}
        stack = [x]
        seen = set()
        while stack:
            node = stack.pop()
            if isinstance(node, RowNode) and node.wide and node.at not in seen:
                seen.add(node.at)
                if node.operation == "one_hot":
                    labels[node.parts[0].at] = node.parts[0]
                stack.extend(parts_of(node))
        return next(iter(labels.values())) if len(labels) == 1 else None

    def alone(self, x: Any) -> Any:
        """Return the label and the number there of a row that is 0 everywhere else, or None if it is not like that."""
        label = self.label_of(x)
        if label is None:
            return None
        elsewhere, there = self.seen(x, label, False), self.seen(x, label, True)
        nothing = getattr(elsewhere, "operation", "") == "constant" and elsewhere.parts[0] == 0
        return (label, there) if nothing and isinstance(there, Node) else None


class RowNamespace(SymbolNamespace):
    """The namespace `xp` of symbols that stand for rows."""

    def _reduced(self, operation: str, x: Any) -> Any:
        entry: Any = self.graph.number(x)
        return self.graph.node(operation, (entry,), "number") if entry.wide else entry

    def sum(self, x: Any, axis: int = -1) -> Any:
        """Over the row, or over one axis of a table of pairs."""
        if isinstance(x, RowNode) and x.kind != "uniform" and x.pair:
            return self.graph.node(
                {-1: "sum_over_second", -2: "sum_over_first"}[axis], (self.graph.number(x),), "number"
            )
        if axis != -1:
            raise UnsupportedError("only pairs have a second axis")
        entry: Any = self.graph.number(x)
        graph: Any = self.graph
        if (found := graph.alone(entry)) is not None:
            label, there = found
            return self.where(graph.node("present", (label,), "truth"), there, 0.0)
        return self._reduced("sum", entry)

    def max(self, x: Any) -> Any:
        """Over the row."""
        return self._reduced("max", x)

    def min(self, x: Any) -> Any:
        """Over the row."""
        return self._reduced("min", x)

    def row_length(self, x: Any) -> Any:
        """How many entries the row has, a number that is the same for all rows."""
        if not x.wide or x.pair:
            raise UnsupportedError("only the length of a row is known")
        return x.graph.length

    def one_hot(self, index: Any, like: Any) -> Any:
        """1 at the label and 0 elsewhere."""
        graph: Any = self.graph
        return graph.node("one_hot", (index,), "number", True)

    def is_index(self, x: Any) -> bool:
        """Whether this is a label."""
        return bool(x.kind == "index")

    def zeros_like(self, x: Any) -> Any:
        """Zeros, as many as there are entries."""
        return self._filled(0.0, x)

    def ones_like(self, x: Any) -> Any:
        """Ones, as many as there are entries."""
        return self._filled(1.0, x)

    def _filled(self, value: float, like: Any) -> Any:
        graph: Any = self.graph
        wide = isinstance(like, RowNode) and like.kind != "uniform" and like.wide
        return graph.node("filled", (value,), "number", True) if wide else graph.number(value)


def traced_rows(
    loss: Loss,
    alternative: int,
    static: Mapping[str, Any],
    uniform: Sequence[str],
    arrays: Sequence[str],
    order: int,
    regions: Regions = (),
    namespace: type[RowNamespace] = RowNamespace,
) -> list[tuple[Node, ...]]:
    """Run one alternative of a definition on symbols, up to an order."""
    graph = RowGraph(regions)
    signature = loss.signatures[alternative]
    if signature.rank != 1 or len({label for core in signature.inputs for label in core}) != 1:
        raise UnsupportedError("kernels are generated for rows of one length only")
    given = []
    for name, core in zip(loss.arguments, signature.inputs, strict=True):
        label = loss.domain(name, alternative).kind == "index"
        given.append(graph.node("argument", (name,), "index" if label else "number", bool(core)))
    params: dict[str, Any] = dict(static)
    params |= {name: graph.node("parameter", (name,), "uniform") for name in uniform}
    params |= {name: graph.node("argument", (name,), "number", True) for name in arrays}
    for node, name in zip(given, loss.arguments, strict=True):
        node.name = name
    for name in (*uniform, *arrays):
        params[name].name = name
    return pulled(graph, lambda: loss.define(namespace(graph), *given, **params), order)


def parts_of(node: Any) -> list[Any]:
    """Return the symbols that an operation is applied to; what a uniform is made of is no part of the loops."""
    return [] if node.operation == "uniform" else [part for part in node.parts if isinstance(part, Node)]
