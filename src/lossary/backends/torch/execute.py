"""How a call on tensors is computed: by a kernel, by an operator opaque to the compiler, or by the definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import where, zeros_like

from lossary.backends.torch import pointwise_operators, row_operators, sequence_operators
from lossary.backends.torch.autograd import Spec, differentiable_values
from lossary.backends.torch.kernels import fused_values, run_kernel
from lossary.backends.torch.namespace import accumulator
from lossary.backends.torch.tensors import NUMPY, in_memory, observed, ordinary
from lossary.catalogue import Loss
from lossary.catalogue.signatures import Signature
from lossary.evaluate.call import Call
from lossary.kernels import table
from lossary.kernels.table import Outcome

Tensor = torch.Tensor


def evaluate(call: Call) -> Tensor:
    """Return a call's values, differentiable by the definition's own gradient."""
    return differentiable_values(call)


def stored_narrow(loss: Loss, signature: Signature, arrays: Sequence[Tensor]) -> tuple[str, ...]:
    """Return which arrays of a call its kernel reads in half precision, as they are stored."""
    return table.narrow(loss, signature) if in_memory(arrays) else ()


def fused(call: Call, value: Any, order: int, scale: Any, finish: Callable[[Any], Any]) -> Any:
    """Return what a kernel computes of a call in one pass over its tensors, or None where there is none for it.

    Values come with their gradient under autograd. Derivatives asked for by name are plain numbers, so where a tensor
    is being differentiated they are left to ordinary operations.
    """
    if torch.compiler.is_compiling():
        return None if order else _as_operator(call, value, finish)
    names = tuple(name for name, held in call.params.items() if isinstance(held, Tensor))
    tensors = (*call.arrays, *(call.params[name] for name in names))
    factors = () if call.weights is None else (call.weights,)
    if observed() or not all(map(ordinary, (*tensors, *factors))):
        return None
    kernel = table.find(call.loss)
    if kernel is None:
        return None
    wrt = tuple(call.loss.arguments.index(name) for name in call.loss.wrt)
    tracked: list[int] = []
    if torch.is_grad_enabled():
        tracked = [i for i, x in enumerate((*tensors, *factors)) if x.requires_grad]
        if isinstance(scale, Tensor) and scale.requires_grad:
            return None
    if tracked and (order or any(i not in wrt for i in tracked)):
        return None
    if not tracked:
        return run_kernel(kernel, call, value, order, call.weights, scale, finish)
    # The gradient is taken along where what comes back will be one number, which is nearly always 1.
    done = run_kernel(kernel, call, value, int(value == "sum"), call.weights, scale, finish)
    if done is None:
        return None
    return replace(done, value=fused_values(Spec(call, names, wrt), kernel, scale, done, *tensors))


def _as_operator(call: Call, value: Any, finish: Callable[[Any], Any]) -> Any:
    """Return the values of a loss on the CPU through an operator that the compiler does not look into."""
    if call.loss.optional:
        return _sequences_as_operator(call, value, finish)
    if call.signature.rank == 1 and call.loss.coupling is None:
        return _rows_as_operator(call, value, finish)
    tensors = (*call.arrays, *(held for held in call.params.values() if isinstance(held, Tensor)))
    wrt = [call.loss.arguments.index(name) for name in call.loss.wrt]
    others = [x for i, x in enumerate(tensors) if i not in wrt] + ([] if call.weights is None else [call.weights])
    if (
        any(x.device.type != "cpu" or x.dtype != call.dtype for x in tensors)
        or call.dtype not in NUMPY
        or torch._C._are_functorch_transforms_active()
        or any(x.requires_grad for x in others)
        or not _worth_an_operator(call)
    ):
        return None
    arguments = pointwise_operators.packed(call.loss, call.arrays, call.params)
    if arguments is None:
        return None
    if value == "each":
        done = pointwise_operators.values(*arguments)
        return Outcome(done if call.weights is None else where(call.weights == 0, 0, done * call.weights), ())
    return Outcome(finish(pointwise_operators.summed(call.weights, *arguments)[0]), ())


def _rows_as_operator(call: Call, value: Any, finish: Callable[[Any], Any]) -> Any:
    if not table.available():
        return None
    done = row_operators.traced(call)
    if done is None:
        return None
    if call.weights is not None:
        done = where(call.weights == 0, zeros_like(done), done * call.weights)
    return Outcome(done if value == "each" else finish(done.sum(dtype=torch.float64)), ())


def _sequences_as_operator(call: Call, value: Any, finish: Callable[[Any], Any]) -> Any:
    """Return the values of a loss with lengths, on any device: its recursion over time is no food for a tracer."""
    done = sequence_operators.traced(call)
    if done is None:
        return None
    return Outcome(done if value == "each" else finish(done.sum(dtype=accumulator(call.dtype))), ())


def _worth_an_operator(call: Call) -> bool:
    if call.signature.rank or call.loss.coupling is not None or not table.available():
        return False
    return math.prod(call.batch) >= table.least(table.LEAST)
