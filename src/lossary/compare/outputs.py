"""Files that a comparison writes: the JSON numbers and the HTML report, checked before any training."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lossary._files import check_writable, save_text
from lossary.errors import ParameterError

STDOUT = "-"
_ENDINGS = {"json": (".json",), "report": (".html", ".htm")}
_OWN = ('"format": "lossary comparison', 'name="generator" content="lossary')  # near the beginning of what we write


def check(data: Any, *, json: str | Path | None, report: str | Path | None, force: bool = False) -> None:
    """Raise `ParameterError` for a file that cannot be written, has another ending, or would replace something else."""
    taken = {Path(data).resolve()} if isinstance(data, (str, Path)) else set()
    if str(json) == str(report) == STDOUT:
        raise ParameterError("json and report: both are -; standard output takes one of them")
    for name, path in (("json", json), ("report", report)):
        if path is None or str(path) == STDOUT:
            continue
        check_writable(path)
        check_ending(name, path)
        if Path(path).resolve() in taken:
            raise ParameterError(f"{path} is used twice; give the data, the report and the numbers a file each")
        taken.add(Path(path).resolve())
        if Path(path).exists() and not force and not _is_own(Path(path)):
            raise ParameterError(f"{path} exists and was not written by Lossary; --force (force=True) replaces it")


def check_ending(name: str, path: str | Path) -> None:
    """Raise `ParameterError` where the ending of a file does not fit its format, ``json`` or ``report``."""
    endings = _ENDINGS[name]
    if Path(path).suffix.lower() not in endings:
        what = "numbers are JSON" if name == "json" else "report is HTML"
        raise ParameterError(f"{name}: got {path}, expected a name that ends in {endings[0]}: the {what}")


def write(path: str | Path | None, text: Callable[[], str]) -> None:
    """Write a text to a file, whole or not at all, or to standard output."""
    if path is None:
        return
    if str(path) == STDOUT:
        sys.stdout.write(text() + "\n")
    else:
        save_text(path, text())


def _is_own(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            beginning = file.read(4096)
    except OSError:  # what cannot be read cannot be recognised
        return False
    return not beginning or any(mark.encode() in beginning for mark in _OWN)
