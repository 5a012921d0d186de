"""Class imbalance: rare classes and hard examples given their due."""

from __future__ import annotations

__all__: list[str] = []
