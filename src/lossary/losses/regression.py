"""Regression: a prediction and a target that are both real numbers (or rows, for the cosine).

Each loss is a function of the residual ``pred - target``. They differ in how far they believe a large one: the square
follows every outlier, the absolute value counts it once, the pinball looks at one side more than the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary import numerics
from lossary.catalogue import loss

__all__ = [
    "absolute_error",
    "half_squared_error",
    "huber",
    "smooth_l1",
    "squared_error",
]

POINTWISE = "(),()->()"


@loss(
    family="regression",
    signature=POINTWISE,
    input="real",
    target="real",
    aliases=("mse", "mean_squared_error", "l2_loss", "quadratic"),
    formula=r"(\hat y - y)^2",
    likelihood="Gaussian noise of constant variance: -log N(y; pred, s^2) = (pred - y)^2 / (2 s^2) + constant",
    references=("Legendre 1805, Nouvelles methodes pour la determination des orbites des cometes", "Gauss 1809"),
    properties=("convex", "strongly convex", "smooth", "symmetric", "proper"),
)
def squared_error(xp: Any, pred: Any, target: Any) -> Iterator[Any]:
    """The square of the residual; its mean is the MSE, minimised by the conditional mean.

    There is no factor 1/2 here, as in `torch.nn.MSELoss` and Keras; see `half_squared_error` for the other convention.

    >>> import lossary
    >>> lossary.squared_error([1, 2, 3], [2, 2.5, 3.5])
    array([1.  , 0.25, 0.25])
    """
    residual = pred - target
    yield residual * residual
    yield 2 * residual
    yield 2 * xp.ones_like(residual)


@loss(
    family="regression",
    signature=POINTWISE,
    input="real",
    target="real",
    aliases=("l2", "half_mse"),
    formula=r"\tfrac12 (\hat y - y)^2",
    likelihood="Gaussian noise of variance 1: -log N(y; pred, 1) = (pred - y)^2 / 2 + constant",
    references=("Gauss 1809, Theoria motus corporum coelestium",),
    properties=("convex", "strongly convex", "smooth", "symmetric", "proper"),
)
def half_squared_error(xp: Any, pred: Any, target: Any) -> Iterator[Any]:
    """Half the square of the residual, so that the gradient is the residual itself.

    >>> import lossary
    >>> lossary.half_squared_error.grad([3.0], [1.0])
    array([2.])
    """
    residual = pred - target
    yield 0.5 * residual * residual
    yield residual
    yield xp.ones_like(residual)


@loss(
    family="regression",
    signature=POINTWISE,
    input="real",
    target="real",
    aliases=("mae", "mean_absolute_error", "l1", "l1_loss", "lad"),
    formula=r"|\hat y - y|",
    likelihood="Laplace noise of constant scale: -log p(y; pred, b) = |pred - y| / b + constant",
    references=("Boscovich 1757", "Laplace 1774, Memoire sur la probabilite des causes par les evenements"),
    properties=("convex", "lipschitz", "symmetric", "robust"),
)
def absolute_error(xp: Any, pred: Any, target: Any) -> Iterator[Any]:
    """The size of the residual; its mean is minimised by the conditional median, so gross outliers barely move it.

    At a residual of exactly 0 the gradient is the subgradient 0.

    >>> import lossary
    >>> lossary.absolute_error.grad([1.0, 5.0, 100.0], [1.0, 1.0, 1.0])   # every error pulls alike
    array([0., 1., 1.])
    """
    residual = pred - target
    yield xp.abs(residual)
    yield xp.sign(residual)
    yield xp.zeros_like(residual)


@loss(
    family="regression",
    signature=POINTWISE,
    input="real",
    target="real",
    formula=r"\tfrac12 c^2 + \delta(|r| - c),\quad r = \hat y - y,\ c = \min(|r|, \delta)",
    likelihood="Huber's least favourable density: Gaussian centre, Laplace tails from delta on",
    references=("Huber 1964, doi:10.1214/aoms/1177703732",),
    parameters={"delta": "(0, inf)"},
    properties=("convex", "lipschitz", "symmetric", "robust"),
)
def huber(xp: Any, pred: Any, target: Any, *, delta: float = 1.0) -> Iterator[Any]:
    """Quadratic within `delta` of the target, linear beyond it.

    `delta` is in the units of the target: the residual at which an error stops being believed. As it grows this is
    half the squared error; as it shrinks, `delta` times the absolute error. ``huber(delta) = delta * smooth_l1(beta =
    delta)``.

    >>> import lossary
    >>> lossary.huber([0.5, 3.0], [0.0, 0.0])
    array([0.125, 2.5  ])
    """
    residual = pred - target
    size = xp.abs(residual)
    clipped = xp.minimum(size, delta)
    yield clipped * (size - 0.5 * clipped)
    yield xp.sign(residual) * clipped
    yield xp.where(size <= delta, xp.ones_like(residual), xp.zeros_like(residual))


@loss(
    family="regression",
    signature=POINTWISE,
    input="real",
    target="real",
    formula=r"\frac{r^2}{2\beta}\ \text{if}\ |r| < \beta,\ |r| - \tfrac{\beta}{2}\ \text{otherwise}",
    likelihood="Huber's density scaled so that the tails have slope 1",
    references=("Girshick 2015, Fast R-CNN, arXiv:1504.08083",),
    parameters={"beta": "[0, inf)"},
    properties=("convex", "lipschitz", "symmetric", "robust"),
)
def smooth_l1(xp: Any, pred: Any, target: Any, *, beta: float = 1.0) -> Iterator[Any]:
    """The absolute error with a parabola in place of its corner; slope 1 outside whatever `beta`.

    `beta` is the half-width of the parabola; with 0 it is the absolute error.

    >>> import lossary
    >>> lossary.smooth_l1([1, 2, 3], [2, 2.5, 3.5])
    array([0.5  , 0.125, 0.125])
    """
    residual = pred - target
    size = xp.abs(residual)
    clipped = xp.minimum(size, beta)
    # The part of the parabola reached, from 0 at the centre to 1 at its edge; with beta = 0 there is no parabola.
    reached = xp.where(size < beta, numerics.divide(xp, clipped, beta + 0 * clipped), xp.ones_like(residual))
    yield size - clipped + 0.5 * clipped * reached
    yield xp.sign(residual) * reached
    yield xp.where(size < beta, numerics.divide(xp, xp.ones_like(residual), beta + 0 * clipped), 0 * clipped)
