"""Generated kernels: held to their definitions, and to what a kernel promises beyond them."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

import lossary
from lossary.catalogue import Loss
from lossary.evaluate.call import prepare
from lossary.evaluate.transforms import value_and_grad
from lossary.testing import corner_params, random_arrays, random_params

pytest.importorskip("numba")

from numba import njit

from lossary.kernels import registry as kernels
from lossary.kernels.cpu import generated_pointwise as pointwise
from lossary.kernels.cpu import math as scalar
from lossary.kernels.cpu.pointwise_source import PointwiseVariant, write
from lossary.kernels.cpu.runtime import cache as store
from lossary.kernels.cpu.runtime import compile as compiling
from lossary.kernels.cpu.runtime import threads
from lossary.kernels.cpu.sizes import BLOCK, PIECE
from lossary.kernels.ir import graph, program, ranges, trace

POINTWISE = [
    loss
    for loss in map(lossary.get, lossary.names())
    if loss.kernel and not loss.coupling and any(s.rank == 0 for s in loss.signatures)
]
every_pointwise = pytest.mark.parametrize("loss", POINTWISE, ids=lambda loss: loss.name)
every_type = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
MANY = 2 * BLOCK + 77  # more than one block, and not a whole number of vectors


def drawn(loss: Loss, dtype: Any, seed: int = 0, count: int = MANY) -> list[Any]:
    rng = np.random.default_rng([seed, *loss.name.encode()])
    alternative = next(i for i, s in enumerate(loss.signatures) if s.rank == 0)
    return [a.astype(dtype) for a in random_arrays(loss, rng, count, alternative=alternative)]


def by_kernel(loss: Loss, arrays: Any, params: Any, value: Any = None, order: int = 0, **options: Any) -> Any:
    """What the kernel itself returns, whatever the size."""
    call = prepare(loss, arrays, params)
    wanted = kernels.Request(value, order, **options)
    named = dict(zip(loss.arguments, call.arrays, strict=True))
    extra = {name: held for name, held in call.params.items() if isinstance(held, np.ndarray)}
    numbers = {name: held for name, held in call.params.items() if name not in extra}
    done = pointwise.compute(loss, named | extra, numbers, call.batch, call.dtype, wanted, check=True)
    assert done is not None, f"{loss.name} has no kernel: if none is wanted, its record says kernel=False"
    outcome, suspect = done
    assert not suspect, "admissible inputs were found to lie outside the domain"
    return outcome


def by_definition(loss: Loss, arrays: Any, params: Any) -> list[tuple[Any, ...]]:
    """Value, gradients and Hessian diagonals of the definition, each as a tuple of whole arrays."""
    call = prepare(loss, arrays, params)
    value, derivatives, _ = call.pull(loss.derivatives)
    return [tuple(np.broadcast_to(x, call.batch) for x in order) for order in ((value,), *derivatives)]


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
        arrays = drawn(loss, dtype, number, 500)
        expected = by_definition(loss, arrays, params)
        size = sum(np.abs(a) for a in arrays)
        first = by_kernel(loss, arrays, params, "each", 1)
        second = by_kernel(loss, arrays, params, None, 2) if loss.derivatives > 1 and number < 2 else None
        slopes = sum(np.abs(g) for g in expected[1])
        agree(first.value, expected[0][0], size * (slopes + (slopes > 0)), (loss.name, "value", params))
        curves = sum(np.abs(h) for h in expected[2]) if loss.derivatives > 1 else slopes
        for found, reference in zip(first.derivatives, expected[1], strict=True):
            agree(found, reference, size * curves + slopes, (loss.name, "gradient", params))
        for found, reference in zip(second.derivatives if second else (), expected[2], strict=False):
            agree(found, reference, size * (curves + slopes), (loss.name, "Hessian", params), units=256)


@every_pointwise
def test_extreme_and_undefined_inputs_end_as_the_definition_says(loss: Loss) -> None:
    allowed = loss.domain(loss.arguments[0], len(loss.signatures) - 1)
    if allowed.bounded:
        pytest.skip("what is extreme depends on the domain")
    edges = np.array([np.nan, np.inf, -np.inf, 1e4, -1e4, 0.0, -0.0, 700.0, -700.0, 1e-300, 1e300])
    others = drawn(loss, np.float64, 3, len(edges))[1:]
    call = prepare(loss, (edges, *others), {})
    expected = by_definition(loss, (edges, *others), {})
    found = by_kernel(loss, (edges, *others), {}, "each", 1)
    with np.errstate(all="ignore"):
        for ours, theirs in zip((found.value, *found.derivatives), (expected[0][0], *expected[1]), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-300, err_msg=str(call.loss))


@pytest.mark.parametrize("name", ["huber", "student_t_nll", "binary_cross_entropy_with_logits"])
def test_a_parameter_may_differ_from_example_to_example(name: str) -> None:
    loss = lossary.get(name)
    arrays = drawn(loss, np.float64, 4, 300)
    key = next(iter(loss.parameters))
    params = {key: np.linspace(0.5, 2.0, 300)}
    found = by_kernel(loss, arrays, params, "each", 1)
    expected = by_definition(loss, arrays, params)
    np.testing.assert_allclose(found.value, expected[0][0], rtol=1e-12)
    np.testing.assert_allclose(found.derivatives[0], expected[1][0], rtol=1e-12, atol=1e-15)


@every_pointwise
def test_the_whole_call_reduces_as_without_a_kernel(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = drawn(loss, np.float32, 5, kernels.LEAST)
    rng = np.random.default_rng(0)
    weight = rng.random(kernels.LEAST).astype(np.float32) * (rng.random(kernels.LEAST) < 0.9)
    for a in arrays:
        a[weight == 0] = np.nan  # nothing beneath a weight of 0 is looked at
    options = {"weight": weight, "reduction": "mean"}
    value, grads = loss.value_and_grad(*arrays, **options)
    monkeypatch.setattr(table, "_AVAILABLE", False)
    table._find.cache_clear()
    try:
        expected, references = loss.value_and_grad(*arrays, **options)
    finally:
        table._find.cache_clear()
    assert value.dtype == expected.dtype
    np.testing.assert_allclose(value, expected, rtol=2e-6)
    for grad, reference in zip(*((g if isinstance(g, tuple) else (g,)) for g in (grads, references)), strict=True):
        assert grad.dtype == np.float32 and (grad[weight == 0] == 0).all()
        np.testing.assert_allclose(grad, reference, rtol=2e-5, atol=1e-10)


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
    found = by_kernel(lossary.huber, (pred, target), {}, "each", 1)
    dense = [np.ascontiguousarray(np.broadcast_to(a, (rows, columns)), dtype=np.float32) for a in (pred, target)]
    expected = by_kernel(lossary.huber, dense, {}, "each", 1)
    np.testing.assert_array_equal(found.value, expected.value)
    np.testing.assert_array_equal(found.derivatives[0], expected.derivatives[0])


@every_type
def test_results_are_the_same_bits_for_any_number_of_threads(dtype: Any) -> None:
    loss = lossary.binary_cross_entropy_with_logits
    arrays = drawn(loss, dtype, 6, 50 * BLOCK + 3)
    weights = np.random.default_rng(1).random(len(arrays[0])).astype(dtype)
    runs = [by_kernel(loss, arrays, {}, "sum", 1, weights=weights, threads=count) for count in (1, 2, 3, 7)]
    for run in runs[1:]:
        assert run.value == runs[0].value
        np.testing.assert_array_equal(run.derivatives[0], runs[0].derivatives[0])


def test_a_value_outside_the_domain_is_named_as_without_a_kernel() -> None:
    logits = np.zeros(kernels.LEAST, np.float32)
    target = np.zeros(kernels.LEAST, np.float32)
    target[12345] = 1.5
    with pytest.raises(lossary.errors.DomainError, match=r"target: got 1.5 at index 12345, expected .*\[0, 1\]"):
        lossary.binary_cross_entropy_with_logits.grad(logits, target)
    mask = np.arange(kernels.LEAST) != 12345
    value, _ = lossary.binary_cross_entropy_with_logits.value_and_grad(logits, target, mask=mask, reduction="mean")
    assert value == pytest.approx(np.log(2.0))
    unchecked = lossary.binary_cross_entropy_with_logits.grad(logits, target, check=False)
    assert unchecked[12345] == -1.0


def test_threads_may_call_at_once() -> None:
    loss = lossary.huber
    arrays = drawn(loss, np.float32, 7, 40 * BLOCK)
    expected = by_kernel(loss, arrays, {}, "sum", 1, threads=2)
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(20):
            found = by_kernel(loss, arrays, {}, "sum", 1, threads=2)
            if found.value != expected.value or not np.array_equal(found.derivatives[0], expected.derivatives[0]):
                wrong.append(found)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def _in_child(queue: Any, arrays: Any) -> None:
    queue.put(float(by_kernel(lossary.huber, arrays, {}, "sum", 1, threads=2).value))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_after_use_starts_threads_of_its_own() -> None:
    arrays = drawn(lossary.huber, np.float32, 8, 40 * BLOCK)
    expected = float(by_kernel(lossary.huber, arrays, {}, "sum", 1, threads=2).value)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of a fork while there are threads
        child = context.Process(target=_in_child, args=(queue, arrays))
        child.start()
    assert queue.get(timeout=60) == expected
    child.join(60)
    assert child.exitcode == 0


def test_the_number_of_threads_is_numbas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", "3")
    assert threads.default_count() == 3
    seen: list[tuple[int, int]] = []
    assert threads.share(lambda first, last: seen.append((first, last)) or last, 10, 3) == 3 | 6 | 10
    assert sorted(seen) == [(0, 3), (3, 6), (6, 10)]


# --- the source and its cache ---------------------------------------------------------------------------------------


def test_the_generated_source_reads_like_the_definition() -> None:
    variant = PointwiseVariant(lossary.huber, "float32", (), ("delta",), (), 1, "sum", False, True)
    source, _ = write(variant)
    for line in (
        "residual = pred - target",
        "size = abs(residual)",
        "clipped = minimum(size, delta)",
        "value = clipped * (size - T(0.5) * clipped)",
        "slope = sign(residual) * clipped",
    ):
        assert f"        {line}\n" in source
    assert source.startswith('"""huber: their sum and gradient, in float32.')
    assert "block_sum = plus(block_sum, types.float64(value))" in source
    compile(source, "huber.py", "exec")


def test_what_depends_on_parameters_alone_is_computed_once_in_double_precision() -> None:
    found = program.pointwise(lossary.pinball, {}, ("quantile",), (), 1, {1})
    assert "(1 - quantile)" in {expression for _, expression in found.uniforms}
    assert "value" not in {name for name, _ in found.steps}
    arrays = [np.array([2.0], np.float32), np.array([1.0], np.float32)]
    found = by_kernel(lossary.pinball, arrays, {"quantile": 0.999}, None, 1)
    assert found.derivatives[0][0] == np.float32(1 - 0.999)


def test_an_if_on_data_and_an_unknown_operation_have_no_kernel() -> None:
    symbols = graph.Graph()
    x = symbols.node("argument", ("x",), "number")
    with pytest.raises(graph.UnsupportedError, match="if"):
        bool(x > 0)
    with pytest.raises(graph.UnsupportedError, match="matmul"):
        trace.SymbolNamespace(symbols).matmul(x, x)


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
    arrays = [np.array([2.0, -3.0]), np.array([0.5, 0.5])]
    found = by_kernel(BENT, arrays, {"alpha": alpha}, "each", 1)
    expected = by_definition(BENT, arrays, {"alpha": alpha})
    np.testing.assert_array_equal(found.value, expected[0][0])
    np.testing.assert_array_equal(found.derivatives[0], expected[1][0])


def test_a_parameter_that_chooses_the_formula_is_one_number() -> None:
    with pytest.raises(lossary.errors.ParameterError, match=r"alpha: got several numbers .* is chosen by alpha"):
        BENT([1.0, 2.0], [0.0, 0.0], alpha=np.array([0.5, 2.0]))
    assert BENT([1.0], [0.0], alpha=np.array(2.0)).tolist() == [11.0]


@pytest.mark.parametrize("change", [{"special": {"alpha": (1,)}}, {"kernel": False}], ids=["not named", "none wanted"])
def test_without_a_kernel_the_definition_is_run(change: dict[str, Any]) -> None:
    loss = replace(BENT, **change)
    call = prepare(loss, (np.ones(3), np.zeros(3)), {"alpha": 2.0})
    named = dict(zip(loss.arguments, call.arrays, strict=True))
    wanted = kernels.Request("each", 1)
    assert pointwise.compute(loss, named, call.params, call.batch, call.dtype, wanted, check=True) is None
    assert (loss(np.ones(kernels.LEAST), np.zeros(kernels.LEAST), alpha=2.0) == 11).all()


PROBE = """
import json, sys, time, warnings
import numpy as np, lossary
x = np.linspace(-3, 3, 20000, dtype=np.float32)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    value = lossary.huber.value_and_grad(x, x[::-1].copy(), reduction="mean")[0]
    lossary.huber.value_and_grad(x, x[::-1].copy(), reduction="sum")
print(json.dumps({"value": float(value), "said": [str(w.message) for w in said], "numba": "numba" in sys.modules}))
"""


def start(cache: Path | str, probe: str = PROBE, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "LOSSARY_CACHE": str(cache), "LOSSARY_KERNELS": "", **more}
    return subprocess.Popen([sys.executable, "-c", probe], stdout=subprocess.PIPE, text=True, env=environment)


def answer(process: subprocess.Popen[str]) -> Any:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return json.loads(out)


def test_processes_that_start_at_once_share_a_cache_and_later_ones_find_it(tmp_path: Path) -> None:
    together = [answer(process) for process in [start(tmp_path) for _ in range(3)]]
    assert len({found["value"] for found in together}) == 1 and all(not found["said"] for found in together)
    kept = sorted(tmp_path.rglob("huber.py"))
    assert len(kept) == 1 and not list(tmp_path.rglob("*.draft"))  # a mean and a sum are one kernel
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.kernel")}
    assert {path.stem for path in written} == {"huber", "block_sums"}, "the loss, and what adds up its pieces"
    assert answer(start(tmp_path)) == {**together[0], "numba": False}, "the compiler is not even imported"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.kernel")} == written, "compiled again"


@pytest.mark.parametrize("damage", [lambda held: held[:1000], lambda held: held[:-1] + b"?", lambda held: b""])
def test_a_damaged_file_of_the_cache_is_made_anew(damage: Any, tmp_path: Path) -> None:
    first = answer(start(tmp_path))
    (path,) = tmp_path.rglob("huber.kernel")
    sound = path.read_bytes()
    path.write_bytes(damage(sound))
    again = answer(start(tmp_path))
    assert again["value"] == first["value"] and again["numba"]
    assert answer(start(tmp_path))["numba"] is False


EVERYWHERE = "from lossary.kernels.cpu.math import exp_f32\nfrom lossary.kernels.cpu.transpose import moved\n"
LOOPS = "from lossary.kernels.cpu.softmax import loops\n"


@pytest.mark.parametrize(
    ("source", "edited"),
    [
        (EVERYWHERE, "kernels/cpu/math.py"),
        (EVERYWHERE, "kernels/cpu/transpose.py"),
        (EVERYWHERE, "kernels/cpu/sizes.py"),
        (EVERYWHERE, "kernels/gamma.py"),  # which `math` imports
        (EVERYWHERE, "kernels/cpu/runtime/compile.py"),
        (LOOPS, "kernels/cpu/softmax/loops.py"),
        (LOOPS, "kernels/cpu/softmax/spec.py"),
        ("from lossary.kernels.cpu.sequence import (\n    rnnt_loops,\n)\n", "kernels/cpu/sequence/rnnt_spec.py"),
    ],
)
def test_whatever_a_kernel_is_made_of_is_part_of_its_name(
    source: str, edited: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit of an elementary function makes other files: none compiled of the old one is found again."""
    before, read = store.sources(source), store._read.__wrapped__
    monkeypatch.setattr(
        store, "_read", lambda path: read(path) + "# edited" * path.as_posix().endswith(f"lossary/{edited}")
    )
    assert len(store.sources(source)) == len(before) + len("# edited")


def test_a_cache_that_cannot_be_written_costs_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    found = answer(start(tmp_path / "file" / "inside"))
    assert len(found["said"]) == 1 and "LOSSARY_CACHE" in found["said"][0]
    assert found["numba"]


def test_kernels_can_be_switched_off_and_numba_may_be_missing(tmp_path: Path) -> None:
    off = answer(start(tmp_path, LOSSARY_KERNELS="off"))
    missing = answer(
        start(tmp_path, "import sys; sys.modules['numba'] = None\n" + PROBE.replace('"numba" in', "False and"))
    )
    assert not off["numba"] and not list(tmp_path.iterdir())
    assert off["value"] == missing["value"]


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LOSSARY_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert store.folder() == tmp_path / "lossary"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert store.folder() == tmp_path / "local" / "lossary"


# --- the elementary functions ---------------------------------------------------------------------------------------


@njit(error_model="numpy")
def _apply(function: Any, x: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = function(x[i])


@njit(error_model="numpy")
def _apply_two(function: Any, x: Any, y: Any, out: Any) -> None:
    for i in range(x.size):
        out[i] = function(x[i], y[i])


def spread_out(dtype: Any, count: int = 1000) -> Any:
    """Numbers of every size, and many where the functions change."""
    info = np.finfo(dtype)
    rng = np.random.default_rng(2)
    limit = float(np.log(info.max))
    sizes = np.exp(rng.uniform(np.log(float(info.smallest_subnormal)), limit, 2 * count))
    return np.concatenate(
        [
            sizes * rng.choice([-1, 1], 2 * count),
            rng.uniform(-limit * 1.05, limit, count),
            rng.uniform(-2, 2, count),
            1 + rng.standard_normal(count) * 1e-3,
            rng.standard_normal(count) * 1e-3,
        ]
    ).astype(dtype)


def worst(found: Any, exact: list[Any], dtype: Any) -> float:
    """The largest error in units in the last place of the exact results."""
    largest = 0.0
    for ours, true in zip(found.tolist(), exact, strict=True):
        if true is None or abs(true) > mpf(float(np.finfo(dtype).max)) or ours != ours:
            assert true is None or np.isinf(ours), (ours, true)
            continue
        unit = mpf(float(np.spacing(dtype(abs(float(true))))))
        largest = max(largest, float(abs(mpf(ours) - true) / unit))
    return largest


ELEMENTARY = ["exp", "expm1", "log", "log1p", "tanh", "digamma", "trigamma", "lgamma"]


@every_type
@pytest.mark.parametrize("name", ELEMENTARY)
def test_an_elementary_function_keeps_its_bound(name: str, dtype: Any) -> None:
    suffix, column = ("f32", 1) if dtype is np.float32 else ("f64", 0)
    x = spread_out(dtype)
    if name in ("digamma", "trigamma", "lgamma"):
        x = x[(x > 0.01) & (x < 1e4)]
        x = x[(np.abs(x - 1) > 0.3) & (np.abs(x - 2) > 0.3) & (np.abs(x - 1.4616) > 0.3)]  # away from their zeros
    elif name == "log":
        x = np.abs(x)
    elif name == "log1p":
        x = x[x > -1]
    out = np.empty_like(x)
    _apply(getattr(scalar, f"{name}_{suffix}"), x, out)
    functions = {"lgamma": mp.loggamma, "trigamma": lambda v: mp.polygamma(1, v)}
    with mp.workprec(150):
        exact = [functions.get(name, getattr(mp, name, None))(mpf(v)) for v in x.tolist()]
    assert worst(out, exact, dtype) <= scalar.ULPS[name][column]
    if name in ("exp", "expm1", "log", "log1p", "tanh"):
        special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
        out = np.empty_like(special)
        _apply(getattr(scalar, f"{name}_{suffix}"), special, out)
        with np.errstate(all="ignore"):
            expected = getattr(np, name)(special)
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(np.signbit(out[:2]), np.signbit(expected[:2]))


@every_type
@pytest.mark.parametrize("whole", list(graph.SPECIAL))
def test_a_function_of_part_of_the_numbers_keeps_its_bound_and_its_range_there(whole: str, dtype: Any) -> None:
    suffix, column = ("f32", 1) if dtype is np.float32 else ("f64", 0)
    name, (low, high) = graph.SPECIAL[whole]
    near = np.nextafter(np.array([low, high], dtype), dtype(0.5 * max(low, -1)))  # just inside
    ends = np.array([low, high, *near, 0.0, math.nan], dtype)
    powers = np.ldexp(1.0, np.arange(-1074 if dtype is np.float64 else -149, 10))
    sizes = np.concatenate([spread_out(dtype), powers, -powers, np.linspace(-4, 4, 4001)]).astype(dtype)
    x = np.concatenate([sizes[(sizes >= low) & (sizes <= high)], ends])
    out = np.empty_like(x)
    _apply(getattr(scalar, f"{name}_{suffix}"), x, out)
    assert np.isnan(out[-1]) and not np.isnan(out[:-1]).any()
    with mp.workprec(150):
        exact = [getattr(mp, whole)(mpf(v)) for v in x[:-1].tolist()]
    assert worst(out[:-1], exact, dtype) <= scalar.ULPS[name][column]
    least, most = ranges.after(whole, [SimpleNamespace(range=(low, high))])
    assert out[:-1].min() >= least and out[:-1].max() <= most
    signed = np.array([-0.0, 0.0 if low == 0 else -0.0], dtype)
    _apply(getattr(scalar, f"{name}_{suffix}"), signed, out[:2])
    assert list(np.signbit(out[:2])) == list(np.signbit(getattr(np, whole)(signed)))


@every_type
def test_a_power_keeps_its_bound(dtype: Any) -> None:
    suffix, column = ("f32", 1) if dtype is np.float32 else ("f64", 0)
    rng = np.random.default_rng(3)
    x = np.abs(spread_out(dtype))
    y = np.where(rng.random(x.size) < 0.5, rng.uniform(-1, 1, x.size), rng.standard_normal(x.size) * 10).astype(dtype)
    out = np.empty_like(x)
    _apply_two(getattr(scalar, f"raised_{suffix}"), x, y, out)
    with mp.workprec(150):
        exact = [mpf(a) ** mpf(b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    assert worst(out, exact, dtype) <= scalar.ULPS["raised"][column]
    edges = np.array([0.0, 0.0, 0.0, np.inf, np.inf, np.nan, np.nan, 1.0, -1.0], dtype)
    powers = np.array([2.0, 0.0, -1.0, 2.0, -2.0, 1.0, 0.0, np.inf, 0.5], dtype)
    out = np.empty_like(edges)
    _apply_two(getattr(scalar, f"raised_{suffix}"), edges, powers, out)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(out, edges**powers)


def test_a_block_is_a_whole_number_of_pieces() -> None:
    assert BLOCK % PIECE == 0


def test_the_loop_is_vectorised() -> None:
    """The hot loop of a kernel with an exponential and a logarithm works on whole registers."""
    source, _ = write(
        PointwiseVariant(
            lossary.binary_cross_entropy_with_logits,
            "float32",
            (),
            ("pos_weight", "label_smoothing"),
            (),
            1,
            "sum",
            True,
            True,
        )
    )
    made: dict[str, Any] = {}
    exec(compile(source, "<kernel>", "exec"), made)
    kernel = njit(made["run"].signature, **compiling.OPTIONS)(made["run"].function)
    (code,) = kernel.inspect_llvm().values()
    assert " x float> @llvm.fma" in code or "fmul contract <" in code


def test_value_and_grad_of_a_bound_loss_uses_its_parameters() -> None:
    wide = lossary.huber.bind(delta=2.0)
    x = np.full(kernels.LEAST, 3.0)
    value, grad = value_and_grad(wide, x, np.zeros_like(x), reduction="mean")
    assert value == 4.0 and (grad * kernels.LEAST == 2.0).all()


def test_a_parameter_may_be_called_like_an_operation() -> None:
    """Tweedie's `power` is an input of the kernel here, and the kernel raises to a power."""
    rng = np.random.default_rng(0)
    log_mean, target = rng.standard_normal(kernels.LEAST), rng.gamma(2.0, 1.0, kernels.LEAST)
    power = rng.uniform(1.2, 1.8, kernels.LEAST)
    each = lossary.tweedie_deviance(log_mean, target, power=power)
    few = lossary.tweedie_deviance(log_mean[:9], target[:9], power=power[:9])
    np.testing.assert_allclose(each[:9], few, rtol=1e-12)
