"""Naive 60-digit losses of structured prediction: every rival is written down."""

from itertools import combinations, pairwise, product

from mpmath import exp, fprod, fsum, inf, log, mpf


def linear_chain_crf(emissions, transitions, tags, lengths, *, start=None, end=None):
    classes = range(len(transitions))
    local = [[exp(score) for score in row] for row in emissions[:lengths]]
    moves = [[exp(score) for score in row] for row in transitions]
    first = [exp(score) for score in start] if start else [mpf(1) for _ in classes]
    last = [exp(score) for score in end] if end else [mpf(1) for _ in classes]

    def weight(path):
        if not path:
            return mpf(1)
        steps = fprod(row[tag] for row, tag in zip(local, path, strict=True))
        return first[path[0]] * steps * fprod(moves[a][b] for a, b in pairwise(path)) * last[path[-1]]

    return log(fsum(weight(path) for path in product(classes, repeat=lengths)) / weight(tuple(tags[:lengths])))


def rnnt(logits, labels, input_lengths, target_lengths, *, blank=0):
    probabilities = []
    for row in logits[:input_lengths]:
        weights = [[exp(z) for z in place] for place in row[: target_lengths + 1]]
        probabilities.append([[w / fsum(place) for w in place] for place in weights])
    total = mpf(0)
    # An alignment is which of the steps before the last blank say a label.
    steps = input_lengths + target_lengths - 1
    for speaking in combinations(range(steps), target_lengths) if input_lengths else ():
        frame, said, weight = 0, 0, mpf(1)
        for step in range(steps + 1):
            if step in speaking:
                weight *= probabilities[frame][said][labels[said]]
                said += 1
            else:
                weight *= probabilities[frame][said][blank]
                frame += 1
        total += weight
    return -log(total) if total else inf
