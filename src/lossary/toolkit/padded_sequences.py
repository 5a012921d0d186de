"""Cross-entropy of padded sequences, token by token, and a report of the tokens with the largest loss.

A batch of sequences is an array of logits ``(..., t, c)``: steps, then classes, last; padded to a common length. Either
`lengths` or a `mask` says which positions are kept, and `ignore_index` drops a label wherever it occurs. There is no
formula here: each kept position is a row of `lossary.softmax_cross_entropy`, and this module only chooses the rows and
the denominator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, Generic, Literal, ParamSpec

import numpy as np

from lossary import numerics
from lossary.backends import registry
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError, require, suggest, whole_number
from lossary.evaluate.reduction import coefficients
from lossary.losses.classification import softmax_cross_entropy
from lossary.text.layout import aligned
from lossary.toolkit._arrays import first_array

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


# --- which positions are kept -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Positions:
    """Logits, the label of each position, and whether the position is kept."""

    xp: Any
    logits: Any
    labels: Any
    kept: Any


def _positions(
    logits: Any, labels: Any, labels_name: str, shift: bool, lengths: Any, mask: Any, ignore_index: int | None
) -> _Positions:
    if lengths is not None and mask is not None:
        raise ArgumentError("lengths and mask both say which positions are kept: pass one of them")
    if shift not in (True, False):
        raise ParameterError(f"shift: got {shift!r}, expected True or False")
    xp = registry.namespace(logits, labels, mask, lengths)
    like = first_array(logits, labels)
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
        # The labels are shifted rather than the logits, which are far larger and whose gradient keeps their shape.
        # The last position predicts a token that does not exist.
        following = xp.broadcast_to(xp.minimum(steps + 1, shape[-1] - 1), shape)
        y = xp.as_index(y) if xp.is_index(y) else y  # `take` accepts these, whatever the type of the labels
        y, kept = xp.take(y, following), xp.take(kept, following) & (steps < shape[-1] - 1)
    return _Positions(xp, z, y, kept)


def _lengths(xp: Any, given: Any, shape: tuple[int, ...], like: Any) -> Any:
    """Return the lengths of the sequences; raise an error where they do not fit the array."""
    lengths = xp.asarray(given, "lengths", like)
    if tuple(lengths.shape) != shape[:-1]:
        raise ShapeError(f"lengths: got shape {tuple(lengths.shape)}, expected {shape[:-1]}, one for each sequence")
    seen = xp.readable(lengths)
    if seen is not None:
        wrong = (seen < 0) | (seen > shape[-1]) | (seen != np.floor(seen))
        if wrong.any():
            listed = ", ".join(f"{seen[tuple(at)]:g} of sequence {_index(at)}" for at in np.argwhere(wrong)[:5])
            more = f" and {int(wrong.sum()) - 5} more" if wrong.sum() > 5 else ""
            raise DomainError(f"lengths: got {listed}{more}, expected whole numbers from 0 to {shape[-1]}, the steps")
    return lengths


def _index(at: Sequence[int]) -> Any:
    return int(at[0]) if len(at) == 1 else tuple(int(i) for i in at)


# --- the losses -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Arguments:
    """The arguments of a call of `softmax_cross_entropy`."""

    logits: Any
    labels: Any
    options: Mapping[str, Any]


class SequenceLoss(Generic[P]):
    """A sequence loss: calling it gives the value; `value_and_grad` also gives the gradient of the logits.

    On torch tensors the value is differentiable, and the gradient is the hand-written one, as in the catalogue.
    """

    def __init__(self, arguments: Callable[P, _Arguments]) -> None:
        self._arguments = arguments
        update_wrapper(self, arguments)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the value."""
        call = self._arguments(*args, **kwargs)
        return softmax_cross_entropy.value(call.logits, call.labels, **call.options)

    def value_and_grad(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        """Return the value and the gradient of the logits; the arguments are those of the loss itself."""
        call = self._arguments(*args, **kwargs)
        return softmax_cross_entropy.value_and_grad(call.logits, call.labels, **call.options)


def _reduced(at: _Positions, reduction: SequenceReduction, denominator: Any, params: Mapping[str, Any]) -> _Arguments:
    """Return the call with the mask, the weights and the denominator of a reduction."""
    if reduction not in REDUCTIONS:
        hint = ": of tokens, or of sequences?" if str(reduction) == "mean" else suggest(str(reduction), REDUCTIONS)
        raise ParameterError(f"reduction: got {reduction!r}, expected one of {', '.join(REDUCTIONS)}{hint}")
    if "weight" in params:
        raise ArgumentError(
            "weight: a position is kept or dropped, by lengths, mask or ignore_index; positions have no weights"
        )
    options = {"denominator": denominator, "mask": at.kept, **params}
    if reduction == "sequence_mean":
        # A token has the weight 1 / (tokens of its sequence), so a sequence with tokens weighs 1 and one without 0.
        kept = at.xp.cast(at.kept, at.xp.compute_dtype([at.logits]))
        options |= {"weight": numerics.divide(at.xp, kept, at.xp.sum(kept)), "reduction": "mean"}
    else:
        options["reduction"] = "mean" if reduction == "token_mean" else reduction
    return _Arguments(at.logits, at.labels, options)


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
) -> _Arguments:
    """Softmax cross-entropy at every position of padded sequences; padding has value 0 and gradient 0.

    Parameters
    ----------
    logits: ``(..., t, c)``. The one at a position belongs to the label at the same position: nothing is shifted.
    labels: ``(..., t)`` class indices, or ``(..., t, c)`` distributions. Padding may hold anything.
    lengths: the number of steps of each sequence that are kept, from the first: the shape of the batch.
    mask: or true where a position is kept, ``(..., t)``. Without either, all are.
    ignore_index: a label that is dropped wherever it occurs, in addition to the padding.
    reduction: ``"token_mean"``: every token has the same weight, so long sequences have more. ``"sequence_mean"``: the
        mean over the sequences of the mean over their tokens, so every sequence with a token has the same weight.
        ``"sum"``; ``"none"``: one value per position.
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
) -> _Arguments:
    """Cross-entropy of a model that predicts the next token from those before it.

    `shift` has no default: a model whose labels are shifted twice learns to skip a token, and nothing warns of it.
    True: `tokens` are the input of the model, and the logits at a position are compared with the token at the *next*
    one; the last logits predict nothing and have gradient 0. False: `tokens` are shifted already, each at the position
    that predicts it. Hugging Face's models shift ``labels=`` themselves; ``torch.nn.CrossEntropyLoss`` never does.

    `lengths`, `mask` and `ignore_index` refer to `tokens` as they are passed, before any shift, and to tokens as
    targets: a sequence of length 5 has four. `reduction`, `denominator` and `params` are those of
    `padded_sequence_cross_entropy`. Under ``"none"`` a value is at the position that predicts.

    >>> import numpy as np
    >>> certain = 1000 * np.eye(4)[[1, 2, 3, 0]]                     # predicts 1, then 2, then 3
    >>> float(causal_lm_cross_entropy(certain, [0, 1, 2, 3], shift=True))
    0.0
    >>> float(causal_lm_cross_entropy(certain, [0, 1, 2, 3], shift=False))
    1000.0
    """
    at = _positions(logits, tokens, "tokens", shift, lengths, mask, ignore_index)
    return _reduced(at, reduction, denominator, params)


# --- the report ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Token:
    """One position of a report: its place, its loss, its label and the predicted class."""

    sequence: int
    position: int
    loss: float
    label: int
    predicted: int


@dataclass(frozen=True)
class SequenceLine:
    """One sequence of a report: its index, its number of tokens, their mean loss and their accuracy."""

    sequence: int
    tokens: int
    loss: float
    accuracy: float

    @property
    def perplexity(self) -> float:
        """Exponential of the mean loss of a token."""
        return _exp(self.loss)


@dataclass(frozen=True, eq=False)
class SequenceReport:
    """The loss of a model's logits, position by position, without the padding; printing it gives a summary.

    Arrays are NumPy's, of shape ``(n, t)`` with all leading dimensions merged: `token_losses` (0 where a position is
    not kept), `kept`, `labels`, `predicted`. `worst` is the number of examples that are shown, `vocabulary` the names
    of the classes. A mean or a share of nothing is 0.
    """

    token_losses: Any
    kept: Any
    labels: Any
    predicted: Any
    worst: int = 5
    vocabulary: Sequence[str] | Mapping[int, str] | None = None

    @property
    def tokens(self) -> int:
        """Number of positions that are kept."""
        return int(self.kept.sum())

    @property
    def loss(self) -> float:
        """Mean loss of a token."""
        return _share(self.token_losses.sum(dtype=np.float64), self.tokens)

    @property
    def perplexity(self) -> float:
        """Exponential of the mean loss of a token: the number of equally likely tokens with the same entropy."""
        return _exp(self.loss)

    @property
    def accuracy(self) -> float:
        """Share of tokens whose likeliest class is the label."""
        return _share((self.kept & (self.predicted == self.labels)).sum(), self.tokens)

    @property
    def sequence_accuracy(self) -> float:
        """Share of sequences, among those with tokens, that are predicted without a mistake."""
        lines = self.sequences()
        return _share(sum(line.accuracy == 1 for line in lines), len(lines))

    def sequences(self) -> list[SequenceLine]:
        """Return the sequences that have tokens, in order."""
        counts = self.kept.sum(axis=1)
        costs = self.token_losses.sum(axis=1, dtype=np.float64)
        hits = (self.kept & (self.predicted == self.labels)).sum(axis=1)
        return [
            SequenceLine(int(i), int(counts[i]), float(costs[i] / counts[i]), float(hits[i] / counts[i]))
            for i in np.flatnonzero(counts)
        ]

    def worst_sequences(self) -> list[SequenceLine]:
        """Return the sequences with the largest mean loss, worst first."""
        return sorted(self.sequences(), key=lambda line: -_rank(line.loss))[: self.worst]

    def worst_tokens(self) -> list[Token]:
        """Return the positions with the largest loss, worst first."""
        positions = np.argwhere(self.kept)
        losses = self.token_losses[self.kept].astype(np.float64)
        tokens = []
        for at in np.argsort([-_rank(loss) for loss in losses], kind="stable")[: self.worst]:
            i, j = (int(k) for k in positions[at])
            tokens.append(Token(i, j, float(losses[at]), int(self.labels[i, j]), int(self.predicted[i, j])))
        return tokens

    def name(self, token: int) -> str:
        """Return the name of a class."""
        known = self.vocabulary is not None and (
            token in self.vocabulary if isinstance(self.vocabulary, Mapping) else token < len(self.vocabulary)
        )
        return repr(self.vocabulary[token]) if known and self.vocabulary is not None else str(token)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures and the worst examples as Python numbers and lists, ready for JSON."""
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
    """Return the loss of every token and sequence, perplexity, accuracies, and the positions of the worst examples.

    The arguments are those of `padded_sequence_cross_entropy`, and `shift` that of `causal_lm_cross_entropy`; no
    figure includes the padding. The losses are cross-entropies in nats without smoothing or weights, whose exponential
    is a perplexity. `worst` is the number of tokens and sequences that are listed, `vocabulary` the names of the
    classes.

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
        raise ShapeError("labels: a report compares predictions with class indices; got distributions over classes")
    with at.xp.quiet():
        losses = softmax_cross_entropy.value(at.logits, at.labels, mask=at.kept)
        predicted = at.xp.argmax(at.logits)[..., 0]
    return SequenceReport(_merged(losses), _merged(at.kept), _merged(at.labels), _merged(predicted), worst, vocabulary)


def _merged(x: Any) -> Any:
    """Return an array as NumPy's, with its leading dimensions merged: a row for each sequence."""
    array = registry.to_numpy(x)
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _share(part: Any, whole: int) -> float:
    return float(part / whole) if whole else 0.0


def _exp(loss: float) -> float:
    return math.exp(loss) if loss < 709 else math.inf if loss == loss else math.nan


def _rank(loss: float) -> float:
    """Return a key for sorting by loss: NaN is listed first, as the worst."""
    return math.inf if math.isnan(loss) else loss
