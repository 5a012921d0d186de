"""Metric learning: embeddings of like things near, of unlike things apart."""

from __future__ import annotations

__all__: list[str] = []
