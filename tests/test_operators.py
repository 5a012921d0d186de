"""The operator `lossary::evaluate`, which a compiled call holds: what it claims of itself, and when it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.testing import random_arrays

torch = pytest.importorskip("torch")
lossary.huber(torch.zeros(2), torch.zeros(2))  # loads the backend, which defines the operator
OPERATOR = torch.ops.lossary.evaluate.default

# The arguments of a call: a name, what its arrays are, and the parameters as names of numbers, numbers, and options.
PARAMETERS: dict[str, tuple[list[float], str, str]] = {
    "huber": ([1.0], "delta", ""),
    "tweedie_deviance": ([1.5], "power", ""),
    "binary_cross_entropy_with_logits": ([0.1, 2.0], "label_smoothing,pos_weight", ""),
    "gaussian_nll": ([], "", ""),
    "softmax_cross_entropy": ([0.1, 1.0, 0.0], "label_smoothing,temperature,z_loss", "soft_cap=None,class_weight=None"),
    "softmax_focal": ([2.0, 0.0], "gamma,label_smoothing", "class_weight=None"),
    "rnnt": ([0.0], "blank", ""),
    "ctc": ([0.0], "blank", "from_logits=True"),
}


def arguments(name: str, dtype: Any, alternative: int = 0) -> tuple[Any, ...]:
    loss = lossary.get(name)
    arrays = random_arrays(loss, np.random.default_rng(0), 3, alternative=alternative)
    tensors = [torch.from_numpy(np.array(x)) for x in arrays]
    tensors = [x.to(dtype) if x.is_floating_point() else x for x in tensors]
    numbers, keys, options = PARAMETERS[name]
    return loss.key, alternative, tensors, "", numbers, keys, options


def leaves(given: tuple[Any, ...]) -> tuple[Any, ...]:
    loss = lossary.get(given[0])
    moving = [x.requires_grad_() if n in loss.wrt else x for n, x in zip(loss.arguments, given[2], strict=True)]
    return (*given[:2], moving, *given[3:])


TESTS = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", PARAMETERS)
def test_the_operator_is_what_it_claims(name: str, dtype: Any) -> None:
    if dtype == torch.bfloat16 and lossary.get(name).signatures[0].rank > 1:
        pytest.skip("lengths and half precision are widened outside")
    weights = torch.linspace(0, 1, 3, dtype=torch.promote_types(dtype, torch.float32))
    for value, order in (("each", 0), ("sum", 0), ("sum", 1)):
        for factors in (None, weights):
            torch.library.opcheck(OPERATOR, (factors, *leaves(arguments(name, dtype)), value, order), test_utils=TESTS)
    still = arguments(name, dtype)
    torch.library.opcheck(OPERATOR, (weights - 0.5, *still, "", 1), test_utils=("test_schema", "test_faketensor"))


def test_soft_labels_are_an_alternative_of_the_signature() -> None:
    given = leaves(arguments("softmax_cross_entropy", torch.float32, alternative=1))
    torch.library.opcheck(OPERATOR, (None, *given, "sum", 1), test_utils=TESTS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_operator_gives_the_numbers_of_the_loss(name: str) -> None:
    """Values, their sum and the gradient of the sum of values times factors of any sign."""
    key, alternative, tensors, *packed = arguments(name, torch.float64)
    numbers, keys, options = packed[1:]
    loss = lossary.get(name)
    worded = [option.split("=") for option in options.split(",") if option]
    params: dict[str, Any] = {name: {"None": None, "True": True}[held] for name, held in worded}
    params |= {k: int(n) if k == "blank" else n for k, n in zip(filter(None, keys.split(",")), numbers, strict=True)}
    with lossary.checks("shapes"):
        values = loss(*tensors, **params)
        wanted = loss.grad(*tensors, **params)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    factors = torch.linspace(-1, 1, 3, dtype=torch.float64)
    given = (key, alternative, tensors, *packed)
    torch.testing.assert_close(OPERATOR(factors, *given, "each", 0)[0], values * factors)
    total, *grads = OPERATOR(factors, *given, "sum", 1)
    torch.testing.assert_close(total, (values * factors).sum())
    for found, grad in zip(grads, wanted, strict=True):
        torch.testing.assert_close(found, grad * factors.reshape(-1, *(1,) * (grad.ndim - 1)))


def operators_of(function: Callable[..., Any], *tensors: Any) -> list[str]:
    """The names of the operators that the graph of a compiled function and of its gradient holds."""
    names: list[str] = []

    def look(graph: Any, _: Any) -> Any:
        names.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return make_boxed_func(graph.forward)

    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend=aot_autograd(fw_compiler=look, bw_compiler=look))
    compiled(*tensors).backward()
    return names


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_large_compiled_call_holds_the_operator_and_a_small_one_ordinary_operations(dtype: Any) -> None:
    def mean(logits: Any) -> Any:
        labels = torch.arange(len(logits)) % logits.shape[-1]
        return lossary.value(lossary.softmax_cross_entropy, logits, labels, reduction="mean")

    large, small = (torch.zeros(rows, 40, dtype=dtype, requires_grad=True) for rows in (400, 4))
    held = operators_of(mean, large).count("lossary.evaluate.default")
    # The gradient comes with the sum, but in half precision it waits for what it is multiplied by.
    assert held == (1 if dtype == torch.float32 else 2)
    assert "lossary.evaluate.default" not in operators_of(mean, small)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("name", ["log_cosh", "softmax_cross_entropy"])
def test_the_second_derivative_of_a_compiled_call_is_the_definitions(name: str, reduction: str) -> None:
    """The eager backend runs the operator under autograd, where a gradient may be differentiated again."""
    loss, generator = lossary.get(name), torch.Generator().manual_seed(0)
    x = torch.randn(500, 40, dtype=torch.float64, generator=generator, requires_grad=True)
    target = torch.arange(500) % 40 if loss.signatures[0].rank else torch.zeros_like(x)

    def twice(function: Callable[..., Any]) -> Any:
        value = function(x, target)
        direction = torch.linspace(-1, 1, value.numel(), dtype=x.dtype).reshape(value.shape)
        (grad,) = torch.autograd.grad((value * direction).sum(), x, create_graph=True)
        return torch.autograd.grad((grad * torch.cos(x.detach())).sum(), x)[0]

    def value(pred: Any, target: Any) -> Any:
        return lossary.value(loss, pred, target, reduction=reduction)

    torch._dynamo.reset()
    found = twice(torch.compile(value, fullgraph=True, backend="eager"))
    torch.testing.assert_close(found, twice(value), rtol=1e-9, atol=1e-12)
