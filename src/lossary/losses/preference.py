"""Preference losses: policies and reward models trained on ranked answers, as functions of log-probabilities.

These are thin layers over log-probabilities, and know nothing of logits or tokens: those of whole answers, which
`lossary.preference.sequence_log_probability` adds up from tokens, for the losses on pairs, and those of single tokens
(or of any actions) for the policy gradients. Advantages, old log-probabilities and those of a reference policy are
data: the hand-written gradient is that in the policy's own log-probabilities. A log-probability may be a log-density,
above 0, where the policy is continuous.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.catalogue import loss

__all__ = [
    "bradley_terry",
    "cpo",
    "dpo",
    "dpo_hinge",
    "entropy_bonus",
    "grpo",
    "ipo",
    "kl_k1",
    "kl_k2",
    "kl_k3",
    "kto",
    "orpo",
    "policy_gradient",
    "ppo_clip",
    "robust_dpo",
    "simpo",
]

PAIR = "(),()->()"
REFERRED_PAIR = "(),(),(),()->()"
OF_PAIR = ("chosen", "rejected")


# --- what the pairs share -------------------------------------------------------------------------------------------


def log_ratio_lead(xp: Namespace, chosen: Any, rejected: Any, reference_chosen: Any, reference_rejected: Any) -> Any:
    """By how much more the policy has moved towards the chosen answer than towards the rejected one."""
    chosen_log_ratio = chosen - reference_chosen
    rejected_log_ratio = rejected - reference_rejected
    return chosen_log_ratio - rejected_log_ratio


# --- pairs of answers, with a reference policy ----------------------------------------------------------------------


@loss(
    family="preference",
    signature=PAIR,
    input="score",
    aliases=("reward_model_loss", "pairwise_logistic"),
    formula=r"-\log \sigma(r_w - r_l - \mu) + c\,(r_w + r_l)^2",
    likelihood="Bradley-Terry choice: P(chosen beats rejected) = sigmoid(chosen - rejected - margin); with centering, "
    "a Gaussian prior on the sum of the two",
    references=(
        "Bradley and Terry 1952, doi:10.2307/2334029",
        "Ouyang et al. 2022, InstructGPT, arXiv:2203.02155",
        "Touvron et al. 2023, Llama 2 (margin), arXiv:2307.09288",
        "Eisenstein et al. 2023, Helping or herding (centering), arXiv:2312.09244",
    ),
    parameters={"margin": "real", "centering": "[0, inf)"},
    wrt=OF_PAIR,
    properties=("convex", "smooth"),
)
def bradley_terry(
    xp: Namespace, chosen: Any, rejected: Any, *, margin: float = 0.0, centering: float = 0.0
) -> Iterator[Any]:
    """The cost of a human's choice between two answers, given a reward model's score of each.

    Only the difference of the scores counts, in nats of log-odds. `margin` is by how much the chosen one should lead: a
    number, or one for each pair, as Llama 2 takes it from how sure the annotators were. Scores are free to drift
    together; `centering` is the factor of ``(chosen + rejected)^2``, which holds them around 0 (TRL:
    `center_rewards_coefficient`, with 0.01 as a usual value).

    >>> import lossary
    >>> lossary.bradley_terry([1.0, 100.0], [1.0, 0.0]).round(6)     # a coin toss; no doubt at all
    array([0.693147, 0.      ])
    """
    lead = chosen - rejected - margin
    total = chosen + rejected
    yield numerics.softplus(xp, -lead) + centering * total * total
    pull = numerics.sigmoid(xp, -lead)
    drift = 2 * centering * total
    yield drift - pull, drift + pull
    curve = numerics.sigmoid_slope(xp, lead) + 2 * centering
    yield curve, curve


@loss(
    family="preference",
    signature=REFERRED_PAIR,
    input="log-likelihood",
    aliases=("dpo_sigmoid", "direct_preference_optimization", "direct_preference_optimisation"),
    formula=r"-(1 - \varepsilon) \log \sigma(\beta h) - \varepsilon \log \sigma(-\beta h),\quad "
    r"h = \log \pi(y_w) - \log \pi_0(y_w) - \log \pi(y_l) + \log \pi_0(y_l)",
    likelihood="Bradley-Terry choice between rewards beta log(policy / reference): P(chosen) = sigmoid(lead)",
    references=(
        "Rafailov et al. 2023, Direct preference optimization, arXiv:2305.18290",
        "Mitchell 2023, A note on DPO with noisy preferences (label smoothing)",
    ),
    parameters={"beta": "(0, inf)", "label_smoothing": "[0, 0.5]"},
    wrt=OF_PAIR,
    properties=("convex", "lipschitz", "smooth"),
)
def dpo(
    xp: Namespace,
    chosen: Any,
    rejected: Any,
    reference_chosen: Any,
    reference_rejected: Any,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> Iterator[Any]:
    """Choose the better of two answers, the policy itself being the reward model (direct preference optimisation).

    All four are log-probabilities of a whole answer given its prompt: sums over its tokens, not means. `beta` says how
    dear it is to leave the reference, and is the slope of the loss: large keeps the policy near. `label_smoothing` is
    the share of labels that are believed wrong (conservative DPO): the loss is then least at a lead of ``log((1 - e) /
    e)`` and no longer at infinity; `robust_dpo` corrects for such labels instead. Without a reference, pass zeros.

    The gradient pushes the rejected answer down exactly as it pulls the chosen one up, so both may become less likely.

    >>> import lossary
    >>> value, (up, down) = lossary.dpo.value_and_grad([-10.0], [-12.0], [-10.0], [-12.0])     # as the reference does
    >>> value.round(6), up, down
    (array([0.693147]), array([-0.05]), array([0.05]))
    """
    lead = beta * log_ratio_lead(xp, chosen, rejected, reference_chosen, reference_rejected)
    yield numerics.doubted_logistic(xp, lead, label_smoothing)
    slope = beta * numerics.doubted_logistic_slope(xp, lead, label_smoothing)
    yield slope, -slope
    curve = beta * beta * numerics.sigmoid_slope(xp, lead)
    yield curve, curve


@loss(
    family="preference",
    signature=REFERRED_PAIR,
    input="log-likelihood",
    aliases=("rdpo",),
    formula=r"\frac{-(1 - \varepsilon) \log \sigma(\beta h) + \varepsilon \log \sigma(-\beta h)}{1 - 2 \varepsilon}",
    references=("Chowdhury, Kini and Natarajan 2024, Provably robust DPO, arXiv:2403.00409",),
    parameters={"beta": "(0, inf)", "flip_rate": "[0, 0.5)"},
    wrt=OF_PAIR,
    properties=("convex", "lipschitz", "smooth", "robust"),
)
def robust_dpo(
    xp: Namespace,
    chosen: Any,
    rejected: Any,
    reference_chosen: Any,
    reference_rejected: Any,
    *,
    beta: float = 0.1,
    flip_rate: float = 0.1,
) -> Iterator[Any]:
    """DPO that is right on average although some of the pairs are the wrong way round.

    `flip_rate` is the probability that a pair was swapped: averaged over such swaps the loss is exactly that of `dpo`
    on the true pairs, which conservative DPO (`label_smoothing` there) is not. TRL calls it `label_smoothing` too, in
    its loss of type robust. The price is variance, and a value without lower bound: a large lead earns ``flip_rate /
    (1 - 2 flip_rate)`` for every nat. `beta` is that of `dpo`.

    >>> import lossary
    >>> told, swapped = ([-3.0], [-5.0], [-4.0], [-4.0]), ([-5.0], [-3.0], [-4.0], [-4.0])
    >>> robust = lossary.robust_dpo.bind(flip_rate=0.25)
    >>> (0.75 * robust(*told) + 0.25 * robust(*swapped)).round(6), lossary.dpo(*told).round(6)
    (array([0.598139]), array([0.598139]))
    """
    lead = beta * log_ratio_lead(xp, chosen, rejected, reference_chosen, reference_rejected)
    # softplus(lead) is softplus(-lead) + lead: the difference of the two costs becomes one of them and a line.
    reward = flip_rate / (1 - 2 * flip_rate)
    yield numerics.softplus(xp, -lead) - reward * lead
    pull = beta * (numerics.sigmoid(xp, -lead) + reward)
    yield -pull, pull
    curve = beta * beta * numerics.sigmoid_slope(xp, lead)
    yield curve, curve


@loss(
    family="preference",
    signature=REFERRED_PAIR,
    input="log-likelihood",
    aliases=("identity_preference_optimization", "identity_preference_optimisation"),
    formula=r"\left(h - \frac{1}{2\tau}\right)^2,\quad "
    r"h = \log \pi(y_w) - \log \pi_0(y_w) - \log \pi(y_l) + \log \pi_0(y_l)",
    references=("Azar et al. 2023, A general theoretical paradigm to understand human preferences, arXiv:2310.12036",),
    parameters={"tau": "(0, inf)"},
    wrt=OF_PAIR,
    properties=("convex", "smooth", "constant curvature"),
)
def ipo(
    xp: Namespace, chosen: Any, rejected: Any, reference_chosen: Any, reference_rejected: Any, *, tau: float = 0.1
) -> Iterator[Any]:
    """The lead of the chosen answer over the rejected one should be a given number, and not ever larger.

    `tau` is the strength of regularisation: the wanted lead is ``1 / (2 tau)`` nats beyond that of the reference. `dpo`
    is never content with a pair that all annotators agree on, and overfits it; this stops. The formula takes the
    log-probabilities of whole answers; TRL, where `tau` is called beta, gives it means over tokens, so that the wanted
    lead does not depend on length: ``sequence_log_probability(..., average=True)`` does the same here.

    >>> import lossary
    >>> lossary.ipo([-5.0, 0.0], [-10.0, -10.0], [-8.0, -8.0], [-8.0, -8.0], tau=0.1)     # leads of 5 and 10
    array([ 0., 25.])
    """
    residual = log_ratio_lead(xp, chosen, rejected, reference_chosen, reference_rejected) - 0.5 / tau
    yield residual * residual
    slope = 2 * residual
    yield slope, -slope
    curve = 2 * xp.ones_like(residual)
    yield curve, curve


@loss(
    family="preference",
    signature=REFERRED_PAIR,
    input="log-likelihood",
    aliases=("slic_hinge", "rso_hinge"),
    formula=r"\max(0,\ \mu - \beta h),\quad h = \log \pi(y_w) - \log \pi_0(y_w) - \log \pi(y_l) + \log \pi_0(y_l)",
    references=(
        "Zhao et al. 2023, SLiC-HF, arXiv:2305.10425",
        "Liu et al. 2023, Statistical rejection sampling improves preference optimization, arXiv:2309.06657",
    ),
    parameters={"beta": "(0, inf)", "margin": "[0, inf)"},
    wrt=OF_PAIR,
    properties=("convex", "lipschitz", "piecewise linear"),
)
def dpo_hinge(
    xp: Namespace,
    chosen: Any,
    rejected: Any,
    reference_chosen: Any,
    reference_rejected: Any,
    *,
    beta: float = 0.1,
    margin: float = 1.0,
) -> Iterator[Any]:
    """The hinge in the place of the logistic cost of `dpo`: a pair that leads by the margin is left alone.

    `beta` is that of `dpo`; a lead of ``margin / beta`` nats is enough. SLiC, where the hinge comes from, has no
    reference (pass zeros, and `beta` 1 for its `margin` in nats) and adds a cross-entropy on the chosen answer.

    >>> import lossary
    >>> lossary.dpo_hinge([-5.0, 0.0], [-10.0, -10.0], [-8.0, -8.0], [-8.0, -8.0])     # leads of 5 and 10
    array([0.5, 0. ])
    """
    violation = margin - beta * log_ratio_lead(xp, chosen, rejected, reference_chosen, reference_rejected)
    yield numerics.positive_part(xp, violation)
    pull = beta * numerics.step(xp, violation)
    yield -pull, pull
    flat = xp.zeros_like(violation)
    yield flat, flat


# --- pairs of answers, without one ----------------------------------------------------------------------------------


@loss(
    family="preference",
    signature=PAIR,
    input="log-likelihood",
    aliases=("simple_preference_optimization", "simple_preference_optimisation"),
    formula=r"-\log \sigma(\beta (a_w - a_l) - \gamma),\quad a = \frac{\log \pi(y)}{|y|}",
    likelihood="Bradley-Terry choice between rewards beta times the mean log-probability of a token: "
    "P(chosen) = sigmoid(lead)",
    references=("Meng, Xia and Chen 2024, SimPO, arXiv:2405.14734",),
    parameters={"beta": "(0, inf)", "gamma": "[0, inf)"},
    wrt=OF_PAIR,
    properties=("convex", "lipschitz", "smooth"),
)
def simpo(xp: Namespace, chosen: Any, rejected: Any, *, beta: float = 2.0, gamma: float = 1.0) -> Iterator[Any]:
    """Choose the better of two answers by their mean log-probability per token; no reference policy is needed.

    Both are means over the tokens of an answer (``sequence_log_probability(..., average=True)``): with sums, the longer
    of two answers would be the worse one. `beta` multiplies them and `gamma` is the lead that is asked for, in the same
    units after that; the paper advises 2 to 2.5 for the one and half of it for the other (TRL's defaults: 0.1 and 0.5).

    >>> import lossary
    >>> lossary.simpo([-1.0], [-1.5]).round(6)          # a lead of exactly gamma is a coin toss
    array([0.693147])
    """
    lead = beta * (chosen - rejected) - gamma
    yield numerics.softplus(xp, -lead)
    pull = beta * numerics.sigmoid(xp, -lead)
    yield -pull, pull
    curve = beta * beta * numerics.sigmoid_slope(xp, lead)
    yield curve, curve


@loss(
    family="preference",
    signature=PAIR,
    input="log-likelihood",
    aliases=("contrastive_preference_optimization", "contrastive_preference_optimisation"),
    formula=r"-(1 - \varepsilon) \log \sigma(\beta d) - \varepsilon \log \sigma(-\beta d) - \alpha \log \pi(y_w),\quad "
    r"d = \log \pi(y_w) - \log \pi(y_l)",
    references=("Xu et al. 2024, Contrastive preference optimization, arXiv:2401.08417",),
    parameters={"beta": "(0, inf)", "alpha": "[0, inf)", "label_smoothing": "[0, 0.5]"},
    wrt=OF_PAIR,
    properties=("convex", "lipschitz", "smooth"),
)
def cpo(
    xp: Namespace, chosen: Any, rejected: Any, *, beta: float = 0.1, alpha: float = 1.0, label_smoothing: float = 0.0
) -> Iterator[Any]:
    """DPO with a uniform reference, and a likelihood term that keeps the chosen answer probable.

    Both are log-probabilities of whole answers. `beta` multiplies their difference; `alpha` weighs the negative
    log-likelihood of the chosen one; `label_smoothing` is that of `dpo`. The likelihood term here is the paper's, of
    the whole answer; TRL takes its mean over the tokens of the batch instead: for that, set `alpha` to 0 and add
    ``nll`` of the tokens.

    >>> import lossary
    >>> lossary.cpo.grad([-10.0], [-10.0])              # both terms pull the chosen answer up
    (array([-1.05]), array([0.05]))
    """
    lead = beta * (chosen - rejected)
    yield numerics.doubted_logistic(xp, lead, label_smoothing) - alpha * chosen
    slope = beta * numerics.doubted_logistic_slope(xp, lead, label_smoothing)
    yield slope - alpha, -slope
    curve = beta * beta * numerics.sigmoid_slope(xp, lead)
    yield curve, curve


@loss(
    family="preference",
    signature=PAIR,
    input="log-likelihood",
    domains={"chosen": "log-probability", "rejected": "log-probability"},
    aliases=("odds_ratio_preference_optimization", "odds_ratio_preference_optimisation"),
    formula=r"-\log p_w - \beta \log \sigma\left(\log p_w - \log(1 - p_w) - \log p_l + \log(1 - p_l)\right)",
    references=("Hong, Lee and Thorne 2024, ORPO, arXiv:2403.07691",),
    parameters={"beta": "[0, inf)"},
    wrt=OF_PAIR,
)
def orpo(xp: Namespace, chosen: Any, rejected: Any, *, beta: float = 0.1) -> Iterator[Any]:
    """Fine-tuning on the chosen answer, and the odds of it against those of the rejected one, in a single stage.

    Both are means of log-probabilities over the tokens of an answer, at most 0: a mean is the log of the geometric mean
    of their probabilities, whose odds are compared. `beta` (lambda in the paper) weighs the comparison. The first term
    is the usual cross-entropy of the chosen answer; TRL's also counts the tokens of the prompt. Two answers that are
    equally likely have an odds ratio of 1, certain ones included.

    >>> import lossary, math
    >>> lossary.orpo([math.log(0.5)], [math.log(0.5)], beta=1.0).round(6)      # log 2 for each of the terms
    array([1.386294])
    """
    chosen = numerics.rounded_into(xp, chosen, None, 0.0)
    rejected = numerics.rounded_into(xp, rejected, None, 0.0)
    # Two certain answers, or two impossible ones, have no log-odds but an odds ratio: 1, like other equal answers.
    extreme = (chosen == rejected) & ((chosen == 0) | (chosen == -xp.inf))
    some_chosen = xp.where(extreme, -xp.ones_like(chosen), chosen)
    some_rejected = xp.where(extreme, -xp.ones_like(rejected), rejected)
    chosen_log_odds = some_chosen - numerics.log1mexp(xp, some_chosen)
    rejected_log_odds = some_rejected - numerics.log1mexp(xp, some_rejected)
    lead = chosen_log_odds - rejected_log_odds
    yield beta * numerics.softplus(xp, -lead) - chosen
    # The log-odds rise with slope 1 / (1 - p).
    chosen_doubt, rejected_doubt = -xp.expm1(chosen), -xp.expm1(rejected)
    pull = beta * numerics.sigmoid(xp, -lead)
    yield -1 - numerics.divide(xp, pull, chosen_doubt), numerics.divide(xp, pull, rejected_doubt)
    # 1 - 2 p of the rejected answer, from its log-probability.
    balance = -xp.expm1(rejected + 0.6931471805599453)
    curve = numerics.divide(xp, numerics.divide(xp, pull * numerics.sigmoid(xp, lead), chosen_doubt), rejected_doubt)
    bend = numerics.divide(xp, numerics.divide(xp, pull, rejected_doubt), rejected_doubt)
    yield curve * balance, bend * (numerics.sigmoid(xp, lead) + xp.exp(rejected))


# --- single answers -------------------------------------------------------------------------------------------------


@loss(
    family="preference",
    signature="(),(),(),()->()",
    input="log-likelihood",
    target="{0, 1}",
    domains={"reference_point": "[0, inf)"},
    aliases=("kahneman_tversky_optimization", "kahneman_tversky_optimisation"),
    formula=r"\lambda_y\, \sigma\left(-z \beta \left[\log \pi(y) - \log \pi_0(y) - z_0\right]\right),\quad z = \pm 1",
    references=("Ethayarajh et al. 2024, KTO: Model alignment as prospect theoretic optimization, arXiv:2402.01306",),
    parameters={"beta": "(0, inf)", "desirable_weight": "[0, inf)", "undesirable_weight": "[0, inf)"},
    properties=("bounded", "lipschitz", "smooth"),
)
def kto(
    xp: Namespace,
    log_probability: Any,
    reference_log_probability: Any,
    target: Any,
    reference_point: Any,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Iterator[Any]:
    """Single answers marked good (1) or bad (0), valued as gains and losses are: from a reference point, with limits.

    The first two are log-probabilities of a whole answer under policy and reference. `reference_point` is the paper's
    z0, an estimate of the policy's divergence from the reference that all examples of a batch share: one number, at
    least 0, made by `lossary.preference.reference_point` from answers that do not belong to their prompts. It is a
    constant: no gradient goes through it, in the paper as here. `beta` says how fast the value saturates.
    `desirable_weight` and `undesirable_weight` multiply the two kinds, which need not be equally many. A value lies
    between 0 and its weight: a hopeless example is given up.

    >>> import lossary
    >>> lossary.kto([-10.0, -10.0], [-10.0, -10.0], [1, 0], 0.0, undesirable_weight=2.0)
    array([0.5, 1. ])
    """
    log_ratio = log_probability - reference_log_probability
    sign = 2 * target - 1
    lead = sign * beta * (log_ratio - reference_point)
    kind_weight = target * desirable_weight + (1 - target) * undesirable_weight
    yield kind_weight * numerics.sigmoid(xp, -lead)
    curve = kind_weight * numerics.sigmoid_slope(xp, lead)
    yield -sign * beta * curve
    yield beta * beta * curve * xp.tanh(0.5 * lead)


# --- actions and their advantages -----------------------------------------------------------------------------------


@loss(
    family="preference",
    signature=PAIR,
    input="log-likelihood",
    domains={"advantage": "real"},
    aliases=("reinforce", "vanilla_policy_gradient", "actor"),
    formula=r"-A \log \pi(a)",
    references=(
        "Williams 1992, Simple statistical gradient-following algorithms, doi:10.1007/BF00992696",
        "Sutton et al. 1999, Policy gradient methods for reinforcement learning with function approximation",
    ),
    properties=("convex", "piecewise linear"),
)
def policy_gradient(xp: Namespace, log_probability: Any, advantage: Any) -> Iterator[Any]:
    """Make an action more likely in proportion to its advantage (REINFORCE).

    The value itself says nothing about how good the policy is: only its gradient, in expectation over actions drawn
    from the policy, is that of minus the expected reward. So it holds for data of the present policy alone; `ppo_clip`
    takes data that are a few steps old. `advantage` is the reward less a baseline, and is not differentiated.

    >>> import lossary
    >>> lossary.policy_gradient.grad([-1.0, -1.0], [2.0, -0.5])
    array([-2. ,  0.5])
    """
    yield -advantage * log_probability
    yield -advantage
    yield xp.zeros_like(advantage)


def clipped_ratio(
    xp: Namespace,
    log_probability: Any,
    old_log_probability: Any,
    advantage: Any,
    clip_low: Any,
    clip_high: Any,
    dual_clip: Any,
) -> tuple[Any, Any]:
    """Return the importance ratio as far as it counts, and the part of it that still moves with the policy.

    ``min(ratio A, clip(ratio) A)`` bounds the ratio above where the advantage is positive, below where it is negative.
    """
    ratio = xp.exp(log_probability - old_log_probability)
    one = xp.ones_like(ratio)
    highest, lowest = (1 + clip_high) * one, (1 - clip_low) * one
    below, above = xp.where(ratio > highest, highest, ratio), xp.where(ratio < lowest, lowest, ratio)
    clipped = xp.where(advantage > 0, below, above)
    if dual_clip is not None:
        clipped = xp.where((advantage < 0) & (clipped > dual_clip), dual_clip * one, clipped)
    return clipped, xp.where((clipped < ratio) | (clipped > ratio), xp.zeros_like(ratio), ratio)


@loss(
    family="preference",
    signature="(),(),()->()",
    input="log-likelihood",
    domains={"advantage": "real"},
    aliases=("ppo", "clipped_surrogate"),
    formula=r"-\min\left(\rho A,\ \text{clip}(\rho, 1 - \epsilon_1, 1 + \epsilon_2)\, A\right),"
    r"\quad \rho = \frac{\pi(a)}{\pi_{\text{old}}(a)}",
    references=(
        "Schulman et al. 2017, Proximal policy optimization algorithms, arXiv:1707.06347",
        "Yu et al. 2025, DAPO (clip-higher), arXiv:2503.14476",
        "Ye et al. 2019, Mastering complex control in MOBA games (dual clip), arXiv:1912.09729",
    ),
    parameters={"clip_low": "[0, 1]", "clip_high": "[0, inf)", "dual_clip": "(1, inf)"},
)
def ppo_clip(
    xp: Namespace,
    log_probability: Any,
    old_log_probability: Any,
    advantage: Any,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
) -> Iterator[Any]:
    """Make an action more likely in proportion to its advantage, but not much more than when it was drawn.

    The policy moves while the data stay those of the old one; once an action has become more likely by the factor
    ``1 + clip_high`` (if good) or less likely by ``1 - clip_low`` (if bad), it stops pulling. `clip_low` and
    `clip_high` are 0.2 in the paper; DAPO raises `clip_high` to 0.28, so that rare good actions can grow. A bad action
    that has become *more* likely pulls without bound; `dual_clip`, a factor above 1 such as 3, ends that. At a bound
    that is met exactly the action still pulls, so bounds of 0 allow the first step. Given means of log-probabilities
    over the tokens of an answer, this is GSPO's ratio of sequences.

    >>> import lossary, math
    >>> up, down = math.log(1.5), math.log(0.5)
    >>> lossary.ppo_clip([up, up, down, down], [0.0] * 4, [1.0, -1.0, 1.0, -1.0]).round(6)
    array([-1.2,  1.5, -0.5,  0.8])
    >>> lossary.ppo_clip.grad([up, up, down, down], [0.0] * 4, [1.0, -1.0, 1.0, -1.0]).round(6)
    array([-0. ,  1.5, -0.5,  0. ])
    """
    clipped, moving = clipped_ratio(xp, log_probability, old_log_probability, advantage, clip_low, clip_high, dual_clip)
    yield -numerics.times(xp, advantage, clipped)
    pull = numerics.times(xp, advantage, moving)
    yield -pull
    yield -pull


@loss(
    family="preference",
    signature="(),(),(),()->()",
    input="log-likelihood",
    domains={"advantage": "real"},
    aliases=("group_relative_policy_optimization", "group_relative_policy_optimisation"),
    formula=r"-\min\left(\rho A,\ \text{clip}(\rho, 1 - \epsilon_1, 1 + \epsilon_2)\, A\right) "
    r"+ \beta \left(e^{d} - d - 1\right),\quad d = \log \pi_0(a) - \log \pi(a)",
    references=(
        "Shao et al. 2024, DeepSeekMath, arXiv:2402.03300",
        "Yu et al. 2025, DAPO, arXiv:2503.14476",
        "Liu et al. 2025, Understanding R1-Zero-like training (Dr. GRPO), arXiv:2503.20783",
    ),
    parameters={"clip_low": "[0, 1]", "clip_high": "[0, inf)", "dual_clip": "(1, inf)", "beta": "[0, inf)"},
)
def grpo(
    xp: Namespace,
    log_probability: Any,
    old_log_probability: Any,
    reference_log_probability: Any,
    advantage: Any,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
    beta: float = 0.04,
) -> Iterator[Any]:
    """One token's share of group relative policy optimisation: the clipped ratio, and what leaving the reference costs.

    `advantage` is that of the whole answer, the same for all its tokens: `lossary.preference.group_advantages` makes it
    from the rewards of a group of answers to one prompt. `clip_low`, `clip_high` and `dual_clip` are those of
    `ppo_clip`; `beta` weighs `kl_k3`, and is 0.04 in the paper and 0 in TRL. How tokens are averaged is where the
    published variants differ: see `lossary.preference.average_tokens`.

    >>> import lossary
    >>> lossary.grpo([-1.0], [-1.0], [-1.0], [2.0])                          # the first step: a ratio of 1
    array([-2.])
    """
    clipped, moving = clipped_ratio(xp, log_probability, old_log_probability, advantage, clip_low, clip_high, dual_clip)
    log_ratio = reference_log_probability - log_probability
    amount = xp.exp(log_ratio)
    divergence = numerics.i_divergence(xp, amount, xp.ones_like(amount), log_ratio)
    yield beta * divergence - numerics.times(xp, advantage, clipped)
    pull = numerics.times(xp, advantage, moving)
    yield -pull - beta * xp.expm1(log_ratio)
    yield beta * amount - pull


# --- divergence from a reference, estimated from samples ------------------------------------------------------------


@loss(
    family="preference",
    signature=PAIR,
    input="log-likelihood",
    aliases=("k1", "kl_estimator_k1"),
    formula=r"\log \pi(a) - \log \pi_0(a)",
    references=("Schulman 2020, Approximating KL divergence, joschu.net/blog/kl-approx.html",),
    properties=("convex", "lipschitz", "smooth", "piecewise linear"),
)
def kl_k1(xp: Namespace, log_probability: Any, reference_log_probability: Any) -> Iterator[Any]:
    """The log-ratio of one drawn action: its mean is the divergence KL(policy || reference), its spread is large.

    It is negative for half the actions or more. Do not train on it: its gradient is 1 for every action, which in
    expectation moves nothing; it belongs into the reward.

    >>> import lossary
    >>> lossary.kl_k1([-1.0, -3.0], [-2.0, -2.0])
    array([ 1., -1.])
    """
    log_ratio = log_probability - reference_log_probability
    yield log_ratio
    yield xp.ones_like(log_ratio)
    yield xp.zeros_like(log_ratio)


@loss(
    family="preference",
    signature=PAIR,
    input="log-likelihood",
    aliases=("k2", "kl_estimator_k2"),
    formula=r"\tfrac12 \left(\log \pi(a) - \log \pi_0(a)\right)^2",
    references=("Schulman 2020, Approximating KL divergence, joschu.net/blog/kl-approx.html",),
    properties=("convex", "symmetric", "smooth", "constant curvature"),
)
def kl_k2(xp: Namespace, log_probability: Any, reference_log_probability: Any) -> Iterator[Any]:
    """Half the squared log-ratio of one drawn action: never negative, a little biased, and with the right gradient.

    In expectation over the policy's own actions its gradient is exactly that of KL(policy || reference), although its
    value is not that divergence.

    >>> import lossary
    >>> lossary.kl_k2([-1.0, -3.0], [-2.0, -2.0])
    array([0.5, 0.5])
    """
    log_ratio = log_probability - reference_log_probability
    yield 0.5 * log_ratio * log_ratio
    yield log_ratio
    yield xp.ones_like(log_ratio)


@loss(
    family="preference",
    signature=PAIR,
    input="log-likelihood",
    aliases=("k3", "kl_estimator_k3"),
    formula=r"e^{d} - d - 1,\quad d = \log \pi_0(a) - \log \pi(a)",
    references=(
        "Schulman 2020, Approximating KL divergence, joschu.net/blog/kl-approx.html",
        "Shao et al. 2024, DeepSeekMath, arXiv:2402.03300",
    ),
    properties=("convex",),
)
def kl_k3(xp: Namespace, log_probability: Any, reference_log_probability: Any) -> Iterator[Any]:
    """The log-ratio of one drawn action with a term of mean 0 that makes it positive: unbiased, and of small spread.

    Its mean over the policy's own actions is KL(policy || reference), but the mean of its gradient is that of the
    *other* divergence, KL(reference || policy); `kl_k2` has the right one. The value grows exponentially with how much
    likelier the action is under the reference.

    >>> import lossary
    >>> lossary.kl_k3([-1.0, -3.0], [-2.0, -2.0]).round(6)
    array([0.367879, 0.718282])
    """
    log_ratio = reference_log_probability - log_probability
    amount = xp.exp(log_ratio)
    yield numerics.i_divergence(xp, amount, xp.ones_like(amount), log_ratio)
    yield -xp.expm1(log_ratio)
    yield amount


@loss(
    family="preference",
    signature="(c)->()",
    input="logit",
    aliases=("negative_entropy", "entropy_regularization", "entropy_regularisation"),
    formula=r"\sum_j p_j \log p_j,\quad p = \text{softmax}(z)",
    references=(
        "Williams and Peng 1991, Function optimization using connectionist reinforcement learning, "
        "doi:10.1080/09540099108946587",
        "Mnih et al. 2016, Asynchronous methods for deep reinforcement learning, arXiv:1602.01783",
    ),
    properties=("bounded", "lipschitz", "smooth"),
)
def entropy_bonus(xp: Namespace, logits: Any) -> Iterator[Any]:
    """Minus the entropy of a softmax, in nats: added with a small factor, it keeps a policy from deciding early.

    It lies between ``-log c``, for c equally likely classes, and 0, for certainty. A class with logit ``-inf`` is not
    there: it has no probability, no entropy and no gradient.

    >>> import lossary, math
    >>> lossary.entropy_bonus([[0.0, 0.0], [0.0, -math.inf]]).round(6)
    array([-0.693147,  0.      ])
    """
    log_probabilities, probabilities, _ = numerics.log_softmax(xp, logits)
    yield xp.sum(numerics.times(xp, probabilities, log_probabilities))
    # log p + H is the logit less the mean logit under p: near a uniform row the former would cancel.
    top = xp.max(logits)
    shifted = logits - xp.where(top == -xp.inf, xp.zeros_like(top), top)
    centred = shifted - xp.sum(numerics.times(xp, probabilities, shifted))
    yield numerics.times(xp, probabilities, centred)
    yield numerics.times(xp, probabilities, (1 - 2 * probabilities) * centred - xp.expm1(log_probabilities))
