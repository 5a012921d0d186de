"""Small calls of losses whose kernels are written by hand: what the fast path of tensors does for generated ones.

What depends on shapes, types and parameters is found out once and remembered by the kernel. Values are looked at by
compiled code. The gradient is taken along with a reduced value and waits in the graph. All that is not plain, or not
right, goes the long way: None says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lossary.backends.torch import fast as lean
from lossary.backends.torch.autograd import Evaluation, evaluated, times
from lossary.backends.torch.tensors import observed, ordinary
from lossary.kernels import registry as kernels


def possible() -> bool:
    """Whether kernels may compute what is called: there are some, and nobody traces or transforms operations."""
    return kernels.available() and not torch.compiler.is_compiling() and not observed()


def plain(*tensors: Any) -> bool:
    """Whether arguments are ordinary tensors in the memory of the CPU."""
    return all(map(ordinary, tensors))


def few(x: Tensor) -> bool:
    """Whether a tensor holds numbers of a kernel's type, and not so many that threads share the work."""
    return x.dtype in lean.FLOATS and 0 < x.numel() <= lean.MOST


class SmallCall(Evaluation):
    """A small call: all of it but its tensors, the first of which are differentiated."""

    how: str
    leaves = 1  # tensors that are differentiated
    others = 3  # tensors that are not

    def evaluate(
        self, tensors: Sequence[Tensor], gradient: bool, factors: Tensor | None = None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the reduced value, and its gradients if wanted, or those of the sum of values times other factors.

        Raises `DomainError` to ask for the general path.
        """
        raise NotImplementedError

    def general(self, *tensors: Tensor) -> Tensor:
        """Return the same by the general path, which has every derivative."""
        raise NotImplementedError

    def forward(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the value, and the gradients where the gradient of the value will be one number."""
        return self.evaluate(tensors, self.how != "none")

    def value(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the value alone."""
        return self.evaluate(tensors, False)[0]

    def reused(self, kept: Any, upstream: Tensor) -> Sequence[Tensor | None] | None:
        """Return the gradient of a reduced value: what was kept, times a number that is mostly 1."""
        try:
            by = upstream.item()
        except RuntimeError:  # several at once, as where a whole Jacobian is asked for in one backward pass
            return None
        return *times(kept, by), *self.nothing

    def gradient(self, tensors: Sequence[Tensor], kept: Any, upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor."""
        if self.how == "none":
            factors = torch.empty_like(upstream, memory_format=torch.contiguous_format).copy_(upstream)
            return *self.evaluate(tensors, True, factors)[1], *self.nothing
        grads = kept or self.evaluate(tensors, True)[1]
        found = self.reused(grads, upstream)
        return found or (*(torch.where(upstream == 0, 0, grad * upstream) for grad in grads), *self.nothing)

    @property
    def nothing(self) -> tuple[None, ...]:
        """The gradients of tensors that have none."""
        return (None,) * self.others

    def differentiable(self, tensors: Sequence[Tensor], upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor, in operations that can be differentiated again."""
        value = self.general(*tensors)
        leaves = tensors[: self.leaves]
        found = iter(torch.autograd.grad(value, [x for x in leaves if x.requires_grad], upstream, create_graph=True))
        return *(next(found) if x.requires_grad else None for x in leaves), *self.nothing


def taken(call: SmallCall, *tensors: Tensor) -> Tensor | None:
    """Return the value of a call, differentiable; None if its numbers are not for a kernel."""
    differentiated = torch.is_grad_enabled() and any(x.requires_grad for x in tensors[: call.leaves])
    return evaluated(call, tensors, differentiated)
