"""Layers and losses of the frameworks: made, and applied."""

from __future__ import annotations

import ast
from typing import Any

from lossary.lint import vocabulary
from lossary.lint.flow.base import Interpreter
from lossary.lint.flow.frames import FlowEvent, Frame
from lossary.lint.values import UNKNOWN, Value
from lossary.lint.vocabulary import ACTIVATIONS, KERAS_KINDS, LAYERS, OPERATIONS, SEQUENTIAL


class Layers(Interpreter):
    """Layers and losses: what they are made of, and what they give."""

    def make_layer(
        self, name: str, args: tuple[Value, ...], kw: dict[str, Value], node: ast.Call, frame: Frame
    ) -> Value:
        """Return a layer of a framework, or a loss held as a module."""
        if name in ("torch.nn.DataParallel", "torch.nn.parallel.DistributedDataParallel") and args:
            return args[0]
        if name.startswith("keras.models."):
            name = "keras." + name.removeprefix("keras.models.")
        if name in SEQUENTIAL:
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
            self.keras_call(
                layer, FlowEvent("keras", node, frame, name=name, value=layer, args=args, kw=kw, whole=whole)
            )
            return UNKNOWN
        value = args[0] if args else UNKNOWN
        if name in SEQUENTIAL:
            for child in layer.args:
                if child.op in ("layer", "instance", "either", "partial", "function") or _is_activation(child):
                    value = self.called(child, (value,), {}, node, frame, True)
                else:
                    value = UNKNOWN
            return value if layer.args else UNKNOWN
        if name == "keras.Model":
            outputs = layer.kw.get("outputs") or (layer.args[1] if len(layer.args) > 1 else UNKNOWN)
            return outputs.args[0] if outputs.op == "list" and len(outputs.args) == 1 else outputs
        unit = frame.module.unit
        if name.startswith("keras.layers.") and (name not in LAYERS or "activation" in layer.kw):
            return self._keras_layer(layer, name.rpartition(".")[2], value, node, frame)
        op = LAYERS.get(name, "")
        if not op:
            return Value("call", args, const=name, node=node, unit=unit)
        if op in ("linear", "conv"):
            flax = name.startswith("flax.linen.")
            position = 0 if "Lazy" in name or flax else 2 if "Bilinear" in name else 1
            named = "features" if flax else "out_features" if op == "linear" else "out_channels"
            return Value(op, (value,), const=layer.option(named, position), node=node, unit=unit)
        extra = dict(layer.kw)
        if op in ("softmax", "log_softmax") and layer.args:
            extra["dim"] = layer.args[0]
        if op == "flatten_layer":
            return Value("view", (value,), node=node, unit=unit)
        return self._applied(op, value, extra, name, layer, node, frame)

    def _applied(
        self, op: str, value: Value, kw: dict[str, Value], name: str, layer: Value, node: ast.Call, frame: Frame
    ) -> Value:
        """Return what an activation held as a layer gives, and tell of it."""
        result = Value(op, (value,), name, kw=kw, node=layer.node, unit=layer.unit)
        result.no_grad = frame.no_grad > 0
        self.emit(FlowEvent("applied", node, frame, name=op, value=result, args=(value,)))
        return result

    def _keras_layer(self, layer: Value, kind: str, value: Value, node: ast.Call, frame: Frame) -> Value:
        name = str(layer.const)
        if kind == "Activation":
            activation = layer.args[0] if layer.args else layer.kw.get("activation", UNKNOWN)
        elif kind in KERAS_KINDS:
            op, named, position = KERAS_KINDS[kind]
            value = Value(op, (value,), const=layer.option(named, 0), node=layer.node, unit=layer.unit)
            given = layer.args[position] if position < len(layer.args) else Value("const")
            activation = layer.kw.get("activation", given)
        else:
            value = Value("call", (value,), const=name, node=node, unit=frame.module.unit)
            activation = layer.kw.get("activation", Value("const"))
        if activation.op == "const" and activation.const is None:
            return value
        if activation.op == "layer":
            return self.called(activation, (value,), {}, node, frame, True)
        if activation.op == "const":
            op = ACTIVATIONS.get(str(activation.const), "")
        else:
            op = OPERATIONS.get(str(activation.const), "") if activation.op == "name" else ""
        if not op:
            return UNKNOWN
        return value if op == "same" else self._applied(op, value, {}, "keras.layers.Activation", layer, node, frame)

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
        event = FlowEvent(
            "loss", node, frame, name, args=args, kw=arguments, options=options | extra, facts=facts, whole=whole
        )
        value = Value("loss", args, const=event, node=node, unit=frame.module.unit)
        value.no_grad = frame.no_grad > 0
        event.value = value
        self.note("loss", node, value, name, frame)
        self.emit(event)
        return value


def _is_activation(value: Value) -> bool:
    """Whether a value is a function that may stand among layers, as in ``flax.linen.Sequential``."""
    return value.op == "name" and str(value.const) in OPERATIONS
