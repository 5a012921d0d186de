"""Heuristic misuse checks on sampled calls, and the warnings they give once per call site."""
