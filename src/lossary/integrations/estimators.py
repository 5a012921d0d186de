"""scikit-learn: any loss as a scorer, and linear models that minimise any loss of the catalogue with a penalty."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from scipy import optimize
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import make_scorer
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from lossary.backends import registry
from lossary.catalogue import Loss, get
from lossary.errors import ArgumentError, ParameterError, real_number
from lossary.integrations.objective import Array, Objective
from lossary.training.solver import minimise

__all__ = ["LossClassifier", "LossRegressor", "scorer"]

ResponseMethod = Literal["predict", "predict_proba", "decision_function"]
_SMALLEST = float(np.finfo(np.float64).tiny)


# --- scorers --------------------------------------------------------------------------------------------------------


def scorer(
    loss: Loss | str, *, response_method: ResponseMethod | None = None, labels: Any = None, **params: Any
) -> Any:
    """Return a scorer, greater is better: the negated mean of a loss over what an estimator predicts.

    `response_method` is what the estimator is asked for: by default ``predict`` for numbers, ``predict_proba`` for
    losses of logits and probabilities, ``decision_function`` for losses of scores. Probabilities and means are taken
    to the input of the loss by its link. `labels` are the classes in order, by default those of the rows scored.

    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import LinearRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> X, y = load_diabetes(return_X_y=True)
    >>> found = cross_val_score(LinearRegression(), X, y, scoring=scorer("huber", delta=50.0), cv=3)
    >>> bool((found < 0).all())
    True
    """
    loss = get(loss)
    loss = loss.bind(**params) if params else loss
    if loss.coupling is not None or len(loss.arguments) != 2 or loss.target is None or loss.optional:
        raise ArgumentError(
            f"{loss.name}: takes {', '.join(loss.arguments)}; a scorer has the predictions and targets of single rows"
        )
    methods = {"logit": "predict_proba", "probability": "predict_proba", "log-probability": "predict_proba"}
    methods["score"] = "decision_function"
    method = response_method or methods.get(loss.input, "predict")
    return make_scorer(
        _mean_loss, response_method=method, greater_is_better=False, loss=loss, method=method, labels=labels
    )


def _mean_loss(
    y_true: Any, response: Any, *, loss: Loss, method: str, labels: Any = None, sample_weight: Any = None
) -> float:
    """Return the mean of a loss over the response of an estimator."""
    response = np.asarray(response, np.float64)
    rows = loss.signatures[0].rank > 0
    target: Array = np.asarray(y_true)
    categorical = loss.input in ("logit", "score", "probability", "log-probability")
    if categorical and target.ndim == 1 and (target.dtype.kind not in "f" or rows):
        classes = np.unique(target) if labels is None else np.asarray(labels)
        width = response.shape[1] if response.ndim == 2 else 2
        if len(classes) != width:
            raise ArgumentError(
                f"{loss.name}: the rows scored show {len(classes)} classes, but the estimator knows {width}; "
                "give the classes in order: scorer(..., labels=...)"
            )
        target = np.searchsorted(classes, target)
    if method == "predict_proba" and response.ndim == 2 and not rows and response.shape[1] == 2:
        response = response[:, 1]
    if rows and response.ndim == 1:  # two classes
        other = 1 - response if method == "predict_proba" else np.zeros_like(response)
        response = np.stack([other, response], -1)
    raw = response
    if method != "decision_function" and loss.link is not None:
        if loss.link.name != "identity":
            upper = 1 - 1e-16 if loss.link.name == "logit" else None
            raw = np.clip(raw, _SMALLEST, upper)
        raw = np.asarray(loss.link.link(registry.namespace(raw), raw))
    if not rows:
        target = target.astype(np.float64)
        if loss.domain(loss.arguments[1]).values == (-1.0, 1.0) and np.isin(target, (0.0, 1.0)).all():
            target = 2 * target - 1
    weight = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    return float(loss.value(raw, target, weight=weight, reduction="mean"))


# --- linear models --------------------------------------------------------------------------------------------------


class _LossLinearModel(BaseEstimator):  # type: ignore[misc]
    """A linear model: ``mean(loss(X @ coef + intercept, y)) + alpha * penalty(coef)`` at its minimum."""

    def __init__(
        self,
        loss: Loss | str,
        *,
        alpha: float,
        penalty: Loss | str | None,
        fit_intercept: bool,
        solver: str,
        max_iter: int,
        tol: float,
    ) -> None:
        self.loss = loss
        self.alpha = alpha
        self.penalty = penalty
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _solve(self, objective: Objective, X: Any, y: Array, weight: Array | None, outputs: int) -> tuple[Array, Array]:
        """Return coefficients of shape (features, outputs) and intercepts."""
        alpha = real_number("alpha", self.alpha, "a number >= 0", lambda a: a >= 0)
        if self.solver not in ("auto", "lbfgs", "newton"):
            raise ParameterError(f"solver: got {self.solver!r}, expected 'auto', 'lbfgs' or 'newton'")
        penalty = None if self.penalty is None or alpha == 0 else get(self.penalty)
        features = X.shape[1]
        weight = np.ones(len(y)) if weight is None else weight
        if not weight.sum() > 0:
            raise ArgumentError(f"{objective.loss.name}: sample_weight: got no weight above 0, expected at least one")
        share = weight / weight.sum()
        shaped = (features + 1, outputs)
        single = not objective.rank

        def raw_of(x: Array) -> Array:
            x = x.reshape(shaped)
            raw = np.asarray(X @ x[:-1]) + x[-1]
            return np.asarray(raw[:, 0] if single else raw)

        def whole(per_row: Array) -> Array:
            """Return the derivative in the coefficients of what has this derivative in the outputs."""
            per_row = per_row.reshape(len(per_row), -1)
            own = np.concatenate([np.asarray(X.T @ per_row), per_row.sum(0, keepdims=True)])
            if not self.fit_intercept:
                own[-1] = 0.0
            return own

        def value_and_grad(x: Array) -> tuple[float, Array]:
            values, slopes = objective.loss.value_and_grad(raw_of(x), y, weight=share, check=False)
            grad = whole(np.asarray(slopes))
            value = float(np.sum(values))
            if penalty is not None:
                coef = x.reshape(shaped)[:-1].ravel()
                extra, slope = penalty.value_and_grad(coef, reduction="sum")
                value += alpha * float(extra)
                grad[:-1] += alpha * np.asarray(slope).reshape(features, outputs)
            return value, np.asarray(grad.ravel())

        def hessian_times(x: Array, direction: Array) -> Array:
            hess = np.asarray(objective.loss.hess(raw_of(x), y, weight=share, check=False))
            moved = whole(hess * raw_of(direction))
            if penalty is not None:
                moved[:-1] += alpha * (
                    np.asarray(penalty.hess(x.reshape(shaped)[:-1].ravel(), reduction="sum")).reshape(features, outputs)
                    * direction.reshape(shaped)[:-1]
                )
            return np.asarray(moved.ravel())

        start = np.zeros(shaped)
        if self.fit_intercept:
            start[-1] = objective.initial_score(y, weight)
        kinks = {"piecewise linear", "partly linear"} & objective.loss.properties
        kinks |= {"penalty"} if penalty is not None and "smooth" not in penalty.properties else set()
        steep = max(1.0, float(np.abs(value_and_grad(start.ravel())[1]).max()))
        if self.solver == "newton":
            if kinks or objective.rank or objective.loss.derivatives < 2:
                raise ParameterError(
                    f"solver: got 'newton', but {objective.loss.name} with its penalty has kinks or couples "
                    "the outputs of a row; expected 'lbfgs' or 'auto'"
                )
            options = {"maxiter": self.max_iter, "gtol": self.tol * steep}
            found = optimize.minimize(
                value_and_grad, start.ravel(), jac=True, hessp=hessian_times, method="trust-ncg", options=options
            )
            x, converged, self.n_iter_ = found.x, _flat(found, steep), max(int(found.nit), 1)
        elif kinks:
            solution = minimise(value_and_grad, start.ravel(), self.max_iter)
            x, converged = solution.x, solution.converged
            self.n_iter_ = max(len(solution.values) - 1, 1)
        else:
            options = {"maxiter": self.max_iter, "gtol": self.tol * steep, "ftol": 1e-15, "maxcor": 30, "maxls": 50}
            found = optimize.minimize(value_and_grad, start.ravel(), jac=True, method="L-BFGS-B", options=options)
            x, converged, self.n_iter_ = found.x, found.status != 1, max(int(found.nit), 1)
        if not converged:
            warnings.warn(
                f"{type(self).__name__} stopped after {self.n_iter_} steps; scale the features or raise max_iter",
                ConvergenceWarning,
                stacklevel=3,
            )
        found_x = x.reshape(shaped)
        return np.asarray(found_x[:-1]), np.asarray(found_x[-1])

    def _raw(self, X: Any) -> Array:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=np.float64, reset=False)
        return np.asarray(X @ np.atleast_2d(self.coef_).T + self.intercept_)


def _flat(found: Any, steep: float) -> bool:
    """Whether Newton's method converged, or came as near as the rounding of the value lets it see."""
    return bool(found.success) or float(np.abs(found.jac).max()) <= 1e-6 * steep


class LossRegressor(RegressorMixin, _LossLinearModel):  # type: ignore[misc]
    """A linear regression under any loss of numbers, counts or amounts.

    Minimises ``sum(w * loss) / sum(w) + alpha * penalty(coef)``; the intercept has no penalty. `solver` is ``auto``
    (L-BFGS, with a line search for kinks where the loss has them), ``lbfgs`` or ``newton``.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = LossRegressor("pinball", alpha=0.0).fit(X, y)
    >>> bool(abs((y <= model.predict(X)).mean() - 0.5) < 0.05)
    True
    """

    def __init__(
        self,
        loss: Loss | str = "squared_error",
        *,
        alpha: float = 1e-4,
        penalty: Loss | str | None = "l2_penalty",
        fit_intercept: bool = True,
        solver: str = "auto",
        max_iter: int = 1000,
        tol: float = 1e-8,
    ) -> None:
        super().__init__(
            loss,
            alpha=alpha,
            penalty=penalty,
            fit_intercept=fit_intercept,
            solver=solver,
            max_iter=max_iter,
            tol=tol,
        )

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LossRegressor:
        """Fit the coefficients."""
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64, y_numeric=True)
        objective = Objective(self.loss)
        if objective.rank or objective.loss.input in ("logit", "score"):
            raise ArgumentError(f"{objective.loss.name}: is for classes; LossClassifier fits it")
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        y = objective.target(y)
        weight = objective.weights(weight, len(y))
        coef, intercept = self._solve(objective, X, y, weight, 1)
        self.objective_ = objective
        self.coef_, self.intercept_ = coef[:, 0], float(intercept[0])
        return self

    def predict(self, X: Any) -> Array:
        """Return predictions in the units of the target."""
        raw = self._raw(X)[:, 0]
        return self.objective_.inverse(raw)


def _has_probabilities(model: Any) -> bool:
    if get(model.loss).link is None:
        raise AttributeError(f"{get(model.loss).name} gives scores, not probabilities; use decision_function")
    return True


class LossClassifier(ClassifierMixin, _LossLinearModel):  # type: ignore[misc]
    """A linear classifier under any loss of labels; a loss of two classes is fitted one class against the rest.

    Minimises ``sum(w * loss) / sum(w) + alpha * penalty(coef)``; the intercept has no penalty.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> LossClassifier("generalized_cross_entropy").fit(X, y).score(X, y) > 0.95
    True
    """

    def __init__(
        self,
        loss: Loss | str = "softmax_cross_entropy",
        *,
        alpha: float = 1e-4,
        penalty: Loss | str | None = "l2_penalty",
        fit_intercept: bool = True,
        solver: str = "auto",
        max_iter: int = 1000,
        tol: float = 1e-8,
    ) -> None:
        super().__init__(
            loss,
            alpha=alpha,
            penalty=penalty,
            fit_intercept=fit_intercept,
            solver=solver,
            max_iter=max_iter,
            tol=tol,
        )

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LossClassifier:
        """Fit the coefficients."""
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float64)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__}: y holds one class only, {self.classes_[0]!r}; expected at least 2"
            )
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        loss = get(self.loss)
        rows = loss.signatures[0].rank > 0
        objective = Objective(self.loss, classes=len(self.classes_) if rows else None)
        if loss.input not in ("logit", "score") or (rows and "multiclass" not in loss.tasks):
            raise ArgumentError(f"{loss.name}: is not for one class per row; LossRegressor fits losses of numbers")
        weight = objective.weights(weight, len(labels))
        if rows:
            coef, intercept = self._solve(objective, X, objective.target(labels), weight, len(self.classes_))
        else:
            ones = [1] if len(self.classes_) == 2 else range(len(self.classes_))
            fits = [self._solve(objective, X, objective.target(labels == k), weight, 1) for k in ones]
            coef, intercept = (np.concatenate(parts, -1) for parts in zip(*fits, strict=True))
        self.objective_ = objective
        self.coef_, self.intercept_ = coef.T, intercept
        return self

    def decision_function(self, X: Any) -> Array:
        """Return scores: one for each class, or, of two classes, how far the second is ahead."""
        raw = self._raw(X)
        if len(self.classes_) > 2:
            return raw
        return raw[:, 0] if raw.shape[1] == 1 else np.asarray(raw[:, 1] - raw[:, 0])

    def predict(self, X: Any) -> Array:
        """Return the class of the highest score."""
        scores = self.decision_function(X)
        return np.asarray(self.classes_[scores.argmax(1) if scores.ndim == 2 else (scores > 0).astype(int)])

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities of the classes, by the inverse link of the loss."""
        raw = self._raw(X)
        found = self.objective_.inverse(raw)
        if found.shape[1] == 1:
            return np.concatenate([1 - found, found], 1)
        return np.asarray(found / found.sum(1, keepdims=True))
