"""Naive 60-digit segmentation losses."""
