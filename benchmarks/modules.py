"""Benchmark of the modules of the catalogue: each beside the function of the same loss, on a small batch.

    OMP_NUM_THREADS=1 python benchmarks/modules.py [--loss NAME ...] [--rounds 60]

Forward and backward through `lossary.nn` and through ``lossary.<loss>.value(..., reduction="mean")``, alternating in
one process on the same tensors; the table has the medians and their ratio. A module adds the call of a
`torch.nn.Module`, a few microseconds. A loss that holds its classes (`ArcFaceLoss`) also multiplies embeddings with
them; its function is given the cosines by the same operations.
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
from lossary.catalogue import Loss
from lossary.nn.catalogue import base_of, from_record
from lossary.nn.from_catalogue import ClassifierLoss, constants
from lossary.nn.penalties import ParameterPenalty
from lossary.testing import random_arrays

ROWS, CLASSES = 64, 10


def contenders(loss: Loss, seed: int = 0) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return a step of the module and the same step of the function, each on tensors of its own."""
    torch.manual_seed(seed)
    arrays = random_arrays(loss, np.random.default_rng(seed), ROWS, {"c": CLASSES})
    if loss.coupling:
        arrays = [np.random.default_rng(seed).standard_normal((ROWS, 16)), np.arange(ROWS) // 2]
    tensors = [torch.as_tensor(a) for a in arrays]
    tensors = [x.float() if x.is_floating_point() else x for x in tensors]
    for name, x in zip(loss.arguments, tensors, strict=True):
        x.requires_grad_(name in loss.wrt and "evaluation" not in loss.properties)
    leaves = [x for x in tensors if x.requires_grad]

    def step(compute: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            for x in leaves:
                x.grad = None
            value = compute()
            if leaves:
                value.backward()

        return run

    if issubclass(base_of(loss), ClassifierLoss):
        head = ClassifierLoss(loss, 16, CLASSES)
        embeddings, labels = torch.randn(ROWS, 16, requires_grad=True), tensors[1]
        leaves = [embeddings, head.weight]
        return (
            step(lambda: head(embeddings, labels)),
            step(lambda: loss.value(head.similarities(embeddings), labels, reduction="mean")),
        )
    fixed = constants(loss)
    held = {name: x for name, x in zip(loss.arguments, tensors, strict=True) if name in fixed}
    awaited = [x for name, x in zip(loss.arguments, tensors, strict=True) if name not in fixed]
    module = from_record(loss, **held)
    return step(lambda: module(*awaited)), step(lambda: loss.value(*tensors, reduction="mean"))


def measured(loss: Loss, rounds: int) -> tuple[float, float]:
    """Return the medians of module and function in microseconds, taken in turn."""
    both = contenders(loss)
    for run in both * 3:
        run()
    began = time.perf_counter()
    both[0]()
    repeat = max(1, min(20, int(1e-3 / (time.perf_counter() - began))))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for run, taken in zip(both, times, strict=True):
            began = time.perf_counter()
            for _ in range(repeat):
                run()
            taken.append((time.perf_counter() - began) / repeat * 1e6)
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loss", nargs="*", help="names of losses; all that have a module on arrays if not given")
    parser.add_argument("--rounds", type=int, default=60)
    given = parser.parse_args()
    torch.set_num_threads(1)
    names = given.loss or [n for n in lossary.names() if base_of(lossary.get(n)) is not ParameterPenalty]
    print(f"{'loss':36}{'module us':>11}{'function us':>13}{'ratio':>8}{'more us':>9}")
    for name in names:
        module, function = measured(lossary.get(name), given.rounds)
        print(f"{name:36}{module:11.0f}{function:13.0f}{module / function:8.2f}{module - function:9.1f}", flush=True)


if __name__ == "__main__":
    main()
