"""Results held to what another source says of them: brute force, other libraries, or the numbers read off a drawing."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossary
from lossary import scoring
from lossary.compare import compare
from lossary.data import load
from lossary.decoding import ctc_alignment, ctc_beam_search
from lossary.lint import check_source
from lossary.report import plots

pytest.importorskip("sklearn", reason="the app extra")

# --- decoding ---------------------------------------------------------------------------------------------------------


def beams_by_the_book(log_p: Any, width: int, blank: int) -> dict[tuple[int, ...], float]:
    """The search of Graves (2012) in dictionaries: of each beginning the paths that end in a blank, and the others."""
    kept: dict[tuple[int, ...], list[float]] = {(): [1.0, 0.0]}
    for row in np.exp(log_p):
        grown: dict[tuple[int, ...], list[float]] = {}
        for labels, (paused, sounding) in kept.items():
            for symbol, p in enumerate(row):
                if symbol == blank:
                    grown.setdefault(labels, [0.0, 0.0])[0] += (paused + sounding) * p
                elif labels and labels[-1] == symbol:
                    grown.setdefault(labels, [0.0, 0.0])[1] += sounding * p
                    grown.setdefault((*labels, symbol), [0.0, 0.0])[1] += paused * p
                else:
                    grown.setdefault((*labels, symbol), [0.0, 0.0])[1] += (paused + sounding) * p
        best = sorted(grown, key=lambda labels: -sum(grown[labels]))[:width]
        kept = {labels: grown[labels] for labels in best}
    return {labels: sum(both) for labels, both in kept.items()}


@pytest.mark.parametrize("width", [1, 2, 3, 7])
@pytest.mark.parametrize("blank", [0, 2])
def test_a_narrow_beam_keeps_what_the_book_keeps(width: int, blank: int) -> None:
    rng = np.random.default_rng([width, blank])
    for _ in range(12):
        log_p = np.log(rng.dirichlet([0.4, 0.6, 0.5], 7))  # sharp frames: a label that goes on, and one said again
        expected = beams_by_the_book(log_p, width, blank)
        found = ctc_beam_search(log_p, width=width, best=width, blank=blank)
        assert {h.labels for h in found} == set(expected)
        for hypothesis in found:
            assert math.exp(hypothesis.score) == pytest.approx(expected[hypothesis.labels])


def said(path: Any, blank: int) -> tuple[int, ...]:
    return tuple(int(symbol) for symbol, _ in itertools.groupby(path) if symbol != blank)


@pytest.mark.parametrize("target", [(1, 1), (1, 2, 1), (1, 1, 1), (2, 2), (1, 2), (1,), ()])
def test_an_alignment_is_the_best_of_all_paths_that_say_the_target(target: tuple[int, ...]) -> None:
    """Among frames in which the blank is dear, so that skipping it between two equal labels would pay."""
    rng = np.random.default_rng([*target, 9])
    paths = [path for path in itertools.product(range(3), repeat=6) if said(path, 0) == target]
    for _ in range(6):
        log_p = np.log(rng.dirichlet([0.05, 1.0, 1.0], 6) + 1e-9)
        best = max(paths, key=lambda path: sum(log_p[t, c] for t, c in enumerate(path)))
        found = ctc_alignment(log_p, target, from_logits=False)
        assert tuple(found.path.tolist()) == best
        assert float(found.score) == pytest.approx(sum(log_p[t, c] for t, c in enumerate(best)))


# --- calibration and certainty ----------------------------------------------------------------------------------------


def test_platts_scaling_is_scikit_learns() -> None:
    """Scale and offset, on scores far from their boundary, in two units."""
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 6000)
    X = rng.normal(size=(6000, 2)) + 1.5 * labels[:, None] + np.array([2.0, 0.0])
    machine = LinearSVC().fit(X[:500], labels[:500])
    theirs = CalibratedClassifierCV(FrozenEstimator(machine), method="sigmoid", ensemble=False).fit(X, labels)
    expected = theirs.predict_proba(X)[:, 1]
    for unit, shift in ((1.0, 0.0), (50.0, 3.0)):  # the same scores, measured otherwise
        scores = unit * (machine.decision_function(X) + shift)
        scale, bias = scoring.temperature_and_bias(scores[:, None], labels)
        ours = scoring.softmax(scale * scoring.as_rows(scores[:, None]) + bias)[:, 1]
        np.testing.assert_allclose(ours, expected, atol=5e-3)


def test_the_temperature_is_the_likeliest() -> None:
    from scipy.optimize import minimize_scalar

    rng = np.random.default_rng(4)
    labels = rng.integers(0, 4, 3000)
    logits = 3 * (rng.normal(size=(3000, 4)) + np.eye(4)[labels])

    def cost(log_scale: float) -> float:
        return float(lossary.softmax_cross_entropy(np.exp(log_scale) * logits, labels).mean())

    best = math.exp(minimize_scalar(cost, bounds=(-4, 4), method="bounded").x)
    scale, bias = scoring.temperature_and_bias(logits, labels)
    assert scale == pytest.approx(best, rel=0.06) and not bias.any()  # the search has steps of e^0.1


@pytest.mark.parametrize("bins", [5, 15])
def test_bins_of_confidence_are_scikit_learns(bins: int) -> None:
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(5)
    probabilities = rng.dirichlet([0.7, 0.7, 0.7], 4000)
    truth = np.array([rng.choice(3, p=row) for row in probabilities])
    table = scoring.calibration(truth, probabilities, bins)
    hits = probabilities.argmax(1) == truth
    right, sure = calibration_curve(hits, probabilities.max(1), n_bins=bins)
    filled = table[table[:, 0] > 0]
    np.testing.assert_allclose(filled[:, 2] / filled[:, 0], right)
    np.testing.assert_allclose(filled[:, 1] / filled[:, 0], sure)
    assert table[:, 0].sum() == 4000
    error = scoring.metric("calibration_error", True).of(truth, probabilities.argmax(1), probabilities)
    if bins == scoring.BINS:
        assert error == pytest.approx((np.abs(right - sure) * filled[:, 0]).sum() / 4000)


def test_the_interval_of_paired_differences_is_the_t_test_widened_by_the_shared_training_rows() -> None:
    from scipy.stats import ttest_1samp

    runs = np.random.default_rng(6).normal(0.1, 1.0, 9)
    plain = ttest_1samp(runs, 0.0).confidence_interval(0.95)
    assert scoring.paired_interval(runs.tolist(), 0.0) == pytest.approx((plain.low, plain.high))
    low, high = scoring.paired_interval(runs.tolist(), 0.25)
    assert (high - low) / (plain.high - plain.low) == pytest.approx(math.sqrt(1 + 9 * 0.25))
    assert (low + high) / 2 == pytest.approx(runs.mean())
    wide = ttest_1samp(runs, 0.0).confidence_interval(0.9)
    assert scoring.paired_interval(runs.tolist(), 0.0, level=0.9) == pytest.approx((wide.low, wide.high))


# --- the report, read back --------------------------------------------------------------------------------------------


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


class Axes:
    """The numbers that the places of a drawing stand for, told by its tick labels alone."""

    def __init__(self, root: ElementTree.Element) -> None:
        def number(text: str | None) -> float:
            return float((text or "").replace("\N{MINUS SIGN}", "-"))

        ticks = [e for e in root.iter("text") if e.get("class") == "tick"]
        across = [(float(e.get("x", "")), number(e.text)) for e in ticks if e.get("text-anchor") == "middle"]
        up = [(float(e.get("y", "")) - 3.5, number(e.text)) for e in ticks if e.get("text-anchor") == "end"]
        self.x, self.y = (np.polyfit(*zip(*marks, strict=True), 1) for marks in (across, up))
        titles = {e.text: e.get("transform") for e in root.iter("text") if e.get("class") == "axis"}
        (self.across,) = (text for text, turned in titles.items() if turned is None)
        self.up = next((text for text, turned in titles.items() if turned is not None), "")

    def read(self, x: float, y: float) -> tuple[float, float]:
        return float(np.polyval(self.x, x)), float(np.polyval(self.y, y))


def test_dots_of_reliability_stand_at_confidence_and_accuracy() -> None:
    table = [[40.0, 24.0, 32.0], [10.0, 7.5, 6.0], [0.0, 0.0, 0.0], [100.0, 95.0, 70.0]]
    root = drawn(plots.reliability(table, "hinge"))
    axes = Axes(root)
    assert (axes.across, axes.up) == ("confidence", "accuracy")
    dots = list(root.iter("circle"))
    expected = [(s / n, h / n) for n, s, h in table if n]
    found = [axes.read(float(d.get("cx", "")), float(d.get("cy", ""))) for d in dots]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert axes.y[0] < 0 < axes.x[0], "numbers grow to the right and upwards"
    radii = [float(d.get("r", "")) for d in dots]
    areas = [(radius - 2.2) ** 2 for radius in radii]
    np.testing.assert_allclose(np.array(areas) / areas[2], [0.4, 0.1, 1.0], atol=0.03)  # rows of the largest
    _, _, width, height = map(float, root.get("viewBox", "").split())
    for title in (e for e in root.iter("text") if e.get("class") == "axis"):
        turned = re.findall(r"translate\(([\d.-]+) ([\d.-]+)\)", title.get("transform") or "")
        x, y = map(float, turned[0] if turned else (title.get("x", ""), title.get("y", "")))
        assert 0 < x < width and 0 < y < height, "a title stands inside the drawing"
        assert not turned or 0.3 * height < y < 0.6 * height, "in the middle of its axis"


def test_dots_of_residuals_stand_at_prediction_and_truth_minus_prediction() -> None:
    points = [[3.0, 1.0], [0.0, 2.0], [5.0, 4.5]]  # truth, prediction
    root = drawn(plots.residuals(points, (0.0, 5.0), (-3.0, 3.0), "huber"))
    axes = Axes(root)
    assert (axes.across, axes.up) == ("predicted", "residual")
    found = [axes.read(float(d.get("cx", "")), float(d.get("cy", ""))) for d in root.iter("circle")]
    np.testing.assert_allclose(found, [(1.0, 2.0), (2.0, -2.0), (4.5, 0.5)], atol=0.03)


def test_squares_of_confusion_lie_in_the_row_of_the_truth_and_the_column_of_the_decision() -> None:
    counts = [[7, 2, 0], [1, 5, 4], [0, 3, 6]]
    root = drawn(plots.confusion(counts, ["ant", "bee", "cat"], "hinge"))
    places: dict[tuple[str, str], tuple[float, float, int]] = {}
    for square in root.iter("rect"):
        tip = square.find("title")
        assert tip is not None
        (truth, decided, count) = re.findall(r"true (\w+), classified as (\w+): (\d+)", tip.text or "")[0]
        places[truth, decided] = (float(square.get("x", "")), float(square.get("y", "")), int(count))
    names = ["ant", "bee", "cat"]
    assert [[places[t, d][2] for d in names] for t in names] == counts
    for name in names:
        assert len({places[name, d][1] for d in names}) == 1, "one row for a true class"
        assert len({places[t, name][0] for t in names}) == 1, "one column for a decision"
    assert places["ant", "ant"][0] < places["ant", "bee"][0] and places["ant", "ant"][1] < places["bee", "ant"][1]
    shown = {
        (float(e.get("x", "")), float(e.get("y", ""))): int(e.text or 0)
        for e in root.iter("text")
        if "count" in e.get("class", "")
    }
    size = places["ant", "bee"][0] - places["ant", "ant"][0]
    for (x, y), count in shown.items():
        inside = [c for left, top, c in places.values() if left < x < left + size and top < y < top + size]
        assert inside == [count], "a number stands in its own square"
    assert len(shown) == 7, "nothing is written where nothing was counted"
    many = drawn(plots.confusion(np.eye(7, dtype=int).tolist(), list("abcdefg"), "hinge"))
    assert not [e for e in many.iter("text") if "count" in e.get("class", "")], "squares of many classes are too small"
    axis = {e.text: e.get("transform") for e in root.iter("text") if e.get("class") == "axis"}
    assert axis["classified as"] is None and "rotate" in (axis["true"] or "")


def path_points(path: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path.get("d", ""))]


def test_lines_of_learning_are_the_losses_by_epoch() -> None:
    train, validation = [[3.0, 2.0, 1.0]], [[3.5, 2.5, 2.0]]
    root = drawn(plots.learning(train, validation, "huber"))
    axes = Axes(root)
    assert axes.across == "epoch"
    lines = {path.get("class"): path_points(path) for path in root.iter("path")}
    for style, curve in (("mean dashed", train[0]), ("mean", validation[0])):
        found = [axes.read(*place) for place in lines[style]]
        np.testing.assert_allclose(found, list(enumerate(curve, 1)), atol=0.05)


# --- kernels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 3.0, 4.0, 2.5])
def test_a_whole_power_in_a_kernel_is_that_power(gamma: float) -> None:
    """Large calls take kernels, which write small powers as products; single examples take the definition."""
    rng = np.random.default_rng(7)
    logits, target = rng.normal(0, 3, 20_000), (rng.random(20_000) < 0.3).astype(float)
    value, grad = lossary.sigmoid_focal.value_and_grad(logits, target, gamma=gamma)
    p = 1 / (1 + np.exp(-np.where(target == 1, logits, -logits)))
    at = slice(0, 500)
    expected = np.where(target == 1, 0.25, 0.75) * (1 - p) ** gamma * -np.log(p)
    alpha = lossary.sigmoid_focal.defaults["alpha"]
    if alpha is None:
        expected = (1 - p) ** gamma * -np.log(p)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-300)
    few = lossary.sigmoid_focal.value_and_grad(logits[at], target[at], gamma=gamma)
    np.testing.assert_allclose(value[at], few[0], rtol=1e-12)
    np.testing.assert_allclose(grad[at], few[1], rtol=1e-11, atol=1e-300)


# --- which values are looked at ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [0, 4999])
def test_the_first_and_the_last_row_of_a_large_array_are_looked_at(row: int) -> None:
    log_probs = np.full((5000, 20), -math.log(20.0))
    log_probs[row] = 0.1
    with pytest.raises(lossary.errors.DomainError, match=f"row {row} "):
        lossary.nll(log_probs, np.zeros(5000, int))


def test_rows_are_looked_at_from_end_to_end_and_all_of_them_when_asked() -> None:
    log_probs = np.full((5000, 20), -math.log(20.0))
    wrong = log_probs.copy()
    wrong[2000:2200] = 0.5  # a stretch that any even sample of 64 meets
    with pytest.raises(lossary.errors.DomainError, match="row 2"):
        lossary.nll(wrong, np.zeros(5000, int))
    log_probs[1] = 0.5  # one that a sample passes over
    with lossary.checks("full"), pytest.raises(lossary.errors.DomainError, match="row 1 "):
        lossary.nll(log_probs, np.zeros(5000, int))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_cosine_may_pass_1_by_rounding_and_by_no_more(dtype: Any) -> None:
    cosines = np.zeros((2, 3), dtype)
    labels = np.zeros(2, int)
    for sign in (1, -1):
        cosines[0, 0] = sign * (1 + 4 * np.finfo(dtype).eps)
        assert np.isfinite(lossary.cosface(cosines, labels)).all()
        cosines[0, 0] = sign * (1 + 1e-4)
        with pytest.raises(lossary.errors.DomainError, match=r"expected values in \[-1, 1\]"):
            lossary.cosface(cosines, labels)


@pytest.mark.parametrize("rows", [3, 30_000])
def test_a_drop_in_takes_the_labels_that_torch_takes(rows: int) -> None:
    torch = pytest.importorskip("torch")
    from lossary.nn import functional

    logits = torch.randn(rows, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(rows) % 4
    for name in ("cross_entropy", "nll_loss", "multi_margin_loss"):
        ours, theirs = getattr(functional, name), getattr(torch.nn.functional, name)
        given = logits.log_softmax(-1) if name == "nll_loss" else logits
        torch.testing.assert_close(ours(given, labels), theirs(given, labels))
        for stray in (4, -1, 5, -2):
            wrong = labels.clone()
            wrong[-1] = stray
            with pytest.raises((IndexError, RuntimeError)):
                theirs(given, wrong)
            with pytest.raises((IndexError, RuntimeError, ValueError)):
                ours(given, wrong)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_numbers_of_a_file_are_the_numbers_in_it(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    rng = np.random.default_rng(8)
    columns = {"small": rng.normal(0, 1e-12, 60), "large": rng.normal(0, 1e12, 60), "y": rng.normal(size=60)}
    lines = [",".join(columns), *(",".join(map(repr, map(float, row))) for row in zip(*columns.values(), strict=True))]
    path = tmp_path / "numbers.csv"
    path.write_text("\n".join(lines) + "\n")
    data = load(path, "y", "regression")
    assert data.features == ("small", "large")
    np.testing.assert_array_equal(data.X, np.stack([columns["small"], columns["large"]], 1))
    np.testing.assert_array_equal(data.y, columns["y"])


def test_what_a_comparison_says_of_a_linear_fit_is_what_the_predictions_say() -> None:
    result = compare("iris", ["softmax_cross_entropy"], model="linear", epochs=3, folds=2, seeds=1)
    (row,) = result.rows
    counts = np.asarray(row.confusion)
    assert counts.sum() == 150 and np.trace(counts) / 150 == pytest.approx(row.mean("accuracy"))
    np.testing.assert_array_equal(counts.sum(1), [50, 50, 50])


def test_a_column_counts_characters_also_behind_other_scripts() -> None:
    plain = 'import torch\nx = "abc"; loss = torch.nn.NLLLoss()(torch.softmax(z, dim=1), y)\n'
    findings = check_source(plain)
    assert findings
    for text in ("äöü", "损失函", "\N{ROCKET}\N{ROCKET}\N{ROCKET}"):
        moved = check_source(plain.replace("abc", text))
        assert [(f.code, f.line, f.column) for f in moved] == [(f.code, f.line, f.column) for f in findings]
