"""Naive 60-digit sequence losses."""

from mpmath import exp, inf, log, mpf


def _states(labels, blank):
    """The labels with a blank before, between and after them."""
    return [blank, *(symbol for label in labels for symbol in (label, blank))]


def ctc(logits, labels, input_lengths, target_lengths, *, blank=0, from_logits=True):
    states = _states(labels[:target_lengths], blank)
    reached = [mpf(k == 0) for k in range(len(states))]  # before the first frame, at the door of the first blank
    total = mpf(1)
    for row in logits[:input_lengths]:
        weights = [exp(z) for z in row]
        total *= sum(weights) if from_logits else 1
        before, reached = reached, []
        for k, symbol in enumerate(states):
            ways = before[k] + (before[k - 1] if k else 0)
            if k >= 2 and symbol != blank and symbol != states[k - 2]:
                ways += before[k - 2]
            reached.append(ways * weights[symbol])
    arrived = sum(reached[-2:])
    return log(total) - log(arrived) if arrived else inf
