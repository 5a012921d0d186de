"""The Euclidean coupling: each anchor's distance to its hardest positive and negative."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.pairs.protocol import ALL, coupling, kept, relations


@coupling("(b,d),(b)->()", embeddings="embedding", labels="integer")
def hardest_pairs(
    xp: Namespace, embeddings: Any, labels: Any, keep: Any, anchors: slice = ALL
) -> Generator[Any, Any, None]:
    """Euclidean distance of every example to its farthest positive and its nearest negative (Hermans 2017).

    Examples that tie for farthest or nearest share the gradient; equal embeddings have none. An example without a
    positive or without a negative makes no triplet: its distances are 0 and infinity, so that a hinge on their
    difference gives it loss 0 and no gradient.
    """
    embeddings = kept(xp, embeddings, keep)
    positives, candidates = relations(xp, labels, keep, anchors)
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


def _distances(xp: Namespace, anchors: Any, embeddings: Any) -> Any:
    """Euclidean distances of all pairs: the expanded square loses all digits for near points, so it is not used."""
    return xp.map_rows(
        lambda some: numerics.norm(xp, some[:, None] - embeddings)[..., 0],
        (anchors,),
        embeddings.shape[0] * embeddings.shape[1],
    )


def _distances_pullback(xp: Namespace, anchors: Any, embeddings: Any, distances: Any, grad: Any) -> tuple[Any, Any]:
    """Return the gradient in the anchors and in all embeddings, given the one in the distances.

    Every pair pulls along its difference, at both ends. A pair at distance 0 has no direction to pull in.
    """
    strengths = numerics.divide(xp, grad, distances)
    return _pulled(xp, anchors, embeddings, strengths), _pulled(xp, embeddings, anchors, xp.transpose(strengths))


def _pulled(xp: Namespace, points: Any, partners: Any, strengths: Any) -> Any:
    """Return how each point is pulled by its partners.

    Differences are formed first, as in the distances: near points far from the origin keep their digits.
    """
    return xp.map_rows(
        lambda some, weights: xp.sum(weights[..., None] * (some[:, None] - partners), axis=-2)[:, 0],
        (points, strengths),
        partners.shape[0] * partners.shape[1],
    )
