"""CPU kernels on the memory of tensors, and their gradient under autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import zeros_like

from lossary.backends.torch.autograd import Spec, gradients_of, placed
from lossary.backends.torch.tensors import NUMPY, memory, of_memory, ordinary
from lossary.evaluate.call import Call
from lossary.kernels.table import Outcome, Wanted

Tensor = torch.Tensor


def _in_place_of(spec: Spec, tensors: Sequence[Tensor], derivatives: Sequence[Tensor]) -> list[Tensor]:
    """Give a kernel's derivatives the shape of the tensors they are of.

    A kernel gives that of the caller's argument. A definition on rows has axes of length 1 behind it, if the argument
    has fewer dimensions than a row.
    """
    return [grad.reshape(tensors[at].shape) for at, grad in zip(spec.wrt, derivatives, strict=True)]


def run_kernel(
    kernel: Any, call: Call, value: Any, order: int, weights: Any, scale: Any, finish: Callable[[Any], Any]
) -> Any:
    """Run a kernel on the memory of tensors; its results are tensors on memory of NumPy's, which faults less often."""
    if call.dtype not in NUMPY:
        return None
    params = {name: memory(held) if isinstance(held, Tensor) else held for name, held in call.params.items()}
    on_memory = replace(call, arrays=[memory(x) for x in call.arrays], params=params, dtype=NUMPY[call.dtype])
    factors = None if weights is None else memory(weights)
    done = kernel(on_memory, Wanted(value, order, factors, float(scale), torch.get_num_threads()))
    if done is None:
        return None
    values = done.value
    if value == "each":
        values = torch.from_numpy(values)
    elif value == "sum":
        values = finish(torch.tensor(values, dtype=torch.float64, device="cpu"))
    given = dict(zip(call.loss.arguments, call.arrays, strict=True))
    derivatives = zip(done.derivatives, call.loss.wrt, strict=False)  # there may be none
    return Outcome(values, tuple(of_memory(d, given[name].dtype) for d, name in derivatives))


class _Fused(torch.autograd.Function):
    """What a kernel has computed, with the gradient of a kernel; differentiated twice, the definition's."""

    @staticmethod
    def forward(ctx: Any, spec: Spec, kernel: Any, scale: Any, done: Any, *tensors: Tensor) -> Tensor:
        ctx.spec, ctx.kernel, ctx.scale = spec, kernel, scale
        ctx.save_for_backward(*tensors)
        ctx.kept = done.derivatives
        return done.value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        spec, tensors = ctx.spec, ctx.saved_tensors
        nothing = (None,) * 4
        plain = not torch.is_grad_enabled() and ordinary(upstream)
        if ctx.kept and plain:
            # They are handed over, not copied: whoever gets a gradient may add to it. A second time they are computed.
            kept, ctx.kept = ctx.kept, ()
            by = float(upstream)
            # What was rounded to half precision is not scaled: a scale is there to keep it from becoming 0.
            if by in (0, 1) or all(d.dtype == spec.call.dtype for d in kept):
                # Times 0 is 0 wherever the derivative is finite; elsewhere the loss has no slope to speak of.
                grads = kept if by == 1 else [d * by if by else zeros_like(d) for d in kept]
                return *nothing, *placed(spec, tensors, _in_place_of(spec, tensors, grads))
            del kept  # its memory is used again
        call = spec.on(tensors)
        if plain:
            factor, alike = 1.0, upstream.numel() and not any(upstream.stride())  # what a mean or a sum sends back
            if alike:
                factor = float(upstream[(0,) * upstream.ndim])
            weights = call.weights if alike and factor else _product(call.weights, upstream).expand(call.batch)
            by = (factor or 1.0) * float(ctx.scale)
            done = run_kernel(ctx.kernel, replace(call, check=False), None, 1, weights, by, float)
            if done is not None:
                return *nothing, *placed(spec, tensors, _in_place_of(spec, tensors, done.derivatives))
        spread = _product(call.weights, upstream * ctx.scale).expand(call.batch)
        return *nothing, *gradients_of(spec, tensors, spread.reshape(spread.shape + (1,) * call.inner))


def _product(weights: Tensor | None, upstream: Tensor) -> Tensor:
    return upstream if weights is None else weights * upstream


fused_values = _Fused.apply
