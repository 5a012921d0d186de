"""Decided answers at the edges of margin, metric and segmentation losses, in both precisions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lossary

BOTH = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
INF = np.inf


def tuple_of(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def all_finite(loss: Any, *arrays: Any, **params: Any) -> tuple[Any, tuple[Any, ...]]:
    value, grads = loss.value_and_grad(*arrays, **params)
    diagonals = tuple_of(loss.hess(*arrays, **params)) if loss.derivatives > 1 else ()
    for found in (value, *tuple_of(grads), *diagonals):
        assert np.isfinite(found).all(), (loss.name, found)
    return value, tuple_of(grads)


# --- margins --------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("name", "value", "slope"),
    [
        ("hinge", [0, 10001], [0, -1]),
        ("squared_hinge", [0, 10001**2], [0, -20002]),
        ("smoothed_hinge", [0, 10000.5], [0, -1]),
        ("modified_huber", [0, 40000], [0, -4]),
        ("perceptron", [0, 10000], [0, -1]),
        ("exponential", [0, INF], [0, -INF]),
        ("logistic_margin", [0, 10000], [0, -1]),
    ],
)
def test_scores_of_ten_thousand_are_neither_clipped_nor_dead(name: str, value: Any, slope: Any, dtype: Any) -> None:
    loss = lossary.get(name)
    for sign in (1, -1):
        pred, target = sign * np.array([1e4, -1e4], dtype), np.full(2, sign, dtype)
        values, grads = loss.value_and_grad(pred, target)
        np.testing.assert_array_equal(values, np.array(value, dtype))
        np.testing.assert_array_equal(grads, sign * np.array(slope, dtype))


@BOTH
@pytest.mark.parametrize(
    ("name", "kink"),
    [("hinge", 1), ("squared_hinge", 1), ("smoothed_hinge", 1), ("modified_huber", 1), ("perceptron", 0)],
)
def test_a_margin_met_exactly_is_met(name: str, kink: int, dtype: Any) -> None:
    loss = lossary.get(name)
    value, (grad,) = all_finite(loss, np.array([kink, -kink], dtype), np.array([1, -1], dtype))
    np.testing.assert_array_equal(value, [0, 0])
    np.testing.assert_array_equal(grad, [0, 0])
    np.testing.assert_array_equal(loss.hess(np.array([kink], dtype), np.array([1], dtype)), [0])


@BOTH
def test_a_right_logit_keeps_its_tiny_cost(dtype: Any) -> None:
    z = np.array([40.0, 80.0], dtype)
    value, grad = lossary.logistic_margin.value_and_grad(z, np.ones(2, dtype))
    slack = 8 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(value, [math.exp(-40), math.exp(-80)], rtol=slack)
    np.testing.assert_allclose(grad, [-math.exp(-40), -math.exp(-80)], rtol=slack)


@BOTH
@pytest.mark.parametrize("name", ["multi_margin", "multiclass_hinge"])
def test_a_single_class_has_no_rival(name: str, dtype: Any) -> None:
    value, (grad,) = all_finite(lossary.get(name), np.array([[3.0], [-1e4]], dtype), [0, 0])
    np.testing.assert_array_equal(value, [0, 0])
    np.testing.assert_array_equal(grad, [[0], [0]])


@BOTH
def test_a_class_masked_by_minus_infinity_is_no_rival(dtype: Any) -> None:
    scores = np.array([[2.0, -INF, 1.5]], dtype)
    for name, expected in [("multiclass_hinge", 0.5), ("multi_margin", 0.5 / 3)]:
        value, grad = lossary.get(name).value_and_grad(scores, [0])
        np.testing.assert_allclose(value, [expected], rtol=1e-6)
        assert grad[0, 1] == 0 and np.isfinite(grad).all()


@BOTH
def test_rivals_that_tie_share_the_gradient(dtype: Any) -> None:
    grad = lossary.multiclass_hinge.grad(np.array([[0.0, 1.0, 1.0]], dtype), [0])
    np.testing.assert_array_equal(grad, [[-1, 0.5, 0.5]])


@BOTH
def test_rows_with_no_label_or_every_label_have_no_pairs(dtype: Any) -> None:
    scores = np.array([[1e4, -1e4, 0.0]] * 2, dtype)
    value, (grad,) = all_finite(lossary.multilabel_margin, scores, np.array([[0, 0, 0], [1, 1, 1]], dtype))
    np.testing.assert_array_equal(value, [0, 0])
    np.testing.assert_array_equal(grad, np.zeros((2, 3)))
    value, (grad,) = all_finite(lossary.multilabel_soft_margin, scores, np.array([[0, 0, 0], [1, 1, 1]], dtype))
    np.testing.assert_allclose(value, [(1e4 + math.log(2)) / 3] * 2, rtol=1e-6)
    np.testing.assert_allclose(grad, np.array([[1, 0, 0.5], [0, -1, -0.5]]) / 3, rtol=1e-6)


# --- pairs and triplets ---------------------------------------------------------------------------------------------

V = np.array([[3.0, 4.0]])
ZERO = np.zeros((1, 2))


@BOTH
def test_equal_embeddings_are_pulled_by_nothing(dtype: Any) -> None:
    v = V.astype(dtype)
    for target, expected in [(1, 0.0), (0, 0.5)]:
        value, grads = all_finite(lossary.contrastive, v, v, np.array([target], dtype))
        np.testing.assert_array_equal(value, [expected])
        for grad in grads:
            np.testing.assert_array_equal(grad, ZERO)
    for swap in (False, True):
        value, grads = all_finite(lossary.triplet_margin, v, v, v, swap=swap)
        np.testing.assert_array_equal(value, [1])  # collapse: the loss is the margin, and nothing leads out of it
        for grad in grads:
            np.testing.assert_array_equal(grad, ZERO)


@BOTH
def test_embeddings_too_large_to_square_still_have_a_distance(dtype: Any) -> None:
    huge = np.array([[3.0, 4.0]], dtype) * (np.finfo(dtype).max / 16)
    value, (grad, *_) = all_finite(lossary.triplet_margin, huge, 0 * huge, huge)
    np.testing.assert_allclose(value, [5 * (float(np.finfo(dtype).max) / 16)], rtol=1e-6)
    np.testing.assert_allclose(grad, [[0.6, 0.8]], rtol=1e-6)


@BOTH
def test_a_margin_of_a_triplet_met_exactly_is_met_and_a_tie_of_the_swap_is_shared(dtype: Any) -> None:
    a, p, n = np.array([[0.0], [1.0], [2.0]], dtype)
    value, grads = all_finite(lossary.triplet_margin, a, p, n)
    assert value == 0 and all((g == 0).all() for g in grads)
    # The negative is as far from the anchor (-1) as from the positive (1): either could be the one that pushes.
    value, grads = all_finite(lossary.triplet_margin, p - 2, p, a, swap=True)
    assert value == 2
    np.testing.assert_array_equal(np.ravel(grads), [-0.5, 0.5, 0])


@BOTH
@pytest.mark.parametrize(("first", "second"), [(V, ZERO), (ZERO, V), (ZERO, ZERO)])
def test_a_zero_vector_has_cosine_zero_with_everything(first: Any, second: Any, dtype: Any) -> None:
    for target, margin, expected in [(1, 0.0, 1.0), (-1, 0.0, 0.0), (-1, -0.5, 0.5)]:
        arrays = first.astype(dtype), second.astype(dtype), np.array([target], dtype)
        value, grads = all_finite(lossary.cosine_embedding, *arrays, margin=margin)
        np.testing.assert_array_equal(value, [expected])
        assert (grads[0] == 0)[first == 0].all() and (grads[1] == 0)[second == 0].all()


@BOTH
def test_cosines_of_parallel_and_opposite_vectors(dtype: Any) -> None:
    for scale, expected in [(7.0, 0.0), (-7.0, 2.0)]:
        value, grads = all_finite(lossary.cosine_embedding, V.astype(dtype), scale * V.astype(dtype), np.ones(1, dtype))
        np.testing.assert_allclose(value, [expected], atol=4 * np.finfo(dtype).eps)
        for grad in grads:
            np.testing.assert_allclose(grad, ZERO, atol=4 * np.finfo(dtype).eps)


@BOTH
def test_scores_that_tie_in_a_ranking(dtype: Any) -> None:
    one = np.array([1e4], dtype)
    value, grads = all_finite(lossary.margin_ranking, one, one, np.ones(1, dtype))
    assert value == 0 and grads[0] == 0 and grads[1] == 0
    value, grads = all_finite(lossary.margin_ranking, one, one, np.ones(1, dtype), margin=0.5)
    assert value == 0.5 and grads[0] == -1 and grads[1] == 1


# --- softmax over cosines -------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("easy_margin", [False, True])
def test_arcface_at_cosines_of_exactly_one_and_minus_one(easy_margin: bool, dtype: Any) -> None:
    cosines = np.array([[1.0, 0.0], [-1.0, 0.0]], dtype)
    value, (grad,) = all_finite(lossary.arcface, cosines, [0, 0], scale=4.0, easy_margin=easy_margin)
    right = math.log1p(math.exp(-4 * math.cos(0.5)))
    turned = -1.0 if easy_margin else -1 - 0.5 * math.sin(0.5)
    wrong = math.log1p(math.exp(-4 * turned))
    np.testing.assert_allclose(value, [right, wrong], rtol=1e-6)
    # At 1 the slope keeps its finite part; at -1 the continuation has slope 1.
    np.testing.assert_allclose(grad[0, 0], -4 * math.cos(0.5) * -math.expm1(-right), rtol=1e-6)
    np.testing.assert_allclose(grad[1, 0], -4 * -math.expm1(-wrong), rtol=1e-6)


@BOTH
def test_a_cosine_that_rounding_carried_past_one_counts_as_one(dtype: Any) -> None:
    past = np.nextafter(dtype(1), dtype(2))
    np.testing.assert_allclose(
        lossary.arcface(np.array([[past, 0.0]], dtype), [0]),
        lossary.arcface(np.array([[1.0, 0.0]], dtype), [0]),
        rtol=1e-4,
    )
    assert np.isfinite(lossary.arcface.grad(np.array([[past, -past]], dtype), [1])).all()
    with pytest.raises(lossary.errors.DomainError, match=r"\[-1, 1\]"):
        lossary.arcface(np.array([[1.01, 0.0]], dtype), [0])


@BOTH
def test_arcface_keeps_falling_past_the_opposite_direction(dtype: Any) -> None:
    # Beyond an angle of pi - margin, cos(angle + margin) alone would rise again and reward being worse.
    cosines = np.linspace(-1, 1, 401).astype(dtype)
    rows = np.stack([cosines, np.zeros_like(cosines)], axis=1)
    value = lossary.arcface(rows, np.zeros(401, int), scale=4.0)
    assert (np.diff(value) < 0).all()


@BOTH
@pytest.mark.parametrize("name", ["arcface", "cosface"])
def test_without_a_margin_angular_losses_are_cross_entropy_on_scaled_cosines(name: str, dtype: Any) -> None:
    cosines = np.array([[0.9, -0.3, 0.1], [-0.2, 0.4, -0.8]], dtype)
    expected = lossary.softmax_cross_entropy(64 * cosines, [1, 2])
    np.testing.assert_allclose(lossary.get(name)(cosines, [1, 2], margin=0.0), expected, rtol=1e-5)


# --- batches compared with themselves -------------------------------------------------------------------------------

BATCH_LOSSES = ["batch_hard_triplet", "nt_xent", "supcon"]
batch_losses = pytest.mark.parametrize("name", BATCH_LOSSES)


@BOTH
@batch_losses
@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 1, 1]], ids=["none has a positive", "one has no positive"])
def test_an_anchor_without_positives_costs_exactly_nothing(name: str, labels: list[int], dtype: Any) -> None:
    x = np.array([[1.0, 0.2], [0.3, 1.0], [-1.0, 0.5]], dtype)
    value, (grad,) = all_finite(lossary.get(name), x, labels)
    alone = np.array([labels.count(k) == 1 for k in labels])
    assert (value[alone] == 0).all() and (value[~alone] > 0).all()
    if alone.all():
        np.testing.assert_array_equal(grad, np.zeros_like(x))


@BOTH
def test_an_anchor_without_negatives(dtype: Any) -> None:
    x = np.array([[1.0, 0.2], [0.3, 1.0], [-1.0, 0.5]], dtype)
    for name in ("batch_hard_triplet", "nt_xent"):
        value, (grad,) = all_finite(lossary.get(name), x, [5, 5, 5])
        np.testing.assert_array_equal(value, np.zeros(3))
        np.testing.assert_array_equal(grad, np.zeros_like(x))
    value, _ = all_finite(lossary.supcon, x, [5, 5, 5])  # here the positives compete with each other
    assert (value > math.log(2)).all()


@BOTH
@batch_losses
def test_equal_and_zero_embeddings_have_finite_gradients(name: str, dtype: Any) -> None:
    loss = lossary.get(name)
    labels = [0, 0, 1, 1]
    value, (grad,) = all_finite(loss, np.zeros((4, 2), dtype), labels)
    np.testing.assert_array_equal(grad, np.zeros((4, 2)))
    expected = {"batch_hard_triplet": 1.0, "nt_xent": math.log(3), "supcon": math.log(3)}[name]
    np.testing.assert_allclose(value, np.full(4, expected), rtol=1e-6)
    value, (grad,) = all_finite(loss, np.tile(V.astype(dtype), (4, 1)), labels)
    np.testing.assert_allclose(value, np.full(4, expected), rtol=1e-5)
    np.testing.assert_allclose(grad, np.zeros((4, 2)), atol=1e-4 if dtype is np.float32 else 1e-13)


@BOTH
@pytest.mark.parametrize("name", ["nt_xent", "supcon"])
def test_a_temperature_of_a_hundredth(name: str, dtype: Any) -> None:
    loss = lossary.get(name)
    right = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]], dtype)
    value, (grad,) = all_finite(loss, right, [0, 0, 1, 1], temperature=0.01)
    # Each anchor: one positive at 100, two negatives at -100; exp(-200) is below the smallest float32.
    np.testing.assert_allclose(value, np.full(4, 2 * math.exp(-200) if dtype is np.float64 else 0), rtol=1e-12)
    value, (grad,) = all_finite(loss, right, [0, 1, 0, 1], temperature=0.01)
    np.testing.assert_allclose(value, np.full(4, 200.0), rtol=1e-6)  # the negative at 100, the positive at -100
    np.testing.assert_array_equal(grad, np.zeros_like(right))  # opposite and equal directions have no way to turn
    turned = right + np.array([[0.0, 0.1], [0, 0], [0, 0], [0, 0]], dtype)
    _, (grad,) = all_finite(loss, turned, [0, 1, 0, 1], temperature=0.01)
    assert np.abs(grad[0]).max() > 1


@BOTH
def test_two_views_per_label_make_nt_xent_and_supcon_one_loss(dtype: Any) -> None:
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(dtype)
    labels = [0, 0, 1, 1, 2, 2]
    first = lossary.nt_xent.value_and_grad(x, labels, temperature=0.1)
    second = lossary.supcon.value_and_grad(x, labels, temperature=0.1)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=64 * np.finfo(dtype).eps, atol=64 * np.finfo(dtype).eps)


# --- segmentation ---------------------------------------------------------------------------------------------------

overlaps = pytest.mark.parametrize("name", ["dice", "tversky", "jaccard", "generalized_dice"])


def region(name: str, *pixels: float, dtype: Any) -> Any:
    row = np.array(pixels, dtype)
    return row[None, None] if name == "generalized_dice" else row[None]


@BOTH
@overlaps
def test_empty_against_empty_costs_nothing(name: str, dtype: Any) -> None:
    empty = region(name, 0, 0, 0, dtype=dtype)
    value, (grad,) = all_finite(lossary.get(name), empty, empty)
    np.testing.assert_array_equal(value, [0])
    np.testing.assert_array_equal(grad, np.zeros_like(empty))


@BOTH
@pytest.mark.parametrize("name", ["dice", "tversky", "jaccard"])
def test_anything_against_empty_costs_one_and_smoothing_brings_it_to_life(name: str, dtype: Any) -> None:
    loss = lossary.get(name)
    pred, target = region(name, 0.2, 0, 0, dtype=dtype), region(name, 0, 0, 0, dtype=dtype)
    value, (grad,) = all_finite(loss, pred, target)
    np.testing.assert_array_equal(value, [1])
    np.testing.assert_array_equal(grad, np.zeros_like(pred))
    value, (grad,) = all_finite(loss, pred, target, smooth=1.0)
    assert 0 < value[0] < 1 and (grad > 0).all()


@BOTH
def test_generalized_dice_charges_false_alarms_for_an_absent_class(dtype: Any) -> None:
    target = np.array([[[1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]], dtype)
    alarm = target.copy()
    alarm[0, 2, 0] = 0.5
    for weighting in ("square", "simple", "uniform"):
        perfect, (grad,) = all_finite(lossary.generalized_dice, target, target, weighting=weighting)
        assert perfect == 0 and (grad[0, 2] > 0).all()
        assert lossary.generalized_dice(alarm, target, weighting=weighting) > 0


@BOTH
@overlaps
def test_regions_of_ones_and_their_opposite(name: str, dtype: Any) -> None:
    loss = lossary.get(name)
    full, empty = region(name, 1, 1, 1, dtype=dtype), region(name, 0, 0, 0, dtype=dtype)
    value, (grad,) = all_finite(loss, full, full)
    np.testing.assert_array_equal(value, [0])
    assert (grad < 0).all()  # live at the optimum: it lies on the border of the domain
    value, (grad,) = all_finite(loss, empty, full)
    np.testing.assert_array_equal(value, [1])
    assert (grad < 0).all()


@BOTH
def test_a_nearly_perfect_overlap_keeps_its_digits(dtype: Any) -> None:
    # 1 - 2 I / (P + Y) would be a multiple of the rounding unit.
    small = float(dtype(1e-12))
    pred, target = np.array([[1.0, small]], dtype), np.array([[1.0, 0.0]], dtype)
    np.testing.assert_allclose(lossary.dice(pred, target), [0.5 * small], rtol=1e-6)
    np.testing.assert_allclose(lossary.jaccard(pred, target), [small], rtol=1e-6)
