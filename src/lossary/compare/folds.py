"""Cross-validation folds, a validation part, a sample of the rows, and feature scaling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.compare.tables import Dataset, counted
from lossary.errors import DataError, ParameterError, require

Array = NDArray[Any]


@dataclass(frozen=True)
class Split:
    """Row numbers of one run: what is trained on, what early stopping watches, what is held out."""

    seed: int
    fold: int
    train: Array
    test: Array


def splits(data: Dataset, folds: int, seeds: int) -> list[Split]:
    """Return ``folds * seeds`` splits, stratified for classes; each seed shuffles the rows anew.

    Raises `DataError` if there are too few rows, or too few members of a class, for that many folds.
    """
    select = require("sklearn.model_selection")
    n = len(data.y)
    if folds < 2:
        raise ParameterError(f"folds: got {folds}, expected 2 or more: something has to be held out")
    if seeds < 1:
        raise ParameterError(f"seeds: got {seeds}, expected 1 or more")
    if n < 2 * folds:
        raise DataError(
            f"{data.name} has {n} rows, too few for {folds} folds; use "
            + (f"--folds {n // 2}, or more rows" if n >= 4 else "more rows")
        )
    if data.categorical:
        members = np.bincount(data.y, minlength=len(data.classes))
        rarest = int(members.argmin())
        if members[rarest] < folds:
            raise DataError(
                f"{data.target}: class {data.classes[rarest]} has {counted(int(members[rarest]), 'member')}, fewer "
                f"than the {folds} folds; "
                + (f"use --folds {members[rarest]}, or " if members[rarest] > 1 else "")
                + "merge or remove the class"
            )
    found = []
    for seed in range(seeds):
        kind = select.StratifiedKFold if data.categorical else select.KFold
        parts = kind(folds, shuffle=True, random_state=seed).split(data.X, data.y)
        found += [Split(seed, fold, train, test) for fold, (train, test) in enumerate(parts)]
    return found


def hold_out(y: Array, categorical: bool, share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Split positions into a part to fit on and a part to validate on; no class leaves the part to fit on.

    >>> fit, valid = hold_out(np.array([0, 0, 0, 0, 1]), True, 0.25, np.random.default_rng(0))
    >>> len(fit), len(valid), 4 in fit
    (4, 1, True)
    """
    groups = [np.flatnonzero(y == c) for c in np.unique(y)] if categorical else [np.arange(len(y))]
    taken = []
    for group in groups:
        mixed = rng.permutation(group)
        taken.append(mixed[: min(round(share * len(group)), len(group) - 1)])
    valid = np.sort(np.concatenate(taken))
    if not valid.size:
        valid = rng.permutation(len(y))[:1]
    return np.setdiff1d(np.arange(len(y)), valid), valid


def sample(data: Dataset, rows: int) -> Dataset:
    """Return about that many rows drawn at random, the same ones every time; all if there are no more or `rows` is 0.

    Classes keep their shares, and the notes say what was done.
    """
    n = len(data.y)
    if not 0 < rows < n:
        return data
    _, drawn = hold_out(data.y, data.categorical, rows / n, np.random.default_rng(0))
    note = f"{len(drawn):,} of {n:,} rows drawn at random; --rows 0 takes all"
    return replace(data, X=data.X[drawn], y=data.y[drawn], notes=(note, *data.notes))


@dataclass(frozen=True)
class Scaling:
    """What is learned from a training fold to make its features comparable: medians, means and deviations."""

    medians: Array
    means: Array
    deviations: Array
    incomplete: Array

    @classmethod
    def of(cls, X: Array, incomplete: Array) -> Scaling:
        """Learn from a training fold; `incomplete` marks the columns that get an indicator of missing values."""
        medians = np.array([np.median(c[~np.isnan(c)]) if (~np.isnan(c)).any() else 0.0 for c in X.T])
        learning = cls(medians, np.zeros(0), np.ones(0), incomplete)
        full = learning._filled(X)
        spread = full.std(axis=0)
        return replace(learning, means=full.mean(axis=0), deviations=np.where(spread > 0, spread, 1.0))

    def _filled(self, X: Array) -> Array:
        missing = np.isnan(X)
        full = np.where(missing, self.medians, X)
        return np.concatenate([full, missing[:, self.incomplete].astype(float)], axis=1)

    def __call__(self, X: Array) -> Array:
        """Return the features filled and standardised as the training fold was."""
        return np.asarray((self._filled(X) - self.means) / self.deviations)
