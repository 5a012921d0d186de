"""Metric learning losses: embeddings whose distances or angles express which examples belong together.

Pairs and triplets are given as rows of embeddings, one example each. Where a batch is compared with itself
(`batch_hard_triplet`, `nt_xent`, `supcon`), the caller passes embeddings and labels, a coupling of
`lossary.pairs` makes one row of comparisons per example (the *anchor*), and the loss is defined on that row.

Distances are Euclidean, not squared. Two equal embeddings have no direction to be moved in: their gradient is 0. A
zero vector has cosine 0 with everything. At a kink the gradient is 0: a margin that is met exactly is met.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.catalogue import loss
from lossary.pairs import cosine_pairs, hardest_pairs

__all__ = [
    "arcface",
    "batch_hard_triplet",
    "contrastive",
    "cosface",
    "cosine_embedding",
    "margin_ranking",
    "nt_xent",
    "supcon",
    "triplet_margin",
]


# --- pairs and triplets ---------------------------------------------------------------------------------------------


@loss(
    family="metric",
    signature="(d),(d),()->()",
    input="embedding",
    target="{0, 1}",
    aliases=("contrastive_loss", "siamese", "drlim"),
    formula=r"\tfrac12 \left[ y D^2 + (1 - y) \max(0, \mu - D)^2 \right],\quad D = \|x_1 - x_2\|",
    references=("Hadsell, Chopra and LeCun 2006, Dimensionality reduction, doi:10.1109/CVPR.2006.100",),
    parameters={"margin": "[0, inf)"},
    wrt=("first", "second"),
)
def contrastive(xp: Namespace, first: Any, second: Any, target: Any, *, margin: float = 1.0) -> Iterator[Any]:
    """Springs between pairs: similar ones (1) pulled together, dissimilar ones (0) pushed apart up to a margin.

    `margin` is a distance: dissimilar pairs beyond it are left alone. The factor 1/2 is Hadsell's, so the pull equals
    the difference itself. The target is 1 for pairs that belong together, as in TensorFlow Addons and
    sentence-transformers; Hadsell wrote 0 for those. pytorch-metric-learning squares neither part.

    >>> import lossary
    >>> pairs = [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], [[0.6, 0.0], [0.6, 0.0], [2.0, 0.0]]
    >>> lossary.contrastive(*pairs, [1, 0, 0])
    array([0.18, 0.08, 0.  ])
    """
    difference = first - second
    direction, distance = numerics.unit(xp, difference)
    similar = target == 1
    gap = numerics.positive_part(xp, margin - distance)
    yield 0.5 * xp.where(similar, distance * distance, gap * gap)
    pull = xp.where(similar, difference, -gap * direction)
    yield pull, -pull
    bend = numerics.norm_curvature(xp, direction, distance)
    apart = numerics.step(xp, gap) * direction * direction - gap * bend
    curvature = xp.where(similar, xp.ones_like(direction), apart)
    yield curvature, curvature


@loss(
    family="metric",
    signature="(d),(d),(d)->()",
    input="embedding",
    aliases=("triplet", "triplet_loss", "triplet_margin_loss"),
    formula=r"\max\left(0,\ \mu + \|a - p\| - \|a - n\|\right)",
    references=(
        "Weinberger and Saul 2009, Distance metric learning, JMLR 10",
        "Schroff, Kalenichenko and Philbin 2015, FaceNet, arXiv:1503.03832",
        "Balntas et al. 2016, Learning local feature descriptors with triplets, doi:10.5244/C.30.119",
    ),
    parameters={"margin": "[0, inf)", "swap": "flag"},
    wrt=("anchor", "positive", "negative"),
)
def triplet_margin(
    xp: Namespace, anchor: Any, positive: Any, negative: Any, *, margin: float = 1.0, swap: bool = False
) -> Iterator[Any]:
    """The anchor should be nearer to its positive than to its negative, by at least the margin.

    `margin` is a distance. With `swap`, the negative is measured from the anchor or from the positive, whichever is
    nearer (Balntas). Distances are Euclidean, as in torch; FaceNet squares them. torch adds 1e-6 to every component of
    a difference; nothing is added here, and equal embeddings pull with gradient 0. A loss that stays at exactly the
    margin is the sign of a collapse: all embeddings are equal.

    >>> import lossary
    >>> lossary.triplet_margin([0.0, 0.0], [1.0, 0.0], [0.0, 3.0])            # already far enough
    np.float64(0.0)
    >>> lossary.triplet_margin([0.0, 0.0], [1.0, 0.0], [1.5, 0.0], swap=True)   # 1 + 1 - 0.5
    np.float64(1.5)
    """
    positive_direction, positive_distance = numerics.unit(xp, anchor - positive)
    negative_direction, negative_distance = numerics.unit(xp, anchor - negative)
    if swap:
        swapped_direction, swapped_distance = numerics.unit(xp, positive - negative)
        # 1 where the negative is nearer to the positive, 0 where nearer to the anchor; a tie is shared.
        swapped = 0.5 + 0.5 * xp.sign(negative_distance - swapped_distance)
    else:
        swapped_direction, swapped_distance = negative_direction, negative_distance
        swapped = xp.zeros_like(negative_distance)
    violation = margin + (positive_distance - xp.minimum(negative_distance, swapped_distance))
    yield numerics.positive_part(xp, violation)
    active = numerics.step(xp, violation)
    together = active * positive_direction
    from_anchor, from_positive = active * (1 - swapped) * negative_direction, active * swapped * swapped_direction
    yield together - from_anchor, -together - from_positive, from_anchor + from_positive
    bend = active * numerics.norm_curvature(xp, positive_direction, positive_distance)
    bend_anchor = active * (1 - swapped) * numerics.norm_curvature(xp, negative_direction, negative_distance)
    bend_positive = active * swapped * numerics.norm_curvature(xp, swapped_direction, swapped_distance)
    yield bend - bend_anchor, bend - bend_positive, -bend_anchor - bend_positive


@loss(
    family="metric",
    signature="(),(),()->()",
    input="score",
    target="{-1, 1}",
    aliases=("margin_ranking_loss", "pair_hinge"),
    formula=r"\max\left(0,\ \mu - y (s_1 - s_2)\right)",
    references=("Herbrich, Graepel and Obermayer 2000, Large margin rank boundaries for ordinal regression",),
    parameters={"margin": "[0, inf)"},
    wrt=("first", "second"),
    properties=("convex", "lipschitz", "piecewise linear"),
)
def margin_ranking(xp: Namespace, first: Any, second: Any, target: Any, *, margin: float = 0.0) -> Iterator[Any]:
    """Of two scores the first should be the higher (1) or the lower (-1), by at least the margin.

    `margin` is in the units of the scores. With 0, the default as in torch, equal scores cost nothing and have
    gradient 0 (torch takes the other end of the kink and moves them): where scores start out equal, ask for a margin.
    A target of 0 is refused: elsewhere such a pair is silently lost.

    >>> import lossary
    >>> lossary.margin_ranking([2.0, 2.0], [1.0, 1.0], [1, -1])
    array([0., 1.])
    """
    violation = margin - target * (first - second)
    yield numerics.positive_part(xp, violation)
    push = target * numerics.step(xp, violation)
    yield -push, push
    flat = xp.zeros_like(violation)
    yield flat, flat


@loss(
    family="metric",
    signature="(d),(d),()->()",
    input="embedding",
    target="{-1, 1}",
    aliases=("cosine_embedding_loss",),
    formula=r"1 - \cos(x_1, x_2)\ \text{if}\ y = 1,\ \max(0,\ \cos(x_1, x_2) - \mu)\ \text{if}\ y = -1",
    references=("Bromley et al. 1993, Signature verification using a siamese time delay neural network",),
    parameters={"margin": "[-1, 1]"},
    wrt=("first", "second"),
    properties=("bounded",),
)
def cosine_embedding(xp: Namespace, first: Any, second: Any, target: Any, *, margin: float = 0.0) -> Iterator[Any]:
    """Pairs that belong together (1) should point the same way; others (-1) should have a cosine below the margin.

    `margin` is a cosine. Lengths do not matter, and the gradient is orthogonal to the embedding. A zero vector has
    cosine 0 with everything and gradient 0 (torch adds an epsilon to the squared lengths instead). ``1 - cos`` keeps
    its digits for nearly parallel pairs.

    >>> import lossary
    >>> lossary.cosine_embedding([[1.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [1.0, 1.0]], [1, -1]).round(4)
    array([0.    , 0.7071])
    """
    first_direction, first_length = numerics.unit(xp, first)
    second_direction, second_length = numerics.unit(xp, second)
    distance = numerics.one_minus_cosine(xp, first_direction, second_direction)
    cosine = 1 - distance
    similar = target == 1
    violation = cosine - margin
    yield xp.where(similar, distance, numerics.positive_part(xp, violation))
    slope = xp.where(similar, -xp.ones_like(cosine), numerics.step(xp, violation))
    first_turn = numerics.unit_pullback(xp, first_direction, first_length, second_direction)
    second_turn = numerics.unit_pullback(xp, second_direction, second_length, first_direction)
    yield slope * first_turn, slope * second_turn
    yield (
        slope * numerics.cosine_curvature(xp, first_direction, first_length, first_turn, cosine),
        slope * numerics.cosine_curvature(xp, second_direction, second_length, second_turn, cosine),
    )


@loss(
    family="metric",
    signature="(),()->()",
    input="embedding",
    aliases=("triplet_hard", "batch_hard"),
    formula=r"\max\Big(0,\ \mu + \max_{y_p = y_i} \|x_i - x_p\| - \min_{y_n \ne y_i} \|x_i - x_n\|\Big)",
    references=("Hermans, Beyer and Leibe 2017, In defense of the triplet loss, arXiv:1703.07737",),
    parameters={"margin": "[0, inf)", "soft": "flag"},
    coupling=hardest_pairs,
    derivatives=1,
)
def batch_hard_triplet(
    xp: Namespace, farthest: Any, nearest: Any, *, margin: float = 1.0, soft: bool = False
) -> Iterator[Any]:
    """For each anchor, the triplet of its farthest positive and nearest negative in the batch.

    `margin` is a distance. With `soft`, the hinge becomes ``log(1 + exp(farthest - nearest))`` and the margin is not
    used: pairs are pulled on for ever, but ever less. An anchor without a positive or without a negative costs 0 and
    still counts in a mean: mask it to leave it out. Embeddings are taken as they come, not normalised.

    >>> import lossary
    >>> lossary.batch_hard_triplet([[0.0], [2.0], [3.0]], [0, 0, 1])      # the last has no positive
    array([0., 2., 0.])
    """
    lead = farthest - nearest
    if soft:
        yield numerics.softplus(xp, lead)
        pull = numerics.sigmoid(xp, lead)
    else:
        violation = margin + lead
        yield numerics.positive_part(xp, violation)
        pull = numerics.step(xp, violation)
    yield pull, -pull


# --- softmax over cosines -------------------------------------------------------------------------------------------


@loss(
    family="metric",
    signature="(c),()->()",
    input="similarity",
    target="{0, ..., c-1}",
    aliases=("additive_angular_margin", "aam_softmax"),
    formula=r"-\log \frac{e^{s \cos(\theta_y + m)}}{e^{s \cos(\theta_y + m)} + \sum_{k \ne y} e^{s \cos \theta_k}}",
    references=("Deng, Guo, Xue and Zafeiriou 2019, ArcFace, arXiv:1801.07698",),
    parameters={"margin": "[0, 1.57]", "scale": "(0, inf)", "easy_margin": "flag"},
)
def arcface(
    xp: Namespace, pred: Any, target: Any, *, margin: float = 0.5, scale: float = 64.0, easy_margin: bool = False
) -> Iterator[Any]:
    r"""Softmax cross-entropy on cosines, with the angle to the right class made larger by a margin.

    `pred` are cosines between an embedding and one weight vector per class; `scale` makes logits of them. `margin` is
    in radians, as in the paper; pytorch-metric-learning counts degrees (28.6 is 0.5). Where the enlarged angle would
    pass 180 degrees, the cosine would rise again; there ``cos(theta) - margin * sin(margin)`` is used, as in the
    authors' code: it keeps falling, though with a jump. With `easy_margin` the margin applies only to angles below 90
    degrees.

    At a cosine of exactly 1 or -1 the slope in the cosine is infinite; it is replaced by that of the part that is
    not, ``cos(margin)``. A cosine that rounding has carried past 1 counts as 1.

    >>> import lossary
    >>> cosines = [[0.7, 0.2, -0.1]]
    >>> lossary.arcface(cosines, [0], scale=8.0) > lossary.arcface(cosines, [0], scale=8.0, margin=0.0)
    array([ True])
    """
    is_label = numerics.class_distribution(xp, target, pred) == 1
    angle = margin * xp.ones_like(xp.max(pred))
    cos_margin, sin_margin = xp.cos(angle), xp.sin(angle)
    square = numerics.positive_part(xp, (1 - pred) * (1 + pred))
    straight = square == 0  # no root of 0 is taken, which has an infinite slope
    sine = xp.where(straight, xp.zeros_like(pred), xp.sqrt(xp.where(straight, xp.ones_like(pred), square)))
    turned = is_label & (pred > (0.0 if easy_margin else -cos_margin))
    beyond = pred if easy_margin else pred - margin * sin_margin
    with_margin = xp.where(turned, pred * cos_margin - sine * sin_margin, beyond)
    scores = scale * xp.where(is_label, with_margin, pred)
    log_probabilities, probabilities, one_hot, log_probability = numerics.target_log_probability(xp, scores, target)
    yield -log_probability
    towards = -xp.ones_like(log_probability)
    slopes, curves = numerics.softmax_chain(
        xp, log_probabilities, probabilities, one_hot, towards, xp.zeros_like(towards)
    )
    cotangent = numerics.divide(xp, pred, sine)
    rate = xp.where(turned, cos_margin + sin_margin * cotangent, xp.ones_like(pred))
    yield scale * slopes * rate
    bend = xp.where(turned, sin_margin * numerics.divide(xp, xp.ones_like(sine), sine) ** 3, xp.zeros_like(pred))
    yield scale * (scale * curves * rate * rate + slopes * bend)


@loss(
    family="metric",
    signature="(c),()->()",
    input="similarity",
    target="{0, ..., c-1}",
    aliases=("am_softmax", "large_margin_cosine", "lmcl", "additive_margin_softmax"),
    formula=r"-\log \frac{e^{s (\cos \theta_y - m)}}{e^{s (\cos \theta_y - m)} + \sum_{k \ne y} e^{s \cos \theta_k}}",
    references=(
        "Wang et al. 2018, CosFace, arXiv:1801.09414",
        "Wang, Cheng, Liu and Liu 2018, Additive margin softmax, arXiv:1801.05599",
    ),
    parameters={"margin": "[0, inf)", "scale": "(0, inf)"},
    properties=("convex",),
)
def cosface(xp: Namespace, pred: Any, target: Any, *, margin: float = 0.35, scale: float = 64.0) -> Iterator[Any]:
    """Softmax cross-entropy on cosines, with the cosine of the right class made smaller by a margin.

    `pred` are cosines between an embedding and one weight vector per class; `scale` makes logits of them. `margin` is
    a cosine, not an angle: 0.35 asks the same lead at every angle, where `arcface` asks more near 90 degrees.

    >>> import lossary
    >>> lossary.cosface([[0.7, 0.35]], [0])      # a lead of exactly the margin is a coin toss
    array([0.69314718])
    """
    wanted = numerics.class_distribution(xp, target, pred)
    scores = scale * (pred - margin * wanted)
    log_probabilities, probabilities, wanted, log_probability = numerics.target_log_probability(xp, scores, target)
    yield -log_probability
    towards = -xp.ones_like(log_probability)
    slopes, curves = numerics.softmax_chain(
        xp, log_probabilities, probabilities, wanted, towards, xp.zeros_like(towards)
    )
    yield scale * slopes
    yield scale * scale * curves


# --- batches compared with themselves -------------------------------------------------------------------------------


def _shares(xp: Namespace, positives: Any, like: Any) -> tuple[Any, Any]:
    """Return the anchor's positives as weights that sum to 1, and that sum: 0, like the weights, if it has none."""
    chosen = xp.astype(positives, like)
    count = xp.sum(chosen)
    return numerics.divide(xp, chosen, count), numerics.step(xp, count)


@loss(
    family="metric",
    signature="(n),(n),(n)->()",
    input="embedding",
    aliases=("ntxent", "ntxent_loss", "simclr"),
    formula=r"\frac{1}{|P_i|} \sum_{p \in P_i} -\log "
    r"\frac{e^{s_{ip} / \tau}}{e^{s_{ip} / \tau} + \sum_{n:\, y_n \ne y_i} e^{s_{in} / \tau}}",
    references=(
        "Sohn 2016, Improved deep metric learning with multi-class N-pair loss objective",
        "Chen, Kornblith, Norouzi and Hinton 2020, SimCLR, arXiv:2002.05709",
    ),
    parameters={"temperature": "(0, inf)"},
    coupling=cosine_pairs,
    derivatives=1,
)
def nt_xent(
    xp: Namespace, similarities: Any, positives: Any, candidates: Any, *, temperature: float = 0.07
) -> Iterator[Any]:
    """Each positive of an anchor is to be picked out among all of the anchor's negatives, by cosine.

    Examples with the same label are positives of each other. Every positive meets the negatives alone: the
    denominator holds this positive and all negatives, not the other positives (optax, pytorch-metric-learning). With
    two views per label this is SimCLR's loss. `supcon` puts all others in the denominator. The value of an anchor is
    the mean over its positives; optax averages over all pairs instead, which is the same if every label occurs equally
    often. `temperature` divides the cosines: 0.07 here, as in optax, 0.5 in SimCLR. An anchor without positives costs
    exactly 0, as does one without negatives.

    >>> import lossary
    >>> views = [[1.0, 0.1], [1.0, -0.1], [-0.1, 1.0], [0.1, 1.0]]
    >>> lossary.nt_xent(views, [0, 0, 1, 1], temperature=0.5).round(4)
    array([0.3001, 0.2115, 0.2115, 0.3001])
    """
    scores = similarities / temperature
    negatives = candidates & ~positives
    _, negative_probabilities, log_negatives = numerics.log_softmax(xp, numerics.masked(xp, negatives, scores))
    wanted, _ = _shares(xp, positives, scores)
    # The logarithm of the odds that a negative is picked instead of this positive.
    log_odds_against = numerics.masked(xp, positives, log_negatives - scores)
    yield xp.sum(wanted * numerics.softplus(xp, log_odds_against))
    pull = wanted * numerics.sigmoid(xp, log_odds_against)
    yield (xp.sum(pull) * negative_probabilities - pull) / temperature


@loss(
    family="metric",
    signature="(n),(n),(n)->()",
    input="embedding",
    aliases=("supervised_contrastive", "sup_con", "supcon_out"),
    formula=r"\frac{-1}{|P_i|} \sum_{p \in P_i} \log \frac{e^{s_{ip} / \tau}}{\sum_{a \ne i} e^{s_{ia} / \tau}}",
    references=("Khosla et al. 2020, Supervised contrastive learning (L_out), arXiv:2004.11362",),
    parameters={"temperature": "(0, inf)"},
    coupling=cosine_pairs,
    derivatives=1,
)
def supcon(
    xp: Namespace, similarities: Any, positives: Any, candidates: Any, *, temperature: float = 0.1
) -> Iterator[Any]:
    """Cross-entropy of an anchor's softmax over all others, with its positives as equally likely right answers.

    Examples with the same label are positives of each other; the denominator holds all others, positives included.
    This is the paper's L_out: the mean over positives stands outside the logarithm. `temperature` divides the cosines:
    0.1 in the paper, 0.07 in the authors' code, which also multiplies by a ratio of temperatures that is 1 by default.
    An anchor without positives costs exactly 0, where that code gives NaN. With several positives the loss cannot
    reach 0: they compete.

    >>> import lossary
    >>> lossary.supcon([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [0, 0, 1]).round(6)
    array([4.5e-05, 4.5e-05, 0.0e+00])
    """
    scores = numerics.masked(xp, candidates, similarities / temperature)
    log_probabilities, probabilities, _ = numerics.log_softmax(xp, scores)
    wanted, has_positives = _shares(xp, positives, similarities)
    yield xp.sum(numerics.times(xp, wanted, -log_probabilities))
    residual = numerics.residual_probabilities(xp, log_probabilities, probabilities, wanted, has_positives)
    yield residual / temperature
