"""Loops over rows do no work that a loss does not ask for, and partial sums are added in one order.

Internal: the numbers are the same either way, and a test of running time would depend on the machine.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss

pytest.importorskip("numba", reason="kernels need the fast extra")

from lossary.kernels.cpu.row_source import RowVariant, write
from lossary.kernels.cpu.runtime import sums


def source_of(loss: Loss, order: int, value: str | None = "sum") -> str:
    held = tuple((name, held) for name, held in loss.defaults.items() if name != "ignore_index")
    return write(RowVariant(loss, 0, "float32", held, (), (), (order,) * (order > 0), value, "", 64))[0]


def test_generated_source_reads_like_the_definition() -> None:
    loss = lossary.multiclass_hinge
    source, *_ = write(RowVariant(loss, 0, "float32", (), ("margin",), (), (1,), "sum", "", 64))
    assert "violation = margin + (rival - score)" in source
    assert "for j in range(width):" in source


def test_what_is_multiplied_by_a_one_hot_row_is_computed_at_the_label_alone() -> None:
    source = source_of(lossary.softmax_cross_entropy, 1)
    loops = source.split("for j in range(width):")[1:]
    entries = [re.split(r"\n {8}(?=\S)", loop)[0] for loop in loops]
    assert "expm1(" in source
    assert not any("expm1(" in loop for loop in entries)
    assert sum(re.search(r"\bexp(_nonpositive)?\(", loop) is not None for loop in entries) == 1


def test_a_loss_that_reads_rows_at_their_labels_alone_does_not_go_through_them() -> None:
    for order in (0, 1):
        source = source_of(lossary.nll, order)
        assert "range(width)" not in source
        assert "moved(" not in source.split("def tiles")[1]
    assert "cleared(derivative_0_out" in source_of(lossary.nll, 1)
    # Margins know the score at the label before they go through the others.
    assert source_of(lossary.multi_margin, 0).count("range(width)") == 1


def test_partial_sums_are_added_one_after_the_other() -> None:
    numbers = np.random.default_rng(0).standard_normal((1000, 2)) * 10.0 ** np.arange(-5, 5).repeat(100)[:, None]
    for count in (0, 1, 2, 3, 4, 7, 8, 9, 129, 1000):
        for table in (numbers[:count], np.ascontiguousarray(numbers[:count, 0])):
            expected = 0.0
            for x in numbers[:count, 0].tolist():
                expected += x
            assert sums.total(np.ascontiguousarray(table)) == expected
