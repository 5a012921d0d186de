"""Fused kernels: compute a loss and its derivatives in one pass over memory. Optional; definitions stay the source."""
