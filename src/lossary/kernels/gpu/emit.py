"""Emits Triton source: expressions of the kernel IR, and the statements of row programs on tiles of rows.

Every operation works on a tile. An expression is computed in the type of the program, float32 or float64: a literal
takes the type of what it meets, and has it spelled out where it stands alone. Functions come from
`lossary.kernels.gpu.math`; those of the gamma family are emitted beside the kernel from the series in
`lossary.kernels.gamma`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

from lossary.kernels import gamma
from lossary.kernels.ir.graph import COMPARED, Graph, UnsupportedError
from lossary.kernels.ir.program import (
    Apply,
    Constant,
    Expression,
    PointwiseLowering,
    RowCell,
    RowNumber,
    Variable,
)
from lossary.kernels.ir.row_program import (
    Accumulate,
    AddToCell,
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
from lossary.kernels.ir.trace import SymbolNamespace

# Names that the templates around a program use: no variable of a program may have one of them.
_TEMPLATE = """tl triton kernel abs where float divide largest least total uniforms given i i0 i1 i2 i3 i4 i5 i6
i7 row column first inside live here length rows width derivative_scale derivative_scale_at unless_at sums parts
example_weight value BLOCK ROWS k"""
RESERVED = frozenset(_TEMPLATE.split())
_OPERATORS = {"+", "-", "*", "<", "<=", ">", ">=", "==", "!=", "&", "|"}
_GAMMA = ("lgamma", "digamma", "trigamma")
# How a reduction starts, how it takes in one entry, and how the entries of a tile become one number for each row.
_REDUCTIONS = {
    "sum": ("0.0", "{held} + {x}", "total"),
    "max": ('float("-inf")', "maximum({held}, {x})", "largest"),
    "min": ('float("inf")', "minimum({held}, {x})", "least"),
}


class TritonEmitter:
    """Prints expressions of one type, and collects the functions that they call."""

    def __init__(self, dtype: str) -> None:
        self.dtype = f"tl.{dtype}"
        self.functions: set[str] = set()

    def text(self, x: Expression) -> str:
        """Return an expression as source; a constant as a bare literal, which takes the type of what it meets."""
        match x:
            case Constant(number):
                return literal(number)
            case Variable(name):
                return self.variable(name)
            case Apply():
                return self._applied(x)
            case _:
                return self.held(x)

    def typed(self, x: Expression) -> str:
        """Return an expression as source, a constant in the type of the program."""
        return self.full(self.text(x)) if isinstance(x, Constant) else self.text(x)

    def full(self, number: str) -> str:
        """Return a number as a tile of one entry in the type of the program."""
        return f"tl.full((), {number}, {self.dtype})"

    def variable(self, name: str) -> str:
        """Return what a variable of the program is called in the source."""
        return name

    def held(self, x: RowNumber | RowCell) -> str:
        """Return how to read what is kept between the loops of a row program."""
        raise UnsupportedError("only programs on rows have numbers of a row")

    def _applied(self, x: Apply) -> str:
        operation, parts = x.operation, x.parts
        if operation in _OPERATORS:
            numbers = [part.value for part in parts if isinstance(part, Constant)]
            if len(numbers) == 2 and operation in COMPARED:
                return f"tl.full((), {int(COMPARED[operation](*numbers))}, tl.int1)"
            if len(numbers) == 2:
                return f"({self.typed(parts[0])} {operation} {self.text(parts[1])})"
            return f"({self.text(parts[0])} {operation} {self.text(parts[1])})"
        given = list(map(self.typed, parts))
        if operation == "negative":
            return f"(-{given[0]})"
        if operation == "~":
            return f"(~{given[0]})"
        if operation in ("where", "abs"):
            return f"tl.{operation}({', '.join(given)})"
        name = "divide" if operation == "/" else operation
        self.functions.add(name)
        return f"{name}({', '.join(given)})"


def literal(x: float) -> str:
    """Return a number as source."""
    return repr(x) if math.isfinite(x) else f'float("{x}")'


def weighted(result: str, weight: bool, kind: str) -> str:
    """Return a derivative times the factors it has, exactly 0 if one of them that only the device knows is 0."""
    text = " * ".join([result, *(["example_weight"] if weight else []), "derivative_scale"])
    text = f"tl.where(derivative_scale == 0.0, 0.0, {text})" if kind in ("tensor", "unless") else text
    return f"tl.where(example_weight == 0.0, 0.0, {text})" if weight else text


@cache
def _gamma_source(name: str) -> tuple[str, frozenset[str]]:
    """Return one of the gamma functions as Triton source in double precision, and the functions that it calls."""
    graph = Graph()
    xp = SymbolNamespace(graph)
    x = graph.node("argument", ("x",), "number")
    series = {"lgamma": gamma.lgamma_of, "digamma": gamma.digamma_of}
    made = gamma.trigamma_of(xp.where) if name == "trigamma" else series[name](xp.where, xp.log)
    function: Any = SimpleNamespace(arguments=("x",), wrt=(), defaults={})
    program = PointwiseLowering(function, [(made(x),)], {0}, RESERVED).program()
    emitter = TritonEmitter("float64")
    steps = [f"    {step} = {emitter.typed(value)}" for step, value in program.steps]
    (result,) = program.results[0]
    lines = ["@triton.jit", f"def {name}(given):", "    x = given.to(tl.float64)", *steps]
    return "\n".join([*lines, f"    return {result}.to(given.dtype)"]), frozenset(emitter.functions)


def preamble(functions: Iterable[str]) -> str:
    """Return the imports of a generated module, and the functions that are emitted beside its kernel."""
    named, sources = set(functions), []
    for name in _GAMMA:
        if name in named:
            source, more = _gamma_source(name)
            named = (named - {name}) | more
            sources.append(source)
    imported = ", ".join(sorted(named))
    imports = [f"from lossary.kernels.gpu.math import {imported}"] if imported else []
    return "\n\n\n".join(["\n".join(["import triton", "import triton.language as tl", *imports]), *sources])


# --- programs on rows -----------------------------------------------------------------------------------------------


class TritonRowEmitter(TritonEmitter):
    """Prints the loops of a row program over a tile of ``ROWS`` rows.

    A number of the row is a column of the tile. If rows are `whole`, a tile holds all entries of its rows, and rows
    that are kept between loops stay in registers. Otherwise every loop goes along the rows in steps of ``BLOCK``
    entries, reads what it needs again, and a reduction has a number for each lane of the tile until the loop ends.
    """

    def __init__(self, program: RowProgram, dtype: str, weighted: bool, whole: bool, scale: str) -> None:
        super().__init__(dtype)
        self.program, self.weighted, self.whole, self.scale = program, weighted, whole, scale
        self.loaded: set[str] = set()  # arrays whose entries the present loop has
        self.renamed: dict[str, str] = {}  # variables of the present loop
        if program.kept and not whole:
            raise UnsupportedError("rows cannot be kept between loops over parts of a row")
        self.arrays = {a.name: a for a in program.arguments}
        self.lines = [*self._read(), *(x for n, loop in enumerate(program.loops) for x in self._loop(n, loop))]
        self.lines += self._cleared()

    def _read(self) -> list[str]:
        """Read the numbers and labels of the rows, and entries at labels."""
        lines = []
        for name, argument in self.arrays.items():
            if argument.kind == "number":
                read = f"tl.load({name}_at + {name}_row, mask=live, other=0.0)"
                lines.append(f"{name}_n = {read}.to({self.dtype})")
            if argument.kind == "label":
                lines.append(f"{name}_n = tl.load({name}_at + {name}_row, mask=live, other=-1).to(tl.int64)")
                lines.append(f"{name}_n = tl.where(({name}_n < 0) | ({name}_n >= width), -1, {name}_n)")
        for found in self.program.at_labels:
            entry = f"tl.where({found.label}_n < 0, 0, {found.label}_n) * {found.row}_entry"
            read = f"tl.load({found.row}_at + {found.row}_row + {entry}, mask=live, other=0.0)"
            lines.append(f"{found.number.name}_n = {read}.to({self.dtype})")
        if self.whole:
            lines += [line for name, a in self.arrays.items() if a.kind == "row" for line in self._entries(name)]
        return lines

    def _entries(self, name: str) -> list[str]:
        """Read the entries of an array at the columns of the tile."""
        if name in self.loaded or name not in self.program.columns:
            return []
        self.loaded.add(name)
        read = f"tl.load({name}_at + {name}_row + column * {name}_entry, mask=here, other=0.0)"
        return [f"{name}_c = {read}.to({self.dtype})"]

    def _loop(self, number: int, loop: Loop) -> list[str]:
        self.renamed = {}
        if not self.whole:
            self.loaded = set()
        self.suffix = f"_l{number}"
        if loop.over == "pairs":
            return self._pairs(loop)
        if loop.over in ("rows", "results"):
            return [line for statement in loop.body for line in self._statement(statement, loop)]
        if self.whole:
            return [line for statement in loop.body for line in self._statement(statement, loop)]
        body: list[str] = []
        for statement in loop.body:
            body += self._statement(statement, loop)
        read = [line for name in self._met(loop) for line in self._entries(name)]
        reductions = [s for s in loop.body if isinstance(s, Accumulate)]
        before = [f"{s.number.name}_lanes = {self._start(s)}" for s in reductions]
        after = [f"{s.number.name}_n = {self._end(s.operation)}({s.number.name}_lanes)" for s in reductions]
        return [*before, *_along([*read, *body]), *after]

    def _start(self, statement: Accumulate) -> str:
        return f"tl.full((ROWS, BLOCK), {_REDUCTIONS[statement.operation][0]}, {self.dtype})"

    def _end(self, operation: str) -> str:
        self.functions.add(_REDUCTIONS[operation][2])
        return _REDUCTIONS[operation][2]

    def _met(self, loop: Loop) -> list[str]:
        """The arrays of which a loop reads every entry."""
        found: list[str] = []
        for statement in loop.body:
            stack: list[Any] = [getattr(statement, "value", None)]
            while stack:
                x = stack.pop()
                if isinstance(x, RowCell) and isinstance(x.row, str):
                    found.append(x.row)
                if isinstance(x, Apply):
                    stack += x.parts
        return list(dict.fromkeys(found))

    def _pairs(self, loop: Loop) -> list[str]:
        """For each entry, a sum over all entries of its row, which are picked out of the tile one after the other."""
        if not self.whole or loop.cell is None:
            raise UnsupportedError("pairs of entries need whole rows")
        inner = [
            f"{text}_k = tl.sum(tl.where(column == k, {text}, 0.0), 1, keep_dims=True)"
            for text in dict.fromkeys(self._inner(loop))
        ]
        inner += [line for statement in loop.body for line in self._statement(statement, loop)]
        cell = self._cell(loop.cell)
        return [f"{cell} = tl.zeros((ROWS, BLOCK), {self.dtype})", "for k in range(width):", *_indented(inner)]

    def _inner(self, loop: Loop) -> Iterable[str]:
        for statement in loop.body:
            stack: list[Any] = [getattr(statement, "value", None)]
            while stack:
                x = stack.pop()
                if isinstance(x, RowCell) and x.index == "k":
                    yield self._cell(x)
                if isinstance(x, Apply):
                    stack += x.parts

    def _cell(self, cell: RowCell) -> str:
        return f"{cell.row}_c" if isinstance(cell.row, str) else f"kept_{cell.row}"

    def _statement(self, statement: Statement, loop: Loop) -> list[str]:
        match statement:
            case Assign(name, value):
                text = self.typed(value)
                self.renamed[name] = name + self.suffix
                return [f"{name}{self.suffix} = {text}"]
            case SetNumber(number, value):
                return [f"{number.name}_n = {self.typed(value)}"]
            case StartReduction():
                return []
            case Accumulate(number, operation, value):
                start, grown, _ = _REDUCTIONS[operation]
                self.functions |= {name for name in ("maximum", "minimum") if name in grown}
                inside = f"tl.where(here, {self.typed(value)}, {start})"
                if self.whole:
                    return [f"{number.name}_n = {self._end(operation)}({inside})"]
                return [f"{number.name}_lanes = {grown.format(held=f'{number.name}_lanes', x=inside)}"]
            case SetCell(cell, value):
                return [f"{self._cell(cell)} = {self.typed(value)}"]
            case AddToCell(cell, value):
                return [f"{self._cell(cell)} += {self.text(value)}"]
            case StoreValue(value):
                return [f"value = {self._value(value)}"]
            case StoreDerivative(derivative, value):
                name = derivative_name(derivative)
                if loop.over == "entries":
                    return [
                        f"tl.store({name}_out + {name}_row + column * {name}_entry, "
                        f"{self._derivative(value)}, mask=here)"
                    ]
                return [f"tl.store({name}_out + {name}_row, {self._derivative(value)}, mask=live)"]
            case StoreAtLabel(derivative, label, value):
                name = derivative_name(derivative)
                return [f"{name}_n = {self._derivative(value)}", f"{name}_label = {label.name}_n"]

    def _cleared(self) -> list[str]:
        """Derivatives that are 0 but at a label."""
        lines = []
        for name in map(derivative_name, self.program.sparse):
            entry = f"tl.where(column == {name}_label, {name}_n, 0.0)"
            lines.append(f"tl.store({name}_out + {name}_row + column * {name}_entry, {entry}, mask=here)")
        return lines if self.whole or not lines else _along(lines)

    def _value(self, value: Expression) -> str:
        text = self.typed(value)
        return f"tl.where(example_weight == 0.0, 0.0, {text} * example_weight)" if self.weighted else text

    def _derivative(self, value: Expression) -> str:
        return weighted(self.typed(value), self.weighted, self.scale)

    # -- expressions

    def variable(self, name: str) -> str:
        """Return what a variable is called in the present loop; a uniform keeps its name."""
        return self.renamed.get(name, name)

    def held(self, x: RowNumber | RowCell) -> str:
        """Return how to read a number of the row, or an entry of a row."""
        if isinstance(x, RowNumber):
            return f"{x.name}_n"
        return self._cell(x) + ("_k" if x.index == "k" else "")

    def _applied(self, x: Apply) -> str:
        if x.operation == "one_hot":
            return f"tl.where(column == {self.text(x.parts[0])}, {self.full('1.0')}, {self.full('0.0')})"
        if x.operation == "present":
            return f"({self.text(x.parts[0])} >= 0)"
        return super()._applied(x)


def _indented(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]


def _along(body: Sequence[str]) -> list[str]:
    """A loop along the rows in steps of a block."""
    columns = ["column = (first + tl.arange(0, BLOCK)).to(tl.int64)[None, :]", "here = live & (column < width)"]
    return ["for first in range(0, width, BLOCK):", *_indented([*columns, *body])]
