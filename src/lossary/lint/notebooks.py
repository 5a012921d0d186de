"""Jupyter notebooks: what IPython adds to Python is blanked out, and strings are replaced where they stand in the JSON."""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_MAGIC = re.compile(r"^(\s*)(%|!|\?)|\?\s*$")
_ASSIGNED_MAGIC = re.compile(r"^\s*[\w., ]+=\s*(%|!)")
_PYTHON_CELL = re.compile(r"\s*%%(time|timeit|capture|prun|snakeviz|memit|mprun|skip)\b")
# Commands that IPython runs without a percent sign, where no variable has their name.
_AUTOMAGIC = re.compile(
    r"^\s*(alias|autoreload|bookmark|cat|cd|clear|conda|config|cp|debug|env|git|hist|history|ldir|less|load|load_ext|ls|"
    r"lsmagic|mamba|man|matplotlib|mkdir|more|mv|nvidia-smi|pdb|pinfo|pip3?|popd|prun|pushd|pwd|pylab|recall|reset|rm|"
    r"rmdir|run|store|time|timeit|tree|uv|wget|who|whos|xmode)(\s+(?![=(\[.,+*/%&|^<>)]|in\b|is\b|and\b|or\b|if\b)\S.*)?$"
)


def without_magics(text: str) -> str:
    """Replace what IPython understands and Python does not; lines and columns stay where they are."""
    if text.lstrip().startswith("%%") and not _PYTHON_CELL.match(text):
        return "\n" * text.count("\n")
    lines: list[str] = []
    continued = False
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        magic = continued or _MAGIC.search(line) or _ASSIGNED_MAGIC.match(line)
        continued = bool(magic) and line.rstrip().endswith("\\")
        if magic:
            indent = line[: len(line) - len(line.lstrip())]
            line = f"{indent}pass" if indent else ""
        lines.append(line)
    return "\n".join(lines)


def without_automagics(text: str) -> str:
    """Replace commands such as ``cd data`` and ``pip install x``; for cells that are no Python with them."""
    return "\n".join("" if _AUTOMAGIC.match(line) else line for line in text.split("\n"))


def dedented(text: str) -> tuple[str, tuple[int, ...]]:
    """Remove the indentation of the first line from all, as IPython does; also return what was removed of each."""
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    if not indent:
        return text, ()
    removed = tuple(len(indent) if line.startswith(indent) else 0 for line in lines)
    return "\n".join(line[cut:] for line, cut in zip(lines, removed, strict=True)), removed


def cell_source(cell: Any) -> str:
    """Return the text of a cell, which nbformat keeps as one string or as a list of lines."""
    source = cell.get("source", cell.get("input", ""))
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def cells_of(book: Any) -> list[Any]:
    """Return the cells of a notebook, of nbformat 4 or of 3, which keeps them on worksheets."""
    cells = book["cells"] if "cells" in book else [cell for sheet in book["worksheets"] for cell in sheet["cells"]]
    return [cell for cell in cells if isinstance(cell, dict)]


# --- where strings stand in the JSON ----------------------------------------------------------------------------------

_TOKEN = re.compile(r'[ \t\r\n]*(?:("(?:[^"\\]|\\.)*")|([{}\[\],:])|([^\s{}\[\],:"]+))')


@dataclass
class Source:
    """Where the source of a cell stands in the JSON: the places of its strings, one or one for each line."""

    strings: list[tuple[int, int]] = field(default_factory=list)
    many: bool = False


def sources_of(raw: str) -> list[Source]:
    """Return the places of the cells' sources in the text of a notebook, in the order of the cells.

    >>> [raw[a:b] for raw in ['{"cells": [{"source": ["x = 1"]}]}'] for a, b in sources_of(raw)[0].strings]
    ['"x = 1"']
    """
    found: list[Source] = []
    path: list[Any] = []  # keys and positions from the outermost
    key: str | None = None
    for match in _TOKEN.finditer(raw):
        string, mark, _ = match.groups()
        if mark in ("{", "["):
            path.append(key if key is not None else None)
            key = None
            if mark == "{" and _is_cell(path):
                found.append(Source())
            elif mark == "[" and found and _is_cell([*path[:-2], None]) and path[-1] in ("source", "input"):
                found[-1].many = True
            path.append(mark)
        elif mark in ("}", "]"):
            del path[-2:]
            key = None
        elif mark == ",":
            key = None
        elif string is not None:
            inside = path[-1] if path else ""
            if inside == "{" and key is None:
                key = json.loads(string)
                continue
            place = (match.start(1), match.end(1))
            if (found and inside == "{" and key in ("source", "input") and _is_cell(path[:-1])) or (
                found and inside == "[" and path[-2] in ("source", "input") and _is_cell(path[:-3])
            ):
                found[-1].strings.append(place)
    return found


def _is_cell(path: list[Any]) -> bool:
    """Whether a path leads to an object of a list of cells: {cells: [ {}, ...]}, on a worksheet or not."""
    marks = [step for step in path if step in ("{", "[")]
    keys = [step for step in path if step not in ("{", "[", None)]
    return (marks == ["{", "["] and keys == ["cells"]) or (
        marks == ["{", "[", "{", "["] and keys == ["worksheets", "cells"]
    )


def spliced(raw: str, changed: Mapping[int, Callable[[str], str]]) -> str:
    """Return the text of a notebook with the sources of some cells (from 0) changed, and all else as it was."""
    book = json.loads(raw)
    cells, places = cells_of(book), sources_of(raw)
    edits: list[tuple[int, int, str]] = []
    for at, change in changed.items():
        text, place = change(cell_source(cells[at])), places[at]
        if not place.strings:
            continue
        first, last = place.strings[0][0], place.strings[-1][1]
        plain = raw[first:last].isascii() and "\\u" in raw[first:last]
        if not place.many:
            edits.append((first, last, json.dumps(text, ensure_ascii=plain)))
            continue
        between = raw[place.strings[0][1] : place.strings[1][0]] if len(place.strings) > 1 else ", "
        lines = re.findall(r"[^\n]*\n|[^\n]+", text)
        edits.append((first, last, between.join(json.dumps(line, ensure_ascii=plain) for line in lines)))
    for first, last, text in sorted(edits, reverse=True):
        raw = raw[:first] + text + raw[last:]
    return raw


def line_numbers(raw: str) -> list[list[int]]:
    """Return, for each cell, the lines of the JSON that hold the lines of its source."""
    starts = [0, *(match.end() for match in re.finditer(r"\n", raw))]
    found = []
    for place in sources_of(raw):
        lines: list[int] = []
        for first, last in place.strings:
            number = bisect.bisect_right(starts, first)
            lines += [number] * max(1, json.loads(raw[first:last]).count("\n") + (0 if place.many else 1))
        found.append(lines)
    return found
