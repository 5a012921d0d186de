"""The same network, the same rows, the same seeds: only the loss differs. Which one is better, and how sure is that?

Every loss is trained on the same splits from the same initial weights with the same optimiser. What is compared are
scores on held-out rows that do not depend on the loss (`lossary.scoring`), and the difference of two losses is judged
pair by pair of runs, so that an easy fold is easy for both.
"""

from __future__ import annotations

import ast
import json
import platform
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.compare import metrics as scoring
from lossary._files import check_writable, save_text
from lossary._version import __version__
from lossary.catalogue import Loss, get, names, several
from lossary.compare.tables import BUNDLED, CLASS_TASKS, Dataset, Scaling, Split, Stress, hold_out, load, sample, splits
from lossary.errors import ArgumentError, DataError, LossaryError, NonFiniteError, ParameterError, require, suggest
from lossary.compare.metrics import Metric, metric, metrics_for
from lossary.text.layout import aligned
from lossary.training.loop import BACKENDS

Array = NDArray[Any]

_POINTS = 400  # points of a residual plot
_ENORMOUS = 1e100  # what lies beyond is no prediction, though it may be a number
VALIDATION = 0.15  # share of a training fold that early stopping watches


# --- what is asked --------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, eq=False)
class Candidate:
    """A loss with parameters, under the name it has in the comparison."""

    label: str
    loss: Loss
    params: Mapping[str, Any]


def read_loss(text: str | Loss) -> Candidate:
    """Read ``"huber"`` or ``"huber:delta=2"``; several parameters are separated by commas.

    Raises `UnknownLossError`, `ArgumentError` or `ParameterError` with the nearest name or the range.

    >>> read_loss("huber:delta=2").label
    'huber(delta=2)'
    """
    if not isinstance(text, str):
        found = get(text)
        return _candidate(found, dict(found.bound))
    name, _, rest = text.partition(":")
    params: dict[str, Any] = {}
    for piece in re.split(r",(?![^\[]*\])", rest) if rest else []:
        key, equals, value = piece.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ArgumentError(f'loss: cannot read "{text}"; write NAME or NAME:param=value,param=value')
        params[key.strip()] = _value(value.strip())
    return _candidate(get(name).bind(**params), params)


def _candidate(loss: Loss, params: dict[str, Any]) -> Candidate:
    # As short as tells it from every other number: two losses never share a label.
    short = {k: f"{v:g}" if isinstance(v, float) and float(f"{v:g}") == v else str(v) for k, v in params.items()}
    shown = ", ".join(f"{k}={v}" for k, v in short.items())
    return Candidate(f"{loss.name}({shown})" if shown else loss.name, loss, params)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text.lower(), text))
    except (ValueError, SyntaxError):
        return text


# --- how a loss meets a task -----------------------------------------------------------------------------------------


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
        f"{loss.name} {own}, but {data.target} holds {what}; losses that fit: {_series(fitting, 12) or 'none'}"
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


def _supplied(loss: Loss, y: Array, data: Dataset) -> dict[str, Any]:
    """Return the further arrays a loss takes, from the labels of a training fold."""
    return {name: _ARRAYS[name](y, data) for name in loss.arguments[2:]}


def _same_gradients(candidates: Sequence[Candidate], data: Dataset) -> tuple[list[Candidate], list[str]]:
    """Leave out losses that are a multiple of an earlier one: under Adam they would train alike."""
    rng = np.random.default_rng(0)
    kept: list[tuple[Candidate, Head, Array]] = []
    notes: list[str] = []
    rows = rng.permutation(len(data.y))[:64]
    for candidate in candidates:
        head = head_for(candidate.loss, data)
        y = head.encode(data.y[rows], *head.units(data.y))
        outputs = np.random.default_rng(1).normal(0, 2, (len(rows), head.outputs))
        prediction = outputs if head.kind == "row" else outputs[:, 0]
        try:
            grad = np.asarray(candidate.loss.grad(prediction, y, **_supplied(candidate.loss, data.y, data))).ravel()
        except LossaryError:  # training will say why, in this loss's own row
            grad = np.zeros(outputs.size)
        size = float(np.linalg.norm(grad))
        direction = grad / size if size else grad
        like = [(c, d) for c, h, d in kept if size and h.convention == head.convention and h.unit == head.unit]
        twin = next((c for c, d in like if np.abs(d - direction).max() < 1e-9), None)
        if twin is None:
            kept.append((candidate, head, direction))
        else:
            notes.append(f"{candidate.label}: a multiple of {twin.label}, which trains alike")
    return [c for c, _, _ in kept], notes


# --- one run --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Fold:
    """The rows of one run, standardised and disturbed; the same for every loss."""

    split: Split
    X: Array
    y: Array
    X_valid: Array
    y_valid: Array
    X_test: Array
    y_test: Array


def _fold(data: Dataset, split: Split, stress: Stress, incomplete: Array) -> _Fold:
    rng = np.random.default_rng([split.seed, split.fold])
    kept, y = stress.apply(data.y[split.train], data, rng)
    train = split.train[kept]
    fit, valid = hold_out(y, data.categorical, VALIDATION, rng)
    scaling = Scaling.of(data.X[train[fit]], incomplete)
    X = scaling(data.X[train])
    return _Fold(split, X[fit], y[fit], X[valid], y[valid], scaling(data.X[split.test]), data.y[split.test])


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What one training gave on the held-out rows."""

    scores: dict[str, float]
    history: Any
    truth: Array
    decisions: Array
    probabilities: Array


def _train(candidate: Candidate, head: Head, data: Dataset, fold: _Fold, settings: Settings) -> _Outcome:
    from lossary.training import Adam, fit, mlp

    centre, spread = (0.0, 1.0) if data.categorical else head.units(fold.y)
    model = mlp(fold.X.shape[1], settings.hidden, head.outputs, seed=fold.split.seed)
    if head.kind == "number":
        model.parameters[-1].value[:] = head.start(fold.y, spread)
    history = fit(
        model,
        candidate.loss,
        fold.X,
        head.encode(fold.y, centre, spread),
        epochs=settings.epochs,
        batch_size=settings.batch_size or min(256, max(16, len(fold.y) // 20)),
        optimiser=Adam(settings.learning_rate),
        l2=settings.l2,
        validation=(fold.X_valid, head.encode(fold.y_valid, centre, spread)),
        patience=settings.patience,
        seed=fold.split.seed,
        progress=False,
        backend=settings.backend,  # type: ignore[arg-type]  # one of BACKENDS: `_settings` has looked
        **_supplied(candidate.loss, fold.y, data),
    )
    with np.errstate(all="ignore"):
        outputs = model.predict(fold.X_test)
    _check_size(outputs, settings)
    if data.categorical:
        probabilities = head.probabilities(outputs, model.predict(fold.X_valid), fold.y_valid)
        decisions = scoring.as_rows(outputs).argmax(axis=1)
    else:
        decisions = head.numbers(outputs, centre, spread)
        probabilities = np.zeros((len(decisions), 0))
        _check_size(decisions, settings)
    scores = {m.key: m.of(fold.y_test, decisions, probabilities) for m in metrics_for(data.categorical)}
    return _Outcome(scores, history, fold.y_test, decisions, probabilities)


def _check_size(numbers: Array, settings: Settings) -> None:
    furthest = float(np.abs(numbers).max())
    if not furthest <= _ENORMOUS:
        raise NonFiniteError(
            f"the predictions of held-out rows reach {furthest:.3g}; lower the learning rate (it was "
            f"{settings.learning_rate:g})"
        )


# --- what comes out -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One loss: its scores, one per run in the order of `Comparison.runs`, and how its training went.

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
    """How far a loss is behind the best one (positive = worse), with an interval; see `scoring.paired_interval`."""

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
class Comparison:
    """The outcome: one `Row` per loss, best first by the main metric. Printing it shows a table and a verdict."""

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

        Run by run, with an interval of 95 % for each loss: see `lossary.scoring.paired_interval`.
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
            low, high = scoring.paired_interval(paired, self.test_to_train, least=row)
            found.append(Difference(other.label, float(np.mean(paired)), low, high))
        return found

    @property
    def verdict(self) -> str:
        """Say in a few sentences what the numbers say and how sure they are."""
        return " ".join(self.sentences)

    @property
    def sentences(self) -> list[str]:
        """The verdict, one sentence at a time."""
        return list(_verdict(self))

    def __repr__(self) -> str:
        return f"<comparison of {len(self.rows)} losses on {self.data.name}; print it for the table>"

    def __str__(self) -> str:
        titles, lines = table_cells(self)
        return "\n".join([*aligned([titles, *lines]), "", self.verdict])

    # -- as a file -----------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Return everything as JSON; `Comparison.from_json` reads it back."""
        derived = {"verdict": self.verdict, "differences_to_best": [_finite(asdict(d)) for d in self.differences()]}
        return json.dumps({"format": "lossary comparison 1", **asdict(self), **derived}, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Comparison:
        """Read what `to_json` wrote. Raises `DataError` for anything else."""
        try:
            held = json.loads(text)
            if held.pop("format") != "lossary comparison 1":
                raise KeyError("format")
            for derived in ("verdict", "differences_to_best"):
                held.pop(derived, None)
            held["data"] = Table(**held["data"])
            held["settings"] = Settings(**held["settings"])
            held["rows"] = [Row(**row) for row in held["rows"]]
            return cls(**held)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"this is not a comparison written by lossary: {error}") from error

    def to_html(self) -> str:
        """Return the report: one page that needs nothing else."""
        from lossary.report import render

        return render(self)

    def save(self, path: str | Path) -> None:
        """Write the report (``.html``) or the numbers (``.json``), whole or not at all."""
        save_text(path, self.to_json() if Path(path).suffix == ".json" else self.to_html())


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()}


def table_cells(result: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the cells of the table, as text."""
    stressed = any(row.clean for row in result.rows)
    titles = ["loss", *(f"{m.title} {'↑' if m.higher else '↓'}" for m in result.metrics)]
    titles += [f"{result.metric.title} clean"] * stressed + ["gradient", "ms/epoch", "epochs"]
    lines = []
    for row in result.rows:
        if row.error:
            lines.append([row.label, "failed", *[""] * (len(titles) - 2)])
            continue
        cells = [row.label]
        for m in result.metrics:
            dagger = "†" if row.calibrated and m.probabilistic else ""
            cells.append(" ±".join(m.pair(row.mean(m.key), row.spread(m.key))) + dagger)
        if stressed:
            cells.append(result.metric.pair(float(np.mean(row.clean)), row.spread(result.metric.key))[0])
        cells += [f"{row.gradient_norm:.3g}", f"{1e3 * row.seconds_per_epoch:.1f}", f"{row.epochs:.0f}"]
        lines.append(cells)
    return titles, lines


def _verdict(result: Comparison) -> Iterator[str]:
    m, data = result.metric, result.data
    if not result.trained:
        yield f"No loss could be trained on {data.name}."
        return
    best = result.trained[0]
    stress = result.settings.stress.describe()
    under = f", with {stress}" if stress else ""
    score, spread = m.pair(best.mean(m.key), best.spread(m.key))
    reached = "has the best" if result.trained[1:] else "reaches this"
    yield (
        f"On {data.name} ({data.rows:,} rows){under}, {best.label} {reached} {m.words}: {score} ± {spread} "
        f"(mean and standard deviation of {len(result.runs)} held-out folds)."
    )
    differences = result.differences()
    behind, alike = [d for d in differences if d.certain], [d for d in differences if not d.certain]
    if behind:
        near = behind[0]
        gap, low, high = (m.show(v) for v in (near.behind, near.low, near.high))
        yield f"It is ahead of {near.label} by {gap} (95 % interval {low} to {high})" + (
            f", and beyond chance also of {_series([d.label for d in behind[1:]])}." if behind[1:] else "."
        )
    if alike:
        reach = max(d.high for d in alike)
        worse = f": the true gap may be anything up to {m.show(reach)}" if np.isfinite(reach) else ""
        yield (
            f"These runs cannot tell it from {_series([d.label for d in alike])}{worse}."
            + (" More --seeds would narrow this." if not behind else "")
        )
    lost = [(_lost(row, m), row.label) for row in result.trained if row.clean]
    if len(lost) > 1:
        (least, sturdy), (most, frail) = min(lost), max(lost)
        yield (
            f"Against the same training on undisturbed data, {sturdy} {_change(least, m)} and {frail} "
            f"{_change(most, m)}."
        )
    groups: dict[str, list[str]] = {}
    for other in result.metrics[1:]:
        first = result.best_by(other.key)
        if first is not None and first is not best:
            groups.setdefault(first.label, []).append(other.words)
    if groups:
        others = "; ".join(f"{label} by {_series(titles)}" for label, titles in groups.items())
        yield f"Other measures put others first: {others}."
    if failed := [row.label for row in result.rows if row.error]:
        yield f"{_series(failed)} could not be trained."


def _change(lost: float, m: Metric) -> str:
    return f"is {'worse' if lost > 0 else 'better'} by {m.show(abs(lost))}" if lost else "is as good"


def _lost(row: Row, m: Metric) -> float:
    """Return how much worse the main metric is than without stress, on the runs both were done for."""
    disturbed, clean = np.mean(row.scores[m.key][: len(row.clean)]), np.mean(row.clean)
    return float(clean - disturbed if m.higher else disturbed - clean)


def _series(words: Sequence[str], limit: int = 6) -> str:
    shown = list(words[:limit])
    if len(words) > limit:
        shown.append(f"{len(words) - limit} more")
    return "".join(shown) if len(shown) < 2 else f"{', '.join(shown[:-1])} and {shown[-1]}"


# --- the comparison -------------------------------------------------------------------------------------------------


def compare(
    data: Any,
    losses: str | Loss | Sequence[str | Loss] = (),
    *,
    target: str | None = None,
    task: str = "auto",
    json: str | Path | None = None,
    report: str | Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    **settings: Any,
) -> Comparison:
    """Train the same model with different losses and compare what comes out on held-out rows.

    Parameters
    ----------
    data: what `lossary.data.load` reads: the name of a bundled set, a CSV or Parquet file, a data frame, ``(X, y)``.
    losses: names, ``"name:param=value"``, or losses with bound parameters; all that suit the task if empty.
    target, task: see `lossary.data.load`.
    json, report: files to write the numbers and the report to; checked before anything is trained.
    progress: called with runs done, runs in all, and what is running.
    settings: fields of `Settings`: model, epochs, patience, folds, seeds, learning_rate, batch_size (0 chooses by the
        number of rows), l2, label_noise, outliers, imbalance, metric, rows (how many are used at most; 0 for all),
        backend ("numpy", or "torch" to train the same networks with PyTorch: the numbers agree to rounding).

    A loss whose training fails is a row that says so. Raises `DataError`, `UnknownLossError`, `ParameterError` or
    `ArgumentError` for what cannot be compared, before the first training.

    >>> result = compare("iris", ["softmax_cross_entropy"], model="linear", epochs=3, folds=2, seeds=1)
    >>> [row.label for row in result.rows], len(result.rows[0].scores["accuracy"])
    (['softmax_cross_entropy'], 2)
    """
    began = time.perf_counter()
    losses = several(losses)
    _check_paths(data, json, report)
    chosen = _settings(settings)
    versions = {"lossary": __version__, "numpy": np.__version__, "python": platform.python_version()}
    if chosen.backend == "torch":
        versions["torch"] = str(require("torch", "torch").__version__)
    table = sample(load(data, target, task), chosen.rows)
    stress = chosen.stress
    stress.check(table)
    chosen = replace(chosen, metric=metric(chosen.metric or _main_metric(table, stress), table.categorical).key)
    candidates, left_out = _candidates(losses, table)
    heads = [head_for(c.loss, table) for c in candidates]
    planned = splits(table, chosen.folds, chosen.seeds)
    incomplete = np.asarray(np.isnan(table.X).any(axis=0))

    # Without the stress, too, for the first seed: what a loss lost is what tells whether it survives.
    plan = [(split, stress) for split in planned] + [(s, Stress()) for s in planned if stress and not s.seed]
    collected: list[list[_Outcome]] = [[] for _ in candidates]
    errors: dict[int, str] = {}
    done, total = 0, len(plan) * len(candidates)
    # One thread: faster for matrices this small, and the same numbers on any machine.
    with require("threadpoolctl").threadpool_limits(1):
        for split, disturbed in plan:
            fold = _fold(table, split, disturbed, incomplete)
            for i, candidate in enumerate(candidates):
                where = f"seed {split.seed}, fold {split.fold + 1}" + (", clean" if stress and not disturbed else "")
                if progress is not None:
                    progress(done, total, f"{candidate.label}: {where}")
                done += 1
                if i in errors:
                    continue
                try:
                    collected[i].append(_train(candidate, heads[i], table, fold, chosen))
                except LossaryError as error:
                    errors[i] = f"{where}: {error}"
    if progress is not None:
        progress(total, total, "")

    rows = [
        _row(c, table, chosen, len(planned), collected[i], errors.get(i, ""), heads[i])
        for i, c in enumerate(candidates)
    ]
    sign = -1 if metric(chosen.metric, table.categorical).higher else 1
    rows.sort(key=lambda row: (bool(row.error), 0.0 if row.error else sign * row.mean(chosen.metric)))
    result = Comparison(
        data=_table(table),
        settings=chosen,
        rows=rows,
        runs=[[s.seed, s.fold] for s in planned],
        left_out=left_out,
        command=_command(data, losses, target, task, settings),
        versions=versions,
        seconds=time.perf_counter() - began,
        test_to_train=float(np.mean([len(s.test) / len(s.train) for s in planned])),
    )
    for path, text in ((json, result.to_json), (report, result.to_html)):
        if path is not None:
            save_text(path, text())
    return result


def _check_paths(data: Any, *paths: str | Path | None) -> None:
    """Refuse files that cannot be written, or that would take the place of another."""
    taken = {Path(data).resolve()} if isinstance(data, (str, Path)) else set()
    for path in paths:
        if path is not None:
            check_writable(path)
            if Path(path).resolve() in taken:
                raise ParameterError(f"{path} is used twice; give the data, the report and the numbers a file each")
            taken.add(Path(path).resolve())


def _settings(given: Mapping[str, Any]) -> Settings:
    known = list(Settings.__dataclass_fields__)
    for name in given:
        if name not in known:
            raise ArgumentError(f'compare: no setting "{name}"{suggest(name, known) or ": it has " + ", ".join(known)}')
    chosen = Settings(**given)
    for name, least in (("epochs", 1), ("patience", 1), ("batch_size", 0), ("rows", 0)):
        if getattr(chosen, name) < least:
            raise ParameterError(f"{name}: got {getattr(chosen, name)}, expected {least} or more")
    if chosen.backend not in BACKENDS:
        hint = suggest(chosen.backend, BACKENDS)
        raise ParameterError(f'backend: got "{chosen.backend}", expected one of {", ".join(BACKENDS)}{hint}')
    if not 0 < chosen.learning_rate < np.inf:
        raise ParameterError(f"learning_rate: got {chosen.learning_rate:g}, expected a number in (0, inf)")
    if not 0 <= chosen.l2 < np.inf:
        raise ParameterError(f"l2: got {chosen.l2:g}, expected a number in [0, inf)")
    _ = chosen.hidden
    return chosen


def _command(data: Any, losses: Sequence[str | Loss], target: str | None, task: str, given: Mapping[str, Any]) -> str:
    """Return the command line that does the same, with the name of a file but not its place; "" for data in memory."""
    if not isinstance(data, (str, Path)):
        return ""
    words = ["lossary", "compare", str(data) if str(data) in BUNDLED else Path(data).name]
    words += ["--target", target] if target is not None else []
    words += ["--task", task] if task != "auto" else []
    for text in losses:
        if isinstance(text, Loss):
            params = ",".join(f"{k}={v}" for k, v in text.bound.items())
            text = f"{text.name}:{params}" if params else text.name
        words += ["--loss", text]
    for name, value in given.items():
        if value != Settings.__dataclass_fields__[name].default:
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def _main_metric(data: Dataset, stress: Stress) -> str:
    """Return the metric to sort by: the balanced accuracy where one class could win alone, as it then would."""
    if not data.categorical:
        return "rmse"
    members = np.bincount(data.y)
    return "balanced_accuracy" if stress.imbalance > 1 or members.max() > 3 * members.min() else "accuracy"


def _candidates(losses: Sequence[str | Loss], data: Dataset) -> tuple[list[Candidate], list[str]]:
    if losses:
        asked = {c.label: c for c in map(read_loss, losses)}
        return list(asked.values()), []
    found = suitable(data)
    if not found:
        raise DataError(f"the catalogue has no loss for the task {data.task}; try another --task")
    return _same_gradients([read_loss(name) for name in found], data)


def _table(data: Dataset) -> Table:
    return Table(
        name=data.name,
        rows=len(data.y),
        columns=data.X.shape[1],
        features=list(data.features),
        target=data.target,
        task=data.task,
        decision=data.decision,
        classes=list(data.classes),
        members=np.bincount(data.y, minlength=len(data.classes)).tolist() if data.categorical else [],
        notes=list(data.notes),
    )


def _row(
    candidate: Candidate, data: Dataset, settings: Settings, runs: int, outcomes: list[_Outcome], error: str, head: Head
) -> Row:
    """Gather the runs of one loss; those after the first `runs` were on clean data."""
    empty = Row(candidate.label, candidate.loss.name, dict(candidate.params), candidate.loss.summary, error=error)
    if error:
        return empty
    own, clean = outcomes[:runs], outcomes[runs:]
    epochs = [e for o in own for e in o.history.epochs]
    row = replace(
        empty,
        scores={m.key: [o.scores[m.key] for o in own] for m in metrics_for(data.categorical)},
        clean=[o.scores[settings.metric] for o in clean],
        calibrated=head.convention == "score" and data.categorical,
        gradient_norm=float(np.mean([e.gradient_norm for e in epochs])),
        seconds_per_epoch=float(np.mean([e.seconds for e in epochs])),
        epochs=float(np.mean([len(o.history) for o in own])),
        train=[[e.loss for e in o.history.epochs] for o in own],
        validation=[[e.validation for e in o.history.epochs] for o in own],
    )
    truth = np.concatenate([o.truth for o in own])
    decisions = np.concatenate([o.decisions for o in own])
    if not data.categorical:
        shown = np.random.default_rng(0).permutation(len(truth))[:_POINTS]
        return replace(row, points=[[float(truth[i]), float(decisions[i])] for i in shown])
    probabilities = np.concatenate([o.probabilities for o in own])
    return replace(
        row,
        confusion=scoring.confusion(truth, decisions, len(data.classes)).tolist(),
        reliability=scoring.calibration(truth, probabilities).tolist(),
    )
