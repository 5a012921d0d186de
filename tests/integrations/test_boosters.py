"""Objectives in the real boosters: they reproduce the built-in ones, and train what has none."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

import lossary
from lossary import boosting

xgb = pytest.importorskip("xgboost")
lgb = pytest.importorskip("lightgbm")
cat = pytest.importorskip("catboost")

pytestmark = pytest.mark.integrations

ROUNDS = 15
X, AMOUNT = load_diabetes(return_X_y=True)
WEIGHT = np.random.default_rng(0).integers(1, 4, len(X)).astype(float)
X_TWO, TWO = load_breast_cancer(return_X_y=True)
X_THREE, THREE = load_iris(return_X_y=True)
COUNT = np.floor(AMOUNT / 25)


def ones(pred: Any, target: Any, grad: Any, hess: Any) -> Any:
    return np.ones_like(grad)


def xgb_params(**more: Any) -> dict[str, Any]:
    return {"eta": 0.2, "max_depth": 3, "nthread": 1, "tree_method": "hist", **more}


# Of each: the data, the built-in objective and its parameters, our loss, how much larger ours is, the start.
XGB = {
    "squared": (X, AMOUNT / 50, {"objective": "reg:squarederror"}, ("half_squared_error", {}), 1, 3.0),
    "squared log": (
        X,
        AMOUNT / 100,
        {"objective": "reg:squaredlogerror"},
        ("msle", {"curvature": "exact"}),
        2,
        1.5,
    ),
    "pseudo-Huber": (
        X,
        AMOUNT / 50,
        {"objective": "reg:pseudohubererror", "huber_slope": 1.5},
        ("pseudo_huber", {"curvature": "exact", "delta": 1.5}),
        1,
        3.0,
    ),
    "Poisson": (X, COUNT, {"objective": "count:poisson", "max_delta_step": 0}, ("poisson_nll", {}), 1, 1.5),
    "gamma": (X, AMOUNT, {"objective": "reg:gamma"}, ("gamma_nll", {}), 1, 5.0),
    "Tweedie": (
        X,
        COUNT,
        {"objective": "reg:tweedie", "tweedie_variance_power": 1.4},
        ("tweedie_deviance", {"power": 1.4}),
        2,
        1.5,
    ),
    "logistic": (X_TWO, TWO, {"objective": "binary:logitraw"}, ("binary_cross_entropy_with_logits", {}), 1, 0.0),
}
WEIGHT_TWO = np.random.default_rng(1).integers(1, 4, len(TWO)).astype(float)


@pytest.mark.parametrize("case", XGB)
@pytest.mark.parametrize("weighted", [False, True])
def test_xgboost_trees_are_those_of_the_built_in_objective(case: str, weighted: bool) -> None:
    features, labels, built_in, (loss, options), factor, start = XGB[case]
    weight = (WEIGHT if len(labels) == len(X) else WEIGHT_TWO) if weighted else None
    margin = np.full(len(labels), start)
    data = xgb.DMatrix(features, labels, weight=weight, base_margin=margin)
    theirs = xgb.train(xgb_params(**built_in), data, ROUNDS)
    objective = boosting.xgboost(loss, **options)
    same = xgb_params(reg_lambda=factor, min_child_weight=factor, base_score=0.0, disable_default_eval_metric=1)
    ours = xgb.train(same, data, ROUNDS, obj=objective)
    expected = theirs.predict(data, output_margin=True)
    np.testing.assert_allclose(ours.predict(data, output_margin=True), expected, rtol=1e-5, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_xgboost_softmax_is_the_built_in_one() -> None:
    data = xgb.DMatrix(X_THREE, THREE, base_margin=np.zeros((len(THREE), 3)))
    theirs = xgb.train(xgb_params(objective="multi:softprob", num_class=3), data, ROUNDS)
    objective = boosting.xgboost("softmax_cross_entropy", curvature="majorizer")  # 2p(1-p)
    ours = xgb.train(xgb_params(num_class=3, base_score=0.0), data, ROUNDS, obj=objective)
    raw = ours.predict(data, output_margin=True)
    np.testing.assert_allclose(raw, theirs.predict(data, output_margin=True), atol=1e-5)
    np.testing.assert_allclose(objective.inverse(raw), theirs.predict(data), atol=1e-5)


LGB = {
    "squared": (X, AMOUNT, {"objective": "l2"}, ("half_squared_error", {})),
    "Huber": (X, AMOUNT, {"objective": "huber", "alpha": 30.0}, ("huber", {"delta": 30.0, "curvature": ones})),
    "gamma": (X, AMOUNT, {"objective": "gamma"}, ("gamma_nll", {})),
    "Tweedie": (
        X,
        COUNT,
        {"objective": "tweedie", "tweedie_variance_power": 1.4},
        ("tweedie_deviance", {"power": 1.4}),
    ),
    "logistic": (X_TWO, TWO, {"objective": "binary"}, ("binary_cross_entropy_with_logits", {})),
    "Poisson": (
        X,
        COUNT,
        {"objective": "poisson"},
        ("poisson_nll", {"curvature": lambda s, y, g, h: h * np.exp(0.7)}),  # poisson_max_delta_step
    ),
}


@pytest.mark.parametrize("case", LGB)
def test_lightgbm_trees_are_those_of_the_built_in_objective(case: str) -> None:
    features, labels, built_in, (loss, options) = LGB[case]
    weight = WEIGHT if len(labels) == len(X) else WEIGHT_TWO
    common = {"num_leaves": 7, "num_threads": 1, "verbosity": -1, "deterministic": True, "force_col_wise": True}
    objective = boosting.lightgbm(loss, **options)
    score = objective.start(labels, weight)

    def fitted(objective: Any) -> Any:
        data = lgb.Dataset(features, labels, weight=weight, init_score=score)
        params = {**common, **(objective if isinstance(objective, dict) else {"objective": objective})}
        return lgb.train({**params, "boost_from_average": False}, data, ROUNDS).predict(features, raw_score=True)

    expected = fitted(built_in)
    np.testing.assert_allclose(fitted(objective), expected, rtol=1e-5, atol=1e-5 * max(1, np.ptp(expected)))


@pytest.mark.parametrize(
    ("built_in", "loss", "labels"),
    [
        ("squared_error", "half_squared_error", AMOUNT),
        ("gamma", "gamma_nll", AMOUNT),
        ("poisson", "poisson_nll", COUNT),
    ],
)
def test_hist_gradient_boosting_starts_and_ends_where_the_built_in_loss_does(
    built_in: str, loss: str, labels: Any
) -> None:
    fitted = [
        HistGradientBoostingRegressor(loss=chosen, max_iter=ROUNDS, early_stopping=False).fit(X, labels, WEIGHT)
        for chosen in (built_in, boosting.hist_gradient_boosting(loss))
    ]
    theirs, ours = (model.predict(X) for model in fitted)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    copy = pickle.loads(pickle.dumps(fitted[1]))
    np.testing.assert_array_equal(copy.predict(X), ours)


@pytest.mark.parametrize(
    ("features", "labels", "loss"),
    [(X_TWO, TWO, "binary_cross_entropy_with_logits"), (X_THREE, THREE, "softmax_cross_entropy")],
)
def test_hist_gradient_boosting_classifies(features: Any, labels: Any, loss: str) -> None:
    theirs, ours = (
        HistGradientBoostingClassifier(loss=chosen, max_iter=ROUNDS, early_stopping=False).fit(features, labels)
        for chosen in ("log_loss", boosting.hist_gradient_boosting(loss))
    )
    np.testing.assert_allclose(ours.predict_proba(features), theirs.predict_proba(features), atol=1e-4)


def fit_catboost(loss_function: Any, features: Any, labels: Any, baseline: Any, **more: Any) -> Any:
    pool = cat.Pool(features, labels, baseline=baseline)
    fixed = {"iterations": ROUNDS, "depth": 3, "learning_rate": 0.2, "thread_count": 1, "verbose": False}
    fixed |= {"leaf_estimation_method": "Newton", "leaf_estimation_iterations": 1, "boost_from_average": False}
    fixed |= {"bootstrap_type": "No", "random_strength": 0, "allow_writing_files": False}
    model = cat.CatBoost({**fixed, "loss_function": loss_function, **more})
    return model.fit(pool).predict(pool, prediction_type="RawFormulaVal")


@pytest.mark.filterwarnings("ignore:Can.t optimze method:UserWarning", "ignore:Failed to optimize")
@pytest.mark.parametrize(
    ("built_in", "loss", "features", "labels"),
    [
        ("RMSE", "half_squared_error", X, AMOUNT),
        ("Logloss", "binary_cross_entropy_with_logits", X_TWO, TWO),
        ("Poisson", "poisson_nll", X, COUNT),
    ],
)
def test_catboost_trees_are_those_of_the_built_in_objective(
    built_in: str, loss: str, features: Any, labels: Any
) -> None:
    objective = boosting.catboost(loss)
    baseline = objective.start(labels)
    ours = fit_catboost(objective, features, labels, baseline, eval_metric=objective.metric)
    theirs = fit_catboost(built_in, features, labels, baseline)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    assert np.ptp(theirs) > 0.1


@pytest.mark.parametrize("name", ["absolute_error", "pinball", "huber", "mape", "epsilon_insensitive", "student_t_nll"])
def test_losses_of_the_residual_train_in_any_unit(name: str) -> None:
    """Where the second derivative is 0, XGBoost's trees do not split, and a curvature of 1 crawls at large units."""
    objective = boosting.xgboost(name)
    for unit in (1e-3, 1.0, 1e3):
        labels = AMOUNT * unit
        options = dict.fromkeys(objective.loss.target_units, unit * 50)
        scaled = boosting.xgboost(name, **options)
        data = xgb.DMatrix(X, labels, base_margin=scaled.start(labels))
        model = xgb.train(xgb_params(base_score=0.0), data, 60, obj=scaled)
        before, after = scaled.mean(scaled.start(labels), labels), scaled.mean(model.predict(data), labels)
        trivial = 1.0 if name == "student_t_nll" else 0.75
        assert after < trivial * before, (name, unit)


@pytest.mark.parametrize("name", ["sigmoid_focal", "hinge", "squared_hinge", "modified_huber", "logistic_margin"])
def test_losses_of_two_classes_train_by_default(name: str) -> None:
    model = xgb.XGBRegressor(objective=boosting.xgboost(name), n_estimators=30, max_depth=3, n_jobs=1, base_score=0.0)
    scores = model.fit(X_TWO, TWO, sample_weight=WEIGHT_TWO).predict(X_TWO)
    assert ((scores > 0) == TWO).mean() > 0.97
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X_TWO), scores)


def test_several_quantiles_are_the_outputs_of_one_model() -> None:
    levels = np.array([0.1, 0.5, 0.9])
    objective = boosting.xgboost("pinball", quantile=levels)
    labels = np.tile(AMOUNT[:, None], 3)
    data = xgb.DMatrix(X, labels, base_margin=objective.start(labels))
    model = xgb.train(xgb_params(base_score=0.0, eta=0.1), data, 60, obj=objective)
    below = (AMOUNT[:, None] <= model.predict(data)).mean(0)
    np.testing.assert_allclose(below, levels, atol=0.08)


def test_lightgbm_scikit_learn_classes_take_the_objective_and_the_metric() -> None:
    objective = boosting.lightgbm("softmax_focal", gamma=1.0, classes=3)
    model = lgb.LGBMClassifier(objective=objective, n_estimators=20, num_leaves=7, n_jobs=1, verbosity=-1)
    model.fit(X_THREE, THREE, eval_X=(X_THREE,), eval_y=(THREE,), eval_metric=objective.metric)
    raw = model.predict(X_THREE, raw_score=True)
    assert (raw.argmax(1) == THREE).mean() > 0.97
    reported = model.evals_result_["valid_0"]["softmax_focal"][-1]
    assert reported == pytest.approx(objective.mean(raw, THREE), rel=1e-6)


def test_label_noise_hurts_a_robust_loss_less() -> None:
    """Zhang and Sabuncu 2018: with 40 % of the labels drawn anew, generalized cross-entropy keeps more of the truth."""
    rng = np.random.default_rng(3)
    noisy = np.where(rng.random(len(THREE)) < 0.4, rng.integers(0, 3, len(THREE)), THREE)
    found = {}
    for name in ("softmax_cross_entropy", "generalized_cross_entropy"):
        data = xgb.DMatrix(X_THREE, noisy, base_margin=np.zeros((len(THREE), 3)))
        objective = boosting.xgboost(name)
        model = xgb.train(xgb_params(num_class=3, base_score=0.0), data, 100, obj=objective)
        found[name] = (model.predict(data, output_margin=True).argmax(1) == THREE).mean()
    assert found["generalized_cross_entropy"] > found["softmax_cross_entropy"]


def test_negative_binomial_of_overdispersed_counts() -> None:
    objective = boosting.lightgbm("negative_binomial_nll", alpha=0.5)
    data = lgb.Dataset(X, COUNT, init_score=objective.start(COUNT))
    params = {"objective": objective, "num_leaves": 7, "num_threads": 1, "verbosity": -1}
    raw = objective.start(COUNT) + lgb.train(params, data, 40).predict(X, raw_score=True)
    assert objective.mean(raw, COUNT) < objective.mean(objective.start(COUNT), COUNT)
    assert objective.inverse(raw).mean() == pytest.approx(COUNT.mean(), rel=0.05)


def test_the_metric_of_xgboost_is_the_mean_of_the_loss() -> None:
    objective = boosting.xgboost(lossary.huber.bind(delta=40.0))
    data = xgb.DMatrix(X, AMOUNT, weight=WEIGHT)
    log: dict[str, Any] = {}
    params = xgb_params(base_score=objective.initial_score(AMOUNT, WEIGHT), disable_default_eval_metric=1)
    model = xgb.train(
        params,
        data,
        5,
        obj=objective,
        custom_metric=objective.metric,
        evals=[(data, "train")],
        evals_result=log,
        verbose_eval=False,
    )
    values = lossary.huber(model.predict(data).astype(float), AMOUNT.astype(np.float32).astype(float), delta=40.0)
    assert log["train"]["huber"][-1] == pytest.approx(float(lossary.mean(values, weight=WEIGHT)), rel=1e-5)
