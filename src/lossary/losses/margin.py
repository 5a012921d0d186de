"""Margins: a score and a sign, or one score per class; what counts is by how much the right answer wins."""

from __future__ import annotations

__all__: list[str] = []
