"""Measure value, gradient and mean of a few losses: Lossary on NumPy, naive NumPy formulas, PyTorch eager on the CPU.

    make bench                                        # writes benchmarks/results/bench.md and bench.json
    .venv/bin/python benchmarks/bench.py --quick      # small arrays, prints only

All contenders run in one process on the same arrays and take turns, so that a slow moment of the machine meets all of
them; after warming up, the median over the rounds counts. Before anything is timed their results are compared.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lossary

RESULTS = Path(__file__).resolve().parent / "results"
Run = Callable[[], tuple[Any, Any]]


# --- the contenders -------------------------------------------------------------------------------------------------
# The naive formulas are what one writes from a textbook, correct for ordinary inputs; that is what they are here for.


def naive_squared_error(pred: Any, target: Any) -> tuple[Any, Any]:
    residual = pred - target
    return (residual**2).mean(), 2 * residual / pred.size


def naive_huber(pred: Any, target: Any) -> tuple[Any, Any]:
    residual = pred - target
    value = np.where(np.abs(residual) <= 1, 0.5 * residual**2, np.abs(residual) - 0.5)
    return value.mean(), np.clip(residual, -1, 1) / pred.size


def naive_log_cosh(pred: Any, target: Any) -> tuple[Any, Any]:
    residual = pred - target
    return np.log(np.cosh(residual)).mean(), np.tanh(residual) / pred.size


def naive_binary_cross_entropy_with_logits(logits: Any, target: Any) -> tuple[Any, Any]:
    probability = 1 / (1 + np.exp(-logits))
    value = -target * np.log(probability) - (1 - target) * np.log(1 - probability)
    return value.mean(), (probability - target) / logits.size


def naive_softmax_cross_entropy(logits: Any, labels: Any) -> tuple[Any, Any]:
    exponentials = np.exp(logits)
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    value = -np.log(probabilities[rows, labels]).mean()
    probabilities[rows, labels] -= 1
    return value, probabilities / len(labels)


NAIVE = {
    "squared_error": naive_squared_error,
    "huber": naive_huber,
    "log_cosh": naive_log_cosh,
    "binary_cross_entropy_with_logits": naive_binary_cross_entropy_with_logits,
    "softmax_cross_entropy": naive_softmax_cross_entropy,
}
TORCH = {
    "squared_error": "mse_loss",
    "huber": "huber_loss",
    "binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits",
    "softmax_cross_entropy": "cross_entropy",
}


def contenders(name: str, arrays: list[Any]) -> dict[str, Run]:
    """Return what computes the mean of a loss and its gradient, by who does it."""
    loss = lossary.get(name)
    runs: dict[str, Run] = {
        "Lossary": lambda: loss.value_and_grad(*arrays, reduction="mean"),
        "naive NumPy": lambda: NAIVE[name](*arrays),
    }
    if name in TORCH and importlib.util.find_spec("torch"):
        import torch

        function = getattr(torch.nn.functional, TORCH[name])
        pred, target = (torch.from_numpy(a) for a in arrays)

        def eager() -> tuple[Any, Any]:
            leaf = pred.detach().requires_grad_()
            value = function(leaf, target)
            (grad,) = torch.autograd.grad(value, leaf)
            return value.detach().numpy(), grad.numpy()

        runs["PyTorch eager"] = eager
    return runs


# --- the measurement ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A loss at a size: the shape of what is predicted."""

    loss: str
    shape: tuple[int, ...]

    def arrays(self) -> list[Any]:
        """Ordinary float32 inputs, the same every time."""
        rng = np.random.default_rng(0)
        pred = rng.standard_normal(self.shape).astype(np.float32)
        if len(self.shape) == 2:
            return [pred, rng.integers(0, self.shape[1], self.shape[0])]
        if self.loss.startswith("binary"):
            return [pred, (rng.random(self.shape) < 0.5).astype(np.float32)]
        return [pred, rng.standard_normal(self.shape).astype(np.float32)]


def cases(quick: bool) -> list[Case]:
    """Return the losses and sizes to measure."""
    pointwise = (1_000, 10_000) if quick else (1_000, 1_000_000, 16_777_216)
    rows = ((64, 10), (32, 1_000)) if quick else ((256, 10), (65_536, 10), (16_384, 1_000), (1_024, 32_000))
    found = [Case(name, (n,)) for name in NAIVE if name != "softmax_cross_entropy" for n in pointwise]
    return found + [Case("softmax_cross_entropy", shape) for shape in rows]


def agree(results: list[tuple[Any, Any]]) -> None:
    """Raise if two contenders compute different things: only equals can be compared."""
    value, grad = results[0]
    for other, other_grad in results[1:]:
        np.testing.assert_allclose(value, other, rtol=1e-3)
        np.testing.assert_allclose(grad, other_grad, rtol=1e-3, atol=1e-5 * float(np.abs(other_grad).max()))


def measure(case: Case, seconds: float) -> dict[str, float]:
    """Return the median time of a call in seconds, by contender; each gets about the given time."""
    runs = contenders(case.loss, case.arrays())
    agree([run() for run in runs.values()])
    slowest = 0.0
    for run in runs.values():  # the second call is warm: its time says how many calls make a round
        start = time.perf_counter()
        run()
        slowest = max(slowest, time.perf_counter() - start)
    repeat = max(1, math.ceil(1e-3 / slowest))
    rounds = int(min(200, max(7, seconds / (repeat * slowest))))
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            run = runs[name]
            start = time.perf_counter()
            for _ in range(repeat):
                run()
            times[name].append((time.perf_counter() - start) / repeat)
    return {name: statistics.median(taken) for name, taken in times.items()}


def machine() -> dict[str, str]:
    """Return what the figures depend on: processor, cores and versions."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = next((ln.split(":")[1].strip() for ln in info.read_text().splitlines() if "model name" in ln), model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    known = {
        "processor": model,
        "cores": str(cores),
        "system": platform.system(),
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "Lossary": lossary.__version__,
    }
    if "torch" in sys.modules:
        known["PyTorch"] = f"{sys.modules['torch'].__version__} ({sys.modules['torch'].get_num_threads()} threads)"
    return known


def markdown(rows: list[tuple[Case, dict[str, float]]]) -> str:
    """Return the table of the measurements."""
    lines = [
        "# Value, gradient and mean",
        "",
        "float32, median milliseconds of a call, contenders alternating in one process; made by `make bench`.",
        "In brackets: the time of Lossary divided by theirs, so below 1 Lossary is faster.",
        "",
        *(f"- {what}: {text}" for what, text in machine().items()),
        "",
        "| loss | shape | Lossary | naive NumPy | PyTorch eager |",
        "|---|---|---|---|---|",
    ]
    for case, times in rows:
        own = times["Lossary"]
        others = (times.get(name) for name in ("naive NumPy", "PyTorch eager"))
        cells = [f"{1e3 * t:.3g} ({own / t:.2f})" if t else "" for t in others]
        shape = " x ".join(map(str, case.shape))
        lines.append(f"| `{case.loss}` | {shape} | {1e3 * own:.3g} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="small arrays; print, and write nothing")
    parser.add_argument(
        "--loss", choices=list(NAIVE), action="append", help="only this loss, may be repeated; writes nothing"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="per case (default: %(default)s)")
    options = parser.parse_args()
    wanted = [case for case in cases(options.quick) if case.loss in (options.loss or NAIVE)]
    rows = []
    for number, case in enumerate(wanted, 1):
        print(f"[{number}/{len(wanted)}] {case.loss} {case.shape}", file=sys.stderr, flush=True)
        rows.append((case, measure(case, 0.2 if options.quick else options.seconds)))
    print(markdown(rows))
    if not options.quick and not options.loss:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "bench.md").write_text(markdown(rows))
        figures = [{"loss": case.loss, "shape": case.shape, "seconds": times} for case, times in rows]
        (RESULTS / "bench.json").write_text(json.dumps({"machine": machine(), "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
