"""Naive 60-digit losses for imbalance."""

from mpmath import log, mpf

from oracles.classification import binary_cross_entropy, sigmoid, soft, softmax


def sigmoid_focal(logits, target, *, gamma=2, alpha=None):
    p = sigmoid(logits)
    p_t = target * p + (1 - target) * (1 - p)
    weight = 1 if alpha is None else alpha * target + (1 - alpha) * (1 - target)
    return weight * (1 - p_t) ** gamma * binary_cross_entropy(p, target)


def softmax_focal(logits, target, *, gamma=2, class_weight=None, label_smoothing=0):
    c = len(logits)
    p, q, w = softmax(logits), soft(target, c), class_weight or [1] * c
    q = [(1 - label_smoothing) * v + mpf(label_smoothing) / c for v in q]
    return sum(-w[j] * q[j] * (1 - p[j]) ** gamma * log(p[j]) for j in range(c) if q[j])


def logit_adjusted(logits, target, class_counts, *, tau=1):
    return -log(softmax([z + tau * log(n) for z, n in zip(logits, class_counts)])[target])


def class_balanced(logits, target, class_counts, *, beta=0.999):
    weights = [1 / (1 - mpf(beta) ** n) if n else 0 for n in class_counts]
    return -weights[target] * len(weights) / (sum(weights) or 1) * log(softmax(logits)[target])
