"""Segmentation: overlap of a predicted region with the true one."""

from __future__ import annotations

__all__: list[str] = []
