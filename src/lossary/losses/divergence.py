"""Divergences: how far one distribution is from another."""

from __future__ import annotations

__all__: list[str] = []
