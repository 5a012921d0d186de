"""An example's value and derivatives have the same bits, whatever other examples and how many come with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lossary
from lossary.catalogue import Loss
from lossary.testing import kernels, random_arrays

SIMPLE = [loss for loss in map(lossary.get, lossary.names()) if not loss.coupling]
CASES = [
    (loss, number, classes)
    for loss in SIMPLE
    for number, signature in enumerate(loss.signatures)
    if signature.rank < 2
    for classes in ((10, 200) if signature.rank else (1,))
]
COUNTS = (1, 3, 17, 1000, 4103)  # of examples: parts of registers and of blocks among them


def computed(loss: Loss, arrays: list[Any]) -> list[Any]:
    value, grads = loss.value_and_grad(*arrays)
    return [np.asarray(x) for x in (value, *(grads if isinstance(grads, tuple) else (grads,)))]


@pytest.mark.parametrize(("loss", "number", "classes"), CASES, ids=[f"{x.name}-{n}-{c}" for x, n, c in CASES])
def test_no_other_example_changes_a_bit(loss: Loss, number: int, classes: int) -> None:
    """By kernels at any size; a definition computes each example by itself."""
    torch = pytest.importorskip("torch")
    most = 4_500 if classes == 1 else 2_600 if classes == 10 else 1_100
    drawn = random_arrays(loss, np.random.default_rng(0), most, {"c": classes}, number)
    arrays = [x.astype(np.float32) if x.dtype.kind == "f" else x for x in drawn]
    counts = [count for count in COUNTS if count < most]
    threads = torch.get_num_threads()
    with kernels("always"):
        whole = computed(loss, arrays)
        # From the start and from the end of the batch in turn, on NumPy and on torch in turn.
        for at, count in enumerate(counts):
            part = slice(most - count, most) if at % 2 else slice(count)
            made = torch.from_numpy if at % 3 else np.ascontiguousarray
            for x, y in zip(computed(loss, [made(x[part]) for x in arrays]), whole, strict=True):
                np.testing.assert_array_equal(x, y[part], err_msg=f"{part}")
        torch.set_num_threads(1)
        try:
            for x, y in zip(computed(loss, [torch.from_numpy(x) for x in arrays]), whole, strict=True):
                np.testing.assert_array_equal(x, y, err_msg="one thread")
        finally:
            torch.set_num_threads(threads)
