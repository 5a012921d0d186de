"""Registry of kernels: finds the kernel of a loss on a device, and imports its module at the first call.

Losses on numbers and on rows need no entry: their kernels are generated. Where no kernel takes a call (too small to
pay, a dtype it does not have), the definition computes it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from lossary.kernels import thresholds
from lossary.kernels.request import BoundKernel, DenseCalls, Kernel, KernelMissingError, Request, Result

if TYPE_CHECKING:
    from lossary.catalogue import Loss
    from lossary.catalogue.signatures import Signature


@dataclass(frozen=True)
class Device:
    """The kernels of a device: what compiles them, the module and name of the default one, what it is given.

    Kernels are given arrays as memory that NumPy holds, or the tensors themselves; the latter wait for no device.
    """

    package: str
    default: tuple[str, str]
    given: Literal["memory", "tensors"]


# The devices that have kernels, by the name that the framework of the arrays gives them.
DEVICES = {
    "cpu": Device("numba", ("lossary.kernels.cpu.generated", "KERNEL"), "memory"),
    "cuda": Device("triton", ("lossary.kernels.gpu.generated", "KERNEL"), "tensors"),
}

# Hand-written kernels: (loss, device) to the module and the name of the kernel in it.
_ROWS = "lossary.kernels.cpu.softmax.losses"
TABLE: dict[tuple[str, str], tuple[str, str]] = {
    ("softmax_cross_entropy", "cpu"): (_ROWS, "cross_entropy"),
    ("softmax_focal", "cpu"): (_ROWS, "focal"),
    ("poly_loss", "cpu"): (_ROWS, "poly"),
    ("generalized_cross_entropy", "cpu"): (_ROWS, "power"),
    ("logit_adjusted", "cpu"): (_ROWS, "adjusted"),
    ("class_balanced", "cpu"): (_ROWS, "balanced"),
    ("arcface", "cpu"): (_ROWS, "angular"),
    ("cosface", "cpu"): (_ROWS, "cosine"),
    ("ctc", "cpu"): ("lossary.kernels.cpu.sequence.ctc", "KERNEL"),
    ("rnnt", "cpu"): ("lossary.kernels.cpu.sequence.rnnt", "KERNEL"),
    ("linear_chain_crf", "cpu"): ("lossary.kernels.cpu.sequence.crf", "KERNEL"),
}

LEAST, LEAST_ROWS = thresholds.POINTWISE_ELEMENTS, thresholds.SOFTMAX_ELEMENTS
SIDE_BY_SIDE = thresholds.SIDE_BY_SIDE_CLASSES


def narrow(loss: Loss, signature: Signature, device: str = "cpu") -> tuple[str, ...]:
    """Which arrays of a loss its kernel reads in half precision, as they are stored."""
    if not available(device) or loss.coupling is not None:
        return ()
    if not signature.rank or DEVICES[device].given == "tensors":
        return loss.arguments
    return loss.arguments[:2] if by_hand(loss)[0] == _ROWS else ()


def by_hand(loss: Loss, device: str = "cpu") -> tuple[str, str]:
    """Return the module and the name of a loss's hand-written kernel on a device; empty if it has none.

    It is that of a loss of the catalogue: another one of the same name computes what its own definition says.
    """
    found = TABLE.get((loss.name, device), ("", ""))
    return found if found[0] and loss.in_catalogue else ("", "")


# ``LOSSARY_KERNELS=off`` computes everything by the definitions, ``LOSSARY_KERNELS=always`` even the smallest arrays by
# kernels. It is read once, when the first call looks for a kernel; `lossary.testing.kernels` changes it afterwards.
_switch = os.environ.get("LOSSARY_KERNELS", "")
_COMPILED = {name for name, device in DEVICES.items() if importlib.util.find_spec(device.package) is not None}
# Where there is no compiler, LLVM alone loads the kernels that came with the package.
_INSTALLED = _COMPILED | ({"cpu"} if importlib.util.find_spec("llvmlite") is not None else set())
# The devices whose tensors the kernels of another device compute, for tests (`lossary.testing.kernels`).
_served: dict[str, str] = {}


def serve(device: str, by: str) -> str:
    """Let the kernels of a device compute the tensors of another; return what was in force."""
    before = serving(device)
    _served[device] = by
    return before


def serving(device: str) -> str:
    """The device whose kernels compute tensors of a device: nearly always itself."""
    return _served.get(device, device)


def switch(when: str) -> str:
    """Use kernels "off", "always", or from the sizes where they pay (""); return what was in force."""
    global _switch
    before, _switch = _switch, when
    return before


def available(device: str = "cpu") -> bool:
    """Whether a device has kernels, and they can be compiled or loaded and are not switched off."""
    return device in _INSTALLED and _switch != "off"


def compiles(device: str = "cpu") -> bool:
    """Whether any kernel of a device can be made: whoever takes one without `find` must not find it missing."""
    return device in _COMPILED and _switch != "off"


def least(default: int) -> int:
    """The size, in elements, from which a kernel is used."""
    return 0 if _switch == "always" else default


def find(loss: Loss, device: str = "cpu") -> Kernel | None:
    """Return the kernel of a loss on a device, or None."""
    if not available(device):
        return None
    return _find(*by_hand(loss, device), has_default(loss), device)


def has_default(loss: Loss) -> bool:
    """Whether the default kernel of a device is one of a loss: it is generated from the definition."""
    return loss.kernel and loss.coupling is None and any(s.rank < 2 for s in loss.signatures)


@cache
def _find(module: str, name: str, generated: bool, device: str) -> Kernel | None:
    if not module and generated:
        module, name = DEVICES[device].default
    if not module:
        return None
    found: Kernel = getattr(importlib.import_module(module), name)
    return found if device in _COMPILED else _Prebuilt(found)


@dataclass(frozen=True)
class _Prebuilt:
    """A kernel whose variants have come with the package, or are not there: those are left to the definition."""

    kernel: Kernel

    def bind(self, calls: DenseCalls) -> BoundKernel | None:
        """Return the bound kernel, if its variant is there."""
        try:
            return self.kernel.bind(calls)
        except KernelMissingError:
            return None

    def run(self, call: Any, request: Request) -> Result | None:
        """Compute a call, if its variant is there."""
        try:
            return self.kernel.run(call, request)
        except KernelMissingError:
            return None
