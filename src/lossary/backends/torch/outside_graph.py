"""Functions that code compiled by torch calls outside its graph. Importing this module imports the compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


@torch.compiler.disable  # type: ignore[untyped-decorator]
def run(observe: Callable[..., Any], *call: Any) -> None:
    """Call an observer; a compiler breaks its graph here, and the values of the call can be read."""
    observe(*call)
