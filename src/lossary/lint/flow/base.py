"""What the interpreters of statements, expressions, calls and classes share: the state, and each other's entry points."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from lossary.lint.flow.frames import ClassInfo, FlowEvent, Frame, FunctionInfo, GradientStep, Listener, Module
from lossary.lint.flow.names import assigned_once
from lossary.lint.flow.project import Project
from lossary.lint.values import NO_KEYWORDS, Value

DEPTH = 6  # how deep calls into the project are followed
LOADS = 3  # how far imports of imports are followed
BASE_LAYER = "super()"  # the attribute that holds the layer or loss that an instance is by inheritance
FUEL = 10_000  # statements followed in other functions, for one file

BINARY = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.Pow: "pow",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
    ast.MatMult: "matmul",
}


def fresh(node: ast.AST, frame: Frame) -> Value:
    """Return an unknown value with a place of its own."""
    return Value("unknown", node=node, unit=frame.module.unit)


class Interpreter:
    """The state of following one file, and the entry points that the interpreters have of each other."""

    def __init__(self, project: Project, listener: Listener) -> None:
        self.project = project
        self.listener = listener
        self.silent = 0
        self.loading = 0
        self.fuel = FUEL
        self.depth = 0
        self.no_grad = 0  # around the call that is followed
        self.calling: list[tuple[Module, ast.AST]] = []
        self.active: set[int] = set()
        self.memo: dict[tuple[Any, ...], tuple[Any, Value, list[GradientStep]]] = {}
        self.building: dict[int, set[str]] = {}  # instances under construction, and the methods run for that

    def emit(self, event: FlowEvent) -> None:
        """Tell the listener, unless a file is only being read for its names."""
        if not self.silent:
            event.flow = self
            self.listener(event)

    def run_module(self, module: Module) -> Frame:
        """Follow the body of a file, once."""
        if module.frame is None:
            assert module.unit.tree is not None
            module.frame = Frame(module, module.unit.tree, {})
            self.block(module.unit.tree.body, module.frame)
            module.frame.once = assigned_once(module.unit.tree.body)
        return module.frame

    def eval(self, node: ast.expr, frame: Frame) -> Value:
        """Return what is known of an expression."""
        raise NotImplementedError

    def block(self, body: list[ast.stmt], frame: Frame) -> bool:
        """Follow statements; return whether the end of them can be reached."""
        raise NotImplementedError

    def assign(self, target: ast.expr, value: Value, frame: Frame) -> None:
        """Bind a target: a name, an attribute, or several at once."""
        raise NotImplementedError

    def called(
        self, callee: Value, args: tuple[Value, ...], kw: dict[str, Value], node: ast.Call, frame: Frame, whole: bool
    ) -> Value:
        """Return the result of calling a value."""
        raise NotImplementedError

    def operation(
        self,
        op: str,
        args: tuple[Value, ...],
        node: ast.AST,
        frame: Frame,
        kw: dict[str, Value] = NO_KEYWORDS,
        name: str = "",
    ) -> Value:
        """Return the result of an operation, and tell of it."""
        raise NotImplementedError

    def function(
        self, info: FunctionInfo, given: dict[str, Value] | None = None, steps: list[GradientStep] | None = None
    ) -> Value:
        """Follow a function with what is known of its arguments, and return what is certain of its result."""
        raise NotImplementedError

    def apply(
        self, info: FunctionInfo, args: tuple[Value, ...], kw: dict[str, Value], node: ast.AST, caller: Frame
    ) -> Value:
        """Follow a call into the project, once for what it is given."""
        raise NotImplementedError

    def instance(self, owner: ClassInfo, args: tuple[Value, ...], kw: dict[str, Value], node: ast.AST) -> Value:
        """Return an instance of a class of the project, its attributes being those that `__init__` sets."""
        raise NotImplementedError

    def load(self, file: Path, frame: Frame) -> Frame | None:
        """Follow the body of another file of the project for its names, without telling what is wrong there."""
        raise NotImplementedError

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
        raise NotImplementedError

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
        raise NotImplementedError

    def note(self, kind: str, node: ast.AST, value: Value, name: str, frame: Frame) -> None:
        """Note that something is done to gradients, or that a loss is kept."""
        raise NotImplementedError

    def gradient_call(self, node: ast.Call, function: ast.Attribute, event: FlowEvent) -> None:
        """Tell of a method call that runs backward, makes a step or clears gradients."""
        raise NotImplementedError

    def keras_method(self, event: FlowEvent) -> None:
        """Look at ``compile`` and ``fit`` of a model."""
        raise NotImplementedError

    def keras_call(self, held: Value, event: FlowEvent) -> None:
        """Look at a loss that is called on labels and predictions, as in a loop with a GradientTape."""
        raise NotImplementedError

    def import_names(self, node: ast.Import | ast.ImportFrom, frame: Frame) -> None:
        """Bind what an import brings."""
        raise NotImplementedError

    def follow_functions(self, frame: Frame) -> None:
        """Follow the functions that were defined in a frame, each by itself."""
        raise NotImplementedError

    def arguments_of(self, node: ast.Call, frame: Frame) -> tuple[tuple[Value, ...], dict[str, Value], bool]:
        """Return positional and keyword arguments, and whether no * or ** hides any."""
        raise NotImplementedError

    def call(self, node: ast.Call, frame: Frame) -> Value:
        """Return what is known of a call."""
        raise NotImplementedError

    def super_call(self, node: ast.Call, name: str, frame: Frame) -> Value:
        """Follow ``super().name(...)``."""
        raise NotImplementedError

    def make_layer(
        self, name: str, args: tuple[Value, ...], kw: dict[str, Value], node: ast.Call, frame: Frame
    ) -> Value:
        """Return a layer of a framework, or a loss held as a module."""
        raise NotImplementedError

    def frame_of(self, module: Module) -> Frame:
        """Return the names of a module, following its body if that has not been done."""
        return self.run_module(module)
