"""Penalties on the parameters of a network: which ones, how much, and that weight decay is one of them."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest

from lossary.errors import ArgumentError, ParameterError

torch = pytest.importorskip("torch")

from lossary.nn.catalogue import ElasticNetPenalty, L1Penalty, L2Penalty  # noqa: E402
from lossary.nn.penalties import ParameterPenalty  # noqa: E402


class Tagger(torch.nn.Module):
    """A network with every kind of parameter that may or may not be penalised."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(5, 4)
        self.lstm = torch.nn.LSTM(4, 3)
        self.attend = torch.nn.MultiheadAttention(3, 1, add_bias_kv=True)
        self.norm = torch.nn.LayerNorm(3)
        self.block = torch.nn.Sequential(torch.nn.Conv1d(3, 3, 1), torch.nn.BatchNorm1d(3), torch.nn.RMSNorm(3))
        self.head = torch.nn.Linear(3, 5)
        self.scale = torch.nn.Parameter(torch.ones(()))


def linear() -> Any:
    layer = torch.nn.Linear(2, 1)
    layer.weight.data[:] = torch.tensor([[3.0, -1.0]])
    layer.bias.data[:] = 10.0
    return layer


def test_values_and_gradients_by_hand() -> None:
    layer = linear()
    assert L1Penalty(0.5)(layer).item() == 2.0
    assert L2Penalty(0.5)(layer).item() == 0.5 * (9 + 1) / 2
    mixed = ElasticNetPenalty(0.5, l1_ratio=0.25)(layer)
    assert mixed.item() == pytest.approx(0.5 * (0.25 * 4 + 0.75 * 5))
    mixed.backward()
    assert layer.weight.grad.tolist() == [[pytest.approx(0.5 * (0.25 + 0.75 * 3)), pytest.approx(0.5 * -1.0)]]
    assert layer.bias.grad is None
    assert ParameterPenalty(L2Penalty.loss, 0.5)(layer).item() == 2.5


def test_biases_and_normalisation_layers_are_left_out() -> None:
    assert L2Penalty(1.0).names(Tagger()) == [
        "scale",
        "embed.weight",
        "lstm.weight_ih_l0",
        "lstm.weight_hh_l0",
        "attend.in_proj_weight",
        "attend.out_proj.weight",
        "block.0.weight",
        "head.weight",
    ]


def test_names_choose() -> None:
    model = Tagger()
    assert L1Penalty(1.0, include="head.*").names(model) == ["head.weight", "head.bias"]
    assert L1Penalty(1.0, include=["head.w*", re.compile(r"block\.\d+\.bias")]).names(model) == [
        "block.0.bias",
        "block.1.bias",
        "head.weight",
    ]
    left = L1Penalty(1.0, exclude=["lstm.*", "attend.*", "scale"]).names(model)
    assert left == ["embed.weight", "block.0.weight", "head.weight"]
    assert L1Penalty(1.0, include="*.weight", exclude=re.compile("(?!head).*")).names(model) == ["head.weight"]
    with pytest.raises(
        ArgumentError, match=r"no parameter is left to penalise; the model's parameters are weight, bias"
    ):
        L1Penalty(1.0, include="nothing")(linear())
    with pytest.raises(ParameterError, match="strength: got -1, expected a finite number >= 0"):
        L1Penalty(-1)
    with pytest.raises(ParameterError, match=r"l1_ratio: got 2, expected a number in \[0, 1\]"):
        ElasticNetPenalty(1.0, l1_ratio=2.0)


def test_frozen_parameters_do_not_count_and_shared_ones_count_once() -> None:
    model = torch.nn.Sequential(linear(), linear())
    model[1] = model[0]
    assert L1Penalty(1.0)(model).item() == 4.0
    model = torch.nn.Sequential(linear(), linear())
    model[1].requires_grad_(False)
    assert L1Penalty(1.0).names(model) == ["0.weight"]


@pytest.mark.parametrize("steps", [1, 20])
def test_the_square_is_torchs_weight_decay(steps: int) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(16, 3, dtype=torch.float64), torch.randn(16, 2, dtype=torch.float64)
    ours = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    theirs = copy.deepcopy(ours)
    penalty = L2Penalty(0.1, include="*")  # weight_decay takes biases too
    runs = (
        (ours, torch.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9), penalty),
        (theirs, torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1), None),
    )
    for model, optimiser, extra in runs:
        for _ in range(steps):
            optimiser.zero_grad()
            loss = (model(x) - y).square().mean()
            (loss if extra is None else loss + extra(model)).backward()
            optimiser.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_half_precision_parameters_are_summed_in_float32() -> None:
    layer = torch.nn.Linear(4096, 1, dtype=torch.float16)
    torch.nn.init.constant_(layer.weight, 30.0)
    value = L2Penalty(1.0)(layer)
    assert value.item() == 4096 * 450.0 and value.dtype == torch.float32
    value.backward()
    assert layer.weight.grad.dtype == torch.float16


def test_it_is_a_module() -> None:
    penalty = L1Penalty(1e-3, include=["head.*", re.compile("block.*")], exclude="*.bias")
    assert repr(penalty) == "L1Penalty(0.001, include=['head.*', 'block.*'], exclude=['*.bias'])"
    assert repr(ElasticNetPenalty(1.0)) == "ElasticNetPenalty(1, l1_ratio=0.5)"
    model = Tagger()
    for twin in (copy.deepcopy(penalty), pickle.loads(pickle.dumps(penalty))):
        assert torch.equal(twin(model), penalty(model))
    torch._dynamo.reset()
    layer, squares = linear(), L2Penalty(0.5)
    compiled = torch.compile(lambda: squares(layer), fullgraph=True, backend="aot_eager")
    assert compiled().item() == 2.5
