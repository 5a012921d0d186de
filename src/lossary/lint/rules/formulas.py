"""LOS5: formulas written by hand that lose their digits, or their gradient."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from lossary.lint.flow import FlowEvent, dotted
from lossary.lint.intervals import interval
from lossary.lint.records import Fix, Problem, rule
from lossary.lint.rules.common import guarded, in_autograd_function, one_minus, replace, thought_of
from lossary.lint.values import VISITS, Value, is_const, parts, same

_LARGE = 80.0  # exp stays finite in float32 up to 88.7
_HEAD = "import torch\nimport torch.nn.functional as F\nimport numpy as np\n\n"


def _inline(event: FlowEvent, value: Value) -> ast.Call | None:
    """The call that made a value, if it stands in the expression looked at."""
    node = value.node
    inside = value.unit is event.unit and isinstance(node, ast.Call) and any(n is node for n in ast.walk(event.node))
    return node if inside else None


# The places whose functions may stand for each other: an inner call under another name, and the logarithm around it.
_PLACES = {
    "torch": ("torch", "torch.nn.functional"),
    "jax": ("jax.nn", "jax.numpy"),
    "scipy": ("scipy.special", "numpy"),
    "tensorflow": ("tensorflow.nn", "tensorflow.math", "tensorflow"),
}
_KEPT = {"log_softmax": {"dim", "axis", "input", "dtype", "x", "logits"}, "logsigmoid": {"input"}}


def _renamed(event: FlowEvent, old: str, new: str) -> Fix | None:
    """``torch.log(F.softmax(x, dim=1))`` as ``F.log_softmax(x, dim=1)``: the inner call under another name."""
    inner = _inline(event, event.args[0])
    if inner is None or not isinstance(inner.func, ast.Attribute) or inner.func.attr != old:
        return None
    if any(k.arg not in _KEPT[new] for k in inner.keywords) or any(isinstance(a, ast.Starred) for a in inner.args):
        return None
    outer = event.node
    if not isinstance(outer, ast.Call) or not isinstance(outer.func, ast.Attribute) or outer.keywords:
        return None
    held = event.flow.eval(inner.func.value, event.frame)
    unit = event.unit
    arguments = unit.source(inner)[len(unit.source(inner.func)) :]
    if held.op != "name":
        known = held.op in ("unknown", "param", "call", "linear", "attribute", "bounded")
        if not known or new != "log_softmax" or outer.func.value is not inner or outer.args:
            return None
        return Fix(new, (replace(unit, outer, f"{unit.source(inner.func.value)}.log_softmax{arguments}"),))
    places = next((p for p in _PLACES.values() if held.const in p), ())
    around = event.flow.eval(outer.func.value, event.frame) if outer.args else held
    direct = outer.args == [inner] if outer.args else outer.func.value is inner
    if not direct or around.op != "name" or around.const not in places or "dtype" in {k.arg for k in inner.keywords}:
        return None
    if new == "logsigmoid":
        if places != _PLACES["torch"] or held.const not in ("torch", "torch.nn.functional"):
            return None
        new = "nn.functional.logsigmoid" if held.const == "torch" else new
    return Fix(new, (replace(unit, outer, f"{unit.source(inner.func.value)}.{new}{arguments}"),))


# Drawing from logarithms of probabilities, -inf is an answer: never.
_SAMPLERS = ("categorical", "Categorical", "multinomial", "OneHotCategorical", "gumbel_softmax")
_CLAMPS = ("clamp", "clamp_min", "clip", "clip_by_value", "maximum")


@rule(
    "LOS501",
    "log-of-softmax",
    on="log",
    numbers="For the logits [0, -200] in float32 it gives -inf; log_softmax gives -200.",
    wrong=_HEAD + "def logp(z):\n    return torch.log(torch.softmax(z, dim=1))\n",
    right=_HEAD + "def logp(z):\n    return torch.log_softmax(z, dim=1)\n",
    near=(
        _HEAD + "def entropy(z):\n    p = torch.softmax(z, dim=1)\n    return -(p * torch.log(p + 1e-9)).sum(1)\n",
        _HEAD + "def logp(p):\n    return torch.log(p)\n",
    ),
    fixable=True,
)
def log_of_softmax(event: FlowEvent) -> Iterator[Problem]:
    """The logarithm of softmax.

    Small probabilities underflow to 0, whose logarithm is -inf and whose gradient NaN. log_softmax subtracts in the
    logarithm, and is exact.
    """
    value = event.args[0] if event.args else None
    if value is None or len(event.args) != 1 or thought_of(event, value, *_SAMPLERS, *_CLAMPS):
        return
    if value.origin.op == "softmax":
        yield Problem(
            event.node,
            "the logarithm of softmax underflows",
            "Use log_softmax.",
            _renamed(event, "softmax", "log_softmax"),
        )


@rule(
    "LOS502",
    "log-of-sigmoid",
    on="log",
    numbers="For the logit -200 in float32 it gives -inf; logsigmoid gives -200.",
    wrong=_HEAD + "def logp(z):\n    return torch.log(torch.sigmoid(z))\n",
    right=_HEAD + "def logp(z):\n    return F.logsigmoid(z)\n",
    near=(_HEAD + "def logp(p):\n    return torch.log(p)\n",),
    fixable=True,
)
def log_of_sigmoid(event: FlowEvent) -> Iterator[Problem]:
    """The logarithm of sigmoid.

    Beyond -104 sigmoid is 0 in float32, its logarithm -inf. logsigmoid is exact, and its gradient never dies.
    """
    if len(event.args) == 1 and event.args[0].origin.op == "sigmoid" and not thought_of(event, event.args[0], *_CLAMPS):
        yield Problem(
            event.node,
            "the logarithm of sigmoid underflows",
            "Use logsigmoid (NumPy: -np.logaddexp(0, -x)).",
            _renamed(event, "sigmoid", "logsigmoid"),
        )


@rule(
    "LOS503",
    "log-of-one-minus-probability",
    on="log",
    numbers="For the logit 20 in float32 1 - sigmoid is exactly 0, and the result -inf; logsigmoid(-20) is -20.",
    wrong=_HEAD + "def logq(z):\n    return torch.log(1 - torch.sigmoid(z))\n",
    right=_HEAD + "def logq(z):\n    return F.logsigmoid(-z)\n",
    near=(_HEAD + "def logq(p):\n    return torch.log(1 - p)\n",),
)
def log_of_one_minus_probability(event: FlowEvent) -> Iterator[Problem]:
    """The logarithm of 1 - sigmoid, or of 1 - softmax.

    A probability near 1 has few digits left to say how near. 1 - sigmoid(x) is sigmoid(-x): take logsigmoid(-x).
    """
    inner = one_minus(event.args[0]) if len(event.args) == 1 else None
    if inner is not None and inner.origin.op in ("sigmoid", "softmax") and not thought_of(event, inner, *_CLAMPS):
        yield Problem(event.node, f"1 - {inner.origin.op} rounds to 0 for confident predictions", "Use logsigmoid(-x).")


def _summed_exp(value: Value) -> Value | None:
    """Return x for the sum of exp(x)."""
    value = value.origin if value.op in ("squeeze", "unsqueeze") else value
    if value.op == "sum" and value.args and value.args[0].op == "exp" and value.args[0].args:
        return value.args[0].args[0]
    return None


def _shifted(value: Value) -> bool:
    """Whether exponents are kept small: a maximum was subtracted, or something else was."""
    low, high = interval(value)
    if high <= _LARGE and low >= -_LARGE:
        return True
    if high <= _LARGE and any(part.op == "log_softmax" for part in parts(value, {"mul", "div", "add"})):
        return True  # logarithms of probabilities: the largest is near 0
    return value.op in ("sub", "neg", "log_softmax", "clamp", "logsigmoid", "minimum", "const", "div") or (
        value.op == "mul" and any(v.op in ("neg", "sub") or _negative(v) for v in value.args)
    )


def _negative(value: Value) -> bool:
    """Whether a value is a literal below 0, as in exp(-0.5 * x**2)."""
    return value.op == "const" and isinstance(value.const, (int, float)) and value.const < 0


@rule(
    "LOS504",
    "log-of-sum-of-exp",
    on="log",
    numbers="For [100, 100] in float32 it gives inf; logsumexp gives 100.69.",
    wrong=_HEAD + "def lse(x):\n    return torch.log(torch.exp(x).sum(dim=1))\n",
    right=_HEAD + "def lse(x):\n    return torch.logsumexp(x, dim=1)\n",
    near=(
        _HEAD + "def lse(x):\n    m = np.max(x)\n    return m + np.log(np.sum(np.exp(x - m)))\n",
        _HEAD + "def lse(x):\n    return torch.log(torch.exp(x - x.max()).sum()) + x.max()\n",
    ),
    fixable=True,
)
def log_of_sum_of_exp(event: FlowEvent) -> Iterator[Problem]:
    """log(sum(exp(x))) without taking out the maximum.

    exp overflows at 88.7 in float32 and at 709.8 in float64, and all the terms underflow below -104. logsumexp takes the
    largest out first.
    """
    inner = _summed_exp(event.args[0]) if len(event.args) == 1 else None
    if inner is None or _shifted(inner.origin) or thought_of(event, inner):
        return
    yield Problem(
        event.node, "the exponentials overflow before the logarithm is taken", "Use logsumexp.", _logsumexp(event)
    )


def _logsumexp(event: FlowEvent) -> Fix | None:
    total = event.args[0]
    node, exp = _inline(event, total), total.args[0] if total.args else None
    inner = _inline(event, exp) if exp is not None else None
    outer: Any = event.node
    if node is None or inner is None or not isinstance(inner.func, ast.Attribute) or len(inner.args) != 1:
        return None
    held = event.flow.eval(inner.func.value, event.frame)
    if held.op != "name" or held.const != "torch" or getattr(outer, "args", None) != [node] or outer.keywords:
        return None
    if dotted(outer.func) != f"{dotted(inner.func.value)}.log":
        return None
    if inner.keywords:
        return None
    options = list(node.args) if isinstance(node.func, ast.Attribute) and node.func.value is inner else node.args[1:]
    given = [event.unit.source(a) for a in options] + [event.unit.source(k) for k in node.keywords]
    if len(given) != 1 or any(k.arg not in ("dim", "axis") for k in node.keywords):
        return None
    text = f"{dotted(inner.func.value)}.logsumexp({event.unit.source(inner.args[0])}, {given[0]})"
    return Fix("logsumexp", (replace(event.unit, outer, text),))


@rule(
    "LOS505",
    "softmax-by-hand",
    on="div",
    numbers="For [100, 0] in float32 it gives NaN; softmax gives [1, 0].",
    wrong=_HEAD + "def softmax(x):\n    e = np.exp(x)\n    return e / e.sum()\n",
    right=_HEAD + "def softmax(x):\n    e = np.exp(x - x.max())\n    return e / e.sum()\n",
    near=(_HEAD + "def share(x):\n    return x / x.sum()\n",),
)
def softmax_by_hand(event: FlowEvent) -> Iterator[Problem]:
    """exp(x) / sum(exp(x)) without taking out the maximum.

    One exponential that overflows makes inf / inf, NaN. Subtract the maximum first, or call softmax.
    """
    if len(event.args) != 2:
        return
    top, bottom = event.args
    inner = _summed_exp(bottom)
    if inner is None or _shifted(inner.origin) or thought_of(event, inner):
        return
    if top.op == "exp" and same(top.args[0], inner):
        yield Problem(
            event.node, "the exponentials overflow: inf / inf is NaN", "Subtract the maximum first, or call softmax."
        )


def _cross_entropy_terms(value: Value) -> list[tuple[Value, Value]]:
    """Factor and logarithm's argument of each term of a sum a * log(b) + c * log(d), signs aside."""
    terms: list[tuple[Value, Value]] = []
    waiting, seen = [value], {id(value)}
    while waiting and len(terms) < 3 and len(seen) < VISITS:
        part = waiting.pop()
        if part.op in ("add", "sub") and any(id(p) in seen for p in part.args):
            return []  # twice the same term is no cross-entropy
        seen.update(id(p) for p in part.args)
        if part.op in ("neg", "mean", "sum") and part.args:
            waiting.append(part.args[0])
        elif part.op in ("add", "sub") and len(part.args) == 2:
            waiting.extend(part.args)
        elif part.op == "mul" and len(part.args) == 2:
            a, b = part.args
            for factor, log in ((a, b), (b, a)):
                if factor.op == "neg":
                    factor = factor.args[0]
                if log.op == "log" and log.args:
                    terms.append((factor, log.args[0]))
                    break
    return terms


@rule(
    "LOS506",
    "binary-cross-entropy-by-hand",
    on=("add", "sub"),
    numbers="For p = 1 and y = 1 it gives 0 * log(0): NaN instead of 0.",
    wrong=_HEAD + "def bce(p, y):\n    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()\n",
    right=_HEAD
    + "def bce(p, y):\n    p = np.clip(p, 1e-7, 1 - 1e-7)\n    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()\n",
    near=(
        _HEAD + "def bce(p, y, eps=1e-9):\n    return -(y * np.log(p + eps) + (1 - y) * np.log(1 - p + eps)).mean()\n",
    ),
)
def binary_cross_entropy_by_hand(event: FlowEvent) -> Iterator[Problem]:
    """y log p + (1 - y) log(1 - p) with nothing that keeps p from 0 and 1.

    A probability that rounds to 0 or 1 makes 0 * -inf, NaN. Use the loss on logits, which is exact; on probabilities
    use F.binary_cross_entropy or lossary.binary_cross_entropy.
    """
    terms = _cross_entropy_terms(event.value)
    if len(terms) != 2:
        return
    for (y, p), (not_y, not_p) in (terms, terms[::-1]):
        inner_y, inner_p = one_minus(not_y), one_minus(not_p)
        if inner_y is None or inner_p is None or not same(inner_y, y) or not same(inner_p, p):
            continue
        # The logarithms of sigmoid and softmax have rules of their own.
        low, high = interval(p)
        if guarded(p) or (low > 0 and high < 1) or thought_of(event, p):
            return
        if p.origin.op not in ("sigmoid", "softmax", "tanh", "const"):
            yield Problem(
                event.node,
                "0 * log(0) is NaN where a probability rounds to 0 or 1",
                "Use the loss on logits, or binary_cross_entropy.",
            )
        return


@rule(
    "LOS507",
    "log-of-one-plus-exp",
    on=("log", "log1p"),
    numbers="For 100 in float32 it gives inf; softplus gives 100.",
    wrong=_HEAD + "def softplus(x):\n    return torch.log(1 + torch.exp(x))\n",
    right=_HEAD + "def softplus(x):\n    return F.softplus(x)\n",
    near=(
        _HEAD + "def softplus(x):\n    return torch.log1p(torch.exp(-x.abs())) + x.clamp(min=0)\n",
        _HEAD + "def softplus(x):\n    return np.logaddexp(0, x)\n",
    ),
)
def log_of_one_plus_exp(event: FlowEvent) -> Iterator[Problem]:
    """log(1 + exp(x)) without care for large x.

    exp overflows, and for very negative x the 1 swallows it. softplus, logsigmoid and logaddexp(0, x) are exact.
    """
    value = event.args[0] if len(event.args) == 1 else None
    if value is None:
        return
    if event.kind == "log":
        if value.op != "add" or len(value.args) != 2:
            return
        ones = [v for v in value.args if is_const(v, 1, 1.0)]
        others = [v for v in value.args if not is_const(v, 1, 1.0)]
        if len(ones) != 1 or len(others) != 1:
            return
        value = others[0]
    if value.op == "exp" and value.args and not _never_large(value.args[0]) and not thought_of(event, value.args[0]):
        yield Problem(
            event.node, "exp overflows before the logarithm is taken", "Use softplus (NumPy: np.logaddexp(0, x))."
        )


def _never_large(value: Value) -> bool:
    """Whether an exponent is kept from being large: -abs(x), a difference, a clamp, a literal, a logarithm."""
    value = value.origin
    if interval(value)[1] <= _LARGE:
        return True
    if value.op in ("abs", "neg", "mul", "div"):
        return any(v.op in ("abs", "clamp", "minimum") or _never_large(v) for v in value.args)
    return value.op in ("clamp", "minimum", "const", "sub", "logsigmoid", "log_softmax", "where", "log")


@rule(
    "LOS508",
    "sigmoid-by-hand",
    on="div",
    numbers="At -100 in float32 the value is right, 0, and the gradient is NaN.",
    wrong=_HEAD + "def gate(x):\n    return 1 / (1 + torch.exp(-x))\n",
    right=_HEAD + "def gate(x):\n    return torch.sigmoid(x)\n",
    near=(_HEAD + "def gate(x):\n    return 1 / (1 + np.exp(-x))\n",),
)
def sigmoid_by_hand(event: FlowEvent) -> Iterator[Problem]:
    """1 / (1 + exp(-x)) in PyTorch or JAX.

    exp(-x) overflows for very negative x. The value survives, 1 / inf = 0; the gradient is 0 * inf, NaN.
    """
    if len(event.args) != 2 or not is_const(event.args[0], 1, 1.0) or event.args[1].op != "add":
        return
    if in_autograd_function(event) or event.frame.no_grad:
        return
    terms = event.args[1].args
    exps = [v for v in terms if v.op == "exp"]
    negative = len(exps) == 1 and exps[0].args and exps[0].args[0].op == "neg"
    if negative and any(is_const(v, 1, 1.0) for v in terms):
        if interval(exps[0].args[0])[1] <= _LARGE or thought_of(event, exps[0].args[0]):
            return
        node = exps[0].node
        callee = event.flow.eval(node.func, event.frame) if isinstance(node, ast.Call) else None
        if callee is not None and callee.op == "name" and str(callee.const) in ("torch.exp", "jax.numpy.exp"):
            yield Problem(
                event.node, "the gradient of a sigmoid written out is NaN for very negative inputs", "Use sigmoid."
            )


@rule(
    "LOS509",
    "unsigned-difference",
    on="sub",
    numbers="In uint8 the difference of 1 and 3 is 254, and the mean squared error of [0, 250] and [250, 3] is 34 instead of "
    "61754.5.",
    wrong="import cv2\nimport numpy as np\n\ndef mse(a, b):\n"
    "    return np.mean((cv2.imread(a) - cv2.imread(b)) ** 2)\n",
    right="import cv2\nimport numpy as np\n\ndef mse(a, b):\n"
    "    return np.mean((cv2.imread(a).astype(float) - cv2.imread(b)) ** 2)\n",
    near=("import numpy as np\n\ndef mse(a, b):\n    return np.mean((a - b) ** 2)\n",),
)
def unsigned_difference(event: FlowEvent) -> Iterator[Problem]:
    """The difference of images of unsigned bytes.

    It wraps around at 0, and so does its square at 256. Convert to floating-point numbers before subtracting.
    """
    if len(event.args) == 2 and all(_unsigned(v) for v in event.args):
        yield Problem(event.node, "the difference of unsigned bytes wraps around", "Convert first: .astype(float).")


def _unsigned(value: Value) -> bool:
    while value.op in ("index", "reshape", "flatten", "same", "squeeze", "permute") and value.args:
        value = value.args[0]
    if value.op == "uint8":
        return True
    if value.op == "cast" and len(value.args) == 2:
        kind = value.args[1]
        return (kind.op == "const" and kind.const == "uint8") or (
            kind.op == "name" and str(kind.const).endswith(".uint8")
        )
    return False
