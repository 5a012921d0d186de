"""Keras: which loss a model is compiled with, and what the model ends in."""

from __future__ import annotations

from lossary.lint.flow.base import Interpreter
from lossary.lint.flow.frames import FlowEvent
from lossary.lint.values import UNKNOWN, Value
from lossary.lint.vocabulary import KERAS_LOSSES, KERAS_POSITIONS, KERAS_STRINGS

FALSE = Value("const", const=False)
_LOSS = "loss()"  # the attribute that holds what a model was compiled with


def loss_of(held: Value) -> tuple[str, str, Value] | None:
    """Return a Keras loss's name, the activation it is made for, and its `from_logits`; None for other losses."""
    if held.op == "const" and held.const in KERAS_STRINGS:
        return (*KERAS_STRINGS[held.const], FALSE)
    if held.op == "name" and held.const in KERAS_LOSSES:
        return (*KERAS_LOSSES[held.const], FALSE)
    if held.op == "layer" and held.const in KERAS_LOSSES:
        name, activation = KERAS_LOSSES[held.const]
        position = KERAS_POSITIONS["class"].get(name, 0)
        given = held.kw.get("from_logits") or (held.args[position] if position < len(held.args) else None)
        return name, activation, given if given is not None else FALSE
    return None


class Keras(Interpreter):
    """Tells of each pair of a model's output and its loss as one event, "keras-fit"."""

    def keras_method(self, event: FlowEvent) -> None:
        """Look at ``compile`` and ``fit`` of a model."""
        model = event.value
        if not _is_model(model):
            return
        if event.name == "compile":
            loss = event.kw.get("loss") or (event.args[1] if len(event.args) > 1 else None)
            if loss is not None:
                model.set_attribute(_LOSS, loss)
                self._compiled(model, loss, event)
        elif event.name in ("fit", "evaluate", "train_on_batch"):
            loss = model.attribute(_LOSS)
            labels = event.kw.get("y") or (event.args[1] if len(event.args) > 1 else None)
            if loss is not None and labels is not None and (known := loss_of(loss)) is not None:
                options = {"labels": labels}
                self.emit(FlowEvent("keras-labels", event.node, event.frame, name=known[0], options=options))

    def _compiled(self, model: Value, loss: Value, event: FlowEvent) -> None:
        self.silent += 1
        try:
            output = self.called(model, (UNKNOWN,), {}, event.call, event.frame, True)
        finally:
            self.silent -= 1
        losses = (
            loss.args if loss.op in ("list", "tuple") else tuple(loss.kw.values()) if loss.op == "dict" else (loss,)
        )
        outputs = output.args if output.op in ("list", "tuple") else (output,)
        if len(losses) != len(outputs):
            return
        for one, made in zip(losses, outputs, strict=True):
            if (known := loss_of(one)) is not None:
                self._pair(known, made, event)

    def keras_call(self, held: Value, event: FlowEvent) -> None:
        """Look at a loss that is called on labels and predictions, as in a loop with a GradientTape."""
        known = loss_of(held)
        predicted = event.kw.get("y_pred") or event.kw.get("output") or (event.args[1] if len(event.args) > 1 else None)
        if known is None or predicted is None:
            return
        given = event.kw.get("from_logits")
        self._pair((known[0], known[1], given if given is not None else known[2]), predicted, event)
        labels = event.kw.get("y_true") or event.args[0] if event.args or "y_true" in event.kw else None
        if labels is not None:
            self.emit(FlowEvent("keras-labels", event.node, event.frame, name=known[0], options={"labels": labels}))

    def _pair(self, known: tuple[str, str, Value], output: Value, event: FlowEvent) -> None:
        options = {"activation": output, "logits": known[2], "loss": Value("const", const=known[0])}
        self.emit(FlowEvent("keras-fit", event.node, event.frame, name=known[1], options=options))


def _is_model(value: Value) -> bool:
    if value.op == "layer":
        return value.const in ("keras.Sequential", "keras.Model")
    if value.op != "instance":
        return False
    return any(name in ("keras.Model", "keras.Sequential", "keras.models.Model") for name in value.const.outside())
