"""LOS6: names that do not exist, and arguments that no loss takes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from lossary.catalogue.domains import parse_domain
from lossary.errors import nearest
from lossary.lint.flow import FlowEvent
from lossary.lint.known import NAMES
from lossary.lint.records import Fix, Problem, rule
from lossary.lint.rules.common import replace
from lossary.lint.values import Value, number_type
from lossary.lint.vocabulary import is_a_name_of, loss_facts, parameters

_HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n\n"
_LIKE_A_LOSS = re.compile(r"loss|entropy|kl_?div|divergence|nll|hinge|focal|huber|crossentropy", re.IGNORECASE)
# Names of earlier and other versions that their users have.
_ELSEWHERE = frozenset(
    "MSE mse MAE mae MAPE mape MSLE msle KLD kld bce BCE logcosh Reduction LossFunctionWrapper kullback_leibler_divergence "
    "KLDivergence cosine_proximity categorical_hinge CrossEntropyLoss2d MSELoss2d _Loss _WeightedLoss".split()
)


@rule(
    "LOS601",
    "no-such-loss",
    on="name",
    numbers="AttributeError: module 'torch.nn' has no attribute 'HingeLoss'.",
    wrong=_HEAD + "criterion = nn.HingeLoss()\n",
    right=_HEAD + "criterion = nn.MultiMarginLoss()\n",
    near=(
        _HEAD + "criterion = getattr(nn, 'HingeLoss', nn.MultiMarginLoss)()\n",
        _HEAD + "try:\n    criterion = nn.BetterLoss()\nexcept AttributeError:\n    criterion = nn.MSELoss()\n",
    ),
)
def no_such_loss(event: FlowEvent) -> Iterator[Problem]:
    """A loss by a name that the framework has not.

    The list of names is that of PyTorch, Keras, Optax and Lossary themselves. Only names that look like losses are told
    of, so that a later version's layers are not.
    """
    place, _, name = event.name.rpartition(".")
    if place == "lossary":
        import lossary

        known: list[str] = lossary.names()
        exists = not name.endswith("_loss") or hasattr(lossary, name) or loss_facts(event.name) is not None
    elif place in NAMES and place != "optax.losses":
        known = sorted(
            n
            for n in NAMES[place] | (NAMES["optax.losses"] if place == "optax" else frozenset())
            if _LIKE_A_LOSS.search(n)
        )
        exists = is_a_name_of(place, name) or name in _ELSEWHERE or name.startswith("_")
    else:
        return
    if exists or not _LIKE_A_LOSS.search(name) or _tried(event):
        return
    if place in ("torch.nn", "torch.nn.functional") and name.islower() and place == "torch.nn":
        return  # a submodule, such as torch.nn.hypothetical_losses
    alike = nearest(name, known)[:2]
    if not alike:
        bare = re.sub(r"loss$", "", name, flags=re.IGNORECASE).lower()
        alike = [n for n in known if bare and bare in n.lower()][:2]
    hint = f"Did you mean {' or '.join(alike)}?" if alike else f"The losses of {place}: {', '.join(known[:6])}, ..."
    yield Problem(event.node, f"{place} has no {name}", hint)


def _tried(event: FlowEvent) -> bool:
    """Whether the code around is prepared for the name not to be there."""
    text = event.unit.text
    if "AttributeError" not in text and "ImportError" not in text and "hasattr" not in text:
        return False
    return bool(re.search(r"except[^\n]*(AttributeError|ImportError|Exception)|hasattr\(", text))


@rule(
    "LOS602",
    "no-such-option",
    on="call",
    numbers="TypeError: CrossEntropyLoss.__init__() got an unexpected keyword argument 'smoothing'.",
    wrong=_HEAD + "criterion = nn.CrossEntropyLoss(smoothing=0.1)\n",
    right=_HEAD + "criterion = nn.CrossEntropyLoss(label_smoothing=0.1)\n",
    near=(_HEAD + "def make(**options):\n    return nn.CrossEntropyLoss(**options)\n",),
)
def no_such_option(event: FlowEvent) -> Iterator[Problem]:
    """A keyword that the loss does not take.

    Options are those of PyTorch 2.13.
    """
    known = parameters(event.name)
    if known is None or not isinstance(event.node, ast.Call) or event.name.endswith("NLLLoss2d"):
        return
    for keyword in event.node.keywords:
        if keyword.arg is not None and keyword.arg not in known:
            alike = nearest(keyword.arg, known)[:1]
            hint = f"Did you mean {alike[0]}?" if alike else f"It takes {', '.join(known)}."
            yield Problem(keyword.value, f"{event.name.rpartition('.')[2]} has no option {keyword.arg}", hint)


@rule(
    "LOS603",
    "loss-class-called-as-function",
    on="call",
    numbers="nn.MSELoss(a, b) for tensors of more than one value stops: Boolean value of Tensor is ambiguous.",
    wrong=_HEAD
    + "def step(model, x, labels):\n    outputs = model(x)\n    return nn.CrossEntropyLoss(outputs, labels)\n",
    right=_HEAD
    + "def step(model, x, labels):\n    outputs = model(x)\n    return nn.CrossEntropyLoss()(outputs, labels)\n",
    near=(
        _HEAD + "def make(weight, size_average):\n    return nn.CrossEntropyLoss(weight, size_average)\n",
        _HEAD + "def make(weight):\n    return nn.CrossEntropyLoss(weight)\n",
    ),
    fixable=True,
)
def loss_class_called_as_function(event: FlowEvent) -> Iterator[Problem]:
    """A loss class given prediction and target.

    A module is made first, with its options, and then called: nn.MSELoss()(pred, target).
    """
    facts = loss_facts(event.name)
    if (
        facts is None
        or not event.name.startswith("torch.nn.")
        or event.name.startswith("torch.nn.functional.")
        or not event.whole
    ):
        return
    node = event.call
    if len(node.args) != 2 or node.keywords:
        return
    names = [_leaf(a) for a in node.args]
    looks = (
        names[0] in _PREDICTIONS
        or event.args[0].op in ("call", "linear", "conv", "softmax", "sigmoid", "randn", "rand")
    ) and (names[1] in _TRUTHS or event.args[1].op in ("literal", "randn", "rand", "randint"))
    if looks:
        line, column = event.unit.end(node.func)
        from lossary.lint.records import Edit

        fix = Fix("Make it, then call it", (Edit((line, column), (line, column), "()"),), safe=False)
        yield Problem(
            node,
            f"{facts.name} is a class: this makes a loss and calls none",
            f"Write {facts.name}()(prediction, target).",
            fix,
        )


_PREDICTIONS = frozenset(
    "pred preds prediction predictions logits output outputs out y_pred y_hat yhat scores input inputs x a".split()
)
_TRUTHS = frozenset("y y_true label labels target targets gt y_train y_batch b".split())


def _leaf(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id.lower()
    return ""


_REDUCTIONS = {"torch.nn.KLDivLoss": {"batchmean"}, "torch.nn.functional.kl_div": {"batchmean"}}


@rule(
    "LOS604",
    "no-such-reduction",
    on="call",
    numbers="ValueError: average is not a valid value for reduction, when the loss is called.",
    wrong=_HEAD + "criterion = nn.MSELoss(reduction='average')\n",
    right=_HEAD + "criterion = nn.MSELoss(reduction='mean')\n",
    near=(_HEAD + "criterion = nn.KLDivLoss(reduction='batchmean')\n",),
    fixable=True,
)
def no_such_reduction(event: FlowEvent) -> Iterator[Problem]:
    """A reduction that there is not.

    "none", "mean" and "sum", and for KL divergence "batchmean". The mistake shows only when the loss is called.
    """
    value = event.kw.get("reduction")
    if parameters(event.name) is None or value is None or value.op != "const" or not isinstance(event.node, ast.Call):
        return
    known = {"none", "mean", "sum"} | _REDUCTIONS.get(event.name, set())
    if isinstance(value.const, str) and value.const not in known and value.const != "elementwise_mean":
        keyword = next(k for k in event.node.keywords if k.arg == "reduction")
        meant = {"average": "mean", "avg": "mean", "total": "sum"}.get(value.const.lower(), value.const.lower())
        literal = isinstance(keyword.value, ast.Constant)
        fix = (
            Fix(meant, (replace(event.unit, keyword.value, f'"{meant}"'),), safe=False)
            if meant in known and literal
            else None
        )
        yield Problem(keyword.value, f"{value.const!r} is no reduction", f"One of {', '.join(sorted(known))}.", fix)
    elif value.const is None:
        yield Problem(event.node, "None is no reduction", 'Write reduction="none".')


@rule(
    "LOS605",
    "weight-not-a-tensor",
    on="call",
    numbers="TypeError: cannot assign 'list' object to buffer 'weight' (torch Tensor or None required).",
    wrong=_HEAD + "criterion = nn.CrossEntropyLoss(weight=[1.0, 2.0])\n",
    right=_HEAD + "criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]))\n",
    near=(_HEAD + "criterion = nn.CrossEntropyLoss(weight=None)\n",),
    fixable=True,
)
def weight_not_a_tensor(event: FlowEvent) -> Iterator[Problem]:
    """Class weights given as a list or a number.

    PyTorch holds weights as a buffer that moves with the module, and takes only tensors of floating-point numbers.
    """
    if parameters(event.name) is None or not event.name.startswith("torch.nn.") or not isinstance(event.node, ast.Call):
        return
    names = parameters(event.name) or ()
    nodes = {k.arg: k.value for k in event.node.keywords if k.arg}
    nodes |= dict(zip(names, event.node.args, strict=False)) if event.whole else {}
    values = dict(zip(names, event.args, strict=False)) | event.kw
    for name in ("weight", "pos_weight"):
        value, node = values.get(name), nodes.get(name)
        if value is None or node is None:
            continue
        number = value.op == "const" and isinstance(value.const, (int, float)) and not isinstance(value.const, bool)
        array = value.op in ("literal", "tensor_of", "ones", "zeros", "full") and str(value.const).startswith("numpy.")
        array = array or (value.op == "call" and str(value.const).endswith("compute_class_weight"))
        if number or array or (value.op in ("list", "tuple") and value.unit is event.unit):
            fix = None
            listed = isinstance(node, (ast.List, ast.Constant))
            if listed and re.search(r"^import torch\s*$", event.unit.text, re.MULTILINE):
                text = f"torch.tensor({event.unit.source(node)}, dtype=torch.float32)"
                fix = Fix("torch.tensor", (replace(event.unit, node, text),), safe=False)
            said = (
                "Wrap it: torch.tensor([...])."
                if not array
                else "Convert it: torch.as_tensor(weights, dtype=torch.float32)."
            )
            yield Problem(node, f"{name} must be a tensor", said, fix)
        elif number_type(value) == "int" and loss_takes_classes(event.name):
            yield Problem(node, f"{name} must be a tensor of floating-point numbers", "Write 1.0, not 1.")


def loss_takes_classes(name: str) -> bool:
    """Whether a loss looks weights up by class: those it refuses as integers, where others multiply and convert."""
    facts = loss_facts(name)
    return facts is not None and facts.target == "index"


_RANGES = {
    "label_smoothing": "[0, 1]",
    "delta": "(0, inf)",
    "beta": "[0, inf)",
    "eps": "(0, inf)",
    "blank": "[0, inf)",
}


@rule(
    "LOS606",
    "option-out-of-range",
    on="call",
    numbers="label_smoothing=10 stops: label_smoothing must be between 0.0 and 1.0. Got: 10.0.",
    wrong=_HEAD + "criterion = nn.CrossEntropyLoss(label_smoothing=10)\n",
    right=_HEAD + "criterion = nn.CrossEntropyLoss(label_smoothing=0.1)\n",
    near=("import lossary\n\nvalues = lossary.huber([1.0], [0.0], delta=2.0)\n",),
)
def option_out_of_range(event: FlowEvent) -> Iterator[Problem]:
    """An option outside its range.

    For Lossary's losses the ranges are those of the catalogue's records; for PyTorch's those that it refuses.
    """
    ranges: dict[str, str] = {}
    if parameters(event.name) is not None:
        ranges = _RANGES
    elif (
        event.name.startswith("lossary.")
        and (facts := loss_facts(event.name)) is not None
        and facts.framework == "lossary"
    ):
        import lossary

        ranges = {k: str(v) for k, v in lossary.get(facts.name).parameters.items()}
    for name, value in event.kw.items():
        if name in ranges and _is_number(value):
            domain = parse_domain(ranges[name])
            if (
                domain.kind in ("interval", "set", "count", "integer")
                and domain.bounded
                and not domain.contains(value.const)
            ):
                yield Problem(
                    value.node, f"{name}={value.const!r} is outside {domain.text}", f"Choose {name} in {domain.text}."
                )


def _is_number(value: Value) -> bool:
    return value.op == "const" and isinstance(value.const, (int, float)) and not isinstance(value.const, bool)
