"""From a definition on rows to loops over rows that lie side by side.

As in `codegen` the definition is run on symbols; here a symbol is an entry of a row, or a number of the row as a whole.
A sum or a maximum over the row ends a *pass*: what depends on it waits for the next loop over the row. What a later
pass needs of an earlier one is kept in scratch memory if it was dear (an exponential, a quotient), and computed again
if it was cheap.

A tile of rows goes through the passes together, the loop over rows innermost, so that rows of any length, also of ten
entries, fill the registers of the processor, and no sum depends on its neighbours. Rows are brought side by side first,
and what comes of them is brought back, several tiles at once if their entries are far apart in memory; in between every
loop over rows is over `LANES` of them, side by side, whatever is in the last ones of a tile that is not full.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossary.catalogue import Loss
from lossary.kernels.ir import graph as codegen
from lossary.kernels.ir.graph import Graph, Node, Regions, UnsupportedError

_WORDLESS = {"constant", "uniform", "filled"}
_GIVEN = _WORDLESS | {"argument", "entry"}
# What is done with constants before there is a kernel.
_FOLDED: dict[str, Callable[[float, float], Any]] = {
    "*": operator.mul,
    "==": operator.eq,
    "!=": operator.ne,
}
# How a reduction starts, and how it goes on.
_REDUCTIONS = {
    "sum": ("T(0.0)", "{held} + {x}"),
    "max": ("-INF", "maximum({held}, {x})"),
    "min": ("INF", "minimum({held}, {x})"),
}
# Of a table of pairs of entries: a row laid along one axis, and sums over the other.
_AXES = ("first", "second")
_PAIR_SUMS = ("sum_over_first", "sum_over_second")
_CHEAP = {"+", "-", "*", "negative", "abs", "where", "constant", "filled", "one_hot", "argument", "maximum", "minimum"}
_CHEAP |= {"~", "&", "|", "<", "<=", ">", ">=", "==", "!=", "uniform", "sign"}


class _Entry(Node):
    """An operation that gives one number for each entry of the row (`wide`), or one for the row."""

    __slots__ = ("level", "pair", "wide")
    graph: _RowGraph
    level: int  # the pass that can compute it
    wide: bool
    pair: bool  # whether it belongs to two entries of the row at once

    def __getitem__(self, at: Any) -> Any:
        """Lay a row along the first or the second axis of a table of pairs, or take one of its sums as a row."""
        whole = slice(None)
        if self.operation in _PAIR_SUMS and at == {"sum_over_second": (..., 0), "sum_over_first": (..., 0, whole)}.get(
            self.operation
        ):
            return self
        axis = {(2, True): "first", (1, True): "second"}.get((at.index(None) if None in at else 0, whole in at), "")
        if not axis or len(at) != 3 or self.pair or not self.wide:
            raise UnsupportedError("entries of a row are taken by label only")
        return self.graph.node(axis, (self,), "number")

    @property
    def shape(self) -> _Shape:
        """Of which a definition may ask how long the row is."""
        return _Shape(self)


class _Shape:
    def __init__(self, owner: _Entry) -> None:
        self.owner = owner

    def __getitem__(self, at: Any) -> Node:
        if at != -1 or not self.owner.wide:
            raise UnsupportedError("only the length of a row is known")
        return self.owner.graph.length


class _RowGraph(Graph):
    """Operations on rows, each once."""

    def __init__(self, regions: Regions = ()) -> None:
        super().__init__(regions)
        self.length = self.node("parameter", ("row_length",), "uniform")
        self.length.name = "row_length"

    def node(self, operation: str, parts: tuple[Any, ...], kind: Any, wide: bool | None = None) -> Node:
        key = (operation, *(p.at if isinstance(p, Node) else repr(p) for p in parts), kind, wide)
        if key not in self.nodes:
            made = _Entry(self, operation, parts, kind, len(self.nodes))
            inner = [p for p in parts if isinstance(p, _Entry)] if kind != "uniform" and operation != "uniform" else []
            reduction = operation in _REDUCTIONS
            made.wide = (not reduction and any(p.wide for p in inner)) if wide is None else wide
            made.level = max((p.level for p in inner), default=0) + (reduction or operation in _PAIR_SUMS)
            made.pair = operation in _AXES or (operation not in _PAIR_SUMS and any(p.pair for p in inner))
            flat = any(p.wide and not p.pair and p.operation != "filled" for p in inner)
            if made.pair and operation not in _AXES and (reduction or flat):
                raise UnsupportedError("a row meets a table of pairs without saying along which axis it lies")
            self.nodes[key] = made
        return self.nodes[key]

    def number(self, x: Any) -> Node:
        if isinstance(x, Node) and x.kind == "index":  # type: ignore[comparison-overlap]
            raise UnsupportedError("a label is used as a number")
        return super().number(x)

    def binary(self, symbol: str, a: Any, b: Any) -> Any:
        """Apply an operator. What is multiplied by a row that is 1 at the label is computed there alone."""
        if symbol == "*":
            for hot, other in ((a, b), (b, a)):
                if getattr(hot, "operation", "") == "one_hot" and isinstance(other, _Entry) and other.wide:
                    there = self.seen(other, hot.parts[0], True)
                    if isinstance(there, Node):
                        nothing = self.number(0.0)
                        return self.node("where", (self.node("!=", (hot, nothing), "truth"), there, nothing), "number")
        return super().binary(symbol, a, b)

    def seen(self, x: Any, label: Any, there: bool) -> Any:
        """Return what a row is at a label, or everywhere else: a number of the row, a truth value, or None.

        None where that is not straight-line code, or differs from entry to entry.
        """
        if not isinstance(x, _Entry) or x.kind == "uniform" or not x.wide:
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
            if isinstance(node, _Entry) and node.wide and node.at not in seen:
                seen.add(node.at)
                if node.operation == "one_hot":
                    labels[node.parts[0].at] = node.parts[0]
                stack.extend(_parts(node))
        return next(iter(labels.values())) if len(labels) == 1 else None

    def alone(self, x: Any) -> Any:
        """Return the label and the number there of a row that is 0 everywhere else, or None if it is not like that."""
        label = self.label_of(x)
        if label is None:
            return None
        elsewhere, there = self.seen(x, label, False), self.seen(x, label, True)
        nothing = getattr(elsewhere, "operation", "") == "constant" and elsewhere.parts[0] == 0
        return (label, there) if nothing and isinstance(there, Node) else None


class _Rows(codegen.Namespace):
    """The namespace `xp` of symbols that stand for rows."""

    def _reduced(self, operation: str, x: Any) -> Any:
        entry: Any = self.graph.number(x)
        return self.graph.node(operation, (entry,), "number") if entry.wide else entry

    def sum(self, x: Any, axis: int = -1) -> Any:
        """Over the row, or over one axis of a table of pairs."""
        if isinstance(x, _Entry) and x.kind != "uniform" and x.pair:
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
        wide = isinstance(like, _Entry) and like.kind != "uniform" and like.wide
        return graph.node("filled", (value,), "number", True) if wide else graph.number(value)


# --- what is to be written --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Argument:
    """An array that the loops read: rows, one number for each row, or one label for each row."""

    name: str
    kind: str  # "row", "number" or "label"


@dataclass(frozen=True)
class RowProgram:
    """The loops over a tile, and what they read and write."""

    before: tuple[str, ...]  # what brings the rows of several tiles side by side
    lines: tuple[str, ...]  # the loops of one tile
    after: tuple[str, ...]  # what brings results back
    arguments: tuple[Argument, ...]
    tables: tuple[str, ...]  # arguments and derivatives that are rows in memory
    uniforms: tuple[tuple[str, str], ...]
    functions: tuple[str, ...]
    scratch: int  # pieces of scratch memory, each of the size of a tile


def trace(
    loss: Loss,
    alternative: int,
    static: Mapping[str, Any],
    uniform: Sequence[str],
    arrays: Sequence[str],
    order: int,
    regions: Regions = (),
) -> list[tuple[Node, ...]]:
    """Run one alternative of a definition on symbols, up to an order."""
    graph = _RowGraph(regions)
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
    return codegen.pulled(graph, lambda: loss.define(_Rows(graph), *given, **params), order)


class RowWriter(codegen.Writer):
    """Writes the passes over a tile."""

    def __init__(
        self,
        loss: Loss,
        alternative: int,
        orders: list[tuple[Node, ...]],
        value: bool,
        order: int,
        weighing: bool,
    ) -> None:
        super().__init__(loss, orders, set())
        self.value: Any = orders[0][0] if value else None
        self.slopes: list[Any] = list(orders[order]) if order else []
        cores = dict(zip(loss.arguments, loss.signatures[alternative].inputs, strict=True))
        # Whether a derivative has an entry for each of the row, as what it is taken in.
        self.long = [bool(cores[name]) for name in loss.wrt] if order else []
        if any(slope.wide and not long for slope, long in zip(self.slopes, self.long, strict=True)):
            raise UnsupportedError("the derivative in a number is a row")
        # Derivatives that are 0 but at a label: which, and the number there.
        self.sparse: dict[int, Any] = {}
        for number, slope in enumerate(self.slopes):
            if self.long[number] and (found := slope.graph.alone(slope)) is not None:
                self.sparse[number] = found
        self.weighing = weighing  # whether rows count by their weight, at 0 not at all
        self.level = 0  # of the pass that is being written
        self.due: dict[int, list[Any]] = {}  # by pass, the nodes it computes
        self.reductions: list[Any] = []
        self.pair_sums: list[Any] = []
        self.index = {"first": "j", "second": "k"}  # of the loops over pairs
        self.numbers: dict[int, Any] = {}  # numbers of a row that are kept between loops
        self.kept: dict[int, Any] = {}  # wide nodes that are kept between passes
        self.names: dict[int, str] = {}  # of variables: the same node has the same in every loop
        self.arguments: dict[str, Argument] = {}
        self.entries: dict[int, Any] = {}  # what is read of rows at a label alone
        self.columns: list[str] = []  # rows that stand in scratch memory as columns

    def tile(self) -> RowProgram:
        """Return the loops over one tile."""
        self._plan()
        lines: list[str] = []
        for level in range(max([*self.due, *(n.level for n in self.reductions)], default=0) + 1):
            self.level = level
            lines += self._loops_over_pairs()
            lines += self._loop_over_numbers()
            lines += self._loop_over_entries()
        lines += self._values() + self._slopes_at_labels()
        rooms = [f"{self._name(n)}_of_rows = lanes(T(0.0))" for n in self.numbers.values()]
        ordered = [self.arguments[n] for n in (*self.loss.arguments, *self.loss.defaults) if n in self.arguments]
        return RowProgram(
            (*self._brought(ordered), *self._cleared()),
            (*rooms, *self._read(ordered), *lines),
            tuple(self._taken_back()),
            tuple(ordered),
            tuple(dict.fromkeys(self._tables())),
            tuple(self.uniforms.items()),
            tuple(sorted(self.functions)),
            len(self.kept) + len(self.columns),
        )

    # -- from memory, and back

    def _tables(self) -> list[str]:
        entries = [node.parts[0].parts[0] for node in self.entries.values()]
        return [name.removesuffix("_out") for name in self.columns] + entries + [f"derivative_{n}" for n in self.sparse]

    def _brought(self, arguments: Sequence[Argument]) -> list[str]:
        return [
            f"moved({a.name}_at, {_laid(a.name)}, many, width, scratch, {self._column(a.name)} * width * span, 1, span)"
            for a in arguments
            if a.name in self.columns
        ]

    def _taken_back(self) -> list[str]:
        return [
            f"moved(scratch, {self._column(name)} * width * span, 1, span, many, width, {name}, {_laid(name)})"
            for name in self.columns
            if name.endswith("_out")
        ]

    def _cleared(self) -> list[str]:
        return [
            f"cleared(derivative_{number}_out, {_laid(f'derivative_{number}')}, many, width, T(0.0))"
            for number in self.sparse
        ]

    def _read(self, arguments: Sequence[Argument]) -> list[str]:
        """Bring numbers and labels of a tile, and entries at labels, to where the loops want them."""
        lines, each = [], []
        for argument in arguments:
            name = argument.name
            at = f"(start + r) * {name}_step"
            if argument.kind == "number":
                lines.append(f"{name}_of_rows = lanes(T(0.0))")
                each.append(f"store({name}_of_rows, r, load({name}_at, {at}))")
            elif argument.kind == "label":
                self.functions |= {"where", "either"}
                counts = " & (load(weights, r) != T(0.0))" if self.weighing else ""
                lines.append(f"{name}_of_rows = lanes(types.int32(0))")
                each += [
                    f"label = load({name}_at, {at})",
                    "outside = (label < 0) | (label >= width)",
                    f"store({name}_of_rows, r, where(outside, types.int32(-1), types.int32(label)))",
                    f"suspect = either(suspect, outside{counts})",
                ]
        entries = []
        for node in self.entries.values():
            self.functions.add("where")
            name, label = node.parts[0].parts[0], f"load({node.parts[1].parts[0]}_of_rows, r)"
            inside = f"where({label} < types.int32(0), types.int32(0), {label})"
            lines.append(f"{self._name(node)}_of_rows = lanes(T(0.0))")
            entries.append(self._keep(node, f"load({name}_at, {_row(name)} + {inside} * {name}_entry)"))
        return [*lines, *_over("rows", each), *_over("rows", entries)]

    def _column(self, name: str) -> int:
        if name not in self.columns:
            self.columns.append(name)
        return len(self.kept) + self.columns.index(name)

    # -- which pass computes what

    def _plan(self) -> None:
        found: dict[int, Any] = {}
        dense = [slope for number, slope in enumerate(self.slopes) if number not in self.sparse]
        stack = [*([] if self.value is None else [self.value]), *dense, *(there for _, there in self.sparse.values())]
        while stack:
            node = stack.pop()
            if node.at not in found:
                found[node.at] = node
                if node.operation != "entry":
                    stack.extend(_parts(node))
        self.entries = {at: found[at] for at in sorted(found) if found[at].operation == "entry"}
        for node in self.entries.values():
            self._argument(node.parts[0])
            self._argument(node.parts[1])
        self.reductions = [found[at] for at in sorted(found) if found[at].operation in _REDUCTIONS]
        for node in self.reductions:
            self.numbers[node.at] = node
            self.due.setdefault(node.level - 1, []).append(node.parts[0])
        self.pair_sums = [found[at] for at in sorted(found) if found[at].operation in _PAIR_SUMS]
        for node in self.pair_sums:
            self.kept[node.at] = node
            self._carry_to_pairs(node)
        for node in self._long_slopes().values():
            self.due.setdefault(node.level, []).append(node)
        ends = [*self._results().values(), *(there for _, there in self.sparse.values())]
        for node in ends:  # beside other numbers of its level, with which it shares its steps
            if node.operation not in _GIVEN:
                self.numbers[node.at] = node
        for level in range(max(self.due, default=0), -1, -1):
            self._carry(level)

    def _carry(self, level: int) -> None:
        """Find what a pass needs of earlier ones: dear entries, and numbers of the row."""
        stack, seen = list(self.due.get(level, [])), set()
        while stack:
            node = stack.pop()
            if node.at in seen or node.operation in _GIVEN:
                continue
            seen.add(node.at)
            if not node.wide:
                self.numbers[node.at] = node
            elif node.operation in _PAIR_SUMS:
                continue
            elif node.level < level and node.operation not in _CHEAP:
                if node.at not in self.kept:
                    self.kept[node.at] = node
                    self.due.setdefault(node.level, []).append(node)
            else:
                stack.extend(_parts(node))

    def _carry_to_pairs(self, table: Any) -> None:
        """Keep the rows of which a table of pairs is made, and the numbers that enter it."""
        stack = [table.parts[0]]
        while stack:
            node = stack.pop()
            if node.operation in _AXES:
                row = node.parts[0]
                if row.operation == "argument":
                    continue  # it stands there as columns
                if row.at not in self.kept:
                    self.kept[row.at] = row
                    self.due.setdefault(row.level, []).append(row)
            elif not node.wide and node.operation not in _GIVEN:
                self.numbers[node.at] = node
            else:
                stack.extend(_parts(node))

    # -- loops

    def _loops_over_pairs(self) -> list[str]:
        """For each entry of the row, a sum over all entries."""
        lines = []
        for node in self.pair_sums:
            if node.level == self.level:
                over_first = node.operation == "sum_over_first"
                self.index = {"first": "k" if over_first else "j", "second": "j" if over_first else "k"}
                place = self._place(node)
                body = self._body([node.parts[0]])
                body.append(f"store({place}, load({place}) + {self._text(node.parts[0], 5)[0]})")
                lines += ["for j in range(width):"]
                lines += ["    " + line for line in _over("LANES", [f"store({place}, T(0.0))"])]
                lines += ["    for k in range(width):", *("        " + line for line in _over("LANES", body))]
        return lines

    def _loop_over_numbers(self) -> list[str]:
        """The numbers of a row that are known by now and needed by a loop, and the starts of reductions."""
        known = [n for n in self.numbers.values() if n.level == self.level and n.operation not in _REDUCTIONS]
        body = self._body(known)
        for node in known:
            text = self._text(node)[0]
            body.append(self._keep(node, f"where({text}, T(1.0), T(0.0))" if node.kind == "truth" else text))
            self.functions |= {"where"} if node.kind == "truth" else set()
        body += [self._keep(n, _REDUCTIONS[n.operation][0]) for n in self._reduced_here()]
        return _over("LANES", body)

    def _loop_over_entries(self) -> list[str]:
        """One pass over the entries of all rows of a tile."""
        body = self._body([n for n in self.due.get(self.level, []) if n.wide])
        for node in self.kept.values():
            if node.level == self.level and node.operation not in _PAIR_SUMS:
                body.append(f"store({self._place(node)}, {self._text(node)[0]})")
        for node in self._reduced_here():
            grown = _REDUCTIONS[node.operation][1]
            self.functions |= {name for name in ("maximum", "minimum", "where") if name in grown}
            held, x = f"load({self._name(node)}_of_rows, r)", self._text(node.parts[0], 5)[0]
            body.append(self._keep(node, grown.format(held=held, x=x)))
        for number, node in self._long_slopes().items():
            if node.level == self.level:
                slope = self._weighed(self._text(node, 6)[0], "derivative_scale")
                out = f"derivative_{number}_out"
                body.append(f"store({self._columns_of(out)}, {slope})")
        inner = _over("LANES", body)
        if any("column" in line for line in inner):
            inner = ["column = types.int32(j)", *inner]
        return ["for j in range(width):", *("    " + line for line in inner)] if inner else []

    def _values(self) -> list[str]:
        """The value of each row, and derivatives in its numbers."""
        results = self._results()
        self.level = max((node.level for node in results.values()), default=0) + 1
        body = self._body([node for node in results.values() if node.at not in self.numbers])
        for place, node in results.items():
            scale = ["derivative_scale"] if place != "values, r" else []
            body.append(f"store({place}, {self._weighed(self._text(node, 6)[0], *scale)})")
        return _over("rows", body)

    def _slopes_at_labels(self) -> list[str]:
        """The one entry of each row in which a derivative is not 0."""
        lines = []
        for number, (label, there) in self.sparse.items():
            name = f"derivative_{number}"
            body = self._body([] if there.at in self.numbers else [there])
            slope = self._weighed(self._text(there, 6)[0], "derivative_scale")
            self._argument(label)
            body.append(f"label = load({label.parts[0]}_of_rows, r)")
            body.append("if label >= types.int32(0):")
            body.append(f"    store({name}_out, {_row(name)} + label * {name}_entry, {slope})")
            lines += _over("rows", body)
        return lines

    def _results(self) -> dict[str, Any]:
        """What there is one number of for each row, by its place."""
        held = {} if self.value is None else {"values, r": self.value}
        numbers = [(number, node) for number, node in enumerate(self.slopes) if not self.long[number]]
        return held | {f"derivative_{number}_out, start + r": node for number, node in numbers}

    def _long_slopes(self) -> dict[int, Any]:
        return {n: node for n, node in enumerate(self.slopes) if self.long[n] and n not in self.sparse}

    def _reduced_here(self) -> list[Any]:
        return [node for node in self.reductions if node.level == self.level + 1]

    def _weighed(self, text: str, *factors: str) -> str:
        if not self.weighing:
            return " * ".join([text, *factors])
        self.functions.add("where")
        weight = "load(weights, r)"
        return f"where({weight} == T(0.0), T(0.0), {' * '.join([text, weight, *factors])})"

    def _keep(self, node: Any, text: str) -> str:
        return f"store({self._name(node)}_of_rows, r, {text})"

    def _place(self, node: Any, index: str = "j") -> str:
        if node.operation == "argument" and node.at not in self.kept:
            self._argument(node)
            return self._columns_of(node.parts[0], index)
        return f"scratch, ({list(self.kept).index(node.at)} * width + {index}) * span + part + r"

    def _columns_of(self, name: str, index: str = "j") -> str:
        return f"scratch, ({self._column(name)} * width + {index}) * span + part + r"

    def _argument(self, node: Any) -> Argument:
        name = node.parts[0]
        kind = "label" if node.kind == "index" else "row" if node.wide else "number"
        return self.arguments.setdefault(name, Argument(name, kind))

    # -- the body of one loop

    def _body(self, roots: list[Any]) -> list[str]:
        """Assignments for what the roots need in this loop."""
        self.uses, self.needed, self.written = {}, {}, {}
        computed = {node.at for node in roots if node.operation not in ("argument", *_PAIR_SUMS)}
        stack = list(roots)
        while stack:
            node = stack.pop()
            self.uses[node.at] = self.uses.get(node.at, 0) + 1
            if node.at not in self.needed:
                self.needed[node.at] = node
                if node.at in computed or not self._held(node):
                    stack.extend(_parts(node))
        lines = []
        for at in sorted(self.needed):
            node = self.needed[at]
            held = "" if at in computed else self._held(node)
            if node.operation in _WORDLESS or not (held or self.uses[at] > 1 or (node.name and node.kind != "truth")):
                continue
            text = held or self._text(node)[0]
            self.written[at] = self._name(node)
            lines.append(f"{self.written[at]} = {text}")
        return lines

    def _held(self, node: Any) -> str:
        """How to read a node that this loop need not compute, or "" if it must."""
        if node.operation in _AXES:
            return f"load({self._place(node.parts[0], self.index[node.operation])})"
        if node.operation == "entry":
            return f"load({self._name(node)}_of_rows, r)"
        if node.operation == "argument":
            argument = self._argument(node)
            if argument.kind != "row":
                return f"load({argument.name}_of_rows, r)"
            return f"load({self._place(node)})"
        if node.at in self.numbers:
            held = f"load({self._name(node)}_of_rows, r)"
            return f"{held} != T(0.0)" if node.kind == "truth" else held
        before = node.level < self.level or node.operation in _PAIR_SUMS
        return f"load({self._place(node)})" if node.at in self.kept and before else ""

    def _name(self, node: Any) -> str:
        if node.at not in self.names:
            own = node.operation == "argument"
            self.names[node.at] = node.parts[0] if own else self._fresh(node.name or self._title(node))
        return self.names[node.at]

    def _bare(self, node: Any) -> tuple[str, int]:
        if node.at not in self.written:
            if node.operation == "filled":
                return codegen.literal(node.parts[0]), codegen.ATOM
            if node.operation == "one_hot":
                self.functions.add("where")
                return f"where(column == {self._text(node.parts[0])[0]}, T(1.0), T(0.0))", codegen.ATOM
            if node.operation == "present":
                return f"{self._text(node.parts[0])[0]} >= types.int32(0)", 3
            held = self._held(node)
            if node.at not in self.needed and held:
                return held, codegen.ATOM
        return super()._bare(node)


def _laid(name: str) -> str:
    """Where rows begin, and how far apart they and their entries are."""
    base = name.removesuffix("_out")
    return f"block * {base}_outer + low * {base}_row, {base}_row, {base}_entry"


def _row(name: str) -> str:
    """Where the row of a lane begins."""
    return f"block * {name}_outer + (low + part + r) * {name}_row"


def _parts(node: Any) -> list[Any]:
    return [] if node.operation == "uniform" else [part for part in node.parts if isinstance(part, Node)]


def _over(count: str, body: list[str]) -> list[str]:
    return [f"for r in range({count}):", *("    " + line for line in body)] if body else []
