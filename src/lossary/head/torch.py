"""A linear head and its loss on tensors, differentiable by autograd, `torch.func`, forward mode and `torch.compile`.

There are three ways to a value. Eager calls run the chunk loop, which computes the gradients in the same pass where one
number comes out; `ChunkedLinearLoss` hands them to autograd. Second derivatives, the transforms of `torch.func` and
forward mode make the logits of each chunk again by ordinary operations. Under `torch.compile` the loop is a custom
operator, which the compiler does not trace.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lossary.backends.torch import namespace as xp
from lossary.backends.torch.operators import packed_parameters, unpacked_parameters
from lossary.backends.torch.tensors import ORDINARY_TYPES, forward_mode, loses_derivatives, ordinary, tracing
from lossary.catalogue import recorded
from lossary.evaluate import reduction
from lossary.head.chunks import host_memory
from lossary.head.loop import ChunkProducts, evaluate_chunks
from lossary.head.problem import HEAD, LinearHead, LinearProblem, LogProbsAndEntropy, RowLoss

Way = Literal["eager", "transformed", "operator", "operations"]
WIDENED_BYTES = 2**22  # of the weight that are held in a wider type at a time
# Devices whose products of half precision are added up in float32 and come out so; "meta" stands for them.
_WIDE_SUMS = ("cuda", "meta")
_HALF = (torch.float16, torch.bfloat16)


# --- matrix products -------------------------------------------------------------------------------------------------


class TensorProducts(ChunkProducts):
    """The matrix products of a head on tensors.

    Where the device multiplies half precision into float32 sums (CUDA), `factors` is the type of its factors. Elsewhere
    it is None, and the weight is widened a block at a time. On a device nothing waits for what has been computed, so
    that a call can be captured in a CUDA graph.
    """

    narrow: Tensor | None = None  # the memory of the gradient in logits in the type of the factors

    def __init__(self, problem: LinearProblem, wrt: Sequence[str]) -> None:
        super().__init__(problem, wrt)
        self.where = problem.weight.device
        self.device = self.where.type
        on_cpu = self.device == "cpu"
        self.threads = torch.get_num_threads() if on_cpu else 0
        self.scale_at_end = not on_cpu  # a scale on the device need not be waited for, and small gradients stay normal
        self.weight = problem.weight.detach()
        self.bias = None if problem.bias is None else problem.bias.detach().to(self.dtype)
        self.factors = self._half_factors()
        self.factor_bytes = self.factors.itemsize if self.factors else 0
        if not on_cpu and self.weight.dtype not in (self.factors, self.dtype):
            self.weight = self.weight.to(self.factors or self.dtype)

    def _half_factors(self) -> torch.dtype | None:
        kind = self.device
        if kind not in _WIDE_SUMS or self.dtype != torch.float32:
            return None
        if self.weight.dtype in _HALF and self.problem.hidden.dtype == self.weight.dtype:
            return self.weight.dtype
        if kind == "cuda" and torch.is_autocast_enabled(kind):  # as in a linear layer under autocast
            return torch.get_autocast_dtype(kind)
        return None

    def total_memory(self) -> float:
        """Return how many bytes of memory the device has."""
        return _total_memory(self.where)

    def kept_rows(self) -> Tensor | None:
        """Return the numbers of the rows whose weight is not 0, or None for all rows.

        How many these are, only the device knows: on one, rows of weight 0 are computed with the others.
        """
        coefficients = self.problem.coefficients
        if coefficients is None or self.device != "cpu":
            return None
        kept = torch.nonzero(coefficients)[:, 0]
        return None if len(kept) == self.problem.count else kept

    def empty(self, *shape: int) -> Tensor:
        """Return memory to compute into."""
        return torch.empty(shape, dtype=self.dtype, device=self.where)

    def zeros(self, *shape: int) -> Tensor:
        """Return zeros in the type computed in."""
        return torch.zeros(shape, dtype=self.dtype, device=self.where)

    def factor(self, hidden: Tensor, coefficients: Tensor | None = None) -> Tensor:
        """Return hidden states in the type that products are made of, zeros in rows of weight 0."""
        return zero_where_dropped(coefficients, hidden.detach().to(self.factors or self.dtype))

    def narrowed(self, grad: Tensor) -> Tensor:
        """Return the gradient in logits in the type that products are made of, always in the same memory."""
        if not self.factors:
            return grad
        if self.narrow is None:
            self.narrow = torch.empty(grad.shape, dtype=self.factors, device=self.where)
        return self.narrow[: len(grad)].copy_(grad)

    def release(self) -> None:
        """Release the memory that only chunks need."""
        self.narrow = None

    def _weight_blocks(self) -> Iterator[tuple[int, int, Tensor]]:
        """Yield blocks of the weight in the type that products are made of, with their first and last class."""
        if self.factors or self.weight.dtype == self.dtype:
            yield 0, len(self.weight), self.weight
            return
        classes = max(1, WIDENED_BYTES // max(1, self.weight.shape[1] * self.dtype.itemsize))
        for low in range(0, len(self.weight), classes):
            block = self.weight[low : low + classes]
            yield low, low + len(block), block.to(self.dtype)

    def logits(self, hidden: Tensor, out: Tensor) -> Tensor:
        """Write the logits of some rows to `out` and return them."""
        for low, high, weight in self._weight_blocks():
            if self.factors:
                torch.mm(hidden, weight.t(), out_dtype=self.dtype, out=out)
            else:
                torch.mm(hidden, weight.t(), out=out[:, low:high])
        if self.bias is not None:
            out += self.bias
        return out

    def gradient_in_hidden(self, grad: Tensor, out: Tensor | None) -> Tensor:
        """Return the gradient in hidden states, given that in their logits; write it to `out` unless that is None."""
        total = self.empty(len(grad), self.weight.shape[1]) if out is None else out
        if self.factors:
            return torch.mm(grad, self.weight, out_dtype=self.dtype, out=total)
        for low, high, weight in self._weight_blocks():
            total.addmm_(grad[:, low:high], weight, beta=1 if low else 0)
        return total

    def add_to_weight(self, grad: Tensor, hidden: Tensor) -> None:
        """Add the chunk's part of the gradient in the weight, in the wide type."""
        total, first = self.total("weight", *self.weight.shape)
        beta = 0 if first else 1
        if self.factors:
            torch.addmm(total, grad.t(), hidden, out_dtype=self.dtype, beta=beta, out=total)
        else:
            total.addmm_(grad.t(), hidden, beta=beta)

    def add_to_bias(self, grad: Tensor) -> None:
        """Add the chunk's part of the gradient in the bias."""
        total, first = self.total("bias", self.weight.shape[0])
        torch.sum(grad, 0, out=total) if first else total.add_(grad.sum(0))


# --- values and gradients --------------------------------------------------------------------------------------------


def values(problem: LinearProblem) -> tuple[Tensor, ...]:
    """Return everything that the rows give, one number per row each, differentiable."""
    return tuple(x.reshape(problem.batch) for x in _per_row(problem))


def value(problem: LinearProblem) -> Tensor:
    """Return the reduced value, differentiable."""
    count, inverse = _divisor_and_inverse(problem)
    way = _way(problem)
    if problem.reduction == "none" or way in ("transformed", "operations"):
        return _reduced(problem, _per_row(problem)[0], count)
    wrt = _differentiated(problem)
    if way == "operator":
        return _compiled(problem, wrt, inverse)[0]
    with torch.no_grad():
        (each,), grads = _by_chunks(problem, wrt, scale=inverse)
        summed = _reduced(problem, each, count)
    return _with_gradients(_Spec(problem, wrt, inverse), (summed,), grads)[0]


def value_and_grad(problem: LinearProblem, wrt: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the reduced value and the gradients in the arrays that `wrt` names."""
    count, inverse = _divisor_and_inverse(problem)
    if _watched(problem):
        each = torch.ones(problem.count, dtype=problem.dtype, device=problem.hidden.device) * inverse
        grads = _gradients(problem, (each,), wrt)
        found = _reduced(problem, _by_operations(problem)[0], count)
    else:
        (each,), grads = _by_chunks(problem, wrt, scale=inverse)
        found = _reduced(problem, each, count)
    if "hidden" in grads:
        grads["hidden"] = grads["hidden"].reshape(*problem.batch, problem.hidden.shape[-1])
    return found, grads


@torch.no_grad()
def _by_chunks(
    problem: LinearProblem, wrt: Sequence[str], upstream: Sequence[Tensor] | None = None, scale: Any = 1.0
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Return the weighted value of each row and the gradients in the arrays that `wrt` names, by the chunk loop."""
    return evaluate_chunks(problem, TensorProducts(problem, wrt), upstream, scale)


def _per_row(problem: LinearProblem) -> tuple[Tensor, ...]:
    """Return what the rows give, one number per row each, differentiable."""
    way = _way(problem)
    if way == "operations":
        return _by_operations(problem)
    problem = replace(problem, reduction="none", denominator=None)
    if way == "operator":
        return tuple(_compiled(problem, _differentiated(problem)))
    if way == "transformed":
        found = ChunkedLinearLoss.apply(_Spec(problem, HEAD), None, *problem.tensors.values())
        return found if isinstance(found, tuple) else (found,)
    outputs, _ = _by_chunks(problem, ())
    return _with_gradients(_Spec(problem, _differentiated(problem)), outputs, None)


def _divisor_and_inverse(problem: LinearProblem) -> tuple[Any, Any]:
    """Return the number that the sum is divided by, and one over it: a float, if reading it waits for no device."""
    count = problem.divisor()
    if isinstance(count, Tensor):
        count = count.to(problem.dtype)  # one over a whole number would be in the default type
    inverse = reduction.average(1.0, count)
    if isinstance(inverse, Tensor) and xp.readable(inverse) is not None:
        inverse = float(inverse)
    return count, inverse


def _total(each: Tensor, scale: Any = 1.0) -> Tensor:
    """Return a sum, taken in a wide type where there is one."""
    wide = torch.float64 if each.device.type == "cpu" else each.dtype
    return (each.sum(dtype=wide) * scale).to(each.dtype)


def _reduced(problem: LinearProblem, each: Tensor, count: Any) -> Tensor:
    if problem.reduction == "none":
        return each.reshape(problem.batch)
    summed = _total(each)
    return reduction.average(summed, count).to(problem.dtype) if problem.reduction == "mean" else summed


# --- which way a problem is computed ---------------------------------------------------------------------------------


def _needs_gradient(x: Tensor | None) -> bool:
    return x is not None and x.requires_grad and torch.is_grad_enabled()


def _differentiated(problem: LinearProblem) -> tuple[str, ...]:
    """Return which arrays of the head autograd wants gradients of."""
    return tuple(name for name in HEAD if _needs_gradient(problem.tensors.get(name)))


def _transforms_active() -> bool:
    return torch._C._are_functorch_transforms_active() or forward_mode()


def _all_ordinary(problem: LinearProblem) -> bool:
    return all(ordinary(x) if x.is_cpu else type(x) in ORDINARY_TYPES for x in problem.tensors.values())


def _watched(problem: LinearProblem) -> bool:
    """Whether somebody differentiates what is computed, in whatever way, or traces it."""
    return (
        torch.compiler.is_compiling()
        or _transforms_active()
        or not _all_ordinary(problem)
        or any(map(_needs_gradient, problem.tensors.values()))
    )


def _way(problem: LinearProblem) -> Way:
    """Return the way a problem is computed in, so that every derivative that is asked for is right."""
    others = [x for name, x in problem.tensors.items() if name not in HEAD]
    if any(map(_needs_gradient, others)) or any(x.is_complex() for x in others):
        return "operations"  # a teacher, a target or a parameter that learns
    if torch.compiler.is_compiling():
        opaque = not torch._C._are_functorch_transforms_active() and _packed(problem) is not None
        return "operator" if opaque else "operations"
    if tracing():
        return "operations"
    if _transforms_active():
        moving = forward_mode() and any(torch.autograd.forward_ad.unpack_dual(x).tangent is not None for x in others)
        return "operations" if moving or loses_derivatives() else "transformed"
    return "eager" if _all_ordinary(problem) else "operations"


# --- under autograd --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Spec:
    """A problem whose tensors are given anew, and what is differentiated: the arrays `wrt`, the sum times `inverse`."""

    problem: LinearProblem
    wrt: tuple[str, ...]
    inverse: Any = 1.0

    def on(self, tensors: Sequence[Tensor]) -> LinearProblem:
        """Return the problem on other tensors in the order of its own."""
        return self.problem.on(dict(zip(self.problem.tensors, tensors, strict=True)))

    def in_order(self, grads: Mapping[str, Tensor]) -> tuple[Tensor | None, ...]:
        """Return one gradient for every tensor, None for those that have none."""
        return tuple(grads.get(name) for name in self.problem.tensors)


class _Computed(NamedTuple):
    """What the chunk loop has computed: one number with its gradients, or numbers per row without."""

    outputs: tuple[Tensor, ...]
    grads: Mapping[str, Tensor] | None


def _with_gradients(spec: _Spec, outputs: tuple[Tensor, ...], grads: Mapping[str, Tensor] | None) -> tuple[Tensor, ...]:
    """Return what the chunk loop has computed as tensors that autograd can differentiate."""
    if not spec.wrt:
        return outputs
    found = ChunkedLinearLoss.apply(spec, _Computed(outputs, grads), *spec.problem.tensors.values())
    return found if isinstance(found, tuple) else (found,)


class ChunkedLinearLoss(torch.autograd.Function):
    """The derivatives of a head and its loss, for autograd, `torch.func` and forward mode.

    Eager values are computed before, with the gradients of one number; gradients of values per row make the logits
    again. Second derivatives, and everything under a transform, are made of operations that can be differentiated.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(spec: _Spec, computed: _Computed | None, *tensors: Tensor) -> Any:
        """Return what has been computed, or compute it where a transform is active."""
        outputs = _by_operations(spec.on(tensors)) if computed is None else computed.outputs
        return outputs if len(outputs) > 1 else outputs[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the tensors, and the gradients of one number."""
        ctx.spec, computed, *tensors = inputs
        ctx.eager = computed is not None
        ctx.grads = computed.grads if ctx.eager else None
        ctx.save_for_backward(*tensors)
        if not ctx.eager:  # these are held as long as the graph, and not only until it is differentiated
            ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Return the gradients in the arrays of the head."""
        spec = ctx.spec
        problem = spec.on(ctx.saved_tensors)
        reduces = problem.reduction != "none"
        if torch.is_grad_enabled() or not ctx.eager:
            if reduces:
                upstream = ((upstream[0] * spec.inverse).to(problem.dtype).expand(problem.count),)
            grads = _gradients(problem, upstream, spec.wrt)
        elif reduces:
            # They are handed over, not copied: whoever gets a gradient may add to it. A second time they are computed.
            grads, ctx.grads = ctx.grads, None
            if grads is None:
                _, grads = _by_chunks(problem, spec.wrt, scale=spec.inverse)
            if upstream[0].device.type != "cpu" or float(upstream[0]) != 1:
                grads = {name: grad.mul_(upstream[0]) for name, grad in grads.items()}
        else:
            _, grads = _by_chunks(problem, spec.wrt, upstream)
        return None, None, *spec.in_order(grads)

    @staticmethod
    def jvp(ctx: Any, _spec: Any, _computed: Any, *tangents: Tensor | None) -> Any:
        """Return the tangents of the outputs."""
        problem = ctx.spec.on(ctx.saved_tensors)
        named = zip(problem.tensors, tangents, strict=True)
        found = _tangents(problem, {name: t for name, t in named if t is not None and name in HEAD})
        return found if len(found) > 1 else found[0]


# PyTorch asks for the signature at every call of a function that has `setup_context`.
ChunkedLinearLoss.forward.__signature__ = inspect.signature(ChunkedLinearLoss.forward)  # type: ignore[attr-defined]


# --- by ordinary operations ------------------------------------------------------------------------------------------


def _spans(problem: LinearProblem) -> list[slice]:
    where = problem.weight.device
    return list(problem.spans(problem.count, where.type, _total_memory(where), graph=True))


def _total_memory(where: torch.device) -> float:
    """Return how many bytes of memory a device has; infinity for other devices than CUDA's."""
    if where.type == "cuda":
        return float(torch.cuda.get_device_properties(where).total_memory)
    return host_memory() if where.type == "cpu" else math.inf


def zero_where_dropped(coefficients: Tensor | None, rows: Tensor) -> Tensor:
    """Return rows with zeros for those of weight 0, whatever these hold."""
    return rows if coefficients is None else torch.where(coefficients[:, None] == 0, torch.zeros_like(rows), rows)


def _logits(problem: LinearProblem) -> Tensor:
    """Return the logits of the rows of a problem; of a row of weight 0 those of zeros."""
    hidden = zero_where_dropped(problem.coefficients, problem.hidden)
    return LinearHead(hidden, problem.weight, problem.bias).logits(xp, problem.dtype)


def _values_of_part(problem: LinearProblem, names: Sequence[str], *tensors: Tensor) -> tuple[Tensor, ...]:
    part = problem.on(dict(zip(names, tensors, strict=True)))
    return part.rows.values(xp, _logits(part), part)


def _by_operations(problem: LinearProblem) -> tuple[Tensor, ...]:
    """Return what the rows give by operations that any framework of derivatives can see.

    Where only autograd records them, the logits of a chunk are dropped and made again in the backward pass.
    """
    recorded_only = not torch.compiler.is_compiling() and not tracing() and not _transforms_active()
    recorded_only = recorded_only and _all_ordinary(problem)
    drops_logits = recorded_only and any(map(_needs_gradient, problem.tensors.values()))
    found = []
    for span in _spans(problem) or [slice(0, 0)]:
        part = problem.part(span)
        names = tuple(part.tensors)
        if drops_logits:
            found.append(checkpoint(_values_of_part, part, names, *part.tensors.values(), use_reentrant=False))
        else:
            found.append(_values_of_part(part, names, *part.tensors.values()))
    return tuple(torch.cat([x.reshape(-1) for x in column]) for column in zip(*found, strict=True))


def _gradients(problem: LinearProblem, upstream: Sequence[Tensor], wrt: Sequence[str]) -> dict[str, Tensor]:
    """Return gradients of the sum of what the rows give, each times its upstream, in differentiable operations."""
    dtype, weight = problem.dtype, problem.weight.to(problem.dtype)
    in_hidden: list[Tensor] = []
    in_weight, in_bias = torch.zeros_like(weight), weight.new_zeros(weight.shape[:1])
    for span in _spans(problem):
        part = problem.part(span)
        factors = [u[span] if part.coefficients is None else u[span] * part.coefficients for u in upstream]
        _, grad = part.rows.values_and_gradient(xp, _logits(part), part, factors, 1.0, True, None)
        if "hidden" in wrt:
            in_hidden.append(xp.matmul(grad, weight))
        if "weight" in wrt:
            hidden = zero_where_dropped(part.coefficients, part.hidden.to(dtype))
            in_weight = in_weight + xp.matmul(xp.transpose(grad), hidden)
        if "bias" in wrt:
            in_bias = in_bias + grad.sum(0)
    grads = {"weight": in_weight, "bias": in_bias}
    grads["hidden"] = torch.cat(in_hidden) if in_hidden else torch.zeros_like(problem.hidden)
    if problem.bias is not None and not problem.bias.ndim:
        grads["bias"] = in_bias.sum()
    tensors = problem.tensors
    return {name: grads[name].to(tensors[name].dtype) for name in wrt if name in tensors}


def _tangents(problem: LinearProblem, moved: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return the tangents of what the rows give, given those of arrays of the head."""
    found = []
    for span in _spans(problem) or [slice(0, 0)]:
        part = problem.part(span)
        logits = _logits(part)
        hidden, weight = part.hidden.to(problem.dtype), part.weight.to(problem.dtype)
        change = torch.zeros_like(logits)
        if "hidden" in moved:
            change = change + xp.matmul(moved["hidden"][span].to(problem.dtype), xp.transpose(weight))
        if "weight" in moved:
            change = change + xp.matmul(hidden, xp.transpose(moved["weight"].to(problem.dtype)))
        if "bias" in moved:
            change = change + moved["bias"].to(problem.dtype)
        change = zero_where_dropped(part.coefficients, change)
        outputs = []
        for n in range(part.rows.outputs):
            ones = torch.ones_like(logits[:, 0]) if part.coefficients is None else part.coefficients
            factors = [ones if m == n else torch.zeros_like(ones) for m in range(part.rows.outputs)]
            _, grad = part.rows.values_and_gradient(xp, logits, part, factors, 1.0, True, None)
            outputs.append((grad * change).sum(-1))
        found.append(outputs)
    return tuple(torch.cat(column) for column in zip(*found, strict=True))


# --- under the compiler ----------------------------------------------------------------------------------------------


class _Operands(NamedTuple):
    """What the custom operator takes besides tensors: a problem and what is computed of it, in numbers and words."""

    loss: str  # its key
    numbers: Sequence[float]  # parameters that are numbers, and their names
    number_names: str
    options: str  # parameters that are none, as `packed_parameters` writes them
    names: str  # of the tensors
    wrt: str
    entropy: bool
    chunk: int | None
    memory: int | None

    def problem(self, tensors: Sequence[Tensor]) -> LinearProblem:
        """Return the problem on tensors."""
        held = dict(zip(self.names.split(","), tensors, strict=True))
        record = recorded(self.loss)
        params = unpacked_parameters(record, self.numbers, self.number_names, self.options)
        params |= {name.removeprefix("param:"): x for name, x in held.items() if name.startswith("param:")}
        teacher = tuple(held.get(f"teacher:{name}") for name in HEAD)
        hidden = held["hidden"]
        return LinearProblem(
            rows=(LogProbsAndEntropy if self.entropy else RowLoss)(record),
            hidden=hidden,
            weight=held["weight"],
            bias=held.get("bias"),
            arrays={name: x for name, x in held.items() if name.startswith(("row:", "all:"))},
            teacher=None if teacher[0] is None else LinearHead(*teacher),
            coefficients=held.get("coefficients"),
            params=params,
            batch=(hidden.shape[0],),
            dtype=xp.compute_dtype([held[name] for name in HEAD if name in held]),
            reduction="none",
            denominator=None,
            chunk=self.chunk,
            memory=self.memory,
            xp=xp,
        )

    def differentiated(self) -> list[str]:
        """Return the names of the arrays whose gradients are computed."""
        return self.wrt.split(",") if self.wrt else []


def _packed(problem: LinearProblem) -> tuple[Any, ...] | None:
    """Return the loss and those of its parameters that are no tensors as the operator takes them, if it can."""
    others = {name: value for name, value in problem.params.items() if not isinstance(value, Tensor)}
    packed = packed_parameters(others)
    return None if packed is None or not problem.rows.loss.key else (problem.rows.loss.key, *packed)


def _compiled(problem: LinearProblem, wrt: Sequence[str], scale: Any = None) -> list[Tensor]:
    """Return the sum times a scale, and its gradients; without a scale what the rows give."""
    packed, tensors = _packed(problem), problem.tensors
    assert packed is not None, "asked before"
    loss, numbers, number_names, options = packed
    given = _Operands(
        loss=loss,
        numbers=numbers,
        number_names=number_names,
        options=options,
        names=",".join(tensors),
        wrt=",".join(wrt),
        entropy=isinstance(problem.rows, LogProbsAndEntropy),
        chunk=problem.chunk,
        memory=problem.memory,
    )
    if scale is not None and not isinstance(scale, Tensor):
        # Dynamo guards on the value of a number: the operator would be compiled again for every number of rows.
        wide = torch.float64 if problem.hidden.device.type == "cpu" else problem.dtype
        scale = torch.full((), scale, dtype=wide, device=problem.hidden.device)
    return linear_operator(list(tensors.values()), [], scale, *given)


@torch.library.custom_op("lossary::linear", mutates_args=())
def linear_operator(
    tensors: Sequence[Tensor],
    upstream: Sequence[Tensor],
    scale: Tensor | None,
    loss: str,
    numbers: Sequence[float],
    number_names: str,
    options: str,
    names: str,
    wrt: str,
    entropy: bool,
    chunk: int | None,
    memory: int | None,
) -> list[Tensor]:
    """Return the sum times `scale` and its gradients; without a scale what the rows give.

    Given the gradient of what the rows give as `upstream`, return the gradients in the arrays `wrt`.
    """
    given = _Operands(loss, numbers, number_names, options, names, wrt, entropy, chunk, memory)
    problem, differentiated = given.problem([x.detach() for x in tensors]), given.differentiated()
    if upstream:
        _, grads = _by_chunks(problem, differentiated, list(upstream))
        return [grads[name] for name in differentiated]
    if scale is None:
        return list(_by_chunks(problem, ())[0])
    factor = float(scale) if scale.device.type == "cpu" else scale.detach()
    (each,), grads = _by_chunks(problem, differentiated, scale=factor)
    return [_total(each, factor), *(grads[name] for name in differentiated)]


@linear_operator.register_fake
def _linear_shapes(
    tensors: Sequence[Tensor], upstream: Sequence[Tensor], scale: Tensor | None, *rest: Any
) -> list[Tensor]:
    given = _Operands(*rest)
    held = dict(zip(given.names.split(","), tensors, strict=True))
    dtype = xp.compute_dtype([held[name] for name in HEAD if name in held])
    grads = [torch.empty_like(held[name], memory_format=torch.contiguous_format) for name in given.differentiated()]
    if upstream:
        return grads
    if scale is not None:
        return [held["hidden"].new_empty((), dtype=dtype), *grads]
    return [held["hidden"].new_empty(held["hidden"].shape[:1], dtype=dtype) for _ in range(1 + given.entropy)]


def _save_for_gradient(ctx: Any, inputs: Any, output: list[Tensor]) -> None:
    tensors, _, scale, *rest = inputs
    ctx.operands, ctx.count, ctx.reduces = _Operands(*rest), len(tensors), scale is not None
    ctx.save_for_backward(*tensors, *((scale, *output[1:]) if ctx.reduces else ()))


def _gradient_of_operator(ctx: Any, upstream: Sequence[Tensor]) -> Any:
    given: _Operands = ctx.operands
    tensors, kept = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
    names, wrt = given.names.split(","), given.differentiated()
    if torch.is_grad_enabled():  # who differentiates again
        problem = given.problem(tensors)
        if ctx.reduces:
            upstream = [(upstream[0] * kept[0]).to(problem.dtype).expand(problem.count)]
        grads = _gradients(problem, upstream, wrt)
    elif ctx.reduces:
        grads = {name: (grad * upstream[0]).to(grad.dtype) for name, grad in zip(wrt, kept[1:], strict=True)}
    else:
        found = linear_operator(list(tensors), [u.contiguous() for u in upstream], None, *given)
        grads = dict(zip(wrt, found, strict=True))
    of_numbers: Any = None if given.numbers else []  # an empty list is answered by one
    return [grads.get(name) for name in names], [], None, None, of_numbers, *(None,) * (len(given) - 2)


linear_operator.register_autograd(_gradient_of_operator, setup_context=_save_for_gradient)
