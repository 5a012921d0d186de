"""The page of a comparison of readers: strips, what was read on them, and where the losses saw each digit."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from examples.digit_strips.strips import BLANK, StripComparison, Strips

from lossary import numerics
from lossary.backends.numpy import namespace as xp
from lossary.catalogue import get
from lossary.report.sheet import Drawing, fill, line
from lossary.toolkit.decoding import ctc_alignment

_SHOWN = 5  # strips on the page
_CELL = 8  # size of a pixel of a strip


def render(result: StripComparison) -> str:
    """Return the page, which needs nothing but itself."""
    chosen = result.test[_worth_seeing(result)]
    read = {name: reader.read(chosen) for name, reader in result.readers.items()}
    strips = []
    for at in range(len(chosen)):
        wanted = chosen.digits(at)
        said = [(name, _text(found[at]), found[at] == wanted) for name, found in read.items()]
        strips.append((_picture(chosen, at, _places(result, chosen, at)), _text(wanted), said))
    curves = [
        (f"k{k} mean", list(range(1, result.epochs + 1)), [v / row.curve[0] for v in row.curve])
        for k, row in enumerate(result.rows)
    ]
    return fill(
        "strips.html.jinja",
        title="Digit strips: three losses learn to read",
        sentences=result.sentences(),
        rows=[
            (
                row.loss,
                _spread(row.sequence_accuracy),
                _spread(row.digit_error_rate),
                f"{statistics.mean(row.seconds):.1f} s",
            )
            for row in result.rows
        ],
        facts=f"{len(result.train)} strips to learn from, {len(result.test)} of other images to read; "
        f"{result.epochs} epochs, {result.seeds} seed{'s' * (result.seeds > 1)}",
        names=[row.loss for row in result.rows],
        curves=line(curves, "epoch", "loss, of that of the first epoch"),
        strips=strips,
        lattice=_lattice(result),
        aligned="ctc" in result.readers,
    )


def _text(digits: Sequence[int]) -> str:
    return " ".join(map(str, digits)) or "nothing"


def _spread(values: Sequence[float]) -> str:
    more = f" ± {statistics.stdev(values):.1%}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1%}{more}"


def _worth_seeing(result: StripComparison) -> Any:
    """Which strips to show: some that not every reader reads alike, then others."""
    wanted = [result.test.digits(at) for at in range(len(result.test))]
    wrong = sum(
        np.array([a != b for a, b in zip(reader.read(result.test), wanted, strict=True)], int)
        for reader in result.readers.values()
    )
    differs = (np.asarray(wrong) > 0) & (np.asarray(wrong) < len(result.readers))
    return np.argsort(~differs, kind="stable")[:_SHOWN]


def _places(result: StripComparison, strips: Strips, at: int) -> list[tuple[int, int, int]]:
    """Where the reader taught by CTC finds each digit, told which they are: first and last column, and the digit."""
    if "ctc" not in result.readers:
        return []
    scores: Any = result.readers["ctc"]
    found = ctc_alignment(
        scores.scores(strips)[at], strips.labels[at], strips.widths[at], strips.counts[at], blank=BLANK
    )
    places = []
    for which, digit in enumerate(strips.digits(at)):
        columns = np.flatnonzero(found.position == which)
        places.append((int(columns[0]), int(columns[-1]), digit))
    return places


def _picture(strips: Strips, at: int, places: Sequence[tuple[int, int, int]]) -> Drawing:
    """Draw a strip, and under it the columns that were taken for each digit."""
    frames = strips.frames[at, : strips.widths[at]]
    width, height = len(frames) * _CELL, 8 * _CELL + 20 * bool(places)
    parts = []
    for x, column in enumerate(frames):
        for y, ink in enumerate(column):
            if ink > 0:
                parts.append(
                    f'<rect class="ink" x="{x * _CELL}" y="{y * _CELL}" width="{_CELL}" height="{_CELL}" '
                    f'fill-opacity="{ink:.2f}"/>'
                )
    for k, (first, last, digit) in enumerate(places):
        x, reach = first * _CELL, (last - first + 1) * _CELL
        parts.append(f'<rect class="h{k % 8}" x="{x}" y="{8 * _CELL + 3}" width="{reach}" height="5" rx="2"/>')
        parts.append(f'<text x="{x + reach / 2:g}" y="{8 * _CELL + 19}" text-anchor="middle">{digit}</text>')
    box = f'viewBox="0 0 {width} {height}" style="max-width: {width}px"'
    label = f"a strip of the digits {_text(strips.digits(at))}"
    return Drawing(f'<svg {box} role="img" aria-label="{label}">{"".join(parts)}</svg>')


def _lattice(result: StripComparison) -> Drawing:
    """Draw how likely CTC holds each digit of a target to be at each column: the shares of all its paths."""
    if "ctc" not in result.readers:
        return Drawing("")
    # Digits of a target get classes of their own, so that the gradient tells them apart; of two equal neighbours it
    # would forget that a blank must part them.
    parted = [at for at in range(len(result.test)) if np.all(np.diff(result.test.labels[at, : result.test.counts[at]]))]
    if not parted:
        return Drawing("")
    strips = result.test[np.array(parted[:1])]
    reader: Any = result.readers["ctc"]
    logs, _, _ = numerics.log_softmax(xp, reader.scores(strips)[0])
    own = np.concatenate([logs[:, [BLANK]], logs[:, strips.labels[0]]], -1)
    occupancy = -get("ctc").grad(own, np.arange(1, own.shape[-1]), from_logits=False)
    names = ["blank", *map(str, strips.digits(0))]
    left, cell = 40, 14
    parts = []
    for row, name in enumerate(names):
        y = row * cell
        parts.append(f'<text x="{left - 6}" y="{y + 11}" text-anchor="end">{name}</text>')
        for column, share in enumerate(occupancy[:, row]):
            if share > 0.004:
                parts.append(
                    f'<rect class="h{(row - 1) % 8 if row else "blank"}" x="{left + column * _CELL}" y="{y}" '
                    f'width="{_CELL}" height="{cell - 1}" fill-opacity="{share:.2f}"/>'
                )
    size = (left + len(occupancy) * _CELL, len(names) * cell)
    return Drawing(
        f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="shares of paths by column and digit">'
        f"{''.join(parts)}</svg>"
    )
