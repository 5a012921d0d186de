"""Run a comparison: train the same model with each loss on the same folds and score held-out rows."""

from __future__ import annotations

import os
import platform
import shlex
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary._version import __version__
from lossary.catalogue import Loss, several
from lossary.compare import metrics as scoring
from lossary.compare import models, outputs, references
from lossary.compare.candidates import Candidate, candidates
from lossary.compare.comparison import Comparison
from lossary.compare.folds import Scaling, Split, hold_out, sample, splits
from lossary.compare.heads import Head, head_for, supplied
from lossary.compare.metrics import Predictions, metric, metrics_for, parse_cost, temperature_and_bias, tune_threshold
from lossary.compare.results import VALIDATION, Row, Settings, Table
from lossary.compare.stress import Stress
from lossary.compare.tables import BUNDLED, Dataset, load
from lossary.errors import ArgumentError, LossaryError, NonFiniteError, ParameterError, require, suggest
from lossary.text.phrases import Lang
from lossary.training.loop import BACKENDS

_POINTS = 400  # points of a residual plot
_ENORMOUS = 1e100  # predictions beyond this size are treated as failed training

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Fold:
    """The rows of one run, standardised and disturbed; the same for every loss."""

    split: Split
    X: Array
    y: Array
    X_valid: Array
    y_valid: Array
    X_test: Array
    y_test: Array
    weight: Array | None = None
    weight_valid: Array | None = None
    weight_test: Array | None = None

    @classmethod
    def of(cls, data: Dataset, split: Split, stress: Stress, incomplete: Array) -> Fold:
        """Cut a split into the rows to fit, the validation rows and the held-out rows; only the last stay clean."""
        rng = np.random.default_rng([split.seed, split.fold])
        kept, y = stress.apply(data.y[split.train], data, rng)
        train = split.train[kept]
        fit, valid = hold_out(y, data.categorical, VALIDATION, rng, data.groups_of(train), data.ordered)
        scaling = Scaling.of(data.X[train[fit]], incomplete)
        X = scaling(data.X[train])
        weight = None if data.weights is None else data.weights[train]
        return cls(
            split,
            X[fit],
            y[fit],
            X[valid],
            y[valid],
            scaling(data.X[split.test]),
            data.y[split.test],
            None if weight is None else weight[fit],
            None if weight is None else weight[valid],
            None if data.weights is None else data.weights[split.test],
        )


@dataclass(frozen=True, eq=False)
class _Outcome:
    """One training: the predictions for the held-out rows with their scores, and how it went."""

    scores: dict[str, float]
    predictions: Predictions
    trained: models.Trained | None = None


def _problem(candidate: Candidate, head: Head, data: Dataset, fold: Fold) -> models.TrainingProblem:
    scale = head.scale(fold.y)
    encoded, params = head.encode(fold.y, scale), head.params(candidate.loss, candidate.params, scale)
    # A model of numbers starts at the best constant; classes start undecided.
    start = float(candidate.loss.unbound.initial_score(encoded, **params)) if head.kind == "number" else None
    return models.TrainingProblem(
        # The loss without its parameters: those in the units of the target are rescaled as the target is.
        loss=candidate.loss.unbound,
        outputs=head.outputs,
        X=fold.X,
        y=encoded,
        X_valid=fold.X_valid,
        y_valid=head.encode(fold.y_valid, scale),
        seed=fold.split.seed,
        start=start,
        others={**params, **supplied(candidate.loss, fold.y, data)},
        weight=fold.weight,
        weight_valid=fold.weight_valid,
    )


def _train(
    candidate: Candidate, head: Head, data: Dataset, fold: Fold, settings: Settings, rate: float | None
) -> _Outcome:
    trained = models.train(_problem(candidate, head, data, fold), settings, rate)
    with np.errstate(all="ignore"):
        raw, raw_valid = trained.predict(fold.X_test), trained.predict(fold.X_valid)
    _check_size(raw, trained, settings)
    if data.task == "multilabel":
        predictions = _label_predictions(head, fold, raw, raw_valid)
    elif data.categorical:
        predictions = _class_predictions(head, data, fold, settings, raw, raw_valid)
    else:
        numbers = head.numbers(raw, head.scale(fold.y))
        _check_size(numbers, trained, settings)
        predictions = Predictions(fold.y_test, numbers, np.zeros((len(numbers), 0)), weight=fold.weight_test)
    return _Outcome(predictions.scores(_metrics(data, settings)), predictions, trained)


def _class_predictions(
    head: Head, data: Dataset, fold: Fold, settings: Settings, raw: Array, raw_valid: Array
) -> Predictions:
    """Return decisions and probabilities: the same scaling, fitted on validation rows, for every loss."""
    scale, bias = temperature_and_bias(raw_valid, fold.y_valid, fold.weight_valid)
    probabilities, valid = (scoring.softmax(scoring.as_rows(o) * scale + bias) for o in (raw, raw_valid))
    decisions = scoring.as_rows(raw).argmax(axis=1)
    native = head.native_probabilities(raw)
    if data.task != "binary":
        return Predictions(fold.y_test, decisions, probabilities, native, weight=fold.weight_test)
    positive = data.positive
    costs = parse_cost(settings.cost)
    threshold = tune_threshold(valid[:, positive], fold.y_valid == positive, costs, fold.weight_valid)
    tuned = np.where(probabilities[:, positive] >= threshold, positive, 1 - positive)
    return Predictions(fold.y_test, decisions, probabilities, native, tuned, positive, fold.weight_test)


def _label_predictions(head: Head, fold: Fold, raw: Array, raw_valid: Array) -> Predictions:
    """Return decisions and probabilities label by label; one scaling for all labels, fitted on validation rows."""
    weight = None if fold.weight_valid is None else np.repeat(fold.weight_valid, raw.shape[1])
    scale, bias = temperature_and_bias(raw_valid.reshape(-1, 1), fold.y_valid.ravel(), weight)
    scaled = scoring.softmax(scoring.as_rows(raw.reshape(-1, 1)) * scale + bias)[:, 1].reshape(raw.shape)
    decisions, native = (raw > 0).astype(np.int64), head.native_probabilities(raw)
    return Predictions(fold.y_test, decisions, scaled, native, weight=fold.weight_test)


def _metrics(data: Dataset, settings: Settings) -> tuple[scoring.Metric, ...]:
    return metrics_for(data.task, settings.cost)


def _check_size(numbers: Array, trained: models.Trained, settings: Settings) -> None:
    furthest = float(np.abs(numbers).max())
    if not furthest <= _ENORMOUS:
        mend = "raise --l2" if settings.model == "linear" else "lower the learning rate"
        raise NonFiniteError(
            f"the predictions of held-out rows reach {furthest:.3g}; {mend} (it was {trained.tuned:g})"
        )


@dataclass(frozen=True, eq=False)
class _Plan:
    """Everything that the runs have in common."""

    data: Dataset
    candidates: list[Candidate]
    heads: list[Head]
    settings: Settings
    incomplete: Array

    def rates(self, planned: Sequence[Split], report: Callable[[str], None]) -> list[float | LossaryError | None]:
        """Return the learning rate of each loss, tuned on the validation rows of a few folds, or why there is none."""
        splits = [split for split in planned if split.seed == planned[0].seed][: models.TUNING_FOLDS]
        folds = [Fold.of(self.data, split, self.settings.stress, self.incomplete) for split in splits]
        found: list[float | LossaryError | None] = []
        for candidate, head in zip(self.candidates, self.heads, strict=True):
            report(f"{candidate.label}: learning rate")
            try:
                problems = [_problem(candidate, head, self.data, fold) for fold in folds]
                found.append(models.choose_learning_rate(problems, self.settings))
            except LossaryError as error:
                found.append(error)
        return found

    def run(
        self,
        split: Split,
        stress: Stress,
        rates: Sequence[float | LossaryError | None],
        failed: Sequence[int] = (),
        report: Callable[[str], None] | None = None,
    ) -> tuple[list[_Outcome | str], list[_Outcome]]:
        """Train every loss on one split; return the outcomes, or errors as text, and those of the references."""
        # One thread: faster for matrices this small, and the same numbers on any machine.
        with require("threadpoolctl").threadpool_limits(1):
            fold = Fold.of(self.data, split, stress, self.incomplete)
            where = f"seed {split.seed}, fold {split.fold + 1}"
            where += ", clean" if self.settings.stress and not stress else ""
            found: list[_Outcome | str] = []
            for i, (candidate, head) in enumerate(zip(self.candidates, self.heads, strict=True)):
                rate = rates[i]
                if report is not None:
                    report(f"{candidate.label}: {where}")
                if isinstance(rate, LossaryError) or i in failed:
                    found.append(f"{where}: {rate}")
                    continue
                try:
                    found.append(_train(candidate, head, self.data, fold, self.settings, rate))
                except LossaryError as error:
                    found.append(f"{where}: {error}")
            constants = []
            for reference in references.references(self.data):
                constant = references.predict(
                    reference,
                    self.data,
                    fold.y,
                    fold.y_valid,
                    fold.y_test,
                    parse_cost(self.settings.cost),
                    fold.weight,
                    fold.weight_valid,
                )
                predictions = replace(constant, weight=fold.weight_test)
                constants.append(_Outcome(predictions.scores(_metrics(self.data, self.settings)), predictions))
        return found, constants


def compare(
    data: Any,
    losses: str | Loss | Sequence[str | Loss] = (),
    *,
    target: str | None = None,
    task: str = "auto",
    group: str | None = None,
    time: str | None = None,
    weight: str | None = None,
    test: Any = None,
    encoding: str | None = None,
    json: str | Path | None = None,
    report: str | Path | None = None,
    force: bool = False,
    lang: Lang = "en",
    progress: Callable[[int, int, str], None] | None = None,
    **settings: Any,
) -> Comparison:
    """Train the same model with different losses and compare what comes out on held-out rows.

    Parameters
    ----------
    data: what `lossary.data.load` reads: the name of a bundled set, a file, a data frame, ``(X, y)``.
    losses: names, ``"name:param=value"``, or losses with bound parameters; all that suit the task if empty. Parameters
        in the units of the target (`delta` of huber) mean those units, whatever scaling training uses.
    target, task, group, time, weight, test, encoding: see `lossary.data.load`.
    json, report: files to write the numbers and the report to; checked before anything is trained. ``-`` is standard
        output. A file that Lossary did not write is replaced only with `force`.
    lang: language of the report, ``"en"`` or ``"zh"``.
    progress: called with trainings done, trainings in all, and what is running.
    settings: fields of `Settings`: model (``"linear"``, solved to its optimum, or ``"mlp:64,64"``), epochs, patience,
        folds, seeds, learning_rate, batch_size (0 chooses by the number of rows), l2, label_noise, outliers, imbalance,
        heavy_tails, metric, cost (``"FP:FN"``, of a false positive and a false negative), rows (how many are used at
        most; 0 for all), backend (``"numpy"``, or ``"torch"`` to train the same models with PyTorch: the numbers agree
        to rounding), jobs (processes; -1 for all cores).

    A loss whose training fails is a row that says so. Raises `DataError`, `UnknownLossError`, `ParameterError` or
    `ArgumentError` for what cannot be compared, before the first training.

    >>> result = compare("iris", ["softmax_cross_entropy"], model="linear", folds=2, seeds=1)
    >>> [row.label for row in result.rows], len(result.rows[0].scores["accuracy"])
    (['softmax_cross_entropy'], 2)
    """
    began = clock.perf_counter()
    losses = several(losses)
    outputs.check(data, json=json, report=report, force=force)
    chosen = _settings(settings)
    versions = {"lossary": __version__, "numpy": np.__version__, "python": platform.python_version()}
    if chosen.backend == "torch":
        versions["torch"] = str(require("torch", "torch").__version__)
    columns = {"group": group, "time": time, "weight": weight, "encoding": encoding}
    table = sample(load(data, target, task, test=test, **columns), chosen.rows)
    chosen.stress.check(table)
    chosen = _with_metric(chosen, table)
    compared, left_out = candidates(losses, table, chosen.imbalance)
    heads = [head_for(c.loss, table) for c in compared]
    planned = splits(table, chosen.folds, chosen.seeds)
    plan = _Plan(table, compared, heads, chosen, np.asarray(np.isnan(table.X).any(axis=0)))
    outcomes, constants = _run_all(plan, planned, progress)

    rows = [
        _row(c.label, c.loss.name, dict(c.params), c.loss.summary, table, chosen, len(planned), outcomes[i], heads[i])
        for i, c in enumerate(compared)
    ]
    main = metric(chosen.metric, table.task, chosen.cost)
    sign = -1 if main.higher else 1
    rows.sort(key=lambda row: (bool(row.error), 0.0 if row.error else sign * row.mean(chosen.metric)))
    result = Comparison(
        data=_table(table),
        settings=chosen,
        rows=rows,
        runs=[[s.seed, s.fold] for s in planned],
        left_out=left_out,
        command=_command(data, losses, {"target": target, "task": task, "test": test, **columns}, settings),
        versions=versions,
        seconds=clock.perf_counter() - began,
        test_to_train=float(np.mean([len(s.test) / len(s.train) for s in planned])),
        references=[
            _row(r.label, "", {}, r.summary, table, chosen, len(planned), constants[i], None)
            for i, r in enumerate(references.references(table))
        ],
    )
    outputs.write(json, result.to_json)
    outputs.write(report, lambda: result.to_html(lang))
    return result


def _run_all(
    plan: _Plan, planned: Sequence[Split], progress: Callable[[int, int, str], None] | None
) -> tuple[list[list[_Outcome | str]], list[list[_Outcome]]]:
    """Run every split, under stress and then without it; return the outcomes of each loss and of each reference."""
    stress, n = plan.settings.stress, len(plan.candidates)
    runs = [(split, stress) for split in planned] + [(split, Stress()) for split in planned if stress]
    done, total = 0, len(runs) * n

    def report(what: str) -> None:
        if progress is not None:
            progress(done, total, what)

    with require("threadpoolctl").threadpool_limits(1):
        rates = plan.rates(planned, report)
    collected: list[list[_Outcome | str]] = [[] for _ in range(n)]
    constants: list[list[_Outcome]] = [[] for _ in references.references(plan.data)]
    failed: set[int] = set()

    def count(what: str) -> None:
        nonlocal done
        report(what)
        done += 1

    if plan.settings.jobs == 1:
        results = (plan.run(split, disturbed, rates, tuple(failed), count) for split, disturbed in runs)
    else:
        joblib = require("joblib")
        run = joblib.delayed(_Plan.run)
        parallel = joblib.Parallel(n_jobs=plan.settings.jobs, return_as="generator")
        results = parallel(run(plan, split, disturbed, rates) for split, disturbed in runs)
    for found, reference in results:
        for i, outcome in enumerate(found):
            collected[i].append(outcome)
            if isinstance(outcome, str):
                failed.add(i)
        for i, constant in enumerate(reference):
            constants[i].append(constant)
        if plan.settings.jobs != 1:
            done += n
            report("trainings")
    if progress is not None:
        progress(total, total, "")
    return collected, constants


def _settings(given: Mapping[str, Any]) -> Settings:
    known = list(Settings.__dataclass_fields__)
    for name in given:
        if name not in known:
            raise ArgumentError(f'compare: no setting "{name}"{suggest(name, known) or ": it has " + ", ".join(known)}')
    chosen = Settings(**given)
    for name, least in (("epochs", 1), ("patience", 1), ("batch_size", 0), ("rows", 0)):
        value = getattr(chosen, name)
        if value is not None and value < least:
            raise ParameterError(f"{name}: got {value}, expected {least} or more")
    if chosen.jobs < 1 and chosen.jobs != -1:
        raise ParameterError(f"jobs: got {chosen.jobs}, expected 1 or more processes, or -1 for all cores")
    if chosen.backend not in BACKENDS:
        hint = suggest(chosen.backend, BACKENDS)
        raise ParameterError(f'backend: got "{chosen.backend}", expected one of {", ".join(BACKENDS)}{hint}')
    if chosen.learning_rate is not None and not 0 < chosen.learning_rate < np.inf:
        raise ParameterError(f"learning_rate: got {chosen.learning_rate:g}, expected a number in (0, inf)")
    if chosen.l2 is not None and not 0 <= chosen.l2 < np.inf:
        raise ParameterError(f"l2: got {chosen.l2:g}, expected a number in [0, inf)")
    if chosen.model == "linear" and chosen.learning_rate is not None:
        raise ParameterError("learning_rate: the linear model is solved without one; leave it out, or use --model mlp")
    _ = chosen.hidden
    return chosen


def _with_metric(chosen: Settings, data: Dataset) -> Settings:
    """Return the settings with the main metric: one that a single frequent class cannot win alone, where one could."""
    parse_cost(chosen.cost)
    if chosen.cost and data.task != "binary":
        raise ParameterError(f"cost: is for two classes, but {data.target} has the task {data.task}")
    key = chosen.metric
    if not key and not data.categorical:
        key = "micro_f1" if data.task == "multilabel" else "rmse"
    elif not key and chosen.cost:
        key = "cost"
    elif not key and data.imbalanced:
        key = "average_precision" if data.task == "binary" else "balanced_accuracy"
    elif not key:
        key = "balanced_accuracy" if chosen.imbalance > 1 else "accuracy"
    return replace(chosen, metric=metric(key, data.task, chosen.cost).key)


def _command(data: Any, losses: Sequence[str | Loss], asked: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Return the command line that does the same from the current folder; "" for data in memory."""
    if not isinstance(data, (str, Path)) or not isinstance(asked["test"], (str, Path, type(None))):
        return ""
    words = ["lossary", "compare", str(data) if str(data) in BUNDLED else os.path.relpath(data)]
    for name, value in asked.items():
        if value is None or (name == "task" and value == "auto"):
            continue
        if name == "test":
            value = os.path.relpath(value)
        words += [f"--{name}", value]
    for text in losses:
        if isinstance(text, Loss):
            params = ",".join(f"{k}={v}" for k, v in text.bound.items())
            text = f"{text.name}:{params}" if params else text.name
        words += ["--loss", text]
    for name, value in given.items():
        if value != Settings.__dataclass_fields__[name].default:
            words += [f"--{name.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


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
        members=data.members.tolist() if data.classes else [],
        notes=list(data.notes),
        positive=data.positive if data.task == "binary" else -1,
        warnings=data.leaks(),
        tests=data.tests,
    )


def _row(
    label: str,
    name: str,
    params: dict[str, Any],
    summary: str,
    data: Dataset,
    settings: Settings,
    runs: int,
    outcomes: Sequence[_Outcome | str],
    head: Head | None,
) -> Row:
    """Gather the runs of one loss or reference; those after the first `runs` were on clean data."""
    error = next((outcome for outcome in outcomes if isinstance(outcome, str)), "")
    empty = Row(label, name, params, summary, error=error)
    done = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    if error:
        return empty
    own, clean = done[:runs], done[runs:]
    row = replace(
        empty,
        scores={m.key: [o.scores[m.key] for o in own] for m in _metrics(data, settings) if m.key in own[0].scores},
        clean=[o.scores[settings.metric] for o in clean],
    )
    trained = [o.trained for o in own if o.trained is not None]
    if not trained or head is None:
        return row
    row = replace(
        row,
        calibrated=head.kind != "number" and head.link is None,
        gradient_norm=float(np.mean([t.gradient_norm for t in trained])),
        seconds_per_epoch=float(np.mean([t.seconds for t in trained])),
        epochs=float(np.mean([t.epochs for t in trained])),
        limit=trained[0].limit,
        unconverged=sum(not t.converged for t in trained),
        tuned=[t.tuned for t in trained],
        train=[t.train for t in trained],
        validation=[t.validation for t in trained],
    )
    if data.task == "multilabel":
        return row
    truth = np.concatenate([o.predictions.truth for o in own])
    decisions = np.concatenate([o.predictions.decisions for o in own])
    if not data.categorical:
        shown = np.random.default_rng(0).permutation(len(truth))[:_POINTS]
        return replace(row, points=[[float(truth[i]), float(decisions[i])] for i in shown])
    if data.task == "binary":
        decisions = np.concatenate([o.predictions.tuned for o in own if o.predictions.tuned is not None])
    probabilities = np.concatenate([o.predictions.probabilities for o in own])
    weights = [o.predictions.weight for o in own if o.predictions.weight is not None]
    weight = np.concatenate(weights) if weights else None
    return replace(
        row,
        confusion=scoring.confusion(truth, decisions, len(data.classes)).tolist(),
        reliability=scoring.calibration(truth, probabilities, weight=weight).tolist(),
    )
