"""CTC loss with torch's interface, computed by the catalogue's `ctc`: any blank, padded or concatenated targets.

The value is torch's. The gradient is the true one of log-probabilities as they are given, where torch returns that of
the logits it supposes behind a `log_softmax`; behind a `log_softmax` the two come to the same. See `docs/torch.md`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch import nn as theirs

from lossary.backends import cache
from lossary.backends.torch import fast
from lossary.backends.torch.namespace import readable
from lossary.catalogue import get
from lossary.evaluate.transforms import value, values
from lossary.misuse.callsites import inspect_call
from lossary.nn.functional import wording
from lossary.nn.functional.conventions import chosen, need_float, reduced, refuse, shape, under_autocast
from lossary.nn.functional.torch_function import overridable

if TYPE_CHECKING:
    from lossary.kernels.cpu.sequence.ctc import BoundCtc

__all__ = ["CTCLoss"]

_CTC, _NLL = map(get, ("ctc", "nll"))
Lengths = Tensor | Sequence[int]


@overridable
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification; see `torch.nn.functional.ctc_loss`, `lossary.ctc`.

    `log_probs` are (frames, batch, classes), or (frames, classes) of one sequence; `targets` are (batch, labels) with
    padding, or all labels one after another. The mean divides by the target's length, or 1, and then by the batch. A
    target that does not fit into its frames costs infinity, or 0 under `zero_infinity`; its gradient is 0. Labels
    outside the classes are refused, where torch reads memory that is not theirs.

    >>> import torch
    >>> log_probs = torch.zeros(3, 1, 3).log_softmax(-1)
    >>> loss = ctc_loss(log_probs, torch.tensor([[1, 2]]), (3,), (2,), reduction="sum")
    >>> round(27 * loss.neg().exp().item(), 3)   # 5 of 27 paths
    5.0
    """
    reduction = chosen(None, None, reduction)
    given = (log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity)
    done = _from_call_cache(*given)
    if done is None:
        done = _general(*_checked(*given[:5]), blank, reduction, zero_infinity)
    inspect_call(_NLL, (log_probs, targets), {}, wording=wording.CTC)
    return done


def _checked(
    log_probs: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths, blank: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Refuse what is wrong; return the labels with a row for each sequence, and lengths as tensors."""
    need_float("ctc_loss", log_probs=log_probs)
    if log_probs.ndim not in (2, 3) or not log_probs.numel():
        refuse(
            f"ctc_loss: log_probs: got shape {shape(log_probs)}, expected (frames, batch, classes) or (frames, "
            "classes), none of them 0"
        )
    alone = log_probs.ndim == 2
    frames, classes = log_probs.shape[0], log_probs.shape[-1]
    batch = 1 if alone else log_probs.shape[1]
    if not 0 <= blank < classes:
        refuse(f"ctc_loss: blank: got {blank}, expected one of the {classes} classes")
    if isinstance(input_lengths, Tensor) != isinstance(target_lengths, Tensor):
        refuse("ctc_loss: input_lengths and target_lengths: expected two tensors, or two tuples of whole numbers")
    input_lengths = _lengths("input_lengths", input_lengths, batch, log_probs)
    target_lengths = _lengths("target_lengths", target_lengths, batch, log_probs)
    _at_most("input_lengths", input_lengths, frames, "frames")
    _at_most("target_lengths", target_lengths, None, "")
    labels = _padded(targets[None] if alone and targets.ndim == 1 else targets, target_lengths)
    _known(labels, target_lengths, classes)
    return log_probs, labels, input_lengths, target_lengths


def _general(
    log_probs: Tensor,
    labels: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int,
    reduction: str,
    zero_infinity: bool,
) -> Tensor:
    """Return the loss of checked arguments by the general path: a kernel or the definition."""
    alone = log_probs.ndim == 2
    scores = (log_probs[:, None] if alone else log_probs).movedim(0, 1)
    arrays, params = (scores, labels, input_lengths, target_lengths), {"blank": blank, "from_logits": False}
    dtype = under_autocast(log_probs.dtype, log_probs.device.type)
    share = 1 / (target_lengths.clamp(min=1) * len(target_lengths)).to(
        log_probs.dtype if dtype.itemsize > 4 else torch.float32
    )
    if reduction != "none" and not zero_infinity:  # the gradient is computed with the sum
        weight = share if reduction == "mean" else None
        total = value(_CTC, *arrays, weight=weight, reduction="sum", check=False, **params)
        return _not_below_zero(total, _slack(log_probs) * (len(target_lengths) if reduction == "sum" else 1)).to(dtype)
    losses = _not_below_zero(values(_CTC, arrays, params, check=False), _slack(log_probs))
    if zero_infinity:
        losses = torch.where(losses == torch.inf, torch.zeros_like(losses), losses)
    if alone and reduction == "none":
        losses = losses[0]
    return reduced(losses * share, "sum", dtype) if reduction == "mean" else reduced(losses, reduction, dtype)


def _slack(log_probs: Tensor) -> float:
    """How far below 0 the rounding of log-probabilities can bring a cost: their type keeps so many digits of each.

    A frame's probabilities, each rounded, add up to 1 but for half a unit times their entropy, and a log-softmax errs
    by about another unit.
    """
    frames, classes = log_probs.shape[0], log_probs.shape[-1]
    return frames * (1 + math.log(classes)) * torch.finfo(log_probs.dtype).eps


def _not_below_zero(costs: Tensor, slack: float) -> Tensor:
    """Return costs, those below 0 by no more than rounding as 0; their gradient is that of the costs as they are."""
    return costs - torch.where((costs <= 0) & (costs >= -slack), costs, torch.zeros_like(costs)).detach()


class CTCLoss(theirs.CTCLoss):
    """A sequence of labels against frames without an alignment of the two.

    >>> import torch
    >>> log_probs = torch.zeros(2, 1, 3).log_softmax(-1)   # two frames for "1 1": it takes a blank between them
    >>> CTCLoss(zero_infinity=True)(log_probs, torch.tensor([[1, 1]]), (2,), (2,)).item()
    0.0
    """

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths) -> Tensor:
        """Return the loss of sequences of log-probabilities, given labels and lengths."""
        return ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )


def _lengths(name: str, given: Lengths, batch: int, like: Tensor) -> Tensor:
    """Return lengths as a tensor, one for each sequence."""
    if not isinstance(given, (Tensor, Sequence)):
        refuse(f"ctc_loss: {name}: got {type(given).__name__}, expected a tensor or a tuple of whole numbers")
    if isinstance(given, Tensor) and (given.is_floating_point() or given.is_complex()):
        refuse(f"ctc_loss: {name}: got {given.dtype}, expected whole numbers")
    lengths = torch.as_tensor(given, device=like.device).long()
    if lengths.numel() != batch:
        refuse(f"ctc_loss: {name}: got {lengths.numel()}, expected one for each of the {batch} sequences")
    return lengths.reshape(batch)


def _at_most(name: str, lengths: Tensor, most: int | None, of: str) -> None:
    """Refuse lengths beyond the array, where looking at them costs nothing."""
    seen = readable(lengths)
    wrong = None if seen is None else (seen < 0) | (seen > (seen.max() if most is None else most))
    if wrong is not None and wrong.any():
        at = int(wrong.argmax())
        bound = "at least 0" if most is None else f"at least 0 and at most {most}, the {of} there are"
        refuse(f"ctc_loss: {name}: got {seen[at]} for sequence {at}, expected {bound}")


def _padded(targets: Tensor, lengths: Tensor) -> Tensor:
    """Return the labels with a row for each sequence."""
    batch, seen = lengths.shape[0], readable(lengths)
    if targets.ndim == 2:
        if targets.shape[0] != batch:
            refuse(f"ctc_loss: targets: got shape {shape(targets)}, expected a row for each of the {batch} sequences")
        if seen is not None and seen.max() > targets.shape[1]:
            refuse(
                f"ctc_loss: target_lengths: got {seen.max()} for sequence {seen.argmax()}, but targets have shape "
                f"{shape(targets)}"
            )
        return targets
    if targets.ndim != 1:
        refuse(f"ctc_loss: targets: got shape {shape(targets)}, expected (batch, labels), or all labels in a row")
    if seen is not None and seen.sum() != targets.shape[0]:
        refuse(f"ctc_loss: targets: got {targets.shape[0]} labels in a row, but target_lengths add up to {seen.sum()}")
    longest = targets.shape[0] if seen is None else int(seen.max())
    starts = lengths.cumsum(0) - lengths
    places = starts[:, None] + torch.arange(longest, device=targets.device)
    return targets[places.clamp(max=max(targets.shape[0] - 1, 0))] if longest else targets.new_zeros(batch, 0)


def _known(labels: Tensor, lengths: Tensor, classes: int) -> None:
    """Refuse labels within the lengths that name no class, where looking at them costs nothing."""
    seen, counts = readable(labels), readable(lengths)
    if seen is None or counts is None or not seen.size:
        return
    places = torch.arange(labels.shape[1], device="cpu").numpy()
    wrong = ((seen < 0) | (seen >= classes)) & (places < counts[:, None])
    if wrong.any():
        rows = ", ".join(str(n) for n in wrong.any(1).nonzero()[0][:8])
        refuse(
            f"ctc_loss: targets: got label {seen[wrong][0]:g}, out of range: there are {classes} classes "
            f"(in sequences {rows})"
        )


# --- small calls ------------------------------------------------------------------------------------------------------


def _bound(log_probs: Tensor) -> BoundCtc | None:
    """Return the kernel bound to the shape, layout and dtype of log-probabilities; None to take the general path."""
    key = (_CTC, "log-probabilities", log_probs.shape, log_probs.stride(), log_probs.dtype)
    try:
        found: BoundCtc | None = cache.entry(key)
    except KeyError:
        found = _bind(*key[2:])
        cache.keep(key, found)
    return found


def _bind(shape: torch.Size, strides: tuple[int, ...], dtype: torch.dtype) -> BoundCtc | None:
    like = torch.empty_strided(shape, strides, device="meta")
    if like.ndim not in (2, 3) or strides[-1] != 1 or torch.empty_like(like).stride() != strides:
        return None  # the gradient has the layout of the log-probabilities
    from lossary.kernels.cpu.sequence.ctc import BoundCtc

    frames, batch, classes = shape if like.ndim == 3 else (shape[0], 1, shape[1])
    return BoundCtc(fast.FLOATS[dtype], (batch, frames, classes), (strides[1] if like.ndim == 3 else 0, strides[0]))


def _from_call_cache(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    reduction: str,
    zero_infinity: bool,
) -> Tensor | None:
    """Return the loss of a small call on contiguous tensors; None to take the general path, which can refuse it."""
    if not fast.possible() or isinstance(input_lengths, Tensor) != isinstance(target_lengths, Tensor):
        return None
    integers: list[Any] = [targets]
    given = (input_lengths, target_lengths)
    integers += [torch.as_tensor(x) if isinstance(x, (tuple, list)) else x for x in given]
    if not fast.ordinary(log_probs, *integers) or not fast.few(log_probs):
        return None
    for at, x in enumerate(integers):
        if x.dtype is not torch.int64:
            if x.dtype is not torch.int32:
                return None
            x = x.long()
        integers[at] = x if x.is_contiguous() else x.contiguous()
    kernel = _bound(log_probs)
    if kernel is None:
        return None
    (batch, _, classes), labels = kernel.shape, integers[0]
    if not 0 <= blank < classes or integers[1].numel() != batch or integers[2].numel() != batch:
        return None
    if labels.ndim == 2 and labels.shape[0] == batch:
        columns = labels.shape[1]
    elif labels.ndim == 1:
        columns = labels.shape[0] if log_probs.ndim == 2 else -1
    else:
        return None
    return fast.answer(_CtcCall(kernel, columns, blank, reduction, zero_infinity), log_probs, *integers)


class _CtcCall(fast.HandWrittenCall):
    """A small call: all of it but its tensors."""

    def __init__(self, kernel: BoundCtc, columns: int, blank: int, reduction: str, zero_infinity: bool) -> None:
        self.kernel, self.columns, self.blank = kernel, columns, blank
        self.reduction, self.zero_infinity = reduction, zero_infinity

    def evaluate(
        self, tensors: Sequence[Tensor], gradient: bool, factors: Tensor | None = None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the reduced value and the gradient; a length or a label that is out of range raises `DomainError`."""
        log_probs, targets, input_lengths, target_lengths = tensors
        factors = None if factors is None else factors.double()
        grads = [torch.empty_like(log_probs)] if gradient else []
        values, shares = self.kernel.compute(
            log_probs.data_ptr(),
            (targets.data_ptr(), input_lengths.data_ptr(), target_lengths.data_ptr()),
            (self.columns, targets.numel()),
            self.blank,
            self.reduction == "mean",
            0 if factors is None else factors.data_ptr(),
            grads[0].data_ptr() if gradient else 0,
        )
        slack = _slack(log_probs)
        if self.reduction == "none":
            costs = _not_below_zero(torch.from_numpy(values), slack)
            if self.zero_infinity:
                costs.masked_fill_(costs == torch.inf, 0)
            return costs.to(log_probs.dtype).reshape(log_probs.shape[1:-1]), grads
        numbers: Iterable[float] = [0.0 if -slack <= cost <= 0 else cost for cost in values.tolist()]
        if self.zero_infinity:
            numbers = [0.0 if cost == torch.inf else cost for cost in numbers]
        if self.reduction == "mean":
            numbers = map(operator.mul, numbers, shares.tolist())
        return log_probs.new_full((), sum(numbers)), grads

    def general(self, *tensors: Tensor) -> Tensor:
        """Return the same by way of the catalogue."""
        log_probs, targets, input_lengths, target_lengths = tensors
        checked = _checked(log_probs, targets, input_lengths, target_lengths, self.blank)
        return _general(*checked, self.blank, self.reduction, self.zero_infinity)
