"""Likelihoods: the negative log of a density or a probability mass, as a function of its parameters."""

from __future__ import annotations

__all__: list[str] = []
