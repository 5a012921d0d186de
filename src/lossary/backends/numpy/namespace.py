"""The array namespace `xp` on NumPy arrays, and the conversion of a caller's arguments to such arrays.

Inside a definition a reduction runs over the last axis and keeps it: ``xp.sum(row)`` has a last axis of length 1.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import abs as abs
from numpy import cos as cos
from numpy import exp as exp
from numpy import expm1 as expm1
from numpy import inf as inf
from numpy import isfinite as isfinite
from numpy import isnan as isnan
from numpy import log as log
from numpy import log1p as log1p
from numpy import matmul as matmul
from numpy import maximum as maximum
from numpy import minimum as minimum
from numpy import ones_like as ones_like
from numpy import pi as pi
from numpy import sign as sign
from numpy import sin as sin
from numpy import sqrt as sqrt
from numpy import tanh as tanh
from numpy import where as where
from numpy import zeros_like as zeros_like

from lossary.backends import loops
from lossary.backends.protocol import Array, Arrays, Step
from lossary.errors import ArgumentError
from lossary.kernels.thresholds import block_of


def sum(x: Array, axis: int = -1) -> Array:
    """Sum along one axis, keeping it."""
    return np.sum(x, axis=axis, keepdims=True)


def max(x: Array, axis: int = -1) -> Array:
    """Largest entry along one axis, keeping it; ``-inf`` if there is none."""
    return np.max(x, axis=axis, keepdims=True, initial=-np.inf)


def min(x: Array, axis: int = -1) -> Array:
    """Smallest entry along one axis, keeping it; ``inf`` if there is none."""
    return np.min(x, axis=axis, keepdims=True, initial=np.inf)


def any(x: Array, axis: int = -1) -> Array:
    """Whether any truth value along one axis is true, keeping it."""
    return np.any(x, axis=axis, keepdims=True)


def row_length(x: Array) -> int:
    """How many entries a row has."""
    length: int = x.shape[-1]
    return length


def argmax(x: Array) -> Array:
    """Index of the first largest entry of each row, keeping the axis."""
    return np.argmax(x, axis=-1, keepdims=True)


def take(x: Array, index: Array) -> Array:
    """Entries of each row at the given indices."""
    return np.take_along_axis(x, index, axis=-1)


def one_hot(index: Array, like: Array) -> Array:
    """Rows as long as those of `like`, in its type, with a one at `index` and zeros elsewhere."""
    return (index == np.arange(like.shape[-1])).astype(like.dtype)


def arange(n: int, like: Array) -> Array:
    """The numbers 0, ..., n-1 as indices, where `like` is."""
    return np.arange(n)


def transpose(x: Array) -> Array:
    """Swap the last two axes."""
    return np.swapaxes(x, -1, -2)


def concat(parts: Sequence[Array], axis: int = -1) -> Array:
    """Arrays one after another along an axis."""
    return np.concatenate(parts, axis=axis)


def scan(step: Step, carry: Arrays, xs: Arrays, reverse: bool = False) -> tuple[Arrays, Arrays]:
    """Run a recursion along the axis before the last, step by step."""
    return loops.scan(np.concatenate, lambda x, shape: np.zeros(shape, x.dtype), step, carry, xs, reverse)


_BLOCK = 1 << 16  # entries of the temporaries of `map_rows`: they stay in the cache of a core


def map_rows(function: Callable[..., Array], xs: Arrays, size: int) -> Array:
    """Apply a function to blocks of rows."""
    return loops.map_rows(np.concatenate, function, xs, size, _BLOCK)


def is_index(x: Array) -> bool:
    """Whether an array holds class indices, as opposed to numbers."""
    return x.dtype.kind in "iu"


def astype(x: Array, like: Array) -> Array:
    """Convert to the type of `like`; booleans become 0 and 1."""
    return x.astype(like.dtype)


def _elementwise(scalar: Callable[[float], float], x: Any) -> Array:
    values = np.asarray(x)
    flat = np.fromiter((scalar(float(v)) for v in values.ravel()), dtype=np.float64, count=values.size)
    return flat.reshape(values.shape).astype(values.dtype)


def lgamma(x: Array) -> Array:
    """Log of the absolute value of the gamma function; NumPy has none; the C library's is accurate enough."""
    return _elementwise(_lgamma, x)


def _lgamma(x: float) -> float:
    try:
        return math.lgamma(x)
    except (ValueError, OverflowError):  # Python raises at a pole, and where the result overflows
        return math.inf


def digamma(x: Array) -> Array:
    """Derivative of `lgamma` for positive arguments: recurrence up to 10, then the asymptotic series."""
    from lossary.kernels import gamma

    return gamma.digamma_of(np.where, np.log)(np.asarray(x, dtype=np.float64)).astype(x.dtype)


def trigamma(x: Array) -> Array:
    """Second derivative of `lgamma` for positive arguments."""
    from lossary.kernels import gamma

    return gamma.trigamma_of(np.where)(np.asarray(x, dtype=np.float64)).astype(x.dtype)


# --- from the caller's arguments to arrays, and back -----------------------------------------------------------------


def asarray(x: Any, name: str, like: Any = None, dtype: Any = None) -> Array:
    """Convert a caller's argument, whatever it is, to an array of numbers; the argument is never written to.

    An array of NumPy has its type and device: `like` and `dtype` are for other frameworks.
    """
    need_elements(x, name)
    try:
        array = np.asarray(x)
    except ValueError as ragged:
        raise ArgumentError(f"{name}: rows of unequal length cannot be an array ({ragged})") from None
    if array.dtype.kind == "O":
        missing = builtins.any(part is None or str(part) in ("<NA>", "NaT") for part in array.flat)
        remedy = "; entries are missing: fill them, and leave them out with mask=" if missing else ""
        raise ArgumentError(
            f"{name}: got {type(x).__name__} of Python objects, expected numbers (an array, a list or a scalar){remedy}"
        )
    if array.dtype.kind == "c":
        raise ArgumentError(f"{name}: complex numbers have no order, so no loss; pass real and imaginary parts")
    if array.dtype.kind not in "biuf":
        raise ArgumentError(f"{name}: got data of type {array.dtype}, expected numbers")
    return array


def need_elements(x: Any, name: str) -> None:
    """Reject masked entries, whose mask would be lost; a masked array that masks nothing is accepted as its numbers."""
    if type(x) is np.ndarray:
        return
    parts = x if type(x) in (list, tuple) else (x,)
    masks = builtins.any(issubclass(kind, np.ma.MaskedArray) for kind in set(map(type, parts)))
    if masks and builtins.any(map(np.ma.is_masked, parts)):
        raise ArgumentError(
            f"{name}: got a masked array, whose mask would be lost; pass the numbers with x.filled(0), and the mask as "
            "mask=~numpy.ma.getmaskarray(x)"
        )


def compute_dtype(arrays: Sequence[Array]) -> Any:
    """The type to compute in: the widest float given, never narrower than float32; float64 for integers."""
    floats = [a.dtype for a in arrays if a.dtype.kind == "f"]
    return np.result_type(np.float32, *floats) if floats else np.dtype(np.float64)


def empty(shape: tuple[int, ...], dtype: Any, like: Array) -> Array:
    """An array to be filled."""
    return np.empty(shape, dtype)


def multiply_into(x: Array, y: Any, out: Array) -> None:
    """Write the product of two to an array of its shape, rounded to its type."""
    np.multiply(x, y, out=out, casting="same_kind")


def block_elements(x: Array, elements: int) -> int:
    """How many elements a block of examples has."""
    return block_of(elements)


def cast(x: Array, dtype: Any) -> Array:
    """Convert to a type, without a copy where none is needed; a number too large for it becomes infinite, unwarned."""
    if x.dtype == dtype:
        return x
    with quiet():
        return x.astype(dtype)


def narrow(x: Array, dtype: Any) -> bool:
    """Whether an array is in half precision and is to be computed in float32."""
    return bool(x.dtype == np.float16 and dtype == np.float32)


def as_index(x: Array) -> Array:
    """Convert class labels to indices; one beyond them, of an unsigned type, becomes negative, and so may NaN."""
    with quiet():
        return x.astype(np.intp, copy=False)


def equals(x: Array, number: Any) -> Array:
    """Where whole numbers equal another one, which their type need not be able to hold."""
    return x == number


def gradient_dtype(x: Array, computed: Any) -> Any:
    """The type of the gradient with respect to an argument: its own, if it can hold one."""
    return x.dtype if x.dtype.kind == "f" else computed


def accumulator(dtype: Any) -> Any:
    """The type to sum in: float64, or wider if the values are."""
    return np.result_type(np.float64, dtype)


def scalar(x: Any, dtype: Any) -> Any:
    """A NumPy scalar of the given type."""
    return dtype.type(x)


def ratio(x: Any, y: Any) -> Any:
    """One number divided by another, in the type of the first."""
    return (x / y).astype(x.dtype) if hasattr(x, "dtype") else x / y


def own(x: Array, given: Sequence[Array]) -> Array:
    """The array if it is writable and shares memory with none of the inputs, else a copy."""
    return x if x.flags.writeable and not builtins.any(np.may_share_memory(x, g) for g in given) else x.copy()


def broadcast_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Repeat along new axes and those of length 1, as a view."""
    return x if x.shape == shape else np.broadcast_to(x, shape)


def whole(n: int, like: Array) -> Array:
    """A whole number as an index, where `like` is."""
    return np.asarray(n)


def join_rows(parts: list[Array]) -> Array:
    """Parts of a table, concatenated along the first axis."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def readable(x: Array) -> Array:
    """The array to check values on: reading it is always cheap here."""
    return x


def to_numpy(x: Any) -> Any:
    """An array of any framework as a NumPy array; other objects, such as numbers and lists, are returned unchanged.

    So is a masked array, whose mask would be lost here silently: `asarray` rejects it.
    """
    return np.asarray(x) if hasattr(x, "__array__") and not isinstance(x, np.ma.MaskedArray) else x


def may_loop(x: Array) -> bool:
    """Whether a batch may be computed a part at a time."""
    return True


def sample(x: Array, index: Any, everywhere: bool) -> Array:
    """Some entries of an array, for checks that read few."""
    return np.asarray(x)[index]


def total_norm(arrays: Sequence[Any]) -> float:
    """The Euclidean norm of all arrays together, in double precision."""
    return math.hypot(*(float(np.linalg.norm(np.asarray(x, dtype=np.float64))) for x in arrays))


def countable(x: Any) -> int:
    """How many elements a check could read; -1 where reading would wait for a device."""
    return int(np.size(x))


def quiet() -> Any:
    """A context without floating-point warnings: infinities and NaN are values, decided in `lossary.numerics`."""
    return np.errstate(all="ignore")


def drive(steps: Any, count: int) -> list[Any]:
    """The next `count` quantities that a running definition yields."""
    with quiet():
        return [next(steps) for _ in range(count)]
