"""Small calls from torch take a fast path: the same numbers, derivatives, refusals as the general one gives."""

from __future__ import annotations

import gc
import importlib.util
import math
import os
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import lossary  # noqa: E402
from lossary.nn import functional as F  # noqa: E402, N812
from operations import takes_fast_path  # noqa: E402

THEIRS = torch.nn.functional
FAST = importlib.util.find_spec("numba") is not None and os.environ.get("LOSSARY_KERNELS") != "off"
SMALL = 65536  # numbers beyond which threads share a call


def arrays(n: int = 40, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(n, dtype=dtype, requires_grad=True), torch.randn(n, dtype=dtype)


def test_a_repeated_call_is_fast_and_parameters_and_types_are_not_confused() -> None:
    x, y = arrays()
    first = [
        F.huber_loss(x, y, delta=0.5),
        F.huber_loss(x.float(), y.float(), delta=0.5),
        F.huber_loss(x, y, delta=2.0),
    ]
    again = [
        F.huber_loss(x, y, delta=0.5),
        F.huber_loss(x.float(), y.float(), delta=0.5),
        F.huber_loss(x, y, delta=2.0),
    ]
    for got, once, delta in zip(again, first, (0.5, 0.5, 2.0), strict=True):
        assert got.equal(once)
        torch.testing.assert_close(got, THEIRS.huber_loss(x, y, delta=delta), check_dtype=False, rtol=1e-6, atol=0)
    assert takes_fast_path(lambda: F.huber_loss(x, y, delta=0.5)) == FAST


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_the_gradient_scales_with_what_comes_back_and_can_be_asked_for_again(how: str) -> None:
    x, y = arrays()
    value = F.smooth_l1_loss(x, y, reduction=how)
    upstream = torch.linspace(-1, 1, 40, dtype=x.dtype) if how == "none" else torch.tensor(-2.5, dtype=x.dtype)
    once = torch.autograd.grad(value, x, upstream, retain_graph=True)[0]
    again = torch.autograd.grad(value, x, upstream)[0]
    expected = torch.autograd.grad(THEIRS.smooth_l1_loss(x, y, reduction=how), x, upstream)[0]
    torch.testing.assert_close(once, expected, rtol=1e-12, atol=1e-15)
    assert once.equal(again)


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_an_upstream_of_0_gives_0_even_where_the_slope_is_infinite(how: str) -> None:
    probability = torch.tensor([0.0, 0.5], dtype=torch.float64, requires_grad=True)
    value = lossary.binary_cross_entropy.value(probability, torch.ones(2, dtype=torch.float64), reduction=how)
    value.backward(torch.zeros_like(value))
    assert probability.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_a_gradient_is_the_callers_to_change_and_is_right_the_next_time(how: str) -> None:
    x, y = arrays()
    twice = x * 1
    twice.register_hook(lambda grad: grad.mul_(2))
    value = F.mse_loss(twice, y, reduction=how)
    upstream = torch.ones_like(value)
    expected = 2 * torch.autograd.grad(THEIRS.mse_loss(x, y, reduction=how), x, upstream)[0]
    for times in (1, 2, 3):  # the third adds to a gradient that was added to
        value.backward(upstream, retain_graph=True)
        torch.testing.assert_close(x.grad, times * expected)


def test_gradients_of_gradients() -> None:
    x, y = arrays(5)
    for how in ("none", "sum", "mean"):
        assert torch.autograd.gradcheck(lambda x, how=how: F.soft_margin_loss(x, y.sign(), reduction=how), x)
        assert torch.autograd.gradgradcheck(lambda x, how=how: F.soft_margin_loss(x, y.sign(), reduction=how), x)


def test_calls_that_no_fast_path_takes_are_those_of_torch() -> None:
    x, y = arrays(8)
    expected = (x - y) ** 2
    tracked = y.clone().requires_grad_()
    (grad,) = torch.autograd.grad(F.mse_loss(x, tracked, reduction="sum"), tracked)
    torch.testing.assert_close(grad, 2 * (y - x).detach())
    torch.testing.assert_close(lossary.squared_error(x, y.float()), expected, rtol=1e-5, atol=1e-6)
    turned = lossary.squared_error(x.reshape(4, 2).T, y.reshape(4, 2).T)
    torch.testing.assert_close(turned, expected.reshape(4, 2).T)
    delta = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    value = lossary.huber(x, y, delta=delta)
    torch.testing.assert_close(value, THEIRS.huber_loss(x, y, reduction="none"))


def test_refusals_are_those_of_the_general_path() -> None:
    x = torch.tensor([0.5, 1.5])
    with pytest.raises(lossary.errors.DomainError, match=r"binary_cross_entropy: probs"):
        lossary.binary_cross_entropy(x, torch.ones(2))
    with pytest.raises(lossary.errors.ParameterError, match="delta"):
        lossary.huber(x, x, delta=-1.0)
    with pytest.raises(lossary.errors.ArgumentError, match="did you mean"):
        lossary.huber(x, x, dleta=1.0)
    with pytest.raises(lossary.errors.ShapeError):
        lossary.huber(x, x[:, None])
    with pytest.raises(RuntimeError):
        THEIRS.binary_cross_entropy(torch.tensor([float("nan")]), torch.ones(1))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        F.binary_cross_entropy(torch.tensor([float("nan")]), torch.ones(1))


WITHOUT_INNER_PARTS = """
import sys
import torch._C._dynamo.guards as parts
del parts.TensorGuards, parts._empty_strided_cpu
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_a_torch_without_the_inner_parts_that_save_time_gives_the_same() -> None:
    """None of them is promised to stay."""
    wanted = "differ_in_one_thing or whatever_the_default_device"
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__, "-k", wanted]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_INNER_PARTS, *options], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_calls_that_differ_in_one_thing_alone_are_not_taken_for_each_other(how: str) -> None:
    torch.manual_seed(5)
    x, y = torch.randn(6, 4), torch.randn(6, 4)
    pairs = [
        (x, y),
        (x[:3], y[:3]),  # longer and shorter
        (x.reshape(4, 6), y.reshape(4, 6)),
        (x.reshape(24), y.reshape(24)),
        (x.double(), y.double()),
        (x.clone().requires_grad_(), y),
        (x, y.clone().requires_grad_()),
        (torch.nn.Parameter(x), y),
        (x.T.contiguous().T, y),  # in another order
        (x.repeat(1, 2)[:, ::2], y),
        (torch._neg_view(x), y),  # not what memory holds
        (x.half(), y.half()),
    ]
    for first in pairs:
        for second in pairs:
            for a, b in (first, second, first):
                found, expected = (f.huber_loss(a, b, delta=0.7, reduction=how) for f in (F, THEIRS))
                torch.testing.assert_close(found, expected)
                assert found.requires_grad == expected.requires_grad
                with torch.no_grad():
                    assert not F.huber_loss(a, b, delta=0.7, reduction=how).requires_grad
    rows, labels = torch.randn(6, 5), torch.randint(5, (6,))
    for scores, target in (
        (rows, labels),
        (rows[:, :3], labels % 3),
        (rows, labels),
        (rows[:, :4].clone(), labels % 4),
    ):
        torch.testing.assert_close(*(f.cross_entropy(scores, target, reduction=how) for f in (F, THEIRS)))


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_a_tangent_carried_forward_is_no_call_like_the_last(how: str) -> None:
    x, y = (a.detach() for a in arrays())
    tangent = torch.linspace(-1, 1, 40, dtype=x.dtype)
    value = F.huber_loss(x, y, delta=0.5, reduction=how)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, tangent)
        found = torch.autograd.forward_ad.unpack_dual(F.huber_loss(dual, y, delta=0.5, reduction=how))
    torch.testing.assert_close(found.primal, value)
    slope = (x - y).clamp(-0.5, 0.5) * tangent
    torch.testing.assert_close(found.tangent, {"none": slope, "sum": slope.sum(), "mean": slope.mean()}[how])


def test_modes_and_everything_between_a_tensor_and_its_memory_are_no_calls_like_the_last() -> None:
    x, y = torch.randn(3, 2), torch.randn(3, 2)
    expected = THEIRS.mse_loss(x, y, reduction="none")
    assert F.mse_loss(x, y, reduction="none").equal(expected)
    assert F.mse_loss(x.to("meta"), y.to("meta"), reduction="none").device.type == "meta"
    with torch.inference_mode():
        assert F.mse_loss(x.clone(), y.clone(), reduction="none").is_inference()
    torch.testing.assert_close(torch.func.vmap(lambda a, b: F.mse_loss(a, b, reduction="none"))(x, y), expected)

    class Follower(torch.utils._python_dispatch.TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, operation: Any, types: Any, given: Any = (), options: Any = None) -> Any:
            self.seen += 1
            return operation(*given, **(options or {}))

    with Follower() as follower:
        torch.testing.assert_close(F.mse_loss(x, y, reduction="none"), expected)
    assert follower.seen > 0


@pytest.mark.parametrize("how", ["sum", "mean"])
def test_what_is_larger_than_its_type_is_infinite(how: str) -> None:
    x = torch.full((50,), 1e30, requires_grad=True)
    for found in (F.mse_loss(x, -x.detach(), reduction=how), F.mse_loss(x.detach(), -x.detach(), reduction=how)):
        assert found.item() == math.inf
    rows = torch.full((2, 3), 3e38)
    assert F.multi_margin_loss(rows * torch.tensor([1.0, -1.0, 1.0]), torch.tensor([1, 1]), reduction="sum") == math.inf


def test_results_are_where_the_arguments_are_whatever_the_default_device() -> None:
    x, y = arrays(40)
    expected = [F.huber_loss(x, y, reduction=how) for how in ("none", "sum", "mean")]
    with torch.device("meta"):
        for how, before in zip(("none", "sum", "mean"), expected, strict=True):
            for _ in range(2):
                value = F.huber_loss(x, y, reduction=how)
                assert value.equal(before)
                assert torch.autograd.grad(value.sum(), x)[0].device.type == "cpu"


def test_threads_at_once() -> None:
    x, y = arrays()
    expected = [THEIRS.huber_loss(x, y, delta=0.1 * k).item() for k in range(1, 30)]
    found: list[list[float]] = []

    def work() -> None:
        found.append([F.huber_loss(x, y, delta=0.1 * k).item() for k in range(1, 30)])

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    for got in found:
        assert got == pytest.approx(expected, rel=1e-12)


def test_what_is_kept_of_calls_is_bounded() -> None:
    """A loss that has been called is let go when calls of thousands of other kinds have followed."""
    x, y = torch.ones(2), torch.zeros(2)
    mine = lossary.huber.bind(delta=0.25)
    mine(x, y)
    held = weakref.ref(mine)
    del mine
    for number in range(6000):
        F.huber_loss(x, y, delta=1 + number / 8)
        if number % 1000 == 0:
            gc.collect()
    gc.collect()
    assert held() is None


@pytest.mark.filterwarnings("ignore")  # the tracer's, of conditions on shapes
def test_a_tracer_sees_operations_and_no_constants() -> None:
    x, y = (a.detach() for a in arrays(8))
    traced = torch.jit.trace(F.huber_loss, (x, y), check_trace=False)
    torch.testing.assert_close(traced(2 * x, y), THEIRS.huber_loss(2 * x, y))
    graph = torch.fx.experimental.proxy_tensor.make_fx(lambda x, y: F.huber_loss(x, y))(x, y)
    torch.testing.assert_close(graph(2 * x, y), THEIRS.huber_loss(2 * x, y))


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_rows_with_ignored_labels_and_those_without_agree_with_torch(how: str) -> None:
    torch.manual_seed(1)
    scores, labels = torch.randn(70, 9, requires_grad=True), torch.randint(9, (70,))
    for ignored in (-100, 3):
        for smoothing in (0.0, 0.2):
            options = {"ignore_index": ignored, "label_smoothing": smoothing, "reduction": how}
            found, expected = (f.cross_entropy(scores, labels, **options) for f in (F, THEIRS))
            torch.testing.assert_close(found, expected)
            upstream = torch.randn_like(expected)
            torch.testing.assert_close(*(torch.autograd.grad(v, scores, upstream)[0] for v in (found, expected)))


def test_labels_out_of_range_are_refused_and_none_are_a_mean_of_nothing() -> None:
    scores = torch.randn(4, 3)
    with pytest.raises(IndexError, match="label 3"):
        F.cross_entropy(scores, torch.tensor([0, 1, 2, 3]))
    assert F.cross_entropy(scores, torch.full((4,), -100)).isnan()
    assert lossary.softmax_cross_entropy.value(scores, torch.full((4,), 7), ignore_index=7, reduction="mean") == 0


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_second_derivatives_of_rows(how: str) -> None:
    torch.manual_seed(2)
    scores, labels = torch.randn(5, 4, dtype=torch.float64, requires_grad=True), torch.tensor([0, 3, -100, 1, 2])
    torch.autograd.gradgradcheck(lambda x: F.cross_entropy(x, labels, reduction=how), scores)
    points = [torch.randn(5, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    torch.autograd.gradgradcheck(lambda *x: F.triplet_margin_loss(*x, swap=True, reduction=how), points)


def test_labels_listed_in_any_way_agree_with_torch() -> None:
    torch.manual_seed(3)
    scores, listed = torch.randn(60, 7, requires_grad=True), torch.randint(-1, 7, (60, 7))
    found, expected = (f.multilabel_margin_loss(scores, listed) for f in (F, THEIRS))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, scores)[0] for v in (found, expected)))
    with pytest.raises(ValueError, match="label 7"):
        F.multilabel_margin_loss(scores, torch.full_like(listed, 7))


@pytest.mark.parametrize("count", [5, 70, 7000])
@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_lists_of_classes_have_every_derivative_in_a_call_of_any_size(count: int, how: str) -> None:
    torch.manual_seed(6)
    scores = torch.randn(count, 10, dtype=torch.float64, requires_grad=True)
    listed = torch.randint(-1, 10, (count, 10))
    found, expected = (f.multilabel_margin_loss(scores, listed, reduction=how) for f in (F, THEIRS))
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(found).requires_grad_()
    first = torch.autograd.grad(found, scores, upstream, retain_graph=True)[0]
    torch.testing.assert_close(first, torch.autograd.grad(expected, scores, upstream.detach())[0])
    assert first.equal(torch.autograd.grad(found, scores, upstream, retain_graph=True)[0])
    again = torch.autograd.grad(found, scores, upstream, create_graph=True)[0]
    torch.testing.assert_close(again, first)
    size = again.square().sum()  # which grows with the square of what comes back; torch has no such derivative
    torch.testing.assert_close((torch.autograd.grad(size, upstream)[0] * upstream).sum(), 2 * size)
    if FAST and not (listed.numel() > SMALL and how == "none"):
        assert takes_fast_path(lambda: F.multilabel_margin_loss(scores, listed, reduction=how))
    wrong = listed.clone()
    wrong[-1, -1] = 10
    with pytest.raises(ValueError, match="label 10"):
        F.multilabel_margin_loss(scores, wrong, reduction=how)
    with pytest.raises(ValueError, match="target"):
        F.multilabel_margin_loss(scores, listed.int(), reduction=how)
    with pytest.raises(ValueError, match="shape"):
        F.multilabel_margin_loss(scores, listed[:, 1:], reduction=how)


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_class_weights_are_of_the_kind(how: str) -> None:
    torch.manual_seed(4)
    scores, labels = torch.randn(70, 9, dtype=torch.float64, requires_grad=True), torch.randint(9, (70,))
    labels[::5] = 4
    weight = torch.rand(9, dtype=torch.float64)
    soft = torch.rand(70, 9, dtype=torch.float64).softmax(-1)
    calls = [
        lambda f: f.cross_entropy(scores, labels, weight, ignore_index=4, reduction=how),
        lambda f: f.cross_entropy(scores, labels, weight, label_smoothing=0.1, reduction=how),
        lambda f: f.cross_entropy(scores, soft, weight, reduction=how),
        lambda f: f.nll_loss(scores.log_softmax(-1), labels, weight, ignore_index=4, reduction=how),
        lambda f: f.multi_margin_loss(scores, labels, p=2, weight=weight, reduction=how),
    ]
    for call in calls:
        found, expected = call(F), call(THEIRS)
        torch.testing.assert_close(found, expected)
        upstream = torch.randn_like(expected)
        torch.testing.assert_close(*(torch.autograd.grad(v, scores, upstream)[0] for v in (found, expected)))
        assert takes_fast_path(lambda call=call: call(F)) == FAST
    few, some = scores[:6].detach().requires_grad_(), labels[:6]
    options = {"ignore_index": 4, "label_smoothing": 0.1, "reduction": how}
    torch.autograd.gradgradcheck(lambda x: F.cross_entropy(x, some, weight, **options), few)
    with pytest.raises(IndexError, match="label 9"):
        F.cross_entropy(scores, torch.full((70,), 9), weight)
    assert F.cross_entropy(scores, labels, torch.zeros_like(weight)).isnan()
    learned = weight.clone().requires_grad_()
    F.nll_loss(scores.log_softmax(-1), labels, learned).backward()
    assert learned.grad.abs().sum() > 0


@pytest.mark.filterwarnings("ignore::lossary.errors.LossMisuseWarning")
@pytest.mark.parametrize("how", ["mean", "sum"])
def test_large_calls_are_summed_by_the_kernel_and_have_every_derivative(how: str) -> None:
    x, y = arrays(SMALL + 7, torch.float32)
    found, expected = (f.huber_loss(x, y, delta=0.5, reduction=how) for f in (F, THEIRS))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)
    first, theirs = (torch.autograd.grad(3 * v, x, create_graph=True)[0] for v in (found, expected))
    torch.testing.assert_close(first, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(g.sum(), x)[0] for g in (first, theirs)))
    probability = x.detach().sigmoid()
    probability[-1] = 1.5
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        F.binary_cross_entropy(probability, y.sigmoid())
    with pytest.raises(ValueError, match="delta"):
        F.huber_loss(x, y, delta=-1.0)


# --- large calls of drop-ins on rows: reduced by the kernel -----------------------------------------------------------


def large(layout: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of more than a small call's size, and labels of which some are ignored."""
    generator = torch.Generator().manual_seed(3)
    shape = {"short": (9000, 8), "long": (700, 100), "image": (4, 9, 50, 40), "turned": (9, 9000)}[layout]
    scores = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    scores = scores.T if layout == "turned" else scores
    labels = torch.randint(scores.shape[1], (scores.shape[0], *scores.shape[2:]), generator=generator)
    labels[::7] = -100
    return scores, labels


def graded(loss: Any, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = scores.detach().requires_grad_()
    value = loss(leaf)
    return value, torch.autograd.grad(value, leaf)[0]


@pytest.mark.parametrize("layout", ["short", "long", "image", "turned"])
@pytest.mark.parametrize("how", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"weight": True}, {"soft": True}, {"all": True}])
def test_large_calls_on_rows_agree_with_torch(layout: str, how: str, options: dict) -> None:
    options = dict(options)
    scores, labels = large(layout, torch.float64)
    if options.pop("weight", False):
        options["weight"] = torch.linspace(0.5, 2, scores.shape[1], dtype=scores.dtype)
    target = torch.randn_like(scores).softmax(1) if options.pop("soft", False) else labels
    if options.pop("all", False):
        labels.clamp_(min=0)

    def reduced(functions: Any) -> Any:
        def loss(x: torch.Tensor) -> torch.Tensor:
            found = functions.cross_entropy(x, target, reduction=how, **options)
            return (found * torch.linspace(0, 1, found.numel()).reshape(found.shape)).sum() if how == "none" else found

        return loss

    value, grad = graded(reduced(F), scores)
    expected, slope = graded(reduced(THEIRS), scores)
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(grad, slope, rtol=1e-8, atol=1e-12)


def test_large_calls_give_the_gradient_again_and_differentiate_it() -> None:
    scores, labels = large("short", torch.float64)
    leaf = scores.requires_grad_()
    value = F.cross_entropy(leaf, labels)
    once = torch.autograd.grad(value, leaf, retain_graph=True)[0]
    assert once.equal(torch.autograd.grad(value, leaf, retain_graph=True)[0])
    (slope,) = torch.autograd.grad(3 * value, leaf, create_graph=True)
    torch.testing.assert_close(slope, 3 * once)
    theirs = torch.autograd.grad(3 * THEIRS.cross_entropy(leaf, labels), leaf, create_graph=True)[0]
    direction = torch.randn_like(leaf)
    got, expected = (torch.autograd.grad((g * direction).sum(), leaf)[0] for g in (slope, theirs))
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("layout", ["short", "long", "image"])
def test_a_wrong_label_among_many_is_refused_and_the_mean_of_nothing_is_no_number(layout: str) -> None:
    scores, labels = large(layout, torch.float32)
    assert F.cross_entropy(scores, torch.full_like(labels, -100)).isnan()
    assert F.cross_entropy(scores, torch.full_like(labels, -100), reduction="sum") == 0
    labels[-1] = scores.shape[1]
    with pytest.raises(IndexError, match="out of range"):
        F.cross_entropy(scores, labels)
    with pytest.raises(IndexError, match="out of range"):
        F.nll_loss(scores.log_softmax(1), labels, reduction="sum")


@pytest.mark.parametrize("count", [90, 700])  # a few tiles, whose sums are added here, and many
def test_labels_to_ignore_change_the_divisor_of_a_small_call_too(count: int) -> None:
    scores = torch.randn(count, 6, dtype=torch.float64)
    labels = torch.randint(6, (count,))
    for some in (slice(0, 0), slice(0, 50), slice(89, 90)):
        labels[some] = -100
        value, grad = graded(lambda x: F.cross_entropy(x, labels), scores)
        expected, slope = graded(lambda x: THEIRS.cross_entropy(x, labels), scores)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(grad, slope)
        if FAST:
            assert takes_fast_path(lambda: F.cross_entropy(scores, labels))


@pytest.mark.parametrize("size", [12, 80_000])
def test_a_walk_back_with_several_gradients_at_once_goes_through(size: int) -> None:
    x, y = arrays(size)
    labels = torch.arange(size // 6) % 6

    def losses(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([F.mse_loss(x, y), F.cross_entropy(x[: size // 6 * 6].reshape(-1, 6), labels)])

    several = torch.autograd.grad(losses(x), x, torch.eye(2, dtype=x.dtype), is_grads_batched=True)[0]
    alone = [torch.autograd.grad(losses(x)[k], x)[0] for k in range(2)]
    torch.testing.assert_close(several, torch.stack(alone))
