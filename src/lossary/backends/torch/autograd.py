"""Autograd functions: attach the hand-derived gradient of a definition or a kernel to torch's graph.

There are two. `Eager` serves whatever knows its own gradient: a definition, a kernel on a prepared call, a bound kernel
of the call cache (each an `Evaluation`); the compiler traces it, too. `_Transformed` serves `torch.func` and forward
mode, whose `jvp` the compiler refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import isfinite, where, zeros_like

from lossary.backends.torch.namespace import inf, sum
from lossary.backends.torch.tensors import forward_mode, loses_derivatives, observed
from lossary.errors import DomainError
from lossary.evaluate.call import Call

Tensor = torch.Tensor


class Evaluation:
    """A value as a function of tensors that knows its own gradient."""

    hands_over = True  # whether what `forward` keeps is handed to the caller as the gradient, rather than saved

    def forward(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the value, and what it keeps for the gradient; it may keep nothing.

        Raises `DomainError` to ask for the general path, which has something to say about the arguments.
        """
        raise NotImplementedError

    def value(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the value alone, where nothing is differentiated."""
        return self.forward(tensors)[0]

    def reused(self, kept: Any, upstream: Tensor) -> Sequence[Tensor | None] | None:
        """Return the gradient of every tensor from what was kept alone; None if the tensors are needed, too."""
        return None

    def gradient(self, tensors: Sequence[Tensor], kept: Any, upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor; `kept` is empty the second time, and then it is computed again."""
        raise NotImplementedError

    def differentiable(self, tensors: Sequence[Tensor], upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor in operations that can be differentiated again."""
        raise NotImplementedError


class Eager(torch.autograd.Function):
    """An evaluation under autograd. What it keeps is used once: whoever gets a gradient may add to it."""

    @staticmethod
    def forward(ctx: Any, evaluation: Evaluation, *tensors: Tensor) -> Tensor:
        """Return the value, and keep what the backward pass needs."""
        value, kept = evaluation.forward(tensors)
        if evaluation.hands_over:
            ctx.held = evaluation, kept
            ctx.save_for_backward(*tensors)
        else:
            ctx.held, ctx.count = (evaluation, None), len(tensors)
            ctx.save_for_backward(*tensors, *kept)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        """Return the gradient of every tensor; one that can be differentiated again where autograd wants that."""
        evaluation, kept = ctx.held
        again = torch.is_grad_enabled()  # to be differentiated again
        if evaluation.hands_over:
            if kept and not again:
                ctx.held = evaluation, ()
                grads = evaluation.reused(kept, upstream)
                if grads is not None:
                    return None, *grads
            tensors = ctx.saved_tensors
        else:
            saved = ctx.saved_tensors
            tensors, kept = saved[: ctx.count], saved[ctx.count :]
        if again:
            return None, *evaluation.differentiable(tensors, upstream)
        return None, *evaluation.gradient(tensors, kept, upstream)


# `Eager.apply` without its questions about `torch.func`, for callers that have asked them; and on the way back straight
# to `backward`, without asking which of the ways to define one was taken.
apply_directly: Any = super(torch.autograd.Function, Eager).apply
Eager._backward_cls.apply = Eager.backward  # type: ignore[attr-defined]


def evaluated(evaluation: Evaluation, tensors: Sequence[Tensor], differentiated: bool) -> Tensor | None:
    """Return the value of an evaluation, differentiable if asked for; None if it asks for the general path."""
    try:
        if differentiated:
            found: Tensor = apply_directly(evaluation, *tensors)
            return found
        return evaluation.value(tensors)
    except DomainError:
        return None


def times(kept: Sequence[Tensor], upstream: float) -> Sequence[Tensor]:
    """Return derivatives times a number: 0 times a derivative is 0, whatever the loss's derivative is there."""
    if upstream == 1:
        return kept
    return [derivative * upstream if upstream else zeros_like(derivative) for derivative in kept]


# --- definitions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Definition(Evaluation):
    """The values of a prepared call by its definition: which tensors it has, and which of them are differentiated."""

    call: Call
    names: tuple[str, ...]  # of the parameters that are tensors
    wrt: tuple[int, ...]  # which tensors the definition differentiates
    hands_over = False

    def on(self, tensors: Sequence[Tensor]) -> Call:
        """Return the call on other tensors in the places of its own."""
        count = len(self.call.arrays)
        arrays, extra = tensors[:count], tensors[count:]
        return self.call.on(arrays, {**self.call.params, **dict(zip(self.names, extra, strict=True))})

    def forward(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the values, and the derivatives that the definition yields next."""
        call = self.on(tensors)
        if call.loss.coupling is not None:
            return call.evaluate(), ()
        value, (kept,), _ = call.pull(1)
        return value, kept

    def gradient(self, tensors: Sequence[Tensor], kept: Sequence[Tensor], upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor."""
        if not kept:
            return self.differentiable(tensors, upstream)
        nothing = upstream == 0
        return self.placed(tensors, [(derivative * upstream).masked_fill_(nothing, 0) for derivative in kept])

    def differentiable(self, tensors: Sequence[Tensor], upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of every tensor, in operations that can be differentiated again."""
        call = self.on(tensors)
        if call.loss.coupling is not None:
            _, grad = call.through_coupling(lambda derivative, some: _weighed(derivative, upstream[some]))
            return self.placed(tensors, (grad,))
        if torch.is_grad_enabled() or observed():  # who differentiates again
            derivatives = self.derivatives(tensors, _without_masked(self.call, tensors, upstream))
        else:
            derivatives = call.pull(1)[1][0]
        return self.placed(tensors, tuple(_weighed(derivative, upstream) for derivative in derivatives))

    def derivatives(self, tensors: Sequence[Tensor], moving: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the definition's derivatives, which differentiate in their own argument by the definition's Hessian.

        That is so where an example is one number: there the Hessian diagonal is the whole of such a derivative.
        Automatic differentiation would go through the formula of the gradient, which is made for the digits of its
        value. What differentiates is `moving`, the same numbers as `tensors`.
        """
        call = self.call
        if call.signature.rank or call.loss.derivatives < 2 or torch.compiler.is_compiling():
            derivatives: tuple[Tensor, ...] = self.on(moving).pull(1)[1][0]
            return derivatives
        found = []
        for number, at in enumerate(self.wrt):
            others = [x.detach() if i == at else y for i, (x, y) in enumerate(zip(tensors, moving, strict=True))]
            derivative = self.on(others).pull(1)[1][0][number]
            found.append(_Transformed.apply(self, number, derivative, *moving))
        return tuple(found)

    def curvature(self, number: int, tensors: Sequence[Tensor]) -> Tensor:
        """Return the Hessian diagonal in one of the differentiated arguments."""
        found: Tensor = self.on(tensors).pull(2)[1][1][number]
        return found

    def placed(self, tensors: Sequence[Tensor], grads: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        """Return one gradient for every tensor: those of `wrt` in their places, None elsewhere."""
        placed: list[Tensor | None] = [None] * len(tensors)
        for at, grad in zip(self.wrt, grads, strict=True):
            spread = grad.expand(tensors[at].shape)  # which a backward pass with several gradients at once knows, too
            placed[at] = spread.to(tensors[at].dtype)
        return tuple(placed)


def definition(call: Call) -> tuple[Definition, tuple[Tensor, ...]]:
    """Return the definition of a call as an evaluation, and the tensors to apply it to."""
    names = tuple(name for name, value in call.params.items() if isinstance(value, Tensor))
    tensors = (*call.arrays, *(call.params[name] for name in names))
    return Definition(call, names, tuple(call.loss.arguments.index(name) for name in call.loss.wrt)), tensors


def differentiable_values(call: Call) -> Tensor:
    """Return a call's values, differentiable by the definition's own gradient.

    A tensor that requires grad where the definition declares no derivative (a target, a learned parameter) is honoured
    as well: then the value is made of ordinary operations, and autograd differentiates those.
    """
    evaluation, tensors = definition(call)
    forward = forward_mode()
    tracked = [i for i, tensor in enumerate(tensors) if tensor.requires_grad or (forward and _has_tangent(tensor))]
    if not tracked or any(i not in evaluation.wrt for i in tracked) or loses_derivatives():
        return call.evaluate()
    if not torch.compiler.is_compiling() and torch._C._is_tracing():
        return call.evaluate()  # a graph of TorchScript that holds a function of Python could not leave the process
    if forward or (not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()):
        found: Tensor = _Transformed.apply(evaluation, None, None, *tensors)
    else:
        found = Eager.apply(evaluation, *tensors)
    return found


def gradients(call: Call, upstream: Tensor) -> Sequence[Tensor | None]:
    """Return the gradient of every array of a call, in operations that can be differentiated again."""
    wrt = tuple(call.loss.arguments.index(name) for name in call.loss.wrt)
    spread = upstream.reshape(upstream.shape + (1,) * call.inner)
    return Definition(call, (), wrt).differentiable(tuple(call.arrays), spread)


def _has_tangent(x: Tensor) -> bool:
    return torch.autograd.forward_ad.unpack_dual(x).tangent is not None


def _without_masked(call: Call, tensors: Sequence[Tensor], upstream: Tensor) -> Sequence[Tensor]:
    """Return tensors that do not differentiate where an example is masked: what is there may be NaN.

    A mask that is applied to values afterwards is known by the gradient it sends back, 0. An example of ordinary
    numbers is differentiated all the same, for 0 is also where a derivative in that gradient is taken.
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


def _weighed(derivative: Tensor, upstream: Tensor) -> Tensor:
    """Return the product, exactly 0 where a masked entry (upstream 0) has left an infinity or NaN."""
    lost = (upstream == 0) & ~isfinite(derivative)
    return where(lost, zeros_like(derivative), derivative) * upstream


class _Transformed(torch.autograd.Function):
    """A definition's values as the transforms of `torch.func` and forward mode want them; or one of its derivatives.

    With a `number` and the `derivative` itself, it is that of the argument with the number, which differentiates by the
    definition's Hessian in its own argument, and through `derivative` in the others.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(definition: Definition, number: int | None, derivative: Tensor | None, *tensors: Tensor) -> Tensor:
        return definition.on(tensors).pull(0)[0] if derivative is None else derivative.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.definition, ctx.number, _, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        definition, number, tensors = ctx.definition, ctx.number, ctx.saved_tensors
        if number is None:
            return None, None, None, *definition.differentiable(tensors, upstream)
        placed: list[Tensor | None] = [None] * len(tensors)
        placed[definition.wrt[number]] = _weighed(definition.curvature(number, tensors), upstream)
        return None, None, upstream, *placed

    @staticmethod
    def jvp(ctx: Any, _: Any, __: Any, change: Tensor | None, *tangents: Tensor | None) -> Tensor:
        definition, number, tensors = ctx.definition, ctx.number, ctx.saved_tensors
        if number is None:
            return _pushed_forward(definition, tensors, tangents)
        curvature = definition.curvature(number, tensors)
        tangent = tangents[definition.wrt[number]]
        moved = zeros_like(curvature) if tangent is None else _weighed(curvature, tangent)
        return moved if change is None else moved + change


def _pushed_forward(definition: Definition, tensors: Sequence[Tensor], tangents: Sequence[Tensor | None]) -> Tensor:
    """Return the tangent of a definition's values."""
    value = definition.on(tensors).pull(0)[0]
    if definition.call.loss.coupling is not None:
        # A coupling is written down backwards only. What it does to a gradient is linear, and the transpose of that is
        # what a tangent wants.
        (at,) = definition.wrt
        ones = torch.ones_like(value)
        _, transpose_of = torch.func.vjp(lambda upstream: definition.differentiable(tensors, upstream)[at], ones)
        moved: Tensor = transpose_of(tangents[at])[0]
        return moved
    change = zeros_like(value)
    for at, derivative in zip(definition.wrt, definition.derivatives(tensors, tensors), strict=True):
        tangent = tangents[at]
        if tangent is not None:
            moved = derivative * tangent
            for axis in range(1, definition.call.inner + 1):
                moved = sum(moved, -axis) if moved.shape[-axis] != value.shape[-axis] else moved
            change = change + moved
    return change
