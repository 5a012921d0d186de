"""Functions, methods and instances of the project."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

from lossary.lint.flow.base import BASE_LAYER, DEPTH, Interpreter
from lossary.lint.flow.frames import ClassInfo, FlowEvent, Frame, Function, FunctionInfo, GradientStep
from lossary.lint.flow.names import assigned, assigned_once, dotted
from lossary.lint.values import UNKNOWN, Value, merge
from lossary.lint.vocabulary import INHERITED_PLACES, KEEPS_MEANING, is_inherited


class Functions(Interpreter):
    """Calls into the project: functions, methods, and what `__init__` sets."""

    def function(
        self, info: FunctionInfo, given: dict[str, Value] | None = None, steps: list[GradientStep] | None = None
    ) -> Value:
        """Follow a function with what is known of its arguments, and return what is certain of its result."""
        node = info.node
        if id(node) in self.active or self.depth > DEPTH:
            return UNKNOWN
        frame = Frame(info.module, node, {}, info.outer, info.owner, no_grad=self.no_grad)
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
            if steps is not None:
                steps += frame.steps
            if info.bound is not None and id(info.bound) in self.building:
                self.building[id(info.bound)].add(node.name)
            self.emit(FlowEvent("function", node, frame))
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
            bound.version if bound is not None else 0,
            self.silent > 0,
            caller.no_grad > 0,
            tuple(map(_key, args)) if known else None,
            tuple((k, _key(v)) for k, v in kw.items()) if known else None,
        )
        if key in self.memo:
            self._passed_on(self.memo[key][2], node, caller)
            return self.memo[key][1]
        given = self.bind(info.node, args, kw, info.outer, method=bound is not None)
        if given is None:
            return UNKNOWN
        plain = bound is None or bound in info.module.instances.values()
        quiet = not known and plain and caller.module is info.module
        self.silent += quiet
        self.calling.append((caller.module, node))
        outer, self.no_grad = self.no_grad, caller.no_grad
        steps: list[GradientStep] = []
        try:
            result = self.function(info, given, steps)
        finally:
            self.calling.pop()
            self.no_grad = outer
            self.silent -= quiet
        self.memo[key] = ((info, args, kw), result, steps)
        self._passed_on(steps, node, caller)
        return result

    def _passed_on(self, steps: list[GradientStep], node: ast.AST, caller: Frame) -> None:
        """Note in the caller what a called function does to gradients."""
        if len(caller.steps) < STEPS:
            loops, tests = tuple(caller.loops), tuple(caller.tests)
            caller.steps += [
                replace(s, node=node, loops=loops + s.loops, tests=tests + s.tests, called=True) for s in steps[:STEPS]
            ]

    def instance(self, owner: ClassInfo, args: tuple[Value, ...], kw: dict[str, Value], node: ast.AST) -> Value:
        """Return an instance of a class of the project, its attributes being those that `__init__` sets."""
        plain = not args and not kw and node is owner.node
        if plain and owner in owner.module.instances:
            return owner.module.instances[owner]
        instance = Value("instance", const=owner, node=node, unit=owner.module.unit)
        instance.attributes = {}
        if plain:
            owner.module.instances[owner] = instance
        if self.depth > DEPTH:
            return instance
        self.building[id(instance)] = built = {"__init__"}
        try:
            self._set_up(owner, instance, args, kw, plain)
            for name in _SET_UP_LATER:
                found = owner.find(name)
                if found is not None and name not in built:
                    self.function(
                        FunctionInfo(found[0], found[1].module, self.frame_of(found[1].module), instance, owner)
                    )
        finally:
            del self.building[id(instance)]
        self._set_elsewhere(owner, instance, built)
        return instance

    def _set_elsewhere(self, owner: ClassInfo, instance: Value, built: set[str]) -> None:
        """Forget attributes that other methods change, and learn those that exactly one other method sets."""
        writers: dict[str, list[Function]] = {}
        for name, method in owner.methods.items():
            if name in built or not method.args.args:
                continue
            prefix = method.args.args[0].arg + "."
            for text in assigned(method.body):
                if text.startswith(prefix):
                    writers.setdefault(text.removeprefix(prefix), []).append(method)
        late: dict[int, tuple[Function, list[str]]] = {}
        for attribute, methods in writers.items():
            held = instance.attribute(attribute)
            unset = held is None or (held.op == "const" and held.const is None)
            if not unset or len(methods) > 1:
                (instance.attributes or {}).pop(attribute, None)
            elif id(methods[0]) not in self.active:
                late.setdefault(id(methods[0]), (methods[0], []))[1].append(attribute)
        for method, attributes in late.values():
            before = instance.attributes
            self.silent += 1
            try:
                self.function(FunctionInfo(method, owner.module, self.frame_of(owner.module), instance, owner))
            finally:
                self.silent -= 1
            learned = instance.attributes or {}
            instance.attributes = dict(before or {})
            for attribute in attributes:
                instance.attributes.pop(attribute, None)
                value = learned.get(attribute)
                if value is not None and value.op in _LEARNED:
                    instance.attributes[attribute] = value

    def _set_up(
        self,
        owner: ClassInfo,
        instance: Value,
        args: tuple[Value, ...],
        kw: dict[str, Value],
        plain: bool,
        depth: int = 4,
    ) -> None:
        if owner.fields and "__init__" not in owner.methods:
            for name, value in [*zip(owner.fields, args, strict=False), *kw.items()]:
                instance.set_attribute(name, value)
        for base in owner.bases:
            if base.op == "name" and is_inherited(str(base.const)) and instance.attribute(BASE_LAYER) is None:
                # Until `super().__init__` says otherwise, and for good where the class has no `__init__`.
                made = Value("layer", args if "__init__" not in owner.methods else (), const=base.const, node=base.node)
                made.kw = kw if "__init__" not in owner.methods else {}
                instance.set_attribute(BASE_LAYER, made)
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
                if base.op == "name" and this.op == "instance" and str(base.const).startswith(INHERITED_PLACES):
                    if name == "__init__":
                        this.set_attribute(BASE_LAYER, self.make_layer(str(base.const), args, kw, node, frame))
                        return UNKNOWN
                    held = this.attribute(BASE_LAYER)
                    if name in ("forward", "call", "__call__") and held is not None:
                        return self.called(held, args, kw, node, frame, True)
                if base.op == "class" and (found := base.const.find(name)) and this.op == "instance":
                    if name == "__init__":
                        self._set_up(base.const, this, args, kw, plain=False)
                        return UNKNOWN
                    method, at = found
                    return self.apply(
                        FunctionInfo(method, at.module, self.frame_of(at.module), this, at), args, kw, node, frame
                    )
        return UNKNOWN


STEPS = 200  # noted of what is done to gradients, for one function
_LEARNED = frozenset("layer instance function class either partial optimizer".split())
_SET_UP_LATER = ("setup", "configure_model", "build")  # Flax and Lightning, Lightning, Keras

_TELLING = frozenset(
    "layer instance function class either partial optimizer softmax log_softmax sigmoid logsigmoid linear conv relu loss literal exp dict".split()
)


def _key(value: Value) -> Any:
    return ("const", repr(value.const)) if value.op == "const" else id(value)


def _telling(value: Value) -> bool:
    """Whether it is worth following a call because of an argument."""
    return value.op in _TELLING or (value.op in KEEPS_MEANING and value.origin.op in _TELLING)
