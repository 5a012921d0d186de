"""Kernels generated for losses on rows: held to their definitions, and to what a kernel promises beyond them."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss
from lossary.evaluate.call import prepare
from lossary.evaluate.transforms import value_and_grad
from lossary.testing import random_arrays, random_params

pytest.importorskip("numba")

from lossary.kernels import registry as kernels
from lossary.kernels.cpu import generated_rows as lanes
from lossary.kernels.cpu.row_source import RowVariant, write
from lossary.kernels.cpu.runtime import sums
from lossary.kernels.cpu.sizes import LANES
from lossary.kernels.ir.graph import UnsupportedError
from lossary.kernels.ir.rows import traced_rows
from lossary.kernels.request import Request

# Those for which no loops can be generated, and why.
WITHOUT = {
    "arcface": "takes the cosine of an angle",
    "ctc": "runs along a sequence",
    "linear_chain_crf": "runs along a sequence",
    "rnnt": "runs along a sequence",
    "zero_one": "asks where the largest entry is, and has no slope",
}


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


@pytest.fixture(autouse=True)
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "least", lambda _smallest: 0)
    monkeypatch.setattr(lanes, "least", lambda _smallest: 0)


def drawn(loss: Loss, alternative: int, dtype: Any, seed: int, count: int) -> list[Any]:
    rng = np.random.default_rng([seed, *loss.name.encode()])
    arrays = random_arrays(loss, rng, count, alternative=alternative)
    return [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]


def by_kernel(call: Any, value: Any = "each", order: int = 1, weights: Any = None, threads: int = 0) -> Any:
    """Value and derivatives of one order by the generated kernel, or None if it does not take the call."""
    found = lanes.run(call, Request(value, (order,), weights, threads=threads))
    return found and SimpleNamespace(value=found.value, derivatives=found.derivatives[0])


def compare(loss: Loss, arrays: Any, params: Any, weights: Any = None, units: float = 128) -> None:
    """Hold value and gradient to the definition's: to some units of the result, and of the inputs as they move it."""
    call = prepare(loss, arrays, params)
    found = by_kernel(call, weights=weights)
    assert found is not None, f"{loss.name} has no kernel: if none is wanted, its record says kernel=False"
    value, derivatives, _ = call.pull(min(2, loss.derivatives))
    # A small temperature magnifies the roundings of what it divides.
    small = [abs(held) for held in call.params.values() if isinstance(held, float) and 0 < abs(held) < 1]
    eps = np.finfo(call.dtype).eps / min([1.0, *small])
    factor = np.ones(call.batch, call.dtype) if weights is None else weights
    sensitivity = np.zeros(call.batch)
    for at, slope in zip(loss.wrt, derivatives[0], strict=True):
        given = call.arrays[loss.arguments.index(at)]
        moved = np.nan_to_num(np.abs(np.broadcast_to(slope * given, given.shape)))
        sensitivity = sensitivity + moved.reshape(*call.batch, -1).sum(-1)
    expected = np.broadcast_to(value, (*call.batch, 1))[..., 0]
    pairs = [(found.value, np.where(factor == 0, 0, expected * factor), sensitivity * factor)]
    for number, (got, slope) in enumerate(zip(found.derivatives, derivatives[0], strict=True)):
        got = got.reshape(*call.batch, -1)  # one number, or one for each entry
        whole = np.broadcast_to(slope, got.shape)
        reference = np.where(factor[..., None] == 0, 0, whole * factor[..., None])
        size = np.nan_to_num(np.abs(reference)).max(-1, keepdims=True)
        if loss.derivatives > 1:
            moved = derivatives[1][number] * call.arrays[loss.arguments.index(loss.wrt[number])]
            size = size + np.nan_to_num(np.abs(np.broadcast_to(moved, got.shape))).max(-1, keepdims=True)
        pairs.append((got, reference, np.broadcast_to(size, got.shape)))
    for got, reference, size in pairs:
        np.testing.assert_array_equal(np.isnan(got), np.isnan(reference), err_msg=loss.name)
        endless = np.isinf(reference)
        np.testing.assert_array_equal(got[endless], reference[endless], err_msg=loss.name)
        plain = np.isfinite(reference)
        slack = units * eps * (np.abs(reference[plain]) + size[plain] + 1) + np.finfo(call.dtype).tiny
        excess = np.abs(got[plain] - reference[plain]) - slack
        assert not (excess > 0).any(), (loss.name, params, excess.max())


@every_loss
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_loops_compute_what_the_definition_computes(loss: Loss, alternative: int, dtype: Any) -> None:
    rng = np.random.default_rng([1, *loss.name.encode()])
    for number, params in enumerate(({}, random_params(loss, rng, default=0.0))):
        arrays = drawn(loss, alternative, dtype, number, 2 * LANES + 9)
        weights = None if number == 0 else (rng.random(2 * LANES + 9) * (rng.random() < 0.8)).astype(dtype)
        compare(loss, arrays, params, weights)


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
        compare(loss, [scores, *arrays[1:]], {}, units=1024)


@pytest.mark.parametrize("width", [1, 2, 63, 64, 65, 300, 5000])
def test_rows_of_any_length(width: int) -> None:
    rng = np.random.default_rng(width)
    for name in ("nll", "softmax_cross_entropy", "kl_divergence"):
        loss = lossary.get(name)
        scores = rng.standard_normal((70, width)).astype(np.float32)
        scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
        soft = rng.dirichlet(np.ones(width), 70).astype(np.float32)
        compare(loss, [scores, soft if name == "kl_divergence" else rng.integers(0, width, 70)], {})


def test_the_whole_call_agrees_under_weights_masks_ignored_labels_and_reductions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((500, 40)), rng.integers(0, 40, 500)
    labels[::7] = -100
    weight, mask = rng.random(500), rng.random(500) < 0.9
    for how in ("none", "sum", "mean"):
        options: dict[str, Any] = {"reduction": how, "weight": weight, "mask": mask, "ignore_index": -100}
        fast = value_and_grad(lossary.multiclass_hinge, scores, labels, **options)
        with monkeypatch.context() as off:
            off.setattr(lanes, "ROW_ELEMENTS", 10**9)
            slow = value_and_grad(lossary.multiclass_hinge, scores, labels, **options)
        np.testing.assert_allclose(fast[0], slow[0], rtol=1e-12)
        np.testing.assert_allclose(fast[1], slow[1], rtol=1e-12, atol=1e-15)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "SHARED_ELEMENTS", 0)
    rng = np.random.default_rng(0)
    call = prepare(lossary.multiclass_hinge, (rng.standard_normal((1000, 12)), rng.integers(0, 12, 1000)), {})
    results = [by_kernel(call, "sum", threads=n) for n in (1, 2, 3, 7)]
    for other in results[1:]:
        assert other.value == results[0].value
        np.testing.assert_array_equal(other.derivatives[0], results[0].derivatives[0])


def test_arrays_that_lie_otherwise_in_memory_are_read_right() -> None:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((12, 150))
    labels = rng.integers(0, 12, 300)[::2]
    compare(lossary.multiclass_hinge, [wide.T, labels], {})
    compare(lossary.multiclass_hinge, [wide.T[::-1], labels.astype(np.uint8)], {})


def test_a_label_out_of_range_is_refused_on_the_way() -> None:
    with pytest.raises(lossary.errors.DomainError, match="multiclass_hinge: target"):
        lossary.multiclass_hinge(np.zeros((200, 100)), np.full(200, 100))


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_what_cannot_be_generated_is_known(name: str) -> None:
    loss = lossary.get(name)
    held = {k: v for k, v in loss.defaults.items() if k != "ignore_index"}
    with pytest.raises(UnsupportedError):
        traced_rows(loss, 0, held, (), (), 1)


def test_generated_source_reads_like_the_definition() -> None:
    loss = lossary.multiclass_hinge
    source, *_ = write(RowVariant(loss, 0, "float32", (), ("margin",), (), (1,), "sum", "", 64))
    assert "violation = margin + (rival - score)" in source
    assert "for j in range(width):" in source


def test_the_largest_of_a_row_is_the_largest_also_where_it_is_computed_anew() -> None:
    """Scores that are a product: in one rounding with what follows they would differ from pass to pass by a little.

    Then no entry is the largest to the digit, and a confident row loses its gradient to rounding.
    """
    rng = np.random.default_rng(3)
    cosines = rng.uniform(-0.5, 0.3, (64, 5)).astype(np.float32)
    labels = rng.integers(0, 5, 64)
    cosines[np.arange(64), labels] = rng.uniform(0.8, 0.99, 64).astype(np.float32)
    for loss, params in ((lossary.info_nce, {"temperature": 0.03}), (lossary.cosface, {"scale": 37.0, "margin": 0.1})):
        call = prepare(loss, (cosines, labels), params)
        found = by_kernel(call)
        value, derivatives, _ = call.pull(1)
        np.testing.assert_allclose(found.value, value[:, 0], rtol=1e-4)
        np.testing.assert_allclose(found.derivatives[0], derivatives[0][0], rtol=1e-4)


def test_what_is_multiplied_by_a_one_hot_row_is_computed_at_the_label_alone() -> None:
    loss = lossary.softmax_cross_entropy
    held = tuple((name, value) for name, value in loss.defaults.items() if name != "ignore_index")
    source, *_ = write(RowVariant(loss, 0, "float32", held, (), (), (1,), "sum", "", 64))
    loops = source.split("for j in range(width):")[1:]
    entries = [re.split(r"\n {8}(?=\S)", loop)[0] for loop in loops]
    assert "expm1(" in source
    assert not any("expm1(" in loop for loop in entries)
    assert sum(re.search(r"\bexp(_nonpositive)?\(", loop) is not None for loop in entries) == 1


def source_of(loss: Loss, order: int, value: str | None = "sum") -> str:
    held = tuple((name, held) for name, held in loss.defaults.items() if name != "ignore_index")
    return write(RowVariant(loss, 0, "float32", held, (), (), (order,) * (order > 0), value, "", 64))[0]


def test_a_loss_that_reads_rows_at_their_labels_alone_does_not_go_through_them() -> None:
    for order in (0, 1):
        source = source_of(lossary.nll, order)
        assert "range(width)" not in source
        assert "moved(" not in source.split("def tiles")[1]
    assert "cleared(derivative_0_out" in source_of(lossary.nll, 1)
    # Margins know the score at the label before they go through the others.
    assert source_of(lossary.multi_margin, 0).count("range(width)") == 1


def test_whatever_stands_beside_the_label_does_not_matter_where_it_is_not_read() -> None:
    rng = np.random.default_rng(0)
    log_probs, labels = -rng.random((150, 9)), rng.integers(0, 9, 150)
    apart = np.full_like(log_probs, np.nan)
    apart[np.arange(150), labels] = log_probs[np.arange(150), labels]
    calls = [prepare(lossary.nll, (x, labels), {}, check=False) for x in (log_probs, apart)]
    whole, sparse = (by_kernel(call) for call in calls)
    np.testing.assert_array_equal(whole.value, sparse.value)
    np.testing.assert_array_equal(sparse.derivatives[0], -np.eye(9)[labels])


@pytest.mark.parametrize("shape", [(2, 3, 70), (3, 21, 9, 40), (1, 100, 300), (2, 5, 7), (130, 4)])
@pytest.mark.parametrize("weighing", ["", "weights", "class_weight"])
def test_a_slope_at_a_label_alone_is_written_there_however_rows_lie(shape: Any, weighing: str) -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal(shape)
    scores = np.moveaxis(scores - np.log(np.exp(scores).sum(1, keepdims=True)), 1, -1)
    batch, classes = scores.shape[:-1], scores.shape[-1]
    labels = rng.integers(0, classes, batch)
    weights = (rng.random(batch) < 0.7).astype(float) if weighing == "weights" else None
    params = {"class_weight": rng.random(classes)} if weighing == "class_weight" else {}
    compare(lossary.nll, [scores, labels], params, weights)
    out = np.full(scores.shape, 7.0)
    _, grad = value_and_grad(lossary.nll, scores, labels, out=out)
    assert grad is out
    np.testing.assert_array_equal(out, -np.eye(classes)[labels])


def test_pieces_are_added_one_after_the_other() -> None:
    numbers = np.random.default_rng(0).standard_normal((1000, 2)) * 10.0 ** np.arange(-5, 5).repeat(100)[:, None]
    for count in (0, 1, 2, 3, 4, 7, 8, 9, 129, 1000):
        for table_ in (numbers[:count], np.ascontiguousarray(numbers[:count, 0])):
            expected = 0.0
            for x in numbers[:count, 0].tolist():
                expected += x
            assert sums.total(np.ascontiguousarray(table_)) == expected


@pytest.mark.parametrize("label", [-5, -1, 7, 2**32 + 3, -(2**32) + 2])
def test_a_label_outside_its_row_is_told_and_no_other_class_is_taken_for_it(label: int) -> None:
    scores = np.random.default_rng(0).standard_normal((70, 7))
    labels = np.arange(70) % 7
    labels[66] = label
    call = prepare(lossary.softmax_cross_entropy, (scores, labels), {}, check=False)
    found = by_kernel(call)
    assert found is not None
    assert found.value[66] == 0
    assert not found.derivatives[0][66].any()
    with pytest.raises(lossary.errors.DomainError):
        by_kernel(prepare(lossary.softmax_cross_entropy, (scores, labels), {}, defer_checks=True), "sum")


@pytest.mark.parametrize("shape", [(2, 3, 70), (3, 21, 9, 40), (1, 100, 300), (2, 5, 7)])
@pytest.mark.parametrize("soft", [False, True])
def test_rows_whose_entries_are_far_apart_are_read_and_written_where_they_lie(shape: Any, soft: bool) -> None:
    rng = np.random.default_rng(0)
    scores = np.moveaxis(rng.standard_normal(shape), 1, -1)
    batch, classes = scores.shape[:-1], scores.shape[-1]
    target = rng.dirichlet(np.ones(classes), batch) if soft else rng.integers(0, classes, batch)
    weights = (rng.random(batch) < 0.7).astype(float)
    compare(lossary.softmax_cross_entropy, [scores, target], {"label_smoothing": 0.1}, weights)
    found = by_kernel(prepare(lossary.softmax_cross_entropy, [scores, target], {}))
    assert found is not None
    if math.prod(shape[2:]) > 16:
        assert found.derivatives[0][0].strides == scores[0].strides


def test_a_gradient_is_written_where_the_caller_wants_it() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.standard_normal((500, 6)), rng.integers(0, 6, 500)
    out = np.empty((500, 6))
    _, grad = value_and_grad(lossary.softmax_cross_entropy, scores, labels, out=out)
    assert grad is out
    np.testing.assert_array_equal(out, lossary.softmax_cross_entropy.grad(scores, labels))


@pytest.mark.parametrize("name", ["sampled_softmax", "negative_sampling", "noise_contrastive_estimation"])
@pytest.mark.parametrize("alone", [False, True])
def test_derivatives_in_a_number_of_each_row_have_the_shape_of_those_numbers(name: str, alone: bool) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(0)
    arrays = random_arrays(loss, rng, 70)
    weight = None if alone else rng.random(70)
    arrays = [x[3] for x in arrays] if alone else arrays
    value, grads = value_and_grad(loss, *arrays, weight=weight)
    call = prepare(loss, arrays, {}, weight)
    expected, (slopes, *_), _ = call.pull(1)
    factor = np.ones(()) if alone else weight
    np.testing.assert_allclose(value, factor * call.values(expected), rtol=1e-12)
    for got, slope in zip(grads, call.restore(slopes, call.weights), strict=True):
        assert got.shape == slope.shape
        np.testing.assert_allclose(got, slope, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["nll", "brier", "multi_margin", "kl_divergence", "multiclass_hinge"])
def test_a_curvature_that_reads_no_row_has_the_shape_of_the_rows(name: str) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(0)
    arrays = random_arrays(loss, rng, 70)
    call = prepare(loss, arrays, {})
    expected = call.restore(call.pull(2)[1][1], None)
    found = by_kernel(call, None, 2)
    assert found is not None
    np.testing.assert_allclose(found.derivatives[0], expected[0], rtol=1e-12, atol=1e-14)
