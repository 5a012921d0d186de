"""Autograd functions: attach the hand-derived gradient of a definition or a kernel to torch's graph.

There are two. `Eager` serves every `Evaluation`, that is, a definition, a kernel on a prepared call, or a bound kernel
of the call cache; the compiler traces it, too. `_Transformed` serves `torch.func` and forward mode, whose `jvp` the
compiler refuses.
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
    """A value as a function of tensors, with its gradient."""

    hands_over = (
        True  # whether the caller receives the tensors that `forward` keeps as the gradient, instead of saving them
    )

    def forward(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the value, and the tensors to keep for the gradient, which may be none.

        Raises `DomainError` to request the general path, which raises the error or handles the arguments.
        """
        raise NotImplementedError

    def value(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the value alone, where nothing is differentiated."""
        return self.forward(tensors)[0]

    def reused(self, kept: Any, upstream: Tensor) -> Sequence[Tensor | None] | None:
        """Return the gradient of every tensor from `kept` alone; None if the tensors are needed, too."""
        return None

    def gradient(self, tensors: Sequence[Tensor], kept: Any, upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor; `kept` is empty in a second backward pass, which recomputes it."""
        raise NotImplementedError

    def differentiable(self, tensors: Sequence[Tensor], upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor in operations that can be differentiated again."""
        raise NotImplementedError


class Eager(torch.autograd.Function):
    """An evaluation under autograd. What it keeps is used once: the receiver of a gradient may add to it in place."""

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
        again = torch.is_grad_enabled()  # a backward pass with create_graph
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


# `Eager.apply` without its checks for `torch.func`, for callers that have made them; and `backward` directly, without
# checks for the other ways to define one.
apply_directly: Any = super(torch.autograd.Function, Eager).apply
Eager._backward_cls.apply = Eager.backward  # type: ignore[attr-defined]


def evaluated(evaluation: Evaluation, tensors: Sequence[Tensor], differentiated: bool) -> Tensor | None:
    """Return the value of an evaluation, differentiable if requested; None if it requests the general path."""
    try:
        if differentiated:
            found: Tensor = apply_directly(evaluation, *tensors)
            return found
        return evaluation.value(tensors)
    except DomainError:
        return None


def times(kept: Sequence[Tensor], upstream: float) -> Sequence[Tensor]:
    """Return derivatives times a number: exactly 0 for a factor of 0, even where a derivative is infinite or NaN."""
    if upstream == 1:
        return kept
    return [derivative * upstream if upstream else zeros_like(derivative) for derivative in kept]


# --- definitions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Definition(Evaluation):
    """The values of a prepared call by its definition, as a function of its tensors."""

    call: Call
    names: tuple[str, ...]  # of the parameters that are tensors
    wrt: tuple[int, ...]  # which tensors the definition differentiates
    hands_over = False

    def on(self, tensors: Sequence[Tensor]) -> Call:
        """Return the call on other tensors instead of its own."""
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
        if torch.is_grad_enabled() or observed():  # the result may be differentiated again
            derivatives = self.derivatives(tensors, _without_masked(self.call, tensors, upstream))
        else:
            derivatives = call.pull(1)[1][0]
        return self.placed(tensors, tuple(_weighed(derivative, upstream) for derivative in derivatives))

    def derivatives(self, tensors: Sequence[Tensor], moving: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the definition's derivatives, which differentiate in their own argument by the definition's Hessian.

        That is so where an example is one number: there the Hessian diagonal is the whole of such a derivative.
        Automatic differentiation would differentiate the formula of the gradient, which is written for the accuracy of
        its value. The result is differentiable in `moving`, the same numbers as `tensors`.
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
        """Return one gradient for every tensor: those of `wrt` at their positions, None elsewhere."""
        placed: list[Tensor | None] = [None] * len(tensors)
        for at, grad in zip(self.wrt, grads, strict=True):
            spread = grad.expand(tensors[at].shape)  # an operation that batched backward passes support, too
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
        return call.evaluate()  # TorchScript cannot serialise a graph that holds a Python function
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
    """Return tensors detached where an example is masked, because its values may be NaN.

    A mask that is applied to values afterwards shows as an upstream gradient of 0. An example of finite numbers is
    differentiated all the same, because a derivative with respect to the upstream gradient may be taken at 0.
    """
    if call.loss.coupling is not None:
        return tensors
    lead = upstream.ndim - call.inner
    batched = [
        x.is_floating_point() and x.ndim == upstream.ndim and x.shape[:lead] == upstream.shape[:lead] for x in tensors
    ]
    core = tuple(range(lead, upstream.ndim))
    masked = upstream.new_zeros((), dtype=torch.bool)
    for x in (x for x, each in zip(tensors, batched, strict=True) if each):
        invalid = ~(x < inf)  # inf or NaN; -inf may be a masked class
        masked = masked | (invalid.any(core, keepdim=True) if core else invalid)
    masked = masked & (upstream == 0)
    if call.weights is not None:
        masked = masked | (call.weights == 0).reshape(call.weights.shape + (1,) * call.inner)
    return [where(masked, x.detach(), x) if each else x for x, each in zip(tensors, batched, strict=True)]


def _weighed(derivative: Tensor, upstream: Tensor) -> Tensor:
    """Return the product, exactly 0 where a masked entry (upstream 0) has left an infinity or NaN."""
    lost = (upstream == 0) & ~isfinite(derivative)
    return where(lost, zeros_like(derivative), derivative) * upstream


class _Transformed(torch.autograd.Function):
    """A definition's values for the transforms of `torch.func` and forward mode; or one of its derivatives.

    With a `number` and the `derivative` itself, it is the derivative in the argument of that number, whose own
    derivative is the definition's Hessian in that argument, and that of `derivative` in the others.
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
        # A coupling has a backward pass only. That is linear in the upstream gradient, and its transpose maps the
        # tangent.
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
