"""What can be done with a loss: values, gradient, curvature, under weights, masks and reductions; binding parameters.

The way of one call: the checks of `lossary.evaluate.checks`, arrays in the type to compute in (`prepare`), the definition
pulled as far as needed (`Call.pull`), weights and reduction from `lossary.evaluate.reduction`, shapes and types back as the
caller had them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from lossary.backends import registry as _dispatch
from lossary.catalogue import Loss, dress, get
from lossary.catalogue.domains import Domain, Signature
from lossary.errors import ArgumentError, DomainError
from lossary.evaluate import checks, reduction
from lossary.evaluate.reduction import Reduction
from lossary.misuse import callsites as lookout

_WHOLE = ("index", "integer", "length")  # kinds of arrays whose type says nothing about the type to compute in


# A batch compared with itself is computed some anchors at a time if its table of pairs is larger than this, in bytes.
# Each time all embeddings are gone through, so the anchors are as many as make a part of the table as large as those.
TABLE = 16 << 20
LEAST_ANCHORS = 64


@dataclass(frozen=True)
class Call:
    """A checked call: the namespace, the arrays as the definition wants them, the parameters, the shapes to restore."""

    loss: Loss
    xp: Any
    given: Sequence[Any]
    arrays: Sequence[Any]
    params: Mapping[str, Any]
    signature: Signature
    batch: tuple[int, ...]
    dtype: Any
    weights: Any
    domains: Sequence[Domain]
    exempt: Any
    check: bool
    room: Sequence[Any] = ()  # where a kernel may write gradients, if that suits it; None where it may not

    def check_values(self) -> None:
        """Raise `DomainError` if an array has a value outside its domain, in an example that counts."""
        if self.check:
            try:
                self._check_values()
            except DomainError as refusal:
                hint = checks.swapped(self.xp, self.loss, self.given, self.domains)
                raise DomainError(f"{refusal}{hint}") from None

    def _check_values(self) -> None:
        xp, loss, keep = self.xp, self.loss, None if self.weights is None else self.weights != 0
        classes = self.given[0].shape[-1] if self.signature.inputs[0] else 1
        lengths, sizes = _lengths(loss, self.signature, self.given)
        for name, core, array, allowed in zip(
            loss.arguments, self.signature.inputs, self.given, self.domains, strict=True
        ):
            per_example = keep if array.ndim > len(core) or not self.batch else None
            inside = None
            if lengths:
                classes = sizes[allowed.dimension] if allowed.kind == "length" else self.given[0].shape[-1]
                looks = allowed.bounded and xp.readable(array) is not None
                inside = _within(xp, core, lengths, sizes) if looks else None
            checks.domain(xp, loss, name, allowed, array, per_example, classes, self.exempt, inside)
        if loss.conditions and all(xp.readable(length) is not None for length in lengths.values()):
            # A kernel's call holds the memory of its tensors: the arrays say which namespace they want.
            seen = None if keep is None else xp.readable(keep)
            with xp.quiet():
                checks.conditions(_dispatch.backend(*self.arrays), loss, self.arrays, self.params, seen, self.batch)

    def labels_outside(self) -> Any:
        """Return which examples hold a class index of no class, among those that count; None where none does."""
        classes = self.given[0].shape[-1] if self.signature.inputs[0] else 1
        found = None
        for array, core, allowed in zip(self.arrays, self.signature.inputs, self.domains, strict=True):
            if allowed.kind == "index" and self.loss.coupling is None:  # one that does not count is -1 here
                outside = (array >= classes) | (array < -1)
                lead = outside.shape[: outside.ndim - max(len(core), self.inner)]
                some = outside.reshape(*lead, math.prod(outside.shape[len(lead) :])).any(-1)
                found = some if found is None else found | some
        if found is None or not found.any():
            return None
        return self.xp.broadcast_to(found, self.batch)

    def steps(self) -> Any:
        """Start the definition on uncoupled arrays; what a kernel would read in half precision is widened here."""
        xp, dtype = self.xp, self.dtype
        wide = (xp.cast(x, dtype) if xp.narrow(x, dtype) else x for x in self.arrays)
        return self.loss.define(xp, *wide, **self.params)

    def on(self, arrays: Sequence[Any], params: Mapping[str, Any]) -> Call:
        """Return the same call on other arrays and parameters."""
        return replace(self, arrays=arrays, params=params)

    def pull(self, order: int, anchors: slice = slice(None)) -> tuple[Any, list[tuple[Any, ...]], Any]:
        """Return values, one tuple of derivatives for each order up to `order`, and the running coupling if any.

        Of a coupled batch, the rows of some anchors may be asked for.
        """
        if self.loss.coupling is None:
            coupled, steps = None, self.steps()
        else:
            own = self.loss.coupling.defaults
            keep = None if self.weights is None else self.weights != 0
            coupled = self.loss.coupling.rows(
                self.xp, *self.arrays, keep, anchors, **{k: v for k, v in self.params.items() if k in own}
            )
            (rows,) = self.xp.drive(coupled, 1)
            steps = self.loss.define(self.xp, *rows, **{k: v for k, v in self.params.items() if k not in own})
        value, *derivatives = self.xp.drive(steps, order + 1)
        wanted = [d if isinstance(d, tuple) else (d,) for d in derivatives]
        return value, wanted, coupled

    def anchors(self) -> list[slice]:
        """Ranges of a coupled batch to be computed one after the other, so that no table of all pairs is ever made."""
        count = self.batch[0]
        if not self.xp.may_loop(self) or count * count * self.dtype.itemsize <= TABLE:
            return [slice(None)]
        height = max(LEAST_ANCHORS, self.given[0].shape[-1], TABLE // (count * self.dtype.itemsize))
        return [slice(start, start + height) for start in range(0, count, height)]

    def evaluate(self) -> Any:
        """Return the values as the definition yields them."""
        if self.loss.coupling is None:
            return self.pull(0)[0]
        return self.xp.join_rows([self.pull(0, some)[0] for some in self.anchors()])

    def through_coupling(
        self, scaled: Callable[[Any, slice], Any], quiet: Callable[[], Any] = nullcontext
    ) -> tuple[Any, Any]:
        """Return the values of a coupled batch, and the gradient with the derivatives of each anchor as scaled."""

        def part(some: slice) -> tuple[Any, Any, Any]:
            value, (derivatives,), coupled = self.pull(1, some)
            with quiet():
                return value, *coupled.send(tuple(scaled(derivative, some) for derivative in derivatives))

        values, owns, others = [], [], None
        for some in self.anchors():
            value, own, other = part(some)
            values.append(value)
            owns.append(own)
            with quiet():
                others = other if others is None else others + other
        with quiet():
            return self.xp.join_rows(values), self.xp.join_rows(owns) + others

    def values(self, value: Any) -> Any:
        """Give the values their batch shape and their type."""
        shaped = self.xp.broadcast_to(value, self.batch + (1,) * self.inner).reshape(self.batch)
        return self.xp.cast(shaped, self.dtype)

    @property
    def inner(self) -> int:
        """Axes after the batch in a value as the definition yields it: the row's, each of length 1."""
        return 1 if self.loss.coupling else self.signature.rank

    def inputs(self) -> list[Any]:
        """Return all arrays that the caller gave, with which no result may share memory."""
        held = [x for x in self.params.values() if not isinstance(x, (int, float)) and hasattr(x, "shape")]
        return [x for x in (*self.given, *held, self.weights) if x is not None]

    def restore(self, derivatives: Sequence[Any], factor: Any) -> tuple[Any, ...]:
        """Scale derivatives and give each the shape and type of its argument."""
        restored: list[Any] = []
        for name, derivative in zip(self.loss.wrt, derivatives, strict=True):
            at = self.loss.arguments.index(name)
            given, core = self.given[at], self.signature.inputs[at]
            scaled = _scaled(self.xp, derivative, factor, self.inner)
            full = self.batch + given.shape[given.ndim - len(core) :]
            spread = self.xp.broadcast_to(scaled, self.batch + self._padded(full[len(self.batch) :])).reshape(full)
            if given.ndim == len(core) and self.batch:  # one example was repeated over the batch: its shares add up
                spread = spread.sum(axis=tuple(range(len(self.batch))))
            owned = self.xp.own(spread, (*self.inputs(), *restored))
            restored.append(self.xp.cast(owned, self.xp.gradient_dtype(given, self.dtype)))
        return tuple(restored)

    def _padded(self, core: tuple[int, ...]) -> tuple[int, ...]:
        return core + (1,) * (self.inner - len(core)) if not self.loss.coupling else core


def _scaled(xp: Any, derivative: Any, factor: Any, inner: int) -> Any:
    """Multiply by a factor per example, exactly 0 where the factor is 0."""
    shape = getattr(factor, "shape", ())
    return reduction.weigh(xp, derivative, factor.reshape(shape + (1,) * inner) if shape else factor)


def prepare(
    loss: Loss,
    given: Sequence[Any],
    keywords: Mapping[str, Any],
    weight: Any = None,
    mask: Any = None,
    check: bool = True,
    later: bool = False,
) -> Call:
    """Check a call and bring its arrays into the form the definition takes.

    With `later` the values are left to be checked by whoever computes: a kernel does it on the way. It also widens half
    precision on the way, so arrays that it reads are left as they are.
    """
    params = dict(keywords)
    listed = checks.bind_arrays(loss, given, params)
    xp = _dispatch.backend(*listed, weight, mask)
    like = _widest(listed)
    arrays: list[Any] = [
        x if x is None and name in loss.optional else xp.asarray(x, f"{loss.name}: {name}", like)
        for name, x in zip(loss.arguments, listed, strict=True)
    ]
    params = checks.parameters(loss, params, ranges=check)
    signatures = loss.coupling.signatures if loss.coupling else loss.signatures
    if loss.optional:
        arrays = checks.full_lengths(xp, loss, signatures[0], arrays, like)
    alternative, batch = checks.shapes(loss, signatures, arrays)
    signature = signatures[alternative]
    if loss.coupling:
        batch = arrays[0].shape[:1]  # the examples that are coupled are the batch
    domains = [loss.domain(name, alternative) for name in loss.arguments]

    dtype = xp.compute_dtype([a for a, d in zip(arrays, domains, strict=True) if d.kind not in _WHOLE])
    exempt = params.pop("ignore_index", None)
    if exempt is not None:
        labels = checks.ignorable(loss, arrays, domains)
        kept = ~xp.equals(xp.broadcast_to(labels, batch), exempt)
        mask = kept if mask is None else kept & (xp.broadcast_to(xp.asarray(mask, "mask", like), batch) != 0)
    weights = reduction.coefficients(xp, batch, dtype, weight, mask, like)
    keep = None if weights is None else weights != 0

    classes = arrays[0].shape[-1] if signature.inputs[0] else 1
    checks.parameter_shapes(loss, params, batch, classes, signature.rank)
    lengths, sizes = _lengths(loss, signature, arrays)
    narrow = later and any(xp.narrow(array, dtype) for array in arrays)
    as_stored = xp.read_narrow(loss, signature, arrays) if narrow else ()
    ready = []
    for name, core, array, allowed in zip(loss.arguments, signature.inputs, arrays, domains, strict=True):
        if allowed.kind == "index":
            # Labels under the mask, and beyond a length, may be anything; -1 is outside every row, hence costs nothing.
            counts = None if keep is None or not batch else keep.reshape(keep.shape + (1,) * len(core))
            inside = _within(xp, core, lengths, sizes) if lengths else None
            counts = inside if counts is None else counts if inside is None else counts & inside
            whole = xp.as_index(array)  # before anything is -1: the type of the labels may have none
            whole = whole if counts is None else xp.where(counts, whole, -xp.ones_like(whole))
            ready.append(_row(whole, core, signature))
        elif allowed.kind == "length":
            whole = xp.as_index(array)
            whole = whole if keep is None or not batch else xp.where(keep, whole, xp.zeros_like(whole))
            ready.append(_row(whole, core, signature))
        elif loss.coupling:
            ready.append(xp.cast(array, dtype) if core[1:] else array)
        else:
            if name in loss.wrt and array.ndim == len(core):  # one example, repeated: each repetition has its gradient
                array = xp.broadcast_to(array, batch + array.shape)
            as_it_is = name in as_stored and xp.narrow(array, dtype)
            ready.append(_row(array if as_it_is else xp.cast(array, dtype), core, signature))
    arrays_given = [k for k, v in params.items() if not isinstance(v, (int, float)) and hasattr(v, "shape")]
    params |= {k: xp.cast(xp.asarray(params[k], k, like), dtype) for k in arrays_given}
    call = Call(loss, xp, arrays, ready, params, signature, batch, dtype, weights, domains, exempt, check)
    if not later:
        call.check_values()
    return call


def _widest(given: Sequence[Any]) -> Any:
    """Return the array of the widest type: a Python number beside it is rounded to that, and lies where it does."""
    found, size = None, -1
    for x in given:
        if hasattr(x, "dtype"):
            own = x.dtype.itemsize if getattr(x.dtype, "is_floating_point", False) else 0
            if own > size:
                found, size = x, own
    return found


def _lengths(loss: Loss, signature: Signature, arrays: Sequence[Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the lengths among the arrays, by the dimension they speak of, and the size of every dimension."""
    lengths: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    if loss.optional:
        for name, core, array in zip(loss.arguments, signature.inputs, arrays, strict=True):
            sizes.update(zip(core, array.shape[array.ndim - len(core) :], strict=True))
            if name in loss.optional:
                lengths[loss.domain(name).dimension] = array
    return lengths, sizes


def _within(xp: Any, core: tuple[str, ...], lengths: Mapping[str, Any], sizes: Mapping[str, int]) -> Any:
    """Return which entries of an example lie within the lengths of its dimensions; None where it has none."""
    found = None
    for axis, dimension in enumerate(core):
        if dimension in lengths:
            length, size = xp.as_index(lengths[dimension]), sizes[dimension]
            inside = xp.arange(size, length) < length[..., None]
            inside = inside.reshape(length.shape + (1,) * axis + (size,) + (1,) * (len(core) - axis - 1))
            found = inside if found is None else found & inside
    return found


def _row(array: Any, core: tuple[str, ...], signature: Signature) -> Any:
    """Give an argument with fewer core dimensions than the others axes of length 1 in their place."""
    missing = signature.rank - len(core)
    return array.reshape(array.shape + (1,) * missing) if missing else array


# --- the public transforms ------------------------------------------------------------------------------------------


def values(loss: Loss | str, given: Sequence[Any], params: Mapping[str, Any], check: bool = True) -> Any:
    """Return one value per example."""
    loss = get(loss)
    check = check and lookout.attend(loss, given, params)
    done = _dispatch.lean(loss, given, params, "none", check)
    return (
        done if done is not None else reduced_value(prepare(loss, given, params, check=check, later=True), "none", None)
    )


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

    The options are those of `value_and_grad`. Unlike weights given to `lossary.mean` afterwards, they are known to the
    checks, to which a masked entry may be anything, and to losses that compare the examples of a batch.

    >>> import lossary
    >>> float(value(lossary.squared_error, [1.0, 2.0], [0.0, 0.0], mask=[True, False], reduction="mean"))
    1.0
    """
    loss = get(loss)
    check = check and lookout.attend(loss, arrays, params, weight, mask)
    if weight is None and mask is None and denominator is None:
        done = _dispatch.lean(loss, arrays, params, reduction, check)
        if done is not None:
            return done
    return reduced_value(prepare(loss, arrays, params, weight, mask, check, later=True), reduction, denominator)


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
    mask: true where an example counts.
    reduction: ``"none"``: value per example, and the gradient of their sum. ``"sum"``. ``"mean"``:
        ``sum(w * v) / sum(w)``. A loss with `ignore_index` leaves those rows out of both sums.
    denominator: replaces ``sum(w)`` under ``"mean"``.
    check: look at the values, not only at the shapes. Without it, arrays and parameters outside the loss's domain
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
    check = check and lookout.attend(loss, arrays, params, weight, mask)
    if weight is None and mask is None and denominator is None and out is None:
        done = _dispatch.lean_and_grad(loss, arrays, params, reduction, check)
        if done is not None:
            value, grads = done
            return value, grads if len(grads) > 1 else grads[0]
    call = prepare(loss, arrays, params, weight, mask, check, later=True)
    if out is None:
        return _value_and_grad(call, reduction, denominator)
    places = call.xp.outputs(call, out)
    call = replace(call, room=[None if any(x is y for y in call.given) else x for x in places])
    reduced, grads = _value_and_grad(call, reduction, denominator)
    call.xp.deliver(grads if isinstance(grads, tuple) else (grads,), places)
    return reduced, out


def _value_and_grad(call: Call, reduction: Reduction, denominator: Any) -> tuple[Any, Any]:
    done = _fused(call, "each" if reduction == "none" else "sum", 1, reduction, denominator)
    if done is not None:
        return done.value[()], done.derivatives if len(done.derivatives) > 1 else done.derivatives[0]
    call.check_values()
    xp, factor = call.xp, _factor(call, reduction, denominator)
    if call.loss.coupling is not None:

        def scaled(derivative: Any, some: slice) -> Any:
            return _scaled(xp, derivative, factor[some] if getattr(factor, "shape", ()) else factor, call.inner)

        value, grad = call.through_coupling(scaled, xp.quiet)
        reduced = _reduce(call, value, reduction, denominator)
        return reduced, xp.cast(xp.own(grad, call.inputs()), xp.gradient_dtype(call.given[0], call.dtype))
    value, derivatives, _ = call.pull(1)
    reduced = _reduce(call, value, reduction, denominator)
    grads = call.restore(derivatives[0], factor)
    return reduced, grads if len(grads) > 1 else grads[0]


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
    loss = get(loss)
    if loss.derivatives < 2:
        raise ArgumentError(f"{loss.name}: has no Hessian: its definition gives value and gradient only")
    check = check and lookout.attend(loss, arrays, params, weight, mask)
    call = prepare(loss, arrays, params, weight, mask, check, later=True)
    done = _fused(call, None, 2, reduction, denominator)
    if done is not None:
        return done.derivatives if len(done.derivatives) > 1 else done.derivatives[0]
    call.check_values()
    _, derivatives, _ = call.pull(2)
    diagonal = call.restore(derivatives[1], _factor(call, reduction, denominator))
    return diagonal if len(diagonal) > 1 else diagonal[0]


def _reduce(call: Call, value: Any, how: Reduction, denominator: Any) -> Any:
    """Return the reduced value."""
    xp, weights = call.xp, call.weights
    weighted = reduction.weigh(xp, call.values(value), weights)
    count = reduction.scale(xp, call.batch, call.dtype, weights, how, denominator)
    if how == "none":
        return xp.own(weighted, call.inputs())[()]
    summed = reduction.reduce_sum(xp, weighted, call.dtype)
    return summed if how == "sum" else reduction.average(summed, count)


def _factor(call: Call, how: Reduction, denominator: Any) -> Any:
    """Return the factor by which each example's derivative enters the reduced value; None if it is 1."""
    count = reduction.scale(call.xp, call.batch, call.dtype, call.weights, how, denominator)
    if how != "mean":
        return call.weights
    return reduction.average(1.0 if call.weights is None else call.weights, count)


def reduced_value(call: Call, how: Reduction, denominator: Any) -> Any:
    """Return the reduced value, by a kernel where there is one."""
    done = _fused(call, "each" if how == "none" else "sum", 0, how, denominator)
    if done is not None:
        return done.value[()]
    call.check_values()
    return _reduce(call, call.xp.evaluate(call), how, denominator)


def _fused(call: Call, value: str | None, order: int, how: Reduction, denominator: Any) -> Any:
    """Return the reduced value and the derivatives of one order from a kernel, or None if there is none for the call.

    Under `how` ``"none"`` there is a value for each example, and where nobody asks for a value, none.
    """
    xp = call.xp
    count = reduction.scale(xp, call.batch, call.dtype, call.weights, how, denominator)

    def finish(summed: Any) -> Any:
        summed = xp.scalar(summed, call.dtype)
        return reduction.average(summed, count) if how == "mean" else summed

    done = xp.fused(call, value, order, reduction.average(1.0, count), finish)
    if done is None:
        return None
    derivatives = []
    for name, derivative in zip(call.loss.wrt, done.derivatives, strict=False):  # there may be none
        given = call.given[call.loss.arguments.index(name)]
        if derivative.ndim > given.ndim:  # one example was repeated over the batch: its shares add up
            derivative = derivative.sum(axis=tuple(range(len(call.batch))))
        derivatives.append(xp.cast(derivative, xp.gradient_dtype(given, call.dtype)))
    return replace(done, derivatives=tuple(derivatives))


def bind(loss: Loss | str, params: Mapping[str, Any]) -> Loss:
    """Return the loss with some parameters fixed, checked now rather than at the first call."""
    loss = get(loss)
    checks.parameters(loss, params)
    return dress(replace(loss, bound={**loss.bound, **params}))
