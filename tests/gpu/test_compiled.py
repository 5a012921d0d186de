"""Kernels for GPUs compile for a real one, though none is there: types, loops and registers of every loss."""

from __future__ import annotations

import os

import numpy as np
import pytest

pytest.importorskip("triton", reason="the kernels for GPUs need Triton")
import torch

import lossary
from lossary import testing

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="Triton's interpreter compiles nothing"),
]
CASES = [
    pytest.param(loss, alternative, id=f"{loss.name}-{alternative}")
    for loss in map(lossary.get, lossary.names())
    if loss.coupling is None and not loss.optional and loss.name not in {"zero_one", "arcface"}
    for alternative, signature in enumerate(loss.signatures)
    if signature.rank < 2
]


def compiled(loss, alternative, dtype, width=7, **options):
    """Return what Triton makes of the kernel of a call."""
    known = dict.fromkeys("cnkd", width)
    arrays = testing.random_arrays(loss, np.random.default_rng(0), 3, known, alternative)
    given = [torch.tensor(np.asarray(x)) for x in arrays]
    given = [x.to(dtype) if x.is_floating_point() else x for x in given]
    with testing.kernels("always", device="cuda"), testing.compiled_for(90) as made, lossary.settings.checks("off"):
        loss.value_and_grad(*given, reduction="mean", **options)
    (kernel,) = made
    return kernel


@pytest.mark.parametrize(("loss", "alternative"), CASES)
def test_every_kernel_compiles_for_a_gpu(loss, alternative):
    made = compiled(loss, alternative, torch.bfloat16, weight=torch.ones(3))
    assert made.asm["cubin"]
    assert "atom" not in made.asm["ptx"]
    assert "red.global" not in made.asm["ptx"]


SOME = ["huber", "poisson_nll", "tweedie_deviance", "softmax_cross_entropy", "kl_divergence", "multilabel_margin"]


@pytest.mark.parametrize(("loss", "alternative"), [case for case in CASES if case.values[0].name in SOME])
def test_float64_compiles(loss, alternative):
    assert compiled(loss, alternative, torch.float64).asm["cubin"]


LOOPS = ["softmax_cross_entropy", "kl_divergence", "multiclass_hinge", "softmax_focal"]


@pytest.mark.parametrize(("loss", "alternative"), [case for case in CASES if case.values[0].name in LOOPS])
def test_loops_along_long_rows_compile(loss, alternative):
    ttir = compiled(loss, alternative, torch.float32, width=20000).asm["ttir"]
    assert "scf.for" in ttir


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy"])
def test_the_backward_pass_compiles_with_an_upstream_gradient_on_the_device(name):
    loss = lossary.get(name)
    arrays = [torch.tensor(x) for x in testing.random_arrays(loss, np.random.default_rng(0), 3)]
    first = arrays[0].float().requires_grad_()
    with testing.kernels("always", device="cuda"), testing.compiled_for(90) as made, lossary.settings.checks("off"):
        loss.value(first, arrays[1], reduction="mean").backward()
    forward, backward = made
    assert forward.asm["cubin"]
    assert backward.asm["cubin"]


def test_addresses_have_64_bits():
    for name in ("huber", "softmax_cross_entropy"):
        ttir = compiled(lossary.get(name), 0, torch.float32).asm["ttir"]
        places = [line for line in ttir.splitlines() if "tt.addptr" in line and "tensor<" in line]
        assert places
        assert all("i64" in line for line in places)


def test_products_are_not_contracted():
    assert "fma.rn" not in compiled(lossary.get("squared_error"), 0, torch.float32).asm["ptx"]


def test_half_precision_is_rounded_to_nearest():
    assert "cvt.rn.bf16" in compiled(lossary.get("huber"), 0, torch.bfloat16).asm["ptx"]


def test_on_a_cpu_a_kernel_is_not_run():
    with (
        testing.kernels("always", device="cuda"),
        pytest.raises(lossary.errors.ParameterError, match="TRITON_INTERPRET=1"),
    ):
        lossary.huber(torch.ones(3), torch.zeros(3))
