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
>>> coupled.send((np.zeros((2, 2)),)).shape                    # backward: gradient of the rows -> of the embeddings
(2, 2)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lossary import numerics
from lossary.facts import Signature, parse_signatures

Rows = Callable[..., Generator[Any, Any, None]]


@dataclass(frozen=True, eq=False)
class Coupling:
    """How a batch becomes rows: what the caller passes, and the coroutine that couples it.

    ``rows(xp, *arrays, keep, **params)`` yields the arrays of the loss's definition, is sent the gradients of its
    differentiable ones, and yields the gradient with respect to the first array. `keep` is None or false for examples
    that must neither be compared nor be compared with.
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


def _relations(xp: Any, labels: Any, keep: Any) -> tuple[Any, Any]:
    """Return who shares a label with whom, and who is another (kept) example at all; nobody is their own pair."""
    other = ~xp.eye(labels.shape[0], labels)
    if keep is not None:
        other = other & keep[:, None] & keep[None, :]
    return (labels[:, None] == labels[None, :]) & other, other


@coupling("(b,d),(b)->()", embeddings="embedding", labels="real")
def cosine_pairs(xp: Any, embeddings: Any, labels: Any, keep: Any) -> Generator[Any, Any, None]:
    """Cosine similarity of every example with every other, its positives (same label) and its candidates (others)."""
    positives, candidates = _relations(xp, labels, keep)
    directions, lengths = numerics.unit(xp, embeddings)
    similarities = xp.matmul(directions, xp.transpose(directions))
    (grad,) = yield similarities, positives, candidates
    # Each similarity holds both of its examples: the gradient reaches an embedding through its row and its column.
    yield numerics.unit_pullback(xp, directions, lengths, xp.matmul(grad + xp.transpose(grad), directions))


@coupling("(b,d),(b)->()", embeddings="embedding", labels="real")
def hardest_pairs(xp: Any, embeddings: Any, labels: Any, keep: Any) -> Generator[Any, Any, None]:
    """Euclidean distance of every example to its farthest positive and its nearest negative (Hermans 2017).

    An example without a positive or without a negative makes no triplet: its distances are 0 and infinity, so that a
    hinge on their difference gives it loss 0 and no gradient.
    """
    positives, candidates = _relations(xp, labels, keep)
    negatives = candidates & ~positives
    distances = _distances(xp, embeddings)
    far = xp.argmax(xp.where(positives, distances, -xp.ones_like(distances)))
    near = xp.argmax(xp.where(negatives, -distances, -xp.inf * xp.ones_like(distances)))
    complete = xp.take(positives, far) & xp.take(negatives, near)
    nothing = xp.zeros_like(distances[:, :1])
    farthest = xp.where(complete, xp.take(distances, far), nothing)
    nearest = xp.where(complete, xp.take(distances, near), nothing + xp.inf)
    grad_farthest, grad_nearest = yield farthest, nearest
    grad = xp.where(complete, grad_farthest, nothing) * xp.one_hot(far, distances)
    grad = grad + xp.where(complete, grad_nearest, nothing) * xp.one_hot(near, distances)
    pull = numerics.divide(xp, grad + xp.transpose(grad), distances)
    yield xp.sum(pull) * embeddings - xp.matmul(pull, embeddings)


def _distances(xp: Any, embeddings: Any) -> Any:
    """Euclidean distances row by row: the expanded square loses all digits for near points, so it is not used."""
    return xp.stack_rows([numerics.norm(xp, embeddings - row)[:, 0] for row in embeddings])
