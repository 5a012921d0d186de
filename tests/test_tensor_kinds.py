"""Tensors without ordinary memory: every entry point computes or refuses them in words, and no process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import lossary  # noqa: E402
from lossary import nn  # noqa: E402
from lossary.nn import functional as F  # noqa: E402, N812

# torch warns that several of these kinds are prototypes, and of shapes that do not broadcast.
pytestmark = pytest.mark.filterwarnings("ignore")


def dense(*shape: int) -> Any:
    return torch.rand(shape) + 0.1


def freed(x: Any) -> Any:
    x.untyped_storage().resize_(0)
    return x


# What no operation of a loss can read, made of a shape, and a word of the sentence that refuses it.
UNREADABLE: dict[str, tuple[Callable[..., Any], str]] = {
    "nested": (lambda *shape: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested"),
    "jagged": (
        lambda *shape: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        "nested",
    ),
    "sparse": (lambda *shape: dense(*shape).to_sparse(), "sparse_coo"),
    "csr": (lambda *shape: dense(*(shape if len(shape) == 2 else (1, *shape))).to_sparse_csr(), "sparse_csr"),
    "mkldnn": (lambda *shape: dense(*shape).to_mkldnn(), "mkldnn"),
    "quantized": (
        lambda *shape: torch.quantize_per_tensor(dense(*shape), 0.1, 0, torch.quint8),
        "quantized",
    ),
    "freed": (lambda *shape: freed(dense(*shape)), "freed"),
    "freed behind a view": (lambda *shape: view_of_freed(shape), "freed"),
    "freed parameter": (lambda *shape: freed(torch.nn.Parameter(dense(*shape))), "freed"),
}


def view_of_freed(shape: tuple[int, ...]) -> Any:
    base = dense(7, *shape)
    view = base[3]
    freed(base)
    return view


# What has no memory of its own and can be computed all the same: how to make one, and what it stands for.
READABLE: dict[str, Callable[[Any], Any]] = {
    "zeros without memory": lambda x: torch._efficientzerotensor(x.shape),
    "negative bit": lambda x: torch._neg_view(-x),
    "imaginary part of a conjugate": lambda x: torch.complex(torch.zeros_like(x), -x).conj().imag,
    "functional": torch._to_functional_tensor,
}

Z, LABELS = torch.full((4, 5), 0.3), torch.tensor([0, 1, 2, 4])

ENTRIES: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "call": (lambda x: lossary.huber(x, torch.zeros(6)), (6,)),
    "target": (lambda x: lossary.huber(torch.zeros(6), x), (6,)),
    "value": (lambda x: lossary.huber.value(x, torch.zeros(6), reduction="mean"), (6,)),
    "gradient": (lambda x: lossary.huber.value_and_grad(x, torch.zeros(6))[1], (6,)),
    "rows": (lambda x: lossary.softmax_cross_entropy(x, LABELS), (4, 5)),
    "parameter": (lambda x: lossary.softmax_cross_entropy(Z, LABELS, class_weight=x), (5,)),
    "function": (lambda x: F.huber_loss(x, torch.zeros(6)), (6,)),
    "function under weights": (lambda x: F.huber_loss(x, torch.zeros(6), weight=torch.ones(6)), (6,)),
    "function of rows": (lambda x: F.cross_entropy(x, LABELS), (4, 5)),
    "class weights": (lambda x: F.cross_entropy(Z, LABELS, weight=x), (5,)),
    "probabilities": (lambda x: F.binary_cross_entropy(x, torch.zeros(6)), (6,)),
    "module": (lambda x: nn.MSELoss()(x, torch.zeros(6)), (6,)),
    "head": (lambda x: lossary.linear(lossary.softmax_cross_entropy, x, torch.ones(7, 5), LABELS), (4, 5)),
    "head function": (lambda x: F.linear_cross_entropy(x, torch.ones(7, 5), LABELS), (4, 5)),
    "mean": (lambda x: lossary.mean(x), (6,)),
    "weight of a mean": (lambda x: lossary.mean(torch.ones(6), weight=x), (6,)),
    "many numbers": (lambda x: F.mse_loss(x, torch.zeros(300, 300)), (300, 300)),
    "sequences": (
        lambda x: F.ctc_loss(x, torch.ones(2, 2, dtype=torch.long), torch.tensor([5, 5]), torch.tensor([2, 2])),
        (5, 2, 4),
    ),
}
every_entry = pytest.mark.parametrize("entry", ENTRIES)


@every_entry
@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_tensor_that_cannot_be_read_is_refused_in_words_before_and_after_ordinary_calls(
    entry: str, kind: str
) -> None:
    call, shape = ENTRIES[entry]
    make, word = UNREADABLE[kind]
    for _ in range(2):
        with pytest.raises(lossary.errors.TensorKindError, match=word) as refusal:
            call(make(*shape))
        assert "expected a dense tensor" in str(refusal.value)
        call(dense(*shape).clamp(max=1))  # of the same kind but for that: what is remembered of it must not serve


@every_entry
@pytest.mark.parametrize("kind", READABLE)
def test_a_tensor_without_memory_of_its_own_has_the_value_of_its_copy(entry: str, kind: str) -> None:
    call, shape = ENTRIES[entry]
    plain = dense(*shape).clamp(max=1)
    given = READABLE[kind](plain)
    expected = call(torch.zeros(shape) if kind.startswith("zeros") else plain)
    found = call(given)
    found = torch._from_functional_tensor(found) if torch._is_functional_tensor(found) else found
    torch.testing.assert_close(found, expected, equal_nan=True)


def test_penalties_refuse_a_parameter_that_is_elsewhere() -> None:
    layer = torch.nn.Linear(3, 2)
    penalty = nn.L2Penalty(0.1)
    penalty(layer)
    freed(layer.weight.data)
    with pytest.raises(lossary.errors.TensorKindError, match="weights: got a tensor whose storage has been freed"):
        penalty(layer)


def test_tensors_on_two_devices_are_told_apart_and_a_meta_tensor_has_a_shape() -> None:
    meta = torch.empty(6, device="meta")
    with pytest.raises(lossary.errors.ArgumentError, match="target: is on cpu, but the arrays before it on meta"):
        lossary.huber(meta, torch.zeros(6))
    assert lossary.huber.value(meta, meta, reduction="mean").device.type == "meta"
    assert (
        F.cross_entropy(torch.empty(4, 5, device="meta"), torch.empty(4, dtype=torch.long, device="meta")).shape == ()
    )


class Logged(torch.Tensor):  # type: ignore[misc]
    """A tensor that notes every function it meets."""

    met: list[str] = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.met.append(getattr(func, "__name__", str(func)))
        return super().__torch_function__(func, types, args, kwargs or {})


def test_a_subclass_sees_the_drop_in_by_name_as_it_sees_torchs() -> None:
    plain = dense(6)
    for module in (torch.nn.functional, F):
        Logged.met.clear()
        F.huber_loss(plain, torch.zeros(6))
        found = module.huber_loss(plain.as_subclass(Logged), torch.zeros(6))
        assert "huber_loss" in Logged.met
        assert isinstance(found, Logged)
        module.huber_loss(plain, torch.zeros(6), weight=torch.ones(6).as_subclass(Logged))
        assert Logged.met.count("huber_loss") >= 2


def test_a_subclass_is_not_passed_by_in_a_call_of_the_catalogue() -> None:
    plain = dense(6)
    lossary.huber(plain, torch.zeros(6))
    Logged.met.clear()
    found = lossary.huber(plain.as_subclass(Logged), torch.zeros(6))
    assert Logged.met
    torch.testing.assert_close(found.as_subclass(torch.Tensor), lossary.huber(plain, torch.zeros(6)))


def test_without_kernels_no_process_ends_either() -> None:
    code = """
import torch, lossary
from lossary.nn import functional as F
def freed(x):
    x.untyped_storage().resize_(0)
    return x
for make in (lambda: freed(torch.ones(6)), lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])):
    for call in (lossary.huber, F.huber_loss, F.binary_cross_entropy):
        call(torch.ones(6), torch.zeros(6))
        try:
            call(make(), torch.zeros(6))
        except lossary.errors.TensorKindError:
            print("refused")
print(F.huber_loss(torch._efficientzerotensor(6), torch.zeros(6)).item())
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "LOSSARY_KERNELS": "off"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["refused"] * 6 + ["0.0"]
