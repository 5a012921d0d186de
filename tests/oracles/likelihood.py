"""Naive 60-digit likelihood losses."""

from mpmath import exp, gamma, log, loggamma, mpf, pi, sqrt


def gaussian_nll(pred, target, var, *, full=False):
    density = exp(-((pred - target) ** 2) / (2 * var)) / sqrt(2 * pi * var)
    return -log(density) - (0 if full else log(2 * pi) / 2)


def laplace_nll(pred, target, scale, *, full=False):
    density = exp(-abs(pred - target) / scale) / (2 * scale)
    return -log(density) - (0 if full else log(2))


def student_t_nll(pred, target, *, df=4, scale=1, full=False):
    df, scale = mpf(df), mpf(scale)
    kernel = (df + 1) / 2 * log(1 + (pred - target) ** 2 / (df * scale**2))
    return kernel + (log(sqrt(pi * df) * scale) + loggamma(df / 2) - loggamma((df + 1) / 2) if full else 0)


def poisson_nll(log_rate, target, *, full=False):
    return exp(log_rate) - target * log_rate + (loggamma(target + 1) if full else 0)


def poisson_nll_rate(rate, target, *, full=False):
    logarithm = target * log(rate) if target else 0
    return rate - logarithm + (loggamma(target + 1) if full else 0)


def gamma_nll(log_mean, target, *, shape=1, full=False):
    k, mean = mpf(shape), exp(log_mean)
    if full:
        return -log((k / mean) ** k * target ** (k - 1) * exp(-k * target / mean) / gamma(k))
    return k * (log_mean + target / mean)


def tweedie_deviance(log_mean, target, *, power=1.5):
    p, mean = mpf(power), exp(log_mean)
    perfect = target ** (2 - p) / ((1 - p) * (2 - p)) if target else 0
    return 2 * (perfect - target * mean ** (1 - p) / (1 - p) + mean ** (2 - p) / (2 - p))


def negative_binomial_nll(log_mean, target, *, alpha=1, full=False):
    k, mean = 1 / mpf(alpha), exp(log_mean)
    kernel = -target * log(mean / (mean + k)) - k * log(k / (mean + k))
    return kernel - (loggamma(target + k) - loggamma(target + 1) - loggamma(k) if full else 0)
