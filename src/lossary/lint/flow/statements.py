"""Statements: branches, loops, assignments, classes and functions."""

from __future__ import annotations

import ast
from typing import Any

from lossary.lint import vocabulary
from lossary.lint.flow.base import BINARY, Interpreter, fresh
from lossary.lint.flow.frames import ClassInfo, FlowEvent, Frame, FunctionInfo
from lossary.lint.flow.names import assigned, dotted
from lossary.lint.values import UNKNOWN, Value, merge, truth

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
                self.emit(FlowEvent("assign", node, frame, value=value))
                if isinstance(node.targets[0], ast.Attribute) and node.targets[0].attr == "grad":
                    self.note("zero", node, value, dotted(node.targets[0]), frame)
                if len(node.targets) == 1 and value.op == "add" and dotted(node.targets[0]):
                    self.note("collect", node, value, dotted(node.targets[0]), frame)
            case ast.AnnAssign():
                if node.value is not None:
                    self.assign(node.target, self.eval(node.value, frame), frame)
            case ast.AugAssign():
                self._augmented(node, frame)
            case ast.Return():
                value = self.eval(node.value, frame) if node.value is not None else Value("const")
                frame.returned.append(value)
                self.emit(FlowEvent("return", node, frame, value=value))
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
            if value.op == "max" and len(target.elts) == 2 and (len(value.args) > 1 or value.kw):
                chosen = Value("argmax", value.args, node=value.node, unit=value.unit)  # values, indices = x.max(1)
                parts, fits = (value, chosen), True
            starred = any(isinstance(e, ast.Starred) for e in target.elts)
            for at, element in enumerate(target.elts):
                if fits:
                    part = parts[at]
                elif value.op in ("call", "part") and not starred:
                    part = Value("part", (value,), at, node=element, unit=frame.module.unit)
                else:
                    part = fresh(element, frame)
                self.assign(element, part, frame)
            return
        text = dotted(target)
        if text:
            for known in [name for name in frame.names if name.startswith(text + ".")]:
                del frame.names[known]
            if isinstance(target, ast.Attribute):
                owner = self.eval(target.value, frame)
                if owner.op == "instance" or (owner.op in OBJECTS and owner is not UNKNOWN):
                    owner.set_attribute(target.attr, value)
                if owner.op == "instance":
                    return
            frame.names[text] = value
        elif isinstance(target, ast.Attribute):
            self.eval(target.value, frame)
        elif isinstance(target, ast.Subscript):
            held, index = self.eval(target.value, frame), self.eval(target.slice, frame)
            if index.op != "const":
                return
            if held.op == "dict" and isinstance(index.const, str) and dotted(target.value):
                kw = {**held.kw, index.const: value}
                self.assign(target.value, Value("dict", kw=kw, node=held.node, unit=held.unit), frame)
            elif held.op == "layer" and held.const in vocabulary.SEQUENTIAL and isinstance(index.const, int):
                length, place = len(held.args), int(index.const)
                fits = -length <= place < length and not any(part.op == "many" for part in held.args)
                args = list(held.args) if fits else [Value("many", node=target)]
                if fits:
                    args[place] = value
                self.assign(target.value, Value("layer", tuple(args), held.const, kw=held.kw, node=held.node), frame)
            elif held.op in OBJECTS and held is not UNKNOWN:
                held.set_attribute(f"[{index.const!r}]", value)
                if isinstance(target.value, ast.Attribute):  # model.classifier[6] = ... changes the model
                    owner = self.eval(target.value.value, frame)
                    if owner.op in OBJECTS and owner is not UNKNOWN:
                        owner.set_attribute(target.value.attr, held)

    def _augmented(self, node: ast.AugAssign, frame: Frame) -> None:
        value = self.eval(node.value, frame)
        text = dotted(node.target)
        before = frame.lookup(text) if text else None
        self.emit(FlowEvent("augmented", node, frame, value=value, args=(before or UNKNOWN,)))
        if before is not None and before.op in ("list", "tuple") and value.op in ("list", "tuple"):
            result = Value(before.op, before.args + value.args, node=node, unit=frame.module.unit)
        elif before is not None:
            result = self.operation(BINARY.get(type(node.op), "unknown"), (before, value), node, frame)
        else:
            result = UNKNOWN
        if text and isinstance(node.op, ast.Add):
            self.note("collect", node, value, text, frame)
        self.assign(node.target, result, frame)

    def _if(self, node: ast.If, frame: Frame) -> bool:
        test = self.eval(node.test, frame)
        self.emit(FlowEvent("if", node, frame, value=test))
        decided = truth(test)
        if decided is not None:
            live, dead = (node.body, node.orelse) if decided else (node.orelse, node.body)
            self._unreached(dead, frame)
            return self.block(live, frame)
        if "TYPE_CHECKING" in (dotted(node.test), dotted(node.test).rpartition(".")[2]):
            self.block(node.body, frame)
            return True
        frame.tests.append(node)
        compared = _compared(node.test)
        falls = self._branches([node.body, node.orelse], frame, may_skip=False, compared=compared)
        frame.tests.pop()
        if compared and falls and (_leaves(node.body) or _leaves(node.orelse)):
            self._bounded(compared, frame)
        return falls

    def _bounded(self, names: set[str], frame: Frame) -> None:
        """Note that numbers were compared before they are used here: somebody has thought of their size."""
        for name in names:
            held = frame.names.get(name)
            if held is not None and held.op not in _NO_NUMBERS and held.attributes is None:
                frame.names[name] = Value("bounded", (held,), node=held.node, unit=held.unit)

    def _unreached(self, body: list[ast.stmt], frame: Frame) -> None:
        """Read the definitions of statements that are not run here."""
        held, before, returned = frame.names, heap(frame), list(frame.returned)
        frame.names = dict(held)
        self.silent += 1
        try:
            self.block(body, frame)
        finally:
            self.silent -= 1
        frame.names, frame.returned = held, returned
        restore(before)

    def _branches(
        self, bodies: list[list[ast.stmt]], frame: Frame, *, may_skip: bool, compared: set[str] | None = None
    ) -> bool:
        before, objects = frame.names, heap(frame)
        ends: list[tuple[dict[str, Value], Heap]] = [(dict(before), objects)] if may_skip else []
        for body in bodies:
            frame.names = dict(before)
            restore(objects)
            self._bounded(compared or set(), frame)
            if self.block(body, frame):
                ends.append((frame.names, heap(frame)))
        if not ends:
            frame.names = before
            return False
        self._join(ends, frame)
        return True

    def _join(self, ends: list[tuple[dict[str, Value], Heap]], frame: Frame) -> None:
        """Go on with what is certain after each of some branches."""
        names, objects = ends[0]
        for other, held in ends[1:]:
            names, objects = _joined(names, other), joined_heaps(objects, held)
        frame.names = names
        restore(objects)

    def _loop(self, node: Any, frame: Frame) -> None:
        unit = frame.module.unit
        if isinstance(node, ast.While):
            self.eval(node.test, frame)
        else:
            self.eval(node.iter, frame)
        before, objects = dict(frame.names), heap(frame)
        for name in assigned(node.body):
            held = frame.names.get(name)
            base, _, attribute = name.rpartition(".")
            owner = frame.lookup(base) if base and "." not in base else None
            if owner is not None and owner.op == "instance" and owner.attribute(attribute) is not None:
                owner.set_attribute(attribute, Value("loop", node=node, unit=unit))
            if held is not None:
                many = Value("many", node=node, unit=unit)
                frame.names[name] = (
                    Value("list", (*held.args, many), node=node, unit=unit)
                    if held.op == "list"
                    else Value("loop", const=name, node=node, unit=unit)
                )
        if not isinstance(node, ast.While):
            self.assign(node.target, fresh(node.target, frame), frame)
        frame.loops.append(node)
        self.block(node.body, frame)
        frame.loops.pop()
        self.emit(FlowEvent("loop", node, frame))
        self._join([(before, objects), (frame.names, heap(frame))], frame)
        self.block(node.orelse, frame)

    def _with(self, node: Any, frame: Frame) -> bool:
        guards, allowed, held = 0, False, frame.no_grad
        for item in node.items:
            value = self.eval(item.context_expr, frame)
            if value.op == "call" and value.const == "torch.set_grad_enabled" and value.args:
                guards += value.args[0].op == "const" and value.args[0].const is False
            guards += value.op == "call" and value.const in _NO_GRAD
            allowed = allowed or (value.op == "call" and value.const == "torch.enable_grad")
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value if value.op == "call" else UNKNOWN, frame)
        frame.no_grad = guards if allowed else held + guards
        falls = self.block(node.body, frame)
        frame.no_grad = held
        return falls

    def _try(self, node: ast.Try, frame: Frame) -> bool:
        before, objects = dict(frame.names), heap(frame)
        falls = self.block(node.body, frame) and (not node.orelse or self.block(node.orelse, frame))
        done = (frame.names, heap(frame))
        ends = [done] if falls else []
        for handler in node.handlers:
            frame.names = _joined(before, done[0]) if falls else dict(before)
            restore(joined_heaps(objects, done[1]) if falls else objects)
            if self.block(handler.body, frame):
                ends.append((frame.names, heap(frame)))
        if not ends:
            frame.names = before
            self.block(node.finalbody, frame)
            return False
        self._join(ends, frame)
        return self.block(node.finalbody, frame)

    def _class_statement(self, node: ast.ClassDef, frame: Frame) -> None:
        for decorator in node.decorator_list:
            self.eval(decorator, frame)
        info = ClassInfo(node, frame.module, [self.eval(base, frame) for base in node.bases])
        inner = Frame(frame.module, node, {}, frame)
        fields: list[str] = []
        for statement in node.body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                static = any(dotted(d) in ("staticmethod", "classmethod") for d in statement.decorator_list)
                if static:
                    frame.functions.append(FunctionInfo(statement, frame.module, frame, owner=info))
                elif statement.args.args or statement.args.posonlyargs:
                    info.methods[statement.name] = statement
            else:
                self.statement(statement, inner)
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    fields.append(statement.target.id)
        info.attributes = inner.names
        written = [dotted(d.func if isinstance(d, ast.Call) else d).rpartition(".")[2] for d in node.decorator_list]
        bases = {name.rpartition(".")[2] for name in info.outside()}
        if "dataclass" in written or bases & {"NamedTuple", "ModelOutput"} or "flax.linen.Module" in info.outside():
            info.fields = tuple(fields)
        frame.module.classes.append(info)
        frame.names[node.name] = Value("class", const=info, node=node, unit=frame.module.unit)


_NO_NUMBERS = frozenset(
    "const bounded loss either optimizer list tuple dict layer instance function class name".split()
)
_ORDER = (ast.Gt, ast.GtE, ast.Lt, ast.LtE)


def _compared(test: ast.expr) -> set[str]:
    """Return the names whose size a test asks for: ``x > 30``, ``abs(x) < limit``."""
    found: set[str] = set()
    for node in ast.walk(test):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], _ORDER):
            for side in (node.left, *node.comparators):
                if isinstance(side, ast.UnaryOp):
                    side = side.operand
                if isinstance(side, ast.Call) and dotted(side.func).rpartition(".")[2] in ("abs", "fabs"):
                    side = side.args[0] if side.args else getattr(side.func, "value", side)
                if isinstance(side, ast.Name):
                    found.add(side.id)
    return found


def _leaves(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], (ast.Return, ast.Raise, ast.Continue, ast.Break))


# Objects from outside of the project that attributes may be set on: models, mostly.
OBJECTS = frozenset({"call", "part", "attribute", "param", "unknown", "index"})
Heap = dict[int, tuple[Value, dict[str, Value]]]


def heap(frame: Frame) -> Heap:
    """Return the attributes of the objects that a frame can reach by one or two names."""
    found: Heap = {}
    for value in frame.names.values():
        if value.attributes is not None and id(value) not in found:
            found[id(value)] = (value, value.attributes)
            for inner in value.attributes.values():
                if inner.attributes is not None:
                    found.setdefault(id(inner), (inner, inner.attributes))
    return found


def restore(objects: Heap) -> None:
    """Give objects the attributes back that they had."""
    for value, attributes in objects.values():
        if value.attributes is not attributes:
            value.attributes = attributes
            value.version += 1


def joined_heaps(a: Heap, b: Heap) -> Heap:
    """Return what is certain of the attributes of objects after two branches."""
    result = dict(a)
    for key, (value, attributes) in b.items():
        held = a.get(key)
        if held is None or held[1] is attributes:
            result[key] = (value, attributes)
        else:
            result[key] = (value, _joined(held[1], attributes))
    return result


def _joined(a: dict[str, Value], b: dict[str, Value]) -> dict[str, Value]:
    result = dict(a)
    for name, value in b.items():
        held = a.get(name)
        if held is None:
            result[name] = value
        elif held is not value:
            result[name] = merge(held, value)
    return result
