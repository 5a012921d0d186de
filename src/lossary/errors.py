"""What can be refused, and by which name to catch it.

Every error Lossary raises on purpose is a `LossaryError` and also the built-in error a Python user expects, so
`except ValueError` keeps working and a command line can tell a refusal from a bug.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any


class LossaryError(Exception):
    """Anything Lossary refuses, with a sentence that says what to do instead."""


class ArgumentError(LossaryError, TypeError):
    """A wrong number of arguments, an unknown keyword, or something that is no array."""


class ShapeError(LossaryError, ValueError):
    """Arrays whose shapes do not fit the loss's signature."""


class DomainError(LossaryError, ValueError):
    """A value outside the domain the loss is defined on."""


class ParameterError(LossaryError, ValueError):
    """A parameter outside its range."""


class UnknownLossError(LossaryError, LookupError):
    """A name that is not in the catalogue."""


class MissingExtraError(LossaryError, ImportError):
    """A capability whose optional dependency is not installed."""


class NonFiniteError(LossaryError, ArithmeticError):
    """A number that became infinite or NaN on the way, with the place where it first did."""


class DataError(LossaryError, ValueError):
    """A data set that cannot be read or cannot be learned from as it is."""


def suggest(word: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Return ``": did you mean a, b?"`` for the known names close to `word`, or nothing.

    >>> suggest("focall", ["sigmoid_focal", "softmax_focal", "huber"])
    ': did you mean sigmoid_focal, softmax_focal?'
    """
    names = list(known)
    wanted = word.lower().replace("-", "_")
    # A misspelt part of a long name ("focall") is nearer to that part than to the whole name.
    parts: dict[str, list[str]] = {}
    for name in names:
        for part in {name, *name.split("_")}:
            parts.setdefault(part, []).append(name)
    close: list[str] = []
    for match in difflib.get_close_matches(wanted, parts, n=limit, cutoff=0.7):
        close.extend(name for name in parts[match] if name not in close)
    close.extend(n for n in names if len(wanted) > 2 and wanted in n and n not in close)
    return f": did you mean {', '.join(close[:limit])}?" if close else ""


def require(module: str, extra: str = "app") -> Any:
    """Import an optional dependency now; raise `MissingExtraError` with the command that installs it if it is absent.

    >>> require("json").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = {"sklearn": "scikit-learn"}.get(module.partition(".")[0], module.partition(".")[0])
        raise MissingExtraError(f"{package} needs the {extra} extra: pip install 'lossary[{extra}]'") from error
