"""The training loop: forward to a loss, backward to gradients, one step downhill; again.

The heart of this file are the three numbered comments in `ByHand`. What stands around them, in `fit`, is what a careful
person does by hand: look at the data first, shuffle reproducibly, keep count honestly, notice when it stops improving,
and stop with a useful sentence at the first number that is not one.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np

from lossary import catalogue
from lossary.backends import registry as _dispatch
from lossary.backends.numpy import namespace as xp
from lossary.catalogue import Loss
from lossary.errors import (
    ArgumentError,
    DataError,
    MissingExtraError,
    NonFiniteError,
    ParameterError,
    ShapeError,
    require,
    suggest,
)
from lossary.evaluate import checks, reduction
from lossary.losses.penalty import l2_penalty
from lossary.training.layers import Array, Layer, Parameter
from lossary.training.optimisers import Adam, Optimiser
from lossary.training.schedules import Schedule, constant

BACKENDS = ("numpy", "torch")

# --- what is kept of a training -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Epoch:
    """One pass over the data.

    `loss` is the mean over all examples, each seen with the parameters of its own batch, so it lags behind the
    `validation` loss, which is taken at the end of the epoch (None without validation data). `penalty` is the mean over
    the batches of what `l2` adds, `gradient_norm` that of the Euclidean length of the whole gradient, penalty included.
    `learning_rate` is that of the last step. `seconds` is wall-clock time, validation included.
    """

    epoch: int
    loss: float
    penalty: float
    validation: float | None
    gradient_norm: float
    learning_rate: float
    seconds: float

    @property
    def watched(self) -> float:
        """The number that should fall: the validation loss if there is one, else what the steps minimise."""
        return self.loss + self.penalty if self.validation is None else self.validation


@dataclass(frozen=True)
class History:
    """The epochs of one training, and why it ended."""

    epochs: Sequence[Epoch]
    stopped: Literal["epochs", "patience", "callback"]

    @property
    def best(self) -> Epoch:
        """The epoch whose `watched` loss is lowest, the first of equals."""
        return min(self.epochs, key=lambda record: record.watched)

    def as_rows(self) -> list[dict[str, Any]]:
        """Return the epochs as dictionaries, ready for a data frame or a table."""
        return [asdict(record) for record in self.epochs]

    def __len__(self) -> int:
        return len(self.epochs)


# --- the data and the loss, made to fit each other ------------------------------------------------------------------


@dataclass(frozen=True)
class _Batch:
    """Examples that take a step together; `rows` says where they stand in the caller's data."""

    X: Array
    y: Array
    weight: Array | None
    rows: Array

    @property
    def count(self) -> float:
        """What the mean over these examples counts: their number, or the sum of their weights."""
        return float(len(self.rows)) if self.weight is None else float(self.weight.sum(dtype=np.float64))

    def cut(self, size: int, rng: np.random.Generator) -> Iterator[_Batch]:
        """Cut into batches of at most `size` in a fresh random order; a batch that is everything keeps its order."""
        if size >= len(self.rows):
            yield self
            return
        order = rng.permutation(len(self.rows))
        for start in range(0, len(order), size):
            at = order[start : start + size]
            weight = None if self.weight is None else self.weight[at]
            yield _Batch(self.X[at], self.y[at], weight, self.rows[at])


@dataclass(frozen=True)
class _Task:
    """A loss with its parameters, and how a network's table of outputs becomes the loss's prediction.

    The rule: if the loss takes one number as a prediction (its signature begins with ``()``, no core dimension) and the
    targets have one dimension, the network's only column is the prediction, ``(n, 1) -> (n,)``. In every other case the
    table is the prediction as it stands: a row of class scores or an embedding is a row, and targets that are a table
    are compared with it entry by entry.
    """

    loss: Loss
    others: tuple[Array, ...]  # what the loss takes beside prediction and target, the same for all examples
    params: dict[str, Any]

    @property
    def pointwise(self) -> bool:
        """Whether the loss takes one number as a prediction."""
        return not self.loss.coupling and not self.loss.signatures[0].inputs[0]

    def prediction(self, outputs: Array, y: Array) -> Array:
        """Return a network's outputs in the shape the loss takes."""
        return outputs[:, 0] if self.pointwise and y.ndim == 1 else outputs

    def value_and_grad(
        self, outputs: Array, batch: _Batch, reduction: reduction.Reduction = "mean"
    ) -> tuple[Any, Array]:
        """Return the loss of a batch and its gradient in the network's outputs."""
        arrays = (self.prediction(outputs, batch.y), batch.y, *self.others)
        value, grad = self.loss.value_and_grad(*arrays, weight=batch.weight, reduction=reduction, **self.params)
        return value, (grad[0] if isinstance(grad, tuple) else grad).reshape(outputs.shape)

    @np.errstate(all="ignore")  # what overflows here is found in the loop, and explained
    def read(self, model: Layer, X: Any, y: Any, weight: Any, prefix: str = "") -> _Batch:
        """Return a data set in the model's type, or say what is wrong; `prefix` is put before the arguments' names."""
        inputs, targets = _read_rows(f"{prefix}X", X), _read(f"{prefix}y", y)
        if targets.ndim == 0 or len(targets) != len(inputs):
            raise ShapeError(
                f"{prefix}X has {len(inputs)} rows but {prefix}y has shape {targets.shape}; expected one target per row"
            )
        dtype = model.parameters[0].value.dtype
        outputs = _width(model, inputs[:1].astype(dtype), f"{prefix}X")
        if self.pointwise and outputs != (targets.shape[1] if targets.ndim == 2 else 1):
            wanted = f"{targets.shape[1]} outputs" if targets.ndim == 2 else "one output"
            raise ShapeError(
                f"model: has {outputs} outputs per row, expected {wanted}: {self.loss.name} compares numbers one by "
                f"one, and {prefix}y has shape {targets.shape}"
            )
        # The loss's own checks of shapes and targets, now and over all the data rather than somewhere in an epoch.
        signatures = self.loss.coupling.signatures if self.loss.coupling else self.loss.signatures
        stand_in = self.prediction(np.broadcast_to(dtype.type(0), (len(inputs), outputs)), targets)
        alternative, _ = checks.shapes(self.loss, signatures, (stand_in, targets, *self.others))
        name = self.loss.arguments[1]
        domain = self.loss.domain(name, alternative)
        weights = reduction.coefficients(xp, (len(inputs),), dtype, weight)
        counts = np.ones(len(inputs), bool) if weights is None else weights > 0
        ignored = checks.parameters(self.loss, self.params).get("ignore_index")
        if ignored is not None and domain.kind == "index":
            counts &= targets != ignored
        checks.domain(xp, self.loss, name, domain, targets, counts, outputs)

        # Examples that count nothing take no part: whatever they hold, NaN included, never meets the others.
        rows = np.flatnonzero(counts)
        if not len(rows):
            raise DataError(f"{prefix}X: has no row that counts; there is nothing to learn from")
        if len(rows) < len(inputs):
            inputs, targets = inputs[rows], targets[rows]
            weights = None if weights is None else weights[rows]
        if weights is not None and self.pointwise and targets.ndim == 2:
            weights = weights[:, None]  # every entry of a row counts as much as the row
        if domain.kind != "index":
            targets = targets.astype(dtype, copy=False)
        return _Batch(inputs.astype(dtype, copy=False), targets, weights, rows)


def _read(name: str, x: Any) -> Array:
    """Return `x` as a NumPy array; this room knows no other."""
    if _dispatch.namespace(x) is not xp:
        raise ArgumentError(
            f"{name}: got a PyTorch tensor, but this network is NumPy's: pass {name}.detach().cpu().numpy()"
        )
    return xp.asarray(x, name)


def _read_rows(name: str, x: Any) -> Array:
    """Return `x` as a table of numbers, one example per row, or say why it is none."""
    table = _read(name, x)
    if table.ndim != 2:
        hint = f"; a single feature is {name}[:, None], a single example {name}[None, :]" if table.ndim == 1 else ""
        raise ShapeError(f"{name}: got shape {table.shape}, expected two dimensions (examples, features){hint}")
    if not len(table):
        raise DataError(f"{name}: has no rows; there is nothing to learn from")
    return table


def _width(model: Layer, row: Array, name: str) -> int:
    """Return how many outputs the model gives per row, by trying it on one."""
    try:
        outputs = model.predict(row)
    except ValueError as error:
        raise ShapeError(f"{name}: has {row.shape[1]} features per row, which do not fit {model!r}") from error
    if outputs.ndim != 2 or len(outputs) != 1:
        raise ShapeError(f"model: gave shape {outputs.shape} for one row, expected (1, outputs)")
    return int(outputs.shape[1])


def _trainable(model: Layer, loss: Loss | str, params: dict[str, Any]) -> _Task:
    """Return the task, or say why this loss cannot train a network."""
    record = catalogue.get(loss)
    first, *rest = record.arguments
    if not rest or first not in record.wrt or rest[0] in record.wrt:
        raise ArgumentError(
            f"loss: {record.name} takes the arrays {', '.join(record.arguments)}, differentiable in "
            f"{', '.join(record.wrt)}; expected a loss of a prediction and a target (see lossary.names(tasks=...))"
        )
    if not record.coupling and record.signatures[0].rank > 1:
        raise ArgumentError(
            f"loss: {record.name} has the signature {record.signature}, more than a row per example, and a network of "
            "rows gives one row; call it on arrays of that shape with lossary.value_and_grad"
        )
    if "evaluation" in record.properties:
        raise ArgumentError(
            f"loss: {record.name} is for evaluation: its gradient says nothing. Train with a smooth loss of the same "
            "task and report this one"
        )
    if not model.parameters:
        raise ArgumentError(f"model: {model!r} has no parameters; there is nothing to learn")
    others, own = [], dict(params)
    for name in rest[1:]:
        if name not in own:
            raise ArgumentError(f"loss: {record.name} also takes {name}: pass {name}=..., the same for all examples")
        other = _read(name, own.pop(name))
        core = record.signatures[0].inputs[record.arguments.index(name)]
        if other.ndim != len(core):
            raise ShapeError(
                f"{name}: got shape {other.shape}, expected ({', '.join(core)}), the same for all examples"
            )
        others.append(other.astype(model.parameters[0].value.dtype, copy=False) if other.dtype.kind == "f" else other)
    checks.parameters(record, own)
    return _Task(record, tuple(others), own)


# --- the three steps ------------------------------------------------------------------------------------------------


class Steps(Protocol):
    """What differs between a network that is derived by hand and one that a framework derives; `fit` does the rest."""

    def learn(self, batch: _Batch) -> float:
        """Return the mean loss of a batch, and leave in every parameter's `grad` how it would change with it."""
        ...

    def step(self, rate: float) -> None:
        """Move the parameters against the gradient of the latest batch, penalty included."""
        ...

    def measure(self, batch: _Batch) -> float:
        """Return the mean loss of examples that are not learned from."""
        ...


class ByHand:
    """The three steps in NumPy, with the gradients that are written down in the losses and in the layers."""

    def __init__(self, model: Layer, task: _Task, descent: Optimiser, l2: float) -> None:
        self._model, self._task, self._l2 = model, task, l2
        self._parameters = list(model.parameters)
        self._directions = descent.directions(self._parameters)

    def learn(self, batch: _Batch) -> float:
        """Go forward and backward."""
        # 1. Forward: from the inputs to predictions, and to one number that says how wrong they are.
        outputs = self._model.forward(batch.X)
        value, grad = self._task.value_and_grad(outputs, batch)

        # 2. Backward: the chain rule, from the loss's own gradient through the layers in reverse, leaves in every
        #    parameter's `grad` how the loss would change with it.
        self._model.backward(grad)
        return float(value)

    def step(self, rate: float) -> None:
        """Step downhill."""
        # 3. Step: against the gradient, downhill. W -= lr * grad
        for parameter, direction in zip(self._parameters, next(self._directions), strict=True):
            parameter.value -= rate * direction

    def measure(self, batch: _Batch) -> float:
        """Go forward only."""
        return float(self._task.value_and_grad(self._model.predict(batch.X), batch)[0])


def _steps(backend: str, model: Layer, task: _Task, descent: Optimiser, l2: float) -> Steps:
    if backend not in BACKENDS:
        raise ParameterError(
            f"backend: got {backend!r}, expected one of {', '.join(BACKENDS)}{suggest(str(backend), BACKENDS)}"
        )
    if backend == "numpy":
        return ByHand(model, task, descent, l2)
    require("torch", "torch")
    from lossary.training.torch import Autograd

    return Autograd(model, task, descent, l2)


# --- the loop -------------------------------------------------------------------------------------------------------


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

    What falls is ``mean of the loss over a batch + l2 * sum of W^2 / 2``, batch after batch; the gradients are the
    hand-written ones of the loss and of the layers, or, on request, those of PyTorch.

    Parameters
    ----------
    model: a network from `lossary.training.mlp` or `Sequential`, or any `Layer`. Data are computed in the type of its
        parameters, so a float32 network trains in float32.
    loss: a loss of the catalogue, or its name, of one prediction and one target. A loss of single numbers with
        one-dimensional targets takes a network with one output, whose column is its prediction; a loss of rows
        takes a network with one output per class (or per coordinate).
    X, y: the examples, one per row, and a target for each.
    weight: numbers >= 0, one per example: the mean is ``sum(w * v) / sum(w)``. Examples of weight 0 take no part.
    epochs: how many passes over the data, at most.
    batch_size: examples per step; None takes them all, and is then plain gradient descent.
    optimiser: `SGD` or `Adam`, or any `Optimiser`; ``Adam(lr=1e-3)`` if not said.
    schedule: factor on the learning rate as a function of time in epochs, asked at the middle of each step.
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
    task = _trainable(model, loss, loss_params)
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

    with _progress_bar(progress, epochs) as show:
        for epoch in range(1, epochs + 1):
            began = time.perf_counter()
            # Sums and what they are divided by travel separately: the last batch may be smaller, weights may differ.
            loss_sum = weight_sum = penalty_sum = norm_sum = 0.0
            # An overflow is not something to warn of here: it is looked for, and then explained.
            with np.errstate(all="ignore"):
                for number, batch in enumerate(data.cut(size, rng), 1):
                    value = steps.learn(batch)
                    penalty = _add_penalty(parameters, l2)
                    norm = _norm(parameters)
                    if not math.isfinite(value + penalty + norm):
                        where = f"epoch {epoch}, batch {number} of {batches}"
                        raise NonFiniteError(_diagnosis(where, model, task, batch, l2, rate))
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
                        raise NonFiniteError(_diagnosis(where, model, task, held_out, 0.0, rate))

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
    task = _trainable(model, loss, loss_params)
    data = task.read(model, X, y, weight)
    with np.errstate(all="ignore"):
        return float(task.value_and_grad(model.predict(data.X), data)[0])


def _split(validation: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    if not isinstance(validation, (tuple, list)) or len(validation) not in (2, 3):
        raise ArgumentError("validation: expected (X, y) or (X, y, weight), the examples that are held out")
    X, y, *weight = validation
    return X, y, weight[0] if weight else None


def _add_penalty(parameters: Sequence[Parameter], l2: float) -> float:
    """Add the gradient of `l2` times the L2 penalty to that of every parameter that decays; return its value."""
    total = 0.0
    if l2:
        for parameter in parameters:
            if parameter.decay:
                value, grad = l2_penalty.value_and_grad(parameter.value, reduction="sum")
                total += l2 * float(value)
                parameter.grad = parameter.grad + l2 * grad
    return total


def _norm(parameters: Sequence[Parameter]) -> float:
    """Return the Euclidean length of the gradient of all parameters together."""
    return math.sqrt(sum(float(np.vdot(parameter.grad, parameter.grad)) for parameter in parameters))


def _factor(schedule: Schedule, at: float) -> float:
    factor = schedule(at)
    if not 0 <= factor < math.inf:
        raise ParameterError(f"schedule: gave {factor!r} at time {at:g}, expected a factor in [0, inf)")
    return factor


# --- when a number is not one ---------------------------------------------------------------------------------------


def _diagnosis(where: str, model: Layer, task: _Task, batch: _Batch, l2: float, rate: float) -> str:
    """Go once more through a step that gave an infinite or NaN number, and say where it first appeared.

    The parameters are still those the step began with, so everything can be computed again, term by term.
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
    penalty = _add_penalty(model.parameters, l2)
    if not math.isfinite(penalty):
        return f"{where}: the penalty, l2 = {l2:g} times half the squared weights, is {penalty}. {slower}, or l2"
    model.forward(batch.X)
    model.backward(grad)
    _add_penalty(model.parameters, l2)
    owned = [(depth, layer, p) for depth, layer in enumerate(layers, 1) for p in layer.parameters]
    # The worst first, NaN as bad as infinity; of equals the layer nearest to the loss, where backward met it first.
    depth, layer, parameter = max(reversed(owned), key=lambda own: np.nan_to_num(_largest(own[2]), nan=math.inf))
    return (
        f"{where}: the gradient of the {parameter.name} of layer {depth}, {layer!r}, reaches {_largest(parameter):g}, "
        f"whose square, for the gradient's length, is no number. {advice}"
    )


def _largest(parameter: Parameter) -> float:
    """Return the largest size of an entry of the gradient; NaN if there is one."""
    return float(np.abs(parameter.grad).max())


# --- progress -------------------------------------------------------------------------------------------------------


@contextmanager
def _progress_bar(progress: bool | Literal["auto"], epochs: int) -> Iterator[Callable[[Epoch], None]]:
    """Give a function that shows an epoch; it does nothing unless there is a bar and someone to see it."""
    if progress not in (True, False, "auto"):
        raise ParameterError(f'progress: got {progress!r}, expected True, False or "auto"')
    if progress is False or (progress == "auto" and not sys.stderr.isatty()):
        yield lambda record: None
        return
    try:
        console, rich = require("rich.console"), require("rich.progress")
    except MissingExtraError:
        if progress is True:
            raise
        yield lambda record: None
        return
    columns = (rich.BarColumn(), rich.MofNCompleteColumn(), rich.TextColumn("{task.description}"))
    with rich.Progress(*columns, rich.TimeRemainingColumn(), console=console.Console(stderr=True)) as bar:
        line = bar.add_task("", total=epochs)

        def show(record: Epoch) -> None:
            validated = "" if record.validation is None else f", validation {record.validation:.4g}"
            bar.update(line, advance=1, description=f"loss {record.loss:.4g}{validated}")

        yield show
