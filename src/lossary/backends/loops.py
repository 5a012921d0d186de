"""Loops of a namespace, `scan` and `map_rows`, written in Python for frameworks that execute eagerly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lossary.backends.protocol import Array, Arrays, Step


def scan(
    concat: Callable[[Sequence[Array], int], Array],
    zeros: Callable[[Array, tuple[int, ...]], Array],
    step: Step,
    carry: Arrays,
    xs: Arrays,
    reverse: bool,
) -> tuple[Arrays, Arrays]:
    """Run a step along the axis before the last; see `lossary.backends.protocol.Namespace.scan`.

    `concat` joins arrays along an axis, and `zeros` makes some of the type and device of an array, in a shape.
    """
    length: int = xs[0].shape[-2]
    if not length:  # one step on zeros gives the shapes and types of the empty outputs
        _, outputs = step(carry, tuple(zeros(x, (*x.shape[:-2], 1, x.shape[-1])) for x in xs))
        return carry, tuple(output[..., :0, :] for output in outputs)
    found: list[Arrays] = []
    for at in reversed(range(length)) if reverse else range(length):
        carry, outputs = step(carry, tuple(x[..., at : at + 1, :] for x in xs))
        found.append(outputs)
    return carry, tuple(concat(parts[::-1] if reverse else parts, -2) for parts in zip(*found, strict=True))


def map_rows(
    concat: Callable[[Sequence[Array], int], Array], function: Callable[..., Array], xs: Arrays, size: int, most: int
) -> Array:
    """Apply a function to blocks of rows; see `lossary.backends.protocol.Namespace.map_rows`.

    A block has at most `most` entries in its temporary, or those of one row.
    """
    count, height = xs[0].shape[-2], max(1, most // max(1, size))
    if count <= height:
        return function(*xs)
    starts = range(0, count, height)
    return concat([function(*(x[..., start : start + height, :] for x in xs)) for start in starts], -2)
