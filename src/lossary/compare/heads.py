"""Output heads: how many outputs a loss needs, how it sees the targets, and how outputs become predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.catalogue import Loss, get, names
from lossary.compare import metrics as scoring
from lossary.compare.tables import Dataset, series
from lossary.errors import DataError

Array = NDArray[Any]


@dataclass(frozen=True)
class Head:
    """What the network's outputs mean under a loss: how targets are told to it and predictions read from it."""

    kind: str
    outputs: int
    convention: str
    signed: bool = False
    unit: str = "spread"

    def encode(self, y: Array, centre: float, spread: float) -> Array:
        """Return targets as the loss wants them."""
        if self.kind == "row":
            return y
        if self.kind == "single":
            return 2.0 * y - 1.0 if self.signed else y.astype(float)
        return (y - centre) / spread

    def probabilities(self, outputs: Array, held: Array, labels: Array) -> Array:
        """Return probabilities of the classes; scores are calibrated on a validation part first."""
        if self.convention == "logit":
            return scoring.softmax(scoring.as_rows(outputs))
        scale, bias = scoring.temperature_and_bias(held, labels)
        return scoring.softmax(scoring.as_rows(outputs) * scale + bias)

    def numbers(self, outputs: Array, centre: float, spread: float) -> Array:
        """Return predictions in the units of the target."""
        out = outputs[:, 0]
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(out) * spread if self.convention == "log-rate" else centre + spread * out)

    def units(self, y: Array) -> tuple[float, float]:
        """Return the centre and the unit in which the loss sees the targets, robust against outliers."""
        if self.unit == "one":
            return 0.0, 1.0
        if self.unit == "size":
            return 0.0, float(np.abs(y).mean()) or 1.0
        centre = float(np.median(y))
        spread = 1.4826 * float(np.median(np.abs(y - centre))) or float(y.std())
        return centre, spread or 1.0

    def start(self, y: Array, spread: float) -> float:
        """Return the output at which a network that knows nothing begins: the middle of the targets."""
        if self.convention == "log-rate":
            return float(np.log(max(float(y.mean()), 1e-12) / spread))
        return float(np.median(y)) / spread if self.unit == "size" else 0.0


def head_for(loss: Loss | str, data: Dataset) -> Head:
    """Return how a loss is trained on a data set; raise `DataError` naming the losses that fit if it cannot be."""
    loss = get(loss)
    unknown = [a for a in loss.arguments[2:] if a not in _ARRAYS]
    if not unknown and data.categorical:
        if "binary" in loss.tasks and len(data.classes) == 2:
            return Head("single", 1, loss.input, signed=loss.domain(loss.arguments[1]).values == (-1.0, 1.0))
        if "multiclass" in loss.tasks:
            return Head("row", len(data.classes), loss.input)
    elif not unknown:
        if "regression" in loss.tasks:
            # A loss of the residual alone may see the targets centred; a relative one needs their zero where it is.
            return Head("number", 1, "real", unit="spread" if _of_the_residual(loss) else "size")
        if {"count", "positive"} & set(loss.tasks):
            allowed = loss.domain(loss.arguments[1])
            bad = next((v for v in data.y if not allowed.contains(float(v))), None)
            if bad is None:
                return Head("number", 1, "log-rate", unit="one" if allowed.kind == "count" else "size")
            raise DataError(f"{loss.name} takes targets in {allowed}, but {data.target} holds {bad:g}")
    fitting = suitable(data)
    what = f"{len(data.classes)} classes" if data.categorical else "numbers"
    own = f"is for {' or '.join(loss.tasks)} tasks" if loss.tasks else f"takes {', '.join(loss.arguments)}"
    raise DataError(
        f"{loss.name} {own}, but {data.target} holds {what}; losses that fit: {series(fitting, 12) or 'none'}"
    )


def _of_the_residual(loss: Loss) -> bool:
    """Whether moving prediction and target together leaves the loss as it is."""
    pred, target = np.array([0.5, -1.25, 2.0, 3.5]), np.array([1.0, 0.75, -0.5, 3.0])
    return bool(np.allclose(loss(pred, target), loss(pred + 4, target + 4), rtol=1e-9))


# Arrays beside prediction and target that a training fold can supply.
_ARRAYS: dict[str, Callable[[Array, Dataset], Array]] = {
    "class_counts": lambda y, data: np.bincount(y, minlength=len(data.classes)).astype(float),
}


def suitable(data: Dataset) -> list[str]:
    """Return the names of the losses of the catalogue that can be trained on a data set with their defaults."""
    return [
        name
        for name in names(tasks=data.task)
        if "evaluation" not in get(name).properties and all(a in _ARRAYS for a in get(name).arguments[2:])
    ]


def supplied(loss: Loss, y: Array, data: Dataset) -> dict[str, Any]:
    """Return the further arrays a loss takes, from the labels of a training fold."""
    return {name: _ARRAYS[name](y, data) for name in loss.arguments[2:]}
