"""Mutation tests: plants bugs in the definitions, and reports those that the tests of the catalogue miss.

    .venv/bin/python benchmarks/mutation.py                     # every loss
    .venv/bin/python benchmarks/mutation.py --loss huber        # one loss
    .venv/bin/python benchmarks/mutation.py --family margin --limit 20 --seed 1
    .venv/bin/python benchmarks/mutation.py --modules --json out/modules.json    # a sample of every module; resumes
    .venv/bin/python benchmarks/mutation.py --module decoding --module scoring --limit 8

A mutant is a definition with one change: a sign, a factor, a dropped term, the branches of a `where`, a comparison, a
function for its neighbour, a wrong derivative. It is compiled in memory, put into the loss's record, and given to the
test functions of `tests/test_catalogue.py` themselves; if they are content, to the files that hold particular losses to
particular decisions. All of it happens on a scratch copy of package and tests, so the source tree may be edited
meanwhile; what the oracles say is computed once per loss.

A mutant that no test notices has survived: the tests are weak there, or the change changes nothing. Those that give the
same numbers to the last few bits on thousands of inputs, among them ties, zeros and huge numbers, are counted as
equivalent; any other stands in `EQUIVALENT` with the reason, or is reported. A mutant on a line that none of these
inputs runs is never equivalent: it is reported as never run. The exit status is 1 if one survives.

With `--modules` a seeded sample of mutants of every module of the package is planted in the scratch copy's file, and
the test files concerned (those that import the module, or `CONCERNED`) run in a process of their own, which may hang or
crash: both count as noticed. Outcomes are kept in the file of `--json` as they come, and not judged again. The exit
status is 1 if a module whose tests pass lies below the floor.
"""

from __future__ import annotations

import argparse
import ast
import copy
import inspect
import io
import itertools
import json
import linecache
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# Changes that nobody can call wrong although the numbers differ somewhere, as (loss, change) -> why.
_MORE_DIGITS = "only where the more exact of two right formulas takes over: both keep to 16 units in the last place"
EQUIVALENT: dict[tuple[str, str], str] = {
    ("js_divergence", "0.5 -> 1.0"): _MORE_DIGITS,
    ("js_divergence", "xp.where(near, rise, xp.log(pred_share)) -> xp.log(pred_share)"): _MORE_DIGITS,
    ("msle", "0.5 * (1 + target) -> 0.5 / (1 + target)"): _MORE_DIGITS,
    ("msle", "1 + target -> 1 - target"): _MORE_DIGITS,
    (
        "msle",
        "xp.where(near, xp.log1p(change), xp.log1p(pred) - xp.log1p(target)) -> xp.log1p(pred) - xp.log1p(target)",
    ): _MORE_DIGITS,
}
# Words in the names of test files about the decisions of particular losses.
PARTICULAR = ("extremes", "against", "numerics", "similarity")
SAME_NUMBERS = "the same numbers, to the last bits, on thousands of inputs"

# --- planting -------------------------------------------------------------------------------------------------------

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
OPPOSITE: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
# The same comparison with the case of equality decided the other way: asked for by --boundaries.
BOUNDARY: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
NEIGHBOURS = {
    "minimum": "maximum",
    "maximum": "minimum",
    "min": "max",
    "max": "min",
    "zeros_like": "ones_like",
    "ones_like": "zeros_like",
    "exp": "expm1",
    "expm1": "exp",
    "log": "log1p",
    "log1p": "log",
    "sin": "cos",
    "cos": "sin",
    "lgamma": "digamma",
    "digamma": "trigamma",
}
# Functions of one array that are replaced by that array itself.
DROPPABLE = {"abs", "sign", "sqrt", "tanh", "sigmoid", "softplus", "square", "sum", "logsumexp"}


@dataclass(frozen=True)
class Mutant:
    """One change of one definition: what kind, in which line of the function, and the code before and after."""

    loss: str
    number: int
    kind: str
    line: int
    before: str
    after: str
    source: str

    @property
    def change(self) -> str:
        """The change as the table shows it and `EQUIVALENT` names it."""
        return f"{self.before} -> {self.after}"


def replacements(node: ast.AST, boundaries: bool) -> Iterator[tuple[str, ast.AST]]:
    """Every wrong version of one node, with the kind of mistake it is."""
    if isinstance(node, ast.BinOp):
        other = OPERATORS.get(type(node.op))
        if other:
            yield "operator", ast.BinOp(node.left, other(), node.right)
        if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.BitAnd, ast.BitOr)):
            yield "dropped term", node.left
            if not isinstance(node.op, ast.Div):
                yield "dropped term", node.right
        if isinstance(node.op, (ast.Sub, ast.Div)):
            yield "swapped operands", ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Invert, ast.Not)):
        yield "sign" if isinstance(node.op, ast.USub) else "negation", node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        yield "constant", ast.Constant(1 if node.value == 0 else 2 * node.value)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        tables = [("comparison", OPPOSITE)] + ([("boundary", BOUNDARY)] if boundaries else [])
        for kind, table in tables:
            other = table.get(type(node.ops[0]))
            if other:
                yield kind, ast.Compare(node.left, [other()], node.comparators)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield from _other_calls(node, node.func)
    elif isinstance(node, ast.Yield) and node.value is not None:
        yield from _other_yields(node.value)


def _other_calls(node: ast.Call, called: ast.Attribute) -> Iterator[tuple[str, ast.AST]]:
    arrays = [a for a in node.args if not (isinstance(a, ast.Name) and a.id == "xp")]
    if called.attr == "where" and len(arrays) == 3:
        yield "swapped branches", ast.Call(called, [arrays[0], arrays[2], arrays[1]], [])
        yield "branch taken always", arrays[1]
        yield "branch taken always", arrays[2]
    if called.attr in NEIGHBOURS:
        other = ast.Attribute(called.value, NEIGHBOURS[called.attr], ast.Load())
        yield "function", ast.Call(other, node.args, node.keywords)
    if called.attr in DROPPABLE and arrays:
        yield "function", arrays[0]
    if called.attr in ("minimum", "maximum") and len(arrays) == 2:
        yield "function", arrays[0]


def _other_yields(value: ast.expr) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(value, ast.Tuple):
        for at, part in enumerate(value.elts):
            for kind, wrong in _wrong_results(part):
                parts = [*value.elts[:at], wrong, *value.elts[at + 1 :]]
                yield kind, ast.Yield(ast.Tuple(parts, ast.Load()))
    else:
        for kind, wrong in _wrong_results(value):
            yield kind, ast.Yield(wrong)


def _wrong_results(value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    yield "wrong sign of a result", ast.UnaryOp(ast.USub(), value)
    yield "wrong factor of a result", ast.BinOp(ast.Constant(2), ast.Mult(), value)
    yield "shifted result", ast.BinOp(value, ast.Add(), ast.Constant(0.001))


def definition_of(loss: Any) -> ast.FunctionDef:
    """The definition of a loss as a syntax tree, without decorator and annotations."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(loss.define))).body
    assert isinstance(tree, ast.FunctionDef)
    tree.decorator_list = []
    tree.returns = None
    for argument in (*tree.args.args, *tree.args.kwonlyargs):
        argument.annotation = None
    return tree


def mutants_of(loss: Any, boundaries: bool = False) -> list[Mutant]:
    """Every mutant of a loss that reads differently from it and from the others."""
    tree = definition_of(loss)
    body = tree.body[1:] if ast.get_docstring(tree) else tree.body
    nodes = [node for statement in body for node in ast.walk(statement)]
    made: list[Mutant] = []
    seen = {ast.unparse(tree)}
    for at, node in enumerate(nodes):
        for kind, wrong in replacements(node, boundaries):
            before, after = ast.unparse(node), ast.unparse(wrong)
            source = ast.unparse(_with(tree, at, wrong))
            if source not in seen:
                seen.add(source)
                made.append(Mutant(loss.name, len(made), kind, node.lineno, before, after, source))
    return made


def _with(tree: ast.FunctionDef, at: int, wrong: ast.AST) -> ast.FunctionDef:
    """A copy of the definition with the node of that number replaced."""
    changed = copy.deepcopy(tree)
    body = changed.body[1:] if ast.get_docstring(changed) else changed.body
    target = [node for statement in body for node in ast.walk(statement)][at]
    for parent in ast.walk(changed):
        for name, field in ast.iter_fields(parent):
            if field is target:
                setattr(parent, name, wrong)
            elif isinstance(field, list) and any(entry is target for entry in field):
                setattr(parent, name, [wrong if entry is target else entry for entry in field])
    return ast.fix_missing_locations(changed)


def compiled(loss: Any, source: str) -> Any:
    """A definition from its source; `inspect` finds that source again."""
    file = f"<definition {hash(source):x}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = dict(vars(sys.modules[loss.define.__module__]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # some mutants subscript a number
        exec(compile(source, file, "exec"), namespace)
    define = namespace[loss.define.__name__]
    define.__module__ = loss.define.__module__
    return define


@contextmanager
def planted(loss: Any, source: str) -> Iterator[None]:
    """Let the one record of a loss, wherever it has been imported, have another definition for a while."""
    own = loss.define
    object.__setattr__(loss, "define", compiled(loss, source))
    try:
        yield
    finally:
        object.__setattr__(loss, "define", own)


# --- judging --------------------------------------------------------------------------------------------------------


def use(scratch: Path) -> None:
    """Import package and tests from a copy."""
    for part in ("tests", "src"):
        sys.path.insert(0, str(scratch / part))


@cache
def suite() -> list[tuple[str, Callable[[Any], None]]]:
    """The tests of the catalogue that take a loss, as plain functions of a record."""
    import test_catalogue

    test_catalogue.Exact = _remembering(test_catalogue.Exact)
    found: list[tuple[str, Callable[[Any], None]]] = []
    for name, test in vars(test_catalogue).items():
        marks = [mark.args for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
        axes = {names: values for names, values, *_ in marks}
        if not name.startswith("test_") or "loss" not in axes:
            continue
        losses = {loss.name for loss in axes.pop("loss")}
        for values in itertools.product(*axes.values()):
            options = dict(zip(axes, values, strict=True))

            def run(loss: Any, test: Any = test, options: Any = options, losses: Any = losses) -> None:
                if loss.name in losses:
                    test(loss, **options)

            found.append((name + "".join(f"[{getattr(v, '__name__', v)}]" for v in values), run))
    return found


def _remembering(exact: type) -> type:
    """The exact arithmetic of the tests with a memory: the oracle is the same for every mutant of a loss."""
    memory: dict[Any, Any] = {}

    def remembered(name: str) -> Callable[..., Any]:
        plain = getattr(exact, name)

        def method(self: Any, *arguments: Any) -> Any:
            key = (self.key, name, repr(arguments))
            if key not in memory:
                memory[key] = plain(self, *arguments)
            return memory[key]

        return method

    def start(self: Any, loss: Any, arrays: Any, params: Any, anchor: Any = None) -> None:
        exact.__init__(self, loss, arrays, params, anchor)  # type: ignore[misc]
        self.key = (loss.name, repr(self.arrays), repr(params), anchor)

    methods = {name: remembered(name) for name in ("value", "first", "second", "third")}
    return type("Remembering", (exact,), {"__init__": start, **methods})


def verdict(test: Callable[[Any], None], loss: Any) -> str:
    """What a test says about a record: nothing if it passes or does not apply, else the first line of its complaint."""
    import pytest

    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("error")
        try:
            test(loss)
        except pytest.skip.Exception:
            return ""
        except KeyboardInterrupt:
            raise
        except Exception as complaint:
            return (str(complaint).strip().splitlines() or [""])[0][:100] or type(complaint).__name__
    return ""


def same_numbers(loss: Any, source: str) -> bool:
    """Whether a mutant gives the numbers of the original, rounding aside, wherever one looks."""
    import numpy as np

    for arrays, params in probes(loss):
        expected = outputs(loss, arrays, params)
        with planted(loss, source):
            found = outputs(loss, arrays, params)
        for original, other in zip(expected, found, strict=True):
            with np.errstate(all="ignore"):
                close = np.abs(original - other) <= 1e-14 * (np.abs(original) + np.abs(other))
            if not (close | (original == other) | (np.isnan(original) & np.isnan(other))).all():
                return False
    return True


def idle_lines(loss: Any) -> set[int]:
    """The lines of a definition with an expression that none of the probes runs."""
    from lossary.testing import coverage_of, run

    with coverage_of(loss.define) as never_run:
        for arrays, params in probes(loss):
            with suppress(Exception):  # a probe may lie outside a condition between arrays
                run(loss, arrays, params)
    return {int(number) for line in never_run() for number in re.findall(r", line (\d+): ", line)}


def probes(loss: Any) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """Inputs to tell a mutant from the original: ordinary ones, then ones with ties, zeros and huge numbers."""
    import numpy as np

    from lossary.testing import corner_params, random_arrays, random_params

    rng = np.random.default_rng(7)
    batch = 8 if loss.coupling else 64
    for alternative in range(1 if loss.coupling else len(loss.signatures)):
        for round_ in range(24):
            arrays = random_arrays(loss, rng, batch, alternative=alternative)
            if round_ % 3 == 1 and not loss.coupling:
                for name, array in zip(loss.arguments, arrays, strict=True):
                    domain = loss.domain(name, alternative)
                    if domain.kind == "interval":
                        extreme = [v for v in (0.0, 1.0, -1.0, 1e-9, 50.0, -50.0, 1e4, -1e4) if domain.contains(v)]
                        chosen = rng.random(array.shape) < 0.5
                        array[chosen] = rng.choice(extreme, chosen.sum()) if extreme else array[chosen]
            elif round_ % 3 == 2:
                arrays = [
                    np.round(a)
                    if loss.domain(n, alternative).kind == "interval" and not loss.domain(n, alternative).bounded
                    else a
                    for n, a in zip(loss.arguments, arrays, strict=True)
                ]
            yield arrays, random_params(loss, rng) if round_ % 2 else {}
        for params in corner_params(loss):
            for other in ({}, random_params(loss, rng, default=0.0)):
                yield random_arrays(loss, rng, batch, alternative=alternative), other | params


def outputs(loss: Any, arrays: list[Any], params: dict[str, Any]) -> list[Any]:
    """Value, gradients and Hessian diagonals; one NaN in place of all of them if the definition does not even run."""
    import numpy as np

    try:
        value, grads = loss.value_and_grad(*arrays, **params)
        found = [value, *(grads if isinstance(grads, tuple) else (grads,))]
        if loss.derivatives > 1:
            diagonals = loss.hess(*arrays, **params)
            found += diagonals if isinstance(diagonals, tuple) else (diagonals,)
    except Exception:
        return [np.array(np.nan)] * (1 + len(loss.wrt) * loss.derivatives)
    return found


@dataclass
class Outcome:
    """What became of a mutant: the test that killed it, the reason why it is equivalent, or neither."""

    loss: str
    kind: str
    line: int
    change: str
    killed_by: str = ""
    equivalent: str = ""
    never_run: bool = False

    @property
    def survived(self) -> bool:
        """Whether no test noticed, and nothing says why."""
        return not self.killed_by and not self.equivalent


def judge(scratch: Path, name: str, limit: int, seed: int, boundaries: bool) -> tuple[list[Outcome], float]:
    """Judge the mutants of one loss (a random sample of them, if limited); return them and the seconds it took."""
    use(scratch)
    import lossary

    start = time.perf_counter()
    loss = lossary.get(name)
    mutants = mutants_of(loss, boundaries)
    if limit and len(mutants) > limit:
        mutants = sorted(random.Random(f"{seed} {name}").sample(mutants, limit), key=lambda m: m.number)
    tests = quickest_first(loss)
    named = elsewhere(scratch, loss)
    first, idle = loss.define.__code__.co_firstlineno, idle_lines(loss)
    outcomes = []
    for mutant in mutants:
        outcome = Outcome(name, mutant.kind, mutant.line, mutant.change)
        with planted(loss, mutant.source):
            outcome.killed_by = next((title for title, test in tests if verdict(test, loss)), "")
        if not outcome.killed_by:
            outcome.equivalent = EQUIVALENT.get((name, mutant.change), "")
        outcome.never_run = outcome.survived and first + mutant.line - 1 in idle
        if outcome.survived and not outcome.never_run and same_numbers(loss, mutant.source):
            outcome.equivalent = SAME_NUMBERS
        if outcome.survived and named:
            with planted(loss, mutant.source):
                outcome.killed_by = "" if content(named) else ", ".join(file.name for file in named)
        outcomes.append(outcome)
    return outcomes, time.perf_counter() - start


def quickest_first(loss: Any) -> list[tuple[str, Callable[[Any], None]]]:
    """The tests that accept the definition itself when it is planted, by the time they take."""
    timed = []
    with planted(loss, ast.unparse(definition_of(loss))):
        for title, test in suite():
            if not verdict(test, loss):
                begun = time.perf_counter()
                verdict(test, loss)  # a second time: only now is the oracle remembered
                timed.append((time.perf_counter() - begun, title, test))
    timed.sort(key=lambda entry: entry[0])
    return [(title, test) for _, title, test in timed]


def elsewhere(scratch: Path, loss: Any) -> list[Path]:
    """The test files that hold particular losses to particular decisions, where they speak of this one and pass."""
    files = [f for f in sorted((scratch / "tests").glob("test_*.py")) if any(word in f.name for word in PARTICULAR)]
    named = [file for file in files if re.search(rf"\b{loss.name}\b", file.read_text())]
    return named if named and content(named) else []


def content(files: list[Path]) -> bool:
    """Whether every test in some files passes, in this process."""
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(files[0].parent.parent)]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return pytest.main([*options, *map(str, files)]) == pytest.ExitCode.OK


# --- modules --------------------------------------------------------------------------------------------------------

# Test files for modules that tests reach through others; the first entry that a module's name starts with counts.
# Every module is also tested by the files that import it.
CONCERNED: dict[str, tuple[str, ...]] = {
    "kernels.cpu.labels": ("test_kernel_softmax", "test_kernel_rows"),
    "kernels.cpu.sequence.crf": ("test_kernel_crf",),
    "kernels.cpu.sequence.ctc": ("test_ctc", "test_torch_sequences"),
    "kernels.cpu.sequence.rnnt": ("test_kernel_rnnt",),
    "kernels.cpu.softmax": ("test_kernel_softmax",),
    "kernels.cpu.generated_rows": ("test_kernel_rows", "test_grad_hess"),
    "kernels.cpu.row_source": ("test_kernel_rows",),
    "kernels.cpu.transpose": ("test_kernel_rows",),
    "kernels.cpu.runtime.memory": ("test_memory_reuse",),
    "kernels.cpu.runtime.cache": ("test_kernel_cache",),
    "kernels.ir.row": ("test_kernel_rows",),
    "kernels": ("test_truth", "test_kernels", "test_half_precision", "test_grad_hess"),
    "lint": ("test_lint",),
    "cli": ("test_cli",),
    "nn": ("test_nn", "test_nn_misuse", "test_truth"),
    "report": ("test_truth", "test_report"),
    "training": ("test_training",),
    "backends.numpy.fast": ("test_call_cache",),
    "backends.cache": ("test_call_cache", "test_small_calls"),
    "lean": ("test_small_calls",),
    "checking": ("test_truth", "test_checks"),
    "scoring": ("test_truth", "test_compare"),
    "data": ("test_truth", "test_data"),
    "decoding": ("test_truth", "test_decoding", "test_ctc_decoding"),
    "inspect.explanation": ("test_explain",),
    "inspect.tracing": ("test_explain", "test_diagnose"),
    "text": ("test_explain", "test_cli"),
    "facts": ("test_catalogue", "test_checks"),
    "branches": ("test_architecture",),
    "testing": ("test_catalogue",),
    "": ("test_catalogue",),
}
# Definitions have a mode of their own; a table of words and the entry of a process have nothing to compute.
NOT_SAMPLED = ("losses", "__main__", "__init__")


@dataclass(frozen=True)
class ModuleMutant:
    """One change of one file: what kind, in which line, the text before and after, and the whole file as changed."""

    module: str
    kind: str
    line: int
    before: str
    after: str
    source: bytes

    @property
    def key(self) -> str:
        """What tells it from others in a file of outcomes."""
        return f"{self.module}:{self.line}: {self.before} -> {self.after}"


def modules_of(root: Path) -> dict[str, Path]:
    """Every module that is sampled, by its name below the package."""
    package = root / "src" / "lossary"
    found = {".".join(path.relative_to(package).with_suffix("").parts): path for path in sorted(package.rglob("*.py"))}
    return {name: path for name, path in found.items() if not any(part in NOT_SAMPLED for part in name.split("."))}


def module_mutants(name: str, path: Path) -> list[ModuleMutant]:
    """Every mutant of the functions of a module, as changes of its text."""
    data = path.read_bytes()
    starts = list(itertools.accumulate((len(line) for line in data.splitlines(keepends=True)), initial=0))
    made: dict[str, ModuleMutant] = {}
    for node in _inside_functions(ast.parse(data)):
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        for kind, wrong in _module_replacements(node):
            text = ast.unparse(ast.fix_missing_locations(wrong))
            text = text if isinstance(node, ast.stmt) else f"({text})"
            mutant = ModuleMutant(
                name, kind, node.lineno, ast.unparse(node), text, data[:begin] + text.encode() + data[end:]
            )
            made.setdefault(mutant.key, mutant)
    return list(made.values())


def _inside_functions(tree: ast.AST, inside: bool = False) -> Iterator[Any]:
    """Yield the nodes inside functions that have a place of their own in the text: not annotations, not f-strings."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or isinstance(node, ast.JoinedStr):
                continue
            if inside and isinstance(node, (ast.expr, ast.Expr)):
                yield node
            yield from _inside_functions(node, inside or isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _module_replacements(node: Any) -> Iterator[tuple[str, ast.AST]]:
    """Yield what `replacements` knows, a call left out, arguments swapped, and a condition turned round."""
    if isinstance(node, ast.Yield):
        return
    yield from replacements(node, boundaries=True)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "dropped call", ast.Pass()
    if isinstance(node, ast.Call) and len(node.args) >= 2 and not any(isinstance(a, ast.Starred) for a in node.args):
        yield "swapped arguments", ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
    if isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield "condition", ast.BoolOp(other, node.values)
    if isinstance(node, ast.IfExp):
        yield "swapped branches", ast.IfExp(node.test, node.orelse, node.body)


def concerned(root: Path, name: str) -> list[str]:
    """The test files of a module: those of `CONCERNED`, then those that import it."""
    listed = next(files for prefix, files in CONCERNED.items() if not prefix or f"{name}.".startswith(f"{prefix}."))
    if not listed or listed == CONCERNED[""]:
        listed = ()
    files = [f"{file}.py" for file in listed if (root / "tests" / f"{file}.py").exists()]
    dotted, (parent, _, last) = f"lossary.{name}", f"lossary.{name}".rpartition(".")
    ways = (rf"from {re.escape(dotted)} import", rf"import {re.escape(dotted)}\b")
    pattern = "|".join((*ways, rf"from {re.escape(parent)} import [^\n]*\b{last}\b"))
    for path in sorted((root / "tests").glob("test_*.py")):
        if re.search(pattern, path.read_text()) and path.name not in files and len(files) < 3:
            files.append(path.name)
    return files or [f"{file}.py" for file in CONCERNED[""]]


def tested(scratch: Path, files: list[str], limit: float, without: Sequence[str] = ()) -> str:
    """Run test files, but for some tests, in a process of their own: nothing if all is well, else what failed first."""
    environment = os.environ | {"PYTHONPATH": str(scratch / "src"), "LOSSARY_CACHE": str(scratch / "cache")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
    options += [f"--deselect={test}" for test in without]
    command = [sys.executable, "-m", "pytest", *options, *(f"tests/{file}" for file in files)]
    process = subprocess.Popen(
        command,
        cwd=scratch,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that what hangs ends with its children
    )
    try:
        out, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"no end within {limit:.0f} s"
    if process.returncode == 0:
        return ""
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", out, re.MULTILINE)
    return failed[0] if failed else f"exit status {process.returncode}"


def judge_modules(scratch: Path, options: argparse.Namespace) -> int:
    """Judge a sample of mutants of each module asked for, and report them against the floor."""
    from rich.console import Console

    console = Console(stderr=True)
    modules = modules_of(scratch)
    unknown = [name for name in options.module if name not in modules]
    if unknown:
        raise SystemExit(f"no module {unknown[0]}; there are {', '.join(modules)}")
    known: dict[str, Any] = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    end = time.monotonic() + 60 * options.minutes if options.minutes else math.inf
    outcomes: dict[str, list[dict[str, Any]]] = {}
    for name in options.module or modules:
        path, files = modules[name], concerned(scratch, name)
        mutants = module_mutants(name, path)
        chosen = random.Random(f"{options.seed} {name}").sample(mutants, min(options.limit or 5, len(mutants)))
        waiting = [mutant for mutant in chosen if mutant.key not in known]
        if waiting and time.monotonic() < end:
            begun = time.monotonic()
            failing: list[str] = []
            while (wrong := tested(scratch, files, 1800, failing)).startswith("tests/") and len(failing) < 20:
                failing.append(wrong)  # as it stands: such a test can notice nothing
                console.print(f"{name}: fails before anything is planted: {wrong}", markup=False)
            if wrong:
                console.print(f"{name}: left out, for its tests fail as it stands: {wrong}", markup=False)
                continue
            limit = max(60.0, 4 * (time.monotonic() - begun))
            whole = path.read_bytes()
            for mutant in waiting:
                if time.monotonic() > end:
                    break
                path.write_bytes(mutant.source)
                try:
                    killed = tested(scratch, files, limit, failing)
                finally:
                    path.write_bytes(whole)
                known[mutant.key] = {"kind": mutant.kind, "killed_by": killed, "tests": files}
                console.print(f"{'survived' if not killed else 'killed  '} {mutant.key}", markup=False)
                if options.json:
                    options.json.parent.mkdir(parents=True, exist_ok=True)
                    options.json.write_text(json.dumps(known, indent=1) + "\n")
        outcomes[name] = [known[mutant.key] | {"key": mutant.key} for mutant in chosen if mutant.key in known]
    return report_modules(outcomes, options.floor)


def report_modules(outcomes: dict[str, list[dict[str, Any]]], floor: float) -> int:
    """Print a row per module, then every survivor; return 1 if a module lies below the floor."""
    from rich.console import Console
    from rich.table import Table

    console, below = Console(), 0
    table = Table("module", "mutants", "killed", "survived", "share")
    for name, found in outcomes.items():
        if not found:
            continue
        killed = sum(bool(one["killed_by"]) for one in found)
        low = killed < floor * len(found)
        below += low
        row = (name, len(found), killed, len(found) - killed, f"{killed / len(found):.0%}")
        table.add_row(*map(str, row), style="red" if low else "")
    console.print(table)
    for found in outcomes.values():
        for one in found:
            if not one["killed_by"]:
                console.print(f"survived: {one['key']}, {one['kind']} ({', '.join(one['tests'])})", markup=False)
    return int(below > 0)


# --- reporting ------------------------------------------------------------------------------------------------------


def report(outcomes: list[Outcome], seconds: float) -> None:
    """Print a row per loss, then every survivor."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("loss", "mutants", "killed", "equivalent", "survived")
    for name, group in itertools.groupby(sorted(outcomes, key=lambda o: o.loss), key=lambda o: o.loss):
        of_loss = list(group)
        counts = [len(of_loss), *(sum(map(bool, column)) for column in zip(*map(_fate, of_loss), strict=True))]
        table.add_row(name, *map(str, counts), style="red" if counts[-1] else "")
    total = [len(outcomes), *(sum(map(bool, column)) for column in zip(*map(_fate, outcomes), strict=True))]
    table.add_section()
    table.add_row("total", *map(str, total), style="bold")
    console.print(table)
    for outcome in outcomes:
        if outcome.survived:
            fate = "never run" if outcome.never_run else "survived"
            console.print(
                f"{fate}: {outcome.loss}, line {outcome.line}, {outcome.kind}: {outcome.change}", markup=False
            )
    console.print(f"{len(outcomes)} mutants in {seconds:.0f} s")


def _fate(outcome: Outcome) -> tuple[bool, bool, bool]:
    return bool(outcome.killed_by), bool(outcome.equivalent), outcome.survived


def main() -> int:
    """Run from the command line."""
    with tempfile.TemporaryDirectory(prefix="lossary-mutation-") as name:
        scratch = Path(name)
        for part in ("src", "tests", "docs", "examples"):
            shutil.copytree(ROOT / part, scratch / part, ignore=shutil.ignore_patterns("__pycache__"))
        for file in (*ROOT.glob("*.md"), ROOT / "pyproject.toml", ROOT / "Makefile"):
            shutil.copy(file, scratch)
        use(scratch)
        return run(scratch)


def run(scratch: Path) -> int:
    """Judge what the command line asks for, and report."""
    import lossary

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--loss", action="append", default=[], help="only this loss; may be repeated")
    parser.add_argument("--family", help="only the losses of this family")
    parser.add_argument("--limit", type=int, default=0, help="at most so many mutants per loss, drawn at random")
    parser.add_argument("--modules", action="store_true", help="a sample of every module instead of the definitions")
    parser.add_argument("--module", action="append", default=[], help="only this module, such as nn.modules")
    parser.add_argument("--floor", type=float, default=0.6, help="share that must be killed (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so many; --json resumes (modules only)")
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    parser.add_argument("--boundaries", action="store_true", help="also decide ties of comparisons the other way")
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write every outcome to this file")
    options = parser.parse_args()
    if options.modules or options.module:
        return judge_modules(scratch, options)
    names = [lossary.get(name).name for name in options.loss]
    names = names or lossary.names(**({"family": options.family} if options.family else {}))

    from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    start = time.perf_counter()
    outcomes: list[Outcome] = []
    columns = (SpinnerColumn(), *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    with (
        ProcessPoolExecutor(options.jobs) as pool,
        Progress(*columns, TextColumn("{task.fields[last]}"), transient=True) as progress,
    ):
        task = progress.add_task("losses", total=len(names), last="")
        waiting = {pool.submit(judge, scratch, n, options.limit, options.seed, options.boundaries): n for n in names}
        for done in as_completed(waiting):
            found, seconds = done.result()
            outcomes += found
            progress.update(task, advance=1, last=f"{waiting[done]}: {len(found)} mutants, {seconds:.0f} s")
    outcomes.sort(key=lambda o: (names.index(o.loss), o.line))
    report(outcomes, time.perf_counter() - start)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
    return int(any(o.survived for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
