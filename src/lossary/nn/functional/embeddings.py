"""Drop-ins for torch's losses of embeddings: cosine embedding and triplet margins."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as theirs
from torch import Tensor

from lossary.nn import torch_variants as variants
from lossary.nn.functional import wording
from lossary.nn.functional.conventions import (
    at_least_float,
    common_dtype,
    need_same_rank,
    numbers,
    refuse,
    result_type,
    shape,
    wide,
)
from lossary.nn.functional.driver import Arrays, DropIn, EntryLoss, Params
from lossary.nn.functional.torch_function import overridable

__all__ = ["cosine_embedding_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss"]

Distance = Callable[[Tensor, Tensor], Tensor]


def _need_vectors(name: str, first: Tensor, second: Tensor, target: Tensor) -> None:
    if target.ndim > 1 or not first.ndim == second.ndim == target.ndim + 1:
        refuse(
            f"{name}: expected vectors and one label, or rows of vectors and as many labels; got shapes "
            f"{shape(first)}, {shape(second)} and {shape(target)}"
        )


def _vectors(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take vectors of any type, and one label for each pair."""
    _need_vectors(name, *arrays)
    input1, input2, target = arrays
    first, second = (wide(x) for x in torch.broadcast_tensors(input1, input2))
    batch = torch.broadcast_shapes(first.shape[:-1], target.shape)
    first, second = (x.expand(*batch, x.shape[-1]) for x in (first, second))
    return (first, second, target.expand(batch)), at_least_float(result_type(input1, input2))


_COSINE = EntryLoss("cosine_embedding_loss", variants.cosine, _vectors, wording.COSINE, inspected="cosine_embedding")


@overridable
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Pairs that match (1) should point the same way, others (-1) should not; see `torch.nn.functional`.

    1e-12 is added to the squared length of every vector, as in torch. A target that is neither costs nothing.

    >>> import torch
    >>> cosine_embedding_loss(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]), torch.tensor(-1)).item()
    1.0
    """
    if target.ndim > 1:
        _need_vectors("cosine_embedding_loss", input1, input2, target)
    return _COSINE.compute((input1, input2, target), {"margin": margin}, reduction, size_average, reduce)


# --- triplets -------------------------------------------------------------------------------------------------------


class TripletLoss(DropIn):
    """A drop-in on anchors, positives and negatives; its general path computes distances and ranks them."""

    def general(
        self, arrays: Arrays, params: Params, reduction: str, weight: Tensor | None, denominator: int | None
    ) -> Tensor:
        """Return the reduced loss; `p` is that of the distances, 2 unless the parameters have it."""
        distance = partial(_distance, p=params.get("p", 2), eps=params["eps"])
        pair = _distances(self.name, arrays, distance, params["swap"])
        found = _APART.compute(pair, {"margin": params["margin"]}, reduction)
        # Torch composes the second of the two functions of smaller operations, which autocast leaves alone on the CPU.
        composed = self is _TRIPLET_WITH_DISTANCE and arrays[0].is_cpu
        dtype = at_least_float(common_dtype(*arrays, autocast=not composed))
        return found.to(arrays[0].new_empty(0, dtype=dtype).real.dtype if dtype.is_complex else dtype)


def _apart(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take distances of any type, and answer in theirs."""
    near, far, target = arrays
    dtype = at_least_float(result_type(near, far))
    return [numbers(x) for x in torch.broadcast_tensors(near, far, target)], dtype


_APART = EntryLoss("triplet_margin_with_distance_loss", variants.ranking, _apart, autocast="never")
_TRIPLET = TripletLoss("triplet_margin_loss", variants.triplet, wording.TRIPLET, inspected="triplet_margin")
_TRIPLET_WITH_DISTANCE = TripletLoss("triplet_margin_with_distance_loss", variants.triplet)
_EPS = 1e-6  # that of torch's distances


def _distance(first: Tensor, second: Tensor, p: float, eps: float) -> Tensor:
    return theirs.pairwise_distance(wide(first), wide(second), p, eps)


def _distances(name: str, triplet: Arrays, distance: Distance, swap: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the distance to the positive, that to the negative, and the sign by which the second is to be larger."""
    need_same_rank(name, *triplet)
    anchor, positive, negative = triplet
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = torch.minimum(far, distance(positive, negative))
    return near, far, torch.full_like(near, -1)


def _need_margin(name: str, margin: float) -> None:
    if margin <= 0:
        refuse(f"{name}: margin: got {margin}, expected a number > 0")


@overridable
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The anchor should be nearer to its positive than to its negative; see `torch.nn.functional.triplet_margin_loss`.

    Distances are `torch.nn.functional.pairwise_distance`, which adds `eps` to every component of a difference.

    >>> import torch
    >>> triplet_margin_loss(torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])).item()
    0.0
    """
    _need_margin("triplet_margin_loss", margin)
    params = {"margin": margin, "eps": eps, "swap": swap}
    if p != 2:  # no parameter of the record, which is that of Euclidean distances: the general path takes it
        params["p"] = p
    return _TRIPLET.compute((anchor, positive, negative), params, reduction, size_average, reduce)


@overridable
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Distance | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """The triplet margin with any distance; see `torch.nn.functional.triplet_margin_with_distance_loss`.

    >>> import torch
    >>> squared = lambda a, b: ((a - b) ** 2).sum(-1)
    >>> points = torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.5])
    >>> triplet_margin_with_distance_loss(*points, distance_function=squared, margin=2.0).item()
    0.75
    """
    name = "triplet_margin_with_distance_loss"
    _need_margin(name, margin)
    triplet = (anchor, positive, negative)
    if distance_function is None:
        return _TRIPLET_WITH_DISTANCE.compute(triplet, {"margin": margin, "eps": _EPS, "swap": swap}, reduction)
    return _APART.compute(_distances(name, triplet, distance_function, swap), {"margin": margin}, reduction)
