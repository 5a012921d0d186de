"""Results in words: the table as text cells, its footnotes, and the verdict sentences.

The verdict begins with the answer, then says how sure it is, then what else matters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lossary.compare.language import joined, say
from lossary.compare.metrics import Metric
from lossary.compare.results import Difference, Results, Row
from lossary.text.phrases import Lang

UNCONVERGED = "‡"  # marks a loss of which some runs stopped while still improving
SCORES = "†"  # marks a loss that gives scores, no probabilities


_ONCE = "; held out only once, the rows do not tell how sure that is."


def table_cells(result: Results, lang: Lang = "en") -> tuple[list[str], list[list[str]]]:
    """Return the titles and the cells of the table, as text: the losses, then the reference predictors."""
    stressed = any(row.clean for row in result.rows)
    titles = [say(lang, "loss"), *(f"{say(lang, m.title)} {'↑' if m.higher else '↓'}" for m in result.metrics)]
    titles += [say(lang, "{metric} clean", metric=say(lang, result.metric.title))] * stressed
    titles += [say(lang, "gradient"), "ms/epoch", say(lang, "epochs")]
    lines = []
    for row in result.rows:
        if row.error:
            lines.append([row.label, say(lang, "failed"), *[""] * (len(titles) - 2)])
            continue
        cells = _scores(result, row, stressed)
        cells[0] += UNCONVERGED * bool(row.unconverged) + SCORES * row.calibrated
        cells += [f"{row.gradient_norm:.3g}", f"{1e3 * row.seconds_per_epoch:.1f}", f"{row.epochs:.0f}"]
        lines.append(cells)
    for row in result.references:
        cells = _scores(result, row, stressed)
        cells[0] = say(lang, "always the {label}", label=say(lang, row.label))
        lines.append([*cells, "", "", ""])
    return titles, lines


def _scores(result: Results, row: Row, stressed: bool) -> list[str]:
    cells = [row.label]
    for m in result.metrics:
        scored = m.key in row.scores
        cells.append(" ±".join(filter(None, row.written(m))) if scored else "–")
    if stressed:
        cells.append(result.metric.pair(float(np.mean(row.clean)), row.spread(result.metric.key))[0])
    return cells


def footnotes(result: Results, lang: Lang = "en") -> list[str]:
    """Return what the marks in the table mean, as far as they occur."""
    notes = []
    if result.unconverged:
        notes.append(UNCONVERGED + " " + say(lang, "stopped at the limit of epochs in some runs while still improving"))
    if any(row.calibrated for row in result.rows):
        notes.append(SCORES + " " + say(lang, "gives scores; the same scaling as for all makes probabilities of them"))
    return notes


# --- the verdict ----------------------------------------------------------------------------------------------------


def sentences(result: Results, lang: Lang = "en") -> Iterator[str]:
    """Yield the verdict, one sentence at a time."""
    if not result.trained:
        yield say(lang, "No loss could be trained on {data}.", data=result.data.name)
        return
    differences = result.differences()
    yield _answer(result, differences, lang)
    yield from _convergence(result, lang)
    yield from _certainty(result, differences, lang)
    yield from _rare_class(result, lang)
    yield from _stress(result, lang)
    yield from _other_metrics(result, lang)
    if failed := [row.label for row in result.rows if row.error]:
        yield say(lang, "{losses} could not be trained.", losses=joined(lang, failed))
    yield from _suspicions(result, lang)


def _answer(result: Results, differences: Sequence[Difference], lang: Lang) -> str:
    m, data, best = result.metric, result.data, result.trained[0]
    score, spread = best.written(m)
    stress = result.settings.stress.describe(lang)
    name = say(lang, "{data} with {stress}", data=data.name, stress=stress) if stress else data.name
    fields = {
        "data": name,
        "best": best.label,
        "metric": say(lang, m.words),
        "score": score,
        "spread": spread,
        "rows": f"{data.rows:,}",
        "runs": len(result.runs),
    }
    reference = result.best_reference
    unsure = all(np.isinf(d.high) for d in differences)
    worse = reference is not None and not m.better(best.mean(m.key), reference.mean(m.key))
    if reference is not None and (worse or not (unsure or result.beats_references)):
        shown = "always predicting the {reference} has {metric} {constant}, and the best loss, {best}, {score}"
        shown += " ± {spread} over {runs} held-out folds." if spread else _ONCE
        if worse:
            template = "On {data} ({rows} rows), no loss here beats a constant: " + shown
        else:
            template = "On {data} ({rows} rows), these runs do not show that any loss beats a constant: " + shown
        return say(
            lang, template, **fields, reference=say(lang, reference.label), constant=m.show(reference.mean(m.key))
        )
    alike = [d.label for d in differences if not d.certain]
    if not differences:
        shown = " ± {spread} (mean and standard deviation of {runs} held-out folds)." if spread else _ONCE
        template = "On {data} ({rows} rows), {best} reaches this {metric}: {score}" + shown
    elif unsure:
        template = "On {data} ({rows} rows), {best} has the best {metric}, {score}" + _ONCE
    elif alike and len(alike) == len(differences):
        template = (
            "On {data} ({rows} rows), the choice of the loss makes no difference that these runs can tell: {best} has "
            "the best {metric}, {score} ± {spread} over {runs} held-out folds, and no other is worse beyond chance."
        )
    elif alike:
        template = (
            "On {data} ({rows} rows), use {best} or one of the {n} losses that are not worse beyond chance: it has the "
            "best {metric}, {score} ± {spread} over {runs} held-out folds."
        )
    else:
        template = (
            "On {data} ({rows} rows), use {best}: it has the best {metric}, {score} ± {spread} over {runs} held-out "
            "folds, and every other loss is worse beyond chance."
        )
    return say(lang, template, **fields, n=len(alike))


def _convergence(result: Results, lang: Lang) -> Iterator[str]:
    late = result.unconverged
    if not late:
        return
    worst = max(late, key=lambda row: row.unconverged)
    option = "--epochs" if result.settings.epochs is None else f"--epochs {result.settings.epochs}"
    yield say(
        lang,
        "Not converged: {losses} stopped at the limit of {limit} epochs while still improving, in up to {n} of {runs} "
        "runs; raise {option} before you trust the order.",
        losses=joined(lang, [row.label for row in late]),
        limit=f"{worst.limit:,}",
        n=worst.unconverged,
        runs=len(result.runs),
        option=option,
    )


def _certainty(result: Results, differences: Sequence[Difference], lang: Lang) -> Iterator[str]:
    m = result.metric
    behind, alike = [d for d in differences if d.certain], [d for d in differences if not d.certain]
    if behind:
        near = behind[0]
        gap, low, high = (m.show(v) for v in (near.behind, near.low, near.high))
        yield say(
            lang,
            "It is better than {near} by {gap} (95 % interval {low} to {high})",
            near=near.label,
            gap=gap,
            low=low,
            high=high,
        ) + (
            say(
                lang,
                ", and significantly better than {losses}, too.",
                losses=joined(lang, [d.label for d in behind[1:]]),
            )
            if behind[1:]
            else say(lang, ".")
        )
    if any(np.isfinite(d.high) for d in alike):
        bounds = [
            say(
                lang, "{label} ({gap} behind, at most {high})", label=d.label, gap=m.show(d.behind), high=m.show(d.high)
            )
            if np.isfinite(d.high)
            else d.label
            for d in alike
        ]
        yield say(lang, "These runs cannot tell it from {losses}.", losses=joined(lang, bounds))
        if not behind:
            yield say(lang, "More --seeds would narrow this.")


def _rare_class(result: Results, lang: Lang) -> Iterator[str]:
    """Say what share of the rarer of two classes is found, and at what price."""
    data = result.data
    if not result.two_classes or max(data.members) <= 3 * min(data.members):
        return
    best = result.trained[0]
    rare = data.classes[data.positive]
    yield say(
        lang,
        "{target} is {rare} in {share} % of the rows: at the threshold chosen on validation rows, {best} finds "
        "{found} % of them, and {right} % of what it flags is right; at a probability of 0.5 it would find {half} %.",
        target=data.target,
        rare=rare,
        share=f"{100 * data.members[data.positive] / sum(data.members):.1f}",
        best=best.label,
        found=f"{100 * best.mean('recall'):.0f}",
        right=f"{100 * best.mean('precision'):.0f}",
        half=f"{100 * best.mean('recall_at_half'):.0f}",
    )


def _stress(result: Results, lang: Lang) -> Iterator[str]:
    m = result.metric
    lost = [(_lost(row, m), row.label) for row in result.trained if row.clean]
    if len(lost) > 1:
        (least, sturdy), (most, frail) = min(lost), max(lost)
        yield say(
            lang,
            "Against the same training on undisturbed data, {sturdy} {least} and {frail} {most}.",
            sturdy=sturdy,
            least=_change(least, m, lang),
            frail=frail,
            most=_change(most, m, lang),
        )


def _change(lost: float, m: Metric, lang: Lang) -> str:
    if not lost:
        return say(lang, "is as good")
    template = "is worse by {gap}" if lost > 0 else "is better by {gap}"
    return say(lang, template, gap=m.show(abs(lost)))


def _lost(row: Row, m: Metric) -> float:
    """Return how much worse the main metric is than without stress, over the same runs."""
    disturbed, clean = row.mean(m.key), float(np.mean(row.clean))
    return clean - disturbed if m.higher else disturbed - clean


def _other_metrics(result: Results, lang: Lang) -> Iterator[str]:
    """Say which losses are better than the first by another metric, and by more than chance."""
    best = result.trained[0]
    groups: dict[str, list[str]] = {}
    for other in result.metrics[1:]:
        first = result.best_by(other.key)
        if first is None or first is best or other.key not in best.scores:
            continue
        constant = result.best_reference_by(other.key)
        # A rare class is found by nobody, and accuracy is high: what no constant does worse is no merit.
        if constant is not None and not result.difference(first, constant, other).certain:
            continue
        if result.difference(first, best, other).certain:
            groups.setdefault(first.label, []).append(say(lang, other.words))
    if groups:
        others = say(lang, "; ").join(
            say(lang, "{label} by {metrics}", label=label, metrics=joined(lang, titles))
            for label, titles in groups.items()
        )
        yield say(lang, "By other metrics, others are better beyond chance: {others}.", others=others)


def _suspicions(result: Results, lang: Lang) -> Iterator[str]:
    data, best = result.data, result.trained[0]
    for column in data.warnings:
        yield say(
            lang,
            "Look at {column}: alone it determines {target} in every row; leave it out if it is made from {target}.",
            column=column,
            target=data.target,
        )
    key = {"multilabel": "subset_accuracy"}.get(data.task, "accuracy" if result.categorical else "r2")
    perfect = best.mean(key) > 1 - 1e-6
    if perfect and not data.warnings:
        yield say(
            lang,
            "Every held-out row is predicted exactly: check that no column is made from {target}.",
            target=data.target,
        )
