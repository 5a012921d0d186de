"""Penalties on a network's parameters, which are selected by name.

A penalty is a term of the objective, as in textbooks; `weight_decay` of an optimiser is the same for gradient descent
without momentum only (Adam divides it by its running scales, AdamW keeps it outside the gradient on purpose).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import torch

from lossary.catalogue import Loss
from lossary.errors import ArgumentError, ParameterError
from lossary.evaluate import transforms
from lossary.nn.from_catalogue import RecordLoss

Tensor = torch.Tensor
Patterns = str | re.Pattern[str] | Iterable[str | re.Pattern[str]]

__all__ = ["ParameterPenalty"]

# Modules whose weights scale numbers that are already normalised: shrinking them regularises nothing.
_NORMS = (
    torch.nn.modules.batchnorm._NormBase,
    torch.nn.LayerNorm,
    torch.nn.GroupNorm,
    torch.nn.RMSNorm,
)


class ParameterPenalty(RecordLoss):
    """A penalty on parameters of a network, summed over all their entries and multiplied by `strength`.

    Call it with the network: ``loss + penalty(model)``. By default it leaves out biases (parameters whose last name
    is, or ends in, ``bias``) and all parameters of normalisation layers, whose size is no measure of complexity.
    Parameters that do not require a gradient are never penalised; one that is shared is penalised once.

    Parameters
    ----------
    strength: the factor in front of the sum, >= 0.
    include: names of the parameters that are penalised, as shell patterns (``"encoder.*.weight"``) or compiled regular
        expressions that must match the whole name. Given, it alone decides: a bias that matches is penalised.
    exclude: the same, of parameters that are not.

    Raises `ArgumentError` if nothing is left to penalise.

    >>> import lossary
    >>> layer = torch.nn.Linear(2, 1)
    >>> torch.nn.init.constant_(layer.weight, 3.0).tolist()
    [[3.0, 3.0]]
    >>> penalty = ParameterPenalty(lossary.l2_penalty, 0.1)
    >>> penalty.names(layer), round(penalty(layer).item(), 6)
    (['weight'], 0.9)
    """

    def __init__(
        self,
        loss: Loss | str,
        strength: float,
        *,
        include: Patterns | None = None,
        exclude: Patterns = (),
        **params: Any,
    ) -> None:
        """Make a penalty on parameters; the arguments are those of the class."""
        super().__init__(loss, reduction="sum", **params)
        if not isinstance(strength, (int, float)) or not 0 <= strength < float("inf"):
            raise ParameterError(f"{self._get_name()}: strength: got {strength!r}, expected a finite number >= 0")
        self.strength = float(strength)
        self.include = None if include is None else _listed(include)
        self.exclude = _listed(exclude)

    def selected(self, model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Iterate over the names and values of the parameters that are penalised."""
        left_out = set() if self.include is not None else _biases_and_norms(model)
        for name, parameter in model.named_parameters():
            included = name not in left_out if self.include is None else _matches(name, self.include)
            if included and parameter.requires_grad and not _matches(name, self.exclude):
                yield name, parameter

    def names(self, model: torch.nn.Module) -> list[str]:
        """Return the names of the parameters that are penalised."""
        return [name for name, _ in self.selected(model)]

    def forward(self, model: torch.nn.Module) -> Tensor:
        """Return the penalty of a network as it is now."""
        sizes = [
            transforms.value(self.loss, parameter, reduction="sum", check=False, **self.held())
            for _, parameter in self.selected(model)
        ]
        if not sizes:
            known = ", ".join(name for name, _ in model.named_parameters()) or "none at all"
            raise ArgumentError(
                f"{self._get_name()}: no parameter is left to penalise; the model's parameters are {known}. Biases and "
                "normalisation layers are left out unless include= names them"
            )
        return self.strength * torch.stack(sizes).sum()

    def extra_repr(self) -> str:
        """Return the strength, the choice of parameters and the parameters of the penalty."""
        chosen = [f"{self.strength:g}"]
        chosen += [f"include={_patterns(self.include)}"] if self.include is not None else []
        chosen += [f"exclude={_patterns(self.exclude)}"] if self.exclude else []
        return ", ".join(chosen + [f"{name}={value!r}" for name, value in self.held().items()])


def _listed(patterns: Patterns) -> tuple[str | re.Pattern[str], ...]:
    return (patterns,) if isinstance(patterns, (str, re.Pattern)) else tuple(patterns)


def _patterns(patterns: Iterable[str | re.Pattern[str]]) -> list[str]:
    return [pattern if isinstance(pattern, str) else pattern.pattern for pattern in patterns]


def _matches(name: str, patterns: Iterable[str | re.Pattern[str]]) -> bool:
    return any(
        fnmatchcase(name, pattern) if isinstance(pattern, str) else bool(pattern.fullmatch(name))
        for pattern in patterns
    )


def _biases_and_norms(model: torch.nn.Module) -> set[str]:
    """Return the names of biases and of the parameters of normalisation layers."""
    return {
        f"{place}.{name}".lstrip(".")
        for place, module in model.named_modules()
        for name, _ in module.named_parameters(recurse=False)
        if isinstance(module, _NORMS) or re.search(r"(^|_|\b)bias(_\w+)?$", name)
    }
