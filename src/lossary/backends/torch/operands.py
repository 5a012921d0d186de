"""A call as the arguments of an operator of PyTorch, which may be tensors, numbers and words.

Parameters that are numbers travel as numbers, tensors as tensors, and options as ``name=True`` and the like. The loss
travels as its key, by which `lossary.catalogue.recorded` has the record: its name says nothing of a loss outside the
catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lossary.catalogue import Loss

_OPTIONS = {"None": None, "True": True, "False": False}
_WHOLE = ("index", "count", "integer")  # kinds of parameters that are whole numbers


def packed(loss: Loss, arrays: Sequence[Tensor], params: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return a call as the arguments of an operator; None if the loss or a parameter has no place among them."""
    if not loss.key:
        return None
    names, extra, keys, numbers, others = [], [], [], [], []
    for name, value in params.items():
        if isinstance(value, Tensor):
            names.append(name)
            extra.append(value)
        elif value is None or isinstance(value, bool):
            others.append(f"{name}={value}")
        elif isinstance(value, (int, float, torch.SymFloat, torch.SymInt)):
            keys.append(name)
            numbers.append(float(value))
        else:
            return None
    return loss.key, [*arrays, *extra], ",".join(names), numbers, ",".join(keys), ",".join(others)


def unpacked(loss: Loss, numbers: Sequence[float], keys: str, others: str) -> dict[str, Any]:
    """Return the parameters that travelled as numbers and words."""
    params: dict[str, Any] = {}
    for option in filter(None, others.split(",")):
        name, _, held = option.partition("=")
        params[name] = _OPTIONS[held]
    for name, number in zip(filter(None, keys.split(",")), numbers, strict=True):
        domain = loss.parameter_domains.get(name, (None, False))[0]
        params[name] = int(number) if domain is not None and domain.kind in _WHOLE else number
    return params
