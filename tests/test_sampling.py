"""Losses on drawn classes and on rows of similarities: what they stand for, and what the sampler says to expect."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf

import lossary
from lossary.errors import DomainError, ParameterError, ShapeError
from lossary.sampling import LogUniform, expected_count, without_hits

torch = pytest.importorskip("torch")
functional = torch.nn.functional


# --- the sampler ----------------------------------------------------------------------------------------------------


def test_probabilities_fall_and_add_up() -> None:
    for classes in (1, 2, 10, 5000):
        p = LogUniform(classes).probability(np.arange(classes))
        assert p.sum() == pytest.approx(1.0, rel=1e-12) and (np.diff(p) < 0).all()
    assert LogUniform(3).probability(0) == pytest.approx(math.log(2) / math.log(4))
    exact = math.log((10**6 + 2) / (10**6 + 1)) / math.log(10**7 + 1)
    assert LogUniform(10**7).probability(10**6) == pytest.approx(exact, rel=1e-9)
    tensor = LogUniform(7).probability(torch.arange(7))
    np.testing.assert_allclose(tensor.numpy(), LogUniform(7).probability(np.arange(7)), rtol=1e-6)


def test_classes_are_drawn_as_often_as_they_should_be() -> None:
    sampler = LogUniform(20)
    drawn = sampler.draw(200_000, 1, unique=False)
    found = np.bincount(drawn.classes, minlength=20) / 200_000
    p = sampler.probability(np.arange(20))
    assert (np.abs(found - p) < 5 * np.sqrt(p / 200_000)).all() and drawn.tries == 200_000
    np.testing.assert_allclose(np.exp(drawn.log_expected(np.arange(20))), 200_000 * p, rtol=1e-12)


def test_different_classes_are_expected_as_often_as_they_come() -> None:
    """Among samples that took the same number of tries, a class is in ``1 - (1 - p)^tries`` of those tries' samples."""
    rng = np.random.default_rng(2)
    sampler = LogUniform(12)
    seen, expected, runs = np.zeros(12), np.zeros(12), 4000
    for _ in range(runs):
        drawn = sampler.draw(5, rng)
        assert len(set(drawn.classes.tolist())) == 5 and drawn.tries >= 5 and drawn.classes.max() < 12
        seen[drawn.classes] += 1
        expected += np.exp(drawn.log_expected(np.arange(12)))
    # TensorFlow's approximation: it takes the number of tries as given, so it is right on the whole, not to the digit.
    np.testing.assert_allclose(expected.sum() / runs, 5, rtol=0.08)
    np.testing.assert_allclose(seen, expected, rtol=0.12)
    p = sampler.probability(np.arange(12))
    for tries in (1, 3, 50):
        drawn = rng.choice(12, (20_000, tries), p=p)
        within = np.array([(drawn == k).any(axis=1).mean() for k in range(12)])
        np.testing.assert_allclose(expected_count(p, tries), within, atol=0.015)


def test_the_same_seed_draws_the_same_classes_and_all_of_them_if_asked() -> None:
    sampler = LogUniform(50)
    np.testing.assert_array_equal(sampler.draw(10, 3).classes, sampler.draw(10, np.random.default_rng(3)).classes)
    everything = sampler.draw(50, 4)
    assert sorted(everything.classes) == list(range(50)) and everything.tries >= 50
    assert sampler.draw(0, 0).classes.size == 0
    only = LogUniform(1).draw(1, 0)
    assert only.classes.tolist() == [0] and only.log_expected(only.classes).tolist() == [0.0]


def test_rare_classes_keep_their_digits() -> None:
    mp.dps = 60
    for p, tries in ((1e-12, 3), (1e-7, 10**6), (0.9, 40)):
        exact = 1 - (1 - mpf(p)) ** tries
        assert abs(mpf(float(expected_count(p, tries))) / exact - 1) < 1e-14
    assert expected_count(1.0, 5) == 1.0 and expected_count(0.25, 8, unique=False) == 2.0


def test_samplers_that_are_not_meant_are_refused() -> None:
    with pytest.raises(ParameterError, match="classes: got 0"):
        LogUniform(0)
    with pytest.raises(
        ParameterError, match="count: got 6, expected a whole number >= 0 and at most the 5 different classes"
    ):
        LogUniform(5).draw(6, 0)
    with pytest.raises(ParameterError, match="count: got -1, expected a whole number >= 0"):
        LogUniform(5).draw(-1, 0, unique=False)
    with pytest.raises(DomainError, match=r"classes: got 5, expected indices in \{0, ..., 4\}"):
        LogUniform(5).probability([0, 5])


@pytest.mark.parametrize("given", ["a", None, 1.5, -1, [3], float("nan")])
def test_numbers_of_draws_and_classes_are_whole_numbers(given: Any) -> None:
    with pytest.raises(ParameterError, match="classes: got"):
        LogUniform(given)
    with pytest.raises(ParameterError, match="count: got"):
        LogUniform(5).draw(given, 0)
    with pytest.raises(ParameterError, match="tries: got"):
        expected_count(0.5, given)
    if given is not None and given != [3]:
        with pytest.raises(ParameterError, match="rng: got"):
            LogUniform(5).draw(2, given)


def test_a_probability_outside_0_and_1_is_refused() -> None:
    for given in (1.5, -0.5, [0.5, 2.0]):
        with pytest.raises(DomainError, match=r"probability: got .*, expected numbers in \[0, 1\]"):
            expected_count(given, 3)


def test_accidental_hits_are_taken_out() -> None:
    drawn, labels = np.array([4, 0, 2]), np.array([[0, 9], [2, 4]])
    found = without_hits([-1.0, -2.0, -3.0], drawn, labels)
    assert found.shape == (2, 2, 3)
    hit = drawn == labels[..., None]
    assert (np.isposinf(found) == hit).all() and (found[~hit] == np.broadcast_to([-1.0, -2, -3], hit.shape)[~hit]).all()
    own = without_hits(found[0], np.array([[4, 0, 2], [9, 9, 1]]), labels[0])
    assert np.isposinf(own).sum() == 3
    tensor = without_hits(torch.tensor([-1.0, -2.0, -3.0]), torch.tensor(drawn), torch.tensor(labels))
    np.testing.assert_array_equal(tensor.numpy(), found)
    with pytest.raises(ShapeError, match=r"log_expected has shape \(2,\), drawn \(3,\) and labels \(2, 2\)"):
        without_hits([-1.0, -2.0], drawn, labels)


# --- losses on what was drawn ---------------------------------------------------------------------------------------


def head(seed: int, classes: int = 40, rows: int = 6) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return 2 * rng.standard_normal((rows, classes)), rng.integers(0, classes, rows)


def test_with_all_classes_drawn_it_is_the_full_softmax() -> None:
    logits, labels = head(5)
    drawn = np.arange(40)
    corrections = without_hits(np.zeros(40), drawn, labels)  # every class is expected once
    positive = logits[np.arange(6), labels]
    value, (up, down) = lossary.sampled_softmax.value_and_grad(positive, logits, np.zeros(6), corrections)
    full, grad = lossary.softmax_cross_entropy.value_and_grad(logits, labels)
    np.testing.assert_allclose(value, full, rtol=1e-13)
    hits = drawn == labels[:, None]
    assert (down[hits] == 0).all()
    down[hits] = up
    np.testing.assert_allclose(down, grad, rtol=1e-11, atol=1e-15)


def test_the_gradient_of_drawn_classes_tends_to_that_of_all() -> None:
    """Averaged over samples; without the corrections frequent classes would be pushed far too hard."""
    logits, labels = head(6, rows=1)
    sampler, rng = LogUniform(40), np.random.default_rng(7)
    full = lossary.softmax_cross_entropy.grad(logits, labels)[0]
    error = {}
    for corrected in (True, False):
        mean = np.zeros(40)
        for _ in range(1500):
            drawn = sampler.draw(15, rng)
            expected = drawn.log_expected(drawn.classes) * corrected
            up, down = lossary.sampled_softmax.grad(
                logits[0, labels], logits[:, drawn.classes], drawn.log_expected(labels) * corrected,
                without_hits(expected, drawn.classes, labels),
            )  # fmt: skip
            mean[labels[0]] += up[0] / 1500
            mean[drawn.classes] += down[0] / 1500
        error[corrected] = np.abs(mean - full).sum() / np.abs(full).sum()
    assert error[True] < 0.15 and error[False] > 2 * error[True]


def test_the_formulas_of_tensorflow() -> None:
    """nn.sampled_softmax_loss and nn.nce_loss: logits less log expected counts; softmax, or a sigmoid for each."""
    rng = np.random.default_rng(8)
    positive, negatives = torch.tensor(rng.standard_normal(9) * 3), torch.tensor(rng.standard_normal((9, 5)) * 3)
    expected_positive, expected = torch.tensor(rng.standard_normal(9)), torch.tensor(rng.standard_normal(5))
    logits = torch.cat([(positive - expected_positive)[:, None], negatives - expected], dim=1)
    softmax = functional.cross_entropy(logits, torch.zeros(9, dtype=torch.long), reduction="none")
    arrays = (positive, negatives, expected_positive, expected)
    torch.testing.assert_close(lossary.sampled_softmax(*arrays), softmax)
    truth = torch.zeros_like(logits)
    truth[:, 0] = 1
    sigmoids = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").sum(1)
    torch.testing.assert_close(lossary.noise_contrastive_estimation(*arrays), sigmoids)
    nothing = torch.zeros(9, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    torch.testing.assert_close(
        lossary.negative_sampling(positive, negatives),
        lossary.noise_contrastive_estimation(positive, negatives, *nothing),
    )


def test_noise_contrast_makes_scores_log_probabilities_that_sum_to_one() -> None:
    """In expectation over data and noise, by the hand-written gradient alone."""
    p, q, k = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.25, 0.25, 0.4, 0.1]), 5
    scores, expected = np.zeros(4), np.log(k * q)
    for _ in range(3000):
        up, down = lossary.noise_contrastive_estimation.grad(scores, scores[:, None], expected, expected[:, None])
        scores -= p * up + k * q * down[:, 0]
    np.testing.assert_allclose(np.exp(scores), p, rtol=1e-6)


def test_negative_sampling_learns_how_much_more_often_than_by_chance() -> None:
    p, q, k = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.25, 0.25, 0.4, 0.1]), 5
    scores = np.zeros(4)
    for _ in range(3000):
        up, down = lossary.negative_sampling.grad(scores, scores[:, None])
        scores -= p * up + k * q * down[:, 0]
    np.testing.assert_allclose(scores, np.log(p / q) - math.log(k), rtol=1e-6)


@pytest.mark.parametrize("name", ["sampled_softmax", "noise_contrastive_estimation"])
def test_a_class_that_is_taken_out_is_not_there(name: str) -> None:
    loss = lossary.get(name)
    rng = np.random.default_rng(9)
    positive, negatives, expected = rng.standard_normal(3), rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    expected[:, 1] = np.inf
    negatives[0, 1] = 1e4  # whatever its score
    keep = [0, 2, 3]
    value, (up, down) = loss.value_and_grad(positive, negatives, np.zeros(3), expected)
    other, (other_up, other_down) = loss.value_and_grad(positive, negatives[:, keep], np.zeros(3), expected[:, keep])
    np.testing.assert_allclose(value, other, rtol=1e-15)
    np.testing.assert_allclose(up, other_up, rtol=1e-15)
    np.testing.assert_allclose(down[:, keep], other_down, rtol=1e-15)
    assert (down[:, 1] == 0).all()
    curves = loss.hess(positive, negatives, np.zeros(3), expected)
    assert np.isfinite(curves[0]).all() and np.isfinite(curves[1]).all() and (curves[1][:, 1] == 0).all()
    tensors = [torch.tensor(x, requires_grad=i < 2) for i, x in enumerate((positive, negatives, np.zeros(3), expected))]
    grads = torch.autograd.grad(loss(*tensors).sum(), tensors[:2])
    np.testing.assert_allclose(grads[1].numpy(), down, rtol=1e-12, atol=1e-300)
    alone, (up, down) = loss.value_and_grad([2.0], [[0.0, 1.0]], [0.5], [[np.inf, np.inf]])
    left = 0.0 if name == "sampled_softmax" else math.log1p(math.exp(-1.5))
    assert alone[0] == pytest.approx(left, rel=1e-15) and (down == 0).all() and up[0] <= 0


@pytest.mark.parametrize("name", ["sampled_softmax", "noise_contrastive_estimation", "negative_sampling"])
def test_extreme_scores_have_exact_values_and_live_gradients(name: str) -> None:
    loss = lossary.get(name)
    for far in (1e4, 1e300):
        rest = [[0.0, 0.0], [[0.0, 0.0]] * 2] if len(loss.arguments) > 2 else []
        value, (up, down) = loss.value_and_grad([-far, far], [[0.0, -far], [0.0, -far]], *rest)
        assert value[0] == pytest.approx(far, rel=1e-3) and up[0] == -1
        assert np.isfinite(value).all() and up[1] == 0 and (down[:, 1] == 0).all()


def test_one_example_alone_and_a_sample_that_is_shared() -> None:
    alone = lossary.sampled_softmax(1.0, [0.0, 2.0], 0.0, [0.0, 0.0])
    assert alone == lossary.sampled_softmax([1.0], [[0.0, 2.0]], [0.0], [[0.0, 0.0]])[0]
    rng = np.random.default_rng(10)
    positive, negatives, expected = rng.standard_normal(5), rng.standard_normal((5, 3)), rng.standard_normal(3)
    shared = lossary.noise_contrastive_estimation(positive, negatives, 0.5, expected)
    repeated = lossary.noise_contrastive_estimation(positive, negatives, np.full(5, 0.5), np.tile(expected, (5, 1)))
    np.testing.assert_array_equal(shared, repeated)
    with pytest.raises(ShapeError, match="dimension n is 3 in negatives"):
        lossary.noise_contrastive_estimation(positive, negatives, 0.5, expected[:2])


# --- losses on rows of similarities ---------------------------------------------------------------------------------


def test_info_nce_is_cross_entropy_over_the_candidates() -> None:
    rng = np.random.default_rng(11)
    queries, keys = rng.standard_normal((2, 8, 4))
    table = torch.tensor(queries @ keys.T, requires_grad=True)
    pairs = torch.arange(8)
    both = (lossary.info_nce(table, pairs, temperature=0.5) + lossary.info_nce(table.T, pairs, temperature=0.5)).mean()
    scores = table / 0.5
    expected = functional.cross_entropy(scores, pairs) + functional.cross_entropy(scores.T, pairs)  # twice CLIP's
    torch.testing.assert_close(both, expected)
    torch.testing.assert_close(torch.autograd.grad(both, table)[0], torch.autograd.grad(expected, table)[0])
    masked = np.array([[3.0, 2.9, 0.0]])
    masked[0, 1] = -np.inf
    value, grad = lossary.info_nce.value_and_grad(masked, [0], temperature=1.0)
    assert value[0] == pytest.approx(math.log1p(math.exp(-3.0))) and grad[0, 1] == 0
    same = lossary.softmax_cross_entropy(queries @ keys.T, np.arange(8), temperature=0.07)
    np.testing.assert_allclose(lossary.info_nce(queries @ keys.T, np.arange(8)), same, rtol=1e-12)
    left_out = lossary.info_nce.value_and_grad(queries @ keys.T, [0, 1, -1, 3, 4, 5, 6, 7], ignore_index=-1)
    assert left_out[0][2] == 0 and (left_out[1][2] == 0).all()


def test_siglip_is_the_papers_pseudocode() -> None:
    """Zhai 2023, algorithm 1: the mean over images of minus the log-sigmoids of a table with +1 on its diagonal."""
    rng = np.random.default_rng(12)
    images, texts = (torch.tensor(rng.standard_normal((6, 5))) for _ in range(2))
    log_scale, bias = (
        torch.tensor(math.log(10.0), dtype=torch.float64, requires_grad=True),
        torch.tensor(-10.0, dtype=torch.float64, requires_grad=True),
    )
    cosines = functional.normalize(images, dim=1) @ functional.normalize(texts, dim=1).T
    signs = 2 * torch.eye(6, dtype=torch.float64) - 1
    expected = -functional.logsigmoid(signs * (cosines * log_scale.exp() + bias)).sum() / 6
    grads = torch.autograd.grad(expected, (log_scale, bias), retain_graph=True)
    for target in (torch.arange(6), torch.eye(6)):
        found = lossary.mean(lossary.siglip(cosines, target, scale=log_scale.exp(), bias=bias))
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found, (log_scale, bias)), grads)
    chunks = [lossary.siglip(cosines[:, s], torch.eye(6)[:, s]) for s in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(sum(chunks), lossary.siglip(cosines, torch.arange(6)))  # a table in pieces
    none_fits = lossary.siglip([[0.5, 0.5]], [[0, 0]], scale=1.0, bias=0.0)
    assert none_fits[0] == pytest.approx(2 * math.log1p(math.exp(0.5)))
    with pytest.raises(DomainError, match="These are not cosines"):
        lossary.siglip([[1.5, 0.0]], [0])
