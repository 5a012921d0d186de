"""Two tasks, one network: five ways to weigh a cross-entropy against a squared error.

A network sees the upper half of a handwritten digit. It is to say which digit it is, and how much ink the lower half
holds (the sum of its pixels, in hundreds). The one loss is measured in nats, the other in squared ink: to add them is
to say what a nat is worth. `nn.MultiTaskLoss` does so by fixed weights, by learned uncertainties (Kendall 2018), by how
fast each loss falls (Liu 2019), by the geometric mean, or by the size of the gradients (GradNorm, Chen 2018).

Each line of the table is the same network with the same data and the same random numbers; only the weighting differs.

Run it:  python examples/torch_multitask.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from sklearn.datasets import load_digits

from lossary import nn

Tensor = torch.Tensor

EPOCHS = 40
BATCH = 96
WEIGHTINGS = ("fixed", "uncertainty", "dynamic average", "geometric mean", "gradnorm")


@dataclass(frozen=True)
class Data:
    """Upper halves of digits, which digits they are, and how much ink their lower halves hold."""

    x: Tensor
    digit: Tensor
    ink: Tensor

    def __getitem__(self, rows: Tensor) -> Data:
        return Data(self.x[rows], self.digit[rows], self.ink[rows])


@dataclass(frozen=True)
class Row:
    """How well one weighting did on digits that were held out, and the account of the last step."""

    weighting: str
    accuracy: float
    explained: float
    report: nn.MultiTaskReport


class Reader(nn.Module):
    """A shared trunk with a head for each task."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.digit = nn.Linear(32, 10)
        self.ink = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the digits and the amount of ink."""
        hidden = self.trunk(x)
        return self.digit(hidden), self.ink(hidden)[:, 0]


def load() -> tuple[Data, Data]:
    """Return 1437 digits to learn from and 360 to be judged by."""
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images, dtype=torch.float32)
    everything = Data(pixels[:, :32] / 16, torch.tensor(labels), pixels[:, 32:].sum(1) / 100)
    shuffled = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    return everything[shuffled[:1437]], everything[shuffled[1437:]]


def train(weighting: str, data: Data, held_out: Data) -> Row:
    """Train the network under one weighting and judge it."""
    torch.manual_seed(0)
    model = Reader()
    options: dict[str, dict[str, Any]] = {
        "uncertainty": {"kinds": {"digit": "classification", "ink": "regression"}},
        "gradnorm": {"shared": model.trunk[2].parameters()},
    }
    criterion = nn.MultiTaskLoss(["digit", "ink"], weighting, **options.get(weighting, {}))
    which, how_much = nn.CrossEntropyLoss(), nn.MSELoss()
    optimiser = torch.optim.Adam([*model.parameters(), *criterion.parameters()], lr=3e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(data.x)).split(BATCH):
            batch = data[rows]
            logits, ink = model(batch.x)
            report = criterion(digit=which(logits, batch.digit), ink=how_much(ink, batch.ink))
            optimiser.zero_grad()
            report.backward()
            optimiser.step()
        criterion.end_epoch()
    with torch.no_grad():
        logits, ink = model(held_out.x)
    unexplained = (ink - held_out.ink).square().mean() / held_out.ink.var(correction=0)
    accuracy = (logits.argmax(1) == held_out.digit).float().mean()
    return Row(weighting, accuracy.item(), 1 - unexplained.item(), report)


def main() -> list[Row]:
    """Train under every weighting and print how they compare, and one account."""
    data, held_out = load()
    rows = [train(weighting, data, held_out) for weighting in WEIGHTINGS]
    print(f"The upper half of {len(data.x)} digits: which digit is it, and how much ink is below?\n")
    print(f"{'':16}  {'digits':>8}  {'ink':>9}  {'weight of':>9}  {'weight of':>9}")
    print(f"{'weighting':16}  {'right':>8}  {'explained':>9}  {'the digit':>9}  {'the ink':>9}")
    for row in rows:
        weights = (float(row.report.weights[name]) for name in ("digit", "ink"))
        print(
            f"{row.weighting:16}  {row.accuracy:8.1%}  {row.explained:9.1%}  "
            + "  ".join(f"{weight:9.3g}" for weight in weights)
        )
    print(f"\nThe last step under {rows[1].weighting}:\n\n{rows[1].report}")
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)  # networks this small are slower on more
    main()
