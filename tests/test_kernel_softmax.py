"""The row kernel of the softmax family against the definitions: every option, type, layout and edge."""

from __future__ import annotations

import importlib.util
import itertools
import json
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
from lossary.backends import cache
from lossary.evaluate import transforms
from lossary.kernels import registry as kernels
from lossary.kernels.request import Request

pytest.importorskip("numba", reason="kernels need the fast extra")
from lossary.kernels.cpu.runtime import threads
from lossary.kernels.cpu.softmax import host as rows
from lossary.kernels.cpu.softmax import losses
from lossary.kernels.cpu.softmax.spec import SoftmaxSpec

INF, NAN = np.inf, np.nan
TYPES = [np.float32, np.float64]
BOTH = pytest.mark.parametrize("dtype", TYPES, ids=["float32", "float64"])
WIDER = {np.dtype(np.float16): np.float64, np.dtype(np.float32): np.float64, np.dtype(np.float64): np.longdouble}
EPSILONS = 16.0  # what a result may be off, in units of the type's resolution and of the terms that make it

FAMILY = [loss for (loss, _), (module, _) in kernels.TABLE.items() if module == losses.__name__]


@pytest.fixture(autouse=True)
def for_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "SOFTMAX_ELEMENTS", 0)
    monkeypatch.setattr(losses, "SIDE_BY_SIDE_CLASSES", 0)  # the kernel written by hand takes short rows as well
    if importlib.util.find_spec("torch"):  # small calls from torch have a path of their own
        monkeypatch.setattr("lossary.backends.torch.fast.MOST", 0)
        cache.clear()


def kernel(loss: Any, arrays: list[Any], weight: Any = None, **params: Any) -> Any:
    """Value and gradient of each row from the kernel."""
    call = transforms.prepare(loss, arrays, params, weight, check=False)
    done = kernels.find(loss).run(call, Request("each", (1,), call.weights))
    assert done is not None, "the kernel is for this call"
    return done.value, done.derivatives[0][0]


def definition(loss: Any, arrays: list[Any], weight: Any = None, dtype: Any = None, **params: Any) -> tuple[Any, ...]:
    """Value and gradient of each row, and the probabilities on the way, from the definition in a type."""
    if dtype is not None:
        arrays = [np.asarray(a, dtype) if np.asarray(a).dtype.kind == "f" else a for a in arrays]
    call = transforms.prepare(loss, arrays, params, weight, check=False)
    with np.errstate(all="ignore"):
        steps = call.steps()
        value, gradient = next(steps), next(steps)
        probabilities = steps.gi_frame.f_locals["probabilities"]
        value = call.values(value)
        weights = call.weights
        if weights is not None:
            value = np.where(weights == 0, 0, value * weights)
        return value, call.restore((gradient,), weights)[0], probabilities


def agree(loss: Any, arrays: list[Any], dtype: Any, **options: Any) -> None:
    """Hold the kernel to the definition in a wider type: NaN and infinities in the same places, the rest close."""
    value, grad = kernel(loss, arrays, **options)
    exact, exact_grad, probabilities = definition(loss, arrays, dtype=WIDER[np.dtype(dtype)], **options)
    assert value.dtype == dtype and grad.dtype == dtype
    assert value.shape == exact.shape and grad.shape == exact_grad.shape
    logits = np.abs(np.nan_to_num(arrays[0].astype(np.float64), posinf=0, neginf=0))
    reach = EPSILONS * np.finfo(dtype).eps * (1 + options.get("scale", 1.0) * logits.max(initial=0))
    tiny = np.finfo(dtype).tiny
    close(value, exact, reach * (1 + np.abs(exact)) + tiny)
    most = 1 + np.abs(np.nan_to_num(exact_grad, posinf=0, neginf=0)).max(initial=0)
    close(grad, exact_grad, reach * (np.abs(exact_grad) + most * np.nan_to_num(probabilities)) + tiny)


def close(found: Any, exact: Any, allowed: Any) -> None:
    finite = np.isfinite(exact)
    np.testing.assert_array_equal(found[~finite], exact[~finite].astype(found.dtype))
    error = np.abs(found[finite] - exact[finite])
    assert (error <= np.broadcast_to(allowed, exact.shape)[finite]).all(), (error / allowed[finite]).max()


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


@BOTH
@pytest.mark.parametrize("classes", [7, 1100], ids=["side by side", "along"])
@pytest.mark.parametrize("soft", [False, True], ids=["index", "soft"])
@pytest.mark.parametrize("names", CHOICES, ids="+".join)
def test_every_combination_of_options(names: tuple[str, ...], soft: bool, classes: int, dtype: Any) -> None:
    logits, labels, distributions = made(dtype, (37, classes))
    logits[:, ::3] = -INF
    logits[3], logits[4, 1], logits[5, 2] = -INF, NAN, INF
    weight = (np.arange(37) % 3).astype(dtype)
    options = chosen(names, classes, dtype)
    agree(lossary.softmax_cross_entropy, [logits, distributions if soft else labels], dtype, **options)
    arrays = [logits, distributions if soft else labels]
    agree(lossary.softmax_cross_entropy, arrays, dtype, weight=weight, **options)


@pytest.mark.parametrize("soft", [False, True], ids=["index", "soft"])
@pytest.mark.parametrize("names", [(), ("class_weight", "label_smoothing"), tuple(OPTIONS)], ids="+".join)
def test_short_rows_are_for_the_loops_made_of_the_definition(
    names: tuple[str, ...], soft: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "SIDE_BY_SIDE_CLASSES", 64)
    monkeypatch.setattr(rows, "softmax_rows", None)
    logits, labels, distributions = made(np.float32, (133, 7))
    logits[:, ::3] = -INF
    logits[3], logits[4, 1], logits[5, 2] = -INF, NAN, INF
    weight = (np.arange(133) % 3).astype(np.float32)
    arrays = [logits, distributions if soft else labels]
    for some in (None, weight):
        agree(lossary.softmax_cross_entropy, arrays, np.float32, weight=some, **chosen(names, 7, np.float32))


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


def test_every_loss_of_the_family_is_tested() -> None:
    assert set(MEMBERS) == set(FAMILY)


@BOTH
@pytest.mark.parametrize("classes", [5, 90])
@pytest.mark.parametrize(("name", "params"), [(n, p) for n, ps in MEMBERS.items() for p in ps], ids=str)
def test_every_function_of_the_label(name: str, params: dict[str, Any], classes: int, dtype: Any) -> None:
    loss = lossary.get(name)
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
    agree(loss, arrays, dtype, **params)
    agree(loss, arrays, dtype, weight=(labels != -1) * np.linspace(0.5, 2, 41).astype(dtype), **params)


# --- shapes and layouts ---------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(data=st.data())
def test_any_shape_and_layout(data: Any) -> None:
    dtype = data.draw(st.sampled_from(TYPES))
    batch = data.draw(st.lists(st.integers(1, 40), max_size=3).map(tuple))
    classes = data.draw(st.sampled_from([1, 2, 3, 10, 47, 48, 130, 1025]))
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
    logits, labels, distributions = made(dtype, (3, 6, 11, 5))
    image = np.ascontiguousarray(np.moveaxis(logits, -1, 1))
    view = np.moveaxis(image, 1, -1)
    assert rows.layout(view).inner == 66
    target = distributions if soft else labels
    value, grad = kernel(lossary.softmax_cross_entropy, [view, target])
    assert grad.strides == view.strides
    expected, expected_grad = kernel(lossary.softmax_cross_entropy, [logits, target])
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(grad, expected_grad)


def test_read_only_inputs_and_inputs_of_other_types() -> None:
    logits, labels, _ = made(np.float32, (9, 70))
    expected = kernel(lossary.softmax_cross_entropy, [logits, labels])
    logits.flags.writeable = labels.flags.writeable = False
    for given_labels in (labels, labels.astype(np.uint8), labels.astype(np.int32)):
        found = kernel(lossary.softmax_cross_entropy, [logits, given_labels])
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("classes", [8, 80])
def test_one_target_or_one_row_of_logits_repeated(classes: int) -> None:
    logits, _, soft = made(np.float32, (20, classes))
    repeated = np.broadcast_to(soft[3], soft.shape)
    found, expected = (
        rows.softmax_rows(logits, target, SoftmaxSpec(), dtype=np.float32) for target in (repeated, repeated.copy())
    )
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.grad, expected.grad)
    agree(lossary.softmax_cross_entropy, [np.broadcast_to(logits[0], logits.shape), np.arange(20) % 8], np.float32)


@pytest.mark.parametrize("shape", [(0, 5), (4, 0, 3)])
def test_no_rows(shape: tuple[int, ...]) -> None:
    logits = np.empty(shape, np.float32)
    value, grad = kernel(lossary.softmax_cross_entropy, [logits, np.empty(shape[:-1], np.int64)])
    assert value.shape == shape[:-1] and grad.shape == shape


@pytest.mark.parametrize("classes", [10, 200])
def test_half_precision_is_computed_in_float32_and_rounded_once(classes: int) -> None:
    logits, labels, _ = made(np.float16, (33, classes))
    plan = SoftmaxSpec(smoothing=0.1, soft_cap=5.0)
    for each in (plan, SoftmaxSpec()):
        narrow = rows.softmax_rows(logits, labels, each, dtype=np.float32)
        wide = rows.softmax_rows(logits.astype(np.float32), labels, each, dtype=np.float32)
        np.testing.assert_array_equal(narrow.values, wide.values)
        np.testing.assert_array_equal(narrow.grad, wide.grad.astype(np.float16))


@pytest.mark.parametrize("classes", [10, 200])
def test_bfloat16_is_read_and_written_as_its_bits(classes: int) -> None:
    torch = pytest.importorskip("torch")
    logits, labels, _ = made(np.float32, (33, classes))
    brain = torch.from_numpy(logits).bfloat16()
    brain[3, 1] = NAN
    narrow = rows.softmax_rows(brain.view(torch.uint16).numpy(), labels, SoftmaxSpec(), dtype=np.float32)
    wide = rows.softmax_rows(brain.float().numpy(), labels, SoftmaxSpec(), dtype=np.float32)
    np.testing.assert_array_equal(narrow.values, wide.values)
    found = torch.from_numpy(narrow.grad.view(np.int16)).view(torch.bfloat16)
    torch.testing.assert_close(found, torch.from_numpy(wide.grad).bfloat16(), rtol=0, atol=0, equal_nan=True)


# --- edges ----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("padding", [0, 100], ids=["side by side", "along"])
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
@pytest.mark.parametrize("classes", [3, 64])
def test_a_confident_row_keeps_the_digits_of_what_is_left(classes: int, dtype: Any) -> None:
    logits = np.zeros((4, classes), dtype)
    logits[:, 0] = (20, 50, 80, 1000)
    value, grad = kernel(lossary.softmax_cross_entropy, [logits, np.zeros(4, int)])
    exact, exact_grad, _ = definition(lossary.softmax_cross_entropy, [logits, np.zeros(4, int)], dtype=np.longdouble)
    held = exact > np.finfo(dtype).tiny
    np.testing.assert_allclose(value[held], exact[held].astype(dtype), rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_allclose(grad[held], exact_grad[held].astype(dtype), rtol=8 * np.finfo(dtype).eps)


@BOTH
@pytest.mark.parametrize("classes", [4, 400])
def test_an_index_and_its_one_hot_row_give_the_same_bits(classes: int, dtype: Any) -> None:
    logits, labels, _ = made(dtype, (50, classes))
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
    exact, _, _ = definition(lossary.softmax_cross_entropy, [logits, np.zeros(2, int)], dtype=np.float64)
    np.testing.assert_allclose(value, exact, rtol=2 * np.finfo(np.float32).eps)


def test_a_row_without_weight_is_not_looked_at() -> None:
    for classes in (6, 60):
        logits, labels, _ = made(np.float32, (5, classes))
        logits[2] = NAN
        labels[2] = 10**9
        weight = np.array([1, 2, 0, 1, 1], np.float32)
        value, grad = kernel(lossary.softmax_cross_entropy, [logits, labels], weight=weight)
        assert value[2] == 0 and (grad[2] == 0).all()
        assert np.isfinite(value).all() and np.isfinite(grad).all()


# --- what the transforms make of it ---------------------------------------------------------------------------------


def test_a_label_outside_its_row_is_refused_on_the_way() -> None:
    for classes in (6, 60):
        logits, labels, _ = made(np.float32, (5, classes))
        labels[3] = classes
        with pytest.raises(lossary.errors.DomainError, match=f"got {classes} at index 3"):
            lossary.softmax_cross_entropy.value_and_grad(logits, labels)
        value, _ = lossary.softmax_cross_entropy.value_and_grad(logits, labels, ignore_index=classes)
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


@pytest.mark.parametrize("classes", [9, 77])
def test_normaliser_entropy_and_hits(classes: int) -> None:
    logits, labels, _ = made(np.float32, (40, classes))
    logits[:, 2] = -INF
    logits[5] = 1.0
    labels[5], labels[6] = 3, np.argmax(logits[6])
    done = rows.softmax_rows(
        logits, labels, SoftmaxSpec(), dtype=np.float32, gradient=False, outputs=("lse", "entropy", "correct")
    )
    wide = logits.astype(np.float64)
    top = wide.max(axis=-1)
    lse = top + np.log(np.exp(wide - top[:, None]).sum(axis=-1))
    p = np.exp(wide - lse[:, None])
    terms = np.zeros_like(p)
    np.multiply(p, lse[:, None] - wide, out=terms, where=p > 0)
    np.testing.assert_allclose(done.lse, lse, rtol=1e-6)
    np.testing.assert_allclose(done.entropy, terms.sum(axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(done.correct, labels == np.argmax(logits, axis=-1))
    assert done.grad is None and not done.correct[5] and done.correct[6]


@pytest.mark.parametrize("shape", [(501, 10), (67, 1500), (2, 300, 21)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_same_bits_for_any_number_of_threads(
    shape: tuple[int, ...], smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "SHARED_ELEMENTS", 0)
    logits, labels, _ = made(np.float32, shape)
    if len(shape) == 3:
        logits = np.moveaxis(np.ascontiguousarray(np.moveaxis(logits, -1, 1)), 1, -1)
    results = [
        rows.softmax_rows(logits, labels, SoftmaxSpec(smoothing=smoothing), dtype=np.float32, count=count)
        for count in (1, 2, 3, 7)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(other.values, results[0].values)
        np.testing.assert_array_equal(other.grad, results[0].grad)
    assert threads.default_count() >= 1


def test_the_decided_answers_hold_with_the_kernel_at_every_size() -> None:
    here = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    environment = {**os.environ, "LOSSARY_KERNELS": "always"}
    tests = str(here / "test_extremes_classification.py")
    run = subprocess.run(
        [*command, tests], cwd=here.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout[-4000:]


PROBE = """
import json, sys
import numpy as np, lossary
logits = np.linspace(-3, 3, 128000, dtype=np.float32).reshape(128, 1000)
value, grad = lossary.softmax_cross_entropy.value_and_grad(logits, np.arange(128), reduction="mean")
print(json.dumps({"value": float(value), "grad": float(abs(grad).sum()), "numba": "numba" in sys.modules}))
"""


def test_later_processes_load_the_kernel_without_the_compiler(tmp_path: Path) -> None:
    environment = {**os.environ, "LOSSARY_CACHE": str(tmp_path), "LOSSARY_KERNELS": ""}
    found = [
        json.loads(
            subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, check=True).stdout
        )
        for _ in range(2)
    ]
    assert found[0] == {**found[1], "numba": True} and not found[1]["numba"]
    assert [path.name for path in tmp_path.rglob("*.kernel")] == ["softmax_rows.kernel"], "one layout, one type"


def test_a_distribution_has_no_one_label_to_be_right_about() -> None:
    logits, _, soft = made(np.float32, (9, 70))
    with pytest.raises(lossary.errors.ArgumentError, match="correct: a distribution"):
        rows.softmax_rows(logits, soft, SoftmaxSpec(), dtype=np.float32, outputs=("correct",))


# --- tensors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16"])
def test_tensors_are_computed_by_the_same_kernel(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    loss, calls = lossary.get(name), []
    evaluate = rows.softmax_rows
    monkeypatch.setattr(rows, "softmax_rows", lambda *a, **k: calls.append(k["gradient"]) or evaluate(*a, **k))
    logits, labels, _ = made(np.float32, (30, 12))
    logits = np.tanh(logits) if loss.input == "similarity" else logits
    leaf = torch.from_numpy(logits).to(getattr(torch, kind)).requires_grad_()
    arrays = [leaf, torch.from_numpy(labels)]
    if "class_counts" in loss.arguments:
        arrays.append(torch.arange(12).to(leaf.dtype))
    with torch.no_grad():
        quiet = loss(*arrays)
    value = loss(*arrays)
    weights = torch.linspace(-1, 1, 30, dtype=value.dtype)
    value.backward(weights)
    assert calls and calls[-1], "the gradient came from the kernel"
    assert not quiet.requires_grad and torch.equal(quiet, value.detach())
    monkeypatch.undo()
    monkeypatch.setattr(kernels, "available", lambda: False)
    kernels._find.cache_clear()
    try:
        plain = leaf.detach().clone().requires_grad_()
        expected = loss(plain, *arrays[1:])
        expected.backward(weights)
    finally:
        monkeypatch.undo()
        kernels._find.cache_clear()
    accuracy = 1e-4 if kind != "bfloat16" else 2e-2
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(leaf.grad, plain.grad, rtol=accuracy, atol=1e-5 if kind != "bfloat16" else 1e-2)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("reduction", "passes"), [("mean", [True]), ("sum", [True]), ("none", [False, True])])
def test_the_gradient_is_taken_along_where_one_number_comes_back(
    reduction: Any, passes: list[bool], weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    loss, calls = lossary.softmax_cross_entropy, []
    evaluate = rows.softmax_rows
    monkeypatch.setattr(rows, "softmax_rows", lambda *a, **k: calls.append(k["gradient"]) or evaluate(*a, **k))
    logits, labels, _ = made(np.float32, (700, 100))
    leaf, target = torch.from_numpy(logits).requires_grad_(), torch.from_numpy(labels)
    options: dict[str, Any] = {"reduction": reduction}
    if weighted:
        options["weight"] = torch.linspace(0, 2, 700)
    value = transforms.value(loss, leaf, target, **options)
    back = torch.tensor(3.0) if reduction != "none" else torch.linspace(1, 2, 700)
    value.backward(back)
    assert calls == passes
    wide = {name: held.double() if torch.is_tensor(held) else held for name, held in options.items()}
    again = torch.from_numpy(logits).double().requires_grad_()
    transforms.value(loss, again, target, **wide).backward(back.double())
    torch.testing.assert_close(leaf.grad, again.grad.float(), rtol=1e-4, atol=1e-7)


def test_nothing_is_held_where_no_gradient_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    calls: list[bool] = []
    evaluate = rows.softmax_rows
    monkeypatch.setattr(rows, "softmax_rows", lambda *a, **k: calls.append(k["gradient"]) or evaluate(*a, **k))
    logits, labels, _ = made(np.float32, (700, 100))
    leaf, target = torch.from_numpy(logits), torch.from_numpy(labels)
    kept: list[Any] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        value = transforms.value(lossary.softmax_cross_entropy, leaf, target, reduction="mean")
        with torch.no_grad():
            transforms.value(lossary.softmax_cross_entropy, leaf.clone().requires_grad_(), target, reduction="mean")
    assert not kept and value.grad_fn is None and calls == [False, False]


def test_a_second_derivative_of_tensors_is_the_definitions() -> None:
    torch = pytest.importorskip("torch")
    leaf = torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.arange(6)
    assert torch.autograd.gradcheck(lambda z: lossary.softmax_cross_entropy(z, labels), leaf)
    assert torch.autograd.gradgradcheck(lambda z: lossary.softmax_cross_entropy(z, labels), leaf)


@pytest.mark.parametrize(
    "options", [{}, {"soft_cap": 2.0}, {"z_loss": 0.1, "label_smoothing": 0.1, "temperature": 2.0}]
)
@pytest.mark.parametrize("classes", [4, 100], ids=["side by side", "one by one"])
def test_nan_under_a_mask_reaches_no_gradient(classes: int, options: dict[str, Any]) -> None:
    logits = np.random.default_rng(0).standard_normal((4, classes))
    logits[2] = NAN
    value, gradient = kernel(lossary.softmax_cross_entropy, [logits, np.arange(4)], np.array([1.0, 1, 0, 1]), **options)
    assert value[2] == 0 and (gradient[2] == 0).all()
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
