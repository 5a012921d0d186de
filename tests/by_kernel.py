"""One call computed by kernels and by the definition, whatever its size; and whether a kernel has computed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lossary.catalogue import Loss
from lossary.testing import coverage_of, kernels


def by_kernel(call: Callable[[], Any]) -> Any:
    """Return what a call gives where kernels compute even the smallest arrays."""
    with kernels("always"):
        return call()


def by_definition(call: Callable[[], Any]) -> Any:
    """Return what a call gives where nothing is computed by kernels."""
    with kernels("off"), np.errstate(all="ignore"):
        return call()


@contextmanager
def definition_of(loss: Loss) -> Iterator[Callable[[], bool]]:
    """Watch the definition of a loss inside the block; gives a function that says whether any line of it ran."""
    with coverage_of(loss.define) as all_lines:
        pass
    with coverage_of(loss.define) as missed:
        yield lambda: missed() != all_lines()


def runs_definition(loss: Loss, call: Callable[[], Any]) -> bool:
    """Whether a call runs the definition of a loss where kernels compute even the smallest arrays.

    The first call may trace the definition to generate a kernel of it, so the second one is watched.
    """
    with kernels("always"):
        call()
        with definition_of(loss) as ran:
            call()
        return ran()


def tuple_of(derivatives: Any) -> tuple[Any, ...]:
    """Return the derivatives of one argument, or of several, as a tuple."""
    return derivatives if isinstance(derivatives, tuple) else (derivatives,)
