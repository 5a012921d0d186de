"""The documents are true: pages show the records, links lead somewhere, examples run."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import lossary
from lossary.text import fact, likelihood, summary
from makers import ROOT, maker

WRITTEN = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
SITE = sorted((ROOT / "docs" / "site").glob("*/**/*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return maker("make_pages")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_index_leads_to_every_loss(generator: ModuleType, lang: str) -> None:
    text = generator.index([lossary.get(name) for name in lossary.names()], lang)
    assert set(LINK.findall(text)) == {f"{name}.md" for name in lossary.names()}


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_page_shows_the_whole_record(generator: ModuleType, lang: str) -> None:
    loss = lossary.huber
    page = generator.page(loss, lang)
    facts = (loss.formula, "`delta`", "`1.0`", "`(0, inf)`", summary(loss, lang), likelihood(loss, lang))
    for text in (*facts, *(fact(p, lang) for p in loss.properties)):
        assert text in page
    for text in ("https://doi.org/10.1214/aoms/1177703732", "nn.HuberLoss", "`(N,)`", "(pseudo_huber.md)"):
        assert text in page
    assert "yield xp.sign(residual) * clipped" in page
    assert ">>> lossary.huber([0.5, 3.0], [0.0, 0.0])" in page
    assert page == generator.page(loss, lang)


def test_advice_follows_from_the_record(generator: ModuleType) -> None:
    def section(name: str, title: str) -> str:
        return generator.page(lossary.get(name)).split(f"## {title}\n")[1].split("\n## ")[0]

    assert "outliers" in section("huber", "When to use it")
    assert "outliers dominate" in section("squared_error", "When not to use it")
    assert "outliers dominate" not in generator.page(lossary.huber)
    assert "Not for training" in section("zero_one", "When not to use it")
    assert "`poisson_nll`" in section("poisson_nll_rate", "When not to use it")


def test_a_session_shows_what_its_statements_print_and_refuses_what_is_warned_of(generator: ModuleType) -> None:
    assert generator.session("x = 2\nx + 1") == ">>> x = 2\n>>> x + 1\n3"
    with pytest.raises(UserWarning, match="suspicious"):
        generator.session("import warnings\nwarnings.warn('suspicious')")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_common_losses_by_hand_are_those_by_name(generator: ModuleType, lang: str) -> None:
    sections = generator.common_losses(lang).split("\n## ")[1:]
    assert len(sections) == 10
    for section in sections:
        by_hand, by_name = re.findall(r"^(\d+\.\d+)$", section, re.MULTILINE)
        assert by_hand == by_name, section


def test_the_pictures_are_there_small_and_drawn_alike_each_time(tmp_path: Path) -> None:
    pictures = maker("make_images")
    drawn = pictures.drawings(tmp_path)
    assert drawn == pictures.drawings(tmp_path)
    for name in drawn:
        assert (ROOT / "docs" / "images" / name).stat().st_size < 100_000
    assert "#dddddd" in drawn["regression-dark.svg"] and "#dddddd" not in drawn["regression-light.svg"]


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
    for link in LINK.findall(file.read_text(encoding="utf-8")):
        if "://" in link or link.startswith(("#", "mailto:")):
            continue
        target = (file.parent / link.partition("#")[0]).resolve()
        assert target.exists(), f"{file.name} links to {link}, which is not there"


@pytest.mark.parametrize("file", [*WRITTEN, *SITE], ids=lambda file: f"{file.parent.parent.name}/{file.name}")
def test_examples_in_the_written_pages_run(file: Path) -> None:
    blocks = re.findall(r"^```\w*\n(>>> .*?)^```", file.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, file.name, str(file), 0)
    outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS).run(examples)
    assert outcome.failed == 0


@pytest.mark.parametrize("file", [*WRITTEN, *SITE], ids=lambda file: f"{file.parent.parent.name}/{file.name}")
def test_losses_and_commands_that_the_written_pages_name_are_there(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for name in set(re.findall(r"`lossary\.([a-z_]+)", text)):
        assert hasattr(lossary, name) or importlib.util.find_spec(f"lossary.{name}"), f"{file.name}: lossary.{name}"
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in set(re.findall(r"`make ([a-z]+)`", text)):
        assert target in targets, f"{file.name}: make {target}"
