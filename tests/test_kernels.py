"""Kernels of losses on numbers: held to their definitions, and to what a kernel promises beyond them."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossary
from by_kernel import by_definition, by_kernel, definition_of, runs_definition, tuple_of
from lossary.catalogue import Loss
from lossary.testing import corner_params, kernels, random_arrays, random_params

pytest.importorskip("numba", reason="kernels need the fast extra")

POINTWISE = [
    loss
    for loss in map(lossary.get, lossary.names())
    if loss.kernel and not loss.coupling and any(s.rank == 0 for s in loss.signatures)
]
every_pointwise = pytest.mark.parametrize("loss", POINTWISE, ids=lambda loss: loss.name)
every_type = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
LEAST = 16384  # elements from which kernels compute by themselves
MANY = 80_003  # enough for several threads, and not a whole number of blocks


def drawn(loss: Loss, dtype: Any, seed: int = 0, count: int = 500) -> list[Any]:
    rng = np.random.default_rng([seed, *loss.name.encode()])
    alternative = next(i for i, s in enumerate(loss.signatures) if s.rank == 0)
    return [a.astype(dtype) for a in random_arrays(loss, rng, count, alternative=alternative)]


def agree(found: Any, expected: Any, sensitivity: Any, what: Any, units: float = 64) -> None:
    """Equal but for a few units in the last place of the result and of the inputs; NaN and infinities in place."""
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), err_msg=str(what))
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(found[infinite], expected[infinite], err_msg=str(what))
    eps, tiny = np.finfo(expected.dtype).eps, np.finfo(expected.dtype).tiny
    finite = np.isfinite(expected)
    slack = units * eps * (np.abs(expected[finite]) + np.abs(sensitivity[finite])) + tiny
    excess = np.abs(found[finite] - expected[finite]) - slack
    assert not (excess > 0).any(), (what, excess.max())


# --- against the definitions ----------------------------------------------------------------------------------------


def parameter_sets(loss: Loss) -> list[dict[str, Any]]:
    rng = np.random.default_rng([1, *loss.name.encode()])
    return [{}, random_params(loss, rng, default=0.0), *corner_params(loss)]


@every_pointwise
@every_type
def test_a_kernel_computes_what_its_definition_computes(loss: Loss, dtype: Any) -> None:
    """To 64 units in the last place of the result, and of the inputs as far as they move it."""
    for number, params in enumerate(parameter_sets(loss)):
        arrays = drawn(loss, dtype, number)
        twice = loss.derivatives > 1

        def value_and_grad(arrays: Any = arrays, params: Any = params) -> tuple[Any, ...]:
            value, grads = loss.value_and_grad(*arrays, **params)
            return value, *tuple_of(grads)

        def grad_hess(arrays: Any = arrays, params: Any = params) -> tuple[tuple[Any, ...], ...]:
            grads, curvatures = loss.grad_hess(*arrays, **params)
            return tuple_of(grads), tuple_of(curvatures)

        value, *grads = by_kernel(value_and_grad)
        expected, *slopes = by_definition(value_and_grad)
        curvatures = by_definition(grad_hess)[1] if twice else ()
        size, steepness = sum(np.abs(a) for a in arrays), sum(np.abs(g) for g in slopes)
        bent = sum(np.abs(h) for h in curvatures) if twice else steepness
        agree(value, expected, size * (steepness + (steepness > 0)), (loss.name, "value", params))
        for found, reference in zip(grads, slopes, strict=True):
            assert found.dtype == dtype
            agree(found, reference, size * bent + steepness, (loss.name, "gradient", params))
        if twice and number < 2:
            first, second = by_kernel(grad_hess)
            for found, reference in zip(first, slopes, strict=True):
                agree(found, reference, size * bent + steepness, (loss.name, "gradient of grad_hess", params))
            for found, reference in zip(second, curvatures, strict=True):
                agree(found, reference, size * (bent + steepness), (loss.name, "Hessian", params), units=256)
        if not number:
            assert not runs_definition(loss, value_and_grad), "a loss without a kernel says so in its record"


@every_pointwise
def test_extreme_and_undefined_inputs_end_as_the_definition_says(loss: Loss) -> None:
    allowed = loss.domain(loss.arguments[0], len(loss.signatures) - 1)
    if allowed.bounded:
        pytest.skip("what is extreme depends on the domain")
    edges = np.array([np.nan, np.inf, -np.inf, 1e4, -1e4, 0.0, -0.0, 700.0, -700.0, 1e-300, 1e300])
    others = drawn(loss, np.float64, 3, len(edges))[1:]
    found, expected = (way(lambda: loss.value_and_grad(edges, *others)) for way in (by_kernel, by_definition))
    with np.errstate(all="ignore"):
        for ours, theirs in zip((found[0], *tuple_of(found[1])), (expected[0], *tuple_of(expected[1])), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-300, err_msg=loss.name)


@pytest.mark.parametrize("name", ["huber", "student_t_nll", "binary_cross_entropy_with_logits"])
def test_a_parameter_may_differ_from_example_to_example(name: str) -> None:
    loss = lossary.get(name)
    arrays = drawn(loss, np.float64, 4, 300)
    params = {next(iter(loss.parameters)): np.linspace(0.5, 2.0, 300)}
    call = lambda: loss.value_and_grad(*arrays, **params)  # noqa: E731
    (value, grads), (expected, references) = by_kernel(call), by_definition(call)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(tuple_of(grads)[0], tuple_of(references)[0], rtol=1e-12, atol=1e-15)
    assert not runs_definition(loss, call)


@every_pointwise
def test_a_weighted_mean_is_that_of_the_definition(loss: Loss) -> None:
    arrays = drawn(loss, np.float32, 5, 5000)
    rng = np.random.default_rng(0)
    weight = rng.random(5000).astype(np.float32) * (rng.random(5000) < 0.9)
    for a in arrays:
        a[weight == 0] = np.nan  # what has weight 0 is not read
    call = lambda: loss.value_and_grad(*arrays, weight=weight, reduction="mean")  # noqa: E731
    (value, grads), (expected, references) = by_kernel(call), by_definition(call)
    assert value.dtype == expected.dtype
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    for grad, reference in zip(tuple_of(grads), tuple_of(references), strict=True):
        assert grad.dtype == np.float32 and (grad[weight == 0] == 0).all()
        np.testing.assert_allclose(grad, reference, rtol=2e-5, atol=1e-9)


# --- memory ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 400),
    layouts=st.tuples(*[st.sampled_from(["C", "F", "reversed", "every other", "row", "half", "scalar"])] * 2),
)
def test_any_layout_gives_the_same_numbers(rows: int, columns: int, layouts: tuple[str, str]) -> None:
    rng = np.random.default_rng(rows * 1000 + columns)

    def laid_out(layout: str) -> Any:
        wide = rng.standard_normal((rows, 2 * columns)).astype(np.float32)
        made = {
            "C": lambda: wide[:, :columns].copy(),
            "F": lambda: np.asfortranarray(wide[:, :columns]),
            "reversed": lambda: wide[::-1, columns - 1 :: -1][:, :columns],
            "every other": lambda: wide[:, ::2],
            "row": lambda: np.broadcast_to(wide[:1, :columns], (rows, columns)),
            "half": lambda: wide[:, :columns].astype(np.float16),
            "scalar": lambda: wide[0, 0],
        }
        return made[layout]()

    pred, target = laid_out("C" if layouts[0] == "scalar" else layouts[0]), laid_out(layouts[1])
    value, grad = by_kernel(lambda: lossary.huber.value_and_grad(pred, target))
    dense = [np.ascontiguousarray(np.broadcast_to(a, (rows, columns)), dtype=np.float32) for a in (pred, target)]
    expected, reference = by_kernel(lambda: lossary.huber.value_and_grad(*dense))
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(grad, reference.astype(pred.dtype))


@every_type
@pytest.mark.parametrize("weighted", [False, True])
def test_results_are_the_same_bits_for_any_number_of_threads(
    dtype: Any, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = lossary.binary_cross_entropy_with_logits
    arrays = drawn(loss, dtype, 6, MANY)
    options = {"weight": np.random.default_rng(1).random(MANY).astype(dtype)} if weighted else {}
    runs = []
    for count in (1, 2, 3, 7):
        monkeypatch.setenv("NUMBA_NUM_THREADS", str(count))
        runs.append(loss.value_and_grad(*arrays, reduction="mean", **options))
    for value, grad in runs[1:]:
        assert value == runs[0][0]
        np.testing.assert_array_equal(grad, runs[0][1])


def test_a_value_outside_the_domain_is_named_as_without_a_kernel() -> None:
    logits = np.zeros(LEAST, np.float32)
    target = np.zeros(LEAST, np.float32)
    target[12345] = 1.5
    with pytest.raises(lossary.errors.DomainError, match=r"target: got 1.5 at index 12345, expected .*\[0, 1\]"):
        lossary.binary_cross_entropy_with_logits.grad(logits, target)
    mask = np.arange(LEAST) != 12345
    value, _ = lossary.binary_cross_entropy_with_logits.value_and_grad(logits, target, mask=mask, reduction="mean")
    assert value == pytest.approx(np.log(2.0))
    unchecked = lossary.binary_cross_entropy_with_logits.grad(logits, target, check=False)
    assert unchecked[12345] == -1.0


def huber_sum(arrays: Any) -> tuple[Any, Any]:
    return lossary.huber.value_and_grad(*arrays, reduction="sum")


def test_threads_may_call_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    arrays = drawn(lossary.huber, np.float32, 7, MANY)
    expected, reference = huber_sum(arrays)
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(20):
            value, grad = huber_sum(arrays)
            if value != expected or not np.array_equal(grad, reference):
                wrong.append(value)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def _in_child(queue: Any, arrays: Any) -> None:
    queue.put(float(huber_sum(arrays)[0]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_after_use_starts_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", "2")
    arrays = drawn(lossary.huber, np.float32, 8, MANY)
    expected = float(huber_sum(arrays)[0])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of a fork while there are threads
        child = context.Process(target=_in_child, args=(queue, arrays))
        child.start()
    assert queue.get(timeout=60) == expected
    child.join(60)
    assert child.exitcode == 0


THREADS = """
import threading
import numpy as np, lossary
x = np.linspace(-3, 3, 80_003)
lossary.huber.value_and_grad(x, x[::-1].copy(), reduction="mean")
print(threading.active_count())
"""


def test_the_number_of_threads_is_numbas() -> None:
    environment = {**os.environ, "LOSSARY_KERNELS": ""}
    counts = []
    for setting in ("1", "2"):
        run = [sys.executable, "-c", THREADS]
        out = subprocess.run(run, env={**environment, "NUMBA_NUM_THREADS": setting}, capture_output=True, check=True)
        counts.append(int(out.stdout))
    assert counts == [1, 2]


# --- which formula, and whether a kernel ------------------------------------------------------------------------------


def test_what_depends_on_parameters_alone_is_computed_in_double_precision() -> None:
    grad = by_kernel(lambda: lossary.pinball.grad(np.float32([2.0]), np.float32([1.0]), quantile=0.999))
    assert grad[0] == np.float32(1 - 0.999)


def bent(xp: Any, pred: Any, target: Any, *, alpha: float = 0.5) -> Any:
    """A loss of five formulas."""
    residual = pred - target
    if alpha == 1:
        yield 3 * residual
        yield 3 * xp.ones_like(residual)
    elif alpha in (0, 4):
        yield 5 * residual
        yield 5 * xp.ones_like(residual)
    elif alpha > 4:
        yield 7 * residual * abs(alpha - 9)
        yield 7 * xp.ones_like(residual) * abs(alpha - 9)
    elif not alpha <= 1:
        yield 11 * residual
        yield 11 * xp.ones_like(residual)
    else:
        yield alpha * residual
        yield alpha * xp.ones_like(residual)


BENT = replace(
    lossary.squared_error,
    name="bent",
    define=bent,
    derivatives=1,
    parameters={"alpha": "[0, inf)"},
    special={"alpha": (1, 4)},
    aliases=(),
)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.75, 1.0, 1.5, 3.0, 4.0, 5.0, 8.0])
def test_each_side_of_a_special_value_has_the_kernel_of_its_formula(alpha: float) -> None:
    call = lambda: BENT.value_and_grad(np.array([2.0, -3.0]), np.array([0.5, 0.5]), alpha=alpha)  # noqa: E731
    (value, grad), (expected, reference) = by_kernel(call), by_definition(call)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(grad, reference)
    assert not runs_definition(BENT, call)


def test_a_parameter_that_chooses_the_formula_is_one_number() -> None:
    with pytest.raises(lossary.errors.ParameterError, match=r"alpha: got several numbers .* is chosen by alpha"):
        BENT([1.0, 2.0], [0.0, 0.0], alpha=np.array([0.5, 2.0]))
    assert BENT([1.0], [0.0], alpha=np.array(2.0)).tolist() == [11.0]


@pytest.mark.parametrize("change", [{"special": {"alpha": (1,)}}, {"kernel": False}], ids=["not named", "none wanted"])
def test_without_a_kernel_the_definition_is_run(change: dict[str, Any]) -> None:
    loss = replace(BENT, **change)
    call = lambda: loss(np.ones(LEAST), np.zeros(LEAST), alpha=2.0)  # noqa: E731
    assert runs_definition(loss, call)
    assert (call() == 11).all()


def test_value_and_grad_of_a_bound_loss_uses_its_parameters() -> None:
    wide = lossary.huber.bind(delta=2.0)
    x = np.full(LEAST, 3.0)
    value, grad = lossary.value_and_grad(wide, x, np.zeros_like(x), reduction="mean")
    assert value == 4.0 and (grad * LEAST == 2.0).all()


def test_a_parameter_may_be_called_like_an_operation() -> None:
    """Tweedie's `power` is an input of the kernel here, and the kernel raises to a power."""
    rng = np.random.default_rng(0)
    log_mean, target = rng.standard_normal(LEAST), rng.gamma(2.0, 1.0, LEAST)
    power = rng.uniform(1.2, 1.8, LEAST)
    each = lossary.tweedie_deviance(log_mean, target, power=power)
    few = lossary.tweedie_deviance(log_mean[:9], target[:9], power=power[:9])
    np.testing.assert_allclose(each[:9], few, rtol=1e-12)


# --- the switch -------------------------------------------------------------------------------------------------------


def test_kernels_may_be_switched_for_a_block_and_are_as_before_it_afterwards() -> None:
    x, y = np.linspace(-3, 3, 50), np.zeros(50)
    call = lambda: lossary.huber.value_and_grad(x, y)  # noqa: E731
    assert not runs_definition(lossary.huber, call)

    def definition_runs() -> bool:
        with definition_of(lossary.huber) as ran:
            call()
        return ran()

    assert definition_runs(), "fifty numbers are too few for a kernel to pay"
    with kernels("always"):
        assert not definition_runs()
        with kernels("off"):
            assert definition_runs()
            with kernels("on"):
                assert definition_runs()
        assert not definition_runs()
        with pytest.raises(ZeroDivisionError), kernels("off"):
            raise ZeroDivisionError
        assert not definition_runs(), "an error ends a block, too"
    assert definition_runs()


@pytest.mark.parametrize("word", ["allways", "", "ON", None])
def test_another_word_for_when_kernels_compute_is_refused(word: Any) -> None:
    with (
        pytest.raises(lossary.errors.ParameterError, match=r"kernels: got .*expected one of always, off, on"),
        kernels(word),
    ):
        raise AssertionError("the block is not entered")
