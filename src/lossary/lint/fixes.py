"""Mending what can be mended: edits by position, kept only if the result is still Python."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from lossary._files import write_atomic
from lossary.lint.config import Config
from lossary.lint.engine import check_unit
from lossary.lint.flow import Project
from lossary.lint.notebooks import spliced
from lossary.lint.records import Edit, Finding, Fix
from lossary.lint.sources import TooDeepError, Unit, contents, lines_of, parse, read, worth_reading

_ROUNDS = 10


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Return a text with edits made, the last first, so that positions hold; edits that overlap an earlier are left.

    >>> apply("a = 1", [Edit((1, 4), (1, 5), "2")])
    'a = 2'
    """
    starts = [0]
    for line in lines_of(text):
        starts.append(starts[-1] + len(line))

    def offset(position: tuple[int, int]) -> int:
        return min(starts[min(position[0], len(starts)) - 1] + position[1], len(text))

    limit = len(text) + 1
    for first, last, new in sorted(((offset(e.start), offset(e.end), e.text) for e in set(edits)), reverse=True):
        if last <= limit and first <= last:
            text = text[:first] + new + text[last:]
            limit = first
    return text


def _still_python(text: str) -> bool:
    try:
        parse(text)
    except (SyntaxError, TooDeepError):
        return False
    return True


def _round(path: Path, data: bytes, config: Config, unsafe: bool) -> tuple[bytes, int]:
    """Mend once; return the file's new bytes and how many findings were mended."""
    unit = read(path, data)
    found = check_unit(unit, Project(), frozenset({path}))
    codes = config.rules_for(path)
    fixes = [
        f.fix for f in found if f.fix is not None and f.path == str(path) and f.code in codes and (f.fix.safe or unsafe)
    ]
    chosen = _apart(fixes)
    if not chosen:
        return data, 0
    mended = [edit for fix in chosen for edit in fix.edits]
    if not _still_python(apply(unit.text, mended)):
        # One of them does not fit: make each that does by itself.
        chosen = [fix for fix in chosen if _still_python(apply(unit.text, fix.edits))][:1]
        mended = [edit for fix in chosen for edit in fix.edits]
    if not chosen:
        return data, 0
    return _written(path, unit, data, mended), len(chosen)


def _apart(fixes: Iterable[Fix]) -> list[Fix]:
    """Return fixes that do not touch each other; the rest waits for the next round."""
    taken: list[tuple[tuple[int, int], tuple[int, int]]] = []
    chosen = []
    for fix in fixes:
        spans = [(e.start, e.end) for e in fix.edits]
        if all(end < other_start or other_end < start for start, end in spans for other_start, other_end in taken):
            taken += spans
            chosen.append(fix)
    return chosen


def _written(path: Path, unit: Unit, data: bytes, edits: list[Edit]) -> bytes:
    suffix = path.suffix.lower()
    if suffix == ".ipynb":
        return _notebook(unit, edits)
    if suffix == ".md":
        placed = [Edit(_in_file(unit, e.start), _in_file(unit, e.end), e.text) for e in edits]
        return apply(unit.raw, placed).encode(unit.encoding)
    return apply(unit.text, edits).encode(unit.encoding)


def _in_file(unit: Unit, position: tuple[int, int]) -> tuple[int, int]:
    _, line, column = unit.place(*position)
    return line, column - 1


def _notebook(unit: Unit, edits: list[Edit]) -> bytes:
    by_cell: dict[int, list[Edit]] = {}
    for edit in edits:
        cell = unit.segment(edit.start[0]).cell
        by_cell.setdefault(cell, []).append(Edit(_in_file(unit, edit.start), _in_file(unit, edit.end), edit.text))
    changes = {cell - 1: partial(apply, edits=wanted) for cell, wanted in by_cell.items()}
    return spliced(unit.raw, changes).encode(unit.encoding)


def fix_bytes(path: Path, data: bytes, config: Config, *, unsafe: bool = False) -> tuple[bytes, int]:
    """Return a file's bytes with everything mended that can be, and how many findings that were."""
    total = 0
    for _ in range(_ROUNDS):
        mended, count = _round(path, data, config, unsafe)
        if count == 0 or mended == data:
            break
        data, total = mended, total + count
    return data, total


def fix_files(findings: Iterable[Finding], config: dict[str, Config], *, unsafe: bool = False) -> tuple[int, list[str]]:
    """Mend the files of some findings in place; return how many findings were mended, and what could not be written."""
    total = 0
    refused: list[str] = []
    for name in sorted({f.path for f in findings if f.fix is not None}):
        path = Path(name)
        data = contents(path)
        if isinstance(data, Unit) or not worth_reading(data):
            continue
        mended, count = fix_bytes(path.resolve(), data, config[name], unsafe=unsafe)
        if count and mended != data:
            try:
                write_atomic(path.resolve(strict=True), mended, sync=True)  # a file that is gone stays gone
            except OSError as wrong:
                refused.append(f"{name}: cannot be written: {wrong.strerror or wrong}")
                continue
            total += count
    return total, refused
