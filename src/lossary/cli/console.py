"""Where the commands print."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console


def output(pipe: int = 120) -> Console:
    """Return a console as wide as the terminal; a pipe has no width and is given one."""
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    found = Console(highlight=False, width=pipe if piped else None)
    found.width = max(found.width, 20)  # COLUMNS=0 is said where nobody knows the width
    return found


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show how much of a long work is done, on the error stream of a terminal; say so too where it is interrupted.

    What is yielded is told how many units are done, of how many, and what is going on.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    progress_to = Console(stderr=True)
    reached = (0, 0)
    bar = Progress(*columns, console=progress_to, transient=True, disable=not progress_to.is_terminal)
    line = bar.add_task("reading", total=None)

    def show(done: int, total: int, what: str) -> None:
        nonlocal reached
        reached = (done, total)
        bar.update(line, completed=done, total=total, description=what.replace("[", r"\["))

    try:
        with bar:
            yield show
    except KeyboardInterrupt:
        done, total = reached
        # Files are written when all is done, each whole or not at all.
        typer.echo(
            f"stopped after {done} of {total} {unit}; no file was written" if done < total else "stopped", err=True
        )
        raise
