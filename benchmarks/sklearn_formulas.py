"""Scikit-learn formulas: the compiled losses behind its linear models and boosting, where it has the loss.

They give the value and gradient of each example; the mean is taken here, and the gradient's constant factor (one over
the number of examples, and the half of the squared error) is applied when the answer is read, outside the measurement.
"""

from __future__ import annotations

from typing import Any

from benchmarks.cases import BOTH, VALUE, Answer, Contender
from lossary.kernels.cpu.runtime.threads import default_count


def _losses(classes: int) -> dict[str, tuple[Any, float]]:
    """Return scikit-learn's loss of each name, and what its numbers are multiplied by to be ours."""
    from sklearn._loss import loss as theirs

    return {
        "squared_error": (theirs.HalfSquaredError, 2.0),
        "absolute_error": (theirs.AbsoluteError, 1.0),
        "huber": (lambda: theirs.HuberLoss(delta=1.0), 1.0),
        "pinball": (lambda: theirs.PinballLoss(quantile=0.5), 1.0),
        "poisson_nll": (theirs.HalfPoissonLoss, 1.0),
        "binary_cross_entropy_with_logits": (theirs.HalfBinomialLoss, 1.0),
        "softmax_cross_entropy": (lambda: theirs.HalfMultinomialLoss(n_classes=classes), 1.0),
    }


def contender(name: str, inputs: Any, target: Any) -> Contender | None:
    """Return what scikit-learn runs for the mean of a loss, with all processors, or None if it has no such loss."""
    found = _losses(inputs.shape[1] if inputs.ndim > 1 else 1).get(name)
    if found is None:
        return None
    make, factor = found
    theirs, goal, threads = make(), target.astype(inputs.dtype), default_count()

    def value() -> Any:
        return theirs.loss(goal, inputs, n_threads=threads).mean()

    def both() -> tuple[Any, Any]:
        values, grad = theirs.loss_gradient(goal, inputs, n_threads=threads)
        return values.mean(), grad

    def read(result: Any) -> Answer:
        if not isinstance(result, tuple):
            return Answer(factor * float(result))
        return Answer(factor * float(result[0]), (factor / len(goal) * result[1],))

    return Contender({VALUE: value, BOTH: both}, read)
