"""Naive 60-digit regression losses."""

from mpmath import cosh, log, log1p, mpf, sqrt


def squared_error(pred, target):
    return (pred - target) ** 2


def half_squared_error(pred, target):
    return (pred - target) ** 2 / 2


def absolute_error(pred, target):
    return abs(pred - target)


def huber(pred, target, *, delta=1):
    r = abs(pred - target)
    return r * r / 2 if r <= delta else delta * (r - mpf(delta) / 2)


def smooth_l1(pred, target, *, beta=1):
    r = abs(pred - target)
    return r * r / (2 * mpf(beta)) if r < beta else r - mpf(beta) / 2


def pseudo_huber(pred, target, *, delta=1):
    return delta**2 * (sqrt(1 + ((pred - target) / delta) ** 2) - 1)


def log_cosh(pred, target):
    return log(cosh(pred - target))


def pinball(pred, target, *, quantile=0.5):
    return max(mpf(quantile) * (target - pred), (mpf(quantile) - 1) * (target - pred))


def epsilon_insensitive(pred, target, *, epsilon=0.1):
    return max(mpf(0), abs(pred - target) - epsilon)


def mape(pred, target, *, epsilon=1e-7):
    return abs(pred - target) / max(abs(target), mpf(epsilon))


def msle(pred, target):
    return (log1p(pred) - log1p(target)) ** 2


def cosine_distance(pred, target):
    lengths = sqrt(sum(x * x for x in pred)) * sqrt(sum(y * y for y in target))
    return 1 - sum(x * y for x, y in zip(pred, target, strict=True)) / lengths if lengths else mpf(1)
