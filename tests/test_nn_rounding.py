"""Drop-ins where a narrow type shows: costs that rounding would bring below 0, and what is widened."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

import lossary

torch = pytest.importorskip("torch")
functional, theirs = lossary.nn.functional, torch.nn.functional


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("batch", [3, 700])  # a small call, and one that several threads share
def test_a_certain_target_costs_nothing_and_not_less(batch: int, reduction: str, zero_infinity: bool) -> None:
    frames, classes = 30, 4
    logits = torch.zeros(frames, batch, classes)
    logits[:, :, 1] = 19 + torch.rand(frames, batch, generator=torch.Generator().manual_seed(0))
    log_probs = logits.log_softmax(-1).requires_grad_()
    targets, lengths = torch.ones(batch, 2, dtype=torch.long), torch.full((batch,), frames)
    call = (targets, lengths, torch.ones(batch, dtype=torch.long))
    exact = lossary.ctc(log_probs.detach().double().movedim(0, 1), *call, from_logits=False)
    assert (exact < 0).all(), "the numbers given, as they are rounded, add up to more than 1"
    found = functional.ctc_loss(log_probs, *call, reduction=reduction, zero_infinity=zero_infinity)
    assert (found == 0).all() and not found.signbit().any()
    (grad,) = torch.autograd.grad(found.sum(), log_probs)
    share = 1 / batch if reduction == "mean" else 1
    torch.testing.assert_close(grad.sum(-1), torch.full((frames, batch), -float(share)), rtol=1e-4, atol=0.0)


@pytest.mark.filterwarnings("ignore::lossary.LossMisuseWarning")
@pytest.mark.parametrize("batch", [1, 500])
def test_scores_that_are_no_log_probabilities_may_cost_less_than_nothing(batch: int) -> None:
    scores, lengths = torch.zeros(10, batch, 3), torch.full((batch,), 10)
    for reduction in ("none", "mean", "sum"):
        call = (scores, torch.ones(batch, 1, dtype=torch.long), lengths, torch.ones(batch, dtype=torch.long))
        found = functional.ctc_loss(*call, reduction=reduction)
        torch.testing.assert_close(found, theirs.ctc_loss(*call, reduction=reduction))
        assert (found < -math.log(10)).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [-100, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_nll_in_half_precision_is_that_of_float32(dtype: Any, ignored: int, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(64, 50, 7, generator=generator).log_softmax(1).to(dtype)
    target = torch.randint(50, (64, 7), generator=generator)
    target[0] = -100
    weight = torch.rand(50, generator=generator).to(dtype) if weighted else None
    if ignored != -100:
        target[0] = ignored
    for reduction in ("none", "mean", "sum"):
        outcomes = []
        for f, to in ((functional, dtype), (theirs, torch.float32)):
            x = log_probs.to(to).requires_grad_()
            w = None if weight is None else weight.to(to)
            value = f.nll_loss(x, target, weight=w, ignore_index=ignored, reduction=reduction)
            assert value.dtype == to
            outcomes.append((value.float(), torch.autograd.grad(value.sum(), x)[0].float()))
        near = 2 * torch.finfo(dtype).eps
        for ours, reference in zip(*outcomes, strict=True):
            torch.testing.assert_close(ours, reference, rtol=near, atol=near * 1e-3)


_PEAK = """
import resource, torch, lossary
from lossary.nn import functional
x = torch.full((4000, 8000), -9.0, dtype=torch.float16).requires_grad_()
y = torch.zeros(4000, dtype=torch.long)
functional.nll_loss(x[:8].detach().requires_grad_(), y[:8]).backward()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
functional.nll_loss(x, y).backward()
print((peak() - before) / (x.numel() * 2 / 1024))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is told in KiB")
@pytest.mark.filterwarnings("ignore")
def test_nll_in_half_precision_makes_a_gradient_and_nothing_else_of_that_size() -> None:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", _PEAK], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 1.5, "times the log-probabilities"
