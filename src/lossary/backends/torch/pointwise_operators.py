"""Pointwise kernels as operators of PyTorch, for `torch.compile`: opaque to the compiler, known to autograd.

Outside a compiled region the kernels are called directly (`lossary.backends.torch`), which costs less per call. An
operator takes a loss by its key and its parameters as `lossary.backends.torch.operands` packs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossary.backends.torch.operands import packed as packed
from lossary.backends.torch.operands import unpacked
from lossary.catalogue import Loss, recorded
from lossary.kernels.cpu import generated_pointwise as pointwise
from lossary.kernels.table import Outcome, Wanted

NUMPY = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


def _compute(
    wanted: Wanted, loss: str, tensors: Sequence[Tensor], names: str, numbers: Sequence[float], keys: str, others: str
) -> Any:
    record = recorded(loss)
    arrays = [_numpy(x) for x in tensors]
    labels = [*record.arguments, *filter(None, names.split(","))]
    params = unpacked(record, numbers, keys, others)
    batch = torch.broadcast_shapes(*(x.shape for x in tensors))
    dtype = NUMPY[tensors[0].dtype]
    ordered = {name: params[name] for name in record.defaults if name in params}
    held = dict(zip(labels, arrays, strict=True))
    done = pointwise.compute(record, held, ordered, tuple(batch), dtype, wanted, check=False)
    return _defined(record, params | held, wanted) if done is None else done[0]


def _defined(record: Loss, held: dict[str, Any], wanted: Wanted) -> Outcome:
    """Return the same of a definition that no kernel can be made of; the compiler asks before anybody has tried."""
    value, grads = record.value_and_grad(**held, check=False)
    grads = grads if isinstance(grads, tuple) else (grads,)

    def weighed(x: Any) -> Any:
        factor = wanted.weights
        return np.asarray(x if factor is None else np.where(factor == 0, 0, x * factor), x.dtype)

    total = weighed(value)
    return Outcome(total.sum(dtype=np.float64) if wanted.value == "sum" else total, tuple(map(weighed, grads)))


def _numpy(x: Tensor) -> Any:
    return x.detach().resolve_neg().numpy()


def _tensor(x: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x))


@torch.library.custom_op("lossary::pointwise_values", mutates_args=())
def values(
    loss: str, tensors: Sequence[Tensor], names: str, numbers: Sequence[float], keys: str, others: str
) -> Tensor:
    """One value per example."""
    wanted = Wanted("each", 0, threads=torch.get_num_threads())
    return _tensor(_compute(wanted, loss, tensors, names, numbers, keys, others).value)


@torch.library.custom_op("lossary::pointwise_gradient", mutates_args=())
def gradient(
    upstream: Tensor,
    loss: str,
    tensors: Sequence[Tensor],
    names: str,
    numbers: Sequence[float],
    keys: str,
    others: str,
) -> list[Tensor]:
    """The gradients in the arrays that have one, times what comes back for each example."""
    wanted = Wanted(None, 1, _numpy(upstream), threads=torch.get_num_threads())
    return [_tensor(d) for d in _compute(wanted, loss, tensors, names, numbers, keys, others).derivatives]


@torch.library.custom_op("lossary::pointwise_sum", mutates_args=())
def summed(
    weights: Tensor | None,
    loss: str,
    tensors: Sequence[Tensor],
    names: str,
    numbers: Sequence[float],
    keys: str,
    others: str,
) -> list[Tensor]:
    """The weighted sum of the values, and its gradients, in one pass."""
    factors = None if weights is None else _numpy(weights)
    done = _compute(
        Wanted("sum", 1, factors, threads=torch.get_num_threads()), loss, tensors, names, numbers, keys, others
    )
    total = torch.tensor(done.value, dtype=tensors[0].dtype, device="cpu")
    return [total, *(_tensor(d) for d in done.derivatives)]


@values.register_fake
def _(loss: str, tensors: Sequence[Tensor], *_rest: Any) -> Tensor:
    return tensors[0].new_empty(torch.broadcast_shapes(*(x.shape for x in tensors)))


@gradient.register_fake
def _(upstream: Tensor, loss: str, tensors: Sequence[Tensor], *_rest: Any) -> list[Tensor]:
    shape = torch.broadcast_shapes(*(x.shape for x in tensors))
    return [tensors[0].new_empty(shape) for _ in recorded(loss).wrt]


@summed.register_fake
def _(weights: Tensor | None, loss: str, tensors: Sequence[Tensor], *_rest: Any) -> list[Tensor]:
    shape = torch.broadcast_shapes(*(x.shape for x in tensors))
    return [tensors[0].new_empty(()), *(tensors[0].new_empty(shape) for _ in recorded(loss).wrt)]


def _placed(loss: str, count: int, grads: Sequence[Tensor]) -> list[Tensor | None]:
    record = recorded(loss)
    placed: list[Tensor | None] = [None] * count
    for name, grad in zip(record.wrt, grads, strict=True):
        placed[record.arguments.index(name)] = grad
    return placed


def _keep_inputs(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.loss, tensors, *ctx.rest = inputs
    ctx.nothing = None if inputs[3] else []
    ctx.save_for_backward(*tensors)


def _values_backward(ctx: Any, upstream: Tensor) -> Any:
    grads = gradient(upstream, ctx.loss, list(ctx.saved_tensors), *ctx.rest)
    return None, _placed(ctx.loss, len(ctx.saved_tensors), grads), None, ctx.nothing, None, None


values.register_autograd(_values_backward, setup_context=_keep_inputs)


def _keep_gradients(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.loss, ctx.count = inputs[1], len(inputs[2])
    ctx.nothing = None if inputs[4] else []  # an empty list is answered by one
    ctx.save_for_backward(*output[1:])


def _sum_backward(ctx: Any, upstreams: Any) -> Any:
    upstream = upstreams[0]
    grads = [torch.where(upstream == 0, torch.zeros_like(d), d * upstream) for d in ctx.saved_tensors]
    return None, None, _placed(ctx.loss, ctx.count, grads), None, ctx.nothing, None, None


summed.register_autograd(_sum_backward, setup_context=_keep_gradients)
