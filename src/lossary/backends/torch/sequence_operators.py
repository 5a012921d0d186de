"""Losses with lengths as operators of PyTorch, for `torch.compile`: opaque to the compiler, known to autograd.

A recursion over time that is traced becomes as many copies of its body as there are steps, and is compiled again for
each length. So the compiler sees one operation, and inside it runs what runs without a compiler: a kernel where there
is one, else the definition, on any device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lossary.backends.torch.operands import packed, unpacked
from lossary.catalogue import Loss, recorded


def _call(
    loss: str, tensors: Sequence[Tensor], names: str, numbers: Sequence[float], keys: str, others: str
) -> tuple[Loss, Sequence[Tensor], dict[str, Any]]:
    """Return the loss, its arrays and its parameters."""
    record = recorded(loss)
    count = len(record.arguments)
    params = unpacked(record, numbers, keys, others)
    return record, tensors[:count], params | dict(zip(filter(None, names.split(",")), tensors[count:], strict=True))


@torch.library.custom_op("lossary::sequence_values", mutates_args=())
def values(
    weights: Tensor | None,
    loss: str,
    tensors: Sequence[Tensor],
    names: str,
    numbers: Sequence[float],
    keys: str,
    others: str,
) -> Tensor:
    """One value per example, times its weight."""
    record, arrays, params = _call(loss, tensors, names, numbers, keys, others)
    value: Tensor = record.value(*arrays, weight=weights, check=False, **params)
    return value


@torch.library.custom_op("lossary::sequence_gradient", mutates_args=())
def gradient(
    factors: Tensor,
    loss: str,
    tensors: Sequence[Tensor],
    names: str,
    numbers: Sequence[float],
    keys: str,
    others: str,
) -> list[Tensor]:
    """The gradients in the arrays that have one, of the sum of the values times factors of any sign."""
    record, arrays, params = _call(loss, tensors, names, numbers, keys, others)

    def weighted(weight: Tensor) -> tuple[Tensor, ...]:
        found = record.grad(*arrays, weight=weight, check=False, **params)
        return found if isinstance(found, tuple) else (found,)

    grads = weighted(factors.clamp(min=0))
    if bool((factors < 0).any()):
        grads = tuple(a - b for a, b in zip(grads, weighted((-factors).clamp(min=0)), strict=True))
    return [grad.contiguous() for grad in grads]  # a kernel's may lie in memory as the logits do


@values.register_fake
def _(weights: Tensor | None, loss: str, tensors: Sequence[Tensor], *_rest: Any) -> Tensor:
    first = tensors[0]
    wide = torch.float32 if first.dtype.itemsize < 4 else first.dtype
    return first.new_empty(first.shape[: -len(recorded(loss).signatures[0].inputs[0])], dtype=wide)


@gradient.register_fake
def _(factors: Tensor, loss: str, tensors: Sequence[Tensor], *_rest: Any) -> list[Tensor]:
    record = recorded(loss)
    differentiated = (tensors[record.arguments.index(name)] for name in record.wrt)
    return [torch.empty_like(x, memory_format=torch.contiguous_format) for x in differentiated]


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    weights, ctx.loss, tensors, *ctx.rest = inputs
    ctx.nothing = None if inputs[4] else []  # an empty list is answered by one
    ctx.save_for_backward(weights, *tensors)


def _backward(ctx: Any, upstream: Tensor) -> Any:
    weights, *tensors = ctx.saved_tensors
    factors = upstream if weights is None else upstream * weights
    record = recorded(ctx.loss)
    placed: list[Tensor | None] = [None] * len(tensors)
    for name, grad in zip(record.wrt, gradient(factors, ctx.loss, tensors, *ctx.rest), strict=True):
        placed[record.arguments.index(name)] = grad
    return None, None, placed, None, ctx.nothing, None, None


values.register_autograd(_backward, setup_context=_keep)


def traced(call: Any) -> Tensor | None:
    """Return the weighted value of each example of a call, differentiable once; None if it is not for an operator."""
    record, first = call.loss, call.given[0]
    arguments = packed(record, call.given, call.params)
    core = len(call.signature.inputs[0])
    if arguments is None or first.ndim != len(call.batch) + core or not first.is_floating_point():
        return None
    wide = torch.float32 if first.dtype.itemsize < 4 else first.dtype
    differentiated = [record.arguments.index(name) for name in record.wrt]
    fixed = [x for at, x in enumerate(arguments[1]) if at not in differentiated]
    fixed += [] if call.weights is None else [call.weights]
    if call.dtype != wide or any(x.requires_grad for x in fixed) or torch._C._are_functorch_transforms_active():
        return None
    value: Tensor = values(call.weights, *arguments)
    return value
