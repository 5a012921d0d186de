"""Decoding: from the scores of a model that was trained with a loss of sequences to the labels it would give.

A loss sums over everything that might have been meant; decoding names the likeliest. What is here takes the arrays of
the loss itself, in the same layout, on NumPy and on torch, and refuses what the loss refuses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary import numerics
from lossary.backends import registry
from lossary.backends.numpy import namespace as plain
from lossary.errors import ShapeError, whole_number
from lossary.evaluate.call import Call, prepare
from lossary.losses.sequence import ctc
from lossary.losses.structured import chain_scores, linear_chain_crf

__all__ = [
    "Alignment",
    "Hypothesis",
    "TagPath",
    "Transcript",
    "crf_marginals",
    "crf_viterbi",
    "ctc_alignment",
    "ctc_beam_search",
    "ctc_greedy_decode",
]


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
    xp = registry.namespace(emissions, transitions, lengths)
    like = next((x for x in (emissions, transitions, lengths) if hasattr(x, "dtype")), None)
    scores = xp.asarray(emissions, "linear_chain_crf: emissions", like)
    if scores.ndim < 2:
        raise ShapeError(f"emissions: got shape {tuple(scores.shape)}, expected (..., steps, tags)")
    tags = xp.broadcast_to(xp.arange(1, scores), tuple(scores.shape[:-1]))
    return prepare(linear_chain_crf, (scores, transitions, tags, lengths), {"start": start, "end": end})


# --- connectionist temporal classification ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Transcript:
    """What each sequence says: labels, -1 beyond their number, and the log-probability of the path they came from."""

    labels: Any
    lengths: Any
    score: Any


@dataclass(frozen=True)
class Hypothesis:
    """Labels, and the log of the probability of all paths found that say them: at most that of all there are."""

    labels: tuple[int, ...]
    score: float


@dataclass(frozen=True, eq=False)
class Alignment:
    """The likeliest path of each sequence that says its target.

    `path` is the class of each frame, the blank included; `position` is which label of the target a frame belongs to,
    -1 at a blank. Both are -1 beyond the frames that count. `score` is the path's log-probability.
    """

    path: Any
    position: Any
    score: Any


def ctc_greedy_decode(
    logits: Any, input_lengths: Any = None, *, blank: int = 0, from_logits: bool = True
) -> Transcript:
    """Return what the likeliest class of each frame says: repeats merged, blanks dropped.

    The arrays are those of `lossary.ctc`, and so are the refusals; a tie goes to the smaller class. The likeliest path
    need not say the likeliest labels, of which many paths may share the probability: see `ctc_beam_search`.

    >>> import numpy as np
    >>> frames = np.log([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1]])     # 1 1 - 1
    >>> found = ctc_greedy_decode(frames)
    >>> found.labels.tolist(), int(found.lengths), round(float(np.exp(found.score)), 4)
    ([1, 1, -1, -1], 2, 0.3136)
    """
    call, log_probabilities, counts = _frames(logits, input_lengths, blank, from_logits)
    best = log_probabilities.argmax(-1)
    score = np.where(counts, log_probabilities.max(-1, initial=-np.inf), 0.0).sum(-1)
    before = np.concatenate([np.full_like(best[..., :1], blank), best[..., :-1]], -1)
    said = counts & (best != blank) & (best != before)
    order = np.argsort(~said, axis=-1, kind="stable")  # what is said moves to the front
    labels = np.take_along_axis(np.where(said, best, -1), order, -1)
    return Transcript(*(_back(call, x) for x in (labels, said.sum(-1), score)))


def ctc_beam_search(
    logits: Any,
    input_lengths: Any = None,
    *,
    width: int = 16,
    best: int = 1,
    blank: int = 0,
    from_logits: bool = True,
) -> list[Any]:
    """Return the likeliest labels of each sequence, and how likely they are, by a search over beginnings.

    After each frame the `width` likeliest beginnings are kept, each with the probability of all its paths (of those
    that end in a blank, and of the others: Graves 2012; Hannun et al. 2014, arXiv:1408.2873). With a beam that holds
    every beginning the result is exact. Arrays and refusals are those of `lossary.ctc`.

    Returns up to `best` hypotheses, the likeliest first; a list of these for each sequence of a batch.

    >>> import numpy as np
    >>> frames = np.log([[0.4, 0.35, 0.25], [0.4, 0.35, 0.25]])
    >>> ctc_greedy_decode(frames).labels.tolist()         # the likeliest path, of 0.16, says nothing at all
    [-1, -1]
    >>> [(h.labels, round(float(np.exp(h.score)), 4)) for h in ctc_beam_search(frames, best=2)]
    [((1,), 0.4025), ((2,), 0.2625)]
    """
    width, best = (
        whole_number(name, number, "a whole number of at least 1", lambda n: n >= 1)
        for name, number in (("width", width), ("best", best))
    )
    call, log_probabilities, counts = _frames(logits, input_lengths, blank, from_logits)
    flat = log_probabilities.reshape(math.prod(call.batch), *log_probabilities.shape[-2:])
    lengths = counts.reshape(flat.shape[:2]).sum(-1)
    with plain.quiet():
        found = [_searched(rows[:n], width, best, blank) for rows, n in zip(flat, lengths, strict=True)]
    nested: list[Any] = _nested(found, call.batch)
    return nested


def ctc_alignment(
    logits: Any,
    labels: Any,
    input_lengths: Any = None,
    target_lengths: Any = None,
    *,
    blank: int = 0,
    from_logits: bool = True,
) -> Alignment:
    """Return which frame belongs to which label: the likeliest of all paths that say the target (Viterbi).

    Arrays and refusals are those of `lossary.ctc`. A target of probability 0 has a score of ``-inf``, and its path
    means nothing.

    >>> import numpy as np
    >>> frames = np.log([[0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    >>> found = ctc_alignment(frames, [1, 2])
    >>> found.path.tolist(), found.position.tolist()
    ([1, 1, 0, 2], [0, 0, -1, 1])
    """
    call = prepare(ctc, (logits, labels, input_lengths, target_lengths), {"blank": blank, "from_logits": from_logits})
    log_probabilities, counts = _log_probabilities(call)
    batch, (frames, _) = call.batch, log_probabilities.shape[-2:]
    target = np.broadcast_to(registry.to_numpy(call.arrays[1])[..., 0], (*batch, call.arrays[1].shape[-2]))
    last = np.broadcast_to(2 * registry.to_numpy(call.arrays[3])[..., 0], (*batch, 1))
    state = np.arange(2 * target.shape[-1] + 1)
    spelled = np.full((*batch, state.size), blank)
    spelled[..., 1::2] = np.maximum(target, 0)
    free = (state % 2 == 1) & (state > 1) & (spelled != np.roll(spelled, 2, -1))
    emitted = np.take_along_axis(log_probabilities, spelled[..., None, :], -1)
    emitted = np.where((state <= last)[..., None, :], emitted, -np.inf)
    score = np.where(state == 0, 0.0, np.full(spelled.shape, -np.inf))
    came_from = np.zeros((frames, *spelled.shape), int)
    for at in range(frames):
        ways = np.full((3, *spelled.shape), -np.inf)  # from the state itself, the one before, past a blank
        ways[0], ways[1, ..., 1:] = score, score[..., :-1]
        ways[2, ..., 2:] = np.where(free, np.roll(score, 2, -1), -np.inf)[..., 2:]
        here = counts[..., at, None]
        came_from[at] = np.where(here, ways.argmax(0), 0)
        score = np.where(here, ways.max(0) + emitted[..., at, :], score)
    ends = np.where((state == last) | (state == last - 1), score, -np.inf)
    path, position = np.full((*batch, frames), -1), np.full((*batch, frames), -1)
    place = ends.argmax(-1)[..., None]
    for at in reversed(range(frames)):
        here = counts[..., at]
        path[..., at] = np.where(here, np.take_along_axis(spelled, place, -1)[..., 0], -1)
        position[..., at] = np.where(here & (place[..., 0] % 2 == 1), place[..., 0] // 2, -1)
        place = place - np.take_along_axis(came_from[at], place, -1)
    return Alignment(*(_back(call, x) for x in (path, position, ends.max(-1))))


def _frames(logits: Any, input_lengths: Any, blank: int, from_logits: bool) -> tuple[Call, Any, Any]:
    """Return a checked call of the loss with no labels, its log-probabilities, and which frames count."""
    xp = registry.namespace(logits, input_lengths)
    like = next((x for x in (logits, input_lengths) if hasattr(x, "dtype")), None)
    scores = xp.asarray(logits, "ctc: logits", like)
    if scores.ndim < 2 or not scores.shape[-1]:
        raise ShapeError(f"logits: got shape {tuple(scores.shape)}, expected (..., frames, classes)")
    nothing = xp.broadcast_to(xp.arange(0, scores), (*scores.shape[:-2], 0))
    params = {"blank": blank, "from_logits": from_logits}
    call = prepare(ctc, (scores, nothing, input_lengths, xp.whole(0, scores)), params)
    return call, *_log_probabilities(call)


def _log_probabilities(call: Call) -> tuple[Any, Any]:
    """Return the log-probabilities of a call of the loss in double precision, and which frames count."""
    scores = np.broadcast_to(registry.to_numpy(call.arrays[0]), (*call.batch, *call.arrays[0].shape[-2:])).astype(
        np.float64
    )
    counts = np.arange(scores.shape[-2]) < np.broadcast_to(registry.to_numpy(call.arrays[2])[..., 0], (*call.batch, 1))
    with plain.quiet():
        return numerics.log_softmax(plain, scores)[0] if call.params["from_logits"] else scores, counts


def _back(call: Call, found: Any) -> Any:
    """Return what was found as an array of the caller's framework, where the logits are."""
    return call.xp.asarray(np.asarray(found), "found", call.arrays[0])


def _nested(found: list[Any], batch: tuple[int, ...]) -> Any:
    """Return a list in the shape of the batch; for one sequence alone, its one entry."""
    if not batch:
        return found[0]
    step = len(found) // batch[0] if batch[0] else 0
    return [_nested(found[at * step : (at + 1) * step], batch[1:]) for at in range(batch[0])]


def _searched(log_probabilities: Any, width: int, best: int, blank: int) -> list[Hypothesis]:
    """Return the likeliest labels of one sequence."""
    said: list[tuple[int, ...]] = [()]
    paused, sounding = np.zeros(1), np.full(1, -np.inf)  # paths that end in a blank, and those that end in a label
    for row in log_probabilities:
        whole = np.logaddexp(paused, sounding)
        last = np.array([labels[-1] if labels else -1 for labels in said], dtype=int)
        ended = last >= 0
        # A label said again is a new one only after a blank; without one the last just sounds on.
        grown = np.where(last[:, None] == np.arange(row.size), paused[:, None], whole[:, None]) + row
        grown[:, blank] = -np.inf
        on = np.where(ended, sounding + row[last], -np.inf)
        known = {labels: at for at, labels in enumerate(said)}
        for child, labels in enumerate(said):
            parent = known.get(labels[:-1]) if labels else None
            if parent is not None:  # a beginning that is kept itself, reached from the one before
                on[child] = np.logaddexp(on[child], grown[parent, labels[-1]])
                grown[parent, labels[-1]] = -np.inf
        kept = np.concatenate([np.logaddexp(whole + row[blank], on), grown.ravel()])
        order = np.argsort(-kept, kind="stable")[:width]
        order = order[kept[order] > -np.inf]
        stay, leave = order[order < len(said)], order[order >= len(said)] - len(said)
        parents, added = np.divmod(leave, row.size)
        paused = np.concatenate([whole[stay] + row[blank], np.full(leave.size, -np.inf)])
        sounding = np.concatenate([on[stay], grown[parents, added]])
        said = [said[at] for at in stay] + [(*said[at], int(c)) for at, c in zip(parents, added, strict=True)]
    scores = np.logaddexp(paused, sounding)
    return [Hypothesis(said[at], float(scores[at])) for at in np.argsort(-scores, kind="stable")[:best]]
