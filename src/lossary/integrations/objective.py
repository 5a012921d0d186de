"""What every booster asks of a loss: gradient and curvature, metric, initial score, and the inverse link.

`Objective` knows no booster. The adapters beside it translate calling conventions, and nothing else.

A booster fits a leaf by ``-sum(gradient) / (sum(curvature) + penalty)``. The second derivative is the right curvature
only where it is positive; `CURVATURES` lists what may stand in its place.

References: Friedman 2001, doi:10.1214/aos/1013203451, for gradient boosting; Hunter and Lange 2004, A tutorial on MM
algorithms, doi:10.1198/0003130042836, and Jaakkola and Jordan 2000, doi:10.1023/A:1008932416310, for majorizers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossary.backends import registry
from lossary.catalogue import Loss, get, names
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError

Array = NDArray[Any]

# ``curvature(prediction, target, gradient, hessian)``, arrays of one shape, returns numbers >= 0 of that shape.
CurvatureFunction = Callable[[Array, Array, Array, Array], Array]
Curvature = str | CurvatureFunction | None

CURVATURES = {
    "exact": "the second derivative, at least 1e-16: Newton's method, right for smooth convex losses",
    "expected": "the second derivative averaged over the targets that the prediction foretells (Fisher scoring): "
    "positive where the exact one depends on the target",
    "majorizer": "the curvature of a parabola above the loss that touches it at the prediction (MM): no leaf "
    "overshoots. For losses of the residual, gradient and curvature are in units of the mean curvature",
    "gradient": "the size of the gradient: a leaf moves by at most 1, whatever the loss",
}

TINY = 1e-16  # the least curvature
_NEAR = 0.05  # residuals below this share of their mean size count as that large: a kink has no parabola above it
_ROUNDED = 1e-4  # the same for smooth losses, where the second derivative is the limit and the quotient is rounding
_EDGE = 1e-6  # how far predictions are kept from the end of an open domain
_INPUTS = ("real", "logit", "score", "log-rate")


def refusal(loss: Loss) -> str:
    """Return why no booster or linear model can be fitted to a loss; an empty string where one can."""
    if loss.coupling is not None:
        return "compares the examples of a batch with each other, and a booster sees them one by one"
    if loss.optional:
        return "is for sequences"
    if "evaluation" in loss.properties:
        return "has no gradient to follow: it only measures"
    if len(loss.arguments) != 2 or loss.target is None or loss.wrt != loss.arguments[:1]:
        return f"takes {', '.join(loss.arguments)}, not one prediction and one target"
    if loss.unbounded_form:
        return f"takes {loss.input} values, and a booster predicts any number"
    rows = all(signature.inputs[0] == ("c",) for signature in loss.signatures)
    pointwise = loss.signature == "(),()->()"
    own = loss.input == loss.target and loss.domain(loss.arguments[0]).kind == "interval"
    if not (pointwise or rows) or not (loss.input in _INPUTS or own):
        return f"takes {loss.input} values, and a booster predicts any number"
    return ""


def serving() -> list[str]:
    """Return the names of the losses that can be an objective."""
    return [name for name in names() if not refusal(get(name))]


def _checked_loss(loss: Loss | str) -> Loss:
    loss = get(loss)
    why = refusal(loss)
    if why:
        alike = [name for name in serving() if get(name).family == loss.family] or serving()
        fitting = loss.unbounded_form or ", ".join(alike[:6])
        raise ArgumentError(f"{loss.name}: {why}; losses that fit: {fitting}")
    return loss


class Objective:
    """A loss as an objective: raw predictions, labels and weights in; gradient and curvature out.

    `classes` is the number of classes of a loss on rows, by default what the labels show. Predictions outside the open
    domain of a loss such as `msle` are taken at its edge.

    >>> objective = Objective("huber", delta=2.0)
    >>> objective.curvature
    'majorizer'
    """

    whole_rounds = True  # a call sees all rows of a boosting round, not some of them

    def __init__(
        self, loss: Loss | str, *, curvature: Curvature = None, classes: int | None = None, **params: Any
    ) -> None:
        found = _checked_loss(loss)
        self.loss: Loss = found.bind(**params) if params else found
        self.classes = classes
        self.rank = self.loss.signatures[0].rank  # 1 for a loss on rows
        self.domain = self.loss.domain(self.loss.arguments[0])
        self.curvature: str | CurvatureFunction = self._checked_curvature(curvature)

    # -- curvature -------------------------------------------------------------------------------------------------

    @property
    def _of_residuals(self) -> bool:
        return not self.rank and self.loss.input == "real"

    def default_curvature(self) -> str:
        """Return the curvature that trains: the exact one unless it vanishes or is negative somewhere."""
        vanishing = self.loss.degenerate_hessian or (self._of_residuals and "lipschitz" in self.loss.properties)
        if not vanishing:
            return "exact"
        if self._of_residuals:
            return "majorizer"
        return "expected" if self.domain.bounded and self.loss.derivatives > 1 else "gradient"

    def _checked_curvature(self, curvature: Curvature) -> str | CurvatureFunction:
        if curvature is None:
            return self.default_curvature()
        if callable(curvature):
            return curvature
        if curvature not in CURVATURES:
            raise ParameterError(f"curvature: got {curvature!r}, expected {', '.join(CURVATURES)} or a function")
        possible = self.possible_curvatures()
        if curvature not in possible:
            raise ParameterError(
                f"curvature: {self.loss.name} has no {curvature} curvature; it has {', '.join(possible)}"
            )
        return curvature

    def possible_curvatures(self) -> list[str]:
        """Return the names of the curvatures that the loss has."""
        twice = self.loss.derivatives > 1
        label = self.rank or self.loss.input in ("logit", "score")
        symmetric = {"symmetric", "smooth"} & self.loss.properties or self.loss.elicits not in ("", "mean")
        touching = self._of_residuals and (symmetric or "piecewise linear" in self.loss.properties)
        bounded = label and {"convex", "smooth"} <= self.loss.properties and self.loss.input == "logit"
        mean = twice and self.loss.link is not None and (self.loss.input != "real" or self.loss.constant_hessian)
        holds = {"exact": twice, "expected": mean, "majorizer": touching or bounded, "gradient": True}
        return [name for name, has in holds.items() if has]

    def _curvature(self, raw: Array, target: Array, grad: Array, hess: Array) -> Array:
        rule = self.curvature
        if callable(rule):
            found = np.asarray(rule(raw, target, grad, hess), np.float64)
            if found.shape != grad.shape:
                raise ShapeError(f"curvature: got shape {found.shape}, expected {grad.shape}, one for each gradient")
        elif rule == "exact":
            found = hess
        elif rule == "gradient":
            found = np.abs(grad)
        elif rule == "expected":
            found = self._expected(raw)
        else:
            found = self._majorizer(raw, target, grad, hess)
        return np.maximum(found, TINY)

    def _expected(self, raw: Array) -> Array:
        link = self.loss.link
        assert link is not None
        mean = np.asarray(link.inverse(registry.namespace(raw), raw))
        if self.rank and self._target_domain.kind != "index":  # a label for each column: their means are labels, too
            return self._hess(raw, mean)
        if self.rank:
            labels = np.zeros(raw.shape[:-1], np.int64)
            return np.asarray(sum(mean[..., k : k + 1] * self._hess(raw, labels + k) for k in range(raw.shape[-1])))
        if self.loss.input == "logit":
            one = np.ones_like(raw)
            zero = -one if self._target_domain.values == (-1.0, 1.0) else np.zeros_like(raw)
            return np.asarray(mean * self._hess(raw, one) + (1 - mean) * self._hess(raw, zero))
        return self._hess(raw, mean)  # the Hessian is affine in the target

    def _majorizer(self, raw: Array, target: Array, grad: Array, hess: Array) -> Array:
        if self.rank:  # row sums of the sizes of the whole Hessian (Gershgorin), as XGBoost has them for softmax
            return 2 * hess
        # The parabola that touches the loss at a point and at its mirror image: around the target, or around 0.
        centre = target if self._of_residuals else np.zeros_like(raw)
        away = raw - centre
        size = np.abs(away)
        smooth = "smooth" in self.loss.properties
        near = (float(size.mean()) if self._of_residuals else 1.0) * (_ROUNDED if smooth else _NEAR) or TINY
        distance = np.where(size < near, near, size)
        if "symmetric" in self.loss.properties:
            bend = np.abs(grad) / distance
        else:
            mirrored = self._grad(centre - away, target)
            bend = np.abs(grad - mirrored) / (2 * distance)
        return np.asarray(np.where(size < near, np.maximum(bend, hess), bend))

    # -- labels ----------------------------------------------------------------------------------------------------

    @property
    def _target_domain(self) -> Any:
        return self.loss.domain(self.loss.arguments[1])

    def target(self, labels: Any, raw_shape: tuple[int, ...] | None = None) -> Array:
        """Return labels as the loss takes them, checked: class indices as integers, two classes 0, 1 as -1, 1."""
        name = self.loss.name
        given = np.asarray(labels)
        if given.dtype.kind not in "fiub":
            raise ArgumentError(f"{name}: labels: got {given.dtype}, expected numbers; encode classes as 0, 1, 2, ...")
        found = given.astype(np.float64)
        allowed = self._target_domain
        if self.rank:
            classes = self.classes or (raw_shape[-1] if raw_shape and len(raw_shape) > 1 else None)
            if found.ndim == 2 and allowed.kind != "index":
                return found
            self._within(found, allowed, classes)
            return found.astype(np.int64)
        if allowed.values == (-1.0, 1.0) and np.isin(found, (0.0, 1.0)).all():
            return 2.0 * found - 1.0
        self._within(found, allowed, None)
        return found

    def _within(self, found: Array, allowed: Any, classes: int | None) -> None:
        if not found.size:
            raise ArgumentError(f"{self.loss.name}: labels: got none, expected at least one")
        if allowed.kind == "set":
            wrong = found[~np.isin(found, allowed.values)]
        elif allowed.kind in ("index", "count"):
            wrong = found[~((found >= 0) & (found == np.floor(found)) & (found < (classes or np.inf)))]
        else:
            ends = np.array([found.min(), found.max()])  # NaN where there is one
            wrong = ends[[not (np.isfinite(end) and allowed.contains(float(end))) for end in ends]]
        if len(wrong):
            expected = allowed.text.replace("c-1", str(classes - 1)) if classes else allowed.text
            raise DomainError(f"{self.loss.name}: labels: got {wrong[0]:g}, expected values in {expected}")

    def weights(self, weight: Any, rows: int) -> Array | None:
        """Return sample weights, checked; None where there are none."""
        if weight is None or np.size(weight) == 0:
            return None
        found = np.asarray(weight, np.float64).reshape(-1)
        if found.shape != (rows,):
            raise ShapeError(f"{self.loss.name}: weight: got {found.size} numbers, expected {rows}, one for each row")
        if not (found >= 0).all() or not np.isfinite(found).all():
            wrong = found[~(np.isfinite(found) & (found >= 0))][0]
            raise DomainError(f"{self.loss.name}: weight: got {wrong:g}, expected finite numbers >= 0")
        return found

    # -- evaluation ------------------------------------------------------------------------------------------------

    def _inputs(self, raw: Any, labels: Any) -> tuple[Array, Array]:
        raw = np.ascontiguousarray(raw, np.float64)
        if self.rank and raw.ndim != 2:
            raise ShapeError(
                f"{self.loss.name}: predictions: got shape {raw.shape}, expected (rows, classes); "
                "tell the booster the number of classes"
            )
        target = self.target(labels, raw.shape)
        if not self.rank and raw.ndim == 2:
            if target.size == raw.size:
                target = target.reshape(raw.shape)
            elif target.size == len(raw):
                target = np.repeat(target.reshape(-1, 1), raw.shape[1], 1)
        if len(target) != len(raw):
            raise ShapeError(f"{self.loss.name}: labels: got {len(target)} rows, expected {len(raw)}")
        if not self.rank and target.shape != raw.shape:
            target = target.reshape(raw.shape)
        if self.domain.bounded:
            low = self.domain.low if self.domain.closed[0] else self.domain.low + _EDGE
            high = self.domain.high if self.domain.closed[1] else self.domain.high - _EDGE
            raw = np.clip(raw, low, high)
        return raw, target

    def _grad(self, raw: Array, target: Array) -> Array:
        return np.asarray(self.loss.value_and_grad(raw, target, check=False)[1])

    def _hess(self, raw: Array, target: Array) -> Array:
        return np.asarray(self.loss.hess(raw, target, check=False))

    def grad_hess(self, raw: Any, labels: Any, weight: Any = None) -> tuple[Array, Array]:
        """Return gradient and curvature of the shape of the raw predictions, both multiplied by the weights once."""
        raw, target = self._inputs(raw, labels)
        weights = self.weights(weight, len(raw))
        needs = callable(self.curvature) or self.curvature in ("exact", "majorizer")
        if needs and self.loss.derivatives > 1:
            grad, hess = map(np.asarray, self.loss.grad_hess(raw, target, check=False))
        else:
            grad = self._grad(raw, target)
            hess = np.zeros_like(grad)
        bend = self._curvature(raw, target, grad, hess)
        if self.whole_rounds and self._of_residuals and self.curvature == "majorizer":
            # In units of their mean, so that penalties and least weights of leaves count rows, as for squared errors.
            size = bend.mean(0)
            grad, bend = grad / size, bend / size
        if weights is not None:
            by_row = weights if raw.ndim == 1 else weights[:, None]
            grad, bend = grad * by_row, bend * by_row
        return grad, bend

    def values(self, raw: Any, labels: Any) -> Array:
        """Return the loss of each row; several outputs of a pointwise loss are averaged."""
        raw, target = self._inputs(raw, labels)
        found = np.asarray(self.loss.value(raw, target, check=False))
        return found.mean(-1) if not self.rank and raw.ndim == 2 else found

    def mean(self, raw: Any, labels: Any, weight: Any = None) -> float:
        """Return the mean loss, ``sum(w * v) / sum(w)``: the evaluation metric."""
        found = self.values(raw, labels)
        weights = self.weights(weight, len(found))
        if weights is None:
            return float(found.mean())
        total = float(weights.sum())
        return float(weights @ found) / total if total else 0.0

    # -- what a training starts from, and what its predictions mean -----------------------------------------------

    def initial_score(self, labels: Any, weight: Any = None) -> Any:
        """Return the raw prediction of the least mean loss: a number, or one number for each class or output."""
        target = self.target(labels)
        weights = self.weights(weight, len(target))
        if not self.rank and target.ndim == 2:
            return np.array([self._start(target[:, k], weights, (k, target.shape[1])) for k in range(target.shape[1])])
        if self.rank and not self.loss.elicits and "convex" not in self.loss.properties:
            return self._of_shares(target, weights)
        try:
            return self.loss.initial_score(target, weight=weights, **({"classes": self.classes} if self.rank else {}))
        except ArgumentError:
            return np.zeros(self.classes or int(target.max()) + 1)  # a margin has no best constant: classes alike

    def _of_shares(self, target: Array, weights: Array | None) -> Array:
        """Return the raw predictions that foretell the shares of the classes; of scores, classes alike."""
        shares = np.bincount(target, weights=weights, minlength=self.classes or 0)
        link = self.loss.link
        if link is None:
            return np.zeros(len(shares))
        shares = np.maximum(shares / shares.sum(), np.finfo(np.float64).eps)
        return np.asarray(link.link(registry.namespace(shares), shares))

    def _start(self, target: Array, weights: Array | None, place: tuple[int, int]) -> float:
        column, outputs = place
        per_output = {k: float(v[column]) for k, v in self.loss.bound.items() if np.shape(v) == (outputs,)}
        loss = self.loss.bind(**per_output) if per_output else self.loss
        return float(loss.initial_score(target, weight=weights))

    def start(self, labels: Any, weight: Any = None, rows: int | None = None) -> Array:
        """Return the initial score repeated for each row: ``base_margin``, ``init_score`` or ``baseline``."""
        score = np.asarray(self.initial_score(labels, weight))
        return np.tile(score, (len(labels) if rows is None else rows, *[1] * score.ndim))

    def inverse(self, raw: Any) -> Array:
        """Return raw predictions in the units of the target: probabilities, rates; scores stay as they are."""
        raw = np.asarray(raw, np.float64)
        link = self.loss.link
        return raw if link is None else np.asarray(link.inverse(registry.namespace(raw), raw))
