"""Branches of a definition: reads from its source where a parameter chooses the formula.

A definition may say ``if alpha == 2`` of a parameter that is fixed for the whole call. Random numbers never hit such a
value, so the record names it (`special`), and tests draw it. What is read here holds the two together, and says which
parameters cannot differ from example to example.
"""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from lossary.catalogue.domains import Domain


class Parametrised(Hashable, Protocol):
    """The facts of a record that tell which values of its parameters choose a formula."""

    @property
    def name(self) -> str:
        """The name of the loss."""

    @property
    def define(self) -> Callable[..., Any]:
        """The definition: a generator of value, gradient and Hessian diagonal."""

    @property
    def coupling(self) -> Any:
        """What couples a batch, or None."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The parameters, with their defaults."""

    @property
    def special(self) -> Mapping[str, tuple[float, ...]]:
        """The values of parameters that choose a formula, as the record names them."""

    @property
    def corners(self) -> Mapping[str, tuple[Any, ...]]:
        """The values of parameters where formulas break or branch."""

    @property
    def parameter_domains(self) -> Mapping[str, tuple[Domain, bool]]:
        """The domain of each parameter, and whether it holds one number per class."""


@dataclass(frozen=True)
class Branch:
    """One comparison that decides which statements of a definition run.

    `constants` are what the parameter is compared with, or None if that cannot be read. `guarded` says that the
    comparison is only made of plain numbers, so that an array in the parameter's place does no harm.
    """

    parameter: str
    where: str
    text: str
    constants: tuple[Any, ...] | None
    guarded: bool = False


@cache
def branches(loss: Parametrised) -> tuple[Branch, ...]:
    """Return every branch of a definition, of its coupling and of the functions they call, on a parameter."""
    found = list(_of_function(loss.define, {name: name for name in loss.defaults}, {}))
    if loss.coupling:
        found += _of_function(loss.coupling.rows, {name: name for name in loss.coupling.defaults}, {})
    return tuple(dict.fromkeys(found))


def branching(loss: Parametrised) -> frozenset[str]:
    """Return the parameters by which a definition chooses its formula: each is one number for the whole call."""
    return frozenset(branch.parameter for branch in branches(loss) if not branch.guarded)


def undeclared(loss: Parametrised) -> list[str]:
    """Return a sentence for each branch on a value of a parameter that the record does not name.

    >>> import lossary
    >>> undeclared(lossary.multi_margin)
    []
    """
    sentences = []
    for branch in branches(loss):
        name = branch.parameter
        start = f"{loss.name}: {branch.where} branches on `{branch.text}`"
        known = {*loss.corners.get(name, ()), loss.defaults[name]}
        unnamed = [c for c in branch.constants or () if c is not None and c not in known]
        if not branch.guarded and name not in loss.special and _is_one_number(loss, name):
            unnamed = unnamed or list(branch.constants or ())
        if branch.constants is None:
            sentences.append(
                f"{start}, whose outcome cannot be read: compare {name} itself with a constant, or compute both "
                "formulas and choose by xp.where"
            )
        elif unnamed:
            values = ", ".join(f"{c!r}" for c in unnamed)
            sentences.append(
                f"{start}, but the record does not name {values} among the special values of {name}, so no test draws "
                f'it: add special={{"{name}": ({values},)}} to the record'
            )
    return sentences


def _is_one_number(loss: Parametrised, name: str) -> bool:
    """Whether a parameter ranges over numbers that cannot all be drawn."""
    domain, per_class = loss.parameter_domains[name]
    return not per_class and domain.kind in ("interval", "integer", "count")


# --- reading ----------------------------------------------------------------------------------------------------------


_DEEPEST = 5  # calls within calls that are followed: a function may call itself


class _UnreadableError(Exception):
    """An expression that is no constant."""


def _of_function(
    function: Callable[..., Any], parameters: Mapping[str, str], constants: Mapping[str, Any], depth: int = 0
) -> Iterator[Branch]:
    """Yield the branches of one function, in which `parameters` of the loss stand under other names perhaps."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, TypeError, SyntaxError, ValueError):  # typed at a prompt: nothing can be read of it
        return
    names, derived = dict(parameters), dict[str, str]()
    for node in ast.walk(tree):  # an assignment stands before its uses, and is walked before what is inside later ones
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            target, value = node.targets[0].id, node.value
            if isinstance(value, ast.Name) and value.id in names and target not in names:
                names[target] = names[value.id]
            elif (of := _depends(value, names, derived)) and target not in names:
                derived[target] = of
    space = getattr(inspect.unwrap(function), "__globals__", {})
    where = getattr(function, "__qualname__", "the definition")
    for test in _tests(tree):
        guarded = _is_guarded(test, names)
        for atom in _atoms(test):
            for name, found in _constants(atom, names, derived, constants, space):
                yield Branch(name, where, ast.unparse(atom), found, guarded)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and depth < _DEEPEST:
            yield from _of_call(node, names, constants, space, depth + 1)


def _of_call(
    node: ast.Call, names: Mapping[str, str], constants: Mapping[str, Any], space: Mapping[str, Any], depth: int
) -> Iterator[Branch]:
    """Yield the branches, on parameters that are handed to it as they stand, of a function that is called."""
    called = _called(node, space)
    if called is None:
        return
    try:
        bound = inspect.signature(called).bind_partial(*node.args, **{k.arg: k.value for k in node.keywords if k.arg})
    except (TypeError, ValueError):
        return
    bound.apply_defaults()
    handed, fixed = {}, {}
    for name, argument in bound.arguments.items():
        if isinstance(argument, ast.Name) and argument.id in names:
            handed[name] = names[argument.id]
            continue
        try:
            fixed[name] = _constant(argument, constants) if isinstance(argument, ast.expr) else argument
        except _UnreadableError:
            continue
    if handed:
        yield from _of_function(called, handed, fixed, depth)


def _called(node: ast.Call, space: Mapping[str, Any]) -> Callable[..., Any] | None:
    """Return the function of the package that a call names, if it is one."""
    function: Any = None
    if isinstance(node.func, ast.Name):
        function = space.get(node.func.id)
    elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        function = getattr(space.get(node.func.value.id), node.func.attr, None)
    return function if inspect.isfunction(function) else None


def _tests(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield every expression whose truth decides what runs next."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.If, ast.IfExp, ast.While, ast.Assert)):
            yield node.test
        elif isinstance(node, ast.BoolOp):
            yield node
        elif isinstance(node, ast.comprehension):
            yield from node.ifs
        elif isinstance(node, ast.Match):
            for case in node.cases:
                yield from (ast.Compare(node.subject, [ast.Eq()], [p.value]) for p in _values_of(case.pattern))


def _values_of(pattern: ast.AST) -> list[ast.MatchValue]:
    return [node for node in ast.walk(pattern) if isinstance(node, ast.MatchValue)]


def _atoms(test: ast.expr) -> Iterator[ast.expr]:
    """Yield the parts of a truth value that ``and``, ``or`` and ``not`` join."""
    if isinstance(test, ast.BoolOp):
        for part in test.values:
            yield from _atoms(part)
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _atoms(test.operand)
    else:
        yield test


def _is_guarded(test: ast.expr, names: Mapping[str, str]) -> bool:
    """Whether ``isinstance(parameter, ...) and ...`` keeps anything but a plain number from being compared."""
    first = test.values[0] if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else None
    return first is not None and _is_about_type(first) and any(n.id in names for n in _names_in(first))


def _is_about_type(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"


def _names_in(node: ast.AST) -> list[ast.Name]:
    return [n for n in ast.walk(node) if isinstance(n, ast.Name)]


def _depends(node: ast.AST, names: Mapping[str, str], derived: Mapping[str, str]) -> str:
    """Return the parameter that an expression of parameters alone follows from, or nothing."""
    used = [n.id for n in _names_in(node)]
    called = {n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    own = [names.get(n) or derived.get(n, "") for n in used if n not in called]
    return next((name for name in own if name), "") if own and all(own) else ""


def _constants(
    atom: ast.expr,
    names: Mapping[str, str],
    derived: Mapping[str, str],
    constants: Mapping[str, Any],
    space: Mapping[str, Any],
) -> Iterator[tuple[str, tuple[Any, ...] | None]]:
    """Yield the parameters that a comparison is about, each with the constants it is compared with."""
    if _is_about_type(atom) or (isinstance(atom, ast.Call) and _called(atom, space)):
        return  # a function of the package is read where it stands
    if isinstance(atom, ast.Name) and atom.id in names:
        yield names[atom.id], (0,)
        return
    if isinstance(atom, ast.Compare):
        sides = [atom.left, *atom.comparators]
        own = [names[side.id] for side in sides if isinstance(side, ast.Name) and side.id in names]
        if len(own) == 1:
            others = [side for side in sides if not (isinstance(side, ast.Name) and side.id in names)]
            if all(isinstance(op, (ast.Is, ast.IsNot)) for op in atom.ops):
                return  # whether it is given at all
            try:
                yield own[0], tuple(value for side in others for value in _listed(side, constants))
            except _UnreadableError:
                yield own[0], None
            return
        if len(own) > 1:
            yield own[0], None
            return
    if of := _depends(atom, names, derived):
        yield of, None


def _listed(node: ast.expr, constants: Mapping[str, Any]) -> list[Any]:
    parts = node.elts if isinstance(node, (ast.Tuple, ast.List, ast.Set)) else [node]
    return [_constant(part, constants) for part in parts]


def _constant(node: ast.expr, constants: Mapping[str, Any]) -> Any:
    """Return the value of a constant: a literal, `inf`, `pi`, or a name that stands for one."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_constant(node.operand, constants)
    if isinstance(node, ast.Attribute) and node.attr in ("inf", "pi"):
        return getattr(math, node.attr)
    if isinstance(node, ast.Name) and node.id in constants:
        return constants[node.id]
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "float" and len(node.args) == 1:
        try:
            return float(_constant(node.args[0], constants))
        except (TypeError, ValueError):
            raise _UnreadableError from None
    raise _UnreadableError
