"""Curves: their numbers are the losses' own, their kinks where mathematics puts them, their drawings whole."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as Xml
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossary
from lossary import plots
from lossary.catalogue import Loss
from lossary.errors import ArgumentError, MissingExtraError, ParameterError

ALL = [lossary.get(name) for name in lossary.names()]
every_loss = pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)


@every_loss
def test_the_gradient_is_the_slope_of_the_curve(loss: Loss) -> None:
    for line in plots.curves([loss]):
        assert np.isfinite(line.value).sum() > 390, "a curve of infinities is no picture of a loss"
        assert (np.diff(line.x) > 0).all()
        jumps = np.isnan(line.value) | np.isnan(line.gradient)
        away = np.ones(len(line.x), bool)
        for at in [*np.flatnonzero(jumps), *(int(np.argmin(abs(line.x - k))) for k in line.kinks)]:
            away[max(at - 3, 0) : at + 4] = False
        slope = np.gradient(np.nan_to_num(line.value), line.x)
        scale = np.nanmax(np.abs(line.gradient)) + 1e-9
        bend = np.abs(np.gradient(slope, line.x)) * np.max(np.diff(line.x))
        wrong = away & (np.abs(slope - np.nan_to_num(line.gradient)) > 0.01 * scale + bend)
        assert not wrong[2:-2].any(), (line.label, line.x[wrong][:5])


@every_loss
def test_every_loss_can_be_drawn_in_a_terminal(loss: Loss) -> None:
    text = plots.plot(loss, width=70)
    lines = text.splitlines()
    assert loss.name in lines[0] and len(lines) > 12 and max(map(len, lines[1:])) <= 70 and "\x1b" not in text


@pytest.mark.parametrize(
    ("name", "axis", "kinks"),
    [
        ("huber", "residual", (-1, 1)),
        ("absolute_error", "residual", (0,)),
        ("squared_error", "residual", ()),
        ("hinge", "margin", (1,)),
        ("log_cosh", "residual", ()),
        ("l1_penalty", "parameter", (0,)),
        ("zero_one", "score of the true class", (0,)),
        ("binary_cross_entropy", "probability", ()),
        ("softmax_cross_entropy", "logit of the true class", ()),
        ("nll", "probability of the true class", ()),
        ("dice", "probability of the truth", ()),
        ("cosine_distance", "angle", ()),
    ],
)
def test_axis_and_kinks(name: str, axis: str, kinks: tuple[float, ...]) -> None:
    line = plots.curve(name)
    assert line.axis == axis
    np.testing.assert_allclose(line.kinks, kinks, atol=1e-6)


def test_a_jump_breaks_the_line_of_what_jumps_and_of_nothing_else() -> None:
    line = plots.curve("absolute_error")
    at = int(np.argmin(np.abs(line.x)))
    assert np.isnan(line.gradient[at]) and line.value[at] < 1e-6
    assert line.gradient[at - 1] == -1 and line.gradient[at + 1] == 1
    jump = plots.curve("zero_one")
    assert np.isnan(jump.value).sum() == 1


def test_parameters_move_the_curve_and_are_named() -> None:
    line = plots.curve("huber", delta=2.5)
    assert line.label == "huber(delta=2.5)"
    np.testing.assert_allclose(line.kinks, (-2.5, 2.5), atol=1e-6)
    bound = plots.curve(lossary.huber.bind(delta=2.5))
    np.testing.assert_array_equal(line.value, bound.value)
    assert plots.curve("huber", span=(0.0, 9.0), points=50).x[[0, -1]].tolist() == [0, 9]


def test_two_classes_make_two_curves_and_a_margin_one() -> None:
    assert [c.label[-8:] for c in plots.curves(["sigmoid_focal"])] == ["target 1", "target 0"]
    assert len(plots.curves(["logistic_margin"])) == 1


def test_files(tmp_path: Path) -> None:
    png, svg, page = (tmp_path / f"curve.{kind}" for kind in ("png", "svg", "html"))
    for file in (png, svg, page):
        assert plots.plot(["huber", "squared_error"], file) == str(file)
    assert png.read_bytes().startswith(b"\x89PNG")
    root = Xml.fromstring(svg.read_text(encoding="utf-8"))
    words = "".join(root.itertext())
    assert "huber" in words and "curvature" in words and "prefers-color-scheme" in words
    text = page.read_text(encoding="utf-8")
    assert "<svg" in text and "color-scheme:light dark" in text
    outside = [part for part in text.split('"') if part.startswith("http") and "w3.org" not in part]
    assert not any(word in text for word in ("<script src", "<link", "@import", "<img")), outside


def test_the_same_svg_twice(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        plots.plot("huber", tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_chinese(tmp_path: Path) -> None:
    assert plots.plot("huber", lang="zh").startswith("huber：值与梯度，横轴为残差")
    plots.plot("huber", tmp_path / "c.svg", lang="zh")
    assert "曲率" in (tmp_path / "c.svg").read_text(encoding="utf-8")
    plots.plot("huber", tmp_path / "c.png", lang="zh")  # with or without a Chinese font here


def test_colour_only_when_asked_for() -> None:
    assert "\x1b[" in plots.plot("huber", colour=True) and "\x1b[" not in plots.plot("huber")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (["huber", "hinge"], {}, ArgumentError, "huber is drawn against the residual but hinge against the margin"),
        ([], {}, ArgumentError, "no loss given"),
        (["huber"], {"path": "x.pdf"}, ArgumentError, "expected a name ending in .png, .svg, .html"),
        (["huber"], {"span": (1.0, 0.0)}, ParameterError, "the smaller first"),
        (["huber"], {"points": 2}, ParameterError, "at least 8"),
        (["huber"], {"delta": -1}, ParameterError, "delta: got -1"),
    ],
)
def test_refusals(arguments: list[str], options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        plots.plot(arguments, **options)


@pytest.mark.parametrize(("absent", "path"), [("plotext", None), ("matplotlib", "curve.png")])
def test_a_missing_extra_is_said(monkeypatch: pytest.MonkeyPatch, absent: str, path: str | None) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lossary\[app\]'"):
        plots.plot("huber", path)


def test_importing_the_package_imports_no_plots() -> None:
    script = "import sys, lossary; sys.exit('lossary.plots' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
