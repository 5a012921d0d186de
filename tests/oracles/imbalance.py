"""Naive 60-digit imbalance losses."""
