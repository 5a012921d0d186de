"""When a call is looked at for misuse, and how that is told: seldom enough to be free, once for each place.

A *place* is the line of a program that calls a loss. Its first calls are looked at; after that looking must have been
paid for by the work of the calls in between, a hundredth of which may go into it. What the rules of `lossary.misuse`
find becomes a `LossMisuseWarning` at the caller's line.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

from lossary import settings
from lossary.backends import registry as _dispatch
from lossary.catalogue import Loss
from lossary.errors import LossMisuseWarning
from lossary.misuse import rules as misuse
from lossary.misuse.rules import Finding, Past, Seen

FIRST = 8  # calls of a place that are looked at whatever they cost
_SHARE = 100  # one nanosecond of looking for so many of computing
_CALL, _ELEMENT = 4000.0, 0.4  # nanoseconds that a call, and each of its elements, takes at least
_LEAST = 3  # elements below which no rule has anything to say
_PLACES = 4096
_SMALL, _RESTING = 16384, 15  # even finding out the place is left alone for so many calls of so few elements

# How many calls of a loss are still left alone. Filters that have changed since say that somebody listens now.
_rest: dict[str, int] = {}
_known_filters: Any = None


def _compiling() -> bool:
    # A process may call a loss for the first time inside a compiled function, before torch's backend is imported.
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.compiler.is_compiling())


# Set by the backend of a framework that compiles: whether operations are being written into a graph.
compiling: Callable[[], bool] = _compiling


@dataclass(frozen=True)
class Spoken:
    """How a drop-in speaks of a loss of the catalogue.

    Its own name, those of its arrays, how its arrays are laid as the catalogue has them, and what else can be wrong.
    """

    name: str
    arrays: Mapping[str, str]
    arranged: Callable[[Sequence[Any], Mapping[str, Any]], Sequence[Any]] | None = None
    further: Callable[[Seen], Iterable[Finding]] | None = None

    @cached_property
    def words(self) -> Mapping[str, str]:
        """The names as sentences want them: that of the loss under the empty one."""
        return {"": self.name, **self.arrays}


class _Place:
    """What is known of a line that calls a loss: how often it was looked at, and what it has been told."""

    __slots__ = ("code", "cost", "filters", "further", "looks", "paid", "past", "told")

    def __init__(self, code: CodeType, further: bool) -> None:
        self.code, self.further = code, further  # the code is held so that its id stays its own
        self.looks, self.paid, self.cost = 0, 0.0, 0.0
        self.past = Past()
        self.filters: Any = None
        self.told: set[tuple[str, str]] = set()


_places: dict[tuple[str, int, int], _Place] = {}


def attend(
    loss: Loss,
    given: Sequence[Any],
    params: Mapping[str, Any],
    weight: Any = None,
    mask: Any = None,
    spoken: Spoken | None = None,
) -> bool:
    """Look at a call if it is time to, and return whether its values are to be checked at all.

    `spoken` is how a drop-in speaks of the loss. What the catalogue would refuse of its calls is warned of like
    everything else.
    """
    if compiling():
        if settings.FULL:
            _dispatch.attend_outside_the_graph(loss, given, params, weight, mask, spoken)
        return True
    level = settings.level()
    if level == "sampled":
        name = loss.name
        if spoken is None and name in _silent:
            return True
        rest = _rest.get(name, 0)
        if rest and warnings.filters is _known_filters:
            _rest[name] = rest - 1
            return True
        first = given[0] if given else None
        size = first.size if type(first) is np.ndarray else _size(first)
        if size >= _LEAST:
            _watch(_place(name), size, loss, given, params, weight, mask, spoken)
        return True
    if level == "full":
        _look(_place(loss.name), loss, given, params, weight, mask, spoken, full=True)
        return True
    return False


def attend_compiled(*call: Any) -> None:
    """Look at a call that a compiler has left its trace for."""
    if settings.level() == "full" and not compiling():  # operations of a look do not belong into anybody's graph
        loss, given, params, weight, mask, spoken = call
        _look(_place(loss.name), loss, given, params, weight, mask, spoken, full=True)


def _watch(
    place: _Place,
    size: int,
    loss: Loss,
    given: Sequence[Any],
    params: Mapping[str, Any],
    weight: Any,
    mask: Any,
    spoken: Spoken | None,
) -> None:
    """Look if the place has paid for it; if it has not, and its calls are small, leave the next few alone."""
    global _known_filters
    calls = _RESTING + 1 if size < _SMALL else 1
    place.paid += calls * (_CALL + _ELEMENT * size)
    if place.looks < FIRST or place.paid >= _SHARE * place.cost or warnings.filters is not place.filters:
        place.filters = warnings.filters  # where they have changed, somebody listens who did not before
        _look(place, loss, given, params, weight, mask, spoken, full=False)
    elif size < _SMALL:
        _rest[loss.name] = _RESTING
        _known_filters = warnings.filters


def _size(x: Any) -> int:
    """Return the number of elements; -1 for what is on a device, whose numbers are not looked at."""
    if hasattr(x, "is_cpu"):
        return int(x.numel()) if x.is_cpu else -1
    return _LEAST  # a list, or an array given by name: whoever looks finds out


def _without_rules() -> set[str]:
    from lossary.catalogue import get, names

    found = set()
    for name in names():
        loss = get(name)
        alternatives = range(1 if loss.coupling else len(loss.signatures))
        if not any(misuse.rules(loss, alternative) for alternative in alternatives):
            found.add(name)
    return found


_silent: set[str] = set()


def settle() -> None:
    """Find out of which losses no rule speaks; called once, when the catalogue is complete."""
    _silent.update(_without_rules())


# --- places ---------------------------------------------------------------------------------------------------------

_HERE = str(Path(__file__).parent.parent)


@cache
def _inside(file: str) -> bool:
    """Whether a file is this library's, or that of the framework whose module or compiler called it."""
    framework = getattr(sys.modules.get("torch"), "__file__", None)
    return file.startswith((_HERE, str(Path(framework).parent)) if framework else _HERE)


def _place(name: str) -> _Place:
    """Return the place of the call: four frames up in the usual way, further where that is still inside."""
    try:
        frame: FrameType | None = sys._getframe(4)
    except ValueError:
        frame = sys._getframe(2)
    while True:
        assert frame is not None
        code = frame.f_code
        key = (name, id(code), frame.f_lasti)
        place = _places.get(key)
        if place is None:
            if len(_places) >= _PLACES:
                _places.clear()
            place = _places[key] = _Place(code, _inside(code.co_filename) and frame.f_back is not None)
        if not place.further:
            return place
        frame = frame.f_back


def forget() -> None:
    """Forget all places: everything is looked at, and told, anew."""
    _places.clear()
    _rest.clear()


# --- looking and telling --------------------------------------------------------------------------------------------


def _look(
    place: _Place,
    loss: Loss,
    given: Sequence[Any],
    params: Mapping[str, Any],
    weight: Any,
    mask: Any,
    spoken: Spoken | None,
    full: bool,
) -> None:
    began = time.perf_counter_ns()
    found = _findings(loss, given, params, weight, mask, spoken, full, place.past)
    took = float(time.perf_counter_ns() - began)
    # The first looks also import and compile; later ones meet cold caches and a busy machine, and have to pay for it.
    place.cost = took if place.looks < 2 else (place.cost + took) / 2
    place.looks += 1
    place.paid = 0.0
    for finding in found:
        _tell(place, finding)


def _findings(
    loss: Loss,
    given: Sequence[Any],
    params: Mapping[str, Any],
    weight: Any,
    mask: Any,
    spoken: Spoken | None,
    full: bool,
    past: Past,
) -> list[Finding]:
    try:
        laid = given
        if spoken is not None and spoken.arranged is not None:
            laid = spoken.arranged([x.detach() for x in given], params)
        words = None if spoken is None else spoken.words
        seen = misuse.look(loss, laid, params, weight, mask, full, past, words)
        if seen is None:
            return []
        if laid is not given:  # a shape is told as the caller has it
            seen = replace(seen, shapes=dict(zip(loss.arguments, (tuple(x.shape) for x in given), strict=True)))
        with np.errstate(all="ignore"):
            found = misuse.applied(seen)
            if spoken is not None:
                further = list(spoken.further(seen)) if spoken.further else []
                known = {f.argument for f in (*found, *further)}
                # What has been said in better words is not said again.
                found = [*further, *(f for f in misuse.refused(seen) if f.argument not in known), *found]
            return found
    except Exception:  # a call must never fail for having been looked at; what cannot be computed, the call itself says
        return []


def warn(finding: Finding) -> None:
    """Tell of something that shapes alone give away."""
    if settings.level() != "off":
        _tell(_place(""), finding)


def _tell(place: _Place, finding: Finding) -> None:
    """Warn at the caller's line, once for each place unless a filter wants to hear it always."""
    frame = _caller()
    key = (finding.rule, finding.argument)
    if key in place.told and _action(frame) not in ("error", "always", "all"):
        return
    place.told.add(key)
    space = frame.f_globals
    warnings.warn_explicit(
        LossMisuseWarning(finding.sentence),
        LossMisuseWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=space.get("__name__", "<unknown>"),
        registry=space.setdefault("__warningregistry__", {}),
    )


def _caller() -> FrameType:
    frame = sys._getframe(1)
    while _inside(frame.f_code.co_filename) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _action(frame: FrameType) -> str:
    """Return what the filters do with such a warning."""
    module = frame.f_globals.get("__name__", "")
    for action, message, category, where, line in warnings.filters:
        named = where is None or (where == module if isinstance(where, str) else where.match(module))
        here = named and line in (0, frame.f_lineno)
        if issubclass(LossMisuseWarning, category) and not message and here:
            return str(action)
    return "default"
