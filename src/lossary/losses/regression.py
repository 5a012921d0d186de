"""Regression losses: a prediction and a target that are both real numbers (or rows, for the cosine).

Each loss is a function of the residual ``pred - target``. They differ in how far they believe a large one: the square
follows every outlier, the absolute value counts it once, the pinball looks at one side more than the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.catalogue import loss

__all__ = [
    "absolute_error",
    "cosine_distance",
    "epsilon_insensitive",
    "half_squared_error",
    "huber",
    "log_cosh",
    "mape",
    "msle",
    "pinball",
    "pseudo_huber",
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
    properties=("convex", "strongly convex", "smooth", "symmetric", "proper", "constant curvature"),
    elicits="mean",
)
def squared_error(xp: Namespace, pred: Any, target: Any) -> Iterator[Any]:
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
    properties=("convex", "strongly convex", "smooth", "symmetric", "proper", "constant curvature"),
    elicits="mean",
)
def half_squared_error(xp: Namespace, pred: Any, target: Any) -> Iterator[Any]:
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
    properties=("convex", "lipschitz", "symmetric", "robust", "piecewise linear"),
    elicits="median",
)
def absolute_error(xp: Namespace, pred: Any, target: Any) -> Iterator[Any]:
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
    target_units=("delta",),
    properties=("convex", "lipschitz", "symmetric", "robust", "partly linear"),
)
def huber(xp: Namespace, pred: Any, target: Any, *, delta: float = 1.0) -> Iterator[Any]:
    """Quadratic within `delta` of the target, linear beyond it.

    `delta` is in the units of the target: the residual at which the loss changes from quadratic to linear. As it
    grows this is half the squared error; as it shrinks, `delta` times the absolute error. ``huber(delta) = delta *
    smooth_l1(beta = delta)``.

    >>> import lossary
    >>> lossary.huber([0.5, 3.0], [0.0, 0.0])
    array([0.125, 2.5  ])
    """
    residual = pred - target
    size = numerics.one_sided_abs(xp, residual)
    clipped = xp.where(size >= delta, delta * xp.ones_like(size), size)
    yield clipped * (size - 0.5 * clipped)
    yield xp.sign(residual) * clipped
    yield xp.where(size < delta, xp.ones_like(residual), xp.zeros_like(residual))


@loss(
    family="regression",
    signature=POINTWISE,
    input="real",
    target="real",
    formula=r"\frac{r^2}{2\beta}\ \text{if}\ |r| < \beta,\ |r| - \tfrac{\beta}{2}\ \text{otherwise}",
    likelihood="Huber's density scaled so that the tails have slope 1",
    references=("Girshick 2015, Fast R-CNN, arXiv:1504.08083",),
    parameters={"beta": "[0, inf)"},
    target_units=("beta",),
    properties=("convex", "lipschitz", "symmetric", "robust", "partly linear"),
)
def smooth_l1(xp: Namespace, pred: Any, target: Any, *, beta: float = 1.0) -> Iterator[Any]:
    """The absolute error with a parabola in place of its corner; its gradient is 1 outside, whatever `beta` is.

    `beta` is the half-width of the parabola; with 0 it is the absolute error.

    >>> import lossary
    >>> lossary.smooth_l1([1, 2, 3], [2, 2.5, 3.5])
    array([0.5  , 0.125, 0.125])
    """
    residual = pred - target
    size = xp.abs(residual)
    width = beta * xp.ones_like(residual)
    inside = size < beta
    # The part of the parabola reached, from 0 at the centre to 1 at its edge; with beta = 0 there is no parabola.
    reached = xp.where(inside, numerics.divide(xp, residual, width), xp.sign(residual))
    yield xp.where(inside, 0.5 * residual * reached, size - 0.5 * width)
    yield reached
    yield xp.where(inside, numerics.divide(xp, xp.ones_like(width), width), xp.zeros_like(width))


@loss(
    family="regression",
    signature=POINTWISE,
    input="real",
    target="real",
    aliases=("charbonnier", "pseudo_huber_error"),
    formula=r"\delta^2 \left(\sqrt{1 + (r/\delta)^2} - 1\right),\quad r = \hat y - y",
    likelihood="Hyperbolic density: -log p(y; pred) = delta^2 sqrt(1 + (r / delta)^2) + constant",
    references=(
        "Charbonnier, Blanc-Feraud, Aubert and Barlaud 1994, doi:10.1109/ICIP.1994.413553",
        "Hartley and Zisserman 2003, Multiple View Geometry in Computer Vision, appendix 6.8",
    ),
    parameters={"delta": "(0, inf)"},
    target_units=("delta",),
    properties=("convex", "lipschitz", "smooth", "symmetric", "robust"),
)
def pseudo_huber(xp: Namespace, pred: Any, target: Any, *, delta: float = 1.0) -> Iterator[Any]:
    """Half the squared error near the target, `delta` times the absolute error far away, and smooth in between.

    `delta` is in the units of the target: the residual around which the one turns into the other. Conventions differ:
    image restoration usually omits the ``- 1`` and the scale, ``sqrt(r^2 + e^2)``, whose gradient is the one here
    divided by `delta`; scipy's ``soft_l1`` is twice this loss with `delta` 1.

    >>> import lossary
    >>> lossary.pseudo_huber([1e-6, 1e6], [0.0, 0.0])      # r^2 / 2, then |r| - 1
    array([5.00000e-13, 9.99999e+05])
    """
    residual = pred - target
    size = numerics.one_sided_abs(xp, residual)
    width = delta * xp.ones_like(residual)
    # sqrt(delta^2 + residual^2) = larger * stretch: the larger leg is taken out so that nothing overflows.
    inside = size <= delta
    larger = xp.where(inside, width, size)
    smaller = xp.where(inside, size, width)
    stretch = xp.sqrt(1 + (smaller / larger) * (smaller / larger))
    share = delta / larger
    yield size * (smaller / (stretch + share))  # delta (sqrt(delta^2 + residual^2) - delta) without the difference
    yield xp.where(inside, residual, xp.sign(residual) * width) / stretch
    bend = share / stretch
    yield bend * bend * bend


@loss(
    family="regression",
    signature=POINTWISE,
    input="real",
    target="real",
    aliases=("logcosh", "log_cosh_error"),
    formula=r"\log\cosh(\hat y - y)",
    likelihood="Hyperbolic secant noise: -log(sech(y - pred) / pi) = log cosh(pred - y) + log(pi)",
    references=("Green 1990, Bayesian reconstructions from emission tomography data, doi:10.1109/42.52985",),
    properties=("convex", "lipschitz", "smooth", "symmetric", "robust"),
)
def log_cosh(xp: Namespace, pred: Any, target: Any) -> Iterator[Any]:
    """Half the squared error for small residuals, the absolute error less log 2 for large ones, smooth throughout.

    The change is at a residual of about 1, in whatever units the target has: scale the data, or use `pseudo_huber`,
    where it is a parameter. Its gradient, the hyperbolic tangent, never exceeds 1.

    >>> import lossary
    >>> lossary.log_cosh([1e-6, 1e6], [0.0, 0.0])
    array([5.00000000e-13, 9.99999307e+05])
    """
    residual = pred - target
    size = numerics.one_sided_abs(xp, residual)
    fall = xp.expm1(-2 * size)
    tail = 1 + fall  # exp(-2 size), which vanishes far away
    near = tail > 0.25
    # Near 0, log cosh is half the log of 1 + sinh**2, and sinh keeps its digits.
    sinh_squared = 0.25 * fall * fall / xp.where(near, tail, xp.ones_like(tail))
    excess = xp.log1p(xp.where(near, sinh_squared, tail))
    yield xp.where(near, 0.5 * excess, size + excess - 0.6931471805599453)
    yield xp.tanh(residual)
    yield numerics.sech_squared(xp, residual)


@loss(
    family="regression",
    signature=POINTWISE,
    input="real",
    target="real",
    aliases=("quantile", "quantile_loss", "pinball_loss", "check_loss"),
    formula=r"\max\big(q\,(y - \hat y),\ (q - 1)(y - \hat y)\big)",
    likelihood="Asymmetric Laplace noise of scale 1: -log p(y; pred, q) = pinball - log(q (1 - q))",
    references=("Koenker and Bassett 1978, doi:10.2307/1913643",),
    parameters={"quantile": "(0, 1)"},
    properties=("convex", "lipschitz", "robust", "proper", "piecewise linear"),
    elicits="quantile",
)
def pinball(xp: Namespace, pred: Any, target: Any, *, quantile: float = 0.5) -> Iterator[Any]:
    """A tilted absolute error; its mean is minimised by the conditional quantile.

    A prediction that is too low costs `quantile` per unit, one that is too high ``1 - quantile``: at 0.9 the best
    prediction is exceeded by one target in ten. At 0.5 this is *half* the absolute error (pytorch-forecasting doubles
    it). For a residual of exactly 0 the gradient is the subgradient 0.

    >>> import lossary
    >>> lossary.pinball([0.0, 2.0], [1.0, 1.0], quantile=0.9)       # too low, too high
    array([0.9, 0.1])
    """
    residual = pred - target
    above = numerics.positive_part(xp, residual)
    below = numerics.positive_part(xp, -residual)
    yield quantile * below + (1 - quantile) * above
    yield (1 - quantile) * xp.sign(above) - quantile * xp.sign(below)
    yield xp.zeros_like(residual)


@loss(
    family="regression",
    signature=POINTWISE,
    input="real",
    target="real",
    aliases=("svr", "epsilon_insensitive_loss", "l1_epsilon_insensitive"),
    formula=r"\max(0,\ |\hat y - y| - \varepsilon)",
    references=("Vapnik 1995, The Nature of Statistical Learning Theory, doi:10.1007/978-1-4757-2440-0",),
    parameters={"epsilon": "[0, inf)"},
    target_units=("epsilon",),
    properties=("convex", "lipschitz", "symmetric", "robust", "piecewise linear"),
)
def epsilon_insensitive(xp: Namespace, pred: Any, target: Any, *, epsilon: float = 0.1) -> Iterator[Any]:
    """The absolute error beyond a tube around the target; inside it an error costs nothing, as in support vectors.

    `epsilon` is the half-width of the tube in the units of the target; with 0 this is the absolute error. On the edge
    of the tube the gradient is the subgradient 0.

    >>> import lossary
    >>> lossary.epsilon_insensitive([1.05, 3.0], [1.0, 1.0], epsilon=0.5)
    array([0. , 1.5])
    """
    residual = pred - target
    excess = numerics.positive_part(xp, xp.abs(residual) - epsilon)
    yield excess
    yield xp.sign(residual) * xp.sign(excess)
    yield xp.zeros_like(residual)


@loss(
    family="regression",
    signature=POINTWISE,
    input="real",
    target="real",
    aliases=("mean_absolute_percentage_error", "absolute_percentage_error"),
    formula=r"\frac{|\hat y - y|}{\max(|y|, \varepsilon)}",
    references=("Armstrong 1985, Long-Range Forecasting: From Crystal Ball to Computer",),
    parameters={"epsilon": "(0, inf)"},
    target_units=("epsilon",),
    properties=("convex", "piecewise linear"),
)
def mape(xp: Namespace, pred: Any, target: Any, *, epsilon: float = 1e-7) -> Iterator[Any]:
    """The size of the residual as a fraction of the size of the target.

    0.1 means ten per cent: a fraction, as in scikit-learn; Keras multiplies by 100. `epsilon`, in the units of the
    target, is the least size a target is taken to have, for the fraction of zero is undefined: targets at or near 0
    then dominate everything else, so use this loss where they do not occur (LightGBM and CatBoost take 1 for it).
    Minimising it favours predictions that are too low, since those never cost more than 1 while the sign is right.

    >>> import lossary
    >>> lossary.mape([110.0, 0.9], [100.0, 1.0])
    array([0.1, 0.1])
    """
    residual = pred - target
    scale = xp.maximum(xp.abs(target), epsilon)
    yield xp.abs(residual) / scale
    yield xp.sign(residual) / scale
    yield xp.zeros_like(residual)


@loss(
    family="regression",
    signature=POINTWISE,
    input="(-1, inf)",
    target="(-1, inf)",
    aliases=("mean_squared_logarithmic_error", "squared_log_error"),
    formula=r"\left(\log(1 + \hat y) - \log(1 + y)\right)^2",
    likelihood="Log-normal noise of constant spread: log(1 + y) is Gaussian around log(1 + pred)",
    references=("Kaggle 2012, Online Product Sales (root mean squared logarithmic error as its metric)",),
)
def msle(xp: Namespace, pred: Any, target: Any) -> Iterator[Any]:
    """The squared difference of ``log(1 + value)``: relative error for large values, absolute error near 0.

    Prediction and target must exceed -1, as in scikit-learn; Keras raises values below 1e-7 to it, XGBoost halves the
    square. It is not convex: beyond ``1 + pred = e (1 + target)`` the curvature is negative. A model that predicts
    ``log(1 + y)`` directly is better served by `squared_error`.

    >>> import lossary
    >>> lossary.msle([21.0, 2199.0], [10.0, 1099.0])           # a factor of two, small or large, costs alike
    array([0.48045301, 0.48045301])
    """
    residual = pred - target
    near = xp.abs(residual) < 0.5 * (1 + target)
    # log((1 + pred) / (1 + target)): where the two agree, from their difference; elsewhere the logarithms are apart.
    change = xp.where(near, residual, xp.zeros_like(residual)) / (1 + target)
    log_ratio = xp.where(near, xp.log1p(change), xp.log1p(pred) - xp.log1p(target))
    slope = 1 / (1 + pred)
    yield log_ratio * log_ratio
    yield 2 * log_ratio * slope
    yield 2 * (1 - log_ratio) * slope * slope


@loss(
    family="regression",
    signature="(d),(d)->()",
    input="embedding",
    target="real",
    aliases=("cosine", "cosine_loss"),
    formula=r"1 - \frac{\langle \hat y, y \rangle}{\|\hat y\|\,\|y\|}",
    likelihood="Von Mises-Fisher noise of concentration 1: -log p(y / |y|; pred / |pred|) = 1 - cos + constant",
    references=("Salton, Wong and Yang 1975, A vector space model for automatic indexing, doi:10.1145/361219.361220",),
    properties=("bounded", "symmetric"),
)
def cosine_distance(xp: Namespace, pred: Any, target: Any) -> Iterator[Any]:
    """One minus the cosine of the angle between two vectors: 0 if parallel, 1 if orthogonal, 2 if opposite.

    Only directions count. A zero vector has none: its cosine is taken as 0, so the distance is 1 and the gradient 0.
    Conventions differ: optax is as here, Keras and lightly give *minus* the cosine, and MLX *plus* the cosine, which
    pushes apart when minimised. The value is half the squared distance of the unit vectors, so nearly parallel vectors
    keep their digits.

    >>> import lossary
    >>> lossary.cosine_distance([[1.0, 0.0], [1.0, 0.0]], [[5.0, 0.0], [1.0, 1e-8]])
    array([0.e+00, 5.e-17])
    """
    direction, length = numerics.unit(xp, pred)
    target_direction, _ = numerics.unit(xp, target)
    distance = numerics.one_minus_cosine(xp, direction, target_direction)
    yield distance
    gradient = -numerics.unit_pullback(xp, direction, length, target_direction)
    yield gradient
    yield -numerics.cosine_curvature(xp, direction, length, -gradient, 1 - distance)
