"""The softmax family on the CPU: calls the hand-written kernel for a softmax and a label or a distribution.

The loops are those of `softmax.loops`, which is imported only when a kernel is compiled. Short rows that are contiguous
in memory are better served by the loops that `generated_rows` makes of the definition; where the classes are not
innermost in memory, or the numbers are of half precision, short rows stay here.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lossary.errors import ArgumentError
from lossary.kernels.cpu.runtime import threads
from lossary.kernels.cpu.runtime.cache import written_by_hand
from lossary.kernels.cpu.runtime.layouts import Layout, dense, layout
from lossary.kernels.cpu.softmax.spec import FIELDS, LIKELIHOOD, STRIP_ROOM, SUMS, SoftmaxSpec, SoftmaxVariant
from lossary.kernels.request import HALVES
from lossary.kernels.thresholds import LEAST_LANES, MOST_LANES, SHARED_ELEMENTS, SHORT_CLASSES, TILE_ENTRIES

_LOOPS = "lossary.kernels.cpu.softmax.loops"


@cache
def _compiled(variant: SoftmaxVariant) -> Callable[..., int]:
    """Return the kernel of a variant as a function of C."""

    def make() -> bytes:
        from lossary.kernels.cpu.softmax import loops

        return loops.object_file(variant)

    name = "softmax_tiles" if variant.tiled else "softmax_rows"
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *[ctypes.c_void_p] * 16, *[ctypes.c_ssize_t] * 2)
    found: Callable[..., int] = written_by_hand(name, _LOOPS, variant, make, prototype)
    return found


class _Memory:
    """Memory as a flat array, whatever the flags of the array that owns it: it is only read."""

    def __init__(self, array: Any, size: int, kind: str) -> None:
        self.owner = array
        self.__array_interface__ = {
            "data": (array.ctypes.data, False),
            "shape": (size,),
            "typestr": kind,
            "version": 3,
        }


def _flat(array: Any, size: int) -> Any:
    return np.asarray(_Memory(array, size, HALVES.get(array.dtype, array.dtype).str))


@dataclass(frozen=True)
class SoftmaxResult:
    """What the kernel computes: a value per row, and the outputs asked for, in the shape of the batch."""

    values: Any
    grad: Any
    lse: Any
    entropy: Any
    correct: Any
    suspect: bool


def softmax_rows(
    logits: Any,
    target: Any,
    spec: SoftmaxSpec,
    *,
    dtype: Any,
    weights: Any = None,
    scale: float = 1.0,
    gradient: bool = True,
    outputs: Sequence[str] = (),
    count: int = 0,
    out: Any = None,
) -> SoftmaxResult:
    """Evaluate a spec on rows of logits, the classes on the last axis.

    Parameters
    ----------
    logits: (..., c) in float32, float64, float16, or in bfloat16 held as uint16; any layout.
    target: (...) indices, or (..., c) distributions, in any of these types.
    spec: what is computed.
    dtype: the type to compute in.
    weights: a factor of each row's gradient, or None; a row with 0 is skipped: its value and gradient are 0.
    scale: a factor of all gradients.
    gradient: whether to compute the gradient. It has the type of the logits, and their layout where that is dense.
    outputs: further results by name: ``lse`` (the log-normaliser), ``entropy`` of the softmax, ``correct`` (whether
        the label is the first of the largest scores). Rows with weight 0 have 0.
    count: threads; 0 leaves it to the kernel.
    out: an array for the gradient, of the logits' shape; another is made if this does not lie as it is written.
    """
    dtype = np.dtype(dtype)
    batch, classes = logits.shape[:-1], logits.shape[-1]
    place = layout(logits)
    if place is None:
        logits = dense(logits)
        place = layout(logits)
    rows = math.prod(batch)
    values = np.zeros(rows, dtype)
    further = {name: np.zeros(rows, bool if name == "correct" else dtype) for name in outputs}
    if place is None:  # no rows, or no classes
        grad = np.zeros(logits.shape, logits.dtype) if gradient else None
        return SoftmaxResult(values.reshape(batch), grad, *_shaped(further, batch), False)
    indexed = target.dtype.kind in "iu" and target.ndim == len(batch)
    if "correct" in further and not indexed:
        raise ArgumentError("correct: a distribution as target has no one label to be right about")
    labels = dense(target, np.int64).reshape(-1) if indexed else None
    soft, soft_steps = None, (0, 0, 0)
    if not indexed:
        target = target if target.dtype in HALVES and dtype == np.float32 else target.astype(dtype, copy=False)
        found = layout(target)
        if found is None or not place.alike(found):
            target = place.copied(target)
            found = layout(target)
        assert found is not None
        soft, soft_steps = _flat(target, found.span), found.steps

    def per_class(given: Any) -> Any:
        return None if given is None else np.array(np.broadcast_to(given, (classes,)), dtype)

    factor = np.ones(1, dtype) if weights is None else np.array(weights, dtype).reshape(-1)
    numbers = (spec.scale, spec.soft_cap, spec.smoothing, spec.z_loss, spec.parameter, scale)
    given_numbers = np.array((*numbers, *(spec.margin or (0.0,) * 4)), dtype)
    flat = _flat(logits, place.span)
    grad, flat_grad, grad_steps = None, None, (0, 0, 0)
    if gradient:
        grad, grad_steps = place.output(logits.shape, logits.dtype, out)
        flat_grad = _flat(grad, grad.size)
    memory = [
        flat, labels, soft, per_class(spec.class_weight), per_class(spec.shift), factor,
        values, flat_grad, *(further.get(name) for name in _FURTHER),
    ]  # fmt: skip

    costs = not indexed or spec.smoothing != 0
    short, width, tiles = _tiles(place, classes)
    steps = (*place.steps, *soft_steps, *grad_steps)
    present = [0 if array is None else array.size for array in memory]
    sizes = np.array((*present, classes, place.inner, width, *steps, weights is not None), np.int64)
    kinds = (str(dtype), str(flat.dtype), str(dtype if soft is None else soft.dtype))
    run_rows = _compiled(
        SoftmaxVariant(*kinds, short, costs, spec.soft_cap != 0, spec.kind, spec.margin is not None, bool(further))
    )
    addresses = [None if array is None else array.ctypes.data for array in memory]

    def run(first: int, last: int) -> int:
        strips = np.empty(STRIP_ROOM * classes * width, dtype)
        fields, sums = np.zeros((FIELDS + SUMS) * width, dtype), np.zeros(SUMS * width)
        own = (strips.ctypes.data, fields.ctypes.data, sums.ctypes.data)
        return run_rows(*addresses, *own, given_numbers.ctypes.data, sizes.ctypes.data, first, last)

    few = rows * classes < SHARED_ELEMENTS
    suspect = threads.share(run, tiles, 1 if few else count or threads.default_count())
    return SoftmaxResult(values.reshape(batch), grad, *_shaped(further, batch), bool(suspect))


def _tiles(place: Layout, classes: int) -> tuple[bool, int, int]:
    """Return whether rows go side by side, how many of them, and how many tiles they make."""
    if place.inner > 1 and ((place.steps[2] == 1 and place.steps[1] != 1) or classes < SHORT_CLASSES):
        width = _width(classes, place.inner)
        return True, width, place.outer * -(-place.inner // width)
    return False, 1, place.outer * place.inner


def _width(classes: int, rows: int) -> int:
    """Return the lanes of a tile: an odd multiple of the least, so that its strips do not share the cache's sets."""
    most = min(MOST_LANES, TILE_ENTRIES // classes, rows)
    return LEAST_LANES * (max(1, -(-most // LEAST_LANES)) | 1)


_FURTHER = ("lse", "entropy", "correct")


def _shaped(further: dict[str, Any], batch: tuple[int, ...]) -> tuple[Any, Any, Any]:
    lse, entropy, correct = (further[name].reshape(batch) if name in further else None for name in _FURTHER)
    return lse, entropy, correct


# --- small calls ----------------------------------------------------------------------------------------------------


class DenseCrossEntropy:
    """Cross-entropy of dense rows of one shape, given labels, bound to all but the addresses.

    For a small call `softmax_rows` takes longer to prepare the kernel's arguments than the kernel to run.
    """

    def __init__(self, rows: int, classes: int, dtype: str, smoothing: float, weighted: bool, gradient: bool) -> None:
        place = Layout(1, rows, (0, 1, classes), 0, rows * classes)
        short, width, self.tiles = _tiles(place, classes)
        self.kind = kind = np.dtype(dtype)
        size = kind.itemsize
        self.kernel = _compiled(
            SoftmaxVariant(
                *(dtype,) * 3,
                tiled=short,
                costs=smoothing != 0,
                capped=False,
                kind=LIKELIHOOD,
                margin=False,
                further=False,
            )
        )
        spec = SoftmaxSpec(smoothing=smoothing)
        self.options = spec.scale, spec.soft_cap, spec.smoothing, spec.z_loss, spec.parameter
        self.numbers: Any = np.ctypeslib.as_ctypes_type(kind) * (len(self.options) + 5)
        self.one = self.numbers(1.0)
        entries = rows * classes
        of_arrays = (entries, rows, 0, classes * weighted, 0, rows, rows, entries * gradient, 0, 0, 0)
        self.sizes = [
            np.array((*of_arrays, classes, rows, width, *place.steps, 0, 0, 0, *place.steps, weighed), np.int64)
            for weighed in (False, True)
        ]
        self.sizes_at = [sizes.ctypes.data for sizes in self.sizes]
        # Scratch memory: double precision first, then the values if only their sum is returned, then their type.
        self.rows = rows
        values = SUMS * width * 8
        lanes = values + rows * size
        strips = lanes + (FIELDS + SUMS) * width * size
        self.parts = values, lanes, strips
        self.workspace: Any = ctypes.c_char * (strips + STRIP_ROOM * classes * width * size)

    def __call__(
        self, logits: int, labels: int, class_weight: int, factors: int, scale: float, values: int, grad: int
    ) -> float:
        """Compute at addresses; 0 stands for absent weights, and for values of which only the sum is returned.

        Returns the sum, or 0 where each value is returned.
        """
        numbers, workspace = self.numbers(*self.options, scale), self.workspace()
        own = ctypes.addressof(workspace)
        of_values, lanes, strips = self.parts
        inputs = logits, labels, 0, class_weight, 0, factors or ctypes.addressof(self.one)
        outputs = values or own + of_values, grad, 0, 0, 0
        settings = ctypes.addressof(numbers), self.sizes_at[factors != 0]
        self.kernel(*inputs, *outputs, own + strips, own + lanes, own, *settings, 0, self.tiles)
        if values:
            return 0.0
        return float(np.frombuffer(workspace, self.kind, self.rows, of_values).sum(dtype=np.float64))
