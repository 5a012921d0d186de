"""Kernels that take tensors themselves, on whatever device, and their gradient under autograd.

Nothing here reads a number back from the device, so the host never waits for it, and a call can be captured in a CUDA
graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from lossary.backends.torch.kernels import KernelResult, product, run_kernel
from lossary.evaluate.call import Call
from lossary.kernels.request import Kernel, Request, Result

Tensor = torch.Tensor


def run_on_tensors(
    kernel: Kernel | None,
    call: Call,
    value: Any,
    orders: tuple[int, ...],
    weights: Any,
    scale: Any,
    finish: Callable[[Any], Any],
    unless: Tensor | None = None,
) -> Result | None:
    """Run a kernel on tensors; where it does not take the call, run the definition in blocks of examples."""
    device = call.arrays[0].device.type
    request = Request(value, orders, weights, scale, device=device, unless=unless)
    with torch.no_grad():
        done = None if kernel is None else kernel.run(call, request)
        if done is None:
            return run_kernel(None, call, value, orders, weights, scale, finish)
        return replace(done, value=finish(done.value)) if value == "sum" else done


class DeviceKernelResult(KernelResult):
    """A prepared call with the result of a kernel that took tensors; the upstream gradient stays on the device."""

    def gradient(self, tensors: Sequence[Tensor], kept: Any, upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor."""
        call = self.definition.on(tensors)
        alike = upstream.numel() and not any(upstream.stride())  # the upstream gradient of a mean or a sum
        if alike:
            one = upstream[(0,) * upstream.ndim]
            weights, scale = call.weights, one * self.scale
        else:
            weights, scale = product(call.weights, upstream).expand(call.batch), self.scale
        # Whether the gradient of the forward pass will do only the device knows. It is not multiplied: a gradient
        # rounded to half precision is not scaled, for a loss scale is meant to prevent underflow before rounding, and
        # where the upstream gradient is 1 nothing is read or written.
        unless = one if alike and kept else None
        call = replace(call, check=False, out=list(kept) if unless is not None else ())
        done = run_on_tensors(self.kernel, call, None, (1,), weights, scale, lambda total: total, unless)
        if done is None:
            return self.differentiable(tensors, upstream)
        return self.placed(tensors, done.derivatives[0])
