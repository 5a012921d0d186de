"""What an objective promises to every booster: curvatures that hold, checked labels, weights that enter once."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import lossary
from lossary import boosting
from lossary.errors import ArgumentError, DomainError, MissingExtraError, ParameterError, ShapeError

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(40,)), RNG.normal(size=(40,))
POINTWISE = [n for n in lossary.names() if lossary.get(n).signature == "(),()->()"]


def serving(name: str) -> bool:
    try:
        boosting.Objective(name)
    except ArgumentError:
        return False
    return True


@pytest.mark.parametrize("name", [n for n in lossary.names() if serving(n)])
def test_every_curvature_of_every_loss_is_positive_and_finite(name: str) -> None:
    loss = lossary.get(name)
    raw = RNG.normal(size=(30, 3)) if loss.signatures[0].rank else RNG.normal(size=30)
    labels = np.arange(30) % (3 if loss.signatures[0].rank else 2)
    if name in ("multilabel_margin", "multilabel_soft_margin"):
        labels = (RNG.random((30, 3)) < 0.5).astype(float)
    if loss.domain(loss.arguments[1]).text == "(0, inf)":
        labels = labels + 0.5
    for curvature in boosting.Objective(name).possible_curvatures():
        grad, bend = boosting.Objective(name, curvature=curvature).grad_hess(raw, labels)
        assert grad.shape == bend.shape == raw.shape
        assert np.isfinite(bend).all() and (bend > 0).all(), curvature
        assert np.isfinite(grad).all()


@pytest.mark.parametrize(
    "name",
    ["absolute_error", "pinball", "huber", "smooth_l1", "pseudo_huber", "log_cosh", "squared_error", "student_t_nll"],
)
def test_a_majorizer_lies_above_the_loss(name: str) -> None:
    loss = lossary.get(name)
    target = np.zeros(200)
    at = np.linspace(-4, 4, 200)
    objective = boosting.catboost(name, curvature="majorizer")  # in the units of the loss
    grad, bend = objective.grad_hess(at, target)
    far = np.abs(at) > 0.2  # nearer to a kink no parabola is above it
    for point in np.linspace(-5, 5, 41):
        parabola = loss(at, target) + grad * (point - at) + 0.5 * bend * (point - at) ** 2
        assert (parabola >= loss(np.full(200, point), target) - 1e-9)[far].all()


@pytest.mark.parametrize("name", ["binary_cross_entropy_with_logits", "logistic_margin"])
def test_the_majorizer_of_logits_lies_above_the_loss(name: str) -> None:
    at = np.linspace(-6, 6, 99)
    objective = boosting.Objective(name, curvature="majorizer")
    for label in (0.0, 1.0):
        labels = np.full(99, label)
        grad, bend = objective.grad_hess(at, labels)
        for point in np.linspace(-8, 8, 33):
            parabola = objective.values(at, labels) + grad * (point - at) + 0.5 * bend * (point - at) ** 2
            assert (parabola >= objective.values(np.full(99, point), labels) - 1e-9).all()


def test_the_expected_curvature_is_the_fisher_information() -> None:
    raw = np.linspace(-1, 1, 5)
    mean = np.exp(raw)
    expected = {
        "gamma_nll": np.ones(5),
        "poisson_nll": mean,
        "negative_binomial_nll": mean / (1 + mean),
    }
    for name, information in expected.items():
        bend = boosting.Objective(name, curvature="expected").grad_hess(raw, np.ones(5))[1]
        np.testing.assert_allclose(bend, information, rtol=1e-12, err_msg=name)
    logits = RNG.normal(size=(6, 3))
    bend = boosting.Objective("softmax_cross_entropy", curvature="expected").grad_hess(logits, np.zeros(6))[1]
    p = boosting.Objective("softmax_cross_entropy").inverse(logits)
    np.testing.assert_allclose(bend, p * (1 - p), rtol=1e-12)


def test_weights_multiply_gradient_and_curvature_once() -> None:
    raw, labels = NUMBERS
    weight = RNG.random(40)
    for curvature in ("exact", "majorizer", "gradient"):
        objective = boosting.Objective("huber", curvature=curvature)
        alone, weighted = objective.grad_hess(raw, labels), objective.grad_hess(raw, labels, weight)
        for one, other in zip(alone, weighted, strict=True):
            np.testing.assert_allclose(other, one * weight)


def test_two_classes_are_taken_as_zero_and_one_or_as_signs() -> None:
    raw, signs = RNG.normal(size=20), np.repeat([-1.0, 1.0], 10)
    objective = boosting.Objective("squared_hinge")
    for one, other in zip(objective.grad_hess(raw, signs), objective.grad_hess(raw, signs > 0), strict=True):
        np.testing.assert_array_equal(one, other)


def test_initial_scores_of_several_outputs_have_their_own_parameters() -> None:
    labels = np.tile(np.arange(101.0)[:, None], 2)
    objective = boosting.xgboost("pinball", quantile=np.array([0.25, 0.75]))
    np.testing.assert_allclose(objective.initial_score(labels), [25, 75])
    assert objective.start(labels).shape == (101, 2)


@pytest.mark.parametrize("make", [boosting.xgboost, boosting.lightgbm, boosting.catboost])
def test_objectives_can_be_pickled(make: object) -> None:
    objective = make("huber", delta=2.0)  # type: ignore[operator]
    copy = pickle.loads(pickle.dumps(objective))
    np.testing.assert_array_equal(copy.grad_hess(*NUMBERS), objective.grad_hess(*NUMBERS))


def test_a_function_is_a_curvature() -> None:
    objective = boosting.xgboost("absolute_error", curvature=lambda pred, target, grad, hess: np.full_like(grad, 3.0))
    assert (objective.grad_hess(*NUMBERS)[1] == 3.0).all()


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        ("triplet_margin", "triplet_margin: takes anchor, positive, negative.*losses that fit: "),
        ("ctc", "ctc: is for sequences; losses that fit: "),
        ("zero_one", "zero_one: has no gradient to follow.*losses that fit: "),
        ("binary_cross_entropy", "probability values.*losses that fit: binary_cross_entropy_with_logits"),
        ("dice", "dice: takes probability values"),
        ("nt_xent", "nt_xent: compares the examples of a batch"),
    ],
)
def test_losses_that_cannot_serve_are_refused_by_name(loss: str, match: str) -> None:
    for make in (boosting.xgboost, boosting.lightgbm, boosting.catboost, boosting.hist_gradient_boosting):
        with pytest.raises(ArgumentError, match=match):
            make(loss)


@pytest.mark.parametrize(
    ("loss", "raw", "labels", "weight", "error", "match"),
    [
        ("huber", [0.0, 0.0], [1.0, np.nan], None, DomainError, "huber: labels: got nan, expected values in real"),
        ("poisson_nll", [0.0], [1.5], None, DomainError, r"poisson_nll: labels: got 1.5, expected values in \{0, 1, 2"),
        ("gamma_nll", [0.0], [0.0], None, DomainError, r"gamma_nll: labels: got 0, expected values in \(0, inf\)"),
        ("hinge", [0.0], [2.0], None, DomainError, r"hinge: labels: got 2, expected values in \{-1, 1\}"),
        (
            "softmax_cross_entropy",
            np.zeros((2, 3)),
            [0, 3],
            None,
            DomainError,
            r"labels: got 3, expected values in \{0, ..., 2\}",
        ),
        (
            "softmax_cross_entropy",
            [0.0, 0.0],
            [0, 1],
            None,
            ShapeError,
            "expected \\(rows, classes\\).*number of classes",
        ),
        ("huber", [0.0], ["a"], None, ArgumentError, "huber: labels: got <U1, expected numbers"),
        ("huber", [0.0, 0.0], [0.0, 1.0], [1.0, np.nan], DomainError, "huber: weight: got nan, expected finite"),
        ("huber", [0.0, 0.0], [0.0, 1.0], [1.0, -1.0], DomainError, "huber: weight: got -1, expected finite"),
        ("huber", [0.0, 0.0], [0.0, 1.0], [1.0], ShapeError, "huber: weight: got 1 numbers, expected 2"),
        ("huber", [0.0, 0.0], [0.0], None, ShapeError, "huber: labels: got 1 rows, expected 2"),
        ("huber", [], [], None, ArgumentError, "huber: labels: got none"),
    ],
)
def test_wrong_labels_and_weights_are_refused_in_a_sentence(
    loss: str, raw: object, labels: object, weight: object, error: type[Exception], match: str
) -> None:
    objective = boosting.Objective(loss)
    with pytest.raises(error, match=match):
        objective.grad_hess(raw, labels, weight)


def test_wrong_curvatures_are_refused_in_a_sentence() -> None:
    with pytest.raises(ParameterError, match="curvature: got 'newton', expected exact, expected, majorizer, gradient"):
        boosting.xgboost("huber", curvature="newton")
    with pytest.raises(ParameterError, match="poisson_nll has no majorizer curvature; it has exact, expected"):
        boosting.xgboost("poisson_nll", curvature="majorizer")
    objective = boosting.xgboost("huber", curvature=lambda pred, target, grad, hess: np.ones(1))
    with pytest.raises(ShapeError, match=r"curvature: got shape \(1,\), expected \(40,\)"):
        objective.grad_hess(*NUMBERS)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lossary\[sklearn\]'"):
        boosting.hist_gradient_boosting("huber")
