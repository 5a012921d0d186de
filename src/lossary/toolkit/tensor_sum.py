"""The result of `lossary.weighted_sum` on tensors: a tensor that keeps the terms of the sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch

from lossary.toolkit.sum_result import WeightedSum, total_of


class TensorSum(WeightedSum, torch.Tensor):  # type: ignore[misc]  # both define a number's operators; those of WeightedSum come first
    """A weighted sum of tensors: a tensor that any function of torch accepts, with its terms.

    Every operation of torch is applied to the total and gives ordinary tensors; see `WeightedSum` for those that keep
    the terms. It never changes in place: ``report += penalty`` makes a new tensor.

    >>> import lossary
    >>> w = torch.tensor(2.0, requires_grad=True)
    >>> cost = lossary.weighted_sum(data=w * w, size=(0.5, w.abs()))
    >>> isinstance(cost, torch.Tensor), type(torch.stack([cost, cost])), cost
    (True, <class 'torch.Tensor'>, <TensorSum 5: data=4, size=1>)
    >>> (cost / 2).backward()
    >>> w.grad.item()
    2.25
    """

    # Fields are set one by one after construction: Dynamo traces that, but no constructor of a tensor subclass.
    __setattr__ = torch.Tensor.__setattr__

    @classmethod
    def from_parts(
        cls, total: Any, weights: Mapping[str, Any], raw: Mapping[str, Any], weighted: Mapping[str, Any]
    ) -> TensorSum:
        """Return a tensor of these parts; it shares the memory and the graph node of the total."""
        tensor: Any = total.as_subclass(cls)
        tensor.total = total
        tensor.weights, tensor.raw, tensor.weighted = map(MappingProxyType, (weights, raw, weighted))
        result: TensorSum = tensor
        return result

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Apply a function of torch to the totals."""
        return function(*_totals(args), **_totals(kwargs or {}))

    # In-place operators would change the total under the terms.
    __iadd__ = WeightedSum.__add__
    __isub__ = WeightedSum.__sub__
    __imul__ = WeightedSum.__mul__
    __itruediv__ = WeightedSum.__truediv__

    def item(self) -> float:
        """Return the total as a Python number."""
        return float(self.total.item())

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        return self.total.__array__(*args, **kwargs)


def _totals(x: Any) -> Any:
    """Replace the weighted sums among the arguments of a function by their totals."""
    if isinstance(x, (list, tuple)) and type(x) in (list, tuple):
        return type(x)(map(_totals, x))
    if type(x) is dict:
        return {k: _totals(v) for k, v in x.items()}
    return total_of(x)
