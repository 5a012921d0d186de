"""``lossary compare``: train one model with many losses, and say which came out ahead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from lossary.cli.console import output, progress_bar
from lossary.compare import Comparison, Settings, compare, table_cells

_DEFAULT = Settings()
_TRAINING = "How it is trained"
_STRESS = "Stress: what is done to the training rows first"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("compare")(compare_losses)


def compare_losses(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="breast_cancer, diabetes, digits, iris, linnerud or wine; or a CSV or Parquet file.",
        ),
    ],
    loss: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:p=v,...]", help="A loss to compare; repeat. Without it, all that suit."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COL", help="The column to predict. Without it, the one called target, label or the like."
        ),
    ] = None,
    task: Annotated[
        str, typer.Option(metavar="TASK", help="auto, binary, multiclass, regression, count or positive.")
    ] = "auto",
    metric: Annotated[
        str, typer.Option(metavar="NAME", help="Sort by it. Without it: accuracy, balanced_accuracy or rmse.")
    ] = _DEFAULT.metric,
    rows: Annotated[
        int, typer.Option(metavar="N", help="Rows used at most, drawn at random; 0 for all.")
    ] = _DEFAULT.rows,
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="linear, or mlp and its widths: mlp:64,64.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.model,
    epochs: Annotated[
        int, typer.Option(metavar="N", help="Passes over the training rows, at most.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.epochs,
    patience: Annotated[
        int,
        typer.Option(
            metavar="N", help="Stop after N epochs without a better validation loss.", rich_help_panel=_TRAINING
        ),
    ] = _DEFAULT.patience,
    folds: Annotated[
        int, typer.Option(metavar="N", help="Parts of the rows; each is held out once.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.folds,
    seeds: Annotated[
        int, typer.Option(metavar="N", help="How often all folds are drawn anew.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.seeds,
    learning_rate: Annotated[
        float, typer.Option(metavar="X", help="Step size of Adam.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.learning_rate,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Rows per step; 0 chooses by their number.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.batch_size,
    l2: Annotated[
        float, typer.Option(metavar="X", help="Strength of the L2 penalty.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.l2,
    backend: Annotated[
        str,
        typer.Option(metavar="NAME", help="numpy or torch; the numbers agree to rounding.", rich_help_panel=_TRAINING),
    ] = _DEFAULT.backend,
    label_noise: Annotated[
        float,
        typer.Option(
            metavar="P", help="Share of labels moved to another class.", rich_help_panel=_STRESS, show_default=False
        ),
    ] = _DEFAULT.label_noise,
    outliers: Annotated[
        float,
        typer.Option(
            metavar="P", help="Share of numbers made gross outliers.", rich_help_panel=_STRESS, show_default=False
        ),
    ] = _DEFAULT.outliers,
    imbalance: Annotated[
        float,
        typer.Option(metavar="R", help="Thin the classes out to 1:R.", rich_help_panel=_STRESS, show_default=False),
    ] = _DEFAULT.imbalance,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all numbers as JSON.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report, one HTML page.")] = None,
) -> None:
    """Train the same model with different losses, and say which came out ahead and how sure that is.

    Same splits, same initial weights, same optimiser: only the loss differs. Held-out rows are scored by measures that
    do not depend on the loss, and stay as they are under stress.

    Examples:

        lossary compare digits
        lossary compare diabetes --loss huber:delta=1 --loss huber:delta=3
        lossary compare houses.csv --target price --report houses.html
        lossary compare wine --label-noise 0.2 --model linear
        lossary compare iris --backend torch --json iris.json
    """
    with progress_bar("trainings") as show:
        result = compare(
            data,
            loss or (),
            target=target,
            task=task,
            json=json,
            report=report,
            progress=show,
            model=model,
            epochs=epochs,
            patience=patience,
            folds=folds,
            seeds=seeds,
            learning_rate=learning_rate,
            batch_size=batch_size,
            l2=l2,
            label_noise=label_noise,
            outliers=outliers,
            imbalance=imbalance,
            metric=metric,
            rows=rows,
            backend=backend,
        )
    _print(result, output())
    for kind, path in (("report", report), ("numbers", json)):
        if path is not None:
            typer.echo(f"{kind}: {path}")


def _print(result: Comparison, console: Any) -> None:
    """Print what was compared, the table with the best of each column marked, and the verdict."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    data = result.data
    for sentence in (data.decision and f"task: {data.decision}", *data.notes):
        if sentence:
            console.print(Text(sentence, style="dim"))
    titles, lines = table_cells(result)
    best = [None, *(result.best_by(m.key) for m in result.metrics)]
    shown = _fitting(titles, lines, console.width)
    if len(shown) < len(titles):  # too narrow for everything: the spreads go first
        lines = [[*line[:2], *(re.sub(r" ±[^†]*", "", cell) for cell in line[2:])] for line in lines]
        shown = _fitting(titles, lines, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i in shown:
        table.add_column(Text(titles[i]), justify="right" if i else "left", no_wrap=True)
    for row, cells in zip(result.rows, lines, strict=True):
        marked = []
        for i in shown:
            first = i < len(best) and best[i] is not None and best[i] is row
            marked.append(Text(f"{cells[i]}{' *' if first else ''}", style="bold green" if first else ""))
        table.add_row(*marked)
    console.print(table)
    for row in result.rows:
        if row.error:
            console.print(Text(f"{row.label} failed at {row.error}", style="red"))
    if any(row.calibrated for row in result.rows):
        console.print(
            Text("† scores turned into probabilities by a scaling fitted on the validation rows", style="dim")
        )
    for note in result.left_out:
        console.print(Text(f"left out: {note}", style="dim"))
    if len(shown) < len(titles):
        hidden = ", ".join(titles[i] for i in range(len(titles)) if i not in shown)
        console.print(Text(f"not shown in this width: {hidden}", style="dim"))
    console.print(Text(result.verdict))


def _fitting(titles: list[str], lines: list[list[str]], width: int) -> list[int]:
    """Return which columns fit, from the left."""
    used, shown = 0, []
    for i, title in enumerate(titles):
        used += 4 + max(len(title), *(len(line[i]) for line in lines))
        if i < 2 or used <= width:
            shown.append(i)
        else:
            break
    return shown
