"""The training loop: forward pass, loss, backward pass, optimiser step.

The three steps are in `steps` and, in PyTorch, in `torch`. `fit` does around them what a careful person does by hand:
it checks the data first, shuffles reproducibly, averages honestly, notices when the loss stops falling, and stops with
a useful sentence at the first infinite or NaN number.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from lossary.catalogue import Loss
from lossary.errors import ArgumentError, NonFiniteError, ParameterError, require, suggest
from lossary.training.diagnosis import explain_nonfinite
from lossary.training.history import Epoch, History
from lossary.training.layers import Array, Layer
from lossary.training.optimisers import Adam, Optimiser
from lossary.training.progress import progress_bar
from lossary.training.schedules import Schedule, constant
from lossary.training.steps import ByHand, Steps, add_penalty, gradient_norm
from lossary.training.task import Task, make_task

BACKENDS = ("numpy", "torch")


def fit(
    model: Layer,
    loss: Loss | str,
    X: Any,
    y: Any,
    *,
    weight: Any = None,
    epochs: int = 100,
    batch_size: int | None = 32,
    optimiser: Optimiser | None = None,
    schedule: Schedule | None = None,
    l2: float = 0.0,
    validation: tuple[Any, ...] | None = None,
    patience: int | None = None,
    seed: int | np.random.Generator = 0,
    progress: bool | Literal["auto"] = "auto",
    callback: Callable[[Epoch], Any] | None = None,
    backend: Literal["numpy", "torch"] = "numpy",
    **loss_params: Any,
) -> History:
    """Train a network in place to make a loss small, and return what happened.

    The objective is ``mean of the loss over a batch + l2 * sum of W^2 / 2``, batch after batch; the gradients are the
    hand-written ones of the loss and of the layers, or, on request, those of PyTorch.

    Parameters
    ----------
    model: a network from `lossary.training.mlp` or `Sequential`, or any `Layer`. Data are computed in the type of its
        parameters, so a float32 network trains in float32.
    loss: a loss of the catalogue, or its name, of one prediction and one target. A loss of single numbers with
        one-dimensional targets takes a network with one output, whose column is its prediction; a loss of rows
        takes a network with one output per class (or per coordinate).
    X, y: the examples, one per row, and a target for each.
    weight: numbers >= 0, one per example: the mean is ``sum(w * v) / sum(w)``. Examples of weight 0 are removed.
    epochs: how many passes over the data, at most.
    batch_size: examples per step; None takes them all, which is gradient descent without sampling.
    optimiser: `SGD` or `Adam`, or any `Optimiser`; ``Adam(lr=1e-3)`` by default.
    schedule: factor on the learning rate as a function of time in epochs, evaluated at the middle of each step.
    l2: how much `lossary.l2_penalty`, half the sum of the squares of all parameters but the biases, weighs; it adds
        ``l2 * W`` to the gradient of W, which is what PyTorch's SGD and Adam call weight_decay.
    validation: ``(X, y)`` or ``(X, y, weight)`` to measure the loss on after every epoch, without penalty.
    patience: stop when the validation loss (without `validation`, the training loss and penalty) has not fallen for so
        many epochs. With it, the parameters of the best epoch are put back at the end, however the training ended.
    seed: of the order of the examples; the same seed gives the same numbers to the last bit. NumPy's global
        random state is neither read nor changed.
    progress: True shows a progress bar (needs the app extra), ``"auto"`` only on a terminal, False never.
    callback: called with each `Epoch`; a true answer ends the training.
    backend: ``"numpy"``, or ``"torch"`` to have PyTorch train the same weights with autograd and ``torch.optim``: see
        `lossary.training.torch`. The numbers are the same to rounding.
    loss_params: parameters of the loss, and the arrays it takes beside prediction and target, such as `class_counts`.

    Raises `NonFiniteError` at the first infinite or NaN number, naming the batch, the example and the term it came
    from; the parameters are then those before that step. Raises `ShapeError`, `DataError`, `DomainError`,
    `ParameterError` or `ArgumentError` for what cannot be trained, before the first step; `DomainError` also later, if
    a prediction leaves the domain of a loss that does not take every number.

    >>> from lossary.training import SGD, fit, mlp
    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> line = mlp(1, (), 1)
    >>> history = fit(line, "mse", X, [1.0, 3.0, 5.0], epochs=200, batch_size=None, optimiser=SGD(lr=0.2))
    >>> line.predict(np.array([[10.0]])).round(6)                   # 2 * 10 + 1
    array([[21.]])
    >>> history.stopped, history.best.epoch > 100
    ('epochs', True)
    """
    task = make_task(model, loss, loss_params)
    data = task.read(model, X, y, weight)
    held_out = None if validation is None else task.read(model, *_split(validation), prefix="validation ")
    for name, count in (("epochs", epochs), ("batch_size", batch_size), ("patience", patience)):
        if count is not None and not (count >= 1 and count == int(count)):
            raise ParameterError(f"{name}: got {count!r}, expected a whole number >= 1")
    if not 0 <= l2 < math.inf:
        raise ParameterError(f"l2: got {l2!r}, expected a number in [0, inf)")
    size = len(data.rows) if batch_size is None else int(batch_size)
    batches = math.ceil(len(data.rows) / size)
    descent = optimiser or Adam()
    factor_at = schedule or constant()
    rng = np.random.default_rng(seed)

    parameters = list(model.parameters)
    steps = _steps(backend, model, task, descent, l2)
    rate = descent.lr
    records: list[Epoch] = []
    best: Epoch | None = None
    best_values: list[Array] = []
    stopped: Literal["epochs", "patience", "callback"] = "epochs"

    with progress_bar(progress, epochs) as show:
        for epoch in range(1, epochs + 1):
            began = time.perf_counter()
            # Sums and denominators are accumulated separately: the last batch may be smaller, weights may differ.
            loss_sum = weight_sum = penalty_sum = norm_sum = 0.0
            # No warning for an overflow: the loop checks for it and explains it.
            with np.errstate(all="ignore"):
                for number, batch in enumerate(data.cut(size, rng), 1):
                    value = steps.learn(batch)
                    penalty = add_penalty(parameters, l2)
                    norm = gradient_norm(parameters)
                    if not math.isfinite(value + penalty + norm):
                        where = f"epoch {epoch}, batch {number} of {batches}"
                        raise NonFiniteError(explain_nonfinite(where, model, task, batch, l2, rate))
                    rate = descent.lr * _factor(factor_at, epoch - 1 + (number - 0.5) / batches)
                    steps.step(rate)

                    loss_sum += value * batch.count
                    weight_sum += batch.count
                    penalty_sum += penalty
                    norm_sum += norm

                validated = None
                if held_out is not None:
                    validated = steps.measure(held_out)
                    if not math.isfinite(validated):
                        where = f"epoch {epoch}, validation"
                        raise NonFiniteError(explain_nonfinite(where, model, task, held_out, 0.0, rate))

            seconds = time.perf_counter() - began
            record = Epoch(
                epoch, loss_sum / weight_sum, penalty_sum / batches, validated, norm_sum / batches, rate, seconds
            )
            records.append(record)
            show(record)
            if best is None or record.watched < best.watched:
                best = record
                if patience is not None:
                    best_values = [parameter.value.copy() for parameter in parameters]
            if callback is not None and callback(record):
                stopped = "callback"
                break
            if patience is not None and epoch - best.epoch >= patience:
                stopped = "patience"
                break

    if patience is not None:
        for parameter, kept in zip(parameters, best_values, strict=True):
            parameter.value[...] = kept
    return History(tuple(records), stopped)


def evaluate(model: Layer, loss: Loss | str, X: Any, y: Any, *, weight: Any = None, **loss_params: Any) -> float:
    """Return the mean loss of a network on data, as `fit` measures it: without penalty.

    >>> from lossary.training import evaluate, mlp
    >>> model = mlp(2, (), 1)
    >>> evaluate(model, "squared_error", np.zeros((3, 2)), [1.0, 1.0, 4.0])
    6.0
    """
    task = make_task(model, loss, loss_params)
    data = task.read(model, X, y, weight)
    with np.errstate(all="ignore"):
        return float(task.value_and_grad(model.predict(data.X), data)[0])


def _steps(backend: str, model: Layer, task: Task, descent: Optimiser, l2: float) -> Steps:
    if backend not in BACKENDS:
        raise ParameterError(
            f"backend: got {backend!r}, expected one of {', '.join(BACKENDS)}{suggest(str(backend), BACKENDS)}"
        )
    if backend == "numpy":
        return ByHand(model, task, descent, l2)
    require("torch", "torch")
    from lossary.training.torch import Autograd

    return Autograd(model, task, descent, l2)


def _split(validation: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
        raise ArgumentError("validation: expected (X, y) or (X, y, weight), the examples that are held out")
    X, y, *weight = validation
    return X, y, weight[0] if weight else None


def _factor(schedule: Schedule, at: float) -> float:
    factor = schedule(at)
    if not 0 <= factor < math.inf:
        raise ParameterError(f"schedule: gave {factor!r} at time {at:g}, expected a factor in [0, inf)")
    return factor
