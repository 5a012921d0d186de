"""``lossary compare``: train one model with many losses, and say which came out ahead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from lossary.compare import Comparison, Settings, compare, table_cells

_DEFAULT = Settings()


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("compare")(compare_losses)


def compare_losses(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="digits, iris, wine, breast_cancer, diabetes, linnerud; or a CSV or Parquet file.",
        ),
    ],
    target: Annotated[str | None, typer.Option(metavar="COL", help="The column to predict.")] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:param=value,...]", help="A loss to compare; repeat. All that suit if not given."),
    ] = None,
    task: Annotated[str, typer.Option(help="auto, binary, multiclass, regression, count or positive.")] = "auto",
    model: Annotated[str, typer.Option(help="linear, or mlp and its widths: mlp:64,64.")] = _DEFAULT.model,
    epochs: Annotated[int, typer.Option(help="Passes over the training rows, at most.")] = _DEFAULT.epochs,
    patience: Annotated[
        int, typer.Option(help="Stop after so many epochs without a better validation loss.")
    ] = _DEFAULT.patience,
    folds: Annotated[int, typer.Option(help="Parts of the rows; each is held out once.")] = _DEFAULT.folds,
    seeds: Annotated[int, typer.Option(help="How often all folds are drawn anew.")] = _DEFAULT.seeds,
    learning_rate: Annotated[float, typer.Option(help="Step size of Adam.")] = _DEFAULT.learning_rate,
    batch_size: Annotated[int, typer.Option(help="Rows per step; 0 chooses by their number.")] = _DEFAULT.batch_size,
    l2: Annotated[float, typer.Option(help="Strength of the L2 penalty.")] = _DEFAULT.l2,
    label_noise: Annotated[
        float, typer.Option(metavar="P", help="Share of training labels moved to another class.")
    ] = _DEFAULT.label_noise,
    outliers: Annotated[
        float, typer.Option(metavar="P", help="Share of training targets made gross outliers.")
    ] = _DEFAULT.outliers,
    imbalance: Annotated[
        float, typer.Option(metavar="R", help="Thin the training classes out to 1:R.")
    ] = _DEFAULT.imbalance,
    metric: Annotated[
        str, typer.Option(help="The measure to sort by; accuracy, balanced_accuracy or rmse if not given.")
    ] = _DEFAULT.metric,
    rows: Annotated[int, typer.Option(help="How many rows are used at most; 0 for all.")] = _DEFAULT.rows,
    backend: Annotated[
        str, typer.Option(metavar="numpy|torch", help="What trains; the numbers agree to rounding.")
    ] = _DEFAULT.backend,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all numbers as JSON.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write the report: one page.")] = None,
) -> None:
    """Train the same model with different losses, and say which came out ahead and how sure that is.

    Same splits, same initial weights, same optimiser: only the loss differs. Held-out rows are scored by measures that
    do not depend on the loss. With --label-noise, --outliers or --imbalance only training rows are disturbed.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    progress_to = Console(stderr=True)
    with Progress(*columns, console=progress_to, transient=True, disable=not progress_to.is_terminal) as bar:
        line = bar.add_task("reading", total=None)

        def show(done: int, total: int, what: str) -> None:
            bar.update(line, completed=done, total=total, description=what.replace("[", r"\["))

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
    _print(result, Console())
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
