"""Small calls from PyTorch: what was found out about a kind of call is remembered, and the next of its kind computes.

At a thousand elements a loss is a few microseconds of arithmetic; checking it, broadcasting, choosing types and kernels
cost ten times that. All of this depends on shapes, types and parameters alone. So the first call of a kind goes the
long way, and what comes of it is a `_Kind`: a kernel with its arguments in order, or else the definition itself. The
gradient is taken along with the values and waits in the graph.

Only plain calls are of a kind: dense tensors of one float type (and labels) on the CPU, nothing repeated, parameters
that are numbers, no weights. All others return None here and go the long way every time.

Large calls that are reduced go the same way, with several threads. Where tensors do not lie as one block, or another
kernel is the better one, they go the long way, but to the reduced value: a kernel then adds the values up and takes the
gradient along, where values that are reduced afterwards would have to be kept, and gone through again on the way back.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch

from lossary.backends.numpy.fast import NUMBERS, form
from lossary.backends.torch import namespace as xp
from lossary.backends.torch import private_api as inner
from lossary.backends.torch import tensors as kinds
from lossary.backends.torch.autograd import Evaluation, apply_directly, gradients, times
from lossary.catalogue import Loss
from lossary.errors import DomainError
from lossary.evaluate import checks, reduction
from lossary.evaluate.call import prepare
from lossary.evaluate.transforms import reduced_value
from lossary.kernels import table

Tensor = torch.Tensor

# Elements up to which a call is small; above, threads share the work.
MOST = 65536
FLOATS = {torch.float32: "float32", torch.float64: "float64"}
# A freed storage begins at address 0, so an element in it seems to lie at its offset. Memory that is there lies higher
# on most systems; where it does not, the storage is asked.
_HIGH = 1 << 40
_KEPT = 4096  # kinds remembered; a program that meets more (every batch of another length) starts over

# What was found out, and PyTorch's guard, which says in one question of tensors whether all that a kind depends on (and
# all that stands between a tensor and its memory) is as it was.
_Known: TypeAlias = "tuple[inner.Guard, _Kind | None]"
_kinds: dict[tuple[Any, ...], _Known] = {}  # by all of it
_latest: dict[tuple[Any, ...], _Known] = {}  # what was met last, by all but the tensors


def reduced(
    loss: Loss,
    arrays: Sequence[Tensor],
    params: Mapping[str, Any],
    how: str,
    count: float | None = None,
    check: bool = False,
    class_weight: Tensor | None = None,
    by_weight: bool = False,
    listed: bool = False,
) -> Tensor | None:
    """Return a loss under a reduction, differentiable; None if the call is not a small and plain one.

    A mean divides by `count`, or by the number of values; with `by_weight`, by the sum of the class weights of the
    labels. With `listed`, the second array lists in each row the classes meant, up to the first -1, and the loss takes
    how often each is. With `check`, None also means that a value lies outside its domain. The mean of nothing, which
    is a question of conventions, is not for here either.
    """
    if torch.compiler.is_compiling():
        return None
    if class_weight is not None:
        arrays = (*arrays, class_weight)
    # The guard compares what a tensor asks for, not whether gradients are being recorded at all.
    recording = torch.is_grad_enabled()
    asked = (loss, how, count, check, by_weight, listed, recording, len(arrays), *params, *params.values())
    known = False
    try:
        guard, kind = _latest[asked]
        for x in arrays:
            if x.is_nested:  # has no strides: asked for them, the guard would end the process
                break
        else:
            # Nor does it see a tangent carried forward, or a mode that follows operations in a graph.
            known = guard(*arrays) and not kinds.forward_mode() and not torch._C._len_torch_dispatch_stack()
    except (KeyError, TypeError, AttributeError):  # not met before; a parameter that is no number, an array no tensor
        pass
    if not known:
        kind = _found(asked, arrays, params)
    if kind is None:
        return None
    try:
        return kind.answer(*arrays)
    except DomainError:
        return None


def _found(asked: tuple[Any, ...], arrays: Sequence[Tensor], params: Mapping[str, Any]) -> _Kind | None:
    """Return the kind of a call, and remember it; None if it is of none."""
    if kinds.observed() or any(type(value) not in NUMBERS for value in params.values()):
        return None
    loss, how, count, check, by_weight, listed, *_ = asked
    watched = torch.is_grad_enabled()
    key = list(asked)
    for at, x in enumerate(arrays):
        if type(x) not in kinds.ORDINARY_TYPES:
            return None
        if not kinds.ordinary(x):
            kinds.need_elements(x, _title(loss, at))
            return None
        key += x.shape, x.dtype, x.is_contiguous(), watched and x.requires_grad
    kept = tuple(key)
    guard, kind = _kinds.get(kept, (None, None))
    if guard is None:
        if len(_kinds) >= _KEPT:
            _kinds.clear()
            _latest.clear()
        kind = _kind(loss, arrays, params, how, count, check, by_weight, listed)
    if guard is None or not guard(*arrays):
        guard = inner.guard(arrays)
    _kinds[kept] = _latest[asked] = guard, kind
    return kind


def _title(loss: Loss, at: int) -> str:
    return f"{loss.name}: {loss.arguments[at] if at < len(loss.arguments) else 'class_weight'}"


def _kind(
    loss: Loss,
    arrays: Sequence[Tensor],
    params: Mapping[str, Any],
    how: str,
    count: float | None,
    check: bool,
    by_weight: bool,
    listed: bool,
) -> _Kind | None:
    arrays, class_weight = arrays[: len(loss.arguments)], arrays[len(loss.arguments) :]
    watched = torch.is_grad_enabled()
    tracked = [name for name, x in zip(loss.arguments, arrays, strict=False) if watched and x.requires_grad]
    counted = arrays
    if listed:
        scores, lists = arrays
        if lists.dtype != torch.int64 or lists.shape != scores.shape:
            return None
        counted = (scores, scores)  # for how often a class is listed is a number for each score
    found = form(loss, counted, params, FLOATS, torch.int64)
    if found is None or any(name not in loss.wrt for name in tracked):
        return None
    held, alternative, batch, like = found
    signature, dtype, size = loss.signatures[alternative], like.dtype, like.numel()
    if size > MOST and (how == "none" or not MOST):
        return None
    for x in class_weight:
        if not signature.rank or x.shape != like.shape[-1:] or x.dtype != dtype or (watched and x.requires_grad):
            return None
    whole = all(x.is_contiguous() for x in (*arrays, *class_weight))
    if not whole and size <= MOST:
        return None
    # Many long rows of the softmax family have a better kernel, which the long way knows.
    long = signature.rank and like.shape[-1] > table.SIDE_BY_SIDE
    better = size > MOST and long and table.by_hand(loss)[0]
    ways: list[type[_Kind]] = [_Planned] if whole and not better else []
    if not listed:
        ways += [_Large] if size > MOST else [_Defined]
    for way in ways:
        kind = way(loss, alternative, batch, held, like, how, count, bool(tracked))
        kind.shapes = [tuple(x.shape) for x in arrays]
        kind.check, kind.by_weight, kind.weighed, kind.listed = check, by_weight, bool(class_weight), listed
        kind.others += (None,) * kind.weighed
        if kind.ready():
            return kind
    return None


class _Kind(Evaluation):
    """A kind of call: how to compute it, and by what the derivatives it returns are still to be multiplied."""

    shapes: Sequence[tuple[int, ...]]  # of the arrays
    check = False
    factor = 1.0
    ignored: int | None = None  # the label that does not count, if there is one
    weighed = False  # whether the last array is one of class weights
    by_weight = False  # whether a mean divides by those of the labels
    listed = False  # whether the second array lists classes

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
        labels = [at for at, name in enumerate(loss.arguments) if loss.domain(name, alternative).kind == "index"]
        self.labels = labels[0] if labels else -1  # which array holds labels
        self.leading = self.wrt == tuple(range(len(self.wrt)))  # what is differentiated comes first
        self.others: tuple[None, ...] = (None,) * (len(loss.arguments) - len(self.wrt))  # have no gradient
        # What answers a call, under autograd if that follows it.
        self.answer: Callable[..., Tensor] = partial(apply_directly, self) if tracked else self.untracked

    def ready(self) -> bool:
        """Prepare for calls; False if there is no lean path for them."""
        raise NotImplementedError

    def untracked(self, *arrays: Tensor) -> Tensor:
        """Return the value alone."""
        return self.forward(arrays)[0]

    def gradient(self, tensors: Sequence[Tensor], kept: Sequence[Tensor], upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor."""
        kept = kept or self.forward(tensors)[1]
        if self.how == "none":
            grads = self.times(kept, upstream, tensors)
        else:
            try:
                by = upstream.item() * self.factor
            except RuntimeError:  # several at once, as where a whole Jacobian is asked for in one backward pass
                return self.differentiable(tensors, upstream)
            grads = times(kept, by)
        if self.leading:
            return *grads, *self.others
        placed: list[Tensor | None] = [None] * (len(grads) + len(self.others))
        for at, grad in zip(self.wrt, grads, strict=True):
            placed[at] = grad
        return placed

    def times(self, slopes: Sequence[Tensor], upstream: Tensor, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Derivatives times what comes back for each value, exactly 0 where that is 0."""
        nothing = upstream == 0
        if self.ignored is not None:
            # The mean of nothing but ignored rows sends back infinity.
            nothing = nothing | (tensors[self.labels] == self.ignored)
        found = []
        for slope in slopes:  # one number for each row, or one for each of its entries
            wide = upstream.shape + (1,) * (slope.ndim - upstream.ndim)
            found.append((slope * upstream.reshape(wide)).masked_fill_(nothing.reshape(wide), 0))
        return found

    def differentiable(self, tensors: Sequence[Tensor], upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of every tensor, in operations that can be differentiated again."""
        params = {**self.params, "class_weight": tensors[-1]} if self.weighed else self.params
        arrays = tensors[: len(self.loss.arguments)]
        if self.listed:
            arrays = (arrays[0], times_listed(arrays[1], arrays[0].dtype))
        call = prepare(self.loss, arrays, params, check=False)
        spread = upstream
        if self.how == "mean":
            count: Any = self.count if call.weights is None else call.weights.sum()
            if self.by_weight:
                of_labels = tensors[-1][tensors[self.labels].clamp(0, self.width - 1)]
                count = (of_labels if call.weights is None else of_labels * call.weights).sum()
            spread = upstream / count
        found = gradients(call, reduction.weigh(xp, spread.expand(self.batch), call.weights))
        grads = (None if grad is None else grad.reshape(x.shape) for grad, x in zip(found, tensors, strict=False))
        return *grads, *[None] * self.weighed


class _Planned(_Kind):
    """Calls that a kernel computes."""

    def ready(self) -> bool:
        if not table.available():
            return False
        from lossary.kernels.cpu import bound
        from lossary.kernels.cpu.runtime import memory

        call = (self.loss, self.alternative, self.params, tuple(self.batch), self.width, FLOATS[self.dtype])
        how: Any = self.how
        count = None if self.count == self.length else self.count
        plan = bound.bind(*call, how, int(self.tracked), self.check, count, self.weighed)
        if plan is None:
            return False
        if self.listed:
            plan = bound.BoundClassLists(plan, 1, (self.length, self.width), FLOATS[self.dtype])
        self.compute, self.inputs, self.memory = plan.compute, plan.inputs, memory
        self.in_order = plan.inputs == tuple(range(len(self.loss.arguments) + self.weighed))
        self.ignored = self.params.get("ignore_index")
        self.many = self.length * self.width > MOST
        self.divides, self.each = self.how == "mean", self.how == "none"
        shapes = [tuple(self.batch)] if self.each else []
        shapes += [self.shapes[at] for at in self.wrt] if self.tracked else []
        self.results = [(shape, torch.empty(shape, device="meta").stride(), self.dtype) for shape in shapes]
        return True

    def forward(self, arrays: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        given = arrays if self.in_order else [arrays[at] for at in self.inputs]
        addresses = [x.data_ptr() for x in given]
        if min(addresses) < _HIGH:
            _refuse_freed(self.loss, arrays)
        empty = self._pooled if self.many else inner.empty
        room = []
        for shape in self.results:
            made = empty(*shape)
            room.append(made)
            addresses.append(made.data_ptr())
        count = _weight_of(arrays[self.labels], arrays[-1], self.ignored, self.how) if self.by_weight else None
        total, count = self.compute(addresses, count, torch.get_num_threads() if self.many else 1)
        if self.each:
            return room[0], room[1:]
        return inner.number(total / count if self.divides else total, self.dtype), room

    def _pooled(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Room where an earlier result was, which faults less often."""
        return torch.from_numpy(self.memory.empty(shape, FLOATS[dtype]))


class _Defined(_Kind):
    """Small calls of a pointwise loss without a kernel; on rows arithmetic is the longer part then."""

    def ready(self) -> bool:
        self.factor = 1 / self.count if self.how == "mean" else 1.0
        ignored = self.params.pop("ignore_index", None)  # said of labels, of which there are none
        return ignored is None and not self.loss.signatures[self.alternative].rank

    def forward(self, arrays: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        _refuse_freed(self.loss, arrays)
        if self.check:
            for name, x in zip(self.loss.arguments, arrays, strict=True):
                checks.domain(xp, self.loss, name, self.loss.domain(name, self.alternative), x, None, 1)
        steps = self.loss.define(xp, *arrays, **self.params)
        value = next(steps)
        kept: Any = ()
        if self.tracked:
            derivatives = next(steps)
            for derivative in derivatives if isinstance(derivatives, tuple) else (derivatives,):
                kept = (*kept, xp.own(derivative, (*arrays, *kept)))
        if value.shape != self.batch:
            value = value.expand(self.batch)
        if self.how != "none":
            value = value.sum()
            value = value / self.count if self.how == "mean" else value
        else:
            value = xp.own(value, arrays)
        return value, kept


def _refuse_freed(loss: Loss, arrays: Sequence[Tensor]) -> None:
    """Refuse tensors without memory, which a guard does not tell from others: reading them would end the process."""
    for at, x in enumerate(arrays):
        if kinds.freed(x):
            kinds.need_elements(x, _title(loss, at))


def times_listed(labels: Tensor, dtype: torch.dtype) -> Tensor:
    """Return how often each class is listed in rows of class indices that end at the first below 0."""
    present = (labels < 0).cumsum(-1) == 0
    nothing = torch.zeros(labels.shape, dtype=dtype, device=labels.device)
    return nothing.scatter_add(-1, torch.where(present, labels, 0), present.to(dtype))


def _weight_of(labels: Tensor, class_weight: Tensor, ignored: int | None, how: str) -> float:
    """Return the sum of the weights of labels; a DomainError if one names no class, or a mean is one of nothing."""
    from lossary.kernels.cpu import labels as passes

    total = ctypes.c_double()
    looked_at = (labels.numel(), class_weight.numel(), passes.NO_LABEL if ignored is None else ignored)
    addresses = (labels.data_ptr(), class_weight.data_ptr(), ctypes.addressof(total))
    wrong = passes.kept_weight(FLOATS[class_weight.dtype])(*looked_at, *addresses)
    if wrong or (total.value == 0 and how == "mean"):
        raise DomainError
    return total.value


class _Large(_Kind):
    """Calls on many numbers or rows that have no plan: the long way, but for a sum that the kernel takes along."""

    def ready(self) -> bool:
        self.ignored = self.params.pop("ignore_index", None)
        self.answer = self.untracked
        return table.available() and self.how != "none" and (self.ignored is None or self.labels >= 0)

    def untracked(self, *arrays: Tensor) -> Tensor:
        """Return the reduced value, differentiable."""
        _refuse_freed(self.loss, arrays)
        params = dict(self.params)
        if self.weighed:
            params["class_weight"] = arrays[-1]
            arrays = arrays[:-1]
        denominator: Any = self.count if self.count != self.length else None
        if self.labels >= 0:
            labels = arrays[self.labels].contiguous()
            if self._kept(labels) < self.length:
                params["ignore_index"] = self.ignored
            if self.by_weight:
                denominator = _weight_of(labels, params["class_weight"].contiguous(), self.ignored, self.how)
        call = prepare(self.loss, arrays, params, check=self.check, defer_checks=True)
        how: Any = self.how
        found: Tensor = reduced_value(call, how, denominator if how == "mean" else None)
        return found

    def _kept(self, labels: Tensor) -> int:
        """How many labels count; a DomainError if one names no class, or a mean is one of nothing."""
        from lossary.kernels.cpu import labels as passes

        ignored = passes.NO_LABEL if self.ignored is None else self.ignored
        kept = passes.kept_labels()(labels.numel(), self.width, ignored, labels.data_ptr())
        if kept < 0 or (kept == 0 and self.how == "mean"):
            raise DomainError
        return kept
