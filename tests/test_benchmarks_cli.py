"""``python -m benchmarks`` as a user meets it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks import peers
from benchmarks.__main__ import app
from benchmarks.cases import BOTH, VALUE, Contender
from benchmarks.contenders import LossProblem
from benchmarks.report import Report
from benchmarks.suites import SUITES
from typer.testing import CliRunner, Result

ONE = ("--suite", "pointwise", "--loss", "huber", "--size", "200", "--against", "numpy,sklearn", "--minutes", "0")


def run(*words: str, columns: int | None = None) -> Result:
    env = {"COLUMNS": None if columns is None else str(columns), "NO_COLOR": None, "FORCE_COLOR": None}
    return CliRunner().invoke(app, words, env=env, prog_name="python -m benchmarks")


def said(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*words: str) -> str:
    result = run(*words)
    assert result.exit_code == 2 and "Traceback" not in result.output, result.output
    return result.stderr


def test_a_measurement_is_printed_and_written_and_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    first = said(*ONE, "--no-memory", "--out", str(folder))
    assert "value and gradient" in first and "NumPy formula" in first and "the time of Lossary" in first
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "pointwise-float32.md",
        "pointwise-float32.json",
        "pointwise-float32.svg",
    }
    report = Report.read(folder / "pointwise-float32.json")
    assert [row.mode for row in report.rows] == [VALUE, BOTH] and set(report.keys) == {
        "arrays", "out", "tensors", "nn", "numpy", "sklearn",
    }  # fmt: skip
    assert "pointwise-float32.md" in (folder / "README.md").read_text()
    again = said("--read", str(folder / "pointwise-float32.json"), "--out", str(tmp_path / "copy"))
    assert again.partition("written")[0] in first
    for name in ("pointwise-float32.md", "pointwise-float32.svg", "pointwise-float32.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()


def test_several_types_make_several_reports(tmp_path: Path) -> None:
    said(*ONE, "--no-memory", "--dtype", "float64", "--dtype", "bfloat16", "--out", str(tmp_path))
    types = {json.loads(path.read_text())["dtype"] for path in tmp_path.glob("*.json")}
    assert types == {"float64", "bfloat16"}
    (tmp_path / "other.json").write_text("{}")
    said(*ONE, "--no-memory", "--out", str(tmp_path))
    assert (tmp_path / "README.md").read_text().count("](pointwise-") == 6, "of earlier runs too, two modes each"


def test_a_mistake_of_ours_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LossProblem, "_arrays", lambda self, out=None: Contender({VALUE: lambda: 7.0}))
    result = run(*ONE, "--no-memory")
    assert result.exit_code == 1 and "not measured: Lossary (NumPy), huber 200, value: its value is 7" in result.stdout


def test_help_teaches_how_to_read_a_ratio() -> None:
    text = " ".join(said("--help").split())
    for words in (
        "time of the peer divided by Lossary's",
        "3.0x",
        "twice as fast",
        "nobody won",
        "--quick",
        "--against",
    ):
        assert words in text


def test_the_list_names_suites_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.PEERS, "jax", replace(peers.PEERS["jax"], modules=("no_such_module",)))
    text = said("--list")
    assert all(f"{name}: {suite.summary}" in text for name, suite in SUITES.items())
    assert "--against jax: JAX jit + optax, not installed: pip install jax optax" in text


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("--suite", "pointwize"), 'unknown "pointwize": did you mean pointwise'),
        (("--loss", "hubber"), '"hubber" is in none of these suites: did you mean huber'),
        (("--suite", "rows", "--loss", "huber"), '"huber" is in none of these suites'),
        (("--size", "2048X3"), 'got "2048X3", expected numbers with x between them'),
        (("--size", "0"), "expected numbers"),
        (("--suite", "rows", "--size", "12"), "rows: --size 12: expected rows x classes"),
        (("--dtype", "int8"), 'unknown "int8"; expected float32, float64, bfloat16 or all'),
        (("--suite", "start", "--dtype", "float64"), "start: has no float64"),
        (("--suite", "pointwise", "--against", "tensorflow"), 'unknown peer "tensorflow"'),
        (("--read", "nowhere.json"), "nowhere.json: cannot be read"),
    ],
)
def test_wishes_that_cannot_be_met_are_one_line(words: tuple[str, ...], answer: str) -> None:
    sentence = refused(*words)
    assert sentence.startswith("error: ") and answer in " ".join(sentence.split())


def test_a_missing_peer_that_was_asked_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.PEERS, "jax", replace(peers.PEERS["jax"], modules=("no_such_module",)))
    assert "JAX jit + optax is not installed: pip install jax optax" in refused("--suite", "rows", "--against", "jax")


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = tmp_path / "file"
    taken.write_text("")

    def measure(*_: Any, **__: Any) -> Any:
        raise AssertionError("measured")

    monkeypatch.setattr("benchmarks.engine.measure", measure)
    assert "cannot be written" in refused(*ONE, "--out", str(taken))


def test_a_narrow_terminal_is_met() -> None:
    result = run(*ONE, "--no-memory", columns=60)
    assert result.exit_code == 0
