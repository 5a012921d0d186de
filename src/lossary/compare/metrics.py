"""Metrics on held-out rows, the same for every loss: for classes, for two classes, for numbers; and paired intervals.

scikit-learn computes the numbers; this module says which of them, their names, how scores become probabilities, where
the decision threshold of two classes is, and how sure a difference of two losses is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lossary import numerics
from lossary.backends.numpy import namespace as xp
from lossary.errors import ParameterError, require, suggest

Array = NDArray[Any]

BINS = 15


class Score(Protocol):
    """A score of predictions: the rows enter with their sample weights, or alike without."""

    def __call__(self, truth: Array, decisions: Array, probabilities: Array, weight: Array | None = None) -> float:
        """Return the score of decisions, or of probabilities, against the truth."""


@dataclass(frozen=True)
class Metric:
    """A number by which predictions are judged.

    `view` says what of the `Predictions` it reads: the decisions (and probabilities on one scale for all losses), the
    decisions at the tuned threshold, or the probabilities that the loss itself defines.
    """

    key: str
    title: str
    higher: bool
    meaning: str
    of: Score
    probabilistic: bool = False
    in_units: bool = False
    view: Literal["decisions", "tuned", "native"] = "decisions"

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


def _of(reads: Literal["decisions", "probabilities", "positive"], name: str, **options: Any) -> Score:
    """Return a score of scikit-learn, of decisions, of all probabilities, or of those of the positive class."""

    def score(truth: Array, decisions: Array, probabilities: Array, weight: Array | None = None) -> float:
        predicted = probabilities[:, 1] if reads == "positive" else probabilities
        read = decisions if reads == "decisions" else predicted
        return float(getattr(require("sklearn.metrics"), name)(truth, read, sample_weight=weight, **options))

    return score


def _log_loss(truth: Array, decisions: Array, probabilities: Array, weight: Array | None = None) -> float:
    labels = range(probabilities.shape[1])
    return float(require("sklearn.metrics").log_loss(truth, probabilities, labels=labels, sample_weight=weight))


def calibration(truth: Array, probabilities: Array, bins: int = BINS, weight: Array | None = None) -> Array:
    """Return how sure and how right: for each bin of confidence its size, summed confidence and number of hits.

    The confidence is the probability of the class that is decided for. With sample weights the three are sums of
    weights. The result has shape ``(bins, 3)``.

    >>> calibration(np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]]), bins=2)[1].tolist()
    [2.0, 1.8, 1.0]
    """
    confidence = probabilities.max(axis=1)
    hits = probabilities.argmax(axis=1) == truth
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    rows = np.ones(len(truth)) if weight is None else weight
    return np.stack([np.bincount(at, rows * w, bins) for w in (1.0, confidence, hits)], axis=1)


def _calibration_error(truth: Array, decisions: Array, probabilities: Array, weight: Array | None = None) -> float:
    table = calibration(truth, probabilities, weight=weight)
    return float(np.abs(table[:, 1] - table[:, 2]).sum() / table[:, 0].sum())


_ACCURACY = Metric(
    "accuracy", "accuracy", True, "share of rows classified correctly", _of("decisions", "accuracy_score")
)
_BALANCED = Metric(
    "balanced_accuracy",
    "balanced acc.",
    True,
    "mean over the classes of the recall",
    _of("decisions", "balanced_accuracy_score"),
)
_PROBABILISTIC = (
    Metric(
        "log_loss",
        "log loss",
        False,
        "mean of -log of the probability given to the truth, after the same scaling on validation rows for every loss",
        _log_loss,
        True,
    ),
    Metric(
        "calibration_error",
        "calib. error",
        False,
        f"mean gap between confidence and accuracy in {BINS} bins of confidence, after the same scaling",
        _calibration_error,
        True,
    ),
    Metric(
        "log_loss_unscaled",
        "log loss unscaled",
        False,
        "the log loss of the probabilities that the loss itself defines; scores define none",
        _log_loss,
        True,
        view="native",
    ),
    Metric(
        "calibration_error_unscaled",
        "calib. error unscaled",
        False,
        "the calibration error of the probabilities that the loss itself defines; scores define none",
        _calibration_error,
        True,
        view="native",
    ),
)
_MACRO_F1 = Metric(
    "macro_f1",
    "macro F1",
    True,
    "mean over the classes of the harmonic mean of precision and recall",
    _of("decisions", "f1_score", average="macro", zero_division=0),
)

FOR_CLASSES = (_ACCURACY, _BALANCED, *_PROBABILISTIC, _MACRO_F1)

_TUNED = "at the threshold chosen on validation rows"
FOR_TWO_CLASSES = (
    Metric(
        "roc_auc",
        "ROC AUC",
        True,
        "chance that a positive row scores above a negative one",
        _of("positive", "roc_auc_score"),
    ),
    Metric(
        "average_precision",
        "avg. precision",
        True,
        "mean precision over all thresholds, weighted by the gain in recall; a constant has the share of positives",
        _of("positive", "average_precision_score"),
    ),
    Metric(
        "recall",
        "recall",
        True,
        f"share of the positive rows that are found, {_TUNED}",
        _of("decisions", "recall_score", zero_division=0),
        view="tuned",
    ),
    Metric(
        "precision",
        "precision",
        True,
        f"share of the rows classified as positive that are so, {_TUNED}",
        _of("decisions", "precision_score", zero_division=0),
        view="tuned",
    ),
    Metric(
        "f1",
        "F1",
        True,
        f"harmonic mean of precision and recall, {_TUNED}",
        _of("decisions", "f1_score", zero_division=0),
        view="tuned",
    ),
    Metric(
        "f1_at_half",
        "F1 at 0.5",
        True,
        "harmonic mean of precision and recall at a probability of 0.5",
        _of("decisions", "f1_score", zero_division=0),
    ),
    Metric(
        "recall_at_half",
        "recall at 0.5",
        True,
        "share of the positive rows that are found at a probability of 0.5",
        _of("decisions", "recall_score", zero_division=0),
    ),
    _ACCURACY,
    _BALANCED,
    *_PROBABILISTIC,
    _MACRO_F1,
)


def _label_log_loss(truth: Array, decisions: Array, probabilities: Array, weight: Array | None = None) -> float:
    rows = None if weight is None else np.repeat(weight, truth.shape[1])
    score = require("sklearn.metrics").log_loss
    return float(score(truth.ravel(), probabilities.ravel(), labels=[0, 1], sample_weight=rows))


FOR_LABELS = (
    Metric(
        "micro_f1",
        "micro F1",
        True,
        "harmonic mean of precision and recall over all labels together",
        _of("decisions", "f1_score", average="micro", zero_division=0),
    ),
    Metric(
        "macro_f1",
        "macro F1",
        True,
        "mean over the labels of the harmonic mean of precision and recall",
        _of("decisions", "f1_score", average="macro", zero_division=0),
    ),
    Metric("subset_accuracy", "all correct", True, "share of rows with every label correct", _ACCURACY.of),
    Metric("hamming_loss", "label errors", False, "share of labels that are wrong", _of("decisions", "hamming_loss")),
    Metric(
        "ranking_precision",
        "ranking prec.",
        True,
        "mean over the rows of the precision at each label that is there, when labels are ranked by probability",
        _of("probabilities", "label_ranking_average_precision_score"),
    ),
    replace(_PROBABILISTIC[0], of=_label_log_loss),
    replace(_PROBABILISTIC[2], of=_label_log_loss),
)


def _cost_metric(false_positive: float, false_negative: float) -> Metric:
    def mean_cost(truth: Array, decisions: Array, probabilities: Array, weight: Array | None = None) -> float:
        wrong = np.where(truth == 1, false_negative * (decisions == 0), false_positive * (decisions == 1))
        return float(np.average(wrong, weights=weight))

    return Metric(
        "cost",
        "cost",
        False,
        f"mean cost per row {_TUNED}: {false_positive:g} for a false positive, {false_negative:g} for a false negative",
        mean_cost,
        view="tuned",
    )


def parse_cost(text: str) -> tuple[float, float] | None:
    """Read the costs of a false positive and a false negative, ``"1:20"``; None for an empty text.

    >>> parse_cost("1:20")
    (1.0, 20.0)
    """
    if not text:
        return None
    try:
        costs = tuple(map(float, text.split(":")))
    except ValueError:
        costs = ()
    if len(costs) != 2 or not all(math.isfinite(c) and c > 0 for c in costs):
        raise ParameterError(
            f'cost: got "{text}", expected FALSE_POSITIVE:FALSE_NEGATIVE, two positive numbers such as 1:20'
        )
    return costs[0], costs[1]


FOR_NUMBERS = (
    Metric(
        "rmse",
        "RMSE",
        False,
        "root of the mean squared error",
        _of("decisions", "root_mean_squared_error"),
        in_units=True,
    ),
    Metric("mae", "MAE", False, "mean absolute error", _of("decisions", "mean_absolute_error"), in_units=True),
    Metric("r2", "R²", True, "share of the variance explained", _of("decisions", "r2_score")),
    *(
        Metric(
            f"pinball_{q}",
            f"pinball {q}",
            False,
            f"pinball loss at {q}: {meaning}",
            _of("decisions", "mean_pinball_loss", alpha=q),
            in_units=True,
        )
        for q, meaning in (
            (0.1, "a prediction too high costs nine times one too low"),
            (0.5, "half the MAE"),
            (0.9, "a prediction too low costs nine times one too high"),
        )
    ),
)


def metrics_for(task: str | bool, cost: str = "") -> tuple[Metric, ...]:
    """Return the metrics of a task; True stands for any number of classes, False for numbers.

    `cost` adds the mean cost of decisions on two classes, see `parse_cost`.
    """
    if task == "binary":
        costs = parse_cost(cost)
        return (_cost_metric(*costs), *FOR_TWO_CLASSES) if costs else FOR_TWO_CLASSES
    if task == "multilabel":
        return FOR_LABELS
    return FOR_CLASSES if task in (True, "multiclass") else FOR_NUMBERS


def metric(key: str, task: str | bool, cost: str = "") -> Metric:
    """Return a metric by its key; raise `ParameterError` naming the ones that fit if there is none."""
    known = {m.key: m for m in metrics_for(task, cost)}
    normalised = key.lower().replace("-", "_").replace(" ", "_")
    if normalised not in known:
        named = {"binary": "two classes", "multilabel": "several labels", "multiclass": "classes", True: "classes"}
        what = named.get(task, "numbers")
        hint = suggest(normalised, known) or f": there are {', '.join(known)}"
        raise ParameterError(f'no metric "{key}" for {what}{hint}')
    return known[normalised]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for held-out rows.

    For numbers `decisions` are the numbers. For classes they are class indices, `probabilities` come from the same
    scaling for every loss, and `native` are those that the loss itself defines, None for scores. For several labels per
    row all of them are tables. For two classes
    `tuned` are the decisions at a threshold chosen on validation rows, and `positive` is the index of the class that
    recall, precision and costs are about. `weight` are the sample weights of the rows, or None.
    """

    truth: Array
    decisions: Array
    probabilities: Array
    native: Array | None = None
    tuned: Array | None = None
    positive: int = 1
    weight: Array | None = None

    def scores(self, metrics: Sequence[Metric]) -> dict[str, float]:
        """Return the metrics that are defined for these predictions, by key."""
        flip = self.tuned is not None and self.positive == 0
        found = {}
        for m in metrics:
            decisions = self.tuned if m.view == "tuned" else self.decisions
            probabilities = self.native if m.view == "native" else self.probabilities
            if decisions is None or probabilities is None:
                continue
            truth = self.truth
            if flip:  # the positive class is index 1 for every metric
                truth, decisions, probabilities = 1 - truth, 1 - decisions, probabilities[:, ::-1]
            found[m.key] = m.of(truth, decisions, probabilities, self.weight)
        return found


# --- from outputs to decisions and probabilities ---------------------------------------------------------


def softmax(logits: Array) -> Array:
    """Return probabilities from rows of logits."""
    return np.asarray(numerics.log_softmax(xp, logits)[1])


def as_rows(outputs: Array) -> Array:
    """Return two logits for one: a binary logit z says the same as the row (0, z)."""
    return np.concatenate([np.zeros_like(outputs), outputs], axis=1) if outputs.shape[1] == 1 else outputs


def temperature_and_bias(scores: Array, labels: Array, weight: Array | None = None) -> tuple[float, Array]:
    """Return the scale and biases that make the likeliest logits of scores on validation rows.

    For one score per row this is Platt's scaling (a scale and an offset), for several it is temperature scaling (a
    scale and no offset). The scale is searched between e^-6 and e^6, in units of one over the spread of the scores. As
    in Platt 1999 the targets are smoothed, here by one example spread over all classes: else a few rows that are all
    classified correctly would ask for certainty. `weight` are the sample weights of the rows.
    """
    rows = as_rows(scores)
    n, classes = rows.shape
    spread = float(scores.std())
    unit = spread if spread > 1e-9 * float(np.abs(scores).max()) else 1.0  # scores that are all the same have no scale
    if len(np.unique(labels)) < 2:
        return 1.0, np.zeros(classes)
    smoothed = (np.eye(classes)[labels] * n + 1 / classes) / (n + 1)
    if weight is not None:
        smoothed = smoothed * weight[:, None]
    if scores.shape[1] > 1:
        scales = np.exp(np.linspace(-6, 6, 121)) / unit
        costs = [-float((smoothed * numerics.log_softmax(xp, rows * s)[0]).sum()) for s in scales]
        return float(scales[int(np.argmin(costs))]), np.zeros(classes)
    platt = require("sklearn.linear_model").LogisticRegression(C=100.0)
    both = np.concatenate([scores, scores]) / unit
    platt.fit(both, np.repeat([0, 1], n), sample_weight=smoothed.T.ravel())
    # A falling scale would reverse the order of the rows: metrics show that, scaling does not hide it.
    return max(float(platt.coef_[0, 0]), 1e-6) / unit, np.array([0.0, float(platt.intercept_[0])])


def tune_threshold(
    probabilities: Array, positive: Array, costs: tuple[float, float] | None = None, weight: Array | None = None
) -> float:
    """Return the threshold on the probability of the positive class with the best F1, or the lowest cost.

    `positive` marks the positive rows, `weight` are the sample weights of the rows. Of thresholds that are equally
    good, the one nearest to the optimum of exact probabilities is returned:
    ``false_positive / (false_positive + false_negative)`` for costs, 0.5 for F1.

    >>> tune_threshold(np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, False, True, True]))
    0.3
    """
    ideal = 0.5 if costs is None else costs[0] / sum(costs)
    order = np.argsort(-probabilities, kind="stable")
    rows = np.ones(len(order)) if weight is None else weight[order]
    ordered, hits = probabilities[order], rows * positive[order]
    distinct = np.append(ordered[1:] != ordered[:-1], True)  # a threshold never splits equal probabilities
    found = np.concatenate([[0.0], np.cumsum(hits)[distinct]])
    flagged = np.concatenate([[0.0], np.cumsum(rows)[distinct]])
    total = hits.sum()
    if costs is None:
        quality = 2 * found / np.where(flagged + total > 0, flagged + total, 1.0)
    else:
        quality = -(costs[0] * (flagged - found) + costs[1] * (total - found))
    # Every threshold in (low, high] gives the same decisions: the first interval flags no row, the last one all.
    high = np.concatenate([[np.inf], ordered[distinct]])
    low = np.append(high[1:], 0.0)
    nearest = np.clip(ideal, np.nextafter(low, np.inf), high)
    best = np.flatnonzero(quality >= quality.max() - 1e-12)
    return float(nearest[best[np.argmin(np.abs(nearest[best] - ideal))]])


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
