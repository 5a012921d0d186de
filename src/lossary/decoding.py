"""Decoding: from the scores of a model that was trained with a loss of sequences to the labels it would give.

A loss sums over everything that might have been meant; decoding names the likeliest. What is here takes the arrays of
the loss itself, in the same layout, on NumPy and on torch, and refuses what the loss refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lossary import _dispatch
from lossary.errors import ShapeError
from lossary.losses.structured import chain_scores, linear_chain_crf
from lossary.transforms import Call, prepare

__all__ = ["TagPath", "crf_marginals", "crf_viterbi"]


# --- the chain of a conditional random field ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TagPath:
    """The likeliest tags of each sequence, -1 beyond its length, and their scores."""

    tags: Any
    score: Any


def crf_viterbi(
    emissions: Any, transitions: Any, lengths: Any = None, *, start: Any = None, end: Any = None
) -> TagPath:
    """Return the sequence of tags with the largest score under a chain, and that score.

    The arrays are those of `lossary.linear_chain_crf`, and so are the refusals. Of several best sequences it is one; a
    tie between tags goes to the smaller. The score is not a log-probability: the cost of the path found is
    ``linear_chain_crf(emissions, transitions, tags)``. On torch tensors the score can be differentiated: less the
    score of the true tags, it is the loss of the structured perceptron.

    >>> import numpy as np
    >>> emissions = [[0.5, 0.0], [0.6, 0.0], [0.0, 2.0]]
    >>> crf_viterbi(emissions, np.zeros((2, 2))).tags.tolist()                    # the best tag of each step
    [0, 0, 1]
    >>> crf_viterbi(emissions, [[0.0, -9.0], [0.0, 0.0]]).tags.tolist()           # from 0 to 1 is dear: better never 0
    [1, 1, 1]
    """
    call = _chain(emissions, transitions, lengths, start, end)
    xp = call.xp
    states, moves, _, steps_of_each = call.arrays
    scores, counts = chain_scores(xp, states, steps_of_each, call.params["start"], call.params["end"])
    steps = scores.shape[-2]
    best = xp.sum(scores[..., :0, :], axis=-2)  # before the first step
    stay = xp.broadcast_to(xp.arange(scores.shape[-1], scores), tuple(best.shape))
    came_from = []
    for at in range(steps):
        here = counts[..., at : at + 1, :]
        if at:
            arriving = xp.transpose(moves) + best  # to each tag (row) from each (column)
            came_from.append(xp.where(here, xp.transpose(xp.argmax(arriving)), stay))
            best = xp.where(here, xp.transpose(xp.max(arriving)), best)
        best = best + scores[..., at : at + 1, :]
    path = [xp.argmax(best)]
    for pointers in reversed(came_from):
        path.append(xp.take(pointers, path[-1]))
    tags = xp.concat(path[::-1], axis=-2)[..., :steps, :]
    tags = xp.where(counts, tags, -xp.ones_like(tags))
    return TagPath(tags[..., 0], xp.max(best)[..., 0, 0])


def crf_marginals(emissions: Any, transitions: Any, lengths: Any = None, *, start: Any = None, end: Any = None) -> Any:
    """Return the probability of each tag at each step, ``(..., t, c)``, whatever the other tags are; 0 beyond a length.

    The arrays are those of `lossary.linear_chain_crf`. Its gradient is these probabilities minus the tags that were
    there, so they are read off it. The likeliest tag of each step need not be on the likeliest path.

    >>> import numpy as np
    >>> crf_marginals(np.zeros((2, 2)), [[0.0, -np.inf], [0.0, 0.0]]).round(4)     # paths 00, 10 and 11 are left
    array([[0.3333, 0.6667],
           [0.6667, 0.3333]])
    """
    call = _chain(emissions, transitions, lengths, start, end)
    xp = call.xp
    with xp.quiet():
        _, ((slope, _),), _ = call.pull(1)
        whole = xp.broadcast_to(slope + xp.one_hot(call.arrays[2], slope), (*call.batch, *slope.shape[-2:]))
    return xp.own(whole, call.given)


def _chain(emissions: Any, transitions: Any, lengths: Any, start: Any, end: Any) -> Call:
    """Return a checked call of the loss of a chain, with tags of which nothing is asked."""
    xp = _dispatch.backend(emissions, transitions, lengths)
    like = next((x for x in (emissions, transitions, lengths) if hasattr(x, "dtype")), None)
    scores = xp.asarray(emissions, "linear_chain_crf: emissions", like)
    if scores.ndim < 2:
        raise ShapeError(f"emissions: got shape {tuple(scores.shape)}, expected (..., steps, tags)")
    tags = xp.broadcast_to(xp.arange(1, scores), tuple(scores.shape[:-1]))
    return prepare(linear_chain_crf, (scores, transitions, tags, lengths), {"start": start, "end": end})
