"""What is refused, and that the sentence names the argument, what it was, what was expected and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.errors import ArgumentError, DomainError, LossaryError, ParameterError, ShapeError, UnknownLossError

Z = np.array([[0.1076, -1.4376, -0.6307], [1.5105, 0.7662, -1.7587]])
P = np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)

REFUSED: dict[str, tuple[Callable[[], Any], type[LossaryError], list[str]]] = {
    "probabilities into nll": (
        lambda: lossary.nll(P, [1, 0]),
        DomainError,
        ["nll: log_probs", "These are probabilities", "softmax_cross_entropy"],
    ),
    "logits into nll": (lambda: lossary.nll(Z, [1, 0]), DomainError, ["nll: log_probs", "logsumexp"]),
    "log-probabilities into brier": (
        lambda: lossary.brier(np.log(P), [1, 0]),
        DomainError,
        ["brier: probs", "log-probabilities", "exponential"],
    ),
    "logits into binary cross-entropy": (
        lambda: lossary.binary_cross_entropy([2.0, -1.0], [1, 0]),
        DomainError,
        ["probs: got 2 at index 0 and 1 more", "[0, 1]", "binary_cross_entropy_with_logits"],
    ),
    "labels -1/1 for 0/1": (
        lambda: lossary.binary_cross_entropy_with_logits([2.0, -1.0], [1, -1]),
        DomainError,
        ["target: got -1", "(target + 1) / 2"],
    ),
    "labels 0/255": (
        lambda: lossary.binary_cross_entropy_with_logits([2.0, -1.0], [255, 0]),
        DomainError,
        ["divide by 255"],
    ),
    "labels 0/1 for -1/1": (lambda: lossary.hinge([0.5, 0.2], [0, 1]), DomainError, ["target", "2 * target - 1"]),
    "one-based labels": (
        lambda: lossary.softmax_cross_entropy(Z, [1, 3]),
        DomainError,
        ["target: got 3 at index 1", "{0, ..., 2}", "1-based"],
    ),
    "label out of range": (lambda: lossary.softmax_cross_entropy(Z, [1, 7]), DomainError, ["labels up to 7"]),
    "label -100": (lambda: lossary.softmax_cross_entropy(Z, [1, -100]), DomainError, ["ignore_index=-100"]),
    "fractional label": (lambda: lossary.softmax_cross_entropy(Z, [1, 0.5]), DomainError, ["0.5", "index 1"]),
    "one class": (
        lambda: lossary.softmax_cross_entropy([[0.3], [0.2]], [0, 1]),
        DomainError,
        ["binary_cross_entropy_with_logits"],
    ),
    "soft labels that do not sum to one": (
        lambda: lossary.softmax_cross_entropy(Z, np.full((2, 3), 0.5)),
        DomainError,
        ["target: row 0", "sums to 1.5"],
    ),
    "ignore_index with soft labels": (
        lambda: lossary.softmax_cross_entropy(Z, P, ignore_index=0),
        ParameterError,
        ["ignore_index", "mask="],
    ),
    "column against vector": (
        lambda: lossary.squared_error(np.zeros((3, 1)), np.zeros(3)),
        ShapeError,
        ["(3, 1)", "(3,)", "pred[:, 0]"],
    ),
    "vector against column": (
        lambda: lossary.squared_error(np.zeros(3), np.zeros((3, 1))),
        ShapeError,
        ["(3, 1)", "(3,)", "target[:, 0]"],
    ),
    "classes second": (
        lambda: lossary.softmax_cross_entropy(np.zeros((2, 5, 7)), np.zeros((2, 7), int)),
        ShapeError,
        ["Classes go last", "numpy.moveaxis(logits, 1, -1)"],
    ),
    "different classes": (
        lambda: lossary.kl_divergence(np.log(P), np.full((2, 4), 0.25)),
        ShapeError,
        ["dimension c is 3 in log_probs", "4 in target"],
    ),
    "a vector where rows are needed": (lambda: lossary.nll(0.5, 0), ShapeError, ["log_probs: got shape ()", "(c)"]),
    "parameter out of range": (
        lambda: lossary.huber([1.0], [0.0], delta=-1),
        ParameterError,
        ["huber: delta: got -1", "(0, inf)"],
    ),
    "parameter no number": (lambda: lossary.huber([1.0], [0.0], delta="wide"), ParameterError, ["delta", "'wide'"]),
    "parameter misspelt": (lambda: lossary.huber([1.0], [0.0], dleta=1), ArgumentError, ["did you mean delta?"]),
    "parameter None": (lambda: lossary.huber([1.0], [0.0], delta=None), ParameterError, ["delta: got None"]),
    "parameter by position": (
        lambda: lossary.huber([1.0], [0.0], 2.0),
        ArgumentError,
        ["got 3 positional arguments, expected 2 arrays (pred, target)", "keywords: delta"],
    ),
    "reduction in a call": (
        lambda: lossary.huber([1.0], [0.0], reduction="mean"),
        ArgumentError,
        ["lossary.mean(values)"],
    ),
    "missing array": (lambda: lossary.huber([1.0]), ArgumentError, ["missing target"]),
    "array twice": (lambda: lossary.huber([1.0], [0.0], pred=[1.0]), ArgumentError, ["pred is given twice"]),
    "strings": (lambda: lossary.huber(["a"], [0.0]), ArgumentError, ["pred", "expected numbers"]),
    "ragged": (lambda: lossary.huber([[1.0], [1.0, 2.0]], [0.0]), ArgumentError, ["pred", "unequal length"]),
    "objects": (lambda: lossary.huber([None], [0.0]), ArgumentError, ["pred", "expected numbers"]),
    "complex": (lambda: lossary.huber([1j], [0.0]), ArgumentError, ["complex"]),
    "unknown loss": (lambda: lossary.get("focall"), UnknownLossError, ['"focall"', "sigmoid_focal, softmax_focal"]),
    "unknown fact": (lambda: lossary.names(familly="margin"), UnknownLossError, ["familly", "family"]),
    "unknown reduction": (
        lambda: lossary.huber.value_and_grad([1.0], [0.0], reduction="avg"),
        ParameterError,
        ["reduction: got 'avg'", "none, mean, sum"],
    ),
    "negative weight": (
        lambda: lossary.huber.value_and_grad([1.0], [0.0], weight=[-1.0]),
        DomainError,
        ["weight", "-1"],
    ),
    "infinite weight": (lambda: lossary.mean([1.0], weight=[np.inf]), DomainError, ["weight: got inf", "finite"]),
    "weight of another shape": (
        lambda: lossary.mean(np.zeros((3, 2)), weight=[1.0, 1.0, 1.0]),
        ShapeError,
        ["weight: got shape (3,)", "(3, 2)", "weight[:, None]"],
    ),
    "a mask that is a weight": (lambda: lossary.mean([1.0, 2.0], mask=[0.5, 1.0]), DomainError, ["mask", "weight="]),
    "denominator zero": (lambda: lossary.mean([1.0], denominator=0), ParameterError, ["denominator: got 0"]),
    "denominator without mean": (
        lambda: lossary.huber.value_and_grad([1.0], [0.0], reduction="sum", denominator=2),
        ParameterError,
        ["denominator", "'sum'"],
    ),
    "Hessian of a coupled loss": (
        lambda: lossary.supcon.hess(np.eye(3), [0, 0, 1]),
        ArgumentError,
        ["supcon: has no Hessian"],
    ),
    "fractional count": (lambda: lossary.poisson_nll([0.1], [1.5]), DomainError, ["whole numbers"]),
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.replace(" ", "-"))
def test_refused_with_a_sentence_that_helps(case: str) -> None:
    call, kind, fragments = REFUSED[case]
    with pytest.raises(kind) as refusal:
        call()
    assert isinstance(refusal.value, LossaryError)
    for fragment in fragments:
        assert re.search(re.escape(fragment), str(refusal.value)), str(refusal.value)


def test_errors_are_also_the_errors_python_users_expect() -> None:
    for kind, builtin in ((ShapeError, ValueError), (ArgumentError, TypeError), (UnknownLossError, LookupError)):
        assert issubclass(kind, builtin)


def test_one_example_may_be_given_for_all_but_nothing_else_is_broadcast() -> None:
    np.testing.assert_array_equal(lossary.squared_error(np.array([1.0, 2.0]), 0.0), [1, 4])
    value, grad = lossary.squared_error.value_and_grad(0.0, np.array([1.0, 2.0]))
    np.testing.assert_array_equal(value, [1, 4])
    assert grad == -6, "the gradients of a repeated prediction add up"


def test_small_integers_do_not_wrap() -> None:
    assert lossary.absolute_error(np.uint8([1]), np.uint8([3]))[0] == 2
    assert lossary.squared_error(np.uint8([200]), np.uint8([3]))[0] == 197**2
    assert lossary.squared_error([True], [False])[0] == 1


def test_arrays_may_be_named() -> None:
    by_name = lossary.huber(target=[0.0], pred=[3.0], delta=1.0)
    np.testing.assert_array_equal(by_name, lossary.huber([3.0], [0.0]))


def test_a_check_may_be_left_out() -> None:
    value, _ = lossary.binary_cross_entropy_with_logits.value_and_grad([0.0], [2.0], check=False)
    assert np.isfinite(value).all()


def test_parameters_and_batches_of_another_shape_are_refused_by_name() -> None:
    with pytest.raises(
        ShapeError, match=r"class_weight: got shape \(3,\), expected one number for each of the 2 classes"
    ):
        lossary.softmax_cross_entropy([[1.0, 2.0]], [0], class_weight=[1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match=r"delta: got shape \(2,\), expected one number, or the shape \(3,\)"):
        lossary.huber([1.0, 2.0, 3.0], [0.0, 0.0, 0.0], delta=[1.0, 2.0])
    assert lossary.huber([3.0, 3.0], [0.0, 0.0], delta=[1.0, 2.0]).tolist() == [2.5, 4.0]
    with pytest.raises(ShapeError, match=r"embeddings: got shape \(1, 2, 2\), expected \(b, d\), where b is the batch"):
        lossary.supcon([[[1.0, 0.0], [0.0, 1.0]]], [[0, 1]])


SOFT = [[0.0, 0.8, 0.2]]


@pytest.mark.parametrize("name", ["poly_loss", "softmax_focal", "generalized_cross_entropy"])
@pytest.mark.parametrize("classes", [3, 200])
def test_a_distribution_costs_what_its_classes_are_expected_to_cost(name: str, classes: int) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(3)
    for rows in (5, 700):  # by the definition, and by kernels where there are any
        logits, soft = 3 * rng.normal(size=(rows, classes)), rng.dirichlet(np.ones(classes), rows)
        labels = rng.integers(0, classes, rows)
        value, grad = loss.value_and_grad(logits, soft)
        each = [loss.value_and_grad(logits, np.full(rows, k)) for k in range(classes)]
        np.testing.assert_allclose(value, sum(soft[:, k] * v for k, (v, _) in enumerate(each)), rtol=1e-12)
        np.testing.assert_allclose(grad, sum(soft[:, k : k + 1] * g for k, (_, g) in enumerate(each)), atol=1e-12)
        for one, other in zip(
            loss.value_and_grad(logits, np.eye(classes)[labels]), loss.value_and_grad(logits, labels), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)
        hess = [loss.hess(logits, target) for target in (np.eye(classes)[labels], labels)]
        np.testing.assert_allclose(hess[0], hess[1], rtol=1e-9, atol=1e-15)
    weights = rng.uniform(0.5, 2.0, classes)
    if name == "softmax_focal":
        whole = loss(logits, labels, label_smoothing=0.1, class_weight=weights)
        smooth = 0.9 * np.eye(classes)[labels] + 0.1 / classes
        np.testing.assert_allclose(whole, loss(logits, smooth, class_weight=weights), rtol=1e-12)


def test_losses_of_labels_say_what_they_take_and_who_takes_distributions() -> None:
    with pytest.raises(ShapeError) as refused:
        lossary.nll([[-0.1, -3.0, -3.1]], SOFT)
    assert str(refused.value) == (
        "nll: target: takes class indices of shape (1,), got rows of shape (1, 3); for rows of 0 and 1 pass "
        "target.argmax(-1), for distributions use a loss that takes them: kl_divergence"
    )
    for name in ("logit_adjusted", "class_balanced", "multi_margin", "cosface", "info_nce"):
        loss = lossary.get(name)
        further = [np.ones(3)] * (len(loss.arguments) - 2)
        with pytest.raises(ShapeError, match=rf"{name}: target: takes class indices of shape \(1,\), got rows"):
            loss([[0.0, 0.5, 1.0]], SOFT, *further)


def test_labels_outside_the_row_cost_nothing_by_definition_and_by_kernel() -> None:
    rng = np.random.default_rng(0)
    for rows in (3, 900):
        logits, labels = rng.normal(size=(rows, 200)), rng.integers(0, 200, rows)
        labels[1] = -1
        for name in ("softmax_cross_entropy", "softmax_focal", "poly_loss", "generalized_cross_entropy"):
            value, grad = lossary.get(name).value_and_grad(logits, labels, check=False)
            assert value[1] == 0, name
            assert (grad[1] == 0).all(), name


def test_a_single_label_is_no_evidence_of_counting_from_1() -> None:
    with pytest.raises(DomainError) as refused:
        lossary.softmax_cross_entropy([[0.0, 0.0, 0.0]], [3])
    assert "1-based" not in str(refused.value)
    assert "labels up to 3" in str(refused.value)


@pytest.mark.parametrize("blank", [1.5, 3, -1, np.int64(3), float("nan"), None, "a"])
def test_a_blank_that_is_no_class_is_refused(blank: Any) -> None:
    with pytest.raises(ParameterError, match="blank: got"):
        lossary.ctc(np.zeros((4, 3)), [1], blank=blank)


def test_a_label_that_is_nan_is_refused_without_a_warning() -> None:
    with pytest.raises(DomainError, match="got nan at index 0"):
        lossary.softmax_cross_entropy([[0.0, 1.0]], [np.nan])


@pytest.mark.parametrize("given", ["a", [3], None, 0, -1.0, float("nan")])
def test_a_denominator_is_a_number(given: Any) -> None:
    if given is not None:
        with pytest.raises(ParameterError, match="denominator: got"):
            lossary.mean([1.0, 2.0], denominator=given)
