"""Notebooks of the tutorials in English and Chinese, executed, from one source: ``examples/tutorials/*.py``.

    python docs/make_notebooks.py FOLDER

A tutorial is a script in Jupytext's percent format: ``# %%`` begins a code cell and ``# %% [markdown] lang="en"`` a
text cell in one language. Code stands once, so the two notebooks of a tutorial, ``FOLDER/en/NAME.ipynb`` and
``FOLDER/zh/NAME.ipynb``, compute the same. Text keeps its formulas between dollar signs. Cells are executed here, one
after the other in one namespace, and what they print is their output; a cell that fails ends the build.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).resolve().parent.parent / "examples" / "tutorials"
LANGUAGES = ("en", "zh")
_CELL = re.compile(r'^# %%(?: \[markdown\] lang="(?P<lang>\w+)")?$', re.MULTILINE)


@dataclass(frozen=True)
class TutorialCell:
    """A cell of a tutorial: code, or text in the language `lang`."""

    source: str
    lang: str | None = None


def cells(path: Path) -> list[TutorialCell]:
    """Return the cells of a tutorial; what stands before the first one, its docstring, is left out."""
    text = path.read_text("utf-8")
    marks = list(_CELL.finditer(text))
    found = []
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        source = text[mark.end() : following.start() if following else len(text)].strip("\n")
        if mark["lang"]:
            source = "\n".join(line.removeprefix("#").removeprefix(" ") for line in source.splitlines())
        found.append(TutorialCell(source, mark["lang"]))
    return found


def executed(path: Path) -> Iterator[tuple[TutorialCell, str]]:
    """Execute the code cells of a tutorial in order; yield every cell with what it printed."""
    space: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells(path):
        printed = io.StringIO()
        if cell.lang is None:
            with contextlib.redirect_stdout(printed):
                exec(compile(cell.source, str(path), "exec"), space)
        yield cell, printed.getvalue()


def notebook(run: list[tuple[TutorialCell, str]], lang: str) -> dict[str, Any]:
    """Return the notebook of an executed tutorial in one language."""
    made: list[dict[str, Any]] = []
    for number, (cell, printed) in enumerate(run):
        common = {"id": f"cell-{number}", "metadata": {}, "source": cell.source.splitlines(keepends=True)}
        if cell.lang is None:
            outputs = [{"output_type": "stream", "name": "stdout", "text": printed.splitlines(keepends=True)}]
            count = 1 + sum(each["cell_type"] == "code" for each in made)
            code = {"cell_type": "code", "execution_count": count, "outputs": outputs if printed else []}
            made.append(common | code)
        elif cell.lang == lang:
            made.append(common | {"cell_type": "markdown"})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def main(folder: Path) -> None:
    """Write all notebooks below a folder."""
    for path in sorted(TUTORIALS.glob("*.py")):
        run = list(executed(path))
        for lang in LANGUAGES:
            target = folder / lang / f"{path.stem}.ipynb"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(notebook(run, lang), ensure_ascii=False, indent=1) + "\n", "utf-8")
            print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/notebooks"))
