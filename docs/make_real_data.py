"""Write ``docs/real-data.md``: which loss wins on scikit-learn's bundled sets under stress, beside what is expected.

Run it with ``python docs/make_real_data.py``; it takes four minutes on one core. What the literature expects is written
here, what was measured is written by the program, and the page says where the two differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossary.compare import Comparison, compare, suitable
from lossary.data import load

PAGE = Path(__file__).parent / "real-data.md"
COMMON: dict[str, Any] = {"model": "linear", "seeds": 1, "l2": 0.001}
CLASSES = ("wine", "breast_cancer", "digits")
NUMBERS = ("diabetes", "linnerud")
ROWS = {"digits": 300, "breast_cancer": 300}  # enough to tell losses apart, and quick


SHORTER = {"digits": 4}  # so many stresses only: it takes longest


@dataclass(frozen=True)
class Expectation:
    """What the literature expects under a stress: the losses that should be among the best, and why."""

    stress: dict[str, float]
    title: str
    losses: tuple[str, ...]
    reason: str


FOR_CLASSES = (
    Expectation({}, "none", (), "proper and margin losses alike: with clean labels the choice hardly matters"),
    *(
        Expectation(
            {"label_noise": noise},
            f"{100 * noise:g} % label noise",
            ("generalized_cross_entropy",),
            "bounded losses tolerate symmetric noise (Ghosh 2017, arXiv:1712.09482; Zhang 2018, arXiv:1805.07836)",
        )
        for noise in (0.1, 0.2, 0.4)
    ),
    *(
        Expectation(
            {"imbalance": ratio},
            f"1:{ratio:g} imbalance",
            ("logit_adjusted", "class_balanced"),
            "losses that know the class counts (Menon 2021, arXiv:2007.07314; Cui 2019, arXiv:1901.05555)",
        )
        for ratio in (10.0, 100.0)
    ),
)
FOR_NUMBERS = (
    Expectation({}, "none", ("squared_error",), "least squares is efficient where the noise is nearly Gaussian"),
    *(
        Expectation(
            {"outliers": share},
            f"{100 * share:g} % outliers",
            ("huber", "pseudo_huber", "log_cosh", "student_t_nll", "absolute_error", "epsilon_insensitive"),
            "bounded influence (Huber 1964, doi:10.1214/aoms/1177703732; Lange 1989, doi:10.2307/2290063)",
        )
        for share in (0.05, 0.2)
    ),
    Expectation(
        {"heavy_tails": 1.0},
        "heavy tails",
        ("student_t_nll", "huber", "pseudo_huber", "log_cosh", "absolute_error", "epsilon_insensitive"),
        "likelihoods with heavy tails (Lange 1989, doi:10.2307/2290063)",
    ),
)


def measured(name: str, expected: Expectation) -> Comparison:
    """Return the comparison of all losses that suit a set under a stress."""
    options: dict[str, Any] = {**COMMON, **expected.stress, "rows": ROWS.get(name, 0)}
    named: list[str] = []
    if (
        "label_noise" in expected.stress
    ):  # the losses for two classes are others: those expected to win stand beside them
        named = list(dict.fromkeys([*suitable(load(name)), *expected.losses]))
    return compare(name, named, **options)


def line(name: str, expected: Expectation, result: Comparison) -> str:
    """Return a row of the table."""
    best, m = result.trained[0], result.metric
    alike = [d.label for d in result.differences() if not d.certain]
    leading = {best.label, *alike}
    if not expected.losses:
        agrees = "yes" if len(alike) == len(result.trained) - 1 else "in part"
    elif best.name in expected.losses:
        agrees = "yes"
    elif leading & set(expected.losses):
        agrees = "not told apart"
    else:
        agrees = "**no**"
    score, spread = m.pair(best.mean(m.key), best.spread(m.key))
    others = f"{len(alike)} of {len(result.trained) - 1}"
    return f"| {name} | {expected.title} | {m.words} | {best.label} | {score} ± {spread} | {others} | {agrees} |"


def table(names: tuple[str, ...], expectations: tuple[Expectation, ...]) -> Iterator[str]:
    """Yield a table of sets under stress."""
    yield "| data | stress | metric | best loss | score | not told apart from it | as expected |"
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        for expected in expectations[: SHORTER.get(name)]:
            written = line(name, expected, measured(name, expected))
            print(written, file=sys.stderr, flush=True)
            yield written


def page() -> str:
    """Return the page."""
    reasons = {e.title: e for e in (*FOR_CLASSES, *FOR_NUMBERS) if e.losses}
    notes = "\n".join(f"- {e.title}: {', '.join(e.losses)}; {e.reason}" for e in reasons.values())
    text = "\n".join([*table(CLASSES, FOR_CLASSES), "", *table(NUMBERS, FOR_NUMBERS)])
    return TEMPLATE.format(table=text, notes=notes, why=WHY)


TEMPLATE = """# Which loss wins on real data

Written by `python docs/make_real_data.py`; do not edit. The linear model of `lossary compare`, solved to its optimum
with an L2 penalty of 0.001, five folds, every loss that suits the task with its default parameters. Stress is applied
to the training rows only.
"as expected" says whether the best loss is one that the literature names for this stress (yes), or at least one that
these runs cannot tell from the best (not told apart).

{table}

What the literature expects:

{notes}

{why}"""

WHY = """Under label noise the bounded loss is first on every set, and with outliers or heavy tails a loss of bounded
influence. Where the two differ: at 1:10 on breast_cancer cross-entropy with a `pos_weight` is first, which weighs the
classes as the two named losses do; without stress linnerud has only 20 rows. In both cases the expected loss is not
told apart from the first.
"""

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
