"""Traces of a definition: every named intermediate, the expression that assigns it, and its numbers.

`observed` returns a copy of a loss whose definition records its own run. The copy is compiled from the source of the
definition with a call of the recorder before and after each statement, so Python executes the same statements on the
same numbers, and no trace function is set: debuggers and coverage tools stay as they are. Functions that the definition
calls (those of `lossary.numerics` above all) are compiled in the same way, so that the steps inside a log-softmax are
recorded without a line being written for them.

>>> import lossary
>>> from lossary.evaluate.call import prepare
>>> huber, runs = observed(lossary.huber)
>>> values, _, _ = prepare(huber, ([3.0], [0.0]), {}).pull(0)
>>> [f"{step.name} = {step.expression}" for step in runs[0].steps()]
['residual = pred - target', 'size = abs(residual)', 'clipped = delta if size >= delta else size']
"""

from __future__ import annotations

import ast
import dis
import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache, partial, update_wrapper, wraps
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from lossary import numerics, pairs
from lossary.catalogue import Loss
from lossary.inspect.notation import (
    GUARDS,
    Notation,
    assigned,
    called_name,
    docstring_formula,
    function_tree,
    is_parameter,
    text_of,
)


@dataclass(frozen=True, eq=False)
class Step:
    """One quantity of a computation. A step without a value is the heading of its sub-steps."""

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


# --- one run of one function ----------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Statement:
    """A statement that was executed: variables before it, what it assigned, the runs of the functions it called."""

    node: ast.stmt
    stage: int
    space: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    calls: list[Run] = field(default_factory=list)

    def mentions(self) -> Iterator[str]:
        """Yield every expression of the statement, including those inside the functions it called."""
        yield from self.texts.values()
        for run in self.calls:
            for parts, _ in run.outputs:
                yield from parts
            for statement in run.statements.values():
                yield from statement.mentions()


@dataclass(eq=False)
class Run:
    """One run of a definition, a coupling or a helper: its statements and what it yielded or returned.

    `names` holds what a variable stands for where it is not shown by itself: a helper's parameter is the caller's
    expression, a local that merely renames another (``capped = logits``, with no cap) is that other. `inputs` are the
    parameters of the step of a scan: their parts are given, and follow from nothing that is shown.
    """

    code: CodeType
    recorder: _Recorder
    caller: Run | None = None
    heading: str = ""
    names: dict[str, ast.expr] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: list[tuple[list[str], Any]] = field(default_factory=list)
    statements: dict[ast.stmt, _Statement] = field(default_factory=dict)
    current: _Statement | None = None

    # -- called by the compiled copy of the function

    def begin(self, number: int, local: dict[str, Any]) -> None:
        """Record that a statement is about to be executed."""
        self.recorder.active = self
        node = _statements(self.code)[number]
        # A statement in a loop is kept with the numbers of its last pass.
        self.statements.pop(node, None)
        self.current = self.statements[node] = _Statement(node, len(self.outputs), dict(local))

    def end(self, local: dict[str, Any]) -> None:
        """Record what the current statement has assigned."""
        done, self.current = self.current, None
        self.recorder.active = self
        if done is None or not isinstance(done.node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            return
        if done.node.value is None:  # an annotation alone
            return
        target, source = _target(done.node), done.node.value
        if isinstance(source, ast.Yield):  # what the caller sent, after what was yielded
            source, done.stage = ast.Name("", ast.Load()), len(self.outputs)
        if isinstance(done.node, ast.AugAssign):
            source = ast.BinOp(ast.Name(_names(target)[0], ast.Load()), done.node.op, source)
        pairs = _unpacked(target, source, self.inputs)
        shown = [(name, self._notation(part, done.space)) for name, part in pairs]
        for name, expression in shown:
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
                done.texts[name] = text_of(expression)

    def leave(self, value: Any) -> Any:
        """Record the expression of what is returned or yielded, and pass the value on."""
        self.recorder.active = self.caller
        done = self.current
        if done is None:  # the end of a function without a return statement
            return value
        node: ast.AST | None = done.node
        if isinstance(node, (ast.Expr, ast.Assign)):
            node = next((n for n in ast.walk(node) if isinstance(n, (ast.Yield, ast.YieldFrom))), None)
        if isinstance(node, ast.YieldFrom):
            self.outputs.append((done.calls[-1].outputs[-1][0] if done.calls else [""], value))
        elif isinstance(node, (ast.Return, ast.Yield)) and node.value is not None:
            parts = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            self.outputs.append(([text_of(self._notation(part, done.space)) for part in parts], value))
        return value

    def delegate(self, source: Iterator[Any]) -> Iterator[Any]:
        """Yield what another generator yields, and record it."""
        for value in source:
            yield self.leave(value)

    def _stands_for(
        self, name: str, expression: ast.expr, before: dict[str, Any], local: dict[str, Any]
    ) -> ast.expr | None:
        """Return what a local is shown as, if it is nothing new: another quantity under a second name, or a 0 or 1."""
        value = local[name]
        if isinstance(expression, ast.Constant) and expression.value in (0, 1) and name not in _grown(self.code):
            return expression  # an array of them, too
        if isinstance(expression, ast.Name) and expression.id != name and before.get(expression.id) is value:
            return expression
        return ast.Constant(1) if is_parameter(value) and value == 1 and not isinstance(value, bool) else None

    def called(self, run: Run) -> None:
        """Record the run of a function that the current statement calls, with the expressions of its arguments."""
        if self.current is None:
            return
        calls = [n for n in _in_order(self.current.node) if called_name(n) == run.code.co_name]
        earlier = sum(1 for r in self.current.calls if r.code is run.code)
        if earlier < len(calls):
            node, space = calls[earlier], self.current.space
            tree = function_tree(run.code)
            pairs: list[tuple[str, ast.expr]] = [
                *zip([a.arg for a in tree.args.args], node.args, strict=False),
                *((k.arg, k.value) for k in node.keywords if k.arg),
            ]
            changed = assigned(tree)
            run.names = {name: self._notation(value, space) for name, value in pairs if name not in changed}
            run.heading = text_of(self._notation(node, space))
        elif not calls:  # the step of a scan, which runs for every step of the sequence: its last run is kept
            self.current.calls = [r for r in self.current.calls if r.code is not run.code]
            run.inputs = tuple(argument.arg for argument in function_tree(run.code).args.args)
            run.heading = f"{run.code.co_name}({', '.join(run.inputs)})"
        self.current.calls.append(run)

    def _notation(self, node: ast.expr, space: dict[str, Any]) -> ast.expr:
        # A loop counter is shown as the number of its last pass, like everything in the loop.
        passes = {name: ast.Constant(space[name]) for name in _counters(self.code) if name in space}
        return Notation({**self.names, **passes}, space).visit(deepcopy(node))  # type: ignore[no-any-return]

    # -- read afterwards

    def steps(self, stage: int = 0) -> list[Step]:
        """Return the quantities that were named before the first yield (stage 0), or between two yields."""
        found: list[Step] = []
        for statement in self.statements.values():
            if isinstance(statement.node, ast.Expr) and isinstance(statement.node.value, ast.YieldFrom):
                found += [step for run in statement.calls for step in run.steps(stage)]
            elif statement.stage == stage:
                found += _shown(statement)
        # A helper that is called again on the same quantities is shown once: its heading names them.
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
        """Whether a local is mentioned anywhere but where it is yielded."""
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
        return []  # it names nothing new
    shown: list[Step] = []
    for run in statement.calls:
        if docstring_formula(run.code.co_name) is not None:
            continue
        steps = run.steps()
        whole = isinstance(source, ast.Call) and run is statement.calls[-1] and called_name(source) == run.code.co_name
        if sum(1 for s in steps for _ in s.flat()) < 2 and not (whole and len(texts) > 1):
            continue
        if whole:  # the statement is this call: its results are shown once, under the names assigned here
            texts = _returned(run, steps, _names(_target(statement.node)), texts)
        if steps:
            shown.append(Step(run.heading, "", steps=tuple(steps)))
    return shown + [
        Step(name, text, statement.values[name])
        for name, text in texts.items()
        if name not in GUARDS or np.any(statement.values[name])
    ]


def _alike(a: Step, b: Step) -> bool:
    """Whether two steps have the same name, the same expression and the same numbers."""
    same = (a.name, a.expression, len(a.steps)) == (b.name, b.expression, len(b.steps))
    return same and _same(a.value, b.value) and all(_alike(x, y) for x, y in zip(a.steps, b.steps, strict=True))


def _returned(run: Run, steps: list[Step], names: list[str], texts: dict[str, str]) -> dict[str, str]:
    """Return the expressions of the results of a call, under the caller's names, in order of dependence."""
    own = {step.name for step in steps}
    inside = run.outputs[-1][0]
    found = dict(zip(names, zip(inside, run.output(-1, steps, renamed=True), strict=True), strict=False))
    renamed = {inner: name for name, (inner, text) in found.items() if text != inner in own and inner != name}
    for inner, name in renamed.items():
        found = {n: (i, re.sub(rf"\b{inner}\b", name, text)) for n, (i, text) in found.items()}
    # Quantities that the helper names itself come first: the others may depend on them.
    ordered = sorted(found.items(), key=lambda item: item[1][0] not in own)
    # A result under its own name is among the helper's steps already.
    known = {step.name for step in steps}
    return {name: text for name, (_, text) in ordered if name in texts and not (text == name and name in known)}


@cache
def _counters(code: CodeType) -> frozenset[str]:
    """Return the names of the loop counters of a function."""
    loops = (node.target for node in ast.walk(function_tree(code)) if isinstance(node, ast.For))
    return frozenset(target.id for target in loops if isinstance(target, ast.Name))


@cache
def _grown(code: CodeType) -> frozenset[str]:
    """Return the names that loops of a function assign to: a running sum is shown from its start."""
    loops = (node for node in ast.walk(function_tree(code)) if isinstance(node, (ast.For, ast.While)))
    return frozenset(name for loop in loops for name in assigned(loop))


def _unpacked(target: Any, source: ast.expr, inputs: Sequence[str]) -> list[tuple[str, ast.expr]]:
    """Return the names that an expression is unpacked to, each with its part of the expression.

    Parts of `inputs`, and of what was sent, have no expression.
    """
    if not isinstance(target, ast.Tuple):
        return [(_names(target)[0], source)]
    parts: Sequence[ast.expr] = [source] * len(target.elts)
    if isinstance(source, ast.Tuple):
        parts = source.elts
    elif isinstance(source, ast.Name) and source.id in inputs:
        parts = [ast.Name("", ast.Load())] * len(target.elts)
    elif isinstance(source, ast.Name) and source.id:
        parts = [ast.Subscript(source, ast.Constant(i), ast.Load()) for i in range(len(target.elts))]
    return [pair for inner, part in zip(target.elts, parts, strict=False) for pair in _unpacked(inner, part, inputs)]


def _target(node: ast.stmt) -> Any:
    return node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)


def _names(target: Any) -> list[str]:
    """Return the names of a target by position, unused ones included."""
    if isinstance(target, ast.Tuple):
        return [name for part in target.elts for name in _names(part)]
    return [target.id if isinstance(target, ast.Name) else "_"]


def _resolved(text: str, steps: list[Step]) -> str:
    for at in range(len(steps) - 1, -1, -1):
        if steps[at].name == text:
            return steps.pop(at).expression
    return text


def _in_order(node: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls inside a node in the order Python evaluates them: arguments first."""
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)
    if isinstance(node, ast.Call):
        yield node


def _is_number(value: Any) -> bool:
    return hasattr(value, "shape") or isinstance(value, (bool, int, float))


def _same(a: Any, b: Any) -> bool:
    """Whether a quantity that is assigned again keeps its numbers, as under a guard that had nothing to do."""
    if a is b:
        return True
    if not (hasattr(a, "shape") and hasattr(b, "shape")):
        return bool(type(a) is type(b) and a == b)
    if a.shape != b.shape:
        return False
    return bool(((a == b) | ((a != a) & (b != b))).all())


# --- recording ------------------------------------------------------------------------------------------------------


def observed(loss: Loss) -> tuple[Loss, list[Run]]:
    """Return a copy of a loss that records the runs of its definition and coupling, and the list they are put in.

    A definition without source, or whose file has changed since it was imported, records only what it yields.
    """
    recorder = _Recorder(loss)
    coupled = loss.coupling and replace(loss.coupling, rows=recorder.root(loss.coupling.rows))
    return replace(loss, define=recorder.root(loss.define), coupling=coupled), recorder.runs


class _Recorder:
    """Compiles recording copies of functions, and keeps their runs; `active` is the run that executes a statement."""

    def __init__(self, loss: Loss) -> None:
        self.runs: list[Run] = []
        self.active: Run | None = None
        roots = (loss.define, *([loss.coupling.rows] if loss.coupling else []))
        self._modules = (*(root.__module__ for root in roots), numerics.__name__, pairs.__name__)
        self._copies: dict[FunctionType, Callable[..., Any]] = {}

    def enter(self, code: CodeType) -> Run:
        """Begin a run of a function, called by the active run if there is one."""
        run = Run(code, self, self.active)
        if run.caller is None:
            self.runs.append(run)
        else:
            run.caller.called(run)
        self.active = run
        return run

    def root(self, function: Any) -> Callable[..., Any]:
        """Return a copy of a definition or a coupling that records its runs, or at least what it yields."""
        copy = self.recording(function)
        if copy is not function:
            return copy

        @wraps(function)
        def steps(*arrays: Any, **params: Any) -> Iterator[Any]:
            run, running, sent = self.enter(function.__code__), function(*arrays, **params), None
            while True:
                try:
                    value = running.send(sent)
                except StopIteration:
                    return
                run.outputs.append(([""] * (len(value) if isinstance(value, tuple) else 1), value))
                self.active = run.caller
                sent = yield value

        return steps

    def recording(self, function: Any) -> Callable[..., Any]:
        """Return a copy of a function that records its runs; the function itself if its source is not available."""
        if function not in self._copies:
            code = _recording_code(function.__code__)
            self._copies[function] = function if code is None else self._copy(function, code)
        return self._copies[function]

    def _copy(self, function: FunctionType, code: CodeType) -> Callable[..., Any]:
        held = function.__globals__
        space = held | {name: self._replaced(held[name]) for name in function.__code__.co_names if name in held}
        space["__enter_run__"] = partial(self.enter, function.__code__)
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        closure = tuple(self._cell(cells[name]) for name in code.co_freevars)
        copy = FunctionType(code, space, function.__name__, function.__defaults__, closure)
        copy.__kwdefaults__ = function.__kwdefaults__
        return update_wrapper(copy, function)

    def _cell(self, cell: CellType) -> CellType:
        """Return a cell with the recording copy of what it holds, or the cell itself if that is not recorded."""
        try:
            held = cell.cell_contents
        except ValueError:  # a variable that is assigned later
            return cell
        replaced = self._replaced(held)
        return cell if replaced is held else CellType(replaced)

    def _records(self, module: str | None) -> bool:
        """Whether the functions of a module, or of one inside it, are recorded."""
        return any(f"{module}.".startswith(f"{known}.") for known in self._modules)

    def _replaced(self, value: Any) -> Any:
        """Return the recording copy of a function or module, or the value itself if it is not recorded."""
        if isinstance(value, FunctionType) and self._records(value.__module__):
            return lambda *arrays, **params: self.recording(value)(*arrays, **params)
        if isinstance(value, ModuleType) and self._records(value.__name__):
            return _Module(self._replaced, value)
        return value


@dataclass(frozen=True)
class _Module:
    """A module whose functions record their runs."""

    replaced: Callable[[Any], Any]
    module: ModuleType

    def __getattr__(self, name: str) -> Any:
        return self.replaced(getattr(self.module, name))


_SIMPLE = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Expr, ast.Return)
_NESTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@cache
def _statements(code: CodeType) -> tuple[ast.stmt, ...]:
    """Return the simple statements of a function, outside of functions that it defines itself."""

    def walk(node: ast.AST) -> Iterator[ast.stmt]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _SIMPLE):
                yield child
            elif not isinstance(child, _NESTED):
                yield from walk(child)

    return tuple(walk(function_tree(code)))


@cache
def _recording_code(code: CodeType) -> CodeType | None:
    """Return the code of a recording copy of a function, or None where its source cannot be had, or is another's."""
    try:
        tree = deepcopy(function_tree(code))
    except (OSError, TypeError):
        return None
    if _fingerprint(_compiled(deepcopy(tree), code)) != _fingerprint(code):
        return None  # the file has changed since it was imported
    recording = _Recording({(node.lineno, node.col_offset): number for number, node in enumerate(_statements(code))})
    body = [recording.visit(node) for node in tree.body]
    made = [each for part in body for each in (part if isinstance(part, list) else [part])]
    tree.body = [*ast.parse("__run__ = __enter_run__()").body, *made, *ast.parse("__run__.leave(None)").body]
    return _compiled(tree, code)


def _compiled(tree: ast.FunctionDef, code: CodeType) -> CodeType:
    """Compile the body of a function with the free variables of its code."""
    tree.decorator_list, tree.returns = [], None
    for argument in ast.walk(tree.args):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    tree.args.defaults = [ast.Constant(None) for _ in tree.args.defaults]  # the function's own are put in
    tree.args.kw_defaults = [each and ast.Constant(None) for each in tree.args.kw_defaults]
    around = ast.parse(f"def around({', '.join(code.co_freevars)}): pass").body[0]
    assert isinstance(around, ast.FunctionDef)
    around.body = [tree]
    module = ast.fix_missing_locations(ast.Module([around], []))
    (outer,) = (c for c in compile(module, code.co_filename, "exec").co_consts if isinstance(c, CodeType))
    return next(c for c in outer.co_consts if isinstance(c, CodeType))


_JUMPS = {*dis.hasjrel, *dis.hasjabs}


def _fingerprint(code: CodeType) -> list[tuple[str, str]]:
    """Return the instructions of a code, without the way names are looked up and the targets of jumps."""
    return [
        (found.opname.replace("METHOD", "ATTR"), "" if isinstance(found.argval, CodeType) else repr(found.argval))
        for found in dis.get_instructions(code)
        if found.opname not in ("PUSH_NULL", "NOP", "EXTENDED_ARG") and found.opcode not in _JUMPS
    ]


class _Recording(ast.NodeTransformer):
    """Puts a call of the recorder before and after each statement, and around what is yielded or returned."""

    def __init__(self, numbers: dict[tuple[int, int], int]) -> None:
        self.numbers = numbers

    def visit(self, node: ast.AST) -> Any:
        """Return the node, or the statements that replace it; a nested function is replaced once it is defined."""
        if isinstance(node, ast.FunctionDef):
            return [node, *ast.parse(f"{node.name} = __run__.recorder.recording({node.name})").body]
        if isinstance(node, _NESTED):
            return node
        self.generic_visit(node)
        if isinstance(node, (ast.Yield, ast.Return)):
            node.value = _call("leave", node.value or ast.Constant(None))
        if isinstance(node, ast.YieldFrom):
            node.value = _call("delegate", node.value)
        if isinstance(node, _SIMPLE):
            before = ast.parse(f"__run__.begin({self.numbers[node.lineno, node.col_offset]}, locals())").body
            return [*before, node, *ast.parse("__run__.end(locals())").body]
        return node


def _call(method: str, argument: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(ast.Name("__run__", ast.Load()), method, ast.Load()), [argument], [])
