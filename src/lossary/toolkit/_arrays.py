"""Conversion of the helpers' array arguments."""

from __future__ import annotations

from typing import Any


def first_array(*arguments: Any) -> Any:
    """Return the first argument that is an array, rather than a list or a number, or None: it decides the device."""
    return next((x for x in arguments if hasattr(x, "dtype")), None)
