"""Predicates of tensors: ordinary, traced, transformed or observed; and NumPy views of their memory."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import torch

from lossary.errors import TensorKindError

Tensor = torch.Tensor

# The float types that kernels compute in.
NUMPY = {torch.float32: "float32", torch.float64: "float64"}
# Half precision as kernels hold it, in both directions; NumPy has no bfloat16, and torch no arithmetic on uint16.
HALVES = {torch.bfloat16: (torch.uint16, "int16"), torch.float16: (torch.float16, "float16")}

# --- who watches ------------------------------------------------------------------------------------------------------


def forward_mode() -> bool:
    """Whether forward-mode differentiation is active."""
    return torch.autograd.forward_ad._current_level >= 0


def tracing() -> bool:
    """Whether `torch.jit.trace` or `make_fx` records operations in a graph, which must hold no values.

    False under `torch.compile`: use `torch.compiler.is_compiling` for that.
    """
    proxies = torch._C._TorchDispatchModeKey.PROXY
    return torch._C._is_tracing() or torch._C._get_dispatch_mode(proxies) is not None


def loses_derivatives() -> bool:
    """Whether PyTorch would silently lose second derivatives of a `torch.autograd.Function`: they would be 0.

    It does so in nested forward mode, and where its compiler traces a gradient of a gradient.
    The compiler takes ordinary operations for every second derivative: it cannot trace `_Transformed`.
    """
    if not torch._C._are_functorch_transforms_active():
        return False
    tangents, gradients = _levels()
    return tangents > 1 or (tangents + gradients > 1 and torch.compiler.is_compiling())


def _levels() -> tuple[int, int]:
    """Return how many `jvp` and how many `grad` transforms of `torch.func` are active."""
    kinds = [level.key() for level in torch._C._functorch.get_interpreter_stack() or ()]
    transform = torch._C._functorch.TransformType
    return kinds.count(transform.Jvp), kinds.count(transform.Grad)


# What `torch.compiler.assume_constant_result` does, which imports the compiler: a trace may take the levels as
# constant.
_levels._dynamo_marked_constant = True  # type: ignore[attr-defined]


def observed() -> bool:
    """Whether a transform or tracer intercepts operations on ordinary tensors; to it, a kernel would be a constant.

    That is a transform of `torch.func`, a tangent carried forward, a tracer, or a mode such as `make_fx` enters.
    """
    built_in = torch._C
    return bool(
        built_in._are_functorch_transforms_active()
        or forward_mode()
        or built_in._is_tracing()
        or built_in._len_torch_dispatch_stack()
    )


# --- kinds of tensors -------------------------------------------------------------------------------------------------


ORDINARY_TYPES = (Tensor, torch.nn.Parameter)
_KEYS = torch._C.DispatchKey
# The dispatch keys of a dense CPU tensor. Any other key means that memory does not hold the elements: a lazy sign or
# conjugate, a layout, quantisation, a batch axis of `vmap`, a subclass, a tensor of zeros that has no memory.
_DENSE_KEYS = functools.reduce(
    operator.or_,
    (
        torch._C.DispatchKeySet(key).raw_repr()
        for key in (_KEYS.CPU, _KEYS.ADInplaceOrView, _KEYS.AutogradCPU, _KEYS.AutocastCPU)
    ),
)


_CUDA_KEYS = functools.reduce(
    operator.or_,
    (
        torch._C.DispatchKeySet(key).raw_repr()
        for key in (_KEYS.CUDA, _KEYS.ADInplaceOrView, _KEYS.AutogradCUDA, _KEYS.AutocastCUDA)
    ),
)


def device_of(tensors: Sequence[Tensor]) -> str:
    """Return the device that all tensors are on if their memory holds their elements; "" if not, or of several.

    A number that is a tensor on the CPU is on several devices beside tensors of a GPU.
    """
    found = {x.device for x in tensors}
    if len(found) != 1:
        return ""
    device = next(iter(found)).type
    if device == "cpu":
        return device if all(map(ordinary, tensors)) else ""
    if device != "cuda":
        return ""
    dense = all(
        type(x) in ORDINARY_TYPES and not torch._C._dispatch_keys(x).raw_repr() & ~_CUDA_KEYS and not freed(x)
        for x in tensors
    )
    return device if dense else ""


def ordinary(x: Tensor) -> bool:
    """Whether a tensor is ordinary CPU memory, and nothing but autograd intercepts its operations."""
    return type(x) in ORDINARY_TYPES and not torch._C._dispatch_keys(x).raw_repr() & ~_DENSE_KEYS and not freed(x)


def dense(x: Tensor) -> bool:
    """Whether a tensor, on any device, is ordinary memory: no subclass, wrapper of a transform, or other layout."""
    return ordinary(x) or (
        type(x) in ORDINARY_TYPES
        and not x.is_cpu
        and x.layout == torch.strided
        and not (x.is_nested or x.is_quantized or x._is_zerotensor())
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)
    )


def freed(x: Tensor) -> bool:
    """Whether the storage of a dense tensor has been freed, as sharded training does between two uses."""
    return x.numel() > 0 and x.untyped_storage().nbytes() == 0


def need_elements(x: Tensor, name: str) -> None:
    """Reject a tensor whose elements no operation of a loss can read, with an error that names the conversion."""
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


def in_memory(arrays: Sequence[Tensor]) -> bool:
    """Whether tensors are memory of the CPU that a kernel may read."""
    return not torch.compiler.is_compiling() and not observed() and all(map(ordinary, arrays))


# --- memory -----------------------------------------------------------------------------------------------------------


def memory(x: Tensor) -> Any:
    """Return the memory of an ordinary tensor as a NumPy array; of bfloat16, its bits as uint16."""
    held, _ = HALVES.get(x.dtype, (x.dtype, ""))
    return x.detach().view(held).numpy()


def of_memory(x: Any, dtype: torch.dtype) -> Tensor:
    """Return a kernel's array as a tensor of a type; of one that NumPy lacks, the array may hold the bits."""
    _, held = HALVES.get(dtype, (dtype, ""))
    if held and x.dtype.itemsize == dtype.itemsize:
        return torch.from_numpy(x.view(held)).view(dtype)
    return torch.from_numpy(x).to(dtype)
