"""The head of a network and its loss in one, without ever holding the logits.

With a vocabulary of 128 000 the logits of a batch are far larger than everything they are made of. Here they are made
for a few rows at a time: logits of a chunk, the loss's values and gradient written over them, their share of the
gradients in hidden states, weight and bias, and on to the next chunk. The memory is that of one chunk, and the three
matrix products are the same as ever.

>>> import numpy as np, lossary
>>> hidden, weight = np.eye(3), 2 * np.eye(3)
>>> float(linear(lossary.softmax_cross_entropy, hidden, weight, [0, 1, 2])) == float(
...     lossary.mean(lossary.softmax_cross_entropy(hidden @ weight.T, [0, 1, 2])))
True

How it is built: a `Problem` is a checked call, its arrays flattened to rows. Its `Rows` say what is computed of a row
of logits. `evaluate` is the loop over chunks, the same for NumPy and for tensors, which differ in their `Products`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from lossary import numerics, settings
from lossary.backends import registry as _dispatch
from lossary.catalogue import Loss, get
from lossary.catalogue.domains import Domain, parse_domain
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError
from lossary.evaluate import checks, reduction
from lossary.evaluate.call import Call
from lossary.evaluate.call import prepare as prepare_call
from lossary.evaluate.reduction import Reduction
from lossary.losses.classification import softmax_cross_entropy

MEMORY = 48 * 2**20  # bytes of a chunk: about a last-level cache
LEAST_ROWS = 256  # with fewer, adding to the gradient of the weight takes longer than multiplying
SHARE = 8  # no chunk takes more than this part of the free memory unasked
COPIES = 8  # arrays of the size of a chunk that a definition holds at a time; the row kernel works in place
_REAL, _LABELS = parse_domain("real"), parse_domain("{0, ..., c-1}")


class Gradients(NamedTuple):
    """Gradients in the arrays of a head, each in its array's shape and type; None for what was not wanted."""

    hidden: Any
    weight: Any
    bias: Any


class TokenLogProbs(NamedTuple):
    """Log-probability of each label, and entropy of each row's distribution, in nats."""

    log_probs: Any
    entropy: Any


# --- what is computed of rows of logits ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rows:
    """A loss on rows of logits, as a part of a problem that has no arrays in it.

    `link` is what makes the loss's own input of logits: ``softmax`` or ``log_softmax`` for losses of probabilities, and
    nothing for others. A loss that is `pointwise` is taken of every logit and summed along the row; `low` is the target
    of classes other than the label.
    """

    loss: Loss
    link: str = ""
    pointwise: bool = False
    low: float = 0.0
    teacher_link: str = ""
    domains: Sequence[Domain] = ()  # of the loss's arrays, if their values are to be looked at
    outputs: int = 1

    def arguments(self, xp: Any, logits: Any, part: Problem) -> list[Any]:
        """Return the loss's arrays for some rows, all but the first."""
        found = []
        for name in self.loss.arguments[1:]:
            if part.teacher is not None and f"row:{name}" not in part.arrays and f"all:{name}" not in part.arrays:
                found.append(_linked(xp, self.teacher_link, part.teacher.logits(logits)))
                continue
            array = part.arrays.get(f"row:{name}", part.arrays.get(f"all:{name}"))
            if self.pointwise and array.ndim == logits.ndim - 1:
                hit = xp.one_hot(xp.as_index(array)[..., None], logits)
                array = hit if self.low == 0 else hit + self.low * (1 - hit)
            found.append(array)
        return found

    def call(self, xp: Any, logits: Any, part: Problem, factor: Any) -> Call:
        """Return the loss's call on rows of logits, weighted by a factor per row."""
        given = (_linked(xp, self.link, logits), *self.arguments(xp, logits, part))
        call = prepare_call(self.loss, given, part.params, check=False, defer_checks=True)
        if factor is not None and self.pointwise:
            factor = xp.broadcast_to(factor[..., None], logits.shape)
        return replace(call, weights=factor)

    def inspect(self, xp: Any, logits: Any, part: Problem, start: int) -> None:
        """Raise `DomainError` if rows have values outside their domain: made logits, and targets of every class."""
        for name, allowed in zip(self.loss.arguments, self.domains, strict=False):
            array = part.arrays.get(f"row:{name}") if name != self.loss.arguments[0] else None if self.link else logits
            if array is None or array.ndim != logits.ndim:
                continue
            try:
                checks.domain(xp, self.loss, name, allowed, array, None, part.classes)  # all of them count
            except DomainError as error:
                error.add_note(f"Rows are counted from row {start} of those that count: logits are made in chunks.")
                raise

    def values(self, xp: Any, logits: Any, part: Problem) -> tuple[Any, ...]:
        """Return the weighted value of each row, in operations that a framework can differentiate."""
        call = self.call(xp, logits, part, None)
        each = call.values(call.backend.evaluate(call))
        return (reduction.weigh(xp, self._along(each), part.coefficients),)

    def _along(self, each: Any) -> Any:
        return each.sum(-1) if self.pointwise else each

    def pull(
        self, xp: Any, logits: Any, part: Problem, factors: Sequence[Any], scale: Any, order: int, threads: int
    ) -> tuple[tuple[Any, ...], Any]:
        """Return the values times their factors, and, at order 1, the gradient in the logits times factor and scale.

        With `threads` the logits are plain memory of ours: a kernel writes the gradient over them.
        """
        (factor,) = factors
        if threads >= 0 and not self.link and not self.pointwise:
            done = _by_kernel(self.loss, xp, logits, self.call(xp, logits, part, factor), scale, order, threads)
            if done is not None:
                values = done.values if factor is None else reduction.weigh(xp, done.values, factor)
                return (values,), logits
        call = self.call(xp, logits, part, factor)
        done = call.backend.fused(call, "each", order, scale, None) if threads >= 0 else None
        at = self.loss.wrt.index(self.loss.arguments[0])
        if done is not None:
            each, slope = done.value, done.derivatives[at] if order else None
        else:
            value, derivatives, _ = call.pull(order)
            each = reduction.weigh(xp, call.values(value), call.weights)
            slope = call.restore(derivatives[0], _product(call.weights, scale))[at] if order else None
        return (self._along(each),), _pulled_back(xp, self.link, logits, slope) if order else None


@dataclass(frozen=True)
class LabelRows(Rows):
    """The log-probability of a label and the entropy of the distribution it is taken from."""

    outputs: int = 2

    def _parts(self, xp: Any, logits: Any, part: Problem) -> tuple[Any, Any, Any, Any]:
        temperature, cap = part.params["temperature"], part.params["soft_cap"]
        capped = logits if cap is None else cap * xp.tanh(logits / cap)
        log_probs, probs, _ = numerics.log_softmax(xp, capped / temperature)
        slope = (1.0 if cap is None else numerics.sech_squared(xp, logits / cap)) / temperature
        return log_probs, probs, xp.one_hot(xp.as_index(part.arrays["row:target"])[..., None], logits), slope

    def values(self, xp: Any, logits: Any, part: Problem) -> tuple[Any, ...]:
        """Return the two, in operations that a framework can differentiate."""
        return self.pull(xp, logits, part, (part.coefficients,) * 2, 1.0, 0, -1)[0]

    def pull(
        self, xp: Any, logits: Any, part: Problem, factors: Sequence[Any], scale: Any, order: int, threads: int
    ) -> tuple[tuple[Any, ...], Any]:
        """Return both quantities times their factors, and the gradient of the sum of the two."""
        if threads >= 0 and (not order or _nothing(xp, factors[1])):  # where the entropy is only looked at
            by = -factors[0] if order else None
            call = self.call(xp, logits, part, by)
            done = _by_kernel(self.loss, xp, logits, call, scale, order, threads, () if order else ("entropy",))
            if done is not None:
                found = (-done.values, done.values if order else done.entropy)
                return tuple(reduction.weigh(xp, q, f) for q, f in zip(found, factors, strict=True)), logits
        log_probs, probs, wanted, slope = self._parts(xp, logits, part)
        present = xp.sum(wanted)
        log_probability = xp.sum(numerics.times(xp, wanted, log_probs))
        entropy = -xp.sum(numerics.times(xp, probs, log_probs))
        found = tuple(
            reduction.weigh(xp, q[..., 0], f) for q, f in zip((log_probability, entropy), factors, strict=True)
        )
        if not order:
            return found, None
        residual = -numerics.residual_probabilities(xp, log_probs, probs, wanted, present)
        spread = -numerics.times(xp, probs, log_probs + entropy)
        grads = (residual * slope, spread * slope)
        first, second = (_weighed(xp, g, f, scale) for g, f in zip(grads, factors, strict=True))
        return found, first + second


def _nothing(xp: Any, factor: Any) -> bool:
    seen = None if factor is None else xp.readable(factor)
    return seen is not None and not seen.any()


def _weighed(xp: Any, grad: Any, factor: Any, scale: Any) -> Any:
    by = _product(factor, scale)
    return reduction.weigh(xp, grad, by[..., None] if getattr(by, "shape", ()) else by)


def _is_one(scale: Any) -> bool:
    return isinstance(scale, float) and scale == 1.0


def _product(factor: Any, scale: Any) -> Any:
    return scale if factor is None else factor if _is_one(scale) else factor * scale


def _linked(xp: Any, link: str, logits: Any) -> Any:
    """Make of logits what a loss takes."""
    if not link:
        return logits
    log_probabilities, probabilities, _ = numerics.log_softmax(xp, logits)
    return log_probabilities if link == "log_softmax" else probabilities


def _pulled_back(xp: Any, link: str, logits: Any, grad: Any) -> Any:
    """Return the gradient in the logits, given that in what the link made of them."""
    if not link:
        return grad
    probabilities = numerics.log_softmax(xp, logits)[1]
    if link == "log_softmax":
        return grad - probabilities * xp.sum(grad)
    return probabilities * (grad - xp.sum(probabilities * grad))


def _by_kernel(
    loss: Loss,
    xp: Any,
    logits: Any,
    call: Call,
    scale: Any,
    order: int,
    threads: int,
    outputs: Sequence[str] = (),
) -> Any:
    """Evaluate a loss by the row kernel, its gradient written over the logits; None where there is no such kernel."""
    from lossary.kernels import table

    plan_of = getattr(table.find(loss), "plan", None)
    memory = xp.readable(logits)
    if plan_of is None or memory is None or logits.size == 0:
        return None
    held = {name: xp.readable(p) if hasattr(p, "shape") else p for name, p in call.params.items()}
    arrays = [memory, *(xp.readable(a) for a in call.arrays[1:])]
    plan = plan_of(replace(call, arrays=arrays, params=held))
    if plan is None:
        return None
    from lossary.kernels.cpu.softmax.host import softmax_rows

    target = arrays[1]
    done = softmax_rows(
        memory,
        target[..., 0] if target.dtype.kind in "iu" else target,
        plan,
        dtype=memory.dtype,
        weights=None if call.weights is None else xp.readable(call.weights),
        scale=float(scale),
        gradient=order == 1,
        outputs=outputs,
        count=threads,
        out=memory if order else None,
    )
    values, entropy = (None if a is None else xp.asarray(a, "values", logits) for a in (done.values, done.entropy))
    return replace(done, values=values, entropy=entropy)


# --- a checked call --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Teacher:
    """Rows that another head makes, chunk by chunk as the head itself does."""

    hidden: Any
    weight: Any
    bias: Any

    def logits(self, like: Any) -> Any:
        """Return the teacher's logits in the type of the student's; without a weight they are there already."""
        if self.weight is None:
            return self.hidden
        xp = _dispatch.namespace(like)
        logits = xp.matmul(xp.cast(self.hidden, like.dtype), xp.transpose(xp.cast(self.weight, like.dtype)))
        return logits if self.bias is None else logits + xp.cast(self.bias, like.dtype)


@dataclass(frozen=True, eq=False)
class Problem:
    """A checked call of a head and a loss: arrays flattened to rows, and what is to be done with them.

    `arrays` are the loss's further arrays, ``row:name`` one entry per row, ``all:name`` the same for all rows.
    `coefficients` are the weights of the rows, or None. `batch` is the shape that the values get.
    """

    rows: Rows
    hidden: Any
    weight: Any
    bias: Any
    arrays: Mapping[str, Any]
    teacher: Teacher | None
    coefficients: Any
    params: Mapping[str, Any]
    batch: tuple[int, ...]
    dtype: Any
    how: Reduction
    denominator: Any
    chunk: int | None
    memory: int | None
    xp: Any = field(repr=False)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(self.hidden.shape[0])

    @property
    def classes(self) -> int:
        """How many logits a row has."""
        return int(self.weight.shape[0])

    @property
    def tensors(self) -> dict[str, Any]:
        """All arrays by name: those of the head first."""
        found = {"hidden": self.hidden, "weight": self.weight, "bias": self.bias, "coefficients": self.coefficients}
        found |= self.arrays
        if self.teacher is not None:
            found |= {f"teacher:{name}": getattr(self.teacher, name) for name in ("hidden", "weight", "bias")}
        found |= {f"param:{k}": v for k, v in self.params.items() if hasattr(v, "shape")}
        return {name: array for name, array in found.items() if array is not None}

    def on(self, tensors: Mapping[str, Any]) -> Problem:
        """Return the same problem on other arrays, by the names of `tensors`."""
        teacher = self.teacher
        if teacher is not None:
            teacher = Teacher(*(tensors.get(f"teacher:{name}") for name in ("hidden", "weight", "bias")))
        return replace(
            self,
            hidden=tensors["hidden"],
            weight=tensors["weight"],
            bias=tensors.get("bias"),
            coefficients=tensors.get("coefficients"),
            arrays={name: tensors[name] for name in self.arrays},
            teacher=teacher,
            params={k: tensors.get(f"param:{k}", v) for k, v in self.params.items()},
        )

    def part(self, where: Any) -> Problem:
        """Return the problem of some of the rows: a slice, or an array of their numbers."""
        return self.on({name: a[where] if _by_row(name) else a for name, a in self.tensors.items()})

    def spans(self, count: int, kernel: bool, available: float) -> Iterator[slice]:
        """Divide rows into chunks of about the same length."""
        if not count:
            return
        if self.chunk is not None:
            rows = self.chunk
        else:
            copies = 1 if kernel else COPIES
            row = max(1, self.classes) * int(self.dtype.itemsize) * copies
            budget = self.memory
            if budget is None:
                budget = int(max(MEMORY, min(LEAST_ROWS * row, available / SHARE)))
            rows = max(1, budget // row)
        rows = -(-count // -(-count // rows))
        for start in range(0, count, rows):
            yield slice(start, min(start + rows, count))

    def divisor(self) -> Any:
        """Return the number the weighted sum is divided by."""
        return reduction.scale(self.xp, (self.count,), self.dtype, self.coefficients, self.how, self.denominator)


def _by_row(name: str) -> bool:
    return name in ("hidden", "coefficients", "teacher:hidden") or name.startswith("row:")


def prepare(
    loss: Loss | str,
    hidden: Any,
    weight: Any,
    labels: Any,
    bias: Any = None,
    *,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "mean",
    denominator: Any = None,
    memory: int | None = None,
    chunk: int | None = None,
    check: bool = True,
    params: Mapping[str, Any] | None = None,
) -> Problem:
    """Check a call of `linear` and flatten its arrays to rows."""
    record = get(loss)
    rank = max(s.rank for s in record.signatures)
    if record.coupling is not None:
        raise ArgumentError(
            f"linear: {record.name} compares the examples of a batch by itself, it has no logits; for a contrastive "
            "loss take softmax_cross_entropy with the other embeddings as the weight and the positives as the labels"
        )
    if rank > 1 or (rank == 0 and record.input in ("probability", "log-probability", "distance")):
        raise ArgumentError(f"linear: {record.name} takes {record.signature} of {record.input}, not rows of logits")
    for name, number in (("memory", memory), ("chunk", chunk)):
        if number is not None and not (isinstance(number, int) and number > 0):
            raise ParameterError(f"linear: {name}: got {number!r}, expected a whole number > 0")
    check = check and (_dispatch.is_tracing() or settings.level() in ("sampled", "full"))
    keywords = dict(params or {})
    teacher = _as_teacher(labels)
    others = {name: keywords.pop(name) for name in record.arguments[2:] if name in keywords}
    xp = _dispatch.namespace(hidden, weight, bias, *(teacher or (labels,)), *others.values(), sample_weight, mask)
    like = next((x for x in (hidden, weight) if hasattr(x, "dtype")), None)

    def array(x: Any, name: str) -> Any:
        return None if x is None else xp.asarray(x, f"linear: {name}", like)

    hidden, weight, bias = array(hidden, "hidden"), array(weight, "weight"), array(bias, "bias")
    batch = _head_shapes(hidden, weight, bias)
    dtype = xp.compute_dtype([x for x in (hidden, weight, bias) if x is not None])
    classes = weight.shape[0]
    pointwise = rank == 0
    exempt = keywords.pop("ignore_index", record.bound.get("ignore_index"))
    held = checks.parameters(record, keywords, ranges=check)
    held.pop("ignore_index", None)

    stand_in = xp.broadcast_to(xp.cast(xp.asarray(0.0, "", like), dtype), (*batch, classes))
    given: dict[str, Any] = {}
    if len(record.arguments) > 1:
        first = record.arguments[1]
        given[first] = stand_in if teacher is not None else array(labels, first)
    for name in record.arguments[2:]:
        if name not in others:
            raise ArgumentError(f"linear: {record.name} takes {', '.join(record.arguments)}: pass {name}= by name")
        given[name] = array(others[name], name)
    indexed = pointwise and teacher is None and given[record.arguments[1]].ndim == len(batch)
    if indexed:
        labels = given[record.arguments[1]]
        if labels.shape != batch or not xp.is_index(labels):
            raise ShapeError(
                f"linear: labels: got shape {tuple(labels.shape)}, expected class indices of shape {batch}, or a "
                f"target for each logit, {(*batch, classes)}"
            )
        domains: Sequence[Domain] = [_REAL, _LABELS]
        cores: Sequence[tuple[str, ...]] = [("c",), ()]
        low = _low(record)
    else:
        alternative, _ = checks.shapes(record, record.signatures, [stand_in, *given.values()])
        domains = [record.domain(name, alternative) for name in record.arguments]
        cores = record.signatures[alternative].inputs
        cores = [("c",) for _ in cores] if pointwise else cores
        low = 0.0
    checks.parameter_shapes(record, held, batch, classes, 1)
    for name, value in held.items():
        if len(getattr(value, "shape", ())) > 1:
            raise ShapeError(f"linear: {name}: got shape {tuple(value.shape)}, expected one number for each class")

    if exempt is not None:
        labels = xp.broadcast_to(checks.ignorable(record, [stand_in, *given.values()], domains), batch)
        kept = ~xp.equals(labels, exempt)
        mask = kept if mask is None else kept & (xp.broadcast_to(array(mask, "mask"), batch) != 0)
    coefficients = _coefficients(xp, batch, dtype, sample_weight, mask, hidden)

    arrays: dict[str, Any] = {}
    for (name, x), core, domain in zip(given.items(), cores[1:], domains[1:], strict=True):
        if teacher is not None and name == record.arguments[1]:
            continue
        own = x.ndim > len(core) or not batch
        if check and not (own and core):  # whole rows are looked at chunk by chunk
            keep = None if coefficients is None or not own else coefficients != 0
            checks.domain(xp, record, name, domain, x, keep, classes, exempt)
        x = xp.as_index(x) if domain.kind == "index" else xp.cast(x, dtype)
        arrays[f"{'row' if own else 'all'}:{name}"] = x.reshape((-1, *x.shape[x.ndim - len(core) :])) if own else x
    if teacher is not None:
        teacher = _taught(xp, teacher, batch, classes, array)
    target = domains[1].kind if len(domains) > 1 else ""
    link = {"log-probability": "log_softmax", "probability": "softmax"}.get(record.input, "") if rank else ""
    taught = {"simplex": "softmax", "log-simplex": "log_softmax"}.get(target, "")
    rows = Rows(record, link, pointwise, low, taught, tuple(domains) if check else ())
    return Problem(
        rows,
        hidden.reshape(-1, hidden.shape[-1]),
        weight,
        bias,
        arrays,
        teacher,
        None if coefficients is None else coefficients.reshape(-1),
        {k: xp.cast(array(v, k), dtype) if hasattr(v, "shape") else v for k, v in held.items()},
        batch,
        dtype,
        reduction,
        denominator,
        chunk,
        memory,
        xp,
    )


def _as_teacher(labels: Any) -> Any:
    """Return hidden states, weight and bias if these are what the labels are to be made of."""
    if isinstance(labels, tuple) and len(labels) in (2, 3) and all(getattr(x, "ndim", 0) >= 1 for x in labels[:2]):
        return (*labels, None)[:3]
    return None


def _taught(xp: Any, teacher: Any, batch: tuple[int, ...], classes: int, array: Any) -> Teacher:
    hidden, weight, bias = (array(x, f"teacher's {n}") for x, n in zip(teacher, Gradients._fields, strict=True))
    found = _head_shapes(hidden, weight, bias, "teacher's ")
    if found != batch or weight.shape[0] != classes:
        raise ShapeError(
            f"linear: the teacher makes rows of shape {(*found, weight.shape[0])}, expected {(*batch, classes)}"
        )
    return Teacher(hidden.reshape(-1, hidden.shape[-1]), weight, bias)


def _head_shapes(hidden: Any, weight: Any, bias: Any, whose: str = "") -> tuple[int, ...]:
    """Return the shape of the batch, or say which array of a head does not fit."""
    if weight.ndim != 2:
        raise ShapeError(f"linear: {whose}weight: got shape {tuple(weight.shape)}, expected (classes, features)")
    if hidden.ndim < 1 or hidden.shape[-1] != weight.shape[1]:
        turned = hidden.ndim and hidden.shape[-1] == weight.shape[0]
        raise ShapeError(
            f"linear: {whose}hidden has shape {tuple(hidden.shape)} but {whose}weight has shape {tuple(weight.shape)}; "
            "expected (..., features) and (classes, features)" + ("; did you mean weight.T?" if turned else "")
        )
    if bias is not None and tuple(bias.shape) not in ((), (weight.shape[0],)):
        raise ShapeError(
            f"linear: {whose}bias: got shape {tuple(bias.shape)}, expected one number for each class, "
            f"({weight.shape[0]},), or one for all"
        )
    return tuple(hidden.shape[:-1])


def _low(record: Loss) -> float:
    """Return the target of a class that is not the label, for a loss that has one target per logit."""
    domain = record.domain(record.arguments[1])
    if domain.kind == "set" and set(domain.values) == {-1.0, 1.0}:
        return -1.0
    if domain.contains(0) and domain.contains(1):
        return 0.0
    raise ArgumentError(f"linear: {record.name} has targets in {domain}: pass one for each logit instead of labels")


def _coefficients(xp: Any, batch: tuple[int, ...], dtype: Any, weight: Any, mask: Any, like: Any) -> Any:
    try:
        return reduction.coefficients(xp, batch, dtype, weight, mask, like)
    except (ShapeError, DomainError) as error:  # `weight` is the head's here
        raise type(error)(str(error).replace("weight", "sample_weight", 1)) from None


# --- the loop over chunks --------------------------------------------------------------------------------------------


class Products:
    """The matrix products of a head on NumPy arrays, into memory that is there already."""

    threads = 0
    late = False  # whether the gradients are scaled at the end

    def __init__(self, problem: Problem, wanted: Sequence[str]) -> None:
        self.problem, self.wanted = problem, wanted
        self.grads: dict[str, Any] = {}
        self.dtype = problem.dtype
        self.weight = self._in_dtype(problem.weight)
        self.bias = None if problem.bias is None else self._in_dtype(problem.bias)

    def _in_dtype(self, x: Any) -> Any:
        return self.problem.xp.cast(x, self.dtype)

    def available(self) -> float:
        """Return how many bytes are free."""
        return free_memory()

    def kept(self) -> Any:
        """Return the numbers of the rows that count, or None if all do."""
        coefficients = self.problem.coefficients
        if coefficients is None or (coefficients != 0).all():
            return None
        return np.flatnonzero(coefficients)

    def empty(self, *shape: int) -> Any:
        """Return memory to compute into."""
        return np.empty(shape, self.dtype)

    def zeros(self, *shape: int) -> Any:
        """Return zeros in the type computed in."""
        return np.zeros(shape, self.dtype)

    def narrow(self, hidden: Any) -> Any:
        """Return hidden states in the type to multiply in."""
        return self._in_dtype(hidden)

    def logits(self, hidden: Any, out: Any) -> Any:
        """Make the logits of some rows."""
        np.matmul(hidden, self.weight.T, out=out)
        if self.bias is not None:
            out += self.bias
        return out

    def pull_hidden(self, grad: Any) -> Any:
        """Return the gradient in hidden states, given that in their logits."""
        return np.matmul(grad, self.weight)

    def pull_weight(self, grad: Any, hidden: Any) -> None:
        """Add to the gradient of the weight: in pieces that are still in the cache when they are added."""
        total, first = self._total("weight", self.weight.shape)
        rows = max(1, 2**20 // max(1, hidden.shape[1] * hidden.itemsize))
        piece = None if first else self.empty(min(rows, len(total)), hidden.shape[1])
        for low in range(0, len(total), rows):
            own = total[low : low + rows]
            if piece is None:
                np.matmul(grad[:, low : low + rows].T, hidden, out=own)
            else:
                own += np.matmul(grad[:, low : low + rows].T, hidden, out=piece[: len(own)])

    def pull_bias(self, grad: Any) -> None:
        """Add to the gradient of the bias."""
        total, first = self._total("bias", self.weight.shape[:1])
        if first:
            total[...] = 0
        total += grad.sum(0)

    def _total(self, name: str, shape: tuple[int, ...]) -> tuple[Any, bool]:
        first = name not in self.grads
        if first:
            self.grads[name] = self.empty(*shape)
        return self.grads[name], first

    def finish(self, name: str, grad: Any, scale: Any) -> Any:
        """Give a gradient the shape and type of its array."""
        xp, like = self.problem.xp, self.problem.tensors[name]
        if grad is None:
            grad = self.zeros(*(self.weight.shape[:1] if name == "bias" else like.shape))
        if name == "bias" and not like.ndim:
            grad = grad.sum()
        if self.late and not _is_one(scale):
            grad = grad * scale
        return xp.cast(xp.asarray(grad, name, like), xp.gradient_dtype(like, self.dtype))


def evaluate(
    problem: Problem,
    products: Any,
    order: int,
    upstream: Sequence[Any] | None = None,
    scale: Any = 1.0,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the weighted value of each row, and the gradients that the products were told to make.

    The gradients are those of the sum of the values, each times its `upstream`, times `scale`.
    """
    rows, xp = problem.rows, problem.xp
    kept = products.kept()
    count = problem.count if kept is None else len(kept)
    outputs = [products.zeros(problem.count) for _ in range(rows.outputs)]
    wanted = products.wanted if order else ()
    grads: dict[str, Any] = {}
    if "hidden" in wanted:
        grads["hidden"] = (products.zeros if kept is not None else products.empty)(*problem.hidden.shape)
    in_place = _has_row_kernel(rows, xp, problem)
    buffer = None
    teacher = problem.teacher
    if teacher is not None:
        own = replace(problem, hidden=teacher.hidden, weight=teacher.weight, bias=teacher.bias, teacher=None)
        taught = type(products)(own, ())
    for span in problem.spans(count, in_place, products.available()):
        where = span if kept is None else kept[span]
        part = problem.part(where)
        hidden, size = products.narrow(part.hidden), span.stop - span.start
        if buffer is None:
            buffer = products.empty(size, problem.classes)
        logits = products.logits(hidden, buffer[:size])
        if part.teacher is not None:
            made = taught.logits(taught.narrow(part.teacher.hidden), products.empty(size, problem.classes))
            part = replace(part, teacher=Teacher(made, None, None))
        if upstream is None:
            rows.inspect(xp, logits, part, span.start)
        factors = [part.coefficients] * rows.outputs
        if upstream is not None:
            factors = [u[where] if f is None else f * u[where] for f, u in zip(factors, upstream, strict=True)]
        now = 1.0 if products.late else scale
        values, grad = rows.pull(xp, logits, part, factors, now, order, products.threads)
        for output, value in zip(outputs, values, strict=True):
            output[where] = value
        if "hidden" in wanted:
            grads["hidden"][where] = products.pull_hidden(grad)
        if "weight" in wanted:
            products.pull_weight(grad, hidden)
        if "bias" in wanted:
            products.pull_bias(grad)
    grads |= {name: products.grads.get(name) for name in ("weight", "bias") if name in wanted}
    return tuple(outputs), {name: products.finish(name, grad, scale) for name, grad in grads.items()}


def _has_row_kernel(rows: Rows, xp: Any, problem: Problem) -> bool:
    from lossary.kernels import table

    if rows.link or rows.pointwise or xp.readable(problem.weight) is None:
        return False
    return hasattr(table.find(rows.loss), "plan")


def free_memory() -> float:
    """Return how many bytes of memory are free, as far as the system says."""
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):  # not every system says
        return math.inf


# --- the public functions --------------------------------------------------------------------------------------------


def linear(
    loss: Loss | str,
    hidden: Any,
    weight: Any,
    labels: Any,
    bias: Any = None,
    *,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "mean",
    denominator: Any = None,
    memory: int | None = None,
    chunk: int | None = None,
    check: bool = True,
    **params: Any,
) -> Any:
    """Return the loss of the logits ``hidden @ weight.T + bias`` without holding them.

    Parameters
    ----------
    loss: a loss on rows, or its name. One on log-probabilities (`kl_divergence`, `nll`) or probabilities is given the
        (log-)softmax of the logits. One on single numbers is taken of each logit and summed along the row.
    hidden: (..., features).
    weight: (classes, features): the weight of a linear layer, an embedding matrix, the other embeddings of a batch.
    labels: the loss's second array: class indices (...), or rows (..., classes). ``(hidden, weight)`` or
        ``(hidden, weight, bias)`` of a teacher stands for the rows of the teacher, which are made chunk by chunk too.
        For a loss on single numbers class indices stand for rows with a 1 at the label, and 0, or -1 where the loss
        wants it, elsewhere. Further arrays of the loss are passed by name.
    bias: one number per class, or one for all.
    sample_weight: numbers >= 0, one per row.
    mask: true where a row counts. Rows that do not count, or whose label is `ignore_index`, are dropped before the
        logits are made: whatever they hold, NaN included, enters nothing.
    reduction: ``"mean"``: ``sum(w * v) / sum(w)``. ``"sum"``. ``"none"``: one value per row; their gradient is
        computed on the way back from the logits, which are made again.
    denominator: replaces ``sum(w)`` under ``"mean"``: the number of tokens of all micro-batches, or all workers.
    memory: bytes for the logits of a chunk, and what the loss makes of them. By default 48 MiB, or as many as 256 rows
        take, but no more than an eighth of the free memory for that.
    chunk: rows of a chunk, instead of `memory`.
    check: look at the values of the labels, not only at shapes.
    params: the loss's parameters. One that is called as something here (`siglip` has a `bias`) is fixed by `Loss.bind`.

    Half precision is computed in float32 from the logits on, and so is the sum that makes the gradient of the weight.
    On tensors the result is differentiable: with ``"mean"`` and ``"sum"`` the gradients are computed in the same pass.

    Raises `ShapeError`, `DomainError`, `ParameterError` or `ArgumentError`, each naming the argument.

    >>> import numpy as np, lossary
    >>> rng = np.random.default_rng(0)
    >>> hidden, weight, labels = rng.normal(size=(6, 4)), rng.normal(size=(50, 4)), np.array([3, 7, -100, 1, 0, 49])
    >>> whole = lossary.softmax_cross_entropy.value(hidden @ weight.T, labels, ignore_index=-100, reduction="mean")
    >>> parts = linear(lossary.softmax_cross_entropy, hidden, weight, labels, ignore_index=-100, chunk=2)
    >>> bool(np.isclose(whole, parts, rtol=1e-14))
    True
    """
    problem = prepare(
        loss,
        hidden,
        weight,
        labels,
        bias,
        sample_weight=sample_weight,
        mask=mask,
        reduction=reduction,
        denominator=denominator,
        memory=memory,
        chunk=chunk,
        check=check,
        params=params,
    )
    return _engine(problem).value(problem)


def linear_value_and_grad(
    loss: Loss | str,
    hidden: Any,
    weight: Any,
    labels: Any,
    bias: Any = None,
    *,
    wrt: Sequence[str] = ("hidden", "weight", "bias"),
    sample_weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "mean",
    denominator: Any = None,
    memory: int | None = None,
    chunk: int | None = None,
    check: bool = True,
    **params: Any,
) -> tuple[Any, Gradients]:
    """Return the value of `linear` and its gradients in hidden states, weight and bias, in one pass over the chunks.

    `wrt` names the arrays whose gradient is wanted: the others' products are not computed, and their gradient is None.
    Under ``reduction="none"`` the gradients are those of the sum of the values. Everything else is as in `linear`.

    >>> import numpy as np, lossary
    >>> value, grads = linear_value_and_grad(lossary.softmax_cross_entropy, np.eye(2), np.zeros((2, 2)), [0, 1])
    >>> float(value).hex() == float(np.log(2)).hex(), grads.weight
    (True, array([[-0.25,  0.25],
           [ 0.25, -0.25]]))
    >>> grads.bias is None                            # there is none
    True
    """
    unknown = [name for name in wrt if name not in Gradients._fields]
    if unknown or isinstance(wrt, str):
        raise ArgumentError(f"linear: wrt: got {wrt!r}, expected names out of {', '.join(Gradients._fields)}")
    problem = prepare(
        loss,
        hidden,
        weight,
        labels,
        bias,
        sample_weight=sample_weight,
        mask=mask,
        reduction=reduction,
        denominator=denominator,
        memory=memory,
        chunk=chunk,
        check=check,
        params=params,
    )
    names = [name for name in Gradients._fields if name in wrt and name in problem.tensors]
    value, grads = _engine(problem).value_and_grad(problem, names)
    return value, Gradients(*(grads.get(name) for name in Gradients._fields))


def token_log_probs(
    hidden: Any,
    weight: Any,
    labels: Any,
    bias: Any = None,
    *,
    entropy: bool = False,
    temperature: float = 1.0,
    soft_cap: float | None = None,
    ignore_index: int | None = None,
    mask: Any = None,
    memory: int | None = None,
    chunk: int | None = None,
    check: bool = True,
) -> Any:
    """Return the log-probability of each label under the head's softmax; with `entropy` also that of each row.

    This is what preference and reinforcement-learning losses are made of. Both results are differentiable on tensors,
    and have one number per label, in float32 for half precision. Rows that are masked, or whose label is
    `ignore_index`, have exactly 0 of both, and no gradient. Arrays, `memory` and `chunk` are those of `linear`;
    `temperature` divides the logits, `soft_cap` bounds them first.

    >>> import numpy as np, lossary
    >>> found = token_log_probs(np.zeros((2, 3)), np.ones((4, 3)), [0, 3], entropy=True)
    >>> found.log_probs == -np.log(4), found.entropy == np.log(4)
    (array([ True,  True]), array([ True,  True]))
    """
    shared = {"temperature": temperature, "soft_cap": soft_cap, "ignore_index": ignore_index}
    problem = prepare(
        softmax_cross_entropy,
        hidden,
        weight,
        labels,
        bias,
        mask=mask,
        reduction="none",
        memory=memory,
        chunk=chunk,
        check=check,
        params=shared,
    )
    if "row:target" not in problem.arrays or problem.arrays["row:target"].ndim > 1:
        raise ShapeError(f"token_log_probs: labels: expected class indices of shape {problem.batch}")
    if not entropy:
        return -_engine(problem).value(problem)
    rows = LabelRows(problem.rows.loss)
    return TokenLogProbs(*_engine(problem).values(replace(problem, rows=rows)))


def _engine(problem: Problem) -> Any:
    """Return what computes a problem: for tensors something that autograd understands."""
    if isinstance(problem.hidden, np.ndarray):
        return _NumPy
    from lossary import linear_torch

    return linear_torch


class _NumPy:
    """Problems on NumPy arrays."""

    @staticmethod
    def values(problem: Problem) -> tuple[Any, ...]:
        found, _ = evaluate(problem, Products(problem, ()), 0)
        return tuple(x.reshape(problem.batch)[()] for x in found)

    @staticmethod
    def value(problem: Problem) -> Any:
        return _NumPy.value_and_grad(problem, ())[0]

    @staticmethod
    def value_and_grad(problem: Problem, names: Sequence[str]) -> tuple[Any, dict[str, Any]]:
        count = problem.divisor()
        inverse = float(reduction.average(1.0, count))
        (each,), grads = evaluate(problem, Products(problem, names), int(bool(names)), scale=inverse)
        if "hidden" in grads:
            grads["hidden"] = grads["hidden"].reshape(*problem.batch, problem.hidden.shape[-1])
        if problem.how == "none":
            return each.reshape(problem.batch)[()], grads
        summed = reduction.reduce_sum(problem.xp, each, problem.dtype)
        return (reduction.average(summed, count) if problem.how == "mean" else summed), grads
