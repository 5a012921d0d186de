"""The namespace `xp` on PyTorch, and the hand-written gradient under its autograd.

Ordinary tensor operations throughout, so the same lines run on the CPU, on CUDA and on MPS, under `vmap` and under
`torch.compile`; nothing here reads a value back from the device.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import (  # noqa: F401  (the namespace's own names, re-exported as they are)
    broadcast_to,
    cos,
    digamma,
    exp,
    expm1,
    isfinite,
    isnan,
    lgamma,
    log,
    log1p,
    ones_like,
    sin,
    sqrt,
    tanh,
    where,
    zeros_like,
)

from lossary import settings
from lossary.errors import ArgumentError, TensorKindError
from lossary.misuse import callsites as lookout

if TYPE_CHECKING:
    from lossary.catalogue import Loss
    from lossary.catalogue.domains import Signature
    from lossary.evaluate.transforms import Call

Tensor = torch.Tensor

inf, pi = math.inf, math.pi
abs = torch.abs


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; NaN for NaN, of which torch by itself makes 0."""
    return where(x != x, x, torch.sign(x))


def _tensor(x: Any, like: Tensor) -> Tensor:
    return x if isinstance(x, Tensor) else torch.full((), x, dtype=like.dtype, device=like.device)


def maximum(x: Any, y: Any) -> Tensor:
    """Elementwise larger of two, either of which may be a number."""
    tensor = x if isinstance(x, Tensor) else y
    return torch.maximum(_tensor(x, tensor), _tensor(y, tensor))


def minimum(x: Any, y: Any) -> Tensor:
    """Elementwise smaller of two, either of which may be a number."""
    tensor = x if isinstance(x, Tensor) else y
    return torch.minimum(_tensor(x, tensor), _tensor(y, tensor))


def sum(x: Tensor, axis: int = -1) -> Tensor:
    """Sum along one axis, keeping it."""
    return torch.sum(x, dim=axis, keepdim=True)


def max(x: Tensor, axis: int = -1) -> Tensor:
    """Largest entry along one axis, keeping it; the largest of nothing is -inf."""
    if x.shape[axis] == 0:
        return x.new_full([1 if d == axis % x.ndim else n for d, n in enumerate(x.shape)], -inf)
    return torch.amax(x, dim=axis, keepdim=True)


def min(x: Tensor, axis: int = -1) -> Tensor:
    """Smallest entry along one axis, keeping it."""
    return -max(-x, axis)


def argmax(x: Tensor) -> Tensor:
    """Index of the first largest entry of each row, keeping the axis."""
    return torch.argmax(x, dim=-1, keepdim=True)


def take(x: Tensor, index: Tensor) -> Tensor:
    """Entries of each row at the given indices."""
    return torch.gather(x, -1, index)


def one_hot(index: Tensor, like: Tensor) -> Tensor:
    """Rows as long as those of `like`, in its type, with a one at `index` and zeros elsewhere."""
    return (index == torch.arange(like.shape[-1], device=like.device)).to(like.dtype)


def arange(n: int, like: Tensor) -> Tensor:
    """The numbers 0, ..., n-1 as indices, where `like` is."""
    return torch.arange(n, device=like.device)


def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Matrix product in the type of its factors: autocast, which narrows it, is for networks and not for losses."""
    if torch.amp.is_autocast_available(x.device.type) and torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):
            return torch.matmul(x, y)
    return torch.matmul(x, y)


def transpose(x: Tensor) -> Tensor:
    """Swap the last two axes."""
    return x.transpose(-1, -2)


def concat(parts: Sequence[Tensor], axis: int = -1) -> Tensor:
    """Tensors one after another along an axis."""
    return torch.cat(list(parts), dim=axis)


def is_index(x: Tensor) -> bool:
    """Whether a tensor holds class indices, as opposed to numbers."""
    return not x.is_floating_point() and x.dtype != torch.bool


def astype(x: Tensor, like: Tensor) -> Tensor:
    """Convert to the type of `like`; booleans become 0 and 1."""
    return x.to(like.dtype)


def trigamma(x: Tensor) -> Tensor:
    """Second derivative of `lgamma`."""
    return torch.polygamma(1, x)


def stack_rows(rows: Sequence[Tensor]) -> Tensor:
    """Rows one under the other."""
    return torch.stack(list(rows))


def join_rows(parts: Sequence[Tensor]) -> Tensor:
    """Parts of a table one under the other."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def may_loop(call: Call) -> bool:
    """Whether a batch may be computed a part at a time: on the CPU, and where nobody traces."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return bool(call.given[0].device.type == "cpu")


def whole(n: int, like: Any) -> Tensor:
    """A whole number as an index, where `like` is."""
    return torch.full((), n, dtype=torch.int64, device=like.device if isinstance(like, Tensor) else None)


# --- from the caller's arguments to tensors, and back ----------------------------------------------------------------


def asarray(x: Any, name: str, like: Any = None, dtype: Any = None) -> Tensor:
    """Convert a caller's argument to a tensor of numbers, on the device of `like`.

    A Python number takes the type `dtype`, or that of `like`, so that it is rounded once and widens nothing.
    """
    if isinstance(x, Tensor):
        need_elements(x, name)
        tensor = x
        if isinstance(like, Tensor) and x.device != like.device and x.ndim and like.ndim:
            raise ArgumentError(
                f"{name}: is on {x.device}, but the arrays before it on {like.device}; move one of them"
            )
    else:
        from lossary.backends.numpy import namespace as numpy

        device = like.device if isinstance(like, Tensor) else None
        if isinstance(x, (bool, int, float)):
            if dtype is None and isinstance(like, Tensor) and like.is_floating_point():
                dtype = like.dtype
            tensor = torch.full((), x, device=device, dtype=dtype)
        else:
            tensor = torch.as_tensor(numpy.asarray(x, name), device=device)
    if tensor.is_complex():
        raise ArgumentError(f"{name}: complex numbers have no order, so no loss; pass real and imaginary parts")
    return tensor


def compute_dtype(arrays: Sequence[Tensor]) -> torch.dtype:
    """The type to compute in: the widest float given, never narrower than float32; the default for integers."""
    found: torch.dtype | None = None
    for array in arrays:
        if array.is_floating_point():
            own = torch.float32 if array.dtype.itemsize < 4 else array.dtype
            found = own if found is None else torch.promote_types(found, own)
    return torch.get_default_dtype() if found is None else found


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert to a type, without a copy where none is needed."""
    return x.to(dtype)


def narrow(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether a tensor is in half precision and is to be computed in float32."""
    return x.dtype in _HALVES and dtype == torch.float32


def in_memory(arrays: Sequence[Tensor]) -> bool:
    """Whether tensors are memory that a kernel may read."""
    return not torch.compiler.is_compiling() and not observed() and all(map(ordinary, arrays))


def read_narrow(loss: Loss, signature: Signature, arrays: Sequence[Tensor]) -> tuple[str, ...]:
    """Return which arrays of a call its kernel reads in half precision, as they are stored."""
    if not in_memory(arrays):
        return ()
    from lossary.kernels import table

    return table.narrow(loss, signature)


def as_index(x: Tensor) -> Tensor:
    """Convert class labels to indices; one beyond them, of an unsigned type, becomes negative."""
    return x.long()


def equals(x: Tensor, number: Any) -> Tensor:
    """Where whole numbers equal another one; torch by itself rounds that to the tensor's type, so that -100 is 156."""
    if isinstance(number, Tensor) or x.is_floating_point():
        return x == number
    wide = x.long()
    if x.dtype == torch.bool:
        return wide == number
    held = torch.iinfo(x.dtype)
    if not held.min <= number <= held.max:
        return torch.zeros_like(wide, dtype=torch.bool)
    return wide == (number if number <= torch.iinfo(torch.int64).max else number - 2**64)


def gradient_dtype(x: Tensor, computed: torch.dtype) -> torch.dtype:
    """The type of the gradient with respect to an argument: its own, if it can hold one."""
    return x.dtype if x.is_floating_point() else computed


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The type to sum in: torch sums float32 pairwise, and not every device has float64."""
    return dtype


def scalar(x: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor without dimensions."""
    return x.to(dtype)


def ratio(x: Any, y: Any) -> Any:
    """One number divided by another, in the type of the first: forward mode takes a Python number for float64."""
    if not isinstance(x, Tensor):
        return x / y
    return (x / y).to(x.dtype) if isinstance(y, Tensor) else x / torch.full_like(x, y)


def own(x: Tensor, given: Sequence[Tensor]) -> Tensor:
    """The tensor itself if it can be handed to the caller: dense, and sharing memory with none of the others."""
    if any(_shares_memory(x, other) for other in given):
        return x.clone(memory_format=torch.contiguous_format)
    return x.contiguous()


def _shares_memory(x: Tensor, other: Tensor) -> bool:
    if x is other:
        return True
    if not torch.compiler.is_compiling() and torch._C._has_storage(x) and torch._C._has_storage(other):
        return torch._C._is_alias_of(x, other)  # type: ignore[attr-defined]
    return x._base is not None and x._base is (other if other._base is None else other._base)


def quiet() -> Any:
    """A context for gradients that are computed by hand: autograd need not watch."""
    return torch.no_grad()


def drive(steps: Any, count: int) -> list[Any]:
    """Pull `count` quantities from a running definition."""
    return [next(steps) for _ in range(count)]


def outputs(call: Call, out: Any) -> Any:
    """Refuse arrays for gradients: autograd keeps gradients of its own."""
    raise ArgumentError(f"{call.loss.name}: out: is for NumPy arrays; on tensors gradients are made by autograd")


def readable(x: Tensor) -> Any:
    """A NumPy view to check values on, or None where looking would wait for a device or break a trace."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active() or tracing():
        return None
    if x.device.type != "cpu":
        if settings.level() != "full":
            return None
        x = x.detach().cpu()
    if type(x) in ORDINARY_TYPES and x.is_neg():
        x = x.resolve_neg()
    if not ordinary(x):
        return None  # fake tensors and other subclasses hold no values
    plain = x.detach().resolve_neg()
    return (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()


def to_numpy(x: Any) -> Any:
    """The numbers of a tensor as a NumPy array, whatever its device, layout and type; anything else as NumPy has it.

    A type that NumPy has not becomes the next wider one that it has. The tensor is neither changed nor differentiated.
    """
    if not isinstance(x, Tensor):
        from lossary.backends.numpy import namespace as numpy

        return numpy.to_numpy(x)
    try:
        plain = x.detach()
        plain = plain.dequantize() if plain.is_quantized else plain
        plain = plain if plain.layout == torch.strided else plain.to_dense()
        plain = plain.resolve_conj().resolve_neg().cpu()
        if plain.dtype == torch.complex32:
            plain = plain.to(torch.complex64)
        elif plain.is_floating_point() and plain.dtype not in (torch.float16, torch.float32, torch.float64):
            plain = plain.float()
        return plain.clone().numpy() if plain._is_zerotensor() else plain.numpy()
    except (RuntimeError, TypeError, NotImplementedError) as failure:
        told = str(failure).split(". ", 1)[0].split("\n", 1)[0]
        raise ArgumentError(
            f"got a {type(x).__name__} whose numbers cannot be read ({told}); pass an ordinary tensor or a NumPy array"
        ) from None


# --- the hand-written gradient under autograd ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Spec:
    """What an evaluation is, besides its tensors."""

    call: Call
    names: tuple[str, ...]  # of the parameters that are tensors
    wrt: tuple[int, ...]  # which tensors the definition differentiates

    def on(self, tensors: Sequence[Tensor]) -> Call:
        """Return the call on other tensors in the places of its own."""
        count = len(self.call.arrays)
        arrays, extra = tensors[:count], tensors[count:]
        return self.call.on(arrays, {**self.call.params, **dict(zip(self.names, extra, strict=True))})


def evaluate(call: Call) -> Tensor:
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
    return (_Transformed if transformed else _Autograd).apply(_Spec(call, names, wrt), *tensors)


def forward_mode() -> bool:
    """Whether tangents are being carried forward."""
    return torch.autograd.forward_ad._current_level >= 0


def tracing() -> bool:
    """Whether operations are written into a graph, by `torch.jit.trace` or `make_fx`, which must hold no values.

    A function that `torch.compile` compiles is not meant: there `torch.compiler.is_compiling` says so.
    """
    proxies = torch._C._TorchDispatchModeKey.PROXY
    return torch._C._is_tracing() or torch._C._get_dispatch_mode(proxies) is not None


def loses_derivatives() -> bool:
    """Whether PyTorch would lose, in silence, second derivatives of a `torch.autograd.Function`: they would be 0.

    It does so where tangents of tangents are carried forward, and where its compiler traces a gradient of a gradient.
    The compiler takes ordinary operations for every second derivative: it cannot trace `_GradientWithHessian`.
    """
    if not torch._C._are_functorch_transforms_active():
        return False
    tangents, gradients = _levels()
    return tangents > 1 or (tangents + gradients > 1 and torch.compiler.is_compiling())


def _levels() -> tuple[int, int]:
    """Return how many transforms of `torch.func` that carry tangents forward are active, and how many gradients."""
    kinds = [level.key() for level in torch._C._functorch.get_interpreter_stack() or ()]
    transform = torch._C._functorch.TransformType
    return kinds.count(transform.Jvp), kinds.count(transform.Grad)


# What `torch.compiler.assume_constant_result` does, which imports the compiler: the transforms are known to a trace.
_levels._dynamo_marked_constant = True  # type: ignore[attr-defined]


def observed() -> bool:
    """Whether somebody follows every operation on plain tensors, to whom a kernel would be a constant.

    That is a transform of `torch.func`, a tangent carried forward, a tracer, or a mode such as `make_fx` enters.
    """
    built_in = torch._C
    return bool(
        built_in._are_functorch_transforms_active()
        or forward_mode()
        or built_in._is_tracing()
        or built_in._len_torch_dispatch_stack()
    )


def _has_tangent(x: Tensor) -> bool:
    return torch.autograd.forward_ad.unpack_dual(x).tangent is not None


def gradients(call: Call, upstream: Tensor) -> Sequence[Tensor | None]:
    """Return the gradient of every array of a call, in operations that can be differentiated again."""
    spec = _Spec(call, (), tuple(call.loss.arguments.index(name) for name in call.loss.wrt))
    return _gradients(spec, tuple(call.arrays), upstream.reshape(upstream.shape + (1,) * call.inner))


def _gradients(spec: _Spec, tensors: Sequence[Tensor], upstream: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradient of every tensor, given that of the values, in operations that can be differentiated again."""
    call = spec.on(tensors)
    if call.loss.coupling is not None:
        _, grad = call.through_coupling(lambda derivative, some: _weighed(derivative, upstream[some]))
        return _placed(spec, tensors, (grad,))
    if torch.is_grad_enabled() or observed():  # who differentiates again
        derivatives = _derivatives(spec, tensors, _without_masked(spec.call, tensors, upstream))
    else:
        derivatives = call.pull(1)[1][0]
    return _placed(spec, tensors, tuple(_weighed(derivative, upstream) for derivative in derivatives))


def _derivatives(spec: _Spec, tensors: Sequence[Tensor], moving: Sequence[Tensor]) -> tuple[Tensor, ...]:
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
    def forward(spec: _Spec, number: int, derivative: Tensor, *tensors: Tensor) -> Tensor:
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


def _curvature(spec: _Spec, number: int, tensors: Sequence[Tensor]) -> Tensor:
    """Return the Hessian diagonal in one of the arguments."""
    return spec.on(tensors).pull(2)[1][1][number]


def _placed(spec: _Spec, tensors: Sequence[Tensor], grads: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
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
    def forward(ctx: Any, spec: _Spec, *tensors: Tensor) -> Tensor:
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
            return None, *_gradients(ctx.spec, tensors, upstream)
        nothing = upstream == 0
        grads = [(derivative * upstream).masked_fill_(nothing, 0) for derivative in kept]
        return None, *_placed(ctx.spec, tensors, grads)


class _Transformed(torch.autograd.Function):
    """The same as the transforms of `torch.func` and forward mode want it, which the compiler in turn refuses."""

    generate_vmap_rule = True

    @staticmethod
    def forward(spec: _Spec, *tensors: Tensor) -> Tensor:
        return spec.on(tensors).pull(0)[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.spec, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        return None, *_gradients(ctx.spec, ctx.saved_tensors, upstream)

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Tensor | None) -> Tensor:
        spec, tensors = ctx.spec, ctx.saved_tensors
        if spec.call.loss.coupling is not None:
            # A coupling is written down backwards only. What it does to a gradient is linear, and the transpose of
            # that is what a tangent wants.
            (at,) = spec.wrt
            ones = torch.ones_like(spec.on(tensors).pull(0)[0])
            _, transpose_of = torch.func.vjp(lambda upstream: _gradients(spec, tensors, upstream)[at], ones)
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


# --- kernels on the CPU ----------------------------------------------------------------------------------------------

_NUMPY = {torch.float32: "float32", torch.float64: "float64"}
# Half precision as kernels hold it, for there and for back; NumPy has no bfloat16, and torch no arithmetic on uint16.
_HALVES = {torch.bfloat16: (torch.uint16, "int16"), torch.float16: (torch.float16, "float16")}


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
    from lossary.kernels import table

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
        return _by_kernel(kernel, call, value, order, call.weights, scale, finish)
    # The gradient is taken along where what comes back will be one number, which is nearly always 1.
    done = _by_kernel(kernel, call, value, int(value == "sum"), call.weights, scale, finish)
    if done is None:
        return None
    return replace(done, value=_Fused.apply(_Spec(call, names, wrt), kernel, scale, done, *tensors))


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
        or call.dtype not in _NUMPY
        or torch._C._are_functorch_transforms_active()
        or any(x.requires_grad for x in others)
        or not _worth_an_operator(call)
    ):
        return None
    from lossary.backends.torch import pointwise_operators as torch_ops
    from lossary.kernels.table import Outcome

    arguments = torch_ops.packed(call.loss, call.arrays, call.params)
    if arguments is None:
        return None
    if value == "each":
        done = torch_ops.values(*arguments)
        return Outcome(done if call.weights is None else where(call.weights == 0, 0, done * call.weights), ())
    return Outcome(finish(torch_ops.summed(call.weights, *arguments)[0]), ())


def _rows_as_operator(call: Call, value: Any, finish: Callable[[Any], Any]) -> Any:
    from lossary.kernels import table

    if not table.available():
        return None
    from lossary.backends.torch import row_operators as torch_rows

    done = torch_rows.traced(call)
    if done is None:
        return None
    if call.weights is not None:
        done = where(call.weights == 0, zeros_like(done), done * call.weights)
    return table.Outcome(done if value == "each" else finish(done.sum(dtype=torch.float64)), ())


def _sequences_as_operator(call: Call, value: Any, finish: Callable[[Any], Any]) -> Any:
    """Return the values of a loss with lengths, on any device: its recursion over time is no food for a tracer."""
    from lossary.backends.torch import sequence_operators as torch_sequences
    from lossary.kernels import table

    done = torch_sequences.traced(call)
    if done is None:
        return None
    return table.Outcome(done if value == "each" else finish(done.sum(dtype=accumulator(call.dtype))), ())


def _worth_an_operator(call: Call) -> bool:
    from lossary.kernels import table

    if call.signature.rank or call.loss.coupling is not None or not table.available():
        return False
    return math.prod(call.batch) >= table.least(table.LEAST)


ORDINARY_TYPES = (Tensor, torch.nn.Parameter)
_KEYS = torch._C.DispatchKey
# The dispatch keys of a dense tensor of the CPU. Any other key stands between a tensor and its elements: a lazy sign or
# conjugate, a layout, quantisation, a batch axis of `vmap`, a subclass, a tensor of zeros that has no memory.
_DENSE_KEYS = functools.reduce(
    operator.or_,
    (
        torch._C.DispatchKeySet(key).raw_repr()
        for key in (_KEYS.CPU, _KEYS.ADInplaceOrView, _KEYS.AutogradCPU, _KEYS.AutocastCPU)
    ),
)


def ordinary(x: Tensor) -> bool:
    """Whether a tensor is ordinary memory of the CPU, and nothing but autograd watches it."""
    return type(x) in ORDINARY_TYPES and not torch._C._dispatch_keys(x).raw_repr() & ~_DENSE_KEYS and not freed(x)


def freed(x: Tensor) -> bool:
    """Whether the storage of a dense tensor has been given back, as sharded training does between two uses."""
    return x.numel() > 0 and x.untyped_storage().nbytes() == 0


def need_elements(x: Tensor, name: str) -> None:
    """Refuse a tensor whose elements no operation of a loss can read, in words that say how to convert it."""
    if torch.compiler.is_compiling() or ordinary(x):
        return
    kind = ""
    if x.is_nested:
        kind, remedy = "a nested tensor", "pad it with torch.nested.to_padded_tensor and pass mask="
    elif x.layout != torch.strided:
        kind, remedy = f"a tensor of layout {x.layout}", f"convert with {name.split(': ')[-1]}.to_dense()"
    elif x.is_quantized:
        kind, remedy = "a quantized tensor", f"convert with {name.split(': ')[-1]}.dequantize()"
    elif type(x) in ORDINARY_TYPES and x.is_cpu and torch._C._has_storage(x) and not x._is_zerotensor() and freed(x):
        kind, remedy = "a tensor whose storage has been freed", "gather or restore the parameter before the loss"
    if kind:
        raise TensorKindError(f"{name}: got {kind}, expected a dense tensor; {remedy}")


def _memory(x: Tensor) -> Any:
    held, _ = _HALVES.get(x.dtype, (x.dtype, ""))
    return x.detach().view(held).numpy()


def _of_memory(x: Any, dtype: torch.dtype) -> Tensor:
    """Return a kernel's array as a tensor of a type; of one that NumPy has not, the array may hold the bits."""
    _, held = _HALVES.get(dtype, (dtype, ""))
    if held and x.dtype.itemsize == dtype.itemsize:
        return torch.from_numpy(x.view(held)).view(dtype)
    return torch.from_numpy(x).to(dtype)


def _in_place_of(spec: _Spec, tensors: Sequence[Tensor], derivatives: Sequence[Tensor]) -> list[Tensor]:
    """Give a kernel's derivatives the shape of the tensors they are of.

    A kernel gives that of the caller's argument. A definition on rows has axes of length 1 behind it, if the argument
    has fewer dimensions than a row.
    """
    return [grad.reshape(tensors[at].shape) for at, grad in zip(spec.wrt, derivatives, strict=True)]


def _by_kernel(
    kernel: Any, call: Call, value: Any, order: int, weights: Any, scale: Any, finish: Callable[[Any], Any]
) -> Any:
    """Run a kernel on the memory of tensors; its results are tensors on memory of NumPy's, which faults less often."""
    from lossary.kernels.table import Outcome, Wanted

    if call.dtype not in _NUMPY:
        return None
    params = {name: _memory(held) if isinstance(held, Tensor) else held for name, held in call.params.items()}
    on_memory = replace(call, arrays=[_memory(x) for x in call.arrays], params=params, dtype=_NUMPY[call.dtype])
    factors = None if weights is None else _memory(weights)
    done = kernel(on_memory, Wanted(value, order, factors, float(scale), torch.get_num_threads()))
    if done is None:
        return None
    values = done.value
    if value == "each":
        values = torch.from_numpy(values)
    elif value == "sum":
        values = finish(torch.tensor(values, dtype=torch.float64, device="cpu"))
    given = dict(zip(call.loss.arguments, call.arrays, strict=True))
    derivatives = zip(done.derivatives, call.loss.wrt, strict=False)  # there may be none
    return Outcome(values, tuple(_of_memory(d, given[name].dtype) for d, name in derivatives))


class _Fused(torch.autograd.Function):
    """What a kernel has computed, with the gradient of a kernel; differentiated twice, the definition's."""

    @staticmethod
    def forward(ctx: Any, spec: _Spec, kernel: Any, scale: Any, done: Any, *tensors: Tensor) -> Tensor:
        ctx.spec, ctx.kernel, ctx.scale = spec, kernel, scale
        ctx.save_for_backward(*tensors)
        ctx.kept = done.derivatives
        return done.value

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Any:
        spec, tensors = ctx.spec, ctx.saved_tensors
        nothing = (None,) * 4
        plain = not torch.is_grad_enabled() and ordinary(upstream)
        if ctx.kept and plain:
            # They are handed over, not copied: whoever gets a gradient may add to it. A second time they are computed.
            kept, ctx.kept = ctx.kept, ()
            by = float(upstream)
            # What was rounded to half precision is not scaled: a scale is there to keep it from becoming 0.
            if by in (0, 1) or all(d.dtype == spec.call.dtype for d in kept):
                # Times 0 is 0 wherever the derivative is finite; elsewhere the loss has no slope to speak of.
                grads = kept if by == 1 else [d * by if by else zeros_like(d) for d in kept]
                return *nothing, *_placed(spec, tensors, _in_place_of(spec, tensors, grads))
            del kept  # its memory is used again
        call = spec.on(tensors)
        if plain:
            factor, alike = 1.0, upstream.numel() and not any(upstream.stride())  # what a mean or a sum sends back
            if alike:
                factor = float(upstream[(0,) * upstream.ndim])
            weights = call.weights if alike and factor else _product(call.weights, upstream).expand(call.batch)
            by = (factor or 1.0) * float(ctx.scale)
            done = _by_kernel(ctx.kernel, replace(call, check=False), None, 1, weights, by, float)
            if done is not None:
                return *nothing, *_placed(spec, tensors, _in_place_of(spec, tensors, done.derivatives))
        spread = _product(call.weights, upstream * ctx.scale).expand(call.batch)
        return *nothing, *_gradients(spec, tensors, spread.reshape(spread.shape + (1,) * call.inner))


def _product(weights: Tensor | None, upstream: Tensor) -> Tensor:
    return upstream if weights is None else weights * upstream


# --- looking at calls ------------------------------------------------------------------------------------------------


def _in_graph() -> bool:
    return torch.compiler.is_compiling() or tracing()


lookout.compiling = _in_graph
