"""One training step in PyTorch: autograd and ``torch.optim`` on the weights of a `lossary.training` network.

There is one training loop, `lossary.training.fit`; only its three steps have a second implementation, here. A network
keeps its weights in NumPy arrays, and `module_of` returns a ``torch.nn.Sequential`` whose parameters share their
memory. So PyTorch does the training (its layers, its autograd through the catalogue's loss, its optimiser), while
initial weights, early stopping, the diagnosis of a NaN and `predict` need no second implementation, and nothing is
copied. It also means that training runs where the arrays are: on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lossary.errors import ArgumentError
from lossary.training import layers
from lossary.training.layers import Array, Layer, Parameter
from lossary.training.optimisers import SGD, Adam, Optimiser
from lossary.training.task import Batch, Task


class Autograd:
    """The three steps of `lossary.training.steps.ByHand`, written in PyTorch."""

    def __init__(self, model: Layer, task: Task, descent: Optimiser, l2: float) -> None:
        self._module, self._task, self._parameters = module_of(model), task, list(model.parameters)
        self._tensors = list(self._module.parameters())
        self._optimiser = _optimiser(descent, self._tensors, self._parameters, l2)

    def learn(self, batch: Batch) -> float:
        """Go forward; autograd goes backward, through the loss by its hand-written gradient."""
        self._optimiser.zero_grad()
        value = self._loss(batch)
        value.backward()
        for parameter, tensor in zip(self._parameters, self._tensors, strict=True):
            assert tensor.grad is not None
            parameter.grad = tensor.grad.numpy().T  # a weight is the transpose of ours; a bias is its own
        return value.item()

    def step(self, rate: float) -> None:
        """Let the optimiser step; the penalty is its weight decay."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()

    @torch.no_grad()
    def measure(self, batch: Batch) -> float:
        """Go forward only."""
        return self._loss(batch).item()

    def _loss(self, batch: Batch) -> torch.Tensor:
        """Return the mean loss of a batch as a tensor of the autograd graph."""
        task, targets = self._task, tensor_of(batch.y)
        prediction = task.prediction(self._module(tensor_of(batch.X)), targets)
        weight = None if batch.weight is None else tensor_of(batch.weight)
        others = map(tensor_of, task.others)
        value: torch.Tensor = task.loss.value(
            prediction, targets, *others, weight=weight, reduction="mean", **task.params
        )
        return value


def tensor_of(array: Array) -> torch.Tensor:
    """Return a tensor on the memory of an array; of a copy, where that is read-only or not contiguous."""
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def module_of(model: Layer) -> nn.Module:
    """Return a network as a PyTorch module on the same memory: training one trains the other.

    Raises `ArgumentError` for a layer that PyTorch has no counterpart of here.

    >>> from lossary.training import mlp
    >>> network = mlp(2, 3, 1)
    >>> module = module_of(network)
    >>> module
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
      (2): Linear(in_features=3, out_features=1, bias=True)
    )
    >>> with torch.no_grad():
    ...     _ = module[2].bias.fill_(7.0)
    >>> network.parameters[-1].value
    array([7.])
    """
    if isinstance(model, layers.Sequential):
        return nn.Sequential(*map(module_of, model.layers))
    if isinstance(model, layers.Linear):
        inputs, outputs = model.weight.value.shape
        linear = nn.Linear(inputs, outputs, device="meta")  # without memory, so no random numbers are drawn for it
        # torch writes Y = X W^T + b, so its weight is the transpose of ours: a view, for `from_numpy` copies nothing.
        linear.weight = nn.Parameter(torch.from_numpy(model.weight.value).T)
        linear.bias = nn.Parameter(torch.from_numpy(model.bias.value))
        return linear
    if isinstance(model, layers.ReLU):
        return nn.ReLU()
    if isinstance(model, layers.Tanh):
        return nn.Tanh()
    raise ArgumentError(f"model: {model!r} has no counterpart in PyTorch here; Linear, ReLU, Tanh and Sequential have")


def _optimiser(
    descent: Optimiser, tensors: Sequence[torch.Tensor], parameters: Sequence[Parameter], l2: float
) -> torch.optim.Optimizer:
    """Return PyTorch's optimiser with the same settings; parameters that no penalty applies to do not decay."""
    groups: list[dict[str, Any]] = [
        {"params": [t for t, p in zip(tensors, parameters, strict=True) if p.decay], "weight_decay": l2},
        {"params": [t for t, p in zip(tensors, parameters, strict=True) if not p.decay], "weight_decay": 0.0},
    ]
    if isinstance(descent, Adam):
        return torch.optim.Adam(groups, lr=descent.lr, betas=descent.betas, eps=descent.eps)
    if isinstance(descent, SGD):
        return torch.optim.SGD(groups, lr=descent.lr, momentum=descent.momentum, nesterov=descent.nesterov)
    raise ArgumentError(f"optimiser: got {descent!r}, expected SGD or Adam: PyTorch has no counterpart of others here")
