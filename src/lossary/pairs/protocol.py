"""Couplings: from a batch of embeddings to rows of similarities or distances, and the gradient back.

A contrastive loss compares every example with every other. That coupling (normalise, multiply, mask, mine) is written
here once, as a coroutine beside its pullback, and the loss itself is defined on one row:

>>> import numpy as np
>>> from lossary.backends.numpy import namespace as xp
>>> from lossary.pairs.cosine import cosine_pairs
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

from lossary.backends.protocol import Namespace
from lossary.catalogue.signatures import Signature, parse_signatures

Rows = Callable[..., Generator[Any, Any, None]]


@dataclass(frozen=True, eq=False)
class Coupling:
    """How a batch becomes rows: the arrays that the caller passes, and the coroutine that couples them.

    A loss of the catalogue is separable: its definition sees one row and never the batch. Where the value of one
    example depends on the others, a coupling stands between the caller and the definition and makes the rows. It is a
    coroutine of two steps, so that what the backward pass needs is in its locals:

    1. ``rows(xp, *arrays, keep, anchors, **params)`` yields a tuple, the arrays that the definition takes: one row per
       example (per *anchor*), with the anchor's comparisons along the last axis.
    2. It is sent a tuple, the gradients with respect to the differentiable ones among them (the first, as many as the
       definition gives), and yields the gradient with respect to the caller's first array, in two parts: what reaches
       the anchors as anchors, and what reaches every example as one that is compared with.

    `anchors` is a slice of the batch, all of it if not given. The parts of all slices add up to the gradient, so a
    large batch is taken a few anchors at a time, and the table of all pairs never exists.

    `keep` is None, or false for examples that are masked. They are compared with nobody, and whatever they hold, NaN
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


ALL = slice(None)  # every example of a batch is an anchor


def kept(xp: Namespace, embeddings: Any, keep: Any) -> Any:
    """Return the embeddings with zeros in place of masked examples: those still meet the others in sums."""
    return embeddings if keep is None else xp.where(keep[:, None], embeddings, xp.zeros_like(embeddings))


def relations(xp: Namespace, labels: Any, keep: Any, anchors: slice) -> tuple[Any, Any]:
    """Return which anchor shares a label with whom, and who is another (kept) example; nobody is their own pair."""
    places = xp.arange(labels.shape[0], labels)
    other = places[anchors][:, None] != places[None, :]
    if keep is not None:
        other = other & keep[anchors][:, None] & keep[None, :]
    return (labels[anchors][:, None] == labels[None, :]) & other, other
