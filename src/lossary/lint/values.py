"""What is known of a value without running anything: the operation it came from, and what that was given."""

from __future__ import annotations

import ast
from typing import Any

from lossary.lint.vocabulary import KEEPS_MEANING

NO_KEYWORDS: dict[str, Value] = {}


class Value:
    """A value as the tree of operations that made it. `op` is "unknown" where nothing is known.

    `const` holds what the operation is about: a literal, the name of a framework's function, a class of the project.
    """

    __slots__ = ("args", "const", "kw", "no_grad", "node", "op", "unit")

    def __init__(
        self,
        op: str,
        args: tuple[Value, ...] = (),
        const: Any = None,
        *,
        kw: dict[str, Value] = NO_KEYWORDS,
        node: Any = None,
        unit: Any = None,
    ) -> None:
        self.op = op
        self.args = args
        self.const = const
        self.kw = kw
        self.node = node
        self.unit = unit
        self.no_grad = False

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.args))
        return f"{self.op}({inside}{f' {self.const!r}' if self.const is not None else ''})"

    @property
    def origin(self) -> Value:
        """What the numbers mean is decided here: reshapes, casts and copies are looked through."""
        value = self
        while value.op in KEEPS_MEANING and value.args:
            value = value.args[0]
        return value

    def option(self, name: str, position: int | None = None, default: Any = None) -> Any:
        """Return a literal argument of a layer or operation, or `default`."""
        value = self.kw.get(name)
        if value is None and position is not None and position < len(self.args):
            value = self.args[position]
        return value.const if value is not None and value.op == "const" else default


UNKNOWN = Value("unknown")


def is_const(value: Value, *numbers: Any) -> bool:
    """Whether a value is one of some literals."""
    return value.op == "const" and not isinstance(value.const, (str, bool)) and value.const in numbers


def same(a: Value, b: Value, depth: int = 8) -> bool:
    """Whether two values are certainly the same number, as far as can be told from how they came about."""
    if a is b:
        return True
    if depth == 0 or a.op != b.op or a.const != b.const or len(a.args) != len(b.args) or a.unit is not b.unit:
        return False
    if a.op in ("unknown", "call", "loop", "param"):
        return a.op == "call" and a.node is not None and b.node is not None and ast.dump(a.node) == ast.dump(b.node)
    return all(same(x, y, depth - 1) for x, y in zip(a.args, b.args, strict=True))


def merge(a: Value, b: Value) -> Value:
    """Return what is certain after two branches."""
    if a is b or (a.op not in ("list", "tuple") and a.op == b.op and same(a, b, 4)):
        return a
    return UNKNOWN


def contains(value: Value, ops: frozenset[str] | set[str], depth: int = 6) -> bool:
    """Whether one of some operations took part in making a value."""
    if value.op in ops:
        return True
    return depth > 0 and any(contains(part, ops, depth - 1) for part in value.args)


def last_dimension(value: Value) -> int | None:
    """Return the size of the last dimension, where a layer says it: ``Linear(..., 1)`` gives 1."""
    value = _through(value)
    if value.op in ("linear",) and isinstance(value.const, int):
        return value.const
    if (
        value.op in ("relu", "sigmoid", "softmax", "tanh", "softplus", "log_softmax", "neg", "exp", "logsigmoid")
        and value.args
    ):
        return last_dimension(value.args[0])
    return None


def _through(value: Value) -> Value:
    while value.op in ("cast", "float", "same", "clone", "detach") and value.args:
        value = value.args[0]
    return value


def layout(value: Value) -> str:
    """Return "column" for what is certainly (N, 1), "flat" for what is certainly (N,), and else ""."""
    value = _through(value)
    if value.op in ("unsqueeze",) and len(value.args) > 1:
        return "column" if is_const(value.args[1], 1, -1) and layout(value.args[0]) == "flat" else ""
    if value.op in ("view", "reshape"):
        sizes = _sizes(value.args[1:])
        if sizes == (-1,):
            return "flat"
        return "column" if sizes is not None and len(sizes) == 2 and sizes[1] == 1 else ""
    if value.op == "flatten" and len(value.args) == 1 and not value.kw:
        return "flat"
    if value.op in ("randn", "rand", "ones", "zeros", "randint"):
        sizes = _shape(value)
        if sizes is None:
            return ""
        if len(sizes) == 1:
            return "flat" if sizes[0] != 1 else ""
        return "column" if len(sizes) == 2 and sizes[1] == 1 and sizes[0] != 1 else ""
    if value.op == "literal":
        items = value.args[0].args
        if len(items) > 1 and all(item.op == "const" for item in items):
            return "flat"
        return ""
    if value.op in ("linear", "relu", "sigmoid", "tanh", "softplus", "neg", "exp"):
        if value.op == "linear":
            return "column" if value.const == 1 else ""
        return layout(value.args[0])
    return ""


def _sizes(values: tuple[Value, ...]) -> tuple[Any, ...] | None:
    if len(values) == 1 and values[0].op in ("tuple", "list"):
        values = values[0].args
    return tuple(v.const if v.op == "const" else None for v in values) if values else None


def _shape(value: Value) -> tuple[Any, ...] | None:
    arguments = value.args
    if value.op == "randint":
        named = value.kw.get("size")
        tuples = [v for v in arguments if v.op in ("tuple", "list")]
        arguments = (named,) if named is not None else tuple(tuples[:1])
    if any(v.op in ("unknown", "many", "call") for v in arguments):
        return None
    return _sizes(arguments)


def literal_numbers(value: Value) -> list[Any] | None:
    """Return the numbers of ``torch.tensor([...])`` written out, however nested, or None."""
    value = value.origin
    if value.op != "literal":
        return None
    found: list[Any] = []
    waiting = [value.args[0]]
    while waiting:
        part = waiting.pop()
        if part.op in ("list", "tuple"):
            waiting.extend(reversed(part.args))
        elif part.op == "const" and isinstance(part.const, (int, float)):
            found.append(part.const)
        else:
            return None
    return found


def number_type(value: Value) -> str:
    """Return "int", "float" or "bool" where the type of a tensor's numbers is certain, and else ""."""
    while (
        value.op
        in ("squeeze", "unsqueeze", "view", "reshape", "flatten", "same", "clone", "detach", "permute", "index")
        and value.args
    ):
        value = value.args[0]
    dtype = value.kw.get("dtype")
    if value.op == "float":
        return "float"
    if value.op in ("long", "argmax", "one_hot"):
        return "int"
    if value.op == "compare":
        return "bool"
    if value.op in ("cast", "literal", "randint", "ones", "zeros", "full", "ones_like", "zeros_like"):
        named = [dtype] if dtype is not None else list(value.args[1:]) if value.op == "cast" else []
        for candidate in named:
            if candidate.op == "name":
                said = str(candidate.const).rpartition(".")[2]
                return next((k for k, names in _TYPES.items() if said in names), "")
            return ""
        if value.op == "randint":
            return "int"
        if value.op == "literal":
            numbers = literal_numbers(value)
            if not numbers:
                return ""
            if all(isinstance(n, bool) for n in numbers):
                return "bool"
            return "float" if any(isinstance(n, float) for n in numbers) else "int"
    return ""


_TYPES = {
    "int": ("long", "int", "int64", "int32", "int16", "int8", "uint8"),
    "float": ("float", "float32", "float64", "double", "half", "float16", "bfloat16"),
    "bool": ("bool",),
}
