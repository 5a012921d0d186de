"""Following values through a file: names, attributes, branches, calls into the project, layers and losses.

The interpreter here is abstract: it runs nothing, and knows of a value only which operation made it. Where two
branches disagree, or a loop may have changed something, it forgets. So what it does know is certain, or nearly so.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossary.lint import vocabulary
from lossary.lint.sources import MODULES, SUFFIXES, TOPIC, Unit, lines_of, read
from lossary.lint.values import NO_KEYWORDS, UNKNOWN, Value, merge
from lossary.lint.vocabulary import ACTIVATIONS, KEEPS_MEANING, LAYERS, METHODS, OPERATIONS, ROOTS, WITHOUT_ARGUMENTS

Function = ast.FunctionDef | ast.AsyncFunctionDef
DEPTH = 6  # how deep calls into the project are followed
LOADS = 3  # how far imports of imports are followed
FUEL = 10_000  # statements followed in other functions, for one file
_TENSOR_MAKERS = {"torch.tensor", "torch.as_tensor", "torch.FloatTensor", "torch.LongTensor", "torch.Tensor"}
_TENSOR_MAKERS |= {"numpy.array", "numpy.asarray", "jax.numpy.array", "jax.numpy.asarray", "tensorflow.constant"}
_NO_GRAD = {"torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.autograd.grad_mode.no_grad"}
_UINT8 = {"cv2.imread", "imageio.imread", "imageio.v2.imread", "imageio.v3.imread", "skimage.io.imread", "cv2.cvtColor"}
_MODEL_HEADS = ("fc", "classifier", "head", "heads")


@dataclass(eq=False)
class ClassInfo:
    """A class of the project."""

    node: ast.ClassDef
    module: Module
    bases: list[Value]
    methods: dict[str, Function] = field(default_factory=dict)

    def find(self, name: str, depth: int = 5) -> tuple[Function, ClassInfo] | None:
        """Return a method and the class that has it, here or in a base of the project."""
        if name in self.methods:
            return self.methods[name], self
        for base in self.bases if depth else ():
            if base.op == "class" and (found := base.const.find(name, depth - 1)):
                return found  # type: ignore[no-any-return]
        return None

    def is_module(self, depth: int = 5) -> bool:
        """Whether it is an `nn.Module`, as far as bases can be followed."""
        for base in self.bases:
            if base.op == "name" and str(base.const).rpartition(".")[2] in (
                "Module",
                "LightningModule",
                "Model",
                "Layer",
            ):
                return True
            if base.op == "class" and depth and base.const.is_module(depth - 1):
                return True
        return False

    def plain(self, depth: int = 5) -> bool:
        """Whether calling an instance calls `forward`: the bases are known, and none overrides ``__call__``."""
        return self.find("__call__") is None and all(
            base.op == "name" or (base.op == "class" and depth > 0 and base.const.plain(depth - 1))
            for base in self.bases
        )


@dataclass(eq=False)
class FunctionInfo:
    """A function of the project, with the frame around it and the instance it is bound to."""

    node: Function | ast.Lambda
    module: Module
    outer: Frame
    bound: Value | None = None
    owner: ClassInfo | None = None


@dataclass(eq=False)
class Frame:
    """The names of one function (or of a module) while it is followed."""

    module: Module
    node: ast.AST
    names: dict[str, Value]
    outer: Frame | None = None
    owner: ClassInfo | None = None
    no_grad: int = 0
    loops: list[ast.stmt] = field(default_factory=list)
    returned: list[Value] = field(default_factory=list)
    once: frozenset[str] | None = None
    globals: frozenset[str] = frozenset()
    functions: list[FunctionInfo] = field(default_factory=list)
    blocks: list[list[ast.stmt]] = field(default_factory=list)

    def lookup(self, name: str) -> Value | None:
        """Return the value of a name, here or around; outside, only what is assigned once can be relied on."""
        value = self.names.get(name)
        if value is not None:
            return value
        frame = self.outer
        while frame is not None:
            if name in frame.names:
                if frame.once is not None and name not in frame.once:
                    return UNKNOWN
                return frame.names[name]
            frame = frame.outer
        return None

    def function_name(self) -> str:
        """The name of the function around, or ""."""
        return getattr(self.node, "name", "")


@dataclass(eq=False)
class Module:
    """A file of the project, and its names once its body has been followed."""

    unit: Unit
    dotted: str
    frame: Frame | None = None
    classes: list[ClassInfo] = field(default_factory=list)
    instances: dict[ClassInfo, Value] = field(default_factory=dict)


@dataclass(eq=False)
class Event:
    """Something a rule may want to look at. Which of the fields are set depends on `kind`."""

    kind: str
    node: Any
    frame: Frame
    name: str = ""
    value: Value = UNKNOWN
    args: tuple[Value, ...] = ()
    kw: dict[str, Value] = field(default_factory=dict)
    options: dict[str, Value] = field(default_factory=dict)
    facts: Any = None
    whole: bool = True  # no * or ** hides an argument
    flow: Any = None

    @property
    def unit(self) -> Unit:
        """The file the event stands in."""
        return self.frame.module.unit

    @property
    def call(self) -> ast.Call:
        """The node, where it is a call."""
        assert isinstance(self.node, ast.Call)
        return self.node

    def argument(self, *names: str) -> Value | None:
        """Return the value of the first of some parameters that was given."""
        return next((self.kw[name] for name in names if name in self.kw), None)

    def argument_node(self, *names: str) -> ast.expr | None:
        """Return the expression of the first of some parameters that was given."""
        for name in names:
            if name in self.kw:
                for keyword in self.call.keywords:
                    if keyword.arg == name:
                        return keyword.value
                at = self.facts.arguments.index(name) if self.facts and name in self.facts.arguments else -1
                if 0 <= at < len(self.call.args):
                    return self.call.args[at]
        return None

    def option(self, name: str, default: Any = None) -> Any:
        """Return a literal option of a loss, `default` if it was not given, None if it is not a literal."""
        value = self.options.get(name)
        if value is None:
            return default
        return value.const if value.op == "const" else None


Listener = Callable[[Event], None]


class Project:
    """The files around those that are checked, loaded when an import asks for them."""

    def __init__(self) -> None:
        self.modules: dict[Path, Module | None] = {}
        self.places: dict[tuple[Path, str], Path | None] = {}

    def module(self, path: Path, unit: Unit | None = None) -> Module | None:
        """Return a file as a module of the project, read but not yet followed."""
        if path not in self.modules:
            if unit is None:
                unit = _of_interest(path)
            if unit is None or unit.tree is None:
                self.modules[path] = None
            else:
                self.modules[path] = Module(unit, dotted_name(path))
        return self.modules[path]

    def find(self, dotted: str, near: Path) -> Path | None:
        """Return the file of a module as an import in the folder `near` would find it."""
        key = (near, dotted)
        if key not in self.places:
            self.places[key] = self._find(dotted, near)
        return self.places[key]

    def _find(self, dotted: str, near: Path) -> Path | None:
        parts = dotted.split(".")
        if parts[0] in sys.stdlib_module_names or not dotted:
            return None
        folder = near
        for _ in range(8):
            # The folder of a script is searched, and the folders that hold packages; not those inside of packages.
            if folder != near and (folder / "__init__.py").is_file():
                folder = folder.parent
                continue
            for base in (folder, folder / "src"):
                stem = base.joinpath(*parts)
                for file in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
                    try:
                        if file.is_file():
                            return file.resolve()
                    except (OSError, ValueError):
                        return None
            if (
                any((folder / mark).exists() for mark in (".git", "pyproject.toml", "setup.py"))
                or folder == folder.parent
            ):
                return None
            folder = folder.parent
        return None


def _of_interest(path: Path) -> Unit | None:
    """Read a file that an import leads to, unless there can be nothing about losses in it."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    # A loop that is given model and loss need not name a framework; an installed package's helpers had better do.
    of_interest = TOPIC.search(data) and (MODULES.search(data) or "site-packages" not in path.parts)
    return read(path, data) if of_interest else None


def dotted_name(path: Path) -> str:
    """Return the name a file has as a module: its package is told by the ``__init__.py`` files."""
    parts = [] if path.name == "__init__.py" else [path.stem]
    folder = path.parent
    for _ in range(12):
        if not (folder / "__init__.py").is_file():
            break
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts) or path.stem


def assigned(body: list[ast.stmt]) -> frozenset[str]:
    """Return the names (``x``, ``self.x``) that statements may change; functions inside keep to themselves."""
    found: set[str] = set()
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            if text := dotted(node):
                found.add(text)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("append", "extend", "add", "insert", "pop") and (text := dotted(node.func.value)):
                found.add(text)
        stack.extend(ast.iter_child_nodes(node))
    return frozenset(found)


def assigned_once(body: list[ast.stmt]) -> frozenset[str]:
    """Return the names that statements bind exactly once, so that their value can be relied on later."""
    seen: dict[str, int] = {}
    stack: list[tuple[ast.AST, bool]] = [(node, False) for node in body]
    while stack:
        node, looped = stack.pop()
        names: list[str] = []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            names = [node.id]
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [(alias.asname or alias.name).split(".")[0] for alias in node.names]
            for name in names:  # an import in each branch of a try is one name for one thing
                seen.setdefault(name, 1)
            names = []
        elif isinstance(node, ast.Global):
            names = [name for name in node.names for _ in range(2)]
        for name in names:
            seen[name] = seen.get(name, 0) + 1
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            for inner in ast.walk(node):
                if isinstance(inner, (ast.Global, ast.Nonlocal)):
                    for name in inner.names:
                        seen[name] = 2
            continue
        stack.extend((child, looped) for child in ast.iter_child_nodes(node))
    return frozenset(name for name, times in seen.items() if times == 1)


def dotted(node: ast.AST) -> str:
    """Return ``a.b.c`` for names and attributes of names, and else ""."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(node.id)
    return ".".join(reversed(parts))


_FOLDED = ("add", "sub", "mul")
_BINARY = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
    ast.MatMult: "matmul",
}


class Flow:
    """Follows one file, and tells the listener what it meets."""

    def __init__(self, project: Project, listener: Listener) -> None:
        self.project = project
        self.listener = listener
        self.silent = 0
        self.loading = 0
        self.fuel = FUEL
        self.depth = 0
        self.calling: list[tuple[Module, ast.AST]] = []
        self.active: set[int] = set()
        self.memo: dict[tuple[Any, ...], tuple[Any, Value]] = {}
        self._evaluators: dict[type, Callable[[Any, Frame], Value]] = {
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Call: self._call,
            ast.Constant: self._constant,
            ast.BinOp: self._binary,
            ast.UnaryOp: self._unary,
            ast.Compare: self._compare,
            ast.IfExp: self._conditional,
            ast.Tuple: self._sequence,
            ast.List: self._sequence,
            ast.Dict: self._dict,
            ast.Subscript: self._subscript,
            ast.NamedExpr: self._named,
            ast.Lambda: self._lambda,
            ast.Starred: self._starred,
            ast.Await: lambda node, frame: self.eval(node.value, frame),
            ast.BoolOp: self._parts,
            ast.JoinedStr: self._parts,
            ast.FormattedValue: self._parts,
            ast.Set: self._parts,
            ast.Slice: self._slice,
            ast.ListComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
            ast.SetComp: self._comprehension,
            ast.DictComp: self._comprehension,
            ast.Yield: self._parts,
            ast.YieldFrom: self._parts,
        }

    # --- a file -------------------------------------------------------------------------------------------------------

    def check(self, module: Module) -> None:
        """Follow a whole file: its body, then every function and method by itself."""
        self.run_module(module)
        assert module.frame is not None
        self._functions(module.frame)
        for owner in module.classes:
            self._class(owner, module)

    def run_module(self, module: Module) -> Frame:
        """Follow the body of a file, once."""
        if module.frame is None:
            assert module.unit.tree is not None
            module.frame = Frame(module, module.unit.tree, {})
            self.block(module.unit.tree.body, module.frame)
            module.frame.once = assigned_once(module.unit.tree.body)
        return module.frame

    def _functions(self, frame: Frame) -> None:
        for info in frame.functions:
            self.function(info)

    def _class(self, owner: ClassInfo, module: Module) -> None:
        instance = self.instance(owner, (), {}, owner.node)
        for method in owner.methods.values():
            if method.name != "__init__":
                outer = self.run_module(module)
                self.function(FunctionInfo(method, module, outer, instance, owner))

    def emit(self, event: Event) -> None:
        """Tell the listener, unless a file is only being read for its names."""
        if not self.silent:
            event.flow = self
            self.listener(event)

    # --- functions ----------------------------------------------------------------------------------------------------

    def function(self, info: FunctionInfo, given: dict[str, Value] | None = None) -> Value:
        """Follow a function with what is known of its arguments, and return what is certain of its result."""
        node = info.node
        if id(node) in self.active or self.depth > DEPTH:
            return UNKNOWN
        frame = Frame(info.module, node, {}, info.outer, info.owner)
        unit = info.module.unit
        arguments = node.args
        for position, parameter in enumerate((*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)):
            if position == 0 and info.bound is not None:
                frame.names[parameter.arg] = info.bound
                continue
            value = (given or {}).get(parameter.arg)
            if value is None and parameter.annotation is not None and given is None:
                value = self._annotated(parameter.annotation, info.outer)
            frame.names[parameter.arg] = value or Value("param", const=parameter.arg, node=parameter, unit=unit)
        for rest in (arguments.vararg, arguments.kwarg):
            if rest is not None:
                frame.names[rest.arg] = Value("unknown", node=rest, unit=unit)
        self.active.add(id(node))
        self.depth += 1
        try:
            if isinstance(node, ast.Lambda):
                return self.eval(node.body, frame)
            for decorator in node.decorator_list:
                said = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
                if said.rpartition(".")[2] in ("no_grad", "inference_mode"):
                    frame.no_grad += 1
            falls = self.block(node.body, frame)
            frame.once = assigned_once(node.body)
            self.emit(Event("function", node, frame))
            self._functions(frame)
        finally:
            self.depth -= 1
            self.active.discard(id(node))
        if not frame.returned or (falls and not frame.returned):
            return UNKNOWN
        result = frame.returned[0]
        for other in frame.returned[1:]:
            result = merge(result, other)
        return result

    def _annotated(self, annotation: ast.expr, frame: Frame) -> Value | None:
        if not isinstance(annotation, (ast.Name, ast.Attribute)):
            return None
        self.silent += 1
        try:
            value = self.eval(annotation, frame)
        finally:
            self.silent -= 1
        if value.op == "class" and value.const.is_module():
            return self.instance(value.const, (), {}, value.const.node)
        return None

    def bind(
        self, node: Function | ast.Lambda, args: tuple[Value, ...], kw: dict[str, Value], frame: Frame, *, method: bool
    ) -> dict[str, Value] | None:
        """Return values by parameter, with defaults; None where they cannot be matched."""
        a = node.args
        names = [p.arg for p in (*a.posonlyargs, *a.args)]
        skipped = names[1:] if method else names
        given: dict[str, Value] = {}
        for name, value in zip(skipped, args, strict=False):
            if value.op == "many":
                return None
            given[name] = value
        every = {*skipped, *(p.arg for p in a.kwonlyargs)}
        given |= {name: value for name, value in kw.items() if name in every}
        defaults = dict(zip(reversed(names), reversed(a.defaults), strict=False))
        defaults |= {p.arg: d for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True) if d is not None}
        for name, default in defaults.items():
            if name not in given and name in every:
                self.silent += 1
                try:
                    given[name] = self.eval(default, frame)
                finally:
                    self.silent -= 1
        return given

    def apply(
        self, info: FunctionInfo, args: tuple[Value, ...], kw: dict[str, Value], node: ast.AST, caller: Frame
    ) -> Value:
        """Follow a call into the project, once for what it is given."""
        if self.depth >= DEPTH or self.fuel <= 0:
            return UNKNOWN
        bound = info.bound
        known = any(map(_telling, (*args, *kw.values())))
        key = (
            id(info.node),
            id(bound),
            tuple(map(_key, args)) if known else None,
            tuple((k, _key(v)) for k, v in kw.items()) if known else None,
        )
        if key in self.memo:
            return self.memo[key][1]
        given = self.bind(info.node, args, kw, info.outer, method=bound is not None)
        if given is None:
            return UNKNOWN
        plain = bound is None or bound in info.module.instances.values()
        quiet = not known and plain and caller.module is info.module
        self.silent += quiet
        self.calling.append((caller.module, node))
        try:
            result = self.function(info, given)
        finally:
            self.calling.pop()
            self.silent -= quiet
        self.memo[key] = ((info, args, kw), result)
        return result

    def instance(self, owner: ClassInfo, args: tuple[Value, ...], kw: dict[str, Value], node: ast.AST) -> Value:
        """Return an instance of a class of the project, its attributes being those that `__init__` sets."""
        plain = not args and not kw and node is owner.node
        if plain and owner in owner.module.instances:
            return owner.module.instances[owner]
        instance = Value("instance", const=owner, kw={}, node=node, unit=owner.module.unit)
        if plain:
            owner.module.instances[owner] = instance
        if self.depth > DEPTH:
            return instance
        self._set_up(owner, instance, args, kw, plain)
        changed: set[str] = set()
        for name, method in owner.methods.items():
            if name != "__init__" and method.args.args:
                prefix = method.args.args[0].arg + "."
                changed |= {text.removeprefix(prefix) for text in assigned(method.body) if text.startswith(prefix)}
        for name in changed:
            instance.kw.pop(name, None)
        return instance

    def _set_up(
        self,
        owner: ClassInfo,
        instance: Value,
        args: tuple[Value, ...],
        kw: dict[str, Value],
        plain: bool,
        depth: int = 4,
    ) -> None:
        method = owner.methods.get("__init__")
        if method is None or not method.args.args or id(method) in self.active:
            for base in owner.bases if depth else ():
                if base.op == "class":
                    self._set_up(base.const, instance, args, kw, plain, depth - 1)
            return
        outer = self.run_module(owner.module)
        info = FunctionInfo(method, owner.module, outer, instance, owner)
        given = None if plain else self.bind(method, args, kw, outer, method=True)
        self.function(info, given)

    # --- statements ---------------------------------------------------------------------------------------------------

    def block(self, body: list[ast.stmt], frame: Frame) -> bool:
        """Follow statements; return whether the end of them can be reached."""
        frame.blocks.append(body)
        try:
            for statement in body:
                if self.depth > 1:
                    self.fuel -= 1
                if not self.statement(statement, frame):
                    return False
        finally:
            frame.blocks.pop()
        return True

    def statement(self, node: ast.stmt, frame: Frame) -> bool:
        """Follow one statement; return whether the next can be reached."""
        match node:
            case ast.Expr():
                self.eval(node.value, frame)
            case ast.Assign():
                value = self.eval(node.value, frame)
                for target in node.targets:
                    self.assign(target, value, frame)
                self.emit(Event("assign", node, frame, value=value))
            case ast.AnnAssign():
                if node.value is not None:
                    self.assign(node.target, self.eval(node.value, frame), frame)
            case ast.AugAssign():
                self._augmented(node, frame)
            case ast.Return():
                value = self.eval(node.value, frame) if node.value is not None else Value("const")
                frame.returned.append(value)
                self.emit(Event("return", node, frame, value=value))
                return False
            case ast.If():
                return self._if(node, frame)
            case ast.For() | ast.AsyncFor():
                self._loop(node, frame)
            case ast.While():
                self._loop(node, frame)
            case ast.With() | ast.AsyncWith():
                return self._with(node, frame)
            case ast.Try():
                return self._try(node, frame)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for decorator in node.decorator_list:
                    self.eval(decorator, frame)
                info = FunctionInfo(node, frame.module, frame)
                frame.names[node.name] = Value("function", const=info, node=node, unit=frame.module.unit)
                frame.functions.append(info)
            case ast.ClassDef():
                self._class_statement(node, frame)
            case ast.Import() | ast.ImportFrom():
                self._import(node, frame)
            case ast.Raise():
                for part in (node.exc, node.cause):
                    if part is not None:
                        self.eval(part, frame)
                return False
            case ast.Continue() | ast.Break():
                return False
            case ast.Delete():
                for target in node.targets:
                    frame.names.pop(dotted(target), None)
            case ast.Assert():
                self.eval(node.test, frame)
            case ast.Match():
                self.eval(node.subject, frame)
                self._branches([case.body for case in node.cases], frame, may_skip=True)
            case ast.Global() | ast.Nonlocal():
                frame.globals |= frozenset(node.names)
            case _:
                if hasattr(ast, "TryStar") and isinstance(node, ast.TryStar):
                    return self._try(node, frame)  # type: ignore[arg-type]
        return True

    def assign(self, target: ast.expr, value: Value, frame: Frame) -> None:
        """Bind a target: a name, an attribute, or several at once."""
        if isinstance(target, ast.Starred):
            target, value = target.value, UNKNOWN
        if isinstance(target, (ast.Tuple, ast.List)):
            parts = value.args if value.op in ("tuple", "list") else ()
            fits = len(parts) == len(target.elts) and not any(isinstance(e, ast.Starred) for e in target.elts)
            for at, element in enumerate(target.elts):
                self.assign(element, parts[at] if fits else _fresh(element, frame), frame)
            return
        text = dotted(target)
        if text:
            for known in [name for name in frame.names if name.startswith(text + ".")]:
                del frame.names[known]
            frame.names[text] = value
            base, _, name = text.rpartition(".")
            if base and "." not in base:
                held = frame.names.get(base)
                if held is not None and held.op == "instance":
                    inside = frame.function_name() == "__init__" and not frame.loops
                    if inside:
                        held.kw[name] = value
        elif isinstance(target, ast.Subscript):
            self.eval(target.value, frame)
            self.eval(target.slice, frame)

    def _augmented(self, node: ast.AugAssign, frame: Frame) -> None:
        value = self.eval(node.value, frame)
        text = dotted(node.target)
        before = frame.lookup(text) if text else None
        self.emit(Event("augmented", node, frame, value=value, args=(before or UNKNOWN,)))
        if before is not None and before.op in ("list", "tuple") and value.op in ("list", "tuple"):
            result = Value(before.op, before.args + value.args, node=node, unit=frame.module.unit)
        elif before is not None:
            result = self.operation(_BINARY.get(type(node.op), "unknown"), (before, value), node, frame)
        else:
            result = UNKNOWN
        self.assign(node.target, result, frame)

    def _if(self, node: ast.If, frame: Frame) -> bool:
        test = self.eval(node.test, frame)
        self.emit(Event("if", node, frame, value=test))
        if "TYPE_CHECKING" in (dotted(node.test), dotted(node.test).rpartition(".")[2]):
            self.block(node.body, frame)
            return True
        return self._branches([node.body, node.orelse], frame, may_skip=False)

    def _branches(self, bodies: list[list[ast.stmt]], frame: Frame, *, may_skip: bool) -> bool:
        before = frame.names
        ends: list[dict[str, Value]] = [dict(before)] if may_skip else []
        for body in bodies:
            frame.names = dict(before)
            if self.block(body, frame):
                ends.append(frame.names)
        if not ends:
            frame.names = before
            return False
        result = ends[0]
        for other in ends[1:]:
            result = _joined(result, other)
        frame.names = result
        return True

    def _loop(self, node: Any, frame: Frame) -> None:
        unit = frame.module.unit
        if isinstance(node, ast.While):
            self.eval(node.test, frame)
        else:
            self.eval(node.iter, frame)
        before = dict(frame.names)
        for name in assigned(node.body):
            held = frame.names.get(name)
            if held is not None:
                many = Value("many", node=node, unit=unit)
                frame.names[name] = (
                    Value("list", (*held.args, many), node=node, unit=unit)
                    if held.op == "list"
                    else Value("loop", node=node, unit=unit)
                )
        if not isinstance(node, ast.While):
            self.assign(node.target, _fresh(node.target, frame), frame)
        frame.loops.append(node)
        self.block(node.body, frame)
        frame.loops.pop()
        self.emit(Event("loop", node, frame))
        frame.names = _joined(before, frame.names)
        self.block(node.orelse, frame)

    def _with(self, node: Any, frame: Frame) -> bool:
        guards = 0
        for item in node.items:
            value = self.eval(item.context_expr, frame)
            guards += value.op == "call" and value.const in _NO_GRAD
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value if value.op == "call" else UNKNOWN, frame)
        frame.no_grad += guards
        falls = self.block(node.body, frame)
        frame.no_grad -= guards
        return falls

    def _try(self, node: ast.Try, frame: Frame) -> bool:
        before = dict(frame.names)
        falls = self.block(node.body, frame) and (not node.orelse or self.block(node.orelse, frame))
        ends = [frame.names] if falls else []
        for handler in node.handlers:
            frame.names = _joined(before, frame.names) if falls else dict(before)
            if self.block(handler.body, frame):
                ends.append(frame.names)
        if not ends:
            frame.names = before
            self.block(node.finalbody, frame)
            return False
        result = ends[0]
        for other in ends[1:]:
            result = _joined(result, other)
        frame.names = result
        return self.block(node.finalbody, frame)

    def _class_statement(self, node: ast.ClassDef, frame: Frame) -> None:
        for decorator in node.decorator_list:
            self.eval(decorator, frame)
        info = ClassInfo(node, frame.module, [self.eval(base, frame) for base in node.bases])
        inner = Frame(frame.module, node, {}, frame)
        for statement in node.body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                static = any(dotted(d) in ("staticmethod", "classmethod") for d in statement.decorator_list)
                if static:
                    frame.functions.append(FunctionInfo(statement, frame.module, frame))
                elif statement.args.args or statement.args.posonlyargs:
                    info.methods[statement.name] = statement
            else:
                self.statement(statement, inner)
        frame.module.classes.append(info)
        frame.names[node.name] = Value("class", const=info, node=node, unit=frame.module.unit)

    # --- imports ------------------------------------------------------------------------------------------------------

    def _import(self, node: ast.Import | ast.ImportFrom, frame: Frame) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    frame.names[alias.asname] = self._module_value(alias.name, node, frame)
                else:
                    root = alias.name.split(".")[0]
                    frame.names[root] = self._module_value(root, node, frame)
            return
        base = node.module or ""
        if node.level:
            parts = frame.module.dotted.split(".")
            if frame.module.unit.path.name != "__init__.py":
                parts = parts[:-1]
            parts = parts[: len(parts) - node.level + 1]
            base = ".".join([*parts, base] if base else parts)
        for alias in node.names:
            if alias.name != "*":
                value = self._member(base, alias.name, node, frame)
                self.emit(Event("name", alias, frame, name=f"{base}.{alias.name}", value=value))
                frame.names[alias.asname or alias.name] = value

    def _module_value(self, name: str, node: ast.AST, frame: Frame) -> Value:
        return Value("name", const=vocabulary.canonical(name), node=node, unit=frame.module.unit)

    def _member(self, base: str, name: str, node: ast.AST, frame: Frame) -> Value:
        """Return what ``from base import name`` gives: of a framework its name, of the project the thing itself."""
        outside = Value("name", const=vocabulary.canonical(f"{base}.{name}"), node=node, unit=frame.module.unit)
        if base.split(".")[0] in ROOTS or self.depth > DEPTH:
            return outside
        here = frame.module.unit.path.parent
        if not base:
            return outside
        file = self.project.find(base, here)
        if file is None and isinstance(node, ast.ImportFrom) and node.level:
            folder = here
            for _ in range(node.level - 1):
                folder = folder.parent
            file = self.project.find(node.module, folder) if node.module else folder / "__init__.py"
        if file is None or not file.is_file():
            return outside
        loaded = self.load(file, frame)
        if loaded is not None and name in loaded.names:
            return loaded.names[name] if loaded.once is None or name in loaded.once else UNKNOWN
        inner = file.parent / f"{name}.py" if file.name == "__init__.py" else None
        return Value("name", const=f"{base}.{name}", node=node, unit=frame.module.unit) if inner is None else outside

    def load(self, file: Path, frame: Frame) -> Frame | None:
        """Follow the body of another file of the project for its names, without telling what is wrong there."""
        if self.fuel <= 0 or self.loading >= LOADS:
            return None
        module = self.project.module(file)
        if module is None or module.unit is frame.module.unit:
            return None
        if module.frame is None:
            self.silent += 1
            self.loading += 1
            try:
                return self.run_module(module)
            finally:
                self.silent -= 1
                self.loading -= 1
        return module.frame

    # --- expressions --------------------------------------------------------------------------------------------------

    def eval(self, node: ast.expr, frame: Frame) -> Value:
        """Return what is known of an expression."""
        evaluator = self._evaluators.get(type(node))
        return evaluator(node, frame) if evaluator is not None else UNKNOWN

    def _constant(self, node: ast.Constant, frame: Frame) -> Value:
        return Value("const", const=node.value, node=node, unit=frame.module.unit)

    def _name(self, node: ast.Name, frame: Frame) -> Value:
        value = frame.lookup(node.id)
        if value is None:
            value = Value("unknown", node=node, unit=frame.module.unit)
            if not frame.loops:
                frame.names[node.id] = value
        return value

    def _attribute(self, node: ast.Attribute, frame: Frame) -> Value:
        text = dotted(node)
        if text and text in frame.names:
            return frame.names[text]
        base = self.eval(node.value, frame)
        unit = frame.module.unit
        if base.op == "name":
            name = vocabulary.canonical(f"{base.const}.{node.attr}")
            value = Value("name", const=name, node=node, unit=unit)
            root = str(base.const).split(".")[0]
            if root not in ROOTS:
                file = self.project.find(str(base.const), unit.path.parent)
                if file is not None and (loaded := self.load(file, frame)) is not None and node.attr in loaded.names:
                    return loaded.names[node.attr]
            else:
                self.emit(Event("name", node, frame, name=name, value=value))
            return value
        if base.op == "instance":
            if node.attr in base.kw:
                return base.kw[node.attr]
            owner: ClassInfo = base.const
            found = owner.find(node.attr)
            if found is not None:
                method, at = found
                info = FunctionInfo(method, at.module, self._frame_of(at.module), base, at)
                return Value("function", const=info, node=node, unit=unit)
        if node.attr in ("data", "T", "mT") and base is not UNKNOWN:
            return Value("detach" if node.attr == "data" else "permute", (base,), node=node, unit=unit)
        value = Value("attribute", (base,), const=node.attr, node=node, unit=unit)
        if text:
            frame.names[text] = value
        return value

    def _frame_of(self, module: Module) -> Frame:
        return self.run_module(module)

    def _binary(self, node: ast.BinOp, frame: Frame) -> Value:
        # A sum of a thousand terms nests a thousand deep on the left: walk down it instead of recursing.
        chain: list[ast.BinOp] = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        value = self.eval(chain[-1].left, frame)
        for part in reversed(chain):
            right = self.eval(part.right, frame)
            value = self.operation(_BINARY.get(type(part.op), "unknown"), (value, right), part, frame)
        return value

    def _unary(self, node: ast.UnaryOp, frame: Frame) -> Value:
        value = self.eval(node.operand, frame)
        if isinstance(node.op, ast.USub):
            if value.op == "const" and isinstance(value.const, (int, float)) and not isinstance(value.const, bool):
                return Value("const", const=-value.const, node=node, unit=frame.module.unit)
            return self.operation("neg", (value,), node, frame)
        if isinstance(node.op, ast.Not):
            return Value("not", (value,), node=node, unit=frame.module.unit)
        return value if isinstance(node.op, ast.UAdd) else UNKNOWN

    def _compare(self, node: ast.Compare, frame: Frame) -> Value:
        values = (self.eval(node.left, frame), *(self.eval(part, frame) for part in node.comparators))
        return Value("compare", values, node=node, unit=frame.module.unit)

    def _conditional(self, node: ast.IfExp, frame: Frame) -> Value:
        self.eval(node.test, frame)
        return merge(self.eval(node.body, frame), self.eval(node.orelse, frame))

    def _sequence(self, node: ast.Tuple | ast.List, frame: Frame) -> Value:
        parts: list[Value] = []
        for element in node.elts:
            if isinstance(element, ast.Starred):
                inner = self.eval(element.value, frame)
                parts.extend(inner.args if inner.op in ("list", "tuple") else (Value("many", node=element),))
            else:
                parts.append(self.eval(element, frame))
        op = "tuple" if isinstance(node, ast.Tuple) else "list"
        return Value(op, tuple(parts), node=node, unit=frame.module.unit)

    def _dict(self, node: ast.Dict, frame: Frame) -> Value:
        held: dict[str, Value] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.eval(item, frame)
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                held[key.value] = value
            elif key is not None:
                self.eval(key, frame)
        return Value("dict", kw=held, node=node, unit=frame.module.unit)

    def _subscript(self, node: ast.Subscript, frame: Frame) -> Value:
        base = self.eval(node.value, frame)
        index = self.eval(node.slice, frame)
        if index.op == "const":
            if base.op in ("tuple", "list") and isinstance(index.const, int) and not isinstance(index.const, bool):
                known = not any(v.op == "many" for v in base.args)
                if known and -len(base.args) <= index.const < len(base.args):
                    return base.args[index.const]
                return UNKNOWN
            if base.op == "dict" and isinstance(index.const, str):
                return base.kw.get(index.const, UNKNOWN)
        if base.op == "layer" and base.const in ("torch.nn.ModuleList", "torch.nn.Sequential", "torch.nn.ModuleDict"):
            return UNKNOWN
        return Value("index", (base, index), node=node, unit=frame.module.unit)

    def _slice(self, node: ast.Slice, frame: Frame) -> Value:
        parts = tuple(
            self.eval(p, frame) if p is not None else Value("const") for p in (node.lower, node.upper, node.step)
        )
        return Value("slice", parts, node=node, unit=frame.module.unit)

    def _named(self, node: ast.NamedExpr, frame: Frame) -> Value:
        value = self.eval(node.value, frame)
        self.assign(node.target, value, frame)
        return value

    def _lambda(self, node: ast.Lambda, frame: Frame) -> Value:
        info = FunctionInfo(node, frame.module, frame)
        frame.functions.append(info)
        return Value("function", const=info, node=node, unit=frame.module.unit)

    def _starred(self, node: ast.Starred, frame: Frame) -> Value:
        self.eval(node.value, frame)
        return Value("many", node=node)

    def _parts(self, node: ast.AST, frame: Frame) -> Value:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.eval(child, frame)
        return Value("parts", node=node, unit=frame.module.unit)

    def _comprehension(self, node: Any, frame: Frame) -> Value:
        before = frame.names
        frame.names = dict(before)
        for generator in node.generators:
            self.eval(generator.iter, frame)
            self.assign(generator.target, _fresh(generator.target, frame), frame)
            for test in generator.ifs:
                self.eval(test, frame)
        if isinstance(node, ast.DictComp):
            self.eval(node.key, frame)
            value = self.eval(node.value, frame)
        else:
            value = self.eval(node.elt, frame)
        frame.names = before
        if isinstance(node, ast.ListComp):
            return Value("list", (Value("many", (value,), node=node),), node=node, unit=frame.module.unit)
        return UNKNOWN

    # --- operations and calls -----------------------------------------------------------------------------------------

    def operation(
        self, op: str, args: tuple[Value, ...], node: ast.AST, frame: Frame, kw: dict[str, Value] = NO_KEYWORDS
    ) -> Value:
        """Return the result of an operation, and tell of it."""
        if (
            args
            and all(v.op == "const" and isinstance(v.const, (int, float)) for v in args)
            and op in _FOLDED
            and len(args) == 2
        ):
            a, b = (v.const for v in args[:2])
            if abs(a) < 1e9 and abs(b) < 1e9:
                number = {"add": a + b, "sub": a - b, "mul": a * b}[op]
                return Value("const", const=number, node=node, unit=frame.module.unit)
        value = Value(op, args, kw=kw, node=node, unit=frame.module.unit)
        value.no_grad = frame.no_grad > 0
        self.emit(Event(op, node, frame, value=value, args=args))
        return value

    def _call(self, node: ast.Call, frame: Frame) -> Value:
        function = node.func
        if isinstance(function, ast.Attribute):
            special = self._method(node, function, frame)
            if special is not None:
                return special
        callee = self.eval(function, frame)
        args, kw, whole = self._arguments(node, frame)
        return self.called(callee, args, kw, node, frame, whole)

    def _arguments(self, node: ast.Call, frame: Frame) -> tuple[tuple[Value, ...], dict[str, Value], bool]:
        args: list[Value] = []
        whole = True
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                inner = self.eval(argument.value, frame)
                if inner.op in ("list", "tuple"):
                    args.extend(inner.args)
                else:
                    args.append(Value("many", node=argument))
                whole = False
            else:
                args.append(self.eval(argument, frame))
        kw: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self.eval(keyword.value, frame)
            if keyword.arg is None:
                whole = False
                if value.op == "dict":
                    kw |= value.kw
            else:
                kw[keyword.arg] = value
        return tuple(args), kw, whole

    def _method(self, node: ast.Call, function: ast.Attribute, frame: Frame) -> Value | None:
        """A method call that means something by its name alone; None for every other call."""
        name = function.attr
        if isinstance(function.value, ast.Call) and dotted(function.value.func) == "super":
            return self._super(node, name, frame)
        base = self.eval(function.value, frame)
        if base.op in ("name", "class", "function"):
            return None
        if base.op == "instance" and (name in base.kw or base.const.find(name)):
            return None
        text = dotted(function.value)
        if (
            text
            and f"{text}.{name}" in frame.names
            and frame.names[f"{text}.{name}"].op not in ("unknown", "attribute")
        ):
            return None
        unit = frame.module.unit
        if base.op == "layer":
            if name == "add" and base.const == "keras.Sequential" and text:
                args, _, _ = self._arguments(node, frame)
                self.assign(
                    function.value,
                    Value("layer", base.args + args, base.const, kw=base.kw, node=base.node, unit=unit),
                    frame,
                )
                return Value("const")
            if name in ("to", "cuda", "cpu", "train", "eval", "float", "half", "double", "type", "requires_grad_"):
                self._arguments(node, frame)
                return base
            if name == "forward":
                args, kw, whole = self._arguments(node, frame)
                return self.called(base, args, kw, node, frame, whole)
        if base.op == "instance" and name in ("to", "cuda", "cpu", "train", "eval", "float", "half", "double"):
            self._arguments(node, frame)
            return base
        args, kw, whole = self._arguments(node, frame)
        if name == "append" and text and base.op == "list" and len(args) == 1:
            self.emit(Event("append", node, frame, value=args[0], args=(base,), name=text))
            frame.names[text] = Value("list", (*base.args, args[0]), node=base.node, unit=unit)
            return Value("const")
        event = Event("method", node, frame, name=name, value=base, args=args, kw=kw, whole=whole)
        self.emit(event)
        if name == "append" and len(args) == 1:
            self.emit(Event("append", node, frame, value=args[0], args=(base,), name=text))
        op = METHODS.get(name, "")
        if op and (name not in WITHOUT_ARGUMENTS or (not args and not kw)):
            return self.operation(op, (base, *args), node, frame, kw)
        return Value("call", (base,), const=name, node=node, unit=unit)

    def _super(self, node: ast.Call, name: str, frame: Frame) -> Value:
        args, kw, _ = self._arguments(node, frame)
        if frame.owner is not None and frame.names:
            this = next(iter(frame.names.values()))
            for base in frame.owner.bases:
                if base.op == "class" and (found := base.const.find(name)) and this.op == "instance":
                    if name == "__init__":
                        self._set_up(base.const, this, args, kw, plain=False)
                        return UNKNOWN
                    method, at = found
                    return self.apply(
                        FunctionInfo(method, at.module, self._frame_of(at.module), this, at), args, kw, node, frame
                    )
        return UNKNOWN

    def called(
        self, callee: Value, args: tuple[Value, ...], kw: dict[str, Value], node: ast.Call, frame: Frame, whole: bool
    ) -> Value:
        """Return the result of calling a value."""
        unit = frame.module.unit
        if callee.op == "name":
            return self._named_call(str(callee.const), args, kw, node, frame, whole)
        if callee.op == "layer":
            return self.layer(callee, args, kw, node, frame, whole)
        if callee.op == "function":
            return self.apply(callee.const, args, kw, node, frame)
        if callee.op == "class":
            return self.instance(callee.const, args, kw, node)
        if callee.op == "instance":
            owner: ClassInfo = callee.const
            wanted = "forward" if owner.find("forward") else "call" if owner.find("call") else "__call__"
            found = owner.find(wanted)
            if found is not None and (wanted == "__call__" or owner.plain()):
                method, at = found
                return self.apply(
                    FunctionInfo(method, at.module, self._frame_of(at.module), callee, at), args, kw, node, frame
                )
        if callee.op == "call" and str(callee.const).startswith(("torchvision.models.", "timm.")):
            text = dotted(node.func)
            for head in _MODEL_HEADS:
                held = frame.names.get(f"{text}.{head}")
                if text and held is not None and held.op == "layer":
                    return self.layer(held, (UNKNOWN,), {}, node, frame, True)
        if "labels" in kw:
            self.emit(Event("unknown-call", node, frame, args=args, kw=kw))
        return Value("call", (callee, *args), node=node, unit=unit)

    def _named_call(
        self, name: str, args: tuple[Value, ...], kw: dict[str, Value], node: ast.Call, frame: Frame, whole: bool
    ) -> Value:
        unit = frame.module.unit
        self.emit(Event("call", node, frame, name=name, args=args, kw=kw, whole=whole))
        facts = vocabulary.loss_facts(name)
        if facts is not None and (name.startswith("torch.nn.functional.") or not name.startswith("torch.nn.")):
            return self.loss(name, facts, args, kw, {}, node, frame, whole)
        if name in vocabulary.KERAS_LOSSES and name.rpartition(".")[2].islower():
            self.emit(Event("keras", node, frame, name=name, args=args, kw=kw, whole=whole))
            return Value("call", args, const=name, node=node, unit=unit)
        if name in _UINT8:
            return Value("uint8", args, const=name, node=node, unit=unit)
        op = OPERATIONS.get(name, "")
        if op:
            return self.operation(op, args, node, frame, kw)
        if name in _TENSOR_MAKERS and args:
            if args[0].op in ("list", "tuple"):
                return self.operation("literal", args, node, frame, _with_type(name, kw))
            if (
                args[0].op == "call"
                and args[0].const == "PIL.Image.open"
                and "dtype" not in kw
                and name.startswith("numpy")
            ):
                return Value("uint8", args, const=name, node=node, unit=unit)
            return self.operation("tensor_of", args, node, frame, kw)
        if name.startswith(("torch.nn.", "keras.layers.", "keras.losses.")) or name in (
            "keras.Sequential",
            "keras.Model",
            "keras.models.Sequential",
            "keras.models.Model",
        ):
            if name[-1].islower() and name.rpartition(".")[2].islower():
                return Value("call", args, const=name, node=node, unit=unit)
            return self._make_layer(name, args, kw, node, frame)
        if name in ("torch.nn.DataParallel", "torch.compile", "torch.jit.script"):
            return args[0] if args else UNKNOWN
        return Value("call", args, const=name, kw=kw, node=node, unit=unit)

    def _make_layer(
        self, name: str, args: tuple[Value, ...], kw: dict[str, Value], node: ast.Call, frame: Frame
    ) -> Value:
        if name in ("torch.nn.DataParallel", "torch.nn.parallel.DistributedDataParallel") and args:
            return args[0]
        if name.startswith("keras.models."):
            name = "keras." + name.removeprefix("keras.models.")
        if name in ("torch.nn.Sequential", "keras.Sequential"):
            items = args
            if len(items) == 1 and items[0].op in ("list", "tuple"):
                items = items[0].args
            elif len(items) == 1 and items[0].op == "call" and str(items[0].const).endswith("OrderedDict"):
                pairs = items[0].args[0].args if items[0].args and items[0].args[0].op in ("list", "tuple") else ()
                items = tuple(p.args[1] if p.op == "tuple" and len(p.args) == 2 else UNKNOWN for p in pairs) or (
                    UNKNOWN,
                )
            args = items
        return Value("layer", args, const=name, kw=kw, node=node, unit=frame.module.unit)

    def layer(
        self,
        layer: Value,
        args: tuple[Value, ...],
        kw: dict[str, Value],
        node: ast.Call,
        frame: Frame,
        whole: bool = True,
    ) -> Value:
        """Return the result of applying a layer of a framework, or a loss held as a module."""
        name = str(layer.const)
        facts = vocabulary.loss_facts(name)
        if facts is not None:
            known = vocabulary.parameters(name) or ()
            options = dict(zip(known, layer.args, strict=False)) | layer.kw
            return self.loss(name, facts, args, kw, options, node, frame, whole)
        if name in vocabulary.KERAS_LOSSES:
            self.emit(Event("keras", node, frame, name=name, value=layer, args=args, kw=kw, whole=whole))
            return UNKNOWN
        value = args[0] if args else UNKNOWN
        if name in ("torch.nn.Sequential", "keras.Sequential"):
            for child in layer.args:
                if child.op in ("layer", "instance"):
                    value = self.called(child, (value,), {}, node, frame, True)
                else:
                    value = UNKNOWN
            return value if layer.args else UNKNOWN
        if name == "keras.Model":
            outputs = layer.kw.get("outputs") or (layer.args[1] if len(layer.args) > 1 else UNKNOWN)
            return outputs.args[0] if outputs.op == "list" and len(outputs.args) == 1 else outputs
        unit = frame.module.unit
        if name in ("keras.layers.Dense", "keras.layers.Conv2D", "keras.layers.Conv1D", "keras.layers.Activation"):
            return self._keras_layer(layer, name.rpartition(".")[2], value, node, frame)
        op = LAYERS.get(name, "")
        if not op:
            return Value("call", args, const=name, node=node, unit=unit)
        if op in ("linear", "conv"):
            position = 0 if "Lazy" in name else 2 if "Bilinear" in name else 1
            size = layer.option("out_features" if op == "linear" else "out_channels", position)
            return Value(op, (value,), const=size, node=node, unit=unit)
        extra = dict(layer.kw)
        if op in ("softmax", "log_softmax") and layer.args:
            extra["dim"] = layer.args[0]
        if op == "flatten_layer":
            return Value("same", (value,), node=node, unit=unit)
        result = Value(op, (value,), kw=extra, node=layer.node, unit=layer.unit)
        result.no_grad = frame.no_grad > 0
        self.emit(Event("applied", node, frame, name=op, value=result, args=(value,)))
        return result

    def _keras_layer(self, layer: Value, kind: str, value: Value, node: ast.Call, frame: Frame) -> Value:
        if kind == "Activation":
            activation = layer.args[0] if layer.args else layer.kw.get("activation", UNKNOWN)
        else:
            size = layer.option("units" if kind == "Dense" else "filters", 0)
            value = Value(
                "linear" if kind == "Dense" else "conv", (value,), const=size, node=layer.node, unit=layer.unit
            )
            position = 1 if kind == "Dense" else 99
            activation = layer.kw.get("activation") or (
                layer.args[position] if position < len(layer.args) else Value("const", const=None)
            )
        if activation.op == "const" and activation.const is None:
            return value
        if activation.op == "const":
            op = ACTIVATIONS.get(str(activation.const), "")
        else:
            op = OPERATIONS.get(str(activation.const), "") if activation.op == "name" else ""
        return Value(op, (value,), node=layer.node, unit=layer.unit) if op else UNKNOWN

    def loss(
        self,
        name: str,
        facts: Any,
        args: tuple[Value, ...],
        kw: dict[str, Value],
        options: dict[str, Value],
        node: ast.Call,
        frame: Frame,
        whole: bool,
    ) -> Value:
        """Return the value of a loss, and tell of the call: arguments by name, options by name."""
        known = vocabulary.parameters(name) if not options else None
        order = known if known and name.startswith("torch.nn.functional.") else facts.arguments
        given: dict[str, Value] = {}
        for parameter, value in zip(order, args, strict=False):
            if value.op == "many":
                break
            given[parameter] = value
        given |= kw
        arguments = {key: value for key, value in given.items() if key in facts.arguments}
        extra = {key: value for key, value in given.items() if key not in facts.arguments}
        event = Event(
            "loss", node, frame, name, args=args, kw=arguments, options=options | extra, facts=facts, whole=whole
        )
        value = Value("loss", args, const=event, node=node, unit=frame.module.unit)
        value.no_grad = frame.no_grad > 0
        event.value = value
        self.emit(event)
        return value


def _with_type(name: str, kw: dict[str, Value]) -> dict[str, Value]:
    if "dtype" in kw or name not in ("torch.FloatTensor", "torch.LongTensor", "torch.Tensor"):
        return kw
    return kw | {"dtype": Value("name", const="torch.long" if name == "torch.LongTensor" else "torch.float32")}


def _fresh(node: ast.AST, frame: Frame) -> Value:
    return Value("unknown", node=node, unit=frame.module.unit)


def _joined(a: dict[str, Value], b: dict[str, Value]) -> dict[str, Value]:
    result = dict(a)
    for name, value in b.items():
        held = a.get(name)
        if held is None:
            result[name] = value
        elif held is not value:
            result[name] = merge(held, value)
    return result


_TELLING = frozenset(
    "layer instance function class softmax log_softmax sigmoid logsigmoid linear conv relu loss literal exp dict".split()
)


def _telling(value: Value) -> bool:
    """Whether it is worth following a call because of an argument."""
    return value.op in _TELLING or (value.op in KEEPS_MEANING and value.origin.op in _TELLING)


def _key(value: Value) -> Any:
    return ("const", repr(value.const)) if value.op == "const" else id(value)


def walk_statements(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node of some statements, without those of functions and classes inside."""
    stack: list[ast.AST] = list(reversed(body))
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


__all__ = ["SUFFIXES", "Event", "Flow", "Frame", "Module", "Project", "dotted", "lines_of", "walk_statements"]
