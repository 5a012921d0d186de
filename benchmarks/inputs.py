"""Benchmark inputs of a loss: ordinary numbers, the same in every run, drawn once and repeated for large sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import lossary

_DRAWN = 1 << 22


def filled(shape: tuple[int, ...], dtype: str, draw: Callable[[int], Any]) -> Any:
    """Return an array of drawn numbers; from `_DRAWN` on they repeat, which no contender can profit from.

    bfloat16 numbers are float32 here, rounded, so that every contender is given the same.
    """
    size = int(np.prod(shape))
    few = rounded(draw(min(size, _DRAWN)), dtype)
    return np.resize(few, size).reshape(shape) if size > _DRAWN else few.reshape(shape)


def rounded(x: Any, dtype: str) -> Any:
    """Round numbers to a type, ties to even; what is rounded to bfloat16 is held as float32.

    >>> rounded(np.array([1 / 3]), "bfloat16")
    array([0.33398438], dtype=float32)
    """
    if dtype != "bfloat16":
        return x.astype(dtype)
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)


def pointwise(loss: str, shape: tuple[int, ...], dtype: str) -> tuple[Any, Any]:
    """Return predictions, normally distributed, and targets from the loss's domain."""
    rng = np.random.default_rng(0)
    pred = filled(shape, dtype, rng.standard_normal)
    allowed = lossary.get(loss).domain("target")
    if allowed.kind == "count":
        return pred, filled(shape, dtype, lambda n: rng.poisson(2.0, n))
    if allowed.bounded:
        return pred, filled(shape, dtype, lambda n: rng.random(n) < 0.5)
    return pred, filled(shape, dtype, rng.standard_normal)


def rows(shape: tuple[int, ...], dtype: str, *, soft: bool = False) -> tuple[Any, Any]:
    """Return logits with the classes on axis 1, and labels, or a distribution over the classes for each row."""
    rng = np.random.default_rng(0)
    logits = filled(shape, dtype, rng.standard_normal)
    if not soft:
        return logits, rng.integers(0, shape[1], (shape[0], *shape[2:]))
    shares = filled(shape, "float32", rng.random)
    shares /= shares.sum(axis=1, keepdims=True)
    return logits, rounded(shares, dtype)


def class_weights(classes: int, dtype: str) -> Any:
    """Return a weight for each class, from a half to two."""
    return rounded(np.linspace(0.5, 2.0, classes), dtype)
