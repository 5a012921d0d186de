# Written by docs/make_stubs.py from the records of the catalogue.
"""Lossary: the reference library of loss functions."""

from typing import Any, Literal, Self, TypeAlias

from numpy.typing import ArrayLike
from torch import Tensor

from lossary import nn as nn
from lossary.catalogue import Loss as Loss
from lossary.catalogue import get as get
from lossary.catalogue import names as names
from lossary.catalogue import search as search
from lossary.diagnose import diagnose as diagnose
from lossary.errors import LossMisuseWarning as LossMisuseWarning
from lossary.evaluate.reduction import Reduction
from lossary.evaluate.reduction import mean as mean
from lossary.evaluate.reduction import total as total
from lossary.evaluate.transforms import hess as hess
from lossary.evaluate.transforms import value as value
from lossary.evaluate.transforms import value_and_grad as value_and_grad
from lossary.explain import explain as explain
from lossary.head.api import linear as linear
from lossary.head.api import linear_value_and_grad as linear_value_and_grad
from lossary.head.api import token_log_probs as token_log_probs
from lossary.sequences import causal_lm_cross_entropy as causal_lm_cross_entropy
from lossary.sequences import padded_sequence_cross_entropy as padded_sequence_cross_entropy
from lossary.sequences import sequence_report as sequence_report
from lossary.settings import checks as checks
from lossary.terms import weighted_sum as weighted_sum
from lossary.testing import check_grad as check_grad
from lossary.watch import watch as watch
from lossary.weights import class_weights as class_weights

__version__: str

# What an array and a number may be given as. Without torch its tensors are unknown to a checker, and nothing is lost.
_Array: TypeAlias = ArrayLike | Tensor
_Number: TypeAlias = float | Tensor

def __dir__() -> list[str]: ...

class _SquaredError(Loss):
    """The square of the residual; its mean is the MSE, minimised by the conditional mean."""

    def __call__(self, pred: _Array, target: _Array) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _HalfSquaredError(Loss):
    """Half the square of the residual, so that the gradient is the residual itself."""

    def __call__(self, pred: _Array, target: _Array) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _AbsoluteError(Loss):
    """The size of the residual; its mean is minimised by the conditional median, so gross outliers barely move it."""

    def __call__(self, pred: _Array, target: _Array) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _Huber(Loss):
    """Quadratic within `delta` of the target, linear beyond it."""

    def __call__(self, pred: _Array, target: _Array, *, delta: _Number = 1.0) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        delta: _Number = 1.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        delta: _Number = 1.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        delta: _Number = 1.0,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        delta: _Number = 1.0,
    ) -> Any: ...
    def bind(self, *, delta: _Number = ...) -> Self: ...

class _SmoothL1(Loss):
    """The absolute error with a parabola in place of its corner; slope 1 outside whatever `beta`."""

    def __call__(self, pred: _Array, target: _Array, *, beta: _Number = 1.0) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 1.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 1.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 1.0,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 1.0,
    ) -> Any: ...
    def bind(self, *, beta: _Number = ...) -> Self: ...

class _PseudoHuber(Loss):
    """Half the squared error near the target, `delta` times the absolute error far away, and smooth in between."""

    def __call__(self, pred: _Array, target: _Array, *, delta: _Number = 1.0) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        delta: _Number = 1.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        delta: _Number = 1.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        delta: _Number = 1.0,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        delta: _Number = 1.0,
    ) -> Any: ...
    def bind(self, *, delta: _Number = ...) -> Self: ...

class _LogCosh(Loss):
    """Half the squared error for small residuals, the absolute error less log 2 for large ones, smooth throughout."""

    def __call__(self, pred: _Array, target: _Array) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _Pinball(Loss):
    """A tilted absolute error; its mean is minimised by the conditional quantile."""

    def __call__(self, pred: _Array, target: _Array, *, quantile: _Number = 0.5) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        quantile: _Number = 0.5,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        quantile: _Number = 0.5,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        quantile: _Number = 0.5,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        quantile: _Number = 0.5,
    ) -> Any: ...
    def bind(self, *, quantile: _Number = ...) -> Self: ...

class _EpsilonInsensitive(Loss):
    """The absolute error beyond a tube around the target; inside it an error costs nothing, as in support vectors."""

    def __call__(self, pred: _Array, target: _Array, *, epsilon: _Number = 0.1) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        epsilon: _Number = 0.1,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        epsilon: _Number = 0.1,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        epsilon: _Number = 0.1,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        epsilon: _Number = 0.1,
    ) -> Any: ...
    def bind(self, *, epsilon: _Number = ...) -> Self: ...

class _Mape(Loss):
    """The size of the residual as a fraction of the size of the target."""

    def __call__(self, pred: _Array, target: _Array, *, epsilon: _Number = 1e-07) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        epsilon: _Number = 1e-07,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        epsilon: _Number = 1e-07,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        epsilon: _Number = 1e-07,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        epsilon: _Number = 1e-07,
    ) -> Any: ...
    def bind(self, *, epsilon: _Number = ...) -> Self: ...

class _Msle(Loss):
    """The squared difference of ``log(1 + value)``: relative error for large values, absolute error near 0."""

    def __call__(self, pred: _Array, target: _Array) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _CosineDistance(Loss):
    """One minus the cosine of the angle between two vectors: 0 if parallel, 1 if orthogonal, 2 if opposite."""

    def __call__(self, pred: _Array, target: _Array) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _BinaryCrossEntropy(Loss):
    """Minus the log of the probability given to a yes/no outcome, from probabilities."""

    def __call__(self, probs: _Array, target: _Array) -> Any: ...
    def value(
        self,
        probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _BinaryCrossEntropyWithLogits(Loss):
    """Minus the log-probability of a yes/no outcome, from its log-odds: finite, exact and alive at any logit."""

    def __call__(
        self, logits: _Array, target: _Array, *, pos_weight: _Number = 1.0, label_smoothing: _Number = 0.0
    ) -> Any: ...
    def value(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        pos_weight: _Number = 1.0,
        label_smoothing: _Number = 0.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        pos_weight: _Number = 1.0,
        label_smoothing: _Number = 0.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        pos_weight: _Number = 1.0,
        label_smoothing: _Number = 0.0,
    ) -> Any: ...
    def hess(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        pos_weight: _Number = 1.0,
        label_smoothing: _Number = 0.0,
    ) -> Any: ...
    def bind(self, *, pos_weight: _Number = ..., label_smoothing: _Number = ...) -> Self: ...

class _SoftmaxCrossEntropy(Loss):
    """Minus the log-probability that the softmax of a row of logits gives to its class."""

    def __call__(
        self,
        logits: _Array,
        target: _Array,
        *,
        class_weight: _Array | None = None,
        label_smoothing: _Number = 0.0,
        temperature: _Number = 1.0,
        z_loss: _Number = 0.0,
        soft_cap: _Number | None = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        class_weight: _Array | None = None,
        label_smoothing: _Number = 0.0,
        temperature: _Number = 1.0,
        z_loss: _Number = 0.0,
        soft_cap: _Number | None = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        class_weight: _Array | None = None,
        label_smoothing: _Number = 0.0,
        temperature: _Number = 1.0,
        z_loss: _Number = 0.0,
        soft_cap: _Number | None = None,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        class_weight: _Array | None = None,
        label_smoothing: _Number = 0.0,
        temperature: _Number = 1.0,
        z_loss: _Number = 0.0,
        soft_cap: _Number | None = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        class_weight: _Array | None = None,
        label_smoothing: _Number = 0.0,
        temperature: _Number = 1.0,
        z_loss: _Number = 0.0,
        soft_cap: _Number | None = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(
        self,
        *,
        class_weight: _Array | None = ...,
        label_smoothing: _Number = ...,
        temperature: _Number = ...,
        z_loss: _Number = ...,
        soft_cap: _Number | None = ...,
        ignore_index: int | None = ...,
    ) -> Self: ...

class _Nll(Loss):
    """Minus the given log-probability of the class: the second half of softmax cross-entropy."""

    def __call__(
        self, log_probs: _Array, target: _Array, *, class_weight: _Array | None = None, ignore_index: int | None = None
    ) -> Any: ...
    def value(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        class_weight: _Array | None = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        class_weight: _Array | None = None,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        class_weight: _Array | None = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        class_weight: _Array | None = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(self, *, class_weight: _Array | None = ..., ignore_index: int | None = ...) -> Self: ...

class _ZeroOne(Loss):
    """1 for a mistake and 0 otherwise: the error rate that the other losses stand in for."""

    def __call__(
        self, scores: _Array, target: _Array, *, threshold: _Number = 0.5, ignore_index: int | None = None
    ) -> Any: ...
    def value(
        self,
        scores: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        threshold: _Number = 0.5,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        scores: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        threshold: _Number = 0.5,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        scores: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        threshold: _Number = 0.5,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        scores: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        threshold: _Number = 0.5,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(self, *, threshold: _Number = ..., ignore_index: int | None = ...) -> Self: ...

class _Brier(Loss):
    """Squared distance between a row of probabilities and what happened: a proper score that is never infinite."""

    def __call__(self, probs: _Array, target: _Array, *, ignore_index: int | None = None) -> Any: ...
    def value(
        self,
        probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(self, *, ignore_index: int | None = ...) -> Self: ...

class _GeneralizedCrossEntropy(Loss):
    """Between cross-entropy and the error rate: wrong labels cannot cost more than ``1 / q``."""

    def __call__(self, logits: _Array, target: _Array, *, q: _Number = 0.7, ignore_index: int | None = None) -> Any: ...
    def value(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        q: _Number = 0.7,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        q: _Number = 0.7,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        q: _Number = 0.7,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        q: _Number = 0.7,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(self, *, q: _Number = ..., ignore_index: int | None = ...) -> Self: ...

class _PolyLoss(Loss):
    """Cross-entropy with the first term of its expansion in ``1 - p`` reweighted (Poly-1)."""

    def __call__(
        self, logits: _Array, target: _Array, *, epsilon: _Number = 2.0, ignore_index: int | None = None
    ) -> Any: ...
    def value(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        epsilon: _Number = 2.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        epsilon: _Number = 2.0,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        epsilon: _Number = 2.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        epsilon: _Number = 2.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(self, *, epsilon: _Number = ..., ignore_index: int | None = ...) -> Self: ...

class _Hinge(Loss):
    """The shortfall of the score from the margin, on the side of the label: the loss of the support vector machine."""

    def __call__(self, pred: _Array, target: _Array, *, margin: _Number = 1.0) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
    ) -> Any: ...
    def bind(self, *, margin: _Number = ...) -> Self: ...

class _SquaredHinge(Loss):
    """The square of the hinge: no kink, and a pull that grows with the violation."""

    def __call__(self, pred: _Array, target: _Array, *, margin: _Number = 1.0) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
    ) -> Any: ...
    def bind(self, *, margin: _Number = ...) -> Self: ...

class _SmoothedHinge(Loss):
    """The hinge with a parabola of width `gamma` in place of its corner: smooth, and still linear for wrong
    answers.
    """

    def __call__(self, pred: _Array, target: _Array, *, gamma: _Number = 1.0) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        gamma: _Number = 1.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        gamma: _Number = 1.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        gamma: _Number = 1.0,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        gamma: _Number = 1.0,
    ) -> Any: ...
    def bind(self, *, gamma: _Number = ...) -> Self: ...

class _ModifiedHuber(Loss):
    """The squared hinge until the answer is wrong by a margin of 1, linear with slope 4 beyond, so outliers pull
    alike.
    """

    def __call__(self, pred: _Array, target: _Array) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _Perceptron(Loss):
    """How far the score lies on the wrong side of 0: a hinge without a margin."""

    def __call__(self, pred: _Array, target: _Array) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _Exponential(Loss):
    """The exponential of the negative margin, which AdaBoost minimises step by step; mislabelled examples dominate
    it.
    """

    def __call__(self, pred: _Array, target: _Array) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _LogisticMargin(Loss):
    """Logistic regression with labels -1 and 1: binary cross-entropy on a logit, by another name for the labels."""

    def __call__(self, pred: _Array, target: _Array) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _MultiMargin(Loss):
    """Every wrong class within the margin of the right one is charged, and the charges are divided by the classes."""

    def __call__(
        self,
        pred: _Array,
        target: _Array,
        *,
        p: _Number = 1,
        margin: _Number = 1.0,
        class_weight: _Array | None = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        p: _Number = 1,
        margin: _Number = 1.0,
        class_weight: _Array | None = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        p: _Number = 1,
        margin: _Number = 1.0,
        class_weight: _Array | None = None,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        p: _Number = 1,
        margin: _Number = 1.0,
        class_weight: _Array | None = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        p: _Number = 1,
        margin: _Number = 1.0,
        class_weight: _Array | None = None,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(
        self,
        *,
        p: _Number = ...,
        margin: _Number = ...,
        class_weight: _Array | None = ...,
        ignore_index: int | None = ...,
    ) -> Self: ...

class _MulticlassHinge(Loss):
    """The shortfall of the right class's lead over its strongest rival from the margin."""

    def __call__(
        self, pred: _Array, target: _Array, *, margin: _Number = 1.0, ignore_index: int | None = None
    ) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(self, *, margin: _Number = ..., ignore_index: int | None = ...) -> Self: ...

class _MultilabelMargin(Loss):
    """Every present label should outscore every absent one by 1; the shortfalls of all pairs, divided by the
    classes.
    """

    def __call__(self, pred: _Array, target: _Array) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _MultilabelSoftMargin(Loss):
    """Binary cross-entropy of each label on its logit, averaged over the labels of an example."""

    def __call__(self, pred: _Array, target: _Array, *, class_weight: _Array | None = None) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        class_weight: _Array | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        class_weight: _Array | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        class_weight: _Array | None = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        class_weight: _Array | None = None,
    ) -> Any: ...
    def bind(self, *, class_weight: _Array | None = ...) -> Self: ...

class _HingeEmbedding(Loss):
    """A distance, to be small for pairs that belong together (1) and at least the margin for those that do not
    (-1).
    """

    def __call__(self, pred: _Array, target: _Array, *, margin: _Number = 1.0) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
    ) -> Any: ...
    def bind(self, *, margin: _Number = ...) -> Self: ...

class _SigmoidFocal(Loss):
    """Binary cross-entropy with examples that are already right turned down, for dense detection."""

    def __call__(
        self, logits: _Array, target: _Array, *, gamma: _Number = 2.0, alpha: _Number | None = None
    ) -> Any: ...
    def value(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        gamma: _Number = 2.0,
        alpha: _Number | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        gamma: _Number = 2.0,
        alpha: _Number | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        gamma: _Number = 2.0,
        alpha: _Number | None = None,
    ) -> Any: ...
    def hess(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        gamma: _Number = 2.0,
        alpha: _Number | None = None,
    ) -> Any: ...
    def bind(self, *, gamma: _Number = ..., alpha: _Number | None = ...) -> Self: ...

class _SoftmaxFocal(Loss):
    """Softmax cross-entropy that down-weights examples already classified correctly."""

    def __call__(
        self,
        logits: _Array,
        target: _Array,
        *,
        gamma: _Number = 2.0,
        class_weight: _Array | None = None,
        label_smoothing: _Number = 0.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        gamma: _Number = 2.0,
        class_weight: _Array | None = None,
        label_smoothing: _Number = 0.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        gamma: _Number = 2.0,
        class_weight: _Array | None = None,
        label_smoothing: _Number = 0.0,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        gamma: _Number = 2.0,
        class_weight: _Array | None = None,
        label_smoothing: _Number = 0.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        logits: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        gamma: _Number = 2.0,
        class_weight: _Array | None = None,
        label_smoothing: _Number = 0.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(
        self,
        *,
        gamma: _Number = ...,
        class_weight: _Array | None = ...,
        label_smoothing: _Number = ...,
        ignore_index: int | None = ...,
    ) -> Self: ...

class _LogitAdjusted(Loss):
    """Softmax cross-entropy after adding the log of the class counts: the model need not learn how rare a class is."""

    def __call__(
        self,
        logits: _Array,
        target: _Array,
        class_counts: _Array,
        *,
        tau: _Number = 1.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value(
        self,
        logits: _Array,
        target: _Array,
        class_counts: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        tau: _Number = 1.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        logits: _Array,
        target: _Array,
        class_counts: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        tau: _Number = 1.0,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        logits: _Array,
        target: _Array,
        class_counts: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        tau: _Number = 1.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        logits: _Array,
        target: _Array,
        class_counts: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        tau: _Number = 1.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(self, *, tau: _Number = ..., ignore_index: int | None = ...) -> Self: ...

class _ClassBalanced(Loss):
    """Softmax cross-entropy weighted by the inverse effective number of examples of each class."""

    def __call__(
        self,
        logits: _Array,
        target: _Array,
        class_counts: _Array,
        *,
        beta: _Number = 0.999,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value(
        self,
        logits: _Array,
        target: _Array,
        class_counts: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.999,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        logits: _Array,
        target: _Array,
        class_counts: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.999,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        logits: _Array,
        target: _Array,
        class_counts: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.999,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        logits: _Array,
        target: _Array,
        class_counts: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.999,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(self, *, beta: _Number = ..., ignore_index: int | None = ...) -> Self: ...

class _GaussianNll(Loss):
    """The cost of a target under a Gaussian whose mean and variance are both predicted."""

    def __call__(self, pred: _Array, target: _Array, var: _Array, *, full: bool = False) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        var: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        full: bool = False,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        var: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        full: bool = False,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        var: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        full: bool = False,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        var: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        full: bool = False,
    ) -> Any: ...
    def bind(self, *, full: bool = ...) -> Self: ...

class _LaplaceNll(Loss):
    """The cost of a target under a Laplace density whose centre and scale are both predicted."""

    def __call__(self, pred: _Array, target: _Array, scale: _Array, *, full: bool = False) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        scale: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        full: bool = False,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        scale: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        full: bool = False,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        scale: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        full: bool = False,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        scale: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        full: bool = False,
    ) -> Any: ...
    def bind(self, *, full: bool = ...) -> Self: ...

class _StudentTNll(Loss):
    """The cost of a target under Student's t: gross errors cost their logarithm, and hardly pull at all."""

    def __call__(
        self, pred: _Array, target: _Array, *, df: _Number = 4.0, scale: _Number = 1.0, full: bool = False
    ) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        df: _Number = 4.0,
        scale: _Number = 1.0,
        full: bool = False,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        df: _Number = 4.0,
        scale: _Number = 1.0,
        full: bool = False,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        df: _Number = 4.0,
        scale: _Number = 1.0,
        full: bool = False,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        df: _Number = 4.0,
        scale: _Number = 1.0,
        full: bool = False,
    ) -> Any: ...
    def bind(self, *, df: _Number = ..., scale: _Number = ..., full: bool = ...) -> Self: ...

class _PoissonNll(Loss):
    """The cost of a count under a Poisson law, given the logarithm of its rate."""

    def __call__(self, log_rate: _Array, target: _Array, *, full: bool = False) -> Any: ...
    def value(
        self,
        log_rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        full: bool = False,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        full: bool = False,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        full: bool = False,
    ) -> Any: ...
    def hess(
        self,
        log_rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        full: bool = False,
    ) -> Any: ...
    def bind(self, *, full: bool = ...) -> Self: ...

class _PoissonNllRate(Loss):
    """The cost of a count under a Poisson law, given its rate."""

    def __call__(self, rate: _Array, target: _Array, *, full: bool = False) -> Any: ...
    def value(
        self,
        rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        full: bool = False,
    ) -> Any: ...
    def value_and_grad(
        self,
        rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        full: bool = False,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        full: bool = False,
    ) -> Any: ...
    def hess(
        self,
        rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        full: bool = False,
    ) -> Any: ...
    def bind(self, *, full: bool = ...) -> Self: ...

class _GammaNll(Loss):
    """The cost of a positive amount under a gamma law, given the logarithm of its mean."""

    def __call__(self, log_mean: _Array, target: _Array, *, shape: _Number = 1.0, full: bool = False) -> Any: ...
    def value(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        shape: _Number = 1.0,
        full: bool = False,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        shape: _Number = 1.0,
        full: bool = False,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        shape: _Number = 1.0,
        full: bool = False,
    ) -> Any: ...
    def hess(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        shape: _Number = 1.0,
        full: bool = False,
    ) -> Any: ...
    def bind(self, *, shape: _Number = ..., full: bool = ...) -> Self: ...

class _TweedieDeviance(Loss):
    """How much worse than perfect a mean is for an amount that is often 0 and otherwise positive."""

    def __call__(self, log_mean: _Array, target: _Array, *, power: _Number = 1.5) -> Any: ...
    def value(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        power: _Number = 1.5,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        power: _Number = 1.5,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        power: _Number = 1.5,
    ) -> Any: ...
    def hess(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        power: _Number = 1.5,
    ) -> Any: ...
    def bind(self, *, power: _Number = ...) -> Self: ...

class _NegativeBinomialNll(Loss):
    """The cost of a count that varies more than a Poisson count would, given the logarithm of its mean."""

    def __call__(self, log_mean: _Array, target: _Array, *, alpha: _Number = 1.0, full: bool = False) -> Any: ...
    def value(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        alpha: _Number = 1.0,
        full: bool = False,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        alpha: _Number = 1.0,
        full: bool = False,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        alpha: _Number = 1.0,
        full: bool = False,
    ) -> Any: ...
    def hess(
        self,
        log_mean: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        alpha: _Number = 1.0,
        full: bool = False,
    ) -> Any: ...
    def bind(self, *, alpha: _Number = ..., full: bool = ...) -> Self: ...

class _KlDivergence(Loss):
    """Kullback-Leibler divergence KL(target || pred), in nats: what coding the target by the prediction wastes."""

    def __call__(self, log_probs: _Array, target: _Array) -> Any: ...
    def value(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _ReverseKl(Loss):
    """Kullback-Leibler divergence KL(pred || target), in nats, the prediction as log-probabilities."""

    def __call__(self, log_probs: _Array, target: _Array) -> Any: ...
    def value(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _JsDivergence(Loss):
    """Jensen-Shannon divergence, in nats: the mean divergence of both distributions from their mixture."""

    def __call__(self, log_probs: _Array, target: _Array) -> Any: ...
    def value(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        log_probs: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _GeneralizedKl(Loss):
    """Kullback-Leibler divergence of amounts that need not sum to 1, given the logarithm of the predicted amount."""

    def __call__(self, log_rate: _Array, target: _Array) -> Any: ...
    def value(
        self,
        log_rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        log_rate: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _Contrastive(Loss):
    """Springs between pairs: similar ones (1) pulled together, dissimilar ones (0) pushed apart up to a margin."""

    def __call__(self, first: _Array, second: _Array, target: _Array, *, margin: _Number = 1.0) -> Any: ...
    def value(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
    ) -> Any: ...
    def hess(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
    ) -> Any: ...
    def bind(self, *, margin: _Number = ...) -> Self: ...

class _TripletMargin(Loss):
    """The anchor should be nearer to its positive than to its negative, by at least the margin."""

    def __call__(
        self, anchor: _Array, positive: _Array, negative: _Array, *, margin: _Number = 1.0, swap: bool = False
    ) -> Any: ...
    def value(
        self,
        anchor: _Array,
        positive: _Array,
        negative: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
        swap: bool = False,
    ) -> Any: ...
    def value_and_grad(
        self,
        anchor: _Array,
        positive: _Array,
        negative: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
        swap: bool = False,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        anchor: _Array,
        positive: _Array,
        negative: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
        swap: bool = False,
    ) -> Any: ...
    def hess(
        self,
        anchor: _Array,
        positive: _Array,
        negative: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
        swap: bool = False,
    ) -> Any: ...
    def bind(self, *, margin: _Number = ..., swap: bool = ...) -> Self: ...

class _MarginRanking(Loss):
    """Of two scores the first should be the higher (1) or the lower (-1), by at least the margin."""

    def __call__(self, first: _Array, second: _Array, target: _Array, *, margin: _Number = 0.0) -> Any: ...
    def value(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 0.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 0.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 0.0,
    ) -> Any: ...
    def hess(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 0.0,
    ) -> Any: ...
    def bind(self, *, margin: _Number = ...) -> Self: ...

class _CosineEmbedding(Loss):
    """Pairs that belong together (1) should point the same way; others (-1) should have a cosine below the margin."""

    def __call__(self, first: _Array, second: _Array, target: _Array, *, margin: _Number = 0.0) -> Any: ...
    def value(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 0.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 0.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 0.0,
    ) -> Any: ...
    def hess(
        self,
        first: _Array,
        second: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 0.0,
    ) -> Any: ...
    def bind(self, *, margin: _Number = ...) -> Self: ...

class _BatchHardTriplet(Loss):
    """For each anchor, the triplet of its farthest positive and nearest negative in the batch."""

    def __call__(self, embeddings: _Array, labels: _Array, *, margin: _Number = 1.0, soft: bool = False) -> Any: ...
    def value(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
        soft: bool = False,
    ) -> Any: ...
    def value_and_grad(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
        soft: bool = False,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 1.0,
        soft: bool = False,
    ) -> Any: ...
    def hess(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 1.0,
        soft: bool = False,
    ) -> Any: ...
    def bind(self, *, margin: _Number = ..., soft: bool = ...) -> Self: ...

class _Arcface(Loss):
    """Softmax cross-entropy on cosines, with the angle to the right class made larger by a margin."""

    def __call__(
        self,
        pred: _Array,
        target: _Array,
        *,
        margin: _Number = 0.5,
        scale: _Number = 64.0,
        easy_margin: bool = False,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 0.5,
        scale: _Number = 64.0,
        easy_margin: bool = False,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 0.5,
        scale: _Number = 64.0,
        easy_margin: bool = False,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 0.5,
        scale: _Number = 64.0,
        easy_margin: bool = False,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 0.5,
        scale: _Number = 64.0,
        easy_margin: bool = False,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(
        self, *, margin: _Number = ..., scale: _Number = ..., easy_margin: bool = ..., ignore_index: int | None = ...
    ) -> Self: ...

class _Cosface(Loss):
    """Softmax cross-entropy on cosines, with the cosine of the right class made smaller by a margin."""

    def __call__(
        self,
        pred: _Array,
        target: _Array,
        *,
        margin: _Number = 0.35,
        scale: _Number = 64.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 0.35,
        scale: _Number = 64.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 0.35,
        scale: _Number = 64.0,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 0.35,
        scale: _Number = 64.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 0.35,
        scale: _Number = 64.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(self, *, margin: _Number = ..., scale: _Number = ..., ignore_index: int | None = ...) -> Self: ...

class _NtXent(Loss):
    """Each positive of an anchor is to be picked out among all of the anchor's negatives, by cosine."""

    def __call__(self, embeddings: _Array, labels: _Array, *, temperature: _Number = 0.07) -> Any: ...
    def value(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        temperature: _Number = 0.07,
    ) -> Any: ...
    def value_and_grad(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        temperature: _Number = 0.07,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        temperature: _Number = 0.07,
    ) -> Any: ...
    def hess(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        temperature: _Number = 0.07,
    ) -> Any: ...
    def bind(self, *, temperature: _Number = ...) -> Self: ...

class _Supcon(Loss):
    """Cross-entropy of an anchor's softmax over all others, with its positives as equally likely right answers."""

    def __call__(self, embeddings: _Array, labels: _Array, *, temperature: _Number = 0.1) -> Any: ...
    def value(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        temperature: _Number = 0.1,
    ) -> Any: ...
    def value_and_grad(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        temperature: _Number = 0.1,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        temperature: _Number = 0.1,
    ) -> Any: ...
    def hess(
        self,
        embeddings: _Array,
        labels: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        temperature: _Number = 0.1,
    ) -> Any: ...
    def bind(self, *, temperature: _Number = ...) -> Self: ...

class _Dice(Loss):
    """One minus twice the overlap of two regions over the sum of their sizes, indifferent to how large the rest is."""

    def __call__(self, pred: _Array, target: _Array, *, smooth: _Number = 0.0) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        smooth: _Number = 0.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        smooth: _Number = 0.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        smooth: _Number = 0.0,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        smooth: _Number = 0.0,
    ) -> Any: ...
    def bind(self, *, smooth: _Number = ...) -> Self: ...

class _Tversky(Loss):
    """An overlap in which false alarms and misses have prices of their own."""

    def __call__(
        self, pred: _Array, target: _Array, *, alpha: _Number = 0.5, beta: _Number = 0.5, smooth: _Number = 0.0
    ) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        alpha: _Number = 0.5,
        beta: _Number = 0.5,
        smooth: _Number = 0.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        alpha: _Number = 0.5,
        beta: _Number = 0.5,
        smooth: _Number = 0.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        alpha: _Number = 0.5,
        beta: _Number = 0.5,
        smooth: _Number = 0.0,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        alpha: _Number = 0.5,
        beta: _Number = 0.5,
        smooth: _Number = 0.0,
    ) -> Any: ...
    def bind(self, *, alpha: _Number = ..., beta: _Number = ..., smooth: _Number = ...) -> Self: ...

class _Jaccard(Loss):
    """One minus intersection over union, with products and sums of probabilities in place of the sets."""

    def __call__(self, pred: _Array, target: _Array, *, smooth: _Number = 0.0) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        smooth: _Number = 0.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        smooth: _Number = 0.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        smooth: _Number = 0.0,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        smooth: _Number = 0.0,
    ) -> Any: ...
    def bind(self, *, smooth: _Number = ...) -> Self: ...

class _GeneralizedDice(Loss):
    """One Dice quotient for all classes of an image, in which a small class counts as much as a large one."""

    def __call__(
        self,
        pred: _Array,
        target: _Array,
        *,
        weighting: Literal["square", "simple", "uniform"] = "square",
        smooth: _Number = 0.0,
    ) -> Any: ...
    def value(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        weighting: Literal["square", "simple", "uniform"] = "square",
        smooth: _Number = 0.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        weighting: Literal["square", "simple", "uniform"] = "square",
        smooth: _Number = 0.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        weighting: Literal["square", "simple", "uniform"] = "square",
        smooth: _Number = 0.0,
    ) -> Any: ...
    def hess(
        self,
        pred: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        weighting: Literal["square", "simple", "uniform"] = "square",
        smooth: _Number = 0.0,
    ) -> Any: ...
    def bind(self, *, weighting: Literal["square", "simple", "uniform"] = ..., smooth: _Number = ...) -> Self: ...

class _Ctc(Loss):
    """Negative log-probability of a label sequence when nobody says which frame belongs to which label."""

    def __call__(
        self,
        logits: _Array,
        labels: _Array,
        input_lengths: _Array | None = None,
        target_lengths: _Array | None = None,
        *,
        blank: int = 0,
        from_logits: bool = True,
    ) -> Any: ...
    def value(
        self,
        logits: _Array,
        labels: _Array,
        input_lengths: _Array | None = None,
        target_lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        blank: int = 0,
        from_logits: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        logits: _Array,
        labels: _Array,
        input_lengths: _Array | None = None,
        target_lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        blank: int = 0,
        from_logits: bool = True,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        logits: _Array,
        labels: _Array,
        input_lengths: _Array | None = None,
        target_lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        blank: int = 0,
        from_logits: bool = True,
    ) -> Any: ...
    def hess(
        self,
        logits: _Array,
        labels: _Array,
        input_lengths: _Array | None = None,
        target_lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        blank: int = 0,
        from_logits: bool = True,
    ) -> Any: ...
    def bind(self, *, blank: int = ..., from_logits: bool = ...) -> Self: ...

class _LinearChainCrf(Loss):
    """Minus the log-probability of a sequence of tags, where each tag's score depends on the one before it."""

    def __call__(
        self,
        emissions: _Array,
        transitions: _Array,
        tags: _Array,
        lengths: _Array | None = None,
        *,
        start: _Array | None = None,
        end: _Array | None = None,
    ) -> Any: ...
    def value(
        self,
        emissions: _Array,
        transitions: _Array,
        tags: _Array,
        lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        start: _Array | None = None,
        end: _Array | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        emissions: _Array,
        transitions: _Array,
        tags: _Array,
        lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        start: _Array | None = None,
        end: _Array | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        emissions: _Array,
        transitions: _Array,
        tags: _Array,
        lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        start: _Array | None = None,
        end: _Array | None = None,
    ) -> Any: ...
    def hess(
        self,
        emissions: _Array,
        transitions: _Array,
        tags: _Array,
        lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        start: _Array | None = None,
        end: _Array | None = None,
    ) -> Any: ...
    def bind(self, *, start: _Array | None = ..., end: _Array | None = ...) -> Self: ...

class _Rnnt(Loss):
    """Minus the log-probability of a label sequence under a transducer, summed over all its alignments with the
    frames.
    """

    def __call__(
        self,
        logits: _Array,
        labels: _Array,
        input_lengths: _Array | None = None,
        target_lengths: _Array | None = None,
        *,
        blank: int = 0,
    ) -> Any: ...
    def value(
        self,
        logits: _Array,
        labels: _Array,
        input_lengths: _Array | None = None,
        target_lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        blank: int = 0,
    ) -> Any: ...
    def value_and_grad(
        self,
        logits: _Array,
        labels: _Array,
        input_lengths: _Array | None = None,
        target_lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        blank: int = 0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        logits: _Array,
        labels: _Array,
        input_lengths: _Array | None = None,
        target_lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        blank: int = 0,
    ) -> Any: ...
    def hess(
        self,
        logits: _Array,
        labels: _Array,
        input_lengths: _Array | None = None,
        target_lengths: _Array | None = None,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        blank: int = 0,
    ) -> Any: ...
    def bind(self, *, blank: int = ...) -> Self: ...

class _L1Penalty(Loss):
    """The size of each parameter; every one is pulled to 0 with the same strength, and some arrive exactly there."""

    def __call__(self, weights: _Array) -> Any: ...
    def value(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _L2Penalty(Loss):
    """Half the square of each parameter, whose gradient is the parameter itself: what optimisers call weight decay."""

    def __call__(self, weights: _Array) -> Any: ...
    def value(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _ElasticNet(Loss):
    """A mixture of `l1_penalty` and `l2_penalty`: sparse like the one, steady among correlated inputs like the
    other.
    """

    def __call__(self, weights: _Array, *, l1_ratio: _Number = 0.5) -> Any: ...
    def value(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        l1_ratio: _Number = 0.5,
    ) -> Any: ...
    def value_and_grad(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        l1_ratio: _Number = 0.5,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        l1_ratio: _Number = 0.5,
    ) -> Any: ...
    def hess(
        self,
        weights: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        l1_ratio: _Number = 0.5,
    ) -> Any: ...
    def bind(self, *, l1_ratio: _Number = ...) -> Self: ...

class _BradleyTerry(Loss):
    """The cost of a human's choice between two answers, given a reward model's score of each."""

    def __call__(self, chosen: _Array, rejected: _Array, *, margin: _Number = 0.0, centering: _Number = 0.0) -> Any: ...
    def value(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 0.0,
        centering: _Number = 0.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 0.0,
        centering: _Number = 0.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        margin: _Number = 0.0,
        centering: _Number = 0.0,
    ) -> Any: ...
    def hess(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        margin: _Number = 0.0,
        centering: _Number = 0.0,
    ) -> Any: ...
    def bind(self, *, margin: _Number = ..., centering: _Number = ...) -> Self: ...

class _Dpo(Loss):
    """Choose the better of two answers, the policy itself being the reward model (direct preference optimisation)."""

    def __call__(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        beta: _Number = 0.1,
        label_smoothing: _Number = 0.0,
    ) -> Any: ...
    def value(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
        label_smoothing: _Number = 0.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
        label_smoothing: _Number = 0.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
        label_smoothing: _Number = 0.0,
    ) -> Any: ...
    def hess(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
        label_smoothing: _Number = 0.0,
    ) -> Any: ...
    def bind(self, *, beta: _Number = ..., label_smoothing: _Number = ...) -> Self: ...

class _RobustDpo(Loss):
    """DPO that is right on average although some of the pairs are the wrong way round."""

    def __call__(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        beta: _Number = 0.1,
        flip_rate: _Number = 0.1,
    ) -> Any: ...
    def value(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
        flip_rate: _Number = 0.1,
    ) -> Any: ...
    def value_and_grad(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
        flip_rate: _Number = 0.1,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
        flip_rate: _Number = 0.1,
    ) -> Any: ...
    def hess(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
        flip_rate: _Number = 0.1,
    ) -> Any: ...
    def bind(self, *, beta: _Number = ..., flip_rate: _Number = ...) -> Self: ...

class _Ipo(Loss):
    """The lead of the chosen answer over the rejected one should be a given number, and not ever larger."""

    def __call__(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        tau: _Number = 0.1,
    ) -> Any: ...
    def value(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        tau: _Number = 0.1,
    ) -> Any: ...
    def value_and_grad(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        tau: _Number = 0.1,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        tau: _Number = 0.1,
    ) -> Any: ...
    def hess(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        tau: _Number = 0.1,
    ) -> Any: ...
    def bind(self, *, tau: _Number = ...) -> Self: ...

class _DpoHinge(Loss):
    """The hinge in the place of the logistic cost of `dpo`: a pair that leads by the margin is left alone."""

    def __call__(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        beta: _Number = 0.1,
        margin: _Number = 1.0,
    ) -> Any: ...
    def value(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
        margin: _Number = 1.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
        margin: _Number = 1.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
        margin: _Number = 1.0,
    ) -> Any: ...
    def hess(
        self,
        chosen: _Array,
        rejected: _Array,
        reference_chosen: _Array,
        reference_rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
        margin: _Number = 1.0,
    ) -> Any: ...
    def bind(self, *, beta: _Number = ..., margin: _Number = ...) -> Self: ...

class _Simpo(Loss):
    """Choose the better of two answers by their mean log-probability per token; no reference policy is needed."""

    def __call__(self, chosen: _Array, rejected: _Array, *, beta: _Number = 2.0, gamma: _Number = 1.0) -> Any: ...
    def value(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 2.0,
        gamma: _Number = 1.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 2.0,
        gamma: _Number = 1.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 2.0,
        gamma: _Number = 1.0,
    ) -> Any: ...
    def hess(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 2.0,
        gamma: _Number = 1.0,
    ) -> Any: ...
    def bind(self, *, beta: _Number = ..., gamma: _Number = ...) -> Self: ...

class _Cpo(Loss):
    """DPO with a uniform reference, and a likelihood term that keeps the chosen answer probable."""

    def __call__(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        beta: _Number = 0.1,
        alpha: _Number = 1.0,
        label_smoothing: _Number = 0.0,
    ) -> Any: ...
    def value(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
        alpha: _Number = 1.0,
        label_smoothing: _Number = 0.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
        alpha: _Number = 1.0,
        label_smoothing: _Number = 0.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
        alpha: _Number = 1.0,
        label_smoothing: _Number = 0.0,
    ) -> Any: ...
    def hess(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
        alpha: _Number = 1.0,
        label_smoothing: _Number = 0.0,
    ) -> Any: ...
    def bind(self, *, beta: _Number = ..., alpha: _Number = ..., label_smoothing: _Number = ...) -> Self: ...

class _Orpo(Loss):
    """Fine-tuning on the chosen answer, and the odds of it against those of the rejected one, in a single stage."""

    def __call__(self, chosen: _Array, rejected: _Array, *, beta: _Number = 0.1) -> Any: ...
    def value(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
    ) -> Any: ...
    def value_and_grad(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
    ) -> Any: ...
    def hess(
        self,
        chosen: _Array,
        rejected: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
    ) -> Any: ...
    def bind(self, *, beta: _Number = ...) -> Self: ...

class _Kto(Loss):
    """Single answers marked good (1) or bad (0), valued as gains and losses are: from a reference point, with
    limits.
    """

    def __call__(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        target: _Array,
        reference_point: _Array,
        *,
        beta: _Number = 0.1,
        desirable_weight: _Number = 1.0,
        undesirable_weight: _Number = 1.0,
    ) -> Any: ...
    def value(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        target: _Array,
        reference_point: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
        desirable_weight: _Number = 1.0,
        undesirable_weight: _Number = 1.0,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        target: _Array,
        reference_point: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
        desirable_weight: _Number = 1.0,
        undesirable_weight: _Number = 1.0,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        target: _Array,
        reference_point: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        beta: _Number = 0.1,
        desirable_weight: _Number = 1.0,
        undesirable_weight: _Number = 1.0,
    ) -> Any: ...
    def hess(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        target: _Array,
        reference_point: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        beta: _Number = 0.1,
        desirable_weight: _Number = 1.0,
        undesirable_weight: _Number = 1.0,
    ) -> Any: ...
    def bind(
        self, *, beta: _Number = ..., desirable_weight: _Number = ..., undesirable_weight: _Number = ...
    ) -> Self: ...

class _PolicyGradient(Loss):
    """Make an action more likely in proportion to its advantage (REINFORCE)."""

    def __call__(self, log_probability: _Array, advantage: _Array) -> Any: ...
    def value(
        self,
        log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _PpoClip(Loss):
    """Make an action more likely in proportion to its advantage, but not much more than when it was drawn."""

    def __call__(
        self,
        log_probability: _Array,
        old_log_probability: _Array,
        advantage: _Array,
        *,
        clip_low: _Number = 0.2,
        clip_high: _Number = 0.2,
        dual_clip: _Number | None = None,
    ) -> Any: ...
    def value(
        self,
        log_probability: _Array,
        old_log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        clip_low: _Number = 0.2,
        clip_high: _Number = 0.2,
        dual_clip: _Number | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probability: _Array,
        old_log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        clip_low: _Number = 0.2,
        clip_high: _Number = 0.2,
        dual_clip: _Number | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probability: _Array,
        old_log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        clip_low: _Number = 0.2,
        clip_high: _Number = 0.2,
        dual_clip: _Number | None = None,
    ) -> Any: ...
    def hess(
        self,
        log_probability: _Array,
        old_log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        clip_low: _Number = 0.2,
        clip_high: _Number = 0.2,
        dual_clip: _Number | None = None,
    ) -> Any: ...
    def bind(self, *, clip_low: _Number = ..., clip_high: _Number = ..., dual_clip: _Number | None = ...) -> Self: ...

class _Grpo(Loss):
    """One token's share of group relative policy optimisation: the clipped ratio, and what leaving the reference
    costs.
    """

    def __call__(
        self,
        log_probability: _Array,
        old_log_probability: _Array,
        reference_log_probability: _Array,
        advantage: _Array,
        *,
        clip_low: _Number = 0.2,
        clip_high: _Number = 0.2,
        dual_clip: _Number | None = None,
        beta: _Number = 0.04,
    ) -> Any: ...
    def value(
        self,
        log_probability: _Array,
        old_log_probability: _Array,
        reference_log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        clip_low: _Number = 0.2,
        clip_high: _Number = 0.2,
        dual_clip: _Number | None = None,
        beta: _Number = 0.04,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probability: _Array,
        old_log_probability: _Array,
        reference_log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        clip_low: _Number = 0.2,
        clip_high: _Number = 0.2,
        dual_clip: _Number | None = None,
        beta: _Number = 0.04,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probability: _Array,
        old_log_probability: _Array,
        reference_log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        clip_low: _Number = 0.2,
        clip_high: _Number = 0.2,
        dual_clip: _Number | None = None,
        beta: _Number = 0.04,
    ) -> Any: ...
    def hess(
        self,
        log_probability: _Array,
        old_log_probability: _Array,
        reference_log_probability: _Array,
        advantage: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        clip_low: _Number = 0.2,
        clip_high: _Number = 0.2,
        dual_clip: _Number | None = None,
        beta: _Number = 0.04,
    ) -> Any: ...
    def bind(
        self, *, clip_low: _Number = ..., clip_high: _Number = ..., dual_clip: _Number | None = ..., beta: _Number = ...
    ) -> Self: ...

class _KlK1(Loss):
    """The log-ratio of one drawn action: its mean is the divergence KL(policy || reference), its spread is large."""

    def __call__(self, log_probability: _Array, reference_log_probability: _Array) -> Any: ...
    def value(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _KlK2(Loss):
    """Half the squared log-ratio of one drawn action: never negative, a little biased, and with the right gradient."""

    def __call__(self, log_probability: _Array, reference_log_probability: _Array) -> Any: ...
    def value(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _KlK3(Loss):
    """The log-ratio of one drawn action with a term of mean 0 that makes it positive: unbiased, and of small
    spread.
    """

    def __call__(self, log_probability: _Array, reference_log_probability: _Array) -> Any: ...
    def value(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        log_probability: _Array,
        reference_log_probability: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _EntropyBonus(Loss):
    """Minus the entropy of a softmax, in nats: added with a small factor, it keeps a policy from deciding early."""

    def __call__(self, logits: _Array) -> Any: ...
    def value(
        self,
        logits: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        logits: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        logits: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        logits: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _SampledSoftmax(Loss):
    """Softmax cross-entropy over the right class and a few drawn ones, each corrected for how often it is drawn."""

    def __call__(
        self, positive: _Array, negatives: _Array, log_expected_positive: _Array, log_expected_negatives: _Array
    ) -> Any: ...
    def value(
        self,
        positive: _Array,
        negatives: _Array,
        log_expected_positive: _Array,
        log_expected_negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        positive: _Array,
        negatives: _Array,
        log_expected_positive: _Array,
        log_expected_negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        positive: _Array,
        negatives: _Array,
        log_expected_positive: _Array,
        log_expected_negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        positive: _Array,
        negatives: _Array,
        log_expected_positive: _Array,
        log_expected_negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _NoiseContrastiveEstimation(Loss):
    """Is it data or noise? Logistic regression that makes the scores of a model log-probabilities, normaliser
    included.
    """

    def __call__(
        self, positive: _Array, negatives: _Array, log_expected_positive: _Array, log_expected_negatives: _Array
    ) -> Any: ...
    def value(
        self,
        positive: _Array,
        negatives: _Array,
        log_expected_positive: _Array,
        log_expected_negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        positive: _Array,
        negatives: _Array,
        log_expected_positive: _Array,
        log_expected_negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        positive: _Array,
        negatives: _Array,
        log_expected_positive: _Array,
        log_expected_negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        positive: _Array,
        negatives: _Array,
        log_expected_positive: _Array,
        log_expected_negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _NegativeSampling(Loss):
    """Pairs that occurred are told from pairs that were drawn, as in word2vec, without regard to how they were
    drawn.
    """

    def __call__(self, positive: _Array, negatives: _Array) -> Any: ...
    def value(
        self,
        positive: _Array,
        negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def value_and_grad(
        self,
        positive: _Array,
        negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        positive: _Array,
        negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
    ) -> Any: ...
    def hess(
        self,
        positive: _Array,
        negatives: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
    ) -> Any: ...
    def bind(self) -> Self: ...

class _InfoNce(Loss):
    """Which of the candidates is the partner? Softmax cross-entropy over one row of a table of similarities."""

    def __call__(
        self, similarities: _Array, target: _Array, *, temperature: _Number = 0.07, ignore_index: int | None = None
    ) -> Any: ...
    def value(
        self,
        similarities: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        temperature: _Number = 0.07,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        similarities: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        temperature: _Number = 0.07,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        similarities: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        temperature: _Number = 0.07,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        similarities: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        temperature: _Number = 0.07,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(self, *, temperature: _Number = ..., ignore_index: int | None = ...) -> Self: ...

class _Siglip(Loss):
    """Which of the candidates are partners? A yes or no for each cosine of one row of a table, their costs added
    up.
    """

    def __call__(
        self,
        similarities: _Array,
        target: _Array,
        *,
        scale: _Number = 10.0,
        bias: _Number = -10.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value(
        self,
        similarities: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        scale: _Number = 10.0,
        bias: _Number = -10.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def value_and_grad(
        self,
        similarities: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        scale: _Number = 10.0,
        bias: _Number = -10.0,
        ignore_index: int | None = None,
    ) -> tuple[Any, Any]: ...
    def grad(
        self,
        similarities: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        out: Any = None,
        scale: _Number = 10.0,
        bias: _Number = -10.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def hess(
        self,
        similarities: _Array,
        target: _Array,
        *,
        weight: _Array | None = None,
        mask: _Array | None = None,
        reduction: Reduction = "none",
        denominator: _Number | None = None,
        check: bool = True,
        scale: _Number = 10.0,
        bias: _Number = -10.0,
        ignore_index: int | None = None,
    ) -> Any: ...
    def bind(self, *, scale: _Number = ..., bias: _Number = ..., ignore_index: int | None = ...) -> Self: ...

squared_error: _SquaredError
half_squared_error: _HalfSquaredError
absolute_error: _AbsoluteError
huber: _Huber
smooth_l1: _SmoothL1
pseudo_huber: _PseudoHuber
log_cosh: _LogCosh
pinball: _Pinball
epsilon_insensitive: _EpsilonInsensitive
mape: _Mape
msle: _Msle
cosine_distance: _CosineDistance
binary_cross_entropy: _BinaryCrossEntropy
binary_cross_entropy_with_logits: _BinaryCrossEntropyWithLogits
softmax_cross_entropy: _SoftmaxCrossEntropy
nll: _Nll
zero_one: _ZeroOne
brier: _Brier
generalized_cross_entropy: _GeneralizedCrossEntropy
poly_loss: _PolyLoss
hinge: _Hinge
squared_hinge: _SquaredHinge
smoothed_hinge: _SmoothedHinge
modified_huber: _ModifiedHuber
perceptron: _Perceptron
exponential: _Exponential
logistic_margin: _LogisticMargin
multi_margin: _MultiMargin
multiclass_hinge: _MulticlassHinge
multilabel_margin: _MultilabelMargin
multilabel_soft_margin: _MultilabelSoftMargin
hinge_embedding: _HingeEmbedding
sigmoid_focal: _SigmoidFocal
softmax_focal: _SoftmaxFocal
logit_adjusted: _LogitAdjusted
class_balanced: _ClassBalanced
gaussian_nll: _GaussianNll
laplace_nll: _LaplaceNll
student_t_nll: _StudentTNll
poisson_nll: _PoissonNll
poisson_nll_rate: _PoissonNllRate
gamma_nll: _GammaNll
tweedie_deviance: _TweedieDeviance
negative_binomial_nll: _NegativeBinomialNll
kl_divergence: _KlDivergence
reverse_kl: _ReverseKl
js_divergence: _JsDivergence
generalized_kl: _GeneralizedKl
contrastive: _Contrastive
triplet_margin: _TripletMargin
margin_ranking: _MarginRanking
cosine_embedding: _CosineEmbedding
batch_hard_triplet: _BatchHardTriplet
arcface: _Arcface
cosface: _Cosface
nt_xent: _NtXent
supcon: _Supcon
dice: _Dice
tversky: _Tversky
jaccard: _Jaccard
generalized_dice: _GeneralizedDice
ctc: _Ctc
linear_chain_crf: _LinearChainCrf
rnnt: _Rnnt
l1_penalty: _L1Penalty
l2_penalty: _L2Penalty
elastic_net: _ElasticNet
bradley_terry: _BradleyTerry
dpo: _Dpo
robust_dpo: _RobustDpo
ipo: _Ipo
dpo_hinge: _DpoHinge
simpo: _Simpo
cpo: _Cpo
orpo: _Orpo
kto: _Kto
policy_gradient: _PolicyGradient
ppo_clip: _PpoClip
grpo: _Grpo
kl_k1: _KlK1
kl_k2: _KlK2
kl_k3: _KlK3
entropy_bonus: _EntropyBonus
sampled_softmax: _SampledSoftmax
noise_contrastive_estimation: _NoiseContrastiveEstimation
negative_sampling: _NegativeSampling
info_nce: _InfoNce
siglip: _Siglip
mse: _SquaredError
mean_squared_error: _SquaredError
l2_loss: _SquaredError
quadratic: _SquaredError
l2: _HalfSquaredError
half_mse: _HalfSquaredError
mae: _AbsoluteError
mean_absolute_error: _AbsoluteError
l1: _AbsoluteError
l1_loss: _AbsoluteError
lad: _AbsoluteError
charbonnier: _PseudoHuber
pseudo_huber_error: _PseudoHuber
logcosh: _LogCosh
log_cosh_error: _LogCosh
quantile: _Pinball
quantile_loss: _Pinball
pinball_loss: _Pinball
check_loss: _Pinball
svr: _EpsilonInsensitive
epsilon_insensitive_loss: _EpsilonInsensitive
l1_epsilon_insensitive: _EpsilonInsensitive
mean_absolute_percentage_error: _Mape
absolute_percentage_error: _Mape
mean_squared_logarithmic_error: _Msle
squared_log_error: _Msle
cosine: _CosineDistance
cosine_loss: _CosineDistance
bce: _BinaryCrossEntropy
log_loss: _BinaryCrossEntropy
sigmoid_cross_entropy: _BinaryCrossEntropyWithLogits
bce_with_logits: _BinaryCrossEntropyWithLogits
sigmoid_binary_cross_entropy: _BinaryCrossEntropyWithLogits
binomial_deviance: _BinaryCrossEntropyWithLogits
cross_entropy: _SoftmaxCrossEntropy
categorical_cross_entropy: _SoftmaxCrossEntropy
sparse_categorical_cross_entropy: _SoftmaxCrossEntropy
softmax_cross_entropy_with_integer_labels: _SoftmaxCrossEntropy
multinomial_deviance: _SoftmaxCrossEntropy
negative_log_likelihood: _Nll
zero_one_loss: _ZeroOne
misclassification: _ZeroOne
brier_score: _Brier
quadratic_score: _Brier
gce: _GeneralizedCrossEntropy
lq_loss: _GeneralizedCrossEntropy
poly1: _PolyLoss
poly1_cross_entropy: _PolyLoss
poly_loss_cross_entropy: _PolyLoss
hinge_loss: _Hinge
svm: _Hinge
l1_svm: _Hinge
squared_hinge_loss: _SquaredHinge
l2_svm: _SquaredHinge
smooth_hinge: _SmoothedHinge
quadratically_smoothed_hinge: _SmoothedHinge
robust_squared_hinge: _ModifiedHuber
perceptron_loss: _Perceptron
exponential_loss: _Exponential
adaboost: _Exponential
soft_margin: _LogisticMargin
soft_margin_loss: _LogisticMargin
logistic: _LogisticMargin
weston_watkins: _MultiMargin
multi_margin_loss: _MultiMargin
crammer_singer: _MulticlassHinge
multiclass_hinge_loss: _MulticlassHinge
multilabel_margin_loss: _MultilabelMargin
multilabel_soft_margin_loss: _MultilabelSoftMargin
hinge_embedding_loss: _HingeEmbedding
focal: _SigmoidFocal
binary_focal: _SigmoidFocal
sigmoid_focal_loss: _SigmoidFocal
binary_focal_cross_entropy: _SigmoidFocal
categorical_focal: _SoftmaxFocal
multiclass_focal: _SoftmaxFocal
categorical_focal_cross_entropy: _SoftmaxFocal
balanced_softmax: _LogitAdjusted
logit_adjustment: _LogitAdjusted
class_balanced_cross_entropy: _ClassBalanced
gaussian_nll_loss: _GaussianNll
normal_nll: _GaussianNll
heteroscedastic_gaussian: _GaussianNll
laplace_nll_loss: _LaplaceNll
heteroscedastic_laplace: _LaplaceNll
student_t: _StudentTNll
student_t_nll_loss: _StudentTNll
poisson_nll_loss: _PoissonNll
half_poisson_loss: _PoissonNll
poisson_nll_log_rate: _PoissonNll
half_gamma_loss: _GammaNll
gamma_nll_loss: _GammaNll
tweedie: _TweedieDeviance
tweedie_loss: _TweedieDeviance
nb2: _NegativeBinomialNll
negative_binomial: _NegativeBinomialNll
kl_div: _KlDivergence
kld: _KlDivergence
relative_entropy: _KlDivergence
forward_kl: _KlDivergence
reverse_kl_divergence: _ReverseKl
kl_pred_target: _ReverseKl
jensen_shannon: _JsDivergence
jensen_shannon_divergence: _JsDivergence
jsd: _JsDivergence
generalized_kl_divergence: _GeneralizedKl
generalised_kl: _GeneralizedKl
i_divergence: _GeneralizedKl
half_poisson_deviance: _GeneralizedKl
contrastive_loss: _Contrastive
siamese: _Contrastive
drlim: _Contrastive
triplet: _TripletMargin
triplet_loss: _TripletMargin
triplet_margin_loss: _TripletMargin
margin_ranking_loss: _MarginRanking
pair_hinge: _MarginRanking
cosine_embedding_loss: _CosineEmbedding
triplet_hard: _BatchHardTriplet
batch_hard: _BatchHardTriplet
additive_angular_margin: _Arcface
aam_softmax: _Arcface
am_softmax: _Cosface
large_margin_cosine: _Cosface
lmcl: _Cosface
additive_margin_softmax: _Cosface
ntxent: _NtXent
ntxent_loss: _NtXent
simclr: _NtXent
supervised_contrastive: _Supcon
sup_con: _Supcon
supcon_out: _Supcon
dice_loss: _Dice
soft_dice: _Dice
sorensen_dice: _Dice
f1_loss: _Dice
tversky_loss: _Tversky
jaccard_loss: _Jaccard
soft_iou: _Jaccard
soft_jaccard: _Jaccard
generalized_dice_loss: _GeneralizedDice
gdl: _GeneralizedDice
connectionist_temporal_classification: _Ctc
ctc_loss: _Ctc
crf: _LinearChainCrf
conditional_random_field: _LinearChainCrf
crf_nll: _LinearChainCrf
transducer: _Rnnt
rnn_transducer: _Rnnt
rnn_t: _Rnnt
lasso: _L1Penalty
l1_regularization: _L1Penalty
l1_norm: _L1Penalty
ridge: _L2Penalty
weight_decay: _L2Penalty
tikhonov: _L2Penalty
l2_regularization: _L2Penalty
elasticnet: _ElasticNet
elastic_net_penalty: _ElasticNet
reward_model_loss: _BradleyTerry
pairwise_logistic: _BradleyTerry
dpo_sigmoid: _Dpo
direct_preference_optimization: _Dpo
direct_preference_optimisation: _Dpo
rdpo: _RobustDpo
identity_preference_optimization: _Ipo
identity_preference_optimisation: _Ipo
slic_hinge: _DpoHinge
rso_hinge: _DpoHinge
simple_preference_optimization: _Simpo
simple_preference_optimisation: _Simpo
contrastive_preference_optimization: _Cpo
contrastive_preference_optimisation: _Cpo
odds_ratio_preference_optimization: _Orpo
odds_ratio_preference_optimisation: _Orpo
kahneman_tversky_optimization: _Kto
kahneman_tversky_optimisation: _Kto
reinforce: _PolicyGradient
vanilla_policy_gradient: _PolicyGradient
actor: _PolicyGradient
ppo: _PpoClip
clipped_surrogate: _PpoClip
group_relative_policy_optimization: _Grpo
group_relative_policy_optimisation: _Grpo
k1: _KlK1
kl_estimator_k1: _KlK1
k2: _KlK2
kl_estimator_k2: _KlK2
k3: _KlK3
kl_estimator_k3: _KlK3
negative_entropy: _EntropyBonus
entropy_regularization: _EntropyBonus
entropy_regularisation: _EntropyBonus
sampled_softmax_loss: _SampledSoftmax
sampled_softmax_cross_entropy: _SampledSoftmax
noise_contrastive: _NoiseContrastiveEstimation
nce_loss: _NoiseContrastiveEstimation
sgns: _NegativeSampling
skip_gram_negative_sampling: _NegativeSampling
word2vec: _NegativeSampling
infonce: _InfoNce
sigmoid_pairwise: _Siglip
