"""Preparation of a call of `lossary.linear`: checks its arguments and the loss's, and makes a `LinearProblem`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lossary import settings
from lossary.backends import registry
from lossary.catalogue import Loss, get, names
from lossary.catalogue.domains import Domain, parse_domain
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError
from lossary.evaluate import call as calls
from lossary.evaluate import checks
from lossary.evaluate.reduction import Reduction
from lossary.head.problem import HEAD, LinearHead, LinearProblem, RowLoss, is_array, off_target, takes_whole_rows

_LOGIT, _LABEL = parse_domain("real"), parse_domain("{0, ..., c-1}")


def prepare(
    loss: Loss | str,
    hidden: Any,
    weight: Any,
    labels: Any,
    bias: Any = None,
    *,
    teacher: Any = None,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "mean",
    denominator: Any = None,
    memory: int | None = None,
    chunk: int | None = None,
    check: bool = True,
    params: Mapping[str, Any] | None = None,
) -> LinearProblem:
    """Check a call of `linear` and flatten its arrays to rows.

    The loss's own arguments are checked as in every call of the loss, beside logits that take no memory.
    """
    record = get(loss)
    _need_row_loss(record)
    for name, number in (("memory", memory), ("chunk", chunk)):
        if number is not None and not (isinstance(number, int) and number > 0):
            raise ParameterError(f"linear: {name}: got {number!r}, expected a whole number > 0")
    check = check and (registry.is_tracing() or settings.level() in ("sampled", "full"))
    teacher = _teacher(record, labels, teacher)
    keywords = dict(params or {})
    further = [_further(record, name, keywords) for name in record.arguments[2:]]
    xp = registry.namespace(hidden, weight, bias, *(teacher or (labels,)), *further, sample_weight, mask)
    like = next((x for x in (hidden, weight) if hasattr(x, "dtype")), None)

    def array(x: Any, name: str) -> Any:
        return None if x is None and name.endswith("bias") else xp.asarray(x, f"linear: {name}", like)

    hidden, weight, bias = array(hidden, "hidden"), array(weight, "weight"), array(bias, "bias")
    batch, classes = _head_shapes(hidden, weight, bias), weight.shape[0]
    dtype = xp.compute_dtype([x for x in (hidden, weight, bias) if x is not None])
    logits = xp.broadcast_to(xp.cast(xp.asarray(0.0, "", like), dtype), (*batch, classes))
    if teacher is not None:
        teacher = _checked_teacher(teacher, batch, classes, array)
    targets = [logits if teacher is not None else array(labels, name) for name in record.arguments[1:2]]
    targets += [array(x, name) for x, name in zip(further, record.arguments[2:], strict=True)]
    targets = [x if xp.is_index(x) else xp.cast(x, dtype) for x in targets]

    each_logit = not takes_whole_rows(record)
    labels_of_logits = each_logit and teacher is None and len(targets) > 0 and targets[0].ndim == len(batch)
    if labels_of_logits and (targets[0].shape != batch or not xp.is_index(targets[0])):
        raise ShapeError(
            f"linear: labels: got shape {tuple(targets[0].shape)}, expected class indices of shape {batch}, or a "
            f"target for each logit, {(*batch, classes)}"
        )
    ignore_index = keywords.pop("ignore_index", record.bound.get("ignore_index"))
    if "ignore_index" in record.defaults:
        keywords["ignore_index"] = None  # it is part of the weights below
    given = [logits, *([logits] if labels_of_logits else targets[:1]), *targets[1:]]
    call = calls.prepare(record, given, keywords, check=check, defer_checks=True)
    for name, value in call.params.items():
        if is_array(value) and value.ndim > 1:
            raise ShapeError(f"linear: {name}: got shape {tuple(value.shape)}, expected one number for each class")

    domains: Sequence[Domain] = call.domains
    cores: list[tuple[str, ...]] = [("c",) if each_logit else core for core in call.signature.inputs]
    ready = list(call.arrays[1:])
    if labels_of_logits:
        off_target(record)  # raises if the loss has none
        domains, cores[1], ready[0] = [_LOGIT, _LABEL], (), xp.as_index(targets[0])
    try:
        coefficients = calls.example_weights(
            xp, record, [logits, *targets], domains, batch, dtype, sample_weight, mask, ignore_index, hidden
        )
    except (ShapeError, DomainError) as error:  # `weight` is the head's here
        raise type(error)(str(error).replace("weight", "sample_weight", 1)) from None
    arrays: dict[str, Any] = {}
    for name, x, core, allowed, as_given in zip(
        record.arguments[1:], ready, cores[1:], domains[1:], targets, strict=True
    ):
        if teacher is not None and name == record.arguments[1]:
            continue
        per_row = as_given.ndim > len(core) or not batch
        if check and not (per_row and core):  # whole rows are checked chunk by chunk
            keep = None if coefficients is None or not per_row else coefficients != 0
            checks.domain(xp, record, name, allowed, as_given, keep, classes, ignore_index)
        shape = as_given.shape[as_given.ndim - len(core) :]
        if per_row:
            arrays[f"row:{name}"] = x.reshape((-1, *shape))
        else:
            arrays[f"all:{name}"] = xp.as_index(as_given) if allowed.kind == "index" else xp.cast(as_given, dtype)
    return LinearProblem(
        rows=RowLoss(record, tuple(domains) if check else ()),
        hidden=hidden.reshape(-1, hidden.shape[-1]),
        weight=weight,
        bias=bias,
        arrays=arrays,
        teacher=teacher,
        coefficients=None if coefficients is None else coefficients.reshape(-1),
        params={name: xp.cast(value, dtype) if is_array(value) else value for name, value in call.params.items()},
        batch=batch,
        dtype=dtype,
        reduction=reduction,
        denominator=denominator,
        chunk=chunk,
        memory=memory,
        xp=xp,
    )


def _need_row_loss(record: Loss) -> None:
    """Refuse losses that take no rows of logits."""
    if record.coupling is not None:
        of_labels = names(tasks="multiclass")[0]
        raise ArgumentError(
            f"linear: {record.name} compares the examples of a batch by itself, it has no logits; for a contrastive "
            f"loss take {of_labels} with the other embeddings as the weight and the positives as the labels"
        )
    rank = max(signature.rank for signature in record.signatures)
    if rank > 1 or (rank == 0 and record.input in ("probability", "log-probability", "distance")):
        raise ArgumentError(f"linear: {record.name} takes {record.signature} of {record.input}, not rows of logits")


def _further(record: Loss, name: str, keywords: dict[str, Any]) -> Any:
    """Return an array of the loss that is passed by name, taken out of the keywords."""
    if name not in keywords:
        raise ArgumentError(f"linear: {record.name} takes {', '.join(record.arguments)}: pass {name}= by name")
    return keywords.pop(name)


def _teacher(record: Loss, labels: Any, teacher: Any) -> Any:
    """Return hidden states, weight and bias of a teacher, given by its name or in the place of the labels, or None."""
    if teacher is None:
        if labels is None and len(record.arguments) > 1:
            raise ArgumentError(
                "linear: got neither labels nor a teacher, expected labels, or teacher=(hidden, weight) or "
                "(hidden, weight, bias)"
            )
        return _teacher_arrays(labels)
    if len(record.arguments) < 2:
        raise ArgumentError(f"linear: teacher: got a teacher, but {record.name} compares its logits with nothing")
    if labels is not None:
        raise ArgumentError("linear: got labels and a teacher, expected one: the teacher's rows stand for the labels")
    arrays = _teacher_arrays(tuple(teacher) if isinstance(teacher, list) else teacher)
    if arrays is None:
        parts = ", ".join(type(x).__name__ for x in teacher) if isinstance(teacher, (tuple, list)) else ""
        raise ArgumentError(
            f"linear: teacher: got {type(teacher).__name__}{f' of {parts}' if parts else ''}, expected arrays "
            "(hidden, weight) or (hidden, weight, bias)"
        )
    return arrays


def _teacher_arrays(given: Any) -> Any:
    """Return hidden states, weight and bias if these are what is given."""
    if isinstance(given, tuple) and len(given) in (2, 3) and all(getattr(x, "ndim", 0) >= 1 for x in given[:2]):
        return (*given, None)[:3]
    return None


def _checked_teacher(teacher: Any, batch: tuple[int, ...], classes: int, array: Any) -> LinearHead:
    hidden, weight, bias = (array(x, f"teacher's {name}") for x, name in zip(teacher, HEAD, strict=True))
    found = _head_shapes(hidden, weight, bias, "teacher's ")
    if found != batch or weight.shape[0] != classes:
        raise ShapeError(
            f"linear: the teacher makes rows of shape {(*found, weight.shape[0])}, expected {(*batch, classes)}"
        )
    return LinearHead(hidden.reshape(-1, hidden.shape[-1]), weight, bias)


def _head_shapes(hidden: Any, weight: Any, bias: Any, whose: str = "") -> tuple[int, ...]:
    """Return the shape of the batch, or raise `ShapeError` for the array of a head that does not fit."""
    if weight.ndim != 2:
        raise ShapeError(f"linear: {whose}weight: got shape {tuple(weight.shape)}, expected (classes, features)")
    if hidden.ndim < 1 or hidden.shape[-1] != weight.shape[1]:
        turned = hidden.ndim and hidden.shape[-1] == weight.shape[0]
        raise ShapeError(
            f"linear: {whose}hidden has shape {tuple(hidden.shape)} but {whose}weight has shape {tuple(weight.shape)}; "
            "expected (..., features) and (classes, features)" + ("; did you mean weight.T?" if turned else "")
        )
    if bias is not None and tuple(bias.shape) not in ((), (weight.shape[0],)):
        raise ShapeError(
            f"linear: {whose}bias: got shape {tuple(bias.shape)}, expected one number for each class, "
            f"({weight.shape[0]},), or one for all"
        )
    return tuple(hidden.shape[:-1])
