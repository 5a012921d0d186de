"""The numbers of an array decide, and not where they lie in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lossary
from lossary.testing import random_arrays

ENTRIES = 16400  # from where every kernel computes
COLUMNS = 20  # rows side by side in the last axis of the batch: a whole register and some more
Make = Callable[[Any], Any]


def unaligned(x: Any) -> Any:
    """The same numbers at an odd address, as behind the header of a file."""
    made = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    made[...] = x
    assert not made.flags.aligned or x.dtype.itemsize == 1
    return made


def inside(x: Any) -> Any:
    """A part of a larger array."""
    whole = np.zeros([n + 3 for n in x.shape], x.dtype)
    part = whole[tuple(slice(1, 1 + n) for n in x.shape)]
    part[...] = x
    return part


def permuted(x: Any, *axes: int) -> Any:
    """The same array, its axes in another order in memory."""
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


def strange(x: Any) -> Any:
    """Axes of length 1 have strides that no walk along them would survive."""
    strides = [step if n > 1 else 1234567 for n, step in zip(x.shape, x.strides, strict=True)]
    return np.lib.stride_tricks.as_strided(x, x.shape, strides)


def read_only(x: Any) -> Any:
    made = x.copy()
    made.flags.writeable = False
    return made


def windows(x: Any) -> Any:
    """Rows that overlap."""
    line = np.resize(x.ravel(), sum(x.shape))
    return np.lib.stride_tricks.as_strided(line, x.shape, (line.itemsize,) * x.ndim)


def repeated(*axes: int) -> Make:
    """One place stands for all along some axes."""

    def make(x: Any) -> Any:
        held = tuple(slice(0, 1) if a in axes or a - x.ndim in axes else slice(None) for a in range(x.ndim))
        return np.broadcast_to(x[held], x.shape)

    return make


LAYOUTS: dict[str, Make] = {
    "axes reversed": lambda x: permuted(x, *reversed(range(x.ndim))),
    "second axis first": lambda x: permuted(x, 2, 0, 1, *range(3, x.ndim)),
    "part of a larger one": inside,
    "backwards": lambda x: x[::-1, :, ::-1].copy()[::-1, :, ::-1],
    "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "unaligned": unaligned,
    "unaligned and reversed": lambda x: unaligned(x.T).T,
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
    "read-only": read_only,
    "strange strides": strange,
    "overlapping": windows,
    "repeated along the first axis": repeated(0),
    "repeated along the last of the batch": repeated(2),
    "repeated along the batch": repeated(0, 1, 2),
    "repeated along the entries": repeated(-1),
    "one number": repeated(0, 1, 2, 3, 4, 5),
}


def losses() -> Iterator[Any]:
    """Every loss in every alternative, on short rows and on long ones."""
    for name in lossary.names():
        loss = lossary.get(name)
        if loss.coupling is not None:
            continue
        for alternative, signature in enumerate(loss.signatures):
            for width in (5, 140) if signature.rank == 1 else (5,):
                yield pytest.param(loss, alternative, width, id=f"{name}-{alternative}-{width}")


def drawn(loss: Any, alternative: int, width: int, dtype: Any = np.float32) -> list[Any]:
    """Random arrays whose batch has three axes, the second of length 1."""
    rank = loss.signatures[alternative].rank
    sizes = {"c": width, "d": width, "n": width} if rank < 2 else {"c": width}
    count = COLUMNS * max(3, -(-ENTRIES // (COLUMNS * (width if rank else 1)))) if rank < 2 else 3 * COLUMNS
    made = random_arrays(loss, np.random.default_rng(width), 12 if loss.conditions else count, sizes, alternative)
    made = [np.resize(x, (count, *x.shape[1:])) for x in made]
    shaped = [x.reshape(-1, 1, COLUMNS, *x.shape[1:]) for x in made]
    return [x.astype(dtype) if x.dtype.kind == "f" else x for x in shaped]


def result(loss: Any, arrays: list[Any]) -> list[Any]:
    value, grads = loss.value_and_grad(*arrays, check=False)
    return [value, *(grads if isinstance(grads, tuple) else (grads,))]


@pytest.mark.parametrize(("loss", "alternative", "width"), list(losses()))
def test_every_array_of_every_loss_may_lie_anyhow(loss: Any, alternative: int, width: int) -> None:
    arrays = drawn(loss, alternative, width)
    for at, name in enumerate(loss.arguments):
        for layout, make in LAYOUTS.items():
            laid = [make(x) if at == k else x for k, x in enumerate(arrays)]
            plain = [x.astype(x.dtype.newbyteorder("=")).copy() for x in laid]
            with np.errstate(all="ignore"):
                found, expected = result(loss, laid), result(loss, plain)
            for ours, theirs in zip(found, expected, strict=True):
                np.testing.assert_allclose(ours, theirs, 1e-5, 1e-6, err_msg=f"{name}: {layout}")
