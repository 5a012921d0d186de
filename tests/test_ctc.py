"""Connectionist temporal classification: every path written down, the kernel, torch's conventions, what is refused."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import lossary
import oracles
from exact import to_exact
from lossary.errors import DomainError, ParameterError, ShapeError
from lossary.testing import kernels, random_arrays

numba = pytest.importorskip("numba")

ctc = lossary.ctc


def collapsed(path: tuple[int, ...], blank: int = 0) -> tuple[int, ...]:
    """What a path says: repeats merged, then blanks dropped."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != blank)


def by_enumeration(logits: Any, target: tuple[int, ...], blank: int = 0) -> float:
    """The probability of a target as the sum over every path there is."""
    frames, classes = logits.shape
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    paths = itertools.product(range(classes), repeat=frames)
    return sum(math.prod(p[t, c] for t, c in enumerate(path)) for path in paths if collapsed(path, blank) == target)


def sequences(
    batch: int, frames: int, classes: int, symbols: int, seed: int = 0, scale: float = 2.0
) -> tuple[Any, Any, Any, Any]:
    """Logits, labels without the blank 0, and lengths that leave room."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(symbols // 2, symbols + 1, batch)
    labels = rng.integers(1, classes, (batch, symbols))
    return (
        scale * rng.standard_normal((batch, frames, classes)),
        labels,
        rng.integers(2 * symbols, frames + 1, batch),
        lengths,
    )


def defined(*arrays: Any, **params: Any) -> tuple[Any, Any]:
    """Value and gradient by the definition."""
    with kernels("off"):
        return ctc.value_and_grad(*arrays, check=False, **params)


def computed(*arrays: Any, **params: Any) -> tuple[Any, Any]:
    """Value and gradient by the kernel."""
    with kernels("always"):
        return ctc.value_and_grad(*arrays, check=False, **params)


# --- the number ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_the_loss_is_the_sum_over_every_path(blank: int) -> None:
    rng = np.random.default_rng(blank)
    logits = rng.standard_normal((4, 3))
    others = [c for c in range(3) if c != blank]
    total = 0.0
    for length in range(5):
        for target in itertools.product(others, repeat=length):
            expected = by_enumeration(logits, target, blank)
            total += expected
            if expected == 0:
                continue
            found = ctc(logits, list(target), 4, length, blank=blank) if length else ctc(logits, [0], 4, 0, blank=blank)
            assert found == pytest.approx(-math.log(expected), abs=1e-12)
            oracle = oracles.ctc(to_exact(logits), list(target), 4, length, blank=blank)
            assert float(oracle) == pytest.approx(-math.log(expected), abs=1e-12)
    assert total == pytest.approx(1.0), "every path says something"


def test_the_gradient_in_log_probabilities_is_minus_the_occupancy() -> None:
    """Of log-probabilities that sum to whatever they like, and of those of a softmax."""
    logits, labels, frames, lengths = sequences(3, 12, 5, 4)
    raw = logits - 1.7
    outcome = lossary.check_grad(ctc, raw, labels, frames, lengths, from_logits=False)
    assert outcome, str(outcome)
    value, grad = ctc.value_and_grad(raw, labels, frames, lengths, from_logits=False)
    for n, count in enumerate(frames):
        np.testing.assert_allclose(grad[n, :count].sum(-1), -1, rtol=1e-12)  # every frame is somewhere
        assert (grad[n, count:] == 0).all()
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    value, grad = ctc.value_and_grad(log_p, labels, frames, lengths, from_logits=False)
    expected, of_logits = ctc.value_and_grad(logits, labels, frames, lengths)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    inside = np.arange(12)[None, :, None] < frames[:, None, None]
    np.testing.assert_allclose(np.where(inside, np.exp(log_p), 0) + grad, of_logits, atol=1e-13)


def test_which_class_is_the_blank_is_a_matter_of_naming() -> None:
    logits, labels, frames, lengths = sequences(3, 12, 5, 4)
    names = np.array([3, 0, 4, 1, 2])  # the class that each becomes
    moved = np.empty_like(logits)
    moved[..., names] = logits
    value, grad = ctc.value_and_grad(logits, labels, frames, lengths)
    again, moved_grad = ctc.value_and_grad(moved, names[labels], frames, lengths, blank=3)
    np.testing.assert_allclose(again, value, rtol=1e-14)
    np.testing.assert_allclose(moved_grad[..., names], grad, atol=1e-15)


def test_lengths_left_out_are_those_of_the_arrays_and_padding_may_be_anything() -> None:
    logits, labels, frames, lengths = sequences(4, 15, 6, 5)
    np.testing.assert_array_equal(ctc(logits[:1], labels[:1]), ctc(logits[:1], labels[:1], [15], [5]))
    expected, grad = ctc.value_and_grad(logits, labels, frames, lengths)
    for n in range(4):
        logits[n, frames[n] :] = np.nan
        labels[n, lengths[n] :] = -7
    found, padded = ctc.value_and_grad(logits, labels, frames, lengths)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(padded, grad)
    alone = [ctc(logits[n, : frames[n]], labels[n, : lengths[n]]) for n in range(4)]
    np.testing.assert_allclose(found, alone, rtol=1e-13)


def test_no_frames_and_no_labels() -> None:
    logits = np.random.default_rng(0).standard_normal((2, 3, 4))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    value, grad = ctc.value_and_grad(logits, np.zeros((2, 0), int))
    np.testing.assert_allclose(value, -log_p[..., 0].sum(-1), rtol=1e-14)
    value, grad = ctc.value_and_grad(logits, np.zeros((2, 1), int), [0, 3], [0, 0])
    assert value[0] == 0 and (grad[0] == 0).all()
    assert ctc(np.zeros((0, 4)), np.zeros(0, int)) == 0


def test_what_is_impossible_costs_infinity_and_has_no_slope() -> None:
    logits = np.random.default_rng(0).standard_normal((2, 3, 4))
    for arrays in ((logits, [[1, 1], [1, 2]], [2, 2], [2, 2]),):
        value, grad = ctc.value_and_grad(*arrays, check=False)
        assert value[0] == np.inf and np.isfinite(value[1])
        assert (grad[0] == 0).all() and (grad[1, :2] != 0).any()
    logits[0, :, 2] = -np.inf  # a class that is masked out, and wanted
    value, grad = ctc.value_and_grad(logits, [[1, 2], [1, 2]])
    assert value[0] == np.inf and (grad[0] == 0).all() and np.isfinite(value[1])
    value, grad = ctc.value_and_grad(logits, [[1, 3], [1, 3]])  # masked out, and not wanted
    assert np.isfinite(value).all() and np.isfinite(grad).all() and (grad[0, :, 2] == 0).all()


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "frames", "lengths", "said"),
    [
        ([[1, 1], [1, 2]], [2, 2], [2, 2], r"a frame for each label.*example 0 of 2 \(frames 2, labels 2, repeats 1\)"),
        ([[1, 2], [2, 0]], [4, 4], [2, 2], r"no blank inside a target; not so in example 1 of 2 \(.*0"),
        ([[1, 7], [2, 1]], [4, 4], [2, 2], r"labels: got 7 at index \(0, 1\).*\{0, ..., 3\}"),
        ([[1, 2], [2, 1]], [5, 4], [2, 2], r"input_lengths: got 5 at index 0, expected values in \{0, ..., 4\}"),
        ([[1, 2], [2, 1]], [4, 4], [2, 3], r"target_lengths: got 3 at index 1, expected values in \{0, ..., 2\}"),
        ([[1, 2], [2, 1]], [4, -1], [2, 0], r"input_lengths: got -1 at index 1"),
        ([[1, 2], [2, 1]], [1, 1], [2, 2], r"examples 0, 1 of 2 \(in the first: frames 1, labels 2, repeats 0\)"),
    ],
)
def test_misuse_is_refused_with_the_sequences_it_is_in(labels: Any, frames: Any, lengths: Any, said: str) -> None:
    logits = np.zeros((2, 4, 4))
    with pytest.raises(DomainError, match=said):
        ctc(logits, labels, frames, lengths)
    torch = pytest.importorskip("torch")
    with pytest.raises(DomainError, match=said):
        ctc(torch.zeros(2, 4, 4, requires_grad=True), torch.tensor(labels), torch.tensor(frames), torch.tensor(lengths))


def test_a_sequence_that_is_masked_may_be_impossible() -> None:
    logits = np.zeros((2, 2, 3))
    value = ctc.value(logits, [[1, 1], [1, 2]], mask=[False, True], reduction="sum")
    assert value == pytest.approx(-math.log(1 / 9))


def test_many_offenders_are_counted_not_listed() -> None:
    with pytest.raises(DomainError, match=r"examples 0, 1, 2, 3, 4, 5, 6, 7 and 12 more of 20"):
        ctc(np.zeros((20, 1, 3)), np.ones((20, 2), int))


def test_a_blank_that_is_no_class_and_shapes_that_do_not_fit() -> None:
    with pytest.raises(ParameterError, match=r"blank: got 4, expected one of the 4 classes"):
        ctc(np.zeros((4, 4)), [1, 2], blank=4)
    with pytest.raises(ShapeError, match="labels"):
        ctc(np.zeros((2, 4, 4)), np.ones((3, 2), int))
    with pytest.raises(ShapeError, match="logits"):
        ctc(np.zeros(4), [1, 2])


# --- the kernel ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("softmax", [True, False], ids=["logits", "log_probs"])
@pytest.mark.parametrize(("dtype", "close"), [(np.float64, 1e-13), (np.float32, 3e-7)], ids=["float64", "float32"])
def test_the_kernel_computes_the_definition(softmax: bool, dtype: Any, close: float) -> None:
    for seed, (frames, classes, symbols) in enumerate([(30, 6, 7), (9, 3, 4), (5, 1200, 2), (40, 4, 1)]):
        logits, *rest = sequences(5, frames, classes, symbols, seed)
        narrow = logits.astype(dtype)
        value, grad = computed(narrow, *rest, from_logits=softmax)
        expected, expected_grad = defined(narrow.astype(float), *rest, from_logits=softmax)
        np.testing.assert_allclose(value, expected, rtol=close)
        np.testing.assert_allclose(grad, expected_grad, rtol=0, atol=close)
        assert grad.dtype == dtype
        with kernels("always"):
            np.testing.assert_array_equal(ctc(narrow, *rest, from_logits=softmax), value)


def test_the_kernel_serves_calls_on_arrays_and_tensors() -> None:
    logits, *rest = sequences(6, 30, 8, 7)
    weight = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])
    logits[1] = np.nan
    value, grad = ctc.value_and_grad(logits, *rest, weight=weight, reduction="mean")
    expected, slopes = defined(np.nan_to_num(logits), *rest)
    np.testing.assert_allclose(value, (weight * expected).sum() / weight.sum(), rtol=1e-13)
    np.testing.assert_allclose(grad, slopes * (weight / weight.sum())[:, None, None], atol=1e-14)
    assert (grad[1] == 0).all()
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(x) for x in rest]
    x = torch.tensor(np.nan_to_num(logits), requires_grad=True)
    each = ctc(x, *tensors)
    np.testing.assert_allclose(each.detach(), expected, rtol=1e-13)
    (found,) = torch.autograd.grad((each * torch.tensor(weight - 1)).sum(), x)  # a factor below 0 among them
    np.testing.assert_allclose(found, slopes * (weight - 1)[:, None, None], atol=1e-13)
    narrow = x.detach().bfloat16().requires_grad_()
    ctc.value(narrow, *tensors, reduction="sum").backward()
    wide = narrow.detach().double().requires_grad_()
    ctc.value(wide, *tensors, reduction="sum").backward()
    assert narrow.grad.dtype == torch.bfloat16
    torch.testing.assert_close(narrow.grad.double(), wide.grad, atol=4e-3, rtol=8e-3)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    torch = pytest.importorskip("torch")
    logits, *rest = map(torch.from_numpy, sequences(7, 1100, 9, 12))  # enough for threads to share it
    before = torch.get_num_threads()
    try:
        for dtype in (torch.float64, torch.float32):
            found = []
            for count in (1, 2, 3, 7, 16):
                torch.set_num_threads(count)
                leaf = logits.to(dtype, copy=True).requires_grad_()
                value = ctc(leaf, *rest)
                found.append((value.detach(), *torch.autograd.grad(value.sum(), leaf)))
            assert all(a.equal(b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
    finally:
        torch.set_num_threads(before)


def test_any_layout_of_the_logits() -> None:
    logits, *rest = sequences(4, 20, 5, 4)
    expected = computed(logits, *rest)
    frames_first = np.ascontiguousarray(logits.transpose(1, 0, 2)).transpose(1, 0, 2)
    classes_first = np.ascontiguousarray(logits.transpose(2, 0, 1)).transpose(1, 2, 0)
    for variant in (
        frames_first,
        classes_first,
        np.repeat(logits, 2, 1)[:, ::2],
        np.ascontiguousarray(logits[:, ::-1])[:, ::-1],
    ):
        for a, b in zip(expected, computed(variant, *rest), strict=True):
            np.testing.assert_array_equal(a, b)
    assert computed(frames_first, *rest)[1].strides == frames_first.strides


@pytest.mark.parametrize("scale", [0.0, 30.0, 1e4])
def test_nothing_is_lost_to_underflow(scale: float) -> None:
    """A thousand frames of which the likeliest path is not the target's by thousands of nats in every frame."""
    logits, labels, _, _ = sequences(2, 1000, 5, 300, scale=scale)
    rest = (labels, [1000, 900], [300, 1])
    value, grad = computed(logits, *rest)
    expected, slopes = defined(logits, *rest)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(grad, slopes, rtol=0, atol=1e-9)
    assert np.isfinite(grad).all()


def test_infinities_and_nan_as_in_the_definition() -> None:
    logits, labels, _, _ = sequences(5, 8, 4, 2)
    logits[0, 3, 1] = np.nan
    logits[1, 2, :] = -np.inf
    logits[2, 1, 3] = np.inf
    logits[3, 0, 0] = -np.inf
    labels[4] = [2, 2]
    rest = (labels, [8, 8, 8, 8, 2], [2, 2, 2, 2, 2])
    value, grad = computed(logits, *rest)
    with np.errstate(all="ignore"):
        expected, slopes = defined(logits, *rest)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(grad, slopes, rtol=0, atol=1e-14)
    assert np.isnan(value[[0, 2]]).all() and np.isposinf(value[[1, 4]]).all()
    forced = computed(np.zeros((1, 3, 2)), np.array([[1, 1]]), [3], [2])[1]  # one path only: 1 0 1
    np.testing.assert_array_equal(forced, [[[0.5, -0.5], [-0.5, 0.5], [0.5, -0.5]]])


def test_a_label_outside_the_classes_is_not_read_from_memory_that_is_not_the_arrays() -> None:
    logits, labels, frames, lengths = sequences(4, 20, 20, 4)
    labels[2, 0] = 10**9
    with pytest.raises(IndexError):
        ctc.value_and_grad(logits, labels, frames, lengths, check=False)


def test_random_inputs_meet_the_conditions() -> None:
    """Also those drawn for tests that are written for every loss."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        _, labels, frames, lengths = random_arrays(ctc, rng, 8, {"t": 6, "s": 4, "c": 3})
        for n in range(8):
            said = labels[n, : lengths[n]]
            assert (said != 0).all() and lengths[n] + (said[1:] == said[:-1]).sum() <= frames[n]


# --- torch's function ------------------------------------------------------------------------------------------------


def test_torchs_conventions() -> None:
    torch = pytest.importorskip("torch")
    from lossary.nn import functional as ours

    theirs = torch.nn.functional
    logits, labels, frames, lengths = sequences(4, 30, 6, 8)
    log_p = torch.tensor(logits).log_softmax(-1).movedim(0, 1)
    padded, frames, lengths = torch.tensor(labels), torch.tensor(frames), torch.tensor(lengths)
    in_a_row = torch.cat([row[:n] for row, n in zip(padded, lengths, strict=True)])
    too_short = torch.tensor([30, 2, 30, 30])
    for targets in (padded, in_a_row, padded.int()):
        for counted, spoken in ((frames, lengths), (tuple(frames.tolist()), tuple(lengths.tolist()))):
            for how in ("none", "sum", "mean"):
                expected = theirs.ctc_loss(log_p, targets, counted, spoken, reduction=how)
                torch.testing.assert_close(ours.ctc_loss(log_p, targets, counted, spoken, reduction=how), expected)
        for zero in (True, False):
            expected = theirs.ctc_loss(log_p, targets, too_short, lengths, zero_infinity=zero)
            torch.testing.assert_close(ours.ctc_loss(log_p, targets, too_short, lengths, zero_infinity=zero), expected)
    one = log_p[:, 0], padded[0, : lengths[0]]
    for spoken in (lengths[0], lengths[:1]):
        for how in ("none", "mean"):
            expected = theirs.ctc_loss(*one, frames[:1].reshape(spoken.shape), spoken, reduction=how)
            torch.testing.assert_close(
                ours.ctc_loss(*one, frames[:1].reshape(spoken.shape), spoken, reduction=how), expected
            )
    short = torch.tensor([0, 1, 2, 8])  # the mean divides by lengths, but not by 0
    torch.testing.assert_close(
        ours.ctc_loss(log_p, padded, frames, short), theirs.ctc_loss(log_p, padded, frames, short)
    )
    with_blanks = padded.clone()
    with_blanks[0, 1] = 0  # torch computes with it, and so does its stand-in
    torch.testing.assert_close(
        ours.ctc_loss(log_p, with_blanks, frames, lengths), theirs.ctc_loss(log_p, with_blanks, frames, lengths)
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"blank": 6}, "blank: got 6"),
        ({"input_lengths": (31, 30)}, "input_lengths: got 31 for sequence 0"),
        ({"input_lengths": (30, -1)}, "input_lengths: got -1 for sequence 1"),
        ({"input_lengths": (30,)}, "input_lengths: got 1, expected one for each of the 2"),
        ({"input_lengths": 30}, "expected a tensor or a tuple"),
        ({"target_lengths": (9, 2)}, "target_lengths: got 9 for sequence 0"),
        ({"target_lengths": (-1, 2)}, "target_lengths: got -1 for sequence 0"),
        ({"targets": [1, 2, 3]}, "3 labels in a row, but target_lengths add up to 4"),
        ({"targets": [[1, 2]]}, "a row for each of the 2"),
        ({"targets": [[1, 2], [3, 6]]}, "got label 6, out of range"),
        ({"targets": [[[1, 2], [3, 4]]]}, "all labels in a row"),
        ({"reduction": "average"}, "average"),
    ],
)
def test_what_torch_refuses_and_what_it_should(change: dict[str, Any], said: str) -> None:
    torch = pytest.importorskip("torch")
    from lossary.nn import functional as ours

    usual = {
        "log_probs": torch.zeros(30, 2, 6),
        "targets": [[1, 2], [3, 4]],
        "input_lengths": (30, 30),
        "target_lengths": (2, 2),
    }
    given = {**usual, **change}
    given["targets"] = torch.tensor(given["targets"])
    with pytest.raises(ValueError, match=said):
        ours.ctc_loss(**given)
    for shape in ((0, 2, 6), (30, 0, 6), (6,)):
        with pytest.raises(ValueError, match="log_probs: got shape"):
            ours.ctc_loss(torch.zeros(shape), torch.tensor([[1, 2]]), (1,), (2,))


@pytest.mark.filterwarnings("ignore::lossary.LossMisuseWarning")
def test_the_gradient_is_that_of_the_loss_where_torchs_is_not() -> None:
    """On log-probabilities that are not normalised torch's gradient fails the check by differences, and ours passes."""
    torch = pytest.importorskip("torch")
    from lossary.nn import functional as ours

    raw = torch.randn(6, 1, 3, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    rest = (torch.tensor([[1, 2]]), (6,), (2,))
    assert torch.autograd.gradcheck(lambda x: ours.ctc_loss(x, *rest), raw)
    assert torch.autograd.gradgradcheck(lambda x: ours.ctc_loss(x, *rest), raw)
    assert not torch.autograd.gradcheck(lambda x: torch.nn.functional.ctc_loss(x, *rest), raw, raise_exception=False)


def test_what_is_no_log_probability_is_warned_of() -> None:
    """Logits and probabilities cost something finite, with torch as well; log-probabilities are nothing to speak of."""
    torch = pytest.importorskip("torch")
    from lossary.nn import functional as ours

    logits = torch.tensor(sequences(4, 20, 6, 4)[0]).movedim(0, 1)
    rest = (torch.ones(4, 2, dtype=torch.long), (20,) * 4, (2,) * 4)
    with pytest.warns(lossary.LossMisuseWarning, match=r"ctc_loss: log_probs: .*logits\.log_softmax\(-1\)"):
        ours.ctc_loss(logits, *rest)
    with pytest.warns(lossary.LossMisuseWarning, match="These are probabilities: pass their logarithm"):
        ours.ctc_loss(logits.softmax(-1), *rest)
    ours.ctc_loss(logits.log_softmax(-1), *rest)
    ours.ctc_loss(logits.log_softmax(-1).bfloat16(), *rest)
