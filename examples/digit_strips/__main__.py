"""``lossary compare digit-strips``: three losses learn to read rows of real digits."""

from __future__ import annotations

import json as text
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import typer
from examples.digit_strips.strips import compare_strips

from lossary._files import check_writable, save_text
from lossary.cli.console import output, progress_bar
from lossary.errors import ParameterError

_TAKEN = {"data", "loss", "epochs", "seeds", "json", "report"}


def compare_readers(context: typer.Context, losses: Sequence[str], json: Path | None, report: Path | None) -> None:
    """Run the comparison with the options given to a command, and print what came of it."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, source in sources.items() if source is not None and source.name != "DEFAULT"}
    if strange := sorted(given - _TAKEN):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in strange)
        raise ParameterError(
            f"compare digit-strips: {options}: not of this comparison, which takes --loss, --epochs, --seeds, --report "
            "and --json"
        )
    for path in (json, report):
        if path is not None:
            check_writable(path)
    settings = {name: context.params[name] for name in ("epochs", "seeds") if name in given}
    with progress_bar("epochs") as show:
        result = compare_strips(losses, progress=show, **settings)

    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("loss", no_wrap=True)
    for title in ("strips without a mistake", "digits wrong", "seconds"):
        table.add_column(title, justify="right")
    for row in result.rows:
        table.add_row(
            row.loss,
            f"{mean(row.sequence_accuracy):.1%}",
            f"{mean(row.digit_error_rate):.1%}",
            f"{mean(row.seconds):.1f}",
        )
    console = output()
    console.print(table)
    for sentence in result.sentences():
        console.print(sentence)
    if report is not None:
        from examples.digit_strips.page import render

        save_text(report, render(result))
        typer.echo(f"report: {report}")
    if json is not None:
        save_text(json, text.dumps(result.to_dict(), indent=1))
        typer.echo(f"numbers: {json}")
