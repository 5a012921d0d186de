"""Decided answers at the edges of the classification losses, in both precisions, and options that must combine."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from mpmath import exp as mpexp
from mpmath import log as mplog
from mpmath import mpf

import lossary
from exact import Exact
from lossary.errors import LossaryError

BOTH = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
INF = np.inf


def ulp(dtype: Any, count: float = 8) -> float:
    return float(np.finfo(dtype).eps) * count


# --- sigmoid --------------------------------------------------------------------------------------------------------


@BOTH
def test_sigmoid_cross_entropy_is_exact_and_alive_at_any_logit(dtype: Any) -> None:
    z = np.array([1000, -1000, 1000, -1000, 1e4, 0], dtype)
    y = np.array([0, 0, 1, 1, 0, 1], dtype)
    value, grad = lossary.binary_cross_entropy_with_logits.value_and_grad(z, y)
    np.testing.assert_array_equal(value, np.array([1000, 0, 0, 1000, 1e4, np.log(2)], dtype))
    np.testing.assert_array_equal(grad, np.array([1, 0, 0, -1, 1, -0.5], dtype))


@BOTH
def test_a_right_and_confident_example_keeps_its_tiny_gradient(dtype: Any) -> None:
    # sigmoid(z) - 1 would be exactly 0 from z = 17 (float32) or z = 37 (float64) on.
    z = np.array([20.0, 50.0], dtype)
    grad = lossary.binary_cross_entropy_with_logits.grad(z, np.ones(2, dtype))
    np.testing.assert_allclose(grad, [-float(1 / (1 + mpexp(v))) for v in (20, 50)], rtol=ulp(dtype))
    rows = np.array([[20.0, 0.0], [50.0, 0.0]], dtype)
    grad = lossary.softmax_cross_entropy.grad(rows, [0, 0])
    np.testing.assert_allclose(grad[:, 0], [-float(1 / (1 + mpexp(v))) for v in (20, 50)], rtol=ulp(dtype))
    value = lossary.softmax_cross_entropy(rows, [0, 0])
    np.testing.assert_allclose(value, [float(mplog(1 + mpexp(-v))) for v in (20, 50)], rtol=ulp(dtype))


def test_infinite_logits_have_the_value_of_their_limit() -> None:
    z, y = np.array([INF, INF, -INF, -INF]), np.array([1.0, 0.0, 1.0, 0.0])
    value, grad = lossary.binary_cross_entropy_with_logits.value_and_grad(z, y)
    np.testing.assert_array_equal(value, [0, INF, INF, 0])
    np.testing.assert_array_equal(grad, [0, 1, -1, 0])


def test_probabilities_of_exactly_zero_and_one_are_not_clipped() -> None:
    p, y = np.array([0.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0])
    value, grad = lossary.binary_cross_entropy.value_and_grad(p, y)
    np.testing.assert_array_equal(value, [0, 0, INF, INF])
    np.testing.assert_array_equal(grad, [1, -1, -INF, INF])


# --- softmax --------------------------------------------------------------------------------------------------------


@BOTH
def test_softmax_cross_entropy_at_logits_of_a_thousand(dtype: Any) -> None:
    z = np.array([[1000, -1000], [-1000, 1000], [1e4, 1e4]], dtype)
    value, grad = lossary.softmax_cross_entropy.value_and_grad(z, [1, 1, 0])
    np.testing.assert_array_equal(value, np.array([2000, 0, np.log(2)], dtype))
    np.testing.assert_array_equal(grad, np.array([[1, -1], [0, 0], [-0.5, 0.5]], dtype))


@BOTH
def test_a_class_masked_with_minus_infinity_takes_nothing(dtype: Any) -> None:
    z = np.array([[0.3, -INF, -0.5]], dtype)
    rest = np.array([[0.3, -0.5]], dtype)
    for options in ({}, {"label_smoothing": 0.1}, {"z_loss": 0.1}, {"label_smoothing": 0.2, "temperature": 2.0}):
        value, grad = lossary.softmax_cross_entropy.value_and_grad(z, [2], **options)
        without, without_grad = lossary.softmax_cross_entropy.value_and_grad(rest, [1], **options)
        np.testing.assert_allclose(value, without, rtol=ulp(dtype))
        np.testing.assert_allclose(grad[:, [0, 2]], without_grad, rtol=ulp(dtype, 32))
        assert grad[0, 1] == 0
        assert np.isfinite(lossary.softmax_cross_entropy.hess(z, [2], **options)).all()
    soft = lossary.softmax_cross_entropy(z, np.array([[0.5, 0.0, 0.5]], dtype))
    assert np.isfinite(soft).all(), "0 * -inf is 0"
    impossible, grad = lossary.softmax_cross_entropy.value_and_grad(z, [1])
    assert impossible[0] == INF
    assert np.isfinite(grad).all()
    nothing_left, grad = lossary.softmax_cross_entropy.value_and_grad(np.full((1, 3), -INF, dtype), [1])
    assert nothing_left[0] == INF
    np.testing.assert_array_equal(grad, [[0, -1, 0]])


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "brier"])
def test_indices_one_hot_and_the_same_number(name: str) -> None:
    rng = np.random.default_rng(0)
    loss = lossary.get(name)
    rows = rng.dirichlet(np.ones(5), 7)
    rows = np.log(rows) if name.startswith("softmax") else rows
    labels = rng.integers(0, 5, 7)
    options = {"class_weight": rng.random(5), "label_smoothing": 0.1} if name.startswith("softmax") else {}
    one_hot = np.eye(5)[labels]
    for weight in (None, rng.random(7)):
        a = loss.value_and_grad(rows, labels, weight=weight, reduction="mean", **options)
        b = loss.value_and_grad(rows, one_hot, weight=weight, reduction="mean", **options)
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


OPTIONS = {
    "class_weight": np.array([0.5, 2.0, 1.0, 0.0]),
    "label_smoothing": 0.2,
    "temperature": 1.7,
    "z_loss": 0.3,
    "soft_cap": 2.5,
}


@pytest.mark.parametrize("soft", [False, True], ids=["index", "soft"])
@pytest.mark.parametrize("chosen", [c for n in range(6) for c in itertools.combinations(OPTIONS, n)], ids="+".join)
def test_every_combination_of_softmax_options_against_the_oracle(chosen: tuple[str, ...], soft: bool) -> None:
    rng = np.random.default_rng(len(chosen))
    options = {k: OPTIONS[k] for k in chosen}
    logits = 2 * rng.standard_normal((2, 4))
    target = rng.dirichlet(np.ones(4), 2) if soft else rng.integers(0, 4, 2)
    value, grad = lossary.softmax_cross_entropy.value_and_grad(logits, target, **options)
    diagonal = lossary.softmax_cross_entropy.hess(logits, target, **options)
    for i in range(2):
        exact = Exact(lossary.softmax_cross_entropy, [logits[i], target[i]], options)
        np.testing.assert_allclose(value[i], float(exact.value()), rtol=1e-14)
        for j in range(4):
            np.testing.assert_allclose(grad[i, j], float(exact.first(0, (j,))), rtol=1e-12, atol=1e-15)
            curve = float(exact.second((0, (j,)), (0, (j,))))
            np.testing.assert_allclose(diagonal[i, j], curve, rtol=1e-12, atol=1e-15)


def test_ignored_labels_count_nowhere() -> None:
    rng = np.random.default_rng(3)
    logits, labels = rng.standard_normal((5, 3)), np.array([0, -100, 2, -100, 1])
    logits[1] = np.nan
    kept = labels != -100
    for name in lossary.names(tasks="multiclass"):
        loss = lossary.get(name)
        counts = ([50, 30, 20],) if "class_counts" in loss.arguments else ()
        value, grad = loss.value_and_grad(logits, labels, *counts, ignore_index=-100, reduction="mean")
        expected, expected_grad = loss.value_and_grad(logits[kept], labels[kept], *counts, reduction="mean")
        np.testing.assert_allclose(value, expected, rtol=1e-14)
        np.testing.assert_allclose(grad[kept], expected_grad, rtol=1e-14)
        np.testing.assert_array_equal(grad[~kept], 0)
        np.testing.assert_array_equal(loss(logits, labels, *counts, ignore_index=-100)[~kept], 0)
        nothing, grad = loss.value_and_grad(
            logits, np.full(5, -100), *counts, ignore_index=-100, reduction="mean", mask=np.ones(5, bool)
        )
        assert nothing == 0
        assert (grad == 0).all()


# --- focal ----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 1.5, 2.0, 5.0])
def test_focal_losses_have_finite_derivatives_at_any_logit(gamma: float, dtype: Any) -> None:
    z = np.array([-1e4, -100, -40, -1, 0, 1, 40, 100, 1e4], dtype)
    for y in (0.0, 0.3, 1.0):
        target = np.full_like(z, y)
        value, grad = lossary.sigmoid_focal.value_and_grad(z, target, gamma=gamma)
        assert np.isfinite(value).all()
        assert np.isfinite(grad).all()
        assert np.isfinite(lossary.sigmoid_focal.hess(z, target, gamma=gamma)).all()
    rows = np.stack([z, np.zeros_like(z)], axis=-1)
    for label in (0, 1):
        labels = np.full(len(z), label)
        value, grad = lossary.softmax_focal.value_and_grad(rows, labels, gamma=gamma)
        assert np.isfinite(value).all()
        assert np.isfinite(grad).all()
        assert np.isfinite(lossary.softmax_focal.hess(rows, labels, gamma=gamma)).all()
        # Two classes are a yes/no question about the difference of their logits.
        binary = lossary.sigmoid_focal(z, np.full_like(z, 1 - label), gamma=gamma)
        np.testing.assert_allclose(value, binary, rtol=ulp(dtype, 64))


def test_focal_gradient_far_on_the_right_side() -> None:
    # p_t = 1 - e^-40 rounds to 1 in float64; the loss is e^(-40 gamma) * e^-40 all the same.
    value, grad = lossary.softmax_focal.value_and_grad([[40.0, 0.0]], [0], gamma=0.5)
    m = 1 / (1 + mpexp(40))
    np.testing.assert_allclose(value, float(-(m ** mpf("0.5")) * mplog(1 - m)), rtol=1e-13)
    assert grad[0, 0] < 0 < grad[0, 1]


def test_logit_adjustment_leaves_out_a_class_that_never_occurs() -> None:
    value, grad = lossary.logit_adjusted.value_and_grad([[1.0, 2.0, 3.0]], [0], [10, 20, 0])
    expected, expected_grad = lossary.logit_adjusted.value_and_grad([[1.0, 2.0]], [0], [10, 20])
    np.testing.assert_allclose(value, expected)
    np.testing.assert_allclose(grad[:, :2], expected_grad)
    assert grad[0, 2] == 0


@pytest.mark.parametrize("scheme", ["inverse", "square root", "effective"])
def test_class_weights_of_degenerate_counts(scheme: str) -> None:
    for counts, said in (
        ([0, 0], "all 2 are 0: no class has an example"),
        ([], r"got shape \(0,\)"),
        ([[1, 2]], r"got shape \(1, 2\)"),
        ([np.nan, 1.0], "got nan"),
        ([np.inf, 1.0], "got inf"),
        ([-1, 2], "got -1"),
        (["a", "b"], "counts: got data of type"),
    ):
        with pytest.raises(LossaryError, match=said):
            lossary.class_weights(counts, scheme)
    np.testing.assert_allclose(lossary.class_weights([5], scheme), [1])
    np.testing.assert_allclose(lossary.class_weights([0, 5], scheme)[0], 0)
    assert np.isfinite(lossary.class_weights([1e308, 1e308], scheme)).all()
    torch = pytest.importorskip("torch")
    expected = lossary.class_weights([3.0, 1.0], scheme)
    given = torch.tensor([3.0, 1.0], dtype=torch.bfloat16)
    np.testing.assert_allclose(lossary.class_weights(given, scheme), expected, rtol=1e-6)
    with pytest.raises(LossaryError, match="all 2 are 0"):
        lossary.class_weights(torch.zeros(2), scheme)


@pytest.mark.parametrize(
    ("scheme", "beta", "said"), [(None, 0.9, "scheme: got None"), ("effective", "x", "beta: got 'x'")]
)
def test_class_weights_refuse_options_in_words(scheme: Any, beta: Any, said: str) -> None:
    with pytest.raises(LossaryError, match=said):
        lossary.class_weights([1, 2], scheme, beta=beta)


def test_class_weights_agree_with_their_definitions() -> None:
    counts = np.array([50, 30, 20])
    np.testing.assert_allclose(lossary.class_weights(counts), counts.sum() / (3 * counts))
    effective = lossary.class_weights(counts, "effective", beta=0.9)
    np.testing.assert_allclose(effective.sum(), 3)
    np.testing.assert_allclose(effective * (1 - 0.9**counts), effective[0] * (1 - 0.9 ** counts[0]))
    root = lossary.class_weights(counts, "square root")
    np.testing.assert_allclose(root**2 * counts, root[0] ** 2 * counts[0])
    assert lossary.class_weights([5, 0])[1] == 0
    with pytest.raises(lossary.errors.ParameterError, match="did you mean inverse"):
        lossary.class_weights(counts, "invers")
    values = lossary.class_balanced(np.zeros((3, 3)), [0, 1, 2], counts, beta=0.9)
    np.testing.assert_allclose(values, effective * np.log(3))
