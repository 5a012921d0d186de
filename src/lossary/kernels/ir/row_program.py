"""Row programs: loops over the entries of many rows at once, and the statements in each, for any target.

What a later pass needs of an earlier one is kept in memory if it was expensive (an exponential, a quotient), and
computed again if it was cheap. Numbers of the row as a whole (a sum, a maximum, an entry at the label) are kept from
loop to loop. A target runs a block of rows through the loops together, whatever the block is: a tile of lanes on a CPU,
one row at a time in plain Python.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lossary.catalogue import Loss
from lossary.kernels.ir.graph import Node, Regions, UnsupportedError
from lossary.kernels.ir.program import Apply, Constant, Expression, Lowering, RowCell, RowNumber
from lossary.kernels.ir.rows import AXES, PAIR_SUMS, REDUCTIONS, RowNamespace, parts_of, traced_rows

_UNNAMED = {"constant", "uniform", "filled"}
_GIVEN = _UNNAMED | {"argument", "entry"}
_CHEAP = {"+", "-", "*", "negative", "abs", "where", "constant", "filled", "one_hot", "argument", "maximum", "minimum"}
_CHEAP |= {"~", "&", "|", "<", "<=", ">", ">=", "==", "!=", "uniform", "sign"}


# --- statements -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Assign:
    """Give a variable of the loop a value."""

    name: str
    value: Expression


@dataclass(frozen=True)
class SetNumber:
    """Set a number of the row, kept between loops."""

    number: RowNumber
    value: Expression


@dataclass(frozen=True)
class StartReduction:
    """Set a number of the row to where a ``sum``, ``max`` or ``min`` starts."""

    number: RowNumber
    operation: str


@dataclass(frozen=True)
class Accumulate:
    """Take one entry into a reduction."""

    number: RowNumber
    operation: str
    value: Expression


@dataclass(frozen=True)
class SetCell:
    """Set an entry of a row that is kept between loops."""

    cell: RowCell
    value: Expression


@dataclass(frozen=True)
class AddToCell:
    """Add to an entry of a row that is kept between loops."""

    cell: RowCell
    value: Expression


@dataclass(frozen=True)
class StoreValue:
    """Give the row's value."""

    value: Expression


@dataclass(frozen=True)
class StoreDerivative:
    """Give a derivative: its entry in a loop over entries, the row's one number in a loop over rows."""

    derivative: int
    value: Expression


@dataclass(frozen=True)
class StoreAtLabel:
    """Give the one entry of a derivative that is not 0, at a label; nothing if the label is outside the row."""

    derivative: int
    label: RowNumber
    value: Expression


Statement = (
    Assign | SetNumber | StartReduction | Accumulate | SetCell | AddToCell | StoreValue | StoreDerivative | StoreAtLabel
)


@dataclass(frozen=True)
class Loop:
    """Statements for each row, for each entry of each row, or for each pair of entries of each row.

    A loop over pairs sets `cell` to 0 for every entry j and adds to it for every entry k. A loop over results is one
    over rows in which values and derivatives are given.
    """

    over: Literal["rows", "entries", "pairs", "results"]
    body: tuple[Statement, ...]
    cell: RowCell | None = None


@dataclass(frozen=True)
class Argument:
    """An array that the loops read: rows, one number for each row, or one label for each row."""

    name: str
    kind: Literal["row", "number", "label"]


@dataclass(frozen=True)
class EntryAtLabel:
    """A number of the row that is read before the loops: the entry of an array at a label."""

    number: RowNumber
    row: str
    label: str


@dataclass(frozen=True)
class RowProgram:
    """The loops over a block of rows, and what they read, keep and write."""

    loops: tuple[Loop, ...]
    arguments: tuple[Argument, ...]
    numbers: tuple[RowNumber, ...]  # of a row, kept between loops
    at_labels: tuple[EntryAtLabel, ...]
    kept: int  # rows that are kept between loops
    columns: tuple[str, ...]  # arrays and derivatives (`derivative_name`) of which the loops meet every entry
    sparse: tuple[int, ...]  # derivatives that are 0 but at a label
    uniforms: tuple[tuple[str, str], ...]  # variable, Python expression in the parameters and `row_length`

    @property
    def tables(self) -> tuple[str, ...]:
        """Arguments and derivatives that are rows in memory."""
        rows = (found.row for found in self.at_labels)
        return tuple(dict.fromkeys([*self.columns, *rows, *map(derivative_name, self.sparse)]))


def derivative_name(number: int) -> str:
    """Return how columns and tables call a derivative, by its number among those of the loss."""
    return f"derivative_{number}"


# --- lowering -------------------------------------------------------------------------------------------------------


def row_program(
    loss: Loss,
    alternative: int,
    static: Mapping[str, Any],
    uniform: Sequence[str],
    arrays: Sequence[str],
    orders: Sequence[int],
    value: bool,
    regions: Regions = (),
    reserved: Collection[str] = (),
    keep: bool = True,
    namespace: type[RowNamespace] = RowNamespace,
) -> RowProgram:
    """Trace one alternative of a definition on rows, and return the program of its value, its derivatives, or both.

    Arguments are as in `lossary.kernels.ir.program.pointwise`; `orders` are those of the derivatives. Without `keep`,
    a pass computes again what an earlier one had, however expensive: a target that has no memory for rows between
    loops reads the arrays anew instead.
    """
    nodes = traced_rows(loss, alternative, static, uniform, arrays, max(orders, default=0), regions, namespace)
    return RowLowering(loss, alternative, nodes, value, orders, reserved, keep).program()


class RowLowering(Lowering):
    """Sorts nodes into passes, and lowers each pass to a loop."""

    def __init__(
        self,
        loss: Loss,
        alternative: int,
        nodes: list[tuple[Node, ...]],
        value: bool,
        orders: Sequence[int],
        reserved: Collection[str] = (),
        keep: bool = True,
    ) -> None:
        super().__init__(loss, reserved)
        self.keep = keep
        self.value: Any = nodes[0][0] if value else None
        self.derivatives: list[Any] = [node for order in orders for node in nodes[order]]
        cores = dict(zip(loss.arguments, loss.signatures[alternative].inputs, strict=True))
        # Whether a derivative has an entry for each of the row, as the argument that it belongs to.
        self.long = [bool(cores[name]) for _ in orders for name in loss.wrt]
        if any(found.wide and not long for found, long in zip(self.derivatives, self.long, strict=True)):
            raise UnsupportedError("the derivative in a number is a row")
        # Derivatives that are 0 but at a label: which, and the number there.
        self.sparse: dict[int, Any] = {}
        for number, node in enumerate(self.derivatives):
            if self.long[number] and (found := node.graph.alone(node)) is not None:
                self.sparse[number] = found
        self.level = 0  # of the pass that is being lowered
        self.due: dict[int, list[Any]] = {}  # by pass, the nodes it computes
        self.reductions: list[Any] = []
        self.pair_sums: list[Any] = []
        self.index = {"first": "j", "second": "k"}  # of the loops over pairs
        self.numbers: dict[int, Any] = {}  # numbers of a row that are kept between loops
        self.kept: dict[int, Any] = {}  # wide nodes that are kept between passes
        self.names: dict[int, str] = {}  # of variables: the same node has the same in every loop
        self.arguments: dict[str, Argument] = {}
        self.entries: dict[int, Any] = {}  # what is read of rows at a label alone
        self.columns: list[str] = []

    def program(self) -> RowProgram:
        """Return the loops over a block of rows."""
        self._sort_into_passes()
        loops: list[Loop] = []
        for level in range(max([*self.due, *(n.level for n in self.reductions)], default=0) + 1):
            self.level = level
            loops += [*self._loops_over_pairs(), self._loop_over_rows(), self._loop_over_entries()]
        loops += [self._results(), *self._derivatives_at_labels()]
        numbers = tuple(RowNumber(self._name(n), n.kind == "truth") for n in self.numbers.values())
        at_labels = tuple(
            EntryAtLabel(RowNumber(self._name(node)), node.parts[0].parts[0], node.parts[1].parts[0])
            for node in self.entries.values()
        )
        return RowProgram(
            tuple(loop for loop in loops if loop.body),
            tuple(self.arguments[n] for n in (*self.loss.arguments, *self.loss.defaults) if n in self.arguments),
            numbers,
            at_labels,
            len(self.kept),
            tuple(self.columns),
            tuple(self.sparse),
            tuple(self.uniforms.items()),
        )

    def _column(self, name: str) -> str:
        if name not in self.columns:
            self.columns.append(name)
        return name

    # -- which pass computes what

    def _sort_into_passes(self) -> None:
        found: dict[int, Any] = {}
        dense = [node for number, node in enumerate(self.derivatives) if number not in self.sparse]
        stack = [*([] if self.value is None else [self.value]), *dense, *(there for _, there in self.sparse.values())]
        while stack:
            node = stack.pop()
            if node.at not in found:
                found[node.at] = node
                if node.operation != "entry":
                    stack.extend(parts_of(node))
        self.entries = {at: found[at] for at in sorted(found) if found[at].operation == "entry"}
        for node in self.entries.values():
            self._argument(node.parts[0])
            self._argument(node.parts[1])
        self.reductions = [found[at] for at in sorted(found) if found[at].operation in REDUCTIONS]
        for node in self.reductions:
            self.numbers[node.at] = node
            self.due.setdefault(node.level - 1, []).append(node.parts[0])
        self.pair_sums = [found[at] for at in sorted(found) if found[at].operation in PAIR_SUMS]
        for node in self.pair_sums:
            self.kept[node.at] = node
            self._carry_to_pairs(node)
        for node in self._long_derivatives().values():
            self.due.setdefault(node.level, []).append(node)
        ends = [*self._ends().values(), *(there for _, there in self.sparse.values())]
        for node in ends:  # beside other numbers of its level, with which it shares its steps
            if node.operation not in _GIVEN:
                self.numbers[node.at] = node
        for level in range(max(self.due, default=0), -1, -1):
            self._carry(level)

    def _carry(self, level: int) -> None:
        """Find what a pass needs of earlier ones: expensive entries, and numbers of the row."""
        stack, seen = list(self.due.get(level, [])), set()
        while stack:
            node = stack.pop()
            if node.at in seen or node.operation in _GIVEN:
                continue
            seen.add(node.at)
            if not node.wide:
                self.numbers[node.at] = node
            elif node.operation in PAIR_SUMS:
                continue
            elif self.keep and node.level < level and node.operation not in _CHEAP:
                if node.at not in self.kept:
                    self.kept[node.at] = node
                    self.due.setdefault(node.level, []).append(node)
            else:
                stack.extend(parts_of(node))

    def _carry_to_pairs(self, table: Any) -> None:
        """Keep the rows of which a table of pairs is made, and the numbers that enter it."""
        stack = [table.parts[0]]
        while stack:
            node = stack.pop()
            if node.operation in AXES:
                row = node.parts[0]
                if row.operation == "argument":
                    continue  # its entries are there already
                if row.at not in self.kept:
                    self.kept[row.at] = row
                    self.due.setdefault(row.level, []).append(row)
            elif not node.wide and node.operation not in _GIVEN:
                self.numbers[node.at] = node
            else:
                stack.extend(parts_of(node))

    # -- loops

    def _loops_over_pairs(self) -> list[Loop]:
        """For each entry of the row, a sum over all entries."""
        loops = []
        for node in self.pair_sums:
            if node.level == self.level:
                over_first = node.operation == "sum_over_first"
                self.index = {"first": "k" if over_first else "j", "second": "j" if over_first else "k"}
                cell = self._cell(node)
                body = self._body([node.parts[0]])
                body.append(AddToCell(cell, self.expression(node.parts[0])))
                loops.append(Loop("pairs", tuple(body), cell))
        return loops

    def _loop_over_rows(self) -> Loop:
        """The numbers of a row that are known by now and needed by a loop, and the starts of reductions."""
        known = [n for n in self.numbers.values() if n.level == self.level and n.operation not in REDUCTIONS]
        body = self._body(known)
        for node in known:
            value = self.expression(node)
            body.append(SetNumber(self._number(node), value))
        body += [StartReduction(self._number(n), n.operation) for n in self._reduced_here()]
        return Loop("rows", tuple(body))

    def _loop_over_entries(self) -> Loop:
        """One pass over the entries."""
        body = self._body([n for n in self.due.get(self.level, []) if n.wide])
        for node in self.kept.values():
            if node.level == self.level and node.operation not in PAIR_SUMS:
                cell = self._cell(node)
                body.append(SetCell(cell, self.expression(node)))
        for node in self._reduced_here():
            number = self._number(node)
            body.append(Accumulate(number, node.operation, self.expression(node.parts[0])))
        for derivative, node in self._long_derivatives().items():
            if node.level == self.level:
                value = self.expression(node)
                self._column(derivative_name(derivative))
                body.append(StoreDerivative(derivative, value))
        return Loop("entries", tuple(body))

    def _results(self) -> Loop:
        """The value of each row, and derivatives in its numbers."""
        ends = self._ends()
        self.level = max((node.level for node in ends.values()), default=0) + 1
        body = self._body([node for node in ends.values() if node.at not in self.numbers])
        for derivative, node in ends.items():
            value = self.expression(node)
            body.append(StoreValue(value) if derivative is None else StoreDerivative(derivative, value))
        return Loop("results", tuple(body))

    def _derivatives_at_labels(self) -> list[Loop]:
        """The one entry of each row in which a derivative is not 0."""
        loops = []
        for number, (label, there) in self.sparse.items():
            body = self._body([] if there.at in self.numbers else [there])
            value = self.expression(there)
            self._argument(label)
            body.append(StoreAtLabel(number, RowNumber(label.parts[0]), value))
            loops.append(Loop("results", tuple(body)))
        return loops

    def _ends(self) -> dict[int | None, Any]:
        """What there is one number of for each row: the value (None) and derivatives in numbers."""
        held: dict[int | None, Any] = {} if self.value is None else {None: self.value}
        return held | {number: node for number, node in enumerate(self.derivatives) if not self.long[number]}

    def _long_derivatives(self) -> dict[int, Any]:
        return {n: node for n, node in enumerate(self.derivatives) if self.long[n] and n not in self.sparse}

    def _reduced_here(self) -> list[Any]:
        return [node for node in self.reductions if node.level == self.level + 1]

    def _number(self, node: Any) -> RowNumber:
        return RowNumber(self._name(node), node.kind == "truth")

    def _cell(self, node: Any, index: str = "j") -> RowCell:
        if node.operation == "argument" and node.at not in self.kept:
            self._argument(node)
            return RowCell(self._column(node.parts[0]), index)
        return RowCell(list(self.kept).index(node.at), index)

    def _argument(self, node: Any) -> Argument:
        name = node.parts[0]
        kind: Literal["row", "number", "label"] = "row" if node.wide else "number"
        return self.arguments.setdefault(name, Argument(name, "label" if node.kind == "index" else kind))

    # -- the body of one loop

    def _body(self, roots: list[Any]) -> list[Statement]:
        """Assignments for what the roots need in this loop."""
        self.uses, self.needed, self.written = {}, {}, {}
        computed = {node.at for node in roots if node.operation not in ("argument", *PAIR_SUMS)}
        stack = list(roots)
        while stack:
            node = stack.pop()
            self.uses[node.at] = self.uses.get(node.at, 0) + 1
            if node.at not in self.needed:
                self.needed[node.at] = node
                if node.at in computed or self._held(node) is None:
                    stack.extend(parts_of(node))
        steps: list[Statement] = []
        for at in sorted(self.needed):
            node = self.needed[at]
            held = None if at in computed else self._held(node)
            named = held is not None or self.uses[at] > 1 or (node.name and node.kind != "truth")
            if node.operation in _UNNAMED or not named:
                continue
            expression = held or self.expression(node)
            self.written[at] = self._name(node)
            steps.append(Assign(self.written[at], expression))
        return steps

    def _held(self, node: Any) -> Expression | None:
        """How to read a node that this loop need not compute, or None if it must."""
        if node.operation in AXES:
            return self._cell(node.parts[0], self.index[node.operation])
        if node.operation == "entry":
            return RowNumber(self._name(node))
        if node.operation == "argument":
            argument = self._argument(node)
            return self._cell(node) if argument.kind == "row" else RowNumber(argument.name)
        if node.at in self.numbers:
            return self._number(node)
        before = node.level < self.level or node.operation in PAIR_SUMS
        return self._cell(node) if node.at in self.kept and before else None

    def _name(self, node: Any) -> str:
        if node.at not in self.names:
            own = node.operation == "argument"
            self.names[node.at] = node.parts[0] if own else self.fresh(node.name or self.title(node))
        return self.names[node.at]

    def expression(self, node: Any) -> Expression:
        """Return the expression of a node in this loop."""
        if node.at not in self.written:
            if node.operation == "filled":
                return Constant(node.parts[0])
            if node.operation in ("one_hot", "present"):
                return Apply(node.operation, (self.expression(node.parts[0]),), node.operation)
            held = self._held(node)
            if node.at not in self.needed and held is not None:
                return held
        return super().expression(node)
