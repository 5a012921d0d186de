"""Training: gradients against differences and against PyTorch, what the loop guarantees, its errors."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lossary
from lossary import training
from lossary.errors import (
    ArgumentError,
    DataError,
    DomainError,
    LossaryError,
    MissingExtraError,
    NonFiniteError,
    ParameterError,
    ShapeError,
)
from lossary.testing import draw
from lossary.training import SGD, Adam, Linear, ReLU, Sequential, Tanh, evaluate, fit, mlp

EXAMPLES = Path(__file__).parents[1] / "examples"


def line_data(rows: int = 60, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, 3))
    return X, X @ np.array([1.0, -2.0, 0.5]) + 0.3 + 0.1 * rng.standard_normal(rows)


def values_of(model: Any) -> list[Any]:
    return [p.value.copy() for p in model.parameters]


def differences(f: Callable[[], float], x: Any, step: float = 1e-6) -> Any:
    """Central differences of `f` in every entry of `x`, which `f` reads."""
    slopes = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        held = x[at]
        x[at] = held + step
        above = f()
        x[at] = held - step
        slopes[at] = (above - f()) / (2 * step)
        x[at] = held
    return slopes


# --- layers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [Linear(4, 3), ReLU(), Tanh(), Sequential(Linear(4, 5), Tanh(), Linear(5, 2)), mlp(4, (6, 5), 3, seed=3)],
    ids=repr,
)
def test_backward_is_the_gradient_in_input_and_parameters(model: Any) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((7, 4))
    outputs = model.forward(x)
    pull = rng.standard_normal(outputs.shape)
    before = x.copy(), pull.copy()
    grad = model.backward(pull)
    assert np.array_equal(x, before[0]) and np.array_equal(pull, before[1])  # inputs are never written to

    def summed() -> float:
        return float((model.predict(x) * pull).sum())

    np.testing.assert_allclose(grad, differences(summed, x), rtol=1e-7, atol=1e-8)
    for parameter in model.parameters:
        np.testing.assert_allclose(parameter.grad, differences(summed, parameter.value), rtol=1e-7, atol=1e-8)


def test_predict_equals_forward_and_remembers_nothing() -> None:
    model = mlp(3, 4, 2, activation="tanh")
    x, other = np.ones((2, 3)), -np.ones((5, 3))
    outputs = model.forward(x)
    model.backward(np.ones((2, 2)))
    grads = [p.grad for p in model.parameters]
    model.predict(other)
    model.backward(np.ones((2, 2)))
    assert np.array_equal(outputs, model.predict(x))
    assert all(np.array_equal(a, p.grad) for a, p in zip(grads, model.parameters, strict=True))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_float32_stays_float32(activation: str) -> None:
    X, y = line_data()
    model = mlp(3, 8, 1, activation=activation, dtype=np.float32)
    for optimiser in (SGD(lr=0.01, momentum=0.9, nesterov=True), Adam()):
        fit(model, "huber", X, y, epochs=2, l2=1e-3, optimiser=optimiser, progress=False)
    assert model.forward(X.astype(np.float32)).dtype == np.float32
    assert model.backward(np.ones((60, 1), np.float32)).dtype == np.float32
    assert {p.value.dtype for p in model.parameters} | {p.grad.dtype for p in model.parameters} == {np.dtype("f4")}


@pytest.mark.parametrize(("init", "variance"), [("he", 2 / 300), ("glorot", 2 / 500), ("zeros", 0.0)])
def test_initial_weights_have_the_variance_they_are_named_for(init: Any, variance: float) -> None:
    layer = Linear(300, 200, init=init, seed=5)
    assert layer.weight.value.var() == pytest.approx(variance, rel=0.02)
    assert not layer.bias.value.any() and not layer.bias.decay and layer.weight.decay


def test_a_network_is_its_seed() -> None:
    first, again, other = mlp(3, 4, 1, seed=7), mlp(3, 4, 1, seed=7), mlp(3, 4, 1, seed=8)
    assert all(np.array_equal(a, b) for a, b in zip(values_of(first), values_of(again), strict=True))
    assert not np.array_equal(first.parameters[0].value, other.parameters[0].value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mlp(3, 4, 1, activation="rellu"), "activation: got 'rellu'.*did you mean relu"),
        (lambda: mlp(3, 0, 1), "got 3 inputs and 0 outputs"),
        (lambda: Linear(3, 1, init="zero"), "init: got 'zero'.*did you mean zeros"),  # type: ignore[arg-type]
        (lambda: SGD(lr=0), r"SGD: lr: got 0, expected a number in \(0, inf\)"),
        (lambda: SGD(momentum=1), r"SGD: momentum: got 1, expected a number in \[0, 1\)"),
        (lambda: SGD(nesterov=True), "nesterov"),
        (lambda: Adam(betas=(0.9, 1.0)), r"betas\[1\]: got 1.0"),
        (lambda: training.cosine(0), "cosine: epochs: got 0"),
    ],
)
def test_settings_out_of_range_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        build()


# --- against PyTorch ------------------------------------------------------------------------------------------------

OPTIMISERS: dict[str, tuple[Any, Any]] = {
    "sgd": (SGD(lr=0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
    "momentum": (SGD(lr=0.1, momentum=0.9), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    "nesterov": (
        SGD(lr=0.1, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    ),
    "adam": (
        Adam(lr=0.01, betas=(0.8, 0.99), eps=1e-6),
        lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.99), eps=1e-6),
    ),
}


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("l2", [0.0, 0.05])
def test_the_same_numbers_as_pytorch(name: str, l2: float) -> None:
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((12, 4)), rng.integers(0, 3, 12)
    model = mlp(4, 5, 3, activation="tanh", seed=1)
    twin = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).double()
    theirs = list(twin.parameters())
    with torch.no_grad():
        for ours, parameter in zip(model.parameters, theirs, strict=True):
            parameter.copy_(torch.from_numpy(ours.value.T.copy()))
    optimiser, make = OPTIMISERS[name]
    descent = make([{"params": theirs[0::2], "weight_decay": l2}, {"params": theirs[1::2]}])

    losses, lengths, order = [], [], np.random.default_rng(11)
    for _ in range(8):
        total, norms = 0.0, []
        rows = order.permutation(12)
        for at in (rows[:5], rows[5:10], rows[10:]):  # the last batch is smaller
            descent.zero_grad()
            value = torch.nn.functional.cross_entropy(twin(torch.from_numpy(X[at])), torch.from_numpy(y[at]))
            value.backward()  # type: ignore[no-untyped-call]
            full = [p.grad + l2 * p.detach() if p.ndim > 1 else p.grad for p in theirs if p.grad is not None]
            norms.append(float(torch.sqrt(sum((g**2).sum() for g in full))))  # type: ignore[arg-type]
            descent.step()
            total += value.item() * len(at)
        losses.append(total / 12)
        lengths.append(np.mean(norms))

    history = fit(
        model,
        "softmax_cross_entropy",
        X,
        y,
        epochs=8,
        batch_size=5,
        optimiser=optimiser,
        l2=l2,
        seed=11,
        progress=False,
    )
    np.testing.assert_allclose([e.loss for e in history.epochs], losses, rtol=1e-12)
    np.testing.assert_allclose([e.gradient_norm for e in history.epochs], lengths, rtol=1e-12)
    for ours, parameter in zip(model.parameters, theirs, strict=True):
        np.testing.assert_allclose(ours.value.T, parameter.detach().numpy(), rtol=1e-12, atol=1e-13)


def test_one_optimiser_trains_two_networks_alike() -> None:
    X, y = line_data()
    optimiser = Adam(lr=0.01)
    first, second = mlp(3, 4, 1), mlp(3, 4, 1)
    for model in (first, second):
        fit(model, "mse", X, y, epochs=3, optimiser=optimiser, progress=False)
    assert all(np.array_equal(a, b) for a, b in zip(values_of(first), values_of(second), strict=True))


# --- schedules ------------------------------------------------------------------------------------------------------


def test_the_learning_rate_follows_the_schedule() -> None:
    X, y = line_data(40)
    asked = []

    def schedule(time: float) -> float:
        asked.append(time)
        return 1 / (1 + time)

    history = fit(
        mlp(3, (), 1), "mse", X, y, epochs=2, batch_size=20, schedule=schedule, optimiser=SGD(lr=0.1), progress=False
    )
    assert asked == [0.25, 0.75, 1.25, 1.75]
    assert [e.learning_rate for e in history.epochs] == pytest.approx([0.1 / 1.75, 0.1 / 2.75], rel=1e-15)


def test_schedules_compose_continuously() -> None:
    schedule = training.warmup(5, then=training.cosine(20, floor=0.1))
    assert schedule(4.999999) == pytest.approx(schedule(5.0), abs=1e-6)
    assert schedule(2.5) == 0.5 and schedule(15) == pytest.approx(0.55) and schedule(400) == pytest.approx(0.1)
    assert training.constant(0.3)(9) == 0.3


def test_a_schedule_that_gives_no_factor_is_refused() -> None:
    X, y = line_data(10)
    with pytest.raises(ParameterError, match=r"schedule: gave -1.0 at time 0.5"):
        fit(mlp(3, (), 1), "mse", X, y, schedule=lambda time: -1.0, progress=False)


# --- the loop -------------------------------------------------------------------------------------------------------


def test_it_learns_a_line_and_a_classification() -> None:
    X, y = line_data(200)
    line = mlp(3, (), 1)
    history = fit(line, "squared_error", X, y, epochs=30, optimiser=SGD(lr=0.05), progress=False)
    exact, *_ = np.linalg.lstsq(np.c_[X, np.ones(200)], y)
    np.testing.assert_allclose(np.r_[line.parameters[0].value[:, 0], line.parameters[1].value], exact, atol=0.02)
    assert history.stopped == "epochs" and len(history) == 30

    signs = np.sign(X[:, 0] * X[:, 1])  # exclusive or
    for loss, target, outputs in (
        ("binary_cross_entropy_with_logits", (signs + 1) / 2, 1),
        ("softmax_cross_entropy", (signs > 0).astype(int), 2),
        ("hinge", signs, 1),
    ):
        model = mlp(3, 16, outputs)
        fit(model, loss, X, target, epochs=60, optimiser=Adam(lr=0.02), progress=False)
        scores = model.predict(X)
        guess = scores[:, 0] > 0 if outputs == 1 else scores.argmax(1) == 1
        assert (guess == (signs > 0)).mean() > 0.95, loss


def test_full_batch_descent_is_the_formula() -> None:
    X, y = line_data(20)
    model = mlp(3, (), 1, seed=4)
    W, b = values_of(model)
    history = fit(
        model, "half_squared_error", X, y, epochs=5, batch_size=None, optimiser=SGD(lr=0.1), l2=0.01, progress=False
    )
    for record in history.epochs:
        residual = X @ W + b - y[:, None]
        assert record.loss == pytest.approx(0.5 * float((residual**2).mean()), rel=1e-12)
        assert record.penalty == pytest.approx(0.005 * float((W**2).sum()), rel=1e-12)
        W, b = W - 0.1 * (X.T @ residual / 20 + 0.01 * W), b - 0.1 * residual.mean(0)
    np.testing.assert_allclose(model.parameters[0].value, W, rtol=1e-12)
    np.testing.assert_allclose(model.parameters[1].value, b, rtol=1e-12)


def test_the_same_seed_gives_the_same_bits_and_the_global_state_is_left_alone() -> None:
    X, y = line_data()
    state = np.random.get_state()[1].copy()  # type: ignore[index,union-attr] # noqa: NPY002

    def run(seed: int) -> list[Any]:
        model = mlp(3, 4, 1)
        fit(model, "mse", X, y, epochs=3, batch_size=7, seed=seed, progress=False)
        return values_of(model)

    first, again, other = run(1), run(1), run(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert np.array_equal(state, np.random.get_state()[1])  # type: ignore[index] # noqa: NPY002


def test_the_callers_arrays_are_not_written_to() -> None:
    X, y = line_data()
    weight = np.linspace(0, 1, 60)
    copies = X.copy(), y.copy(), weight.copy()
    for array in (X, y, weight):
        array.flags.writeable = False
    for size in (8, None):
        fit(mlp(3, 4, 1), "huber", X, y, weight=weight, epochs=2, batch_size=size, validation=(X, y), progress=False)
    assert all(np.array_equal(a, b) for a, b in zip((X, y, weight), copies, strict=True))


def test_weights_count_examples() -> None:
    """An example of weight 2 is an example that stands there twice; one of weight 0 is not there, whatever it holds."""
    X, y = line_data(20)
    counts = np.arange(20) % 3
    hidden = X.copy(), y.copy()
    hidden[0][0], hidden[1][3] = np.nan, np.inf
    weighed, repeated = mlp(3, (), 1), mlp(3, (), 1)
    kept = {"epochs": 4, "batch_size": None, "optimiser": SGD(lr=0.1), "progress": False}
    first = fit(weighed, "mse", *hidden, weight=counts, validation=(X, y, counts), **kept)  # type: ignore[arg-type]
    second = fit(repeated, "mse", np.repeat(X, counts, 0), np.repeat(y, counts), **kept)  # type: ignore[arg-type]
    for a, b in zip(values_of(weighed), values_of(repeated), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose([e.loss for e in first.epochs], [e.loss for e in second.epochs], rtol=1e-12)
    assert first.epochs[-1].validation == pytest.approx(evaluate(weighed, "mse", X, y, weight=counts), rel=1e-12)


def test_the_epoch_loss_is_a_mean_over_examples_not_over_batches() -> None:
    X, y = line_data(21)
    model = mlp(3, (), 1)
    weight = np.linspace(1, 5, 21)
    before = evaluate(model, "mse", X, y, weight=weight)
    # A learning rate too small to change anything: every batch sees the same parameters.
    history = fit(model, "mse", X, y, weight=weight, epochs=1, batch_size=8, optimiser=SGD(lr=1e-300), progress=False)
    assert history.epochs[0].loss == pytest.approx(before, rel=1e-12)


def test_ignored_labels_and_tables_of_targets() -> None:
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((30, 3)), rng.integers(0, 3, 30)
    some = np.where(np.arange(30) % 4 == 0, -100, labels)
    ours, theirs = mlp(3, (), 3), mlp(3, (), 3)
    fit(ours, "softmax_cross_entropy", X, some, epochs=2, batch_size=None, ignore_index=-100, progress=False)
    fit(theirs, "softmax_cross_entropy", X[some >= 0], labels[some >= 0], epochs=2, batch_size=None, progress=False)
    np.testing.assert_allclose(ours.parameters[0].value, theirs.parameters[0].value, rtol=1e-9)

    table = X[:, :2] @ rng.standard_normal((2, 2))
    model = mlp(3, (), 2)
    weight = rng.uniform(0.5, 2, 30)
    history = fit(model, "mse", X, table, weight=weight, epochs=300, optimiser=Adam(lr=0.02), progress=False)
    assert history.epochs[-1].loss < 1e-4
    expected = float((weight[:, None] * (model.predict(X) - table) ** 2).sum() / (2 * weight.sum()))
    assert evaluate(model, "mse", X, table, weight=weight) == pytest.approx(expected, rel=1e-12)


def test_parameters_of_the_loss_are_passed_on() -> None:
    X, y = line_data()
    model = mlp(3, (), 1)
    bound = lossary.huber.bind(delta=0.1)
    assert evaluate(model, "huber", X, y, delta=0.1) == evaluate(model, bound, X, y) != evaluate(model, "huber", X, y)


def trainable(name: str) -> bool:
    """Whether a loss takes any number as prediction (so that a plain network can make it) and a target."""
    loss = lossary.get(name)
    pair = len(loss.arguments) == 2 and loss.wrt == loss.arguments[:1] and "evaluation" not in loss.properties
    row = loss.coupling is not None or loss.signatures[0].rank < 2
    return pair and row and not loss.domain(loss.arguments[0]).bounded


@pytest.mark.parametrize("name", [name for name in lossary.names() if trainable(name)])
def test_every_loss_of_the_catalogue_that_can_be_trained_falls(name: str) -> None:
    loss = lossary.get(name)
    rng = np.random.default_rng([5, *name.encode()])
    X = rng.standard_normal((24, 3))
    for alternative, signature in enumerate(loss.coupling.signatures if loss.coupling else loss.signatures):
        rows, columns = signature.inputs[0], signature.inputs[1]
        shape = (24,) + (3,) * len([d for d in columns if d != "b"])
        y = draw(loss.domain(loss.arguments[1], alternative), shape, rng, classes=3)
        if loss.coupling:
            y = np.arange(24) % 3
        model = mlp(3, 8, 3 if rows else 1, activation="tanh")
        before = evaluate(model, loss, X, y)
        history = fit(model, loss, X, y, epochs=5, batch_size=None, optimiser=SGD(lr=1e-4), progress=False)
        assert history.epochs[0].loss == pytest.approx(before, rel=1e-12)
        assert evaluate(model, loss, X, y) < before


def test_other_arrays_of_a_loss_are_the_same_for_all_examples() -> None:
    rng = np.random.default_rng(0)
    X, labels = rng.standard_normal((30, 3)), rng.integers(0, 3, 30)
    counts = np.bincount(labels)
    model = mlp(3, 4, 3)
    value = lossary.mean(lossary.logit_adjusted(model.predict(X), labels, counts))
    assert evaluate(model, "logit_adjusted", X, labels, class_counts=counts) == pytest.approx(float(value), rel=1e-12)
    assert fit(model, "logit_adjusted", X, labels, class_counts=counts, epochs=2, progress=False).epochs[1].loss < value
    with pytest.raises(ArgumentError, match=r"also takes class_counts: pass class_counts=\.\.\."):
        fit(model, "logit_adjusted", X, labels, progress=False)
    with pytest.raises(ShapeError, match=r"class_counts: got shape \(30, 3\), expected \(c\)"):
        fit(model, "logit_adjusted", X, labels, class_counts=np.ones((30, 3)), progress=False)
    with pytest.raises(ArgumentError, match="expected a loss of a prediction and a target"):
        fit(model, "triplet_margin", X, labels, progress=False)
    with pytest.raises(ArgumentError, match="more than a row per example"):
        fit(model, "generalized_dice", X, np.eye(3)[labels], progress=False)


# --- early stopping -------------------------------------------------------------------------------------------------


def test_early_stopping_restores_the_best_parameters() -> None:
    X, y = line_data(30)
    held_out = line_data(30, seed=9)
    seen: list[list[Any]] = []
    model = mlp(3, 32, 1, seed=2)
    # A learning rate that rises without end: after a while every epoch makes things worse.
    history = fit(
        model,
        "absolute_error",
        X,
        y,
        epochs=200,
        optimiser=SGD(lr=0.01),
        schedule=lambda time: 1.2**time,
        validation=held_out,
        patience=4,
        callback=lambda record: seen.append(values_of(model)),
        progress=False,
    )
    assert history.stopped == "patience" and len(history) == history.best.epoch + 4 < 200
    assert history.best.validation == min(e.validation for e in history.epochs if e.validation is not None)
    best = seen[history.best.epoch - 1]
    assert all(np.array_equal(a, b) for a, b in zip(values_of(model), best, strict=True))
    assert not np.array_equal(values_of(model)[0], seen[-1][0])
    assert evaluate(model, "absolute_error", *held_out) == history.best.validation


def test_without_patience_the_last_parameters_stay_and_a_callback_can_stop() -> None:
    X, y = line_data(30)
    seen: list[list[Any]] = []
    model = mlp(3, 4, 1)

    def callback(record: training.Epoch) -> bool:
        seen.append(values_of(model))
        return record.epoch == 3

    history = fit(model, "mse", X, y, callback=callback, progress=False)
    assert history.stopped == "callback" and len(history) == 3
    assert all(np.array_equal(a, b) for a, b in zip(values_of(model), seen[-1], strict=True))
    rows = history.as_rows()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert set(rows[0]) == {
        "epoch",
        "loss",
        "penalty",
        "validation",
        "gradient_norm",
        "learning_rate",
        "seconds",
    }
    assert all(row["seconds"] > 0 for row in rows)


# --- numbers that are none ------------------------------------------------------------------------------------------


def diverge(model: Any, loss: str, X: Any, y: Any, **options: Any) -> str:
    """Train until it fails, and return what was said."""
    with pytest.raises(NonFiniteError) as caught:
        fit(model, loss, X, y, progress=False, **options)
    assert isinstance(caught.value, LossaryError) and isinstance(caught.value, ArithmeticError)
    return str(caught.value)


def test_a_hole_in_the_data_is_named_with_its_batch_and_row() -> None:
    X, y = line_data(50)
    order = np.random.default_rng(3).permutation(50)
    X[order[23], 1] = np.nan  # with batches of 10 it is met in the third
    model = mlp(3, 4, 1)
    said = diverge(model, "mse", X, y, batch_size=10, seed=3)
    assert said.startswith(f"epoch 1, batch 3 of 5: the input of example {order[23]} is nan (column 1). Look at X[")
    assert all(np.isfinite(value).all() for value in values_of(model))
    targets = line_data(50)[1]
    targets[[40, 7]] = np.inf
    said = diverge(mlp(3, 4, 1), "mse", line_data(50)[0], targets, batch_size=None)
    assert said == "epoch 1, batch 1 of 1: the target of example 7 is inf. Look at y[7]"


def test_a_hole_is_named_by_its_place_in_the_callers_data() -> None:
    X, y = line_data(10)
    X[6] = np.nan
    weight = (np.arange(10) > 3).astype(float)  # rows 0 to 3 do not take part
    assert "the input of example 6 is nan" in diverge(mlp(3, 4, 1), "mse", X, y, weight=weight)
    assert fit(mlp(3, 4, 1), "mse", X, y, weight=weight * (np.arange(10) != 6), epochs=1, progress=False)


def test_divergence_names_the_term() -> None:
    X, y = line_data(40)
    said = diverge(mlp(3, (), 1), "mse", X, y, optimiser=SGD(lr=1e3), epochs=500, batch_size=None)
    assert "the data loss, squared_error, of example " in said and "Lower the learning rate (it was 1000)" in said
    said = diverge(mlp(3, 4, 1), "absolute_error", X, y, optimiser=SGD(lr=1e200), epochs=500)
    assert "Linear(4, 1)" in said and "prediction for example" in said and "scale the inputs" in said
    said = diverge(mlp(3, (), 1), "absolute_error", X * 1e3, y, optimiser=SGD(lr=1e307), epochs=500)
    assert "layer 1, Linear(3, 1), whose weight the step before made infinite" in said
    said = diverge(mlp(3, 4, 1), "absolute_error", X * 1e300, y)
    assert "gradient of the weight of layer 3, Linear(4, 1)" in said
    said = diverge(mlp(3, (), 1), "mse", X, np.where(np.arange(40) == 17, 1e200, y), batch_size=None)
    assert "the data loss, squared_error, of example 17 is inf: its prediction is " in said
    assert "its target 1e+200" in said
    said = diverge(mlp(3, 4, 1), "mse", X, y, l2=1e308)
    assert "the penalty, l2 = 1e+308" in said
    one = mlp(3, (), 1)
    said = diverge(one, "mse", X, y, validation=(X, np.where(np.arange(40) == 5, np.nan, y)))
    assert said.startswith("epoch 1, validation: the target of example 5 is nan")
    said = diverge(mlp(3, 4, 1, dtype=np.float32), "mse", X[:2], [1.5e19, 1.4e19], batch_size=None)
    assert "the data loss, squared_error" in said


# --- what cannot be trained -----------------------------------------------------------------------------------------

X20, Y20 = line_data(20)
LABELS = np.arange(20) % 3


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ShapeError, r"X: got shape \(3,\), expected two dimensions", lambda: fit(mlp(3, 4, 1), "mse", X20[0], Y20)),
        (ShapeError, "X has 20 rows but y has shape", lambda: fit(mlp(3, 4, 1), "mse", X20, Y20[:4])),
        (ShapeError, "X: has 3 features per row, which do not fit", lambda: fit(mlp(2, 4, 1), "mse", X20, Y20)),
        (ShapeError, "model: has 2 outputs per row, expected one", lambda: fit(mlp(3, 4, 2), "mse", X20, Y20)),
        (ShapeError, "expected 3 outputs", lambda: fit(mlp(3, 4, 1), "mse", X20, X20)),
        (
            ShapeError,
            "dimension c is 3 in logits",
            lambda: fit(mlp(3, 4, 3), "softmax_cross_entropy", X20, LABELS[:, None]),
        ),
        (ShapeError, "model: gave shape", lambda: fit(Flat(3, 1), "mse", X20, Y20)),
        (ShapeError, "weight: got shape", lambda: fit(mlp(3, 4, 1), "mse", X20, Y20, weight=[1.0, 2.0])),
        (ShapeError, "validation X", lambda: fit(mlp(3, 4, 1), "mse", X20, Y20, validation=(X20[:2], Y20))),
        (DomainError, "weight", lambda: fit(mlp(3, 4, 1), "mse", X20, Y20, weight=-np.ones(20))),
        (
            DomainError,
            "look 1-based: subtract 1",
            lambda: fit(mlp(3, 4, 3), "softmax_cross_entropy", X20, LABELS + 1.0),
        ),
        (DomainError, r"2 \* target - 1", lambda: fit(mlp(3, 4, 1), "hinge", X20, (LABELS > 0).astype(int))),
        (DataError, "X: has no rows", lambda: fit(mlp(3, 4, 1), "mse", X20[:0], Y20[:0])),
        (DataError, "no row that counts", lambda: fit(mlp(3, 4, 1), "mse", X20, Y20, weight=np.zeros(20))),
        (ArgumentError, "X: .* expected numbers", lambda: fit(mlp(3, 4, 1), "mse", X20.astype(str), Y20)),
        (ArgumentError, "PyTorch", lambda: fit(mlp(3, 4, 1), "mse", torch.ones(20, 3), Y20)),
        (ArgumentError, "validation", lambda: fit(mlp(3, 4, 1), "mse", X20, Y20, validation=(X20,))),
        (ArgumentError, "loss: got an object of type int", lambda: fit(mlp(3, 4, 1), 3, X20, Y20)),  # type: ignore[arg-type]
        (ArgumentError, "zero_one is for evaluation", lambda: fit(mlp(3, 4, 3), "zero_one", X20, LABELS)),
        (ArgumentError, 'no parameter "gamma"', lambda: fit(mlp(3, 4, 1), "huber", X20, Y20, gamma=2.0)),
        (ArgumentError, "has no parameters", lambda: fit(Sequential(Tanh()), "mse", X20[:, :1], Y20)),
        (ParameterError, "batch_size: got 0", lambda: fit(mlp(3, 4, 1), "mse", X20, Y20, batch_size=0)),
        (ParameterError, "epochs: got 0", lambda: fit(mlp(3, 4, 1), "mse", X20, Y20, epochs=0)),
        (ParameterError, "patience: got 1.5", lambda: fit(mlp(3, 4, 1), "mse", X20, Y20, patience=1.5)),  # type: ignore[arg-type]
        (ParameterError, "l2: got -1", lambda: fit(mlp(3, 4, 1), "mse", X20, Y20, l2=-1)),
        (ParameterError, "progress: got 'no'", lambda: fit(mlp(3, 4, 1), "mse", X20, Y20, progress="no")),  # type: ignore[arg-type]
        (LookupError, "did you mean .*huber", lambda: fit(mlp(3, 4, 1), "hubber", X20, Y20)),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(error: Any, message: str, call: Any) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert isinstance(caught.value, LossaryError)


class Flat(Linear):
    """A model that forgets the axis of its outputs."""

    def predict(self, x: Any) -> Any:
        return super().predict(x)[:, 0]


# --- progress, imports, examples ------------------------------------------------------------------------------------


def test_progress_is_shown_when_asked_and_needs_rich(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(mlp(3, (), 1), "mse", X20, Y20, epochs=2)  # "auto", and no terminal
    assert capfd.readouterr() == ("", "")
    fit(mlp(3, (), 1), "mse", X20, Y20, epochs=2, progress=True, validation=(X20, Y20))
    assert "2/2" in capfd.readouterr().err
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(MissingExtraError, match=r"lossary\[app\]"):
        fit(mlp(3, (), 1), "mse", X20, Y20, progress=True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert fit(mlp(3, (), 1), "mse", X20, Y20, epochs=1)


def test_importing_lossary_does_not_import_training() -> None:
    code = "import sys, lossary; assert not any(m.startswith('lossary.training') for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_names_are_documented() -> None:
    assert training.__all__ == sorted(training.__all__, key=lambda n: (n.islower(), not n.isupper(), n))
    assert all(getattr(training, name).__doc__ for name in training.__all__ if name != "Schedule")


def test_backpropagation_by_hand_agrees_with_everyone_and_learns(capsys: pytest.CaptureFixture[str]) -> None:
    """The walk checks its gradients itself, and refuses to go on if one is wrong."""
    walk = runpy.run_path(str(EXAMPLES / "backprop_by_hand.py"))
    walk["main"]()
    printed = capsys.readouterr().out
    assert printed.count("from trying") == 8
    losses = [float(line.split()[3]) for line in printed.split("it learns:")[1].splitlines() if "loss" in line]
    assert len(losses) == 10 and losses == sorted(losses, reverse=True) and losses[-1] < 0.06 < 1 < losses[0]
    assert "on 50 flowers it has never seen: accuracy 9" in printed
    with pytest.raises(AssertionError, match="dL/dw: the derivation by hand is wrong"):
        walk["check"]("dL/dw", np.zeros(2), by_trying=np.full(2, 1e-3), by_lossary=np.zeros(2))
