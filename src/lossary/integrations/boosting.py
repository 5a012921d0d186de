"""Losses as objectives of gradient boosters: XGBoost, LightGBM, CatBoost and scikit-learn's histogram boosting.

>>> import numpy as np
>>> from lossary import boosting
>>> objective = boosting.lightgbm("poisson_nll")
>>> gradient, hessian = objective(np.array([0.0, 3.0]), np.array([0.0, 0.0]), None)
>>> gradient, hessian
(array([ 1., -2.]), array([1., 1.]))
>>> round(float(objective.initial_score([0.0, 3.0])), 3)
0.405
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lossary.catalogue import Loss
from lossary.errors import require
from lossary.integrations.objective import CURVATURES, Array, Curvature, Objective

__all__ = ["CURVATURES", "Objective", "catboost", "hist_gradient_boosting", "lightgbm", "xgboost"]


class _DatasetObjective(Objective):
    """An objective that is called with labels and predictions, or, natively, with predictions and a data set."""

    def __call__(self, first: Any, second: Any, weight: Any = None) -> tuple[Array, Array]:
        """Return gradient and curvature; ``(predictions, dataset)`` or ``(labels, predictions, weight)``."""
        return self.grad_hess(*_unpacked(first, second, weight))


class XGBoostObjective(_DatasetObjective):
    """An objective for ``xgb.train(obj=..., custom_metric=....metric)`` and ``XGBRegressor(objective=...)``."""

    def __call__(self, first: Any, second: Any, sample_weight: Any = None) -> tuple[Array, Array]:
        """Return gradient and curvature; XGBoost looks for the name `sample_weight`."""
        return super().__call__(first, second, sample_weight)

    @property
    def __name__(self) -> str:
        """The name under which XGBoost logs a metric."""
        return self.loss.name

    def metric(self, first: Any, second: Any, sample_weight: Any = None) -> Any:
        """Return the mean loss: with its name for ``custom_metric``, alone for ``eval_metric``."""
        found = self.mean(*_unpacked(first, second, sample_weight))
        return (self.loss.name, found) if hasattr(second, "get_label") else found


class LightGBMObjective(_DatasetObjective):
    """An objective for ``params["objective"]``, ``feval=....metric`` and ``LGBMRegressor(objective=...)``."""

    def metric(self, first: Any, second: Any, weight: Any = None) -> tuple[str, float, bool]:
        """Return the name of the loss, its mean, and that less is better."""
        return self.loss.name, self.mean(*_unpacked(first, second, weight)), False


def _unpacked(first: Any, second: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Return predictions, labels and weights of either calling convention."""
    if not hasattr(second, "get_label"):
        return second, first, weight
    labels = np.asarray(second.get_label())
    if labels.ndim == 1 and np.ndim(first) == 2 and labels.size == np.size(first) and np.shape(first)[1] > 1:
        labels = labels.reshape(np.shape(first))
    return first, labels, second.get_weight()


class CatBoostObjective(Objective):
    """An objective for ``CatBoost({"loss_function": ..., "eval_metric": ....metric})``: derivatives are negated."""

    whole_rounds = False

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> list[tuple[float, float]]:
        """Return the negated gradient and curvature of each row."""
        grad, bend = self.grad_hess(np.asarray(approxes), np.asarray(targets), weights)
        return list(zip((-grad).tolist(), (-bend).tolist(), strict=True))

    def calc_ders_multi(self, approxes: Any, target: Any, weight: Any) -> tuple[list[float], list[list[float]]]:
        """Return the negated gradient of one row, and its negated curvature as a diagonal matrix."""
        grad, bend = self.grad_hess(np.asarray(approxes)[None], np.asarray(target).reshape(1, -1)[:, :1].reshape(-1))
        weight = 1.0 if weight is None else float(weight)
        return (-weight * grad[0]).tolist(), np.diag(-weight * bend[0]).tolist()

    @property
    def metric(self) -> CatBoostMetric:
        """The mean loss as an evaluation metric."""
        return CatBoostMetric(self)


class CatBoostMetric:
    """The mean of a loss, as CatBoost asks for a metric."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def evaluate(self, approxes: Any, target: Any, weight: Any) -> tuple[float, float]:
        """Return the weighted sum of the loss and the sum of the weights."""
        raw = np.asarray(approxes[0]) if len(approxes) == 1 else np.stack([np.asarray(a) for a in approxes], 1)
        values = self.objective.values(raw, np.asarray(target))
        weights = self.objective.weights(weight, len(values))
        weights = np.ones(len(values)) if weights is None else weights
        return float(weights @ values), float(weights.sum())

    def get_final_error(self, error: float, weight: float) -> float:
        """Return the mean."""
        return error / (weight + 1e-38)

    def is_max_optimal(self) -> bool:
        """Return that less is better."""
        return False


def xgboost(
    loss: Loss | str, *, curvature: Curvature = None, classes: int | None = None, **params: Any
) -> XGBoostObjective:
    """Return a loss as an objective of XGBoost, native or of its scikit-learn classes.

    Its `metric` is a ``custom_metric`` or ``eval_metric``, `initial_score(labels, weight)` a ``base_score``, `inverse`
    takes raw predictions to the units of the target. `curvature` is one of `CURVATURES` or a function.
    """
    return XGBoostObjective(loss, curvature=curvature, classes=classes, **params)


def lightgbm(
    loss: Loss | str, *, curvature: Curvature = None, classes: int | None = None, **params: Any
) -> LightGBMObjective:
    """Return a loss as an objective of LightGBM; `start(labels, weight)` is the ``init_score`` that it needs."""
    return LightGBMObjective(loss, curvature=curvature, classes=classes, **params)


def catboost(
    loss: Loss | str, *, curvature: Curvature = None, classes: int | None = None, **params: Any
) -> CatBoostObjective:
    """Return a loss as an objective of CatBoost; `start(labels, weight)` is the ``baseline`` of its pools."""
    return CatBoostObjective(loss, curvature=curvature, classes=classes, **params)


def hist_gradient_boosting(
    loss: Loss | str, *, curvature: Curvature = None, classes: int | None = None, **params: Any
) -> Any:
    """Return a loss for ``HistGradientBoostingRegressor(loss=...)`` or the classifier, initial score and link included.

    The protocol is scikit-learn's private one, tested with version 1.9.
    """
    require("sklearn", "sklearn")
    from lossary.integrations.sklearn_loss import HistGradientBoostingLoss

    return HistGradientBoostingLoss(Objective(loss, curvature=curvature, classes=classes, **params))
