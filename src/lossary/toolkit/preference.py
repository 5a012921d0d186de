"""Helpers for preference losses: sequence log-probabilities, group advantages, reference points and token averages.

The losses themselves are in the catalogue (family ``preference``), and docs/preference.md derives them. On NumPy arrays
and torch tensors alike this module computes the log-probability of an answer from those of its tokens, the advantage of
an answer among the answers to the same prompt, KTO's reference point, and the averages over tokens in which GRPO, DAPO
and Dr. GRPO differ.
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, Literal

import numpy as np

from lossary import numerics
from lossary.backends import registry
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError, real_number, suggest
from lossary.evaluate import reduction

__all__ = ["average_tokens", "group_advantages", "reference_point", "sequence_log_probability"]

Scale = Literal["group", "batch", "none", "leave one out"]
SCALES: tuple[Scale, ...] = ("group", "batch", "none", "leave one out")
Average = Literal["grpo", "dapo", "dr_grpo"]
AVERAGES: tuple[Average, ...] = ("grpo", "dapo", "dr_grpo")


def sequence_log_probability(token_log_probs: Any, mask: Any, average: bool = False) -> Any:
    """Return the log-probability of each answer: the sum over its tokens, or with `average` their mean.

    Parameters
    ----------
    token_log_probs: log-probabilities of the tokens that were drawn, shape ``(..., tokens)``: minus the values of
        `softmax_cross_entropy` on the logits of the positions before them.
    mask: true for the tokens of the answer; the prompt and the padding are false. Masked positions add exactly 0, NaN
        and ``-inf`` included, and get no gradient.
    average: divide by the number of tokens of the answer, for losses that take means (`simpo`, `orpo`). An answer
        without tokens gives 0.

    >>> sequence_log_probability([[-1.0, -2.0, -9.0], [-1.0, -1.0, -1.0]], [[1, 1, 0], [1, 1, 1]])
    array([-3., -3.])
    >>> sequence_log_probability([[-1.0, -2.0, -9.0], [-1.0, -1.0, -1.0]], [[1, 1, 0], [1, 1, 1]], average=True)
    array([-1.5, -1. ])
    """
    _, summed, kept = _summed_tokens("sequence_log_probability", "token_log_probs", token_log_probs, mask)
    return reduction.average(summed, kept) if average else summed


def reference_point(log_probability: Any, reference_log_probability: Any) -> Any:
    """Return KTO's reference point z0: the divergence of the policy from the reference, estimated on a batch.

    The log-probabilities are those of answers given prompts that they do *not* belong to, such as the batch with its
    answers shifted by one, under the policy and under the reference. The mean of their log-ratios, clamped at 0, is one
    number for the whole batch, and a constant: no gradient flows through it.

    >>> float(reference_point([-9.0, -12.0], [-10.0, -14.0])), float(reference_point([-9.0], [-8.0]))
    (1.5, 0.0)
    """
    xp = registry.namespace(log_probability, reference_log_probability)
    pair = [
        xp.asarray(log_probability, "log_probability"),
        xp.asarray(reference_log_probability, "reference_log_probability", log_probability),
    ]
    if pair[0].shape != pair[1].shape:
        raise ShapeError(
            f"reference_point: log_probability has shape {tuple(pair[0].shape)} but reference_log_probability has "
            f"shape {tuple(pair[1].shape)}; expected the same"
        )
    dtype = xp.compute_dtype(pair)
    with xp.quiet():
        moved = reduction.mean(xp.cast(pair[0], dtype) - xp.cast(pair[1], dtype))
        return numerics.positive_part(xp, moved)


def group_advantages(rewards: Any, group: Any, *, scale: Scale = "group", epsilon: float = 1e-4) -> Any:
    """Return the advantage of each answer: its reward relative to those of the answers to the same prompt.

    Parameters
    ----------
    rewards: one number per answer.
    group: the number of consecutive answers that belong to a prompt; or for each answer the label of its prompt, in any
        order (then the memory is the square of the number of answers).
    scale: the reward minus the mean of its group, and then: ``"group"``: divided by the standard deviation of the group
        (GRPO). ``"batch"``: by that of all rewards. ``"none"``: by nothing (Dr. GRPO): a prompt where all answers but
        one agree then weighs no more than it should. ``"leave one out"``: the mean is that of the *other* answers
        (RLOO), which is "none" times n / (n - 1).
    epsilon: added to the standard deviation, 1e-4 as in TRL: rewards that differ by less are treated as equal. The
        standard deviation is that of a sample, with n - 1, as in `torch.std`.

    Where all answers of a group have the same reward, or there is only one, the advantages are exactly 0. They are
    constants: no gradient flows to the rewards.

    >>> group_advantages([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], 4).round(2)
    array([ 1.5, -0.5, -0.5, -0.5,  0. ,  0. ,  0. ,  0. ])
    >>> group_advantages([1.0, 1.0, 0.0, 1.0], ["a", "b", "a", "b"], scale="none")
    array([ 0.5,  0. , -0.5,  0. ])
    """
    _one_of("group_advantages", "scale", scale, SCALES)
    epsilon = real_number("group_advantages: epsilon", epsilon, "a number >= 0", lambda x: x >= 0)
    xp = registry.namespace(rewards)
    given = xp.asarray(rewards, "group_advantages: rewards")
    dtype = xp.compute_dtype([given])
    if 0 in given.shape:
        return xp.cast(given, dtype)
    with xp.quiet():
        flat = xp.cast(given, dtype).reshape(-1)
        rows, members, own = _groups(xp, "group_advantages", flat, given, group)
        # Relative to the first member: equal rewards differ by exactly 0, and so do their mean and deviation.
        origin = xp.take(rows, xp.argmax(members))
        count = xp.sum(members)
        level = xp.sum(numerics.times(xp, members, rows - origin)) / count
        centred = (own - origin) - level
        if scale == "leave one out":
            advantages = numerics.divide(xp, centred * count, count - 1)
        elif scale == "none":
            advantages = centred
        else:
            sample = flat[None, :] if scale == "batch" else rows
            among = xp.ones_like(sample) if scale == "batch" else members
            advantages = numerics.divide(xp, centred, _deviation(xp, sample, among) + epsilon)
        return xp.own(xp.broadcast_to(advantages, own.shape).reshape(given.shape), [given])


def average_tokens(
    values: Any,
    mask: Any,
    how: Average,
    *,
    group: Any = None,
    length: float | None = None,
    denominator: Any = None,
) -> Any:
    """Return the mean of a loss over the tokens of several answers, as GRPO, DAPO or Dr. GRPO define it.

    Parameters
    ----------
    values: one value per token, shape ``(answers, tokens)``: those of `lossary.grpo` or of any other loss.
    mask: true for the tokens of the answers. Masked positions add exactly 0 and get no gradient.
    how: ``"grpo"``: the mean over the tokens of an answer, then over answers (Shao 2024). A token of a long answer
        has less weight, so a long wrong answer is penalised less per token. ``"dapo"``: the mean over all tokens
        (Yu 2025): every token has the same weight, long answers have more. ``"dr_grpo"``: the sum divided by the number
        of answers times a constant `length` (Liu 2025), usually the longest that may be generated: every token has the
        same weight, which does not depend on the other answers.
    group: for ``"dapo"``: the answers to one prompt, as in `group_advantages`; each group has its own mean, as in the
        paper, and the groups are averaged. Without it all answers are one group, as in TRL.
    length: the constant of ``"dr_grpo"``.
    denominator: replaces the denominator of the sum over answers (their number, that of tokens, of groups, or of
        answers times `length`) where a batch is accumulated from micro-batches or spread over workers.

    Averages of nothing are 0. With tensors the result can be differentiated.

    >>> values, mask = [[1.0, 1.0, 1.0, 1.0], [3.0, 0.0, 0.0, 0.0]], [[1, 1, 1, 1], [1, 0, 0, 0]]
    >>> [float(average_tokens(values, mask, how)) for how in ("grpo", "dapo")]
    [2.0, 1.4]
    >>> float(average_tokens(values, mask, "dr_grpo", length=4))
    0.875
    """
    _one_of("average_tokens", "how", how, AVERAGES)
    if (how == "dr_grpo") != (length is not None):
        raise ParameterError(
            "average_tokens: length: dr_grpo divides by a constant, such as the longest answer that may be generated"
            if length is None
            else f"average_tokens: length: got {length}, but {how} divides by the tokens that are there"
        )
    if length is not None:
        length = real_number("average_tokens: length", length, "a number > 0", lambda x: 0 < x < math.inf)
    if group is not None and how != "dapo":
        raise ParameterError(f"average_tokens: group: only dapo has a mean for each group, and how is {how!r}")
    xp, summed, kept = _summed_tokens("average_tokens", "values", values, mask)
    if summed.ndim != 1:
        shape = (*summed.shape, "tokens")
        raise ShapeError(f"average_tokens: values: got {len(shape)} dimensions, expected two, (answers, tokens)")
    number: Any = float(summed.shape[0])
    if how == "grpo":
        summed = reduction.average(summed, kept)
    elif length is not None:
        number = number * length
    elif group is None:
        number = kept.sum()
    else:
        rows, members, own = _groups(xp, "average_tokens", kept, kept, group)
        summed = reduction.average(summed, xp.broadcast_to(xp.sum(members * rows), own.shape).reshape(-1))
        number = xp.broadcast_to(1 / xp.sum(members), own.shape).sum()  # each group adds up to 1
    if denominator is not None:
        number = reduction.checked_denominator(denominator)
    return reduction.average(summed.sum(), number)[()]


# --- helpers ----------------------------------------------------------------------------------------------------


def _one_of(function: str, name: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ParameterError(
            f"{function}: {name}: got {given!r}, expected one of {', '.join(known)}{suggest(str(given), known)}"
        )


def _summed_tokens(function: str, name: str, values: Any, mask: Any) -> tuple[Any, Any, Any]:
    """Return the namespace, the sum of the kept entries of the last axis, and their number."""
    xp = registry.namespace(values, mask)
    tokens = xp.asarray(values, f"{function}: {name}")
    if tokens.ndim == 0:
        raise ShapeError(f"{function}: {name}: got a single number, expected a last axis of tokens")
    dtype = xp.compute_dtype([tokens])
    keep = reduction.coefficients(xp, tokens.shape, dtype, mask=xp.asarray(mask, f"{function}: mask", tokens))
    kept = xp.where(keep == 0, xp.zeros_like(keep), xp.cast(tokens, dtype))
    summed = xp.sum(xp.cast(kept, xp.accumulator(dtype)))
    return xp, xp.cast(summed, dtype)[..., 0], xp.sum(keep)[..., 0]


def _groups(xp: Any, function: str, flat: Any, like: Any, group: Any) -> tuple[Any, Any, Any]:
    """Return rows that hold the members of a group, the mask of the members, and the answers that a row is for.

    Groups of one size are one row each, for all its members. Otherwise there is one row per answer, for it alone.
    """
    count = flat.shape[0]
    if isinstance(group, Integral) and not isinstance(group, bool):
        if group < 1 or count % group:
            raise ParameterError(
                f"{function}: group: got {group}, expected the number of answers to each prompt, which divides the "
                f"{count} answers; for groups of different sizes give a label for each answer"
            )
        rows = flat.reshape(-1, int(group))
        return rows, xp.ones_like(rows), rows
    labels = _labels(xp, function, group, like)
    if labels.shape != like.shape:
        raise ShapeError(
            f"{function}: group: got shape {tuple(labels.shape)}, expected one label for each answer, "
            f"{tuple(like.shape)}, or one whole number, the size of every group"
        )
    labels = labels.reshape(-1)
    same = xp.astype(labels[:, None] == labels[None, :], flat)
    return xp.broadcast_to(flat[None, :], (count, count)), same, flat[:, None]


def _labels(xp: Any, function: str, group: Any, like: Any) -> Any:
    """Return labels as an array of numbers; strings become their index among the sorted strings."""
    if registry.namespace(group) is registry.namespace():
        array = np.asarray(group) if not isinstance(group, str) else np.asarray(group, object)
        if array.dtype.kind in "USO" and array.ndim and all(isinstance(label, str) for label in array.ravel().tolist()):
            indices = np.unique(array.astype(str), return_inverse=True)[1]
            group = np.asarray(indices).reshape(array.shape)
        elif array.dtype.kind not in "biuf":
            raise ArgumentError(
                f"{function}: group: got {group!r:.40}, expected a label for each answer, numbers or words, or one "
                "whole number, the size of every group"
            )
    labels = xp.asarray(group, f"{function}: group", like)
    if (labels != labels).any():
        raise DomainError(f"{function}: group: got NaN as a label, which belongs to no group")
    return labels


def _deviation(xp: Any, rows: Any, members: Any) -> Any:
    """Return the standard deviation of the members of each row, as of a sample; 0 for a single one."""
    count = xp.sum(members)
    centred = numerics.times(xp, members, rows - xp.sum(numerics.times(xp, members, rows)) / count)
    return xp.sqrt(numerics.divide(xp, xp.sum(centred * centred), count - 1))
