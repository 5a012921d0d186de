"""Reference predictors for a loss call: constant predictions, and the lowest mean loss that the targets allow.

Everything follows from the record: the input convention gives the neutral prediction and the range to search for the
best constant, the domain of the target gives the class frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossary.catalogue import Loss
from lossary.catalogue.domains import Domain
from lossary.evaluate.call import Call

Array = Any

_TARGETS = 20_000  # targets that trivial predictors are fitted to


@dataclass(frozen=True)
class ReferencePredictors:
    """Reference predictors for one call. `weights` are those of the examples, `params` as the caller gave them."""

    call: Call
    weights: Array
    params: Mapping[str, Any]

    @property
    def loss(self) -> Loss:
        """The loss of the call."""
        return self.call.loss

    @property
    def kept(self) -> Array:
        """Marks the examples with a weight other than 0."""
        return self.weights != 0

    @property
    def target(self) -> int | None:
        """The index of the target among the arrays, or None."""
        if self.loss.target is None or self.loss.coupling is not None:
            return None
        names = self.loss.arguments
        return next((names.index(n) for n in ("target", "labels") if n in names), None)

    def neutral_cost(self, labels: Array) -> Array | None:
        """Return the loss of the neutral prediction for each label, relative to the mean over the labels."""
        core = np.shape(self.call.given[0])[-1:] if self.call.signature.inputs[0] else ()
        neutral = self.loss.undecided(*core)
        if neutral is None or self.target != 1 or not self._only_pred_and_target_vary or not len(labels):
            return None
        cost = self._scored(np.full((len(labels), *core), neutral), labels)
        middle = float(cost.mean())
        return cost / middle if middle and np.isfinite(cost).all() else None

    def _scored(self, pred: Array, target: Array) -> Array:
        """Return the loss of predictions for targets, with all other arguments as in the call."""
        others = [np.asarray(a) for a in self.call.given[2:]]  # arrays without a batch axis, shared by all examples
        held = dict(self.params)
        for name in self.loss.arguments:
            held.pop(name, None)
        held.pop("ignore_index", None)
        return np.asarray(self.loss.value(pred, target, *others, check=False, **held), dtype=np.float64)

    @property
    def _only_pred_and_target_vary(self) -> bool:
        """Whether only prediction and target vary from one example to the next."""
        cores = self.call.signature.inputs[2:]
        return all(a.ndim == len(core) for a, core in zip(self.call.given[2:], cores, strict=True))

    def _reference(self) -> tuple[Array, Array] | None:
        """Return a sample of the targets with nonzero weight, and their weights, with a single batch axis."""
        at = self.target
        if at != 1 or not self._only_pred_and_target_vary or self.call.given[0].size == 0 or not self.kept.any():
            return None
        core = self.call.signature.inputs[1]
        target = np.asarray(self.call.given[1])
        target = np.broadcast_to(target, self.call.batch + target.shape[target.ndim - len(core) :])
        target = target.reshape(-1, *target.shape[len(self.call.batch) :])[self.kept]
        weights = self.weights[self.kept]
        if len(target) > _TARGETS:
            chosen = np.linspace(0, len(target) - 1, _TARGETS).astype(int)
            target, weights = target[chosen], weights[chosen]
        return target, weights / weights.sum()

    def floor(self) -> float | None:
        """Return the lowest mean loss that these targets allow, or None if it is unknown."""
        reference = self._reference()
        if reference is None or (any(self.call.signature.inputs[2:]) and self.loss.input != "logit"):
            return None
        target, weights = reference
        allowed = self.loss.domain(self.loss.arguments[0], self._alternative)
        if self.call.signature.rank == 0 and len(self.loss.arguments) == 2:
            distinct, where = np.unique(target, return_inverse=True)
            if len(distinct) > 2000:
                return _finite(float(self._best_each(distinct[:: len(distinct) // 1000], allowed).mean()))
            return _finite(float((self._best_each(distinct, allowed)[where.reshape(-1)] * weights).sum()))
        perfect = self._optimum_candidates(target)
        if not perfect or self.call.params.get("soft_cap") is not None:  # a cap makes the optimum unreachable
            return None
        best = np.min([self._scored(p, target) for p in perfect], axis=0)
        return _finite(float((best * weights).sum()))

    @property
    def _alternative(self) -> int:
        return self.loss.signatures.index(self.call.signature)

    def _best_each(self, targets: Array, allowed: Domain) -> Array:
        """Return the minimum over all predictions, for each target of a pointwise loss."""
        guesses = np.concatenate([_grid(self.loss.input, allowed, targets)[:, None] + 0 * targets, targets[None]])
        guesses = np.where(np.isfinite(guesses), guesses, 0.0)
        return self._narrowed(guesses, targets, lambda values: np.argmin(values, axis=0))

    def _narrowed(self, guesses: Array, targets: Array, best: Callable[[Array], Array], rounds: int = 5) -> Array:
        allowed = self.loss.domain(self.loss.arguments[0], self._alternative)
        columns = np.arange(len(targets))
        lowest = np.full(len(targets), math.inf)
        for _ in range(rounds):
            inside = _clipped(guesses, allowed)
            values = self._scored(inside, np.broadcast_to(targets, inside.shape))
            values = np.where(np.isnan(values), math.inf, values)
            at = best(values)
            lowest = np.minimum(lowest, values[at, columns])
            order = np.argsort(inside, axis=0)
            rank = np.argmax(order == at, axis=0)
            sorted_guesses = np.take_along_axis(inside, order, axis=0)
            low = sorted_guesses[np.maximum(rank - 1, 0), columns]
            high = sorted_guesses[np.minimum(rank + 1, len(inside) - 1), columns]
            guesses = low + np.linspace(0, 1, 41)[:, None] * (high - low)
        return lowest

    def _optimum_candidates(self, target: Array) -> list[Array]:
        """Return candidate predictions that include the optimum, for losses on rows."""
        cores = self.call.signature.inputs
        kind = self.loss.input
        if self.loss.signatures[self._alternative].rank > 1 or cores[0] not in (("c",), ("n",)):
            return []
        if cores[1]:
            one_hot = target.astype(float)
        else:
            one_hot = (target[:, None] == np.arange(self.call.given[0].shape[-1])).astype(float)
        simplex = cores[0] == ("c",) and (not cores[1] or self._target_domain.kind == "simplex")
        if kind == "probability":
            certain = bool(((one_hot == 0) | (one_hot == 1)).all())
            return [one_hot] if simplex or certain else []
        if kind == "log-probability":
            return [np.log(one_hot)]
        if kind in ("logit", "score"):
            sharp = [t * (2 * one_hot - 1) for t in (1.0, 3.0, 10.0, 30.0, 100.0)]
            if not simplex and kind == "logit":
                sharp.append(np.clip(np.log(one_hot) - np.log1p(-one_hot), -100.0, 100.0))
            if simplex and kind == "logit":
                smoothing = float(self.call.params.get("label_smoothing") or 0.0)
                smooth = one_hot * (1 - smoothing) + smoothing / one_hot.shape[-1]
                if "proper" not in self.loss.properties and not ((smooth == 0) | (smooth == 1)).all():
                    return []  # only a proper loss has its minimum where the prediction equals the target
                if (
                    weight := self.call.params.get("class_weight")
                ) is not None:  # the minimum is at the weighted frequencies
                    smooth = smooth * weight
                    smooth = smooth / np.maximum(smooth.sum(-1, keepdims=True), 1e-30)
                sharp.append(np.log(np.maximum(smooth, 1e-30)) * float(self.call.params.get("temperature") or 1.0))
            return sharp
        return []

    @property
    def _target_domain(self) -> Domain:
        return self.loss.domain(self.loss.arguments[1], self._alternative)

    def trivial(self) -> Mapping[str, float]:
        """Return the mean loss of constant predictors, by their name."""
        if self.loss.coupling is not None and self.loss.input == "embedding":
            given = self.call.given
            alike = np.ones_like(np.asarray(given[0], dtype=np.float64))
            value = self.loss.value(alike, *map(np.asarray, given[1:]), reduction="mean", check=False, **self._held())
            return {"all embeddings alike": float(value)}
        reference = self._reference()
        if reference is None or (len(self.loss.arguments) > 2 and self.call.signature.rank == 0):
            return {}
        target, weights = reference
        if self.call.signature.rank == 0:
            return {"best constant": self._best_constant(target, weights)}
        found = {}
        for name, row in self._priors(target, weights):
            scores = self._scored(np.broadcast_to(row, (len(target), *row.shape)), target)
            found[name] = float((scores * weights).sum())
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def _held(self) -> dict[str, Any]:
        return {k: v for k, v in self.params.items() if k not in self.loss.arguments}

    def _best_constant(self, target: Array, weights: Array) -> float:
        allowed = self.loss.domain(self.loss.arguments[0], self._alternative)
        distinct, where = np.unique(target, return_inverse=True)
        if len(distinct) > 500:  # 500 bins are accurate enough for a constant
            edges = np.quantile(target, np.linspace(0, 1, 501))
            where = np.asarray(np.clip(np.searchsorted(edges, target, side="right") - 1, 0, 499))
            counts = np.bincount(where, minlength=500)
            sums = np.bincount(where, weights=target.astype(float), minlength=500)
            distinct = np.where(counts > 0, sums / np.maximum(counts, 1), 0.0)
        share = np.bincount(where.reshape(-1), weights=weights, minlength=len(distinct))
        used = share > 0
        distinct, share = distinct[used], share[used]
        guesses = np.concatenate([_grid(self.loss.input, allowed, distinct), distinct[:: max(len(distinct) // 100, 1)]])
        lowest = math.inf
        for _ in range(5):
            inside = np.unique(_clipped(guesses, allowed))
            table = self._scored(
                inside[:, None] + 0 * distinct, np.broadcast_to(distinct, (len(inside), len(distinct)))
            )
            means = (np.where(share > 0, table, 0.0) * share).sum(1)
            means = np.where(np.isnan(means), math.inf, means)
            at = int(np.argmin(means))
            lowest = min(lowest, float(means[at]))
            guesses = np.linspace(inside[max(at - 1, 0)], inside[min(at + 1, len(inside) - 1)], 41)
        return lowest

    def _priors(self, target: Array, weights: Array) -> Iterator[tuple[str, Array]]:
        """Yield constant rows: every class alike, and the class frequencies."""
        width = self.call.given[0].shape[-1]
        neutral = self.loss.undecided(width)
        if neutral is None or self.call.signature.inputs[0] != ("c",):
            return
        yield "every class alike", np.full(width, neutral)
        if self.call.signature.inputs[1]:
            often = (weights[:, None] * target).sum(0)
        else:
            inside = (target >= 0) & (target < width)
            often = np.bincount(target[inside].astype(int), weights=weights[inside], minlength=width)
        if self._target_domain.kind in ("index", "simplex"):
            often = np.maximum(often, 1e-12) / max(often.sum(), 1e-12)
            row = {"probability": often, "log-probability": np.log(often), "logit": np.log(often)}.get(self.loss.input)
        else:
            often = np.clip(often, 1e-12, 1 - 1e-12)
            row = np.log(often / (1 - often)) if self.loss.input == "logit" else None
        if row is not None:
            yield "class frequencies", row


def _grid(convention: str, allowed: Domain, targets: Array) -> Array:
    """Return a grid of predictions to start a search from."""
    low, high = float(targets.min(initial=0.0)), float(targets.max(initial=0.0))
    reach = 2 * (high - low) + 1
    if convention in ("logit", "score", "log-rate"):
        return 40 * np.sinh(np.linspace(-6, 6, 241)) / math.sinh(6)
    if math.isfinite(allowed.low) and math.isfinite(allowed.high):
        return np.linspace(allowed.low, allowed.high, 241)
    begin = allowed.low if math.isfinite(allowed.low) else low - reach
    end = allowed.high if math.isfinite(allowed.high) else high + reach
    return np.linspace(begin, end, 241)


def _clipped(guesses: Array, allowed: Domain) -> Array:
    """Clip guesses to a domain, excluding open ends."""
    low = allowed.low if allowed.closed[0] or allowed.low == -math.inf else np.nextafter(allowed.low, math.inf)
    high = allowed.high if allowed.closed[1] or allowed.high == math.inf else np.nextafter(allowed.high, -math.inf)
    return np.clip(guesses, low, high) if allowed.kind == "interval" else guesses


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
