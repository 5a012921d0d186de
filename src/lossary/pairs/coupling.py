"""From a batch of embeddings to rows of similarities or distances, and the gradient back.

A contrastive loss compares every example with every other. That coupling (normalise, multiply, mask, mine) is written
here once, as a coroutine beside its pullback, and the loss itself is defined on one row:

>>> import numpy as np
>>> from lossary.backends import numpy as xp
>>> coupled = cosine_pairs.rows(xp, np.eye(2), np.array([0, 0]), None)
>>> similarities, positives, candidates = next(coupled)        # forward: rows for the loss
>>> similarities
array([[1., 0.],
       [0., 1.]])
>>> own, others = coupled.send((np.zeros((2, 2)),))            # backward: gradient of the rows -> of the embeddings
>>> (own + others).shape
(2, 2)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lossary import numerics
from lossary.catalogue.domains import Signature, parse_signatures

Rows = Callable[..., Generator[Any, Any, None]]


@dataclass(frozen=True, eq=False)
class Coupling:
    """How a batch becomes rows: the arrays that the caller passes, and the coroutine that couples them.

    A loss of the catalogue is separable: its definition sees one row and never the batch. Where the value of one
    example depends on the others, a coupling stands between the caller and the definition and makes the rows. It is a
    coroutine of two steps, so that what the way back needs is at hand in its locals:

    1. ``rows(xp, *arrays, keep, anchors, **params)`` yields a tuple, the arrays that the definition takes: one row per
       example (per *anchor*), with the anchor's comparisons along the last axis.
    2. It is sent a tuple, the gradients with respect to the differentiable ones among them (the first, as many as the
       definition gives), and yields the gradient with respect to the caller's first array, in two parts: what reaches
       the anchors as anchors, and what reaches every example as one that is compared with.

    `anchors` is a slice of the batch, all of it if not given. The parts of all slices add up to the gradient, so a
    large batch is taken a few anchors at a time, and the table of all pairs never exists.

    `keep` is None, or false for examples that are left out. They are compared with nobody, and whatever they hold, NaN
    included, reaches neither the rows of the others nor the gradient.

    ``signature`` is that of the caller's arrays, with the batch as one of its dimensions, and ``domains`` names them in
    order with their conventions. Keyword parameters of the coroutine become parameters of the loss.
    """

    rows: Rows
    signature: str
    domains: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of the coroutine."""
        return self.rows.__name__

    @cached_property
    def signatures(self) -> tuple[Signature, ...]:
        """Core dimensions of the arrays the caller passes; the batch itself is one of them."""
        return parse_signatures(self.signature)

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arrays the caller passes."""
        return tuple(self.domains)

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """Parameters of the coupling with their defaults."""
        own = inspect.signature(self.rows).parameters.values()
        return {p.name: p.default for p in own if p.kind is p.KEYWORD_ONLY}


def coupling(signature: str, **domains: str) -> Callable[[Rows], Coupling]:
    """Make a coroutine a `Coupling`; the keywords name the caller's arrays and their domains, in order."""
    return lambda rows: Coupling(rows, signature, domains)


# --- couplings ------------------------------------------------------------------------------------------------------


ALL = slice(None)


@coupling("(b,d),(b)->()", embeddings="embedding", labels="integer")
def cosine_pairs(xp: Any, embeddings: Any, labels: Any, keep: Any, anchors: slice = ALL) -> Generator[Any, Any, None]:
    """Cosine similarity of every example with every other, its positives (same label) and its candidates (others).

    A zero vector has similarity 0 with everything, and no gradient.
    """
    positives, candidates = _relations(xp, labels, keep, anchors)
    directions, lengths = numerics.unit(xp, _kept(xp, embeddings, keep))
    similarities = xp.matmul(directions[anchors], xp.transpose(directions))
    (grad,) = yield similarities, positives, candidates
    # Each similarity holds both of its examples: the gradient reaches an embedding through its row and its column.
    along_row, along_column = xp.matmul(grad, directions), xp.matmul(xp.transpose(grad), directions[anchors])
    yield (
        numerics.unit_pullback(xp, directions[anchors], lengths[anchors], along_row),
        numerics.unit_pullback(xp, directions, lengths, along_column),
    )


@coupling("(b,d),(b)->()", embeddings="embedding", labels="integer")
def hardest_pairs(xp: Any, embeddings: Any, labels: Any, keep: Any, anchors: slice = ALL) -> Generator[Any, Any, None]:
    """Euclidean distance of every example to its farthest positive and its nearest negative (Hermans 2017).

    Examples that tie for farthest or nearest share the gradient; equal embeddings have none. An example without a
    positive or without a negative makes no triplet: its distances are 0 and infinity, so that a hinge on their
    difference gives it loss 0 and no gradient.
    """
    embeddings = _kept(xp, embeddings, keep)
    positives, candidates = _relations(xp, labels, keep, anchors)
    distances = _distances(xp, embeddings[anchors], embeddings)
    farthest, far = numerics.largest(xp, numerics.masked(xp, positives, distances))
    closeness, near = numerics.largest(xp, numerics.masked(xp, candidates & ~positives, -distances))
    nearest = -closeness
    complete = (farthest >= 0) & (nearest < xp.inf)
    nothing = xp.zeros_like(farthest)
    grad_farthest, grad_nearest = yield (
        xp.where(complete, farthest, nothing),
        xp.where(complete, nearest, nothing + xp.inf),
    )
    grad = xp.where(complete, grad_farthest * far + grad_nearest * near, xp.zeros_like(distances))
    yield _distances_pullback(xp, embeddings[anchors], embeddings, distances, grad)


# --- their parts ----------------------------------------------------------------------------------------------------


def _kept(xp: Any, embeddings: Any, keep: Any) -> Any:
    """Return the embeddings with zeros in place of examples that are left out: those still meet the others in sums."""
    return embeddings if keep is None else xp.where(keep[:, None], embeddings, xp.zeros_like(embeddings))


def _relations(xp: Any, labels: Any, keep: Any, anchors: slice) -> tuple[Any, Any]:
    """Return which anchor shares a label with whom, and who is another (kept) example; nobody is their own pair."""
    places = xp.arange(labels.shape[0], labels)
    other = places[anchors][:, None] != places[None, :]
    if keep is not None:
        other = other & keep[anchors][:, None] & keep[None, :]
    return (labels[anchors][:, None] == labels[None, :]) & other, other


def _distances(xp: Any, anchors: Any, embeddings: Any) -> Any:
    """Euclidean distances row by row: the expanded square loses all digits for near points, so it is not used."""
    if not anchors.shape[0]:
        return xp.matmul(anchors, xp.transpose(embeddings))  # no rows to stack, but the shape of none by none
    return xp.stack_rows([numerics.norm(xp, row - embeddings)[:, 0] for row in anchors])


def _distances_pullback(xp: Any, anchors: Any, embeddings: Any, distances: Any, grad: Any) -> tuple[Any, Any]:
    """Return the gradient in the anchors and in all embeddings, given the one in the distances.

    Every pair pulls along its difference, at both ends. A pair at distance 0 has no direction to pull in.
    """
    strengths = numerics.divide(xp, grad, distances)
    return _pulled(xp, anchors, embeddings, strengths), _pulled(xp, embeddings, anchors, xp.transpose(strengths))


def _pulled(xp: Any, points: Any, partners: Any, strengths: Any) -> Any:
    """Return how each point is pulled by its partners.

    Differences are formed first, as in the distances: near points far from the origin keep their digits.
    """
    if not points.shape[0]:
        return xp.zeros_like(points)
    pairs = zip(points, strengths, strict=True)
    return xp.stack_rows([xp.sum(weights[:, None] * (row - partners), axis=-2)[0] for row, weights in pairs])
