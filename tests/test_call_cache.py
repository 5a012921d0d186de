"""Plain calls on NumPy arrays take a shorter way to their kernel: the same numbers and refusals as the long way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossary
from lossary.backends.numpy import fast as plain
from lossary.catalogue import Loss
from lossary.evaluate import transforms
from lossary.testing import random_arrays, random_params

pytest.importorskip("numba")

from lossary.kernels.cpu import generated_pointwise as pointwise
from lossary.kernels.cpu import generated_rows as lanes
from lossary.kernels.cpu.runtime import threads


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> dict:
    """Kernels for calls of any size, and an empty memory of kinds, to see what enters it."""
    found: dict = {}
    monkeypatch.setattr(plain, "_kinds", found)
    monkeypatch.setattr(table, "least", lambda _smallest: 0)
    return found


def the_long_way(loss: Loss, arrays: Any, how: Any, params: Any) -> tuple[Any, Any]:
    call = transforms.prepare(loss, arrays, params, defer_checks=True)
    return transforms._value_and_grad(call, how, None)


def computed() -> list[tuple[Loss, int]]:
    """Every loss, with the alternatives that have a kernel for numbers or for short rows."""
    found = []
    for name in lossary.names():
        loss = lossary.get(name)
        for number, signature in enumerate(loss.signatures):
            if signature.rank < 2 and loss.coupling is None and loss.wrt:
                found.append((loss, number))
    return found


def drawn(loss: Loss, alternative: int, count: int = 137) -> tuple[list[Any], dict[str, Any]]:
    rng = np.random.default_rng([*loss.name.encode()])
    arrays = random_arrays(loss, rng, count, alternative=alternative)
    params = random_params(loss, rng)
    return arrays, {name: held for name, held in params.items() if np.ndim(held) == 0}


@pytest.mark.parametrize("how", ["none", "mean", "sum"])
@pytest.mark.parametrize(("loss", "alternative"), computed(), ids=lambda x: getattr(x, "name", x))
def test_every_loss_gives_the_numbers_of_the_long_way(loss: Loss, alternative: int, how: str, kinds: dict) -> None:
    arrays, params = drawn(loss, alternative)
    value, grads = loss.value_and_grad(*arrays, reduction=how, **params)
    again, _ = loss.value_and_grad(*arrays, reduction=how, **params)
    expected, slopes = the_long_way(loss, arrays, how, params)
    np.testing.assert_array_equal(value, again)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-13)
    assert type(value) is type(expected)
    for got, slope in zip(*((x if isinstance(x, tuple) else (x,)) for x in (grads, slopes)), strict=True):
        np.testing.assert_allclose(got, slope, rtol=1e-11, atol=1e-13)
        assert got.flags.owndata or got.flags.writeable


def test_most_of_the_catalogue_goes_this_way() -> None:
    gone = 0
    for loss, alternative in computed():
        arrays, params = drawn(loss, alternative)
        gone += plain.evaluated(loss, arrays, params, "mean", 1, True) is not None
    assert gone > 0.6 * len(computed())


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "nll", "multi_margin"])
@pytest.mark.parametrize("width", [7, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ignored_labels_count_in_neither_sum(name: str, width: int, dtype: Any, kinds: dict) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(0)
    scores = rng.standard_normal((150, width)).astype(dtype)
    scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
    labels = rng.integers(0, width, 150)
    labels[::4] = -100
    scores[::4] = np.nan
    options: dict[str, Any] = {"ignore_index": -100, "check": False}
    value, grad = loss.value_and_grad(scores, labels, reduction="mean", **options)
    kept = labels != -100
    expected, slope = the_long_way(loss, (scores[kept], labels[kept]), "mean", {})
    np.testing.assert_allclose(value, expected, rtol=1e-5 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(grad[kept], slope, rtol=1e-4 if dtype == np.float32 else 1e-12, atol=1e-7)
    assert not grad[~kept].any()
    nothing = np.full(150, -100)
    value, grad = loss.value_and_grad(scores, nothing, reduction="mean", **options)
    assert value == 0
    assert not grad.any()


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("softmax_cross_entropy", (np.zeros((90, 5)), np.arange(90) % 6)),
        ("softmax_cross_entropy", (np.zeros((90, 500)), np.arange(90) - 1)),
        ("nll", (np.full((90, 5), np.log(0.2)), np.full(90, -1))),
        ("poisson_nll", (np.zeros(90), np.full(90, -1.0))),
        ("hinge", (np.zeros(90), np.full(90, 0.5))),
    ],
)
def test_what_lies_outside_a_domain_is_refused_in_the_same_words(name: str, arrays: Any) -> None:
    loss = lossary.get(name)
    with pytest.raises(lossary.errors.DomainError) as refusal:
        loss.value_and_grad(*arrays, reduction="mean")
    with pytest.raises(lossary.errors.DomainError) as long_refusal:
        the_long_way(loss, arrays, "mean", {})
    assert str(refusal.value) == str(long_refusal.value)


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "multiclass_hinge"])
def test_the_number_of_threads_does_not_enter_a_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise, "SHARED_ELEMENTS", 0)
    monkeypatch.setattr(lanes, "SHARED_ELEMENTS", 0)
    rng, loss = np.random.default_rng(1), lossary.get(name)
    x = rng.standard_normal((3000, 9)).astype(np.float32)
    y = rng.standard_normal((3000, 9)).astype(np.float32) if name == "huber" else rng.integers(0, 9, 3000)
    found = []
    for count in (1, 2, 3, 7):
        plain._kinds.clear()
        monkeypatch.setattr(threads, "default_count", lambda count=count: count)
        found.append(loss.value_and_grad(x, y, reduction="mean"))
    for value, grad in found[1:]:
        assert value == found[0][0]
        np.testing.assert_array_equal(grad, found[0][1])


def test_a_kind_is_remembered_by_all_that_decides_the_numbers(kinds: dict) -> None:
    x, y = np.linspace(-3, 3, 50), np.zeros(50)
    bound = lossary.huber.bind(delta=0.5)
    calls: list[Any] = [
        lambda: lossary.huber.value_and_grad(x, y, reduction="mean"),
        lambda: lossary.huber.value_and_grad(x, y, reduction="sum"),
        lambda: lossary.huber.value_and_grad(x, y, reduction="mean", delta=2.0),
        lambda: lossary.huber.value_and_grad(x.astype(np.float32), y.astype(np.float32), reduction="mean"),
        lambda: lossary.huber.value_and_grad(x.reshape(5, 10), y.reshape(5, 10), reduction="mean"),
        lambda: (lossary.huber.value(x, y, reduction="mean"), None),
        lambda: bound.value_and_grad(x, y, reduction="mean"),
    ]
    first = [call() for call in calls]
    assert len(kinds) == len(calls)
    assert all(kinds.values())
    for call, (value, grad) in zip(calls, first, strict=True):
        again, slope = call()
        assert again == value
        np.testing.assert_array_equal(slope, grad)
    assert len(kinds) == len(calls)
    assert first[0][0] != first[2][0] != first[6][0]


def test_calls_that_are_not_plain_go_the_long_way(kinds: dict) -> None:
    x, y = np.linspace(-3, 3, 50), np.zeros(50)
    lossary.huber.value_and_grad(x[::-1], y)
    lossary.huber.value_and_grad(x, y.astype(np.float32))
    lossary.huber.value_and_grad(x.astype(np.float16), y.astype(np.float16))
    lossary.huber.value_and_grad(x, y, weight=np.ones(50))
    lossary.huber.value_and_grad(x, y, mask=np.ones(50, bool))
    lossary.huber.value_and_grad(x, y, out=np.empty(50))
    lossary.huber.value_and_grad(x, y, delta=np.full(50, 2.0))
    lossary.huber.value_and_grad(x, y.tolist())
    lossary.huber.value_and_grad(x, target=y)
    lossary.huber.value_and_grad(x, y.astype(">f8"))
    lossary.squared_error.value_and_grad(np.zeros(0), np.zeros(0))
    assert not any(kinds.values())


def test_inputs_are_not_written_and_results_are_the_callers_own() -> None:
    x, y = np.linspace(-3, 3, 40), np.zeros(40)
    x.flags.writeable = y.flags.writeable = False
    _, grad = lossary.huber.value_and_grad(x, y, reduction="mean")
    before = grad.copy()
    _, other = lossary.huber.value_and_grad(x, y, reduction="mean")
    other[:] = 7
    np.testing.assert_array_equal(grad, before)


def test_a_reduction_that_there_is_not_is_refused() -> None:
    with pytest.raises(lossary.errors.ParameterError, match="reduction"):
        lossary.huber.value_and_grad(np.zeros(9), np.zeros(9), reduction="average")


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "brier"])
@pytest.mark.parametrize("shape", [(2000, 9), (700, 70), (5000, 9), (60, 700)])
def test_the_same_call_gives_the_same_bits_whether_or_not_it_is_told_where_to_write(name: str, shape: Any) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(5)
    x = rng.standard_normal(shape) if name != "brier" else rng.dirichlet(np.ones(shape[1]), shape[0])
    y = rng.standard_normal(shape) if name == "huber" else rng.integers(0, shape[1], shape[0])
    value, grad = loss.value_and_grad(x, y, reduction="mean")
    told, out = loss.value_and_grad(x, y, reduction="mean", out=np.empty(shape))
    assert value == told
    np.testing.assert_array_equal(grad, out)
