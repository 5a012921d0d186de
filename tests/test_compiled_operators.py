"""Under `torch.compile`, where kernels are operators: every drop-in, every kind of record, on sizes that take them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import dress

torch = pytest.importorskip("torch")
nn = lossary.nn

ROWS, CLASSES = 220, 80  # 17,600 numbers: beyond where kernels begin
X, Y, Z = (torch.randn(ROWS, CLASSES, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
SIGNS = torch.where(Y > 0, 1.0, -1.0)
LABELS = torch.arange(ROWS) % CLASSES

DROP_INS: dict[str, tuple[Any, ...]] = {
    "BCELoss": (nn.BCELoss(), X.sigmoid(), Y.sigmoid()),
    "BCEWithLogitsLoss": (nn.BCEWithLogitsLoss(), X, Y.sigmoid()),
    "CosineEmbeddingLoss": (nn.CosineEmbeddingLoss(margin=0.1), X, Y, SIGNS[:, 0]),
    "CrossEntropyLoss": (nn.CrossEntropyLoss(label_smoothing=0.1), X, LABELS),
    "GaussianNLLLoss": (nn.GaussianNLLLoss(full=True), X, Y, Z.exp()),
    "HingeEmbeddingLoss": (nn.HingeEmbeddingLoss(), X, SIGNS),
    "HuberLoss": (nn.HuberLoss(delta=0.5), X, Y),
    "KLDivLoss": (nn.KLDivLoss(reduction="batchmean"), X.log_softmax(-1), Y.softmax(-1)),
    "KLDivLoss-log": (nn.KLDivLoss(reduction="sum", log_target=True), X.log_softmax(-1), Y.log_softmax(-1)),
    "L1Loss": (nn.L1Loss(), X, Y),
    "MSELoss": (nn.MSELoss(reduction="none"), X, Y),
    "MarginRankingLoss": (nn.MarginRankingLoss(margin=0.2), X, Y, SIGNS),
    "MultiLabelMarginLoss": (nn.MultiLabelMarginLoss(), X, torch.where(Y > 1, LABELS[:, None], -1)),
    "MultiLabelSoftMarginLoss": (nn.MultiLabelSoftMarginLoss(), X, (Y > 0).float()),
    "MultiMarginLoss": (nn.MultiMarginLoss(p=2), X, LABELS),
    "NLLLoss": (nn.NLLLoss(), X.log_softmax(-1), LABELS),
    "PoissonNLLLoss": (nn.PoissonNLLLoss(full=True), X, Y.exp().round()),
    "PoissonNLLLoss-rate": (nn.PoissonNLLLoss(log_input=False), X.exp(), Y.exp().round()),
    "SmoothL1Loss": (nn.SmoothL1Loss(reduction="sum"), X, Y),
    "SoftMarginLoss": (nn.SoftMarginLoss(), X, SIGNS),
    "TripletMarginLoss": (nn.TripletMarginLoss(), X, Y, Z),
}


def outcome(function: Callable[..., Any], x: Any, *rest: Any) -> tuple[Any, Any]:
    moving = x.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = function(moving, *rest)
        value.backward(torch.linspace(-1, 2, value.numel()).reshape(value.shape) if value.ndim else None)
    return value.detach(), moving.grad


@pytest.mark.parametrize("name", DROP_INS)
def test_every_drop_in_is_compiled_at_sizes_that_take_kernels(name: str) -> None:
    module, *arguments = DROP_INS[name]
    reference = getattr(torch.nn, type(module).__name__)
    torch._dynamo.reset()
    found = outcome(torch.compile(module, fullgraph=True, backend="aot_eager"), *arguments)
    for ours, theirs in zip(found, outcome(module, *arguments), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert isinstance(module, reference)


def squares(xp: Any, pred: Any, target: Any, *, delta: float = 1.0) -> Iterator[Any]:
    """Nothing like huber, whatever it is called."""
    residual = pred - target
    yield delta * residual * residual
    yield 2 * delta * residual


def branching(xp: Any, pred: Any, target: Any, *, delta: float = 1.0) -> Iterator[Any]:
    """The same, by a definition that no kernel can be made of."""
    return squares(xp, pred, target, delta=delta) if bool((pred == pred).all()) else squares(xp, pred, target)


def label_score(xp: Any, logits: Any, target: Any) -> Iterator[Any]:
    """Nothing like cross-entropy."""
    wanted = xp.one_hot(target, logits)
    yield -xp.sum(wanted * logits)
    yield -wanted


def record(like: Any, **facts: Any) -> Any:
    """A record outside the catalogue: of the name of one inside, unless it is given another."""
    return dataclasses.replace(like, aliases=(), derivatives=1, **facts)


OWN = record(lossary.huber, define=squares)
RECORDS = {
    "of the name of a loss of the catalogue": dress(OWN),
    "with a parameter bound": dress(OWN).bind(delta=1.0),
    "bound twice": dress(OWN).bind(delta=3.0).bind(delta=1.0),
    "put together by hand": OWN,
    "put together by hand, and bound": dataclasses.replace(OWN, bound={"delta": 1.0}),
    "of a new name": dress(record(lossary.huber, define=squares, name="squares")),
    "without kernel": dress(record(lossary.huber, define=branching, name="branching")),
    "without kernel, and bound": dress(record(lossary.huber, define=branching)).bind(delta=1.0),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("which", RECORDS)
def test_a_record_outside_the_catalogue_is_computed_by_its_own_definition(
    which: str, reduction: str, weighted: bool
) -> None:
    loss, weight = RECORDS[which], (Y > 0).float() * 2 if weighted else torch.ones_like(Y)

    def call(x: Any, y: Any) -> Any:
        return loss.value(x, y, weight=weight if weighted else None, reduction=reduction)

    moving = X.clone().requires_grad_()
    each = weight * (moving - Y) ** 2
    expected = each if reduction == "none" else each.sum() / weight.sum()
    expected.backward(torch.linspace(-1, 2, each.numel()).reshape(each.shape) if reduction == "none" else None)
    torch._dynamo.reset()
    for function in (
        call,
        torch.compile(call, backend="aot_eager", fullgraph=bool(loss.key) and "without" not in which),
    ):
        value, grad = outcome(function, X, Y)
        torch.testing.assert_close(value, expected.detach())
        torch.testing.assert_close(grad, moving.grad)
    numpy = loss.value(X.numpy(), Y.numpy(), weight=weight.numpy(), reduction=reduction)
    np.testing.assert_allclose(numpy, expected.detach(), 1e-5)


@pytest.mark.parametrize("bound", [False, True])
def test_a_record_has_no_kernel_of_another_loss_of_its_name(bound: bool) -> None:
    own = dress(record(lossary.softmax_cross_entropy, define=label_score, parameters={"ignore_index": "integer"}))
    loss = own.bind(ignore_index=0) if bound else own
    expected = torch.where(LABELS == 0, 0.0, -X[range(ROWS), LABELS]) if bound else -X[range(ROWS), LABELS]
    torch._dynamo.reset()
    for function in (loss, torch.compile(lambda x, y: loss(x, y), backend="aot_eager", fullgraph=True)):
        torch.testing.assert_close(function(X, LABELS), expected)
    np.testing.assert_allclose(loss(X.numpy(), LABELS.numpy()), expected)
    hidden, weight = torch.eye(CLASSES)[LABELS] * X, torch.eye(CLASSES)
    for function in (lossary.linear, torch.compile(lossary.linear, backend="aot_eager")):
        total = function(loss, hidden, weight, LABELS)
        torch.testing.assert_close(total, expected.sum() / (LABELS != 0).sum() if bound else expected.mean())


@pytest.mark.parametrize("name", ["ctc", "rnnt", "linear_chain_crf"])
def test_sequences_of_a_bound_loss_are_compiled(name: str) -> None:
    loss = lossary.get(name)
    bound = loss.bind(**({"blank": 2} if name != "linear_chain_crf" else {"start": [0.0, 1.0, 0.0, -1.0, 0.0]}))
    batch = 30
    scores = (
        X.reshape(-1)[: batch * 400].reshape(batch, 20, 4, 5) if name == "rnnt" else X[:60, :50].reshape(batch, 20, 5)
    )
    labels = (torch.arange(batch * 3) % 2).reshape(batch, 3)
    tags = (torch.arange(batch * 20) % 5).reshape(batch, 20)
    rest = [Y[:5, :5], tags] if name == "linear_chain_crf" else [labels]
    torch._dynamo.reset()
    compiled = torch.compile(lambda *a: bound.value(*a, reduction="mean"), backend="aot_eager")
    for ours, theirs in zip(
        outcome(compiled, scores, *rest),
        outcome(lambda *a: bound.value(*a, reduction="mean"), scores, *rest),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
