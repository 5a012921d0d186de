"""Curves as numbers: a loss, its gradient and its curvature sampled along the axis that is natural to it.

The axis follows from the record: the residual for a regression, the margin or the logit for two classes, the
probability of the outcome, the logit of the true class of a row, the angle between embeddings. Kinks and jumps are
located by bisection, so that a drawing shows a jump and not a steep line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lossary.catalogue import Loss, get, several
from lossary.catalogue.domains import Domain
from lossary.catalogue.signatures import dimension
from lossary.errors import ArgumentError, ParameterError

QUANTITIES = ("value", "gradient", "curvature")


@dataclass(frozen=True, eq=False)
class Curve:
    """One loss sampled along one axis. A quantity is NaN where it jumps, which breaks the line of a drawing.

    `gradient` is the derivative along the axis; `curvature` the second derivative, or None if the definition has none.
    `kinks` are the points at which any of them jumps.
    """

    loss: str
    label: str
    axis: str
    x: Any
    value: Any
    gradient: Any
    curvature: Any | None
    kinks: tuple[float, ...]

    def quantity(self, name: str) -> Any | None:
        """Return the numbers of a quantity, one of `QUANTITIES`."""
        return {"value": self.value, "gradient": self.gradient, "curvature": self.curvature}[name]


# --- the axis -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sweep:
    """A path through the arguments: `arrays` returns a batch with one example for each point of the axis."""

    axis: str
    span: tuple[float, float]
    arrays: Callable[[Any], list[Any]]
    linear: bool = True  # whether the arguments are linear in the axis
    one_by_one: bool = False  # whether an example is a batch of its own


def _target_at(loss: Loss) -> int | None:
    """Return the position of the target among the arguments."""
    if loss.target is None or loss.coupling:
        return None
    return loss.arguments.index("target") if "target" in loss.arguments else len(loss.arguments) - 1


def targets(loss: Loss | str) -> tuple[float | None, ...]:
    """Return the targets that have a curve each: both classes if the axis is not their margin."""
    loss = get(loss)
    at = _target_at(loss)
    if at is None or loss.signatures[0].inputs[at]:
        return (None,)
    allowed = loss.domain(loss.arguments[at])
    if allowed.text in ("{0, 1}", "[0, 1]"):
        return (1.0, 0.0)
    if allowed.text == "{-1, 1}" and loss.input not in ("score", "logit"):
        return (1.0, -1.0)
    return (None,)


def _typical(allowed: Domain) -> float:
    """Return a number to fix an argument at that is not the axis."""
    if allowed.kind == "set":
        return max(allowed.values)
    if allowed.kind == "count":
        return 2.0
    if allowed.kind == "interval" and math.isinf(allowed.low) and not math.isinf(allowed.high):
        return allowed.high - 1.0
    if allowed.kind == "interval" and allowed.bounded:
        return 1.0 if math.isinf(allowed.high) or allowed.contains(1.0) else allowed.high
    return 0.0


def _sweep(loss: Loss, target: float | None) -> Sweep:
    if loss.coupling is not None:
        return _batch_sweep(loss)
    if loss.optional:
        return _sequence_sweep(loss)
    cores = loss.signatures[0].inputs
    held = [_typical(loss.domain(name)) for name in loss.arguments]
    at = _target_at(loss)
    if at is not None and target is not None:
        held[at] = target
    if not any(cores):
        return _pointwise_sweep(loss, held, target)
    if cores[0] in (("d",),):
        return _embedding_sweep(loss, held)
    if cores[0] == ("c",):
        return _class_sweep(loss, held)
    if not cores[0]:
        return _rival_sweep(loss, held)
    return _region_sweep(loss)


def _pointwise_sweep(loss: Loss, held: list[float], target: float | None) -> Sweep:
    at = loss.arguments.index(loss.wrt[0])
    allowed = loss.domain(loss.wrt[0])
    span = _span(allowed)
    shown = loss.wrt[0]
    truth = _target_at(loss)
    domain = "" if truth is None else loss.domain(loss.arguments[truth]).text
    if truth is not None and domain == "real" and held[truth] == 0:
        shown = "residual"
    elif domain == "{-1, 1}" and target is None:
        shown = "margin"
    elif truth is not None and domain not in ("{0, 1}", "[0, 1]", "{-1, 1}"):
        shown = f"{loss.wrt[0]} (target {held[truth]:g})"
    elif loss.input in ("logit", "probability", "distance", "parameter"):
        shown = loss.input

    def arrays(t: Any) -> list[Any]:
        return [t if i == at else np.full_like(t, h) for i, h in enumerate(held)]

    return Sweep(shown, span, arrays)


def _span(allowed: Domain) -> tuple[float, float]:
    low, high = allowed.low, allowed.high
    if math.isinf(low) and math.isinf(high):
        return -4.0, 4.0
    if math.isinf(high):
        return low + 0.02, low + 5.0
    if math.isinf(low):
        return high - 5.0, high - 0.02
    edge = 0.0025 * (high - low)
    return low + edge, high - edge


def _class_sweep(loss: Loss, held: list[float], classes: int = 3) -> Sweep:
    """A row of classes: the first class is the true one, and its entry alone varies."""
    kinds = [loss.domain(name) for name in loss.arguments]
    first = np.eye(classes)[0]

    def argument(i: int, t: Any) -> Any:
        core, kind = loss.signatures[0].inputs[i], kinds[i]
        if i == 0 and kind.kind in ("simplex", "log-simplex"):
            rows = t[:, None] * first + ((1 - t) / (classes - 1))[:, None] * (1 - first)
            return np.log(rows) if kind.kind == "log-simplex" else rows
        if i == 0:
            return t[:, None] * first
        if kind.kind == "index":
            return np.zeros(len(t), dtype=int)
        if core and kind.kind in ("simplex", "log-simplex"):  # near certainty: certainty may have an infinite cost
            rows = np.broadcast_to(0.9 * first + 0.05 * (1 - first), (len(t), classes))
            return np.log(rows) if kind.kind == "log-simplex" else rows
        if core and i == _target_at(loss):
            return np.broadcast_to(first, (len(t), classes))
        return np.full((len(t), classes) if core else len(t), held[i])

    rows = kinds[0].kind in ("simplex", "log-simplex")
    truth = "true" if any(k.kind == "index" for k in kinds) else "first"
    kind = "probability" if rows else loss.input
    span = (0.0025, 0.9975) if rows else _span(kinds[0])
    return Sweep(
        f"{kind} of the {truth} class",
        span,
        lambda t: [argument(i, t) for i in range(len(kinds))],
        kinds[0].kind != "log-simplex",
    )


def _region_sweep(loss: Loss) -> Sweep:
    """Rows that are compared entry by entry: every entry has the same agreement with the target."""
    ranks = [len(core) for core in loss.signatures[0].inputs]
    truth = np.array([1.0, 1.0, 0.0, 0.0])
    if ranks[0] == 2:
        truth = np.stack([truth, 1 - truth])
    allowed = loss.domain(loss.arguments[0])
    unlimited = not allowed.bounded

    def arrays(t: Any) -> list[Any]:
        share = t.reshape((-1,) + (1,) * truth.ndim)
        rows = share * (2 * truth - 1) if unlimited else share * truth + (1 - share) * (1 - truth)
        return [rows, np.broadcast_to(truth, rows.shape)][: len(ranks)]

    return Sweep("logit of the truth" if unlimited else "probability of the truth", _span(allowed), arrays)


def _sequence_sweep(loss: Loss) -> Sweep:
    """A short sequence of one class: its score is the same at every step, and varies."""
    sizes = {"t": 3, "s": 1, "c": 3}
    true = 1  # class 0 may be the blank

    def arrays(t: Any) -> list[Any]:
        made = []
        for name, core in zip(loss.arguments, loss.signatures[0].inputs, strict=True):
            allowed = loss.domain(name)
            shape = (len(t), *(sizes[d] + more for d, more in map(dimension, core)))
            array = np.zeros(shape, dtype=int if allowed.kind in ("index", "length") else float)
            if allowed.kind == "index":
                array[:] = true
            elif allowed.kind == "length":
                array[:] = sizes[allowed.dimension]
            elif name == loss.arguments[0]:
                array[..., true] = t.reshape((-1,) + (1,) * (len(core) - 1))
            made.append(array)
        return made

    return Sweep(f"{loss.input} of the true class", _span(loss.domain(loss.arguments[0])), arrays)


def _around(angle: Any) -> Any:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _rival_sweep(loss: Loss, held: list[float]) -> Sweep:
    """A score that competes with a row of others: it alone varies."""
    cores = loss.signatures[0].inputs

    def arrays(t: Any) -> list[Any]:
        fixed = [np.full((len(t), 2) if core else len(t), h) for core, h in zip(cores[1:], held[1:], strict=True)]
        return [t, *fixed]

    return Sweep(loss.input, _span(loss.domain(loss.arguments[0])), arrays)


def _embedding_sweep(loss: Loss, held: list[float]) -> Sweep:
    """Unit vectors in the plane: the first at an angle from the second; a third, if any, opposite to the second."""

    def arrays(t: Any) -> list[Any]:
        points = iter([_around(t), _around(0 * t), _around(0 * t + math.pi)])
        cores = loss.signatures[0].inputs
        return [next(points) if core else np.full(len(t), h) for core, h in zip(cores, held, strict=True)]

    return Sweep("angle", (0.01, math.pi - 0.01), arrays, linear=False)


def _batch_sweep(loss: Loss) -> Sweep:
    """Two pairs on the unit circle; the first example varies from its partner to the other pair."""

    def arrays(t: Any) -> list[Any]:
        fixed = [_around(np.full_like(t, a)) for a in (0.0, 0.9 * math.pi, 1.1 * math.pi)]
        return [np.stack([_around(t), *fixed], axis=1), np.array([[0, 0, 1, 1]] * len(t))]

    return Sweep("angle", (0.01, math.pi - 0.01), arrays, linear=False, one_by_one=True)


def path(loss: Loss | str, target: float | None = None, **params: Any) -> Sweep:
    """Return the path through the arguments along which a loss is drawn."""
    record = get(loss)
    sweep = _sweep(record, target)
    if target is None and sweep.axis == "residual":
        x = np.linspace(*sweep.span, 8)
        if _extent(_along(record, sweep, x, params, 1e-6)[0]) > 1e4:
            return path(record, 1.0)  # a relative error has no scale at target 0
    return sweep


# --- the numbers ----------------------------------------------------------------------------------------------------


def curve(
    loss: Loss | str,
    *,
    target: float | None = None,
    span: tuple[float, float] | None = None,
    points: int = 400,
    **params: Any,
) -> Curve:
    """Return value, gradient and curvature of a loss along its natural axis.

    `target` is the target to fix, if the axis leaves one open; `span` the range of the axis, if not the default.
    """
    record = get(loss)
    if points < 8:
        raise ParameterError(f"points: got {points}, expected at least 8")
    sweep = path(record, target, **params)
    low, high = span or sweep.span
    if not low < high:
        raise ParameterError(f"span: got ({low}, {high}), expected two numbers, the smaller first")

    def sample(t: Any) -> list[Any]:
        return _along(record, sweep, t, params, 1e-6 * (high - low))

    # With an even number of points, round numbers, where many kinks are, lie between two of them.
    x = np.linspace(low, high, points + points % 2)
    found = sample(x)
    kinks: list[float] = []
    for number, numbers in enumerate(found):
        for at in _jumps(numbers):
            kink = _located(sample, number, float(x[at]), float(x[at + 1]))
            if all(abs(kink - k) > 1e-6 * (high - low) for k in kinks):
                kinks.append(kink)
    x, found = _broken(x, found, sorted(kinks), sample, low, high)
    fixed = {**record.bound, **params}
    label = record.name + (f"({', '.join(f'{k}={v}' for k, v in fixed.items())})" if fixed else "")
    curvature = None if np.isnan(found[2]).all() else found[2]
    return Curve(record.name, label, sweep.axis, x, found[0], found[1], curvature, tuple(sorted(kinks)))


def _along(loss: Loss, sweep: Sweep, t: Any, params: Mapping[str, Any], step: float) -> list[Any]:
    """Return value, derivative and second derivative along the path: the gradient times the path's direction."""
    arrays = sweep.arrays(t)
    behind, ahead = sweep.arrays(t - step), sweep.arrays(t + step)
    with np.errstate(all="ignore"):
        tangents = [(b - a) / (2 * step) for a, b in zip(behind, ahead, strict=True)]
    if sweep.one_by_one:
        each = [loss.value_and_grad(*(a[i] for a in arrays), reduction="sum", **params) for i in range(len(t))]
        value, grads = np.array([float(v) for v, _ in each]), (np.stack([g for _, g in each]),)
    else:
        value, found = loss.value_and_grad(*arrays, **params)
        grads = found if isinstance(found, tuple) else (found,)
    directions = [tangents[loss.arguments.index(name)] for name in loss.wrt]
    flat = [(_flat(g), _flat(d)) for g, d in zip(grads, directions, strict=True)]
    gradient = sum(np.where(d == 0, 0.0, g * d).sum(axis=1) for g, d in flat)
    curvature = np.full(len(t), np.nan)
    alone = sum((d != 0).sum(axis=1) for _, d in flat).max() == 1
    if alone and sweep.linear and loss.derivatives > 1 and not sweep.one_by_one:
        second = loss.hess(*arrays, **params)
        diagonals = second if isinstance(second, tuple) else (second,)
        parts = [(_flat(h), d) for h, (_, d) in zip(diagonals, flat, strict=True)]
        curvature = sum(np.where(d == 0, 0.0, h * d * d).sum(axis=1) for h, d in parts)
    return [np.asarray(x, dtype=float) for x in (value, gradient, curvature)]


def _flat(x: Any) -> Any:
    return np.asarray(x, dtype=float).reshape(len(x), -1)


def _jumps(numbers: Any) -> list[int]:
    """Return the intervals over which numbers change far more than over the neighbouring ones."""
    steps = np.abs(np.diff(numbers))
    if not np.isfinite(steps).all():
        return []
    around = np.maximum(np.r_[0.0, steps[:-1]], np.r_[steps[1:], 0.0])
    around[0], around[-1] = steps[1], steps[-2]
    wide = _extent(numbers)
    return np.flatnonzero(steps > 8 * around + 1e-3 * wide + 1e-12).tolist() if wide > 1e-9 else []


def _extent(numbers: Any) -> float:
    """Return the distance from the smallest to the largest of the finite numbers."""
    finite = numbers[np.isfinite(numbers)]
    return float(np.ptp(finite)) if finite.size else math.inf


def _located(sample: Callable[[Any], list[Any]], number: int, left: float, right: float) -> float:
    """Return the point at which a quantity jumps, by bisection towards the larger difference."""
    for _ in range(60):
        middle = 0.5 * (left + right)
        a, m, b = sample(np.array([left, middle, right]))[number]
        left, right = (left, middle) if abs(m - a) > abs(b - m) else (middle, right)
    return 0.5 * (left + right)


def _broken(
    x: Any, found: list[Any], kinks: Sequence[float], sample: Callable[[Any], list[Any]], low: float, high: float
) -> tuple[Any, list[Any]]:
    """Insert both sides of every kink among the points, and a NaN between them in quantities that jump there."""
    for kink in kinks:
        side = 1e-7 * (high - low)
        near = np.array([kink - side, kink, kink + side])
        at = int(np.searchsorted(x, kink))
        x = np.insert(x, at, near)
        for number, numbers in enumerate(sample(near)):
            if abs(numbers[2] - numbers[0]) > 1e-3 * _extent(found[number]):
                numbers[1] = np.nan
            found[number] = np.insert(found[number], at, numbers)
    return x, found


def curves(losses: Loss | str | Sequence[Loss | str], **options: Any) -> list[Curve]:
    """Return the curves to be drawn together: of one loss a curve for each of `targets`, of several one each.

    Raises `ArgumentError` for losses with different axes.
    """
    records = [get(loss) for loss in several(losses)]
    if not records:
        raise ArgumentError("plot: no loss given")
    if len(records) == 1:
        fixed = targets(records[0]) if options.get("target") is None else (options["target"],)
        found = [curve(records[0], **{**options, "target": t}) for t in fixed]
        if len(found) == 1:
            return found
        return [replace(c, label=f"{c.label}, target {t:g}") for c, t in zip(found, fixed, strict=True)]
    found = []
    for record in records:
        held = options.get("target")
        own = {k: v for k, v in options.items() if k in ("span", "points") or k in record.defaults}
        found.append(curve(record, **{**own, "target": targets(record)[0] if held is None else held}))
    odd = next((c for c in found if c.axis != found[0].axis), None)
    if odd is not None:
        raise ArgumentError(
            f"plot: {found[0].loss} is drawn against the {found[0].axis} but {odd.loss} against the {odd.axis}; "
            "draw them apart"
        )
    return found
