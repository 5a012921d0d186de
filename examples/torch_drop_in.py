"""Changing one import is the whole migration from torch's losses to Lossary's.

`train` below is an ordinary PyTorch program: a classifier of handwritten digits with label smoothing. It is run twice,
with ``from torch import nn`` and with ``from lossary import nn``. All of `torch.nn` is found in `lossary.nn`: layers
are torch's own, losses have torch's names, arguments and semantics. The two learning curves are the same to rounding.

Run it:  python examples/torch_drop_in.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn
from sklearn.datasets import load_digits

import lossary.nn

Tensor = torch.Tensor

EPOCHS = 8
BATCH = 64


@dataclass(frozen=True)
class Epoch:
    """What a program reports after an epoch."""

    loss: float
    accuracy: float


def load() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the digits of scikit-learn, pixels from 0 to 1: 1437 to learn from, 360 to be judged by."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    shuffled = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    kept, held_out = shuffled[:1437], shuffled[1437:]
    return x[kept], y[kept], x[held_out], y[held_out]


def train(nn: Any, x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor) -> list[Epoch]:
    """Train a classifier with the `nn` that a program has imported, and return its learning curve."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)

    curve = []
    for _ in range(EPOCHS):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(x)).split(BATCH):
            optimiser.zero_grad()
            loss = criterion(model(x[rows]), y[rows])
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows)
        model.eval()
        with torch.no_grad():
            correct = model(x_test).argmax(1) == y_test
        curve.append(Epoch(total / len(x), correct.float().mean().item()))
    return curve


def main() -> tuple[list[Epoch], list[Epoch]]:
    """Run the program with either import and print both learning curves."""
    data = load()
    theirs, ours = train(torch.nn, *data), train(lossary.nn, *data)

    print(f"A classifier of {len(data[0])} digits, twice: only the import of nn differs\n")
    print(f"{'':5}  {'from torch import nn':^20}  {'from lossary import nn':^22}  {'':10}")
    print(f"{'epoch':>5}  {'loss':>10}{'accuracy':>10}  {'loss':>11}{'accuracy':>11}  {'difference':>10}")
    for number, (a, b) in enumerate(zip(theirs, ours, strict=True), start=1):
        print(
            f"{number:5}  {a.loss:10.6f}{a.accuracy:10.1%}  {b.loss:11.6f}{b.accuracy:11.1%}"
            f"  {abs(a.loss - b.loss):10.0e}"
        )
    return theirs, ours


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks this small are slower on more
    main()
