"""Torch's CTC loss by the catalogue's `ctc`: any blank, padded or concatenated targets, every derivative.

The value is torch's. The gradient is the true one of log-probabilities as they are given, where torch returns that of
the logits it supposes behind a `log_softmax`; behind a `log_softmax` the two come to the same. See `docs/torch.md`.
"""

from __future__ import annotations

import ctypes
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch import nn as theirs

from lossary.backends.torch import fast as lean
from lossary.backends.torch.namespace import readable
from lossary.catalogue import get
from lossary.errors import DomainError
from lossary.evaluate.transforms import value, values
from lossary.misuse.callsites import attend
from lossary.nn import _small as small
from lossary.nn.functional import wording as misuse
from lossary.nn.functional.conventions import chosen, need_float, reduced, refuse, shape, under_autocast
from lossary.nn.functional.torch_function import overridable

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
    how = chosen(None, None, reduction)
    given = (log_probs, targets, input_lengths, target_lengths, blank, how, zero_infinity)
    done = _by_kernel(*given)
    if done is None:
        done = _at_length(*_checked(*given[:5]), blank, how, zero_infinity)
    attend(_NLL, (log_probs, targets), {}, wording=misuse.CTC)
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
    counted = _lengths("input_lengths", input_lengths, batch, log_probs)
    spoken = _lengths("target_lengths", target_lengths, batch, log_probs)
    _at_most("input_lengths", counted, frames, "frames")
    _at_most("target_lengths", spoken, None, "")
    labels = _padded(targets[None] if alone and targets.ndim == 1 else targets, spoken)
    _known(labels, spoken, classes)
    return log_probs, labels, counted, spoken


def _at_length(
    log_probs: Tensor, labels: Tensor, counted: Tensor, spoken: Tensor, blank: int, how: str, zero_infinity: bool
) -> Tensor:
    """Return the loss of what has been checked, by the catalogue's way to a kernel or the definition."""
    alone = log_probs.ndim == 2
    scores = (log_probs[:, None] if alone else log_probs).movedim(0, 1)
    arrays, params = (scores, labels, counted, spoken), {"blank": blank, "from_logits": False}
    dtype = under_autocast(log_probs.dtype, log_probs.device.type)
    share = 1 / (spoken.clamp(min=1) * len(spoken)).to(log_probs.dtype if dtype.itemsize > 4 else torch.float32)
    if how != "none" and not zero_infinity:  # the gradient comes along with the sum
        weight = share if how == "mean" else None
        total = value(_CTC, *arrays, weight=weight, reduction="sum", check=False, **params)
        return _not_below_zero(total, _slack(log_probs) * (len(spoken) if how == "sum" else 1)).to(dtype)
    losses = _not_below_zero(values(_CTC, arrays, params, check=False), _slack(log_probs))
    if zero_infinity:
        losses = torch.where(losses == torch.inf, torch.zeros_like(losses), losses)
    if alone and how == "none":
        losses = losses[0]
    return reduced(losses * share, "sum", dtype) if how == "mean" else reduced(losses, how, dtype)


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
    """A sequence of labels against frames that nobody has aligned with it.

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


# --- small calls ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kind:
    """What shapes and types of log-probabilities decide: the kernel, and what it is told of them."""

    kernel: Callable[..., int]
    survey: Callable[..., int]
    sizes: tuple[int, int, int]  # sequences, frames, classes
    steps: tuple[int, int, int, int]  # of log-probabilities and of their gradient, along sequences and frames


@lru_cache(4096)
def _kind(sizes: torch.Size, steps: tuple[int, ...], dtype: torch.dtype) -> _Kind | None:
    """Return what is known of log-probabilities, or None if there is no lean path for them."""
    like = torch.empty_strided(sizes, steps, device="meta")
    if like.ndim not in (2, 3) or steps[-1] != 1 or torch.empty_like(like).stride() != steps:
        return None  # the gradient lies in memory as they do
    from lossary.kernels.cpu.sequence import ctc
    from lossary.kernels.cpu.sequence.ctc_spec import CtcVariant

    name = lean.FLOATS[dtype]
    frames, batch, classes = sizes if like.ndim == 3 else (sizes[0], 1, sizes[1])
    along = (steps[1] if like.ndim == 3 else 0, steps[0])
    kernel = ctc.compiled(CtcVariant(name, name, False))
    return _Kind(kernel, ctc.checked_targets(), (batch, frames, classes), along * 2)


def _by_kernel(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    how: str,
    zero_infinity: bool,
) -> Tensor | None:
    """Return the loss of a small and plain call, or None if it is not one, or something about it is to be refused."""
    if not small.possible() or isinstance(input_lengths, Tensor) != isinstance(target_lengths, Tensor):
        return None
    whole: list[Any] = [targets]
    for lengths in (input_lengths, target_lengths):
        if isinstance(lengths, (tuple, list)):
            lengths = torch.as_tensor(lengths)
        whole.append(lengths)
    if not small.plain(log_probs, *whole) or not small.few(log_probs):
        return None
    for at, x in enumerate(whole):
        if x.dtype is not torch.int64:
            if x.dtype is not torch.int32:
                return None
            x = x.long()
        whole[at] = x if x.is_contiguous() else x.contiguous()
    kind = _kind(log_probs.shape, log_probs.stride(), log_probs.dtype)
    if kind is None or not 0 <= blank < kind.sizes[2]:
        return None
    labels, batch = whole[0], kind.sizes[0]
    if whole[1].numel() != batch or whole[2].numel() != batch:
        return None
    if labels.ndim == 2:
        if labels.shape[0] != batch:
            return None
        columns = labels.shape[1]
    elif labels.ndim == 1:
        columns = labels.shape[0] if log_probs.ndim == 2 else -1
    else:
        return None
    return small.taken(_Call(kind, columns, blank, how, zero_infinity), log_probs, *whole)


class _Call(small.SmallCall):
    """A small call: all of it but its tensors."""

    def __init__(self, kind: _Kind, columns: int, blank: int, how: str, zero_infinity: bool) -> None:
        self.kind, self.columns, self.blank, self.how, self.zero_infinity = kind, columns, blank, how, zero_infinity

    def evaluate(
        self, tensors: Sequence[Tensor], gradient: bool, factors: Tensor | None = None
    ) -> tuple[Tensor, Sequence[Tensor]]:
        """Return the reduced value and the gradient; a length or a label that is out of range raises `DomainError`."""
        from lossary.kernels.cpu.sequence import ctc

        kind, (log_probs, targets, counted, spoken) = self.kind, tensors
        batch, frames, classes = kind.sizes
        factors = None if factors is None else factors.double()
        total, mean = targets.numel(), self.how == "mean"
        # Both lengths of every sequence, its place in the order, its share in the value, and labels: 8 bytes each.
        numbers: Any = {"dtype": torch.float64, "device": "cpu"}
        told = torch.empty(4 * batch + max(batch * total if self.columns < 0 else total, 1), **numbers)
        lengths = told.data_ptr()
        order, shares, labels = (lengths + 8 * k * batch for k in (2, 3, 4))
        given = targets.data_ptr(), counted.data_ptr(), spoken.data_ptr()
        written = lengths, order, shares, labels
        longest = kind.survey(batch, frames, classes, self.columns, total, mean, *given, *written)
        if longest < 0:
            raise DomainError
        room, places = ctc.scratch(frames, classes, longest, gradient)
        values, own = torch.empty(batch, **numbers), torch.empty(room + places, **numbers)
        slopes = [torch.empty_like(log_probs)] if gradient else []
        sizes = ctc.measured(kind.sizes, longest, kind.steps, self.blank, gradient)
        wide = own.data_ptr()
        counts = (ctypes.c_int64 * len(sizes))(*sizes)
        kind.kernel(
            log_probs.data_ptr(),
            labels,
            lengths,
            shares if factors is None else factors.data_ptr(),
            order,
            values.data_ptr(),
            slopes[0].data_ptr() if gradient else 0,
            wide,
            wide + 8 * room,
            ctypes.addressof(counts),
            0,
            batch,
        )
        slack = _slack(log_probs)
        if self.how == "none":
            values = _not_below_zero(values, slack)
            if self.zero_infinity:
                values.masked_fill_(values == torch.inf, 0)
            return values.to(log_probs.dtype).reshape(log_probs.shape[1:-1]), slopes
        costs: Iterable[float] = [0.0 if -slack <= cost <= 0 else cost for cost in values.tolist()]
        if self.zero_infinity:
            costs = [0.0 if cost == torch.inf else cost for cost in costs]
        if mean:
            costs = map(operator.mul, costs, told[3 * batch : 4 * batch].tolist())
        return log_probs.new_full((), sum(costs)), slopes

    def general(self, *tensors: Tensor) -> Tensor:
        """Return the same by way of the catalogue."""
        log_probs, targets, counted, spoken = tensors
        checked = _checked(log_probs, targets, counted, spoken, self.blank)
        return _at_length(*checked, self.blank, self.how, self.zero_infinity)
