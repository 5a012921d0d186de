"""Sizes of chunks: how many rows of logits a linear head makes at a time, from a budget of memory for each device.

A size never depends on how much memory happens to be free: the same call has the same chunks, and the same bits, every
time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import NamedTuple


class Budget(NamedTuple):
    """Memory for a chunk on a kind of device: the logits, their gradient, and what the loss makes of them."""

    bytes: int
    least_rows: int  # with fewer, adding to the gradient of the weight takes longer than the matrix product
    part: int  # of the device's memory, one over this number, that a chunk never exceeds


BUDGETS = {"cpu": Budget(48 * 2**20, 256, 16)}  # about a last-level cache
ACCELERATOR = Budget(2 * 2**30, 256, 16)  # rows enough for a product that keeps the device busy


class RowCost(NamedTuple):
    """Bytes that a row of logits takes while its chunk is computed, and how much of them no chunk exceeds.

    `kept` are for every row of the chunk. `temporary` are the further ones of a definition, which are only those of a
    block where it runs in blocks; `block` are the bytes of all temporaries of a block, or None if it runs on the whole
    chunk.
    """

    kept: int
    temporary: int = 0
    block: int | None = None

    def rows(self, budget: int) -> int:
        """Return how many rows a chunk has whose memory keeps to a budget."""
        whole = budget // max(1, self.kept + self.temporary)
        in_blocks = 0 if self.block is None else (budget - self.block) // max(1, self.kept)
        return max(1, whole, in_blocks)

    def bytes(self, rows: int) -> int:
        """Return how much memory a chunk of so many rows takes."""
        temporary = rows * self.temporary
        return rows * self.kept + (temporary if self.block is None else min(temporary, self.block))


def rows_of_chunk(cost: RowCost, device: str, total_memory: float, memory: int | None) -> int:
    """Return how many rows a chunk has at most; `memory` is the budget of the caller, or None for the device's."""
    if memory is None:
        budget = BUDGETS.get(device, ACCELERATOR)
        memory = int(min(max(budget.bytes, cost.bytes(budget.least_rows)), total_memory / budget.part))
    return cost.rows(memory)


def spans(count: int, most: int) -> Iterator[slice]:
    """Divide rows into chunks of about the same length, of `most` rows at most."""
    if not count:
        return
    rows = -(-count // -(-count // most))
    for start in range(0, count, rows):
        yield slice(start, min(start + rows, count))


def host_memory() -> float:
    """Return how many bytes of memory the host has, or infinity where the system does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf
