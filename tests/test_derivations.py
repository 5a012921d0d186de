"""Derivations: SymPy checks each equation of each, and the loss they arrive at is the record's."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import lossary
from lossary.cli.app import app
from lossary.errors import ParameterError
from lossary.inspect.derivation import Derivation, DerivationPart, derivable, derive
from lossary.testing import random_arrays
from lossary.text import is_chinese

sympy = pytest.importorskip("sympy")

DERIVED = [name for name in lossary.names() if derivable(name)]
FROM_LIKELIHOOD = [name for name in DERIVED if derive(name).model]
SAMPLES, CLASSES = 2, 3
PARAMETER = 0.7  # in the range of every parameter that a noise model has
DIGITS = 40

FUNCTIONS: dict[str, Any] = {
    **{name: getattr(sympy, name) for name in ("exp", "log", "sqrt", "cosh", "factorial", "gamma", "pi")},
    "abs": sympy.Abs,
    "min": sympy.Min,
    "max": sympy.Max,
    "d": sympy.diff,
    "sum": lambda values: sympy.Add(*values),
    "prod": lambda values: sympy.Mul(*values),
    "largest": lambda row: sympy.Max(*row),
    "samples": range(SAMPLES),
    "classes": range(CLASSES),
    "N": SAMPLES,
    "C": CLASSES,
}


def number(value: float) -> Any:
    return sympy.Integer(int(value)) if float(value).is_integer() else sympy.Float(float(value), DIGITS)


def check(part: DerivationPart, names: dict[str, Any], indices: int, at: Callable[[Any], Any] = lambda x: x) -> int:
    """Check the equations of a part in order, and return how many hold; a new name is defined by its equation.

    `indices` is how many values the free indices i and j take; `at` puts numbers in.
    """
    scope, held = FUNCTIONS | names, 0
    for step in part.steps:
        if step.key == "conclusion":
            continue  # its conditions: `test_what_is_dropped_does_not_depend_on_the_prediction`
        name, _, index = step.left.partition("[")
        defines = name.isidentifier() and name not in scope
        if defines:
            scope[name] = {} if index else eval(step.right, dict(scope))
        for i, j in itertools.product(range(indices), repeat=2):
            here = scope | {"i": i, "j": j}
            if step.case and not eval(step.case, here):
                continue
            if defines and index:
                scope[name][i] = eval(step.right, here)
            left, right = eval(step.left, here), eval(step.right, here)
            apart = sympy.N(at(sympy.sympify(left - right)), DIGITS)
            assert abs(apart) < 1e-15, f"{step.key}: {step.plain} ({i = }, {j = }): {left} is not {right}"
            held += not defines
    return held


def sampled(name: str, seed: int) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """Return the names of a noise model with random numbers, and the record's values and arrays there."""
    record, model = lossary.get(name), derive(name).model
    assert model is not None
    rng = np.random.default_rng(seed)
    given = dict(zip(record.arguments, random_arrays(record, rng, SAMPLES, {"c": CLASSES}), strict=True))
    names: dict[str, Any] = {}
    for symbol, argument in model.symbols.items():
        array = np.asarray(given[argument])
        if symbol == "q" and array.ndim == 1:
            array = np.eye(CLASSES)[array.astype(int)]
        names[symbol] = {
            (index if len(index) > 1 else index[0]): number(entry) for index, entry in np.ndenumerate(array)
        }
    names |= {symbol: number(PARAMETER) for symbol in model.parameters}
    names |= {symbol: number(rng.uniform(0.5, 2)) for symbol in ("sigma", "b", "Z") if symbol not in names}
    return names, record(**given, **dict.fromkeys(model.parameters.values(), PARAMETER)), given


@pytest.mark.parametrize("name", FROM_LIKELIHOOD)
def test_each_step_from_the_likelihood_follows_and_arrives_at_the_record(name: str) -> None:
    part = derive(name).parts[0]
    loss = next(step for step in part.steps if step.key == "loss")
    for seed in range(2):
        names, values, _ = sampled(name, seed)
        assert check(part, names, SAMPLES) >= 3
        written = [float(eval(loss.right, FUNCTIONS | names | {"i": i})) for i in range(SAMPLES)]
        np.testing.assert_allclose(written, values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", FROM_LIKELIHOOD)
def test_what_is_dropped_does_not_depend_on_the_prediction(name: str) -> None:
    model = derive(name).model
    assert model is not None
    record = lossary.get(name)
    predicted = {symbol for symbol, argument in model.symbols.items() if argument in record.wrt}
    assert predicted

    def rows(symbol: str) -> Any:
        return sympy.symbols(f"{symbol}:{CLASSES}", positive=True) if f"{symbol}[" in model.density else None

    names = {s: rows(s) or sympy.Symbol(s, positive=True) for s in (*model.symbols, "sigma", "b", "Z")}
    names |= {symbol: number(PARAMETER) for symbol in model.parameters}
    dropped, scale = (sympy.sympify(eval(code, FUNCTIONS | names)) for code in (model.dropped, model.scale))
    for symbol in predicted:
        entries = names[symbol] if isinstance(names[symbol], tuple) else (names[symbol],)
        assert not (dropped.free_symbols | scale.free_symbols) & set(entries)
    assert scale.is_positive


@pytest.mark.parametrize("label", range(CLASSES))
def test_the_gradient_of_softmax_cross_entropy_holds_component_by_component(label: int) -> None:
    route = derive("softmax_cross_entropy")
    logits = np.random.default_rng(label).normal(0, 2, CLASSES)
    z = sympy.symbols(f"z:{CLASSES}", real=True)
    q = [sympy.Integer(k == label) for k in range(CLASSES)]
    numbers = dict(zip(z, map(number, logits), strict=True))
    steps = {part.key: part for part in route.parts}
    assert check(steps["gradient"], {"z": z, "q": q, "y": label}, CLASSES, lambda x: x.subs(numbers)) > 30
    assert check(steps["overflow"], {"z": z}, CLASSES, lambda x: x.subs(numbers)) > 20
    p = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(lossary.softmax_cross_entropy.grad(logits[None], [label])[0], p - np.eye(CLASSES)[label])


@pytest.mark.parametrize(("logit", "label"), [(-2.5, 0), (-0.5, 1), (0.75, 0), (3.0, 1)])
def test_the_gradient_of_sigmoid_cross_entropy_holds(logit: float, label: int) -> None:
    route = derive("binary_cross_entropy_with_logits")
    z = sympy.Symbol("z", real=True)
    for part in route.parts[1:]:
        assert check(part, {"z": z, "y": sympy.Integer(label)}, 1, lambda x: x.subs(z, number(logit))) >= 3
    expected = 1 / (1 + np.exp(-logit)) - label
    np.testing.assert_allclose(lossary.binary_cross_entropy_with_logits.grad([logit], [float(label)]), expected)


@pytest.mark.parametrize("name", ["squared_error", "poisson_nll", "binary_cross_entropy", "softmax_cross_entropy"])
def test_a_wrong_sign_anywhere_is_found(name: str) -> None:
    """The check itself is worth something: whichever equation is negated, it fails."""
    part = derive(name).parts[0]
    names, _, _ = sampled(name, 0)
    for at, step in enumerate(part.steps):
        if step.key in ("conclusion", "mean", "density"):
            continue  # the first two define a name that nothing later contradicts
        wrong = replace(step, right=f"-({step.right})")
        with pytest.raises(AssertionError):
            check(replace(part, steps=(*part.steps[:at], wrong, *part.steps[at + 1 :])), names, SAMPLES)


@pytest.mark.parametrize("name", DERIVED)
def test_each_sentence_has_its_chinese_and_each_equation_its_latex(name: str) -> None:
    chinese = derive(name, "zh")
    for english, part in zip(derive(name).parts, chinese.parts, strict=True):
        assert is_chinese(part.title)
        assert is_chinese(part.text) or not english.text
        for step, original in zip(part.steps, english.steps, strict=True):
            assert is_chinese(step.sentence), step.sentence
            assert step.latex == original.latex
            assert step.latex.count("{") == step.latex.count("}")
            assert "\\" not in step.plain, step.plain
            assert "{" not in step.plain, step.plain


def test_the_plain_lines_read_as_a_teacher_writes_them() -> None:
    gaussian = {step.key: step.plain for step in derive("squared_error").parts[0].steps}
    assert gaussian["product"] == "L = ∏ᵢ₌₁^N fᵢ"
    assert gaussian["logarithm"] == "log(L) = ∑ᵢ₌₁^N log(fᵢ)"
    assert gaussian["log density"] == "log(fᵢ) = -(ŷᵢ - yᵢ)² / (2 σ²) - log(2 π σ²) / 2"
    softmax = {step.key: step.plain for step in derive("softmax_cross_entropy").parts[1].steps}
    assert softmax["other"] == "∂pᵢ/∂zⱼ = -pᵢ pⱼ (i ≠ j)"
    assert softmax["gradient"] == "∂ℓ/∂zⱼ = pⱼ - qⱼ"


def test_a_loss_without_derivation_is_refused_with_what_is_known() -> None:
    with pytest.raises(ParameterError, match=r"dice: it has no derivation\. Losses with one: absolute_error"):
        derive("dice")
    with pytest.raises(ParameterError, match="ctc: it has no derivation; its likelihood in a sentence"):
        derive("ctc")
    with pytest.raises(ParameterError, match="lang: got 'zg', expected one of en, zh"):
        derive("mse", "zg")  # type: ignore[arg-type]


def test_the_command_derives_and_wants_no_arrays() -> None:
    shown = CliRunner().invoke(app, ["explain", "交叉熵", "--derive", "--lang", "zh"])
    assert shown.exit_code == 0
    assert "最大化似然，等价于最小化这个损失。" in shown.output
    assert "∂ℓ/∂zⱼ = pⱼ - qⱼ" in shown.output
    refused = CliRunner().invoke(app, ["explain", "mse", "--derive", "--pred", "1"])
    assert refused.exit_code != 0


def test_a_derivation_is_shown_in_a_notebook_with_its_formulas() -> None:
    route: Derivation = derive("mae")
    assert "$$\\ell_{i} = \\left|\\hat y_{i} - y_{i}\\right|$$" in route._repr_markdown_()


@pytest.mark.parametrize("name", DERIVED)
def test_the_latex_of_a_derivation_can_be_set(name: str) -> None:
    """Braces are paired, and no symbol has two subscripts."""
    for part in derive(name).parts:
        for step in part.steps:
            depth = list(itertools.accumulate((c == "{") - (c == "}") for c in step.latex))
            assert min(depth, default=0) >= 0 and (not depth or depth[-1] == 0), step.latex
            assert not re.search(r"_(\{[^{}]*\}|\w)_", step.latex), step.latex
