"""Naive 60-digit likelihood losses."""
