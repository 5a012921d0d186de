"""Between which bounds a value lies, as far as the operations that made it say: tanh in [-1, 1], -abs(x) at most 0."""

from __future__ import annotations

import math

from lossary.lint.values import Value, literal_numbers, same
from lossary.lint.vocabulary import KEEPS_MEANING

Interval = tuple[float, float]
ANY: Interval = (-math.inf, math.inf)
_FIXED: dict[str, Interval] = {
    "sigmoid": (0, 1),
    "softmax": (0, 1),
    "rand": (0, 1),
    "one_hot": (0, 1),
    "compare": (0, 1),
    "tanh": (-1, 1),
    "cosine_similarity": (-1, 1),
    "normalize": (-1, 1),
    "sign": (-1, 1),
    "log_softmax": (-math.inf, 0),
    "logsigmoid": (-math.inf, 0),
    "abs": (0, math.inf),
    "relu": (0, math.inf),
    "softplus": (0, math.inf),
    "norm": (0, math.inf),
    "std": (0, math.inf),
    "var": (0, math.inf),
    "square": (0, math.inf),
    "sqrt": (0, math.inf),
    "uint8": (0, 255),
}
_SMALL = ("linspace", "arange", "range")  # of numbers that somebody wrote down: no data
_FAR = 80.0  # beyond which exp overflows in float32


def interval(value: Value, depth: int = 12) -> Interval:
    """Return bounds of a value, infinite where nothing is known.

    >>> interval(Value("neg", (Value("abs", (Value("param"),)),)))
    (-inf, 0)
    """
    if depth == 0:
        return ANY
    op, args = value.op, value.args
    if op == "const":
        number = value.const
        return (number, number) if isinstance(number, (int, float)) and not isinstance(number, bool) else ANY
    if op in _FIXED:
        return _FIXED[op]
    if op == "literal":
        numbers = literal_numbers(value)
        return (min(numbers), max(numbers)) if numbers else ANY
    if op in _SMALL or (op == "call" and str(value.const).rpartition(".")[2] in _SMALL):
        return (-_FAR, _FAR)
    inner = [interval(part, depth - 1) for part in args[:3]] if args else []
    if op in KEEPS_MEANING or op in ("mean", "max", "gather", "pool", "interpolate", "dropout", "amax"):
        return inner[0] if inner else ANY
    return _arithmetic(op, value, inner)


def _arithmetic(op: str, value: Value, inner: list[Interval]) -> Interval:
    if op == "neg" and inner:
        return (-inner[0][1], -inner[0][0])
    if op == "exp" and inner:
        return (math.exp(min(inner[0][0], 700)), math.exp(inner[0][1]) if inner[0][1] < 700 else math.inf)
    if op in ("log", "log1p") and inner:
        low, high = (x + (op == "log1p") for x in inner[0])
        return (math.log(low) if low > 0 else -math.inf, math.log(high) if 0 < high < math.inf else math.inf)
    if op == "clamp" and inner:
        return _clamped(value, inner[0])
    if op == "sub" and len(inner) == 2 and _minus_maximum(value):
        return (-math.inf, 0)
    if len(inner) < 2:
        return ANY
    (a, b), (c, d) = inner[:2]
    if op in ("minimum", "maximum"):
        chosen = min if op == "minimum" else max
        return (chosen(a, c), chosen(b, d))
    if op == "where" and len(inner) == 3:
        (a, b), (c, d) = inner[1:]
        return (min(a, c), max(b, d))
    if op == "add":
        return (a + c, b + d)
    if op == "sub":
        return (a - d, b - c)
    if op == "mul":
        if len(value.args) == 2 and same(value.args[0], value.args[1]):
            return (0, math.inf)
        return _hull([_product(x, y) for x in (a, b) for y in (c, d)])
    if op == "div" and (c > 0 or d < 0):
        return _hull([_product(x, 1 / y if y else math.inf) for x in (a, b) for y in (c, d)])
    if op == "pow" and c == d and c in (2, 4):
        return (0, math.inf)
    return ANY


def _product(x: float, y: float) -> float:
    return 0.0 if x == 0 or y == 0 else x * y


def _hull(numbers: list[float]) -> Interval:
    return (min(numbers), max(numbers))


def _clamped(value: Value, inner: Interval) -> Interval:
    low, high = inner
    bounds = [
        value.kw.get(name) or (value.args[position] if position < len(value.args) else None)
        for name, position in (("min", 1), ("max", 2))
    ]
    for at, bound in enumerate(bounds):
        if bound is not None and bound.op == "const" and isinstance(bound.const, (int, float)):
            low, high = (max(low, bound.const), high) if at == 0 else (low, min(high, bound.const))
        elif bound is not None and not (bound.op == "const" and bound.const is None):
            low, high = (max(low, -_FAR), high) if at == 0 else (low, min(high, _FAR))
    return (low, high)


def _minus_maximum(value: Value) -> bool:
    """Whether the largest of some numbers is subtracted from them."""
    left, right = value.args
    right = right.origin
    while right.op in ("index", "detach") and right.args:
        right = right.args[0].origin
    if right.op in ("max", "logsumexp") and right.args:
        return same(right.args[0].origin, left.origin) or right.args[0].origin is left.origin
    return False
