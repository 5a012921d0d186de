"""The chain's kernel against the definition: types, lengths, weights, ends, threads, the forbidden, and NaN."""

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
from lossary.kernels.cpu.sequence import crf

INF, NAN = np.inf, np.nan
TYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@pytest.fixture(autouse=True)
def for_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crf, "CRF_ELEMENTS", 0)


def kernel(arrays: Any, weight: Any = None, scale: float = 1.0, count: int = 0, **params: Any) -> tuple[Any, ...]:
    call = transforms.prepare(lossary.linear_chain_crf, arrays, params, weight, check=False)
    done = kernels.find(lossary.linear_chain_crf).run(call, Request("each", (1,), call.weights, scale, count))
    assert done is not None, "the kernel is for this call"
    slope, pairs = done.derivatives[0]
    return done.value, slope, pairs.sum(axis=tuple(range(len(call.batch))))


def definition(arrays: Any, weight: Any = None, scale: float = 1.0, **params: Any) -> tuple[Any, ...]:
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in map(np.asarray, arrays)]
    call = transforms.prepare(lossary.linear_chain_crf, wide, params, weight, check=False)
    with np.errstate(all="ignore"):
        value, derivatives, _ = call.pull(1)
        weights = np.float64(1) if call.weights is None else call.weights
        values = np.where(weights == 0, 0, call.values(value) * weights)
        return values, *call.restore(derivatives[0], np.broadcast_to(weights * scale, call.batch))


def chains(rng: Any, dtype: Any, batch: int = 6, steps: int = 9, tags: int = 5, size: float = 2.0) -> list[Any]:
    """Random scores, tags and lengths; nonsense beyond the lengths."""
    emissions = (size * rng.standard_normal((batch, steps, tags))).astype(dtype)
    transitions = (size * rng.standard_normal((tags, tags))).astype(dtype)
    known, lengths = rng.integers(0, tags, (batch, steps)), rng.integers(0, steps + 1, batch)
    outside = np.arange(steps) >= lengths[:, None]
    emissions[outside], known[outside] = NAN, -100
    return [emissions, transitions, known, lengths]


def agree(got: Any, exact: Any, eps: float, terms: float = 1.0) -> None:
    for number, (a, b) in enumerate(zip(got, exact, strict=True)):
        np.testing.assert_allclose(a, b, rtol=32 * eps, atol=16 * eps * (terms if number else 0), err_msg=str(number))


@TYPES
@pytest.mark.parametrize("sizes", [{}, {"batch": 1, "steps": 1, "tags": 1}, {"steps": 60, "tags": 33}, {"size": 20.0}])
@pytest.mark.parametrize("ends", [False, True])
def test_it_computes_what_the_definition_says(dtype: Any, sizes: dict[str, Any], ends: bool) -> None:
    rng = np.random.default_rng(1)
    arrays = chains(rng, dtype, **sizes)
    tags = arrays[1].shape[0]
    params = {"start": rng.standard_normal(tags), "end": rng.standard_normal(tags)} if ends else {}
    params = {name: score.astype(dtype) for name, score in params.items()}
    weight = rng.uniform(0.5, 2.0, len(arrays[0]))
    weight[0] = 0.0 if len(weight) > 1 else 1.5
    got, exact = kernel(arrays, weight, 0.25, **params), definition(arrays, weight, 0.25, **params)
    assert got[0].dtype == got[1].dtype == dtype
    agree(got, exact, float(np.finfo(dtype).eps), terms=60.0)
    assert (got[1][0] == 0).all() or len(weight) == 1


@TYPES
def test_scores_hundreds_apart_are_done_again_in_logarithms(dtype: Any) -> None:
    rng = np.random.default_rng(2)
    for size in (300.0, 2000.0, 1e5):
        arrays = chains(rng, dtype, size=size)
        agree(kernel(arrays), definition(arrays), float(np.finfo(dtype).eps), terms=size)
    # What is all but forbidden is dear, not impossible, also on the path that was taken.
    emissions, moves = np.zeros((1, 3, 2), dtype), np.array([[0.0, -1e4], [-1e4, 0.0]], dtype)
    value, slope, pairs = kernel([emissions, moves, [[0, 1, 0]]])
    np.testing.assert_allclose(value, 2e4 + np.log(2), rtol=1e-6)
    np.testing.assert_allclose(pairs, [[1, -1], [-1, 1]])
    np.testing.assert_allclose(slope, [[[-0.5, 0.5], [0.5, -0.5], [-0.5, 0.5]]])


@TYPES
def test_forbidden_moves_and_impossible_tags(dtype: Any) -> None:
    rng = np.random.default_rng(3)
    emissions, moves, tags, _ = chains(rng, dtype, batch=4, steps=5, tags=4)
    emissions, tags = np.nan_to_num(emissions), np.array([[0, 2, 3, 3, 1]] * 4)
    moves[0, 1] = moves[1, 1] = -INF
    moves[3] = -INF  # nothing follows the last tag
    emissions[1, 2, :] = -INF  # nothing can stand there
    tags[2] = [0, 1, 0, 0, 0]  # a move that is forbidden
    tags[3] = [0, 2, 2, 0, 3]
    got, exact = kernel([emissions, moves, tags]), definition([emissions, moves, tags])
    assert got[0][0] == got[0][1] == got[0][2] == INF and np.isfinite(got[0][3])
    assert got[2][0, 1] <= 0 and all(np.isfinite(x).all() for x in got[1:])
    agree(got, exact, float(np.finfo(dtype).eps), terms=10.0)


def test_nan_is_told_and_stays_in_its_sequence() -> None:
    rng = np.random.default_rng(4)
    emissions, moves, tags = rng.standard_normal((3, 5, 3)), rng.standard_normal((3, 3)), rng.integers(0, 3, (3, 5))
    clean = kernel([emissions, moves, tags])
    for bad in (NAN, INF):
        spoiled = emissions.copy()
        spoiled[1, 2, 0] = bad
        value, slope, pairs = kernel([spoiled, moves, tags, [5, 4, 5]])
        assert (
            np.isnan(value[1]) and np.isnan(slope[1, :4]).all() and (slope[1, 4] == 0).all() and np.isnan(pairs).all()
        )
        for i in (0, 2):
            assert value[i] == clean[0][i] and (slope[i] == clean[1][i]).all()
        weighed = kernel([spoiled, moves, tags], np.array([1.0, 0.0, 1.0]))
        assert weighed[0][1] == 0 and (weighed[1][1] == 0).all() and np.isfinite(weighed[2]).all()


def test_a_long_chain_and_a_sure_one() -> None:
    rng = np.random.default_rng(5)
    long = chains(rng, np.float32, batch=2, steps=3000, tags=3)
    long[3][:] = 3000
    long[0], long[2] = np.nan_to_num(long[0]), np.where(long[2] < 0, 0, long[2])
    got, exact = kernel(long), definition(long)
    agree(got, exact, float(np.finfo(np.float32).eps), terms=3000.0)
    sure = 60.0 * np.eye(3)[[[0, 2, 1, 1]]]
    got, exact = kernel([sure, rng.standard_normal((3, 3)), [[0, 2, 1, 1]]]), None
    assert 0 < got[0][0] < 1e-20
    reference = definition([sure, np.zeros((3, 3)), [[0, 2, 1, 1]]])
    np.testing.assert_allclose(kernel([sure, np.zeros((3, 3)), [[0, 2, 1, 1]]])[0], reference[0], rtol=1e-13)
    np.testing.assert_allclose(kernel([sure, np.zeros((3, 3)), [[0, 2, 1, 1]]])[1], reference[1], rtol=1e-13)


def test_results_do_not_depend_on_threads() -> None:
    arrays = chains(np.random.default_rng(6), np.float32, batch=13)
    one = kernel(arrays, count=1)
    for count in (2, 5, threads.default_count()):
        for a, b in zip(one, kernel(arrays, count=count), strict=True):
            np.testing.assert_array_equal(a, b)


def test_calls_that_are_not_for_it() -> None:
    rng = np.random.default_rng(8)
    emissions, moves, tags = rng.standard_normal((2, 4, 3)), rng.standard_normal((3, 3)), np.zeros((2, 4), int)

    def asked(*arrays: Any) -> Any:
        call = transforms.prepare(lossary.linear_chain_crf, arrays, {}, check=False)
        return kernels.find(lossary.linear_chain_crf).run(call, Request("each", (1,)))

    assert asked(emissions[0], moves, tags[0]) is not None
    assert asked(emissions, moves, tags + 3) is None, "a tag that is none is the definition's"
    assert asked(emissions, moves, tags, [4, 5]) is None, "so is a length beyond the array"
    assert asked(emissions, np.stack([moves, moves]), tags) is None, "so are moves of each sequence"
    assert asked(emissions, np.where(moves > 1, NAN, moves), tags) is None, "and moves that are no numbers"
    several = lossary.linear_chain_crf.grad(emissions, np.stack([moves, moves]), tags)[1].sum(0)
    np.testing.assert_allclose(
        lossary.linear_chain_crf.grad(emissions, moves, tags)[1], several, rtol=1e-12, atol=1e-15
    )


def test_torch_uses_it_and_differentiates_twice_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    arrays = chains(np.random.default_rng(9), np.float64, batch=2, steps=3, tags=3)
    arrays[0] = np.nan_to_num(arrays[0])
    used: list[Any] = []
    whole = crf.KERNEL
    monkeypatch.setattr(crf, "KERNEL", replace(whole, run=lambda *a: used.append(whole.run(*a)) or used[-1]))
    kernels._find.cache_clear()
    emissions, moves, *others = map(torch.tensor, arrays)
    moving = emissions.requires_grad_(), moves.requires_grad_()
    cost = lossary.nn.LinearChainCRFLoss()(*moving, *others)
    slopes = torch.autograd.grad(cost, moving)
    assert used and used[0] is not None
    for slope, expected in zip(slopes, definition(arrays, scale=0.5)[1:], strict=True):
        np.testing.assert_allclose(slope.numpy(), expected, rtol=1e-12, atol=1e-15)
    assert torch.autograd.gradgradcheck(lambda *x: lossary.linear_chain_crf(*x, *others), moving)
    kernels._find.cache_clear()
