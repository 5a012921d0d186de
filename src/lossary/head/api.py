"""The public functions of the linear head: `linear`, `linear_value_and_grad` and `token_log_probs`.

With a vocabulary of 128 000 the logits of a batch are far larger than everything they are made of. They are made for a
few rows at a time: logits of a chunk, the loss's values and gradient written over them, their part of the gradients in
hidden states, weight and bias, and on to the next chunk. The memory is that of one chunk, and the three matrix products
are the same as ever.

>>> import numpy as np, lossary
>>> hidden, weight = np.eye(3), 2 * np.eye(3)
>>> float(linear(lossary.softmax_cross_entropy, hidden, weight, [0, 1, 2])) == float(
...     lossary.mean(lossary.softmax_cross_entropy(hidden @ weight.T, [0, 1, 2])))
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lossary.backends import registry
from lossary.catalogue import Loss
from lossary.errors import ArgumentError, ShapeError
from lossary.evaluate.reduction import Reduction
from lossary.head import numpy as arrays
from lossary.head.prepare import prepare
from lossary.head.problem import HEAD, LinearProblem, LogProbsAndEntropy
from lossary.losses.classification import softmax_cross_entropy


class LinearGradients(NamedTuple):
    """Gradients in the arrays of a head, each in its array's shape and type; None for those that are not in `wrt`."""

    hidden: Any
    weight: Any
    bias: Any


class TokenLogProbs(NamedTuple):
    """Log-probability of each label, and entropy of each row's distribution, in nats."""

    log_probs: Any
    entropy: Any


def linear(
    loss: Loss | str,
    hidden: Any,
    weight: Any,
    labels: Any = None,
    bias: Any = None,
    *,
    teacher: Any = None,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "mean",
    denominator: Any = None,
    memory: int | None = None,
    chunk: int | None = None,
    check: bool = True,
    **params: Any,
) -> Any:
    """Return the loss of the logits ``hidden @ weight.T + bias`` without holding them.

    Parameters
    ----------
    loss: a loss on rows, or its name. One on log-probabilities (`kl_divergence`, `nll`) or probabilities is given the
        (log-)softmax of the logits. One on single numbers is taken of each logit and summed along the row.
    hidden: (..., features).
    weight: (classes, features): the weight of a linear layer, an embedding matrix, the other embeddings of a batch.
    labels: the loss's second array: class indices (...), or rows (..., classes). For a loss on single numbers class
        indices stand for rows with a 1 at the label, and 0 elsewhere (-1 for a loss of targets -1 and 1). Further
        arrays of the loss are passed by name.
    teacher: instead of labels ``(hidden, weight)`` or ``(hidden, weight, bias)`` of another head, whose rows stand for
        them and are made chunk by chunk too. Its hidden states may have another width. It has a gradient where its
        tensors require one. A tuple of arrays in the place of the labels is understood so, too.
    sample_weight: numbers >= 0, one per row.
    mask: true where a row is kept. Rows that are masked, or whose label is `ignore_index`, are dropped before the
        logits are made (on a GPU: replaced by zeros): whatever they hold, NaN included, has no effect.
    reduction: ``"mean"``: ``sum(w * v) / sum(w)``. ``"sum"``. ``"none"``: one value per row; the backward pass makes
        the logits again.
    denominator: replaces ``sum(w)`` under ``"mean"``: the number of tokens of all micro-batches, or all workers.
    memory: bytes for the logits of a chunk, and what the loss makes of them. By default 48 MiB, on a GPU 2 GiB, or as
        many as 256 rows take, but no more than a sixteenth of all memory.
    chunk: rows of a chunk, instead of `memory`.
    check: check the values of the labels, not only shapes.
    params: the loss's parameters. One that has the name of an argument here (`siglip` has a `bias`) is fixed by
        `Loss.bind`.

    Half precision is computed in float32 from the logits on, and so is the sum that makes the gradient of the weight.
    On tensors the result is differentiable: with ``"mean"`` and ``"sum"`` the gradients are computed in the same pass.

    Raises `ShapeError`, `DomainError`, `ParameterError` or `ArgumentError`, each naming the argument.

    >>> import numpy as np, lossary
    >>> rng = np.random.default_rng(0)
    >>> hidden, weight, labels = rng.normal(size=(6, 4)), rng.normal(size=(50, 4)), np.array([3, 7, -100, 1, 0, 49])
    >>> whole = lossary.softmax_cross_entropy.value(hidden @ weight.T, labels, ignore_index=-100, reduction="mean")
    >>> parts = linear(lossary.softmax_cross_entropy, hidden, weight, labels, ignore_index=-100, chunk=2)
    >>> bool(np.isclose(whole, parts, rtol=1e-14))
    True
    """
    problem = prepare(
        loss,
        hidden,
        weight,
        labels,
        bias,
        teacher=teacher,
        sample_weight=sample_weight,
        mask=mask,
        reduction=reduction,
        denominator=denominator,
        memory=memory,
        chunk=chunk,
        check=check,
        params=params,
    )
    return _engine(problem).value(problem)


def linear_value_and_grad(
    loss: Loss | str,
    hidden: Any,
    weight: Any,
    labels: Any = None,
    bias: Any = None,
    *,
    teacher: Any = None,
    wrt: Sequence[str] = ("hidden", "weight", "bias"),
    sample_weight: Any = None,
    mask: Any = None,
    reduction: Reduction = "mean",
    denominator: Any = None,
    memory: int | None = None,
    chunk: int | None = None,
    check: bool = True,
    **params: Any,
) -> tuple[Any, LinearGradients]:
    """Return the value of `linear` and its gradients in hidden states, weight and bias, in one pass over the chunks.

    `wrt` names the arrays to differentiate: the products of the others are not computed, and their gradient is None.
    Under ``reduction="none"`` the gradients are those of the sum of the values. Everything else is as in `linear`.

    >>> import numpy as np, lossary
    >>> value, grads = linear_value_and_grad(lossary.softmax_cross_entropy, np.eye(2), np.zeros((2, 2)), [0, 1])
    >>> float(value).hex() == float(np.log(2)).hex(), grads.weight
    (True, array([[-0.25,  0.25],
           [ 0.25, -0.25]]))
    >>> grads.bias is None                            # the head has no bias
    True
    """
    unknown = [name for name in wrt if name not in HEAD]
    if unknown or isinstance(wrt, str):
        raise ArgumentError(f"linear: wrt: got {wrt!r}, expected names out of {', '.join(HEAD)}")
    problem = prepare(
        loss,
        hidden,
        weight,
        labels,
        bias,
        teacher=teacher,
        sample_weight=sample_weight,
        mask=mask,
        reduction=reduction,
        denominator=denominator,
        memory=memory,
        chunk=chunk,
        check=check,
        params=params,
    )
    present = [name for name in HEAD if name in wrt and name in problem.tensors]
    value, grads = _engine(problem).value_and_grad(problem, present)
    return value, LinearGradients(*(grads.get(name) for name in HEAD))


def token_log_probs(
    hidden: Any,
    weight: Any,
    labels: Any,
    bias: Any = None,
    *,
    entropy: bool = False,
    temperature: float = 1.0,
    soft_cap: float | None = None,
    ignore_index: int | None = None,
    mask: Any = None,
    memory: int | None = None,
    chunk: int | None = None,
    check: bool = True,
) -> Any:
    """Return the log-probability of each label under the head's softmax; with `entropy` also that of each row.

    This is what preference and reinforcement-learning losses are made of. Both results are differentiable on tensors,
    and have one number per label, in float32 for half precision. Rows that are masked, or whose label is
    `ignore_index`, have exactly 0 of both, and no gradient. Arrays, `memory` and `chunk` are those of `linear`;
    `temperature` divides the logits, `soft_cap` bounds them first.

    >>> import numpy as np, lossary
    >>> found = token_log_probs(np.zeros((2, 3)), np.ones((4, 3)), [0, 3], entropy=True)
    >>> found.log_probs == -np.log(4), found.entropy == np.log(4)
    (array([ True,  True]), array([ True,  True]))
    """
    shared = {"temperature": temperature, "soft_cap": soft_cap, "ignore_index": ignore_index}
    problem = prepare(
        softmax_cross_entropy,
        hidden,
        weight,
        labels,
        bias,
        mask=mask,
        reduction="none",
        memory=memory,
        chunk=chunk,
        check=check,
        params=shared,
    )
    if "row:target" not in problem.arrays or problem.arrays["row:target"].ndim > 1:
        raise ShapeError(f"token_log_probs: labels: expected class indices of shape {problem.batch}")
    if not entropy:
        return -_engine(problem).value(problem)
    rows = LogProbsAndEntropy(problem.rows.loss)
    return TokenLogProbs(*_engine(problem).values(replace(problem, rows=rows)))


def _engine(problem: LinearProblem) -> Any:
    """Return the module that computes a problem on the arrays of its framework."""
    if not registry.differentiates(problem.hidden):
        return arrays
    from lossary.head import torch as tensors

    return tensors
