"""Runs a definition in blocks of examples: no temporary is ever larger than a block, whatever the size of the batch.

This is what computes a large call for which there is no kernel: without Numba, on a device without kernels, in a float
type that kernels do not have. A block's values and derivatives are weighed at once, and written to their place in the
result, or added up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lossary.backends.protocol import Operations
from lossary.evaluate import reduction
from lossary.evaluate.call import Call
from lossary.kernels.request import Result


def divides(call: Call) -> bool:
    """Whether a call is large enough to be divided, and of examples that do not depend on each other."""
    if call.loss.coupling is not None or not call.batch:
        return False
    axis, height = _blocks(call)
    return height < call.batch[axis]


def _blocks(call: Call) -> tuple[int, int]:
    """Return the axis of the batch that is divided, its longest, and how many of its entries a block has."""
    elements = max(1, *(math.prod(x.shape) for x in call.arrays))
    axis = max(range(len(call.batch)), key=call.batch.__getitem__)
    most = call.xp.block_elements(call.arrays[0], elements) or elements
    return axis, max(1, most * call.batch[axis] // elements)


def run(
    call: Call,
    value: Any,
    orders: tuple[int, ...],
    weights: Any,
    scale: Any,
    define: Any = None,
) -> Result:
    """Return the values, or their sum, and derivatives of a call that `divides`.

    `value`, `orders`, `weights` and `scale` are those of `lossary.kernels.request.Request`; `define` is a definition of
    the same numbers for the framework's arrays, where it has one; one that is `in_place` needs no blocks. The sum has
    the type of the namespace's accumulator.
    """
    xp, loss = call.xp, call.loss
    define = define or loss.define
    axis, height = _blocks(call)
    if getattr(define, "in_place", False):
        height = call.batch[axis]
    count, like, inner = call.batch[axis], call.arrays[0], call.inner
    values = xp.empty(call.batch, call.dtype, like) if value == "each" else None
    outputs = [
        tuple(xp.empty(call.batch + _core(call, name), _gradient_dtype(call, name), like) for name in loss.wrt)
        for _ in orders
    ]
    at = len(call.batch) - axis  # the divided axis in an array of the batch, counted from the last
    sums = []
    with xp.quiet():
        for start in range(0, count, height):
            block = slice(start, min(start + height, count))
            where = (slice(None),) * axis + (block,)
            batch = (*call.batch[:axis], block.stop - start, *call.batch[axis + 1 :])
            arrays = [_cut(x, at + call.signature.rank, block) for x in call.arrays]
            wide = [xp.cast(x, call.dtype) if xp.narrow(x, call.dtype) else x for x in arrays]
            params = {name: _cut(held, at + call.signature.rank, block) for name, held in call.params.items()}
            found, *derivatives = xp.drive(define(xp, *wide, **params), max(orders, default=0) + 1)
            some = None if weights is None else _cut(weights, at, block)
            if value is not None:
                shaped = xp.broadcast_to(found, batch + (1,) * inner).reshape(batch)
                weighed = reduction.weigh(xp, xp.cast(shaped, call.dtype), some)
                if values is None:
                    sums.append(weighed.sum(dtype=xp.accumulator(call.dtype)))
                else:
                    values[where] = weighed
            factor = scale if some is None else (some * scale).reshape(some.shape + (1,) * inner)
            for order, buffers in zip(orders, outputs, strict=True):
                for buffer, derivative in zip(buffers, _tuple(derivatives[order - 1]), strict=True):
                    missing = len(batch) + inner - buffer.ndim
                    _weigh_into(xp, derivative, factor, buffer[(*where, ..., *(None,) * missing)])
    return Result(_summed(sums) if value == "sum" else values, tuple(outputs))


def _weigh_into(xp: Operations, derivative: Any, factor: Any, target: Any) -> None:
    """Write derivatives times a factor: one number, or one for each example, exactly 0 where that is 0.

    In the place of derivatives may be a function that writes them so.
    """
    if callable(derivative):
        derivative(factor, target)
        return
    if not getattr(factor, "shape", ()):
        xp.multiply_into(derivative, factor, target)
        return
    nothing = factor == 0
    if xp.countable(nothing) < 0 or nothing.any():
        derivative = xp.where(nothing, xp.zeros_like(derivative), derivative)
    xp.multiply_into(derivative, factor, target)


def _summed(parts: list[Any]) -> Any:
    """Add in pairs, as accurately as within a block."""
    while len(parts) > 1:
        parts = [sum(parts[at + 1 : at + 2], parts[at]) for at in range(0, len(parts), 2)]
    return parts[0]


def _tuple(derivatives: Any) -> tuple[Any, ...]:
    return derivatives if isinstance(derivatives, tuple) else (derivatives,)


def _cut(x: Any, at: int, block: slice) -> Any:
    """Return a block along an axis, counted from the last; an array without it, or with one entry there, is shared."""
    shape: Sequence[int] = getattr(x, "shape", ())
    if len(shape) < at or shape[-at] == 1:
        return x
    return x[(..., block, *(slice(None),) * (at - 1))]


def _core(call: Call, name: str) -> tuple[int, ...]:
    at = call.loss.arguments.index(name)
    given, core = call.given[at], call.signature.inputs[at]
    return tuple(given.shape[given.ndim - len(core) :])


def _gradient_dtype(call: Call, name: str) -> Any:
    return call.xp.gradient_dtype(call.given[call.loss.arguments.index(name)], call.dtype)
