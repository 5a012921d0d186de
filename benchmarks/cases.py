"""Benchmark cases: the inputs, the function that each contender runs on them, and the expected answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from lossary.errors import ArgumentError

VALUE, BOTH = MODES = ("value", "value and gradient")
DTYPES = ("float32", "float64", "bfloat16")

Run = Callable[[], Any]


class Answer(NamedTuple):
    """A value, and the gradient with respect to each input that has one, in the shapes of the inputs."""

    value: float
    grads: tuple[Any, ...] = ()


class Timed(NamedTuple):
    """What a run returns that has looked at the clock itself, as a fresh process does."""

    seconds: float
    answer: Any = None


def numbers(x: Any) -> Any:
    """Return numbers of any framework as a NumPy array; half precision becomes float32.

    >>> numbers([1.0, 2.0])
    array([1., 2.])
    """
    if hasattr(x, "detach"):
        x = x.detach()
        x = (x.float() if x.itemsize < 4 else x).numpy()
    x = np.asarray(x)
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def read(result: Any) -> Answer:
    """Return the answer in what a run returned: a value, or a value and one gradient or several."""
    if not isinstance(result, tuple):
        return Answer(float(numbers(result)))
    value, grads = result
    several = grads if isinstance(grads, (tuple, list)) else (grads,)
    return Answer(float(numbers(value)), tuple(map(numbers, several)))


@dataclass(frozen=True)
class Contender:
    """What one of the peers runs for a case, by mode, and how what it returns is read.

    Without `read` it is no competitor but a floor: a part of the work that nobody can do without, and no answer.
    """

    runs: Mapping[str, Run]
    read: Callable[[Any], Answer] | None = read


class Problem(Protocol):
    """An opened case: its arrays are in memory."""

    def contender(self, key: str) -> Contender | None:
        """Return what the peer of that key runs, or None if it has nothing for this case."""

    def reference(self) -> Answer | None:
        """Return the right answer, by an independent formula in double precision; None if nothing is to be compared."""


@dataclass(frozen=True)
class Case:
    """A loss at a size, in a type.

    `open` makes the arrays. `moved` is how many bytes a mode must at least move between memory and processor: its
    inputs read once, its gradient written once. `copied` is the size of the array whose copying is measured beside the
    contenders; 0 where memory is not what limits them.
    """

    loss: str
    shape: tuple[int, ...]
    dtype: str
    open: Callable[[], Problem]
    variant: str = ""
    modes: tuple[str, ...] = MODES
    moved: Mapping[str, int] = field(default_factory=dict)
    copied: int = 0

    @property
    def title(self) -> str:
        """The loss, how it differs from the plain one, and the size, in one line."""
        return ", ".join(part for part in (self.loss, self.variant, size_text(self.shape)) if part)


def size_text(shape: tuple[int, ...]) -> str:
    """Write a shape as one types it.

    >>> size_text((2048, 32000))
    '2048x32000'
    """
    return "x".join(map(str, shape))


@dataclass(frozen=True)
class Options:
    """What of a suite is wanted: the type, small sizes or given ones, some of the losses or (none named) all."""

    dtype: str = "float32"
    quick: bool = False
    sizes: tuple[tuple[int, ...], ...] = ()
    losses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Suite:
    """Cases that belong together, and who takes part, by the keys of `benchmarks.peers`.

    `unit` is the one in which the page tells times; `dimensions` is how few and how many a size given by the user may
    have, none where the suite has sizes of its own.
    """

    name: str
    summary: str
    cases: Callable[[Options], list[Case]]
    contenders: tuple[str, ...]
    losses: tuple[str, ...]
    dtypes: tuple[str, ...] = DTYPES
    unit: str = "ms"
    dimensions: tuple[int, int] = (1, 9)

    def check_sizes(self, sizes: tuple[tuple[int, ...], ...]) -> None:
        """Raise `ArgumentError` for a size the suite has no cases of."""
        least, most = self.dimensions
        for shape in sizes:
            if not most:
                raise ArgumentError(f"{self.name}: has sizes of its own; leave --size out")
            if not least <= len(shape) <= most:
                expected = {1: "one number: 1000", 3: "three: 2048x512x32000"}.get(most, "rows x classes: 2048x32000")
                raise ArgumentError(f"{self.name}: --size {size_text(shape)}: expected {expected}")
