"""`cross_entropy` and `nll_loss` of `torch.nn.functional`: losses of scores, classes along dimension 1, and labels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lossary.backends.torch import namespace as xp
from lossary.backends.torch.fast import reduced as small
from lossary.catalogue import Loss, get
from lossary.evaluate.transforms import values as transformed
from lossary.misuse.callsites import attend
from lossary.nn.functional import wording as misuse
from lossary.nn.functional.conventions import chosen, common_dtype, in_range, need_float, reduced, refuse, shape
from lossary.nn.functional.torch_function import overridable

_SOFTMAX, _NLL = map(get, ("softmax_cross_entropy", "nll"))


def catalogue_values(loss: Loss, *arrays: Tensor, **params: Any) -> Tensor:
    """One value per example, of whatever numbers are given: torch checks shapes and types, not domains."""
    return transformed(loss, arrays, params, check=False)


def classes_last(x: Tensor) -> Tensor:
    """Put the classes, which torch has along dimension 1, last."""
    return x if x.ndim < 3 else x.movedim(1, -1)


def checked_labels(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Check scores with the classes along dimension 1, and class indices; put the classes last."""
    if input.ndim == 0:
        refuse(f"{name}: input: got a single number, expected at least one dimension, of classes")
    if target.dtype not in (torch.int64, torch.uint8):
        refuse(f"{name}: target: got {target.dtype}, expected class indices as int64 (or uint8): target.long()")
    scores, expected = classes_last(input), (*input.shape[:1], *input.shape[2:])
    if input.ndim == 1:
        expected = ()
        target = target.reshape(()) if target.shape == (1,) else target
    if target.shape != torch.Size(expected):
        refuse(f"{name}: target: got shape {shape(target)}, expected {expected} for an input of shape {shape(input)}")
    return scores, target.long()


def check_class_weight(name: str, weight: Tensor | None, classes: int, like: Tensor | None = None) -> None:
    """Refuse weights that are not one for each class, or not of the type of the scores."""
    if weight is not None and like is not None and common_dtype(weight) != common_dtype(like):
        refuse(f"{name}: weight: got {weight.dtype}, expected the type of input, {like.dtype}")
    if weight is not None and weight.shape != (classes,):
        refuse(f"{name}: weight: got shape {shape(weight)}, expected one number for each of the {classes} classes")


def _picked(scores: Tensor, named: Tensor) -> Tensor:
    """Return one entry of each row; `torch.gather` has a gradient that is made in float32, whatever the type."""
    rows = [
        torch.arange(n, device=named.device).reshape(-1, *(1,) * (named.ndim - 1 - axis))
        for axis, n in enumerate(named.shape)
    ]
    return scores[(*rows, named)]


def _by_label(
    loss: Loss,
    name: str,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    **params: Any,
) -> Tensor:
    """A loss on rows and class indices, reduced as torch does: the mean divides by the weights of the labels."""
    need_float(name, input=input)
    scores, labels = checked_labels(name, input, target)
    classes = scores.shape[-1]
    check_class_weight(name, weight, classes, input)
    good = in_range(name, labels, classes, ignore_index)
    kept = labels != ignore_index
    named = torch.where(kept & good, labels, 0)
    of_labels = None if weight is None else weight[named]
    if loss is _NLL and xp.narrow(scores, torch.float32):
        # Of a row its label alone costs anything: as rows of one class nothing of the size of the scores is widened.
        own = None if of_labels is None else of_labels[..., None]
        values = catalogue_values(
            loss, _picked(scores, named)[..., None], torch.zeros_like(labels), class_weight=own, **params
        )
        values = torch.where(kept, values, 0)
    else:
        values = catalogue_values(loss, scores, labels, class_weight=weight, ignore_index=ignore_index, **params)
    # A label out of range on a device that nobody looks at: visibly wrong, and no process is lost.
    values = torch.where(good, values, math.nan)
    if of_labels is None:
        count = kept.sum()
    else:
        count = torch.where(kept, of_labels, torch.zeros_like(of_labels)).sum(dtype=values.dtype)
    return reduced(values, reduction, common_dtype(input), count)


@overridable
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-probability of the class, classes along dimension 1; see `torch.nn.functional.nll_loss`.

    The mean divides by the sum of the weights of the labels that are not ignored, and is NaN if all are.

    >>> import torch
    >>> log_probs = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
    >>> round(nll_loss(log_probs, torch.tensor([1, -100])).exp().item(), 6)
    1.333333
    """
    reduction = chosen(size_average, reduce, reduction)
    ignored = {"ignore_index": ignore_index}
    attend(_NLL, (input, target), ignored, wording=misuse.NLL)
    given = (input if input.ndim < 3 else classes_last(input), target)
    done = small(_NLL, given, ignored, reduction, class_weight=weight, by_weight=weight is not None)
    if done is not None:
        return done
    return _by_label(_NLL, "nll_loss", input, target, weight, ignore_index, reduction)


@overridable
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Softmax cross-entropy of logits, classes along dimension 1; see `torch.nn.functional.cross_entropy`.

    The target holds class indices, or, in the shape of the input, a probability for every class. The mean of the first
    kind divides by the weights of the labels that are not ignored (NaN if all are), that of the second by the number
    of examples. A logit of ``-inf`` is a masked class: it takes no smoothing mass, and a probability of 0 there costs
    nothing (torch: ``inf``, NaN).

    >>> import torch
    >>> cross_entropy(torch.tensor([[0.0, 1000.0], [0.0, 0.0]]), torch.tensor([0, -100])).item()
    1000.0
    """
    reduction = chosen(size_average, reduce, reduction)
    attend(_SOFTMAX, (input, target), {"ignore_index": ignore_index}, wording=misuse.CROSS_ENTROPY)
    if label_smoothing > 1:
        refuse(f"cross_entropy: label_smoothing: got {label_smoothing}, expected a number in [0, 1]")
    smoothing = max(label_smoothing, 0.0)  # torch takes anything below 0 for none
    labels = input.shape != target.shape
    if labels or ignore_index < 0:
        params = {"label_smoothing": smoothing}
        if labels:
            params["ignore_index"] = ignore_index
        given = (classes_last(input), target if labels else classes_last(target))
        by_weight = labels and weight is not None
        done = small(_SOFTMAX, given, params, reduction, class_weight=weight, by_weight=by_weight)
        if done is not None:
            return done
    if labels:
        return _by_label(
            _SOFTMAX, "cross_entropy", input, target, weight, ignore_index, reduction, label_smoothing=smoothing
        )
    need_float("cross_entropy", input=input, target=target)
    if input.ndim == 0:
        refuse("cross_entropy: input: got a single number, expected at least one dimension, of classes")
    if ignore_index >= 0:
        refuse(f"cross_entropy: ignore_index={ignore_index}: the target holds probabilities, no class indices")
    scores, wanted = classes_last(input), classes_last(target)
    check_class_weight("cross_entropy", weight, scores.shape[-1])
    values = catalogue_values(_SOFTMAX, scores, wanted, class_weight=weight, label_smoothing=smoothing)
    return reduced(values, reduction, common_dtype(input, target, *([] if weight is None else [weight])))
