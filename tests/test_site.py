"""The site in a browser and without one: `make test-docs`.

It is built once, into a temporary folder. The tests without a browser read its files; those with one serve it on this
machine and open its pages in Chromium, where Chromium and its driver are installed (Debian: chromium, chromium-driver).
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urldefrag

import pytest

import lossary
from makers import ROOT

pytest.importorskip("sphinx", reason="the site is built with Sphinx, which is not installed: make test-docs")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it; warnings of Sphinx have failed the build."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, str(ROOT / "docs" / "make_site.py"), "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"make docs failed:\n{done.stdout}\n{done.stderr}"
    return folder


# --- without a browser ----------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page refers to: files that it loads, links that a reader follows, names that a link may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the attributes that hold addresses."""
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and "href" in given:
            self.loaded.append(given["href"])
        for name in ("src", "srcset", "data", "poster", "action"):
            if given.get(name) and not (name == "data" and tag != "object"):
                self.loaded.append(given[name])
        self.loaded += re.findall(r"url\(['\"]?([^)'\"]+)", given.get("style", ""))


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[Path, Page]:
    return {file: Page(file.read_text("utf-8")) for file in sorted(site.rglob("*.html"))}


def test_nothing_is_loaded_from_outside_of_the_site(site: Path, parsed: dict[Path, Page]) -> None:
    for file, page in parsed.items():
        outside = [address for address in page.loaded if re.match(r"(https?:)?//", address)]
        assert not outside, f"{file.relative_to(site)} loads {outside}"
    for file in site.rglob("*.css"):
        found = re.findall(r"(?:@import|url\()\s*['\"]?((?:https?:)?//[^)'\"\s]+)", file.read_text("utf-8"))
        assert not found, f"{file.relative_to(site)} loads {found}"


def test_no_link_is_dead(site: Path, parsed: dict[Path, Page]) -> None:
    for file, page in parsed.items():
        for link in [*page.links, *page.loaded]:
            if re.match(r"[a-z]+:", link) or link in ("", "#"):
                continue
            address, anchor = urldefrag(link)
            target = (file.parent / unquote(address.partition("?")[0])).resolve() if address else file
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{file.relative_to(site)} links to {link}"
            if anchor and target in parsed:
                assert unquote(anchor) in parsed[target].names, f"{file.relative_to(site)} links to {link}"


@pytest.mark.parametrize("lang", ["", "zh"])
def test_every_loss_has_a_page_with_formula_figure_and_source(site: Path, lang: str) -> None:
    for name in lossary.names():
        text = (site / lang / "losses" / f"{name}.html").read_text("utf-8")
        shown = re.sub("<[^>]*>", "", text)
        for part in (f"def {name}(", "yield", f"lossary.{name}(", "from lossary import nn"):
            assert part in shown, f"{lang} {name}: no {part}"
        for part in ("<math", '<svg class="curve"'):
            assert part in text, f"{lang} {name}: no {part}"


def test_every_english_page_has_a_chinese_one_and_the_main_ones_are_in_chinese(site: Path) -> None:
    english = {
        p.relative_to(site) for p in site.rglob("*.html") if p.relative_to(site).parts[0] not in ("zh", "explorer")
    }
    assert english == {p.relative_to(site / "zh") for p in (site / "zh").rglob("*.html")}
    for name in ("index", "guide/index", "guide/choosing", "guide/ten-losses", "guide/denominator", "losses/huber"):
        article = (site / "zh" / f"{name}.html").read_text("utf-8").split('<article class="bd-article">')[1]
        assert len(re.findall("[\u4e00-\u9fff]", article)) > 100, name
    for name in ("quickstart-numpy", "quickstart-torch"):
        assert "快速上手" in (site / "zh" / "guide" / f"{name}.html").read_text("utf-8")


# --- with a browser -------------------------------------------------------------------------------------------------

# The elements that reach beyond the window and are in no box of code, tables or formulas, which scroll.
CUT_OFF = """
const wide = document.documentElement.clientWidth, found = [];
const boxes = 'pre, .formula, .pst-scrollable-table-container, .bd-sidebar-primary, .bd-sidebar-secondary';
if (document.documentElement.scrollWidth > wide) found.push('the page scrolls sideways');
for (const element of document.querySelectorAll('body *')) {
  if (element.closest('svg, math, dialog:not([open]), .visually-hidden, .ellipsis, #pst-skip-link')) continue;
  const box = element.getBoundingClientRect();
  if (!box.width || !box.height || (box.right <= wide + 1 && box.left >= -1)) continue;
  if (getComputedStyle(element).visibility === 'hidden') continue;
  const around = element.parentElement.closest(boxes);
  if (!around || !['auto', 'scroll'].includes(getComputedStyle(around).overflowX))
    found.push(element.tagName + '.' + element.className + ': ' + element.textContent.slice(0, 40));
}
return found.slice(0, 5);
"""
# The colours of text and ground, as brightness from 0 to 255.
BRIGHTNESS = """
const bright = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0) / 3;
const style = getComputedStyle(document.querySelector('.bd-article p, .bd-article') || document.body);
return [bright(style.color), bright(getComputedStyle(document.body).backgroundColor)];
"""
SIZES = ((1280, 900), (390, 844))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed: make test-docs installs it"
    )
    found = [shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")]
    program, driver = next(filter(None, found), None), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("Chromium and its driver are not installed (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    chrome.set_page_load_timeout(60)
    yield chrome
    chrome.quit()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The address at which the site is served on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def pages_to_open(site: Path) -> list[str]:
    """Return every English page, every Chinese one that is written by hand, and some of the losses in Chinese."""
    everything = [file.relative_to(site).as_posix() for file in sorted(site.rglob("*.html"))]
    losses = [name for name in everything if name.startswith("zh/losses/")]
    left_out = {*losses, *(name for name in everything if name.startswith(("zh/api/", "zh/source/", "explorer/")))}
    return [name for name in everything if name not in left_out] + losses[::12]


def complaints(browser: Any) -> list[str]:
    """Return what the console has said since it was last asked."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def requested(browser: Any) -> list[str]:
    """Return the addresses asked for since the log was last read."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def test_pages_fit_are_quiet_and_ask_for_nothing_outside(browser: Any, address: str, site: Path) -> None:
    wrong: list[str] = []
    for name in pages_to_open(site):
        browser.get(address + name)
        for width, height in SIZES:
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            for theme in ("light", "dark"):
                browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
                wrong += [f"{name} at {width}, {theme}: {text}" for text in browser.execute_script(CUT_OFF)]
                ink, ground = browser.execute_script(BRIGHTNESS)
                if abs(ink - ground) < 100 or (ground < 128) != (theme == "dark"):
                    wrong.append(f"{name} at {width}, {theme}: text of brightness {ink:.0f} on {ground:.0f}")
        wrong += [f"{name}: console: {text}" for text in complaints(browser)]
        asked = [
            url for url in requested(browser) if not url.startswith((address, "data:", "blob:", "about:", "chrome"))
        ]
        wrong += [f"{name} asks for {url}" for url in asked]
    assert not wrong, "\n".join(wrong[:40])


@pytest.mark.parametrize(
    ("page", "query", "found"),
    [
        ("search.html", "focal", ("losses/sigmoid_focal.html", "losses/softmax_focal.html")),
        ("search.html", "交叉熵", ("losses/softmax_cross_entropy.html",)),
        ("search.html", "mse", ("losses/squared_error.html",)),
        ("zh/search.html", "focal", ("zh/losses/sigmoid_focal.html", "zh/losses/softmax_focal.html")),
        ("zh/search.html", "交叉熵", ("zh/losses/softmax_cross_entropy.html",)),
        ("zh/search.html", "交叉熵损失函数", ("zh/losses/softmax_cross_entropy.html",)),
        ("zh/search.html", "合页", ("zh/losses/hinge.html",)),
    ],
)
def test_the_search_finds(browser: Any, address: str, page: str, query: str, found: tuple[str, ...]) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    complaints(browser)
    browser.get(f"{address}{page}?q={quote(query)}")
    ask = "return [...document.querySelectorAll('#search-results li a')].map((link) => link.href.split(/[?#]/)[0])"
    wanted = {address + name for name in found}
    WebDriverWait(browser, 20).until(lambda b: wanted <= set(b.execute_script(ask)), f"{query} finds not {found}")
    assert complaints(browser) == []


def test_the_site_opens_from_a_folder(browser: Any, site: Path) -> None:
    browser.get((site / "losses" / "huber.html").as_uri())
    assert "huber" in browser.title
    browser.get((site / "search.html").as_uri() + "?q=focal")
    assert complaints(browser) == []
    browser.get((site / "index.html").as_uri())
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(*SIZES[0])
    browser.find_element("css selector", "a.language").click()
    assert browser.current_url == (site / "zh" / "index.html").as_uri()
