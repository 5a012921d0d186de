"""Related losses: which loss an error sentence recommends where another does not fit, derived from the records."""

from __future__ import annotations

from lossary.catalogue.record import Loss
from lossary.catalogue.registry import get, names


def for_yes_no(loss: Loss) -> str:
    """Return the name of a loss for a target of two classes, of the same kind of input where there is one.

    >>> for_yes_no(get("softmax_cross_entropy")), for_yes_no(get("multi_margin"))
    ('binary_cross_entropy_with_logits', 'hinge')
    """
    alike = names(tasks="binary", input=loss.input)
    return (alike or names(tasks="binary", input="logit"))[0]


def for_scores(loss: Loss) -> str:
    """Return the name of a loss that takes scores for the same targets.

    >>> for_scores(get("hinge_embedding"))
    'hinge'
    """
    return names(tasks="binary", input="score", target=loss.target)[0]


def for_amounts() -> list[str]:
    """Return the names of losses for amounts, where others take counts.

    >>> for_amounts()
    ['gamma_nll', 'tweedie_deviance', 'generalized_kl']
    """
    return [name for name in names(tasks="positive") if get(name).domain(get(name).arguments[1]).kind == "interval"]


def for_distributions(loss: Loss) -> str | None:
    """Return the name of a loss of the same kind of input whose targets may be distributions; None if there is none.

    >>> for_distributions(get("softmax_cross_entropy")), for_distributions(get("arcface"))
    ('softmax_cross_entropy', None)
    """
    for other in map(get, names(input=loss.input)):
        if any(len(domains) == 2 and domains[1].kind == "simplex" for domains in other.argument_domains):
            return other.name
    return None


def bounded_form(loss: Loss) -> str | None:
    """Return the name of the loss of which this one is the unbounded form; None if there is none.

    >>> bounded_form(get("poisson_nll")), get("poisson_nll_rate").unbounded_form
    ('poisson_nll_rate', 'poisson_nll')
    """
    return next(iter(names(unbounded_form=loss.name)), None)


def one_of(words: list[str]) -> str:
    """Return words as alternatives.

    >>> one_of(["a"]), one_of(["a", "b", "c"])
    ('a', 'a, b or c')
    """
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
