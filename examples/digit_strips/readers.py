"""Three networks that read strips, each with the loss that trains it and gradients written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from examples.digit_strips.strips import BLANK, CLASSES, CONTEXT, Array, Strips

import lossary
from lossary.toolkit.decoding import ctc_greedy_decode
from lossary.training import Linear, Parameter, Sequential, mlp

MOST_PER_FRAME = 3  # digits that a transducer may emit before it moves to the next column


class Reader(Protocol):
    """A network and the loss that trains it."""

    @property
    def parameters(self) -> Sequence[Parameter]:
        """The parameters of the network."""
        ...

    def step(self, strips: Strips) -> float:
        """Return the mean loss of some strips, and set every parameter's gradient."""
        ...

    def read(self, strips: Strips) -> list[list[int]]:
        """Return the digits that the network reads on each strip."""
        ...


def _network(outputs: int, seed: int) -> Sequential:
    return mlp(8 * (2 * CONTEXT + 1), (96, 64), outputs, seed=seed, dtype=np.float32)


def _unpacked(rows: Array, mask: Array) -> Array:
    """Return one row per column of a strip as ``(strips, columns, ...)``, with zeros in the padding."""
    whole = np.zeros((*mask.shape, rows.shape[-1]), rows.dtype)
    whole[mask] = rows
    return whole


class ColumnReader:
    """A network that scores every column; decoding merges equal neighbours and drops blanks."""

    def __init__(self, seed: int) -> None:
        self.network = _network(CLASSES, seed)
        self.parameters = self.network.parameters

    def scores(self, strips: Strips) -> Array:
        """Return the logits of every column, and zeros in the padding."""
        return _unpacked(self.network.predict(strips.windows()), strips.mask)

    def read(self, strips: Strips) -> list[list[int]]:
        """Decode greedily: the likeliest class of each column, equal neighbours merged."""
        decoded = ctc_greedy_decode(self.scores(strips), strips.widths, blank=BLANK)
        return [[int(label) - 1 for label in row[:n]] for row, n in zip(decoded.labels, decoded.lengths, strict=True)]


class CrossEntropyReader(ColumnReader):
    """Trained by cross-entropy for each column: the only reader whose targets include where each digit lies."""

    def step(self, strips: Strips) -> float:
        """Return the mean cross-entropy of a column."""
        scores = self.network.forward(strips.windows())
        labels = strips.columns[strips.mask]
        value, grad = lossary.softmax_cross_entropy.value_and_grad(scores, labels, reduction="mean")
        self.network.backward(grad)
        return float(value)


class CTCReader(ColumnReader):
    """Trained by CTC, from the digits alone."""

    def step(self, strips: Strips) -> float:
        """Return the mean negative log-probability of a strip's digits."""
        scores = _unpacked(self.network.forward(strips.windows()), strips.mask)
        value, grad = lossary.ctc.value_and_grad(
            scores, strips.labels, strips.widths, strips.counts, reduction="mean", blank=BLANK
        )
        self.network.backward(grad[strips.mask])
        return float(value)


class TransducerReader:
    """Trained by the transducer loss, from the digits alone; its scores depend on the column and on the last digit.

    The joint network adds a vector for the column to an embedding of the last digit, and has one layer more on top.
    """

    def __init__(self, seed: int, width: int = 64) -> None:
        draw = np.random.default_rng([seed, 1])
        self.columns = _network(width, seed)
        # Row 0 stands for the start, where there is no digit before.
        self.embedding = Parameter("embedding", draw.normal(0.0, 0.3, (CLASSES, width)).astype(np.float32))
        self.joint = Linear(width, CLASSES, seed=draw, dtype=np.float32)
        self.parameters = [*self.columns.parameters, self.embedding, *self.joint.parameters]

    def step(self, strips: Strips) -> float:
        """Return the mean negative log-probability of a strip's digits."""
        columns = _unpacked(self.columns.forward(strips.windows()), strips.mask)
        last = np.pad(np.maximum(strips.labels, 0), ((0, 0), (1, 0)))
        joined = np.tanh(columns[:, :, None] + self.embedding.value[last][:, None])
        scores = self.joint.forward(joined.reshape(-1, joined.shape[-1])).reshape(*joined.shape[:-1], CLASSES)
        value, grad = lossary.rnnt.value_and_grad(
            scores, strips.labels, strips.widths, strips.counts, reduction="mean", blank=BLANK
        )
        # tanh' = 1 - tanh^2; a sum passes its gradient to both terms, and a vector used at many places adds it up.
        grad = self.joint.backward(grad.reshape(-1, CLASSES)).reshape(joined.shape) * (1 - joined * joined)
        self.columns.backward(grad.sum(2)[strips.mask])
        self.embedding.grad = np.zeros_like(self.embedding.value)
        np.add.at(self.embedding.grad, last, grad.sum(1))
        return float(value)

    def read(self, strips: Strips) -> list[list[int]]:
        """Decode greedily: emit the likeliest digit, or move to the next column where that is the blank."""
        columns = _unpacked(self.columns.predict(strips.windows()), strips.mask)
        digits: list[list[int]] = [[] for _ in range(len(strips))]
        column, last, emitted = (np.zeros(len(strips), int) for _ in range(3))
        while (active := np.flatnonzero(column < strips.widths)).size:
            joined = np.tanh(columns[active, column[active]] + self.embedding.value[last[active]])
            best = self.joint.predict(joined).argmax(-1)
            emits = (best != BLANK) & (emitted[active] < MOST_PER_FRAME)
            for row, label in zip(active[emits], best[emits], strict=True):
                digits[row].append(int(label) - 1)
            last[active[emits]] = best[emits]
            emitted[active[emits]] += 1
            column[active[~emits]] += 1
            emitted[active[~emits]] = 0
        return digits


READERS: dict[str, Callable[[int], Reader]] = {
    "softmax_cross_entropy": CrossEntropyReader,
    "ctc": CTCReader,
    "rnnt": TransducerReader,
}
