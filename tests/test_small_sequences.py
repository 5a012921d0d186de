"""Small calls of `ctc_loss` take a fast path: the same numbers, derivatives, refusals as by the definition."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("numba", reason="there is no fast path without kernels")
torch = pytest.importorskip("torch")

from lossary.nn import functional as F  # noqa: E402, N812
from lossary.testing import kernels  # noqa: E402
from operations import takes_fast_path  # noqa: E402


@pytest.fixture(autouse=True)
def with_kernels() -> Iterator[None]:
    with kernels("on"):
        yield


FRAMES, CLASSES = 9, 5
LABELS = torch.tensor([[1, 2, 3], [4, 4, 0], [2, 1, 4]])


def log_probs(dtype: torch.dtype = torch.float64, batch: int = 3) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(FRAMES, batch, CLASSES, dtype=dtype).log_softmax(-1)


def both(*given: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient by the kernel, which agree with those of the definition."""
    found = []
    for when in ("on", "off"):
        with kernels(when):
            leaf = given[0].detach().requires_grad_()
            value = F.ctc_loss(leaf, *given[1:], **options)
            upstream = torch.linspace(-1, 2, value.numel(), dtype=value.dtype).reshape(value.shape)
            (grad,) = torch.autograd.grad(value, leaf, upstream)
            with torch.no_grad():
                assert F.ctc_loss(leaf, *given[1:], **options).equal(value)
            found.append((value.detach(), grad))
    (value, grad), (expected, expected_grad) = found
    close = {"rtol": 1e-5, "atol": 1e-6} if value.dtype == torch.float32 else {"rtol": 1e-13, "atol": 1e-14}
    torch.testing.assert_close(value, expected, **close)
    torch.testing.assert_close(grad, expected_grad, **close)
    assert grad.stride() == given[0].stride()
    return value, grad


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kernel_and_definition_agree(how: str, dtype: torch.dtype) -> None:
    x = log_probs(dtype)
    frames, lengths = torch.tensor([9, 7, 2]), torch.tensor([3, 2, 3])  # the last does not fit
    in_a_row = torch.cat([row[:n] for row, n in zip(LABELS, lengths, strict=True)])
    batch_first = x.transpose(0, 1).contiguous().transpose(0, 1)
    for targets, zero in itertools.product(
        (LABELS, LABELS.int(), LABELS.t().contiguous().t(), in_a_row), (True, False)
    ):
        both(x, targets, frames, lengths, reduction=how, zero_infinity=zero)
    both(batch_first, LABELS, frames, lengths, reduction=how, zero_infinity=True)
    both(x, LABELS, (9, 7, 9), (3, 2, 3), reduction=how)
    both(x, LABELS, frames.int(), lengths.int(), reduction=how, blank=3)
    for targets in (LABELS[0], LABELS[:1]):
        both(x[:, 0].contiguous(), targets, frames[0], lengths[0], reduction=how)
    both(x, LABELS, (0, 0, 9), (0, 1, 0), reduction=how, zero_infinity=True)
    both(x, in_a_row[:0], (9, 7, 9), (0, 0, 0), reduction=how)
    broken = x.clone()
    broken[3, 1, 2] = torch.nan
    both(broken.masked_fill(torch.arange(CLASSES) == 1, -torch.inf), LABELS, frames, lengths, reduction=how)


def test_calls_of_one_shape_that_differ_in_numbers_are_not_confused() -> None:
    x, known = log_probs(), set()
    lengths = [(3, 2, 3), (1, 2, 3), (0, 0, 1)]
    for _ in range(2):
        for spoken, frames, blank, zero, how in itertools.product(
            lengths, [(9, 9, 9), (9, 5, 2)], (0, 4), (True, False), ("sum", "mean")
        ):
            value, _ = both(x, LABELS, frames, spoken, blank=blank, zero_infinity=zero, reduction=how)
            known.add(value.item())
    assert len(known) == 25  # all differ, but where `zero_infinity` changes nothing; infinity is one of them


REFUSED: list[dict[str, Any]] = [
    {"blank": CLASSES},
    {"blank": -1},
    {"input_lengths": (FRAMES + 1, 9, 9)},
    {"input_lengths": (9, -1, 9)},
    {"input_lengths": (9, 9)},
    {"input_lengths": 9},
    {"input_lengths": torch.tensor([9, 9, 9])},
    {"target_lengths": (3, 4, 3)},
    {"target_lengths": (3, 3, -1)},
    {"target_lengths": (2**62, 2**62, 2**62)},
    {"targets": torch.tensor([1, 2, 3])},
    {"targets": LABELS[:2]},
    {"targets": LABELS + 1},
    {"targets": LABELS - 1},
    {"targets": LABELS[None]},
    {"log_probs": torch.zeros(FRAMES, 3, CLASSES, dtype=torch.int64)},
    {"log_probs": torch.zeros(CLASSES)},
    {"reduction": "average"},
]


@pytest.mark.parametrize("change", REFUSED, ids=range(len(REFUSED)))
def test_refusals_are_those_of_the_definition(change: dict[str, Any]) -> None:
    usual = {"log_probs": log_probs(), "targets": LABELS, "input_lengths": (9, 9, 9), "target_lengths": (3, 3, 3)}
    said = []
    for when in ("on", "off"):
        with kernels(when):
            F.ctc_loss(**usual)
            with pytest.raises(ValueError, match=r".") as refusal:
                F.ctc_loss(**{**usual, **change})
        said.append(str(refusal.value))
    assert said[0] == said[1]


def test_padding_may_be_anything() -> None:
    padded = LABELS.clone()
    padded[1, 2] = 99
    value, _ = both(log_probs(), padded, (9, 9, 9), (3, 2, 3))
    assert value.equal(both(log_probs(), LABELS, (9, 9, 9), (3, 2, 3))[0])


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
@pytest.mark.parametrize("zero", [True, False])
def test_gradients_of_gradients(how: str, zero: bool) -> None:
    x = log_probs()[:, :2].requires_grad_()
    lengths = (9, 2 if zero else 9), (3, 3)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return F.ctc_loss(x, LABELS[[0, 2]], *lengths, reduction=how, zero_infinity=zero)

    assert torch.autograd.gradcheck(loss, x)
    assert torch.autograd.gradgradcheck(loss, x)


@pytest.mark.parametrize("how", ["none", "sum", "mean"])
def test_a_gradient_is_the_callers_to_change_and_is_right_the_next_time(how: str) -> None:
    leaf = log_probs().requires_grad_()
    twice = leaf * 1
    twice.register_hook(lambda grad: grad.mul_(2))
    value = F.ctc_loss(twice, LABELS, (9, 9, 9), (3, 2, 3), reduction=how)
    upstream = torch.ones_like(value)
    (expected,) = torch.autograd.grad(value, twice, upstream, retain_graph=True)
    expected = 2 * (expected / 2)  # the hook has changed it
    for times in (1, 2, 3):
        value.backward(upstream, retain_graph=True)
        torch.testing.assert_close(leaf.grad, times * expected)
    (nothing,) = torch.autograd.grad(value, leaf, torch.zeros_like(value))
    assert not nothing.any()


def test_what_a_fast_path_takes_and_what_not() -> None:
    rest: tuple[Any, ...] = (LABELS, (9, 9, 9), (3, 2, 3))
    x = log_probs()
    assert takes_fast_path(lambda: F.ctc_loss(x, *rest))
    expected = F.ctc_loss(x, *rest)
    close = {"rtol": 1e-12, "atol": 0.0}
    for other in (x.transpose(0, 2).contiguous().transpose(0, 2), torch._neg_view(-x)):
        torch.testing.assert_close(F.ctc_loss(other, *rest), expected, **close)
    torch.testing.assert_close(F.ctc_loss(x.bfloat16(), *rest), expected.bfloat16(), rtol=2e-2, atol=0)
    one = x[:, :1]
    spread, whole = (F.ctc_loss(y, *rest) for y in (one.expand(-1, 3, -1), one.repeat(1, 3, 1)))
    torch.testing.assert_close(spread, whole, **close)
    large = x.repeat(2000, 1, 1)  # threads share it
    torch.testing.assert_close(F.ctc_loss(large, *rest), expected, **close)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        found = torch.autograd.forward_ad.unpack_dual(F.ctc_loss(dual, *rest, reduction="sum"))
    # A path has a factor for each frame.
    torch.testing.assert_close(found.tangent, torch.tensor(-27.0, dtype=x.dtype))


def test_a_walk_back_with_several_gradients_at_once_goes_through() -> None:
    scores = torch.randn(9, 2, 5, dtype=torch.float64).log_softmax(-1).requires_grad_()
    labels, lengths = torch.tensor([[1, 2], [3, 3]]), torch.tensor([9, 7])
    values = torch.stack([F.ctc_loss(scores, labels, lengths, torch.tensor([2, n])) for n in (1, 2)])
    several = torch.autograd.grad(values, scores, torch.eye(2).double(), is_grads_batched=True, retain_graph=True)[0]
    for value, grad in zip(values, several, strict=True):
        torch.testing.assert_close(grad, torch.autograd.grad(value, scores, retain_graph=True)[0])
