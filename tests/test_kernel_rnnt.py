"""The transducer's kernel against the definition: types, lengths, weights, threads, the forbidden, and NaN."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.evaluate import transforms
from lossary.kernels import registry as kernels
from lossary.kernels.request import Request

pytest.importorskip("numba", reason="kernels need the fast extra")
from lossary.kernels.cpu.runtime import threads
from lossary.kernels.cpu.sequence import rnnt

INF, NAN = np.inf, np.nan
TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@pytest.fixture(autouse=True)
def for_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rnnt, "RNNT_ELEMENTS", 0)


def kernel(arrays: Any, weight: Any = None, scale: float = 1.0, count: int = 0, **params: Any) -> tuple[Any, Any]:
    call = transforms.prepare(lossary.rnnt, arrays, params, weight, check=False)
    done = kernels.find(lossary.rnnt).run(call, Request("each", (1,), call.weights, scale, count))
    assert done is not None, "the kernel is for this call"
    return done.value, done.derivatives[0][0]


def definition(arrays: Any, weight: Any = None, scale: float = 1.0, **params: Any) -> tuple[Any, Any]:
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in map(np.asarray, arrays)]
    call = transforms.prepare(lossary.rnnt, wide, params, weight, check=False)
    with np.errstate(all="ignore"):
        value, derivatives, _ = call.pull(1)
        weights = np.float64(1) if call.weights is None else call.weights
        values = np.where(weights == 0, 0, call.values(value) * weights)
        return values, call.restore(derivatives[0], np.broadcast_to(weights * scale, call.batch))[0]


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
    value, grad = kernel(arrays, weight, 0.25, blank=2)
    exact, slope = definition(arrays, weight, 0.25, blank=2)
    eps = float(np.finfo(dtype).eps)
    assert value.dtype == grad.dtype == dtype
    np.testing.assert_allclose(value, exact, rtol=16 * eps)
    np.testing.assert_allclose(grad, slope, rtol=64 * eps, atol=16 * eps)
    assert ((slope == 0) <= (grad == 0)).all()


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


def test_results_do_not_depend_on_threads() -> None:
    arrays = sequences(np.random.default_rng(6), np.float32, batch=13)
    one = kernel(arrays, blank=2, count=1)
    for count in (2, 5, threads.default_count()):
        for a, b in zip(one, kernel(arrays, blank=2, count=count), strict=True):
            np.testing.assert_array_equal(a, b)


def test_half_precision_is_widened_in_registers() -> None:
    arrays = sequences(np.random.default_rng(7), np.float16)
    value, grad = lossary.rnnt.value_and_grad(*arrays, blank=2)
    wide, slope = lossary.rnnt.value_and_grad(arrays[0].astype(np.float32), *arrays[1:], blank=2)
    assert value.dtype == np.float32 and grad.dtype == np.float16
    np.testing.assert_array_equal(value, wide)
    np.testing.assert_array_equal(grad, slope.astype(np.float16))


def test_calls_that_are_not_for_it() -> None:
    rng = np.random.default_rng(8)
    logits, labels = rng.standard_normal((3, 2, 4)), np.array([[1, 2], [3, 1]])

    def asked(*arrays: Any, order: int = 1, **params: Any) -> Any:
        call = transforms.prepare(lossary.rnnt, arrays, params, check=False)
        return kernels.find(lossary.rnnt).run(call, Request("each", (order,)))

    assert asked(logits, labels[0, :1], order=1) is not None
    assert asked(logits[None], [[5]]) is None, "a label that is no class is the definition's"
    assert asked(logits[None], [[1]], [4]) is None, "so is a length beyond the array"
    assert asked(logits[None], [[0]]) is None, "so is a blank inside a target"
    assert asked(logits, labels[:, :1], [3, 3], [1, 1]) is None, "one example repeated has the sum of the gradients"
    repeated = lossary.rnnt.grad(np.stack([logits, logits]), labels[:, :1]).sum(0)
    np.testing.assert_allclose(
        lossary.rnnt.grad(logits, labels[:, :1], [3, 3], [1, 1]), repeated, rtol=1e-12, atol=1e-15
    )


def test_torch_uses_it_and_differentiates_twice_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    arrays = sequences(np.random.default_rng(9), np.float64, batch=2, frames=3, labels=2, classes=4)
    arrays[0] = np.nan_to_num(arrays[0])
    used: list[Any] = []
    whole = rnnt.KERNEL
    monkeypatch.setattr(rnnt, "KERNEL", replace(whole, run=lambda *a: used.append(whole.run(*a)) or used[-1]))
    kernels._find.cache_clear()
    z, *others = map(torch.tensor, arrays)
    z.requires_grad_()
    cost = lossary.nn.RNNTLoss(blank=2)(z, *others)
    (slope,) = torch.autograd.grad(cost, z)
    assert used and used[0] is not None
    expected = definition(arrays, scale=0.5, blank=2)
    np.testing.assert_allclose(slope.numpy(), expected[1], rtol=1e-12, atol=1e-15)
    assert torch.autograd.gradgradcheck(lambda x: lossary.rnnt(x, *others, blank=2), z)
    kernels._find.cache_clear()
