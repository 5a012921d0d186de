"""Results of a comparison: settings, scores of each loss, differences between losses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossary.compare.metrics import Metric, metric, metrics_for, paired_interval
from lossary.compare.stress import Stress
from lossary.compare.tables import CLASS_TASKS
from lossary.errors import ParameterError

VALIDATION = 0.15  # share of a training fold that early stopping watches


@dataclass(frozen=True)
class Settings:
    """How the comparison is run; the same for every loss.

    None leaves a choice to the comparison: `epochs` and `patience` follow from the number of rows, `learning_rate` (of
    a network) and `l2` (of a linear model) are tuned per loss on validation rows.
    """

    model: str = "mlp:64,64"
    epochs: int | None = None
    patience: int | None = None
    folds: int = 5
    seeds: int = 2
    learning_rate: float | None = None
    batch_size: int = 0
    l2: float | None = None
    label_noise: float = 0.0
    outliers: float = 0.0
    imbalance: float = 1.0
    heavy_tails: float = 0.0
    metric: str = ""
    cost: str = ""
    rows: int = 20_000
    backend: str = "numpy"
    jobs: int = 1

    @property
    def stress(self) -> Stress:
        """What is done to the training targets."""
        return Stress(self.label_noise, self.outliers, self.imbalance, self.heavy_tails)

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers of the model; none for a linear one.

        >>> Settings(model="mlp:32,16").hidden, Settings(model="linear").hidden
        ((32, 16), ())
        """
        if self.model == "linear":
            return ()
        if not re.fullmatch(r"mlp:[1-9]\d*(,[1-9]\d*)*", self.model):
            raise ParameterError(f'model: got "{self.model}", expected linear, or mlp and its widths such as mlp:64,64')
        return tuple(int(w) for w in self.model.removeprefix("mlp:").split(","))


@dataclass(frozen=True)
class Row:
    """One loss, or one reference predictor: its scores, one per run in the order of `Results.runs`.

    `error` says why there are none. `calibrated` is true where the loss gives scores rather than probabilities. `clean`
    holds scores of the main metric without stress, one per run. `train` and `validation` are the losses by epoch of
    every run, and `unconverged` counts the runs that stopped at `limit` epochs while still improving. `tuned` holds the
    learning rate, or the L2 strength, of every run. `confusion`, `reliability` and `points` add up, or sample, the
    held-out predictions.
    """

    label: str
    name: str
    params: dict[str, Any]
    summary: str
    scores: dict[str, list[float]] = field(default_factory=dict)
    clean: list[float] = field(default_factory=list)
    calibrated: bool = False
    gradient_norm: float = 0.0
    seconds_per_epoch: float = 0.0
    epochs: float = 0.0
    limit: int = 0
    unconverged: int = 0
    tuned: list[float] = field(default_factory=list)
    train: list[list[float]] = field(default_factory=list)
    validation: list[list[float]] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)
    reliability: list[list[float]] = field(default_factory=list)
    points: list[list[float]] = field(default_factory=list)
    error: str = ""

    def mean(self, key: str) -> float:
        """Return the mean of a metric over the runs."""
        return float(np.mean(self.scores[key]))

    def spread(self, key: str) -> float:
        """Return the standard deviation of a metric over the runs."""
        return float(np.std(self.scores[key], ddof=1)) if len(self.scores[key]) > 1 else 0.0

    def written(self, m: Metric) -> tuple[str, str]:
        """Return the mean of a metric and its standard deviation as text; one run has no deviation: it is empty."""
        mean, spread = m.pair(self.mean(m.key), self.spread(m.key))
        return mean, spread if len(self.scores[m.key]) > 1 else ""


@dataclass(frozen=True)
class Difference:
    """How far a loss is behind the best one (positive = worse), with an interval; see `paired_interval`."""

    label: str
    behind: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0


@dataclass(frozen=True)
class Table:
    """Facts on the data set.

    `positive` is the index of the rarer of two classes, `warnings` are columns that alone determine the target, and
    `tests` is the number of rows of a test set that was given.
    """

    name: str
    rows: int
    columns: int
    features: list[str]
    target: str
    task: str
    decision: str
    classes: list[str]
    members: list[int]
    notes: list[str]
    positive: int = -1
    warnings: list[str] = field(default_factory=list)
    tests: int = 0


@dataclass(frozen=True, repr=False)
class Results:
    """The results of a comparison: one `Row` per loss, best first by the main metric, and one per reference."""

    data: Table
    settings: Settings
    rows: list[Row]
    runs: list[list[int]]
    left_out: list[str]
    command: str
    versions: dict[str, str]
    seconds: float
    test_to_train: float
    references: list[Row] = field(default_factory=list)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics the losses were judged by, the main one first."""
        main = self.metric
        return (main, *(m for m in self._known if m.key != main.key and self._scored(m.key)))

    @property
    def _known(self) -> tuple[Metric, ...]:
        return metrics_for(self.data.task, self.settings.cost)

    def _scored(self, key: str) -> bool:
        return not self.trained or any(key in row.scores for row in self.trained)

    @property
    def metric(self) -> Metric:
        """The main metric: the one the rows are sorted by."""
        return metric(self.settings.metric, self.data.task, self.settings.cost)

    @property
    def categorical(self) -> bool:
        """Whether classes were predicted."""
        return self.data.task in CLASS_TASKS

    @property
    def two_classes(self) -> bool:
        """Whether two classes were predicted, of which one is the positive one."""
        return self.data.task == "binary" and self.data.positive >= 0

    @property
    def trained(self) -> list[Row]:
        """The losses that could be trained in every run."""
        return [row for row in self.rows if not row.error]

    @property
    def unconverged(self) -> list[Row]:
        """The losses of which some runs stopped at the limit of epochs while still improving."""
        return [row for row in self.trained if row.unconverged]

    def best_by(self, key: str) -> Row | None:
        """Return the row with the best mean of a metric, of those that have it."""
        return self._best(self.trained, key)

    @property
    def beats_references(self) -> bool:
        """Whether some loss is better than every reference predictor by the main metric, and by more than chance."""
        best = self.best_reference
        return best is None or any(self.difference(row, best).certain for row in self.trained)

    @property
    def best_reference(self) -> Row | None:
        """The reference predictor that is best by the main metric."""
        return self.best_reference_by(self.metric.key)

    def best_reference_by(self, key: str) -> Row | None:
        """Return the reference predictor that is best by a metric."""
        return self._best(self.references, key)

    def _best(self, rows: list[Row], key: str) -> Row | None:
        (of,) = [m for m in self._known if m.key == key]
        found: Row | None = None
        for row in rows:
            if key in row.scores and (found is None or of.better(row.mean(key), found.mean(key))):
                found = row
        return found

    def differences(self) -> list[Difference]:
        """Return how far each loss is behind the first by the main metric, in the order of the rows.

        Run by run, with an interval of 95 % for each loss: see `lossary.compare.metrics.paired_interval`.
        """
        if not self.trained:
            return []
        best, *others = self.trained
        return [self.difference(best, other) for other in others]

    def difference(self, best: Row, other: Row, by: Metric | None = None) -> Difference:
        """Return how far `other` is behind `best` by a metric, the main one if none is given, with its interval."""
        of = by or self.metric
        key, sign = of.key, 1.0 if of.higher else -1.0
        # One row classified differently moves a share by this much: no fold knows it better.
        coarse = self.categorical and not of.probabilistic
        least = self.settings.folds / self.data.rows if coarse else 0.0
        paired = [sign * (b - o) for b, o in zip(best.scores[key], other.scores[key], strict=True)]
        if self.data.tests:  # runs on one test set vary with the seed of training alone: that says nothing of the rows
            low, high = -np.inf, np.inf
        else:
            low, high = paired_interval(paired, self.test_to_train, least=least)
        return Difference(other.label, float(np.mean(paired)), low, high)
