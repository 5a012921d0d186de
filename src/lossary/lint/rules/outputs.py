"""LOS1 and LOS2: what a model ends in, against the loss and the labels it is trained with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lossary.lint.flow import FlowEvent
from lossary.lint.records import Problem, rule
from lossary.lint.rules.common import RAW, made, named, where
from lossary.lint.values import Value, axis_of, is_const, last_dimension, meaning, number_type, parts, same
from lossary.lint.vocabulary import KEEPS_MEANING, PREDICTION, TARGET

_HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n\n"


@rule(
    "LOS118",
    "softmax-over-the-batch",
    on="loss",
    numbers="For the logits [[2, 0], [0, 2]] it normalises over the examples; for 32 examples of equal logits each class gets "
    "1/32, and the loss is 3.466 instead of 0.693.",
    wrong=_HEAD
    + "model = nn.Linear(8, 3)\n\ndef step(x, y):\n    return F.nll_loss(F.log_softmax(model(x), dim=0), y)\n",
    right=_HEAD
    + "model = nn.Linear(8, 3)\n\ndef step(x, y):\n    return F.nll_loss(F.log_softmax(model(x), dim=1), y)\n",
    near=(
        _HEAD + "def one(z, y):\n    return F.nll_loss(F.log_softmax(z, dim=0).unsqueeze(0), y)\n",
        _HEAD + "def one(z, y):\n    return F.nll_loss(F.log_softmax(z.view(-1), dim=0), y)\n",
    ),
)
def softmax_over_the_batch(event: FlowEvent) -> Iterator[Problem]:
    """Softmax over the examples of a batch instead of their classes.

    Dimension 0 is the batch. The probabilities of one class over all examples then sum to 1, so an example's prediction
    depends on which others it is batched with. Use dim=1, or dim=-1.
    """
    value = event.argument(*PREDICTION)
    if value is None or event.facts.target not in ("index", "probability", "zero-one"):
        return
    shaped = [
        part
        for part in parts(value, KEEPS_MEANING)
        if part.op in ("unsqueeze", "view", "reshape", "transpose", "permute", "index")
    ]
    origin = meaning(value)
    if shaped or origin.op not in ("softmax", "log_softmax") or axis_of(origin) != 0 or not origin.args:
        return
    inner = origin.args[0]
    batched = meaning(inner).op in RAW or inner.origin.op == "call"
    flat = any(part.op in ("view", "reshape", "flatten", "squeeze", "index") for part in parts(inner, KEEPS_MEANING))
    if (batched or (event.facts.target == "index" and inner.origin.op in ("param", "unknown"))) and not flat:
        yield Problem(
            where(event, *PREDICTION),
            f"softmax over dimension 0 normalises over the batch, not over the classes{made(origin, event)}",
            "Use dim=1, or dim=-1.",
        )


@rule(
    "LOS119",
    "activation-against-loss",
    on="keras-fit",
    numbers="With sigmoid and one output the categorical cross-entropy is 0.0 for every input. With softmax over 10 classes "
    "the mean of binary cross-entropies at equal probabilities is 0.325 instead of 2.303.",
    wrong="""
import keras

model = keras.Sequential([keras.layers.Dense(10, activation="softmax")])
model.compile(loss="binary_crossentropy")
""",
    right="""
import keras

model = keras.Sequential([keras.layers.Dense(10, activation="softmax")])
model.compile(loss="categorical_crossentropy")
""",
    near=(
        """
import keras

model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
model.compile(loss="binary_crossentropy")
""",
        """
import keras

model = keras.Sequential([keras.layers.Dense(10, activation="sigmoid")])
model.compile(loss="binary_crossentropy")
""",
    ),
)
def activation_against_loss(event: FlowEvent) -> Iterator[Problem]:
    """A last activation that is made for another loss.

    Sigmoid answers several questions with yes or no, and belongs to binary cross-entropy; softmax chooses one of several
    classes, and belongs to categorical cross-entropy. Crossed, the model trains, and is worse at both.
    """
    output = meaning(event.options["activation"])
    if event.options["logits"].const is not False or output.op not in ("sigmoid", "softmax") or output.op == event.name:
        return
    size = last_dimension(output)
    if output.op == "softmax" and size in (1, 2):
        return
    fits = "categorical" if output.op == "softmax" else "binary"
    yield Problem(
        event.node,
        f"the model ends in {output.op}{made(output, event)}, and the loss is made for {event.name}",
        f"Use {fits} cross-entropy, or end in {event.name}.",
    )


def _overlap(quotient: Value) -> Value | None:
    """Return the prediction of a Dice or Jaccard index written by hand: sum(p * t) over sum(p) + sum(t)."""
    top, bottom = quotient.args
    product = next(
        (p for p in parts(top, {"add", "mul"}) if p.op == "sum" and p.args and p.args[0].origin.op == "mul"), None
    )
    if product is None:
        return None
    factors = product.args[0].origin.args
    sums = [p.args[0] for p in parts(bottom, {"add", "sub", "clamp"}) if p.op == "sum" and p.args]
    alone = []
    for part in sums:
        inner = part.origin
        if (inner.op in ("square", "pow", "abs") and inner.args) or (
            inner.op == "mul" and len(inner.args) == 2 and inner.args[0].origin is inner.args[1].origin
        ):
            inner = inner.args[0].origin
        elif inner.op == "add" and len(inner.args) == 2:
            alone += [p.origin for p in inner.args]
            continue
        alone.append(inner)
    if len(factors) == 2 and all(any(f.origin is a for a in alone) for f in factors):
        return factors[0]
    return None


@rule(
    "LOS120",
    "overlap-of-logits",
    on="function",
    numbers="For the logits [5, -5] and the target [1, 0] the Dice index of the probabilities is 0.993, and that of the logits "
    "is 10.0.",
    wrong=_HEAD
    + """def dice_loss(p, t):
    return 1 - 2 * (p * t).sum() / (p.sum() + t.sum() + 1e-6)

def step(model, x, t):
    z = model(x)
    return F.binary_cross_entropy_with_logits(z, t) + dice_loss(z, t)
""",
    right=_HEAD
    + """def dice_loss(p, t):
    return 1 - 2 * (p * t).sum() / (p.sum() + t.sum() + 1e-6)

def step(model, x, t):
    z = model(x)
    return F.binary_cross_entropy_with_logits(z, t) + dice_loss(z.sigmoid(), t)
""",
    near=(
        _HEAD
        + """def dice_loss(z, t):
    p = torch.sigmoid(z)
    return 1 - 2 * (p * t).sum() / (p.sum() + t.sum() + 1e-6)

def step(model, x, t):
    z = model(x)
    return F.binary_cross_entropy_with_logits(z, t) + dice_loss(z, t)
""",
    ),
)
def overlap_of_logits(event: FlowEvent) -> Iterator[Problem]:
    """A Dice or Jaccard index of raw logits.

    The index is a share for numbers in [0, 1]. Of logits it is unbounded, and may be infinite where they cancel; it is
    minimised by scaling, not by fitting. Apply sigmoid or softmax first.
    """
    logits = []
    for step in event.frame.steps:
        if step.kind == "loss" and step.value.const.facts.input in ("sigmoid-logits", "softmax-logits"):
            held = step.value.const.argument(*PREDICTION)
            logits += [held.origin] if held is not None else []
    for step in event.frame.steps:
        if step.kind != "quotient" or (prediction := _overlap(step.value)) is None:
            continue
        if meaning(prediction).op in RAW or any(prediction.origin is z for z in logits):
            yield _raw_overlap(step.node)
            return


def _raw_overlap(node: object) -> Problem:
    return Problem(
        node,  # type: ignore[arg-type]
        "an overlap of raw logits is no share: it is unbounded",
        "Apply sigmoid (or softmax) before the overlap.",
    )


def _class_numbers(labels: Value) -> bool:
    """Whether labels are certainly class numbers: of a data set of Keras, an argmax, an encoder of scikit-learn."""
    origin = labels.origin
    if origin.op == "part" and origin.const == 1:
        source = origin.args[0]
        loaded = source.args[0] if source.op == "part" and source.args else source
        return loaded.op == "call" and bool(
            re.search(r"keras\.datasets\.(mnist|fashion_mnist|cifar10|cifar100|reuters)\.load_data$", str(loaded.const))
        )
    return origin.op in ("argmax", "randint") or (origin.op == "long" and not last_dimension(origin))


@rule(
    "LOS213",
    "labels-against-loss",
    on=("keras-labels", "loss"),
    numbers="sparse_categorical_crossentropy picks one entry of the row, so a one-hot row of 3 labels is read as 3 labels: 0, 1 "
    "and 0.",
    wrong="""
import keras

model = keras.Sequential([keras.layers.Dense(10, activation="softmax")])
model.compile(loss="sparse_categorical_crossentropy")

def train(x, y):
    model.fit(x, keras.utils.to_categorical(y, 10))
""",
    right="""
import keras

model = keras.Sequential([keras.layers.Dense(10, activation="softmax")])
model.compile(loss="categorical_crossentropy")

def train(x, y):
    model.fit(x, keras.utils.to_categorical(y, 10))
""",
    near=(
        """
import keras

model = keras.Sequential([keras.layers.Dense(10, activation="softmax")])
model.compile(loss="sparse_categorical_crossentropy")

def train(x, y):
    model.fit(x, y)
""",
    ),
)
def labels_against_loss(event: FlowEvent) -> Iterator[Problem]:
    """One-hot rows for a loss of class numbers, or class numbers for a loss of rows.

    The sparse losses take one number for each example, the others a row for each. The wrong kind is refused because of
    its shape, or is broadcast and means something else.
    """
    if event.kind == "keras-labels":
        labels = event.options["labels"]
        sparse = "sparse" in event.name.lower()
        if sparse and labels.origin.op == "one_hot":
            yield Problem(
                event.node,
                f"{event.name} takes class numbers, and is given one-hot rows",
                "Use categorical_crossentropy, or the class numbers.",
            )
        elif not sparse and event.name.lower().startswith("categorical") and _class_numbers(labels):
            yield Problem(
                event.node,
                f"{event.name} takes one-hot rows, and is given class numbers",
                f"Use sparse_{event.name.lower() if '_' in event.name else 'categorical_crossentropy'}, or to_categorical.",
            )
        return
    if event.facts.framework not in ("optax", "tensorflow"):
        return
    target = event.argument(*TARGET)
    if target is None:
        return
    if event.facts.target == "index" and target.origin.op == "one_hot":
        yield Problem(
            where(event, *TARGET),
            f"{event.facts.name} takes class numbers, and is given one-hot rows",
            "Pass the class numbers.",
        )
    elif event.facts.target == "probability" and (
        target.origin.op in ("argmax", "randint") or (number_type(target) == "int" and target.origin.op != "one_hot")
    ):
        yield Problem(
            where(event, *TARGET),
            f"{event.facts.name} takes rows of probabilities, and is given class numbers",
            "Use the loss with integer labels, or one_hot.",
        )


def _share(value: Value) -> str:
    """Return "positive" or "negative" for a count of examples, by what it counts or what it is called."""
    origin = value.origin
    if origin.op in ("item", "float", "cast", "long") and origin.args:
        origin = origin.args[0].origin
    if origin.op == "sum" and origin.args:
        inner = origin.args[0].origin
        if inner.op == "compare" and len(inner.args) == 2 and inner.const == "Eq":
            return (
                "positive" if is_const(inner.args[1], 1, 1.0) else "negative" if is_const(inner.args[1], 0, 0.0) else ""
            )
        if inner.op == "sub" and is_const(inner.args[0], 1, 1.0):
            return "negative"
    name = named(value.node)
    if re.search(r"(^|_)neg(ative)?s?($|_)", name):
        return "negative"
    if re.search(r"(^|_)pos(itive)?s?($|_)", name) and "weight" not in name:
        return "positive"
    if origin.op == "sum" and origin.args and re.search(r"^(y|label|target)", named(origin.args[0].node)):
        return "positive"
    if origin.op == "sub" and len(origin.args) == 2 and _share(origin.args[1]) == "positive":
        return "negative"
    return ""


@rule(
    "LOS214",
    "weight-upside-down",
    on="call",
    numbers="Of 90 negatives and 10 positives pos_weight=9.0 gives both kinds the same part of the loss; 10 / 90 = 0.111 gives "
    "the positives 81 times less.",
    wrong=_HEAD
    + "def make(y):\n    pos = (y == 1).sum()\n    neg = (y == 0).sum()\n    return nn.BCEWithLogitsLoss(pos_weight=pos / neg)\n",
    right=_HEAD
    + "def make(y):\n    pos = (y == 1).sum()\n    neg = (y == 0).sum()\n    return nn.BCEWithLogitsLoss(pos_weight=neg / pos)\n",
    near=(_HEAD + "def make(counts):\n    return nn.CrossEntropyLoss(weight=counts.sum() / counts)\n",),
)
def weight_upside_down(event: FlowEvent) -> Iterator[Problem]:
    """A weight that grows with the class's frequency.

    pos_weight multiplies the positive examples: to balance, it is the number of negatives over that of positives. And
    weights of classes are the inverse of their counts. The other way round the rare class counts even less.
    """
    value = event.kw.get("pos_weight") or event.kw.get("weight")
    name = "pos_weight" if "pos_weight" in event.kw else "weight"
    if value is None or not event.name.startswith("torch.nn."):
        return
    while value.op in ("tensor_of", "literal", "item", "list", *KEEPS_MEANING) and value.args:
        value = value.args[0]
    if value.op != "div" or len(value.args) != 2:
        return
    a, b = value.args
    if name == "pos_weight" and _share(a) == "positive" and _share(b) != "positive":
        yield Problem(event.node, "pos_weight is positives over negatives, upside down", "Use negatives / positives.")
    counted = (a.origin.op == "call" and str(a.origin.const).rpartition(".")[2] == "bincount") or re.search(
        r"count|freq", named(a.node)
    )
    total = (
        b.origin.op in ("sum", "total")
        and b.origin.args
        and (same(b.origin.args[0], a) or b.origin.args[0].origin is a.origin)
    )
    if name == "weight" and counted and total:
        yield Problem(event.node, "the weights of the classes are their shares, upside down", "Use total / counts.")
