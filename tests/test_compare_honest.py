"""What a comparison concludes can be trusted: converged or said so, beside constants, in the units of the data."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossary
from lossary import scoring
from lossary.compare import Comparison, compare, models
from lossary.compare.folds import Scaling, splits
from lossary.compare.language import translate
from lossary.compare.metrics import Predictions, metrics_for, parse_cost, tune_threshold
from lossary.data import load
from lossary.errors import DataError, ParameterError
from lossary.training.solver import minimise

for needed in ("polars", "sklearn", "typer", "rich"):
    pytest.importorskip(needed, reason="comparing needs the app extra")

LINEAR: dict[str, Any] = {"model": "linear", "folds": 3, "seeds": 1}
Array = Any


def churn(n: int = 900) -> tuple[Array, Array]:
    """Two classes of which the rarer, about one row in twelve, depends on the first feature."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    return X, np.where(rng.random(n) < 1 / (1 + np.exp(3.3 - 1.6 * X[:, 0])), "yes", "no")


def amounts(n: int = 200, unit: float = 1.0) -> tuple[Array, Array]:
    """Features, and amounts with a few gross outliers."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 2))
    y = 300_000 + 90_000 * X[:, 0] + 40_000 * rng.standard_t(2, n)
    return X, unit * y


# --- converged, or said so ------------------------------------------------------------------------------------------


def test_a_linear_model_is_solved() -> None:
    """Sixty steps of a learning rate gave 0.80 here."""
    row = compare("iris", ["cross_entropy"], **{**LINEAR, "folds": 5}).rows[0]
    assert row.mean("accuracy") > 0.95 and not row.unconverged


def test_what_has_not_converged_is_said_with_the_option_that_mends_it() -> None:
    result = compare("iris", ["cross_entropy", "multi_margin"], epochs=3, **LINEAR)
    assert [row.unconverged for row in result.rows] == [3, 3] and len(result.unconverged) == 2
    assert "stopped at the limit of 3 epochs while still improving, in up to 3 of 3 runs; raise --epochs 3" in (
        result.verdict
    )
    assert str(result).count("‡") == 3, "at both losses, and below the table"
    pytest.importorskip("jinja2", reason="the report needs the app extra")
    assert "2 not converged" in result.to_html() and "‡" in result.to_html()
    fine = compare("iris", ["cross_entropy"], **LINEAR)
    assert "Not converged" not in fine.verdict and "‡" not in str(fine)


def test_a_network_that_still_improves_is_said_too() -> None:
    short = compare("iris", ["cross_entropy"], model="mlp:8", epochs=2, folds=2, seeds=1)
    assert short.rows[0].unconverged == 2 and "raise --epochs 2" in short.verdict
    done = compare("iris", ["cross_entropy"], model="mlp:8", folds=2, seeds=1, patience=5, rows=90)
    assert not done.rows[0].unconverged and done.rows[0].epochs < done.rows[0].limit
    assert set(done.rows[0].tuned) <= set(models.LEARNING_RATES)


def objective(loss: Any, X: Array, y: Array, l2: float, outputs: int = 1, **params: Any) -> Any:
    """The mean loss of a linear model with an L2 penalty of half the squared weights, and its gradient."""

    def evaluate(x: Array) -> tuple[float, Array]:
        d = X.shape[1]
        weights, bias = x[: d * outputs].reshape(d, outputs), x[d * outputs :]
        out = X @ weights + bias
        value, grad = loss.value_and_grad(out if outputs > 1 else out[:, 0], y, reduction="mean", **params)
        grad = grad.reshape(out.shape)
        slope = np.concatenate([(X.T @ grad + l2 * weights).ravel(), grad.sum(axis=0)])
        return float(value) + l2 / 2 * float((weights**2).sum()), slope

    return evaluate


def standardised(name: str) -> tuple[Array, Array]:
    data = load(name)
    return Scaling.of(data.X, np.zeros(data.X.shape[1], bool))(data.X), data.y


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_the_optimum_of_cross_entropy_is_the_one_of_scikit_learn(name: str) -> None:
    from sklearn.linear_model import LogisticRegression

    X, y = standardised(name)
    n, classes, l2 = len(y), len(np.unique(y)), 1e-3
    theirs = LogisticRegression(C=1 / (n * l2), tol=1e-10, max_iter=10_000).fit(X, y)
    if classes == 2:
        evaluate = objective(lossary.binary_cross_entropy_with_logits, X, y.astype(float), l2)
        found = np.concatenate([theirs.coef_[0], theirs.intercept_])
    else:
        evaluate = objective(lossary.softmax_cross_entropy, X, y, l2, classes)
        found = np.concatenate([theirs.coef_.T.ravel(), theirs.intercept_])
    ours = minimise(evaluate, np.zeros(len(found)), 1000)
    assert ours.converged and ours.values[-1] == pytest.approx(evaluate(found)[0], abs=1e-7)


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_the_optimum_at_a_kink_is_the_one_of_linear_programming(quantile: float) -> None:
    from sklearn.linear_model import QuantileRegressor

    X, y = standardised("diabetes")
    y = (y - np.median(y)) / y.std()
    theirs = QuantileRegressor(quantile=quantile, alpha=0, solver="highs").fit(X, y)
    evaluate = objective(lossary.pinball, X, y, 0.0, quantile=quantile)
    best = evaluate(np.concatenate([theirs.coef_, [theirs.intercept_]]))[0]
    ours = minimise(evaluate, np.zeros(X.shape[1] + 1), 3000)
    assert ours.converged and best - 1e-9 <= ours.values[-1] <= best * (1 + 1e-4)


def test_a_valley_with_a_kink_is_followed_to_its_end() -> None:
    """The function of Rosenbrock with an absolute value (Lewis and Overton 2013): its minimum, 0, lies in the kink."""

    def evaluate(x: Array) -> tuple[float, Array]:
        r = x[0] ** 2 - x[1]
        slope = 8 * np.sign(r)
        return float(8 * abs(r) + (1 - x[0]) ** 2), np.array([2 * slope * x[0] - 2 * (1 - x[0]), -slope])

    found = minimise(evaluate, np.array([-1.2, 1.0]), 500)
    assert found.converged and found.values[-1] < 2e-6 and len(found.values) < 200


def test_a_solver_that_is_stopped_says_so() -> None:
    evaluate = objective(lossary.absolute_error, *standardised("diabetes"), 0.0)
    assert not minimise(evaluate, np.zeros(11), 5).converged


SKLEARN = {
    "cross_entropy": ("iris", "wine", "breast_cancer"),
    "huber": ("diabetes",),
    "absolute_error": ("diabetes",),
    "squared_error": ("diabetes",),
    "poisson_nll": ("counts",),
}


@pytest.mark.parametrize(("loss", "name"), [(loss, name) for loss, names in SKLEARN.items() for name in names])
def test_scikit_learns_estimators_score_alike(loss: str, name: str) -> None:
    """On the same folds, within one standard error of our linear model."""
    from sklearn import linear_model

    estimators = {
        "cross_entropy": lambda: linear_model.LogisticRegression(max_iter=5000),
        "huber": lambda: linear_model.HuberRegressor(max_iter=5000),
        "absolute_error": lambda: linear_model.QuantileRegressor(alpha=0.0),
        "squared_error": linear_model.LinearRegression,
        "poisson_nll": lambda: linear_model.PoissonRegressor(alpha=0.0, max_iter=5000),
    }
    source: Any = name
    if name == "counts":
        rng = np.random.default_rng(0)
        X = rng.normal(size=(400, 3))
        source = (X, rng.poisson(np.exp(1 + 0.4 * X[:, 0] - 0.2 * X[:, 1])))
    task = "count" if name == "counts" else "auto"
    result = compare(source, [loss], task=task, model="linear", folds=5, seeds=1)
    (row,), m, data = result.rows, result.metric, load(source, task=task)
    scores = []
    for split in splits(data, 5, 1):
        scale = Scaling.of(data.X[split.train], np.zeros(data.X.shape[1], bool))
        model = estimators[loss]().fit(scale(data.X[split.train]), data.y[split.train])
        found = model.predict(scale(data.X[split.test]))
        scores.append(m.of(data.y[split.test], found, np.zeros((len(found), 0))))
    error = row.spread(m.key) / np.sqrt(len(scores))
    assert abs(np.mean(scores) - row.mean(m.key)) <= error


# --- beside constants -----------------------------------------------------------------------------------------------


def test_random_labels_have_no_winner() -> None:
    rng = np.random.default_rng(0)
    result = compare((rng.normal(size=(150, 2)), rng.integers(0, 3, 150)), ["cross_entropy", "multi_margin"], **LINEAR)
    assert not result.beats_references
    assert "beats a constant" in result.sentences[0] and "use " not in result.sentences[0]
    (constant,) = result.references
    assert constant.label == "majority class" and constant.mean("balanced_accuracy") == pytest.approx(1 / 3)
    assert "always the majority class" in str(result)


def test_the_constants_are_those_of_the_training_rows() -> None:
    result = compare("diabetes", ["squared_error"], **LINEAR)
    assert [row.label for row in result.references] == ["mean", "median", "quantile 0.1", "quantile 0.9"]
    assert result.best_reference is result.references[0] and result.beats_references
    by_quantile = {row.label: row.mean("pinball_0.1") for row in result.references}
    assert min(by_quantile, key=by_quantile.__getitem__) == "quantile 0.1"
    assert result.references[0].mean("r2") == pytest.approx(0, abs=0.05)
    assert Comparison.from_json(result.to_json()) == result


def test_a_column_that_is_the_target_is_remarked_on() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    frame = {"noise": rng.normal(size=60), "copy": 3 * y + 1, "y": y}
    import polars as pl

    result = compare(pl.DataFrame(frame), ["hinge"], target="y", **LINEAR)
    assert result.data.warnings == ["copy"]
    assert "Look at copy: alone it determines y in every row" in result.verdict
    assert not load("iris").leaks() and not load("diabetes").leaks() and not load("breast_cancer").leaks()
    twice = load((np.stack([rng.normal(size=60), 2 * np.arange(60.0)], axis=1), np.arange(60.0) / 7 + 0.5))
    assert twice.leaks() == ["x1"]


def test_a_perfect_result_is_remarked_on() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2)) * [1.0, 9.0]
    X[:, 0] += 4 * np.sign(X[:, 0])  # a wide gap, but along no column once it is turned
    side = X[:, 0] > 0
    X = X @ np.array([[1.0, 1.0], [-1.0, 1.0]])
    result = compare((X, side.astype(int)), ["hinge"], **LINEAR)
    assert not result.data.warnings, "no column alone separates the classes"
    assert "Every held-out row is predicted exactly: check that no column is made from y." in result.verdict


# --- two classes of which one is rare -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rare() -> Comparison:
    return compare(churn(600), **{**LINEAR, "folds": 2})


def test_a_rare_class_is_judged_by_what_is_found_of_it(rare: Comparison) -> None:
    assert rare.metric.key == "average_precision" and rare.data.classes[rare.data.positive] == "yes"
    keys = {m.key for m in rare.metrics}
    assert {"roc_auc", "recall", "precision", "f1", "f1_at_half", "recall_at_half"} <= keys
    (constant,) = rare.references
    assert constant.mean("roc_auc") == 0.5
    assert constant.mean("average_precision") == pytest.approx(min(rare.data.members) / rare.data.rows, abs=0.01)
    assert "y is yes in" in rare.verdict and "% of what it flags is right" in rare.verdict
    best = rare.trained[0]
    assert best.mean("roc_auc") > 0.75 and best.mean("recall") > 0.3


def test_the_default_set_for_a_rare_class_has_weighted_losses(rare: Comparison) -> None:
    labels = {row.label for row in rare.rows}
    negatives, positives = (rare.data.members[i] for i in (1 - rare.data.positive, rare.data.positive))
    ratio = float(f"{negatives / positives:.2g}")
    assert f"binary_cross_entropy_with_logits(pos_weight={ratio:g})" in labels
    assert {"binary_cross_entropy_with_logits", "sigmoid_focal", "logit_adjusted", "class_balanced"} <= labels
    balanced = compare("breast_cancer", rows=60, epochs=2, **{**LINEAR, "folds": 2})
    assert not any("pos_weight" in row.label or row.name == "logit_adjusted" for row in balanced.rows)
    thinned = compare("breast_cancer", rows=60, epochs=2, imbalance=10.0, **{**LINEAR, "folds": 2})
    assert "binary_cross_entropy_with_logits(pos_weight=10)" in {row.label for row in thinned.rows}


def test_a_weighted_loss_finds_more_at_a_probability_of_one_half(rare: Comparison) -> None:
    found = {row.label: row.mean("recall_at_half") for row in rare.rows}
    weighted = next(value for label, value in found.items() if "pos_weight" in label)
    assert weighted > 0.5 > 0.3 > found["binary_cross_entropy_with_logits"]


def test_the_rarer_class_is_the_positive_one_whichever_comes_first() -> None:
    X, y = churn(600)
    renamed = np.where(y == "yes", "a_rare", "b_usual")
    losses = ["binary_cross_entropy_with_logits"]
    first, second = (compare((X, labels), losses, **LINEAR) for labels in (y, renamed))
    assert first.data.positive == 1 and second.data.positive == 0
    for key in ("average_precision", "roc_auc"):  # the validation rows are others: nearly the same
        assert first.rows[0].mean(key) == pytest.approx(second.rows[0].mean(key), abs=0.1)
    assert second.rows[0].mean("average_precision") > 0.3 > 3 * min(second.data.members) / second.data.rows


def test_costs_choose_the_threshold() -> None:
    X, y = churn()
    losses = ["binary_cross_entropy_with_logits"]
    dear, cheap = (compare((X, y), losses, cost=cost, **LINEAR) for cost in ("1:30", "30:1"))
    assert dear.metric.key == "cost" and dear.metric.meaning.endswith("1 for a false positive, 30 for a false negative")
    assert dear.rows[0].mean("recall") > 0.8 > 0.3 > cheap.rows[0].mean("recall")
    row, share = dear.rows[0], min(dear.data.members) / dear.data.rows
    missed = 30 * share * (1 - row.mean("recall"))
    false_alarms = share * row.mean("recall") * (1 / row.mean("precision") - 1)
    assert row.mean("cost") == pytest.approx(missed + false_alarms, rel=0.1)
    assert "--cost 1:30" not in dear.command and parse_cost("1:30") == (1.0, 30.0)


def test_the_threshold_is_the_best_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = rng.random(30) < 0.3
        scores = np.round(0.5 * truth + 0.7 * rng.random(30), 1) / 1.2
        for costs in (None, (1.0, 4.0), (5.0, 1.0)):

            def quality(threshold: float, truth: Array = truth, scores: Array = scores, costs: Any = costs) -> float:
                flagged = scores >= threshold
                hits = (flagged & truth).sum()
                if costs is None:
                    return 2 * hits / max(flagged.sum() + truth.sum(), 1)
                return -costs[0] * (flagged & ~truth).sum() - costs[1] * (truth.sum() - hits)

            chosen = tune_threshold(scores, truth, costs)
            assert quality(chosen) == pytest.approx(max(quality(t) for t in [*scores, 0.5, 2.0]))


def test_metrics_of_the_positive_class_are_those_of_scikit_learn() -> None:
    from sklearn import metrics

    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 50)
    chance = rng.random(50)
    decisions, tuned = (chance > 0.5).astype(int), (chance > 0.3).astype(int)
    held = Predictions(truth, decisions, np.stack([1 - chance, chance], axis=1), tuned=tuned, positive=0)
    scores = held.scores(scoring.metrics_for("binary", "1:2"))
    assert scores["recall"] == metrics.recall_score(truth, tuned, pos_label=0)
    assert scores["precision"] == metrics.precision_score(truth, tuned, pos_label=0)
    assert scores["f1_at_half"] == metrics.f1_score(truth, decisions, pos_label=0)
    assert scores["average_precision"] == metrics.average_precision_score(truth == 0, 1 - chance)
    wrong = (truth == 0) & (tuned == 1)
    assert scores["cost"] == pytest.approx((2 * wrong.sum() + ((truth == 1) & (tuned == 0)).sum()) / 50)
    assert "log_loss_unscaled" not in scores, "these are no probabilities of a loss"


# --- the units of the target ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss", ["huber:delta", "smooth_l1:beta", "epsilon_insensitive:epsilon", "student_t_nll:scale"]
)
def test_a_parameter_in_the_units_of_the_target_means_them(loss: str) -> None:
    """Dollars with a `delta` in dollars, thousands with a `delta` in thousands: the same predictions."""
    dollars = compare(amounts(), [f"{loss}=50000"], l2=0.0, **LINEAR).rows[0]
    thousands = compare(amounts(unit=0.001), [f"{loss}=50"], l2=0.0, **LINEAR).rows[0]
    assert dollars.mean("rmse") == pytest.approx(1000 * thousands.mean("rmse"), rel=2e-3)
    huge = compare(amounts(), [f"{loss}=5e9"], l2=0.0, epochs=50, **LINEAR).rows[0]
    assert abs(huge.mean("rmse") / dollars.mean("rmse") - 1) > 1e-3, "and not that many robust standard deviations"


def test_the_ends_of_huber_are_squared_and_absolute_error() -> None:
    losses = ["huber:delta=1e9", "squared_error", "huber:delta=1", "absolute_error", "huber:delta=50000"]
    rows = {row.label: row.mean("rmse") for row in compare(amounts(), losses, l2=0.0, **LINEAR).rows}
    assert rows["huber(delta=1e+09)"] == pytest.approx(rows["squared_error"], rel=1e-4)
    assert rows["huber(delta=1)"] == pytest.approx(rows["absolute_error"], rel=1e-2)
    assert abs(rows["huber(delta=50000)"] / rows["squared_error"] - 1) > 1e-4


# --- fair, and without contradiction --------------------------------------------------------------------------------


def test_every_loss_gets_the_same_scaling() -> None:
    """A confident and a cautious form of one loss have the same log loss once scaled, and not before."""
    losses = ["softmax_cross_entropy", "softmax_cross_entropy:temperature=3"]
    one, other = compare("wine", losses, l2=0.0, epochs=20, **LINEAR).rows
    assert not one.calibrated and "log_loss_unscaled" in one.scores
    scores = compare("wine", ["multi_margin", "softmax_focal"], **LINEAR)
    by_name = {row.name: row for row in scores.rows}
    assert "log_loss_unscaled" not in by_name["multi_margin"].scores and "–" in str(scores)
    assert by_name["softmax_focal"].mean("log_loss") < by_name["softmax_focal"].mean("log_loss_unscaled") + 0.05
    assert abs(one.mean("log_loss") - other.mean("log_loss")) < 0.05


def test_the_verdict_and_the_table_speak_of_the_same_runs() -> None:
    result = compare("diabetes", ["squared_error", "huber"], outliers=0.1, model="linear", folds=2, seeds=2)
    for row in result.rows:
        change = row.mean("rmse") - float(np.mean(row.clean))
        said = f"{row.label} is {'worse' if change > 0 else 'better'} by {result.metric.show(abs(change))}"
        assert said in result.verdict


def test_each_loss_that_cannot_be_told_apart_has_its_own_bound() -> None:
    result = compare("diabetes", ["squared_error", "huber", "pseudo_huber", "mape"], **LINEAR)
    for d in result.differences():
        shown = f"{d.label} ({result.metric.show(d.behind)} behind, at most {result.metric.show(d.high)})"
        assert (shown in result.verdict) is not d.certain


def test_losses_that_train_alike_are_recognised() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 2))
    result = compare((X, rng.poisson(np.exp(1 + X[:, 0]))), task="count", **LINEAR)
    assert "generalized_kl" not in {row.name for row in result.rows}
    assert any(
        note.startswith("generalized_kl: its gradient is a multiple of that of poisson_nll") for note in result.left_out
    )


def test_processes_give_the_same_numbers() -> None:
    losses = ["squared_error", "huber"]
    one, two = (compare("linnerud", losses, jobs=jobs, **LINEAR) for jobs in (1, 2))
    assert [row.scores for row in one.rows] == [row.scores for row in two.rows]


# --- files ----------------------------------------------------------------------------------------------------------


def test_only_own_files_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    path.write_text("my notes")
    with pytest.raises(ParameterError, match="exists and was not written by Lossary; --force"):
        compare("iris", ["cross_entropy"], json=path, **LINEAR)
    assert path.read_text() == "my notes"
    compare("iris", ["cross_entropy"], json=path, force=True, **LINEAR)
    compare("iris", ["cross_entropy"], json=path, **LINEAR)
    assert Comparison.from_json(path.read_text()).rows[0].name == "softmax_cross_entropy"


def test_a_link_is_written_through(tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="the report needs the app extra")
    (tmp_path / "there").mkdir()
    link = tmp_path / "r.html"
    link.symlink_to(tmp_path / "there" / "real.html")
    compare("iris", ["cross_entropy"], report=link, **LINEAR)
    assert link.is_symlink() and "<!DOCTYPE html>" in (tmp_path / "there" / "real.html").read_text()


def test_standard_output_takes_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    result = compare("iris", ["cross_entropy"], json="-", **LINEAR)
    assert Comparison.from_json(capsys.readouterr().out) == result


@pytest.mark.parametrize("name", ["r.pdf", "r.json", "r"])
def test_an_ending_that_does_not_fit_is_refused(name: str, tmp_path: Path) -> None:
    result = compare("iris", ["cross_entropy"], **LINEAR)
    with pytest.raises(ParameterError, match=r"expected a name that ends in \.html"):
        compare("iris", report=tmp_path / name)
    if name != "r.json":
        with pytest.raises(ParameterError, match=r"expected a name that ends in \.html"):
            result.save(tmp_path / name)


# --- sample weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "regression"])
def test_a_row_of_weight_three_counts_as_three_rows(task: str) -> None:
    """In every metric of every task, and for the tuned threshold."""
    rng = np.random.default_rng(4)
    n, classes = 61, 2 if task == "binary" else 3
    weight = rng.integers(1, 4, n)
    odds = rng.random((n, classes))
    probabilities = odds if task == "multilabel" else odds / odds.sum(axis=1, keepdims=True)
    truth, decisions = rng.integers(0, classes, n), probabilities.argmax(axis=1)
    if task == "multilabel":
        truth, decisions = rng.integers(0, 2, (n, classes)), (odds > 0.5).astype(int)
    if task == "regression":
        truth, decisions = rng.normal(size=n), rng.normal(size=n)
    tuned = 1 - decisions if task == "binary" else None
    once = Predictions(truth, decisions, probabilities, probabilities, tuned, weight=weight.astype(float))
    parts = [truth, decisions, probabilities, probabilities, tuned]
    often = Predictions(*(part if part is None else np.repeat(part, weight, axis=0) for part in parts))
    metrics = metrics_for(task, "1:5" if task == "binary" else "")
    weighed, repeated, alike = once.scores(metrics), often.scores(metrics), replace(once, weight=None).scores(metrics)
    assert set(weighed) == {m.key for m in metrics}
    assert weighed == pytest.approx(repeated, rel=1e-12)
    assert all(weighed[key] != pytest.approx(alike[key], rel=1e-6) for key in weighed), "the weights matter"
    if task == "binary":
        scores, positive = probabilities[:, 1], truth == 1
        for costs in (None, (1.0, 5.0)):
            expected = tune_threshold(np.repeat(scores, weight), np.repeat(positive, weight), costs)
            assert tune_threshold(scores, positive, costs, weight.astype(float)) == expected


def test_rows_of_little_weight_hardly_enter_training_constants_and_scores() -> None:
    pl = pytest.importorskip("polars")
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    noisy = np.arange(300) % 3 == 0
    frame = pl.DataFrame({"x": x, "y": np.where(noisy, 100.0, 3 * x), "w": np.where(noisy, 1e-9, 1.0)})
    result = compare(frame, ["squared_error"], target="y", weight="w", l2=0.0, **LINEAR)
    alike = compare(frame.drop("w"), ["squared_error"], target="y", l2=0.0, **LINEAR)
    assert result.rows[0].mean("rmse") < 0.05 < 30 < alike.rows[0].mean("rmse")
    constants = {row.label: row.mean("mae") for row in result.references}
    assert max(constants.values()) < 10, "all are near 3 x, none near 100"


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_wrong_labels_of_little_weight_change_no_decision_and_no_probability(task: str) -> None:
    """Training, the scaling of probabilities, the tuned threshold, the constants and the scores all weigh them out."""
    pl = pytest.importorskip("polars")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 2))
    kinds = {
        "binary": np.where(x[:, 0] > 0.5, "b", "a"),
        "multiclass": np.array(["a", "b", "c"])[(x[:, 0] > 0).astype(int) + (x[:, 0] > 1)],
        "multilabel": np.where(x[:, 0] > 0.5, "p|q", np.where(x[:, 1] > 1, "p|r", "r")),
    }
    wrong = rng.random(600) < 0.6  # more than half: without weights the wrong label is the rule
    label = np.where(wrong, {"binary": "b", "multiclass": "c", "multilabel": "q|r"}[task], kinds[task])
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": label, "w": np.where(wrong, 1e-7, 1.0)})
    loss = {"binary": "bce_with_logits", "multiclass": "cross_entropy", "multilabel": "bce_with_logits"}[task]
    asked: dict[str, Any] = {"target": "y", "l2": 1e-4, **LINEAR}
    weighed = compare(frame, [loss], weight="w", **asked)
    row, (constant,) = weighed.rows[0], weighed.references
    main = "micro_f1" if task == "multilabel" else "accuracy"
    assert row.mean(main) > 0.9 and row.mean("log_loss") < 0.3
    if task == "binary":
        assert row.mean("f1") > 0.9
    if task != "multilabel":
        assert constant.mean(main) == pytest.approx(np.mean(kinds[task][~wrong] == "a"), abs=0.05)
    assert compare(frame.drop("w"), [loss], **asked).rows[0].mean("log_loss") > 0.3
    tiny = compare(frame.with_columns(pl.col("w") * 1e-290), [loss], weight="w", **asked).rows[0]
    for key, scores in row.scores.items():
        assert tiny.scores[key] == pytest.approx(scores, rel=1e-6), "only the ratios of weights matter"


def test_the_threshold_is_tuned_on_weighed_rows() -> None:
    """Wrong labels near the boundary move the threshold of rows that count alike, and not that of weighed ones."""
    pl = pytest.importorskip("polars")
    rng = np.random.default_rng(0)
    x = rng.normal(size=1500)
    wrong = (x > 0.3) & (x < 1.0) & (rng.random(1500) < 0.85)
    label = np.where((x > 0.3) & ~wrong, "b", "a")
    frame = pl.DataFrame({"x": x, "y": label, "w": np.where(wrong, 1e-7, 1.0)})
    row = compare(frame, ["bce_with_logits"], target="y", weight="w", l2=1e-4, **LINEAR).rows[0]
    assert row.mean("recall") > 0.9 and row.mean("f1") > 0.95, "0.83 and 0.91 at the threshold of rows that count alike"


def test_rows_of_weight_zero_are_left_out_and_impossible_weights_refused() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"x": np.arange(20.0) ** 2, "y": np.arange(20.0) / 3, "w": [0.0, 2.0] * 10})
    data = load(frame, "y", weight="w")
    assert len(data.y) == 10 and data.weights is not None and data.weights.tolist() == [1.0] * 10, "of mean 1"
    assert "10 rows of weight 0 left out" in data.notes
    for wrong, said in ((-1.0, "holds -1"), (np.nan, "holds nan"), (np.inf, "holds inf")):
        with pytest.raises(DataError, match=f"--weight: w {said}, expected numbers"):
            load(frame.with_columns(w=pl.Series([wrong] + [1.0] * 19)), "y", weight="w")
    with pytest.raises(DataError, match="w holds 0 in every row"):
        load(frame.with_columns(w=pl.lit(0.0)), "y", weight="w")


def test_weights_and_groups_stay_with_their_rows() -> None:
    """A table sorted by time, with a test file after it: weights and groups were those of other rows."""
    pl = pytest.importorskip("polars")
    order = np.random.default_rng(0).permutation(40) + 1.0
    frame = pl.DataFrame({"x": order, "y": order / 7, "t": order, "w": order, "g": order // 8})
    data = load(frame[:25], "y", time="t", weight="w", group="g", test=frame[25:])
    assert data.tests == 15 and data.weights is not None and data.groups is not None
    np.testing.assert_allclose(data.weights * order.mean(), data.X[:, 0], rtol=1e-12)
    np.testing.assert_array_equal(data.groups, data.X[:, 0] // 8)


# --- words ----------------------------------------------------------------------------------------------------------


def test_the_verdict_begins_with_the_answer() -> None:
    result = compare("diabetes", ["squared_error", "mape"], **{**LINEAR, "folds": 5})
    assert result.sentences[0].startswith("On diabetes (442 rows), use squared_error: it has the best RMSE, ")
    assert result.sentences[1].startswith("It is better than mape by ")


def test_chinese_has_no_english_sentence_left() -> None:
    """Whatever a comparison says, it says in Chinese: templates, and the fields that are put into them."""
    result = compare(churn(300), ["hinge", "bce_with_logits"], label_noise=0.1, epochs=2, **LINEAR)
    for sentence in result.say("zh"):
        words = sentence
        for name in ("binary_cross_entropy_with_logits", "hinge", "arrays", "yes", "ROC AUC", "F1", "--epochs 2"):
            words = words.replace(name, "")
        left = [w for w in words.replace("--seeds", "").split() if w.isascii() and w.isalpha() and len(w) > 1]
        assert not left, f"{left} in {sentence}"
    pytest.importorskip("jinja2", reason="the report needs the app extra")
    page = result.to_html("zh")
    assert '<html lang="zh">' in page and "The table" not in page and "Learning curves" not in page
    assert replace(result, rows=[]).say("zh") == ["arrays 上没有一个损失能训练。"]


def test_one_test_set_has_no_deviation() -> None:
    """Held out once, nothing is known of the spread: no "± 0.000" stands in verdict, table or report."""
    pl = pytest.importorskip("polars")
    X, y = amounts(60)
    frame = pl.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": y})
    result = compare(frame[:40], ["squared_error"], target="y", test=frame[40:], **LINEAR)
    assert result.sentences[0].endswith("; held out only once, the rows do not tell how sure that is.")
    pytest.importorskip("jinja2", reason="the report needs the app extra")
    page = result.to_html().partition("<body")[2]
    assert "±" not in str(result) + page
    assert "只留出了一次" in result.say("zh")[0]
    noise = np.random.default_rng(4).normal(size=(2, 60))
    useless = frame.with_columns(a=pl.Series(noise[0]), b=pl.Series(noise[1]))
    lost = compare(useless[:40], ["squared_error"], target="y", test=useless[40:], **LINEAR).sentences[0]
    assert "no loss here beats a constant" in lost and "±" not in lost and "held out only once" in lost


def test_what_is_said_of_columns_is_said_in_chinese_too(tmp_path: Path) -> None:
    """Whatever leaves a note: kinds of columns, missing and odd values, the encoding, the guess of the task."""
    columns = "id,when,place,paid,gap,odd,same,words,y"
    rows = [
        f'{i},2024-01-{i % 28 + 1:02},{"南" if i % 2 else "北"},"$1,{i:03}.50",{"" if i % 5 else i},'
        f"{-999 if i % 9 == 0 else i / 50},1,词{i},{i % 4}"
        for i in range(40)
    ]
    path = tmp_path / "orders.csv"
    path.write_text("\n".join([columns, *rows]), encoding="gb18030")
    data = load(path)
    assert len(data.notes) >= 8, data.notes
    names = {*columns.split(","), "target", "task", "regression", "count", "encoding", "gb18030"}
    for sentence in (*data.notes, data.decision):
        said = translate("zh", sentence)
        assert said != sentence and not {*re.findall(r"[A-Za-z]{3,}[0-9]*", said)} - names, said


def test_another_metric_is_no_merit_where_a_constant_is_as_good(rare: Comparison) -> None:
    """Who never finds the rare class has the best accuracy, and so has the constant."""
    said = [sentence for sentence in rare.sentences if sentence.startswith("By other metrics")]
    assert not any("accuracy" in sentence.replace("balanced accuracy", "") for sentence in said)


def test_a_report_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    pytest.importorskip("jinja2", reason="the report needs the app extra")
    path = tmp_path / "r.html"
    for _ in "12":
        compare("iris", ["cross_entropy"], report=path, **LINEAR)
    path.write_text("<!DOCTYPE html><p>mine")
    with pytest.raises(ParameterError, match="was not written by Lossary"):
        compare("iris", ["cross_entropy"], report=path, **LINEAR)
