"""The NumPy backend: implements `lossary.backends.protocol` for NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lossary.backends.numpy import fast
from lossary.backends.numpy import namespace as xp
from lossary.backends.numpy.execute import by_kernel as by_kernel
from lossary.backends.numpy.execute import deliver as deliver
from lossary.backends.numpy.execute import evaluate as evaluate
from lossary.backends.numpy.execute import outputs as outputs
from lossary.backends.numpy.execute import stored_narrow as stored_narrow

__all__ = [
    "by_kernel",
    "deliver",
    "evaluate",
    "fast_value",
    "fast_value_and_grad",
    "observe_outside_graph",
    "outputs",
    "stored_narrow",
    "xp",
]


def fast_value(loss: Any, arrays: Any, params: Any, reduction: str, check: bool) -> Any:
    """Return the reduced value from the call cache; None if the call takes the general path."""
    done = fast.evaluated(loss, arrays, params, reduction, (), check)
    return None if done is None else done[0]


def fast_value_and_grad(loss: Any, arrays: Any, params: Any, reduction: str, check: bool) -> Any:
    """Return the reduced value and the gradients from the call cache; None if the call takes the general path."""
    return fast.evaluated(loss, arrays, params, reduction, (1,), check)


def observe_outside_graph(observe: Callable[..., Any], *call: Any) -> None:
    """Run an observer of calls: no compiler traces NumPy operations."""
    observe(*call)
