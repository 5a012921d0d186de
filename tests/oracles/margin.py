"""Naive 60-digit margin losses."""

from mpmath import exp, log, mpf


def hinge(pred, target, *, margin=1):
    return max(mpf(0), margin - target * pred)


def squared_hinge(pred, target, *, margin=1):
    return hinge(pred, target, margin=margin) ** 2


def smoothed_hinge(pred, target, *, gamma=1):
    z, gamma = target * pred, mpf(gamma)
    if z >= 1:
        return mpf(0)
    return (1 - z) ** 2 / (2 * gamma) if z > 1 - gamma else 1 - gamma / 2 - z


def modified_huber(pred, target):
    z = target * pred
    return max(mpf(0), 1 - z) ** 2 if z >= -1 else -4 * z


def perceptron(pred, target):
    return max(mpf(0), -target * pred)


def exponential(pred, target):
    return exp(-target * pred)


def logistic_margin(pred, target):
    return log(1 + exp(-target * pred))


def multi_margin(pred, target, *, p=1, margin=1, class_weight=None):
    costs = [max(mpf(0), margin - pred[target] + s) ** p for j, s in enumerate(pred) if j != target]
    return sum(costs) / len(pred) * (1 if class_weight is None else class_weight[target])


def multiclass_hinge(pred, target, *, margin=1):
    return max(mpf(0), margin - pred[target] + max(s for j, s in enumerate(pred) if j != target))


def multilabel_margin(pred, target):
    n = range(len(pred))
    return sum(target[i] * (1 - target[j]) * max(mpf(0), 1 - pred[i] + pred[j]) for i in n for j in n) / len(pred)


def multilabel_soft_margin(pred, target, *, class_weight=None):
    weights = class_weight or [1] * len(pred)
    rows = zip(weights, pred, target, strict=True)
    return sum(w * (y * log(1 + exp(-z)) + (1 - y) * log(1 + exp(z))) for w, z, y in rows) / len(pred)


def hinge_embedding(pred, target, *, margin=1):
    return pred if target > 0 else max(mpf(0), margin - pred)
