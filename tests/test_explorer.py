"""The explorer: the page asks for nothing, and what it computes under Node is what Lossary computes."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossary
import lossary.plots
import node
from lossary import explorer
from lossary.explorer.document import asset, model
from lossary.explorer.facts import facts
from lossary.text.phrases import chinese
from makers import maker


@pytest.fixture(scope="module")
def page() -> str:
    return explorer.page()


def answered(folder: Path, body: str, given: Any = None) -> Any:
    return node.run(folder, f"{model()}\nconst answer = {body};", given)


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_stands_alone(page: str) -> None:
    """No address of another place, no stylesheet, script, font or image but those within."""
    assert re.findall(r"""(?:https?:)?//[a-z0-9-]+\.[a-z]""", page) == []
    assert (
        re.findall(r"<link(?![^>]*href=\"data:)|<script[^>]+src|@import|url\(|fetch\(|XMLHttpRequest|<img", page) == []
    )
    assert "/*" not in re.findall(r"<style>(.*?)</style>", page, re.DOTALL)[0]


def test_every_pointwise_and_row_loss_is_on_the_page(page: str) -> None:
    for name in lossary.names():
        loss = lossary.get(name)
        here = f'"{name}": {{"zh"' in page and f'\n"{name}": [' in page
        assert here == (name in facts()), name
        assert here == (loss.coupling is None and all(s.rank < 2 for s in loss.signatures)), name


def test_every_word_of_the_page_has_a_chinese_one() -> None:
    said = set(re.findall(r'\bt\(\s*"([^"]+)"', asset("app.js"))) | set(
        re.findall(r"data-t>([^<]+)<", asset("page.html"))
    )
    said |= set(re.findall(r'\w+: "([A-Z][^"]+)"', re.findall(r"const TITLES = \{(.*?)\}", asset("app.js"))[0]))
    said |= {"value", "gradient", "curvature"}
    assert len(said) > 30
    assert said - set(chinese("explorer")) == set()


def test_the_page_is_made_by_a_script_of_the_docs(tmp_path: Path, page: str) -> None:
    maker("make_explorer").build(tmp_path / "new")
    assert (tmp_path / "new" / "index.html").read_text("utf-8") == page


# --- state in the address ---------------------------------------------------------------------------------------------

STATES = [
    "",
    "view=classes&lang=zh&theme=dark&classes=hinge,margin:2;sigmoid_focal,gamma:0,alpha:0.25",
    "at=0.25&quantities=gradient&curves=huber,delta:2.5;pinball,quantile:0.9",
    "view=softmax&label=2&logits=1,-2.5,0&softmax=softmax_focal,gamma:5",
    "view=regression&points=-1,2;0.5,1;3,-3.25&regression=student_t_nll,df:2,full:true",
    "groups=1,2,0;3,-1,1",
    "curves=",
]


@node.needs_node
def test_every_state_survives_the_address(tmp_path: Path) -> None:
    read = answered(tmp_path, "(xs) => xs.map((x) => encodeState(decodeState('#' + x)))", STATES)
    assert [sorted(text.split("&")) for text in read] == [sorted(text.split("&")) for text in STATES]
    same = answered(
        tmp_path, "(xs) => xs.map((x) => [decodeState(x), decodeState(encodeState(decodeState(x)))])", STATES
    )
    assert all(first == second for first, second in same)


@node.needs_node
def test_nonsense_in_the_address_is_passed_over(tmp_path: Path) -> None:
    """An unknown loss or parameter, a word for a number, another axis, an escape that is none."""
    nonsense = [
        "curves=huber,delta:x,no:1;nobody;hinge&view=moon&at=nan&label=7&lang=fr",
        "points=1,2;a,b;3&logits=1,2&quantities=x&theme=%",
        "curves=__proto__;constructor;toString",
        "&&&=&=&a=%E4%",
    ]
    found = answered(tmp_path, "(xs) => xs.map(decodeState)", nonsense)
    assert found[0]["curves"] == [["huber", {}]]
    assert (found[0]["view"], found[0]["at"], found[0]["label"], found[0]["lang"]) == ("curves", 0.6, 0, "")
    assert (found[1]["points"], found[1]["logits"], found[1]["quantities"]) == ([[1, 2]], [2, 1, -0.5], [])
    assert found[2]["curves"] == []
    assert found[3]["view"] == "curves"


# --- numbers ----------------------------------------------------------------------------------------------------------


@node.needs_node
def test_curves_are_those_of_lossary_plots(tmp_path: Path) -> None:
    """Value, gradient and curvature along the axis, for every loss and target."""
    shares = [0.03, 0.21, 0.4, 0.55, 0.77, 0.96]
    found = answered(
        tmp_path,
        "(shares) => Object.entries(FACTS).map(([name, f]) => [name, f.paths.map((p) => shares.map((s) =>"
        " Object.values(pointAlong(name, {}, p, p.span[0] + s * (p.span[1] - p.span[0])))))])",
        shares,
    )
    assert {name for name, _ in found} == set(facts())
    for name, paths in found:
        for target, points in zip(lossary.plots.targets(name), paths, strict=True):
            sweep = lossary.plots.path(name, target)
            low, high = sweep.span
            for share, got in zip(shares, points, strict=True):
                t = low + share * (high - low)
                line = lossary.plots.curve(name, target=target, span=(t, t + 1e-3), points=8)
                wanted = [
                    line.value[0],
                    line.gradient[0],
                    line.curvature[0] if line.curvature is not None else math.nan,
                ]
                assert np.allclose(got, wanted, 1e-6, 1e-6, equal_nan=True), (name, target, t, got, wanted)


@node.needs_node
def test_fitted_lines_have_the_least_mean_loss(tmp_path: Path) -> None:
    """Beside least squares in closed form, the best line through two points for a median, and lines nearby."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-3, 3, 12)
    y = 0.7 * x - 0.4 + 0.3 * rng.standard_normal(12)
    y[3], y[7] = 4.0, -4.0
    rows = np.stack([x, y], axis=1).tolist()
    found = answered(
        tmp_path,
        "(rows) => Object.keys(FACTS).filter((n) => fits(n, 'regression')).map((n) => [n, fitLine(n, {}, rows)])",
        rows,
    )
    fits = dict(found)
    slope, intercept = np.polyfit(x, y, 1)
    for name in ("squared_error", "half_squared_error"):
        assert np.allclose(fits[name]["x"], [intercept, slope], 0, 1e-6)
    through = [((y[j] - y[i]) / (x[j] - x[i]), i) for i in range(12) for j in range(i)]
    least = {
        name: min(lossary.get(name)(b * (x - x[i]) + y[i], y).mean() for b, i in through)
        for name in ("absolute_error", "pinball")
    }
    for name, value in least.items():
        assert fits[name]["value"] == pytest.approx(value, rel=1e-3, abs=1e-9) and fits[name]["value"] > value - 1e-9
    for name, fit in fits.items():
        a, b = fit["x"]
        assert fit["value"] == pytest.approx(lossary.get(name)(a + b * x, y).mean(), rel=1e-12), name
        near = [
            lossary.get(name)(a + da + (b + db) * x, y).mean() for da in (-0.05, 0, 0.05) for db in (-0.03, 0, 0.03)
        ]
        assert fit["value"] <= min(near) + 1e-6, name


@node.needs_node
def test_fitted_boundaries_have_the_least_penalised_mean(tmp_path: Path) -> None:
    found = answered(
        tmp_path,
        "() => Object.keys(FACTS).filter((n) => fits(n, 'classes')).map((n) => [n, fitScore(n, {}, START.groups)])"
        ".concat([['groups', START.groups], ['penalty', PENALTY]])",
    )
    fits = dict(found)
    groups, penalty = np.asarray(fits.pop("groups")), fits.pop("penalty")
    assert {"hinge", "binary_cross_entropy_with_logits", "exponential", "logistic_margin"} <= set(fits)
    for name, fit in fits.items():
        loss = lossary.get(name)
        labels = groups[:, 2] if loss.domain(loss.arguments[1]).text == "[0, 1]" else 2 * groups[:, 2] - 1

        def objective(w: Any, loss: Any = loss, labels: Any = labels) -> float:
            return float(loss(w[0] + groups[:, :2] @ w[1:], labels).mean() + penalty / 2 * (w[1:] @ w[1:]))

        w = np.array(fit["x"])
        assert fit["value"] == pytest.approx(objective(w), rel=1e-10, abs=1e-12), name
        rng = np.random.default_rng(1)
        near = min(objective(w + 0.05 * rng.standard_normal(3)) for _ in range(60))
        assert fit["value"] <= near + 1e-6, name
    assert np.allclose(fits["logistic_margin"]["x"], fits["binary_cross_entropy_with_logits"]["x"], 0, 1e-4)


@node.needs_node
def test_a_density_is_shown_where_the_loss_is_one(tmp_path: Path) -> None:
    """Whole: exp(-loss) sums to the same for every prediction; else the page says that it is none."""
    given = [
        ["half_squared_error", {}, 0.3],
        ["absolute_error", {}, -1.0],
        ["poisson_nll", {}, 1.0],
        ["binary_cross_entropy_with_logits", {}, 0.7],
        ["softmax_cross_entropy", {}, 0.7],
        ["student_t_nll", {"df": 3}, 0.0],
        ["tweedie_deviance", {}, 0.5],
        ["binary_cross_entropy_with_logits", {"pos_weight": 3}, 0.7],
    ]
    found = answered(tmp_path, "(xs) => xs.map((x) => density(...x))", given)
    assert [d["is"] for d in found] == [True] * 6 + [False] * 2
    assert found[0]["sum"] == pytest.approx(math.sqrt(2 * math.pi), rel=1e-6)
    assert found[1]["sum"] == pytest.approx(2.0, rel=1e-3)
    poisson = [math.exp(-math.e + k - math.lgamma(k + 1)) for k in range(6)]
    assert found[2]["p"][:6] == pytest.approx(poisson, rel=1e-9)
    assert found[3]["p"][1] == pytest.approx(1 / (1 + math.exp(-0.7)), rel=1e-12)
    assert sum(found[4]["p"]) == pytest.approx(1.0)
    assert found[5]["sum"] == pytest.approx(1.0, rel=1e-3)


@node.needs_node
def test_axes_hold_every_curve_also_one_that_is_flat_but_for_rounding(tmp_path: Path) -> None:
    ranges = answered(
        tmp_path,
        "(lists) => lists.map((numbers) => { const r = extent([numbers]); return [...r, ticks(...r).length]; })",
        [[-1.0, -1 + 2e-16], [0.0, 0.0], [1e30, 1e30 * (1 + 2e-16)], [math.nan], [math.inf, 2.0], [-3.0, 5.0]],
    )
    for low, high, ticks in ranges:
        assert low < high and 1 < ticks < 20
    assert ranges[0][0] < -1 < ranges[0][1] and ranges[5][0] < -3 and ranges[5][1] > 5
    drawn = answered(
        tmp_path,
        "() => Object.keys(FACTS).map((n) => QUANTITIES.map((q) => {"
        " const r = extent(FACTS[n].paths.map((p) => curveOf(n, {}, p)[q])); return ticks(...r).length; }))",
    )
    assert len(drawn) == len(facts()) and all(1 < k < 20 for counts in drawn for k in counts)
