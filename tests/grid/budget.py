"""The cells of one run of the tests: a fixed number for each subject, so that a run takes a fixed time.

Most of the time goes to compiling kernels. So in a run of the tests each subject has one kind of kernel (a type, with
weights or without), met in many sizes and layouts; the kind changes with the seed. `make grid` draws from everything.
"""

from __future__ import annotations

import random
from typing import Any

from . import drop_ins, tables
from .tables import Cell

COMPILES = ("compile", "compile aot")
SMALL = ("few", "one", "empty", "empty table", "table", "cube", "pair", "width 1", "1000")
SETTINGS = ("off", "on", "always")
COUNTS = {"off": 4, "on": 6, "always": 3}


def draw(subject: str, rng: random.Random, **fixed: Any) -> Cell:
    return (drop_ins.draw if subject.startswith("F.") else tables.draw)(subject, rng, **fixed)


def fit(cell: Cell) -> Cell:
    return drop_ins.fit(cell) if cell["subject"].startswith("F.") else tables.fit(cell)


def subjects() -> list[str]:
    """All losses of the catalogue, and all drop-ins."""
    import lossary

    return [*lossary.names(), *drop_ins.subjects()]


def compiled(seed: int) -> list[Cell]:
    """A few large calls in compiled functions, where operators take the place of what eager calls do."""
    rng = random.Random(f"{seed} compiled")
    groups: dict[str, list[str]] = {}
    for subject in subjects():
        kind = "F." if subject.startswith("F.") else str(list(tables.sizes(subject)))
        groups.setdefault(kind, []).append(subject)
    found = []
    for group in groups.values():
        for subject in rng.sample(group, min(3, len(group))):
            chosen = {"framework": "torch", "mode": rng.choice(COMPILES), "kernels": "on", "grads": "wrt"}
            chosen |= {
                "layout": "contiguous",
                "values": "random",
                "weight": rng.choice(("none", "array")),
                "mask": "none",
            }
            chosen |= {"entry": rng.choice(("value", "mean")), "checks": "sampled"} if subject[:2] != "F." else {}
            chosen |= {"grads": "first"} if subject[:2] == "F." else {}
            cell = draw(subject, rng, **chosen)
            large = [s for s in sizes(subject, cell) if s not in (*SMALL, "pairs above 2^24 bytes")]
            found.append(fit({**cell, "mode": chosen["mode"], "size": rng.choice(large or ["few"])}))
    return found


def cells(subject: str, kernels: str, seed: int) -> list[Cell]:
    """The cells of a subject under one setting of kernels."""
    rng = random.Random(f"{seed} {subject} {kernels}")
    found = []
    for number in range(COUNTS[kernels]):
        cell = draw(subject, rng, kernels=kernels)
        if cell["mode"] in COMPILES and rng.random() < 0.75:  # each takes as long as a hundred others
            cell = fit({**cell, "mode": "eager"})
        by_kernel = kernels == "always" or (kernels == "on" and (number % 2 or cell["size"] not in SMALL))
        if by_kernel:
            other = {"params": "drawn"} if kernels == "always" and rng.random() < 0.25 else {}
            cell = fit({**cell, **_one_kind(subject, seed), **other})
            if kernels == "on":
                large = [s for s in sizes(subject, cell) if s not in SMALL]
                cell = fit({**cell, "size": rng.choice(large)}) if large else cell
        found.append(cell)
    return found


def sizes(subject: str, cell: Cell) -> list[str]:
    return list(drop_ins.sizes(subject) if subject.startswith("F.") else tables.sizes(subject, cell["entry"]))


def _one_kind(subject: str, seed: int) -> dict[str, str]:
    """The choices on which it depends which kernel is compiled."""
    rng = random.Random(f"{seed} {subject} kernel")
    kind = {"numbers": rng.choice(("float32", "float64")), "reduction": "mean"}
    if subject.startswith("F."):
        return kind | {"option": "0"}
    weight = rng.choice(("none", "array"))
    return kind | {
        "entry": "value_and_grad" if rng.random() < 0.5 else "value",
        "weight": weight,
        "mask": "none",
        "params": "default",
        "checks": "sampled",
        "targets": "as numbers",
    }
