"""Run a comparison: train the same model with each loss on the same folds and score held-out rows."""

from __future__ import annotations

import platform
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary._files import check_writable, save_text
from lossary._version import __version__
from lossary.catalogue import Loss, several
from lossary.compare import metrics as scoring
from lossary.compare.candidates import Candidate, distinct, read_loss
from lossary.compare.comparison import Comparison
from lossary.compare.folds import Scaling, Split, hold_out, sample, splits
from lossary.compare.heads import Head, head_for, suitable, supplied
from lossary.compare.metrics import metric, metrics_for
from lossary.compare.results import VALIDATION, Row, Settings, Table
from lossary.compare.stress import Stress
from lossary.compare.tables import BUNDLED, Dataset, load
from lossary.errors import ArgumentError, DataError, LossaryError, NonFiniteError, ParameterError, require, suggest
from lossary.training.loop import BACKENDS

_POINTS = 400  # points of a residual plot
_ENORMOUS = 1e100  # predictions beyond this size are treated as failed training

Array = NDArray[Any]


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
        **supplied(candidate.loss, fold.y, data),
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
    return distinct([read_loss(name) for name in found], data)


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
