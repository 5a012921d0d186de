"""LOS3: losses combined: reduced twice, weighed against each other, added with the wrong sign."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from lossary.lint.flow import FlowEvent, GradientStep, walk_statements
from lossary.lint.records import Problem, rule
from lossary.lint.rules.common import named, one_minus
from lossary.lint.values import Value, is_const, losses_in, meaning, parts
from lossary.lint.vocabulary import KEEPS_MEANING, PREDICTION

_HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n\n"


def _reduction(loss: Value) -> str | None:
    """Return the reduction of a loss of PyTorch, None where it is no literal."""
    if loss.const.facts.framework not in ("torch", "torchvision"):
        return None
    if "size_average" in loss.const.options or "reduce" in loss.const.options:
        return None
    default = "none" if loss.const.facts.framework == "torchvision" else "mean"
    said = loss.const.option("reduction", default)
    return said if isinstance(said, str) else None


@rule(
    "LOS309",
    "focal-on-reduced-loss",
    on="pow",
    numbers="Two examples with losses 0.1054 and 2.3026: the focal loss with gamma=2 is 0.9331 on average, and 0.5900 made of "
    "the mean of the losses.",
    wrong=_HEAD
    + """def focal(z, y, gamma=2.0):
    ce = F.cross_entropy(z, y)
    pt = torch.exp(-ce)
    return (1 - pt) ** gamma * ce
""",
    right=_HEAD
    + """def focal(z, y, gamma=2.0):
    ce = F.cross_entropy(z, y, reduction="none")
    pt = torch.exp(-ce)
    return ((1 - pt) ** gamma * ce).mean()
""",
    near=(
        _HEAD
        + """def focal(z, y, alpha, gamma=2.0):
    ce = F.cross_entropy(z, y, weight=None, reduction="none")
    pt = torch.exp(-ce)
    return (alpha[y] * (1 - pt) ** gamma * ce).mean()
""",
    ),
)
def focal_on_reduced_loss(event: FlowEvent) -> Iterator[Problem]:
    """A focal factor made of a mean, or of a weighted loss.

    exp(-loss) is the probability of the right class for one example and an unweighted cross-entropy. Of a mean over the
    batch it is no probability of anything, and all examples get one factor; of a weighted loss it is p to the power of
    the weight. Compute the plain loss with reduction="none", and weigh at the end.
    """
    base = one_minus(event.args[0]) if len(event.args) == 2 else None
    if base is None or base.origin.op != "exp" or not base.origin.args:
        return
    inner = base.origin.args[0].origin
    if inner.op == "neg":
        inner = inner.args[0].origin
    elif inner.op == "mul" and is_const(inner.args[0], -1, -1.0):
        inner = inner.args[1].origin
    else:
        return
    held = inner.args[0].origin if inner.op in ("mean", "sum") and inner.args else inner
    if held.op != "loss":
        return
    reduced = inner.op in ("mean", "sum") or _reduction(held) in ("mean", "sum")
    weights = [held.const.options.get(name) or held.const.kw.get(name) for name in ("weight", "pos_weight")]
    weighted = any(w is not None and not (w.op == "const" and w.const is None) for w in weights)
    if reduced or weighted:
        what = "a loss that is averaged already" if reduced else "a weighted loss"
        yield Problem(
            event.node,
            f"the focal factor is made of {what}, of which exp(-loss) is not the probability of the right class",
            'Use reduction="none" without weight, and weigh and average at the end.',
        )


_BATCH = re.compile(r"^(bs|bsz|batch_?size|batch_?len|n_?samples|num_samples|n_examples)$")


def _counts_examples(divisor: Value, event: FlowEvent) -> bool:
    """Whether a divisor is the number of examples of a batch: ``len(x)``, ``x.size(0)``, ``x.shape[0]``, batch_size."""
    if divisor.op == "call" and divisor.const == "size":
        return len(divisor.args) == 2 and is_const(divisor.args[1], 0)
    if divisor.op == "index" and len(divisor.args) == 2 and is_const(divisor.args[1], 0):
        return divisor.args[0].op == "attribute" and divisor.args[0].const == "shape"
    if divisor.op == "call" and divisor.const == "builtins.len":
        name = named(getattr(divisor.args[0], "node", None)) if divisor.args else ""
        looped = {named(getattr(loop, "iter", None)) for loop in event.frame.loops}  # a list of micro-batches
        return name not in looped and not re.search(r"load|batches|dl$|parts|chunks|losses|terms|heads|micro", name)
    return bool(_BATCH.search(named(divisor.node)))


@rule(
    "LOS310",
    "mean-divided-again",
    on=("backward", "return", "function"),
    numbers="A batch of 64 examples with a mean loss of 2.0: divided by 64 once more it is 0.03125, and so is every "
    "gradient.",
    wrong=_HEAD
    + """def step(model, x, y):
    loss = F.cross_entropy(model(x), y) / x.size(0)
    loss.backward()
""",
    right=_HEAD
    + """def step(model, x, y):
    loss = F.cross_entropy(model(x), y, reduction="sum") / x.size(0)
    loss.backward()
""",
    near=(
        _HEAD
        + """def step(model, batches, accumulation_steps):
    for x, y in batches:
        loss = F.mse_loss(model(x), y) / accumulation_steps
        loss.backward()
""",
        _HEAD
        + """def epoch(model, loader):
    total = 0.0
    for x, y in loader:
        total += F.mse_loss(model(x), y).item() * len(x)
    return total / len(loader.dataset)
""",
    ),
)
def mean_divided_again(event: FlowEvent) -> Iterator[Problem]:
    """A mean over the batch divided by the number of examples once more.

    The default reduction divides already. A second division makes the step depend on the square of the batch size; and
    an epoch's sum of means has to be divided by the number of batches, not by that of examples. Dividing by the number
    of accumulated micro-batches is right.
    """
    if event.kind == "function":
        yield from _means_over_examples(event)
        return
    for value in parts(event.value, {"add", "sub", "mul", "div"}):
        if (
            value.op == "div"
            and len(value.args) == 2
            and _counts_examples(value.args[1], event)
            and value.unit is event.unit
        ):
            losses = losses_in(value.args[0])
            inner = value.args[0].origin
            if losses and inner.op in ("loss", "add", "mul") and all(_reduction(loss) == "mean" for loss in losses):
                yield Problem(
                    value.node,
                    "a mean over the batch is divided by the number of examples once more",
                    'Leave the division out, or use reduction="sum".',
                )


def _means_over_examples(event: FlowEvent) -> Iterator[Problem]:
    """The sum of batches' means, divided by the number of examples of the data set."""
    sums = {}
    for step in event.frame.steps:
        if step.kind == "collect" and step.loops and isinstance(step.node, ast.AugAssign) and not step.called:
            value = step.value
            while value.op in ("item", "detach") and value.args:
                value = value.args[0]
            if value.origin.op == "loss" and _reduction(value.origin) == "mean":
                sums[step.name] = step
    for node in walk_statements(getattr(event.frame.node, "body", [])) if sums else ():
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Div):
            continue
        if isinstance(node.left, ast.Name) and node.left.id in sums:
            if re.fullmatch(r"len\((\w+\.)*\w*(dataset|data|_set|train_ds|test_ds)\)", ast.unparse(node.right)):
                yield Problem(
                    node,
                    "a sum of batches' means is divided by the number of examples",
                    "Multiply each mean by the size of its batch, or divide by the number of batches.",
                )


_MASK = re.compile(r"(^|_)mask$")


@rule(
    "LOS311",
    "unmasked-sum-over-mask",
    on="div",
    numbers="Losses of 2.0 at 3 kept places and 5.0 at 7 padded ones: the masked mean is 2.0, and this gives 13.67.",
    wrong=_HEAD
    + "def step(a, b, mask):\n    loss = F.mse_loss(a, b, reduction='none')\n    return loss.sum() / mask.sum()\n",
    right=_HEAD
    + "def step(a, b, mask):\n    loss = F.mse_loss(a, b, reduction='none')\n    return (loss * mask).sum() / mask.sum()\n",
    near=(
        _HEAD
        + "def step(a, b, mask):\n    loss = F.mse_loss(a, b, reduction='none')\n    return loss[mask].sum() / mask.sum()\n",
        _HEAD + "def step(z, y, mask):\n    loss = F.cross_entropy(z, y, reduction='none', ignore_index=-100)\n"
        "    return loss.sum() / mask.sum()\n",
    ),
)
def unmasked_sum_over_mask(event: FlowEvent) -> Iterator[Problem]:
    """A sum over all places divided by the number of those that are kept.

    The padded places are in the numerator and not in the denominator. Multiply by the mask before summing.
    """
    if len(event.args) != 2:
        return
    top, bottom = event.args[0].origin, event.args[1]
    while bottom.op in ("clamp", "add", "maximum", *KEEPS_MEANING) and bottom.args:
        bottom = bottom.args[0]
    if top.op != "sum" or bottom.op != "sum" or not _MASK.search(named(bottom.args[0].node)):
        return
    mask = bottom.args[0].origin
    inside = list(parts(top.args[0], {"mul", "where", "index", "neg", "add", "sub", "masked_fill", *KEEPS_MEANING}))
    losses = [part for part in inside if part.op == "loss" and _reduction(part) == "none"]
    named_loss = re.search(r"loss|entropy|kl|nll|log_?prob", named(top.args[0].node))
    if any(part is mask or _MASK.search(named(part.node)) for part in inside) or not (losses or named_loss):
        return
    if any(loss.const.facts.target == "index" and loss.const.facts.framework == "torch" for loss in losses):
        if any("ignore_index" in loss.const.options for loss in losses):
            return
    if not losses and any(part.op in ("param", "unknown", "attribute", "call") for part in inside[:1]):
        return
    yield Problem(
        event.node, "masked places are in this sum and not in its denominator", "Multiply by the mask before summing."
    )


def _divergence_sum(value: Value) -> bool:
    """Whether a value is -0.5 * sum(1 + logvar - mu**2 - exp(logvar)), over everything."""
    while value.op in ("neg", "mul", "detach") and value.args:
        if value.op == "mul":
            constants = [v for v in value.args if v.op == "const"]
            if len(constants) != 1:
                return False
            value = next(v for v in value.args if v.op != "const")
        else:
            value = value.args[0]
    if value.op != "sum" or len(value.args) != 1 or value.kw:
        return False
    inside = list(parts(value.args[0], {"add", "sub", "mul", "neg"}))
    logs = [part.args[0] for part in inside if part.op == "exp" and part.args]
    return any(part.origin is log.origin for log in logs for part in inside)


@rule(
    "LOS312",
    "mean-plus-summed-divergence",
    on="add",
    numbers="A batch of 128 images of 784 pixels, each with a squared error of 0.05 and a divergence of 1.0 a latent of 20: "
    "the terms are 0.05 and 2560 instead of 39.2 and 20.0 an image.",
    wrong=_HEAD
    + """def loss_function(recon, x, mu, logvar):
    mse = F.mse_loss(recon, x)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return mse + kld
""",
    right=_HEAD
    + """def loss_function(recon, x, mu, logvar):
    mse = F.mse_loss(recon, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return mse + kld
""",
    near=(
        _HEAD
        + """def loss_function(recon, x, mu, logvar, weight):
    mse = F.mse_loss(recon, x)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return mse + weight * kld
""",
    ),
)
def mean_plus_summed_divergence(event: FlowEvent) -> Iterator[Problem]:
    """A reconstruction averaged over pixels and a divergence summed over the batch.

    The divergence outweighs the reconstruction by the number of pixels times the size of the batch, and the latents
    collapse to the prior. Sum both over an example, and average both over the batch.
    """
    if len(event.args) != 2:
        return
    for loss, other in (event.args, event.args[::-1]):
        if loss.op == "loss" and _reduction(loss) == "mean" and loss.const.facts.pointwise and _divergence_sum(other):
            yield Problem(
                event.node,
                "the reconstruction is a mean over everything, and the divergence a sum",
                'Use reduction="sum" for both, and divide both by the size of the batch.',
            )
            return


_TEMPERATURE = re.compile(r"^(t|tau|temp|temperature)$|_t$|_temp$|temperature|_tau$")


def _cooled(value: Value) -> Value | None:
    """Return the temperature that logits are divided by before softmax, or None."""
    made = meaning(value)
    if made.op not in ("softmax", "log_softmax") or not made.args:
        return None
    inner = made.args[0].origin
    if inner.op in ("div", "mul") and len(inner.args) == 2:
        factor = inner.args[1] if inner.args[0].op != "const" else inner.args[0]
        if factor.op == "const" and isinstance(factor.const, (int, float)) and factor.const != 1:
            return factor
        if _TEMPERATURE.search(named(factor.node)):
            return factor
    return None


@rule(
    "LOS313",
    "temperature-on-one-side",
    on=("loss", "function"),
    numbers="For the same logits [4, 0] and a temperature of 4 on one side the divergence is 0.2412 instead of 0.",
    wrong=_HEAD
    + """def distill(student, teacher, temperature):
    p = F.log_softmax(student / temperature, dim=1)
    q = F.softmax(teacher, dim=1)
    return F.kl_div(p, q, reduction="batchmean") * temperature**2
""",
    right=_HEAD
    + """def distill(student, teacher, temperature):
    p = F.log_softmax(student / temperature, dim=1)
    q = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(p, q, reduction="batchmean") * temperature**2
""",
    near=(
        _HEAD
        + """def distill(student, teacher, T, alpha, y):
    p, q = F.log_softmax(student / T, dim=1), F.softmax(teacher / T, dim=1)
    soft = F.kl_div(p, q, reduction="batchmean") * T * T
    return alpha * soft + (1 - alpha) * F.cross_entropy(student, y)
""",
    ),
)
def temperature_on_one_side(event: FlowEvent) -> Iterator[Problem]:
    """Distillation with a temperature on one side only, or without the factor T².

    Student and teacher have to be softened alike, or the divergence is not 0 where they agree. And the gradient of the
    softened divergence shrinks with 1 / T², so beside a loss on hard labels it has to be multiplied by T².
    """
    if event.kind == "function":
        yield from _without_square(event)
        return
    if event.facts.name not in ("kl_div", "KLDivLoss", "cross_entropy", "CrossEntropyLoss", "kl_divergence"):
        return
    prediction, target = event.argument(*PREDICTION), event.argument("target", "targets")
    if prediction is None or target is None or meaning(target).op not in ("softmax", "log_softmax"):
        return
    logits = event.facts.input == "softmax-logits"
    inner = prediction.origin
    soft = _cooled(Value("softmax", (prediction,))) if logits else _cooled(prediction)
    if not logits and meaning(prediction).op != "log_softmax":
        return
    other = _cooled(target)
    source = meaning(target).args[0].origin if meaning(target).args else inner
    if ((soft is None) != (other is None) and source.op not in ("div", "mul")) or (
        soft is None and other is not None and inner.op not in ("div", "mul")
    ):
        which = "prediction" if soft is not None else "target"
        yield Problem(
            event.node,
            f"only the {which} is divided by the temperature",
            "Divide the logits of both by the temperature.",
        )


def _without_square(event: FlowEvent) -> Iterator[Problem]:
    soft: list[tuple[GradientStep, Value]] = []
    hard = False
    for step in event.frame.steps:
        if step.kind != "loss" or step.called:
            continue
        call: FlowEvent = step.value.const
        prediction, target = call.argument(*PREDICTION), call.argument("target")
        if call.facts.name in ("kl_div", "KLDivLoss") and prediction is not None and target is not None:
            temperature = _cooled(prediction)
            if temperature is not None and _cooled(target) is not None:
                soft.append((step, temperature))
        elif call.facts.target == "index":
            hard = True
    if not hard or not soft:
        return
    step, temperature = soft[0]
    name = named(temperature.node)
    for node in walk_statements(getattr(event.frame.node, "body", [])):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Pow, ast.Mult)):
            names = [getattr(part, "attr", getattr(part, "id", "")).lower() for part in ast.walk(node)]
            numbers = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            if name and (names.count(name) >= 2 or (isinstance(node.op, ast.Pow) and name in names)):
                return
            if not name and any(n == temperature.const**2 for n in numbers if isinstance(n, (int, float))):
                return
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("pow"):
            return
    yield Problem(
        step.node,
        "the softened divergence is added to a loss on hard labels without the factor T²",
        "Multiply it by temperature ** 2.",
    )


_POLICY = re.compile(r"adv|ratio|log_?prob|policy|actor|surr|pg_loss|returns", re.IGNORECASE)


def _entropy(value: Value) -> bool:
    origin = value.origin
    if origin.op in ("mean", "sum") and origin.args:
        origin = origin.args[0].origin
    return (origin.op == "call" and origin.const == "entropy") or bool(
        re.match(r"(\w+_)?entrop(y|ies)$", named(origin.node))
        and origin.op in ("param", "unknown", "part", "attribute")
    )


@rule(
    "LOS314",
    "entropy-bonus-sign",
    on="backward",
    numbers="At the logits [2, 0] with an advantage of 0 a step of 1.0 on loss + 0.1 * entropy takes the probability of the "
    "first action from 0.881 to 0.885, and a step on loss - 0.1 * entropy to 0.876.",
    wrong=_HEAD
    + """def update(policy, states, actions, advantages, optimizer):
    dist = torch.distributions.Categorical(logits=policy(states))
    loss = -(dist.log_prob(actions) * advantages).mean() + 0.01 * dist.entropy().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
    right=_HEAD
    + """def update(policy, states, actions, advantages, optimizer):
    dist = torch.distributions.Categorical(logits=policy(states))
    loss = -(dist.log_prob(actions) * advantages).mean() - 0.01 * dist.entropy().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
    near=(
        _HEAD
        + """def adapt(model, x, optimizer):
    dist = torch.distributions.Categorical(logits=model(x))
    loss = dist.entropy().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
    ),
)
def entropy_bonus_sign(event: FlowEvent) -> Iterator[Problem]:
    """An entropy bonus that is added to a loss that is minimised.

    The entropy keeps a policy exploring, so it has to grow: subtract it. Added, it makes the policy certain of itself as
    fast as it can.
    """
    terms: list[tuple[int, Value]] = []
    waiting: list[tuple[int, Value]] = [(1, event.value)]
    while waiting and len(terms) < 30:
        sign, value = waiting.pop()
        if value.op == "add":
            waiting += [(sign, part) for part in value.args]
        elif value.op == "sub" and len(value.args) == 2:
            waiting += [(sign, value.args[0]), (-sign, value.args[1])]
        elif value.op == "neg" and value.args:
            waiting.append((-sign, value.args[0]))
        elif value.op in ("mul", "div") and len(value.args) == 2:
            a, b = value.args
            if value.op == "mul" and a.op == "const" and isinstance(a.const, (int, float)):
                waiting.append((sign if a.const >= 0 else -sign, b))
            elif value.op == "mul" and (_entropy(b) or b.op in ("neg", "add", "sub")):
                waiting.append((sign, b))
            else:
                waiting.append((sign, a)) if _entropy(a) or a.op in ("neg", "add", "sub", "mul") else terms.append(
                    (sign, value)
                )
        elif value.op in ("mean", "sum", "item") and value.args and not _entropy(value):
            waiting.append((sign, value.args[0]))
        else:
            terms.append((sign, value))
    bonus = [(sign, term) for sign, term in terms if _entropy(term)]
    others = [term for _, term in terms if not _entropy(term)]
    policy = any(_POLICY.search(_spelled(part)) for term in others for part in parts(term, lambda _: True))
    if bonus and policy and bonus[0][0] > 0:
        yield Problem(
            event.node,
            "the entropy is added to a loss that is minimised: the policy stops exploring",
            "Subtract it: loss - coefficient * entropy.",
        )


def _spelled(value: Value) -> str:
    return f"{named(value.node)} {value.const if isinstance(value.const, str) else ''}"
