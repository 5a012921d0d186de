"""Losses of the softmax family by their kernels, against the definitions: every option, type, layout and edge."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossary
from by_kernel import by_definition, by_kernel, runs_definition
from lossary.testing import kernels

pytest.importorskip("numba", reason="kernels need the fast extra")

INF, NAN = np.inf, np.nan
TYPES = [np.float32, np.float64]
BOTH = pytest.mark.parametrize("dtype", TYPES, ids=["float32", "float64"])
WIDER = {np.dtype(np.float16): np.float64, np.dtype(np.float32): np.float64, np.dtype(np.float64): np.longdouble}
EPSILONS = 16.0  # what a result may be off, in units of the type's resolution and of the terms that make it

# Rows of which length are computed by which loops; "tiles" also needs classes that are not innermost in memory.
SHORT, LONG = 7, 1100


def kernel(loss: Any, arrays: list[Any], **options: Any) -> tuple[Any, Any]:
    """Value and gradient of each row from the kernel."""
    return by_kernel(lambda: loss.value_and_grad(*arrays, check=False, **options))


def definition(loss: Any, arrays: list[Any], dtype: Any = None, **options: Any) -> tuple[Any, Any]:
    """Value and gradient of each row from the definition in a type."""
    if dtype is not None:
        arrays = [np.asarray(a, dtype) if np.asarray(a).dtype.kind == "f" else a for a in arrays]
    return by_definition(lambda: loss.value_and_grad(*arrays, check=False, **options))


def probabilities(logits: Any, options: Any) -> Any:
    """The softmax of a row, of which each entry of a gradient has a part."""
    z = logits.astype(np.longdouble)
    with np.errstate(all="ignore"):
        if options.get("soft_cap"):
            z = options["soft_cap"] * np.tanh(z / options["soft_cap"])
        z = z / options.get("temperature", 1.0)
        e = np.exp(z - z.max(-1, keepdims=True, initial=-INF))
        return np.nan_to_num(e / e.sum(-1, keepdims=True))


def agree(loss: Any, arrays: list[Any], dtype: Any, **options: Any) -> None:
    """Hold the kernel to the definition in a wider type: NaN and infinities in the same places, the rest close."""
    value, grad = kernel(loss, arrays, **options)
    exact, exact_grad = definition(loss, arrays, dtype=WIDER[np.dtype(dtype)], **options)
    assert value.dtype == dtype and grad.dtype == dtype
    assert value.shape == exact.shape and grad.shape == exact_grad.shape
    logits = np.abs(np.nan_to_num(arrays[0].astype(np.float64), posinf=0, neginf=0))
    scale = options.get("scale", loss.defaults.get("scale", 1.0))
    reach = EPSILONS * np.finfo(dtype).eps * (1 + scale * logits.max(initial=0))
    tiny = np.finfo(dtype).tiny
    close(value, exact, reach * (1 + np.abs(exact)) + tiny)
    most = 1 + np.abs(np.nan_to_num(exact_grad, posinf=0, neginf=0)).max(initial=0)
    parts = probabilities(arrays[0], options) if loss is lossary.softmax_cross_entropy else 1.0
    close(grad, exact_grad, reach * (np.abs(exact_grad) + most * parts) + tiny)


def close(found: Any, exact: Any, allowed: Any) -> None:
    allowed, finite = np.broadcast_to(allowed, exact.shape), np.isfinite(exact)
    np.testing.assert_array_equal(found[~finite], exact[~finite].astype(found.dtype))
    error = np.abs(found[finite] - exact[finite])
    assert (error <= allowed[finite]).all(), (error / allowed[finite]).max()


# --- options --------------------------------------------------------------------------------------------------------

OPTIONS = {"class_weight": True, "label_smoothing": 0.2, "temperature": 1.7, "z_loss": 0.3, "soft_cap": 2.5}
CHOICES = [c for n in range(len(OPTIONS) + 1) for c in itertools.combinations(OPTIONS, n)]


def made(dtype: Any, shape: tuple[int, ...], seed: int = 0, spread: float = 3.0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    logits = (spread * rng.standard_normal(shape)).astype(dtype)
    labels = rng.integers(0, shape[-1], shape[:-1])
    soft = rng.dirichlet(np.ones(shape[-1]), shape[:-1]).astype(dtype)
    return logits, labels, soft


def chosen(names: tuple[str, ...], classes: int, dtype: Any) -> dict[str, Any]:
    found = {name: OPTIONS[name] for name in names}
    if "class_weight" in found:
        found["class_weight"] = (np.arange(classes) % 4 / 2).astype(dtype)  # some classes cost nothing
    return found


def strange(logits: Any) -> Any:
    """Logits with forbidden classes, rows of nothing else, and NaN and infinities in some rows."""
    logits[:, ::3] = -INF
    logits[3], logits[4, 1], logits[5, 2] = -INF, NAN, INF
    return logits


@BOTH
@pytest.mark.parametrize("first", [False, True], ids=["classes last", "classes first"])
@pytest.mark.parametrize("soft", [False, True], ids=["index", "soft"])
@pytest.mark.parametrize("names", CHOICES, ids="+".join)
def test_every_combination_of_options(names: tuple[str, ...], soft: bool, first: bool, dtype: Any) -> None:
    classes = 150 if first else LONG
    logits, labels, distributions = made(dtype, (37, classes))
    logits = np.asfortranarray(strange(logits)) if first else strange(logits)
    options = chosen(names, classes, dtype)
    arrays = [logits, distributions if soft else labels]
    agree(lossary.softmax_cross_entropy, arrays, dtype, **options)
    agree(lossary.softmax_cross_entropy, arrays, dtype, weight=(np.arange(37) % 3).astype(dtype), **options)


@pytest.mark.parametrize("soft", [False, True], ids=["index", "soft"])
@pytest.mark.parametrize("names", [(), ("class_weight", "label_smoothing"), tuple(OPTIONS)], ids="+".join)
def test_options_of_short_rows(names: tuple[str, ...], soft: bool) -> None:
    """They are for the loops generated from the definition."""
    logits, labels, distributions = made(np.float32, (133, SHORT))
    arrays = [strange(logits), distributions if soft else labels]
    for options in ({}, {"weight": (np.arange(133) % 3).astype(np.float32)}):
        agree(lossary.softmax_cross_entropy, arrays, np.float32, **options, **chosen(names, SHORT, np.float32))


MEMBERS: dict[str, list[dict[str, Any]]] = {
    "softmax_cross_entropy": [{}],
    "softmax_focal": [{"gamma": g} for g in (0.0, 0.5, 1.0, 2.0, 3.7)],
    "poly_loss": [{}, {"epsilon": -1.0}],
    "generalized_cross_entropy": [{}, {"q": 1.0}, {"q": 1e-3}],
    "logit_adjusted": [{}, {"tau": 0.0}, {"tau": 2.0}],
    "class_balanced": [{}, {"beta": 0.0}],
    "arcface": [{}, {"easy_margin": True}, {"margin": 0.0}, {"margin": 1.5, "scale": 4.0}],
    "cosface": [{}, {"margin": 0.0}],
}


@BOTH
@pytest.mark.parametrize("first", [False, True], ids=["classes last", "classes first"])
@pytest.mark.parametrize(("name", "params"), [(n, p) for n, ps in MEMBERS.items() for p in ps], ids=str)
def test_every_function_of_the_label(name: str, params: dict[str, Any], first: bool, dtype: Any) -> None:
    loss, classes = lossary.get(name), 140
    logits, labels, _ = made(dtype, (41, classes), seed=1)
    labels[7] = -1  # outside the row: masked below, and what the formula gives here
    arrays = [logits, labels]
    if loss.input == "similarity":
        arrays[0] = logits / np.abs(logits).max()
        arrays[0][2, labels[2]], arrays[0][3, labels[3]] = 1, -1
    else:
        arrays[0][4:6, labels[4]] = (40, 200)[: len(arrays[0][4:6])][0]
        arrays[0][8, labels[8]] = -INF
    if "class_counts" in loss.arguments:
        arrays.append(np.arange(classes).astype(dtype))  # the first class never occurs
    if first:
        arrays[0] = np.asfortranarray(arrays[0])
    agree(loss, arrays, dtype, **params)
    assert not runs_definition(loss, lambda: loss.value_and_grad(*arrays, check=False, **params))
    agree(loss, arrays, dtype, weight=(labels != -1) * np.linspace(0.5, 2, 41).astype(dtype), **params)


# --- shapes and layouts ---------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(data=st.data())
def test_any_shape_and_layout(data: Any) -> None:
    dtype = data.draw(st.sampled_from(TYPES))
    batch = data.draw(st.lists(st.integers(1, 40), max_size=3).map(tuple))
    classes = data.draw(st.sampled_from([1, 2, 10, 129, 140, 1025]))
    axis = data.draw(st.integers(0, len(batch)))
    step = data.draw(st.sampled_from([1, 2]))
    logits, labels, soft = made(dtype, (*batch, classes), seed=data.draw(st.integers(0, 9)))
    held = np.repeat(np.ascontiguousarray(np.moveaxis(logits, -1, axis)), step, axis=0)[::step]
    view = np.moveaxis(held, axis, -1)
    np.testing.assert_array_equal(view, logits)
    target = soft if data.draw(st.booleans()) else labels
    before = view.copy()
    agree(lossary.softmax_cross_entropy, [view, target], dtype, label_smoothing=data.draw(st.sampled_from([0.0, 0.1])))
    np.testing.assert_array_equal(view, before)


@BOTH
@pytest.mark.parametrize("soft", [False, True], ids=["index", "soft"])
def test_classes_on_the_first_axis_are_read_and_written_where_they_are(soft: bool, dtype: Any) -> None:
    logits, labels, distributions = made(dtype, (3, 6, 11, 130))
    image = np.ascontiguousarray(np.moveaxis(logits, -1, 1))
    view = np.moveaxis(image, 1, -1)
    target = distributions if soft else labels
    value, grad = kernel(lossary.softmax_cross_entropy, [view, target])
    assert grad.strides == view.strides
    agree(lossary.softmax_cross_entropy, [view, target], dtype)
    expected, expected_grad = kernel(lossary.softmax_cross_entropy, [logits, target])
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(value, expected, rtol=8 * eps)
    np.testing.assert_allclose(grad, expected_grad, rtol=32 * eps, atol=eps)


def test_read_only_inputs_and_inputs_of_other_types() -> None:
    logits, labels, _ = made(np.float32, (9, 170))
    expected = kernel(lossary.softmax_cross_entropy, [logits, labels])
    logits.flags.writeable = labels.flags.writeable = False
    for given_labels in (labels, labels.astype(np.uint8), labels.astype(np.int32)):
        found = kernel(lossary.softmax_cross_entropy, [logits, given_labels])
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("classes", [8, 180])
def test_one_target_or_one_row_of_logits_repeated(classes: int) -> None:
    logits, _, soft = made(np.float32, (20, classes))
    repeated = np.broadcast_to(soft[3], soft.shape)
    found, expected = (
        kernel(lossary.softmax_cross_entropy, [logits, target]) for target in (repeated, repeated.copy())
    )
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    agree(lossary.softmax_cross_entropy, [np.broadcast_to(logits[0], logits.shape), np.arange(20) % 8], np.float32)


@pytest.mark.parametrize("shape", [(0, 5), (4, 0, 3), (0, 500)])
def test_no_rows(shape: tuple[int, ...]) -> None:
    logits = np.empty(shape, np.float32)
    value, grad = kernel(lossary.softmax_cross_entropy, [logits, np.empty(shape[:-1], np.int64)])
    assert value.shape == shape[:-1] and grad.shape == shape


# --- edges ----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("padding", [0, 150], ids=["short", "long"])
def test_infinities_and_nan_are_as_in_the_definition_and_stay_in_their_row(padding: int, dtype: Any) -> None:
    block = np.array(
        [
            [-INF, -INF, -INF],
            [-INF, 0.0, 1.0],
            [0.0, -INF, -INF],
            [NAN, 0.0, 1.0],
            [1.0, NAN, -INF],
            [INF, 0.0, 1.0],
            [1.0, INF, INF],
            [-INF, INF, 0.0],
            [-INF, NAN, 0.0],
            [1e4, -1e4, 0.0],
            [88.0, 88.0, 88.0],
            [0.0, -0.0, 0.0],
            [0.0, -95.0, -110.0],
        ],
        dtype,
    )
    logits = np.concatenate([block, np.full((len(block), padding), -INF, dtype)], axis=1)
    for label, options in itertools.product(
        range(3), ({}, {"label_smoothing": 0.3}, {"z_loss": 0.1}, {"soft_cap": 30.0, "label_smoothing": 0.1})
    ):
        labels = np.full(len(block), label)
        agree(lossary.softmax_cross_entropy, [logits, labels], dtype, **options)
        one_hot = np.eye(logits.shape[1], dtype=dtype)[labels]
        agree(lossary.softmax_cross_entropy, [logits, one_hot], dtype, **options)


@BOTH
@pytest.mark.parametrize("classes", [3, 164])
def test_a_confident_row_keeps_the_digits_of_what_is_left(classes: int, dtype: Any) -> None:
    logits = np.zeros((4, classes), dtype)
    logits[:, 0] = (20, 50, 80, 1000)
    value, grad = kernel(lossary.softmax_cross_entropy, [logits, np.zeros(4, int)])
    exact, exact_grad = definition(lossary.softmax_cross_entropy, [logits, np.zeros(4, int)], dtype=np.longdouble)
    held = exact > np.finfo(dtype).tiny
    np.testing.assert_allclose(value[held], exact[held].astype(dtype), rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_allclose(grad[held], exact_grad[held].astype(dtype), rtol=8 * np.finfo(dtype).eps)


@BOTH
@pytest.mark.parametrize("first", [False, True], ids=["classes last", "classes first"])
def test_an_index_and_its_one_hot_row_give_the_same_bits(first: bool, dtype: Any) -> None:
    classes = 150
    logits, labels, _ = made(dtype, (50, classes))
    logits = np.asfortranarray(logits) if first else logits
    one_hot = np.eye(classes, dtype=dtype)[labels]
    for names in CHOICES:
        if "z_loss" in names:
            continue
        options = chosen(names, classes, dtype)
        index = kernel(lossary.softmax_cross_entropy, [logits, labels], **options)
        soft = kernel(lossary.softmax_cross_entropy, [logits, one_hot], **options)
        np.testing.assert_array_equal(index[0], soft[0])
        np.testing.assert_array_equal(index[1], soft[1])


def test_long_sums_do_not_lose_their_digits() -> None:
    logits = np.random.default_rng(0).standard_normal((2, 300_000)).astype(np.float32)
    value, _ = kernel(lossary.softmax_cross_entropy, [logits, np.zeros(2, int)])
    exact, _ = definition(lossary.softmax_cross_entropy, [logits, np.zeros(2, int)], dtype=np.float64)
    np.testing.assert_allclose(value, exact, rtol=2 * np.finfo(np.float32).eps)


def test_a_row_without_weight_is_not_looked_at() -> None:
    for classes in (6, 160):
        logits, labels, _ = made(np.float32, (5, classes))
        logits[2] = NAN
        labels[2] = 10**9
        weight = np.array([1, 2, 0, 1, 1], np.float32)
        value, grad = kernel(lossary.softmax_cross_entropy, [logits, labels], weight=weight)
        assert value[2] == 0 and (grad[2] == 0).all()
        assert np.isfinite(value).all() and np.isfinite(grad).all()


# --- what the transforms make of it ---------------------------------------------------------------------------------


def test_a_label_outside_its_row_is_refused_on_the_way() -> None:
    for classes in (6, 160):
        logits, labels, _ = made(np.float32, (5, classes))
        labels[3] = classes
        with kernels("always"), pytest.raises(lossary.errors.DomainError, match=f"got {classes} at index 3"):
            lossary.softmax_cross_entropy.value_and_grad(logits, labels)
        value, _ = kernel(lossary.softmax_cross_entropy, [logits, labels], ignore_index=classes)
        assert value[3] == 0


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_reductions_and_weights(reduction: str) -> None:
    logits, labels, _ = made(np.float32, (64, 300))
    weight = np.linspace(0, 1, 64)
    options: dict[str, Any] = {"weight": weight, "reduction": reduction, "label_smoothing": 0.1}
    value, grad = lossary.softmax_cross_entropy.value_and_grad(logits, labels, **options)
    exact, exact_grad = lossary.softmax_cross_entropy.value_and_grad(logits.astype(np.longdouble), labels, **options)
    assert grad.dtype == np.float32
    np.testing.assert_allclose(value, exact, rtol=1e-6)
    np.testing.assert_allclose(grad, exact_grad, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("shape", [(501, 200), (67, 1500), (2, 300, 150)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_same_bits_for_any_number_of_threads(
    shape: tuple[int, ...], smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, labels, _ = made(np.float32, shape)
    if len(shape) == 3:
        logits = np.moveaxis(np.ascontiguousarray(np.moveaxis(logits, -1, 1)), 1, -1)
    results = []
    for count in (1, 2, 3, 7):
        monkeypatch.setenv("NUMBA_NUM_THREADS", str(count))
        results.append(lossary.softmax_cross_entropy.value_and_grad(logits, labels, label_smoothing=smoothing))
    for value, grad in results[1:]:
        np.testing.assert_array_equal(value, results[0][0])
        np.testing.assert_array_equal(grad, results[0][1])


def test_the_decided_answers_hold_with_the_kernel_at_every_size() -> None:
    here = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {**os.environ, "LOSSARY_KERNELS": "always"}
    tests = str(here / "test_extremes_classification.py")
    run = subprocess.run(
        [*command, tests], cwd=here.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-4000:]


# --- tensors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16"])
def test_tensors_are_computed_by_a_kernel(name: str, kind: str) -> None:
    torch = pytest.importorskip("torch")
    loss = lossary.get(name)
    logits, labels, _ = made(np.float32, (30, 150))
    logits = np.tanh(logits) if loss.input == "similarity" else logits
    leaf = torch.from_numpy(logits).to(getattr(torch, kind)).requires_grad_()
    arrays = [leaf, torch.from_numpy(labels)]
    if "class_counts" in loss.arguments:
        arrays.append(torch.arange(150).to(leaf.dtype))

    def call() -> Any:
        value = loss(*arrays)
        (grad,) = torch.autograd.grad(value, leaf, torch.linspace(-1, 1, 30, dtype=value.dtype))
        return value.detach(), grad

    def quiet() -> Any:
        with torch.no_grad():
            return loss(*arrays)

    (value, grad), (expected, reference), alone = by_kernel(call), by_definition(call), by_kernel(quiet)
    assert not alone.requires_grad and torch.equal(alone, value)
    assert not runs_definition(loss, call)
    accuracy = 1e-4 if kind != "bfloat16" else 2e-2
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(grad, reference, rtol=accuracy, atol=1e-5 if kind != "bfloat16" else 1e-2)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_gradient_that_is_computed_with_the_value_is_the_right_one(reduction: Any, weighted: bool) -> None:
    torch = pytest.importorskip("torch")
    loss = lossary.softmax_cross_entropy
    logits, labels, _ = made(np.float32, (700, 150))
    leaf, target = torch.from_numpy(logits).requires_grad_(), torch.from_numpy(labels)
    options: dict[str, Any] = {"reduction": reduction}
    if weighted:
        options["weight"] = torch.linspace(0, 2, 700)
    value = loss.value(leaf, target, **options)
    back = torch.tensor(3.0) if reduction != "none" else torch.linspace(1, 2, 700)
    value.backward(back)
    wide = {name: held.double() if torch.is_tensor(held) else held for name, held in options.items()}
    again = torch.from_numpy(logits).double().requires_grad_()
    loss.value(again, target, **wide).backward(back.double())
    torch.testing.assert_close(leaf.grad, again.grad.float(), rtol=1e-4, atol=1e-7)


def test_nothing_is_held_where_no_gradient_is_wanted() -> None:
    torch = pytest.importorskip("torch")
    logits, labels, _ = made(np.float32, (700, 150))
    leaf, target = torch.from_numpy(logits), torch.from_numpy(labels)
    kept: list[Any] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        value = lossary.softmax_cross_entropy.value(leaf, target, reduction="mean")
        with torch.no_grad():
            lossary.softmax_cross_entropy.value(leaf.clone().requires_grad_(), target, reduction="mean")
    assert not kept and value.grad_fn is None


def test_a_second_derivative_of_tensors_is_the_definitions() -> None:
    torch = pytest.importorskip("torch")
    leaf = torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(6)
    with kernels("always"):
        assert torch.autograd.gradcheck(lambda z: lossary.softmax_cross_entropy(z, labels), leaf)
        assert torch.autograd.gradgradcheck(lambda z: lossary.softmax_cross_entropy(z, labels), leaf)


@pytest.mark.parametrize(
    "options", [{}, {"soft_cap": 2.0}, {"z_loss": 0.1, "label_smoothing": 0.1, "temperature": 2.0}]
)
@pytest.mark.parametrize("classes", [4, 140], ids=["short", "long"])
def test_nan_under_a_mask_reaches_no_gradient(classes: int, options: dict[str, Any]) -> None:
    logits = np.random.default_rng(0).standard_normal((4, classes))
    logits[2] = NAN
    value, gradient = kernel(
        lossary.softmax_cross_entropy, [logits, np.arange(4)], weight=np.array([1.0, 1, 0, 1]), **options
    )
    assert value[2] == 0 and (gradient[2] == 0).all()
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
