"""Second derivatives at the points where formulas branch: zeros, ties, kinks, saturation, masked classes, weights of 0.

The points are drawn on purpose, for random ones never hit a tie. The truth is the definition's Hessian diagonal, which
the oracles hold at 60 digits, and for whole Hessians the oracles themselves. PyTorch's is asked for in every way.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from mpmath import mpf

import lossary
from exact import Exact
from lossary import nn
from lossary.catalogue import Loss

torch = pytest.importorskip("torch")

INF = float("inf")
ALL = [lossary.get(name) for name in lossary.names()]
CURVED = [x for x in ALL if x.derivatives > 1 and x.coupling is None and "evaluation" not in x.properties]
NUMBERS = [x for x in CURVED if x.signatures[0].rank == 0]
ROWS = [(x, at) for x in CURVED for at, signature in enumerate(x.signatures) if signature.rank]

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "binary_cross_entropy_with_logits": [{}, {"label_smoothing": 0.1}, {"pos_weight": 3.0}],
    "bradley_terry": [{}, {"centering": 0.01, "margin": 1.0}],
    "cpo": [{}, {"label_smoothing": 0.1}],
    "dice": [{}, {"smooth": 1.0}],
    "dpo": [{}, {"label_smoothing": 0.1}],
    "epsilon_insensitive": [{"epsilon": 0.5}, {"epsilon": 0.0}],
    "gaussian_nll": [{"full": True}],
    "generalized_cross_entropy": [{}, {"q": 1.0}],
    "generalized_dice": [{}, {"weighting": "uniform", "smooth": 1.0}],
    "huber": [{}, {"delta": 0.5}],
    "multi_margin": [{"p": 1}, {"p": 2}],
    "negative_binomial_nll": [{}, {"alpha": 0.5, "full": True}],
    "ppo_clip": [{}, {"clip_low": 0.0, "clip_high": 0.0}, {"dual_clip": 3.0}],
    "pseudo_huber": [{}, {"delta": 0.5}],
    "sigmoid_focal": [{"gamma": gamma} for gamma in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)] + [{"alpha": 0.25}],
    "simpo": [{}, {"gamma": 0.0}],
    "smooth_l1": [{}, {"beta": 0.5}, {"beta": 0.0}],
    "softmax_cross_entropy": [{}, {"label_smoothing": 0.1, "z_loss": 0.01}, {"soft_cap": 5.0, "temperature": 0.5}],
    "softmax_focal": [{"gamma": gamma} for gamma in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)],
    "student_t_nll": [{"full": True}],
    "triplet_margin": [{}, {"swap": True}],
}
LARGE = [s * x for x in (30.0, 100.0, 1000.0) for s in (1, -1)]
REAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, *LARGE]
POINTS = [0.0, 0.1, 0.25, 0.5, 1.0, 2.0, -0.5, -1.0, -2.0, *LARGE]


def numbers(loss: Loss, name: str, at: int = 0) -> list[float]:
    domain = loss.domain(name, at)
    if domain.kind == "set":
        return [float(x) for x in domain.values]
    if domain.kind == "count":
        return [0.0, 1.0, 3.0]
    if (domain.low, domain.high) == (-INF, INF):
        return REAL
    low, high = domain.closed
    return [
        x for x in POINTS if domain.low < x < domain.high or (low and x == domain.low) or (high and x == domain.high)
    ]


def columns(grid: Sequence[Sequence[Any]], most: int) -> list[Any]:
    """Up to so many of the examples, spread over all of them, as one array for each argument."""
    if len(grid) > most:
        grid = [grid[i] for i in sorted(np.random.default_rng(1).choice(len(grid), most, replace=False))]
    return [np.array(column) for column in zip(*grid, strict=True)]


ROW_POINTS = {
    "logit": [
        *(
            [0, 0, 0],
            [1, 1, 0],
            [0, -1, 2],
            [-2, 0, 0],
            [30, 0, 0],
            [0, 30, 30],
            [100, 0, -100],
            [700, 0, 0],
            [1000, 0, 0],
        ),
        *([0, 1000, 1000], [0, -INF, 0], [5, -INF, -1], [0, -INF, -INF], [800, -INF, 0], [-INF, 0, 0]),
    ],
    "probability": [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 0], [0.5, 0, 1], [0.25, 0.5, 0.25]],
    "simplex": [[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [0.25, 0.5, 0.25]],
    "similarity": [[0, 0, 0], [1, 1, 0], [1, -1, 0], [-1, 1, 0.5], [0.5, 0.5, 0.5], [1, 0, 0]],
    "embedding": [[0, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 0, 0], [2, 0, 0], [0, 0, 3], [0.6, 0, 0], [1, 2, 3]],
    "score": [[0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0.5, -0.5], [2, -2, 0], [3, 0, 30], [-1, 0, 1], [0, 100, -1000]],
    "counts": [[1, 1, 1], [1, 0, 3], [90, 10, 5]],
    "expected": [[0, 0, 0], [0, 1, INF]],
    "multilabel": [[1, 0, 0], [0, 1, 1], [1, 1, 1], [0, 0, 0]],
}
ROW_POINTS["affinity"] = ROW_POINTS["logit"]


def row_choices(loss: Loss, name: str, core: Sequence[str], at: int) -> Sequence[Any]:
    domain = loss.domain(name, at)
    if domain.kind == "index":
        return [0, 1]
    if not core:
        return numbers(loss, name, at)
    if domain.kind == "simplex":
        found = ROW_POINTS["simplex"]
    elif domain.kind == "log-simplex":
        with np.errstate(divide="ignore"):
            return list(np.log(np.array(ROW_POINTS["simplex"], float)))
    elif domain.kind == "set":
        found = ROW_POINTS["multilabel"]
    elif name == "class_counts":
        found = ROW_POINTS["counts"]
    elif name.startswith("log_expected"):
        found = ROW_POINTS["expected"]
    elif (domain.low, domain.high) == (0, 1):
        found = ROW_POINTS["probability"]
    else:
        found = ROW_POINTS[loss.input]
    rows = [np.array(row, float) for row in found]
    return [np.array(pair) for pair in zip(rows, rows[::-1], strict=True)] if len(core) == 2 else rows


def row_examples(loss: Loss, at: int, most: int = 60) -> list[Any]:
    signature = loss.signatures[at]
    choices = [row_choices(loss, n, core, at) for n, core in zip(loss.arguments, signature.inputs, strict=True)]
    return columns(list(itertools.product(*choices)), most)


def tuple_of(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def leaves(loss: Loss, arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    tensors = [torch.tensor(x) for x in arrays]
    moving = [tensors[loss.arguments.index(name)].requires_grad_() for name in loss.wrt]
    return tensors, moving


def differentiated(y: Any, x: Any) -> Any:
    """The gradient of a sum, for a second derivative: zeros where there is none."""
    if not y.requires_grad:
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(y.sum(), x, create_graph=True, allow_unused=True)
    return torch.zeros_like(x) if found is None else found + torch.zeros_like(x)


def assert_same(got: Any, want: Any, arrays: Sequence[Any], what: Any, loose: float = 1.0) -> None:
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    eps = 1e-5 if any(np.asarray(a).dtype == np.float32 for a in arrays) else 1e-10
    with np.errstate(invalid="ignore"):
        close = abs(got - want) <= loose * eps * (abs(want) + 1e-2)
    wrong = ~(close | (got == want))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        example = [np.asarray(a)[at[0]].tolist() for a in arrays]
        raise AssertionError((what, int(wrong.sum()), "first at", example, at, got[at], want[at]))


def in_type(arrays: Sequence[Any], dtype: Any) -> list[Any]:
    return [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]


# --- against the definition's own Hessian ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("loss", NUMBERS, ids=lambda loss: loss.name)
def test_differentiated_twice_a_loss_of_numbers_gives_its_hessian(loss: Loss, dtype: Any) -> None:
    grid = list(itertools.product(*(numbers(loss, name) for name in loss.arguments)))
    arrays = in_type(columns(grid, 300), dtype)
    for params in OPTIONS.get(loss.name, [{}]):
        tensors, moving = leaves(loss, arrays)
        value = loss(*tensors, **params).sum()
        for x, hess in zip(moving, tuple_of(loss.hess(*arrays, **params)), strict=True):
            twice = differentiated(differentiated(value, x), x)
            assert_same(twice.detach(), hess, arrays, (loss.name, params))


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("loss", "at"), ROWS, ids=lambda x: getattr(x, "name", str(x)))
def test_differentiated_twice_a_loss_of_rows_gives_its_hessian(loss: Loss, at: int, dtype: Any) -> None:
    arrays = in_type(row_examples(loss, at), dtype)
    scale = 4096.0 if "scale" in loss.parameter_domains else 1.0  # the square of the scale of its logits
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype is np.float32 else {"rtol": 1e-8, "atol": 1e-9}
    for params in OPTIONS.get(loss.name, [{}]):
        gradient, hessian = whole_hessian(loss, arrays, params)
        diagonals = [np.asarray(h).reshape(len(gradient), -1) for h in tuple_of(loss.hess(*arrays, **params))]
        expected = np.concatenate(diagonals, axis=1)
        # Entries of a row are sums of many terms: their rounding is that of the largest.
        size = 1 + np.where(np.isfinite(expected), abs(expected), 0).max(1, keepdims=True)
        assert_same(np.einsum("bii->bi", hessian) / size, expected / size, arrays, (loss.name, params), scale)
        finite = np.isfinite(expected).all(1)
        assert np.isfinite(hessian[finite]).all()
        np.testing.assert_allclose(hessian[finite], hessian[finite].swapaxes(1, 2), **close)


def whole_hessian(loss: Loss, arrays: Sequence[Any], params: dict[str, Any]) -> tuple[Any, Any]:
    """The gradient and the Hessian of every example in all arrays that are differentiated."""
    tensors, moving = leaves(loss, arrays)
    value = loss(*tensors, **params)
    grads = torch.autograd.grad(value.sum(), moving, create_graph=True)
    flat = torch.cat([grad.reshape(len(value), -1) for grad in grads], 1)
    rows = [torch.cat([differentiated(entry, x).reshape(len(value), -1) for x in moving], 1) for entry in flat.T]
    return flat.detach().numpy(), torch.stack(rows, 1).detach().numpy()


# --- against the oracles ---------------------------------------------------------------------------------------------

SEVERAL = [(loss, 0) for loss in NUMBERS if len(loss.wrt) > 1]


@pytest.mark.parametrize(("loss", "at"), ROWS + SEVERAL, ids=lambda x: getattr(x, "name", str(x)))
def test_whole_hessians_are_those_of_the_oracle_wherever_it_is_smooth(loss: Loss, at: int) -> None:
    arrays = row_examples(loss, at, 200)
    finite = [all(np.isfinite(a[i]).all() for a in arrays) for i in range(len(arrays[0]))]
    arrays = [a[np.flatnonzero(finite)[::7][:8]] for a in arrays]
    params = OPTIONS.get(loss.name, [{}])[-1]
    _, hessian = whole_hessian(loss, arrays, params)
    for number, found in enumerate(hessian):
        exact = Exact(loss, [a[number] for a in arrays], params)
        order = [loss.arguments.index(name) for name in loss.wrt]
        places = [place for which in order for place in exact.places() if place[0] == which]
        for (i, a), (j, b) in itertools.combinations_with_replacement(enumerate(places), 2):
            try:
                expected = smooth_second(exact, a, b)
            except (TypeError, ValueError, ZeroDivisionError):  # beyond the end of a domain
                continue
            if expected is not None:
                what = (loss.name, params, [x[number].tolist() for x in arrays], (i, j), found[i, j], float(expected))
                assert abs(found[i, j] - float(expected)) <= 1e-8 * abs(float(expected)) + 1e-9, what


def smooth_second(exact: Exact, a: Any, b: Any) -> Any:
    """The second derivative of an oracle along two entries; None where it jumps."""

    def second(shift: Sequence[Any]) -> Any:
        h = mpf(10) ** -12
        return (exact.first(*b, [(*a, h), *shift]) - exact.first(*b, [(*a, -h), *shift])) / (2 * h)

    here = second(())
    for entry in [(w, place) for w, place in exact.places() if exact.loss.arguments[w] in exact.loss.wrt]:
        for by in (1, -1):
            if not abs(second([(*entry, by * mpf(10) ** -8)]) - here) <= mpf(10) ** -4 * (1 + abs(here)):
                return None
    return here


# --- through the value, where a target or a parameter learns ---------------------------------------------------------


@pytest.mark.parametrize("loss", [x for x in NUMBERS if len(x.arguments) > len(x.wrt)], ids=lambda loss: loss.name)
def test_a_value_made_of_ordinary_operations_has_the_gradient_and_the_hessian_of_the_definition(loss: Loss) -> None:
    grid = list(itertools.product(*(numbers(loss, name) for name in loss.arguments)))
    if loss.name in ("ppo_clip", "grpo"):  # ratios that overflow are not for learned advantages
        grid = [x for x in grid if abs(x[0] - x[1]) < 700 and abs(x[0] - x[-2]) < 700]
    arrays = columns(grid, 300)
    for params in OPTIONS.get(loss.name, [{}]):
        tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
        value = loss(*tensors, **params)
        grads, curves = (tuple_of(found) for found in (loss.grad(*arrays, **params), loss.hess(*arrays, **params)))
        for name, grad, hess in zip(loss.wrt, grads, curves, strict=True):
            x = tensors[loss.arguments.index(name)]
            once = differentiated(value, x)
            assert_same(once.detach(), grad, arrays, (loss.name, params, "gradient"))
            assert_same(differentiated(once, x).detach(), hess, arrays, (loss.name, params, "Hessian"), loose=10)


@pytest.mark.parametrize("row", [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [3.0, 0.0, 1.0]])
def test_at_tied_logits_learned_soft_labels_leave_every_derivative_right(row: list[float]) -> None:
    target = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64, requires_grad=True)
    z = torch.tensor(row, dtype=torch.float64)
    third = [torch.func.jacrev(torch.func.hessian(f))(z) for f in (of_target(target), by_torch(target))]
    torch.testing.assert_close(*third)
    second = [torch.func.hessian(f)(z) for f in (of_target(target), by_torch(target))]
    torch.testing.assert_close(*second)


def of_target(target: Any) -> Callable[[Any], Any]:
    return lambda z: lossary.softmax_cross_entropy(z[None], target[None]).sum()


def by_torch(target: Any) -> Callable[[Any], Any]:
    return lambda z: -(target * z.log_softmax(-1)).sum()


def test_a_learned_parameter_has_its_mixed_second_derivative_at_a_logit_of_zero() -> None:
    z, y = torch.zeros(2, dtype=torch.float64, requires_grad=True), torch.tensor([0.0, 1.0], dtype=torch.float64)
    gamma = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    by_gamma = differentiated(differentiated(lossary.sigmoid_focal(z, y, gamma=gamma), z), gamma)
    h = 1e-5
    slopes = [lossary.sigmoid_focal.grad([0.0, 0.0], [0.0, 1.0], gamma=2.0 + s * h) for s in (1, -1)]
    assert float(by_gamma.detach()) == pytest.approx(float((slopes[0] - slopes[1]).sum()) / (2 * h), abs=1e-9)


# --- every way to ask ------------------------------------------------------------------------------------------------


def ways(f: Callable[[Any], Any], x: Any) -> dict[str, Any]:
    """The Hessian of a function in every way, those that give its product with ones as vectors."""
    func, functional, ones = torch.func, torch.autograd.functional, torch.ones_like(x)

    def backwards(x: Any) -> Any:
        x = x.clone().requires_grad_()
        return torch.stack([differentiated(entry, x) for entry in differentiated(f(x), x)]).detach()

    def tangent_of_gradient(x: Any) -> Any:
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x.clone().requires_grad_(), ones)
            (grad,) = torch.autograd.grad(f(dual), dual, create_graph=True)
            tangent = torch.autograd.forward_ad.unpack_dual(grad).tangent
            return torch.zeros_like(x) if tangent is None else tangent.detach()

    return {
        "double backward": backwards(x),
        "hessian": func.hessian(f)(x),
        "backward of backward": func.jacrev(func.jacrev(f))(x),
        "backward of forward": func.jacrev(func.jacfwd(f))(x),
        "forward of forward": func.jacfwd(func.jacfwd(f))(x),
        "functional": functional.hessian(f, x),
        "functional, vectorised": functional.hessian(f, x, vectorize=True),
        "functional, forward": functional.hessian(f, x, vectorize=True, outer_jacobian_strategy="forward-mode"),
        "forward of gradient": func.jvp(func.grad(f), (x,), (ones,))[1],
        "gradient of forward": func.grad(lambda x: func.jvp(f, (x,), (ones,))[1])(x),
        "a dual number's gradient": tangent_of_gradient(x),
        "under vmap": func.vmap(func.hessian(f))(torch.stack([x, x + 0.25]))[0],
    }


LOGITS = torch.tensor([0.0, -0.0, 1.0, -1.0, 0.5, 30.0, -30.0, 1000.0, -1000.0], dtype=torch.float64)
YES = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
ZEROS = torch.zeros_like(LOGITS)


def assert_in_every_way(f: Callable[[Any], Any], x: Any, expected: Any) -> None:
    for way, found in ways(f, x).items():
        wanted = expected if found.ndim == 2 else expected.sum(1)
        message = f"{way}: {found}"
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12, msg=message)


@pytest.mark.parametrize(
    ("loss", "target", "params"),
    [
        (lossary.binary_cross_entropy_with_logits, YES, {}),
        (lossary.huber, ZEROS, {}),
        (lossary.sigmoid_focal, YES, {"gamma": 0.5}),
        (lossary.pseudo_huber, ZEROS, {}),
    ],
    ids=lambda x: getattr(x, "name", ""),
)
def test_every_way_to_ask_gives_the_same_hessian(loss: Loss, target: Any, params: dict[str, Any]) -> None:
    weight = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 2.0], dtype=torch.float64)
    curve = loss.hess(LOGITS, target, **params)
    assert_in_every_way(lambda x: loss(x, target, **params).sum(), LOGITS, curve.diag())
    assert_in_every_way(lambda x: loss.value(x, target, reduction="mean", **params), LOGITS, curve.diag() / 9)
    weighted = lambda x: loss.value(x, target, weight=weight, reduction="sum", **params)  # noqa: E731
    assert_in_every_way(weighted, LOGITS, (curve * weight).diag())


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "softmax_focal", "multilabel_soft_margin"])
def test_every_way_to_ask_gives_the_same_hessian_of_a_row(name: str) -> None:
    loss = lossary.get(name)
    target = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64) if name.startswith("multi") else torch.tensor([1])
    for row in ([0.0, 0.0, -1.0], [1000.0, 0.0, 0.0]):
        x = torch.tensor(row, dtype=torch.float64)
        _, hessian = whole_hessian(loss, [np.array([row]), target.numpy()], {})
        assert_in_every_way(lambda x: loss(x[None], target).sum(), x, torch.tensor(hessian[0]))


def test_the_compiler_gives_the_same_hessian() -> None:
    for loss, target in ((lossary.sigmoid_focal.bind(gamma=0.5), YES), (lossary.huber, ZEROS)):
        f = lambda x, loss=loss, target=target: loss(x, target).sum()  # noqa: E731
        curve = loss.hess(LOGITS, target).diag()
        for hessian in (torch.func.hessian(f), torch.func.jacrev(torch.func.jacrev(f))):
            torch._dynamo.reset()
            found = torch.compile(hessian, backend="aot_eager")(LOGITS)
            torch.testing.assert_close(found, curve)


def test_third_derivatives_follow_from_the_hessian() -> None:
    x = torch.tensor([0.0, 1.0, -30.0], dtype=torch.float64)
    y = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    third = torch.func.jacrev(torch.func.hessian(lambda x: lossary.binary_cross_entropy_with_logits(x, y).sum()))(x)
    p = torch.sigmoid(x)
    expected = p * (1 - p) * (1 - 2 * p)
    torch.testing.assert_close(torch.einsum("iii->i", third), expected, rtol=1e-9, atol=1e-15)


def test_without_kernels_second_derivatives_are_the_same() -> None:
    names = "pseudo_huber or sigmoid_focal or softmax_focal or dpo or contrastive"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-k",
        f"gives_its_hessian and ({names})",
    ]
    run = subprocess.run(
        [*command, __file__], capture_output=True, text=True, check=False, env={**os.environ, "LOSSARY_KERNELS": "off"}
    )
    assert run.returncode == 0, run.stdout[-3000:]


# --- what does not count ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
@pytest.mark.parametrize("garbage", [float("nan"), INF, -INF])
def test_a_weight_of_zero_leaves_second_derivatives_exactly_zero(garbage: float, reduction: Any) -> None:
    weight = torch.tensor([1.0, 0.0], dtype=torch.float64)
    for loss, target in (
        (lossary.binary_cross_entropy_with_logits, torch.tensor([1.0, 0.0], dtype=torch.float64)),
        (lossary.softmax_focal, torch.tensor([0, 1])),
        (lossary.cosine_distance, torch.ones(2, 2, dtype=torch.float64)),
    ):
        rows = loss.signatures[0].rank
        x = torch.tensor([[0.5, 0.0], [garbage, 1.0]] if rows else [0.5, garbage], dtype=torch.float64)
        x.requires_grad_()
        known = loss.value(x, target, weight=weight, reduction=reduction)
        afterwards = lossary.mean(loss(x, target), weight=weight)
        for value in (known,) if garbage == -INF else (known, afterwards):  # -inf may be a class that is masked out
            grad = differentiated(value, x)
            for entry in grad.flatten():
                found = differentiated(entry, x)
                assert torch.isfinite(found[0]).all() and not found[1].any(), (loss.name, found)
            assert differentiated(grad[0].flatten()[0], x)[0].any()


def test_an_ignored_row_has_second_derivatives_of_exactly_zero() -> None:
    z = torch.tensor([[0.0, 0.0], [float("nan"), INF]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([1, -100])
    for f in (
        nn.functional.cross_entropy,
        lambda z, y: lossary.softmax_cross_entropy.value(z, y, reduction="mean", ignore_index=-100),
    ):
        grad = differentiated(f(z, labels), z)
        for entry in grad.flatten():
            assert not differentiated(entry, z)[1].any()
        found = differentiated(grad[0, 0], z)[0]
        torch.testing.assert_close(found, torch.tensor([0.25, -0.25], dtype=torch.float64))


def test_a_masked_class_has_second_derivatives_of_exactly_zero() -> None:
    for loss in (lossary.softmax_cross_entropy, lossary.softmax_focal, lossary.poly_loss, lossary.info_nce):
        for row in ([0.0, -INF, 0.0], [800.0, -INF, 0.0], [0.0, -INF, -INF]):
            _, hessian = whole_hessian(loss, [np.array([row]), np.array([0])], {})
            assert np.isfinite(hessian).all()
            assert not hessian[0, 1].any() and not hessian[0, :, 1].any()


# --- the drop-ins ----------------------------------------------------------------------------------------------------

COUNTS, SIGNS, LABEL = YES, 2 * YES - 1, torch.tensor([1])
DROP_INS: dict[str, Callable[[Any, Any], Any]] = {
    "binary_cross_entropy_with_logits": lambda m, x: m.binary_cross_entropy_with_logits(x, YES),
    "cross_entropy": lambda m, x: m.cross_entropy(x[None], LABEL),
    "cross_entropy, smoothed": lambda m, x: m.cross_entropy(x[None], LABEL, label_smoothing=0.1),
    "hinge_embedding_loss": lambda m, x: m.hinge_embedding_loss(x.clamp(min=0), SIGNS),
    "huber_loss": lambda m, x: m.huber_loss(x, ZEROS),
    "huber_loss, delta": lambda m, x: m.huber_loss(x, ZEROS, delta=0.5),
    "l1_loss": lambda m, x: m.l1_loss(x, ZEROS),
    "margin_ranking_loss": lambda m, x: m.margin_ranking_loss(x, ZEROS, SIGNS, margin=0.5),
    "mse_loss": lambda m, x: m.mse_loss(x, ZEROS),
    "multilabel_soft_margin_loss": lambda m, x: m.multilabel_soft_margin_loss(x[None], YES[None]),
    "poisson_nll_loss": lambda m, x: m.poisson_nll_loss(x.clamp(-50, 50), COUNTS),
    "smooth_l1_loss": lambda m, x: m.smooth_l1_loss(x, ZEROS),
    "smooth_l1_loss, beta": lambda m, x: m.smooth_l1_loss(x, ZEROS, beta=0.5),
    "soft_margin_loss": lambda m, x: m.soft_margin_loss(x.clamp(-100, 100), SIGNS),  # torch: NaN beyond
}


@pytest.mark.parametrize("name", DROP_INS)
def test_second_derivatives_of_drop_ins_are_torchs(name: str) -> None:
    f = DROP_INS[name]
    expected = torch.autograd.functional.hessian(lambda x: f(torch.nn.functional, x), LOGITS)
    assert_in_every_way(lambda x: f(nn.functional, x), LOGITS, expected)


def test_binary_cross_entropy_of_certain_probabilities_has_torchs_second_derivative() -> None:
    p = torch.tensor([0.0, 1.0, 0.5, 0.25, 0.0, 1.0], dtype=torch.float64)
    y = torch.tensor([0.0, 1.0, 0.5, 0.0, 1.0, 0.0], dtype=torch.float64)
    theirs, ours = (
        torch.autograd.functional.hessian(lambda p, m=m: m.binary_cross_entropy(p, y, reduction="sum"), p)
        for m in (torch.nn.functional, nn.functional)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=0)


def test_a_zero_initialised_head_has_a_hessian() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(500, 4, dtype=torch.float64)
    y = (hidden[:, 0] > 0).double()
    f = lambda w: nn.functional.binary_cross_entropy_with_logits(hidden @ w, y)  # noqa: E731
    found = torch.autograd.functional.hessian(f, torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(found, hidden.T @ hidden / 2000)


# --- losses whose definitions stop at the gradient -------------------------------------------------------------------


def by_differences(f: Callable[[Any], Any], x: Any) -> Any:
    """The Hessian by central differences of the gradient."""
    columns, h = [], 1e-5
    for at in np.ndindex(*x.shape):
        moved = []
        for s in (1, -1):
            y = x.clone()
            y[at] += s * h
            y.requires_grad_()
            moved.append(torch.autograd.grad(f(y), y)[0].flatten())
        columns.append((moved[0] - moved[1]) / (2 * h))
    return torch.stack(columns)


PAIRS = torch.tensor([0, 0, 1, 1])
SEQUENCES: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "ctc": (lambda z: lossary.ctc(z, torch.tensor([[1, 2]])).sum(), (1, 4, 3)),
    "rnnt": (lambda z: lossary.rnnt(z, torch.tensor([[1, 2]])).sum(), (1, 3, 3, 3)),
    "linear_chain_crf": (
        lambda z: lossary.linear_chain_crf(z, torch.zeros(3, 3, dtype=z.dtype), torch.tensor([[0, 1, 2]])).sum(),
        (1, 3, 3),
    ),
    "nt_xent": (lambda z: lossary.nt_xent(z + 1, PAIRS).sum(), (4, 2)),
    "supcon": (lambda z: lossary.supcon(z + 1, PAIRS).sum(), (4, 2)),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_where_all_is_equal_second_derivatives_are_differences_of_the_gradient(name: str) -> None:
    f, shape = SEQUENCES[name]
    x = torch.zeros(shape, dtype=torch.float64)
    count = x.numel()
    found = torch.autograd.functional.hessian(f, x).reshape(count, count)
    torch.testing.assert_close(found, by_differences(f, x), rtol=1e-6, atol=1e-7)
