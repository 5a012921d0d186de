"""The calling convention of kernels: `Request`, `Result`, and the `Kernel` and `BoundKernel` protocols.

A `Kernel` computes a prepared call of any layout (`run`), or is bound to what calls on contiguous arrays share
(`bind`): a `BoundKernel` then takes addresses alone, and the call cache keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from lossary.errors import DomainError

if TYPE_CHECKING:
    from lossary.catalogue import Loss

# Half precision as kernels hold it. NumPy has no bfloat16: an array of uint16 holds the bits of such numbers.
HALVES = {np.dtype(np.float16): np.dtype(np.int16), np.dtype(np.uint16): np.dtype(np.uint16)}


class KernelMissingError(DomainError):
    """A kernel that has not come with the package, and for which there is no compiler: the definition computes."""


@dataclass(frozen=True)
class Request:
    """What a call is to return.

    `value` is the weighted value of each example, their sum (in a wide type, not yet divided), or nothing. `orders` are
    those of the derivatives, ascending: (1,) for the gradient, (2,) for the Hessian diagonal, (1, 2) for both from one
    pass. Derivatives are multiplied by the example's weight and by `scale`, the same for all, and are exactly 0 where
    the weight is 0. `weights` has the shape of the batch, or is None. `threads` is how many may be used; 0 leaves it to
    the kernel. `device` is where the arrays are. Of a kernel that takes tensors, `scale` may be a tensor: a factor of 0
    then gives derivatives of exactly 0. It writes derivatives to the call's output buffers, and leaves these as they
    are if `unless` is a tensor that holds 1: so a gradient that was computed in the forward pass is computed again only
    if the upstream gradient, which the host does not read, is not 1.
    """

    value: Literal["each", "sum"] | None
    orders: tuple[int, ...] = ()
    weights: Any = None
    scale: Any = 1.0
    threads: int = 0
    device: str = "cpu"
    unless: Any = None


@dataclass(frozen=True)
class Result:
    """What a kernel has computed: NumPy arrays of the batch's shape, and for each order the derivatives.

    Those of one order are a tuple, one for each differentiated argument, in its shape.
    """

    value: Any
    derivatives: tuple[tuple[Any, ...], ...] = ()


@dataclass(frozen=True)
class DenseCalls:
    """What calls share that a bound kernel takes: everything but the addresses of contiguous arrays of one dtype.

    `params` are all of the loss's, as numbers. A mean divides by `denominator`, or by the number of values. With
    `check`, values are checked against their domains. With `class_weight`, an array of class weights comes after the
    loss's own.
    """

    loss: Loss
    alternative: int
    params: Mapping[str, Any]
    batch: tuple[int, ...]
    width: int  # entries of a row; 1 for a loss on numbers
    dtype: str
    reduction: Literal["none", "mean", "sum"]
    orders: tuple[int, ...]
    check: bool
    denominator: float | None = None
    class_weight: bool = False
    device: str = "cpu"


class BoundKernel(Protocol):
    """A kernel bound to shapes, types and parameters."""

    inputs: tuple[int, ...]  # which arrays the kernel takes, in order
    shared: bool  # whether the work is worth several threads

    def compute(
        self, addresses: Sequence[int], denominator: float | None = None, spread: int = 1
    ) -> tuple[float, float]:
        """Fill the outputs in up to `spread` threads; return the sum of all values and the denominator of their mean.

        The addresses are those of the inputs, of values if each is to be returned, and of derivatives. `denominator`
        replaces that of the shapes. Raises `DomainError` to request the general path: an array has a value out of
        domain, or the mean is one over no example.
        """


class Kernel(Protocol):
    """How a loss is computed on a device."""

    def bind(self, calls: DenseCalls) -> BoundKernel | None:
        """Return the kernel bound to what some calls share; None if it does not take them."""

    def run(self, call: Any, request: Request) -> Result | None:
        """Compute a prepared call, whatever the layout of its arrays; None if this kernel does not take it."""
