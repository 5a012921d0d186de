"""The chain's kernel against the definition: types, lengths, weights, ends, threads, the forbidden, and NaN."""

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


def computed(arrays: Any, options: Any) -> tuple[Any, ...]:
    value, grads = lossary.linear_chain_crf.value_and_grad(*arrays, check=False, **options)
    return value, *grads


def kernel(arrays: Any, **options: Any) -> tuple[Any, ...]:
    """The kernel's value and gradients in emissions and transitions."""
    return by_kernel(lambda: computed(arrays, options))


def definition(arrays: Any, **options: Any) -> tuple[Any, ...]:
    """The definition's value and gradients in float64."""
    wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in map(np.asarray, arrays)]
    return by_definition(lambda: computed(wide, options))


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
    for reduced in ({}, {"reduction": "mean", "denominator": 4}):
        options = {"weight": weight, **params, **reduced}
        got, exact = kernel(arrays, **options), definition(arrays, **options)
        assert got[0].dtype == got[1].dtype == got[2].dtype == dtype
        agree(got, exact, float(np.finfo(dtype).eps), terms=60.0)
        assert (got[1][0] == 0).all() or len(weight) == 1
    assert not runs_definition(lossary.linear_chain_crf, lambda: computed(arrays, params))


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
        weighed = kernel([spoiled, moves, tags], weight=np.array([1.0, 0.0, 1.0]))
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


def test_results_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = chains(np.random.default_rng(6), np.float32, batch=13)
    runs = []
    for count in ("1", "2", "5", ""):
        monkeypatch.setenv("NUMBA_NUM_THREADS", count)
        runs.append(kernel(arrays))
    for run in runs[1:]:
        for a, b in zip(runs[0], run, strict=True):
            np.testing.assert_array_equal(a, b)


def test_calls_that_the_kernel_leaves_to_the_definition() -> None:
    rng = np.random.default_rng(8)
    emissions, moves, tags = rng.standard_normal((2, 4, 3)), rng.standard_normal((3, 3)), np.zeros((2, 4), int)

    def runs(*arrays: Any) -> bool:
        with np.errstate(all="ignore"):
            return runs_definition(lossary.linear_chain_crf, lambda: computed(arrays, {}))

    assert not runs(emissions[0], moves, tags[0])
    assert runs(emissions, np.stack([moves, moves]), tags), "moves of each sequence"
    assert runs(emissions, np.where(moves > 1, NAN, moves), tags), "moves that are no numbers"
    for wrong in ([tags + 3], [tags, [4, 5]]):  # a tag that is none, a length beyond the array
        with kernels("always"), pytest.raises(lossary.errors.DomainError):
            lossary.linear_chain_crf(emissions, moves, *wrong)
    several = lossary.linear_chain_crf.grad(emissions, np.stack([moves, moves]), tags)[1].sum(0)
    np.testing.assert_allclose(kernel([emissions, moves, tags])[2], several, rtol=1e-12, atol=1e-15)


def test_torch_uses_it_and_differentiates_twice_past_it() -> None:
    torch = pytest.importorskip("torch")
    arrays = chains(np.random.default_rng(9), np.float64, batch=2, steps=3, tags=3)
    arrays[0] = np.nan_to_num(arrays[0])
    emissions, moves, *others = map(torch.tensor, arrays)
    moving = emissions.requires_grad_(), moves.requires_grad_()

    def gradients() -> Any:
        return torch.autograd.grad(lossary.nn.LinearChainCRFLoss()(*moving, *others), moving)

    assert not runs_definition(lossary.linear_chain_crf, gradients)
    for slope, expected in zip(by_kernel(gradients), definition(arrays, reduction="mean")[1:], strict=True):
        np.testing.assert_allclose(slope.numpy(), expected, rtol=1e-12, atol=1e-15)
    with kernels("always"):
        assert torch.autograd.gradgradcheck(lambda *x: lossary.linear_chain_crf(*x, *others), moving)
