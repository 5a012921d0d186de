"""The kernel IR knows no target: a second emitter, plain Python and one example at a time, agrees with the definitions.

It needs no compiler, and nothing of `lossary.kernels.cpu`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss
from lossary.kernels.ir import program, row_program
from lossary.kernels.ir.graph import Graph, UnsupportedError
from lossary.kernels.ir.program import Apply, Constant, Expression, RowCell, RowNumber, Variable
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
from lossary.kernels.ir.rows import traced_rows
from lossary.kernels.ir.trace import SymbolNamespace
from lossary.testing import random_arrays

RESERVED = ("math", "where", "power", "kept", "j", "k", "label", "value", "derivative", "numbers", "range")


# --- the functions that emitted source calls -------------------------------------------------------------------------


def exp(x: float) -> float:
    return math.exp(x) if x < 709.7 else math.inf


def expm1(x: float) -> float:
    return math.expm1(x) if x < 709.7 else math.inf


def log(x: float) -> float:
    return math.log(x) if x > 0 else (-math.inf if x == 0 else math.nan)


def log1p(x: float) -> float:
    return math.log1p(x) if x > -1 else (-math.inf if x == -1 else math.nan)


def power(x: float, y: float) -> float:
    return x**y if x > 0 else (1.0 if y == 0 else 0.0 if y > 0 else math.inf)


def quotient(x: float, y: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(x) / np.float64(y))


def sign(x: float) -> float:
    return math.copysign(1.0, x) if x else 0.0


def _of_gamma(order: int) -> Callable[[float], float]:
    def derivative(x: float) -> float:  # of log Gamma, by its recurrence and Stirling's series
        total = 0.0
        while x < 20:
            total += -1 / x if order == 1 else 1 / (x * x)
            x += 1
        if order == 1:
            return total + math.log(x) - 0.5 / x - 1 / (12 * x**2) + 1 / (120 * x**4) - 1 / (252 * x**6)
        return total + 1 / x + 0.5 / x**2 + 1 / (6 * x**3) - 1 / (30 * x**5) + 1 / (42 * x**7)

    return derivative


FUNCTIONS: dict[str, Any] = {
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "tanh": math.tanh,
    "sqrt": math.sqrt,
    "abs": abs,
    "sign": sign,
    "raised": power,
    "maximum": max,
    "minimum": min,
    "lgamma": math.lgamma,
    "digamma": _of_gamma(1),
    "trigamma": _of_gamma(2),
    "quotient": quotient,
    "math": math,
    "range": range,
    "float": float,
}


# --- the emitter ----------------------------------------------------------------------------------------------------


def text(x: Expression) -> str:
    match x:
        case Constant(number):
            return f"float({str(number)!r})"
        case Variable(name):
            return name
        case RowNumber(name):
            return f"numbers[{name!r}]"
        case RowCell(int(number), index):
            return f"kept[{number}][{index}]"
        case RowCell(name, index):
            return f"{name}_at[{index}]"
        case Apply("negative", (a,)):
            return f"(-{text(a)})"
        case Apply("~", (a,)):
            return f"(not {text(a)})"
        case Apply("&" | "|" as operation, (a, b)):
            return f"({text(a)} {'and' if operation == '&' else 'or'} {text(b)})"
        case Apply("/", (a, b)):
            return f"quotient({text(a)}, {text(b)})"
        case Apply("where", (condition, yes, no)):
            return f"({text(yes)} if {text(condition)} else {text(no)})"
        case Apply("one_hot", (label,)):
            return f"float(j == {text(label)})"
        case Apply("present", (label,)):
            return f"({text(label)} >= 0)"
        case Apply(operation, (a, b)) if not operation.isalpha():
            return f"({text(a)} {operation} {text(b)})"
        case Apply(operation, parts):
            return f"{operation}({', '.join(map(text, parts))})"
    raise AssertionError(x)


def statement(step: Statement, over: str) -> str:
    match step:
        case Assign(name, value):
            return f"{name} = {text(value)}"
        case SetNumber(number, value):
            return f"{text(number)} = {text(value)}"
        case StartReduction(number, operation):
            return f"{text(number)} = float({ {'sum': '0', 'max': '-inf', 'min': 'inf'}[operation]!r})"
        case Accumulate(number, "sum", value):
            return f"{text(number)} += {text(value)}"
        case Accumulate(number, operation, value):
            return f"{text(number)} = {operation}imum({text(number)}, {text(value)})"
        case SetCell(cell, value):
            return f"{text(cell)} = {text(value)}"
        case AddToCell(cell, value):
            return f"{text(cell)} += {text(value)}"
        case StoreValue(value):
            return f"results['value'] = {text(value)}"
        case StoreDerivative(number, value):
            place = f"results[{derivative_name(number)!r}]"
            return f"{place}{'[j]' if over == 'entries' else ''} = {text(value)}"
        case StoreAtLabel(number, label, value):
            place = f"results[{derivative_name(number)!r}][{text(label)}]"
            return f"if {text(label)} >= 0: {place} = {text(value)}"


def indented(lines: Sequence[str]) -> list[str]:
    return ["    " + line for line in lines]


def loop(found: Loop) -> list[str]:
    body = [statement(step, found.over) for step in found.body]
    if found.over == "entries":
        return ["for j in range(row_length):", *indented(body)]
    if found.over == "pairs":
        assert found.cell is not None
        inner = [f"{text(found.cell)} = 0.0", "for k in range(row_length):", *indented(body)]
        return ["for j in range(row_length):", *indented(inner)]
    return body


def compiled(arguments: Sequence[str], lines: Sequence[str]) -> Callable[..., Any]:
    held = dict(FUNCTIONS)
    exec("\n".join([f"def run({', '.join(arguments)}):", *indented(lines)]), held)
    run: Callable[..., Any] = held["run"]
    return run


def pointwise(loss: Loss, static: Any, uniform: Sequence[str], order: int) -> Callable[..., Any]:
    """A definition as a Python function of one example: its value and a derivative."""
    found = program.pointwise(loss, static, uniform, (), order, {0, order}, reserved=(*FUNCTIONS, *RESERVED))
    lines = [f"{name} = {expression}" for name, expression in found.uniforms]
    lines += [f"{name} = {text(value)}" for name, value in found.steps]
    lines.append(f"return {found.results[0][0]}, ({', '.join(found.results[order])},)")
    return compiled([*loss.arguments, *uniform], lines)


def on_rows(loss: Loss, alternative: int, static: Any, uniform: Sequence[str], order: int) -> Callable[..., Any]:
    """A definition on rows as a Python function of one row: its value and a derivative."""
    found: RowProgram = row_program.row_program(
        loss, alternative, static, uniform, (), (order,), True, reserved=(*FUNCTIONS, *RESERVED, "results")
    )
    lines = [f"{name} = {expression}" for name, expression in found.uniforms]
    lines += ["numbers, results = {}, {}", f"kept = [[0.0] * row_length for _ in range({found.kept})]"]
    for argument in found.arguments:
        if argument.kind != "row":
            lines.append(f"numbers[{argument.name!r}] = {argument.name}_at")
    for entry in found.at_labels:
        lines.append(f"{text(entry.number)} = {entry.row}_at[max({entry.label}_at, 0)]")
    rows = dict(enumerate(loss.signatures[alternative].inputs[loss.arguments.index(name)] for name in loss.wrt))
    lines += [f"results[{derivative_name(n)!r}] = [0.0] * row_length" for n, core in rows.items() if core]
    lines += [line for each in found.loops for line in loop(each)]
    listed = ", ".join(f"results[{derivative_name(n)!r}]" for n in rows)
    lines.append(f"return results['value'], ({listed},)")
    return compiled(["row_length", *(f"{name}_at" for name in loss.arguments), *uniform], lines)


# --- held to the definitions ----------------------------------------------------------------------------------------


def parameters(loss: Loss) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is fixed when a definition is traced, and the numbers given at a call."""
    held = {name: value for name, value in loss.defaults.items() if name != "ignore_index"}
    free = {name: value for name, value in held.items() if isinstance(value, float) and not loss.corners.get(name)}
    return {name: value for name, value in held.items() if name not in free}, free


def of_rank(rank: int) -> list[tuple[Loss, int]]:
    """The losses whose definitions have a program, with their alternatives."""
    found = []
    for loss in map(lossary.get, lossary.names()):
        for alternative, signature in enumerate(loss.signatures):
            if signature.rank == rank and loss.kernel and loss.coupling is None:
                static, free = parameters(loss)
                try:
                    if rank:
                        row_program.row_program(loss, alternative, static, list(free), (), (1,), True)
                    else:
                        program.pointwise(loss, static, list(free), (), 1, {1})
                except UnsupportedError:
                    continue
                found.append((loss, alternative))
    return found


def by_definition(loss: Loss, arrays: Sequence[Any], params: Any, order: int) -> tuple[Any, tuple[Any, ...]]:
    value = loss.value(*arrays, check=False, **params)
    derivatives = (loss.grad if order == 1 else loss.hess)(*arrays, check=False, **params)
    return value, derivatives if isinstance(derivatives, tuple) else (derivatives,)


def agree(found: list[tuple[float, tuple[Any, ...]]], value: Any, derivatives: tuple[Any, ...], name: str) -> None:
    np.testing.assert_allclose([v for v, _ in found], value, rtol=1e-9, atol=1e-12, err_msg=name)
    for number, derivative in enumerate(derivatives):
        got = [each[number] for _, each in found]
        np.testing.assert_allclose(got, derivative, rtol=1e-9, atol=1e-12, err_msg=f"{name}, derivative {number}")


@pytest.mark.parametrize("order", [1, 2])
def test_pointwise_programs_run_in_plain_python(order: int) -> None:
    ran = 0
    for loss, alternative in of_rank(0):
        static, free = parameters(loss)
        if order > loss.derivatives:
            continue
        arrays = random_arrays(loss, np.random.default_rng([*loss.name.encode()]), 12, alternative=alternative)
        run = pointwise(loss, static, list(free), order)
        found = [run(*map(float, example), **free) for example in zip(*arrays, strict=True)]
        agree(found, *by_definition(loss, arrays, static | free, order), loss.name)
        ran += 1
    assert ran > 30


@pytest.mark.parametrize("order", [1, 2])
def test_programs_on_rows_run_in_plain_python(order: int) -> None:
    ran = 0
    for loss, alternative in of_rank(1):
        static, free = parameters(loss)
        if order > loss.derivatives:
            continue
        arrays = random_arrays(loss, np.random.default_rng([*loss.name.encode()]), 5, alternative=alternative)
        run = on_rows(loss, alternative, static, list(free), order)
        length = next(a.shape[-1] for a in arrays if a.ndim == 2)
        found = [run(length, *(x.tolist() for x in example), **free) for example in zip(*arrays, strict=True)]
        agree(found, *by_definition(loss, arrays, static | free, order), f"{loss.name} {alternative}")
        ran += 1
    assert ran > 20


def test_what_depends_on_parameters_alone_is_computed_once() -> None:
    found = program.pointwise(lossary.pinball, {}, ("quantile",), (), 1, {1})
    assert "(1 - quantile)" in {expression for _, expression in found.uniforms}
    assert "value" not in {name for name, _ in found.steps}


def test_an_if_on_data_and_an_unknown_operation_cannot_be_traced() -> None:
    symbols = Graph()
    x = symbols.node("argument", ("x",), "number")
    with pytest.raises(UnsupportedError, match="if"):
        bool(x > 0)
    with pytest.raises(UnsupportedError, match="matmul"):
        SymbolNamespace(symbols).matmul(x, x)


# Losses on rows for which no loops can be generated, and why.
NOT_TRACED = {
    "arcface": "takes the cosine of an angle",
    "ctc": "runs along a sequence",
    "linear_chain_crf": "runs along a sequence",
    "rnnt": "runs along a sequence",
    "zero_one": "asks where the largest entry is, and has no gradient",
}


@pytest.mark.parametrize("name", sorted(NOT_TRACED))
def test_what_cannot_be_traced_is_known(name: str) -> None:
    loss = lossary.get(name)
    with pytest.raises(UnsupportedError):
        traced_rows(loss, 0, {k: v for k, v in loss.defaults.items() if k != "ignore_index"}, (), (), 1)


def test_nothing_of_a_target_is_imported() -> None:
    folder = Path(program.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert not name.startswith(("lossary.kernels.cpu", "lossary.kernels.gpu", "numba", "llvmlite")), path
