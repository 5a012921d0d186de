"""Contenders for a loss of the catalogue: functions that compute it on given arrays, one for each peer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

import lossary
from benchmarks import jax_formulas, numpy_formulas, sklearn_formulas, torch_formulas
from benchmarks.cases import BOTH, VALUE, Answer, Contender
from lossary.evaluate import transforms

_DROP_INS = {
    "squared_error": "mse_loss",
    "absolute_error": "l1_loss",
    "huber": "huber_loss",
    "smooth_l1": "smooth_l1_loss",
    "poisson_nll": "poisson_nll_loss",
    "binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits",
}


@dataclass
class LossProblem:
    """The mean of a loss: predictions (of a loss on rows, logits with the classes on axis 1), targets, parameters.

    bfloat16 arrays are held as rounded float32: NumPy has no such type, and its users take no part.
    """

    loss: str
    inputs: Any
    target: Any
    dtype: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def on_rows(self) -> bool:
        """Whether the loss is one of rows of classes."""
        return bool(lossary.get(self.loss).signatures[0].inputs[0])

    @property
    def _formula(self) -> numpy_formulas.Formula:
        name = {"smooth_l1": "huber"}.get(self.loss, self.loss)  # the same at 1
        return numpy_formulas.FORMULAS[name]

    def reference(self) -> Answer:
        """Return value and gradient of the NumPy formula in double precision."""
        return numpy_formulas.exact(self._formula, self.inputs, self.target, **self.params)

    def contender(self, key: str) -> Contender | None:
        """Return what the peer of that key runs, or None if it has no such loss or type."""
        if self.dtype == "bfloat16" and key in ("arrays", "out", "numpy", "sklearn"):
            return None
        found: Contender | None = getattr(self, f"_{key}")()
        return found

    # --- ours ---------------------------------------------------------------------------------------------------------

    def _arrays(self, out: Any = None) -> Contender:
        loss = lossary.get(self.loss)
        inputs, target = (self._classes_last(x, np.moveaxis) for x in (self.inputs, self.target))
        into = {} if out is None else {"out": self._classes_last(out, np.moveaxis)}
        mean = partial(loss.value_and_grad, inputs, target, reduction="mean", **into, **self.params)
        value = partial(transforms.value, loss, inputs, target, reduction="mean", **self.params)

        def back(result: Any) -> Any:
            value, grad = result
            return value, np.moveaxis(grad, -1, 1)

        return Contender({VALUE: value, BOTH: (lambda: back(mean())) if self.on_rows else mean})

    def _classes_last(self, x: Any, move: Any) -> Any:
        return move(x, 1, -1) if self.on_rows and x.ndim == self.inputs.ndim else x

    def _out(self) -> Contender:
        """The gradient laid into an array that is there: without what it costs to get memory."""
        return Contender({BOTH: self._arrays(out=np.zeros_like(self.inputs)).runs[BOTH]})

    def _tensors(self) -> Contender:
        loss, target, params = lossary.get(self.loss), self._on_torch(self.target), self._params(self._on_torch)
        target = self._classes_last(target, _movedim)

        def mean(leaf: Any) -> Any:
            leaf = self._classes_last(leaf, _movedim)
            return transforms.value(loss, leaf, target, reduction="mean", **params)

        return torch_formulas.differentiated(mean, self._on_torch(self.inputs))

    def _nn(self) -> Contender | None:
        from lossary.nn import functional

        target, params = self._on_torch(self.target), self._params(self._on_torch)
        function: Any
        if self.on_rows and "class_weight" not in params:  # torch's mean would divide by the weights
            function = partial(functional.cross_entropy, **params)
        elif self.loss in _DROP_INS:
            function = getattr(functional, _DROP_INS[self.loss])
        else:
            return None
        return torch_formulas.differentiated(lambda leaf: function(leaf, target), self._on_torch(self.inputs))

    # --- theirs -------------------------------------------------------------------------------------------------------

    def _torch(self) -> Contender:
        return torch_formulas.differentiated(self._theirs(), self._on_torch(self.inputs))

    def _compile(self) -> Contender:
        return torch_formulas.compiled(self._theirs(), self._on_torch(self.inputs))

    def _theirs(self) -> Any:
        function, target = torch_formulas.formulas()[self.loss], self._on_torch(self.target)
        params = self._params(self._on_torch)
        return lambda leaf: function(leaf, target, **params)

    def _jax(self) -> Contender:
        given = [jax_formulas.array(x, self.dtype) for x in (self.inputs, self.target)]
        params = self._params(lambda x: jax_formulas.array(x, self.dtype))
        return jax_formulas.jitted(partial(jax_formulas.formulas()[self.loss], **params), *given)

    def _numpy(self) -> Contender:
        def both() -> Any:
            found = self._formula(self.inputs, self.target, **self.params)
            return next(found), next(found)

        return Contender({VALUE: lambda: next(self._formula(self.inputs, self.target, **self.params)), BOTH: both})

    def _sklearn(self) -> Contender | None:
        if self.params or self.inputs.ndim > 2 or (self.on_rows and self.target.ndim > 1):
            return None
        return sklearn_formulas.contender(self.loss, self.inputs, self.target)

    def _on_torch(self, x: Any) -> Any:
        return torch_formulas.tensor(x, self.dtype)

    def _params(self, convert: Any) -> dict[str, Any]:
        return {name: convert(x) if isinstance(x, np.ndarray) else x for name, x in self.params.items()}


def _movedim(x: Any, source: int, to: int) -> Any:
    return x.movedim(source, to)
