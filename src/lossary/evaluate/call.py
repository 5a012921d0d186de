"""A bound call of a loss: checked arguments in the compute dtype, weights, and the shapes to restore."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from lossary.backends import registry
from lossary.backends.definitions import DefinitionBackend
from lossary.backends.protocol import Backend, Operations
from lossary.catalogue import Loss
from lossary.catalogue.domains import Domain
from lossary.catalogue.signatures import Signature
from lossary.errors import DomainError
from lossary.evaluate import checks, reduction

# Kinds of arrays that hold whole numbers: their dtype does not affect the compute dtype.
WHOLE = ("index", "integer", "length")

# A coupled batch is computed in blocks of anchors if its table of pairs exceeds this many bytes. Each block reads all
# embeddings, so its part of the table is at least as large as those.
PAIRS_BYTES = 16 << 20
LEAST_ANCHORS = 64


@dataclass(frozen=True)
class Call:
    """A bound call: the loss and its backend, arrays as the caller and as the definition has them, and their shapes."""

    loss: Loss
    backend: Backend
    given: Sequence[Any]  # the caller's arrays
    arrays: Sequence[Any]  # the same in the compute dtype, masked labels -1, missing core axes of length 1
    params: Mapping[str, Any]  # all parameters but `ignore_index`
    signature: Signature
    alternative: int  # the number of the signature among those of the loss, or of its coupling
    batch: tuple[int, ...]
    dtype: Any  # the compute dtype
    weights: Any  # one per example, 0 where masked or ignored; None if all are 1
    domains: Sequence[Domain]
    ignore_index: Any
    check: bool  # whether values are checked against the domains
    out: Sequence[Any] = ()  # output buffers for gradients, which a kernel may write to; None where it may not

    @property
    def xp(self) -> Operations:
        """The array namespace of the call."""
        return self.backend.xp

    def check_values(self) -> None:
        """Raise `DomainError` if an array has a value outside its domain, in an example that is kept."""
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
            checks.domain(xp, loss, name, allowed, array, per_example, classes, self.ignore_index, inside)
        if loss.conditions and all(xp.readable(length) is not None for length in lengths.values()):
            # A kernel's call holds the memory of its tensors: the arrays determine the namespace.
            seen = None if keep is None else xp.readable(keep)
            with xp.quiet():
                checks.conditions(registry.namespace(*self.arrays), loss, self.arrays, self.params, seen, self.batch)

    def labels_outside(self) -> Any:
        """Return which kept examples hold a class index that is out of bounds; None if none does."""
        classes = self.given[0].shape[-1] if self.signature.inputs[0] else 1
        found = None
        for array, core, allowed in zip(self.arrays, self.signature.inputs, self.domains, strict=True):
            if allowed.kind == "index" and self.loss.coupling is None:  # a masked one is -1 here
                outside = (array >= classes) | (array < -1)
                lead = outside.shape[: outside.ndim - max(len(core), self.inner)]
                some = outside.reshape(*lead, math.prod(outside.shape[len(lead) :])).any(-1)
                found = some if found is None else found | some
        if found is None or not found.any():
            return None
        return self.xp.broadcast_to(found, self.batch)

    def steps(self) -> Any:
        """Start the definition of an uncoupled call; arrays kept in half precision for a kernel are widened."""
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
        tuples = [d if isinstance(d, tuple) else (d,) for d in derivatives]
        return value, tuples, coupled

    def anchors(self) -> list[slice]:
        """Return the blocks of anchors that a coupled batch is computed in: no table of all pairs is ever held."""
        count = self.batch[0]
        if not self.xp.may_loop(self.given[0]) or count * count * self.dtype.itemsize <= PAIRS_BYTES:
            return [slice(None)]
        height = max(LEAST_ANCHORS, self.given[0].shape[-1], PAIRS_BYTES // (count * self.dtype.itemsize))
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
            part = scaled(self.xp, derivative, factor, self.inner)
            full = self.batch + given.shape[given.ndim - len(core) :]
            spread = self.xp.broadcast_to(part, self.batch + self._padded(full[len(self.batch) :])).reshape(full)
            if given.ndim == len(core) and self.batch:  # one example was repeated over the batch: its gradients add up
                spread = spread.sum(axis=tuple(range(len(self.batch))))
            owned = self.xp.own(spread, (*self.inputs(), *restored))
            restored.append(self.xp.cast(owned, self.xp.gradient_dtype(given, self.dtype)))
        return tuple(restored)

    def _padded(self, core: tuple[int, ...]) -> tuple[int, ...]:
        return core + (1,) * (self.inner - len(core)) if not self.loss.coupling else core


def scaled(xp: Operations, derivative: Any, factor: Any, inner: int) -> Any:
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
    defer_checks: bool = False,
    backend: Backend | Operations | None = None,
) -> Call:
    """Bind a call: check its arguments, and convert its arrays to the form that the definition takes.

    With `defer_checks`, values are not checked here but when the call is computed: a kernel does so in its one pass. It
    widens half precision in that pass, too, so the arrays it reads are not converted here.

    A `backend`, or a bare array namespace, computes the call instead of that of its arrays.
    """
    params = dict(keywords)
    listed = checks.bind_arrays(loss, given, params)
    computing = _backend(backend, (*listed, weight, mask))
    xp = computing.xp
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

    dtype = xp.compute_dtype([a for a, d in zip(arrays, domains, strict=True) if d.kind not in WHOLE])
    ignore_index = params.pop("ignore_index", None)
    weights = example_weights(xp, loss, arrays, domains, batch, dtype, weight, mask, ignore_index, like)
    keep = None if weights is None else weights != 0

    classes = arrays[0].shape[-1] if signature.inputs[0] else 1
    checks.parameter_shapes(loss, params, batch, classes, signature.rank)
    narrow = defer_checks and any(xp.narrow(array, dtype) for array in arrays)
    stored = computing.stored_narrow(loss, signature, arrays) if narrow else ()
    ready = _ready(xp, loss, signature, arrays, domains, batch, dtype, keep, stored)
    arrays_given = [k for k, v in params.items() if not isinstance(v, (int, float)) and hasattr(v, "shape")]
    params |= {k: xp.cast(xp.asarray(params[k], k, like), dtype) for k in arrays_given}
    call = Call(
        loss=loss,
        backend=computing,
        given=arrays,
        arrays=ready,
        params=params,
        signature=signature,
        alternative=alternative,
        batch=batch,
        dtype=dtype,
        weights=weights,
        domains=domains,
        ignore_index=ignore_index,
        check=check,
    )
    if not defer_checks:
        call.check_values()
    return call


def _ready(
    xp: Operations,
    loss: Loss,
    signature: Signature,
    arrays: Sequence[Any],
    domains: Sequence[Domain],
    batch: tuple[int, ...],
    dtype: Any,
    keep: Any,
    stored: Sequence[str],
) -> list[Any]:
    """Return arrays as the definition takes them; those named in `stored` keep their half precision for a kernel."""
    lengths, sizes = _lengths(loss, signature, arrays)
    ready = []
    for name, core, array, allowed in zip(loss.arguments, signature.inputs, arrays, domains, strict=True):
        if allowed.kind == "index":
            # Masked labels, and those beyond a length, may have any value; -1 is outside every row, hence costs
            # nothing.
            kept = None if keep is None or not batch else keep.reshape(keep.shape + (1,) * len(core))
            inside = _within(xp, core, lengths, sizes) if lengths else None
            kept = inside if kept is None else kept if inside is None else kept & inside
            labels = xp.as_index(array)  # converted first: the dtype of the labels may have no -1
            labels = labels if kept is None else xp.where(kept, labels, -xp.ones_like(labels))
            ready.append(_padded(labels, core, signature))
        elif allowed.kind == "length":
            length = xp.as_index(array)
            length = length if keep is None or not batch else xp.where(keep, length, xp.zeros_like(length))
            ready.append(_padded(length, core, signature))
        elif loss.coupling:
            ready.append(xp.cast(array, dtype) if core[1:] else array)
        else:
            if name in loss.wrt and array.ndim == len(core):  # one example, repeated: each repetition has its gradient
                array = xp.broadcast_to(array, batch + array.shape)
            as_stored = name in stored and xp.narrow(array, dtype)
            ready.append(_padded(array if as_stored else xp.cast(array, dtype), core, signature))
    return ready


def example_weights(
    xp: Operations,
    loss: Loss,
    arrays: Sequence[Any],
    domains: Sequence[Domain],
    batch: tuple[int, ...],
    dtype: Any,
    weight: Any,
    mask: Any,
    ignore_index: Any,
    like: Any,
) -> Any:
    """Return the weight of each example: 0 where it is masked or its label is `ignore_index`; None if all weigh 1."""
    if ignore_index is not None:
        labels = checks.ignorable(loss, arrays, domains)
        kept = ~xp.equals(xp.broadcast_to(labels, batch), ignore_index)
        mask = kept if mask is None else kept & (xp.broadcast_to(xp.asarray(mask, "mask", like), batch) != 0)
    return reduction.coefficients(xp, batch, dtype, weight, mask, like)


def _backend(given: Any, arrays: Sequence[Any]) -> Backend:
    """Return the backend that computes a call: the one given, one made of a bare namespace, or that of the arrays."""
    if given is None:
        return registry.backend(*arrays)
    return given if hasattr(given, "xp") else DefinitionBackend(given)


def _widest(given: Sequence[Any]) -> Any:
    """Return the array of the widest type: a Python number beside it takes its type and device."""
    found, size = None, -1
    for x in given:
        if hasattr(x, "dtype"):
            own = x.dtype.itemsize if getattr(x.dtype, "is_floating_point", False) else 0
            if own > size:
                found, size = x, own
    return found


def _lengths(loss: Loss, signature: Signature, arrays: Sequence[Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the lengths among the arrays, by dimension, and the size of every dimension."""
    lengths: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    if loss.optional:
        for name, core, array in zip(loss.arguments, signature.inputs, arrays, strict=True):
            sizes.update(zip(core, array.shape[array.ndim - len(core) :], strict=True))
            if name in loss.optional:
                lengths[loss.domain(name).dimension] = array
    return lengths, sizes


def _within(xp: Operations, core: tuple[str, ...], lengths: Mapping[str, Any], sizes: Mapping[str, int]) -> Any:
    """Return which entries of an example are within the lengths of its dimensions; None where it has none."""
    found = None
    for axis, dimension in enumerate(core):
        if dimension in lengths:
            length, size = xp.as_index(lengths[dimension]), sizes[dimension]
            inside = xp.arange(size, length) < length[..., None]
            inside = inside.reshape(length.shape + (1,) * axis + (size,) + (1,) * (len(core) - axis - 1))
            found = inside if found is None else found & inside
    return found


def _padded(array: Any, core: tuple[str, ...], signature: Signature) -> Any:
    """Return an argument with axes of length 1 for the core dimensions that other arguments have and it lacks."""
    missing = signature.rank - len(core)
    return array.reshape(array.shape + (1,) * missing) if missing else array
