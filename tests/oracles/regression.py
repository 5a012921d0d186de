"""Naive 60-digit regression losses."""

from mpmath import mpf


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
