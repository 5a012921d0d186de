"""LOS4: two networks, or one network twice: adversarial training, and learning from one's own predictions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from lossary.lint.flow import FlowEvent
from lossary.lint.records import Problem, rule
from lossary.lint.values import Value, is_const, losses_in, parts, same
from lossary.lint.vocabulary import KEEPS_MEANING, PREDICTION

_HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n\n"


@rule(
    "LOS410",
    "zero-grad-inside-accumulation",
    on="function",
    numbers="Four micro-batches with a gradient of 1.0 each: the step uses 1.0 instead of 4.0.",
    wrong=_HEAD
    + """def epoch(model, loader, optimizer, k):
    for i, (x, y) in enumerate(loader):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y) / k
        loss.backward()
        if (i + 1) % k == 0:
            optimizer.step()
""",
    right=_HEAD
    + """def epoch(model, loader, optimizer, k):
    for i, (x, y) in enumerate(loader):
        loss = F.mse_loss(model(x), y) / k
        loss.backward()
        if (i + 1) % k == 0:
            optimizer.step()
            optimizer.zero_grad()
""",
    near=(
        _HEAD
        + """def epoch(model, loader, optimizer, k):
    for i, (x, y) in enumerate(loader):
        if i % k == 0:
            optimizer.zero_grad()
        loss = F.mse_loss(model(x), y) / k
        loss.backward()
        if (i + 1) % k == 0:
            optimizer.step()
""",
    ),
)
def zero_grad_inside_accumulation(event: FlowEvent) -> Iterator[Problem]:
    """zero_grad() for every micro-batch, where the step is made only after several.

    All gradients but the last micro-batch's are thrown away. Call zero_grad() where step() is called.
    """
    steps = event.frame.steps
    for step in steps:
        if step.kind != "step" or not step.loops or step.value.op == "engine":
            continue
        loop = step.loops[-1]
        seldom = [test for test in step.tests if isinstance(test, ast.If) and _every_so_often(test.test)]
        for zero in (s for s in steps if s.kind == "zero" and s.name == step.name):
            inner = zero.loops[: len(step.loops)] == step.loops and len(zero.loops) > len(step.loops)
            beside = zero.loops == step.loops and seldom and not set(seldom) & set(zero.tests) and not zero.tests
            if not (inner or beside):
                continue
            where = zero.loops[-1] if inner else loop
            trained = [b for b in steps if b.kind == "backward" and where in b.loops and not set(seldom) & set(b.tests)]
            again = any(s.kind == "step" and where in s.loops and s is not step for s in steps)
            if trained and not again:
                yield Problem(
                    zero.node,
                    "zero_grad() throws away what earlier micro-batches have added up for this step",
                    "Call zero_grad() only after step().",
                )
                return


def _every_so_often(test: ast.expr) -> bool:
    return any(isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) for node in ast.walk(test))


def model_of(value: Value) -> Value | None:
    """Return the network that made a prediction, looking through reshapes and activations."""
    through = KEEPS_MEANING | {"sigmoid", "gather", "max", "index", "mean"}
    while True:
        if value.op == "model":
            return value.const if isinstance(value.const, Value) else None
        if value.op == "call" and value.args and value.const is None:
            return value.args[0]
        if value.op not in through or not value.args:
            return None
        value = value.args[0]


def _given(value: Value) -> Value | None:
    """Return what a network from outside was given: x for ``net(x)``."""
    while value.op in KEEPS_MEANING | {"sigmoid", "mean"} and value.args and value.op != "model":
        value = value.args[0]
    return value.args[1] if value.op == "call" and value.const is None and len(value.args) > 1 else None


def _label(value: Value) -> str:
    """Return "zeros" or "ones" for what is certainly that."""
    origin = value.origin
    if origin.op in ("zeros", "zeros_like"):
        return "zeros"
    if origin.op in ("ones", "ones_like"):
        return "ones"
    if origin.op in ("full", "call") and len(origin.args) > 1:
        return "zeros" if is_const(origin.args[-1], 0, 0.0) else "ones" if is_const(origin.args[-1], 1, 1.0) else ""
    return ""


def _judged(event: FlowEvent) -> list[tuple[Any, Value, Value, Value]]:
    """Return the losses on a judge's opinions: (step, judge, what was judged, label)."""
    found = []
    for step in event.frame.steps:
        if step.kind != "loss":
            continue
        call: FlowEvent = step.value.const
        prediction, target = call.argument(*PREDICTION), call.argument("target")
        if prediction is None or target is None or call.facts.name not in _JUDGING:
            continue
        judge, given = model_of(prediction), _given(prediction)
        if judge is not None and given is not None:
            found.append((step, judge, given, target))
    return found


_JUDGING = frozenset(
    "BCELoss binary_cross_entropy BCEWithLogitsLoss binary_cross_entropy_with_logits MSELoss mse_loss".split()
)


def _made_by(value: Value, judge: Value) -> bool:
    """Whether something was made by another network, with its graph."""
    while value.op in KEEPS_MEANING and value.args:
        if value.op == "detach" or value.no_grad:
            return False
        if value.op == "model":
            return value.const is not judge
        value = value.args[0]
    return (
        value.op == "call"
        and value.const is None
        and not value.no_grad
        and bool(value.args)
        and _network(value.args[0], judge)
    )


def _network(callee: Value, judge: Value) -> bool:
    return (
        callee.op in ("param", "unknown", "call", "layer", "attribute", "instance")
        and not same(callee, judge)
        and callee is not judge
    )


@rule(
    "LOS411",
    "discriminator-trains-generator",
    on="function",
    numbers="The gradient of the discriminator's loss reaches every weight of the generator; with detach() it reaches none.",
    wrong=_HEAD
    + """def step(netD, netG, real, noise, optD):
    fake = netG(noise)
    ones, zeros = torch.ones(8, 1), torch.zeros(8, 1)
    loss = F.binary_cross_entropy_with_logits(netD(real), ones)
    loss = loss + F.binary_cross_entropy_with_logits(netD(fake), zeros)
    optD.zero_grad()
    loss.backward()
    optD.step()
""",
    right=_HEAD
    + """def step(netD, netG, real, noise, optD):
    fake = netG(noise)
    ones, zeros = torch.ones(8, 1), torch.zeros(8, 1)
    loss = F.binary_cross_entropy_with_logits(netD(real), ones)
    loss = loss + F.binary_cross_entropy_with_logits(netD(fake.detach()), zeros)
    optD.zero_grad()
    loss.backward()
    optD.step()
""",
    near=(
        _HEAD
        + """def step(netD, netG, noise, optG):
    fake = netG(noise)
    loss = F.binary_cross_entropy_with_logits(netD(fake), torch.ones(8, 1))
    optG.zero_grad()
    loss.backward()
    optG.step()
""",
    ),
)
def discriminator_trains_generator(event: FlowEvent) -> Iterator[Problem]:
    """The discriminator's loss on fakes, with the generator's graph.

    backward() then also gives the generator gradients, towards being found out; where nothing clears them they are used
    at its next step, and a second backward() through the same graph stops with an error. Detach the fakes.
    """
    judged = _judged(event)
    for step, judge, given, target in judged:
        real = [other for other in judged if other[1] is judge and other[0] is not step]
        if _label(target) != "zeros" or not _made_by(given, judge):
            continue
        if any(_label(t) == "ones" and not _made_by(g, judge) for _, _, g, t in real):
            if any(s.kind == "backward" for s in event.frame.steps):
                yield Problem(
                    step.node,
                    "the discriminator's loss on fakes reaches back into the generator",
                    "Detach the fakes: D(fake.detach()).",
                )
                return


@rule(
    "LOS412",
    "same-labels-for-real-and-fake",
    on="function",
    numbers="With the label 1 for both the best discriminator answers 1 always: its loss falls to 0.000.",
    wrong=_HEAD
    + """def step(netD, netG, real, noise, optD):
    fake = netG(noise).detach()
    ones = torch.ones(8, 1)
    loss = F.binary_cross_entropy_with_logits(netD(real), ones)
    loss = loss + F.binary_cross_entropy_with_logits(netD(fake), ones)
    optD.zero_grad()
    loss.backward()
    optD.step()
""",
    right=_HEAD
    + """def step(netD, netG, real, noise, optD):
    fake = netG(noise).detach()
    ones = torch.ones(8, 1)
    loss = F.binary_cross_entropy_with_logits(netD(real), ones)
    loss = loss + F.binary_cross_entropy_with_logits(netD(fake), torch.zeros(8, 1))
    optD.zero_grad()
    loss.backward()
    optD.step()
""",
    near=(
        _HEAD
        + """def step(netD, netG, real, noise, optD, optG):
    ones, zeros = torch.ones(8, 1), torch.zeros(8, 1)
    fake = netG(noise)
    loss = F.binary_cross_entropy_with_logits(netD(real), ones)
    loss = loss + F.binary_cross_entropy_with_logits(netD(fake.detach()), zeros)
    optD.zero_grad()
    loss.backward()
    optD.step()
    loss = F.binary_cross_entropy_with_logits(netD(fake), ones)
    optG.zero_grad()
    loss.backward()
    optG.step()
""",
    ),
)
def same_labels_for_real_and_fake(event: FlowEvent) -> Iterator[Problem]:
    """Real and generated examples with the same label in one discriminator's loss.

    There is nothing to tell apart, so the discriminator learns nothing and the generator nothing from it. Label one kind
    1 and the other 0.
    """
    judged = {id(step.value): (step, judge, given, target) for step, judge, given, target in _judged(event)}
    for backward in event.frame.steps:
        if backward.kind != "backward":
            continue
        there = [judged[id(loss)] for loss in losses_in(backward.value) if id(loss) in judged]
        for step, judge, given, target in there:
            for other in there:
                alike = target.origin is other[3].origin or (_label(target) and _label(target) == _label(other[3]))
                if other[0] is step or other[1] is not judge or not alike:
                    continue
                if _is_fake(given) and not _is_fake(other[2]):
                    yield Problem(
                        step.node, "real and generated examples get the same label", "Label one 1 and the other 0."
                    )
                    return


def _is_fake(value: Value) -> bool:
    while value.op in KEEPS_MEANING and value.args:
        if value.op == "model":
            return True
        value = value.args[0]
    return value.op == "call" and value.const is None and bool(value.args)


@rule(
    "LOS413",
    "target-with-gradient",
    on="loss",
    numbers="For Q = 1 at both states, a reward of 0 and gamma = 0.9 the gradient with respect to the shared weight is 0.02 "
    "instead of 0.2.",
    wrong=_HEAD
    + """def update(qnet, s, a, r, s2, gamma):
    q = qnet(s).gather(1, a)
    target = r + gamma * qnet(s2).max(1, keepdim=True)[0]
    return F.mse_loss(q, target)
""",
    right=_HEAD
    + """def update(qnet, s, a, r, s2, gamma):
    q = qnet(s).gather(1, a)
    with torch.no_grad():
        target = r + gamma * qnet(s2).max(1, keepdim=True)[0]
    return F.mse_loss(q, target)
""",
    near=(
        _HEAD
        + """def update(qnet, target_net, s, a, r, s2, gamma):
    q = qnet(s).gather(1, a)
    target = r + gamma * target_net(s2).max(1, keepdim=True)[0].detach()
    return F.smooth_l1_loss(q, target)
""",
        _HEAD + "def consistency(net, x, augmented):\n    return F.mse_loss(net(x), net(augmented))\n",
    ),
)
def target_with_gradient(event: FlowEvent) -> Iterator[Problem]:
    """A temporal-difference target that gradients flow through.

    The target is a number to move towards. With its graph the network is moved to make the target fit the prediction as
    well, and most of the gradient cancels. Compute it under no_grad(), or detach it.
    """
    prediction, target = event.argument(*PREDICTION), event.argument("target")
    if prediction is None or target is None or event.facts.framework != "torch" or not event.facts.pointwise:
        return
    network = model_of(prediction)
    if network is None or network.op in ("const", "name") or target.origin.op not in ("add", "sub", "where"):
        return
    through = {"add", "mul", "sub", "max", "gather", "mean", "squeeze", "where", "minimum", "index"} | KEEPS_MEANING - {
        "detach"
    }
    for part in parts(target, lambda part: part.op in through and part.op != "model"):
        if part.no_grad:
            continue
        if part.op in ("model", "call") and model_of(part) is not None:
            held = model_of(part)
            if held is network or (held is not None and same(held, network)):
                yield Problem(
                    event.node,
                    "the target is made by the network that is trained, with its graph",
                    "Compute the target under torch.no_grad(), or detach it.",
                )
                return
