"""Kernels that take tensors themselves, on whatever device, and their gradient under autograd.

Nothing here reads a number back from the device, so the host never waits for it, and a call can be captured in a CUDA
graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from lossary.backends.torch.kernels import KernelResult, product
from lossary.evaluate.call import Call
from lossary.kernels.request import Kernel, Request, Result

Tensor = torch.Tensor


def run_on_tensors(
    kernel: Kernel,
    call: Call,
    value: Any,
    orders: tuple[int, ...],
    weights: Any,
    scale: Any,
    finish: Callable[[Any], Any],
) -> Result | None:
    """Run a kernel on tensors."""
    device = call.arrays[0].device.type
    with torch.no_grad():
        done = kernel.run(call, Request(value, orders, weights, scale, device=device))
        if done is None or value != "sum":
            return done
        return replace(done, value=finish(done.value))


class DeviceKernelResult(KernelResult):
    """A prepared call with the result of a kernel that took tensors; the upstream gradient stays on the device."""

    def gradient(self, tensors: Sequence[Tensor], kept: Any, upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor."""
        call = self.definition.on(tensors)
        if kept and all(derivative.dtype == call.dtype for derivative in kept):
            # Exactly 0 for an upstream gradient of 0, even where a derivative is infinite or NaN.
            nothing = upstream == 0
            return self.placed(tensors, [(d * upstream).masked_fill_(nothing, 0) for d in kept])
        # A gradient rounded to half precision is not scaled: a loss scale is meant to prevent underflow before
        # rounding.
        alike = upstream.numel() and not any(upstream.stride())  # the upstream gradient of a mean or a sum
        weights, scale = call.weights, upstream[(0,) * upstream.ndim] * self.scale
        if not alike:
            weights, scale = product(call.weights, upstream).expand(call.batch), self.scale
        done = run_on_tensors(self.kernel, replace(call, check=False), None, (1,), weights, scale, lambda total: total)
        if done is None:
            return self.differentiable(tensors, upstream)
        return self.placed(tensors, done.derivatives[0])
