"""The command ``lossary compare``: trains one model with many losses, and reports which came out ahead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from lossary.cli.console import output, progress_bar
from lossary.compare import Comparison, Settings, compare, footnotes, table_cells
from lossary.compare.language import paragraph, say, translate
from lossary.compare.outputs import STDOUT
from lossary.errors import ParameterError, suggest
from lossary.text.phrases import LANGS, Lang

_DEFAULT = Settings()
_ROWS: dict[str, Any] = {"rich_help_panel": "Which rows, and how they are split"}
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
            help="breast_cancer, diabetes, digits, iris, linnerud or wine; or a CSV, Parquet, Feather, JSON lines or "
            "Excel file.",
        ),
    ],
    loss: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:p=v,...]", help="A loss to compare; repeat. Without it, all that suit."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            help="The column to predict, or several labels: sport,news. Without it, the one called target or the like.",
        ),
    ] = None,
    task: Annotated[
        str, typer.Option(metavar="TASK", help="auto, binary, multiclass, multilabel, regression, count or positive.")
    ] = "auto",
    metric: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Sort by it. Without it: accuracy, balanced_accuracy, average_precision or rmse, as the data ask for.",
        ),
    ] = _DEFAULT.metric,
    cost: Annotated[
        str,
        typer.Option(
            metavar="FP:FN",
            help="Two classes: what a false positive and a false negative of the rarer class cost, such as 1:20.",
            show_default=False,
        ),
    ] = _DEFAULT.cost,
    rows: Annotated[
        int, typer.Option(metavar="N", help="Rows used at most, drawn at random; 0 for all.")
    ] = _DEFAULT.rows,
    group: Annotated[
        str | None,
        typer.Option(metavar="COL", help="No value of this column is in two folds: patients, shops.", **_ROWS),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Held-out rows are later than all rows trained on.", **_ROWS),
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Sample weights, of the training losses and of the metrics.", **_ROWS),
    ] = None,
    test: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rows to hold out instead of folds.", **_ROWS)
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of a text file; without it, it is detected.", **_ROWS)
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="linear, solved to its optimum; or mlp and its widths: mlp:64,64.",
            rich_help_panel=_TRAINING,
        ),
    ] = _DEFAULT.model,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Passes over the training rows, at most; by default enough.", rich_help_panel=_TRAINING
        ),
    ] = _DEFAULT.epochs,
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Stop a network after N epochs without a better validation loss; by default a tenth of the epochs.",
            rich_help_panel=_TRAINING,
        ),
    ] = _DEFAULT.patience,
    folds: Annotated[
        int, typer.Option(metavar="N", help="Parts of the rows; each is held out once.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.folds,
    seeds: Annotated[
        int, typer.Option(metavar="N", help="How often all folds are drawn anew.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.seeds,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Of Adam, for a network; by default chosen for each loss on validation rows.",
            rich_help_panel=_TRAINING,
        ),
    ] = _DEFAULT.learning_rate,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Rows per step; 0 chooses by their number.", rich_help_panel=_TRAINING)
    ] = _DEFAULT.batch_size,
    l2: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Strength of the L2 penalty; by default 0 for a network, and chosen for each loss on validation rows "
            "for the linear model.",
            rich_help_panel=_TRAINING,
        ),
    ] = _DEFAULT.l2,
    backend: Annotated[
        str,
        typer.Option(metavar="NAME", help="numpy or torch; the numbers agree to rounding.", rich_help_panel=_TRAINING),
    ] = _DEFAULT.backend,
    jobs: Annotated[
        int,
        typer.Option(metavar="N", help="Processes that train at a time; -1 for all cores.", rich_help_panel=_TRAINING),
    ] = _DEFAULT.jobs,
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
    heavy_tails: Annotated[
        float,
        typer.Option(
            metavar="S",
            help="Add heavy-tailed noise (Student t, 2 degrees of freedom) of S robust standard deviations.",
            rich_help_panel=_STRESS,
            show_default=False,
        ),
    ] = _DEFAULT.heavy_tails,
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all numbers as JSON; - is standard output.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report, one HTML page; - is standard output.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that Lossary did not write.")] = False,
    lang: Annotated[
        str,
        typer.Option(metavar="LANG", envvar="LOSSARY_LANG", help="en or zh: language of table, verdict and report."),
    ] = "en",
) -> None:
    """Train the same model with different losses, and say which came out ahead and how sure that is.

    Same splits, same initial weights, same budget: only the loss differs. Held-out rows are scored by metrics that do
    not depend on the loss, beside constants that see no feature, and stay as they are under stress. Parameters in the
    units of the target, such as the delta of huber, mean those units.

    Examples:

        lossary compare digits
        lossary compare diabetes --loss huber:delta=30 --loss huber:delta=100
        lossary compare houses.csv --target price --report houses.html
        lossary compare churn.csv --target churn --cost 1:20 --model linear
        lossary compare wine --label-noise 0.2 --model linear
        lossary compare iris --backend torch --json iris.json
    """
    if lang not in LANGS:
        raise ParameterError(f'lang: got "{lang}", expected one of {", ".join(LANGS)}{suggest(lang, LANGS)}')
    with progress_bar("trainings") as show:
        result = compare(
            data,
            loss or (),
            target=target,
            task=task,
            group=group,
            time=time,
            weight=weight,
            test=test,
            encoding=encoding,
            json=json,
            report=report,
            force=force,
            lang=lang,
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
            heavy_tails=heavy_tails,
            metric=metric,
            cost=cost,
            rows=rows,
            backend=backend,
            jobs=jobs,
        )
    piped = STDOUT in (str(json), str(report))  # the table would stand in the middle of the file
    _print(result, output(stderr=piped), lang)
    for kind, path in (("report", report), ("numbers", json)):
        if path is not None and str(path) != STDOUT:
            typer.echo(f"{say(lang, kind)}: {path}", err=piped)


def _print(result: Comparison, console: Any, lang: Lang) -> None:
    """Print what was compared, the table with the best of each column marked, and the verdict."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    data = result.data
    for sentence in (
        data.decision and f"{say(lang, 'task')}: {translate(lang, data.decision)}",
        *(translate(lang, n) for n in data.notes),
    ):
        if sentence:
            console.print(Text(sentence, style="dim"))
    titles, lines = table_cells(result, lang)
    best = [None, *(result.best_by(m.key) for m in result.metrics)]
    shown = _fitting(titles, lines, console.width)
    if len(shown) < len(titles):  # too narrow for everything: the spreads go first
        lines = [[*line[:2], *(re.sub(r" ±.*", "", cell) for cell in line[2:])] for line in lines]
        shown = _fitting(titles, lines, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i in shown:
        table.add_column(Text(titles[i]), justify="right" if i else "left", no_wrap=True)
    for row, cells in zip([*result.rows, *result.references], lines, strict=True):
        marked = []
        constant = any(row is reference for reference in result.references)
        for i in shown:
            first = i < len(best) and best[i] is not None and best[i] is row
            style = "bold green" if first else "dim italic" if constant else ""
            marked.append(Text(f"{cells[i]}{' *' if first else ''}", style=style))
        table.add_row(*marked)
    console.print(table)
    for row in result.rows:
        if row.error:
            console.print(Text(say(lang, "{label} failed at {where}", label=row.label, where=row.error), style="red"))
    for note in footnotes(result, lang):
        console.print(Text(note, style="dim"))
    for note in result.left_out:
        console.print(Text(f"{say(lang, 'left out')}: {translate(lang, note)}", style="dim"))
    if len(shown) < len(titles):
        hidden = ", ".join(titles[i] for i in range(len(titles)) if i not in shown)
        console.print(Text(f"{say(lang, 'not shown in this width')}: {hidden}", style="dim"))
    console.print(Text(paragraph(lang, result.say(lang))))


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
