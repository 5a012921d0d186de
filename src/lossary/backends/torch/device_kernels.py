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
    unless: Tensor | None = None,
) -> Result | None:
    """Run a kernel on tensors."""
    device = call.arrays[0].device.type
    with torch.no_grad():
        done = kernel.run(call, Request(value, orders, weights, scale, device=device, unless=unless))
        if done is None or value != "sum":
            return done
        return replace(done, value=finish(done.value))


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
