"""Registration of the built-in frameworks: how each recognises its arrays, and which module holds its backend.

Adding a framework is one folder beside this module and one registration below.
"""

from __future__ import annotations

import sys
from typing import Any

from lossary.backends import registry
from lossary.backends.protocol import Backend
from lossary.backends.registry import Framework


def _is_tensor(x: Any) -> bool:
    # Recognised by its attributes: a compiler does not see which module its class is from.
    return hasattr(x, "requires_grad") and hasattr(x, "detach")


def _torch() -> Backend:
    from lossary.backends.torch import backend

    return backend


def _numpy() -> Backend:
    from lossary.backends.numpy import backend

    return backend


def _torch_is_compiling() -> bool:
    # A process may call a loss for the first time inside a compiled function, before torch's backend is imported.
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.compiler.is_compiling())


def register() -> None:
    """Register every framework; `lossary` does so once, when it is imported."""
    registry.register(Framework("numpy", lambda x: False, _numpy), default=True)
    registry.register(Framework("torch", _is_tensor, _torch))
    for package, name in {"jax": "JAX", "jaxlib": "JAX", "tensorflow": "TensorFlow", "mlx": "MLX"}.items():
        registry.register_unsupported(package, name)
    registry.is_tracing = registry.is_compiling = _torch_is_compiling
