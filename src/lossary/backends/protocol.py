"""The backend contract: every operation that definitions and evaluation ask of an array framework, with its behaviour.

A *namespace* `xp` is one object, usually a module, with the names of two protocols: `Namespace` holds the mathematics
that definitions are written in, `ArrayOperations` what evaluation needs to turn a caller's arguments into arrays and
results into what the caller gets. A *backend* (`Backend`) is what `lossary.backends.registry` returns for an array:
a namespace, and the framework's own ways to compute a call. A new framework is one folder with these names and one
registration in `lossary.backends.installed`; `tests/test_backends.py` tests every registered backend against this page.

What every operation has in common:

* It returns a new array, or a view; it writes to no argument.
* It takes float32 to float32 and float64 to float64. Evaluation widens half precision before a definition runs.
* A row runs along the last axis, and the steps of a sequence along the axis before it. A reduction keeps its axis,
  with length 1, so that a row and its sums combine without reshaping.
* NaN propagates, unless the docstring of the operation states otherwise.
* It reads no value back from a device, unless its docstring states otherwise, so that it can be traced and compiled.

Beside these names, definitions use these operators of an array: arithmetic (``+ - * / ** //  %``), comparisons,
``& | ~`` on truth values, indexing by slices, whole numbers, ``...`` and ``None``, and ``shape``. They call no methods
of arrays and assign to no entries.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

Array = Any  # an array of the framework; its operators are listed above
DType = Any  # a floating-point type as the framework names it
Arrays = tuple[Array, ...]
Step = Callable[[Arrays, Arrays], tuple[Arrays, Arrays]]  # of a `scan`: carry and inputs -> carry and outputs


class Namespace(Protocol):
    """The mathematical operations in which a definition is written.

    Parameters before a ``/`` are positional. Where two arrays meet, they broadcast, and have the same type.
    """

    @property
    def inf(self) -> float:
        """Infinity, as a Python number."""

    @property
    def pi(self) -> float:
        """The ratio of a circle's circumference to its diameter, as a Python number."""

    # --- one number in, one number out

    def abs(self, x: Array, /) -> Array:
        """Return the size of each number."""

    def sign(self, x: Array, /) -> Array:
        """Return -1, 0 or 1; NaN for NaN."""

    def exp(self, x: Array, /) -> Array:
        """Return the exponential: 0 at ``-inf``, ``inf`` where it overflows."""

    def expm1(self, x: Array, /) -> Array:
        """Return ``exp(x) - 1`` without cancellation near 0."""

    def log(self, x: Array, /) -> Array:
        """Return the natural logarithm: ``-inf`` at 0, NaN below."""

    def log1p(self, x: Array, /) -> Array:
        """Return ``log(1 + x)`` without cancellation near 0: ``-inf`` at -1, NaN below."""

    def sqrt(self, x: Array, /) -> Array:
        """Return the square root; NaN below 0."""

    def sin(self, x: Array, /) -> Array:
        """Return the sine of an angle in radians."""

    def cos(self, x: Array, /) -> Array:
        """Return the cosine of an angle in radians."""

    def tanh(self, x: Array, /) -> Array:
        """Return the hyperbolic tangent: 1 and -1 at the infinities."""

    def lgamma(self, x: Array, /) -> Array:
        """Return ``log(abs(gamma(x)))``: ``inf`` at 0, at negative whole numbers, at infinity, and on overflow."""

    def digamma(self, x: Array, /) -> Array:
        """Return the derivative of `lgamma`, of positive numbers."""

    def trigamma(self, x: Array, /) -> Array:
        """Return the second derivative of `lgamma`, of positive numbers."""

    def isfinite(self, x: Array, /) -> Array:
        """Return whether each number is finite: neither infinite nor NaN."""

    def isnan(self, x: Array, /) -> Array:
        """Return whether each number is NaN."""

    # --- two or three arrays in

    def maximum(self, x: Array, y: Array, /) -> Array:
        """Return the larger of two, either of which may be a Python number; NaN if one is NaN."""

    def minimum(self, x: Array, y: Array, /) -> Array:
        """Return the smaller of two, either of which may be a Python number; NaN if one is NaN."""

    def where(self, condition: Array, yes: Array, no: Array, /) -> Array:
        """Return `yes` where the condition holds, else `no`, whatever the other of the two is there, NaN included."""

    def matmul(self, x: Array, y: Array, /) -> Array:
        """Return the matrix product over the last two axes, in the type of its factors; leading axes broadcast."""

    # --- types and shapes

    def zeros_like(self, x: Array, /) -> Array:
        """Return zeros of the shape and type of `x`, whatever it holds."""

    def ones_like(self, x: Array, /) -> Array:
        """Return ones of the shape and type of `x`, whatever it holds."""

    def astype(self, x: Array, like: Array, /) -> Array:
        """Convert to the type of `like`; false and true become 0 and 1."""

    def is_index(self, x: Array, /) -> bool:
        """Return whether an array holds class indices: whole numbers, of any width, signed or not, and no booleans."""

    def arange(self, n: int, like: Array, /) -> Array:
        """Return the whole numbers 0, ..., n - 1, on the device of `like`."""

    def broadcast_to(self, x: Array, shape: tuple[int, ...], /) -> Array:
        """Repeat along new leading axes and along axes of length 1."""

    def transpose(self, x: Array, /) -> Array:
        """Swap the last two axes."""

    def concat(self, parts: Sequence[Array], /, axis: int = -1) -> Array:
        """Return arrays of one type one after another along an axis; any of them may be empty."""

    # --- along a row

    def row_length(self, x: Array, /) -> Any:
        """Return how many entries a row of classes has: those of all devices where rows are divided among several.

        It is a number for arithmetic and for `arange`, and may be a symbol. For the length of the array at hand, to
        index it with, use ``x.shape``.
        """

    def sum(self, x: Array, /, axis: int = -1) -> Array:
        """Sum along an axis, keeping it; the sum of nothing is 0. Whole numbers sum to whole numbers."""

    def max(self, x: Array, /, axis: int = -1) -> Array:
        """Return the largest number along an axis, keeping it; of nothing ``-inf``. NaN if one is NaN."""

    def min(self, x: Array, /, axis: int = -1) -> Array:
        """Return the smallest number along an axis, keeping it; of nothing ``inf``. NaN if one is NaN."""

    def any(self, x: Array, /, axis: int = -1) -> Array:
        """Return whether any truth value along an axis is true, keeping it; of nothing false."""

    def argmax(self, x: Array, /) -> Array:
        """Return the index of the first largest entry of each row, keeping the axis; a row has at least one entry."""

    def take(self, x: Array, index: Array, /) -> Array:
        """Return the entries of each row at indices of its own; both arrays have the same leading axes.

        An index is within the bounds of the row.
        """

    def one_hot(self, index: Array, like: Array, /) -> Array:
        """Return rows as long as those of `like`, in its type: 1 at the index and 0 elsewhere.

        `index` keeps the axis of the row, with length 1. An index of no class, such as -1, gives a row of zeros.
        """

    # --- along a sequence

    def scan(self, step: Step, carry: Arrays, xs: Arrays, /, reverse: bool = False) -> tuple[Arrays, Arrays]:
        """Run a recursion along the steps of a sequence, the axis before the last.

        `step` takes the carry and a tuple with the entries of `xs` at one step, which keep their axis with length 1,
        and returns the next carry and a tuple of outputs that have this axis, with length 1, too. It is a pure
        function: it depends on its arguments and on constants alone, and the arrays of a carry keep their shapes and
        types. With `reverse` it runs from the last step to the first.

        Returns the last carry, and the outputs in the order of the sequence, whichever way it was run. Without steps
        the carry is that given and the outputs have none.
        """

    # --- along the rows of a table

    def map_rows(self, function: Callable[..., Array], xs: Arrays, size: int, /) -> Array:
        """Apply a function to the rows of some arrays (the axis before the last), a block of rows at a time.

        `function` takes a block of each of `xs`, computes every row by itself, and returns an array with this axis, by
        way of a temporary that has `size` entries for each row. The memory it takes is bounded: only as many rows are
        taken together as the framework has room for, all of them where a compiler makes no temporary.
        """


class ArrayOperations(Protocol):
    """What evaluation does with arrays before and after a definition runs: types, memory, and reading of values."""

    # --- from the caller's arguments to arrays

    def asarray(self, x: Any, name: str, /, like: Any = None, dtype: DType = None) -> Array:
        """Convert a caller's argument, an array, a list or a number, to an array of numbers; it is not written to.

        The argument keeps its type and device if it has them. A number takes the type `dtype`, or that of `like`, in
        frameworks where a number would otherwise widen an array, and is on the device of `like`. Raises
        `ArgumentError`, which begins with `name`, for anything but an array of real numbers: rows of unequal length,
        objects, text, complex numbers, a masked array whose mask would be lost.
        """

    def need_elements(self, x: Any, name: str, /) -> None:
        """Raise `ArgumentError` for an array of which some entries are not there, such as a masked one."""

    def compute_dtype(self, arrays: Sequence[Array], /) -> DType:
        """Return the type to compute in: the widest float among the arrays, at least float32.

        Where none is a float it is the type that the framework gives to a list of fractions.
        """

    def empty(self, shape: tuple[int, ...], dtype: DType, like: Array, /) -> Array:
        """Return an array of a shape and type, on the device of `like`, to be filled by assignment to its parts."""

    def multiply_into(self, x: Array, y: Any, out: Array, /) -> None:
        """Write the product of two, of which `y` may be a number, to an array of its shape, rounded to its type."""

    def cast(self, x: Array, dtype: DType, /) -> Array:
        """Convert to a type, without a copy where none is needed; what is too large for it becomes infinite."""

    def narrow(self, x: Array, dtype: DType, /) -> bool:
        """Return whether an array is in half precision and `dtype` is float32."""

    def as_index(self, x: Array, /) -> Array:
        """Convert class labels of any type to signed indices; one that they cannot hold becomes negative."""

    def whole(self, n: int, like: Any, /) -> Array:
        """Return a whole number as an index without axes, on the device of `like`."""

    def equals(self, x: Array, number: Any, /) -> Array:
        """Return where an array equals a whole number, which its type need not be able to hold."""

    # --- results

    def gradient_dtype(self, x: Array, computed: DType, /) -> DType:
        """Return the type of the gradient with respect to `x`: its own if that is a float, else `computed`."""

    def accumulator(self, dtype: DType, /) -> DType:
        """Return the type to sum numbers of a type in, at least as wide."""

    def scalar(self, x: Any, dtype: DType, /) -> Any:
        """Return a number of a type, as the framework represents one without axes."""

    def ratio(self, x: Any, y: Any, /) -> Any:
        """Divide, in the type of `x`; `y` may be a Python number or an array without axes, and so may `x`."""

    def own(self, x: Array, given: Sequence[Array], /) -> Array:
        """Return `x`, or a copy unless it is writable and shares no memory with `given`: a result aliases no input."""

    def join_rows(self, parts: list[Array], /) -> Array:
        """Return parts of a batch one after another along the first axis; a single part as it is."""

    def may_loop(self, x: Array, /) -> bool:
        """Return whether a batch may be computed a part at a time: not where a compiler would unroll the loop."""

    def block_elements(self, x: Array, elements: int, /) -> int:
        """Return how many of the elements of a call are computed together where its definition is run in blocks.

        Returns 0 where it is run as a whole, because nothing may be written in place, such as in a trace.
        """

    # --- reading values, for checks; these may be impossible on a device or in a trace

    def readable(self, x: Array, /) -> Any:
        """Return a NumPy array of the values, which must not be written to; None where they cannot or must not be read.

        It need not be a copy. bfloat16, which NumPy has not, becomes float32.
        """

    def total_norm(self, arrays: Sequence[Any], /) -> Any:
        """Return the Euclidean length of several arrays taken as one vector, on the device they are on."""

    def sample(self, x: Array, index: Any, everywhere: bool, /) -> Any:
        """Return some entries as a NumPy array; None where they cannot be read, or are on a device.

        With `everywhere` they are fetched from a device, too.
        """

    def countable(self, x: Any, /) -> int:
        """Return how many elements of an array a check could read; -1 if reading would wait for a device."""

    def to_numpy(self, x: Any, /) -> Any:
        """Return the numbers of an array, on whatever device, as a NumPy array; what is no array as it is."""

    # --- how a definition is run

    def quiet(self) -> AbstractContextManager[Any]:
        """Return a context in which infinities and NaN raise no warnings and nothing is recorded for autograd."""

    def drive(self, steps: Generator[Any, Any, None], count: int, /) -> list[Any]:
        """Return the next `count` quantities that a running definition yields."""


class Operations(Namespace, ArrayOperations, Protocol):
    """A whole namespace: both protocols in one object, as evaluation uses it."""


class Backend(Protocol):
    """Computes the calls on arrays of a framework.

    `lossary.backends.definitions.DefinitionBackend` makes one of a namespace alone, without kernels and caches.
    """

    @property
    def xp(self) -> Operations:
        """The namespace of the framework's arrays."""

    def fast_value(self, loss: Any, arrays: Any, params: Mapping[str, Any], reduction: str, check: bool) -> Any:
        """Return the reduced value of a call by the bound kernel in the call cache; None without an entry for the call.

        It takes a call as the user wrote it, and must return what the general path returns.
        """

    def fast_value_and_grad(
        self, loss: Any, arrays: Any, params: Mapping[str, Any], reduction: str, check: bool
    ) -> tuple[Any, tuple[Any, ...]] | None:
        """Return the reduced value and the gradients as `fast_value` returns the value, or None."""

    def stored_narrow(self, loss: Any, signature: Any, arrays: Sequence[Array]) -> Sequence[str]:
        """Return the names of the arrays of a call that a kernel reads in half precision, so that none is widened."""

    def evaluate(self, call: Any) -> Array:
        """Return the values of a `lossary.evaluate.call.Call` as the definition yields them.

        In a framework with automatic differentiation their gradient is the definition's.
        """

    def by_kernel(
        self, call: Any, value: Literal["each", "sum"] | None, orders: tuple[int, ...], scale: Any, finish: Any
    ) -> Any:
        """Return value and derivatives of a call from a kernel, in one pass over its arrays; None without a kernel.

        `value` is ``"each"``, ``"sum"`` or None, `orders` those of the derivatives, which enter with the factor
        `scale`, and `finish` turns a sum into the reduced value.
        """

    def outputs(self, call: Any, out: Any) -> tuple[Array, ...]:
        """Check the arrays of ``out=``, one for each gradient, or reject them in a framework that takes none."""

    def deliver(self, grads: Sequence[Array], buffers: Sequence[Array]) -> None:
        """Write gradients to the arrays that `outputs` returned, unless a kernel has written them there."""

    def observe_outside_graph(self, observe: Callable[..., Any], /, *call: Any) -> None:
        """Run an observer of calls where the values can be read, while a compiler traces the call itself."""
