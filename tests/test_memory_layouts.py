"""The numbers of an array decide, and not where they lie in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.errors import ArgumentError
from lossary.testing import kernels, random_arrays

ENTRIES = 16400  # from where every kernel computes
COLUMNS = 20  # rows side by side in the last axis of the batch: a whole register and some more
Make = Callable[[Any], Any]


def unaligned(x: Any) -> Any:
    """The same numbers at an odd address, as behind the header of a file."""
    made = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    made[...] = x
    assert not made.flags.aligned or x.dtype.itemsize == 1
    return made


def inside(x: Any) -> Any:
    """A part of a larger array."""
    whole = np.zeros([n + 3 for n in x.shape], x.dtype)
    part = whole[tuple(slice(1, 1 + n) for n in x.shape)]
    part[...] = x
    return part


def permuted(x: Any, *axes: int) -> Any:
    """The same array, its axes in another order in memory."""
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


def strange(x: Any) -> Any:
    """Axes of length 1 have strides that no walk along them would survive."""
    strides = [step if n > 1 else 1234568 for n, step in zip(x.shape, x.strides, strict=True)]
    return np.lib.stride_tricks.as_strided(x, x.shape, strides)


def read_only(x: Any) -> Any:
    made = x.copy()
    made.flags.writeable = False
    return made


def windows(x: Any) -> Any:
    """Rows that overlap."""
    line = np.resize(x.ravel(), sum(x.shape))
    return np.lib.stride_tricks.as_strided(line, x.shape, (line.itemsize,) * x.ndim)


def repeated(*axes: int) -> Make:
    """One place stands for all along some axes."""

    def make(x: Any) -> Any:
        held = tuple(slice(0, 1) if a in axes or a - x.ndim in axes else slice(None) for a in range(x.ndim))
        return np.broadcast_to(x[held], x.shape)

    return make


LAYOUTS: dict[str, Make] = {
    "axes reversed": lambda x: permuted(x, *reversed(range(x.ndim))),
    "second axis first": lambda x: permuted(x, 2, 0, 1, *range(3, x.ndim)),
    "part of a larger one": inside,
    "backwards": lambda x: x[::-1, :, ::-1].copy()[::-1, :, ::-1],
    "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "unaligned": unaligned,
    "unaligned and reversed": lambda x: unaligned(x.T).T,
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "read-only": read_only,
    "strange strides": strange,
    "overlapping": windows,
    "repeated along the first axis": repeated(0),
    "repeated along the last of the batch": repeated(2),
    "reversed and repeated along the last of the batch": lambda x: repeated(2)(permuted(x, *reversed(range(x.ndim)))),
    "reversed and repeated along the first axis": lambda x: repeated(0)(permuted(x, *reversed(range(x.ndim)))),
    "repeated along the batch": repeated(0, 1, 2),
    "repeated along the entries": repeated(-1),
    "one number": repeated(0, 1, 2, 3, 4, 5),
}


def losses() -> Iterator[Any]:
    """Every loss in every alternative, on short rows and on long ones."""
    for name in lossary.names():
        loss = lossary.get(name)
        if loss.coupling is not None:
            continue
        for alternative, signature in enumerate(loss.signatures):
            for width in (5, 140) if signature.rank == 1 else (5,):
                yield pytest.param(loss, alternative, width, id=f"{name}-{alternative}-{width}")


def drawn(loss: Any, alternative: int, width: int, dtype: Any = np.float32) -> list[Any]:
    """Random arrays whose batch has three axes, the second of length 1."""
    rank = loss.signatures[alternative].rank
    sizes = {"c": width, "d": width, "n": width} if rank < 2 else {"c": width}
    count = COLUMNS * max(3, -(-ENTRIES // (COLUMNS * (width if rank else 1)))) if rank < 2 else 3 * COLUMNS
    made = random_arrays(loss, np.random.default_rng(width), 12 if loss.conditions else count, sizes, alternative)
    made = [np.resize(x, (count, *x.shape[1:])) for x in made]
    shaped = [x.reshape(-1, 1, COLUMNS, *x.shape[1:]) for x in made]
    return [x.astype(dtype) if x.dtype.kind == "f" else x for x in shaped]


def result(loss: Any, arrays: list[Any]) -> list[Any]:
    value, grads = loss.value_and_grad(*arrays, check=False)
    return [value, *(grads if isinstance(grads, tuple) else (grads,))]


@pytest.mark.parametrize(("loss", "alternative", "width"), list(losses()))
def test_every_array_of_every_loss_may_lie_anyhow(loss: Any, alternative: int, width: int) -> None:
    arrays = drawn(loss, alternative, width)
    for at, name in enumerate(loss.arguments):
        for layout, make in LAYOUTS.items():
            laid = [make(x) if at == k else x for k, x in enumerate(arrays)]
            plain = [x.astype(x.dtype.newbyteorder("=")).copy() for x in laid]
            with np.errstate(all="ignore"):
                found, expected = result(loss, laid), result(loss, plain)
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_allclose(ours, theirs, 1e-5, 1e-6, err_msg=f"{name}: {layout}")


# --- tensors --------------------------------------------------------------------------------------------------------

# One loss for each way in which tensors reach memory: values and rows made by codegen, the softmax family, sequences.
OF_EACH_KIND = (
    "huber",
    "softmax_cross_entropy",
    "softmax_focal",
    "multi_margin",
    "nll",
    "kl_divergence",
    "cosine_embedding",
    "negative_sampling",
    "ctc",
    "rnnt",
    "linear_chain_crf",
)
OF_TENSORS = [name for name in LAYOUTS if name not in ("backwards", "other byte order", "read-only")]


def tensors(arrays: list[Any], loss: Any) -> list[Any]:
    torch = pytest.importorskip("torch")
    made = [torch.from_numpy(x) for x in arrays]
    for name in loss.wrt:
        made[loss.arguments.index(name)].requires_grad_()
    return made


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize("width", [5, 140])
@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_tensors_may_lie_anyhow(name: str, width: int) -> None:
    loss = lossary.get(name)
    if width == 140 and loss.signatures[0].rank != 1:
        pytest.skip("the width is that of rows")
    arrays = drawn(loss, 0, width)
    for layout in OF_TENSORS:
        laid = [LAYOUTS[layout](x) for x in arrays]
        for reduction in ("none", "mean"):
            found, expected = [], []
            for given, into in ((laid, found), ([x.copy() for x in laid], expected)):
                made = tensors(given, loss)
                value = loss.value(*made, reduction=reduction, check=False)
                value.sum().backward()
                into += [value.detach(), *(made[loss.arguments.index(n)].grad for n in loss.wrt)]
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_allclose(ours, theirs, 1e-5, 1e-6, err_msg=f"{layout}, {reduction}")


def test_half_precision_and_class_weights_may_lie_anyhow() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((400, 60)), rng.integers(0, 60, 400)
    weight, example = rng.uniform(0.5, 2, 60), rng.uniform(0.5, 2, 400)
    for dtype in (np.float16, np.float32, np.float64):
        whole = logits.astype(dtype), labels, weight.astype(dtype), example.astype(dtype)
        for name in ("softmax_cross_entropy", "multi_margin", "nll"):
            loss = lossary.get(name)

            def call(arrays: Any, loss: Any = loss) -> Any:
                z, y, w, e = arrays
                return loss.value_and_grad(z, y, class_weight=w, weight=e, reduction="mean", check=False)

            value, grad = call(whole)
            for made in ([unaligned(x) for x in whole], [np.repeat(x, 2, axis=-1)[..., ::2] for x in whole]):
                found, slope = call(made)
                np.testing.assert_allclose(found, value, 1e-6)
                np.testing.assert_array_equal(slope, grad)


def test_tensors_of_unaligned_memory_in_every_reduction_of_the_drop_ins() -> None:
    torch = pytest.importorskip("torch")
    from lossary.nn import functional

    rng = np.random.default_rng(1)
    for rows, classes in ((40, 11), (700, 40), (900, 200)):
        z, y = rng.standard_normal((rows, classes)).astype(np.float32), rng.integers(0, classes, rows)
        for reduction in ("none", "mean", "sum"):
            found = functional.cross_entropy(
                torch.from_numpy(unaligned(z)), torch.from_numpy(unaligned(y)), reduction=reduction
            )
            expected = torch.nn.functional.cross_entropy(torch.from_numpy(z), torch.from_numpy(y), reduction=reduction)
            torch.testing.assert_close(found, expected)
    image = torch.randn(8, 21, 64)[:, :, :1].expand(8, 21, 400)
    labels = torch.randint(21, (8, 400))
    torch.testing.assert_close(
        functional.cross_entropy(image, labels), torch.nn.functional.cross_entropy(image, labels)
    )


def test_a_number_that_stands_for_two_million_rows() -> None:
    torch = pytest.importorskip("torch")
    values = lossary.softmax_cross_entropy(torch.tensor(0.5).expand(200_000, 10), torch.zeros(200_000, dtype=int))
    np.testing.assert_allclose(values, np.log(10), 1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", ["ctc", "rnnt", "linear_chain_crf"])
def test_gradients_of_sequences_in_every_type(name: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    loss, kind = lossary.get(name), getattr(torch, dtype)
    arrays = [x.reshape(-1, *x.shape[3:]) for x in drawn(loss, 0, 5, np.float64)]
    moves = [arrays[1], arrays[1][0]] if name == "linear_chain_crf" else [arrays[1]]
    weights = torch.linspace(0, 1, len(arrays[0]), dtype=torch.double)
    for second in moves:  # of each sequence, and shared by all
        for reduction, weight in (("none", None), ("mean", None), ("mean", weights), ("sum", weights)):
            grads = []
            for to in (kind, torch.double):
                made = [torch.from_numpy(x) for x in (arrays[0], second, *arrays[2:])]
                made = [x.to(kind).to(to) if x.is_floating_point() else x for x in made]
                leaves = [made[loss.arguments.index(n)].requires_grad_() for n in loss.wrt]
                held = None if weight is None else weight.to(torch.promote_types(to, torch.float32))
                loss.value(*made, reduction=reduction, weight=held).sum().backward()
                grads.append([leaf.grad for leaf in leaves])
            for ours, theirs in zip(*grads, strict=True):
                assert ours.dtype == kind
                near = 4 * torch.finfo(kind).eps
                torch.testing.assert_close(
                    ours.double(), theirs, rtol=near, atol=near * max(1, theirs.abs().max().item())
                )


# --- gradients of arguments with fewer dimensions than a row ----------------------------------------------------------


@pytest.mark.parametrize("shape", [(512,), (8, 64), (16, 1, 32)])
@pytest.mark.parametrize("name", lossary.names(signature="(),(n)->()") + lossary.names(signature="(),(n),(),(n)->()"))
def test_an_argument_with_fewer_dimensions_than_a_row_has_a_gradient(name: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    loss = lossary.get(name)
    arrays = random_arrays(loss, np.random.default_rng(3), int(np.prod(shape)), {"n": 64, "k": 64, "c": 64})
    arrays = [x.reshape(*shape, *x.shape[1:]).astype(np.float32) if x.dtype.kind == "f" else x for x in arrays]
    weight = np.random.default_rng(4).random(shape).astype(np.float32)
    weight[weight < 0.2] = 0
    for reduction in ("none", "mean", "sum"):
        for given in (None, weight):
            value, slopes = loss.value_and_grad(*arrays, weight=given, reduction=reduction)
            made = tensors([x.copy() for x in arrays], loss)
            found = loss.value(*made, weight=None if given is None else torch.from_numpy(given), reduction=reduction)
            found.sum().backward()
            np.testing.assert_allclose(found.detach(), value, 1e-5)
            for argument, slope in zip(loss.wrt, slopes if isinstance(slopes, tuple) else (slopes,), strict=True):
                x = arrays[loss.arguments.index(argument)]
                grad = made[loss.arguments.index(argument)].grad
                assert slope.shape == x.shape == tuple(grad.shape)
                np.testing.assert_allclose(grad, slope, 1e-4, 1e-6)


# --- results written where the caller wants them --------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ["huber", "binary_cross_entropy_with_logits", "gaussian_nll", "dpo", "margin_ranking"])
def test_arrays_without_dimensions_are_written(name: str, dtype: Any, reduction: Any) -> None:
    loss = lossary.get(name)
    arrays = [np.asarray(x[0], dtype) for x in random_arrays(loss, np.random.default_rng(0), 1)]
    value, grads = loss.value_and_grad(*arrays, reduction=reduction)
    expected = grads if isinstance(grads, tuple) else (grads,)
    places = tuple(np.full((), np.nan, dtype) for _ in loss.wrt)
    found, _ = loss.value_and_grad(*arrays, reduction=reduction, out=places if len(places) > 1 else places[0])
    assert found == value
    own = [arrays[loss.arguments.index(name)].copy() for name in loss.wrt]
    given = [own[loss.wrt.index(n)] if n in loss.wrt else x for n, x in zip(loss.arguments, arrays, strict=True)]
    loss.value_and_grad(*given, reduction=reduction, out=tuple(own) if len(own) > 1 else own[0])
    np.testing.assert_array_equal(places, expected)
    np.testing.assert_array_equal(own, expected)


def test_an_array_of_which_several_entries_are_one_place_is_refused() -> None:
    x = np.random.default_rng(0).standard_normal((300, 70))
    for n in (3, 300):
        folded = np.lib.stride_tricks.as_strided(np.zeros(1000), (n, 70), (8, 8))
        repeated_place = np.lib.stride_tricks.as_strided(np.zeros(70), (n, 70), (0, 8))
        for out in (folded, repeated_place):
            with pytest.raises(ArgumentError, match="entries of the array share memory"):
                lossary.huber.grad(x[:n], x[:n] * 0, out=out)
            with pytest.raises(ArgumentError, match="entries of the array share memory"):
                lossary.huber.grad(out, x[:n] * 0, out=out)
    apart = np.zeros((70, 2, 300))[:, 0].T[::-1]
    np.testing.assert_array_equal(lossary.huber.grad(x, x * 0, out=apart), lossary.huber.grad(x, x * 0))


@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy", "multi_margin"])
@pytest.mark.parametrize("lead", [(0,), (0, 3), (3, 0)])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_kernel_takes_a_batch_of_nothing(name: str, lead: tuple[int, ...], weighted: bool) -> None:
    loss = lossary.get(name)
    rank = loss.signatures[0].rank
    arrays = (np.zeros(lead + (4,) * rank), np.zeros(lead, int if rank else float))
    options = {"weight": np.ones(lead)} if weighted else {}
    with kernels("always"):
        for reduction in ("none", "sum", "mean"):
            value, grad = loss.value_and_grad(*arrays, reduction=reduction, **options)
            assert np.shape(value) == (lead if reduction == "none" else ()) and not np.any(value)
            assert grad.shape == arrays[0].shape
