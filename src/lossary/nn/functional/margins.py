"""Drop-ins for torch's margin losses: ranking, hinge embedding, soft margin, and margins between classes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lossary.backends.torch import fast
from lossary.catalogue import Loss
from lossary.nn import torch_variants as variants
from lossary.nn.functional import wording
from lossary.nn.functional.conventions import (
    at_least_float,
    chosen,
    common_dtype,
    expanded_to_input,
    in_range,
    need_class_weight,
    need_float,
    need_same_rank,
    need_shape_of_input,
    numbers,
    reduced,
    refuse,
    result_type,
    shape,
)
from lossary.nn.functional.driver import NO_PARAMS, Arrays, DropIn, EntryLoss, Params, added_up, of_values, values_of
from lossary.nn.functional.torch_function import overridable

__all__ = [
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "soft_margin_loss",
]

# --- one score, one distance ----------------------------------------------------------------------------------------


def _same_rank(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take numbers of any type with equally many dimensions."""
    need_same_rank(name, *arrays)
    return [numbers(x) for x in torch.broadcast_tensors(*arrays)], at_least_float(result_type(*arrays))


def _distances(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take numbers of any type, integers in double precision."""
    input, target = arrays
    pair = torch.broadcast_tensors(input if input.is_floating_point() else input.double(), target)
    return pair, result_type(input)


def _signs(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take a floating point input, and a target that broadcasts to its shape."""
    input, target = arrays
    need_float(name, input=input)
    return (input, expanded_to_input(name, "target", target, input)), result_type(input)


_RANKING = EntryLoss("margin_ranking_loss", variants.ranking, _same_rank, wording.RANKING, inspected="margin_ranking")
_HINGE_EMBEDDING = EntryLoss(
    "hinge_embedding_loss",
    variants.hinge_embedding,
    _distances,
    wording.HINGE_EMBEDDING,
    inspected="hinge_embedding",
)
_SOFT_MARGIN = EntryLoss("soft_margin_loss", "logistic_margin", _signs, wording.SOFT_MARGIN)


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
    return _RANKING.compute((input1, input2, target), {"margin": margin}, reduction, size_average, reduce)


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
    return _HINGE_EMBEDDING.compute((input, target), {"margin": margin}, reduction, size_average, reduce)


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
    return _SOFT_MARGIN.compute((input, target), NO_PARAMS, reduction, size_average, reduce)


# --- the classes of an example --------------------------------------------------------------------------------------


class MeanOverLabels(DropIn):
    """A drop-in whose value of an example is the mean over its labels, the last dimension of the input."""

    @staticmethod
    def cached(loss: Loss, arrays: Arrays, params: Params, reduction: str, *others: Any) -> Tensor | None:
        """Return a cached call's value; the record has one value for each label, and no mean over some of them."""
        return None if reduction == "none" else DropIn.cached(loss, arrays, params, reduction, *others)

    def general(
        self, arrays: Arrays, params: Params, reduction: str, weight: Tensor | None, denominator: int | None
    ) -> Tensor:
        """Return the reduced loss; `denominator` is the number of labels where the examples are summed."""
        input, target = arrays
        need_float(self.name, input=input)
        dtype = result_type(input, target, *([] if weight is None else [weight]))
        arrays = torch.broadcast_tensors(input, target)
        labels = input.ndim - 1  # the dimension where torch counts them, before anything is broadcast
        if weight is None and reduction != "none" and arrays[0].shape == input.shape:
            return of_values(self.record, arrays, params, reduction, dtype, denominator)
        values = values_of(self.record, arrays, params)
        if weight is not None:
            values = values * weight
        return reduced(values.sum(labels) / input.shape[labels], "sum" if denominator is not None else reduction, dtype)


def _need_rows(name: str, input: Tensor) -> None:
    if input.ndim > 2 or (input.ndim > 0 and input.shape[-1] == 0):
        refuse(f"{name}: input: got shape {shape(input)}, expected (N, C) or (C,) with at least one class")


def _rows(name: str, input: Tensor) -> Tensor:
    """Give scores of one or several examples the shape (N, C)."""
    _need_rows(name, input)
    return input.reshape(-1, input.shape[-1] if input.ndim else 1)


def _of_rows(values: Tensor, reduction: str, dtype: torch.dtype) -> Tensor:
    """Reduce; the mean of nothing is 0 in torch's margins between classes."""
    return reduced(values, "sum" if values.numel() == 0 and reduction == "mean" else reduction, dtype)


class ClassMargin(DropIn):
    """A drop-in on rows of scores, and one class index for each."""

    def general(
        self, arrays: Arrays, params: Params, reduction: str, weight: Tensor | None, denominator: int | None
    ) -> Tensor:
        """Return the reduced loss; labels out of range that cannot be read become NaN."""
        input, target = arrays
        need_float(self.name, input=input)
        rows = _rows(self.name, input)
        need_class_weight(self.name, weight, rows.shape[-1], input)
        if target.ndim > 1 or target.numel() != len(rows):
            refuse(
                f"{self.name}: target: got shape {shape(target)}, expected one label for each of the {len(rows)} "
                "examples"
            )
        if target.dtype != torch.int64:
            refuse(f"{self.name}: target: got {target.dtype}, expected class indices as int64: target.long()")
        labels = target.reshape(-1)
        good = in_range(self.name, labels, rows.shape[-1])
        params, dtype = {**params, "class_weight": weight}, common_dtype(input)
        if labels.is_cpu and labels.numel() and added_up(reduction):  # no label is out of range
            return of_values(self.record, (rows, labels), params, reduction, dtype)
        values = values_of(self.record, (rows, labels), params)
        return _of_rows(torch.where(good, values, math.nan).reshape(target.shape), reduction, dtype)


class ListedMargin(DropIn):
    """A drop-in on rows of scores, and for each a list of class indices that ends at the first -1."""

    def general(
        self, arrays: Arrays, params: Params, reduction: str, weight: Tensor | None, denominator: int | None
    ) -> Tensor:
        """Return the reduced loss; rows with labels out of range that cannot be read become NaN."""
        input, target = arrays
        need_float(self.name, input=input)
        rows = _rows(self.name, input)
        if not (input.ndim == 0 and target.shape == (1,)):
            need_shape_of_input(self.name, "target", target, input)
        if target.dtype != torch.int64:
            refuse(
                f"{self.name}: target: got {target.dtype}, expected class indices as int64, ended by -1: target.long()"
            )
        labels = target.reshape(rows.shape)
        good = in_range(self.name, labels, rows.shape[-1], low=-1)
        dtype = common_dtype(input)
        if labels.is_cpu and labels.numel() and added_up(reduction):  # no label is out of range
            times_listed = fast.class_counts(labels, rows.dtype)
            return of_values(self.record, (rows, times_listed), params, reduction, dtype)
        times_listed = fast.class_counts(torch.where(good, labels, -1), rows.dtype)
        values = torch.where(good.all(-1), values_of(self.record, (rows, times_listed), params), math.nan)
        return _of_rows(values.reshape(input.shape[:-1]), reduction, dtype)


_MULTILABEL_SOFT = MeanOverLabels(
    "multilabel_soft_margin_loss", "binary_cross_entropy_with_logits", wording.MULTILABEL_SOFT
)
_MULTI_MARGIN = ClassMargin("multi_margin_loss", "multi_margin", class_weights=True)
_MULTILABEL = ListedMargin("multilabel_margin_loss", "multilabel_margin", wording.MULTILABEL, listed=True)


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
    if size_average is not None or reduce is not None:
        reduction = chosen(size_average, reduce, reduction)
    labels = None
    if reduction == "sum" and weight is None:  # a label's share of the mean over its row's labels
        reduction, labels = "mean", input.shape[-1]
    return _MULTILABEL_SOFT.compute((input, target), NO_PARAMS, reduction, weight=weight, denominator=labels)


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
    if p not in (1, 2):
        refuse(f"multi_margin_loss: p: got {p}, expected 1 or 2")
    if input.ndim > 2:
        _need_rows("multi_margin_loss", input)
    params = {"p": p, "margin": margin}
    return _MULTI_MARGIN.compute((input, target), params, reduction, size_average, reduce, weight)


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
    if input.ndim > 2:
        _need_rows("multilabel_margin_loss", input)
    return _MULTILABEL.compute((input, target), NO_PARAMS, reduction, size_average, reduce)
