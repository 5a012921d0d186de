"""The default kernel of a pointwise or row loss: generated from its definition."""

from __future__ import annotations

from typing import Any

from lossary.kernels.cpu import generated_pointwise, generated_rows
from lossary.kernels.request import BoundKernel, DenseCalls, Request, Result
from lossary.kernels.thresholds import ROW_ELEMENTS


class GeneratedKernel:
    """Pointwise losses go to loops over elements, losses on rows to loops over tiles of rows."""

    def bind(self, calls: DenseCalls) -> BoundKernel | None:
        """Return the kernel bound to what some calls share, or None if there is none."""
        rank = calls.loss.signatures[calls.alternative].rank
        return generated_rows.bind(calls) if rank else generated_pointwise.bind(calls)

    def run(self, call: Any, request: Request, smallest: int = ROW_ELEMENTS) -> Result | None:
        """Compute a call on NumPy arrays, or return None if it is not for a kernel."""
        if not call.signature.rank:
            return generated_pointwise.run(call, request)
        return generated_rows.run(call, request, smallest)


KERNEL = GeneratedKernel()
