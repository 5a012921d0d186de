"""Parameters in the units of the target keep that meaning whatever scaling training uses."""

from __future__ import annotations

import numpy as np
import pytest

import lossary
from lossary.catalogue import loss

NUMERIC = [
    name
    for name in lossary.names(tasks="regression")
    if any(domain.kind == "interval" for domain, _ in lossary.get(name).parameter_domains.values())
]


@pytest.mark.parametrize("name", NUMERIC)
def test_the_record_says_which_parameters_are_in_the_units_of_the_target(name: str) -> None:
    """Dollars or cents: with its parameters converted, too, a loss has the same gradient but for one factor."""
    record = lossary.get(name)
    pred, target = np.array([0.5, -1.25, 2.0, 3.5, 0.4]), np.array([1.0, 0.75, -0.5, 3.0, 0.1])
    params = {
        key: 0.3 if record.defaults[key] is None or not record.parameter_domains[key][0].contains(0.7) else 0.7
        for key, (domain, per_class) in record.parameter_domains.items()
        if domain.kind == "interval" and not per_class
    }
    converted = {key: 100 * value if key in record.target_units else value for key, value in params.items()}
    before, after = record.grad(pred, target, **params), record.grad(100 * pred, 100 * target, **converted)
    factor = np.abs(after).max() / np.abs(before).max()
    np.testing.assert_allclose(after, factor * before, rtol=1e-9)


@pytest.mark.parametrize(
    ("units", "message"),
    [(("dleta",), "'dleta' is no parameter; it has delta"), (("flat",), "only a number has a unit")],
)
def test_a_unit_of_what_has_none_is_refused(units: tuple[str, ...], message: str) -> None:
    enter = loss(
        family="regression",
        signature="(),()->()",
        input="real",
        target="real",
        formula="x",
        parameters={"delta": "(0, inf)", "flat": "flag"},
        target_units=units,
    )

    def unit_example(xp, pred, target, *, delta=1.0, flat=False):  # type: ignore[no-untyped-def]
        yield pred - target

    with pytest.raises(ValueError, match=message):
        enter(unit_example)
