"""Classification losses: scores, logits or probabilities of classes, and labels.

Most of these are minus the logarithm of the probability given to what happened. A *logit* is a log-odds, unbounded; the
logit forms are the primary ones, because a probability that has been rounded to 0 or 1 can no longer say how wrong it
is. In a loss on rows the classes are the last axis.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.catalogue import loss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "brier",
    "generalized_cross_entropy",
    "nll",
    "poly_loss",
    "softmax_cross_entropy",
    "zero_one",
]

POINTWISE = "(),()->()"
LABELS = "(c),()->()"
LABELS_OR_SOFT = "(c),()->() | (c),(c)->()"


@loss(
    family="classification",
    signature=POINTWISE,
    input="probability",
    target="[0, 1]",
    aliases=("bce", "log_loss"),
    formula=r"-y \log p - (1 - y) \log (1 - p)",
    likelihood="Bernoulli outcome: -log P(y; p) = -y log p - (1 - y) log(1 - p)",
    references=("Good 1952, Rational decisions, doi:10.1111/j.2517-6161.1952.tb00104.x",),
    properties=("convex", "proper"),
    elicits="mean",
    unbounded_form="binary_cross_entropy_with_logits",
)
def binary_cross_entropy(xp: Namespace, probs: Any, target: Any) -> Iterator[Any]:
    """Minus the log of the probability given to a yes/no outcome, from probabilities.

    Exact at the ends: probability 0 for what happened costs infinity, where torch stops at 100 and Keras clips. Prefer
    `binary_cross_entropy_with_logits`: a sigmoid that has rounded to 0 or 1 has no gradient left to learn from.

    >>> import lossary
    >>> float(lossary.mean(lossary.binary_cross_entropy([0.8, 0.4, 0.3], [1, 0, 1])).round(6))
    0.645981
    """
    probs = numerics.rounded_into(xp, probs, 0.0, 1.0)
    target = numerics.rounded_into(xp, target, 0.0, 1.0)
    # What did not happen and was given no chance: 0 log 0, and no infinite slope on the way.
    never, always = (probs == 0) & (target == 0), (probs == 1) & (target == 1)
    log_probability = xp.log(xp.where(never, xp.ones_like(probs), probs))
    log_complement = xp.log1p(-xp.where(always, xp.zeros_like(probs), probs))
    yield -numerics.times(xp, target, log_probability) - numerics.times(xp, 1 - target, log_complement)
    pull_up = numerics.times(xp, target, 1 / probs)
    pull_down = numerics.times(xp, 1 - target, 1 / (1 - probs))
    yield pull_down - pull_up
    yield numerics.times(xp, target, 1 / (probs * probs)) + numerics.times(xp, 1 - target, 1 / ((1 - probs) ** 2))


@loss(
    family="classification",
    signature=POINTWISE,
    input="logit",
    target="[0, 1]",
    aliases=("sigmoid_cross_entropy", "bce_with_logits", "sigmoid_binary_cross_entropy", "binomial_deviance"),
    formula=r"w\,y \log(1 + e^{-z}) + (1 - y) \log(1 + e^{z})",
    likelihood="Bernoulli outcome with log-odds z: -log P(y; sigmoid(z)) = y softplus(-z) + (1 - y) softplus(z)",
    references=("Cox 1958, The regression analysis of binary sequences, doi:10.1111/j.2517-6161.1958.tb00292.x",),
    parameters={"pos_weight": "[0, inf)", "label_smoothing": "[0, 1]"},
    properties=("convex", "proper", "smooth", "calibrated", "lipschitz"),
    elicits="mean",
)
def binary_cross_entropy_with_logits(
    xp: Namespace, logits: Any, target: Any, *, pos_weight: Any = 1.0, label_smoothing: float = 0.0
) -> Iterator[Any]:
    """Minus the log-probability of a yes/no outcome, from its logit: finite and exact at any logit.

    `pos_weight` multiplies the cost of positives, a number or one per output; it is no example weight and does not
    enter a mean's denominator. Undo it at prediction time by subtracting its logarithm from the logit.
    `label_smoothing` moves targets towards 1/2: 0.1 makes 0 and 1 into 0.05 and 0.95, as in Keras.

    >>> import lossary
    >>> lossary.binary_cross_entropy_with_logits([1000.0, -1000.0], [0.0, 0.0])
    array([1000.,    0.])
    """
    wanted = target * (1 - label_smoothing) + 0.5 * label_smoothing
    positive_part = pos_weight * wanted
    negative_part = 1 - wanted
    cost_of_yes = numerics.softplus(xp, -logits)
    cost_of_no = numerics.softplus(xp, logits)
    yield numerics.times(xp, positive_part, cost_of_yes) + numerics.times(xp, negative_part, cost_of_no)
    probability = numerics.sigmoid(xp, logits)
    complement = numerics.sigmoid(xp, -logits)
    yield negative_part * probability - positive_part * complement
    yield (positive_part + negative_part) * probability * complement


@loss(
    family="classification",
    signature=LABELS_OR_SOFT,
    input="logit",
    target="{0, ..., c-1} | simplex",
    aliases=(
        "cross_entropy",
        "categorical_cross_entropy",
        "sparse_categorical_cross_entropy",
        "softmax_cross_entropy_with_integer_labels",
        "multinomial_deviance",
    ),
    formula=r"\log \sum_j e^{z_j} - \sum_j q_j z_j",
    likelihood="categorical outcome with probabilities softmax(z): -log P(k; softmax(z)) = logsumexp(z) - z_k",
    references=(
        "Bridle 1990, Probabilistic interpretation of feedforward classification network outputs",
        "label smoothing: Szegedy 2016, arXiv:1512.00567",
        "z-loss: Chowdhery 2022, PaLM, arXiv:2204.02311",
        "soft cap: Gemma Team 2024, Gemma 2, arXiv:2408.00118",
    ),
    parameters={
        "class_weight": "(c) [0, inf)",
        "label_smoothing": "[0, 1]",
        "temperature": "(0, inf)",
        "z_loss": "[0, inf)",
        "soft_cap": "(0, inf)",
    },
    properties=("convex", "proper", "smooth", "calibrated", "lipschitz"),
    elicits="mean",
)
def softmax_cross_entropy(
    xp: Namespace,
    logits: Any,
    target: Any,
    *,
    class_weight: Any = None,
    label_smoothing: float = 0.0,
    temperature: float = 1.0,
    z_loss: float = 0.0,
    soft_cap: float | None = None,
) -> Iterator[Any]:
    """Minus the log-probability that the softmax of a row of logits gives to its class.

    The target is one index per row, or one distribution (one-hot or soft) per row; the same labels either way give the
    same number. A logit of ``-inf`` is a class that is masked out: it has probability 0 and takes no smoothing mass.

    All options combine. `class_weight` multiplies the cost of each class; it belongs to the value, so a mean divides by
    the number of rows (torch divides by the weights of the labels: pass ``weight=class_weight[labels]`` for that).
    `label_smoothing` spreads that much of the target evenly over all classes, the true one included (torch, Keras).
    `temperature` divides the logits. `z_loss` adds that much times the square of the log-normaliser, which keeps it
    from drifting. `soft_cap` first bounds the logits to ``cap * tanh(logits / cap)``.

    >>> import lossary
    >>> lossary.softmax_cross_entropy([[1000.0, 0.0], [0.0, 0.0]], [1, 0]).round(4)
    array([1.000e+03, 6.931e-01])
    >>> lossary.softmax_cross_entropy.grad([[1.0, 1.0]], [0])        # softmax minus one-hot
    array([[-0.5,  0.5]])
    """
    capped = logits if soft_cap is None else soft_cap * xp.tanh(logits / soft_cap)
    scaled = capped if numerics.absent(temperature, 1) else capped / temperature
    log_probabilities, probabilities, log_normaliser = numerics.log_softmax(xp, scaled)
    wanted = numerics.class_distribution(xp, target, logits)
    if not numerics.absent(label_smoothing):
        wanted = numerics.smoothed(xp, wanted, logits, label_smoothing)
    cost = wanted if class_weight is None else class_weight * wanted
    value = -xp.sum(numerics.times(xp, cost, log_probabilities))
    yield value if numerics.absent(z_loss) else value + z_loss * log_normaliser * log_normaliser

    total_cost = xp.sum(cost)
    gradient = numerics.residual_probabilities(xp, log_probabilities, probabilities, cost, total_cost)
    if not numerics.absent(z_loss):
        gradient = gradient + 2 * z_loss * log_normaliser * probabilities
    slope = (1.0 if soft_cap is None else numerics.sech_squared(xp, logits / soft_cap)) / temperature
    yield gradient * slope

    spread = -probabilities * xp.expm1(log_probabilities)
    curvature = total_cost * spread
    if not numerics.absent(z_loss):
        curvature = curvature + 2 * z_loss * (log_normaliser * spread + probabilities * probabilities)
    if soft_cap is None:
        yield curvature * slope * slope
    else:
        bend = -2 / soft_cap * xp.tanh(logits / soft_cap) * slope
        yield curvature * slope * slope + gradient * bend


@loss(
    family="classification",
    signature=LABELS,
    input="log-probability",
    target="{0, ..., c-1}",
    aliases=("negative_log_likelihood",),
    formula=r"-\ell_k,\quad \ell = \log p",
    likelihood="categorical outcome with log-probabilities l: -log P(k) = -l_k",
    references=("Fisher 1922, doi:10.1098/rsta.1922.0009",),
    parameters={"class_weight": "(c) [0, inf)"},
    properties=("convex", "proper", "piecewise linear"),
    elicits="mean",
    unbounded_form="softmax_cross_entropy",
)
def nll(xp: Namespace, log_probs: Any, target: Any, *, class_weight: Any = None) -> Iterator[Any]:
    """Minus the given log-probability of the class: the second half of softmax cross-entropy.

    The rows must be log-probabilities, as `log_softmax` makes them. Probabilities would silently give a negative
    "loss", logits one without a floor; both are refused. `class_weight` multiplies the cost of each class.

    >>> import lossary, numpy
    >>> lossary.nll(numpy.log([[0.25, 0.75]]), [1]).round(4)
    array([0.2877])
    """
    wanted = xp.one_hot(target, log_probs)
    cost = wanted if class_weight is None else class_weight * wanted
    yield -xp.sum(numerics.times(xp, cost, log_probs))
    yield -cost
    yield xp.zeros_like(cost)


@loss(
    family="classification",
    signature="(c),()->() | (),()->()",
    input="score",
    target="{0, ..., c-1} | real",
    aliases=("zero_one_loss", "misclassification"),
    formula=r"[\arg\max_j s_j \ne k]\quad\text{or}\quad[\,|\hat y - y| \ge T\,]",
    references=("Bayes risk: Wald 1950, Statistical Decision Functions",),
    parameters={"threshold": "(0, inf)"},
    properties=("bounded", "evaluation"),
)
def zero_one(xp: Namespace, scores: Any, target: Any, *, threshold: float = 0.5) -> Iterator[Any]:
    """1 for a mistake and 0 otherwise: the error rate that the other losses stand in for.

    On rows of scores and class indices: 1 where the largest score (the first, if tied) is not the label's. On numbers:
    0 where the absolute error is below `threshold`, 1 elsewhere. Its gradient is 0, so it measures and does not train.

    >>> import lossary
    >>> lossary.zero_one([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    array([0., 1.])
    >>> lossary.zero_one([1.0, 2.0, 3.0], [1.2, 2.0, 9.0], threshold=1.0)
    array([0., 0., 1.])
    """
    mistaken = xp.argmax(scores) != target if xp.is_index(target) else ~(xp.abs(scores - target) < threshold)
    yield xp.astype(mistaken, scores)
    yield xp.zeros_like(scores)
    yield xp.zeros_like(scores)


@loss(
    family="classification",
    signature=LABELS_OR_SOFT,
    input="probability",
    target="{0, ..., c-1} | simplex",
    aliases=("brier_score", "quadratic_score"),
    formula=r"\sum_j (p_j - q_j)^2",
    references=("Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2",),
    properties=("convex", "proper", "bounded", "smooth", "constant curvature"),
    elicits="mean",
)
def brier(xp: Namespace, probs: Any, target: Any) -> Iterator[Any]:
    """Squared distance between a row of probabilities and what happened: a proper score that is never infinite.

    Between 0 and 2. For a yes/no outcome it is twice the square of ``p - y`` that binary Brier scores use.

    >>> import lossary
    >>> lossary.brier([[0.5, 0.5], [0.0, 1.0]], [0, 0])
    array([0.5, 2. ])
    """
    wanted = numerics.class_distribution(xp, target, probs)
    difference = probs - wanted
    yield xp.sum(difference * difference)
    yield 2 * difference
    yield 2 * xp.ones_like(difference)


@loss(
    family="classification",
    signature=LABELS_OR_SOFT,
    input="logit",
    target="{0, ..., c-1} | simplex",
    aliases=("gce", "lq_loss"),
    formula=r"\sum_j y_j \frac{1 - p_j^q}{q},\quad p = \mathrm{softmax}(z)",
    references=("Zhang & Sabuncu 2018, arXiv:1805.07836",),
    parameters={"q": "(0, 1]"},
    properties=("bounded", "robust", "smooth", "lipschitz"),
)
def generalized_cross_entropy(xp: Namespace, logits: Any, target: Any, *, q: float = 0.7) -> Iterator[Any]:
    """Between cross-entropy and the error rate: wrong labels cannot cost more than ``1 / q``.

    `q` near 0 gives cross-entropy, 1 gives ``1 - p``, which is robust to symmetric label noise but slow to learn. The
    target is one index per row, or one distribution, which costs what its classes are expected to cost: the paper's
    loss of a label drawn from it.

    >>> import lossary
    >>> lossary.generalized_cross_entropy([[0.0, 1000.0]], [0], q=0.5)
    array([2.])
    """
    log_probabilities, probabilities, wanted, target_log_probability = numerics.target_log_probability(
        xp, logits, target
    )
    yield xp.sum(numerics.times(xp, wanted, -xp.expm1(q * target_log_probability) / q))
    confidence = xp.exp(q * target_log_probability)
    gradient, curvature = numerics.softmax_chain(
        xp, log_probabilities, probabilities, wanted, slope=-confidence, curve=-q * confidence
    )
    yield gradient
    yield curvature


@loss(
    family="classification",
    signature=LABELS_OR_SOFT,
    input="logit",
    target="{0, ..., c-1} | simplex",
    aliases=("poly1", "poly1_cross_entropy", "poly_loss_cross_entropy"),
    formula=r"\sum_j q_j \left(-\log p_j + \epsilon (1 - p_j)\right),\quad p = \mathrm{softmax}(z)",
    references=("Leng 2022, PolyLoss, arXiv:2204.12511",),
    parameters={"epsilon": "[-1, inf)"},
    properties=("smooth", "lipschitz"),
)
def poly_loss(xp: Namespace, logits: Any, target: Any, *, epsilon: float = 2.0) -> Iterator[Any]:
    """Cross-entropy with the first term of its expansion in ``1 - p`` reweighted (Poly-1).

    `epsilon` is added to that term's coefficient: positive values push longer on examples that are already right; 0 is
    cross-entropy. optax takes 2 as default, as here; rax takes 1. The target is one index per row, or one distribution,
    which costs what its classes are expected to cost: the formula of optax, which takes distributions only.

    >>> import lossary
    >>> lossary.poly_loss([[0.0, 0.0]], [0], epsilon=2.0).round(4)      # log 2 + 2 * (1 - 1/2)
    array([1.6931])
    """
    log_probabilities, probabilities, wanted, target_log_probability = numerics.target_log_probability(
        xp, logits, target
    )
    cost = -target_log_probability - epsilon * xp.expm1(target_log_probability)
    yield xp.sum(numerics.times(xp, wanted, cost))
    target_probability = xp.exp(target_log_probability)
    gradient, curvature = numerics.softmax_chain(
        xp,
        log_probabilities,
        probabilities,
        wanted,
        slope=-1 - epsilon * target_probability,
        curve=-epsilon * target_probability,
    )
    yield gradient
    yield curvature
