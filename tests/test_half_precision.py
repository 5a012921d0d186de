"""Half precision read and written by the kernels as it is stored: held to the definitions, and never copied."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from by_kernel import by_definition, runs_definition, tuple_of

torch = pytest.importorskip("torch")
pytest.importorskip("numba", reason="kernels need the fast extra")

from benchmarks.memory import measurable  # noqa: E402

import lossary  # noqa: E402
from lossary.catalogue import Loss  # noqa: E402
from lossary.nn import functional  # noqa: E402
from lossary.testing import kernels, random_arrays  # noqa: E402

POINTWISE = [
    loss
    for loss in map(lossary.get, lossary.names())
    if loss.kernel and not loss.coupling and any(s.rank == 0 for s in loss.signatures)
]
# The losses whose hand-written kernel reads half precision.
FAMILY = ["softmax_cross_entropy", "softmax_focal", "poly_loss", "generalized_cross_entropy"]
FAMILY += ["logit_adjusted", "class_balanced", "arcface", "cosface"]
HALVES = [torch.bfloat16, torch.float16]
both_halves = pytest.mark.parametrize("half", HALVES, ids=["bfloat16", "float16"])
CLOSE = {"rtol": 2e-6, "atol": 1e-6}
MANY = 12365  # several blocks, the last not whole


@pytest.fixture(autouse=True)
def for_any_size() -> Iterator[None]:
    with kernels("always"):
        yield


def drawn(loss: Loss, half: Any, count: int = MANY, seed: int = 0) -> list[Any]:
    """Random inputs of a pointwise loss, rounded; what rounding has moved over the edge of its domain is left out."""
    rng = np.random.default_rng([seed, *loss.name.encode()])
    alternative = next(i for i, s in enumerate(loss.signatures) if s.rank == 0)
    made = [torch.tensor(a).to(half) for a in random_arrays(loss, rng, count, alternative=alternative)]
    inside = torch.ones(count, dtype=torch.bool)
    for name, x in zip(loss.arguments, made, strict=True):
        allowed = loss.domain(name, alternative)
        if allowed.kind == "interval":
            low, high = x >= allowed.low, x <= allowed.high
            inside &= low if allowed.closed[0] else x > allowed.low
            inside &= high if allowed.closed[1] else x < allowed.high
    return [x[inside] for x in made]


def rounds_to(found: Any, exact: Any, slack: Any, half: Any, what: Any) -> None:
    """Each number found is what a number within the slack of the exact one rounds to; NaN is in its place."""
    assert torch.equal(found.isnan(), exact.isnan()), what
    slack = torch.where(exact.isfinite(), slack, 0).nan_to_num(0.0, posinf=3e38)
    low, high = ((exact.double() + sign * slack.double()).float().to(half).float() for sign in (-1, 1))
    wrong = ~exact.isnan() & ~((low <= found) & (found <= high))
    assert not wrong.any(), (what, found[wrong][:5], exact[wrong][:5])


def rows_of(loss: Loss, half: Any, shape: tuple[int, ...], seed: int = 0) -> list[Any]:
    """Logits, labels, and what else a loss of the softmax family takes."""
    torch.manual_seed(seed)
    logits = torch.randn(shape).mul(0.3 if loss.input == "similarity" else 2.0).clamp(-0.99, 0.99).to(half)
    if loss.input != "similarity":
        logits = torch.randn(shape).mul(2.0).to(half)
    labels = torch.randint(shape[-1], shape[:-1])
    counts = [torch.arange(1, shape[-1] + 1).to(half)] if len(loss.arguments) > 2 else []
    return [logits, labels, *counts]


# --- against the definitions ----------------------------------------------------------------------------------------

EDGES = [np.nan, np.inf, -np.inf, 0.0, -0.0, 65504.0, -65504.0, 3e4, 300.0, -300.0, 6e-8, -6e-8, 1e-40, 20.0, -20.0]


@pytest.mark.parametrize("loss", POINTWISE, ids=lambda loss: loss.name)
@both_halves
def test_a_kernel_on_half_precision_computes_what_the_definition_computes_of_the_same_numbers(
    loss: Loss, half: Any
) -> None:
    """Values to some units in the last place of float32; gradients rounded once, subnormal or infinite as they are."""
    arrays = drawn(loss, half)
    assert len(arrays[0]) > MANY / 2, "hardly a number was left in the domain"
    if not loss.domain(loss.arguments[0], len(loss.signatures) - 1).bounded:
        for at, edge in enumerate(EDGES):
            arrays[0][at :: 2 * len(EDGES)] = edge
    wide = [x.float().numpy() for x in arrays]
    value, grads = by_definition(lambda: loss.value_and_grad(*wide, check=False))
    second = by_definition(lambda: loss.hess(*wide, check=False)) if loss.derivatives > 1 else ()
    value, slopes, curves = torch.tensor(value), *(list(map(torch.tensor, tuple_of(x))) for x in (grads, second))
    found, derivatives = loss.value_and_grad(*arrays, check=False)

    def total(order: Any) -> Any:
        return sum(x.abs().nan_to_num(0, posinf=0) for x in order)

    # As for float32 itself: some units in the last place of the result, and of the inputs as far as they move it.
    size, steepness = total(x.float() for x in arrays), total(slopes)
    slack = 64 * 1.2e-7 * (value.abs() + size * (steepness + (steepness > 0)).clamp(max=1e30)) + 1.2e-38
    assert found.dtype == torch.float32
    rounds_to(found, value, slack, torch.float32, (loss.name, "value"))
    curvature = total(curves) if curves else steepness
    for grad, exact in zip(tuple_of(derivatives), slopes, strict=True):
        assert grad.dtype == half
        slack = 64 * 1.2e-7 * (exact.abs() + size * curvature.clamp(max=1e30) + steepness) + 1.2e-38
        rounds_to(grad.float(), exact, slack, half, (loss.name, "gradient"))
    assert not runs_definition(loss, lambda: loss.value_and_grad(*arrays, check=False))


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("classes", [10, 200], ids=["side by side", "along"])
@both_halves
def test_the_softmax_family_reads_and_writes_half_precision(name: str, classes: int, half: Any) -> None:
    """The value is that of the same numbers in float32, and the gradient is that one rounded.

    To the bit, where both have long rows: of short ones in float32 the kernel is another.
    """
    loss = lossary.get(name)
    arrays = rows_of(loss, half, (150, classes))
    if loss.input != "similarity":
        arrays[0][3, 1], arrays[0][5, 2], arrays[0][6, 0] = np.nan, np.inf, -np.inf
        arrays[0][7] = -np.inf
    weight = torch.rand(150).round()
    results = []
    for logits, *others in (arrays, [x.float() if x.dtype == half else x for x in arrays]):
        logits.requires_grad_()
        values = loss.value(logits, *others, check=False)
        each = torch.where(values.isfinite(), values, 0)
        (of_each,) = torch.autograd.grad((each * torch.arange(150)).sum(), logits)
        mean = loss.value(logits, *others, weight=weight, reduction="mean", check=False)
        (of_mean,) = torch.autograd.grad(mean, logits)
        results.append((values.detach(), of_each, mean.detach(), of_mean))
    narrow, wide = results
    bits = {"rtol": 0.0, "atol": 0.0}
    for at in (0, 2):
        assert narrow[at].dtype == torch.float32
        torch.testing.assert_close(narrow[at], wide[at], equal_nan=True, **(bits if classes > 128 else CLOSE))
    for at in (1, 3):
        assert narrow[at].dtype == half
        if classes > 128:
            torch.testing.assert_close(narrow[at], wide[at].to(half), equal_nan=True, **bits)
        else:
            rounds_to(narrow[at].float(), wide[at], 1e-5 * wide[at].abs() + 1e-6, half, name)
    assert not narrow[3][weight == 0].any()
    assert not runs_definition(loss, lambda: lossary.value(loss, *arrays, check=False))


@both_halves
def test_soft_targets_and_images_in_half_precision(half: Any) -> None:
    torch.manual_seed(0)
    for shape, axis in (((60, 12), -1), ((20, 300), -1), ((2, 5, 16, 16), 1)):
        logits, soft = torch.randn(shape).to(half), torch.rand(shape).softmax(axis).to(half)
        for options in ({}, {"label_smoothing": 0.1, "class_weight": torch.rand(shape[axis])}):
            grads = []
            for of, target in ((logits.clone(), soft), (logits.float(), soft.float())):
                leaf = of.requires_grad_()
                given = [x.movedim(axis, -1) for x in (leaf, target)]
                loss = lossary.softmax_cross_entropy
                value = loss.value(*given, reduction="mean", check=False, **options)
                grads.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
            torch.testing.assert_close(grads[0][0], grads[1][0], **CLOSE)
            rounds_to(grads[0][1].float(), grads[1][1], 1e-5 * grads[1][1].abs() + 1e-8, half, shape)


# --- whole calls from torch -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["huber", "binary_cross_entropy_with_logits", "gaussian_nll", "poisson_nll"])
@both_halves
def test_a_reduced_call_is_that_of_float32_with_its_gradient_rounded(name: str, half: Any) -> None:
    loss = lossary.get(name)
    arrays = drawn(loss, half)
    count = len(arrays[0])
    torch.manual_seed(0)
    weight = torch.rand(count) * (torch.rand(count) < 0.8)
    mask = torch.rand(count) < 0.9
    for x in arrays:
        x[(weight == 0) | ~mask] = np.nan  # nothing beneath is looked at
    options = {"weight": weight, "mask": mask, "reduction": "mean", "denominator": 0.5}
    at = [loss.arguments.index(wrt) for wrt in loss.wrt]
    before = [x.clone() for x in arrays]
    results = []
    for of in (arrays, [x.float() for x in arrays]):
        leaves = [x.clone().requires_grad_() if k in at else x for k, x in enumerate(of)]
        value = loss.value(*leaves, **options)
        results.append((value.detach(), torch.autograd.grad(value, [leaves[k] for k in at])))
    (value, grads), (reference, references) = results
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, reference, rtol=1e-6, atol=0)
    for grad, exact in zip(grads, references, strict=True):
        assert grad.dtype == half
        assert not grad[(weight == 0) | ~mask].any()
        rounds_to(grad.float(), exact, 1e-5 * exact.abs() + 1e-9, half, name)
    for x, old in zip(arrays, before, strict=True):
        assert torch.equal(memory_of(x), memory_of(old)), "inputs are never written"


def memory_of(x: Any) -> Any:
    return x.view(torch.int16)


@both_halves
@pytest.mark.parametrize(
    "laid_out",
    [
        lambda x: x[::2],
        lambda x: x[:, ::3],
        lambda x: x.T,
        lambda x: x[1:2].expand(7, -1),
        lambda x: x.reshape(-1)[1:].reshape(-1)[:1001].reshape(7, 143),
    ],
    ids=["every other row", "every third column", "transposed", "expanded", "from the middle"],
)
def test_any_layout_gives_the_same_numbers(half: Any, laid_out: Callable[[Any], Any]) -> None:
    torch.manual_seed(0)
    whole, target = torch.randn(40, 99).to(half), torch.randn(40, 99).to(half)
    pred = laid_out(whole.requires_grad_())
    value = lossary.huber.value(pred, laid_out(target), reduction="sum")
    (grad,) = torch.autograd.grad(value, pred)
    dense = laid_out(whole).detach().contiguous().requires_grad_()
    expected = lossary.huber.value(dense, laid_out(target).contiguous(), reduction="sum")
    assert torch.equal(value, expected) and torch.equal(grad, torch.autograd.grad(expected, dense)[0])


@both_halves
def test_types_may_be_mixed(half: Any) -> None:
    torch.manual_seed(0)
    pred, target = torch.randn(1000).to(half).requires_grad_(), torch.randn(1000)
    value = lossary.huber.value(pred, target, reduction="mean")
    wide = pred.detach().float().requires_grad_()
    reference = lossary.huber.value(wide, target, reduction="mean")
    assert torch.equal(value, reference)
    assert torch.equal(*(torch.autograd.grad(v, x)[0].to(half) for v, x in ((value, pred), (reference, wide))))
    doubles = lossary.huber(pred, target.double())
    assert doubles.dtype == torch.float64


def test_a_scale_keeps_a_gradient_from_vanishing() -> None:
    """As a gradient scaler has it: in float16 a gradient of 1e-9 is 0, and a scaled 0 would still be 0."""
    for loss, arrays in (
        (lossary.huber, [torch.full((20_000,), 3.0).half(), torch.zeros(20_000).half()]),
        (lossary.softmax_cross_entropy, [torch.zeros(2000, 64).half(), torch.zeros(2000).long()]),
    ):
        leaf = arrays[0].requires_grad_()
        mean = loss.value(*arrays, reduction="mean", denominator=1e9)
        (scaled,) = torch.autograd.grad(mean * 65536.0, leaf, retain_graph=True)
        (nothing,) = torch.autograd.grad(mean, leaf, retain_graph=True)
        (again,) = torch.autograd.grad(mean * 65536.0, leaf)
        assert scaled.abs().max() > 1e-7 and torch.equal(scaled, again)
        assert not nothing.any() and scaled.dtype == torch.float16


def test_weights_may_be_of_any_type() -> None:
    pred, target = torch.randn(1000).bfloat16(), torch.zeros(1000).bfloat16()
    weight = torch.linspace(0, 1, 1000).half()
    expected, reference = lossary.huber.value_and_grad(pred, target, weight=weight.float())
    for other in (weight, weight.double(), weight.numpy()):
        value, grad = lossary.huber.value_and_grad(pred, target, weight=other)
        assert torch.equal(value, expected) and torch.equal(grad, reference)


@both_halves
def test_a_gradient_beyond_the_type_is_infinite(half: Any) -> None:
    pred = torch.full((1000,), 6e4).to(half).requires_grad_()
    (grad,) = torch.autograd.grad(lossary.squared_error(pred, -pred.detach()).sum(), pred)
    assert (grad == (np.inf if half == torch.float16 else pred.detach() * 4)).all()


@pytest.mark.parametrize("name", ["huber", "binary_cross_entropy_with_logits", "softmax_cross_entropy"])
@both_halves
def test_second_derivatives_and_graphs_walked_twice(name: str, half: Any) -> None:
    loss = lossary.get(name)
    rank = loss.signatures[0].rank
    arrays = rows_of(loss, half, (50, 8)) if rank else [x[:400] for x in drawn(loss, half)]
    results = []
    for first in (arrays[0].clone(), arrays[0].float()):
        leaf = first.requires_grad_()
        others = [x.to(leaf.dtype) if x.dtype == half else x for x in arrays[1:]]
        for how in ("mean", "none"):
            value = loss.value(leaf, *others, reduction=how).sum()
            (once,) = torch.autograd.grad(value, leaf, retain_graph=True)
            (twice,) = torch.autograd.grad(value, leaf, retain_graph=True)
            assert torch.equal(once, twice)
            (slope,) = torch.autograd.grad(value, leaf, create_graph=True)
            direction = (torch.arange(slope.numel()) % 5).view_as(slope)  # whole numbers that both types have
            (curve,) = torch.autograd.grad((slope.float() * direction).sum(), leaf)
            results.append((once, slope.detach(), curve))
    for narrow, wide in zip(results[:2], results[2:], strict=True):
        for found, expected in zip(narrow, wide, strict=True):
            assert found.dtype == half
            tolerance = {"rtol": 2 * torch.finfo(half).eps, "atol": 1e-4}
            torch.testing.assert_close(found.float(), expected, **tolerance)


@both_halves
def test_results_are_the_same_bits_for_any_number_of_threads(half: Any) -> None:
    torch.manual_seed(0)
    pred, target = (torch.randn(165_000).to(half) for _ in range(2))
    before, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            leaf = pred.clone().requires_grad_()
            value = lossary.huber.value(leaf, target, reduction="mean")
            results.append((value.detach(), torch.autograd.grad(value, leaf)[0]))
    finally:
        torch.set_num_threads(before)
    for value, grad in results[1:]:
        assert torch.equal(value, results[0][0]) and torch.equal(grad, results[0][1])


def test_a_value_outside_the_domain_is_named() -> None:
    logits, target = torch.zeros(1000).bfloat16(), torch.zeros(1000).bfloat16()
    target[123] = 1.5
    with pytest.raises(lossary.errors.DomainError, match=r"target: got 1.5 at index 123"):
        lossary.binary_cross_entropy_with_logits.value(logits, target, reduction="mean")


# --- NumPy ----------------------------------------------------------------------------------------------------------


def test_numpy_float16_is_read_and_the_gradient_written_where_it_is_wanted() -> None:
    rng = np.random.default_rng(0)
    pred, target = (rng.standard_normal((30, 41)).astype(np.float16) for _ in range(2))
    place = np.full_like(pred, 7)
    value, grad = lossary.huber.value_and_grad(pred, target, reduction="mean", out=place)
    assert grad is place
    wide, reference = lossary.huber.value_and_grad(*(x.astype(np.float32) for x in (pred, target)), reduction="mean")
    assert value == wide and value.dtype == np.float32
    np.testing.assert_array_equal(place, reference.astype(np.float16))
    lossary.huber.value_and_grad(pred, target, reduction="mean", out=pred)  # replaced
    np.testing.assert_array_equal(pred, place)
    curve = lossary.huber.hess(pred, target)
    assert curve.dtype == np.float16 and curve.max() == 1
    logits, labels = rng.standard_normal((30, 200)).astype(np.float16), rng.integers(0, 200, 30)
    place = np.full_like(logits, 7)
    lossary.softmax_cross_entropy.value_and_grad(logits, labels, out=place)
    _, reference = lossary.softmax_cross_entropy.value_and_grad(logits.astype(np.float32), labels)
    np.testing.assert_array_equal(place, reference.astype(np.float16))


def test_whole_numbers_of_two_bytes_are_numbers() -> None:
    """Not the bits of half precision, which are held in arrays of such a type."""
    pred, count = np.linspace(-1, 1, 500, dtype=np.float32), np.arange(500, dtype=np.uint16)
    expected = lossary.poisson_nll(pred, count.astype(np.float32))
    np.testing.assert_array_equal(lossary.poisson_nll(pred, count), expected)
    tensors = torch.from_numpy(pred).bfloat16(), torch.from_numpy(count)
    wide = lossary.poisson_nll(tensors[0].float(), torch.from_numpy(count.astype(np.float32)))
    torch.testing.assert_close(lossary.poisson_nll(*tensors), wide, rtol=1e-6, atol=1e-6)


# --- the drop-ins ---------------------------------------------------------------------------------------------------

real, binary = (lambda: torch.randn(90, 11)), (lambda: torch.rand(90, 11).round())
inside, positive = (lambda: torch.rand(90, 11) * 0.9 + 0.05), (lambda: torch.rand(90, 11) + 0.1)
DROP_INS: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "l1": ("l1_loss", [real, real], {}),
    "mse": ("mse_loss", [real, real], {}),
    "smooth l1": ("smooth_l1_loss", [real, real], {"beta": 0.7}),
    "huber": ("huber_loss", [real, real], {"delta": 0.7}),
    "binary": ("binary_cross_entropy", [inside, binary], {}),
    "logits": ("binary_cross_entropy_with_logits", [real, binary], {}),
    "divergence": ("kl_div", [real, positive], {}),
    "divergence of logs": ("kl_div", [real, real], {"log_target": True}),
    "poisson": ("poisson_nll_loss", [real, positive], {}),
    "rate": ("poisson_nll_loss", [positive, positive], {"log_input": False, "full": True}),
    "gaussian": ("gaussian_nll_loss", [real, real, positive], {}),
    "ranking": ("margin_ranking_loss", [real, real, lambda: binary() * 2 - 1], {"margin": 0.5}),
    "hinge embedding": ("hinge_embedding_loss", [positive, lambda: binary() * 2 - 1], {}),
    "soft margin": ("soft_margin_loss", [real, lambda: binary() * 2 - 1], {}),
    "labels": ("multilabel_soft_margin_loss", [real, binary], {}),
    "classes": ("cross_entropy", [real, lambda: torch.randint(11, (90,))], {"label_smoothing": 0.1}),
    "distributions": ("cross_entropy", [real, lambda: torch.rand(90, 11).softmax(-1)], {}),
}


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides", "ignore::lossary.errors.LossMisuseWarning")
@pytest.mark.parametrize("key", DROP_INS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@both_halves
def test_a_drop_in_answers_in_half_precision_what_torch_answers_of_the_same_numbers_in_float64(
    key: str, reduction: str, half: Any
) -> None:
    name, makers, params = DROP_INS[key]
    torch.manual_seed(0)
    given = [make() for make in makers]
    given = [x.to(half) if x.is_floating_point() else x for x in given]
    leaf, wide = given[0].clone().requires_grad_(), given[0].double().requires_grad_()
    params = {**params, "reduction": reduction}
    value = getattr(functional, name)(leaf, *given[1:], **params)
    doubles = [x.double() if x.is_floating_point() else x for x in given[1:]]
    reference = getattr(torch.nn.functional, name)(wide, *doubles, **params)
    assert value.dtype == half
    rounds_to(value.float(), reference.float(), 1e-5 * reference.abs(), half, key)
    (grad,), (exact,) = torch.autograd.grad(value, leaf), torch.autograd.grad(reference, wide)
    assert grad.dtype == half
    rounds_to(grad.float(), exact.float(), 1e-5 * exact.abs() + 1e-7 * exact.abs().max(), half, key)


@pytest.mark.filterwarnings("ignore::lossary.errors.LossMisuseWarning")
def test_a_drop_in_refuses_what_torch_refuses_in_half_precision_too() -> None:
    probs, target = torch.full((1000,), 0.5).bfloat16(), torch.ones(1000).bfloat16()
    for wrong in (1.5, -0.1, np.nan):
        for given in ([probs.clone(), target], [probs, target.clone()]):
            next(x for x in given if x is not probs and x is not target)[77] = wrong
            with pytest.raises(RuntimeError, match=r"expected numbers in \[0, 1\]"):
                functional.binary_cross_entropy(*given)
    var = probs.clone()
    var[5] = -1
    with pytest.raises(ValueError, match="negative"):
        functional.gaussian_nll_loss(probs, target, var)


# --- room -----------------------------------------------------------------------------------------------------------

PROBE = """
import json, sys, torch, lossary
from benchmarks.memory import peak
from lossary.nn import functional
half = getattr(torch, sys.argv[1])
pred, target = torch.randn(1 << 22).to(half).requires_grad_(), torch.rand(1 << 22).round().to(half)
logits, labels = torch.randn(2048, 2048).to(half).requires_grad_(), torch.randint(2048, (2048,))
soft = torch.full((2048, 2048), 1 / 2048).to(half)
def step(leaf, value):
    value.backward()
    leaf.grad = None
loss, rows = lossary.binary_cross_entropy_with_logits, lossary.softmax_cross_entropy
runs = {
    "catalogue": lambda: step(pred, loss.value(pred, target, reduction="mean")),
    "scaled": lambda: step(pred, loss.value(pred, target, reduction="mean") * 8),
    "drop-in": lambda: step(pred, functional.binary_cross_entropy_with_logits(pred, target)),
    "probabilities": lambda: step(pred, functional.binary_cross_entropy(target, target) + 0 * pred[0]),
    "rows": lambda: step(logits, rows.value(logits, labels, reduction="mean")),
    "drop-in of rows": lambda: step(logits, functional.cross_entropy(logits, labels)),
    "distributions": lambda: step(logits, rows.value(logits, soft, reduction="mean", check=False)),
}
print(json.dumps({name: peak(run) / (2 << 22) for name, run in runs.items()}))
"""


@both_halves
@pytest.mark.skipif(not measurable(), reason="only Linux tells how much is resident")
def test_a_large_call_takes_the_room_of_its_gradient_and_no_more(half: Any) -> None:
    """In units of the gradient. float32 copies of the inputs would be four, a value for each element two."""
    quiet = {"LOSSARY_POOL": "0", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    run = subprocess.run(
        [sys.executable, "-c", PROBE, str(half).removeprefix("torch.")],
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(run.stdout)
    assert all(taken < 1.3 for taken in found.values()), found


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_weighted_mean_has_the_type_of_its_values(dtype: Any) -> None:
    """The weights are summed in float64, which is no affair of the result's."""
    pred, weight = np.ones(3, dtype), np.ones(3, dtype)
    for options in ({"weight": weight}, {"mask": weight > 0}, {"denominator": np.array(7.25)}):
        value, grad = lossary.huber.value_and_grad(pred, 0 * pred, reduction="mean", **options)
        assert value.dtype == np.float32 and grad.dtype == dtype
        assert lossary.mean(lossary.huber(pred, 0 * pred), **options).dtype == np.float32


def test_a_gradient_too_large_for_its_type_is_infinite_in_silence() -> None:
    assert lossary.squared_error.grad(np.array([6e4], np.float16), np.array([0], np.float16), weight=[2.0]) == np.inf
