"""Markdown page of a report: what was measured, how to read it, ratios, times, memory, and the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.agreement import TOLERANCES
from benchmarks.peers import OURS, PEERS
from benchmarks.report import Ratio, Report, Row, geometric_mean
from benchmarks.suites import SUITES

HOW_TO_READ = (
    "A ratio is the time of a peer divided by Lossary's: 3.0 means that the peer took three times as long, 1.0 that "
    "both took the same, 0.5 that the peer was twice as fast. It is a ratio of medians; in brackets the ratios of the "
    "quartiles that speak least and most for Lossary: if 1 lies between them, nobody won. Peers called with tensors "
    "are compared with Lossary on tensors, the others with Lossary on NumPy arrays."
)
_UNITS = {"us": 1e6, "ms": 1e3, "s": 1.0}


def markdown(report: Report) -> str:
    """Return the page."""
    suite = SUITES[report.suite]
    parts = [
        f"# {suite.summary}",
        f"Suite `{report.suite}`, {report.dtype}, {report.machine['date']}.",
        *(f"**{note}**" for note in report.notes),
        HOW_TO_READ,
        *(sentence for mode in report.modes for sentence in verdicts(report, mode)),
        f"![The ratios as bars]({report.stem}.svg)",
    ]
    for mode in report.modes:
        parts += [f"## {mode[:1].upper()}{mode[1:]}", _ratios(report, mode), _times(report, mode, suite.unit)]
    if any(entry.memory is not None for row in report.rows for entry in row.entries.values()):
        parts += [
            "## Peak memory",
            "MiB beyond the inputs, at the height of a call that returns value and gradient; the gradient that is "
            "returned counts. Read from the high-water mark of resident memory, in a process of each contender's own.",
            _table(report, report.modes[-1], lambda row, key: _mebibytes(row.entries[key].memory)),
        ]
    left_out = [
        f"- {row.title} {row.size}, {row.mode}: {PEERS[key].label}: {why}"
        for row in report.rows
        for key, why in row.left_out.items()
    ]
    if left_out:
        parts += ["## Not measured", "\n".join(left_out)]
    parts += ["## Machine and method", "\n".join(_machine(report))]
    return "\n\n".join(parts) + "\n"


def verdicts(report: Report, mode: str) -> Iterable[str]:
    """Yield a sentence for each peer: how it compares on the whole, at best and at worst."""
    for key in report.keys:
        found = report.ratios(key, mode)
        if found:
            middle = geometric_mean(ratio.middle for _, ratio in found)
            whole = f"{PEERS[key].label}, {mode}: {times(middle)} the time of Lossary"
            worst, best = (pick(found, key=lambda pair: pair[1].middle) for pick in (min, max))
            yield whole + (
                f" on geometric average of {len(found)}; least {times(worst[1].middle)} ({worst[0].title} "
                f"{worst[0].size}), most {times(best[1].middle)} ({best[0].title} {best[0].size})."
                if len(found) > 1
                else "."
            )


def times(ratio: float) -> str:
    """Write a ratio.

    >>> times(123.4), times(0.456), times(1.0), times(0.0123)
    ('123x', '0.46x', '1.0x', '0.012x')
    """
    digits = 0 if ratio >= 9.95 else 1 if ratio >= 0.995 else 2 if ratio >= 0.0995 else 3 if ratio >= 0.00995 else 4
    return f"{ratio:.{digits}f}x"


def ratio_text(ratio: Ratio) -> str:
    """Write a ratio and its spread."""
    return f"{times(ratio.middle)} ({times(ratio.low)[:-1]} to {times(ratio.high)[:-1]})"


def _ratios(report: Report, mode: str) -> str:
    peers = [key for key in report.keys if key not in OURS]

    def cell(row: Row, key: str) -> str:
        ratio = row.ratio(key)
        return "" if ratio is None else ratio_text(ratio)

    return _table(report, mode, cell, peers)


def _times(report: Report, mode: str, unit: str) -> str:
    def cell(row: Row, key: str) -> str:
        entry = row.entries[key]
        share = "" if entry.bandwidth is None or key not in OURS else f", {entry.bandwidth:.0%}"
        return f"{_UNITS[unit] * entry.times.median:.3g}{share}"

    shared = any(entry.bandwidth for row in report.rows for entry in row.entries.values())
    told = {"us": "Microseconds", "ms": "Milliseconds", "s": "Seconds"}[unit] + ", medians"
    if shared:
        told += (
            "; for Lossary also its least traffic (inputs read once, gradient written once) as a fraction of what a"
            " copy of the input achieved beside it"
        )
    return f"{told}.\n\n{_table(report, mode, cell)}"


def _table(report: Report, mode: str, cell: Callable[[Row, str], str], keys: list[str] | None = None) -> str:
    rows = [row for row in report.rows if row.mode == mode]
    keys = [key for key in (report.keys if keys is None else keys) if any(key in row.entries for row in rows)]
    lines = [["loss", "size", *(PEERS[key].label for key in keys)], ["---", "---", *("---:" for _ in keys)]]
    lines += [[row.title, row.size, *(cell(row, k) if k in row.entries else "" for k in keys)] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mebibytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:.0f}" if count >= 10 << 20 else f"{count / 2**20:.1f}"


def _machine(report: Report) -> Iterable[str]:
    for name, fact in report.machine.items():
        text = ", ".join(f"{k} {v}" for k, v in fact.items()) if isinstance(fact, dict) else fact
        if text not in ("", None):
            yield f"- {name}: {text}"
    copies = [row.copy for row in report.rows if row.copy]
    if copies:
        slowest, fastest = min(copies) / 1e9, max(copies) / 1e9
        yield f"- copying, all processors, read and written: {slowest:.1f} to {fastest:.1f} GB/s"
    if report.load is not None:
        yield f"- load average before the start: {report.load:g}"
    others = [row.others for row in report.rows if row.others is not None]
    if others:
        yield f"- processors kept busy by others meanwhile: {max(others):.2f} at most in a row"
    yield (
        "- one process; the contenders take turns in rounds, each has the same time, the order moves on by one; "
        f"{report.seconds:.0f} s in all"
    )
    tolerance = TOLERANCES.get(report.dtype)
    if tolerance:
        yield f"- equal beforehand, to a NumPy formula or PyTorch in float64, within: {tolerance}"


def index(reports: list[Report]) -> str:
    """Return the page above the pages: a line for each report, with its geometric averages."""
    keys = [key for key in PEERS if key not in OURS and any(key in report.keys for report in reports)]
    rows: list[list[Any]] = [["suite", "mode", *(PEERS[key].label for key in keys)]]
    rows.append(["---", "---", *("---:" for _ in keys)])
    for report in reports:
        for mode in report.modes:
            found = [[ratio.middle for _, ratio in report.ratios(key, mode)] for key in keys]
            cells = [times(geometric_mean(several)) if several else "" for several in found]
            rows.append([f"[{report.suite}, {report.dtype}]({report.stem}.md)", mode, *cells])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    machines = sorted({f"{r.machine['processor']}, {r.machine['cores']} cores, {r.machine['date']}" for r in reports})
    return (
        "# Measurements\n\nMade by `python -m benchmarks`. "
        f"Geometric averages of the time of each peer divided by Lossary's.\n\n{table}\n\n"
        + "\n".join(f"- {machine}" for machine in machines)
        + "\n"
    )
