"""Class weights from class counts: inverse frequency, its square root, or the effective number of examples."""

from __future__ import annotations

from typing import Any

from lossary import numerics
from lossary.backends import registry
from lossary.errors import DomainError, ParameterError, ShapeError, real_number, suggest

SCHEMES = ("inverse", "square root", "effective")


def class_weights(counts: Any, scheme: str = "inverse", *, beta: float = 0.999) -> Any:
    """Return one weight per class, for `class_weight` or, indexed by the labels, for `weight`.

    Parameters
    ----------
    counts: how many examples each class has, for instance ``numpy.bincount(labels)``; a class without any gets 0.
    scheme: ``"inverse"``: proportional to 1/n (scikit-learn's "balanced"); ``"square root"``: to 1/sqrt(n), the
        gentler choice; ``"effective"``: to the inverse effective number of examples (Cui 2019), with `beta` in [0, 1).

    The weights average to 1 over the examples for ``"inverse"`` as in scikit-learn, and over the classes otherwise.

    Raises `DomainError` for a count that is negative, infinite or NaN, and for counts that are all 0.

    >>> class_weights([90, 10]).round(3)
    array([0.556, 5.   ])
    >>> class_weights([90, 10], "effective", beta=0.99).round(3)
    array([0.277, 1.723])
    """
    xp = registry.namespace(counts)
    given = xp.asarray(counts, "counts")
    n = xp.cast(given, xp.compute_dtype([given]))
    expected = "expected one number >= 0 per class (numpy.bincount(labels))"
    if n.ndim != 1 or not n.shape[0]:
        raise ShapeError(f"counts: got shape {tuple(n.shape)}, {expected}")
    wrong = ~((n >= 0) & xp.isfinite(n))
    if wrong.any():
        raise DomainError(f"counts: got {float(n[wrong][0]):g}, {expected}")
    if not (n > 0).any():
        raise DomainError(f"counts: all {n.shape[0]} are 0: no class has an example, so no class can be weighted")
    if scheme not in SCHEMES:
        raise ParameterError(f"scheme: got {scheme!r}, expected one of {', '.join(SCHEMES)}{suggest(scheme, SCHEMES)}")
    beta = real_number("beta", beta, "a number in [0, 1)", lambda x: 0 <= x < 1)
    with xp.quiet():
        if scheme == "effective":
            return numerics.effective_number_weights(xp, n, beta)
        share = n / xp.max(n)  # the weights depend on the ratios of the counts alone
        one = xp.ones_like(n)
        if scheme == "inverse":
            return numerics.divide(xp, xp.sum(share) * one, share) / (n > 0).sum()
        root = numerics.divide(xp, one, xp.sqrt(share))
        return numerics.divide(xp, root * n.shape[0], xp.sum(root))
