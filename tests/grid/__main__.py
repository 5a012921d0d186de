"""`python -m grid`: run the grid for as long as one likes, shrink what fails, and say how to run it again."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter

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
    spent = 0.0
    while time.monotonic() < end:
        kernels = fixed.get("kernels") or rng.choice(tables.DIMENSIONS["kernels"])
        cells = [
            budget.draw(s, rng, **{**fixed, "kernels": kernels})
            for s in rng.sample(subjects, min(len(subjects), 60))
            for _ in range(1 if len(subjects) > 5 else 60)
        ]
        cells = [c for c in cells if all(c[k] == v for k, v in fixed.items() if k in c)]
        for outcome in runner.run(cells, stop=lambda: time.monotonic() > end):
            states[outcome.state] += 1
            spent += outcome.seconds
            if outcome.failed:
                key = (outcome.kind, outcome.cell["subject"])
                counts[key] += 1
                if key not in failures:
                    failures[key] = outcome
                    print(f"{outcome.cell['subject']}: {outcome}\n", flush=True)
    print(f"{sum(states.values())} cells: {dict(states)}; {spent:.0f} s in cells")
    if not given.no_shrink:
        done: set[str] = set()
        for (kind, _), failure in failures.items():
            if kind not in done:
                done.add(kind)
                print(f"shrunk: {failure.cell['subject']}: {runner.shrink(failure)}\n", flush=True)
    for (kind, subject), n in counts.most_common():
        print(n, subject, kind)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
