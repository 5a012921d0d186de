"""What a head and its loss cost, beside the three matrix products that nobody can do without.

Value and gradients of softmax cross-entropy with a head, on torch and on NumPy, and the products alone, take turns in
one process; told are medians and their ratios. Memory is the high-water mark of a process of its own, beyond what the
inputs and a first small call take; the gradients, which are returned, are told apart. On Linux only.

    python benchmarks/linear.py             N=2048, D=1024, V=32000
    python benchmarks/linear.py --large     N=16384, D=512, V=128256: eager logits alone would be 8 GB
    python benchmarks/linear.py --size 512 256 8000 --repeats 9
"""

from __future__ import annotations

import argparse
import gc
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

import lossary

Size = tuple[int, int, int]
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
LOSS = lossary.softmax_cross_entropy


def arrays(size: Size) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return hidden states, a weight and labels, with logits of about the size that trained ones have."""
    rows, features, classes = size
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((rows, features), np.float32)
    weight = rng.standard_normal((classes, features), np.float32) / math.sqrt(features)
    return hidden, weight, rng.integers(0, classes, rows)


def ways(size: Size) -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    hidden, weight, labels = arrays(size)
    leaves = [torch.from_numpy(x).requires_grad_() for x in (hidden, weight)]
    wanted = torch.from_numpy(labels)
    plain = [x.detach() for x in leaves]

    def differentiated(loss: Callable[[], torch.Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(), leaves)

    def products_torch() -> object:
        logits = plain[0] @ plain[1].T
        return logits @ plain[1], logits.T @ plain[0]

    def products_numpy() -> object:
        logits = hidden @ weight.T
        return logits @ weight, logits.T @ hidden

    eager = torch.nn.functional
    found = {
        "torch: three products": products_torch,
        "torch: lossary.linear": differentiated(lambda: lossary.linear(LOSS, *leaves, wanted)),
        "torch: eager": differentiated(lambda: eager.cross_entropy(eager.linear(*leaves), wanted)),
        "numpy: three products": products_numpy,
        "numpy: lossary.linear": lambda: lossary.linear_value_and_grad(LOSS, hidden, weight, labels),
    }
    if hasattr(torch.nn, "LinearCrossEntropyOptions"):
        options = torch.nn.LinearCrossEntropyOptions()
        chunked = differentiated(lambda: eager.linear_cross_entropy(*leaves, wanted, options=options))
        found["torch: its own chunks"] = chunked
    return found


def resident(what: str) -> float:
    """Return memory in MiB: VmRSS, used now, or VmHWM, used at most."""
    found = re.search(rf"{what}:\s+(\d+)", STATUS.read_text())
    return int(found.group(1)) / 1024 if found else math.nan


def peak(name: str, size: Size) -> tuple[float, float]:
    """Return how far memory rises during one call, in MiB, and the high-water mark of the process."""
    ways((8, 4, 50))[name]()  # loads what there is to load
    run = ways(size)[name]
    gc.collect()
    CLEAR.write_text("5")
    before = resident("VmRSS")
    result = run()
    highest = resident("VmHWM")
    del result
    return highest - before, highest


def main(size: Size, repeats: int, only: list[str]) -> None:
    """Print time and memory of each way."""
    rows, features, classes = size
    names = [name for name in ways((8, 4, 50)) if not only or name in only]
    gradients = (rows + classes) * features * 4 / 2**20
    print(f"{rows} rows, {features} features, {classes} classes, float32, {torch.get_num_threads()} threads")
    print(f"{'':<24}{'seconds':>9}{'x products':>12}{'peak MiB':>10}{'beyond gradients':>18}{'process MiB':>13}")
    measured = ways(size)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for n in range(repeats + 1):
        for name in names:
            start = time.perf_counter()
            measured[name]()
            if n or not repeats:  # the first call is to warm up
                taken[name].append(time.perf_counter() - start)
    for name in names:
        seconds = median(taken[name] or [math.nan])
        products = f"{name.partition(':')[0]}: three products"
        ratio = seconds / median(taken[products]) if taken.get(products) else math.nan
        told = (math.nan, math.nan)
        if STATUS.exists() and CLEAR.exists():
            child = [sys.executable, __file__, "--child", name, "--size", *map(str, size)]
            line = subprocess.run(child, check=True, capture_output=True, text=True).stdout.split()
            told = float(line[-2]), float(line[-1])
        print(f"{name:<24}{seconds:9.3f}{ratio:12.3f}{told[0]:10.1f}{told[0] - gradients:18.1f}{told[1]:13.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(2048, 1024, 32000), metavar=("N", "D", "V"))
    parser.add_argument("--large", action="store_true", help="a size that eager does not take on: chunks only")
    parser.add_argument("--repeats", type=int, default=5, help="turns that are counted")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(*peak(chosen.child, tuple(chosen.size)))
    elif chosen.large:
        main((16384, 512, 128256), 0, ["torch: lossary.linear", "numpy: lossary.linear"])
    else:
        main(tuple(chosen.size), chosen.repeats, [])
