"""Torch's CTC loss by the catalogue's `ctc`: any blank, padded or concatenated targets, every derivative.

The value is torch's. The gradient is the true one of log-probabilities as they are given, where torch returns that of
the logits it supposes behind a `log_softmax`; behind a `log_softmax` the two come to the same. See `docs/torch.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch import nn as theirs

from lossary.backends.torch import readable
from lossary.catalogue import get
from lossary.lookout import attend
from lossary.nn import _misuse as misuse
from lossary.nn._reduction import chosen, need_float, reduced, refuse, shape, under_autocast
from lossary.transforms import value, values

__all__ = ["CTCLoss"]

_CTC, _NLL = map(get, ("ctc", "nll"))
Lengths = Tensor | Sequence[int]


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
    need_float("ctc_loss", log_probs=log_probs)
    if log_probs.ndim not in (2, 3) or not log_probs.numel():
        refuse(
            f"ctc_loss: log_probs: got shape {shape(log_probs)}, expected (frames, batch, classes) or (frames, "
            "classes), none of them 0"
        )
    alone = log_probs.ndim == 2
    scores = (log_probs[:, None] if alone else log_probs).movedim(0, 1)
    batch, frames, classes = scores.shape
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
    arrays, params = (scores, labels, counted, spoken), {"blank": blank, "from_logits": False}
    dtype = under_autocast(log_probs.dtype, log_probs.device.type)
    how = chosen(None, None, reduction)
    # Frames beyond a length may hold anything; the first one seldom is.
    attend(_NLL, (scores[:, 0], torch.zeros_like(spoken)), {}, spoken=misuse.CTC)
    share = 1 / (spoken.clamp(min=1) * batch).to(log_probs.dtype if dtype.itemsize > 4 else torch.float32)
    if how != "none" and not zero_infinity:  # the gradient comes along with the sum
        weight = share if how == "mean" else None
        return value(_CTC, *arrays, weight=weight, reduction="sum", check=False, **params).to(dtype)
    losses = values(_CTC, arrays, params, check=False)
    if zero_infinity:
        losses = torch.where(losses == torch.inf, torch.zeros_like(losses), losses)
    if alone and how == "none":
        losses = losses[0]
    return reduced(losses * share, "sum", dtype) if how == "mean" else reduced(losses, how, dtype)


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
    places = torch.arange(labels.shape[1]).numpy()
    wrong = ((seen < 0) | (seen >= classes)) & (places < counts[:, None])
    if wrong.any():
        rows = ", ".join(str(n) for n in wrong.any(1).nonzero()[0][:8])
        refuse(
            f"ctc_loss: targets: got label {seen[wrong][0]:g}, out of range: there are {classes} classes "
            f"(in sequences {rows})"
        )
