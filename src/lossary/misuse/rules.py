"""Misuse rules: heuristics on a sample of a call's values, which report that another input was probably intended.

A value outside a domain is rejected by `lossary.evaluate.checks`. A finding here is merely *suspicious*: every number
is admissible, and together they suggest a mistake, such as probabilities where the loss takes logits. Every rule
applies by facts of the record (input convention, signature, names of the arrays), none names a loss, and none warns on
thin evidence: a false alarm is a defect.

>>> import numpy as np, lossary
>>> z = np.random.default_rng(0).normal(size=(64, 10))
>>> softmax = np.exp(z) / np.exp(z).sum(1, keepdims=True)
>>> sample = sample_call(lossary.softmax_cross_entropy, (softmax, z.argmax(1)), {})
>>> [finding.rule for finding in applied(sample)]
['probabilities for logits']
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from lossary.backends import registry
from lossary.backends.numpy import namespace as numpy
from lossary.catalogue import Loss, related
from lossary.catalogue.domains import parse_domain
from lossary.catalogue.signatures import Core
from lossary.errors import DomainError
from lossary.evaluate import checks
from lossary.evaluate.call import Call
from lossary.evaluate.transforms import values

Array = Any


@dataclass(frozen=True)
class MisuseFinding:
    """One thing that is wrong, or looks wrong, with a call.

    With `refused`, a call of the catalogue raises it; other findings are warnings.
    """

    rule: str
    argument: str
    sentence: str
    refused: bool = False

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True)
class Sample:
    """A sample of a call: some examples, in float64, the batch flattened to one axis.

    `words` are the caller's names of the loss and its arrays: a drop-in of torch calls `logits` its input. `earlier`
    sums up the samples of the same call site before.
    """

    loss: Loss
    alternative: int
    cores: Sequence[Core]
    arrays: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]
    examples: Array
    batch: tuple[int, ...]
    params: Mapping[str, Any]
    coarse: bool  # numbers of half precision
    words: Mapping[str, str] = field(default_factory=dict)
    earlier: Past | None = None

    @property
    def first(self) -> str:
        """The name of the array that is predicted."""
        return self.loss.arguments[0]

    def finding(self, rule: str, argument: str, text: str) -> MisuseFinding:
        """Return a finding whose sentence uses the caller's names of the loss and the argument."""
        name = self.words.get("", self.loss.name)
        return MisuseFinding(rule, argument, f"{name}: {self.word(argument)}: {text}")

    def word(self, argument: str) -> str:
        """The caller's name of an argument."""
        return self.words.get(argument, argument)

    def position(self, row: int) -> str:
        """Return the index in the batch of an example of the sample."""
        at = [int(i) for i in np.unravel_index(int(self.examples[row]), self.batch)] if self.batch else [0]
        return str(at[0]) if len(at) == 1 else str(tuple(at))


@dataclass
class Past:
    """Summary of the samples of one call site: shows whether training has moved the values."""

    samples: int = 0
    values: int = 0
    outside: bool = False
    first: tuple[float, float] = (0.0, 0.0)

    def add(self, x: Array) -> None:
        """Add the values of one call."""
        if not x.size or self.outside:
            return
        self.outside = not (x.min() >= 0 and x.max() <= 1)
        if not self.samples:
            self.first = float(x.mean()), float(x.std())
        self.samples += 1
        self.values += x.size


Rule = Callable[[Sample], MisuseFinding | None]

# --- the rules ------------------------------------------------------------------------------------------------------


def _distinct(rows: Array) -> Array:
    """Return the informative rows: not one-hot, not constant, and not all the same row."""
    trivial = ((rows == 0) | (rows == 1)).all(1) | (rows == rows[:, :1]).all(1)
    telling = rows[~trivial]
    return telling[:0] if len(telling) and (telling == telling[0]).all() else telling


def _probabilities_for_logits(sample: Sample) -> MisuseFinding | None:
    rows = sample.arrays[sample.first]
    if len(rows) < 3 or rows.shape[1] < 2 or not (rows.min() >= 0 and rows.max() <= 1):
        return None
    off = np.abs(rows.sum(1) - 1).max()
    if off > (8e-3 if sample.coarse else 1e-5):
        return None
    telling = _distinct(rows)
    few = 16 if sample.coarse else 8
    # A few rows of round numbers may be logits typed by hand; a softmax gives no round numbers.
    if len(telling) < 3 or (len(telling) < few and np.allclose(telling * 1000, np.rint(telling * 1000), atol=1e-6)):
        return None
    if len(telling) < few and sample.coarse:
        return None
    classes = rows.shape[1]
    floor = softmax_floor(sample.loss, classes, sample.params, sample.arrays)
    shown = np.array2string(rows[0, :4], precision=4, separator=", ")[:-1] + (", ...]" if classes > 4 else "]")
    return sample.finding(
        "probabilities for logits",
        sample.first,
        f"got shape {sample.shapes[sample.first]} with rows in [0, 1] that sum to 1 (row {sample.position(0)} is "
        f"{shown}): these are probabilities, and the loss applies softmax itself"
        + (f". It cannot fall below {floor:.3f} for {classes} classes" if floor > 0.0005 else "")
        + ". Pass the logits, as they are before the softmax",
    )


def softmax_floor(loss: Loss, classes: int, params: Mapping[str, Any], arrays: Mapping[str, Array]) -> float:
    """Return the value of a loss of logits if it is given certain and right probabilities instead.

    >>> import lossary
    >>> round(softmax_floor(lossary.softmax_cross_entropy, 10, {}, {}), 3)
    1.461
    """
    numbers = {k: v for k, v in params.items() if isinstance(v, (int, float)) and k in loss.defaults}
    others = [np.ones((1, classes)) if name not in arrays else arrays[name][:1] for name in loss.arguments[2:]]
    certain = np.eye(1, classes)
    return float(values(loss, (certain, np.zeros(1, int), *others), numbers, check=False)[0])


def _one_class(sample: Sample) -> MisuseFinding | None:
    rows, target = sample.arrays[sample.first], sample.arrays[sample.loss.arguments[1]]
    if rows.shape[-1] != 1 or len(rows) < 3:
        return None
    return sample.finding(
        "one class",
        sample.first,
        f"got shape {sample.shapes[sample.first]}, a single class: its probability is 1 whatever the logit, so the "
        f"loss is 0 and nothing is learned. For a yes/no target use {related.for_yes_no(sample.loss)}, or give two "
        "classes" + (f" (the labels run up to {target.max():g})" if target.size and target.max() > 0 else ""),
    )


_EDGE = 0.05


def _sigmoid_before(sample: Sample) -> MisuseFinding | None:
    x = sample.arrays[sample.first].ravel()
    past = sample.earlier
    if past is not None:
        past.add(x)
    if x.size < 64 or not (x.min() >= 0 and x.max() <= 1) or (x == 0).mean() > 0.02:
        return None  # exact zeros come from a rectifier; a sigmoid hardly ever gives one
    bounded = _bimodal(x) or _bounded(x) or (past is not None and _trained_inside(past, x))
    if not bounded:
        return None
    return sample.finding(
        "sigmoid before",
        sample.first,
        f"got shape {sample.shapes[sample.first]} with all {x.size} sampled values in [0, 1] (from "
        f"{x.min():.4g} to {x.max():.4g}): these look like probabilities, and the loss applies the sigmoid itself. "
        + _two_floors(sample)
        + "Pass the logits, as they are before the sigmoid",
    )


def _two_floors(sample: Sample) -> str:
    """Return a sentence on the least value of the loss if it is given probabilities, for each of the two targets."""
    loss = sample.loss
    if loss.signatures[0].rank or len(loss.arguments) != 2:
        return ""
    no = min(d for d in (0.0, -1.0) if loss.domain(loss.arguments[1]).contains(d))
    numbers = {k: v for k, v in sample.params.items() if isinstance(v, (int, float)) and k in loss.defaults}
    yes, against = values(loss, (np.array([1.0, 0.0]), np.array([1.0, no])), numbers, check=False)
    return f"For a target of 1 it cannot fall below {yes:.4f}, for {no:g} not below {against:.4f}. "


def _bimodal(x: Array) -> bool:
    """Whether values crowd at both ends of [0, 1], as confident probabilities do; evenly spread ones do not."""
    low, high = float((x < _EDGE).mean()), float((x > 1 - _EDGE).mean())
    if min(low, high) < 0.02 or low + high < (0.3 if x.size < 256 else 0.2):
        return False
    return len(np.unique(x)) > 8 and not (x == 1).mean() > 0.5


def _bounded(x: Array) -> bool:
    """Whether values are so spread over [0, 1] that unbounded ones would have left it by now."""
    if x.size < 1000 or 2 * len(np.unique(x)) < x.size:  # rounded numbers are not distributed like measured ones
        return False
    mean, spread = float(x.mean()), float(x.std())
    if not spread:
        return False
    beyond = 0.5 * (math.erfc(mean / spread / math.sqrt(2)) + math.erfc((1 - mean) / spread / math.sqrt(2)))
    if beyond * x.size < 20:
        return False
    ordered = np.sort(x)
    even = (ordered - ordered[0]) / (ordered[-1] - ordered[0])  # the distribution function of uniform random numbers
    apart = float(np.abs(even - np.linspace(0, 1, x.size)).max())
    # A bell-shaped distribution differs from a uniform one over the same interval.
    return apart * math.sqrt(x.size) > 3.0


def _trained_inside(past: Past, x: Array) -> bool:
    """Whether training has moved the values of a call site considerably, and never out of [0, 1]."""
    if past.outside or past.samples < 32 or past.values < 4096:
        return False
    mean, spread = past.first
    return abs(float(x.mean()) - mean) > 0.1 or float(x.std()) > 1.5 * spread + 0.05


def _swapped_with_labels(sample: Sample) -> MisuseFinding | None:
    first, second = (sample.arrays[name].ravel() for name in sample.loss.arguments[:2])
    if first.size < 8 or first.size != second.size or not ((first == 0) | (first == 1)).all():
        return None
    between = (second > 0) & (second < 1)
    if not 0.05 < first.mean() < 0.95 or between.mean() < 0.9 or len(np.unique(second)) < 8:
        return None
    one, other = (sample.word(name) for name in sample.loss.arguments[:2])
    return sample.finding(
        "swapped",
        sample.first,
        f"got only 0 and 1, and {other} numbers between them (first {second[0]:.4g}): the arguments look swapped. "
        f"The order is {one}, {other}",
    )


def _rates_for_log_rates(sample: Sample) -> MisuseFinding | None:
    rate, count = (sample.arrays[name].ravel() for name in sample.loss.arguments[:2])
    if rate.size < 32 or rate.size != count.size or not rate.min() >= 0:
        return None
    mean, expected = float(rate.mean()), float(count.mean())
    with np.errstate(over="ignore"):
        claimed = float(np.exp(rate).mean())
    # Rates of the right size are no log-rates: the exponentials of those would be far off.
    if not (expected > 0 and 0.5 * expected <= mean <= 2 * expected and claimed > 10 * expected):
        return None
    spread = float(rate.std() * count.std())
    agreement = float(((rate - mean) * (count - expected)).mean()) / spread if 0 < spread < math.inf else 0.0
    if agreement < 0.3 or agreement * math.sqrt(rate.size) < 6:  # numbers of that size may be no rates of these counts
        return None
    form = related.bounded_form(sample.loss)
    instead = "log_input=False" if sample.words else f"use {form}, which takes rates" if form else ""
    return sample.finding(
        "rates for log-rates",
        sample.first,
        f"got shape {sample.shapes[sample.first]} of numbers >= 0 with mean {mean:.4g}, where the target has mean "
        f"{expected:.4g}: these look like rates, and the loss takes their logarithm (exp of them has mean "
        f"{claimed:.3g}). Pass log(rate)" + (f", or {instead}" if instead else ""),
    )


def _deviation_for_variance(sample: Sample) -> MisuseFinding | None:
    pred, target, var = (sample.arrays[name].ravel() for name in sample.loss.arguments[:3])
    if var.size < 256 or not var.min() > 0 or pred.size != var.size or target.size != var.size:
        return None
    square = (pred - target) ** 2
    positive = square > 0
    x, y = np.log(var[positive]), np.log(square[positive])
    spread = float(x.std())
    if len(x) < 256 or not 0 < spread < math.inf:
        return None
    exponent = float(((x - x.mean()) * (y - y.mean())).mean()) / spread**2
    error = 2.3 / (spread * math.sqrt(len(x)))  # the logarithm of a squared Gaussian has deviation 2.2
    ratio = float((square / var**2).mean())
    if not (1.6 < exponent < 2.4 and (exponent - 1) / error > 6 and 0.7 < ratio < 1.4):
        return None
    return sample.finding(
        "deviation for variance",
        "var",
        f"the squared errors grow with the square of it (slope {exponent:.2f} in logarithms, expected 1; mean of "
        "error^2 "
        f"/ {sample.word('var')}^2 is {ratio:.2f}): these look like standard deviations. Pass their square",
    )


def _collapsed(sample: Sample) -> MisuseFinding | None:
    names = [n for n, core in zip(sample.loss.arguments, sample.cores, strict=True) if core and core[-1] == "d"]
    points = [sample.arrays[name].reshape(-1, sample.arrays[name].shape[-1]) for name in names]
    rows = np.concatenate(points)
    if min(map(len, points)) < 8 or not rows.shape[1] or not np.isfinite(rows).all():
        return None
    size = float(np.abs(rows[0]).max())
    if float(np.abs(rows - rows[0]).max()) > 1e-6 * size:
        return None
    return sample.finding(
        "collapsed",
        sample.first,
        f"all {len(rows)} sampled embeddings are the same point, so every distance is 0: they have "
        "collapsed (or the network gives a constant), and there is no gradient to part them. Lower the learning "
        "rate, mine semi-hard examples instead of the hardest, or normalise the embeddings",
    )


def _no_positives(sample: Sample) -> MisuseFinding | None:
    labels = sample.arrays[sample.loss.arguments[1]]
    kept = labels[np.isfinite(labels)]
    if len(kept) < 4 or len(np.unique(kept)) < len(kept):
        return None
    return sample.finding(
        "no positives",
        sample.loss.arguments[1],
        f"got {len(kept)} different labels: no example shares its label with another, so no anchor has a positive and "
        "nothing is learned. Draw batches with several examples of a class, or give two views of an example one label",
    )


@cache
def rules(loss: Loss, alternative: int) -> tuple[Rule, ...]:
    """Return the rules that apply to a loss, derived from its record."""
    return tuple(_applying(loss, alternative))


def _applying(loss: Loss, alternative: int) -> Iterator[Rule]:
    if loss.coupling is not None:
        cores = loss.coupling.signatures[0].inputs
        if loss.input == "embedding" and cores[0][-1:] == ("d",):
            yield _collapsed
            if len(cores) > 1 and loss.domain(loss.arguments[1]).kind == "integer":
                yield _no_positives
        return
    cores = loss.signatures[alternative].inputs
    second = loss.argument_domains[alternative][1] if len(cores) > 1 else None
    if loss.input == "logit" and cores[0] == ("c",) and second is not None:
        if second.kind in ("index", "simplex"):
            yield _probabilities_for_logits
        if second.kind == "index":
            yield _one_class
        if second.kind in ("interval", "set"):
            yield _sigmoid_before
    if loss.input in ("logit", "probability") and not cores[0] and second is not None and second.bounded:
        if loss.input == "logit":
            yield _sigmoid_before
        if second.text == "[0, 1]":
            yield _swapped_with_labels
    if loss.input == "log-rate" and second is not None:
        yield _rates_for_log_rates
    if "var" in loss.arguments:
        yield _deviation_for_variance
    if loss.input == "embedding" and loss.family == "metric" and cores[0] == ("d",):
        yield _collapsed


# --- sampling --------------------------------------------------------------------------------------------------------

ROWS, VALUES, ENTRIES = 64, 2048, 16384


def outside(call: Call) -> list[MisuseFinding]:
    """Return the errors that a call of the catalogue would raise: the first value of each array outside its domain.

    Then come the conditions on all arrays together.
    """
    anything = [parse_domain("real") for _ in call.domains]
    alone = replace(call.loss, conditions={})
    asked = [
        (name, replace(call, loss=alone, domains=[d if i == at else anything[i] for i, d in enumerate(call.domains)]))
        for at, name in enumerate(call.loss.arguments)
    ]
    out_of_bounds = len(call.loss.arguments) > 1 and call.labels_outside() is not None
    for expected, condition in call.loss.conditions.items():
        if not out_of_bounds:  # conditions depend on labels, and must not be evaluated on invalid ones
            one = replace(call.loss, conditions={expected: condition})
            asked.append((call.loss.arguments[1], replace(call, loss=one, domains=anything)))
    found = []
    for name, part in asked:
        try:
            replace(part, check=True).check_values()
        except DomainError as refusal:
            found.append(MisuseFinding("outside the domain", name, str(refusal), refused=True))
    return found


def findings(call: Call) -> list[MisuseFinding]:
    """Return the findings of the rules in a prepared call, reading every example."""
    sample = sample_call(call.loss, call.given, call.params, call.weights, full=True)
    return [] if sample is None else applied(sample)


def refused(sample: Sample) -> Iterator[MisuseFinding]:
    """Yield the errors that the catalogue would raise for a drop-in's arrays, if `words` has a name for them."""
    for at, name in enumerate(sample.loss.arguments):
        allowed, x = sample.loss.argument_domains[sample.alternative][at], sample.arrays[name]
        if name not in sample.words or not allowed.bounded or allowed.kind == "index":  # torch itself rejects these
            continue
        rows = np.arange(len(x))
        if allowed.kind == "simplex":  # a row of zeros marks padding
            rows = np.flatnonzero(x.any(-1))
        width = x.shape[-1]
        try:
            shown = x[rows] if sample.batch or not len(rows) else x[0]
            checks.domain(numpy, sample.loss, name, allowed, shown, None, width, sample.params.get("ignore_index"))
        except DomainError as refusal:
            domains = sample.loss.argument_domains[sample.alternative]
            hint = checks.swapped(numpy, sample.loss, list(sample.arrays.values()), domains)
            for name_here, word in sample.words.items():
                hint = re.sub(rf"\b{name_here}\b", word, hint) if name_here else hint
            yield sample.finding("outside the domain", name, _replaced(sample, name, str(refusal), rows) + hint)


def _replaced(sample: Sample, name: str, sentence: str, rows: Array) -> str:
    """Return an error about the sample with the indices of the examples in the batch."""
    text = sentence.removeprefix(f"{sample.loss.name}: {name}: ")
    text = re.sub(r"\bindex (\d+)", lambda at: f"index {sample.position(int(rows[int(at[1])]))}", text)
    text = re.sub(r"\bindex \((\d+), ", lambda at: f"index ({sample.position(int(rows[int(at[1])]))}, ", text)
    text = re.sub(r"\brow (\d+)", lambda at: f"row {sample.position(int(rows[int(at[1])]))}", text)
    sampled = math.prod(sample.batch) > len(sample.examples)
    return re.sub(r" and (\d+) more", rf" and \1 more of {len(rows)} sampled" if sampled else r" and \1 more", text)


def applied(sample: Sample) -> list[MisuseFinding]:
    """Return the findings of the rules in a sample."""
    return [found for rule in rules(sample.loss, sample.alternative) if (found := rule(sample)) is not None]


def sample_call(
    loss: Loss,
    given: Sequence[Any],
    params: Mapping[str, Any],
    weight: Any = None,
    mask: Any = None,
    full: bool = False,
    earlier: Past | None = None,
    words: Mapping[str, str] | None = None,
) -> Sample | None:
    """Sample a call: kept examples, evenly spread over the batch; None where reading them would be expensive.

    `full` reads all of them, from any device. Raises the errors of a call whose shapes do not fit.
    """
    held = dict(params)
    listed = checks.bind_arrays(loss, given, held)
    if any(x is None for x in listed):
        return None
    arrays = [x if hasattr(x, "shape") and hasattr(x, "ndim") else np.asarray(x) for x in listed]
    coupled = loss.coupling is not None
    signatures = loss.coupling.signatures if loss.coupling else loss.signatures
    alternative, batch = checks.shapes(loss, signatures, arrays)
    cores = signatures[alternative].inputs
    if coupled:
        batch = tuple(arrays[0].shape[:1])
    cores_in = [core[1:] for core in cores] if coupled else cores  # the batch is a core dimension of a coupling
    entries = max(
        (math.prod(a.shape[a.ndim - len(c) :]) for a, c in zip(arrays, cores_in, strict=True) if c), default=1
    )
    limit = VALUES if entries == 1 else max(min(ROWS, ENTRIES // max(entries, 1)), 4)
    count = math.prod(batch)
    everything = full or coupled or count <= limit  # part of a batch does not show which examples have positives
    examples = np.arange(count) if everything else np.linspace(0, count - 1, limit).astype(np.intp)
    index = np.unravel_index(examples, batch) if batch else ()
    parts: list[Array] = []
    for array, core in zip(arrays, cores_in, strict=True):
        # One example is repeated for all.
        part = _read(array, () if array.ndim == len(core) else index, full)
        if part is None:
            return None
        parts.append(part if array.ndim > len(core) or not batch else np.broadcast_to(part, (count and 1, *part.shape)))
    coarse = any(
        p.dtype.kind == "f" and getattr(a.dtype, "itemsize", 8) < 4 for a, p in zip(arrays, parts, strict=True)
    )
    keep = _keep(loss, alternative, parts, held.get("ignore_index"), weight, mask, batch, index, len(examples), full)
    if keep is None or not keep.any():
        return None
    if not batch:
        parts = [part[None] for part in parts]
    chosen = [part if len(part) != len(keep) or keep.all() else part[keep] for part in parts]
    return Sample(
        loss=loss,
        alternative=alternative,
        cores=cores,
        arrays={name: np.asarray(x, np.float64) for name, x in zip(loss.arguments, chosen, strict=True)},
        shapes={name: tuple(a.shape) for name, a in zip(loss.arguments, arrays, strict=True)},
        examples=examples[keep],
        batch=batch,
        params=held,
        coarse=coarse,
        words=words or {},
        earlier=earlier,
    )


def _keep(
    loss: Loss,
    alternative: int,
    parts: Sequence[Array],
    ignore_index: Any,
    weight: Any,
    mask: Any,
    batch: tuple[int, ...],
    index: Any,
    count: int,
    full: bool,
) -> Array | None:
    """Return which examples of the sample are kept."""
    keep = np.ones(count, dtype=bool)
    for given in (weight, mask):
        if given is not None:
            read = _read(given if hasattr(given, "shape") else np.asarray(given), (), full)
            if read is None:
                return None
            keep &= np.broadcast_to(read, batch)[index].reshape(-1) != 0
    if ignore_index is not None:
        for part, domain in zip(parts, loss.argument_domains[alternative], strict=True):
            if domain.kind == "index" and part.shape[:1] == (count,) and part.ndim == 1:
                keep &= part != ignore_index
    return keep


def _read(x: Any, index: Any, full: bool) -> Array | None:
    """Return some examples of an array as a NumPy array; None where they are on a device, or hold no numbers yet."""
    found: Array | None = registry.namespace(x).sample(x, index, full)
    return found
