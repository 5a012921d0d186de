"""Measure pointwise losses, value + gradient + mean: generated kernels, NumPy formulas, PyTorch eager, torch.compile.

    .venv/bin/python benchmarks/kernels.py                          # 16.8 million float32; prints a Markdown table
    .venv/bin/python benchmarks/kernels.py --size 1000 --seconds 1 --loss huber --dtype float64

All contenders run in one process on the same arrays and take turns; after warming up, the median over the rounds
counts. Their results are compared before anything is timed. The last column is the kernel's own traffic, inputs read
once and gradient written once, as a fraction of what copying achieves here and now.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from bench import NAIVE
from rows import copying, medians

import lossary

Run = Callable[[], tuple[Any, Any]]
OURS, TORCH = "Lossary, NumPy", "Lossary, torch"
F = torch.nn.functional


def focal(logits: Any, target: Any) -> Any:
    """The focal loss of torchvision with gamma 2, no alpha."""
    probability = torch.sigmoid(logits)
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    right = probability * target + (1 - probability) * (1 - target)
    return (cross_entropy * (1 - right) ** 2).mean()


def pinball(pred: Any, target: Any) -> Any:
    """The tilted absolute error of a median."""
    residual = target - pred
    return torch.maximum(0.5 * residual, -0.5 * residual).mean()


def log_cosh(pred: Any, target: Any) -> Any:
    """As it is commonly written: exact for large residuals."""
    residual = pred - target
    return (residual + F.softplus(-2 * residual) - 0.6931471805599453).mean()


# What one writes with PyTorch for the mean.
THEIRS: dict[str, Callable[[Any, Any], Any]] = {
    "squared_error": F.mse_loss,
    "absolute_error": F.l1_loss,
    "huber": F.huber_loss,
    "smooth_l1": F.smooth_l1_loss,
    "log_cosh": log_cosh,
    "pinball": pinball,
    "poisson_nll": F.poisson_nll_loss,
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
    "sigmoid_focal": focal,
}


def arrays(name: str, size: int, dtype: str) -> tuple[Any, Any]:
    """Ordinary inputs, the same every time."""
    rng = np.random.default_rng(0)
    pred = rng.standard_normal(size).astype(dtype)
    allowed = lossary.get(name).domain("target")
    if allowed.kind == "count":
        return pred, rng.poisson(2.0, size).astype(dtype)
    return pred, (rng.random(size) < 0.5 if allowed.bounded else rng.standard_normal(size)).astype(dtype)


def contenders(name: str, size: int, dtype: str, compiled: bool) -> dict[str, Run]:
    """Return what computes the mean and its gradient, by who does it."""
    loss = lossary.get(name)
    pred, target = arrays(name, size, dtype)
    leaf_of, goal = torch.from_numpy(pred), torch.from_numpy(target)

    def differentiate(function: Callable[[Any, Any], Any]) -> Run:
        def run() -> tuple[Any, Any]:
            leaf = leaf_of.detach().requires_grad_()
            value = function(leaf, goal)
            (grad,) = torch.autograd.grad(value, leaf)
            return value.detach(), grad

        return run

    def numpy() -> tuple[Any, Any]:
        value, grad = loss.value_and_grad(pred, target, reduction="mean")
        return torch.tensor(value), torch.from_numpy(grad)

    def formula() -> tuple[Any, Any]:
        value, grad = NAIVE[name](pred, target)
        return torch.tensor(value), torch.from_numpy(grad)

    def ours(leaf: Any, goal: Any) -> Any:
        return lossary.transforms.value(loss, leaf, goal, reduction="mean")

    runs = {OURS: numpy, TORCH: differentiate(ours), "PyTorch eager": differentiate(THEIRS[name])}
    if name in NAIVE:
        runs["NumPy formula"] = formula
    if compiled:
        runs["torch.compile"] = differentiate(torch.compile(THEIRS[name]))
    return runs


def main() -> None:
    """Measure the chosen losses and print a table of milliseconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss", choices=sorted(THEIRS), action="append", help="measure only this one")
    parser.add_argument("--size", type=int, default=1 << 24)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each case")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    chosen = parser.parse_args()
    nbytes = chosen.size * np.dtype(chosen.dtype).itemsize
    copied = copying(nbytes)  # reads and writes as much
    speed = 2e-6 * nbytes / copied
    print(f"{torch.get_num_threads()} threads, {chosen.size} {chosen.dtype}, copying {speed:.1f} GB/s\n")
    head: list[str] = []
    for name in chosen.loss or THEIRS:
        runs = contenders(name, chosen.size, chosen.dtype, not chosen.no_compile)
        found = medians(runs, chosen.seconds)
        if not head:
            head = [
                OURS,
                TORCH,
                "PyTorch eager",
                *(["torch.compile"] if not chosen.no_compile else []),
                "NumPy formula",
            ]
            print("| milliseconds | " + " | ".join(head) + " | of copying |\n|---|" + "---|" * (len(head) + 1))
        best = found[OURS]
        cells = [
            (f"{found[who]:.3g}" + (f" ({found[who] / best:.1f}x)" if who != OURS else "") if who in found else "")
            for who in head
        ]
        print(f"| {name} | " + " | ".join(cells) + f" | {1.5 * copied / best:.2f} |", flush=True)


if __name__ == "__main__":
    main()
