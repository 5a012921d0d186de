"""Link functions of a loss: from the mean of its target to its input, and from an unbounded output to its input.

As in a generalised linear model, a *link* takes a mean (a probability, a rate) to an unbounded predictor (a logit, a
log-rate), and its inverse takes it back. A loss has two of them, both derived from facts of its record:

- `mean_link` relates the loss's input to the mean of its target: the logit for a loss of logits, the identity for a
  loss of probabilities. Its inverse turns a prediction into the units of the target.
- `activation` relates the loss's input to an unbounded output of a model: the identity for a loss of logits, the logit
  for a loss of probabilities. Its inverse is the last layer of a network (sigmoid, softmax, exponential).

References: McCullagh and Nelder 1989, Generalized Linear Models; Gneiting 2011, Making and evaluating point forecasts,
doi:10.1198/jasa.2011.r10138, for the statistics that losses elicit; Carpenter et al. 2017, Stan, doi:
10.18637/jss.v076.i01, for the constraints of domains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from lossary import numerics
from lossary.catalogue.domains import CONVENTIONS, Domain
from lossary.catalogue.signatures import Core


@dataclass(frozen=True, repr=False)
class Link:
    """A link function and its inverse, as functions of a namespace and an array.

    `link(xp, mean)` is the predictor, `inverse(xp, predictor)` the mean, and `pullback(xp, predictor, grad)` the
    gradient in the predictor of what has the gradient `grad` in the mean. Rows lie along the last axis.
    """

    name: str
    inverse_name: str
    link: Callable[[Any, Any], Any]
    inverse: Callable[[Any, Any], Any]
    pullback: Callable[[Any, Any, Any], Any]

    def __str__(self) -> str:
        same = self.name == self.inverse_name
        return self.name if same else f"{self.name}, inverse {self.inverse_name}"

    def __repr__(self) -> str:
        return f"<link {self}>"


def _softmax_pullback(xp: Any, logits: Any, grad: Any) -> Any:
    probabilities = numerics.log_softmax(xp, logits)[1]
    return probabilities * (grad - xp.sum(probabilities * grad))


IDENTITY = Link("identity", "identity", lambda xp, x: x, lambda xp, x: x, lambda xp, x, grad: grad)
LOG = Link(
    "log", "exp", lambda xp, x: xp.log(x), lambda xp, x: xp.exp(x), lambda xp, x, grad: numerics.scaled_exp(xp, grad, x)
)
LOGIT = Link(
    "logit",
    "sigmoid",
    lambda xp, x: xp.log(x) - xp.log1p(-x),
    numerics.sigmoid,
    lambda xp, x, grad: numerics.sigmoid_slope(xp, x) * grad,
)
# The logits of a row of probabilities are known but for a constant: the link gives those whose exponentials sum to 1.
SOFTMAX = Link(
    "multinomial logit", "softmax", LOG.link, lambda xp, x: numerics.log_softmax(xp, x)[1], _softmax_pullback
)
LOG_SOFTMAX = Link(
    "identity",
    "log_softmax",
    IDENTITY.link,
    lambda xp, x: numerics.log_softmax(xp, x)[0],
    lambda xp, x, grad: grad - numerics.log_softmax(xp, x)[1] * xp.sum(grad),
)


def mean_link(convention: str, core: Core, target: Domain | None, same: bool) -> Link | None:
    """Return the link between an input of some convention and the mean of a target; None where there is no mean.

    `core` are the dimensions of the input, and `same` says whether a convention that is a domain is the target's.

    >>> from lossary.catalogue.domains import parse_domain
    >>> mean_link("logit", (), parse_domain("[0, 1]"), False)
    <link logit, inverse sigmoid>
    >>> mean_link("log-rate", (), parse_domain("[0, inf)"), False)
    <link log, inverse exp>
    """
    if target is None:
        return None
    if convention == "logit":
        return SOFTMAX if core == ("c",) and target.kind in ("index", "simplex") else LOGIT
    if convention in ("log-rate", "log-probability"):
        return LOG
    if convention in ("real", "probability", "rate", "positive") or (convention not in CONVENTIONS and same):
        return IDENTITY
    return None


@cache
def activation(allowed: Domain) -> Link:
    """Return the link whose inverse takes any real numbers into a domain, as the last layer of a model does.

    >>> from lossary.catalogue.domains import parse_domain
    >>> activation(parse_domain("[0, 1]")).inverse_name, activation(parse_domain("log-simplex")).inverse_name
    ('sigmoid', 'log_softmax')
    >>> activation(parse_domain("(-1, inf)"))
    <link log(x + 1), inverse exp(x) - 1>
    """
    if allowed.kind == "simplex":
        return SOFTMAX
    if allowed.kind == "log-simplex":
        return LOG_SOFTMAX
    if allowed.kind != "interval" or not allowed.bounded:
        return IDENTITY
    low, high = allowed.low, allowed.high
    if math.isfinite(low) and math.isfinite(high):
        return LOGIT if (low, high) == (0, 1) else _moved(LOGIT, low, high - low)
    if math.isfinite(low):
        return LOG if low == 0 else _moved(LOG, low, 1.0)
    return _moved(LOG, high, -1.0)


def _moved(base: Link, origin: float, scale: float) -> Link:
    """Return a link of means that are shifted and scaled: ``mean = origin + scale * base.inverse(predictor)``."""
    shifted = f"x {'-' if origin > 0 else '+'} {abs(origin):g}"
    return Link(
        f"{base.name}({shifted})" if scale == 1 else f"{base.name}(({shifted}) / {scale:g})",
        f"{'' if scale == 1 else f'{scale:g} '}{base.inverse_name}(x) {'-' if origin < 0 else '+'} {abs(origin):g}",
        lambda xp, x: base.link(xp, (x - origin) / scale),
        lambda xp, x: origin + scale * base.inverse(xp, x),
        lambda xp, x, grad: scale * base.pullback(xp, x, grad),
    )


def undecided(convention: str, classes: int = 2) -> float | None:
    """Return the number that predicts every class alike, under an input convention; None for one without classes.

    >>> undecided("logit"), undecided("probability", 4), undecided("real")
    (0.0, 0.25, None)
    """
    if convention in ("logit", "score"):
        return 0.0
    return {"probability": 1 / classes, "log-probability": -math.log(classes)}.get(convention)
