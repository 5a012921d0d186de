"""Naive 60-digit margin losses."""
