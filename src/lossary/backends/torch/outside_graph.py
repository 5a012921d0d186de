"""What a function compiled by torch calls outside of its graph. Importing this imports the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


@torch.compiler.disable  # type: ignore[untyped-decorator]
def run(observe: Callable[..., Any], *call: Any) -> None:
    """Call an observer; a compiler breaks its graph here, and the values of the call can be read."""
    observe(*call)
