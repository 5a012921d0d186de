"""Multi-task losses: weighted totals of several tasks, with fixed, learned or adaptive weights, reported per task.

A task is a name and a single number, its loss. `MultiTaskLoss` weighs and adds them by one of five schemes and returns
a `MultiTaskReport`: the total to differentiate, and per task its weight, its raw value and what it adds to the total.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, overload

import torch

from lossary import numerics
from lossary.backends.torch import namespace as xp
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError, suggest
from lossary.toolkit.sum_result import total_of
from lossary.toolkit.tensor_sum import TensorSum
from lossary.toolkit.weighted_sum import weighted_sum

Tensor = torch.Tensor

__all__ = ["MultiTaskLoss", "MultiTaskReport"]


class MultiTaskReport(TensorSum):
    """A step's total and its account: `weights`, `raw` and `weighted` by name; ``print`` shows them as a table.

    It is the tensor `total`, to be differentiated, scaled and added to like any loss; divided or multiplied by a number
    it keeps its account. Only the total is part of the graph: an account, kept as ``dict(report.weighted)``, keeps no
    activations of the network alive. `first_nonfinite` names the first task whose value is NaN or infinite.
    """


def _account(
    total: Tensor, weights: Mapping[str, Any], raw: Mapping[str, Any], weighted: Mapping[str, Any]
) -> MultiTaskReport:
    """Return a report whose account is detached from the graph."""

    def detached(part: Mapping[str, Any]) -> Mapping[str, Any]:
        return {k: v.detach() if isinstance(v, Tensor) else v for k, v in part.items()}

    report: Any = MultiTaskReport.from_parts(total, detached(weights), detached(raw), detached(weighted))
    return report


# --- the schemes ----------------------------------------------------------------------------------------------------


class _Scheme(torch.nn.Module):
    """A scheme that sets the weights of the tasks.

    `forward` takes the raw losses in order, stacked and (to be differentiated one by one) as they were given, and
    returns the report of a step.
    """

    idle: frozenset[str] = frozenset()  # tasks that are reported and never differentiated

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names

    def _added(self, raw: Tensor, weights: Tensor, *further: tuple[str, Tensor]) -> MultiTaskReport:
        """Return the account of a weighted sum, with rows of its own for what is added beside the tasks."""
        weighted = numerics.times(xp, weights, raw)
        total = weighted.sum()
        rows = [dict(zip(self.names, part.unbind(), strict=True)) for part in (weights, raw, weighted)]
        for name, value in further:
            total = total + value
            for row, entry in zip(rows, (1.0, value, value), strict=True):
                row[name] = entry
        return _account(total, *rows)


class _Fixed(_Scheme):
    def __init__(self, names: tuple[str, ...], *, weights: Mapping[str, float] | None = None) -> None:
        super().__init__(names)
        self.weights = dict.fromkeys(names, 1.0) | _by_name("weights", names, weights, 1.0)
        weighted_sum(**{name: (weight, 0.0) for name, weight in self.weights.items()})  # refuses what is no weight
        self.idle = frozenset(name for name, weight in self.weights.items() if not weight)

    def forward(self, raw: Tensor, losses: Sequence[Tensor]) -> MultiTaskReport:
        return self._added(raw, raw.new_tensor([self.weights[name] for name in self.names]))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={weight:g}" for name, weight in self.weights.items())


_FACTORS = {"regression": 0.5, "classification": 1.0}


class _Uncertainty(_Scheme):
    factors: Tensor

    def __init__(self, names: tuple[str, ...], *, kinds: Mapping[str, str] | str = "regression") -> None:
        super().__init__(names)
        kinds = dict.fromkeys(names, kinds) if isinstance(kinds, str) else kinds
        kinds = _by_name("kinds", names, kinds, None)
        for name, kind in kinds.items():
            if kind not in _FACTORS:
                raise ParameterError(
                    f"kinds: {name}: got {kind!r}, expected one of {', '.join(_FACTORS)}{suggest(str(kind), _FACTORS)}"
                )
        self.kinds = kinds
        self.log_variance = torch.nn.Parameter(torch.zeros(len(names)))
        self.register_buffer("factors", torch.tensor([_FACTORS[kinds[name]] for name in names]), persistent=False)

    def forward(self, raw: Tensor, losses: Sequence[Tensor]) -> MultiTaskReport:
        weights = self.factors * torch.exp(-self.log_variance)
        return self._added(raw, weights, ("(log sigma)", 0.5 * self.log_variance.sum()))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={kind}" for name, kind in self.kinds.items())


class _DynamicAverage(_Scheme):
    epoch_mean: Tensor
    steps: Tensor
    last: Tensor
    before_last: Tensor

    def __init__(self, names: tuple[str, ...], *, temperature: float = 2.0) -> None:
        super().__init__(names)
        if not 0 < temperature < math.inf:
            raise ParameterError(f"temperature: got {temperature}, expected a number in (0, inf)")
        self.temperature = temperature
        self.register_buffer("epoch_mean", torch.zeros(len(names)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        for history in ("last", "before_last"):  # NaN: there has been no such epoch yet
            self.register_buffer(history, torch.full((len(names),), math.nan))

    def forward(self, raw: Tensor, losses: Sequence[Tensor]) -> MultiTaskReport:
        if self.training:
            with torch.no_grad():
                self.steps += 1
                self.epoch_mean += (raw - self.epoch_mean) / self.steps
        return self._added(raw, self.weights().to(raw.dtype))

    def weights(self) -> Tensor:
        rates = self.last / self.before_last
        known = torch.isfinite(rates).all()
        rates = torch.where(known, rates, torch.ones_like(rates))
        return len(self.names) * torch.softmax(rates / self.temperature, 0)

    def end_epoch(self) -> None:
        if not self.steps:
            raise ArgumentError("end_epoch: no training step has been made since the last epoch ended")
        self.before_last.copy_(self.last)
        self.last.copy_(self.epoch_mean)
        self.epoch_mean.zero_()
        self.steps.zero_()

    def extra_repr(self) -> str:
        return f"temperature={self.temperature:g}"


class _GeometricMean(_Scheme):
    shares: Tensor

    def __init__(self, names: tuple[str, ...], *, weights: Mapping[str, float] | None = None) -> None:
        super().__init__(names)
        held = dict.fromkeys(names, 1.0) | _by_name("weights", names, weights, 1.0)
        for name, weight in held.items():
            if not 0 < weight < math.inf:
                raise ParameterError(f"weights: {name}: got {weight}, expected a number in (0, inf)")
        exponents = torch.tensor([held[name] for name in names])
        self.register_buffer("shares", exponents / exponents.sum(), persistent=False)

    def forward(self, raw: Tensor, losses: Sequence[Tensor]) -> MultiTaskReport:
        seen = xp.readable(raw)
        if seen is not None and (seen < 0).any():
            at = int((seen < 0).argmax())
            raise DomainError(
                f"MultiTaskLoss: {self.names[at]}: got {seen[at]:g}, expected a loss >= 0: a negative number has no "
                "geometric mean with others; shift the loss, or choose another weighting"
            )
        shares = self.shares.to(raw.dtype)
        finished = (raw == 0).any()
        total = torch.exp((shares * torch.log(torch.where(finished, 1.0, raw))).sum())
        total = torch.where(finished, 0.0, total)
        contributions = (shares * total).detach()
        weights = torch.where(finished, 0.0, contributions / raw.detach())  # the gradient of the total in each loss
        rows = (dict(zip(self.names, part.unbind(), strict=True)) for part in (weights, raw, contributions))
        return _account(total, *rows)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={share:g}" for name, share in zip(self.names, self.shares.tolist(), strict=True))


class _GradNorm(_Scheme):
    initial: Tensor

    def __init__(self, names: tuple[str, ...], *, shared: Iterable[Tensor] | Tensor, alpha: float = 1.5) -> None:
        super().__init__(names)
        found = [shared] if isinstance(shared, Tensor) else list(shared)
        if not found or not all(isinstance(x, Tensor) for x in found):
            raise ArgumentError(
                "shared: expected the parameters that all tasks have in common, such as those of the last shared "
                "layer: shared=model.trunk[-1].parameters()"
            )
        if not 0 <= alpha < math.inf:
            raise ParameterError(f"alpha: got {alpha}, expected a number in [0, inf)")
        self._shared = _Unowned(found)
        self.alpha = alpha
        self.weight = torch.nn.Parameter(torch.ones(len(names)))
        self.register_buffer("initial", torch.full((len(names),), math.nan))

    def forward(self, raw: Tensor, losses: Sequence[Tensor]) -> MultiTaskReport:
        with torch.no_grad():
            if self.training:  # the optimiser has moved them: their sum is the number of tasks, and none is negative
                self.weight.clamp_(min=1e-6)
                self.weight.mul_(len(self.names) / self.weight.sum())
                first = torch.isnan(self.initial) & (raw > 0) & (raw < math.inf)
                self.initial.copy_(torch.where(first, raw, self.initial))
        weights = self.weight.detach().to(raw.dtype)
        report = self._added(raw, weights)
        if not self.training or not raw.requires_grad or not torch.is_grad_enabled():
            return report
        gradient = self._gradient(raw, losses, weights)
        # Adds 0 to the value, and the gradient to that of the weights, which are so trained with the network.
        moved = ((self.weight - self.weight.detach()) * gradient.to(self.weight.dtype)).sum()
        return _account(report.total + moved, report.weights, report.raw, report.weighted)

    def _gradient(self, raw: Tensor, losses: Sequence[Tensor], weights: Tensor) -> Tensor:
        """Return the gradient in the weights of the distance between the tasks' gradient norms and their targets."""
        norms = []
        for name, value in zip(self.names, losses, strict=True):
            grads: Sequence[Tensor | None] = ()
            if value.requires_grad:
                grads = torch.autograd.grad(value, self._shared.tensors, retain_graph=True, allow_unused=True)
            if all(grad is None for grad in grads):
                raise ArgumentError(f"MultiTaskLoss: {name}: does not depend on the shared parameters")
            norms.append(
                torch.sqrt(sum((grad.square().sum() for grad in grads if grad is not None), raw.new_zeros(())))
            )
        norm = torch.stack(norms)
        rates = raw.detach() / self.initial
        target = (weights * norm).mean() * (rates / rates.mean()) ** self.alpha
        gradient = torch.sign(weights * norm - target) * norm
        # Until every task has had a loss to compare with, or while one is not finite, the weights stay.
        finite = torch.isfinite(gradient).all() & torch.isfinite(target).all()
        return torch.where(finite, gradient, torch.zeros_like(gradient))

    def extra_repr(self) -> str:
        return f"alpha={self.alpha:g}"


class _Unowned:
    """Tensors that belong to another module: not parameters of this one, but copied and pickled with it."""

    def __init__(self, tensors: list[Tensor]) -> None:
        self.tensors = tensors


Kind = Literal["regression", "classification"]  # of a task, under "uncertainty"

SCHEMES: dict[str, type[_Scheme]] = {
    "fixed": _Fixed,
    "uncertainty": _Uncertainty,
    "dynamic average": _DynamicAverage,
    "geometric mean": _GeometricMean,
    "gradnorm": _GradNorm,
}


def _by_name(what: str, names: tuple[str, ...], given: Mapping[str, Any] | None, default: Any) -> dict[str, Any]:
    """Return the entries of an option that is given by task, or say which name is wrong or missing."""
    found = dict(given or {})
    for name in found:
        if name not in names:
            raise ArgumentError(
                f'{what}: there is no task "{name}"{suggest(name, names) or f": there are {_list(names)}"}'
            )
    missing = [name for name in names if name not in found]
    if missing and default is None:
        raise ArgumentError(f"{what}: missing {_list(missing)}; expected an entry for each task")
    return found


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


# --- the module -----------------------------------------------------------------------------------------------------


class MultiTaskLoss(torch.nn.Module):
    """A weighted total of several losses that are not measured in the same units.

    Call it with the reduced losses by name; it returns a `MultiTaskReport`.

    Parameters
    ----------
    names: the tasks, in the order in which they are reported.
    weighting: the scheme that sets their weights, with options of its own:

        ``"fixed"``: ``weights``, a number for each name, 1 by default. A task of weight 0 adds exactly 0.
        ``"uncertainty"`` (Kendall, Gal and Cipolla 2018): each task has a learned log-variance ``s`` and costs
        ``factor * exp(-s) * loss + s / 2``. `kinds`, for all or by name, says what the loss is: ``"regression"``, the
        mean squared error of a Gaussian, factor 1/2; ``"classification"``, the cross-entropy of tempered logits,
        factor 1. Hand the module's parameters to the optimiser.
        ``"dynamic average"`` (Liu, Johns and Davison 2019): tasks whose loss fell more slowly over the last epoch weigh
        more, by a softmax of the ratios with a `temperature`; the weights sum to their number. Call `end_epoch` after
        each epoch; two are needed before any weight moves.
        ``"geometric mean"``: the product of the losses to the power of their shares, which no change of units affects;
        `weights` make the shares unequal. Where one loss is exactly 0 the total is 0, and so is its gradient.
        ``"gradnorm"`` (Chen et al. 2018): weights are learned so that the tasks' gradients in the `shared` parameters
        have norms in the proportion of their relative losses to the power of `alpha`; the weights sum to their number.
        Hand the module's parameters to the optimiser, without weight decay. Differentiating the total sets
        their gradient too.

    In evaluation mode (``eval()``) no history is taken and no weight moves. The state, histories included, is in
    `state_dict`.

    >>> criterion = MultiTaskLoss(["age", "sex"], weights={"sex": 0.5})
    >>> report = criterion(age=torch.tensor(3.0), sex=torch.tensor(0.8))
    >>> print(report)
    term   weight  value  weighted
    age         1      3         3
    sex       0.5    0.8       0.4
    total                      3.4
    """

    # What a checker and an editor know of the options; the schemes are asked when the module is made.
    @overload
    def __init__(
        self,
        names: Iterable[str],
        weighting: Literal["fixed", "geometric mean"] = "fixed",
        *,
        weights: Mapping[str, float] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        names: Iterable[str],
        weighting: Literal["uncertainty"],
        *,
        kinds: Mapping[str, Kind] | Kind = "regression",
    ) -> None: ...
    @overload
    def __init__(
        self, names: Iterable[str], weighting: Literal["dynamic average"], *, temperature: float = 2.0
    ) -> None: ...
    @overload
    def __init__(
        self,
        names: Iterable[str],
        weighting: Literal["gradnorm"],
        *,
        shared: Iterable[Tensor] | Tensor,
        alpha: float = 1.5,
    ) -> None: ...
    def __init__(self, names: Iterable[str], weighting: str = "fixed", **options: Any) -> None:
        """Make the module with the options of its weighting."""
        super().__init__()
        self.names = tuple(names)
        self._check_names()
        if weighting not in SCHEMES:
            raise ParameterError(
                f"weighting: got {weighting!r}, expected one of {_list(SCHEMES)}{suggest(str(weighting), SCHEMES)}"
            )
        scheme = SCHEMES[weighting]
        known = [*inspect.signature(scheme).parameters][1:]
        for option in options:
            if option not in known:
                raise ArgumentError(
                    f'MultiTaskLoss: the weighting "{weighting}" has no option "{option}"'
                    f"{suggest(option, known) or ': it has ' + (_list(known) or 'none')}"
                )
        if "shared" in known and "shared" not in options:
            raise ArgumentError(
                f'MultiTaskLoss: the weighting "{weighting}" needs shared=, the parameters that all tasks have in '
                "common, such as those of the last shared layer"
            )
        self.weighting = weighting
        self.scheme = scheme(self.names, **options)

    def _check_names(self) -> None:
        wrong = [name for name in self.names if not isinstance(name, str) or not name.isidentifier()]
        if wrong:
            raise ArgumentError(f"names: {wrong[0]!r} cannot be a keyword; expected words such as 'digit' or 'ink'")
        if not self.names or len(set(self.names)) < len(self.names):
            raise ArgumentError(f"names: got {list(self.names)}, expected at least one task and each of them once")

    def forward(self, **losses: Tensor) -> MultiTaskReport:
        """Return the account of one step, of one reduced loss per task."""
        unknown = [name for name in losses if name not in self.names]
        missing = [name for name in self.names if name not in losses]
        if unknown:
            raise ArgumentError(
                f'MultiTaskLoss: there is no task "{unknown[0]}"'
                f"{suggest(unknown[0], self.names) or f': there are {_list(self.names)}'}"
            )
        if missing:
            raise ArgumentError(f"MultiTaskLoss: missing {_list(missing)}; each step has every task")
        losses = {name: total_of(value) for name, value in losses.items()}
        for name, value in losses.items():
            if not isinstance(value, Tensor):
                raise ArgumentError(f"MultiTaskLoss: {name}: got {type(value).__name__}, expected a tensor")
            if value.ndim:
                raise ShapeError(
                    f"MultiTaskLoss: {name}: got a tensor of shape {tuple(value.shape)}, expected a single number; "
                    "reduce it first with lossary.mean"
                )
        dtype = xp.compute_dtype(list(losses.values()))
        # A task of weight 0 is left out of the graph: a gradient of 0 times one of NaN would be NaN.
        known = [losses[name].detach() if name in self.scheme.idle else losses[name] for name in self.names]
        known = [value.to(dtype) for value in known]
        report: MultiTaskReport = self.scheme(torch.stack(known), known)
        return report

    def end_epoch(self) -> None:
        """Tell the weighting that an epoch has ended; only ``"dynamic average"`` uses it."""
        if isinstance(self.scheme, _DynamicAverage):
            self.scheme.end_epoch()

    def extra_repr(self) -> str:
        """Return the tasks and their weighting."""
        return f"{_list(self.names)}, weighting={self.weighting!r}"
