"""`linear_cross_entropy` and `LinearCrossEntropyLoss` of PyTorch, computed by `lossary.linear` without whole logits.

Unlike torch's own chunked version, which `options` ask for, this one has every derivative: a second backward, a second
derivative, forward mode, `torch.func`, `torch.compile`. See `docs/torch.md`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
import torch.nn.functional as theirs
from torch import Tensor

from lossary.backends.torch import fast
from lossary.backends.torch.tensors import need_elements, observed
from lossary.catalogue import get
from lossary.head.api import linear
from lossary.misuse.callsites import inspect_call
from lossary.nn.functional import wording as misuse
from lossary.nn.functional.classification import cross_entropy
from lossary.nn.functional.conventions import chosen, common_dtype, in_range, need_float, refuse, shape
from lossary.nn.functional.torch_function import overridable

__all__ = ["LinearCrossEntropyLoss"]

_SOFTMAX = get("softmax_cross_entropy")
_IGNORED = -100


@overridable
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """Cross-entropy of a linear layer's logits; see `torch.nn.functional.linear_cross_entropy`, `lossary.linear`.

    The logits are made chunk by chunk, with `options` or without. Of the options only the rows of a chunk are used, and
    sums are always made in float32 or wider. A weight of more than two dimensions, for a loss at each of several
    positions, makes whole logits.

    >>> import torch
    >>> hidden, weight = torch.zeros(2, 3), torch.ones(4, 3)
    >>> round(linear_cross_entropy(hidden, weight, torch.tensor([0, 3])).exp().item(), 5)
    4.0
    """
    for argument, x in (("input", input), ("linear_weight", linear_weight), ("linear_bias", linear_bias)):
        if x is not None:
            need_elements(x, f"linear_cross_entropy: {argument}")
    ignored = _IGNORED if ignore_index is None else ignore_index
    if options is None:
        done = _from_call_cache(input, linear_weight, target, linear_bias, weight, reduction, ignored, label_smoothing)
        if done is not None:
            return done
    positions = _checked_shapes(input, linear_weight, linear_bias)
    classes = linear_weight.shape[0]
    soft = target.shape == torch.Size((*input.shape[:-1], classes, *positions))
    if soft and not positions:
        need_float("linear_cross_entropy", target=target)
    if soft and ignore_index is not None:
        refuse(f"linear_cross_entropy: ignore_index={ignore_index}: the target holds probabilities, no class indices")
    chunked = reduction in ("mean", "sum", "none") and label_smoothing == 0.0 and target.dtype == torch.int64
    if options is not None and (positions or not chunked):
        _warn_of_options(reduction, label_smoothing, target, positions, linear_bias)
        options = None
    reduction = chosen(None, None, reduction)
    if positions:
        return _at_positions(input, linear_weight, target, linear_bias, weight, reduction, ignored, label_smoothing)

    need_float("linear_cross_entropy", input=input, linear_weight=linear_weight)
    _same_type(input, linear_weight, linear_bias, chunked=options is not None)
    if not 0 <= max(label_smoothing, 0.0) <= 1:
        refuse(f"linear_cross_entropy: label_smoothing: got {label_smoothing}, expected a number in [0, 1]")
    if weight is not None and weight.shape != (classes,):
        refuse(f"linear_cross_entropy: weight: got shape {shape(weight)}, expected one number for each class")
    if options is None and _fits_whole(input, classes):
        scores = theirs.linear(input, linear_weight, linear_bias)
        return cross_entropy(
            scores, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing
        )
    params: dict[str, Any] = {"class_weight": weight, "label_smoothing": max(label_smoothing, 0.0), "check": False}
    if options is not None:
        given = (input.shape[0] if input.ndim == 2 else 1, input.shape[-1], classes, input.dtype, input.device)
        params["chunk"] = options._adjust(*given).batch_chunk_size
    if soft:
        dtype = common_dtype(input, target, *([] if weight is None else [weight]))
        found = linear(_SOFTMAX, input, linear_weight, target, linear_bias, reduction=reduction, **params)  # type: ignore[arg-type]
        return found.to(dtype) if math.prod(input.shape[:-1]) or reduction != "mean" else found.to(dtype) * math.nan
    labels, good = _labels(input, target, classes, ignored)
    kept = labels != ignored
    count = kept.sum() if weight is None else _weights_of(labels, kept & good, weight)
    if reduction == "mean":
        params["denominator"] = count
    found = linear(
        _SOFTMAX,
        input,
        linear_weight,
        labels,
        linear_bias,
        reduction=reduction,  # type: ignore[arg-type]
        ignore_index=ignored,
        **params,
    )
    if reduction == "mean":
        found = torch.where(good.all() & (count != 0), found, math.nan)
    else:
        found = torch.where(good if reduction == "none" else good.all(), found, math.nan)
    return found.to(common_dtype(input, autocast=options is None))


def _fits_whole(input: Tensor, classes: int) -> bool:
    """Whether the logits are so few that chunks save no memory, and the call cache takes them whole."""
    return (
        input.is_cpu
        and input.ndim == 2
        and 0 < input.shape[0] * classes <= fast.MOST
        and input.dtype.itemsize >= 4
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and not observed()
    )


def _from_call_cache(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    reduction: str,
    ignored: int,
    label_smoothing: float,
) -> Tensor | None:
    """Return the loss of few rows and their labels by the call cache; None for other calls, and for refused ones."""
    if input.ndim != 2 or linear_weight.ndim != 2 or target.ndim != 1:
        return None
    classes, features = linear_weight.shape
    if input.shape[1] != features or input.dtype is not linear_weight.dtype or not _fits_whole(input, classes):
        return None
    if linear_bias is not None and (linear_bias.shape != (classes,) or linear_bias.dtype is not input.dtype):
        return None
    if reduction not in ("mean", "sum", "none") or not 0 <= label_smoothing <= 1:
        return None
    scores = theirs.linear(input, linear_weight, linear_bias)
    params = {"label_smoothing": label_smoothing, "ignore_index": ignored}
    by_weight = weight is not None
    done = fast.reduced(_SOFTMAX, (scores, target), params, reduction, class_weight=weight, by_class_weight=by_weight)
    if done is not None:
        inspect_call(_SOFTMAX, (scores, target), {"ignore_index": ignored}, wording=misuse.CROSS_ENTROPY)
    return done


def _checked_shapes(input: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[int, ...]:
    """Refuse what torch refuses; return the dimensions of the positions that have a loss each."""
    if input.ndim not in (1, 2):
        refuse(f"linear_cross_entropy: input: got shape {shape(input)}, expected (features,) or (N, features)")
    if weight.ndim < 2:
        refuse(f"linear_cross_entropy: linear_weight: got shape {shape(weight)}, expected (classes, ..., features)")
    if input.shape[-1] != weight.shape[-1]:
        refuse(
            f"linear_cross_entropy: input has {input.shape[-1]} features (shape {shape(input)}) but linear_weight "
            f"{weight.shape[-1]} (shape {shape(weight)})"
        )
    if bias is not None and bias.shape != weight.shape[:-1]:
        refuse(f"linear_cross_entropy: linear_bias: got shape {shape(bias)}, expected {shape(weight)[:-1]}")
    positions = shape(weight)[1:-1]
    if positions and input.ndim == 1:
        refuse(
            f"linear_cross_entropy: input: got shape {shape(input)}, expected (N, {input.shape[0]}): a linear_weight "
            f"of shape {shape(weight)} has a loss at each of several positions, of a batch only"
        )
    return positions


def _same_type(input: Tensor, *others: Tensor | None, chunked: bool) -> None:
    """Refuse types that torch refuses together; its chunked operator widens half precision and ignores autocast."""
    kind = input.device.type
    autocast = not chunked and torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    for other in others:
        if other is None or (autocast and torch.float64 not in (input.dtype, other.dtype)):
            continue  # autocast makes all types but float64 one
        if chunked and input.dtype.itemsize == 2 and other.dtype != torch.float64:
            continue
        if other.dtype != input.dtype:
            refuse(
                f"linear_cross_entropy: input is {input.dtype} but the linear layer is {other.dtype}: convert one, or "
                "use torch.autocast"
            )


def _warn_of_options(
    reduction: str, label_smoothing: float, target: Tensor, positions: tuple[int, ...], bias: Tensor | None
) -> None:
    if torch.compiler.is_compiling():
        return
    warnings.warn(
        "linear_cross_entropy: ``options`` ignored; chunked path needs "
        "reduction in {'mean','sum','none'}, label_smoothing == 0, target.dtype"
        " == int64, out_features == (). Got "
        f"reduction={reduction!r}, label_smoothing={label_smoothing}, "
        f"target.dtype={target.dtype}, out_features={positions}, tracing=False, "
        f"linear_bias.shape={None if bias is None else tuple(bias.shape)}.",
        stacklevel=4,
    )


def _at_positions(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    reduction: str,
    ignored: int,
    label_smoothing: float,
) -> Tensor:
    """Return the loss at several positions: cross-entropy of logits that have further dimensions."""
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = theirs.linear(input, linear_weight.reshape(-1, input.shape[-1]), bias)
    return cross_entropy(
        logits.reshape(-1, *linear_weight.shape[:-1]),
        target,
        weight=weight,
        reduction=reduction,
        ignore_index=ignored,
        label_smoothing=label_smoothing,
    )


def _labels(input: Tensor, target: Tensor, classes: int, ignored: int) -> tuple[Tensor, Tensor]:
    """Return class indices in the shape of the batch, and which of them name a class or are ignored."""
    if target.dtype not in (torch.int64, torch.uint8):
        refuse(f"linear_cross_entropy: target: got {target.dtype}, expected class indices as int64: target.long()")
    batch = input.shape[:-1]
    labels = target.reshape(()) if not batch and target.shape == (1,) else target
    if labels.shape != batch:
        refuse(
            f"linear_cross_entropy: target: got shape {shape(target)}, expected {tuple(batch)} for an input of shape "
            f"{shape(input)}"
        )
    labels = labels.long()
    return labels, in_range("linear_cross_entropy", labels, classes, ignored)


def _weights_of(labels: Tensor, kept: Tensor, weight: Tensor) -> Tensor:
    """Return the sum of the class weights of kept labels."""
    wide = weight if weight.dtype.itemsize >= 4 else weight.float()
    of_labels = wide[torch.where(kept, labels, 0)]
    return torch.where(kept, of_labels, torch.zeros_like(of_labels)).sum()


# New in torch 2.13: before, the function is there but nothing to inherit the constructor from.
_Theirs: Any = getattr(torch.nn, "LinearCrossEntropyLoss", torch.nn.Module)


class LinearCrossEntropyLoss(_Theirs):
    """A linear layer and the cross-entropy of its logits, which are never held whole.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> criterion = LinearCrossEntropyLoss(8, 1000)
    >>> hidden, target = torch.randn(4, 8), torch.tensor([1, 2, 3, -100])
    >>> logits = criterion.linear(hidden)
    >>> bool(torch.isclose(criterion(hidden, target), torch.nn.functional.cross_entropy(logits, target)))
    True
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of rows of features, given class indices or probabilities."""
        weight, bias = self.linear.weight, self.linear.bias
        if self.out_features:
            dims = (self.num_classes, *self.out_features)
            weight, bias = weight.reshape(*dims, self.linear.in_features), None if bias is None else bias.reshape(dims)
        return linear_cross_entropy(
            input,
            weight,
            target,
            linear_bias=bias,
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )
