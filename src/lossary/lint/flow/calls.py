"""Calls: what is called, and with what; methods that mean something by their name."""

from __future__ import annotations

import ast
import re

from lossary.lint import vocabulary
from lossary.lint.flow.base import BASE_LAYER, Interpreter
from lossary.lint.flow.frames import ClassInfo, FlowEvent, Frame, FunctionInfo
from lossary.lint.flow.names import dotted
from lossary.lint.values import UNKNOWN, Value, merge
from lossary.lint.vocabulary import METHODS, OPERATIONS, PASSES_THROUGH, WITHOUT_ARGUMENTS

_TENSOR_MAKERS = {
    "torch.autograd.Variable",
    "torch.tensor",
    "torch.as_tensor",
    "torch.FloatTensor",
    "torch.LongTensor",
    "torch.Tensor",
}
_TENSOR_MAKERS |= {"numpy.array", "numpy.asarray", "jax.numpy.array", "jax.numpy.asarray", "tensorflow.constant"}
_NO_GRAD = {"torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad", "torch.autograd.grad_mode.no_grad"}
_UINT8 = {"cv2.imread", "imageio.imread", "imageio.v2.imread", "imageio.v3.imread", "skimage.io.imread", "cv2.cvtColor"}

_FLAX = frozenset({"rngs", "method", "mutable", "capture_intermediates"})
_WRAPPER = re.compile(r"accel|fabric")
_HEADS = ("fc", "classifier", "head", "heads", "last_linear", "output_layer", "lm_head")


def _head(model: Value, depth: int = 3) -> Value | None:
    """Return the last layer of a model from outside, where the project has replaced it: ``model.fc = ...``."""
    if model.op not in ("call", "attribute", "param", "unknown", "index") or not model.attributes:
        return None
    for name in _HEADS:
        held = model.attribute(name)
        if held is None:
            continue
        if held.op in ("layer", "instance", "either"):
            return held
        numbered = [key for key in held.attributes or {} if re.fullmatch(r"\[-?\d+\]", key)]
        if numbered:
            chosen = held.attribute(max(numbered, key=lambda key: int(key[1:-1]) % 1000))
            return chosen if chosen is not None and chosen.op in ("layer", "instance") else None
        return _head(held, depth - 1) if depth else None
    return None


_TENSORS = frozenset(
    "linear conv softmax log_softmax sigmoid logsigmoid relu tanh softplus exp view squeeze flatten index dropout call "
    "interpolate clamp cat unsqueeze reshape gelu leaky_relu pool permute transpose".split()
)


def _of_model(result: Value, model: Value, args: tuple[Value, ...], node: ast.Call, frame: Frame) -> Value:
    """Return what a model of the project gave, with the model: of two networks of a class it matters which."""
    if result is UNKNOWN:
        made = Value("call", (model, *args), node=node, unit=frame.module.unit)
    elif result.op in _TENSORS:
        made = Value("model", (result,), model, node=result.node, unit=result.unit)
    else:
        return result
    made.no_grad = frame.no_grad > 0
    return made


class Calls(Interpreter):
    """What a call gives."""

    def call(self, node: ast.Call, frame: Frame) -> Value:
        """Return what is known of a call."""
        frame.around.append(node)
        try:
            value = self._call(node, frame)
        finally:
            frame.around.pop()
        if frame.no_grad and value.op == "call" and value.node is node:
            value.no_grad = True
        return value

    def _call(self, node: ast.Call, frame: Frame) -> Value:
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
        if base.op == "instance" and (base.attribute(name) is not None or base.const.find(name)):
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
            if base.const in vocabulary.SEQUENTIAL and name in ("add", "append", "add_module") and text:
                args, _, _ = self.arguments_of(node, frame)
                longer = Value("layer", base.args + args[-1:], base.const, kw=base.kw, node=base.node, unit=unit)
                self.assign(function.value, longer, frame)
                return base
            if name in ("to", "cuda", "cpu", "train", "eval", "float", "half", "double", "type", "requires_grad_"):
                self.arguments_of(node, frame)
                return base
            if name == "apply" and str(base.const).startswith("flax.linen."):
                args, kw, whole = self.arguments_of(node, frame)
                return self.called(base, args[1:], {k: v for k, v in kw.items() if k not in _FLAX}, node, frame, whole)
            if name == "forward":
                args, kw, whole = self.arguments_of(node, frame)
                return self.called(base, args, kw, node, frame, whole)
        if base.op in ("instance", "either", "optimizer", "engine") and name in (
            "to",
            "cuda",
            "cpu",
            "train",
            "eval",
            "float",
            "half",
            "double",
        ):
            self.arguments_of(node, frame)
            return base
        args, kw, whole = self.arguments_of(node, frame)
        if base.op == "instance" and name in ("apply", "add_module", "register_module"):
            if name == "apply" and "flax.linen.Module" in base.const.outside() and args:
                return self.called(base, args[1:], {k: v for k, v in kw.items() if k not in _FLAX}, node, frame, whole)
            if name != "apply" and len(args) == 2 and isinstance(args[0].const, str):
                base.set_attribute(args[0].const, args[1])
                return UNKNOWN
        if name == "append" and len(args) == 1:
            self.note("collect", node, args[0], text, frame)
            if text and base.op == "list":
                longer = Value("list", (*base.args, args[0]), node=base.node, unit=unit)
                self.assign(function.value, longer, frame)
                return Value("const")
        event = FlowEvent("method", node, frame, name=name, value=base, args=args, kw=kw, whole=whole)
        self.emit(event)
        self.gradient_call(node, function, event)
        self.keras_method(event)
        if name in ("prepare", "setup", "setup_module") and args and _WRAPPER.search(text.lower()):
            return args[0] if len(args) == 1 else Value("tuple", args, node=node, unit=unit)
        op = METHODS.get(name, "")
        if op and (name not in WITHOUT_ARGUMENTS or (not args and not kw)):
            return self.operation(op, (base, *args), node, frame, kw)
        return Value("call", (base, *args), const=name, kw=kw, node=node, unit=unit)

    def called(
        self, callee: Value, args: tuple[Value, ...], kw: dict[str, Value], node: ast.Call, frame: Frame, whole: bool
    ) -> Value:
        """Return the result of calling a value."""
        unit = frame.module.unit
        if callee.op == "either":
            return self._either(callee, args, kw, node, frame, whole)
        if callee.op == "partial":
            return self.called(callee.args[0], callee.args[1:] + args, callee.kw | kw, node, frame, whole)
        if callee.op == "engine":
            return self.called(callee.args[0], args, kw, node, frame, whole)
        if callee.op == "name":
            return self._named_call(str(callee.const), args, kw, node, frame, whole)
        if callee.op == "layer":
            return self.layer(callee, args, kw, node, frame, whole)
        if callee.op == "function":
            return self.apply(callee.const, args, kw, node, frame)
        if callee.op == "class":
            return self.instance(callee.const, args, kw, node)
        if callee.op == "instance":
            if "labels" in kw:
                self.emit(FlowEvent("unknown-call", node, frame, value=callee, args=args, kw=kw))
            owner: ClassInfo = callee.const
            wanted = "forward" if owner.find("forward") else "call" if owner.find("call") else "__call__"
            found = owner.find(wanted)
            if found is not None and (wanted == "__call__" or owner.plain()):
                method, at = found
                info = FunctionInfo(method, at.module, self.frame_of(at.module), callee, at)
                return _of_model(self.apply(info, args, kw, node, frame), callee, args, node, frame)
            held = callee.attribute(BASE_LAYER) if found is None else None
            if held is not None:
                return self.called(held, args, kw, node, frame, whole)
        head = _head(callee)
        if head is not None:
            return self.called(head, (UNKNOWN,), {}, node, frame, True)
        if "labels" in kw and callee.op != "instance":
            self.emit(FlowEvent("unknown-call", node, frame, value=callee, args=args, kw=kw))
        return Value("call", (callee, *args), kw=kw, node=node, unit=unit)

    def _either(
        self, callee: Value, args: tuple[Value, ...], kw: dict[str, Value], node: ast.Call, frame: Frame, whole: bool
    ) -> Value:
        """Call whatever may be meant; of losses nothing is told, for which one it is may depend on the model."""
        quiet = any(choice.op == "layer" and vocabulary.is_loss(str(choice.const)) for choice in callee.args)
        quiet = quiet or any(choice.op == "name" for choice in callee.args)
        self.silent += quiet
        try:
            results = [self.called(choice, args, kw, node, frame, whole) for choice in callee.args]
        finally:
            self.silent -= quiet
        result = results[0]
        for other in results[1:]:
            result = merge(result, other)
        return result

    def _named_call(
        self, name: str, args: tuple[Value, ...], kw: dict[str, Value], node: ast.Call, frame: Frame, whole: bool
    ) -> Value:
        unit = frame.module.unit
        if name == "torch.autograd.Variable" and len(args) == 1 and not kw:
            return args[0]
        if name == "functools.partial" and args:
            return Value("partial", args, kw=kw, node=node, unit=unit)
        if vocabulary.is_optimiser(name):
            return Value("optimizer", args, const=name, kw=kw, node=node, unit=unit)
        if name == "deepspeed.initialize":
            model = kw.get("model") or (args[1] if len(args) > 1 else UNKNOWN)
            engine = Value("engine", (model,), node=node, unit=unit)
            return Value("tuple", (engine, Value("optimizer", const=name), UNKNOWN, UNKNOWN), node=node, unit=unit)
        if name == "apex.amp.initialize" and args:
            return Value("tuple", args, node=node, unit=unit) if len(args) > 1 else args[0]
        self.emit(FlowEvent("call", node, frame, name=name, args=args, kw=kw, whole=whole))
        facts = vocabulary.loss_facts(name)
        if facts is not None and (name.startswith("torch.nn.functional.") or not name.startswith("torch.nn.")):
            return self.loss(name, facts, args, kw, {}, node, frame, whole)
        if name in vocabulary.KERAS_LOSSES and name.rpartition(".")[2].islower():
            self.keras_call(
                Value("name", const=name), FlowEvent("keras", node, frame, name=name, args=args, kw=kw, whole=whole)
            )
            return Value("call", args, const=name, node=node, unit=unit)
        if name in _UINT8:
            return Value("uint8", args, const=name, node=node, unit=unit)
        op = OPERATIONS.get(name, "")
        if op:
            return self.operation(op, args, node, frame, kw, name)
        if name in _TENSOR_MAKERS and args:
            if args[0].op in ("list", "tuple"):
                return self.operation("literal", args, node, frame, _with_type(name, kw), name)
            if (
                args[0].op == "call"
                and args[0].const == "PIL.Image.open"
                and "dtype" not in kw
                and name.startswith("numpy")
            ):
                return Value("uint8", args, const=name, node=node, unit=unit)
            return self.operation("tensor_of", args, node, frame, kw, name)
        if name in PASSES_THROUGH:
            return args[0] if args else UNKNOWN
        if name.startswith(vocabulary.LAYER_PLACES) or name in vocabulary.KERAS_MODELS:
            if name[-1].islower() and name.rpartition(".")[2].islower():
                return Value("call", args, const=name, node=node, unit=unit)
            return self.make_layer(name, args, kw, node, frame)
        return Value("call", args, const=name, kw=kw, node=node, unit=unit)


def _with_type(name: str, kw: dict[str, Value]) -> dict[str, Value]:
    if "dtype" in kw or name not in ("torch.FloatTensor", "torch.LongTensor", "torch.Tensor"):
        return kw
    return kw | {"dtype": Value("name", const="torch.long" if name == "torch.LongTensor" else "torch.float32")}
