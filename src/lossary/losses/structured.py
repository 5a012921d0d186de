"""Structured prediction losses: the probability of a whole label sequence, normalised exactly over all sequences.

The scores of a sequence are local, but what is normalised is global: a recursion over the steps sums over every way
through the lattice, exponentially many, in time proportional to its size. Both losses make that sum from the end to
the beginning. What it leaves at each place, the weight of all that may follow, turns the model into a Markov chain
that is walked forwards with ordinary probabilities: nothing is subtracted there, so small gradients keep their digits.

Arrays are batch first and classes last, padded to the longest; lengths say what counts, and what lies beyond them, NaN
included, enters neither value nor gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Arrays, Namespace
from lossary.catalogue import loss
from lossary.losses.sequence import no_blank

__all__ = ["linear_chain_crf", "rnnt"]


# --- a chain of tags ------------------------------------------------------------------------------------------------


@loss(
    family="structured",
    signature="(t,c),(c,c),(t),()->()",
    input="score",
    target="{0, ..., c-1}",
    domains={"tags": "{0, ..., c-1}", "lengths": "length of t"},
    aliases=("crf", "conditional_random_field", "crf_nll"),
    formula=r"\log \sum_{y'} e^{s(y')} - s(y),\quad "
    r"s(y) = \sum_{t=1}^{T} e_t(y_t) + \sum_{t=2}^{T} A(y_{t-1}, y_t) + b(y_1) + f(y_T)",
    references=(
        "Lafferty, McCallum and Pereira 2001, Conditional random fields, ICML",
        "Sutton and McCallum 2012, An introduction to conditional random fields, arXiv:1011.4088",
    ),
    likelihood="a distribution over whole tag sequences, proportional to exp of the sequence's score: -log P(y)",
    parameters={"start": "(c) real", "end": "(c) real"},
    wrt=("emissions", "transitions"),
    derivatives=1,
    properties=("convex", "smooth", "proper"),
)
def linear_chain_crf(
    xp: Namespace, emissions: Any, transitions: Any, tags: Any, lengths: Any, *, start: Any = None, end: Any = None
) -> Iterator[Any]:
    """Minus the log-probability of a sequence of tags, where each tag's score depends on the one before it.

    `emissions` ``(batch, steps, tags)`` score every tag at every step, `transitions` ``(tags, tags)`` every move from
    one tag (the row) to the next (the column); ``-inf`` forbids it. `start` and `end` are further scores of the first
    and the last tag, one per tag. With transitions of 0 this is `softmax_cross_entropy` summed over the steps.

    The value is the chain rule of probability: the cost of the first tag, and of each further one given its predecessor
    and everything that was observed. The gradient in the emissions is the probability of each tag at each step minus
    what was there, and in the transitions that of each pair of neighbours. A start score enters as the first emission
    does, and an end score as the last: their gradients are the sums of those, and with torch a learned one has its own.

    Conventions differ elsewhere: pytorch-crf returns the log-likelihood, not negated, steps first, and sums over the
    batch; TensorFlow Addons returns it per sequence. `lossary.decoding.crf_viterbi` finds the likeliest tags.

    >>> import lossary
    >>> emissions, transitions = [[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]
    >>> float(lossary.linear_chain_crf(emissions, transitions, [0, 1]).round(4))     # one of four, all alike: log 4
    1.3863
    >>> forbidden = [[0.0, float("-inf")], [0.0, 0.0]]                               # never from 0 to 1
    >>> float(lossary.linear_chain_crf(emissions, forbidden, [0, 0]).round(4))       # one of the three that are left
    1.0986
    """
    scores, within = chain_scores(xp, emissions, lengths, start, end)
    steps = scores.shape[-2]

    # From the end to the beginning: the log-weight of everything that may follow a tag, in units of the likeliest.
    def leave(carry: Arrays, at: Arrays) -> tuple[Arrays, Arrays]:
        (ending,), (score, here) = carry, at
        onward = transitions + (score + ending)
        leaving = xp.transpose(numerics.logsumexp(xp, onward))
        left = xp.where(here, leaving - numerics.likeliest(xp, leaving, here), ending)
        return (left,), (ending,)

    ending = xp.sum(scores[..., :0, :], axis=-2)  # nothing follows the last
    _, (following,) = xp.scan(leave, (ending,), (scores, within), reverse=True)

    # Given all that may follow, the tags are a chain: each has a distribution that depends on the one before it.
    known = xp.where(tags >= 0, tags, xp.zeros_like(tags))
    before = xp.transpose(xp.concat([known[..., :1, :], known[..., :-1, :]], axis=-2))
    from_before = xp.transpose(xp.take(xp.transpose(transitions), xp.broadcast_to(before, xp.transpose(scores).shape)))
    is_first = xp.arange(steps, scores)[:, None] == 0
    from_before = xp.where(is_first, xp.zeros_like(scores), from_before)
    log_probabilities, probabilities, _ = numerics.log_softmax(xp, scores + following + from_before)
    wanted = xp.one_hot(tags, scores)
    costs = -xp.sum(numerics.times(xp, wanted, log_probabilities))
    yield xp.sum(costs, axis=-2)

    # From the beginning to the end: the probability of each tag, and of each pair of neighbours, whatever was observed.
    def arrive(carry: Arrays, at: Arrays) -> tuple[Arrays, Arrays]:
        (marginal, transition_gradient), (score, here, wanted_before, wanted_here) = carry, at
        onward = transitions + score
        _, moves, _ = numerics.log_softmax(xp, onward)
        pairs = xp.transpose(marginal) * moves
        pairs = xp.where(here, pairs, xp.zeros_like(pairs))
        taken = xp.transpose(wanted_before) * wanted_here
        elsewhere = xp.where(taken > 0, xp.zeros_like(pairs), pairs)
        gradient = xp.where(taken > 0, -xp.sum(xp.sum(elsewhere), axis=-2), pairs)
        marginal = xp.sum(pairs, axis=-2)
        return (marginal, transition_gradient + gradient), (marginal,)

    first = xp.where(within, probabilities, xp.zeros_like(probabilities))[..., :1, :]
    marginal = xp.sum(first, axis=-2)  # one row, also of a chain without steps
    (_, transition_gradient), (marginals,) = xp.scan(
        arrive,
        (marginal, xp.zeros_like(transitions)),
        ((scores + following)[..., 1:, :], within[..., 1:, :], wanted[..., :-1, :], wanted[..., 1:, :]),
    )
    tag_probabilities = xp.concat([first, marginals], axis=-2)
    # At the tag that was there: minus the probability of all others, which is its own minus 1 with all its digits.
    others = xp.where(wanted > 0, xp.zeros_like(tag_probabilities), tag_probabilities)
    yield xp.where(wanted > 0, -xp.sum(others), tag_probabilities), transition_gradient


def chain_scores(xp: Namespace, emissions: Any, lengths: Any, start: Any, end: Any) -> tuple[Any, Any]:
    """Return the score of each tag at each step, those of the ends included, and which steps count."""
    step = xp.arange(emissions.shape[-2], emissions)[:, None]
    within = step < lengths
    scores = xp.where(within, emissions, xp.zeros_like(emissions))
    if start is not None:
        scores = scores + numerics.times(xp, xp.astype(within & (step == 0), scores), start)
    if end is not None:
        scores = scores + numerics.times(xp, xp.astype(step == lengths - 1, scores), end)
    return scores, within


# --- the transducer -------------------------------------------------------------------------------------------------


def _no_blank(xp: Namespace, logits: Any, labels: Any, *_lengths: Any, blank: int) -> tuple[Any, Any]:
    return no_blank(xp, logits, labels[..., 0], blank=blank)


def _a_frame(
    xp: Namespace, logits: Any, labels: Any, input_lengths: Any, target_lengths: Any, **_options: Any
) -> tuple[Any, Mapping[str, Any]]:
    """Return whether there is a frame, for the blank that ends the sequence needs one."""
    return input_lengths > 0, {"frames": input_lengths, "labels": target_lengths}


@loss(
    family="structured",
    signature="(t,s+1,c),(s),(),()->()",
    input="logit",
    target="{0, ..., c-1}",
    domains={"input_lengths": "length of t", "target_lengths": "length of s"},
    aliases=("transducer", "rnn_transducer", "rnn_t"),
    formula=r"-\log \sum_{a \in \mathcal{A}(y)} \prod_{(t, u, k) \in a} p_{t,u}(k),\quad "
    r"p_{t,u} = \mathrm{softmax}(z_{t,u})",
    references=("Graves 2012, Sequence transduction with recurrent neural networks, arXiv:1211.3711",),
    likelihood="all alignments: the target's probability is the sum over every path through frames and labels",
    parameters={"blank": "{0, ..., c-1}"},
    derivatives=1,
    conditions={"no blank inside a target": _no_blank, "at least one frame": _a_frame},
)
def rnnt(
    xp: Namespace, logits: Any, labels: Any, input_lengths: Any, target_lengths: Any, *, blank: int = 0
) -> Iterator[Any]:
    """Minus the log-probability of a label sequence under a transducer, summed over all its alignments with the frames.

    The logits ``(batch, frames, labels + 1, classes)`` are of the joint network: at frame t with u labels said, what
    comes next. A label is said and the frame stays (u + 1); the `blank` says nothing and the frame moves on (t + 1);
    the last blank ends the sequence. Unlike `ctc`, a frame may say many labels, and what is said next depends on what
    was said before. The log-softmax is part of the loss: the gradient in the logits is, at each place, the probability
    of being there times the difference between what the network expects next and what the alignments do next.

    `labels` is ``(batch, labels)`` without the blank; lengths may be left out where nothing is padded, and whatever
    lies beyond them has gradient 0. torchaudio and warp-transducer put the blank last, at ``classes - 1``, and average
    over the batch; torchaudio's ``clamp`` and the FastEmit weight of other libraries change the gradient and not the
    value, and are no part of this loss.

    >>> import lossary
    >>> uniform = [[[0.0, 0.0]] * 2] * 2               # 2 frames, 1 label, 2 classes: each step has probability 1/2
    >>> float(lossary.rnnt(uniform, [1]).round(4))     # 2 alignments of 3 steps each: -log (2 / 8)
    1.3863
    """
    frames, places = logits.shape[-3], logits.shape[-2]
    frame, said = xp.arange(frames, logits)[:, None, None], xp.arange(places, logits)[:, None]
    inside = (frame < input_lengths) & (said <= target_lengths)
    scores = xp.where(inside, logits, xp.zeros_like(logits))
    log_probabilities, probabilities, _ = numerics.log_softmax(xp, scores)

    # What may come next at each place: the blank, or the one label whose turn it is.
    nobody = xp.broadcast_to(xp.arange(1, logits) - 1, (*labels.shape[:-3], 1))  # when all labels are said
    label = xp.concat([labels[..., 0, 0], nobody])[..., None, :, None]
    known = xp.broadcast_to(xp.where(label >= 0, label, xp.zeros_like(label)), (*scores.shape[:-1], 1))
    blank_next = numerics.masked(xp, inside, log_probabilities[..., blank : blank + 1])[..., 0]
    label_next = numerics.masked(xp, inside & (label >= 0), xp.take(log_probabilities, known))[..., 0]

    # Places that a path reaches after equally many steps lie on a diagonal. A row for each diagonal, a column for each
    # number of labels said: then a blank leads straight down, and a label down and to the right.
    steps, said = frames + places - 1, said[:, 0]
    diagonal = xp.arange(steps, logits)
    of_diagonal = diagonal - said[:, None]
    blank_steps = _gathered(xp, blank_next, of_diagonal, frames)
    label_steps = _gathered(xp, label_next, of_diagonal, frames)
    last = said == target_lengths[..., 0]
    end = input_lengths[..., 0] + target_lengths[..., 0]

    # From the end to the beginning: the log-probability of all that may follow, in units of the likeliest place.
    arrived = xp.sum(xp.zeros_like(blank_steps), axis=-2)
    nothing = arrived - xp.inf

    def leave(carry: Arrays, at: Arrays) -> tuple[Arrays, Arrays]:
        (ending,), (blank_step, label_step, step) = carry, at
        by_blank = blank_step + ending
        by_label = label_step + numerics.shifted(xp, ending, -1, nothing)
        leaving = numerics.log_add(xp, by_blank, by_label)
        unit = numerics.likeliest(xp, leaving, True)
        left = xp.where(last & (end == step), arrived, leaving - unit)
        return (left,), (ending, unit)

    ending = numerics.masked(xp, last & (end == steps), arrived)
    (ending,), (following, units) = xp.scan(
        leave, (ending,), (blank_steps, label_steps, diagonal[:, None]), reverse=True
    )
    log_likelihood = xp.sum(units, axis=-2) + ending[..., :1]
    yield -log_likelihood[..., None]

    # Given all that may follow, an alignment is a chain: at each place the blank or the label comes, by these odds.
    by_blank = blank_steps + following
    by_label = label_steps + numerics.shifted(xp, following, -1, xp.zeros_like(following) - xp.inf)
    stuck = (by_blank == -xp.inf) & (by_label == -xp.inf)
    odds = xp.where(stuck, arrived, by_blank) - xp.where(stuck, arrived, by_label)
    blank_share = xp.where(stuck, arrived, numerics.sigmoid(xp, odds))
    label_share = xp.where(stuck, arrived, numerics.sigmoid(xp, -odds))

    # From the beginning to the end: the probability of being at each place.
    def arrive(carry: Arrays, at: Arrays) -> tuple[Arrays, Arrays]:
        (being,), (blank_share, label_share) = carry, at
        next_being = being * blank_share + numerics.shifted(xp, being * label_share, 1, arrived)
        return (next_being,), (being,)

    being = xp.astype(said == 0, scores) + arrived
    _, (visits,) = xp.scan(arrive, (being,), (blank_share, label_share))
    of_frame = xp.arange(frames, logits) + said[:, None]
    occupancy = _gathered(xp, visits, of_frame, steps)[..., None]
    blank_share = _gathered(xp, blank_share, of_frame, steps)[..., None]
    label_share = _gathered(xp, label_share, of_frame, steps)[..., None]

    # What the network expects minus what the alignments do; each class's complement is the other's share, not 1 minus.
    is_blank = xp.one_hot(blank + xp.zeros_like(label), scores) > 0
    is_label = xp.one_hot(label, scores) > 0
    next_share = xp.where(is_blank, blank_share, xp.where(is_label, label_share, xp.zeros_like(scores)))
    complement = xp.where(is_blank, label_share, xp.where(is_label, blank_share, xp.ones_like(scores)))
    surplus = next_share * xp.expm1(log_probabilities) + complement * probabilities
    live = inside & (log_likelihood[..., None] != -xp.inf)  # what is impossible stays so: no gradient
    yield xp.where(live, occupancy * surplus, xp.zeros_like(scores))


def _gathered(xp: Namespace, lattice: Any, index: Any, size: int) -> Any:
    """Return a lattice whose columns are read at an index of their own: ``out[i, j] = lattice[index[j, i], j]``.

    It turns the rows of a lattice into its diagonals, and back. Out of range there is nothing: ``-inf``.
    """
    there = (index >= 0) & (index < size)
    known = xp.where(there, index, xp.zeros_like(index))
    columns = xp.take(xp.transpose(lattice), xp.broadcast_to(known, (*lattice.shape[:-2], *index.shape)))
    return xp.transpose(numerics.masked(xp, there, columns))
