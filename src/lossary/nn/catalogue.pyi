# Written by docs/make_stubs.py from the records of the catalogue.
"""A module for every loss of the catalogue whose name `torch.nn` has not taken, made from the records."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from lossary.catalogue import Loss
from lossary.evaluate.reduction import Reduction
from lossary.nn.penalties import ParameterPenalty, Patterns
from lossary.nn.records import ClassifierLoss, RecordLoss

__all__ = [
    "AAMSoftmaxLoss",
    "AMSoftmaxLoss",
    "AbsoluteErrorLoss",
    "ArcFaceLoss",
    "BalancedSoftmaxLoss",
    "BatchHardTripletLoss",
    "BinaryCrossEntropyLoss",
    "BinaryCrossEntropyWithLogitsLoss",
    "BradleyTerryLoss",
    "BrierLoss",
    "CPOLoss",
    "CategoricalFocalLoss",
    "CharbonnierLoss",
    "ClassBalancedLoss",
    "ContrastiveLoss",
    "CosFaceLoss",
    "CosineDistanceLoss",
    "CrammerSingerLoss",
    "DPOHingeLoss",
    "DPOLoss",
    "DiceLoss",
    "ElasticNetPenalty",
    "EntropyBonusLoss",
    "EpsilonInsensitiveLoss",
    "ExponentialLoss",
    "FocalLoss",
    "GCELoss",
    "GRPOLoss",
    "GammaNLLLoss",
    "GeneralizedCrossEntropyLoss",
    "GeneralizedDiceLoss",
    "GeneralizedKLLoss",
    "HalfSquaredErrorLoss",
    "HingeLoss",
    "IPOLoss",
    "InfoNCELoss",
    "JSDivergenceLoss",
    "JaccardLoss",
    "JensenShannonLoss",
    "KLDivergenceLoss",
    "KLK1Loss",
    "KLK2Loss",
    "KLK3Loss",
    "KTOLoss",
    "L1Penalty",
    "L2Penalty",
    "LaplaceNLLLoss",
    "LinearChainCRFLoss",
    "LogCoshLoss",
    "LogisticLoss",
    "LogisticMarginLoss",
    "LogitAdjustedLoss",
    "MAPELoss",
    "MSLELoss",
    "ModifiedHuberLoss",
    "MulticlassHingeLoss",
    "NTXentLoss",
    "NegativeBinomialNLLLoss",
    "NegativeSamplingLoss",
    "NoiseContrastiveEstimationLoss",
    "ORPOLoss",
    "PPOClipLoss",
    "PerceptronLoss",
    "PinballLoss",
    "PoissonNLLRateLoss",
    "PolicyGradientLoss",
    "PolyLoss",
    "PseudoHuberLoss",
    "QuantileLoss",
    "RNNTLoss",
    "ReverseKLLoss",
    "RobustDPOLoss",
    "SampledSoftmaxLoss",
    "SigLIPLoss",
    "SigmoidFocalLoss",
    "SimCLRLoss",
    "SimPOLoss",
    "SmoothedHingeLoss",
    "SoftDiceLoss",
    "SoftIoULoss",
    "SoftmaxCrossEntropyLoss",
    "SoftmaxFocalLoss",
    "SquaredErrorLoss",
    "SquaredHingeLoss",
    "StudentTNLLLoss",
    "SupConLoss",
    "SupervisedContrastiveLoss",
    "TripletHardLoss",
    "TverskyLoss",
    "TweedieDevianceLoss",
    "ZeroOneLoss",
    "from_record",
]

ALSO_KNOWN_AS: tuple[str, ...]

def base_of(loss: Loss) -> type[RecordLoss]: ...
def from_record(loss: Loss | str, /, *constants: Any, **params: Any) -> RecordLoss: ...

class AbsoluteErrorLoss(RecordLoss):
    """The size of the residual; its mean is minimised by the conditional median, so gross outliers barely move it."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class ArcFaceLoss(ClassifierLoss):
    """Softmax cross-entropy on cosines, with the angle to the right class made larger by a margin."""

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        *,
        margin: float | Tensor = 0.5,
        scale: float | Tensor = 64.0,
        easy_margin: bool = False,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None: ...
    def forward(
        self, embeddings: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, embeddings: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class BatchHardTripletLoss(RecordLoss):
    """For each anchor, the triplet of its farthest positive and nearest negative in the batch."""

    def __init__(self, *, margin: float | Tensor = 1.0, soft: bool = False, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, embeddings: Tensor, labels: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, embeddings: Tensor, labels: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class BinaryCrossEntropyLoss(RecordLoss):
    """Minus the log of the probability given to a yes/no outcome, from probabilities."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, probs: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, probs: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class BinaryCrossEntropyWithLogitsLoss(RecordLoss):
    """Minus the log-probability of a yes/no outcome, from its log-odds: finite, exact and alive at any logit."""

    def __init__(
        self, *, pos_weight: float | Tensor = 1.0, label_smoothing: float | Tensor = 0.0, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class BradleyTerryLoss(RecordLoss):
    """The cost of a human's choice between two answers, given a reward model's score of each."""

    def __init__(
        self, *, margin: float | Tensor = 0.0, centering: float | Tensor = 0.0, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self, chosen: Tensor, rejected: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, chosen: Tensor, rejected: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class BrierLoss(RecordLoss):
    """Squared distance between a row of probabilities and what happened: a proper score that is never infinite."""

    def __init__(self, *, ignore_index: int | None = None, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, probs: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, probs: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class CPOLoss(RecordLoss):
    """DPO with a uniform reference, and a likelihood term that keeps the chosen answer probable."""

    def __init__(
        self,
        *,
        beta: float | Tensor = 0.1,
        alpha: float | Tensor = 1.0,
        label_smoothing: float | Tensor = 0.0,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self, chosen: Tensor, rejected: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, chosen: Tensor, rejected: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class ClassBalancedLoss(RecordLoss):
    """Softmax cross-entropy weighted by the inverse effective number of examples of each class."""

    def __init__(
        self,
        class_counts: Sequence[float] | Tensor,
        *,
        beta: float | Tensor = 0.999,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class ContrastiveLoss(RecordLoss):
    """Springs between pairs: similar ones (1) pulled together, dissimilar ones (0) pushed apart up to a margin."""

    def __init__(self, *, margin: float | Tensor = 1.0, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, first: Tensor, second: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, first: Tensor, second: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class CosFaceLoss(ClassifierLoss):
    """Softmax cross-entropy on cosines, with the cosine of the right class made smaller by a margin."""

    def __init__(
        self,
        embedding_size: int,
        classes: int,
        *,
        margin: float | Tensor = 0.35,
        scale: float | Tensor = 64.0,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None: ...
    def forward(
        self, embeddings: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, embeddings: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class CosineDistanceLoss(RecordLoss):
    """One minus the cosine of the angle between two vectors: 0 if parallel, 1 if orthogonal, 2 if opposite."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class DPOHingeLoss(RecordLoss):
    """The hinge in the place of the logistic cost of `dpo`: a pair that leads by the margin is left alone."""

    def __init__(
        self, *, beta: float | Tensor = 0.1, margin: float | Tensor = 1.0, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self,
        chosen: Tensor,
        rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        chosen: Tensor,
        rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class DPOLoss(RecordLoss):
    """Choose the better of two answers, the policy itself being the reward model (direct preference optimisation)."""

    def __init__(
        self, *, beta: float | Tensor = 0.1, label_smoothing: float | Tensor = 0.0, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self,
        chosen: Tensor,
        rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        chosen: Tensor,
        rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class DiceLoss(RecordLoss):
    """One minus twice the overlap of two regions over the sum of their sizes, indifferent to how large the rest is."""

    def __init__(self, *, smooth: float | Tensor = 0.0, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class ElasticNetPenalty(ParameterPenalty):
    """A mixture of `l1_penalty` and `l2_penalty`: sparse like the one, steady among correlated inputs like the
    other.
    """

    def __init__(
        self,
        strength: float,
        *,
        l1_ratio: float | Tensor = 0.5,
        include: Patterns | None = None,
        exclude: Patterns = (),
    ) -> None: ...
    def forward(self, model: torch.nn.Module) -> Tensor: ...
    def __call__(self, model: torch.nn.Module) -> Tensor: ...

class EntropyBonusLoss(RecordLoss):
    """Minus the entropy of a softmax, in nats: added with a small factor, it keeps a policy from deciding early."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(self, logits: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None) -> Tensor: ...
    def __call__(self, logits: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None) -> Tensor: ...

class EpsilonInsensitiveLoss(RecordLoss):
    """The absolute error beyond a tube around the target; inside it an error costs nothing, as in support vectors."""

    def __init__(self, *, epsilon: float | Tensor = 0.1, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class ExponentialLoss(RecordLoss):
    """The exponential of the negative margin, which AdaBoost minimises step by step; mislabelled examples dominate
    it.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class GRPOLoss(RecordLoss):
    """One token's share of group relative policy optimisation: the clipped ratio, and what leaving the reference
    costs.
    """

    def __init__(
        self,
        *,
        clip_low: float | Tensor = 0.2,
        clip_high: float | Tensor = 0.2,
        dual_clip: float | Tensor | None = None,
        beta: float | Tensor = 0.04,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self,
        log_probability: Tensor,
        old_log_probability: Tensor,
        reference_log_probability: Tensor,
        advantage: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        log_probability: Tensor,
        old_log_probability: Tensor,
        reference_log_probability: Tensor,
        advantage: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class GammaNLLLoss(RecordLoss):
    """The cost of a positive amount under a gamma law, given the logarithm of its mean."""

    def __init__(self, *, shape: float | Tensor = 1.0, full: bool = False, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, log_mean: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, log_mean: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class GeneralizedCrossEntropyLoss(RecordLoss):
    """Between cross-entropy and the error rate: wrong labels cannot cost more than ``1 / q``."""

    def __init__(
        self, *, q: float | Tensor = 0.7, ignore_index: int | None = None, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class GeneralizedDiceLoss(RecordLoss):
    """One Dice quotient for all classes of an image, in which a small class counts as much as a large one."""

    def __init__(
        self,
        *,
        weighting: Literal["square", "simple", "uniform"] = "square",
        smooth: float | Tensor = 0.0,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class GeneralizedKLLoss(RecordLoss):
    """Kullback-Leibler divergence of amounts that need not sum to 1, given the logarithm of the predicted amount."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, log_rate: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, log_rate: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class HalfSquaredErrorLoss(RecordLoss):
    """Half the square of the residual, so that the gradient is the residual itself."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class HingeLoss(RecordLoss):
    """The shortfall of the score from the margin, on the side of the label: the loss of the support vector machine."""

    def __init__(self, *, margin: float | Tensor = 1.0, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class IPOLoss(RecordLoss):
    """The lead of the chosen answer over the rejected one should be a given number, and not ever larger."""

    def __init__(self, *, tau: float | Tensor = 0.1, reduction: Reduction = "mean") -> None: ...
    def forward(
        self,
        chosen: Tensor,
        rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        chosen: Tensor,
        rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class InfoNCELoss(RecordLoss):
    """Which of the candidates is the partner? Softmax cross-entropy over one row of a table of similarities."""

    def __init__(
        self, *, temperature: float | Tensor = 0.07, ignore_index: int | None = None, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self, similarities: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, similarities: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class JSDivergenceLoss(RecordLoss):
    """Jensen-Shannon divergence, in nats: the mean divergence of both distributions from their mixture."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, log_probs: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, log_probs: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class JaccardLoss(RecordLoss):
    """One minus intersection over union, with products and sums of probabilities in place of the sets."""

    def __init__(self, *, smooth: float | Tensor = 0.0, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class KLDivergenceLoss(RecordLoss):
    """Kullback-Leibler divergence KL(target || pred), in nats: what coding the target by the prediction wastes."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, log_probs: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, log_probs: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class KLK1Loss(RecordLoss):
    """The log-ratio of one drawn action: its mean is the divergence KL(policy || reference), its spread is large."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self,
        log_probability: Tensor,
        reference_log_probability: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        log_probability: Tensor,
        reference_log_probability: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class KLK2Loss(RecordLoss):
    """Half the squared log-ratio of one drawn action: never negative, a little biased, and with the right gradient."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self,
        log_probability: Tensor,
        reference_log_probability: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        log_probability: Tensor,
        reference_log_probability: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class KLK3Loss(RecordLoss):
    """The log-ratio of one drawn action with a term of mean 0 that makes it positive: unbiased, and of small
    spread.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self,
        log_probability: Tensor,
        reference_log_probability: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        log_probability: Tensor,
        reference_log_probability: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class KTOLoss(RecordLoss):
    """Single answers marked good (1) or bad (0), valued as gains and losses are: from a reference point, with
    limits.
    """

    def __init__(
        self,
        *,
        beta: float | Tensor = 0.1,
        desirable_weight: float | Tensor = 1.0,
        undesirable_weight: float | Tensor = 1.0,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self,
        log_probability: Tensor,
        reference_log_probability: Tensor,
        target: Tensor,
        reference_point: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        log_probability: Tensor,
        reference_log_probability: Tensor,
        target: Tensor,
        reference_point: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class L1Penalty(ParameterPenalty):
    """The size of each parameter; every one is pulled to 0 with the same strength, and some arrive exactly there."""

    def __init__(self, strength: float, *, include: Patterns | None = None, exclude: Patterns = ()) -> None: ...
    def forward(self, model: torch.nn.Module) -> Tensor: ...
    def __call__(self, model: torch.nn.Module) -> Tensor: ...

class L2Penalty(ParameterPenalty):
    """Half the square of each parameter, whose gradient is the parameter itself: what optimisers call weight decay."""

    def __init__(self, strength: float, *, include: Patterns | None = None, exclude: Patterns = ()) -> None: ...
    def forward(self, model: torch.nn.Module) -> Tensor: ...
    def __call__(self, model: torch.nn.Module) -> Tensor: ...

class LaplaceNLLLoss(RecordLoss):
    """The cost of a target under a Laplace density whose centre and scale are both predicted."""

    def __init__(self, *, full: bool = False, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, scale: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, scale: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class LinearChainCRFLoss(RecordLoss):
    """Minus the log-probability of a sequence of tags, where each tag's score depends on the one before it."""

    def __init__(
        self,
        *,
        start: Sequence[float] | Tensor | None = None,
        end: Sequence[float] | Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self,
        emissions: Tensor,
        transitions: Tensor,
        tags: Tensor,
        lengths: Tensor | None = None,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        emissions: Tensor,
        transitions: Tensor,
        tags: Tensor,
        lengths: Tensor | None = None,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class LogCoshLoss(RecordLoss):
    """Half the squared error for small residuals, the absolute error less log 2 for large ones, smooth throughout."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class LogisticMarginLoss(RecordLoss):
    """Logistic regression with labels -1 and 1: binary cross-entropy on a logit, by another name for the labels."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class LogitAdjustedLoss(RecordLoss):
    """Softmax cross-entropy after adding the log of the class counts: the model need not learn how rare a class is."""

    def __init__(
        self,
        class_counts: Sequence[float] | Tensor,
        *,
        tau: float | Tensor = 1.0,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class MAPELoss(RecordLoss):
    """The size of the residual as a fraction of the size of the target."""

    def __init__(self, *, epsilon: float | Tensor = 1e-07, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class MSLELoss(RecordLoss):
    """The squared difference of ``log(1 + value)``: relative error for large values, absolute error near 0."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class ModifiedHuberLoss(RecordLoss):
    """The squared hinge until the answer is wrong by a margin of 1, linear with slope 4 beyond, so outliers pull
    alike.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class MulticlassHingeLoss(RecordLoss):
    """The shortfall of the right class's lead over its strongest rival from the margin."""

    def __init__(
        self, *, margin: float | Tensor = 1.0, ignore_index: int | None = None, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class NTXentLoss(RecordLoss):
    """Each positive of an anchor is to be picked out among all of the anchor's negatives, by cosine."""

    def __init__(self, *, temperature: float | Tensor = 0.07, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, embeddings: Tensor, labels: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, embeddings: Tensor, labels: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class NegativeBinomialNLLLoss(RecordLoss):
    """The cost of a count that varies more than a Poisson count would, given the logarithm of its mean."""

    def __init__(self, *, alpha: float | Tensor = 1.0, full: bool = False, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, log_mean: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, log_mean: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class NegativeSamplingLoss(RecordLoss):
    """Pairs that occurred are told from pairs that were drawn, as in word2vec, without regard to how they were
    drawn.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, positive: Tensor, negatives: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, positive: Tensor, negatives: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class NoiseContrastiveEstimationLoss(RecordLoss):
    """Is it data or noise? Logistic regression that makes the scores of a model log-probabilities, normaliser
    included.
    """

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self,
        positive: Tensor,
        negatives: Tensor,
        log_expected_positive: Tensor,
        log_expected_negatives: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        positive: Tensor,
        negatives: Tensor,
        log_expected_positive: Tensor,
        log_expected_negatives: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class ORPOLoss(RecordLoss):
    """Fine-tuning on the chosen answer, and the odds of it against those of the rejected one, in a single stage."""

    def __init__(self, *, beta: float | Tensor = 0.1, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, chosen: Tensor, rejected: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, chosen: Tensor, rejected: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class PPOClipLoss(RecordLoss):
    """Make an action more likely in proportion to its advantage, but not much more than when it was drawn."""

    def __init__(
        self,
        *,
        clip_low: float | Tensor = 0.2,
        clip_high: float | Tensor = 0.2,
        dual_clip: float | Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self,
        log_probability: Tensor,
        old_log_probability: Tensor,
        advantage: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        log_probability: Tensor,
        old_log_probability: Tensor,
        advantage: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class PerceptronLoss(RecordLoss):
    """How far the score lies on the wrong side of 0: a hinge without a margin."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class PinballLoss(RecordLoss):
    """A tilted absolute error; its mean is minimised by the conditional quantile."""

    def __init__(self, *, quantile: float | Tensor = 0.5, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class PoissonNLLRateLoss(RecordLoss):
    """The cost of a count under a Poisson law, given its rate."""

    def __init__(self, *, full: bool = False, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, rate: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, rate: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class PolicyGradientLoss(RecordLoss):
    """Make an action more likely in proportion to its advantage (REINFORCE)."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, log_probability: Tensor, advantage: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, log_probability: Tensor, advantage: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class PolyLoss(RecordLoss):
    """Cross-entropy with the first term of its expansion in ``1 - p`` reweighted (Poly-1)."""

    def __init__(
        self, *, epsilon: float | Tensor = 2.0, ignore_index: int | None = None, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class PseudoHuberLoss(RecordLoss):
    """Half the squared error near the target, `delta` times the absolute error far away, and smooth in between."""

    def __init__(self, *, delta: float | Tensor = 1.0, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class RNNTLoss(RecordLoss):
    """Minus the log-probability of a label sequence under a transducer, summed over all its alignments with the
    frames.
    """

    def __init__(self, *, blank: int = 0, reduction: Reduction = "mean") -> None: ...
    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        input_lengths: Tensor | None = None,
        target_lengths: Tensor | None = None,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        logits: Tensor,
        labels: Tensor,
        input_lengths: Tensor | None = None,
        target_lengths: Tensor | None = None,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class ReverseKLLoss(RecordLoss):
    """Kullback-Leibler divergence KL(pred || target), in nats, the prediction as log-probabilities."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, log_probs: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, log_probs: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class RobustDPOLoss(RecordLoss):
    """DPO that is right on average although some of the pairs are the wrong way round."""

    def __init__(
        self, *, beta: float | Tensor = 0.1, flip_rate: float | Tensor = 0.1, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self,
        chosen: Tensor,
        rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        chosen: Tensor,
        rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class SampledSoftmaxLoss(RecordLoss):
    """Softmax cross-entropy over the right class and a few drawn ones, each corrected for how often it is drawn."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self,
        positive: Tensor,
        negatives: Tensor,
        log_expected_positive: Tensor,
        log_expected_negatives: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...
    def __call__(
        self,
        positive: Tensor,
        negatives: Tensor,
        log_expected_positive: Tensor,
        log_expected_negatives: Tensor,
        *,
        weight: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor: ...

class SigLIPLoss(RecordLoss):
    """Which of the candidates are partners? A yes or no for each cosine of one row of a table, their costs added
    up.
    """

    def __init__(
        self,
        *,
        scale: float | Tensor = 10.0,
        bias: float | Tensor = -10.0,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self, similarities: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, similarities: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class SigmoidFocalLoss(RecordLoss):
    """Binary cross-entropy with examples that are already right turned down, for dense detection."""

    def __init__(
        self, *, gamma: float | Tensor = 2.0, alpha: float | Tensor | None = None, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class SimPOLoss(RecordLoss):
    """Choose the better of two answers by their mean log-probability per token; no reference policy is needed."""

    def __init__(
        self, *, beta: float | Tensor = 2.0, gamma: float | Tensor = 1.0, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self, chosen: Tensor, rejected: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, chosen: Tensor, rejected: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class SmoothedHingeLoss(RecordLoss):
    """The hinge with a parabola of width `gamma` in place of its corner: smooth, and still linear for wrong
    answers.
    """

    def __init__(self, *, gamma: float | Tensor = 1.0, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class SoftmaxCrossEntropyLoss(RecordLoss):
    """Minus the log-probability that the softmax of a row of logits gives to its class."""

    def __init__(
        self,
        *,
        class_weight: Sequence[float] | Tensor | None = None,
        label_smoothing: float | Tensor = 0.0,
        temperature: float | Tensor = 1.0,
        z_loss: float | Tensor = 0.0,
        soft_cap: float | Tensor | None = None,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class SoftmaxFocalLoss(RecordLoss):
    """Softmax cross-entropy that down-weights examples already classified correctly."""

    def __init__(
        self,
        *,
        gamma: float | Tensor = 2.0,
        class_weight: Sequence[float] | Tensor | None = None,
        label_smoothing: float | Tensor = 0.0,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, logits: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class SquaredErrorLoss(RecordLoss):
    """The square of the residual; its mean is the MSE, minimised by the conditional mean."""

    def __init__(self, *, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class SquaredHingeLoss(RecordLoss):
    """The square of the hinge: no kink, and a pull that grows with the violation."""

    def __init__(self, *, margin: float | Tensor = 1.0, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class StudentTNLLLoss(RecordLoss):
    """The cost of a target under Student's t: gross errors cost their logarithm, and hardly pull at all."""

    def __init__(
        self,
        *,
        df: float | Tensor = 4.0,
        scale: float | Tensor = 1.0,
        full: bool = False,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class SupConLoss(RecordLoss):
    """Cross-entropy of an anchor's softmax over all others, with its positives as equally likely right answers."""

    def __init__(self, *, temperature: float | Tensor = 0.1, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, embeddings: Tensor, labels: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, embeddings: Tensor, labels: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class TverskyLoss(RecordLoss):
    """An overlap in which false alarms and misses have prices of their own."""

    def __init__(
        self,
        *,
        alpha: float | Tensor = 0.5,
        beta: float | Tensor = 0.5,
        smooth: float | Tensor = 0.0,
        reduction: Reduction = "mean",
    ) -> None: ...
    def forward(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, pred: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class TweedieDevianceLoss(RecordLoss):
    """How much worse than perfect a mean is for an amount that is often 0 and otherwise positive."""

    def __init__(self, *, power: float | Tensor = 1.5, reduction: Reduction = "mean") -> None: ...
    def forward(
        self, log_mean: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, log_mean: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

class ZeroOneLoss(RecordLoss):
    """1 for a mistake and 0 otherwise: the error rate that the other losses stand in for."""

    def __init__(
        self, *, threshold: float | Tensor = 0.5, ignore_index: int | None = None, reduction: Reduction = "mean"
    ) -> None: ...
    def forward(
        self, scores: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...
    def __call__(
        self, scores: Tensor, target: Tensor, *, weight: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor: ...

AAMSoftmaxLoss = ArcFaceLoss
AMSoftmaxLoss = CosFaceLoss
BalancedSoftmaxLoss = LogitAdjustedLoss
CategoricalFocalLoss = SoftmaxFocalLoss
CharbonnierLoss = PseudoHuberLoss
CrammerSingerLoss = MulticlassHingeLoss
FocalLoss = SigmoidFocalLoss
GCELoss = GeneralizedCrossEntropyLoss
JensenShannonLoss = JSDivergenceLoss
LogisticLoss = LogisticMarginLoss
QuantileLoss = PinballLoss
SimCLRLoss = NTXentLoss
SoftDiceLoss = DiceLoss
SoftIoULoss = JaccardLoss
SupervisedContrastiveLoss = SupConLoss
TripletHardLoss = BatchHardTripletLoss
