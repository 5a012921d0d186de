"""The transducer's kernel against the definition: types, lengths, weights, threads, the forbidden, and NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossary
from by_kernel import by_definition, by_kernel, runs_definition
from lossary.testing import kernels

pytest.importorskip("numba", reason="kernels need the fast extra")

INF, NAN = np.inf, np.nan
TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


def kernel(arrays: Any, **options: Any) -> tuple[Any, Any]:
    """The kernel's value and gradient."""
    return by_kernel(lambda: lossary.rnnt.value_and_grad(*arrays, check=False, **options))


def definition(arrays: Any, **options: Any) -> tuple[Any, Any]:
    """The definition's value and gradient in float64."""
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in map(np.asarray, arrays)]
    return by_definition(lambda: lossary.rnnt.value_and_grad(*wide, check=False, **options))


def sequences(rng: Any, dtype: Any, batch: int = 5, frames: int = 9, labels: int = 4, classes: int = 7) -> list[Any]:
    """Random logits, labels without the blank 2, and lengths; nonsense beyond the lengths."""
    logits = (3 * rng.standard_normal((batch, frames, labels + 1, classes))).astype(dtype)
    said = rng.choice([c for c in range(classes) if c != 2], (batch, labels))
    lengths = rng.integers(1, frames + 1, batch), rng.integers(0, labels + 1, batch)
    outside = np.arange(frames)[:, None] >= lengths[0][:, None, None]
    logits[outside | (np.arange(labels + 1) > lengths[1][:, None, None])] = NAN
    said[np.arange(labels) >= lengths[1][:, None]] = -100
    return [logits, said, *lengths]


@TYPES
@pytest.mark.parametrize(
    "sizes", [{}, {"batch": 1, "frames": 1, "labels": 0}, {"frames": 40, "labels": 25, "classes": 3}]
)
def test_it_computes_what_the_definition_says(dtype: Any, sizes: dict[str, int]) -> None:
    rng = np.random.default_rng(1)
    arrays = sequences(rng, dtype, **sizes)
    weight = rng.uniform(0.5, 2.0, len(arrays[0]))
    weight[0] = 0.0 if len(weight) > 1 else 1.5
    eps = float(np.finfo(dtype).eps)
    for options in ({}, {"reduction": "mean", "denominator": 4}):
        value, grad = kernel(arrays, weight=weight, blank=2, **options)
        exact, slope = definition(arrays, weight=weight, blank=2, **options)
        assert value.dtype == grad.dtype == dtype
        np.testing.assert_allclose(value, exact, rtol=16 * eps)
        np.testing.assert_allclose(grad, slope, rtol=64 * eps, atol=16 * eps)
        assert ((slope == 0) <= (grad == 0)).all()
    assert not runs_definition(lossary.rnnt, lambda: lossary.rnnt.value_and_grad(*arrays, check=False, blank=2))


@TYPES
def test_classes_come_in_pieces_and_one_may_be_all_there_is(dtype: Any) -> None:
    rng = np.random.default_rng(2)
    for classes in (3, 1023, 1025, 2500):
        arrays = sequences(rng, dtype, batch=2, frames=3, labels=2, classes=classes)
        value, grad = kernel(arrays, blank=2)
        exact, slope = definition(arrays, blank=2)
        np.testing.assert_allclose(value, exact, rtol=16 * np.finfo(dtype).eps)
        np.testing.assert_allclose(grad, slope, atol=16 * np.finfo(dtype).eps)
    value, grad = kernel([np.zeros((4, 3, 1, 1), dtype), np.zeros((4, 0), int), [1, 2, 3, 3], [0] * 4])
    assert (value == 0).all() and (grad == 0).all()


@TYPES
def test_forbidden_classes_and_impossible_targets(dtype: Any) -> None:
    rng = np.random.default_rng(3)
    logits, labels = rng.standard_normal((4, 4, 3, 5)).astype(dtype), np.array([[1, 3]] * 4)
    logits[0, :, :, 4] = -INF  # never said
    logits[1, 1, 0, 0] = -INF  # here only a label leads on
    logits[2, :, :, 3] = -INF  # the target cannot be said
    logits[3, 2, 1] = -INF  # a place where nothing at all may come
    value, grad = kernel([logits, labels, [4] * 4, [2] * 4])
    exact, slope = definition([logits, labels, [4] * 4, [2] * 4])
    assert value[2] == INF and (grad[2] == 0).all() and np.isfinite(value[[0, 1, 3]]).all()
    np.testing.assert_allclose(value, exact, rtol=16 * np.finfo(dtype).eps)
    np.testing.assert_allclose(grad, slope, atol=16 * np.finfo(dtype).eps)


def test_nan_is_told_and_stays_in_its_sequence() -> None:
    rng = np.random.default_rng(4)
    logits, labels = rng.standard_normal((3, 4, 3, 5)), np.array([[1, 3]] * 3)
    clean = kernel([logits, labels, [4] * 3, [2] * 3])
    for bad in (NAN, INF):
        spoiled = logits.copy()
        spoiled[1, 1, 1, 2] = bad
        value, grad = kernel([spoiled, labels, [4, 3, 4], [2] * 3])
        assert np.isnan(value[1]) and np.isnan(grad[1, :3]).all() and (grad[1, 3] == 0).all()
        for i in (0, 2):
            assert value[i] == clean[0][i] and (grad[i] == clean[1][i]).all()


def test_extreme_logits_and_long_lattices() -> None:
    rng = np.random.default_rng(5)
    logits, labels = 1e4 * rng.standard_normal((2, 5, 4, 3)), np.array([[1, 2, 1]] * 2)
    for got, exact in zip(
        kernel([logits, labels, [5] * 2, [3] * 2]), definition([logits, labels, [5] * 2, [3] * 2]), strict=True
    ):
        np.testing.assert_allclose(got, exact, rtol=1e-13, atol=1e-15)
    long = rng.standard_normal((1, 700, 101, 4)).astype(np.float32)
    said = rng.integers(1, 4, (1, 100))
    value, grad = kernel([long, said, [700], [100]])
    exact, slope = definition([long, said, [700], [100]])
    np.testing.assert_allclose(value, exact, rtol=2e-7)
    np.testing.assert_allclose(grad, slope, atol=2e-7, rtol=2e-6)


def test_results_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = sequences(np.random.default_rng(6), np.float32, batch=13)
    runs = []
    for count in ("1", "2", "5", ""):
        monkeypatch.setenv("NUMBA_NUM_THREADS", count)
        runs.append(kernel(arrays, blank=2))
    for run in runs[1:]:
        for a, b in zip(runs[0], run, strict=True):
            np.testing.assert_array_equal(a, b)


def test_half_precision_is_widened_in_registers() -> None:
    arrays = sequences(np.random.default_rng(7), np.float16)
    value, grad = kernel(arrays, blank=2)
    wide, slope = kernel([arrays[0].astype(np.float32), *arrays[1:]], blank=2)
    assert value.dtype == np.float32 and grad.dtype == np.float16
    np.testing.assert_array_equal(value, wide)
    np.testing.assert_array_equal(grad, slope.astype(np.float16))


def test_calls_that_the_kernel_leaves_to_the_definition() -> None:
    rng = np.random.default_rng(8)
    logits, labels = rng.standard_normal((3, 2, 4)), np.array([[1, 2], [3, 1]])

    def runs(*arrays: Any) -> bool:
        with np.errstate(all="ignore"):
            return runs_definition(lossary.rnnt, lambda: lossary.rnnt.value_and_grad(*arrays, check=False))

    assert not runs(logits, labels[0, :1])
    assert runs(logits[None], [[0]]), "a blank inside a target"
    assert runs(logits, labels[:, :1], [3, 3], [1, 1]), "one example repeated has the sum of the gradients"
    for wrong in ([[[5]]], [[[1]], [4]]):  # a label that is no class, a length beyond the array
        with kernels("always"), pytest.raises(lossary.errors.DomainError):
            lossary.rnnt(logits[None], *wrong)
    repeated = lossary.rnnt.grad(np.stack([logits, logits]), labels[:, :1]).sum(0)
    found = by_kernel(lambda: lossary.rnnt.grad(logits, labels[:, :1], [3, 3], [1, 1]))
    np.testing.assert_allclose(found, repeated, rtol=1e-12, atol=1e-15)


def test_torch_uses_it_and_differentiates_twice_past_it() -> None:
    torch = pytest.importorskip("torch")
    arrays = sequences(np.random.default_rng(9), np.float64, batch=2, frames=3, labels=2, classes=4)
    arrays[0] = np.nan_to_num(arrays[0])
    z, *others = map(torch.tensor, arrays)
    z.requires_grad_()

    def gradient() -> Any:
        return torch.autograd.grad(lossary.nn.RNNTLoss(blank=2)(z, *others), z)[0]

    assert not runs_definition(lossary.rnnt, gradient)
    expected = definition(arrays, blank=2, reduction="mean")
    np.testing.assert_allclose(by_kernel(gradient).numpy(), expected[1], rtol=1e-12, atol=1e-15)
    with kernels("always"):
        assert torch.autograd.gradgradcheck(lambda x: lossary.rnnt(x, *others, blank=2), z)
