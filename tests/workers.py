"""A batch of two sentences, a network for it, and what one of two workers does with its half.

A module of its own, because a process that is started afresh must be able to import what it is to run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

import lossary
from lossary.nn.distributed import data_parallel_mean

PAD = 0
CLASSES = 7


def sentences() -> tuple[Any, Any]:
    """Two padded sentences of 10 and 2 tokens, as features and as labels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 12, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(1, CLASSES, (2, 12), generator=generator)
    labels[0, 10:], labels[1, 2:] = PAD, PAD
    return x, labels


def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Linear(5, CLASSES, dtype=torch.float64)


def values(model: Any, x: Any, labels: Any) -> Any:
    return lossary.softmax_cross_entropy(model(x), labels, ignore_index=PAD)


def work(rank: int, port: int, folder: str) -> None:
    """One of two workers: its sentence, the mean of both, its gradient averaged as by DDP, and summed by hand."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        x, labels = sentences()
        x, labels = x[rank : rank + 1], labels[rank : rank + 1]
        mask = labels != PAD

        parallel = torch.nn.parallel.DistributedDataParallel(network())
        loss = data_parallel_mean(values(parallel, x, labels), mask=mask)
        loss.backward()
        averaged = [p.grad for p in parallel.parameters()]

        model = network()
        data_parallel_mean(values(model, x, labels), mask=mask, averaged=False).backward()
        summed = [p.grad for p in model.parameters()]
        for grad in summed:
            dist.all_reduce(grad)

        model = network()
        nothing = data_parallel_mean(values(model, x, labels), mask=torch.zeros_like(mask))
        nothing.backward()
        results = {"loss": loss.item(), "averaged": averaged, "summed": summed, "nothing": nothing.item()}
        torch.save({**results, "zero": [p.grad for p in model.parameters()]}, Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
