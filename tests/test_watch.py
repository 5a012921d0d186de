"""What a watch tells of a run, what it keeps, and that it neither waits for a device nor costs much."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import lossary
from lossary.cli.app import app
from lossary.errors import ArgumentError, ParameterError
from lossary.training import SGD, fit, mlp
from lossary.watch import Watch


def _kinds(w: Watch) -> list[tuple[str, int]]:
    return [(event.kind, event.step) for event in w.events]


def test_a_healthy_run_tells_nothing() -> None:
    w = lossary.watch(plateau=100)
    rng = np.random.default_rng(0)
    for step in range(500):
        w.step(loss=math.exp(-step / 200) + 0.05 * rng.normal(), terms={"data": 0.5}, grad_norm=1.0, active=0.4)
    assert w.events == []
    assert w.names == ["loss", "term data", "active", "gradient"]
    assert len(w.history()[0]) == 500


def test_the_batch_that_went_wrong_is_kept_and_can_be_diagnosed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with lossary.watch(tmp_path / "run.html", keep=1) as w:
        for step in range(60):
            probs = rng.uniform(0.1, 0.9, 8)
            if step in (20, 40):
                probs[5] = 0.0
            target = np.ones(8)
            value = float(lossary.mean(lossary.binary_cross_entropy(probs, target)))
            w.step(loss=value, batch={"probs": probs, "target": target})
    assert _kinds(w) == [("not finite", 20), ("not finite", 40)]
    kept, not_kept = w.events
    assert kept.batch["probs"][5] == 0
    assert not_kept.batch is None, "no more than one is kept"
    assert kept.file is not None
    told = CliRunner().invoke(app, ["diagnose", "bce", kept.file, "--json"])
    assert json.loads(told.output)["first_not_finite"]["example"] == [5]
    page = (tmp_path / "run.html").read_text("utf-8")
    assert "http" not in page
    assert "the loss is inf" in page


def test_a_run_of_bad_steps_is_one_event_at_its_first() -> None:
    w = lossary.watch()
    for step in range(50):
        w.step(loss=math.nan if step >= 30 else 1.0, batch=[step])
    assert _kinds(w) == [("not finite", 30)]
    assert w.events[0].batch == [30]


def test_plateau_and_divergence() -> None:
    w = lossary.watch(plateau=200)
    for step in range(1000):
        w.step(loss=max(1 - step / 200, 0.25))
    assert [kind for kind, _ in _kinds(w)] == ["plateau"]
    assert 350 < w.events[0].step < 850  # at rest from step 150 on, as the running mean sees it some time later
    w = lossary.watch()
    for step in range(400):
        w.step(loss=1 - step / 200 if step < 150 else 0.25 * 1.05 ** (step - 150))
    assert [kind for kind, _ in _kinds(w)] == ["divergence"]
    assert "Lower the learning rate" in str(w.events[0])


def test_triplets_that_are_all_inactive() -> None:
    w = lossary.watch()
    for _ in range(60):
        w.step(loss=0.2, active=np.zeros(8))
    assert _kinds(w) == [("collapse", 49)]
    w.step(loss=0.2, active=np.array([0.0, 0.5, 0.1, 0.2]))
    assert w.history("active")[1][-1] == 0.75


def test_a_long_run_stays_small_and_keeps_what_is_not_finite() -> None:
    w = lossary.watch()
    for step in range(30_000):
        w.step(loss=1.0 if step != 12_345 else math.inf)
    steps, values = w.history()
    assert len(steps) < 5000
    assert (12_345, math.inf) in list(zip(steps, values, strict=True))
    assert steps == sorted(steps)


def test_gradients_are_measured_from_whatever_is_given() -> None:
    class Parameter:
        grad = np.array([3.0, 4.0])

    class Model:
        def parameters(self) -> list[Any]:
            return [Parameter(), type("Frozen", (), {"grad": None})()]

    for given in ({"model": Model()}, {"params": [Parameter()]}, {"grads": [np.array([3.0]), np.array([4.0])]}):
        w = lossary.watch(gradients=2)
        for _ in range(3):
            w.step(loss=1.0, **given)
        assert w.history("gradient") == ([0, 2], [5.0, 5.0])
    with pytest.raises(ArgumentError, match="parameters"):
        lossary.watch().step(loss=1.0, model=3)


def test_training_here_can_be_watched(tmp_path: Path) -> None:
    X = np.linspace(-1, 1, 40)[:, None]
    w = lossary.watch(tmp_path / "run.json")
    fit(mlp(1, 4, 1), "mse", X, X[:, 0] ** 2, epochs=6, optimiser=SGD(lr=0.1), l2=0.1, callback=w, progress=False)
    w.close()
    told = json.loads((tmp_path / "run.json").read_text())
    assert told["steps"] == 6
    assert set(told["series"]) == {"loss", "term penalty", "gradient"}


def test_settings_are_checked() -> None:
    for wrong in ({"interval": 0}, {"gradients": 1.5}, {"plateau": -1}, {"keep": -1}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            lossary.watch(**wrong)  # type: ignore[arg-type]


def test_a_device_is_read_once_in_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")

    module = sys.modules["lossary.watch"]
    # Tensors of the CPU stand in for those of a device; what is counted is how often their numbers are asked for.
    monkeypatch.setattr(module, "_elsewhere", lambda value: hasattr(value, "detach"))
    reads = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda x: reads.append(1) or tolist(x))
    w = lossary.watch(interval=16, gradients=4)
    weight = torch.nn.Parameter(torch.ones(3))
    for step in range(160):
        weight.grad = torch.ones(3)
        w.step(loss=torch.tensor(math.nan if step == 100 else 1.0), params=[weight], batch={"step": torch.tensor(step)})
    assert len(reads) == 10
    assert _kinds(w) == [("not finite", 100)]
    assert int(w.events[0].batch["step"]) == 100, "the batch is still there when the number is read"
    assert len(w.history()[0]) == 160
    assert w.history("gradient")[1][0] == pytest.approx(3**0.5)


def test_hooks_of_a_trainer_by_name() -> None:
    torch = pytest.importorskip("torch")
    w = lossary.watch(gradients=1)
    module = torch.nn.Linear(2, 1)
    for hook in ("setup", "on_fit_start", "on_train_start", "on_before_zero_grad", "on_validation_end", "teardown"):
        assert getattr(w, hook)(None, module) is None
    for index in range(5):
        loss = module(torch.ones(4, 2)).square().mean()
        loss.backward()
        w.on_after_backward(None, module)
        w.on_train_batch_end(None, module, {"loss": loss, "data": loss.detach(), "logits": torch.ones(4)}, [1], index)
    w.on_train_batch_end(None, module, None, [1], 5)
    w.on_train_end(None, module)
    assert w.names == ["loss", "term data", "gradient"]
    assert w.count == 5
    assert w.state_dict() == {}
    with pytest.raises(AttributeError):
        w.nothing  # noqa: B018
