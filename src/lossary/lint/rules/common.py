"""What several rules ask."""

from __future__ import annotations

import ast
from typing import Any

from lossary.lint.flow import FlowEvent
from lossary.lint.records import Edit
from lossary.lint.sources import Unit
from lossary.lint.values import Value, is_const, parts
from lossary.lint.vocabulary import KEEPS_MEANING

LOG_SCALE = frozenset({"log_softmax", "logsigmoid", "log", "logsumexp", "log1p"})
RAW = frozenset({"linear", "conv"})


def made(value: Value, event: FlowEvent) -> str:
    """Return where a value was made, if that is not where the loss is called."""
    line = getattr(value.node, "lineno", None)
    if line is None or value.unit is None:
        return ""
    if value.unit is event.unit:
        return "" if line == event.node.lineno else f" (line {value.unit.place(line, 0)[1]})"
    return f" ({value.unit.path.name}, line {value.unit.place(line, 0)[1]})"


def where(event: FlowEvent, *names: str) -> ast.AST:
    """Return the expression of an argument, or the call itself."""
    return event.argument_node(*names) or event.node


def named(node: ast.AST | None) -> str:
    """Return the last name of an expression, lower case, looking through methods that keep the meaning."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.func.attr.endswith("loss"):
        node = node.func.value
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        return node.id.lower()
    if isinstance(node, ast.arg):
        return node.arg.lower()
    return node.attr.lower() if isinstance(node, ast.Attribute) else ""


def guarded(value: Value) -> bool:
    """Whether something keeps a number away from 0: an epsilon added, a clamp, a maximum."""
    value = value.origin
    if value.op in ("clamp", "maximum", "where", "add"):
        return True
    return value.op == "sub" and any(guarded(part) for part in value.args)


_SELECTING = frozenset({"compare", "not", "and", "or"})
_CHOOSING = frozenset({"where", "select", "cond", "piecewise", "nan_to_num", "masked_fill"})


def thought_of(event: FlowEvent, value: Value, *around: str) -> bool:
    """Whether somebody has taken care of extreme numbers: compared them before, selected some of them, or chooses
    between two results around the expression (or calls a function `around` it).
    """
    for part in parts(value, KEEPS_MEANING | {"neg", "mul", "div", "sub", "add", "abs"}):
        if part.op == "bounded":
            return True
        if part.op == "index" and len(part.args) == 2 and _selects(part.args[1]):
            return True
    return encloses(event, _CHOOSING | set(around))


def _selects(index: Value) -> bool:
    if index.op in _SELECTING or (index.op in ("mul", "bitand", "bitor") and any(map(_selects, index.args))):
        return True
    return index.op in ("unknown", "param", "call") and named(index.node).endswith(("mask", "valid", "keep"))


def encloses(event: FlowEvent, names: frozenset[str] | set[str]) -> bool:
    """Whether the expression of an event stands in a call of one of some functions."""
    for call in event.frame.around:
        said = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if call is not event.node and said in names:
            return True
    return False


def in_autograd_function(event: FlowEvent) -> bool:
    """Whether the code is part of a `torch.autograd.Function`, through which no gradient is taken."""
    owner = event.frame.owner
    return owner is not None and any(name.endswith("autograd.Function") for name in owner.outside())


def one_minus(value: Value) -> Value | None:
    """Return x for 1 - x."""
    value = value.origin
    if value.op == "sub" and len(value.args) == 2 and is_const(value.args[0], 1, 1.0):
        return value.args[1]
    return None


def replace(unit: Unit, node: Any, text: str) -> Edit:
    """Replace an expression by a text."""
    return Edit(unit.start(node), unit.end(node), text)


def insert(unit: Unit, node: Any, text: str) -> Edit:
    """Write a text before an expression."""
    return Edit(unit.start(node), unit.start(node), text)
