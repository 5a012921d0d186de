"""Padded sequences: what is padding is exactly nothing, what is kept is what picking the rows out would give."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import oracles
from exact import to_exact
from lossary import softmax_cross_entropy
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError
from lossary.sequences import (
    SequenceReport,
    causal_lm_cross_entropy,
    padded_sequence_cross_entropy,
    sequence_report,
)

REDUCTIONS = ("token_mean", "sequence_mean", "sum", "none")
SEQUENCES, STEPS, CLASSES = 5, 7, 11
LENGTHS = np.array([7, 1, 0, 4, 6])
OPTIONS: list[dict[str, Any]] = [{}, {"label_smoothing": 0.1}, {"temperature": 2.0, "z_loss": 1e-3, "soft_cap": 5.0}]


def batch(dtype: Any = np.float64) -> tuple[Any, Any, Any]:
    """Logits, labels and a mask; padding holds NaN and a label that no row has."""
    rng = np.random.default_rng(7)
    logits = (3 * rng.standard_normal((SEQUENCES, STEPS, CLASSES))).astype(dtype)
    labels = rng.integers(0, CLASSES, (SEQUENCES, STEPS))
    mask = np.array([[step < length for step in range(STEPS)] for length in LENGTHS])
    logits[~mask], labels[~mask] = np.nan, -100
    return logits, labels, mask


def by_hand(costs: Any, mask: Any, reduction: str) -> float:
    """A reduction as a person would do it."""
    sequences = [[float(c) for c, k in zip(row, keep, strict=True) if k] for row, keep in zip(costs, mask, strict=True)]
    tokens = [c for row in sequences for c in row]
    if reduction == "sum":
        return math.fsum(tokens)
    if reduction == "token_mean":
        return math.fsum(tokens) / len(tokens)
    means = [math.fsum(row) / len(row) for row in sequences if row]
    return math.fsum(means) / len(means)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_position_is_bit_for_bit_the_row_picked_out(dtype: Any, options: dict[str, Any]) -> None:
    logits, labels, mask = batch(dtype)
    picked, picked_grad = softmax_cross_entropy.value_and_grad(logits[mask], labels[mask], **options)
    for how in ({"lengths": LENGTHS}, {"mask": mask}, {"ignore_index": -100}, {"lengths": LENGTHS.tolist()}):
        values = padded_sequence_cross_entropy(logits, labels, reduction="none", **how, **options)
        both, grad = padded_sequence_cross_entropy.value_and_grad(logits, labels, reduction="none", **how, **options)
        assert values.dtype == grad.dtype == dtype
        np.testing.assert_array_equal(values[mask], softmax_cross_entropy(logits[mask], labels[mask], **options))
        np.testing.assert_array_equal(both[mask], picked)
        np.testing.assert_array_equal(grad[mask], picked_grad)
        assert (values[~mask] == 0).all() and (both[~mask] == 0).all() and (grad[~mask] == 0).all()


def test_a_position_costs_what_sixty_digits_say() -> None:
    logits, labels, mask = batch()
    values = padded_sequence_cross_entropy(logits, labels, lengths=LENGTHS, reduction="none")
    for at in np.argwhere(mask):
        i, j = at
        exact = oracles.softmax_cross_entropy(to_exact(logits[i, j]), int(labels[i, j]))
        assert abs(float(exact) - values[i, j]) <= 1e-14 * (1 + abs(float(exact)))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean", "sum"])
def test_reductions_are_what_a_person_would_compute(reduction: Any, options: dict[str, Any]) -> None:
    logits, labels, mask = batch()
    costs = padded_sequence_cross_entropy(logits, labels, lengths=LENGTHS, reduction="none", **options)
    value, grad = padded_sequence_cross_entropy.value_and_grad(
        logits, labels, lengths=LENGTHS, reduction=reduction, **options
    )
    np.testing.assert_allclose(value, by_hand(costs, mask, reduction), rtol=1e-14)
    # A gradient of a weighted sum is the weighted gradient: what a position weighs is what its cost adds to the value.
    _, each = padded_sequence_cross_entropy.value_and_grad(logits, labels, lengths=LENGTHS, reduction="none", **options)
    for i, j in np.argwhere(mask):
        one = np.zeros_like(costs)
        one[i, j] = 1.0
        weight = by_hand(one, mask, reduction)
        np.testing.assert_allclose(grad[i, j], weight * each[i, j], rtol=1e-13, atol=1e-16)
    assert (grad[~mask] == 0).all()


def test_the_two_means_differ_and_a_denominator_replaces_the_count() -> None:
    logits, labels, mask = batch()
    sums = {how: padded_sequence_cross_entropy(logits, labels, mask=mask, reduction=how) for how in REDUCTIONS[:3]}
    assert abs(sums["token_mean"] - sums["sequence_mean"]) > 0.01
    given = padded_sequence_cross_entropy(logits, labels, mask=mask, denominator=40)
    np.testing.assert_allclose(given, sums["sum"] / 40, rtol=1e-14)
    given = padded_sequence_cross_entropy(logits, labels, mask=mask, reduction="sequence_mean", denominator=8)
    np.testing.assert_allclose(given, sums["sequence_mean"] * 4 / 8, rtol=1e-14)  # four sequences have tokens


def test_an_ignored_label_and_padding_are_left_out_together() -> None:
    logits, labels, mask = batch()
    both = mask & (labels != 3)
    assert both.sum() < mask.sum()
    value = padded_sequence_cross_entropy(logits, labels, lengths=LENGTHS, ignore_index=3)
    np.testing.assert_array_equal(value, padded_sequence_cross_entropy(logits, labels, mask=both))


def test_distributions_may_stand_for_labels() -> None:
    logits, labels, mask = batch()
    soft = np.eye(CLASSES)[np.where(mask, labels, 0)]
    expected = padded_sequence_cross_entropy(logits, labels, lengths=LENGTHS)
    np.testing.assert_allclose(padded_sequence_cross_entropy(logits, soft, lengths=LENGTHS), expected, rtol=1e-14)
    with pytest.raises(ParameterError, match="ignore_index: the labels are distributions"):
        padded_sequence_cross_entropy(logits, soft, ignore_index=0)


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (3, 0), (0, 0)])
@pytest.mark.parametrize("loss", [padded_sequence_cross_entropy, causal_lm_cross_entropy])
def test_nothing_kept_costs_nothing(loss: Any, shape: tuple[int, ...]) -> None:
    more = {"shift": True} if loss is causal_lm_cross_entropy else {}
    logits, labels = np.full((*shape, 2), np.nan), np.zeros(shape, int)
    for how in ({"lengths": np.zeros(shape[0], int)}, {"mask": np.zeros(shape, bool)}, {"ignore_index": 0}):
        for reduction in REDUCTIONS[:3]:
            value, grad = loss.value_and_grad(logits, labels, reduction=reduction, **how, **more)
            assert value == 0 and grad.shape == logits.shape and (grad == 0).all()


# --- the next token -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean", "sum"])
@pytest.mark.parametrize("how", ["lengths", "mask", "ignore_index", "nothing"])
def test_a_shift_is_slicing_both_arrays(how: str, reduction: Any) -> None:
    logits, tokens, mask = batch()
    logits = np.where(np.isnan(logits), 0.5, logits)
    mask[0, 2] = False  # a hole in a sequence, which only a mask can say
    tokens[0, 2] = -100
    kept = {"lengths": np.arange(STEPS) < LENGTHS[:, None], "mask": mask, "ignore_index": mask, "nothing": mask | True}[
        how
    ]
    tokens = np.where(tokens == -100, -100 if how == "ignore_index" else 4, tokens)
    given: dict[str, Any] = {"lengths": LENGTHS, "mask": mask, "ignore_index": -100}
    options = {how: given[how]} if how in given else {}
    value, grad = causal_lm_cross_entropy.value_and_grad(logits, tokens, shift=True, reduction=reduction, **options)
    sliced, sliced_grad = padded_sequence_cross_entropy.value_and_grad(
        logits[:, :-1], tokens[:, 1:], mask=kept[:, 1:], reduction=reduction
    )
    np.testing.assert_allclose(value, sliced, rtol=1e-14)
    np.testing.assert_allclose(grad[:, :-1], sliced_grad, rtol=1e-14)
    assert (grad[:, -1] == 0).all()
    each = causal_lm_cross_entropy(logits, tokens, shift=True, reduction="none", **options)
    assert each.shape == tokens.shape and (each[:, -1] == 0).all() and (each[:, :-1][~kept[:, 1:]] == 0).all()


def test_without_a_shift_nothing_is_shifted() -> None:
    logits, tokens, _ = batch()
    for reduction in REDUCTIONS:
        np.testing.assert_array_equal(
            causal_lm_cross_entropy(logits, tokens, shift=False, lengths=LENGTHS, reduction=reduction),
            padded_sequence_cross_entropy(logits, tokens, lengths=LENGTHS, reduction=reduction),
        )
    with pytest.raises(TypeError, match="shift"):
        causal_lm_cross_entropy(logits, tokens)  # type: ignore[call-arg]
    with pytest.raises(ParameterError, match="shift: got 'yes', expected True or False"):
        causal_lm_cross_entropy(logits, tokens, shift="yes")  # type: ignore[arg-type]


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"lengths": LENGTHS, "mask": np.ones((5, 7), bool)}, ArgumentError, "lengths and mask both say"),
        ({"lengths": [7, 1, 9, 4, 8]}, DomainError, r"got 9 of sequence 2, 8 of sequence 4, expected .* 0 to 7"),
        ({"lengths": [7, 1, -1, 4, 6]}, DomainError, "got -1 of sequence 2"),
        ({"lengths": [7, 1, 2.5, 4, 6]}, DomainError, "got 2.5 of sequence 2"),
        ({"lengths": [9, 9, 9, 9, 9, 9]}, ShapeError, r"lengths: got shape \(6,\), expected \(5,\)"),
        ({"lengths": LENGTHS[:, None]}, ShapeError, r"lengths: got shape \(5, 1\), expected \(5,\)"),
        ({"mask": np.ones((5, 6), bool)}, ShapeError, r"mask: got shape \(5, 6\), expected"),
        ({"mask": np.full((5, 7), 0.5)}, DomainError, "mask: expected booleans"),
        ({"reduction": "mean"}, ParameterError, "expected one of token_mean, .*: of tokens, or of sequences"),
        ({"reduction": "token_maen"}, ParameterError, "did you mean token_mean"),
        ({"reduction": "sum", "denominator": 3}, ParameterError, "only a mean has one"),
        ({"denominator": 0}, ParameterError, "denominator: got 0"),
        ({"label_smoothing": 2.0}, ParameterError, "label_smoothing"),
        ({"smoothing": 0.1}, ArgumentError, "did you mean label_smoothing"),
        ({"weight": np.ones((5, 7))}, ArgumentError, "kept or dropped"),
    ],
)
def test_misuse_is_refused_in_words(options: dict[str, Any], error: type[Exception], said: str) -> None:
    logits, labels, mask = batch()
    logits, labels = np.where(mask[..., None], logits, 0.0), np.where(mask, labels, 0)
    with pytest.raises(error, match=said):
        padded_sequence_cross_entropy(logits, labels, **options)


def test_shapes_that_do_not_fit_are_refused() -> None:
    logits, labels, _ = batch()
    with pytest.raises(ShapeError, match=r"labels: got shape \(5, 6\), expected \(5, 7\)"):
        padded_sequence_cross_entropy(logits, labels[:, 1:])
    with pytest.raises(ShapeError, match=r"tokens: got shape \(5, 7, 11\), expected \(5, 7\)"):
        causal_lm_cross_entropy(logits, logits, shift=True)
    with pytest.raises(ShapeError, match="expected"):
        padded_sequence_cross_entropy(logits[0, 0], labels[0, 0])
    with pytest.raises(DomainError, match="-100"):
        padded_sequence_cross_entropy(logits, labels)  # padding that nobody spoke of


def test_one_sequence_and_any_number_of_leading_dimensions() -> None:
    logits, labels, _ = batch()
    for i, length in enumerate(LENGTHS):
        alone = padded_sequence_cross_entropy(logits[i], labels[i], lengths=length, reduction="none")
        together = padded_sequence_cross_entropy(logits, labels, lengths=LENGTHS, reduction="none")
        np.testing.assert_array_equal(alone, together[i])
    folded = padded_sequence_cross_entropy(logits[None], labels[None], lengths=LENGTHS[None])
    np.testing.assert_array_equal(folded, padded_sequence_cross_entropy(logits, labels, lengths=LENGTHS))


# --- torch ----------------------------------------------------------------------------------------------------------


def losses() -> list[Callable[..., Any]]:
    return [padded_sequence_cross_entropy, lambda *a, **k: causal_lm_cross_entropy(*a, shift=True, **k)]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("which", [0, 1])
def test_torch_gives_the_same_and_differentiates_it(which: int, reduction: Any) -> None:
    torch = pytest.importorskip("torch")
    logits, labels, _ = batch()
    loss = (padded_sequence_cross_entropy, causal_lm_cross_entropy)[which]
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": 0.1} | ({"shift": True} if which else {})
    value, grad = loss.value_and_grad(logits, labels, lengths=LENGTHS, **options)  # type: ignore[attr-defined]
    z = torch.tensor(logits, requires_grad=True)
    for lengths in (LENGTHS, LENGTHS.tolist(), torch.tensor(LENGTHS)):
        theirs = loss(z, torch.tensor(labels), lengths=lengths, **options)
        np.testing.assert_allclose(theirs.detach().numpy(), value, rtol=1e-13)
        (found,) = torch.autograd.grad(theirs.sum(), z)
        np.testing.assert_allclose(found.numpy(), grad, rtol=1e-12, atol=1e-16)
    direct = loss.value_and_grad(z.detach(), torch.tensor(labels), lengths=LENGTHS, **options)  # type: ignore[attr-defined]
    np.testing.assert_allclose(direct[1].numpy(), grad, rtol=1e-12, atol=1e-16)


def test_torch_agrees_with_torchs_own_on_ignored_tokens() -> None:
    torch = pytest.importorskip("torch")
    logits, labels, mask = batch()
    z = torch.tensor(np.where(mask[..., None], logits, 0.0))
    expected = torch.nn.functional.cross_entropy(z.flatten(0, 1), torch.tensor(labels).flatten(), label_smoothing=0.2)
    ours = padded_sequence_cross_entropy(z, torch.tensor(labels), ignore_index=-100, label_smoothing=0.2)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("which", [0, 1])
def test_torch_differentiates_twice_and_compiles_whole(which: int) -> None:
    torch = pytest.importorskip("torch")
    logits, labels, mask = batch()
    tensor, wanted = torch.tensor(np.where(mask[..., None], logits, 0.0))[:, :4, :5], torch.tensor(labels % 5)[:, :4]
    lengths = torch.tensor(np.minimum(LENGTHS, 4))
    for reduction in ("token_mean", "sequence_mean"):
        f = lambda z, r=reduction: losses()[which](z, wanted, lengths=lengths, reduction=r)  # noqa: E731
        z = tensor.clone().requires_grad_()
        assert torch.autograd.gradcheck(f, z) and torch.autograd.gradgradcheck(f, z)
        torch._dynamo.reset()
        compiled = torch.compile(f, fullgraph=True, backend="aot_eager")(z)
        torch.testing.assert_close(compiled, f(z))
        torch.testing.assert_close(torch.autograd.grad(compiled, z), torch.autograd.grad(f(z), z))


# --- the report -----------------------------------------------------------------------------------------------------


def test_a_report_counts_what_a_person_would_count() -> None:
    logits, labels, mask = batch()
    labels[3, :4] = logits[3, :4].argmax(-1)  # one sequence wholly right
    found = sequence_report(logits, labels, lengths=LENGTHS, worst=3)
    costs = padded_sequence_cross_entropy(logits, labels, lengths=LENGTHS, reduction="none")
    np.testing.assert_array_equal(found.token_losses, costs)
    assert found.tokens == mask.sum() == 18
    np.testing.assert_allclose(found.loss, by_hand(costs, mask, "token_mean"), rtol=1e-14)
    np.testing.assert_allclose(found.perplexity, math.exp(found.loss), rtol=1e-14)
    hits = [(logits[i, j].argmax() == labels[i, j]) for i, j in np.argwhere(mask)]
    assert found.accuracy == sum(hits) / 18
    whole = [all(logits[i, j].argmax() == labels[i, j] for j in range(n)) for i, n in enumerate(LENGTHS) if n]
    assert found.sequence_accuracy == sum(whole) / 4 and whole[2]
    assert [line.sequence for line in found.sequences()] == [0, 1, 3, 4]
    assert [line.tokens for line in found.sequences()] == [7, 1, 4, 6]
    means = {i: costs[i, :n].mean() for i, n in enumerate(LENGTHS) if n}
    worst = sorted(means, key=lambda i: -means[i])[:3]
    assert [line.sequence for line in found.worst_sequences()] == worst
    np.testing.assert_allclose([line.loss for line in found.worst_sequences()], [means[i] for i in worst], rtol=1e-14)
    order = sorted(map(tuple, np.argwhere(mask)), key=lambda at: -costs[at])[:3]
    assert [(t.sequence, t.position) for t in found.worst_tokens()] == order
    assert [t.label for t in found.worst_tokens()] == [labels[at] for at in order]
    assert [t.predicted for t in found.worst_tokens()] == [logits[at].argmax() for at in order]


def test_a_report_reads_torch_and_shifts_if_told() -> None:
    torch = pytest.importorskip("torch")
    logits, tokens, _ = batch()
    ours = sequence_report(logits, tokens, lengths=LENGTHS, shift=True)
    theirs = sequence_report(
        torch.tensor(logits, requires_grad=True), torch.tensor(tokens), lengths=torch.tensor(LENGTHS), shift=True
    )
    assert ours.tokens == theirs.tokens == 14  # the first token of four sequences is predicted by nothing
    np.testing.assert_allclose(ours.token_losses, theirs.token_losses, rtol=1e-13)
    assert ours.to_dict()["worst_sequences"][0]["sequence"] == theirs.to_dict()["worst_sequences"][0]["sequence"]
    sliced = sequence_report(logits[:, :-1], tokens[:, 1:], lengths=np.maximum(LENGTHS - 1, 0))
    np.testing.assert_allclose(ours.perplexity, sliced.perplexity, rtol=1e-14)
    assert ours.accuracy == sliced.accuracy


def test_a_report_is_printed_and_becomes_json() -> None:
    logits, labels, _ = batch()
    found = sequence_report(logits, labels, lengths=LENGTHS, worst=2, vocabulary={int(labels[0, 0]): "dog"})
    data = json.loads(json.dumps(found.to_dict()))
    assert data["tokens"] == 18 and data["padding"] == 17 and len(data["worst_tokens"]) == 2
    assert data["perplexity"] == found.perplexity
    text = str(found)
    assert "18 tokens in 4 sequences; 17 positions are left out" in text and f"{found.loss:.4g}" in text
    assert len(text.splitlines()) == 2 + 1 + 4 + 1 + 4
    assert found.name(int(labels[0, 0])) == "'dog'" and found.name(10**6) == str(10**6)
    rich = pytest.importorskip("rich.console")
    console = rich.Console(width=100, record=True, file=io.StringIO())
    console.print(found)
    shown = console.export_text()
    assert "worst tokens" in shown and "worst sequences" in shown and "18 tokens" in shown


def test_nan_is_the_worst_and_nothing_is_nothing() -> None:
    logits, labels, mask = batch()
    logits[4, 3] = np.nan
    found = sequence_report(logits, labels, lengths=LENGTHS)
    assert (found.worst_tokens()[0].sequence, found.worst_tokens()[0].position) == (4, 3)
    assert found.worst_sequences()[0].sequence == 4
    assert math.isnan(found.loss) and math.isnan(found.perplexity)
    empty = sequence_report(logits, labels, mask=np.zeros_like(mask))
    assert (empty.tokens, empty.loss, empty.perplexity, empty.accuracy, empty.sequence_accuracy) == (0, 0, 1, 0, 0)
    assert empty.worst_tokens() == empty.worst_sequences() == [] and "0 tokens in 0 sequences" in str(empty)
    certain = sequence_report([[[0.0, 1000.0]]], [[0]])
    assert certain.loss == 1000 and certain.perplexity == math.inf and isinstance(certain, SequenceReport)
    with pytest.raises(ParameterError, match="worst"):
        sequence_report(logits, labels, lengths=LENGTHS, worst=-1)
    with pytest.raises(ShapeError, match="distributions"):
        sequence_report([[[0.0, 1.0]]], [[[0.5, 0.5]]])
