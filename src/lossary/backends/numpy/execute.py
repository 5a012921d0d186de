"""Execution of NumPy calls: by a kernel or by the definition; checks and fills the buffers of `out=`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lossary.backends import row_blocks
from lossary.backends.numpy.namespace import gradient_dtype
from lossary.catalogue import Loss
from lossary.catalogue.signatures import Signature
from lossary.errors import ArgumentError, ShapeError
from lossary.evaluate.call import Call
from lossary.kernels import registry as kernels
from lossary.kernels.request import Request, Result

Array = Any


def evaluate(call: Call) -> Array:
    """Return a call's values as the definition yields them."""
    return call.evaluate()


def by_kernel(
    call: Call, value: Any, orders: tuple[int, ...], scale: Any, finish: Callable[[Any], Any]
) -> Result | None:
    """Return the result of a kernel for a call, in one pass over its arrays; None if no kernel takes it.

    `finish` turns a sum into the reduced value.
    """
    kernel = kernels.find(call.loss)
    done = None if kernel is None else kernel.run(call, Request(value, orders, call.weights, float(scale)))
    if done is None and row_blocks.divides(call):
        call.check_values()
        done = row_blocks.run(call, value, orders, call.weights, scale)
    return done if done is None or value != "sum" else replace(done, value=finish(done.value))


def stored_narrow(loss: Loss, signature: Signature, arrays: Sequence[Array]) -> tuple[str, ...]:
    """Return which arrays of a call its kernel reads in half precision, as they are stored."""
    return kernels.narrow(loss, signature)


def outputs(call: Call, out: Any) -> tuple[Array, ...]:
    """Check the output buffers for gradients, one for each array of `wrt`."""
    loss, names = call.loss, call.loss.wrt
    buffers = tuple(out) if isinstance(out, (tuple, list)) else (out,)
    if len(buffers) != len(names):
        listed = ", ".join(names)
        raise ArgumentError(f"{loss.name}: out: got {len(buffers)} arrays, expected one for each gradient ({listed})")
    params = [(name, held) for name, held in call.params.items() if isinstance(held, np.ndarray)]
    inputs = [*zip(loss.arguments, call.given, strict=True), *params, ("weight", call.weights)]
    for number, (name, buffer) in enumerate(zip(names, buffers, strict=True)):
        title = f"{loss.name}: out" + (f" for {name}" if len(names) > 1 else "")
        if not isinstance(buffer, np.ndarray):
            raise ArgumentError(
                f"{title}: got {type(buffer).__name__}, expected a NumPy array to write the gradient to"
            )
        given = call.given[loss.arguments.index(name)]
        if buffer.shape != given.shape:
            raise ShapeError(f"{title}: got shape {buffer.shape}, expected that of the gradient, {given.shape}")
        dtype = gradient_dtype(given, call.dtype)
        if buffer.dtype != dtype:
            raise ArgumentError(f"{title}: got type {buffer.dtype}, expected that of the gradient, {dtype}")
        if not buffer.flags.writeable:
            raise ArgumentError(f"{title}: the array is read-only")
        if _folded(buffer):
            raise ArgumentError(
                f"{title}: several entries of the array share memory; pass an array whose entries do not overlap"
            )
        others = [(other, x) for other, x in inputs if x is not None and not (x is buffer and other == name)]
        others += [(f"the gradient of {other}", x) for other, x in zip(names[:number], buffers, strict=False)]
        for other, x in others:
            if _overlap(buffer, x):
                hint = f"pass memory of its own, or {name} itself to have it replaced"
                raise ArgumentError(f"{title}: shares memory with {other}; {hint}")
    return buffers


def _folded(x: Array) -> bool:
    """Whether entries of an array share memory, as those of a broadcast view do; True if that is too hard to decide."""
    reach = x.itemsize
    for step, n in sorted((abs(step), n) for step, n in zip(x.strides, x.shape, strict=True) if n > 1):
        if step < reach:
            return bool(x.size)
        reach += step * (n - 1)
    return False


def _overlap(x: Array, y: Array) -> bool:
    enough: Any = 1000  # steps of the exact test for strided arrays; beyond, they are taken to overlap
    try:
        return np.shares_memory(x, y, max_work=enough)
    except np.exceptions.TooHardError:
        return True


def deliver(grads: Sequence[Array], buffers: Sequence[Array]) -> None:
    """Write gradients to the output buffers, unless a kernel has written them there."""
    for given, buffer in zip(grads, buffers, strict=True):
        grad = np.asarray(given)  # arithmetic on arrays without dimensions returns scalars
        if grad.ctypes.data != buffer.ctypes.data or grad.strides != buffer.strides:
            np.copyto(buffer, grad)
