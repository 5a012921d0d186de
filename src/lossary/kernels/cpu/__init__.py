"""Kernels for the CPU, compiled by Numba (extra `fast`)."""
