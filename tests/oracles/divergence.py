"""Naive 60-digit divergence losses."""

from mpmath import exp, log, mpf


def _relative_entropy(a, b):
    return sum(x * log(x / y) if y else mpf("inf") for x, y in zip(a, b, strict=True) if x)


def kl_divergence(log_probs, target):
    return _relative_entropy(target, [exp(z) for z in log_probs])


def reverse_kl(log_probs, target):
    return _relative_entropy([exp(z) for z in log_probs], target)


def js_divergence(log_probs, target):
    pred = [exp(z) for z in log_probs]
    mixture = [(p + q) / 2 for p, q in zip(pred, target, strict=True)]
    return (_relative_entropy(pred, mixture) + _relative_entropy(target, mixture)) / 2


def generalized_kl(log_rate, target):
    rate = exp(log_rate)
    return (target * log(target / rate) if target else 0) - target + rate
