"""The page of loss landscapes: a map of each slice with contours, and profiles on common axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lossary.landscape.result import Landscapes, Slice
from lossary.report import plots
from lossary.report.sheet import Drawing, fill
from lossary.text.phrases import Lang, chinese

_LEVELS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)  # contours, as shares of the rise
_STRETCH = 40.0  # how much of the shades goes to what is near the minimum
Say = Callable[..., str]


def sayings(lang: Lang) -> Say:
    """Return what says a sentence of the page in a language; one that has no Chinese words stays English."""
    words = chinese("landscape") if lang == "zh" else {}
    return lambda text, **fields: words.get(text, text).format(**fields)


def render(found: Landscapes, lang: Lang = "en") -> str:
    """Return the page. Needs jinja2, of the app extra."""
    t = sayings(lang)
    maps = [(k, each, Drawing(slice_map(each, found.steps, t))) for k, each in enumerate(found.slices)]
    return fill(
        "landscape.html.jinja",
        found=found,
        lang=lang,
        t=t,
        maps=maps,
        rows=[(k, each, [plots.short(x) for x in numbers(each)]) for k, each in enumerate(found.slices)],
        profiles=[
            (t("along the first direction"), Drawing(profile(found, 0, t))),
            (t("along the second direction"), Drawing(profile(found, 1, t))),
        ],
    )


def numbers(each: Slice) -> tuple[float, ...]:
    """Return what the table says of a slice: trained loss, lowest and highest point, bending in both directions."""
    known = each.values[np.isfinite(each.values)]
    return (each.trained, float(known.min()), float(known.max()), *each.bending)


def slice_map(each: Slice, steps: Any, t: Say) -> str:
    """Draw a slice: darker is higher, contours at shares of the rise, a cross at the trained network."""
    reach = float(steps[-1])
    panel = plots.Panel((-reach, reach), (-reach, reach), width=340, height=340, left=40, bottom=34, top=6, right=8)
    shares = _shares(each)
    half = (steps[1] - steps[0]) / 2
    cells = []
    for i, a in enumerate(steps):
        for j, b in enumerate(steps):
            share = shares[i, j]
            x0, y0 = panel.at(max(a - half, -reach), min(b + half, reach))
            x1, y1 = panel.at(min(a + half, reach), max(b - half, -reach))
            across, up = x1 - x0 + 0.4, y1 - y0 + 0.4  # neighbours overlap a little, so that no paper shows between
            shade = (
                1.0 if math.isnan(share) else math.log1p(_STRETCH * min(max(share, 0.0), 1.0)) / math.log1p(_STRETCH)
            )
            cells.append(
                f'<rect class="cell" x="{x0:.1f}" y="{y0:.1f}" width="{across:.1f}" height="{up:.1f}" '
                f'style="--s:{shade:.3f}"/>'
            )
    lines = "".join(f'<path class="contour" d="{_contour(shares, steps, level, panel)}"/>' for level in _LEVELS)
    x, y = panel.at(0.0, 0.0)
    cross = f'<path class="middle" d="M{x - 5:.1f} {y:.1f}h10M{x:.1f} {y - 5:.1f}v10"/>'
    body = panel.axes(t("first direction"), t("second direction")) + panel.window("".join(cells) + lines + cross)
    return panel.svg(body, t("{loss}: loss around the trained network", loss=each.label))


def profile(found: Landscapes, axis: int, t: Say) -> str:
    """Draw the slices of all losses along one direction, each as a share of its own rise."""
    middle = len(found.steps) // 2
    curves = []
    for rank, each in enumerate(found.slices):
        line = _shares(each)[:, middle] if axis == 0 else _shares(each)[middle]
        curves.append((rank, found.steps.tolist(), line.tolist()))
    high = max(y for _, _, line in curves for y in line if math.isfinite(y))
    panel = plots.Panel((float(found.steps[0]), float(found.steps[-1])), plots.span([0.0, high]), 420, 250, left=46)
    drawn = "".join(
        f'<g class="k{rank % 8}">{panel.line(zip(xs, ys, strict=True), f"mean k{rank % 8}")}</g>'
        for rank, xs, ys in curves
    )
    names = ", ".join(each.label for each in found.slices)
    return panel.svg(panel.axes(t("step"), t("share of the rise")) + panel.window(drawn), names)


def _shares(each: Slice) -> Any:
    """The height above the trained network as a share of the rise; infinite numbers are the highest."""
    with np.errstate(all="ignore"):
        return np.where(np.isfinite(each.values), (each.values - each.trained) / each.rise, 1.0)


def _contour(heights: Any, steps: Any, level: float, panel: plots.Panel) -> str:
    """The lines at one height: where they cut the sides of each square of the grid (marching squares)."""
    pieces = []
    for i in range(len(steps) - 1):
        for j in range(len(steps) - 1):
            corners = ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))
            cuts = []
            for (ai, aj), (bi, bj) in zip(corners, (*corners[1:], corners[0]), strict=True):
                low, high = heights[ai, aj], heights[bi, bj]
                if (low < level) != (high < level):
                    share = (level - low) / (high - low)
                    x, y = steps[ai] + share * (steps[bi] - steps[ai]), steps[aj] + share * (steps[bj] - steps[aj])
                    cuts.append(panel.at(float(x), float(y)))
            for (x0, y0), (x1, y1) in zip(cuts[::2], cuts[1::2], strict=True):
                pieces.append(f"M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}")
    return "".join(pieces)
