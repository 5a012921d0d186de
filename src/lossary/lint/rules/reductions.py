"""LOS3: reductions and means."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from lossary.lint.flow import FlowEvent, walk_statements
from lossary.lint.records import Edit, Fix, Problem, rule
from lossary.lint.rules.common import insert, named
from lossary.lint.values import Value, losses_in
from lossary.lint.vocabulary import parameters

_HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n\n"
_WORDS = ("none", "mean", "sum", "batchmean")


def _positions(event: FlowEvent) -> list[tuple[str, ast.expr, Value]]:
    """Positional arguments of a loss of PyTorch with the parameters they land in."""
    known = parameters(event.name)
    if known is None or not event.whole or not isinstance(event.node, ast.Call):
        return []
    return list(zip(known, event.node.args, event.args, strict=False))


@rule(
    "LOS301",
    "positional-reduction",
    on="call",
    numbers="F.mse_loss([1, 3], [0, 0], 'sum') gives the mean, 5.0, and not the sum, 10.0.",
    wrong=_HEAD + "def step(a, b):\n    return F.mse_loss(a, b, 'sum')\n",
    right=_HEAD + "def step(a, b):\n    return F.mse_loss(a, b, reduction='sum')\n",
    near=(_HEAD + "def step(a, b):\n    return F.huber_loss(a, b, 'sum')\n",),
    fixable=True,
)
def positional_reduction(event: FlowEvent) -> Iterator[Problem]:
    """A reduction that lands in another parameter.

    The third parameter of most of PyTorch's losses is the deprecated size_average (or weight), and a non-empty string is
    true there: the result is the mean, with a general warning about deprecation.
    """
    for parameter, node, value in _positions(event):
        if value.op == "const" and value.const in _WORDS and parameter != "reduction":
            fix = Fix("Name the parameter", (insert(event.unit, node, "reduction="),), safe=False)
            last = node is event.node.args[-1] and "reduction" not in event.kw
            yield Problem(
                node,
                f"{value.const!r} lands in the parameter {parameter}",
                f"Write reduction={value.const!r}.",
                fix if last else None,
            )


@rule(
    "LOS302",
    "number-as-size-average",
    on="call",
    numbers="F.smooth_l1_loss([5], [0], 0.5) gives 4.5, with beta=1; beta=0.5 gives 4.75.",
    wrong=_HEAD + "def step(a, b):\n    return F.smooth_l1_loss(a, b, 0.5)\n",
    right=_HEAD + "def step(a, b):\n    return F.smooth_l1_loss(a, b, beta=0.5)\n",
    near=(_HEAD + "def step(a, b, n):\n    return F.margin_ranking_loss(a, b, n, 0.5)\n",),
    fixable=True,
)
def number_as_size_average(event: FlowEvent) -> Iterator[Problem]:
    """A number that lands in the deprecated size_average or reduce.

    It was meant for beta, margin or a weight, and is read as true.
    """
    for parameter, node, value in _positions(event):
        number = value.op == "const" and isinstance(value.const, (int, float)) and not isinstance(value.const, bool)
        if number and parameter in ("size_average", "reduce"):
            only = "beta" if "smooth_l1" in event.name.lower() or "SmoothL1" in event.name else ""
            fix = Fix("Name the parameter", (insert(event.unit, node, f"{only}="),), safe=False) if only else None
            last = node is event.node.args[-1] and only not in event.kw
            yield Problem(
                node,
                f"{value.const!r} lands in the deprecated parameter {parameter}",
                "Name the parameter.",
                fix if last else None,
            )


@rule(
    "LOS303",
    "size-average",
    on="call",
    numbers="size_average=False is reduction='sum', reduce=False is reduction='none': to the last digit.",
    wrong=_HEAD + "criterion = nn.MSELoss(size_average=False)\n",
    right=_HEAD + "criterion = nn.MSELoss(reduction='sum')\n",
    near=(_HEAD + "def mean(x, size_average=True):\n    return x.mean() if size_average else x\n",),
    fixable=True,
)
def size_average(event: FlowEvent) -> Iterator[Problem]:
    """size_average and reduce, deprecated since PyTorch 0.4.1.

    Two flags say what one word says, and one overrides the other.
    """
    if parameters(event.name) is None or not isinstance(event.node, ast.Call):
        return
    flags = [k for k in event.node.keywords if k.arg in ("size_average", "reduce")]
    for keyword in flags:
        value = event.kw.get(keyword.arg or "")
        literal = isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bool)
        if value is None or not literal:
            # Whoever passes a flag of their own on (a subclass, a wrapper) is told by the one who sets it.
            continue
        word = {("size_average", True): "mean", ("size_average", False): "sum", ("reduce", True): "mean"}.get(
            (keyword.arg or "", bool(value.const)), "none"
        )
        alone = len(flags) == 1 and "reduction" not in event.kw
        unit = event.unit
        edit = Edit(unit.start(keyword), unit.end(keyword), f'reduction="{word}"')
        yield Problem(
            keyword.value,
            f"{keyword.arg}={value.const} is deprecated",
            f'Write reduction="{word}".' if alone else "Write reduction=.",
            Fix(f'reduction="{word}"', (edit,)) if alone else None,
        )
    for parameter, node, value in _positions(event):
        if parameter in ("size_average", "reduce") and isinstance(node, ast.Constant) and isinstance(value.const, bool):
            yield Problem(node, f"{value.const} lands in the deprecated {parameter}", "Write reduction=.")


@rule(
    "LOS304",
    "kl-div-mean",
    on="call",
    numbers="For a batch of 4 rows over 5 classes the default is 1/5 of the divergence: 0.113 and not 0.565.",
    wrong=_HEAD + "def step(p, q):\n    return nn.KLDivLoss()(p, q)\n",
    right=_HEAD + "def step(p, q):\n    return nn.KLDivLoss(reduction='batchmean')(p, q)\n",
    near=(_HEAD + "def step(p, q):\n    return F.kl_div(p, q, reduction='none').sum(-1).mean()\n",),
    fixable=True,
)
def kl_div_mean(event: FlowEvent) -> Iterator[Problem]:
    """KL divergence with the default reduction, which is not the divergence.

    "mean" divides by the number of entries: classes times examples. The divergence of distributions is a sum over
    classes, averaged over examples: reduction="batchmean". PyTorch warns, once per process. `--unsafe-fixes` changes it,
    and with it the size of the loss.
    """
    if event.name not in ("torch.nn.KLDivLoss", "torch.nn.functional.kl_div") or not event.whole:
        return
    given = {parameter for parameter, _, _ in _positions(event)} | set(event.kw)
    if given & {"size_average", "reduce"}:
        return
    value = event.kw.get("reduction")
    if value is None and "reduction" not in given:
        line, column = event.unit.end(event.node)
        source = event.unit.source(event.node)
        empty = not event.node.args and not event.node.keywords
        plain = source.endswith(")") and not source[:-1].rstrip().endswith(",")
        text = 'reduction="batchmean"' if empty else ', reduction="batchmean"'
        fix = Fix("batchmean", (Edit((line, column - 1), (line, column - 1), text),), safe=False) if plain else None
        yield Problem(
            event.node,
            "the default reduction of KL divergence divides by the number of classes, too",
            'Pass reduction="batchmean".',
            fix,
        )
    elif value is not None and value.op == "const" and value.const == "mean":
        yield Problem(
            event.node,
            "reduction='mean' of KL divergence divides by the number of classes, too",
            'Pass reduction="batchmean".',
        )


_STEPS = re.compile(r"accum|micro_?batch|grad_acc")


@rule(
    "LOS305",
    "mean-of-micro-batches",
    on="backward",
    numbers="Two micro-batches of 10 and 2 tokens whose losses are 0.5 and 6.5 a token: the mean over tokens is 1.5, the "
    "mean of means 3.5.",
    wrong=_HEAD
    + """def step(model, batches, accumulation_steps):
    for x, y in batches:
        loss = F.cross_entropy(model(x), y, ignore_index=-100)
        (loss / accumulation_steps).backward()
""",
    right=_HEAD
    + """def step(model, batches, tokens):
    for x, y in batches:
        loss = F.cross_entropy(model(x), y, ignore_index=-100, reduction="sum")
        (loss / tokens).backward()
""",
    near=(
        _HEAD
        + """def step(model, batches, accumulation_steps):
    for x, y in batches:
        loss = F.mse_loss(model(x), y)
        (loss / accumulation_steps).backward()
""",
    ),
)
def mean_of_micro_batches(event: FlowEvent) -> Iterator[Problem]:
    """The mean of micro-batches' means, where the micro-batches count differently many labels.

    With ignored labels each micro-batch divides by its own count, so a token in a sparse one weighs more. Sum, and divide
    by the number of labels of the whole batch.
    """
    value = event.value
    if value.op != "div" or len(value.args) != 2:
        return
    loss, divisor = value.args
    steps = bool(_STEPS.search(named(divisor.node)))
    steps = steps or (divisor.op == "const" and isinstance(divisor.const, int) and divisor.const > 1)
    if not steps or not event.frame.loops:
        return
    losses = losses_in(loss)
    for held in losses:
        call: FlowEvent = held.const
        ignores = call.facts.target == "index" and call.facts.framework == "torch"
        default = "ignore_index" not in call.options and _PADDED.search(event.unit.text) is not None
        given = "ignore_index" in call.options and call.option("ignore_index") is not None
        if ignores and (given or default) and call.option("reduction", "mean") == "mean":
            yield Problem(
                value.node,
                "a mean over the labels that are not ignored, averaged over micro-batches",
                'Use reduction="sum", and divide by the labels of the whole batch.',
            )
            return


_PADDED = re.compile(r"(?<![\w.])-100\b")  # the label that PyTorch ignores unless told otherwise


@rule(
    "LOS306",
    "mean-of-batch-means",
    on="function",
    numbers="Batches of 64 and 1 with losses 1.0 and 3.0 a batch: the mean of means is 2.0, the mean over examples 1.03.",
    wrong=_HEAD
    + """def epoch(model, loader):
    total = 0.0
    for x, y in loader:
        total += F.mse_loss(model(x), y).item()
    return total / len(loader)
""",
    right=_HEAD
    + """def epoch(model, loader):
    total = 0.0
    for x, y in loader:
        total += F.mse_loss(model(x), y).item() * len(x)
    return total / len(loader.dataset)
""",
    near=(
        _HEAD + "def mean(xs):\n    total = 0.0\n    for x in xs:\n        total += x\n    return total / len(xs)\n",
    ),
    default=False,
)
def mean_of_batch_means(event: FlowEvent) -> Iterator[Problem]:
    """An epoch's loss as the mean of its batches' means.

    The last batch is usually smaller, and its examples count more. Off by default: with drop_last=True it is right.
    """
    sums: set[str] = set()
    for node in walk_statements(getattr(event.node, "body", [])):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and isinstance(node.target, ast.Name):
            value = node.value
            if (
                isinstance(value, ast.Call)
                and isinstance(value.func, ast.Attribute)
                and value.func.attr == "item"
                and "loss" in ast.unparse(value).lower()
            ):
                sums.add(node.target.id)
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Div)
            and isinstance(node.left, ast.Name)
            and node.left.id in sums
        ):
            if re.fullmatch(r"len\(\w*(loader|batches|dl)\w*\)", ast.unparse(node.right)):
                yield Problem(
                    node,
                    "the mean of batches' means: a smaller last batch counts too much",
                    "Weigh each batch by its size.",
                )


@rule(
    "LOS307",
    "mask-then-mean",
    on="mean",
    numbers="Losses of 2.0 at 3 kept places of 10: the masked mean is 2.0, and this gives 0.6.",
    wrong=_HEAD
    + "def step(a, b, mask):\n    loss = F.mse_loss(a, b, reduction='none')\n    return (loss * mask).mean()\n",
    right=_HEAD
    + "def step(a, b, mask):\n    loss = F.mse_loss(a, b, reduction='none')\n    return (loss * mask).sum() / mask.sum()\n",
    near=(
        _HEAD
        + "def step(a, b, weight):\n    loss = F.mse_loss(a, b, reduction='none')\n    return (loss * weight).mean()\n",
    ),
)
def mask_then_mean(event: FlowEvent) -> Iterator[Problem]:
    """Losses multiplied by a mask, then averaged over everything.

    The places that are masked stay in the denominator, so the loss shrinks with the share of padding. Divide by the sum of
    the mask.
    """
    value = event.args[0] if event.args else None
    if value is None or value.op != "mul" or len(event.args) > 1 or event.value.kw:
        return
    for loss, mask in (value.args, value.args[::-1]):
        unreduced = loss.origin.op == "loss" and loss.origin.const.option("reduction", "mean") == "none"
        name = named(mask.node)
        if unreduced and re.search(r"(^|_)mask$", name) and not _divided_by(event, name):
            yield Problem(
                event.node,
                "masked places stay in the denominator of this mean",
                "Divide the sum by the sum of the mask.",
            )


def _divided_by(event: FlowEvent, name: str) -> bool:
    """Whether something in the function is divided by the mask, so that the denominator is mended there."""
    for node in walk_statements(getattr(event.frame.node, "body", [])):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            if any(isinstance(part, ast.Name) and part.id.lower() == name for part in ast.walk(node.right)):
                return True
    return False


@rule(
    "LOS308",
    "backward-on-unreduced",
    on="backward",
    numbers="PyTorch stops: grad can be implicitly created only for scalar outputs.",
    wrong=_HEAD + "def step(a, b):\n    loss = F.mse_loss(a, b, reduction='none')\n    loss.backward()\n",
    right=_HEAD + "def step(a, b):\n    loss = F.mse_loss(a, b, reduction='none')\n    loss.mean().backward()\n",
    near=(_HEAD + "def step(a, b, g):\n    loss = F.mse_loss(a, b, reduction='none')\n    loss.backward(g)\n",),
)
def backward_on_unreduced(event: FlowEvent) -> Iterator[Problem]:
    """backward() on a loss with reduction="none".

    It has one value per example, and backward() starts from a single number.
    """
    value = event.value.origin
    if value.op == "loss" and not event.args and not event.kw:
        if value.const.option("reduction", "mean") == "none" and value.const.facts.framework == "torch":
            yield Problem(
                event.node,
                "backward() needs a single number, and this loss has reduction='none'",
                "Reduce it first: loss.mean().backward().",
            )
