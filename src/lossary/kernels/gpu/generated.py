"""The default kernel of a pointwise or row loss on a GPU: generated from its definition."""

from __future__ import annotations

from typing import Any

from lossary.kernels.gpu import pointwise, rows
from lossary.kernels.request import DenseCalls, Request, Result


class TritonKernel:
    """Computes prepared calls on tensors: pointwise losses by element, losses on rows by row."""

    def bind(self, calls: DenseCalls) -> None:
        """Return None: the call cache keeps addresses in the memory of the CPU."""

    def run(self, call: Any, request: Request) -> Result | None:
        """Compute a call on tensors, or return None if it is not for a kernel."""
        return rows.run(call, request) if call.signature.rank else pointwise.run(call, request)


KERNEL = TritonKernel()
