"""Calls: what is called, and with what; methods that mean something by their name."""

from __future__ import annotations

import ast

from lossary.lint import vocabulary
from lossary.lint.flow.base import Interpreter
from lossary.lint.flow.frames import ClassInfo, Event, Frame, FunctionInfo
from lossary.lint.flow.names import dotted
from lossary.lint.values import UNKNOWN, Value
from lossary.lint.vocabulary import METHODS, OPERATIONS, WITHOUT_ARGUMENTS

_TENSOR_MAKERS = {"torch.tensor", "torch.as_tensor", "torch.FloatTensor", "torch.LongTensor", "torch.Tensor"}
_TENSOR_MAKERS |= {"numpy.array", "numpy.asarray", "jax.numpy.array", "jax.numpy.asarray", "tensorflow.constant"}
_NO_GRAD = {"torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.autograd.grad_mode.no_grad"}
_UINT8 = {"cv2.imread", "imageio.imread", "imageio.v2.imread", "imageio.v3.imread", "skimage.io.imread", "cv2.cvtColor"}
_MODEL_HEADS = ("fc", "classifier", "head", "heads")


class Calls(Interpreter):
    """What a call gives."""

    def call(self, node: ast.Call, frame: Frame) -> Value:
        """Return what is known of a call."""
        function = node.func
        if isinstance(function, ast.Attribute):
            special = self._method(node, function, frame)
            if special is not None:
                return special
        callee = self.eval(function, frame)
        args, kw, whole = self.arguments_of(node, frame)
        return self.called(callee, args, kw, node, frame, whole)

    def arguments_of(self, node: ast.Call, frame: Frame) -> tuple[tuple[Value, ...], dict[str, Value], bool]:
        """Return positional and keyword arguments, and whether no * or ** hides any."""
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
            return self.super_call(node, name, frame)
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
                args, _, _ = self.arguments_of(node, frame)
                self.assign(
                    function.value,
                    Value("layer", base.args + args, base.const, kw=base.kw, node=base.node, unit=unit),
                    frame,
                )
                return Value("const")
            if name in ("to", "cuda", "cpu", "train", "eval", "float", "half", "double", "type", "requires_grad_"):
                self.arguments_of(node, frame)
                return base
            if name == "forward":
                args, kw, whole = self.arguments_of(node, frame)
                return self.called(base, args, kw, node, frame, whole)
        if base.op == "instance" and name in ("to", "cuda", "cpu", "train", "eval", "float", "half", "double"):
            self.arguments_of(node, frame)
            return base
        args, kw, whole = self.arguments_of(node, frame)
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
                    FunctionInfo(method, at.module, self.frame_of(at.module), callee, at), args, kw, node, frame
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
            return self.make_layer(name, args, kw, node, frame)
        if name in ("torch.nn.DataParallel", "torch.compile", "torch.jit.script"):
            return args[0] if args else UNKNOWN
        return Value("call", args, const=name, kw=kw, node=node, unit=unit)


def _with_type(name: str, kw: dict[str, Value]) -> dict[str, Value]:
    if "dtype" in kw or name not in ("torch.FloatTensor", "torch.LongTensor", "torch.Tensor"):
        return kw
    return kw | {"dtype": Value("name", const="torch.long" if name == "torch.LongTensor" else "torch.float32")}
