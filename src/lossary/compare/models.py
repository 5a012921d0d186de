"""Models of a comparison: a linear model solved to its optimum, and a multi-layer perceptron trained with Adam.

What has to be tuned is tuned per loss on validation rows, never on held-out ones: the strength of the L2 penalty of the
linear model, which needs no learning rate, and the learning rate of the network.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.catalogue import Loss
from lossary.compare.results import Settings
from lossary.errors import NonFiniteError
from lossary.training import Adam, History, fit, mlp
from lossary.training.layers import Layer
from lossary.training.solver import minimise
from lossary.training.steps import ByHand, Steps, add_penalty
from lossary.training.task import Task, make_task

Array = NDArray[Any]

L2_STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # tried for the linear model, on standardised features
LEARNING_RATES = (0.001, 0.003, 0.01)  # tried for the network
TUNING_FOLDS = 3  # whose validation rows choose the learning rate: one fold alone has too few rows to tell
SOLVER_STEPS = 3000  # of the linear model, at most, if not said otherwise
_TRAINING_STEPS = 3000  # of the network: epochs follow from the number of rows
_WORSE = 2  # strengths without a lower validation loss after which weaker ones are not tried
_EVERY_STEP = 30  # steps of the solver whose validation loss is taken each time
_IMPROVING = 0.01  # share of the whole improvement that the last tenth of the epochs still won


@dataclass(frozen=True, eq=False)
class TrainingProblem:
    """What one model is trained on: features and encoded targets of the rows to fit and of the validation rows.

    `start` is the output of a model that has learned nothing yet, or None. `others` are arrays and parameters of the
    loss. `weight` and `weight_valid` are sample weights or None.
    """

    loss: Loss
    outputs: int
    X: Array
    y: Array
    X_valid: Array
    y_valid: Array
    seed: int
    start: float | None
    others: dict[str, Any]
    weight: Array | None = None
    weight_valid: Array | None = None


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model: its predictions, how the training went, and whether it converged.

    `epochs` counts passes over the rows to fit, `tuned` is the learning rate or L2 strength that was used, `limit` the
    number of epochs at which training would have stopped in any case.
    """

    predict: Callable[[Array], Array]
    train: list[float]
    validation: list[float]
    gradient_norm: float
    seconds: float
    epochs: int
    limit: int
    converged: bool
    tuned: float


def train(problem: TrainingProblem, settings: Settings, learning_rate: float | None = None) -> Trained:
    """Train the model that the settings ask for."""
    if settings.model == "linear":
        return _solve(problem, settings)
    rate = learning_rate or settings.learning_rate
    assert rate is not None
    return _descend(problem, settings, rate)


def choose_learning_rate(problems: Sequence[TrainingProblem], settings: Settings) -> float | None:
    """Return the learning rate with the lowest validation loss over some folds, or None for a model without one.

    Raises `NonFiniteError` if training fails at every rate.
    """
    if settings.model == "linear":
        return None
    if settings.learning_rate is not None:
        return settings.learning_rate
    found: list[tuple[float, float]] = []
    failure: NonFiniteError | None = None
    for rate in LEARNING_RATES:
        try:
            found.append((sum(min(_descend(problem, settings, rate).validation) for problem in problems), rate))
        except NonFiniteError as error:
            failure = error
    if not found and failure is not None:
        raise failure
    return min(found)[1]


# --- the linear model -----------------------------------------------------------------------------------------------


def _solve(problem: TrainingProblem, settings: Settings) -> Trained:
    """Solve the linear model for the given L2 strength, or for the one that is best on the validation rows."""
    model = _model(problem, ())
    parameters = list(model.parameters)
    task = make_task(model, problem.loss, problem.others)
    rows = task.read(model, problem.X, problem.y, problem.weight)
    held_out = task.read(model, problem.X_valid, problem.y_valid, problem.weight_valid, prefix="validation ")
    steps = _gradients(settings.backend, model, task)
    limit = settings.epochs or SOLVER_STEPS
    x = np.concatenate([parameter.value.ravel() for parameter in parameters])

    def place(x: Array) -> None:
        at = 0
        for parameter in parameters:
            parameter.value[...] = x[at : at + parameter.value.size].reshape(parameter.value.shape)
            at += parameter.value.size

    best: tuple[float, Trained] | None = None
    worse = 0
    for strength in L2_STRENGTHS if settings.l2 is None else (settings.l2,):
        validation: list[float] = []

        def objective(x: Array, strength: float = strength) -> tuple[float, Array]:
            place(x)
            value = steps.learn(rows) + add_penalty(parameters, strength)
            return value, np.concatenate([parameter.grad.ravel() for parameter in parameters])

        def record(x: Array, validation: list[float] = validation) -> None:
            """Keep the validation loss of a step; of late steps only of every tenth, for it costs as much as a step."""
            late = len(validation) >= _EVERY_STEP and len(validation) % 10
            place(x)
            validation.append(validation[-1] if late else steps.measure(held_out))

        began = time.perf_counter()
        with np.errstate(all="ignore"):  # overflow is found below
            solution = minimise(objective, x, limit, record)
        seconds = time.perf_counter() - began
        x = solution.x  # from strong to weak penalties, each is started where the one before ended
        if not (math.isfinite(solution.values[-1]) and np.isfinite(x).all()):
            raise NonFiniteError(f"the loss of the linear model is {solution.values[-1]:g}; try a larger --l2")
        place(x)
        validation[-1:] = [steps.measure(held_out)]
        taken = max(len(solution.values) - 1, 1)
        trained = Trained(
            predict=_frozen(model, x, place),
            train=solution.values[1:] or solution.values,
            validation=validation,
            gradient_norm=float(np.mean(solution.gradient_norms)),
            seconds=seconds / taken,
            epochs=taken,
            limit=limit,
            converged=solution.converged,
            tuned=strength,
        )
        if best is None or validation[-1] < best[0]:
            best, worse = (validation[-1], trained), 0
        elif (worse := worse + 1) == _WORSE:
            break
    assert best is not None
    return best[1]


def _frozen(model: Layer, x: Array, place: Callable[[Array], None]) -> Callable[[Array], Array]:
    """Return the predictions of a model at some weights, whatever it learns afterwards."""

    def predict(X: Array) -> Array:
        place(x)
        return np.asarray(model.predict(X))

    return predict


def _gradients(backend: str, model: Layer, task: Task) -> Steps:
    """Return what computes losses and gradients; no optimiser steps, the solver does."""
    if backend == "torch":
        from lossary.training.torch import Autograd

        return Autograd(model, task, Adam(), 0.0)
    return ByHand(model, task, Adam(), 0.0)


# --- the network ----------------------------------------------------------------------------------------------------


def _model(problem: TrainingProblem, hidden: tuple[int, ...]) -> Layer:
    model = mlp(problem.X.shape[1], hidden, problem.outputs, seed=problem.seed)
    if problem.start is not None:
        model.parameters[-1].value[:] = problem.start
    return model


def budget(rows: int, settings: Settings) -> tuple[int, int, int]:
    """Return the batch size, the limit of epochs and the patience for so many rows to fit: the same for every loss."""
    size = settings.batch_size or min(256, max(16, rows // 20))
    epochs = settings.epochs or math.ceil(_TRAINING_STEPS / math.ceil(rows / size))
    return size, epochs, settings.patience or max(10, epochs // 10)


def _descend(problem: TrainingProblem, settings: Settings, rate: float) -> Trained:
    size, epochs, patience = budget(len(problem.y), settings)
    model = _model(problem, settings.hidden)
    history = fit(
        model,
        problem.loss,
        problem.X,
        problem.y,
        weight=problem.weight,
        epochs=epochs,
        batch_size=size,
        optimiser=Adam(rate),
        l2=settings.l2 or 0.0,
        validation=(problem.X_valid, problem.y_valid)
        if problem.weight_valid is None
        else (problem.X_valid, problem.y_valid, problem.weight_valid),
        patience=patience,
        seed=problem.seed,
        progress=False,
        backend=settings.backend,  # type: ignore[arg-type]  # one of BACKENDS: checked before
        **problem.others,
    )
    records = history.epochs
    return Trained(
        predict=model.predict,
        train=[record.loss for record in records],
        validation=[record.watched for record in records],
        gradient_norm=float(np.mean([record.gradient_norm for record in records])),
        seconds=float(np.mean([record.seconds for record in records])),
        epochs=len(records),
        limit=epochs,
        converged=not _still_improving(history),
        tuned=rate,
    )


def _still_improving(history: History) -> bool:
    """Whether training ended at its limit of epochs while the validation loss was still falling."""
    if history.stopped != "epochs":
        return False
    watched = [record.watched for record in history.epochs]
    before = min(watched[: max(1, len(watched) - max(1, len(watched) // 10))])
    won, whole = before - min(watched), watched[0] - min(watched)
    return len(watched) == 1 or won > _IMPROVING * whole
