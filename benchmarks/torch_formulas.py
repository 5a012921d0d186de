"""PyTorch formulas for the mean of a loss, as a user writes them, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.cases import BOTH, VALUE, Contender


def formulas() -> dict[str, Callable[..., Any]]:
    """Return the mean of each loss: the function PyTorch has, or the formula one finds in tutorials."""
    import torch

    F = torch.nn.functional

    def focal(logits: Any, target: Any) -> Any:
        probability = torch.sigmoid(logits)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        right = probability * target + (1 - probability) * (1 - target)
        return (cross_entropy * (1 - right) ** 2).mean()

    def pinball(pred: Any, target: Any) -> Any:
        residual = target - pred
        return torch.maximum(0.5 * residual, -0.5 * residual).mean()

    def log_cosh(pred: Any, target: Any) -> Any:
        residual = pred - target
        return (residual + F.softplus(-2 * residual) - 0.6931471805599453).mean()

    def softmax(logits: Any, target: Any, label_smoothing: float = 0.0, class_weight: Any = None) -> Any:
        if class_weight is None:
            return F.cross_entropy(logits, target, label_smoothing=label_smoothing)
        # A sum over all rows: torch's mean divides by the weights of the labels, ours by the number of rows.
        cost = F.cross_entropy(logits, target, class_weight, label_smoothing=label_smoothing, reduction="sum")
        return cost / (logits.numel() // logits.shape[1])

    return {
        "squared_error": F.mse_loss,
        "absolute_error": F.l1_loss,
        "huber": F.huber_loss,
        "smooth_l1": F.smooth_l1_loss,
        "log_cosh": log_cosh,
        "pinball": pinball,
        "poisson_nll": F.poisson_nll_loss,
        "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
        "sigmoid_focal": focal,
        "softmax_cross_entropy": softmax,
    }


def tensor(x: Any, dtype: str) -> Any:
    """Return an array as a tensor, numbers in the given type, everything else as it is."""
    import torch

    found = torch.from_numpy(x)
    return found.to(getattr(torch, dtype)) if found.is_floating_point() else found


def differentiated(function: Callable[..., Any], *leaves: Any) -> Contender:
    """Return a contender that evaluates ``function(*leaves)``, and its gradient with respect to them by autograd."""
    import torch

    def both() -> tuple[Any, Sequence[Any]]:
        wanted = [leaf.detach().requires_grad_() for leaf in leaves]
        value = function(*wanted)
        return value.detach(), torch.autograd.grad(value, wanted)

    return Contender({VALUE: lambda: function(*leaves), BOTH: both})


def compiled(function: Callable[..., Any], *leaves: Any) -> Contender:
    """Return the same after `torch.compile`."""
    import torch

    torch._dynamo.reset()  # what earlier cases compiled would count as recompilations of the same code
    return differentiated(torch.compile(function, dynamic=False), *leaves)
