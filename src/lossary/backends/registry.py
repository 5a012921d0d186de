"""Registry of backends: finds the backend that computes with an array.

The registry imports no backend: `lossary` registers a recogniser and a loader for each when it is imported
(`lossary.backends.installed`), and the loader runs at the first array of its framework.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossary.backends.protocol import Backend, Operations
from lossary.errors import ArgumentError


@dataclass(frozen=True)
class Framework:
    """How the arrays of a framework, whose package is `name`, are recognised, and how its backend is loaded.

    `owns` must be cheap and must not import the framework. `load` returns a `lossary.backends.protocol.Backend`; it
    imports by a literal statement, which a compiler can trace.
    """

    name: str
    owns: Callable[[Any], bool]
    load: Callable[[], Backend]


_FRAMEWORKS: list[Framework] = []
_DEFAULT: list[Framework] = []  # one entry: the framework that computes numbers and lists
_UNSUPPORTED: dict[str, str] = {}


def register(framework: Framework, *, default: bool = False) -> None:
    """Add a framework; the default one computes arrays that no other owns."""
    (_DEFAULT if default else _FRAMEWORKS).append(framework)


def register_unsupported(package: str, name: str) -> None:
    """Reject arrays of a package that NumPy would convert silently, which would drop their gradient."""
    _UNSUPPORTED[package] = name


def frameworks() -> tuple[Framework, ...]:
    """Return the registered frameworks, the default one first; their packages need not be installed."""
    return (*_DEFAULT, *_FRAMEWORKS)


def backend(*arrays: Any) -> Backend:
    """Return the backend for the given arrays: that of the first array which a framework owns, else NumPy's.

    Raises `ArgumentError` for arrays of a framework that is known but not supported.
    """
    for array in arrays:
        if isinstance(array, (int, float)):
            continue  # of no framework; and a compiler does not trace a look-up of the module of a type
        for framework in _FRAMEWORKS:
            if framework.owns(array):
                return framework.load()
        unsupported = _UNSUPPORTED.get(type(array).__module__.partition(".")[0])
        if unsupported is not None:
            raise ArgumentError(
                f"{unsupported} arrays are not supported by this version; convert with numpy.asarray(x) "
                "and use the hand-written gradient"
            )
    return _DEFAULT[0].load()


def namespace(*arrays: Any) -> Operations:
    """Return the array namespace `xp` for the given arrays."""
    return backend(*arrays).xp


def differentiates(x: Any) -> bool:
    """Whether an array belongs to a framework with automatic differentiation, rather than to NumPy."""
    return any(framework.owns(x) for framework in _FRAMEWORKS)


def framework_folders() -> tuple[str, ...]:
    """Return the folders of the loaded frameworks: their frames may stand between a call and its caller."""
    files = (getattr(sys.modules.get(framework.name), "__file__", None) for framework in _FRAMEWORKS)
    return tuple(str(Path(file).parent) for file in files if file)


def to_numpy(x: Any) -> Any:
    """Return any array as a NumPy array, to be read, printed or written; other objects are returned unchanged."""
    return namespace(x).to_numpy(x)


# Whether operations are being written into a graph rather than computed, and whether by the framework's own compiler,
# which traces Python with them. A backend that can be traced replaces both.
is_tracing: Callable[[], bool] = bool
is_compiling: Callable[[], bool] = bool
