"""Class weights from class counts."""

from __future__ import annotations

from typing import Any

from lossary import _dispatch, numerics
from lossary.errors import DomainError, ParameterError, suggest

SCHEMES = ("inverse", "square root", "effective")


def class_weights(counts: Any, scheme: str = "inverse", *, beta: float = 0.999) -> Any:
    """Return one weight per class, for `class_weight` or, indexed by the labels, for `weight`.

    Parameters
    ----------
    counts: how many examples each class has, for instance ``numpy.bincount(labels)``; a class without any gets 0.
    scheme: ``"inverse"``: proportional to 1/n (scikit-learn's "balanced"); ``"square root"``: to 1/sqrt(n), the
        gentler choice; ``"effective"``: to the inverse effective number of examples (Cui 2019), with `beta` in [0, 1).

    The weights average to 1 over the examples for ``"inverse"`` as in scikit-learn, and over the classes otherwise.

    >>> class_weights([90, 10]).round(3)
    array([0.556, 5.   ])
    >>> class_weights([90, 10], "effective", beta=0.99).round(3)
    array([0.277, 1.723])
    """
    xp = _dispatch.backend(counts)
    n = xp.cast(xp.asarray(counts, "counts"), xp.compute_dtype([xp.asarray(counts, "counts")]))
    if n.ndim != 1 or not (n >= 0).all():
        raise DomainError(f"counts: got shape {n.shape}, expected one number >= 0 per class (numpy.bincount(labels))")
    if scheme not in SCHEMES:
        raise ParameterError(f"scheme: got {scheme!r}, expected one of {', '.join(SCHEMES)}{suggest(scheme, SCHEMES)}")
    if not 0 <= beta < 1:
        raise ParameterError(f"beta: got {beta}, expected a number in [0, 1)")
    one = xp.ones_like(n)
    if scheme == "inverse":
        return numerics.divide(xp, xp.sum(n) * one, n) / (n > 0).sum()
    if scheme == "effective":
        return numerics.effective_number_weights(xp, n, beta)
    root = numerics.divide(xp, one, xp.sqrt(n))
    return numerics.divide(xp, root * n.shape[0], xp.sum(root))
