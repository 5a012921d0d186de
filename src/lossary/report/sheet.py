"""Pages that stand alone: the templates of this room, filled in, with one palette and no need of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from lossary.errors import require
from lossary.report import plots


def environment() -> Any:
    """Return the templates' environment: every text that comes from data is escaped. Needs jinja2, of the app extra."""
    jinja2 = require("jinja2")
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: files("lossary.report").joinpath(name).read_text("utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )


def fill(template: str, **facts: Any) -> str:
    """Return a template of this room with its facts; everything but a `Drawing` is escaped."""
    return str(environment().get_template(template).render(**facts))


class Drawing(str):
    """An SVG element, made here and safe to stand in a page."""

    def __html__(self) -> str:
        return self


def bars(numbers: Sequence[float], names: Sequence[str], title: str) -> Drawing:
    """Draw one bar per number, the largest as wide as the drawing; what is not finite is a full bar that says so."""
    known = [abs(v) for v in numbers if math.isfinite(v)]
    longest = max(known, default=0.0) or 1.0
    height, width = 20, 420
    parts = []
    for row, (number, name) in enumerate(zip(numbers, names, strict=True)):
        y = row * height
        reach = (width - 150) * (abs(number) / longest if math.isfinite(number) else 1.0)
        kind = "bin" if math.isfinite(number) else "bin lost"
        parts.append(f'<text x="56" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="{kind}" x="64" y="{y + 4}" width="{max(reach, 1):.1f}" height="12"/>')
        parts.append(f'<text x="{64 + max(reach, 1) + 6:.1f}" y="{y + 14}">{escape(plots.short(number))}</text>')
    box = f"0 0 {width} {max(len(numbers), 1) * height}"
    return Drawing(f'<svg viewBox="{box}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>')


def line(series: Sequence[tuple[str, Sequence[float], Sequence[float]]], x_title: str, y_title: str) -> Drawing:
    """Draw lines on common axes, given as their style, abscissae and ordinates; spikes beyond the bulk are cut off."""
    every = sorted(y for _, _, ys in series for y in ys if math.isfinite(y))
    across = [x for _, xs, _ in series for x in xs]
    if not every:
        return Drawing("")
    roof = every[min(len(every) - 1, int(0.995 * len(every)))]
    limits = plots.span([every[0], roof], 0.05)
    panel = plots.Panel((min(across), max(max(across), min(across) + 1)), limits, width=760, height=240, left=52)
    drawn = "".join(panel.line(zip(xs, ys, strict=True), style) for style, xs, ys in series)
    return Drawing(panel.svg(panel.axes(x_title, y_title, about=(8, 4), whole=True) + panel.window(drawn), y_title))
