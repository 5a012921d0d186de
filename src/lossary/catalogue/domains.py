"""Domains of arrays and parameters: which values are admissible, parsed from the text that a record holds.

A domain is written as a mathematician would: ``"(0, inf)"``, ``"[0, 1]"``, ``"{-1, 1}"``, ``"{0, ..., c-1}"``,
``"simplex"``. Shape errors, misuse checks, random test inputs and documentation are all derived from these texts and
from the signatures (`lossary.catalogue.signatures`), so they are parsed here, once.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from lossary.catalogue.signatures import Core

Kind = Literal["interval", "set", "index", "count", "integer", "simplex", "log-simplex", "one of", "flag", "length"]


@dataclass(frozen=True)
class Domain:
    """A set of admissible values. `text` is how the record writes it and how errors and documents show it."""

    text: str
    kind: Kind
    low: float = -math.inf
    high: float = math.inf
    closed: tuple[bool, bool] = (False, False)
    values: tuple[float, ...] = ()
    choices: tuple[str, ...] = ()
    dimension: str = ""

    @property
    def bounded(self) -> bool:
        """Whether there is any number the domain excludes."""
        return self.kind != "interval" or self.low != -math.inf or self.high != math.inf

    def __str__(self) -> str:
        return self.text

    def contains(self, number: float) -> bool:
        """Whether a single number of an interval, a set or the counts belongs to the domain.

        >>> parse_domain("(0, 1]").contains(0.0), parse_domain("(0, 1]").contains(1.0)
        (False, True)
        """
        if self.kind == "set":
            return number in self.values
        if self.kind in ("count", "integer", "index"):
            return number >= self.low and math.isfinite(number) and number == math.floor(number)
        above = number >= self.low if self.closed[0] else number > self.low
        below = number <= self.high if self.closed[1] else number < self.high
        unlimited = not self.bounded and not any(self.closed)
        return unlimited or (above and below)


@cache
def parse_domain(text: str) -> Domain:
    """Read a domain.

    ``real`` and intervals such as ``[0, 1)``; finite sets ``{-1, 1}``; class indices ``{0, ..., c-1}``; counts
    ``{0, 1, 2, ...}``; any ``integer``; ``simplex`` (rows that are non-negative and sum to 1) and
    ``log-simplex`` (their logarithms); ``flag`` (true or false); ``one of a, b`` (words); ``length of t``: how many
    entries of the dimension t an example has, the others being padding.
    """
    if text == "real":
        return Domain(text, "interval")
    if text in ("simplex", "log-simplex", "flag", "integer"):
        return Domain(text, text)  # type: ignore[arg-type]
    if text == "{0, ..., c-1}":
        return Domain(text, "index", 0.0, math.inf, (True, False))
    if text == "{0, 1, 2, ...}":
        return Domain(text, "count", 0.0, math.inf, (True, False))
    if text.startswith("length of "):
        return Domain(text, "length", 0.0, math.inf, (True, False), dimension=text.removeprefix("length of "))
    if text.startswith("one of "):
        return Domain(text, "one of", choices=tuple(w.strip() for w in text.removeprefix("one of ").split(",")))
    interval = re.fullmatch(r"([\[(])\s*([^,]+?)\s*,\s*([^,]+?)\s*([\])])", text)
    try:
        if text.startswith("{") and text.endswith("}"):
            return Domain(text, "set", values=tuple(float(v) for v in text.strip("{}").split(",")))
        if interval is not None:
            left, low, high, right = interval.groups()
            return Domain(text, "interval", float(low), float(high), (left == "[", right == "]"))
    except ValueError:  # of `float`
        pass
    raise ValueError(f"domain {text!r} cannot be parsed: see lossary.catalogue.domains.parse_domain")


# What each input convention admits, pointwise. A row over classes, core dimension `c`, is stricter: see `admits`.
CONVENTIONS = {
    "real": "real",
    "logit": "real",
    "score": "real",
    "embedding": "real",
    "parameter": "real",
    "log-rate": "real",
    "probability": "[0, 1]",
    "log-probability": "(-inf, 0]",
    "log-likelihood": "real",  # of whatever was drawn: a log-density may be above 0
    "similarity": "[-1, 1]",
    "affinity": "real",  # a similarity of any scale, such as a scalar product
    "distance": "[0, inf)",
    "rate": "[0, inf)",
    "positive": "(0, inf)",
}
_ROWS_OF_CLASSES = {"probability": "simplex", "log-probability": "log-simplex"}


def admits(convention: str, core: Core) -> Domain:
    """Return the domain of an argument that follows an input convention, or is given by its domain directly.

    >>> admits("probability", ()).text, admits("probability", ("c",)).text, admits("[1, 2)", ()).text
    ('[0, 1]', 'simplex', '[1, 2)')
    """
    if core == ("c",) and convention in _ROWS_OF_CLASSES:
        return parse_domain(_ROWS_OF_CLASSES[convention])
    return parse_domain(CONVENTIONS.get(convention, convention))


# --- for readers ----------------------------------------------------------------------------------------------------


_IN_WORDS: dict[Kind, tuple[str, str]] = {  # of many, and of one
    "index": ("class indices 0, ..., C-1", "a class index 0, ..., C-1"),
    "count": ("counts 0, 1, 2, ...", "a count 0, 1, 2, ..."),
    "integer": ("whole numbers", "a whole number"),
    "simplex": ("probabilities >= 0 that sum to 1 in each row", "probabilities >= 0 that sum to 1"),
    "log-simplex": ("log-probabilities, whose exponentials sum to 1 in each row", "log-probabilities"),
    "flag": ("True or False", "True or False"),
}


def domain_in_words(domain: Domain, one: bool = False) -> str:
    """Return what an array holds, or what a parameter, which is one of them, may be.

    >>> domain_in_words(parse_domain("(0, inf)")), domain_in_words(parse_domain("one of simple, square"))
    ('numbers in (0, inf)', "'simple' or 'square'")
    >>> domain_in_words(parse_domain("(0, inf)"), one=True)
    'a number in (0, inf)'
    """
    if domain.kind == "one of":
        return " or ".join(map(repr, domain.choices))
    if domain.kind == "length":
        return f"whole numbers: how many of its {domain.dimension.upper()} entries an example has, all if not given"
    if domain.kind in _IN_WORDS:
        return _IN_WORDS[domain.kind][one]
    if not domain.bounded:
        return "a real number" if one else "real numbers"
    return f"{'a number' if one else 'numbers'} in {domain.text}"


_TYPES: dict[Kind, str] = {"count": "int", "integer": "int", "index": "int", "flag": "bool"}


def annotation(domain: Domain, per_class: bool, default: object, number: str, numbers: str) -> str:
    """Return the type of a parameter in code, of types called `number` and, for one for each class, `numbers`.

    >>> annotation(parse_domain("(0, inf)"), False, 1.0, "float", "Sequence[float]")
    'float'
    >>> annotation(parse_domain("[0, inf)"), True, None, "float", "Sequence[float]")
    'Sequence[float] | None'
    """
    if domain.kind == "one of":
        text = f"Literal[{', '.join(map(repr, domain.choices))}]"
    else:
        text = numbers if per_class else _TYPES.get(domain.kind, number)
    return f"{text} | None" if default is None else text
