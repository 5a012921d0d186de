"""Bar charts of a report: one panel for each mode, with ratios on a logarithmic axis."""

from __future__ import annotations

from typing import Any

from benchmarks.page import times
from benchmarks.peers import OURS, PEERS
from benchmarks.report import Report
from lossary.plots import COLOURS, drawn

_INCH = 0.16  # height of a bar


def drawing(report: Report, kind: str = ".svg") -> bytes:
    """Return the drawing of a report; raise `MissingExtraError` where matplotlib is missing."""
    peers = [key for key in report.keys if key not in OURS]
    panels = [(mode, _lines(report, mode)) for mode in report.modes]
    heights = [max(1, len(lines)) * (len(peers) + 1.5) * _INCH + 0.7 for _, lines in panels]

    def fill(figure: Any, ink: str) -> None:
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (mode, lines) in zip(axes, panels, strict=True):
            _panel(axis, report, mode, lines, peers, ink)
        handles = {label: bar for axis in axes for bar, label in zip(*axis.get_legend_handles_labels(), strict=True)}
        if handles:
            figure.legend(handles.values(), handles, loc="outside upper left", frameon=False, ncols=min(len(peers), 3))

    return drawn(kind, (7.6, sum(heights) + 0.6), fill)


def _lines(report: Report, mode: str) -> list[str]:
    return [f"{row.title}\n{row.size}".rstrip() for row in report.rows if row.mode == mode]


def _panel(axis: Any, report: Report, mode: str, lines: list[str], peers: list[str], ink: str) -> None:
    rows = [row for row in report.rows if row.mode == mode]
    for turn, key in enumerate(peers):
        found = [(at, ratio) for at, row in enumerate(rows) if (ratio := row.ratio(key)) is not None]
        if not found:
            continue
        places = [at + (turn - (len(peers) - 1) / 2) * 0.85 / len(peers) for at, _ in found]
        middles = [ratio.middle for _, ratio in found]
        spread = [[r.middle - r.low for _, r in found], [r.high - r.middle for _, r in found]]
        axis.barh(
            places, [m - 1 for m in middles], 0.8 / len(peers), left=1, color=COLOURS[turn % len(COLOURS)],
            xerr=spread, error_kw={"ecolor": ink, "elinewidth": 0.6}, label=PEERS[key].label,
        )  # fmt: skip
        for place, (_, ratio) in zip(places, found, strict=True):
            ahead = ratio.middle >= 1
            axis.annotate(
                times(ratio.middle), (ratio.high if ahead else ratio.low, place), (3 if ahead else -3, 0),
                textcoords="offset points", ha="left" if ahead else "right", va="center", fontsize=7,
            )  # fmt: skip
    axis.set_xscale("log")
    axis.axvline(1, color=ink, lw=1)
    axis.set_yticks(range(len(lines)), lines, fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.12)
    axis.grid(False, axis="y")
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
    low, high = axis.get_xlim()
    axis.set_xticks([t for t in ticks if low <= t <= high], [f"{t:g}x" for t in ticks if low <= t <= high])
    axis.minorticks_off()
    axis.set_title(mode, loc="left", fontsize=10)
    axis.set_xlabel("time of the peer / time of Lossary; to the right of 1 Lossary is faster")
