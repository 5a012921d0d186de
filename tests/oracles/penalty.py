"""Naive 60-digit penalty losses."""
