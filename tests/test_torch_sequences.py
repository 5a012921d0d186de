"""Losses with lengths under the compiler: one operation for any number of steps, with weights, masks and lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss

torch = pytest.importorskip("torch")

ALL = [lossary.get(name) for name in lossary.names() if lossary.get(name).optional]
every_loss = pytest.mark.parametrize("loss", ALL, ids=lambda loss: loss.name)


def tensors(loss: Loss, batch: int = 5, steps: int = 12) -> list[Any]:
    """A batch of sequences, all long enough, with something absurd beyond the lengths."""
    rng = np.random.default_rng(0)
    sizes = {"t": steps, "s": 3, "c": 4}
    made = []
    for name, core in zip(loss.arguments, loss.signatures[0].inputs, strict=True):
        allowed = loss.domain(name)
        shape = tuple(sizes[d.removesuffix("+1")] + d.endswith("+1") for d in core)
        if allowed.kind == "index":
            made.append(torch.tensor(rng.integers(1, 4, (batch, *shape))))
        elif allowed.kind == "length":
            made.append(
                torch.tensor(rng.integers(2 if allowed.dimension == "s" else 7, sizes[allowed.dimension] + 1, batch))
            )
        else:
            lead = () if core == ("c", "c") else (batch,)
            made.append(torch.tensor(rng.standard_normal((*lead, *shape))))
    return made


@every_loss
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_a_compiled_call_gives_the_same_values_and_gradients(loss: Loss, reduction: Any) -> None:
    arrays = tensors(loss)
    places = [loss.arguments.index(name) for name in loss.wrt]
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5, 1.0], dtype=torch.float64)
    arrays[0][1] = torch.nan  # has weight 0
    moving = [arrays[p].clone().requires_grad_() for p in places]

    def of(*given: Any) -> Any:
        full = list(arrays)
        for place, x in zip(places, given, strict=True):
            full[place] = x
        value = loss.value(*full, weight=weight, reduction=reduction)
        return (value * torch.tensor([1.0, 1.0, -1.0, 1.0, 1.0])).sum() if reduction == "none" else value

    torch._dynamo.reset()
    value = torch.compile(of, fullgraph=True, backend="aot_eager")(*moving)
    expected = of(*moving)
    torch.testing.assert_close(value, expected)
    grads, wanted = torch.autograd.grad(value, moving), torch.autograd.grad(expected, moving)
    for grad, reference in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad, reference)
    assert (grads[0][1] == 0).all()


@every_loss
def test_the_graph_holds_one_operation_however_many_steps_there_are(loss: Loss) -> None:
    def size(steps: int) -> int:
        arrays, counted = tensors(loss, steps=steps), []

        def count(graph: Any, _: Any) -> Any:
            counted.append(len(list(graph.graph.nodes)))
            return graph.forward

        torch._dynamo.reset()
        torch.compile(lambda *x: loss.value(*x, reduction="mean"), fullgraph=True, backend=count)(*arrays)
        return int(counted[0])

    assert size(12) == size(40) < 60


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_narrow_types(loss: Loss, dtype: Any) -> None:
    arrays = [x.to(dtype) if x.is_floating_point() else x for x in tensors(loss)]
    arrays[0].requires_grad_()
    torch._dynamo.reset()
    value = torch.compile(loss, fullgraph=True, backend="aot_eager")(*arrays)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(*arrays))
    (grad,) = torch.autograd.grad(value.sum(), arrays[0])
    assert grad.dtype == dtype
    torch.testing.assert_close(grad, torch.autograd.grad(loss(*arrays).sum(), arrays[0])[0])


def test_learned_scores_of_the_ends_are_differentiated_under_the_compiler_too() -> None:
    emissions, transitions, tags, lengths = tensors(lossary.linear_chain_crf, steps=7)
    start = torch.zeros(4, dtype=torch.float64, requires_grad=True)

    def of(scores: Any) -> Any:
        return lossary.linear_chain_crf(emissions, transitions, tags, lengths, start=scores).sum()

    torch._dynamo.reset()
    (grad,) = torch.autograd.grad(torch.compile(of, fullgraph=True, backend="aot_eager")(start), start)
    torch.testing.assert_close(grad, torch.autograd.grad(of(start), start)[0])
