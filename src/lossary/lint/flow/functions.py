"""Functions, methods and instances of the project."""

from __future__ import annotations

import ast
from typing import Any

from lossary.lint.flow.base import DEPTH, Interpreter
from lossary.lint.flow.frames import ClassInfo, Event, Frame, Function, FunctionInfo
from lossary.lint.flow.names import assigned, assigned_once, dotted
from lossary.lint.values import UNKNOWN, Value, merge
from lossary.lint.vocabulary import KEEPS_MEANING


class Functions(Interpreter):
    """Calls into the project: functions, methods, and what `__init__` sets."""

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
            self.follow_functions(frame)
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

    def super_call(self, node: ast.Call, name: str, frame: Frame) -> Value:
        """Follow ``super().name(...)``."""
        args, kw, _ = self.arguments_of(node, frame)
        if frame.owner is not None and frame.names:
            this = next(iter(frame.names.values()))
            for base in frame.owner.bases:
                if base.op == "class" and (found := base.const.find(name)) and this.op == "instance":
                    if name == "__init__":
                        self._set_up(base.const, this, args, kw, plain=False)
                        return UNKNOWN
                    method, at = found
                    return self.apply(
                        FunctionInfo(method, at.module, self.frame_of(at.module), this, at), args, kw, node, frame
                    )
        return UNKNOWN


_TELLING = frozenset(
    "layer instance function class softmax log_softmax sigmoid logsigmoid linear conv relu loss literal exp dict".split()
)


def _key(value: Value) -> Any:
    return ("const", repr(value.const)) if value.op == "const" else id(value)


def _telling(value: Value) -> bool:
    """Whether it is worth following a call because of an argument."""
    return value.op in _TELLING or (value.op in KEEPS_MEANING and value.origin.op in _TELLING)
