"""Gradient and Hessian diagonal from one pass: those of two, on arrays and tensors, by kernels and by definitions."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lossary
from by_kernel import by_definition, by_kernel, runs_definition, tuple_of
from lossary.catalogue import Loss
from lossary.testing import random_arrays

TWICE = [loss for loss in map(lossary.get, lossary.names()) if loss.derivatives > 1]
every_loss = pytest.mark.parametrize("loss", TWICE, ids=lambda loss: loss.name)
# A loss on numbers, one of two arguments, and one on rows.
SOME = ["binary_cross_entropy_with_logits", "gaussian_nll", "brier"]
OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "weighted mean": {"weight": np.linspace(0, 2, 12), "reduction": "mean"},
    "masked sum": {"mask": np.arange(12) % 3 > 0, "reduction": "sum"},
    "all at once": {"weight": np.linspace(2, 0, 12), "mask": np.arange(12) > 2, "reduction": "mean", "denominator": 7},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
with_kernels = pytest.mark.skipif(not importlib.util.find_spec("numba"), reason="kernels need the fast extra")


def drawn(loss: Loss, alternative: int, count: int = 12) -> list[Any]:
    rng = np.random.default_rng([5, *loss.name.encode()])
    return random_arrays(loss, rng, count, alternative=alternative)


def both(loss: Loss, arrays: list[Any], options: Any) -> list[Any]:
    """Gradients, then Hessians, of one pass."""
    grad, hess = loss.grad_hess(*arrays, **options)
    return [*tuple_of(grad), *tuple_of(hess)]


def apart(loss: Loss, arrays: list[Any], options: Any) -> list[Any]:
    """The same of two calls."""
    return [*tuple_of(loss.grad(*arrays, **options)), *tuple_of(loss.hess(*arrays, **options))]


@every_option
@every_loss
def test_one_pass_of_a_definition_gives_what_two_give(loss: Loss, options: Any) -> None:
    for alternative in range(len(loss.signatures)):
        arrays = drawn(loss, alternative)
        found, expected = (by_definition(lambda way=way, x=arrays: way(loss, x, options)) for way in (both, apart))
        assert len(found) == 2 * len(loss.wrt)
        for got, reference in zip(found, expected, strict=True):
            np.testing.assert_array_equal(got, reference)
            assert got.dtype == reference.dtype


@every_loss
def test_tensors_have_those_of_arrays(loss: Loss) -> None:
    """Autograd is not asked for what the definition gives."""
    torch = pytest.importorskip("torch")
    arrays = drawn(loss, 0)
    expected = by_definition(lambda: both(loss, arrays, {}))
    found = by_definition(lambda: both(loss, [torch.as_tensor(x) for x in arrays], {}))
    for got, reference in zip(found, expected, strict=True):
        assert isinstance(got, torch.Tensor) and not got.requires_grad
        np.testing.assert_allclose(got.numpy(), reference, rtol=1e-10, atol=1e-13)


def test_a_definition_is_run_once_for_both() -> None:
    runs: list[Any] = []

    def counted(xp: Any, pred: Any, target: Any, *, delta: float = 1.0) -> Any:
        runs.append(pred)
        yield from lossary.huber.define(xp, pred, target, delta=delta)

    loss = replace(lossary.huber, define=counted)
    by_definition(lambda: loss.grad_hess([0.5, 3.0], [0.0, 0.0]))
    assert len(runs) == 1


@with_kernels
@every_option
@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("tensors", [False, True], ids=["arrays", "tensors"])
def test_a_kernel_gives_both_in_one_pass(name: str, options: Any, tensors: bool) -> None:
    loss = lossary.get(name)
    arrays = drawn(loss, 0)
    expected = by_definition(lambda: apart(loss, arrays, options))
    if tensors:
        torch = pytest.importorskip("torch")
        arrays = [torch.as_tensor(x) for x in arrays]
        options = {k: torch.as_tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    found = by_kernel(lambda: both(loss, arrays, options))
    for got, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(got), reference, rtol=1e-11, atol=1e-14)
    assert not runs_definition(loss, lambda: both(loss, arrays, options))


@with_kernels
@pytest.mark.parametrize("name", SOME)
def test_one_pass_of_a_kernel_gives_what_two_give(name: str) -> None:
    loss = lossary.get(name)
    arrays = drawn(loss, 0, 140)
    found, expected = (by_kernel(lambda way=way: way(loss, arrays, {})) for way in (both, apart))
    for got, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, reference, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32"])
def test_both_come_in_the_type_of_the_prediction(kind: str) -> None:
    torch = pytest.importorskip("torch")
    dtype = getattr(torch, kind)
    x, y = torch.linspace(-3, 3, 40).to(dtype), torch.zeros(40).to(dtype)
    expected = by_definition(lambda: lossary.log_cosh.grad_hess(x.double(), y.double()))
    for way in (by_kernel, by_definition):
        for got, reference in zip(way(lambda: lossary.log_cosh.grad_hess(x, y)), expected, strict=True):
            assert got.dtype == dtype
            accuracy = 2 * torch.finfo(dtype).eps
            torch.testing.assert_close(got.double(), reference, rtol=accuracy, atol=accuracy)


def test_a_row_of_weight_zero_has_neither_whatever_it_holds() -> None:
    x, y, keep = np.array([1.0, np.nan, 3.0]), np.zeros(3), np.array([True, False, True])
    for way in (by_kernel, by_definition):
        grad, hess = way(lambda: lossary.log_cosh.grad_hess(x, y, mask=keep))
        assert grad[1] == hess[1] == 0 and np.isfinite(grad).all() and hess[0] > 0


def test_a_loss_without_a_hessian_is_refused() -> None:
    once = next(loss for loss in map(lossary.get, lossary.names()) if loss.derivatives == 1 and not loss.coupling)
    with pytest.raises(lossary.errors.ArgumentError, match=f"{once.name}: has no Hessian"):
        once.grad_hess(*random_arrays(once, np.random.default_rng(0)))


def test_the_function_and_the_method_are_one() -> None:
    for name in ("huber", lossary.huber):
        grad, hess = lossary.grad_hess(name, [0.5, 3.0], [0.0, 0.0], delta=2.0)
        assert grad.tolist() == [0.5, 2.0] and hess.tolist() == [1.0, 0.0]
