"""The loss functions of `torch.nn.functional`, by the same names, with the catalogue's mathematics.

Arguments, defaults, broadcasting, reductions, warnings and types are torch's; value and gradient come from the
catalogue's definitions. Where the two differ, and why, is said in `docs/torch.md` and `docs/numerics.md`. Everything
else of `torch.nn.functional` is found here unchanged, so ``from lossary.nn import functional as F`` is enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as theirs
from torch import Tensor

from lossary.backends.torch import fast as lean
from lossary.backends.torch import namespace as xp
from lossary.backends.torch.fast import reduced as small
from lossary.backends.torch.tensors import in_memory
from lossary.catalogue import Loss, get
from lossary.evaluate.call import prepare
from lossary.evaluate.transforms import reduced_value
from lossary.misuse.callsites import attend
from lossary.nn import torch_variants as adapted
from lossary.nn.ctc import ctc_loss as ctc_loss
from lossary.nn.functional import wording as misuse
from lossary.nn.functional.classification import catalogue_values, check_class_weight
from lossary.nn.functional.classification import cross_entropy as cross_entropy
from lossary.nn.functional.classification import nll_loss as nll_loss
from lossary.nn.functional.conventions import (
    chosen,
    common_dtype,
    in_range,
    need_float,
    reduced,
    refuse,
    shape,
    warn,
)
from lossary.nn.functional.torch_function import overridable
from lossary.nn.linear import linear_cross_entropy as linear_cross_entropy

if not TYPE_CHECKING:  # to a checker, torch's functions are as public as these
    __all__ = [
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "cosine_embedding_loss",
        "cross_entropy",
        "ctc_loss",
        "gaussian_nll_loss",
        "hinge_embedding_loss",
        "huber_loss",
        "kl_div",
        "l1_loss",
        "linear_cross_entropy",
        "margin_ranking_loss",
        "mse_loss",
        "multi_margin_loss",
        "multilabel_margin_loss",
        "multilabel_soft_margin_loss",
        "nll_loss",
        "poisson_nll_loss",
        "smooth_l1_loss",
        "soft_margin_loss",
        "triplet_margin_loss",
        "triplet_margin_with_distance_loss",
    ]


# Looked up once, so that a compiler tracing a call finds records and not the catalogue.
_ABSOLUTE, _SQUARED, _SMOOTH_L1, _HUBER = map(get, ("absolute_error", "squared_error", "smooth_l1", "huber"))
_BINARY_LOGITS = get("binary_cross_entropy_with_logits")
_MULTI_MARGIN, _MULTILABEL, _SOFT_MARGIN = map(get, ("multi_margin", "multilabel_margin", "logistic_margin"))
# Those whose kink or end is torch's own are computed as `adapted`; looked at they are as the catalogue has them.
_BINARY, _DIVERGENCE, _POISSON = map(get, ("binary_cross_entropy", "kl_divergence", "poisson_nll"))
_GAUSSIAN, _RANKING, _HINGE_EMBEDDING = map(get, ("gaussian_nll", "margin_ranking", "hinge_embedding"))
_COSINE_EMBEDDING, _TRIPLET = map(get, ("cosine_embedding", "triplet_margin"))


def _reduced(
    loss: Loss,
    arrays: tuple[Tensor, ...],
    params: dict[str, Any],
    reduction: str,
    dtype: torch.dtype,
    count: int | None = None,
) -> Tensor:
    """Reduce a loss of single numbers; in half precision no value is kept, for it would take twice the room."""
    narrow = any(xp.narrow(x, torch.float32) for x in arrays) and in_memory(arrays)
    if narrow and reduction != "none" and arrays[0].numel():
        how: Any = reduction
        value: Tensor = reduced_value(prepare(loss, arrays, params, check=False, defer_checks=True), how, count)
        return value.to(dtype)
    return reduced(catalogue_values(loss, *arrays, **params), reduction, dtype, count)


# --- regression -----------------------------------------------------------------------------------------------------


def _alike(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Broadcast input and target, with torch's warning if that changes anything."""
    if target.shape != input.shape:
        warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). "
            "This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            depth=3,
        )
    expanded, expanded_target = torch.broadcast_tensors(input, target)
    return expanded, expanded_target


def _weighed(
    loss: Loss,
    arrays: tuple[Tensor, ...],
    params: dict[str, Any],
    input: Tensor,
    weight: Tensor | None,
    reduction: str,
    dtype: torch.dtype,
    *,
    by_weight: bool,
) -> Tensor:
    """Reduce under optional weights, which the mean divides by, or does not."""
    if weight is None:
        return _reduced(loss, arrays, params, reduction, dtype)
    if weight.shape != input.shape:
        refuse(f"weight: got shape {shape(weight)}, expected that of input, {shape(input)}")
    weighed = catalogue_values(loss, *arrays, **params) * weight
    count = weight.sum(dtype=weighed.dtype) if by_weight else None
    return reduced(weighed, reduction, torch.promote_types(dtype, weight.dtype), count)


@overridable
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The absolute error; see `torch.nn.functional.l1_loss`, `lossary.absolute_error`.

    `weight` has the shape of the input, and the mean divides by its sum. Complex numbers are compared by the modulus of
    their difference.

    >>> import torch
    >>> l1_loss(torch.tensor([1.0, 5.0]), torch.zeros(2), weight=torch.tensor([3.0, 1.0])).item()
    2.0
    """
    reduction = chosen(size_average, reduce, reduction)
    done = None if weight is not None else small(_ABSOLUTE, (input, target), {}, reduction)
    if done is not None:
        return done
    expanded, expanded_target = _alike(input, target)
    dtype = common_dtype(expanded, expanded_target)
    if dtype.is_complex:
        size = torch.abs(expanded - expanded_target)
        expanded, expanded_target, dtype = size, torch.zeros_like(size), size.dtype
    if not dtype.is_floating_point:  # whole numbers stay exact, and small types do not wrap
        expanded, expanded_target = expanded.double(), expanded_target.double()
    return _weighed(_ABSOLUTE, (expanded, expanded_target), {}, input, weight, reduction, dtype, by_weight=True)


@overridable
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The squared error; see `torch.nn.functional.mse_loss`, `lossary.squared_error`.

    `weight` has the shape of the input, and the mean divides by its sum.

    >>> import torch
    >>> mse_loss(torch.tensor([1.0, 3.0]), torch.zeros(2)).item()
    5.0
    """
    reduction = chosen(size_average, reduce, reduction)
    done = None if weight is not None else small(_SQUARED, (input, target), {}, reduction)
    if done is not None:
        return done
    expanded, expanded_target = _alike(input, target)
    dtype = common_dtype(expanded, expanded_target)
    need_float("mse_loss", input=input if input.is_floating_point() else target)
    return _weighed(_SQUARED, (expanded, expanded_target), {}, input, weight, reduction, dtype, by_weight=True)


@overridable
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """The absolute error with a parabola in its corner; see `torch.nn.functional.smooth_l1_loss`, `lossary.smooth_l1`.

    >>> import torch
    >>> smooth_l1_loss(torch.tensor([3.0]), torch.zeros(1), beta=2.0).item()
    2.0
    """
    reduction = chosen(size_average, reduce, reduction)
    done = small(_SMOOTH_L1, (input, target), {"beta": beta}, reduction)
    if done is not None:
        return done
    expanded, expanded_target = _alike(input, target)
    dtype = common_dtype(expanded, expanded_target)
    need_float("smooth_l1_loss", input=input if input.is_floating_point() else target)
    if beta < 0:
        refuse(f"smooth_l1_loss: beta: got {beta}, expected a number >= 0")
    return _reduced(_SMOOTH_L1, (expanded, expanded_target), {"beta": beta}, reduction, dtype)


@overridable
def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Quadratic up to `delta`, linear beyond; see `torch.nn.functional.huber_loss`, `lossary.huber`.

    `weight` has the shape of the input; here, unlike in `mse_loss`, the mean divides by the number of entries.

    >>> import torch
    >>> huber_loss(torch.tensor([3.0]), torch.zeros(1), delta=2.0).item()
    4.0
    """
    reduction = chosen(None, None, reduction)
    done = None if weight is not None else small(_HUBER, (input, target), {"delta": delta}, reduction)
    if done is not None:
        return done
    expanded, expanded_target = _alike(input, target)
    need_float("huber_loss", input=input)
    if not delta > 0:
        refuse(f"huber_loss: delta: got {delta}, expected a number > 0")
    pair, dtype = (expanded, expanded_target), common_dtype(input)
    return _weighed(_HUBER, pair, {"delta": delta}, input, weight, reduction, dtype, by_weight=False)


# --- yes or no --------------------------------------------------------------------------------------------------------


def _nowhere(condition: Tensor) -> bool:
    """Whether a rare case is known not to occur: where looking costs nothing, and outside of a trace."""
    seen = xp.readable(condition)
    return seen is not None and not seen.any()


def _same_size(name: str, input: Tensor, target: Tensor) -> None:
    if target.shape != input.shape:
        refuse(f"{name}: target: got shape {shape(target)}, expected that of input, {shape(input)}")


def _onto(name: str, argument: str, x: Tensor, input: Tensor) -> Tensor:
    """Broadcast an argument to the shape of the input, which it must not enlarge."""
    try:
        return torch.broadcast_to(x, input.shape)
    except RuntimeError:
        refuse(f"{name}: {argument}: got shape {shape(x)}, which does not broadcast to that of input, {shape(input)}")


@overridable
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy of probabilities and yes/no targets; see `torch.nn.functional.binary_cross_entropy`.

    Logarithms stop at -100 and the slope at 1e12, as in torch; `lossary.binary_cross_entropy` is exact.

    >>> import torch
    >>> binary_cross_entropy(torch.tensor([0.0, 0.5]), torch.ones(2), reduction="none")
    tensor([100.0000,   0.6931])
    """
    reduction = chosen(size_average, reduce, reduction)
    attend(_BINARY, (input, target), {}, wording=misuse.BINARY)
    loss = adapted.binary_in_both if target.requires_grad else adapted.binary
    done = None if weight is not None else small(loss, (input, target), {}, reduction, check=True)
    if done is not None and not done.isnan().any():  # NaN is no probability, which is said below
        return done
    _same_size("binary_cross_entropy", input, target)
    need_float("binary_cross_entropy", input=input, target=target)
    if common_dtype(target) != common_dtype(input):  # as autocast leaves them
        refuse(f"binary_cross_entropy: target: got {target.dtype}, expected the type of input, {input.dtype}")
    for name, x in (("input", input), ("target", target)):
        # The smallest and the largest say it all, and whether there is NaN; bfloat16 would be copied to be looked at.
        ends = x.detach().aminmax() if x.numel() and in_memory((x,)) else (x,)
        if not all(seen is None or ((seen >= 0) & (seen <= 1)).all() for seen in map(xp.readable, ends)):
            logits = "; logits belong into binary_cross_entropy_with_logits" if name == "input" else ""
            refuse(f"binary_cross_entropy: {name}: expected numbers in [0, 1]{logits}")
    dtype = common_dtype(input)
    if weight is None:
        return _reduced(loss, (input, target), {}, reduction, dtype)
    weight = _onto("binary_cross_entropy", "weight", weight, input)
    return reduced(catalogue_values(loss, input, target) * weight, reduction, dtype)


def _on_cpu(x: Tensor) -> bool:
    """Losses that torch composes of smaller operations follow autocast's rules for those, which devices disagree on."""
    return x.device.type == "cpu"


def _numbers(x: Tensor) -> Tensor:
    """Return whole numbers, which might wrap, as the default float."""
    return x if x.is_floating_point() or x.is_complex() else x.to(torch.get_default_dtype())


def _wide(x: Tensor) -> Tensor:
    """Return numbers for ordinary operations: half precision as float32."""
    return x.float() if x.is_floating_point() and x.dtype.itemsize < 4 else _numbers(x)


@overridable
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of log-odds and yes/no targets; see `torch.nn.functional.binary_cross_entropy_with_logits`.

    `weight` multiplies the values and `pos_weight` the cost of positives; the mean divides by neither.

    >>> import torch
    >>> binary_cross_entropy_with_logits(torch.tensor([1000.0, -1000.0]), torch.zeros(2), reduction="none")
    tensor([1000.,    0.])
    """
    name = "binary_cross_entropy_with_logits"
    reduction = chosen(size_average, reduce, reduction)
    attend(_BINARY_LOGITS, (input, target), {}, wording=misuse.BINARY_LOGITS)
    if weight is None and pos_weight is None:
        done = small(_BINARY_LOGITS, (input, target), {}, reduction)
        if done is not None:
            return done
    _same_size(name, input, target)
    need_float(name, input=input, target=target)
    params = {"pos_weight": 1.0 if pos_weight is None else _onto(name, "pos_weight", pos_weight, input)}
    if weight is None:
        return _reduced(_BINARY_LOGITS, (input, target), params, reduction, common_dtype(target))
    values = catalogue_values(_BINARY_LOGITS, input, target, **params) * _onto(name, "weight", weight, input)
    return reduced(values, reduction, common_dtype(target))


# --- distributions --------------------------------------------------------------------------------------------------


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
    if size_average is None and reduce is None and reduction == "mean":
        warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
            depth=2,
        )
    reduction = chosen(size_average, reduce, reduction, "batchmean")
    attend(_DIVERGENCE, (input, target), {"log_target": log_target}, wording=misuse.DIVERGENCE)
    loss = adapted.divergence_of_logs if log_target else adapted.divergence
    rows = None
    if reduction == "batchmean":
        reduction, rows = ("mean", input.shape[0]) if input.ndim else ("sum", None)
    done = small(loss, (input, target), {}, reduction, rows)
    if done is not None:
        return done
    need_float("kl_div", input=input, target=target)
    dtype = common_dtype(input, target)
    return _reduced(loss, torch.broadcast_tensors(input, target), {}, reduction, dtype, rows)


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
    """The cost of a count under a Poisson law, given its log-rate or rate; see `torch.nn.functional.poisson_nll_loss`.

    `full` adds Stirling's approximation of ``log(target!)`` where the target exceeds 1, as torch does;
    `lossary.poisson_nll` adds the exact one.

    >>> import torch
    >>> poisson_nll_loss(torch.tensor([0.0]), torch.tensor([3.0])).item()
    1.0
    """
    reduction = chosen(size_average, reduce, reduction)
    misuse.broadcast("poisson_nll_loss", input=input, target=target)
    if log_input:
        attend(_POISSON, (input, target), {}, wording=misuse.POISSON)
    loss, params = (adapted.poisson, {}) if log_input else (adapted.poisson_rate, {"eps": eps})
    done = small(loss, (input, target), {**params, "full": full}, reduction)
    if done is not None:
        return done
    rate, count = torch.broadcast_tensors(input, target)
    dtype = _at_least_float(common_dtype(input, target))
    return _reduced(loss, (_numbers(rate), _numbers(count)), {**params, "full": full}, reduction, dtype)


@overridable
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """The cost of a target under a Gaussian of predicted mean and variance.

    See `torch.nn.functional.gaussian_nll_loss`, `lossary.gaussian_nll`.

    A variance below `eps` is raised to it, and its gradient passes all the same.

    >>> import torch
    >>> gaussian_nll_loss(torch.tensor([3.0]), torch.tensor([1.0]), 1.0).item()
    2.0
    """
    reduction = chosen(None, None, reduction)
    misuse.broadcast("gaussian_nll_loss", input=input, target=target)
    attend(_GAUSSIAN, (input, target, var), {}, wording=misuse.GAUSSIAN)
    if isinstance(var, float):
        var = torch.full_like(input, var)
    done = small(adapted.gaussian, (input, target, var), {"full": full, "eps": eps}, reduction, check=True)
    if done is not None:
        return done
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif var.ndim != input.ndim or [b for a, b in zip(input.shape, var.shape, strict=True) if a != b] != [1]:
            refuse(
                f"gaussian_nll_loss: var: got shape {shape(var)}, expected that of input, {shape(input)}, the same "
                "without the last dimension, or with one dimension of length 1"
            )
    negative = xp.readable(var < 0)
    if negative is not None and negative.any():
        refuse("gaussian_nll_loss: var: got negative numbers; a variance is >= 0")
    need_float("gaussian_nll_loss", var=var)
    dtype = common_dtype(input, target, var, autocast=not _on_cpu(var))
    arrays = torch.broadcast_tensors(input, target, var)
    return _reduced(adapted.gaussian, arrays, {"full": full, "eps": eps}, reduction, dtype)


# --- margins --------------------------------------------------------------------------------------------------------


@overridable
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Of two scores the first should be higher (1) or lower (-1); see `torch.nn.functional.margin_ranking_loss`.

    >>> import torch
    >>> x = torch.zeros(1, requires_grad=True)
    >>> margin_ranking_loss(x, torch.zeros(1), torch.ones(1)).backward()
    >>> x.grad                         # equal scores are pushed apart; the catalogue's margin_ranking leaves them
    tensor([-1.])
    """
    reduction = chosen(size_average, reduce, reduction)
    attend(_RANKING, (input1, input2, target), {}, wording=misuse.RANKING)
    done = small(adapted.ranking, (input1, input2, target), {"margin": margin}, reduction)
    if done is not None:
        return done
    if not input1.ndim == input2.ndim == target.ndim:
        refuse(
            f"margin_ranking_loss: expected tensors with equally many dimensions, got shapes {shape(input1)}, "
            f"{shape(input2)} and {shape(target)}"
        )
    dtype = _at_least_float(common_dtype(input1, input2, target))
    arrays = tuple(map(_numbers, torch.broadcast_tensors(input1, input2, target)))
    return _reduced(adapted.ranking, arrays, {"margin": margin}, reduction, dtype)


def _at_least_float(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype.is_floating_point or dtype.is_complex else torch.get_default_dtype()


@overridable
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """A distance, small for pairs that match (1), beyond the margin for others (-1).

    See `torch.nn.functional.hinge_embedding_loss`. A target that is neither is charged for both.

    >>> import torch
    >>> hinge_embedding_loss(torch.tensor([0.3, 0.3]), torch.tensor([1, -1]), reduction="none")
    tensor([0.3000, 0.7000])
    """
    reduction = chosen(size_average, reduce, reduction)
    attend(_HINGE_EMBEDDING, (input, target), {}, wording=misuse.HINGE_EMBEDDING)
    done = small(adapted.hinge_embedding, (input, target), {"margin": margin}, reduction)
    if done is not None:
        return done
    arrays = torch.broadcast_tensors(input if input.is_floating_point() else input.double(), target)
    return _reduced(adapted.hinge_embedding, arrays, {"margin": margin}, reduction, common_dtype(input))


@overridable
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Logistic loss with labels -1 and 1; see `torch.nn.functional.soft_margin_loss`, `lossary.logistic_margin`.

    Finite for any finite input, where torch overflows.

    >>> import torch
    >>> soft_margin_loss(torch.tensor([-1000.0]), torch.ones(1)).item()
    1000.0
    """
    reduction = chosen(size_average, reduce, reduction)
    attend(_SOFT_MARGIN, (input, target), {}, wording=misuse.SOFT_MARGIN)
    done = small(_SOFT_MARGIN, (input, target), {}, reduction)
    if done is not None:
        return done
    need_float("soft_margin_loss", input=input)
    sign = _onto("soft_margin_loss", "target", target, input)
    return _reduced(_SOFT_MARGIN, (input, sign), {}, reduction, common_dtype(input))


@overridable
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy averaged over labels; see `torch.nn.functional.multilabel_soft_margin_loss`.

    The classes are the last dimension of the input.

    >>> import torch
    >>> multilabel_soft_margin_loss(torch.tensor([[0.0, 1000.0]]), torch.tensor([[1.0, 0.0]])).round().item()
    500.0
    """
    if input.ndim == 0:
        refuse("multilabel_soft_margin_loss: input: got a single number, expected at least one dimension, of classes")
    reduction = chosen(size_average, reduce, reduction)
    attend(_BINARY_LOGITS, (input, target), {}, wording=misuse.MULTILABEL_SOFT)
    labels = input.shape[-1] if reduction == "sum" else None
    if weight is None and reduction != "none":  # a label's share of its row's mean, and of the mean of rows
        done = small(_BINARY_LOGITS, (input, target), {}, "mean", labels)
        if done is not None:
            return done
    need_float("multilabel_soft_margin_loss", input=input)
    dtype = common_dtype(input, target, *([] if weight is None else [weight]), autocast=False)
    arrays = torch.broadcast_tensors(input, target)
    classes = input.ndim - 1  # where torch counts them, before anything is broadcast
    if weight is None and reduction != "none" and arrays[0].shape == input.shape:
        return _reduced(_BINARY_LOGITS, arrays, {}, "mean", dtype, labels)
    values = catalogue_values(_BINARY_LOGITS, *arrays)
    if weight is not None:
        values = values * weight
    return reduced(values.sum(classes) / input.shape[classes], reduction, dtype)


def _rows(name: str, input: Tensor) -> Tensor:
    """Give scores of one or several examples the shape (N, C)."""
    if input.ndim > 2 or (input.ndim > 0 and input.shape[-1] == 0):
        refuse(f"{name}: input: got shape {shape(input)}, expected (N, C) or (C,) with at least one class")
    return input.reshape(-1, input.shape[-1] if input.ndim else 1)


@overridable
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Every class within the margin of the right one is charged; see `torch.nn.functional.multi_margin_loss`.

    >>> import torch
    >>> multi_margin_loss(torch.tensor([[1.0, 0.5, 0.0, -3.0]]), torch.tensor([0])).item()
    0.125
    """
    name = "multi_margin_loss"
    reduction = chosen(size_average, reduce, reduction)
    if p not in (1, 2):
        refuse(f"{name}: p: got {p}, expected 1 or 2")
    if 0 < input.ndim < 3:
        done = small(_MULTI_MARGIN, (input, target), {"p": p, "margin": margin}, reduction, class_weight=weight)
        if done is not None:
            return done
    need_float(name, input=input)
    rows = _rows(name, input)
    check_class_weight(name, weight, rows.shape[-1], input)
    if target.ndim > 1 or target.numel() != len(rows) or (input.ndim > 1 and target.ndim == 0):
        refuse(f"{name}: target: got shape {shape(target)}, expected one label for each of the {len(rows)} examples")
    if target.dtype != torch.int64:
        refuse(f"{name}: target: got {target.dtype}, expected class indices as int64: target.long()")
    labels = target.reshape(-1)
    good = in_range(name, labels, rows.shape[-1])
    values = catalogue_values(_MULTI_MARGIN, rows, labels, p=p, margin=margin, class_weight=weight)
    return _of_rows(torch.where(good, values, math.nan).reshape(target.shape), reduction, common_dtype(input))


def _of_rows(values: Tensor, reduction: str, dtype: torch.dtype) -> Tensor:
    """Reduce; these two losses of torch give 0 for the mean of nothing."""
    return reduced(values, "sum" if values.numel() == 0 and reduction == "mean" else reduction, dtype)


@overridable
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Every label listed should outscore every other class by 1; see `torch.nn.functional.multilabel_margin_loss`.

    A target row lists class indices and ends at the first -1.

    >>> import torch
    >>> multilabel_margin_loss(torch.tensor([[0.1, 0.2, 0.4, 0.8]]), torch.tensor([[3, 0, -1, 1]]))
    tensor(0.8500)
    """
    name = "multilabel_margin_loss"
    reduction = chosen(size_average, reduce, reduction)
    attend(_MULTILABEL, (input, target), {}, wording=misuse.MULTILABEL)
    if input.ndim == 2:
        done = small(_MULTILABEL, (input, target), {}, reduction, listed=True)
        if done is not None:
            return done
    need_float(name, input=input)
    rows = _rows(name, input)
    if target.shape != input.shape and not (input.ndim == 0 and target.shape == (1,)):
        refuse(f"{name}: target: got shape {shape(target)}, expected that of input, {shape(input)}")
    if target.dtype != torch.int64:
        refuse(f"{name}: target: got {target.dtype}, expected class indices as int64, ended by -1: target.long()")
    listed = target.reshape(rows.shape)
    good = in_range(name, listed, rows.shape[-1], low=-1)
    times_listed = lean.times_listed(torch.where(good, listed, -1), rows.dtype)
    values = torch.where(good.all(-1), catalogue_values(_MULTILABEL, rows, times_listed), math.nan)
    return _of_rows(values.reshape(input.shape[:-1]), reduction, common_dtype(input))


# --- embeddings -----------------------------------------------------------------------------------------------------


@overridable
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Pairs that match (1) should point the same way, others (-1) should not; see `torch.nn.functional`.

    1e-12 is added to the squared length of every vector, as in torch. A target that is neither costs nothing.

    >>> import torch
    >>> cosine_embedding_loss(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]), torch.tensor(-1)).item()
    1.0
    """
    reduction = chosen(size_average, reduce, reduction)
    attend(_COSINE_EMBEDDING, (input1, input2, target), {}, wording=misuse.COSINE)
    if target.ndim < 2 and target.is_floating_point():
        done = small(adapted.cosine, (input1, input2, target), {"margin": margin}, reduction)
        if done is not None:
            return done
    if target.ndim > 1 or not input1.ndim == input2.ndim == target.ndim + 1:
        refuse(
            "cosine_embedding_loss: expected vectors and one label, or rows of vectors and as many labels; got shapes "
            f"{shape(input1)}, {shape(input2)} and {shape(target)}"
        )
    dtype = _at_least_float(common_dtype(input1, input2))
    first, second = (_wide(x) for x in torch.broadcast_tensors(input1, input2))
    batch = torch.broadcast_shapes(first.shape[:-1], target.shape)
    first, second = (x.expand(*batch, x.shape[-1]) for x in (first, second))
    values = catalogue_values(adapted.cosine, first, second, target.expand(batch), margin=margin)
    return reduced(values, reduction, dtype)


@overridable
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The anchor should be nearer to its positive than to its negative; see `torch.nn.functional.triplet_margin_loss`.

    Distances are `torch.nn.functional.pairwise_distance`, which adds `eps` to every component of a difference.

    >>> import torch
    >>> triplet_margin_loss(torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])).item()
    0.0
    """
    reduction = chosen(size_average, reduce, reduction)
    attend(_TRIPLET, (anchor, positive, negative), {}, wording=misuse.TRIPLET)
    triplet = (anchor, positive, negative)
    if p == 2 and margin > 0:
        done = small(adapted.triplet, triplet, {"margin": margin, "eps": eps, "swap": swap}, reduction)
        if done is not None:
            return done
    near, far = _distances("triplet_margin_loss", triplet, partial(_distance, p=p, eps=eps), margin, swap)
    return reduced(_apart(near, far, margin), reduction, _distance_dtype(*triplet))


def _distance_dtype(*vectors: Tensor, autocast: bool = True) -> torch.dtype:
    dtype = _at_least_float(common_dtype(*vectors, autocast=autocast))
    return vectors[0].new_empty(0, dtype=dtype).real.dtype if dtype.is_complex else dtype


_DISTANCE_EPSILON = 1e-6  # that of torch's distances


def _distance(first: Tensor, second: Tensor, p: float = 2, eps: float = _DISTANCE_EPSILON) -> Tensor:
    return theirs.pairwise_distance(_wide(first), _wide(second), p, eps)


@overridable
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """The triplet margin with any distance; see `torch.nn.functional.triplet_margin_with_distance_loss`.

    >>> import torch
    >>> squared = lambda a, b: ((a - b) ** 2).sum(-1)
    >>> points = torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.5])
    >>> triplet_margin_with_distance_loss(*points, distance_function=squared, margin=2.0).item()
    0.75
    """
    name = "triplet_margin_with_distance_loss"
    reduction = chosen(None, None, reduction)
    triplet = (anchor, positive, negative)
    if distance_function is None:
        if margin > 0:
            params = {"margin": margin, "eps": _DISTANCE_EPSILON, "swap": swap}
            done = small(adapted.triplet, triplet, params, reduction)
            if done is not None:
                return done
        near, far = _distances(name, triplet, _distance, margin, swap)
        answer = _distance_dtype(*triplet, autocast=not _on_cpu(anchor))
        return reduced(_apart(near, far, margin), reduction, answer)
    near, far = _distances(name, triplet, distance_function, margin, swap)
    done = small(adapted.ranking, (near, far, torch.full_like(near, -1)), {"margin": margin}, reduction)
    if done is not None:
        return done
    values = _apart(near, far, margin)
    return reduced(values, reduction, values.dtype)


def _distances(
    name: str,
    triplet: tuple[Tensor, Tensor, Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
) -> tuple[Tensor, Tensor]:
    """Return the distance to the positive, and that to the negative."""
    anchor, positive, negative = triplet
    if margin <= 0:
        refuse(f"{name}: margin: got {margin}, expected a number > 0")
    if not anchor.ndim == positive.ndim == negative.ndim:
        refuse(f"{name}: expected tensors with equally many dimensions, got shapes {[shape(x) for x in triplet]}")
    near, far = distance(anchor, positive), distance(anchor, negative)
    return near, torch.minimum(far, distance(positive, negative)) if swap else far


def _apart(near: Tensor, far: Tensor, margin: float) -> Tensor:
    """Rank the distance to the negative above that to the positive, in the type of the distances."""
    dtype = _at_least_float(common_dtype(near, far, autocast=False))
    near, far = map(_numbers, torch.broadcast_tensors(near, far))
    return catalogue_values(adapted.ranking, near, far, -torch.ones_like(near), margin=margin).to(dtype)


if TYPE_CHECKING:  # all the rest has torch's types
    from torch.nn.functional import *  # type: ignore[assignment]  # noqa: F403
else:  # a checker knows the names from above: to it what is not there is a mistake

    def __getattr__(name: str) -> Any:
        return getattr(theirs, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(theirs)})
