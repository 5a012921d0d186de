"""No result shares memory with an argument or with another result: whoever gets one may change it in place."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss, get, names
from lossary.testing import random_arrays

REDUCTIONS: tuple[Any, ...] = ("none", "sum", "mean")
LOSSES = [get(name) for name in names()]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)


def alternatives(loss: Loss) -> range:
    return range(1 if loss.coupling else len(loss.signatures))


def tuple_of(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def arrays_of(loss: Loss, alternative: int) -> list[Any]:
    return random_arrays(loss, np.random.default_rng(7), batch=5, alternative=alternative)


def numpy_results(loss: Loss, arrays: list[Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    weight = np.full(len(arrays[0]), 0.5)
    for how in REDUCTIONS:
        for options in ({}, {"weight": weight}, {"weight": 1.0}):
            value, grad = loss.value_and_grad(*arrays, reduction=how, **options)
            yield f"value_and_grad, {how}, {list(options)}", (value, *tuple_of(grad))
            yield f"value, {how}, {list(options)}", (loss.value(*arrays, reduction=how, **options),)
            if loss.derivatives > 1:
                yield f"hess, {how}, {list(options)}", tuple_of(loss.hess(*arrays, reduction=how, **options))
    yield "call", (loss(*arrays),)


def torch_results(loss: Loss, arrays: list[Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    import torch

    leaves = [x for name, x in zip(loss.arguments, arrays, strict=True) if name in loss.wrt]
    weight = torch.full((len(arrays[0]),), 0.5, dtype=torch.float64)
    for how in REDUCTIONS:
        for options in ({}, {"weight": weight}):
            value = loss.value(*arrays, reduction=how, **options)
            summed = value.sum() if how == "none" else value  # one is sent back as it is
            first = torch.autograd.grad(summed, leaves, retain_graph=True)
            kept = [g.clone() for g in first]
            for g in first:
                g.fill_(7.0)  # a second walk back must not see this
            second = torch.autograd.grad(summed, leaves)
            for g, again in zip(kept, second, strict=True):
                torch.testing.assert_close(g, again)
            yield f"backward, {how}, {list(options)}", (value, *first, *second)
            with torch.no_grad():
                done, grads = loss.value_and_grad(*arrays, reduction=how, **options)
            yield f"value_and_grad, {how}, {list(options)}", (done, *tuple_of(grads))
    with torch.inference_mode():
        frozen = [None if x is None else x.detach().clone() for x in arrays]
        held = tuple(x for x in frozen if x is not None)
        yield "inference mode", (loss(*frozen), *held)
        yield "inference mode, gradient", (*tuple_of(loss.value_and_grad(*frozen)[1]), *held)
    yield "second derivative", second_derivatives(loss, arrays, leaves)


def second_derivatives(loss: Loss, arrays: list[Any], leaves: list[Any]) -> tuple[Any, ...]:
    import torch

    first = torch.autograd.grad(loss.value(*arrays, reduction="sum"), leaves, create_graph=True)
    if not any(g.requires_grad for g in first):
        return ()
    total = sum(g.sum() for g in first)
    return tuple(g for g in torch.autograd.grad(total, leaves, allow_unused=True) if g is not None)


@every_loss
def test_numpy_results_are_owned_and_writable(loss: Loss) -> None:
    for alternative in alternatives(loss):
        arrays = arrays_of(loss, alternative)
        given = [x for x in arrays if isinstance(x, np.ndarray)]
        for said, results in numpy_results(loss, arrays):
            made = [x for x in results if isinstance(x, np.ndarray) and x.ndim]
            for n, x in enumerate(made):
                assert x.flags.writeable, said
                assert not any(np.shares_memory(x, other) for other in (*given, *made[:n])), said


@every_loss
def test_tensor_results_share_memory_with_nothing(loss: Loss) -> None:
    torch = pytest.importorskip("torch")
    for alternative in alternatives(loss):
        arrays = [None if x is None else torch.as_tensor(x) for x in arrays_of(loss, alternative)]
        for name, x in zip(loss.arguments, arrays, strict=True):
            if name in loss.wrt:
                x.requires_grad_()
        given = {x.untyped_storage().data_ptr() for x in arrays if x is not None and x.numel()}
        for said, results in torch_results(loss, arrays):
            storages = [x.untyped_storage().data_ptr() for x in results if x.numel()]
            assert not given & set(storages), said
            assert len(set(storages)) == len(storages), said
            for x in results:  # an expanded tensor shares memory with itself
                assert all(step or size < 2 for size, step in zip(x.shape, x.stride(), strict=True)), said


def test_the_gradient_of_a_penalty_is_not_the_parameter_whoever_computes() -> None:
    torch = pytest.importorskip("torch")
    for penalty in (lossary.l2_penalty, lossary.l1_penalty, lossary.elastic_net):
        w = torch.nn.Parameter(torch.randn(4))
        before = w.detach().clone()
        penalty.value(w, reduction="sum").backward()
        assert w.grad is not None
        torch.nn.utils.clip_grad_norm_([w], 1e-3)
        w.grad.zero_()
        torch.testing.assert_close(w.detach(), before)


def test_the_same_holds_without_kernels() -> None:
    pytest.importorskip("torch")
    environment = {**os.environ, "LOSSARY_KERNELS": "off"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        __file__,
        "-k",
        "not without_kernels",
    ]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:]
