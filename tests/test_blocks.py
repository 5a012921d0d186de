"""Large calls without a kernel: blocks of examples give the numbers of the definition, in a few blocks of memory."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss, dress
from lossary.testing import kernels, random_arrays

torch = pytest.importorskip("torch")
from lossary.nn import functional as ours  # noqa: E402

theirs = torch.nn.functional

LEAST = 140_000  # elements that are several blocks
UNCOUPLED = [loss for loss in map(lossary.get, lossary.names()) if not loss.coupling]
SIMPLE = [loss for loss in UNCOUPLED if all(s.rank < 2 for s in loss.signatures)]
BOTH = [(loss, number) for loss in SIMPLE for number in range(len(loss.signatures))]
every_signature = pytest.mark.parametrize(("loss", "number"), BOTH, ids=[f"{x.name}-{n}" for x, n in BOTH])
every_type = pytest.mark.parametrize("dtype", ["float32", "float64"])
EXTREMES = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-9, -1e-9, 30.0, -30.0, 1e4, -1e4]
UNBOUNDED = ("real", "logit", "score", "log-rate")


@pytest.fixture(autouse=True)
def without_kernels() -> Iterator[None]:
    with kernels("off"):
        yield


def drawn(loss: Loss, number: int, dtype: str) -> list[Any]:
    """Return arrays of some examples, extremes among them, in a type."""
    rng = np.random.default_rng([number, *loss.name.encode()])
    rows = bool(loss.signatures[number].rank)
    arrays = random_arrays(loss, rng, 40 if rows else 500, {"c": 37}, number)
    if loss.input in UNBOUNDED and not loss.conditions:
        first = arrays[0].reshape(len(arrays[0]), -1)
        for at, extreme in enumerate(EXTREMES):
            first[at, at % first.shape[1]] = extreme
    return [x.astype(dtype) if x.dtype.kind == "f" else x for x in arrays]


def repeated(arrays: list[Any]) -> tuple[list[Any], int]:
    """Return the examples again and again, until they are several blocks, and how often."""
    times = -(-LEAST // max(x.size for x in arrays))
    return [np.concatenate([x] * times) for x in arrays], times


def tuple_of(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def agree(found: Any, expected: Any, dtype: str, what: str) -> None:
    """Equal but for rounding; what each example has in an array is rounded together."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), err_msg=what)
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected), err_msg=what)
    whole = np.where(np.isfinite(expected), np.abs(expected), 0).reshape(len(expected), -1)
    size = whole.max(1, initial=1e-30).reshape(-1, *[1] * (expected.ndim - 1))
    finite = np.isfinite(expected)
    excess = np.abs(np.where(finite, found, 0) - np.where(finite, expected, 0)) / size
    assert excess.max() < (2e-5 if dtype == "float32" else 1e-12), (what, excess.max())


def computed(loss: Loss, arrays: list[Any]) -> list[Any]:
    """Return the value of each example, its gradients and the diagonals of its Hessian."""
    value, grads = loss.value_and_grad(*arrays)
    hess = tuple_of(loss.hess(*arrays)) if loss.derivatives > 1 else ()
    return [np.asarray(x) for x in (value, *tuple_of(grads), *hess)]


@every_signature
@every_type
def test_blocks_give_the_numbers_of_the_definition(loss: Loss, number: int, dtype: str) -> None:
    """On torch in float32 and on NumPy in float64; the next test is of torch in float64."""
    arrays = drawn(loss, number, dtype)
    large, times = repeated(arrays)
    made = torch.from_numpy if dtype == "float32" else np.asarray
    single, many = (computed(loss, [made(x) for x in given]) for given in (arrays, large))
    for at, (x, expected) in enumerate(zip(many, single, strict=True)):
        assert x.dtype == dtype
        blocks = x.reshape(times, *expected.shape)
        np.testing.assert_array_equal(blocks, np.broadcast_to(blocks[:1], blocks.shape))
        agree(blocks[0], expected, dtype, f"{dtype} {at}")


@every_signature
def test_weights_masks_and_means_under_autograd(loss: Loss, number: int) -> None:
    if "evaluation" in loss.properties:
        pytest.skip("it has no gradient to train with")
    arrays = drawn(loss, number, "float64")
    large, times = repeated(arrays)
    count = len(arrays[0])
    weight = np.random.default_rng(3).random(count) * (np.arange(count) % 3 > 0)
    nothing = weight == 0
    differentiated = [loss.arguments.index(name) for name in loss.wrt]
    for at in differentiated:  # whatever a masked example holds
        large[at].reshape(times, count, -1)[:, nothing] = np.nan
    tensors = [torch.from_numpy(x).requires_grad_(at in differentiated) for at, x in enumerate(large)]
    all_weights = torch.from_numpy(np.concatenate([weight] * times))
    value = loss.value(*tensors, weight=all_weights, reduction="mean", check=False)
    (3 * value).backward()
    single, grads = loss.value_and_grad(*arrays)
    expected = (np.where(nothing, 0, single) * weight).sum() / weight.sum()
    assert value.item() == pytest.approx(expected, rel=1e-12)
    for at, grad in zip(differentiated, tuple_of(grads), strict=True):
        factor = (3 * weight / (weight.sum() * times)).reshape(-1, *[1] * (grad.ndim - 1))
        found = tensors[at].grad.numpy().reshape(times, *grad.shape)
        np.testing.assert_allclose(found[0], np.where(factor == 0, 0, grad) * factor, rtol=1e-9, atol=1e-18)
        np.testing.assert_array_equal(found, np.broadcast_to(found[:1], found.shape))


@pytest.mark.parametrize("loss", UNCOUPLED, ids=lambda loss: loss.name)
def test_nothing_is_read_from_a_device(loss: Loss) -> None:
    """Tensors without values, as on a device whose values cannot be read, take value and gradient of many blocks."""
    arrays = random_arrays(loss, np.random.default_rng(0), 3)
    lead = (-(-(1 << 25) // max(1, max(x[0].size for x in arrays))),)
    differentiated = [loss.arguments.index(name) for name in loss.wrt]
    tensors = [
        torch.empty(lead + x.shape[1:], device="meta", dtype=torch.float32 if x.dtype.kind == "f" else torch.int64)
        for x in arrays
    ]
    for at in differentiated:
        tensors[at].requires_grad_()
    value = loss.value(*tensors, weight=torch.empty(lead, device="meta"), reduction="mean", check=False)
    assert value.shape == () and value.device.type == "meta"
    if "evaluation" not in loss.properties:
        (2 * value).backward()
        assert all(tensors[at].grad.shape == tensors[at].shape for at in differentiated)


# --- digits of the fused definitions ----------------------------------------------------------------------------------


def test_a_likely_label_keeps_its_digits() -> None:
    lead = torch.linspace(0, 80, LEAST // 4, dtype=torch.float64)
    logits = torch.stack([lead, torch.zeros_like(lead), torch.zeros_like(lead)], -1)
    exact, slope = np.log1p(2 * np.exp(-lead.numpy())), -2 / (np.exp(lead.numpy()) + 2)
    labels = torch.zeros(len(lead), dtype=torch.int64)
    hot = theirs.one_hot(labels, 3).double()
    for dtype, rtol in ((torch.float64, 1e-14), (torch.float32, 5e-6)):
        for target in (labels, hot.to(dtype)):
            value, grad = lossary.softmax_cross_entropy.value_and_grad(logits.to(dtype), target)
            lead32 = logits.to(dtype)[:, 0].double().numpy()
            exact, slope = np.log1p(2 * np.exp(-lead32)), -2 / (np.exp(lead32) + 2)
            np.testing.assert_allclose(value, exact, rtol=rtol)
            np.testing.assert_allclose(grad[:, 0], slope, rtol=rtol)
        for target in (torch.ones(len(lead)), torch.zeros(len(lead))):
            sign = 2 * target[0].item() - 1
            z = sign * lead32
            value, grad = lossary.binary_cross_entropy_with_logits.value_and_grad(
                torch.from_numpy(z).to(dtype), target.to(dtype)
            )
            np.testing.assert_allclose(value, np.log1p(np.exp(-lead32)), rtol=rtol)
            np.testing.assert_allclose(grad, -sign / (1 + np.exp(lead32)), rtol=rtol)


def test_masked_classes_and_labels_that_are_ignored() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((64, 33)), rng.integers(0, 33, 64)
    logits[::3, 5:20] = -np.inf
    logits[7] = -np.inf
    labels[::5] = -100
    arrays = [np.concatenate([x] * 80) for x in (logits, labels)]
    weight = rng.random(33)
    for options in ({}, {"label_smoothing": 0.1}, {"class_weight": weight}, {"z_loss": 0.1}, {"soft_cap": 5.0}):
        tensors = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        settings: Any = {"ignore_index": -100, "check": False}
        expected = lossary.softmax_cross_entropy.value_and_grad(logits, labels, **settings, **options)
        found = lossary.softmax_cross_entropy.value_and_grad(*map(torch.from_numpy, arrays), **settings, **tensors)
        for x, single in zip(found, expected, strict=True):
            np.testing.assert_allclose(x.numpy(), np.concatenate([single] * 80), rtol=1e-12, atol=1e-14)


def test_a_loss_of_the_same_name_is_its_own() -> None:
    def sevenfold(xp: Any, pred: Any, target: Any, *, delta: float = 1.0) -> Iterator[Any]:
        yield 7 * (pred - target)
        yield 7 * xp.ones_like(pred)

    x = torch.randn(LEAST)
    own = dress(replace(lossary.huber, define=sevenfold))
    torch.testing.assert_close(own(x, torch.zeros(LEAST)), 7 * x)


# --- memory -----------------------------------------------------------------------------------------------------------

ELEMENTS = 1 << 22
BLOCK_BYTES, SMALL_BLOCK_BYTES = 4 << 18, 4 << 17  # of float32: the largest there are, and those of a million numbers


def peak(run: Callable[[], Any]) -> int:
    """Return how many bytes torch's allocator holds more at most than before, from its own record."""
    run()
    gc.collect()
    with torch.profiler.profile(profile_memory=True) as record:
        kept = run()
    del kept
    events = [x for x in record.profiler.kineto_results.events() if x.name() == "[memory]"]
    held = np.cumsum([x.nbytes() for x in sorted(events, key=lambda x: x.start_ns())])
    return int(held.max(initial=0))


def case(name: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments of a drop-in with many elements."""
    rows, classes = ELEMENTS // 4096, 4096
    scores, other = torch.randn(rows, classes), torch.randn(ELEMENTS)
    labels, signs = torch.randint(classes, (rows,)), torch.sign(other)
    listed = torch.full((rows, classes), -1)
    listed[:, :3] = torch.randint(classes, (rows, 3))
    wide = [x.reshape(-1, 256) for x in (scores, other, torch.randn(ELEMENTS))]
    flat = scores.flatten()
    cases: dict[str, Any] = {
        "cross_entropy": (scores, labels),
        "nll_loss": (torch.log_softmax(scores, 1), labels),
        "multi_margin_loss": (scores, labels),
        "multilabel_margin_loss": (scores, listed),
        "multilabel_soft_margin_loss": (scores, (scores > 0).float()),
        "huber_loss": (flat, other),
        "smooth_l1_loss": (flat, other),
        "l1_loss": (flat, other),
        "mse_loss": (flat, other),
        "binary_cross_entropy": (torch.sigmoid(flat), (other > 0).float()),
        "binary_cross_entropy_with_logits": (flat, (other > 0).float()),
        "kl_div": (torch.log_softmax(scores, 1), torch.softmax(-scores, 1)),
        "poisson_nll_loss": (flat, other.abs()),
        "gaussian_nll_loss": (flat, other, other.abs() + 0.1),
        "soft_margin_loss": (flat, signs),
        "hinge_embedding_loss": (flat.abs(), signs),
        "margin_ranking_loss": (flat, other, signs),
        "cosine_embedding_loss": (wide[0], wide[1], torch.sign(wide[2][:, 0])),
        "triplet_margin_loss": tuple(wide),
        "triplet_margin_with_distance_loss": tuple(wide),
    }
    return cases[name], {"reduction": "batchmean"} if name == "kl_div" else {}


@pytest.mark.parametrize("name", sorted(set(ours.__all__) - {"ctc_loss", "linear_cross_entropy"}))
def test_a_drop_in_needs_no_more_memory_than_torch(name: str) -> None:
    """Value and gradient, inputs not counted: at most a fifth more, and a few blocks."""
    arguments, options = case(name)
    leaf = arguments[0].detach().requires_grad_()

    def step(module: Any) -> Callable[[], Any]:
        def run() -> None:
            getattr(module, name)(leaf, *arguments[1:], **options).backward()
            leaf.grad = None

        return run

    torch_takes, takes = peak(step(theirs)), peak(step(ours))
    assert torch_takes >= leaf.nbytes, "the record has seen the gradient"
    assert takes <= 1.2 * torch_takes + 4 * BLOCK_BYTES, (takes / leaf.nbytes, torch_takes / leaf.nbytes)


@pytest.mark.parametrize("loss", SIMPLE, ids=lambda loss: loss.name)
def test_a_loss_needs_a_few_blocks(loss: Loss) -> None:
    rows = bool(loss.signatures[0].rank)
    arrays = random_arrays(loss, np.random.default_rng(0), 64 if rows else 4096, {"c": 64})
    arrays = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in arrays]
    tensors = [torch.from_numpy(np.concatenate([x] * 256)) for x in arrays]
    outputs = sum(tensors[loss.arguments.index(name)].nbytes for name in loss.wrt)
    takes = peak(lambda: loss.value_and_grad(*tensors, reduction="mean", check=False))
    assert outputs <= takes <= outputs + 40 * SMALL_BLOCK_BYTES, (takes - outputs) / SMALL_BLOCK_BYTES
