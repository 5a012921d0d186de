"""PyTorch trains the same networks to the same numbers: its autograd, its optimisers, the catalogue's losses."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pytest
import torch

import lossary
from lossary.compare import Comparison, compare
from lossary.errors import ArgumentError, MissingExtraError, NonFiniteError, ParameterError
from lossary.training import SGD, Adam, Linear, Sequential, cosine, fit, mlp
from lossary.training.torch import module_of

FAST: dict[str, Any] = {"epochs": 4, "folds": 2, "seeds": 1, "patience": 3}


def problem(classes: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3))
    return X, rng.integers(0, classes, 50) if classes else X @ np.array([1.0, -2.0, 0.5]) + 0.3


def trained(backend: Any, loss: str, outputs: int, X: Any, y: Any, **options: Any) -> tuple[Any, Any]:
    model = mlp(X.shape[1], (5, 4), outputs, activation=options.pop("activation", "relu"), seed=1)
    history = fit(model, loss, X, y, batch_size=16, epochs=5, backend=backend, **options)
    return model, history


@pytest.mark.parametrize(
    ("loss", "classes", "options"),
    [
        ("huber", 0, {}),
        ("squared_error", 0, {"optimiser": SGD(0.05, momentum=0.9, nesterov=True), "activation": "tanh"}),
        ("squared_error", 0, {"optimiser": SGD(0.05), "l2": 0.1, "schedule": cosine(5)}),
        ("pinball", 0, {"optimiser": Adam(0.01, betas=(0.8, 0.95), eps=1e-6), "l2": 0.01, "quantile": 0.3}),
        ("softmax_cross_entropy", 4, {"label_smoothing": 0.1, "class_weight": [1.0, 2.0, 3.0, 4.0]}),
        ("softmax_cross_entropy", 4, {"weight": np.arange(50.0)}),
        ("multi_margin", 4, {"l2": 0.01}),
        ("class_balanced", 4, {"class_counts": [5, 6, 7, 32]}),
        ("batch_hard_triplet", 4, {"optimiser": SGD(0.01)}),
    ],
    # Plain names: two workers must call a case alike, and a function's text holds its address.
    ids=["huber", "nesterov", "schedule", "pinball", "classes", "weights", "margins", "counts", "triplets"],
)
def test_torch_takes_the_same_steps(loss: str, classes: int, options: dict[str, Any]) -> None:
    X, y = problem(classes)
    held_out = {"validation": (X[:9], y[:9])} if loss != "batch_hard_triplet" else {}
    by_hand, told = trained("numpy", loss, classes or 1, X, y, **held_out, **options)
    by_torch, same = trained("torch", loss, classes or 1, X, y, **held_out, **options)
    for one, other in zip(by_hand.parameters, by_torch.parameters, strict=True):
        np.testing.assert_allclose(other.value, one.value, rtol=1e-9, atol=1e-11)
    for one, other in zip(told.as_rows(), same.as_rows(), strict=True):
        del one["seconds"], other["seconds"]
        assert [v is None for v in one.values()] == [v is None for v in other.values()]
        numbers = [k for k, v in one.items() if v is not None]
        np.testing.assert_allclose([other[k] for k in numbers], [one[k] for k in numbers], rtol=1e-9)


def test_autograd_and_torch_optim_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the layers' hand-written backward nor the room's own optimiser is asked; torch's are, once a batch."""
    calls = {"backward": 0, "step": 0}

    def counting(owner: Any, name: str) -> None:
        honest = getattr(owner, name)

        def counted(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return honest(*args, **options)

        monkeypatch.setattr(owner, name, counted)

    counting(torch.Tensor, "backward")
    counting(torch.optim.Adam, "step")
    monkeypatch.setattr(Linear, "backward", lambda *_: pytest.fail("the gradient was not autograd's"))
    monkeypatch.setattr(Adam, "directions", lambda *_: pytest.fail("the step was not torch's"))
    trained("torch", "huber", 1, *problem())
    assert calls == {"backward": 5 * 4, "step": 5 * 4}


def test_a_module_is_the_network() -> None:
    network = mlp(3, (4,), 2, seed=3, dtype=np.float32)
    before = torch.random.get_rng_state()
    module = module_of(network)
    assert torch.equal(before, torch.random.get_rng_state()), "making it draws no random numbers"
    X = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(X)).numpy(), network.predict(X), rtol=1e-5, atol=1e-6)
        for tensor in module.parameters():
            tensor.zero_()
    assert not network.predict(X).any(), "one memory"
    nested = Sequential(network, Linear(2, 1))
    assert len(list(module_of(nested).parameters())) == len(nested.parameters)


def test_a_float32_network_stays_float32_and_inputs_stay_untouched() -> None:
    X, y = problem()
    X.flags.writeable = y.flags.writeable = False
    model = mlp(3, 4, 1, dtype=np.float32)
    fit(model, "squared_error", X[::-1], y[::-1], epochs=2, batch_size=None, backend="torch")
    assert {p.value.dtype for p in model.parameters} == {np.dtype(np.float32)}
    model = mlp(3, 4, 1)
    fit(model, "squared_error", X[::-1], y[::-1], epochs=2, batch_size=None, backend="torch")


def test_the_best_epoch_is_put_back() -> None:
    X, y = problem()
    model = mlp(3, (), 1)
    history = fit(model, "squared_error", X, y, epochs=30, optimiser=SGD(0.9), patience=3, backend="torch")
    assert history.stopped == "patience" and history.best.epoch < len(history)
    again = mlp(3, (), 1)
    fit(again, "squared_error", X, y, epochs=history.best.epoch, optimiser=SGD(0.9), backend="torch")
    for one, other in zip(model.parameters, again.parameters, strict=True):
        np.testing.assert_array_equal(one.value, other.value)


class Own:
    """A layer and an optimiser of someone's own."""

    parameters = Linear(3, 1).parameters
    lr = 0.1

    def predict(self, x: Any) -> Any:
        return x[:, :1]


def test_refusals() -> None:
    X, y = problem()
    with pytest.raises(
        ParameterError, match=r"backend: got 'troch', expected one of numpy, torch: did you mean torch\?"
    ):
        fit(mlp(3, (), 1), "huber", X, y, backend="troch")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"model: .* has no counterpart in PyTorch here; Linear, ReLU, Tanh"):
        fit(Own(), "huber", X, y, backend="torch")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"optimiser: .* expected SGD or Adam"):
        fit(mlp(3, (), 1), "huber", X, y, backend="torch", optimiser=Own())  # type: ignore[arg-type]
    with pytest.raises(NonFiniteError, match="Lower the learning rate"):
        fit(mlp(3, (), 1), "squared_error", X, y, epochs=90, backend="torch", optimiser=SGD(1e50))


# --- the comparison -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("iris", {}),
        ("breast_cancer", {"model": "mlp:8", "label_noise": 0.1, "learning_rate": 0.003, "rows": 200}),
        ("diabetes", {"l2": 0.01}),
    ],
    ids=["multiclass", "binary", "regression"],
)
def test_the_table_is_the_same(data: str, options: dict[str, Any]) -> None:
    pytest.importorskip("sklearn", reason="comparing needs the app extra")
    pytest.importorskip("polars", reason="comparing needs the app extra")
    by_numpy, by_torch = (
        compare(data, backend=backend, **{**FAST, "model": "linear", **options}) for backend in ("numpy", "torch")
    )
    assert {row.label for row in by_torch.rows} == {row.label for row in by_numpy.rows}
    assert not any(row.error for row in by_torch.rows)
    for row in by_numpy.rows:
        (same,) = [other for other in by_torch.rows if other.label == row.label]
        for mine, other in ((row.scores, same.scores), ({"": row.clean}, {"": same.clean})):
            for key, scores in mine.items():
                np.testing.assert_allclose(other[key], scores, rtol=1e-6, atol=1e-6)
        for one, other in zip(row.train + row.validation, same.train + same.validation, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-6)


def test_the_result_says_what_trained_it() -> None:
    pytest.importorskip("sklearn", reason="comparing needs the app extra")
    pytest.importorskip("jinja2", reason="the report needs the app extra")
    result = compare("iris", ["softmax_cross_entropy"], model="linear", backend="torch", **FAST)
    held = json.loads(result.to_json())
    assert held["settings"]["backend"] == "torch" and held["versions"]["torch"] == torch.__version__
    assert "--backend torch" in result.command
    assert Comparison.from_json(result.to_json()) == result
    assert f"by PyTorch {torch.__version__}, with its autograd and torch.optim;" in result.to_html()
    plain = compare("iris", ["softmax_cross_entropy"], model="linear", **FAST)
    assert "torch" not in plain.versions and "by NumPy, with the hand-written gradients;" in plain.to_html()


def test_without_torch_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="comparing needs the app extra")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"torch needs the torch extra: pip install 'lossary\[torch\]'"):
        compare("iris", ["softmax_cross_entropy"], backend="torch", **FAST)
    with pytest.raises(ParameterError, match=r"backend: got .jax., expected one of numpy, torch"):
        compare("iris", [lossary.softmax_cross_entropy], backend="jax", **FAST)
