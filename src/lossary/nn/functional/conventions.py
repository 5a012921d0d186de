"""Conventions of torch's losses: errors, broadcasting, result dtypes, labels and reductions."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import _reduction

from lossary.backends.torch.namespace import readable
from lossary.errors import LossaryError

# --- refusals and warnings -------------------------------------------------------------------------------------------


class RefusedError(LossaryError, NotImplementedError, ValueError, TypeError, IndexError):
    """Arguments that torch's loss of the same name refuses as well.

    torch raises a `RuntimeError` here, a `ValueError`, `IndexError` or `TypeError` there, and not the same in every
    release. This is all of them, so that whichever ``except`` a program has goes on catching it.
    """


def refuse(sentence: str) -> NoReturn:
    """Raise `RefusedError`."""
    raise RefusedError(sentence)


_HERE = str(Path(__file__).parent)


def warn(message: str) -> None:
    """Warn at the line that calls the drop-in; a trace, which cannot, continues in silence."""
    if torch.compiler.is_compiling():
        return
    level, frame = 2, sys._getframe(1)
    while frame.f_code.co_filename.startswith(_HERE) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


# --- shapes ----------------------------------------------------------------------------------------------------------


def shape(x: Tensor) -> tuple[int, ...]:
    """Return a shape as it reads best in a sentence."""
    return tuple(x.shape)


def need_shape_of_input(name: str, argument: str, x: Tensor, input: Tensor) -> Tensor:
    """Refuse an argument of another shape than the input."""
    if x.shape != input.shape:
        refuse(f"{name}: {argument}: got shape {shape(x)}, expected that of input, {shape(input)}")
    return x


def expanded_to_input(name: str, argument: str, x: Tensor, input: Tensor) -> Tensor:
    """Broadcast an argument to the shape of the input, which it must not enlarge."""
    try:
        return torch.broadcast_to(x, input.shape)
    except RuntimeError:
        refuse(f"{name}: {argument}: got shape {shape(x)}, which does not broadcast to that of input, {shape(input)}")


def classes_last(arrays: Sequence[Tensor]) -> Sequence[Tensor]:
    """Put the classes, which torch has along dimension 1, last: in the input, and in a target of its shape."""
    input, target = arrays
    if input.ndim < 3:
        return arrays
    return input.movedim(1, -1), target.movedim(1, -1) if target.shape == input.shape else target


def broadcast_pair(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Broadcast input and target, with torch's warning if that changes anything."""
    if target.shape != input.shape:
        warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). "
            "This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size."
        )
    first, second = torch.broadcast_tensors(input, target)
    return first, second


def need_same_rank(name: str, *tensors: Tensor) -> None:
    """Refuse tensors that differ in their number of dimensions."""
    if len({x.ndim for x in tensors}) > 1:
        *shapes, last = map(shape, tensors)
        refuse(
            f"{name}: expected tensors with equally many dimensions, got shapes {', '.join(map(str, shapes))} and "
            f"{last}"
        )


# --- types -----------------------------------------------------------------------------------------------------------


def result_type(*tensors: Tensor) -> torch.dtype:
    """Return the type torch promotes the tensors to.

    A tensor without dimensions has a say only if its numbers are of a higher kind (`torch.result_type`, which a
    compiler does not trace).
    """
    dimensioned = [x.dtype for x in tensors if x.ndim]
    dtype = _promoted(dimensioned or [x.dtype for x in tensors])
    higher = [x.dtype for x in tensors if not x.ndim and _kind(x.dtype) > _kind(dtype)]
    return _promoted([dtype, *higher])


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


def common_dtype(*tensors: Tensor, autocast: bool = True) -> torch.dtype:
    """Return the type torch promotes the tensors to, float32 for half precision under autocast."""
    dtype = result_type(*tensors)
    return under_autocast(dtype, tensors[0].device.type) if autocast else dtype


def at_least_float(dtype: torch.dtype) -> torch.dtype:
    """Return a type, the default one in place of integers."""
    return dtype if dtype.is_floating_point or dtype.is_complex else torch.get_default_dtype()


def numbers(x: Tensor) -> Tensor:
    """Return integers, which might wrap, as the default float."""
    return x if x.is_floating_point() or x.is_complex() else x.to(torch.get_default_dtype())


def wide(x: Tensor) -> Tensor:
    """Return numbers for ordinary operations: half precision as float32."""
    return x.float() if x.is_floating_point() and x.dtype.itemsize < 4 else numbers(x)


def need_float(name: str, **tensors: Tensor) -> None:
    """Refuse integers, booleans and complex numbers where torch has no kernel for them."""
    for argument, tensor in tensors.items():
        if not tensor.is_floating_point():
            refuse(f"{name}: {argument}: got {tensor.dtype}, expected floating point; convert with {argument}.float()")


# --- labels ----------------------------------------------------------------------------------------------------------


def need_class_weight(name: str, weight: Tensor | None, classes: int, like: Tensor | None = None) -> None:
    """Refuse weights that are not one for each class, or not of the type of the scores."""
    if weight is not None and like is not None and common_dtype(weight) != common_dtype(like):
        refuse(f"{name}: weight: got {weight.dtype}, expected the type of input, {like.dtype}")
    if weight is not None and weight.shape != (classes,):
        refuse(f"{name}: weight: got shape {shape(weight)}, expected one number for each of the {classes} classes")


def in_range(name: str, labels: Tensor, classes: int, ignore_index: int | None = None, low: int = 0) -> Tensor:
    """Return where the labels name a class, or are ignored; refuse others where reading them costs nothing.

    On another device, or in a trace, they are not read: the caller turns their values into NaN.
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


REDUCTIONS = ("none", "mean", "sum")


def chosen(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """Return the reduction meant, translating the deprecated flags with torch's own warning.

    Raises ValueError for a word that is no reduction.
    """
    if size_average is not None or reduce is not None:
        return _reduction.legacy_get_string(size_average, reduce, emit_warning=not torch.compiler.is_compiling())
    return reduction if reduction in REDUCTIONS else REDUCTIONS[_reduction.get_enum(reduction)]


def reduced(values: Tensor, reduction: str, dtype: torch.dtype, denominator: Tensor | int | None = None) -> Tensor:
    """Reduce one value per entry, the sum divided by `denominator` under the mean, and give the answer its type.

    As in torch, the mean of nothing is NaN.
    """
    if reduction == "none":
        return values.to(dtype)
    if reduction == "sum":
        return values.sum().to(dtype)
    if not dtype.is_floating_point:
        refuse(f"reduction: integers ({dtype}) have no mean of their own type; convert with input.float()")
    return (values.mean() if denominator is None else values.sum() / denominator).to(dtype)
