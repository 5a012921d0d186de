"""Every loss can be explained and diagnosed, in both languages, whatever its arrays hold; and what is said is true."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lossary
from lossary import inspect
from lossary.catalogue import Loss
from lossary.errors import DomainError, LossaryError
from lossary.testing import random_arrays

ALTERNATIVES = [
    (lossary.get(name), number)
    for name in lossary.names()
    for number in range(1 if lossary.get(name).coupling else len(lossary.get(name).signatures))
]
every_loss = pytest.mark.parametrize(
    ("loss", "number"), ALTERNATIVES, ids=[f"{loss.name}-{number}" for loss, number in ALTERNATIVES]
)
BATCH = 3


def arrays_of(loss: Loss, number: int) -> list[Any]:
    return random_arrays(loss, np.random.default_rng(11), batch=BATCH, alternative=number)


def changed(arrays: list[Any], at: int, value: float) -> list[Any]:
    copies = [np.array(a) for a in arrays]
    copies[at].reshape(-1)[0] = value
    return copies


def cases(loss: Loss, number: int) -> Iterator[tuple[str, list[Any], dict[str, Any]]]:
    arrays = arrays_of(loss, number)
    yield "plain", arrays, {}
    if loss.coupling is None:
        yield "one example", [a[0] for a in arrays], {}
        yield "no example", [a[:0] for a in arrays], {}
        yield "masked", arrays, {"mask": [False, True, True]}
        yield "all masked", arrays, {"mask": [False] * BATCH}
    for at, name in enumerate(loss.arguments):
        if arrays[at].dtype.kind == "f":
            yield f"NaN in {name}", changed(arrays, at, math.nan), {}
            yield f"-inf in {name}", changed(arrays, at, -math.inf), {}
        if loss.domain(name, number).kind == "index":
            yield f"padding in {name}", changed(arrays, at, -100), {}
            yield f"class 99 in {name}", changed(arrays, at, 99), {}


@every_loss
def test_every_case_is_told_in_both_languages(loss: Loss, number: int) -> None:
    for turn, (case, arrays, options) in enumerate(cases(loss, number)):
        lang = ("en", "zh")[turn % 2]
        found = lossary.diagnose(loss, *arrays, lang=lang, **options)  # type: ignore[arg-type]
        assert str(found), case
        json.dumps(found.to_dict())
        rules = [f.sentence for f in found.findings]
        assert len(set(rules)) == len(rules), f"{case}: nothing is said twice"
        try:
            board = lossary.explain(loss, *arrays, lang=lang, **options)  # type: ignore[arg-type]
        except LossaryError as refusal:  # what a call refuses is found by a diagnosis, in the same words
            assert isinstance(refusal, DomainError), case
            assert any(f.refused and str(refusal).startswith(f.sentence[:40]) for f in found.findings), case
        else:
            assert str(board), case
            assert not any(f.refused for f in found.findings), case
            expected = loss.value(*arrays, reduction="mean", **options)
            np.testing.assert_allclose(board.value, expected, rtol=1e-12)
        if case == "all masked":
            assert found.counted == 0


@every_loss
def test_tensors_of_every_kind_are_read(loss: Loss, number: int) -> None:
    torch = pytest.importorskip("torch")
    arrays = arrays_of(loss, number)
    floats = [a.dtype.kind == "f" for a in arrays]
    exact = lossary.diagnose(loss, *arrays).value
    for dtype in (torch.float64, torch.bfloat16):
        tensors = [
            torch.tensor(a, dtype=dtype, requires_grad=True) if f else torch.tensor(a)
            for a, f in zip(arrays, floats, strict=True)
        ]
        assert math.isfinite(lossary.diagnose(loss, *tensors).value) == math.isfinite(exact)
        if dtype == torch.float64:
            assert lossary.diagnose(loss, *tensors).value == pytest.approx(exact)
            assert float(lossary.explain(loss, *tensors).value) == pytest.approx(exact)


def test_explain_reads_bfloat16() -> None:
    torch = pytest.importorskip("torch")
    z = torch.tensor([[1.0, 2.0]], dtype=torch.bfloat16, requires_grad=True)
    assert float(lossary.explain("softmax_cross_entropy", z, torch.tensor([0])).value) == pytest.approx(1.3132617)


# --- sequences -------------------------------------------------------------------------------------------------------


def test_a_target_that_does_not_fit_is_one_finding_and_its_sum_the_culprit() -> None:
    found = lossary.diagnose("ctc", np.zeros((2, 3, 4)), [[1, 1, 2], [1, 2, 3]], [3, 3], [3, 2])
    (finding,) = found.findings
    assert "a frame for each label" in str(finding)
    assert found.culprit is not None
    assert found.culprit.example == (0,)
    assert found.culprit.step == "log_likelihood"
    assert found.culprit.number == -math.inf


def test_a_chain_with_a_tag_that_is_none_is_diagnosed_without_it() -> None:
    emissions, moves = np.zeros((2, 3, 2)), np.zeros((2, 2))
    found = lossary.diagnose("linear_chain_crf", emissions, moves, [[0, 5, 0], [0, 1, 0]])
    (finding,) = found.findings
    assert "tags: got 5 at index (0, 1)" in str(finding)
    assert (found.counted, found.value) == (1, pytest.approx(3 * math.log(2)))
    alone = lossary.diagnose("linear_chain_crf", emissions[0], moves, tags=[0, 5, 0])
    assert alone.counted == 0


def test_an_infinite_logit_is_still_the_culprit() -> None:
    emissions = np.zeros((3, 2))
    emissions[1] = -math.inf
    found = lossary.diagnose("linear_chain_crf", emissions, np.zeros((2, 2)), [0, 1, 0])
    assert found.culprit is not None
    assert (found.culprit.step, found.culprit.entry) == ("emissions", (1, 0))


# --- what is shown once, or not at all ------------------------------------------------------------------------------


def test_nothing_is_shown_twice_or_done_to_nothing() -> None:
    rows = np.eye(3)
    board = lossary.explain("triplet_margin", rows[:1], rows[1:2], rows[2:])
    text = str(board)
    assert "minimum(" not in text
    assert "swapped" not in text
    assert text.count("norm_curvature(negative_direction, negative_distance):") == 1
    swapped = str(lossary.explain("triplet_margin", rows[:1], rows[1:2], rows[2:], swap=True))
    assert "minimum(negative_distance, swapped_distance)" in swapped


def test_a_chinese_word_is_the_right_one() -> None:
    text = str(lossary.explain("arcface", [[0.7, 0.2]], [0], lang="zh"))
    assert "cos_margin（间隔的余弦）" in text
    assert "is_label（是否标签）" in text
    assert "from_anchor（从锚点出发）" in str(
        lossary.explain("triplet_margin", [1.0, 0.0], [0.0, 1.0], [0.0, 0.0], lang="zh")
    )


def test_rows_that_sum_to_1_are_a_note_to_who_asks() -> None:
    softmax = [[0.1, 0.2, 0.7], [0.8, 0.1, 0.1]]
    found = lossary.diagnose("softmax_cross_entropy", softmax, [2, 0])
    assert bool(found), "few round rows are no evidence"
    assert "sum to 1" in found.notes[0]
    assert found.notes[0] in str(found)
    assert found.to_dict()["notes"] == list(found.notes)
    assert "和为 1" in str(lossary.diagnose("softmax_cross_entropy", softmax, [2, 0], lang="zh"))
    assert not lossary.diagnose("softmax_cross_entropy", [[0.1, 2.0, 0.7]], [2]).notes


def test_what_is_returned_is_of_public_classes_and_can_be_pickled() -> None:
    explanation = lossary.explain("huber", [0.5, 3.0], [0.0, 0.0])
    diagnosis = lossary.diagnose("bce", [0.2, 0.0], [0.0, 1.0])
    assert isinstance(explanation, inspect.Explanation) and isinstance(explanation.steps[0], inspect.Step)
    assert isinstance(diagnosis, inspect.Diagnosis) and isinstance(diagnosis.culprit, inspect.Culprit)
    assert isinstance(lossary.watch(), inspect.Watch)
    for given in (explanation, diagnosis):
        assert str(pickle.loads(pickle.dumps(given))) == str(given)
