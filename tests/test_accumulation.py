"""Micro-batches and workers of unequal size give the whole batch's gradient, because sum and weight travel apart."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

import lossary

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
import torch.multiprocessing as mp  # noqa: E402

from lossary.nn.distributed import data_parallel_mean  # noqa: E402
from workers import PAD, network, sentences, values, work  # noqa: E402


def whole_gradient() -> tuple[float, list[Any]]:
    x, labels = sentences()
    model = network()
    loss = lossary.mean(values(model, x, labels), mask=labels != PAD)
    loss.backward()
    return loss.item(), [p.grad for p in model.parameters()]


def assert_same(found: list[Any], expected: list[Any]) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-15)


def test_micro_batches_of_10_and_2_tokens_give_the_gradient_of_the_batch() -> None:
    x, labels = sentences()
    mask = labels != PAD
    assert mask.sum(1).tolist() == [10, 2]
    loss, expected = whole_gradient()
    model, parts = network(), []
    for i in range(2):
        part = lossary.mean(
            values(model, x[i : i + 1], labels[i : i + 1]), mask=mask[i : i + 1], denominator=mask.sum()
        )
        part.backward()
        parts.append(part.item())
    assert sum(parts) == pytest.approx(loss, rel=1e-15)
    assert_same([p.grad for p in model.parameters()], expected)


def test_sums_and_weights_may_be_divided_when_all_have_arrived() -> None:
    x, labels = sentences()
    loss, expected = whole_gradient()
    model, sums, counts = network(), [], []
    for i in range(2):
        summed, count = lossary.total(values(model, x[i : i + 1], labels[i : i + 1]), mask=labels[i : i + 1] != PAD)
        summed.backward()
        sums.append(summed.item())
        counts.append(float(count))
    assert counts == [10.0, 2.0]
    assert sum(sums) / sum(counts) == pytest.approx(loss, rel=1e-15)
    assert_same([p.grad / sum(counts) for p in model.parameters()], expected)


def test_the_mean_of_means_would_be_another_gradient() -> None:
    """What frameworks do by default, so that a test that passed by accident would be noticed."""
    x, labels = sentences()
    _, expected = whole_gradient()
    model = network()
    for i in range(2):
        (lossary.mean(values(model, x[i : i + 1], labels[i : i + 1]), mask=labels[i : i + 1] != PAD) / 2).backward()
    assert not torch.allclose(model.weight.grad, expected[0], rtol=0.1)


def test_without_workers_it_is_the_mean() -> None:
    v = torch.tensor([1.0, 4.0, float("nan")], requires_grad=True)
    mask = torch.tensor([True, True, False])
    mean = data_parallel_mean(v, weight=torch.tensor([3.0, 1.0, 1.0]), mask=mask)
    mean.backward()
    assert mean.item() == 1.75 and v.grad.tolist() == [0.75, 0.25, 0.0]


def test_a_whole_number_of_tokens_divides_as_exactly_as_any() -> None:
    x = torch.linspace(-3, 3, 50_000, dtype=torch.float64)
    target = torch.zeros_like(x)
    _, summed = lossary.huber.value_and_grad(x, target, reduction="sum")
    _, grad = lossary.huber.value_and_grad(x, target, reduction="mean", denominator=torch.tensor(7))
    torch.testing.assert_close(grad, summed / 7, rtol=1e-15, atol=0)


# --- two processes ---------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="this build of torch has no gloo")
def test_two_workers_give_the_gradient_of_the_batch(tmp_path: Path) -> None:
    mp.spawn(work, args=(free_port(), str(tmp_path)), nprocs=2)
    loss, expected = whole_gradient()
    for rank in range(2):
        results = torch.load(tmp_path / f"{rank}.pt")
        assert results["loss"] == pytest.approx(loss, rel=1e-15)
        assert_same(results["averaged"], expected)
        assert_same(results["summed"], expected)
        assert results["nothing"] == 0.0
        assert all((grad == 0).all() for grad in results["zero"])
