"""Hinge loss and L2 penalty, trained by `fit`, are scikit-learn's linear support vector machines."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "linear_svm.py"


def test_the_example_finds_what_scikit_learn_finds(capsys: pytest.CaptureFixture[str]) -> None:
    hinge, squared = runpy.run_path(str(EXAMPLE))["main"]()

    # A corner at the minimum, and steps that can only creep up to it: five digits of the objective, two of the weights.
    assert hinge.problem == "hinge and SVC"
    assert abs(hinge.excess) < 2e-5
    assert hinge.coefficient_error < 2e-2
    assert hinge.same_predictions > 0.998

    # Smooth: the same minimum to the precision of scikit-learn's own stopping rule.
    assert squared.problem == "squared_hinge and LinearSVC"
    assert abs(squared.excess) < 1e-10
    assert squared.coefficient_error < 1e-6
    assert squared.same_predictions == 1.0

    printed = capsys.readouterr().out
    assert "569 tumours" in printed and "hinge and SVC" in printed and printed.count("% same") == 2
