"""Benchmark cases of a linear head with softmax cross-entropy: gradients of hidden states and weight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import lossary
from benchmarks import inputs, jax_formulas, torch_formulas
from benchmarks.cases import BOTH, VALUE, Answer, Case, Contender, Options
from benchmarks.numpy_formulas import softmax_cross_entropy

_SHAPES: tuple[tuple[int, ...], ...] = ((2048, 1024, 32000), (512, 512, 128256), (8192, 256, 4096))
_QUICK: tuple[tuple[int, ...], ...] = ((64, 8, 100),)
_BLOCK = 1 << 22  # logits


def _formula(hidden: Any, weight: Any, labels: Any) -> Any:
    """Yield the mean, and both gradients, with whole logits: the usual formula in NumPy."""
    found = softmax_cross_entropy(hidden @ weight.T, labels)
    yield next(found)
    grad = next(found)
    yield grad @ weight, grad.T @ hidden


@dataclass
class _HeadCase:
    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        rows, features, classes = self.shape
        rng = np.random.default_rng(0)
        self.hidden = inputs.filled((rows, features), self.dtype, rng.standard_normal)
        # Logits of about the size that trained ones have.
        self.weight = inputs.filled(
            (classes, features), self.dtype, lambda n: rng.standard_normal(n) / np.sqrt(features)
        )
        self.labels = rng.integers(0, classes, rows)

    def reference(self) -> Answer:
        """The NumPy formula in double precision, some rows at a time."""
        rows, _, classes = self.shape
        hidden, weight = self.hidden.astype(float), self.weight.astype(float)
        value, of_hidden, of_weight = 0.0, np.empty_like(hidden), np.zeros_like(weight)
        step = max(1, _BLOCK // classes)
        for start in range(0, rows, step):
            part = slice(start, start + step)
            found = _formula(hidden[part], weight, self.labels[part])
            fraction = len(hidden[part]) / rows
            value += fraction * float(next(found))
            grads = next(found)
            of_hidden[part] = fraction * grads[0]
            of_weight += fraction * grads[1]
        return Answer(value, (of_hidden, of_weight))

    def contender(self, key: str) -> Contender | None:
        """Return what the peer of that key runs; NumPy has no bfloat16."""
        if self.dtype == "bfloat16" and key in ("arrays", "numpy"):
            return None
        if key == "arrays":
            given = (lossary.softmax_cross_entropy, self.hidden, self.weight, self.labels)

            def both() -> tuple[Any, Any]:
                value, grads = lossary.linear_value_and_grad(*given, wrt=("hidden", "weight"))
                return value, (grads.hidden, grads.weight)

            return Contender({VALUE: partial(lossary.linear, *given), BOTH: both})
        if key == "numpy":
            arrays = (self.hidden, self.weight, self.labels)

            def formula() -> tuple[Any, Any]:
                found = _formula(*arrays)
                return next(found), next(found)

            return Contender({VALUE: lambda: next(_formula(*arrays)), BOTH: formula})
        if key == "jax":
            hidden, weight, labels = (
                jax_formulas.array(x, self.dtype) for x in (self.hidden, self.weight, self.labels)
            )
            loss = jax_formulas.formulas()["softmax_cross_entropy"]
            return jax_formulas.jitted(lambda h, w, y: loss(h @ w.T, y), hidden, weight, labels, wrt=(0, 1))
        return self._on_torch(key)

    def _on_torch(self, key: str) -> Contender:
        import torch.nn.functional as theirs

        from lossary.nn import functional as ours

        labels = torch_formulas.tensor(self.labels, self.dtype)
        leaves = [torch_formulas.tensor(x, self.dtype) for x in (self.hidden, self.weight)]

        def whole(hidden: Any, weight: Any) -> Any:
            return theirs.cross_entropy(theirs.linear(hidden, weight), labels)

        if key == "compile":
            return torch_formulas.compiled(whole, *leaves)
        if key == "products":
            return _products(*leaves)
        functions = {
            "tensors": lambda h, w: lossary.linear(lossary.softmax_cross_entropy, h, w, labels),
            "nn": lambda h, w: ours.linear_cross_entropy(h, w, labels),
            "chunked": lambda h, w: theirs.linear_cross_entropy(h, w, labels, options=_chunked()),
            "torch": whole,
        }
        return torch_formulas.differentiated(functions[key], *leaves)


def _products(hidden: Any, weight: Any) -> Contender:
    """The matrix products of the head and of its gradients alone: a lower bound for every peer."""

    def both() -> Any:
        logits = hidden @ weight.T
        return logits @ weight, logits.T @ hidden

    return Contender({VALUE: lambda: hidden @ weight.T, BOTH: both}, read=None)


def _chunked() -> Any:
    """The options under which torch's own function makes the logits by chunks, of a size that it chooses."""
    from torch.nn import LinearCrossEntropyOptions

    return LinearCrossEntropyOptions()


def cases(options: Options) -> list[Case]:
    """A vocabulary of today, a larger one, and many rows of few classes."""
    if options.losses and "softmax_cross_entropy" not in options.losses:
        return []
    return [
        Case("softmax_cross_entropy", shape, options.dtype, partial(_HeadCase, shape, options.dtype))
        for shape in options.sizes or (_QUICK if options.quick else _SHAPES)
    ]
