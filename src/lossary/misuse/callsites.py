"""Sampling of the misuse checks by call site: which calls are inspected, and one warning per call site.

A *call site* is the line of a program that calls a loss. Its first calls are inspected, later ones ever less often, so
that the checks cost about a hundredth of the losses. What the rules of `lossary.misuse.rules` find becomes a
`LossMisuseWarning` at the caller's line.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

from lossary import settings
from lossary.backends import registry
from lossary.catalogue import Loss, get, names
from lossary.errors import LossMisuseWarning
from lossary.misuse import rules
from lossary.misuse.rules import MisuseFinding, Past, Sample

FIRST = 8  # calls of a site that are inspected
MOST_APART = 4096  # work units between two inspections of a site, at most
_ELEMENTS = 8192  # elements that make one unit of work, beside the one that a call is
_LEAST = 3  # elements below which no rule applies
_SITES = 4096  # sites remembered
_SMALL, _SKIPPED = (
    16384,
    15,
)  # after a call of fewer elements, this many calls of the loss skip the look-up of their site


@dataclass(frozen=True)
class Wording:
    """How a drop-in names a loss of the catalogue: its own name, and those of its arrays.

    `arranged` converts its arrays to the layout of the catalogue; `further` yields findings of further rules.
    """

    name: str
    arrays: Mapping[str, str]
    arranged: Callable[[Sequence[Any], Mapping[str, Any]], Sequence[Any]] | None = None
    further: Callable[[Sample], Iterable[MisuseFinding]] | None = None

    @cached_property
    def words(self) -> Mapping[str, str]:
        """The names for sentences, by those of the catalogue; the key of the loss is empty."""
        return {"": self.name, **self.arrays}


class _Site:
    """The state of a call site: its work so far, when it is due for inspection, and which findings it was warned of."""

    __slots__ = ("apart", "code", "due", "filters", "inspected", "past", "warned", "work")

    def __init__(self, code: CodeType) -> None:
        self.code = code  # a reference, so that its id is not reused
        self.work, self.due, self.apart, self.inspected = 0.0, 0.0, FIRST, 0
        self.past = Past()
        self.filters: Any = None
        self.warned: set[tuple[str, str]] = set()


_sites: dict[tuple[str, int, int], _Site] = {}
_skipped: dict[str, int] = {}  # by loss, how many calls are still to be skipped
_filters: Any = None  # the warning filters at that time; if they have changed, a call is inspected again


def inspect_call(
    loss: Loss,
    given: Sequence[Any],
    params: Mapping[str, Any],
    weight: Any = None,
    mask: Any = None,
    wording: Wording | None = None,
) -> bool:
    """Inspect a call if its site is due, and return whether the call's values are to be checked at all.

    `wording` is how a drop-in names the loss. Arguments that the catalogue would reject give warnings.
    """
    name = loss.name
    if not registry.is_compiling() and settings.level() == "sampled":
        if wording is None and name in _SILENT:
            return True
        left = _skipped.get(name, 0)
        if left and warnings.filters is _filters:
            _skipped[name] = left - 1
            return True
    if registry.is_tracing():
        if settings.FULL:
            registry.backend(*given).observe_outside_graph(inspect_compiled, loss, given, params, weight, mask, wording)
        return True
    level = settings.level()
    if level == "sampled":
        first = given[0] if given else None
        size = first.size if type(first) is np.ndarray else registry.namespace(first).countable(first)
        if size >= _LEAST or first is None:
            _sample(size, loss, given, params, weight, mask, wording)
        return True
    if level == "full":
        _inspect(_site(loss.name), loss, given, params, weight, mask, wording, full=True)
        return True
    return False


def inspect_compiled(*call: Any) -> None:
    """Inspect a call for which a compiler has broken its graph."""
    if settings.level() == "full" and not registry.is_tracing():
        loss, given, params, weight, mask, wording = call
        _inspect(_site(loss.name), loss, given, params, weight, mask, wording, full=True)


def _sample(
    size: int,
    loss: Loss,
    given: Sequence[Any],
    params: Mapping[str, Any],
    weight: Any,
    mask: Any,
    wording: Wording | None,
) -> None:
    """Inspect a call if its site is due: for its first calls, then after twice the work each time."""
    global _filters
    site, few = _site(loss.name), size < _SMALL
    site.work += (_SKIPPED + 1 if few and site.inspected >= FIRST else 1) + size / _ELEMENTS
    if site.inspected < FIRST or site.work >= site.due or warnings.filters is not site.filters:
        site.filters = warnings.filters
        if site.inspected >= FIRST:
            site.apart = min(2 * site.apart, MOST_APART)
        site.due = site.work + site.apart
        _inspect(site, loss, given, params, weight, mask, wording, full=False)
    elif few:
        _skipped[loss.name], _filters = _SKIPPED, warnings.filters


_SILENT: set[str] = set()  # losses that no rule applies to


def find_silent() -> None:
    """Find the losses that no rule applies to; called once, when the catalogue is complete."""
    for loss in map(get, names()):
        alternatives = range(1 if loss.coupling else len(loss.signatures))
        if not any(rules.rules(loss, alternative) for alternative in alternatives):
            _SILENT.add(loss.name)


# --- call sites -------------------------------------------------------------------------------------------------------

_HERE = str(Path(__file__).parent.parent)


@cache
def _inside(file: str) -> bool:
    """Whether a file is this library's, or that of a framework whose module or compiler called it."""
    return file.startswith((_HERE, *registry.framework_folders()))


def _caller() -> FrameType:
    """Return the first frame outside this library and its frameworks."""
    frame = sys._getframe(1)
    while _inside(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _site(name: str) -> _Site:
    frame = _caller()
    key = (name, id(frame.f_code), frame.f_lasti)
    site = _sites.get(key)
    if site is None:
        if len(_sites) >= _SITES:
            _sites.clear()
        site = _sites[key] = _Site(frame.f_code)
    return site


def forget() -> None:
    """Forget all call sites: inspect, and warn of, everything anew."""
    _sites.clear()
    _skipped.clear()


# --- inspecting and warning -------------------------------------------------------------------------------------------


def _inspect(
    site: _Site,
    loss: Loss,
    given: Sequence[Any],
    params: Mapping[str, Any],
    weight: Any,
    mask: Any,
    wording: Wording | None,
    full: bool,
) -> None:
    site.inspected += 1
    for finding in _findings(loss, given, params, weight, mask, wording, full, site.past):
        _warn(site, finding)


def _findings(
    loss: Loss,
    given: Sequence[Any],
    params: Mapping[str, Any],
    weight: Any,
    mask: Any,
    wording: Wording | None,
    full: bool,
    past: Past,
) -> list[MisuseFinding]:
    try:
        arrays = given
        if wording is not None and wording.arranged is not None:
            arrays = wording.arranged([x.detach() for x in given], params)
        sample = rules.sample_call(
            loss, arrays, params, weight, mask, full, past, None if wording is None else wording.words
        )
        if sample is None:
            return []
        if arrays is not given:  # a sentence shows the shape of the caller's array
            sample = replace(sample, shapes=dict(zip(loss.arguments, (tuple(x.shape) for x in given), strict=True)))
        with np.errstate(all="ignore"):
            found = rules.applied(sample)
            if wording is not None:
                further = list(wording.further(sample)) if wording.further else []
                covered = {f.argument for f in (*found, *further)}  # `further` has the better sentence
                found = [*further, *(f for f in rules.refused(sample) if f.argument not in covered), *found]
            return found
    except Exception:  # an inspection must never fail a call; the call itself raises its errors
        return []


def warn(finding: MisuseFinding) -> None:
    """Warn of a finding from shapes alone."""
    if settings.level() != "off":
        _warn(_site(""), finding)


def _warn(site: _Site, finding: MisuseFinding) -> None:
    """Warn at the caller's line, once for each site unless a filter asks for every warning."""
    frame = _caller()
    key = (finding.rule, finding.argument)
    if key in site.warned and _action(frame) not in ("error", "always", "all"):
        return
    site.warned.add(key)
    space = frame.f_globals
    warnings.warn_explicit(
        LossMisuseWarning(finding.sentence),
        LossMisuseWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=space.get("__name__", "<unknown>"),
        registry=space.setdefault("__warningregistry__", {}),
    )


def _action(frame: FrameType) -> str:
    """Return what the filters do with such a warning."""
    module = frame.f_globals.get("__name__", "")
    for action, message, category, where, line in warnings.filters:
        named = where is None or (where == module if isinstance(where, str) else where.match(module))
        here = named and line in (0, frame.f_lineno)
        if issubclass(LossMisuseWarning, category) and not message and here:
            return str(action)
    return "default"
