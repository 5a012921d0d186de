"""Losses of sequences of labels: cross-entropy at every position, with padding, and a report of where it is large.

A batch of sequences is an array of logits ``(..., t, c)``: steps, then classes, last; padded to a common length with
something that must not count. What counts is said in one of two ways, by `lengths` or by a `mask`, and a label may be
left out wherever it stands with `ignore_index`. There is no formula here: the rows that are kept cost what
`lossary.softmax_cross_entropy` says, and this page only says which rows those are and what they are divided by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, Generic, Literal, ParamSpec

import numpy as np

from lossary import numerics
from lossary.backends import registry as _dispatch
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError, require, suggest, whole_number
from lossary.evaluate.reduction import coefficients
from lossary.losses.classification import softmax_cross_entropy
from lossary.text.layout import aligned

__all__ = [
    "SequenceLoss",
    "SequenceReport",
    "causal_lm_cross_entropy",
    "padded_sequence_cross_entropy",
    "sequence_report",
]

P = ParamSpec("P")
SequenceReduction = Literal["token_mean", "sequence_mean", "sum", "none"]
REDUCTIONS: tuple[SequenceReduction, ...] = ("token_mean", "sequence_mean", "sum", "none")


# --- which positions count ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Positions:
    """Logits, the label of each position, and whether the position counts."""

    xp: Any
    logits: Any
    labels: Any
    kept: Any


def _positions(
    logits: Any, labels: Any, labels_name: str, shift: bool, lengths: Any, mask: Any, ignore_index: int | None
) -> _Positions:
    if lengths is not None and mask is not None:
        raise ArgumentError("lengths and mask both say which positions count: pass one of them")
    if shift not in (True, False):
        raise ParameterError(f"shift: got {shift!r}, expected True or False")
    xp = _dispatch.namespace(logits, labels, mask, lengths)
    like = logits if hasattr(logits, "dtype") else labels if hasattr(labels, "dtype") else None
    z, y = xp.asarray(logits, "logits", like), xp.asarray(labels, labels_name, like)
    if z.ndim < 2:
        raise ShapeError(f"logits: got shape {tuple(z.shape)}, expected (..., steps, classes)")
    if tuple(y.shape) != tuple(z.shape[:-1]) and (tuple(y.shape) != tuple(z.shape) or shift):
        raise ShapeError(
            f"{labels_name}: got shape {tuple(y.shape)}, expected {tuple(z.shape[:-1])}: one label for every step of "
            f"logits, whose shape is {tuple(z.shape)}: (..., steps, classes)"
        )
    shape = tuple(z.shape[:-1])
    steps = xp.arange(shape[-1], z)
    if lengths is not None:
        kept = steps < xp.as_index(_lengths(xp, lengths, shape, z))[..., None]
    elif mask is not None:
        kept = coefficients(xp, shape, xp.compute_dtype([z]), None, mask) != 0
    else:
        kept = xp.broadcast_to(steps >= 0, shape)
    if ignore_index is not None:
        ignore_index = whole_number("ignore_index", ignore_index, "a class index, or None to leave none out")
        if y.ndim == z.ndim:
            raise ParameterError("ignore_index: the labels are distributions over classes; leave positions out by mask")
        kept = kept & ~xp.equals(y, ignore_index)
    if shift:
        # The labels move and the logits stay: they are far larger, and so the gradient has their shape. The last
        # position predicts a token that is not there.
        following = xp.broadcast_to(xp.minimum(steps + 1, shape[-1] - 1), shape)
        y = xp.as_index(y) if xp.is_index(y) else y  # which can be taken from, of whatever type the labels are
        y, kept = xp.take(y, following), xp.take(kept, following) & (steps < shape[-1] - 1)
    return _Positions(xp, z, y, kept)


def _lengths(xp: Any, given: Any, shape: tuple[int, ...], like: Any) -> Any:
    """Return the lengths of the sequences, refused where they are no lengths of sequences in such an array."""
    lengths = xp.asarray(given, "lengths", like)
    if tuple(lengths.shape) != shape[:-1]:
        raise ShapeError(f"lengths: got shape {tuple(lengths.shape)}, expected {shape[:-1]}, one for each sequence")
    seen = xp.readable(lengths)
    if seen is not None:
        wrong = (seen < 0) | (seen > shape[-1]) | (seen != np.floor(seen))
        if wrong.any():
            places = ", ".join(f"{seen[tuple(at)]:g} of sequence {_index(at)}" for at in np.argwhere(wrong)[:5])
            more = f" and {int(wrong.sum()) - 5} more" if wrong.sum() > 5 else ""
            raise DomainError(f"lengths: got {places}{more}, expected whole numbers from 0 to {shape[-1]}, the steps")
    return lengths


def _index(at: Sequence[int]) -> Any:
    return int(at[0]) if len(at) == 1 else tuple(int(i) for i in at)


# --- the losses -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """What to ask of `softmax_cross_entropy`."""

    logits: Any
    labels: Any
    options: Mapping[str, Any]


class SequenceLoss(Generic[P]):
    """A loss of sequences: called it gives the value; `value_and_grad` gives the gradient in the logits as well.

    On torch tensors the value is differentiable, and the gradient is the hand-written one, as in the catalogue.
    """

    def __init__(self, rows: Callable[P, _Rows]) -> None:
        self._rows = rows
        update_wrapper(self, rows)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the value."""
        rows = self._rows(*args, **kwargs)
        return softmax_cross_entropy.value(rows.logits, rows.labels, **rows.options)

    def value_and_grad(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        """Return the value and its gradient in the logits; the arguments are those of the loss itself."""
        rows = self._rows(*args, **kwargs)
        return softmax_cross_entropy.value_and_grad(rows.logits, rows.labels, **rows.options)


def _reduced(at: _Positions, reduction: SequenceReduction, denominator: Any, params: Mapping[str, Any]) -> _Rows:
    """Say which rows count, and what their sum is divided by, in the terms of `lossary.evaluate.reduction`."""
    if reduction not in REDUCTIONS:
        hint = ": of tokens, or of sequences?" if str(reduction) == "mean" else suggest(str(reduction), REDUCTIONS)
        raise ParameterError(f"reduction: got {reduction!r}, expected one of {', '.join(REDUCTIONS)}{hint}")
    if "weight" in params:
        raise ArgumentError("weight: a position counts or it does not; say which by lengths, mask or ignore_index")
    options = {"denominator": denominator, "mask": at.kept, **params}
    if reduction == "sequence_mean":
        # A token weighs one over the tokens of its sequence, so a sequence with any weighs 1 and one without 0.
        counted = at.xp.cast(at.kept, at.xp.compute_dtype([at.logits]))
        options |= {"weight": numerics.divide(at.xp, counted, at.xp.sum(counted)), "reduction": "mean"}
    else:
        options["reduction"] = "mean" if reduction == "token_mean" else reduction
    return _Rows(at.logits, at.labels, options)


@SequenceLoss
def padded_sequence_cross_entropy(
    logits: Any,
    labels: Any,
    *,
    lengths: Any = None,
    mask: Any = None,
    ignore_index: int | None = None,
    reduction: SequenceReduction = "token_mean",
    denominator: Any = None,
    **params: Any,
) -> _Rows:
    """Softmax cross-entropy at every position of padded sequences; what is padding has value 0 and gradient 0.

    Parameters
    ----------
    logits: ``(..., t, c)``. The one at a position belongs to the label at the same position: nothing is shifted.
    labels: ``(..., t)`` class indices, or ``(..., t, c)`` distributions. Padding may hold anything.
    lengths: how many steps of each sequence count, from the first: the shape of the batch.
    mask: or true where a position counts, ``(..., t)``. Without either, all do.
    ignore_index: a label that is left out wherever it stands, in addition to the padding.
    reduction: ``"token_mean"``: every token counts alike, so long sequences count more. ``"sequence_mean"``: the mean
        over the sequences of the mean over their tokens, so every sequence that has a token counts alike. ``"sum"``;
        ``"none"``: one value per position.
    denominator: replaces the number of tokens, or of sequences, under a mean: the tokens of all micro-batches or
        workers.
    params: those of `lossary.softmax_cross_entropy`: `label_smoothing`, `temperature`, `class_weight`, ...

    Values and gradients are those of the rows ``logits[mask]`` picked out: bit for bit at each position, and in sums
    and means to the rounding of a sum in another order. Nothing kept has sum 0 and mean 0.

    Raises `ArgumentError` for lengths and mask together, `DomainError` for lengths beyond the array.

    >>> import numpy as np
    >>> logits = np.zeros((2, 3, 4))                                    # four classes, all equally likely
    >>> labels = [[1, 2, 0], [3, 0, 0]]                                 # 0 pads
    >>> padded_sequence_cross_entropy(logits, labels, lengths=[2, 1], reduction="none").round(4)
    array([[1.3863, 1.3863, 0.    ],
           [1.3863, 0.    , 0.    ]])
    >>> float(np.exp(padded_sequence_cross_entropy(logits, labels, lengths=[2, 1])).round(4))     # the perplexity
    4.0
    """
    at = _positions(logits, labels, "labels", False, lengths, mask, ignore_index)
    return _reduced(at, reduction, denominator, params)


@SequenceLoss
def causal_lm_cross_entropy(
    logits: Any,
    tokens: Any,
    *,
    shift: bool,
    lengths: Any = None,
    mask: Any = None,
    ignore_index: int | None = None,
    reduction: SequenceReduction = "token_mean",
    denominator: Any = None,
    **params: Any,
) -> _Rows:
    """Cross-entropy of a model that predicts the next token from those before it.

    `shift` must be said, for to shift twice trains a model to skip a token, and nothing warns of it. True: `tokens` are
    those the model has read, and the logits at a position are held to the token at the *next* one; the last logits
    predict nothing and have gradient 0. False: `tokens` are moved already, each stands where it is predicted.
    Hugging Face's models shift ``labels=`` themselves; ``torch.nn.CrossEntropyLoss`` never does.

    `lengths`, `mask` and `ignore_index` speak of `tokens` as they are passed, before any shift: a token counts as
    something to be predicted, so of a sequence of length 5 four tokens count. `reduction`, `denominator` and `params`
    are those of `padded_sequence_cross_entropy`. Under ``"none"`` a cost stands at the position that predicted.

    >>> import numpy as np
    >>> certain = 1000 * np.eye(4)[[1, 2, 3, 0]]                     # expects 1, then 2, then 3
    >>> float(causal_lm_cross_entropy(certain, [0, 1, 2, 3], shift=True))
    0.0
    >>> float(causal_lm_cross_entropy(certain, [0, 1, 2, 3], shift=False))
    1000.0
    """
    at = _positions(logits, tokens, "tokens", shift, lengths, mask, ignore_index)
    return _reduced(at, reduction, denominator, params)


# --- where the loss is ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Token:
    """One position of a report: which, its cost, what it should have been and what it was taken for."""

    sequence: int
    position: int
    loss: float
    label: int
    predicted: int


@dataclass(frozen=True)
class SequenceLine:
    """One sequence of a report: which, its tokens, their mean cost, and the share that was predicted rightly."""

    sequence: int
    tokens: int
    loss: float
    accuracy: float

    @property
    def perplexity(self) -> float:
        """Exponential of the mean cost of a token."""
        return _exp(self.loss)


@dataclass(frozen=True, eq=False)
class SequenceReport:
    """What a model's logits cost, position by position; printing it gives a summary, padding left out throughout.

    Arrays are NumPy's, of shape ``(n, t)`` with all leading dimensions made one: `token_losses` (0 where a position
    does not count), `kept`, `labels`, `predicted`. `worst` is how many examples are shown, `vocabulary` what the
    classes are called. A mean of nothing is 0, as everywhere; a share of nothing is 0 too.
    """

    token_losses: Any
    kept: Any
    labels: Any
    predicted: Any
    worst: int = 5
    vocabulary: Sequence[str] | Mapping[int, str] | None = None

    @property
    def tokens(self) -> int:
        """How many positions count."""
        return int(self.kept.sum())

    @property
    def loss(self) -> float:
        """Mean cost of a token."""
        return _share(self.token_losses.sum(dtype=np.float64), self.tokens)

    @property
    def perplexity(self) -> float:
        """Exponential of the mean cost of a token: among how many equally likely tokens the model was in doubt."""
        return _exp(self.loss)

    @property
    def accuracy(self) -> float:
        """Share of tokens whose likeliest class was the label."""
        return _share((self.kept & (self.predicted == self.labels)).sum(), self.tokens)

    @property
    def sequence_accuracy(self) -> float:
        """Share of sequences all of whose tokens were right, among those that have any."""
        lines = self.sequences()
        return _share(sum(line.accuracy == 1 for line in lines), len(lines))

    def sequences(self) -> list[SequenceLine]:
        """Return the sequences that have tokens, in their order."""
        counts = self.kept.sum(axis=1)
        costs = self.token_losses.sum(axis=1, dtype=np.float64)
        hits = (self.kept & (self.predicted == self.labels)).sum(axis=1)
        return [
            SequenceLine(int(i), int(counts[i]), float(costs[i] / counts[i]), float(hits[i] / counts[i]))
            for i in np.flatnonzero(counts)
        ]

    def worst_sequences(self) -> list[SequenceLine]:
        """Return the sequences with the largest mean cost of a token, worst first."""
        return sorted(self.sequences(), key=lambda line: -_rank(line.loss))[: self.worst]

    def worst_tokens(self) -> list[Token]:
        """Return the positions with the largest cost, worst first."""
        places = np.argwhere(self.kept)
        costs = self.token_losses[self.kept].astype(np.float64)
        found = []
        for at in np.argsort([-_rank(cost) for cost in costs], kind="stable")[: self.worst]:
            i, j = (int(k) for k in places[at])
            found.append(Token(i, j, float(costs[at]), int(self.labels[i, j]), int(self.predicted[i, j])))
        return found

    def name(self, token: int) -> str:
        """Return what a class is called."""
        known = self.vocabulary is not None and (
            token in self.vocabulary if isinstance(self.vocabulary, Mapping) else token < len(self.vocabulary)
        )
        return repr(self.vocabulary[token]) if known and self.vocabulary is not None else str(token)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures and the worst examples as plain numbers and lists, ready for JSON."""
        return {
            "tokens": self.tokens,
            "padding": int(self.kept.size - self.tokens),
            "loss": self.loss,
            "perplexity": self.perplexity,
            "accuracy": self.accuracy,
            "sequence_accuracy": self.sequence_accuracy,
            "worst_tokens": [dict(vars(token)) for token in self.worst_tokens()],
            "worst_sequences": [{**vars(line), "perplexity": line.perplexity} for line in self.worst_sequences()],
        }

    def _tables(self) -> list[tuple[str, list[tuple[str, ...]]]]:
        tokens: list[tuple[str, ...]] = [("sequence", "position", "label", "predicted", "loss")]
        tokens += [
            (str(t.sequence), str(t.position), self.name(t.label), self.name(t.predicted), f"{t.loss:.4g}")
            for t in self.worst_tokens()
        ]
        lines: list[tuple[str, ...]] = [("sequence", "tokens", "accuracy", "perplexity", "loss")]
        lines += [
            (str(s.sequence), str(s.tokens), f"{s.accuracy:.1%}", f"{s.perplexity:.4g}", f"{s.loss:.4g}")
            for s in self.worst_sequences()
        ]
        return [("worst tokens", tokens), ("worst sequences", lines)]

    @property
    def summary(self) -> str:
        """Loss, perplexity and accuracies in two lines."""
        padding = self.kept.size - self.tokens
        return (
            f"{self.tokens:,} tokens in {len(self.sequences()):,} sequences; {padding:,} positions are left out\n"
            f"loss {self.loss:.4g} per token, perplexity {self.perplexity:.4g}; right: {self.accuracy:.1%} of tokens, "
            f"{self.sequence_accuracy:.1%} of whole sequences"
        )

    def __str__(self) -> str:
        parts = [self.summary]
        for title, rows in self._tables():
            parts.append("\n".join([title, *(f"  {line}" for line in aligned(rows))]))
        return "\n\n".join(parts)

    def __rich__(self) -> Any:
        tables = []
        for title, (head, *rows) in self._tables():
            table = require("rich.table").Table(title=title, title_justify="left")
            for column in head:
                table.add_column(column, justify="right")
            for row in rows:
                table.add_row(*row)
            tables.append(table)
        return require("rich.console").Group(self.summary, *tables)


def sequence_report(
    logits: Any,
    labels: Any,
    *,
    shift: bool = False,
    lengths: Any = None,
    mask: Any = None,
    ignore_index: int | None = None,
    worst: int = 5,
    vocabulary: Sequence[str] | Mapping[int, str] | None = None,
) -> SequenceReport:
    """Return the cost of every token and sequence, perplexity, accuracies, and the worst examples with their places.

    The arguments are those of `padded_sequence_cross_entropy`, and `shift` that of `causal_lm_cross_entropy`; padding
    is left out of every figure. The costs are plain cross-entropies in nats, without smoothing or weights, since only
    of these is the exponential a perplexity. `worst` is how many tokens and sequences are listed, `vocabulary` what
    the classes are called.

    >>> logits = [[[2.0, 0.0], [0.0, 1.0], [9.0, 0.0]], [[0.0, 3.0], [5.0, 0.0], [5.0, 0.0]]]
    >>> print(sequence_report(logits, [[0, 0, 0], [1, 0, 0]], lengths=[2, 1], worst=1, vocabulary=["no", "yes"]))
    3 tokens in 2 sequences; 3 positions are left out
    loss 0.4963 per token, perplexity 1.643; right: 66.7% of tokens, 50.0% of whole sequences
    <BLANKLINE>
    worst tokens
      sequence  position  label  predicted   loss
      0                1   'no'      'yes'  1.313
    <BLANKLINE>
    worst sequences
      sequence  tokens  accuracy  perplexity    loss
      0              2     50.0%       2.055  0.7201
    """
    if not (isinstance(worst, int) and worst >= 0):
        raise ParameterError(f"worst: got {worst!r}, expected a whole number >= 0")
    at = _positions(logits, labels, "labels", shift, lengths, mask, ignore_index)
    if at.labels.ndim == at.logits.ndim:
        raise ShapeError("labels: a report counts hits, and wants class indices rather than distributions over classes")
    with at.xp.quiet():
        losses = softmax_cross_entropy.value(at.logits, at.labels, mask=at.kept)
        predicted = at.xp.argmax(at.logits)[..., 0]
    costs, kept, wanted, taken = (_lines(x) for x in (losses, at.kept, at.labels, predicted))
    return SequenceReport(costs, kept, wanted, taken, worst, vocabulary)


def _lines(x: Any) -> Any:
    """An array's numbers, on whatever device they are, a line for each sequence."""
    array = _dispatch.to_numpy(x)
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _share(part: Any, whole: int) -> float:
    return float(part / whole) if whole else 0.0


def _exp(cost: float) -> float:
    return math.exp(cost) if cost < 709 else math.inf if cost == cost else math.nan


def _rank(cost: float) -> float:
    """NaN is worse than any number: it is what one wants to see first."""
    return math.inf if math.isnan(cost) else cost
