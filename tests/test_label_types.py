"""Labels, lengths and the label to ignore are whole numbers: the type that holds them changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossary
from lossary.errors import DomainError
from lossary.testing import random_arrays

TYPES = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
WITH_LABELS = [name for name in lossary.names() if "ignore_index" in lossary.get(name).defaults]
FRAMES, SYMBOLS, CLASSES = 6, 3, 5


def tensor(x: Any, framework: str) -> Any:
    if framework == "numpy":
        return x
    return pytest.importorskip("torch").from_numpy(x)


def numbers(x: Any) -> Any:
    return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


def sequences(name: str, count: int, padding: int) -> list[Any]:
    """Scores, labels with padding that names no class, and lengths; below or above where a kernel computes."""
    rng = np.random.default_rng(count)
    labels = rng.integers(1, CLASSES, (count, SYMBOLS))
    frames, symbols = rng.integers(4, FRAMES + 1, count), rng.integers(1, SYMBOLS + 1, count)
    if name == "linear_chain_crf":
        tags = rng.integers(0, CLASSES, (count, FRAMES))
        tags[np.arange(FRAMES) >= frames[:, None]] = padding
        moves = rng.standard_normal((CLASSES, CLASSES))
        return [rng.standard_normal((count, FRAMES, CLASSES)), moves, tags, frames]
    if name == "ctc":
        labels = 1 + (labels + np.arange(SYMBOLS)) % (CLASSES - 1)
    labels[np.arange(SYMBOLS) >= symbols[:, None]] = padding
    places = () if name == "ctc" else (SYMBOLS + 1,)
    return [rng.standard_normal((count, FRAMES, *places, CLASSES)), labels, frames, symbols]


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("count", [3, 40])
@pytest.mark.parametrize("name", ["ctc", "rnnt", "linear_chain_crf"])
def test_padding_of_any_type_is_not_looked_at(name: str, count: int, kind: str, framework: str) -> None:
    loss, arrays = lossary.get(name), sequences(name, count, 99)
    mask = np.arange(count) % 3 != 1
    expected = loss.value(*arrays, mask=mask)
    whole = [x.astype(kind) if x.dtype.kind == "i" else x for x in arrays]
    found = loss.value(*(tensor(x, framework) for x in whole), mask=tensor(mask, framework))
    np.testing.assert_allclose(numbers(found), expected, 1e-9, 1e-12)
    assert expected[mask].all() and np.isfinite(expected).all()


@pytest.mark.parametrize("name", ["ctc", "rnnt", "linear_chain_crf"])
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_a_length_or_a_label_that_only_an_unsigned_type_holds_is_refused(framework: str, name: str) -> None:
    loss, arrays = lossary.get(name), sequences(name, 3, 0)
    for at, wrong in ((1 if name != "linear_chain_crf" else 2, 2**64 - 1), (3, 2**64 - 2)):
        held = [x.copy() for x in arrays]
        held[at] = held[at].astype(np.uint64)
        held[at].flat[0] = wrong
        with pytest.raises(DomainError, match=loss.arguments[at]):
            loss(*(tensor(x, framework) for x in held))


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("rows", [4, 2000])
@pytest.mark.parametrize("name", WITH_LABELS)
def test_the_label_to_ignore_is_compared_as_a_number(name: str, rows: int, framework: str) -> None:
    loss = lossary.get(name)
    scores, labels, *further = random_arrays(loss, np.random.default_rng(rows), rows, {"c": 9})
    arrays = [tensor(x, framework) for x in (scores, *further)]

    def values(kind: str, ignored: int) -> Any:
        target = tensor(labels.astype(kind), framework)
        return numbers(loss(arrays[0], target, *arrays[1:], ignore_index=ignored))

    whole = loss(scores, labels, *further)
    for kind in TYPES:
        bits = np.iinfo(kind).bits
        beyond = (-100, 2**bits + 4, 4 - 2**bits, -(2**70)) if kind != "int64" else (-100, 2**64 + 4, 4 - 2**64)
        for ignored in beyond:  # no label, though some of these are 4 in the type of the labels
            np.testing.assert_allclose(values(kind, ignored), whole, 1e-9, 1e-12, err_msg=f"{kind}, {ignored}")
        np.testing.assert_allclose(values(kind, 4), np.where(labels == 4, 0, whole), 1e-9, 1e-12, err_msg=kind)


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_a_label_that_another_type_would_ignore_is_refused(framework: str) -> None:
    scores = tensor(np.zeros((1, 200)), framework)
    for kind, label, ignored in (("int8", -1, 255), ("int8", -100, 156), ("int16", -1, 65535), ("uint8", 255, -1)):
        target = tensor(np.array([label], kind), framework)
        with pytest.raises(DomainError, match="target"):
            lossary.softmax_cross_entropy(scores, target, ignore_index=ignored)
    kept = tensor(np.array([156], np.uint8), framework)
    np.testing.assert_allclose(numbers(lossary.softmax_cross_entropy(scores, kept, ignore_index=-100)), [np.log(200)])
    last = tensor(np.array([2**64 - 1, 3], np.uint64), framework)
    two = tensor(np.zeros((2, 200)), framework)
    np.testing.assert_allclose(
        numbers(lossary.softmax_cross_entropy(two, last, ignore_index=2**64 - 1)), [0, np.log(200)]
    )


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("kind", TYPES)
def test_what_is_built_on_labels_takes_every_type(kind: str, framework: str) -> None:
    rng = np.random.default_rng(5)
    logits, labels = rng.standard_normal((4, 6, 9)), rng.integers(0, 9, (4, 6))
    hidden, weight = rng.standard_normal((24, 3)), rng.standard_normal((9, 3))
    lengths = np.array([6, 1, 4, 3])
    typed = tensor(labels.astype(kind), framework)
    z, h, w = (tensor(x, framework) for x in (logits, hidden, weight))
    for options in ({}, {"ignore_index": -100}, {"ignore_index": 4}):
        found = lossary.linear(lossary.softmax_cross_entropy, h, w, typed.reshape(-1), **options)
        expected = lossary.linear(lossary.softmax_cross_entropy, hidden, weight, labels.reshape(-1), **options)
        np.testing.assert_allclose(numbers(found), expected, 1e-9)
        for more in ({}, {"lengths": lengths}):
            ours = {k: tensor(v.astype(kind), framework) for k, v in more.items()}
            for built, shift in (
                (lossary.padded_sequence_cross_entropy, {}),
                (lossary.causal_lm_cross_entropy, {"shift": True}),
            ):
                padded = built(z, typed, **options, **ours, **shift)
                same = built(logits, labels, **options, **more, **shift)
                np.testing.assert_allclose(numbers(padded), same, 1e-9)
