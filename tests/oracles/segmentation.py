"""Naive 60-digit segmentation losses."""

from mpmath import mpf


def _products(pred, target):
    return sum(p * y for p, y in zip(pred, target, strict=True))


def dice(pred, target, *, smooth=0):
    whole = sum(pred) + sum(target) + smooth
    return 1 - (2 * _products(pred, target) + smooth) / whole if whole else mpf(0)


def tversky(pred, target, *, alpha=0.5, beta=0.5, smooth=0):
    hits = _products(pred, target)
    alarms, misses = sum(pred) - hits, sum(target) - hits
    return 1 - (hits + smooth) / (hits + mpf(alpha) * alarms + mpf(beta) * misses + smooth)


def jaccard(pred, target, *, smooth=0):
    hits = _products(pred, target)
    return 1 - (hits + smooth) / (sum(pred) + sum(target) - hits + smooth)


def generalized_dice(pred, target, *, weighting="square", smooth=0):
    power = {"square": 2, "simple": 1, "uniform": 0}[weighting]
    weights = [1 / sum(y) ** power for y in target]
    overlap = sum(w * _products(p, y) for w, p, y in zip(weights, pred, target, strict=True))
    sizes = sum(w * (sum(p) + sum(y)) for w, p, y in zip(weights, pred, target, strict=True))
    return 1 - (2 * overlap + smooth) / (sizes + smooth)
