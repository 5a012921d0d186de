"""Kernels of losses on rows: held to their definitions, and to what a kernel promises beyond them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lossary
from by_kernel import by_definition, by_kernel, runs_definition, tuple_of
from lossary.catalogue import Loss
from lossary.testing import random_arrays, random_params

pytest.importorskip("numba", reason="kernels need the fast extra")

WITHOUT = {"arcface", "zero_one"}  # whose definitions are not turned into loops
TILE = 64  # rows that are computed side by side


def on_rows() -> list[tuple[Loss, int]]:
    """Every loss on rows of one length, with its alternatives."""
    found = []
    for name in lossary.names():
        loss = lossary.get(name)
        for number, signature in enumerate(loss.signatures):
            labels = {label for core in signature.inputs for label in core}
            generated = loss.kernel and not loss.coupling and name not in WITHOUT
            if signature.rank == 1 and len(labels) == 1 and generated:
                found.append((loss, number))
    return found


every_loss = pytest.mark.parametrize(("loss", "alternative"), on_rows(), ids=lambda x: getattr(x, "name", x))


def drawn(loss: Loss, alternative: int, dtype: Any, seed: int, count: int) -> list[Any]:
    rng = np.random.default_rng([seed, *loss.name.encode()])
    arrays = random_arrays(loss, rng, count, alternative=alternative)
    return [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]


def compare(
    loss: Loss, arrays: Any, params: Any, weight: Any = None, units: float = 128, check: bool = True, hess: bool = False
) -> None:
    """Hold value and gradient to the definition's: to some units of the result, and of the inputs as they move it.

    With `hess`, gradient and Hessian of one pass as well.
    """

    def call(weight: Any = None) -> tuple[Any, ...]:
        value, grads = loss.value_and_grad(*arrays, weight=weight, check=check, **params)
        return value, *tuple_of(grads)

    def both() -> tuple[Any, ...]:
        grads, curvatures = loss.grad_hess(*arrays, check=check, **params)
        return *tuple_of(grads), *tuple_of(curvatures)

    value, *grads = by_kernel(lambda: call(weight))
    exact, *slopes = by_definition(lambda: call(weight))
    # Sizes are those of the call without weights: a weight of 0 has hidden nothing there.
    unweighted = by_definition(call)[1:]
    curvatures = by_definition(both)[len(slopes) :] if loss.derivatives > 1 else ()
    dtype = exact.dtype
    # A small temperature magnifies the roundings of what it divides.
    small = [abs(held) for held in params.values() if isinstance(held, float) and 0 < abs(held) < 1]
    small += [abs(held) for held in loss.defaults.values() if isinstance(held, float) and 0 < abs(held) < 1]
    eps = np.finfo(dtype).eps / min([1.0, *small])
    factor = np.ones(exact.shape, dtype) if weight is None else weight
    sensitivity = np.zeros(exact.shape)
    for name, slope in zip(loss.wrt, unweighted, strict=True):
        moved = np.nan_to_num(np.abs(slope * arrays[loss.arguments.index(name)]))
        sensitivity = sensitivity + moved.reshape(*exact.shape, -1).sum(-1)
    pairs = [("value", value, exact, sensitivity * factor)]
    for number, (got, reference) in enumerate(zip(grads, slopes, strict=True)):
        rows = got.reshape(*exact.shape, -1), reference.reshape(*exact.shape, -1)
        size = np.nan_to_num(np.abs(rows[1])).max(-1, keepdims=True)
        if curvatures:
            moved = curvatures[number] * arrays[loss.arguments.index(loss.wrt[number])]
            size = size + np.nan_to_num(np.abs(moved.reshape(rows[1].shape))).max(-1, keepdims=True)
        pairs.append(("gradient", *rows, np.broadcast_to(size, rows[1].shape)))
    if hess:
        found = by_kernel(both)
        for got, reference in zip(found, [*unweighted, *curvatures], strict=True):
            size = np.nan_to_num(np.abs(reference)).max(initial=0)
            pairs.append(("grad_hess", got, reference, np.full(reference.shape, 4 * size)))
    for what, got, reference, size in pairs:
        np.testing.assert_array_equal(np.isnan(got), np.isnan(reference), err_msg=f"{loss.name}: {what}")
        endless = np.isinf(reference)
        np.testing.assert_array_equal(got[endless], reference[endless], err_msg=f"{loss.name}: {what}")
        plain = np.isfinite(reference)
        slack = units * eps * (np.abs(reference[plain]) + size[plain] + 1) + np.finfo(dtype).tiny
        excess = np.abs(got[plain] - reference[plain]) - slack
        assert not (excess > 0).any(), (loss.name, what, params, excess.max())


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_a_kernel_computes_what_its_definition_computes(loss: Loss, alternative: int, dtype: Any) -> None:
    rng = np.random.default_rng([1, *loss.name.encode()])
    count = 2 * TILE + 9
    for number, params in enumerate(({}, random_params(loss, rng, default=0.0))):
        arrays = drawn(loss, alternative, dtype, number, count)
        weight = None if number == 0 else (rng.random(count) * (rng.random(count) < 0.8)).astype(dtype)
        once = number == 0 and dtype == np.float32 and loss.derivatives > 1
        compare(loss, arrays, params, weight, hess=once)
        if number == 0:
            assert not runs_definition(loss, lambda arrays=arrays: loss.value_and_grad(*arrays)), "it has a kernel"


SCORES = [
    (loss, n) for loss, n in on_rows() if loss.input in ("logit", "score") and n == 0 and loss.signatures[0].inputs[0]
]


@pytest.mark.parametrize(("loss", "alternative"), SCORES, ids=lambda x: getattr(x, "name", x))
def test_undefined_and_extreme_scores_end_as_the_definition_says(loss: Loss, alternative: int) -> None:
    arrays = drawn(loss, alternative, np.float64, 3, 12)
    scores = np.array(np.broadcast_to(arrays[0], (12, arrays[0].shape[-1])))
    scores[0, 1], scores[1, 0], scores[2, 0] = np.nan, np.inf, -np.inf
    scores[3], scores[4], scores[5] = -np.inf, 1e300, 0.0
    scores[6, 0], scores[7, 0], scores[8] = 1e4, -1e4, -700.0
    with np.errstate(all="ignore"):
        compare(loss, [scores, *arrays[1:]], {}, units=1024, check=False)


@pytest.mark.filterwarnings("ignore::lossary.LossMisuseWarning")  # of a single class
@pytest.mark.parametrize("width", [1, 2, 63, 64, 65, 300, 5000])
def test_rows_of_any_length(width: int) -> None:
    rng = np.random.default_rng(width)
    for name in ("nll", "softmax_cross_entropy", "kl_divergence"):
        loss = lossary.get(name)
        scores = rng.standard_normal((70, width)).astype(np.float32)
        scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
        soft = rng.dirichlet(np.ones(width), 70).astype(np.float32)
        compare(loss, [scores, soft if name == "kl_divergence" else rng.integers(0, width, 70)], {})


def test_weights_masks_ignored_labels_and_reductions() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((500, 40)), rng.integers(0, 40, 500)
    labels[::7] = -100
    weight, mask = rng.random(500), rng.random(500) < 0.9
    for reduction in ("none", "sum", "mean"):
        options: dict[str, Any] = {"reduction": reduction, "weight": weight, "mask": mask, "ignore_index": -100}
        call = lambda options=options: lossary.multiclass_hinge.value_and_grad(scores, labels, **options)  # noqa: E731
        (value, grad), (expected, reference) = by_kernel(call), by_definition(call)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        np.testing.assert_allclose(grad, reference, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("weighted", [False, True])
def test_any_number_of_threads_gives_the_same_bits(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((6001, 12)), rng.integers(0, 12, 6001)
    options = {"weight": rng.random(6001)} if weighted else {}
    runs = []
    for count in (1, 2, 3, 7):
        monkeypatch.setenv("NUMBA_NUM_THREADS", str(count))
        runs.append(lossary.multiclass_hinge.value_and_grad(scores, labels, reduction="sum", **options))
    for value, grad in runs[1:]:
        assert value == runs[0][0]
        np.testing.assert_array_equal(grad, runs[0][1])


def test_arrays_that_lie_otherwise_in_memory_are_read_right() -> None:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((12, 150))
    labels = rng.integers(0, 12, 300)[::2]
    compare(lossary.multiclass_hinge, [wide.T, labels], {})
    compare(lossary.multiclass_hinge, [wide.T[::-1], labels.astype(np.uint8)], {})


@pytest.mark.filterwarnings("ignore::lossary.LossMisuseWarning")  # of a single class
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 21, 64])
def test_tables_of_any_size_are_read_and_written_and_nothing_beside_them(width: int, dtype: Any) -> None:
    """Rows are turned side by side and back in registers of several sizes, and what is left over one by one."""
    loss, rng = lossary.softmax_cross_entropy, np.random.default_rng(width)
    for rows in [*range(1, 20), 31, 32, 63, 64]:
        scores, labels = rng.standard_normal((rows, width)).astype(dtype), rng.integers(0, width, rows)
        around = np.full((rows + 2, width + 3), np.nan, dtype)
        around[1:-1, 1:-2] = scores
        written = np.full_like(around, 7)
        inside = around[1:-1, 1:-2], written[1:-1, 1:-2]
        value, _ = by_kernel(lambda given=inside, y=labels: loss.value_and_grad(given[0], y, out=given[1]))
        expected, reference = by_definition(lambda x=scores, y=labels: loss.value_and_grad(x, y))
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(inside[1], reference, rtol=1e-5, atol=1e-6)
        inside[1][...] = 7
        assert (written == 7).all()


def test_one_row_of_numbers_stands_for_all() -> None:
    rng = np.random.default_rng(1)
    soft = np.broadcast_to(rng.dirichlet(np.ones(9)), (12, 9))
    compare(lossary.softmax_cross_entropy, [rng.standard_normal((12, 9)), soft], {})


def test_a_label_out_of_range_is_refused() -> None:
    with pytest.raises(lossary.errors.DomainError, match="multiclass_hinge: target"):
        lossary.multiclass_hinge(np.zeros((200, 100)), np.full(200, 100))


def test_the_largest_of_a_row_is_the_largest_also_where_it_is_computed_anew() -> None:
    """Scores that are a product: in one rounding with what follows they would differ from pass to pass by a little.

    Then no entry is the largest to the digit, and a confident row loses its gradient to rounding.
    """
    rng = np.random.default_rng(3)
    cosines = rng.uniform(-0.5, 0.3, (64, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 64)
    cosines[np.arange(64), labels] = rng.uniform(0.8, 0.99, 64).astype(np.float32)
    for loss, params in ((lossary.info_nce, {"temperature": 0.03}), (lossary.cosface, {"scale": 37.0, "margin": 0.1})):
        call = lambda loss=loss, params=params: loss.value_and_grad(cosines, labels, **params)  # noqa: E731
        for got, reference in zip(by_kernel(call), by_definition(call), strict=True):
            np.testing.assert_allclose(got, reference, rtol=1e-4)


def test_whatever_stands_beside_the_label_does_not_matter_where_it_is_not_read() -> None:
    rng = np.random.default_rng(0)
    log_probs, labels = -rng.random((150, 9)), rng.integers(0, 9, 150)
    apart = np.full_like(log_probs, np.nan)
    apart[np.arange(150), labels] = log_probs[np.arange(150), labels]
    whole, sparse = (
        by_kernel(lambda x=x: lossary.nll.value_and_grad(x, labels, check=False)) for x in (log_probs, apart)
    )
    np.testing.assert_array_equal(whole[0], sparse[0])
    np.testing.assert_array_equal(sparse[1], -np.eye(9)[labels])


@pytest.mark.parametrize("shape", [(2, 3, 70), (3, 21, 9, 40), (1, 100, 300), (2, 5, 7), (130, 4)])
@pytest.mark.parametrize("weighing", ["", "weights", "class_weight"])
def test_a_gradient_at_a_label_alone_is_written_there_whatever_the_layout(shape: Any, weighing: str) -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal(shape)
    scores = np.moveaxis(scores - np.log(np.exp(scores).sum(1, keepdims=True)), 1, -1)
    batch, classes = scores.shape[:-1], scores.shape[-1]
    labels = rng.integers(0, classes, batch)
    weight = (rng.random(batch) < 0.7).astype(float) if weighing == "weights" else None
    params = {"class_weight": rng.random(classes)} if weighing == "class_weight" else {}
    compare(lossary.nll, [scores, labels], params, weight)
    out = np.full(scores.shape, 7.0)
    _, grad = by_kernel(lambda: lossary.nll.value_and_grad(scores, labels, out=out))
    assert grad is out
    np.testing.assert_array_equal(out, -np.eye(classes)[labels])


@pytest.mark.parametrize("label", [-5, -1, 7, 2**32 + 3, -(2**32) + 2])
def test_no_other_class_is_taken_for_a_label_outside_its_row(label: int) -> None:
    scores = np.random.default_rng(0).standard_normal((70, 7))
    labels = np.arange(70) % 7
    labels[66] = label
    value, grad = by_kernel(lambda: lossary.softmax_cross_entropy.value_and_grad(scores, labels, check=False))
    assert value[66] == 0
    assert not grad[66].any()
    with pytest.raises(lossary.errors.DomainError):
        by_kernel(lambda: lossary.softmax_cross_entropy.value_and_grad(scores, labels, reduction="sum"))


@pytest.mark.parametrize("shape", [(2, 3, 70), (3, 21, 9, 40), (1, 100, 300), (2, 5, 7)])
@pytest.mark.parametrize("soft", [False, True])
def test_rows_whose_entries_are_far_apart_are_read_and_written_where_they_lie(shape: Any, soft: bool) -> None:
    rng = np.random.default_rng(0)
    scores = np.moveaxis(rng.standard_normal(shape), 1, -1)
    batch, classes = scores.shape[:-1], scores.shape[-1]
    target = rng.dirichlet(np.ones(classes), batch) if soft else rng.integers(0, classes, batch)
    weight = (rng.random(batch) < 0.7).astype(float)
    compare(lossary.softmax_cross_entropy, [scores, target], {"label_smoothing": 0.1}, weight)
    grad = by_kernel(lambda: lossary.softmax_cross_entropy.grad(scores, target))
    if math.prod(shape[2:]) > 16:
        assert grad[0].strides == scores[0].strides


def test_a_gradient_is_written_where_the_caller_wants_it() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((500, 6)), rng.integers(0, 6, 500)
    out = np.empty((500, 6))
    _, grad = lossary.softmax_cross_entropy.value_and_grad(scores, labels, out=out)
    assert grad is out
    np.testing.assert_array_equal(out, lossary.softmax_cross_entropy.grad(scores, labels))


@pytest.mark.parametrize("name", ["sampled_softmax", "negative_sampling", "noise_contrastive_estimation"])
@pytest.mark.parametrize("alone", [False, True])
def test_derivatives_in_a_number_of_each_row_have_the_shape_of_those_numbers(name: str, alone: bool) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(0)
    arrays = random_arrays(loss, rng, 70)
    weight = None if alone else rng.random(70)
    arrays = [x[3] for x in arrays] if alone else arrays
    call = lambda: loss.value_and_grad(*arrays, weight=weight)  # noqa: E731
    (value, grads), (expected, references) = by_kernel(call), by_definition(call)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for got, reference, at in zip(grads, references, loss.wrt, strict=True):
        assert got.shape == reference.shape == arrays[loss.arguments.index(at)].shape
        np.testing.assert_allclose(got, reference, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["nll", "brier", "multi_margin", "kl_divergence", "multiclass_hinge"])
def test_a_curvature_that_reads_no_row_has_the_shape_of_the_rows(name: str) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(0)
    arrays = random_arrays(loss, rng, 70)
    found, expected = (way(lambda: loss.hess(*arrays)) for way in (by_kernel, by_definition))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
