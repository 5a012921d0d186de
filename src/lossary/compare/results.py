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
    """How the comparison is run; the same for every loss."""

    model: str = "mlp:64,64"
    epochs: int = 60
    patience: int = 10
    folds: int = 5
    seeds: int = 2
    learning_rate: float = 0.003
    batch_size: int = 0
    l2: float = 0.0
    label_noise: float = 0.0
    outliers: float = 0.0
    imbalance: float = 1.0
    metric: str = ""
    rows: int = 20_000
    backend: str = "numpy"

    @property
    def stress(self) -> Stress:
        """What is done to the training targets."""
        return Stress(self.label_noise, self.outliers, self.imbalance)

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
    """One loss: its scores, one per run in the order of `Results.runs`, and how its training went.

    `error` says why there are none. `calibrated` is true where probabilities had to be fitted to scores. `clean` holds
    scores of the main metric without stress, for the runs of the first seed. `train` and `validation` are the losses by
    epoch of every run. `confusion`, `reliability` and `points` add up, or sample, the held-out predictions.
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
    """What is known of the data set that was learned from."""

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


@dataclass(frozen=True, repr=False)
class Results:
    """The results of a comparison: one `Row` per loss, best first by the main metric."""

    data: Table
    settings: Settings
    rows: list[Row]
    runs: list[list[int]]
    left_out: list[str]
    command: str
    versions: dict[str, str]
    seconds: float
    test_to_train: float

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics the losses were judged by, the main one first."""
        main = self.metric
        return (main, *(m for m in metrics_for(self.categorical) if m.key != main.key))

    @property
    def metric(self) -> Metric:
        """The main metric: the one the rows are sorted by."""
        return metric(self.settings.metric, self.categorical)

    @property
    def categorical(self) -> bool:
        """Whether classes were predicted."""
        return self.data.task in CLASS_TASKS

    @property
    def trained(self) -> list[Row]:
        """The losses that could be trained in every run."""
        return [row for row in self.rows if not row.error]

    def best_by(self, key: str) -> Row | None:
        """Return the row with the best mean of a metric."""
        found: Row | None = None
        for row in self.trained:
            if found is None or metric(key, self.categorical).better(row.mean(key), found.mean(key)):
                found = row
        return found

    def differences(self) -> list[Difference]:
        """Return how far each loss is behind the first by the main metric, in the order of the rows.

        Run by run, with an interval of 95 % for each loss: see `lossary.compare.metrics.paired_interval`.
        """
        key, sign = self.metric.key, 1.0 if self.metric.higher else -1.0
        if not self.trained:
            return []
        best, *others = self.trained
        # One row decided otherwise moves a share by this much: no fold knows it better.
        row = self.settings.folds / self.data.rows if self.categorical and not self.metric.probabilistic else 0.0
        found = []
        for other in others:
            paired = [sign * (b - o) for b, o in zip(best.scores[key], other.scores[key], strict=True)]
            low, high = paired_interval(paired, self.test_to_train, least=row)
            found.append(Difference(other.label, float(np.mean(paired)), low, high))
        return found
