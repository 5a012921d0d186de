"""The custom operator `lossary::evaluate`: a loss as one node that `torch.compile` does not trace into.

It runs what eager mode runs: a kernel where there is one, else the definition, on any device. Large
calls of losses that have a CPU kernel use it, and recursions over time, whose trace would unroll every
step. Other calls are traced as ordinary operations, which the compiler fuses with others.

Arguments of an operator are tensors, numbers and strings. Parameters that are numbers travel as numbers, tensors as
tensors, and options as ``name=True`` and the like. The loss travels as its key, under which
`lossary.catalogue.recorded` finds the record: a loss outside the catalogue cannot be found by its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lossary.backends.torch.autograd import gradients
from lossary.backends.torch.device_kernels import run_on_tensors
from lossary.backends.torch.kernels import run_kernel
from lossary.backends.torch.namespace import accumulator, compute_dtype
from lossary.backends.torch.tensors import HALVES, NUMPY, device_of
from lossary.catalogue import Loss, recorded
from lossary.evaluate import reduction
from lossary.evaluate.call import WHOLE, Call, prepare
from lossary.kernels import registry as kernels

_OPTIONS = {"None": None, "True": True, "False": False}
_INTEGERS = ("index", "count", "integer")  # kinds of parameters that are whole numbers


def is_opaque(call: Call) -> bool:
    """Whether a compiled call uses the operator."""
    loss, first = call.loss, call.given[0]
    wrt = [loss.arguments.index(name) for name in loss.wrt]
    fixed = [x for at, x in enumerate(call.given) if at not in wrt]
    fixed += [held for held in (*call.params.values(), call.weights) if isinstance(held, Tensor)]
    if loss.coupling is not None or torch._C._are_functorch_transforms_active() or any(x.requires_grad for x in fixed):
        return False
    if first.ndim != len(call.batch) + len(call.signature.inputs[0]) or not first.is_floating_point():
        return False
    if loss.optional:
        return True
    device = kernels.serving(first.device.type)
    if call.dtype not in NUMPY or any(x.device != first.device for x in (*call.given, *fixed)):
        return False
    if not kernels.available(device):
        return False
    if kernels.DEVICES[device].given == "tensors":  # of a loss on numbers the compiler makes as good a kernel itself
        return bool(call.signature.rank) and kernels.has_default(loss)
    if not call.signature.rank:
        return math.prod(call.batch) >= kernels.least(kernels.LEAST)
    return bool(kernels.by_hand(loss)[0]) and first.numel() >= kernels.least(kernels.LEAST_ROWS)


def opaque(call: Call, value: str) -> Tensor | None:
    """Return the weighted values of a call, or their sum in a wide type, differentiable; None if it is to be traced."""
    arguments = packed(call) if is_opaque(call) else None
    if arguments is None:
        return None
    differentiated = [call.given[call.loss.arguments.index(name)] for name in call.loss.wrt]
    tracked = torch.is_grad_enabled() and any(x.requires_grad for x in differentiated)
    # In half precision the backward pass computes the gradient: a loss scale is meant to prevent underflow before
    # rounding.
    along = value == "sum" and tracked and not any(x.dtype in HALVES for x in differentiated)
    found: Tensor = evaluate(call.weights, *arguments, value, int(along))[0]
    return found


# --- arguments --------------------------------------------------------------------------------------------------------


def packed(call: Call) -> tuple[Any, ...] | None:
    """Return a call as the arguments of the operator; None if a parameter cannot be one of them."""
    tensors = []
    for whole, given, allowed in zip(call.arrays, call.given, call.domains, strict=True):
        # Masked labels may have any value in the caller's array; in the definition's they are -1.
        tensors.append(whole.reshape(given.shape) if allowed.kind in WHOLE else given)
    held = {name: value for name, value in call.params.items() if isinstance(value, Tensor)}
    words = packed_parameters({name: value for name, value in call.params.items() if name not in held})
    if words is None or not call.loss.key:
        return None
    return call.loss.key, call.alternative, [*tensors, *held.values()], ",".join(held), *words


def packed_parameters(params: Mapping[str, Any]) -> tuple[list[float], str, str] | None:
    """Return parameters that are no tensors as numbers, their names, and options; None if one is none of these."""
    keys, numbers, options = [], [], []
    for name, value in params.items():
        if value is None or isinstance(value, bool):
            options.append(f"{name}={value}")
        elif isinstance(value, (int, float, torch.SymFloat, torch.SymInt)):
            keys.append(name)
            numbers.append(float(value))
        else:
            return None
    return numbers, ",".join(keys), ",".join(options)


def unpacked_parameters(loss: Loss, numbers: Sequence[float], keys: str, options: str) -> dict[str, Any]:
    """Return the parameters from the numbers and strings of `packed_parameters`."""
    params: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        name, _, held = option.partition("=")
        params[name] = _OPTIONS[held]
    for name, number in zip(filter(None, keys.split(",")), numbers, strict=True):
        domain = loss.parameter_domains.get(name, (None, False))[0]
        params[name] = int(number) if domain is not None and domain.kind in _INTEGERS else number
    return params


# --- the operator -----------------------------------------------------------------------------------------------------


@torch.library.custom_op("lossary::evaluate", mutates_args=())
def evaluate(
    factors: Tensor | None,
    loss: str,
    alternative: int,
    tensors: Sequence[Tensor],
    names: str,
    numbers: Sequence[float],
    keys: str,
    options: str,
    value: str,
    order: int,
) -> list[Tensor]:
    """The values of a call times factors (`value` "each"), their sum ("sum") or neither (""), then derivatives.

    Derivatives of order 1 are those of the sum of values times factors, which may be of any sign.
    """
    with torch.no_grad():
        detached = [x.detach() for x in tensors]
        call = _call(recorded(loss), detached, names, numbers, keys, options, defer_checks=True)
        factors = None if factors is None else factors.detach().resolve_neg().to(call.dtype).expand(call.batch)
        done = _computed(replace(call, weights=factors), value, order)
    return [x.contiguous() for x in done]  # a kernel's gradient may have the strides of the logits


def _call(
    loss: Loss,
    tensors: Sequence[Tensor],
    names: str,
    numbers: Sequence[float],
    keys: str,
    options: str,
    defer_checks: bool = False,
) -> Call:
    """Return the call that the arguments of the operator were packed from, its weights apart."""
    count = len(loss.arguments)
    params = unpacked_parameters(loss, numbers, keys, options)
    params |= dict(zip(filter(None, names.split(",")), tensors[count:], strict=True))
    return prepare(loss, tensors[:count], params, check=False, defer_checks=defer_checks)


def _differentiable(call: Call, factors: Tensor) -> list[Tensor]:
    """Return the gradients of a call by its definition, in operations that can be differentiated again."""
    found = gradients(call, factors.to(call.dtype))
    positions = [call.loss.arguments.index(name) for name in call.loss.wrt]
    return [grad.reshape(call.given[at].shape) for at in positions if (grad := found[at]) is not None]


def _computed(call: Call, value: str, order: int) -> list[Tensor]:
    wide = _sum_dtype(call.dtype, call.given[0].device)
    held = [x for x in (*call.given, *call.params.values(), call.weights) if isinstance(x, Tensor)]
    device = kernels.serving(device_of(held))
    kernel = kernels.find(call.loss, device)
    result = None
    if kernel is not None:
        run = run_kernel if kernels.DEVICES[device].given == "memory" else run_on_tensors
        result = run(kernel, call, value or None, (order,) if order else (), call.weights, 1.0, lambda total: total)
    if result is not None:
        return [
            *([] if not value else [result.value.to(wide) if value == "sum" else result.value]),
            *(d for derivatives in result.derivatives for d in derivatives),
        ]
    values, derivatives, _ = call.pull(order)
    found = []
    if value:
        weighted = reduction.weigh(call.xp, call.values(values), call.weights)
        found.append(weighted.sum(dtype=wide) if value == "sum" else weighted)
    return [*found, *(call.restore(derivatives[0], call.weights) if order else ())]


def _sum_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    return torch.float64 if device.type == "cpu" else accumulator(dtype)


def _batch(loss: Loss, alternative: int, tensors: Sequence[Tensor]) -> Sequence[int]:
    cores = loss.signatures[alternative].inputs
    leading = [x.shape[: x.ndim - len(core)] for x, core in zip(tensors, cores, strict=False)]
    return max(leading, key=len)


@evaluate.register_fake
def _(factors: Tensor | None, loss: str, alternative: int, tensors: Sequence[Tensor], *others: Any) -> list[Tensor]:
    *_, value, order = others
    record = recorded(loss)
    arrays, first = tensors[: len(record.arguments)], tensors[0]
    dtype = compute_dtype(
        [x for at, x in enumerate(arrays) if record.argument_domains[alternative][at].kind not in WHOLE]
    )
    found = []
    if value == "each":
        found.append(first.new_empty(_batch(record, alternative, arrays), dtype=dtype))
    elif value == "sum":
        found.append(first.new_empty((), dtype=_sum_dtype(dtype, first.device)))
    if order:
        differentiated = (arrays[record.arguments.index(name)] for name in record.wrt)
        found += [torch.empty_like(x, memory_format=torch.contiguous_format) for x in differentiated]
    return found


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    factors, ctx.loss, ctx.alternative, tensors, *ctx.rest, value, order = inputs
    ctx.count, ctx.along = len(tensors), bool(order)
    # The gradient of an empty list is an empty list.
    ctx.nothing = None if ctx.rest[1] else []
    ctx.has_value = bool(value)
    ctx.save_for_backward(factors, *tensors, *(output[1:] if ctx.along else ()))


def _backward(ctx: Any, upstreams: Sequence[Tensor]) -> Any:
    if not ctx.has_value:
        raise NotImplementedError("lossary::evaluate: the gradient of a gradient is computed by the definition")
    record, upstream = recorded(ctx.loss), upstreams[0]
    factors, *tensors = ctx.saved_tensors[: 1 + ctx.count]
    if ctx.along and not torch.is_grad_enabled():
        kept = ctx.saved_tensors[1 + ctx.count :]
        grads = [torch.where(upstream == 0, torch.zeros_like(d), d * upstream) for d in kept]
    else:
        spread = upstream.expand(_batch(record, ctx.alternative, tensors))
        by = spread if factors is None else spread * factors
        if torch.is_grad_enabled():  # the result may be differentiated again
            grads = _differentiable(_call(record, tensors, *ctx.rest), by)
        else:
            grads = evaluate(by, ctx.loss, ctx.alternative, tensors, *ctx.rest, "", 1)
    placed: list[Tensor | None] = [None] * ctx.count
    for name, grad in zip(record.wrt, grads, strict=True):
        placed[record.arguments.index(name)] = grad
    return None, None, None, placed, None, ctx.nothing, None, None, None, None


evaluate.register_autograd(_backward, setup_context=_keep)
