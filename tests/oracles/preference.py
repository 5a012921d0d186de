"""Naive 60-digit preference and policy losses, each as its paper writes it."""

from mpmath import exp, log, mpf


def _sigmoid(x):
    return 1 / (1 + exp(-x))


def bradley_terry(chosen, rejected, *, margin=0, centering=0):
    return -log(_sigmoid(chosen - rejected - margin)) + centering * (chosen + rejected) ** 2


def _preference(log_preference, label_smoothing):
    p = _sigmoid(log_preference)
    return -(1 - mpf(label_smoothing)) * log(p) - label_smoothing * log(1 - p)


def dpo(chosen, rejected, reference_chosen, reference_rejected, *, beta=0.1, label_smoothing=0):
    # Rafailov 2023, eq. 7, with the implicit rewards of its eq. 5.
    reward_w = beta * log(exp(chosen) / exp(reference_chosen))
    reward_l = beta * log(exp(rejected) / exp(reference_rejected))
    return _preference(reward_w - reward_l, label_smoothing)


def robust_dpo(chosen, rejected, reference_chosen, reference_rejected, *, beta=0.1, flip_rate=0.1):
    e = mpf(flip_rate)
    right = dpo(chosen, rejected, reference_chosen, reference_rejected, beta=beta)
    wrong = dpo(rejected, chosen, reference_rejected, reference_chosen, beta=beta)
    return ((1 - e) * right - e * wrong) / (1 - 2 * e)


def ipo(chosen, rejected, reference_chosen, reference_rejected, *, tau=0.1):
    # Azar 2023, eq. 17.
    h = log(exp(chosen) * exp(reference_rejected) / (exp(rejected) * exp(reference_chosen)))
    return (h - 1 / (2 * mpf(tau))) ** 2


def dpo_hinge(chosen, rejected, reference_chosen, reference_rejected, *, beta=0.1, margin=1):
    h = (chosen - rejected) - (reference_chosen - reference_rejected)
    return max(mpf(0), margin - beta * h)


def simpo(chosen, rejected, *, beta=2, gamma=1):
    return -log(_sigmoid(beta * chosen - beta * rejected - gamma))


def cpo(chosen, rejected, *, beta=0.1, alpha=1, label_smoothing=0):
    return _preference(beta * log(exp(chosen) / exp(rejected)), label_smoothing) - alpha * log(exp(chosen))


def orpo(chosen, rejected, *, beta=0.1):
    p, q = exp(chosen), exp(rejected)
    odds_ratio = (p / (1 - p)) / (q / (1 - q))
    return -log(p) + beta * -log(_sigmoid(log(odds_ratio)))


def kto(
    log_probability,
    reference_log_probability,
    target,
    reference_point,
    *,
    beta=0.1,
    desirable_weight=1,
    undesirable_weight=1,
):
    # Ethayarajh 2024, eq. 8: the weight less the value of the outcome.
    r = log(exp(log_probability) / exp(reference_log_probability))
    if target == 1:
        return desirable_weight - desirable_weight * _sigmoid(beta * (r - reference_point))
    return undesirable_weight - undesirable_weight * _sigmoid(beta * (reference_point - r))


def policy_gradient(log_probability, advantage):
    return -advantage * log_probability


def ppo_clip(log_probability, old_log_probability, advantage, *, clip_low=0.2, clip_high=0.2, dual_clip=None):
    # Schulman 2017, eq. 7; with dual_clip Ye 2019, eq. 4.
    ratio = exp(log_probability) / exp(old_log_probability)
    clipped = min(max(ratio, 1 - mpf(clip_low)), 1 + mpf(clip_high))
    surrogate = min(ratio * advantage, clipped * advantage)
    if dual_clip is not None and advantage < 0:
        surrogate = max(surrogate, dual_clip * advantage)
    return -surrogate


def kl_k1(log_probability, reference_log_probability):
    return -log(exp(reference_log_probability) / exp(log_probability))


def kl_k2(log_probability, reference_log_probability):
    return log(exp(reference_log_probability) / exp(log_probability)) ** 2 / 2


def kl_k3(log_probability, reference_log_probability):
    r = exp(reference_log_probability) / exp(log_probability)
    return (r - 1) - log(r)


def grpo(
    log_probability,
    old_log_probability,
    reference_log_probability,
    advantage,
    *,
    clip_low=0.2,
    clip_high=0.2,
    dual_clip=None,
    beta=0.04,
):
    # Shao 2024, eq. 3, one token of it, with the estimator of its eq. 4.
    options = {"clip_low": clip_low, "clip_high": clip_high, "dual_clip": dual_clip}
    surrogate = -ppo_clip(log_probability, old_log_probability, advantage, **options)
    return -(surrogate - beta * kl_k3(log_probability, reference_log_probability))


def entropy_bonus(logits):
    total = sum(exp(z) for z in logits)
    return sum(exp(z) / total * log(exp(z) / total) for z in logits)
