"""How torch's losses reduce, which type they answer in, and what they refuse: the conventions around the formulas."""

from __future__ import annotations

import warnings
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import _reduction

from lossary.backends.torch.namespace import readable
from lossary.errors import LossaryError

# --- refusals --------------------------------------------------------------------------------------------------------


class RefusedError(LossaryError, NotImplementedError, ValueError, TypeError, IndexError):
    """Arguments that torch's loss of the same name refuses as well.

    torch raises a `RuntimeError` here, a `ValueError`, `IndexError` or `TypeError` there, and not the same in every
    release. This is all of them, so that whichever ``except`` a program has goes on catching it.
    """


def refuse(sentence: str) -> NoReturn:
    """Raise `RefusedError`."""
    raise RefusedError(sentence)


def shape(x: Tensor) -> tuple[int, ...]:
    """Return a shape as it reads best in a sentence."""
    return tuple(x.shape)


def warn(message: str, depth: int) -> None:
    """Warn the caller `depth` functions up, `overridable` not counted; a trace, which cannot, goes on in silence."""
    if not torch.compiler.is_compiling():
        warnings.warn(message, stacklevel=depth + 2)


# --- types -----------------------------------------------------------------------------------------------------------


def common_dtype(*tensors: Tensor, autocast: bool = True) -> torch.dtype:
    """Return the type torch promotes the tensors to, float32 for half precision under autocast.

    A tensor without dimensions has a say only if its numbers are of a higher kind (`torch.result_type`, which a
    compiler does not trace).
    """
    whole = [x.dtype for x in tensors if x.ndim]
    dtype = _promoted(whole or [x.dtype for x in tensors])
    higher = [x.dtype for x in tensors if not x.ndim and _kind(x.dtype) > _kind(dtype)]
    dtype = _promoted([dtype, *higher])
    return under_autocast(dtype, tensors[0].device.type) if autocast else dtype


def _promoted(dtypes: list[torch.dtype]) -> torch.dtype:
    found = dtypes[0]
    for dtype in dtypes[1:]:
        found = torch.promote_types(found, dtype)
    return found


def _kind(dtype: torch.dtype) -> int:
    return 3 if dtype.is_complex else 2 if dtype.is_floating_point else int(dtype != torch.bool)


def under_autocast(dtype: torch.dtype, device: str) -> torch.dtype:
    """Return the type of a loss computed in `dtype`: autocast runs losses in float32."""
    narrow = dtype.is_floating_point and dtype.itemsize < 4
    if narrow and torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.float32
    return dtype


def need_float(name: str, **tensors: Tensor) -> None:
    """Refuse integers, booleans and complex numbers where torch has no kernel for them."""
    for argument, tensor in tensors.items():
        if not tensor.is_floating_point():
            refuse(f"{name}: {argument}: got {tensor.dtype}, expected floating point; convert with {argument}.float()")


# --- labels ----------------------------------------------------------------------------------------------------------


def in_range(name: str, labels: Tensor, classes: int, ignore_index: int | None = None, low: int = 0) -> Tensor:
    """Return where the labels name a class, or are ignored; refuse others where looking at them costs nothing.

    On another device, or in a trace, nobody looks: the caller turns their values into NaN.
    """
    good = (labels >= low) & (labels < classes)
    if ignore_index is not None:
        good = good | (labels == ignore_index)
    seen = readable(good)
    if seen is not None and not seen.all():
        wrong = labels[~good].flatten()
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        refuse(f"{name}: target: got label {int(wrong[0])}{more}, out of range: there are {classes} classes")
    return good


# --- reductions ------------------------------------------------------------------------------------------------------


_REDUCTIONS = ("none", "mean", "sum")


def chosen(size_average: bool | None, reduce: bool | None, reduction: str, *further: str) -> str:
    """Return the reduction meant, translating the deprecated flags with torch's own warning.

    Raises ValueError for a word that is no reduction.
    """
    if size_average is not None or reduce is not None:
        return _reduction.legacy_get_string(size_average, reduce, emit_warning=not torch.compiler.is_compiling())
    if reduction in _REDUCTIONS or reduction in further:
        return reduction
    return _REDUCTIONS[_reduction.get_enum(reduction)]


def reduced(values: Tensor, reduction: str, dtype: torch.dtype, count: Tensor | int | None = None) -> Tensor:
    """Reduce one value per entry, the sum divided by `count` under the mean, and give the answer its type.

    As in torch, the mean of nothing is NaN.
    """
    if reduction == "none":
        return values.to(dtype)
    if reduction == "sum":
        return values.sum().to(dtype)
    if not dtype.is_floating_point:
        refuse(f"reduction: whole numbers ({dtype}) have no mean of their own type; convert with input.float()")
    return (values.mean() if count is None else values.sum() / count).to(dtype)
