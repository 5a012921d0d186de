"""The softmax family on the CPU: one kernel for all losses of a softmax and a label or a distribution.

Here is what is asked of the kernel and where its memory lies; the loops are those of `softmax.loops`,
which is imported only when a kernel is compiled. Short rows that lie one after the other are better served by the loops
that `generated_rows` makes of the definition; where the classes are not innermost in memory, or the numbers
are of half precision, short rows stay here.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lossary import numerics
from lossary.errors import ArgumentError
from lossary.kernels.cpu import generated_rows as lanes
from lossary.kernels.cpu.runtime import cache as store
from lossary.kernels.cpu.runtime import threads
from lossary.kernels.cpu.runtime.layouts import LEAST_LANES, Layout, dense, layout
from lossary.kernels.table import HALVES, LEAST_ROWS, SIDE_BY_SIDE, Outcome, Wanted, least

# Along a row sums are taken in pieces of this many classes, each in as many partial sums as the machine has lanes, and
# the pieces are added in double precision.
PIECE = 1024
STRIPS = 32  # the same across lanes: as many classes make a partial sum
# Rows shorter than this go side by side: of a loss without loops made of its definition, or in half precision.
SHORT = 48
TILE = 32768  # entries of a tile: with its costs it stays in the second-level cache
MOST_LANES = 2048  # where nothing more is gained by more rows side by side
LEAST_SHARED = 65536  # entries from which threads are used: their start costs some tens of microseconds

LIKELIHOOD, FOCAL, POLY, POWER = 0, 1, 2, 3  # functions of the label's log-probability

# Numbers that the loops hold for each row: in the type of the values, and sums over the classes in double precision.
FIELDS, SUMS = 21, 7
STRIP_ROOM = 3  # numbers held for each of their classes


# --- what is asked for ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """A loss of the softmax family in the kernel's terms.

    `kind` is the function of the label's log-probability and `parameter` its number. Logits are capped, multiplied by
    `scale`, and `shift` is added, one number per class. `margin` changes the label's score: cosine and sine of an
    angle, the cosine from which it applies, and what is subtracted elsewhere. A label outside the row costs nothing.
    """

    kind: int = LIKELIHOOD
    parameter: float = 0.0
    class_weight: Any = None
    shift: Any = None
    smoothing: float = 0.0
    scale: float = 1.0
    soft_cap: float = 0.0
    z_loss: float = 0.0
    margin: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Variant:
    """What a compiled kernel can do; what else may differ from call to call are numbers and absent arrays."""

    number: str  # the type to compute in
    stored: str  # that of logits and their gradient: the same, uint16 (bfloat16) or int16 (float16)
    soft: str  # that of soft targets, likewise
    tiled: bool  # rows side by side
    costs: bool  # every class has a cost: soft targets, smoothing
    capped: bool
    kind: int
    margin: bool
    further: bool  # more results than value and gradient


@cache
def _compiled(variant: Variant) -> Callable[..., int]:
    """Return the kernel of a variant as a function of C."""

    def make() -> bytes:
        from lossary.kernels.cpu.softmax import loops as row_loops

        return row_loops.object_file(variant)

    made_of = repr((_source(), variant, PIECE, STRIPS, FIELDS, SUMS))
    name = "softmax_tiles" if variant.tiled else "softmax_rows"
    address = store.function(name, made_of, make)
    pointers, integers = [ctypes.c_void_p] * 16, [ctypes.c_ssize_t] * 2
    return ctypes.CFUNCTYPE(ctypes.c_int32, *pointers, *integers)(address)


@cache
def _source() -> str:
    return (Path(__file__).parent / "loops.py").read_text()


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
class Rows:
    """What the kernel gives: a value per row, and what else was asked for, in the shape of the batch."""

    values: Any
    grad: Any
    lse: Any
    entropy: Any
    correct: Any
    suspect: bool


def softmax_rows(
    logits: Any,
    target: Any,
    plan: Plan,
    *,
    dtype: Any,
    weights: Any = None,
    scale: float = 1.0,
    gradient: bool = True,
    outputs: Sequence[str] = (),
    count: int = 0,
    out: Any = None,
) -> Rows:
    """Evaluate a plan on rows of logits, the classes on the last axis.

    Parameters
    ----------
    logits: (..., c) in float32, float64, float16, or in bfloat16 held as uint16; any layout.
    target: (...) indices, or (..., c) distributions, in any of these types.
    plan: what is computed.
    dtype: the type to compute in.
    weights: a factor of each row's gradient, or None; a row with 0 is not looked at: its value and gradient are 0.
    scale: a factor of all gradients.
    gradient: whether the gradient is wanted. It has the type of the logits, and their layout where that is dense.
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
        return Rows(values.reshape(batch), grad, *_shaped(further, batch), False)
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
    numbers = (plan.scale, plan.soft_cap, plan.smoothing, plan.z_loss, plan.parameter, scale)
    given_numbers = np.array((*numbers, *(plan.margin or (0.0,) * 4)), dtype)
    flat = _flat(logits, place.span)
    grad, flat_grad, grad_steps = None, None, (0, 0, 0)
    if gradient:
        grad, grad_steps = place.room(logits.shape, logits.dtype, out)
        flat_grad = _flat(grad, grad.size)
    memory = [
        flat, labels, soft, per_class(plan.class_weight), per_class(plan.shift), factor,
        values, flat_grad, *(further.get(name) for name in _FURTHER),
    ]  # fmt: skip

    costs = not indexed or plan.smoothing != 0
    short, width, tiles = _tiles(place, classes)
    steps = (*place.steps, *soft_steps, *grad_steps)
    present = [0 if array is None else array.size for array in memory]
    sizes = np.array((*present, classes, place.inner, width, *steps, weights is not None), np.int64)
    kinds = (str(dtype), str(flat.dtype), str(dtype if soft is None else soft.dtype))
    run_rows = _compiled(
        Variant(*kinds, short, costs, plan.soft_cap != 0, plan.kind, plan.margin is not None, bool(further))
    )
    addresses = [None if array is None else array.ctypes.data for array in memory]

    def run(first: int, last: int) -> int:
        strips = np.empty(STRIP_ROOM * classes * width, dtype)
        fields, sums = np.zeros((FIELDS + SUMS) * width, dtype), np.zeros(SUMS * width)
        own = (strips.ctypes.data, fields.ctypes.data, sums.ctypes.data)
        return run_rows(*addresses, *own, given_numbers.ctypes.data, sizes.ctypes.data, first, last)

    few = rows * classes < LEAST_SHARED
    suspect = threads.share(run, tiles, 1 if few else count or threads.default_count())
    return Rows(values.reshape(batch), grad, *_shaped(further, batch), bool(suspect))


def _tiles(place: Layout, classes: int) -> tuple[bool, int, int]:
    """Return whether rows go side by side, how many of them, and how many tiles they make."""
    if place.inner > 1 and ((place.steps[2] == 1 and place.steps[1] != 1) or classes < SHORT):
        width = _width(classes, place.inner)
        return True, width, place.outer * -(-place.inner // width)
    return False, 1, place.outer * place.inner


def _width(classes: int, rows: int) -> int:
    """Return the lanes of a tile: an odd multiple of the least, so that its strips do not share the cache's sets."""
    most = min(MOST_LANES, TILE // classes, rows)
    return LEAST_LANES * (max(1, -(-most // LEAST_LANES)) | 1)


_FURTHER = ("lse", "entropy", "correct")


def _shaped(further: dict[str, Any], batch: tuple[int, ...]) -> tuple[Any, Any, Any]:
    lse, entropy, correct = (further[name].reshape(batch) if name in further else None for name in _FURTHER)
    return lse, entropy, correct


# --- small calls ----------------------------------------------------------------------------------------------------


class Labelled:
    """Cross-entropy of dense rows of one shape, given labels: all of it but where the numbers lie.

    With little to compute, `softmax_rows` takes longer to find out what is asked than to answer.
    """

    def __init__(self, rows: int, classes: int, dtype: str, smoothing: float, weighted: bool, gradient: bool) -> None:
        place = Layout(1, rows, (0, 1, classes), 0, rows * classes)
        short, width, self.tiles = _tiles(place, classes)
        self.kind = kind = np.dtype(dtype)
        size = kind.itemsize
        self.kernel = _compiled(
            Variant(
                *(dtype,) * 3,
                tiled=short,
                costs=smoothing != 0,
                capped=False,
                kind=LIKELIHOOD,
                margin=False,
                further=False,
            )
        )
        plan = Plan(smoothing=smoothing)
        self.options = plan.scale, plan.soft_cap, plan.smoothing, plan.z_loss, plan.parameter
        self.numbers: Any = np.ctypeslib.as_ctypes_type(kind) * (len(self.options) + 5)
        self.one = self.numbers(1.0)
        entries = rows * classes
        of_arrays = (entries, rows, 0, classes * weighted, 0, rows, rows, entries * gradient, 0, 0, 0)
        self.sizes = [
            np.array((*of_arrays, classes, rows, width, *place.steps, 0, 0, 0, *place.steps, weighed), np.int64)
            for weighed in (False, True)
        ]
        self.told = [sizes.ctypes.data for sizes in self.sizes]
        # Scratch memory: double precision first, then values, where nobody wants each, and what is of their type.
        self.rows = rows
        values = SUMS * width * 8
        lanes = values + rows * size
        strips = lanes + (FIELDS + SUMS) * width * size
        self.parts = values, lanes, strips
        self.room: Any = ctypes.c_char * (strips + STRIP_ROOM * classes * width * size)

    def __call__(
        self, logits: int, labels: int, class_weight: int, factors: int, scale: float, values: int, grad: int
    ) -> float:
        """Compute at addresses; 0 stands for weights that there are none of, and for values of which the sum is wanted.

        Returns the sum, or 0 where each value is wanted.
        """
        numbers, room = self.numbers(*self.options, scale), self.room()
        own = ctypes.addressof(room)
        of_values, lanes, strips = self.parts
        inputs = logits, labels, 0, class_weight, 0, factors or ctypes.addressof(self.one)
        outputs = values or own + of_values, grad, 0, 0, 0
        told = ctypes.addressof(numbers), self.told[factors != 0]
        self.kernel(*inputs, *outputs, own + strips, own + lanes, own, *told, 0, self.tiles)
        if values:
            return 0.0
        return float(np.frombuffer(room, self.kind, self.rows, of_values).sum(dtype=np.float64))


# --- the losses of the family ---------------------------------------------------------------------------------------


def _evaluate(make: Callable[[Any], Plan | None], call: Any, wanted: Wanted) -> Outcome | None:
    dtype = np.dtype(call.dtype)
    if wanted.order > 1 or dtype.name not in ("float32", "float64"):
        return None
    logits, target = call.arrays[0], call.arrays[1]
    if call.given[0].ndim != len(call.batch) + 1:  # one row repeated over the batch: its gradients add up
        return None
    narrow = any(x.dtype in HALVES for x in (logits, target))  # widened in registers
    if not narrow and logits.shape[-1] <= SIDE_BY_SIDE:
        short = lanes.evaluate(call, wanted, LEAST_ROWS)
        if short is not None:
            return short
    plan = make(call) if logits.size >= least(LEAST_ROWS) else None
    if plan is None:  # a kernel made of the definition may do for what those written by hand do not know
        long = not narrow and logits.shape[-1] > SIDE_BY_SIDE
        return lanes.evaluate(call, wanted, LEAST_ROWS) if long else None
    known = all(allowed.kind == "index" or not allowed.bounded for allowed in call.domains)
    if not known:
        call.check_values()
    indexed = call.domains[1].kind == "index"
    target = np.broadcast_to(target[..., 0], call.batch) if indexed else np.broadcast_to(target, logits.shape)
    done = softmax_rows(
        logits,
        target,
        plan,
        dtype=dtype,
        weights=wanted.weights,
        scale=wanted.scale,
        gradient=wanted.order == 1,
        count=wanted.threads,
        out=call.out[0] if call.out else None,
    )
    if done.suspect and known:
        call.check_values()
    values = done.values
    if wanted.weights is not None and wanted.value is not None:
        values = values * wanted.weights
    value = values if wanted.value == "each" else values.sum(dtype=np.float64) if wanted.value == "sum" else None
    return Outcome(value, (done.grad,) if wanted.order else ())


@dataclass(frozen=True)
class RowKernel:
    """The kernel of a loss of the family: the plan it makes of a call, or None where the call is not for it."""

    plan: Callable[[Any], Plan | None]

    def __call__(self, call: Any, wanted: Wanted) -> Outcome | None:
        """Compute a call on NumPy arrays, or return None if it is not for this kernel."""
        return _evaluate(self.plan, call, wanted)


def _numbers(call: Any, *names: str) -> list[float] | None:
    """Return parameters as numbers, or None if one of them is not."""
    found = [call.params[name] for name in names]
    return [float(v) for v in found] if all(isinstance(v, (int, float)) for v in found) else None


def _indexed(call: Any) -> bool:
    """Whether targets are class indices: a cost that is not linear in log-probabilities is taken at one class."""
    return bool(call.domains[1].kind == "index")


def _of_counts(call: Any, formula: Callable[..., Any], number: float) -> Any:
    """Return numbers per class made of class counts; a call on tensors may hold their memory as NumPy sees it."""
    counts = call.arrays[2]
    if isinstance(counts, np.ndarray):
        with np.errstate(divide="ignore", invalid="ignore"):
            return formula(np, counts, number)
    return formula(call.xp, counts, number)


def _shift(xp: Any, counts: Any, tau: float) -> Any:
    return numerics.times(xp, tau * xp.ones_like(counts), xp.log(counts))


@RowKernel
def cross_entropy(call: Any) -> Plan | None:
    """Minus the log-likelihood of a label or a distribution, with every option."""
    numbers = _numbers(call, "label_smoothing", "temperature", "z_loss")
    cap, weight = call.params["soft_cap"], call.params["class_weight"]
    if numbers is None or not isinstance(cap, (int, float, type(None))) or getattr(weight, "ndim", 0) > 1:
        return None
    smoothing, temperature, z_loss = numbers
    return Plan(class_weight=weight, smoothing=smoothing, scale=1 / temperature, z_loss=z_loss, soft_cap=cap or 0.0)


@RowKernel
def focal(call: Any) -> Plan | None:
    """Right examples turned down."""
    numbers, weight = _numbers(call, "gamma", "label_smoothing"), call.params["class_weight"]
    if numbers is None or numbers[1] or getattr(weight, "ndim", 0) > 1 or not _indexed(call):
        return None
    return Plan(FOCAL, numbers[0], weight)


@RowKernel
def poly(call: Any) -> Plan | None:
    """The first term of the expansion reweighted."""
    numbers = _numbers(call, "epsilon")
    return None if numbers is None or not _indexed(call) else Plan(POLY, numbers[0])


@RowKernel
def power(call: Any) -> Plan | None:
    """A power of the probability in place of its logarithm."""
    numbers = _numbers(call, "q")
    return None if numbers is None or not _indexed(call) else Plan(POWER, numbers[0])


@RowKernel
def adjusted(call: Any) -> Plan | None:
    """Logits shifted by the log of the class counts."""
    numbers = _numbers(call, "tau")
    if numbers is None or call.arrays[2].ndim != 1:
        return None
    return Plan(shift=_of_counts(call, _shift, numbers[0]))


@RowKernel
def balanced(call: Any) -> Plan | None:
    """Classes weighted by their effective number."""
    numbers = _numbers(call, "beta")
    if numbers is None or call.arrays[2].ndim != 1:
        return None
    return Plan(class_weight=_of_counts(call, numerics.effective_number_weights, numbers[0]))


@RowKernel
def angular(call: Any) -> Plan | None:
    """The label's angle enlarged."""
    numbers, easy = _numbers(call, "margin", "scale"), call.params["easy_margin"]
    if numbers is None:
        return None
    margin, scale = numbers
    cos, sin = math.cos(margin), math.sin(margin)
    bounds = (0.0, 0.0) if easy else (-cos, margin * sin)
    return Plan(scale=scale, margin=(cos, sin, *bounds))


@RowKernel
def cosine(call: Any) -> Plan | None:
    """The label's cosine made smaller."""
    numbers = _numbers(call, "margin", "scale")
    if numbers is None:
        return None
    margin, scale = numbers
    return Plan(scale=scale, margin=(1.0, 0.0, math.inf, margin))
