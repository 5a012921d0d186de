"""JAX formulas for the mean of a loss, as a user writes them: optax's functions, or a line of `jax.numpy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import BOTH, VALUE, Contender


def formulas() -> dict[str, Callable[..., Any]]:
    """Return the mean of each loss."""
    import jax.numpy as jnp
    import optax.losses as optax
    from jax.nn import one_hot

    def softmax(logits: Any, target: Any, label_smoothing: float = 0.0, class_weight: Any = None) -> Any:
        if target.ndim < logits.ndim and not label_smoothing and class_weight is None:
            return optax.softmax_cross_entropy_with_integer_labels(logits, target, axis=1).mean()
        if target.ndim < logits.ndim:
            target = one_hot(target, logits.shape[1], dtype=logits.dtype, axis=1)
        if label_smoothing:
            target = optax.smooth_labels(target, label_smoothing, axis=1)
        if class_weight is not None:
            target = target * class_weight.reshape(-1, *[1] * (logits.ndim - 2))
        return optax.softmax_cross_entropy(logits, target, axis=1).mean()

    return {
        "squared_error": lambda pred, target: optax.squared_error(pred, target).mean(),
        "absolute_error": lambda pred, target: jnp.abs(pred - target).mean(),
        "huber": lambda pred, target: optax.huber_loss(pred, target).mean(),
        "smooth_l1": lambda pred, target: optax.huber_loss(pred, target).mean(),  # the same at 1
        "log_cosh": lambda pred, target: optax.log_cosh(pred, target).mean(),
        "pinball": lambda pred, target: jnp.maximum(0.5 * (target - pred), 0.5 * (pred - target)).mean(),
        "poisson_nll": lambda pred, target: (jnp.exp(pred) - target * pred).mean(),
        "binary_cross_entropy_with_logits": lambda z, y: optax.sigmoid_binary_cross_entropy(z, y).mean(),
        "sigmoid_focal": lambda z, y: optax.sigmoid_focal_loss(z, y, gamma=2.0).mean(),
        "softmax_cross_entropy": softmax,
    }


def array(x: Any, dtype: str) -> Any:
    """Return numbers as a JAX array in the given type; float64 has to be allowed first, whole numbers keep theirs."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", dtype == "float64")
    return jnp.asarray(x, jnp.dtype(dtype) if x.dtype.kind == "f" else jnp.int32)


def jitted(function: Callable[..., Any], *given: Any, wrt: int | tuple[int, ...] = 0) -> Contender:
    """Return a contender that evaluates ``function(*given)``, and its gradient with respect to some of the arrays."""
    import jax

    value, both = jax.jit(function), jax.jit(jax.value_and_grad(function, wrt))
    return Contender(
        {
            VALUE: lambda: value(*given).block_until_ready(),
            BOTH: lambda: jax.block_until_ready(both(*given)),
        }
    )
