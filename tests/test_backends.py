"""The backend contract (`lossary.backends.protocol`), held against every registered backend and every definition.

A backend is asked for each name of the contract: that it is there, that it takes the arguments the contract says, and
that it does what its docstring says, on float64 and float32, infinities, NaN, nothing, half precision and integers. The
other way round, a namespace that has these names and no others runs the whole catalogue, on arrays that can do
what the contract says of arrays and nothing else.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FunctionType
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.backends import registry
from lossary.backends.protocol import ArrayOperations, Backend, Namespace
from lossary.errors import ArgumentError
from lossary.evaluate.call import prepare
from lossary.testing import random_arrays, random_params

mpmath = pytest.importorskip("mpmath")

INF, NAN = math.inf, math.nan
PROTOCOLS = (Namespace, ArrayOperations, Backend)


def names_of(protocol: type) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_")]


def documented(protocol: type, name: str) -> str:
    member = vars(protocol)[name]
    return inspect.getdoc(member.fget if isinstance(member, property) else member) or ""


@pytest.fixture(params=registry.frameworks(), ids=lambda framework: framework.name)
def backend(request: pytest.FixtureRequest) -> Any:
    pytest.importorskip(request.param.name)
    return request.param.load()


# --- what is there ----------------------------------------------------------------------------------------------------


def complaint(owner: Any, protocol: type, name: str) -> str:
    """Return what is wrong with the name or the parameters of a member of a protocol, or nothing."""
    known = f"{name} of {protocol.__name__} ({documented(protocol, name).splitlines()[0]})"
    if not hasattr(owner, name):
        return f"{known} is missing"
    wanted, found = vars(protocol)[name], getattr(owner, name)
    if isinstance(wanted, property):
        return ""
    if not callable(found):
        return f"{known} is {type(found).__name__}, and no function"
    try:
        signature = inspect.signature(found)
    except ValueError:  # a builtin function: what it takes is seen where it is called
        return ""
    parameters = list(inspect.signature(wanted).parameters.values())[1:]
    named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    others = [p for p in parameters if p.kind is not p.POSITIONAL_OR_KEYWORD]
    try:
        signature.bind(*others, **{p.name: None for p in named})
        signature.bind(*others, **{p.name: None for p in named if p.default is p.empty})
    except TypeError as wrong:
        return f"{known} takes {signature}, expected {inspect.signature(wanted)} without self: {wrong}"
    for parameter in named:
        if parameter.default is not parameter.empty and signature.parameters[parameter.name].default != (
            parameter.default
        ):
            return f"{known}: the default of {parameter.name} is not {parameter.default!r}"
    return ""


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.__name__)
def test_every_name_of_the_contract_is_there_and_takes_what_it_says(backend: Any, protocol: type) -> None:
    owner = backend if protocol is Backend else backend.xp
    wrong = [text for name in names_of(protocol) if (text := complaint(owner, protocol, name))]
    assert not wrong, "\n".join(wrong)


def test_a_name_that_is_missing_or_takes_something_else_is_noticed(backend: Any) -> None:
    class Lacking:
        sum = staticmethod(lambda x, dim=-1: x)
        max = staticmethod(lambda x, axis=0: x)
        log1p = 1.0

    wrong = {name: complaint(Lacking, Namespace, name) for name in ("exp", "sum", "max", "log1p")}
    assert wrong["exp"].startswith("exp of Namespace (Return the exponential") and "is missing" in wrong["exp"]
    assert "takes (x, dim=-1)" in wrong["sum"] and "'axis'" in wrong["sum"]
    assert "the default of axis is not -1" in wrong["max"] and "no function" in wrong["log1p"]


def test_every_name_of_the_contract_says_what_it_does() -> None:
    silent = [f"{p.__name__}.{name}" for p in PROTOCOLS for name in names_of(p) if not documented(p, name)]
    assert not silent, f"no docstring: {', '.join(silent)}"


# --- the mathematics --------------------------------------------------------------------------------------------------

Case = tuple[tuple[Any, ...], dict[str, Any], Any]  # positional arguments, keywords, the expected result in float64

POINTS = [-INF, -1e4, -2.5, -1.0, -0.5, -1e-9, -0.0, 0.0, 1e-9, 0.3, 1.0, 2.0, 30.0, 800.0, 1e30, INF, NAN]
TABLE = [[[1.0, -2.0, 3.0], [-INF, 0.5, -INF]], [[INF, 7.0, 7.0], [NAN, 1.0, 2.0]]]  # a batch, steps, a row


def exact(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return np.vectorize(lambda x: float(function(mpmath.mpf(float(x)))) if math.isfinite(x) else NAN, otypes=[float])


def log_gamma(x: float) -> float:
    if math.isnan(x):
        return NAN
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):
        return INF
    return float(mpmath.log(abs(mpmath.gamma(x))))


@np.errstate(all="ignore")
def mathematics(dtype: Any) -> dict[str, list[Case]]:
    """What each name of `Namespace` gives, by NumPy or mpmath in float64."""
    x, table = np.array(POINTS, dtype), np.array(TABLE, dtype)
    y = x[::-1].copy()
    positive = np.array([1e-3, 0.1, 0.5, 1.0, 1.5, 9.99, 10.0, 123.0, 1e6], dtype)
    labels = np.array([[2], [0], [-1], [7]])
    flags = np.array([[True, False], [False, False]])
    none, rows, wide = np.zeros((2, 0), dtype), np.ones((4, 3), dtype), np.float64
    found: dict[str, list[Case]] = {
        name: [((x,), {}, getattr(np, name)(x.astype(wide)))]
        for name in ["abs", "sign", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "isfinite", "isnan"]
    }
    found["lgamma"] = [((x,), {}, np.vectorize(log_gamma, otypes=[float])(x))]
    for order, name in enumerate(("digamma", "trigamma")):
        found[name] = [((positive,), {}, exact(lambda v, order=order: mpmath.psi(order, v))(positive))]
        found[name].append(((np.array([NAN], dtype),), {}, np.array([NAN])))
    for name in ("maximum", "minimum"):
        function = getattr(np, name)
        found[name] = [((x, y), {}, function(x, y)), ((x, 1.5), {}, function(x, 1.5)), ((2, x), {}, function(2, x))]
    return found | {
        "inf": [],
        "pi": [],
        "where": [
            ((x > 0, x, y), {}, np.where(x > 0, x, y)),
            ((flags, np.array(NAN, dtype), np.ones((2, 1), dtype)), {}, np.where(flags, NAN, 1.0)),
            ((flags, rows[:2, :2], 0.5), {}, np.where(flags, 1.0, 0.5)),
        ],
        "matmul": [
            ((rows[:2], rows.T), {}, rows[:2] @ rows.T),
            ((np.zeros((5, 2, 0), dtype), np.zeros((0, 3), dtype)), {}, np.zeros((5, 2, 3))),
        ],
        "zeros_like": [((x,), {}, np.zeros(x.shape)), ((labels,), {}, np.zeros_like(labels))],
        "ones_like": [((x,), {}, np.ones(x.shape)), ((labels,), {}, np.ones_like(labels))],
        "astype": [((flags, x), {}, flags.astype(wide)), ((labels, x), {}, labels.astype(wide))],
        "is_index": [
            *(((np.zeros(2, kind),), {}, True) for kind in ["int8", "uint8", "int32", "uint32", "int64", "uint64"]),
            *(((array,), {}, False) for array in (x, flags, np.zeros(2, np.float16))),
        ],
        "arange": [((n, x), {}, np.arange(n)) for n in (0, 5)],
        "broadcast_to": [((rows[:1], (2, 4, 3)), {}, np.ones((2, 4, 3))), ((labels, (4, 2)), {}, labels.repeat(2, 1))],
        "transpose": [((table,), {}, table.swapaxes(-1, -2)), ((none,), {}, none.T)],
        "concat": [
            (([rows, none[:, :0].reshape(4, 0), rows],), {}, np.ones((4, 6))),
            ((([table, table],)), {"axis": -2}, np.concatenate([table, table], -2)),
        ],
        "row_length": [((table,), {}, 3), ((none,), {}, 0)],
        "sum": [
            ((table,), {}, table.sum(-1, keepdims=True)),
            ((table,), {"axis": -2}, table.sum(-2, keepdims=True)),
            ((none,), {}, np.zeros((2, 1))),
            ((labels,), {"axis": -2}, labels.sum(keepdims=True)),
        ],
        "max": [
            ((table,), {}, table.max(-1, keepdims=True)),
            ((table,), {"axis": -2}, table.max(-2, keepdims=True)),
            ((none,), {}, np.full((2, 1), -INF)),
        ],
        "min": [
            ((table,), {}, table.min(-1, keepdims=True)),
            ((table,), {"axis": -2}, table.min(-2, keepdims=True)),
            ((none,), {}, np.full((2, 1), INF)),
        ],
        "any": [
            ((flags,), {}, flags.any(-1, keepdims=True)),
            ((flags,), {"axis": -2}, flags.any(-2, keepdims=True)),
            ((flags[:, :0],), {}, np.zeros((2, 1), bool)),
        ],
        "argmax": [((np.array([[1, 3, 3], [-INF, -INF, -INF], [0, INF, 2]], dtype),), {}, np.array([[1], [0], [1]]))],
        "take": [((table, np.array([[[2, 0], [1, 1]]] * 2)), {}, table[:, [[0], [1]], [[2, 0], [1, 1]]])],
        "one_hot": [
            ((labels, rows), {}, np.array([[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]], wide)),
            ((labels, np.full((4, 2), NAN, dtype)), {}, np.array([[0, 0], [1, 0], [0, 0], [0, 0]], wide)),
        ],
        "scan": [],
        "map_rows": [],
    }


def given(xp: Any, x: Any) -> Any:
    """Bring arrays to the framework, copies of them."""
    if isinstance(x, np.ndarray):
        return xp.asarray(x.copy(), "x")
    return type(x)(given(xp, part) for part in x) if isinstance(x, (list, tuple)) else x


def unlike(xp: Any, found: Any, expected: Any, rtol: float, atol: float = 0.0) -> str:
    """Return in what a result is not what was expected, or nothing."""
    if not isinstance(expected, np.ndarray):
        same = type(found) is type(expected) and found == expected
        return "" if same else f"it is {found!r}, expected {expected!r}"
    found = xp.to_numpy(found)
    if found.shape != expected.shape:
        return f"it has shape {found.shape}, expected {expected.shape}"
    if found.dtype != expected.dtype:
        return f"it has type {found.dtype}, expected {expected.dtype}"
    if expected.dtype.kind != "f":
        return "" if (found == expected).all() else f"it is {found.tolist()}, expected {expected.tolist()}"
    close = np.isclose(found, expected, rtol, atol, equal_nan=True)
    return "" if close.all() else f"it is {found[~close]}, expected {expected[~close]}"


def misbehaviour(xp: Any, name: str, dtype: Any) -> str:
    """Return in what a name of the mathematics does not do what the contract says, or nothing."""
    rtol = 8 * float(np.finfo(dtype).eps)
    atol = rtol if "gamma" in name else 0.0  # the gamma functions have roots
    for args, keywords, expected in mathematics(dtype)[name]:
        if isinstance(expected, np.ndarray) and expected.dtype.kind == "f":
            with np.errstate(over="ignore"):
                expected = expected.astype(dtype)
        arrays = given(xp, args)
        with xp.quiet():
            found = getattr(xp, name)(*arrays, **keywords)
        wrong = unlike(xp, found, expected, rtol, atol)
        for array, before in zip(arrays, args, strict=True):
            if isinstance(before, np.ndarray) and unlike(xp, array, before, 0.0):
                wrong = "it writes to an argument"
        if wrong:
            promised = documented(Namespace, name).splitlines()[0]
            return f"xp.{name}{args} {keywords or ''}: {wrong}. The contract: {promised}"
    return ""


dtypes = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


@dtypes
@pytest.mark.parametrize("name", names_of(Namespace))
def test_the_mathematics_do_what_the_contract_says(backend: Any, name: str, dtype: Any) -> None:
    assert not (wrong := misbehaviour(backend.xp, name, dtype)), wrong


def test_what_misbehaves_is_noticed(backend: Any) -> None:
    xp = backend.xp

    class Bent:
        def __getattr__(self, name: str) -> Any:
            return getattr(xp, name)

        def expm1(self, x: Any) -> Any:
            return xp.exp(x) - 1

        def sum(self, x: Any, axis: int = -1) -> Any:
            return x.sum(axis)

        def one_hot(self, index: Any, like: Any) -> Any:
            return index == xp.arange(like.shape[-1], like)

        def sign(self, x: Any) -> Any:
            return xp.where(x > 0, xp.ones_like(x), xp.where(x < 0, -xp.ones_like(x), xp.zeros_like(x)))

        def abs(self, x: Any) -> Any:
            x *= xp.sign(x)
            return x

    said = {name: misbehaviour(Bent(), name, np.float64) for name in ("expm1", "sum", "one_hot", "sign", "abs", "exp")}
    assert "e-09" in said["expm1"] and "without cancellation near 0" in said["expm1"]
    assert "shape (2, 2), expected (2, 2, 1)" in said["sum"] and "type bool" in said["one_hot"]
    assert "expected [nan]" in said["sign"] and "writes to an argument" in said["abs"] and not said["exp"]


def test_constants_are_python_numbers(backend: Any) -> None:
    assert (type(backend.xp.inf), type(backend.xp.pi)) == (float, float)
    assert (backend.xp.inf, backend.xp.pi) == (INF, math.pi)


@dtypes
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [0, 1, 4])
def test_scan_runs_a_recursion(backend: Any, length: int, reverse: bool, dtype: Any) -> None:
    xp, rng = backend.xp, np.random.default_rng(0)
    x, keep = rng.standard_normal((2, length, 3)).astype(dtype), rng.random((length, 1)) < 0.5
    start = rng.standard_normal((2, 1, 3)).astype(dtype)

    def step(carry: Any, at: Any) -> Any:
        (state, steps), (entry, kept) = carry, at
        after = xp.where(kept, state * 0.5 + entry, state)
        return (after, steps + 1), (state, xp.sum(entry))

    carry = given(xp, (start, np.zeros((1, 1), np.int64)))
    (state, steps), outputs = xp.scan(step, carry, given(xp, (x, keep)), reverse=reverse)
    expected, before = start[:, 0], np.zeros((2, length, 3), dtype)
    for at in range(length)[:: -1 if reverse else 1]:
        before[:, at] = expected
        expected = np.where(keep[at], expected * np.array(0.5, dtype) + x[:, at], expected)
    assert int(xp.to_numpy(steps)[0, 0]) == length
    np.testing.assert_allclose(xp.to_numpy(state)[:, 0], expected, rtol=1e-6)
    for found, wanted in zip(map(xp.to_numpy, outputs), (before, x.sum(-1, keepdims=True)), strict=True):
        assert (found.shape, found.dtype) == (wanted.shape, dtype)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_map_rows_bounds_its_temporaries(backend: Any, count: int) -> None:
    xp, size, heights = backend.xp, 1 << 16, []
    x, weights = np.arange(2.0 * count).reshape(count, 2), np.arange(1.0 * count).reshape(count, 1)

    def function(rows: Any, factor: Any) -> Any:
        heights.append(rows.shape[0])
        return rows * factor

    found = xp.to_numpy(xp.map_rows(function, given(xp, (x, weights)), size))
    np.testing.assert_array_equal(found, x * weights)
    assert sum(heights) == count and max(heights) * size <= 1 << 26


# --- array operations -------------------------------------------------------------------------------------------------


def made_of(xp: Any, *values: Any, dtype: Any = np.float64) -> Any:
    return xp.asarray(np.array(values, dtype), "x")


def kind_of(xp: Any, dtype: Any) -> Any:
    """The NumPy type that a framework's type is."""
    return xp.to_numpy(xp.cast(made_of(xp, 1.0), dtype)).dtype


def _asarray(xp: Any) -> None:
    for x in ([1.5, 2.0], np.float32(2.0), np.arange(3, dtype=np.int16), 3, 0.1, True, [[True]]):
        found, expected = xp.to_numpy(xp.asarray(x, "x")), np.asarray(x)
        np.testing.assert_allclose(found, expected, rtol=1e-7)
        assert found.shape == expected.shape and found.dtype.kind == expected.dtype.kind
    assert xp.to_numpy(xp.asarray(np.zeros(2, np.float16), "x")).dtype == np.float16
    assert xp.to_numpy(xp.asarray([0.1], "x")).dtype == np.float64
    for wrong in ([[1.0], [1.0, 2.0]], ["a"], [None, 1.0], 1j, np.array([1j]), np.ma.masked_array([1.0], [True])):
        with pytest.raises(ArgumentError, match=r"^name"):
            xp.asarray(wrong, "name")


def _need_elements(xp: Any) -> None:
    xp.need_elements(xp.asarray([1.0], "x"), "name")
    if type(made_of(xp, 1.0)) is np.ndarray:
        with pytest.raises(ArgumentError, match=r"^name: got a masked array"):
            xp.need_elements(np.ma.masked_array([1.0], [True]), "name")


def _compute_dtype(xp: Any) -> None:
    half, single, double = (made_of(xp, 1.0, dtype=kind) for kind in (np.float16, np.float32, np.float64))
    whole = made_of(xp, 1, dtype=np.int64)
    for arrays, expected in (
        ([half], np.float32),
        ([half, whole], np.float32),
        ([single, half], np.float32),
        ([single, double], np.float64),
    ):
        assert kind_of(xp, xp.compute_dtype(arrays)) == expected
    assert kind_of(xp, xp.compute_dtype([whole])) in (np.float32, np.float64) and xp.compute_dtype([]) is not None


def _cast(xp: Any) -> None:
    single = xp.compute_dtype([made_of(xp, 1.0, dtype=np.float32)])
    x = made_of(xp, 1e300, -1e300, NAN, 0.1)
    found = xp.to_numpy(xp.cast(x, single))
    np.testing.assert_array_equal(found, np.array([INF, -INF, NAN, 0.1], np.float32))
    again = xp.cast(x, single)
    assert xp.cast(again, single) is again


def _narrow(xp: Any) -> None:
    half, single, double = (made_of(xp, 1.0, dtype=kind) for kind in (np.float16, np.float32, np.float64))
    types = xp.compute_dtype([single]), xp.compute_dtype([double])
    assert [xp.narrow(x, t) for x in (half, single, double) for t in types] == [True, False, False, False, False, False]


def _as_index(xp: Any) -> None:
    for kind in (np.int8, np.uint8, np.int32, np.uint64, np.float32):
        np.testing.assert_array_equal(xp.to_numpy(xp.as_index(made_of(xp, 0, 3, 100, dtype=kind))), [0, 3, 100])
    assert xp.is_index(xp.as_index(made_of(xp, 1.0, NAN, INF)))  # in silence
    assert (xp.to_numpy(xp.as_index(made_of(xp, 2**64 - 1, dtype=np.uint64))) < 0).all()
    assert (xp.to_numpy(-xp.as_index(made_of(xp, 1, dtype=np.uint8))) == -1).all()


def _whole(xp: Any) -> None:
    found = xp.whole(7, made_of(xp, 1.0))
    assert xp.is_index(found) and xp.to_numpy(found).shape == () and int(found) == 7


def _equals(xp: Any) -> None:
    for kind in (np.uint8, np.int8, np.int64):
        x = made_of(xp, 0, 5, dtype=kind)
        for number in (5, -100, 255, 10**6, 2**64 - 1):
            assert xp.to_numpy(xp.equals(x, number)).tolist() == [False, number == 5], (kind, number)
    assert xp.to_numpy(xp.equals(made_of(xp, 0, 156, dtype=np.uint8), -100)).tolist() == [False, False]
    largest = made_of(xp, 2**64 - 1, dtype=np.uint64)
    assert [bool(xp.equals(largest, number)[0]) for number in (2**64 - 1, -1)] == [True, False]
    assert xp.to_numpy(xp.equals(made_of(xp, 1.0, NAN), 1)).tolist() == [True, False]


def _gradient_dtype(xp: Any) -> None:
    half, single, whole = (made_of(xp, 1, dtype=kind) for kind in (np.float16, np.float32, np.int32))
    computed = xp.compute_dtype([single])
    assert [kind_of(xp, xp.gradient_dtype(x, computed)) for x in (half, single, whole)] == [
        np.float16,
        np.float32,
        np.float32,
    ]


def _accumulator(xp: Any) -> None:
    for kind in (np.float32, np.float64):
        wide = kind_of(xp, xp.accumulator(xp.compute_dtype([made_of(xp, 1.0, dtype=kind)])))
        assert wide.kind == "f" and wide.itemsize >= np.dtype(kind).itemsize


def _scalar(xp: Any) -> None:
    single = xp.compute_dtype([made_of(xp, 1.0, dtype=np.float32)])
    found = xp.scalar(made_of(xp, 0.1)[0], single)
    assert xp.to_numpy(found).shape == () and xp.to_numpy(found).dtype == np.float32


def _ratio(xp: Any) -> None:
    single, double = made_of(xp, 1.0, 3.0, dtype=np.float32), made_of(xp, 2.0)[0]
    for divisor in (2.0, double):
        found = xp.to_numpy(xp.ratio(single, divisor))
        assert found.dtype == np.float32 and found.tolist() == [0.5, 1.5]
    assert xp.ratio(3.0, 2.0) == 1.5 and float(xp.ratio(3.0, double)) == 1.5


def _own(xp: Any) -> None:
    x, other = made_of(xp, 1.0, 2.0), made_of(xp, 3.0, 4.0)
    assert xp.own(x, [other]) is x
    for alias in (x, x[:1], xp.broadcast_to(x, (2, 2))):
        found = xp.own(alias, [other, x])
        assert not np.shares_memory(xp.to_numpy(found), xp.to_numpy(x))
        np.testing.assert_array_equal(xp.to_numpy(found), xp.to_numpy(alias))
    spread = xp.to_numpy(xp.own(xp.broadcast_to(x, (2, 2)), []))
    assert spread.flags.writeable and not (np.lib.array_utils.byte_bounds(spread)[1] - spread.ctypes.data) % 32


def _join_rows(xp: Any) -> None:
    x = made_of(xp, [1.0, 2.0], [3.0, 4.0])
    assert xp.join_rows([x]) is x
    np.testing.assert_array_equal(xp.to_numpy(xp.join_rows([x, x[:0], x[:1]])), [[1, 2], [3, 4], [1, 2]])


def _empty(xp: Any) -> None:
    like = made_of(xp, 1.0, dtype=np.float32)
    found = xp.empty((2, 3), like.dtype, like)
    assert tuple(found.shape) == (2, 3) and found.dtype == like.dtype
    found[1:] = made_of(xp, 7.0, dtype=np.float32)
    assert xp.to_numpy(found)[1].tolist() == [7, 7, 7]


def _multiply_into(xp: Any) -> None:
    x, like = made_of(xp, [1.0, -2.0], [NAN, INF], dtype=np.float32), made_of(xp, 1.0, dtype=np.float16)
    for by, expected in ((0.1, [[0.1, -0.2], [NAN, INF]]), (made_of(xp, [2.0], [1.0]), [[2, -4], [NAN, INF]])):
        out = xp.empty((2, 2), like.dtype, like)
        xp.multiply_into(x, by, out)
        np.testing.assert_array_equal(xp.to_numpy(out), np.array(expected, np.float16))


def _block_elements(xp: Any) -> None:
    found = [xp.block_elements(made_of(xp, 1.0), elements) for elements in (1, 1 << 20, 1 << 30)]
    assert all(isinstance(most, int) for most in found) and found == sorted(found)


def _may_loop(xp: Any) -> None:
    assert xp.may_loop(made_of(xp, 1.0)) in (True, False)


def _readable(xp: Any) -> None:
    for kind in (np.float16, np.float32, np.int8, np.bool_):
        seen = xp.readable(made_of(xp, 1, 0, dtype=kind))
        assert type(seen) is np.ndarray and seen.dtype == kind and seen.tolist() == [1, 0]


def _sample(xp: Any) -> None:
    for everywhere in (False, True):
        found = xp.sample(made_of(xp, 1.0, 2.0, NAN), np.array([0, 2]), everywhere)
        np.testing.assert_array_equal(found, [1.0, NAN])


def _countable(xp: Any) -> None:
    assert xp.countable(made_of(xp, [1.0, 2.0])) == 2 and xp.countable(made_of(xp)) == 0


def _total_norm(xp: Any) -> None:
    assert float(xp.total_norm([made_of(xp, 3.0), made_of(xp, [4.0], [12.0])])) == pytest.approx(13.0)


def _to_numpy(xp: Any) -> None:
    for kind in (np.float16, np.float64, np.int32, np.bool_):
        found = xp.to_numpy(made_of(xp, 1, 0, dtype=kind))
        assert type(found) is np.ndarray and found.dtype == kind and found.tolist() == [1, 0]
    assert [xp.to_numpy(x) for x in (1.5, None, "a", [1])] == [1.5, None, "a", [1]]


def _quiet(xp: Any) -> None:
    with xp.quiet():  # warnings are errors in these tests
        found = xp.log(made_of(xp, -1.0, 0.0)) - xp.exp(made_of(xp, 1e4, 1e4))
    np.testing.assert_array_equal(xp.to_numpy(found), [NAN, -INF])


def _drive(xp: Any) -> None:
    pulled = []

    def steps() -> Iterator[Any]:
        for quantity in "value", "gradient", "Hessian":
            pulled.append(quantity)
            yield xp.log(made_of(xp, 0.0))

    running = steps()
    assert len(xp.drive(running, 2)) == 2 and pulled == ["value", "gradient"]
    assert len(xp.drive(running, 1)) == 1


CHECKS = [x for x in list(globals().values()) if inspect.isfunction(x) and x.__name__.startswith("_")]
BEHAVIOUR: dict[str, Callable[[Any], None]] = {check.__name__[1:]: check for check in CHECKS}


@pytest.mark.parametrize("name", names_of(ArrayOperations))
def test_array_operations_do_what_the_contract_says(backend: Any, name: str) -> None:
    try:
        BEHAVIOUR[name](backend.xp)
    except AssertionError as failure:
        pytest.fail(f"xp.{name}: {failure}\nThe contract: {documented(ArrayOperations, name)}")


def test_every_name_of_the_contract_has_its_behaviour_tested() -> None:
    assert set(BEHAVIOUR) == set(names_of(ArrayOperations))
    assert set(mathematics(np.float64)) == set(names_of(Namespace))


# --- a backend --------------------------------------------------------------------------------------------------------


def test_a_backend_computes_a_call(backend: Any) -> None:
    xp, loss = backend.xp, lossary.huber
    pred, target = np.linspace(-3, 3, 7), np.zeros(7)
    arrays = made_of(xp, *pred), made_of(xp, *target)
    expected, gradient = loss(pred, target), np.clip(pred, -1, 1)
    call = prepare(loss, arrays, {})
    assert call.backend is backend
    np.testing.assert_allclose(xp.to_numpy(backend.evaluate(call)), expected, rtol=1e-15)
    done = backend.fast_value(loss, arrays, dict(loss.defaults), "none", True)
    assert done is None or np.allclose(xp.to_numpy(done), expected, 1e-15)
    both = backend.fast_value_and_grad(loss, arrays, dict(loss.defaults), "none", True)
    assert both is None or np.allclose(xp.to_numpy(both[1][0]), gradient, 1e-15)
    kernel = backend.by_kernel(call, "each", (1,), 1.0, lambda summed: summed)
    assert kernel is None or np.allclose(xp.to_numpy(kernel.value), expected, 1e-15)
    assert set(backend.stored_narrow(loss, loss.signatures[0], arrays)) <= set(loss.arguments)
    seen = []
    backend.observe_outside_graph(lambda *call: seen.append(call), loss, arrays)
    assert seen == [(loss, arrays)]
    out = made_of(xp, *np.ones(7))
    try:
        (place,) = backend.outputs(call, out)
    except ArgumentError as refusal:
        assert "out: is for NumPy arrays" in str(refusal)
    else:
        backend.deliver([made_of(xp, *gradient)], [place])
        np.testing.assert_array_equal(xp.to_numpy(out), gradient)


# --- the other way round: definitions ask for nothing else ------------------------------------------------------------

OPERATORS = """add subtract multiply divide floor_divide remainder power square sqrt reciprocal negative positive
absolute less less_equal greater greater_equal equal not_equal bitwise_and bitwise_or invert"""
ARITHMETIC = OPERATORS.split()


class StrictArray(np.ndarray):
    """A read-only array which, while a definition runs, has a shape, operators and slices, and nothing else."""

    defining = False

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if StrictArray.defining and (ufunc.__name__ not in ARITHMETIC or method != "__call__" or options.get("out")):
            raise AssertionError(f"a definition writes to an array, or calls {ufunc.__name__} by itself")
        return frozen(getattr(ufunc, method)(*thawed(inputs), **thawed(options)))

    def __getattribute__(self, name: str) -> Any:
        if StrictArray.defining and name != "shape" and not name.startswith("__"):
            raise AssertionError(f"a definition asks an array for .{name}")
        return super().__getattribute__(name)


def frozen(x: Any) -> Any:
    if isinstance(x, (tuple, list)):
        return type(x)(map(frozen, x))
    if not isinstance(x, (np.ndarray, np.generic)):
        return x
    with defining(False):
        array = np.asarray(x).view(StrictArray)
        array.flags.writeable = False
    return array


def thawed(x: Any) -> Any:
    if isinstance(x, (tuple, list)):
        return type(x)(map(thawed, x))
    if isinstance(x, dict):
        return {name: thawed(value) for name, value in x.items()}
    return np.ndarray.view(x, np.ndarray) if isinstance(x, StrictArray) else x


@contextmanager
def defining(running: bool) -> Iterator[None]:
    before, StrictArray.defining = StrictArray.defining, running
    try:
        yield
    finally:
        StrictArray.defining = before


class Strict:
    """NumPy with the names of the contract alone, on `StrictArray`."""

    def __init__(self) -> None:
        self.numpy = registry.namespace()

    def __getattr__(self, name: str) -> Any:
        if name not in (*names_of(Namespace), *names_of(ArrayOperations)):
            raise AttributeError(f"xp.{name} is no name of the contract")
        found = getattr(self.numpy, name)
        return self.operation(found) if callable(found) else found

    def operation(self, function: Any) -> Callable[..., Any]:
        def inside(given: Any) -> Any:
            return given if not isinstance(given, FunctionType) else lambda *x: thawed(self.called(given, frozen(x)))

        def operation(*arguments: Any, **keywords: Any) -> Any:
            with defining(False):
                return frozen(function(*map(inside, thawed(arguments)), **keywords))

        return operation

    def called(self, function: Any, arguments: Any) -> Any:
        with defining(True):
            result = function(*arguments)
        if isinstance(result, tuple):  # the step of a scan
            kinds = [[(x.shape, x.dtype) for x in carry] for carry in (arguments[0], result[0])]
            assert kinds[0] == kinds[1], f"the carry of a scan changes from {kinds[0]} to {kinds[1]}"
        return result

    def drive(self, steps: Any, count: int) -> list[Any]:
        with self.numpy.quiet(), defining(True):
            return [next(steps) for _ in range(count)]


def through_the_door(loss: Any, arrays: Any, params: Any) -> list[Any]:
    """Value, gradients and Hessian diagonals of each example, computed by a namespace that is handed in."""
    call = prepare(loss, arrays, params, check=False, backend=Strict())
    if loss.coupling:
        value, gradient = call.through_coupling(lambda derivative, _: derivative)
        return [call.values(value), gradient]
    value, derivatives, _ = call.pull(loss.derivatives)
    return [call.values(value), *(each for order in derivatives for each in call.restore(order, None))]


@pytest.mark.parametrize("name", lossary.names())
def test_the_catalogue_runs_on_a_namespace_of_the_contract_alone(name: str) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(3)
    for alternative in range(1 if loss.coupling else len(loss.signatures)):
        for params in ({}, random_params(loss, rng, default=0.2)):
            arrays = random_arrays(loss, rng, 3, alternative=alternative)
            found = through_the_door(loss, arrays, params)
            value, grads = loss.value_and_grad(*arrays, check=False, **params)
            expected = [value, *(grads if isinstance(grads, tuple) else (grads,))]
            if loss.derivatives > 1:
                hess = loss.hess(*arrays, check=False, **params)
                expected += hess if isinstance(hess, tuple) else (hess,)
            for ours, theirs in zip(map(np.asarray, map(thawed, found)), expected, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda xp, x: xp.einsum("i->i", x), "xp.einsum is no name of the contract"),
        (lambda xp, x: x.sum(), "asks an array for .sum"),
        (lambda xp, x: np.exp(x), "calls exp by itself"),
        (lambda xp, x: x.__iadd__(1), "writes to an array"),
        (lambda xp, x: x.__setitem__(0, 1), "read-only"),
        (lambda xp, x: xp.scan(lambda c, _: ((c[0][..., :1],), ()), (x[None],), (x[:, None],)), "the carry of a scan"),
    ],
)
def test_a_definition_that_asks_for_more_is_noticed(body: Any, said: str) -> None:
    def define(xp: Any, pred: Any, target: Any, *, delta: float = 1.0) -> Iterator[Any]:
        yield body(xp, pred - target)

    loss = replace(lossary.huber, name="asks_for_more", define=define, derivatives=0)
    with pytest.raises((AssertionError, AttributeError, ValueError), match=said):
        through_the_door(loss, (np.ones(3), np.zeros(3)), {})
