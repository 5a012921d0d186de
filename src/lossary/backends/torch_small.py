"""Small calls from PyTorch: what was found out about a kind of call is remembered, and the next of its kind computes.

At a thousand elements a loss is a few microseconds of arithmetic; checking it, broadcasting, choosing types and kernels
cost ten times that. All of this depends on shapes, types and parameters alone. So the first call of a kind goes the
long way, and what comes of it is a `_Kind`: a kernel with its arguments in order, or else the definition itself. The
gradient is taken along with the values and waits in the graph.

Only plain calls are of a kind: dense tensors of one float type and of equal shapes on the CPU, parameters that are
numbers, no weights. All others return None here and go the long way every time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from lossary import checking as checks
from lossary.backends import torch as xp
from lossary.catalogue import Loss
from lossary.errors import DomainError, LossaryError
from lossary.kernels import table

Tensor = torch.Tensor

# Elements up to which a call is small; above, threads share a kernel's work and the long way is the shorter part.
MOST = 65536
_FLOATS = {torch.float32: "float32", torch.float64: "float64"}
_POINTWISE = ("(),()->()", "(),(),()->()")
_PLAIN = (Tensor, torch.nn.Parameter)
_NUMBERS = (float, int, bool, str, type(None))
_KEPT = 4096  # kinds remembered; a program that meets more (every batch of another length) starts over

_kinds: dict[tuple[Any, ...], _Kind | None] = {}


def reduced(
    loss: Loss,
    arrays: Sequence[Tensor],
    params: Mapping[str, Any],
    how: str,
    count: float | None = None,
    check: bool = False,
) -> Tensor | None:
    """Return a pointwise loss under a reduction, differentiable; None if the call is not a small and plain one.

    A mean divides by `count`, or by the number of values. With `check`, None also means that a value lies outside its
    domain. The mean of nothing, which is a question of conventions, is not for here either.
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or xp.forward_mode():
        return None
    watched = torch.is_grad_enabled()
    key: list[Any] = [loss, how, count, check]
    for x in arrays:
        if (
            type(x) not in _PLAIN
            or not x.is_cpu
            or x.layout is not torch.strided
            or not x.is_contiguous()
            or x.is_neg()
        ):
            return None
        key += x.shape, x.dtype, watched and x.requires_grad
    for item in params.items():
        if type(item[1]) not in _NUMBERS:
            return None
        key.append(item)
    kept = tuple(key)
    try:
        kind = _kinds[kept]
    except KeyError:
        if len(_kinds) >= _KEPT:
            _kinds.clear()
        _kinds[kept] = kind = _kind(loss, arrays, params, how, count, check)
    if kind is None:
        return None
    try:
        return _apply(kind, *arrays) if kind.tracked else kind.evaluate(arrays)[0]
    except DomainError:
        return None


def _kind(
    loss: Loss, arrays: Sequence[Tensor], params: Mapping[str, Any], how: str, count: float | None, check: bool
) -> _Kind | None:
    first = arrays[0]
    if len(arrays) != len(loss.arguments) or loss.signature not in _POINTWISE:
        return None
    if first.dtype not in _FLOATS or not 0 < first.numel() <= MOST:
        return None
    if any(x.dtype != first.dtype or x.shape != first.shape for x in arrays):
        return None
    watched = torch.is_grad_enabled()
    tracked = [name for name, x in zip(loss.arguments, arrays, strict=True) if watched and x.requires_grad]
    if any(name not in loss.wrt for name in tracked):
        return None
    try:
        held = checks.parameters(loss, params)
    except LossaryError:  # the long way says what is wrong, or takes it as it is
        return None
    if any(type(value) not in _NUMBERS for value in held.values()):
        return None
    return _Kind(loss, held, first, how, count, bool(tracked), check)


class _Kind:
    """A kind of call: how to compute it, and by what the derivatives it returns are still to be multiplied."""

    def __init__(
        self,
        loss: Loss,
        params: dict[str, Any],
        like: Tensor,
        how: str,
        count: float | None,
        tracked: bool,
        check: bool,
    ) -> None:
        self.loss, self.params, self.how, self.tracked = loss, params, how, tracked
        self.wrt = tuple(loss.arguments.index(name) for name in loss.wrt)
        self.dtype, self.shape, self.size = like.dtype, like.shape, like.numel()
        self.count = self.size if count is None else count
        self.check = check
        self.kernel = _kernel(self)
        self.evaluate = self._by_definition if self.kernel is None else self._by_kernel
        # A kernel divides the derivatives of a mean as it writes them.
        self.factor = 1 / self.count if how == "mean" and self.kernel is None else 1.0

    def _by_definition(self, arrays: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        if self.check:
            for name, x in zip(self.loss.arguments, arrays, strict=True):
                checks.domain(xp, self.loss, name, self.loss.domain(name), x, None, 1)
        steps = self.loss.define(xp, *arrays, **self.params)
        value = next(steps)
        kept: Any = ()
        if self.tracked:
            kept = next(steps)
            kept = kept if isinstance(kept, tuple) else (kept,)
        if value.shape != self.shape:
            value = value.expand(self.shape)
        if self.how != "none":
            value = value.sum()
            value = value / self.count if self.how == "mean" else value
        return value, kept

    def _by_kernel(self, arrays: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        kernel: Any = self.kernel
        kept = [torch.empty_like(arrays[0]) for _ in self.wrt] if self.tracked else ()
        addresses = [arrays[at].data_ptr() for at in kernel.inputs]
        if self.how == "none":
            value = torch.empty_like(arrays[0])
            addresses.append(value.data_ptr())
        addresses += [x.data_ptr() for x in kept]
        sums = kernel.room()
        if kernel.function(0, kernel.blocks, self.size, *addresses, *kernel.scalars, sums):
            raise DomainError
        if self.how != "none":
            total = sum(sums)
            value = torch.full((), total / self.count if self.how == "mean" else total, dtype=self.dtype, device="cpu")
        return value, kept

    def gradients(self, tensors: Sequence[Tensor], upstream: Tensor) -> Sequence[Any]:
        """The gradients the long way, in operations that can be differentiated again."""
        from lossary.transforms import prepare

        call = prepare(self.loss, tensors, self.params, check=False)
        spread = upstream / self.count if self.how == "mean" else upstream
        return xp.gradients(call, spread.expand(self.shape))


class _Kernel:
    """A compiled pointwise kernel with everything but the addresses of its arrays."""

    def __init__(self, compiled: Any, kind: _Kind, block: int) -> None:
        self.inputs = [kind.loss.arguments.index(name) for name in compiled.arguments]
        uniforms = compiled.uniforms(**{name: kind.params[name] for name in compiled.uniform_names})
        scale = 1 / kind.count if kind.how == "mean" else 1.0
        self.scalars = (*map(float, uniforms), *((scale,) if kind.tracked else ()))
        self.function = compiled.function
        self.blocks = -(-kind.size // block)
        self.room = ctypes.c_double * self.blocks


def _kernel(kind: _Kind) -> _Kernel | None:
    if not table.available():
        return None
    from lossary.kernels.cpu import pointwise

    wanted = table.Wanted("each" if kind.how == "none" else "sum", int(kind.tracked))
    compiled = pointwise.find(kind.loss, kind.params, (), _FLOATS[kind.dtype], wanted, kind.check)
    return None if compiled is None else _Kernel(compiled, kind, pointwise.BLOCK)


class _Small(torch.autograd.Function):
    """A small call under autograd: its gradient has been taken along."""

    @staticmethod
    def forward(ctx: Any, kind: _Kind, *tensors: Tensor) -> Tensor:
        value, kept = kind.evaluate(tensors)
        ctx.kind = kind
        ctx.save_for_backward(*tensors, *kept)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        kind, saved = ctx.kind, ctx.saved_tensors
        tensors, kept = saved[: len(kind.loss.arguments)], saved[len(kind.loss.arguments) :]
        if torch.is_grad_enabled():
            return None, *kind.gradients(tensors, upstream)
        placed: list[Tensor | None] = [None] * len(tensors)
        if kind.how == "none":
            nothing = upstream == 0
            for at, slope in zip(kind.wrt, kept, strict=True):
                placed[at] = (slope * upstream).masked_fill_(nothing, 0)
        else:
            # Times 0 is 0 wherever the slope is finite; elsewhere the loss has no slope to speak of.
            by = upstream.item() * kind.factor
            for at, slope in zip(kind.wrt, kept, strict=True):
                placed[at] = slope if by == 1 else slope * by if by else torch.zeros_like(slope)
        return None, *placed


# `Function.apply` without its questions about `torch.func`, which `reduced` has asked.
_apply: Any = super(torch.autograd.Function, _Small).apply
