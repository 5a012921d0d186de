"""The elementary functions of kernels keep their bounds, and machine code makes use of the processor.

Internal: no loss gives the bare value of such a function, and what it is rounded to in a loss is bounded more loosely.
"""

from __future__ import annotations

import ctypes
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mpmath import mp, mpf

import lossary

pytest.importorskip("numba", reason="kernels need the fast extra")

from numba import njit

from lossary.kernels.cpu import math as scalar
from lossary.kernels.cpu.pointwise_source import PointwiseVariant, write
from lossary.kernels.cpu.runtime import compile as compiling
from lossary.kernels.cpu.runtime import objects
from lossary.kernels.ir import graph, ranges

every_type = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


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


# --- half precision ---------------------------------------------------------------------------------------------------

HELD = {"bfloat16": "uint16", "float16": "int16"}
CONVERSION = """
from numba import types
from lossary.kernels.cpu.runtime.compile import entry
from lossary.kernels.cpu.math import load, store

@entry(types.int32(types.intp, types.CPointer(types.{source}), types.CPointer(types.{target})))
def run(length, source, target):
    for i in range(length):
        store(target, i, load(source, i))
    return types.int32(0)
"""


def converted(x: Any, target: str) -> Any:
    """What compiled code makes of numbers; compiled here and now, past the cache."""
    made = np.empty(x.shape, target)
    address = objects.load(compiling.source("conversion", CONVERSION.format(source=x.dtype.name, target=target)))
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p)
    prototype(address)(x.size, x.ctypes.data, made.ctypes.data)
    return made


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("instructions", [True, False], ids=["by instructions", "by shifts"])
def test_every_number_is_widened_exactly_and_rounded_to_the_nearest(
    kind: str, instructions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    half = getattr(torch, kind)
    if instructions and not (scalar.HAS_FLOAT16 and kind == "float16"):
        pytest.skip("there are none")
    monkeypatch.setattr(scalar, "HAS_FLOAT16", instructions)
    every = np.arange(1 << 16, dtype=np.uint16)
    wide = torch.from_numpy(every.view(np.int16)).view(half).float().numpy()
    found = converted(every.view(HELD[kind]), "float32")
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wide))
    known = ~np.isnan(wide)
    np.testing.assert_array_equal(found.view(np.int32)[known], wide.view(np.int32)[known])
    # Every number, every tie between two, their neighbours, any other number, and NaN of every kind.
    finite = np.unique(wide[np.isfinite(wide)])
    ties = finite[:-1] / 2 + finite[1:] / 2
    beyond = np.array([65519.996, 65520, 65536, 1e30, 3.4e38, 3.3953e38, np.inf, 1e-45, 1e-40, 0.0], np.float32)
    exact = np.concatenate([finite, ties, beyond, -beyond]).astype(np.float32)
    any_bits = np.random.default_rng(0).integers(0, 1 << 32, 100_000, dtype=np.uint32).view(np.float32)
    nan = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0xFF800001, 0x7FC00000], np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        given = np.concatenate([exact, np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf), any_bits, nan])
        given = given.astype(np.float32)
    narrow = torch.from_numpy(converted(given, HELD[kind]).view(np.int16)).view(half)
    expected = torch.from_numpy(given).to(half)
    assert torch.equal(narrow.isnan(), expected.isnan())
    known = ~expected.isnan()
    assert torch.equal(narrow[known].view(torch.int16), expected[known].view(torch.int16))


# --- the processor ----------------------------------------------------------------------------------------------------


def test_the_loop_is_vectorised() -> None:
    """The hot loop of a kernel with an exponential and a logarithm works on whole registers."""
    source, _ = write(
        PointwiseVariant(
            lossary.binary_cross_entropy_with_logits,
            "float32",
            (),
            ("pos_weight", "label_smoothing"),
            (),
            (1,),
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
