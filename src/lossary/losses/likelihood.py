"""Likelihood losses: the negative log of a density or a probability mass, as a function of its parameters.

Terms free of everything that is predicted are left out, as they move no gradient; `full` adds them, and then
``exp(-value)`` is the density or the probability itself, so that values of different families compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.catalogue import loss

__all__ = [
    "gamma_nll",
    "gaussian_nll",
    "laplace_nll",
    "negative_binomial_nll",
    "poisson_nll",
    "poisson_nll_rate",
    "student_t_nll",
    "tweedie_deviance",
]

POINTWISE = "(),()->()"


@loss(
    family="likelihood",
    signature="(),(),()->()",
    input="real",
    target="real",
    domains={"target": "real", "var": "positive"},
    wrt=("pred", "var"),
    aliases=("gaussian_nll_loss", "normal_nll", "heteroscedastic_gaussian"),
    formula=r"\tfrac12 \left(\log v + \frac{(\hat y - y)^2}{v}\right)",
    likelihood="Gaussian noise of predicted variance v: -log N(y; pred, v) = (log v + r^2 / v) / 2 + log(2 pi) / 2",
    references=("Nix and Weigend 1994, doi:10.1109/ICNN.1994.374138", "Kendall and Gal 2017, arXiv:1703.04977"),
    parameters={"full": "flag"},
    properties=("proper",),
)
def gaussian_nll(xp: Namespace, pred: Any, target: Any, var: Any, *, full: bool = False) -> Iterator[Any]:
    """Negative log-likelihood of a target under a Gaussian whose mean and variance are both predicted.

    `var` is the variance, in squared units of the target, not the standard deviation; it must be positive. The order
    of arguments is that of `torch.nn.GaussianNLLLoss`, which raises small variances to 1e-6 and still passes their
    gradient; nothing is raised here. `full` adds ``log(2 pi) / 2``.

    A large residual costs less where a large variance was predicted: the best variance is the squared residual.

    >>> import lossary
    >>> _, (by_pred, by_var) = lossary.gaussian_nll.value_and_grad([3.0], [1.0], [4.0])
    >>> by_pred, by_var
    (array([0.5]), array([0.]))
    """
    residual = pred - target
    standardised = numerics.one_sided_abs(xp, residual) / xp.sqrt(var)
    value = 0.5 * (xp.log(var) + standardised * standardised)
    if full:
        value = value + 0.9189385332046727
    yield value
    # (1 - z^2) / var and (z^2 - 1/2) / var^2, as products whose factors overflow only if they do.
    yield residual / var, 0.5 * (1 - standardised) * ((1 + standardised) / var)
    half_root = 0.7071067811865476
    yield 1 / var, ((standardised - half_root) / var) * ((standardised + half_root) / var)


@loss(
    family="likelihood",
    signature="(),(),()->()",
    input="real",
    target="real",
    domains={"target": "real", "scale": "positive"},
    wrt=("pred", "scale"),
    aliases=("laplace_nll_loss", "heteroscedastic_laplace"),
    formula=r"\log b + \frac{|\hat y - y|}{b}",
    likelihood="Laplace noise of predicted scale b: -log(exp(-|r| / b) / (2 b)) = log b + |r| / b + log 2",
    references=("Laplace 1774, Memoire sur la probabilite des causes par les evenements",),
    parameters={"full": "flag"},
    properties=("proper", "robust"),
)
def laplace_nll(xp: Namespace, pred: Any, target: Any, scale: Any, *, full: bool = False) -> Iterator[Any]:
    """Negative log-likelihood of a target under a Laplace density whose location and scale are both predicted.

    `scale` is the mean absolute deviation, in the units of the target: the standard deviation over the root of 2. It
    must be positive. `full` adds log 2. At a residual of exactly 0 the gradient in `pred` is the subgradient 0.

    >>> import lossary
    >>> lossary.laplace_nll.grad([3.0], [1.0], [2.0])      # the best scale is the size of the residual
    (array([0.5]), array([0.]))
    """
    residual = pred - target
    standardised = xp.abs(residual) / scale
    value = xp.log(scale) + standardised
    if full:
        value = value + 0.6931471805599453
    yield value
    yield xp.sign(residual) / scale, (1 - standardised) / scale
    yield xp.zeros_like(residual), (2 * standardised - 1) / scale / scale


@loss(
    family="likelihood",
    signature=POINTWISE,
    input="real",
    target="real",
    aliases=("student_t", "student_t_nll_loss"),
    formula=r"\frac{\nu + 1}{2} \log\left(1 + \frac{(\hat y - y)^2}{\nu s^2}\right)",
    likelihood="Student's t noise: -log p(y; pred, s, nu) = (nu + 1) / 2 log(1 + r^2 / (nu s^2)) + constant",
    references=(
        "Student 1908, doi:10.1093/biomet/6.1.1",
        "Lange, Little and Taylor 1989, doi:10.1080/01621459.1989.10478852",
    ),
    parameters={"df": "(0, inf)", "scale": "(0, inf)", "full": "flag"},
    target_units=("scale",),
    properties=("lipschitz", "smooth", "symmetric", "robust"),
)
def student_t_nll(
    xp: Namespace, pred: Any, target: Any, *, df: float = 4.0, scale: float = 1.0, full: bool = False
) -> Iterator[Any]:
    """Negative log-likelihood under Student's t: gross errors cost their logarithm and have almost no gradient.

    `df`, the degrees of freedom, says how heavy the tails are: 1 is the Cauchy density, and as it grows the loss tends
    to the Gaussian one. `scale` is in the units of the target. Both are numbers, or arrays with one entry per example,
    and are not differentiated. `full` adds ``log(scale)`` and the logarithm of the density's normalising constant. The
    pull is largest at a residual of ``scale sqrt(df)``; beyond it the loss is not convex.

    >>> import lossary
    >>> lossary.student_t_nll.grad([2.0, 1e6], [0.0, 0.0], df=4.0)
    array([1.25e+00, 5.00e-06])
    """
    spread = scale * df**0.5
    residual = pred - target
    size = numerics.one_sided_abs(xp, residual)
    width = spread + xp.zeros_like(residual)
    # spread^2 + residual^2 = larger^2 (1 + square): nothing is squared that may overflow, and square is at most 1.
    inside = size <= spread
    larger = xp.where(inside, width, size)
    smaller = xp.where(inside, size, width)
    square = (smaller / larger) * (smaller / larger)
    value = (df + 1) * (0.5 * xp.log1p(square) + 2 * xp.log(xp.sqrt(larger) / spread**0.5))
    if full:
        half_df = 0.5 * df + xp.zeros_like(residual)
        log_gammas = numerics.log_rising(xp, half_df, 0.5 * xp.ones_like(residual))
        value = value + (xp.log(width) + 0.5723649429247001 - log_gammas)
    yield value
    reach = residual / larger
    yield (df + 1) * reach / larger / (1 + square)
    bend = spread / larger
    yield (df + 1) * ((bend - reach) / larger) * ((bend + reach) / larger) / (1 + square) / (1 + square)


@loss(
    family="likelihood",
    signature=POINTWISE,
    input="log-rate",
    target="{0, 1, 2, ...}",
    aliases=("poisson_nll_loss", "half_poisson_loss", "poisson_nll_log_rate"),
    formula=r"e^{s} - y s",
    likelihood="Poisson counts of mean exp(s): -log(exp(-m) m^y / y!) with log m = s is exp(s) - y s + log y!",
    references=("Poisson 1837, Recherches sur la probabilite des jugements", "Nelder and Wedderburn 1972"),
    parameters={"full": "flag"},
    properties=("convex", "proper"),
    elicits="mean",
)
def poisson_nll(xp: Namespace, log_rate: Any, target: Any, *, full: bool = False) -> Iterator[Any]:
    """Negative log-likelihood of a count under a Poisson distribution, given the logarithm of its rate.

    This is `torch.nn.PoissonNLLLoss` with its default ``log_input=True``; Keras takes the rate itself, see
    `poisson_nll_rate`. `full` adds the exact ``log(target!)``, where torch adds Stirling's approximation, and that only
    above 1. A log-rate of ``-inf`` is a rate of 0: it costs nothing where the count is 0, and ``inf`` elsewhere. For
    amounts that are not whole numbers see `generalized_kl`.

    >>> import lossary, math
    >>> value = lossary.poisson_nll(math.log(2.0), 3, full=True)
    >>> round(float(math.exp(-value)), 12), round(2.0**3 * math.exp(-2.0) / 6, 12)
    (0.180447044315, 0.180447044315)
    """
    rate = xp.exp(log_rate)
    if full:
        # Together: for a large count the plain terms would cancel nearly all their digits.
        log_ratio = log_rate - xp.log(target)
        value = numerics.i_divergence(xp, rate, target, log_ratio) + numerics.log_factorial_excess(xp, target)
    else:
        value = rate - numerics.times(xp, target, log_rate)
    yield value
    yield rate - target
    yield rate


@loss(
    family="likelihood",
    signature=POINTWISE,
    input="rate",
    target="{0, 1, 2, ...}",
    formula=r"\mu - y \log \mu",
    likelihood="Poisson counts of mean m: -log(exp(-m) m^y / y!) = m - y log m + log y!",
    references=("Poisson 1837, Recherches sur la probabilite des jugements", "Nelder and Wedderburn 1972"),
    parameters={"full": "flag"},
    properties=("convex", "proper", "partly linear"),
    elicits="mean",
    unbounded_form="poisson_nll",
)
def poisson_nll_rate(xp: Namespace, rate: Any, target: Any, *, full: bool = False) -> Iterator[Any]:
    """Negative log-likelihood of a count under a Poisson distribution, given its rate.

    Prefer `poisson_nll`, whose log-rate may be any number: here the rate must not be negative, and the gradient grows
    without bound as it nears 0. It is the `poisson` of Keras, without the 1e-7 that is added there inside the
    logarithm. A rate of 0 costs nothing where the count is 0, and ``inf`` elsewhere. `full` adds ``log(target!)``.

    >>> import lossary
    >>> lossary.poisson_nll_rate([0.0, 0.0, 2.0], [0, 1, 2])
    array([0.        ,        inf, 0.61370564])
    """
    rate = numerics.rounded_into(xp, rate, 0.0)
    if full:
        log_ratio = xp.log(rate / target)
        value = numerics.i_divergence(xp, rate, target, log_ratio) + numerics.log_factorial_excess(xp, target)
    else:
        value = rate - numerics.xlogy(xp, target, rate)
    yield value
    divisor = xp.where(target == 0, xp.ones_like(rate), rate)  # no count, no pole
    yield 1 - target / divisor
    yield target / divisor / divisor


@loss(
    family="likelihood",
    signature=POINTWISE,
    input="log-rate",
    target="(0, inf)",
    aliases=("half_gamma_loss", "gamma_nll_loss"),
    formula=r"k \left(s + y e^{-s}\right)",
    likelihood="Gamma law of shape k and mean exp(s): -log p(y) = k (s + y exp(-s)) + terms in y and k alone",
    references=(
        "Nelder and Wedderburn 1972, doi:10.2307/2344614",
        "McCullagh and Nelder 1989, Generalized Linear Models",
    ),
    parameters={"shape": "(0, inf)", "full": "flag"},
    properties=("convex", "proper"),
    elicits="mean",
)
def gamma_nll(xp: Namespace, log_mean: Any, target: Any, *, shape: float = 1.0, full: bool = False) -> Iterator[Any]:
    """Negative log-likelihood of a positive amount under a gamma distribution, given the logarithm of its mean.

    The noise is a constant fraction of the mean, ``1 / sqrt(shape)``: waiting times, sizes of claims, spectra. `shape`
    is the gamma law's exponent k: 1 is the exponential law, large is nearly Gaussian; the best mean does not depend on
    it. `full` adds the terms in the target and the shape alone.

    >>> import lossary
    >>> lossary.gamma_nll.grad([0.0, 0.0], [1.0, 2.0])         # 0 at the mean, else the error as a fraction of it
    array([ 0., -1.])
    """
    ratio = numerics.scaled_exp(xp, target, -log_mean)
    if full:
        exponent = shape + xp.zeros_like(target)
        log_target = xp.log(target)
        deviance = numerics.i_divergence(xp, ratio, xp.ones_like(ratio), log_target - log_mean)
        constant = numerics.log_factorial_excess(xp, exponent) - xp.log(exponent)
        value = shape * deviance + (log_target + constant)
    else:
        value = shape * (log_mean + ratio)
    yield value
    yield shape * (1 - ratio)
    yield shape * ratio


@loss(
    family="likelihood",
    signature=POINTWISE,
    input="log-rate",
    target="[0, inf)",
    aliases=("tweedie", "tweedie_loss"),
    formula=r"2\left(\frac{e^{(2-p)s}}{2-p} + \frac{y\,e^{(1-p)s}}{p-1} - \frac{y^{2-p}}{(p-1)(2-p)}\right)",
    likelihood="Tweedie law (a Poisson number of gamma amounts): -log p(y; mean, phi) = deviance / (2 phi) + constant",
    references=(
        "Tweedie 1984, An index which distinguishes between some important exponential families",
        "Jorgensen 1987, doi:10.1111/j.2517-6161.1987.tb01685.x",
    ),
    parameters={"power": "(1, 2)"},
    properties=("convex", "proper"),
    elicits="mean",
)
def tweedie_deviance(xp: Namespace, log_mean: Any, target: Any, *, power: float = 1.5) -> Iterator[Any]:
    """Unit deviance of the Tweedie (compound Poisson-gamma) family for amounts that are often 0 and otherwise positive.

    `power` is the exponent p with which the variance grows with the mean, ``phi mean^p``: near 1 like a Poisson count,
    near 2 like a gamma amount. This is the true unit deviance, 0 exactly where the mean is the target, as in
    scikit-learn's `mean_tweedie_deviance`; XGBoost, LightGBM and CatBoost halve it and drop the term in the target
    alone, so their values are never 0 and may be negative, and their gradients are half of these.

    >>> import lossary
    >>> lossary.tweedie_deviance([0.0, 0.0], [1.0, 0.0])       # mean 1: the target is met, and missed
    array([0., 4.])
    """
    # Two divergences, neither negative: the linear terms in which they differ from the plain powers cancel for good.
    target = numerics.rounded_into(xp, target, 0.0)
    upward = 2 - power
    downward = power - 1
    log_ratio = log_mean - xp.log(target)
    perfect = target**upward
    mean_part = xp.exp(upward * log_mean)
    target_part = numerics.scaled_exp(xp, target, -downward * log_mean)
    yield 2 * (
        numerics.i_divergence(xp, mean_part, perfect, upward * log_ratio) / upward
        + numerics.i_divergence(xp, target_part, perfect, -downward * log_ratio) / downward
    )
    yield 2 * (mean_part - target_part)
    yield 2 * (upward * mean_part + downward * target_part)


@loss(
    family="likelihood",
    signature=POINTWISE,
    input="log-rate",
    target="{0, 1, 2, ...}",
    aliases=("nb2", "negative_binomial"),
    formula=r"-y \log q - \tfrac1\alpha \log(1 - q),\quad q = \frac{\alpha e^{s}}{1 + \alpha e^{s}}",
    likelihood="Negative binomial counts (NB2: mean m = exp(s), variance m + alpha m^2), "
    "a Poisson law whose rate is gamma distributed",
    references=("Greenwood and Yule 1920, doi:10.2307/2341080", "Cameron and Trivedi 1986, doi:10.1002/jae.3950010104"),
    parameters={"alpha": "(0, inf)", "full": "flag"},
    properties=("convex", "proper", "lipschitz", "smooth"),
    elicits="mean",
)
def negative_binomial_nll(
    xp: Namespace, log_mean: Any, target: Any, *, alpha: float = 1.0, full: bool = False
) -> Iterator[Any]:
    """Negative log-likelihood of an overdispersed count (negative binomial), given the logarithm of its mean.

    `alpha`, the dispersion, says how much more: the variance is ``mean + alpha mean^2`` (NB2). It is a number, or an
    array with one entry per example, and is not differentiated. Other parametrisations: ``total_count = 1 / alpha`` and
    ``logits = log_mean + log(alpha)``. `full` adds the logarithm of the combinatorial factor; then, and only then, the
    value tends to that of `poisson_nll` as `alpha` shrinks.

    >>> import lossary, math
    >>> value = lossary.negative_binomial_nll(math.log(3.0), 2, alpha=1.0, full=True)   # geometric: (1/4) (3/4)^2
    >>> round(float(math.exp(-value)), 6)
    0.140625
    """
    total_count = 1 / alpha
    logit = log_mean + xp.log(alpha + xp.zeros_like(log_mean))
    success, failure = numerics.sigmoid(xp, logit), numerics.sigmoid(xp, -logit)
    cost_of_failure, cost_of_success = numerics.softplus(xp, logit), numerics.softplus(xp, -logit)
    value = total_count * cost_of_failure + numerics.times(xp, target, cost_of_success)
    if full:
        # Together: for large counts the plain terms would cancel nearly all their digits; a count of 0 has none.
        failures = total_count + xp.zeros_like(target)
        trials = failures + target
        divergence = numerics.i_divergence(
            xp, trials * failure, failures, xp.log1p(target / failures) - cost_of_failure
        ) + numerics.i_divergence(xp, trials * success, target, xp.log1p(failures / target) - cost_of_success)
        excess = (
            numerics.log_factorial_excess(xp, failures)
            + numerics.log_factorial_excess(xp, target)
            - numerics.log_factorial_excess(xp, trials)
        )
        value = xp.where(target == 0, value, divergence + excess + xp.log1p(target / failures))
    yield value
    yield total_count * success - target * failure
    yield (total_count + target) * success * failure
