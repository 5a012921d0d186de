"""Decoding: the labels that a model predicts, from scores that were trained with a sequence loss.

The loss sums over all paths; decoding finds the likeliest: Viterbi for a linear-chain CRF, greedy and beam search and
alignment for CTC. Each function takes the arrays of the loss, in the same layout, as NumPy arrays or torch tensors, and
raises the same errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary import numerics
from lossary.backends import registry
from lossary.backends.numpy import namespace as numpy_xp
from lossary.errors import ShapeError, whole_number
from lossary.evaluate.call import Call, prepare
from lossary.losses.sequence import ctc
from lossary.losses.structured import chain_scores, linear_chain_crf
from lossary.toolkit._arrays import first_array

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
    """Return the sequence of tags with the largest score under a linear-chain CRF, and that score (Viterbi).

    Arrays and errors are those of `lossary.linear_chain_crf`. Of several best sequences one is returned; a tie between
    tags goes to the smaller index. The score is no log-probability: the negative log-likelihood of the path is
    ``linear_chain_crf(emissions, transitions, tags)``. On torch tensors the score can be differentiated; minus the
    score of the true tags it is the structured perceptron loss.

    >>> import numpy as np
    >>> emissions = [[0.5, 0.0], [0.6, 0.0], [0.0, 2.0]]
    >>> crf_viterbi(emissions, np.zeros((2, 2))).tags.tolist()                    # the best tag of each step
    [0, 0, 1]
    >>> crf_viterbi(emissions, [[0.0, -9.0], [0.0, 0.0]]).tags.tolist()           # the step from 0 to 1 scores -9
    [1, 1, 1]
    """
    call = _chain(emissions, transitions, lengths, start, end)
    xp = call.xp
    emitted, moves, _, lengths = call.arrays
    scores, kept = chain_scores(xp, emitted, lengths, call.params["start"], call.params["end"])
    steps = scores.shape[-2]
    best = xp.sum(scores[..., :0, :], axis=-2)  # before the first step
    same = xp.broadcast_to(xp.arange(scores.shape[-1], scores), tuple(best.shape))
    backpointers = []
    for step in range(steps):
        inside = kept[..., step : step + 1, :]
        if step:
            arriving = xp.transpose(moves) + best  # to each tag (row) from each (column)
            backpointers.append(xp.where(inside, xp.transpose(xp.argmax(arriving)), same))
            best = xp.where(inside, xp.transpose(xp.max(arriving)), best)
        best = best + scores[..., step : step + 1, :]
    path = [xp.argmax(best)]
    for pointers in reversed(backpointers):
        path.append(xp.take(pointers, path[-1]))
    tags = xp.concat(path[::-1], axis=-2)[..., :steps, :]
    tags = xp.where(kept, tags, -xp.ones_like(tags))
    return TagPath(tags[..., 0], xp.max(best)[..., 0, 0])


def crf_marginals(emissions: Any, transitions: Any, lengths: Any = None, *, start: Any = None, end: Any = None) -> Any:
    """Return the marginal probability of each tag at each step, ``(..., t, c)``; 0 beyond a sequence's length.

    The arrays are those of `lossary.linear_chain_crf`, whose gradient is these marginals minus the one-hot tags, so
    they are computed from it. The likeliest tag of each step need not be on the likeliest path.

    >>> import numpy as np
    >>> crf_marginals(np.zeros((2, 2)), [[0.0, -np.inf], [0.0, 0.0]]).round(4)     # paths 00, 10 and 11 are left
    array([[0.3333, 0.6667],
           [0.6667, 0.3333]])
    """
    call = _chain(emissions, transitions, lengths, start, end)
    xp = call.xp
    with xp.quiet():
        _, ((gradient, _),), _ = call.pull(1)
        marginals = gradient + xp.one_hot(call.arrays[2], gradient)
        marginals = xp.broadcast_to(marginals, (*call.batch, *gradient.shape[-2:]))
    return xp.own(marginals, call.given)


def _chain(emissions: Any, transitions: Any, lengths: Any, start: Any, end: Any) -> Call:
    """Return a checked call of the CRF loss, with arbitrary tags."""
    xp = registry.namespace(emissions, transitions, lengths)
    scores = xp.asarray(emissions, "linear_chain_crf: emissions", first_array(emissions, transitions, lengths))
    if scores.ndim < 2:
        raise ShapeError(f"emissions: got shape {tuple(scores.shape)}, expected (..., steps, tags)")
    tags = xp.broadcast_to(xp.arange(1, scores), tuple(scores.shape[:-1]))
    return prepare(linear_chain_crf, (scores, transitions, tags, lengths), {"start": start, "end": end})


# --- connectionist temporal classification ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Transcript:
    """The labels of each sequence, -1 beyond their number, and the log-probability of the path they come from."""

    labels: Any
    lengths: Any
    score: Any


@dataclass(frozen=True)
class Hypothesis:
    """Labels, and the log of the probability of all paths in the beam that spell them: a lower bound of their own."""

    labels: tuple[int, ...]
    score: float


@dataclass(frozen=True, eq=False)
class Alignment:
    """The likeliest path of each sequence that spells its target.

    `path` is the class of each frame, the blank included; `position` is the index of the label in the target that a
    frame belongs to, -1 at a blank. Both are -1 beyond the input length. `score` is the path's log-probability.
    """

    path: Any
    position: Any
    score: Any


def ctc_greedy_decode(
    logits: Any, input_lengths: Any = None, *, blank: int = 0, from_logits: bool = True
) -> Transcript:
    """Return the likeliest class of each frame as labels: repeats merged, blanks dropped.

    Arrays and errors are those of `lossary.ctc`; a tie goes to the smaller class. The likeliest path need not spell
    the likeliest labels, whose probability is a sum over many paths: see `ctc_beam_search`.

    >>> import numpy as np
    >>> frames = np.log([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1]])     # 1 1 - 1
    >>> found = ctc_greedy_decode(frames)
    >>> found.labels.tolist(), int(found.lengths), round(float(np.exp(found.score)), 4)
    ([1, 1, -1, -1], 2, 0.3136)
    """
    call, log_probabilities, inside = _frames(logits, input_lengths, blank, from_logits)
    best = log_probabilities.argmax(-1)
    score = np.where(inside, log_probabilities.max(-1, initial=-np.inf), 0.0).sum(-1)
    before = np.concatenate([np.full_like(best[..., :1], blank), best[..., :-1]], -1)
    emits = inside & (best != blank) & (best != before)
    order = np.argsort(~emits, axis=-1, kind="stable")  # frames that emit a label move to the front
    labels = np.take_along_axis(np.where(emits, best, -1), order, -1)
    return Transcript(*(_like_logits(call, x) for x in (labels, emits.sum(-1), score)))


def ctc_beam_search(
    logits: Any,
    input_lengths: Any = None,
    *,
    width: int = 16,
    best: int = 1,
    blank: int = 0,
    from_logits: bool = True,
) -> list[Any]:
    """Return the likeliest labels of each sequence with their probabilities, by a prefix beam search.

    After each frame the `width` likeliest prefixes are kept, each with the probability of all its paths (of those
    that end in a blank, and of the others: Graves 2012; Hannun et al. 2014, arXiv:1408.2873). With a beam that holds
    every prefix the result is exact. Arrays and errors are those of `lossary.ctc`.

    Returns up to `best` hypotheses, the likeliest first; a list of these for each sequence of a batch.

    >>> import numpy as np
    >>> frames = np.log([[0.4, 0.35, 0.25], [0.4, 0.35, 0.25]])
    >>> ctc_greedy_decode(frames).labels.tolist()         # the likeliest path, of 0.16, is all blanks
    [-1, -1]
    >>> [(h.labels, round(float(np.exp(h.score)), 4)) for h in ctc_beam_search(frames, best=2)]
    [((1,), 0.4025), ((2,), 0.2625)]
    """
    width, best = (
        whole_number(name, number, "a whole number of at least 1", lambda n: n >= 1)
        for name, number in (("width", width), ("best", best))
    )
    call, log_probabilities, inside = _frames(logits, input_lengths, blank, from_logits)
    flat = log_probabilities.reshape(math.prod(call.batch), *log_probabilities.shape[-2:])
    lengths = inside.reshape(flat.shape[:2]).sum(-1)
    with numpy_xp.quiet():
        hypotheses = [_beam_search(rows[:n], width, best, blank) for rows, n in zip(flat, lengths, strict=True)]
    nested: list[Any] = _nested(hypotheses, call.batch)
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
    """Return which frame belongs to which label: the likeliest of all paths that spell the target (Viterbi).

    Arrays and errors are those of `lossary.ctc`. A target of probability 0 has a score of ``-inf`` and an arbitrary
    path.

    >>> import numpy as np
    >>> frames = np.log([[0.1, 0.8, 0.1], [0.2, 0.6, 0.2], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]])
    >>> found = ctc_alignment(frames, [1, 2])
    >>> found.path.tolist(), found.position.tolist()
    ([1, 1, 0, 2], [0, 0, -1, 1])
    """
    call = prepare(ctc, (logits, labels, input_lengths, target_lengths), {"blank": blank, "from_logits": from_logits})
    log_probabilities, inside = _log_probabilities(call)
    batch, (frames, _) = call.batch, log_probabilities.shape[-2:]
    target = np.broadcast_to(registry.to_numpy(call.arrays[1])[..., 0], (*batch, call.arrays[1].shape[-2]))
    last = np.broadcast_to(2 * registry.to_numpy(call.arrays[3])[..., 0], (*batch, 1))
    state = np.arange(2 * target.shape[-1] + 1)
    spelled = np.full((*batch, state.size), blank)
    spelled[..., 1::2] = np.maximum(target, 0)
    may_skip = (state % 2 == 1) & (state > 1) & (spelled != np.roll(spelled, 2, -1))
    emitted = np.take_along_axis(log_probabilities, spelled[..., None, :], -1)
    emitted = np.where((state <= last)[..., None, :], emitted, -np.inf)
    score = np.where(state == 0, 0.0, np.full(spelled.shape, -np.inf))
    backpointers = np.zeros((frames, *spelled.shape), int)
    for frame in range(frames):
        arriving = np.full(
            (3, *spelled.shape), -np.inf
        )  # from the state itself, the one before, the one before a blank
        arriving[0], arriving[1, ..., 1:] = score, score[..., :-1]
        arriving[2, ..., 2:] = np.where(may_skip, np.roll(score, 2, -1), -np.inf)[..., 2:]
        kept = inside[..., frame, None]
        backpointers[frame] = np.where(kept, arriving.argmax(0), 0)
        score = np.where(kept, arriving.max(0) + emitted[..., frame, :], score)
    ends = np.where((state == last) | (state == last - 1), score, -np.inf)
    path, position = np.full((*batch, frames), -1), np.full((*batch, frames), -1)
    current = ends.argmax(-1)[..., None]
    for frame in reversed(range(frames)):
        kept = inside[..., frame]
        path[..., frame] = np.where(kept, np.take_along_axis(spelled, current, -1)[..., 0], -1)
        position[..., frame] = np.where(kept & (current[..., 0] % 2 == 1), current[..., 0] // 2, -1)
        current = current - np.take_along_axis(backpointers[frame], current, -1)
    return Alignment(*(_like_logits(call, x) for x in (path, position, ends.max(-1))))


def _frames(logits: Any, input_lengths: Any, blank: int, from_logits: bool) -> tuple[Call, Any, Any]:
    """Return a checked call of the loss with empty targets, its log-probabilities, and a mask of the frames."""
    xp = registry.namespace(logits, input_lengths)
    scores = xp.asarray(logits, "ctc: logits", first_array(logits, input_lengths))
    if scores.ndim < 2 or not scores.shape[-1]:
        raise ShapeError(f"logits: got shape {tuple(scores.shape)}, expected (..., frames, classes)")
    empty = xp.broadcast_to(xp.arange(0, scores), (*scores.shape[:-2], 0))
    params = {"blank": blank, "from_logits": from_logits}
    call = prepare(ctc, (scores, empty, input_lengths, xp.whole(0, scores)), params)
    return call, *_log_probabilities(call)


def _log_probabilities(call: Call) -> tuple[Any, Any]:
    """Return the log-probabilities of a call in float64, and a mask that is true within the input lengths."""
    scores = np.broadcast_to(registry.to_numpy(call.arrays[0]), (*call.batch, *call.arrays[0].shape[-2:])).astype(
        np.float64
    )
    inside = np.arange(scores.shape[-2]) < np.broadcast_to(registry.to_numpy(call.arrays[2])[..., 0], (*call.batch, 1))
    with numpy_xp.quiet():
        return numerics.log_softmax(numpy_xp, scores)[0] if call.params["from_logits"] else scores, inside


def _like_logits(call: Call, result: Any) -> Any:
    """Return a result as an array of the caller's framework, on the device of the logits."""
    return call.xp.asarray(np.asarray(result), "result", call.arrays[0])


def _nested(entries: list[Any], batch: tuple[int, ...]) -> Any:
    """Return a list in the shape of the batch; for one sequence alone, its one entry."""
    if not batch:
        return entries[0]
    size = len(entries) // batch[0] if batch[0] else 0
    return [_nested(entries[k * size : (k + 1) * size], batch[1:]) for k in range(batch[0])]


def _beam_search(log_probabilities: Any, width: int, best: int, blank: int) -> list[Hypothesis]:
    """Return the likeliest labels of one sequence."""
    prefixes: list[tuple[int, ...]] = [()]
    in_blank, in_label = (
        np.zeros(1),
        np.full(1, -np.inf),
    )  # log-probability of the paths that end in a blank, in a label
    for row in log_probabilities:
        total = np.logaddexp(in_blank, in_label)
        last = np.array([labels[-1] if labels else -1 for labels in prefixes], dtype=int)
        # The last label once more is a new label only after a blank; without one it is a repeat, which is merged.
        extended = np.where(last[:, None] == np.arange(row.size), in_blank[:, None], total[:, None]) + row
        extended[:, blank] = -np.inf
        repeated = np.where(last >= 0, in_label + row[last], -np.inf)
        index = {labels: k for k, labels in enumerate(prefixes)}
        for child, labels in enumerate(prefixes):
            parent = index.get(labels[:-1]) if labels else None
            if parent is not None:  # an extension that is in the beam itself: its paths are added up
                repeated[child] = np.logaddexp(repeated[child], extended[parent, labels[-1]])
                extended[parent, labels[-1]] = -np.inf
        candidates = np.concatenate([np.logaddexp(total + row[blank], repeated), extended.ravel()])
        order = np.argsort(-candidates, kind="stable")[:width]
        order = order[candidates[order] > -np.inf]
        same, new = order[order < len(prefixes)], order[order >= len(prefixes)] - len(prefixes)
        parents, added = np.divmod(new, row.size)
        in_blank = np.concatenate([total[same] + row[blank], np.full(new.size, -np.inf)])
        in_label = np.concatenate([repeated[same], extended[parents, added]])
        prefixes = [prefixes[k] for k in same] + [
            (*prefixes[k], int(label)) for k, label in zip(parents, added, strict=True)
        ]
    scores = np.logaddexp(in_blank, in_label)
    return [Hypothesis(prefixes[k], float(scores[k])) for k in np.argsort(-scores, kind="stable")[:best]]
