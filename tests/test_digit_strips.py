"""The digit strips of the examples: the data, the gradients of the readers, the command and its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples.digit_strips.__main__ import main
from examples.digit_strips.comparison import compare_strips, edit_distance
from examples.digit_strips.readers import MOST_PER_FRAME, READERS, TransducerReader
from examples.digit_strips.strips import BLANK, Strips, digit_strips

from lossary.errors import ParameterError


def few(count: int = 4, seed: int = 3) -> Strips:
    return digit_strips(count, shortest=2, longest=4, seed=seed)


def test_a_strip_holds_its_digits_one_after_the_other_and_nothing_between_them() -> None:
    found = digit_strips(50)
    for at in range(len(found)):
        width, columns = found.widths[at], found.columns[at]
        assert not found.frames[at, width:].any()
        assert not found.frames[at][columns == BLANK].any()
        assert (columns[:width] != BLANK).sum() == 8 * found.counts[at]
        digits = columns[:width][columns[:width] != BLANK][::8] - 1
        assert digits.tolist() == found.digits(at)
    assert set(found.counts) == {3, 4, 5, 6, 7, 8}
    assert (found.labels[np.arange(found.labels.shape[1]) >= found.counts[:, None]] == -1).all()


def test_held_out_strips_are_of_other_images() -> None:
    def images(held_out: bool) -> set[bytes]:
        found = digit_strips(300, held_out=held_out, widest_gap=0, seed=1)
        return {
            found.frames[at, 8 * k : 8 * k + 8].tobytes() for at in range(len(found)) for k in range(found.counts[at])
        }

    seen, unseen = images(False), images(True)
    assert len(seen) > 500
    assert len(unseen) > 300
    assert not seen & unseen


def test_the_same_seed_gives_the_same_strips() -> None:
    assert np.array_equal(few(seed=5).frames, few(seed=5).frames)
    assert not np.array_equal(few(seed=5).labels, few(seed=6).labels)


@pytest.mark.parametrize("name", list(READERS))
def test_the_gradient_of_every_parameter_is_that_of_finite_differences(name: str) -> None:
    reader: Any = READERS[name](0)
    for parameter in reader.parameters:  # twice the digits, or the differences would be of roundings
        parameter.value = parameter.value.astype(np.float64)
    batch = few(2)
    batch = Strips(batch.frames.astype(np.float64), batch.widths, batch.labels, batch.counts, batch.columns)
    reader.step(batch)
    grads = [parameter.grad.copy() for parameter in reader.parameters]
    rng = np.random.default_rng(0)
    for parameter, grad in zip(reader.parameters, grads, strict=True):
        largest = np.unravel_index(np.abs(grad).argmax(), grad.shape)
        for at in (largest, tuple(rng.integers(n) for n in grad.shape)):
            held, h = parameter.value[at], 1e-5
            ends = []
            for moved in (held + h, held - h):
                parameter.value[at] = moved
                ends.append(reader.step(batch))
            parameter.value[at] = held
            assert grad[at] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-8), parameter.name


def test_the_transducer_emits_a_few_digits_per_column_and_stops() -> None:
    reader = TransducerReader(0)
    batch = few(1)
    reader.joint.weight.value[:] = 0
    reader.joint.bias.value[:] = -1.0
    reader.joint.bias.value[BLANK] = 1.0
    assert reader.read(batch) == [[]]
    reader.joint.bias.value[5] = 2.0  # always a 4: no more than a few at each column, and an end
    assert reader.read(batch) == [[4] * (MOST_PER_FRAME * int(batch.widths[0]))]


def test_a_reader_learns_to_read() -> None:
    """Per column, the quickest of the three, over few strips."""
    result = compare_strips(["softmax_cross_entropy"], train=150, test=40, epochs=12)
    (row,) = result.rows
    assert row.curve[-1] < 0.4 * row.curve[0]
    assert row.digit_error_rate[0] < 1


@pytest.mark.parametrize(
    ("found", "target", "distance"),
    [([], [], 0), ([1], [], 1), ([], [1, 2], 2), ([1, 2, 3], [1, 3], 1), ([1, 2], [2, 1], 2), ([4, 4], [4, 5], 1)],
)
def test_edit_distance(found: list[int], target: list[int], distance: int) -> None:
    assert edit_distance(found, target) == distance == edit_distance(target, found)


def test_refusals() -> None:
    with pytest.raises(ParameterError, match="huber cannot read strips"):
        compare_strips(["huber"])
    with pytest.raises(ParameterError, match="epochs=0"):
        compare_strips(epochs=0)
    with pytest.raises(ParameterError, match="shortest=5"):
        digit_strips(3, shortest=5, longest=4)


def test_the_command_writes_numbers_and_a_page_that_stands_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    page, numbers = tmp_path / "strips.html", tmp_path / "strips.json"
    main(["--epochs", "1", "--train", "40", "--test", "12", "--report", str(page), "--json", str(numbers)])
    assert "rnnt" in capsys.readouterr().out
    assert [row["loss"] for row in json.loads(numbers.read_text())["rows"]] == list(READERS)
    text = page.read_text()
    assert text.count("<svg") >= 6
    assert "http" not in text.replace("http://www.w3.org", "")
    with pytest.raises(SystemExit):
        main(["--loss", "huber"])
    assert "huber cannot read strips" in capsys.readouterr().err


def test_the_readme_names_the_command_and_every_file() -> None:
    folder = Path(__file__).parents[1] / "examples" / "digit_strips"
    text = (folder / "README.md").read_text()
    assert "python -m examples.digit_strips" in text
    for file in folder.iterdir():
        if file.is_file() and file.name not in ("README.md", "__init__.py", "__main__.py"):
            assert f"`{file.name}`" in text, f"the README does not name {file.name}"
