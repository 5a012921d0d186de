"""From paths to findings: which files are read, which rules are asked, what is told and in which order."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

from lossary.errors import DataError
from lossary.lint.config import Config, find_config
from lossary.lint.flow import Event, Flow, Project
from lossary.lint.records import RULES, Finding, Problem, Rule
from lossary.lint.rules.meaning import keras_options
from lossary.lint.sources import SUFFIXES, Unit, read, worth_reading
from lossary.lint.values import UNKNOWN

_ENOUGH = 1_500_000  # bytes for which a second process repays its start
_AT_ONCE = 24  # files handed to a process together
_LINES_SHOWN = 5

Progress = Callable[[int, int], None]


@cache
def _by_event() -> dict[str, tuple[Rule, ...]]:
    found: dict[str, list[Rule]] = {}
    for rule in RULES.values():
        for kind in rule.on:
            found.setdefault(kind, []).append(rule)
    return {kind: tuple(rules) for kind, rules in found.items()}


class _Checker:
    """Asks the rules about each event, and keeps what they find."""

    def __init__(self, requested: frozenset[Path]) -> None:
        self.requested = requested
        self.found: dict[tuple[str, int, int, int, str], tuple[Finding, Path]] = {}
        self.rules = _by_event()

    def __call__(self, event: Event) -> None:
        for rule in self.rules.get(event.kind, ()):
            for problem in rule.check(event):
                self.keep(rule.code, problem, event.unit)
        if event.kind == "method" and event.name == "compile" and "loss" in event.kw:
            self._compiled(event)

    def _compiled(self, event: Event) -> None:
        model = replace_loss = event.value
        if model.op != "layer" or model.const not in ("keras.Sequential", "keras.Model"):
            return
        known = keras_options(Event("", event.node, event.frame, value=event.kw["loss"]))
        if known is None:
            return
        output = event.flow.layer(replace_loss, (UNKNOWN,), {}, event.node, event.frame)
        options = {"activation": output, "logits": known[1]}
        self(Event("keras-fit", event.node, event.frame, name=known[0], options=options, flow=event.flow))

    def keep(self, code: str, problem: Problem, unit: Unit) -> None:
        """Keep a problem as a finding, unless it is silenced where it stands."""
        node = problem.node
        (line, column), (end_line, end_column) = unit.start(node), unit.end(node)
        if unit.path not in self.requested or unit.is_silenced(code, line, end_line):
            return
        finding = finding_at(unit, code, line, column, end_line, end_column, problem)
        key = (finding.path, finding.cell, finding.line, finding.column, code)
        held = self.found.get(key)
        if held is None or finding.message < held[0].message:
            self.found[key] = (finding, unit.path)


def finding_at(
    unit: Unit, code: str, line: int, column: int, end_line: int, end_column: int, problem: Problem
) -> Finding:
    """Return a finding in the terms of the file: cells, lines and columns as the reader counts them."""
    cell, top, left = unit.place(line, column)
    _, bottom, right = unit.place(end_line, end_column)
    shown = tuple(text.rstrip("\r\n") for text in unit.lines[line - 1 : min(end_line, line + _LINES_SHOWN - 1)])
    return Finding(
        str(unit.path), cell, top, left, code, problem.message, bottom, right, problem.help, problem.fix, shown
    )


def faults(unit: Unit) -> list[Finding]:
    """Return what could not be read of a file, as findings."""
    found = []
    for fault in unit.faults:
        if not unit.is_silenced(fault.code, fault.line, fault.line):
            column = min(
                fault.column, len(unit.lines[fault.line - 1].rstrip("\r\n")) if fault.line <= len(unit.lines) else 0
            )
            said = Problem(None, fault.message)  # type: ignore[arg-type]
            found.append(finding_at(unit, fault.code, fault.line, column, fault.line, column + 1, said))
    return found


def check_unit(unit: Unit, project: Project, requested: frozenset[Path]) -> list[Finding]:
    """Return the findings of one file that was read, and those that its calls bring about in others."""
    found = faults(unit)
    checker = _Checker(requested)
    if unit.tree is not None:
        module = project.module(unit.path, unit)
        if module is not None:
            try:
                Flow(project, checker).check(module)
            except RecursionError:
                said = Problem(None, "is nested too deeply to be followed: not all of it was checked")  # type: ignore[arg-type]
                found.append(finding_at(unit, "LOS903", 1, 0, 1, 1, said))
    return found + [finding for finding, _ in checker.found.values()]


def check_source(text: str, path: str | Path = "<string>.py", *, select: Config | None = None) -> list[Finding]:
    """Return the findings of a text, as if it were the file `path` (whose ending says what it is).

    >>> [finding.code for finding in check_source("import torch.nn as nn\\nnn.HingeLoss()")]
    ['LOS601']
    """
    config = select or Config()
    data = text.encode("utf-8", "surrogatepass")
    unit = read(Path(path), data)
    found = check_unit(unit, Project(), frozenset({unit.path}))
    return ordered(f for f in found if f.code in config.rules_for(unit.path))


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings by place, each once."""
    kept: dict[tuple[str, int, int, int, str], Finding] = {}
    for finding in sorted(findings, key=lambda f: (f.path, f.cell, f.line, f.column, f.code, f.message)):
        kept.setdefault((finding.path, finding.cell, finding.line, finding.column, finding.code), finding)
    return list(kept.values())


def files_of(paths: Sequence[Path], config: Callable[[Path], Config]) -> dict[Path, Config]:
    """Return the files below some paths, each with its configuration; a file named outright is never excluded.

    Raises `DataError` for a path that is not there.
    """
    found: dict[Path, Config] = {}
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: there is no such file or folder")
        chosen = config(path)
        if path.is_file():
            found.setdefault(path, chosen)
            continue
        for folder, folders, names in os.walk(path):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if not chosen.excludes(here / name))
            for name in sorted(names):
                if name.endswith(SUFFIXES) and not chosen.excludes(here / name):
                    found.setdefault(here / name, chosen)
    return found


def _check_some(job: tuple[list[Path], frozenset[Path]]) -> tuple[list[Finding], int]:
    paths, requested = job
    project = Project()
    found: list[Finding] = []
    lines = 0
    resolved = frozenset(path.resolve() for path in requested)
    shown = {path.resolve(): str(path) for path in requested}
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError:
            found += faults(read(path))
            continue
        lines += data.count(b"\n")
        if worth_reading(data):
            unit = read(path.resolve(), data)
            found += check_unit(unit, project, resolved)
    return [replace(f, path=shown.get(Path(f.path), f.path)) for f in found], lines


def check_paths(
    paths: Sequence[str | Path],
    *,
    config: Config | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[Finding]:
    """Return the findings of files and folders.

    `config` replaces what pyproject.toml says. `jobs` processes share the work where there is enough of it; a script
    that asks for more than one needs the usual ``if __name__ == "__main__"``. Raises `DataError` for a path that is not
    there, and `ParameterError` for a broken configuration.
    """
    files = files_of([Path(p) for p in paths], (lambda _: config) if config is not None else find_config)
    return check_files(files, jobs=jobs, progress=progress)


def check_files(files: dict[Path, Config], *, jobs: int = 1, progress: Progress | None = None) -> list[Finding]:
    """Return the findings of some files, each under its own configuration; see `check_paths`."""
    names = list(files)
    everything = frozenset(names)
    total = sum(_size(path) for path in names)
    chunks = [names[i : i + _AT_ONCE] for i in range(0, len(names), _AT_ONCE)]
    found: list[Finding] = []
    done = 0
    if jobs > 1 and total >= _ENOUGH and len(chunks) > 1:
        # Spawned, not forked: a fork of a process with threads may hang, and all systems can spawn.
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            results = pool.map(_check_some, [(chunk, everything) for chunk in chunks])
            for chunk, (findings, _) in zip(chunks, results, strict=True):
                found += findings
                done += len(chunk)
                if progress:
                    progress(done, len(names))
    else:
        for chunk in chunks:
            found += _check_some((chunk, everything))[0]
            done += len(chunk)
            if progress:
                progress(done, len(names))
    allowed: dict[str, frozenset[str]] = {str(path): files[path].rules_for(path) for path in names}
    return ordered(f for f in found if f.code in allowed.get(f.path, frozenset()))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
