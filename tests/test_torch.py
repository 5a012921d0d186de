"""Every loss of the catalogue on torch tensors: the hand-written gradient under everything autograd can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss
from lossary.testing import random_arrays, random_params

torch = pytest.importorskip("torch")

ALL = [lossary.get(name) for name in lossary.names()]
SMOOTH = [loss for loss in ALL if "evaluation" not in loss.properties]
every_loss = pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)
every_smooth_loss = pytest.mark.parametrize("loss", SMOOTH, ids=lambda loss: loss.name)
BATCH = 4


def case(loss: Loss, seed: int = 0, alternative: int = 0, params: bool = False) -> tuple[list[Any], dict[str, Any]]:
    rng = np.random.default_rng([seed, *loss.name.encode()])
    arrays = random_arrays(loss, rng, BATCH, alternative=alternative)
    if loss.coupling:
        arrays[-1] = np.array([0, 1, 0, 1])
    return arrays, random_params(loss, rng) if params else {}


def tuple_of(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def split(loss: Loss, arrays: list[Any]) -> tuple[tuple[Any, ...], Callable[..., Any]]:
    """Return the tensors to differentiate, and the loss as a function of them."""
    tensors = [torch.tensor(a) for a in arrays]
    places = [loss.arguments.index(name) for name in loss.wrt]

    def of(*moving: Any, **params: Any) -> Any:
        full = list(tensors)
        for place, x in zip(places, moving, strict=True):
            full[place] = x
        return loss(*full, **params)

    return tuple(tensors[p].clone().requires_grad_() for p in places), of


@every_loss
def test_values_and_gradients_equal_numpys(loss: Loss) -> None:
    for alternative in range(1 if loss.coupling else len(loss.signatures)):
        arrays, params = case(loss, 1, alternative, params=True)
        value, grads = loss.value_and_grad(*arrays, **params)
        moving, of = split(loss, arrays)
        theirs = of(*moving, **params)
        np.testing.assert_allclose(theirs.detach().numpy(), value, rtol=1e-12, atol=1e-14)
        found = (
            torch.autograd.grad(theirs.sum(), moving) if theirs.requires_grad else [torch.zeros_like(m) for m in moving]
        )
        for grad, reference in zip(found, tuple_of(grads), strict=True):
            np.testing.assert_allclose(grad.numpy(), reference, rtol=1e-11, atol=1e-14)
        direct = loss.value_and_grad(*(torch.tensor(a) for a in arrays), reduction="mean", **params)
        by_hand = loss.value_and_grad(*arrays, reduction="mean", **params)
        np.testing.assert_allclose(direct[0].numpy(), by_hand[0], rtol=1e-12, atol=1e-14)
        for ours, hand in zip(tuple_of(direct[1]), tuple_of(by_hand[1]), strict=True):
            np.testing.assert_allclose(ours.numpy(), hand, rtol=1e-11, atol=1e-14)


@every_smooth_loss
def test_gradcheck_and_gradgradcheck(loss: Loss) -> None:
    arrays, params = case(loss, 2, params=True)
    moving, of = split(loss, arrays)
    f = lambda *x: of(*x, **params)  # noqa: E731
    assert torch.autograd.gradcheck(f, moving, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, moving)


@every_smooth_loss
def test_torch_func(loss: Loss) -> None:
    arrays, _ = case(loss, 3)
    moving, of = split(loss, arrays)
    plain = tuple(m.detach() for m in moving)
    reference = torch.autograd.grad(of(*moving).sum(), moving)
    grads = torch.func.grad(lambda *x: of(*x).sum(), argnums=tuple(range(len(plain))))(*plain)
    for a, b in zip(grads, reference, strict=True):
        torch.testing.assert_close(a, b)
    jacobian = torch.func.jacrev(of)(*plain)
    torch.testing.assert_close(jacobian.sum(0), reference[0])
    forward = torch.func.jacfwd(of)(*plain)
    torch.testing.assert_close(forward, jacobian)
    hessian = torch.func.hessian(lambda *x: of(*x).sum())(*plain)
    if loss.derivatives > 1:
        n = plain[0].numel()
        diagonal = hessian.reshape(n, n).diagonal().reshape(plain[0].shape)
        curve = loss.hess(*arrays)
        torch.testing.assert_close(diagonal, torch.tensor(curve[0] if isinstance(curve, tuple) else curve))


@every_smooth_loss
def test_vmap_over_the_batch(loss: Loss) -> None:
    if loss.coupling:
        pytest.skip("a coupled loss needs its batch")
    arrays, _ = case(loss, 4)
    whole = {
        n for n, a, core in zip(loss.arguments, arrays, loss.signatures[0].inputs, strict=True) if a.ndim == len(core)
    }
    dims = tuple(None if n in whole else 0 for n in loss.arguments)
    tensors = [torch.tensor(a) for a in arrays]
    torch.testing.assert_close(torch.func.vmap(loss, in_dims=dims)(*tensors), loss(*tensors))
    at = loss.arguments.index(loss.wrt[0])
    per_example = torch.func.vmap(torch.func.grad(loss, argnums=at), in_dims=dims)(*tensors)
    moving, of = split(loss, arrays)
    torch.testing.assert_close(per_example, torch.autograd.grad(of(*moving).sum(), moving)[0])


@every_smooth_loss
def test_compile_fullgraph(loss: Loss) -> None:
    arrays, _ = case(loss, 5)
    moving, of = split(loss, arrays)
    torch._dynamo.reset()
    compiled = torch.compile(of, fullgraph=True, backend="aot_eager")
    value = compiled(*moving)
    torch.testing.assert_close(value, of(*moving))
    grads = torch.autograd.grad(value.sum(), moving)
    for a, b in zip(grads, torch.autograd.grad(of(*moving).sum(), moving), strict=True):
        torch.testing.assert_close(a, b)
