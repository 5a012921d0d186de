"""The command ``python -m benchmarks``: measures Lossary beside its peers on this machine."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lossary.cli.console import RefusingCommand, output, run
from lossary.errors import ArgumentError, LossaryError, suggest

if TYPE_CHECKING:
    from benchmarks.cases import Suite
    from benchmarks.engine import Progress
    from benchmarks.report import Report


app = typer.Typer(
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command(cls=RefusingCommand)
def bench(
    suite: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="pointwise, rows, small, start ...; all if not given. `--list` tells them."),
    ] = None,
    loss: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this loss (in small, this module); repeat.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PEERS", help="torch, compile, jax, numpy, sklearn, with commas; all installed if not given."
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None, typer.Option(metavar="TYPES", help="float32, float64, bfloat16, or all; with commas.")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(metavar="SHAPE", help="1000000, or 2048x32000, in place of the suite's; repeat.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes and a few seconds: to see that it works.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0.0, help="For each suite and type. Without it 5, and 0.2 with --quick.")
    ] = None,
    memory: Annotated[bool, typer.Option(help="Measure peak memory too, in processes of their own.")] = True,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page, JSON and a drawing of each suite there.")
    ] = None,
    read: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Measure nothing: show, and with --out write again, what a JSON file holds."),
    ] = None,
    tell: Annotated[
        bool, typer.Option("--list", help="List the suites, their losses and contenders, and leave.")
    ] = False,
) -> None:
    """Measure Lossary beside PyTorch, torch.compile, JAX, NumPy formulas and scikit-learn, on this machine.

    Reading a ratio: it is the time of the peer divided by Lossary's. 3.0x means that the peer took three times as
    long; 1.0x that both took the same; 0.5x that the peer was twice as fast. Behind it, in brackets, stand the ratios
    of the quartiles that speak least and most for Lossary: if 1 lies between them, nobody won. torch and torch.compile
    are compared with Lossary on tensors, the others with Lossary on NumPy arrays.

    All contenders run in this process on the same numbers and take turns, so a slow moment meets all of them; the
    median counts. Before that, each must give the right value and gradient; one that does not is left out, and said to
    be. A percentage is how near Lossary comes to the speed at which this machine copies memory. Close other programs
    first: the page says if the machine was busy.

    Examples:

        python -m benchmarks --quick
        python -m benchmarks --suite pointwise --loss huber --against torch,jax
        python -m benchmarks --suite rows --size 4096x50257 --dtype bfloat16
        python -m benchmarks --suite small --minutes 1
        python -m benchmarks --out benchmarks/results
        python -m benchmarks --read benchmarks/results/rows-float32.json
    """
    from benchmarks import engine
    from benchmarks.suites import SUITES

    if tell:
        _list()
        return
    reports = []
    if read:
        from benchmarks.report import Report

        reports = [Report.read(path) for path in read]
        for report in reports:
            _show(report)
    else:
        wanted = [_suite(name) for name in _split(suite)] if suite else list(SUITES.values())
        if out is not None:
            _make(out)
        peers = _against(against)
        for each, options in _plan(wanted, _split(loss), _split(dtype), size or [], quick):
            seconds = 60 * (minutes if minutes is not None else 0.2 if quick else 5.0)
            with _progress(f"{each.name}, {options.dtype}") as progress:
                report = engine.measure(
                    each,
                    options,
                    against=peers,
                    seconds=seconds,
                    memory=memory and not quick,
                    progress=progress,
                )
            reports.append(report)
            _show(report)
            if out is not None:  # at once: what comes later may be stopped
                _write(report, out)
    if out is not None:
        for report in reports if read else ():
            _write(report, out)
        _write_index(out)
    if any(report.wrong for report in reports):
        raise typer.Exit(1)


# --- what is asked for ----------------------------------------------------------------------------------------------


def _split(given: list[str] | None) -> list[str]:
    """Options may be repeated, and take several values with commas."""
    return list(dict.fromkeys(part for text in given or () for part in text.split(",") if part))


def _against(given: list[str] | None) -> list[str] | None:
    from benchmarks.peers import chosen

    return list(chosen({"torch.compile": "compile"}.get(key, key) for key in _split(given))) or None


def _suite(name: str) -> Suite:
    from benchmarks.suites import SUITES

    if name not in SUITES:
        raise ArgumentError(f'--suite: unknown "{name}"{suggest(name, SUITES)}; there are {", ".join(SUITES)}')
    return SUITES[name]


def _plan(suites: list[Suite], losses: list[str], dtypes: list[str], sizes: list[str], quick: bool) -> Iterator[Any]:
    """Yield each suite with its options, or refuse before anything is measured."""
    from benchmarks.cases import DTYPES, Options

    known = sorted({name for each in suites for name in each.losses})
    for name in losses:
        if name not in known:
            raise ArgumentError(f'--loss: "{name}" is in none of these suites{suggest(name, known)}; see --list')
    types = list(DTYPES) if "all" in dtypes else dtypes or ["float32"]
    for dtype in types:
        if dtype not in DTYPES:
            raise ArgumentError(f'--dtype: unknown "{dtype}"; expected {", ".join(DTYPES)} or all')
    shapes = tuple(_shape(text) for text in sizes)
    found = [
        (each, Options(dtype, quick, shapes, tuple(name for name in losses if name in each.losses)))
        for each in suites
        for dtype in types
        if (not losses or set(losses) & set(each.losses)) and (len(suites) == 1 or dtype in each.dtypes)
    ]
    for each, options in found:
        each.check_sizes(options.sizes)
        if options.dtype not in each.dtypes:
            raise ArgumentError(f"{each.name}: has no {options.dtype}: it is measured in {', '.join(each.dtypes)}")
    return iter(found)


def _shape(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text):
        raise ArgumentError(f'--size: got "{text}", expected numbers with x between them: 1000000 or 2048x32000')
    return tuple(map(int, text.split("x")))


# --- what is told ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _progress(title: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    # Refreshed when a case begins, not by a thread that would run beside the contenders.
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal, auto_refresh=False
    ) as bar:
        line = bar.add_task("", total=None)

        def show(done: int, total: int, what: str) -> None:
            bar.update(line, completed=done, total=total, description=what, refresh=True)

        yield show


def _show(report: Report) -> None:
    """Print the ratios of each mode as a table, and what there is to say."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from benchmarks.page import ratio_text, times, verdicts
    from benchmarks.peers import OURS, PEERS
    from benchmarks.suites import SUITES

    console = output()
    unit, scale = {"us": ("us", 1e6), "ms": ("ms", 1e3)}.get(SUITES[report.suite].unit, ("s", 1.0))
    for mode in report.modes:
        console.print(Text(f"{SUITES[report.suite].summary}, {report.dtype}: {mode}", style="bold"))
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        rows = [row for row in report.rows if row.mode == mode]
        keys = [key for key in report.keys if any(key in row.entries for row in rows)]
        written = ratio_text if len(keys) < 5 else lambda ratio: times(ratio.middle)  # the spread is on the page
        table.add_column("loss", min_width=min(22, max(len(row.title) for row in rows)))
        table.add_column("size", no_wrap=True)
        for key in keys:
            table.add_column(f"{PEERS[key].label}{f' ({unit})' if key in OURS else ''}", justify="right")
        for row in rows:
            cells = []
            for key in keys:
                entry, ratio = row.entries.get(key), None if key in OURS else row.ratio(key)
                if entry is None:
                    cells.append(Text(""))
                elif ratio is not None:
                    cells.append(Text(written(ratio), style="" if ratio.high >= 1 else "red"))
                else:
                    share = "" if entry.bandwidth is None else f" {entry.bandwidth:.0%}"
                    cells.append(Text(f"{scale * entry.times.median:.3g}{share}"))
            table.add_row(Text(row.title), row.size, *cells)
        console.print(table)
        for sentence in verdicts(report, mode):
            console.print(Text(sentence), soft_wrap=True)
        console.print()
    for row in report.rows:
        for key, why in row.left_out.items():
            said = f"not measured: {PEERS[key].label}, {row.title} {row.size}, {row.mode}: {why}"
            console.print(Text(said, style="red" if key in OURS else "dim"), soft_wrap=True)
    for note in report.notes:
        console.print(Text(note, style="yellow"), soft_wrap=True)


def _list() -> None:
    from benchmarks.peers import PEERS
    from benchmarks.suites import SUITES

    for each in SUITES.values():
        typer.echo(f"{each.name}: {each.summary}")
        typer.echo(f"  losses: {', '.join(each.losses)}")
        typer.echo(f"  contenders: {', '.join(PEERS[key].label for key in each.contenders)}")
        typer.echo(f"  types: {', '.join(each.dtypes)}\n")
    for key, peer in PEERS.items():
        if peer.beside:
            typer.echo(f"--against {key}: {peer.label}{'' if peer.installed else f', not installed: {peer.install}'}")


# --- what is written ------------------------------------------------------------------------------------------------


def _write(report: Report, folder: Path) -> None:
    from benchmarks.drawing import drawing
    from benchmarks.page import markdown

    _put(folder / f"{report.stem}.json", report.to_json().encode())
    _put(folder / f"{report.stem}.md", markdown(report).encode())
    _put(folder / f"{report.stem}.svg", drawing(report))
    typer.echo(f"written: {folder / report.stem}.md, .json, .svg")


def _write_index(folder: Path) -> None:
    """Write a page above all reports of a folder, those of earlier runs too."""
    from benchmarks.page import index
    from benchmarks.report import Report

    reports = []
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(LossaryError):  # a JSON file of somebody else
            reports.append(Report.read(path))
    _put(folder / "README.md", index(reports).encode())


def _put(path: Path, content: bytes) -> None:
    _make(path.parent)
    with _told(path):
        path.write_bytes(content)


def _make(folder: Path) -> None:
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArgumentError(f"--out: {path} cannot be written: {error.strerror}") from None


if __name__ == "__main__":
    run(app, "python -m benchmarks")
