"""From a comparison to the page: what the template is given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lossary.catalogue import Loss, get
from lossary.compare.language import say, translate
from lossary.compare.results import VALIDATION, Results, Row
from lossary.compare.verdict import footnotes, sentences
from lossary.errors import require
from lossary.plots import curve, targets
from lossary.report import plots
from lossary.report.sheet import environment
from lossary.text.phrases import Lang

_SHOWN = 9  # small drawings beyond this many are folded away
_HUES = 8  # colours of the palette; after them the line pattern changes


@dataclass(frozen=True)
class Cell:
    """A cell of the table: what it shows and what it is sorted by."""

    mean: str
    spread: str
    order: float | None
    best: bool


def render(result: Results, lang: Lang = "en") -> str:
    """Return the report as one HTML page.

    Needs jinja2, of the app extra. Every text that comes from the data is escaped.
    """
    engine, markup = environment(), require("markupsafe").Markup
    labels = sorted((row.label for row in result.rows), key=len, reverse=True)
    loss_name = re.compile(r"(?<![\w(])(" + "|".join(re.escape(str(markup.escape(x))) for x in labels) + r")(?![\w(])")
    engine.filters["named"] = lambda text: markup(loss_name.sub(r"<b>\1</b>", str(markup.escape(text))))
    engine.filters["breakable"] = lambda name: markup(
        str(markup.escape(name)).replace("_", "_<wbr>").replace("(", "<wbr>(")
    )
    engine.globals["t"] = partial(say, lang)
    engine.filters["translated"] = partial(translate, lang)
    template = engine.get_template("page.html.jinja")
    drawn = {name: [(k, row, markup(svg)) for k, row, svg in found] for name, found in _drawings(result, lang).items()}
    curves = _curves(result, lang)
    best = {m.key: result.best_by(m.key) for m in result.metrics}
    return str(
        template.render(
            result=result,
            lang=lang,
            sentences=list(sentences(result, lang)),
            footnotes=footnotes(result, lang),
            ranks=list(enumerate(result.rows)),
            trained=list(enumerate(result.trained)),
            hues=_HUES,
            shown=_SHOWN,
            table=[_cells(result, row, best) for row in result.trained],
            constants=[_cells(result, row, {}) for row in result.references],
            strips=_strips(result),
            gaps=_gaps(result),
            drawn=drawn,
            shapes=[markup(svg) for svg in curves],
            facts=_facts(result, lang),
        )
    )


def _cells(result: Results, row: Row, best: Mapping[str, Row | None]) -> list[Cell]:
    """Return a cell per metric; one that is not defined for the row stays empty."""
    cells = []
    for m in result.metrics:
        if m.key not in row.scores:
            cells.append(Cell("–", "", None, False))
            continue
        mean, spread = row.written(m)
        cells.append(Cell(mean, spread, row.mean(m.key), best.get(m.key) is row))
    return cells


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


def _drawings(result: Results, lang: Lang) -> dict[str, list[tuple[int, Row, str]]]:
    """Return the small drawings of every trained loss, by what they show."""
    t = partial(say, lang)
    ranked = list(enumerate(result.trained))
    found = {"learning": [(k, row, plots.learning(row.train, row.validation, row.label, t)) for k, row in ranked]}
    if result.categorical:
        classes = result.data.classes
        found["confusion"] = [(k, row, plots.confusion(row.confusion, classes, row.label, t)) for k, row in ranked]
        found["reliability"] = [(k, row, plots.reliability(row.reliability, row.label, t)) for k, row in ranked]
    elif ranked and all(row.points for _, row in ranked):
        axes = plots.common_ranges([row.points for _, row in ranked])
        found["residuals"] = [(k, row, plots.residuals(row.points, *axes, row.label, t)) for k, row in ranked]
    return found


def _curves(result: Results, lang: Lang) -> list[str]:
    """Return two drawings, the value and the gradient of every loss along its natural axis; none if there is none."""
    values, gradients, axes = [], [], []
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
        gradients.append((k, across, line.gradient.tolist()))
    if not axes:
        return []
    axis = "margin: score of the true class" if result.data.classes else max(axes, key=axes.count)
    t = partial(say, lang)
    return [plots.shapes(values, t(axis), t("loss")), plots.shapes(gradients, t(axis), t("gradient"))]


def _two_sided(loss: Loss) -> bool:
    """Whether the loss has a curve for each of two classes; the one of class 1 is the margin."""
    return targets(loss)[0] is not None


def _facts(result: Results, lang: Lang) -> list[tuple[str, str]]:
    """Return how it was done, as pairs of a word and a sentence."""
    t = partial(say, lang)
    data, s = result.data, result.settings
    size = t("{name}: {rows} rows, {columns} feature columns; target {target}", name=data.name, rows=f"{data.rows:,}",
             columns=data.columns, target=data.target)  # fmt: skip
    facts = [(t("Data"), size)]
    if data.decision:
        facts.append((t("Task"), translate(lang, data.decision)))
    if data.classes:
        sizes = ", ".join(f"{c} ({n:,})" for c, n in list(zip(data.classes, data.members, strict=True))[:20])
        more = ", " + t("{n} more", n=len(data.classes) - 20) if len(data.classes) > 20 else ""
        facts.append((t("Classes"), sizes + more))
    facts.append((t("Model"), _model(result, lang)))
    facts.append((t("Training"), _training(result, lang)))
    folds = t("{folds} folds, drawn with {seeds} seeds; features standardised by the training fold.", folds=s.folds,
              seeds=s.seeds)  # fmt: skip
    if data.task in ("regression", "positive"):
        folds += " " + t(
            "Targets are rescaled for training by their median and spread, or by their mean size where their zero "
            "matters to the loss; parameters that were given in the units of the target are rescaled with them. Errors "
            "are in the units of the target."
        )
    facts.append((t("Folds"), folds))
    if data.classes:
        facts.append(
            (
                t("Probabilities"),
                t(
                    "log loss and calibration error are taken after one scaling, fitted on the validation rows in the "
                    "same way for every loss; the columns called unscaled show the probabilities that a loss itself "
                    "defines"
                ),
            )
        )
    stress = t("{stress}, validation rows included; held-out rows stay clean", stress=s.stress.describe(lang))
    facts.append((t("Stress"), stress if s.stress else t("none")))
    return facts


def _model(result: Results, lang: Lang) -> str:
    s = result.settings
    if s.model == "linear":
        strength = say(lang, "L2 penalty {l2}", l2=f"{s.l2:g}") if s.l2 is not None else say(lang, "L2 penalty {tuned}",
                       tuned=_tuned(result, lang))  # fmt: skip
        return say(lang, "a linear model, solved to its optimum with L-BFGS, which needs no learning rate; {l2}",
                   l2=strength)  # fmt: skip
    rate = f"{s.learning_rate:g}" if s.learning_rate is not None else _tuned(result, lang)
    penalty = say(lang, "; L2 penalty {l2}", l2=f"{s.l2:g}") if s.l2 else ""
    return (
        say(
            lang,
            "a network with hidden layers of {widths} ReLU units, from the same initial weights for every loss; Adam "
            "with learning rate {rate}",
            widths=", ".join(map(str, s.hidden)),
            rate=rate,
        )
        + penalty
    )


def _tuned(result: Results, lang: Lang) -> str:
    """Return what was chosen for each loss on validation rows."""
    chosen = []
    for row in result.trained:
        if row.tuned:
            low, high = min(row.tuned), max(row.tuned)
            chosen.append(f"{row.label} {low:g}" if low == high else f"{row.label} {low:g}–{high:g}")
    return say(lang, "chosen for each loss on validation rows ({chosen})", chosen=", ".join(chosen))


def _training(result: Results, lang: Lang) -> str:
    s = result.settings
    if s.backend == "torch":
        by = say(lang, "by PyTorch {version}, with its autograd and torch.optim", version=result.versions["torch"])
    else:
        by = say(lang, "by NumPy, with the hand-written gradients")
    limit = max((row.limit for row in result.trained), default=0)
    share = f"{100 * VALIDATION:g}"
    if s.model == "linear":
        return by + say(
            lang,
            "; at most {limit} steps for every loss; {share} % of each training fold are validation rows. The held-out "
            "fold is never used for a choice",
            limit=f"{limit:,}",
            share=share,
        )
    return by + say(
        lang,
        "; at most {limit} epochs for every loss, stopped early where the loss on the validation rows, {share} % of "
        "the training fold, no longer improves, and the best epoch kept. The learning rate is chosen on the validation "
        "rows of the first three folds. The held-out fold is never used for a choice",
        limit=f"{limit:,}",
        share=share,
    )
