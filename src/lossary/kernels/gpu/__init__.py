"""Kernels on GPUs: Triton source generated from the definitions of losses."""
