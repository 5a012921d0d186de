"""Benchmark reports: cases, times, memory and the machine, as data and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.cases import size_text
from benchmarks.peers import OURS, PEERS
from benchmarks.timing import Times
from lossary.errors import DataError

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One contender in one row: seconds of a call, share of the copy bandwidth, bytes of memory beyond the inputs."""

    times: Times
    bandwidth: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Ratio:
    """The time of a peer divided by ours, of medians; and between the quartiles that speak least and most for us."""

    middle: float
    low: float
    high: float
    beside: str


@dataclass(frozen=True)
class Row:
    """A case in one mode: who was measured, and why others were not."""

    loss: str
    variant: str
    shape: tuple[int, ...]
    dtype: str
    mode: str
    entries: dict[str, Entry] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    copy: float | None = None  # bytes read and written in a second by the copy beside them
    others: float | None = None  # processors kept busy by others meanwhile

    @property
    def title(self) -> str:
        """The loss and how it differs from the plain one."""
        return f"{self.loss}, {self.variant}" if self.variant else self.loss

    @property
    def size(self) -> str:
        """The shape as one types it."""
        return size_text(self.shape)

    def ratio(self, key: str) -> Ratio | None:
        """Return how many times as long as Lossary a peer takes; None if one of the two is not here."""
        ours = next((own for own in PEERS[key].beside if own in self.entries), None)
        if ours is None or key not in self.entries:
            return None
        a, b = self.entries[key].times, self.entries[ours].times
        return Ratio(a.median / b.median, a.low / b.high, a.high / b.low, ours)


@dataclass(frozen=True)
class Report:
    """All rows of a suite in one type."""

    suite: str
    dtype: str
    machine: dict[str, Any]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    load: float | None = None

    @property
    def stem(self) -> str:
        """What its files are called."""
        return f"{self.suite}-{self.dtype}"

    @property
    def modes(self) -> list[str]:
        """The modes in which there are rows, in their order."""
        return list(dict.fromkeys(row.mode for row in self.rows))

    @property
    def keys(self) -> list[str]:
        """The contenders that were measured in some row, in the order of `PEERS`."""
        return [key for key in PEERS if any(key in row.entries for row in self.rows)]

    @property
    def wrong(self) -> list[str]:
        """A sentence for each row in which Lossary itself failed or gave another answer."""
        return [
            f"{row.title} {row.size}, {row.mode}: {PEERS[key].label}: {why}"
            for row in self.rows
            for key, why in row.left_out.items()
            if key in OURS
        ]

    def ratios(self, key: str, mode: str) -> list[tuple[Row, Ratio]]:
        """Return the rows of a mode in which a peer has a ratio."""
        found = ((row, row.ratio(key)) for row in self.rows if row.mode == mode)
        return [(row, ratio) for row, ratio in found if ratio is not None]

    def to_json(self) -> str:
        """Write everything that was measured, and the ratios that follow, as JSON."""
        data = asdict(self)
        for row, written in zip(self.rows, data["rows"], strict=True):
            ratios = {key: row.ratio(key) for key in row.entries}
            written["ratios"] = {key: asdict(ratio) for key, ratio in ratios.items() if ratio is not None}
        return json.dumps({"format": FORMAT, **data}, indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> Report:
        """Return the report that was written; raise `DataError` if it is none."""
        try:
            data = json.loads(text)
            if data.pop("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            return Report(**data | {"rows": list(map(_row, data["rows"]))})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"this is no report of the benchmarks: {error}") from None

    @staticmethod
    def read(path: Path) -> Report:
        """Return the report of a file."""
        try:
            return Report.from_json(path.read_text())
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
        except DataError as error:
            raise DataError(f"{path}: {error}") from None

    def with_memory(self, taken: dict[tuple[int, str], int]) -> Report:
        """Return the report with the peak memory of a row, by its number, and contender."""
        rows = [
            replace(row, entries={k: replace(e, memory=taken.get((n, k), e.memory)) for k, e in row.entries.items()})
            for n, row in enumerate(self.rows)
        ]
        return replace(self, rows=rows)


def _row(data: dict[str, Any]) -> Row:
    entries = {key: Entry(**entry | {"times": Times(**entry["times"])}) for key, entry in data["entries"].items()}
    rest = {name: x for name, x in data.items() if name != "ratios"}
    return Row(**rest | {"shape": tuple(data["shape"]), "entries": entries})


def geometric_mean(numbers: Iterable[float]) -> float:
    """Return the mean that fits ratios: that of a half and of two is one.

    >>> geometric_mean([0.5, 2.0])
    1.0
    """
    logs = [math.log(x) for x in numbers]
    return math.exp(math.fsum(logs) / len(logs))
