"""What is known while a file is followed: its names, functions and classes, and the events the rules are told of."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lossary.lint.sources import Unit
from lossary.lint.values import UNKNOWN, Value

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(eq=False)
class ClassInfo:
    """A class of the project."""

    node: ast.ClassDef
    module: Module
    bases: list[Value]
    methods: dict[str, Function] = field(default_factory=dict)
    attributes: dict[str, Value] = field(default_factory=dict)
    fields: tuple[str, ...] = ()  # what `__init__` takes, where a decorator or a base writes it

    def find(self, name: str, depth: int = 5) -> tuple[Function, ClassInfo] | None:
        """Return a method and the class that has it, here or in a base of the project."""
        if name in self.methods:
            return self.methods[name], self
        for base in self.bases if depth else ():
            if base.op == "class" and (found := base.const.find(name, depth - 1)):
                return found  # type: ignore[no-any-return]
        return None

    def attribute(self, name: str, depth: int = 5) -> Value | None:
        """Return what the body of the class, or of a base, sets an attribute to."""
        if name in self.attributes:
            return self.attributes[name]
        for base in self.bases if depth else ():
            if base.op == "class" and (found := base.const.attribute(name, depth - 1)) is not None:
                return found  # type: ignore[no-any-return]
        return None

    def outside(self, depth: int = 5) -> list[str]:
        """Return the names of the bases outside of the project, however far up."""
        found: list[str] = []
        for base in self.bases:
            if base.op == "name":
                found.append(str(base.const))
            elif base.op == "class" and depth:
                found += base.const.outside(depth - 1)
        return found

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


@dataclass(frozen=True)
class GradientStep:
    """Something done to gradients: "backward", "step" or "zero"; on which value, and inside of which loops and tests."""

    kind: str
    node: ast.AST
    value: Value
    name: str
    loops: tuple[ast.stmt, ...]
    tests: tuple[ast.stmt, ...]
    called: bool = False  # in a function that is called from here


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
    around: list[ast.Call] = field(default_factory=list)  # the calls whose arguments are being looked at
    tests: list[ast.stmt] = field(default_factory=list)  # the branches around, outermost first
    steps: list[GradientStep] = field(default_factory=list)  # what was done to gradients, in order
    stars: list[str] = field(default_factory=list)  # modules whose names were all imported

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
class FlowEvent:
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


Listener = Callable[[FlowEvent], None]
