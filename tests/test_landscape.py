"""Loss landscapes: the plane around a trained network, its directions, its page and its refusals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lossary.cli.app import app
from lossary.errors import DataError, LossaryError, ParameterError
from lossary.landscape import Landscapes, direction, grid, landscapes, plane
from lossary.training import evaluate, fit, mlp

SMALL: dict[str, Any] = {"model": "mlp:5", "epochs": 4, "resolution": 7}


@pytest.fixture(scope="module")
def iris() -> Landscapes:
    return landscapes("iris", ["softmax_cross_entropy", "multi_margin:margin=2"], **SMALL)


def test_the_middle_is_the_trained_network(iris: Landscapes) -> None:
    """Exactly, and it is no worse than the points around it are on average."""
    for each in iris.slices:
        assert each.values[3, 3] == each.trained
        assert each.values.shape == (7, 7)
        assert each.trained < each.values.mean()


def test_the_trained_loss_is_that_of_the_same_training_done_by_hand() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 2))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = (X[:, 0] > 0).astype(int)
    found = landscapes((X, y), ["logistic_margin"], task="binary", learning_rate=0.01, **SMALL)
    network = mlp(2, (5,), 1, seed=0)
    from lossary.training import Adam

    fit(network, "logistic_margin", X, 2.0 * y - 1, epochs=4, optimiser=Adam(0.01), seed=0, progress=False)
    assert found.slices[0].trained == pytest.approx(evaluate(network, "logistic_margin", X, 2.0 * y - 1), rel=1e-9)


def test_a_filter_of_a_direction_is_as_long_as_that_of_the_network() -> None:
    """So a network whose layers are scaled, and which computes the same, has the same landscape."""
    network = mlp(3, (4,), 2, seed=1)
    found = direction(network.parameters, np.random.default_rng(2))
    for parameter, moved in zip(network.parameters, found, strict=True):
        if parameter.value.ndim == 2:
            np.testing.assert_allclose(
                np.linalg.norm(moved, axis=0), np.linalg.norm(parameter.value, axis=0), rtol=1e-12
            )
        else:
            assert not moved.any()

    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((20, 3)), rng.integers(0, 2, 20)

    def slice_of(factor: float) -> Any:
        net = mlp(3, (4,), 2, seed=1)
        first, bias, second, _ = net.parameters
        first.value *= factor
        bias.value *= factor
        second.value /= factor
        draw = np.random.default_rng(3)
        directions = direction(net.parameters, draw), direction(net.parameters, draw)
        return plane(net.parameters, lambda: evaluate(net, "softmax_cross_entropy", X, y), directions, grid(1.0, 5))

    np.testing.assert_allclose(slice_of(1.0), slice_of(50.0), rtol=1e-9)


def test_the_plane_is_symmetric_where_the_loss_is_and_puts_the_weights_back() -> None:
    """A linear network without bias and targets of 0: L(w) = L(-w), and the plane through 0 is even."""
    network = mlp(2, (), 1, seed=0)
    X = np.random.default_rng(0).standard_normal((15, 2))
    directions = (
        direction(network.parameters, np.random.default_rng(1)),
        direction(network.parameters, np.random.default_rng(2)),
    )
    for parameter in network.parameters:
        parameter.value[:] = 0
    values = plane(
        network.parameters, lambda: evaluate(network, "squared_error", X, np.zeros(15)), directions, grid(2.0, 9)
    )
    np.testing.assert_allclose(values, values[::-1, ::-1], rtol=1e-12)
    assert values[4, 4] == 0 and values.min() == 0
    assert all(not parameter.value.any() for parameter in network.parameters)


def test_weights_are_put_back_where_measuring_fails() -> None:
    network = mlp(2, (), 1, seed=0)
    before = [parameter.value.copy() for parameter in network.parameters]
    directions = [direction(network.parameters, np.random.default_rng(k)) for k in (1, 2)]

    def measure() -> float:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        plane(network.parameters, measure, (directions[0], directions[1]), grid(1.0, 5))
    assert all(np.array_equal(a, p.value) for a, p in zip(before, network.parameters, strict=True))


def test_the_same_seed_gives_the_same_slice_and_another_one_does_not(iris: Landscapes) -> None:
    again = landscapes("iris", ["softmax_cross_entropy"], **SMALL)
    assert np.array_equal(again.slices[0].values, iris.slices[0].values)
    other = landscapes("iris", ["softmax_cross_entropy"], seed=1, **SMALL)
    assert not np.allclose(other.slices[0].values, iris.slices[0].values)


def test_regression_and_parameters_in_the_units_of_the_target() -> None:
    found = landscapes("diabetes", ["huber:delta=30", "squared_error"], rows=60, **SMALL)
    assert [each.label for each in found.slices] == ["huber(delta=30)", "squared_error"]
    assert found.rows == 60 and all(np.isfinite(each.values).all() for each in found.slices)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"resolution": 24}, "resolution: got 24, expected an odd number from 5 to 201"),
        ({"resolution": 3}, "resolution: got 3"),
        ({"span": 0.0}, "span: got 0"),
        ({"span": float("nan")}, "span: got nan"),
        ({"epochs": 0}, "epochs: got 0, expected 1 or more"),
        ({"rows": 0}, "rows: got 0"),
        ({"seed": -1}, "seed: got -1"),
        ({"learning_rate": -0.1}, "learning_rate: got -0.1"),
        ({"model": "cnn"}, 'model: got "cnn", expected linear, or mlp and its widths'),
        ({"report": "x.pdf"}, "expected a name that ends in .html"),
    ],
)
def test_what_cannot_be_is_refused_before_any_training(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(sentence)):
        landscapes("iris", **{**SMALL, **options})


def test_a_loss_of_another_task_is_refused_with_those_that_fit() -> None:
    with pytest.raises(DataError, match="losses that fit: softmax_cross_entropy"):
        landscapes("iris", ["softmax_cross_entropy", "squared_error"], **SMALL)
    with pytest.raises(LossaryError, match="did you mean huber"):
        landscapes("diabetes", ["hubber"], **SMALL)


# --- the page and the commands ----------------------------------------------------------------------------------------


def test_the_page_shows_a_map_of_every_loss_and_loads_nothing(tmp_path: Path) -> None:
    file = tmp_path / "l.html"
    arguments = ["landscape", "iris", "--loss", "softmax_cross_entropy", "--loss", "multi_margin", "--model", "mlp:4"]
    arguments += ["--epochs", "3", "--resolution", "9", "--report", str(file)]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    assert "softmax_cross_entropy" in done.output and "bending" in done.output
    text = file.read_text("utf-8")
    assert text.count('class="cell"') == 2 * 81
    assert text.count('class="middle"') == 2 and 'class="contour"' in text
    assert not re.search(r"https?://|<script|url\(", text)
    assert "--loss multi_margin" in text


def test_the_page_in_chinese(tmp_path: Path) -> None:
    file = tmp_path / "l.html"
    landscapes("iris", ["softmax_cross_entropy"], report=file, lang="zh", **SMALL)
    text = file.read_text("utf-8")
    assert "损失地形：iris" in text and "滤波器归一化" in text
    shown = re.sub(r"<style>.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not re.search(r"\b(?:direction|trained|highest|profile|network)\b", shown)


def test_a_refusal_of_the_command_is_one_line() -> None:
    done = CliRunner().invoke(app, ["landscape", "iris", "--resolution", "10"])
    assert done.exit_code == 2
    assert "resolution: got 10" in " ".join(done.output.split()) and "Traceback" not in done.output


def test_explore_writes_the_page(tmp_path: Path) -> None:
    file = tmp_path / "e.html"
    done = CliRunner().invoke(app, ["explore", "--out", str(file)])
    assert done.exit_code == 0 and str(file) in done.output.replace("\n", "")
    assert "const FACTS" in file.read_text("utf-8")
    assert CliRunner().invoke(app, ["explore", "--out", str(file)]).exit_code == 0  # its own page is replaced
    other = tmp_path / "mine.html"
    other.write_text("mine", "utf-8")
    done = CliRunner().invoke(app, ["explore", "--out", str(other)])
    assert done.exit_code == 2 and other.read_text("utf-8") == "mine"


def test_explore_opens_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    done = CliRunner().invoke(app, ["explore"])
    assert done.exit_code == 0 and len(opened) == 1
    page = Path(opened[0].removeprefix("file://"))
    assert "const FACTS" in page.read_text("utf-8")
    page.unlink()
