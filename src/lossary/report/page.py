"""From a comparison to the page: what the template is given."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from lossary.catalogue import get
from lossary.compare import Comparison, Row
from lossary.errors import require
from lossary.report import plots

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


def render(result: Comparison) -> str:
    """Return the report as one HTML page.

    Needs jinja2, of the app extra. Every text that comes from the data is escaped.
    """
    jinja2, markup = require("jinja2"), require("markupsafe").Markup
    room = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    template = room.from_string(files("lossary.report").joinpath("page.html.jinja").read_text("utf-8"))
    drawn = {name: [(k, row, markup(svg)) for k, row, svg in found] for name, found in _drawings(result).items()}
    curves = _curves(result)
    return str(
        template.render(
            result=result,
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


def _table(result: Comparison) -> list[list[Cell]]:
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


def _strips(result: Comparison) -> dict[str, Any]:
    """Return where the dots of the runs stand, in percent of the axis."""
    m = result.metric
    scores = [row.scores[m.key] for row in result.trained]
    if not scores:
        return {}
    # One wild run must not press all others together: the axis ends at the worst but the most extreme twentieth.
    every = [v for s in scores for v in s]
    low, high = (float(v) for v in np.percentile(every, [0 if not m.higher else 4, 100 if m.higher else 96]))
    low, high = plots.span([low, high], 0.05)
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


def _gaps(result: Comparison) -> dict[str, Any]:
    """Return where the intervals of the gaps to the best loss begin and end, in percent of the axis."""
    found = [d for d in result.differences() if np.isfinite(d.low)]
    if not found:
        return {}
    m = result.metric
    reach = sorted(max(abs(d.high), abs(d.low)) for d in found)[int(0.9 * (len(found) - 1))]
    low, high = min(0.0, *(max(d.low, -reach) for d in found)), max(min(d.high, 1.3 * reach) for d in found)
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


def _drawings(result: Comparison) -> dict[str, list[tuple[int, Row, str]]]:
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


def _curves(result: Comparison) -> list[str]:
    """Return two drawings, the value and the slope of every loss along its natural axis; none if it has no such."""
    values, slopes = [], []
    across = np.linspace(-4.0, 4.0, 161)
    for k, row in enumerate(result.trained):
        loss = get(row.name).bind(**row.params)
        counts = {"class_counts": np.asarray(result.data.members, float)} if "class_counts" in loss.arguments else {}
        if loss.signatures[0].rank:  # the margin of the true class over all others, which are equal
            rows = np.zeros((len(across), len(result.data.classes)))
            rows[:, 0] = across
            value, grad = loss.value_and_grad(rows, np.zeros(len(across), dtype=int), **counts)
            slope = grad[:, 0]
        elif result.categorical:
            value, slope = loss.value_and_grad(across, np.ones(len(across)))
        else:  # a relative loss has no residual axis without a target: 1 stands for it
            target = np.full(len(across), 1.0 if loss.input == "log-rate" else 0.0)
            value, slope = loss.value_and_grad(across + target * (loss.input != "log-rate"), target)
        values.append((k, across.tolist(), np.asarray(value).tolist()))
        slopes.append((k, across.tolist(), np.asarray(slope).tolist()))
    if not values:
        return []
    if result.categorical:
        axis = "margin: score of the true class, the others at 0"
    elif result.data.task == "regression":
        axis = "residual, in units of the spread of the target"
    else:
        axis = "log of prediction over target"
    return [plots.shapes(values, axis, "loss"), plots.shapes(slopes, axis, "gradient")]


def _facts(result: Comparison) -> list[tuple[str, str]]:
    """Return how it was done, as pairs of a word and a sentence."""
    data, s = result.data, result.settings
    facts = [("Data", f"{data.name}: {data.rows:,} rows, {data.columns} feature columns; target {data.target}")]
    if data.decision:
        facts.append(("Task", data.decision))
    if data.classes:
        sizes = ", ".join(f"{c} ({n:,})" for c, n in list(zip(data.classes, data.members, strict=True))[:20])
        facts.append(("Classes", sizes + (f" and {len(data.classes) - 20} more" if len(data.classes) > 20 else "")))
    model = "a linear model" if s.model == "linear" else f"a network with hidden layers of {s.model[4:]} ReLU units"
    facts.append(
        (
            "Model",
            f"{model}, the same initial weights for every loss; L2 penalty {s.l2:g}; Adam with step size "
            f"{s.learning_rate:g}, whose steps do not depend on the scale of a gradient",
        )
    )
    facts.append(
        (
            "Training",
            f"at most {s.epochs} epochs; stopped after {s.patience} without a better validation loss, on 15 % of the "
            "training fold, and the best epoch kept. The held-out fold is never looked at",
        )
    )
    facts.append(
        (
            "Folds",
            f"{s.folds} folds, drawn with {s.seeds} seed{'s' * (s.seeds != 1)}"
            + (", stratified by class" if data.classes else "")
            + "; features standardised by the training fold"
            + (
                "; targets seen by the loss in units of their median absolute deviation, measured in their own"
                if data.task == "regression"
                else ""
            ),
        )
    )
    facts.append(("Stress", s.stress.describe() + "; held-out rows stay clean" if s.stress else "none"))
    return facts
