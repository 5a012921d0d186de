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
from lossary.backends.torch.tensors import observed, ordinary
from lossary.errors import DomainError
from lossary.kernels import table


def possible() -> bool:
    """Whether kernels may compute what is called: there are some, and nobody traces or transforms operations."""
    return table.available() and not torch.compiler.is_compiling() and not observed()


def plain(*tensors: Any) -> bool:
    """Whether arguments are ordinary tensors in the memory of the CPU."""
    return all(map(ordinary, tensors))


def few(x: Tensor) -> bool:
    """Whether a tensor holds numbers of a kernel's type, and not so many that threads share the work."""
    return x.dtype in lean.FLOATS and 0 < x.numel() <= lean.MOST


class Call:
    """A small call: all of it but its tensors, the first of which are differentiated."""

    how: str
    leaves = 1  # tensors that are differentiated

    def evaluate(
        self, tensors: Sequence[Tensor], gradient: bool, factors: Tensor | None = None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the reduced value, and its gradients if wanted, or those of the sum of values times other factors.

        Raises `DomainError` if the long way has something to say.
        """
        raise NotImplementedError

    def at_length(self, *tensors: Tensor) -> Tensor:
        """Return the same the long way, which has every derivative."""
        raise NotImplementedError


def taken(call: Call, *tensors: Tensor) -> Tensor | None:
    """Return the value of a call, differentiable; None if its numbers are not for a kernel."""
    try:
        if torch.is_grad_enabled() and any(x.requires_grad for x in tensors[: call.leaves]):
            found: Tensor = _apply(call, *tensors)
            return found
        return call.evaluate(tensors, False)[0]
    except DomainError:
        return None


class _Small(torch.autograd.Function):
    """A small call under autograd. The gradient is taken along where what comes back will be one number."""

    @staticmethod
    def forward(ctx: Any, call: Call, *tensors: Tensor) -> Tensor:
        ctx.call = call
        ctx.save_for_backward(*tensors)
        value, ctx.kept = call.evaluate(tensors, call.how != "none")
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        call, tensors = ctx.call, ctx.saved_tensors
        nothing = (None,) * (len(tensors) - call.leaves)
        if torch.is_grad_enabled():
            value = call.at_length(*tensors)
            wanted = [x for x in tensors[: call.leaves] if x.requires_grad]
            found = iter(torch.autograd.grad(value, wanted, upstream, create_graph=True))
            return None, *(next(found) if x.requires_grad else None for x in tensors[: call.leaves]), *nothing
        if call.how == "none":
            factors = torch.empty_like(upstream, memory_format=torch.contiguous_format).copy_(upstream)
            return None, *call.evaluate(tensors, True, factors)[1], *nothing
        # Handed over, not copied: whoever gets a gradient may change it. A second time it is computed.
        grads, ctx.kept = ctx.kept or call.evaluate(tensors, True)[1], ()
        try:
            by = upstream.item()
        except RuntimeError:  # several at once, as where a whole Jacobian is asked for in one walk back
            return None, *(torch.where(upstream == 0, 0, grad * upstream) for grad in grads), *nothing
        if by != 1:  # times 0 is 0 wherever the slope is finite; elsewhere the loss has none to speak of
            grads = [grad * by if by else torch.zeros_like(grad) for grad in grads]
        return None, *grads, *nothing


# `Function.apply` without its questions about `torch.func`, which `possible` has asked.
_apply: Any = super(torch.autograd.Function, _Small).apply
