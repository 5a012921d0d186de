"""LOS5: points where a formula is finite and its gradient is not, or where a mask cannot help any more."""

from __future__ import annotations

from collections.abc import Iterator

from lossary.lint.flow import FlowEvent
from lossary.lint.intervals import interval
from lossary.lint.records import Problem, rule
from lossary.lint.rules.common import in_autograd_function, named, one_minus, thought_of
from lossary.lint.values import Value, is_const, parts, same
from lossary.lint.vocabulary import KEEPS_MEANING

_HEAD = "import torch\nimport torch.nn.functional as F\nimport numpy as np\n\n"


def _differentiated(event: FlowEvent) -> bool:
    """Whether a gradient may be taken through an operation: not under no_grad, not in NumPy or math."""
    elsewhere = str(event.value.const or "").startswith(("numpy", "math", "scipy", "cupy"))
    return not event.frame.no_grad and not elsewhere and not in_autograd_function(event)


def _cosine(value: Value) -> bool:
    """Whether a value is a cosine that may round to 1: of normalised vectors, or called so; and nothing bounds it."""
    for part in parts(value, KEEPS_MEANING | {"gather"}):
        if part.op in ("clamp", "bounded", "minimum", "maximum"):
            return False
    origin = value.origin
    if origin.op == "cosine_similarity":
        return True
    if origin.op in ("matmul", "call") and origin.args:
        normal = [part for part in origin.args if part.origin.op == "normalize"]
        return len(normal) == 2
    said = named(value.node)
    return (
        said.startswith("cos") and said not in ("cos_t", "cos_m", "cos") and origin.op in ("param", "unknown", "call")
    )


@rule(
    "LOS510",
    "angle-at-its-end",
    on=("acos", "sqrt", "pow"),
    numbers="At a cosine of 1 the gradient of acos is -inf, and that of sqrt(1 - x**2) is -inf, too; both become NaN on the "
    "way back.",
    wrong=_HEAD + "def angle(a, b):\n    return torch.acos(F.cosine_similarity(a, b))\n",
    right=_HEAD + "def angle(a, b):\n    return torch.acos(F.cosine_similarity(a, b).clamp(-1 + 1e-7, 1 - 1e-7))\n",
    near=(
        _HEAD + "@torch.no_grad()\ndef angle(a, b):\n    return torch.acos(F.cosine_similarity(a, b))\n",
        _HEAD + "def noise(alpha):\n    return torch.sqrt(1 - alpha**2)\n",
    ),
)
def angle_at_its_end(event: FlowEvent) -> Iterator[Problem]:
    """acos, or sqrt(1 - x²), of a cosine that may be 1.

    Their slopes are infinite where two vectors point the same way, which is where training leads. Clamp the cosine a
    little inside of [-1, 1], or use the angle-addition formula with an epsilon in the root.
    """
    if not event.args or not _differentiated(event):
        return
    value = event.args[0]
    if event.kind == "acos":
        if _cosine(value):
            yield Problem(
                event.node, "the gradient of acos is infinite at 1 and -1", "Clamp the cosine inside of [-1, 1]."
            )
        return
    if event.kind == "pow" and not (len(event.args) == 2 and is_const(event.args[1], 0.5)):
        return
    squared = one_minus(value)
    if squared is None:
        return
    inner = squared.origin
    twice = inner.op == "mul" and len(inner.args) == 2 and same(inner.args[0], inner.args[1])
    square = inner.op == "square" or (inner.op == "pow" and len(inner.args) == 2 and is_const(inner.args[1], 2, 2.0))
    if (twice or square) and _cosine(inner.args[0]):
        yield Problem(
            event.node,
            "the gradient of sqrt(1 - x**2) is infinite where the cosine is 1 or -1",
            "Clamp: (1 - cosine**2).clamp(min=1e-9).sqrt().",
        )


@rule(
    "LOS511",
    "log-of-one-minus-exp",
    on=("log", "log1p"),
    numbers="For -1e-9 in float32 log(1 - exp(x)) is -inf; log(-expm1(x)) is -20.72.",
    wrong=_HEAD + "def log_odds(logp):\n    return logp - torch.log1p(-torch.exp(logp))\n",
    right=_HEAD + "def log_odds(logp):\n    return logp - torch.log(-torch.expm1(logp))\n",
    near=(
        _HEAD
        + "def log1mexp(x):\n    return torch.where(x > -0.6931, torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(x)))\n",
    ),
)
def log_of_one_minus_exp(event: FlowEvent) -> Iterator[Problem]:
    """log(1 - exp(x)), the logarithm of the other probability.

    For x near 0, a probability near 1, exp(x) rounds to 1 and the logarithm is that of 0. Use log(-expm1(x)), and for
    very negative x log1p(-exp(x)).
    """
    value = event.args[0] if len(event.args) == 1 else None
    if value is None:
        return
    inner = one_minus(value) if event.kind == "log" else value.args[0] if value.op == "neg" and value.args else None
    if inner is not None and inner.origin.op == "exp" and not thought_of(event, inner.origin.args[0]):
        if interval(inner.origin.args[0])[1] < -1e-3:
            return
        yield Problem(event.node, "exp(x) rounds to 1 for x near 0, and the logarithm is -inf", "Use log(-expm1(x)).")


@rule(
    "LOS512",
    "infinity-times-mask",
    on="mul",
    numbers="For a difference of 100 at a masked place exp(100) is inf in float32, and inf * 0 is NaN.",
    wrong=_HEAD
    + """def divergence(ref, logp, mask):
    d = ref - logp
    kl = torch.exp(d) - d - 1
    return (kl * mask).sum() / mask.sum()
""",
    right=_HEAD
    + """def divergence(ref, logp, mask):
    d = (ref - logp).masked_fill(mask == 0, 0.0)
    kl = torch.exp(d) - d - 1
    return (kl * mask).sum() / mask.sum()
""",
    near=(
        _HEAD
        + """def divergence(ref, logp, mask):
    d = torch.clamp(ref - logp, -20, 20)
    kl = torch.exp(d) - d - 1
    return (kl * mask).sum() / mask.sum()
""",
    ),
)
def infinity_times_mask(event: FlowEvent) -> Iterator[Problem]:
    """exp(d) - d - 1 multiplied by a mask.

    At padded places the logarithms are whatever the model said there, and exp of their difference may overflow. 0 times
    infinity is NaN, for the whole batch. Mask the difference before taking exp.
    """
    if len(event.args) != 2:
        return
    for estimate, mask in (event.args, event.args[::-1]):
        if not named(mask.node).endswith("mask"):
            continue
        inside = list(parts(estimate, {"add", "sub", "neg"} | KEEPS_MEANING))
        for part in inside:
            if part.op != "exp" or not part.args or interval(part.args[0])[1] <= 80:
                continue
            difference = part.args[0].origin
            if difference.op == "sub" and any(same(other.origin, difference) for other in inside if other is not part):
                if not thought_of(event, difference):
                    yield Problem(
                        event.node,
                        "exp may overflow at masked places, and infinity times 0 is NaN",
                        "Mask the difference before exp: d.masked_fill(mask == 0, 0.0).",
                    )
                    return


@rule(
    "LOS513",
    "where-around-singularity",
    on="where",
    numbers="At x = 0 torch.where(x > 0, torch.log(x), 0) is 0 and its gradient NaN.",
    wrong=_HEAD + "def xlogx(x):\n    return torch.where(x > 0, x * torch.log(x), 0.0)\n",
    right=_HEAD + "def xlogx(x):\n    return torch.special.xlogy(x, x)\n",
    near=(
        _HEAD
        + "def safe(x):\n    inner = torch.where(x > 0, x, 1.0)\n    return torch.where(x > 0, torch.log(inner), 0.0)\n",
        _HEAD + "def xlogx(x):\n    with torch.no_grad():\n        return torch.where(x > 0, x * torch.log(x), 0.0)\n",
        _HEAD + "def xlogx(x):\n    return np.where(x > 0, x * np.log(x), 0.0)\n",
    ),
)
def where_around_singularity(event: FlowEvent) -> Iterator[Problem]:
    """where() around a logarithm, root or quotient that is infinite where it is not chosen.

    The value is right; the gradient of the branch that was not chosen is infinity, and is multiplied by 0: NaN. Make the
    argument harmless first, with a where of its own.
    """
    if len(event.args) != 3 or not _differentiated(event):
        return
    condition = event.args[0]
    if condition.op != "compare" or len(condition.args) != 2 or not is_const(condition.args[1], 0, 0.0):
        return
    tested = condition.args[0].origin
    if named(tested.node).startswith(("target", "label", "y_true", "gt", "mask")):
        return
    for branch in event.args[1:]:
        for part in parts(branch, {"mul", "neg", "add", "sub", "div", "sum"} | KEEPS_MEANING):
            singular = part.args[0] if part.op in ("log", "sqrt") and part.args else None
            if part.op == "div" and len(part.args) == 2 and part.args[1].origin.op != "const":
                singular = part.args[1]
            if (
                singular is not None
                and singular.origin is tested
                and tested.op not in ("where", "clamp", "maximum", "const")
            ):
                what = {"log": "logarithm", "sqrt": "root"}.get(part.op, "quotient")
                yield Problem(
                    event.node,
                    f"the {what} is infinite where it is not chosen, and its gradient is NaN there",
                    "Make the argument harmless first: inner = torch.where(x > 0, x, 1.0).",
                )
                return
