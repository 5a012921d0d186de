"""The documents are true: pages show the records, links lead somewhere, examples run."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import lossary
from makers import ROOT, maker

WRITTEN = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return maker("make_pages")


def test_every_loss_has_a_page_and_the_index_leads_to_each(generator: ModuleType) -> None:
    pages = generator.pages()
    assert pages.keys() == {f"{name}.md" for name in lossary.names()} | {"README.md"}
    for name, text in pages.items():
        for link in LINK.findall(text):
            assert "://" in link or link in pages, f"{name} links to {link}, which is no page"
    assert set(LINK.findall(pages["README.md"])) == pages.keys() - {"README.md"}


def test_a_page_shows_the_whole_record(generator: ModuleType) -> None:
    loss = lossary.huber
    page = generator.page(loss)
    for fact in (loss.formula, loss.summary, loss.likelihood, "`delta`", "`1.0`", "`(0, inf)`", *loss.properties):
        assert fact in page
    assert "https://doi.org/10.1214/aoms/1177703732" in page
    assert "yield xp.sign(residual) * clipped" in page
    assert ">>> lossary.huber([0.5, 3.0], [0.0, 0.0])" in page


def test_writing_the_pages_twice_changes_nothing_and_removes_what_is_no_loss(
    generator: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "no_longer_a_loss.md").write_text("old")
    assert generator.write(tmp_path) == len(lossary.names()) + 2
    assert not (tmp_path / "no_longer_a_loss.md").exists()
    assert generator.write(tmp_path) == 0


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("Huber 1964, doi:10.1214/aoms/1177703732", "https://doi.org/10.1214/aoms/1177703732)"),
        ("Lin 2017, arXiv:1708.02002, section 3", "https://arxiv.org/abs/1708.02002)"),
    ],
)
def test_references_become_links(generator: ModuleType, text: str, link: str) -> None:
    assert link in generator.linked(text)


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: file.name)
def test_links_of_the_written_pages_lead_somewhere(file: Path) -> None:
    """To a file of the project; the pages of the losses are made from the records and are in no checkout."""
    for link in LINK.findall(file.read_text(encoding="utf-8")):
        if "://" in link or link.startswith(("#", "mailto:")):
            continue
        target = (file.parent / link.partition("#")[0]).resolve()
        assert target.exists(), f"{file.name} links to {link}, which is not there"
        assert not target.is_relative_to(ROOT / "docs" / "losses"), (
            f"{file.name} links to {link}, which is not committed"
        )


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: file.name)
def test_examples_in_the_written_pages_run(file: Path) -> None:
    blocks = re.findall(r"^```\w*\n(>>> .*?)^```", file.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, file.name, str(file), 0)
    outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(examples)
    assert outcome.failed == 0


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: file.name)
def test_losses_and_commands_that_the_written_pages_name_are_there(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for name in set(re.findall(r"`lossary\.([a-z_]+)", text)):
        assert hasattr(lossary, name) or importlib.util.find_spec(f"lossary.{name}"), f"{file.name}: lossary.{name}"
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in set(re.findall(r"`make ([a-z]+)`", text)):
        assert target in targets, f"{file.name}: make {target}"
