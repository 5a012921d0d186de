"""How the drop-ins of `lossary.nn.functional` name and lay their tensors, and what only torch's forms get wrong.

They keep torch's semantics to the letter: where torch accepts, they warn and never raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossary import tolerances
from lossary.misuse import callsites as lookout
from lossary.misuse.callsites import Wording
from lossary.misuse.rules import Finding, Seen


def _classes_last(given: Sequence[Tensor], params: Mapping[str, Any]) -> Sequence[Tensor]:
    """Put the classes, which torch has along dimension 1, last."""
    input, target = given
    if input.ndim < 2:
        return given
    return input.movedim(1, -1), target.movedim(1, -1) if target.shape == input.shape else target


def _rows_of_classes(given: Sequence[Tensor], params: Mapping[str, Any]) -> Sequence[Tensor]:
    """Put the axis last along which exponentials sum to 1: torch's divergence is of entries and knows no rows."""
    input, target = torch.broadcast_tensors(*given)
    target = target.exp() if params.get("log_target") else target
    if input.ndim > 2 and input.device.type == "cpu":
        sums = [float((input[:1].exp().sum(axis) - 1).abs().max()) for axis in (-1, 1)]
        if sums[1] < sums[0]:
            return input.movedim(1, -1), target.movedim(1, -1)
    return input, target


def _logarithms(seen: Seen) -> Iterator[Finding]:
    """Targets of a divergence that are below 0 are logarithms, or belong in the other place."""
    target = seen.arrays["target"]
    if not target.size or target.min() >= 0:
        return
    told = f"got {target.min():.4g}, and a probability is >= 0: "
    input = seen.arrays["log_probs"]
    if input.size and input.min() >= 0:
        told += "the arguments look swapped. The order is log-probabilities, then the target's probabilities"
    else:
        told += "these look like log-probabilities; pass log_target=True"
    yield seen.say("logarithms for probabilities", "target", told)


def _many_hot(seen: Seen) -> Iterator[Finding]:
    """A row of labels ends at -1; a row of 0 and 1 that has none is no list of labels."""
    target = seen.arrays["target"]
    if target.shape[-1] >= 3 and target.size and np.isin(target, (0.0, 1.0)).all():
        yield seen.say(
            "many-hot for a list",
            "target",
            f"got only 0 and 1 (row 0 is {target[0, :6].astype(int).tolist()}): this loss takes a list of class "
            "indices, filled up with -1, such as [3, 0, -1, -1]. For 0 and 1 for every class use "
            "lossary.multilabel_margin, or multilabel_soft_margin_loss",
        )


def _first_frames(given: Sequence[Tensor], params: Mapping[str, Any]) -> Sequence[Tensor]:
    """Take the first frame of every sequence: those beyond a length may hold anything, and the first seldom is."""
    first = given[0][0] if given[0].ndim == 3 else given[0][:1]
    return first, torch.zeros(first.shape[:1], dtype=torch.int64, device=first.device)


def _no_distribution(seen: Seen) -> Iterator[Finding]:
    """Frames that are no log-probabilities give finite costs, which mean nothing."""
    rows = seen.arrays["log_probs"]
    bad, sums = tolerances.unnormalised(rows, logarithms=True)
    if not bad.any():
        return
    row = int(bad.argmax())
    told = (
        f"the exponentials of the first frame of sequence {seen.place(row)} sum to {sums[row]:.4g}, and those of "
        "log-probabilities to 1. "
    )
    if not tolerances.unnormalised(rows, logarithms=False)[0].any():
        told += "These are probabilities: pass their logarithm, better the log_softmax of the logits"
    else:
        told += "If these are logits, pass logits.log_softmax(-1)"
    yield seen.say("no log-probabilities", "log_probs", told)


CROSS_ENTROPY = Wording("cross_entropy", {"logits": "input", "target": "target"}, _classes_last)
NLL = Wording("nll_loss", {"log_probs": "input"}, _classes_last)
BINARY = Wording("binary_cross_entropy", {"probs": "input", "target": "target"})
BINARY_LOGITS = Wording("binary_cross_entropy_with_logits", {"logits": "input", "target": "target"})
CTC = Wording("ctc_loss", {}, _first_frames, _no_distribution)
DIVERGENCE = Wording("kl_div", {"log_probs": "input", "target": "target"}, _rows_of_classes, _logarithms)
POISSON = Wording("poisson_nll_loss", {"log_rate": "input"})
GAUSSIAN = Wording("gaussian_nll_loss", {"pred": "input"})
RANKING = Wording("margin_ranking_loss", {"first": "input1", "second": "input2", "target": "target"})
HINGE_EMBEDDING = Wording("hinge_embedding_loss", {"pred": "input", "target": "target"})
SOFT_MARGIN = Wording("soft_margin_loss", {"pred": "input", "target": "target"})
MULTILABEL_SOFT = Wording("multilabel_soft_margin_loss", {"logits": "input", "target": "target"})
MULTILABEL = Wording("multilabel_margin_loss", {"pred": "input"}, None, _many_hot)
COSINE = Wording("cosine_embedding_loss", {"first": "input1", "second": "input2", "target": "target"})
TRIPLET = Wording("triplet_margin_loss", {"anchor": "anchor", "positive": "positive", "negative": "negative"})


def broadcast(name: str, **tensors: Tensor) -> None:
    """Warn where broadcasting compares everything with everything, in the losses where torch says nothing."""
    (one, x), (other, y) = list(tensors.items())[:2]
    if x.shape == y.shape or torch.compiler.is_compiling():
        return
    try:
        together = torch.broadcast_shapes(x.shape, y.shape)
    except RuntimeError:  # which the loss itself refuses
        return
    if together not in (x.shape, y.shape):
        a, b = tuple(x.shape), tuple(y.shape)
        longer = one if len(a) > len(b) else other
        lookout.warn(
            Finding(
                "broadcast",
                other,
                f"{name}: {one} has shape {a} but {other} has shape {b}, and together they become {tuple(together)}: "
                f"every number is compared with every other. Drop the last axis of {longer} with {longer}.squeeze(-1)",
            )
        )
