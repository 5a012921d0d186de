"""Segmentation losses: how far a predicted region and a true one overlap.

One example is one region: a row of n pixels, each with a probability and a target. Leading dimensions are the batch,
so arrays of shape (images, classes, pixels) give one value per image and class, and pooling is said aloud: flatten
images and pixels together to pool over a batch, take `lossary.mean` to average. Flatten height and width first:
``pred.reshape(images, classes, -1)``.

Every loss here is ``errors / (hits + errors)``: sums of non-negative terms, so that an overlap that is nearly perfect
is measured as exactly as a poor one. With ``smooth = 0``, an empty region predicted to be empty costs 0, with gradient
0; an empty region predicted to have anything in it costs 1, also with gradient 0, because the quotient does not depend
on how much. Where absent classes are common, a `smooth` above 0 gives them a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.catalogue import loss

__all__ = ["dice", "generalized_dice", "jaccard", "tversky"]

PIXELS = "(n),(n)->()"


def _counts(xp: Namespace, pred: Any, target: Any) -> tuple[Any, Any, Any]:
    """Return the soft numbers of true positives, false positives and false negatives among the pixels."""
    return xp.sum(pred * target), xp.sum(pred * (1 - target)), xp.sum((1 - pred) * target)


def _share_gradient(xp: Namespace, errors: Any, hits: Any, errors_slope: Any, hits_slope: Any) -> Any:
    """Return the gradient of ``errors / (hits + errors)``, given those of the two sums; 0 where both are 0."""
    whole = hits + errors
    # The two shares are formed first: the square of `whole` would underflow before `whole` does.
    change = errors_slope * numerics.divide(xp, hits, whole) - hits_slope * numerics.divide(xp, errors, whole)
    return numerics.divide(xp, change, whole)


def _share_curvature(xp: Namespace, errors: Any, hits: Any, errors_slope: Any, hits_slope: Any, gradient: Any) -> Any:
    """Return the Hessian diagonal of the same quotient of sums that are linear in every pixel."""
    return -2 * gradient * numerics.divide(xp, errors_slope + hits_slope, hits + errors)


@loss(
    family="segmentation",
    signature=PIXELS,
    input="probability",
    target="[0, 1]",
    aliases=("dice_loss", "soft_dice", "sorensen_dice", "f1_loss"),
    formula=r"1 - \frac{2 \sum_i p_i y_i + \varepsilon}{\sum_i p_i + \sum_i y_i + \varepsilon}",
    references=(
        "Dice 1945, Measures of the amount of ecologic association between species, doi:10.2307/1932409",
        "Milletari, Navab and Ahmadi 2016, V-Net, arXiv:1606.04797",
    ),
    parameters={"smooth": "[0, inf)"},
    properties=("bounded", "symmetric"),
)
def dice(xp: Namespace, pred: Any, target: Any, *, smooth: float = 0.0) -> Iterator[Any]:
    """One minus twice the overlap of two regions over the sum of their sizes, indifferent to how large the rest is.

    `smooth` (in pixels) is added to numerator and denominator. It pulls small regions towards 0 loss, and gives empty
    ones a gradient; with 0, empty against empty costs 0. Denominators are plain sums; V-Net and mmdet square them.
    Conventions differ elsewhere: MONAI smooths with 1e-5 per image and class; segmentation_models_pytorch pools the
    batch and leaves out absent classes; Keras pools everything and charges 1 for empty against empty; optax adds
    `smooth` to the halved sums (1 there is 2 here).

    >>> import lossary
    >>> lossary.dice([[1, 1, 0, 0], [0, 0, 0, 0]], [[1, 0, 0, 0], [0, 0, 0, 0]])
    array([0.33333333, 0.        ])
    """
    overlap, false_positives, false_negatives = _counts(xp, pred, target)
    errors, hits = 0.5 * (false_positives + false_negatives), overlap + 0.5 * smooth
    yield numerics.divide(xp, errors, hits + errors)
    errors_slope = 0.5 - target
    gradient = _share_gradient(xp, errors, hits, errors_slope, target)
    yield gradient
    yield _share_curvature(xp, errors, hits, errors_slope, target, gradient)


@loss(
    family="segmentation",
    signature=PIXELS,
    input="probability",
    target="[0, 1]",
    aliases=("tversky_loss",),
    formula=r"1 - \frac{T + \varepsilon}{T + \alpha F_+ + \beta F_- + \varepsilon},\quad "
    r"T = \sum_i p_i y_i,\ F_+ = \sum_i p_i (1 - y_i),\ F_- = \sum_i (1 - p_i) y_i",
    references=(
        "Tversky 1977, Features of similarity, doi:10.1037/0033-295X.84.4.327",
        "Salehi, Erdogmus and Gholipour 2017, arXiv:1706.05721",
    ),
    parameters={"alpha": "[0, inf)", "beta": "[0, inf)", "smooth": "[0, inf)"},
    properties=("bounded",),
)
def tversky(
    xp: Namespace, pred: Any, target: Any, *, alpha: float = 0.5, beta: float = 0.5, smooth: float = 0.0
) -> Iterator[Any]:
    """An overlap in which false alarms and misses have prices of their own.

    `alpha` is the price of a false positive, `beta` that of a false negative, as in Keras, optax, MONAI and
    segmentation_models_pytorch; raise `beta` to find more of a small structure (the paper takes 0.3 and 0.7). With 1/2
    each it is `dice`, with 1 each `jaccard`. `smooth` (in pixels) is added to numerator and denominator.

    >>> import lossary
    >>> lossary.tversky([[0, 1, 0], [1, 1, 1]], [[1, 1, 0], [1, 1, 0]], alpha=0.0)   # false alarms are free
    array([0.33333333, 0.        ])
    """
    overlap, false_positives, false_negatives = _counts(xp, pred, target)
    errors, hits = alpha * false_positives + beta * false_negatives, overlap + smooth
    yield numerics.divide(xp, errors, hits + errors)
    errors_slope = alpha * (1 - target) - beta * target
    gradient = _share_gradient(xp, errors, hits, errors_slope, target)
    yield gradient
    yield _share_curvature(xp, errors, hits, errors_slope, target, gradient)


@loss(
    family="segmentation",
    signature=PIXELS,
    input="probability",
    target="[0, 1]",
    aliases=("jaccard_loss", "soft_iou", "soft_jaccard"),
    formula=r"1 - \frac{\sum_i p_i y_i + \varepsilon}{\sum_i p_i + \sum_i y_i - \sum_i p_i y_i + \varepsilon}",
    references=(
        "Jaccard 1912, The distribution of the flora in the alpine zone, doi:10.1111/j.1469-8137.1912.tb05611.x",
        "Rahman and Wang 2016, Optimizing intersection-over-union, doi:10.1007/978-3-319-50835-1_22",
    ),
    parameters={"smooth": "[0, inf)"},
    properties=("bounded", "symmetric"),
)
def jaccard(xp: Namespace, pred: Any, target: Any, *, smooth: float = 0.0) -> Iterator[Any]:
    """One minus intersection over union, with products and sums of probabilities in place of the sets.

    It orders predictions as `dice` does, and charges partial overlaps more: ``jaccard = 2 dice / (1 + dice)``.
    `smooth` (in pixels) is added to numerator and denominator.

    >>> import lossary
    >>> lossary.jaccard([[1, 1, 0, 0]], [[1, 0, 0, 0]])
    array([0.5])
    """
    overlap, false_positives, false_negatives = _counts(xp, pred, target)
    errors, hits = false_positives + false_negatives, overlap + smooth
    yield numerics.divide(xp, errors, hits + errors)
    errors_slope = 1 - 2 * target
    gradient = _share_gradient(xp, errors, hits, errors_slope, target)
    yield gradient
    yield _share_curvature(xp, errors, hits, errors_slope, target, gradient)


@loss(
    family="segmentation",
    signature="(k,n),(k,n)->()",
    input="probability",
    target="[0, 1]",
    aliases=("generalized_dice_loss", "gdl"),
    formula=r"1 - \frac{2 \sum_k w_k \sum_i p_{ki} y_{ki} + \varepsilon}"
    r"{\sum_k w_k \sum_i (p_{ki} + y_{ki}) + \varepsilon},\quad w_k = \Big(\sum_i y_{ki}\Big)^{-2}",
    references=("Sudre et al. 2017, Generalised Dice overlap, arXiv:1707.03237",),
    parameters={"weighting": "one of square, simple, uniform", "smooth": "[0, inf)"},
    properties=("bounded",),
)
def generalized_dice(
    xp: Namespace, pred: Any, target: Any, *, weighting: str = "square", smooth: float = 0.0
) -> Iterator[Any]:
    """One Dice quotient for all classes of an image, in which a small class counts as much as a large one.

    `weighting` divides each class by the square of its true size (``square``), by its size (``simple``), or not at all
    (``uniform``). A class that is absent from the image has the weight of the smallest class present, so that false
    alarms for it are charged; with nothing present at all, the loss is 0. Weights depend on the target alone.
    `smooth` is added to numerator and denominator, beside sums that the weights have made small.

    >>> import lossary
    >>> target = [[[1, 1, 1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0, 0, 1]]]
    >>> everything_large = [[[1] * 8, [0] * 8]]
    >>> lossary.generalized_dice(everything_large, target, weighting="uniform")
    array([0.125])
    >>> lossary.generalized_dice(everything_large, target).round(2)      # missing the small class is no small matter
    array([0.78])
    """
    overlap, false_positives, false_negatives = _counts(xp, pred, target)
    sizes = xp.sum(target)
    if weighting == "uniform":
        weights = xp.ones_like(sizes)
    else:
        inverse = numerics.divide(xp, xp.ones_like(sizes), sizes)
        inverse = xp.where(sizes == 0, xp.max(inverse, axis=-2), inverse)
        weights = inverse * inverse if weighting == "square" else inverse
    errors = xp.sum(weights * (0.5 * (false_positives + false_negatives)), axis=-2)
    hits = xp.sum(weights * overlap, axis=-2) + 0.5 * smooth
    yield numerics.divide(xp, errors, hits + errors)
    errors_slope, hits_slope = weights * (0.5 - target), weights * target
    gradient = _share_gradient(xp, errors, hits, errors_slope, hits_slope)
    yield gradient
    yield _share_curvature(xp, errors, hits, errors_slope, hits_slope, gradient)
