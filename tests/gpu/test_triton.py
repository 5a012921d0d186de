"""Kernels for GPUs in Triton's interpreter on the CPU, against the definitions in float64 on NumPy."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("triton", reason="the kernels for GPUs need Triton")
import torch

import lossary
from lossary import nn, testing

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not INTERPRETED, reason="set TRITON_INTERPRET=1: make test-gpu"),
]

SINGLE = [
    (loss, alternative)
    for loss in map(lossary.get, lossary.names())
    if loss.coupling is None and not loss.optional
    for alternative, signature in enumerate(loss.signatures)
    if signature.rank < 2
]
POINTWISE = [pytest.param(*case, id=case[0].name) for case in SINGLE if case[0].signatures[case[1]].rank == 0]
ROWS = [pytest.param(*case, id=f"{case[0].name}-{case[1]}") for case in SINGLE if case[0].signatures[case[1]].rank == 1]


def sizes(width):
    return dict.fromkeys("cnkd", width)


def tensors(arrays, dtype=torch.float64):
    made = [torch.tensor(np.asarray(x)) for x in arrays]
    return [x.to(dtype) if x.is_floating_point() else x for x in made]


def as_tuple(x):
    return x if isinstance(x, tuple) else (x,)


def by_definition(loss, arrays, **options):
    with testing.kernels("off"):
        value, grads = loss.value_and_grad(*[np.asarray(x) for x in arrays], **options)
    return value, as_tuple(grads)


def by_kernel(loss, arrays, **options):
    with testing.kernels("always", device="cuda"):
        value, grads = loss.value_and_grad(*arrays, **options)
    return value, as_tuple(grads)


def agree(loss, arrays, rtol=1e-9, atol=1e-11, dtype=torch.float64, **options):
    """Compare a kernel on tensors of a type with the definition on the same numbers in float64."""
    given = tensors(arrays, dtype)
    exact = [x.double().numpy() if x.is_floating_point() else x.numpy() for x in given]
    expected, slopes = by_definition(
        loss, exact, **{k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in options.items()}
    )
    value, grads = by_kernel(loss, given, **options)
    np.testing.assert_allclose(value.double().numpy(), expected, rtol=rtol, atol=atol)
    for grad, slope in zip(grads, slopes, strict=True):
        np.testing.assert_allclose(grad.double().numpy(), slope, rtol=rtol, atol=atol)
    return value, grads


@pytest.mark.parametrize(("loss", "alternative"), POINTWISE)
@pytest.mark.parametrize("n", [1, 1023, 1025])
def test_a_pointwise_loss_in_float64(loss, alternative, n):
    arrays = testing.random_arrays(loss, np.random.default_rng(n), n, alternative=alternative)
    agree(loss, arrays, reduction="none")
    agree(loss, arrays, reduction="mean")


@pytest.mark.parametrize(("loss", "alternative"), ROWS)
@pytest.mark.parametrize("width", [2, 16, 17])
def test_a_loss_on_rows_in_float64(loss, alternative, width):
    arrays = testing.random_arrays(loss, np.random.default_rng(width), 5, sizes(width), alternative)
    agree(loss, arrays, reduction="none")
    agree(loss, arrays, reduction="mean")


@pytest.mark.parametrize(("loss", "alternative"), ROWS)
def test_rows_longer_than_a_tile_go_through_loops(loss, alternative):
    width = 16385  # one more than a program holds at once, and than whole steps of a loop
    if loss.name == "multilabel_margin":  # compares all pairs of entries
        pytest.skip("has no kernel on long rows")
    arrays = testing.random_arrays(loss, np.random.default_rng(0), 2, sizes(width), alternative)
    agree(loss, arrays, rtol=1e-8, reduction="mean")


@pytest.mark.parametrize(("loss", "alternative"), [*POINTWISE, *ROWS])
def test_float32_and_half_precision_are_computed_in_float32(loss, alternative):
    arrays = testing.random_arrays(loss, np.random.default_rng(1), 6, sizes(7), alternative)
    simplex = any(loss.domain(name, alternative).kind in ("simplex", "log-simplex") for name in loss.arguments)
    agree(loss, arrays, rtol=2e-4, atol=2e-4, dtype=torch.float32, reduction="none")
    if not simplex:  # rounded to half precision, rows do not add up to 1
        for dtype, eps in ((torch.bfloat16, 2**-7), (torch.float16, 2**-10)):
            with lossary.settings.checks("shapes"):
                value, grads = agree(loss, arrays, rtol=eps, atol=eps, dtype=dtype, reduction="none")
            assert value.dtype == torch.float32
            assert all(grad.dtype == dtype for grad in grads)


@pytest.mark.parametrize("name", ["huber", "binary_cross_entropy", "softmax_cross_entropy", "kl_divergence"])
def test_weights_and_masks_over_nan(name):
    loss = lossary.get(name)
    arrays = testing.random_arrays(loss, np.random.default_rng(3), 6, sizes(5))
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0, 3.0], dtype=torch.float64)
    mask = torch.tensor([True, True, True, False, True, True])
    agree(loss, arrays, reduction="mean", weight=weight, mask=mask)
    dirty = tensors(arrays)
    for x in dirty:
        if x.is_floating_point():
            x[[1, 3, 4]] = float("nan")
    clean = by_kernel(loss, tensors(arrays), reduction="mean", weight=weight, mask=mask)
    value, grads = by_kernel(loss, dirty, reduction="mean", weight=weight, mask=mask)
    assert torch.equal(value, clean[0])
    for grad, same in zip(grads, clean[1], strict=True):
        assert torch.equal(grad, same)
        assert (grad[[1, 3, 4]] == 0).all()


def test_gradient_and_curvature_come_in_one_pass():
    loss = lossary.get("log_cosh")
    arrays = testing.random_arrays(loss, np.random.default_rng(4), 33)
    with testing.kernels("off"):
        expected = loss.grad_hess(*arrays, reduction="mean")
    with testing.kernels("always", device="cuda"):
        found = loss.grad_hess(*tensors(arrays), reduction="mean")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other, rtol=1e-12)


OPTIONS = [
    {"label_smoothing": 0.1},
    {"temperature": 2.0},
    {"z_loss": 1e-3},
    {"soft_cap": 5.0},
    {"label_smoothing": 0.1, "temperature": 0.5, "z_loss": 1e-3, "soft_cap": 5.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "+".join(o))
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_every_option_of_cross_entropy(options, weighted, soft):
    rng = np.random.default_rng(5)
    logits = rng.standard_normal((6, 9)) * 3
    logits[2, [1, 4]] = -np.inf
    target = rng.dirichlet(np.ones(9), 6) if soft else rng.integers(0, 9, 6)
    if soft:
        target[2, [1, 4]] = 0.0
        target /= target.sum(-1, keepdims=True)
    else:
        target[2] = 0
        options = {**options, "ignore_index": 7}
        target[3] = 7
    weight = torch.tensor(rng.uniform(0.5, 2.0, 9)) if weighted else None
    options = {**options, **({"class_weight": weight} if weighted else {})}
    agree(lossary.softmax_cross_entropy, [logits, target], reduction="mean", **options)


def test_all_labels_ignored_give_exactly_nothing():
    logits = torch.randn(4, 5, dtype=torch.float64)
    labels = torch.full((4,), -100)
    value, (grad,) = by_kernel(lossary.softmax_cross_entropy, [logits, labels], reduction="mean", ignore_index=-100)
    assert value == 0
    assert not grad.any()


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0)])
def test_an_empty_batch(shape):
    x = torch.zeros(shape, dtype=torch.float64)
    value, (grad,) = by_kernel(lossary.huber, [x, x], reduction="sum")
    assert value == 0
    assert grad.shape == shape
    rows = torch.zeros((0, 4), dtype=torch.float64)
    value, (grad,) = by_kernel(
        lossary.softmax_cross_entropy, [rows, torch.zeros(0, dtype=torch.int64)], reduction="sum"
    )
    assert value == 0
    assert grad.shape == (0, 4)


LAYOUTS = {
    "transposed": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "every other": lambda x: x.repeat_interleave(2, 1)[:, ::2],
    "reversed rows": lambda x: x.flip(0).contiguous().flip(0),
    "an offset": lambda x: torch.cat([x[:1], x])[1:],
}


@pytest.mark.parametrize("laid", LAYOUTS.values(), ids=LAYOUTS)
def test_strides_of_numbers_and_of_rows(laid):
    torch.manual_seed(0)
    x, y = torch.randn(5, 12, 3, dtype=torch.float64), torch.randn(5, 12, 3, dtype=torch.float64)
    plain = by_kernel(lossary.huber, [x, y], reduction="none")
    value, (grad,) = by_kernel(lossary.huber, [laid(x), y], reduction="none")
    assert torch.equal(value, plain[0])
    assert torch.equal(grad, plain[1][0])
    labels = torch.randint(0, 3, (5, 12))
    plain = by_kernel(lossary.softmax_cross_entropy, [x, labels], reduction="none")
    value, (grad,) = by_kernel(lossary.softmax_cross_entropy, [laid(x), labels], reduction="none")
    assert torch.equal(value, plain[0])
    assert torch.equal(grad, plain[1][0])


def test_the_class_axis_of_the_drop_ins():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, 4, requires_grad=True)
    labels = torch.randint(0, 5, (2, 3, 4))
    labels[0, 0, 0] = -100
    weight = torch.rand(5)
    with testing.kernels("always", device="cuda"):
        found = nn.CrossEntropyLoss(weight=weight, label_smoothing=0.1)(x, labels)
        (grad,) = torch.autograd.grad(found, x)
    expected = torch.nn.functional.cross_entropy(x, labels, weight=weight, label_smoothing=0.1)
    (slope,) = torch.autograd.grad(expected, x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(grad, slope)


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "kl_divergence"])
def test_an_example_has_the_same_bits_in_any_batch(name):
    loss = lossary.get(name)
    arrays = tensors(testing.random_arrays(loss, np.random.default_rng(6), 150, sizes(11)), torch.float32)
    value, grads = by_kernel(loss, arrays, reduction="none", check=False)
    again, same = by_kernel(loss, arrays, reduction="none", check=False)
    assert torch.equal(value, again)
    assert torch.equal(grads[0], same[0])
    for part in (slice(0, 1), slice(77, 143)):
        some, slopes = by_kernel(loss, [x[part].clone() for x in arrays], reduction="none", check=False)
        assert torch.equal(some, value[part])
        assert torch.equal(slopes[0], grads[0][part])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_autograd(dtype, reduction):
    torch.manual_seed(0)
    logits = torch.randn(6, 8).to(dtype).requires_grad_()
    labels = torch.randint(0, 8, (6,))
    upstream = torch.rand(6) if reduction == "none" else torch.tensor(3.0)
    with testing.kernels("always", device="cuda"):
        value = lossary.softmax_cross_entropy.value(logits, labels, reduction=reduction)
        (grad,) = torch.autograd.grad(value, logits, upstream, retain_graph=True)
        (again,) = torch.autograd.grad(value, logits, upstream)
    exact = logits.detach().double().requires_grad_()
    with testing.kernels("off"):
        expected = lossary.softmax_cross_entropy.value(exact, labels, reduction=reduction)
        (slope,) = torch.autograd.grad(expected, exact, upstream.double())
    eps = 1e-6 if dtype == torch.float32 else 2**-7  # Triton's interpreter cuts off where a GPU rounds to nearest
    torch.testing.assert_close(grad.double(), slope, rtol=eps, atol=eps / 10)
    torch.testing.assert_close(again.double(), slope, rtol=eps, atol=eps / 10)
    torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_an_upstream_gradient_of_one_of_none_and_of_a_loss_scale(dtype):
    x = torch.tensor([1e-4, float("inf"), 3.0], dtype=dtype, requires_grad=True)
    y = torch.zeros(3, dtype=dtype)
    with testing.kernels("always", device="cuda"), lossary.settings.checks("off"):
        grads = {}
        for upstream in (1.0, 0.0, 65536.0):
            value = lossary.squared_error.value(x, y, reduction="mean")
            grads[upstream] = torch.autograd.grad(value, x, torch.tensor(upstream))[0].double()
    two = 2 / 3 * x.detach().double()
    assert not grads[0.0].any()
    torch.testing.assert_close(grads[1.0], two, rtol=2**-9, atol=0)
    expected = (65536 * two).to(dtype).double()
    torch.testing.assert_close(grads[65536.0], expected, rtol=2**-9, atol=0)


def test_second_derivatives_come_from_the_definition():
    x = torch.tensor([0.3, -2.0, 0.7], dtype=torch.float64, requires_grad=True)
    with testing.kernels("always", device="cuda"):
        assert torch.autograd.gradgradcheck(lambda a: lossary.log_cosh(a, torch.zeros_like(a)), x)


def test_under_the_compiler_a_loss_on_rows_is_one_operator():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 8, requires_grad=True), torch.randint(0, 8, (6,))
    with testing.kernels("always", device="cuda"):
        compiled = torch.compile(
            lambda a, b: lossary.softmax_cross_entropy.value(a, b, reduction="mean"),
            backend="aot_eager",
            fullgraph=True,
        )
        value = compiled(logits, labels)
        (grad,) = torch.autograd.grad(value, logits)
    expected = torch.nn.functional.cross_entropy(logits, labels)
    (slope,) = torch.autograd.grad(expected, logits)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(grad, slope)


def test_the_host_reads_nothing_back(monkeypatch):
    """What reads a number of a tensor is what would make the host wait for a GPU."""
    logits = torch.randn(4, 8).to(torch.bfloat16).requires_grad_()
    numbers = torch.randn(9, requires_grad=True)
    weight = torch.rand(4)

    def refused(*_):
        raise AssertionError("a number is read back")

    with testing.kernels("always", device="cuda"), lossary.settings.checks("off"):
        labels = torch.randint(0, 8, (4,))
        for reader in ("item", "tolist", "__float__", "__bool__", "__int__"):
            monkeypatch.setattr(torch.Tensor, reader, refused)
        value = lossary.softmax_cross_entropy.value(logits, labels, weight=weight, reduction="mean")
        value.backward()
        lossary.huber.value(numbers, torch.zeros(9), reduction="mean").backward()
        lossary.huber(numbers, torch.zeros(9)).backward(torch.ones(9))
    monkeypatch.undo()
    assert logits.grad.isfinite().all()
    assert numbers.grad.isfinite().all()


def test_offsets_have_64_bits():
    """Two rows that lie more than 2**31 numbers apart in a file that nobody ever fills."""
    far = 2**31 + 64
    try:
        memory = torch.empty(far + 16, dtype=torch.bfloat16)
    except RuntimeError:
        pytest.skip("the system grants no memory that is not there")
    logits = memory.as_strided((2, 8), (far, 1))
    logits.copy_(torch.arange(16.0).reshape(2, 8))
    value, (grad,) = by_kernel(lossary.softmax_cross_entropy, [logits, torch.tensor([1, 2])], reduction="none")
    expected = torch.nn.functional.cross_entropy(logits.float(), torch.tensor([1, 2]), reduction="none")
    torch.testing.assert_close(value, expected)
    assert grad.shape == (2, 8)


@pytest.mark.parametrize("width", [5, 16390])
def test_nothing_beyond_the_end_of_a_row_enters_it(width):
    """Every entry is far below 0, which stands where a tile goes beyond its row."""
    logits = torch.linspace(-900, -700, 2 * width, dtype=torch.float64).reshape(2, width)
    agree(lossary.softmax_cross_entropy, [logits, torch.tensor([1, 0])], reduction="none")


def test_a_sum_does_not_lose_small_numbers():
    x = torch.full((3000,), 1e-4)
    x[0] = 3e4
    value, _ = by_kernel(lossary.absolute_error, [x, torch.zeros(3000)], reduction="sum")
    assert value == x.double().sum().float()
