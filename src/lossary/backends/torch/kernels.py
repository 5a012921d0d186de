"""CPU kernels on the memory of tensors, and their gradient under autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from lossary.backends import row_blocks
from lossary.backends.torch import fused
from lossary.backends.torch.autograd import Definition, Evaluation, times
from lossary.backends.torch.tensors import NUMPY, dense, memory, of_memory
from lossary.evaluate.call import Call
from lossary.kernels.request import Kernel, Request, Result

Tensor = torch.Tensor


def run_kernel(
    kernel: Kernel | None,
    call: Call,
    value: Any,
    orders: tuple[int, ...],
    weights: Any,
    scale: Any,
    finish: Callable[[Any], Any],
) -> Result | None:
    """Run a kernel on the memory of tensors; its results are on NumPy memory, which causes fewer page faults.

    Where no kernel takes the call, its definition is run in blocks of examples.
    """
    done = (
        None if kernel is None or call.dtype not in NUMPY else _on_memory(kernel, call, value, orders, weights, scale)
    )
    if done is None:
        if not row_blocks.divides(call):
            return None
        call.check_values()
        define = fused.definition(call.loss) if call.arrays[0].is_cpu and not call.signature.rank > 1 else None
        done = row_blocks.run(call, value, orders, weights, scale, define)
        return done if value != "sum" else replace(done, value=finish(done.value))
    values = done.value
    if value == "each":
        values = torch.from_numpy(values)
    elif value == "sum":
        values = finish(torch.tensor(values, dtype=torch.float64, device="cpu"))
    given = dict(zip(call.loss.arguments, call.arrays, strict=True))

    def tensors(derivatives: Sequence[Any]) -> tuple[Tensor, ...]:
        return tuple(of_memory(d, given[name].dtype) for d, name in zip(derivatives, call.loss.wrt, strict=True))

    return Result(values, tuple(map(tensors, done.derivatives)))


def _on_memory(
    kernel: Kernel, call: Call, value: Any, orders: tuple[int, ...], weights: Any, scale: Any
) -> Result | None:
    params = {name: memory(held) if isinstance(held, Tensor) else held for name, held in call.params.items()}
    on_memory = replace(call, arrays=[memory(x) for x in call.arrays], params=params, dtype=NUMPY[call.dtype])
    factors = None if weights is None else memory(weights)
    return kernel.run(on_memory, Request(value, orders, factors, float(scale), torch.get_num_threads()))


@dataclass(eq=False)
class KernelResult(Evaluation):
    """A prepared call with its kernel's result, `done`; the kernel computes its gradient, but no second derivative."""

    definition: Definition
    kernel: Kernel | None
    scale: Any
    done: Result | None

    def forward(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the value, and the derivatives if they were computed with it."""
        # No reference stays here: autograd copies a gradient that has another reference.
        done, self.done = self.done, None
        assert done is not None
        return done.value, [derivative for derivatives in done.derivatives for derivative in derivatives]

    def gradient(self, tensors: Sequence[Tensor], kept: Any, upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor."""
        call = self.definition.on(tensors)
        if not dense(upstream):
            return self.differentiable(tensors, upstream)
        if kept:
            # A gradient rounded to half precision is not scaled: a loss scale is meant to prevent underflow before
            # rounding.
            scalable = all(derivative.dtype == call.dtype for derivative in kept)
            if not upstream.is_cpu:  # not read, which would wait for the device
                if scalable:
                    nothing = upstream == 0
                    return self.placed(tensors, [grad.mul_(upstream).masked_fill_(nothing, 0) for grad in kept])
            elif scalable or float(upstream) in (0, 1):
                return self.placed(tensors, times(kept, float(upstream)))
            kept.clear()  # so that its memory is reused
        # The upstream gradient of a mean or a sum is one number.
        factor, alike = 1.0, upstream.is_cpu and upstream.numel() and not any(upstream.stride())
        if alike:
            factor = float(upstream[(0,) * upstream.ndim])
        weights = call.weights if alike and factor else product(call.weights, upstream).expand(call.batch)
        by = (factor or 1.0) * self.scale
        done = run_kernel(self.kernel, replace(call, check=False), None, (1,), weights, by, float)
        return self.differentiable(tensors, upstream) if done is None else self.placed(tensors, done.derivatives[0])

    def differentiable(self, tensors: Sequence[Tensor], upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the definition's gradient of every tensor, in operations that can be differentiated again."""
        call = self.definition.call
        spread = product(call.weights, upstream * self.scale).expand(call.batch)
        return self.definition.differentiable(tensors, spread.reshape(spread.shape + (1,) * call.inner))

    def placed(self, tensors: Sequence[Tensor], derivatives: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """Reshape a kernel's derivatives from the shapes of the caller's arguments to those of the tensors.

        A definition on rows takes an argument without core dimensions with trailing axes of length 1.
        """
        wrt = self.definition.wrt
        shaped = [grad.reshape(tensors[at].shape) for at, grad in zip(wrt, derivatives, strict=True)]
        return self.definition.placed(tensors, shaped)


def product(weights: Tensor | None, upstream: Tensor) -> Tensor:
    """Return the upstream gradient times the weights of the examples, if they have any."""
    return upstream if weights is None else weights * upstream
