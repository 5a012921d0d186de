"""Cross-validation folds, a validation part, a sample of the rows, and feature scaling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.compare.language import note
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
    """Return ``folds * seeds`` splits; each seed shuffles the rows anew.

    Folds of classes are stratified. Groups stay together. Rows in the order of time are cut into forward splits, which
    no seed changes, so there are ``folds`` of them. A test set that was given is the only one that is held out. Raises
    `DataError` if there are too few rows, groups, or members of a class, for that many folds.
    """
    if folds < 2:
        raise ParameterError(f"folds: got {folds}, expected 2 or more: something has to be held out")
    if seeds < 1:
        raise ParameterError(f"seeds: got {seeds}, expected 1 or more")
    found = []
    for seed in range(1 if data.ordered else seeds):
        parts = _parts(data, folds, seed)
        found += [Split(seed, fold, train, test) for fold, (train, test) in enumerate(parts)]
    return found


def _parts(data: Dataset, folds: int, seed: int) -> list[tuple[Array, Array]]:
    select = require("sklearn.model_selection")
    n = len(data.y)
    if data.tests:
        _check_training_rows(data, np.arange(n - data.tests))
        return [(np.arange(n - data.tests), np.arange(n - data.tests, n))]
    if n < 2 * folds:
        raise DataError(
            f"{data.name} has {n} rows, too few for {folds} folds; use "
            + (f"--folds {n // 2}, or more rows" if n >= 4 else "more rows")
        )
    if data.ordered:
        if n < 2 * (folds + 1):
            raise DataError(f"{data.name} has {n} rows, too few for {folds} forward splits; use fewer --folds")
        parts = list(select.TimeSeriesSplit(folds).split(data.X))
        _check_training_rows(data, parts[0][0])
        return parts
    if data.groups is not None:
        several = int(data.groups.max()) + 1
        if several < folds:
            raise DataError(f"{data.name} has {counted(several, 'group')}, fewer than the {folds} folds")
        kind = select.StratifiedGroupKFold if data.categorical else select.GroupKFold
        parts = list(kind(folds, shuffle=True, random_state=seed).split(data.X, data.y, data.groups))
        for train, _ in parts:
            _check_training_rows(data, train)
        return parts
    if data.categorical:
        _check_members(data, folds)
    kind = select.StratifiedKFold if data.categorical else select.KFold
    return list(kind(folds, shuffle=True, random_state=seed).split(data.X, data.y))


def _check_members(data: Dataset, folds: int) -> None:
    """Raise `DataError` if a class has fewer members than there are folds."""
    few = [int(i) for i in np.argsort(data.members, kind="stable") if data.members[i] < folds]
    if not few:
        return
    shown = ", ".join(f"class {data.classes[i]} has {counted(int(data.members[i]), 'member')}" for i in few[:6])
    more = f", and {len(few) - 6} more classes as few" if len(few) > 6 else ""
    fewest = int(data.members[few[0]])
    raise DataError(
        f"{data.target}: {shown}{more}, fewer than the {folds} folds; "
        + (f"use --folds {fewest}, or " if fewest > 1 else "")
        + f"merge or remove the class{'es' * (len(few) > 1)}"
        + _or_numbers(data)
    )


def _or_numbers(data: Dataset) -> str:
    """Return the hint that whole numbers need not be classes, with the reason they were taken for such."""
    if not data.decision or not all(c.lstrip("-").isdigit() for c in data.classes):
        return ""
    task = "regression" if any(c.startswith("-") for c in data.classes) else "count"
    return f"; or predict numbers with --task {task} (the task is {data.decision.partition(' (')[0]})"


def _check_training_rows(data: Dataset, rows: Array) -> None:
    """Raise `DataError` if some class is missing among rows to train on."""
    if data.categorical:
        members = np.bincount(data.y[rows], minlength=len(data.classes))
        if not members.all():
            missing = data.classes[int(members.argmin())]
            raise DataError(
                f"{data.target}: no row of class {missing} is among the rows to train on of some split; "
                "use fewer --folds, or merge or remove the class"
            )


def hold_out(
    y: Array,
    categorical: bool,
    share: float,
    rng: np.random.Generator,
    groups: Array | None = None,
    ordered: bool = False,
) -> tuple[Array, Array]:
    """Split positions into a part to fit on and a part to validate on; no class leaves the part to fit on.

    Groups stay together as far as that allows, and of rows in the order of time the last ones are validated on.

    >>> fit, valid = hold_out(np.array([0, 0, 0, 0, 1]), True, 0.25, np.random.default_rng(0))
    >>> len(fit), len(valid), 4 in fit
    (4, 1, True)
    """
    if ordered or groups is not None:
        if ordered:
            valid = np.arange(len(y) - max(1, round(share * len(y))), len(y))
        else:
            assert groups is not None
            mixed = groups[rng.permutation(len(groups))]
            names = mixed[np.sort(np.unique(mixed, return_index=True)[1])]
            sizes = np.cumsum([np.count_nonzero(groups == name) for name in names])
            chosen = names[: max(1, int(np.searchsorted(sizes, share * len(y), side="right")))]
            valid = np.flatnonzero(np.isin(groups, chosen))
        fit = np.setdiff1d(np.arange(len(y)), valid)
        if fit.size and (not categorical or len(np.unique(y[fit])) == len(np.unique(y))):
            return fit, valid
    parts = [np.flatnonzero(y == c) for c in np.unique(y)] if categorical else [np.arange(len(y))]
    taken = []
    for part in parts:
        mixed = rng.permutation(part)
        taken.append(mixed[: min(round(share * len(part)), len(part) - 1)])
    valid = np.sort(np.concatenate(taken))
    if not valid.size:
        valid = rng.permutation(len(y))[:1]
    return np.setdiff1d(np.arange(len(y)), valid), valid


def sample(data: Dataset, rows: int) -> Dataset:
    """Return about that many rows drawn at random, the same ones every time; all if there are no more or `rows` is 0.

    Classes keep their shares, the rows of a test set are all kept, and the notes say what was done.
    """
    n = len(data.y) - data.tests
    if not 0 < rows < n:
        return data
    _, drawn = hold_out(data.y[:n], data.categorical, rows / n, np.random.default_rng(0))
    taken = note("{drawn} of {n} rows drawn at random; --rows 0 takes all", drawn=f"{len(drawn):,}", n=f"{n:,}")
    kept = np.concatenate([drawn, np.arange(n, len(data.y))])
    return replace(
        data,
        X=data.X[kept],
        y=data.y[kept],
        groups=None if data.groups is None else np.unique(data.groups[kept], return_inverse=True)[1],
        weights=None if data.weights is None else data.weights[kept],
        notes=(taken, *data.notes),
    )


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
