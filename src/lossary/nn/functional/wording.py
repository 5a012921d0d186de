"""Misuse checks of the drop-ins: torch's names and layouts of arguments, and rules for torch's forms alone.

The drop-ins keep torch's semantics to the letter: where torch accepts, the checks warn and never raise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lossary import tolerances
from lossary.misuse import callsites
from lossary.misuse.callsites import Wording
from lossary.misuse.rules import MisuseFinding, Sample
from lossary.nn.functional.conventions import classes_last


def _classes_last(given: Sequence[Tensor], params: Mapping[str, Any]) -> Sequence[Tensor]:
    return classes_last(given)


def _rows_of_classes(
    given: Sequence[Tensor], params: Mapping[str, Any], *, log_target: bool = False
) -> Sequence[Tensor]:
    """Put the axis last along which exponentials sum to 1: torch's divergence is of entries and knows no rows."""
    input, target = torch.broadcast_tensors(*given)
    target = target.exp() if log_target else target
    if input.ndim > 2 and input.device.type == "cpu":
        sums = [float((input[:1].exp().sum(axis) - 1).abs().max()) for axis in (-1, 1)]
        if sums[1] < sums[0]:
            return input.movedim(1, -1), target.movedim(1, -1)
    return input, target


def _logarithms(sample: Sample) -> Iterator[MisuseFinding]:
    """Find targets of a divergence below 0: logarithms, or arguments in the wrong order."""
    target = sample.arrays["target"]
    if not target.size or target.min() >= 0:
        return
    sentence = f"got {target.min():.4g}, and a probability is >= 0: "
    input = sample.arrays["log_probs"]
    if input.size and input.min() >= 0:
        sentence += "the arguments look swapped. The order is log-probabilities, then the target's probabilities"
    else:
        sentence += "these look like log-probabilities; pass log_target=True"
    yield sample.finding("logarithms for probabilities", "target", sentence)


def _many_hot(sample: Sample) -> Iterator[MisuseFinding]:
    """Find rows of 0 and 1 without -1: one-hot labels where a list of class indices is expected."""
    target = sample.arrays["target"]
    if target.shape[-1] >= 3 and target.size and np.isin(target, (0.0, 1.0)).all():
        yield sample.finding(
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


def _no_distribution(sample: Sample) -> Iterator[MisuseFinding]:
    """Find frames that are no log-probabilities, whose losses are finite and mean nothing."""
    rows = sample.arrays["log_probs"]
    bad, sums = tolerances.unnormalised(rows, logarithms=True)
    if not bad.any():
        return
    row = int(bad.argmax())
    sentence = (
        f"the exponentials of the first frame of sequence {sample.position(row)} sum to {sums[row]:.4g}, and those of "
        "log-probabilities to 1. "
    )
    if not tolerances.unnormalised(rows, logarithms=False)[0].any():
        sentence += "These are probabilities: pass their logarithm, better the log_softmax of the logits"
    else:
        sentence += "If these are logits, pass logits.log_softmax(-1)"
    yield sample.finding("no log-probabilities", "log_probs", sentence)


CROSS_ENTROPY = Wording("cross_entropy", {"logits": "input", "target": "target"}, _classes_last)
NLL = Wording("nll_loss", {"log_probs": "input"}, _classes_last)
BINARY = Wording("binary_cross_entropy", {"probs": "input", "target": "target"})
BINARY_LOGITS = Wording("binary_cross_entropy_with_logits", {"logits": "input", "target": "target"})
CTC = Wording("ctc_loss", {}, _first_frames, _no_distribution)
DIVERGENCE, DIVERGENCE_OF_LOGS = (
    Wording("kl_div", {"log_probs": "input", "target": "target"}, arranged, _logarithms)
    for arranged in (_rows_of_classes, partial(_rows_of_classes, log_target=True))
)
POISSON = Wording("poisson_nll_loss", {"log_rate": "input"})
GAUSSIAN = Wording("gaussian_nll_loss", {"pred": "input"})
RANKING = Wording("margin_ranking_loss", {"first": "input1", "second": "input2", "target": "target"})
HINGE_EMBEDDING = Wording("hinge_embedding_loss", {"pred": "input", "target": "target"})
SOFT_MARGIN = Wording("soft_margin_loss", {"pred": "input", "target": "target"})
MULTILABEL_SOFT = Wording("multilabel_soft_margin_loss", {"logits": "input", "target": "target"})
MULTILABEL = Wording("multilabel_margin_loss", {"pred": "input"}, None, _many_hot)
COSINE = Wording("cosine_embedding_loss", {"first": "input1", "second": "input2", "target": "target"})
TRIPLET = Wording("triplet_margin_loss", {"anchor": "anchor", "positive": "positive", "negative": "negative"})


def warn_of_broadcast(name: str, **tensors: Tensor) -> None:
    """Warn where broadcasting compares every number with every other, in the losses where torch does not warn."""
    (one, x), (other, y) = tensors.items()
    if x.shape == y.shape or torch.compiler.is_compiling():
        return
    try:
        together = torch.broadcast_shapes(x.shape, y.shape)
    except RuntimeError:  # which the loss itself refuses
        return
    if together not in (x.shape, y.shape):
        a, b = tuple(x.shape), tuple(y.shape)
        longer = one if len(a) > len(b) else other
        callsites.warn(
            MisuseFinding(
                "broadcast",
                other,
                f"{name}: {one} has shape {a} but {other} has shape {b}, and together they become {tuple(together)}: "
                f"every number is compared with every other. Drop the last axis of {longer} with {longer}.squeeze(-1)",
            )
        )
