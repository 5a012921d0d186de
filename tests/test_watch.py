"""What a watch tells of a run, what it keeps, and that it neither waits for a device nor costs much."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import lossary
from lossary.cli.app import app
from lossary.errors import ParameterError
from lossary.inspect import Watch
from lossary.training import SGD, fit, mlp


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


def remote() -> Any:
    """The class of a tensor that says it is on a device; its attribute `reads` counts how often it was waited for."""
    torch = pytest.importorskip("torch")

    class Remote(torch.Tensor):  # type: ignore[name-defined,misc]
        reads = 0
        is_cpu = property(lambda self: False)

        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            done = super().__torch_function__(function, types, args, kwargs or {})
            if function.__name__ in ("cpu", "item", "tolist", "numpy", "__float__", "__bool__", "__int__"):
                cls.reads += 1
                return done.as_subclass(torch.Tensor) if isinstance(done, torch.Tensor) else done
            return done

    return Remote


def test_a_device_is_read_once_in_an_interval() -> None:
    torch, device = pytest.importorskip("torch"), remote()
    w = lossary.watch(interval=16, gradients=4)
    for step in range(160):
        loss = torch.tensor(math.nan if step == 100 else 1.0).as_subclass(device)
        share = torch.tensor([0.0, 1.0], dtype=torch.float64).as_subclass(device)
        w.step(loss=loss, active=share, grads=[torch.ones(3).as_subclass(device)], batch={"step": torch.tensor(step)})
    assert device.reads == 10
    assert _kinds(w) == [("not finite", 100)]
    assert int(w.events[0].batch["step"]) == 100, "the batch is still there when the number is read"
    assert len(w.history()[0]) == 160
    assert w.history("active")[1] == [0.5] * 160
    assert w.history("gradient")[1][0] == pytest.approx(3**0.5)


def test_the_length_of_a_gradient_of_large_half_precision_numbers_is_finite() -> None:
    w = lossary.watch(gradients=1)
    w.step(loss=1.0, grads=[np.full(4, 300.0, np.float16), np.full((2, 2), 300.0, np.float16)])
    assert w.history("gradient")[1] == [pytest.approx(300 * 8**0.5)] and not w.events


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


# --- what cannot be kept is reported once and left out --------------------------------------------------------------


class Raising:
    """An object of which nothing can be asked."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused

    def __getattribute__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "refused"):
            raise OSError(f"no {name}")
        return object.__getattribute__(self, name)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise ValueError("no numbers here")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __str__(self) -> str:
        raise RuntimeError("no text")


def _torch() -> Any:
    return pytest.importorskip("torch")


def _nested() -> Any:
    torch = _torch()
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)


def _report() -> Any:
    from lossary import nn

    torch = _torch()
    return nn.MultiTaskLoss(["a", "b"])(a=torch.tensor(1.0), b=torch.tensor(2.0))


SKIPPED: dict[str, tuple[Any, str]] = {  # what a step is given beside or instead of a loss of 1, and what is said
    "no loss": (lambda: {"loss": None}, "loss was left out: got None"),
    "a vector": (lambda: {"loss": np.ones(3)}, r"loss was left out: got shape \(3,\), expected one number"),
    "a vector of torch": (lambda: {"loss": _torch().ones(3)}, r"got shape \(3,\)"),
    "a complex loss": (lambda: {"loss": 1j}, "loss was left out: got complex"),
    "a complex tensor": (lambda: {"loss": _torch().tensor(1j)}, "loss was left out: got a complex number"),
    "a loss in words": (lambda: {"loss": "1.0"}, "loss was left out: got str"),
    "a loss that raises": (
        lambda: {"loss": Raising("detach", "device", "shape")},
        "loss was left out: ValueError: no numbers",
    ),
    "terms that are none": (lambda: {"terms": 3}, "terms was left out: AttributeError"),
    "a term": (lambda: {"terms": {"a": None, ("b", 1): 2.0}}, "term a was left out"),
    "a model without parameters": (lambda: {"model": 3}, "gradient was left out: model: got int"),
    "params that raise": (lambda: {"params": [Raising("grad")]}, "gradient was left out: OSError: no grad"),
    "active": (lambda: {"active": Raising("shape")}, "active was left out"),
}


@pytest.mark.parametrize("case", SKIPPED)
def test_a_number_that_cannot_be_kept_does_not_end_the_run(case: str) -> None:
    made, said = SKIPPED[case]
    w = lossary.watch(gradients=1)
    with pytest.warns(RuntimeWarning, match="left out") as warned:
        for _ in range(3):
            w.step(**({"loss": 1.0} | made()))
    assert len(warned) == 1, "once"
    (event,) = w.events
    assert event.kind == "skipped"
    assert event.step == 0
    assert re.search(said, event.sentence), event.sentence
    w.step(loss=0.5)
    assert w.history()[1][-1] == 0.5, "and the rest is followed"


def test_a_loss_that_is_an_account_of_terms_counts_as_its_total() -> None:
    w = lossary.watch()
    w.step(loss=lossary.weighted_sum(a=1.0, b=(0.5, 2.0)))
    assert w.history() == ([0], [2.0])
    w.step(loss=_report())
    assert w.history()[1] == [2.0, 3.0]


BATCHES: dict[str, tuple[Any, dict[str, Any], str]] = {  # made, what is read back, what is said of the rest
    "keywords of NumPy": (lambda: {"file": [1.0], "allow_pickle": [2.0]}, {"file": [1.0], "allow_pickle": [2.0]}, ""),
    "keys that are no text": (lambda: {1: [1.0], "1": [2.0], ("a", 2): [3.0]}, {"1": [1.0], "('a', 2)": [3.0]}, ""),
    "words": (lambda: {"x": [1.0], "id": ["a", "b"]}, {"x": [1.0]}, "id of the batch was left out: got list"),
    "ragged": (lambda: {"x": [1.0], "r": [[1], [1, 2]]}, {"x": [1.0]}, "r of the batch was left out: ValueError"),
    "objects": (lambda: {"x": [1.0], "o": object()}, {"x": [1.0]}, "o of the batch was left out: got object"),
    "no __array__": (lambda: {"o": Raising(), "x": [1.0]}, {"x": [1.0]}, "o of the batch was left out: ValueError"),
    "no detach": (lambda: {"o": Raising("detach"), "x": [1.0]}, {"x": [1.0]}, "o of the batch was left out"),
    "nested": (lambda: {"n": _nested(), "x": [1.0]}, {"x": [1.0]}, "n of the batch was left out: got a NestedTensor"),
    "conjugate": (lambda: {"z": _torch().tensor([1j]).conj()}, {"z": [-1j]}, ""),
    "sparse": (lambda: {"z": _torch().eye(2).to_sparse()}, {"z": [[1.0, 0.0], [0.0, 1.0]]}, ""),
    "bfloat16 with a gradient": (
        lambda: {"z": _torch().ones(2, dtype=_torch().bfloat16, requires_grad=True)}, {"z": [1.0, 1.0]}, ""
    ),
    "meta": (lambda: {"m": _torch().ones(2, device="meta"), "x": [1.0]}, {"x": [1.0]}, "m of the batch was left out"),
    "nothing": (lambda: Raising(), {}, "array_0 of the batch was left out"),
}  # fmt: skip


@pytest.mark.parametrize("case", BATCHES)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_batch_is_kept_as_far_as_it_can_be(case: str, tmp_path: Path) -> None:
    made, read, said = BATCHES[case]
    w = lossary.watch(tmp_path / "run.json")
    batch = made()
    w.step(loss=math.nan, batch=batch)
    (lost,) = [event for event in w.events if event.kind == "not finite"]
    assert lost.batch is batch
    sentences = [event.sentence for event in w.events if event.kind == "skipped"]
    assert len(sentences) == bool(said)
    assert all(sentence.startswith(said) for sentence in sentences), sentences
    assert (lost.file is not None) == bool(read)
    if lost.file is not None:
        with np.load(lost.file) as kept:
            for name, numbers in read.items():
                np.testing.assert_array_equal(kept[name], numbers)
    w.close()
    assert json.loads((tmp_path / "run.json").read_text())["steps"] == 1


def test_a_folder_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    with pytest.warns(RuntimeWarning, match="left out") as warned, lossary.watch(folder / "run.json") as w:
        w.step(loss=math.nan, batch={"x": [1.0]})
        w.step(loss=1.0)
        w.step(loss=math.nan, batch={"x": [1.0]})
    assert [str(w.message).split(" was")[0] for w in warned] == [
        "lossary.watch: the file of the batch",
        "lossary.watch: the page",
    ]
    assert [event.kind for event in w.events] == ["skipped", "not finite", "not finite", "skipped"]
    with pytest.raises(Exception, match=r"run\.json"):
        w.save(folder / "run.json")


def test_a_disk_that_is_full_leaves_no_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    w = lossary.watch(tmp_path / "run.json")
    with pytest.warns(RuntimeWarning, match="No space left on device"):
        w.step(loss=math.nan, batch={"x": [1.0]})
    assert [*tmp_path.iterdir()] == []


def test_warnings_made_errors_do_not_end_the_run() -> None:
    import warnings

    w = lossary.watch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        w.step(loss=None)
    assert [event.kind for event in w.events] == ["skipped"]


def test_an_interrupt_passes() -> None:
    class Interrupted:
        def __array__(self, *_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lossary.watch().step(loss=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        lossary.watch("run.json").step(loss=math.nan, batch={"x": Interrupted()})


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_hooks_and_epochs_that_hold_something_else_end_nothing() -> None:
    w = lossary.watch(gradients=1)
    w.on_after_backward(None, 3)
    w.on_train_batch_end(None, None, {"loss": 1.0, "odd": Raising("shape")}, [1])
    w.on_train_batch_end(None, None, [1.0, 2.0], [1])
    w(object())
    assert {event.sentence.split(" was")[0] for event in w.events} == {"gradient", "the outputs", "loss", "the epoch"}
