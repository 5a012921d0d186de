"""Which kernel computes a loss on a device: consulted at a call, never loaded by an import of the package.

A kernel is a function ``evaluate(call, wanted)`` that returns an `Outcome`, or None if this call is not for it (too
small to pay, a type it does not have); then the definition computes it. Losses on numbers and on rows need no entry:
their kernels are generated.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lossary.kernels import thresholds

if TYPE_CHECKING:
    from lossary.catalogue import Loss
    from lossary.catalogue.signatures import Signature


@dataclass(frozen=True)
class Wanted:
    """What a call is to return.

    `value` is the weighted value of each example, their sum (in a wide type, not yet divided), or nothing. `order` is
    that of the derivatives wanted, 0 for none; they are multiplied by the example's weight and by `scale`, the same
    for all, and are exactly 0 where the weight is 0. `weights` has the shape of the batch, or is None. `threads` is how
    many may be used; 0 leaves it to the kernel.
    """

    value: Literal["each", "sum"] | None
    order: int
    weights: Any = None
    scale: float = 1.0
    threads: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a kernel has computed: NumPy arrays of the batch's shape, derivatives of the shape of their arguments."""

    value: Any
    derivatives: tuple[Any, ...]


Kernel = Callable[[Any, Wanted], "Outcome | None"]

# Hand-written kernels: (loss, device) to the module and function that computes it.
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
    ("ctc", "cpu"): ("lossary.kernels.cpu.sequence.ctc", "evaluate"),
    ("rnnt", "cpu"): ("lossary.kernels.cpu.sequence.rnnt", "evaluate"),
    ("linear_chain_crf", "cpu"): ("lossary.kernels.cpu.sequence.crf", "evaluate"),
}

LEAST, LEAST_ROWS = thresholds.POINTWISE_ELEMENTS, thresholds.SOFTMAX_ELEMENTS
SIDE_BY_SIDE = thresholds.SIDE_BY_SIDE_CLASSES

# Half precision as kernels hold it. NumPy has no bfloat16: an array of uint16 holds the bits of such numbers.
HALVES = {np.dtype(np.float16): np.dtype(np.int16), np.dtype(np.uint16): np.dtype(np.uint16)}


def narrow(loss: Loss, signature: Signature) -> tuple[str, ...]:
    """Which arrays of a loss its kernel reads in half precision, as they are stored."""
    if not available() or loss.coupling is not None:
        return ()
    if not signature.rank:
        return loss.arguments
    return loss.arguments[:2] if by_hand(loss)[0] == _ROWS else ()


def by_hand(loss: Loss, device: str = "cpu") -> tuple[str, str]:
    """Return the module and the function of a loss's hand-written kernel on a device; empty if it has none.

    It is that of a loss of the catalogue: another one of the same name computes what its own definition says.
    """
    found = TABLE.get((loss.name, device), ("", ""))
    return found if found[0] and loss.in_catalogue else ("", "")


# ``LOSSARY_KERNELS=off`` computes everything by the definitions, ``LOSSARY_KERNELS=always`` even the smallest arrays by
# kernels. Both are read once, when the first call looks for a kernel.
_SWITCH = os.environ.get("LOSSARY_KERNELS", "")
_AVAILABLE = _SWITCH != "off" and importlib.util.find_spec("numba") is not None


def available() -> bool:
    """Whether kernels can be compiled, and are not switched off."""
    return _AVAILABLE


def least(default: int) -> int:
    """The size, in elements, from which a kernel is used."""
    return 0 if _SWITCH == "always" else default


def find(loss: Loss, device: str = "cpu") -> Kernel | None:
    """Return the kernel of a loss on a device, or None."""
    generated = loss.kernel and loss.coupling is None and any(s.rank < 2 for s in loss.signatures)
    return _find(*by_hand(loss, device), generated, device)


@cache
def _find(module: str, function: str, generated: bool, device: str) -> Kernel | None:
    if not available():
        return None
    if not module and device == "cpu" and generated:
        module, function = "lossary.kernels.cpu.generated_rows", "evaluate"
    return getattr(importlib.import_module(module), function) if module else None
