"""Classification: scores, logits or probabilities of classes, and labels."""

from __future__ import annotations

__all__: list[str] = []
