"""Driver of a benchmark suite: opens each case, compares the answers with the expected one, times the contenders."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from benchmarks import machine, memory
from benchmarks.agreement import TOLERANCES, disagreement
from benchmarks.cases import BOTH, Case, Contender, Options, Run, Suite
from benchmarks.peers import OURS, PEERS, THEIRS, chosen, missing
from benchmarks.report import Entry, Report, Row
from benchmarks.timing import alternate, copying, summary
from lossary.errors import ArgumentError

Progress = Callable[[int, int, str], None]
_COPY = "copy"
_MEMORY_SHARE = 0.3  # of the time
_CHILD = 15.0  # seconds that a child process is given at least: it has to import its library first
_COPYABLE = 1 << 20  # bytes; copying less measures how threads are woken


def measure(
    suite: Suite,
    options: Options | None = None,
    *,
    against: Iterable[str] | None = None,
    seconds: float = 300.0,
    memory: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Measure a suite and return the report.

    Parameters
    ----------
    suite: one of `SUITES`.
    options: the type, sizes and losses; `Options()` is the whole suite in float32.
    against: keys of peers; all that are installed if not given.
    seconds: for everything. It sets how many samples are taken; three each are taken in any case.
    memory: measure peak memory too, in child processes.
    progress: is told how many cases are done, of how many, and which one is next.

    Raises `ArgumentError` for options that leave nothing to measure or a peer nobody knows, `MissingExtraError` for one
    that is not installed.
    """
    options = Options() if options is None else options
    tell = progress or (lambda done, total, what: None)
    named = THEIRS if against is None else chosen(against)
    wanted = [key for key in suite.contenders if key in OURS or key in named]
    keys = [key for key in wanted if PEERS[key].installed]
    load, started, before = machine.load(), time.perf_counter(), machine.moment()
    cases = _cases(suite, options, keys)
    taking = memory and _remembers(suite)
    ends = started + seconds * (1 - _MEMORY_SHARE if taking else 1)
    total = len(cases) + (len(keys) if taking else 0)
    rows: list[Row] = []
    numbers: list[int] = []
    for number, case in enumerate(cases):
        tell(number, total, case.title)
        share = max(ends - time.perf_counter(), 0.0) / (len(cases) - number)
        try:
            found = _rows(case, keys, share)
        except Exception as error:  # the other cases are not to be lost with this one
            why = dict.fromkeys(keys, _said(error))
            found = [Row(case.loss, case.variant, case.shape, case.dtype, mode, left_out=why) for mode in case.modes]
        rows += found
        numbers += [number] * len(found)
    notes = [*missing(wanted), _kernels_note()]
    report = Report(suite.name, options.dtype, machine.describe(), rows, load=load)
    if taking:
        report = _with_memory(report, numbers, suite, options, keys, started + seconds, len(cases), total, tell)
    notes.append(machine.busy_note(load, before.others()))
    tell(total, total, "")
    return replace(report, notes=[note for note in notes if note], seconds=round(time.perf_counter() - started, 1))


def _cases(suite: Suite, options: Options, keys: Sequence[str]) -> list[Case]:
    """Return the cases of a suite, or refuse options that it does not have."""
    if options.dtype not in suite.dtypes:
        raise ArgumentError(f"{suite.name}: has no {options.dtype}: it is measured in {', '.join(suite.dtypes)}")
    suite.check_sizes(options.sizes)
    if not any(key in OURS for key in keys):
        needed = PEERS[next(key for key in suite.contenders if key in OURS)]
        raise ArgumentError(f"{suite.name}: needs {', '.join(needed.modules)}: {needed.install}")
    cases = suite.cases(options)
    if not cases:
        raise ArgumentError(f"{suite.name}: has none of {', '.join(options.losses)}; it has {', '.join(suite.losses)}")
    return cases


def _remembers(suite: Suite) -> bool:
    """Whether peak memory of a suite says anything: not of small arrays, nor of processes that end."""
    return memory.measurable() and suite.unit == "ms"


def _kernels_note() -> str:
    from lossary.kernels import registry as kernels

    return "" if kernels.available() else "Lossary computes without kernels: pip install 'lossary[fast]'"


def _rows(case: Case, keys: Sequence[str], seconds: float) -> list[Row]:
    """Measure one case in each of its modes, in about the given time, set-up included."""
    ends = time.perf_counter() + seconds
    if case.copied >= _COPYABLE:
        gc.collect()  # large arrays of earlier cases
    problem = case.open()
    right = problem.reference()
    contenders: dict[str, Contender] = {}
    failed: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries say about themselves
        for key in keys:
            try:
                made = problem.contender(key)
            except Exception as error:  # a peer that cannot do it is told of, and stops nobody else
                failed[key] = _said(error)
                continue
            if made is not None:
                contenders[key] = made
        agreed = [(mode, *_agreeing(case, mode, contenders, right)) for mode in case.modes]
        right = None  # a gradient in double precision, not to be kept beside the others
        rows = []
        for number, (mode, runs, left_out) in enumerate(agreed):
            share = max(ends - time.perf_counter(), 0.0) / (len(agreed) - number)
            rows.append(_row(case, mode, runs, failed | left_out, share))
    return rows


def _agreeing(
    case: Case, mode: str, contenders: dict[str, Contender], right: Any
) -> tuple[dict[str, Run], dict[str, str]]:
    """Call everybody once; return who gives the right answer, and why the others are left out."""
    runs: dict[str, Run] = {}
    left_out: dict[str, str] = {}
    for key, contender in contenders.items():
        if mode not in contender.runs:
            continue
        try:
            result = contender.runs[mode]()
            wrong = ""
            if right is not None and contender.read is not None:
                wrong = disagreement(contender.read(result), right, TOLERANCES[case.dtype])
        except Exception as error:
            wrong = _said(error)
        if wrong:
            left_out[key] = wrong
        else:
            runs[key] = contender.runs[mode]
    return runs, left_out


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _row(case: Case, mode: str, runs: dict[str, Run], left_out: dict[str, str], seconds: float) -> Row:
    taking_part = dict(runs)
    if case.copied >= _COPYABLE and runs:
        taking_part[_COPY] = copying(case.copied)
        taking_part[_COPY]()
    before = machine.moment()
    times = {key: summary(samples) for key, samples in alternate(taking_part, seconds).items()} if runs else {}
    copied = times.pop(_COPY, None)
    speed = 2 * case.copied / copied.median if copied else None
    moved = case.moved.get(mode)
    entries = {
        key: Entry(found, moved / found.median / speed if moved and speed else None) for key, found in times.items()
    }
    return Row(case.loss, case.variant, case.shape, case.dtype, mode, entries, left_out, speed, before.others())


def _with_memory(
    report: Report,
    numbers: list[int],
    suite: Suite,
    options: Options,
    keys: Sequence[str],
    ends: float,
    done: int,
    total: int,
    tell: Progress,
) -> Report:
    """Add the peak memory of value and gradient, as far as the time allows, contender by contender."""
    taken: dict[tuple[int, str], int] = {}
    rows = {number: at for at, number in enumerate(numbers) if report.rows[at].mode == BOTH}
    for turn, key in enumerate(keys):
        tell(done + turn, total, f"memory, {PEERS[key].label}")
        share = max((ends - time.perf_counter()) / (len(keys) - turn), _CHILD)
        for number, bytes_taken in memory.peaks(suite.name, key, options, share).items():
            taken[rows[number], key] = bytes_taken
    return report.with_memory(taken)
