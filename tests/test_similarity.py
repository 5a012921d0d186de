"""Couplings against slow explicit loops: the rows they make, and the gradient they bring back, masks included."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.evaluate import call
from lossary.pairs import Coupling, cosine_pairs, hardest_pairs
from lossary.testing import namespace

xp = namespace(np.zeros(1))

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
        grad = sum(coupled.send(tuple(weights)))
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
            grad = sum(coupled.send(ones))
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
        grad = sum(coupled.send((anchor_only, 0 * anchor_only)))
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


# --- a few anchors at a time ----------------------------------------------------------------------------------------

COUPLED = [name for name in lossary.names() if lossary.get(name).coupling is not None]
each_coupled = pytest.mark.parametrize("name", COUPLED)


def by_parts(monkeypatch: pytest.MonkeyPatch, anchors: int = 3) -> None:
    monkeypatch.setattr(call, "PAIRS_BYTES", 0)
    monkeypatch.setattr(call, "LEAST_ANCHORS", anchors)


@couplings
@masks
def test_the_parts_of_all_anchors_are_the_rows_and_the_gradient(coupling: Coupling, keep: Any) -> None:
    x, rng = embeddings(), np.random.default_rng(4)
    with xp.quiet():
        whole = coupling.rows(xp, x, LABELS, keep)
        rows = next(whole)
        count = 1 if coupling is cosine_pairs else 2
        upstream = [rng.standard_normal(r.shape) for r in rows[:count]]
        gradient = sum(whole.send(tuple(upstream)))
        total = np.zeros_like(x)
        for some in (slice(0, 2), slice(2, 6), slice(6, 9)):
            part = coupling.rows(xp, x, LABELS, keep, some)
            for found, expected in zip(next(part), rows, strict=True):
                np.testing.assert_allclose(found, expected[some], rtol=1e-14)
            own, others = part.send(tuple(u[some] for u in upstream))
            total[some] += own
            total += others
    np.testing.assert_allclose(total, gradient, rtol=1e-12, atol=1e-14)


@each_coupled
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("keep", [None, KEEP], ids=["all", "masked"])
def test_a_batch_taken_in_parts_gives_the_same(
    name: str, reduction: Any, keep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, x = lossary.get(name), embeddings()
    if keep is not None:
        x[~keep] = np.nan
    options: dict[str, Any] = {"mask": keep, "reduction": reduction}
    value, grad = loss.value_and_grad(x, LABELS, **options)
    by_parts(monkeypatch)
    found, found_grad = loss.value_and_grad(x, LABELS, **options)
    np.testing.assert_allclose(found, value, rtol=1e-14)
    np.testing.assert_allclose(found_grad, grad, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(loss.value(x, LABELS, **options), value, rtol=1e-14)


@each_coupled
def test_tensors_taken_in_parts_give_the_same_with_both_derivatives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    loss, labels = lossary.get(name), torch.from_numpy(LABELS)
    leaf = torch.from_numpy(embeddings()).requires_grad_()

    def both() -> tuple[Any, ...]:
        value = loss(leaf, labels)
        (first,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad((first * first).sum(), leaf)
        (plain,) = torch.autograd.grad(loss(leaf, labels).sum(), leaf)
        return value, first, second, plain

    expected = both()
    by_parts(monkeypatch)
    for found, reference in zip(both(), expected, strict=True):
        torch.testing.assert_close(found, reference)


@each_coupled
@pytest.mark.parametrize("order", [0, 1])
def test_no_table_of_all_pairs_is_made(name: str, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 1024
    loss, labels = lossary.get(name), np.arange(count) % 50
    x = np.random.default_rng(5).standard_normal((count, 4))
    table = count * count * 8
    peaks = []
    for anchors in (count, 16):
        by_parts(monkeypatch, anchors)
        tracemalloc.start()
        loss.value_and_grad(x, labels, reduction="mean") if order else loss.value(x, labels, reduction="mean")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] > table > 2 * peaks[1], "what is measured is the table"


@pytest.mark.parametrize("order", [0, 1])
def test_tensors_make_no_table_either(order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    count = 512
    labels, x = torch.arange(count) % 50, torch.randn(count, 4, dtype=torch.float64)
    by_parts(monkeypatch, 16)
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[misc, name-defined]
        def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            out = function(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, (tuple, list)) else (out,):
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.untyped_storage().nbytes())
            return out

    leaf = x.requires_grad_(bool(order))
    with Sizes():
        value = lossary.supcon(leaf, labels).sum()
        if order:
            value.backward()
    assert 0 < largest <= 16 * count * 8


# --- blocks of rows ---------------------------------------------------------------------------------------------------

BLOCKS = {"one block": (20, 4), "blocks of some rows": (150, 30), "blocks of one row": (120, 600)}


@pytest.mark.parametrize(("count", "dimensions"), BLOCKS.values(), ids=BLOCKS)
def test_distances_taken_in_blocks_keep_the_digits_of_near_points_far_from_the_origin(
    count: int, dimensions: int
) -> None:
    rng = np.random.default_rng(6)
    labels = np.arange(count) % 4
    near = rng.integers(-512, 513, (count, dimensions)) / 512.0
    value, grad = lossary.batch_hard_triplet.value_and_grad(near + 2.0**20, labels, margin=1e3)
    distances = np.array([np.sqrt(((near - row) ** 2).sum(axis=1)) for row in near])
    same = labels[:, None] == labels
    far = np.where(same, distances, -np.inf).max(axis=1)
    close = np.where(same, np.inf, distances).min(axis=1)
    np.testing.assert_allclose(value, 1e3 + far - close, rtol=1e-13)
    expected = np.zeros_like(near)
    for i, row in enumerate(near):
        for chosen, sign in ((same[i] & (distances[i] == far[i]), 1), (~same[i] & (distances[i] == close[i]), -1)):
            pulls = sign * (row - near[chosen]) / distances[i][chosen][:, None] / chosen.sum()
            expected[i] += pulls.sum(axis=0)
            expected[chosen] -= pulls
    np.testing.assert_allclose(grad, expected, rtol=1e-9, atol=1e-12)


def test_no_table_of_the_differences_of_all_pairs_is_made() -> None:
    count, dimensions = 400, 64
    x = np.random.default_rng(7).standard_normal((count, dimensions))
    tracemalloc.start()
    lossary.batch_hard_triplet.value_and_grad(x, np.arange(count) % 50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < count * count * dimensions * 8 / 4, f"{peak / 1e6:.0f} MB"


@each_coupled
def test_a_graph_does_not_grow_with_the_batch(name: str) -> None:
    torch = pytest.importorskip("torch")
    from torch.fx.experimental.proxy_tensor import make_fx

    def operations(count: int) -> int:
        traced = make_fx(lossary.get(name))(torch.randn(count, 600), torch.arange(count) % 4)
        return len(traced.graph.nodes)

    few, many = operations(8), operations(150)  # what a first call loads may be in the first graph
    assert many <= few
