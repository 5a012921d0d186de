"""LOS2: what the target means. Labels of the wrong type, on the wrong scale, in the wrong place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from lossary.lint.flow import FlowEvent, dotted
from lossary.lint.records import Problem, rule
from lossary.lint.rules.common import named, where
from lossary.lint.values import Value, is_const, last_dimension, layout, literal_numbers, number_type, parts, same
from lossary.lint.vocabulary import KEEPS_MEANING, PREDICTION, TARGET

_STEP = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n\n"


def _target(event: FlowEvent) -> Value | None:
    return event.argument(*TARGET)


@rule(
    "LOS201",
    "integer-target-for-bce",
    on="loss",
    numbers="PyTorch 2.13 stops: Found dtype Long but expected Float.",
    wrong=_STEP + "def step(pred):\n    return nn.BCELoss()(pred, torch.tensor([1, 0, 1]))\n",
    right=_STEP + "def step(pred):\n    return nn.BCELoss()(pred, torch.tensor([1.0, 0.0, 1.0]))\n",
    near=(_STEP + "def step(pred, y):\n    return nn.BCELoss()(pred, y.long().float())\n",),
)
def integer_target_for_bce(event: FlowEvent) -> Iterator[Problem]:
    """Binary cross-entropy with integer targets.

    The target is multiplied with logarithms, and has to have the type of the prediction. PyTorch does not convert it.
    """
    if event.facts.target == "zero-one" and event.facts.framework == "torch" and event.facts.pointwise:
        value = _target(event)
        if value is not None and number_type(value) == "int":
            yield Problem(
                where(event, *TARGET),
                f"{event.facts.name} expects a target of floating-point numbers, and is given integers",
                "Convert it: target.float().",
            )


@rule(
    "LOS202",
    "float-labels-for-cross-entropy",
    on="loss",
    numbers="For labels of shape (8,) PyTorch stops: expected target dtype to be Long or Byte, but got Float.",
    wrong=_STEP + "def step(z, y):\n    return F.cross_entropy(z, y.view(-1).float())\n",
    right=_STEP + "def step(z, y):\n    return F.cross_entropy(z, y.view(-1).long())\n",
    near=(
        _STEP + "def step(z, y):\n    return F.cross_entropy(z, F.one_hot(y, 10).float())\n",
        _STEP + "def step(z, y):\n    return F.cross_entropy(z, y.float())\n",
    ),
)
def float_labels_for_cross_entropy(event: FlowEvent) -> Iterator[Problem]:
    """Class labels turned into floating-point numbers.

    Floating-point targets of cross-entropy are probabilities, one per class. Class numbers must stay integers.
    """
    if event.facts.target == "index" and event.facts.framework == "torch":
        value = _target(event)
        if value is not None and number_type(value) == "float":
            inner = value.args[0] if value.op in ("float", "cast") and value.args else value
            labels = inner.op in ("argmax", "long", "randint") and layout(inner) != "column"
            if layout(value) == "flat" or layout(inner) == "flat" or (labels and inner.op != "long"):
                yield Problem(
                    where(event, *TARGET),
                    f"{event.facts.name} takes floating-point targets for probabilities of classes, and is given class numbers",
                    "Leave the labels integers: target.long().",
                )


@rule(
    "LOS203",
    "integer-one-hot-for-cross-entropy",
    on="loss",
    numbers="PyTorch stops: Expected floating point type for target with class probabilities, got Long.",
    wrong=_STEP + "def step(z, y):\n    return F.cross_entropy(z, F.one_hot(y, 10))\n",
    right=_STEP + "def step(z, y):\n    return F.cross_entropy(z, y)\n",
    near=(_STEP + "def step(z, y):\n    return F.cross_entropy(z, F.one_hot(y, 10).float())\n",),
)
def integer_one_hot_for_cross_entropy(event: FlowEvent) -> Iterator[Problem]:
    """One-hot labels of integers.

    The loss takes class numbers directly, which is faster; one-hot rows are probabilities and must be floating-point.
    """
    if event.facts.input == "softmax-logits" and event.facts.framework == "torch":
        value = _target(event)
        if value is not None and value.op == "one_hot":
            yield Problem(
                where(event, *TARGET),
                f"{event.facts.name} is given one-hot rows of integers",
                "Pass the class numbers themselves.",
            )


@rule(
    "LOS204",
    "zero-one-target-for-margin-loss",
    on="loss",
    numbers="A label of 0 has a soft-margin loss of 0.6931 whatever the score, and no gradient.",
    wrong=_STEP + "def step(score, y):\n    return F.soft_margin_loss(score, (y > 0).float())\n",
    right=_STEP + "def step(score, y):\n    return F.soft_margin_loss(score, (y > 0).float() * 2 - 1)\n",
    near=(_STEP + "def step(a, b):\n    return F.margin_ranking_loss(a, b, torch.tensor([1, -1, 1]))\n",),
)
def zero_one_target_for_margin_loss(event: FlowEvent) -> Iterator[Problem]:
    """Targets 0 and 1 for a loss whose targets are -1 and 1.

    The target is a sign, multiplied with the score. Zero switches the example off.
    """
    if event.facts.target == "sign" and event.facts.framework in ("torch", "optax"):
        value = _target(event)
        if value is None:
            return
        origin = value.origin
        numbers = literal_numbers(value)
        zero_one = origin.op in ("compare", "zeros", "zeros_like") or (bool(numbers) and 0 in (numbers or ()))
        if (
            origin.op == "randint"
            and len(origin.args) > 1
            and is_const(origin.args[0], 0)
            and is_const(origin.args[1], 2)
        ):
            zero_one = True
        if zero_one:
            yield Problem(
                where(event, *TARGET),
                f"{event.facts.name} expects targets -1 and 1, and is given 0",
                "Use 2 * target - 1.",
            )


@rule(
    "LOS205",
    "target-outside-zero-one",
    on="loss",
    numbers="With the logit -10 and the target -1 the loss is -10.000, and it has no lower bound.",
    wrong=_STEP + "def step(z, y):\n    return F.binary_cross_entropy_with_logits(z, 2 * y - 1)\n",
    right=_STEP + "def step(z, y):\n    return F.binary_cross_entropy_with_logits(z, y)\n",
    near=(
        _STEP + "def step(z):\n    return F.binary_cross_entropy_with_logits(z, torch.tensor([0.1, 0.9]))\n",
        _STEP + "def step(z, y):\n    return F.soft_margin_loss(z, 2 * y - 1)\n",
    ),
)
def target_outside_zero_one(event: FlowEvent) -> Iterator[Problem]:
    """Binary cross-entropy with targets outside [0, 1].

    A target is a probability. With -1, or with 255 from an image, the loss can be made as small as one likes by larger
    logits. For targets -1 and 1 there is soft_margin_loss.
    """
    if event.facts.target == "zero-one" and event.facts.input in ("sigmoid-logits", "probability"):
        value = _target(event)
        if value is None:
            return
        origin = value.origin
        numbers = literal_numbers(value)
        outside = bool(numbers) and any(not 0 <= n <= 1 for n in numbers or ())
        if (
            origin.op == "sub"
            and len(origin.args) == 2
            and is_const(origin.args[1], 1, 1.0)
            and origin.args[0].op == "mul"
        ):
            factor = origin.args[0].args
            name = named(getattr(_other(factor), "node", None))
            outside = any(is_const(v, 2, 2.0) for v in factor) and name.startswith(("y", "label", "target", "gt"))
        if outside or origin.op == "sign":
            yield Problem(
                where(event, *TARGET), f"{event.facts.name} expects targets in [0, 1]", "Use the targets 0 and 1."
            )


def _other(pair: tuple[Value, ...]) -> Value:
    return next((v for v in pair if v.op != "const"), pair[0])


_PREDICTED = frozenset(
    "pred preds prediction predictions logits logit output outputs out y_pred y_hat yhat y_preds y_score scores probs".split()
)
_TRUE = frozenset(
    "y y_true label labels target targets gt ground_truth y_test y_train y_batch true_labels groundtruth".split()
)
_TRUE_FIRST = frozenset(
    "log_loss accuracy_score f1_score precision_score recall_score roc_auc_score brier_score_loss hinge_loss "
    "average_precision_score".split()
)


@rule(
    "LOS206",
    "arguments-swapped",
    on=("loss", "call"),
    numbers="For the logit 3 and the target 1 binary cross-entropy with logits is 0.0486; swapped it is -1.6867.",
    wrong=_STEP + "def step(model, x, labels):\n    logits = model(x)\n    return F.cross_entropy(labels, logits)\n",
    right=_STEP + "def step(model, x, labels):\n    logits = model(x)\n    return F.cross_entropy(logits, labels)\n",
    near=(
        _STEP + "def step(y, target):\n    return F.cross_entropy(y, target)\n",
        _STEP + "def step(labels, logits):\n    return F.mse_loss(labels, logits)\n",
    ),
)
def arguments_swapped(event: FlowEvent) -> Iterator[Problem]:
    """Prediction and target in each other's place.

    PyTorch's losses take the prediction first; scikit-learn's and Keras's take the truth first. With two arrays of
    floating-point numbers nothing stops, and the loss means something else.
    """
    if not isinstance(event.node, ast.Call) or len(event.node.args) < 2 or not event.whole:
        return
    first, second = (node.id.lower() if isinstance(node, ast.Name) else "" for node in event.node.args[:2])
    if event.kind == "call":
        names = ("sklearn.metrics.", "keras.losses.")
        short = event.name.rpartition(".")[2]
        truth_first = event.name.startswith(names[0]) and short in _TRUE_FIRST
        truth_first = truth_first or (event.name.startswith(names[1]) and short.islower() and "crossentropy" in short)
        if truth_first and first in _PREDICTED and second in _TRUE:
            yield Problem(event.node, f"{short} takes the truth first: {second}, {first}", "Swap the arguments.")
        return
    if event.facts.framework == "tensorflow" or event.facts.symmetric or event.facts.input == "":
        return
    if first in _TRUE and second in _PREDICTED and not (first == "y" and second in ("out", "output", "outputs")):
        yield Problem(
            event.node, f"{event.facts.name} takes the prediction first: {second}, {first}", "Swap the arguments."
        )


@rule(
    "LOS207",
    "ignore-index-is-a-class",
    on="loss",
    numbers="With two classes and ignore_index=0 every example that counts has the label 1: the loss falls to 0.000 by "
    "answering 1 always.",
    wrong=_STEP
    + "model = nn.Linear(8, 2)\n\ndef step(x, y):\n    return nn.CrossEntropyLoss(ignore_index=0)(model(x), y)\n",
    right=_STEP + "model = nn.Linear(8, 2)\n\ndef step(x, y):\n    return nn.CrossEntropyLoss()(model(x), y)\n",
    near=(
        _STEP
        + "model = nn.Linear(8, 30000)\n\ndef step(x, y):\n    return nn.CrossEntropyLoss(ignore_index=0)(model(x), y)\n",
        _STEP + "def step(z, y):\n    return F.cross_entropy(z, y, ignore_index=-100)\n",
    ),
)
def ignore_index_is_a_class(event: FlowEvent) -> Iterator[Problem]:
    """ignore_index that is one of the classes.

    What is ignored is never learned. A padding label belongs outside 0 ... C-1, such as the default -100. Told of where
    the classes are two, or where the class has a weight of its own.
    """
    ignored = event.option("ignore_index", -100)
    if event.facts.target != "index" or not isinstance(ignored, int) or ignored < 0:
        return
    value = event.argument(*PREDICTION)
    classes = last_dimension(value) if value is not None else None
    weight = event.options.get("weight")
    weights = literal_numbers(weight) if weight is not None else None
    weighted = bool(weights) and ignored < len(weights or ()) and (weights or [0])[ignored] not in (0, 0.0)
    target = _target(event)
    occurs = target is not None and _takes(target, ignored)
    if (classes is not None and ignored < classes <= 2) or weighted or occurs:
        yield Problem(
            event.node,
            f"ignore_index={ignored} is one of the classes, and is never learned",
            "Use a label that is no class, such as -100.",
        )


def _takes(target: Value, label: int) -> bool:
    """Whether a target certainly takes a label: one of the numbers drawn, written out, or decided by a comparison."""
    origin = target
    while origin.op in ("long", "cast", *KEEPS_MEANING) and origin.args:
        origin = origin.args[0]
    if origin.op == "compare":
        return label in (0, 1)
    if origin.op == "randint" and len(origin.args) > 1:
        first, second = origin.args[:2]
        low, high = (first, second) if second.op == "const" else (Value("const", const=0), first)
        numbers = low.op == high.op == "const" and isinstance(low.const, int) and isinstance(high.const, int)
        return numbers and low.const <= label < high.const
    return False


@rule(
    "LOS208",
    "label-out-of-range",
    on="loss",
    numbers="PyTorch stops on the CPU: Target 3 is out of bounds. On a GPU an assertion fails and ends the process.",
    wrong=_STEP
    + "model = nn.Linear(8, 3)\n\ndef step(x):\n    return F.cross_entropy(model(x), torch.tensor([1, 2, 3]))\n",
    right=_STEP
    + "model = nn.Linear(8, 3)\n\ndef step(x):\n    return F.cross_entropy(model(x), torch.tensor([0, 1, 2]))\n",
    near=(_STEP + "def step(z):\n    return F.cross_entropy(z, torch.tensor([1, 2, 3]))\n",),
)
def label_out_of_range(event: FlowEvent) -> Iterator[Problem]:
    """A class number that the last layer has no output for.

    Classes count from 0. Labels 1 ... C are one too high.
    """
    if event.facts.target != "index":
        return
    target, value = _target(event), event.argument(*PREDICTION)
    if target is None or value is None:
        return
    classes = last_dimension(value)
    numbers = literal_numbers(target)
    ignored = event.option("ignore_index", -100)
    if classes is not None and numbers:
        beyond = [n for n in numbers if isinstance(n, int) and not 0 <= n < classes and n != ignored]
        if beyond and number_type(target) == "int":
            yield Problem(
                where(event, *TARGET),
                f"class {beyond[0]} is out of range: the last layer has {classes} outputs, 0 ... {classes - 1}",
                "Count classes from 0.",
            )


@rule(
    "LOS209",
    "multi-hot-for-multilabel-margin",
    on="loss",
    numbers="For the scores [0.1, 0.2, 0.4, 0.8] and the classes {3, 0} it gives 0.850; the multi-hot row [1, 0, 0, 1] of "
    "the same classes gives 2.900.",
    wrong=_STEP + "def step(z):\n    return F.multilabel_margin_loss(z, torch.tensor([[1, 0, 0, 1]]))\n",
    right=_STEP + "def step(z):\n    return F.multilabel_margin_loss(z, torch.tensor([[0, 3, -1, -1]]))\n",
    near=(_STEP + "def step(z, y):\n    return F.multilabel_margin_loss(z, y)\n",),
)
def multi_hot_for_multilabel_margin(event: FlowEvent) -> Iterator[Problem]:
    """multilabel_margin_loss given a multi-hot row.

    It takes a list of class numbers, ended by -1. A row of zeros and ones is read as the classes 0 and 1.
    """
    if event.facts.target == "index-list":
        value = _target(event)
        numbers = literal_numbers(value) if value is not None else None
        multi_hot = bool(numbers) and len(numbers or ()) > 2 and set(numbers or ()) == {0, 1}
        if multi_hot or (value is not None and value.op == "one_hot"):
            yield Problem(
                where(event, *TARGET),
                f"{event.facts.name} expects class numbers ended by -1, and is given zeros and ones",
                "List the classes: [0, 3, -1, -1]. For multi-hot rows use MultiLabelSoftMarginLoss.",
            )


@rule(
    "LOS210",
    "squeeze-without-dim",
    on="loss",
    numbers="The last batch of 1 turns (1, 1) into (), and BCEWithLogitsLoss refuses () against (1,).",
    wrong=_STEP
    + "model = nn.Linear(8, 1)\n\ndef step(x, y):\n    return nn.BCEWithLogitsLoss()(model(x).squeeze(), y)\n",
    right=_STEP
    + "model = nn.Linear(8, 1)\n\ndef step(x, y):\n    return nn.BCEWithLogitsLoss()(model(x).squeeze(-1), y)\n",
    near=(_STEP + "def step(z, y):\n    return nn.BCEWithLogitsLoss()(z.squeeze(), y.squeeze())\n",),
    fixable=True,
)
def squeeze_without_dim(event: FlowEvent) -> Iterator[Problem]:
    """squeeze() without a dimension on a column that goes into a loss.

    It removes every dimension of size 1, the batch as well when one example is left over at the end of an epoch.
    Say which: squeeze(-1). Told of where the layer is known to have one output.
    """
    from lossary.lint.records import Edit, Fix

    for name in PREDICTION[:2]:
        value = event.kw.get(name)
        node = getattr(value, "node", None)
        if value is None or value.op != "squeeze" or len(value.args) != 1 or value.kw or value.unit is not event.unit:
            continue
        if last_dimension(value.args[0]) != 1 or not isinstance(node, ast.Call) or _whole_data(value, event):
            continue
        line, column = event.unit.end(node)
        method = isinstance(node.func, ast.Attribute) and not node.args
        plain = method or event.unit.source(node)[:-1].rstrip()[-1:] not in (",", "(")
        edit = Edit((line, column - 1), (line, column - 1), "-1" if method else ", -1")
        fix = Fix("squeeze(-1)", (edit,), safe=False) if plain and not node.keywords else None
        yield Problem(node, "squeeze() also drops a batch of one", "Use squeeze(-1).", fix)


_DROPS_LAST = re.compile(r"drop_last\s*=\s*True")


def _whole_data(value: Value, event: FlowEvent) -> bool:
    """Whether the batch is never a single example: all the data at once, or a loader that drops what is left over."""
    if _DROPS_LAST.search(event.unit.text):
        return True
    frame = event.frame
    batches = [
        loop
        for loop in frame.loops
        if isinstance(loop, (ast.For, ast.AsyncFor))
        and not (isinstance(loop.iter, ast.Call) and dotted(loop.iter.func).rpartition(".")[2] in ("range", "trange"))
    ]
    if batches:
        return False
    return not any(part.op in ("param", "part") for part in parts(value, lambda part: part.op != "param"))


@rule(
    "LOS211",
    "column-against-row",
    on=("loss", "sub"),
    numbers="Fitting y = 9 x1 - 2 x2 + 10 with (N, 1) against (N,) gives the weights 0.0 and 0.0: the best constant.",
    wrong=_STEP + "model = nn.Linear(2, 1)\n\ndef step(x, y):\n    return F.mse_loss(model(x), y.view(-1))\n",
    right=_STEP
    + "model = nn.Linear(2, 1)\n\ndef step(x, y):\n    return F.mse_loss(model(x).squeeze(-1), y.view(-1))\n",
    near=(
        _STEP + "model = nn.Linear(2, 1)\n\ndef step(x, y):\n    return F.mse_loss(model(x), y.view(-1, 1))\n",
        _STEP + "model = nn.Linear(2, 1)\n\ndef step(x, y):\n    return F.mse_loss(model(x), y)\n",
    ),
)
def column_against_row(event: FlowEvent) -> Iterator[Problem]:
    """A prediction of shape (N, 1) against a target of shape (N,).

    They broadcast to an N by N table in which every prediction meets every target: the model learns the mean and nothing
    else. PyTorch warns for a few losses, and says nothing for the others.
    """
    if event.kind == "sub":
        if len(event.args) != 2:
            return
        a, b = event.args
        pair = {layout(a), layout(b)}
        linear = any(last_dimension(v) == 1 for v in (a, b))
        if pair == {"column", "flat"} and linear:
            yield Problem(event.node, "(N, 1) minus (N,) is an N by N table", "Use squeeze(-1) on the column.")
        return
    if not event.facts.pointwise:
        return
    values = [event.argument(*PREDICTION), _target(event)]
    shapes = {layout(v) for v in values if v is not None}
    if shapes == {"column", "flat"}:
        yield Problem(
            event.node,
            f"{event.facts.name} is given (N, 1) against (N,), which broadcasts to N by N",
            "Use squeeze(-1) on the column.",
        )


@rule(
    "LOS212",
    "labels-shifted-twice",
    on=("unknown-call",),
    numbers="Two shifts make position t predict the token t + 2.",
    wrong="""
import transformers

def step(model, ids):
    return model(input_ids=ids[:, :-1], labels=ids[:, 1:]).loss
""",
    right="""
import transformers

def step(model, ids):
    return model(input_ids=ids, labels=ids).loss
""",
    near=("def step(model, ids):\n    return model(input_ids=ids[:, :-1], labels=ids[:, 1:]).loss\n",),
)
def labels_shifted_twice(event: FlowEvent) -> Iterator[Problem]:
    """Labels shifted by hand for a model that shifts them itself.

    The causal language models of transformers shift `labels` inside. Pass the same tokens as input_ids and labels.
    """
    if not _imports(event, ("transformers", "peft", "trl")):
        return
    labels = event.kw.get("labels")
    inputs = event.kw.get("input_ids") or (event.args[0] if event.args else None)
    if labels is None or inputs is None:
        return
    if event.value.op == "instance" and not any(
        name.startswith(("transformers.", "peft.")) for name in event.value.const.outside()
    ):
        return
    before, after = _cut(inputs), _cut(labels)
    if before is not None and after is not None and before[1:] == (None, -1) and after[1:] == (1, None):
        if same(before[0], after[0]) or named(before[0].node) != "":
            yield Problem(
                where_given(event, "labels"),
                "the model shifts labels itself: these are shifted twice",
                "Pass the tokens unshifted.",
            )


def where_given(event: FlowEvent, name: str) -> ast.AST:
    """Return the expression of a keyword, or the call."""
    return next((k.value for k in event.call.keywords if k.arg == name), event.node)


def _imports(event: FlowEvent, packages: tuple[str, ...]) -> bool:
    for node in ast.walk(event.unit.tree) if event.unit.tree else ():
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] in packages for alias in node.names):
            return True
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in packages:
            return True
    return False


def _cut(value: Value) -> tuple[Value, Any, Any] | None:
    """Return what a slice of the last axis is taken of, and its ends: ``ids[:, :-1]`` gives (ids, None, -1)."""
    while value.op in ("same", "clone", "detach", "cast", "long") and value.args:
        value = value.args[0]
    if value.op != "index" or len(value.args) != 2:
        return None
    index = value.args[1]
    if index.op == "tuple" and index.args:
        index = index.args[-1]
    if index.op != "slice" or not all(part.op == "const" for part in index.args):
        return None
    low, high, step = (part.const for part in index.args)
    return None if step not in (None, 1) else (value.args[0], None if low == 0 else low, high)
