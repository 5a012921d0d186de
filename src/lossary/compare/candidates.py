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
from lossary.compare.heads import Head, head_for, supplied
from lossary.compare.tables import Dataset
from lossary.errors import ArgumentError, LossaryError

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A loss with parameters, under the name it has in the comparison."""

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
    # As short as tells it from every other number: two losses never share a label.
    short = {k: f"{v:g}" if isinstance(v, float) and float(f"{v:g}") == v else str(v) for k, v in params.items()}
    shown = ", ".join(f"{k}={v}" for k, v in short.items())
    return Candidate(f"{loss.name}({shown})" if shown else loss.name, loss, params)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text.lower(), text))
    except (ValueError, SyntaxError):
        return text


def distinct(candidates: Sequence[Candidate], data: Dataset) -> tuple[list[Candidate], list[str]]:
    """Leave out losses that are a multiple of an earlier one: under Adam they would train alike."""
    rng = np.random.default_rng(0)
    kept: list[tuple[Candidate, Head, Array]] = []
    notes: list[str] = []
    rows = rng.permutation(len(data.y))[:64]
    for candidate in candidates:
        head = head_for(candidate.loss, data)
        y = head.encode(data.y[rows], *head.units(data.y))
        outputs = np.random.default_rng(1).normal(0, 2, (len(rows), head.outputs))
        prediction = outputs if head.kind == "row" else outputs[:, 0]
        try:
            grad = np.asarray(candidate.loss.grad(prediction, y, **supplied(candidate.loss, data.y, data))).ravel()
        except LossaryError:  # training will say why, in this loss's own row
            grad = np.zeros(outputs.size)
        size = float(np.linalg.norm(grad))
        direction = grad / size if size else grad
        like = [(c, d) for c, h, d in kept if size and h.convention == head.convention and h.unit == head.unit]
        twin = next((c for c, d in like if np.abs(d - direction).max() < 1e-9), None)
        if twin is None:
            kept.append((candidate, head, direction))
        else:
            notes.append(f"{candidate.label}: a multiple of {twin.label}, which trains alike")
    return [c for c, _, _ in kept], notes
