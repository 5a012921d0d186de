"""Stress on the training targets: label noise, outliers and class imbalance, to test how robust a loss is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.compare.language import joined, say
from lossary.compare.tables import Dataset
from lossary.errors import ParameterError
from lossary.text.phrases import Lang

Array = NDArray[Any]


@dataclass(frozen=True)
class Stress:
    """What is done to the targets of the training rows, and to nothing else, before learning.

    `label_noise` is the share of labels moved to another class, `outliers` the share of numbers moved by 10 to 20
    robust standard deviations, `imbalance` the ratio of the most frequent class to the rarest. `heavy_tails` adds to
    every number noise of Student's t with 2 degrees of freedom, in robust standard deviations.
    """

    label_noise: float = 0.0
    outliers: float = 0.0
    imbalance: float = 1.0
    heavy_tails: float = 0.0

    def __bool__(self) -> bool:
        return self.label_noise > 0 or self.outliers > 0 or self.imbalance > 1 or self.heavy_tails > 0

    def check(self, data: Dataset) -> None:
        """Raise `ParameterError` where the stress does not fit the target."""
        if not 0 <= self.label_noise < 1:
            raise ParameterError(f"label noise: got {self.label_noise:g}, expected a share in [0, 1), such as 0.2")
        if not 0 <= self.outliers < 0.5:
            raise ParameterError(f"outliers: got {self.outliers:g}, expected a share in [0, 0.5), such as 0.05")
        if not (self.imbalance >= 1 and math.isfinite(self.imbalance)):
            raise ParameterError(f"imbalance: got {self.imbalance:g}, expected a ratio of 1 or more, such as 100")
        if not 0 <= self.heavy_tails < math.inf:
            raise ParameterError(f"heavy tails: got {self.heavy_tails:g}, expected a number in [0, inf), such as 0.5")
        if data.categorical and self.heavy_tails:
            raise ParameterError(f"heavy tails: {data.target} holds classes; use --label-noise to disturb classes")
        if data.categorical and self.outliers:
            raise ParameterError(f"outliers: {data.target} holds classes; use --label-noise to disturb classes")
        if data.task == "multilabel" and self:
            raise ParameterError(f"stress: {data.target} holds several labels per row, and is left as it is")
        if not data.categorical and self.label_noise:
            raise ParameterError(f"label noise: {data.target} holds numbers; use --outliers to disturb numbers")
        if not data.categorical and self.imbalance > 1:
            raise ParameterError(f"imbalance: {data.target} holds numbers, not classes")

    def describe(self, lang: Lang = "en") -> str:
        """Say what is done, as a phrase; empty if nothing is."""
        parts = []
        if self.imbalance > 1:
            parts.append(say(lang, "training classes thinned out to 1:{ratio}", ratio=f"{self.imbalance:g}"))
        if self.label_noise:
            share = f"{100 * self.label_noise:g}"
            parts.append(say(lang, "{share} % of the training labels moved to another class", share=share))
        if self.outliers:
            share = f"{100 * self.outliers:g}"
            parts.append(
                say(lang, "{share} % of the training targets moved by 10 to 20 robust standard deviations", share=share)
            )
        if self.heavy_tails:
            template = "heavy-tailed noise of {size} robust standard deviations added to the training targets"
            parts.append(say(lang, template, size=f"{self.heavy_tails:g}"))
        return joined(lang, parts)

    def apply(self, y: Array, data: Dataset, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return which of the training rows are kept, and their disturbed targets.

        >>> from lossary.compare.tables import load
        >>> kept, noisy = Stress(label_noise=0.5).apply(np.array([0, 1, 0, 1]), load("iris"), np.random.default_rng(0))
        >>> len(kept), int((noisy != np.array([0, 1, 0, 1])).sum())
        (4, 2)
        """
        kept = np.arange(len(y))
        if self.imbalance > 1:
            kept = _thinned(y, self.imbalance, rng)
        changed = y[kept].copy()
        if self.label_noise:
            chosen = rng.permutation(len(changed))[: round(self.label_noise * len(changed))]
            others = len(data.classes)
            changed[chosen] = (changed[chosen] + rng.integers(1, others, len(chosen))) % others
        if self.heavy_tails:
            noise = self.heavy_tails * _robust_deviation(changed) * rng.standard_t(2, len(changed))
            if data.task != "regression":  # a count or an amount stays what it is
                noise = np.abs(noise)
            moved = changed + noise
            changed = np.round(moved) if data.task == "count" else moved
        if self.outliers:
            chosen = rng.permutation(len(changed))[: max(1, round(self.outliers * len(changed)))]
            moves = rng.uniform(10, 20, len(chosen)) * _robust_deviation(changed)
            if data.task == "regression":
                moves *= rng.choice([-1.0, 1.0], len(chosen))
            moved = changed[chosen] + moves
            changed[chosen] = np.round(moved) if data.task == "count" else moved
        return kept, changed


def _robust_deviation(numbers: Array) -> float:
    return float(1.4826 * np.median(np.abs(numbers - np.median(numbers))) or numbers.std())


def _thinned(y: Array, ratio: float, rng: np.random.Generator) -> Array:
    """Keep fewer of each class along a geometric profile, the frequent ones whole, at least two of each."""
    classes, members = np.unique(y, return_counts=True)
    order = np.argsort(-members, kind="stable")
    kept = []
    for rank, at in enumerate(order):
        wanted = members[order[0]] * ratio ** (-rank / (len(classes) - 1))
        count = int(min(members[at], max(2, round(wanted))))
        kept.append(rng.permutation(np.flatnonzero(y == classes[at]))[:count])
    return np.sort(np.concatenate(kept))
