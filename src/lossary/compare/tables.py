"""Data sets for supervised learning: bundled sets, files, data frames, and how columns become numbers.

Nothing is done silently. Every column that is encoded, filled or dropped leaves a sentence in `Dataset.notes`, the
task that was read off the target says why in `Dataset.decision`, and a table that cannot be learned from is a
`DataError` saying what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.compare import files
from lossary.compare.amounts import amounts
from lossary.compare.language import Note, note
from lossary.errors import DataError, require, suggest

Array = NDArray[Any]

BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
TASKS = ("binary", "multiclass", "multilabel", "regression", "count", "positive")
CLASS_TASKS = ("binary", "multiclass")

_LEVELS = 20  # a text column with more different values than this is not encoded
_CLASSES = 10  # a whole-number target with more different values than this is a quantity, not a class
_TARGET_NAMES = ("target", "label", "class", "outcome", "y")
_SENTINELS = (-999999, -99999, -9999, -999, -99, 999, 9999, 99999, 999999)  # that often stand for a missing value
_IMBALANCED = 3  # classes whose sizes differ by more than this factor
_LARGEST = 1e100  # a target that is larger, or as small, cannot be squared
_MOST_TAGS = 100  # of a multilabel target
_LEAK_ROWS = 20  # with fewer rows a column may determine the target by chance
_TEST = "lossary test row"  # marks the rows of a test file while a table is read


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table ready to be learned from: `X` of shape ``(n, d)`` with NaN where a value is missing, and `y` of ``(n,)``.

    `y` holds class indices for the tasks ``binary`` and ``multiclass`` (their names are in `classes`) and numbers
    otherwise, in the units of the table. For ``multilabel`` it is a table of 0 and 1, a column for each label. `groups`
    are codes of rows that belong together, `weights` sample weights, of mean 1; the rows of an `ordered` set are in the
    order of time, and the last `tests` rows are a test set that was given.

    >>> iris = load("iris")
    >>> iris.X.shape, iris.classes, iris.task
    ((150, 4), ('setosa', 'versicolor', 'virginica'), 'multiclass')
    """

    name: str
    X: Array
    y: Array
    features: tuple[str, ...]
    target: str
    task: str
    decision: str = ""
    classes: tuple[str, ...] = ()
    continuous: tuple[bool, ...] = ()
    notes: tuple[str, ...] = ()
    groups: Array | None = None
    weights: Array | None = None
    ordered: bool = False
    tests: int = 0

    @property
    def categorical(self) -> bool:
        """Whether the target is a class."""
        return self.task in CLASS_TASKS

    @property
    def members(self) -> Array:
        """The number of rows of each class, or with each label."""
        return self.y.sum(axis=0) if self.y.ndim > 1 else np.bincount(self.y, minlength=len(self.classes))

    @property
    def imbalanced(self) -> bool:
        """Whether one class has more than three times the rows of another."""
        return self.categorical and bool(self.members.max() > _IMBALANCED * self.members.min())

    @property
    def positive(self) -> int:
        """The index of the rarer of two classes, which recall and precision are about; 1 where both are as frequent."""
        return 0 if self.members[0] < self.members[1] else 1

    @property
    def zero_inflated(self) -> bool:
        """Whether the target is an amount that is often exactly 0 and otherwise positive."""
        if self.categorical or self.y.ndim > 1 or self.y.min() != 0:
            return False
        zeros = float((self.y == 0).mean())
        return 0.1 <= zeros < 1 and zeros > 5 / len(self.y)

    def groups_of(self, rows: Array) -> Array | None:
        """Return the groups of some rows, or None."""
        return None if self.groups is None else self.groups[rows]

    def leaks(self) -> list[str]:
        """Return the features that alone determine the target in every row."""
        if len(self.y) < _LEAK_ROWS or self.y.ndim > 1:
            return []
        return [name for name, column in zip(self.features, self.X.T, strict=True) if self._determines(column)]

    def _determines(self, column: Array) -> bool:
        known = ~np.isnan(column)
        x, y = column[known], self.y[known]
        if len(x) < _LEAK_ROWS or (x == x[0]).all():
            return False
        if not self.categorical:
            return len(np.unique(y)) > 2 and bool(abs(np.corrcoef(x, y)[0, 1]) > 1 - 1e-9)
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
        mixed = (x[1:] == x[:-1]) & (y[1:] != y[:-1])  # one value of the column in two classes
        return len(np.unique(y)) == len(self.classes) == 1 + np.count_nonzero(y[1:] != y[:-1]) and not mixed.any()


# --- reading --------------------------------------------------------------------------------------------------------


def load(
    source: Any,
    target: str | None = None,
    task: str = "auto",
    *,
    group: str | None = None,
    time: str | None = None,
    weight: str | None = None,
    test: Any = None,
    encoding: str | None = None,
) -> Dataset:
    """Read a data set.

    Parameters
    ----------
    source: the name of a bundled set (`BUNDLED`), the path of a file, a polars data frame, a pair of arrays ``(X, y)``,
        or a `Dataset`, which is returned as it is. Files: CSV and TSV, Parquet, Feather, JSON lines and Excel; text
        files may be compressed (``.gz``, ``.bz2``, ``.xz``, ``.zst``).
    target: the column to predict. A bundled set has its own; a file without a column called target, label, class,
        outcome or y needs it given. Several columns of two values each, ``"sport,news,tech"``, or one of tags,
        ``sport|news``, are a multilabel target.
    task: ``binary``, ``multiclass``, ``multilabel``, ``regression``, ``count`` or ``positive``; ``auto`` reads it off
        the target.
    group: a column of names, such as patients: rows of one group are never both trained on and held out.
    time: a column of times or numbers: every held-out row is later than all rows that were trained on.
    weight: a column of sample weights: the training losses and the metrics weigh each row by it.
    test: a file or data frame with the same columns whose rows are held out instead of folds.
    encoding: of a text file; without it UTF-8, or what is detected.

    Raises `DataError` with a sentence if there is nothing to learn from.

    >>> load("irsi")
    Traceback (most recent call last):
    lossary.errors.DataError: no data set called "irsi": did you mean iris? ...
    """
    if task != "auto" and task not in TASKS:
        hint = suggest(task, TASKS) or f": there are auto, {', '.join(TASKS)}"
        raise DataError(f'no task called "{task}"{hint}')
    if isinstance(source, Dataset):
        return source
    roles = {"group": group, "time": time, "weight": weight}
    if test is not None and (isinstance(source, tuple) or str(source) in BUNDLED):
        raise DataError("test: a test set needs a file or a data frame to train on, with the same columns")
    if isinstance(source, tuple):
        return _prepare("arrays", *_frame_of_arrays(source, target), task, roles=roles)
    if not isinstance(source, (str, Path)):
        if target is None:
            raise DataError("a data frame needs target=, the column to predict")
        frame, target, notes = _with_test(source, [], test, target, encoding)
        return _prepare("data frame", frame, target, task, notes, roles)
    if str(source) in BUNDLED:
        frame, own, notes = _bundled(str(source), target)
        return _prepare(str(source), frame, own, task, notes, roles)
    path = Path(source)
    if not path.is_file():
        raise DataError(_no_such(str(source), path))
    frame, notes = _read(path, target, encoding)
    frame, target, notes = _with_test(frame, notes, test, target, encoding)
    return _prepare(path.stem.partition(".")[0] or path.name, frame, target, task, notes, roles)


def _with_test(
    frame: Any, notes: list[str], test: Any, target: str | None, encoding: str | None
) -> tuple[Any, str | None, list[str]]:
    """Append the rows of a test set to a table, marked as such."""
    if test is None:
        return frame, target, notes
    pl = require("polars")
    if isinstance(test, (str, Path)):
        path = Path(test)
        if not path.is_file():
            raise DataError(f"test: {_no_such(str(test), path)}")
        held_out, more = _read(path, target, encoding)
        notes = [*notes, *(note("{file}: {sentence}", file=path.name, sentence=sentence) for sentence in more)]
    else:
        held_out = test
    if missing := [c for c in frame.columns if c not in held_out.columns]:
        raise DataError(f"test: the column {missing[0]} is missing; the columns of both tables have to be the same")
    both = [
        frame.with_columns(pl.lit(False).alias(_TEST)),
        held_out.select(frame.columns).with_columns(pl.lit(True).alias(_TEST)),
    ]
    try:
        return pl.concat(both, how="vertical_relaxed"), target, notes
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"test: its columns do not fit those that are trained on: {reason}") from error


def _no_such(text: str, path: Path) -> str:
    if path.is_dir():
        return f"{text} is a folder; give one file"
    if path.suffix or len(path.parts) > 1:
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        return f"no file {text}{suggest(path.name, beside)}"
    hint = suggest(text, BUNDLED) or f"; there are {', '.join(BUNDLED)}"
    return f'no data set called "{text}"{hint} (or give a file)'


def _bundled(name: str, target: str | None) -> tuple[Any, str, list[str]]:
    """Return the table, the column to predict, and what there is to say about that choice."""
    pl, datasets = require("polars"), require("sklearn.datasets")
    bunch = getattr(datasets, f"load_{name}")()
    columns = {str(n): bunch.data[:, i] for i, n in enumerate(bunch.feature_names)}
    if name == "linnerud":  # three targets: the first unless another is asked for, and never the others as features
        measures = [str(n) for n in bunch.target_names]
        chosen = target if target in columns else target or measures[0]
        if chosen not in columns and chosen not in measures:
            raise DataError(
                f'linnerud has no column "{chosen}"{suggest(chosen, measures) or ": it has " + ", ".join(measures)}'
            )
        if chosen in measures:
            columns[chosen] = bunch.target[:, measures.index(chosen)]
        others = " or ".join(measure for measure in measures if measure != chosen)
        told: list[str] = []
        if not target:
            told.append(note("target: {chosen}; --target can be {others} instead", chosen=chosen, others=others))
        return pl.DataFrame(columns), chosen, told
    if name in ("digits", "diabetes"):
        own, values = ("digit" if name == "digits" else "progression"), bunch.target
    else:
        kinds = np.asarray(bunch.target_names).astype(str)
        own = {"iris": "species", "wine": "cultivar", "breast_cancer": "diagnosis"}[name]
        values = kinds[bunch.target]
    return pl.DataFrame({**columns, own: values}), target or own, []


def _frame_of_arrays(pair: tuple[Any, ...], target: str | None) -> tuple[Any, str]:
    pl = require("polars")
    if len(pair) != 2:
        raise DataError(f"arrays: got {len(pair)} of them, expected a pair (X, y)")
    X, y = np.asarray(pair[0]), np.asarray(pair[1])
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise DataError(f"arrays: got shapes {X.shape} and {y.shape}, expected (n, d) and (n,)")
    name = target or "y"
    return pl.DataFrame({**{f"x{i}": X[:, i] for i in range(X.shape[1])}, name: y}), name


def _read(path: Path, target: str | None, encoding: str | None) -> tuple[Any, list[str]]:
    """Return the table of a file, and notes on how it was read."""

    def check_header(names: Sequence[str]) -> None:
        if all(_is_number(name) for name in names):
            raise DataError(
                f"{path.name}: the first line holds only numbers ({', '.join(names[:4])}"
                f"{', ...' * (len(names) > 4)}); a line with the names of the columns is expected there"
            )

    frame, separator, notes = files.read(path, encoding, check_header)
    if separator:
        frame = _tidy(path.name, frame, separator, target, notes)
    return frame, notes


def _tidy(name: str, frame: Any, separator: str, target: str | None, notes: list[str]) -> Any:
    """Undo what is in the way in CSV files as people write them: spaces, decimal commas, one name for two columns."""
    pl = require("polars")
    renamed: dict[str, str] = {}
    repeated: dict[str, list[str]] = {}
    for place, column in enumerate(frame.columns, 1):
        plain, again, number = column.partition("_duplicated_")  # how polars calls the second column of a name
        plain = plain.strip()
        second = bool(plain) and again and number.isdigit()
        renamed[column] = f"{plain} ({int(number) + 2})" if second else column.strip() if plain else f"column {place}"
        if second:
            repeated.setdefault(plain, [plain]).append(renamed[column])
    if len(set(renamed.values())) < len(renamed):
        raise DataError(f"{name}: two columns have the same name but for spaces; rename one")
    frame = frame.rename(renamed)
    for plain, found in repeated.items():
        if target == plain or (target is None and plain.lower() in _TARGET_NAMES):
            raise DataError(f"{name} has {len(found)} columns called {plain}; rename all but the one to predict")
        notes.append(
            note(
                "{n} columns are called {name}; here they are {found}", n=len(found), name=plain, found=", ".join(found)
            )
        )
    commas = []
    for series in frame.select(pl.col(pl.String)):
        text = series.str.strip_chars()
        text = text.set(text.is_in(files.NULLS).fill_null(False), None)
        numbers = text.cast(pl.Float64, strict=False)
        if separator != "," and numbers.null_count() > text.null_count():
            numbers = text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
            commas += [series.name] if numbers.null_count() == text.null_count() else []
        frame = frame.with_columns(numbers if numbers.null_count() == text.null_count() else text)
    if commas:
        notes.append(note("{columns}: decimal commas read as points", columns=listed(commas)))
    return frame


def _is_number(text: str) -> bool:
    try:
        float(text.split("_duplicated_")[0])
    except ValueError:
        return False
    return True


# --- from a table to numbers ----------------------------------------------------------------------------------------


def _prepare(
    name: str,
    frame: Any,
    target: str | None,
    task: str,
    told: Sequence[str] = (),
    roles: Mapping[str, str | None] | None = None,
) -> Dataset:
    """Turn a table into a `Dataset`, or say why it cannot be; `told` are notes from reading it."""
    pl = require("polars")
    if not frame.width:
        raise DataError(f"{name} has no columns")
    given = {role: column for role, column in (roles or {}).items() if column is not None}
    several = _label_columns(name, frame.columns, target)
    column = several[0] if several else _target_column(name, [c for c in frame.columns if c != _TEST], target)
    notes = (
        [*told]
        if target
        else [note("target: {column}, by its name; --target chooses another column", column=column), *told]
    )
    for role, other in given.items():
        if other not in frame.columns or other == column:
            hint = suggest(other, frame.columns) or f"; it has {listed(frame.columns)}"
            what = "the target" if other == column else f'"{other}", which {name} does not have{hint}'
            raise DataError(f"--{role}: got {what}; expected another column")
    if not frame.height:
        raise DataError(f"{name} has a header but no rows")
    for label in several or [column]:
        frame = _complete_targets(name, frame, label, notes)
    frame = _with_amounts(frame, notes)
    if "weight" in given:
        frame = _weighted(frame, given["weight"], notes)
    if frame.height == 1:
        raise DataError(f"{name} has one row with a known {column}; nothing can be learned from one row")
    if "time" in given:
        frame = _in_order(frame, given["time"], notes)
    if _TEST in frame.columns:  # before groups, weights and target are read: all are in the order of the rows
        frame = frame.sort(_TEST, maintain_order=True)
    groups = weights = None
    if "group" in given:
        codes = frame[given["group"]].cast(pl.String).fill_null("").to_numpy()
        groups = np.unique(codes, return_inverse=True)[1]
        notes.append(
            note(
                "{counted} of {column}: none is in two folds",
                counted=counted(int(groups.max()) + 1, "group"),
                n=int(groups.max()) + 1,
                column=given["group"],
            )
        )
    if "weight" in given:
        weights = frame[given["weight"]].to_numpy()
    tests = 0
    if _TEST in frame.columns:
        tests = int(frame[_TEST].sum())
        notes.append(note("{tests} rows of the test file are held out; there are no folds", tests=f"{tests:,}"))
        frame = frame.drop(_TEST)
    if several:
        y, classes, chosen, decision = _labels([frame[label] for label in several], task)
    elif (tags := _tags(frame[column], task)) is not None:
        y, classes, chosen, decision = tags
    else:
        y, classes, chosen, decision = _target(frame[column], task, notes)
    features: list[tuple[str, Array, bool]] = []
    dropped: dict[Note, list[str]] = {}
    for series in frame.drop(*(several or [column]), *given.values()):
        features.extend(_feature(series, notes, dropped))
    lost = [note("{columns} dropped: {why}", columns=listed(columns), why=why) for why, columns in dropped.items()]
    notes += lost
    if not features:
        why = "; ".join(lost) or f"{column} is the only one"
        raise DataError(f"{name} has no usable feature column: {why}")
    X = np.stack([values for _, values, _ in features], axis=1)
    missing = np.isnan(X)
    gaps = [f"{features[i][0]} ({missing[:, i].sum():,})" for i in np.flatnonzero(missing.any(axis=0))]
    if gaps:
        notes.append(
            note(
                "missing values filled with the median of the training fold, and marked by a further 0/1 column: "
                "{columns}",
                columns=listed(gaps),
            )
        )
    return Dataset(
        name=name,
        X=X,
        y=y,
        features=tuple(n for n, _, _ in features),
        target=",".join(several) if several else column,
        task=chosen,
        decision=decision,
        classes=classes,
        continuous=tuple(c for _, _, c in features),
        notes=tuple(notes),
        groups=groups,
        weights=weights,
        ordered="time" in given,
        tests=tests,
    )


def _label_columns(name: str, columns: Sequence[str], target: str | None) -> list[str]:
    """Return the columns of a target such as ``"sport,news,tech"``; none for a target that is one column."""
    if target is None or target in columns or "," not in target:
        return []
    labels = [label.strip() for label in target.split(",")]
    for label in labels:
        if label not in columns:
            hint = suggest(label, columns) or f"; it has {listed([c for c in columns if c != _TEST])}"
            raise DataError(f'{name} has no column "{label}"{hint}')
    return list(dict.fromkeys(labels))


def _labels(columns: Sequence[Any], task: str) -> tuple[Array, tuple[str, ...], str, str]:
    """Return a table of 0 and 1 for columns of two values each: the larger of the two says that a label is there."""
    if task not in ("auto", "multilabel"):
        raise DataError(f"several target columns are a multilabel task, not {task}")
    table = []
    for series in columns:
        levels = series.unique().sort()
        if levels.len() != 2:
            values = counted(levels.len(), "different value")
            raise DataError(f"{series.name} has {values}, expected 2 for a column of a multilabel target")
        table.append((series == levels[1]).to_numpy().astype(np.int64))
    names = tuple(series.name for series in columns)
    return (
        np.stack(table, axis=1),
        names,
        "multilabel",
        note("multilabel, because the target has {n} columns", n=len(names)),
    )


def _tags(series: Any, task: str) -> tuple[Array, tuple[str, ...], str, str] | None:
    """Return a table of 0 and 1 for a column of tags such as ``sport|news``; None for any other column."""
    pl = require("polars")
    if series.dtype != pl.String or task not in ("auto", "multilabel"):
        if task == "multilabel":
            raise DataError(f"{series.name} holds no tags; a multilabel target is several columns, or tags like a|b")
        return None
    rows = [{tag.strip() for tag in text.split("|") if tag.strip()} for text in series.to_list()]
    tags = sorted(set().union(*rows))
    if not any(len(row) > 1 for row in rows) or len(tags) > _MOST_TAGS:
        if task == "multilabel":
            raise DataError(f"{series.name} holds no tags like a|b, or more than {_MOST_TAGS} different ones")
        return None
    table = np.array([[tag in row for tag in tags] for row in rows], dtype=np.int64)
    return (
        table,
        tuple(tags),
        "multilabel",
        note("multilabel, because {name} holds {n} tags separated by |", name=series.name, n=len(tags)),
    )


def _with_amounts(frame: Any, notes: list[str]) -> Any:
    """Read text columns of amounts as numbers, and say so."""
    pl = require("polars")
    for series in frame.select(pl.col(pl.String)):
        values = series.to_list()
        found = amounts(values)
        if found is None or series.cast(pl.Float64, strict=False).null_count() == series.null_count():
            continue
        numbers, unit = found
        shown, number = next((t, n) for t, n in zip(values, numbers, strict=True) if t is not None and n is not None)
        notes.append(
            note(
                "{name}: amounts as text read as numbers{unit}: {shown} as {number}",
                name=series.name,
                unit=note(" without {unit}", unit=unit) if unit else "",
                shown=shown,
                number=f"{number:g}",
            )
        )
        frame = frame.with_columns(pl.Series(series.name, numbers, dtype=pl.Float64))
    return frame


def _in_order(frame: Any, column: str, notes: list[str]) -> Any:
    """Sort a table by a column of times or numbers."""
    pl = require("polars")
    series = frame[column]
    if series.dtype == pl.String:
        try:
            series = series.str.to_datetime()
        except pl.exceptions.PolarsError:
            raise DataError(f"--time: {column} holds texts such as {series[0]}, expected times or numbers") from None
    if not (series.dtype.is_temporal() or series.dtype.is_numeric()):
        raise DataError(f"--time: {column} holds {_kind(series.dtype)}, expected times or numbers")
    if series.null_count():
        raise DataError(f"--time: {column} is missing in {counted(series.null_count(), 'row')}; leave those rows out")
    notes.append(
        note("rows sorted by {column}: every held-out row is later than those that are trained on", column=column)
    )
    return frame.with_columns(series.alias(column)).sort(column, maintain_order=True)


def _weighted(frame: Any, column: str, notes: list[str]) -> Any:
    """Return the rows of a table that have a sample weight above 0, with weights of mean 1.

    Only their ratios matter; of a common size, penalties and tolerances mean the same for any weights.
    """
    pl = require("polars")
    series = frame[column]
    if not series.dtype.is_numeric() or series.null_count():
        raise DataError(f"--weight: {column} holds missing values or no numbers; expected a weight for every row")
    weights = np.asarray(series.to_numpy(), dtype=float)
    wrong = weights[~(np.isfinite(weights) & (weights >= 0))]
    if wrong.size or not weights.any():
        shown = f"{wrong[0]:g}" if wrong.size else "0 in every row"
        raise DataError(f"--weight: {column} holds {shown}, expected numbers in [0, inf), some of them above 0")
    without = int((weights == 0).sum())
    if without:
        notes.append(note("{counted} of weight 0 left out", counted=counted(without, "row"), n=without))
    notes.append(note("losses and metrics weigh each row by {column}", column=column))
    weights = weights / weights.max()  # first, so that no sum of weights overflows
    kept = weights > 0
    return frame.filter(kept).with_columns(pl.Series(column, weights[kept] / weights[kept].mean()))


def _target_column(name: str, columns: Sequence[str], target: str | None) -> str:
    if target is None:
        usual = [c for c in columns if c.lower() in _TARGET_NAMES]
        if len(usual) != 1:
            raise DataError(f"{name}: say which column to predict with --target; it has {listed(columns)}")
        target = usual[0]
    if target not in columns:
        hint = suggest(target, columns) or f"; it has {listed(columns)}"
        raise DataError(f'{name} has no column "{target}"{hint}')
    if len(columns) == 1:
        raise DataError(f"{name} has only the column {target}; nothing is left to predict it from")
    return target


def _complete_targets(name: str, frame: Any, column: str, notes: list[str]) -> Any:
    series = frame[column]
    known = series.is_not_null()
    if series.dtype.is_float():
        known = known & series.is_finite().fill_null(False)
    dropped = int((~known).sum())
    if dropped == frame.height:
        raise DataError(f"{name}: {column} is missing in every row; choose another column with --target")
    if dropped:
        notes.append(
            note(
                "{counted} without a known {column} dropped", counted=counted(dropped, "row"), n=dropped, column=column
            )
        )
    return frame.filter(known)


def _target(series: Any, task: str, notes: list[str]) -> tuple[Array, tuple[str, ...], str, str]:
    """Return the target as numbers, the names of its classes, the task, and why it is that task."""
    name, n = series.name, series.len()
    if series.dtype.is_temporal() or series.dtype.is_nested():
        raise DataError(f"{name} holds {_kind(series.dtype)}, which cannot be predicted; choose another with --target")
    pl = require("polars")
    if series.dtype in (pl.Categorical, pl.Enum):
        series = series.cast(pl.String)  # an order of their own is not the one that `searchsorted` below relies on
    levels = series.unique().sort()
    different = levels.len()
    if different == 1:
        raise DataError(f"{name} is {_show(levels[0])} in every row: a constant target leaves nothing to learn")
    numeric = series.dtype.is_numeric()
    numbers = series.cast(pl.Float64).to_numpy() if numeric else None
    whole = numbers is not None and bool((numbers == np.floor(numbers)).all())
    decision = ""
    if task == "auto":
        task, decision = _guess(name, different, numbers, whole)
    if task in CLASS_TASKS:
        if not numeric:
            _note_similar(name, levels.cast(pl.String).to_list(), notes)
        if task == "binary" and different != 2:
            raise DataError(f"{name} has {different:,} different values, a binary target has 2; try --task multiclass")
        if different > max(100, n // 5):
            raise DataError(
                f"{name} has {different:,} different values in {n:,} rows: too many to be classes"
                + ("; try --task regression" if numeric else "; it looks like an identifier or free text")
            )
        classes = tuple(_show(level) for level in levels)
        return np.searchsorted(levels.to_numpy(), series.to_numpy()).astype(np.int64), classes, task, decision
    if numbers is None:
        raise DataError(
            f"{name} holds {_kind(series.dtype)} ({_show(levels[0])}, {_show(levels[1])} ...), not numbers; "
            f"it can be predicted with --task {'binary' if different == 2 else 'multiclass'}"
        )
    size = float(np.abs(numbers).max())
    if not 1 / _LARGEST <= size <= _LARGEST:
        raise DataError(f"{name} reaches {size:.3g}, whose square no float holds; give it in another unit")
    low = float(numbers.min())
    if task == "count" and not (whole and low >= 0):
        bad = numbers[(numbers < 0) | (numbers != np.floor(numbers))][0]
        raise DataError(f"{name} holds {bad:g}, which is no count (0, 1, 2, ...); try --task regression")
    if task == "positive" and low < 0:
        raise DataError(f"{name} holds {low:g}, which is negative; try --task regression")
    return numbers, (), task, decision


def _note_similar(name: str, levels: Sequence[str], notes: list[str]) -> None:
    """Say which labels differ only in case or spaces: they are different classes here."""
    alike: dict[str, list[str]] = {}
    for level in levels:
        alike.setdefault(" ".join(level.split()).casefold(), []).append(level)
    for group in alike.values():
        if len(group) > 1:
            shown = " and ".join(f'"{level}"' for level in group)
            notes.append(
                note(
                    "{name}: {shown} differ only in case or spaces, and are different classes until they are one",
                    name=name,
                    shown=shown,
                )
            )


def _guess(name: str, different: int, numbers: Array | None, whole: bool) -> tuple[str, str]:
    if different == 2:
        return "binary", note("binary, because {name} has 2 different values", name=name)
    if numbers is None:
        return "multiclass", note("multiclass, because {name} holds {n} different texts", name=name, n=f"{different:,}")
    if whole and different <= _CLASSES:
        if _looks_counted(numbers):
            return (
                "count",
                note(
                    "count, because {name} holds the numbers 0 to {most}, the larger the rarer "
                    "(or --task multiclass, or --task regression)",
                    name=name,
                    most=f"{numbers.max():g}",
                ),
            )
        or_count = note(", or --task count") if numbers.min() >= 0 else ""
        return (
            "multiclass",
            note(
                "multiclass, because {name} holds {n} different whole numbers (or --task regression{or_count})",
                name=name,
                n=f"{different:,}",
                or_count=or_count,
            ),
        )
    decision = note("regression, because {name} holds {n} different numbers", name=name, n=f"{different:,}")
    if numbers.min() == 0 and (numbers == 0).mean() >= 0.1:
        share = f"{100 * (numbers == 0).mean():.0f}"
        return "regression", note(
            "{decision}, {share} % of them 0 (or --task positive)", decision=decision, share=share
        )
    if numbers.min() > 0 or (whole and numbers.min() == 0):
        other = "count" if whole else "positive"
        return "regression", note("{decision} (or --task {other})", decision=decision, other=other)
    return "regression", decision


def _looks_counted(numbers: Array) -> bool:
    """Whether whole numbers begin at 0, leave none out, and get rarer towards the largest: events that were counted."""
    if numbers.min() != 0 or len(numbers) < 30:
        return False
    members = np.bincount(numbers.astype(int))
    if len(members) < 3 or len(members) > _CLASSES or not members.all():
        return False
    tail = members[int(members.argmax()) :]
    return bool(members.argmax() <= 1 and (np.diff(tail) < 0).all() and members.max() > 5 * members[-1])


def _feature(series: Any, notes: list[str], dropped: dict[Note, list[str]]) -> list[tuple[str, Array, bool]]:
    """Return the columns of numbers a column of the table becomes: name, values, whether it is continuous."""
    pl = require("polars")
    name, n = series.name, series.len()

    def drop(why: Note) -> list[tuple[str, Array, bool]]:
        dropped.setdefault(why, []).append(name)
        return []

    if series.null_count() == n:
        return drop(note("no value is known"))
    if series.dtype.is_temporal():
        return drop(note("{kind}; make numbers of them (a year, a duration) to use it", kind=_kind(series.dtype)))
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
        return drop(_kind(series.dtype))
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        values = series.cast(pl.Float64).to_numpy().astype(np.float64, copy=True)
        infinite = int(np.isinf(values).sum())
        if infinite:
            values[np.isinf(values)] = np.nan
            notes.append(
                note(
                    "{name}: {counted} taken as missing",
                    name=name,
                    counted=counted(infinite, "infinite value"),
                    n=infinite,
                )
            )
        known = values[~np.isnan(values)]
        if not known.size:
            return drop(note("no value is known"))
        _note_sentinel(name, known, notes)
        if (known == known[0]).all() and known.size == n:
            return drop(note("the same in every row"))
        if series.dtype.is_integer() and _is_identifier(name, known, n):
            return drop(note("different in every row, so it looks like an identifier"))
        return [(name, values, series.dtype != pl.Boolean)]
    text = series.cast(pl.String)
    levels = text.drop_nulls().unique().sort().to_list()
    if len(levels) == 1 and not text.null_count():
        return drop(note("the same in every row"))
    if len(levels) > _LEVELS:
        readable = text.cast(pl.Float64, strict=False)
        odd = text.filter(readable.is_null() & text.is_not_null())
        if not odd.len():  # the text that made texts of them stood in a row that is left out
            return _feature(readable, notes, dropped)
        if odd.len() < 0.5 * n:
            return drop(note("numbers, but also texts such as {text}; clean those to use it", text=_show(odd[0])))
        if len(levels) == n:
            return drop(note("different in every row, so it looks like an identifier"))
        return drop(note("{n} different texts, more than the {most} that are encoded", n=len(levels), most=_LEVELS))
    if text.null_count():
        notes.append(
            note(
                "{name}: {counted} encoded as a level of its own",
                name=name,
                counted=counted(text.null_count(), "missing value"),
                n=text.null_count(),
            )
        )
    shown = levels[1:] if len(levels) == 2 and not text.null_count() else levels
    encoded = [(f"{name}={level}", (text == level).fill_null(False).to_numpy().astype(float), False) for level in shown]
    if text.null_count():
        encoded.append((f"{name} missing", text.is_null().to_numpy().astype(float), False))
    notes.append(
        note(
            "{name} encoded as {counted} of 0 and 1", name=name, counted=counted(len(encoded), "column"), n=len(encoded)
        )
    )
    return encoded


def _note_sentinel(name: str, known: Array, notes: list[str]) -> None:
    """Say which number looks as if it stood for a missing value: -999 and the like, far from all others."""
    for number in _SENTINELS:
        times = int((known == number).sum())
        others = known[known != number]
        if times < 2 or len(others) < 2:
            continue
        low, high = float(others.min()), float(others.max())
        if min(abs(number - low), abs(number - high)) > 2 * (high - low) and not low <= number <= high:
            notes.append(
                note(
                    "{name}: {number} occurs {times} times, far from all other values: if it stands for a missing "
                    "value, leave those cells empty",
                    name=name,
                    number=number,
                    times=f"{times:,}",
                )
            )


def _is_identifier(name: str, values: Array, n: int) -> bool:
    if len(np.unique(values)) < n or n < 10:
        return False
    called = name.lower() in ("id", "index", "uuid", "row", "") or name.lower().endswith(("_id", " id"))
    steps = np.diff(values)
    return called or bool((steps == 1).all())


def _kind(dtype: Any) -> Note:
    if dtype.is_temporal():
        return note("dates or times")
    if dtype.is_nested():
        return note("lists or records")
    return (
        note("text") if str(dtype) in ("String", "Categorical", "Enum") else note("values of type {dtype}", dtype=dtype)
    )


def _show(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def counted(count: float, noun: str) -> str:
    """Write how many there are of something.

    >>> counted(1, "row"), counted(1797, "row"), counted(2, "loss")
    ('1 row', '1,797 rows', '2 losses')
    """
    written = f"{count:,.0f}"
    plural = "es" if noun.endswith("s") else "s"
    return f"{written} {noun}{plural * (written != '1')}"


def listed(words: Sequence[str], limit: int = 12) -> str:
    """Join words by commas; those beyond the limit are counted."""
    more = len(words) - limit
    shown = ", ".join(words[:limit])
    return note("{shown} and {n} more", shown=shown, n=more) if more > 0 else shown


def series(words: Sequence[str], limit: int = 6) -> str:
    """Join words as in a sentence: a, b and c.

    >>> series(["huber", "mape", "log_cosh"]), series("abc", 2)
    ('huber, mape and log_cosh', 'a, b and 1 more')
    """
    shown = list(words[:limit])
    if len(words) > limit:
        shown.append(f"{len(words) - limit} more")
    return "".join(shown) if len(shown) < 2 else f"{', '.join(shown[:-1])} and {shown[-1]}"
