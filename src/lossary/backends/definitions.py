"""A backend made from an array namespace alone: runs definitions, without kernels and without a fast path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from lossary.backends.protocol import Operations
from lossary.errors import ArgumentError


@dataclass(frozen=True)
class DefinitionBackend:
    """Runs every definition on one array namespace, such as a sharded one, or a strict one in a test."""

    xp: Operations

    def evaluate(self, call: Any) -> Any:
        """Return a call's values as the definition yields them."""
        return call.evaluate()

    def by_kernel(self, call: Any, value: Any, orders: tuple[int, ...], scale: Any, finish: Any) -> None:
        """Return None: there is no kernel."""

    def stored_narrow(self, loss: Any, signature: Any, arrays: Any) -> tuple[str, ...]:
        """Return no names: no kernel reads an array in half precision."""
        return ()

    def fast_value(self, loss: Any, arrays: Any, params: Any, reduction: str, check: bool) -> None:
        """Return None: there is no call cache."""

    def fast_value_and_grad(self, loss: Any, arrays: Any, params: Any, reduction: str, check: bool) -> None:
        """Return None: there is no call cache."""

    def outputs(self, call: Any, out: Any) -> NoReturn:
        """Reject arrays for gradients."""
        raise ArgumentError(f"{call.loss.name}: out: is for NumPy arrays")

    def deliver(self, grads: Any, buffers: Any) -> NoReturn:
        """Reject gradients: `outputs` has accepted no array for them."""
        raise NotImplementedError

    def observe_outside_graph(self, observe: Callable[..., Any], *call: Any) -> None:
        """Run an observer of calls at once."""
        observe(*call)
