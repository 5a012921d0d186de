"""Structured losses where arithmetic is hard: long sequences, near certainty, forbidden moves, padding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lossary
import oracles
from exact import to_exact
from lossary.errors import DomainError, ParameterError, ShapeError

crf, rnnt = lossary.linear_chain_crf, lossary.rnnt
INF = float("inf")


# --- the chain ------------------------------------------------------------------------------------------------------


def marginals(emissions: Any, transitions: Any) -> tuple[Any, Any]:
    """Probabilities of tags and summed ones of pairs, by the textbook's two passes in ordinary numbers, rescaled."""
    weights, moves = np.exp(emissions - emissions.max(-1, keepdims=True)), np.exp(transitions)
    steps, tags = emissions.shape
    forward, backward = np.empty((steps, tags)), np.ones((steps, tags))
    for t in range(steps):
        forward[t] = weights[t] * (forward[t - 1] @ moves if t else 1)
        forward[t] /= forward[t].sum()
    for t in range(steps - 2, -1, -1):
        backward[t] = moves @ (weights[t + 1] * backward[t + 1])
        backward[t] /= backward[t].sum()
    single = forward * backward
    pairs = np.zeros((tags, tags))
    for t in range(1, steps):
        joint = forward[t - 1][:, None] * moves * (weights[t] * backward[t])
        pairs += joint / joint.sum()
    return single / single.sum(-1, keepdims=True), pairs


@pytest.mark.parametrize(("dtype", "digits"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_a_chain_of_thousands_of_steps_keeps_its_digits(dtype: Any, digits: float) -> None:
    rng = np.random.default_rng(3)
    emissions, transitions = rng.standard_normal((4000, 3)).astype(dtype), rng.standard_normal((3, 3)).astype(dtype)
    tags = rng.integers(0, 3, 4000)
    value, (slope, move) = crf.value_and_grad(emissions, transitions, tags)
    single, pairs = marginals(emissions.astype(float), transitions.astype(float))
    np.testing.assert_allclose(slope, single - np.eye(3)[tags], atol=digits)
    np.add.at(pairs, (tags[:-1], tags[1:]), -1)
    np.testing.assert_allclose(move, pairs, atol=digits * 1000, rtol=digits)
    wide = crf(emissions.astype(float), transitions.astype(float), tags)
    np.testing.assert_allclose(value, wide, rtol=digits)
    # The first step's cost and what follows it: the value is not the difference of two large sums.
    assert 1000 < value < 20000


def test_a_cost_near_nothing_keeps_its_relative_accuracy() -> None:
    rng = np.random.default_rng(4)
    tags = np.array([2, 0, 1, 1])
    for sureness in (10.0, 40.0, 90.0):
        emissions = sureness * np.eye(3)[tags] + rng.standard_normal((4, 3))
        transitions = rng.standard_normal((3, 3))
        value, (slope, _) = crf.value_and_grad(emissions, transitions, tags)
        exact = float(oracles.linear_chain_crf(to_exact(emissions), to_exact(transitions), tags.tolist(), 4))
        assert 0 < exact < 0.01 or sureness == 10
        np.testing.assert_allclose(value, exact, rtol=1e-13)
        single, _ = marginals(emissions, transitions)
        wrong = np.eye(3)[tags] == 0
        np.testing.assert_allclose(slope[wrong], single[wrong], rtol=1e-12)
        np.testing.assert_allclose(slope.sum(-1), 0, atol=1e-15 * slope.max())


def test_a_forbidden_move_is_never_made_and_has_no_slope() -> None:
    rng = np.random.default_rng(5)
    emissions, transitions, tags = rng.standard_normal((5, 3)), rng.standard_normal((3, 3)), [0, 2, 2, 1, 0]
    transitions[0, 1] = transitions[1, 1] = -INF
    value, (slope, move) = crf.value_and_grad(emissions, transitions, tags)
    nearly = np.where(np.isinf(transitions), -800.0, transitions)
    np.testing.assert_allclose(value, crf(emissions, nearly, tags), rtol=1e-14)
    for given, expected in zip((slope, move), crf.grad(emissions, nearly, tags), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-12, atol=1e-300)
    assert move[0, 1] == move[1, 1] == 0
    impossible, grads = crf.value_and_grad(emissions, transitions, [0, 1, 0, 0, 0])
    assert impossible == INF and all(np.isfinite(g).all() for g in grads)
    # No tag can follow, or begin: a start score that forbids all but one leaves that one.
    start = np.array([-INF, -INF, 0.0])
    assert crf([[9.0, 9.0, -9.0]], transitions, [2], start=start) == 0


def test_scores_of_ten_thousand_are_finite_and_alive() -> None:
    for size in (1e4, -1e4):
        emissions = size * np.array([[1.0, 0.0], [0.0, 1.0]])
        value, grads = crf.value_and_grad(emissions, [[0.0, 0.0], [0.0, 0.0]], [1, 0])
        assert value == (2e4 if size > 0 else 0.0) and all(np.isfinite(g).all() for g in grads)
        np.testing.assert_array_equal(grads[0], [[1, -1], [-1, 1]] if size > 0 else np.zeros((2, 2)))


def test_without_transitions_it_is_cross_entropy_at_every_step() -> None:
    rng = np.random.default_rng(6)
    emissions, tags = rng.standard_normal((4, 6, 5)), rng.integers(0, 5, (4, 6))
    expected = lossary.softmax_cross_entropy(emissions, tags).sum(-1)
    np.testing.assert_allclose(crf(emissions, np.zeros((5, 5)), tags), expected, rtol=1e-14)


def test_what_lies_beyond_a_length_is_nothing() -> None:
    rng = np.random.default_rng(7)
    emissions, transitions, tags = (
        rng.standard_normal((5, 6, 3)),
        rng.standard_normal((3, 3)),
        rng.integers(0, 3, (5, 6)),
    )
    ends = {"start": rng.standard_normal(3), "end": rng.standard_normal(3)}
    lengths = np.array([6, 3, 1, 0, 5])
    outside = np.arange(6) >= lengths[:, None]
    spoiled, nobody = np.where(outside[..., None], np.nan, emissions), np.where(outside, -100, tags)
    values, (slope, move) = crf.value_and_grad(spoiled, transitions, nobody, lengths, **ends)
    assert values[3] == 0 and (slope[outside] == 0).all()
    total = np.zeros((3, 3))
    for i, n in enumerate(lengths):
        if n:
            value, (own, pairs) = crf.value_and_grad(emissions[i, :n], transitions, tags[i, :n], **ends)
            np.testing.assert_allclose(values[i], value, rtol=1e-14)
            np.testing.assert_allclose(slope[i, :n], own, rtol=1e-12, atol=1e-16)
            total += pairs
    np.testing.assert_allclose(move, total, rtol=1e-12, atol=1e-15)
    empty, grads = crf.value_and_grad(np.zeros((2, 0, 3)), transitions, np.zeros((2, 0), int))
    assert (empty == 0).all() and (grads[1] == 0).all()


def test_scores_of_the_ends_have_the_slopes_of_the_first_and_the_last_step() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(8)
    emissions, transitions, tags = (
        rng.standard_normal((4, 5, 3)),
        rng.standard_normal((3, 3)),
        rng.integers(0, 3, (4, 5)),
    )
    lengths, ends = np.array([5, 1, 3, 0]), {"start": rng.standard_normal(3), "end": rng.standard_normal(3)}
    slope, move = crf.grad(emissions, transitions, tags, lengths, **ends, reduction="mean")
    learned = {name: torch.nn.Parameter(torch.tensor(score)) for name, score in ends.items()}
    module = lossary.nn.LinearChainCRFLoss(**learned)
    moves = torch.tensor(transitions, requires_grad=True)
    cost = module(torch.tensor(emissions), moves, torch.tensor(tags), torch.tensor(lengths))
    cost.backward()
    np.testing.assert_allclose(moves.grad.numpy(), move, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(learned["start"].grad.numpy(), slope[:, 0].sum(0), rtol=1e-12, atol=1e-15)
    last = sum(slope[i, n - 1] for i, n in enumerate(lengths) if n)
    np.testing.assert_allclose(learned["end"].grad.numpy(), last, rtol=1e-12, atol=1e-15)


# --- the transducer -------------------------------------------------------------------------------------------------


def ways(frames: int, labels: int) -> int:
    """Alignments of a transducer: where among the steps before the last blank the labels are said."""
    return math.comb(frames - 1 + labels, labels)


@pytest.mark.parametrize(("dtype", "digits"), [(np.float64, 1e-13), (np.float32, 2e-6)])
@pytest.mark.parametrize(("frames", "labels"), [(1, 0), (1, 5), (7, 0), (9, 4), (300, 60)])
def test_alike_classes_leave_a_count_of_paths(dtype: Any, digits: float, frames: int, labels: int) -> None:
    classes = 4
    value, slope = rnnt.value_and_grad(np.zeros((frames, labels + 1, classes), dtype), np.ones(labels, int))
    exact = (frames + labels) * math.log(classes) - math.log(ways(frames, labels))
    np.testing.assert_allclose(value, exact, rtol=digits)
    for t in range(0, frames, max(1, frames // 7)):
        for u in range(0, labels + 1, max(1, labels // 7)):
            before, after = math.comb(t + u, u), ways(frames - t, labels - u)
            here = before * after / ways(frames, labels)  # integers until the division: exact
            speaks = before * ways(frames - t, labels - u - 1) / ways(frames, labels) if u < labels else 0.0
            expected = np.full(classes, here / classes)
            expected[0] -= here - speaks
            expected[1] -= speaks
            np.testing.assert_allclose(
                slope[t, u], expected, rtol=500 * digits, atol=digits * here + float(np.finfo(dtype).tiny)
            )


def test_a_single_frame_says_all_and_no_label_is_all_blanks() -> None:
    rng = np.random.default_rng(9)
    logits, labels = rng.standard_normal((1, 4, 5)), np.array([3, 1, 1])
    expected = lossary.softmax_cross_entropy(logits[0], [3, 1, 1, 0]).sum()
    np.testing.assert_allclose(rnnt(logits, labels), expected, rtol=1e-14)
    silent = rng.standard_normal((6, 1, 5))
    np.testing.assert_allclose(
        rnnt(silent, np.zeros(0, int), blank=4), lossary.softmax_cross_entropy(silent[:, 0], [4] * 6).sum(), rtol=1e-14
    )


def test_certain_alignments_cost_nearly_nothing_with_all_their_digits() -> None:
    path = {(0, 0): 2, (0, 1): 0, (1, 1): 1, (1, 2): 0, (2, 2): 0}  # says 2, moves on, says 1, moves on, ends
    for sureness in (20.0, 60.0):
        logits = np.zeros((3, 3, 4))
        for (t, u), symbol in path.items():
            logits[t, u, symbol] = sureness
        value = rnnt(logits, [2, 1])
        exact = float(oracles.rnnt(to_exact(logits), [2, 1], 3, 2))
        assert 0 < exact < 1e-7
        np.testing.assert_allclose(value, exact, rtol=1e-13)


def test_forbidden_classes_leave_what_remains_and_impossible_targets_cost_infinity() -> None:
    rng = np.random.default_rng(10)
    logits, labels = rng.standard_normal((4, 3, 5)), [2, 3]
    logits[..., 4] = -INF  # a class that nobody may say
    logits[1, 0, 0] = -INF  # from here only a label leads on
    value, slope = rnnt.value_and_grad(logits, labels)
    nearly = np.where(np.isinf(logits), -800.0, logits)
    np.testing.assert_allclose(value, rnnt(nearly, labels), rtol=1e-14)
    np.testing.assert_allclose(slope, rnnt.grad(nearly, labels), rtol=1e-12, atol=1e-16)
    logits[..., 3] = -INF
    value, slope = rnnt.value_and_grad(logits, labels)
    assert value == INF and np.isfinite(slope).all()


def test_logits_of_ten_thousand_are_finite_and_alive() -> None:
    logits = np.zeros((2, 2, 3))
    logits[..., 2] = 1e4
    value, slope = rnnt.value_and_grad(logits, [1])
    np.testing.assert_allclose(value, 3e4 - math.log(2))
    assert np.isfinite(slope).all() and (slope[..., 2] > 0).any()


def test_frames_and_labels_beyond_their_lengths_are_nothing() -> None:
    rng = np.random.default_rng(11)
    logits, labels = rng.standard_normal((4, 5, 4, 6)), rng.integers(1, 6, (4, 3))
    frames, said = np.array([5, 2, 1, 4]), np.array([3, 1, 0, 2])
    outside = (np.arange(5)[:, None] >= frames[:, None, None]) | (np.arange(4) > said[:, None, None])
    spoiled = np.where(outside[..., None], np.nan, logits)
    nobody = np.where(np.arange(3) >= said[:, None], 0, labels)  # the blank is no label, but pads
    values, slope = rnnt.value_and_grad(spoiled, nobody, frames, said)
    assert (slope[outside] == 0).all()
    for i, (t, u) in enumerate(zip(frames, said, strict=True)):
        value, own = rnnt.value_and_grad(logits[i, :t, : u + 1], labels[i, :u])
        np.testing.assert_allclose(values[i], value, rtol=1e-14)
        np.testing.assert_allclose(slope[i, :t, : u + 1], own, rtol=1e-12, atol=1e-16)


# --- refusals -------------------------------------------------------------------------------------------------------

LOGITS, LABELS = np.zeros((3, 4, 3, 5)), np.array([[1, 2], [1, 0], [3, 4]])
EMISSIONS, TAGS = np.zeros((3, 4, 5)), np.zeros((3, 4), int)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (
            lambda: rnnt(LOGITS, LABELS),
            DomainError,
            r"no blank inside a target; not so in example 1 of 3 \(blank 0, at p",
        ),
        (lambda: rnnt(LOGITS, LABELS, [4, 4, 0], [2, 1, 2]), DomainError, "at least one frame; not so in example 2"),
        (lambda: rnnt(LOGITS, LABELS, [4, 5, 4], [2, 1, 2]), DomainError, "input_lengths: got 5 at index 1"),
        (lambda: rnnt(LOGITS, LABELS, [4, 4, 4], [2, 1, 3]), DomainError, "target_lengths: got 3 at index 2"),
        (lambda: rnnt(LOGITS, LABELS + 1), DomainError, r"labels: got 5 at index \(2, 1\)"),
        (lambda: rnnt(LOGITS, LABELS[:, :1]), ShapeError, "dimension s is 2 in logits .* but 1 in labels"),
        (lambda: rnnt(LOGITS, LABELS, blank=5), ParameterError, "blank: got 5, expected one of the 5 classes"),
        (lambda: crf(EMISSIONS, np.zeros((5, 5)), TAGS, [4, 5, 4]), DomainError, "lengths: got 5 at index 1"),
        (lambda: crf(EMISSIONS, np.zeros((5, 5)), TAGS - 1), DomainError, "tags: got -1"),
        (lambda: crf(EMISSIONS, np.zeros((4, 5)), TAGS), ShapeError, "dimension c is 5 in emissions"),
        (lambda: crf(EMISSIONS, np.zeros((5, 5)), TAGS[:, 1:]), ShapeError, "dimension t is 4 in emissions"),
        (
            lambda: crf(EMISSIONS, np.zeros((5, 5)), TAGS, start=[0.0, 1.0]),
            ShapeError,
            "start: got shape .2,., .* 5 classes",
        ),
    ],
)
def test_misuse_is_refused_in_words(call: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        call()
