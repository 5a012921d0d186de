"""Strips of handwritten digits: scikit-learn's 8 x 8 images laid side by side at random distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from lossary.errors import ParameterError

Array = NDArray[Any]

BLANK = 0  # the class of a column between digits; digit d is class d + 1
CLASSES = 11
CONTEXT = 5  # columns that the network sees to either side of a frame


@dataclass(frozen=True, eq=False)
class Strips:
    """A batch of strips, padded with zeros to the widest.

    `frames` is ``(strips, columns, 8)``, ink from 0 to 1, and `widths` the number of columns of each strip. `labels` is
    ``(strips, digits)``, each digit plus one, -1 beyond `counts`. `columns` is the class of every column, `BLANK`
    between digits.
    """

    frames: Array
    widths: Array
    labels: Array
    counts: Array
    columns: Array

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, rows: Any) -> Strips:
        """Return some of the strips, padded no wider than the widest of them."""
        width, count = self.widths[rows].max(), self.counts[rows].max()
        return Strips(
            self.frames[rows][:, :width],
            self.widths[rows],
            self.labels[rows][:, :count],
            self.counts[rows],
            self.columns[rows][:, :width],
        )

    @property
    def mask(self) -> Array:
        """True for the columns of each strip, False for the padding."""
        return np.arange(self.frames.shape[1]) < self.widths[:, None]

    def windows(self) -> Array:
        """Return the network's input: for every column that is not padding, its neighbours and itself in one row."""
        padded = np.pad(self.frames, ((0, 0), (CONTEXT, CONTEXT), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * CONTEXT + 1, axis=1)
        return windows.reshape(*self.frames.shape[:2], -1)[self.mask]

    def digits(self, strip: int) -> list[int]:
        """Return the digits of one strip."""
        return [int(label) - 1 for label in self.labels[strip, : self.counts[strip]]]


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
    after them. The same seed gives the same strips.

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
    bundle = load_digits()
    order = np.random.default_rng(0).permutation(len(bundle.target))
    third = len(order) // 3
    part = order[:third] if held_out else order[third:]
    images, digits = (bundle.images[part] / 16).astype(np.float32), bundle.target[part]

    draw = np.random.default_rng([seed, held_out])
    frames: list[Array] = []
    columns: list[Array] = []
    labels: list[Array] = []
    for _ in range(count):
        chosen = draw.integers(len(part), size=draw.integers(shortest, longest + 1))
        gaps = draw.integers(widest_gap + 1, size=len(chosen) + 1)
        width = 8 * len(chosen) + gaps.sum()
        strip, column = np.zeros((width, 8), np.float32), np.full(width, BLANK)
        start = 0
        for gap, image in zip(gaps, chosen, strict=False):
            start += gap
            strip[start : start + 8] = images[image].T
            column[start : start + 8] = digits[image] + 1
            start += 8
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


def _padded(rows: Sequence[Array], value: Any) -> Array:
    longest = max(map(len, rows))
    return np.stack([np.pad(x, [(0, longest - len(x))] + [(0, 0)] * (x.ndim - 1), constant_values=value) for x in rows])
