"""Naive 60-digit classification losses."""

from mpmath import exp, inf, log, mpf, tanh


def softmax(z):
    total = sum(exp(v) for v in z)
    return [exp(v) / total for v in z]


def soft(target, c):
    return target if isinstance(target, list) else [mpf(j == target) for j in range(c)]


def sigmoid(z):
    return 1 / (1 + exp(-z))


def binary_cross_entropy(probs, target):
    yes = -target * log(probs) if target else 0
    no = -(1 - target) * log(1 - probs) if target != 1 else 0
    return yes + no


def binary_cross_entropy_with_logits(logits, target, *, pos_weight=1, label_smoothing=0):
    y = target * (1 - label_smoothing) + mpf(label_smoothing) / 2
    return -pos_weight * y * log(sigmoid(logits)) - (1 - y) * log(1 - sigmoid(logits))


def softmax_cross_entropy(
    logits, target, *, class_weight=None, label_smoothing=0, temperature=1, z_loss=0, soft_cap=None
):
    c = len(logits)
    z = [(soft_cap * tanh(v / soft_cap) if soft_cap else v) / temperature for v in logits]
    allowed = sum(v != -inf for v in logits)
    q = [(1 - label_smoothing) * t + mpf(label_smoothing) / allowed * (v != -inf) for t, v in zip(soft(target, c), z)]
    w = class_weight or [1] * c
    p = softmax(z)
    cost = sum(-w[j] * q[j] * log(p[j]) for j in range(c) if q[j])
    return cost + z_loss * log(sum(exp(v) for v in z)) ** 2


def nll(log_probs, target, *, class_weight=None):
    return -log_probs[target] * (class_weight[target] if class_weight else 1)


def zero_one(scores, target, *, threshold=0.5):
    if isinstance(scores, list):
        return mpf(scores.index(max(scores)) != target)
    return mpf(not abs(scores - target) < threshold)


def brier(probs, target):
    return sum((p - q) ** 2 for p, q in zip(probs, soft(target, len(probs))))


def expected(cost, logits, target):
    """The mean cost of a label drawn from the target."""
    p = softmax(logits)
    return sum(w * cost(p[j]) for j, w in enumerate(soft(target, len(p))) if w)


def generalized_cross_entropy(logits, target, *, q=0.7):
    return expected(lambda p: (1 - p ** mpf(q)) / mpf(q), logits, target)


def poly_loss(logits, target, *, epsilon=2):
    return expected(lambda p: -log(p) + epsilon * (1 - p), logits, target)
