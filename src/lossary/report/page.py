"""From a comparison to the page: what the template is given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.catalogue import Loss, get
from lossary.compare.results import VALIDATION, Results, Row
from lossary.compare.tables import counted
from lossary.compare.verdict import sentences
from lossary.errors import require
from lossary.plots import curve, targets
from lossary.report import plots
from lossary.report.sheet import environment
from lossary.words import Lang

_SHOWN = 9  # small drawings beyond this many are folded away
_HUES = 8  # colours of the palette; after them the line pattern changes


@dataclass(frozen=True)
class Cell:
    """A cell of the table: what it shows and what it is sorted by."""

    mean: str
    spread: str
    order: float
    best: bool
    dagger: bool


def render(result: Results, lang: Lang = "en") -> str:
    """Return the report as one HTML page.

    Needs jinja2, of the app extra. Every text that comes from the data is escaped.
    """
    room, markup = environment(), require("markupsafe").Markup
    labels = sorted((row.label for row in result.rows), key=len, reverse=True)
    loss_name = re.compile(r"(?<![\w(])(" + "|".join(re.escape(str(markup.escape(x))) for x in labels) + r")(?![\w(])")
    room.filters["named"] = lambda text: markup(loss_name.sub(r"<b>\1</b>", str(markup.escape(text))))
    room.filters["counted"] = counted
    room.filters["breakable"] = lambda name: markup(
        str(markup.escape(name)).replace("_", "_<wbr>").replace("(", "<wbr>(")
    )
    template = room.get_template("page.html.jinja")
    drawn = {name: [(k, row, markup(svg)) for k, row, svg in found] for name, found in _drawings(result).items()}
    curves = _curves(result)
    return str(
        template.render(
            result=result,
            sentences=list(sentences(result, lang)),
            ranks=list(enumerate(result.rows)),
            trained=list(enumerate(result.trained)),
            hues=_HUES,
            shown=_SHOWN,
            table=_table(result),
            strips=_strips(result),
            gaps=_gaps(result),
            drawn=drawn,
            shapes=[markup(svg) for svg in curves],
            facts=_facts(result),
        )
    )


def _table(result: Results) -> list[list[Cell]]:
    """Return one list of cells per trained loss, a cell per metric."""
    best = {m.key: result.best_by(m.key) for m in result.metrics}
    lines = []
    for row in result.trained:
        cells = []
        for m in result.metrics:
            mean, spread = m.pair(row.mean(m.key), row.spread(m.key))
            cells.append(Cell(mean, spread, row.mean(m.key), best[m.key] is row, row.calibrated and m.probabilistic))
        lines.append(cells)
    return lines


def _strips(result: Results) -> dict[str, Any]:
    """Return where the dots of the runs stand, in percent of the axis."""
    m = result.metric
    scores = [row.scores[m.key] for row in result.trained]
    if not scores:
        return {}
    # One wild run must not press all others together: the axis ends at the worst but the most extreme twentieth.
    every = [v for s in scores for v in s]
    low, high = (float(v) for v in np.percentile(every, [4 if m.higher else 0, 100 if m.higher else 96]))
    means = [
        float(np.mean(found)) for row, s in zip(result.trained, scores, strict=True) for found in (s, row.clean or s)
    ]
    low, high = plots.span([low, high, *means], 0.05)
    return {
        "ticks": _ticks(low, high),
        "rows": [
            {
                "dots": [{"at": _percent(v, low, high), "text": m.show(v)} for v in s],
                "mean": _percent(float(np.mean(s)), low, high),
                "text": m.show(float(np.mean(s))),
                "clean": _percent(float(np.mean(row.clean)), low, high) if row.clean else None,
            }
            for row, s in zip(result.trained, scores, strict=True)
        ],
    }


def _gaps(result: Results) -> dict[str, Any]:
    """Return where the intervals of the gaps to the best loss begin and end, in percent of the axis."""
    found = [d for d in result.differences() if np.isfinite(d.low)]
    if not found:
        return {}
    m = result.metric
    # One wide interval may run off the axis, so that the others stay readable.
    reach = 4 * float(np.median([max(abs(d.high), abs(d.low)) for d in found]))
    low = max(min(0.0, *(d.low for d in found)), -reach)
    high = max(min(max(d.high for d in found), reach), *(d.behind for d in found))
    low, high = plots.span([low, high], 0.04)
    return {
        "ticks": _ticks(low, high),
        "zero": _percent(0.0, low, high),
        "rows": [
            {
                "from": _percent(d.low, low, high),
                "to": _percent(d.high, low, high),
                "at": _percent(d.behind, low, high),
                "certain": d.certain,
                "text": f"{m.show(d.behind)} ({m.show(d.low)} to {m.show(d.high)})",
            }
            for d in found
        ],
    }


def _percent(value: float, low: float, high: float) -> float:
    return round(100 * min(max((value - low) / (high - low), 0.0), 1.0), 2)


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    return [(_percent(t, low, high), plots.short(t)) for t in plots.ticks(low, high, 4)]


def _drawings(result: Results) -> dict[str, list[tuple[int, Row, str]]]:
    """Return the small drawings of every trained loss, by what they show."""
    ranked = list(enumerate(result.trained))
    found = {"learning": [(k, row, plots.learning(row.train, row.validation, row.label)) for k, row in ranked]}
    if result.categorical:
        classes = result.data.classes
        found["confusion"] = [(k, row, plots.confusion(row.confusion, classes, row.label)) for k, row in ranked]
        found["reliability"] = [(k, row, plots.reliability(row.reliability, row.label)) for k, row in ranked]
    elif ranked:
        axes = plots.common_ranges([row.points for _, row in ranked])
        found["residuals"] = [(k, row, plots.residuals(row.points, *axes, row.label)) for k, row in ranked]
    return found


def _curves(result: Results) -> list[str]:
    """Return two drawings, the value and the gradient of every loss along the axis natural to it; none if none is."""
    values, slopes, axes = [], [], []
    for k, row in enumerate(result.trained):
        loss = get(row.name)
        line = curve(loss, target=1.0 if _two_sided(loss) else None, points=160, **row.params)
        held = re.search(r"\(target (.+)\)", line.axis)
        # A relative error has no size without a target; seen from that target it is a function of the residual too.
        shift = float(held[1]) if held and result.data.task == "regression" else 0.0
        if shift:
            line = curve(loss, target=shift, points=160, span=(shift - 4, shift + 4), **row.params)
        axes.append("residual" if shift else line.axis)
        across = (line.x - shift).tolist()
        values.append((k, across, line.value.tolist()))
        slopes.append((k, across, line.gradient.tolist()))
    if not axes:
        return []
    axis = "margin: score of the true class" if result.categorical else max(axes, key=axes.count)
    return [plots.shapes(values, axis, "loss"), plots.shapes(slopes, axis, "gradient")]


def _two_sided(loss: Loss) -> bool:
    """Whether the loss has a curve for each of two classes; the one of class 1 is the margin."""
    return targets(loss)[0] is not None


def _hidden(widths: tuple[int, ...]) -> str:
    layers = "one hidden layer" if len(widths) == 1 else f"{len(widths)} hidden layers"
    return f"{layers} of {' and '.join(map(str, widths))}"


def _facts(result: Results) -> list[tuple[str, str]]:
    """Return how it was done, as pairs of a word and a sentence."""
    data, s = result.data, result.settings
    size = f"{counted(data.rows, 'row')}, {counted(data.columns, 'feature column')}"
    facts = [("Data", f"{data.name}: {size}; target {data.target}")]
    if data.decision:
        facts.append(("Task", data.decision))
    if data.classes:
        sizes = ", ".join(f"{c} ({n:,})" for c, n in list(zip(data.classes, data.members, strict=True))[:20])
        facts.append(("Classes", sizes + (f" and {len(data.classes) - 20} more" if len(data.classes) > 20 else "")))
    model = "a linear model" if s.model == "linear" else f"a network with {_hidden(s.hidden)} ReLU units"
    facts.append(
        (
            "Model",
            f"{model}, the same initial weights for every loss; "
            + (f"L2 penalty {s.l2:g}; " if s.l2 else "")
            + f"Adam with step size {s.learning_rate:g}, whose steps do not depend on the scale of a gradient",
        )
    )
    if s.backend == "torch":
        by = f"by PyTorch {result.versions['torch']}, with its autograd and torch.optim"
    else:
        by = "by NumPy, with the hand-written gradients"
    facts.append(
        (
            "Training",
            f"{by}; at most {counted(s.epochs, 'epoch')}; stopped after {counted(s.patience, 'epoch')} without a "
            f"better loss on the validation part, {100 * VALIDATION:g} % of the training fold, and the best epoch "
            "kept. The held-out fold is never looked at",
        )
    )
    facts.append(
        (
            "Folds",
            f"{s.folds} folds, drawn with {counted(s.seeds, 'seed')}"
            + (", stratified by class" if data.classes else "")
            + "; features standardised by the training fold"
            + (
                "; targets scaled for the loss by their median and spread, or by their mean size where their zero "
                "matters to it; errors given in the units of the target"
                if data.task == "regression"
                else ""
            ),
        )
    )
    facts.append(
        ("Stress", f"{s.stress.describe()}, validation part included; held-out rows stay clean" if s.stress else "none")
    )
    return facts
