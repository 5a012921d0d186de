"""Losses for class imbalance: rare classes or hard examples get a larger weight.

Three ways: weigh the classes (`class_balanced`), shift the logits by the log of the class frequencies
(`logit_adjusted`), or turn down examples that are already right (focal losses).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.catalogue import loss

__all__ = ["class_balanced", "logit_adjusted", "sigmoid_focal", "softmax_focal"]


@loss(
    family="imbalance",
    signature="(),()->()",
    input="logit",
    target="[0, 1]",
    aliases=("focal", "binary_focal", "sigmoid_focal_loss", "binary_focal_cross_entropy"),
    formula=r"\alpha_t (1 - p_t)^\gamma \left(-y \log p - (1 - y) \log(1 - p)\right),\quad p = \sigma(z)",
    references=("Lin 2017, arXiv:1708.02002",),
    parameters={"gamma": "[0, inf)", "alpha": "[0, 1]"},
    special={"gamma": (1, 2)},
    properties=("smooth",),
)
def sigmoid_focal(
    xp: Namespace, logits: Any, target: Any, *, gamma: float = 2.0, alpha: float | None = None
) -> Iterator[Any]:
    """Binary cross-entropy that down-weights examples already classified correctly, for dense detection.

    ``p_t = y p + (1 - y)(1 - p)`` is the probability given to what happened. `gamma` is how strongly a confident, right
    example is discounted: with 2, one at p_t = 0.9 counts a hundredth; 0 is cross-entropy, and any value >= 0 keeps its
    gradient at every logit. `alpha` weighs positives, ``1 - alpha`` negatives; None weighs neither (torchvision
    defaults to 0.25).

    >>> import lossary
    >>> z, y = [-2.0, 0.5, 3.0], [0.0, 1.0, 1.0]
    >>> plain = lossary.binary_cross_entropy_with_logits(z, y)
    >>> bool((lossary.sigmoid_focal(z, y, gamma=0.0) == plain).all())
    True
    >>> (lossary.sigmoid_focal(z, y) / plain).round(3)          # easy examples count for less
    array([0.014, 0.143, 0.002])
    """
    probability = numerics.sigmoid(xp, logits)
    complement = numerics.sigmoid(xp, -logits)
    weight = 1.0 if alpha is None else alpha * target + (1 - alpha) * (1 - target)
    doubt = target * complement + (1 - target) * probability
    # Without doubt nothing is lost, and whatever is multiplied by the power is 0; no slope is taken of a power of 0.
    some_doubt = xp.where(doubt == 0, xp.ones_like(doubt), doubt)
    focus = weight * some_doubt**gamma
    cost_of_yes = numerics.softplus(xp, -logits)
    cost_of_no = numerics.softplus(xp, logits)
    cross_entropy = numerics.times(xp, target, cost_of_yes) + numerics.times(xp, 1 - target, cost_of_no)
    yield numerics.times(xp, focus, cross_entropy)

    # d log(doubt)/dz; dividing here keeps every power of the doubt at `gamma`, hence finite for gamma < 1.
    drift = numerics.divide(xp, (1 - 2 * target) * probability * complement, doubt)
    slope = (1 - target) * probability - target * complement
    drifting = numerics.times(xp, drift, cross_entropy)
    yield focus * (gamma * drifting + slope)
    spread = probability * complement
    curve = gamma * drifting * ((gamma - 1) * drift + complement - probability)
    yield focus * (curve + 2 * gamma * drift * slope + spread)


@loss(
    family="imbalance",
    signature="(c),()->() | (c),(c)->()",
    input="logit",
    target="{0, ..., c-1} | simplex",
    aliases=("categorical_focal", "multiclass_focal", "categorical_focal_cross_entropy"),
    formula=r"-\sum_j q_j w_j (1 - p_j)^\gamma \log p_j,\quad p = \mathrm{softmax}(z)",
    references=("Lin 2017, arXiv:1708.02002",),
    parameters={"gamma": "[0, inf)", "class_weight": "(c) [0, inf)", "label_smoothing": "[0, 1]"},
    special={"gamma": (1, 2)},
    properties=("smooth",),
)
def softmax_focal(
    xp: Namespace,
    logits: Any,
    target: Any,
    *,
    gamma: float = 2.0,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
) -> Iterator[Any]:
    """Softmax cross-entropy that down-weights examples already classified correctly.

    `gamma` is the strength of the discount, any number >= 0; 0 is cross-entropy. `class_weight` (the vector called
    alpha elsewhere) multiplies the cost of each class. The target is one index per row, or one distribution, which
    costs what its classes are expected to cost, each discounted by its own probability: the formula of Keras'
    `CategoricalFocalCrossentropy`. `label_smoothing` spreads that much of the target evenly over all classes.

    >>> import lossary
    >>> z, y = [[2.0, 0.0, -1.0], [0.0, 0.5, 0.0]], [0, 0]
    >>> plain = lossary.softmax_cross_entropy(z, y)
    >>> bool(abs(lossary.softmax_focal(z, y, gamma=0.0) - plain).max() < 1e-15)
    True
    >>> (lossary.softmax_focal(z, y) / plain).round(3)
    array([0.024, 0.527])
    """
    log_probabilities, probabilities, wanted, target_log_probability = numerics.target_log_probability(
        xp, logits, target, label_smoothing
    )
    cost = wanted if class_weight is None else class_weight * wanted
    doubt = -xp.expm1(target_log_probability)
    # Without doubt nothing is lost, and whatever is multiplied by the power is 0; no slope is taken of a power of 0.
    certain = doubt == 0
    some_doubt = xp.where(certain, xp.ones_like(doubt), doubt)
    focus = some_doubt**gamma
    yield -xp.sum(numerics.times(xp, cost, numerics.times(xp, focus, target_log_probability)))

    target_probability = xp.exp(target_log_probability)
    # log p / (1 - p), which tends to -1 as p tends to 1. A class of probability 0 has no use for it.
    finite = xp.where(target_log_probability == -xp.inf, xp.zeros_like(doubt), target_log_probability)
    near_certain = doubt < 1e-20
    divisor = xp.where(near_certain, xp.ones_like(doubt), doubt)
    ratio = xp.where(near_certain, -xp.ones_like(doubt), finite / divisor)
    slope = focus * (numerics.times(xp, gamma * target_probability, ratio) - 1)
    bend = numerics.times(xp, gamma * target_probability, 2 + ratio * (1 - gamma * target_probability))
    curve = numerics.times(xp, bend, focus / some_doubt)
    gradient, curvature = numerics.softmax_chain(xp, log_probabilities, probabilities, cost, slope, curve)
    yield gradient
    yield curvature


@loss(
    family="imbalance",
    signature="(c),(),(c)->()",
    input="logit",
    target="{0, ..., c-1}",
    domains={"class_counts": "[0, inf)"},
    aliases=("balanced_softmax", "logit_adjustment"),
    formula=r"-\log \mathrm{softmax}(z + \tau \log n)_k",
    likelihood="categorical outcome with training prior n / sum(n): the softmax of z alone is the balanced posterior",
    references=("Menon 2021, arXiv:2007.07314", "balanced softmax (tau = 1): Ren 2020, arXiv:2007.10740"),
    parameters={"tau": "[0, inf)"},
    properties=("convex", "smooth", "lipschitz", "calibrated"),
)
def logit_adjusted(xp: Namespace, logits: Any, target: Any, class_counts: Any, *, tau: float = 1.0) -> Iterator[Any]:
    """Softmax cross-entropy after adding the log of the class counts: the model need not learn how rare a class is.

    `class_counts` are the training counts or frequencies of the classes (only their ratios matter); predict with the
    plain logits. `tau` scales the shift: 1 is balanced softmax, 0 is cross-entropy.

    >>> import lossary
    >>> lossary.logit_adjusted([[0.0, 0.0]], [1], [90, 10]).round(4)     # -log(10 / 100)
    array([2.3026])
    """
    class_counts = numerics.rounded_into(xp, class_counts, 0.0)
    shift = numerics.times(xp, tau * xp.ones_like(class_counts), xp.log(class_counts))
    adjusted = logits + shift
    log_probabilities, probabilities, wanted, target_log_probability = numerics.target_log_probability(
        xp, adjusted, target
    )
    yield -target_log_probability
    one = xp.ones_like(target_log_probability)
    gradient, curvature = numerics.softmax_chain(
        xp, log_probabilities, probabilities, wanted, slope=-one, curve=xp.zeros_like(one)
    )
    yield gradient
    yield curvature


@loss(
    family="imbalance",
    signature="(c),(),(c)->()",
    input="logit",
    target="{0, ..., c-1}",
    domains={"class_counts": "[0, inf)"},
    aliases=("class_balanced_cross_entropy",),
    formula=r"-w_k \log \mathrm{softmax}(z)_k,\quad w_j \propto \frac{1 - \beta}{1 - \beta^{n_j}},\ \sum_j w_j = c",
    references=("Cui 2019, arXiv:1901.05555",),
    parameters={"beta": "[0, 1)"},
    properties=("convex", "smooth", "lipschitz"),
)
def class_balanced(xp: Namespace, logits: Any, target: Any, class_counts: Any, *, beta: float = 0.999) -> Iterator[Any]:
    """Softmax cross-entropy weighted by the inverse effective number of examples of each class.

    `class_counts` are the training counts n of the classes. `beta` says how much examples of a class overlap: 0 weighs
    all classes alike, and towards 1 the weight tends to ``1 / n``. The weights sum to the number of classes; a class
    that never occurs has weight 0. See `lossary.class_weights` for the weights by themselves.

    >>> import lossary
    >>> lossary.class_balanced([[0.0, 0.0], [0.0, 0.0]], [0, 1], [900, 100]).round(3)
    array([0.192, 1.195])
    """
    class_weight = numerics.effective_number_weights(xp, class_counts, beta)
    log_probabilities, probabilities, wanted, target_log_probability = numerics.target_log_probability(
        xp, logits, target
    )
    weight = xp.sum(class_weight * wanted)
    yield -numerics.times(xp, weight, target_log_probability)
    gradient, curvature = numerics.softmax_chain(
        xp, log_probabilities, probabilities, wanted, slope=-weight, curve=xp.zeros_like(weight)
    )
    yield gradient
    yield curvature
