"""Naive 60-digit metric losses."""
