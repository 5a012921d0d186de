"""scikit-learn: scorers, linear models that pass its own checks, and equality with its linear models on real data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn import linear_model, metrics
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import scale
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import lossary
from lossary.sklearn import LossClassifier, LossRegressor, scorer

pytestmark = pytest.mark.integrations

X, AMOUNT = load_diabetes(return_X_y=True)
X = scale(X)
N = len(X)
COUNT = np.floor(AMOUNT / 25)
WEIGHT = np.random.default_rng(0).integers(1, 4, N).astype(float)
X_TWO, TWO = load_breast_cancer(return_X_y=True)
X_TWO = scale(X_TWO)
X_THREE, THREE = load_iris(return_X_y=True)


@parametrize_with_checks(
    [
        LossRegressor(),
        LossRegressor("huber"),
        LossClassifier(),
        LossClassifier("logistic_margin", alpha=1e-2),
        LossClassifier("squared_hinge", alpha=1e-2),
    ]
)
def test_estimators_pass_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("sparse_input", [False, True])
@pytest.mark.parametrize("solver", ["lbfgs", "newton"])
def test_ridge(sparse_input: bool, solver: str) -> None:
    theirs = linear_model.Ridge(alpha=20.0, tol=1e-10).fit(X, AMOUNT, WEIGHT)
    alpha = 2 * 20.0 / WEIGHT.sum()
    given = sparse.csr_array(X) if sparse_input else X
    ours = LossRegressor("squared_error", alpha=alpha, solver=solver).fit(given, AMOUNT, WEIGHT)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.predict(given), theirs.predict(X), rtol=1e-5)


@pytest.mark.parametrize(("features", "labels"), [(X_TWO, TWO), (X_THREE, THREE)])
def test_logistic_regression(features: Any, labels: Any) -> None:
    theirs = linear_model.LogisticRegression(C=0.5, tol=1e-10, max_iter=5000).fit(features, labels)
    loss = "binary_cross_entropy_with_logits" if labels is TWO else "softmax_cross_entropy"
    ours = LossClassifier(loss, alpha=1 / (0.5 * len(labels)), tol=1e-9).fit(features, labels)
    np.testing.assert_allclose(ours.predict_proba(features), theirs.predict_proba(features), atol=1e-5)


@pytest.mark.parametrize(
    ("theirs", "loss", "params"),
    [
        (linear_model.PoissonRegressor, "poisson_nll", {}),
        (linear_model.GammaRegressor, "gamma_nll", {}),
        (linear_model.TweedieRegressor, "tweedie_deviance", {"power": 1.5}),
    ],
)
def test_generalised_linear_models(theirs: Any, loss: str, params: dict[str, float]) -> None:
    y = AMOUNT if loss == "gamma_nll" else COUNT
    expected = theirs(alpha=0.1, tol=1e-10, max_iter=5000, **params).fit(X, y, WEIGHT)
    factor = 2.0 if loss == "tweedie_deviance" else 1.0  # scikit-learn takes half the deviance
    ours = LossRegressor(lossary.get(loss).bind(**params), alpha=0.1 * factor).fit(X, y, WEIGHT)
    np.testing.assert_allclose(ours.predict(X), expected.predict(X), rtol=1e-5)


def test_huber_regressor() -> None:
    """With its own scale fixed, scikit-learn's model minimises the sum of Huber losses of r / scale, twice."""
    theirs = linear_model.HuberRegressor(epsilon=1.35, alpha=0.0, max_iter=5000, tol=1e-8).fit(X, AMOUNT)
    ours = LossRegressor(lossary.huber.bind(delta=1.35 * theirs.scale_), alpha=0.0).fit(X, AMOUNT)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-3)


@pytest.mark.parametrize("level", [0.1, 0.5, 0.8])
def test_quantile_regressor(level: float) -> None:
    loss = lossary.pinball.bind(quantile=level)
    theirs = linear_model.QuantileRegressor(quantile=level, alpha=0.0).fit(X, AMOUNT)
    ours = LossRegressor(loss, alpha=0.0, max_iter=3000).fit(X, AMOUNT)
    least = float(lossary.mean(loss(theirs.predict(X), AMOUNT)))
    assert least <= float(lossary.mean(loss(ours.predict(X), AMOUNT))) <= least * (1 + 1e-3)


@pytest.mark.parametrize(("loss", "name"), [("hinge", "hinge"), ("squared_hinge", "squared_hinge")])
def test_linear_support_vectors(loss: str, name: str) -> None:
    theirs = LinearSVC(loss=name, C=1.0, max_iter=100000, tol=1e-8, dual=True, fit_intercept=False, random_state=0)
    theirs.fit(X_TWO, TWO)
    alpha = 1 / len(TWO)
    ours = LossClassifier(loss, alpha=alpha, fit_intercept=False, max_iter=5000).fit(X_TWO, TWO)

    def objective(model: Any) -> float:
        values = lossary.get(loss)(model.decision_function(X_TWO), 2.0 * TWO - 1)
        return float(values.mean()) + 0.5 / len(TWO) * float((model.coef_**2).sum())

    assert objective(ours) == pytest.approx(objective(theirs), rel=2e-3)


def test_scorers_equal_the_metrics_of_scikit_learn() -> None:
    model = linear_model.LogisticRegression(max_iter=2000).fit(X_THREE, THREE)
    expected = metrics.log_loss(THREE, model.predict_proba(X_THREE))
    assert scorer("softmax_cross_entropy")(model, X_THREE, THREE) == pytest.approx(-expected)
    two = linear_model.LogisticRegression(max_iter=2000).fit(X_TWO, np.where(TWO == 1, "yes", "no"))
    words = np.where(TWO == 1, "yes", "no")
    expected = metrics.log_loss(words, two.predict_proba(X_TWO))
    for loss in ("binary_cross_entropy_with_logits", "logistic_margin", "softmax_cross_entropy"):
        assert scorer(loss)(two, X_TWO, words) == pytest.approx(-expected, rel=1e-6), loss
    expected = metrics.hinge_loss(TWO, two.decision_function(X_TWO))
    assert scorer("hinge")(two, X_TWO, words) == pytest.approx(-expected)
    rates = linear_model.PoissonRegressor().fit(X, COUNT)
    expected = metrics.mean_tweedie_deviance(COUNT, rates.predict(X), power=1.5, sample_weight=WEIGHT)
    found = scorer("tweedie_deviance", power=1.5)(rates, X, COUNT, sample_weight=WEIGHT)
    assert np.isfinite(found) and (expected > 0)
    plain = linear_model.LinearRegression().fit(X, AMOUNT)
    expected = metrics.mean_pinball_loss(AMOUNT, plain.predict(X), alpha=0.8, sample_weight=WEIGHT)
    assert scorer("pinball", quantile=0.8)(plain, X, AMOUNT, sample_weight=WEIGHT) == pytest.approx(-expected)


def test_scorers_and_models_in_cross_validation_and_grid_search() -> None:
    assert (cross_val_score(LossRegressor("huber"), X, AMOUNT, scoring=scorer("huber"), cv=3) < 0).all()
    grid = {"loss": ["squared_error", lossary.huber.bind(delta=50.0)], "alpha": [1e-3, 1.0]}
    search = GridSearchCV(LossRegressor(), grid, scoring=scorer("absolute_error"), cv=3).fit(X, AMOUNT)
    assert search.best_params_["alpha"] in (1e-3, 1.0)
    assert len(set(search.cv_results_["mean_test_score"])) > 1


def test_a_scorer_says_when_a_fold_lacks_a_class() -> None:
    model = linear_model.LogisticRegression(max_iter=2000).fit(X_THREE, THREE)
    with pytest.raises(lossary.errors.ArgumentError, match=r"show 2 classes, but the estimator knows 3.*labels"):
        scorer("softmax_cross_entropy")(model, X_THREE[:100], THREE[:100])
    assert scorer("softmax_cross_entropy", labels=[0, 1, 2])(model, X_THREE[:100], THREE[:100]) < 0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: scorer("triplet_margin"), "triplet_margin: takes anchor"),
        (lambda: LossRegressor("hinge").fit(X, AMOUNT), "hinge: is for classes; LossClassifier"),
        (lambda: LossClassifier("huber").fit(X_TWO, TWO), "huber: is not for one class per row; LossRegressor"),
        (lambda: LossRegressor(alpha=-1.0).fit(X, AMOUNT), r"alpha: got -1, expected a number >= 0"),
        (lambda: LossRegressor("poisson_nll").fit(X, -COUNT - 1), r"poisson_nll: labels: got -7, expected"),
        (lambda: LossRegressor("huber", solver="newton").fit(X, AMOUNT), "solver: got 'newton', but huber"),
        (lambda: LossRegressor(solver="sgd").fit(X, AMOUNT), "solver: got 'sgd', expected"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(make: Any, match: str) -> None:
    with pytest.raises(lossary.errors.LossaryError, match=match):
        make()


def test_scores_have_no_probabilities() -> None:
    assert not hasattr(LossClassifier("hinge"), "predict_proba")
