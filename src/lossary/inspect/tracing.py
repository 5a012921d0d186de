"""A definition watched while it runs: every named quantity, the expression it was assigned from, its numbers.

The definition is not interpreted or repeated: Python runs it as ever, and after each statement the frame's own locals
are read. Functions of the same rooms that it calls (`lossary.numerics` above all) are watched in the same way, so the
steps inside a log-softmax are seen without a line being written for them.

>>> import lossary
>>> from lossary.evaluate.call import prepare
>>> with watching(lossary.huber) as runs:
...     values, _, _ = prepare(lossary.huber, ([3.0], [0.0]), {}).pull(0)
>>> [f"{step.name} = {step.expression}" for step in runs[0].steps()]
['residual = pred - target', 'size = abs(residual)', 'clipped = delta if size >= delta else size']
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from types import CodeType, FrameType
from typing import Any

import numpy as np

from lossary import numerics
from lossary.catalogue import Loss
from lossary.pairs import cosine, euclidean, protocol


@dataclass(frozen=True, eq=False)
class Step:
    """One quantity on the board. A step without a value is the heading of its sub-steps."""

    name: str
    expression: str
    value: Any = None
    words: str = ""
    steps: tuple[Step, ...] = ()

    def flat(self) -> Iterator[Step]:
        """Yield the quantities in the order of computation, sub-steps before what follows from them."""
        for step in self.steps:
            yield from step.flat()
        if self.value is not None:
            yield self


# --- the source -----------------------------------------------------------------------------------------------------


@cache
def function_tree(code: CodeType) -> ast.FunctionDef:
    """Return the syntax tree of a function, with the line numbers of its file."""
    lines, start = inspect.getsourcelines(code)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    ast.increment_lineno(tree, start - 1)
    (found,) = tree.body
    assert isinstance(found, ast.FunctionDef)
    return found


@cache
def _statements(code: CodeType) -> dict[int, ast.stmt]:
    """Return the simple statement that each line belongs to."""
    simple = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Return)
    found = [node for node in ast.walk(function_tree(code)) if isinstance(node, simple)]
    return {line: node for node in found for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def assigned(node: ast.AST) -> list[str]:
    """Return the names that a statement, or everything inside a function, assigns to, in order."""
    stores = [n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    stores.sort(key=lambda n: (n.lineno, n.col_offset))
    return list(dict.fromkeys(n.id for n in stores if not n.id.startswith("_")))


# Functions better known by their own name than by their formula.
_NOTATION = frozenset({"sigmoid"})


@cache
def _reading(name: str) -> tuple[dict[str, ast.expr], ast.expr] | None:
    """Return the parameters of a numerics function and the formula its docstring opens with, if it is one of them."""
    function = getattr(numerics, name, None)
    opening = re.match(r"Return ``(.+?)``", inspect.getdoc(function) or "") if function else None
    if function is None or opening is None or name in _NOTATION:
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


class _Pretty(ast.NodeTransformer):
    """Turn an expression of the source into what a teacher would write: no namespaces, no typed zeros and ones."""

    def __init__(self, names: dict[str, ast.expr], space: dict[str, Any]) -> None:
        self.names = names
        self.space = space

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return deepcopy(self.names.get(node.id, node))

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id in ("xp", "numerics"):
            return ast.Name(node.attr, ast.Load())
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if self._is_everything(node.slice):
            return self.visit(node.value)  # type: ignore[no-any-return]
        return self.generic_visit(node)  # type: ignore[return-value]

    def _is_everything(self, node: ast.expr) -> bool:
        """Whether a name is that of a slice from end to end, which takes an array as it is."""
        held = self.space.get(node.id) if isinstance(node, ast.Name) else None
        return isinstance(held, slice) and held == slice(None)

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        # A condition on parameters is decided before the numbers: only the branch that was taken is shown.
        test = _evaluated(node.test, self.space)
        if _plain(test) and _decidable(node.test, self.space):
            return self.visit(node.body if test else node.orelse)  # type: ignore[no-any-return]
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        """Leave out what changes nothing: products with 1 and sums with 0, quotients by 1, first powers."""
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
        if name in ("minimum", "maximum") and len({ast.dump(a) for a in arguments}) == 1:
            return arguments[0]
        reading = _reading(name)
        if reading is not None and len(reading[0]) >= len(arguments):
            given = reading[0] | dict(zip(reading[0], arguments, strict=False))
            return _Pretty(given, {}).visit(deepcopy(reading[1]))  # type: ignore[no-any-return]
        return ast.Call(node.func, arguments, node.keywords)

    def _guarded(self, node: ast.Call) -> ast.expr | None:
        """A guard against infinities that had nothing to do is left out: what it guards remains."""
        condition = ast.unparse(node.args[0]) if _callee(node) == "where" else ""
        if "inf" not in condition and condition not in _GUARDS:
            return None
        test = _evaluated(node.args[0], self.space)
        if test is None or bool(test.any() if hasattr(test, "any") else test):
            return None
        return self.visit(node.args[2])  # type: ignore[no-any-return]

    def _choice(self, node: ast.Call) -> ast.expr | None:
        """A helper that only chooses between two expressions is replaced by the one it chose."""
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
        chosen = _Pretty(dict(zip(names[1:], given[1:], strict=False)), space).visit(deepcopy(last.value))
        return None if isinstance(chosen, ast.IfExp) else chosen


# Conditions with a name by which definitions and helpers keep away from infinities, in slopes as well.
_GUARDS = {"empty", "never", "always", "certain", "near_certain", "extreme", "straight", "end"}

# What a condition may refer to beside the locals: the rules of numerics, such as which parameter counts as absent.
_RULES = {"numerics": numerics}


def _evaluated(node: ast.expr, space: dict[str, Any]) -> Any:
    """Return the value of a condition, or None if it needs more than the locals it was evaluated on."""
    if not _decidable(node, space):
        return None
    return eval(compile(ast.Expression(node), "<condition>", "eval"), dict(_RULES), dict(space))


def _decidable(node: ast.expr, space: dict[str, Any]) -> bool:
    return all(n.id in space or n.id in _RULES for n in ast.walk(node) if isinstance(n, ast.Name))


def _known(node: ast.expr, space: dict[str, Any]) -> bool:
    return isinstance(node, ast.Name) and node.id in space


# --- one run of one function ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Statement:
    """A statement that was executed: what stood before it, what it assigned, the runs of the functions it called."""

    node: ast.stmt
    stage: int
    space: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    calls: list[Run] = field(default_factory=list)

    def mentions(self) -> Iterator[str]:
        """Yield every expression of the statement, those inside the functions it called included."""
        yield from self.texts.values()
        for run in self.calls:
            for parts, _ in run.outputs:
                yield from parts
            for statement in run.statements.values():
                yield from statement.mentions()


@dataclass(eq=False)
class Run:
    """One run of a definition, a coupling or a helper: its statements and what it yielded or returned.

    `names` holds what a name stands for where it is not shown by itself: a helper's parameter is the caller's
    expression, a local that merely renames another (``capped = logits``, with no cap) is that other.
    """

    code: CodeType
    heading: str = ""
    names: dict[str, ast.expr] = field(default_factory=dict)
    outputs: list[tuple[list[str], Any]] = field(default_factory=list)
    statements: dict[ast.stmt, _Statement] = field(default_factory=dict)
    current: _Statement | None = None

    # -- written while it runs

    def begin(self, line: int, local: dict[str, Any]) -> None:
        """Note that a line is about to run."""
        node = _statements(self.code).get(line)
        if node is None:
            self.current = None
        elif self.current is None or self.current.node is not node:
            # A statement in a loop is kept with the numbers of its last pass.
            self.statements.pop(node, None)
            self.current = self.statements[node] = _Statement(node, len(self.outputs), dict(local))

    def end(self, line: int, local: dict[str, Any]) -> None:
        """Note what the statement that has just run assigned, unless the next line still belongs to it."""
        done = self.current
        if done is None or _statements(self.code).get(line) is done.node:
            return
        self.current = None
        if not isinstance(done.node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) or done.node.value is None:
            return
        names, source = _targets(done.node), done.node.value
        if isinstance(source, ast.Yield):  # what the caller sent, after what was yielded
            source, done.stage = ast.Name("", ast.Load()), len(self.outputs)
        if isinstance(done.node, ast.AugAssign):
            source = ast.BinOp(ast.Name(names[0], ast.Load()), done.node.op, source)
        parts = source.elts if isinstance(source, ast.Tuple) else _items(source, len(names))
        shown = [self._pretty(part, done.space) for part in parts]
        for name, expression in zip(names, shown, strict=False):
            if name.startswith("_") or name not in local:
                continue
            kept = self._stands_for(name, expression, done.space, local)
            if kept is not None:
                self.names[name] = kept
            elif not _is_number(local[name]):
                self.names.pop(name, None)
            elif not _same(done.space.get(name), local[name]):
                self.names.pop(name, None)
                done.values[name] = local[name]
                done.texts[name] = _text(expression)

    def _stands_for(
        self, name: str, expression: ast.expr, before: dict[str, Any], local: dict[str, Any]
    ) -> ast.expr | None:
        """Return what a local is shown as, if it is nothing new: another quantity under a second name, or a 0 or 1."""
        value = local[name]
        if isinstance(expression, ast.Constant) and expression.value in (0, 1) and name not in _grown(self.code):
            return expression  # an array of them, too
        if isinstance(expression, ast.Name) and expression.id != name and before.get(expression.id) is value:
            return expression
        return ast.Constant(1) if _plain(value) and value == 1 and not isinstance(value, bool) else None

    def leave(self, value: Any) -> None:
        """Note the expression of what is returned or yielded."""
        done = self.current
        if done is None:
            return
        node: ast.AST | None = done.node
        if isinstance(node, (ast.Expr, ast.Assign)):
            node = next((n for n in ast.walk(node) if isinstance(n, (ast.Yield, ast.YieldFrom))), None)
        if isinstance(node, ast.YieldFrom):
            self.outputs.append((done.calls[-1].outputs[-1][0] if done.calls else [""], value))
        elif isinstance(node, (ast.Return, ast.Yield)) and node.value is not None:
            parts = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            self.outputs.append(([_text(self._pretty(part, done.space)) for part in parts], value))

    def called(self, run: Run) -> None:
        """Note the run of a function called by the current statement, with the caller's expressions for its arrays."""
        if self.current is None:
            return
        calls = [n for n in _in_order(self.current.node) if _callee(n) == run.code.co_name]
        earlier = sum(1 for r in self.current.calls if r.code is run.code)
        if earlier < len(calls):
            node, space = calls[earlier], self.current.space
            tree = function_tree(run.code)
            pairs: list[tuple[str, ast.expr]] = [
                *zip([a.arg for a in tree.args.args][1:], node.args[1:], strict=False),
                *((k.arg, k.value) for k in node.keywords if k.arg),
            ]
            changed = assigned(tree)
            run.names = {name: self._pretty(value, space) for name, value in pairs if name not in changed}
            run.heading = _text(self._pretty(node, space))
        self.current.calls.append(run)

    def _pretty(self, node: ast.expr, space: dict[str, Any]) -> ast.expr:
        # What counts a loop is shown as the number of its last pass, like everything in the loop.
        passes = {name: ast.Constant(space[name]) for name in _counters(self.code) if name in space}
        return _Pretty({**self.names, **passes}, space).visit(deepcopy(node))  # type: ignore[no-any-return]

    # -- read afterwards

    def steps(self, stage: int = 0) -> list[Step]:
        """Return the quantities named before the first yield, or between one yield and the next."""
        found: list[Step] = []
        for statement in self.statements.values():
            if isinstance(statement.node, ast.Expr) and isinstance(statement.node.value, ast.YieldFrom):
                found += [step for run in statement.calls for step in run.steps(stage)]
            elif statement.stage == stage:
                found += _shown(statement)
        # A helper that is called again on the same quantities has been shown: its heading says what it was called on.
        again = [
            step.value is None and any(_alike(step, earlier) for earlier in found[:at]) for at, step in enumerate(found)
        ]
        return [step for step, shown in zip(found, again, strict=True) if not shown]

    def output(self, number: int, steps: list[Step], *, renamed: bool = False) -> list[str]:
        """Return the expressions of what was yielded or returned.

        What was named only to be yielded is taken out of `steps`: its expression is shown once. With `renamed`, the
        parts of a tuple get new names together, so that one may refer to another.
        """
        parts = self.outputs[number][0]
        others = [
            text for at, (texts, _) in enumerate(self.outputs) for text in texts if at != number % len(self.outputs)
        ]
        others += [] if renamed else parts
        shown = {
            text: text if self._used(text, others, renamed) else _resolved(text, steps) for text in dict.fromkeys(parts)
        }
        return [shown[text] for text in parts]

    def _used(self, name: str, others: list[str], renamed: bool) -> bool:
        """Whether a local is needed on the board for anything but being yielded."""
        word = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)")
        texts = [text for text in others if text != name]
        for statement in self.statements.values():
            if name not in statement.texts and not (renamed and isinstance(statement.node, ast.Return)):
                texts += statement.mentions()
        return any(word.search(text) for text in texts)


def _shown(statement: _Statement) -> list[Step]:
    """Return the quantities of one statement, after the steps of the functions it called."""
    source = getattr(statement.node, "value", None)
    texts = dict(statement.texts)
    if not texts and isinstance(statement.node, (ast.Assign, ast.AnnAssign)) and not isinstance(source, ast.Yield):
        return []  # what it names is nothing new, and so is what it was made of
    shown: list[Step] = []
    for run in statement.calls:
        if _reading(run.code.co_name) is not None:
            continue
        steps = run.steps()
        whole = isinstance(source, ast.Call) and run is statement.calls[-1] and _callee(source) == run.code.co_name
        if sum(1 for s in steps for _ in s.flat()) < 2 and not (whole and len(texts) > 1):
            continue
        if whole:  # the statement is this call: what it returns is shown once, under the names given here
            texts = _returned(run, steps, _targets(statement.node), texts)
        if steps:
            shown.append(Step(run.heading, "", steps=tuple(steps)))
    return shown + [
        Step(name, text, statement.values[name])
        for name, text in texts.items()
        if name not in _GUARDS or np.any(statement.values[name])
    ]


def _alike(a: Step, b: Step) -> bool:
    """Whether two steps are called the same, come from the same expression and have the same numbers."""
    same = (a.name, a.expression, len(a.steps)) == (b.name, b.expression, len(b.steps))
    return same and _same(a.value, b.value) and all(_alike(x, y) for x, y in zip(a.steps, b.steps, strict=True))


def _returned(run: Run, steps: list[Step], names: list[str], texts: dict[str, str]) -> dict[str, str]:
    """Return the expressions of what a call returned, under the caller's names, in an order that can be followed."""
    own = {step.name for step in steps}
    inside = run.outputs[-1][0]
    found = dict(zip(names, zip(inside, run.output(-1, steps, renamed=True), strict=True), strict=False))
    renamed = {inner: name for name, (inner, text) in found.items() if text != inner in own and inner != name}
    for inner, name in renamed.items():
        found = {n: (i, re.sub(rf"\b{inner}\b", name, text)) for n, (i, text) in found.items()}
    # What the helper had named itself comes first: the rest may follow from it.
    ordered = sorted(found.items(), key=lambda item: item[1][0] not in own)
    # What the helper needed itself stands among its steps; under the same name it need not be shown again.
    known = {step.name for step in steps}
    return {name: text for name, (_, text) in ordered if name in texts and not (text == name and name in known)}


@cache
def _counters(code: CodeType) -> frozenset[str]:
    """Return the names that the loops of a function count with."""
    loops = (node.target for node in ast.walk(function_tree(code)) if isinstance(node, ast.For))
    return frozenset(target.id for target in loops if isinstance(target, ast.Name))


@cache
def _grown(code: CodeType) -> frozenset[str]:
    """Return the names that the loops of a function assign to: a sum that grows is shown from its start."""
    loops = (node for node in ast.walk(function_tree(code)) if isinstance(node, (ast.For, ast.While)))
    return frozenset(name for loop in loops for name in assigned(loop))


def _items(source: ast.expr, count: int) -> list[ast.expr]:
    """Return an expression for each name that it is unpacked to."""
    if count == 1 or not isinstance(source, ast.Name) or not source.id:
        return [source] * count
    return [ast.Subscript(source, ast.Constant(i), ast.Load()) for i in range(count)]


def _targets(node: ast.stmt) -> list[str]:
    """Return the names a statement assigns to by position, those that are thrown away included."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    parts = target.elts if isinstance(target, ast.Tuple) else [target]
    return [part.id if isinstance(part, ast.Name) else "_" for part in parts]


def _resolved(text: str, steps: list[Step]) -> str:
    for at in range(len(steps) - 1, -1, -1):
        if steps[at].name == text:
            return steps.pop(at).expression
    return text


def _text(node: ast.expr) -> str:
    return ast.unparse(ast.fix_missing_locations(node))


def _plain(value: Any) -> bool:
    """Whether a value is a parameter or follows from parameters alone: known before the numbers are."""
    return value is None or (isinstance(value, (bool, int, float, str)) and not hasattr(value, "shape"))


def _callee(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", "") or getattr(node.func, "id", "")


def _in_order(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls inside a node in the order Python evaluates them: arguments first."""
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)
    if isinstance(node, ast.Call):
        yield node


def _is_number(value: Any) -> bool:
    return hasattr(value, "shape") or isinstance(value, (bool, int, float))


def _same(a: Any, b: Any) -> bool:
    """Whether a quantity assigned again kept its numbers: a guard that had nothing to do is not shown."""
    if a is b:
        return True
    if not (hasattr(a, "shape") and hasattr(b, "shape")):
        return bool(type(a) is type(b) and a == b)
    if a.shape != b.shape:
        return False
    return bool(((a == b) | ((a != a) & (b != b))).all())


# --- watching -------------------------------------------------------------------------------------------------------


@contextmanager
def watching(loss: Loss) -> Iterator[list[Run]]:
    """Watch every run of a loss's definition, and of its coupling, inside the ``with`` block; gives the runs."""
    roots = {loss.define.__code__} | ({loss.coupling.rows.__code__} if loss.coupling else set())
    rooms = {
        loss.define.__code__.co_filename,
        numerics.__file__,
        *(part.__file__ for part in (protocol, cosine, euclidean)),
    }
    runs: list[Run] = []
    known: dict[FrameType, Run] = {}

    def enter(frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        if code.co_filename not in rooms or code.co_name.startswith("<"):
            return None
        if frame in known:
            return follow
        parent = known.get(frame.f_back) if frame.f_back else None
        if parent is None and code not in roots:
            return None
        run = known[frame] = Run(code)
        if parent is None:
            runs.append(run)
        else:
            parent.called(run)
        return follow

    def follow(frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        run = known[frame]
        if event == "line":
            run.end(frame.f_lineno, frame.f_locals)
            run.begin(frame.f_lineno, frame.f_locals)
        elif event == "return":
            run.leave(argument)
        return follow

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield runs
    finally:
        sys.settrace(before)
