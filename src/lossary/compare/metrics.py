"""How good predictions are, in numbers that do not depend on the loss that was trained.

Classes are judged by their decisions and by their probabilities, numbers by their distance in the units of the target.
The numbers themselves are scikit-learn's; what is here is which of them, what each is called, and the calibration.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary import numerics
from lossary.backends.numpy import namespace as xp
from lossary.errors import ParameterError, require, suggest

Array = NDArray[Any]

BINS = 15


@dataclass(frozen=True)
class Metric:
    """A number by which predictions are judged: its key, what it is called, and in which direction it is better."""

    key: str
    title: str
    higher: bool
    meaning: str
    of: Callable[[Array, Array, Array], float]
    probabilistic: bool = False
    in_units: bool = False

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is a better score than `other`."""
        return one > other if self.higher else one < other

    @property
    def words(self) -> str:
        """The title as it is said in a sentence, without abbreviations."""
        return self.key.replace("_", " ") if re.search(r"[a-z]\.", self.title) else self.title

    def show(self, value: float) -> str:
        """Write a score, or a difference of two.

        >>> metric("accuracy", True).show(0.97345), metric("mae", False).show(47.6193)
        ('0.973', '47.6')
        """
        if not self.in_units or not value:
            return f"{value:.3f}"
        return _rounded(value, 2 - math.floor(math.log10(abs(value))))

    def pair(self, mean: float, spread: float) -> tuple[str, str]:
        """Write a mean and its spread to the same decimals: those that the spread leaves meaning in.

        >>> metric("mae", False).pair(47.6193, 1.6688)
        ('47.6', '1.7')
        """
        if not self.in_units or not spread > 0:
            return self.show(mean), self.show(spread)
        decimals = 1 - math.floor(math.log10(spread))
        return _rounded(mean, decimals), _rounded(spread, decimals)


def _rounded(value: float, decimals: int) -> str:
    """Write a number to so many decimals; a negative count rounds to tens, hundreds, ...

    >>> _rounded(1223799.0, -4), _rounded(3.14159, 2)
    ('1,220,000', '3.14')
    """
    return f"{round(value, decimals):,.{max(0, decimals)}f}"


def _sk(name: str, **options: Any) -> Callable[[Array, Array], float]:
    def score(truth: Array, predicted: Array) -> float:
        return float(getattr(require("sklearn.metrics"), name)(truth, predicted, **options))

    return score


def _of_decisions(name: str, **options: Any) -> Callable[[Array, Array, Array], float]:
    score = _sk(name, **options)
    return lambda truth, decisions, probabilities: score(truth, decisions)


def _log_loss(truth: Array, decisions: Array, probabilities: Array) -> float:
    return float(require("sklearn.metrics").log_loss(truth, probabilities, labels=range(probabilities.shape[1])))


def calibration(truth: Array, probabilities: Array, bins: int = BINS) -> Array:
    """Return how sure and how right: for each bin of confidence its size, summed confidence and number of hits.

    The confidence is the probability of the class that is decided for. The result has shape ``(bins, 3)``.

    >>> calibration(np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]]), bins=2)[1].tolist()
    [2.0, 1.8, 1.0]
    """
    confidence = probabilities.max(axis=1)
    hits = probabilities.argmax(axis=1) == truth
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    return np.stack([np.bincount(at, w, bins) for w in (np.ones(len(truth)), confidence, hits)], axis=1)


def _calibration_error(truth: Array, decisions: Array, probabilities: Array) -> float:
    table = calibration(truth, probabilities)
    return float(np.abs(table[:, 1] - table[:, 2]).sum() / len(truth))


FOR_CLASSES = (
    Metric("accuracy", "accuracy", True, "share of rows decided rightly", _of_decisions("accuracy_score")),
    Metric(
        "balanced_accuracy",
        "balanced acc.",
        True,
        "mean over the classes of the share decided rightly",
        _of_decisions("balanced_accuracy_score"),
    ),
    Metric("log_loss", "log loss", False, "mean of -log of the probability given to the truth", _log_loss, True),
    Metric(
        "calibration_error",
        "calib. error",
        False,
        f"mean gap between confidence and accuracy in {BINS} bins of confidence",
        _calibration_error,
        True,
    ),
    Metric(
        "macro_f1",
        "macro F1",
        True,
        "mean over the classes of the harmonic mean of precision and recall",
        _of_decisions("f1_score", average="macro", zero_division=0),
    ),
)


def _numbers(name: str, **options: Any) -> Callable[[Array, Array, Array], float]:
    score = _sk(name, **options)
    return lambda truth, predicted, _: score(truth, predicted)


FOR_NUMBERS = (
    Metric("rmse", "RMSE", False, "root of the mean squared error", _numbers("root_mean_squared_error"), in_units=True),
    Metric("mae", "MAE", False, "mean absolute error", _numbers("mean_absolute_error"), in_units=True),
    Metric("r2", "R²", True, "share of the variance explained", _numbers("r2_score")),
    *(
        Metric(
            f"pinball_{q}",
            f"pinball {q}",
            False,
            f"pinball loss at {q}: {meaning}",
            _numbers("mean_pinball_loss", alpha=q),
            in_units=True,
        )
        for q, meaning in (
            (0.1, "a prediction too high costs nine times one too low"),
            (0.5, "half the MAE"),
            (0.9, "a prediction too low costs nine times one too high"),
        )
    ),
)


def metrics_for(categorical: bool) -> tuple[Metric, ...]:
    """Return the metrics for classes, or for numbers."""
    return FOR_CLASSES if categorical else FOR_NUMBERS


def metric(key: str, categorical: bool) -> Metric:
    """Return a metric by its key; raise `ParameterError` naming the ones that fit if there is none."""
    known = {m.key: m for m in metrics_for(categorical)}
    wanted = key.lower().replace("-", "_").replace(" ", "_")
    if wanted not in known:
        hint = suggest(wanted, known) or f": there are {', '.join(known)}"
        raise ParameterError(f'no metric "{key}" for {"classes" if categorical else "numbers"}{hint}')
    return known[wanted]


# --- from what a network says to decisions and probabilities ---------------------------------------------------------


def softmax(logits: Array) -> Array:
    """Return probabilities from rows of logits."""
    return np.asarray(numerics.log_softmax(xp, logits)[1])


def as_rows(outputs: Array) -> Array:
    """Return two logits for one: a binary logit z says the same as the row (0, z)."""
    return np.concatenate([np.zeros_like(outputs), outputs], axis=1) if outputs.shape[1] == 1 else outputs


def temperature_and_bias(scores: Array, labels: Array) -> tuple[float, Array]:
    """Return the scale and biases that make the likeliest logits of scores on a validation part.

    For one score per row this is Platt's scaling (a scale and an offset), for several it is temperature scaling (a
    scale and no offset). The scale is searched between e^-6 and e^6, in units of one over the spread of the scores.
    """
    rows = as_rows(scores)
    unit = float(scores.std()) or 1.0
    scales = np.exp(np.linspace(-6, 6, 121)) / unit
    if scores.shape[1] > 1:
        costs = [float(-numerics.target_log_probability(xp, rows * s, labels[:, None])[3].mean()) for s in scales]
        return float(scales[int(np.argmin(costs))]), np.zeros(rows.shape[1])
    platt = require("sklearn.linear_model").LogisticRegression(C=100.0)
    if len(np.unique(labels)) < 2:
        return 1.0, np.zeros(2)
    platt.fit(scores / unit, labels)
    return float(platt.coef_[0, 0]) / unit, np.array([0.0, float(platt.intercept_[0])])


def confusion(truth: Array, decisions: Array, classes: int) -> Array:
    """Return counts: a row for the true class, a column for the decision."""
    return np.bincount(truth * classes + decisions, minlength=classes * classes).reshape(classes, classes)


# --- certainty ------------------------------------------------------------------------------------------------------


def paired_interval(
    differences: Sequence[float], test_to_train: float, *, least: float = 0.0, level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a mean difference between two losses over repeated folds.

    The corrected resampled t-test of Nadeau and Bengio (2003, doi:10.1023/A:1024068626366): the training sets of the
    folds overlap, so the differences are not independent and their variance of the mean is taken as
    ``s^2 (1/J + n_test/n_train)`` for J runs rather than ``s^2 / J``. A single run gives no interval: it is infinite.
    A deviation s below `least` is chance, and taken as `least`: a few folds may well agree to the last row.

    >>> low, high = paired_interval([0.02, 0.03, 0.01, 0.02, 0.02], 0.25)
    >>> round(low, 4), round(high, 4)
    (0.0068, 0.0332)
    """
    runs = np.asarray(differences, dtype=float)
    if len(runs) < 2:
        return -np.inf, np.inf
    reach = float(require("scipy.stats").t.ppf((1 + level) / 2, len(runs) - 1))
    half = reach * max(least, float(runs.std(ddof=1))) * (1 / len(runs) + test_to_train) ** 0.5
    centre = float(runs.mean())
    return centre - half, centre + half
