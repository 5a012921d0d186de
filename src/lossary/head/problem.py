"""The problem that `lossary.linear` computes: arrays flattened to rows, options, and a loss on rows of logits.

The `RowLoss` of a `LinearProblem` gives values and gradients of any rows of logits. The chunk loop
(`lossary.head.loop`) makes these logits and carries the gradients on to hidden states, weight and bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lossary import numerics
from lossary.catalogue import Loss, links
from lossary.catalogue.domains import Domain, admits
from lossary.errors import ArgumentError, DomainError
from lossary.evaluate import checks, reduction
from lossary.evaluate.call import Call, prepare
from lossary.evaluate.reduction import Reduction
from lossary.head.chunks import RowCost, rows_of_chunk, spans

HEAD = ("hidden", "weight", "bias")
DEFINITION_ARRAYS = 8  # arrays of the size of the logits that a definition holds at a time, the logits among them


def is_array(x: Any) -> bool:
    """Whether a parameter is an array; a number that a compiler traces must not be asked for attributes."""
    return not isinstance(x, (int, float)) and hasattr(x, "shape")


def takes_whole_rows(loss: Loss) -> bool:
    """Whether a loss takes a row of logits at a time, and not each logit by itself."""
    return max(signature.rank for signature in loss.signatures) > 0


def off_target(loss: Loss) -> float:
    """Return the target of a logit that is not the label's, for a loss that takes each logit by itself."""
    domain = loss.domain(loss.arguments[1])
    if domain.kind == "set" and set(domain.values) == {-1.0, 1.0}:
        return -1.0
    if domain.contains(0) and domain.contains(1):
        return 0.0
    raise ArgumentError(f"linear: {loss.name} has targets in {domain}: pass one for each logit instead of labels")


# --- a loss on rows of logits ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowLoss:
    """Values and gradients of a loss on rows of logits; the arrays of the rows are a problem's.

    A loss of (log-)probabilities is given the (log-)softmax of the logits. A loss of single numbers is taken of each
    logit and summed along the row. `checked` are the domains of the loss's arrays, if their values are to be checked.
    """

    loss: Loss
    checked: Sequence[Domain] = ()

    outputs = 1  # numbers per row

    @property
    def runs_in_blocks(self) -> bool:
        """Whether a definition on many rows of logits makes its temporaries for a block of them at a time."""
        return takes_whole_rows(self.loss) and self.activation is links.IDENTITY

    @property
    def activation(self) -> links.Link:
        """The link whose inverse makes the loss's input of a row of logits: a softmax for a loss of probabilities."""
        return _over_classes(admits(self.loss.input, ("c",))) if takes_whole_rows(self.loss) else links.IDENTITY

    @property
    def teacher_activation(self) -> links.Link:
        """The same for a teacher's logits and the loss's second array."""
        for alternative, signature in enumerate(self.loss.signatures):
            if signature.inputs[1] == signature.inputs[0]:
                return _over_classes(self.loss.domain(self.loss.arguments[1], alternative))
        return links.IDENTITY

    def arguments(self, xp: Any, logits: Any, part: LinearProblem) -> list[Any]:
        """Return the loss's arrays for some rows, all but the first."""
        found = []
        for name in self.loss.arguments[1:]:
            array = part.arrays.get(f"row:{name}", part.arrays.get(f"all:{name}"))
            if array is None and part.teacher is not None:
                array = self.teacher_activation.inverse(xp, part.teacher.logits(xp, logits.dtype))
            elif not takes_whole_rows(self.loss) and array.ndim == logits.ndim - 1:
                hit, low = xp.one_hot(xp.as_index(array)[..., None], logits), off_target(self.loss)
                array = hit if low == 0 else hit + low * (1 - hit)
            found.append(array)
        return found

    def call(self, xp: Any, logits: Any, part: LinearProblem, factor: Any) -> Call:
        """Return the loss's call on rows of logits, weighted by a factor per row."""
        given = (self.activation.inverse(xp, logits), *self.arguments(xp, logits, part))
        call = prepare(self.loss, given, part.params, check=False, defer_checks=True)
        if factor is not None and not takes_whole_rows(self.loss):
            factor = xp.broadcast_to(factor[..., None], logits.shape)
        return replace(call, weights=factor)

    def check(self, xp: Any, logits: Any, part: LinearProblem, start: int) -> None:
        """Raise `DomainError` if logits, or targets that are whole rows, have values outside their domain."""
        for name, allowed in zip(self.loss.arguments, self.checked, strict=False):
            own = logits if self.activation is links.IDENTITY else None
            array = own if name == self.loss.arguments[0] else part.arrays.get(f"row:{name}")
            if array is None or array.ndim != logits.ndim:
                continue
            try:
                checks.domain(xp, self.loss, name, allowed, array, None, part.classes)  # no row here has weight 0
            except DomainError as error:
                error.add_note(f"Rows are counted from row {start} of those that count: logits are made in chunks.")
                raise

    def values(self, xp: Any, logits: Any, part: LinearProblem) -> tuple[Any, ...]:
        """Return the weighted value of each row, in operations that a framework can differentiate."""
        call = self.call(xp, logits, part, None)
        each = call.values(call.backend.evaluate(call))
        return (reduction.weigh(xp, self._sum_of_row(each), part.coefficients),)

    def _sum_of_row(self, each: Any) -> Any:
        return each if takes_whole_rows(self.loss) else each.sum(-1)

    def values_and_gradient(
        self,
        xp: Any,
        logits: Any,
        part: LinearProblem,
        factors: Sequence[Any],
        scale: Any,
        gradient: bool,
        threads: int | None,
    ) -> tuple[tuple[Any, ...], Any]:
        """Return the values times their factors, and their gradient in the logits times factor and scale, or None.

        With `threads` (0 leaves the number to the kernel) the logits may be overwritten, and a kernel writes the
        gradient over them. With None everything is computed by operations that a framework can differentiate again.
        """
        (factor,) = factors
        order, whole_rows = int(gradient), takes_whole_rows(self.loss)
        call = self.call(xp, logits, part, factor)
        if threads is not None and whole_rows and self.activation is links.IDENTITY:
            done = _over_logits(self.loss, xp, logits, call, scale, gradient, threads)
            if done is not None:
                values = done.values if factor is None else reduction.weigh(xp, done.values, factor)
                return (values,), logits
        done = None if threads is None else call.backend.by_kernel(call, "each", (1,) if gradient else (), scale, None)
        at = self.loss.wrt.index(self.loss.arguments[0])
        if done is not None:
            each, derivative = done.value, done.derivatives[0][at] if gradient else None
        else:
            value, derivatives, _ = call.pull(order)
            each = reduction.weigh(xp, call.values(value), call.weights)
            derivative = call.restore(derivatives[0], _product(call.weights, scale))[at] if gradient else None
        return (self._sum_of_row(each),), self.activation.pullback(xp, logits, derivative) if gradient else None


@dataclass(frozen=True)
class LogProbsAndEntropy(RowLoss):
    """The log-probability of a label, and the entropy of the distribution of its row."""

    outputs = 2
    runs_in_blocks = False

    def values(self, xp: Any, logits: Any, part: LinearProblem) -> tuple[Any, ...]:
        """Return the two, in operations that a framework can differentiate."""
        return self.values_and_gradient(xp, logits, part, (part.coefficients,) * 2, 1.0, False, None)[0]

    def values_and_gradient(
        self,
        xp: Any,
        logits: Any,
        part: LinearProblem,
        factors: Sequence[Any],
        scale: Any,
        gradient: bool,
        threads: int | None,
    ) -> tuple[tuple[Any, ...], Any]:
        """Return both quantities times their factors, and the gradient of the sum of the two."""
        if threads is not None and (not gradient or _all_zero(xp, factors[1])):  # no gradient of the entropy is wanted
            call = self.call(xp, logits, part, -factors[0] if gradient else None)
            further = () if gradient else ("entropy",)
            done = _over_logits(self.loss, xp, logits, call, scale, gradient, threads, further)
            if done is not None:
                found = (-done.values, done.values if gradient else done.entropy)
                return tuple(reduction.weigh(xp, q, f) for q, f in zip(found, factors, strict=True)), logits
        temperature, cap = part.params["temperature"], part.params["soft_cap"]
        capped = logits if cap is None else cap * xp.tanh(logits / cap)
        log_probs, probs, _ = numerics.log_softmax(xp, capped / temperature)
        one_hot = xp.one_hot(xp.as_index(part.arrays["row:target"])[..., None], logits)
        log_probability = xp.sum(numerics.times(xp, one_hot, log_probs))
        entropy = -xp.sum(numerics.times(xp, probs, log_probs))
        found = tuple(
            reduction.weigh(xp, q[..., 0], f) for q, f in zip((log_probability, entropy), factors, strict=True)
        )
        if not gradient:
            return found, None
        of_scaled = (1.0 if cap is None else numerics.sech_squared(xp, logits / cap)) / temperature
        of_log_probability = -numerics.residual_probabilities(xp, log_probs, probs, one_hot, xp.sum(one_hot))
        of_entropy = -numerics.times(xp, probs, log_probs + entropy)
        first, second = (
            _weighed_rows(xp, grad * of_scaled, factor, scale)
            for grad, factor in zip((of_log_probability, of_entropy), factors, strict=True)
        )
        return found, first + second


def _all_zero(xp: Any, factor: Any) -> bool:
    seen = None if factor is None else xp.readable(factor)
    return seen is not None and not seen.any()


def _weighed_rows(xp: Any, grad: Any, factor: Any, scale: Any) -> Any:
    by = _product(factor, scale)
    return reduction.weigh(xp, grad, by[..., None] if getattr(by, "shape", ()) else by)


def is_one(scale: Any) -> bool:
    """Whether a scale is the number 1; of a scale on a device it is not asked."""
    return isinstance(scale, float) and scale == 1.0


def _product(factor: Any, scale: Any) -> Any:
    return scale if factor is None else factor if is_one(scale) else factor * scale


def _over_classes(allowed: Domain) -> links.Link:
    """Return the activation for an array that holds a distribution over classes in each row, else the identity."""
    return links.activation(allowed) if allowed.kind in ("simplex", "log-simplex") else links.IDENTITY


# --- the row kernel --------------------------------------------------------------------------------------------------


def row_kernel(loss: Loss) -> Any:
    """Return the kernel that can write a loss's gradient over the logits, or None if the loss has no such kernel."""
    from lossary.kernels import registry as kernels

    kernel = kernels.find(loss)
    if kernel is None:
        return None
    from lossary.kernels.cpu.softmax.losses import SoftmaxKernel

    return kernel if isinstance(kernel, SoftmaxKernel) else None


def _over_logits(
    loss: Loss,
    xp: Any,
    logits: Any,
    call: Call,
    scale: Any,
    gradient: bool,
    threads: int,
    further: Sequence[str] = (),
) -> Any:
    """Evaluate a loss by its row kernel, the gradient written over the logits; None if no kernel takes the call."""
    if xp.countable(logits) <= 0:  # values on a device, which a kernel could only write to a copy of
        return None
    kernel, memory = row_kernel(loss), xp.readable(logits)
    if kernel is None or memory is None:
        return None
    params = {name: xp.readable(p) if is_array(p) else p for name, p in call.params.items()}
    arrays = [memory, *(xp.readable(a) for a in call.arrays[1:])]
    plan = kernel.spec(replace(call, arrays=arrays, params=params))
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
        gradient=gradient,
        outputs=further,
        count=threads,
        out=memory if gradient else None,
    )
    values, entropy = (None if a is None else xp.asarray(a, "values", logits) for a in (done.values, done.entropy))
    return replace(done, values=values, entropy=entropy)


# --- the problem -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LinearHead:
    """The arrays of a linear layer and its input; without a weight `hidden` holds the logits."""

    hidden: Any
    weight: Any
    bias: Any

    def logits(self, xp: Any, dtype: Any) -> Any:
        """Return the logits in a type, made by operations that a framework can differentiate."""
        if self.weight is None:
            return self.hidden
        logits = xp.matmul(xp.cast(self.hidden, dtype), xp.transpose(xp.cast(self.weight, dtype)))
        return logits if self.bias is None else logits + xp.cast(self.bias, dtype)


@dataclass(frozen=True, eq=False)
class LinearProblem:
    """A checked call of a head and a loss, its arrays flattened to rows.

    `arrays` are the loss's further arrays: ``row:name`` has one entry per row, ``all:name`` is the same for all rows.
    One that is missing is made of the logits of the `teacher`. `coefficients` are the weights of the rows, or None, and
    `batch` is the shape of the values.
    """

    rows: RowLoss
    hidden: Any
    weight: Any
    bias: Any
    arrays: Mapping[str, Any]
    teacher: LinearHead | None
    coefficients: Any
    params: Mapping[str, Any]
    batch: tuple[int, ...]
    dtype: Any
    reduction: Reduction
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
            found |= {f"teacher:{name}": getattr(self.teacher, name) for name in HEAD}
        found |= {f"param:{name}": value for name, value in self.params.items() if is_array(value)}
        return {name: array for name, array in found.items() if array is not None}

    def on(self, tensors: Mapping[str, Any]) -> LinearProblem:
        """Return the same problem on other arrays, by the names of `tensors`."""
        teacher = self.teacher
        if teacher is not None:
            teacher = LinearHead(*(tensors.get(f"teacher:{name}") for name in HEAD))
        return replace(
            self,
            hidden=tensors["hidden"],
            weight=tensors["weight"],
            bias=tensors.get("bias"),
            coefficients=tensors.get("coefficients"),
            arrays={name: tensors[name] for name in self.arrays},
            teacher=teacher,
            params={name: tensors.get(f"param:{name}", value) for name, value in self.params.items()},
        )

    def part(self, where: Any) -> LinearProblem:
        """Return the problem of some of the rows: a slice, or an array of their numbers."""
        return self.on({name: a[where] if _has_rows(name) else a for name, a in self.tensors.items()})

    def cost(self, factor_bytes: int = 0, graph: bool = False) -> RowCost:
        """Return the memory that a row of logits takes while its chunk is computed.

        `factor_bytes` are those of an entry of the gradient in the type of the products' factors, if it is another one
        than that of the logits; `graph` says that the loss is computed by operations that are differentiated again.
        """
        entry = max(1, self.classes)
        size = entry * int(self.dtype.itemsize)
        if graph:
            return RowCost(0, 2 * DEFINITION_ARRAYS * size)
        if self.overwrites_logits():
            return RowCost(size + entry * factor_bytes)
        kept, further = (2, DEFINITION_ARRAYS) if self.rows.runs_in_blocks else (1, 2 * DEFINITION_ARRAYS)
        kept += self.teacher is not None
        rows = self.block_rows(self.count)
        return RowCost(kept * size + entry * factor_bytes, further * size, rows and rows * further * size)

    def block_rows(self, count: int) -> int | None:
        """Return how many rows of logits a definition takes at a time; None if it takes all, whatever their number."""
        entry = max(1, self.classes)
        elements = self.xp.block_elements(self.weight, count * entry)
        return max(1, elements // entry) if elements else None

    def spans(
        self, count: int, device: str, total_memory: float, factor_bytes: int = 0, graph: bool = False
    ) -> Iterator[slice]:
        """Divide rows into chunks on a kind of device with so much memory; for the others see `cost`."""
        most = self.chunk or rows_of_chunk(self.cost(factor_bytes, graph), device, total_memory, self.memory)
        return spans(count, most)

    def overwrites_logits(self) -> bool:
        """Whether a kernel writes the gradient over the logits, so that a chunk needs no memory beside them."""
        in_memory = self.xp.countable(self.weight) >= 0
        return in_memory and self.rows.activation is links.IDENTITY and row_kernel(self.rows.loss) is not None

    def divisor(self) -> Any:
        """Return the number that the weighted sum is divided by."""
        return reduction.scale(self.xp, (self.count,), self.dtype, self.coefficients, self.reduction, self.denominator)


def _has_rows(name: str) -> bool:
    return name in ("hidden", "coefficients", "teacher:hidden") or name.startswith("row:")
