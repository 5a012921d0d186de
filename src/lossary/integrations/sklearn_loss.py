"""A loss in the shape of scikit-learn's private `BaseLoss`, which its histogram boosting takes."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn._loss.loss import BaseLoss

from lossary.integrations.objective import Array, Objective


class _Link:
    """The inverse link of an objective, as scikit-learn calls it."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def inverse(self, raw: Any) -> Array:
        """Return raw predictions in the units of the target."""
        return self.objective.inverse(raw)


class HistGradientBoostingLoss(BaseLoss):  # type: ignore[misc]
    """The members of `BaseLoss` that `HistGradientBoostingRegressor` and the classifier use."""

    differentiable = True
    need_update_leaves_values = False
    approx_hessian = False
    constant_hessian = False

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.link = _Link(objective)
        self.is_multiclass = bool(objective.rank)
        self.n_classes = objective.classes if objective.rank else None

    def fit_intercept_only(self, y_true: Any, sample_weight: Any = None) -> Array:
        """Return the initial score, and learn the number of classes."""
        if self.is_multiclass and self.n_classes is None:
            self.n_classes = self.objective.classes = int(np.max(y_true)) + 1
        return np.asarray(self.objective.initial_score(y_true, sample_weight))

    def init_gradient_and_hessian(
        self, n_samples: int, dtype: Any = np.float64, order: Any = "F"
    ) -> tuple[Array, Array]:
        """Return empty arrays for gradient and Hessian."""
        shape = (n_samples, self.n_classes or 2) if self.is_multiclass else (n_samples,)
        return np.empty(shape, dtype, order), np.empty(shape, dtype, order)

    def gradient_hessian(
        self,
        y_true: Any,
        raw_prediction: Any,
        sample_weight: Any = None,
        gradient_out: Any = None,
        hessian_out: Any = None,
        n_threads: int = 1,
    ) -> tuple[Any, Any]:
        """Return gradient and curvature, in the given arrays where there are some."""
        grad, bend = self.objective.grad_hess(_rows(raw_prediction, self.is_multiclass), y_true, sample_weight)
        if gradient_out is None or hessian_out is None:
            return grad, bend
        gradient_out[...] = grad.reshape(gradient_out.shape)
        hessian_out[...] = bend.reshape(hessian_out.shape)
        return gradient_out, hessian_out

    def loss(
        self, y_true: Any, raw_prediction: Any, sample_weight: Any = None, loss_out: Any = None, n_threads: int = 1
    ) -> Array:
        """Return the loss of each row, multiplied by its weight."""
        values = self.objective.values(_rows(raw_prediction, self.is_multiclass), y_true)
        return values if sample_weight is None else values * np.asarray(sample_weight)

    def __call__(self, y_true: Any, raw_prediction: Any, sample_weight: Any = None, n_threads: int = 1) -> float:
        """Return the mean loss."""
        return self.objective.mean(_rows(raw_prediction, self.is_multiclass), y_true, sample_weight)

    def predict_proba(self, raw_prediction: Any) -> Array:
        """Return the probabilities of the classes; scores without a link are read as logits."""
        raw = np.asarray(raw_prediction)
        if self.is_multiclass:
            found = raw - raw.max(-1, keepdims=True)
            return np.asarray(np.exp(found) / np.exp(found).sum(-1, keepdims=True))
        raw = raw.reshape(-1)
        one = 1 / (1 + np.exp(-raw)) if self.objective.loss.link is None else self.objective.inverse(raw)
        return np.stack([1 - one, one], 1)


def _rows(raw: Any, multiclass: bool) -> Array:
    raw = np.asarray(raw)
    return np.asarray(raw if multiclass or raw.ndim == 1 else raw[:, 0])
