"""Turns generated source into Triton kernels and launches them; layouts of tensors, and the bits of a sum.

The source lives in memory: Triton reads it through `linecache`, keeps what it compiles in a cache of its own, and finds
it there by the source. With ``TRITON_INTERPRET=1`` set before Triton is first imported, kernels run in Triton's
interpreter on tensors of the CPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import linecache
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import triton

from lossary.errors import ParameterError
from lossary.kernels.request import Request

Tensor = torch.Tensor

DTYPES = {torch.float32: "float32", torch.float64: "float64"}  # the types that kernels compute in
SHORT = {"float32": "fp32", "float64": "fp64"}  # and how Triton annotates a number of them
NARROW = (torch.bfloat16, torch.float16)  # read and written as they are stored
MOST_AXES = 8  # of a batch that no two axes can be merged of


@cache
def module(title: str, source: str) -> dict[str, Any]:
    """Return the names that generated source defines."""
    name = f"<lossary {title} {hashlib.sha256(source.encode()).hexdigest()[:16]}>"
    # No time of modification: `linecache` then keeps the lines for good.
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    made: dict[str, Any] = {"__name__": "lossary.kernels.gpu.made"}
    exec(compile(source, name, "exec"), made)
    return made


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter."""
    return bool(triton.knobs.runtime.interpret)


# While kernels are compiled for a GPU that need not be there, instead of launched: its target, and what was compiled.
_compiling: tuple[Any, list[Any]] | None = None


@contextlib.contextmanager
def compiling(capability: int) -> Iterator[list[Any]]:
    """Compile kernels for a compute capability of NVIDIA's, as 90, where they would run; outputs stay as they are.

    Yields a list that grows by what Triton makes of each kernel, with its texts in ``asm``.
    """
    global _compiling
    from triton.backends.compiler import GPUTarget

    before, made = _compiling, list[Any]()
    _compiling = GPUTarget("cuda", capability, 32), made
    try:
        yield made
    finally:
        _compiling = before


def _compile(kernel: Any, arguments: Mapping[str, Any], warps: int, target: Any) -> Any:
    from triton.compiler import ASTSource

    kinds, constants = {}, {}
    for parameter in kernel.params:
        held = arguments[parameter.name]
        if parameter.is_constexpr:
            kinds[parameter.name], constants[parameter.name] = "constexpr", held
        else:
            kinds[parameter.name] = parameter.annotation_type or triton.runtime.jit.mangle_type(held)
    source = ASTSource(kernel, signature=kinds, constexprs=constants)
    return triton.compile(source, target=target, options={"num_warps": warps, "enable_fp_fusion": False})


def launch(kernel: Any, grid: int, arguments: Mapping[str, Any], device: torch.device, warps: int) -> None:
    """Run a kernel on its grid, on the current stream of the tensors' device."""
    if _compiling is not None and not interpreted():
        target, made = _compiling
        made.append(_compile(kernel, arguments, warps, target))
        return
    if interpreted():
        with np.errstate(all="ignore"):
            kernel[(grid,)](**arguments)
        return
    if device.type == "cpu":
        raise ParameterError(
            "kernels: tensors on the CPU run kernels for GPUs in Triton's interpreter only; set TRITON_INTERPRET=1 "
            "before triton is imported"
        )
    # No contraction: what two passes over a row compute must be the same number in both, or no entry is the largest of
    # its row; and the bits of a result do not depend on what a compiler chooses to round together.
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        kernel[(grid,)](**arguments, num_warps=warps, enable_fp_fusion=False)


def stored(x: Tensor, dtype: torch.dtype) -> torch.dtype:
    """Return the type of a derivative in a tensor: half precision where that is what it is stored in."""
    return x.dtype if x.dtype in NARROW and dtype == torch.float32 else dtype


@dataclass(frozen=True)
class BatchAxes:
    """The axes of a batch, merged where all tensors allow it: their sizes, and each tensor's steps along them."""

    sizes: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, shape: Sequence[int], strides: Sequence[Sequence[int]]) -> BatchAxes:
        """Merge the axes of a batch, those along which the first tensor goes furthest first."""
        axes = sorted((a for a, size in enumerate(shape) if size != 1), key=lambda a: -max(s[a] for s in strides[:1]))
        sizes: list[int] = []
        steps: list[list[int]] = [[] for _ in strides]
        for axis in axes:
            size = shape[axis]
            if sizes and all(own[-1] == s[axis] * size for own, s in zip(steps, strides, strict=True)):
                sizes[-1] *= size
                for own, s in zip(steps, strides, strict=True):
                    own[-1] = s[axis]
                continue
            sizes.append(size)
            for own, s in zip(steps, strides, strict=True):
                own.append(s[axis])
        if not sizes:
            return cls((1,), tuple((0,) for _ in strides))
        return cls(tuple(sizes), tuple(map(tuple, steps)))


def offsets(names: Sequence[str], axes: int, index: str, suffix: str) -> tuple[list[str], list[str]]:
    """Return the lines that find where an example of each array lies, in 64 bits, and the integers that they take."""
    lines, taken = [], [f"n{axis}" for axis in range(1, axes)]
    rest = index
    for axis in range(axes - 1, 0, -1):
        lines.append(f"i{axis} = {rest} % n{axis}")
        lines.append(f"{index}_{axis} = {rest} // n{axis}")
        rest = f"{index}_{axis}"
    lines.append(f"i0 = {rest}")
    for name in names:
        places = [f"i{axis} * {name}_s{axis}" for axis in range(axes)]
        taken += [f"{name}_s{axis}" for axis in range(axes)]
        lines.append(f"{name}_{suffix} = {' + '.join(places)}")
    return lines, taken


def integers(batch: BatchAxes, names: Sequence[str]) -> dict[str, int]:
    """Return the integers that `offsets` takes."""
    held = {f"n{axis}": size for axis, size in enumerate(batch.sizes) if axis}
    for name, steps in zip(names, batch.steps, strict=True):
        held |= {f"{name}_s{axis}": step for axis, step in enumerate(steps)}
    return held


@dataclass(frozen=True)
class DerivativeScale:
    """The factor of derivatives: none, a number, or one on the device, which the host does not read.

    `kind` is part of a variant: "" (there are no derivatives), "number", "tensor", or "unless", a tensor beside one
    that says by holding 1 that derivatives stay as they are.
    """

    kind: str
    arguments: Mapping[str, Any]

    @classmethod
    def of(cls, request: Request, device: torch.device) -> DerivativeScale:
        """Return the factor of a request."""
        scale, unless = request.scale, request.unless
        if not request.orders:
            return cls("", {})
        if not isinstance(scale, Tensor) or scale.device != device:
            if unless is None:
                return cls("number", {"derivative_scale": float(scale)})
            scale = torch.full((), float(scale), dtype=torch.float64, device=device)
        given = {"derivative_scale_at": scale.detach()}
        if unless is None:
            return cls("tensor", given)
        return cls("unless", {**given, "unless_at": unless.detach()})


def scale_parameters(kind: str) -> list[str]:
    """Return the pointers by which a kernel is given the factor of derivatives."""
    return {"tensor": ["derivative_scale_at"], "unless": ["derivative_scale_at", "unless_at"]}.get(kind, [])


def scale_lines(dtype: str, kind: str) -> list[str]:
    """Return how a kernel reads the factor of derivatives."""
    if not kind:
        return []
    if kind == "number":
        return [f"derivative_scale = tl.full((), derivative_scale, tl.{dtype})"]
    return [f"derivative_scale = tl.load(derivative_scale_at).to(tl.{dtype})"]


def unless_lines(kind: str) -> list[str]:
    """Return how a kernel ends before it begins, if derivatives stay as they are."""
    return ["if tl.load(unless_at) == 1.0:", "    return"] if kind == "unless" else []


def signature(names: Sequence[str], dtype: str, uniforms: Sequence[str], integers: Sequence[str], scale: str) -> str:
    """Return the parameters of a kernel."""
    numbers = [
        f'{name}: "{SHORT[dtype]}"' for name in (*uniforms, *(["derivative_scale"] if scale == "number" else []))
    ]
    pointers = [*names, *scale_parameters(scale)]
    return ", ".join([*pointers, *numbers, *integers])


def summed(partial: Tensor) -> Tensor:
    """Return the sum of partial sums in double precision: of a fixed partition, in a fixed order."""
    return partial.sum()


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is not below a number."""
    return 1 << max(0, math.ceil(math.log2(max(1, n))))
