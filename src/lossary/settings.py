"""The level of input checking: one setting, for the current thread or asynchronous task."""

from __future__ import annotations

import os
import threading
import warnings
from contextvars import ContextVar
from typing import Literal

from lossary.errors import LossMisuseWarning, ParameterError, suggest

Level = Literal["off", "shapes", "sampled", "full"]
LEVELS: tuple[Level, ...] = ("off", "shapes", "sampled", "full")


def _from_environment() -> Level:
    given = os.environ.get("LOSSARY_CHECKS", "sampled").strip().lower()
    for level in LEVELS:
        if given == level:
            return level
    hint = suggest(given, LEVELS)
    warnings.warn(
        f"LOSSARY_CHECKS: got {given!r}, expected one of {', '.join(LEVELS)}{hint}. It is taken for 'sampled'",
        LossMisuseWarning,
        stacklevel=2,
    )
    return "sampled"


# Whether "full" is in force anywhere in this process: a global that a compiler can guard on. Only then does a compiled
# call break its graph to read values.
FULL = False

_lock = threading.RLock()  # reentrant, because a setting may be collected while another is made
_full_settings = 0


class _Setting:
    """A level; it lives as long as some thread or asynchronous task uses it."""

    __slots__ = ("level",)

    def __init__(self, level: Level) -> None:
        self.level: Level = level
        if level == "full":
            _count_full(1)

    def __del__(self) -> None:
        if self.level == "full":
            _count_full(-1)


def _count_full(change: int) -> None:
    global FULL, _full_settings
    with _lock:
        _full_settings += change
        FULL = _full_settings > 0


# Contexts hold their settings, so one that ends with its thread or task is no longer counted.
_SETTING: ContextVar[_Setting] = ContextVar("lossary.checks", default=_Setting(_from_environment()))  # noqa: B039  (it never changes)


def level() -> Level:
    """Return the level in force here."""
    return _SETTING.get().level


class checks:  # noqa: N801  (used as a function)
    """Set how closely calls are checked, from here on, or only inside a ``with`` block.

    ``"off"``: only the checks that the computation needs, and no warnings. ``"shapes"``: shapes and types, no value of
    an array or parameter. ``"sampled"``, the default: also values, on the CPU, where that costs about a hundredth of
    the loss, those of large arrays by samples. ``"full"``: every value, on every device, which waits for a GPU and
    breaks the graph of a compiled function: for finding a mistake, not for training.

    The setting belongs to the thread or asynchronous task that makes it, and to tasks that are started from there.
    ``LOSSARY_CHECKS`` in the environment sets it for the whole process.

    Raises `ParameterError` for another level.

    >>> import lossary
    >>> with lossary.checks("off"):
    ...     float(lossary.binary_cross_entropy_with_logits([0.0], [2.0])[0])     # a target outside [0, 1]
    0.6931471805599453
    """

    def __init__(self, level: Level) -> None:
        if level not in LEVELS:
            hint = suggest(str(level), LEVELS)
            raise ParameterError(f"checks: got {level!r}, expected one of {', '.join(LEVELS)}{hint}")
        self.level: Level = level
        self.before: Level = _SETTING.get().level
        _SETTING.set(_Setting(level))

    def __enter__(self) -> checks:
        if _SETTING.get().level != self.level:
            _SETTING.set(_Setting(self.level))
        return self

    def __exit__(self, *_: object) -> None:
        _SETTING.set(_Setting(self.before))

    def __repr__(self) -> str:
        return f"checks({self.level!r})"
