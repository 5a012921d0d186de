"""A total that remembers its terms."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.errors import ArgumentError, ParameterError, ShapeError


def test_the_total_is_the_sum_of_weight_times_value() -> None:
    result = lossary.weighted_sum(data=0.5, size=(0.01, 30.0), entropy=(-0.1, 2.0))
    assert float(result) == result.total == 0.5 + 0.01 * 30.0 - 0.1 * 2.0
    assert dict(result.weights) == {"data": 1.0, "size": 0.01, "entropy": -0.1}
    assert dict(result.raw) == {"data": 0.5, "size": 30.0, "entropy": 2.0}
    assert dict(result.weighted) == {"data": 0.5, "size": 0.01 * 30.0, "entropy": -0.2}
    assert result.first_nonfinite is None


def test_reduced_losses_are_terms_and_keep_their_type() -> None:
    data = lossary.mean(lossary.huber(np.float32([1.0, 3.0]), np.float32([0.0, 0.0])))
    penalty, _ = lossary.l2_penalty.value_and_grad(np.float32([2.0, 2.0]), reduction="sum")
    result = lossary.weighted_sum(data=data, size=(0.5, penalty))
    assert result.total.dtype == np.float32
    assert float(result) == 1.5 + 0.5 * 4.0


def test_a_tensor_total_can_be_differentiated_and_read() -> None:
    torch = pytest.importorskip("torch")
    x = torch.tensor(3.0, requires_grad=True)
    result = lossary.weighted_sum(data=x * x, size=(0.5, x))
    result.total.backward()
    assert x.grad.item() == 6.5
    assert float(result) == 10.5 and "10.5" in str(result) and result.first_nonfinite is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_term_that_is_not_finite_is_named(bad: float) -> None:
    result = lossary.weighted_sum(data=1.0, size=(0.1, bad), other=math.nan)
    assert result.first_nonfinite == "size"
    assert not math.isfinite(float(result))
    assert "not finite: size" in str(result)


def test_a_contribution_that_overflows_is_found_too() -> None:
    result = lossary.weighted_sum(data=1.0, size=(10.0, 1e308))
    assert result.first_nonfinite == "size" and math.isfinite(result.raw["size"])


def test_weight_zero_adds_exactly_nothing_but_the_term_is_still_named() -> None:
    result = lossary.weighted_sum(data=1.0, broken=(0.0, math.nan))
    assert float(result) == 1.0 and result.weighted["broken"] == 0.0
    assert result.first_nonfinite == "broken"


def test_the_table_lines_up_and_ends_with_the_total() -> None:
    lines = str(lossary.weighted_sum(data=0.5, a_long_name=(1e-4, 12345.678))).splitlines()
    assert [line.split() for line in lines] == [
        ["term", "weight", "value", "weighted"],
        ["data", "1", "0.5", "0.5"],
        ["a_long_name", "0.0001", "12345.7", "1.23457"],
        ["total", "1.73457"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_the_result_is_frozen() -> None:
    result = lossary.weighted_sum(data=1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.total = 2.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        result.raw["data"] = 2.0  # type: ignore[index]


@pytest.mark.parametrize(
    ("terms", "error", "sentence"),
    [
        ({}, ArgumentError, "no terms were given"),
        ({"data": (1.0, 2.0, 3.0)}, ArgumentError, "data: got a tuple of 3, expected a value or a pair"),
        ({"data": ("half", 2.0)}, ArgumentError, r"data: got a weight of type str.*\(weight, value\)"),
        ({"data": (True, 2.0)}, ArgumentError, "data: got a weight of type bool"),
        ({"data": (np.ones(2), 2.0)}, ArgumentError, "data: got a weight of type ndarray"),
        ({"data": (math.nan, 2.0)}, ParameterError, "data: got the weight nan, expected a finite number"),
        ({"data": (math.inf, 2.0)}, ParameterError, "data: got the weight inf"),
        ({"data": [1.0, 2.0]}, ArgumentError, "data: got list, expected a single number; reduce it first"),
        ({"data": None}, ArgumentError, "data: got NoneType"),
        ({"data": "0.5"}, ArgumentError, "data: got str"),
        ({"data": np.ones(3)}, ShapeError, r"data: got an array of shape \(3,\).*lossary.mean"),
        ({"fine": 1.0, "size": (0.1, np.ones((2, 1)))}, ShapeError, r"size: got an array of shape \(2, 1\)"),
    ],
)
def test_wrong_terms_are_refused_with_a_sentence(terms: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        lossary.weighted_sum(**terms)
