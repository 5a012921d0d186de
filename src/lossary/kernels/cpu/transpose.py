"""Transposes small tables in registers, eight by eight numbers at a time: brings rows side by side.

A kernel works on rows side by side, so that short ones fill registers too; memory has them one after the other. To
gather a column number by number, or to leave that to the processor's gather instructions, costs more than the
arithmetic of a loss.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from lossary.kernels.cpu.math import _compiled, intrinsic, load, store

# By stage, the masks that make the lower and the upper half of two vectors: pairs of numbers, pairs of pairs, and so on
# change places. In this order every shuffle but the last stays within a quarter of a register, where it is cheapest.
_STAGES = {
    4: (((0, 4, 1, 5), (2, 6, 3, 7)), ((0, 1, 4, 5), (2, 3, 6, 7))),
    8: (
        ((0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15)),
        ((0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)),
        ((0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)),
    ),
}


def _block(size: int) -> Any:
    @intrinsic
    def turn(typing: Any, source: Any, at: Any, step: Any, out: Any, out_at: Any, out_step: Any) -> Any:
        """Write the transpose of one block."""

        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            from_, at, step, to, out_at, out_step = args
            number = context.get_data_type(source.dtype)
            width = context.get_abi_sizeof(number)
            vector = ir.VectorType(number, size).as_pointer()

            def place(base: Any, start: Any, step: Any, k: int) -> Any:
                offset = builder.add(start, builder.mul(step, ir.Constant(step.type, k)))
                return builder.bitcast(builder.gep(base, [offset]), vector)

            rows = [builder.load(place(from_, at, step, k), align=width) for k in range(size)]
            distance = 1
            for lower, upper in _STAGES[size]:
                turned = list(rows)
                for k in range(size):
                    if not k & distance:
                        for position, mask in ((k, lower), (k + distance, upper)):
                            held = ir.Constant(ir.VectorType(ir.IntType(32), size), list(mask))
                            turned[position] = builder.shuffle_vector(rows[k], rows[k + distance], held)
                rows, distance = turned, 2 * distance
            for k, column in enumerate(_ORDER[size]):
                builder.store(rows[k], place(to, out_at, out_step, column), align=width)
            return context.get_dummy_value()

        return types.void(source, types.intp, types.intp, out, types.intp, types.intp), generate

    return turn


def _order(size: int) -> list[int]:
    """Which column each vector holds in the end, found by running the stages on the numbers of the places."""
    rows = [[(r, c) for c in range(size)] for r in range(size)]
    distance = 1
    for lower, upper in _STAGES[size]:
        turned = list(rows)
        for k in range(size):
            if not k & distance:
                both = rows[k] + rows[k + distance]
                turned[k], turned[k + distance] = [both[i] for i in lower], [both[i] for i in upper]
        rows, distance = turned, 2 * distance
    assert all([r for r, _ in row] == list(range(size)) and len({c for _, c in row}) == 1 for row in rows)
    return [row[0][1] for row in rows]


_ORDER = {size: _order(size) for size in _STAGES}
_turn_4, _turn_8 = _block(4), _block(8)


@_compiled
def turned(source, at, step, rows, columns, out, out_at, out_step):  # type: ignore[no-untyped-def]
    """Write the transpose of a table: its rows lie `step` apart, those of the result `out_step`.

    Where a side is no multiple of eight (of four, if it is shorter), the last block overlaps the one before.
    """
    if rows >= 8 and columns >= 8:
        for r in range(0, rows, 8):
            i = min(r, rows - 8)
            for c in range(0, columns, 8):
                j = min(c, columns - 8)
                _turn_8(source, at + i * step + j, step, out, out_at + j * out_step + i, out_step)
    elif rows >= 4 and columns >= 4:
        for r in range(0, rows, 4):
            i = min(r, rows - 4)
            for c in range(0, columns, 4):
                j = min(c, columns - 4)
                _turn_4(source, at + i * step + j, step, out, out_at + j * out_step + i, out_step)
    else:
        for c in range(columns):
            for r in range(rows):
                store(out, out_at + c * out_step + r, load(source, at + r * step + c))


@_compiled
def moved(source, at, row, entry, rows, columns, out, out_at, out_row, out_entry):  # type: ignore[no-untyped-def]
    """Copy a table whose rows lie `row` apart and their entries `entry` to where they are `out_row` and `out_entry`."""
    if entry == 1 and out_row == 1:
        turned(source, at, row, rows, columns, out, out_at, out_entry)
    elif row == 1 and out_entry == 1:
        turned(source, at, entry, columns, rows, out, out_at, out_row)
    elif row == 1 and out_row == 1:
        for c in range(columns):
            for r in range(rows):
                store(out, out_at + c * out_entry + r, load(source, at + c * entry + r))
    else:
        for c in range(columns):
            for r in range(rows):
                store(out, out_at + c * out_entry + r * out_row, load(source, at + c * entry + r * row))


@_compiled
def cleared(out, at, row, entry, rows, columns, nothing):  # type: ignore[no-untyped-def]
    """Write the same number, a zero of the right type, all over a table."""
    if entry == 1 and row == columns:
        for i in range(rows * columns):
            store(out, at + i, nothing)
    elif entry == 1:
        for r in range(rows):
            for c in range(columns):
                store(out, at + r * row + c, nothing)
    else:
        for c in range(columns):
            for r in range(rows):
                store(out, at + c * entry + r * row, nothing)
