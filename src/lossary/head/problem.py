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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from lossary import numerics, settings
from lossary.backends import registry as _dispatch
from lossary.catalogue import Loss, get
from lossary.catalogue.domains import Domain, parse_domain
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError
from lossary.evaluate import checks, reduction
from lossary.evaluate.call import Call
from lossary.evaluate.call import prepare as prepare_call
from lossary.evaluate.reduction import Reduction

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
        call = prepare_call(self.loss, given, part.params, check=False, later=True)
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
    from lossary.kernels.cpu.rows import softmax_rows

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
