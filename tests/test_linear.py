"""A head and its loss in one, against the same computed with whole logits; on NumPy arrays."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lossary
from lossary import linear as head_and_loss
from lossary import linear_value_and_grad, testing, token_log_probs
from lossary.errors import ArgumentError, DomainError, ParameterError, ShapeError

N, D, C = 11, 6, 7
ROWS = [
    name
    for name in lossary.names()
    if (loss := lossary.get(name)).coupling is None
    and {s.rank for s in loss.signatures} <= {0, 1}
    and loss.wrt
    and max(s.rank for s in loss.signatures) == 1
    and all(s.inputs[0] for s in loss.signatures[:1])
]
POINTWISE = ["binary_cross_entropy_with_logits", "sigmoid_focal", "hinge", "logistic_margin", "squared_error"]


@pytest.fixture(params=["kernels", "definitions"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    with testing.kernels("on" if request.param == "kernels" else "off"):
        yield str(request.param)


def head(seed: int = 0, dtype: Any = np.float64) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    shapes = ((N, D), (C, D), (C,))
    return tuple(rng.normal(size=shape).astype(dtype) for shape in shapes)  # type: ignore[return-value]


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def link_of(loss: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """What makes the loss's input of logits, and its Jacobian at each row, written out as a matrix."""
    one = np.eye(C)
    if loss.input == "log-probability":
        return lambda z: np.log(softmax(z)), lambda z: one - softmax(z)[:, None, :]
    if loss.input == "probability":
        p: Callable[[Any], Any] = softmax
        return p, lambda z: p(z)[:, :, None] * (one - p(z)[:, None, :])
    return lambda z: z, lambda z: np.broadcast_to(one, (N, C, C))


def whole(loss: Any, arrays: Any, head: Any, **options: Any) -> tuple[Any, Any]:
    """The value and the gradients, of whole logits."""
    hidden, weight, bias = head
    link, jacobian = link_of(loss)
    logits = hidden @ weight.T + (0 if bias is None else bias)
    value, grad = loss.value_and_grad(link(logits), *arrays, **options)
    grad = grad[0] if isinstance(grad, tuple) else grad
    grad = np.einsum("nc,ncz->nz", grad, jacobian(logits))
    return value, (grad @ weight, grad.T @ hidden, grad.sum(0))


def agree(found: Any, expected: Any, names: tuple[str, ...] = ("hidden", "weight", "bias")) -> None:
    (value, grads), (reference, derivatives) = found, expected
    np.testing.assert_allclose(value, reference, rtol=1e-11, atol=1e-13)
    for name, grad in zip(names, derivatives, strict=False):
        np.testing.assert_allclose(getattr(grads, name), grad, rtol=1e-9, atol=1e-12, err_msg=name)


def case(name: str, alternative: int, seed: int) -> tuple[Any, Any, Any, dict[str, Any]]:
    loss = lossary.get(name)
    rng = np.random.default_rng(seed)
    _, *arrays = testing.random_arrays(loss, rng, N, {"c": C, "n": C, "d": C}, alternative)
    params = testing.random_params(loss, rng, C)
    if "bias" in params:  # the head's own has the name
        loss = loss.bind(bias=params.pop("bias"))
    hidden, weight, bias = head(seed)
    if loss.input == "similarity":
        unit = [x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (hidden, weight)]
        hidden, weight, bias = unit[0], unit[1], None
    return loss, arrays, (hidden, weight, bias), params


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_every_row_loss_equals_that_of_whole_logits(name: str, reduction: Any) -> None:
    loss = lossary.get(name)
    for alternative, signature in enumerate(loss.signatures):
        if not signature.inputs[0]:
            continue
        loss, arrays, (hidden, weight, bias), params = case(name, alternative, 3 + alternative)
        options = {"reduction": reduction, **params}
        expected = whole(loss, arrays, (hidden, weight, bias), **options)
        labels, further = arrays[0] if arrays else None, dict(zip(loss.arguments[2:], arrays[1:], strict=False))
        found = linear_value_and_grad(loss, hidden, weight, labels, bias, chunk=4, **further, **options)
        agree(found, expected, ("hidden", "weight", "bias")[: 2 if bias is None else 3])
        value = head_and_loss(loss, hidden, weight, labels, bias, chunk=4, **further, **options)
        np.testing.assert_allclose(value, found[0], rtol=1e-14)


def test_the_catalogue_has_row_losses() -> None:
    assert {"softmax_cross_entropy", "softmax_focal", "poly_loss", "nll", "kl_divergence", "js_divergence"} <= {*ROWS}
    assert {"multi_margin", "logit_adjusted", "arcface", "multilabel_margin", "brier"} <= {*ROWS}


@pytest.mark.parametrize("name", POINTWISE)
def test_a_pointwise_loss_is_summed_along_the_row(name: str) -> None:
    loss, rng = lossary.get(name), np.random.default_rng(0)
    hidden, weight, bias = head()
    labels = rng.integers(0, C, N)
    low = -1.0 if loss.target == "{-1, 1}" else 0.0
    target = np.where(np.arange(C) == labels[:, None], 1.0, low)
    sample_weight = rng.random(N)
    logits = hidden @ weight.T + bias
    each, grad = loss.value_and_grad(logits, target)
    value = (each.sum(1) * sample_weight).sum() / sample_weight.sum()
    grad = grad * (sample_weight / sample_weight.sum())[:, None]
    expected = value, (grad @ weight, grad.T @ hidden, grad.sum(0))
    for given in (labels, target):
        agree(linear_value_and_grad(loss, hidden, weight, given, bias, sample_weight=sample_weight, chunk=4), expected)


def test_siglip_with_one_bias_for_all_pairs() -> None:
    loss, (images, texts, _) = lossary.binary_cross_entropy_with_logits, head()
    texts = texts[np.arange(N) % C]
    value, grads = linear_value_and_grad(loss, images, texts, np.arange(N), np.array(-2.0), chunk=3)
    logits = images @ texts.T - 2
    signs = 2 * np.eye(N) - 1
    np.testing.assert_allclose(value, np.logaddexp(0, -signs * logits).sum() / N, rtol=1e-12)
    np.testing.assert_allclose(grads.bias, (-signs / (1 + np.exp(signs * logits))).sum() / N, rtol=1e-10)


def test_infonce_is_cross_entropy_whose_weight_is_the_other_embeddings() -> None:
    rng = np.random.default_rng(0)
    ours, others = rng.normal(size=(2, N, D))
    value = head_and_loss("softmax_cross_entropy", ours, others, np.arange(N), temperature=0.5, chunk=4)
    scores = ours @ others.T / 0.5
    np.testing.assert_allclose(value, -np.diag(np.log(softmax(scores))).mean(), rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 2, 5, N, 100])
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_how_rows_are_divided_changes_nothing_but_rounding(chunk: int, dtype: Any) -> None:
    hidden, weight, bias = head(dtype=dtype)
    labels = np.arange(N) % C
    value, grads = linear_value_and_grad("cross_entropy", hidden, weight, labels, bias, chunk=chunk)
    reference, expected = linear_value_and_grad("cross_entropy", hidden, weight, labels, bias)
    assert value.dtype == dtype
    np.testing.assert_allclose(value, reference, rtol=4 * np.finfo(dtype).eps)
    for grad, other in zip(grads, expected, strict=True):
        assert grad.dtype == dtype
        np.testing.assert_allclose(grad, other, rtol=1e3 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_rows_that_do_not_count_are_dropped_whatever_they_hold(reduction: Any) -> None:
    hidden, weight, bias = head()
    labels = np.arange(N) % C
    labels[[1, 4]], mask, sample_weight = -100, np.arange(N) != 2, np.linspace(0, 1, N)
    options = {"ignore_index": -100, "mask": mask, "sample_weight": sample_weight, "reduction": reduction}
    kept = (labels != -100) & mask & (sample_weight > 0)
    value, grads = linear_value_and_grad("softmax_cross_entropy", hidden, weight, labels, bias, chunk=3, **options)
    spoilt = np.where(kept[:, None], hidden, np.nan)
    again, same = linear_value_and_grad("softmax_cross_entropy", spoilt, weight, labels, bias, chunk=3, **options)
    np.testing.assert_array_equal(value, again)
    for a, b in zip(grads, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (grads.hidden[~kept] == 0).all() and (grads.hidden[kept] != 0).any()
    plain = {**options, "weight": options["sample_weight"]}
    del plain["sample_weight"]
    agree((value, grads), whole(lossary.softmax_cross_entropy, (labels,), (hidden, weight, bias), **plain))


def test_no_row_at_all_and_none_that_counts() -> None:
    hidden, weight, bias = head()
    for rows, labels in ((hidden[:0], np.arange(0)), (hidden, np.full(N, -100))):
        value, grads = linear_value_and_grad(
            "softmax_cross_entropy", rows, weight, labels, bias, ignore_index=-100, chunk=4
        )
        assert value == 0 and all((grad == 0).all() for grad in grads)
        assert [g.shape for g in grads] == [rows.shape, weight.shape, bias.shape]


def test_leading_dimensions_and_one_row() -> None:
    hidden, weight, bias = head()
    labels = np.arange(10) % C
    flat = head_and_loss("poly_loss", hidden[:10], weight, labels, bias, reduction="none")
    shaped, grads = linear_value_and_grad(
        "poly_loss", hidden[:10].reshape(2, 5, D), weight, labels.reshape(2, 5), bias, reduction="none"
    )
    np.testing.assert_array_equal(shaped, flat.reshape(2, 5))
    assert grads.hidden.shape == (2, 5, D)
    one = head_and_loss("poly_loss", hidden[0], weight, 0, bias, reduction="none")
    assert one.shape == () and one == pytest.approx(float(flat[0]))


def test_the_denominator_of_all_parts_makes_their_sum_the_mean_of_the_whole() -> None:
    hidden, weight, bias = head()
    labels = np.arange(N) % C
    parts = [slice(0, 2), slice(2, N)]
    found = [
        linear_value_and_grad("cross_entropy", hidden[p], weight, labels[p], bias, denominator=N, chunk=4)
        for p in parts
    ]
    value, grads = linear_value_and_grad("cross_entropy", hidden, weight, labels, bias)
    assert sum(v for v, _ in found) == pytest.approx(float(value), rel=1e-13)
    np.testing.assert_allclose(sum(g.weight for _, g in found), grads.weight, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", ["kl_divergence", "js_divergence", "reverse_kl", "softmax_cross_entropy"])
def test_a_teacher_stands_for_its_rows(name: str) -> None:
    hidden, weight, bias = head()
    rng = np.random.default_rng(5)
    teacher = rng.normal(size=(N, 9)), rng.normal(size=(C, 9)), rng.normal(size=C)
    rows = softmax(teacher[0] @ teacher[1].T + teacher[2])
    expected = whole(lossary.get(name), (rows,), (hidden, weight, bias), reduction="mean")
    mask = np.arange(N) != 3
    masked = whole(lossary.get(name), (rows,), (hidden, weight, bias), reduction="mean", mask=mask)
    agree(linear_value_and_grad(name, hidden, weight, teacher, bias, chunk=4), expected)
    agree(linear_value_and_grad(name, hidden, weight, rows, bias, chunk=4), expected)
    agree(linear_value_and_grad(name, hidden, weight, teacher, bias, chunk=4, mask=mask), masked)
    agree(linear_value_and_grad(name, hidden, weight, bias=bias, teacher=list(teacher), chunk=4, mask=mask), masked)
    assert head_and_loss(name, hidden, weight, bias=bias, teacher=teacher) == pytest.approx(
        float(expected[0]), rel=1e-12
    )


def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return a list to which the shape of every matrix product of NumPy is added."""
    made: list[tuple[int, ...]] = []
    matmul = np.matmul

    def recorded(*args: Any, **options: Any) -> Any:
        result = matmul(*args, **options)
        made.append(result.shape)
        return result

    monkeypatch.setattr(np, "matmul", recorded)
    return made


def test_only_the_products_of_wrt_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, bias = head()
    made = products(monkeypatch)
    linear_value_and_grad("cross_entropy", hidden, weight, np.arange(N) % C, bias)
    assert sorted(made) == sorted([(N, C), (N, D), (C, D)])
    made.clear()
    _, grads = linear_value_and_grad("cross_entropy", hidden, weight, np.arange(N) % C, bias, wrt=["hidden", "bias"])
    assert grads.weight is None and grads.hidden is not None and grads.bias is not None
    assert sorted(made) == sorted([(N, C), (N, D)])
    made.clear()
    head_and_loss("cross_entropy", hidden, weight, np.arange(N) % C, bias, chunk=4)
    assert made == [(4, C), (4, C), (3, C)]


def test_inputs_are_not_written_to() -> None:
    hidden, weight, bias = head()
    before = [x.copy() for x in (hidden, weight, bias)]
    linear_value_and_grad("cross_entropy", hidden, weight, np.arange(N) % C, bias, soft_cap=2.0)
    for a, b in zip((hidden, weight, bias), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_half_precision_is_added_up_in_float32() -> None:
    hidden, weight, bias = head(dtype=np.float16)
    labels = np.arange(N) % C
    value, grads = linear_value_and_grad("softmax_cross_entropy", hidden, weight, labels, bias, chunk=1)
    wide = [x.astype(np.float64) for x in (hidden, weight, bias)]
    reference, expected = linear_value_and_grad("softmax_cross_entropy", *wide[:2], labels, wide[2])
    assert value.dtype == np.float32 and grads.weight.dtype == np.float16
    assert value == pytest.approx(float(reference), rel=1e-6)
    for grad, other in zip(grads, expected, strict=True):
        np.testing.assert_allclose(grad, other, rtol=2**-10, atol=2**-20)  # one rounding


# --- memory ----------------------------------------------------------------------------------------------------------


def peak(f: Callable[[], Any]) -> int:
    """Return the most memory, in bytes, that was held at a time beyond what was there before and what is returned."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = f()
        most, now = tracemalloc.get_traced_memory()[1], tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept is not None
    return most - max(now, before)


def test_memory_is_that_of_a_chunk(way: str) -> None:
    rng = np.random.default_rng(0)
    rows, classes, budget = 512, 4096, 2**20
    hidden, weight = rng.normal(size=(rows, 8)).astype(np.float32), rng.normal(size=(classes, 8)).astype(np.float32)
    labels = rng.integers(0, classes, rows)
    if way == "kernels":
        linear_value_and_grad("softmax_cross_entropy", hidden[:4], weight, labels[:4])  # compiled now
    used = peak(lambda: linear_value_and_grad("softmax_cross_entropy", hidden, weight, labels, memory=budget))
    logits = rows * classes * 4
    assert used < 2.5 * budget < logits / 3
    dense = peak(lambda: lossary.softmax_cross_entropy.value_and_grad(hidden @ weight.T, labels))
    assert dense > logits > 3 * used, "the measurement would notice logits"


# --- per token -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "soft_cap": 3.0}], ids=["plain", "options"])
def test_log_probabilities_and_entropies_of_tokens(options: dict[str, Any]) -> None:
    hidden, weight, bias = head()
    labels = np.arange(N) % C
    labels[3] = -1
    logits = hidden @ weight.T + bias
    if options:
        logits = 3.0 * np.tanh(logits / 3.0) / 0.7
    p = softmax(logits)
    expected = np.where(labels < 0, 0, np.log(p)[np.arange(N), labels])
    entropy = np.where(labels < 0, 0, -(p * np.log(p)).sum(1))
    found = token_log_probs(hidden, weight, labels, bias, ignore_index=-1, entropy=True, chunk=4, **options)
    np.testing.assert_allclose(found.log_probs, expected, rtol=1e-12)
    np.testing.assert_allclose(found.entropy, entropy, rtol=1e-12)
    alone = token_log_probs(hidden, weight, labels, bias, ignore_index=-1, chunk=4, **options)
    np.testing.assert_allclose(alone, expected, rtol=1e-12)


def test_a_token_that_is_masked_out_of_the_vocabulary_adds_nothing_to_the_entropy() -> None:
    bias = np.array([0.0, 0.0, -np.inf])
    found = token_log_probs(np.zeros((1, 2)), np.ones((3, 2)), [0], bias, entropy=True)
    np.testing.assert_allclose(found, [[-np.log(2)], [np.log(2)]])


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"weight": np.ones((D, C))}, ShapeError, "did you mean weight.T?"),
        ({"weight": np.ones(D)}, ShapeError, "expected (classes, features)"),
        ({"bias": np.ones(3)}, ShapeError, "one number for each class"),
        ({"labels": np.zeros((N, 1), int)}, ShapeError, "target"),
        ({"labels": np.full(N, 9)}, DomainError, "There are 7 classes"),
        ({"labels": np.ones((N, C))}, DomainError, "sum to 1"),
        ({"loss": "supcon"}, ArgumentError, "softmax_cross_entropy with the other embeddings as the weight"),
        ({"loss": "binary_cross_entropy"}, ArgumentError, "not rows of logits"),
        ({"loss": "gamma_nll"}, ArgumentError, "pass one for each logit"),
        ({"loss": "logit_adjusted"}, ArgumentError, "by name"),
        ({"loss": 3}, ArgumentError, "a loss of the catalogue or its name"),
        ({"chunk": 0}, ParameterError, "chunk: got 0"),
        ({"memory": -1}, ParameterError, "memory: got -1"),
        ({"temperature": -1.0}, ParameterError, "temperature"),
        ({"class_weight": np.ones(3)}, ShapeError, "class_weight"),
        ({"sample_weight": np.ones(3)}, ShapeError, "sample_weight: got shape (3,)"),
        ({"sample_weight": -np.ones(N)}, DomainError, "sample_weight: got -1"),
        ({"labels": (np.ones((N, 2)), np.ones((3, 2)))}, ShapeError, "the teacher makes rows of shape (11, 3)"),
        (
            {"loss": "entropy_bonus", "labels": None, "teacher": (np.ones((N, 2)), np.ones((C, 2)))},
            ArgumentError,
            "entropy_bonus compares its logits with nothing",
        ),
        ({"labels": None}, ArgumentError, "neither labels nor a teacher"),
        ({"teacher": (np.ones((N, 2)), np.ones((C, 2)))}, ArgumentError, "got labels and a teacher"),
        ({"labels": None, "teacher": np.ones((N, C))}, ArgumentError, "teacher: got ndarray, expected arrays"),
        ({"labels": None, "teacher": (np.ones((N, 2)), 3)}, ArgumentError, "teacher: got tuple of ndarray, int"),
        ({"tempo": 1}, ArgumentError, 'no parameter "tempo"'),
        ({"reduction": "avg"}, ParameterError, "reduction"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else None,
)
def test_what_does_not_fit_is_refused_with_a_sentence(change: dict[str, Any], error: Any, said: str) -> None:
    hidden, weight, bias = head()
    call: dict[str, Any] = {"hidden": hidden, "weight": weight, "labels": np.arange(N) % C, "bias": bias}
    call = {"loss": "softmax_cross_entropy", **call, **change}
    with pytest.raises(error) as refusal:
        head_and_loss(**call)
    assert said in str(refusal.value)


def test_a_row_of_a_later_chunk_is_told_with_where_the_chunk_begins() -> None:
    hidden, weight, bias = head()
    rows = np.full((N, C), 1 / C)
    rows[9] = 2.0
    with pytest.raises(DomainError) as refusal:
        head_and_loss("kl_divergence", hidden, weight, rows, bias, chunk=4)
    assert "row 1 is" in str(refusal.value) and "from row 8" in refusal.value.__notes__[0]


def test_unknown_names_in_wrt_are_refused() -> None:
    hidden, weight, _ = head()
    for wrong in (["weights"], "weight"):
        with pytest.raises(ArgumentError, match="expected names out of hidden, weight, bias"):
            linear_value_and_grad("cross_entropy", hidden, weight, np.arange(N) % C, wrt=wrong)


# --- the tests would notice ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, C), (4, D), (C, D)], ids=["logits", "hidden", "weight"])
def test_a_wrong_product_is_noticed(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    matmul = np.matmul

    def wrong(*args: Any, **options: Any) -> Any:
        result = matmul(*args, **options)
        if result.shape == shape:
            result[-1, -1] += 1e-3
        return result

    monkeypatch.setattr(np, "matmul", wrong)
    with pytest.raises(AssertionError):
        test_every_row_loss_equals_that_of_whole_logits("softmax_cross_entropy", "sum")


def test_values_are_not_looked_at_where_nobody_is_to_look() -> None:
    hidden, weight, bias = head()
    rows = np.full((N, C), 2.0)
    for level in ("off", "shapes"):
        with lossary.checks(level):
            assert np.isfinite(head_and_loss("softmax_cross_entropy", hidden, weight, rows, bias))
    with pytest.raises(DomainError):
        head_and_loss("softmax_cross_entropy", hidden, weight, rows, bias)
