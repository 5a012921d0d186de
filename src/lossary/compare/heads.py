"""Output heads: how many outputs a loss needs, how it sees the targets, and how outputs become predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary import numerics
from lossary.backends.numpy import namespace as xp
from lossary.catalogue import Loss, get, names
from lossary.catalogue.links import Link
from lossary.compare import metrics
from lossary.compare.tables import Dataset, counted, series
from lossary.errors import DataError

Array = NDArray[Any]


@dataclass(frozen=True)
class Scale:
    """How training rescales a numeric target: ``(y - centre) / unit``."""

    centre: float = 0.0
    unit: float = 1.0


@dataclass(frozen=True)
class Head:
    """What the outputs of a model mean under a loss.

    `kind` is ``number`` (one output predicts a number), ``single`` (one output scores class 1 of two), ``row`` (one
    output per class) or ``labels`` (one output per label, of which several may be there). `convention` is the input
    convention of the loss and `link` its link, None for scores. `signed` targets are -1 and 1. `unit` says how numbers
    are rescaled: by their spread around the median, by their mean size with zero kept in place, or not at all.
    """

    kind: str
    outputs: int
    convention: str
    link: Link | None
    signed: bool = False
    unit: str = "spread"

    def scale(self, y: Array) -> Scale:
        """Return how the targets are rescaled, robust against outliers; classes are not."""
        if self.kind != "number" or self.unit == "one":
            return Scale()
        if self.unit == "size":
            return Scale(0.0, float(np.abs(y).mean()) or 1.0)
        centre = float(np.median(y))
        spread = 1.4826 * float(np.median(np.abs(y - centre))) or float(y.std())
        return Scale(centre, spread or 1.0)

    def encode(self, y: Array, scale: Scale) -> Array:
        """Return targets in the form that the loss takes."""
        if self.kind == "row":
            return y
        if self.kind in ("single", "labels"):
            return 2.0 * y - 1.0 if self.signed else y.astype(float)
        return np.asarray((y - scale.centre) / scale.unit)

    def params(self, loss: Loss, params: Mapping[str, Any], scale: Scale) -> dict[str, Any]:
        """Return the given parameters, those in the units of the target rescaled as the target is."""
        return {k: v / scale.unit if k in loss.target_units else v for k, v in params.items()}

    def native_probabilities(self, outputs: Array) -> Array | None:
        """Return the class probabilities that the loss itself defines; None for scores, which define none."""
        if self.link is None:
            return None
        if self.kind == "labels":
            return np.asarray(numerics.sigmoid(xp, outputs))
        return metrics.softmax(metrics.as_rows(outputs))

    def numbers(self, outputs: Array, scale: Scale) -> Array:
        """Return predictions in the units of the target."""
        assert self.link is not None
        with np.errstate(over="ignore"):
            return np.asarray(scale.centre + scale.unit * self.link.inverse(xp, outputs[:, 0]))


def head_for(loss: Loss | str, data: Dataset) -> Head:
    """Return how a loss is trained on a data set; raise `DataError` naming the losses that fit if it cannot be."""
    loss = get(loss)
    unknown = [a for a in loss.arguments[2:] if a not in _ARRAYS]
    if not unknown and data.categorical:
        if "binary" in loss.tasks and len(data.classes) == 2:
            return Head("single", 1, loss.input, loss.link, signed=loss.domain(loss.arguments[1]).values == (-1.0, 1.0))
        if "multiclass" in loss.tasks:
            return Head("row", len(data.classes), loss.input, loss.link)
    elif not unknown and data.task == "multilabel":
        if {"multilabel", "binary"} & set(loss.tasks):
            signed = loss.domain(loss.arguments[1]).values == (-1.0, 1.0)
            return Head("labels", len(data.classes), loss.input, loss.link, signed=signed)
    elif not unknown:
        if "regression" in loss.tasks:
            # A loss of the residual alone may see the targets centred; a relative one needs their zero where it is.
            return Head(
                "number", 1, loss.input, loss.link, unit="spread" if _depends_on_residual_only(loss) else "size"
            )
        if {"count", "positive"} & set(loss.tasks):
            outside = _outside(loss, data.y)
            if outside is None:
                whole = data.task == "count" or loss.domain(loss.arguments[1]).kind == "count"
                return Head("number", 1, loss.input, loss.link, unit="one" if whole else "size")
            allowed = loss.domain(loss.arguments[1])
            raise DataError(f"{loss.name} takes targets in {allowed}, but {data.target} holds {outside:g}")
    fitting = suitable(data)
    what = counted(len(data.classes), "class") if data.categorical else "numbers"
    what = "several labels per row" if data.task == "multilabel" else what
    own = f"is for {' or '.join(loss.tasks)} tasks" if loss.tasks else f"takes {', '.join(loss.arguments)}"
    as_numbers = _tasks_of_whole_numbers(data) & set(loss.tasks)
    other = f"; --task {sorted(as_numbers)[0]} takes {data.target} as numbers" if as_numbers else ""
    raise DataError(
        f"{loss.name} {own}, but {data.target} holds {what}; losses that fit: {series(fitting, 12) or 'none'}{other}"
    )


def _tasks_of_whole_numbers(data: Dataset) -> set[str]:
    """Return the tasks that a target would fit as numbers, if its classes are the whole numbers 0, 1, 2, ..."""
    whole = data.categorical and all(c.lstrip("-").isdigit() for c in data.classes)
    if not whole:
        return set()
    return {"regression"} if any(c.startswith("-") for c in data.classes) else {"count", "regression"}


def _depends_on_residual_only(loss: Loss) -> bool:
    pred, target = np.array([0.5, -1.25, 2.0, 3.5]), np.array([1.0, 0.75, -0.5, 3.0])
    return bool(np.allclose(loss(pred, target), loss(pred + 4, target + 4), rtol=1e-9))


def _outside(loss: Loss, y: Array) -> float | None:
    """Return a target that is outside the domain of a loss, if there is one."""
    allowed = loss.domain(loss.arguments[1])
    return next((float(v) for v in np.unique(y) if not allowed.contains(float(v))), None)


# Arrays beside prediction and target that a training fold can supply.
_ARRAYS: dict[str, Callable[[Array, Dataset], Array]] = {
    "class_counts": lambda y, data: np.bincount(y, minlength=len(data.classes)).astype(float),
}


def supplied(loss: Loss, y: Array, data: Dataset) -> dict[str, Any]:
    """Return the further arrays that a loss takes, computed from the labels of a training fold."""
    return {name: _ARRAYS[name](y, data) for name in loss.arguments[2:]}


def trainable(task: str) -> list[str]:
    """Return the names of the losses of a task that a model with one output per number or class can be trained with."""
    return [
        name
        for name in names(tasks=task)
        if "evaluation" not in get(name).properties and all(a in _ARRAYS for a in get(name).arguments[2:])
    ]


def suitable(data: Dataset) -> list[str]:
    """Return the names of the losses of the catalogue that can be trained on a data set with their defaults.

    Amounts with many zeros also get the losses for positive amounts whose domain includes 0.
    """
    found = trainable(data.task)
    if data.task == "multilabel":  # a loss of two classes, label by label
        found = trainable("binary") + found
    if data.zero_inflated and data.task == "regression":
        found += [name for name in trainable("positive") if _outside(get(name), data.y) is None]
    elif data.task == "positive":
        found = [name for name in found if _outside(get(name), data.y) is None]
    return list(dict.fromkeys(found))
