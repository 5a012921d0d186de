"""The page of a comparison: strips, the digits read on them, and the columns that CTC aligns with each digit."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from examples.digit_strips.comparison import StripComparison
from examples.digit_strips.strips import BLANK, Strips

import lossary
from lossary.report.sheet import Drawing, environment, line
from lossary.toolkit.decoding import ctc_alignment

SHOWN = 5  # strips on the page
PIXEL = 8  # the size of a pixel of a strip
LATTICE_ROW = 14  # the height of a row of the lattice


def render(result: StripComparison) -> str:
    """Return the page as one HTML text that needs no other file and no network."""
    templates = environment()
    templates.loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(Path(__file__).parent), templates.loader])
    chosen = result.test[_interesting(result)]
    predicted = {name: reader.read(chosen) for name, reader in result.readers.items()}
    strips = []
    for strip in range(len(chosen)):
        target = chosen.digits(strip)
        readings = [(name, _text(rows[strip]), rows[strip] == target) for name, rows in predicted.items()]
        strips.append((_picture(chosen, strip, _alignment(result, chosen, strip)), _text(target), readings))
    curves = [
        (f"k{k} mean", list(range(1, result.epochs + 1)), [v / row.curve[0] for v in row.curve])
        for k, row in enumerate(result.rows)
    ]
    return str(
        templates.get_template("page.html.jinja").render(
            title="Digit strips: three losses learn to read",
            sentences=result.sentences(),
            rows=[
                (
                    row.loss,
                    _percent(row.sequence_accuracy),
                    _percent(row.digit_error_rate),
                    f"{statistics.mean(row.seconds):.1f} s",
                )
                for row in result.rows
            ],
            settings=f"{len(result.train)} strips to learn from, {len(result.test)} of other images to read; "
            f"{result.epochs} epochs, {result.seeds} seed{'s' * (result.seeds > 1)}",
            names=[row.loss for row in result.rows],
            curves=line(curves, "epoch", "loss, relative to the first epoch"),
            strips=strips,
            lattice=_lattice(result),
            aligned="ctc" in result.readers,
        )
    )


def _text(digits: Sequence[int]) -> str:
    return " ".join(map(str, digits)) or "nothing"


def _percent(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1%}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1%}{deviation}"


def _interesting(result: StripComparison) -> Any:
    """Return the strips to show: first those on which the readers disagree, then others."""
    targets = [result.test.digits(strip) for strip in range(len(result.test))]
    wrong = np.array(
        [[a != b for a, b in zip(reader.read(result.test), targets, strict=True)] for reader in result.readers.values()]
    ).sum(0)
    disagree = (wrong > 0) & (wrong < len(result.readers))
    return np.argsort(~disagree, kind="stable")[:SHOWN]


def _alignment(result: StripComparison, strips: Strips, strip: int) -> list[tuple[int, int, int]]:
    """Return the first column, the last column and the digit, as the reader trained by CTC aligns the target."""
    if "ctc" not in result.readers:
        return []
    reader: Any = result.readers["ctc"]
    aligned = ctc_alignment(
        reader.scores(strips)[strip], strips.labels[strip], strips.widths[strip], strips.counts[strip], blank=BLANK
    )
    spans = []
    for position, digit in enumerate(strips.digits(strip)):
        columns = np.flatnonzero(aligned.position == position)
        spans.append((int(columns[0]), int(columns[-1]), digit))
    return spans


def _picture(strips: Strips, strip: int, spans: Sequence[tuple[int, int, int]]) -> Drawing:
    """Draw a strip, and under it the columns that are aligned with each digit."""
    frames = strips.frames[strip, : strips.widths[strip]]
    width, height = len(frames) * PIXEL, 8 * PIXEL + 20 * bool(spans)
    parts = []
    for x, column in enumerate(frames):
        for y, ink in enumerate(column):
            if ink > 0:
                parts.append(
                    f'<rect class="ink" x="{x * PIXEL}" y="{y * PIXEL}" width="{PIXEL}" height="{PIXEL}" '
                    f'fill-opacity="{ink:.2f}"/>'
                )
    for k, (first, last, digit) in enumerate(spans):
        x, length = first * PIXEL, (last - first + 1) * PIXEL
        parts.append(f'<rect class="h{k % 8}" x="{x}" y="{8 * PIXEL + 3}" width="{length}" height="5" rx="2"/>')
        parts.append(f'<text x="{x + length / 2:g}" y="{8 * PIXEL + 19}" text-anchor="middle">{digit}</text>')
    box = f'viewBox="0 0 {width} {height}" style="max-width: {width}px"'
    label = f"a strip of the digits {_text(strips.digits(strip))}"
    return Drawing(f'<svg {box} role="img" aria-label="{label}">{"".join(parts)}</svg>')


def _lattice(result: StripComparison) -> Drawing:
    """Draw the posterior of each digit of a target at each column under CTC: the share of all paths that are there."""
    if "ctc" not in result.readers:
        return Drawing("")
    # Each digit of the target gets a class of its own, so that the gradient tells them apart. Two equal neighbours
    # would then need no blank between them, so only a target without such a pair will do.
    usable = [
        strip
        for strip in range(len(result.test))
        if np.all(np.diff(result.test.labels[strip, : result.test.counts[strip]]))
    ]
    if not usable:
        return Drawing("")
    strips = result.test[np.array(usable[:1])]
    reader: Any = result.readers["ctc"]
    scores = reader.scores(strips)[0]
    log_probabilities = scores - np.logaddexp.reduce(scores, -1, keepdims=True)
    own = np.concatenate([log_probabilities[:, [BLANK]], log_probabilities[:, strips.labels[0]]], -1)
    posterior = -lossary.ctc.grad(own, np.arange(1, own.shape[-1]), from_logits=False)
    names = ["blank", *map(str, strips.digits(0))]
    left = 40
    parts = []
    for row, name in enumerate(names):
        y = row * LATTICE_ROW
        parts.append(f'<text x="{left - 6}" y="{y + 11}" text-anchor="end">{name}</text>')
        for column, share in enumerate(posterior[:, row]):
            if share > 0.004:
                parts.append(
                    f'<rect class="h{(row - 1) % 8 if row else "blank"}" x="{left + column * PIXEL}" y="{y}" '
                    f'width="{PIXEL}" height="{LATTICE_ROW - 1}" fill-opacity="{share:.2f}"/>'
                )
    size = (left + len(posterior) * PIXEL, len(names) * LATTICE_ROW)
    return Drawing(
        f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-label="share of paths by column and digit">'
        f"{''.join(parts)}</svg>"
    )
