"""Penalties: norms of parameters, to be added to a loss on data.

One value per parameter; the penalty of a model is their *sum*, so say ``reduction="sum"``, and a factor in front of it
says how much it weighs: ``lossary.weighted_sum(data=value, size=(1e-4, penalty))``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lossary.backends.protocol import Namespace
from lossary.catalogue import loss

__all__ = [
    "elastic_net",
    "l1_penalty",
    "l2_penalty",
]

ALONE = "()->()"


@loss(
    family="penalty",
    signature=ALONE,
    input="parameter",
    aliases=("lasso", "l1_regularization", "l1_norm"),
    formula=r"|w|",
    likelihood="Laplace prior of scale 1 on each parameter: -log p(w) = |w| + log 2",
    references=("Tibshirani 1996, doi:10.1111/j.2517-6161.1996.tb02080.x",),
    properties=("convex", "lipschitz", "symmetric", "piecewise linear"),
)
def l1_penalty(xp: Namespace, weights: Any) -> Iterator[Any]:
    """The size of each parameter; every one is pulled to 0 with the same strength, and some arrive exactly there.

    At exactly 0 the gradient is the subgradient 0, so a parameter that has arrived stays.

    >>> import lossary
    >>> lossary.l1_penalty.grad([-3.0, 0.0, 0.1])
    array([-1.,  0.,  1.])
    """
    yield xp.abs(weights)
    yield xp.sign(weights)
    yield xp.zeros_like(weights)


@loss(
    family="penalty",
    signature=ALONE,
    input="parameter",
    aliases=("ridge", "weight_decay", "tikhonov", "l2_regularization"),
    formula=r"\tfrac12 w^2",
    likelihood="Gaussian prior of variance 1 on each parameter: -log p(w) = w^2 / 2 + log(2 pi) / 2",
    references=("Tikhonov 1963", "Hoerl and Kennard 1970, doi:10.1080/00401706.1970.10488634"),
    properties=("convex", "strongly convex", "smooth", "symmetric", "constant curvature"),
)
def l2_penalty(xp: Namespace, weights: Any) -> Iterator[Any]:
    """Half the square of each parameter, whose gradient is the parameter itself: what optimisers call weight decay.

    With the half, a factor of 0.01 here is ``weight_decay=0.01`` in `torch.optim.SGD`, `alpha=0.01` in scikit-learn's
    `SGDRegressor`. Conventions without it, for which the same factor pulls twice as hard: `keras.regularizers.L2` and
    scikit-learn's `Ridge`.

    >>> import lossary
    >>> lossary.l2_penalty.grad([-3.0, 0.1])
    array([-3. ,  0.1])
    """
    yield 0.5 * weights * weights
    yield weights
    yield xp.ones_like(weights)


@loss(
    family="penalty",
    signature=ALONE,
    input="parameter",
    aliases=("elasticnet", "elastic_net_penalty"),
    formula=r"\lambda |w| + \tfrac12 (1 - \lambda) w^2",
    likelihood="A prior between Laplace and Gaussian: -log p(w) = lambda |w| + (1 - lambda) w^2 / 2 + constant",
    references=("Zou and Hastie 2005, doi:10.1111/j.1467-9868.2005.00503.x",),
    parameters={"l1_ratio": "[0, 1]"},
    properties=("convex", "symmetric", "constant curvature"),
)
def elastic_net(xp: Namespace, weights: Any, *, l1_ratio: float = 0.5) -> Iterator[Any]:
    """A mixture of `l1_penalty` and `l2_penalty`: sparse like the one, steady among correlated inputs like the other.

    `l1_ratio` is the share of the former, as in scikit-learn's `ElasticNet`: 1 is the lasso, 0 is weight decay. At
    exactly 0 the gradient is the subgradient 0.

    >>> import lossary
    >>> lossary.elastic_net([-3.0, 0.1], l1_ratio=1.0), lossary.elastic_net([-3.0, 0.1], l1_ratio=0.0)
    (array([3. , 0.1]), array([4.5  , 0.005]))
    """
    l2_ratio = 1 - l1_ratio
    yield l1_ratio * xp.abs(weights) + 0.5 * l2_ratio * weights * weights
    yield l1_ratio * xp.sign(weights) + l2_ratio * weights
    yield l2_ratio * xp.ones_like(weights)
