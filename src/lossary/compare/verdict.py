"""Results in words: the table as text cells and the verdict sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.compare.metrics import Metric
from lossary.compare.results import Results, Row
from lossary.compare.tables import series

Array = NDArray[Any]


def table_cells(result: Results) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the cells of the table, as text."""
    stressed = any(row.clean for row in result.rows)
    titles = ["loss", *(f"{m.title} {'↑' if m.higher else '↓'}" for m in result.metrics)]
    titles += [f"{result.metric.title} clean"] * stressed + ["gradient", "ms/epoch", "epochs"]
    lines = []
    for row in result.rows:
        if row.error:
            lines.append([row.label, "failed", *[""] * (len(titles) - 2)])
            continue
        cells = [row.label]
        for m in result.metrics:
            dagger = "†" if row.calibrated and m.probabilistic else ""
            cells.append(" ±".join(m.pair(row.mean(m.key), row.spread(m.key))) + dagger)
        if stressed:
            cells.append(result.metric.pair(float(np.mean(row.clean)), row.spread(result.metric.key))[0])
        cells += [f"{row.gradient_norm:.3g}", f"{1e3 * row.seconds_per_epoch:.1f}", f"{row.epochs:.0f}"]
        lines.append(cells)
    return titles, lines


def sentences(result: Results) -> Iterator[str]:
    """Yield the verdict, one sentence at a time."""
    m, data = result.metric, result.data
    if not result.trained:
        yield f"No loss could be trained on {data.name}."
        return
    best = result.trained[0]
    stress = result.settings.stress.describe()
    under = f", with {stress}" if stress else ""
    score, spread = m.pair(best.mean(m.key), best.spread(m.key))
    reached = "has the best" if result.trained[1:] else "reaches this"
    yield (
        f"On {data.name} ({data.rows:,} rows){under}, {best.label} {reached} {m.words}: {score} ± {spread} "
        f"(mean and standard deviation of {len(result.runs)} held-out folds)."
    )
    differences = result.differences()
    behind, alike = [d for d in differences if d.certain], [d for d in differences if not d.certain]
    if behind:
        near = behind[0]
        gap, low, high = (m.show(v) for v in (near.behind, near.low, near.high))
        yield f"It is ahead of {near.label} by {gap} (95 % interval {low} to {high})" + (
            f", and beyond chance also of {series([d.label for d in behind[1:]])}." if behind[1:] else "."
        )
    if alike:
        reach = max(d.high for d in alike)
        worse = f": the true gap may be anything up to {m.show(reach)}" if np.isfinite(reach) else ""
        yield (
            f"These runs cannot tell it from {series([d.label for d in alike])}{worse}."
            + (" More --seeds would narrow this." if not behind else "")
        )
    lost = [(_lost(row, m), row.label) for row in result.trained if row.clean]
    if len(lost) > 1:
        (least, sturdy), (most, frail) = min(lost), max(lost)
        yield (
            f"Against the same training on undisturbed data, {sturdy} {_change(least, m)} and {frail} "
            f"{_change(most, m)}."
        )
    groups: dict[str, list[str]] = {}
    for other in result.metrics[1:]:
        first = result.best_by(other.key)
        if first is not None and first is not best:
            groups.setdefault(first.label, []).append(other.words)
    if groups:
        others = "; ".join(f"{label} by {series(titles)}" for label, titles in groups.items())
        yield f"Other measures put others first: {others}."
    if failed := [row.label for row in result.rows if row.error]:
        yield f"{series(failed)} could not be trained."


def _change(lost: float, m: Metric) -> str:
    return f"is {'worse' if lost > 0 else 'better'} by {m.show(abs(lost))}" if lost else "is as good"


def _lost(row: Row, m: Metric) -> float:
    """Return how much worse the main metric is than without stress, on the runs both were done for."""
    disturbed, clean = np.mean(row.scores[m.key][: len(row.clean)]), np.mean(row.clean)
    return float(clean - disturbed if m.higher else disturbed - clean)
