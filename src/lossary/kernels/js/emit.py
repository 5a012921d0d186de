"""Emits JavaScript: expressions, statements and loops of the kernel IR as functions of one example.

A function takes the arrays of one example and the parameters, and returns ``[value, gradients, curvatures]``, the last
two with one entry (a number or a row) for each differentiable argument. Numbers are float64 throughout, as NumPy's. The
functions that expressions call come from `runtime`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from lossary.kernels import gamma
from lossary.kernels.ir.graph import Graph, UnsupportedError
from lossary.kernels.ir.program import (
    Apply,
    Constant,
    Expression,
    PointwiseLowering,
    Program,
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
)
from lossary.kernels.ir.trace import SymbolNamespace

_KEYWORDS = """arguments await break case catch class const continue debugger default delete do else enum eval export
extends false finally for function if implements import in instanceof interface let new null package private protected
public return static super switch this throw true try typeof undefined var void while with yield"""
_TEMPLATE = "abs cos sin raised inf nan x p j k row_length value Infinity NaN Math Float64Array"
RESERVED = frozenset([*_KEYWORDS.split(), *_TEMPLATE.split()])
_OPERATORS = {
    "&": "&&",
    "|": "||",
    "==": "===",
    "!=": "!==",
    **{s: s for s in ("<", "<=", ">", ">=", "+", "-", "*", "/")},
}
_REDUCTIONS = {
    "sum": ("0", "{held} + {x}"),
    "max": ("-Infinity", "maximum({held}, {x})"),
    "min": ("Infinity", "minimum({held}, {x})"),
}

# What JavaScript has, under the names of the IR. `inf`, `nan`, `abs` and `**` stand in the expressions of uniforms too.
# A power of 1, or with the exponent 0, is 1 whatever the other number is: C and NumPy say so, `Math.pow` does not.
_GIVEN = """const {abs, cos, exp, expm1, log, log1p, sign, sin, sqrt, tanh} = Math;
const inf = Infinity, nan = NaN;
const maximum = Math.max, minimum = Math.min;
const raised = (x, y) => x === 1 || y === 0 ? 1 : Math.pow(x, y);
"""


def runtime() -> str:
    """Return the functions that emitted code calls; log Gamma and its derivatives are traced from `kernels.gamma`."""
    special: dict[str, Callable[[Any], Callable[[Any], Any]]] = {
        "lgamma": lambda xp: gamma.lgamma_of(xp.where, xp.log),
        "digamma": lambda xp: gamma.digamma_of(xp.where, xp.log),
        "trigamma": lambda xp: gamma.trigamma_of(xp.where),
    }
    lines = [_GIVEN]
    for name, made in special.items():
        graph = Graph()
        result = made(SymbolNamespace(graph))(graph.node("argument", ("z",), "number"))
        shape: Any = SimpleNamespace(arguments=("z",), defaults={}, wrt=())
        found = PointwiseLowering(shape, [(graph.number(result),)], {0}, RESERVED).program()
        body = [f"const {name_of} = {text(value)};" for name_of, value in found.steps]
        lines.append(f"const {name} = (z) => {{\n{_block([*body, f'return {found.results[0][0]};'])}\n}};\n")
    return "".join(lines)


# --- expressions ------------------------------------------------------------------------------------------------------


def text(x: Expression) -> str:
    """Return an expression as source; every compound stands in brackets."""
    if isinstance(x, Variable):
        return identifier(x.name)
    if isinstance(x, Constant):
        return number(x.value)
    if isinstance(x, RowNumber):
        return f"{x.name}_of_row"
    if isinstance(x, RowCell):
        return f"kept_{x.row}[{x.index}]" if isinstance(x.row, int) else f"{x.row}_entries[{x.index}]"
    return _applied(x)


def _applied(x: Apply) -> str:
    parts = [text(part) for part in x.parts]
    if x.operation == "negative":
        return f"(-{parts[0]})"
    if x.operation == "~":
        return f"(!{parts[0]})"
    if x.operation in _OPERATORS:
        return f"({parts[0]} {_OPERATORS[x.operation]} {parts[1]})"
    if x.operation == "where":
        return f"({parts[0]} ? {parts[1]} : {parts[2]})"
    if x.operation == "one_hot":
        return f"(j === {parts[0]} ? 1 : 0)"
    if x.operation == "position":
        return "j"
    if x.operation == "present":
        return f"({parts[0]} >= 0)"
    return f"{x.operation}({', '.join(parts)})"


def number(x: float) -> str:
    """Return a number as source."""
    if math.isinf(x):
        return "Infinity" if x > 0 else "(-Infinity)"
    return "NaN" if math.isnan(x) else repr(x) if x >= 0 else f"({x!r})"


def identifier(name: str) -> str:
    """Return a name that JavaScript takes: an argument may be called like one of its keywords."""
    return f"{name}_" if name in RESERVED else name


def _block(lines: Iterable[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)


def _uniforms(parameters: Iterable[str], uniforms: Iterable[tuple[str, str]]) -> list[str]:
    """The lines that compute what follows from parameters alone.

    Such an expression has numbers, names, + - * / ** and abs, and means in JavaScript what it means in Python.
    """
    names = re.compile(rf"\b(?:{'|'.join(parameters) or '(?!)'})\b")
    return [f"const {name} = {names.sub(lambda found: f'p.{found[0]}', expression)};" for name, expression in uniforms]


# --- functions --------------------------------------------------------------------------------------------------------


def pointwise(program: Program, arguments: Sequence[str], parameters: Iterable[str]) -> str:
    """Return a pointwise program as a function."""
    lines = [f"const {identifier(name)} = x[{arguments.index(name)}];" for name in program.arguments]
    lines += _uniforms(parameters, program.uniforms)
    lines += [f"const {name} = {text(value)};" for name, value in program.steps]
    results = [f"[{', '.join(names)}]" for names in program.results[1:]]
    lines.append(f"return [{', '.join([program.results[0][0], *results])}];")
    return f"(x, p) => {{\n{_block(lines)}\n}}"


def rows(
    program: RowProgram,
    arguments: Sequence[str],
    parameters: Iterable[str],
    width: int,
    long: Sequence[bool],
    orders: int,
) -> str:
    """Return a row program as a function.

    `width` is the number of an argument that is a row; `long` says of each differentiable argument whether it is one.
    """
    kinds = {a.name: a.kind for a in program.arguments}
    lines = [f"const row_length = x[{width}].length;"]
    for at, name in enumerate(arguments):
        if name in kinds:
            lines.append(f"const {name}_{'entries' if kinds[name] == 'row' else 'of_row'} = x[{at}];")
    lines += _uniforms(parameters, program.uniforms)
    lines += [f"let {found.name}_of_row;" for found in program.numbers if found.name not in kinds]
    lines += [f"const {f.number.name}_of_row = {f.row}_entries[{f.label}_of_row];" for f in program.at_labels]
    lines += [f"const kept_{at} = new Float64Array(row_length);" for at in range(program.kept)]
    derivatives = [each for _ in range(orders) for each in long]
    made = ["new Float64Array(row_length)" if each else "0" for each in derivatives]
    lines += [f"let value = 0{''.join(f', derivative_{at} = {start}' for at, start in enumerate(made))};"]
    for loop in program.loops:
        lines += _loop(loop)
    grouped = [f"[{', '.join(f'derivative_{k * len(long) + at}' for at in range(len(long)))}]" for k in range(orders)]
    lines.append(f"return [{', '.join(['value', *grouped])}];")
    return f"(x, p) => {{\n{_block(lines)}\n}}"


def _loop(loop: Loop) -> list[str]:
    body = [_statement(statement, loop) for statement in loop.body]
    if loop.over in ("rows", "results"):
        return ["{", *body, "}"]
    if loop.over == "entries":
        return ["for (let j = 0; j < row_length; j++) {", *body, "}"]
    assert loop.cell is not None
    inner = ["for (let k = 0; k < row_length; k++) {", *body, "}"]
    return ["for (let j = 0; j < row_length; j++) {", f"{text(loop.cell)} = 0;", *inner, "}"]


def _statement(statement: Statement, loop: Loop) -> str:
    match statement:
        case Assign(name, value):
            return f"const {identifier(name)} = {text(value)};"
        case SetNumber(held, value):
            return f"{text(held)} = {text(value)};"
        case StartReduction(held, operation):
            return f"{text(held)} = {_REDUCTIONS[operation][0]};"
        case Accumulate(held, operation, value):
            return f"{text(held)} = {_REDUCTIONS[operation][1].format(held=text(held), x=text(value))};"
        case SetCell(cell, value):
            return f"{text(cell)} = {text(value)};"
        case AddToCell(cell, value):
            return f"{text(cell)} += {text(value)};"
        case StoreValue(value):
            return f"value = {text(value)};"
        case StoreDerivative(derivative, value):
            return f"derivative_{derivative}{'[j]' if loop.over == 'entries' else ''} = {text(value)};"
        case StoreAtLabel(derivative, label, value):
            return f"if ({text(label)} >= 0) derivative_{derivative}[{text(label)}] = {text(value)};"
    raise UnsupportedError(f"{type(statement).__name__} has no JavaScript")
