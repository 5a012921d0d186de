"""The tutorials run, what they claim is asserted in them, and both languages have the same code and outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lossary.text import is_chinese

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "examples" / "tutorials").glob("*.py"))
# A line that each tutorial prints: numbers that a reader can check by hand.
PRINTED = {
    "t000_common_losses": "mean: 0.5  sum: 1.5",
    "t001_losses_by_hand": "∂ℓ/∂zⱼ = pⱼ - qⱼ",
    "t002_roles_of_a_loss": "binary cross-entropy 0.6460",
    "t003_why_these_losses": "L = ∏ᵢ₌₁^N fᵢ",
    "t004_cross_entropy_and_nll": "by hand 2.2152, by the library 2.2152",
}


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the notebooks once, as `python docs/make_notebooks.py` does; a claim that fails ends the build."""
    folder = tmp_path_factory.mktemp("notebooks")
    command = [sys.executable, str(ROOT / "docs" / "make_notebooks.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONWARNINGS": "error"})
    assert done.returncode == 0, done.stderr
    return folder


def read(folder: Path, lang: str, name: str, kind: str) -> list[dict[str, Any]]:
    cells = json.loads((folder / lang / f"{name}.ipynb").read_text("utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == kind]


@pytest.mark.parametrize("name", [path.stem for path in TUTORIALS])
def test_a_tutorial_runs_and_has_both_languages(name: str, notebooks: Path) -> None:
    code, text = (read(notebooks, "en", name, kind) for kind in ("code", "markdown"))
    in_chinese = read(notebooks, "zh", name, "markdown")
    for cells in (code, read(notebooks, "zh", name, "code")):
        assert PRINTED[name] in "".join(line for cell in cells for out in cell["outputs"] for line in out["text"])
        assert all("assert" in "".join(cell["source"]) or cell is cells[0] for cell in cells), "a claim is asserted"
    assert len(text) == len(in_chinese) > 2
    assert all(is_chinese("".join(cell["source"])) for cell in in_chinese)
    assert not any(is_chinese("".join(cell["source"])) for cell in text)
    headings = [
        [line for cell in cells for line in cell["source"] if line.startswith("#")] for cells in (text, in_chinese)
    ]
    assert len(headings[0]) == len(headings[1]), "a heading has its counterpart"


def test_a_claim_that_does_not_hold_ends_the_build(tmp_path: Path) -> None:
    """The build executes the cells: a wrong number is found."""
    source = TUTORIALS[0].read_text("utf-8").replace("== 0.5\n", "== 0.6\n", 1)
    assert source != TUTORIALS[0].read_text("utf-8")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(source, "utf-8")
    done = subprocess.run([sys.executable, str(wrong)], capture_output=True, text=True)
    assert done.returncode == 1 and "AssertionError" in done.stderr
