"""The public grid: every loss and every drop-in, crossed with whatever a call of it may look like (see `grid`)."""

from __future__ import annotations

import importlib.util
import random
from collections import defaultdict

import pytest

pytest.importorskip("torch")

from grid import budget, drop_ins, refusals, runner, tables

SEED = 0  # `make grid` takes others
PARTS = 4
SUBJECTS = budget.subjects()
SETTINGS = budget.SETTINGS if importlib.util.find_spec("numba") else ("off",)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kernels", SETTINGS)
def test_cells_of_the_grid(kernels: str, part: int) -> None:
    cells = [cell for subject in SUBJECTS[part::PARTS] for cell in budget.cells(subject, kernels, SEED)]
    hold(list(runner.run(cells)))


@pytest.mark.skipif("on" not in SETTINGS, reason="operators stand for kernels, which need the fast extra")
def test_compiled_cells_of_the_grid() -> None:
    hold(list(runner.run(budget.compiled(SEED))))


def hold(outcomes: list[runner.Outcome]) -> None:
    """Nothing fails, and next to nothing is refused."""
    failed = [outcome for outcome in outcomes if outcome.failed]
    shown = "\n\n".join(str(outcome) for outcome in failed[:20])
    assert not failed, f"{len(failed)} of {len(outcomes)} cells fail:\n\n{shown}"
    refused = sum(outcome.state == "refused" for outcome in outcomes)
    assert refused <= 0.08 * len(outcomes), (
        f"{refused} of {len(outcomes)} cells are refused: the grid asks for nonsense"
    )


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_choice_of_every_dimension_is_reached(subject: str) -> None:
    """What the rules of `fit` leave a subject of the dimensions, drawing reaches; and nothing is left out for all."""
    rng = random.Random(1)
    reached = defaultdict(set)
    for _ in range(1500):
        for name, choice in budget.draw(subject, rng).items():
            reached[name].add(choice)
    dimensions = drop_ins.DIMENSIONS if subject.startswith("F.") else tables.DIMENSIONS
    expected = drop_ins.choices(subject) if subject.startswith("F.") else tables.choices(subject)
    for name in dimensions:
        assert reached[name] == expected[name], f"{name}: {sorted(expected[name] ^ reached[name])}"


def test_each_choice_means_something_for_some_subject() -> None:
    for table, some in ((tables, [s for s in SUBJECTS if s[:2] != "F."]), (drop_ins, SUBJECTS[-24:])):
        found = defaultdict(set)
        for subject in some:
            if subject.startswith("F.") == (table is drop_ins):
                for name, choices in table.choices(subject).items():
                    found[name] |= choices
        for name, choices in table.DIMENSIONS.items():
            assert found[name] == set(choices), name


def test_a_process_that_dies_is_a_failure_of_its_cell_alone() -> None:
    cells = [tables.fit({**tables.plainest("huber"), "kernels": "off", "seed": seed}) for seed in range(3)]
    outcomes = list(runner.run(cells, crash=1))
    assert [outcome.state for outcome in outcomes] == ["passed", "failed", "passed"]
    assert "dies" in outcomes[1].kind and "huber" in runner.reproducer(outcomes[1].cell)


def test_a_refusal_counts_only_by_a_rule() -> None:
    cell = {**tables.plainest("huber"), "entry": "out"}
    assert refusals.rule(cell, ValueError("anything")) == ""
