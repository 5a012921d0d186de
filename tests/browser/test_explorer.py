"""The explorer in Chromium: its numbers are NumPy's, it is quiet, nothing is cut off, and mouse and keys move it.

It runs under the marker ``browser``, with selenium and Chromium with its driver (Debian: chromium, chromium-driver).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossary
import lossary.plots
from lossary import explorer

pytestmark = pytest.mark.browser

STATES = {
    "curves": "curves=huber,delta:2;squared_error;absolute_error&at=0.8",
    "one loss, two targets": "curves=sigmoid_focal,gamma:3",
    "likelihood of a count": "curves=poisson_nll",
    "many": "curves=squared_error;absolute_error;huber;log_cosh;pinball,quantile:0.9;student_t_nll",
    "line": "view=regression",
    "classes": "view=classes",
    "three": "view=softmax&softmax=softmax_cross_entropy,label_smoothing:0.1;multi_margin",
    "nothing": "curves=",
}
SIZES = ((1280, 900), (390, 844))
# What reaches beyond the window and is in no box that scrolls; text of a drawing that reaches beyond its card.
CUT_OFF = """
const wide = document.documentElement.clientWidth, found = [];
if (document.documentElement.scrollWidth > wide) found.push('the page scrolls sideways');
for (const element of document.querySelectorAll('body *:not(.unseen), svg text')) {
  const box = element.getBoundingClientRect();
  if (!box.width || !box.height || (box.right <= wide + 1 && box.left >= -1)) continue;
  if (element.closest('svg svg, .scroll, .tabs')) continue;
  found.push(element.tagName + ' ' + element.textContent.slice(0, 40));
}
return found.slice(0, 5);
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed: make test-docs installs it"
    )
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("Chromium and its driver are not installed (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    chrome.set_page_load_timeout(60)
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file: Path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    file.write_text(explorer.page(), "utf-8")
    return file.as_uri()


@pytest.fixture
def opened(browser: Any, address: str) -> Any:
    """Open a state anew, at a size."""

    def open_state(state: str, size: tuple[int, int] = SIZES[0], query: str = "") -> Any:
        browser.get("about:blank")
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        browser.get(f"{address}{query}#{state}")
        return browser

    return open_state


def exact(browser: Any) -> dict[str, list[float]]:
    """The numbers of the table, unrounded, by loss."""
    ask = """return Object.fromEntries([...document.querySelectorAll('#numbers tr[data-loss]')].map((row) =>
      [row.dataset.loss, [...row.querySelectorAll('[data-exact]')].map((cell) => Number(cell.dataset.exact))]))"""
    return browser.execute_script(ask)  # type: ignore[no-any-return]


def complaints(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def requested(browser: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def test_its_numbers_are_those_of_numpy(opened: Any) -> None:
    found = exact(opened(STATES["curves"]))
    t = np.array([-4 + 0.8 * 8])
    assert set(found) == {"huber", "squared_error", "absolute_error"}
    for name, got in found.items():
        loss = lossary.get(name).bind(**({"delta": 2.0} if name == "huber" else {}))
        value, grad = loss.value_and_grad(t, np.zeros(1))
        assert np.allclose(got, [value[0], grad[0], loss.hess(t, np.zeros(1))[0]], 1e-12, 1e-12), name


def test_every_loss_is_drawn_without_a_complaint(opened: Any, browser: Any) -> None:
    """One after another in one page, through the address."""
    opened("")
    complaints(browser)
    for name in browser.execute_script("return Object.keys(FACTS)"):
        browser.execute_script("location.hash = arguments[0]; dispatchEvent(new Event('hashchange'))", f"curves={name}")
        rows = browser.execute_script("return state.curves.map(([n]) => n)")
        assert rows == [name]
        numbers = browser.execute_script(
            "return [...document.querySelectorAll('#numbers td[data-exact]')].map((c) => +c.dataset.exact)"
        )
        path = lossary.plots.path(name, lossary.plots.targets(name)[0])
        t = path.span[0] + 0.6 * (path.span[1] - path.span[0])
        line = lossary.plots.curve(name, target=lossary.plots.targets(name)[0], span=(t, t + 1e-3), points=8)
        assert np.allclose(numbers[:2], [line.value[0], line.gradient[0]], 1e-6, 1e-6), name
        assert browser.execute_script("return document.querySelectorAll('#plots path.line').length") > 0, name
    assert complaints(browser) == []


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_nothing_is_cut_off_in_any_size_language_or_theme(opened: Any, browser: Any, state: str) -> None:
    wrong = []
    complaints(browser), requested(browser)
    for size in SIZES:
        for lang in ("en", "zh"):
            for theme in ("light", "dark"):
                opened(f"{state}&lang={lang}&theme={theme}", size)
                found = browser.execute_script(CUT_OFF)
                wrong += [f"{size[0]} {lang} {theme}: {text}" for text in found]
                ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
                bright = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
                assert (bright < 128) == (theme == "dark")
    assert wrong == []
    assert complaints(browser) == []
    outside = [url for url in requested(browser) if not url.startswith(("file:", "data:", "about:"))]
    assert outside == []


def test_a_slider_moves_the_curve_and_the_address(opened: Any, browser: Any) -> None:
    opened("curves=huber&at=0.9")
    before = exact(browser)["huber"]
    browser.execute_script(
        "const s = document.querySelector('[data-param=delta][data-kind=range]'); s.value = 3;"
        "s.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    after = exact(browser)["huber"]
    assert before != after
    assert np.isclose(after[0], lossary.huber([3.2], [0.0], delta=3.0)[0])
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 5).until(lambda b: "delta:3" in b.current_url)
    address = browser.current_url
    browser.get("about:blank")
    browser.get(address)
    assert exact(browser)["huber"] == after


def test_a_number_outside_its_range_is_refused_and_named(opened: Any, browser: Any) -> None:
    opened("curves=huber&at=0.9")
    before = exact(browser)
    said = browser.execute_script(
        "const s = document.querySelector('[data-param=delta][data-kind=number]'); s.value = -1;"
        "s.dispatchEvent(new Event('input', {bubbles: true})); return s.validationMessage"
    )
    assert "delta" in said and "(0, inf)" in said
    assert exact(browser) == before


def test_a_point_is_dragged_by_mouse_and_moved_by_keys(opened: Any, browser: Any) -> None:
    """The line of squares follows an outlier further than the line of absolute errors."""
    from selenium.webdriver import ActionChains, Keys

    opened("view=regression&regression=squared_error;absolute_error")
    before = exact(browser)
    points = browser.find_elements("css selector", "#plot g.point .grab")
    ActionChains(browser).click_and_hold(points[-1]).move_by_offset(0, -200).release().perform()
    after = exact(browser)
    moved = {name: abs(after[name][1] - before[name][1]) for name in before}
    assert moved["squared_error"] > 0.05 and moved["squared_error"] > moved["absolute_error"]
    x, y = np.array(browser.execute_script("return state.points")).T
    assert np.allclose(after["squared_error"][:2], np.polyfit(x, y, 1)[::-1], 0, 1e-6)

    at = browser.execute_script("document.querySelector('g.point[data-i=\"2\"]').focus(); return state.points[2]")
    for _ in range(3):
        browser.switch_to.active_element.send_keys(Keys.ARROW_UP)
    assert browser.execute_script("return state.points[2]") == [at[0], pytest.approx(at[1] + 0.3)]
    assert browser.execute_script("return document.activeElement.dataset.i") == "2"
    browser.switch_to.active_element.send_keys(Keys.DELETE)
    assert len(browser.execute_script("return state.points")) == len(x) - 1


def test_losses_are_found_chosen_and_removed(opened: Any, browser: Any) -> None:
    opened("lang=zh")
    search = browser.find_element("id", "search")
    search.send_keys("交叉熵")
    names = [b.get_attribute("data-name") for b in browser.find_elements("css selector", "#list button")]
    assert {"softmax_cross_entropy", "binary_cross_entropy_with_logits"} <= set(names)
    browser.find_element("css selector", "#list button[data-name=binary_cross_entropy_with_logits]").click()
    assert browser.execute_script("return state.curves.map(([n]) => n)") == ["binary_cross_entropy_with_logits"]
    browser.find_element("css selector", ".card .remove").click()
    assert browser.execute_script("return state.curves") == []
    browser.find_element("id", "lang").click()
    assert browser.find_element("tag name", "h1").text == "Explore losses"
    assert browser.execute_script("return document.documentElement.lang") == "en"


def test_tabs_follow_the_arrow_keys_and_softmax_shows_its_gradient(opened: Any, browser: Any) -> None:
    from selenium.webdriver import Keys

    opened("softmax=softmax_cross_entropy")
    tab = browser.find_element("id", "tab-curves")
    tab.send_keys(Keys.ARROW_LEFT)
    assert browser.execute_script("return document.activeElement.id") == "tab-softmax"
    numbers = browser.execute_script(
        "return [...document.querySelectorAll('#plots [data-exact]')].map((e) => +e.dataset.exact)"
    )
    logits = np.array([2.0, 1.0, -0.5])
    value, grad = lossary.softmax_cross_entropy.value_and_grad(logits[None], [0])
    softmax = np.exp(logits) / np.exp(logits).sum()
    assert np.allclose(numbers, [*logits, *softmax, value[0], *grad[0]], 1e-12)
    assert np.allclose(grad[0], softmax - [1, 0, 0])


def test_a_link_may_ask_for_a_language(opened: Any, browser: Any) -> None:
    opened("", query="?lang=zh")
    assert browser.find_element("tag name", "h1").text == "探索损失函数"
