"""Fast path of tensor calls: runs what the call cache has for (loss, shapes, dtypes, parameters, gradient mode).

At a thousand elements a loss is a few microseconds of arithmetic; checking it, broadcasting, choosing dtypes and
kernels cost ten times that, and depend on shapes, dtypes and parameters alone. So the first call prepares
what later ones need: a bound kernel with its arguments in order, or else the definition itself. The forward pass
computes the gradient with the values and keeps it in the graph.

Only contiguous tensors of one float dtype (and labels) on the CPU are cached, with parameters that are numbers and
without weights. All other calls return None here and take the general path. Large calls that are reduced take the fast
path with several threads; where their tensors are strided, or the softmax kernel is the better one, they take the
general path to the reduced value, so that a kernel sums the values and computes the gradient in one pass.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch

from lossary.backends import cache
from lossary.backends.torch import namespace as xp
from lossary.backends.torch import private_api as private
from lossary.backends.torch import tensors as tensors_of
from lossary.backends.torch.autograd import Evaluation, apply_directly, evaluated, gradients, times
from lossary.catalogue import Loss
from lossary.errors import DomainError
from lossary.evaluate import checks, reduction
from lossary.evaluate.call import prepare
from lossary.evaluate.transforms import reduced_value
from lossary.kernels import registry as kernels

Tensor = torch.Tensor

# Elements up to which a call is small; above, threads share the work.
MOST = 65536
FLOATS = {torch.float32: "float32", torch.float64: "float64"}
# A freed storage begins at address 0, so the address of an element in it is its offset. Allocated memory has
# higher addresses on most systems; where it has not, the storage is checked.
_HIGH = 1 << 40

# The last call of a loss, reduction and parameters, with PyTorch's guard, one function that compares other tensors
# with its own: in type, shape, strides, and all other dispatch keys. Tensors that do not pass are looked up in the call
# cache by a key of shapes and dtypes.
_Guarded: TypeAlias = "tuple[private.Guard, CachedCall | None]"
_latest: dict[tuple[Any, ...], _Guarded] = {}
cache.clear_with(_latest)


def reduced(
    loss: Loss,
    arrays: Sequence[Tensor],
    params: Mapping[str, Any],
    reduction: str,
    denominator: float | None = None,
    check: bool = False,
    class_weight: Tensor | None = None,
    by_class_weight: bool = False,
    class_lists: bool = False,
) -> Tensor | None:
    """Return a loss under a reduction, differentiable; None to take the general path.

    A mean divides by `denominator`, or by the number of values; with `by_class_weight`, by the sum of the class weights
    of the labels. With `class_lists`, the second array lists class indices in each row, up to the first -1, and the
    loss takes the count of each class. With `check`, None also means that a value is out of domain. The mean over no
    example, which is a question of conventions, takes the general path too.
    """
    if torch.compiler.is_compiling():
        return None
    if class_weight is not None:
        arrays = (*arrays, class_weight)
    # The guard compares requires_grad, not whether gradients are being recorded at all.
    recording = torch.is_grad_enabled()
    asked = (loss, reduction, denominator, check, by_class_weight, class_lists, recording, len(arrays))
    asked += (*params, *params.values())
    cached = False
    try:
        guard, call = _latest[asked]
        for x in arrays:
            if x.is_nested:  # has no strides: the guard, reading them, would crash the process
                break
        else:
            # Nor does it see forward-mode tangents, or a dispatch mode that traces operations.
            cached = guard(*arrays) and not tensors_of.forward_mode() and not torch._C._len_torch_dispatch_stack()
    except (KeyError, TypeError, AttributeError):  # a first call; a parameter that is no number, an array no tensor
        pass
    if not cached:
        call = _found(asked, arrays, params)
    if call is None:
        return None
    try:
        return call.answer(*arrays)
    except DomainError:
        return None


def _found(asked: tuple[Any, ...], arrays: Sequence[Tensor], params: Mapping[str, Any]) -> CachedCall | None:
    """Return the cached call, prepared now if there is none; None to take the general path."""
    if tensors_of.observed() or any(type(value) not in cache.NUMBERS for value in params.values()):
        return None
    if kernels.serving("cpu") != "cpu":
        return None
    loss, reduction, denominator, check, by_class_weight, class_lists, recording, *_ = asked
    key = list(asked)
    for at, x in enumerate(arrays):
        if type(x) not in tensors_of.ORDINARY_TYPES:
            return None
        if not tensors_of.ordinary(x):
            tensors_of.need_elements(x, _title(loss, at))
            return None
        key += x.shape, x.dtype, x.is_contiguous(), recording and x.requires_grad
    kept = tuple(key)
    guard: private.Guard | None = None
    try:
        guard, call = cache.entry(kept)
    except KeyError:
        call = _cached_call(loss, arrays, params, reduction, denominator, check, by_class_weight, class_lists)
    if guard is None or not guard(*arrays):
        guard = private.guard(arrays)
        cache.keep(kept, (guard, call))
    _latest[asked] = guard, call
    return call


def _title(loss: Loss, at: int) -> str:
    return f"{loss.name}: {loss.arguments[at] if at < len(loss.arguments) else 'class_weight'}"


def _cached_call(
    loss: Loss,
    arrays: Sequence[Tensor],
    params: Mapping[str, Any],
    reduction: Any,
    denominator: float | None,
    check: bool,
    by_class_weight: bool,
    class_lists: bool,
) -> CachedCall | None:
    arrays, class_weight = arrays[: len(loss.arguments)], arrays[len(loss.arguments) :]
    recording = torch.is_grad_enabled()
    tracked = [name for name, x in zip(loss.arguments, arrays, strict=False) if recording and x.requires_grad]
    counted = arrays
    if class_lists:
        scores, lists = arrays
        if lists.dtype != torch.int64 or lists.shape != scores.shape:
            return None
        counted = (scores, scores)  # the count of each listed class is a number for each score
    dense = cache.dense(loss, counted, params, FLOATS, torch.int64)
    if dense is None or any(name not in loss.wrt for name in tracked):
        return None
    like, rank = dense.like, loss.signatures[dense.alternative].rank
    size = like.numel()
    if size > MOST and (reduction == "none" or not MOST):
        return None
    for x in class_weight:
        if not rank or x.shape != like.shape[-1:] or x.dtype != like.dtype or (recording and x.requires_grad):
            return None
    contiguous = all(x.is_contiguous() for x in (*arrays, *class_weight))
    if not contiguous and size <= MOST:
        return None
    # Many long rows of the softmax family have a better kernel, which the general path uses.
    long = rank and like.shape[-1] > kernels.SIDE_BY_SIDE
    better = size > MOST and long and kernels.by_hand(loss)[0]
    variants: list[type[CachedCall]] = [BoundCall] if contiguous and not better else []
    if not class_lists:
        variants += [GeneralCall] if size > MOST else [DefinedCall]
    for variant in variants:
        call = variant(dense, reduction, denominator, bool(tracked))
        call.shapes = [tuple(x.shape) for x in arrays]
        call.check, call.by_class_weight = check, by_class_weight
        call.weighted, call.class_lists = bool(class_weight), class_lists
        call.others += (None,) * call.weighted
        if call.ready():
            return call
    return None


class CachedCall(Evaluation):
    """The prepared state of calls that share a key; the backward pass multiplies the kept derivatives by a factor."""

    shapes: Sequence[tuple[int, ...]]  # of the arrays
    check = False
    factor = 1.0
    ignored: int | None = None  # the label that is ignored
    weighted = False  # whether the last array is one of class weights
    by_class_weight = False  # whether a mean divides by those of the labels
    class_lists = False  # whether the second array lists class indices

    def __init__(self, dense: cache.Dense, reduction: Any, denominator: float | None, tracked: bool) -> None:
        loss = self.loss = dense.loss
        self.dense, self.alternative, self.params = dense, dense.alternative, dense.params
        self.reduction, self.tracked = reduction, tracked
        self.wrt = tuple(loss.arguments.index(name) for name in loss.wrt)
        self.dtype, self.batch = dense.like.dtype, torch.Size(dense.batch)
        self.length, self.width = math.prod(dense.batch), dense.width
        self.denominator = self.length if denominator is None else denominator
        labels = [at for at, name in enumerate(loss.arguments) if loss.domain(name, self.alternative).kind == "index"]
        self.labels = labels[0] if labels else -1  # which array holds labels
        self.leading = self.wrt == tuple(range(len(self.wrt)))  # whether the differentiated arrays come first
        self.others: tuple[None, ...] = (None,) * (len(loss.arguments) - len(self.wrt))  # have no gradient
        # Computes a call, under autograd if gradients are recorded.
        self.answer: Callable[..., Tensor] = partial(apply_directly, self) if tracked else self.untracked

    def ready(self) -> bool:
        """Prepare for calls; False if this variant of the fast path does not take them."""
        raise NotImplementedError

    def untracked(self, *arrays: Tensor) -> Tensor:
        """Return the value alone."""
        return self.forward(arrays)[0]

    def reused(self, kept: Any, upstream: Tensor) -> Sequence[Tensor | None] | None:
        """Return the gradient of a reduced value: the kept derivatives times a number that is mostly 1."""
        if self.reduction == "none":
            return None
        try:
            by = upstream.item() * self.factor
        except RuntimeError:  # several upstream gradients, as in a batched backward pass for a Jacobian
            return None
        return self.placed(times(kept, by))

    def gradient(self, tensors: Sequence[Tensor], kept: Any, upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor."""
        kept = kept or self.forward(tensors)[1]
        if self.reduction == "none":
            return self.placed(self.times(kept, upstream, tensors))
        return self.reused(kept, upstream) or self.differentiable(tensors, upstream)

    def placed(self, grads: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """Return one gradient for every array: those of `wrt` at their positions, None elsewhere."""
        if self.leading:
            return *grads, *self.others
        placed: list[Tensor | None] = [None] * (len(grads) + len(self.others))
        for at, grad in zip(self.wrt, grads, strict=True):
            placed[at] = grad
        return placed

    def times(self, derivatives: Sequence[Tensor], upstream: Tensor, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Derivatives times the upstream gradient of each value, exactly 0 where that is 0."""
        nothing = upstream == 0
        if self.ignored is not None:
            # The mean over ignored rows alone has an infinite upstream gradient.
            nothing = nothing | (tensors[self.labels] == self.ignored)
        found = []
        for derivative in derivatives:  # one number for each row, or one for each of its entries
            wide = upstream.shape + (1,) * (derivative.ndim - upstream.ndim)
            found.append((derivative * upstream.reshape(wide)).masked_fill_(nothing.reshape(wide), 0))
        return found

    def differentiable(self, tensors: Sequence[Tensor], upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of every tensor, in operations that can be differentiated again."""
        params = {**self.params, "class_weight": tensors[-1]} if self.weighted else self.params
        arrays = tensors[: len(self.loss.arguments)]
        if self.class_lists:
            arrays = (arrays[0], class_counts(arrays[1], arrays[0].dtype))
        call = prepare(self.loss, arrays, params, check=False)
        spread = upstream
        if self.reduction == "mean":
            count: Any = self.denominator if call.weights is None else call.weights.sum()
            if self.by_class_weight:
                of_labels = tensors[-1][tensors[self.labels].clamp(0, self.width - 1)]
                count = (of_labels if call.weights is None else of_labels * call.weights).sum()
            spread = upstream / count
        found = gradients(call, reduction.weigh(xp, spread.expand(self.batch), call.weights))
        grads = (None if grad is None else grad.reshape(x.shape) for grad, x in zip(found, tensors, strict=False))
        return *grads, *[None] * self.weighted


class BoundCall(CachedCall):
    """Calls that a bound kernel computes."""

    def ready(self) -> bool:
        """Bind a kernel; False if there is none."""
        kernel = kernels.find(self.loss)
        if kernel is None:
            return False
        from lossary.kernels.cpu.class_lists import BoundClassLists
        from lossary.kernels.cpu.runtime import memory

        dtype = FLOATS[self.dtype]
        denominator = None if self.denominator == self.length else self.denominator
        orders = (1,) if self.tracked else ()
        bound = kernel.bind(self.dense.calls(dtype, self.reduction, orders, self.check, denominator, self.weighted))
        if bound is None:
            return False
        if self.class_lists:
            bound = BoundClassLists(bound, 1, (self.length, self.width), dtype)
        self.compute, self.inputs, self.memory = bound.compute, bound.inputs, memory
        self.in_order = bound.inputs == tuple(range(len(self.loss.arguments) + self.weighted))
        self.ignored = self.params.get("ignore_index")
        self.large = self.length * self.width > MOST
        self.divides, self.each = self.reduction == "mean", self.reduction == "none"
        shapes = [tuple(self.batch)] if self.each else []
        shapes += [self.shapes[at] for at in self.wrt] if self.tracked else []
        self.outputs = [(shape, torch.empty(shape, device="meta").stride(), self.dtype) for shape in shapes]
        return True

    def forward(self, arrays: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the kernel's value, and its derivatives if they are tracked."""
        inputs = arrays if self.in_order else [arrays[at] for at in self.inputs]
        addresses = [x.data_ptr() for x in inputs]
        if min(addresses) < _HIGH:
            _refuse_freed(self.loss, arrays)
        empty = self._pooled if self.large else private.empty
        outputs = []
        for shape in self.outputs:
            made = empty(*shape)
            outputs.append(made)
            addresses.append(made.data_ptr())
        count = None
        if self.by_class_weight:
            count = _weight_of(arrays[self.labels], arrays[-1], self.ignored, self.reduction)
        total, count = self.compute(addresses, count, torch.get_num_threads() if self.large else 1)
        if self.each:
            return outputs[0], outputs[1:]
        return private.number(total / count if self.divides else total, self.dtype), outputs

    def _pooled(self, shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return memory reused from an earlier result, which causes fewer page faults."""
        return torch.from_numpy(self.memory.empty(shape, FLOATS[dtype]))


class DefinedCall(CachedCall):
    """Small calls of a pointwise loss without a kernel; on rows, arithmetic dominates and a fast path saves nothing."""

    def ready(self) -> bool:
        """Take the call if the definition alone says what its value is: a label may not be ignored."""
        self.factor = 1 / self.denominator if self.reduction == "mean" else 1.0
        ignored = self.params.pop("ignore_index", None)  # a pointwise loss has no labels to ignore
        return ignored is None and not self.loss.signatures[self.alternative].rank

    def forward(self, arrays: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the definition's value, and its derivatives if they are tracked."""
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
        if self.reduction != "none":
            value = value.sum()
            value = value / self.denominator if self.reduction == "mean" else value
        else:
            value = xp.own(value, arrays)
        return value, kept


def _refuse_freed(loss: Loss, arrays: Sequence[Tensor]) -> None:
    """Reject tensors without memory, which a guard does not recognise: reading them would crash the process."""
    for at, x in enumerate(arrays):
        if tensors_of.freed(x):
            tensors_of.need_elements(x, _title(loss, at))


def class_counts(labels: Tensor, dtype: torch.dtype) -> Tensor:
    """Return how often each class is listed in rows of class indices that end at the first below 0."""

    def counts(rows: Tensor) -> Tensor:
        present = (rows < 0).cumsum(-1) == 0
        nothing = torch.zeros(rows.shape, dtype=dtype, device=rows.device)
        return nothing.scatter_add(-1, torch.where(present, rows, 0), present.to(dtype))

    return counts(labels) if labels.ndim < 2 else xp.map_rows(counts, (labels,), labels.shape[-1])


def _weight_of(labels: Tensor, class_weight: Tensor, ignored: int | None, how: str) -> float:
    """Return the sum of the weights of labels; a DomainError if one is out of bounds, or a mean is over no example."""
    from lossary.kernels.cpu import labels as passes

    total = ctypes.c_double()
    looked_at = (labels.numel(), class_weight.numel(), passes.NO_LABEL if ignored is None else ignored)
    addresses = (labels.data_ptr(), class_weight.data_ptr(), ctypes.addressof(total))
    wrong = passes.kept_weight(FLOATS[class_weight.dtype])(*looked_at, *addresses)
    if wrong or (total.value == 0 and how == "mean"):
        raise DomainError
    return total.value


class GeneralCall(CachedCall):
    """Large calls without a bound kernel: the general path, to the reduced value."""

    def ready(self) -> bool:
        """Take the call if a kernel may compute it, and a label that is ignored is known."""
        self.ignored = self.params.pop("ignore_index", None)
        self.answer = self.untracked
        return kernels.available() and self.reduction != "none" and (self.ignored is None or self.labels >= 0)

    def untracked(self, *arrays: Tensor) -> Tensor:
        """Return the reduced value, differentiable."""
        _refuse_freed(self.loss, arrays)
        params = dict(self.params)
        if self.weighted:
            params["class_weight"] = arrays[-1]
            arrays = arrays[:-1]
        denominator: Any = self.denominator if self.denominator != self.length else None
        if self.labels >= 0:
            labels = arrays[self.labels].contiguous()
            if self._kept(labels) < self.length:
                params["ignore_index"] = self.ignored
            if self.by_class_weight:
                denominator = _weight_of(labels, params["class_weight"].contiguous(), self.ignored, self.reduction)
        call = prepare(self.loss, arrays, params, check=self.check, defer_checks=True)
        how: Any = self.reduction
        found: Tensor = reduced_value(call, how, denominator if how == "mean" else None)
        return found

    def _kept(self, labels: Tensor) -> int:
        """The number of kept labels; a DomainError if one is out of bounds, or a mean is over no example."""
        from lossary.kernels.cpu import labels as passes

        ignored = passes.NO_LABEL if self.ignored is None else self.ignored
        kept = passes.kept_labels()(labels.numel(), self.width, ignored, labels.data_ptr())
        if kept < 0 or (kept == 0 and self.reduction == "mean"):
            raise DomainError
        return kept


# --- calls of hand-written kernels ------------------------------------------------------------------------------------


def possible() -> bool:
    """Whether kernels may compute a call: they can be compiled, and nothing traces or transforms operations."""
    return kernels.compiles() and not torch.compiler.is_compiling() and not tensors_of.observed()


def ordinary(*tensors: Any) -> bool:
    """Whether arguments are ordinary tensors in the memory of the CPU."""
    return all(map(tensors_of.ordinary, tensors))


def few(x: Tensor) -> bool:
    """Whether a tensor holds numbers of a kernel's type, and not so many that threads share the work."""
    return x.dtype in FLOATS and 0 < x.numel() <= MOST


class HandWrittenCall(Evaluation):
    """A small call of a hand-written kernel without its tensors, the first of which are differentiated."""

    reduction: str
    leaves = 1  # tensors that are differentiated
    others = 3  # tensors that are not

    def evaluate(
        self, tensors: Sequence[Tensor], gradient: bool, factors: Tensor | None = None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the reduced value, and its gradients if requested, or those of the sum of values times other factors.

        Raises `DomainError` to request the general path.
        """
        raise NotImplementedError

    def general(self, *tensors: Tensor) -> Tensor:
        """Return the value by the general path, which has derivatives of every order."""
        raise NotImplementedError

    def forward(self, tensors: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the value, and the gradients where the gradient of the value will be one number."""
        return self.evaluate(tensors, self.reduction != "none")

    def value(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the value alone."""
        return self.evaluate(tensors, False)[0]

    def reused(self, kept: Any, upstream: Tensor) -> Sequence[Tensor | None] | None:
        """Return the gradient of a reduced value: the kept derivatives times a number that is mostly 1."""
        try:
            by = upstream.item()
        except RuntimeError:  # several upstream gradients, as in a batched backward pass for a Jacobian
            return None
        return *times(kept, by), *self.nothing

    def gradient(self, tensors: Sequence[Tensor], kept: Any, upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor."""
        if self.reduction == "none":
            factors = torch.empty_like(upstream, memory_format=torch.contiguous_format).copy_(upstream)
            return *self.evaluate(tensors, True, factors)[1], *self.nothing
        grads = kept or self.evaluate(tensors, True)[1]
        found = self.reused(grads, upstream)
        return found or (*(torch.where(upstream == 0, 0, grad * upstream) for grad in grads), *self.nothing)

    @property
    def nothing(self) -> tuple[None, ...]:
        """The gradients of tensors that have none."""
        return (None,) * self.others

    def differentiable(self, tensors: Sequence[Tensor], upstream: Tensor) -> Sequence[Tensor | None]:
        """Return the gradient of every tensor, in operations that can be differentiated again."""
        value = self.general(*tensors)
        leaves = tensors[: self.leaves]
        found = iter(torch.autograd.grad(value, [x for x in leaves if x.requires_grad], upstream, create_graph=True))
        return *(next(found) if x.requires_grad else None for x in leaves), *self.nothing


def answer(call: HandWrittenCall, *tensors: Tensor) -> Tensor | None:
    """Return the value of a call, differentiable; None if no kernel takes its numbers."""
    differentiated = torch.is_grad_enabled() and any(x.requires_grad for x in tensors[: call.leaves])
    return evaluated(call, tensors, differentiated)
