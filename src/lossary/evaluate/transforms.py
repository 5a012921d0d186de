"""Transforms of a loss: value, gradient and Hessian diagonal under weights, masks and reductions; bound parameters.

`prepare` checks a call and converts its arrays to the compute dtype; its backend computes it, by a kernel where there
is one and else by the definition; `lossary.evaluate.reduction` reduces the values. Calls like an earlier one take the
backend's fast path: the bound kernel of `lossary.backends.cache`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from lossary.backends import registry
from lossary.catalogue import Loss, dress, get
from lossary.errors import ArgumentError
from lossary.evaluate import checks, hooks
from lossary.evaluate import reduction as reductions
from lossary.evaluate.call import Call, prepare, scaled
from lossary.evaluate.initial import initial_score as initial_score
from lossary.evaluate.reduction import Reduction


def values(loss: Loss | str, given: Sequence[Any], params: Mapping[str, Any], check: bool = True) -> Any:
    """Return one value per example."""
    loss = get(loss)
    check = check and hooks.before_call(loss, given, params)
    done = _fast_value(loss, given, params, "none", check)
    if done is not None:
        return done
    return reduced_value(prepare(loss, given, params, check=check, defer_checks=True), "none", None)


def _fast_value(loss: Loss, arrays: Sequence[Any], params: Mapping[str, Any], reduction: Reduction, check: bool) -> Any:
    return registry.backend(arrays[0]).fast_value(loss, arrays, params, reduction, check) if arrays else None


def _fast_value_and_grad(
    loss: Loss, arrays: Sequence[Any], params: Mapping[str, Any], reduction: Reduction, check: bool
) -> Any:
    return registry.backend(arrays[0]).fast_value_and_grad(loss, arrays, params, reduction, check) if arrays else None


def value(
    loss: Loss | str,
    *arrays: Any,
    weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "none",
    denominator: Any = None,
    check: bool = True,
    **params: Any,
) -> Any:
    """Return the value under weights, a mask and a reduction, in a form that a framework can differentiate.

    The options are those of `value_and_grad`. Unlike weights given to `lossary.mean` afterwards, they reach the checks,
    which accept any value under a mask, and losses that compare the examples of a batch.

    >>> import lossary
    >>> float(value(lossary.squared_error, [1.0, 2.0], [0.0, 0.0], mask=[True, False], reduction="mean"))
    1.0
    """
    loss = get(loss)
    check = check and hooks.before_call(loss, arrays, params, weight, mask)
    if weight is None and mask is None and denominator is None:
        done = _fast_value(loss, arrays, params, reduction, check)
        if done is not None:
            return done
    return reduced_value(prepare(loss, arrays, params, weight, mask, check, defer_checks=True), reduction, denominator)


def value_and_grad(
    loss: Loss | str,
    *arrays: Any,
    weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "none",
    denominator: Any = None,
    check: bool = True,
    out: Any = None,
    **params: Any,
) -> tuple[Any, Any]:
    """Return the value and the hand-derived gradient with respect to the loss's `wrt` arrays.

    Parameters
    ----------
    loss: the loss, or its name.
    arrays: its arrays, in order or by name.
    weight: numbers >= 0, one per example; 0 leaves an example out exactly, whatever it holds.
    mask: true where an example is kept.
    reduction: ``"none"``: value per example, and the gradient of their sum. ``"sum"``. ``"mean"``:
        ``sum(w * v) / sum(w)``. A loss with `ignore_index` leaves those rows out of both sums.
    denominator: replaces ``sum(w)`` under ``"mean"``.
    check: check the values, not only the shapes. Without it, arrays and parameters outside the loss's domain
        give what the formula gives there.
    out: an array for the gradient (one for each of several), of its shape and type; NumPy only. It may be the array
        that is differentiated, which is then replaced, and shares memory with no other. If the call raises, it may
        hold anything.
    params: the loss's parameters.

    Returns the value, and one gradient (a tuple if `wrt` names several arrays), each in its array's shape and type.

    >>> import lossary
    >>> value, grad = lossary.squared_error.value_and_grad([1.0, 2.0], [0.0, 0.0], reduction="mean")
    >>> float(value), grad
    (2.5, array([1., 2.]))
    """
    loss = get(loss)
    check = check and hooks.before_call(loss, arrays, params, weight, mask)
    if weight is None and mask is None and denominator is None and out is None:
        done = _fast_value_and_grad(loss, arrays, params, reduction, check)
        if done is not None:
            value, grads = done
            return value, grads if len(grads) > 1 else grads[0]
    call = prepare(loss, arrays, params, weight, mask, check, defer_checks=True)
    if out is None:
        reduced, (grads,) = _evaluated(call, True, (1,), reduction, denominator)
        return reduced, _one_or_all(grads)
    buffers = call.backend.outputs(call, out)
    call = replace(call, out=[None if any(x is y for y in call.given) else x for x in buffers])
    reduced, (grads,) = _evaluated(call, True, (1,), reduction, denominator)
    call.backend.deliver(grads, buffers)
    return reduced, out


def grad_hess(
    loss: Loss | str,
    *arrays: Any,
    weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "none",
    denominator: Any = None,
    check: bool = True,
    **params: Any,
) -> tuple[Any, Any]:
    """Return the gradient and the diagonal of the Hessian from one pass over memory: what a booster asks for.

    Options and shapes are those of `value_and_grad`; each of the two is a tuple if `wrt` names several arrays.

    Raises `ArgumentError` for a loss whose definition gives no Hessian.

    >>> import lossary
    >>> grad, hess = grad_hess(lossary.squared_error, [1.0, 2.0], [0.0, 0.0])
    >>> grad, hess
    (array([2., 4.]), array([2., 2.]))
    """
    loss = _twice_differentiable(loss)
    check = check and hooks.before_call(loss, arrays, params, weight, mask)
    call = prepare(loss, arrays, params, weight, mask, check, defer_checks=True)
    _, (grads, diagonal) = _evaluated(call, False, (1, 2), reduction, denominator)
    return _one_or_all(grads), _one_or_all(diagonal)


def hess(
    loss: Loss | str,
    *arrays: Any,
    weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "none",
    denominator: Any = None,
    check: bool = True,
    **params: Any,
) -> Any:
    """Return the diagonal of the Hessian with respect to the `wrt` arrays; options as in `value_and_grad`.

    >>> import lossary
    >>> lossary.hess(lossary.log_cosh, [0.0], [0.0])
    array([1.])
    """
    loss = _twice_differentiable(loss)
    check = check and hooks.before_call(loss, arrays, params, weight, mask)
    call = prepare(loss, arrays, params, weight, mask, check, defer_checks=True)
    _, (diagonal,) = _evaluated(call, False, (2,), reduction, denominator)
    return _one_or_all(diagonal)


def _twice_differentiable(loss: Loss | str) -> Loss:
    loss = get(loss)
    if loss.derivatives < 2:
        raise ArgumentError(f"{loss.name}: has no Hessian: its definition gives value and gradient only")
    return loss


def _one_or_all(derivatives: tuple[Any, ...]) -> Any:
    """Return the derivative of a loss that is differentiated in one argument, or the tuple of all."""
    return derivatives if len(derivatives) > 1 else derivatives[0]


def _evaluated(
    call: Call, value: bool, orders: tuple[int, ...], reduction: Reduction, denominator: Any
) -> tuple[Any, Sequence[tuple[Any, ...]]]:
    """Return the reduced value, if asked for, and the derivatives of each order: by a kernel, or by the definition."""
    asked: Literal["each", "sum"] | None = None if not value else "each" if reduction == "none" else "sum"
    done = _by_kernel(call, asked, orders, reduction, denominator)
    if done is not None:
        return done.value[()] if value else None, done.derivatives
    call.check_values()
    xp, factor = call.xp, example_factor(call, reduction, denominator)
    if call.loss.coupling is not None:

        def of_anchors(derivative: Any, some: slice) -> Any:
            return scaled(xp, derivative, factor[some] if getattr(factor, "shape", ()) else factor, call.inner)

        values, grad = call.through_coupling(of_anchors, xp.quiet)
        owned = xp.cast(xp.own(grad, call.inputs()), xp.gradient_dtype(call.given[0], call.dtype))
        return _reduce(call, values, reduction, denominator), ((owned,),)
    values, derivatives, _ = call.pull(max(orders))
    reduced = _reduce(call, values, reduction, denominator) if value else None
    return reduced, [call.restore(derivatives[order - 1], factor) for order in orders]


def _reduce(call: Call, value: Any, reduction: Reduction, denominator: Any) -> Any:
    """Return the reduced value."""
    xp, weights = call.xp, call.weights
    weighted = reductions.weigh(xp, call.values(value), weights)
    count = reductions.scale(xp, call.batch, call.dtype, weights, reduction, denominator)
    if reduction == "none":
        return xp.own(weighted, call.inputs())[()]
    summed = reductions.reduce_sum(xp, weighted, call.dtype)
    return summed if reduction == "sum" else reductions.average(summed, count)


def example_factor(call: Call, reduction: Reduction, denominator: Any) -> Any:
    """Return the factor by which each example's derivative enters the reduced value; None if it is 1."""
    count = reductions.scale(call.xp, call.batch, call.dtype, call.weights, reduction, denominator)
    if reduction != "mean":
        return call.weights
    return reductions.average(1.0 if call.weights is None else call.weights, count)


def reduced_value(call: Call, reduction: Reduction, denominator: Any) -> Any:
    """Return the reduced value of a prepared call, differentiable, by a kernel where there is one."""
    done = _by_kernel(call, "each" if reduction == "none" else "sum", (), reduction, denominator)
    if done is not None:
        return done.value[()]
    call.check_values()
    return _reduce(call, call.backend.evaluate(call), reduction, denominator)


def _by_kernel(
    call: Call, value: Literal["each", "sum"] | None, orders: tuple[int, ...], reduction: Reduction, denominator: Any
) -> Any:
    """Return the reduced value and the derivatives of some orders from a kernel, or None if there is none for the call.

    Without a reduction there is a value for each example.
    """
    xp = call.xp
    count = reductions.scale(xp, call.batch, call.dtype, call.weights, reduction, denominator)

    def finish(summed: Any) -> Any:
        summed = xp.scalar(summed, call.dtype)
        return reductions.average(summed, count) if reduction == "mean" else summed

    done = call.backend.by_kernel(call, value, orders, reductions.average(1.0, count), finish)
    if done is None:
        return None

    def of_argument(name: str, derivative: Any) -> Any:
        given = call.given[call.loss.arguments.index(name)]
        if derivative.ndim > given.ndim:  # one example was repeated over the batch: its gradients add up
            derivative = derivative.sum(axis=tuple(range(len(call.batch))))
        return xp.cast(derivative, xp.gradient_dtype(given, call.dtype))

    shaped = tuple(tuple(map(of_argument, call.loss.wrt, derivatives)) for derivatives in done.derivatives)
    return replace(done, derivatives=shaped)


def bind(loss: Loss | str, params: Mapping[str, Any]) -> Loss:
    """Return the loss with some parameters fixed, checked now rather than at the first call."""
    loss = get(loss)
    checks.parameters(loss, params)
    return dress(replace(loss, bound={**loss.bound, **params}))
