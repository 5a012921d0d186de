"""Losses as JavaScript: the kernel IR printed for a browser or Node, for the explorer and its tests."""
