"""Emits Numba source: expressions, statements and loops of the kernel IR in the compiler's Python.

Literals take the type of the data (``T(0.5)``), a choice is a call of `where`, and every function comes from
`lossary.kernels.cpu.math`. The templates around the loops are in `pointwise_source` and `row_source`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from lossary import tolerances
from lossary.catalogue.domains import Domain
from lossary.kernels.ir.graph import UnsupportedError
from lossary.kernels.ir.program import Apply, Constant, Expression, RowCell, RowNumber, Variable
from lossary.kernels.ir.row_program import (
    Accumulate,
    AddToCell,
    Argument,
    Assign,
    Loop,
    RowProgram,
    SetCell,
    SetNumber,
    StartReduction,
    Statement,
    StoreAtLabel,
    StoreDerivative,
    StoreValue,
    derivative_name,
)

# Names that the templates around the loops use: no variable of a program may have one of them.
_TEMPLATE = """T INF NAN BLOCK PIECE abs where raised floor load store plus types block run uniforms njit entry i first
last length start stop begin end number example_weight derivative_scale factor block_sum suspect sums found values room
either height rows width r j k column label outside counting total count settings numbers weights scratch lanes LANES
moved cleared low inner span part many along tiles ignored"""
RESERVED = frozenset(_TEMPLATE.split())
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_PRECEDENCE = {"|": 1, "&": 2, **dict.fromkeys(_COMPARISONS, 3), "+": 4, "-": 4, "*": 5, "/": 5, "negative": 6, "~": 6}
_ATOM = 9
# How a reduction starts, and how it takes in one entry.
_REDUCTIONS = {
    "sum": ("T(0.0)", "{held} + {x}"),
    "max": ("-INF", "maximum({held}, {x})"),
    "min": ("INF", "minimum({held}, {x})"),
}


class Emitter:
    """Prints expressions, and collects the functions that they call."""

    def __init__(self) -> None:
        self.functions: set[str] = set()

    def text(self, x: Expression, below: int = 0) -> str:
        """Return an expression as source, in brackets if the surroundings bind tighter."""
        text, precedence = self._bare(x)
        return f"({text})" if precedence < below else text

    def _bare(self, x: Expression) -> tuple[str, int]:
        if isinstance(x, Variable):
            return x.name, _ATOM
        if isinstance(x, Constant):
            return literal(x.value), _ATOM
        if isinstance(x, (RowNumber, RowCell)):
            return self.held(x), _ATOM
        return self._applied(x)

    def _applied(self, x: Apply) -> tuple[str, int]:
        operation, parts = x.operation, x.parts
        if operation == "negative":
            return "-" + self.text(parts[0], 6), 6
        if operation == "~":
            return "not " + self.text(parts[0], 3), 2
        if operation in _PRECEDENCE:
            own = _PRECEDENCE[operation]
            if operation in "&|":
                return f"{self.text(parts[0], 4)} {operation} {self.text(parts[1], 4)}", own
            return f"{self.text(parts[0], own + (own == 3))} {operation} {self.text(parts[1], own + 1)}", own
        self.functions.add(x.function)
        return f"{x.function}({', '.join(map(self.text, parts))})", _ATOM

    def held(self, x: RowNumber | RowCell) -> str:
        """Return how to read what is kept between the loops of a row program."""
        raise UnsupportedError("only programs on rows have numbers of a row")


def literal(x: float) -> str:
    """Return a number of the loop's type as source."""
    if math.isinf(x):
        return "INF" if x > 0 else "-INF"
    return "NAN" if math.isnan(x) else f"T({x!r})"


def assignments(steps: Iterable[tuple[str, Expression]]) -> tuple[list[str], set[str]]:
    """Return the steps of a pointwise program as source, and the functions that they call."""
    emitter = Emitter()
    return [f"{name} = {emitter.text(value)}" for name, value in steps], emitter.functions


# --- programs on rows -----------------------------------------------------------------------------------------------


class RowEmitter(Emitter):
    """Prints the loops of a row program over one tile.

    A number of the row is an entry of an array on the stack (``x_of_rows``), with one for each lane of the tile. Rows
    of which the loops meet every entry are brought side by side into scratch memory first (`before`), behind those
    that are kept between loops; derivatives are written there, and brought back (`after`). ``weights`` holds the
    weights of the rows where they have any.
    """

    def __init__(self, program: RowProgram, weighted: bool) -> None:
        super().__init__()
        self.program, self.weighted = program, weighted
        self.scratch = program.kept + len(program.columns)  # pieces of scratch memory, each of the size of a tile
        self.of_derivatives = {name for name in program.columns if name not in {a.name for a in program.arguments}}
        self.lines = [*self._numbers(), *self._read(), *(line for loop in program.loops for line in self._loop(loop))]
        self.before = [*self._moved_in(), *self._cleared()]
        self.after = self._moved_out()

    # -- from memory, and back

    def _moved_in(self) -> list[str]:
        return [
            f"moved({a.name}_at, {_laid(a.name)}, many, width, scratch, {self._column(a.name)} * width * span, 1, span)"
            for a in self.program.arguments
            if a.name in self.program.columns
        ]

    def _moved_out(self) -> list[str]:
        return [
            f"moved(scratch, {self._column(name)} * width * span, 1, span, many, width, {name}_out, {_laid(name)})"
            for name in self.program.columns
            if name in self.of_derivatives
        ]

    def _cleared(self) -> list[str]:
        names = map(derivative_name, self.program.sparse)
        return [f"cleared({name}_out, {_laid(name)}, many, width, T(0.0))" for name in names]

    def _numbers(self) -> list[str]:
        return [f"{number.name}_of_rows = lanes(T(0.0))" for number in self.program.numbers]

    def _read(self) -> list[str]:
        """Bring numbers and labels of a tile, and entries at labels, to where the loops read them."""
        lines, each = [], []
        for argument in self.program.arguments:
            declared, read = self._read_argument(argument)
            lines += declared
            each += read
        entries = []
        for found in self.program.at_labels:
            self.functions.add("where")
            name, label = found.row, f"load({found.label}_of_rows, r)"
            inside = f"where({label} < types.int32(0), types.int32(0), {label})"
            lines.append(f"{found.number.name}_of_rows = lanes(T(0.0))")
            entries.append(_kept(found.number, f"load({name}_at, {_row(name)} + {inside} * {name}_entry)"))
        return [*lines, *_over("rows", each), *_over("rows", entries)]

    def _read_argument(self, argument: Argument) -> tuple[list[str], list[str]]:
        name = argument.name
        at = f"(start + r) * {name}_step"
        if argument.kind == "number":
            return [f"{name}_of_rows = lanes(T(0.0))"], [f"store({name}_of_rows, r, load({name}_at, {at}))"]
        if argument.kind == "row":
            return [], []
        self.functions |= {"where", "either"}
        kept = " & (load(weights, r) != T(0.0))" if self.weighted else ""
        return [f"{name}_of_rows = lanes(types.int32(0))"], [
            f"label = load({name}_at, {at})",
            "outside = (label < 0) | (label >= width)",
            f"store({name}_of_rows, r, where(outside, types.int32(-1), types.int32(label)))",
            f"suspect = either(suspect, outside{kept})",
        ]

    def _column(self, name: str) -> int:
        return self.program.kept + self.program.columns.index(name)

    # -- loops

    def _loop(self, loop: Loop) -> list[str]:
        body = [line for statement in loop.body for line in self._statement(statement, loop)]
        if loop.over == "rows":
            return _over("LANES", body)
        if loop.over == "results":
            return _over("rows", body)
        inner = _over("LANES", body)
        if loop.over == "entries":
            if any("column" in line for line in inner):
                inner = ["column = types.int32(j)", *inner]
            return ["for j in range(width):", *_indented(inner)]
        assert loop.cell is not None
        cleared = _over("LANES", [f"store({self._place(loop.cell)}, T(0.0))"])
        return ["for j in range(width):", *_indented([*cleared, "for k in range(width):", *_indented(inner)])]

    def _statement(self, statement: Statement, loop: Loop) -> list[str]:
        match statement:
            case Assign(name, value):
                return [f"{name} = {self.text(value)}"]
            case SetNumber(number, value):
                text = self.text(value)
                self.functions |= {"where"} if number.truth else set()
                return [_kept(number, f"where({text}, T(1.0), T(0.0))" if number.truth else text)]
            case StartReduction(number, operation):
                return [_kept(number, _REDUCTIONS[operation][0])]
            case Accumulate(number, operation, value):
                grown = _REDUCTIONS[operation][1]
                self.functions |= {name for name in ("maximum", "minimum", "where") if name in grown}
                return [_kept(number, grown.format(held=f"load({number.name}_of_rows, r)", x=self.text(value, 5)))]
            case SetCell(cell, value):
                return [f"store({self._place(cell)}, {self.text(value)})"]
            case AddToCell(cell, value):
                place = self._place(cell)
                return [f"store({place}, load({place}) + {self.text(value, 5)})"]
            case StoreValue(value):
                return [f"store(values, r, {self._weighted(value)})"]
            case StoreDerivative(derivative, value):
                name = derivative_name(derivative)
                place = self._place(RowCell(name)) if loop.over == "entries" else f"{name}_out, start + r"
                return [f"store({place}, {self._weighted(value, 'derivative_scale')})"]
            case StoreAtLabel(derivative, label, value):
                name = derivative_name(derivative)
                return [
                    f"label = load({label.name}_of_rows, r)",
                    "if label >= types.int32(0):",
                    f"    store({name}_out, {_row(name)} + label * {name}_entry, "
                    f"{self._weighted(value, 'derivative_scale')})",
                ]

    def _weighted(self, value: Expression, *factors: str) -> str:
        text = self.text(value, 6)
        if not self.weighted:
            return " * ".join([text, *factors])
        self.functions.add("where")
        weight = "load(weights, r)"
        return f"where({weight} == T(0.0), T(0.0), {' * '.join([text, weight, *factors])})"

    def _place(self, cell: RowCell) -> str:
        piece = cell.row if isinstance(cell.row, int) else self._column(cell.row)
        return f"scratch, ({piece} * width + {cell.index}) * span + part + r"

    # -- expressions

    def held(self, x: RowNumber | RowCell) -> str:
        """Return how to read a number of the row, or an entry of a row."""
        if isinstance(x, RowCell):
            return f"load({self._place(x)})"
        return f"load({x.name}_of_rows, r){' != T(0.0)' if x.truth else ''}"

    def _applied(self, x: Apply) -> tuple[str, int]:
        if x.operation == "one_hot":
            self.functions.add("where")
            return f"where(column == {self.text(x.parts[0])}, T(1.0), T(0.0))", _ATOM
        if x.operation == "present":
            return f"{self.text(x.parts[0])} >= types.int32(0)", 3
        return super()._applied(x)


def _kept(number: RowNumber, text: str) -> str:
    return f"store({number.name}_of_rows, r, {text})"


def _laid(name: str) -> str:
    """Where rows begin, and how far apart they and their entries are."""
    return f"block * {name}_outer + low * {name}_row, {name}_row, {name}_entry"


def _row(name: str) -> str:
    """Where the row of a lane begins."""
    return f"block * {name}_outer + (low + part + r) * {name}_row"


def _indented(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]


def _over(count: str, body: Sequence[str]) -> list[str]:
    return [f"for r in range({count}):", *_indented(body)] if body else []


# --- imports --------------------------------------------------------------------------------------------------------

# What a kernel computes of each order, in words.
ORDERS = ("values", "gradient", "diagonal of the Hessian")

TYPES = {"float32": "f32", "float64": "f64"}  # the types that kernels compute in, and how their functions end

# What emitted source calls under another name than it has in `lossary.kernels.cpu.math`, and what is the same for both
# types.
_RENAMED = {"where": "select", "abs": "absolute"}
_OF_ANY_TYPE = {
    "abs",
    "where",
    "sqrt",
    "maximum",
    "minimum",
    "load",
    "store",
    "plus",
    "room",
    "lanes",
    "either",
    "floor",
    "Unaliased",
    "whole_registers",
}


def import_lines(used: Iterable[str], dtype: str) -> str:
    """Return the imports of emitted source, by the names it uses."""
    lines = ["from lossary.kernels.cpu.math import ("]
    for name in sorted(used):
        own = _RENAMED.get(name, name) if name in _OF_ANY_TYPE else f"{name}_{TYPES[dtype]}"
        lines.append(f"    {own}{'' if own == name else f' as {name}'},")
    return "\n".join([*lines, ")"])


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
