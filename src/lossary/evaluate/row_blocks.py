"""Runs a definition in blocks of examples: no temporary is ever larger than a block, whatever the size of the batch.

This is what computes a large call for which there is no kernel: without Numba, on a device without kernels, in a float
type that kernels do not have. A block's values and derivatives are weighed at once, and written to their place in the
result, or added up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lossary.evaluate import reduction
from lossary.evaluate.call import Call, scaled
from lossary.kernels.request import Result
from lossary.kernels.thresholds import BLOCK_ELEMENTS


def divides(call: Call) -> bool:
    """Whether a call is large enough to be divided, and of examples that do not depend on each other."""
    if call.loss.coupling is not None or not call.batch or not call.xp.may_loop(call.arrays[0]):
        return False
    axis, height = _blocks(call)
    return height < call.batch[axis]


def _blocks(call: Call) -> tuple[int, int]:
    """Return the axis of the batch that is divided, its longest, and how many of its entries a block has."""
    elements = max(math.prod(x.shape) for x in call.arrays)
    axis = max(range(len(call.batch)), key=call.batch.__getitem__)
    return axis, max(1, BLOCK_ELEMENTS * call.batch[axis] // max(1, elements))


def run(call: Call, value: Any, orders: tuple[int, ...], weights: Any, scale: Any) -> Result:
    """Return the values, or their sum, and derivatives of a call that `divides`.

    `value`, `orders`, `weights` and `scale` are those of `lossary.kernels.request.Request`. The sum has the type of the
    namespace's accumulator.
    """
    xp, loss = call.xp, call.loss
    axis, height = _blocks(call)
    count = call.batch[axis]
    like = call.arrays[0]
    values = xp.empty(call.batch, call.dtype, like) if value == "each" else None
    buffers = [
        tuple(xp.empty(call.batch + _core(call, name), _gradient_dtype(call, name), like) for name in loss.wrt)
        for _ in orders
    ]
    total: Any = None
    with xp.quiet():
        for start in range(0, count, height):
            block = slice(start, min(start + height, count))
            part = _part(call, axis, block)
            some = None if weights is None else _cut(weights, len(call.batch) - axis, block)
            value_part, derivatives, _ = part.pull(max(orders, default=0))
            where = (slice(None),) * axis + (block,)
            if value is not None:
                weighed = reduction.weigh(xp, part.values(value_part), some)
                if values is not None:
                    values[where] = weighed
                else:
                    summed = weighed.sum(dtype=xp.accumulator(call.dtype))
                    total = summed if total is None else total + summed
            factor = scale if some is None else some * scale
            for order, outputs in zip(orders, buffers, strict=True):
                for output, derivative in zip(outputs, derivatives[order - 1], strict=True):
                    target = output[where]
                    shaped = scaled(xp, derivative, factor, call.inner)
                    padded = tuple(target.shape) + (1,) * (len(part.batch) + call.inner - target.ndim)
                    target[...] = xp.broadcast_to(shaped, padded).reshape(target.shape)
    return Result(values if value == "each" else total, tuple(buffers))


def _part(call: Call, axis: int, block: slice) -> Call:
    """Return the call on a block of the examples along an axis of the batch."""
    at = len(call.batch) - axis + call.signature.rank  # the axis, counted from the last
    arrays = [_cut(x, at, block) for x in call.arrays]
    params = {name: _cut(held, at, block) for name, held in call.params.items()}
    batch = (*call.batch[:axis], block.stop - block.start, *call.batch[axis + 1 :])
    return replace(call, arrays=arrays, params=params, batch=batch)


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
