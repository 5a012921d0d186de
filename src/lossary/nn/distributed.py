"""Means over all workers, as data-parallel training needs them.

A mean of means is not the mean: workers (and micro-batches) hold different numbers of kept entries, so sum and weight
must travel separately and be divided once, at the end. For micro-batches on one worker nothing is needed but the count
of the whole batch: ``lossary.mean(values, denominator=count)`` each, and their gradients add up. Between workers
`data_parallel_mean` asks the others for the count.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from lossary.backends.torch import namespace as xp
from lossary.evaluate import reduction

Tensor = torch.Tensor

__all__ = ["data_parallel_mean"]


def data_parallel_mean(
    values: Tensor,
    *,
    weight: Tensor | None = None,
    mask: Tensor | None = None,
    group: Any = None,
    averaged: bool = True,
) -> Tensor:
    """Return ``sum(w * v) / sum(w)`` over the entries of all workers, with each worker's share of its gradient.

    Every worker of the group has to call it, also one whose entries are all masked. The value is the same on all of
    them. Without a process group it is `lossary.mean`.

    Parameters
    ----------
    values, weight, mask: as for `lossary.mean`, of this worker.
    group: a process group of `torch.distributed`; all workers if not said.
    averaged: whether gradients will be averaged over the workers afterwards, as `DistributedDataParallel` does; false
        if they will be summed, or not reduced at all.

    >>> data_parallel_mean(torch.tensor([1.0, 4.0]), weight=torch.tensor([3.0, 1.0])).item()
    1.75
    """
    summed, count = reduction.total(values, weight=weight, mask=mask)
    if not (dist.is_available() and dist.is_initialized()):
        return reduction.average(summed, count)
    both = torch.stack([summed.detach(), xp.cast(xp.asarray(count, "count", summed), summed.dtype)])
    dist.all_reduce(both, group=group)
    value, everything = reduction.average(both[0], both[1]), both[1]
    share = reduction.average(summed, everything) * (dist.get_world_size(group) if averaged else 1)
    return _with_value(share, value)


def _with_value(share: Tensor, value: Tensor) -> Tensor:
    """Return `value` with the gradient of `share`: exact, where adding the difference would round, or be NaN."""
    held = share.clone()
    with torch.no_grad():
        held.copy_(value)
    return held
