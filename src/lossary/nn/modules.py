"""The loss modules of `torch.nn`, each computing with the catalogue's mathematics.

Every class *is* torch's class of the same name, with another `forward`: constructor, warnings, buffers, state dict,
`repr` and pickling are torch's own, and ``isinstance(criterion, torch.nn.CrossEntropyLoss)`` stays true for the
programs that ask. What each one computes is documented at its function in `lossary.nn.functional`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch import nn as theirs
from typing_extensions import deprecated

from lossary.catalogue import get
from lossary.evaluate.transforms import values
from lossary.nn import adaptive
from lossary.nn import functional as F  # noqa: N812  (the name everybody gives it)
from lossary.nn.ctc import CTCLoss
from lossary.nn.functional.conventions import refuse, shape
from lossary.nn.linear import LinearCrossEntropyLoss

__all__ = [
    "AdaptiveLogSoftmaxWithLoss",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LinearCrossEntropyLoss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "NLLLoss2d",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


def __getattr__(name: str) -> Any:
    return getattr(theirs.modules, name)  # `nn.modules.batchnorm` and the like


class L1Loss(theirs.L1Loss):
    """The absolute error.

    >>> import torch
    >>> L1Loss()(torch.tensor([1.0, 5.0]), torch.zeros(2)).item()
    3.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a prediction."""
        return F.l1_loss(input, target, reduction=self.reduction)


class MSELoss(theirs.MSELoss):
    """The squared error.

    >>> import torch
    >>> MSELoss(reduction="sum")(torch.tensor([1.0, 3.0]), torch.zeros(2)).item()
    10.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a prediction."""
        return F.mse_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(theirs.SmoothL1Loss):
    """The absolute error with a parabola of half-width `beta` in place of its corner.

    >>> import torch
    >>> SmoothL1Loss(beta=2.0)(torch.tensor([3.0]), torch.zeros(1)).item()
    2.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a prediction."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(theirs.HuberLoss):
    """Half the squared error within `delta` of the target, linear beyond.

    >>> import torch
    >>> HuberLoss(delta=2.0)(torch.tensor([3.0]), torch.zeros(1)).item()
    4.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a prediction."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class NLLLoss(theirs.NLLLoss):
    """Minus the log-probability of the class.

    >>> import torch
    >>> round(NLLLoss()(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([0])).item(), 4)
    1.3863
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of rows of log-probabilities, given class indices."""
        return F.nll_loss(input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


@deprecated(
    "`NLLLoss2d` has been deprecated. Please use `NLLLoss` instead as a drop-in replacement.", category=FutureWarning
)
class NLLLoss2d(NLLLoss):
    """`NLLLoss` under the name it had for images."""


class CrossEntropyLoss(theirs.CrossEntropyLoss):
    """Softmax cross-entropy of logits, given class indices or probabilities.

    >>> import torch
    >>> CrossEntropyLoss()(torch.tensor([[0.0, 1000.0]]), torch.tensor([0])).item()
    1000.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits with the classes along dimension 1."""
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class BCELoss(theirs.BCELoss):
    """Cross-entropy of probabilities and yes/no targets.

    >>> import torch
    >>> round(BCELoss()(torch.tensor([0.5]), torch.tensor([1.0])).item(), 4)
    0.6931
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of probabilities."""
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(theirs.BCEWithLogitsLoss):
    """Cross-entropy of log-odds and yes/no targets.

    >>> import torch
    >>> BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]))(torch.tensor([-1000.0]), torch.tensor([1.0])).item()
    3000.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )


class KLDivLoss(theirs.KLDivLoss):
    """Kullback-Leibler divergence of a target from a prediction given as log-probabilities.

    >>> import torch
    >>> half = torch.tensor([[0.5, 0.5]])
    >>> KLDivLoss(reduction="batchmean")(half.log(), half).item()
    0.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of log-probabilities."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(theirs.PoissonNLLLoss):
    """Poisson negative log-likelihood of a count.

    >>> import torch
    >>> PoissonNLLLoss()(torch.tensor([0.0]), torch.tensor([3.0])).item()
    1.0
    """

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of log-rates, or of rates if `log_input` is False."""
        return F.poisson_nll_loss(
            log_input, target, log_input=self.log_input, full=self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(theirs.GaussianNLLLoss):
    """Gaussian negative log-likelihood of a target, given a predicted mean and variance.

    >>> import torch
    >>> GaussianNLLLoss()(torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([1.0])).item()
    2.0
    """

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        """Return the loss of means and variances."""
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class HingeEmbeddingLoss(theirs.HingeEmbeddingLoss):
    """A distance, to be small for pairs that match (1), beyond the margin for others (-1).

    >>> import torch
    >>> HingeEmbeddingLoss(margin=2.0)(torch.tensor([0.5]), torch.tensor([-1])).item()
    1.5
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of distances."""
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class MultiLabelMarginLoss(theirs.MultiLabelMarginLoss):
    """Every label listed should outscore every other class by 1.

    >>> import torch
    >>> MultiLabelMarginLoss()(torch.tensor([2.0, 0.5]), torch.tensor([0, -1])).item()
    0.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of scores, given lists of class indices ended by -1."""
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class SoftMarginLoss(theirs.SoftMarginLoss):
    """Logistic loss with labels -1 and 1.

    >>> import torch
    >>> SoftMarginLoss()(torch.tensor([-1000.0]), torch.ones(1)).item()
    1000.0
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of scores."""
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(theirs.MultiLabelSoftMarginLoss):
    """Binary cross-entropy averaged over the labels of an example.

    >>> import torch
    >>> round(MultiLabelSoftMarginLoss()(torch.zeros(1, 3), torch.ones(1, 3)).item(), 4)
    0.6931
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of scores with the classes along the last dimension."""
        return F.multilabel_soft_margin_loss(input, target, weight=self.weight, reduction=self.reduction)


class CosineEmbeddingLoss(theirs.CosineEmbeddingLoss):
    """Pairs that match (1) should point the same way, others (-1) should not.

    >>> import torch
    >>> CosineEmbeddingLoss()(torch.eye(2), torch.eye(2), torch.tensor([1, -1])).item()
    0.5
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Return the loss of pairs of vectors."""
        return F.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MarginRankingLoss(theirs.MarginRankingLoss):
    """Of two scores the first should be higher (1) or lower (-1).

    >>> import torch
    >>> MarginRankingLoss(margin=0.5)(torch.tensor([1.0]), torch.tensor([1.0]), torch.tensor([1.0])).item()
    0.5
    """

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Return the loss of pairs of scores."""
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MultiMarginLoss(theirs.MultiMarginLoss):
    """Every class within the margin of the right one is charged.

    >>> import torch
    >>> MultiMarginLoss()(torch.tensor([[1.0, 0.5, 0.0, -3.0]]), torch.tensor([0])).item()
    0.125
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of rows of scores, given class indices."""
        return F.multi_margin_loss(
            input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction
        )


class TripletMarginLoss(theirs.TripletMarginLoss):
    """The anchor should be nearer to its positive than to its negative.

    >>> import torch
    >>> TripletMarginLoss()(torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])).item()
    0.0
    """

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of triplets of vectors."""
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(theirs.TripletMarginWithDistanceLoss):
    """The triplet margin with a distance of one's own.

    >>> import torch
    >>> criterion = TripletMarginWithDistanceLoss(distance_function=lambda a, b: ((a - b) ** 2).sum(-1), margin=2.0)
    >>> criterion(torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.5])).item()
    0.75
    """

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the loss of triplets of whatever the distance measures."""
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


_SOFTMAX = get("softmax_cross_entropy")


class AdaptiveLogSoftmaxWithLoss(theirs.AdaptiveLogSoftmaxWithLoss):
    """A softmax over many classes: frequent ones in the head, rare ones in clusters that few examples reach.

    Returns the log-probabilities of the targets and their mean with the sign changed.

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> model = AdaptiveLogSoftmaxWithLoss(16, 10, cutoffs=[3, 6])
    >>> hidden, target = torch.randn(2, 16), torch.tensor([0, 8])
    >>> output, loss = model(hidden, target)
    >>> bool(torch.allclose(output, model.log_prob(hidden)[[0, 1], target]))
    True
    """

    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        """Return ``(output, loss)`` for rows of features and class indices."""
        if target_.ndim > 1 or input_.ndim != target_.ndim + 1 or input_.shape[:-1] != target_.shape:
            refuse(
                "AdaptiveLogSoftmaxWithLoss: expected features (N, in_features) and labels (N,), or one of each; got "
                f"shapes {shape(input_)} and {shape(target_)}"
            )
        features, labels = (input_, target_) if target_.ndim else (input_[None], target_[None])
        known = adaptive.sort(labels, self.cutoffs) or self._sorted(labels)
        scores, start = [self.head(features)], 0
        for project, count in zip(self.tail, known.counts, strict=True):
            if count:
                scores.append(project(features.index_select(0, known.order[start : start + count])))
            start += count
        cost = adaptive.costs(scores, known, _cost_of_clusters)
        if cost is None:
            cost = _cost_of_clusters(scores, known)
        cost = cost.to(features.dtype)
        output = -cost
        return _ASMoutput(output if target_.ndim else output[0], cost.mean())

    def _sorted(self, labels: Tensor) -> adaptive.SortedLabels:
        """Return the labels sorted by cluster; refuse those out of range."""
        if ((labels < 0) | (labels >= self.n_classes)).any():
            refuse(
                f"AdaptiveLogSoftmaxWithLoss: target: expected labels in [0, {self.n_classes - 1}], got "
                f"{int(labels.min())} to {int(labels.max())}"
            )
        # The cluster of each label; 0 is the head itself, which has an entry for every other cluster.
        cutoffs = torch.tensor(self.cutoffs, device=labels.device)
        cluster = torch.bucketize(labels, cutoffs, right=True)
        in_head = torch.where(cluster == 0, labels, self.shortlist_size + cluster - 1)
        numbers = [(cluster == number).nonzero()[:, 0] for number in range(1, len(self.cutoffs))]
        order = torch.cat(numbers)
        inside = labels[order] - cutoffs[cluster[order] - 1]
        return adaptive.SortedLabels(in_head, order, inside, [len(rows) for rows in numbers])


def _cost_of_clusters(scores: Sequence[Tensor], known: adaptive.SortedLabels) -> Tensor:
    """Return the cross-entropy of each label in the head, plus that in its cluster if it is in one."""
    head, *tail = scores
    cost: Tensor = values(_SOFTMAX, (head, known.in_head), {}, check=False)
    if not tail:
        return cost
    labels = known.inside.split([len(x) for x in tail])
    inside = [values(_SOFTMAX, (x, own), {}, check=False) for x, own in zip(tail, labels, strict=True)]
    return cost.index_add(0, known.order, torch.cat(inside))
