"""A head and its loss on a device: what is allocated, that nothing waits for the device, and its numbers where one is.

Tensors on the "meta" device have shapes, but no memory and no values. Whatever would wait for a device to read a value
raises on them, and a head of any size runs on them.
"""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.multiprocessing.reductions import StorageWeakRef  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

import lossary  # noqa: E402
from lossary import linear, linear_value_and_grad, token_log_probs  # noqa: E402

GIB = 2**30
TEACHERS = ["kl_divergence", "reverse_kl", "js_divergence"]


class Allocations(TorchFunctionMode):
    """Counts the bytes of all tensors that are alive beyond those that were there before, and copies from the host."""

    def __init__(self, *before: Any) -> None:
        super().__init__()
        self.before = {x.untyped_storage()._cdata for x in before}
        self.alive: dict[int, tuple[Any, int]] = {}
        self.peak, self.from_host = 0, []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, (tuple, list)) else (result,):
            if not isinstance(x, torch.Tensor):
                continue
            storage = x.untyped_storage()
            if storage._cdata not in self.before:
                self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
            moved = [a for a in args if isinstance(a, torch.Tensor) and a.device != x.device]
            if x.device.type != "cpu" and (function in (torch.tensor, torch.as_tensor) or moved):
                self.from_host.append(function)
        self.alive = {key: held for key, held in self.alive.items() if not held[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def meta(*shape: int, dtype: Any = torch.bfloat16) -> Any:
    return torch.empty(shape, dtype=dtype, device="meta")


def labels_for(loss: str, rows: int, classes: int, width: int) -> Any:
    return (meta(rows, width), meta(classes, width)) if loss in TEACHERS else meta(rows, dtype=torch.int64)


def test_the_counter_counts() -> None:
    x = meta(1000)
    with Allocations(x) as counted:
        y = x + 1
        z = y.view(10, 100)[2:]
        del y
        z.add_(z[:1] * 2)
    assert counted.peak == 2000 + 200 and not counted.from_host
    with Allocations() as counted:
        torch.tensor(1.0, device="meta")
    assert counted.from_host == [torch.tensor]


# --- nothing waits for the device ------------------------------------------------------------------------------------

ROW_LOSSES = [
    "softmax_cross_entropy",
    "softmax_focal",
    "poly_loss",
    "multi_margin",
    "brier",
    "nll",
    "binary_cross_entropy_with_logits",
    *TEACHERS,
]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("loss", ROW_LOSSES)
def test_no_value_is_read_from_the_device_and_none_is_sent(loss: str, reduction: Any, dtype: Any) -> None:
    rows, classes, width = 12, 50, 8
    for weights in ({}, {"mask": meta(rows, dtype=torch.bool)}, {"sample_weight": meta(rows, dtype=torch.float32)}):
        hidden, weight, bias = (
            meta(*s, dtype=dtype).requires_grad_() for s in ((rows, width), (classes, width), (classes,))
        )
        with Allocations() as counted:
            value = linear(
                loss,
                hidden,
                weight,
                labels_for(loss, rows, classes, width),
                bias,
                reduction=reduction,
                chunk=5,
                **weights,
            )
            value.sum().backward()
        assert value.shape == ((rows,) if reduction == "none" else ())
        assert [x.grad.shape for x in (hidden, weight, bias)] == [x.shape for x in (hidden, weight, bias)]
        assert not counted.from_host


def test_no_value_is_read_for_ignored_labels_a_denominator_or_entropies() -> None:
    rows, classes, width = 12, 50, 8
    hidden, weight = meta(rows, width).requires_grad_(), meta(classes, width).requires_grad_()
    wanted = meta(rows, dtype=torch.int64)
    options = {"ignore_index": -100, "label_smoothing": 0.1, "z_loss": 1e-4, "soft_cap": 30.0}
    with Allocations() as counted:
        count = (wanted != -100).sum()
        linear("softmax_cross_entropy", hidden, weight, wanted, denominator=count, chunk=5, **options).backward()
        found = token_log_probs(hidden, weight, wanted, entropy=True, ignore_index=-100, chunk=5)
        (found.log_probs + found.entropy).sum().backward()
    assert not counted.from_host and weight.grad.shape == weight.shape


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "softmax_focal", "kl_divergence", "js_divergence"])
def test_the_head_of_a_large_language_model_takes_less_than_six_gibibytes(loss: str) -> None:
    rows, width, classes = 8192, 4096, 151936
    hidden, weight = meta(rows, width).requires_grad_(), meta(classes, width).requires_grad_()
    wanted = labels_for(loss, rows, classes, width)
    with Allocations(hidden, weight, *(wanted if loss in TEACHERS else (wanted,))) as counted:
        linear(loss, hidden, weight, wanted).backward()
    in_weight = classes * width * 4  # the sum in float32
    assert in_weight < counted.peak < 4.75 * GIB < 6 * GIB
    assert weight.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("loss", ["kl_divergence", "js_divergence", "brier", "nll", "binary_cross_entropy_with_logits"])
def test_blocks_of_rows_within_a_chunk_change_nothing_but_rounding(loss: str, framework: str) -> None:
    rows, width, classes = 40, 4, 9000
    generator = torch.Generator().manual_seed(2)
    hidden, teacher = torch.randn(2, rows, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(classes, width, generator=generator, dtype=torch.float64)
    wanted: Any = (teacher, weight) if loss in TEACHERS else torch.arange(rows) * 7
    arrays = [hidden, weight, wanted]
    weights: Any = (torch.arange(rows) % 3).double()
    if framework == "numpy":
        weights = weights.numpy()
        arrays = [tuple(x.numpy() for x in a) if isinstance(a, tuple) else a.numpy() for a in arrays]
    (value, grads), (small, small_grads) = (
        linear_value_and_grad(loss, *arrays, chunk=chunk, sample_weight=weights) for chunk in (rows, 3)
    )
    pairs = [(value, small), (grads.hidden, small_grads.hidden), (grads.weight, small_grads.weight)]
    for a, b in pairs:
        a, b = (torch.as_tensor(x) for x in (a, b))
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-15)


def test_log_probabilities_and_entropies_in_blocks_change_nothing_but_rounding() -> None:
    rows, width, classes = 40, 4, 9000
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(rows, width, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(classes, width, generator=generator, dtype=torch.float64)
    found = []
    for chunk in (rows, 3):
        both = token_log_probs(hidden, weight, torch.arange(rows), entropy=True, chunk=chunk)
        total = (both.log_probs * torch.arange(rows)).sum() + (both.entropy**2).sum()
        found.append((*both, *torch.autograd.grad(total, hidden)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("memory", [64 * 2**20, 512 * 2**20])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "multi_margin", "kl_divergence", "js_divergence"])
def test_a_chunk_keeps_to_its_budget(loss: str, memory: int) -> None:
    rows, width, classes = 2048, 64, 32000
    hidden, weight = meta(rows, width).requires_grad_(), meta(classes, width).requires_grad_()
    wanted = labels_for(loss, rows, classes, width)
    with Allocations(hidden, weight, *(wanted if loss in TEACHERS else (wanted,))) as counted:
        linear(loss, hidden, weight, wanted, memory=memory).backward()
    sums = 4 * width * (classes + rows)
    assert memory / 4 < counted.peak - sums < 1.1 * memory


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "kl_divergence"])
def test_further_chunks_take_no_further_memory(loss: str) -> None:
    width, classes, chunk = 16, 1000, 64
    peaks = []
    for chunks in (2, 16):
        rows = chunks * chunk
        hidden, weight = meta(rows, width).requires_grad_(), meta(classes, width).requires_grad_()
        wanted = labels_for(loss, rows, classes, width)
        with Allocations(hidden, weight, *(wanted if loss in TEACHERS else (wanted,))) as counted:
            linear(loss, hidden, weight, wanted, chunk=chunk).backward()
        peaks.append(counted.peak - 4 * rows * (width + 1))  # but for the gradient in hidden states, and the values
    assert abs(peaks[1] - peaks[0]) < 1024


def test_a_weight_in_half_precision_is_never_whole_in_another_type_on_the_cpu() -> None:
    rows, width, classes = 8, 256, 65536
    hidden, weight = torch.zeros(rows, width).bfloat16().requires_grad_(), torch.zeros(classes, width).bfloat16()
    wanted = torch.zeros(rows, dtype=torch.int64)
    with Allocations(hidden, weight, wanted) as counted:
        linear("softmax_cross_entropy", hidden, weight, wanted).backward()
    assert counted.peak < 2 * classes * width, "a float32 copy takes twice as much as this"


# --- numbers on a device ---------------------------------------------------------------------------------------------

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def on(device: str, dtype: Any, loss: str) -> tuple[list[Any], Any, Any]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((70, 16), (300, 16), (300,))
    heads = [torch.randn(s, generator=generator).to(dtype).to(device).requires_grad_() for s in shapes]
    wanted: Any = torch.randint(300, (70,), generator=generator).to(device)
    if loss in TEACHERS:
        wanted = tuple(torch.randn(s, generator=generator).to(dtype).to(device) for s in shapes[:2])
    heads[0].data[3] = float("nan")
    if loss in TEACHERS:
        wanted[0][50] = float("nan")
    kept = torch.ones(70, dtype=torch.bool)
    kept[[3, 50]] = False
    return heads, wanted, kept.to(device)


@gpu
@pytest.mark.parametrize("level", ["shapes", "full"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "softmax_focal", "multi_margin", *TEACHERS])
def test_a_device_gives_the_numbers_of_the_cpu(loss: str, dtype: Any, level: Any) -> None:
    found = []
    for device in ("cpu", "cuda"):
        heads, wanted, kept = on(device, dtype, loss)
        with lossary.checks(level):
            value = linear(loss, heads[0], heads[1], wanted, heads[2], mask=kept, chunk=9)
        value.backward()
        found.append([x.cpu().float() for x in (value.detach(), *(h.grad for h in heads))])
    for cpu, device in zip(*found, strict=True):
        half = dtype == torch.bfloat16
        torch.testing.assert_close(device, cpu, rtol=1e-2 if half else 1e-4, atol=2e-3 if half else 1e-5)


@gpu
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "kl_divergence"])
def test_a_cuda_graph_of_a_head_gives_the_same_bits(loss: str) -> None:
    heads, wanted, kept = on("cuda", torch.bfloat16, loss)

    def step() -> Any:
        value = linear(loss, heads[0], heads[1], wanted, heads[2], mask=kept, chunk=9)
        return value.detach(), *torch.autograd.grad(value, heads)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        expected = step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step()
    graph.replay()
    torch.cuda.synchronize()
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)
