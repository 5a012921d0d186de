"""Decoding of CTC: greedy, by beam, and aligned to a target, against every path written down."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.decoding import ctc_alignment, ctc_beam_search, ctc_greedy_decode
from lossary.errors import DomainError, ParameterError, ShapeError

Labels = tuple[int, ...]


def said(path: Labels, blank: int) -> Labels:
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)


def every_path(log_p: Any, blank: int) -> dict[Labels, list[tuple[float, Labels]]]:
    """Every path and its log-probability, by what it says."""
    found: dict[Labels, list[tuple[float, Labels]]] = {}
    for path in itertools.product(range(log_p.shape[1]), repeat=len(log_p)):
        found.setdefault(said(path, blank), []).append((sum(log_p[t, c] for t, c in enumerate(path)), path))
    return found


def log_softmax(logits: Any) -> Any:
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def as_given(backend: str, *arrays: Any) -> list[Any]:
    if backend == "numpy":
        return list(arrays)
    torch = pytest.importorskip("torch")
    return [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in map(np.asarray, arrays)]


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("blank", [0, 2])
def test_against_every_path_written_down(backend: str, blank: int) -> None:
    rng = np.random.default_rng(blank)
    logits, lengths = 2 * rng.standard_normal((6, 5, 3)), np.array([5, 4, 3, 2, 1, 0])
    given = as_given(backend, logits, lengths)
    greedy = ctc_greedy_decode(*given, blank=blank)
    beams = ctc_beam_search(*given, width=10_000, best=4, blank=blank)
    for n, length in enumerate(lengths):
        paths = every_path(log_softmax(logits[n, :length]), blank)
        score, path = max(itertools.chain(*paths.values()))
        count = int(greedy.lengths[n])
        assert tuple(greedy.labels[n].tolist()) == said(path, blank) + (-1,) * (5 - count)
        assert float(greedy.score[n]) == pytest.approx(score)
        totals = {labels: math.log(sum(math.exp(s) for s, _ in ways)) for labels, ways in paths.items()}
        ranked = sorted(totals, key=lambda labels: -totals[labels])[:4]
        assert [h.labels for h in beams[n]] == ranked
        for hypothesis in beams[n]:
            assert hypothesis.score == pytest.approx(totals[hypothesis.labels])
            cost = lossary.ctc(
                logits[n, :length], [*hypothesis.labels, blank], length, len(hypothesis.labels), blank=blank
            )
            assert hypothesis.score == pytest.approx(-cost), "the score is what the loss says of these labels"
        for labels, ways in paths.items():
            target = np.full(5, -1)
            target[: len(labels)] = labels
            aligned = ctc_alignment(*as_given(backend, logits[n], target, length, len(labels)), blank=blank)
            score, path = max(ways)
            assert float(aligned.score) == pytest.approx(score)
            assert tuple(aligned.path.tolist()) == path + (-1,) * (5 - length)
            spoken = [at for at in aligned.position.tolist() if at >= 0]
            assert sorted(set(spoken)) == list(range(len(labels))) and spoken == sorted(spoken)
            assert all(labels[at] == path[t] for t, at in enumerate(aligned.position.tolist()) if at >= 0)


def test_a_narrow_beam_gives_less_and_never_more_than_there_is() -> None:
    logits = np.random.default_rng(1).standard_normal((20, 6))
    scores = []
    for width in (1, 2, 8, 64, 512):
        (hypothesis,) = ctc_beam_search(logits, width=width)
        cost = float(lossary.ctc(logits, list(hypothesis.labels)))
        assert hypothesis.score <= -cost + 1e-12
        scores.append(hypothesis.score)
    assert scores == sorted(scores) and scores[0] < scores[-1]


def test_a_batch_is_its_sequences_and_so_is_an_alignment() -> None:
    rng = np.random.default_rng(2)
    logits, labels = rng.standard_normal((2, 3, 9, 4)), rng.integers(1, 4, (2, 3, 3))
    frames, lengths = rng.integers(6, 10, (2, 3)), rng.integers(0, 4, (2, 3))
    greedy, beams = ctc_greedy_decode(logits, frames), ctc_beam_search(logits, frames)
    aligned = ctc_alignment(logits, labels, frames, lengths)
    for at in np.ndindex(2, 3):
        alone = ctc_greedy_decode(logits[at], frames[at])
        np.testing.assert_array_equal(greedy.labels[at], alone.labels)
        assert beams[at[0]][at[1]] == ctc_beam_search(logits[at], frames[at])
        one = ctc_alignment(logits[at], labels[at], frames[at], lengths[at])
        np.testing.assert_array_equal(aligned.path[at], one.path)
        np.testing.assert_array_equal(aligned.position[at], one.position)
        assert aligned.score[at] <= -lossary.ctc(logits[at], labels[at], frames[at], lengths[at])


def test_log_probabilities_are_taken_as_they_are_and_padding_may_be_anything() -> None:
    logits = np.random.default_rng(3).standard_normal((7, 4))
    expected = ctc_greedy_decode(log_softmax(logits)[:5], from_logits=False)
    logits[5:] = np.nan
    found = ctc_greedy_decode(logits, 5)
    np.testing.assert_array_equal(found.labels[:5], expected.labels)
    np.testing.assert_allclose(found.score, expected.score)
    assert ctc_beam_search(logits, 5)[0].labels == ctc_beam_search(logits[:5])[0].labels
    assert np.isfinite(ctc_alignment(logits, [1, 2], 5).score)


def test_what_cannot_be_said() -> None:
    assert ctc_beam_search(np.full((2, 3), -np.inf), from_logits=False) == []
    (hypothesis,) = ctc_beam_search(np.zeros((0, 3)))
    assert hypothesis.labels == () and hypothesis.score == 0.0
    masked = np.zeros((3, 3))
    masked[:, 1] = -np.inf
    assert ctc_alignment(masked, [1]).score == -np.inf


def test_refusals_are_those_of_the_loss() -> None:
    logits = np.zeros((2, 3, 4))
    with pytest.raises(DomainError, match="input_lengths: got 4 at index 1"):
        ctc_greedy_decode(logits, [3, 4])
    with pytest.raises(ParameterError, match="blank: got 4"):
        ctc_beam_search(logits, blank=4)
    with pytest.raises(DomainError, match=r"a frame for each label.*example 1 of 2"):
        ctc_alignment(logits, [[1, 2], [1, 1]], [3, 2])
    with pytest.raises(ParameterError, match="width: got 0"):
        ctc_beam_search(logits, width=0)
    with pytest.raises(ShapeError, match=r"\(\.\.\., frames, classes\)"):
        ctc_greedy_decode(np.zeros(4))


def test_tensors_come_back_where_they_were() -> None:
    torch = pytest.importorskip("torch")
    logits = torch.randn(2, 6, 4, dtype=torch.bfloat16, requires_grad=True)
    greedy, aligned = ctc_greedy_decode(logits), ctc_alignment(logits, torch.ones(2, 1, dtype=torch.long))
    for found in (greedy.labels, greedy.lengths, greedy.score, aligned.path, aligned.position, aligned.score):
        assert isinstance(found, torch.Tensor) and found.device == logits.device and len(found) == 2
