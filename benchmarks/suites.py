"""Benchmark suites: which losses at which sizes, and which contenders.

To add one:

1. Write a module beside this one with a function ``cases(options: Options) -> list[Case]``. A case says its loss,
   shape, type, what bytes it must move, and how to open it; it makes no arrays before it is opened. `options.sizes`,
   `options.quick` and `options.losses` choose among the cases; cases that matter most come first, for memory is
   measured in that order until the time is up.
2. Its `open` returns a problem (`cases.Problem`). ``contender(key)`` gives the runs of a peer by mode, or None where it
   has nothing: `torch_formulas.differentiated` and `compiled`, and `jax_formulas.jitted`, make them from a function of
   the arrays. ``reference()`` gives the right value and gradients in float64, by a way that shares nothing with what is
   measured: whoever answers otherwise is not reported. A loss of two arrays for which `contenders.LossProblem` does has
   this already.
3. Enter it in `SUITES` with the contenders' keys (`peers.PEERS`, where a new peer is one more record).

`tests/test_benchmarks.py` runs every suite of the table at its quick sizes; `python -m benchmarks --suite NAME`, the
pages and the drawing know it by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from benchmarks import ctc, inputs, linear, small, start
from benchmarks.cases import BOTH, MODES, VALUE, Case, Options, Suite
from benchmarks.contenders import LossProblem

_ITEM = {"float32": 4, "float64": 8, "bfloat16": 2}

# --- pointwise ------------------------------------------------------------------------------------------------------

POINTWISE = (
    "binary_cross_entropy_with_logits",
    "sigmoid_focal",
    "squared_error",
    "absolute_error",
    "huber",
    "smooth_l1",
    "log_cosh",
    "poisson_nll",
    "pinball",
)


def pointwise(options: Options) -> list[Case]:
    """Losses of one prediction and one target, on as many numbers as do not fit into any cache."""
    sizes = options.sizes or (((20_000,),) if options.quick else ((1 << 24,),))
    losses = [name for name in POINTWISE if not options.losses or name in options.losses]
    return [_pointwise(name, shape, options.dtype) for shape in sizes for name in losses]


def _pointwise(name: str, shape: tuple[int, ...], dtype: str) -> Case:
    def opened() -> LossProblem:
        return LossProblem(name, *inputs.pointwise(name, shape, dtype), dtype)

    nbytes = prod(shape) * _ITEM[dtype]
    return Case(name, shape, dtype, opened, moved={VALUE: 2 * nbytes, BOTH: 3 * nbytes}, copied=nbytes)


# --- rows -----------------------------------------------------------------------------------------------------------

_SHAPES: tuple[tuple[int, ...], ...] = ((2048, 32000), (512, 128256), (16384, 1000), (65536, 10), (8, 21, 512, 512))
_QUICK: tuple[tuple[int, ...], ...] = ((64, 1000), (512, 10), (2, 5, 16, 16))
_WEIGHED, _SOFT = "smoothing and class weights", "soft labels"


def rows(options: Options) -> list[Case]:
    """Softmax cross-entropy: long rows, short rows, and images with the classes on axis 1."""
    if options.losses and "softmax_cross_entropy" not in options.losses:
        return []
    shapes = options.sizes or (_QUICK if options.quick else _SHAPES)
    return [_rows(shape, options.dtype, variant) for variant in ("", _WEIGHED, _SOFT) for shape in shapes]


def _rows(shape: tuple[int, ...], dtype: str, variant: str) -> Case:
    def opened() -> LossProblem:
        logits, target = inputs.rows(shape, dtype, soft=variant == _SOFT)
        params: dict[str, Any] = {}
        if variant == _WEIGHED:
            params = {"label_smoothing": 0.1, "class_weight": inputs.class_weights(shape[1], dtype)}
        return LossProblem("softmax_cross_entropy", logits, target, dtype, params)

    nbytes = prod(shape) * _ITEM[dtype]
    read = nbytes + (nbytes if variant == _SOFT else 8 * prod(shape) // shape[1])
    return Case(
        "softmax_cross_entropy",
        shape,
        dtype,
        opened,
        variant,
        modes=MODES if not variant else (BOTH,),
        moved={VALUE: read, BOTH: read + nbytes},
        copied=nbytes,
    )


# --- all ------------------------------------------------------------------------------------------------------------

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "pointwise",
            "Losses of single numbers",
            pointwise,
            ("arrays", "out", "tensors", "nn", "torch", "compile", "jax", "numpy", "sklearn"),
            POINTWISE,
        ),
        Suite(
            "rows",
            "Softmax cross-entropy",
            rows,
            ("arrays", "out", "tensors", "nn", "torch", "compile", "jax", "numpy", "sklearn"),
            ("softmax_cross_entropy",),
            dimensions=(2, 9),
        ),
        Suite(
            "linear",
            "A linear head and its softmax cross-entropy (rows x features x classes)",
            linear.cases,
            ("arrays", "tensors", "nn", "torch", "compile", "chunked", "products", "jax", "numpy"),
            ("softmax_cross_entropy",),
            dimensions=(3, 3),
        ),
        Suite(
            "ctc",
            "Connectionist temporal classification (sequences x frames x classes)",
            ctc.cases,
            ("arrays", "tensors", "nn", "torch", "jax"),
            ("ctc",),
            dimensions=(3, 3),
        ),
        Suite(
            "small",
            "Every drop-in of lossary.nn on a thousand numbers",
            small.cases,
            ("nn", "torch"),
            small.NAMES,
            unit="us",
            dimensions=(1, 1),
        ),
        Suite(
            "blocks",
            "Drop-ins of lossary.nn without kernels, as on a device that has none",
            small.large_cases,
            ("definitions", "torch"),
            small.LARGE,
            dimensions=(1, 1),
        ),
        Suite(
            "start",
            "Imports and first calls in fresh processes",
            start.cases,
            ("arrays", "tensors", "torch", "compile", "jax", "numpy", "sklearn"),
            start.LOSSES,
            dtypes=("float32",),
            unit="s",
            dimensions=(0, 0),
        ),
    )
}


def of_loss(name: str) -> Iterator[Suite]:
    """Yield the suites that have cases of a loss.

    >>> [suite.name for suite in of_loss("huber")]
    ['pointwise', 'start']
    """
    return (suite for suite in SUITES.values() if name in suite.losses)
