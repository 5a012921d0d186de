"""Losses as objects: forward and backward are value and gradient, divided by what was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossary
from lossary.errors import ArgumentError, ParameterError
from lossary.testing import random_arrays
from lossary.training import Criterion, Linear, SigmoidCrossEntropy, SoftmaxCrossEntropy

LOGITS = np.array([[2.0, -1.0, 0.5], [-30.0, 800.0, -800.0], [0.0, 0.1, 0.2], [1.0, 1.0, -1.0]])
LABELS = np.eye(3)[[0, 1, 2, 0]]


@pytest.mark.parametrize("name", lossary.names())
def test_every_loss_is_an_object_with_forward_and_backward(name: str) -> None:
    loss = lossary.get(name)
    arrays = random_arrays(loss, np.random.default_rng(0))
    with lossary.checks("shapes"):  # random arrays are no misuse
        criterion = Criterion(name)
        found, gradient = criterion.forward(*arrays), criterion.backward()
        value, expected = loss.value_and_grad(*arrays, reduction="mean")
        np.testing.assert_allclose(found, value, rtol=1e-12)
        np.testing.assert_array_equal(criterion.values, loss(*arrays))
    parts = [each if isinstance(each, tuple) else (each,) for each in (gradient, expected)]
    for ours, theirs in zip(*parts, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("divide_by", "denominator"), [("examples", 12.0), ("rows", 4.0), ("nothing", 1.0)])
def test_what_the_sum_is_divided_by(divide_by: Any, denominator: float) -> None:
    criterion = Criterion("binary_cross_entropy_with_logits", divide_by=divide_by)
    value = criterion.forward(LOGITS, LABELS)
    assert criterion.denominator == denominator
    np.testing.assert_allclose(value, criterion.values.sum() / denominator, rtol=1e-14)
    probabilities = np.where(LOGITS > 0, 1 / (1 + np.exp(-np.abs(LOGITS))), 1 - 1 / (1 + np.exp(-np.abs(LOGITS))))
    np.testing.assert_allclose(criterion.backward(), (probabilities - LABELS) / denominator, atol=1e-14)


def test_padding_takes_no_part() -> None:
    criterion = Criterion("squared_error")
    pred, target = np.array([1.0, np.nan, 3.0]), np.array([2.0, 0.0, 5.0])
    assert criterion.forward(pred, target, mask=[True, False, True]) == 2.5
    assert criterion.denominator == 2
    np.testing.assert_array_equal(criterion.backward(), [-1.0, 0.0, -2.0])
    assert criterion.forward(pred, target, mask=[False] * 3) == 0
    np.testing.assert_array_equal(criterion.backward(), [0.0, 0.0, 0.0])
    assert criterion.forward(np.array([1.0, 2.0]), np.zeros(2), weight=[3.0, 1.0]) == 7 / 4
    np.testing.assert_array_equal(criterion.backward(), [1.5, 1.0])


@pytest.mark.parametrize("kind", [SigmoidCrossEntropy, SoftmaxCrossEntropy])
def test_the_cross_entropies_of_a_tutorial_run_line_by_line(kind: type[SigmoidCrossEntropy]) -> None:
    """Written as a tutorial writes them, with layers that add to their gradients."""
    layer = Linear(3, 3, seed=1)
    criterion = kind(layer.parameters, weight_decay=1e-5)
    x = np.random.default_rng(0).normal(size=(4, 3))

    logits = layer.forward(x)
    loss = criterion.forward(logits, LABELS)
    for parameter in layer.parameters:  # zero_grad
        parameter.grad = np.zeros_like(parameter.value)
    grad = criterion.backward()

    e = np.exp(logits)
    predict = 1 / (1 + 1 / e) if kind is SigmoidCrossEntropy else e / e.sum(axis=1, keepdims=True)
    entries = LABELS * np.log(predict)
    if kind is SigmoidCrossEntropy:
        entries += (1 - LABELS) * np.log(1 - predict)
    np.testing.assert_allclose(criterion.predict, predict, rtol=1e-12)
    np.testing.assert_allclose(loss, -entries.sum() / 4, rtol=1e-12)
    np.testing.assert_allclose(grad, (predict - LABELS) / 4, rtol=1e-10)
    np.testing.assert_allclose(layer.weight.grad, 1e-5 * layer.weight.value, rtol=1e-14)
    assert not layer.bias.grad.any()  # a bias is not shrunk
    np.testing.assert_allclose(criterion.decay_loss(), 1e-5 * (layer.weight.value**2).sum() / 2, rtol=1e-12)


def test_what_overflows_by_the_textbook_stays_finite() -> None:
    far = np.array([[1000.0, -1000.0]])
    assert SigmoidCrossEntropy().sigmoid(far).tolist() == [[1.0, 0.0]]
    assert SoftmaxCrossEntropy().softmax(far).tolist() == [[1.0, 0.0]]
    assert SigmoidCrossEntropy().forward(far, np.array([[0.0, 1.0]])) == 2000.0
    assert SoftmaxCrossEntropy().forward(far, np.array([[0.0, 1.0]])) == 2000.0


def test_misuse_is_told_with_what_to_do() -> None:
    with pytest.raises(ArgumentError, match="backward: there is nothing to differentiate; call forward"):
        Criterion("mse").backward()
    with pytest.raises(ParameterError, match="divide_by: got 'row', expected one of examples, rows, nothing: did you"):
        Criterion("mse", divide_by="row")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"label_onehot: got shape \(4,\).*numpy.eye\(classes\)\[indices\]"):
        SoftmaxCrossEntropy().forward(LOGITS, [0, 1, 2, 0])
    with pytest.raises(ParameterError, match="weight_decay: got -1"):
        SoftmaxCrossEntropy(weight_decay=-1)
