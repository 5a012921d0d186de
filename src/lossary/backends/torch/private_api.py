"""Private PyTorch functions that save small calls some microseconds, with public fallbacks for each.

None of them is guaranteed to stay: each is tried once at import, and nothing else may use them. Fallbacks are slower.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Guard = Callable[..., bool]
_C_TYPES = {torch.float32: ctypes.c_float, torch.float64: ctypes.c_double}


def _inner_guard(tensors: Sequence[Tensor]) -> Guard:
    from torch._C._dynamo.guards import TensorGuards

    # A length that is not given is not compared.
    lengths: Any = [list(x.shape) for x in tensors]
    strides: Any = [list(x.stride()) for x in tensors]
    return TensorGuards(*tensors, dynamic_dims_sizes=lengths, dynamic_dims_strides=strides).check


def _no_guard(tensors: Sequence[Tensor]) -> Guard:
    return lambda *others: False


def _outer_empty(shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty_strided(shape, strides, dtype=dtype, device="cpu")


def _guard_maker() -> Callable[[Sequence[Tensor]], Guard]:
    one, longer = torch.empty(2, device="cpu"), torch.empty(3, device="cpu")
    try:
        works = _inner_guard([one])(one) and not _inner_guard([one])(longer)
    except (ImportError, AttributeError, TypeError, RuntimeError):
        works = False
    return _inner_guard if works else _no_guard


def _empty_maker() -> Callable[[tuple[int, ...], tuple[int, ...], torch.dtype], Tensor]:
    try:
        from torch._C._dynamo.guards import _empty_strided_cpu  # type: ignore[attr-defined]

        works = _empty_strided_cpu((2, 3), (3, 1), torch.float32).shape == (2, 3)
    except (ImportError, AttributeError, TypeError, RuntimeError):
        works = False
    return _empty_strided_cpu if works else _outer_empty


# Makes a guard for tensors: a function that returns whether others match them in Python and PyTorch type, shape,
# strides, dispatch keys and requires_grad, under the same thread-local modes.
guard = _guard_maker()

# Memory for a result on the CPU, whatever the default device is, of a shape and strides that are tuples.
empty = _empty_maker()


def number(value: float, dtype: torch.dtype) -> Tensor:
    """Return a tensor that holds one number, infinity if it is too large for its type."""
    made = empty((), (), dtype)
    _C_TYPES[dtype].from_address(made.data_ptr()).value = value
    return made
