"""Drop-ins for torch's losses of distributions: Kullback-Leibler divergence, Poisson and Gaussian likelihoods."""

from __future__ import annotations

import torch
from torch import Tensor

from lossary.backends.torch import namespace as xp
from lossary.nn import torch_variants as variants
from lossary.nn.functional import wording
from lossary.nn.functional.conventions import at_least_float, need_float, numbers, refuse, result_type, shape, warn
from lossary.nn.functional.driver import NO_PARAMS, Arrays, EntryLoss, Params
from lossary.nn.functional.torch_function import overridable

__all__ = ["gaussian_nll_loss", "kl_div", "poisson_nll_loss"]


def _floating(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take floating point numbers."""
    input, target = arrays
    need_float(name, input=input, target=target)
    return torch.broadcast_tensors(input, target), result_type(input, target)


def _counts(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take numbers of any type."""
    input, target = arrays
    wording.warn_of_broadcast(name, input=input, target=target)
    rate, count = torch.broadcast_tensors(input, target)
    return (numbers(rate), numbers(count)), at_least_float(result_type(input, target))


def _variances(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take means, targets and floating point variances >= 0, one for each mean or one for each row of them."""
    input, target, var = arrays
    wording.warn_of_broadcast(name, input=input, target=target)
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif var.ndim != input.ndim or [b for a, b in zip(input.shape, var.shape, strict=True) if a != b] != [1]:
            refuse(
                f"{name}: var: got shape {shape(var)}, expected that of input, {shape(input)}, the same without the "
                "last dimension, or with one dimension of length 1"
            )
    negative = xp.readable(var < 0)
    if negative is not None and negative.any():
        refuse(f"{name}: var: got negative numbers; a variance is >= 0")
    need_float(name, var=var)
    return torch.broadcast_tensors(input, target, var), result_type(input, target, var)


_KL = EntryLoss("kl_div", variants.divergence, _floating, wording.DIVERGENCE, inspected="kl_divergence")
_KL_OF_LOGS = EntryLoss(
    "kl_div", variants.divergence_of_logs, _floating, wording.DIVERGENCE_OF_LOGS, inspected="kl_divergence"
)
_POISSON = EntryLoss("poisson_nll_loss", variants.poisson, _counts, wording.POISSON, inspected="poisson_nll")
_POISSON_RATE = EntryLoss("poisson_nll_loss", variants.poisson_rate, _counts)
_GAUSSIAN = EntryLoss(
    "gaussian_nll_loss",
    variants.gaussian,
    _variances,
    wording.GAUSSIAN,
    inspected="gaussian_nll",
    check=True,
    autocast="not on cpu",
)


@overridable
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Kullback-Leibler divergence class by class, input as log-probabilities; see `torch.nn.functional.kl_div`.

    The value is one for each *class*; ``"batchmean"`` sums them and divides by the first dimension of the input, which
    for rows is the divergence. ``"mean"`` divides by the classes too, and warns. A target of 0 costs nothing and has a
    gradient that is not NaN.

    >>> import torch
    >>> kl_div(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[1.0, 0.0]]), reduction="batchmean")
    tensor(0.6931)
    """
    rows = None
    if size_average is None and reduce is None:
        if reduction == "batchmean":
            reduction, rows = ("mean", input.shape[0]) if input.ndim else ("sum", None)
        elif reduction == "mean":
            warn(
                "reduction: 'mean' divides the total loss by both the batch size and the support size."
                "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
                "'mean' will be changed to behave the same as 'batchmean' in the next major release."
            )
    drop_in = _KL_OF_LOGS if log_target else _KL
    return drop_in.compute((input, target), NO_PARAMS, reduction, size_average, reduce, denominator=rows)


@overridable
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Poisson negative log-likelihood, given log-rates or rates; see `torch.nn.functional.poisson_nll_loss`.

    `full` adds Stirling's approximation of ``log(target!)`` where the target exceeds 1, as torch does;
    `lossary.poisson_nll` adds the exact one.

    >>> import torch
    >>> poisson_nll_loss(torch.tensor([0.0]), torch.tensor([3.0])).item()
    1.0
    """
    if log_input:
        return _POISSON.compute((input, target), {"full": full}, reduction, size_average, reduce)
    return _POISSON_RATE.compute((input, target), {"eps": eps, "full": full}, reduction, size_average, reduce)


@overridable
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Gaussian negative log-likelihood of predicted means and variances.

    See `torch.nn.functional.gaussian_nll_loss`, `lossary.gaussian_nll`.

    A variance below `eps` is raised to it, and its gradient passes all the same.

    >>> import torch
    >>> gaussian_nll_loss(torch.tensor([3.0]), torch.tensor([1.0]), 1.0).item()
    2.0
    """
    if isinstance(var, float):
        var = torch.full_like(input, var)
    return _GAUSSIAN.compute((input, target, var), {"full": full, "eps": eps}, reduction)
