"""Autograd functions: the hand-written gradient of a definition or a kernel under torch's differentiation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import isfinite, where, zeros_like

from lossary.backends.torch.namespace import inf, sum
from lossary.backends.torch.tensors import forward_mode, loses_derivatives, observed
from lossary.evaluate.call import Call

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Spec:
    """An evaluation without its tensors: the call, its tensor parameters, and what is differentiated."""

    call: Call
    names: tuple[str, ...]  # of the parameters that are tensors
    wrt: tuple[int, ...]  # which tensors the definition differentiates

    def on(self, tensors: Sequence[Tensor]) -> Call:
        """Return the call on other tensors in the places of its own."""
        count = len(self.call.arrays)
        arrays, extra = tensors[:count], tensors[count:]
        return self.call.on(arrays, {**self.call.params, **dict(zip(self.names, extra, strict=True))})


def differentiable_values(call: Call) -> Tensor:
    """Return a call's values, differentiable by the definition's own gradient.

    A tensor that requires grad where the definition declares no derivative (a target, a learned parameter) is honoured
    as well: then the value is made of ordinary operations, and autograd differentiates those.
    """
    names = tuple(name for name, value in call.params.items() if isinstance(value, Tensor))
    tensors = (*call.arrays, *(call.params[name] for name in names))
    wrt = tuple(call.loss.arguments.index(name) for name in call.loss.wrt)
    forward = forward_mode()
    tracked = [i for i, tensor in enumerate(tensors) if tensor.requires_grad or (forward and _has_tangent(tensor))]
    if not tracked or any(i not in wrt for i in tracked) or loses_derivatives():
        return call.evaluate()
    if not torch.compiler.is_compiling() and torch._C._is_tracing():
        return call.evaluate()  # a graph of TorchScript that holds a function of Python could not leave the process
    transformed = forward or (not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active())
    return (_Transformed if transformed else _Autograd).apply(Spec(call, names, wrt), *tensors)


def _has_tangent(x: Tensor) -> bool:
    return torch.autograd.forward_ad.unpack_dual(x).tangent is not None


def gradients(call: Call, upstream: Tensor) -> Sequence[Tensor | None]:
    """Return the gradient of every array of a call, in operations that can be differentiated again."""
    spec = Spec(call, (), tuple(call.loss.arguments.index(name) for name in call.loss.wrt))
    return gradients_of(spec, tuple(call.arrays), upstream.reshape(upstream.shape + (1,) * call.inner))


def gradients_of(spec: Spec, tensors: Sequence[Tensor], upstream: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradient of every tensor, given that of the values, in operations that can be differentiated again."""
    call = spec.on(tensors)
    if call.loss.coupling is not None:
        _, grad = call.through_coupling(lambda derivative, some: _weighed(derivative, upstream[some]))
        return placed(spec, tensors, (grad,))
    if torch.is_grad_enabled() or observed():  # who differentiates again
        derivatives = _derivatives(spec, tensors, _without_masked(spec.call, tensors, upstream))
    else:
        derivatives = call.pull(1)[1][0]
    return placed(spec, tensors, tuple(_weighed(derivative, upstream) for derivative in derivatives))


def _derivatives(spec: Spec, tensors: Sequence[Tensor], moving: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the definition's derivatives, which differentiate in their own argument by the definition's Hessian.

    That is so where an example is one number: there the Hessian diagonal is the whole of such a derivative. Automatic
    differentiation would go through the formula of the gradient, which is made for the digits of its value. What
    differentiates is `moving`, the same numbers as `tensors`.
    """
    call = spec.call
    if call.signature.rank or call.loss.derivatives < 2 or torch.compiler.is_compiling():
        derivatives: tuple[Tensor, ...] = spec.on(moving).pull(1)[1][0]
        return derivatives
    found = []
    for number, at in enumerate(spec.wrt):
        others = [x.detach() if i == at else y for i, (x, y) in enumerate(zip(tensors, moving, strict=True))]
        derivative = spec.on(others).pull(1)[1][0][number]
        found.append(_GradientWithHessian.apply(spec, number, derivative, *moving))
    return tuple(found)


def _without_masked(call: Call, tensors: Sequence[Tensor], upstream: Tensor) -> Sequence[Tensor]:
    """Return tensors that do not differentiate where an example is masked: what is there may be NaN.

    A mask that is applied to values afterwards is known by what it sends back, 0. An example of ordinary numbers is
    differentiated all the same, for 0 is also where a derivative in what is sent back is taken.
    """
    if call.loss.coupling is not None:
        return tensors
    lead = upstream.ndim - call.inner
    own = [
        x.is_floating_point() and x.ndim == upstream.ndim and x.shape[:lead] == upstream.shape[:lead] for x in tensors
    ]
    core = tuple(range(lead, upstream.ndim))
    masked = upstream.new_zeros((), dtype=torch.bool)
    for x in (x for x, owned in zip(tensors, own, strict=True) if owned):
        strange = ~(x < inf)  # NaN as well; -inf may be a class that is masked out
        masked = masked | (strange.any(core, keepdim=True) if core else strange)
    masked = masked & (upstream == 0)
    if call.weights is not None:
        masked = masked | (call.weights == 0).reshape(call.weights.shape + (1,) * call.inner)
    return [where(masked, x.detach(), x) if owned else x for x, owned in zip(tensors, own, strict=True)]


class _GradientWithHessian(torch.autograd.Function):
    """A definition's derivative, differentiated in its own argument by the definition's Hessian."""

    generate_vmap_rule = True

    @staticmethod
    def forward(spec: Spec, number: int, derivative: Tensor, *tensors: Tensor) -> Tensor:
        return derivative.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.spec, ctx.number, _, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        spec, number, tensors = ctx.spec, ctx.number, ctx.saved_tensors
        placed: list[Tensor | None] = [None] * len(tensors)
        placed[spec.wrt[number]] = _weighed(_curvature(spec, number, tensors), upstream)
        return None, None, upstream, *placed

    @staticmethod
    def jvp(ctx: Any, _: Any, __: Any, change: Tensor | None, *tangents: Tensor | None) -> Tensor:
        spec, number, tensors = ctx.spec, ctx.number, ctx.saved_tensors
        curvature = _curvature(spec, number, tensors)
        tangent = tangents[spec.wrt[number]]
        moved = zeros_like(curvature) if tangent is None else _weighed(curvature, tangent)
        return moved if change is None else moved + change


def _curvature(spec: Spec, number: int, tensors: Sequence[Tensor]) -> Tensor:
    """Return the Hessian diagonal in one of the arguments."""
    return spec.on(tensors).pull(2)[1][1][number]


def placed(spec: Spec, tensors: Sequence[Tensor], grads: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
    """Return one gradient for every tensor: those of `wrt` in their places, None elsewhere."""
    placed: list[Tensor | None] = [None] * len(tensors)
    for at, grad in zip(spec.wrt, grads, strict=True):
        spread = grad.expand(tensors[at].shape)  # which a walk back with several gradients at once knows, too
        placed[at] = spread.to(tensors[at].dtype)
    return tuple(placed)


def _weighed(derivative: Tensor, upstream: Tensor) -> Tensor:
    """Return the product, exactly 0 where a masked entry (upstream 0) has left an infinity or NaN."""
    lost = (upstream == 0) & ~isfinite(derivative)
    return where(lost, zeros_like(derivative), derivative) * upstream


class _Autograd(torch.autograd.Function):
    """Values with the definition's gradient, which is taken along on the way and kept for the way back.

    A second derivative computes the gradient again, in operations that autograd can see.
    """

    @staticmethod
    def forward(ctx: Any, spec: Spec, *tensors: Tensor) -> Tensor:
        call, kept = spec.on(tensors), ()
        if call.loss.coupling is None:
            value, (kept,), _ = call.pull(1)
        else:
            value = call.evaluate()
        ctx.spec, ctx.count = spec, len(tensors)
        ctx.save_for_backward(*tensors, *kept)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        tensors, kept = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        if torch.is_grad_enabled() or not kept:
            return None, *gradients_of(ctx.spec, tensors, upstream)
        nothing = upstream == 0
        grads = [(derivative * upstream).masked_fill_(nothing, 0) for derivative in kept]
        return None, *placed(ctx.spec, tensors, grads)


class _Transformed(torch.autograd.Function):
    """The same as the transforms of `torch.func` and forward mode want it, which the compiler in turn refuses."""

    generate_vmap_rule = True

    @staticmethod
    def forward(spec: Spec, *tensors: Tensor) -> Tensor:
        return spec.on(tensors).pull(0)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.spec, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        return None, *gradients_of(ctx.spec, ctx.saved_tensors, upstream)

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Tensor | None) -> Tensor:
        spec, tensors = ctx.spec, ctx.saved_tensors
        if spec.call.loss.coupling is not None:
            # A coupling is written down backwards only. What it does to a gradient is linear, and the transpose of
            # that is what a tangent wants.
            (at,) = spec.wrt
            ones = torch.ones_like(spec.on(tensors).pull(0)[0])
            _, transpose_of = torch.func.vjp(lambda upstream: gradients_of(spec, tensors, upstream)[at], ones)
            return transpose_of(tangents[at])[0]
        call = spec.on(tensors)
        value = call.pull(0)[0]
        change = zeros_like(value)
        for at, derivative in zip(spec.wrt, _derivatives(spec, tensors, tensors), strict=True):
            tangent = tangents[at]
            if tangent is not None:
                moved = derivative * tangent
                for axis in range(1, call.inner + 1):
                    moved = sum(moved, -axis) if moved.shape[-axis] != value.shape[-axis] else moved
                change = change + moved
        return change
