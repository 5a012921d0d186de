"""Drawings of curves: text for a terminal, and ``.png``, ``.svg`` and ``.html`` files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lossary.catalogue import Loss
from lossary.errors import ArgumentError, MissingExtraError
from lossary.plots.curve_data import QUANTITIES, Curve, curves
from lossary.text.phrases import Lang, fact, phrase

# Okabe and Ito's colours, distinguishable with any colour vision, and dashes, distinguishable in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
_INK = "#123456"  # replaced by the text colour of the viewer
_CHINESE_FONTS = ("Noto Sans CJK SC", "Source Han Sans SC", "Microsoft YaHei", "PingFang SC", "WenQuanYi Micro Hei")
_FORMATS = (".png", ".svg", ".html")


def plot(
    losses: Loss | str | Sequence[Loss | str],
    path: str | Path | None = None,
    *,
    lang: Lang = "en",
    width: int = 80,
    colour: bool = False,
    **options: Any,
) -> str:
    """Draw one loss, or several overlaid.

    Without a `path`, returns the drawing as text for a terminal, `width` columns wide, in `colour` if asked for. With
    one, writes a ``.png``, ``.svg`` or ``.html`` file (which needs nothing else, on line or off) and returns its name.
    Further options are those of `curve`: `target`, `span`, `points` and the parameters of the loss.

    Raises `ArgumentError` for another kind of file or for losses without a common axis, `MissingExtraError` where
    matplotlib or plotext is missing.

    >>> print(plot("hinge", width=60))
    hinge: value and gradient against the margin
    ...
    """
    if path is not None and Path(path).suffix.lower() not in _FORMATS:
        raise ArgumentError(f"plot: got the file {str(path)!r}, expected a name ending in {', '.join(_FORMATS)}")
    lines = curves(losses, **options)
    if path is None:
        return _terminal(lines, lang, width, colour)
    kind = Path(path).suffix.lower()
    picture = _page(lines, lang) if kind == ".html" else _picture(lines, kind, lang)
    Path(path).write_bytes(picture)
    return str(path)


def _axis_label(axis: str, lang: Lang) -> str:
    return axis if lang == "en" else phrase(axis, lang) if axis in _AXES else fact(axis, lang)


_AXES = ("residual", "margin", "angle")


def drawn(
    kind: str, size: tuple[float, float], fill: Callable[[Any, str], None], fonts: Sequence[str] = ("DejaVu Sans",)
) -> bytes:
    """Return a drawing as ``.png`` or ``.svg``, in the style of this package.

    `fill` is given the empty figure, of that size in inches, and the colour of text. Raises `MissingExtraError` where
    matplotlib is missing.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("drawing needs the app extra: pip install 'lossary[app]'") from None
    ink = "#222222" if kind == ".png" else _INK
    style: Any = {
        "font.size": 10, "text.color": ink, "axes.labelcolor": ink, "axes.edgecolor": ink, "xtick.color": ink,
        "ytick.color": ink, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "grid.color": "#808080", "grid.alpha": 0.25, "svg.fonttype": "none", "svg.hashsalt": "lossary",
        "font.sans-serif": list(fonts),
    }  # fmt: skip
    with rc_context(style), warnings.catch_warnings():
        # The letters of an SVG are drawn by its viewer, which may have a font that this machine has not.
        warnings.filterwarnings("ignore", "Glyph")
        figure = Figure(figsize=size, layout="constrained")
        fill(figure, ink)
        out = io.BytesIO()
        metadata: Any = {"Date": None, "Creator": None} if kind == ".svg" else {}
        figure.savefig(out, format=kind[1:], dpi=160, transparent=kind == ".svg", metadata=metadata)
    return _adaptive(out.getvalue()) if kind == ".svg" else out.getvalue()


def _picture(lines: Sequence[Curve], kind: str, lang: Lang) -> bytes:
    """Draw one panel above another for value, gradient and curvature."""
    panels = [q for q in QUANTITIES if any(line.quantity(q) is not None for line in lines)]
    fonts = _fonts(kind) if lang == "zh" else []
    if not fonts:  # no installed font has Chinese characters
        lang = "en"

    def fill(figure: Any, ink: str) -> None:
        axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for panel, axis in zip(panels, axes, strict=True):
            for number, line in enumerate(lines):
                numbers = line.quantity(panel)
                if numbers is not None:
                    look = number % len(COLOURS)
                    axis.plot(line.x, numbers, color=COLOURS[look], linestyle=_DASHES[look], lw=2, label=line.label)
            axis.set_ylabel(phrase(panel, lang))
            axis.axhline(0, color=ink, lw=0.6, alpha=0.5)
        axes[-1].set_xlabel(_axis_label(lines[0].axis, lang))
        figure.legend(
            *axes[0].get_legend_handles_labels(), loc="outside upper left", frameon=False, ncols=min(len(lines), 3)
        )

    return drawn(kind, (6.4, 1.0 + 1.9 * len(panels)), fill, [*fonts, "DejaVu Sans"])


def _fonts(kind: str) -> list[str]:
    """Return the fonts with Chinese characters: the installed ones, or any if the viewer of the file draws them."""
    try:
        from matplotlib.font_manager import fontManager
    except ImportError:  # `drawn` raises the error
        return []
    installed = {font.name for font in fontManager.ttflist}
    return [font for font in _CHINESE_FONTS if font in installed or kind == ".svg"]


def _adaptive(svg: bytes) -> bytes:
    """Make the text colour of an SVG follow the light or dark scheme of its viewer."""
    css = b"<style>svg{color:#222}@media(prefers-color-scheme:dark){svg{color:#ddd}}</style>"
    text = svg.replace(_INK.encode(), b"currentColor")
    head, tag, rest = text.partition(b"<defs>")
    return head + css + tag + rest


def _page(lines: Sequence[Curve], lang: Lang) -> bytes:
    """Return an HTML page with the drawing inside."""
    picture = _picture(lines, ".svg", lang).decode()
    title = ", ".join(dict.fromkeys(line.loss for line in lines))
    return (
        f'<!doctype html>\n<html lang="{lang}">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n"
        "<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:46rem;"
        "padding:0 1rem}svg{width:100%;height:auto}</style>\n"
        f"<h1>{title}</h1>\n{picture[picture.index('<svg') :]}\n</html>\n"
    ).encode()


def _terminal(lines: Sequence[Curve], lang: Lang, width: int, colour: bool) -> str:
    """Draw with characters: the value of each curve; of a single one the gradient too."""
    try:
        import plotext
    except ImportError:
        raise MissingExtraError("drawing needs the app extra: pip install 'lossary[app]'") from None
    drawn = [(line.label, line.x, line.value) for line in lines]
    if len(lines) == 1:
        only = lines[0]
        drawn = [(phrase("value", lang), only.x, only.value), (phrase("gradient", lang), only.x, only.gradient)]
    figure = plotext.figure
    figure.clear()
    plotext.terminal.limit(False, False)
    figure.legend(x=width // 2, ha="center")
    figure.theme("simple" if colour else "colorless")
    figure.canvas("default")
    figure.plot_size(max(width, 30), max(min(width // 4, 24), 12))
    for number, (label, x, numbers) in enumerate(drawn):
        marker = "braille" if number == 0 else "xo+*#@"[(number - 1) % 6]
        for part, (at, found) in enumerate(_segments(x, numbers)):
            signal = figure.signal(at.tolist(), found.tolist(), marker=marker).lines()
            figure.draw(signal.label(label) if part == 0 else signal)
    text = str(figure.build())
    figure.clear()
    if not colour:
        text = plotext.uncolorize(text)
    title = _title(lines, lang)
    return "\n".join([title, *(line.rstrip() for line in text.rstrip().splitlines())])


def _title(lines: Sequence[Curve], lang: Lang) -> str:
    axis = _axis_label(lines[0].axis, lang)
    if len(lines) == 1:
        return phrase("{loss}: value and gradient against the {axis}", lang, loss=lines[0].label, axis=axis)
    losses = ", ".join(dict.fromkeys(line.loss for line in lines))
    return phrase("{loss}: value against the {axis}", lang, loss=losses, axis=axis)


def _segments(x: Any, numbers: Any) -> list[tuple[Any, Any]]:
    """Split a curve at its NaNs and infinities."""
    good = np.isfinite(numbers)
    edges = np.flatnonzero(np.diff(good.astype(int))) + 1
    return [
        (at, found)
        for at, found, ok in zip(np.split(x, edges), np.split(numbers, edges), np.split(good, edges), strict=True)
        if ok.all() and len(at)
    ]
