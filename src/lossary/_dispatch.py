"""From an array to its backend. The one door through which the catalogue reaches up."""

from __future__ import annotations

from typing import Any

from lossary.errors import ArgumentError

# Frameworks whose tensors NumPy would convert silently, dropping their gradient on the way.
_FOREIGN = {"torch": "PyTorch", "jax": "JAX", "jaxlib": "JAX", "tensorflow": "TensorFlow", "mlx": "MLX"}


def backend(*arrays: Any) -> Any:
    """Return the backend module for the given arrays."""
    for array in arrays:
        framework = _FOREIGN.get(type(array).__module__.partition(".")[0])
        if framework is not None:
            raise ArgumentError(
                f"{framework} arrays are not supported by this version; convert with numpy.asarray(x) "
                "(a PyTorch tensor: x.detach().cpu().numpy()) and use the hand-written gradient"
            )
    from lossary.backends import numpy

    return numpy
