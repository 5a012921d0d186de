"""Fifty zeros for every nine: what losses for imbalanced classes do.

The training digits are thinned out so that class k keeps ``100 / 50^(k/9)`` images: 100 zeros, 2 nines. The digits to
be judged by are as frequent as ever, and the measure is balanced accuracy, the mean over the classes of how many of
each are recognised. The same small network is trained with

    cross-entropy     every image counts alike, so the frequent classes win every doubt
    focal             images that are already recognised count less
    class-balanced    images of rare classes count more, by the effective number of examples
    logit-adjusted    logits learn to be right after the frequency of each class has been added to them; without it,
                      they speak of classes that are equally likely

`ClassBalancedLoss` and `LogitAdjustedLoss` are told the counts once and hold them.

Run it:  python examples/torch_imbalance.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits

from lossary import nn

Tensor = torch.Tensor

EPOCHS = 150
SEEDS = 3
IMBALANCE = 50
MOST = 100


@dataclass(frozen=True)
class Row:
    """How one loss did: the share recognised of each class, averaged over the seeds."""

    name: str
    recalls: tuple[float, ...]

    @property
    def balanced_accuracy(self) -> float:
        """The mean over the classes."""
        return sum(self.recalls) / len(self.recalls)

    @property
    def rare(self) -> float:
        """The mean over the five rarer classes."""
        return sum(self.recalls[5:]) / 5


def load(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the thinned-out digits to learn from, and 50 of each class to be judged by."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    generator = torch.Generator().manual_seed(seed)
    learned, judged = [], []
    for k in range(10):
        rows = torch.nonzero(y == k)[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        judged.append(rows[:50])
        learned.append(rows[50 : 50 + round(MOST * IMBALANCE ** (-k / 9))])
    kept, held_out = torch.cat(learned), torch.cat(judged)
    return x[kept], y[kept], x[held_out], y[held_out]


def losses(counts: Tensor) -> Mapping[str, nn.Module]:
    """Return the losses that are compared."""
    return {
        "cross-entropy": nn.CrossEntropyLoss(),
        "focal": nn.SoftmaxFocalLoss(gamma=2.0),
        "class-balanced": nn.ClassBalancedLoss(counts, beta=0.999),
        "logit-adjusted": nn.LogitAdjustedLoss(counts, tau=1.0),
    }


def recalls(criterion: nn.Module, x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, seed: int) -> Tensor:
    """Train the network with a loss and return the share of each class that it recognises."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    for _ in range(EPOCHS):
        optimiser.zero_grad()
        criterion(model(x), y).backward()
        optimiser.step()
    with torch.no_grad():
        right = (model(x_test).argmax(1) == y_test).float()
    return torch.stack([right[y_test == k].mean() for k in range(10)])


def main() -> list[Row]:
    """Train with every loss and print which classes each of them recognises."""
    found: dict[str, list[Tensor]] = {}
    for seed in range(SEEDS):
        data = load(seed)
        counts = torch.bincount(data[1])
        for name, criterion in losses(counts).items():
            found.setdefault(name, []).append(recalls(criterion, *data, seed=seed))
    rows = [Row(name, tuple(torch.stack(each).mean(0).tolist())) for name, each in found.items()]

    print(
        f"Digits, {counts[0]} zeros to {counts[9]} nines; share recognised of 50 unseen of each, mean of {SEEDS} runs\n"
    )
    print(f"{'class':15}" + "".join(f"{k:5}" for k in range(10)) + f"{'balanced':>10}{'5 rarest':>10}")
    print(f"{'examples':15}" + "".join(f"{n:5}" for n in counts.tolist()))
    for row in rows:
        shares = "".join(f"{recall:5.0%}" for recall in row.recalls)
        print(f"{row.name:15}{shares}{row.balanced_accuracy:10.1%}{row.rare:10.1%}")
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks this small are slower on more
    main()
