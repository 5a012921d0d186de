"""Drop-ins for torch's regression losses: absolute, squared, smooth L1 and Huber errors."""

from __future__ import annotations

import torch
from torch import Tensor

from lossary.nn.functional.conventions import (
    broadcast_pair,
    need_float,
    need_shape_of_input,
    refuse,
    result_type,
)
from lossary.nn.functional.driver import NO_PARAMS, Arrays, EntryLoss, EntryWeights, Params
from lossary.nn.functional.torch_function import overridable

__all__ = ["huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"]


def _numbers(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take numbers of any type: complex ones by the modulus of their difference, integers in double precision."""
    input, target = broadcast_pair(*arrays)
    dtype = result_type(input, target)
    if dtype.is_complex:
        difference = torch.abs(input - target)
        return (difference, torch.zeros_like(difference)), difference.dtype
    if not dtype.is_floating_point:  # integers stay exact, and small types do not wrap
        return (input.double(), target.double()), dtype
    return (input, target), dtype


def _one_floating(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take numbers of which the input or the target is floating point."""
    input, target = arrays
    pair = broadcast_pair(input, target)
    need_float(name, input=input if input.is_floating_point() else target)
    if "beta" in params and params["beta"] < 0:
        refuse(f"{name}: beta: got {params['beta']}, expected a number >= 0")
    return pair, result_type(*pair)


def _floating_input(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take a floating point input, in whose type torch answers."""
    pair = broadcast_pair(*arrays)
    need_float(name, input=arrays[0])
    if not params["delta"] > 0:
        refuse(f"{name}: delta: got {params['delta']}, expected a number > 0")
    return pair, result_type(arrays[0])


# Under weights torch composes these two of a power or modulus, a product and a sum.
_DIVIDING = EntryWeights(need_shape_of_input, divides=True, autocast="not on cpu")
_L1 = EntryLoss("l1_loss", "absolute_error", _numbers, weights=_DIVIDING)
_MSE = EntryLoss("mse_loss", "squared_error", _one_floating, weights=_DIVIDING)
_SMOOTH_L1 = EntryLoss("smooth_l1_loss", "smooth_l1", _one_floating)
_HUBER = EntryLoss("huber_loss", "huber", _floating_input, weights=EntryWeights(need_shape_of_input))


@overridable
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The absolute error; see `torch.nn.functional.l1_loss`, `lossary.absolute_error`.

    `weight` has the shape of the input, and the mean divides by its sum. Complex numbers are compared by the modulus of
    their difference.

    >>> import torch
    >>> l1_loss(torch.tensor([1.0, 5.0]), torch.zeros(2), weight=torch.tensor([3.0, 1.0])).item()
    2.0
    """
    return _L1.compute((input, target), NO_PARAMS, reduction, size_average, reduce, weight)


@overridable
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The squared error; see `torch.nn.functional.mse_loss`, `lossary.squared_error`.

    `weight` has the shape of the input, and the mean divides by its sum.

    >>> import torch
    >>> mse_loss(torch.tensor([1.0, 3.0]), torch.zeros(2)).item()
    5.0
    """
    return _MSE.compute((input, target), NO_PARAMS, reduction, size_average, reduce, weight)


@overridable
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """The absolute error with a parabola in its corner; see `torch.nn.functional.smooth_l1_loss`, `lossary.smooth_l1`.

    >>> import torch
    >>> smooth_l1_loss(torch.tensor([3.0]), torch.zeros(1), beta=2.0).item()
    2.0
    """
    return _SMOOTH_L1.compute((input, target), {"beta": beta}, reduction, size_average, reduce)


@overridable
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Quadratic up to `delta`, linear beyond; see `torch.nn.functional.huber_loss`, `lossary.huber`.

    `weight` has the shape of the input; here, unlike in `mse_loss`, the mean divides by the number of entries.

    >>> import torch
    >>> huber_loss(torch.tensor([3.0]), torch.zeros(1), delta=2.0).item()
    4.0
    """
    return _HUBER.compute((input, target), {"delta": delta}, reduction, weight=weight)
