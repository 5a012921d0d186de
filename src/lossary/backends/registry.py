"""From an array to its backend. The one door through which the catalogue reaches up."""

from __future__ import annotations

from typing import Any

from lossary.errors import ArgumentError

# Frameworks whose tensors NumPy would convert silently, dropping their gradient on the way.
_FOREIGN = {"jax": "JAX", "jaxlib": "JAX", "tensorflow": "TensorFlow", "mlx": "MLX"}


def lean(loss: Any, arrays: Any, params: Any, reduction: str, check: bool) -> Any:
    """Return what the lean path for plain calls gives as the reduced value, or None if the call is not for it."""
    if not arrays:
        return None
    if is_tensor(arrays[0]):
        from lossary.backends.torch import fast as lean

        return lean.reduced(loss, arrays, params, reduction, check=check)
    done = lean_and_grad(loss, arrays, params, reduction, check, 0)
    return None if done is None else done[0]


def lean_and_grad(loss: Any, arrays: Any, params: Any, reduction: str, check: bool, order: int = 1) -> Any:
    """The same on NumPy arrays, with the derivatives of an order, which tensors leave to autograd."""
    if not arrays or is_tensor(arrays[0]):
        return None
    from lossary.backends.numpy import fast as plain

    return plain.evaluated(loss, arrays, params, reduction, order, check)


def is_tensor(x: Any) -> bool:
    """Whether this is a tensor of torch, told by what it does: a compiler does not see where its class is from."""
    return hasattr(x, "requires_grad") and hasattr(x, "detach")


def to_numpy(x: Any) -> Any:
    """Return any array as one of NumPy's, to be read, printed or written; what is no array is returned as it is."""
    return backend(x).to_numpy(x)


def backend(*arrays: Any) -> Any:
    """Return the backend module for the given arrays."""
    for array in arrays:
        if is_tensor(array):
            from lossary.backends.torch import namespace as torch

            return torch
        if isinstance(array, (int, float)):
            continue  # of no framework, and a compiler does not trace what module its type is from
        framework = _FOREIGN.get(type(array).__module__.partition(".")[0])
        if framework is not None:
            raise ArgumentError(
                f"{framework} arrays are not supported by this version; convert with numpy.asarray(x) "
                "and use the hand-written gradient"
            )
    from lossary.backends.numpy import namespace as numpy

    return numpy


def attend_outside_the_graph(*call: Any) -> None:
    """Look at a call that a compiler traces, where its values can be read."""
    from lossary.backends.torch import outside_graph as torch_compiled

    torch_compiled.attend(*call)
