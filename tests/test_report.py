"""The report is one page that stands alone, shows every loss, and lets no text of the data become markup."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossary.compare import Comparison, compare
from lossary.report import plots, render

pl = pytest.importorskip("polars", reason="reports need the app extra")
pytest.importorskip("sklearn", reason="reports need the app extra")
pytest.importorskip("jinja2", reason="reports need the app extra")

FAST: dict[str, Any] = {"model": "linear", "epochs": 2, "folds": 2, "seeds": 1}
EVIL = "<script>alert(1)</script>"
EMPTY = {"meta", "link", "br", "hr", "img", "input", "wbr"}


class Page(HTMLParser):
    """What is in a page: its elements with attributes, its text by element, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.words.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return "".join(words for inside, words in self.words if inside not in ("script", "style"))

    def count(self, tag: str, **attributes: str) -> int:
        return sum(tag == t and all(a.get(k.rstrip("_")) == v for k, v in attributes.items()) for t, a in self.elements)


@pytest.fixture(scope="module")
def classes() -> Comparison:
    losses = ["softmax_cross_entropy", "multi_margin", "softmax_focal:gamma=1"]
    return compare("iris", losses, label_noise=0.2, **FAST)


@pytest.fixture(scope="module")
def numbers() -> Comparison:
    return compare("linnerud", ["huber", "squared_error", "mape"], **FAST)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_the_page_is_whole_and_shows_each_loss(kind: str, request: pytest.FixtureRequest) -> None:
    result: Comparison = request.getfixturevalue(kind)
    page = Page(render(result))
    assert not page.open and page.elements[0][0] == "html"
    for row in result.rows:
        assert page.text.count(row.label) >= 5, "in the charts, the table, the captions and the verdict"
        assert row.summary in page.text
    assert result.verdict in page.text and result.command in page.text
    assert page.count("td", class_="best") == len(result.metrics)
    drawings = ("learning", "confusion", "reliability") if result.categorical else ("learning", "residuals")
    for name in drawings:
        assert page.count("section", id=name) == 1
    assert page.count("figure", class_="card") == 2, "value and gradient"
    assert ("confusion" in drawings) == bool(page.count("section", id="confusion"))
    assert f"lossary {result.versions['lossary']}" in page.text


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_the_page_needs_nothing_else(kind: str, request: pytest.FixtureRequest) -> None:
    text = render(request.getfixturevalue(kind))
    for tag, attributes in Page(text).elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value == "data:," or value.startswith("#"), f"<{tag} {name}={value}>"
    assert not re.search(r"https?:|//\w|@import|url\(", text), "nothing is loaded by style sheet or script either"
    assert len(text) < 400_000


def test_light_and_dark_have_the_same_colours_to_set(classes: Comparison) -> None:
    text = render(classes)
    blocks = re.findall(r"\{\s*color-scheme: (\w+);([^}]*)\}", text)
    assert [name for name, _ in blocks] == ["light", "dark", "dark"]
    names = [set(re.findall(r"--[\w-]+(?=:)", body)) for _, body in blocks]
    assert names[0] == names[1] == names[2] and "--h7" in names[0]
    used = set(re.findall(r"var\((--[\w-]+)", text))
    assert used <= names[0] | {"--c", "--d", "--s", "--w"}, "every colour that is used is set"


def test_text_of_the_data_is_never_markup() -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            f"{EVIL} x": rng.normal(size=24),
            f"{EVIL} same": [1] * 24,
            f"{EVIL} y": [f"{EVIL}{i % 2}" for i in range(24)],
        }
    )
    result = compare(frame, ["hinge", "exponential"], target=f"{EVIL} y", **FAST)
    named = replace(
        result,
        data=replace(result.data, name=EVIL),
        command=f"lossary compare '{EVIL}'",
        rows=[*result.rows, replace(result.rows[0], label=EVIL, summary=EVIL, scores={}, error=EVIL)],
    )
    text = render(named)
    assert EVIL not in text and text.count("<script>") == 1, "only the page's own script"
    page = Page(text)
    assert page.text.count(EVIL) > 8 and not page.open


def test_a_comparison_in_which_everything_failed_is_still_a_page(numbers: Comparison) -> None:
    failed = replace(numbers, rows=[replace(row, scores={}, error="seed 0, fold 1: no") for row in numbers.rows])
    page = Page(render(failed))
    assert "No loss could be trained on linnerud." in page.text and "failed at seed 0, fold 1: no" in page.text
    alone = replace(numbers, rows=numbers.rows[:1])
    assert "There is no second loss to compare with." in Page(render(alone)).text


def test_many_losses_keep_their_colours_apart(classes: Comparison) -> None:
    row = classes.rows[0]
    many = replace(classes, rows=[replace(row, label=f"loss {i}") for i in range(20)])
    text = render(many)
    looks = re.findall(r"\.k(\d+) \{ --c: var\((--h\d)\); --d: ([^;]+); \}", text)
    assert len(looks) == 20 and len({(hue, dash) for _, hue, dash in looks}) == 20
    assert Page(text).text.count("11 more") == 3, "small drawings after the ninth are folded away"


# --- drawings -------------------------------------------------------------------------------------------------------


def test_ticks_are_round_and_inside() -> None:
    assert plots.ticks(0.93, 0.99, 4) == pytest.approx([0.94, 0.96, 0.98])
    assert plots.ticks(-3.0, 7.0, 4) == pytest.approx([-2.5, 0.0, 2.5, 5.0])
    assert plots.ticks(1.0, 12.0, 4, whole=True) == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    assert plots.ticks(2.0, 2.0) == [2.0]
    assert [plots.short(v) for v in (0.0, -0.25, 1e-7, 250000.0)] == ["0", "−0.25", "1e−7", "250,000"]


def test_marks_stand_where_their_numbers_are() -> None:
    panel = plots.Panel((0.0, 10.0), (0.0, 1.0), width=120, height=60, left=10, right=10, top=5, bottom=5)
    assert panel.at(0, 0) == (10.0, 55.0) and panel.at(10, 1) == (110.0, 5.0)
    assert panel.at(99, -99, inside=True) == (110.0, 55.0)
    assert panel.line([(0, 0), (5, float("nan")), (10, 1)], "mean") == '<path class="mean" d="M10.0 55.0M110.0 5.0"/>'


def test_confusion_says_what_each_square_is() -> None:
    svg = plots.confusion([[9, 1], [0, 5]], ["no & never", "<yes>"], "hinge")
    assert "true no &amp; never, classified as &lt;yes&gt;: 1 (10.0 %)" in svg and svg.count("<rect") == 4


# --- in a browser ---------------------------------------------------------------------------------------------------

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no chromium to open the page with")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_without_complaint(width: int, classes: Comparison, tmp_path: Path) -> None:
    """No message on the console, and nothing wider than the window but the table in its own box."""
    probe = """
<script>addEventListener("load", () => {
  document.querySelectorAll("thead button")[2].click();
  document.querySelector("#theme").click();
  document.querySelector(".chip").click();
  const table = document.querySelector("table");
  document.title = JSON.stringify({
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    theme: document.documentElement.dataset.theme,
    sorted: [...table.tBodies[0].rows].map((row) => Number(row.cells[2].dataset.v)),
    focused: document.body.className,
  });
});</script></body>"""
    page = tmp_path / "report.html"
    page.write_text(render(classes).replace("</body>", probe))
    done = subprocess.run(
        [
            str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},900", "--enable-logging=stderr", "--v=0", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    (title,) = re.findall(r"<title>(\{.*?\})</title>", done.stdout)

    seen = json.loads(title)
    assert seen["wide"] == 0, "the page scrolls sideways"
    assert seen["theme"] == "dark" and "focused" in seen["focused"]
    assert seen["sorted"] == sorted(seen["sorted"]), "a click on a heading sorts by its column"
