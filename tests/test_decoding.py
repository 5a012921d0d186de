"""Decoding against every path written down."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.decoding import crf_marginals, crf_viterbi
from lossary.errors import DomainError, ShapeError

# --- the chain ------------------------------------------------------------------------------------------------------


def every_path(emissions: Any, transitions: Any, start: Any, end: Any) -> dict[tuple[int, ...], float]:
    """The score of each sequence of tags, written down one by one."""
    steps, tags = emissions.shape
    scores = {}
    for path in product(range(tags), repeat=steps):
        score = sum(emissions[t, tag] for t, tag in enumerate(path))
        score += sum(transitions[a, b] for a, b in pairwise(path))
        scores[path] = float(score + start[path[0]] + end[path[-1]]) if path else 0.0
    return scores


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_viterbi_and_marginals_are_those_of_all_paths_written_down(backend: str) -> None:
    rng = np.random.default_rng(1)
    emissions, transitions = 2 * rng.standard_normal((6, 5, 3)), 2 * rng.standard_normal((3, 3))
    transitions[1, 2] = -np.inf
    start, end, lengths = rng.standard_normal(3), rng.standard_normal(3), np.array([5, 3, 1, 0, 4, 5])
    emissions[np.arange(5) >= lengths[:, None]] = np.nan
    made: list[Any] = [emissions, transitions, lengths, start, end]
    if backend == "torch":
        made = [pytest.importorskip("torch").tensor(x) for x in made]
    arrays, ends = made[:3], {"start": made[3], "end": made[4]}
    found = crf_viterbi(*arrays, **ends)
    shares = np.asarray(crf_marginals(*arrays, **ends))
    tags, scores = np.asarray(found.tags), np.asarray(found.score)
    for i, n in enumerate(lengths):
        known = every_path(emissions[i, :n], transitions, start, end)
        best = max(known, key=lambda path: known[path])
        assert tuple(tags[i, :n]) == best and (tags[i, n:] == -1).all()
        np.testing.assert_allclose(scores[i], known[best], rtol=1e-14, atol=1e-14)
        weights = np.exp(list(known.values()))
        for t in range(5):
            for tag in range(3):
                expected = sum(w for path, w in zip(known, weights, strict=True) if t < n and path[t] == tag)
                np.testing.assert_allclose(shares[i, t, tag], expected / weights.sum(), rtol=1e-12, atol=1e-15)


def test_viterbi_of_one_sequence_of_none_and_of_ties() -> None:
    emissions = np.zeros((4, 3))
    assert crf_viterbi(emissions, np.zeros((3, 3))).tags.tolist() == [0, 0, 0, 0]
    assert crf_viterbi(np.zeros((2, 0, 3)), np.zeros((3, 3))).tags.shape == (2, 0)
    assert crf_viterbi(np.zeros((0, 4, 3)), np.zeros((3, 3))).score.shape == (0,)
    with pytest.raises(DomainError, match="lengths: got 5"):
        crf_viterbi(emissions[None], np.zeros((3, 3)), [5])
    with pytest.raises(ShapeError, match="dimension c is 3 in emissions"):
        crf_viterbi(emissions, np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="steps, tags"):
        crf_marginals([0.0, 1.0], np.zeros((2, 2)))


def test_a_path_follows_a_long_chain_and_its_score_has_the_slopes_of_the_path() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    emissions = torch.tensor(rng.standard_normal((2, 300, 4)), requires_grad=True)
    transitions = torch.tensor(rng.standard_normal((4, 4)), requires_grad=True)
    found = crf_viterbi(emissions, transitions)
    slope, moves = torch.autograd.grad(found.score.sum(), (emissions, transitions))
    torch.testing.assert_close(slope, torch.nn.functional.one_hot(found.tags, 4).double())
    counts = torch.zeros(4, 4, dtype=torch.float64)
    for path in found.tags.tolist():
        for a, b in pairwise(path):
            counts[a, b] += 1
    torch.testing.assert_close(moves, counts)
    # No sequence drawn from the model is better than the best, and its cost is the least.
    cost = lossary.linear_chain_crf(emissions, transitions, found.tags).detach()
    for _ in range(5):
        other = found.tags.clone()
        other[:, rng.integers(300)] = int(rng.integers(4))
        assert (lossary.linear_chain_crf(emissions, transitions, other) >= cost - 1e-9).all()
