"""The PyTorch backend: implements `lossary.backends.protocol` for tensors."""

from __future__ import annotations

from typing import Any, NoReturn

from lossary.backends.torch import fast
from lossary.backends.torch import namespace as xp
from lossary.backends.torch.execute import by_kernel as by_kernel
from lossary.backends.torch.execute import evaluate as evaluate
from lossary.backends.torch.execute import stored_narrow as stored_narrow
from lossary.errors import ArgumentError

__all__ = [
    "by_kernel",
    "deliver",
    "evaluate",
    "fast_value",
    "fast_value_and_grad",
    "observe_outside_graph",
    "outputs",
    "stored_narrow",
    "xp",
]


def fast_value(loss: Any, arrays: Any, params: Any, reduction: str, check: bool) -> Any:
    """Return the reduced value from the call cache, differentiable; None if the call takes the general path."""
    return fast.reduced(loss, arrays, params, reduction, check=check)


def fast_value_and_grad(loss: Any, arrays: Any, params: Any, reduction: str, check: bool) -> None:
    """Return None: gradients that are asked for by name take the general path; autograd computes the others."""


def outputs(call: Any, out: Any) -> NoReturn:
    """Reject arrays for gradients: autograd allocates its gradients."""
    raise ArgumentError(f"{call.loss.name}: out: is for NumPy arrays; on tensors gradients are made by autograd")


def deliver(grads: Any, buffers: Any) -> NoReturn:
    """Reject gradients: `outputs` has accepted no array for them."""
    raise NotImplementedError


def observe_outside_graph(observe: Any, *call: Any) -> None:
    """Run an observer of calls outside the graph that a compiler builds, where the values of the call can be read."""
    from lossary.backends.torch import outside_graph

    outside_graph.run(observe, *call)
