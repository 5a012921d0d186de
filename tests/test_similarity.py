"""Couplings against slow explicit loops: the rows they make, and the gradient they bring back, masks included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossary
from lossary.backends import numpy as xp
from lossary.similarity import Coupling, cosine_pairs, hardest_pairs

LABELS = np.array([0, 1, 0, 1, 2, 0, 1])
KEEP = np.array([True, True, False, True, True, True, False])
masks = pytest.mark.parametrize("keep", [None, KEEP, np.zeros(7, bool)], ids=["all", "masked", "none kept"])
couplings = pytest.mark.parametrize("coupling", [cosine_pairs, hardest_pairs], ids=lambda c: c.name)


def embeddings(seed: int = 0, count: int = 7) -> Any:
    return np.random.default_rng(seed).standard_normal((count, 3))


def kept(keep: Any, i: int, count: int = 7) -> bool:
    return keep is None or bool(keep[i])


def rows_of(coupling: Coupling, x: Any, labels: Any, keep: Any) -> tuple[Any, ...]:
    with xp.quiet():
        return next(coupling.rows(xp, x, labels, keep))


# --- rows -----------------------------------------------------------------------------------------------------------


def cosine(a: Any, b: Any) -> float:
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float(a @ b) / lengths if lengths else 0.0


@masks
def test_cosine_pairs_against_a_loop(keep: Any) -> None:
    x = embeddings()
    similarities, positives, candidates = rows_of(cosine_pairs, x, LABELS, keep)
    for i in range(7):
        for j in range(7):
            other = i != j and kept(keep, i) and kept(keep, j)
            assert candidates[i, j] == other
            assert positives[i, j] == (other and LABELS[i] == LABELS[j])
            if other:
                np.testing.assert_allclose(similarities[i, j], cosine(x[i], x[j]), rtol=1e-14, atol=1e-15)


@masks
def test_hardest_pairs_against_a_loop(keep: Any) -> None:
    x = embeddings()
    farthest, nearest = rows_of(hardest_pairs, x, LABELS, keep)
    for i in range(7):
        others = [j for j in range(7) if j != i and kept(keep, i) and kept(keep, j)]
        far = [float(np.linalg.norm(x[i] - x[j])) for j in others if LABELS[j] == LABELS[i]]
        near = [float(np.linalg.norm(x[i] - x[j])) for j in others if LABELS[j] != LABELS[i]]
        expected = (max(far), min(near)) if far and near else (0.0, np.inf)
        np.testing.assert_allclose((farthest[i, 0], nearest[i, 0]), expected, rtol=1e-14)


@couplings
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [4, 4, 7]], ids=["one class", "one of each", "one alone"])
def test_batches_that_lack_pairs_have_decided_rows(coupling: Coupling, labels: list[int]) -> None:
    rows = rows_of(coupling, embeddings(count=3), np.array(labels), None)
    if coupling is hardest_pairs:
        complete = np.array([labels.count(k) > 1 and labels.count(k) < 3 for k in labels])
        assert (rows[0][~complete] == 0).all() and (rows[1][~complete] == np.inf).all()
        assert (rows[0][complete] > 0).all() and np.isfinite(rows[1][complete]).all()
    else:
        assert (rows[1].sum(axis=1) == [labels.count(k) - 1 for k in labels]).all()
        assert (rows[2].sum(axis=1) == 2).all()


@couplings
@pytest.mark.parametrize("count", [0, 1])
def test_no_example_or_one_makes_rows_without_comparisons(coupling: Coupling, count: int) -> None:
    x, labels = embeddings(count=count), np.zeros(count, int)
    for row in rows_of(coupling, x, labels, None):
        assert row.shape[0] == count
    for name in lossary.names(coupling=coupling):
        value, grad = lossary.get(name).value_and_grad(x, labels)
        np.testing.assert_array_equal(value, np.zeros(count))
        np.testing.assert_array_equal(grad, np.zeros((count, 3)))


# --- and back -------------------------------------------------------------------------------------------------------


def weighted(coupling: Coupling, x: Any, keep: Any, weights: list[Any]) -> float:
    """A linear function of the differentiable rows, where they are finite."""
    rows = rows_of(coupling, x, LABELS, keep)
    parts = zip(weights, rows, strict=False)
    return float(sum((w * np.where(np.isfinite(row), row, 0)).sum() for w, row in parts))


@couplings
@masks
def test_the_gradient_comes_back_as_finite_differences_say(coupling: Coupling, keep: Any) -> None:
    x, rng = embeddings(1), np.random.default_rng(2)
    coupled = coupling.rows(xp, x, LABELS, keep)
    with xp.quiet():
        rows = next(coupled)
        shapes = [row.shape for row in rows if row.dtype.kind == "f"]
        weights = [rng.standard_normal(shape) for shape in shapes]
        if coupling is cosine_pairs:  # a loss gives no gradient to pairs that are not candidates
            weights = [np.where(rows[2], weights[0], 0)]
        grad = coupled.send(tuple(weights))
    for at in np.ndindex(x.shape):
        moved = []
        for step in (1e-5, -1e-5):
            y = x.copy()
            y[at] += step
            moved.append(weighted(coupling, y, keep, weights))
        np.testing.assert_allclose(grad[at], (moved[0] - moved[1]) / 2e-5, rtol=1e-8, atol=1e-9)
    if keep is not None:
        assert (grad[~keep] == 0).all()


@couplings
def test_what_is_left_out_reaches_nothing(coupling: Coupling) -> None:
    clean, poisoned = embeddings(), embeddings()
    poisoned[~KEEP] = [[np.nan, np.inf, 1.0], [-np.inf, 0.0, np.nan]]
    outcomes = []
    for x in (clean, poisoned):
        coupled = coupling.rows(xp, x, LABELS, KEEP)
        with xp.quiet():
            rows = next(coupled)
            shown = [np.where(rows[2], rows[0], 0)] if coupling is cosine_pairs else list(rows)
            ones = tuple(np.ones_like(row) * KEEP[:, None] for row in shown)
            grad = coupled.send(ones)
        outcomes.append(([row[KEEP] for row in shown], grad))
    for row, expected in zip(outcomes[1][0], outcomes[0][0], strict=True):
        np.testing.assert_array_equal(row, expected)
    assert np.isfinite(outcomes[1][1]).all()


def test_duplicates_tie_and_share_the_gradient() -> None:
    # Two positives equally far, on the same side: each takes half of the pull, and the anchor all of it.
    x = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    coupled = hardest_pairs.rows(xp, x, np.array([0, 0, 0, 1]), None)
    with xp.quiet():
        next(coupled)
        anchor_only = np.array([[1.0], [0.0], [0.0], [0.0]])
        grad = coupled.send((anchor_only, 0 * anchor_only))
    np.testing.assert_array_equal(grad, [[-1, 0], [0.5, 0], [0.5, 0], [0, 0]])


def test_near_points_far_from_the_origin_keep_their_digits() -> None:
    # The expanded square |a|^2 - 2 a.b + |b|^2 would give 0 or worse here.
    x = np.array([[1e8, 1e8], [1e8 + 3, 1e8 + 4], [1e8, 1e8 + 8]])
    farthest, nearest = rows_of(hardest_pairs, x, np.array([0, 0, 1]), None)
    np.testing.assert_array_equal(farthest[:2], [[5.0], [5.0]])
    np.testing.assert_array_equal(nearest[:2], [[8.0], [5.0]])
    grad = lossary.batch_hard_triplet.grad(x, [0, 0, 1], margin=10.0)
    np.testing.assert_allclose(grad, lossary.batch_hard_triplet.grad(x - 1e8, [0, 0, 1], margin=10.0), atol=1e-15)


@couplings
def test_float32_embeddings_stay_float32(coupling: Coupling) -> None:
    x = embeddings().astype(np.float32)
    for row in rows_of(coupling, x, LABELS, KEEP):
        assert row.dtype in (np.float32, np.bool_)


def test_labels_only_name_the_groups() -> None:
    x = embeddings().astype(np.float32)
    expected = lossary.supcon(x, LABELS)
    for labels in (LABELS.astype(np.float64), LABELS - 10**12, LABELS.astype(np.uint8)):
        value = lossary.supcon(x, labels)
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, expected)
    with pytest.raises(lossary.errors.DomainError, match=r"labels: got 0\.5"):
        lossary.supcon(x, LABELS + 0.5)
