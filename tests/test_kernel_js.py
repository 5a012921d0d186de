"""Losses as JavaScript: value, gradient and curvature agree with NumPy's, also at extremes, under Node."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lossary
import node
from lossary.catalogue import Loss
from lossary.kernels.ir.graph import UnsupportedError
from lossary.kernels.js import functions as js
from lossary.testing import corner_params, extreme_arrays, kernels, random_arrays, random_params

# An error that is a rounding of the largest number on the way, and a little of the result itself.
RELATIVE, ABSOLUTE = 4e-12, 4e-13


def tuple_of(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def numbers(x: Any) -> Any:
    return np.asarray(x).tolist()


def emitted() -> list[Loss]:
    return [lossary.get(name) for name in js.emitted_losses()]


def parameter_sets(loss: Loss, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The defaults, drawn ones, and every special value, flag and word."""
    taken = js.functions(loss).refused
    params = {name: held for name, held in loss.defaults.items() if name != "ignore_index"}
    found = [params]
    for _ in range(2):
        drawn = random_params(loss, rng)
        found.append(params | {n: h for n, h in drawn.items() if n in params and n not in taken and np.ndim(h) == 0})
    return found + [params | corner for corner in corner_params(loss)]


@node.needs_node
def test_every_pointwise_and_row_loss_agrees_with_numpy(tmp_path: Path) -> None:
    """Every alternative and every branch, on drawn and on extreme arrays: one process for all of them."""
    cases, expected = [], []
    for loss in emitted():
        rng = np.random.default_rng([16, *loss.name.encode()])
        for alternative, params in itertools.product(range(len(loss.signatures)), parameter_sets(loss, rng)):
            drawn = [random_arrays(loss, rng, 4, alternative=alternative)]
            drawn.append(extreme_arrays(loss, rng, 6, alternative))
            for arrays in drawn:
                with kernels("off"), np.errstate(all="ignore"):
                    value, grad = loss.value_and_grad(*arrays, **params)
                    hess = tuple_of(loss.hess(*arrays, **params)) if loss.derivatives > 1 else ()
                for i in range(len(value)):
                    example = [numbers(a[i]) for a in arrays]
                    given = {name: numbers(held) if np.ndim(held) else held for name, held in params.items()}
                    cases.append([loss.name, example, {k: _plain(v) for k, v in given.items()}, alternative])
                    expected.append([value[i], [g[i] for g in tuple_of(grad)], [h[i] for h in hess]])
    script = js.module() + "const answer = (cases) => cases.map((given) => computed(...given));"
    found = node.run(tmp_path, script, cases)
    assert len(found) == len(cases)
    assert {case[0] for case in cases} == set(js.emitted_losses())
    wrong = []
    for case, got, wanted in zip(cases, found, expected, strict=True):
        for order, name in enumerate(("value", "gradient", "curvature")[: len(got)]):
            pairs = (
                zip([got[0]], [wanted[0]], strict=True) if not order else zip(got[order], wanted[order], strict=True)
            )
            for a, b in pairs:
                if not np.allclose(np.asarray(a, float), b, RELATIVE, ABSOLUTE, equal_nan=True):
                    wrong.append((*case, name, a, numbers(b)))
    assert not wrong, f"{len(wrong)} of {len(cases)}: " + "\n".join(map(str, wrong[:10]))


def _plain(x: Any) -> Any:
    return x.item() if isinstance(x, np.generic) else x


def test_every_number_of_the_catalogue_on_rows_is_emitted() -> None:
    """What is left out couples a batch, or is defined on more than a row; it is refused by name."""
    left = set(lossary.names()) - set(js.emitted_losses())
    for name in left:
        loss = lossary.get(name)
        assert loss.coupling is not None or any(signature.rank > 1 for signature in loss.signatures), name
        with pytest.raises(UnsupportedError, match=name):
            js.functions(loss)


def test_a_number_stays_a_parameter_at_run_time() -> None:
    """So that a slider moves it; one number for each class is no slider, and is refused by name."""
    for loss in emitted():
        found = js.functions(loss)
        known = {*found.free, *found.chosen, *found.refused, "ignore_index"}
        assert set(loss.defaults) <= known, loss.name
        for name, (domain, per_class) in loss.parameter_domains.items():
            if domain.kind == "interval" and not per_class:
                assert name in found.free, (loss.name, name)
        assert all("for each class" in reason for reason in found.refused.values()), loss.name


@node.needs_node
def test_log_gamma_and_its_derivatives_come_from_the_shared_coefficients(tmp_path: Path) -> None:
    """Beside the truth: `math.lgamma`, and mpmath's derivatives."""
    mpmath = pytest.importorskip("mpmath")
    points = [1e-8, 0.1, 0.5, 1.5, 2.5, 9.99, 10.0, 33.3, 1e3, 1e8, 1e300]
    script = "const given_functions = (() => {" + js.emit.runtime() + "return {lgamma, digamma, trigamma};})();"
    script += "const answer = (xs) => xs.map((x) => Object.values(given_functions).map((f) => f(x)));"
    for x, (log_gamma, first, second) in zip(points, node.run(tmp_path, script, points), strict=True):
        assert math.isclose(log_gamma, math.lgamma(x), rel_tol=1e-13, abs_tol=2e-14)
        assert math.isclose(first, float(mpmath.digamma(x)), rel_tol=1e-13, abs_tol=2e-14)
        assert math.isclose(second, float(mpmath.polygamma(1, x)), rel_tol=1e-13)


@node.needs_node
def test_functions_of_one_and_two_numbers_are_those_of_numpy(tmp_path: Path) -> None:
    """At the ends of what a number can be, where `Math.pow` and C disagree: 1 to any power is 1."""
    ends = [0.0, 1.0, 0.5, 2.0, 1e-300, 1e300, 709.0, -745.0, math.inf, -math.inf, math.nan]
    names = ["exp", "expm1", "log", "log1p", "tanh", "sqrt", "sign", "abs", "cos", "sin"]
    two = {"raised": np.power, "maximum": np.maximum, "minimum": np.minimum}
    script = f"const R = (() => {{{js.emit.runtime()}return {{{', '.join([*names, *two])}}};}})();"
    script += "const answer = ([xs, one, two]) => [one.map((f) => xs.map(R[f])),"
    script += " two.map((f) => xs.map((x) => xs.map((y) => R[f](x, y))))];"
    of_one, of_two = node.run(tmp_path, script, [ends, names, list(two)])
    x = np.array(ends)
    with np.errstate(all="ignore"):
        for name, got in zip(names, of_one, strict=True):
            assert np.allclose(np.asarray(got, float), getattr(np, name)(x), 1e-15, 0, equal_nan=True), name
        for (name, function), got in zip(two.items(), of_two, strict=True):
            wanted = function(x[:, None], x[None, :])
            assert np.allclose(np.asarray(got, float), wanted, 1e-14, 0, equal_nan=True), name
