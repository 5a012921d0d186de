"""Statements: branches, loops, assignments, classes and functions."""

from __future__ import annotations

import ast
from typing import Any

from lossary.lint.flow.base import BINARY, Interpreter, fresh
from lossary.lint.flow.frames import ClassInfo, Event, Frame, FunctionInfo
from lossary.lint.flow.names import assigned, dotted
from lossary.lint.values import UNKNOWN, Value, merge

_NO_GRAD = {"torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.autograd.grad_mode.no_grad"}


class Statements(Interpreter):
    """What statements do to the names."""

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
                self.import_names(node, frame)
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
                self.assign(element, parts[at] if fits else fresh(element, frame), frame)
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
            result = self.operation(BINARY.get(type(node.op), "unknown"), (before, value), node, frame)
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
            self.assign(node.target, fresh(node.target, frame), frame)
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


def _joined(a: dict[str, Value], b: dict[str, Value]) -> dict[str, Value]:
    result = dict(a)
    for name, value in b.items():
        held = a.get(name)
        if held is None:
            result[name] = value
        elif held is not value:
            result[name] = merge(held, value)
    return result
