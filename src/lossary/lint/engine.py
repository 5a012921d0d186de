"""From paths to findings: which files are read, which rules are asked, what is told and in which order."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from lossary.errors import DataError, ParameterError
from lossary.lint.config import Config, find_config
from lossary.lint.flow import Flow, FlowEvent, Project
from lossary.lint.records import RULES, Finding, Problem, Rule
from lossary.lint.sources import SUFFIXES, Unit, contents, read, worth_reading

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

    def __call__(self, event: FlowEvent) -> None:
        for rule in self.rules.get(event.kind, ()):
            for problem in rule.check(event):
                self.keep(rule.code, problem, event.unit)

    def keep(self, code: str, problem: Problem, unit: Unit) -> None:
        """Keep a problem as a finding, unless it is silenced where it stands."""
        node = problem.node
        (line, column), (end_line, end_column) = unit.start(node), unit.end(node)
        if unit.path not in self.requested or unit.is_silenced(code, line, end_line, RULES[code].name):
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
        str(unit.path),
        cell,
        top,
        left,
        code,
        problem.message,
        bottom,
        right,
        problem.help,
        problem.fix,
        shown,
        unit.file_line(line),
        unit.file_line(end_line),
    )


def faults(unit: Unit) -> list[Finding]:
    """Return what could not be read of a file, as findings."""
    found = []
    for fault in unit.faults:
        if not unit.is_silenced(fault.code, fault.line, fault.line, RULES[fault.code].name):
            column = min(
                fault.column, len(unit.lines[fault.line - 1].rstrip("\r\n")) if fault.line <= len(unit.lines) else 0
            )
            said = Problem(None, fault.message)  # type: ignore[arg-type]
            found.append(finding_at(unit, fault.code, fault.line, column, fault.line, column + 1, said))
    return found


def check_unit(unit: Unit, project: Project, requested: frozenset[Path]) -> list[Finding]:
    """Return the findings of one file that was read, and those that its calls bring about in others."""
    found = faults(unit)
    for example in unit.examples:
        found += [replace(finding, fix=None) for finding in _followed(example, Project(), requested)]
    return found + _followed(unit, project, requested)


def _followed(unit: Unit, project: Project, requested: frozenset[Path]) -> list[Finding]:
    found: list[Finding] = []
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
    return check_bytes(text.encode("utf-8", "surrogatepass"), Path(path), select or Config())


def check_bytes(data: bytes, path: Path, config: Config) -> list[Finding]:
    """Return the findings of what a file `path` would hold."""
    unit = read(path, data)
    found = check_unit(unit, Project(), frozenset({unit.path}))
    return ordered(f for f in found if f.code in config.rules_for(unit.path))


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings by place, each once."""
    kept: dict[tuple[str, int, int, int, str], Finding] = {}
    for finding in sorted(findings, key=lambda f: (f.path, f.cell, f.line, f.column, f.code, f.message)):
        kept.setdefault((finding.path, finding.cell, finding.line, finding.column, finding.code), finding)
    return list(kept.values())


def files_of(
    paths: Sequence[Path], config: Callable[[Path], Config], *, force_exclude: bool = False
) -> dict[Path, Config]:
    """Return the files below some paths, each with its configuration.

    A file named outright is checked even where the configuration excludes it, unless `force_exclude` is true. What
    cannot be looked into is returned, too: reading it then tells why not. Raises `DataError` for a path that is not
    there.
    """
    found: dict[Path, Config] = {}
    for path in paths:
        if not os.path.lexists(path):
            raise DataError(f"{path}: there is no such file or folder")
        chosen = config(path)
        if force_exclude and chosen.excludes_outright(path):
            continue
        if not path.is_dir():
            found.setdefault(path, chosen)
            continue

        def unreadable(wrong: OSError, chosen: Config = chosen) -> None:
            found.setdefault(Path(wrong.filename), chosen)

        for folder, folders, names in os.walk(path, onerror=unreadable):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if not chosen.excludes(here / name))
            for name in sorted(names):
                if name.endswith(SUFFIXES) and not chosen.excludes(here / name):
                    found.setdefault(here / name, chosen)
    return found


@dataclass(frozen=True)
class SharedCheck:
    """The files that were asked for, as they were named, by where they really are."""

    shown: dict[Path, str]
    paths: frozenset[Path]

    @classmethod
    def of(cls, names: Iterable[Path]) -> SharedCheck:
        """Return the request for some files."""
        shown = {path.resolve(): str(path) for path in names}
        return cls(shown, frozenset(shown))


_request: SharedCheck | None = None  # of this process, where several share the work


def _start(request: SharedCheck) -> None:
    global _request
    _request = request


def _check_chunk(paths: list[Path]) -> list[Finding]:
    assert _request is not None
    return _check_some(paths, _request)


def _check_some(paths: Sequence[Path], request: SharedCheck) -> list[Finding]:
    project = Project()
    found: list[Finding] = []
    for path in paths:
        data = contents(path)
        if isinstance(data, Unit):
            found += faults(data)
        elif worth_reading(data):
            found += check_unit(read(path.resolve(), data), project, request.paths)
    return [replace(f, path=request.shown.get(Path(f.path), f.path)) for f in found]


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
    """Return the findings of some files, each under its own configuration; see `check_paths`.

    Raises `ParameterError` for a number of processes below 1.
    """
    if jobs < 1:
        raise ParameterError(f"jobs: got {jobs}, expected a number of processes, 1 or more")
    names = list(files)
    request = SharedCheck.of(names)
    chunks = [names[i : i + _AT_ONCE] for i in range(0, len(names), _AT_ONCE)]
    found: list[Finding] = []
    done = 0

    def told(chunk: list[Path], findings: list[Finding]) -> None:
        nonlocal done
        found.extend(findings)
        done += len(chunk)
        if progress:
            progress(done, len(names))

    if jobs > 1 and len(chunks) > 1 and sum(_size(path) for path in names) >= _ENOUGH:
        # Spawned, not forked: a fork of a process with threads may hang, and all systems can spawn.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(request,)) as pool:
            for chunk, findings in zip(chunks, pool.map(_check_chunk, chunks), strict=True):
                told(chunk, findings)
    else:
        for chunk in chunks:
            told(chunk, _check_some(chunk, request))
    allowed: dict[str, frozenset[str]] = {str(path): files[path].rules_for(path) for path in names}
    return ordered(f for f in found if f.code in allowed.get(f.path, frozenset()))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
