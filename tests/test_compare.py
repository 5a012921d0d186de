"""A comparison is fair, repeatable and honest: what each loss is given, what is refused, and what is said of it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossary
from lossary import scoring
from lossary.compare import Comparison, Settings, compare, head_for, models, read_loss, suitable
from lossary.compare.run import Fold
from lossary.data import Stress, load, splits
from lossary.errors import ArgumentError, DataError, LossaryError, NonFiniteError, ParameterError, UnknownLossError

for needed in ("polars", "sklearn", "typer", "rich"):
    pytest.importorskip(needed, reason="comparing needs the app extra")

FAST: dict[str, Any] = {"model": "linear", "epochs": 2, "folds": 2, "seeds": 1}


def without_times(result: Comparison) -> str:
    """The comparison as text, without what the clock says."""
    held = json.loads(result.to_json())
    del held["seconds"]
    for row in held["rows"]:
        del row["seconds_per_epoch"]
    return json.dumps(held)


def numbers(kind: str, n: int = 80) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Features, and targets of a kind that depend on the first of them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    rate = np.exp(1.5 + 0.5 * X[:, 0])
    return X, {"count": rng.poisson(rate).astype(int), "positive": rate, "real": 50 + 9 * X[:, 0]}[kind]


# --- what is compared -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "task"),
    [
        ("breast_cancer", "auto"),
        ("iris", "auto"),
        (numbers("real"), "auto"),
        (numbers("count"), "count"),
        (numbers("positive"), "positive"),
    ],
    ids=["binary", "multiclass", "regression", "count", "positive"],
)
def test_every_loss_that_suits_a_task_trains(data: Any, task: str) -> None:
    result = compare(data, task=task, **FAST)
    suits = suitable(load(data, task=task))
    assert suits and not [row.error for row in result.rows if row.error]
    compared = {row.name for row in result.rows}
    doubled = {note.partition(":")[0] for note in result.left_out}
    assert compared | doubled == set(suits) and not compared & doubled
    for row in result.rows:
        assert all(np.isfinite(v) for values in row.scores.values() for v in values)
        assert len(row.scores[result.metric.key]) == len(result.runs) == 2
    scores = [row.mean(result.metric.key) for row in result.rows]
    assert scores == sorted(scores, reverse=result.metric.higher)


def test_a_loss_that_is_a_multiple_of_another_is_left_out_by_default_only() -> None:
    result = compare(numbers("real"), **FAST)
    assert (
        "half_squared_error: its gradient is a multiple of that of squared_error, so it trains alike" in result.left_out
    )
    asked = compare(numbers("real"), ["squared_error", "half_squared_error"], **FAST)
    assert {row.name for row in asked.rows} == {"squared_error", "half_squared_error"} and not asked.left_out


def test_the_same_call_gives_the_same_numbers() -> None:
    first, second = (
        compare("wine", ["softmax_cross_entropy", "multiclass_hinge"], label_noise=0.2, **FAST) for _ in "12"
    )
    assert without_times(first) == without_times(second)


def test_only_the_loss_differs() -> None:
    """A loss gets the numbers beside others that it gets alone, and a bound parameter is the same as a written one."""
    alone = compare("iris", ["softmax_focal:gamma=1.5"], **FAST).rows[0]
    beside = compare("iris", ["softmax_cross_entropy", lossary.softmax_focal.bind(gamma=1.5)], **FAST)
    (same,) = [row for row in beside.rows if row.name == "softmax_focal"]
    assert same.label == alone.label == "softmax_focal(gamma=1.5)" and same.scores == alone.scores


def test_a_linear_model_learns_what_is_linear() -> None:
    options = {"model": "linear", "folds": 2, "seeds": 1, "l2": 0.0}
    row = compare(numbers("real"), ["squared_error"], **options).rows[0]
    assert row.mean("r2") > 0.98, "predictions are in the units of the target"
    assert row.validation[0][-1] < row.validation[0][0]
    counted = compare(numbers("count"), ["poisson_nll"], task="count", **options).rows[0]
    assert counted.mean("r2") > 0.3, "through the logarithm"


def test_binary_losses_agree_on_which_class_is_which() -> None:
    names = ["binary_cross_entropy_with_logits", "hinge", "softmax_cross_entropy"]
    result = compare("breast_cancer", names, model="linear", epochs=15, folds=2, seeds=1)
    assert all(row.mean("accuracy") > 0.93 for row in result.rows), str(result)
    assert [row.name for row in result.rows if row.calibrated] == ["hinge"], "scores were made probabilities"
    assert all(row.mean("log_loss") < 0.4 for row in result.rows)


def test_held_out_predictions_add_up() -> None:
    row = compare("iris", ["softmax_cross_entropy"], **{**FAST, "seeds": 2}).rows[0]
    counts = np.array(row.confusion)
    assert counts.sum(axis=1).tolist() == [100, 100, 100], "each row is held out once by each seed"
    assert np.isclose(counts.trace() / counts.sum(), row.mean("accuracy"))
    table = np.array(row.reliability)
    assert table[:, 0].sum() == 300 and table[:, 2].sum() == counts.trace()
    points = compare(numbers("real"), ["huber"], **FAST).rows[0].points
    assert len(points) == 80


# --- stress ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_stress_reaches_training_rows_only(noise: float) -> None:
    data = load("iris")
    for split in splits(data, 2, 1):
        fold = Fold.of(data, split, Stress(label_noise=noise), np.zeros(4, bool))
        assert (fold.y_test == data.y[split.test]).all()
        trained = np.concatenate([fold.y, fold.y_valid])
        same = np.bincount(trained, minlength=3).tolist() == np.bincount(data.y[split.train]).tolist()
        assert len(trained) == len(split.train) and same is not bool(noise)


def test_the_clean_scores_stand_beside_the_disturbed_ones() -> None:
    result = compare("diabetes", ["squared_error", "absolute_error"], outliers=0.1, **{**FAST, "seeds": 2})
    clean = compare("diabetes", ["squared_error", "absolute_error"], **FAST)
    for row in result.rows:
        (same,) = [other for other in clean.rows if other.name == row.name]
        assert row.clean[:2] == same.scores["rmse"], "as if there had been no stress"
        assert len(row.clean) == len(row.scores["rmse"]) == 4, "the verdict and the table speak of the same runs"
    assert "undisturbed data" in result.verdict and "RMSE clean" in str(result)
    assert not any(row.clean for row in clean.rows)


def test_imbalance_is_judged_by_the_balanced_accuracy() -> None:
    assert compare("iris", ["softmax_cross_entropy"], imbalance=10.0, **FAST).metric.key == "balanced_accuracy"
    assert compare("iris", ["softmax_cross_entropy"], **FAST).metric.key == "accuracy"
    assert compare("iris", ["softmax_cross_entropy"], metric="log-loss", **FAST).metric.key == "log_loss"


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_training_that_diverges_is_a_row() -> None:
    for data, losses in (("diabetes", ["squared_error", "log_cosh"]), ("iris", ["multi_margin"])):
        result = compare(data, losses, **{**FAST, "model": "mlp:4", "learning_rate": 1e200})
        for row in result.rows:
            assert row.error.startswith("seed 0, fold 1: ") and "earning rate" in row.error
        assert "No loss could be trained" in result.verdict and "failed" in str(result)
    assert Comparison.from_json(result.to_json()) == result


def test_a_failure_in_one_loss_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = models.train

    def train(problem: Any, *rest: Any) -> Any:
        if problem.loss.name == "huber":
            raise NonFiniteError("epoch 1, batch 1 of 2: the numbers left the world")
        return honest(problem, *rest)

    monkeypatch.setattr(models, "train", train)
    result = compare("diabetes", ["huber", "squared_error"], **FAST)
    assert [row.name for row in result.rows] == ["squared_error", "huber"]
    assert result.rows[1].error == "seed 0, fold 1: epoch 1, batch 1 of 2: the numbers left the world"
    assert "huber could not be trained." in result.verdict
    nothing = compare("diabetes", ["huber"], **FAST)
    assert nothing.verdict == "No loss could be trained on diabetes." and nothing.differences() == []


@pytest.mark.parametrize(
    ("data", "losses", "options", "kind", "said"),
    [
        ("digits", ["hinge"], {}, DataError, "hinge is for binary tasks, but digit holds 10 classes; losses that fit:"),
        ("iris", ["huber"], {}, DataError, "huber is for regression tasks, but species holds 3 classes"),
        ("diabetes", ["softmax_cross_entropy"], {}, DataError, "but progression holds numbers; losses that fit:"),
        (numbers("real"), ["poisson_nll"], {}, DataError, "poisson_nll takes targets in {0, 1, 2, ...}, but y holds"),
        ("iris", ["softmax_focall"], {}, UnknownLossError, 'unknown loss "softmax_focall": did you mean'),
        ("diabetes", ["huber:delta=-1"], {}, ParameterError, "huber: delta: got -1"),
        ("diabetes", ["huber:dleta=1"], {}, ArgumentError, 'no parameter "dleta": did you mean delta?'),
        ("diabetes", ["huber:delta"], {}, ArgumentError, 'cannot read "huber:delta"; write NAME or NAME:param=value'),
        ("iris", [], {"task": "count"}, DataError, "species holds text"),
        ("iris", [], {"model": "cnn"}, ParameterError, 'model: got "cnn", expected linear, or mlp'),
        ("iris", [], {"epochs": 0}, ParameterError, "epochs: got 0, expected 1 or more"),
        ("iris", [], {"epoch": 3}, ArgumentError, 'no setting "epoch": did you mean epochs?'),
        ("iris", [], {"learning_rate": 0.0}, ParameterError, "learning_rate: got 0"),
        ("iris", [], {"model": "linear", "learning_rate": 0.1}, ParameterError, "learning_rate: the linear model is"),
        ("iris", [], {"jobs": 0}, ParameterError, "jobs: got 0, expected 1 or more processes, or -1"),
        ("iris", [], {"cost": "1:5"}, ParameterError, "cost: is for two classes, but species has the task multiclass"),
        ("breast_cancer", [], {"cost": "1:-5"}, ParameterError, 'cost: got "1:-5", expected FALSE_POSITIVE:FALSE_N'),
        ("iris", [], {"metric": "recall"}, ParameterError, 'no metric "recall" for classes'),
        ("iris", [], {"report": "r.pdf"}, ParameterError, "report: got r.pdf, expected a name that ends in .html"),
        ("iris", [], {"json": "-", "report": "-"}, ParameterError, "standard output takes one of them"),
        ("iris", [], {"learning_rate": np.inf}, ParameterError, "learning_rate: got inf"),
        ("iris", [], {"l2": -1.0}, ParameterError, "l2: got -1"),
        ("iris", [], {"l2": np.inf}, ParameterError, "l2: got inf"),
        ("iris", [], {"rows": 3}, DataError, "iris has 3 rows, too few for 5 folds; use more rows"),
        ("iris", [], {"metric": "acuracy"}, ParameterError, 'no metric "acuracy" for classes: did you mean accuracy'),
        ("iris", [], {"metric": "rmse"}, ParameterError, 'no metric "rmse" for classes: there are accuracy'),
        ("iris", [], {"outliers": 0.1}, ParameterError, "use --label-noise"),
        (
            "iris",
            [],
            {"folds": 60},
            DataError,
            "class setosa has 50 members, class versicolor has 50 members, class virginica has",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_before_training(
    data: Any, losses: list[str], options: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as refusal:
        compare(data, losses, **options)
    assert said in str(refusal.value) and isinstance(refusal.value, LossaryError)


def test_losses_as_they_are_written() -> None:
    read = read_loss("softmax_cross_entropy:label_smoothing=0.1,class_weight=[1, 2, 3]")
    assert read.params == {"label_smoothing": 0.1, "class_weight": [1, 2, 3]}
    assert read_loss("MSE").label == "squared_error"
    assert [c.params for c in map(read_loss, ["huber:delta=2", "huber:delta=2.0"])] == [{"delta": 2}, {"delta": 2.0}]


def test_one_loss_with_different_parameters_is_told_apart() -> None:
    close = ["huber:delta=1", "huber:delta=3", "huber:delta=1.0000001", "huber:delta=1.0", "huber"]
    result = compare(numbers("real"), close, **FAST)
    labels = {row.label for row in result.rows}
    assert labels == {"huber(delta=1)", "huber(delta=3)", "huber(delta=1.0000001)", "huber"}, "1 and 1.0 are one"
    assert all(label in text for label in labels for text in (str(result), result.to_json()))
    assert {d.label for d in result.differences()} == labels - {result.rows[0].label}


def test_a_large_table_is_sampled_and_says_so() -> None:
    result = compare("digits", ["softmax_cross_entropy"], rows=200, **FAST)
    assert result.data.notes[0] == "199 of 1,797 rows drawn at random; --rows 0 takes all" and result.data.rows == 199
    assert max(result.data.members) - min(result.data.members) <= 2, "classes keep their shares"
    assert compare("iris", ["softmax_cross_entropy"], rows=0, **FAST).data.rows == 150


def test_a_relative_loss_sees_the_zero_of_the_target() -> None:
    data = load(numbers("real"))
    assert head_for(lossary.mape, data).scale(data.y).centre == 0.0
    scale = head_for(lossary.huber, data).scale(data.y)
    assert scale.centre == np.median(data.y) and 3 < scale.unit < 20


# --- certainty ------------------------------------------------------------------------------------------------------


def test_the_interval_is_the_corrected_one() -> None:
    differences = [0.03, 0.01, 0.02, 0.04, 0.00]
    low, high = scoring.paired_interval(differences, 0.25)
    # Nadeau and Bengio: t(0.975, 4) = 2.776445; s^2 (1/J + n_test / n_train)
    half = 2.776445 * np.std(differences, ddof=1) * np.sqrt(1 / 5 + 0.25)
    assert np.isclose(low, 0.02 - half, atol=1e-7) and np.isclose(high, 0.02 + half, atol=1e-7)
    assert scoring.paired_interval([0.1], 0.25) == (-np.inf, np.inf)
    low, high = scoring.paired_interval([0.02] * 5, 0.25, least=0.01)
    assert np.isclose(high - low, 2 * 2.776445 * 0.01 * np.sqrt(0.45)), "agreement by chance is no certainty"


def test_the_same_loss_twice_cannot_be_told_apart() -> None:
    result = compare("iris", ["softmax_cross_entropy", "softmax_cross_entropy:temperature=1"], **FAST)
    (difference,) = result.differences()
    assert difference.behind == 0 and not difference.certain
    assert "These runs cannot tell it from" in result.verdict


def test_a_clear_difference_is_said() -> None:
    losses = ["softmax_cross_entropy", "softmax_cross_entropy:temperature=10000"]
    result = compare("digits", losses, model="linear", epochs=3, folds=3, seeds=1, l2=0.1, rows=500)
    assert result.differences()[0].certain and "95 % interval" in result.verdict
    assert result.rows[0].label == "softmax_cross_entropy"


def test_calibration_of_scores_is_fitted() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 4000)
    logits = rng.normal(size=(4000, 3))
    logits[np.arange(4000), labels] += 1  # the log-odds of a class grow by exactly this much: logits are true
    scale, bias = scoring.temperature_and_bias(5 * logits, labels)
    assert np.isclose(scale, 0.2, rtol=0.15) and not bias.any()
    binary = labels % 2
    margins = rng.normal(size=4000) + 3 * binary
    scale, bias = scoring.temperature_and_bias(margins[:, None], binary)
    assert np.isclose(scale, 3, rtol=0.15)
    assert scoring.temperature_and_bias(margins[:, None], np.zeros(4000, int))[0] == 1.0, "one class teaches nothing"


def test_a_perfectly_calibrated_network_has_no_calibration_error() -> None:
    probabilities = np.tile([[0.2, 0.8]], (10, 1))
    truth = np.array([1] * 8 + [0] * 2)
    error = scoring.metric("calibration error", True).of(truth, probabilities.argmax(axis=1), probabilities)
    assert np.isclose(error, 0.0)


# --- files ----------------------------------------------------------------------------------------------------------


def test_json_holds_everything(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    result = compare("iris", ["softmax_cross_entropy", "multi_margin"], json=path, **FAST)
    held = json.loads(path.read_text())
    assert held["verdict"] == result.verdict and len(held["differences_to_best"]) == 1
    assert held["data"]["rows"] == 150 and held["settings"]["model"] == "linear"
    assert Comparison.from_json(path.read_text()) == result
    assert str(Comparison.from_json(path.read_text())) == str(result)
    for text in ("", "[]", '{"format": "other"}', '{"format": "lossary comparison 1"}'):
        with pytest.raises(DataError, match="not a comparison written by lossary"):
            Comparison.from_json(text)


def test_an_unwritable_path_is_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "train", lambda *_: pytest.fail("something was trained"))
    with pytest.raises(ParameterError, match="there is no folder"):
        compare("iris", report=tmp_path / "nowhere" / "report.html")
    with pytest.raises(ParameterError, match="is a folder"):
        compare("iris", json=tmp_path)
    with pytest.raises(ParameterError, match="used twice"):
        compare(tmp_path / "a.html", report=tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_the_command_does_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the folder where it was run, with the file named as seen from there."""
    (tmp_path / "tables").mkdir()
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tables" / "my data.csv"
    path.write_text("x,kind\n" + "\n".join(f"{i}.5,{'ab'[i % 2]}" for i in range(12)))
    result = compare(path, ["hinge"], target="kind", l2=0.01, **FAST)
    assert result.command == (
        "lossary compare 'tables/my data.csv' --target kind --loss hinge --l2 0.01 --model linear --epochs 2 --folds 2 "
        "--seeds 1"
    )
    assert str(tmp_path) not in result.to_json()
    assert compare(numbers("real"), ["huber"], **FAST).command == ""


def test_settings_have_the_defaults_the_command_line_shows() -> None:
    assert Settings().hidden == (64, 64) and not Settings().stress
    assert Settings(model="mlp:8").hidden == (8,) and Settings(label_noise=0.1).stress


# --- the command line -----------------------------------------------------------------------------------------------


@pytest.fixture
def run() -> Any:
    from typer.testing import CliRunner

    from lossary.cli.app import app

    wide = {"COLUMNS": "200", "TERM": "dumb"}
    return lambda *words, env=wide: CliRunner(env={**wide, **env}).invoke(app, ["compare", *words])


OPTIONS = ("--model", "linear", "--epochs", "2", "--folds", "2", "--seeds", "1")


def test_the_command(run: Any, tmp_path: Path) -> None:
    report, numbers_file = tmp_path / "r.html", tmp_path / "r.json"
    done = run(
        "iris", "--loss", "softmax_cross_entropy", "--loss", "softmax_focal:gamma=1", *OPTIONS,
        "--report", str(report), "--json", str(numbers_file),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    for text in ("softmax_cross_entropy", "softmax_focal(gamma=1)", "accuracy ↑", "On iris (150 rows)", "multiclass"):
        assert text in done.output
    assert f"report: {report}" in done.output.replace("\n", "") and report.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(numbers_file.read_text())["command"].startswith("lossary compare iris --loss")


@pytest.mark.parametrize("columns", [80, 120])
def test_help_fits_and_shows_examples_whole(run: Any, columns: int) -> None:
    said = run("--help", env={"COLUMNS": str(columns)}).output
    assert all(len(line) <= columns for line in said.splitlines())
    assert len(examples_in(said)) >= 4


def examples_in(said: str) -> list[list[str]]:
    """The arguments of every example of a help text that stands on a line of its own."""
    lines = [shlex.split(line) for line in said.splitlines()]
    return [words[2:] for words in lines if words[:2] == ["lossary", "compare"]]


def test_the_examples_of_the_help_run(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = "\n".join(f"{i % 7},{i % 5},{i + 0.5}" for i in range(40))
    Path("houses.csv").write_text(f"rooms,floor,price\n{lines}\n")
    churn = "\n".join(f"{i % 7},{i % 5},{'yes' if i % 11 == 0 else 'no'}" for i in range(90))
    Path("churn.csv").write_text(f"calls,months,churn\n{churn}\n")
    for words in examples_in(run("--help").output):
        done = run(*words, "--epochs", "1", "--seeds", "1", "--folds", "2", "--rows", "150")
        assert done.exit_code == 0, f"{words}: {done.output}"
    assert {path.name for path in tmp_path.iterdir()} == {"houses.csv", "houses.html", "churn.csv", "iris.json"}


def test_ctrl_c_leaves_one_line_and_no_file(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, calls = models.train, []

    def train(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return honest(*args)

    monkeypatch.setattr(models, "train", train)
    done = run("iris", *OPTIONS, "--report", str(tmp_path / "r.html"), "--json", str(tmp_path / "r.json"))
    assert done.exit_code == 130 and not list(tmp_path.iterdir())
    assert re.fullmatch(r"stopped after 2 of \d+ trainings; no file was written\n", done.output)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("irsi",), "did you mean iris?"),
        (("iris", "--target", "specis"), "did you mean species?"),
        (("digits", "--loss", "hinge"), "losses that fit"),
        (("iris", "--report", "nowhere/r.html"), "there is no folder nowhere"),
    ],
)
def test_a_refusal_is_a_sentence_and_exit_code_2(run: Any, words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.exit_code == 2 and said in done.output and "Traceback" not in done.output
