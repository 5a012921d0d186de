"""Measure softmax cross-entropy, value + gradient + mean: the row kernel, PyTorch eager, torch.compile, on the CPU.

    .venv/bin/python benchmarks/rows.py                   # all cases; prints a Markdown table
    .venv/bin/python benchmarks/rows.py --seconds 1 --case 16384x1000 --options

All contenders run in one process on the same arrays and take turns; after warming up, the median over the rounds
counts. Their results are compared before anything is timed. The last column is the traffic of the kernel, logits read
once and gradient written once, as a fraction of what copying an array of that size achieves here and now.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import lossary
from lossary.kernels.cpu import rows

Run = Callable[[], tuple[Any, Any]]
CASES: dict[str, tuple[int, ...]] = {
    "2048x32000": (2048, 32000),
    "512x128256": (512, 128256),
    "16384x1000": (16384, 1000),
    "65536x10": (65536, 10),
    "8x21x512x512": (8, 21, 512, 512),
}
OURS, FILLED = "Lossary", "Lossary, out given"


def arrays(shape: tuple[int, ...], dtype: str) -> tuple[Any, Any]:
    """Ordinary logits, the classes on axis 1, and labels; the same every time."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator, dtype=torch.float32).to(getattr(torch, dtype))
    labels = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    return logits, labels


def contenders(shape: tuple[int, ...], dtype: str, options: bool) -> dict[str, Run]:
    """Return what computes the mean and its gradient, by who does it."""
    torch._dynamo.reset()  # shapes of earlier cases would count as recompilations
    logits, labels = arrays(shape, dtype)
    weight = torch.linspace(0.5, 2, shape[1]).to(logits.dtype) if options else None
    smoothing = 0.1 if options else 0.0
    count = labels.numel()

    def theirs(z: Any, y: Any) -> Any:
        # A sum over all rows: torch's mean divides by the weights of the labels, ours by the number of rows.
        loss = torch.nn.functional.cross_entropy(z, y, weight=weight, label_smoothing=smoothing, reduction="sum")
        return loss / count

    def differentiate(function: Any) -> Run:
        def run() -> tuple[Any, Any]:
            leaf = logits.detach().requires_grad_()
            value = function(leaf, labels)
            (grad,) = torch.autograd.grad(value, leaf)
            return value.detach(), grad

        return run

    runs: dict[str, Run] = {
        "torch eager": differentiate(theirs),
        "torch.compile": differentiate(torch.compile(theirs, dynamic=False)),
    }
    if dtype != "bfloat16":
        held, indices = np.moveaxis(logits.numpy(), 1, -1), labels.numpy()
        params: dict[str, Any] = {"label_smoothing": smoothing}
        if weight is not None:
            params["class_weight"] = weight.numpy()

        def ours() -> tuple[Any, Any]:
            value, grad = lossary.softmax_cross_entropy.value_and_grad(held, indices, reduction="mean", **params)
            return torch.tensor(value), torch.from_numpy(np.moveaxis(grad, -1, 1))

        runs[OURS] = ours
        if len(shape) == 2:
            out = np.zeros(shape, held.dtype)
            plan = rows.Plan(class_weight=params.get("class_weight"), smoothing=smoothing)

            def filled() -> tuple[Any, Any]:
                done = rows.softmax_rows(held, indices, plan, dtype=held.dtype, scale=1 / count, out=out)
                return torch.tensor(done.values.mean(dtype=np.float64)), torch.from_numpy(done.grad)

            runs[FILLED] = filled

    def through_torch(z: Any, y: Any) -> Any:
        params = {"label_smoothing": smoothing} | ({} if weight is None else {"class_weight": weight})
        return lossary.softmax_cross_entropy(z.movedim(1, -1), y, **params).sum() / count

    runs["Lossary on tensors"] = differentiate(through_torch)
    return runs


def agree(results: dict[str, tuple[Any, Any]]) -> None:
    """Raise if two contenders compute different things: only equals can be compared."""
    (value, grad), *others = results.values()
    tolerance = 2e-2 if grad.dtype == torch.bfloat16 else 1e-3
    for other, other_grad in others:
        torch.testing.assert_close(other.double(), value.double(), rtol=tolerance, atol=0)
        most = float(grad.abs().max())
        torch.testing.assert_close(other_grad, grad, rtol=tolerance, atol=1e-5 * most, check_dtype=False)


def medians(runs: dict[str, Run], seconds: float) -> dict[str, float]:
    """Return the median time of a call, in milliseconds; the contenders take turns for the given time each."""
    agree({name: run() for name, run in runs.items()})
    spent: dict[str, list[float]] = {name: [] for name in runs}
    finish = time.perf_counter() + seconds * len(runs)
    while time.perf_counter() < finish or min(map(len, spent.values())) < 3:
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            spent[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(times) for name, times in spent.items()}


def copying(nbytes: int) -> float:
    """Return how long copying an array of this size takes, in milliseconds, both arrays being there."""
    source, target = torch.ones(nbytes // 4), torch.ones(nbytes // 4)
    times = []
    for _ in range(7):
        start = time.perf_counter()
        target.copy_(source)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    """Print one row per case and contender."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", choices=CASES, action="append", help="a shape, may be repeated; all if not given")
    parser.add_argument("--dtype", choices=["float32", "float64", "bfloat16"], default="float32")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each contender of a case")
    parser.add_argument("--options", action="store_true", help="with class weights and label smoothing")
    asked = parser.parse_args()
    print("| case | who | ms | torch eager / it | torch.compile / it | of copy bandwidth |")
    print("|---|---|---|---|---|---|")
    for name in asked.case or CASES:
        runs = contenders(CASES[name], asked.dtype, asked.options)
        found = medians(runs, asked.seconds)
        floor = copying(int(np.prod(CASES[name])) * torch.empty(0, dtype=getattr(torch, asked.dtype)).itemsize)
        for who, spent in found.items():
            eager, compiled = found["torch eager"] / spent, found["torch.compile"] / spent
            share = f"{floor / spent:.0%}" if who.startswith("Lossary") else ""
            print(f"| {name} | {who} | {spent:.2f} | {eager:.1f} | {compiled:.2f} | {share} |")


if __name__ == "__main__":
    main()
