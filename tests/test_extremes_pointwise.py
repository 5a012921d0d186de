"""At the edges of their domains, losses of numbers have decided answers: the exact one, or one stated here.

The exact answer comes from the oracles, at so many digits that even differences of 1e-60 keep theirs. It is asked for
up to the same few units in the last place as everywhere else; what lies outside the range of the type must come out as
infinity or 0, and nothing else may.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from mpmath import fabs, mp, mpf

import lossary
import oracles
from lossary import numerics
from lossary.catalogue import Loss
from lossary.testing import namespace, random_arrays

xp = namespace(np.zeros(1))

ULPS = 16
both_precisions = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])


# --- exact values and derivatives at any scale -----------------------------------------------------------------------


class Exactly:
    """A loss of numbers at one point: its partial derivatives by central differences far below the smallest input."""

    STEP = mpf(10) ** -160
    DIGITS = 700

    def __init__(self, loss: Loss, point: Sequence[Any], params: dict[str, Any]) -> None:
        self.f = lambda *x: getattr(oracles, loss.name)(*x, **params)
        self.point = [mpf(float(x)) for x in point]

    def partial(self, *along: int) -> Any:
        """The derivative along the arguments of the given numbers, one after the other; the value if there are none."""

        def differentiated(x: list[Any], rest: tuple[int, ...]) -> Any:
            if not rest:
                return self.f(*x)
            to = [list(x), list(x)]
            to[0][rest[0]] += self.STEP
            to[1][rest[0]] -= self.STEP
            return (differentiated(to[0], rest[1:]) - differentiated(to[1], rest[1:])) / (2 * self.STEP)

        return differentiated(self.point, along)

    def budget(self, *along: int) -> Any:
        """The size of a derivative and how far it moves when each input moves by its own size."""
        moves = (fabs(x * self.partial(*along, i)) for i, x in enumerate(self.point) if x)
        return fabs(self.partial(*along)) + sum(moves)


def assert_exact(got: Any, exact: Any, budget: Callable[[], Any], dtype: Any, what: Any) -> None:
    info = np.finfo(dtype)
    if fabs(exact) > mpf(float(info.max)):
        assert math.isinf(got) and (got > 0) == (exact > 0), (*what, float(got), mp.nstr(exact, 8))
    else:
        assert math.isfinite(got), (*what, float(got), mp.nstr(exact, 8))
        error, ulps = fabs(mpf(float(got)) - exact) - mpf(float(info.tiny)), ULPS * mpf(float(info.eps))
        # Inputs seldom need to be allowed for: only then is it worth while to differentiate once more.
        assert error <= ulps * fabs(exact) or error <= ulps * budget(), (*what, float(got), mp.nstr(exact, 20))


def hold(loss: Loss, points: Sequence[Sequence[float]], dtype: Any, **params: Any) -> None:
    """Hold value, gradient and Hessian to the exact ones at every point."""
    arrays = [np.array(column, dtype=dtype) for column in zip(*points, strict=True)]
    values, grads = loss.value_and_grad(*arrays, **params)
    grads = grads if isinstance(grads, tuple) else (grads,)
    found = loss.hess(*arrays, **params)
    diagonals = found if isinstance(found, tuple) else (found,)
    assert values.dtype == dtype
    with mp.workdps(Exactly.DIGITS):
        for i, point in enumerate(zip(*arrays, strict=True)):
            exact = Exactly(loss, point, params)
            what = (loss.name, point, params)
            assert_exact(values[i], exact.partial(), exact.budget, dtype, (*what, "value"))
            for name, grad, diagonal in zip(loss.wrt, grads, diagonals, strict=True):
                at = loss.arguments.index(name)
                assert_exact(grad[i], exact.partial(at), partial(exact.budget, at), dtype, (*what, "gradient", name))
                assert_exact(
                    diagonal[i], exact.partial(at, at), partial(exact.budget, at, at), dtype, (*what, "Hessian", name)
                )


def sizes(dtype: Any) -> list[float]:
    common = [1e-30, 1e-20, 1e-10, 1e-5, 1e-3, 0.3, 0.7, 1.5, 2.0, 20.0, 100.0, 1e4, 1e10, 1e20, 1e30]
    return [*common, 1e-60, 1e60] if dtype is np.float64 else common


# --- residuals of every size -----------------------------------------------------------------------------------------


@both_precisions
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("squared_error", {}),
        ("half_squared_error", {}),
        ("absolute_error", {}),
        ("huber", {}),
        ("huber", {"delta": 0.0625}),
        ("smooth_l1", {}),
        ("smooth_l1", {"beta": 0.0}),
        ("log_cosh", {}),
        ("pseudo_huber", {}),
        ("pseudo_huber", {"delta": 2.0**-40}),
        ("pseudo_huber", {"delta": 2.0**40}),
        ("pinball", {}),
        ("pinball", {"quantile": 2.0**-10}),
        ("epsilon_insensitive", {"epsilon": 0.0625}),
        ("epsilon_insensitive", {"epsilon": 0.0}),
        ("mape", {"epsilon": 2.0**-20}),
        ("student_t_nll", {}),
        ("student_t_nll", {"df": 0.5, "scale": 2.0**-30}),
        ("student_t_nll", {"df": 2.0**20, "scale": 1.0}),
    ],
)
def test_residuals_of_every_size(name: str, params: dict[str, Any], dtype: Any) -> None:
    points = [(sign * size, 0.0) for size in sizes(dtype) for sign in (1, -1)]
    hold(lossary.get(name), [*points, (3.0, 1e10), (1.0 + 2.0**-20, 1.0)], dtype, **params)


@both_precisions
@pytest.mark.parametrize("name", [n for n in lossary.names(family="regression") if lossary.get(n).input == "real"])
def test_a_residual_of_zero_costs_nothing_and_pulls_nowhere(name: str, dtype: Any) -> None:
    value, grad = lossary.get(name).value_and_grad(np.array([0.0, 3.0], dtype), np.array([0.0, 3.0], dtype))
    assert (value == 0).all() and (grad == 0).all()


@both_precisions
def test_a_target_of_zero_is_taken_as_epsilon_by_mape(dtype: Any) -> None:
    value, grad = lossary.mape.value_and_grad(dtype([2.0]), dtype([0.0]), epsilon=0.5)
    assert value == 4.0 and grad == 2.0


@both_precisions
def test_the_squared_logarithmic_error_near_minus_one_and_far_away(dtype: Any) -> None:
    edge = -1 + 4 * float(np.finfo(dtype).eps)
    amounts = [edge, -0.5, 0.0, 1e-30, 1e-10, 1.0, 1.0 + 2.0**-20, 1e10, 1e30]
    hold(lossary.msle, [(p, y) for p in amounts for y in amounts], dtype)


# --- vectors ---------------------------------------------------------------------------------------------------------


@both_precisions
@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 0), (0, 0)])
def test_the_cosine_of_a_zero_vector_is_zero(one: float, other: float, dtype: Any) -> None:
    pred, target = np.array([3.0, 4.0], dtype) * dtype(one), np.array([1.0, 2.0], dtype) * dtype(other)
    value, grad = lossary.cosine_distance.value_and_grad(pred, target)
    assert value == 1.0
    if not one:
        assert (grad == 0).all()
    assert (lossary.cosine_distance.hess(pred, target) == 0).all()


@both_precisions
def test_equal_vectors_are_at_distance_zero_and_opposite_ones_at_two_whatever_their_length(dtype: Any) -> None:
    v = np.array([3.0, -4.0, 12.0], dtype)
    for length in (1e-30, 1.0, 1e30):
        scaled = v * dtype(length)
        value, grad = lossary.cosine_distance.value_and_grad(scaled, v)
        slack = 4 * np.finfo(dtype).eps
        assert abs(value) <= slack**2 and (np.abs(grad) * length * 13 <= slack).all()
        np.testing.assert_allclose(lossary.cosine_distance(scaled, -v), 2.0, rtol=slack)
    value, grad = lossary.cosine_distance.value_and_grad(v, v)
    assert value == 0 and (grad == 0).all()


@both_precisions
def test_nearly_parallel_vectors_keep_the_digits_of_their_distance(dtype: Any) -> None:
    for angle in (1e-3, 1e-6, 1e-9):
        found = lossary.cosine_distance(np.array([1.0, 0.0], dtype), np.array([1.0, angle], dtype))
        with mp.workdps(60):
            exact = oracles.cosine_distance([mpf(1), mpf(0)], [mpf(1), mpf(float(dtype(angle)))])
        np.testing.assert_allclose(float(found), float(exact), rtol=ULPS * np.finfo(dtype).eps)


# --- likelihoods -----------------------------------------------------------------------------------------------------

SPREADS = [1e-30, 1e-10, 1.0, 1e10, 1e30]
LOG_RATES = [-1e4, -300.0, -100.0, -50.0, -1.0, -1e-10, 0.0, 1e-10, 0.5, 3.0, 50.0, 85.0, 300.0, 1e4]


@both_precisions
@pytest.mark.parametrize("name", ["gaussian_nll", "laplace_nll"])
def test_variances_and_scales_of_every_size(name: str, dtype: Any) -> None:
    residuals = [1e-30, 1e-10, -0.5, 1.0, 1e10, -1e30]
    hold(lossary.get(name), [(r, 0.0, spread) for r in residuals for spread in SPREADS], dtype)


@both_precisions
@pytest.mark.parametrize("name", ["gaussian_nll", "laplace_nll"])
def test_a_residual_of_zero_pulls_only_at_the_spread(name: str, dtype: Any) -> None:
    value, (by_pred, by_spread) = lossary.get(name).value_and_grad(dtype([2.0]), dtype([2.0]), dtype([1e-30]))
    spread = float(dtype(1e-30))
    half = 0.5 if name == "gaussian_nll" else 1.0
    np.testing.assert_allclose(value, half * math.log(spread), rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(by_spread, half / spread, rtol=4 * np.finfo(dtype).eps)
    assert by_pred == 0


@both_precisions
@pytest.mark.parametrize(
    ("name", "targets", "params"),
    [
        ("poisson_nll", [0.0, 1.0, 3.0, 1e6], {}),
        ("generalized_kl", [0.0, 1e-30, 0.3, 1.0, 1e6, 1e30], {}),
        ("gamma_nll", [1e-30, 1e-3, 1.0, 1e6, 1e30], {}),
        ("gamma_nll", [1e-30, 1.0, 1e30], {"shape": 1024.0}),
        ("tweedie_deviance", [0.0, 1e-30, 0.3, 1.0, 1e6, 1e30], {}),
        ("tweedie_deviance", [0.0, 1e-10, 1.0, 1e10], {"power": 1.015625}),
        ("tweedie_deviance", [0.0, 1e-10, 1.0, 1e10], {"power": 1.984375}),
        ("negative_binomial_nll", [0.0, 1.0, 3.0, 1e6], {}),
        ("negative_binomial_nll", [0.0, 1.0, 1e6], {"alpha": 2.0**-20}),
        ("negative_binomial_nll", [0.0, 1.0, 1e6], {"alpha": 2.0**20}),
    ],
)
def test_log_rates_of_every_size(name: str, targets: list[float], params: dict[str, Any], dtype: Any) -> None:
    hold(lossary.get(name), [(s, y) for s in LOG_RATES for y in targets], dtype, **params)


@both_precisions
def test_a_rate_of_zero_is_certain_of_a_count_of_zero(dtype: Any) -> None:
    nothing = dtype([-math.inf, -math.inf]), dtype([0.0, 2.0])
    for name in ("poisson_nll", "generalized_kl", "tweedie_deviance", "negative_binomial_nll"):
        value, grad = lossary.get(name).value_and_grad(*nothing)
        assert value[0] == 0 and grad[0] == 0, name
        assert value[1] == math.inf and grad[1] < 0, name
    for full in (False, True):
        value, grad = lossary.poisson_nll_rate.value_and_grad(dtype([0.0, 0.0]), dtype([0.0, 2.0]), full=full)
        np.testing.assert_array_equal(value, [0.0, math.inf])
        np.testing.assert_array_equal(grad, [1.0, -math.inf])
        np.testing.assert_array_equal(
            lossary.poisson_nll_rate.hess(dtype([0.0, 0.0]), dtype([0.0, 2.0]), full=full), [0.0, math.inf]
        )
        assert lossary.poisson_nll(*nothing, full=full)[0] == 0
        assert lossary.negative_binomial_nll(*nothing, full=full)[0] == 0


@both_precisions
def test_a_perfect_prediction_has_no_deviance(dtype: Any) -> None:
    for amount in (1e-30, 0.25, 1.0, 1e30):
        log_mean, target = dtype([math.log(amount)]), dtype([amount])
        for loss in (lossary.generalized_kl, lossary.tweedie_deviance):
            value, grad = loss.value_and_grad(log_mean, target)
            slack = 128 * np.finfo(dtype).eps
            scale = amount if loss is lossary.generalized_kl else 4 * amount**0.5
            assert 0 <= value <= slack**2 * scale and abs(grad) <= slack * scale


# --- whole likelihoods: their terms cancel, their values must not -----------------------------------------------------


def hold_values(loss: Loss, points: Sequence[Sequence[float]], dtype: Any, **params: Any) -> None:
    """Hold values to the exact ones, with differences that the log-gamma function of 60 digits can bear."""
    arrays = [np.array(column, dtype=dtype) for column in zip(*points, strict=True)]
    values = loss(*arrays, **params)
    with mp.workdps(120):
        for i, point in enumerate(zip(*arrays, strict=True)):
            exact = Exactly(loss, point, params)
            exact.STEP = mpf(10) ** -40
            assert_exact(values[i], exact.partial(), exact.budget, dtype, (loss.name, point, params))


@both_precisions
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("poisson_nll", {}),
        ("negative_binomial_nll", {}),
        ("negative_binomial_nll", {"alpha": 2.0**-20}),
        ("negative_binomial_nll", {"alpha": 2.0**20}),
        ("negative_binomial_nll", {"alpha": 2.0**-4}),
    ],
)
def test_full_likelihoods_of_large_counts_keep_their_digits(name: str, params: dict[str, Any], dtype: Any) -> None:
    counts = [0.0, 1.0, 2.0, 9.0, 10.0, 11.0, 1000.0, 2.0**20, 2.0**40]
    points = [(math.log(max(y, 1.0)) + by, y) for y in counts for by in (0.0, 1e-3, -0.5, 0.9, -1.1, 3.0, -20.0)]
    hold_values(lossary.get(name), points, dtype, full=True, **params)


@both_precisions
def test_the_full_poisson_likelihood_of_a_rate(dtype: Any) -> None:
    counts = [0.0, 1.0, 2.0, 9.0, 10.0, 11.0, 1000.0, 2.0**20, 2.0**40]
    points = [(max(y, 1.0) * by, y) for y in counts for by in (1e-10, 0.5, 1.0, 1.001, 3.0, 1e10)]
    hold_values(lossary.poisson_nll_rate, points, dtype, full=True)


@both_precisions
@pytest.mark.parametrize("shape", [2.0**-10, 1.0, 16.0, 2.0**20, 2.0**40])
def test_the_full_gamma_likelihood_of_every_shape(shape: float, dtype: Any) -> None:
    points = [(s, y) for y in (1e-10, 0.3, 1.0, 1e6) for s in (math.log(y), math.log(y) + 1e-3, -3.0, 3.0)]
    hold_values(lossary.gamma_nll, points, dtype, full=True, shape=shape)


@both_precisions
@pytest.mark.parametrize("df", [2.0**-10, 1.0, 4.0, 19.0, 21.0, 2.0**20, 2.0**60])
@pytest.mark.parametrize("scale", [2.0**-20, 1.0])
def test_the_full_likelihood_of_student_for_every_df(df: float, scale: float, dtype: Any) -> None:
    hold_values(lossary.student_t_nll, [(r, 0.0) for r in (0.0, 1e-3, 1.0, 1e6)], dtype, full=True, df=df, scale=scale)


def test_student_tends_to_the_gaussian_and_the_negative_binomial_to_poisson() -> None:
    r, zero, one = np.array([0.0, 1.0, 3.0]), np.zeros(3), np.ones(3)
    np.testing.assert_allclose(
        lossary.student_t_nll(r, zero, df=1e15, full=True), lossary.gaussian_nll(r, zero, one, full=True), rtol=1e-13
    )
    s, y = np.array([-2.0, 0.5, 3.0]), np.array([0.0, 2.0, 20.0])
    np.testing.assert_allclose(
        lossary.negative_binomial_nll(s, y, alpha=1e-15, full=True), lossary.poisson_nll(s, y, full=True), rtol=1e-12
    )


@pytest.mark.parametrize("name", ["poisson_nll", "negative_binomial_nll"])
def test_full_probabilities_of_counts_sum_to_one(name: str) -> None:
    counts = np.arange(400.0)
    costs = lossary.get(name)(np.full(400, math.log(5.0)), counts, full=True)
    np.testing.assert_allclose(np.exp(-costs).sum(), 1.0, rtol=1e-13)


def test_parameters_may_be_arrays_with_one_entry_per_example() -> None:
    pred, target, df = np.array([1.0, -2.0]), np.zeros(2), [1.0, 30.0]
    together = lossary.student_t_nll(pred, target, df=df, scale=[0.5, 2.0], full=True)
    alone = [
        lossary.student_t_nll(p, t, df=d, scale=s, full=True)
        for p, t, d, s in zip(pred, target, df, (0.5, 2.0), strict=True)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-15)


# --- rows with zeros -------------------------------------------------------------------------------------------------


def rows(*listed: Sequence[float], dtype: Any) -> Any:
    return np.array(listed, dtype=dtype)


@both_precisions
def test_a_class_the_target_never_takes_costs_nothing_in_kl_even_where_it_is_impossible(dtype: Any) -> None:
    log_probs = rows([math.log(0.5), math.log(0.5), -math.inf], [0.0, -1e4, -1e4], [0.0, -math.inf, -1e4], dtype=dtype)
    target = rows([0.25, 0.75, 0.0], [0.5, 0.5, 0.0], [0.5, 0.5, 0.0], dtype=dtype)
    value, grad = lossary.kl_divergence.value_and_grad(log_probs, target)
    expected = [0.25 * math.log(0.5) + 0.75 * math.log(1.5), math.log(0.5) + 5e3, math.inf]
    np.testing.assert_allclose(value, expected, rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(grad, -target)
    assert (lossary.kl_divergence.hess(log_probs, target) == 0).all()


@both_precisions
def test_reverse_kl_ignores_what_is_not_predicted_and_is_infinite_where_the_target_excludes_it(dtype: Any) -> None:
    log_probs = rows(
        [0.0, -math.inf, -math.inf], [0.0, -1e4, -math.inf], [math.log(0.5), math.log(0.5), -math.inf], dtype=dtype
    )
    target = rows([0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0], dtype=dtype)
    value, grad = lossary.reverse_kl.value_and_grad(log_probs, target)
    np.testing.assert_allclose(value, [math.log(2.0), 0.0, math.inf], rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_allclose(grad[0], [math.log(2.0) + 1, 0, 0], rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(grad[1], [1, 0, 0])  # exp(-1e4) is 0 in either precision
    assert grad[2, 1] == math.inf and grad[2, 2] == 0
    assert not np.isnan(lossary.reverse_kl.hess(log_probs, target)).any()


@both_precisions
def test_jensen_shannon_is_bounded_whatever_the_zeros(dtype: Any) -> None:
    log_probs = rows(
        [0.0, -math.inf, -math.inf], [0.0, -1e4, -math.inf], [math.log(0.5), -math.inf, math.log(0.5)], dtype=dtype
    )
    target = rows([0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0], dtype=dtype)
    value, grad = lossary.js_divergence.value_and_grad(log_probs, target)
    np.testing.assert_allclose(value, [math.log(2.0), 0.0, 0.5 * math.log(2.0)], rtol=8 * np.finfo(dtype).eps)
    expected = [[0.5 * math.log(2.0), 0, 0], [0, 0, 0], [0, 0, 0.25 * math.log(2.0)]]
    np.testing.assert_allclose(grad, expected, rtol=8 * np.finfo(dtype).eps, atol=0)
    assert np.isfinite(lossary.js_divergence.hess(log_probs, target)).all()


@both_precisions
def test_nearly_equal_distributions_keep_the_digits_of_their_jensen_shannon_divergence(dtype: Any) -> None:
    target = rows([0.5, 0.25, 0.25], dtype=dtype)
    for by in (0.0, 2.0**-20, 2.0**-10):
        moved = target + dtype([by, -by, 0.0])
        log_probs = np.log(moved)
        with mp.workdps(60):
            exact = oracles.js_divergence([mpf(float(x)) for x in log_probs[0]], [mpf(float(x)) for x in target[0]])
        # The logarithm of a probability is itself rounded; that, and not the loss, is all that is lost.
        slack = 16 * np.finfo(dtype).eps * (by + np.finfo(dtype).eps)
        assert abs(float(lossary.js_divergence(log_probs, target)[0]) - float(exact)) <= slack


# --- penalties -------------------------------------------------------------------------------------------------------


@both_precisions
@pytest.mark.parametrize("name", ["l1_penalty", "l2_penalty", "elastic_net"])
def test_parameters_of_every_size(name: str, dtype: Any) -> None:
    hold(lossary.get(name), [(sign * size,) for size in sizes(dtype) for sign in (1, -1)], dtype)
    value, grad = lossary.get(name).value_and_grad(np.zeros(1, dtype))
    assert value == 0 and grad == 0


# --- NaN -------------------------------------------------------------------------------------------------------------


@both_precisions
@pytest.mark.parametrize(
    "name", [n for f in ("regression", "likelihood", "divergence", "penalty") for n in lossary.names(family=f)]
)
def test_a_nan_is_passed_on_and_stays_with_its_own_example(name: str, dtype: Any) -> None:
    loss = lossary.get(name)
    arrays = [a.astype(dtype) for a in random_arrays(loss, np.random.default_rng(0), 3)]
    clean = loss(*arrays)
    arrays[0][1] = np.nan
    values, _ = loss.value_and_grad(*arrays, check=False)
    np.testing.assert_array_equal(np.isnan(values), [False, True, False])
    np.testing.assert_array_equal(values[[0, 2]], clean[[0, 2]])


# --- the functions of exponential families ----------------------------------------------------------------------------


@both_precisions
def test_a_scaled_exponential_neither_overflows_nor_underflows_on_the_way(dtype: Any) -> None:
    with xp.quiet():
        found = numerics.scaled_exp(xp, dtype([1e-30, 1e30, 0.0]), dtype([100.0, -100.0, 300.0]))
    with mp.workdps(60):
        exact = [mpf(float(dtype(1e-30))) * mp.exp(100), mpf(float(dtype(1e30))) * mp.exp(-100), mpf(0)]
    np.testing.assert_allclose(found, [float(x) for x in exact], rtol=8 * np.finfo(dtype).eps)


@both_precisions
def test_what_stirling_leaves_and_ratios_of_gammas(dtype: Any) -> None:
    starts = np.array([1e-3, 0.5, 1.0, 3.0, 9.9, 10.0, 50.0, 1e5, 1e10], dtype)
    eps = float(np.finfo(dtype).eps)
    for steps in (0.0, 0.5, 3.0, 1e4):
        found = numerics.log_rising(xp, starts, np.full_like(starts, steps))
        with mp.workdps(60):
            for start, value in zip(starts, found, strict=True):
                a, n = mpf(float(start)), mpf(steps)
                exact = mp.loggamma(a + n) - mp.loggamma(a)
                moves = fabs(n * mp.digamma(a + n)) + fabs(a * (mp.digamma(a + n) - mp.digamma(a)))
                assert fabs(mpf(float(value)) - exact) <= ULPS * eps * (fabs(exact) + moves), (start, steps)
    counts = np.array([0.0, 1.0, 2.0, 9.0, 10.0, 11.0, 1e4, 1e15], dtype)
    with mp.workdps(60):
        for n, value in zip(counts, numerics.log_factorial_excess(xp, counts), strict=True):
            m = mpf(float(n))
            exact = mp.loggamma(m + 1) - (m * mp.log(m) if m else 0) + m
            assert fabs(mpf(float(value)) - exact) <= ULPS * eps * fabs(exact), n
