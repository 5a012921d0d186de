"""Values and gradients against PyTorch's own losses under autograd: an oracle we did not write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.testing import random_arrays

torch = pytest.importorskip("torch")
F = torch.nn.functional

CONSTANT = {"class_weight": np.array([0.5, 2.0, 1.0, 0.3])}


def multilabel_indices(target: Any) -> Any:
    """Multi-hot rows as torch's multilabel_margin_loss wants them: indices first, then -1."""
    out = torch.full(target.shape, -1, dtype=torch.long)
    for row, hot in zip(out, target, strict=True):
        found = hot.nonzero().ravel()
        row[: len(found)] = found
    return out


# name -> (our parameters, torch's per-example value of the same arrays)
PEERS: dict[str, list[tuple[dict[str, Any], Callable[..., Any]]]] = {
    "squared_error": [({}, lambda p, y: F.mse_loss(p, y, reduction="none"))],
    "absolute_error": [({}, lambda p, y: F.l1_loss(p, y, reduction="none"))],
    "huber": [({"delta": 0.7}, lambda p, y: F.huber_loss(p, y, delta=0.7, reduction="none"))],
    "smooth_l1": [
        ({"beta": 0.7}, lambda p, y: F.smooth_l1_loss(p, y, beta=0.7, reduction="none")),
        ({"beta": 0.0}, lambda p, y: F.smooth_l1_loss(p, y, beta=0.0, reduction="none")),
    ],
    "binary_cross_entropy": [({}, lambda p, y: F.binary_cross_entropy(p, y, reduction="none"))],
    "binary_cross_entropy_with_logits": [
        ({}, lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none")),
        (
            {"pos_weight": 3.0},
            lambda z, y: F.binary_cross_entropy_with_logits(
                z, y, pos_weight=torch.tensor(3.0, dtype=z.dtype), reduction="none"
            ),
        ),
    ],
    "softmax_cross_entropy": [
        ({}, lambda z, y: F.cross_entropy(z, y, reduction="none")),
        (
            CONSTANT | {"label_smoothing": 0.1},
            lambda z, y: F.cross_entropy(
                z,
                y,
                weight=torch.tensor(CONSTANT["class_weight"], dtype=z.dtype),
                label_smoothing=0.1,
                reduction="none",
            ),
        ),
    ],
    "nll": [
        ({}, lambda z, y: F.nll_loss(z, y, reduction="none")),
        (CONSTANT, lambda z, y: F.nll_loss(z, y, torch.tensor(CONSTANT["class_weight"]).to(z), reduction="none")),
    ],
    "logistic_margin": [({}, lambda p, y: F.soft_margin_loss(p, y, reduction="none"))],
    "hinge_embedding": [({"margin": 1.5}, lambda p, y: F.hinge_embedding_loss(p, y, margin=1.5, reduction="none"))],
    "multi_margin": [
        ({}, lambda z, y: F.multi_margin_loss(z, y, reduction="none")),
        (
            CONSTANT | {"p": 2, "margin": 0.5},
            lambda z, y: F.multi_margin_loss(
                z, y, p=2, margin=0.5, weight=torch.tensor(CONSTANT["class_weight"]).to(z), reduction="none"
            ),
        ),
    ],
    "multilabel_margin": [
        ({}, lambda z, y: F.multilabel_margin_loss(z, multilabel_indices(y), reduction="none")),
    ],
    "multilabel_soft_margin": [({}, lambda z, y: F.multilabel_soft_margin_loss(z, y, reduction="none"))],
    "gaussian_nll": [
        ({}, lambda p, y, v: F.gaussian_nll_loss(p, y, v, reduction="none")),
        ({"full": True}, lambda p, y, v: F.gaussian_nll_loss(p, y, v, full=True, reduction="none")),
    ],
    "poisson_nll": [({}, lambda s, y: F.poisson_nll_loss(s, y, log_input=True, reduction="none"))],
    "kl_divergence": [({}, lambda z, q: F.kl_div(z, q, reduction="none").sum(-1))],
    "margin_ranking": [
        ({"margin": 0.5}, lambda a, b, y: F.margin_ranking_loss(a, b, y, margin=0.5, reduction="none")),
    ],
    "cosine_embedding": [
        # torch adds 1e-12 to squared lengths; the cosine knows no lengths, so long vectors make that vanish.
        ({"margin": 0.2}, lambda a, b, y: F.cosine_embedding_loss(1e3 * a, 1e3 * b, y, margin=0.2, reduction="none")),
    ],
    "triplet_margin": [
        ({}, lambda a, p, n: F.triplet_margin_loss(a, p, n, eps=0, reduction="none")),
        ({"swap": True}, lambda a, p, n: F.triplet_margin_loss(a, p, n, swap=True, eps=0, reduction="none")),
    ],
    "cosine_distance": [({}, lambda a, b: 1 - F.cosine_similarity(a, b, dim=-1))],
}


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-11), (np.float32, 2e-5)], ids=["float64", "float32"])
def test_value_and_gradient_equal_torchs(name: str, dtype: Any, rtol: float) -> None:
    loss = lossary.get(name)
    for params, peer in PEERS[name]:
        for alternative in range(len(loss.signatures)):
            rng = np.random.default_rng(7 + alternative)
            arrays = random_arrays(loss, rng, 50, alternative=alternative)
            arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
            value, grads = loss.value_and_grad(*arrays, **params)
            tensors = [torch.tensor(a) for a in arrays]
            moving = [tensors[loss.arguments.index(w)].requires_grad_() for w in loss.wrt]
            theirs = peer(*tensors)
            their_grads = torch.autograd.grad(theirs.sum(), moving)
            np.testing.assert_allclose(value, theirs.detach().numpy(), rtol=rtol, atol=rtol)
            for ours, reference in zip(grads if isinstance(grads, tuple) else (grads,), their_grads, strict=True):
                np.testing.assert_allclose(ours, reference.numpy(), rtol=rtol, atol=rtol)


def test_torchs_weighted_mean_is_ours_with_the_labels_weights() -> None:
    rng = np.random.default_rng(0)
    z, y, w = rng.standard_normal((6, 4)), rng.integers(0, 4, 6), CONSTANT["class_weight"]
    theirs = F.cross_entropy(torch.tensor(z), torch.tensor(y), weight=torch.tensor(w))
    ours, _ = lossary.softmax_cross_entropy.value_and_grad(z, y, weight=w[y], reduction="mean")
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-14)


@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0, 100.0])
def test_float32_is_no_worse_than_torchs_at_any_scale_of_the_logits(scale: float) -> None:
    rng = np.random.default_rng(int(scale))
    z = (scale * rng.standard_normal((400, 8))).astype(np.float32)
    y = rng.integers(0, 8, 400)
    exact = lossary.softmax_cross_entropy.value_and_grad(z.astype(np.float64), y)
    tensor = torch.tensor(z, requires_grad=True)
    theirs = F.cross_entropy(tensor, torch.tensor(y), reduction="none")
    theirs.sum().backward()
    ours = lossary.softmax_cross_entropy.value_and_grad(z, y)
    for mine, peer, truth in zip(ours, (theirs.detach().numpy(), tensor.grad.numpy()), exact, strict=True):
        floor = np.finfo(np.float32).tiny
        my_error = np.abs(mine - truth) / np.maximum(np.abs(truth), floor)
        their_error = np.abs(peer - truth) / np.maximum(np.abs(truth), floor)
        usual = np.abs(truth) > 1e-30
        assert my_error[usual].max() <= max(their_error[usual].max(), 1e-6)
