"""A linear support vector machine is a hinge loss and an L2 penalty, and nothing more.

The textbook draws two classes, a street between them, and asks for the widest street. With labels y of -1 and 1 and a
score f(x) = w x + b, scikit-learn states the same problem as

    minimise   1/2 |w|^2 + C * sum over n of max(0, 1 - y_n f(x_n))

where `C` is what it costs to stand in the street or on its wrong side. Divide by C N, for N examples, and it reads

    minimise   l2 * 1/2 |w|^2 + mean over n of hinge(f(x_n), y_n),       l2 = 1 / (C N)

which is what `lossary.training.fit` makes small: a network without a hidden layer, the loss ``hinge``, a penalty on the
weights and none on the bias. No quadratic programme, no kernel: gradient descent. This file solves both problems that
scikit-learn offers, the hinge and its square, on the same data as scikit-learn, and compares.

Run it:  python examples/linear_svm.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.svm import SVC, LinearSVC

import lossary
from lossary.training import SGD, Linear, Schedule, cosine, evaluate, fit

Array = Any

C = 1.0
EPOCHS = 4000


@dataclass(frozen=True)
class Comparison:
    """Two solutions of one problem: ours and scikit-learn's."""

    problem: str
    objective: float
    their_objective: float
    coefficient_error: float
    same_predictions: float

    @property
    def excess(self) -> float:
        """How far our objective lies above theirs, as a share of it; negative if below."""
        return self.objective / self.their_objective - 1


def load() -> tuple[Array, Array]:
    """Return the breast cancer data with standardised features and labels of -1 (malignant) and 1 (benign)."""
    X, benign = load_breast_cancer(return_X_y=True)
    return (X - X.mean(axis=0)) / X.std(axis=0), 2.0 * benign - 1.0


def train(loss: lossary.Loss, X: Array, y: Array, optimiser: SGD, schedule: Schedule | None = None) -> Linear:
    """Solve a support vector problem by gradient descent with momentum on all the data at once."""
    model = Linear(X.shape[1], 1, init="zeros")  # the problem is convex: any start will do
    fit(
        model,
        loss,
        X,
        y,
        l2=1 / (C * len(X)),
        epochs=EPOCHS,
        batch_size=None,
        optimiser=optimiser,
        schedule=schedule,
        progress=False,
    )
    return model


def compare(loss: lossary.Loss, X: Array, y: Array, model: Linear, theirs: Any) -> Comparison:
    """Put our solution beside the one scikit-learn has found."""
    reference = Linear(X.shape[1], 1, init="zeros")
    reference.weight.value[:, 0], reference.bias.value[:] = theirs.coef_[0], theirs.intercept_

    def objective(solution: Linear) -> float:
        penalty = lossary.l2_penalty(solution.weight.value).sum()
        return evaluate(solution, loss, X, y) + float(penalty) / (C * len(X))

    return Comparison(
        problem=f"{loss.name} and {type(theirs).__name__}",
        objective=objective(model),
        their_objective=objective(reference),
        coefficient_error=float(np.abs(model.weight.value - reference.weight.value).max()),
        same_predictions=float(np.mean(np.sign(model.predict(X)[:, 0]) == theirs.predict(X))),
    )


def main() -> list[Comparison]:
    """Solve both problems twice and print how the solutions compare."""
    X, y = load()

    # The hinge has a corner, and at the minimum some examples stand exactly on it. Steps of constant size would dance
    # around it for ever; they have to become smaller, here along a cosine.
    ours = train(lossary.hinge, X, y, SGD(lr=0.03, momentum=0.98), cosine(EPOCHS))
    theirs = SVC(kernel="linear", C=C, tol=1e-8).fit(X, y)
    results = [compare(lossary.hinge, X, y, ours, theirs)]

    # The squared hinge is smooth: constant steps converge, as fast as the curvature allows, to the last digits.
    # (LinearSVC penalises the intercept too; scaling it by 1000 makes that penalty a millionth of what it was.)
    ours = train(lossary.squared_hinge, X, y, SGD(lr=0.03, momentum=0.99, nesterov=True))
    theirs = LinearSVC(C=C, loss="squared_hinge", dual=False, tol=1e-12, intercept_scaling=1000).fit(X, y)
    results.append(compare(lossary.squared_hinge, X, y, ours, theirs))

    print(f"A linear SVM on {len(X)} tumours, {X.shape[1]} features, C = {C:g}\n")
    print(f"{'':27}  {'objective':>12}  {'theirs':>12}  {'excess':>8}  {'coefficients':>12}  {'predictions':>11}")
    for row in results:
        print(
            f"{row.problem:<27}  {row.objective:12.8f}  {row.their_objective:12.8f}  {row.excess:8.0e}"
            f"  {'to ' + format(row.coefficient_error, '.0e'):>12}  {f'{row.same_predictions:.1%} same':>11}"
        )
    return results


if __name__ == "__main__":
    main()
