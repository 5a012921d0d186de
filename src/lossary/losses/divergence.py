"""Divergences: how far one probability distribution is from another.

Predictions are log-probabilities (or a log-rate), targets are probabilities. A gradient is that in each log-probability
by itself: it knows nothing of the row's sum being 1, which is the business of the log-softmax before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.catalogue import loss

__all__ = [
    "generalized_kl",
    "js_divergence",
    "kl_divergence",
    "reverse_kl",
]

ROWS = "(c),(c)->()"


@loss(
    family="divergence",
    signature=ROWS,
    input="log-probability",
    target="simplex",
    aliases=("kl_div", "kld", "relative_entropy", "forward_kl"),
    formula=r"\sum_j q_j \left(\log q_j - \log p_j\right)",
    likelihood="Draws from q coded by p: the cross-entropy of the two less the entropy of the target",
    references=("Kullback and Leibler 1951, doi:10.1214/aoms/1177729694",),
    properties=("convex", "proper", "piecewise linear"),
    elicits="mean",
    unbounded_form="softmax_cross_entropy",
)
def kl_divergence(xp: Namespace, log_probs: Any, target: Any) -> Iterator[Any]:
    """Kullback-Leibler divergence KL(target || pred), in nats: what coding the target by the prediction wastes.

    The prediction comes as log-probabilities, the target as probabilities, as in `torch.nn.functional.kl_div`, which
    however gives a value per class and whose default mean divides by the number of *classes* too; Keras takes
    probabilities for both, target first. A class the target never takes costs nothing, even at a log-probability of
    ``-inf``; a class it takes but the prediction excludes costs ``inf``.

    >>> import lossary, numpy as np
    >>> value, grad = lossary.kl_divergence.value_and_grad(np.log([0.5, 0.25, 0.25]), [0.5, 0.5, 0.0])
    >>> round(float(value), 12), grad
    (0.34657359028, array([-0.5, -0.5, -0. ]))
    """
    target = numerics.rounded_into(xp, target, 0.0)
    taken = xp.where(target == 0, xp.ones_like(target), target)  # 0 log 0 = 0, and no infinite slope on the way
    log_ratio = xp.log(taken) - log_probs
    yield xp.sum(numerics.times(xp, target, log_ratio))
    yield -target
    yield xp.zeros_like(log_probs)


@loss(
    family="divergence",
    signature=ROWS,
    input="log-probability",
    target="simplex",
    aliases=("reverse_kl_divergence", "kl_pred_target"),
    formula=r"\sum_j p_j \left(\log p_j - \log q_j\right)",
    references=("Kullback and Leibler 1951, doi:10.1214/aoms/1177729694", "Minka 2005, MSR-TR-2005-173"),
)
def reverse_kl(xp: Namespace, log_probs: Any, target: Any) -> Iterator[Any]:
    """Kullback-Leibler divergence KL(pred || target), in nats, the prediction as log-probabilities.

    It settles on one mode of the target, where `kl_divergence` spreads over all of them: a prediction that puts any
    probability where the target has none costs ``inf``, one that leaves out part of the target stays finite.

    >>> import lossary, numpy as np
    >>> one_mode, two_modes = np.log([0.98, 0.01, 0.01]), [0.495, 0.01, 0.495]
    >>> bool(lossary.reverse_kl(one_mode, two_modes) < lossary.kl_divergence(one_mode, two_modes))
    True
    """
    target = numerics.rounded_into(xp, target, 0.0)
    probabilities = xp.exp(log_probs)
    log_ratio = log_probs - xp.log(target)
    yield xp.sum(numerics.times(xp, probabilities, log_ratio))
    yield numerics.times(xp, probabilities, log_ratio + 1)
    yield numerics.times(xp, probabilities, log_ratio + 2)


@loss(
    family="divergence",
    signature=ROWS,
    input="log-probability",
    target="simplex",
    aliases=("jensen_shannon", "jensen_shannon_divergence", "jsd"),
    formula=r"\tfrac12 \sum_j \left(p_j \log\frac{p_j}{m_j} + q_j \log\frac{q_j}{m_j}\right),\quad m = \frac{p + q}{2}",
    references=("Lin 1991, doi:10.1109/18.61115",),
    properties=("bounded", "symmetric", "smooth"),
)
def js_divergence(xp: Namespace, log_probs: Any, target: Any) -> Iterator[Any]:
    """Jensen-Shannon divergence, in nats: the mean divergence of both distributions from their mixture.

    It lies between 0 and log 2, whatever zeros the two have, and does not mind which is which; its square root is a
    distance. scipy's `jensenshannon` is that root.

    >>> import lossary, math
    >>> disjoint = lossary.js_divergence([0.0, -math.inf], [0.0, 1.0])
    >>> float(disjoint) == math.log(2.0)
    True
    """
    target = numerics.rounded_into(xp, target, 0.0)
    probabilities = xp.exp(log_probs)
    mixture = 0.5 * (probabilities + target)
    # p = m (1 + d), q = m (1 - d): each class contributes m ((1 + d) log(1 + d) + (1 - d) log(1 - d)) / 2 >= 0.
    imbalance = numerics.divide(xp, 0.5 * (probabilities - target), mixture)
    near = xp.abs(imbalance) < 0.5
    small = xp.where(near, imbalance, xp.zeros_like(imbalance))
    rise, fall = xp.log1p(small), xp.log1p(-small)
    pred_share = numerics.divide(xp, probabilities, mixture)
    target_share = numerics.divide(xp, target, mixture)
    entropies = xp.where(
        near,
        xp.log1p(-small * small) + small * (rise - fall),  # the two parts are -d^2 and 2 d^2: they hardly cancel
        numerics.xlogy(xp, pred_share, pred_share) + numerics.xlogy(xp, target_share, target_share),
    )
    # A class without probability has weight 0 below, and no infinite slope here.
    log_share = xp.log(xp.where(pred_share == 0, xp.ones_like(pred_share), pred_share))
    log_ratio = xp.where(near, rise, log_share)
    yield xp.sum(0.5 * mixture * entropies)
    yield numerics.times(xp, 0.5 * probabilities, log_ratio)
    yield numerics.times(xp, 0.5 * probabilities, log_ratio + 0.5 * target_share)


@loss(
    family="divergence",
    signature="(),()->()",
    input="log-rate",
    target="[0, inf)",
    aliases=("generalized_kl_divergence", "generalised_kl", "i_divergence", "half_poisson_deviance"),
    formula=r"y \log\frac{y}{e^{s}} - y + e^{s}",
    likelihood="Poisson counts of mean exp(s): the cost less that of the perfect prediction, half the deviance",
    references=("Csiszar 1975, doi:10.1214/aop/1176996454", "Bregman 1967, doi:10.1016/0041-5553(67)90040-7"),
    properties=("convex", "proper"),
    elicits="mean",
)
def generalized_kl(xp: Namespace, log_rate: Any, target: Any) -> Iterator[Any]:
    """Kullback-Leibler divergence of amounts that need not sum to 1, given the logarithm of the predicted amount.

    It is 0 exactly where the prediction is the target and positive elsewhere; summed over a row of log-probabilities
    it is `kl_divergence`. Same gradient as `poisson_nll`, for any amount >= 0, whole or not.

    >>> import lossary, math
    >>> lossary.generalized_kl([math.log(2.0), math.log(3.0), -math.inf], [2.0, 2.0, 0.0])
    array([0.        , 0.18906978, 0.        ])
    """
    target = numerics.rounded_into(xp, target, 0.0)
    rate = xp.exp(log_rate)
    log_ratio = log_rate - xp.log(target)
    yield numerics.i_divergence(xp, rate, target, log_ratio)
    yield rate - target
    yield rate
