"""Expressions: names, attributes, arithmetic, containers."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from lossary.lint import vocabulary
from lossary.lint.flow.base import BINARY, Interpreter, fresh
from lossary.lint.flow.frames import ClassInfo, FlowEvent, Frame, FunctionInfo, Listener
from lossary.lint.flow.names import dotted
from lossary.lint.flow.project import Project
from lossary.lint.values import NO_KEYWORDS, UNKNOWN, Value, contains, merge, truth
from lossary.lint.vocabulary import ROOTS

_LASTING = frozenset({"const", "layer", "function", "class", "name", "partial", "instance"})
_SUMS = frozenset({"sum"})
_FOLDED = ("add", "sub", "mul")


class Expressions(Interpreter):
    """What expressions are worth."""

    def __init__(self, project: Project, listener: Listener) -> None:
        super().__init__(project, listener)
        self._evaluators: dict[type, Callable[[Any, Frame], Value]] = {
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Call: self.call,
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
            ast.BoolOp: self._boolean,
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

    def eval(self, node: ast.expr, frame: Frame) -> Value:
        """Return what is known of an expression."""
        evaluator = self._evaluators.get(type(node))
        return evaluator(node, frame) if evaluator is not None else UNKNOWN

    def _constant(self, node: ast.Constant, frame: Frame) -> Value:
        return Value("const", const=node.value, node=node, unit=frame.module.unit)

    def _name(self, node: ast.Name, frame: Frame) -> Value:
        value = frame.lookup(node.id)
        if value is None:
            value = self._otherwise(node, frame)
            if not frame.loops:
                frame.names[node.id] = value
        return value

    def _otherwise(self, node: ast.Name, frame: Frame) -> Value:
        """Return what a name means that nothing binds: a function of Python's, or one of a star import."""
        outer: Frame | None = frame
        while outer is not None:
            for place in reversed(outer.stars):
                if vocabulary.is_exported(place, node.id):
                    name = vocabulary.canonical(f"{place}.{node.id}")
                    return Value("name", const=name, node=node, unit=frame.module.unit)
            outer = outer.outer
        if node.id in vocabulary.BUILTINS:
            return Value("name", const=f"builtins.{node.id}", node=node, unit=frame.module.unit)
        return Value("unknown", node=node, unit=frame.module.unit)

    def _attribute(self, node: ast.Attribute, frame: Frame) -> Value:
        text = dotted(node)
        if text and text in frame.names:
            return frame.names[text]
        base = self.eval(node.value, frame)
        unit = frame.module.unit
        held = base.attribute(node.attr)
        if held is not None:
            return held
        if base.op == "name":
            name = vocabulary.canonical(f"{base.const}.{node.attr}")
            value = Value("name", const=name, node=node, unit=unit)
            root = str(base.const).split(".")[0]
            if root not in ROOTS:
                file = self.project.find(str(base.const), unit.path.parent)
                if file is not None and (loaded := self.load(file, frame)) is not None and node.attr in loaded.names:
                    return loaded.names[node.attr]
            else:
                self.emit(FlowEvent("name", node, frame, name=name, value=value))
            return value
        if base.op == "instance":
            owner: ClassInfo = base.const
            found = owner.find(node.attr)
            if found is not None:
                method, at = found
                info = FunctionInfo(method, at.module, self.frame_of(at.module), base, at)
                return Value("function", const=info, node=node, unit=unit)
            set_by_class = owner.attribute(node.attr)
            if set_by_class is not None and set_by_class.op in _LASTING:
                return set_by_class
        if base.op in ("call", "dict") and node.attr in base.kw and _is_record(base):
            return base.kw[node.attr]
        if base.op == "max" and node.attr in ("values", "indices"):
            return base if node.attr == "values" else Value("argmax", base.args, node=node, unit=unit)
        if node.attr in ("data", "T", "mT") and base is not UNKNOWN:
            return Value("detach" if node.attr == "data" else "permute", (base,), node=node, unit=unit)
        value = Value("attribute", (base,), const=node.attr, node=node, unit=unit)
        if base.op == "instance":
            base.set_attribute(node.attr, value)
        elif text:
            frame.names[text] = value
        return value

    def _binary(self, node: ast.BinOp, frame: Frame) -> Value:
        # A sum of a thousand terms nests a thousand deep on the left: walk down it instead of recursing.
        chain: list[ast.BinOp] = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        value = self.eval(chain[-1].left, frame)
        for part in reversed(chain):
            right = self.eval(part.right, frame)
            value = self.operation(BINARY.get(type(part.op), "unknown"), (value, right), part, frame)
        return value

    def _unary(self, node: ast.UnaryOp, frame: Frame) -> Value:
        value = self.eval(node.operand, frame)
        if isinstance(node.op, ast.USub):
            if value.op == "const" and isinstance(value.const, (int, float)) and not isinstance(value.const, bool):
                return Value("const", const=-value.const, node=node, unit=frame.module.unit)
            return self.operation("neg", (value,), node, frame)
        if isinstance(node.op, (ast.Not, ast.Invert)):
            return Value("not", (value,), node=node, unit=frame.module.unit)
        return value if isinstance(node.op, ast.UAdd) else UNKNOWN

    def _compare(self, node: ast.Compare, frame: Frame) -> Value:
        values = (self.eval(node.left, frame), *(self.eval(part, frame) for part in node.comparators))
        said = type(node.ops[0]).__name__ if len(node.ops) == 1 else None
        return Value("compare", values, said, node=node, unit=frame.module.unit)

    def _boolean(self, node: ast.BoolOp, frame: Frame) -> Value:
        op = "and" if isinstance(node.op, ast.And) else "or"
        return Value(op, tuple(self.eval(v, frame) for v in node.values), node=node, unit=frame.module.unit)

    def _conditional(self, node: ast.IfExp, frame: Frame) -> Value:
        decided = truth(self.eval(node.test, frame))
        if decided is not None:
            return self.eval(node.body if decided else node.orelse, frame)
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
            if base.op == "max" and index.const == 1 and (len(base.args) > 1 or base.kw):
                return Value("argmax", base.args, node=node, unit=frame.module.unit)
            if base.op in ("tuple", "list") and isinstance(index.const, int) and not isinstance(index.const, bool):
                known = not any(v.op == "many" for v in base.args)
                if known and -len(base.args) <= index.const < len(base.args):
                    return base.args[index.const]
                return UNKNOWN
            if base.op == "dict" and isinstance(index.const, str):
                return base.kw.get(index.const) or (base.args[0] if base.args else UNKNOWN)
        if base.op == "layer" and base.const in ("torch.nn.ModuleList", "torch.nn.Sequential", "torch.nn.ModuleDict"):
            return UNKNOWN
            held = base.attribute(f"[{index.const!r}]")
            if held is not None:
                return held
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
            self.assign(generator.target, fresh(generator.target, frame), frame)
            for test in generator.ifs:
                self.eval(test, frame)
        if isinstance(node, ast.DictComp):
            self.eval(node.key, frame)
            value = self.eval(node.value, frame)
        else:
            value = self.eval(node.elt, frame)
        frame.names = before
        if isinstance(node, ast.DictComp):
            return Value("dict", (value,), node=node, unit=frame.module.unit)
        if isinstance(node, ast.ListComp):
            return Value("list", (Value("many", (value,), node=node),), node=node, unit=frame.module.unit)
        return UNKNOWN

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
        value = Value(op, args, name or None, kw=kw, node=node, unit=frame.module.unit)
        value.no_grad = frame.no_grad > 0
        if op == "div" and all(contains(part, _SUMS, 4) for part in args):
            self.note("quotient", node, value, "", frame)
        self.emit(FlowEvent(op, node, frame, value=value, args=args))
        return value


def _is_record(value: Value) -> bool:
    """Whether a call made a record that keeps its arguments: ``SequenceClassifierOutput(logits=z)``."""
    name = str(value.const).rpartition(".")[2]
    return value.op == "dict" or name.endswith("Output") or name in ("SimpleNamespace", "ModelOutput", "Namespace")
