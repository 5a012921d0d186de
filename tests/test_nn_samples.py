"""The drop-ins on every input that PyTorch itself ships for its losses: samples, error inputs, modules."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

from lossary import nn  # noqa: E402
from lossary.errors import LossMisuseWarning  # noqa: E402
from lossary.nn import functional, modules  # noqa: E402

OPS = [op for op in op_db if op.name.removeprefix("nn.functional.") in functional.__all__]
MODULES = [info for info in module_db if info.name.removeprefix("nn.") in modules.__all__]
every_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name.removeprefix("nn.functional."))
every_module = pytest.mark.parametrize("info", MODULES, ids=lambda info: info.name)
TOLERANCE = {torch.float64: (1e-10, 1e-12), torch.float32: (1e-5, 1e-6)}
LARGE = 4000  # entries from which differences are taken along random directions, and no longer one by one
CHECKED = 6  # samples of each function, spread over all, whose derivatives are compared with finite differences


def named(op: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Torch's function, and ours."""
    name = op.name.removeprefix("nn.functional.")
    return getattr(torch.nn.functional, name), getattr(functional, name)


def outcome(f: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, list[tuple[type, str]]]:
    """What a call returned or raised, and what it warned of, but for misuse: torch's samples are no data."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = f(*args, **kwargs)
        except Exception as error:
            result = error
    return result, [(w.category, str(w.message)) for w in caught if w.category is not LossMisuseWarning]


def leaves(x: Any) -> Iterator[Any]:
    """The tensors of a nest of arguments that require a gradient."""
    if isinstance(x, torch.Tensor):
        if x.requires_grad:
            yield x
    elif isinstance(x, (list, tuple, dict)):
        for part in x.values() if isinstance(x, dict) else x:
            yield from leaves(part)


def close(ours: Any, theirs: Any, dtype: Any, said: str) -> None:
    assert ours.dtype == theirs.dtype, said
    assert ours.shape == theirs.shape, said
    rtol, atol = TOLERANCE[dtype]
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol, equal_nan=True, msg=lambda m: f"{said}\n{m}")


# Their input is the log-softmax of something: of the gradient in it, what arrives there is all that matters, and all in
# which torch's is right. (Ours is that of the loss: `test_gradcheck_...` holds it to finite differences.)
NORMALISED = ("ctc_loss", "CTCLoss")


def gradients(out: Any, inputs: list[Any]) -> list[Any]:
    torch.manual_seed(0)
    upstream = torch.rand_like(out)
    found = torch.autograd.grad(out, inputs, upstream, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


def agree(theirs: Callable[..., Any], ours: Callable[..., Any], args: Any, kwargs: Any, dtype: Any) -> None:
    """Same value, type, warnings and gradients."""
    said = f"{getattr(theirs, '__name__', theirs)}({args}, {kwargs})"
    expected, their_warnings = outcome(theirs, *args, **kwargs)
    found, our_warnings = outcome(ours, *args, **kwargs)
    assert not isinstance(expected, Exception), said
    if isinstance(found, Exception):
        raise AssertionError(said) from found
    assert our_warnings == their_warnings, said
    close(found.detach(), expected.detach(), dtype, said)
    assert found.requires_grad == expected.requires_grad, said
    inputs = list(leaves([args, kwargs]))
    if expected.requires_grad:
        for x, mine, reference in zip(inputs, gradients(found, inputs), gradients(expected, inputs), strict=True):
            if getattr(theirs, "__name__", type(theirs).__name__) in NORMALISED:
                mine, reference = (g - x.exp() * g.sum(-1, keepdim=True) for g in (mine, reference))
                if dtype == torch.float32:  # torch adds logarithms of hundreds in that type
                    torch.testing.assert_close(mine, reference, rtol=1e-3, atol=1e-4)
                    continue
            close(mine, reference, dtype, said)


def samples(op: Any, dtype: Any, **options: Any) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    torch.manual_seed(0)
    return [((s.input, *s.args), s.kwargs) for s in op.sample_inputs("cpu", dtype, **options)]


@every_op
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("all_inputs", [True, False], ids=["all", "first"])
def test_values_and_gradients_on_torchs_samples(op: Any, dtype: Any, all_inputs: bool) -> None:
    """Once with a gradient for everything (ordinary autograd), once for the first input (the hand-written one)."""
    theirs, ours = named(op)
    for args, kwargs in samples(op, dtype, requires_grad=True):
        given = args if all_inputs else (args[0], *(a.detach() if isinstance(a, torch.Tensor) else a for a in args[1:]))
        agree(theirs, ours, given, kwargs, dtype)


def widened(x: Any) -> Any:
    """The same numbers in the widest type of their kind."""
    if not isinstance(x, torch.Tensor) or x.dtype == torch.bool:
        return x
    return x.to(torch.complex128 if x.is_complex() else torch.float64 if x.is_floating_point() else torch.int64)


@every_op
def test_narrow_types_on_torchs_samples(op: Any) -> None:
    """Whatever type torch takes, the answer has torch's type, and is torch's answer to the same numbers in wide types.

    Its answer in the narrow type may have been rounded at every step, overflowed, or wrapped around.
    """
    theirs, ours = named(op)
    for dtype in op.dtypes - {torch.float64, torch.float32}:
        for args, kwargs in samples(op, dtype):
            found, _ = outcome(ours, *args, **kwargs)
            assert isinstance(found, torch.Tensor), found
            expected, _ = outcome(theirs, *args, **kwargs)
            assert found.dtype == expected.dtype
            # How torch divides a batch is no matter of numbers, but it does not divide every type.
            options = {k: widened(v) for k, v in kwargs.items() if k != "options"}
            exact, _ = outcome(theirs, *map(widened, args), **options)
            exact = expected if "distance_function" in kwargs else exact  # which computes in the type it is given
            rtol = 4 * torch.finfo(found.dtype).eps
            torch.testing.assert_close(found, exact.to(found.dtype), rtol=rtol, atol=1e-5, equal_nan=True)


@every_op
def test_gradcheck_and_gradgradcheck_on_torchs_samples(op: Any) -> None:
    _, ours = named(op)
    found = [s for s in samples(op, torch.float64, requires_grad=True) if s[0][0].numel()]
    checked = CHECKED if found[0][0][0].numel() < LARGE else 1
    for args, kwargs in found[:: -(-len(found) // checked)]:
        inputs = list(leaves([args, kwargs]))

        def f(*moving: Any, args: Any = args, kwargs: Any = kwargs) -> Any:
            left = iter(moving)
            swap = lambda a: next(left) if isinstance(a, torch.Tensor) and a.requires_grad else a  # noqa: E731
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                positional = [swap(a) for a in args]  # a map would be walked after the keywords
                return ours(*positional, **{k: swap(v) for k, v in kwargs.items()})

        large = sum(x.numel() for x in inputs) > LARGE
        assert torch.autograd.gradcheck(f, inputs, fast_mode=large)
        assert torch.autograd.gradgradcheck(f, inputs, fast_mode=True)
        rest = [x.detach() for x in inputs[1:]]
        by_hand = lambda x, f=f, rest=rest: f(x, *rest)  # noqa: E731
        assert torch.autograd.gradcheck(by_hand, inputs[:1], check_forward_ad=True, fast_mode=large)
        assert torch.autograd.gradgradcheck(by_hand, inputs[:1], fast_mode=True)


@every_op
def test_torchs_error_inputs_are_refused(op: Any) -> None:
    _, ours = named(op)
    if op.error_inputs_func is None:
        pytest.skip("torch ships none")
    for error in op.error_inputs("cpu"):
        s = error.sample_input
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(error.error_type):
                ours(s.input, *s.args, **s.kwargs)


@every_module
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_modules_on_torchs_samples(info: Any, dtype: Any) -> None:
    torch.manual_seed(0)
    name = info.name.removeprefix("nn.")
    for given in info.module_inputs_func(info, "cpu", dtype, requires_grad=True, training=True):
        build, call = given.constructor_input, given.forward_input
        theirs = getattr(torch.nn, name)(*build.args, **build.kwargs)
        ours = getattr(nn, name)(*build.args, **build.kwargs)
        assert repr(ours) == repr(theirs)
        ours.load_state_dict(theirs.state_dict())
        theirs.load_state_dict(ours.state_dict())
        agree(theirs, ours, call.args, call.kwargs, dtype)


@every_module
def test_torchs_module_error_inputs_are_refused(info: Any) -> None:
    if info.module_error_inputs_func is None:
        pytest.skip("torch ships none")
    make = getattr(nn, info.name.removeprefix("nn."))
    for error in info.module_error_inputs_func(info, "cpu", torch.float64, requires_grad=True, training=True):
        build, call = error.module_error_input.constructor_input, error.module_error_input.forward_input
        if error.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(error.error_type):
                make(*build.args, **build.kwargs)
        else:
            with pytest.raises(error.error_type):
                make(*build.args, **build.kwargs)(*call.args, **call.kwargs)
