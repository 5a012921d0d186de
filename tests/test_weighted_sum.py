"""A total that remembers its terms."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
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


# --- as a number ----------------------------------------------------------------------------------------------------

TERMS = {"data": 4.0, "size": (0.5, 6.0)}  # 7 together
KEEPS = [
    (lambda x: x / 4, 1 / 4),
    (lambda x: x * 2, 2),
    (lambda x: 2 * x, 2),
    (lambda x: -x, -1),
    (lambda x: +x, 1),
    (lambda x: x * np.float32(0.5), 0.5),
]
FORGETS = [
    lambda x: x + 1,
    lambda x: 1 + x,
    lambda x: x - 1,
    lambda x: 1 - x,
    lambda x: 14 / x,
    lambda x: x**2,
    lambda x: 2**x,
    lambda x: x // 2,
    lambda x: 20 // x,
    lambda x: x % 4,
    lambda x: 20 % x,
    lambda x: abs(x),
    lambda x: x + x,
    lambda x: x * x,
    lambda x: x / x,
    lambda x: sum([x, x, x]),
    lambda x: x * 0,
    lambda x: np.float64(2.0) * x,
    lambda x: np.float64(2.0) - x,
    lambda x: np.sqrt(x),
    lambda x: np.add(x, x),
]


@pytest.mark.parametrize("number", [float, np.float64, np.float32])
def test_arithmetic_is_that_of_the_total(number: Any) -> None:
    result = lossary.weighted_sum(data=number(4.0), size=(0.5, number(6.0)))
    for operation in FORGETS:
        found = operation(result)
        assert not isinstance(found, type(result))
        assert found == operation(result.total) and type(found) is type(operation(result.total))
    for operation, factor in KEEPS:
        found = operation(result)
        assert found.total == operation(result.total)
        assert type(found.total) is type(operation(result.total))
        assert dict(found.raw) == dict(result.raw)
        assert dict(found.weights) == {"data": factor, "size": 0.5 * factor}
        assert dict(found.weighted) == {"data": 4.0 * factor, "size": 3.0 * factor}
        assert sum(found.weighted.values()) == float(found)


def test_comparisons_conversions_and_formats_are_those_of_the_total() -> None:
    result = lossary.weighted_sum(**TERMS)
    assert result == 7 and result != 8 and 6 < result < 8 and 7 <= result <= 7 and not result > 7
    assert result == lossary.weighted_sum(other=7.0)
    assert (float(result), int(result), bool(result), result.item(), round(result, 1)) == (7.0, 7, True, 7.0, 7.0)
    assert not lossary.weighted_sum(nothing=0.0)
    assert f"{result:.3f} {result:g}" == "7.000 7" and f"{result}" == str(result)
    assert repr(result / 2) == "<WeightedSum 3.5: data=2, size=1.5>"
    assert math.isfinite(result) and np.isfinite(result) and max(result, 3) is result
    assert np.asarray(result).shape == () and np.mean([result, result]) == 7.0
    assert len({result, result}) == 1


def test_a_running_total_is_a_plain_number() -> None:
    total: Any = 0.0
    for _ in range(3):
        total += lossary.weighted_sum(**TERMS) / 3
    assert type(total) is float and total == pytest.approx(7.0)
    result: Any = lossary.weighted_sum(**TERMS)
    first = result
    result += 1
    assert result == 8 and first == 7


def test_a_sum_is_a_term_of_another() -> None:
    outer = lossary.weighted_sum(inner=lossary.weighted_sum(**TERMS), size=(2.0, lossary.weighted_sum(**TERMS)))
    assert outer == 21 and type(outer.raw["inner"]) is float


def test_it_survives_copying_and_pickling() -> None:
    result = lossary.weighted_sum(**TERMS) / 2
    for twin in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert str(twin) == str(result) and dict(twin.weights) == dict(result.weights) and type(twin) is type(result)
        with pytest.raises(TypeError):
            twin.raw["data"] = 2.0
