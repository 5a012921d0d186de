"""Wrong programs and their mended twins: how many of the first are seen, and that none of the second is flagged.

A file of the corpus begins with lines that all of its programs share. Then ``## name | codes`` begins a wrong program,
``## name | clean`` one that only looks wrong, and ``## mended`` the twin of the program before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossary.lint import RULES, Config, check_source

CORPUS = Path(__file__).resolve().parent / "lint_corpus"


def programs() -> Iterator[tuple[str, frozenset[str], str]]:
    for file in sorted(CORPUS.glob("*.txt")):
        head, *parts = file.read_text(encoding="utf-8").split("\n## ")
        name = ""
        for part in parts:
            title, _, code = part.partition("\n")
            if title.strip() == "mended":
                yield f"{file.stem}: {name}, mended", frozenset(), f"{head}\n{code}"
                continue
            name, _, said = (text.strip() for text in title.partition("|"))
            codes = frozenset() if said == "clean" else frozenset(code.strip() for code in said.split(","))
            yield f"{file.stem}: {name}", codes, f"{head}\n{code}"


PROGRAMS = list(programs())
WRONG = [program for program in PROGRAMS if program[1]]


@pytest.mark.parametrize(("codes", "code"), [p[1:] for p in PROGRAMS], ids=[p[0] for p in PROGRAMS])
def test_a_wrong_program_is_seen_and_a_right_one_is_not_flagged(codes: frozenset[str], code: str) -> None:
    compile(code, "code.py", "exec")
    select = frozenset(c for c, rule in RULES.items() if rule.default) | codes
    found = {finding.code for finding in check_source(code, "code.py", select=Config(select=select))}
    assert found == codes


def test_the_corpus_is_large_and_every_default_rule_is_met() -> None:
    assert len(WRONG) >= 100 and len(PROGRAMS) >= 2 * len(WRONG)
    met = Counter(code for _, codes, _ in WRONG for code in codes)
    assert set(met) <= set(RULES)
    families = {code[:4] for code in met}
    assert families == {code[:4] for code in RULES} - {"LOS9"}
