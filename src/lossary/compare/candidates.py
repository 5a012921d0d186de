"""Candidates of a comparison: losses read from text, those that suit a data set, and those that train alike."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.catalogue import Loss, get
from lossary.compare.heads import Head, head_for, suitable, supplied, trainable
from lossary.compare.language import note
from lossary.compare.tables import Dataset
from lossary.errors import ArgumentError, DataError, LossaryError

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A loss with its parameters, under the label that it has in the comparison."""

    label: str
    loss: Loss
    params: Mapping[str, Any]


def read_loss(text: str | Loss) -> Candidate:
    """Read ``"huber"`` or ``"huber:delta=2"``; several parameters are separated by commas.

    Raises `UnknownLossError`, `ArgumentError` or `ParameterError` with the nearest name or the range.

    >>> read_loss("huber:delta=2").label
    'huber(delta=2)'
    """
    if not isinstance(text, str):
        found = get(text)
        return _candidate(found, dict(found.bound))
    name, _, rest = text.partition(":")
    params: dict[str, Any] = {}
    for piece in re.split(r",(?![^\[]*\])", rest) if rest else []:
        key, equals, value = piece.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise ArgumentError(f'loss: cannot read "{text}"; write NAME or NAME:param=value,param=value')
        params[key.strip()] = _value(value.strip())
    return _candidate(get(name).bind(**params), params)


def _candidate(loss: Loss, params: dict[str, Any]) -> Candidate:
    # The shortest text that reads back as the same number, so that two losses never share a label.
    short = {k: f"{v:g}" if isinstance(v, float) and float(f"{v:g}") == v else str(v) for k, v in params.items()}
    shown = ", ".join(f"{k}={v}" for k, v in short.items())
    return Candidate(f"{loss.name}({shown})" if shown else loss.name, loss, params)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text.lower(), text))
    except (ValueError, SyntaxError):
        return text


def candidates(
    losses: Sequence[str | Loss], data: Dataset, imbalance: float = 1.0
) -> tuple[list[Candidate], list[str]]:
    """Return the losses to compare, and notes on those left out: the given ones, or all that suit the data.

    For two classes of which one is rare, in the data or by a stress of 1 to `imbalance`, the default set has weighted
    variants, too: a `pos_weight` equal to the ratio of the classes where a loss takes one, and the losses that take
    class counts.
    """
    if losses:
        return list({c.label: c for c in map(read_loss, losses)}.values()), []
    found = [read_loss(name) for name in suitable(data)]
    if not found:
        raise DataError(f"the catalogue has no loss for the task {data.task}; try another --task")
    if data.task == "binary" and (data.imbalanced or imbalance > 1):
        found += _weighted(found, data, imbalance)
    return _distinct(found, data)


def _weighted(found: Sequence[Candidate], data: Dataset, imbalance: float) -> list[Candidate]:
    members = data.members.astype(float)
    members[members.argmin()] = min(members.min(), members.max() / imbalance)
    negatives, positives = members
    ratio = float(f"{negatives / positives:.2g}")
    variants = [read_loss(c.loss.bind(pos_weight=ratio)) for c in found if "pos_weight" in c.loss.parameters]
    return variants + [read_loss(name) for name in trainable("multiclass") if "class_counts" in get(name).arguments]


def _distinct(found: Sequence[Candidate], data: Dataset) -> tuple[list[Candidate], list[str]]:
    """Leave out losses whose gradient is a multiple of an earlier one: they train alike."""
    rng = np.random.default_rng(0)
    kept: list[tuple[Candidate, Head, Array]] = []
    notes: list[str] = []
    rows = rng.permutation(len(data.y))[:64]
    for candidate in found:
        head = head_for(candidate.loss, data)
        y = head.encode(data.y[rows], head.scale(data.y))
        outputs = np.random.default_rng(1).normal(0, 2, (len(rows), head.outputs))
        prediction = outputs if head.kind in ("row", "labels") else outputs[:, 0]
        try:
            grad = np.asarray(candidate.loss.grad(prediction, y, **supplied(candidate.loss, data.y, data))).ravel()
        except LossaryError:  # training reports the reason in this loss's own row
            grad = np.zeros(outputs.size)
        size = float(np.linalg.norm(grad))
        direction = grad / size if size else grad
        like = [(c, d) for c, h, d in kept if size and h.convention == head.convention and h.unit == head.unit]
        twin = next((c for c, d in like if d.shape == direction.shape and np.abs(d - direction).max() < 1e-9), None)
        if twin is None:
            kept.append((candidate, head, direction))
        else:
            alike = "{label}: its gradient is a multiple of that of {twin}, so it trains alike"
            notes.append(note(alike, label=candidate.label, twin=twin.label))
    return [c for c, _, _ in kept], notes
