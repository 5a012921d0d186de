"""Drawings of a comparison as inline SVG: no scripts, no fonts, no colours of their own.

Every mark of a loss carries the class of its rank (``k0``, ``k1``, ...), and the page's style sheet gives that class
its colour in the light and in the dark theme. Text is set in the drawing's own units, and a drawing is shown at about
its natural size, so it stays readable on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from lossary.compare.tables import counted

Point = tuple[float, float]
Translate = Callable[[str], str]

_FEW = 5  # rows in a bin of confidence below which its accuracy says little


def ticks(low: float, high: float, about: int = 4, *, whole: bool = False) -> list[float]:
    """Return round numbers inside an interval; `whole` ones only where parts make no sense.

    >>> ticks(0.0, 1.0, 4)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if not high > low:
        return [low]
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    steps = [s * size for s in ((1, 2, 5, 10) if whole else (1, 2, 2.5, 5, 10))]
    step = max(min(steps, key=lambda s: abs(math.log(s / raw))), 1.0 if whole else 0.0)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def short(number: float) -> str:
    """Write a number of an axis.

    >>> short(150000.0), short(0.25), short(2.5e9)
    ('150,000', '0.25', '2.5e9')
    """
    if number == 0 or abs(number) < 1e-12:
        return "0"
    if 1e4 <= abs(number) < 1e8:
        text = f"{float(f'{number:.6g}'):,.0f}"
    elif 1e-3 <= abs(number) < 1e4:
        text = f"{number:.3g}"
    else:
        mantissa, _, exponent = f"{number:.2g}".partition("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Panel:
    """A rectangle with two axes: from numbers to places on the page."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = 260
    height: float = 170
    left: float = 48
    right: float = 8
    top: float = 8
    bottom: float = 30

    def at(self, x: float, y: float, *, inside: bool = False) -> Point:
        """Return the place of a pair of numbers; with `inside`, one beyond the axes is moved to the edge."""
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1.0)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1.0)
        if inside:
            across, up = min(max(across, 0.0), 1.0), min(max(up, 0.0), 1.0)
        inner_width, inner_height = self.inner
        return self.left + across * inner_width, self.top + (1 - up) * inner_height

    @property
    def inner(self) -> Point:
        """Width and height between the axes."""
        return self.width - self.left - self.right, self.height - self.top - self.bottom

    def window(self, body: str) -> str:
        """Show only what lies between the axes."""
        box = (self.left, self.top, *self.inner)
        x, y, width, height = (f"{v:g}" for v in box)
        return f'<svg x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{x} {y} {width} {height}">{body}</svg>'

    def axes(self, x_title: str, y_title: str = "", *, about: tuple[int, int] = (4, 4), whole: bool = False) -> str:
        """Draw grid lines, their numbers, and the titles; `whole` says that parts of 1 make no sense across."""
        parts = []
        for value in ticks(*self.y, about[1]):
            x0, y0 = self.at(self.x[0], value)
            x1, _ = self.at(self.x[1], value)
            parts.append(f'<line class="grid" x1="{x0:.1f}" x2="{x1:.1f}" y1="{y0:.1f}" y2="{y0:.1f}"/>')
            parts.append(
                f'<text class="tick" x="{x0 - 5:.1f}" y="{y0 + 3.5:.1f}" text-anchor="end">{short(value)}</text>'
            )
        for value in ticks(*self.x, about[0], whole=whole):
            x0, y0 = self.at(value, self.y[0])
            parts.append(
                f'<text class="tick" x="{x0:.1f}" y="{y0 + 13:.1f}" text-anchor="middle">{short(value)}</text>'
            )
        middle = (self.left + self.width - self.right) / 2
        parts.append(
            f'<text class="axis" x="{middle:.1f}" y="{self.height - 3:.1f}" text-anchor="middle">'
            f"{escape(x_title)}</text>"
        )
        if y_title:
            middle = (self.top + self.height - self.bottom) / 2
            parts.append(
                f'<text class="axis" transform="translate(10 {middle:.1f}) rotate(-90)" '
                f'text-anchor="middle">{escape(y_title)}</text>'
            )
        return "".join(parts)

    def line(self, points: Iterable[Point], style: str) -> str:
        """Draw a line through points, broken where a number is missing."""
        pieces, pen = [], "M"
        for x, y in points:
            if not math.isfinite(x + y):
                pen = "M"
                continue
            px, py = self.at(x, y)
            pieces.append(f"{pen}{px:.1f} {py:.1f}")
            pen = "L"
        return f'<path class="{style}" d="{"".join(pieces)}"/>'

    def svg(self, body: str, description: str) -> str:
        """Close the drawing; `description` is what a screen reader says."""
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" style="--w:{self.width:g}px" role="img" '
            f'aria-label="{escape(description)}">{body}</svg>'
        )


def span(values: Sequence[float], margin: float = 0.04) -> tuple[float, float]:
    """Return an interval that holds all finite values with some room."""
    known = [v for v in values if math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    return low - room, high + room


def carried_mean(curves: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over runs by epoch; a run that stopped early keeps its last value.

    >>> carried_mean([[4.0, 2.0, 1.0], [2.0]])
    [3.0, 2.0, 1.5]
    """
    longest = max(map(len, curves))
    full = [[*curve, *[curve[-1]] * (longest - len(curve))] for curve in curves]
    return [float(v) for v in np.mean(full, axis=0)]


def learning(
    train: Sequence[Sequence[float]], validation: Sequence[Sequence[float]], name: str, t: Translate = str
) -> str:
    """Draw the loss by epoch: thin lines are single runs, thick ones their means; training is dashed."""
    means = carried_mean(train), carried_mean(validation)
    everything = sorted(v for curve in (*train, *validation) for v in curve)
    roof = everything[min(len(everything) - 1, int(0.985 * len(everything)))]
    floor = min(everything)
    panel = Panel((1, max(2, len(means[0]))), span([min(floor, 0.0) if floor < 0.3 * roof else floor, roof]))
    lines = [panel.line(enumerate(curve, 1), "thin") for curve in validation]
    lines.append(panel.line(enumerate(means[0], 1), "mean dashed"))
    lines.append(panel.line(enumerate(means[1], 1), "mean"))
    return panel.svg(
        panel.axes(t("epoch"), whole=True) + panel.window("".join(lines)),
        f"{name}: training and validation loss by epoch",
    )


def shapes(curves: Sequence[tuple[int, Sequence[float], Sequence[float]]], x_title: str, y_title: str) -> str:
    """Draw one line per loss, given as its rank, abscissae and ordinates, on common axes."""
    # A loss that grows exponentially leaves the picture, so that the others fill it.
    reaches = [(min(known), max(known)) for _, _, line in curves if (known := [y for y in line if math.isfinite(y)])]
    lows, highs = zip(*reaches, strict=True)
    low = max(min(lows), min(0.0, 1.6 * float(np.median(lows))))
    high = min(max(highs), max(0.0, 1.6 * float(np.median(highs))))
    shared = max(min(line) for _, line, _ in curves), min(max(line) for _, line, _ in curves)
    panel = Panel(shared, span([low, high]), width=400, height=270, left=46, bottom=34)
    axes = panel.axes(x_title, y_title, about=(6, 5))
    if panel.y[0] < 0 < panel.y[1]:
        axes += panel.line([(panel.x[0], 0.0), (panel.x[1], 0.0)], "zero")
    lines = [
        f'<g class="k{rank}" data-k="{rank}">{panel.line(zip(across, up, strict=True), "mean")}</g>'
        for rank, across, up in reversed(curves)
    ]
    return panel.svg(axes + panel.window("".join(lines)), f"{y_title} by {x_title}, one line per loss")


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], name: str, t: Translate = str) -> str:
    """Draw a square per pair of true class (row) and decision (column), shaded by its share of the row."""
    n = len(classes)
    labelled = n <= 12
    names = [c if len(c) <= 11 else c[:10] + "…" for c in classes]
    left = 22 + (max(len(c) for c in names) * 6.2 + 4 if labelled else 0)
    size = 200.0 / n
    steep = labelled and max(len(c) for c in names) * 6.2 > size
    bottom = (max(len(c) for c in names) * 4.6 + 12 if steep else 14 if labelled else 0) + 16
    width, height = left + 200 + 4, 4 + 200 + bottom
    parts = []
    for i, row in enumerate(counts):
        total = sum(row) or 1
        for j, count in enumerate(row):
            share = count / total
            kind = "right" if i == j else "wrong"
            # Few errors must stay visible beside many hits: errors are shaded by the root of their share.
            strength = share if i == j else math.sqrt(share)
            x, y = left + j * size, 4 + i * size
            tip = f"true {classes[i]}, classified as {classes[j]}: {count} ({100 * share:.1f} %)"
            parts.append(
                f'<rect class="{kind}" x="{x:.2f}" y="{y:.2f}" width="{size - 1:.2f}" height="{size - 1:.2f}" rx="1.5" '
                f'style="--s:{strength:.3f}"><title>{escape(tip)}</title></rect>'
            )
            if n <= 6 and count:
                strong = " strong" if strength > 0.55 else ""
                x, y = x + size / 2, y + size / 2 + 4
                parts.append(f'<text class="count{strong}" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{count}</text>')
    if labelled:
        for i, label in enumerate(names):
            y = 4 + (i + 0.5) * size + 3.5
            parts.append(f'<text class="tick" x="{left - 5:.1f}" y="{y:.1f}" text-anchor="end">{escape(label)}</text>')
            x = left + (i + 0.5) * size
            turn = f"translate({x + 3:.1f} 214) rotate(-45)" if steep else f"translate({x:.1f} 217)"
            anchor = "end" if steep else "middle"
            parts.append(f'<text class="tick" transform="{turn}" text-anchor="{anchor}">{escape(label)}</text>')
    decided, true = escape(t("classified as")), escape(t("true"))
    parts.append(f'<text class="axis" x="{left + 100:.1f}" y="{height - 3:.1f}" text-anchor="middle">{decided}</text>')
    parts.append(f'<text class="axis" transform="translate(10 104) rotate(-90)" text-anchor="middle">{true}</text>')
    label = escape(f"{name}: confusion of {n} classes")
    opening = f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="--w:{width:.0f}px" role="img" aria-label="{label}">'
    return f"{opening}{''.join(parts)}</svg>"


def reliability(table: Sequence[Sequence[float]], name: str, t: Translate = str) -> str:
    """Draw accuracy against confidence, a dot per bin with an area that grows with its rows."""
    filled = [row for row in table if row[0]]
    low = min(0.5, *(min(row[1], row[2]) / row[0] for row in filled)) if filled else 0.0
    low = math.floor(low * 10 + 1e-9) / 10
    panel = Panel((low, 1.0), (low, 1.0), width=230, height=220, left=36)
    most = max((row[0] for row in filled), default=1.0)
    body = [panel.axes(t("confidence"), t("accuracy")), panel.line([(low, low), (1.0, 1.0)], "ideal")]
    places = [(row[1] / row[0], row[2] / row[0], row[0]) for row in filled]
    body.append(panel.line([(x, y) for x, y, count in places if count >= _FEW], "link"))
    for x, y, count in places:
        px, py = panel.at(x, y)
        radius = 2.2 + 6 * math.sqrt(count / most)
        tip = f"confidence {x:.3f}, accuracy {y:.3f}, {counted(count, 'row')}"
        circle = f'<circle class="bin{" few" if count < _FEW else ""}" cx="{px:.1f}" cy="{py:.1f}" r="{radius:.1f}">'
        body.append(f"{circle}<title>{escape(tip)}</title></circle>")
    return panel.svg("".join(body), f"{name}: accuracy by confidence")


def residuals(points: Sequence[Sequence[float]], x: Point, y: Point, name: str, t: Translate = str) -> str:
    """Draw residuals (truth minus prediction) against predictions; those beyond the common axes sit on the edge."""
    panel = Panel(x, y, width=260, height=190, left=46)
    body = [panel.axes(t("predicted"), t("residual")), panel.line([(x[0], 0.0), (x[1], 0.0)], "zero")]
    for truth, predicted in points:
        px, py = panel.at(predicted, truth - predicted, inside=True)
        body.append(f'<circle class="point" cx="{px:.1f}" cy="{py:.1f}" r="2.1"/>')
    return panel.svg("".join(body), f"{name}: residuals by prediction")


def common_ranges(all_points: Sequence[Sequence[Sequence[float]]]) -> tuple[Point, Point]:
    """Return common axes for residual plots: all but the most extreme hundredth of the points lie inside."""
    predicted = [p for points in all_points for _, p in points]
    residual = [t - p for points in all_points for t, p in points]
    across = [float(v) for v in np.percentile(predicted, [0.5, 99.5])]
    up = [float(v) for v in np.percentile(residual, [0.5, 99.5])]
    return span(across, 0.05), span(up, 0.08)
