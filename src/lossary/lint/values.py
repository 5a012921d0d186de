"""What is known of a value without running anything: the operation it came from, and what that was given."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from lossary.lint.vocabulary import AVERAGES, KEEPS_MEANING, KEEPS_SCALE

NO_KEYWORDS: dict[str, Value] = {}


class Value:
    """A value as the tree of operations that made it. `op` is "unknown" where nothing is known.

    `const` holds what the operation is about: a literal, the name of a framework's function, a class of the project.
    """

    __slots__ = ("args", "attributes", "const", "kw", "no_grad", "node", "op", "unit", "version")

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
        self.attributes: dict[str, Value] | None = None  # what was assigned to attributes of an outside object
        self.version = 0  # how often attributes were assigned

    def attribute(self, name: str) -> Value | None:
        """Return what an attribute of an object was set to, if that was seen."""
        return None if self.attributes is None else self.attributes.get(name)

    def set_attribute(self, name: str, value: Value) -> None:
        """Remember what an attribute of an object is set to."""
        self.attributes = {**(self.attributes or {}), name: value}
        self.version += 1

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


_OPAQUE = frozenset({"unknown", "call", "loop", "param", "part", "many"})
VISITS = 200  # of one value's parts, whatever asks: values are graphs, and as trees they may be exponentially large


def same(a: Value, b: Value, depth: int = 8) -> bool:
    """Whether two values are certainly the same number, as far as can be told from how they came about."""
    if a is b:
        return True
    if depth == 0 or a.op != b.op or a.const != b.const or len(a.args) != len(b.args) or a.unit is not b.unit:
        return False
    if a.op in _OPAQUE:
        return a.op == "call" and a.node is not None and b.node is not None and ast.dump(a.node) == ast.dump(b.node)
    if a.kw.keys() != b.kw.keys() or not all(same(a.kw[key], b.kw[key], depth - 1) for key in a.kw):
        return False
    return all(same(x, y, depth - 1) for x, y in zip(a.args, b.args, strict=True))


_OBJECTS = frozenset({"layer", "instance", "function", "class", "name", "partial", "optimizer", "loss"})


def truth(value: Value) -> bool | None:
    """Whether a test holds, where that is certain."""
    if value.op == "const":
        return bool(value.const)
    if value.op in _OBJECTS and value.op != "loss":
        return True
    if value.op == "not":
        inner = truth(value.args[0])
        return None if inner is None else not inner
    if value.op in ("and", "or"):
        answers = [truth(part) for part in value.args]
        decisive = value.op == "or"
        if decisive in answers:
            return decisive
        return None if None in answers else not decisive
    if value.op == "compare" and len(value.args) == 2:
        a, b = value.args
        if value.const in ("Is", "IsNot", "Eq", "NotEq"):
            alike = _equal(a, b)
            return None if alike is None else alike == (value.const in ("Is", "Eq"))
        if value.const in ("In", "NotIn") and a.op == "const" and b.op in ("tuple", "list"):
            if all(part.op == "const" for part in b.args):
                inside: bool = a.const in [part.const for part in b.args]
                return inside is (value.const == "In")
    return None


def _equal(a: Value, b: Value) -> bool | None:
    if a.op == b.op == "const":
        alike: bool = a.const == b.const
        return alike if type(a.const) is type(b.const) or None in (a.const, b.const) else None
    for one, other in ((a, b), (b, a)):
        if one.op == "const" and one.const is None and other.op in _OBJECTS:
            return False
    return None


# What can be called: of two that differ, either may be meant.
_CALLABLE = frozenset({"layer", "instance", "function", "class", "name", "partial", "either", "loss"})
_BY_PARTS = frozenset(
    "softmax log_softmax sigmoid logsigmoid relu exp log sqrt linear conv softplus tanh layer tuple dict neg detach item "
    "argmax dropout cat stack same view model cast float long one_hot clamp optimizer model-call".split()
)


_ONE_INPUT = frozenset("softmax log_softmax sigmoid logsigmoid relu clamp dropout argmax".split())


def merge(a: Value, b: Value, depth: int = 4) -> Value:
    """Return what is certain after two branches: the same operation of whatever is certain of its parts."""
    if a is b or (a.op == b.op and same(a, b, 4)):
        return a
    if depth == 0:
        return UNKNOWN
    if a.op == "bounded" or b.op == "bounded":
        a, b = (x.args[0] if x.op == "bounded" else x for x in (a, b))
        return merge(a, b, depth - 1)
    if a.op == b.op == "list":
        return _merged_lists(a, b)
    if a.op == b.op and a.op in _BY_PARTS and len(a.args) == len(b.args):
        if a.const == b.const or a.op not in ("layer", "optimizer", "model-call"):
            kw = {key: merge(a.kw.get(key, UNKNOWN), b.kw.get(key, UNKNOWN), depth - 1) for key in {**a.kw, **b.kw}}
            parts = tuple(merge(x, y, depth - 1) for x, y in zip(a.args, b.args, strict=True))
            result = Value(a.op, parts, a.const if a.const == b.const else None, kw=kw, node=a.node, unit=a.unit)
            result.no_grad = a.no_grad and b.no_grad
            return result
    if a.op == b.op and a.op in _ONE_INPUT and a.args and b.args:
        kw = {"dim": UNKNOWN} if a.op in ("softmax", "log_softmax") else {}
        return Value(a.op, (merge(a.args[0], b.args[0], depth - 1),), kw=kw, node=a.node, unit=a.unit)
    none = [x for x in (a, b) if x.op == "const" and x.const is None]
    choices = [x for value in (a, b) for x in (value.args if value.op == "either" else (value,)) if x not in none]
    if choices and len(choices) <= 4 and all(x.op in _CALLABLE for x in choices):
        distinct = [x for at, x in enumerate(choices) if not any(same(x, y, 4) for y in choices[:at])]
        if len(distinct) == 1 and not none:
            return distinct[0]
        return Value("either", tuple(distinct), node=a.node, unit=a.unit)
    origins = a.origin, b.origin
    if (a is not origins[0] or b is not origins[1]) and origins[0].op == origins[1].op and origins[0].op in _BY_PARTS:
        return Value("view", (merge(*origins, depth - 1),), node=a.node, unit=a.unit)
    return UNKNOWN


def _merged_lists(a: Value, b: Value) -> Value:
    """Return what two lists begin and end with, and something unknown between."""
    shorter = min(len(a.args), len(b.args))
    head = next((at for at in range(shorter) if not same(a.args[at], b.args[at], 4)), shorter)
    tail = next((at for at in range(shorter - head) if not same(a.args[-1 - at], b.args[-1 - at], 4)), shorter - head)
    if head == tail == 0:
        # The same number of entries, one by one, is as good: [Linear, Softmax] in either branch.
        if len(a.args) == len(b.args):
            parts = tuple(merge(x, y, 2) for x, y in zip(a.args, b.args, strict=True))
            return Value("list", parts, node=a.node, unit=a.unit)
    middle = Value("many", node=a.node, unit=a.unit)
    end = a.args[len(a.args) - tail :] if tail else (merge(a.args[-1], b.args[-1], 2),) if shorter > head else ()
    return Value("list", (*a.args[:head], middle, *end), node=a.node, unit=a.unit)


def parts(value: Value, through: frozenset[str] | set[str] | Callable[[Value], bool]) -> Iterator[Value]:
    """Return a value and what it was made of, looking through some operations; each part once, a limited number."""
    enter = through if callable(through) else lambda part: part.op in through
    waiting, seen = [value], {id(value)}
    while waiting and len(seen) < VISITS:
        part = waiting.pop()
        yield part
        if enter(part):
            for inner in part.args:
                if id(inner) not in seen:
                    seen.add(id(inner))
                    waiting.append(inner)


_THROUGH = KEEPS_MEANING | frozenset(
    "add sub mul div neg mean sum total either list tuple clamp stack cat pow exp log many nan_to_num view".split()
)


def losses_in(value: Value) -> list[Value]:
    """Return the losses that a value is made of, as long as its graph leads back to them."""
    through = _THROUGH - {"detach"}
    found = parts(value, lambda part: part.op in through or (part.op == "call" and part.const in ("scale", "sum")))
    return [part for part in found if part.op == "loss"]


def meaning(value: Value, budget: int = 40) -> Value:
    """Return the operation that decides what numbers mean: probabilities stay probabilities when they are concatenated,
    averaged, resized, clamped or partly dropped, and exp undoes a logarithm.
    """
    for _ in range(budget):
        value = value.origin
        if value.op in KEEPS_SCALE and value.args:
            value = value.args[0]
        elif value.op in ("cat", "stack") and value.args and value.args[0].op in ("list", "tuple"):
            value = _alike(value.args[0].args, budget // 4)
        elif value.op == "either":
            return _alike(value.args, budget // 4)
        elif value.op in AVERAGES and (len(value.args) > 1 or value.kw):
            inner = meaning(value.args[0], budget // 4)
            return inner if inner.op in ("softmax", "sigmoid") else value
        elif value.op in ("div", "mul", "add") and len(value.args) == 2:
            return _average(value, budget // 4)
        elif value.op == "exp" and value.args:
            undone = {"log_softmax": "softmax", "logsigmoid": "sigmoid"}
            inner = meaning(value.args[0], budget // 4)
            if inner.op not in undone:
                return value
            return Value(undone[inner.op], inner.args, kw=inner.kw, node=inner.node, unit=inner.unit)
        elif value.op == "sub" and len(value.args) == 2 and is_const(value.args[0], 1, 1.0):
            inner = meaning(value.args[1], budget // 4)
            return inner if inner.op == "sigmoid" else value
        else:
            return value
    return value


def _alike(choices: tuple[Value, ...], budget: int) -> Value:
    """Return what all of some values mean, if that is the same operation."""
    meanings = [
        meaning(choice.args[0] if choice.op == "many" and choice.args else choice, budget) for choice in choices
    ]
    if not meanings or any(m.op != meanings[0].op for m in meanings):
        return UNKNOWN
    return meanings[0]


def _average(value: Value, budget: int) -> Value:
    """Return the meaning of (p + q) / 2, of 0.5 * p + 0.5 * q, and of p + 1e-9; and else the value itself."""
    a, b = value.args
    if value.op == "add" and (_tiny(a) or _tiny(b)):
        inner = meaning(a if _tiny(b) else b, budget)
        return inner if inner.op in ("softmax", "sigmoid") else value
    terms = a if value.op != "add" else value
    if value.op == "mul" and a.op == "const":
        terms = b
    if terms.op == "add" and len(terms.args) == 2:
        weighted = [_unweighted(t) for t in terms.args]
        same_scale = value.op in ("div", "mul") or all(w is not t for w, t in zip(weighted, terms.args, strict=True))
        inner = _alike(tuple(weighted), budget)
        if same_scale and inner.op in ("softmax", "sigmoid"):
            return inner
    return value


def _unweighted(term: Value) -> Value:
    if term.op == "mul" and len(term.args) == 2:
        return next((x for x, other in (term.args, term.args[::-1]) if other.op == "const"), term)
    return term


def _tiny(value: Value) -> bool:
    return value.op == "const" and isinstance(value.const, float) and 0 < abs(value.const) <= 1e-3


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


def axis_of(value: Value) -> Any:
    """Return the axis of a softmax, a sum or a mean: a literal, None where it is all, unknown or a guess.

    PyTorch has no default for softmax; TensorFlow, Keras, JAX and Flax take the last axis.
    """
    given = value.kw.get("dim") or value.kw.get("axis") or (value.args[1] if len(value.args) > 1 else None)
    if given is not None:
        return given.const if given.op == "const" else None
    elsewhere = str(value.const or "").split(".")[0] in ("keras", "tensorflow", "jax", "flax", "scipy")
    return -1 if elsewhere and value.op in ("softmax", "log_softmax") else None


def _through(value: Value) -> Value:
    while value.op in ("cast", "float", "same", "clone", "detach", "bounded", "model") and value.args:
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
