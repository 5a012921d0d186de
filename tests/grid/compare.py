"""Holding results to the reference, and to what every result must be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

UNITS = 16.0  # roundoffs that a result may be off by, as everywhere in the tests of the catalogue
EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
LEAST = {"float64": 2.0**-1022, "float32": 2.0**-126, "float16": 2.0**-24, "bfloat16": 2.0**-126}
MOST = {"float64": 1.7e308, "float32": 3.4e38, "float16": 65504.0, "bfloat16": 3.38e38}


class WrongError(AssertionError):
    """A result that is not what it must be. `kind` is the same for failures of one kind."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind


def type_name(x: Any) -> str:
    dtype = x.dtype if hasattr(x, "detach") else x.dtype.newbyteorder("=")
    return str(dtype).removeprefix("torch.")


def numbers(x: Any) -> Any:
    """Anything as float64."""
    if hasattr(x, "detach"):
        x = x.detach().clone() if x._is_zerotensor() else x.detach().resolve_neg()
        return x.double().numpy() if x.is_floating_point() else x.numpy().astype(float)
    return np.asarray(x, float)


def close(what: str, got: Any, want: Any, slack: Any, unsure: Any, work: str, stored: str, factor: float = 1.0) -> None:
    """Raise `WrongError` unless a result is within the error bound of what it must be.

    `work` is the type that is computed in, `stored` the one of the result.
    """
    got, want = numbers(got), np.asarray(want, float)
    if got.shape != want.shape:
        raise WrongError(f"shape of {what}", f"got {got.shape}, expected {want.shape}")
    if not got.size:
        return
    with np.errstate(all="ignore"):
        # Near the bottom of a type, and in what it is computed from, nothing is better than its smallest number.
        bound = UNITS * factor * (EPS[work] * np.asarray(slack, float) + LEAST[work])
        if stored != work:
            bound = bound + EPS[stored] * np.abs(want) + LEAST[stored]
        same = (got == want) | (np.isnan(got) & np.isnan(want))
        over = (
            (np.abs(want) > 0.99 * MOST[stored])
            & (np.abs(got) >= 0.98 * MOST[stored])
            & (np.sign(got) == np.sign(want))
        )
        error = np.abs(got - want)
        bad = ~(same | over | (error <= bound)) & ~np.asarray(unsure, bool)
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        limit = float(np.broadcast_to(bound, got.shape)[at])
        raise WrongError(
            what,
            f"{int(bad.sum())} of {bad.size} wrong, first at {at}: got {got[at]!r}, expected {want[at]!r} "
            f"(error {error[at]:.2e}, allowed {limit:.2e})",
        )


def typed(what: str, got: Any, want: str) -> None:
    if type_name(got) != want:
        raise WrongError(f"type of {what}", f"got {type_name(got)}, expected {want}")


def _memory(x: Any) -> tuple[int, int] | None:
    """The first and last address of an array's memory."""
    if hasattr(x, "detach"):
        if x._is_zerotensor():
            return None
        storage = x.untyped_storage()
        return (storage.data_ptr(), storage.data_ptr() + storage.nbytes()) if storage.nbytes() else None
    if not isinstance(x, np.ndarray) or not x.size:
        return None
    low, high = np.lib.array_utils.byte_bounds(x)
    return low, high


def apart(results: Sequence[tuple[str, Any]], given: Sequence[tuple[str, Any]]) -> None:
    """Raise `WrongError` if a result shares memory with an input, with another result, or with itself."""
    seen = [(name, _memory(x)) for name, x in given]
    for name, x in results:
        mine = _memory(x)
        if mine is None:
            continue
        for other, held in seen:
            if held is not None and mine[0] < held[1] and held[0] < mine[1]:
                raise WrongError(f"{name} shares memory with {other}", "no gradient may")
        seen.append((name, mine))
        strides = x.stride() if hasattr(x, "detach") else x.strides
        if any(n > 1 and s == 0 for n, s in zip(x.shape, strides, strict=True)):
            raise WrongError(f"{name} lies on itself", f"shape {tuple(x.shape)}, strides {strides}")
        if isinstance(x, np.ndarray) and not x.flags.writeable:
            raise WrongError(f"{name} is read-only", "")


def identical(what: str, first: Any, second: Any) -> None:
    """Raise `WrongError` unless the same call gives the same bits again."""
    if first is None and second is None:
        return
    a, b = numbers(first), numbers(second)
    if a.shape != b.shape or not ((a == b) | (np.isnan(a) & np.isnan(b))).all():
        raise WrongError(f"{what} of a second call differs", f"{a.ravel()[:4]} then {b.ravel()[:4]}")


class Inputs:
    """The arrays of a call, and that they are as they were."""

    def __init__(self, named: Sequence[tuple[str, Any]]) -> None:
        self.named = [(name, x) for name, x in named if hasattr(x, "dtype")]
        self.before = [numbers(x).copy() for _, x in self.named]

    def unchanged(self, but: Sequence[str] = ()) -> None:
        for (name, x), before in zip(self.named, self.before, strict=True):
            now = numbers(x)
            if name not in but and not ((now == before) | (np.isnan(now) & np.isnan(before))).all():
                raise WrongError(f"{name} was written to", "")
