"""`python -m grid`: run the grid for as long as one likes, shrink what fails, and say how to run it again."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

from . import budget, runner, tables


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m grid", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--subject", action="append", help="a loss, or a drop-in as F.name; all of them otherwise")
    parser.add_argument("--set", action="append", default=[], help="dimension=choice: only such cells")
    parser.add_argument("--cell", help="run one cell, as a failure prints it")
    parser.add_argument("--no-shrink", action="store_true")
    given = parser.parse_args()
    if given.cell:
        told = json.loads(given.cell)
        cell = budget.fit({**runner.plainest(told["subject"]), **told})
        for outcome in runner.run([cell]):
            print(outcome.state, outcome, outcome.trace, sep="\n")
        return int(outcome.failed)
    seed = given.seed if given.seed is not None else time.time_ns() % (1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    fixed = dict(part.split("=", 1) for part in given.set)
    subjects = given.subject or budget.subjects()
    end = time.monotonic() + 60 * given.minutes
    states: Counter[str] = Counter()
    failures: dict[tuple[str, str], runner.Outcome] = {}
    counts: Counter[tuple[str, str]] = Counter()
    with _progress(given.minutes) as shown:
        while time.monotonic() < end:
            kernels = fixed.get("kernels") or rng.choice(tables.DIMENSIONS["kernels"])
            many = 1 if len(subjects) > 5 else 60
            drawn = rng.sample(subjects, min(len(subjects), 60))
            cells = [budget.draw(s, rng, **{**fixed, "kernels": kernels}) for s in drawn for _ in range(many)]
            cells = [c for c in cells if all(c[k] == v for k, v in fixed.items() if k in c)]
            for outcome in runner.run(cells, stop=lambda: time.monotonic() > end):
                states[outcome.state] += 1
                shown(time.monotonic() - (end - 60 * given.minutes), dict(states))
                if outcome.failed:
                    key = (outcome.kind, outcome.cell["subject"])
                    counts[key] += 1
                    if key not in failures:
                        failures[key] = outcome
                        print(f"{outcome.cell['subject']}: {outcome}\n", flush=True)
    print(f"{sum(states.values())} cells: {dict(states)}")
    done: set[str] = set()
    for (kind, _), failure in failures.items():
        if kind not in done and not given.no_shrink:
            done.add(kind)
            print(f"The simplest form found of: {failure.cell['subject']}: {runner.shrink(failure)}\n", flush=True)
    for (kind, subject), number in counts.most_common():
        print(number, subject, kind)
    return int(bool(failures))


@contextlib.contextmanager
def _progress(minutes: float) -> Iterator[Callable[[float, dict[str, int]], None]]:
    """Show how far a run is, where somebody looks and rich is there."""
    if not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda seconds, states: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("grid", total=60 * minutes)

        def show(seconds: float, states: dict[str, int]) -> None:
            told = ", ".join(f"{number} {state}" for state, number in states.items())
            bar.update(task, completed=seconds, description=told)

        yield show


if __name__ == "__main__":
    sys.exit(main())
