"""What is done to gradients: backward passes, steps of optimisers, gradients set to zero, losses collected.

Every spelling is told of as one kind of event: ``loss.backward()``, ``scaler.scale(loss).backward()``,
``accelerator.backward(loss)``, ``fabric.backward(loss)``, ``engine.backward(loss)``, ``self.manual_backward(loss)``.
"""

from __future__ import annotations

import ast
import re

from lossary.lint.flow.base import Interpreter
from lossary.lint.flow.frames import FlowEvent, Frame, GradientStep
from lossary.lint.flow.names import dotted
from lossary.lint.values import Value, losses_in

_OPTIMISER = re.compile(r"(^|_)(optim\w*|opt\w?\d*|opt_\w+|\w+_opt|adamw?|sgd|rmsprop)\d*$", re.IGNORECASE)
_SCHEDULER = re.compile(r"sched|^lr|_lr$|warmup", re.IGNORECASE)
_HELPER = re.compile(r"accel|fabric|engine|^self$|trainer|deepspeed|scaler|model_engine", re.IGNORECASE)
_STEPS = 400  # noted for one function


def unscaled(value: Value) -> Value:
    """Return the loss for ``scaler.scale(loss)`` and ``amp.scale_loss(loss, optimizer)``."""
    while value.op == "call" and value.args:
        if value.const == "scale" and len(value.args) == 2:
            value = value.args[1]
        elif str(value.const).endswith("scale_loss"):
            value = value.args[-1] if len(value.args) == 2 and value.args[0].op == "name" else value.args[0]
        else:
            break
    return value


class Gradients(Interpreter):
    """What a method call does to gradients."""

    def note(self, kind: str, node: ast.AST, value: Value, name: str, frame: Frame) -> None:
        """Note that something is done to gradients, or that a loss is kept."""
        if len(frame.steps) < _STEPS:
            frame.steps.append(GradientStep(kind, node, value, name, tuple(frame.loops), tuple(frame.tests)))

    def gradient_call(self, node: ast.Call, function: ast.Attribute, event: FlowEvent) -> None:
        """Tell of a method call that runs backward, makes a step or clears gradients."""
        frame, name, base, args = event.frame, event.name, event.value, event.args
        text = dotted(function.value)
        last = text.rpartition(".")[2]
        if name in ("backward", "manual_backward"):
            helper = bool(args) and not losses_in(base) and (_HELPER.search(last) or bool(losses_in(args[0])))
            target = args[0] if helper or (args and name == "manual_backward") else base
            expression: ast.expr = node.args[0] if target is not base and node.args else function.value
            target = unscaled(target)
            said = dotted(expression)
            if not said and isinstance(expression, ast.Call) and expression.args:  # scaler.scale(loss).backward()
                said = dotted(expression.args[0])
            self.note("backward", node, target, said, frame)
            rest = args[1:] if target is not base and helper else args
            self.emit(FlowEvent("backward", node, frame, name=said, value=target, args=rest, kw=event.kw))
        elif name == "step":
            chosen, said = base, text
            if args and (args[0].op == "optimizer" or (node.args and _named_so(dotted(node.args[0])))):
                chosen, said = args[0], dotted(node.args[0])
            elif node.args or node.keywords:
                return
            elif base.op == "engine":
                self.note("step", node, base, text, frame)
                self.note("zero", node, base, text, frame)
                return
            if chosen.op == "optimizer" or _named_so(said):
                self.note("step", node, chosen, said, frame)
                self.emit(FlowEvent("step", node, frame, name=said, value=chosen))
        elif name == "zero_grad" or (name in ("zero_", "fill_", "detach_") and ".grad" in text):
            self.note("zero", node, base, text, frame)


def _named_so(text: str) -> bool:
    last = re.sub(r"\[.*$", "", text).rpartition(".")[2]
    return bool(_OPTIMISER.search(last)) and not _SCHEDULER.search(last)
