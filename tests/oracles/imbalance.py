"""Naive 60-digit losses for imbalance."""

from mpmath import log, mpf

from oracles.classification import binary_cross_entropy, sigmoid, softmax


def sigmoid_focal(logits, target, *, gamma=2, alpha=None):
    p = sigmoid(logits)
    p_t = target * p + (1 - target) * (1 - p)
    weight = 1 if alpha is None else alpha * target + (1 - alpha) * (1 - target)
    return weight * (1 - p_t) ** gamma * binary_cross_entropy(p, target)


def softmax_focal(logits, target, *, gamma=2, class_weight=None):
    p = softmax(logits)[target]
    return -(class_weight[target] if class_weight else 1) * (1 - p) ** gamma * log(p)


def logit_adjusted(logits, target, class_counts, *, tau=1):
    return -log(softmax([z + tau * log(n) for z, n in zip(logits, class_counts)])[target])


def class_balanced(logits, target, class_counts, *, beta=0.999):
    weights = [1 / (1 - mpf(beta) ** n) for n in class_counts]
    return -weights[target] * len(weights) / sum(weights) * log(softmax(logits)[target])
