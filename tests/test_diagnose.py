"""Diagnoses: what they find is what was planted, and what they compare with is what a plain computation gives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import lossary
from lossary.cli.app import app
from lossary.errors import ParameterError, ShapeError
from lossary.testing import random_arrays, random_params

RNG = np.random.default_rng(5)
Z = RNG.normal(size=(40, 5))
P = np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)
LABELS = RNG.integers(0, 5, 40)


def _alternatives(loss: lossary.Loss) -> range:
    return range(1 if loss.coupling else len(loss.signatures))


@pytest.mark.parametrize("name", lossary.names())
def test_every_loss_is_diagnosed_and_admissible_inputs_are_healthy(name: str) -> None:
    loss = lossary.get(name)
    for alternative in _alternatives(loss):
        rng = np.random.default_rng(0)
        for batch in (1, 30):
            arrays = random_arrays(loss, rng, batch=batch, alternative=alternative)
            params = random_params(loss, rng)
            found = lossary.diagnose(loss, *arrays, **params)
            assert found, f"{name}: {found}"
            expected = float(loss.value(*arrays, reduction="mean", check=False, **params))
            assert found.value == pytest.approx(expected, rel=1e-9, abs=1e-12)
            if found.floor is not None:
                assert found.floor <= found.value + 1e-9
                assert all(found.floor <= v + 1e-9 for v in found.trivial.values())
            json.dumps(found.to_dict())
            assert str(found)


@pytest.mark.parametrize("name", [n for n in lossary.names() if lossary.get(n).wrt == lossary.get(n).arguments[:1]])
def test_a_planted_nan_is_found_where_it_is(name: str) -> None:
    loss = lossary.get(name)
    arrays = random_arrays(loss, np.random.default_rng(1), batch=6)
    if loss.input in ("parameter",) or np.asarray(arrays[0]).dtype.kind != "f":
        pytest.skip("no prediction to plant it in")
    arrays[0] = np.array(arrays[0])
    arrays[0][2] = np.nan
    found = lossary.diagnose(loss, *arrays)
    if found.culprit is not None:  # a few losses are finite all the same: zero-one, a hinge without a positive
        assert found.culprit.examples >= 1
        if loss.coupling is None:
            assert found.culprit.example == (2,)
            assert found.culprit.step == loss.arguments[0]
    else:
        assert math.isfinite(found.value)


def test_the_first_step_that_is_not_finite_is_named_with_its_inputs() -> None:
    found = lossary.diagnose("bce", [0.2, 0.5, 0.0], [0.0, 1.0, 1.0])
    assert found.culprit is not None
    assert found.culprit.example == (2,)
    assert (found.culprit.step, found.culprit.expression) == ("log_probability", "log(probs)")
    assert found.culprit.number == -math.inf
    assert {k: float(v) for k, v in found.culprit.inputs.items()} == {"probs": 0.0, "target": 1.0}
    overflow = lossary.diagnose("exponential", [1.0, -800.0], [1.0, 1.0])
    assert overflow.culprit is not None
    assert overflow.culprit.example == (1,)
    masked = lossary.diagnose("bce", [0.2, 0.5, 0.0], [0.0, 1.0, 1.0], mask=[True, True, False])
    assert masked.culprit is None
    assert masked.counted == 2


def test_an_entry_of_a_row_is_told() -> None:
    logits = Z.copy()
    logits[7, 3] = np.inf
    found = lossary.diagnose("cross_entropy", logits, LABELS)
    assert found.culprit is not None
    assert (found.culprit.example, found.culprit.step, found.culprit.entry) == ((7,), "logits", (3,))


def test_the_ten_largest_values_and_their_shares() -> None:
    found = lossary.diagnose("cross_entropy", Z, LABELS)
    values = lossary.softmax_cross_entropy(Z, LABELS)
    order = np.argsort(-values)[:10]
    assert [at for at, _, _ in found.worst] == [(int(i),) for i in order]
    np.testing.assert_allclose([s for _, _, s in found.worst], values[order] / values.sum())


def test_classes_are_counted_and_weighed() -> None:
    weights = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    examples = RNG.uniform(0.5, 2.0, 40)
    found = lossary.diagnose("cross_entropy", Z, LABELS, class_weight=weights, weight=examples)
    assert [c.count for c in found.classes] == np.bincount(LABELS, minlength=5).tolist()
    np.testing.assert_allclose([c.weight for c in found.classes], np.bincount(LABELS, examples, 5))
    relative = np.array([c.per_example for c in found.classes], dtype=float)
    np.testing.assert_allclose(relative / relative[0], weights)
    assert sum(c.share for c in found.classes) == pytest.approx(1)
    yes, no = lossary.diagnose("bce_with_logits", Z[:, 0], LABELS > 2, pos_weight=3.0).classes[::-1]
    assert yes.per_example is not None
    assert no.per_example is not None
    assert yes.per_example / no.per_example == pytest.approx(3)


def test_trivial_predictors_score_what_a_plain_computation_gives() -> None:
    y = RNG.normal(size=200) * 3 + 1
    assert lossary.diagnose("mse", y * 0, y).trivial["best constant"] == pytest.approx(y.var(), rel=1e-6)
    middle = np.abs(y - np.median(y)).mean()
    assert lossary.diagnose("mae", y * 0, y).trivial["best constant"] == pytest.approx(middle, rel=1e-4)
    counts = RNG.poisson(3.0, 200)
    mean = counts.mean()
    constant = lossary.diagnose("poisson_nll", counts * 0.0, counts).trivial["best constant"]
    assert constant == pytest.approx(mean - mean * math.log(mean), rel=1e-6)
    share = np.bincount(LABELS, minlength=5) / 40
    entropy = -(share * np.log(share)).sum()
    trivial = lossary.diagnose("cross_entropy", Z, LABELS).trivial
    assert trivial["class frequencies"] == pytest.approx(entropy)
    assert trivial["every class alike"] == pytest.approx(math.log(5))


def test_the_floor_is_the_entropy_of_the_targets() -> None:
    q = RNG.dirichlet(np.ones(5), 40)
    entropy = -(q * np.log(q)).sum(-1).mean()
    assert lossary.diagnose("cross_entropy", Z, q).floor == pytest.approx(entropy)
    smooth = np.full(5, 0.02) + 0.9 * np.eye(5)[0]
    smoothed = lossary.diagnose("cross_entropy", Z, LABELS, label_smoothing=0.1).floor
    assert smoothed == pytest.approx(-(smooth * np.log(smooth)).sum())
    y = RNG.uniform(0.1, 0.9, 30)
    floor = lossary.diagnose("bce_with_logits", y * 0, y).floor
    assert floor == pytest.approx(-(y * np.log(y) + (1 - y) * np.log(1 - y)).mean(), rel=1e-6)
    assert lossary.diagnose("huber", y, y + 1).floor == pytest.approx(0, abs=1e-12)


def test_dead_and_stuck_gradients_are_counted() -> None:
    # Half of the examples are met, and a sigmoid that has rounded to 0 is wrong without a gradient.
    found = lossary.diagnose("hinge", [5.0, 5.0, -1.0, -1.0], [1.0, 1.0, 1.0, 1.0])
    assert found.gradient["dead"] == 0.5
    assert found.gradient["stuck"] == 0
    flat = lossary.diagnose("generalized_cross_entropy", [[-200.0, 0.0]] * 3 + [[0.1, 0.0]] * 5, [0] * 8)
    assert flat.gradient["stuck"] == pytest.approx(3 / 8)


def test_all_findings_are_told_not_only_the_first() -> None:
    found = lossary.diagnose("softmax_cross_entropy", P, LABELS + 1)
    assert {f.rule for f in found.findings} == {"outside the domain", "probabilities for logits"}
    assert "1-based" in str(found)
    assert "0.905" in str(found), "the floor for five classes"
    ignored = lossary.diagnose("cross_entropy", Z, np.full(40, 9), ignore_index=9)
    assert [f.rule for f in ignored.findings] == ["nothing counts"]


def test_a_diagnosis_is_saved_whole_and_offline(tmp_path: Path) -> None:
    found = lossary.diagnose("cross_entropy", P, LABELS)
    for name in ("x.html", "x.json", "x.txt"):
        found.save(tmp_path / name)
    page = (tmp_path / "x.html").read_text("utf-8")
    assert "http" not in page
    assert "<script" not in page
    assert "these are probabilities" in page
    assert json.loads((tmp_path / "x.json").read_text("utf-8"))["ok"] is False
    assert "iframe" in found._repr_html_()


def test_tensors_are_read_like_arrays() -> None:
    torch = pytest.importorskip("torch")
    logits = torch.tensor(Z, requires_grad=True)
    found = lossary.diagnose("cross_entropy", logits, torch.tensor(LABELS), class_weight=torch.ones(5))
    assert found.value == pytest.approx(lossary.diagnose("cross_entropy", Z, LABELS).value)
    half = lossary.diagnose("cross_entropy", logits.bfloat16(), torch.tensor(LABELS))
    assert half.value == pytest.approx(found.value, rel=0.02)


def test_what_cannot_be_computed_is_refused() -> None:
    with pytest.raises(ShapeError):
        lossary.diagnose("mse", np.zeros((3, 1)), np.zeros(3))
    with pytest.raises(ParameterError, match="lang"):
        lossary.diagnose("mse", [1.0], [1.0], lang="fr")  # type: ignore[arg-type]


def _run(*words: str) -> Any:
    return CliRunner().invoke(app, ["diagnose", *words], env={"COLUMNS": "200"})


def test_the_command_reads_files_and_names(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", Z)
    np.save(tmp_path / "y.npy", LABELS)
    np.savez(tmp_path / "batch.npz", logits=Z, labels=LABELS)
    healthy = _run("cross_entropy", str(tmp_path / "z.npy"), str(tmp_path / "y.npy"))
    assert healthy.exit_code == 0
    assert "class frequencies" in healthy.output
    assert _run("cross_entropy", str(tmp_path / "batch.npz")).output == healthy.output
    wrong = _run("bce", "--probs", "0.2", "0", "--target", "0", "1", "--json")
    assert wrong.exit_code == 1
    assert json.loads(wrong.output)["first_not_finite"]["step"] == "log_probability"
    chinese = _run("bce", "--probs", "0.2", "0", "--target", "0", "1", "--lang", "zh")
    assert "最先不是有限数的量" in chinese.output
    for words in (["cross_entropy", str(tmp_path / "none.npz")], ["mse", "a.npy", "b.npy", "c.npy"], ["mse"]):
        refused = _run(*words)
        assert refused.exit_code == 2, refused.output
        assert "Traceback" not in refused.output
