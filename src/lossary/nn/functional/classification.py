"""Drop-ins for torch's classification losses: on class indices, class probabilities and binary targets."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lossary.backends.torch import namespace as xp
from lossary.backends.torch.tensors import in_memory
from lossary.misuse.callsites import Wording
from lossary.nn import torch_variants as variants
from lossary.nn.functional import wording
from lossary.nn.functional.conventions import (
    classes_last,
    common_dtype,
    expanded_to_input,
    in_range,
    need_class_weight,
    need_float,
    need_shape_of_input,
    reduced,
    refuse,
    result_type,
    shape,
)
from lossary.nn.functional.driver import (
    NO_PARAMS,
    Arrays,
    DropIn,
    EntryLoss,
    EntryWeights,
    Params,
    added_up,
    of_values,
    values_of,
)
from lossary.nn.functional.torch_function import overridable

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "nll_loss"]

# --- class indices --------------------------------------------------------------------------------------------------


class LabelLoss(DropIn):
    """A drop-in on scores with the classes along dimension 1, and class indices.

    The mean divides by the class weights of the labels that are not ignored. With `own_entry`, the value of a row
    depends on the entry of its label alone.
    """

    def __init__(self, name: str, record: str, words: Wording, *, own_entry: bool = False) -> None:
        super().__init__(name, record, words, arrange=classes_last, class_weights=True, mean_by_weight=True)
        self.own_entry = own_entry

    def general(
        self, arrays: Arrays, params: Params, reduction: str, weight: Tensor | None, denominator: int | None
    ) -> Tensor:
        """Return the reduced loss; labels out of range that cannot be read become NaN."""
        input = arrays[0]
        need_float(self.name, input=input)
        scores, labels = _labelled(self.name, *arrays)
        classes, ignore_index = scores.shape[-1], params["ignore_index"]
        need_class_weight(self.name, weight, classes, input)
        good = in_range(self.name, labels, classes, ignore_index)
        kept = labels != ignore_index
        at = torch.where(kept & good, labels, 0)
        of_labels = None if weight is None else weight[at]
        if of_labels is None:
            total = kept.sum()
        else:
            total = torch.where(kept, of_labels, torch.zeros_like(of_labels)).sum()
        if added_up(reduction) and total.is_cpu and total:
            if kept.all():
                params = {name: held for name, held in params.items() if name != "ignore_index"}
            params, dtype = {**params, "class_weight": weight}, common_dtype(input)
            return of_values(self.record, (scores, labels), params, reduction, dtype, total.to(torch.float64))
        if self.own_entry and xp.narrow(scores, torch.float32):
            # As rows of one class: no copy of all scores in float32 is made.
            one_class = {**params, "class_weight": None if of_labels is None else of_labels[..., None]}
            del one_class["ignore_index"]
            values = values_of(self.record, (_picked(scores, at)[..., None], torch.zeros_like(labels)), one_class)
            values = torch.where(kept, values, 0)
        else:
            values = values_of(self.record, (scores, labels), {**params, "class_weight": weight})
        # A label out of range on a device that is not read: visibly wrong, and no process is lost.
        values = torch.where(good, values, math.nan)
        return reduced(values, reduction, common_dtype(input), total.to(values.dtype))


def _labelled(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Check scores with the classes along dimension 1, and class indices; put the classes last."""
    if input.ndim == 0:
        refuse(f"{name}: input: got a single number, expected at least one dimension, of classes")
    if target.dtype not in (torch.int64, torch.uint8):
        refuse(f"{name}: target: got {target.dtype}, expected class indices as int64 (or uint8): target.long()")
    scores, expected = classes_last((input, target))[0], (*input.shape[:1], *input.shape[2:])
    if input.ndim == 1:
        expected = ()
        target = target.reshape(()) if target.shape == (1,) else target
    if target.shape != torch.Size(expected):
        refuse(f"{name}: target: got shape {shape(target)}, expected {expected} for an input of shape {shape(input)}")
    return scores, target.long()


def _picked(scores: Tensor, labels: Tensor) -> Tensor:
    """Return one entry of each row; `torch.gather` has a gradient that is made in float32, whatever the type."""
    rows = [
        torch.arange(n, device=labels.device).reshape(-1, *(1,) * (labels.ndim - 1 - axis))
        for axis, n in enumerate(labels.shape)
    ]
    return scores[(*rows, labels)]


class SoftLabelLoss(DropIn):
    """A drop-in on scores and a target of the same shape, a probability for every class along dimension 1."""

    def general(
        self, arrays: Arrays, params: Params, reduction: str, weight: Tensor | None, denominator: int | None
    ) -> Tensor:
        """Return the reduced loss, whose mean divides by the number of examples."""
        input, target = arrays
        need_float(self.name, input=input, target=target)
        if input.ndim == 0:
            refuse(f"{self.name}: input: got a single number, expected at least one dimension, of classes")
        rows = classes_last(arrays)
        need_class_weight(self.name, weight, rows[0].shape[-1])
        dtype = common_dtype(input, target, *([] if weight is None else [weight]))
        return of_values(self.record, rows, {**params, "class_weight": weight}, reduction, dtype)


_NLL = LabelLoss("nll_loss", "nll", wording.NLL, own_entry=True)
_CROSS_ENTROPY = LabelLoss("cross_entropy", "softmax_cross_entropy", wording.CROSS_ENTROPY)
_SOFT_CROSS_ENTROPY = SoftLabelLoss(
    "cross_entropy", "softmax_cross_entropy", wording.CROSS_ENTROPY, arrange=classes_last, class_weights=True
)


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
    return _NLL.compute((input, target), {"ignore_index": ignore_index}, reduction, size_average, reduce, weight)


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
    if label_smoothing > 1:
        refuse(f"cross_entropy: label_smoothing: got {label_smoothing}, expected a number in [0, 1]")
    smoothing = 0.0 if label_smoothing < 0 else label_smoothing  # torch takes anything below 0 for none
    if input.shape != target.shape:
        params = {"label_smoothing": smoothing, "ignore_index": ignore_index}
        return _CROSS_ENTROPY.compute((input, target), params, reduction, size_average, reduce, weight)
    if ignore_index >= 0 and target.is_floating_point():
        refuse(f"cross_entropy: ignore_index={ignore_index}: the target holds probabilities, no class indices")
    params = {"label_smoothing": smoothing}
    return _SOFT_CROSS_ENTROPY.compute((input, target), params, reduction, size_average, reduce, weight)


# --- yes/no targets -------------------------------------------------------------------------------------------------


class ProbabilityLoss(EntryLoss):
    """A drop-in on probabilities, where NaN is refused as any other number outside [0, 1]."""

    @staticmethod
    def cached(*call: Any) -> Tensor | None:
        """Return a cached call's value; None if it is NaN anywhere, for the general path to refuse."""
        found = EntryLoss.cached(*call)
        if found is not None and math.isnan((found if found.ndim == 0 else found.detach().sum()).item()):
            return None
        return found


def _probabilities(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take floating point numbers of one shape and type in [0, 1]."""
    input, target = arrays
    need_shape_of_input(name, "target", target, input)
    need_float(name, input=input, target=target)
    if common_dtype(target) != common_dtype(input):  # as autocast leaves them
        refuse(f"{name}: target: got {target.dtype}, expected the type of input, {input.dtype}")
    for argument, x in (("input", input), ("target", target)):
        # The smallest and the largest tell the domain, and whether there is NaN; bfloat16 would be copied to be read.
        ends = x.detach().aminmax() if x.numel() and in_memory((x,)) else (x,)
        if not all(seen is None or ((seen >= 0) & (seen <= 1)).all() for seen in map(xp.readable, ends)):
            logits = f"; logits belong into {name}_with_logits" if argument == "input" else ""
            refuse(f"{name}: {argument}: expected numbers in [0, 1]{logits}")
    return arrays, result_type(input)


def _logits(name: str, arrays: Arrays, params: Params) -> tuple[Arrays, torch.dtype]:
    """Take floating point numbers of one shape, and answer in the type of the target."""
    input, target = arrays
    need_shape_of_input(name, "target", target, input)
    need_float(name, input=input, target=target)
    return arrays, result_type(target)


_FACTORS = EntryWeights(expanded_to_input, promotes=False)
_BINARY, _BINARY_IN_BOTH = (
    ProbabilityLoss(
        "binary_cross_entropy",
        record,
        _probabilities,
        wording.BINARY,
        weights=_FACTORS,
        inspected="binary_cross_entropy",
        check=True,
    )
    for record in (variants.binary, variants.binary_in_both)
)
_BINARY_LOGITS = EntryLoss(
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy_with_logits",
    _logits,
    wording.BINARY_LOGITS,
    weights=_FACTORS,
)


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

    Logarithms stop at -100 and the gradient at 1e12, as in torch; `lossary.binary_cross_entropy` is exact.

    >>> import torch
    >>> binary_cross_entropy(torch.tensor([0.0, 0.5]), torch.ones(2), reduction="none")
    tensor([100.0000,   0.6931])
    """
    drop_in = _BINARY_IN_BOTH if target.requires_grad else _BINARY
    return drop_in.compute((input, target), NO_PARAMS, reduction, size_average, reduce, weight)


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
    params = NO_PARAMS
    if pos_weight is not None:
        params = {"pos_weight": expanded_to_input(_BINARY_LOGITS.name, "pos_weight", pos_weight, input)}
    return _BINARY_LOGITS.compute((input, target), params, reduction, size_average, reduce, weight)
