"""The data and the loss of a training run, checked against the network and against each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary import catalogue
from lossary.backends import registry
from lossary.backends.numpy import namespace as xp
from lossary.catalogue import Loss
from lossary.errors import ArgumentError, DataError, ShapeError
from lossary.evaluate import checks, reduction
from lossary.training.layers import Array, Layer


@dataclass(frozen=True)
class Batch:
    """The examples of one step; `rows` are their indices in the caller's data."""

    X: Array
    y: Array
    weight: Array | None
    rows: Array

    @property
    def count(self) -> float:
        """The denominator of the mean over these examples: their number, or the sum of their weights."""
        return float(len(self.rows)) if self.weight is None else float(self.weight.sum(dtype=np.float64))

    def cut(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield batches of at most `size` in a new random order; a batch of all examples keeps their order."""
        if size >= len(self.rows):
            yield self
            return
        order = rng.permutation(len(self.rows))
        for start in range(0, len(order), size):
            at = order[start : start + size]
            weight = None if self.weight is None else self.weight[at]
            yield Batch(self.X[at], self.y[at], weight, self.rows[at])


@dataclass(frozen=True)
class Task:
    """A loss with its parameters, which turns a network's table of outputs into the loss's prediction.

    The rule: if the loss takes one number as a prediction (its signature begins with ``()``, no core dimension) and the
    targets have one dimension, the network's only column is the prediction, ``(n, 1) -> (n,)``. In every other case the
    table is the prediction as it stands: a row of class scores or an embedding is a row, and targets that are a table
    are compared with it entry by entry.
    """

    loss: Loss
    others: tuple[Array, ...]  # the loss's arrays beside prediction and target, the same for all examples
    params: dict[str, Any]

    @property
    def pointwise(self) -> bool:
        """Whether the loss takes one number as a prediction."""
        return not self.loss.coupling and not self.loss.signatures[0].inputs[0]

    def prediction(self, outputs: Array, y: Array) -> Array:
        """Return a network's outputs in the shape the loss takes."""
        return outputs[:, 0] if self.pointwise and y.ndim == 1 else outputs

    def value_and_grad(
        self, outputs: Array, batch: Batch, reduction: reduction.Reduction = "mean"
    ) -> tuple[Any, Array]:
        """Return the loss of a batch and the gradient of the network's outputs."""
        arrays = (self.prediction(outputs, batch.y), batch.y, *self.others)
        value, grad = self.loss.value_and_grad(*arrays, weight=batch.weight, reduction=reduction, **self.params)
        return value, (grad[0] if isinstance(grad, tuple) else grad).reshape(outputs.shape)

    @np.errstate(all="ignore")  # the loop finds an overflow and explains it
    def read(self, model: Layer, X: Any, y: Any, weight: Any, prefix: str = "") -> Batch:
        """Return a data set in the model's dtype, or raise an error; `prefix` precedes the names of arguments in it."""
        inputs, targets = _read_rows(f"{prefix}X", X), _read(f"{prefix}y", y)
        if targets.ndim == 0 or len(targets) != len(inputs):
            raise ShapeError(
                f"{prefix}X has {len(inputs)} rows but {prefix}y has shape {targets.shape}; expected one target per row"
            )
        dtype = model.parameters[0].value.dtype
        outputs = _width(model, inputs[:1].astype(dtype), f"{prefix}X")
        if self.pointwise and outputs != (targets.shape[1] if targets.ndim == 2 else 1):
            expected = f"{targets.shape[1]} outputs" if targets.ndim == 2 else "one output"
            raise ShapeError(
                f"model: has {outputs} outputs per row, expected {expected}: {self.loss.name} compares numbers one by "
                f"one, and {prefix}y has shape {targets.shape}"
            )
        # The loss's own checks of shapes and targets, now and over all the data rather than somewhere in an epoch.
        signatures = self.loss.coupling.signatures if self.loss.coupling else self.loss.signatures
        stand_in = self.prediction(np.broadcast_to(dtype.type(0), (len(inputs), outputs)), targets)
        alternative, _ = checks.shapes(self.loss, signatures, (stand_in, targets, *self.others))
        name = self.loss.arguments[1]
        domain = self.loss.domain(name, alternative)
        weights = reduction.coefficients(xp, (len(inputs),), dtype, weight)
        kept = np.ones(len(inputs), bool) if weights is None else weights > 0
        ignored = checks.parameters(self.loss, self.params).get("ignore_index")
        if ignored is not None and domain.kind == "index":
            kept &= targets != ignored
        checks.domain(xp, self.loss, name, domain, targets, kept, outputs)

        # Examples of weight 0 are removed: whatever they hold, NaN included, never reaches the others.
        rows = np.flatnonzero(kept)
        if not len(rows):
            raise DataError(f"{prefix}X: has no row that counts; there is nothing to learn from")
        if len(rows) < len(inputs):
            inputs, targets = inputs[rows], targets[rows]
            weights = None if weights is None else weights[rows]
        if weights is not None and self.pointwise and targets.ndim == 2:
            weights = weights[:, None]  # every entry of a row has the weight of the row
        if domain.kind != "index":
            targets = targets.astype(dtype, copy=False)
        return Batch(inputs.astype(dtype, copy=False), targets, weights, rows)


def _read(name: str, x: Any) -> Array:
    """Return `x` as a NumPy array, the only kind that these layers take."""
    if registry.namespace(x) is not xp:
        raise ArgumentError(
            f"{name}: got a PyTorch tensor, but this network is NumPy's: pass {name}.detach().cpu().numpy()"
        )
    return xp.asarray(x, name)


def _read_rows(name: str, x: Any) -> Array:
    """Return `x` as a table of numbers, one example per row, or raise an error."""
    table = _read(name, x)
    if table.ndim != 2:
        hint = f"; a single feature is {name}[:, None], a single example {name}[None, :]" if table.ndim == 1 else ""
        raise ShapeError(f"{name}: got shape {table.shape}, expected two dimensions (examples, features){hint}")
    if not len(table):
        raise DataError(f"{name}: has no rows; there is nothing to learn from")
    return table


def _width(model: Layer, row: Array, name: str) -> int:
    """Return the number of outputs of the model per row, from its prediction for one."""
    try:
        outputs = model.predict(row)
    except ValueError as error:
        raise ShapeError(f"{name}: has {row.shape[1]} features per row, which do not fit {model!r}") from error
    if outputs.ndim != 2 or len(outputs) != 1:
        raise ShapeError(f"model: gave shape {outputs.shape} for one row, expected (1, outputs)")
    return int(outputs.shape[1])


def make_task(model: Layer, loss: Loss | str, params: dict[str, Any]) -> Task:
    """Return the task, or raise an error that says why this loss cannot train a network."""
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
    return Task(record, tuple(others), own)
