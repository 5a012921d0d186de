"""Sequence losses without an alignment: frames on one side, a shorter list of labels on the other.

One example is a row of frames, each with a score per class, and a target of labels. Arrays are batch first and classes
last: ``(batch, frames, classes)`` against ``(batch, labels)``, both padded to the longest; lengths say how many entries
count, and whatever lies beyond them, NaN included, enters neither value nor gradient. An example is one sequence, so
`lossary.mean` averages over sequences; divide the values by their lengths for a loss per label or per frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Arrays, Namespace
from lossary.catalogue import loss

__all__ = ["ctc"]


def no_blank(xp: Namespace, logits: Any, labels: Any, *_lengths: Any, blank: int, **_options: Any) -> tuple[Any, Any]:
    """Return whether a target is free of the blank, and where it first is not."""
    wrong = (labels == blank)[..., 0]
    found = xp.where(wrong, xp.ones_like(labels[..., 0]), xp.zeros_like(labels[..., 0]))
    place = xp.argmax(xp.concat([found, xp.zeros_like(xp.sum(found))]))[..., None]  # a target may be empty
    return ~xp.any(wrong)[..., None], {"blank": blank + 0 * place, "at position": place}


def _enough_frames(
    xp: Namespace, logits: Any, labels: Any, input_lengths: Any, target_lengths: Any, **_options: Any
) -> tuple[Any, Mapping[str, Any]]:
    """Return whether there is a frame for every label, and one for the blank that parts two equal neighbours."""
    twins = (labels[..., 1:, :] == labels[..., :-1, :]) & (labels[..., 1:, :] >= 0)
    repeats = xp.sum(xp.where(twins, xp.ones_like(labels[..., 1:, :]), xp.zeros_like(labels[..., 1:, :])), axis=-2)
    needed = target_lengths + repeats
    return needed <= input_lengths, {"frames": input_lengths, "labels": target_lengths, "repeats": repeats}


@loss(
    family="sequence",
    signature="(t,c),(s),(),()->()",
    input="logit",
    target="{0, ..., c-1}",
    domains={"input_lengths": "length of t", "target_lengths": "length of s"},
    aliases=("connectionist_temporal_classification", "ctc_loss"),
    formula=r"-\log \sum_{\pi \in \mathcal{B}^{-1}(y)} \prod_{t=1}^{T} p_t(\pi_t),\quad p_t = \mathrm{softmax}(z_t)",
    references=("Graves, Fernandez, Gomez and Schmidhuber 2006, doi:10.1145/1143844.1143891",),
    likelihood="all alignments: the target's probability is the sum over every path of frames that collapses to it",
    parameters={"blank": "{0, ..., c-1}", "from_logits": "flag"},
    derivatives=1,
    conditions={
        "no blank inside a target": no_blank,
        "a frame for each label and one between two equal neighbours": _enough_frames,
    },
)
def ctc(
    xp: Namespace,
    logits: Any,
    labels: Any,
    input_lengths: Any,
    target_lengths: Any,
    *,
    blank: int = 0,
    from_logits: bool = True,
) -> Iterator[Any]:
    """Negative log-probability of a label sequence when nobody says which frame belongs to which label.

    A path gives each frame a label or the `blank`; it collapses to a target by merging repeats, then dropping blanks.
    The loss sums the probability of every path that collapses to the target, frames being independent given the scores.
    Two recursions over the frames, forwards and backwards, make the sum and each state's share of it, the occupancy;
    the gradient in the logits is the softmax minus the occupancy of each class.

    Arrays are ``(batch, frames, classes)``, ``(batch, labels)``, and the numbers of frames and labels that count, which
    may be left out where nothing is padded. Everything beyond a length is ignored and has gradient 0. An empty target
    is the probability of blanks alone. Targets that do not fit into their frames, or hold the blank, are refused;
    without checks, what is impossible costs ``inf`` with gradient 0.

    `from_logits`: whether the scores are logits, or log-probabilities. These need not be normalised, and their gradient
    is the true one, minus the occupancy, whatever they sum to. Conventions differ elsewhere: torch takes
    log-probabilities of shape ``(frames, batch, classes)`` and returns for them the gradient of the logits; its mean
    divides by the target's length. Keras pads with the blank; optax takes 1 for padding, and charges about 1e5 for the
    impossible.

    >>> import lossary, math
    >>> value = lossary.ctc([[0.0, 0.0, 0.0]] * 3, [1, 2])   # 27 paths, all alike; five of them collapse to 1 2:
    >>> round(27 * math.exp(-value))                         # 012, 102, 120, 112, 122
    5
    """
    frames, symbols = logits.shape[-2], labels.shape[-2]
    in_time = xp.arange(frames, logits)[:, None] < input_lengths
    scores = xp.where(in_time, logits, xp.zeros_like(logits))
    log_probabilities, probabilities, _ = numerics.log_softmax(xp, scores) if from_logits else (scores, None, None)

    # The target with a blank before, between and after its labels: the states a path goes through, none left out but
    # a blank between two different labels.
    state = xp.arange(2 * symbols + 1, logits)
    known = xp.transpose(xp.where(labels >= 0, labels, xp.zeros_like(labels)))
    spare = xp.concat([known, xp.zeros_like(xp.sum(known))])
    spelled = xp.take(spare, xp.broadcast_to(state // 2, (*spare.shape[:-1], 2 * symbols + 1)))
    spelled = xp.where(state % 2 == 1, spelled, blank + xp.zeros_like(spelled))
    may_skip = (state % 2 == 1) & (spelled != numerics.shifted(xp, spelled, 2, spelled))
    is_last = (state == 2 * target_lengths) | (state == 2 * target_lengths - 1)
    emissions = xp.take(log_probabilities, xp.broadcast_to(spelled, (*logits.shape[:-1], 2 * symbols + 1)))
    emissions = numerics.masked(xp, state <= 2 * target_lengths, emissions)

    # Forwards: every beginning of a path, by the state it is in. Each frame is written in units of its likeliest state,
    # so that no digits are spent on what all states have in common.
    nothing = xp.sum(xp.zeros_like(scores[..., :1]), axis=-2) + xp.astype(xp.zeros_like(state), scores) - xp.inf
    begun = xp.where(state == 0, xp.zeros_like(nothing), nothing)

    def arrive(carry: Arrays, frame: Arrays) -> tuple[Arrays, Arrays]:
        (begun,), (here, emission) = carry, frame
        stepped = numerics.log_add(xp, begun, numerics.shifted(xp, begun, 1, nothing))
        skipped = numerics.masked(xp, may_skip, numerics.shifted(xp, begun, 2, nothing))
        arrived = numerics.log_add(xp, stepped, skipped) + emission
        unit = numerics.likeliest(xp, arrived, here)
        begun = xp.where(here, arrived - unit, begun)
        return (begun,), (begun, unit)

    (begun,), (beginnings, units) = xp.scan(arrive, (begun,), (in_time, emissions))
    log_likelihood = xp.sum(units, axis=-2) + numerics.logsumexp(xp, numerics.masked(xp, is_last, begun))
    yield -log_likelihood

    # Backwards: every ending, by the state it starts from.
    def leave(carry: Arrays, frame: Arrays) -> tuple[Arrays, Arrays]:
        (ending,), (here, emission) = carry, frame
        ahead = ending + emission
        stepped = numerics.log_add(xp, ahead, numerics.shifted(xp, ahead, -1, nothing))
        skipped = numerics.shifted(xp, numerics.masked(xp, may_skip, ahead), -2, nothing)
        leaving = numerics.log_add(xp, stepped, skipped)
        left = xp.where(here, leaving - numerics.likeliest(xp, leaving, here), ending)
        return (left,), (ending,)

    ending = numerics.masked(xp, is_last, xp.zeros_like(nothing))
    _, (endings,) = xp.scan(leave, (ending,), (in_time, emissions), reverse=True)
    through = beginnings + endings
    _, shares, _ = numerics.log_softmax(xp, through)
    occupancy = xp.matmul(shares, xp.one_hot(xp.transpose(spelled), scores))
    if from_logits:
        gradient = numerics.residual_probabilities(xp, log_probabilities, probabilities, occupancy)
    else:
        gradient = -occupancy
    live = in_time & (log_likelihood != -xp.inf)  # what is impossible stays so: no gradient
    yield xp.where(live, gradient, xp.zeros_like(gradient))
