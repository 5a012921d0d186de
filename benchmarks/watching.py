"""Benchmark of `lossary.watch`: training steps of a small network with and without it, in turns, by medians.

Run it alone on the machine: ``python benchmarks/watching.py``.
"""

from __future__ import annotations

import statistics
import time

import torch

import lossary
from lossary.inspect import Watch

ROUNDS, STEPS = 12, 60


def loop(w: Watch | None) -> float:
    """Return the seconds of a step."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 10))
    descent = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.randn(256, 256), torch.randint(0, 10, (256,))
    began = time.perf_counter()
    for _ in range(STEPS):
        descent.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if w is not None:
            w.step(loss=loss, terms={"data": loss}, model=model, batch=(x, y))
        descent.step()
    return (time.perf_counter() - began) / STEPS


def main() -> None:
    """Measure and print."""
    loop(None)
    plain, watched = [], []
    for _ in range(ROUNDS):
        plain.append(loop(None))
        watched.append(loop(lossary.watch()))
    a, b = statistics.median(plain), statistics.median(watched)
    print(f"a step takes {1e6 * a:.0f} us, watched {1e6 * b:.0f} us: {100 * (b / a - 1):+.1f} %")
    w = lossary.watch()
    seconds = loop(w) * STEPS
    print(f"by its own clock the watch takes {100 * w.seconds / seconds:.2f} % of the time")


if __name__ == "__main__":
    main()
