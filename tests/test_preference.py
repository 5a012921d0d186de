"""Preference losses and policy gradients: what others publish, what is derived, and what stands around them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.errors import DomainError, LossaryError, ParameterError, ShapeError
from lossary.preference import average_tokens, group_advantages, reference_point, sequence_log_probability

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def log_probabilities(seed: int, count: int, rows: int = 40) -> list[Any]:
    """Log-probabilities of whole answers: some near the reference, some far from it."""
    rng = np.random.default_rng(seed)
    base = -rng.uniform(5.0, 80.0, (rows, 1))
    return list((base + rng.standard_normal((rows, count)) * rng.choice([0.1, 3.0, 30.0], (rows, 1))).T)


def agrees(loss: Any, theirs: Any, *arrays: Any, **params: Any) -> None:
    """The value and the gradient of a loss are those of a formula in torch, under autograd."""
    moving = {name: torch.tensor(a, requires_grad=True) for name, a in zip(loss.arguments, arrays, strict=True)}
    expected = theirs(*moving.values())
    grads = torch.autograd.grad(expected.sum(), [moving[name] for name in loss.wrt])
    value, found = loss.value_and_grad(*arrays, **params)
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-11, atol=1e-12)
    for grad, reference in zip(found if isinstance(found, tuple) else (found,), grads, strict=True):
        np.testing.assert_allclose(grad, reference.numpy(), rtol=1e-9, atol=1e-12)


# --- the definitions of TRL 1.16.0, told again ----------------------------------------------------------------------
# Loss by loss, the arithmetic of its trainers on per-sequence and per-token log-probabilities.


def delta(chosen: Any, rejected: Any, ref_chosen: Any, ref_rejected: Any) -> Any:
    return (chosen - ref_chosen) - (rejected - ref_rejected)


def test_dpo_is_trls_sigmoid_loss() -> None:  # DPOTrainer._compute_loss, loss_type="sigmoid"
    agrees(lossary.dpo, lambda *x: -functional.logsigmoid(0.3 * delta(*x)), *log_probabilities(0, 4), beta=0.3)


def test_dpo_hinge_is_trls_hinge_loss() -> None:  # loss_type="hinge"
    agrees(lossary.dpo_hinge, lambda *x: torch.relu(1 - 0.3 * delta(*x)), *log_probabilities(1, 4), beta=0.3)


def test_ipo_is_trls_ipo_loss_on_means() -> None:  # loss_type="ipo", which divides by the lengths first
    lengths = np.random.default_rng(2).integers(1, 30, 40)
    means = [x / lengths for x in log_probabilities(2, 4)]
    agrees(lossary.ipo, lambda *x: (delta(*x) - 1 / (2 * 0.3)) ** 2, *means, tau=0.3)


def test_robust_dpo_is_trls_robust_loss() -> None:  # loss_type="robust"
    def theirs(*x: Any) -> Any:
        clean, flipped = -0.8 * functional.logsigmoid(0.1 * delta(*x)), -0.2 * functional.logsigmoid(-0.1 * delta(*x))
        return (clean - flipped) / (1 - 2 * 0.2)

    agrees(lossary.robust_dpo, theirs, *log_probabilities(3, 4), beta=0.1, flip_rate=0.2)


def test_simpo_and_cpo_are_trls() -> None:  # experimental CPOTrainer.cpo_loss, loss_type="simpo" and "sigmoid"
    pair = log_probabilities(4, 2)
    agrees(lossary.simpo, lambda c, r: -functional.logsigmoid(0.1 * (c - r - 0.5 / 0.1)), *pair, beta=0.1, gamma=0.5)

    def smoothed(c: Any, r: Any) -> Any:
        lead = 0.1 * (c - r)
        return -0.7 * functional.logsigmoid(lead) - 0.3 * functional.logsigmoid(-lead)

    agrees(lossary.cpo, smoothed, *pair, beta=0.1, alpha=0.0, label_smoothing=0.3)


def test_orpo_is_trls() -> None:  # experimental ORPOTrainer.odds_ratio_loss, on means of log-probabilities
    pair = [-np.random.default_rng(5 + k).uniform(1e-4, 6.0, 40) for k in range(2)]

    def theirs(c: Any, r: Any) -> Any:
        log_odds = (c - r) - (torch.log1p(-torch.exp(c)) - torch.log1p(-torch.exp(r)))
        return -c - 0.1 * functional.logsigmoid(log_odds)

    agrees(lossary.orpo, theirs, *pair, beta=0.1)


def test_kto_is_trls() -> None:  # KTOTrainer._compute_loss, loss_type="kto": z0 is clamped at 0 and detached
    policy, reference, other, other_reference = log_probabilities(6, 4)
    target = (np.arange(40) % 3 > 0).astype(float)
    point = reference_point(other, other_reference)
    assert point == max(0.0, (other - other_reference).mean())

    def theirs(p: Any, q: Any, y: Any, z: Any) -> Any:
        good, bad = 1 - torch.sigmoid(0.2 * (p - q - z)), 1 - torch.sigmoid(0.2 * (z - (p - q)))
        return torch.where(y == 1, 1.3 * good, 0.7 * bad)

    options = {"beta": 0.2, "desirable_weight": 1.3, "undesirable_weight": 0.7}
    agrees(lossary.kto, theirs, policy, reference, target, np.full(40, point), **options)
    np.testing.assert_array_equal(
        lossary.kto(policy, reference, target, point, **options),
        lossary.kto(policy, reference, target, np.full(40, point), **options),
    )


def test_bradley_terry_is_trls_reward_loss() -> None:  # RewardTrainer.compute_loss, with margin and centring
    scores = [np.random.default_rng(7 + k).standard_normal(40) * 4 for k in range(2)]
    margin = np.random.default_rng(9).uniform(0, 2, 40)

    def theirs(c: Any, r: Any) -> Any:
        return -functional.logsigmoid(c - r - torch.tensor(margin)) + 0.01 * (c + r) ** 2

    agrees(lossary.bradley_terry, theirs, *scores, margin=margin, centering=0.01)


def test_grpo_and_ppo_are_trls_per_token_loss() -> None:  # GRPOTrainer._compute_loss
    rng = np.random.default_rng(10)
    policy = -rng.uniform(0, 5, 400)
    old, reference = policy + 0.4 * rng.standard_normal(400), policy + rng.standard_normal(400)
    advantage = rng.standard_normal(400)

    def surrogate(p: Any, o: Any, a: Any, delta: float | None = None) -> Any:
        ratio = torch.exp(p - o)
        bounded = torch.clamp(ratio, 1 - 0.2, 1 + 0.28)
        if delta is not None:
            ratio = torch.clamp(ratio, max=delta)
        return -torch.min(ratio * a, bounded * a)

    def full(p: Any, o: Any, q: Any, a: Any) -> Any:
        return surrogate(p, o, a) + 0.04 * (torch.exp(q - p) - (q - p) - 1)

    agrees(lossary.ppo_clip, surrogate, policy, old, advantage, clip_high=0.28)
    agrees(lossary.ppo_clip, lambda *x: surrogate(*x, delta=1.5), policy, old, advantage, clip_high=0.28, dual_clip=1.5)
    agrees(lossary.grpo, full, policy, old, reference, advantage, clip_high=0.28)


@pytest.fixture
def tokens() -> tuple[Any, Any]:
    rng = np.random.default_rng(11)
    lengths = np.array([7, 3, 0, 1, 7, 5])
    return rng.standard_normal((6, 7)), np.arange(7) < lengths[:, None]


def test_averages_over_tokens_are_trls(tokens: tuple[Any, Any]) -> None:  # GRPOTrainer._compute_loss, by loss_type
    values, mask = tokens
    summed, counts = (values * mask).sum(1), mask.sum(1)
    by_answer = summed / np.maximum(counts, 1)  # an answer without tokens is an answer all the same
    np.testing.assert_allclose(average_tokens(values, mask, "grpo"), by_answer.mean(), rtol=1e-14)
    np.testing.assert_allclose(average_tokens(values, mask, "dapo"), summed.sum() / counts.sum(), rtol=1e-14)
    found = average_tokens(values, mask, "dr_grpo", length=12)
    np.testing.assert_allclose(found, summed.sum() / (6 * 12), rtol=1e-14)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_advantages_are_trls(scale: Any) -> None:  # GRPOTrainer._generate_and_score_completions, by scale_rewards
    rewards = torch.tensor(np.random.default_rng(12).standard_normal(12))
    grouped = rewards.reshape(-1, 4)
    centred = grouped - grouped.mean(1, keepdim=True)
    deviation = {"group": grouped.std(1, keepdim=True), "batch": rewards.std(), "none": torch.tensor(1.0 - 1e-4)}
    expected = (centred / (deviation[scale] + 1e-4)).reshape(-1)
    torch.testing.assert_close(group_advantages(rewards, 4, scale=scale), expected, rtol=1e-12, atol=1e-14)


# --- what the papers derive -----------------------------------------------------------------------------------------


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max())
    return e / e.sum()


def test_the_minimum_of_dpo_is_the_best_policy_under_the_penalty() -> None:
    """Preferences drawn from rewards r lead to reference * exp(r / beta), whatever is compared with what."""
    beta, reward = 0.5, np.array([0.3, -1.0, 0.8, 0.0])
    reference = softmax(np.array([1.0, 0.0, -0.5, 0.2]))
    best = reference * np.exp(reward / beta)
    best /= best.sum()
    first, second = np.nonzero(~np.eye(4, dtype=bool))
    weight = 1 / (1 + np.exp(reward[second] - reward[first]))  # how often the first of the pair is chosen
    logits = np.zeros(4)
    for _ in range(4000):
        policy = np.log(softmax(logits))
        arrays = policy[first], policy[second], np.log(reference)[first], np.log(reference)[second]
        up, down = lossary.dpo.grad(*arrays, beta=beta, weight=weight, reduction="mean")
        slope = np.bincount(first, up, 4) + np.bincount(second, down, 4)
        logits -= 4.0 * (slope - softmax(logits) * slope.sum())
    np.testing.assert_allclose(softmax(logits), best, rtol=1e-6)


def test_what_each_loss_of_pairs_is_content_with() -> None:
    lead = np.linspace(-40, 40, 801)
    nothing = np.zeros_like(lead)
    pairs = (lead, nothing, nothing, nothing)
    assert (lossary.dpo.grad(*pairs)[0] < 0).all()  # never
    smoothed = lossary.dpo.bind(label_smoothing=0.2, beta=0.1)
    at = math.log(0.8 / 0.2) / 0.1
    assert abs(smoothed.grad(at, 0.0, 0.0, 0.0)[0]) < 1e-16
    assert lead[np.argmin(smoothed(*pairs))] == pytest.approx(at, abs=0.06)
    assert lead[np.argmin(lossary.ipo(*pairs, tau=0.05))] == pytest.approx(10.0)
    assert (lossary.dpo_hinge.grad(*pairs, beta=0.1)[0] == np.where(lead < 10.0, -0.1, 0.0)).all()
    robust = lossary.robust_dpo.grad(*pairs, beta=0.1, flip_rate=0.25)[0]
    assert (robust < -0.1 * 0.25 / 0.5 + 1e-15).all()  # the pull never ends: the value has no bound


def test_robust_dpo_is_unbiased_and_conservative_dpo_is_not() -> None:
    c, r, rc, rr = log_probabilities(13, 4)

    def averaged(loss: Any) -> Any:
        return 0.7 * loss(c, r, rc, rr) + 0.3 * loss(r, c, rr, rc)

    clean = lossary.dpo(c, r, rc, rr)
    np.testing.assert_allclose(averaged(lossary.robust_dpo.bind(flip_rate=0.3)), clean, rtol=1e-10, atol=1e-13)
    assert not np.allclose(averaged(lossary.dpo.bind(label_smoothing=0.3)), clean, rtol=0.05)


def test_estimators_of_the_divergence_and_their_gradients_in_expectation() -> None:
    """Exactly, over all actions of a softmax policy: no sampling."""
    logits = np.array([0.5, -1.0, 2.0, 0.1, 0.0])
    policy, reference = np.log(softmax(logits)), np.log(softmax(np.array([0.0, 0.3, 1.0, -2.0, 0.5])))
    p, q = np.exp(policy), np.exp(reference)
    forward, backward = (p * (policy - reference)).sum(), (q * (reference - policy)).sum()
    jacobian = np.eye(5) - p  # of the log-probabilities in the logits
    of_forward = p * (policy - reference - forward)
    of_backward = p - q
    value, grad = {}, {}
    for name in ("kl_k1", "kl_k2", "kl_k3"):
        value[name], slope = lossary.get(name).value_and_grad(policy, reference)
        grad[name] = (p * slope) @ jacobian
    assert (p * value["kl_k1"]).sum() == pytest.approx(forward, rel=1e-14)
    assert (p * value["kl_k3"]).sum() == pytest.approx(forward, rel=1e-14)
    assert (p * value["kl_k2"]).sum() != pytest.approx(forward, rel=0.05)
    assert (value["kl_k3"] >= 0).all() and (value["kl_k1"] < 0).any()
    np.testing.assert_allclose(grad["kl_k1"], 0, atol=1e-16)
    np.testing.assert_allclose(grad["kl_k2"], of_forward, rtol=1e-12)
    np.testing.assert_allclose(grad["kl_k3"], of_backward, rtol=1e-12)
    spread = {k: (p * (v - (p * v).sum()) ** 2).sum() for k, v in value.items()}
    near = lossary.kl_k1(policy, policy + 0.01), lossary.kl_k3(policy, policy + 0.01)
    assert spread["kl_k3"] < spread["kl_k1"] and backward > 0 and (np.abs(near[1]) < np.abs(near[0]) / 100).all()


def test_a_policy_gradient_is_the_gradient_of_the_expected_reward() -> None:
    logits, reward = np.array([0.5, -1.0, 2.0]), np.array([1.0, 5.0, -2.0])
    p = softmax(logits)
    slope = lossary.policy_gradient.grad(np.log(p), reward - 0.7)  # the baseline does not matter
    np.testing.assert_allclose((p * slope) @ (np.eye(3) - p), -p * (reward - p @ reward), rtol=1e-13)
    same = lossary.ppo_clip.grad(np.log(p), np.log(p), reward - 0.7)
    np.testing.assert_array_equal(same, slope)  # at the policy that drew the data the ratio is 1


@pytest.mark.parametrize("name", ["ppo_clip", "grpo"])
def test_a_policy_learns_what_is_rewarded(name: str) -> None:
    """Groups of answers from a softmax over five, of which the third is right."""
    rng = np.random.default_rng(14)
    logits = np.zeros(5)
    reference = np.log(softmax(logits))
    for _ in range(60):
        old = np.log(softmax(logits))
        answers = rng.choice(5, 32, p=np.exp(old))
        advantage = group_advantages(answers == 2, 8)
        for _ in range(3):
            policy = np.log(softmax(logits))
            arrays = (policy[answers], old[answers], reference[answers], advantage)
            if name == "ppo_clip":
                arrays = (*arrays[:2], advantage)
            slope = np.bincount(answers, lossary.get(name).grad(*arrays, reduction="mean"), 5)
            logits -= slope - softmax(logits) * slope.sum()
    assert softmax(logits)[2] > 0.9


def test_one_token_of_grpo_is_the_clipped_ratio_and_the_divergence() -> None:
    p, o, q, a = (np.random.default_rng(15).standard_normal((4, 50)) * 2).tolist()
    for order in ("__call__", "grad", "hess"):
        whole = getattr(lossary.grpo, order)(p, o, q, a, beta=0.3)
        parts = getattr(lossary.ppo_clip, order)(p, o, a), getattr(lossary.kl_k3, order)(p, q)
        np.testing.assert_allclose(whole, parts[0] + 0.3 * parts[1], rtol=1e-12)


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_answers_are_the_sums_of_their_tokens_and_nothing_else() -> None:
    rng = np.random.default_rng(17)
    values = -rng.uniform(0, 5, (2, 3, 6))
    mask = rng.random((2, 3, 6)) < 0.6
    mask[0, 0] = False
    spoilt = np.where(mask, values, rng.choice([np.nan, -np.inf, 7.0], values.shape))
    expected = np.array([[sum(v[m]) for v, m in zip(*rows, strict=True)] for rows in zip(values, mask, strict=True)])
    counts = np.maximum(mask.sum(-1), 1)
    np.testing.assert_allclose(sequence_log_probability(spoilt, mask), expected, rtol=1e-14)
    np.testing.assert_allclose(sequence_log_probability(spoilt, mask, average=True), expected / counts, rtol=1e-14)
    tensor = torch.tensor(spoilt, requires_grad=True)
    for average in (False, True):
        found = sequence_log_probability(tensor, torch.tensor(mask), average=average)
        np.testing.assert_allclose(found.detach().numpy(), expected / (counts if average else 1), rtol=1e-14)
        (grad,) = torch.autograd.grad(found.sum(), tensor)
        np.testing.assert_array_equal(grad.numpy(), mask / (counts[..., None] if average else 1))
    assert sequence_log_probability(values.astype(np.float32), mask).dtype == np.float32
    assert sequence_log_probability(torch.tensor(values).bfloat16(), mask).dtype == torch.float32
    assert sequence_log_probability([-1.0, -2.0], [True, True]) == -3.0


def test_tokens_and_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"mask: got shape \(3,\), expected the shape of the values, \(2, 4\)"):
        sequence_log_probability(np.zeros((2, 4)), np.ones(3))
    with pytest.raises(DomainError, match="mask: expected booleans"):
        sequence_log_probability([[-1.0, -2.0]], [[0.5, 1.0]])
    with pytest.raises(ShapeError, match="expected a last axis of tokens"):
        sequence_log_probability(-1.0, True)


def test_from_logits_of_tokens_to_the_gradient_of_the_network() -> None:
    """The whole way on tensors: cross-entropy per token, the answer, dpo; prompt and padding stay untouched."""
    torch.manual_seed(0)
    logits = torch.randn(2, 2, 5, 7, dtype=torch.float64, requires_grad=True)  # chosen and rejected, 2 pairs
    labels = torch.randint(0, 7, (2, 2, 5))
    mask = torch.tensor([[[0, 1, 1, 1, 0], [0, 0, 1, 1, 1]], [[0, 1, 0, 0, 0], [1, 1, 1, 1, 1]]], dtype=torch.bool)
    answers = sequence_log_probability(-lossary.softmax_cross_entropy(logits, labels), mask)
    value = lossary.mean(lossary.dpo(answers[0], answers[1], answers[0].detach() + 1, answers[1].detach()))
    (grad,) = torch.autograd.grad(value, logits)
    by_hand = torch.log_softmax(logits, -1).gather(-1, labels[..., None])[..., 0].masked_fill(~mask, 0).sum(-1)
    reference = by_hand.detach() + torch.tensor([[1.0], [0.0]])
    expected = -functional.logsigmoid(0.1 * (by_hand[0] - reference[0] - by_hand[1] + reference[1])).mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(grad, torch.autograd.grad(expected, logits)[0])
    assert (grad[~mask] == 0).all() and (grad[mask].abs().sum(-1) > 0).all()


# --- advantages -----------------------------------------------------------------------------------------------------


def by_loops(rewards: Any, labels: Any, scale: str, epsilon: float) -> list[float]:
    found = []
    for reward, label in zip(rewards, labels, strict=True):
        group = [r for r, other in zip(rewards, labels, strict=True) if other == label]
        mean = sum(group) / len(group)
        others = (sum(group) - reward) / (len(group) - 1) if len(group) > 1 else reward
        whole = rewards if scale == "batch" else group
        deviation = np.std(whole, ddof=1) if len(whole) > 1 else 0.0
        if scale in ("group", "batch"):
            found.append((reward - mean) / (deviation + epsilon) if deviation else 0.0)
        else:
            found.append(reward - (others if scale == "leave one out" else mean))
    return found


@pytest.mark.parametrize("scale", ["group", "batch", "none", "leave one out"])
def test_advantages_against_loops(scale: Any) -> None:
    rng = np.random.default_rng(18)
    rewards, labels = rng.standard_normal(11), np.array([3, 1, 3, 3, 1, 9, 2, 2, 3, 1, 2])
    expected = by_loops(rewards.tolist(), labels.tolist(), scale, 1e-4)
    np.testing.assert_allclose(group_advantages(rewards, labels, scale=scale), expected, rtol=1e-12, atol=1e-15)
    words = [f"prompt {label}" for label in labels]
    np.testing.assert_array_equal(
        group_advantages(rewards, words, scale=scale), group_advantages(rewards, labels, scale=scale)
    )
    consecutive = np.repeat([5, 2, 8], 4)
    expected = by_loops([*rewards.tolist(), 0.5], consecutive.tolist(), scale, 0.1)
    twelve = np.append(rewards, 0.5)
    for group in (4, np.int64(4), consecutive):
        np.testing.assert_allclose(
            group_advantages(twelve, group, scale=scale, epsilon=0.1), expected, rtol=1e-12, atol=1e-15
        )
    table = group_advantages(twelve.reshape(3, 4), 4, scale=scale, epsilon=0.1)
    np.testing.assert_allclose(table, np.reshape(expected, (3, 4)), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("epsilon", [0.0, 1e-4])
def test_a_group_that_agrees_teaches_exactly_nothing(epsilon: float) -> None:
    rewards = [0.1] * 7 + [0.3] * 7  # seven times 0.1 does not add up to 0.7
    for group in (7, [0] * 7 + [1] * 7):
        for scale in ("group", "none", "leave one out"):
            assert (group_advantages(rewards, group, scale=scale, epsilon=epsilon) == 0).all()
    assert (group_advantages([1.0, 2.0], 1, epsilon=epsilon) == 0).all()
    assert group_advantages([], 4).shape == (0,)


def test_a_reward_that_is_lost_spoils_its_own_group_alone() -> None:
    for group in (2, [0, 0, 1, 1]):
        found = group_advantages([np.nan, 1.0, 1.0, 0.0], group, scale="none")
        assert np.isnan(found[:2]).all() and found[2:].tolist() == [0.5, -0.5]


def test_advantages_are_constants_in_the_type_of_the_rewards() -> None:
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0], requires_grad=True)
    for group, as_given in ((2, 2), (torch.tensor([0, 1, 1, 0]), [0, 1, 1, 0])):
        found = group_advantages(rewards, group)
        assert not found.requires_grad and found.dtype == torch.float32
        expected = group_advantages(rewards.detach().numpy(), as_given)
        assert expected.dtype == np.float32
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    assert group_advantages(np.array([True, False]), 2, scale="none").tolist() == [0.5, -0.5]


def test_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"group: got 3, expected the number of answers .* divides the 4 answers"):
        group_advantages([1.0, 2.0, 3.0, 4.0], 3)
    with pytest.raises(ShapeError, match=r"group: got shape \(3,\), expected one label for each answer, \(4,\)"):
        group_advantages([1.0, 2.0, 3.0, 4.0], [0, 0, 1])
    with pytest.raises(ParameterError, match=r"scale: got 'groups', expected one of group, .*did you mean group"):
        group_advantages([1.0, 2.0], 2, scale="groups")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="epsilon: got -1"):
        group_advantages([1.0, 2.0], 2, epsilon=-1)


# --- averages -------------------------------------------------------------------------------------------------------


def test_dapo_averages_each_group_and_then_the_groups(tokens: tuple[Any, Any]) -> None:
    values, mask = tokens

    def mean_of(rows: list[int]) -> float:
        return float((values[rows] * mask[rows]).sum() / max(mask[rows].sum(), 1))

    expected = np.mean([mean_of([0, 1]), mean_of([2, 3]), mean_of([4, 5])])
    np.testing.assert_allclose(average_tokens(values, mask, "dapo", group=2), expected, rtol=1e-14)
    expected = np.mean([mean_of([0, 2, 5]), mean_of([1]), mean_of([3, 4])])
    found = average_tokens(values, mask, "dapo", group=[7, 3, 7, 1, 1, 7])
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    one_each = average_tokens(values, mask, "dapo", group=1)
    np.testing.assert_allclose(one_each, average_tokens(values, mask, "grpo"), rtol=1e-14)


def test_pieces_of_a_batch_add_up_to_the_whole(tokens: tuple[Any, Any]) -> None:
    values, mask = tokens
    cases: list[tuple[str, dict[str, Any], float]] = [
        ("grpo", {}, 6),
        ("dapo", {}, mask.sum()),
        ("dapo", {"group": 2}, 3),
        ("dr_grpo", {"length": 9}, 54),
    ]
    for how, options, denominator in cases:
        whole = average_tokens(values, mask, how, **options)  # type: ignore[arg-type]
        parts = [
            average_tokens(values[s], mask[s], how, denominator=denominator, **options)  # type: ignore[arg-type]
            for s in (slice(0, 2), slice(2, 6))
        ]
        np.testing.assert_allclose(sum(parts), whole, rtol=1e-13)


def test_averages_are_differentiable_and_padding_has_no_gradient(tokens: tuple[Any, Any]) -> None:
    values, mask = tokens
    spoilt = torch.tensor(np.where(mask, values, np.nan), requires_grad=True)
    share = {
        "grpo": mask / np.maximum(mask.sum(1), 1)[:, None] / 6,
        "dapo": mask / mask.sum(),
        "dr_grpo": mask / (6 * 9),
    }
    for how, expected in share.items():
        length = 9 if how == "dr_grpo" else None
        found = average_tokens(spoilt, torch.tensor(mask), how, length=length)  # type: ignore[arg-type]
        assert found.ndim == 0 and found.dtype == torch.float64
        (grad,) = torch.autograd.grad(found, spoilt)
        np.testing.assert_allclose(grad.numpy(), expected, rtol=1e-14)
        np.testing.assert_allclose(found.item(), (expected * values).sum(), rtol=1e-13)
    nothing = average_tokens(spoilt, torch.zeros(6, 7, dtype=torch.bool), "dapo")
    assert nothing.item() == 0 and (torch.autograd.grad(nothing, spoilt)[0] == 0).all()
    assert average_tokens(np.zeros((0, 3)), np.zeros((0, 3), bool), "grpo") == 0


def test_averages_that_are_not_meant_are_refused(tokens: tuple[Any, Any]) -> None:
    values, mask = tokens
    with pytest.raises(ParameterError, match="how: got 'drgrpo', expected one of grpo, dapo, dr_grpo"):
        average_tokens(values, mask, "drgrpo")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="length: dr_grpo divides by a constant"):
        average_tokens(values, mask, "dr_grpo")
    with pytest.raises(ParameterError, match="length: got 9, but dapo divides by the tokens that are there"):
        average_tokens(values, mask, "dapo", length=9)
    with pytest.raises(ParameterError, match="length: got 0, expected a number > 0"):
        average_tokens(values, mask, "dr_grpo", length=0)
    with pytest.raises(ParameterError, match="group: only dapo has a mean for each group"):
        average_tokens(values, mask, "grpo", group=2)
    with pytest.raises(ParameterError, match="denominator: got 0"):
        average_tokens(values, mask, "grpo", denominator=0)
    with pytest.raises(ShapeError, match="got 1 dimensions, expected two"):
        average_tokens(values[0], mask[0], "grpo")


def test_reference_point_is_a_constant() -> None:
    policy = torch.tensor([-1.0, -2.0], requires_grad=True)
    found = reference_point(policy, torch.tensor([-3.0, -3.0]))
    assert found.item() == 1.5 and not found.requires_grad
    with pytest.raises(ShapeError, match=r"\(2,\) but reference_log_probability has shape \(3,\)"):
        reference_point([-1.0, -2.0], [-1.0, -2.0, -3.0])


def test_from_hidden_states_to_the_gradient_of_the_head() -> None:
    """The same through `lossary.token_log_probs`, which never holds the logits."""
    torch.manual_seed(1)
    hidden = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    labels, mask = torch.randint(0, 11, (2, 3, 4)), torch.rand(2, 3, 4) < 0.7

    def grads(tokens: Any) -> Any:
        answers = sequence_log_probability(tokens, mask, average=True)
        return torch.autograd.grad(lossary.mean(lossary.simpo(answers[0], answers[1])), (hidden, weight))

    flat = lossary.token_log_probs(hidden.reshape(-1, 5), weight, labels.reshape(-1))
    expected = grads(-lossary.softmax_cross_entropy(hidden @ weight.T, labels))
    for found, reference in zip(grads(flat.reshape(labels.shape)), expected, strict=True):
        torch.testing.assert_close(found, reference)


@pytest.mark.parametrize("rewards", [[1.0, 0.0, 1.0, 1.0], np.array([1.0, 0.0, 1.0, 1.0])])
@pytest.mark.parametrize(
    "group",
    [
        ["b", "b", "a", "a"],
        ("b", "b", "a", "a"),
        np.array(["b", "b", "a", "a"]),
        np.array(["b", "b", "a", "a"], object),
        np.array([b"b", b"b", b"a", b"a"]).astype("U1"),
        [7, 7, -1, -1],
        np.array([7, 7, 1, 1], np.uint8),
    ],
    ids=repr,
)
def test_groups_may_be_named_by_whatever_holds_the_names(rewards: Any, group: Any) -> None:
    expected = group_advantages(rewards, 2)
    np.testing.assert_allclose(group_advantages(rewards, group), expected)
    nested = np.asarray(rewards).reshape(2, 2)
    np.testing.assert_allclose(
        group_advantages(nested, np.asarray(group).reshape(2, 2)), np.asarray(expected).reshape(2, 2)
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"group": None}, "group: got None, expected a label"),
        ({"group": [None] * 4}, "group: got .None"),
        ({"group": [float("nan"), 1.0, 1.0, 1.0]}, "group: got NaN as a label"),
        ({"group": "aabb"}, "group: got shape|group: got 'aabb'"),
        ({"group": 2, "epsilon": None}, "epsilon: got None, expected a number >= 0"),
        ({"group": 2, "epsilon": "a"}, "epsilon: got 'a'"),
        ({"group": 2, "scale": None}, "scale: got None"),
    ],
)
def test_degenerate_options_of_advantages_are_refused_in_words(options: dict[str, Any], said: str) -> None:
    with pytest.raises(LossaryError, match=said):
        group_advantages([1.0, 0.0, 1.0, 1.0], **options)
