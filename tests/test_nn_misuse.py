"""The drop-ins warn in torch's words, compute what torch computes, and leave compiled functions alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lossary  # noqa: E402
from lossary import nn  # noqa: E402
from lossary.nn import functional as F  # noqa: E402, N812

GENERATOR = torch.Generator().manual_seed(0)


def _normal(*shape: int) -> Any:
    return torch.randn(*shape, generator=GENERATOR)


Z, Y = _normal(64, 10), torch.randint(0, 10, (64,), generator=GENERATOR)
P, Q = Z.softmax(1), _normal(64, 10).softmax(1)
IMAGE = _normal(4, 5, 8, 8)
BITS, SIGNS = (_normal(64) > 0).float(), _normal(64).sign()
RATE = torch.rand(64, generator=GENERATOR) * 5 + 2
SAME = torch.ones(8, 4)

WARNED: dict[str, tuple[Callable[[Any], Any], list[str]]] = {
    "softmax": (
        lambda f: f.cross_entropy(P, Y),
        ["cross_entropy: input: got shape (64, 10)", "1.461", "Pass the logits"],
    ),
    "softmax of images": (
        lambda f: f.cross_entropy(IMAGE.softmax(1), torch.zeros(4, 8, 8, dtype=torch.long)),
        ["(4, 5, 8, 8)", "row (0, 0, 0)", "0.905"],
    ),
    "unnormalised soft labels": (lambda f: f.cross_entropy(Z, 10 * P), ["cross_entropy: target: row 0", "sum to 1"]),
    "one class": (lambda f: f.cross_entropy(Z[:, :1], torch.zeros_like(Y)), ["single class"]),
    "a batch as one row": (lambda f: f.cross_entropy(Z[:, 0], BITS), ["One dimension is one example"]),
    "probabilities for log-probabilities": (lambda f: f.nll_loss(P, Y), ["nll_loss: input", "These are probabilities"]),
    "logits for log-probabilities": (lambda f: f.nll_loss(Z, Y), ["nll_loss: input", "logsumexp"]),
    "log-softmax along the batch": (lambda f: f.nll_loss(Z.log_softmax(0), Y), ["expected log-probabilities"]),
    "sigmoid": (
        lambda f: f.binary_cross_entropy_with_logits((3 * Z.flatten()).sigmoid(), (Z.flatten() > 0).float()),
        ["binary_cross_entropy_with_logits: input", "0.3133"],
    ),
    "targets -1 and 1": (lambda f: f.binary_cross_entropy_with_logits(Z[:, 0], SIGNS), ["(target + 1) / 2"]),
    "targets 0 and 255": (lambda f: f.binary_cross_entropy_with_logits(Z[:, 0], 255 * BITS), ["divide by 255"]),
    "swapped logits": (
        lambda f: f.binary_cross_entropy_with_logits(BITS, Z[:, 0]),
        ["input and target look swapped: the order is input, target"],
    ),
    "swapped probabilities": (lambda f: f.binary_cross_entropy(BITS, P[:, 0]), ["look swapped"]),
    "divergence of probabilities": (lambda f: f.kl_div(P, Q, reduction="sum"), ["kl_div: input", "probabilities"]),
    "divergence from log-probabilities": (lambda f: f.kl_div(P.log(), Q.log(), reduction="sum"), ["log_target=True"]),
    "rates": (lambda f: f.poisson_nll_loss(RATE, RATE.round()), ["poisson_nll_loss: input", "log_input=False"]),
    "counts broadcast": (lambda f: f.poisson_nll_loss(Z[:8, :1], torch.ones(8)), ["(8, 8)", "input.squeeze(-1)"]),
    "means broadcast": (
        lambda f: f.gaussian_nll_loss(Z[:8, :1], torch.ones(8), torch.ones(8, 1)),
        ["gaussian_nll_loss: input has shape (8, 1) but target has shape (8,)"],
    ),
    "ranking of 0 and 1": (lambda f: f.margin_ranking_loss(Z[:, 0], Z[:, 1], BITS), ["{-1, 1}", "2 * target - 1"]),
    "margin of 0 and 1": (lambda f: f.soft_margin_loss(Z[:, 0], BITS), ["soft_margin_loss: target: got 0"]),
    "cosine of 0 and 1": (lambda f: f.cosine_embedding_loss(Z, Q, BITS), ["cosine_embedding_loss: target: got 0"]),
    "negative distances": (lambda f: f.hinge_embedding_loss(Z[:, 0], SIGNS), ["look like scores"]),
    "many-hot": (lambda f: f.multilabel_margin_loss(Z, (Z > 0).long()), ["takes a list of class indices", "-1"]),
    "collapse": (lambda f: f.triplet_margin_loss(SAME, SAME, SAME), ["triplet_margin_loss: anchor", "collapsed"]),
}

FINE: dict[str, Callable[[Any], Any]] = {
    "logits": lambda f: f.cross_entropy(Z, Y),
    "log-probabilities": lambda f: f.cross_entropy(Z.log_softmax(1), Y),
    "images": lambda f: f.cross_entropy(IMAGE, torch.zeros(4, 8, 8, dtype=torch.long)),
    "nll": lambda f: f.nll_loss(Z.log_softmax(1), Y),
    "nll of images": lambda f: f.nll_loss(IMAGE.log_softmax(1), torch.zeros(4, 8, 8, dtype=torch.long)),
    "all ignored": lambda f: f.cross_entropy(P, torch.full_like(Y, -100)),
    "divergence": lambda f: f.kl_div(P.log(), Q, reduction="batchmean"),
    "divergence of logarithms": lambda f: f.kl_div(P.log(), Q.log(), log_target=True, reduction="batchmean"),
    "divergence of images": lambda f: f.kl_div(IMAGE.log_softmax(1), IMAGE.softmax(1), reduction="sum"),
    "padding left out by zeros": lambda f: f.kl_div(P.log(), Q * (torch.arange(64) % 2)[:, None], reduction="sum"),
    "log-rates": lambda f: f.poisson_nll_loss(RATE.log(), RATE.round()),
    "rates said": lambda f: f.poisson_nll_loss(RATE, RATE.round(), log_input=False),
    "lists": lambda f: f.multilabel_margin_loss(Z[:1, :4], torch.tensor([[1, 0, -1, -1]])),
    "triplets": lambda f: f.triplet_margin_loss(Z, P, Q),
    "a variance of 0": lambda f: f.gaussian_nll_loss(RATE, RATE, torch.zeros(64)),
}


def _warned(call: Callable[[Any], Any]) -> tuple[list[str], Any]:
    """What a call warns of, and its value; a change of the filters makes every call be inspected."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = call(F)
    return [str(w.message) for w in caught if issubclass(w.category, lossary.LossMisuseWarning)], value


@pytest.mark.parametrize("case", WARNED, ids=lambda case: case.replace(" ", "-"))
def test_a_misuse_is_warned_of_and_computed_as_torch_does(case: str) -> None:
    call, fragments = WARNED[case]
    sentences, value = _warned(call)
    assert sentences
    for fragment in fragments:
        assert any(fragment in sentence for sentence in sentences), sentences
    expected = call(torch.nn.functional)
    torch.testing.assert_close(value, expected, equal_nan=True)


@pytest.mark.parametrize("case", FINE, ids=lambda case: case.replace(" ", "-"))
def test_what_is_meant_is_not_warned_of(case: str) -> None:
    assert _warned(FINE[case])[0] == []


def test_a_module_is_warned_of_at_the_line_that_calls_it() -> None:
    criterion = nn.CrossEntropyLoss()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            criterion(P, Y)
    assert [w.filename for w in caught] == [__file__]
    focal = nn.SoftmaxFocalLoss()
    with pytest.warns(lossary.LossMisuseWarning, match="softmax_focal: logits"):
        focal(P, Y)


def test_the_setting_reaches_the_drop_ins() -> None:
    with lossary.checks("off"):
        assert _warned(lambda f: f.cross_entropy(P, Y))[0] == []
        assert _warned(WARNED["counts broadcast"][0])[0] == []
    with lossary.checks("shapes"):
        assert _warned(lambda f: f.cross_entropy(P, Y))[0] == []
        assert len(_warned(WARNED["counts broadcast"][0])[0]) == 1


def test_compiled_functions_are_left_whole_unless_everything_is_asked_for() -> None:
    def mean(scores: Any, labels: Any) -> Any:
        return F.cross_entropy(scores, labels) + lossary.softmax_cross_entropy(scores, labels).mean()

    with warnings.catch_warnings():
        warnings.simplefilter("error", lossary.LossMisuseWarning)
        torch._dynamo.reset()
        torch.compile(mean, fullgraph=True, backend="eager")(P, Y)
        torch.func.vmap(lambda s, y: lossary.softmax_cross_entropy(s, y))(P, Y)
        torch.func.grad(lambda s: F.cross_entropy(s, Y))(P)
    with lossary.checks("full"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch._dynamo.reset()
        torch.compile(mean, backend="eager")(P, Y)
    assert any("1.461" in str(w.message) for w in caught)
    torch._dynamo.reset()  # and whole again, now that nobody asks for everything any more
    torch.compile(lambda s, y: lossary.softmax_cross_entropy(s, y), fullgraph=True, backend="eager")(Z, Y)


def test_looking_never_breaks_a_call() -> None:
    odd = [
        lambda: F.cross_entropy(torch.empty(0, 5), torch.empty(0, dtype=torch.long), reduction="sum"),
        lambda: F.kl_div(torch.tensor(0.5), torch.tensor(0.5), reduction="sum"),
        lambda: F.hinge_embedding_loss(
            torch.ones(3, dtype=torch.long), torch.ones(3, dtype=torch.long), reduction="sum"
        ),
        lambda: F.cosine_embedding_loss(Z, Q, torch.tensor(1).expand(64)),
        lambda: F.soft_margin_loss(Z[:, 0].to_dense(), SIGNS.bool().float()),
    ]
    for call in odd:
        assert np.isfinite(float(call()))
