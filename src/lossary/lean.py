"""Small calls from PyTorch: what was found out about a kind of call is remembered, and the next of its kind computes.

At a thousand elements a loss is a few microseconds of arithmetic; checking it, broadcasting, choosing types and kernels
cost ten times that. All of this depends on shapes, types and parameters alone. So the first call of a kind goes the
long way, and what comes of it is a `_Kind`: a kernel with its arguments in order, or else the definition itself. The
gradient is taken along with the values and waits in the graph.

Only plain calls are of a kind: dense tensors of one float type (and labels) on the CPU, nothing repeated, parameters
that are numbers, no weights. All others return None here and go the long way every time.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from lossary import checking as checks
from lossary import reduction
from lossary.backends import torch as xp
from lossary.catalogue import Loss
from lossary.errors import DomainError, LossaryError
from lossary.kernels import table

Tensor = torch.Tensor

# Elements up to which a call is small; above, threads share a kernel's work and the long way is the shorter part.
MOST = 65536
_FLOATS = {torch.float32: "float32", torch.float64: "float64"}
_DENSE = torch.strided
_PLAIN = (Tensor, torch.nn.Parameter)
_NUMBERS = (float, int, bool, str, type(None))
_NO_LABEL = -(2**62)
_KEPT = 4096  # kinds remembered; a program that meets more (every batch of another length) starts over

_kinds: dict[tuple[Any, ...], _Kind | None] = {}


def reduced(
    loss: Loss,
    arrays: Sequence[Tensor],
    params: Mapping[str, Any],
    how: str,
    count: float | None = None,
    check: bool = False,
    class_weight: Tensor | None = None,
    by_weight: bool = False,
) -> Tensor | None:
    """Return a loss under a reduction, differentiable; None if the call is not a small and plain one.

    A mean divides by `count`, or by the number of values; with `by_weight`, by the sum of the class weights of the
    labels. With `check`, None also means that a value lies outside its domain. The mean of nothing, which is a question
    of conventions, is not for here either.
    """
    if torch.compiler.is_compiling() or xp.observed():
        return None
    watched = torch.is_grad_enabled()
    key: list[Any] = [loss, how, count, check, by_weight, *params.items()]
    if class_weight is not None:
        arrays = (*arrays, class_weight)
    for x in params.values():
        if type(x) not in _NUMBERS:
            return None
    for x in arrays:
        if type(x) not in _PLAIN or not x.is_cpu or x.layout is not _DENSE or not x.is_contiguous() or x.is_neg():
            return None
        key += x.shape, x.dtype, watched and x.requires_grad
    kept = tuple(key)
    try:
        kind = _kinds[kept]
    except KeyError:
        if len(_kinds) >= _KEPT:
            _kinds.clear()
        _kinds[kept] = kind = _kind(loss, arrays, params, how, count, check, by_weight)
    if kind is None:
        return None
    try:
        if isinstance(kind, _Large):
            return kind.value(arrays)
        return _apply(kind, *arrays) if kind.tracked else kind.evaluate(arrays)[0]
    except DomainError:
        return None


def listed(labels: Tensor, like: Tensor) -> Tensor | None:
    """Return how often each class is listed in rows of labels that end at the first -1, in the type of `like`.

    None if the call is not a small and plain one, or a label names no class.
    """
    if torch.compiler.is_compiling() or xp.observed() or not table.available():
        return None
    plain = all(type(x) in _PLAIN and x.is_cpu and x.layout is _DENSE and x.is_contiguous() for x in (labels, like))
    if not plain or labels.shape != like.shape or not 0 < labels.numel() <= MOST:
        return None
    if labels.dtype != torch.int64 or like.dtype not in _FLOATS:
        return None
    from lossary.kernels.cpu import lanes

    counts = torch.empty_like(like, requires_grad=False)
    rows, width = labels.shape
    wrong = lanes.listed(_FLOATS[like.dtype])(rows, width, labels.data_ptr(), counts.data_ptr())
    return None if wrong else counts


def _kind(
    loss: Loss,
    arrays: Sequence[Tensor],
    params: Mapping[str, Any],
    how: str,
    count: float | None,
    check: bool,
    by_weight: bool,
) -> _Kind | None:
    arrays, class_weight = arrays[: len(loss.arguments)], arrays[len(loss.arguments) :]
    if loss.coupling is not None or len(arrays) != len(loss.arguments):
        return None
    watched = torch.is_grad_enabled()
    tracked = [name for name, x in zip(loss.arguments, arrays, strict=True) if watched and x.requires_grad]
    if any(name not in loss.wrt for name in tracked):
        return None
    try:
        held = checks.parameters(loss, params)
        alternative, batch = checks.shapes(loss, loss.signatures, arrays)
    except LossaryError:  # the long way says what is wrong, or takes it as it is
        return None
    signature = loss.signatures[alternative]
    if any(type(value) not in _NUMBERS for value in held.values()) or signature.rank > 1:
        return None
    # The width of a row is that of the first array that has one: a number may stand before it.
    like = next(x for x, core in zip(arrays, signature.inputs, strict=True) if core or not signature.rank)
    dtype, size = like.dtype, like.numel()
    if dtype not in _FLOATS or size == 0 or (size > MOST and (signature.rank or not MOST)):
        return None
    for name, core, x in zip(loss.arguments, signature.inputs, arrays, strict=True):
        label = loss.domain(name, alternative).kind == "index"
        if x.shape[: x.ndim - len(core)] != batch or x.dtype != (torch.int64 if label else dtype):
            return None
    made = _Rows if signature.rank else _Large if size > MOST else _Numbers
    kind = made(loss, alternative, batch, held, like, how, count, bool(tracked))
    kind.check, kind.by_weight, kind.weighed = check, by_weight, bool(class_weight)
    for x in class_weight:
        if x.shape != (kind.width,) or x.dtype != dtype or (watched and x.requires_grad) or not signature.rank:
            return None
    return kind if kind.ready() else None


class _Kind:
    """A kind of call: how to compute it, and by what the derivatives it returns are still to be multiplied."""

    check = False
    factor = 1.0
    ignored: int | None = None  # the label that does not count, if there is one
    labels: int | None = None  # which array holds labels
    weighed = False  # whether the last array is one of class weights
    by_weight = False  # whether a mean divides by those of the labels

    def __init__(
        self,
        loss: Loss,
        alternative: int,
        batch: tuple[int, ...],
        params: dict[str, Any],
        like: Tensor,
        how: str,
        count: float | None,
        tracked: bool,
    ) -> None:
        self.loss, self.alternative, self.params, self.how, self.tracked = loss, alternative, params, how, tracked
        self.wrt = tuple(loss.arguments.index(name) for name in loss.wrt)
        self.dtype, self.batch, self.length = like.dtype, torch.Size(batch), math.prod(batch)
        self.width = like.numel() // self.length
        self.count = self.length if count is None else count

    def ready(self) -> bool:
        """Prepare for calls; False if there is no lean path for them."""
        raise NotImplementedError

    def evaluate(self, arrays: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the value and, where wanted, derivatives but for `factor`; a DomainError leads the long way."""
        raise NotImplementedError

    def wanted(self) -> table.Wanted:
        """What a kernel is to compute."""
        return table.Wanted("each" if self.how == "none" else "sum", int(self.tracked))

    def outputs(self, arrays: Sequence[Tensor]) -> tuple[Tensor | None, Sequence[Tensor]]:
        """Return room for values, where each is wanted, and for derivatives."""
        values = arrays[0].new_empty(self.batch) if self.how == "none" else None
        return values, [torch.empty_like(arrays[at]) for at in self.wrt] if self.tracked else ()

    def finished(self, sums: Iterable[float], count: float, like: Tensor) -> Tensor:
        """Return the sums of all blocks as one value."""
        total = sum(sums)
        return like.new_full((), total / count if self.how == "mean" else total)

    def gradients(self, tensors: Sequence[Tensor], upstream: Tensor) -> Sequence[Any]:
        """The gradients the long way, in operations that can be differentiated again."""
        from lossary.transforms import prepare

        params = {**self.params, "class_weight": tensors[-1]} if self.weighed else self.params
        call = prepare(self.loss, tensors[: len(self.loss.arguments)], params, check=False)
        spread = upstream
        if self.how == "mean":
            count: Any = self.count if call.weights is None else call.weights.sum()
            if self.by_weight and self.labels is not None:
                of_labels = tensors[-1][tensors[self.labels].clamp(0, self.width - 1)]
                count = (of_labels if call.weights is None else of_labels * call.weights).sum()
            spread = upstream / count
        return xp.gradients(call, reduction.weigh(xp, spread.expand(self.batch), call.weights))


class _Numbers(_Kind):
    """Calls of a pointwise loss."""

    kernel: Any = None

    def ready(self) -> bool:
        if self.params.pop("ignore_index", None) is not None:
            return False  # said of labels, of which there are none
        if table.available():
            from lossary.kernels.cpu import pointwise

            dtype = _FLOATS[self.dtype]
            self.kernel = pointwise.find(self.loss, self.params, (), dtype, self.wanted(), self.check)
        if self.kernel is None:
            self.factor = 1 / self.count if self.how == "mean" else 1.0
            return True
        uniforms = self.kernel.uniforms(**{name: self.params[name] for name in self.kernel.uniform_names})
        scale = [1 / self.count if self.how == "mean" else 1.0] if self.tracked else []
        self.inputs = [self.loss.arguments.index(name) for name in self.kernel.arguments]
        blocks = -(-self.length // pointwise.BLOCK)
        self.room = ctypes.c_double * blocks
        self.before, self.after = (0, blocks, self.length), [*map(float, uniforms), *scale]
        return True

    def evaluate(self, arrays: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        if self.kernel is None:
            return self._by_definition(arrays)
        values, slopes = self.outputs(arrays)
        addresses = [arrays[at].data_ptr() for at in self.inputs]
        if values is not None:
            addresses.append(values.data_ptr())
        addresses += [slope.data_ptr() for slope in slopes]
        sums = self.room()
        if self.kernel.function(*self.before, *addresses, *self.after, sums):
            raise DomainError
        return self.finished(sums, self.count, arrays[0]) if values is None else values, slopes

    def _by_definition(self, arrays: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        if self.check:
            for name, x in zip(self.loss.arguments, arrays, strict=True):
                checks.domain(xp, self.loss, name, self.loss.domain(name, self.alternative), x, None, 1)
        steps = self.loss.define(xp, *arrays, **self.params)
        value = next(steps)
        kept: Any = ()
        if self.tracked:
            kept = next(steps)
            kept = kept if isinstance(kept, tuple) else (kept,)
        if value.shape != self.batch:
            value = value.expand(self.batch)
        if self.how != "none":
            value = value.sum()
            value = value / self.count if self.how == "mean" else value
        return value, kept


class _Large(_Kind):
    """Calls of a pointwise loss on many numbers: the long way, but for a sum that the kernel takes along."""

    def ready(self) -> bool:
        return table.available() and self.how != "none" and self.params.pop("ignore_index", None) is None

    def value(self, arrays: Sequence[Tensor]) -> Tensor:
        """Return the reduced value, differentiable."""
        from lossary import transforms

        denominator = self.count if self.how == "mean" and self.count != self.length else None
        how: Any = self.how
        call = transforms.prepare(self.loss, arrays, self.params, check=self.check, later=True)
        found: Tensor = transforms.reduced_value(call, how, denominator)
        return found


class _Rows(_Kind):
    """Calls of a loss on rows; there is no lean path without a kernel, for then arithmetic is the longer part."""

    def ready(self) -> bool:
        domains = {name: self.loss.domain(name, self.alternative) for name in self.loss.arguments}
        looked_at = any(d.bounded and d.kind != "index" for d in domains.values())
        if not table.available() or (self.check and looked_at):
            return False
        from lossary.kernels.cpu import lanes

        params = dict(self.params)
        self.ignored = params.pop("ignore_index", None)
        if self.weighed:
            del params["class_weight"]
        dtype = _FLOATS[self.dtype]
        weighing = "" if self.ignored is None else "ignore"
        extra = ("class_weight",) if self.weighed else ()
        kernel = lanes.find(self.loss, self.alternative, params, extra, dtype, self.wanted(), weighing)
        if kernel is None:
            return False
        given = {name: params[name] for name in kernel.uniform_names}
        self.function, self.uniforms = kernel.function, tuple(map(float, kernel.uniforms(self.width, **given)))
        names = [*self.loss.arguments, *extra]
        steps = {"row": self.width, "number": 1, "label": 1}
        self.inputs = [(names.index(a.name), 0 if a.name in extra else steps[a.kind]) for a in kernel.arguments]
        labels = [at for at, name in enumerate(self.loss.arguments) if domains[name].kind == "index"]
        self.labels = labels[0] if labels else None
        self.survey, self.weigh = lanes.survey(), lanes.weighed_survey(dtype) if self.by_weight else None
        height = lanes.height(self.width)
        tiles = -(-self.length // height)
        self.before = (0, tiles, height, self.width, self.length)
        self.room = ctypes.c_double * tiles
        self.scratch = kernel.scratch * self.width * height
        return True

    def evaluate(self, arrays: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        count = self.count
        if self.labels is not None and self.weigh is not None:
            total = ctypes.c_double()
            looked_at = (self.length, self.width, _NO_LABEL if self.ignored is None else self.ignored)
            addresses = (arrays[self.labels].data_ptr(), arrays[-1].data_ptr(), ctypes.addressof(total))
            if self.weigh(*looked_at, *addresses) or (total.value == 0 and self.how == "mean"):
                raise DomainError
            count = total.value
        elif self.labels is not None:
            ignored = -1 if self.ignored is None else self.ignored
            count = self.survey(self.length, self.width, ignored, arrays[self.labels].data_ptr())
            if count < self.length and (count < 0 or self.ignored is None or (count == 0 and self.how == "mean")):
                raise DomainError
        values, slopes = self.outputs(arrays)
        rest: list[Any] = []
        for at, step in self.inputs:
            rest += arrays[at].data_ptr(), step
        if self.ignored is not None:
            rest.append(self.ignored)
        if values is not None:
            rest.append(values.data_ptr())
        for slope in slopes:
            rest.append(slope.data_ptr())
        rest += self.uniforms
        if self.tracked:
            rest.append(1 / count if self.how == "mean" else 1.0)
        scratch = arrays[0].new_empty(self.scratch) if self.scratch else None
        sums = self.room()
        self.function(*self.before, *rest, 0 if scratch is None else scratch.data_ptr(), sums)
        return self.finished(sums, count, arrays[0]) if values is None else values, slopes


class _Small(torch.autograd.Function):
    """A small call under autograd: its gradient has been taken along."""

    @staticmethod
    def forward(ctx: Any, kind: _Kind, *tensors: Tensor) -> Tensor:
        value, ctx.kept = kind.evaluate(tensors)
        ctx.kind = kind
        ctx.save_for_backward(*tensors)
        return value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        kind, tensors = ctx.kind, ctx.saved_tensors
        if torch.is_grad_enabled():
            found = zip(kind.gradients(tensors, upstream), tensors, strict=False)
            grads = [None if grad is None else grad.reshape(x.shape) for grad, x in found]
            return None, *grads, *[None] * kind.weighed
        # Handed over, not copied: whoever gets a gradient may change it. A second time it is computed.
        kept, ctx.kept = ctx.kept or kind.evaluate(tensors)[1], ()
        if kind.how == "none":
            nothing = upstream == 0
            if kind.ignored is not None:  # the mean of nothing but ignored rows sends back infinity
                nothing = nothing | (tensors[kind.labels] == kind.ignored)
            grads = []
            for slope in kept:  # one number for each row, or one for each of its entries
                wide = upstream.shape + (1,) * (slope.ndim - upstream.ndim)
                grads.append((slope * upstream.reshape(wide)).masked_fill_(nothing.reshape(wide), 0))
        else:
            # Times 0 is 0 wherever the slope is finite; elsewhere the loss has no slope to speak of.
            by = upstream.item() * kind.factor
            grads = kept if by == 1 else [slope * by if by else torch.zeros_like(slope) for slope in kept]
        placed: list[Tensor | None] = [None] * (len(tensors) + 1)
        for at, grad in zip(kind.wrt, grads, strict=True):
            placed[at + 1] = grad
        return tuple(placed)


# `Function.apply` without its questions about `torch.func`, which `reduced` has asked.
_apply: Any = super(torch.autograd.Function, _Small).apply
