"""Textbook notation of source expressions: without namespaces, casts, or zeros and ones that carry a type.

An expression of a definition is an AST; `Notation` rewrites it, given the values of the local variables before the
statement was executed: a branch on parameters is replaced by the one that was taken, a guard that had nothing to do by
what it guards, a function of `lossary.numerics` by the formula that its docstring opens with.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from types import CodeType
from typing import Any

from lossary import numerics

# --- the source of a function ---------------------------------------------------------------------------------------


@cache
def function_tree(code: CodeType) -> ast.FunctionDef:
    """Return the syntax tree of a function, with the line numbers of its file; raise `OSError` if it has no source."""
    lines, start = inspect.getsourcelines(code)
    try:
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except SyntaxError:  # a lambda in the middle of an expression
        raise OSError(f"the source of {code.co_name} is no statement of its own") from None
    ast.increment_lineno(tree, start - 1)
    (found,) = tree.body
    if not isinstance(found, ast.FunctionDef):
        raise OSError(f"the source of {code.co_name} is no function definition")
    return found


def assigned(node: ast.AST) -> list[str]:
    """Return the names that a statement, or a whole function, assigns to, in order; private ones are left out."""
    stores = [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    stores.sort(key=lambda n: (n.lineno, n.col_offset))
    return list(dict.fromkeys(n.id for n in stores if not n.id.startswith("_")))


# --- the notation -----------------------------------------------------------------------------------------------------

# Functions that are better known by their name than by their formula.
_KEPT_NAMES = frozenset({"sigmoid"})


@cache
def docstring_formula(name: str) -> tuple[dict[str, ast.expr], ast.expr] | None:
    """Return the parameters of a function of `lossary.numerics` and the formula its docstring opens with, if any."""
    function = getattr(numerics, name, None)
    opening = re.match(r"Return ``(.+?)``", inspect.getdoc(function) or "") if function else None
    if function is None or opening is None or name in _KEPT_NAMES:
        return None
    parameters: dict[str, ast.expr] = {
        name: ast.Name(name, ast.Load()) if p.default is p.empty else ast.Constant(p.default)
        for name, p in list(inspect.signature(function).parameters.items())[1:]
    }
    try:
        formula = ast.parse(opening.group(1), mode="eval").body
    except SyntaxError:  # mathematics, not an expression: n!
        return None
    functions = {id(n.func) for n in ast.walk(formula) if isinstance(n, ast.Call)}
    free = {n.id for n in ast.walk(formula) if isinstance(n, ast.Name) and id(n) not in functions}
    return (parameters, formula) if free <= parameters.keys() else None


class Notation(ast.NodeTransformer):
    """Rewrites an expression: `names` maps variables to what they stand for, `space` to their values."""

    def __init__(self, names: Mapping[str, ast.expr], space: Mapping[str, Any]) -> None:
        self.names = names
        self.space = space

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Put in the place of a variable what it stands for."""
        return deepcopy(self.names.get(node.id, node))

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        """Leave out the namespace before an operation."""
        if isinstance(node.value, ast.Name) and node.value.id in ("xp", "numerics"):
            return ast.Name(node.attr, ast.Load())
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        """Leave out a subscript that selects everything."""
        if self._is_everything(node.slice):
            return self.visit(node.value)  # type: ignore[no-any-return]
        return self.generic_visit(node)  # type: ignore[return-value]

    def _is_everything(self, node: ast.expr) -> bool:
        """Whether a name holds the slice of everything, which selects the whole array."""
        held = self.space.get(node.id) if isinstance(node, ast.Name) else None
        return isinstance(held, slice) and held == slice(None)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        """Show the branch that was taken, where a condition depends on parameters alone."""
        test = _evaluated(node.test, self.space)
        if is_parameter(test) and _decidable(node.test, self.space):
            return self.visit(node.body if test else node.orelse)  # type: ignore[no-any-return]
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Simplify neutral operands: factors of 1 and 0, terms of 0, quotients by 1, first powers."""
        self.generic_visit(node)
        for one, other in ((node.left, node.right), (node.right, node.left)):
            number = one.value if isinstance(one, ast.Constant) else None
            if isinstance(node.op, ast.Mult) and number in (0, 1):
                return other if number else ast.Constant(0)
            if isinstance(node.op, ast.Add) and number == 0:
                return other
        if isinstance(node.right, ast.Constant):
            neutral = {ast.Div: 1, ast.Pow: 1, ast.Sub: 0}.get(type(node.op))
            if neutral is not None and node.right.value == neutral:
                return node.left
        left, right = (getattr(side, "value", None) for side in (node.left, node.right))
        if isinstance(left, int) and isinstance(right, int) and isinstance(node.op, (ast.Add, ast.Sub)):
            return ast.Constant(left + right if isinstance(node.op, ast.Add) else left - right)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Write calls as mathematics does: only the choice that was made, and no namespace."""
        choice = self._choice(node) or self._guarded(node)
        if choice is not None:
            return choice
        stated = [a for a in node.args if not self._is_everything(a)]
        node = self.generic_visit(ast.Call(node.func, stated, node.keywords))  # type: ignore[assignment]
        arguments = [a for a in node.args if not (isinstance(a, ast.Name) and a.id == "xp")]
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "zeros_like":
            return ast.Constant(0)
        if name == "ones_like":
            return ast.Constant(1)
        if name in ("astype", "broadcast_to"):
            return arguments[0]
        if name in ("one_hot", "arange"):
            return ast.Call(node.func, arguments[:1], [])
        if name == "where":
            return ast.IfExp(*arguments)
        if name == "scan":  # the step is shown applied to what it runs over
            over = [part for group in arguments[1:] for part in getattr(group, "elts", [group])]
            return ast.Call(node.func, [ast.Call(arguments[0], over, [])], node.keywords)
        if name == "map_rows":  # so is the function, to all rows at once
            function, over = arguments[0], getattr(arguments[1], "elts", [])
            if not isinstance(function, ast.Lambda):
                return ast.Call(function, over, [])
            names = [argument.arg for argument in function.args.args]
            return Notation(dict(zip(names, over, strict=True)), {}).visit(function.body)  # type: ignore[no-any-return]
        if name in ("minimum", "maximum") and len({ast.dump(a) for a in arguments}) == 1:
            return arguments[0]
        reading = docstring_formula(name)
        if reading is not None and len(reading[0]) >= len(arguments):
            bound = reading[0] | dict(zip(reading[0], arguments, strict=False))
            return Notation(bound, {}).visit(deepcopy(reading[1]))  # type: ignore[no-any-return]
        return ast.Call(node.func, arguments, node.keywords)

    def _guarded(self, node: ast.Call) -> ast.expr | None:
        """Replace a guard against infinities that had nothing to do by what it guards."""
        condition = ast.unparse(node.args[0]) if called_name(node) == "where" else ""
        if "inf" not in condition and condition not in GUARDS:
            return None
        test = _evaluated(node.args[0], self.space)
        if test is None or bool(test.any() if hasattr(test, "any") else test):
            return None
        return self.visit(node.args[2])  # type: ignore[no-any-return]

    def _choice(self, node: ast.Call) -> ast.expr | None:
        """Replace a helper that only chooses between two expressions by the one that it chose."""
        function = getattr(numerics, node.func.attr, None) if isinstance(node.func, ast.Attribute) else None
        if not inspect.isfunction(function) or node.keywords:
            return None
        tree = function_tree(function.__code__)
        last = tree.body[-1]
        if len(tree.body) > 2 or not isinstance(last, ast.Return) or not isinstance(last.value, ast.IfExp):
            return None
        names = [a.arg for a in tree.args.args]
        space = {n: self.space[a.id] for n, a in zip(names, node.args, strict=False) if _known(a, self.space)}  # type: ignore[attr-defined]
        given = [self.visit(deepcopy(a)) for a in node.args]
        chosen = Notation(dict(zip(names[1:], given[1:], strict=False)), space).visit(deepcopy(last.value))
        return None if isinstance(chosen, ast.IfExp) else chosen


# Names of conditions by which definitions and helpers keep away from infinities, in derivatives as well.
GUARDS = {"empty", "never", "always", "certain", "near_certain", "extreme", "straight", "end"}

# What a condition may refer to besides local variables: rules of numerics, such as which parameter means absent.
_RULES = {"numerics": numerics}


def _evaluated(node: ast.expr, space: Mapping[str, Any]) -> Any:
    """Return the value of a condition, or None if it depends on more than local variables."""
    if not _decidable(node, space):
        return None
    return eval(compile(ast.Expression(node), "<condition>", "eval"), dict(_RULES), dict(space))


def _decidable(node: ast.expr, space: Mapping[str, Any]) -> bool:
    return all(n.id in space or n.id in _RULES for n in ast.walk(node) if isinstance(n, ast.Name))


def _known(node: ast.expr, space: Mapping[str, Any]) -> bool:
    return isinstance(node, ast.Name) and node.id in space


def is_parameter(value: Any) -> bool:
    """Whether a value is a parameter or follows from parameters alone: it is known before the arrays are."""
    return value is None or (isinstance(value, (bool, int, float, str)) and not hasattr(value, "shape"))


def called_name(node: ast.AST) -> str:
    """Return the name of the function that a node calls, without its module; empty if the node is no call."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", "") or getattr(node.func, "id", "")


def text_of(node: ast.expr) -> str:
    """Return an expression as text."""
    return ast.unparse(ast.fix_missing_locations(node))
