"""Fused kernels: what a loss computes, in one pass over memory. Optional, and never another home of a formula."""
