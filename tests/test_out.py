"""Gradients written where the caller wants them."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.errors import ArgumentError, DomainError, ShapeError
from lossary.testing import random_arrays

LARGE = (300, 128)  # from where kernels compute


def arrays_of(name: str, dtype: Any = np.float64, count: int = 40) -> list[Any]:
    loss = lossary.get(name)
    made = random_arrays(loss, np.random.default_rng(0), count)
    return [x.astype(dtype) if x.dtype.kind == "f" else x for x in made]


@pytest.mark.parametrize("name", lossary.names())
def test_every_loss_writes_the_gradient_where_it_is_wanted(name: str) -> None:
    loss, arrays = lossary.get(name), arrays_of(name)
    value, grads = loss.value_and_grad(*arrays, reduction="mean")
    places = tuple(np.full_like(g, np.nan) for g in (grads if isinstance(grads, tuple) else (grads,)))
    out = places if len(places) > 1 else places[0]
    found, returned = loss.value_and_grad(*arrays, reduction="mean", out=out)
    assert returned is out and found == value
    for place, grad in zip(places, grads if isinstance(grads, tuple) else (grads,), strict=True):
        np.testing.assert_array_equal(place, grad)


LAYOUTS = {
    "C": lambda shape, dtype: np.empty(shape, dtype),
    "F": lambda shape, dtype: np.empty(shape, dtype, order="F"),
    "every other": lambda shape, dtype: np.empty((shape[0], 2 * shape[1]), dtype)[:, ::2],
    "backwards": lambda shape, dtype: np.empty(shape, dtype)[::-1],
    "a column apart": lambda shape, dtype: np.empty((shape[0], shape[1] + 3), dtype)[:, 1:-2],
    "off by a byte": lambda shape, dtype: (
        np.empty(shape[0] * shape[1] * dtype().itemsize + 1, np.uint8)[1:].view(dtype).reshape(shape)
    ),
}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy"])
def test_any_layout_is_written(name: str, dtype: Any, layout: str, order: Any) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(1)
    pred = np.asarray(rng.standard_normal(LARGE), dtype, order=order)
    target = rng.integers(0, 128, 300) if name != "huber" else rng.standard_normal(LARGE).astype(dtype)
    expected = loss.grad(pred, target)
    out = LAYOUTS[layout](LARGE, dtype)
    assert loss.grad(pred, target, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy"])
def test_a_kernel_writes_straight_into_it(name: str) -> None:
    pytest.importorskip("numba", reason="kernels need the fast extra")
    loss, rng = lossary.get(name), np.random.default_rng(2)
    pred = rng.standard_normal(LARGE).astype(np.float32)
    target = np.zeros(300, int) if name != "huber" else np.zeros(LARGE, np.float32)
    out = np.empty_like(pred)
    with lossary.checks("off"):
        loss.grad(pred, target, reduction="sum", out=out)  # compiled
        tracemalloc.start()
        try:
            loss.grad(pred, target, reduction="sum", out=out)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < out.nbytes / 2, "memory was taken for the gradient"


@pytest.mark.parametrize("shape", [(7, 11), LARGE])
@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy"])
def test_the_array_itself_may_be_replaced(name: str, shape: tuple[int, int]) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(3)
    pred = rng.standard_normal(shape)
    target = np.zeros(shape[0], int) if name != "huber" else np.zeros(shape)
    value, expected = loss.value_and_grad(pred, target, reduction="mean")
    found, grad = loss.value_and_grad(pred, target, reduction="mean", out=pred)
    assert grad is pred and found == value
    np.testing.assert_array_equal(pred, expected)


def refused(error: type[Exception], sentence: str, name: str, *arrays: Any, **options: Any) -> None:
    before = [np.array(a) for a in arrays]
    with pytest.raises(error, match=sentence):
        lossary.get(name).value_and_grad(*arrays, **options)
    for array, held in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, held)


def test_what_cannot_be_written_to_is_refused_with_a_sentence() -> None:
    x, y = np.zeros(6), np.ones(6)
    frozen = np.zeros(6)
    frozen.flags.writeable = False
    wide = np.zeros(12)
    refused(ArgumentError, r"huber: out: got list.*|got 6 arrays", "huber", x, y, out=[0.0] * 6)
    refused(ArgumentError, r"huber: out: got str, expected a NumPy array", "huber", x, y, out="x")
    refused(
        ShapeError, r"huber: out: got shape \(5,\), expected that of the gradient, \(6,\)", "huber", x, y, out=x[:5]
    )
    refused(ArgumentError, r"out: got type float32, expected .* float64", "huber", x, y, out=np.zeros(6, np.float32))
    refused(ArgumentError, r"huber: out: the array is read-only", "huber", x, y, out=frozen)
    refused(ArgumentError, r"out: shares memory with target; pass memory of its own", "huber", x, y, out=y)
    refused(ArgumentError, r"out: shares memory with pred; .* pred itself", "huber", wide[:6], y, out=wide[3:9])
    refused(ArgumentError, r"out: shares memory with pred", "huber", x, y, out=x[::-1])
    refused(ArgumentError, r"out: shares memory with target", "huber", x, x, out=x)
    refused(ArgumentError, r"out: shares memory with weight", "huber", x, y, weight=wide[:6], out=wide[:6])
    pair, sign = np.ones((3, 2)), np.array([1, -1, 1])
    names = r"cosine_embedding: out: got 1 arrays, expected one for each gradient \(first, second\)"
    refused(ArgumentError, names, "cosine_embedding", pair, 2 * pair, sign, out=np.empty((3, 2)))
    place = np.empty((3, 2))
    again = r"out for second: shares memory with the gradient of first"
    refused(ArgumentError, again, "cosine_embedding", pair, 2 * pair, sign, out=(place, place))


def test_a_domain_error_is_still_a_domain_error() -> None:
    target = np.zeros(LARGE)
    target[7, 9] = 3
    with pytest.raises(DomainError, match="got 3"):
        lossary.binary_cross_entropy_with_logits.grad(np.zeros(LARGE), target, out=np.empty(LARGE))


def test_tensors_have_gradients_of_their_own() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ArgumentError, match="out: is for NumPy arrays"):
        lossary.huber.value_and_grad(torch.zeros(3), torch.ones(3), out=torch.empty(3))
