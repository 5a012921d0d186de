"""Shared by the command lines: the console, progress bars, one-line errors, and a closed pipe."""

from __future__ import annotations

import errno
import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from lossary.errors import LossaryError


@contextmanager
def _refusals() -> Iterator[None]:
    """Print a `LossaryError` as one line on stderr and exit with 2: a refusal is an answer, not a crash."""
    try:
        yield
    except LossaryError as refusal:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            "[bold red]error:[/bold red]", str(refusal).replace("[", r"\["), sep=" "
        )
        raise typer.Exit(2) from None


class RefusingGroup(TyperGroup):
    """Commands under one name; a refusal of any of them is one line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        with _refusals():
            return super().invoke(ctx)


class RefusingCommand(TyperCommand):
    """A command of its own, whose refusal is one line."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _refusals():
            return super().invoke(ctx)


_UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO)


def run(app: typer.Typer, name: str) -> None:
    """Run a command line; a reader that has left (``| head``) or Ctrl-C ends it without a traceback."""
    if sys.stdout is None:  # closed by the shell: ``lossary list >&-``
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without these letters shows a question mark
            stream.reconfigure(errors="replace")
    try:
        app(prog_name=name)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as wrong:
        if wrong.errno not in _UNWRITABLE:
            raise
        if not isinstance(wrong, BrokenPipeError):
            sys.stderr.write(f"error: the output cannot be written: {wrong.strerror}\n")
        # What is still in the buffer would fail again at exit: let it go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)


def output(pipe: int = 120, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal; a pipe has no width and is given one."""
    stream = sys.stderr if stderr else sys.stdout
    piped = not stream.isatty() and "COLUMNS" not in os.environ
    found = Console(highlight=False, width=pipe if piped else None, stderr=stderr)
    found.width = max(found.width, 20)  # COLUMNS=0 is said where nobody knows the width
    return found


_SECONDS = 5.0  # between lines of progress where there is no terminal


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show progress on the error stream: a bar on a terminal, else a line every few seconds; and where it was stopped.

    The function that is yielded takes the units done, the units in all, and what is running.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    progress_to = Console(stderr=True)
    reached = (0, 0)
    written = time.monotonic()
    bar = Progress(*columns, console=progress_to, transient=True, disable=not progress_to.is_terminal)
    line = bar.add_task("reading", total=None)

    def show(done: int, total: int, what: str) -> None:
        nonlocal reached, written
        reached = (done, total)
        if bar.disable and time.monotonic() - written >= _SECONDS:
            written = time.monotonic()
            typer.echo(f"{done} of {total} {unit}: {what}", err=True)
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
