"""What a caller gives reaches the loss as it is: Python numbers unrounded, masks not lost, NaN not hidden."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss, get, names
from lossary.errors import ArgumentError
from lossary.preference import group_advantages
from lossary.testing import random_arrays

LOSSES = [get(name) for name in names()]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)

# --- Python numbers --------------------------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("number", [0.1, np.float64(0.1)], ids=["float", "np.float64"])
def test_numbers_beside_float64_tensors_keep_their_precision(loss: Loss, number: Any) -> None:
    torch = pytest.importorskip("torch")
    arrays = random_arrays(loss, np.random.default_rng(1), batch=3)
    tensors = [None if x is None else torch.as_tensor(x) for x in arrays]
    for options in ({"reduction": "sum", "weight": number}, {"reduction": "mean", "denominator": number}):
        expected = loss.value(*arrays, **options)
        found = loss.value(*tensors, **options)
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("number", [0.1, np.float64(0.1)], ids=["float", "np.float64"])
def test_numbers_beside_float64_tensors_keep_their_precision_elsewhere(number: Any) -> None:
    torch = pytest.importorskip("torch")
    ones, double = torch.ones(3, dtype=torch.float64), {"dtype": torch.float64}
    assert [x.item() for x in lossary.total(ones, weight=number)] == pytest.approx([0.3, 0.3], rel=1e-15)
    assert lossary.mean(ones, denominator=number).item() == pytest.approx(30, rel=1e-15)
    # An argument, beside float32 and float64; parameters; class weights; the sample weight of a head.
    mixed = lossary.gaussian_nll(torch.zeros((), dtype=torch.float32), number, torch.ones((), **double))
    assert mixed.item() == lossary.gaussian_nll(0.0, 0.1, 1.0)
    assert lossary.huber(5 * ones, 0 * ones, delta=number)[0].item() == lossary.huber([5.0], [0.0], delta=0.1)[0]
    z, y = torch.zeros(1, 2, **double), torch.tensor([1])
    weighed = lossary.softmax_cross_entropy(z, y, class_weight=[0.3, number]).item()
    assert weighed == pytest.approx(0.1 * np.log(2), rel=1e-15)
    head = lossary.linear(
        lossary.softmax_cross_entropy, z, torch.eye(2, **double), y, sample_weight=number, reduction="sum"
    )
    assert head.item() == pytest.approx(0.1 * np.log(2), rel=1e-15)


def test_a_mean_has_the_type_of_its_values() -> None:
    values = np.ones(3, np.float32)
    for options in ({"weight": values}, {"mask": [1, 0, 1]}, {"denominator": np.float64(3)}):
        assert lossary.mean(values, **options).dtype == np.float32
        assert lossary.huber.value(values, values, reduction="mean", **options).dtype == np.float32
    torch = pytest.importorskip("torch")
    wide = torch.tensor(7.25, dtype=torch.float64)
    assert lossary.mean(torch.ones(3), denominator=wide).dtype == torch.float32


# --- masked arrays, and other things that are no numbers -------------------------------------------------------------

MASKED = np.ma.array([0.5, 0.25, 0.25], mask=[False, True, False])
PLAIN = MASKED.filled(0.5)

TAKERS: dict[str, Callable[[], Any]] = {
    "call": lambda: lossary.huber(MASKED, PLAIN),
    "target": lambda: lossary.huber(PLAIN, MASKED),
    "list of masked rows": lambda: lossary.huber([MASKED], [PLAIN]),
    "masked constant": lambda: lossary.huber([0.5, np.ma.masked], [0.0, 0.0]),
    "value": lambda: lossary.huber.value(MASKED, PLAIN, reduction="mean"),
    "value_and_grad": lambda: lossary.huber.value_and_grad(MASKED, PLAIN),
    "hess": lambda: lossary.huber.hess(MASKED, PLAIN),
    "weight": lambda: lossary.huber.value(PLAIN, PLAIN, weight=MASKED, reduction="mean"),
    "parameter": lambda: lossary.softmax_cross_entropy([PLAIN], [0], class_weight=MASKED),
    "mean": lambda: lossary.mean(MASKED),
    "weight of a mean": lambda: lossary.mean(PLAIN, weight=MASKED),
    "total": lambda: lossary.total(MASKED),
    "linear": lambda: lossary.linear(lossary.softmax_cross_entropy, [MASKED], [PLAIN, PLAIN], [0]),
    "linear_value_and_grad": lambda: lossary.linear_value_and_grad(
        lossary.softmax_cross_entropy, [PLAIN], [MASKED, PLAIN], [0]
    ),
    "class_weights": lambda: lossary.class_weights(np.ma.array([3, 4], mask=[True, False])),
    "explain": lambda: lossary.explain(lossary.huber, MASKED, PLAIN),
    "diagnose": lambda: lossary.diagnose(lossary.huber, MASKED, PLAIN),
    "check_grad": lambda: lossary.check_grad(lossary.huber, MASKED, PLAIN),
    "group_advantages": lambda: group_advantages(MASKED, [0, 0, 0]),
    "padded sequences": lambda: lossary.padded_sequence_cross_entropy(
        [[PLAIN, PLAIN]], np.ma.array([[0, 1]], mask=[[True, False]]), lengths=[2]
    ),
}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.filterwarnings("ignore:Warning. converting a masked element:UserWarning")
def test_a_masked_array_does_not_lose_its_mask(taker: str) -> None:
    with pytest.raises(ArgumentError, match=r"got a masked array, whose mask would be lost; .*mask=~"):
        TAKERS[taker]()


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_a_masked_array_that_masks_nothing_is_its_numbers() -> None:
    whole = np.ma.array([0.5, 0.25], mask=[False, False])
    assert lossary.huber(whole, [0.0, 0.0]).tolist() == [0.125, 0.03125]
    assert type(lossary.huber(np.ma.array([0.5]), [0.0])) is np.ndarray
    assert lossary.huber(np.matrix([[0.5]]), np.matrix([[0.0]])).tolist() == [[0.125]]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (np.array([1.0, None]), "entries are missing: fill them"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "got data of type datetime64"),
        (np.array([1], dtype="timedelta64[s]"), "got data of type timedelta64"),
        (np.zeros(2, dtype=[("a", float)]), "got data of type"),
        (["a", "b"], "got data of type"),
    ],
)
def test_what_is_no_number_is_told(given: Any, sentence: str) -> None:
    with pytest.raises(ArgumentError, match=sentence):
        lossary.huber(given, [0.0] * len(given))
    with pytest.raises(ArgumentError, match=sentence):
        lossary.mean(given)


# --- NaN -------------------------------------------------------------------------------------------------------------

# What an entry may be besides NaN: if the gradient in it is the same at all of them, the loss is linear in it.
ELSEWHERE = (0.3, 0.6, -2.0, 40.0, -40.0)


def gradients_at(loss: Loss, arrays: list[Any], at: int, place: tuple[int, ...], number: float) -> tuple[Any, Any]:
    """The value of the first example and the gradient in one entry, where that entry is a number."""
    given = [None if x is None else np.array(x, copy=True) for x in arrays]
    given[at][place] = number
    value, grads = loss.value_and_grad(*given, check=False)
    grads = grads if isinstance(grads, tuple) else (grads,)
    return np.ravel(value)[0], grads[loss.wrt.index(loss.arguments[at])][place]


@every_loss
def test_a_prediction_that_is_nan_has_a_gradient_that_is_nan(loss: Loss) -> None:
    """Where the value is NaN, and the gradient depends on the entry at all."""
    for seed, alternative in ((s, a) for s in range(3) for a in range(1 if loss.coupling else len(loss.signatures))):
        arrays = random_arrays(loss, np.random.default_rng(seed), batch=6, alternative=alternative)
        for name in loss.wrt:
            at = loss.arguments.index(name)
            place = (0,) * arrays[at].ndim
            value, gradient = gradients_at(loss, arrays, at, place, np.nan)
            if not np.isnan(value) or np.isnan(gradient):
                continue
            others = {float(gradients_at(loss, arrays, at, place, number)[1]) for number in ELSEWHERE}
            assert others == {float(gradient)}, f"{name}: {gradient} at NaN"


@pytest.mark.parametrize("name", ["hinge", "perceptron", "smoothed_hinge", "multi_margin", "ppo_clip", "dpo_hinge"])
def test_the_same_whoever_computes(name: str) -> None:
    """Small and large, with kernels and without, on arrays and on tensors."""
    code = """
import sys
import numpy as np, torch, lossary
from lossary.testing import random_arrays
loss = lossary.get(sys.argv[1])
for batch in (4, 30_000):
    arrays = random_arrays(loss, np.random.default_rng(0), batch=4)
    arrays = [np.concatenate([x] * (batch // 4)) for x in arrays]
    if sys.argv[1] in ("hinge", "perceptron"):
        arrays[1] = arrays[1].astype(float)
    arrays[0][(0,) * arrays[0].ndim] = np.nan
    grads = loss.grad(*arrays, check=False)
    grads = grads if isinstance(grads, tuple) else (grads,)
    x = torch.tensor(arrays[0], requires_grad=True)
    for how in ("none", "sum"):
        loss.value(x, *map(torch.as_tensor, arrays[1:]), check=False, reduction=how).sum().backward()
        print(bool(np.isnan(grads[0].flat[0])), bool(x.grad.flatten()[0].isnan()))
"""
    pytest.importorskip("torch")
    for kernels in ("off", ""):
        environment = {**os.environ, "LOSSARY_KERNELS": kernels}
        run = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, name],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.stdout.split() == ["True"] * 8, run.stderr[-1500:]


def _nan_inputs() -> dict[str, tuple[Any, ...]]:
    torch = pytest.importorskip("torch")
    x, y = torch.tensor([[0.25, float("nan"), 0.5]]), torch.tensor([[0.5, 0.5, 1.0]])
    pairs = ("l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss", "soft_margin_loss", "hinge_embedding_loss")
    pairs += ("binary_cross_entropy_with_logits", "poisson_nll_loss", "multilabel_soft_margin_loss", "kl_div")
    found = dict.fromkeys(pairs, (x, y))
    found["hinge_embedding_loss"] = (x, -torch.ones(1, 3))
    found |= {name: (x, torch.tensor([0])) for name in ("cross_entropy", "nll_loss", "multi_margin_loss")}
    found["multilabel_margin_loss"] = (x, torch.tensor([[0, -1, -1]]))
    found["gaussian_nll_loss"] = (x, y, torch.ones(1, 3))
    found["margin_ranking_loss"] = (x, y, torch.ones(1, 3))
    found["cosine_embedding_loss"] = (x, y, torch.ones(1))
    found["triplet_margin_loss"] = (x, y, torch.zeros(1, 3))
    return found


@pytest.mark.filterwarnings("ignore")
def test_drop_ins_have_nan_where_torch_has() -> None:
    torch = pytest.importorskip("torch")
    from lossary.nn import functional

    for name, (x, *others) in _nan_inputs().items():
        found = []
        for module in (torch.nn.functional, functional):
            leaf = x.clone().requires_grad_()
            (grad,) = torch.autograd.grad(getattr(module, name)(leaf, *others), leaf)
            found.append(grad.isnan())
        assert (found[1] >= found[0]).all(), f"{name}: {found}"
