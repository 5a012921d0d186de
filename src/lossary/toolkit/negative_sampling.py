"""Drawing classes by frequency, and what their scores must be corrected by.

`lossary.sampled_softmax` and `lossary.noise_contrastive_estimation` see a few drawn classes in the place of all. Each
score is corrected by the logarithm of how often its class is expected among the drawn ones; that number belongs to the
sampler, so it is made here. Indices may be NumPy arrays or torch tensors; drawing itself is NumPy's, from a seed.

>>> import lossary
>>> rng = np.random.default_rng(0)
>>> hidden, weight, labels = rng.standard_normal((2, 8)), rng.standard_normal((1000, 8)), np.array([3, 0])
>>> drawn = LogUniform(1000).draw(20, rng)                       # the same twenty for the whole batch
>>> positive, negatives = (hidden * weight[labels]).sum(-1), hidden @ weight[drawn.classes].T
>>> corrections = without_hits(drawn.log_expected(drawn.classes), drawn.classes, labels)
>>> lossary.sampled_softmax(positive, negatives, drawn.log_expected(labels), corrections).shape
(2,)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.backends import registry
from lossary.errors import DomainError, ParameterError, ShapeError, digits, whole_number

__all__ = ["Draw", "LogUniform", "expected_count", "without_hits"]


def expected_count(probability: Any, tries: int, *, unique: bool = True) -> Any:
    """Return how often a class is expected in a sample, given the probability that a single draw is it.

    With `unique` every class counts once, however often it was drawn in so many `tries`: ``1 - (1 - p)^tries``.
    Otherwise ``tries p``.

    >>> expected_count(0.5, 2), expected_count(0.5, 2, unique=False)
    (np.float64(0.75), np.float64(1.0))
    """
    xp = registry.namespace(probability)
    p = xp.asarray(probability, "probability")
    p = xp.cast(p, xp.compute_dtype([p]))
    seen = xp.readable(p)
    if seen is not None and ((seen < 0) | (seen > 1)).any():
        wrong = seen[(seen < 0) | (seen > 1)].flat[0]
        raise DomainError(f"expected_count: probability: got {digits(wrong, 0.0, 1.0)}, expected numbers in [0, 1]")
    tries = whole_number("expected_count: tries", tries, "a whole number >= 0", lambda n: n >= 0)
    if not unique:
        return (tries * p)[()]
    with xp.quiet():
        return (-xp.expm1(tries * xp.log1p(-p)))[()]


@dataclass(frozen=True, eq=False)
class Draw:
    """Classes that were drawn, in the order in which they appeared.

    `tries` is how many draws it took: more than there are classes, where each may appear only once.
    """

    classes: Any
    tries: int
    unique: bool
    sampler: LogUniform

    def log_expected(self, classes: Any) -> Any:
        """Return the logarithm of how often each of the given classes is expected in such a sample."""
        xp = registry.namespace(classes)
        with xp.quiet():
            count = expected_count(self.sampler.probability(classes), self.tries, unique=self.unique)
            return xp.log(xp.asarray(count, "count"))[()]


@dataclass(frozen=True)
class LogUniform:
    """The sampler for classes sorted by falling frequency.

    Class k is drawn in proportion to ``log((k + 2) / (k + 1))``. That is Zipf's law, by which the words of a language
    go, in a form that is drawn at once: the logarithm of ``k + 1`` is nearly uniform. TensorFlow's
    `log_uniform_candidate_sampler` is this.

    >>> LogUniform(3).probability([0, 1, 2]).round(4)
    array([0.5   , 0.2925, 0.2075])
    """

    classes: int

    def __post_init__(self) -> None:
        whole_number("LogUniform: classes", self.classes, "a whole number >= 1", lambda n: n >= 1)

    def probability(self, classes: Any) -> Any:
        """Return the probability that a single draw is each of the given classes."""
        xp = registry.namespace(classes)
        given = xp.asarray(classes, "classes")
        seen = xp.readable(given)
        if seen is not None and not ((seen >= 0) & (seen < self.classes)).all():
            wrong = seen[~((seen >= 0) & (seen < self.classes))].flat[0]
            raise DomainError(f"classes: got {wrong}, expected indices in {{0, ..., {self.classes - 1}}}")
        place = xp.cast(given, xp.compute_dtype([given])) + 1
        return (xp.log1p(1 / place) / float(np.log1p(self.classes)))[()]

    def draw(self, count: int, rng: np.random.Generator | int, *, unique: bool = True) -> Draw:
        """Return `count` classes, different ones with `unique`, drawn with a generator of NumPy's or from a seed.

        Different ones are drawn until there are enough, so `count` should be well below the number of classes.

        >>> LogUniform(50_000).draw(8, 0).classes
        array([  983,    17,     0,  6629, 19453,   707,  2677,   357])
        """
        most = f" and at most the {self.classes} different classes that there are" if unique else ""
        count = whole_number(
            "LogUniform.draw: count",
            count,
            f"a whole number >= 0{most}",
            lambda n: n >= 0 and not (unique and n > self.classes),
        )
        try:
            rng = np.random.default_rng(rng)
        except (TypeError, ValueError):
            raise ParameterError(
                f"LogUniform.draw: rng: got {rng!r}, expected a generator of NumPy's or a whole number >= 0 as a seed"
            ) from None
        if not unique:
            return Draw(self._single_draws(count, rng), count, False, self)
        drawn = self._single_draws(count, rng)
        first = np.unique(drawn, return_index=True)[1]
        while len(first) < count:
            drawn = np.concatenate([drawn, self._single_draws(max(len(drawn), 16), rng)])
            first = np.unique(drawn, return_index=True)[1]
        first = np.sort(first)[:count]
        return Draw(drawn[first], int(first[-1]) + 1 if count else 0, True, self)

    def _single_draws(self, count: int, rng: np.random.Generator) -> Any:
        places = np.exp(rng.random(count) * np.log1p(self.classes))
        return np.minimum(places.astype(np.int64) - 1, self.classes - 1)  # rounding must not pass the last class


def without_hits(log_expected: Any, drawn: Any, labels: Any) -> Any:
    """Return the corrections of drawn classes, ``inf`` where the drawn class is the right one, which takes it out.

    `log_expected` and `drawn` hold one entry per drawn class, shape ``(n,)`` if a batch shares them and ``(..., n)``
    if each example has its own; `labels` are the right classes, shape ``(...)``.

    >>> without_hits([-1.0, -2.0, -3.0], [5, 0, 7], [0, 5])
    array([[-1., inf, -3.],
           [inf, -2., -3.]])
    """
    xp = registry.namespace(log_expected, drawn, labels)
    like = next((x for x in (log_expected, drawn, labels) if hasattr(x, "dtype")), None)
    corrections = xp.asarray(log_expected, "log_expected", like)
    candidates, right = xp.asarray(drawn, "drawn", like), xp.asarray(labels, "labels", like)
    if corrections.shape != candidates.shape or candidates.ndim not in (1, right.ndim + 1):
        raise ShapeError(
            f"without_hits: log_expected has shape {tuple(corrections.shape)}, drawn {tuple(candidates.shape)} and "
            f"labels {tuple(right.shape)}; expected (n), (n) and any labels, or (..., n), (..., n) and (...)"
        )
    corrections = xp.cast(corrections, xp.compute_dtype([corrections]))
    return xp.where(candidates == right[..., None], xp.zeros_like(corrections) + xp.inf, corrections)
