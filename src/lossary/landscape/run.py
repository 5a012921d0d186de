"""One network trained with each loss on the same data, and the slice of the landscape around each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.catalogue import Loss
from lossary.compare import outputs
from lossary.compare.candidates import Candidate, read_loss
from lossary.compare.folds import Scaling
from lossary.compare.heads import head_for, suitable, supplied
from lossary.compare.results import Settings
from lossary.compare.tables import Dataset, load
from lossary.errors import DataError, ParameterError
from lossary.landscape.result import Landscapes, Slice
from lossary.landscape.slices import direction, grid, plane
from lossary.text.phrases import Lang
from lossary.training import Adam, fit, mlp
from lossary.training.task import make_task

Array = NDArray[Any]
Progress = Callable[[int, int, str], None]

_USUAL = 4  # losses, where none is named
_STEPS = 1500  # of training, if epochs are not given


def landscapes(
    data: Any,
    losses: Sequence[str | Loss] = (),
    *,
    target: str | None = None,
    task: str = "auto",
    encoding: str | None = None,
    model: str = "mlp:16",
    epochs: int | None = None,
    learning_rate: float = 0.01,
    rows: int = 1000,
    span: float = 1.0,
    resolution: int = 25,
    seed: int = 0,
    report: str | Path | None = None,
    force: bool = False,
    lang: Lang = "en",
    progress: Progress | None = None,
) -> Landscapes:
    """Train one network with each loss, and return a slice of the landscape around each trained network.

    Parameters
    ----------
    data, target, task, encoding: as for `lossary.compare`.
    losses: names, with parameters if wanted (``"huber:delta=2"``); without any, the first four that suit the data.
    model: ``mlp`` and its widths, such as ``mlp:16``, or ``linear``.
    epochs: passes over the rows; without it, as many as make about 1,500 steps.
    learning_rate: of Adam.
    rows: rows used at most, drawn at random.
    span: how far the slice reaches: 1 steps as far as the weights of each unit are long.
    resolution: points along each direction, an odd number.
    seed: of the initial weights, of the order of rows and of the directions: the same for every loss.
    report: a file for the page, checked before any training.

    Raises `DataError`, `ParameterError` or `NonFiniteError` with a sentence.
    """
    steps = grid(span, resolution)
    for name, value in (("epochs", epochs), ("rows", rows)):
        if value is not None and value < 1:
            raise ParameterError(f"{name}: got {value}, expected 1 or more")
    if not 0 < learning_rate < math.inf:
        raise ParameterError(f"learning_rate: got {learning_rate:g}, expected a number in (0, inf)")
    if seed < 0:
        raise ParameterError(f"seed: got {seed}, expected 0 or more")
    hidden = Settings(model=model).hidden
    outputs.check(data, json=None, report=report, force=force)
    table = load(data, target, task, encoding=encoding)
    chosen = [read_loss(loss) for loss in (losses or suitable(table)[:_USUAL])]
    if not chosen:
        raise DataError(f"the catalogue has no loss for the task {table.task}; try another --task")
    heads = [head_for(candidate.loss, table) for candidate in chosen]  # an unfit one is refused before any training
    kept = np.sort(np.random.default_rng(seed).permutation(len(table.y))[:rows])
    show = progress or (lambda done, total, what: None)
    total, done = len(chosen) * (len(steps) + 1), 0
    found = []
    for candidate, head in zip(chosen, heads, strict=True):
        show(done, total, candidate.label)

        def advance(label: str = candidate.label) -> None:
            nonlocal done
            done += 1
            show(done, total, label)

        found.append(_slice(candidate, head, table, kept, hidden, epochs, learning_rate, seed, steps, advance))
    names = {k: v for k, v in {"target": target, "model": model, "seed": seed, "span": span}.items() if v is not None}
    command = " ".join(["lossary landscape", str(data), *(f"--{k} {v}" for k, v in names.items())])
    command += "".join(f" --loss {loss}" for loss in losses if isinstance(loss, str))
    result = Landscapes(table.name, len(kept), model, span, seed, steps, tuple(found), command)
    if report is not None:
        from lossary.report.landscape import render

        outputs.write(report, lambda: render(result, lang))
    return result


def _slice(
    candidate: Candidate,
    head: Any,
    table: Dataset,
    kept: Array,
    hidden: tuple[int, ...],
    epochs: int | None,
    learning_rate: float,
    seed: int,
    steps: Array,
    advance: Callable[[], None],
) -> Slice:
    """Train a network with one loss, and measure the plane around it."""
    features, labels = table.X[kept], table.y[kept]
    X = Scaling.of(features, np.asarray(np.isnan(features).any(axis=0)))(features)
    scale = head.scale(labels)
    y, params = head.encode(labels, scale), head.params(candidate.loss, candidate.params, scale)
    weight = None if table.weights is None else table.weights[kept]
    loss, others = candidate.loss.unbound, {**params, **supplied(candidate.loss, labels, table)}
    network = mlp(X.shape[1], hidden, head.outputs, seed=seed)
    if head.kind == "number":
        network.parameters[-1].value[:] = float(loss.initial_score(y, **params))
    size = min(32, len(X))
    passes = epochs or max(20, math.ceil(_STEPS / math.ceil(len(X) / size)))
    fit(
        network,
        loss,
        X,
        y,
        weight=weight,
        epochs=passes,
        batch_size=size,
        optimiser=Adam(learning_rate),
        seed=seed,
        progress=False,
        **others,
    )
    advance()
    task = make_task(network, loss, dict(others))
    batch = task.read(network, X, y, weight)

    def measure() -> float:
        return float(task.value_and_grad(network.predict(batch.X), batch)[0])

    trained = measure()
    rng = np.random.default_rng([seed, 1])
    first, second = direction(network.parameters, rng), direction(network.parameters, rng)
    values = plane(network.parameters, measure, (first, second), steps, advance)
    return Slice(candidate.label, candidate.loss.name, values, trained, passes, steps)
