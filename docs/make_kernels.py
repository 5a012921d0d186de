"""Compiles the kernels of common calls for the kinds of processors that the wheel serves: `make kernels`.

    python docs/make_kernels.py [--out FOLDER] [--level x86-64-v3 ...] [--loss huber ...]

The calls are made, on arrays of random numbers, in one process for each kind of processor, whose compiler is told to
compile for that kind; what it compiles is gathered into a folder. So what is common is said here in calls, and the
kernels are those that these calls ask for. A kind of processor that this machine is not of is left out, with a
sentence: its code could not be run here.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "src" / "lossary" / "kernels" / "cpu" / "prebuilt"

# The losses that are called most, beside those of `lossary.nn.functional`.
COMMON = [
    "squared_error", "absolute_error", "half_squared_error", "huber", "smooth_l1", "log_cosh", "pinball",
    "pseudo_huber", "msle", "binary_cross_entropy", "binary_cross_entropy_with_logits", "softmax_cross_entropy",
    "nll", "hinge", "squared_hinge", "logistic_margin", "multi_margin", "multiclass_hinge", "sigmoid_focal",
    "softmax_focal", "poly_loss", "generalized_cross_entropy", "poisson_nll", "gaussian_nll", "gamma_nll",
    "tweedie_deviance", "kl_divergence", "jensen_shannon", "dpo", "brier",
]  # fmt: skip
DTYPES = ("float32", "float64")
NUMBERS = 70_000  # of a loss on numbers: enough for several threads
ROWS = ((7_000, 10), (70, 1_000))  # few classes, and many


def calls(losses: Sequence[str]) -> Iterator[Any]:
    """Yield every common call as a function without arguments."""
    import numpy as np
    import torch

    import lossary
    from lossary.testing import random_arrays

    for name in losses:
        loss = lossary.get(name)
        for number, signature in enumerate(loss.signatures):
            for rows, classes in ROWS if signature.rank else ((NUMBERS, 1),):
                drawn = random_arrays(loss, np.random.default_rng(0), rows, {"c": classes}, number)
                for dtype in DTYPES:
                    arrays = [x.astype(dtype) if x.dtype.kind == "f" else x for x in drawn]
                    yield from _calls_of(loss, arrays, torch)


def _calls_of(loss: Any, arrays: list[Any], torch: Any) -> Iterator[Any]:
    import numpy as np

    few = [x[: max(1, 1000 // arrays[0][0].size)] for x in arrays]
    weight = np.ones(len(arrays[0]), arrays[0].dtype)
    for reduction in ("none", "mean"):
        yield lambda r=reduction: loss.value(*arrays, reduction=r)
        for given in (arrays, few):
            yield lambda r=reduction, given=given: loss.value_and_grad(*given, reduction=r)
        tensors = [torch.from_numpy(x) for x in arrays]
        for given in (tensors, [torch.from_numpy(x) for x in few]):
            yield lambda r=reduction, given=given: loss.value(*given, reduction=r)
            yield lambda r=reduction, given=given: _backward(loss, given, r)
    yield lambda: loss.value_and_grad(*arrays, weight=weight, reduction="mean")
    if loss.derivatives > 1:
        yield lambda: loss.grad_hess(*arrays)


def _backward(loss: Any, tensors: list[Any], reduction: str) -> None:
    leaves = [x.requires_grad_() if name in loss.wrt else x for name, x in zip(loss.arguments, tensors, strict=True)]
    loss.value(*leaves, reduction=reduction).sum().backward()


def drop_in_calls() -> Iterator[Any]:
    """Yield a training step of every drop-in, at both sizes and in both types."""
    import torch
    from benchmarks.small import _drop_ins, replaced

    from lossary import nn

    for each in _drop_ins():
        if not replaced(each.name):
            continue
        for dtype in map(torch.__dict__.__getitem__, DTYPES):
            for size in (1_000, NUMBERS):
                for reduction in ("mean", "none"):
                    yield lambda each=each, dtype=dtype, size=size, r=reduction: _step(torch, nn, each, dtype, size, r)


def _step(torch: Any, nn: Any, each: Any, dtype: Any, size: int, reduction: str) -> None:
    def typed(x: Any) -> Any:
        return x.to(dtype) if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    arguments = {name: typed(held) for name, held in each.arguments.items()}
    if "reduction" not in arguments and each.name != "AdaptiveLogSoftmaxWithLoss":
        arguments["reduction"] = reduction
    module = getattr(nn, each.name)(*each.positional, **arguments).to(dtype)
    given = [typed(x) for x in each.inputs(torch.Generator().manual_seed(0), size)]
    with torch.no_grad():
        each.call(module, *given)
    for x in given[: each.leaves]:
        x.requires_grad_()
    each.call(module, *given).sum().backward()


def compile_level(level: str, out: Path, losses: Sequence[str]) -> None:
    """Make all calls, compiling for a kind of processor, and write the kernels to a folder."""
    from rich.progress import track

    from lossary.kernels.cpu.runtime import cache, compile

    compile.level = level
    cache.collected = {}
    todo = [*calls(losses or COMMON), *(() if losses else drop_in_calls())]
    warnings.simplefilter("ignore")
    for call in track(todo, f"kernels for {level}", disable=not sys.stderr.isatty()):
        call()
    folder = out / f"{sys.platform}-{level}"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name not in cache.collected:
            path.unlink()
    for name, content in cache.collected.items():
        (folder / name).write_bytes(content)
    size = sum(map(len, cache.collected.values()))
    print(f"{level}: {len(cache.collected)} kernels, {size / 2**20:.1f} MiB, in {folder}")


def main() -> None:
    """Compile for each kind in a process of its own."""
    sys.path[:0] = [str(ROOT / "src"), str(ROOT)]
    from lossary.kernels.cpu.runtime import objects

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER, help="where the kernels go")
    parser.add_argument("--level", action="append", choices=objects.LEVELS, help="a kind of processor; repeat")
    parser.add_argument("--loss", action="append", help="only this loss of the catalogue; repeat")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        compile_level(options.child, options.out, options.loss or ())
        return
    wanted = options.level or [level for level in objects.LEVELS if level in objects.levels()]
    running = []
    for level in wanted:
        if level not in objects.levels():
            print(f"{level}: this processor is not of that kind and cannot run its kernels; left out", file=sys.stderr)
            continue
        held = tempfile.TemporaryDirectory()
        environment = {
            **os.environ,
            "NUMBA_CPU_NAME": objects.compiled_for(level)[0],
            "NUMBA_CPU_FEATURES": objects.compiled_for(level)[1],
            "LOSSARY_CACHE": held.name,
            "LOSSARY_KERNELS": "",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, __file__, "--child", level, "--out", str(options.out.resolve())]
        command += [word for name in options.loss or () for word in ("--loss", name)]
        running.append((level, subprocess.Popen(command, env=environment), held))
    failed = []
    for level, process, held in running:
        if process.wait():
            failed.append(level)
        held.cleanup()
    if failed:
        sys.exit(f"make kernels: {', '.join(failed)} failed (see above)")


if __name__ == "__main__":
    main()
