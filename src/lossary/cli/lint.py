"""The command ``lossary lint``: finds misused losses in source code."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lossary.errors import ParameterError, nearest

if TYPE_CHECKING:
    from lossary.lint import Config, Finding


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("lint")(lint)


def lint(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH...",
            help="Files or folders: .py, .ipynb, .md; - for standard input. Without any, here.",
        ),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="text, concise, json, github or sarif.")
    ] = "text",
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without changing a number.")] = False,
    unsafe_fixes: Annotated[
        bool, typer.Option("--unsafe-fixes", help="With --fix: mend more, also what changes numbers.")
    ] = False,
    select: Annotated[str | None, typer.Option(metavar="CODES", help="Only these rules: LOS1,LOS501 or ALL.")] = None,
    ignore: Annotated[str | None, typer.Option(metavar="CODES", help="Not these rules.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Leave files or folders out; repeat.")
    ] = None,
    force_exclude: Annotated[
        bool, typer.Option("--force-exclude", help="Leave out what is excluded even where it is named outright.")
    ] = False,
    stdin_filename: Annotated[
        str, typer.Option(metavar="NAME", help="What standard input is: its ending says how it is read.")
    ] = "stdin.py",
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A pyproject.toml. Without it, the nearest above each path.")
    ] = None,
    jobs: Annotated[int, typer.Option(metavar="N", min=0, help="Processes at most; 0: one for each core.")] = 0,
    explain: Annotated[
        str | None, typer.Option(metavar="CODE", help="Print a rule: reason, numbers, a wrong and a right example.")
    ] = None,
    lsp: Annotated[
        bool, typer.Option("--lsp", help="Be a language server on standard input and output, for editors.")
    ] = False,
    list_rules: Annotated[bool, typer.Option("--list", help="Print every rule, a line each.")] = False,
) -> None:
    """Find losses that are used wrongly: softmax before a loss that applies it, formulas that overflow, lost gradients.

    The code is read and never run. Leaves with 0 if nothing was found, 1 if something was, 2 if the command is wrong.
    A statement with a comment `# noqa: LOS101` is left in peace.

    Examples:

        lossary lint train.py                    one file
        lossary lint src notebooks README.md     folders, notebooks, code in Markdown
        lossary lint --fix src                   mend what is safe to mend
        lossary lint --explain LOS101            why, with numbers
        lossary lint --fix --unsafe-fixes src    mend more, and look at the difference
        lossary lint --format github src         annotations in a workflow
        cat net.py | lossary lint -              standard input

    In pyproject.toml:

        [tool.lossary.lint]
        ignore = ["LOS306"]
        per-file-ignores = { "tests/*" = ["LOS1"] }
    """
    from lossary.lint import config as settings
    from lossary.lint import engine, fixes, output
    from lossary.lint.records import RULES

    if lsp:
        from lossary.lint import server

        server.build().start_io()
        return
    if list_rules:
        typer.echo(output.listed(), nl=False)
        return
    if explain is not None:
        rule = RULES.get(explain.upper()) or next((r for r in RULES.values() if r.name == explain), None)
        if rule is None:
            alike = nearest(explain, [*RULES, *(r.name for r in RULES.values())])[:1]
            hint = f"did you mean {alike[0]}?" if alike else "`lossary lint --list` shows them"
            raise ParameterError(f"--explain: there is no rule {explain!r}; {hint}")
        typer.echo(output.explained(rule), nl=False)
        return
    if format not in output.FORMATS:
        raise ParameterError(f"--format: got {format!r}, expected one of {', '.join(output.FORMATS)}")

    given = settings.read_config(config) if config is not None else None
    if config is not None and given is None:
        given = settings.Config(root=config.parent)

    def chosen(path: Path) -> settings.Config:
        found = given or settings.find_config(path)
        if select is not None:
            found = replace(found, select=settings.codes(select.split(","), "--select"))
        if ignore is not None:
            found = replace(found, select=found.select - settings.codes(ignore.split(","), "--ignore"))
        formulas = found.formulas_in_tests or any(
            part.strip().upper().startswith(("LOS5", "ALL")) for part in (select or "").split(",")
        )
        return replace(found, exclude=(*found.exclude, *(exclude or ())), formulas_in_tests=formulas)

    wanted = paths or [Path()]
    if Path("-") in wanted:
        if len(wanted) > 1:
            raise ParameterError("PATH: got - beside other paths, expected standard input alone, or files and folders")
        _standard_input(Path(stdin_filename), chosen(Path(stdin_filename)), format, fix, unsafe_fixes)
    files = engine.files_of(wanted, chosen, force_exclude=force_exclude)
    workers = jobs or os.cpu_count() or 1
    findings = _checked(files, workers)
    if fix:
        mended, refused = fixes.fix_files(findings, {str(p): c for p, c in files.items()}, unsafe=unsafe_fixes)
        for sentence in refused:
            typer.echo(sentence, err=True)
        if mended:
            typer.echo(f"Mended {mended} {'finding' if mended == 1 else 'findings'}.", err=True)
            findings = _checked(files, workers)
    sys.stdout.write(output.FORMATS[format](findings))
    raise typer.Exit(1 if findings else 0)


def _standard_input(name: Path, config: Config, format: str, fix: bool, unsafe: bool) -> NoReturn:
    """Check standard input. With --fix the mended text goes to standard output, and the findings to standard error."""
    from lossary.lint import engine, fixes, output

    data = sys.stdin.buffer.read()
    if fix:
        data, _ = fixes.fix_bytes(name, data, config, unsafe=unsafe)
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    findings = engine.check_bytes(data, name, config)
    (sys.stderr if fix else sys.stdout).write(output.FORMATS[format](findings))
    raise typer.Exit(1 if findings else 0)


def _checked(files: dict[Path, Config], workers: int) -> list[Finding]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from lossary.lint import engine

    console = Console(stderr=True)
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("files"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        line = bar.add_task("", total=len(files))
        return engine.check_files(files, jobs=workers, progress=lambda done, _: bar.update(line, completed=done))
