"""Naive 60-digit losses on sampled classes and on rows of similarities."""

from mpmath import exp, log, mpf


def _sigmoid(x):
    return 1 / (1 + exp(-x))


def sampled_softmax(positive, negatives, log_expected_positive, log_expected_negatives):
    # Jean 2015: each exponential over the number of times its class is expected in the sample.
    right = exp(positive) / exp(log_expected_positive)
    others = [exp(s) / exp(q) for s, q in zip(negatives, log_expected_negatives)]
    return -log(right / (right + sum(others)))


def noise_contrastive_estimation(positive, negatives, log_expected_positive, log_expected_negatives):
    # Gutmann 2010, eq. 4: the posterior probability of data is p / (p + k q).
    def data(score, log_expected):
        return exp(score) / (exp(score) + exp(log_expected))

    noise = sum(log(1 - data(s, q)) for s, q in zip(negatives, log_expected_negatives))
    return -log(data(positive, log_expected_positive)) - noise


def negative_sampling(positive, negatives):
    return -log(_sigmoid(positive)) - sum(log(_sigmoid(-s)) for s in negatives)


def info_nce(similarities, target, *, temperature=0.07):
    exponentials = [exp(s / mpf(temperature)) for s in similarities]
    return -log(exponentials[target] / sum(exponentials))


def siglip(similarities, target, *, scale=10, bias=-10):
    total = mpf(0)
    for j, s in enumerate(similarities):
        partner = target[j] == 1 if isinstance(target, list) else j == target
        total -= log(_sigmoid((1 if partner else -1) * (scale * s + bias)))
    return total
