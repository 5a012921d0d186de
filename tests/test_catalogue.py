"""Every loss of the catalogue, every property it must have. A new loss is covered from the moment it is entered."""

from __future__ import annotations

import copy
import doctest
import inspect
import math
import pickle
import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from mpmath import mp

import lossary
import oracles
from exact import Exact, ExactAtExtremes
from lossary import numerics
from lossary.catalogue import Loss
from lossary.catalogue.branches import undeclared
from lossary.pairs import cosine, euclidean, protocol
from lossary.testing import (
    corner_params,
    coverage_of,
    exercised,
    extreme_arrays,
    namespace,
    never_run,
    random_arrays,
    random_params,
    run,
)

ALL = [lossary.get(name) for name in lossary.names()]
every_loss = pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)
BATCH = 4


def cases(loss: Loss, seed: int, count: int) -> list[tuple[list[Any], dict[str, Any]]]:
    """Random admissible inputs for every alternative of the signature.

    Parameters are at their defaults, then all of them drawn, then some.
    """
    rng = np.random.default_rng([seed, *loss.name.encode()])
    alternatives = 1 if loss.coupling else len(loss.signatures)
    made = []
    for alternative in range(alternatives):
        for i in range(count):
            arrays = random_arrays(loss, rng, BATCH, alternative=alternative)
            if loss.coupling:
                arrays[-1] = np.array([0, 1, 0, 1 - i % 2])  # one partner for each; then none for one, two for others
            made.append((arrays, random_params(loss, rng, default=(1.0, 0.0, 0.5)[min(i, 2)])))
    return made


def near_ties(loss: Loss) -> list[tuple[list[Any], dict[str, Any]]]:
    """A prediction a little off its target or a little off 0, where differences of large numbers lose their digits."""
    allowed = loss.domain(loss.arguments[0])
    rows = cases(loss, 14, 1)[0][0]
    if not loss.coupling and loss.signature.startswith("(d),(d)") and not allowed.bounded:
        return [([rows[1] + 0.1 * rows[0], *rows[1:]], {})]  # two vectors near each other
    if loss.signature != "(),()->()" or loss.coupling or allowed.kind != "interval":
        return []
    target = rows[1]
    little = np.array([1e-3, -1e-3, 1e-6, -1e-6])
    points = [target * (1 + little), little]
    return [([pred, target], {}) for pred in points if all(allowed.contains(v) for v in pred)]


def tuple_of(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


# --- against 60 digits ----------------------------------------------------------------------------------------------


def within(error: float, eps: float, size: Any, sensitivities: Iterator[Any]) -> bool:
    """Whether an error is what a correct algorithm may lose: a few units in the last place of result and inputs.

    The sensitivities to the inputs, which take long at 60 digits, are asked for only where the result's own do not do.
    """
    return error <= eps * float(abs(size)) or error <= eps * float(abs(size) + sum(sensitivities))


# How many of those units. One number for (nearly) all losses; an exception says why.
ULPS = 16.0
# softmax_cross_entropy: under a cap, smoothing and z_loss at once, three gradients cancel that each are rounded.
EXCEPTIONS: dict[str, float] = {"softmax_cross_entropy": 32.0}


@every_loss
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_value_gradient_and_hessian_against_the_oracle(loss: Loss, dtype: Any) -> None:
    assert hasattr(oracles, loss.name), (
        f"{loss.name} has no oracle: add a function {loss.name}({', '.join(loss.arguments)}, *, ...) with the textbook "
        f"formula of one example to tests/oracles/{loss.define.__module__.rpartition('.')[2]}.py"
    )
    eps = float(np.finfo(dtype).eps) * EXCEPTIONS.get(loss.name, ULPS)
    for arrays, params in [*cases(loss, 1, 3 if dtype is np.float64 else 2), *near_ties(loss)]:
        arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
        values, grads = loss.value_and_grad(*arrays, **params)
        diagonals = tuple_of(loss.hess(*arrays, **params)) if loss.derivatives > 1 else ()
        assert values.dtype == dtype
        for i in range(BATCH):
            if loss.coupling:
                exact = Exact(loss, arrays, params, anchor=i)
            else:
                exact = Exact(loss, [a[i] for a in arrays], params)
            places = exact.places()
            value = exact.value()
            error = abs(float(value - values[i].item()))
            assert within(error, eps, value, (exact.size(p) * abs(exact.first(*p)) for p in places)), (
                loss.name,
                i,
                params,
                float(value),
                values[i],
            )
            if loss.coupling:
                continue  # the gradient of the sum over anchors is checked below
            for name, grad in zip(loss.wrt, tuple_of(grads), strict=True):
                which = loss.arguments.index(name)
                assert grad.dtype == dtype
                for at in np.ndindex(grad[i].shape):
                    place = (which, at)
                    slope = exact.first(which, at)
                    # Differences at 60 digits with a step of 1e-20 see nothing below 1e-36.
                    error = abs(float(slope - grad[i][at].item())) - 1e-36
                    bends = (exact.size(p) * abs(exact.second(place, p)) for p in places)
                    assert within(error, eps, slope, bends), (
                        loss.name,
                        "gradient",
                        name,
                        i,
                        at,
                        params,
                        float(slope),
                        grad[i][at],
                    )
            for name, diagonal in zip(loss.wrt, diagonals, strict=False):
                which = loss.arguments.index(name)
                for at in np.ndindex(diagonal[i].shape):
                    place = (which, at)
                    curve = exact.second(place, place)
                    error = abs(float(curve - diagonal[i][at].item())) - eps * 1e-12
                    turns = (exact.size(p) * abs(exact.third(place, p)) for p in places)
                    assert within(error, eps, curve, turns), (loss.name, "Hessian", name, i, at, params, float(curve))


@pytest.mark.parametrize("loss", [loss for loss in ALL if loss.coupling], ids=lambda loss: loss.name)
def test_gradient_through_the_coupling_against_the_oracle(loss: Loss) -> None:
    for arrays, params in cases(loss, 2, 2):
        grad = loss.grad(*arrays, **params)
        anchors = [Exact(loss, arrays, params, anchor=i) for i in range(BATCH)]
        for at in np.ndindex(grad.shape):
            slope = sum(anchor.first(0, at) for anchor in anchors)
            assert abs(float(slope) - grad[at]) <= 1e-12 * max(1.0, abs(float(slope))), (at, float(slope), grad[at])


# --- extremes --------------------------------------------------------------------------------------------------------

# What need not be exact at extremes, and why; docs/numerics.md says so to readers. None of it may be NaN.
DECIDED = {
    "triplet_margin": "the difference of two distances has the digits of the larger one",
    "batch_hard_triplet": "the difference of two distances has the digits of the larger one",
    "multilabel_margin": "scores far below the margin of 1 meet it by rounding, and a margin met exactly has slope 0",
    "logit_adjusted": "a prior of 1e-70 is the exponential of a rounded logarithm of 161",
}


def agrees(got: Any, exact: Any, dtype: Any, sensitivities: Iterator[Any]) -> bool:
    """Whether a number is as exact as its type allows, and infinite where the exact one is too large for it."""
    info = np.finfo(dtype)
    limit, got, ulps = mp.mpf(float(info.max)), float(got), ULPS * float(info.eps)
    if abs(exact) > limit * (1 + ulps):
        return got == math.copysign(math.inf, exact)
    if not math.isfinite(got):
        return math.isinf(got) and abs(exact) > limit * (1 - ulps)
    error = abs(exact - mp.mpf(got)) - mp.mpf(float(info.tiny))
    return bool(error <= ulps * abs(exact) or error <= ulps * (abs(exact) + sum(sensitivities)))


@every_loss
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_extremes_are_exact_and_infinite_only_where_the_exact_number_is(loss: Loss, dtype: Any) -> None:
    """At 0, ties, the ends of domains, and from 1e-30 to 1e30: no overflow on the way, no gradient that dies."""
    rng = np.random.default_rng([15, *loss.name.encode()])
    for alternative in range(1 if loss.coupling else len(loss.signatures)):
        arrays = extreme_arrays(loss, rng, BATCH, alternative, dtype)
        if loss.coupling:
            arrays[-1] = np.array([0, 1, 0, 1])
        with np.errstate(all="ignore"):
            values, grads = loss.value_and_grad(*arrays)
        assert not any(np.isnan(x).any() for x in (values, *tuple_of(grads))), (arrays, values, grads)
        if loss.name in DECIDED:
            continue
        with mp.workdps(ExactAtExtremes.DIGITS):
            for i in range(BATCH):
                example = arrays if loss.coupling else [a[i] for a in arrays]
                exact = ExactAtExtremes(loss, example, {}, i if loss.coupling else None)
                value = exact.value()
                assert agrees(values[i].item(), value, dtype, at_extremes(loss, exact)), (example, values[i], value)
                if loss.coupling or loss.signatures[alternative].rank > 1:
                    continue
                for name, grad in zip(loss.wrt, tuple_of(grads), strict=True):
                    which = loss.arguments.index(name)
                    for at in np.ndindex(grad[i].shape):
                        if not inside(loss.domain(name, alternative), float(example[which][at])):
                            continue
                        slopes = sorted(exact.slopes(which, at))
                        got = grad[i][at].item()
                        assert slopes[0] <= got <= slopes[1] or any(
                            agrees(got, slope, dtype, at_extremes(loss, exact, (which, at))) for slope in slopes
                        ), (example, name, at, got, [float(slope) for slope in slopes])


def inside(domain: Any, x: float) -> bool:
    """Whether a number may be moved a little either way."""
    return domain.kind == "interval" and domain.contains(x) and x not in (domain.low, domain.high)


def at_extremes(loss: Loss, exact: ExactAtExtremes, place: Any = None) -> Iterator[Any]:
    """How far value, or the slope at a place, moves when each input moves by its own size, as far as that is finite."""
    places = [p for p in exact.places() if exact.size(p) and mp.isfinite(exact.size(p))]
    if loss.signatures[0].rank > 1:  # the cost of a path is a difference of sums of scores
        yield from (exact.size(p) for p in places)
        return
    if place is not None and loss.signature.startswith("(d),(d)"):  # what lies along a vector is projected away
        yield 1 / mp.sqrt(sum(exact.size(p) ** 2 for p in places if p[0] == place[0]))
    for p in places:
        moved = max(map(abs, exact.slopes(*p))) if place is None else abs(exact.second(place, p))
        yield exact.size(p) * moved


# --- what runs -------------------------------------------------------------------------------------------------------


@every_loss
def test_a_definition_branches_only_on_values_that_the_record_names(loss: Loss) -> None:
    assert not undeclared(loss), "\n".join(undeclared(loss))


@every_loss
def test_every_line_of_a_definition_runs_on_what_is_drawn(loss: Loss) -> None:
    assert not never_run(loss), (
        "never run, so tested by nothing (name the parameter's special values in the record, or leave the line out):\n"
        + "\n".join(never_run(loss))
    )


def test_every_line_of_what_definitions_share_runs_on_what_is_drawn() -> None:
    modules = {numerics, protocol, cosine, euclidean, *(sys.modules[loss.define.__module__] for loss in ALL)}
    shared = [
        function
        for module in modules
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and "xp" in inspect.signature(function).parameters
    ]
    with coverage_of(*shared) as missed:
        for loss in ALL:
            for arrays, params in exercised(loss):
                run(loss, arrays, params)
            if loss.coupling:
                loss.value_and_grad(*arrays, mask=np.arange(len(arrays[0])) > 0)
                loss.value_and_grad(*(a[:0] for a in arrays))
    assert not missed(), "\n".join(missed())


# --- finite differences, and what they must catch -------------------------------------------------------------------


@every_loss
def test_check_grad_agrees(loss: Loss) -> None:
    for arrays, params in cases(loss, 3, 2):
        outcome = lossary.check_grad(loss, *arrays, **params)
        assert outcome, str(outcome)


@every_loss
def test_parameters_at_the_ends_of_their_ranges(loss: Loss) -> None:
    """What the range says is admissible is computed right: `0` and `1` are where a formula divides by nothing.

    So are its special values. The other parameters are at their defaults, and once more drawn: a factor that is 1 by
    default would hide that it is missing.
    """
    rng = np.random.default_rng([12, *loss.name.encode()])
    corners = corner_params(loss)
    for params in (*corners, *(random_params(loss, rng, default=0.0, corner=0.0) | corner for corner in corners)):
        arrays, _ = cases(loss, 12, 1)[0]
        values, grads = loss.value_and_grad(*arrays, **params)
        for i in range(BATCH):
            exact = Exact(
                loss, arrays if loss.coupling else [a[i] for a in arrays], params, i if loss.coupling else None
            )
            np.testing.assert_allclose(values[i], float(exact.value()), rtol=1e-13, atol=1e-13, err_msg=str(params))
        assert all(np.isfinite(g).all() for g in tuple_of(grads)), params
        outcome = lossary.check_grad(loss, *arrays, **params)
        assert outcome, f"{params}: {outcome}"


@every_loss
def test_ties_and_zeros_have_finite_derivatives_between_the_slopes(loss: Loss) -> None:
    """At prediction = target, at 0, and a parameter away from either: the places where losses have their kinks."""
    if loss.signature != "(),()->()" or loss.coupling or loss.domain(loss.arguments[0]).bounded:
        pytest.skip("only a loss of two numbers has its kinks where they meet")
    pred, target = cases(loss, 13, 1)[0][0]
    if not loss.domain(loss.arguments[1]).bounded:
        target = np.round(8 * target) / 8  # so that a distance is hit exactly
    steps = [0.0, *(v for v in loss.defaults.values() if isinstance(v, (int, float)))]
    for step in steps:
        for pred in (target + step, target - step, 0 * target + step, 0 * target - step):
            _, grads = loss.value_and_grad(pred, target)
            diagonals = tuple_of(loss.hess(pred, target)) if loss.derivatives > 1 else ()
            assert all(np.isfinite(d).all() for d in (*tuple_of(grads), *diagonals)), (pred, target)
            outcome = lossary.check_grad(loss, pred, target)
            assert outcome, f"{pred}, {target}: {outcome}"


# --- the meaning of weight, mask, reduction -------------------------------------------------------------------------


@every_loss
def test_weights_multiply_and_mean_divides_by_their_sum(loss: Loss) -> None:
    arrays, _ = cases(loss, 4, 1)[0]
    weight = np.array([0.5, 2.0, 1.0, 0.25])
    values = loss(*arrays)
    weighted, _ = loss.value_and_grad(*arrays, weight=weight)
    np.testing.assert_allclose(weighted, weight * values, rtol=1e-14)
    average, grads = loss.value_and_grad(*arrays, weight=weight, reduction="mean")
    np.testing.assert_allclose(average, (weight * values).sum() / weight.sum(), rtol=1e-13)
    np.testing.assert_allclose(average, lossary.mean(values, weight=weight), rtol=1e-13)
    summed = loss.grad(*arrays, weight=weight, reduction="sum")
    for of_mean, of_sum in zip(tuple_of(grads), tuple_of(summed), strict=True):
        np.testing.assert_allclose(of_mean * weight.sum(), of_sum, rtol=1e-12, atol=1e-300)
    given, _ = loss.value_and_grad(*arrays, weight=weight, reduction="mean", denominator=10.0)
    np.testing.assert_allclose(given, (weight * values).sum() / 10.0, rtol=1e-13)


def poison(array: Any, at: int) -> Any:
    """Put NaN, or for integers an absurd number, into one example."""
    out = array.copy()
    out[at] = np.nan if array.dtype.kind == "f" else 10**6
    return out


@every_loss
@pytest.mark.parametrize("how", ["mask", "weight"])
def test_a_masked_entry_is_exactly_nothing_even_nan(loss: Loss, how: str) -> None:
    for arrays, params in cases(loss, 5, 2):
        keep = np.array([True, True, False, True])
        option = {"mask": keep} if how == "mask" else {"weight": keep.astype(float)}
        poisoned = [poison(a, 2) for a in arrays]
        value, grads = loss.value_and_grad(*poisoned, **option, reduction="mean", **params)
        kept, kept_grads = loss.value_and_grad(*(a[keep] for a in arrays), reduction="mean", **params)
        np.testing.assert_allclose(value, kept, rtol=1e-13)
        for grad, expected in zip(tuple_of(grads), tuple_of(kept_grads), strict=True):
            assert (grad[2] == 0).all()
            np.testing.assert_allclose(grad[keep], expected, rtol=1e-12, atol=1e-300)
        per_example, _ = loss.value_and_grad(*poisoned, **option, **params)
        assert per_example[2] == 0
        if loss.derivatives > 1:
            for diagonal in tuple_of(loss.hess(*poisoned, **option, **params)):
                assert (diagonal[2] == 0).all() and np.isfinite(diagonal).all()


@every_loss
def test_empty_and_all_masked_batches_have_mean_zero(loss: Loss) -> None:
    arrays, _ = cases(loss, 6, 1)[0]
    value, grads = loss.value_and_grad(*arrays, mask=np.zeros(BATCH, bool), reduction="mean")
    assert value == 0 and all((g == 0).all() for g in tuple_of(grads))
    value, grads = loss.value_and_grad(*(a[:0] for a in arrays), reduction="mean")
    assert value == 0
    for name, grad in zip(loss.wrt, tuple_of(grads), strict=True):
        assert grad.shape == arrays[loss.arguments.index(name)][:0].shape
    assert loss(*(a[:0] for a in arrays)).shape == (0,)


# --- the contract of arrays -----------------------------------------------------------------------------------------


@every_loss
def test_inputs_are_never_written_and_may_be_read_only_strided_or_lists(loss: Loss) -> None:
    arrays, params = cases(loss, 7, 2)[-1]
    before = [a.copy() for a in arrays]
    expected, expected_grads = loss.value_and_grad(*arrays, **params)
    for a in arrays:
        a.flags.writeable = False
    loss.value_and_grad(*arrays, **params)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)
    strided = [np.repeat(a, 2, axis=0)[::2] for a in arrays]
    for variant in (strided, [a.tolist() for a in arrays]):
        value, grads = loss.value_and_grad(*variant, **params)
        np.testing.assert_array_equal(value, expected)
        for grad, reference in zip(tuple_of(grads), tuple_of(expected_grads), strict=True):
            np.testing.assert_array_equal(grad, reference)
            assert grad.flags.writeable and not any(np.shares_memory(grad, a) for a in arrays)


@every_loss
def test_one_example_alone_and_any_number_of_leading_dimensions(loss: Loss) -> None:
    if loss.coupling:
        pytest.skip("a coupled loss compares examples: its batch is one dimension")
    for arrays, params in cases(loss, 8, 1):
        values, grads = loss.value_and_grad(*arrays, **params)
        for i in range(BATCH):
            value, grad = loss.value_and_grad(*(a[i] for a in arrays), **params)
            assert np.ndim(value) == 0
            np.testing.assert_allclose(value, values[i], rtol=1e-14)
            for g, reference in zip(tuple_of(grad), tuple_of(grads), strict=True):
                np.testing.assert_allclose(g, reference[i], rtol=1e-13, atol=1e-300)
        folded = [a.reshape(2, 2, *a.shape[1:]) for a in arrays]
        np.testing.assert_allclose(loss(*folded, **params), values.reshape(2, 2), rtol=1e-14)


@every_loss
def test_half_precision_is_computed_in_float32_and_its_gradient_is_half(loss: Loss) -> None:
    arrays, _ = cases(loss, 9, 1)[0]
    half = [a.astype(np.float16) if a.dtype.kind == "f" else a for a in arrays]
    wide = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in half]
    value, grads = loss.value_and_grad(*half)
    reference, reference_grads = loss.value_and_grad(*wide)
    assert value.dtype == np.float32
    np.testing.assert_array_max_ulp(value, reference, 8)  # which may be another kernel's
    for grad, expected in zip(tuple_of(grads), tuple_of(reference_grads), strict=True):
        assert grad.dtype == np.float16
        np.testing.assert_array_max_ulp(grad, expected.astype(np.float16), 1)


@every_loss
def test_shapes_that_would_broadcast_are_refused(loss: Loss) -> None:
    arrays, _ = cases(loss, 10, 1)[0]
    if len(arrays) == 1:
        pytest.skip("one array has nothing to disagree with")
    longer = [*arrays[:-1], np.concatenate([arrays[-1], arrays[-1]])]
    with pytest.raises(lossary.errors.ShapeError, match=loss.arguments[-1]):
        loss(*longer)
    if loss.signature == "(),()->()" and loss.coupling is None:
        with pytest.raises(lossary.errors.ShapeError, match=r"\(4, 1\).*\(4,\)"):
            loss(arrays[0][:, None], arrays[1])


# --- the record -----------------------------------------------------------------------------------------------------


@every_loss
def test_the_definition_yields_what_the_record_says(loss: Loss) -> None:
    source = inspect.getsource(loss.define)
    yields = [line for line in source.splitlines() if line.strip().startswith("yield ")]
    assert len(yields) >= 1 + loss.derivatives
    assert set(loss.wrt) <= set(loss.arguments)
    assert set(loss.parameters) <= set(loss.defaults)
    assert set(loss.defaults) == set(loss.parameters), "every parameter needs its range"


@every_loss
def test_the_loss_is_documented(loss: Loss) -> None:
    assert loss.formula and loss.references, "a loss says its formula and where it comes from"
    assert loss.summary.endswith(".") and len(loss.summary) <= 120
    assert ">>>" in loss.doc, "a loss shows a property in a doctest"
    for name in set(loss.parameters) - {"ignore_index"}:
        assert f"`{name}`" in loss.doc, f"the docstring does not say what {name} means"
    module = sys.modules[loss.define.__module__]
    assert loss.name in module.__all__ and getattr(lossary, loss.name) is loss
    parser = doctest.DocTestParser()
    examples = parser.get_doctest(loss.doc, {}, loss.name, None, None)
    assert examples.examples
    outcome = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples)
    assert outcome.failed == 0


@every_loss
def test_a_loss_survives_pickling_and_copying(loss: Loss) -> None:
    assert pickle.loads(pickle.dumps(loss)) is loss
    assert copy.deepcopy(loss) is loss
    for alias in loss.aliases:
        assert lossary.get(alias) is loss


def test_binding_fixes_parameters_and_keeps_everything_else() -> None:
    wide = lossary.huber.bind(delta=2.0)
    assert wide([3.0], [0.0])[0] == 4.0
    assert wide.doc == lossary.huber.doc
    assert inspect.signature(wide).parameters["delta"].default == 2.0
    assert pickle.loads(pickle.dumps(wide))([3.0], [0.0])[0] == 4.0
    assert wide.bind(delta=1.0)([3.0], [0.0])[0] == 2.5
    assert repr(wide) == "<loss huber(pred, target, delta=2.0)>"
    with pytest.raises(lossary.errors.ParameterError, match="delta"):
        lossary.huber.bind(delta=-1.0)
    assert list(inspect.signature(lossary.nll).parameters) == ["log_probs", "target", "class_weight", "ignore_index"]


def test_every_family_lists_exactly_its_losses() -> None:
    import lossary.losses as rooms

    listed = {name for name in dir(rooms) if isinstance(getattr(rooms, name), Loss)}
    assert listed == set(lossary.names())


# --- what a record may say --------------------------------------------------------------------------------------------

GIVEN = {"family": "regression", "signature": "(),()->()", "input": "real", "target": "real", "formula": "0"}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"family": "regresion"}, "unknown family 'regresion': did you mean regression?"),
        ({"family": "quux"}, "unknown family 'quux': there are regression, classification,"),
        ({"properties": ("convex", "convx")}, "unknown property 'convx': did you mean convex?"),
        ({"elicits": "men"}, "'men': did you mean mean?"),
        ({"input": "logt"}, "unknown convention 'logt': did you mean logit?"),
        ({"domains": {"pred": "[0, a]"}}, "unknown convention"),
        ({"domains": {"tagret": "real"}}, "unknown array in domains 'tagret': did you mean target?"),
        ({"wrt": ("prd",)}, "unknown array in wrt 'prd': did you mean pred?"),
        ({"parameters": {"detla": "real"}}, "unknown parameter 'detla': did you mean delta?"),
        ({"parameters": {"delta": "(0, one)"}}, "domain '(0, one)' cannot be parsed"),
        ({"target": "{0 1}"}, "domain '{0 1}' cannot be parsed"),
    ],
)
def test_a_word_that_no_record_may_use_is_refused_with_the_nearest(facts: dict[str, Any], said: str) -> None:
    def unheard_of(xp: Any, pred: Any, target: Any, *, delta: float = 1.0) -> Iterator[Any]:
        yield pred - target

    with pytest.raises(ValueError, match=re.escape(said)) as refusal:
        lossary.catalogue.loss(**{**GIVEN, **facts})(unheard_of)
    assert str(refusal.value).startswith("unheard_of: ")
    assert "unheard_of" not in lossary.names()


def test_the_decorator_lists_every_word_and_every_word_is_used() -> None:
    from lossary.catalogue.vocabulary import ELICITS, FAMILIES, PROPERTIES

    text = " ".join((lossary.catalogue.loss.__doc__ or "").split())
    assert not [word for word in (*FAMILIES, *PROPERTIES, *filter(None, ELICITS)) if f"``{word}``" not in text]
    assert {loss.family for loss in ALL} == set(FAMILIES)
    assert set().union(*(loss.properties for loss in ALL)) == set(PROPERTIES)


@every_loss
def test_the_unbounded_form_is_a_loss_of_unbounded_input(loss: Loss) -> None:
    if loss.unbounded_form:
        other = lossary.get(loss.unbounded_form)
        assert other.name == loss.unbounded_form, "by its name, not an alias"
        assert other.input in ("logit", "log-rate") and not other.domain(other.arguments[0]).bounded


def test_an_unbounded_form_computes_the_same_from_logits_and_log_rates() -> None:
    rng = np.random.default_rng(0)
    for loss in ALL:
        if not loss.unbounded_form:
            continue
        other = lossary.get(loss.unbounded_form)
        alternative = [signature.inputs for signature in other.signatures].index(loss.signatures[0].inputs)
        scores, target = random_arrays(other, rng, alternative=alternative)
        xp = namespace(scores)
        # Apart, if at all, by a number that the target alone decides.
        gaps = [loss(loss.activation.inverse(xp, z), target) - other(z, target) for z in (scores, 0.5 * scores)]
        np.testing.assert_allclose(*gaps, atol=1e-12)
