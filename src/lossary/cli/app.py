"""The Typer application: registers the commands, prints refusals, and adapts to a terminal or a pipe."""

from __future__ import annotations

from typing import Annotated

import typer

import lossary
from lossary.cli import catalogue, compare, console, diagnose, explore, lint
from lossary.cli.console import RefusingGroup

_WELCOME = """
The reference library of loss functions: value, gradient and curvature of each, written once.

Examples:

    lossary list --task binary                 the losses that suit a task
    lossary show huber                         a page: formula, facts, curve
    lossary explain huber --pred 3 --target 0  a number worked out, step by step
    lossary check huber                        gradients against differences
    lossary compare digits                     one model trained with each loss
    lossary explore                            all losses, live in the browser
    lossary landscape iris --report l.html     the loss around a trained network
    lossary lint src                           losses used wrongly, found in code
    lossary diagnose bce probs.npy labels.npy  what is wrong with these arrays

Your own CSV or Parquet file can take the place of `digits`. `lossary COMMAND --help` has more examples.
"""


app = typer.Typer(
    name="lossary",
    help=_WELCOME,
    cls=RefusingGroup,
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
explore.register(app)


def run() -> None:
    """Run the ``lossary`` command."""
    console.run(app, "lossary")
