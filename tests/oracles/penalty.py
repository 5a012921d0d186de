"""Naive 60-digit penalty losses."""

from mpmath import mpf


def l1_penalty(weights):
    return abs(weights)


def l2_penalty(weights):
    return weights**2 / 2


def elastic_net(weights, *, l1_ratio=0.5):
    return l1_ratio * abs(weights) + (1 - mpf(l1_ratio)) * weights**2 / 2
