"""Negative sampling: draw classes by frequency, and correct their scores by the log of their expected counts.

`lossary.sampled_softmax` and `lossary.noise_contrastive_estimation` see a few sampled classes instead of all. Each
score is corrected by the log of the expected count of its class among the sampled ones, which only the sampler knows.
Indices may be NumPy arrays or torch tensors; sampling itself is done in NumPy, from a seed.

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
from lossary.toolkit._arrays import first_array

__all__ = ["Draw", "LogUniform", "expected_count", "without_hits"]


def expected_count(probability: Any, tries: int, *, unique: bool = True) -> Any:
    """Return the expected count of a class in a sample of `tries` draws, given its probability in a single draw.

    With `unique` a class is kept once, however often it was drawn: ``1 - (1 - p)^tries``. Otherwise ``tries p``.

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
    """A sample of classes, in the order in which they were drawn.

    `tries` is the number of draws: larger than the number of classes in the sample where duplicates were dropped.
    """

    classes: Any
    tries: int
    unique: bool
    sampler: LogUniform

    def log_expected(self, classes: Any) -> Any:
        """Return the log of the expected count of each of the given classes in such a sample."""
        xp = registry.namespace(classes)
        with xp.quiet():
            count = expected_count(self.sampler.probability(classes), self.tries, unique=self.unique)
            return xp.log(xp.asarray(count, "count"))[()]


@dataclass(frozen=True)
class LogUniform:
    """A sampler for classes sorted by decreasing frequency, as TensorFlow's `log_uniform_candidate_sampler`.

    Class k has a probability proportional to ``log((k + 2) / (k + 1))``. That is Zipf's law, which word frequencies
    follow, in a form whose inverse is known: the log of ``k + 1`` is nearly uniform.

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
        rank = xp.cast(given, xp.compute_dtype([given])) + 1
        return (xp.log1p(1 / rank) / float(np.log1p(self.classes)))[()]

    def draw(self, count: int, rng: np.random.Generator | int, *, unique: bool = True) -> Draw:
        """Return `count` classes, distinct ones with `unique`, drawn by a NumPy generator or from a seed.

        Distinct classes are drawn until there are enough, so `count` should be well below the number of classes.

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
        ranks = np.exp(rng.random(count) * np.log1p(self.classes))
        return np.minimum(ranks.astype(np.int64) - 1, self.classes - 1)  # rounding must not pass the last class


def without_hits(log_expected: Any, drawn: Any, labels: Any) -> Any:
    """Return the corrections of sampled classes, ``inf`` where a sampled class is the label: that masks it.

    `log_expected` and `drawn` hold one entry per sampled class, shape ``(n,)`` if a batch shares them and ``(..., n)``
    if each example has its own; `labels` are the true classes, shape ``(...)``.

    >>> without_hits([-1.0, -2.0, -3.0], [5, 0, 7], [0, 5])
    array([[-1., inf, -3.],
           [inf, -2., -3.]])
    """
    xp = registry.namespace(log_expected, drawn, labels)
    like = first_array(log_expected, drawn, labels)
    corrections = xp.asarray(log_expected, "log_expected", like)
    candidates, true = xp.asarray(drawn, "drawn", like), xp.asarray(labels, "labels", like)
    if corrections.shape != candidates.shape or candidates.ndim not in (1, true.ndim + 1):
        raise ShapeError(
            f"without_hits: log_expected has shape {tuple(corrections.shape)}, drawn {tuple(candidates.shape)} and "
            f"labels {tuple(true.shape)}; expected (n), (n) and any labels, or (..., n), (..., n) and (...)"
        )
    corrections = xp.cast(corrections, xp.compute_dtype([corrections]))
    return xp.where(candidates == true[..., None], xp.zeros_like(corrections) + xp.inf, corrections)
