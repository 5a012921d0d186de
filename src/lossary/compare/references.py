"""Reference predictors of a comparison: constants learned from the training targets, which never see a feature.

A loss whose model does not beat them has learned nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lossary.compare.metrics import Predictions, tune_threshold
from lossary.compare.tables import Array, Dataset


@dataclass(frozen=True)
class Reference:
    """A reference predictor: its label, and what it predicts in words."""

    label: str
    summary: str


_MAJORITY = Reference("majority class", "the most frequent class of the training rows, with the class shares")
_LABELS = Reference("frequent labels", "the labels that more than half of the training rows have")
_NUMBERS = {
    "mean": Reference("mean", "the mean of the training targets"),
    "median": Reference("median", "the median of the training targets"),
    "quantile 0.1": Reference("quantile 0.1", "the value that a tenth of the training targets stay below"),
    "quantile 0.9": Reference("quantile 0.9", "the value that nine tenths of the training targets stay below"),
}


def references(data: Dataset) -> list[Reference]:
    """Return the reference predictors for a data set."""
    if data.task == "multilabel":
        return [_LABELS]
    return [_MAJORITY] if data.categorical else list(_NUMBERS.values())


def predict(
    reference: Reference,
    data: Dataset,
    y: Array,
    y_valid: Array,
    y_test: Array,
    costs: tuple[float, float] | None,
    weight: Array | None = None,
    weight_valid: Array | None = None,
) -> Predictions:
    """Return what a reference predicts for held-out rows, from the targets (and sample weights) of a training fold."""
    n = len(y_test)
    if data.task == "multilabel":
        frequencies = np.tile(np.average(y, axis=0, weights=weight), (n, 1))
        return Predictions(y_test, (frequencies > 0.5).astype(np.int64), frequencies, frequencies)
    if not data.categorical:
        if reference.label == "mean":
            constant = float(np.average(y, weights=weight))
        else:
            share = {"median": 0.5, "quantile 0.1": 0.1, "quantile 0.9": 0.9}[reference.label]
            constant = _quantile(y, share, weight)
        return Predictions(y_test, np.full(n, constant), np.zeros((n, 0)))
    sizes = np.bincount(y, weight, minlength=len(data.classes)) + 1e-9
    shares = sizes / sizes.sum()
    probabilities = np.tile(shares, (n, 1))
    decisions = np.full(n, int(shares.argmax()))
    if data.task != "binary":
        return Predictions(y_test, decisions, probabilities, probabilities)
    positive = data.positive
    predicted = np.full(len(y_valid), shares[positive])
    flagged = shares[positive] >= tune_threshold(predicted, y_valid == positive, costs, weight_valid)
    tuned = np.full(n, positive if flagged else 1 - positive)
    return Predictions(y_test, decisions, probabilities, probabilities, tuned, positive)


def _quantile(y: Array, share: float, weight: Array | None) -> float:
    """Return the number that a share of the targets, or of their weight, stays below."""
    if weight is None:
        return float(np.quantile(y, share))
    return float(np.quantile(y, share, weights=weight, method="inverted_cdf"))
