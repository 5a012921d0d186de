"""How closely calls are looked at: one setting, for the current thread or asynchronous task."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
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


_INITIAL: Level = _from_environment()
_LEVEL: ContextVar[Level] = ContextVar("lossary.checks", default=_INITIAL)

# How many settings to "full" are in force in this process: a plain number, which a compiler can guard on. Only while
# there is one does a compiled call stop to look.
FULL = int(_INITIAL == "full")


def level() -> Level:
    """Return the level in force here."""
    return _LEVEL.get()


# What must be ready before a compiled function is left to look; made only then, for it may be slow to make.
when_full: list[Callable[[], None]] = []


def _set(level: Level) -> None:
    global FULL
    if level == "full":
        for prepare in when_full:
            prepare()
    FULL = max(0, FULL + (level == "full") - (_LEVEL.get() == "full"))
    _LEVEL.set(level)


class checks:  # noqa: N801  (used as a function)
    """Set how closely calls are looked at, from here on, or only inside a ``with`` block.

    ``"off"``: nothing is looked at but what is needed to compute, and nothing is warned of. ``"shapes"``: shapes and
    types, no value of an array or parameter. ``"sampled"``, unless told otherwise: also values, on the CPU, where that
    costs about a hundredth of the loss, those of large arrays by samples. ``"full"``: every value, on every device,
    which waits for a GPU and breaks the graph of a compiled function: for finding a mistake, not for training on.

    The setting belongs to the thread or asynchronous task that makes it, and to tasks that are started from there.
    ``LOSSARY_CHECKS`` in the environment sets it for the whole process.

    Raises `ParameterError` for another word.

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
        self.before: Level = _LEVEL.get()
        _set(level)

    def __enter__(self) -> checks:
        _set(self.level)
        return self

    def __exit__(self, *_: object) -> None:
        _set(self.before)

    def __repr__(self) -> str:
        return f"checks({self.level!r})"
