"""The experiment: train one reader per loss on the same strips, and count its mistakes on strips of unseen images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from examples.digit_strips.readers import READERS, Reader
from examples.digit_strips.strips import Strips, digit_strips

import lossary
from lossary.errors import ParameterError, require, suggest
from lossary.training import Adam, cosine

LEARNING_RATE = 5e-3
BATCH_SIZE = 16


def edit_distance(predicted: Sequence[int], target: Sequence[int]) -> int:
    """Return how many digits must be inserted, deleted or replaced (Levenshtein 1966).

    >>> edit_distance([3, 1, 4, 4], [3, 4, 1])
    2
    """
    row = list(range(len(target) + 1))
    for i, a in enumerate(predicted, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(target, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


@dataclass(frozen=True)
class StripRow:
    """The results of one loss: an entry for each seed, and the mean loss of every epoch under the first seed."""

    loss: str
    sequence_accuracy: list[float] = field(default_factory=list)
    digit_error_rate: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class StripComparison:
    """The result of `compare_strips`; `readers` are those of the first seed, for pictures."""

    rows: tuple[StripRow, ...]
    train: Strips
    test: Strips
    readers: dict[str, Reader]
    epochs: int
    seeds: int

    def sentences(self) -> list[str]:
        """Return the result in words."""
        accuracy = {row.loss: statistics.mean(row.sequence_accuracy) for row in self.rows}
        best = max(accuracy, key=lambda name: accuracy[name])
        text = [f"{best} reads most strips without a mistake: {accuracy[best]:.1%} of {len(self.test)} held-out ones."]
        if "softmax_cross_entropy" in accuracy and len(accuracy) > 1:
            text.append(
                "Cross-entropy per column was given the place of every digit; the others were given the digits alone. "
                "Read column by column, two equal digits without a gap are one run, which no such reader can part."
            )
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers."""
        return {
            "strips": {"train": len(self.train), "test": len(self.test)},
            "epochs": self.epochs,
            "seeds": self.seeds,
            "rows": [asdict(row) for row in self.rows],
            "sentences": self.sentences(),
        }


def compare_strips(
    losses: Sequence[str] = (),
    *,
    train: int = 1200,
    test: int = 300,
    epochs: int = 20,
    seeds: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> StripComparison:
    """Train a reader with each loss on the same strips, and read strips of images it never saw.

    `losses` are names of `READERS`, all of them if none is given; `progress` is called with the number of epochs done,
    their total, and a description. Raises `ParameterError` for a loss that no reader has, or for numbers below 1.

    >>> result = compare_strips(["ctc"], train=40, test=10, epochs=1)
    >>> [row.loss for row in result.rows], 0 <= result.rows[0].sequence_accuracy[0] <= 1
    (['ctc'], True)
    """
    names = [lossary.get(name).name for name in losses] or list(READERS)
    for name in names:
        if name not in READERS:
            known = ", ".join(READERS)
            raise ParameterError(f"compare_strips: {name} cannot read strips; expected {known}{suggest(name, READERS)}")
    if min(train, test, epochs, seeds) < 1:
        raise ParameterError(
            f"compare_strips: got train={train}, test={test}, epochs={epochs}, seeds={seeds}; expected at least 1 each"
        )
    training, held_out = digit_strips(train), digit_strips(test, held_out=True)
    targets = [held_out.digits(strip) for strip in range(test)]
    rows = tuple(StripRow(name) for name in names)
    readers: dict[str, Reader] = {}
    total, done = len(names) * seeds * epochs, 0
    for seed in range(seeds):
        for row in rows:
            reader = READERS[row.loss](seed)
            start = time.perf_counter()
            for epoch, value in enumerate(_epochs(reader, training, epochs, seed), 1):
                done += 1
                if not seed:
                    row.curve.append(value)
                if progress is not None:
                    progress(done, total, f"{row.loss}, epoch {epoch} of {epochs}")
            row.seconds.append(time.perf_counter() - start)
            predicted = reader.read(held_out)
            mistakes = [edit_distance(a, b) for a, b in zip(predicted, targets, strict=True)]
            row.sequence_accuracy.append(sum(not m for m in mistakes) / test)
            row.digit_error_rate.append(sum(mistakes) / sum(map(len, targets)))
            readers.setdefault(row.loss, reader)
    return StripComparison(rows, training, held_out, readers, epochs, seeds)


def _epochs(reader: Reader, strips: Strips, epochs: int, seed: int) -> Iterator[float]:
    """Descend by Adam, and yield the mean loss of each epoch."""
    draw = np.random.default_rng([seed, 2])
    optimiser, factor = Adam(lr=LEARNING_RATE), cosine(epochs, floor=0.02)
    directions = optimiser.directions(reader.parameters)
    for epoch in range(epochs):
        order = draw.permutation(len(strips))
        values = []
        with require("threadpoolctl").threadpool_limits(1):  # matrices this small take longer in several threads
            for start in range(0, len(order), BATCH_SIZE):
                values.append(reader.step(strips[order[start : start + BATCH_SIZE]]))
                rate = optimiser.lr * factor(epoch + start / len(order))
                for parameter, direction in zip(reader.parameters, next(directions), strict=True):
                    parameter.value -= rate * direction
        yield statistics.mean(values)
