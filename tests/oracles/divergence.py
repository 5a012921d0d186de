"""Naive 60-digit divergence losses."""
