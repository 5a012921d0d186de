"""LOS4: training loops. Where a gradient is lost, kept too long, or left over."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from lossary.lint.flow import FlowEvent, Frame, GradientStep, dotted, walk_statements
from lossary.lint.records import Edit, Fix, Problem, rule
from lossary.lint.rules.common import in_autograd_function, where
from lossary.lint.values import Value, is_const, losses_in, meaning, parts
from lossary.lint.vocabulary import KEEPS_MEANING, PREDICTION

_HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n\n"


def _body(frame: Frame) -> list[ast.stmt]:
    body = getattr(frame.node, "body", [])
    return body if isinstance(body, list) else []


def feeding(body: list[ast.stmt], names: set[str]) -> set[str]:
    """Return the names from which some names get their values, however far back."""
    sources: dict[str, set[str]] = {}
    for node in walk_statements(body):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        inside = names_in(value)
        for target in targets:
            for part in target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]:
                sources.setdefault(dotted(part), set()).update(inside)
    found, waiting = set(names), list(names)
    while waiting:
        for name in sources.get(waiting.pop(), set()) - found:
            found.add(name)
            waiting.append(name)
    return found


def names_in(node: ast.AST) -> set[str]:
    """Return the names, dotted ones too, that an expression reads with their graph: not behind item() or detach()."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in _CUTTING:
            continue
        if isinstance(part, (ast.Name, ast.Attribute)) and (text := dotted(part)):
            found.add(text)
        waiting.extend(ast.iter_child_nodes(part))
    return found


_CUTTING = frozenset({"item", "detach", "tolist"})


def _backwards(frame: Frame) -> list[GradientStep]:
    return [step for step in frame.steps if step.kind == "backward"]


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
def argmax_before_loss(event: FlowEvent) -> Iterator[Problem]:
    """A loss on decided classes.

    argmax, round and comparisons have no gradient: the loss is a number that nothing can be learned from. Compute the
    loss on the scores, and decide only to report.
    """
    value = event.argument(*PREDICTION)
    if value is not None and not event.frame.no_grad and event.facts.framework == "torch":
        origin = meaning(value)
        decided = {"argmax": "argmax", "argmin": "argmin", "round": "round", "sign": "sign"}.get(origin.op, "")
        if origin.op == "compare" and value.op in ("float", "cast"):
            decided = "a comparison"
        if decided:
            yield Problem(
                where(event, *PREDICTION),
                f"{event.facts.name} is given the result of {decided}, which has no gradient",
                "Pass the scores.",
            )


@rule(
    "LOS402",
    "item-then-backward",
    on=("backward", "tensor_of", "literal"),
    numbers="loss.item() is a float: backward() stops with AttributeError. torch.tensor(loss, requires_grad=True).backward() "
    "runs, and leaves every parameter's grad None.",
    wrong=_HEAD + "def step(a, b):\n    loss = F.mse_loss(a, b).item()\n    loss.backward()\n    return loss\n",
    right=_HEAD + "def step(a, b):\n    loss = F.mse_loss(a, b)\n    loss.backward()\n    return loss.item()\n",
    near=(
        _HEAD
        + "def step(a, b):\n    loss = F.mse_loss(a, b)\n    value = loss.item()\n    loss.backward()\n    return value\n",
        "import torch\n\ndef slope():\n    x = torch.tensor(2.0, requires_grad=True)\n    y = x**2\n    y.backward()\n    return x.grad\n",
    ),
)
def item_then_backward(event: FlowEvent) -> Iterator[Problem]:
    """backward() on a loss that was cut from its graph.

    item(), detach(), .data and a new torch.tensor(...) keep the number and forget how it came about. Call backward() on
    the loss itself.
    """
    if event.kind in ("tensor_of", "literal"):
        if _wants_gradient(event.value) and event.args and _cut_loss(event.args[0]):
            yield Problem(event.node, "a new tensor made of a loss has none of its graph", "Use the loss itself.")
        return
    value = event.value
    while value.op in ("mul", "div", "requires_grad", "mean", "sum") and value.args:
        value = value.args[0]
    if value.op in ("tensor_of", "literal") and not _cut_loss(value):
        if _wants_gradient(value) or event.value.op == "requires_grad":
            yield Problem(
                event.node,
                "backward() on a tensor that was just made: it has no graph, and no parameter gets a gradient",
                "Compute the loss with torch from the model's output, without going through numbers.",
            )
    elif value.op in ("item", "detach") and _cut_loss(value):
        yield Problem(
            event.node,
            f"backward() on a loss after {'item()' if value.op == 'item' else 'detach()'}: it has no graph any more",
            "Call backward() on the loss itself.",
        )


def _wants_gradient(value: Value) -> bool:
    grad = value.kw.get("requires_grad")
    return grad is not None and grad.op == "const" and grad.const is True


def _cut_loss(value: Value) -> bool:
    """Whether a value is a loss, or was made of one in a way that cuts the graph."""
    through = KEEPS_MEANING | {
        "item",
        "mean",
        "sum",
        "mul",
        "div",
        "add",
        "tensor_of",
        "list",
        "tuple",
        "total",
        "literal",
    }
    return any(part.op == "loss" for part in parts(value, through))


@rule(
    "LOS403",
    "graph-kept-alive",
    on="function",
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
        _HEAD
        + """def episode(model, loader, optimizer):
    losses = []
    for x, y in loader:
        losses.append(F.mse_loss(model(x), y))
    optimizer.zero_grad()
    loss = torch.stack(losses).mean()
    loss.backward()
    optimizer.step()
""",
    ),
    fixable=True,
)
def graph_kept_alive(event: FlowEvent) -> Iterator[Problem]:
    """Losses collected over a loop, each with its graph.

    A loss that went through backward() still holds what it was computed from, in part even after its buffers are freed.
    Summed or put in a list over an epoch that grows with every batch. Keep loss.detach(), or loss.item().
    """
    frame = event.frame
    backwards = _backwards(frame)
    if not backwards or not any(step.kind == "collect" and step.loops for step in frame.steps):
        return
    trained = feeding(_body(frame), {step.name for step in backwards if step.name})
    for step in backwards:  # torch.stack(losses).mean().backward()
        call = step.node
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and not step.name and not step.called:
            trained |= feeding(_body(frame), names_in(call.func.value))
    for step in frame.steps:
        if step.kind != "collect" or not step.loops or step.called or step.name in trained:
            continue
        inner = [b for b in backwards if step.loops[-1] in b.loops]
        node: Any = getattr(step.node, "value", None) if not isinstance(step.node, ast.Call) else step.node.args[0]
        kept = next((b for b in inner if _keeps(step, node, b)), None)
        if (
            kept is None
            or node is None
            or (isinstance(step.node, ast.AugAssign) and not isinstance(step.node.op, ast.Add))
        ):
            continue
        fix = None
        if dotted(node):
            end = event.unit.end(node)
            fix = Fix("detach", (Edit(end, end, ".detach()"),))
        what = "put in a list" if isinstance(step.node, ast.Call) else "added up"
        yield Problem(
            node,
            f"losses are {what} with their graphs, which stay in memory",
            "Keep loss.detach() or loss.item().",
            fix,
        )


def _keeps(step: GradientStep, node: ast.AST | None, backward: GradientStep) -> bool:
    """Whether what is collected has the graph of a loss that was trained on."""
    if isinstance(step.node, ast.Assign) and not any(
        part.op == "loop" and part.const == step.name for part in parts(step.value, {"add"})
    ):
        return False  # total = total + loss collects; loss = a + b does not
    held = [loss for loss in losses_in(step.value) if not loss.no_grad and _of_torch(loss)]
    if held:
        there = {id(loss) for loss in losses_in(backward.value)}
        return any(id(loss) in there for loss in held)
    # A criterion from elsewhere: whatever backward() is called on has a graph.
    if backward.value.op in ("call", "attribute", "index") and not backward.value.no_grad:
        return any(part is backward.value for part in parts(step.value, {"add", "mul", "div", "mean", "sum"}))
    return False


def _of_torch(loss: Value) -> bool:
    return bool(loss.const.facts.framework in ("torch", "torchvision", "lossary"))


_NOT_FINITE = frozenset({"isnan", "isinf", "isfinite", "is_nan"})


@rule(
    "LOS404",
    "nan-batch-skipped",
    on="function",
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
def nan_batch_skipped(event: FlowEvent) -> Iterator[Problem]:
    """A batch skipped because its loss is NaN.

    A NaN has a cause: an input, a logarithm of 0, weights that are NaN already. Skipping hides which, and if it is the
    weights the loop goes on doing nothing. Stop, and find the first quantity that became NaN.
    """
    backwards = [step for step in _backwards(event.frame) if step.loops and not step.called]
    if not backwards:
        return
    told: set[ast.AST] = set()
    for loop in {step.loops[-1]: None for step in backwards}:
        names = {step.name for step in backwards if loop in step.loops and step.name}
        inside = {step.tests[-1] for step in backwards if step.tests and loop in step.loops}
        for node in walk_statements(getattr(loop, "body", [])):
            if not isinstance(node, ast.If) or node in told or isinstance(node.test, ast.BoolOp):
                continue
            tested, negative = _tests_finite(node.test)
            if tested not in names:
                continue
            skips = isinstance(node.body[-1], ast.Continue) and not _stops(node.body)
            guards = node in inside and not negative and not node.orelse
            if (skips and negative) or guards:
                told.add(node)
                yield Problem(
                    node.test,
                    "a batch whose loss is not finite is skipped, and its cause stays hidden",
                    "Stop and look: lossary.diagnose tells where it began.",
                )


def _tests_finite(test: ast.expr) -> tuple[str, bool]:
    """Return the name that a test asks to be finite, and whether it holds when it is not."""
    negative = True
    while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test, negative = test.operand, not negative
    for call in ast.walk(test):
        if isinstance(call, ast.Call):
            name = dotted(call.func).rpartition(".")[2] or getattr(call.func, "attr", "")
            if name in _NOT_FINITE:
                tested: ast.expr | None = call.args[0] if call.args else getattr(call.func, "value", None)
                while isinstance(tested, ast.Call):  # loss.item(), float(loss), loss.detach()
                    tested = tested.func.value if isinstance(tested.func, ast.Attribute) else (tested.args or [None])[0]  # type: ignore[list-item]
                return (dotted(tested) if tested is not None else "", negative != (name == "isfinite"))
    return "", True


def _stops(body: list[ast.stmt]) -> bool:
    """Whether skipping has an end: the batches skipped are counted, or something is raised."""
    return any(isinstance(node, (ast.Raise, ast.Assert, ast.AugAssign)) for node in walk_statements(body))


@rule(
    "LOS405",
    "sqrt-of-squared-error",
    on=("backward", "return"),
    numbers="At a residual of 0 the gradient of sqrt(mse) is NaN; with 1e-8 inside it is 0.",
    wrong=_HEAD + "def rmse_loss(a, b):\n    return torch.sqrt(F.mse_loss(a, b))\n",
    right=_HEAD + "def rmse_loss(a, b):\n    return torch.sqrt(F.mse_loss(a, b) + 1e-8)\n",
    near=(
        _HEAD + "def report(a, b):\n    return torch.sqrt(F.mse_loss(a, b)).item()\n",
        _HEAD + "@torch.no_grad()\ndef rmse_loss(a, b):\n    return torch.sqrt(F.mse_loss(a, b))\n",
        _HEAD + "def distance_loss(a, b):\n    return ((a - b) ** 2).sum(-1).clamp(min=1e-12).sqrt().mean()\n",
    ),
    fixable=True,
)
def sqrt_of_squared_error(event: FlowEvent) -> Iterator[Problem]:
    """The root of a squared error, without an epsilon.

    The slope of the root is infinite at 0, and the chain rule multiplies it with 0: NaN, for all weights at once. It
    happens when an example is fitted exactly. Add a small number inside the root, or minimise the square.
    """
    if event.kind == "return" and not _trains(event):
        return
    if event.frame.no_grad or in_autograd_function(event):
        return
    for value in parts(event.value, _LINEAR):
        if value.unit is not event.unit or value.no_grad:
            continue
        root = value.op == "sqrt" or (value.op == "pow" and len(value.args) == 2 and is_const(value.args[1], 0.5))
        if not root or not value.args or not _squared_error(value.args[0]) or not _grows(value):
            continue
        node: Any = value.node
        fix = None
        if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
            end = event.unit.end(node.args[0])
            fix = Fix("+ 1e-8", (Edit(end, end, " + 1e-8"),), safe=False)
        yield Problem(
            node, "the gradient of the square root of a squared error is NaN at 0", "Add 1e-8 inside the root.", fix
        )


_LINEAR = KEEPS_MEANING - {"detach"} | frozenset(
    "add sub mul div neg mean sum total relu clamp maximum list stack cat".split()
)


def _trains(event: FlowEvent) -> bool:
    """Whether what a function returns is trained on, by its name or that of its class."""
    frame = event.frame
    name = frame.function_name()
    if frame.owner is not None:
        named_loss = re.search(r"loss|criterion|objective", frame.owner.node.name, re.IGNORECASE)
        return name == "training_step" or bool(named_loss and name in ("forward", "call", "__call__"))
    return bool(re.search(r"(^|_)(loss|criterion|objective)(_|$)", name))


def _squared_error(value: Value) -> bool:
    """Whether a value is 0 where two things are equal, and so is its slope: a mean, or a sum, of squared differences."""
    value = value.origin
    if value.op == "loss":
        return bool(value.const.facts.name in ("mse_loss", "MSELoss"))
    while value.op in ("mean", "sum", "mul", "div") and value.args:
        inner = value.args[0].origin
        if value.op == "mul" and len(value.args) == 2 and value.args[0].origin.op == "const":
            inner = value.args[1].origin
        if value.op == "mul" and inner.op == "sub":
            return value.args[0].origin is value.args[1].origin
        value = inner
    if value.op == "loss":
        return bool(value.const.facts.name in ("mse_loss", "MSELoss"))
    squared = value.op == "square" or (value.op == "pow" and len(value.args) == 2 and is_const(value.args[1], 2, 2.0))
    return squared and bool(value.args) and value.args[0].origin.op == "sub"


def _grows(value: Value) -> bool:
    """Whether the numbers are tensors of a framework that takes gradients, not those of NumPy or math."""
    return not str(value.const or "").startswith(("numpy", "math", "scipy", "cupy"))


_ZEROED = re.compile(
    r"zero_grad|\.grad\s*=[^=]|\.grad\.(zero_|detach_|fill_|data)|clear_grad|set_to_none|(?<![\w.])grad\(|autograd\.grad\("
)


@rule(
    "LOS406",
    "gradients-never-zeroed",
    on="function",
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
        _HEAD
        + """def fit(model, x, y, closure):
    opt = torch.optim.LBFGS(model.parameters())
    for _ in range(10):
        opt.step(closure)
""",
    ),
)
def gradients_never_zeroed(event: FlowEvent) -> Iterator[Problem]:
    """A training loop that never clears gradients.

    backward() adds to what is there. Without zero_grad() every step repeats all the steps before. Told of where nothing
    in the whole file clears a gradient, and where that is done once, before the loop.
    """
    if event.unit.path.suffix == ".md" or not event.unit.mendable:  # an excerpt leaves things out
        return
    frame = event.frame
    zeros = [step for step in frame.steps if step.kind == "zero"]
    for step in frame.steps:
        if step.kind != "step" or not step.loops or step.value.op == "engine":
            continue
        loop = step.loops[-1]
        backward = next((b for b in _backwards(frame) if loop in b.loops and b.value is not step.value), None)
        if backward is None or any(loop in zero.loops for zero in zeros):
            continue
        if not zeros and not _ZEROED.search(event.unit.text):
            said = "nothing calls zero_grad()"
        elif zeros and len(_ZEROED.findall(event.unit.text)) == len(zeros) and _once_before(zeros, step, backward):
            said = "zero_grad() is called once, before the loop"
        else:
            continue
        yield Problem(
            backward.node,
            f"gradients are added to those of all steps before: {said}",
            "Call optimizer.zero_grad() before backward().",
        )
        return


def _once_before(zeros: list[GradientStep], step: GradientStep, backward: GradientStep) -> bool:
    lines = [getattr(s.node, "lineno", 0) for s in (*zeros, step)]
    return all(line < getattr(step.loops[-1], "lineno", 0) for line in lines[:-1]) and not backward.called


@rule(
    "LOS407",
    "zero-grad-before-step",
    on="step",
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
def zero_grad_before_step(event: FlowEvent) -> Iterator[Problem]:
    """zero_grad() between backward() and step().

    The gradients are gone before they are used.
    """
    frame = event.frame
    here = [s for s in frame.steps if s.loops == tuple(frame.loops) and s.tests == tuple(frame.tests) and not s.called]
    before = [s for s in here if s.node is not event.node and s.kind in ("backward", "step", "zero")]
    before = [s for s in before if s.kind != "zero" or s.name == event.name]
    if len(before) >= 2 and before[-1].kind == "zero" and before[-2].kind == "backward":
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
def requires_grad_forced(event: FlowEvent) -> Iterator[Problem]:
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
            if _cut_loss(held):
                yield Problem(
                    event.node, "requires_grad on a loss hides that its graph was cut", "Find where the graph ends."
                )
    elif event.name == "requires_grad_" and _cut_loss(event.value):
        yield Problem(
            event.node, "requires_grad_() on a loss hides that its graph was cut", "Find where the graph ends."
        )


@rule(
    "LOS409",
    "backward-after-no-grad",
    on="backward",
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
def backward_after_no_grad(event: FlowEvent) -> Iterator[Problem]:
    """backward() on a loss computed under no_grad(), or on predictions that were.

    Nothing was recorded, so there is nothing to go back through.
    """
    losses = [loss for loss in losses_in(event.value) if loss.const.facts.framework == "torch"]
    if not losses or len(losses) != len(losses_in(event.value)):
        return
    if all(loss.no_grad for loss in losses):
        said = "the loss was computed under no_grad(): it has no graph"
    elif all(_without_graph(loss) for loss in losses):
        said = "the model was run under no_grad(): its output has no graph"
    else:
        return
    yield Problem(event.node, said, "Compute it outside of no_grad().")


def _without_graph(loss: Value) -> bool:
    values = list(loss.const.kw.values())
    prediction = loss.const.argument(*PREDICTION)
    made = prediction is not None and prediction.origin.no_grad and prediction.origin.op not in ("param", "unknown")
    others = [v for v in values if v is not prediction]
    return made and all(v.origin.no_grad or v.origin.op in ("param", "unknown", "literal", "const") for v in others)
