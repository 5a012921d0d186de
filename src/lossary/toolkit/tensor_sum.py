"""A weighted sum of tensors: a tensor that carries its account."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from lossary.toolkit.weighted_sum import WeightedSum, plain


class TensorSum(WeightedSum, torch.Tensor):  # type: ignore[misc]  # of a number's operators those of WeightedSum count
    """A weighted sum of tensors. It is a tensor, so it goes wherever one goes, and carries its account.

    Every operation of torch is applied to the total and gives plain tensors; see `WeightedSum` for those that keep the
    account. It is never changed in place: ``report += penalty`` makes a tensor of its own.

    >>> import lossary
    >>> w = torch.tensor(2.0, requires_grad=True)
    >>> cost = lossary.weighted_sum(data=w * w, size=(0.5, w.abs()))
    >>> isinstance(cost, torch.Tensor), type(torch.stack([cost, cost])), cost
    (True, <class 'torch.Tensor'>, <TensorSum 5: data=4, size=1>)
    >>> (cost / 2).backward()
    >>> w.grad.item()
    2.25
    """

    # The fields are set one by one after the fact: a compiler can trace that, and no constructor of a tensor.
    __setattr__ = torch.Tensor.__setattr__

    @classmethod
    def made(
        cls, total: Any, weights: Mapping[str, Any], raw: Mapping[str, Any], weighted: Mapping[str, Any]
    ) -> TensorSum:
        """Return a tensor with this account, which shares the total's memory and its place in the graph."""
        made: Any = total.as_subclass(cls)
        made.total = total
        made.weights, made.raw, made.weighted = map(MappingProxyType, (weights, raw, weighted))
        found: TensorSum = made
        return found

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Apply a function of torch to the totals."""
        return function(*_plain(args), **_plain(kwargs or {}))

    # Python would change the total in place, and the account would no longer be its own.
    __iadd__ = WeightedSum.__add__
    __isub__ = WeightedSum.__sub__
    __imul__ = WeightedSum.__mul__
    __itruediv__ = WeightedSum.__truediv__

    def item(self) -> float:
        """Return the total as a Python number."""
        return float(self.total.item())

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.total.__array__(*args, **kwargs)


def _plain(x: Any) -> Any:
    if isinstance(x, (list, tuple)) and type(x) in (list, tuple):
        return type(x)(map(_plain, x))
    if type(x) is dict:
        return {k: _plain(v) for k, v in x.items()}
    return plain(x)
