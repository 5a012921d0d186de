"""The source of a pointwise kernel: one loop over a block of elements around an emitted program.

Each block of `BLOCK` elements has its own sum, in float64, so a result does not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lossary.catalogue import Loss
from lossary.kernels.cpu import emit
from lossary.kernels.cpu.sizes import BLOCK, PIECE
from lossary.kernels.ir import program
from lossary.kernels.ir.graph import Regions


@dataclass(frozen=True)
class PointwiseVariant:
    """All that the source of a kernel depends on."""

    loss: Loss
    dtype: str
    static: tuple[tuple[str, Any], ...]
    uniform: tuple[str, ...]
    arrays: tuple[str, ...]
    orders: tuple[int, ...]  # of derivatives
    value: str | None
    weighted: bool
    checked: bool
    narrow: tuple[tuple[str, str], ...] = ()  # arrays in half precision, and how they are held
    regions: Regions = ()  # of uniform parameters that choose the formula


_HEADER = '''"""{name}: {what}, in {dtype}.

Generated from {where} by lossary; the folder may be deleted at any time.
"""

from numba import njit, types
from numba import {dtype} as T
from lossary.kernels.cpu.runtime.compile import entry
{imports}
INF, NAN = T(float("inf")), T(float("nan"))
BLOCK, PIECE = {block}, {piece}


def uniforms({parameters}):
    """What is the same for all elements, computed once."""
    return ({uniforms})


@njit(error_model="numpy", pipeline_class=Unaliased)
def block(start, stop, {names}):
    """One block: returns its sum and whether an element lies outside the domain."""
    whole_registers()
    suspect = False
    block_sum = 0.0
{loop}    return block_sum, suspect


@entry(types.int32(types.intp, types.intp, types.intp, {types}))
def run(first, last, length, {names}, sums):
    """The blocks from `first` up to `last`; each leaves its sum in `sums`."""
    whole_registers()
    suspect = types.int32(0)
    for number in range(first, last):
        start = number * BLOCK
        block_sum, found = block(start, min(start + BLOCK, length), {names})
        store(sums, number, block_sum)
        suspect |= found
    return suspect
'''

_LOOP = """    for i in range(start, stop):
{body}
"""
# Where a value costs more than its way through memory, those of a piece are kept aside and then summed: doubles in the
# main loop would halve its lanes. A piece is small, so that memory is read ahead meanwhile.
_LOOP_IN_PIECES = """    values = room(T(0.0))
    for begin in range(start, stop, PIECE):
        end = min(begin + PIECE, stop)
        for i in range(begin, end):
{body}
        for i in range(end - begin):
            block_sum = plus(block_sum, types.float64(load(values, i)))
"""
# What is a few instructions: a loop of nothing else waits for memory.
_CHEAP = {"abs", "where", "maximum", "minimum", "sign"}


def write(variant: PointwiseVariant) -> tuple[str, program.Program]:
    """Return the source of a kernel, and the program it holds."""
    loss, weighted = variant.loss, variant.weighted
    orders = ({0} if variant.value else set()) | set(variant.orders)
    highest = max(variant.orders, default=0)
    computed = program.pointwise(
        loss, dict(variant.static), variant.uniform, variant.arrays, highest, orders, variant.regions, emit.RESERVED
    )
    lines, functions = emit.assignments(computed.steps)
    in_pieces = variant.value == "sum" and not _CHEAP.issuperset(functions)
    inputs = [*computed.arguments, *(["example_weight"] if weighted else [])]
    body = [f"{name} = load({name}_at, i)" for name in inputs]
    tests = _tests(variant, computed)
    if tests:
        body.append(f"suspect = either(suspect, ({tests}){' & (example_weight != T(0.0))' if weighted else ''})")
    body += lines

    def by_weight(result: str, factor: str) -> str:
        return f"where(example_weight == T(0.0), T(0.0), {result} * {factor})" if weighted else result

    narrow = {name: f"types.{held}" for name, held in variant.narrow}
    kinds, outputs = [narrow.get(name, "T") for name in inputs], []
    if variant.value:
        weighed = by_weight(computed.results[0][0], "example_weight")
        if variant.value == "each":
            outputs.append("value_out")
            kinds.append("T")
            body.append(f"store(value_out, i, {weighed})")
        elif in_pieces:
            body.append(f"store(values, i - begin, {weighed})")
        else:
            body.append(f"block_sum = plus(block_sum, types.float64({weighed}))")
    if variant.orders:
        body.append(f"factor = {'example_weight * ' if weighted else ''}derivative_scale")
        derivatives = [
            (found, name) for k in variant.orders for found, name in zip(computed.results[k], loss.wrt, strict=True)
        ]
        for number, (derivative, name) in enumerate(derivatives):
            outputs.append(f"derivative_{number}_out")
            kinds.append(narrow.get(name, "T"))
            scaled = by_weight(derivative, "factor") if weighted else f"{derivative} * factor"
            body.append(f"store(derivative_{number}_out, i, {scaled})")

    arguments = [f"{name}_at" for name in inputs] + outputs
    uniforms = [name for name, _ in computed.uniforms] + (["derivative_scale"] if variant.orders else [])
    indent = " " * (12 if in_pieces else 8)
    loop = (_LOOP_IN_PIECES if in_pieces else _LOOP).format(body="\n".join(indent + line for line in body))
    source = _HEADER.format(
        name=loss.name,
        what=_what(variant),
        dtype=variant.dtype,
        where=f"{loss.define.__module__}.{loss.define.__qualname__}",
        imports=_imports(functions, variant, tests),
        block=BLOCK,
        piece=PIECE,
        loop=loop,
        parameters=", ".join(variant.uniform),
        uniforms="".join(f"{expression}, " for _, expression in computed.uniforms),
        names=", ".join([*arguments, *uniforms]),
        types=", ".join(
            [f"types.CPointer({kind})" for kind in kinds] + ["T"] * len(uniforms) + ["types.CPointer(types.float64)"]
        ),
    )
    return source, computed


def _imports(functions: set[str], variant: PointwiseVariant, tests: str) -> str:
    used = {"load", "store", "plus", "room", "either", "Unaliased", "whole_registers", *functions}
    used |= ({"where"} if variant.weighted else set()) | ({"floor"} if "floor(" in tests else set())
    return emit.import_lines(used, variant.dtype)


def _tests(variant: PointwiseVariant, computed: program.Program) -> str:
    """The condition of an element outside the domain of one of the arrays."""
    if not variant.checked:
        return ""
    alternative = _alternative(variant.loss)
    found = [
        emit.outside(variant.loss.domain(name, alternative), name)
        for name in computed.arguments
        if name in variant.loss.arguments
    ]
    return " | ".join(f"({test})" for test in found if test)


def _alternative(loss: Loss) -> int:
    return next(number for number, signature in enumerate(loss.signatures) if signature.rank == 0)


def _what(variant: PointwiseVariant) -> str:
    values = {"each": "values", "sum": "their sum", None: ""}[variant.value]
    orders = " and ".join(emit.ORDERS[order] for order in variant.orders)
    fixed = ", ".join(f"{name}={value!r}" for name, value in variant.static)
    named = " and ".join(text for text in (values, orders) if text)
    return named + (", weighted" if variant.weighted else "") + (f", with {fixed}" if fixed else "")
