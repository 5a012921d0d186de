"""From an array to its backend. The one door through which the catalogue reaches up."""

from __future__ import annotations

from typing import Any

from lossary.errors import ArgumentError

# Frameworks whose tensors NumPy would convert silently, dropping their gradient on the way.
_FOREIGN = {"jax": "JAX", "jaxlib": "JAX", "tensorflow": "TensorFlow", "mlx": "MLX"}


def backend(*arrays: Any) -> Any:
    """Return the backend module for the given arrays."""
    for array in arrays:
        if hasattr(array, "requires_grad") and hasattr(array, "detach"):
            # A tensor of torch, told by what it does: a compiler does not see which module a parameter's class is from.
            from lossary.backends import torch

            return torch
        framework = _FOREIGN.get(type(array).__module__.partition(".")[0])
        if framework is not None:
            raise ArgumentError(
                f"{framework} arrays are not supported by this version; convert with numpy.asarray(x) "
                "and use the hand-written gradient"
            )
    from lossary.backends import numpy

    return numpy
