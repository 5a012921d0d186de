"""The head and its loss on tensors: what `lossary.linear` computes, as autograd, `torch.func` and the compiler want it.

Plain tensors go through the loop over chunks of `lossary.linear`, which takes the gradients along where one number
comes out. Everything else (second derivatives, the transforms of `torch.func`, forward mode) makes the logits of each
chunk again by ordinary operations. Under `torch.compile` the loop is an operator that the compiler does not look into.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lossary.backends.torch import namespace as xp
from lossary.backends.torch import tensors
from lossary.catalogue import recorded
from lossary.evaluate import reduction
from lossary.head.loop import Products, evaluate, free_memory
from lossary.head.problem import LabelRows, Problem, Rows, Teacher

Way = Literal["loop", "transformed", "operator", "operations"]
HEAD = ("hidden", "weight", "bias")
PIECE = 2**22  # bytes of the weight that are widened at a time
_HALF = (torch.float16, torch.bfloat16)


# --- matrix products -------------------------------------------------------------------------------------------------


class TensorProducts(Products):
    """The matrix products of a head on tensors.

    Half precision is multiplied by the device's own units where those add up in float32 (CUDA); elsewhere the weight
    is widened piece by piece.
    """

    def __init__(self, problem: Problem, wanted: Sequence[str]) -> None:
        self.problem, self.wanted = problem, wanted
        self.grads = {}
        self.dtype = problem.dtype
        self.device = problem.weight.device
        on_cpu = self.device.type == "cpu"
        self.threads = torch.get_num_threads() if on_cpu else 0
        self.late = not on_cpu  # a number on the device need not be waited for, and small gradients stay normal
        self.weight = problem.weight.detach()
        self.bias = None if problem.bias is None else problem.bias.detach().to(self.dtype)
        self.units = self._units()
        if not on_cpu and self.weight.dtype not in (self.units, self.dtype):
            self.weight = self.weight.to(self.units or self.dtype)

    def _units(self) -> torch.dtype | None:
        """Return the type of the factors of a product with a wide sum, if there are units for it."""
        kind = self.device.type
        if kind != "cuda" or self.dtype != torch.float32:
            return None
        if self.weight.dtype in _HALF and self.problem.hidden.dtype == self.weight.dtype:
            return self.weight.dtype
        if torch.is_autocast_enabled(kind):  # as in a linear layer under autocast
            return torch.get_autocast_dtype(kind)
        return None

    def available(self) -> float:
        """Return how many bytes are free on the device."""
        if self.device.type == "cuda":
            return float(torch.cuda.mem_get_info(self.device)[0])
        return super().available()

    def kept(self) -> Tensor | None:
        """Return the numbers of the rows that count, or None if all do, or if the device must not be asked."""
        coefficients = self.problem.coefficients
        if coefficients is None:
            return None
        if self.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return None
        kept = torch.nonzero(coefficients)[:, 0]
        return None if len(kept) == self.problem.count else kept

    def empty(self, *shape: int) -> Tensor:
        """Return memory to compute into."""
        return torch.empty(shape, dtype=self.dtype, device=self.device)

    def zeros(self, *shape: int) -> Tensor:
        """Return zeros in the type computed in."""
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    def narrow(self, hidden: Tensor) -> Tensor:
        """Return hidden states in the type to multiply in."""
        return hidden.detach().to(self.units or self.dtype)

    def _pieces(self) -> Any:
        """The weight in the type to multiply in, as a whole or in pieces, with where each begins and ends."""
        if self.units or self.weight.dtype == self.dtype:
            yield 0, len(self.weight), self.weight
            return
        rows = max(1, PIECE // max(1, self.weight.shape[1] * self.dtype.itemsize))
        for low in range(0, len(self.weight), rows):
            piece = self.weight[low : low + rows]
            yield low, low + len(piece), piece.to(self.dtype)

    def logits(self, hidden: Tensor, out: Tensor) -> Tensor:
        """Make the logits of some rows."""
        for low, high, weight in self._pieces():
            if self.units:
                torch.mm(hidden, weight.t(), out_dtype=self.dtype, out=out)
            else:
                torch.mm(hidden, weight.t(), out=out[:, low:high])
        if self.bias is not None:
            out += self.bias
        return out

    def pull_hidden(self, grad: Tensor) -> Tensor:
        """Return the gradient in hidden states, given that in their logits."""
        if self.units:
            return torch.mm(grad.to(self.units), self.weight, out_dtype=self.dtype)
        total: Tensor | None = None
        for low, high, weight in self._pieces():
            share = grad[:, low:high]
            total = share @ weight if total is None else total.addmm_(share, weight)
        assert total is not None
        return total

    def pull_weight(self, grad: Tensor, hidden: Tensor) -> None:
        """Add to the gradient of the weight, in the wide type."""
        total, first = self._total("weight", self.weight.shape)
        if not self.units:
            total.addmm_(grad.t(), hidden, beta=0 if first else 1)
            return
        rows = max(1, 16 * PIECE // max(1, hidden.shape[1]))
        for low in range(0, len(total), rows):
            share = torch.mm(grad[:, low : low + rows].to(self.units).t(), hidden, out_dtype=self.dtype)
            own = total[low : low + rows]
            own.copy_(share) if first else own.add_(share)

    def pull_bias(self, grad: Tensor) -> None:
        """Add to the gradient of the bias."""
        total, first = self._total("bias", self.weight.shape[:1])
        torch.sum(grad, 0, out=total) if first else total.add_(grad.sum(0))


# --- the loss without derivatives, and its gradient by name ---------------------------------------------------------


def _shaped(problem: Problem, each: Tensor) -> Tensor:
    return each.reshape(problem.batch)


def _inverse(problem: Problem) -> tuple[Any, Any]:
    """Return the number that the sum is divided by, and one over it; a number on the CPU is looked at."""
    count = problem.divisor()
    if isinstance(count, Tensor):
        count = count.to(problem.dtype)  # one over a whole number would be in the default type
    inverse = reduction.average(1.0, count)
    if isinstance(inverse, Tensor) and xp.readable(inverse) is not None:
        inverse = float(inverse)
    return count, inverse


def _total(each: Tensor, scale: float = 1.0) -> Tensor:
    """Return a sum, taken in a wide type where there is one."""
    wide = torch.float64 if each.device.type == "cpu" else each.dtype
    return (each.sum(dtype=wide) * scale).to(each.dtype)


def _reduced(problem: Problem, each: Tensor, count: Any) -> Tensor:
    if problem.how == "none":
        return _shaped(problem, each)
    summed = _total(each)
    return reduction.average(summed, count).to(problem.dtype) if problem.how == "mean" else summed


def value_and_grad(problem: Problem, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the reduced value and the gradients in the arrays that are named."""
    count, inverse = _inverse(problem)
    if _watched(problem):
        each = torch.ones(problem.count, dtype=problem.dtype, device=problem.hidden.device) * inverse
        grads = _gradients(problem, (each,), names)
        value = _reduced(problem, _by_operations(problem)[0], count)
    else:
        (each,), grads = evaluate(problem, TensorProducts(problem, names), int(bool(names)), scale=inverse)
        value = _reduced(problem, each, count)
    if "hidden" in grads:
        grads["hidden"] = grads["hidden"].reshape(*problem.batch, problem.hidden.shape[-1])
    return value, grads


def value(problem: Problem) -> Tensor:
    """Return the reduced value, differentiable."""
    count, inverse = _inverse(problem)
    way = _way(problem)
    if problem.how != "none" and way in ("loop", "operator"):
        names = tuple(name for name in HEAD if _needs(problem.tensors.get(name)))
        if way == "operator" and isinstance(inverse, Tensor):  # an operator is told numbers only
            own = problem.coefficients
            weights = inverse.to(problem.dtype).expand(problem.count) if own is None else own * inverse
            problem, inverse = problem.on({**problem.tensors, "coefficients": weights}), 1.0
        spec = _Spec(problem, tuple(problem.tensors), names, count, inverse)
        if way == "operator":
            return _operator(_told(spec), inverse, True, list(problem.tensors.values()))[0]
        found: Tensor = _Head.apply(spec, *problem.tensors.values())
        return found
    return _reduced(problem, _each(problem)[0], count)


def values(problem: Problem) -> tuple[Tensor, ...]:
    """Return everything that the rows give, one number per row each, differentiable."""
    return tuple(_shaped(problem, x) for x in _each(problem))


# --- under autograd --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Spec:
    """A problem without its tensors, whose names are told, and what is wanted of it."""

    problem: Problem
    keys: tuple[str, ...]
    names: tuple[str, ...]  # of the arrays that are differentiated
    count: Any = 1.0
    inverse: Any = 1.0

    def on(self, tensors: Sequence[Tensor]) -> Problem:
        """Return the problem on tensors given in the order of their names."""
        return self.problem.on(dict(zip(self.keys, tensors, strict=True)))

    def placed(self, grads: Mapping[str, Tensor]) -> tuple[Tensor | None, ...]:
        """Return one gradient for every tensor, None for those that have none."""
        return tuple(grads.get(key) for key in self.keys)


def _needs(x: Tensor | None) -> bool:
    return x is not None and x.requires_grad and torch.is_grad_enabled()


def _transformed() -> bool:
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def _plain(problem: Problem) -> bool:
    return all(tensors.ordinary(x) if x.is_cpu else type(x) in tensors.ORDINARY_TYPES for x in problem.tensors.values())


def _watched(problem: Problem) -> bool:
    """Whether somebody differentiates what is computed, in whatever way, or traces it."""
    return (
        torch.compiler.is_compiling()
        or _transformed()
        or not _plain(problem)
        or any(map(_needs, problem.tensors.values()))
    )


def _way(problem: Problem) -> Way:
    """Return in which way a problem is computed, so that the right derivative is found."""
    others = [x for name, x in problem.tensors.items() if name not in HEAD]
    if any(map(_needs, others)) or any(x.is_complex() for x in others):
        return "operations"  # a teacher, a target or a parameter that learns
    if not torch.compiler.is_compiling() and tensors.tracing():
        return "operations"
    if torch.compiler.is_compiling():
        return "operations" if torch._C._are_functorch_transforms_active() else "operator"
    if _transformed():
        tangents = torch.autograd.forward_ad._current_level >= 0
        moving = tangents and any(torch.autograd.forward_ad.unpack_dual(x).tangent is not None for x in others)
        return "operations" if moving or tensors.loses_derivatives() else "transformed"
    return "loop" if _plain(problem) else "operations"


def _each(problem: Problem) -> tuple[Tensor, ...]:
    """Return what the rows give, one number per row each, differentiable."""
    way = _way(problem)
    if way == "operations":
        return _by_operations(problem)
    names = tuple(name for name in HEAD if name in problem.tensors)
    if way != "transformed":
        names = tuple(name for name in names if _needs(problem.tensors[name]))
    spec = _Spec(replace(problem, how="none", denominator=None), tuple(problem.tensors), names)
    if way == "operator":
        return tuple(_operator(_told(spec), 1.0, False, list(problem.tensors.values())))
    found = (_Head if way == "loop" else _Transformed).apply(spec, *problem.tensors.values())
    return found if isinstance(found, tuple) else (found,)


class _Head(torch.autograd.Function):
    """The loop over chunks. One number comes with its gradients; values of rows make the logits again on the way back.

    A second derivative makes them by operations that autograd can see.
    """

    @staticmethod
    def forward(ctx: Any, spec: _Spec, *tensors: Tensor) -> Any:
        problem = spec.on(tensors)
        reduces = problem.how != "none"
        ctx.spec = spec
        wanted = spec.names if reduces else ()
        each, grads = evaluate(problem, TensorProducts(problem, wanted), int(bool(wanted)), scale=spec.inverse)
        ctx.save_for_backward(*tensors)
        ctx.kept = grads if reduces else None
        if reduces:
            return _reduced(problem, each[0], spec.count)
        return each if len(each) > 1 else each[0]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        spec = ctx.spec
        problem = spec.on(ctx.saved_tensors)
        reduces = problem.how != "none"
        if torch.is_grad_enabled():
            if reduces:
                upstream = ((upstream[0] * spec.inverse).to(problem.dtype).expand(problem.count),)
            grads = _gradients(problem, upstream, spec.names)
        elif reduces:
            # They are handed over, not copied: whoever gets a gradient may add to it. A second time they are computed.
            grads, ctx.kept = ctx.kept, None
            if grads is None:
                _, grads = evaluate(problem, TensorProducts(problem, spec.names), 1, scale=spec.inverse)
            if upstream[0].device.type != "cpu" or float(upstream[0]) != 1:
                grads = {name: grad.mul_(upstream[0]) for name, grad in grads.items()}
        else:
            _, grads = evaluate(problem, TensorProducts(problem, spec.names), 1, upstream)
        return None, *spec.placed(grads)


class _Transformed(torch.autograd.Function):
    """The same as the transforms of `torch.func` and forward mode want it: every logit by ordinary operations."""

    generate_vmap_rule = True

    @staticmethod
    def forward(spec: _Spec, *tensors: Tensor) -> Any:
        each = _by_operations(spec.on(tensors))
        return each if len(each) > 1 else each[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.spec, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        spec = ctx.spec
        return None, *spec.placed(_gradients(spec.on(ctx.saved_tensors), upstream, spec.names))

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: Tensor | None) -> Any:
        spec = ctx.spec
        problem = spec.on(ctx.saved_tensors)
        moved = {key: t for key, t in zip(spec.keys, tangents, strict=True) if t is not None and key in HEAD}
        found = _tangents(problem, moved)
        return found if len(found) > 1 else found[0]


# --- by ordinary operations ------------------------------------------------------------------------------------------


def _spans(problem: Problem) -> list[slice]:
    return list(problem.spans(problem.count, False, free_memory()))


def _logits(problem: Problem) -> Tensor:
    """Make logits of the rows of a problem; of a row that does not count, whatever it holds, those of zeros."""
    hidden = problem.hidden
    if problem.coefficients is not None:
        hidden = torch.where(problem.coefficients[:, None] == 0, torch.zeros_like(hidden), hidden)
    return Teacher(hidden, problem.weight, problem.bias).logits(hidden.new_empty(0, dtype=problem.dtype))


def _of_part(problem: Problem, keys: Sequence[str], *tensors: Tensor) -> tuple[Tensor, ...]:
    part = problem.on(dict(zip(keys, tensors, strict=True)))
    return part.rows.values(xp, _logits(part), part)


def _by_operations(problem: Problem) -> tuple[Tensor, ...]:
    """Return what the rows give by operations that any framework of derivatives can see.

    Where plain autograd watches, the logits of a chunk are dropped and made again on the way back.
    """
    plain = not torch.compiler.is_compiling() and not tensors.tracing() and not _transformed() and _plain(problem)
    plain = plain and any(map(_needs, problem.tensors.values()))
    found = []
    for span in _spans(problem) or [slice(0, 0)]:
        part = problem.part(span)
        keys = tuple(part.tensors)
        if plain:
            found.append(checkpoint(_of_part, part, keys, *part.tensors.values(), use_reentrant=False))
        else:
            found.append(_of_part(part, keys, *part.tensors.values()))
    return tuple(torch.cat([x.reshape(-1) for x in column]) for column in zip(*found, strict=True))


def _gradients(problem: Problem, upstream: Sequence[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Return gradients of the sum of what the rows give, each times its upstream, in differentiable operations."""
    dtype, weight = problem.dtype, problem.weight.to(problem.dtype)
    in_hidden: list[Tensor] = []
    in_weight, in_bias = torch.zeros_like(weight), weight.new_zeros(weight.shape[:1])
    for span in _spans(problem):
        part = problem.part(span)
        factors = [u[span] if part.coefficients is None else u[span] * part.coefficients for u in upstream]
        _, grad = part.rows.pull(xp, _logits(part), part, factors, 1.0, 1, -1)
        if "hidden" in names:
            in_hidden.append(xp.matmul(grad, weight))
        if "weight" in names:
            hidden = part.hidden.to(dtype)
            if part.coefficients is not None:
                hidden = torch.where(part.coefficients[:, None] == 0, torch.zeros_like(hidden), hidden)
            in_weight = in_weight + xp.matmul(xp.transpose(grad), hidden)
        if "bias" in names:
            in_bias = in_bias + grad.sum(0)
    grads = {"weight": in_weight, "bias": in_bias}
    grads["hidden"] = torch.cat(in_hidden) if in_hidden else torch.zeros_like(problem.hidden)
    if problem.bias is not None and not problem.bias.ndim:
        grads["bias"] = in_bias.sum()
    return {name: grads[name].to(problem.tensors[name].dtype) for name in names}


def _tangents(problem: Problem, moved: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return how what the rows give changes as the arrays of the head move."""
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
        if part.coefficients is not None:
            change = torch.where(part.coefficients[:, None] == 0, torch.zeros_like(change), change)
        row = []
        for n in range(part.rows.outputs):
            ones = torch.ones_like(logits[:, 0]) if part.coefficients is None else part.coefficients
            factors = [ones if m == n else torch.zeros_like(ones) for m in range(part.rows.outputs)]
            _, slope = part.rows.pull(xp, logits, part, factors, 1.0, 1, -1)
            row.append((slope * change).sum(-1))
        found.append(row)
    return tuple(torch.cat(column) for column in zip(*found, strict=True))


# --- under the compiler ----------------------------------------------------------------------------------------------


def _told(spec: _Spec) -> str:
    """Write down everything of a problem that is not a tensor; a compiler traces this."""
    problem = spec.problem
    rows = problem.rows
    numbers = [(k, v) for k, v in problem.params.items() if not isinstance(v, Tensor)]
    return repr(
        (
            rows.loss.key,
            rows.link,
            rows.pointwise,
            rows.low,
            rows.teacher_link,
            rows.outputs,
            numbers,
            problem.chunk,
            problem.memory,
            list(spec.keys),
            list(spec.names),
        )
    )


def _understood(told: str, tensors: Sequence[Tensor]) -> tuple[Problem, list[str]]:
    """Read a problem that was written down."""
    key, link, pointwise, low, teacher_link, outputs, numbers, chunk, memory, keys, names = ast.literal_eval(told)
    held = dict(zip(keys, (x.detach() for x in tensors), strict=True))
    kind = Rows if outputs == 1 else LabelRows
    params = dict(numbers) | {k.removeprefix("param:"): v for k, v in held.items() if k.startswith("param:")}
    teacher = tuple(held.get(f"teacher:{n}") for n in HEAD)
    hidden, weight = held["hidden"], held["weight"]
    problem = Problem(
        rows=kind(recorded(key), link, pointwise, low, teacher_link, (), outputs),
        hidden=hidden,
        weight=weight,
        bias=held.get("bias"),
        arrays={k: v for k, v in held.items() if k.startswith(("row:", "all:"))},
        teacher=None if teacher[0] is None else Teacher(*teacher),
        coefficients=held.get("coefficients"),
        params=params,
        batch=(hidden.shape[0],),
        dtype=xp.compute_dtype([x for x in (hidden, weight, held.get("bias")) if x is not None]),
        how="none",
        denominator=None,
        chunk=chunk,
        memory=memory,
        xp=xp,
    )
    return problem, names


@torch.library.custom_op("lossary::linear", mutates_args=())
def _operator(told: str, scale: float, reduces: bool, tensors: Sequence[Tensor]) -> list[Tensor]:
    """What the rows give; or, if that is to be reduced, the sum and its gradients."""
    problem, names = _understood(told, tensors)
    if not reduces:
        return list(evaluate(problem, TensorProducts(problem, ()), 0)[0])
    (each,), grads = evaluate(problem, TensorProducts(problem, names), int(bool(names)), scale=scale)
    return [_total(each, scale), *(grads[name] for name in names)]


@torch.library.custom_op("lossary::linear_gradient", mutates_args=())
def _operator_gradient(told: str, upstream: Sequence[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    problem, names = _understood(told, tensors)
    _, grads = evaluate(problem, TensorProducts(problem, names), 1, list(upstream))
    return [grads[name] for name in names]


def _alike(told: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    *_, keys, names = ast.literal_eval(told)
    held = dict(zip(keys, tensors, strict=True))
    return [torch.empty_like(held[name], memory_format=torch.contiguous_format) for name in names]


@_operator.register_fake
def _(told: str, scale: float, reduces: bool, tensors: Sequence[Tensor]) -> list[Tensor]:
    outputs, keys = ast.literal_eval(told)[5], ast.literal_eval(told)[-2]
    dtype = xp.compute_dtype([x for key, x in zip(keys, tensors, strict=True) if key in HEAD])
    if reduces:
        return [tensors[0].new_empty((), dtype=dtype), *_alike(told, tensors)]
    return [tensors[0].new_empty(tensors[0].shape[:1], dtype=dtype) for _ in range(outputs)]


@_operator_gradient.register_fake
def _(told: str, upstream: Sequence[Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    return _alike(told, tensors)


def _keep(ctx: Any, inputs: Any, output: list[Tensor]) -> None:
    ctx.told, _, ctx.reduces, tensors = inputs
    ctx.length = len(tensors)
    ctx.save_for_backward(*tensors, *(output[1:] if ctx.reduces else ()))


def _backward(ctx: Any, upstream: Sequence[Tensor]) -> Any:
    tensors, kept = ctx.saved_tensors[: ctx.length], ctx.saved_tensors[ctx.length :]
    *_, keys, names = ast.literal_eval(ctx.told)
    if ctx.reduces:
        found = [(grad * upstream[0]).to(grad.dtype) for grad in kept]
    else:
        found = _operator_gradient(ctx.told, [u.contiguous() for u in upstream], list(tensors))
    grads = dict(zip(names, found, strict=True))
    return None, None, None, [grads.get(key) for key in keys]


_operator.register_autograd(_backward, setup_context=_keep)
