"""Numbers slightly outside a domain: what rounding can have done is taken, what it cannot is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.errors import DomainError, ParameterError
from lossary.testing import random_arrays

torch = pytest.importorskip("torch")

COARSE = (torch.bfloat16, torch.float16, torch.float32)
SIZES = ((2, 64), (10, 64), (1000, 32), (32000, 4))


def _rows(dtype: Any, classes: int, rows: int, spread: float) -> Any:
    generator = torch.Generator().manual_seed(classes + int(10 * spread))
    return (spread * torch.randn(rows, classes, generator=generator)).to(dtype)


def _widened(x: Any) -> list[Any]:
    return [x, x.float(), x.double(), x.double().numpy()]


@pytest.mark.parametrize("dtype", COARSE, ids=str)
@pytest.mark.parametrize(("classes", "rows"), SIZES)
def test_log_probabilities_made_in_any_precision_are_taken(dtype: Any, classes: int, rows: int) -> None:
    for spread in (0.1, 1.0, 5.0):
        logits = _rows(dtype, classes, rows, spread)
        labels = torch.arange(rows) % classes
        for log_probs in (logits.log_softmax(-1), logits.softmax(-1).log()):
            exact = -log_probs.double()[torch.arange(rows), labels].numpy()
            for given in _widened(log_probs):
                found = np.asarray(lossary.nll(given, labels.numpy() if isinstance(given, np.ndarray) else labels))
                np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-6)
                lossary.kl_divergence(given, np.full((rows, classes), 1 / classes))
            # The probabilities of a teacher are the exponentials of such numbers.
            lossary.kl_divergence(logits.float().log_softmax(-1), log_probs.float().exp())
            lossary.kl_divergence(logits.float().log_softmax(-1), log_probs.exp())


@pytest.mark.parametrize("dtype", COARSE, ids=str)
@pytest.mark.parametrize(("classes", "rows"), SIZES)
def test_distributions_made_in_any_precision_are_taken(dtype: Any, classes: int, rows: int) -> None:
    for spread in (0.1, 1.0, 5.0):
        logits = _rows(dtype, classes, rows, spread)
        softmax = logits.softmax(-1)
        exponentials = (logits - logits.amax(-1, keepdim=True)).exp()
        hot = torch.nn.functional.one_hot(logits.argmax(-1), classes).to(dtype)
        for target in (
            softmax,
            softmax / softmax.sum(-1, keepdim=True),
            exponentials / exponentials.sum(-1, keepdim=True),
            hot,
            0.9 * hot + 0.1 / classes,
        ):
            for given in _widened(target):
                lossary.softmax_cross_entropy(logits.float(), given)
                lossary.brier(given, logits.argmax(-1))


def test_autocast_and_the_drop_ins_say_nothing_of_a_rounded_row() -> None:
    from lossary.nn import functional as F  # noqa: N812

    layer, labels = torch.nn.Linear(5, 10), torch.zeros(64, dtype=torch.long)
    with torch.autocast("cpu", torch.bfloat16):
        log_probs = layer(torch.randn(64, 5)).log_softmax(-1)
    lossary.nll(log_probs, labels)
    F.nll_loss(log_probs, labels)  # warnings are errors here
    F.nll_loss(log_probs.float(), labels)
    F.kl_div(log_probs, log_probs.exp(), reduction="batchmean")
    F.kl_div(log_probs.float(), log_probs.float(), reduction="batchmean", log_target=True)
    frames, lengths = log_probs.reshape(64, 1, 10), torch.tensor([64])
    F.ctc_loss(frames.float(), torch.ones(1, 3, dtype=torch.long), lengths, torch.tensor([3]))


MISUSES = {
    "probabilities": lambda z: z.softmax(-1),
    "logits": lambda z: z,
    "log-probabilities of base 2": lambda z: z.log_softmax(-1) / 0.6931,
    "of half the classes": lambda z: z.log_softmax(-1)[:, : z.shape[-1] // 2],
}


@pytest.mark.parametrize("case", MISUSES)
@pytest.mark.parametrize("dtype", COARSE, ids=str)
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_true_misuse_is_refused_in_every_precision(case: str, dtype: Any, classes: int) -> None:
    wrong = MISUSES[case](_rows(dtype, 2 * classes, 32, 1.0))
    for given in (wrong, wrong.float()):
        with pytest.raises(DomainError, match="expected log-probabilities"):
            lossary.nll(given, torch.zeros(32, dtype=torch.long))
    if case == "logits":
        with pytest.raises(DomainError, match="expected probabilities"):
            lossary.brier(wrong, torch.zeros(32, dtype=torch.long))


@pytest.mark.parametrize("sums_to", [0.97, 1.03])
def test_float32_rows_have_no_licence_of_a_coarser_type(sums_to: float) -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(10), 8) * sums_to
    with pytest.raises(DomainError, match=rf"sums to {sums_to}"):
        lossary.brier(rows.astype(np.float32), np.zeros(8, int))


# --- numbers ---------------------------------------------------------------------------------------------------------


ENDS = [
    (name, at, number, end, sign)
    for name in lossary.names()
    for number in range(len(lossary.get(name).argument_domains))
    for at, allowed in enumerate(lossary.get(name).argument_domains[number])
    if allowed.kind == "interval"
    for end, closed, sign in ((allowed.low, allowed.closed[0], -1), (allowed.high, allowed.closed[1], 1))
    if closed and np.isfinite(end)
]


@pytest.mark.parametrize(("name", "at", "number", "end", "sign"), ENDS)
def test_a_number_that_rounding_carried_past_the_end_counts_as_the_end(
    name: str, at: int, number: int, end: float, sign: int
) -> None:
    loss = lossary.get(name)
    arrays = random_arrays(loss, np.random.default_rng(5), batch=5, alternative=number)

    def found(by: float) -> list[Any]:
        moved = [np.array(a) for a in arrays]
        moved[at].reshape(len(moved[at]), -1)[0, 0] = end + sign * by
        with np.errstate(all="ignore"):
            value, grad = loss.value_and_grad(*moved)
            return [value, *(grad if isinstance(grad, tuple) else (grad,))]

    for exact, near, coarse in zip(found(0.0), found(1e-7), found(2.0**-7), strict=True):
        np.testing.assert_array_equal(np.isnan(near), np.isnan(exact))
        np.testing.assert_array_equal(np.isnan(coarse), np.isnan(exact))
        whole = np.isfinite(exact) & np.isfinite(near)
        np.testing.assert_array_equal(np.isfinite(near), np.isfinite(exact))
        np.testing.assert_allclose(near[whole], exact[whole], rtol=1e-3, atol=1e-3)
    for by in (0.011, 0.5):  # which no type makes of the end
        with pytest.raises(DomainError, match=re.escape(f"{loss.name}: {loss.arguments[at]}: got")):
            found(by)


def test_large_arrays_follow_the_same_rule() -> None:
    probs, target = np.full(40_000, 0.5, np.float32), np.ones(40_000, np.float32)
    plain = lossary.binary_cross_entropy(probs, target)
    for past in (np.float32(1.0000001), np.float32(1.0078125)):
        probs[7] = past
        found, grad = lossary.binary_cross_entropy.value_and_grad(probs, target)
        assert found[7] == 0
        assert grad[7] == -1
        np.testing.assert_allclose(np.delete(found, 7), np.delete(plain, 7), rtol=1e-6)
    probs[7] = 1.01
    with pytest.raises(DomainError, match=r"got 1\.01 at index 7"):
        lossary.binary_cross_entropy(probs, target)


def test_cosines_and_distances_of_another_precision() -> None:
    vectors = torch.nn.functional.normalize(torch.randn(400, 64), dim=-1)
    cosines = (vectors @ vectors.T).double()
    labels = torch.arange(400)
    assert cosines.max() > 1
    assert torch.isfinite(lossary.arcface(cosines, labels)).all()
    halves = torch.nn.functional.normalize(torch.randn(400, 64).bfloat16(), dim=-1)
    assert torch.isfinite(lossary.cosface(halves @ halves.T, labels)).all()
    points = 8 * torch.randn(300, 64)
    squares = (points * points).sum(-1)
    distances = squares[:, None] + squares - 2 * points @ points.T
    distances.fill_diagonal_(-1e-2)  # of numbers about 1e4, computed in float32
    lossary.hinge_embedding(distances, torch.ones(300, 300))
    with pytest.raises(DomainError, match=r"got -5 at"):
        lossary.hinge_embedding(distances.fill_diagonal_(-5.0), torch.ones(300, 300))


def test_what_is_refused_is_shown_with_the_digits_that_differ() -> None:
    with pytest.raises(DomainError, match=r"got 1\.00001 at index \(0, 0\), expected values in \[-1, 1\]"):
        lossary.arcface([[1.00001, 0.0]], [0])
    with pytest.raises(DomainError, match=r"got 1\.000003 at"):
        lossary.binary_cross_entropy([1.0000033], [1.0])
    with pytest.raises(ParameterError, match=r"label_smoothing: got 1\.00000001, expected"):
        lossary.softmax_cross_entropy([[0.0, 1.0]], [0], label_smoothing=1.00000001)
    with pytest.raises(DomainError, match=r"are >= 0: -0\.03 is not"):
        lossary.softmax_cross_entropy([[0.0, 1.0]], [[1.03, -0.03]])
