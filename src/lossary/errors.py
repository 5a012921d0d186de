"""The exceptions that Lossary raises, the warning it gives, and helpers that word their messages.

Every error Lossary raises on purpose is a `LossaryError` and also the built-in error a Python user expects, so
`except ValueError` keeps working and a command line can distinguish an error of the user from a bug.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any


class LossaryError(Exception):
    """Base class of the errors that Lossary raises on purpose; the message states what to do instead."""


class ArgumentError(LossaryError, TypeError):
    """A wrong number of arguments, an unknown keyword, or an object that is not an array."""


class TensorKindError(ArgumentError, NotImplementedError):
    """A tensor whose elements no loss can read: nested, sparse, quantized, or with its storage freed."""


class ShapeError(LossaryError, ValueError):
    """Arrays whose shapes do not fit the loss's signature."""


class DomainError(LossaryError, ValueError):
    """A value outside the domain the loss is defined on."""


class ParameterError(LossaryError, ValueError):
    """A parameter outside its range."""


class UnknownLossError(LossaryError, LookupError):
    """A name that is not in the catalogue."""


class MissingExtraError(LossaryError, ImportError):
    """An optional dependency that is not installed."""


class NonFiniteError(LossaryError, ArithmeticError):
    """A number that became infinite or NaN; the message names where it first did."""


class DataError(LossaryError, ValueError):
    """A data set that cannot be read or cannot be learned from as it is."""


class LossMisuseWarning(UserWarning):
    """A call that computes a number, but probably not the intended one; given once for each call site."""


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Return the known names that `word` may be a misspelling of, the likeliest first.

    >>> nearest("hubber", ["pseudo_huber", "huber", "hinge"])
    ['huber', 'pseudo_huber']
    """
    names = list(known)
    spelling = str(word).lower().replace("-", "_")
    # A misspelt part of a long name ("focall") is nearer to that part than to the whole name.
    parts: dict[str, list[str]] = {}
    for name in names:
        for part in {name, *name.split("_")}:
            parts.setdefault(part, []).append(name)
    close: dict[str, None] = {}
    # If the whole word resembles no name, one of its parts may ("mse_los").
    for attempt in (spelling, *(part for part in spelling.split("_") if len(part) > 2)):
        swapped = [part for part in parts if part != attempt and sorted(part) == sorted(attempt)]  # "mes" for "mse"
        for match in [*swapped, *difflib.get_close_matches(attempt, parts, n=3, cutoff=0.7)]:
            likely = sorted(parts[match], key=lambda name: -difflib.SequenceMatcher(None, spelling, name).ratio())
            close.update(dict.fromkeys(likely))
        close.update(dict.fromkeys(name for name in names if len(attempt) > 2 and attempt in name))
        if close:
            break
    return list(close)


def suggest(word: str, known: Iterable[str], *, limit: int = 3) -> str:
    """Return ``": did you mean a, b?"`` for the known names close to `word`, or nothing.

    >>> suggest("focall", ["sigmoid_focal", "softmax_focal", "huber"])
    ': did you mean sigmoid_focal, softmax_focal?'
    """
    return did_you_mean(nearest(word, known)[:limit])


def did_you_mean(names: list[str]) -> str:
    """Return the question that follows a wrong name, or an empty string without names."""
    return f": did you mean {', '.join(names)}?" if names else ""


def digits(number: float, *bounds: float) -> str:
    """Return a number as text: six digits, or as many as distinguish it from bounds that it does not equal.

    >>> digits(1.0000001, -1.0, 1.0), digits(0.5, 1.0)
    ('1.0000001', '0.5')
    """
    number = float(number)
    for precision in range(6, 18):
        text = f"{number:.{precision}g}"
        if float(text) == number or float(text) not in bounds:
            break
    return text


def real_number(name: str, value: Any, expected: str, holds: Callable[[float], bool] = lambda _: True) -> float:
    """Return a parameter as a number if it satisfies a condition; raise `ParameterError` otherwise.

    >>> real_number("beta", 0.5, "a number in [0, 1)", lambda x: 0 <= x < 1)
    0.5
    """
    single = isinstance(value, Real) or (
        hasattr(value, "shape") and hasattr(value, "item") and tuple(value.shape) == ()
    )
    number = value.item() if single and hasattr(value, "item") else value
    if not single or not isinstance(number, Real) or isinstance(number, bool) or not holds(float(number)):
        shown = digits(float(number)) if single and isinstance(number, Real) else repr(value)
        raise ParameterError(f"{name}: got {shown}, expected {expected}")
    return float(number)


def whole_number(name: str, value: Any, expected: str, holds: Callable[[float], bool] = lambda _: True) -> int:
    """Return a parameter as a whole number if it satisfies a condition; raise `ParameterError` otherwise.

    >>> whole_number("width", 16, "a whole number >= 1", lambda n: n >= 1)
    16
    """
    number = real_number(name, value, expected, lambda x: x == x // 1 and holds(x))
    return int(number)


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
