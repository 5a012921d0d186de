"""Naive 60-digit metric-learning losses."""

from mpmath import acos, cos, exp, log, mpf, pi, sin, sqrt


def _distance(a, b):
    return sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def _cosine(a, b):
    product = sum(x * y for x, y in zip(a, b, strict=True))
    return product / sqrt(sum(x * x for x in a)) / sqrt(sum(y * y for y in b))


def contrastive(first, second, target, *, margin=1):
    d = _distance(first, second)
    return (target * d**2 + (1 - target) * max(mpf(0), margin - d) ** 2) / 2


def triplet_margin(anchor, positive, negative, *, margin=1, swap=False):
    away = _distance(anchor, negative)
    if swap:
        away = min(away, _distance(positive, negative))
    return max(mpf(0), margin + _distance(anchor, positive) - away)


def margin_ranking(first, second, target, *, margin=0):
    return max(mpf(0), margin - target * (first - second))


def cosine_embedding(first, second, target, *, margin=0):
    c = _cosine(first, second)
    return 1 - c if target > 0 else max(mpf(0), c - margin)


def batch_hard_triplet(embeddings, labels, anchor, *, margin=1, soft=False):
    others = [k for k in range(len(labels)) if k != anchor]
    positives = [_distance(embeddings[anchor], embeddings[k]) for k in others if labels[k] == labels[anchor]]
    negatives = [_distance(embeddings[anchor], embeddings[k]) for k in others if labels[k] != labels[anchor]]
    if not positives or not negatives:
        return mpf(0)
    lead = max(positives) - min(negatives)
    return log(1 + exp(lead)) if soft else max(mpf(0), margin + lead)


def _cross_entropy(scores, target):
    return log(sum(exp(s) for s in scores)) - scores[target]


def arcface(pred, target, *, margin=0.5, scale=64, easy_margin=False):
    margin, angle = mpf(margin), acos(pred[target])
    if easy_margin:
        enlarged = cos(angle + margin) if pred[target] > 0 else pred[target]
    else:
        enlarged = cos(angle + margin) if angle + margin < pi else pred[target] - margin * sin(margin)
    return _cross_entropy([scale * (enlarged if k == target else c) for k, c in enumerate(pred)], target)


def cosface(pred, target, *, margin=0.35, scale=64):
    return _cross_entropy([scale * (c - mpf(margin) if k == target else c) for k, c in enumerate(pred)], target)


def nt_xent(embeddings, labels, anchor, *, temperature=0.07):
    scores = {
        k: _cosine(embeddings[anchor], embeddings[k]) / mpf(temperature) for k in range(len(labels)) if k != anchor
    }
    positives = [k for k in scores if labels[k] == labels[anchor]]
    negatives = sum(exp(s) for k, s in scores.items() if labels[k] != labels[anchor])
    return sum(log(exp(scores[p]) + negatives) - scores[p] for p in positives) / len(positives) if positives else mpf(0)


def supcon(embeddings, labels, anchor, *, temperature=0.1):
    scores = {
        k: _cosine(embeddings[anchor], embeddings[k]) / mpf(temperature) for k in range(len(labels)) if k != anchor
    }
    positives = [k for k in scores if labels[k] == labels[anchor]]
    total = log(sum(exp(s) for s in scores.values())) if scores else mpf(0)
    return sum(total - scores[p] for p in positives) / len(positives) if positives else mpf(0)
