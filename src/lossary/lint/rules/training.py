"""LOS4: training loops. Where a gradient is lost, kept too long, or left over."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from lossary.lint.flow import Event, Frame, dotted, walk_statements
from lossary.lint.records import Edit, Fix, Problem, rule
from lossary.lint.rules.common import where
from lossary.lint.values import Value, contains
from lossary.lint.vocabulary import PREDICTION

_HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n\n"


def _body(frame: Frame) -> list[ast.stmt]:
    body = getattr(frame.node, "body", [])
    return body if isinstance(body, list) else []


def _backward_on(body: list[ast.stmt]) -> set[str]:
    """The names on which ``.backward()`` is called in some statements."""
    found = set()
    for node in walk_statements(body):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward":
            found.add(dotted(node.func.value))
    return found


@rule(
    "LOS401",
    "argmax-before-loss",
    on="loss",
    numbers="The result has requires_grad=False: backward() stops with 'does not require grad'.",
    wrong=_HEAD + "def step(model, x, y):\n    return F.mse_loss(model(x).argmax(dim=1).float(), y)\n",
    right=_HEAD + "def step(model, x, y):\n    return F.cross_entropy(model(x), y)\n",
    near=(
        _HEAD + "@torch.no_grad()\ndef error(model, x, y):\n    return F.l1_loss(model(x).argmax(dim=1).float(), y)\n",
    ),
)
def argmax_before_loss(event: Event) -> Iterator[Problem]:
    """A loss on decided classes.

    argmax, round and comparisons have no gradient: the loss is a number that nothing can be learned from. Compute the
    loss on the scores, and decide only to report.
    """
    value = event.argument(*PREDICTION)
    if value is not None and not event.frame.no_grad and event.facts.framework == "torch":
        origin = value.origin
        if origin.op == "argmax" or (origin.op == "compare" and value.op == "float"):
            said = "argmax" if origin.op == "argmax" else "a comparison"
            yield Problem(
                where(event, *PREDICTION),
                f"{event.facts.name} is given the result of {said}, which has no gradient",
                "Pass the scores.",
            )


@rule(
    "LOS402",
    "item-then-backward",
    on=("method", "tensor_of"),
    numbers="loss.item() is a float: backward() stops with AttributeError. torch.tensor(loss, requires_grad=True).backward() "
    "runs, and leaves every parameter's grad None.",
    wrong=_HEAD + "def step(a, b):\n    loss = F.mse_loss(a, b).item()\n    loss.backward()\n    return loss\n",
    right=_HEAD + "def step(a, b):\n    loss = F.mse_loss(a, b)\n    loss.backward()\n    return loss.item()\n",
    near=(
        _HEAD
        + "def step(a, b):\n    loss = F.mse_loss(a, b)\n    value = loss.item()\n    loss.backward()\n    return value\n",
    ),
)
def item_then_backward(event: Event) -> Iterator[Problem]:
    """backward() on a loss that was cut from its graph.

    item(), detach(), .data and a new torch.tensor(...) keep the number and forget how it came about. Call backward() on
    the loss itself.
    """
    if event.kind == "tensor_of":
        grad = event.value.kw.get("requires_grad")
        if grad is not None and grad.op == "const" and grad.const is True and event.args and _from_loss(event.args[0]):
            yield Problem(event.node, "a new tensor made of a loss has none of its graph", "Use the loss itself.")
        return
    if event.name == "backward":
        value = event.value
        while value.op in ("mul", "div", "requires_grad") and value.args:
            value = value.args[0]
        if value.op in ("item", "detach") and _from_loss(value):
            yield Problem(
                event.node,
                f"backward() on a loss after {'item()' if value.op == 'item' else 'detach()'}: it has no graph any more",
                "Call backward() on the loss itself.",
            )


def _from_loss(value: Value) -> bool:
    while value.op in ("item", "detach", "mean", "sum", "mul", "div", "requires_grad") and value.args:
        value = value.args[0]
    return value.op == "loss"


@rule(
    "LOS403",
    "graph-kept-alive",
    on=("augmented", "append"),
    numbers="After 100 batches the sum still holds the 100 graphs: 100 loss nodes, where detach() leaves none.",
    wrong=_HEAD
    + """def epoch(model, loader, optimizer):
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss
    return total
""",
    right=_HEAD
    + """def epoch(model, loader, optimizer):
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return total
""",
    near=(
        _HEAD
        + """def step(model, parts):
    total = 0.0
    for x, y in parts:
        loss = F.mse_loss(model(x), y)
        total += loss
    total.backward()
""",
    ),
    fixable=True,
)
def graph_kept_alive(event: Event) -> Iterator[Problem]:
    """Losses collected over a loop, each with its graph.

    A loss that went through backward() still holds what it was computed from, in part even after its buffers are freed.
    Summed or put in a list over an epoch that grows with every batch. Keep loss.detach(), or loss.item().
    """
    frame = event.frame
    value = event.value
    if not frame.loops or value.op != "loss" or value.no_grad or value.const.facts.framework != "torch":
        return
    node = event.node.value if event.kind == "augmented" else event.node.args[0]
    text = dotted(node)
    if event.kind == "augmented" and not isinstance(event.node.op, ast.Add):
        return
    collected = dotted(event.node.target) if event.kind == "augmented" else event.name
    # The innermost loop must train on this very loss; what is collected must not be trained on afterwards.
    inside = _backward_on(getattr(frame.loops[-1], "body", []))
    later = _backward_on(_body(frame)) - {text}
    if not text or not collected or text not in inside or any(collected in name for name in later):
        return
    if event.kind == "append" and _used_in_graph(_body(frame), collected):
        return
    end = event.unit.end(node)
    fix = Fix("detach", (Edit(end, end, ".detach()"),))
    what = "added up" if event.kind == "augmented" else "put in a list"
    yield Problem(
        node, f"losses are {what} with their graphs, which stay in memory", "Keep loss.detach() or loss.item().", fix
    )


def _used_in_graph(body: list[ast.stmt], name: str) -> bool:
    """Whether a list is summed or stacked somewhere, perhaps to be trained on."""
    for node in walk_statements(body):
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in ("sum", "stack", "cat", "mean"):
            if any(dotted(argument) == name for argument in node.args):
                return True
    return False


_NOT_FINITE = frozenset({"isnan", "isinf", "isfinite", "is_nan"})


@rule(
    "LOS404",
    "nan-batch-skipped",
    on="if",
    numbers="A model with one NaN weight skips every batch: 10 of 10, and 0 steps are made.",
    wrong=_HEAD
    + """def epoch(model, loader):
    for x, y in loader:
        loss = F.mse_loss(model(x), y)
        if torch.isnan(loss):
            continue
        loss.backward()
""",
    right=_HEAD
    + """def epoch(model, loader):
    for x, y in loader:
        loss = F.mse_loss(model(x), y)
        if torch.isnan(loss):
            raise FloatingPointError("the loss is NaN; see lossary.diagnose")
        loss.backward()
""",
    near=(
        _HEAD
        + """def mean(values):
    total = 0.0
    for value in values:
        if torch.isnan(value):
            continue
        total += value
    return total
""",
    ),
)
def nan_batch_skipped(event: Event) -> Iterator[Problem]:
    """A batch skipped because its loss is NaN.

    A NaN has a cause: an input, a logarithm of 0, weights that are NaN already. Skipping hides which, and if it is the
    weights the loop goes on doing nothing. Stop, and find the first quantity that became NaN.
    """
    node: ast.If = event.node
    if not event.frame.loops or not node.body or not isinstance(node.body[-1], ast.Continue):
        return
    calls = [n for n in ast.walk(node.test) if isinstance(n, ast.Call)]
    if isinstance(node.test, (ast.BoolOp,)):
        return
    for call in calls:
        name = dotted(call.func).rpartition(".")[2] or getattr(call.func, "attr", "")
        if name not in _NOT_FINITE:
            continue
        tested = call.args[0] if call.args else getattr(call.func, "value", None)
        text = dotted(tested) if tested is not None else ""
        if text and (text in _backward_on(getattr(event.frame.loops[-1], "body", []))):
            yield Problem(
                node.test,
                "a batch whose loss is not finite is skipped, and its cause stays hidden",
                "Stop and look: lossary.diagnose tells where it began.",
            )
            return


@rule(
    "LOS405",
    "sqrt-of-squared-error",
    on=("method", "return"),
    numbers="At a residual of 0 the gradient of sqrt(mse) is NaN; with 1e-8 inside it is 0.",
    wrong=_HEAD + "def rmse_loss(a, b):\n    return torch.sqrt(F.mse_loss(a, b))\n",
    right=_HEAD + "def rmse_loss(a, b):\n    return torch.sqrt(F.mse_loss(a, b) + 1e-8)\n",
    near=(
        _HEAD + "def report(a, b):\n    return torch.sqrt(F.mse_loss(a, b)).item()\n",
        _HEAD + "@torch.no_grad()\ndef rmse_loss(a, b):\n    return torch.sqrt(F.mse_loss(a, b))\n",
    ),
    fixable=True,
)
def sqrt_of_squared_error(event: Event) -> Iterator[Problem]:
    """The root of a squared error, without an epsilon.

    The slope of the root is infinite at 0, and the chain rule multiplies it with 0: NaN, for all weights at once. It
    happens when an example is fitted exactly. Add a small number inside the root, or minimise the square.
    """
    if event.kind == "method" and event.name != "backward":
        return
    if event.kind == "return":
        name = event.frame.function_name()
        trains = name in ("forward", "training_step") or re.search(r"(^|_)(loss|criterion|objective)", name)
        if not trains or event.frame.no_grad:
            return
    value = event.value
    if value.op == "sqrt" and value.args and value.unit is event.unit and not value.no_grad:
        inner = value.args[0]
        squared = inner.op == "loss" and inner.const.facts.name in ("mse_loss", "MSELoss")
        if squared and inner.const.option("reduction", "mean") != "none":
            node: Any = value.node
            fix = None
            if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
                end = event.unit.end(node.args[0])
                fix = Fix("+ 1e-8", (Edit(end, end, " + 1e-8"),), safe=False)
            yield Problem(
                node, "the gradient of the square root of a squared error is NaN at 0", "Add 1e-8 inside the root.", fix
            )


@rule(
    "LOS406",
    "gradients-never-zeroed",
    on="loop",
    numbers="Without zero_grad the third step uses the sum of three gradients: 3.0 where each is 1.0.",
    wrong=_HEAD
    + """def epoch(model, loader, optimizer):
    for x, y in loader:
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
""",
    right=_HEAD
    + """def epoch(model, loader, optimizer):
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
""",
    near=(
        _HEAD
        + """def epoch(model, loader, optimizer):
    for x, y in loader:
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        for p in model.parameters():
            p.grad = None
""",
    ),
)
def gradients_never_zeroed(event: Event) -> Iterator[Problem]:
    """A training loop that never clears gradients.

    backward() adds to what is there. Without zero_grad() every step repeats all the steps before. Told of where nothing
    in the whole file clears a gradient.
    """
    if not isinstance(event.node, (ast.For, ast.While)) or _ZEROED.search(event.unit.text):
        return
    if event.unit.path.suffix == ".md":  # an excerpt leaves things out
        return
    backward = step = None
    for node in walk_statements(event.node.body):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = dotted(node.func.value).lower()
            if node.func.attr == "backward" and not node.args and "loss" in name:
                backward = node
            if node.func.attr == "step" and "optim" in name and not node.args and not node.keywords:
                step = node
    if backward is not None and step is not None and len(event.frame.loops) == 0:
        yield Problem(
            backward,
            "gradients are added to those of all steps before: nothing calls zero_grad()",
            "Call optimizer.zero_grad() before backward().",
        )


_ZEROED = re.compile(r"zero_grad|\.grad\s*=|\.grad\.(zero_|detach_|fill_|data)|\.grad\.|clear_grad|set_to_none|_grad\(")


@rule(
    "LOS407",
    "zero-grad-before-step",
    on="method",
    numbers="The gradient is None when the step is made: the weights stay where they are.",
    wrong=_HEAD
    + """def step(model, x, y, optimizer):
    loss = F.mse_loss(model(x), y)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
""",
    right=_HEAD
    + """def step(model, x, y, optimizer):
    loss = F.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
    near=(
        _HEAD
        + """def step(a, b, first, second):
    a.backward()
    second.zero_grad()
    first.step()
""",
    ),
)
def zero_grad_before_step(event: Event) -> Iterator[Problem]:
    """zero_grad() between backward() and step().

    The gradients are gone before they are used.
    """
    if event.name != "step" or not event.frame.blocks or not isinstance(event.node.func, ast.Attribute):
        return
    optimiser = dotted(event.node.func.value)
    block = event.frame.blocks[-1]
    calls: list[tuple[str, str]] = []
    for statement in block:
        node = statement.value if isinstance(statement, ast.Expr) else None
        if node is event.node:
            break
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            calls.append((node.func.attr, dotted(node.func.value)))
        elif statement.__class__ not in (ast.Assign, ast.Expr, ast.AugAssign, ast.AnnAssign):
            calls.clear()
    tail = [c for c in calls if c[0] in ("backward", "step") or c == ("zero_grad", optimiser)]
    if optimiser and len(tail) >= 2 and tail[-1] == ("zero_grad", optimiser) and tail[-2][0] == "backward":
        yield Problem(
            event.node,
            "zero_grad() stands between backward() and step(): the step has no gradient",
            "Call zero_grad() before backward().",
        )


@rule(
    "LOS408",
    "requires-grad-forced",
    on=("assign", "method"),
    numbers="backward() then runs, and every parameter's grad stays None.",
    wrong=_HEAD + "def step(a, b):\n    loss = F.mse_loss(a, b)\n    loss.requires_grad = True\n    loss.backward()\n",
    right=_HEAD + "def step(a, b):\n    loss = F.mse_loss(a, b)\n    loss.backward()\n",
    near=(_HEAD + "def leaf(x):\n    x.requires_grad = True\n    return x\n",),
)
def requires_grad_forced(event: Event) -> Iterator[Problem]:
    """requires_grad set on a loss.

    It silences "element 0 of tensors does not require grad", whose cause it leaves: somewhere before, the graph was cut by
    no_grad(), detach(), item(), argmax or a new tensor.
    """
    if event.kind == "assign":
        target = event.node.targets[0]
        if (
            isinstance(target, ast.Attribute)
            and target.attr == "requires_grad"
            and event.value.op == "const"
            and event.value.const is True
        ):
            held = event.flow.eval(target.value, event.frame)
            if _from_loss(held):
                yield Problem(
                    event.node, "requires_grad on a loss hides that its graph was cut", "Find where the graph ends."
                )
    elif event.name == "requires_grad_" and _from_loss(event.value):
        yield Problem(
            event.node, "requires_grad_() on a loss hides that its graph was cut", "Find where the graph ends."
        )


@rule(
    "LOS409",
    "backward-after-no-grad",
    on="method",
    numbers="PyTorch stops: element 0 of tensors does not require grad and does not have a grad_fn.",
    wrong=_HEAD
    + """def step(model, x, y):
    with torch.no_grad():
        loss = F.mse_loss(model(x), y)
    loss.backward()
""",
    right=_HEAD + "def step(model, x, y):\n    loss = F.mse_loss(model(x), y)\n    loss.backward()\n",
    near=(
        _HEAD
        + """def step(model, x, y):
    with torch.no_grad():
        before = F.mse_loss(model(x), y)
    loss = F.mse_loss(model(x), y)
    loss.backward()
    return before
""",
    ),
)
def backward_after_no_grad(event: Event) -> Iterator[Problem]:
    """backward() on a loss computed under no_grad().

    Nothing was recorded, so there is nothing to go back through.
    """
    if event.name == "backward" and event.value.op == "loss" and event.value.no_grad:
        if event.value.const.facts.framework == "torch":
            yield Problem(
                event.node, "the loss was computed under no_grad(): it has no graph", "Compute it outside of no_grad()."
            )


__all__ = ["contains"]
