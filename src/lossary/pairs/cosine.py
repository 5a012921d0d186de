"""The cosine coupling: similarities of all pairs of a batch of embeddings."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.pairs.protocol import ALL, coupling, kept, relations


@coupling("(b,d),(b)->()", embeddings="embedding", labels="integer")
def cosine_pairs(
    xp: Namespace, embeddings: Any, labels: Any, keep: Any, anchors: slice = ALL
) -> Generator[Any, Any, None]:
    """Cosine similarity of every example with every other, its positives (same label) and its candidates (others).

    A zero vector has similarity 0 with everything, and no gradient.
    """
    positives, candidates = relations(xp, labels, keep, anchors)
    directions, lengths = numerics.unit(xp, kept(xp, embeddings, keep))
    similarities = xp.matmul(directions[anchors], xp.transpose(directions))
    (grad,) = yield similarities, positives, candidates
    # Each similarity holds both of its examples: the gradient reaches an embedding through its row and its column.
    along_row, along_column = xp.matmul(grad, directions), xp.matmul(xp.transpose(grad), directions[anchors])
    yield (
        numerics.unit_pullback(xp, directions[anchors], lengths[anchors], along_row),
        numerics.unit_pullback(xp, directions, lengths, along_column),
    )
