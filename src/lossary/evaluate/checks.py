"""Checks of a call: arguments, shapes, values and parameters, with error sentences derived from the records.

Nothing here names a particular loss: shapes follow from the signature, values from the domains, parameters from their
ranges, and a loss to use instead from `lossary.catalogue.related`. Checks of shapes always run. Checks of values run
where reading the data costs about a hundredth of the loss itself, that is, on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossary import settings, tolerances
from lossary.backends import registry
from lossary.backends.protocol import Operations
from lossary.catalogue import Loss, related
from lossary.catalogue.domains import CONVENTIONS, Domain
from lossary.catalogue.signatures import Signature, dimension
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError, digits, suggest

# --- arguments ------------------------------------------------------------------------------------------------------

_CALL_OPTIONS = {
    "reduction": "a catalogue function gives one value per example; reduce with lossary.mean(values) or use "
    "{name}.value_and_grad(..., reduction=...)",
    "weight": "weigh the values with lossary.mean(values, weight=...) or use {name}.value_and_grad(..., weight=...)",
    "mask": "leave entries out with lossary.mean(values, mask=...) or use {name}.value_and_grad(..., mask=...)",
}


def bind_arrays(loss: Loss, given: Sequence[Any], keywords: dict[str, Any]) -> list[Any]:
    """Return the arrays in the order of the definition, taking them out of `keywords` where named there."""
    expected = ", ".join(loss.arguments)
    if len(given) > len(loss.arguments):
        raise ArgumentError(
            f"{loss.name}: got {len(given)} positional arguments, expected {len(loss.arguments)} arrays ({expected}); "
            "parameters are keywords" + (f": {', '.join(loss.defaults)}" if loss.defaults else "")
        )
    arrays = dict(zip(loss.arguments, given, strict=False))
    for name in loss.arguments:
        if name in keywords:
            if name in arrays:
                raise ArgumentError(f"{loss.name}: {name} is given twice, by position and by name")
            arrays[name] = keywords.pop(name)
    if "labels" in keywords and loss.target == _SIGNS and isinstance(keywords["labels"], str):
        arrays = _signs(loss, arrays, keywords.pop("labels"))
    missing = [name for name in loss.arguments if name not in arrays and name not in loss.optional]
    if missing:
        raise ArgumentError(f"{loss.name}: missing {', '.join(missing)}; it takes the arrays {expected}")
    return [arrays.get(name) for name in loss.arguments]


_SIGNS = "{-1, 1}"


def _signs(loss: Loss, arrays: dict[str, Any], labels: str) -> dict[str, Any]:
    """Map labels 0 and 1 to -1 and 1 if requested; other labels stay outside the domain, and are rejected."""
    if labels not in ("01", "signs"):
        raise ParameterError(
            f'{loss.name}: labels: got {labels!r}, expected "01" for targets 0 and 1 or "signs" for -1 and 1'
        )
    target: Any = arrays.get("target")
    if labels == "signs" or target is None:
        return arrays
    if not hasattr(target, "dtype"):
        target = np.asarray(target)
    whole = str(target.dtype).removeprefix("torch.").startswith(("bool", "uint", "int"))
    # Unsigned numbers have no -1; an integer type does not affect the compute dtype.
    signed: Any = registry.namespace(target).as_index(target) if whole else target
    return arrays | {"target": 2 * signed - 1}


def parameters(loss: Loss, given: Mapping[str, Any], ranges: bool = True) -> dict[str, Any]:
    """Return all parameters of a loss, numbers checked against their ranges unless `ranges` is false."""
    for name in given:
        if name not in loss.defaults:
            if name in _CALL_OPTIONS:
                raise ArgumentError(
                    f"{loss.name}: {name}= is not a parameter: " + _CALL_OPTIONS[name].format(name=loss.name)
                )
            known = list(loss.defaults)
            hint = suggest(name, known) or (f": it has {', '.join(known)}" if known else ": it has none")
            raise ArgumentError(f'{loss.name}: no parameter "{name}"{hint}')
    full = {**loss.defaults, **loss.bound, **given}
    return {name: _parameter(loss, name, value, ranges) for name, value in full.items()}


def _parameter(loss: Loss, name: str, value: Any, ranges: bool) -> Any:
    text = loss.parameters.get(name)
    if text is None or value is None:
        if value is None and loss.defaults[name] is not None:
            raise ParameterError(f"{loss.name}: {name}: got None, expected {text}")
        return value
    domain, per_class = loss.parameter_domains[name]
    if domain.kind == "one of":
        if value not in domain.choices:
            raise ParameterError(
                f"{loss.name}: {name}: got {value!r}, expected {domain.text}{suggest(str(value), domain.choices)}"
            )
        return value
    if domain.kind == "flag":
        if value not in (True, False):
            raise ParameterError(f"{loss.name}: {name}: got {value!r}, expected True or False")
        return bool(value)
    if isinstance(value, (int, float)):
        if not ranges or domain.contains(value):
            return int(value) if domain.kind in ("count", "integer", "index") else value
        raise ParameterError(
            f"{loss.name}: {name}: got {digits(value, *_ends(domain))}, expected a number in {domain.text}"
        )
    xp = registry.namespace(value)
    xp.need_elements(value, f"{loss.name}: {name}")
    if registry.differentiates(value):  # it may be on a device, or learned: its values are not checked
        if name in loss.branching and not _is_one_number(value):
            raise _one_number(loss, name)
        return value
    try:
        numbers = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise ParameterError(f"{loss.name}: {name}: got {value!r}, expected a number in {domain.text}") from None
    bad = [float(v) for v in numbers.ravel() if not domain.contains(float(v)) or math.isnan(v)]
    if bad:
        raise ParameterError(
            f"{loss.name}: {name}: got {digits(bad[0], *_ends(domain))}, expected a number in {domain.text}"
        )
    if numbers.ndim == 0:
        number = numbers.item()
        return int(number) if domain.kind in ("count", "integer", "index") else number
    if name in loss.branching:
        raise _one_number(loss, name)
    if not per_class and loss.signatures[0].rank:
        raise ParameterError(f"{loss.name}: {name}: got {numbers.size} numbers, expected one")
    return numbers


def _is_one_number(tensor: Any) -> bool:
    """Whether a tensor is one number that can be compared: without a batch axis of vmap."""
    try:
        return tensor.numel() == 1 and bool(tensor.detach().reshape(()) == 0) in (True, False)
    except RuntimeError:
        return False


def _one_number(loss: Loss, name: str) -> ParameterError:
    return ParameterError(
        f"{loss.name}: {name}: got several numbers (an array, or a tensor under vmap), expected one number for the "
        f"whole call: the formula of {loss.name} is chosen by {name}; call it once for each number"
    )


# --- shapes ---------------------------------------------------------------------------------------------------------


def shapes(loss: Loss, signatures: Sequence[Signature], arrays: Sequence[Any]) -> tuple[int, tuple[int, ...]]:
    """Return which alternative of the signature fits, and the shape of the batch; raise `ShapeError` if none does.

    All arrays have the same leading (batch) dimensions; one whole example without any is repeated. Nothing else is
    broadcast: ``(N, 1)`` against ``(N,)`` would silently compare everything with everything.
    """
    if loss.coupling:
        for name, core, array in zip(loss.arguments, signatures[0].inputs, arrays, strict=True):
            if array.ndim > len(core):
                raise ShapeError(
                    f"{loss.name}: {name}: got shape {tuple(array.shape)}, expected ({', '.join(core)}), where "
                    f"{core[0]} is the batch: its examples are compared with each other, so call once for each batch"
                )
    for number, signature in enumerate(signatures):
        loops = [a.ndim - len(core) for a, core in zip(arrays, signature.inputs, strict=True)]
        if all(n in (0, loops[0]) for n in loops) and loops[0] >= 0:
            return number, _batch(loss, signature, arrays)
    return 0, _batch(loss, signatures[0], arrays)


def full_lengths(xp: Operations, loss: Loss, signature: Signature, arrays: Sequence[Any], like: Any) -> list[Any]:
    """Return the arrays with the sizes of their dimensions for the lengths that were left out."""
    sizes: dict[str, int] = {}
    for core, array in zip(signature.inputs, arrays, strict=True):
        if array is not None and array.ndim >= len(core):
            sizes.update(zip(core, array.shape[array.ndim - len(core) :], strict=True))
    return [
        xp.whole(sizes.get(loss.domain(name).dimension, 0), like) if array is None else array
        for name, array in zip(loss.arguments, arrays, strict=True)
    ]


def parameter_shapes(loss: Loss, params: Mapping[str, Any], batch: tuple[int, ...], classes: int, rank: int) -> None:
    """Raise `ShapeError` for a parameter of several numbers that are not one per class, or one per value."""
    for name, value in params.items():
        domain, per_class = loss.parameter_domains.get(name, (None, False))
        if domain is not None and domain.kind == "index" and isinstance(value, int) and not 0 <= value < classes:
            raise ParameterError(
                f"{loss.name}: {name}: got {value}, expected one of the {classes} classes, {{0, ..., {classes - 1}}}"
            )
        # A number has no shape; under a compiler it may be a symbol, whose attributes must not be read.
        shape = () if isinstance(value, (int, float)) else tuple(getattr(value, "shape", ()))
        full = (classes,) if per_class and rank > 1 else (*batch, classes) if rank else batch
        fits = len(shape) <= len(full) and all(a in (1, b) for a, b in zip(shape[::-1], full[::-1], strict=False))
        if not fits and (per_class or rank < 2):
            expected = f"one number for each of the {classes} classes" if rank else f"one number, or the shape {batch}"
            raise ShapeError(f"{loss.name}: {name}: got shape {shape}, expected {expected}")


def _batch(loss: Loss, signature: Signature, arrays: Sequence[Any]) -> tuple[int, ...]:
    sizes: dict[str, tuple[int, str]] = {}
    batch: tuple[int, ...] = ()
    owner = ""
    for name, core, array in zip(loss.arguments, signature.inputs, arrays, strict=True):
        if array.ndim < len(core):
            raise ShapeError(
                f"{loss.name}: {name}: got shape {tuple(array.shape)}, expected at least {len(core)} "
                f"dimension{'s' * (len(core) > 1)} ({', '.join(core)}) as in the signature {signature}"
            )
        split = array.ndim - len(core)
        loop = array.shape[:split]
        if loop and not owner:
            batch, owner = loop, name
        elif loop and loop != batch:
            raise ShapeError(_unequal(loss, signature, arrays, name, owner))
        for label, whole in zip(core, array.shape[split:], strict=True):
            label, more = dimension(label)
            size = whole - more
            held, holder = sizes.setdefault(label, (size, name))
            if held != size:
                there, here = tuple(arrays[loss.arguments.index(holder)].shape), tuple(array.shape)
                raise ShapeError(
                    f"{loss.name}: dimension {label} is {held} in {holder} (shape {there}) but {size} in {name} "
                    f"(shape {here})"
                )
    return batch


def _unequal(loss: Loss, signature: Signature, arrays: Sequence[Any], name: str, owner: str) -> str:
    a, b = (tuple(arrays[loss.arguments.index(n)].shape) for n in (owner, name))
    if a == b and len(signature.inputs[loss.arguments.index(owner)]) == 1 and loss.domain(name).kind == "index":
        other = related.for_distributions(loss)
        return (
            f"{loss.name}: {name}: takes class indices of shape {a[:-1]}, got rows of shape {b}; for rows of 0 and 1 "
            f"pass {name}.argmax(-1)" + (f", for distributions use a loss that takes them: {other}" if other else "")
        )
    text = f"{loss.name}: {owner} has shape {a} but {name} has shape {b}; expected the same"
    cores = {n: len(signature.inputs[loss.arguments.index(n)]) for n in (owner, name)}
    if cores[owner] or cores[name]:
        text += f" leading dimensions, then {signature} per example"
    longer, shorter = (owner, name) if len(a) > len(b) else (name, owner)
    shape_long, shape_short = (a, b) if len(a) > len(b) else (b, a)
    if cores[owner] == cores[name] == 0:
        if len(shape_long) == len(shape_short) + 1 and shape_long[-1] == 1:
            text += f". Nothing is broadcast silently: drop the last axis with {longer}[:, 0], or add one to {shorter}"
    elif cores[owner] == 1 and cores[name] == 0 and len(a) > 2 and b == (a[0], *a[2:]):
        text += f". Classes go last: numpy.moveaxis({owner}, 1, -1)"
    return text


# --- values ---------------------------------------------------------------------------------------------------------


def domain(
    xp: Operations,
    loss: Loss,
    name: str,
    allowed: Domain,
    x: Any,
    keep: Any,
    classes: int,
    ignore_index: Any = None,
    within: Any = None,
) -> None:
    """Raise `DomainError` if an array has a kept value outside a domain.

    `keep` is None or true for every example that is kept; `ignore_index` is a label to ignore; `within` is None or
    true for every entry within the lengths. Of lengths, `classes` is the size of their dimension.
    """
    if not allowed.bounded:
        return
    x = xp.readable(x)
    keep = None if keep is None else xp.readable(keep)
    if x is None or x.size == 0:
        return
    if keep is not None:
        keep = keep.reshape(keep.shape + (1,) * (x.ndim - keep.ndim)) if x.ndim >= keep.ndim else None
    if within is not None:
        keep = xp.readable(within) if keep is None else keep & xp.readable(within)
    if allowed.kind in ("simplex", "log-simplex"):
        _rows(loss, name, allowed, x, keep)
        return
    if allowed.kind == "index":
        ok = (x >= 0) & (x < classes) & (x == np.floor(x)) if x.dtype.kind == "f" else (x >= 0) & (x < classes)
        if ignore_index is not None:
            ok |= x == ignore_index
    elif allowed.kind == "length":
        ok = (x >= 0) & (x <= classes) & (x == np.floor(x))
    elif allowed.kind == "set":
        ok = np.isin(x, allowed.values)
    elif allowed.kind in ("count", "integer"):
        ok = (x >= allowed.low) & (x == np.floor(x)) if x.dtype.kind == "f" else x >= allowed.low
    elif allowed.kind == "flag":
        ok = (x == 0) | (x == 1)
    else:  # an interval; NaN passes, because it results from earlier steps and is no misuse of this loss
        ok = ~tolerances.beyond(allowed, x, _scale(loss, name, x))
    if keep is not None:
        ok = ok | ~keep
    if ok.all():
        return
    where = np.argwhere(~ok)
    first = tuple(int(i) for i in where[0])
    x = np.broadcast_to(x, ok.shape)
    position = f" at index {first if len(first) > 1 else first[0]}" if first else ""
    count = f" and {len(where) - 1} more" if len(where) > 1 else ""
    shown = {"index": f"{{0, ..., {classes - 1}}}", "length": f"{{0, ..., {classes}}}"}.get(allowed.kind, allowed.text)
    raise DomainError(
        f"{loss.name}: {name}: got {digits(x[first], *_ends(allowed))}{position}{count}, expected values in {shown}"
        + _hint(loss, name, allowed, x, classes)
    )


def _ends(allowed: Domain) -> tuple[float, ...]:
    """Return the bounds that the shown value must differ from."""
    return (allowed.low, allowed.high, *allowed.values)


def _scale(loss: Loss, name: str, x: Any) -> float:
    """Return the size of the numbers that these were computed from, which bounds their rounding error.

    A distance comes from coordinates by a difference of squares as large as the largest distance.
    """
    if loss.input != "distance" or name != loss.arguments[0]:
        return 1.0
    finite = x[np.isfinite(x)]
    return float(finite.max()) if finite.size else 1.0


def swapped(xp: Operations, loss: Loss, given: Sequence[Any], domains: Sequence[Domain]) -> str:
    """Return the sentence that the first two arrays look swapped, if each would be admissible as the other."""
    if loss.coupling or len(given) < 2 or given[0].shape != given[1].shape:
        return ""
    first, second = xp.readable(given[0]), xp.readable(given[1])
    if first is None or not first.size or (second == np.floor(second)).all():
        return ""
    if not domains[0].bounded and not (first == np.floor(first)).all():
        return ""  # the first argument admits any number; only labels and counts, whole numbers, are recognised
    numpy = registry.namespace(first)
    try:
        for name, allowed, x in zip(loss.arguments, domains, (second, first), strict=False):
            domain(numpy, loss, name, allowed, x, None, first.shape[-1] if first.ndim else 1)
    except DomainError:
        return ""
    return f". {loss.arguments[0]} and {loss.arguments[1]} look swapped: the order is {', '.join(loss.arguments)}"


SHOWN = 8  # offending examples that are listed; the others are counted


def conditions(
    xp: Operations, loss: Loss, arrays: Sequence[Any], params: Mapping[str, Any], keep: Any, batch: Any
) -> None:
    """Raise `DomainError` if the arrays of a kept example break a condition of the record, naming the examples."""
    for expected, condition in loss.conditions.items():
        holds, numbers = condition(xp, *arrays, **params)
        seen = xp.readable(holds)
        if seen is None:
            return
        ok = np.broadcast_to(seen, (*batch, *(1,) * (seen.ndim - len(batch)))).reshape(batch)
        if keep is not None:
            ok = ok | ~keep
        if ok.all():
            continue
        where = [tuple(map(int, at)) for at in np.argwhere(~ok)]
        details = {word: np.broadcast_to(xp.readable(n), seen.shape).reshape(-1) for word, n in numbers.items()}
        first = int(np.ravel_multi_index(where[0], batch)) if batch else 0
        detail = ", ".join(f"{word} {n[first if n.size > 1 else 0]:g}" for word, n in details.items())
        if not batch:
            raise DomainError(f"{loss.name}: expected {expected}; got {detail}")
        listed = [str(at[0] if len(at) == 1 else at) for at in where]
        more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
        raise DomainError(
            f"{loss.name}: expected {expected}; not so in example{'s' * (len(listed) > 1)} "
            f"{', '.join(listed[:SHOWN])}{more} of {ok.size} ({'in the first: ' if listed[1:] else ''}{detail})"
        )


def ignorable(loss: Loss, arrays: Sequence[Any], domains: Sequence[Domain]) -> Any:
    """Return the labels that `ignore_index` applies to."""
    for array, allowed in zip(arrays, domains, strict=True):
        if allowed.kind == "index":
            return array
    raise ParameterError(f"{loss.name}: ignore_index: the target holds no class indices; leave rows out with mask=")


def _hint(loss: Loss, name: str, allowed: Domain, x: Any, classes: int) -> str:
    finite = x[np.isfinite(x)]
    if finite.size == 0:
        return ""
    low, high = float(finite.min()), float(finite.max())
    values = set(np.unique(finite[:10_000]).tolist())
    if allowed.kind == "index":
        if classes == 1:
            return f". There is only one class: for a yes/no target use {related.for_yes_no(loss)}"
        if low >= 1 and high == classes and len(values) > 1:
            return f". The labels look 1-based: subtract 1 (they run from {low:g} to {high:g})"
        if low < 0 and low in (-1, -100) and "ignore_index" in loss.defaults:
            return f". To leave such labels out, pass ignore_index={low:g}"
        if high >= classes:
            return f". There are {classes} classes but labels up to {high:g}"
        return ""
    if allowed.kind == "length":
        return f". A length counts the entries of dimension {allowed.dimension} that are no padding; it has {classes}"
    if allowed.kind == "set" and set(allowed.values) == {-1.0, 1.0} and values <= {0.0, 1.0}:
        return '. The labels are 0 and 1: pass 2 * target - 1, or labels="01"'
    if set(allowed.values) == {0.0, 1.0} and low == -1 and high > 1:
        return ". These look like lists of class indices, filled up with -1: give 0 or 1 for every class"
    if (allowed.low == 0 and allowed.high == 1) or set(allowed.values) == {0.0, 1.0}:
        if values == {-1.0, 1.0}:
            return ". The labels are -1 and 1: pass (target + 1) / 2"
        if values == {0.0, 255.0}:
            return ". The labels are 0 and 255: divide by 255"
        if loss.input == "probability" and allowed.kind == "interval":
            form = f"use {loss.unbounded_form}" if loss.unbounded_form else "apply the sigmoid first"
            return f". These look like logits: {form}"
    if name == "var" and low < 0:
        return ". If these are log-variances, pass their exponential"
    if allowed.text == CONVENTIONS["distance"] == CONVENTIONS["rate"] and low < 0 and name == loss.arguments[0]:
        if loss.input == "rate" and loss.unbounded_form:
            return f". If these are log-rates, use {loss.unbounded_form}"
        if loss.input == "distance":
            return f". These look like scores, and a distance is >= 0: use {related.for_scores(loss)} for scores"
    if allowed.text == CONVENTIONS["similarity"]:
        return ". These are not cosines: scale embeddings and class weights to length 1 before multiplying them"
    if allowed.kind == "count" and (finite != np.floor(finite)).any():
        return f". Counts are whole numbers; for amounts use {related.one_of(related.for_amounts())}"
    return ""


_ROWS = 64  # checked of a large array, unless the level of checks is full
_LARGE = 65536


def _rows(loss: Loss, name: str, allowed: Domain, x: Any, keep: Any) -> None:
    logarithms = allowed.kind == "log-simplex"
    indices = np.arange(math.prod(x.shape[:-1]))
    if keep is not None:
        indices = indices[np.broadcast_to(keep[..., 0], x.shape[:-1]).ravel()]
    if x.size > _LARGE and len(indices) > _ROWS and settings.level() != "full":
        indices = indices[np.linspace(0, len(indices) - 1, _ROWS).astype(np.intp)]
    rows = np.asarray(x[np.unravel_index(indices, x.shape[:-1])] if x.ndim > 1 else x[None][indices], np.float64)
    bad, sums = tolerances.unnormalised(rows, logarithms)
    if not bad.any():
        return
    row = int(np.argmax(bad))
    others = not tolerances.unnormalised(rows, not logarithms)[0].any()  # they would be valid as the other kind
    shown = np.array2string(rows[row][:6], precision=4, separator=", ")
    expected = "log-probabilities, whose exponentials sum to 1" if logarithms else "probabilities, which sum to 1"
    if logarithms and others:
        hint = ". These are probabilities (rows sum to 1): pass their logarithm" + (
            f", or the logits to {loss.unbounded_form}" if loss.unbounded_form else ""
        )
    elif logarithms:
        hint = f" (they sum to {sums[row]:.4g}). If these are logits, subtract their logsumexp" + (
            f" or use {loss.unbounded_form}" if loss.unbounded_form else ""
        )
    elif others:
        hint = ". These are log-probabilities: pass their exponential"
    elif abs(sums[row] - 1) < 5e-4:
        hint = f" and are >= 0: {rows[row].min():.4g} is not"
    else:
        hint = f" (it sums to {sums[row]:.4g})"
    if x.ndim == 1 and not logarithms and ((x == 0) | (x == 1)).all():
        hint += ". One dimension is one example: for yes/no targets use " + related.for_yes_no(loss)
    raise DomainError(f"{loss.name}: {name}: row {indices[row]} is {shown}, expected {expected}{hint}")
