"""Where a symbol of a traced definition lies: no number, of either type, may ever be met beyond."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lossary
from lossary.catalogue import Loss
from lossary.kernels.ir import graph as operations
from lossary.kernels.ir import program, ranges, trace
from lossary.testing import random_arrays, random_params

pytest.importorskip("numba")

from numba import njit

from lossary.kernels.cpu import emit
from lossary.kernels.cpu import math as scalar

INF = math.inf
POINTWISE = [
    loss
    for loss in map(lossary.get, lossary.names())
    if loss.kernel and not loss.coupling and any(s.rank == 0 for s in loss.signatures)
]


def symbols(count: int = 1) -> Any:
    """A graph's namespace, and arguments of which nothing is known."""
    graph = operations.Graph()
    return trace.SymbolNamespace(graph), *(graph.node("argument", (name,), "number") for name in "xyz"[:count])


# --- what is known ---------------------------------------------------------------------------------------------------


def test_of_an_argument_nothing_is_known() -> None:
    _, x = symbols()
    assert x.range == (x + 1).range == (x * 0.5).range == ranges.ANYTHING


def test_a_size_and_a_square_are_not_negative() -> None:
    xp, x = symbols()
    assert xp.abs(x).range == (x * x).range == xp.sqrt(x).range == (0, INF)
    assert (-xp.abs(x)).range == (-INF, 0)


def test_the_tail_of_a_sigmoid_lies_between_0_and_1() -> None:
    xp, x = symbols()
    tail = xp.exp(-xp.abs(x))
    assert tail.range == (0, 1) and (1 + tail).range == (1, 2)
    assert (1 / (1 + tail)).range == (0.5, 1) and (tail / (1 + tail)).range == (0, 1)
    low, high = xp.log1p(tail).range
    assert low == 0 and math.log(2) < high < math.log(2) + 1e-5


def test_clamps_and_signs() -> None:
    xp, x = symbols()
    clipped = xp.minimum(xp.maximum(x, -1), 2)
    assert clipped.range == (-1, 2) and (clipped * clipped).range == (0, 4) and (3 - clipped).range == (1, 4)
    assert xp.sign(x).range == (-1, 1) and xp.sign(xp.maximum(x, 0)).range == (0, 1)
    assert xp.tanh(x).range == (-1, 1) and xp.expm1(xp.minimum(x, 0)).range == (-1, 0)


def test_a_select_lies_on_its_side_of_the_constant_it_compares_with() -> None:
    xp, x = symbols()
    size = xp.abs(x)
    assert xp.where(size < 1, size, 0).range == (0, 1)
    assert xp.where(x > 0.25, x, 1).range == (0.25, INF)
    assert xp.where(x <= 2, 0, x).range == (0, INF)  # NaN apart, x is above 2 there
    assert xp.where(x < 1, -x, 0).range == ranges.ANYTHING


def test_nothing_is_known_of_a_quotient_by_what_may_be_zero() -> None:
    xp, x = symbols()
    assert (1 / xp.abs(x)).range == ranges.ANYTHING, "1 / -0.0 is -inf"
    assert (1 / (xp.abs(x) + 2)).range == (0, 0.5)


def test_constants_that_are_no_numbers_of_float32_lie_between_two_that_are() -> None:
    low, high = symbols()[0].graph.number(0.1).range
    assert low == np.nextafter(np.float32(0.1), np.float32(0)) and high == np.float32(0.1)
    assert symbols()[0].graph.number(1e-60).range == (0, float(np.finfo(np.float32).smallest_subnormal))
    assert symbols()[0].graph.number(-1e300).range == (-INF, -float(np.finfo(np.float32).max))
    assert symbols()[0].graph.number(math.nan).range == ranges.ANYTHING


# --- what it is used for ---------------------------------------------------------------------------------------------


def lines(name: str, order: int = 1) -> str:
    loss = lossary.get(name)
    steps = program.pointwise(loss, dict(loss.defaults), (), (), order, {0, order}).steps
    return "\n".join(emit.assignments(steps)[0])


def test_a_softplus_needs_only_part_of_its_functions() -> None:
    text = lines("binary_cross_entropy_with_logits")
    assert "exp_nonpositive(-abs(logits))" in text and "log1p_fraction(" in text
    assert "expm1_nonpositive(" in lines("log_cosh") and "log1p_fraction(" in lines("log_cosh")
    assert "= exp(log_rate)" in lines("poisson_nll"), "an argument may be anything"


def test_equal_divisors_that_are_not_below_1_share_their_reciprocal() -> None:
    assert lines("binary_cross_entropy_with_logits").count("/") == 1
    xp, x, y = symbols(2)
    assert (y / xp.abs(x)).operation == "/", (
        "the reciprocal of a small number may be infinite where the quotient is not"
    )
    assert (1 / (1 + xp.abs(x))).operation == "/", "it may exceed 2**64, and its reciprocal lose digits"


def test_a_weight_of_zero_spares_its_factor_in_one_select() -> None:
    xp, x, w = symbols(2)
    product = lossary.numerics.times(xp, w, x)
    assert product.operation == "where" and product.parts[2] is w * x
    for other in (
        w * xp.where(w == 0, 0, x),
        w * xp.where((w == 0) & ~xp.isfinite(w), 0, x),
        w * xp.where(x > 0, 0, x),
    ):
        assert other.operation == "*", "it is another product"
    assert (w * xp.where((w == 0) & ~xp.isfinite(x), 1, x)).operation == "*"


# --- no number lies beyond -------------------------------------------------------------------------------------------


@cache
def _loop(name: str) -> Any:
    function = getattr(scalar, name)

    @njit(error_model="numpy", fastmath={"contract"})
    def each(x: Any, out: Any) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    return each


def by_scalar(name: str, x: Any) -> Any:
    """An elementary function as kernels compute it."""
    out = np.empty_like(x)
    _loop(f"{name}_{'f32' if x.dtype == np.float32 else 'f64'}")(x, out)
    return out


_ARRAYS = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
    "&": np.logical_and,
    "|": np.logical_or,
    "~": np.logical_not,
    "negative": np.negative,
    "abs": np.abs,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "sqrt": np.sqrt,
    "sign": np.sign,
    "where": np.where,
    "raised": np.power,
}


def computed(graph: operations.Graph, arguments: dict[str, Any]) -> dict[int, Any]:
    """Every number and truth value of a graph on arrays, in their type."""
    like = next(iter(arguments.values()))
    found: dict[int, Any] = {}
    for node in list(graph.nodes.values()):
        if node.kind == "uniform" or node.operation == "uniform":
            raise AssertionError("parameters are to be fixed")
        if node.operation == "argument":
            found[node.at] = arguments[node.parts[0]]
        elif node.operation == "constant":
            found[node.at] = np.full_like(like, node.parts[0])
        else:
            parts = [found[part.at] for part in node.parts]
            by_array = _ARRAYS.get(node.operation)
            found[node.at] = by_array(*parts) if by_array else by_scalar(operations.called(node), parts[0])
    return found


def assert_within(graph: operations.Graph, arguments: dict[str, Any]) -> None:
    with np.errstate(all="ignore"):
        found = computed(graph, arguments)
    for node in graph.nodes.values():
        if node.kind == "number":
            x, (low, high) = found[node.at], node.range
            beyond = ~((x >= low) & (x <= high) | np.isnan(x))
            assert not beyond.any(), (node.operation, [p.range for p in node.parts if hasattr(p, "range")], x[beyond])


EXTREMES = (0.0, -0.0, 1.0, -1.0, 1e-30, -1e-42, 3e-45, 0.25, 0.5, 2.0, 17.0, -90.0, 1e30, INF, -INF, math.nan)
EXTREMES += (1 - 2**-24, 1 + 2**-23, -(2**-24), 1e-8, 0.6931472, 88.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("loss", POINTWISE, ids=lambda loss: loss.name)
def test_no_number_of_a_definition_leaves_its_range(loss: Loss, dtype: Any) -> None:
    rng = np.random.default_rng([*loss.name.encode()])
    alternative = next(i for i, s in enumerate(loss.signatures) if s.rank == 0)
    for params in (dict(loss.defaults), {**loss.defaults, **random_params(loss, rng)}):
        params.pop("ignore_index", None)  # which no definition knows
        if any(isinstance(value, np.ndarray) for value in params.values()):
            continue
        try:
            graph, _ = trace.traced(loss, params, (), (), loss.derivatives)
        except operations.UnsupportedError:
            continue
        drawn = [np.asarray(a, dtype) for a in random_arrays(loss, rng, 200, alternative=alternative)]
        pairs = np.stack([a.ravel() for a in np.meshgrid(*[EXTREMES] * len(drawn))]) if len(drawn) < 4 else None
        more = rng.choice(EXTREMES, (len(drawn), 500)) if pairs is None else pairs
        arrays = [np.concatenate([a, b.astype(dtype)]) for a, b in zip(drawn, more, strict=True)]
        assert_within(graph, dict(zip(loss.arguments, arrays, strict=True)))


UNARY = ("negative", "abs", "exp", "expm1", "log", "log1p", "tanh", "sqrt", "sign")
BINARY = ("+", "-", "*", "/", "maximum", "minimum")
NUMBERS = st.one_of(st.sampled_from(EXTREMES[:-9]), st.floats(-5, 5), st.floats(width=32))
steps = st.lists(
    st.tuples(
        st.sampled_from([*UNARY, *BINARY, "where"]), *[st.integers(0, 40)] * 3, st.sampled_from(["<", "<=", ">"])
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(steps, st.lists(NUMBERS, max_size=3), st.sampled_from([np.float32, np.float64]), st.integers(0, 9))
def test_no_number_of_any_graph_leaves_its_range(made: Any, constants: Any, dtype: Any, seed: int) -> None:
    """Whatever is built of operations, from constants and arguments in any order."""
    xp, x, y = symbols(2)
    graph = xp.graph
    held = [x, y, xp.abs(x), xp.minimum(y, 0), *map(graph.number, constants)]
    for operation, a, b, c, comparison in made:
        first, second, third = (held[k % len(held)] for k in (a, b, c))
        if operation == "where":
            held.append(xp.where(graph.binary(comparison, first, second), first if a % 2 else third, third))
        elif operation in BINARY:
            held.append(
                graph.binary(operation, first, second) if operation in "+-*/" else getattr(xp, operation)(first, second)
            )
        else:
            held.append(graph.negative(first) if operation == "negative" else getattr(xp, operation)(first))
    rng = np.random.default_rng(seed)
    values = np.concatenate([EXTREMES, rng.standard_normal(80), np.exp(rng.uniform(-95, 80, 80))]).astype(dtype)
    assert_within(graph, {"x": values, "y": rng.permutation(values)})
