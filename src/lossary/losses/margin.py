"""Margin losses: a score should have the sign of the label, or exceed the other classes' scores by a margin.

With labels -1 and 1 each loss is a function of the *functional margin* ``target * pred``: positive when the sign is
right, large when it is right with confidence. They differ in what they ask of a correct answer (nothing, a margin of
1, ever more) and in how hard a wrong one pulls (alike, in proportion, exponentially). At a kink the gradient is 0:
a margin that is met exactly is met.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.catalogue import loss

__all__ = [
    "exponential",
    "hinge",
    "hinge_embedding",
    "logistic_margin",
    "modified_huber",
    "multi_margin",
    "multiclass_hinge",
    "multilabel_margin",
    "multilabel_soft_margin",
    "perceptron",
    "smoothed_hinge",
    "squared_hinge",
]

POINTWISE = "(),()->()"
SIGNS = "{-1, 1}"


@loss(
    family="margin",
    signature=POINTWISE,
    input="score",
    target=SIGNS,
    aliases=("hinge_loss", "svm", "l1_svm"),
    formula=r"\max(0,\ \mu - y s)",
    references=("Cortes and Vapnik 1995, Support-vector networks, doi:10.1007/BF00994018",),
    parameters={"margin": "[0, inf)"},
    properties=("convex", "lipschitz", "calibrated", "piecewise linear"),
)
def hinge(xp: Namespace, pred: Any, target: Any, *, margin: float = 1.0) -> Iterator[Any]:
    """How far the signed score falls short of the margin: the loss of the support vector machine.

    An example beyond the `margin` costs nothing and has no gradient, so only the others (the support vectors) decide
    the fit. `margin` is in the units of the score. Labels are -1 and 1; Keras also takes 0 and 1 and maps them if it
    finds no other value, which is refused here with a sentence.

    >>> import lossary
    >>> lossary.hinge([2.0, 0.5, -1.0], [1, 1, 1])
    array([0. , 0.5, 2. ])
    """
    violation = margin - target * pred
    yield numerics.positive_part(xp, violation)
    yield -target * numerics.step(xp, violation)
    yield xp.zeros_like(violation)


@loss(
    family="margin",
    signature=POINTWISE,
    input="score",
    target=SIGNS,
    aliases=("squared_hinge_loss", "l2_svm"),
    formula=r"\max(0,\ \mu - y s)^2",
    references=(
        "Cortes and Vapnik 1995, doi:10.1007/BF00994018",
        "Lee and Mangasarian 2001, doi:10.1023/A:1011215321374",
    ),
    parameters={"margin": "[0, inf)"},
    properties=("convex", "smooth", "calibrated", "partly linear"),
)
def squared_hinge(xp: Namespace, pred: Any, target: Any, *, margin: float = 1.0) -> Iterator[Any]:
    """The square of the hinge: no kink, and a pull that grows with the violation.

    `margin` is in the units of the score. There is no factor 1/2. Outliers count more than under the hinge.

    >>> import lossary
    >>> lossary.squared_hinge.grad([2.0, 0.5, -1.0], [1, 1, 1])
    array([-0., -1., -4.])
    """
    violation = margin - target * pred
    shortfall = numerics.positive_part(xp, violation)
    yield shortfall * shortfall
    yield -2 * target * shortfall
    yield 2 * target * target * numerics.step(xp, violation)


@loss(
    family="margin",
    signature=POINTWISE,
    input="score",
    target=SIGNS,
    aliases=("smooth_hinge", "quadratically_smoothed_hinge"),
    formula=r"\frac{c}{\gamma}\left(v - \tfrac{c}{2}\right),\quad v = \max(0, 1 - y s),\ c = \min(v, \gamma)",
    references=(
        "Rennie and Srebro 2005, Loss functions for preference levels",
        "Zhang 2004, Solving large scale linear prediction problems using SGD, doi:10.1145/1015330.1015332",
        "Shalev-Shwartz and Zhang 2013, arXiv:1209.1873",
    ),
    parameters={"gamma": "(0, inf)"},
    properties=("convex", "lipschitz", "smooth", "calibrated", "partly linear"),
)
def smoothed_hinge(xp: Namespace, pred: Any, target: Any, *, gamma: float = 1.0) -> Iterator[Any]:
    """The hinge with a parabola of width `gamma` in place of its corner: smooth, and still linear for wrong answers.

    `gamma` is in the units of the score. With 1 it is Rennie's smooth hinge; as it shrinks, the hinge itself.

    >>> import lossary
    >>> lossary.smoothed_hinge([1.0, 0.5, 0.0, -1.0], [1, 1, 1, 1])
    array([0.   , 0.125, 0.5  , 1.5  ])
    """
    violation = 1 - target * pred
    shortfall = numerics.positive_part(xp, violation)
    clipped = xp.where(shortfall >= gamma, gamma * xp.ones_like(shortfall), shortfall)
    yield clipped / gamma * (shortfall - 0.5 * clipped)
    yield -target * (clipped / gamma)
    yield xp.where(violation >= gamma, xp.zeros_like(violation), target * target * numerics.step(xp, violation) / gamma)


@loss(
    family="margin",
    signature=POINTWISE,
    input="score",
    target=SIGNS,
    aliases=("robust_squared_hinge",),
    formula=r"\max(0, 1 - y s)^2\ \text{if}\ y s \ge -1,\ -4 y s\ \text{otherwise}",
    references=("Zhang 2004, doi:10.1145/1015330.1015332",),
    properties=("convex", "lipschitz", "smooth", "calibrated", "partly linear"),
)
def modified_huber(xp: Namespace, pred: Any, target: Any) -> Iterator[Any]:
    """The squared hinge until the answer is wrong by a margin of 1, linear with slope 4 beyond, so outliers pull alike.

    It is four times the smoothed hinge of width 2, and estimates probabilities: ``(clip(s, -1, 1) + 1) / 2``.

    >>> import lossary
    >>> lossary.modified_huber([0.0, -1.0, -3.0], [1, 1, 1])
    array([ 1.,  4., 12.])
    >>> 4 * lossary.smoothed_hinge([0.0, -1.0, -3.0], [1, 1, 1], gamma=2)
    array([ 1.,  4., 12.])
    """
    violation = 1 - target * pred
    shortfall = numerics.positive_part(xp, violation)
    clipped = xp.where(shortfall >= 2, 2 * xp.ones_like(shortfall), shortfall)
    yield clipped * (2 * shortfall - clipped)
    yield -2 * target * clipped
    yield xp.where(violation >= 2, xp.zeros_like(violation), 2 * target * target * numerics.step(xp, violation))


@loss(
    family="margin",
    signature=POINTWISE,
    input="score",
    target=SIGNS,
    aliases=("perceptron_loss",),
    formula=r"\max(0,\ -y s)",
    references=("Rosenblatt 1958, The perceptron, doi:10.1037/h0042519",),
    properties=("convex", "lipschitz", "piecewise linear"),
)
def perceptron(xp: Namespace, pred: Any, target: Any) -> Iterator[Any]:
    """How far the score lies on the wrong side of 0: a hinge without a margin.

    Correct answers cost nothing however timid, and the score 0 is a minimum: alone, it does not forbid the solution
    that says 0 to everything, and at 0 there is no gradient to leave it by. Start elsewhere, or use the hinge.

    >>> import lossary
    >>> lossary.perceptron([0.1, -0.1], [1, 1])
    array([0. , 0.1])
    """
    violation = -target * pred
    yield numerics.positive_part(xp, violation)
    yield -target * numerics.step(xp, violation)
    yield xp.zeros_like(violation)


@loss(
    family="margin",
    signature=POINTWISE,
    input="score",
    target=SIGNS,
    aliases=("exponential_loss", "adaboost"),
    formula=r"e^{-y s}",
    references=(
        "Freund and Schapire 1997, doi:10.1006/jcss.1997.1504",
        "Friedman, Hastie and Tibshirani 2000, Additive logistic regression, doi:10.1214/aos/1016218223",
    ),
    properties=("convex", "calibrated"),
)
def exponential(xp: Namespace, pred: Any, target: Any) -> Iterator[Any]:
    """The exponential of the negative margin, which AdaBoost minimises step by step; mislabelled examples dominate it.

    Its minimiser is half the log-odds, so ``P(y = 1) = sigmoid(2 s)``. A score of the wrong sign beyond about 709 (88
    in float32) gives infinity, honestly. scikit-learn's `ExponentialLoss` takes labels 0 and 1 for the same quantity.

    >>> import lossary
    >>> lossary.exponential([0.0, 0.0], [1, -1])
    array([1., 1.])
    """
    growth = xp.exp(-target * pred)
    yield growth
    yield -target * growth
    yield target * target * growth


@loss(
    family="margin",
    signature=POINTWISE,
    input="logit",
    target=SIGNS,
    aliases=("soft_margin", "soft_margin_loss", "logistic"),
    formula=r"\log(1 + e^{-y z})",
    likelihood="Bernoulli: P(y | z) = sigmoid(y z) for y in {-1, 1}, whose negative logarithm is log(1 + exp(-y z))",
    references=("Cox 1958, The regression analysis of binary sequences, doi:10.1111/j.2517-6161.1958.tb00292.x",),
    properties=("convex", "lipschitz", "smooth", "proper", "calibrated"),
    elicits="mean",
)
def logistic_margin(xp: Namespace, pred: Any, target: Any) -> Iterator[Any]:
    """Logistic regression with labels -1 and 1: binary cross-entropy on a logit, by another name for the labels.

    Known as the soft margin in torch, although the squared hinge has gone by that name too. Exact at both ends: it is
    the size of the logit when that is large and wrong, and an exponential, not 0, when it is large and right.

    >>> import lossary
    >>> lossary.logistic_margin([-1e4, 0.0, 50.0], [1, 1, 1])
    array([1.00000000e+04, 6.93147181e-01, 1.92874985e-22])
    """
    margin = target * pred
    wrong = numerics.sigmoid(xp, -margin)
    yield numerics.softplus(xp, -margin)
    yield -target * wrong
    yield target * target * wrong * numerics.sigmoid(xp, margin)


@loss(
    family="margin",
    signature="(c),()->()",
    input="score",
    target="{0, ..., c-1}",
    aliases=("weston_watkins", "multi_margin_loss"),
    formula=r"\frac{w_y}{c} \sum_{j \ne y} \max(0,\ \mu - s_y + s_j)^p",
    references=("Weston and Watkins 1999, Support vector machines for multi-class pattern recognition",),
    parameters={"p": "{1, 2}", "margin": "[0, inf)", "class_weight": "(c) [0, inf)"},
    properties=("convex", "partly linear"),
)
def multi_margin(
    xp: Namespace, pred: Any, target: Any, *, p: int = 1, margin: float = 1.0, class_weight: Any = None
) -> Iterator[Any]:
    """The hinge of every wrong class against the true one, summed and divided by the number of classes.

    The sum over wrong classes is divided by c, not by c - 1, as in torch. `p` is 1 for hinges and 2 for their squares,
    `margin` is in the units of the scores, `class_weight` holds one factor for each true class. For the worst wrong
    class only, see `multiclass_hinge`.

    >>> import lossary
    >>> lossary.multi_margin([[1.0, 0.5, 0.0, -3.0]], [0])
    array([0.125])
    """
    wanted = numerics.class_distribution(xp, target, pred)
    score = xp.sum(numerics.times(xp, wanted, pred))
    violation = xp.where(wanted == 1, xp.zeros_like(pred), margin + (pred - score))
    shortfall = numerics.positive_part(xp, violation)
    share = 1 / xp.row_length(pred)
    if class_weight is not None:
        share = share * xp.sum(wanted * class_weight)
    reached = numerics.step(xp, violation)
    if p == 1:
        cost, slope, bend = shortfall, reached, xp.zeros_like(pred)
    else:
        cost, slope, bend = shortfall * shortfall, 2 * shortfall, 2 * reached
    yield share * xp.sum(cost)
    yield share * (slope - wanted * xp.sum(slope))
    yield share * (bend + wanted * xp.sum(bend))


@loss(
    family="margin",
    signature="(c),()->()",
    input="score",
    target="{0, ..., c-1}",
    aliases=("crammer_singer", "multiclass_hinge_loss"),
    formula=r"\max(0,\ \mu + \max_{j \ne y} s_j - s_y)",
    references=(
        "Crammer and Singer 2001, On the algorithmic implementation of multiclass kernel-based vector machines",
    ),
    parameters={"margin": "[0, inf)"},
    properties=("convex", "lipschitz", "piecewise linear"),
)
def multiclass_hinge(xp: Namespace, pred: Any, target: Any, *, margin: float = 1.0) -> Iterator[Any]:
    """How far the score of the true class falls short of its strongest rival plus the margin.

    `margin` is in the units of the scores. Rivals that tie share the gradient. Keras's `CategoricalHinge` is another
    loss: there the right class counts as a rival with score 0, so a lead among negative scores is still charged. For
    every rival within the margin, see `multi_margin`.

    >>> import lossary
    >>> lossary.multiclass_hinge([[-5.0, -3.0], [2.0, 1.5]], [1, 0])   # Keras: 4 for the first row
    array([0. , 0.5])
    """
    wanted = numerics.class_distribution(xp, target, pred)
    score = xp.sum(numerics.times(xp, wanted, pred))
    rival, rivals = numerics.largest(xp, numerics.masked(xp, wanted != 1, pred))
    violation = margin + (rival - score)
    yield numerics.positive_part(xp, violation)
    yield numerics.step(xp, violation) * (rivals - wanted)
    yield xp.zeros_like(pred)


@loss(
    family="margin",
    signature="(c),(c)->()",
    input="score",
    target="{0, 1}",
    aliases=("multilabel_margin_loss",),
    formula=r"\frac1c \sum_{i:\, y_i = 1}\ \sum_{j:\, y_j = 0} \max(0,\ 1 - s_i + s_j)",
    references=("Elisseeff and Weston 2001, A kernel method for multi-labelled classification",),
    properties=("convex", "piecewise linear"),
)
def multilabel_margin(xp: Namespace, pred: Any, target: Any) -> Iterator[Any]:
    """Every present label should outscore every absent one by 1; the shortfalls of all pairs, divided by the classes.

    Targets are rows of 0 and 1. torch takes a row of indices instead, ended by -1, and computes the same number. All
    pairs are formed, so a row of c classes takes memory for c * c numbers.

    >>> import lossary
    >>> lossary.multilabel_margin([[0.1, 0.2, 0.4, 0.8]], [[1, 0, 0, 1]])
    array([0.85])
    """
    pairs = target[..., :, None] * xp.astype(target == 0, pred)[..., None, :]
    violation = 1 - (pred[..., :, None] - pred[..., None, :])
    shortfall = xp.sum(numerics.times(xp, pairs, numerics.positive_part(xp, violation)))[..., 0]
    yield xp.sum(shortfall) / xp.row_length(pred)
    reached = pairs * numerics.step(xp, violation)
    yield (xp.sum(reached, axis=-2)[..., 0, :] - xp.sum(reached)[..., 0]) / xp.row_length(pred)
    yield xp.zeros_like(pred)


@loss(
    family="margin",
    signature="(c),(c)->()",
    input="logit",
    target="[0, 1]",
    aliases=("multilabel_soft_margin_loss",),
    formula=r"\frac1c \sum_k w_k \left[ y_k \log(1 + e^{-z_k}) + (1 - y_k) \log(1 + e^{z_k}) \right]",
    likelihood="Independent Bernoulli labels: P(y_k = 1 | z) = sigmoid(z_k); the mean over labels instead of the sum",
    references=("Zhang and Zhou 2006, Multilabel neural networks, doi:10.1109/TKDE.2006.162",),
    parameters={"class_weight": "(c) [0, inf)"},
    properties=("convex", "smooth", "proper", "calibrated"),
    elicits="mean",
)
def multilabel_soft_margin(xp: Namespace, pred: Any, target: Any, *, class_weight: Any = None) -> Iterator[Any]:
    """Binary cross-entropy of each label on its logit, averaged over the labels of an example.

    `class_weight` holds one factor per label; the sum is divided by the number of labels, not by the sum of the
    factors, as in torch. A target between 0 and 1 is the probability that the label is present.

    >>> import lossary
    >>> lossary.multilabel_soft_margin([[0.0, 1e4], [0.0, 1e4]], [[1, 1], [1, 0]])
    array([3.46573590e-01, 5.00034657e+03])
    """
    share = 1 / xp.row_length(pred)
    if class_weight is not None:
        share = share * class_weight
    present, absent = numerics.sigmoid(xp, pred), numerics.sigmoid(xp, -pred)
    costs = target * numerics.softplus(xp, -pred) + (1 - target) * numerics.softplus(xp, pred)
    yield xp.sum(share * costs)
    yield share * ((1 - target) * present - target * absent)
    yield share * (present * absent)


@loss(
    family="margin",
    signature=POINTWISE,
    input="distance",
    target=SIGNS,
    aliases=("hinge_embedding_loss",),
    formula=r"d\ \text{if}\ y = 1,\ \max(0,\ \mu - d)\ \text{if}\ y = -1",
    references=("Hadsell, Chopra and LeCun 2006, doi:10.1109/CVPR.2006.100",),
    parameters={"margin": "[0, inf)"},
    properties=("convex", "lipschitz", "piecewise linear"),
)
def hinge_embedding(xp: Namespace, pred: Any, target: Any, *, margin: float = 1.0) -> Iterator[Any]:
    """A distance, to be small for pairs that belong together (1) and at least the margin for those that do not (-1).

    Not the hinge of a classifier: `pred` is a distance, already computed. `margin` is in its units; dissimilar pairs
    at or beyond it are left alone (torch still pushes at the margin itself). For the embeddings themselves see
    `contrastive`, which squares both parts.

    >>> import lossary
    >>> lossary.hinge_embedding([0.3, 0.3, 1.5], [1, -1, -1])
    array([0.3, 0.7, 0. ])
    """
    similar = target > 0
    violation = margin - pred
    yield xp.where(similar, pred, numerics.positive_part(xp, violation))
    yield xp.where(similar, xp.ones_like(pred), -numerics.step(xp, violation))
    yield xp.zeros_like(pred)
