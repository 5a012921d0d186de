"""Sampled and contrastive losses: the right answer against a few others, where all would be too many.

Either the others are drawn (`sampled_softmax`, `noise_contrastive_estimation`, `negative_sampling`): then a loss is
given the score of the right class, the scores of the drawn ones, and how often each was to be expected among them,
which `lossary.sampling` knows of the usual sampler. Or they are the rest of the batch (`info_nce`, `siglip`): then a
loss is given a row of a table of similarities, and which entries of it belong together.

A drawn class that happens to be the right one, an accidental hit, must not be pushed away. It is taken out by an
expected count of infinity, whose logarithm `lossary.sampling.without_hits` puts in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary import numerics
from lossary.backends.protocol import Namespace
from lossary.catalogue import loss

__all__ = [
    "info_nce",
    "negative_sampling",
    "noise_contrastive_estimation",
    "sampled_softmax",
    "siglip",
]

DRAWN = "(),(n),(),(n)->()"
SCORES = ("positive", "negatives")


# --- others that are drawn ------------------------------------------------------------------------------------------


@loss(
    family="sampling",
    signature=DRAWN,
    input="score",
    aliases=("sampled_softmax_loss", "sampled_softmax_cross_entropy"),
    formula=r"\log\left(e^{a} + \sum_j e^{b_j}\right) - a,\quad a = s_+ - \log \mathbb E_+,\ "
    r"b_j = s_j - \log \mathbb E_j",
    references=(
        "Bengio and Senecal 2008, Adaptive importance sampling, doi:10.1109/TNN.2007.912312",
        "Jean, Cho, Memisevic and Bengio 2015, On using very large target vocabulary, arXiv:1412.2007",
    ),
    wrt=SCORES,
    properties=("convex", "lipschitz", "smooth"),
)
def sampled_softmax(
    xp: Namespace, positive: Any, negatives: Any, log_expected_positive: Any, log_expected_negatives: Any
) -> Iterator[Any]:
    """Softmax cross-entropy over the right class and a few drawn ones, each corrected for how often it is drawn.

    `positive` is the score (logit) of the right class, `negatives` are those of the drawn ones. The other two are the
    logarithms of how often each of them is expected in such a sample: subtracting them makes the few stand for all, and
    as more are drawn the gradient tends to that of the full softmax. A class that may not count, such as the right one
    drawn by accident, has an expected count whose logarithm is ``inf``. TensorFlow's `sampled_softmax_loss` and this
    agree; its `remove_accidental_hits` is `lossary.sampling.without_hits`. For training only: at test time all
    classes count.

    >>> import lossary, math
    >>> all_classes = lossary.sampled_softmax([1.0], [[0.0, 2.0]], [0.0], [[0.0, 0.0]])
    >>> all_classes.round(6), lossary.softmax_cross_entropy([[1.0, 0.0, 2.0]], [0]).round(6)
    (array([1.407606]), array([1.407606]))
    >>> lossary.sampled_softmax([1.0], [[1.0, 0.0]], [0.0], [[math.inf, 0.0]]).round(6)      # a hit taken out
    array([0.313262])
    """
    adjusted_positive = positive - log_expected_positive
    adjusted_negatives = negatives - log_expected_negatives
    log_shares, shares, log_total = numerics.log_softmax(xp, adjusted_negatives)
    # The logarithm of the odds that one of the drawn classes is picked instead of the right one.
    log_odds_against = log_total - adjusted_positive
    yield numerics.softplus(xp, log_odds_against)
    doubt = numerics.sigmoid(xp, log_odds_against)
    yield -doubt, doubt * shares
    confidence = numerics.sigmoid(xp, -log_odds_against)
    # A share p of the doubt is picked with probability doubt * p, and not with confidence + doubt * (1 - p).
    yield doubt * confidence, doubt * shares * (confidence - doubt * xp.expm1(log_shares))


@loss(
    family="sampling",
    signature=DRAWN,
    input="score",
    aliases=("noise_contrastive", "nce_loss"),
    formula=r"-\log \sigma(s_+ - \log \mathbb E_+) - \sum_j \log \sigma(-(s_j - \log \mathbb E_j))",
    likelihood="Bernoulli: drawn from the data or from the noise, P(data | y) = sigmoid(s_y - log k q(y))",
    references=(
        "Gutmann and Hyvarinen 2010, Noise-contrastive estimation, AISTATS, PMLR 9",
        "Mnih and Teh 2012, A fast and simple algorithm for training neural probabilistic language models, "
        "arXiv:1206.6426",
    ),
    wrt=SCORES,
    properties=("convex", "lipschitz", "smooth"),
)
def noise_contrastive_estimation(
    xp: Namespace, positive: Any, negatives: Any, log_expected_positive: Any, log_expected_negatives: Any
) -> Iterator[Any]:
    """Is it data or noise? Logistic regression that makes the scores of a model log-probabilities, normaliser included.

    `positive` is the score of the class that occurred, `negatives` are those of k classes drawn from the noise; the
    other two are ``log(k q)``, the logarithm of how often each is expected among k draws. At the optimum a score is the
    log-probability of the data: no sum over all classes is ever formed, as long as the scores can adapt to it. ``inf``
    takes a class out, as in `sampled_softmax`. In TensorFlow `nce_loss`.

    >>> import lossary, math
    >>> log_two = [math.log(2.0)]                      # two draws from the one class there is: k q = 2
    >>> lossary.noise_contrastive_estimation([0.0], [[0.0, 0.0]], log_two, [log_two * 2]).round(6)
    array([1.909543])
    """
    data_logit = positive - log_expected_positive
    noise_logits = negatives - log_expected_negatives
    yield numerics.softplus(xp, -data_logit) + xp.sum(numerics.softplus(xp, noise_logits))
    yield -numerics.sigmoid(xp, -data_logit), numerics.sigmoid(xp, noise_logits)
    yield numerics.sigmoid_slope(xp, data_logit), numerics.sigmoid_slope(xp, noise_logits)


@loss(
    family="sampling",
    signature="(),(n)->()",
    input="score",
    aliases=("sgns", "skip_gram_negative_sampling", "word2vec"),
    formula=r"-\log \sigma(s_+) - \sum_j \log \sigma(-s_j)",
    likelihood="Bernoulli: a pair that occurred or one that was drawn, P(occurred) = sigmoid(s)",
    references=(
        "Mikolov et al. 2013, Distributed representations of words and phrases, arXiv:1310.4546",
        "Levy and Goldberg 2014, Neural word embedding as implicit matrix factorization",
    ),
    wrt=SCORES,
    properties=("convex", "lipschitz", "smooth"),
)
def negative_sampling(xp: Namespace, positive: Any, negatives: Any) -> Iterator[Any]:
    """Logistic regression of observed pairs against sampled ones, as in word2vec, ignoring the sampling probabilities.

    It is `noise_contrastive_estimation` without the correction: a score then is not a log-probability but, with k draws
    from q, the logarithm of how much more often the pair occurs than by chance, less log k. Good for embeddings, of no
    use as a model of the data.

    >>> import lossary
    >>> lossary.negative_sampling.grad([0.0], [[0.0, -2.0]])[1].round(4)      # the likelier negative is pushed harder
    array([[0.5   , 0.1192]])
    """
    yield numerics.softplus(xp, -positive) + xp.sum(numerics.softplus(xp, negatives))
    yield -numerics.sigmoid(xp, -positive), numerics.sigmoid(xp, negatives)
    yield numerics.sigmoid_slope(xp, positive), numerics.sigmoid_slope(xp, negatives)


# --- others of the batch --------------------------------------------------------------------------------------------


@loss(
    family="sampling",
    signature="(c),()->()",
    input="affinity",
    target="{0, ..., c-1}",
    aliases=("infonce",),
    formula=r"\log \sum_j e^{s_j / \tau} - s_+ / \tau",
    likelihood="categorical choice of the partner among the candidates: P(j) = softmax(s / tau)_j",
    references=(
        "van den Oord, Li and Vinyals 2018, Representation learning with contrastive predictive coding, "
        "arXiv:1807.03748",
        "Henderson et al. 2017, Efficient natural language response suggestion, arXiv:1705.00652",
    ),
    parameters={"temperature": "(0, inf)"},
    properties=("convex", "lipschitz", "smooth"),
)
def info_nce(xp: Namespace, similarities: Any, target: Any, *, temperature: float = 0.07) -> Iterator[Any]:
    """Which of the candidates is the partner? Softmax cross-entropy over one row of a table of similarities.

    With queries and keys of a batch, the table is ``queries @ keys.T`` and the target ``arange(batch)``: everybody
    else's key is a negative (in-batch softmax, multiple negatives ranking). `temperature` divides the similarities,
    cosines or any others: 0.07 in MoCo and at CLIP's start, 0.05 in sentence-transformers. CLIP's loss is the mean of
    this over the table and over its transpose. A candidate of similarity ``-inf`` takes no part, so several positives
    can be kept from pushing each other. On average, log c less the value is at most the mutual information of a pair.

    >>> import lossary, numpy as np
    >>> queries, keys = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.8, 0.6], [-0.6, 0.8]])
    >>> table = queries @ keys.T
    >>> pairs = np.arange(2)
    >>> (0.5 * (lossary.info_nce(table, pairs) + lossary.info_nce(table.T, pairs))).mean().round(6)     # CLIP
    np.float64(0.027922)
    """
    scores = similarities / temperature
    log_probabilities, probabilities, wanted, log_probability = numerics.target_log_probability(xp, scores, target)
    yield -log_probability
    towards = -xp.ones_like(log_probability)
    slopes, curves = numerics.softmax_chain(
        xp, log_probabilities, probabilities, wanted, towards, xp.zeros_like(towards)
    )
    yield slopes / temperature
    yield curves / temperature / temperature


@loss(
    family="sampling",
    signature="(c),()->() | (c),(c)->()",
    input="similarity",
    target="{0, ..., c-1} | {0, 1}",
    aliases=("sigmoid_pairwise",),
    formula=r"-\sum_j \log \sigma\left(z_j (t s_j + b)\right),\quad z_j = 1\ \text{for pairs},\ -1\ \text{otherwise}",
    likelihood="independent Bernoulli pairs: P(j is a partner) = sigmoid(t s_j + b)",
    references=(
        "Zhai, Mustafa, Kolesnikov and Beyer 2023, Sigmoid loss for language image pre-training, arXiv:2303.15343",
    ),
    parameters={"scale": "(0, inf)", "bias": "real"},
    properties=("convex", "lipschitz", "smooth"),
)
def siglip(xp: Namespace, similarities: Any, target: Any, *, scale: float = 10.0, bias: float = -10.0) -> Iterator[Any]:
    """Which of the candidates are partners? A yes or no for each cosine of one row of a table, their costs added up.

    The target is the index of the one partner, or a 1 for each of several and a 0 for all others. Every pair is judged
    by itself, so the table may be computed in pieces. `scale` and `bias` make logits of cosines; both are learned, from
    10 and -10: with one pair in a batch of many, nearly all answers are no, and the bias says so at once. The mean over
    the rows is the paper's loss, a sum over the table divided by the batch.

    >>> import lossary
    >>> lossary.siglip([[1.0, 0.0]], [0]).round(6), lossary.siglip([[1.0, 0.0]], [[1, 0]]).round(6)
    (array([0.693193]), array([0.693193]))
    """
    wanted = numerics.class_distribution(xp, target, similarities)
    logits = scale * similarities + bias
    misses, false_alarms = numerics.softplus(xp, -logits), numerics.softplus(xp, logits)
    yield xp.sum(wanted * misses + (1 - wanted) * false_alarms)
    yield scale * ((1 - wanted) * numerics.sigmoid(xp, logits) - wanted * numerics.sigmoid(xp, -logits))
    yield scale * scale * numerics.sigmoid_slope(xp, logits)
