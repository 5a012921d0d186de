"""Preference losses at their ends: certain and hopeless answers, clipped ratios, policies that agree or waver."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mpmath import mp, mpf

import lossary
from lossary.errors import DomainError

torch = pytest.importorskip("torch")

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("name", ["dpo", "robust_dpo", "simpo", "cpo", "bradley_terry"])
def test_hopeless_and_certain_pairs_have_exact_values_and_live_gradients(name: str) -> None:
    loss = lossary.get(name)
    for far in (1e4, 1e300):
        arrays = [np.array([-far, 0.0]), np.array([0.0, -far]), *([np.zeros(2)] * (len(loss.arguments) - 2))]
        value, (up, down) = loss.value_and_grad(*arrays)
        assert np.isfinite([value, up, down]).all()
        scale = loss.defaults.get("beta", 1.0)
        assert up[0] <= -scale and down[0] == pytest.approx(-up[0] - (name == "cpo"), rel=1e-12)
        hopeless = scale * far * (1 + 1 / 8 * (name == "robust_dpo") + 10 * (name == "cpo"))
        assert value[0] == pytest.approx(hopeless, rel=1e-3)


def test_odds_of_certain_and_impossible_answers() -> None:
    impossible = -np.array([745.0, 1e4, 1e300])
    value, (up, down) = lossary.orpo.value_and_grad(impossible, np.full(3, -1.0), beta=1.0)
    assert np.isfinite(value).all() and (up == -2).all() and np.isfinite(down).all()
    value, (up, down) = lossary.orpo.value_and_grad(np.full(3, -1.0), impossible)
    assert (value == 1).all() and (up == -1).all() and (down[1:] == 0).all()
    value, (up, down) = lossary.orpo.value_and_grad([0.0, 0.0, -1e-300], [-1.0, 0.0, -1e-300], beta=1.0)
    assert value.tolist() == [0.0, math.log(2.0), math.log(2.0)] and not np.isnan([up, down]).any()
    assert lossary.orpo([-1.0], [0.0])[0] == math.inf
    with pytest.raises(DomainError, match=r"chosen: got 0.5 at index 0, expected values in \(-inf, 0\]"):
        lossary.orpo([0.5], [-1.0])


def test_where_the_ratio_is_clipped_and_where_not() -> None:
    ratio = np.array([0.5, 0.8, 1.0, 1.2, 5.0])
    log_ratio = np.log(ratio)
    for advantage, counted in ((2.0, np.minimum(ratio, 1.2)), (-2.0, np.maximum(ratio, 0.8))):
        value, grad = lossary.ppo_clip.value_and_grad(log_ratio, np.zeros(5), np.full(5, advantage))
        np.testing.assert_allclose(value, -advantage * counted, rtol=1e-15)
        inside = ratio < 1.1 if advantage > 0 else ratio > 0.9
        np.testing.assert_allclose(grad[inside], -(advantage * ratio)[inside], rtol=1e-15)
        outside = ratio > 1.3 if advantage > 0 else ratio < 0.7
        assert (grad[outside] == 0).all()
    both = lossary.ppo_clip.bind(dual_clip=3.0)
    value, grad = both.value_and_grad([math.log(5.0)], [0.0], [-2.0])
    assert value[0] == 6.0 and grad[0] == 0
    value, grad = both.value_and_grad([800.0, 800.0, 800.0], [0.0] * 3, [0.0, 1.0, -1.0])
    assert value.tolist() == [0.0, -1.2, 3.0] and grad.tolist() == [0.0, 0.0, 0.0]
    value, grad = lossary.ppo_clip.value_and_grad([800.0, 800.0], [0.0] * 2, [0.0, -1.0])
    assert value.tolist() == [0.0, math.inf] and grad.tolist() == [0.0, math.inf]
    at_once = lossary.ppo_clip.grad([0.0, 0.0], [0.0, 0.0], [1.0, -1.0], clip_low=0.0, clip_high=0.0)
    assert at_once.tolist() == [-1.0, 1.0]  # bounds of 0 let the first step through


def test_divergences_of_policies_that_agree_keep_their_digits() -> None:
    mp.dps = 60
    for difference in (1e-3, 1e-8, 1e-15):
        policy, reference = np.array([-1.0 - difference]), np.array([-1.0])
        d = mpf(float(reference[0])) - mpf(float(policy[0]))
        value, grad = lossary.kl_k3.value_and_grad(policy, reference)
        assert abs(mpf(value[0]) / (mp.exp(d) - d - 1) - 1) < 4 * EPS
        assert abs(mpf(grad[0]) / (1 - mp.exp(d)) - 1) < 4 * EPS
    assert lossary.kl_k3([-1.0], [900.0])[0] == math.inf and lossary.kl_k3([900.0], [-1.0])[0] == 900.0


def test_entropy_of_uniform_masked_and_certain_rows() -> None:
    logits = np.random.default_rng(16).standard_normal((20, 6)) * 3
    moving = torch.tensor(logits, requires_grad=True)
    expected = -torch.distributions.Categorical(logits=moving).entropy()
    value, grad = lossary.entropy_bonus.value_and_grad(logits)
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(grad, torch.autograd.grad(expected.sum(), moving)[0].numpy(), rtol=1e-11, atol=1e-15)
    value, grad = lossary.entropy_bonus.value_and_grad([[0.0, 0.0, -np.inf], [5.0, -np.inf, -np.inf], [-np.inf] * 3])
    np.testing.assert_allclose(value, [-math.log(2), 0, 0], rtol=1e-15)
    assert (grad == 0).all()
    hess = lossary.entropy_bonus.hess([[0.0, 0.0, -np.inf]])
    np.testing.assert_allclose(hess, [[0.25, 0.25, 0.0]], rtol=1e-15)
    nearly = np.array([1e-9, -2e-9, 0.0, 1e-9], dtype=np.float32)  # a policy at its start, in float32
    np.testing.assert_allclose(lossary.entropy_bonus.grad(nearly), nearly / 4, rtol=1e-6)
    # What all logits have in common does not matter; here every sum is exact, so neither do its digits.
    logits = np.array([2.0**-20, -(2.0**-20), 0.0, -np.inf])
    for common in (2.0**20, -(2.0**20)):
        np.testing.assert_array_equal(lossary.entropy_bonus.grad(logits + common), lossary.entropy_bonus.grad(logits))
