"""Every loss of the catalogue on torch tensors: the hand-written gradient under everything autograd can do."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss
from lossary.testing import draw, random_arrays, random_params

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


@every_loss
def test_the_default_device_is_not_asked_for_what_belongs_to_the_arguments(loss: Loss) -> None:
    arrays, _ = case(loss, 1)
    moving, of = split(loss, arrays)

    def both() -> tuple[Any, ...]:
        value = of(*moving)
        return value, *(torch.autograd.grad(value.sum(), moving) if value.requires_grad else ())

    expected = both()
    with torch.device("meta"):
        found = both()
    for got, before in zip(found, expected, strict=True):
        assert got.device.type == "cpu"
        assert got.equal(before)


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


def test_the_first_call_of_a_process_may_be_a_compiled_one() -> None:
    script = """
import torch, lossary
f = torch.compile(lambda x: lossary.huber(x, torch.zeros(3)).sum(), fullgraph=True, backend="aot_eager")
assert f(torch.ones(3)) == 1.5
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@every_smooth_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_narrow_types_are_computed_in_float32_and_their_gradient_is_narrow(loss: Loss, dtype: Any) -> None:
    arrays, _ = case(loss, 6)
    narrow = [torch.tensor(a).to(dtype) if a.dtype.kind == "f" else torch.tensor(a) for a in arrays]
    at = loss.arguments.index(loss.wrt[0])
    narrow[at].requires_grad_()
    wide = [x.detach().float() if x.is_floating_point() else x for x in narrow]
    wide[at].requires_grad_()
    value, reference = loss(*narrow), loss(*wide)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, reference)
    (grad,) = torch.autograd.grad(value.sum(), narrow[at])
    assert grad.dtype == dtype
    torch.testing.assert_close(grad, torch.autograd.grad(reference.sum(), wide[at])[0].to(dtype))


@every_smooth_loss
def test_autocast_computes_the_loss_in_float32(loss: Loss) -> None:
    arrays, _ = case(loss, 7)
    tensors = [torch.tensor(a).float() if a.dtype.kind == "f" else torch.tensor(a) for a in arrays]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(*tensors)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, loss(*tensors))


@every_smooth_loss
def test_graphs_may_be_used_twice_and_inputs_are_strided_expanded_and_never_written(loss: Loss) -> None:
    arrays, _ = case(loss, 8)
    moving, of = split(loss, arrays)
    value = of(*moving).sum()
    first = torch.autograd.grad(value, moving, retain_graph=True)
    second = torch.autograd.grad(value, moving)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
    tensors = [torch.tensor(a) for a in arrays]
    before = [t.clone() for t in tensors]
    strided = [t.repeat_interleave(2, 0)[::2] for t in tensors]
    turned = [t.transpose(0, -1).contiguous().transpose(0, -1) for t in tensors]
    for variant in (strided, turned):
        torch.testing.assert_close(loss(*variant), loss(*tensors))
    for t, b in zip(tensors, before, strict=True):
        assert torch.equal(t, b)
    if not loss.coupling:
        alike = [t[:1].expand(3, *t.shape[1:]) for t in tensors]
        torch.testing.assert_close(loss(*alike), loss(*(a.contiguous() for a in alike)))


@every_smooth_loss
def test_what_the_definition_does_not_differentiate_is_left_to_autograd(loss: Loss) -> None:
    arrays, _ = case(loss, 9)
    others = [n for n, a in zip(loss.arguments, arrays, strict=True) if n not in loss.wrt and a.dtype.kind == "f"]
    if not others or loss.coupling:
        pytest.skip("it differentiates all it takes")
    tensors = {n: torch.tensor(a) for n, a in zip(loss.arguments, arrays, strict=True)}
    for name in others:
        if loss.domain(name).kind in ("set", "count", "flag"):
            continue
        x = tensors[name].clone().requires_grad_()
        f = lambda x, name=name: loss(**{**tensors, name: x})  # noqa: E731
        unchecked = lambda x, name=name: loss.value(**{**tensors, name: x}, check=False)  # noqa: E731
        assert f(x).requires_grad
        assert torch.autograd.gradcheck(unchecked, x)


@every_smooth_loss
def test_a_learned_parameter_has_its_gradient_and_vmap_runs_over_it(loss: Loss) -> None:
    rng = np.random.default_rng(0)
    arrays, _ = case(loss, 10)
    tensors = [torch.tensor(a) for a in arrays]
    for name, (domain, per_class) in loss.parameter_domains.items():
        if domain.kind != "interval" or name == "ignore_index" or (loss.coupling and name in loss.coupling.defaults):
            continue
        drawn = [draw(domain, (4,) if per_class else (), rng) for _ in range(3)]
        x = torch.tensor(np.asarray(drawn[0], dtype=float), requires_grad=True)
        f = lambda x, name=name: loss(*tensors, **{name: x})  # noqa: E731
        torch.testing.assert_close(f(x.detach()), loss(*tensors, **{name: drawn[0] if per_class else float(drawn[0])}))
        assert torch.autograd.gradcheck(f, x), name
        many = torch.tensor(np.asarray(drawn, dtype=float))
        each = torch.stack([f(one) for one in many])
        if name in loss.branching:  # it chooses a formula, which several numbers at once cannot
            with pytest.raises(lossary.errors.ParameterError, match=f"{name}: got several numbers"):
                torch.func.vmap(f)(many)
        else:
            torch.testing.assert_close(torch.func.vmap(f)(many), each)


@pytest.mark.parametrize("name", ["absolute_error", "smooth_l1", "pinball", "mape", "epsilon_insensitive"])
@pytest.mark.parametrize("size", [1, 20_000])
def test_a_prediction_that_is_nan_has_a_slope_that_is_nan_whoever_computes(name: str, size: int) -> None:
    loss = lossary.get(name)
    x, y = torch.ones(2 * size, dtype=torch.float64), torch.full((2 * size,), 0.5, dtype=torch.float64)
    x[::2] = torch.nan
    expected = torch.from_numpy(loss.grad(x.numpy(), y.numpy()))
    assert expected[::2].isnan().all()
    for strided in (False, True):
        leaf = x.clone().requires_grad_()
        given = torch.stack([leaf, leaf], -1)[:, 0] if strided else leaf
        (grad,) = torch.autograd.grad(loss(given, y), leaf, torch.ones_like(y))
        torch.testing.assert_close(grad, expected, equal_nan=True)


def test_a_masked_entry_gives_no_gradient_even_nan() -> None:
    z = torch.tensor([[1.0, 2.0], [float("nan"), 0.0], [0.5, -1.0]], requires_grad=True)
    y = torch.tensor([0, -100, 1])
    lossary.mean(lossary.softmax_cross_entropy(z, y, ignore_index=-100), mask=y != -100).backward()
    assert (z.grad[1] == 0).all()
    assert z.grad.isfinite().all()
    x = torch.tensor([1.0, float("nan")], requires_grad=True)
    lossary.mean(lossary.huber(x, torch.zeros(2)), mask=torch.tensor([True, False])).backward()
    assert x.grad.tolist() == [1.0, 0.0]


def test_means_and_totals_on_tensors() -> None:
    v = torch.tensor([1.0, 4.0, 10.0], requires_grad=True)
    w = torch.tensor([3.0, 1.0, 0.0])
    assert lossary.mean(v, weight=w).item() == 1.75
    summed, count = lossary.total(v, weight=w)
    assert (summed.item(), float(count)) == (7.0, 4.0)
    (grad,) = torch.autograd.grad(lossary.mean(v, weight=w, denominator=torch.tensor(8.0)), v)
    assert grad.tolist() == [0.375, 0.125, 0.0]
    assert lossary.mean(v, mask=np.array([False, True, True])).item() == 7.0  # a mask of NumPy's, a list
    assert lossary.mean(v, mask=[True, True, False]).item() == 2.5
    for endless in (np.array([-np.inf, 1.0]), torch.tensor([-np.inf, 1.0])):
        assert lossary.mean(endless, mask=[False, True]) == 1.0  # and not a warning either
    nothing = lossary.mean(v, mask=torch.zeros(3, dtype=torch.bool))
    assert nothing.item() == 0
    assert torch.autograd.grad(nothing, v)[0].tolist() == [0, 0, 0]


def test_checks_speak_on_the_cpu_and_are_silent_in_a_trace() -> None:
    z = torch.zeros(2, 3)
    with pytest.raises(lossary.errors.DomainError, match="labels up to 7"):
        lossary.softmax_cross_entropy(z, torch.tensor([0, 7]))
    with pytest.raises(lossary.errors.ShapeError, match=r"\(2, 1\)"):
        lossary.huber(torch.zeros(2, 1), torch.zeros(2))
    with torch._subclasses.fake_tensor.FakeTensorMode():
        fake = lossary.softmax_cross_entropy(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))
    assert fake.shape == (2,)
    meta = lossary.huber(torch.zeros(5, device="meta"), torch.zeros(5, device="meta"))
    assert meta.device.type == "meta"


def test_export_and_inductor() -> None:
    class Model(torch.nn.Module):
        def forward(self, z: Any, y: Any) -> Any:
            return lossary.mean(lossary.softmax_cross_entropy(z, y, label_smoothing=0.1, ignore_index=-100))

    z, y = torch.randn(5, 4), torch.tensor([0, 1, -100, 3, 2])
    program = torch.export.export(Model(), (z, y))
    torch.testing.assert_close(program.module()(z, y), Model()(z, y))


def test_a_loss_is_copied_with_the_module_that_holds_it() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.criterion = lossary.huber.bind(delta=2.0)

    assert copy.deepcopy(Model()).criterion(torch.tensor([3.0]), torch.tensor([0.0])).item() == 4.0


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("rows", [2, 64, 2000], ids=["small", "one thread", "kernel"])
def test_a_graph_is_walked_back_as_often_as_one_likes(rows: int, weighted: bool, reduction: Any) -> None:
    """A gradient that is handed over may be added to: it must not be the one that the next walk starts from."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, 100, generator=generator, requires_grad=True)
    labels = torch.randint(100, (rows,), generator=generator)
    weight = torch.rand(rows, generator=generator) if weighted else None
    summed = lossary.softmax_cross_entropy.value(logits, labels, reduction=reduction, weight=weight).sum()
    summed.backward(retain_graph=True)
    first = logits.grad.clone()
    for n in (2, 3, 4):
        summed.backward(retain_graph=True)
        torch.testing.assert_close(logits.grad, n * first)
    logits.grad = None
    (0 * summed).backward()
    assert (logits.grad == 0).all()
