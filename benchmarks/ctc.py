"""Benchmark cases of CTC (connectionist temporal classification) on padded sequences of different lengths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import lossary
from benchmarks import inputs, jax_formulas, torch_formulas
from benchmarks.cases import BOTH, VALUE, Answer, Case, Contender, Options
from benchmarks.cases import read as read_answer
from lossary.evaluate import transforms

# Sequences, frames, classes: letters, word pieces, and long recordings; a label for each fifth frame.
_SHAPES: tuple[tuple[int, ...], ...] = ((32, 400, 32), (16, 400, 1024), (8, 2000, 32))
_QUICK: tuple[tuple[int, ...], ...] = ((4, 40, 12),)


@dataclass
class _Problem:
    shape: tuple[int, ...]
    dtype: str

    def __post_init__(self) -> None:
        batch, frames, classes = self.shape
        rng = np.random.default_rng(0)
        most = max(frames // 5, 1)
        self.logits = inputs.filled(self.shape, self.dtype, rng.standard_normal)
        self.labels = rng.integers(1, classes, (batch, most))
        self.frames = np.maximum(rng.integers(frames // 2, frames + 1, batch), 1)
        self.symbols = np.maximum(np.minimum(self.frames // 5, most), 1)

    def reference(self) -> Answer:
        """torch's function in float64, whose gradient is right behind the log_softmax."""
        return read_answer(self._on_torch("torch", "float64").runs[BOTH]())

    def contender(self, key: str) -> Contender | None:
        """What the peer of that key runs; NumPy has no bfloat16."""
        if key == "arrays":
            if self.dtype == "bfloat16":
                return None
            given = (lossary.ctc, self.logits, self.labels, self.frames, self.symbols)
            return Contender(
                {
                    VALUE: partial(transforms.value, *given, reduction="mean"),
                    BOTH: partial(transforms.value_and_grad, *given, reduction="mean"),
                }
            )
        return self._jax() if key == "jax" else self._on_torch(key, self.dtype)

    def _on_torch(self, key: str, dtype: str) -> Contender:
        import torch

        from lossary.nn import functional

        leaf = torch_formulas.tensor(self.logits, dtype)
        labels, frames, symbols = map(torch.from_numpy, (self.labels, self.frames, self.symbols))

        def ours(logits: Any) -> Any:
            return transforms.value(lossary.ctc, logits, labels, frames, symbols, reduction="mean")

        def by(function: Any) -> Any:
            def total(logits: Any) -> Any:
                log_probs = logits.log_softmax(-1).transpose(0, 1)
                return function(log_probs, labels, frames, symbols, reduction="sum") / len(labels)

            return total

        functions = {"tensors": ours, "nn": by(functional.ctc_loss), "torch": by(torch.nn.functional.ctc_loss)}
        return torch_formulas.differentiated(functions[key], leaf)

    def _jax(self) -> Contender:
        import optax.losses as optax

        logits, labels = (jax_formulas.array(x, self.dtype) for x in (self.logits, self.labels))
        beyond = self._padding(self.frames, self.shape[1]), self._padding(self.symbols, self.labels.shape[1])

        def mean(logits: Any, labels: Any, after: Any, behind: Any) -> Any:
            return optax.ctc_loss(logits, after, labels, behind).mean()

        return jax_formulas.jitted(mean, logits, labels, *beyond)

    def _padding(self, lengths: Any, most: int) -> Any:
        """1 behind the end of each sequence, as optax wants it."""
        return jax_formulas.array((np.arange(most) >= lengths[:, None]).astype(np.float32), self.dtype)


def cases(options: Options) -> list[Case]:
    """Padded batches, as (sequences, frames, classes)."""
    if options.losses and "ctc" not in options.losses:
        return []
    return [
        Case("ctc", shape, options.dtype, partial(_Problem, shape, options.dtype))
        for shape in options.sizes or (_QUICK if options.quick else _SHAPES)
    ]
