"""Data sets for supervised learning: bundled sets, CSV and Parquet files, and how columns become numbers.

Nothing is done silently. Every column that is encoded, filled or dropped leaves a sentence in `Dataset.notes`, the
task that was read off the target says why in `Dataset.decision`, and a table that cannot be learned from is a
`DataError` saying what to do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.errors import DataError, require, suggest

Array = NDArray[Any]

BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
TASKS = ("binary", "multiclass", "regression", "count", "positive")
CLASS_TASKS = ("binary", "multiclass")

_LEVELS = 20  # a text column with more different values than this is not encoded
_CLASSES = 10  # a whole-number target with more different values than this is a quantity, not a class
_TARGET_NAMES = ("target", "label", "class", "outcome", "y")
_NULLS = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "?"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table ready to be learned from: `X` of shape ``(n, d)`` with NaN where a value is missing, and `y` of ``(n,)``.

    `y` holds class indices for the tasks ``binary`` and ``multiclass`` (their names are in `classes`) and numbers
    otherwise, in the units of the table.

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

    @property
    def categorical(self) -> bool:
        """Whether the target is a class."""
        return self.task in CLASS_TASKS


# --- reading --------------------------------------------------------------------------------------------------------


def load(source: Any, target: str | None = None, task: str = "auto") -> Dataset:
    """Read a data set.

    Parameters
    ----------
    source: the name of a bundled set (`BUNDLED`), the path of a ``.csv``, ``.tsv`` or ``.parquet`` file, a polars
        data frame, a pair of arrays ``(X, y)``, or a `Dataset`, which is returned as it is.
    target: the column to predict. A bundled set has its own; a file without a column called target, label, class,
        outcome or y needs it said.
    task: ``binary``, ``multiclass``, ``regression``, ``count`` or ``positive``; ``auto`` reads it off the target.

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
    if isinstance(source, tuple):
        return _prepare("arrays", *_frame_of_arrays(source, target), task)
    if not isinstance(source, (str, Path)):
        if target is None:
            raise DataError("a data frame needs target=, the column to predict")
        return _prepare("data frame", source, target, task)
    if str(source) in BUNDLED:
        frame, own, notes = _bundled(str(source), target)
        return _prepare(str(source), frame, own, task, notes)
    path = Path(source)
    if not path.is_file():
        raise DataError(_no_such(str(source), path))
    frame, notes = _read(path, target)
    return _prepare(path.stem, frame, target, task, notes)


def _no_such(text: str, path: Path) -> str:
    if path.is_dir():
        return f"{text} is a folder; give one CSV or Parquet file"
    if path.suffix or len(path.parts) > 1:
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        return f"no file {text}{suggest(path.name, beside)}"
    hint = suggest(text, BUNDLED) or f"; there are {', '.join(BUNDLED)}"
    return f'no data set called "{text}"{hint} (or give a CSV or Parquet file)'


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
        told = [] if target else [f"target: {chosen}; --target can be {others} instead"]
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


def _read(path: Path, target: str | None) -> tuple[Any, list[str]]:
    """Return the table of a file, and what was decided on the way."""
    pl = require("polars")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty")
    notes: list[str] = []
    try:
        if _is_parquet(path):
            frame = pl.read_parquet(path)
        else:
            header = _header(path)
            separator = max(",;\t|", key=header.count)
            frame = pl.read_csv(
                path, separator=separator, null_values=_NULLS, try_parse_dates=True, infer_schema_length=None
            )
            if all(_is_number(name) for name in frame.columns):
                raise DataError(
                    f"{path.name}: the first line holds only numbers ({', '.join(frame.columns[:4])}"
                    f"{', ...' * (frame.width > 4)}); a line with the names of the columns is expected there"
                )
            frame = _tidy(path.name, frame, separator, target, notes)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0].rstrip(".")
        if "found more fields" in reason:
            reason = "a row has more fields than the first line has names"
        if "utf-8" in reason.lower():
            reason = "it is in another encoding; save it in UTF-8"
        raise DataError(f"{path.name} cannot be read as {_format(path)}: {reason}") from error
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
        notes.append(f"{len(found)} columns are called {plain}; here they are {', '.join(found)}")
    commas = []
    for series in frame.select(pl.col(pl.String)):
        text = series.str.strip_chars()
        text = text.set(text.is_in(_NULLS).fill_null(False), None)
        numbers = text.cast(pl.Float64, strict=False)
        if separator != "," and numbers.null_count() > text.null_count():
            numbers = text.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
            commas += [series.name] if numbers.null_count() == text.null_count() else []
        frame = frame.with_columns(numbers if numbers.null_count() == text.null_count() else text)
    if commas:
        notes.append(f"{listed(commas)}: decimal commas read as points")
    return frame


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _format(path: Path) -> str:
    return "Parquet" if _is_parquet(path) else "CSV in UTF-8"


def _header(path: Path) -> str:
    """Return the line of names without what is quoted: separators and ends of lines there are none."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        beginning = file.read(1 << 16)
    return (re.sub(r'"[^"]*"', "", beginning).splitlines() or [""])[0]


def _is_number(text: str) -> bool:
    try:
        float(text.split("_duplicated_")[0])
    except ValueError:
        return False
    return True


# --- from a table to numbers ----------------------------------------------------------------------------------------


def _prepare(name: str, frame: Any, target: str | None, task: str, told: Sequence[str] = ()) -> Dataset:
    """Turn a table into a `Dataset`, or say why it cannot be; `told` are notes from reading it."""
    if not frame.width:
        raise DataError(f"{name} has no columns")
    column = _target_column(name, frame.columns, target)
    notes = [*told] if target else [f"target: {column}, by its name; --target chooses another column", *told]
    if not frame.height:
        raise DataError(f"{name} has a header but no rows")
    frame = _complete_targets(name, frame, column, notes)
    if frame.height == 1:
        raise DataError(f"{name} has one row with a known {column}; nothing can be learned from one row")
    y, classes, chosen, decision = _target(frame[column], task)
    features: list[tuple[str, Array, bool]] = []
    dropped: dict[str, list[str]] = {}
    for series in frame.drop(column):
        features.extend(_feature(series, notes, dropped))
    lost = [f"{listed(columns)} dropped: {why}" for why, columns in dropped.items()]
    notes += lost
    if not features:
        why = "; ".join(lost) or f"{column} is the only one"
        raise DataError(f"{name} has no usable feature column: {why}")
    X = np.stack([values for _, values, _ in features], axis=1)
    missing = np.isnan(X)
    gaps = [f"{features[i][0]} ({missing[:, i].sum():,})" for i in np.flatnonzero(missing.any(axis=0))]
    if gaps:
        notes.append(
            "missing values filled with the median of the training fold, and marked by a further 0/1 column: "
            + listed(gaps)
        )
    return Dataset(
        name=name,
        X=X,
        y=y,
        features=tuple(n for n, _, _ in features),
        target=column,
        task=chosen,
        decision=decision,
        classes=classes,
        continuous=tuple(c for _, _, c in features),
        notes=tuple(notes),
    )


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
        notes.append(f"{counted(dropped, 'row')} without a known {column} dropped")
    return frame.filter(known)


def _target(series: Any, task: str) -> tuple[Array, tuple[str, ...], str, str]:
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
    low = float(numbers.min())
    if task == "count" and not (whole and low >= 0):
        bad = numbers[(numbers < 0) | (numbers != np.floor(numbers))][0]
        raise DataError(f"{name} holds {bad:g}, which is no count (0, 1, 2, ...); try --task regression")
    if task == "positive" and low <= 0:
        raise DataError(f"{name} holds {low:g}, which is not positive; try --task regression")
    return numbers, (), task, decision


def _guess(name: str, different: int, numbers: Array | None, whole: bool) -> tuple[str, str]:
    if different == 2:
        return "binary", f"binary, because {name} has 2 different values"
    if numbers is None:
        return "multiclass", f"multiclass, because {name} holds {different:,} different texts"
    if whole and different <= _CLASSES:
        return (
            "multiclass",
            f"multiclass, because {name} holds {different:,} different whole numbers (or --task regression)",
        )
    if whole and numbers.min() >= 0:
        return "regression", f"regression, because {name} holds {different:,} different numbers (or --task count)"
    return "regression", f"regression, because {name} holds {different:,} different numbers"


def _feature(series: Any, notes: list[str], dropped: dict[str, list[str]]) -> list[tuple[str, Array, bool]]:
    """Return the columns of numbers a column of the table becomes: name, values, whether it is continuous."""
    pl = require("polars")
    name, n = series.name, series.len()

    def drop(why: str) -> list[tuple[str, Array, bool]]:
        dropped.setdefault(why, []).append(name)
        return []

    if series.null_count() == n:
        return drop("no value is known")
    if series.dtype.is_temporal():
        return drop(f"{_kind(series.dtype)}; make numbers of them (a year, a duration) to use it")
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
        return drop(_kind(series.dtype))
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        values = series.cast(pl.Float64).to_numpy().astype(np.float64, copy=True)
        infinite = int(np.isinf(values).sum())
        if infinite:
            values[np.isinf(values)] = np.nan
            notes.append(f"{name}: {counted(infinite, 'infinite value')} taken as missing")
        known = values[~np.isnan(values)]
        if not known.size:
            return drop("no value is known")
        if (known == known[0]).all() and known.size == n:
            return drop("the same in every row")
        if series.dtype.is_integer() and _is_identifier(name, known, n):
            return drop("different in every row, so it looks like an identifier")
        return [(name, values, series.dtype != pl.Boolean)]
    text = series.cast(pl.String)
    levels = text.drop_nulls().unique().sort().to_list()
    if len(levels) == 1 and not text.null_count():
        return drop("the same in every row")
    if len(levels) > _LEVELS:
        readable = text.cast(pl.Float64, strict=False)
        odd = text.filter(readable.is_null() & text.is_not_null())
        if not odd.len():  # the text that made texts of them stood in a row that is left out
            return _feature(readable, notes, dropped)
        if odd.len() < 0.5 * n:
            return drop(f"numbers, but also texts such as {_show(odd[0])}; clean those to use it")
        if len(levels) == n:
            return drop("different in every row, so it looks like an identifier")
        return drop(f"{len(levels)} different texts, more than the {_LEVELS} that are encoded")
    if text.null_count():
        notes.append(f"{name}: {counted(text.null_count(), 'missing value')} encoded as a level of its own")
    shown = levels[1:] if len(levels) == 2 and not text.null_count() else levels
    encoded = [(f"{name}={level}", (text == level).fill_null(False).to_numpy().astype(float), False) for level in shown]
    if text.null_count():
        encoded.append((f"{name} missing", text.is_null().to_numpy().astype(float), False))
    notes.append(f"{name} encoded as {counted(len(encoded), 'column')} of 0 and 1")
    return encoded


def _is_identifier(name: str, values: Array, n: int) -> bool:
    if len(np.unique(values)) < n or n < 10:
        return False
    called = name.lower() in ("id", "index", "uuid", "row", "") or name.lower().endswith(("_id", " id"))
    steps = np.diff(values)
    return called or bool((steps == 1).all())


def _kind(dtype: Any) -> str:
    if dtype.is_temporal():
        return "dates or times"
    if dtype.is_nested():
        return "lists or records"
    return "text" if str(dtype) in ("String", "Categorical", "Enum") else f"values of type {dtype}"


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
    return ", ".join(words[:limit]) + (f" and {more} more" if more > 0 else "")


def series(words: Sequence[str], limit: int = 6) -> str:
    """Join words as in a sentence: a, b and c.

    >>> series(["huber", "mape", "log_cosh"]), series("abc", 2)
    ('huber, mape and log_cosh', 'a, b and 1 more')
    """
    shown = list(words[:limit])
    if len(words) > limit:
        shown.append(f"{len(words) - limit} more")
    return "".join(shown) if len(shown) < 2 else f"{', '.join(shown[:-1])} and {shown[-1]}"
