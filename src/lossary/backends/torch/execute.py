"""Execution of tensor calls: by a kernel, by an operator opaque to the compiler, or by the definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from lossary.backends.torch.autograd import Eager, definition, differentiable_values
from lossary.backends.torch.device_kernels import DeviceKernelResult, run_on_tensors
from lossary.backends.torch.kernels import KernelResult, run_kernel
from lossary.backends.torch.operators import opaque
from lossary.backends.torch.tensors import dense, device_of, observed
from lossary.catalogue import Loss
from lossary.catalogue.signatures import Signature
from lossary.evaluate.call import Call
from lossary.kernels import registry as kernels
from lossary.kernels.request import Result

Tensor = torch.Tensor


def evaluate(call: Call) -> Tensor:
    """Return a call's values, differentiable by the definition's own gradient."""
    return differentiable_values(call)


def stored_narrow(loss: Loss, signature: Signature, arrays: Sequence[Tensor]) -> tuple[str, ...]:
    """Return which arrays of a call its kernel, or its definition in blocks, reads in half precision, as stored."""
    if torch.compiler.is_compiling() or observed() or not all(map(dense, arrays)):
        return ()
    device = kernels.serving(device_of(arrays))
    if kernels.available(device):
        return kernels.narrow(loss, signature, device)
    return loss.arguments if loss.coupling is None else ()


def by_kernel(call: Call, value: Any, orders: tuple[int, ...], scale: Any, finish: Callable[[Any], Any]) -> Any:
    """Return the result of a kernel for a call, in one pass over its tensors; None if no kernel takes it.

    Values come with their gradient under autograd. Derivatives requested explicitly carry no graph, so where a tensor
    requires grad they are left to ordinary operations.
    """
    if torch.compiler.is_compiling():
        return None if orders else _compiled(call, value, finish)
    evaluation, tensors = definition(call)
    factors = () if call.weights is None else (call.weights,)
    if observed() or not all(map(dense, (*tensors, *factors))):
        return None
    device = kernels.serving(device_of((*tensors, *factors)))
    kernel = kernels.find(call.loss, device)
    on_tensors = kernel is not None and kernels.DEVICES[device].given == "tensors"
    run, evaluated = (run_on_tensors, DeviceKernelResult) if on_tensors else (run_kernel, KernelResult)
    tracked: list[int] = []
    if torch.is_grad_enabled():
        tracked = [i for i, x in enumerate((*tensors, *factors)) if x.requires_grad]
        if isinstance(scale, Tensor) and scale.requires_grad:
            return None
    if tracked and (orders or any(i not in evaluation.wrt for i in tracked)):
        return None
    if not tracked:
        return run(kernel, call, value, orders, call.weights, scale, finish)
    # The forward pass computes the gradient where the upstream gradient will be one number, which is nearly always 1.
    done = run(kernel, call, value, (1,) if value == "sum" else (), call.weights, scale, finish)
    if done is None:
        return None
    return replace(done, value=Eager.apply(evaluated(evaluation, kernel, scale, done), *tensors), derivatives=())


def _compiled(call: Call, value: Any, finish: Callable[[Any], Any]) -> Any:
    """Return the values of a call by the operator that is opaque to the compiler; None if it does not take the call."""
    done = opaque(call, value)
    return None if done is None else Result(finish(done) if value == "sum" else done, ())
