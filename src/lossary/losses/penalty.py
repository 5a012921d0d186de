"""Penalties: the size of parameters, to be added to a loss of data."""

from __future__ import annotations

__all__: list[str] = []
