"""Misuse is told in sentences that help, once for each place, and nothing legitimate ever is.

``LOSSARY_DRAWS=100000 pytest tests/test_misuse.py -k false_alarm`` draws as many legitimate inputs for every loss that
a rule speaks of; a usual run draws fewer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossary
from lossary import settings
from lossary.errors import DomainError, ParameterError
from lossary.testing import forget_call_sites, kernels, random_arrays

RNG = np.random.default_rng(3)
Z = RNG.normal(size=(64, 10))
P = np.exp(Z) / np.exp(Z).sum(-1, keepdims=True)
Y = RNG.integers(0, 10, 64)
BITS = (RNG.random(1000) < 0.5).astype(float)
SIGMOID = 1 / (1 + np.exp(-3 * RNG.normal(size=1000)))
RATE = RNG.gamma(5.0, 1.0, 500)
MEAN, VAR = RNG.normal(size=2000), RNG.uniform(0.1, 3.0, 2000)
SAME = np.ones((8, 3))

WARNED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "softmax before cross-entropy": (
        lambda: lossary.softmax_cross_entropy(P, Y),
        [
            "softmax_cross_entropy: logits",
            "(64, 10)",
            "row 0 is",
            "cannot fall below 1.461 for 10 classes",
            "Pass the logits",
        ],
    ),
    "softmax before focal": (lambda: lossary.softmax_focal(P, Y), ["softmax_focal: logits", "0.862"]),
    "softmax with soft labels": (lambda: lossary.softmax_cross_entropy(P, P[::-1]), ["these are probabilities"]),
    "softmax in float16": (lambda: lossary.softmax_cross_entropy(P.astype(np.float16), Y), ["1.461"]),
    "one class": (lambda: lossary.softmax_cross_entropy(Z[:, :1], np.zeros(64, int)), ["single class", "yes/no"]),
    "sigmoid before cross-entropy": (
        lambda: lossary.binary_cross_entropy_with_logits(SIGMOID, BITS),
        ["logits", "(1000,)", "0.3133", "0.6931", "Pass the logits"],
    ),
    "sigmoid before focal": (lambda: lossary.sigmoid_focal(SIGMOID, BITS), ["sigmoid_focal", "the sigmoid itself"]),
    "sigmoid before a margin": (lambda: lossary.logistic_margin(SIGMOID, 2 * BITS - 1), ["for -1 not below 0.6931"]),
    "sigmoid before many labels": (
        lambda: lossary.multilabel_soft_margin(SIGMOID.reshape(100, 10), BITS.reshape(100, 10)),
        ["multilabel_soft_margin: pred", "the sigmoid itself"],
    ),
    "labels and probabilities swapped": (
        lambda: lossary.binary_cross_entropy(BITS, SIGMOID),
        ["only 0 and 1", "look swapped", "The order is probs, target"],
    ),
    "rates for log-rates": (
        lambda: lossary.poisson_nll(RATE, RNG.poisson(RATE)),
        ["log_rate", "look like rates", "Pass log(rate)"],
    ),
    "deviations for variances": (
        lambda: lossary.gaussian_nll(MEAN, MEAN + VAR * RNG.normal(size=2000), VAR),
        ["var", "standard deviations", "Pass their square"],
    ),
    "collapsed triplets": (lambda: lossary.triplet_margin(SAME, SAME, SAME), ["every distance is 0", "collapsed"]),
    "collapsed batch": (lambda: lossary.batch_hard_triplet(SAME, np.arange(8) % 2), ["collapsed"]),
    "anchors without positives": (
        lambda: lossary.supcon(Z[:8], np.arange(8)),
        ["supcon: labels", "no anchor has a positive", "two views"],
    ),
}

FINE: dict[str, Callable[[], Any]] = {
    "logits": lambda: lossary.softmax_cross_entropy(Z, Y),
    "log-probabilities for logits": lambda: lossary.softmax_cross_entropy(np.log(P), Y),
    "logits all alike": lambda: lossary.softmax_cross_entropy(np.full((64, 10), 0.1), Y),
    "one-hot logits": lambda: lossary.softmax_cross_entropy(np.eye(10)[Y], Y),
    "three typed rows": lambda: lossary.softmax_cross_entropy([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]], [0, 1, 1]),
    "logits in (0, 1) at first": lambda: lossary.binary_cross_entropy_with_logits(RNG.normal(0.5, 0.1, 1000), BITS),
    "even logits in (0, 1)": lambda: lossary.binary_cross_entropy_with_logits(RNG.random(1000), BITS),
    "zero logits": lambda: lossary.binary_cross_entropy_with_logits(np.zeros(1000), BITS),
    "true log-rates": lambda: lossary.poisson_nll(np.log(RATE), RNG.poisson(RATE)),
    "true variances": lambda: lossary.gaussian_nll(MEAN, MEAN + np.sqrt(VAR) * RNG.normal(size=2000), VAR),
    "one-hot integer labels": lambda: lossary.softmax_cross_entropy(Z, np.eye(10, dtype=int)[Y]),
    "float labels": lambda: lossary.softmax_cross_entropy(Z, Y.astype(float)),
    "small labels": lambda: lossary.softmax_cross_entropy(Z, Y.astype(np.int8)),
    "integer targets": lambda: lossary.binary_cross_entropy_with_logits(Z[:, 0], (Y > 4).astype(int)),
    "unsigned integers": lambda: lossary.absolute_error(np.uint8([1, 3]), np.uint8([3, 1])),
}


def _told(call: Callable[[], Any]) -> list[str]:
    forget_call_sites()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(w.message) for w in caught if issubclass(w.category, lossary.LossMisuseWarning)]


@pytest.mark.parametrize("case", WARNED, ids=lambda case: case.replace(" ", "-"))
def test_suspicious_calls_are_warned_of(case: str) -> None:
    call, fragments = WARNED[case]
    told = _told(call)
    assert len(told) == 1
    for fragment in fragments:
        assert fragment in told[0], told[0]


@pytest.mark.parametrize("case", FINE, ids=lambda case: case.replace(" ", "-"))
def test_what_is_meant_is_not_warned_of(case: str) -> None:
    assert _told(FINE[case]) == []


def test_the_floor_that_is_told_is_the_floor() -> None:
    """One class has all the probability: the least that cross-entropy can be, if that is taken for logits."""
    for classes in (5, 10, 100, 1000):
        certain = np.eye(classes)[Y % 5]
        with lossary.checks("off"):
            floor = lossary.softmax_cross_entropy(certain, Y % 5)[0]
        logits = np.random.default_rng(0).normal(size=(64, classes))
        probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        (told,) = _told(lambda probs=probs: lossary.softmax_cross_entropy(probs, Y % 5))
        assert f"cannot fall below {floor:.3f} for {classes} classes" in told


# --- refusals that say more -----------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "swapped logits": (
        lambda: lossary.binary_cross_entropy_with_logits([1.0, 0.0, 1.0], [0.3, -2.0, 0.5]),
        ["target: got -2 at index 1", "logits and target look swapped"],
    ),
    "swapped divergence": (
        lambda: lossary.kl_divergence(P, np.log(P)),
        ["swapped: the order is log_probs, target"],
    ),
    "swapped counts": (lambda: lossary.poisson_nll([1, 2, 3], [0.2, 0.3, 1.5]), ["log_rate and target look swapped"]),
    "log-variances": (lambda: lossary.gaussian_nll([0.0], [1.0], [-1.0]), ["var: got -1", "pass their exponential"]),
    "log-rates": (lambda: lossary.poisson_nll_rate([-1.0], [2]), ["log-rates, use poisson_nll"]),
    "scores for distances": (lambda: lossary.hinge_embedding([-1.0], [1]), ["look like scores"]),
    "a list for many-hot": (lambda: lossary.multilabel_margin(Z[:1, :4], [[3, 0, -1, -1]]), ["lists of class indices"]),
    "a batch as one row": (lambda: lossary.softmax_cross_entropy(Z[:, 0], BITS[:64]), ["One dimension is one example"]),
    "one-hot for labels": (lambda: lossary.nll(np.log(P), np.eye(10)[Y]), ["target.argmax(-1)"]),
    "labels 0 and 1": (lambda: lossary.hinge([0.5], [0]), ['labels="01"']),
    "blank in a target": (lambda: lossary.ctc(Z.reshape(2, 32, 10), [[1, 2, 0], [1, 2, 3]]), ["blank"]),
    "too few frames": (lambda: lossary.ctc(Z[None, :4], [[1, 1, 1]]), ["frames"]),
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.replace(" ", "-"))
def test_refusals_say_what_to_do(case: str) -> None:
    call, fragments = REFUSED[case]
    with pytest.raises(ValueError) as refusal:
        call()
    for fragment in fragments:
        assert fragment in str(refusal.value)


def test_an_unnormalised_row_of_a_large_array_is_found_where_it_is() -> None:
    many = np.tile(P, (200, 1))
    many[:] *= 2
    with pytest.raises(DomainError, match="row 0 is"):
        lossary.softmax_cross_entropy(np.zeros_like(many), many)
    one = np.tile(P, (200, 1))
    one[7_777] *= 2
    lossary.softmax_cross_entropy(np.zeros_like(one), one)  # a large array is sampled
    with lossary.checks("full"), pytest.raises(DomainError, match="row 7777 is"):
        lossary.softmax_cross_entropy(np.zeros_like(one), one)


def test_labels_of_0_and_1_are_converted() -> None:
    scores, signs = Z[:, 0], 2.0 * (Y > 4) - 1
    for kind in (float, int, bool, np.uint8):
        bits = (Y > 4).astype(kind)
        np.testing.assert_array_equal(lossary.hinge(scores, bits, labels="01"), lossary.hinge(scores, signs))
    assert lossary.hinge(np.float32(scores), (Y > 4), labels="01").dtype == np.float32
    np.testing.assert_array_equal(
        lossary.hinge.value_and_grad(scores, signs > 0, labels="01")[1], lossary.hinge.grad(scores, signs)
    )
    with pytest.raises(DomainError):
        lossary.hinge([0.5, 0.5], [0, 2], labels="01")
    with pytest.raises(ParameterError, match='"01"'):
        lossary.hinge([0.5], [1], labels="10")


# --- once for each place, and as filters say ------------------------------------------------------------------------


def test_a_place_is_told_once_and_another_again() -> None:
    forget_call_sites()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(5):
            lossary.softmax_cross_entropy(P, Y)
        lossary.softmax_cross_entropy(P, Y)
    assert len(caught) == 2
    assert all(w.filename == __file__ for w in caught)


def test_filters_decide() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lossary.LossMisuseWarning)
        lossary.softmax_cross_entropy(P, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", lossary.LossMisuseWarning)
        for _ in range(2):
            with pytest.raises(lossary.LossMisuseWarning):
                lossary.softmax_cross_entropy(P, Y)


def test_training_that_never_leaves_the_unit_interval_is_told_in_time() -> None:
    forget_call_sites()
    rng = np.random.default_rng(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(60):  # decided more and more, but none certain yet
            p = np.clip(
                0.5 + (0.05 + 0.003 * step) * np.sign(rng.normal(size=200)) + 0.02 * rng.normal(size=200), 0.1, 0.9
            )
            with lossary.checks("full"):  # or some of the steps are not inspected
                lossary.binary_cross_entropy_with_logits(p, (p > 0.5) * 1.0)
    assert caught


def test_a_place_that_is_fine_is_left_alone_soon() -> None:
    """What goes wrong at such a place later is found later, but it is found."""
    for fine, soonest, latest in ((0, 0, 0), (7, 0, 0), (400, 2, 400)):
        forget_call_sites()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for call in range(2 * fine + 1):
                lossary.softmax_cross_entropy(Z if call < fine else P, Y)
                if caught:
                    break
        assert fine + soonest <= call <= fine + latest and len(caught) == 1


# --- the setting ----------------------------------------------------------------------------------------------------


def test_the_setting_is_a_function_and_a_context() -> None:
    before = settings.level()
    with lossary.checks("off"):
        assert settings.level() == "off"
        assert _told(lambda: lossary.softmax_cross_entropy(P, Y)) == []
        lossary.binary_cross_entropy_with_logits([0.0], [2.0])
        with lossary.checks("full"):
            assert settings.level() == "full"
        assert settings.level() == "off"
    assert settings.level() == before
    held = lossary.checks("shapes")
    assert settings.level() == "shapes"
    assert repr(held) == "checks('shapes')"
    lossary.checks(before)
    with pytest.raises(ParameterError, match="did you mean sampled"):
        lossary.checks("sample")  # type: ignore[arg-type]
    with lossary.checks("off"), pytest.raises(lossary.errors.ShapeError):
        lossary.squared_error(np.zeros((3, 1)), np.zeros(3))


def test_threads_and_tasks_have_their_own() -> None:
    found: list[str] = []
    with lossary.checks("off"):
        thread = threading.Thread(target=lambda: found.append(settings.level()))
        thread.start()
        thread.join()
    assert found == ["sampled"]

    async def one(level: Any) -> str:
        with lossary.checks(level):
            await asyncio.sleep(0.001)
            return settings.level()

    async def both() -> list[str]:
        return await asyncio.gather(one("off"), one("full"))

    assert asyncio.run(both()) == ["off", "full"]


def test_the_environment_sets_it() -> None:
    def said(level: str) -> subprocess.CompletedProcess[str]:
        code = "from lossary import settings; print(settings.level())"
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "LOSSARY_CHECKS": level},
            capture_output=True,
            text=True,
            check=True,
        )

    assert said("full").stdout.strip() == "full"
    wrong = said("loud")
    assert wrong.stdout.strip() == "sampled"
    assert "LOSSARY_CHECKS: got 'loud'" in wrong.stderr


# --- no false alarms ------------------------------------------------------------------------------------------------

DRAWS = int(os.environ.get("LOSSARY_DRAWS", "300"))


def _any_scores(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Scores as networks, tests and tutorials have them, those that happen to lie in (0, 1) among them."""
    kind = rng.integers(9)
    if kind == 0:
        return rng.random(shape)
    if kind == 1:
        return rng.random(shape).round(int(rng.integers(1, 4)))
    if kind == 2:
        return rng.normal(0.5, rng.uniform(0.01, 0.3), shape)
    if kind == 3:
        return np.full(shape, rng.choice([0.0, 0.5, 1.0, 1 / shape[-1] if shape else 1.0]))
    if kind == 4:
        return np.maximum(rng.normal(0, rng.uniform(0.1, 2), shape), 0)
    if kind == 5:
        low, high = np.sort(rng.random(2))
        return rng.uniform(low, high, shape)
    if kind == 6 and len(shape) > 1:
        return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
    if kind == 7 and len(shape) > 1:  # every row the same: the first step of a network without its inputs
        return np.broadcast_to(rng.dirichlet(np.ones(shape[-1])), shape)
    return rng.normal(0, 10 ** rng.uniform(-3, 1.3), shape)


@pytest.mark.parametrize("name", lossary.names())
def test_false_alarms_do_not_happen(name: str) -> None:
    loss = lossary.get(name)
    rng = np.random.default_rng([11, *name.encode()])
    with kernels("off"):  # in so many shapes and types that many would be compiled
        for _ in range(DRAWS // 20 if loss.optional else DRAWS):  # recursions over time take long
            arrays = _legitimate(loss, rng)
            told = _told(lambda arrays=arrays: _inspected(loss, arrays, "full" if rng.random() < 0.5 else "sampled"))
            assert not told, f"{told[0]}\n{arrays}"


def _inspected(loss: Any, arrays: Any, level: Any) -> None:
    with lossary.checks(level), contextlib.suppress(DomainError):  # some numbers leave a domain as they are rounded
        loss(*arrays)


def _legitimate(loss: Any, rng: np.random.Generator) -> Any:
    """Arrays as somebody may well pass them to a loss, among them those that look strange."""
    alternative = 0 if loss.coupling else int(rng.integers(len(loss.signatures)))
    wide = not loss.coupling and loss.signatures[alternative].rank == 0
    batch = int(10 ** rng.uniform(0, 3.4 if wide else 1.6))
    sizes = {"c": int(rng.integers(2, 30)), "d": int(rng.integers(1, 16))}
    arrays = random_arrays(loss, rng, batch=batch, sizes=sizes, alternative=alternative)
    if loss.input in ("logit", "embedding", "log-rate") and rng.random() < 0.8:
        arrays[0] = _any_scores(rng, np.shape(arrays[0]))
    if loss.input == "embedding":
        arrays[0] = np.asarray(arrays[0]) + 0.05 * rng.normal(size=np.shape(arrays[0]))
    if loss.coupling:
        arrays[-1] = np.arange(len(arrays[-1])) % max(len(arrays[-1]) // 2, 1)
    if loss.name == "gaussian_nll" and rng.random() < 0.5:  # calibrated, as at the end of a training
        arrays[1] = arrays[0] + np.sqrt(arrays[2]) * rng.normal(size=batch)
    if rng.random() < 0.2:
        arrays[0] = np.asarray(arrays[0], np.float16)
    return arrays
