"""Admissible words of a record: families, properties and elicited statistics, each with its meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lossary.errors import suggest

FAMILIES: Mapping[str, str] = {
    "regression": "a real prediction and a real target",
    "classification": "classes, by logits or probabilities",
    "margin": "a score that has the sign of its label, or beats the other classes, by enough",
    "imbalance": "classes of unequal frequency or difficulty",
    "likelihood": "negative log-likelihoods of noise models beyond the plain Gaussian and categorical ones",
    "divergence": "distances between distributions",
    "metric": "embeddings that are compared with each other",
    "segmentation": "overlap of a predicted region and a true one",
    "sequence": "alignments of unequal lengths",
    "structured": "labels that depend on each other",
    "penalty": "what parameters cost by themselves",
    "preference": "preferences between answers, and policy gradients",
    "sampling": "one positive among sampled negatives",
}

PROPERTIES: Mapping[str, str] = {
    "convex": "convex in each prediction",
    "strongly convex": "the curvature has a lower bound above 0",
    "proper": "the expected value is least at the true distribution, mean or quantile",
    "bounded": "no value exceeds a constant",
    "symmetric": "prediction and target may change places, or the residual its sign",
    "lipschitz": "no gradient exceeds a constant",
    "smooth": "the gradient is Lipschitz continuous",
    "robust": "a gross outlier has a bounded influence",
    "calibrated": "its minimiser classifies as the Bayes rule does",
    "constant curvature": "the diagonal of the Hessian is one number for all examples, given the parameters",
    "piecewise linear": "the diagonal of the Hessian is 0 wherever it exists",
    "partly linear": "the diagonal of the Hessian is 0 on part of the domain",
    "evaluation": "a measure without a useful gradient",
}

ELICITS: Mapping[str, str] = {
    "": "no statistic that has a closed form",
    "mean": "the mean of the target",
    "median": "the median of the target",
    "quantile": "the quantile of the target that the parameter `quantile` names",
}


def unknown(kind: str, words: Iterable[str], known: Iterable[str]) -> str:
    """Return the sentence for the first word that is not known, with the nearest ones; nothing if all are.

    >>> unknown("property", ["convex", "boundde"], PROPERTIES)
    "unknown property 'boundde': did you mean bounded?"
    """
    known = tuple(known)
    for word in words:
        if word not in known:
            every = ", ".join(filter(None, known)) or "none"
            return f"unknown {kind} {word!r}{suggest(word, known) or f': there are {every}'}"
    return ""
