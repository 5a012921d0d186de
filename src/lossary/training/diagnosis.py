"""The error message for a step that gave an infinite or NaN number: it names the first example, layer or term."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lossary.training.layers import Array, Layer, Parameter
from lossary.training.steps import add_penalty
from lossary.training.task import Batch, Task


def explain_nonfinite(where: str, model: Layer, task: Task, batch: Batch, l2: float, rate: float) -> str:
    """Repeat a step that gave an infinite or NaN number, term by term, and describe where it first appeared.

    The parameters are still those of the beginning of the step, so every term can be computed again.
    """
    slower = f"Lower the learning rate (it was {rate:g})"

    def first(rows: Array) -> tuple[int, Any, str] | None:
        """Return the first example of the caller's data with a bad number, that number, and its column if any."""
        table = rows.reshape(len(batch.rows), -1)
        bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
        if not len(bad):
            return None
        at = bad[np.argmin(batch.rows[bad])]
        column = int(np.argmin(np.isfinite(table[at])))
        return int(batch.rows[at]), table[at, column], f" (column {column})" if table.shape[1] > 1 else ""

    if found := first(batch.X):
        example, number, column = found
        return (
            f"{where}: the input of example {example} is {number}{column}. Look at X[{example}]: fill in what is "
            "missing, or leave the row out with weight 0"
        )
    if found := first(batch.y):
        example, number, column = found
        return f"{where}: the target of example {example} is {number}{column}. Look at y[{example}]"

    outputs = batch.X
    layers: Sequence[Layer] = getattr(model, "layers", (model,))
    for depth, layer in enumerate(layers, 1):
        outputs = layer.predict(outputs)
        if found := first(outputs):
            example, number, column = found
            what = "prediction" if depth == len(layers) else "signal"
            burst = [p.name for p in layer.parameters if not np.isfinite(p.value).all()]
            cause = f", whose {burst[0]} the step before made infinite" if burst else ""
            return (
                f"{where}: the {what} for example {example} became {number}{column} in layer {depth}, {layer!r}{cause}"
                f". {slower}, scale the inputs to size about 1, and look at input row {example}"
            )

    name, prediction = task.loss.name, task.prediction(outputs, batch.y)
    values, grads = task.value_and_grad(outputs, batch, "none")
    if found := first(values):
        example, number, _ = found
        at = int(np.flatnonzero(batch.rows == example)[0])
        return (
            f"{where}: the data loss, {name}, of example {example} is {number}: its prediction is {prediction[at]} and "
            f"its target {batch.y[at]}. {slower}, and look at input row {example}"
        )
    if found := first(grads):
        example, number, column = found
        return (
            f"{where}: the gradient of the data loss, {name}, in the prediction of example {example} is "
            f"{number}{column}. {slower}, and look at input row {example}"
        )

    at = int(np.argmax(np.abs(grads.reshape(len(batch.rows), -1)).max(axis=1)))
    advice = f"{slower}, and look at input row {batch.rows[at]}, whose prediction, {prediction[at]}, is steepest"
    value, grad = task.value_and_grad(outputs, batch)
    if not math.isfinite(value):
        return (
            f"{where}: the data loss, {name}, of the whole batch is {value}; its largest is {values.max():g}. {advice}"
        )
    penalty = add_penalty(model.parameters, l2)
    if not math.isfinite(penalty):
        return f"{where}: the penalty, l2 = {l2:g} times half the squared weights, is {penalty}. {slower}, or l2"
    model.forward(batch.X)
    model.backward(grad)
    add_penalty(model.parameters, l2)
    owned = [(depth, layer, p) for depth, layer in enumerate(layers, 1) for p in layer.parameters]
    # The worst first, NaN as bad as infinity; of equals the layer nearest to the loss, where backward met it first.
    depth, layer, parameter = max(reversed(owned), key=lambda own: np.nan_to_num(_largest(own[2]), nan=math.inf))
    return (
        f"{where}: the gradient of the {parameter.name} of layer {depth}, {layer!r}, reaches {_largest(parameter):g}, "
        f"whose square, for the gradient's length, overflows. {advice}"
    )


def _largest(parameter: Parameter) -> float:
    """Return the largest size of an entry of the gradient; NaN if there is one."""
    return float(np.abs(parameter.grad).max())
