"""A head and its loss in one on tensors: autograd in all its forms, half precision, the compiler, and the drop-in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch._dynamo.testing import CompileCounterWithBackend  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

import lossary  # noqa: E402
from lossary import linear as head_and_loss  # noqa: E402
from lossary import linear_value_and_grad, nn, token_log_probs  # noqa: E402
from lossary.nn import functional as F  # noqa: E402, N812

N, D, C = 9, 3, 5
LOSS = lossary.softmax_cross_entropy
OPTIONS = {"ignore_index": -100, "label_smoothing": 0.1, "z_loss": 0.01, "soft_cap": 4.0}


def head(dtype: Any = None, learns: bool = True) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((N, D), (C, D), (C,))
    dtype = dtype or torch.float64
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(learns) for s in shapes]


def labels() -> Any:
    found = torch.arange(N) % C
    found[2] = -100
    return found


def chunked(hidden: Any, weight: Any, bias: Any, reduction: Any = "mean", **options: Any) -> Any:
    return head_and_loss(LOSS, hidden, weight, labels(), bias, reduction=reduction, chunk=4, **{**OPTIONS, **options})


def dense(hidden: Any, weight: Any, bias: Any, reduction: Any = "mean") -> Any:
    return LOSS.value(hidden @ weight.T + bias, labels(), reduction=reduction, **OPTIONS)


def tokens(hidden: Any, weight: Any, bias: Any) -> Any:
    options = {"ignore_index": -100, "temperature": 0.7, "soft_cap": 3.0}
    return token_log_probs(hidden, weight, labels(), bias, entropy=True, chunk=4, **options)


def dense_tokens(hidden: Any, weight: Any, bias: Any) -> Any:
    log_probs = (3.0 * torch.tanh((hidden @ weight.T + bias) / 3.0) / 0.7).log_softmax(-1)
    kept = labels() != -100
    chosen = log_probs.gather(1, labels().clamp(min=0)[:, None])[:, 0]
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    return torch.where(kept, chosen, 0), torch.where(kept, entropy, 0)


every_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


@every_reduction
def test_value_and_gradients_are_those_of_whole_logits(reduction: Any) -> None:
    arrays = head()
    for f in (chunked, dense):
        f(*arrays, reduction).sum().backward()
    value, reference = chunked(*arrays, reduction), dense(*arrays, reduction)
    torch.testing.assert_close(value, reference, rtol=1e-12, atol=0)
    found, expected = (torch.autograd.grad(x.sum(), arrays) for x in (value, reference))
    by_name = linear_value_and_grad(
        LOSS, *[x.detach() for x in arrays[:2]], labels(), arrays[2].detach(), reduction=reduction, chunk=4, **OPTIONS
    )[1]
    for a, b, c in zip(found, expected, by_name, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)
        torch.testing.assert_close(c, b, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("f", [chunked, lambda *a: chunked(*a, "none"), tokens], ids=["mean", "none", "tokens"])
def test_first_and_second_derivatives_and_forward_mode_against_finite_differences(f: Callable[..., Any]) -> None:
    arrays = head()
    assert torch.autograd.gradcheck(f, arrays, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, arrays)


@pytest.mark.parametrize(
    ("f", "reference"),
    [(chunked, dense), (lambda *a: chunked(*a, "none"), lambda *a: dense(*a, "none")), (tokens, dense_tokens)],
    ids=["mean", "none", "tokens"],
)
def test_transforms(f: Callable[..., Any], reference: Callable[..., Any]) -> None:
    arrays = [x.detach() for x in head()]
    every = (0, 1, 2)
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(transform(f, every)(*arrays), transform(reference, every)(*arrays))
    moved = tuple(torch.ones_like(x) for x in arrays)
    torch.testing.assert_close(
        torch.func.jvp(f, tuple(arrays), moved)[1], torch.func.jvp(reference, tuple(arrays), moved)[1]
    )
    if f is chunked:
        torch.testing.assert_close(torch.func.hessian(f, 1)(*arrays), torch.func.hessian(reference, 1)(*arrays))


def test_gradients_of_each_example_of_a_batch() -> None:
    hidden, weight, _ = (x.detach() for x in head())
    batch = torch.stack([hidden, -hidden, 2 * hidden])
    wanted = torch.stack([labels().clamp(min=0).roll(n) for n in range(3)])

    def each(f: Callable[..., Any]) -> Any:
        return torch.func.vmap(torch.func.grad(f, argnums=(0, 1)), in_dims=(0, None, 0))(batch, weight, wanted)

    found = each(lambda h, w, y: head_and_loss(LOSS, h, w, y, chunk=4))
    torch.testing.assert_close(found, each(lambda h, w, y: LOSS.value(h @ w.T, y, reduction="mean")))


@every_reduction
def test_backward_again_and_again(reduction: Any) -> None:
    arrays = head()
    value = (2 * chunked(*arrays, reduction)).sum()
    value.backward(retain_graph=True)
    first = [x.grad.clone() for x in arrays]
    for n in (2, 3):
        value.backward(retain_graph=True)
        for x, grad in zip(arrays, first, strict=True):
            torch.testing.assert_close(x.grad, n * grad)
    again = torch.autograd.grad(value, arrays)
    for a, b in zip(again, first, strict=True):
        torch.testing.assert_close(a, b)


class Products(TorchDispatchMode):
    """Records the shape of every matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[int, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_):
            self.made.append(tuple(result.shape))
        return result

    @property
    def logits(self) -> list[int]:
        """How many rows of logits were made at a time."""
        return [rows for rows, columns in self.made if columns == C]


def test_only_what_learns_is_computed() -> None:
    hidden, weight, bias = head()
    with Products() as products:
        chunked(hidden, weight, bias).backward()
    assert set(products.made) == {(4, C), (4, D), (C, D)}
    with Products() as products:
        chunked(hidden, weight.detach(), bias.detach()).backward()
    assert hidden.grad is not None
    assert set(products.made) == {(4, C), (4, D)}
    with Products() as products, torch.no_grad():
        assert not chunked(hidden, weight, bias).requires_grad
    assert set(products.made) == {(4, C)}


def test_logits_are_never_whole() -> None:
    arrays = head()
    with Products() as products:
        chunked(*arrays).backward()
    assert products.logits == [4, 4], "eight rows are kept, and computed once"
    with Products() as products:
        chunked(*arrays, "none").sum().backward()
    assert products.logits == [4, 4, 4, 4], "forward and backward"
    with Products() as products:
        head_and_loss(LOSS, *arrays[:2], labels().clamp(min=0), memory=C * 8).backward()
    assert products.logits == [1] * N, "a budget of one row"
    detached = [x.detach() for x in arrays]
    with Products() as products:
        torch.func.grad(chunked, (0, 1, 2))(*detached)
    assert max(products.logits) <= 4, "a transform of torch.func makes them by chunks as well"


def test_rows_that_do_not_count_may_hold_anything() -> None:
    arrays = head()
    arrays[0].data[2] = float("nan")
    for reduction in ("mean", "none"):
        value = chunked(*arrays, reduction)
        found = torch.autograd.grad(value.sum(), arrays, create_graph=True)
        assert value.isfinite().all() and all(g.isfinite().all() for g in found)
        assert (found[0][2] == 0).all()
        again = torch.autograd.grad(sum((g**2).sum() for g in found), arrays)
        assert all(g.isfinite().all() for g in again)
    detached = [x.detach() for x in arrays]
    assert all(g.isfinite().all() for g in torch.func.grad(chunked, (0, 1, 2))(*detached))


def test_a_teacher_that_learns_and_one_that_does_not() -> None:
    hidden, weight, bias = head()
    teacher = [torch.randn(N, 4).double(), torch.randn(C, 4).double()]
    loss = lossary.kl_divergence

    def reference(h: Any, w: Any, b: Any, th: Any, tw: Any) -> Any:
        log_probs, rows = (h @ w.T + b).log_softmax(-1), (th @ tw.T).softmax(-1)
        return (rows * (rows.log() - log_probs)).sum(-1).mean()

    def ours(h: Any, w: Any, b: Any, th: Any, tw: Any) -> Any:
        return head_and_loss(loss, h, w, (th, tw), b, chunk=4)

    for learns in (False, True):
        arrays = [hidden, weight, bias, *(x.clone().requires_grad_(learns) for x in teacher)]
        inputs = [x for x in arrays if x.requires_grad]
        assert len(inputs) == (5 if learns else 3)
        value, expected = ours(*arrays), reference(*arrays)
        torch.testing.assert_close(value, expected)
        found = torch.autograd.grad(value, inputs)
        torch.testing.assert_close(found, torch.autograd.grad(expected, inputs))


def test_a_temperature_that_is_learned_has_its_gradient() -> None:
    ours, others, _ = head()
    temperature = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    value = head_and_loss(LOSS, ours, others, labels(), ignore_index=-100, temperature=temperature, chunk=4)
    expected = torch.nn.functional.cross_entropy(ours @ others.T / temperature, labels())
    torch.testing.assert_close(value, expected)
    inputs = [ours, others, temperature]
    torch.testing.assert_close(torch.autograd.grad(value, inputs), torch.autograd.grad(expected, inputs))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_added_up_in_float32(dtype: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    rows, classes, width = 200, 40, 16
    arrays = [torch.randn(s, generator=generator).to(dtype).requires_grad_() for s in ((rows, width), (classes, width))]
    wanted = torch.randint(classes, (rows,), generator=generator)
    value = head_and_loss(LOSS, *arrays, wanted, reduction="sum", chunk=1)
    assert value.dtype == torch.float32
    wide = [x.detach().double().requires_grad_() for x in arrays]
    expected = torch.nn.functional.cross_entropy(wide[0] @ wide[1].T, wanted, reduction="sum")
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    found, exact = torch.autograd.grad(value, arrays), torch.autograd.grad(expected, wide)
    eps = torch.finfo(dtype).eps
    for a, b in zip(found, exact, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.double(), b, rtol=0.51 * eps, atol=1e-5)  # one rounding


def test_whole_denominators_are_exact() -> None:
    """One over a whole number is a number of the default type, which is narrower than these."""
    arrays = [x.detach() for x in head()]
    value = chunked(*arrays, denominator=torch.tensor(7))
    torch.testing.assert_close(value, dense(*arrays, "sum") / 7, rtol=1e-13, atol=0)
    grads = torch.autograd.grad(chunked(*(learned := head()), denominator=torch.tensor(7)), learned)
    expected = torch.autograd.grad(dense(*(learned := head()), "sum") / 7, learned)
    for a, b in zip(grads, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-14)


# --- the compiler ----------------------------------------------------------------------------------------------------


@every_reduction
@pytest.mark.parametrize("learns", [True, False], ids=["learns", "frozen"])
def test_compiled_whole(reduction: Any, learns: bool) -> None:
    torch._dynamo.reset()

    def step(hidden: Any, weight: Any, bias: Any) -> Any:
        return (chunked(hidden, weight, bias, reduction) ** 2).sum()

    arrays = head(torch.float32)
    arrays[1].requires_grad_(learns)
    inputs = [x for x in arrays if x.requires_grad]
    value, expected = torch.compile(step, fullgraph=True, backend="aot_eager")(*arrays), step(*arrays)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, inputs), torch.autograd.grad(expected, inputs))


def test_compiled_losses_of_every_kind() -> None:
    hidden, weight, bias = head(torch.float32)
    teacher = torch.randn(N, 4), torch.randn(C, 4)
    weights = torch.rand(N)

    def step(hidden: Any, weight: Any, bias: Any) -> Any:
        focal = head_and_loss(lossary.softmax_focal, hidden, weight, labels(), bias, ignore_index=-100, gamma=1.5)
        pairs = head_and_loss(
            lossary.binary_cross_entropy_with_logits, hidden, weight, torch.arange(N) % C, sample_weight=weights
        )
        student = head_and_loss(lossary.js_divergence, hidden, weight, teacher, bias)
        found = token_log_probs(hidden, weight, labels(), bias, entropy=True, ignore_index=-100)
        return focal + pairs + student + (found.log_probs * found.entropy).mean()

    torch._dynamo.reset()
    arrays = [hidden, weight, bias]
    value, expected = torch.compile(step, fullgraph=True, backend="aot_eager")(*arrays), step(*arrays)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, arrays), torch.autograd.grad(expected, arrays))


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_the_operator_is_what_it_is_declared_to_be(reduction: Any) -> None:
    calls: list[Any] = []

    class Recorder(torch.fx.Interpreter):
        def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
            if target is torch.ops.lossary.linear.default:
                calls.append((target, args, kwargs))
            return super().call_function(target, args, kwargs)

    torch._dynamo.reset()
    run = torch.compile(chunked, fullgraph=True, backend=lambda graph, _: Recorder(graph).run)
    arrays = head(torch.float32)
    run(*arrays, reduction)
    ((target, (tensors, _, scale, *rest), kwargs),) = calls
    leaves = [x.detach().requires_grad_(x.is_floating_point()) for x in tensors]
    torch.library.opcheck(target, (leaves, [], scale, *rest), kwargs)
    if reduction == "none":  # what the backward pass calls
        detached = [x.detach() for x in tensors]
        torch.library.opcheck(target, (detached, [torch.rand(N)], None, *rest), kwargs)


def test_numbers_that_a_compiled_function_is_given_may_change() -> None:
    def step(hidden: Any, weight: Any, temperature: float, chunk: int) -> Any:
        options = {"ignore_index": -100, "temperature": temperature, "chunk": chunk}
        return head_and_loss(LOSS, hidden, weight, labels(), **options)

    torch._dynamo.reset()
    run = torch.compile(step, fullgraph=True, backend="aot_eager")
    hidden, weight, _ = head(torch.float32)
    for temperature, chunk in ((1.0, 4), (0.5, 4), (0.7, 3), (0.9, 2)):
        torch.testing.assert_close(run(hidden, weight, temperature, chunk), step(hidden, weight, temperature, chunk))


@every_reduction
def test_one_compilation_serves_every_number_of_rows(reduction: Any) -> None:
    def step(hidden: Any, weight: Any, wanted: Any) -> Any:
        return head_and_loss(LOSS, hidden, weight, wanted, reduction=reduction, chunk=4).sum()

    torch._dynamo.reset()
    graphs = CompileCounterWithBackend("aot_eager")
    run = torch.compile(step, fullgraph=True, backend=graphs)
    _, weight, _ = head(torch.float32)
    for rows in (9, 8, 7, 6):
        hidden, wanted = torch.randn(rows, D, requires_grad=True), torch.arange(rows) % C
        found, expected = (f(hidden, weight, wanted) for f in (run, step))
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found, hidden), torch.autograd.grad(expected, hidden))
    assert graphs.frame_count == 2, "one for the first number of rows, one for all others"


@every_reduction
def test_the_second_derivative_of_a_traced_head_is_right(reduction: Any) -> None:
    """A compiler that leaves autograd to PyTorch differentiates the operator twice."""
    torch._dynamo.reset()
    arrays = head()
    run = torch.compile(chunked, fullgraph=True, backend="eager")
    for a, b in zip(*(second(f, arrays, reduction) for f in (run, dense)), strict=True):
        torch.testing.assert_close(a, b)


def second(f: Callable[..., Any], arrays: Any, reduction: Any) -> Any:
    value = f(*arrays, reduction)
    first = torch.autograd.grad((value**2).sum(), arrays, create_graph=True)
    return torch.autograd.grad(sum((g**2).sum() for g in first), arrays)


# --- the drop-in -----------------------------------------------------------------------------------------------------


def theirs_and_ours(**options: Any) -> tuple[Any, Any]:
    made = torch.nn.LinearCrossEntropyLoss(D, C, bias=True, dtype=torch.float64, **options)
    ours = nn.LinearCrossEntropyLoss(D, C, bias=True, dtype=torch.float64, **options)
    ours.load_state_dict(made.state_dict())
    return made, ours


def test_torchs_own_has_no_second_derivative_and_a_tangent_of_zero_where_ours_is_right() -> None:
    options = {"options": torch.nn.LinearCrossEntropyOptions(batch_chunk_size=4)}
    theirs, ours = theirs_and_ours(**options)
    hidden, wanted = head()[0], labels()
    for module in (theirs, ours):
        module.requires_grad_(False)
    along = ((hidden.detach(),), (torch.ones(N, D).double(),))
    found, torchs, exact = (
        torch.func.jvp(f, *along)[1]
        for f in (lambda h: ours(h, wanted), lambda h: theirs(h, wanted), lambda h: dense_of(ours, h, wanted))
    )
    torch.testing.assert_close(found, exact)
    assert exact != 0
    assert torchs == 0, "torch's is mended: say so in docs/torch.md"

    value = theirs(hidden, wanted)
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError):
        value.backward()
    with pytest.raises(RuntimeError):
        torch.autograd.grad(theirs(hidden, wanted), hidden, create_graph=True)[0].sum().backward()
    (first,) = torch.autograd.grad(ours(hidden, wanted), hidden, create_graph=True)
    (second,) = torch.autograd.grad((first**2).sum(), hidden)
    (first,) = torch.autograd.grad(dense_of(ours, hidden, wanted), hidden, create_graph=True)
    torch.testing.assert_close(second, torch.autograd.grad((first**2).sum(), hidden)[0])


def dense_of(module: Any, hidden: Any, wanted: Any) -> Any:
    return torch.nn.functional.cross_entropy(module.linear(hidden), wanted)


def test_options_of_torch_choose_the_chunk() -> None:
    _, ours = theirs_and_ours(options=torch.nn.LinearCrossEntropyOptions(batch_chunk_size=2))
    with Products() as products:
        ours(head()[0], labels())
    assert products.logits == [2, 2, 2, 2]


def test_the_mean_of_nothing_is_nan_as_in_torch() -> None:
    hidden, weight, _ = head()
    nothing = torch.full((N,), -100)
    assert torch.isnan(F.linear_cross_entropy(hidden, weight, nothing))
    assert torch.isnan(torch.nn.functional.linear_cross_entropy(hidden, weight, nothing))
    assert F.linear_cross_entropy(hidden, weight, nothing, reduction="sum") == 0


def test_the_drop_in_compiles_and_answers_in_the_type_of_its_input() -> None:
    torch._dynamo.reset()
    hidden, weight, bias = head(torch.bfloat16)
    whole = torch.compile(F.linear_cross_entropy, fullgraph=True, backend="aot_eager")
    value = whole(hidden, weight, labels(), linear_bias=bias)
    assert value.dtype == torch.bfloat16
    torch.testing.assert_close(value, F.linear_cross_entropy(hidden, weight, labels(), linear_bias=bias))
    with pytest.raises(RuntimeError, match="convert one"):
        F.linear_cross_entropy(hidden, weight.float(), labels())
    with pytest.raises(lossary.errors.LossaryError, match="convert one"):
        F.linear_cross_entropy(hidden, weight.float(), labels())
