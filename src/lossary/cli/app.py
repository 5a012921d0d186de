"""The application: its commands, how it refuses, and how it meets a terminal or a pipe."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

import lossary
from lossary.cli import bench, catalogue, compare, diagnose, lint
from lossary.errors import LossaryError

_WELCOME = """
The reference library of loss functions: value, gradient and curvature of each, written once.

Examples:

    lossary list --task binary                 the losses that suit a task
    lossary show huber                         a page: formula, facts, curve
    lossary explain huber --pred 3 --target 0  a number worked out, step by step
    lossary check huber                        gradients against differences
    lossary compare digits                     one model trained with each loss
    lossary lint src                           losses used wrongly, found in code
    lossary bench --quick                      speed, beside PyTorch and others
    lossary diagnose bce probs.npy labels.npy  what is wrong with these arrays

Your own CSV or Parquet file can take the place of `digits`. `lossary COMMAND --help` has more examples.
"""


class _Commands(TyperGroup):
    """The commands, with refusals told in one line: a refusal is an answer, not a crash."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a `LossaryError` becomes a line on stderr and exit code 2."""
        try:
            return super().invoke(ctx)
        except LossaryError as refusal:
            Console(stderr=True, highlight=False, soft_wrap=True).print(
                "[bold red]error:[/bold red]", str(refusal).replace("[", r"\["), sep=" "
            )
            raise typer.Exit(2) from None


app = typer.Typer(
    name="lossary",
    help=_WELCOME,
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lossary {lossary.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


catalogue.register(app)
compare.register(app)
lint.register(app)
diagnose.register(app)
bench.register(app)


_UNWRITABLE = (errno.EPIPE, errno.ENOSPC, errno.EBADF, errno.EIO)


def run() -> None:
    """Run the command line; a reader that has left (``| head``) or Ctrl-C ends it without a word."""
    if sys.stdout is None:  # closed by the shell: ``lossary list >&-``
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without these letters shows a question mark
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="lossary")
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
