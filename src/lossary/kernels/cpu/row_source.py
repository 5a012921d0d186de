"""The source of a generated kernel on rows: tiles of rows brought side by side around an emitted row program.

The loop over the rows of a tile is innermost, so that rows of any length, also of ten entries, fill the registers of
the processor, and no sum depends on a row's neighbours. Rows are brought side by side first (`transpose.moved`), and
results are brought back, several tiles at once if their entries are far apart in memory. In between every loop over
rows runs over all `LANES` of a tile, whatever is in the last ones of a tile that is not full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lossary.catalogue import Loss
from lossary.kernels.cpu import emit
from lossary.kernels.ir.graph import Regions, UnsupportedError
from lossary.kernels.ir.row_program import RowProgram, row_program


@dataclass(frozen=True)
class RowVariant:
    """All that the source of a kernel depends on."""

    loss: Loss
    alternative: int
    dtype: str
    static: tuple[tuple[str, Any], ...]
    uniform: tuple[str, ...]
    arrays: tuple[str, ...]  # parameters with one number per entry
    orders: tuple[int, ...]  # of derivatives
    value: str | None
    weighing: str  # "" (all rows count), "weight" (by a number each) or "ignore" (but those of one label)
    height: int  # rows of a tile
    regions: Regions = ()  # of uniform parameters that choose the formula


_HEADER = '''"""{name}: {what}, in {dtype}.

Generated from {where} by lossary; the folder may be deleted at any time.
"""

from numba import njit, types
from numba import {dtype} as T
from lossary.kernels.cpu.runtime.compile import entry
{imports}
INF, NAN = T(float("inf")), T(float("nan"))


def uniforms({parameters}):
    """What is the same for all rows, computed once."""
    return ({uniforms})


# No contraction: what two passes compute must be the same number in both, or no entry is the largest of its row.
@njit(error_model="numpy", pipeline_class=Unaliased)
def tiles(block, low, begin, many, span, width, {names}, scratch):
    """Rows side by side: the sum of their values, how many count, and whether a label is outside its row."""
    whole_registers()
    suspect = types.int32(0)
    values = lanes(T(0.0))
    total, counting = 0.0, 0.0
{before}
    for part in range(0, many, LANES):
        start, rows = begin + part, min(LANES, many - part)
{body}
{after}
    return total, counting, suspect


@entry(types.int32(types.intp, types.intp, types.CPointer(types.intp), types.CPointer(T), {types}))
def run(first, last, settings, numbers, {pointers}scratch, sums):
    """The spans from `first` up to `last`; each leaves its sum, and the count of its rows, in `sums`."""
    whole_registers()
    suspect = types.int32(0)
{read}
    along = (inner + span - 1) // span
    for number in range(first, last):
        block, low = number // along, number % along * span
        many = min(span, inner - low)
        total, count, found = tiles(block, low, block * inner + low, many, span, width, {names}, scratch)
        store(sums, 2 * number, total)
        store(sums, 2 * number + 1, count)
        suspect |= found
    return suspect
'''


def write(variant: RowVariant) -> tuple[str, RowProgram, int]:
    """Return the source of a kernel, the program it holds, and how many pieces of scratch memory it needs."""
    loss, orders = variant.loss, variant.orders
    program = row_program(
        loss,
        variant.alternative,
        dict(variant.static),
        variant.uniform,
        variant.arrays,
        orders,
        variant.value is not None,
        variant.regions,
        emit.RESERVED,
    )
    emitted = emit.RowEmitter(program, bool(variant.weighing))
    body = [*_weights(variant, program), *emitted.lines]
    if variant.value == "each":
        body += ["for r in range(rows):", "    store(value_out, start + r, load(values, r))"]
    if variant.value == "sum":
        body += ["for r in range(rows):", "    total = plus(total, types.float64(load(values, r)))"]
    if not variant.weighing:
        body.append("counting += float(rows)")
    pointers = {f"{a.name}_at": "types.intp" if a.kind == "label" else "T" for a in program.arguments}
    if variant.weighing == "weight":
        pointers["example_weight_at"] = "T"
    outputs = ["value_out"] if variant.value == "each" else []
    outputs += [f"derivative_{k}_out" for k in range(len(loss.wrt) * len(orders))]
    pointers |= dict.fromkeys(outputs, "T")
    steps = [name for table in program.tables for name in (f"{table}_outer", f"{table}_row", f"{table}_entry")]
    steps += [f"{a.name}_step" for a in program.arguments if a.kind != "row"]
    more = ["ignored"] if variant.weighing == "ignore" else []
    settings = ["span", "width", "inner", *steps, *more]
    uniforms = [name for name, _ in program.uniforms] + (["derivative_scale"] if orders else [])
    read = [f"{name} = load(settings, {at})" for at, name in enumerate(settings)]
    read += [f"{name} = load(numbers, {at})" for at, name in enumerate(uniforms)]
    functions = {*emitted.functions, "load", "store", "plus", "lanes", "Unaliased", "whole_registers"}
    functions |= {"where"} if variant.weighing else set()
    imports = emit.import_lines(functions, variant.dtype)
    imports += f"\nfrom lossary.kernels.cpu.transpose import cleared, moved\n\nLANES = {variant.height}"
    source = _HEADER.format(
        name=loss.name,
        what=" and ".join(
            filter(
                None,
                [{"each": "values", "sum": "their sum"}.get(variant.value or ""), *(emit.ORDERS[k] for k in orders)],
            )
        ),
        dtype=variant.dtype,
        where=f"{loss.define.__module__}.{loss.define.__qualname__}",
        imports=imports,
        parameters=", ".join(("row_length", *variant.uniform)),
        uniforms="".join(f"{expression}, " for _, expression in program.uniforms),
        names=", ".join([*steps, *more, *pointers, *uniforms]),
        pointers="".join(f"{name}, " for name in pointers),
        types=", ".join(f"types.CPointer({kind})" for kind in (*pointers.values(), "T", "types.float64")),
        read="\n".join(f"    {line}" for line in read),
        before="\n".join(f"    {line}" for line in emitted.before),
        body="\n".join(f"        {line}" for line in body),
        after="\n".join(f"    {line}" for line in emitted.after),
    )
    return source, program, emitted.scratch


def _weights(variant: RowVariant, program: RowProgram) -> list[str]:
    if not variant.weighing:
        return []
    label = next((a.name for a in program.arguments if a.kind == "label"), "")
    if variant.weighing == "weight":
        weight = "load(example_weight_at, start + r)"
    elif label:
        weight = f"where(load({label}_at, (start + r) * {label}_step) == ignored, T(0.0), T(1.0))"
    else:
        raise UnsupportedError("only a label can be one to ignore")
    return [
        "weights = lanes(T(0.0))",
        "for r in range(rows):",
        f"    store(weights, r, {weight})",
        "    counting = plus(counting, where(load(weights, r) == T(0.0), 0.0, 1.0))",
    ]
