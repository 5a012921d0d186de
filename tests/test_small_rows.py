"""Few rows of logits, clusters of classes and triplets: the fast path of kernels gives what PyTorch gives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("numba", reason="there is no fast path without kernels")
torch = pytest.importorskip("torch")

from lossary import nn  # noqa: E402
from lossary.nn import functional as F  # noqa: E402, N812
from lossary.testing import kernels  # noqa: E402
from operations import takes_fast_path  # noqa: E402

THEIRS = torch.nn.functional


@pytest.fixture(autouse=True)
def with_kernels() -> Iterator[None]:
    with kernels("on"):
        yield


def close(got: Any, expected: Any) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)


def given(classes: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    labels = torch.randint(0, classes, (11,))
    labels[3] = -100
    return torch.randn(11, classes, dtype=dtype), labels, torch.rand(classes, dtype=dtype)


def cross_entropy(
    scores: torch.Tensor, labels: torch.Tensor, how: str, weight: Any = None, ignored: int = -100, smoothing: float = 0
) -> torch.Tensor:
    return F.cross_entropy(scores, labels, weight, ignore_index=ignored, label_smoothing=smoothing, reduction=how)


@pytest.mark.filterwarnings("ignore:.*a single class:lossary.errors.LossMisuseWarning")
@pytest.mark.parametrize("classes", [1, 7, 100, 300])  # rows side by side, and one after the other
@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_cross_entropy_of_every_kind_is_that_of_torch(classes: int, how: str) -> None:
    scores, labels, weights = given(classes)
    for _ in range(2):  # the second time what is known of a shape is used, and is not another's
        for weight, ignored, smoothing in itertools.product((None, weights), (-100, 0), (0.0, 0.3)):
            known = labels if ignored == -100 else labels.clamp(min=0)
            if how == "mean" and (known == ignored).all():
                continue
            leaf = scores.clone().requires_grad_()
            value = cross_entropy(leaf, known, how, weight, ignored, smoothing)
            options = {"weight": weight, "ignore_index": ignored, "label_smoothing": smoothing, "reduction": how}
            expected = THEIRS.cross_entropy(leaf, known, **options)
            close(value, expected)
            with torch.no_grad():
                assert value.equal(cross_entropy(leaf, known, how, weight, ignored, smoothing))
            for upstream in (
                torch.ones_like(value),
                torch.linspace(-2, 1, value.numel()).reshape(value.shape).double(),
            ):
                (grad,) = torch.autograd.grad(value, leaf, upstream, retain_graph=True)
                close(grad, torch.autograd.grad(expected, leaf, upstream, retain_graph=True)[0])
    assert takes_fast_path(lambda: cross_entropy(scores, labels, how, weights, -100, 0.3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_ignored_may_hold_anything(dtype: torch.dtype) -> None:
    scores, labels, _ = given(5, dtype)
    scores[3] = torch.nan
    leaf = scores.requires_grad_()
    value = cross_entropy(leaf, labels, "mean")
    assert value.isfinite()
    (grad,) = torch.autograd.grad(value, leaf)
    assert not grad[3].any()
    assert grad.isfinite().all()


def test_calls_that_no_fast_path_takes_are_those_of_torch() -> None:
    """Each follows one that a fast path takes, and differs in one thing alone."""
    scores, labels, weights = given(5)
    for x, y, weight in (
        (scores, torch.full_like(labels, -100), None),
        (scores, labels, torch.zeros_like(weights)),
        (scores.bfloat16(), labels, None),
        (scores.t().contiguous().t(), labels, None),
        (torch._neg_view(scores), labels, None),
        (scores[:7], labels[:7], weights),
    ):
        assert cross_entropy(scores, labels, "mean", None if weight is None else weights).isfinite()
        found, expected = (f.cross_entropy(x, y, weight) for f in (F, THEIRS))
        torch.testing.assert_close(found, expected, equal_nan=True)


def test_what_is_wrong_is_refused_after_a_call_that_was_right() -> None:
    scores, labels, weights = given(5)
    for x, y, weight in (
        (scores, labels.clamp(min=5), None),
        (scores, labels - 1, None),
        (scores, labels, weights.float()),
        (scores, labels, weights[:-1]),
        (scores, labels.int(), None),
        (scores, labels[:-1], None),
    ):
        assert cross_entropy(scores, labels, "mean", None if weight is None else weights).isfinite()
        for f in (F, THEIRS):
            with pytest.raises((IndexError, ValueError, RuntimeError)):
                f.cross_entropy(x, y, weight)


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_second_derivatives(how: str) -> None:
    scores, labels, weights = given(4)
    leaf = scores[:5].requires_grad_()

    def loss(x: torch.Tensor) -> torch.Tensor:
        return cross_entropy(x, labels[:5], how, weights, -100, 0.1)

    assert torch.autograd.gradcheck(loss, leaf)
    assert torch.autograd.gradgradcheck(loss, leaf)


def test_a_gradient_is_the_callers_to_change_and_is_right_the_next_time() -> None:
    scores, labels, _ = given(5)
    leaf = scores.requires_grad_()
    twice = leaf * 1
    twice.register_hook(lambda grad: grad.mul_(2))
    value = cross_entropy(twice, labels, "mean")
    expected = 2 * torch.autograd.grad(THEIRS.cross_entropy(leaf, labels), leaf)[0]
    for times in (1, 2, 3):
        value.backward(retain_graph=True)
        close(leaf.grad, times * expected)
    (nothing,) = torch.autograd.grad(value, leaf, torch.zeros_like(value))
    assert not nothing.any()


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_head_on_few_rows(bias: bool) -> None:
    if not hasattr(torch.nn, "LinearCrossEntropyLoss"):
        pytest.skip("new in torch 2.13")
    torch.manual_seed(0)
    options = {"bias": bias, "dtype": torch.float64, "label_smoothing": 0.1, "weight": torch.rand(9).double()}
    ours, theirs = nn.LinearCrossEntropyLoss(6, 9, **options), torch.nn.LinearCrossEntropyLoss(6, 9, **options)
    theirs.load_state_dict(ours.state_dict())
    hidden, target = torch.randn(8, 6).double().requires_grad_(), torch.tensor([0, 8, 3, -100, 4, 4, 1, 2])
    for module in (ours, theirs):
        module(hidden, target).backward()
    assert takes_fast_path(lambda: ours(hidden, target))
    close(ours(hidden, target), theirs(hidden, target))
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(own.grad, other.grad)
    with pytest.raises(ValueError, match="out of range"):
        ours(hidden, target + 1)
    with pytest.raises(ValueError, match="features"):
        ours(hidden[:, :5], target)
    with pytest.raises(ValueError, match="convert one"):
        ours(hidden.float(), target)


def adaptive() -> nn.AdaptiveLogSoftmaxWithLoss:
    torch.manual_seed(0)
    return nn.AdaptiveLogSoftmaxWithLoss(8, 30, cutoffs=[5, 12, 20], div_value=2.0).double()


@pytest.mark.parametrize("when", ["on", "off"])
@pytest.mark.parametrize("labels", [[0, 4, 5, 29, 12, 19, 11, 5], [0, 1, 4], [25, 28], [7]], ids=str)
def test_clusters_are_those_of_torch(labels: list[int], when: str) -> None:
    with kernels(when):
        clusters_are_those_of_torch(labels)


def test_clusters_take_the_fast_path() -> None:
    ours, hidden = adaptive(), torch.randn(8, 8).double()
    assert takes_fast_path(lambda: ours(hidden, torch.tensor([0, 4, 5, 29, 12, 19, 11, 5])))


def clusters_are_those_of_torch(labels: list[int]) -> None:
    ours = adaptive()
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 30, cutoffs=[5, 12, 20], div_value=2.0).double()
    theirs.load_state_dict(ours.state_dict())
    hidden = torch.randn(len(labels), 8).double().requires_grad_()
    grads = []
    for module in (ours, theirs):
        output, loss = module(hidden, torch.tensor(labels))
        upstream = torch.linspace(-1, 2, len(labels)).double()
        wanted = [hidden, *module.parameters()]
        value = loss + (output * upstream).sum()
        grads.append((output, loss, *torch.autograd.grad(value, wanted, allow_unused=True)))
    for own, other in zip(*grads, strict=True):
        assert (own is None) == (other is None)
        if own is not None:
            close(own, other)
    one = ours(hidden[0], torch.tensor(labels[0]))
    assert one.output.shape == ()
    close(one.output, grads[0][0][0])
    for wrong in (-1, 30):
        with pytest.raises(ValueError, match=r"expected labels in \[0, 29\]"):
            ours(hidden, torch.tensor([wrong, *labels[1:]]))


def test_second_derivatives_of_clusters() -> None:
    model = adaptive()
    hidden, labels = torch.randn(4, 8).double().requires_grad_(), torch.tensor([0, 6, 29, 13])

    def output(x: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, {"head.weight": head}, (x, labels)).output

    head = model.head.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(output, (hidden, head))
    assert torch.autograd.gradgradcheck(output, (hidden, head))


DISTANCES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None] = {
    "torch's": None,
    "squared": lambda a, b: ((a - b) ** 2).sum(-1),
    "of each": lambda a, b: (a - b).abs(),
}


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
@pytest.mark.parametrize("swap", [True, False])
@pytest.mark.parametrize("name", DISTANCES)
def test_triplets_with_any_distance_are_those_of_torch(name: str, swap: bool, how: str) -> None:
    torch.manual_seed(0)
    triplet = tuple(torch.randn(12, 3).double().requires_grad_() for _ in range(3))
    for margin in (1.0, 0.25):
        options = {"distance_function": DISTANCES[name], "swap": swap, "reduction": how, "margin": margin}
        value = F.triplet_margin_with_distance_loss(*triplet, **options)
        expected = THEIRS.triplet_margin_with_distance_loss(*triplet, **options)
        close(value, expected)
        upstream = torch.linspace(-1, 2, value.numel()).reshape(value.shape).double()
        grads = (torch.autograd.grad(x, triplet, upstream) for x in (value, expected))
        for own, other in zip(*grads, strict=True):
            close(own, other)
    with pytest.raises(ValueError, match="margin: got 0"):
        F.triplet_margin_with_distance_loss(*triplet, distance_function=DISTANCES[name], margin=0)
    with pytest.raises(ValueError, match="equally many dimensions"):
        F.triplet_margin_with_distance_loss(triplet[0], triplet[1][0], triplet[2], distance_function=DISTANCES[name])
