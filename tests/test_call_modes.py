"""The same call in another mode: recording or not, forward mode, autocast, under a tracer, fully checked.

What a first call leaves behind must not decide for later ones, whatever mode it was made in.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

import lossary  # noqa: E402
from lossary import nn  # noqa: E402
from lossary.catalogue import Loss, get, names  # noqa: E402
from lossary.nn import functional as F  # noqa: E402, N812
from lossary.testing import random_arrays  # noqa: E402

LOSSES = [get(name) for name in names()]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
REDUCTIONS: tuple[Any, ...] = ("none", "sum", "mean")


def tensors(loss: Loss, batch: int, dtype: Any = torch.float64) -> list[Any]:
    made = random_arrays(loss, np.random.default_rng(5), batch=batch)
    return [None if x is None else _typed(torch.as_tensor(x), dtype) for x in made]


def _typed(x: Any, dtype: Any) -> Any:
    return x.to(dtype) if x.is_floating_point() else x


def leaves(loss: Loss, arrays: list[Any]) -> list[Any]:
    return [x.requires_grad_() for name, x in zip(loss.arguments, arrays, strict=True) if name in loss.wrt]


# --- recording gradients, or not -------------------------------------------------------------------------------------

SILENT: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "set_grad_enabled": lambda: torch.set_grad_enabled(False),
}


@every_loss
def test_a_first_call_that_records_nothing_leaves_the_gradient_to_later_calls(loss: Loss) -> None:
    for size, (mode, how) in enumerate(itertools.product(SILENT, REDUCTIONS)):
        arrays = tensors(loss, 17 + size)  # of a shape that has not been met
        wrt = leaves(loss, arrays)
        with SILENT[mode]():
            silent = loss.value(*arrays, reduction=how)
        assert not silent.requires_grad
        recorded = loss.value(*arrays, reduction=how)
        assert recorded.requires_grad, mode
        found = torch.autograd.grad(recorded.sum(), wrt)
        expected = loss.grad(*(None if x is None else x.detach().numpy() for x in arrays), reduction=how)
        for g, e in zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True):
            torch.testing.assert_close(g, torch.as_tensor(e))
        with SILENT[mode]():
            assert not loss.value(*arrays, reduction=how).requires_grad


def _drop_ins() -> dict[str, Callable[[int], tuple[Callable[..., Any], tuple[Any, ...]]]]:
    """Drop-ins by name: of a number of rows, a call and its arguments, the first of which is differentiated."""

    def pair(f: Callable[..., Any]) -> Callable[[int], tuple[Callable[..., Any], tuple[Any, ...]]]:
        return lambda n: (f, (torch.rand(n, 5), torch.rand(n, 5)))

    def rows(f: Callable[..., Any]) -> Callable[[int], tuple[Callable[..., Any], tuple[Any, ...]]]:
        return lambda n: (f, (torch.randn(n, 5).log_softmax(-1), torch.randint(5, (n,))))

    def adaptive(n: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        model = nn.AdaptiveLogSoftmaxWithLoss(16, 10, cutoffs=[3, 6]).requires_grad_(False)
        return lambda x, y: model(x, y).loss, (torch.randn(n, 16), torch.randint(10, (n,)))

    def ctc(n: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        lengths = torch.full((n,), 6), torch.full((n,), 2)
        return F.ctc_loss, (torch.randn(6, n, 5).log_softmax(-1), torch.randint(1, 5, (n, 2)), *lengths)

    def vectors(n: int) -> tuple[Any, ...]:
        return torch.randn(n, 4), torch.randn(n, 4)

    found: dict[str, Any] = {
        name: pair(getattr(F, name))
        for name in ("l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "soft_margin_loss")
    }
    found |= {
        name: pair(getattr(F, name))
        for name in ("binary_cross_entropy_with_logits", "poisson_nll_loss", "multilabel_soft_margin_loss")
    }
    found |= {name: rows(getattr(F, name)) for name in ("cross_entropy", "nll_loss", "multi_margin_loss")}
    found |= {
        "weighted cross_entropy": rows(lambda x, y: F.cross_entropy(x, y, weight=torch.arange(1.0, 6.0))),
        "CrossEntropyLoss": rows(nn.CrossEntropyLoss(label_smoothing=0.1)),
        "SoftmaxFocalLoss": rows(nn.SoftmaxFocalLoss()),
        "multilabel_margin_loss": lambda n: (F.multilabel_margin_loss, (torch.randn(n, 5), torch.full((n, 5), -1))),
        "kl_div": lambda n: (
            lambda x, y: F.kl_div(x, y, reduction="batchmean"),
            (torch.randn(n, 5).log_softmax(-1), torch.rand(n, 5).softmax(-1)),
        ),
        "gaussian_nll_loss": lambda n: (F.gaussian_nll_loss, (*vectors(n), torch.rand(n, 4) + 0.1)),
        "margin_ranking_loss": lambda n: (F.margin_ranking_loss, (torch.randn(n), torch.randn(n), torch.ones(n))),
        "hinge_embedding_loss": lambda n: (F.hinge_embedding_loss, (torch.rand(n), torch.ones(n))),
        "cosine_embedding_loss": lambda n: (F.cosine_embedding_loss, (*vectors(n), torch.ones(n))),
        "triplet_margin_loss": lambda n: (F.triplet_margin_loss, (*vectors(n), torch.randn(n, 4))),
        "triplet_margin_with_distance_loss": lambda n: (
            F.triplet_margin_with_distance_loss,
            (*vectors(n), torch.randn(n, 4)),
        ),
        "linear_cross_entropy": lambda n: (
            F.linear_cross_entropy,
            (torch.randn(n, 4), torch.randn(7, 4), torch.randint(7, (n,))),
        ),
        "ctc_loss": ctc,
        "AdaptiveLogSoftmaxWithLoss": adaptive,
    }
    return found


DROP_INS = _drop_ins()


@pytest.mark.parametrize("name", DROP_INS)
@pytest.mark.parametrize("mode", SILENT)
@pytest.mark.filterwarnings("ignore:.*:lossary.LossMisuseWarning")
def test_a_drop_in_that_was_first_called_without_recording_records(name: str, mode: str) -> None:
    torch.manual_seed(0)
    f, (x, *others) = DROP_INS[name](31 + list(SILENT).index(mode))
    x.requires_grad_()
    with SILENT[mode]():
        assert not f(x, *others).requires_grad
    (first,) = torch.autograd.grad(f(x, *others), x)
    (again,) = torch.autograd.grad(f(x, *others), x)
    torch.testing.assert_close(first, again)
    with SILENT[mode]():
        assert not f(x, *others).requires_grad
    assert not f(x.detach(), *others).requires_grad
    assert f(x, *others).requires_grad


def test_a_target_or_a_parameter_that_learns_after_calls_in_which_it_did_not() -> None:
    x, t = torch.randn(9), torch.randn(9)
    lossary.huber(x, t)
    assert lossary.huber(x, t.clone().requires_grad_()).requires_grad
    delta = torch.tensor(0.5, requires_grad=True)
    assert lossary.huber(x, t, delta=delta).requires_grad
    assert F.mse_loss(x, t.clone().requires_grad_()).requires_grad
    weight = torch.rand(4, requires_grad=True)
    z, y = torch.randn(9, 4), torch.randint(4, (9,))
    F.cross_entropy(z, y, weight=weight.detach())
    assert F.cross_entropy(z, y, weight=weight).requires_grad
    with torch.no_grad():
        F.cross_entropy(z, y, weight=weight)
    assert F.cross_entropy(z, y, weight=weight).requires_grad


# --- forward mode ----------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_tangent_has_the_type_of_its_value(loss: Loss, dtype: Any) -> None:
    arrays = tensors(loss, 4, dtype)
    at = loss.arguments.index(loss.wrt[0])

    def of(how: Any, **options: Any) -> Callable[[Any], Any]:
        return lambda x: loss.value(*arrays[:at], x, *arrays[at + 1 :], reduction=how, check=False, **options)

    weight = torch.full((4,), 0.5)
    calls = [of(how, **options) for how in REDUCTIONS for options in ({}, {"weight": weight}, {"weight": 0.5})]
    calls += [
        of("mean", denominator=3),
        lambda x: lossary.mean(of("none")(x)),
        lambda x: lossary.mean(x, denominator=3),
    ]
    if loss.coupling is None:
        calls.append(lambda x: lossary.mean(of("none")(x), weight=weight if x.ndim == 1 else 0.5))
    x = arrays[at]
    for call in calls:
        value, tangent = torch.func.jvp(call, (x,), (torch.ones_like(x),))
        assert tangent.dtype == value.dtype
        with torch.autograd.forward_ad.dual_level():
            dual = call(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
            assert torch.autograd.forward_ad.unpack_dual(dual).tangent.dtype == dual.dtype


# --- autocast --------------------------------------------------------------------------------------------------------

TYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss"])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16, torch.float16], ids=str)
def test_types_go_together_where_torch_lets_them(name: str, autocast: Any) -> None:
    x, t = torch.rand(6), torch.rand(6)
    for first, second in itertools.product(TYPES, TYPES):
        found = []
        for module in (torch.nn.functional, F):
            with contextlib.nullcontext() if autocast is None else torch.autocast("cpu", autocast):
                try:
                    value = getattr(module, name)(x.to(first), t.to(second))
                except (RuntimeError, ValueError):
                    found.append(None)
                    continue
            found.append(value.dtype)
        assert found[0] == found[1], (first, second)


def test_probabilities_of_a_network_under_autocast() -> None:
    torch.manual_seed(0)
    model, x, t = torch.nn.Linear(5, 5), torch.randn(8, 5), torch.rand(8, 5)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            p = model(x).sigmoid()
            ours, theirs = nn.BCELoss()(p, t), torch.nn.BCELoss()(p, t)
        torch.testing.assert_close(ours, theirs)
        assert ours.dtype == torch.float32


# --- tracers ---------------------------------------------------------------------------------------------------------


# How many rows each cluster has is in the numbers, so a trace of an adaptive softmax holds for one batch, torch's too.
@pytest.mark.parametrize("name", sorted({*DROP_INS} - {"AdaptiveLogSoftmaxWithLoss"}))
@pytest.mark.filterwarnings("ignore")  # tracers warn of every shape that is looked at
def test_traced_drop_ins_compute_on_other_numbers(name: str) -> None:
    torch.manual_seed(0)
    f, given = DROP_INS[name](6)
    _, others = DROP_INS[name](6)
    given[0].requires_grad_()
    traced = torch.jit.trace(f, given)  # which traces twice, and compares
    torch.testing.assert_close(traced(*others), f(*others))
    made = make_fx(lambda *x: f(*x))(*(x.detach() for x in given))
    torch.testing.assert_close(made(*others), f(*others))


MODULES: dict[str, tuple[Any, ...]] = {
    "L1Loss": (),
    "MSELoss": (),
    "SmoothL1Loss": (),
    "HuberLoss": (),
    "BCELoss": (),
    "BCEWithLogitsLoss": (),
    "SoftMarginLoss": (),
    "MultiLabelSoftMarginLoss": (),
    "PoissonNLLLoss": (),
    "CrossEntropyLoss": (),
    "NLLLoss": (),
    "MultiMarginLoss": (),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_traced_symbolically_as_torchs_are(name: str) -> None:
    labels = name in ("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss")
    x, t = torch.rand(4, 5), torch.randint(5, (4,)) if labels else torch.rand(4, 5)

    class Step(torch.nn.Module):
        def __init__(self, criterion: Any) -> None:
            super().__init__()
            self.layer, self.criterion = torch.nn.Linear(5, 5), criterion

        def forward(self, x: Any, t: Any) -> Any:
            return self.criterion(self.layer(x).sigmoid(), t)

    for criterion in (getattr(nn, name)(), Step(getattr(nn, name)())):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lossary.LossMisuseWarning)
            graph = torch.fx.symbolic_trace(criterion)
            torch.testing.assert_close(graph(x, t), criterion(x, t))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "hinge", "kl_divergence", "triplet_margin", "dice"])
def test_traced_losses_of_the_catalogue_compute_on_other_numbers(name: str) -> None:
    loss = get(name)
    for how in REDUCTIONS:
        f = lambda *x, how=how: loss.value(*x, reduction=how)  # noqa: E731
        given = tuple(tensors(loss, 4))
        given[0].requires_grad_()
        others = tuple(x.flip(0) if x.ndim else x for x in tensors(loss, 4))
        torch.testing.assert_close(torch.jit.trace(f, given)(*others), f(*others))
        made = make_fx(f)(*(x.detach() for x in given))
        torch.testing.assert_close(made(*others), f(*others))


# --- checks ----------------------------------------------------------------------------------------------------------


def test_a_process_whose_first_call_is_compiled_may_check_everything() -> None:
    code = """
import warnings
import torch, lossary
lossary.checks("full")
x, y = torch.rand(64, 5).softmax(-1), torch.arange(64) % 5
f = torch.compile(lambda x, y: lossary.softmax_cross_entropy(x, y).mean(), backend="eager")
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    f(x, y)
print(any("probabilities" in str(w.message) for w in caught))
lossary.checks("sampled")
g = torch.compile(lambda x, y: lossary.huber(x, y).mean(), backend="eager", fullgraph=True)
print(g(torch.ones(3), torch.zeros(3)).item())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["True", "0.5"], run.stderr[-2000:]


def test_threads_that_end_under_full_checks_leave_the_graphs_of_others_whole() -> None:
    code = """
import threading
import torch, lossary
def work():
    lossary.checks("full")
    with lossary.checks("off"), lossary.checks("full"):
        lossary.checks("full")
threads = [threading.Thread(target=work) for _ in range(100)]
for thread in threads: thread.start()
for thread in threads: thread.join()
f = torch.compile(lambda x, y: lossary.huber(x, y).mean(), backend="eager", fullgraph=True)
print(f(torch.ones(3), torch.zeros(3)).item())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["0.5"], run.stderr[-2000:]
