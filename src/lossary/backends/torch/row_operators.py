"""The row kernel as operators of PyTorch, for `torch.compile`: opaque to the compiler, known to autograd.

Logits are read, and their gradient written, in their own type: bfloat16 and float16 are widened in registers. A plan
travels as its numbers and its two arrays. The gradient is computed when it is asked for, from the logits again, so
nothing but the inputs is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossary.kernels.cpu.softmax import losses
from lossary.kernels.cpu.softmax.host import SoftmaxResult, softmax_rows
from lossary.kernels.cpu.softmax.spec import SoftmaxSpec
from lossary.kernels.table import LEAST_ROWS, by_hand, least

# The types of logits, as NumPy sees their memory, and the type to compute in.
TYPES = {
    torch.float32: (torch.float32, torch.float32),
    torch.float64: (torch.float64, torch.float64),
    torch.float16: (torch.float16, torch.float32),
    torch.bfloat16: (torch.uint16, torch.float32),
}
_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


def packed(plan: SoftmaxSpec) -> tuple[Tensor | None, Tensor | None, int, list[float]]:
    """Return a plan as the last arguments of an operator."""
    numbers = [plan.parameter, plan.smoothing, plan.scale, plan.soft_cap, plan.z_loss]
    return plan.class_weight, plan.shift, plan.kind, [*numbers, *(plan.margin or ())]


def _evaluate(
    logits: Tensor,
    target: Tensor,
    class_weight: Tensor | None,
    shift: Tensor | None,
    kind: int,
    numbers: Sequence[float],
    upstream: Tensor | None = None,
) -> SoftmaxResult:
    parameter, smoothing, scale, soft_cap, z_loss, *margin = numbers
    seen, computed = TYPES[logits.dtype]
    plan = SoftmaxSpec(
        kind=kind,
        parameter=parameter,
        class_weight=None if class_weight is None else class_weight.detach().resolve_neg().numpy(),
        shift=None if shift is None else shift.detach().resolve_neg().numpy(),
        smoothing=smoothing,
        scale=scale,
        soft_cap=soft_cap,
        z_loss=z_loss,
        margin=(margin[0], margin[1], margin[2], margin[3]) if margin else None,
    )
    return softmax_rows(
        logits.detach().resolve_neg().view(seen).numpy(),
        target.detach().resolve_neg().numpy(),
        plan,
        dtype=_NUMPY[computed],
        weights=None if upstream is None else upstream.detach().resolve_neg().to(computed).numpy(),
        gradient=upstream is not None,
        count=torch.get_num_threads(),
    )


@torch.library.custom_op("lossary::softmax_rows", mutates_args=())
def values(
    logits: Tensor,
    target: Tensor,
    class_weight: Tensor | None,
    shift: Tensor | None,
    kind: int,
    numbers: Sequence[float],
) -> Tensor:
    """One value per row."""
    return torch.from_numpy(_evaluate(logits, target, class_weight, shift, kind, numbers).values)


@torch.library.custom_op("lossary::softmax_rows_gradient", mutates_args=())
def gradient(
    upstream: Tensor,
    logits: Tensor,
    target: Tensor,
    class_weight: Tensor | None,
    shift: Tensor | None,
    kind: int,
    numbers: Sequence[float],
) -> Tensor:
    """The gradient in the logits, each row times what comes back for it; contiguous."""
    grad = _evaluate(logits, target, class_weight, shift, kind, numbers, upstream).grad
    narrow = grad.view(np.int16) if logits.dtype == torch.bfloat16 else grad
    return torch.from_numpy(np.ascontiguousarray(narrow)).view(logits.dtype)


@values.register_fake
def _(logits: Tensor, target: Tensor, *_rest: Any) -> Tensor:
    return logits.new_empty(logits.shape[:-1], dtype=TYPES[logits.dtype][1])


@gradient.register_fake
def _(upstream: Tensor, logits: Tensor, *_rest: Any) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    *tensors, ctx.kind, ctx.numbers = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, upstream: Tensor) -> Any:
    return gradient(upstream, *ctx.saved_tensors, ctx.kind, ctx.numbers), None, None, None, None, None


values.register_autograd(_backward, setup_context=_keep)


def traced(call: Any) -> Tensor | None:
    """Return the value of each row of a call, differentiable once, or None if the call is not for an operator."""
    module, function = by_hand(call.loss)
    if module != losses.__name__:
        return None
    kernel = getattr(losses, function)
    logits, target = call.given[0], call.arrays[1]
    inputs = (logits, *call.arrays[1:], *(x for x in call.params.values() if isinstance(x, Tensor)))
    if (
        any(x.device.type != "cpu" for x in inputs)
        or any(x.requires_grad for x in inputs[1:])
        or TYPES.get(logits.dtype, (None, None))[1] != call.dtype
        or logits.ndim != len(call.batch) + 1
        or logits.numel() < least(LEAST_ROWS)
        or torch._C._are_functorch_transforms_active()
    ):
        return None
    plan = kernel.plan(call)
    if plan is None:
        return None
    if not target.is_floating_point():
        target = torch.broadcast_to(target[..., 0], call.batch)
    return values(logits, target, *packed(plan))
