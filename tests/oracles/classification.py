"""Naive 60-digit classification losses."""
