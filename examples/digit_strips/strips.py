"""Strips of handwritten digits, read by a small network: what a loss without an alignment is for, on real images.

A strip is scikit-learn's 8 x 8 images of digits laid side by side at random distances, and its columns are frames.
The network sees a few columns at a time and says what each of them belongs to; the target is the row of digits. Three
losses can teach it that. Cross-entropy per frame needs to be told, column by column, where each digit lies.
`lossary.ctc` needs the digits alone and sums over all places they may have. `lossary.rnnt` needs no more, and what it
says next depends on what it said before. All is NumPy, with gradients by hand.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lossary.catalogue import get
from lossary.errors import ParameterError, require, suggest
from lossary.toolkit.decoding import ctc_greedy_decode
from lossary.training import Adam, Linear, Sequential, mlp
from lossary.training.layers import Parameter
from lossary.training.schedules import cosine

__all__ = ["READERS", "StripComparison", "StripRow", "Strips", "compare_strips", "digit_strips", "edit_distance"]

Array = NDArray[Any]

BLANK = 0  # the class of a column that says nothing; digit d is class d + 1
CLASSES = 11
CONTEXT = 5  # columns seen to either side of a frame
_LEARNING_RATE = 5e-3
_BATCH = 16
_MOST_PER_FRAME = 3  # digits a transducer may say without moving on


# --- the data -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Strips:
    """Strips side by side, padded with zeros to the widest.

    `frames` is ``(strips, columns, 8)``, ink from 0 to 1; `widths` says how many columns count. `labels` is ``(strips,
    digits)``, each digit plus one, -1 beyond `counts`. `columns` is the class of every column, `BLANK` between digits.
    """

    frames: Array
    widths: Array
    labels: Array
    counts: Array
    columns: Array

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, rows: Any) -> Strips:
        """Some of the strips, padded no wider than the widest of them."""
        width, count = self.widths[rows].max(), self.counts[rows].max()
        return Strips(
            self.frames[rows][:, :width],
            self.widths[rows],
            self.labels[rows][:, :count],
            self.counts[rows],
            self.columns[rows][:, :width],
        )

    @property
    def inside(self) -> Array:
        """Which columns count."""
        return np.arange(self.frames.shape[1]) < self.widths[:, None]

    def windows(self) -> Array:
        """What the network sees of each column that counts: its neighbours and itself, in one row."""
        padded = np.pad(self.frames, ((0, 0), (CONTEXT, CONTEXT), (0, 0)))
        seen = np.lib.stride_tricks.sliding_window_view(padded, 2 * CONTEXT + 1, axis=1)
        return seen.reshape(*self.frames.shape[:2], -1)[self.inside]

    def digits(self, at: int) -> list[int]:
        """The digits of one strip."""
        return [int(label) - 1 for label in self.labels[at, : self.counts[at]]]


def digit_strips(
    count: int,
    *,
    held_out: bool = False,
    shortest: int = 3,
    longest: int = 8,
    widest_gap: int = 4,
    seed: int = 0,
) -> Strips:
    """Return strips of real digits: images for training, or, with `held_out`, of the other third of the images.

    Each strip has between `shortest` and `longest` digits, and up to `widest_gap` empty columns before, between and
    after them. The same seed gives the same strips. Needs scikit-learn, which brings the images with it.

    Raises `ParameterError` for a length or a number below 1, or `shortest` beyond `longest`.

    >>> strips = digit_strips(2)
    >>> strips.digits(0), strips.frames.shape[2]
    ([0, 5, 2, 4, 2, 9, 7, 0], 8)
    """
    if count < 1 or not 1 <= shortest <= longest or widest_gap < 0:
        raise ParameterError(
            f"digit_strips: got count={count}, shortest={shortest}, longest={longest}, widest_gap={widest_gap}; "
            "expected count >= 1, 1 <= shortest <= longest and widest_gap >= 0"
        )
    bundle = require("sklearn.datasets").load_digits()
    order = np.random.default_rng(0).permutation(len(bundle.target))
    mine = order[: len(order) // 3] if held_out else order[len(order) // 3 :]
    images, digits = (bundle.images[mine] / 16).astype(np.float32), bundle.target[mine]

    draw = np.random.default_rng([seed, held_out])
    frames: list[Array] = []
    columns: list[Array] = []
    labels: list[Array] = []
    for _ in range(count):
        chosen = draw.integers(len(mine), size=draw.integers(shortest, longest + 1))
        gaps = draw.integers(widest_gap + 1, size=len(chosen) + 1)
        width = 8 * len(chosen) + gaps.sum()
        strip, column = np.zeros((width, 8), np.float32), np.full(width, BLANK)
        at = 0
        for gap, which in zip(gaps, chosen, strict=False):
            at += gap
            strip[at : at + 8] = images[which].T
            column[at : at + 8] = digits[which] + 1
            at += 8
        frames.append(strip)
        columns.append(column)
        labels.append(digits[chosen] + 1)
    return Strips(
        _padded(frames, 0.0),
        np.array([len(x) for x in frames]),
        _padded(labels, -1),
        np.array([len(x) for x in labels]),
        _padded(columns, BLANK),
    )


def _padded(rows: Sequence[Array], with_what: Any) -> Array:
    longest = max(map(len, rows))
    return np.stack(
        [np.pad(x, [(0, longest - len(x))] + [(0, 0)] * (x.ndim - 1), constant_values=with_what) for x in rows]
    )


# --- three ways to learn to read -------------------------------------------------------------------------------------


class Reader(Protocol):
    """A network and the loss that teaches it."""

    @property
    def parameters(self) -> Sequence[Parameter]:
        """What it learns."""
        ...

    def step(self, strips: Strips) -> float:
        """Return the mean loss of some strips, and set every parameter's gradient."""
        ...

    def read(self, strips: Strips) -> list[list[int]]:
        """Return the digits it reads on each strip."""
        ...


def _network(outputs: int, seed: int) -> Sequential:
    return mlp(8 * (2 * CONTEXT + 1), (96, 64), outputs, seed=seed, dtype=np.float32)


class _PerFrame:
    """One class for each column; equal neighbours and blanks are then taken together."""

    def __init__(self, seed: int) -> None:
        self.network = _network(CLASSES, seed)
        self.parameters = self.network.parameters

    def scores(self, strips: Strips) -> Array:
        """Logits of every column, and zeros beyond the width of its strip."""
        return _spread(self.network.predict(strips.windows()), strips.inside)

    def read(self, strips: Strips) -> list[list[int]]:
        """Take the likeliest class of each column, equal neighbours together."""
        found = ctc_greedy_decode(self.scores(strips), strips.widths, blank=BLANK)
        return [[int(label) - 1 for label in row[:n]] for row, n in zip(found.labels, found.lengths, strict=True)]


def _spread(rows: Array, inside: Array) -> Array:
    whole = np.zeros((*inside.shape, rows.shape[-1]), rows.dtype)
    whole[inside] = rows
    return whole


class FrameReader(_PerFrame):
    """Cross-entropy for each column. It alone is told where the digits lie."""

    def step(self, strips: Strips) -> float:
        """Return the cross-entropy of a column, on average."""
        scores = self.network.forward(strips.windows())
        value, grad = get("softmax_cross_entropy").value_and_grad(
            scores, strips.columns[strips.inside], reduction="mean"
        )
        self.network.backward(grad)
        return float(value)


class CTCReader(_PerFrame):
    """CTC: told the digits alone."""

    def step(self, strips: Strips) -> float:
        """Return minus the log-probability of a strip's digits, on average."""
        inside = strips.inside
        scores = _spread(self.network.forward(strips.windows()), inside)
        value, grad = get("ctc").value_and_grad(
            scores, strips.labels, strips.widths, strips.counts, reduction="mean", blank=BLANK
        )
        self.network.backward(grad[inside])
        return float(value)


class TransducerReader:
    """A transducer: told the digits alone; what it says next depends on the column and on what it said last.

    The joint network adds a vector of the column to one of the last digit, and has one layer more on top.
    """

    def __init__(self, seed: int, width: int = 64) -> None:
        draw = np.random.default_rng([seed, 1])
        self.columns = _network(width, seed)
        self.said = Parameter("said", draw.normal(0.0, 0.3, (CLASSES, width)).astype(np.float32))  # row 0: nothing yet
        self.joint = Linear(width, CLASSES, seed=draw, dtype=np.float32)
        self.parameters = [*self.columns.parameters, self.said, *self.joint.parameters]

    def step(self, strips: Strips) -> float:
        """Return minus the log-probability of a strip's digits, on average."""
        inside = strips.inside
        from_columns = _spread(self.columns.forward(strips.windows()), inside)
        last = np.pad(np.maximum(strips.labels, 0), ((0, 0), (1, 0)))
        mixed = np.tanh(from_columns[:, :, None] + self.said.value[last][:, None])
        scores = self.joint.forward(mixed.reshape(-1, mixed.shape[-1])).reshape(*mixed.shape[:-1], CLASSES)
        value, grad = get("rnnt").value_and_grad(
            scores, strips.labels, strips.widths, strips.counts, reduction="mean", blank=BLANK
        )
        # tanh' = 1 - tanh^2; a sum hands its gradient on to both terms, and a vector used at many places adds up.
        back = self.joint.backward(grad.reshape(-1, CLASSES)).reshape(mixed.shape) * (1 - mixed * mixed)
        self.columns.backward(back.sum(2)[inside])
        self.said.grad = np.zeros_like(self.said.value)
        np.add.at(self.said.grad, last, back.sum(1))
        return float(value)

    def read(self, strips: Strips) -> list[list[int]]:
        """Say the likeliest at every place, moving to the next column when that is the blank."""
        from_columns = _spread(self.columns.predict(strips.windows()), strips.inside)
        found: list[list[int]] = [[] for _ in range(len(strips))]
        at, last, here = (np.zeros(len(strips), int) for _ in range(3))
        while (active := np.flatnonzero(at < strips.widths)).size:
            mixed = np.tanh(from_columns[active, at[active]] + self.said.value[last[active]])
            best = self.joint.predict(mixed).argmax(-1)
            speaks = (best != BLANK) & (here[active] < _MOST_PER_FRAME)
            for row, label in zip(active[speaks], best[speaks], strict=True):
                found[row].append(int(label) - 1)
            last[active[speaks]] = best[speaks]
            here[active[speaks]] += 1
            at[active[~speaks]] += 1
            here[active[~speaks]] = 0
        return found


READERS: dict[str, Callable[[int], Reader]] = {
    "softmax_cross_entropy": FrameReader,
    "ctc": CTCReader,
    "rnnt": TransducerReader,
}


# --- how well they read ----------------------------------------------------------------------------------------------


def edit_distance(found: Sequence[int], wanted: Sequence[int]) -> int:
    """How many digits must be put in, taken out or replaced (Levenshtein 1966).

    >>> edit_distance([3, 1, 4, 4], [3, 4, 1])
    2
    """
    row = list(range(len(wanted) + 1))
    for i, a in enumerate(found, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(wanted, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


@dataclass(frozen=True)
class StripRow:
    """What came of one loss: an entry for each seed, and the mean loss of every epoch of the first."""

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
        """Return what the numbers say."""
        held = {row.loss: statistics.mean(row.sequence_accuracy) for row in self.rows}
        best = max(held, key=lambda name: held[name])
        said = [f"{best} reads most strips without a mistake: {held[best]:.1%} of {len(self.test)} held-out ones."]
        if "softmax_cross_entropy" in held and len(held) > 1:
            said.append(
                "Cross-entropy per frame was told where every digit lies; the others were told the digits alone. Read "
                "column by column, two equal digits without a gap are one run, which no such reader can part."
            )
        return said

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
    """Train a reader with each loss on the same strips, and see what it reads on strips of images it never saw.

    `losses` are names of `READERS`, all of them if none is given; `progress` is told how many epochs are done, of how
    many, and of what. Raises `ParameterError` for a loss that cannot read strips, or for numbers below 1.

    >>> result = compare_strips(["ctc"], train=40, test=10, epochs=1)
    >>> [row.loss for row in result.rows], 0 <= result.rows[0].sequence_accuracy[0] <= 1
    (['ctc'], True)
    """
    names = [get(name).name for name in losses] or list(READERS)
    for name in names:
        if name not in READERS:
            known = ", ".join(READERS)
            raise ParameterError(f"compare_strips: {name} cannot read strips; expected {known}{suggest(name, READERS)}")
    if min(train, test, epochs, seeds) < 1:
        raise ParameterError(
            f"compare_strips: got train={train}, test={test}, epochs={epochs}, seeds={seeds}; expected at least 1 each"
        )
    lesson, unseen = digit_strips(train), digit_strips(test, held_out=True)
    wanted = [unseen.digits(at) for at in range(test)]
    rows = tuple(StripRow(name) for name in names)
    readers: dict[str, Reader] = {}
    total, done = len(names) * seeds * epochs, 0
    for seed in range(seeds):
        for row in rows:
            reader = READERS[row.loss](seed)
            began = time.perf_counter()
            for epoch, value in enumerate(_lessons(reader, lesson, epochs, seed), 1):
                done += 1
                if not seed:
                    row.curve.append(value)
                if progress is not None:
                    progress(done, total, f"{row.loss}, epoch {epoch} of {epochs}")
            row.seconds.append(time.perf_counter() - began)
            found = reader.read(unseen)
            mistakes = [edit_distance(a, b) for a, b in zip(found, wanted, strict=True)]
            row.sequence_accuracy.append(sum(not m for m in mistakes) / test)
            row.digit_error_rate.append(sum(mistakes) / sum(map(len, wanted)))
            readers.setdefault(row.loss, reader)
    return StripComparison(rows, lesson, unseen, readers, epochs, seeds)


def _lessons(reader: Reader, strips: Strips, epochs: int, seed: int) -> Any:
    """Descend by Adam, epoch by epoch, and yield the mean loss of each."""
    draw = np.random.default_rng([seed, 2])
    descent, factor = Adam(lr=_LEARNING_RATE), cosine(epochs, floor=0.02)
    directions = descent.directions(reader.parameters)
    for epoch in range(epochs):
        order = draw.permutation(len(strips))
        values = []
        for start in range(0, len(order), _BATCH):
            values.append(reader.step(strips[order[start : start + _BATCH]]))
            rate = descent.lr * factor(epoch + start / len(order))
            for parameter, direction in zip(reader.parameters, next(directions), strict=True):
                parameter.value -= rate * direction
        yield statistics.mean(values)
