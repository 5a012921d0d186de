"""How many operations of PyTorch a call runs: a call that a kernel computes runs few, whatever way leads to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import lossary
from lossary.testing import kernels


def operations(call: Callable[[], Any]) -> int:
    """The operations of a call that was made before, without what its checks for misuse take."""
    with lossary.checks("off"):
        for _ in range(2):
            call()
        with torch.autograd.profiler.profile(use_kineto=True) as profile:
            call()
    return sum(event.name.startswith("aten::") for event in profile.function_events)


def takes_fast_path(call: Callable[[], Any]) -> bool:
    """Whether a call runs less than a third of the operations that its definition takes."""
    found = operations(call)
    with kernels("off"):
        return 3 * found < operations(call)
