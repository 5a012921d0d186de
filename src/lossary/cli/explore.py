"""The commands ``lossary explore``, a page of all losses in the browser, and ``lossary landscape``, slices of them."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from lossary.cli.catalogue import language
from lossary.cli.console import output, progress_bar
from lossary.compare import outputs
from lossary.explorer import page
from lossary.landscape import landscapes
from lossary.report.landscape import numbers, sayings
from lossary.report.plots import short

_LANG = typer.Option("--lang", metavar="LANG", help="en or zh: language of the words.")
_TRAINING = "How it is trained"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("explore")(explore)
    app.command("landscape")(landscape)


def explore(
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the page here and open nothing; - is standard output."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that Lossary did not write.")] = False,
) -> None:
    """Open a page in the browser that draws every loss live, with sliders for its parameters.

    Value, gradient and curvature; lines and class boundaries that each loss fits to points you drag; logits with their
    gradient; the likelihood behind a loss. English and Chinese, light and dark. It is one file and needs no network;
    the address holds what is chosen, so a view can be shared.

    Examples:

        lossary explore
        lossary explore --out losses.html
    """
    if out is not None:
        outputs.check(None, json=None, report=out, force=force)
        outputs.write(out, page)
        if str(out) != outputs.STDOUT:
            typer.echo(f"the page is in {out}")
        return
    with tempfile.NamedTemporaryFile("w", suffix=".html", prefix="lossary-", delete=False, encoding="utf-8") as file:
        file.write(page())
    if webbrowser.open(Path(file.name).as_uri()):
        typer.echo(f"opened {file.name}")
    else:
        typer.echo(f"no browser was found; the page is in {file.name}")


def landscape(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="breast_cancer, diabetes, digits, iris, linnerud or wine; or a CSV, Parquet, Feather, JSON lines or "
            "Excel file.",
        ),
    ],
    loss: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:p=v,...]", help="A loss; repeat. Without it, the first four that suit."),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="COL", help="The column to predict.")] = None,
    task: Annotated[
        str, typer.Option(metavar="TASK", help="auto, binary, multiclass, multilabel, regression, count or positive.")
    ] = "auto",
    encoding: Annotated[str | None, typer.Option(metavar="NAME", help="Of a text file.")] = None,
    span: Annotated[
        float, typer.Option(metavar="X", help="How far the slice reaches: 1 steps as far as the weights are long.")
    ] = 1.0,
    resolution: Annotated[int, typer.Option(metavar="N", help="Points along each direction, an odd number.")] = 25,
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="linear, or mlp and its widths: mlp:32,16.", rich_help_panel=_TRAINING)
    ] = "mlp:16",
    epochs: Annotated[
        int | None,
        typer.Option(metavar="N", help="Passes over the rows; by default enough.", rich_help_panel=_TRAINING),
    ] = None,
    learning_rate: Annotated[float, typer.Option(metavar="X", help="Of Adam.", rich_help_panel=_TRAINING)] = 0.01,
    rows: Annotated[
        int, typer.Option(metavar="N", help="Rows used at most, drawn at random.", rich_help_panel=_TRAINING)
    ] = 1000,
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", help="Of weights, order and directions: the same for all.", rich_help_panel=_TRAINING
        ),
    ] = 0,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the maps, one HTML page; - is standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that Lossary did not write.")] = False,
    lang: Annotated[str, _LANG] = "en",
) -> None:
    """Train a small network with each loss, and map the loss around what was learned.

    A slice shows the mean loss at the trained weights plus a step in two random directions. Each direction is scaled
    filter by filter to the length of the weights (Li et al. 2018): else a network with large weights would look flat
    only because a step is small beside them. A wide bowl with even contours is easy to train in; a narrow or ragged one
    is not. Two directions of many: a flat slice does not prove a flat minimum.

    Examples:

        lossary landscape iris --report landscape.html
        lossary landscape diabetes --loss squared_error --loss absolute_error --loss huber:delta=30 --report l.html
        lossary landscape breast_cancer --model mlp:32,16 --span 2 --resolution 41 --report l.html
        lossary landscape houses.csv --target price --report houses.html
    """
    tongue = language(lang)
    with progress_bar("steps") as show:
        found = landscapes(
            data,
            loss or (),
            target=target,
            task=task,
            encoding=encoding,
            model=model,
            epochs=epochs,
            learning_rate=learning_rate,
            rows=rows,
            span=span,
            resolution=resolution,
            seed=seed,
            report=report,
            force=force,
            lang=tongue,
            progress=show,
        )
    piped = str(report) == outputs.STDOUT
    t = sayings(tongue)
    console = output(stderr=piped)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(t("loss"), no_wrap=True, overflow="fold")
    for title in ("trained", "lowest", "highest", "bending, first direction", "bending, second direction"):
        table.add_column(t(title), justify="right")
    for each in found.slices:
        table.add_row(each.label, *map(short, numbers(each)))
    console.print(table)
    if report is None:
        console.print(Text(t("--report FILE draws the maps."), style="dim"))
    elif not piped:
        console.print(Text(t("the maps are in {file}", file=report), style="dim"))
