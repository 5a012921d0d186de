"""The array namespace `xp` on PyTorch tensors, and the conversion of a caller's arguments to tensors.

Ordinary tensor operations throughout, so the same lines run on the CPU, on CUDA and on MPS, under `vmap` and under
`torch.compile`; nothing here reads a value back from the device.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import broadcast_to as broadcast_to
from torch import cos as cos
from torch import digamma as digamma
from torch import exp as exp
from torch import expm1 as expm1
from torch import isfinite as isfinite
from torch import isnan as isnan
from torch import lgamma as lgamma
from torch import log as log
from torch import log1p as log1p
from torch import ones_like as ones_like
from torch import sin as sin
from torch import sqrt as sqrt
from torch import tanh as tanh
from torch import where as where
from torch import zeros_like as zeros_like

from lossary import settings
from lossary.backends import loops, registry
from lossary.backends.numpy import namespace as numpy
from lossary.backends.protocol import Arrays, Step
from lossary.backends.torch.tensors import HALVES, ORDINARY_TYPES, observed, ordinary, tracing
from lossary.backends.torch.tensors import need_elements as need_elements
from lossary.errors import ArgumentError
from lossary.kernels import gamma
from lossary.kernels.thresholds import BLOCK_ELEMENTS, DEVICE_BLOCK_ELEMENTS, block_of

Tensor = torch.Tensor

inf, pi = math.inf, math.pi
abs = torch.abs


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; NaN for NaN, where torch returns 0."""
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


def any(x: Tensor, axis: int = -1) -> Tensor:
    """Whether any truth value along one axis is true, keeping it."""
    return torch.any(x, dim=axis, keepdim=True)


def row_length(x: Tensor) -> int:
    """How many entries a row has."""
    return x.shape[-1]


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


def scan(step: Step, carry: Arrays, xs: Arrays, reverse: bool = False) -> tuple[Arrays, Arrays]:
    """Run a recursion along the axis before the last, step by step."""
    return loops.scan(concat, lambda x, shape: x.new_zeros(shape), step, carry, xs, reverse)


def map_rows(function: Callable[..., Tensor], xs: Arrays, size: int) -> Tensor:
    """Apply a function to blocks of rows; to all of them in a graph, whose compiler fuses the temporary away."""
    if torch.compiler.is_compiling() or tracing():
        return function(*xs)
    most = BLOCK_ELEMENTS if xs[0].is_cpu else DEVICE_BLOCK_ELEMENTS
    return loops.map_rows(concat, function, xs, size, most)


def is_index(x: Tensor) -> bool:
    """Whether a tensor holds class indices, as opposed to numbers."""
    return not x.is_floating_point() and x.dtype != torch.bool


def astype(x: Tensor, like: Tensor) -> Tensor:
    """Convert to the type of `like`; booleans become 0 and 1."""
    return x.to(like.dtype)


def trigamma(x: Tensor) -> Tensor:
    """Second derivative of `lgamma` for positive arguments; torch's own has ten digits in float64."""
    return gamma.trigamma_of(torch.where)(x)


def join_rows(parts: Sequence[Tensor]) -> Tensor:
    """Parts of a table, concatenated along the first axis."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def may_loop(x: Tensor) -> bool:
    """Whether a batch may be computed a part at a time: on the CPU, outside of a trace."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return bool(x.device.type == "cpu")


def whole(n: int, like: Any) -> Tensor:
    """A whole number as an index, where `like` is."""
    return torch.full((), n, dtype=torch.int64, device=like.device if isinstance(like, Tensor) else None)


# --- from the caller's arguments to tensors, and back ----------------------------------------------------------------


def asarray(x: Any, name: str, like: Any = None, dtype: Any = None) -> Tensor:
    """Convert a caller's argument to a tensor of numbers, on the device of `like`.

    A Python number takes the type `dtype`, or that of `like`, so that it is rounded once and does not promote the
    result.
    """
    if isinstance(x, Tensor):
        need_elements(x, name)
        tensor = x
        if isinstance(like, Tensor) and x.device != like.device and x.ndim and like.ndim:
            raise ArgumentError(
                f"{name}: is on {x.device}, but the arrays before it on {like.device}; move one of them"
            )
    else:
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


def empty(shape: tuple[int, ...], dtype: torch.dtype, like: Tensor) -> Tensor:
    """A tensor to be filled, where `like` is."""
    return torch.empty(shape, dtype=dtype, device=like.device)


def multiply_into(x: Tensor, y: Any, out: Tensor) -> None:
    """Write the product of two to a tensor of its shape, rounded to its type."""
    torch.mul(x, y, out=out)


def block_elements(x: Tensor, elements: int) -> int:
    """How many elements a block of examples has; 0 in a trace or transform, where nothing is written in place."""
    if torch.compiler.is_compiling() or observed():
        return 0
    return block_of(elements) if x.is_cpu else DEVICE_BLOCK_ELEMENTS


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert to a type, without a copy where none is needed."""
    return x.to(dtype)


def narrow(x: Tensor, dtype: torch.dtype) -> bool:
    """Whether a tensor is in half precision and is to be computed in float32."""
    return x.dtype in HALVES and dtype == torch.float32


def as_index(x: Tensor) -> Tensor:
    """Convert class labels to indices; one beyond them, of an unsigned type, becomes negative."""
    return x.long()


def equals(x: Tensor, number: Any) -> Tensor:
    """Where whole numbers equal another one; torch rounds that to the tensor's type, where -100 becomes 156."""
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
    """The tensor if it is dense and shares memory with none of the others, else a copy."""
    if builtins.any(_shares_memory(x, other) for other in given):
        return x.clone(memory_format=torch.contiguous_format)
    return x.contiguous()


def _shares_memory(x: Tensor, other: Tensor) -> bool:
    if x is other:
        return True
    if not torch.compiler.is_compiling() and torch._C._has_storage(x) and torch._C._has_storage(other):
        return torch._C._is_alias_of(x, other)  # type: ignore[attr-defined]
    return x._base is not None and x._base is (other if other._base is None else other._base)


def quiet() -> Any:
    """A context for gradients that definitions compute: autograd records nothing."""
    return torch.no_grad()


def drive(steps: Any, count: int) -> list[Any]:
    """The next `count` quantities that a running definition yields."""
    return [next(steps) for _ in range(count)]


def readable(x: Tensor) -> Any:
    """A NumPy view to check values on, or None where reading would wait for a device or break a trace."""
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
    dense = x.detach().resolve_neg()
    return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()


def to_numpy(x: Any) -> Any:
    """The numbers of a tensor as a NumPy array, whatever its device, layout and type; anything else as NumPy has it.

    A type that NumPy lacks becomes the next wider one. The tensor is neither changed nor differentiated.
    """
    if not isinstance(x, Tensor):
        return numpy.to_numpy(x)
    try:
        dense = x.detach()
        dense = dense.dequantize() if dense.is_quantized else dense
        dense = dense if dense.layout == torch.strided else dense.to_dense()
        dense = dense.resolve_conj().resolve_neg().cpu()
        if dense.dtype == torch.complex32:
            dense = dense.to(torch.complex64)
        elif dense.is_floating_point() and dense.dtype not in (torch.float16, torch.float32, torch.float64):
            dense = dense.float()
        return dense.clone().numpy() if dense._is_zerotensor() else dense.numpy()
    except (RuntimeError, TypeError, NotImplementedError) as failure:
        why = str(failure).split(". ", 1)[0].split("\n", 1)[0]
        raise ArgumentError(
            f"got a {type(x).__name__} whose numbers cannot be read ({why}); pass an ordinary tensor or a NumPy array"
        ) from None


def sample(x: Tensor, index: Any, everywhere: bool) -> Any:
    """Some entries of a tensor as NumPy reads them; None on a device, unless `everywhere`, and where it has none."""
    if x.device.type != "cpu" and not everywhere:
        return None
    dense = x.detach()
    if dense.element_size() < 4 and dense.is_floating_point():  # a type that NumPy may lack: copies a few entries
        return readable(dense[index].cpu())
    found = readable(dense.cpu())
    return None if found is None else found[index]


def total_norm(arrays: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of all arrays together, on the device they are on, not differentiated."""
    return torch.nn.utils.get_total_norm([x.detach() for x in arrays])


def countable(x: Tensor) -> int:
    """How many elements a check could read; -1 where reading would wait for a device."""
    return x.numel() if x.is_cpu else -1


# --- tracing ----------------------------------------------------------------------------------------------------------


def _in_graph() -> bool:
    return torch.compiler.is_compiling() or tracing()


registry.is_tracing = _in_graph
registry.is_compiling = torch.compiler.is_compiling
