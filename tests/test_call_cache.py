"""Calls like an earlier one: what the first has found is kept, and the numbers and refusals are those of the first.

Contiguous arrays of one type, without weights, take a fast path; an array in another layout makes the same call take
the general one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossary
from by_kernel import by_definition, by_kernel, tuple_of
from lossary.catalogue import Loss
from lossary.testing import kernels, random_arrays, random_params

pytest.importorskip("numba", reason="kernels need the fast extra")


def computed() -> list[tuple[Loss, int]]:
    """Every loss on numbers or rows that can be differentiated, with its alternatives."""
    return [
        (loss, number)
        for loss in map(lossary.get, lossary.names())
        for number, signature in enumerate(loss.signatures)
        if signature.rank < 2 and loss.coupling is None and loss.wrt
    ]


every_loss = pytest.mark.parametrize(("loss", "alternative"), computed(), ids=lambda x: getattr(x, "name", x))


def drawn(loss: Loss, alternative: int, count: int = 137) -> tuple[list[Any], dict[str, Any]]:
    rng = np.random.default_rng([*loss.name.encode()])
    arrays = random_arrays(loss, rng, count, alternative=alternative)
    params = random_params(loss, rng)
    return arrays, {name: held for name, held in params.items() if np.ndim(held) == 0}


def strided(x: Any) -> Any:
    """The same numbers in memory that the fast path does not take."""
    return np.repeat(x, 2, axis=0)[::2] if x.ndim else x


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@every_loss
def test_the_fast_path_gives_the_bits_of_the_general_path(loss: Loss, alternative: int, reduction: str) -> None:
    arrays, params = drawn(loss, alternative)
    call = lambda: loss.value_and_grad(*arrays, reduction=reduction, **params)  # noqa: E731
    general = lambda: loss.value_and_grad(*map(strided, arrays), reduction=reduction, **params)  # noqa: E731
    with kernels("always"):
        value, grads = call()
        again, _ = call()
        same, references = general()
    expected, slopes = by_definition(call)
    np.testing.assert_array_equal(value, again)
    np.testing.assert_array_equal(value, same)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-13)
    assert type(value) is type(expected)
    for got, reference, slope in zip(*map(tuple_of, (grads, references, slopes)), strict=True):
        np.testing.assert_array_equal(got, reference)
        np.testing.assert_allclose(got, slope, rtol=1e-11, atol=1e-13)
        assert got.flags.owndata or got.flags.writeable


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "nll", "multi_margin"])
@pytest.mark.parametrize("width", [7, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ignored_labels_enter_neither_sum(name: str, width: int, dtype: Any) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(0)
    scores = rng.standard_normal((150, width)).astype(dtype)
    scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
    labels = rng.integers(0, width, 150)
    labels[::4] = -100
    scores[::4] = np.nan
    options: dict[str, Any] = {"ignore_index": -100, "check": False, "reduction": "mean"}
    value, grad = by_kernel(lambda: loss.value_and_grad(scores, labels, **options))
    kept = labels != -100
    expected, slope = by_definition(lambda: loss.value_and_grad(scores[kept], labels[kept], reduction="mean"))
    np.testing.assert_allclose(value, expected, rtol=1e-5 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(grad[kept], slope, rtol=1e-4 if dtype == np.float32 else 1e-12, atol=1e-7)
    assert not grad[~kept].any()
    value, grad = by_kernel(lambda: loss.value_and_grad(scores, np.full(150, -100), **options))
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

    def refusal() -> str:
        with pytest.raises(lossary.errors.DomainError) as refused:
            loss.value_and_grad(*arrays, reduction="mean")
        return str(refused.value)

    assert by_kernel(refusal) == by_definition(refusal)


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "multiclass_hinge"])
def test_the_number_of_threads_does_not_enter_a_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, loss = np.random.default_rng(1), lossary.get(name)
    x = rng.standard_normal((8000, 9)).astype(np.float32)
    y = rng.standard_normal((8000, 9)).astype(np.float32) if name == "huber" else rng.integers(0, 9, 8000)
    found = []
    for count in (1, 2, 3, 7):
        monkeypatch.setenv("NUMBA_NUM_THREADS", str(count))
        found.append(loss.value_and_grad(x, y, reduction="mean"))
    for value, grad in found[1:]:
        assert value == found[0][0]
        np.testing.assert_array_equal(grad, found[0][1])


def test_calls_that_differ_in_anything_are_not_taken_for_one_another() -> None:
    x, y = np.linspace(-3, 3, 50), np.zeros(50)
    x[0] = np.nan
    bound, huber = lossary.huber.bind(delta=0.5), lossary.huber
    small = x.astype(np.float32), y.astype(np.float32)
    calls: list[Any] = [
        lambda: huber.value_and_grad(x[1:], y[1:], reduction="mean"),
        lambda: huber.value_and_grad(x[1:], y[1:], reduction="sum"),
        lambda: huber.value_and_grad(x[1:], y[1:]),
        lambda: huber.value_and_grad(x[1:], y[1:], reduction="mean", delta=2.0),
        lambda: huber.value_and_grad(x, y, reduction="mean", mask=x == x),
        lambda: huber.value_and_grad(*(a[1:] for a in small), reduction="mean"),
        lambda: huber.value_and_grad(x[1:49].reshape(6, 8), y[1:49].reshape(6, 8), reduction="mean"),
        lambda: huber.value_and_grad(x[1:49].reshape(8, 6), y[1:49].reshape(8, 6), reduction="mean"),
        lambda: (huber.value(x[1:], y[1:], reduction="mean"), x),
        lambda: bound.value_and_grad(x[1:], y[1:], reduction="mean"),
        lambda: huber.value_and_grad(y[1:], x[1:], reduction="mean"),
        lambda: lossary.pseudo_huber.value_and_grad(x[1:], y[1:], reduction="mean"),
    ]
    alone = [by_kernel(call) for call in calls]
    with kernels("always"):
        together = [[call() for call in order] for order in (calls, calls[::-1], calls)]
    for row in (together[0], together[1][::-1], together[2]):
        for (value, grad), (expected, reference) in zip(row, alone, strict=True):
            np.testing.assert_array_equal(value, expected)
            np.testing.assert_array_equal(grad, reference)
            assert np.asarray(value).dtype == np.asarray(expected).dtype and grad.shape == reference.shape
    means = [float(alone[number][0]) for number in (0, 3, 9, 11)]
    assert len(set(means)) == 4


def test_a_cached_call_with_a_value_out_of_domain_is_refused() -> None:
    x, y = np.linspace(-3, 3, 50), np.zeros(50)
    with kernels("always"):
        lossary.poisson_nll.value_and_grad(x, y, reduction="mean")
        with pytest.raises(lossary.errors.DomainError, match="target: got -1"):
            lossary.poisson_nll.value_and_grad(x, y - 1, reduction="mean")
        lossary.poisson_nll.value_and_grad(x, y - 1, reduction="mean", check=False)
        with pytest.raises(lossary.errors.DomainError, match="target: got -1"):
            lossary.poisson_nll.value_and_grad(x, y - 1, reduction="mean")


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y: lossary.huber.value_and_grad(x[::-1], y),
        lambda x, y: lossary.huber.value_and_grad(x, y.astype(np.float32)),
        lambda x, y: lossary.huber.value_and_grad(x.astype(np.float16), y.astype(np.float16)),
        lambda x, y: lossary.huber.value_and_grad(x, y, weight=np.linspace(0, 1, 50)),
        lambda x, y: lossary.huber.value_and_grad(x, y, mask=np.arange(50) > 7),
        lambda x, y: lossary.huber.value_and_grad(x, y, out=np.empty(50)),
        lambda x, y: lossary.huber.value_and_grad(x, y, delta=np.linspace(0.5, 2, 50)),
        lambda x, y: lossary.huber.value_and_grad(x, y.tolist()),
        lambda x, y: lossary.huber.value_and_grad(x, target=y),
        lambda x, y: lossary.huber.value_and_grad(x, y.astype(">f8")),
        lambda x, y: lossary.huber.value_and_grad(x[:0], y[:0]),
    ],
    ids=["reversed", "mixed", "half", "weight", "mask", "out", "array", "list", "by name", "byte order", "empty"],
)
def test_other_calls_after_a_plain_one_are_their_own(call: Any) -> None:
    x, y = np.linspace(-3, 3, 50), np.ones(50)
    with kernels("always"):
        lossary.huber.value_and_grad(x, y)
        value, grad = call(x, y)
    expected, reference = by_definition(lambda: call(x, y))
    half = grad.dtype == np.float16
    np.testing.assert_allclose(value, expected, rtol=1e-6 if half else 1e-12)
    np.testing.assert_allclose(grad, reference, rtol=1e-3 if half else 1e-12, atol=1e-15)
    assert grad.dtype == reference.dtype and value.dtype == expected.dtype


def test_inputs_are_not_written_and_results_are_the_callers_own() -> None:
    x, y = np.linspace(-3, 3, 40), np.zeros(40)
    x.flags.writeable = y.flags.writeable = False
    with kernels("always"):
        _, grad = lossary.huber.value_and_grad(x, y, reduction="mean")
        before = grad.copy()
        _, other = lossary.huber.value_and_grad(x, y, reduction="mean")
        other[:] = 7
    np.testing.assert_array_equal(grad, before)


def test_a_reduction_that_there_is_not_is_refused() -> None:
    with kernels("always"), pytest.raises(lossary.errors.ParameterError, match="reduction"):
        lossary.huber.value_and_grad(np.zeros(9), np.zeros(9), reduction="average")


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "brier"])
@pytest.mark.parametrize("shape", [(2000, 9), (700, 70), (5000, 9), (60, 700)])
def test_the_same_call_gives_the_same_bits_with_and_without_an_output_array(name: str, shape: Any) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(5)
    x = rng.standard_normal(shape) if name != "brier" else rng.dirichlet(np.ones(shape[1]), shape[0])
    y = rng.standard_normal(shape) if name == "huber" else rng.integers(0, shape[1], shape[0])
    value, grad = loss.value_and_grad(x, y, reduction="mean")
    written, out = loss.value_and_grad(x, y, reduction="mean", out=np.empty(shape))
    assert value == written
    np.testing.assert_array_equal(grad, out)
