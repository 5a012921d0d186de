"""LOS1: what the prediction means. Probabilities where logits are meant, logits where logarithms are."""

from __future__ import annotations

from collections.abc import Iterator

from lossary.lint.flow import FlowEvent
from lossary.lint.records import Problem, rule
from lossary.lint.rules.common import RAW, made, named, where
from lossary.lint.values import Value, axis_of, is_const, last_dimension, meaning, parts
from lossary.lint.vocabulary import (
    KEEPS_MEANING,
    PREDICTION,
)


def _prediction(event: FlowEvent) -> Value | None:
    return event.argument(*PREDICTION)


def _into(event: FlowEvent, inputs: str, ops: frozenset[str] | set[str]) -> Iterator[tuple[Value, object]]:
    if event.facts.input == inputs and (value := _prediction(event)) is not None:
        origin = meaning(value)
        if origin.op in ops:
            yield origin, where(event, *PREDICTION)


@rule(
    "LOS101",
    "softmax-into-cross-entropy",
    on=("loss", "keras-fit"),
    numbers="With 10 classes the loss cannot fall below 1.461, and a confidently wrong example has a gradient of 1.07e-05 "
    "instead of 1.",
    wrong="""
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()

def step(z, y):
    p = torch.softmax(z, 1)
    return criterion(p, y)
""",
    right="""
import torch
from torch import nn

criterion = nn.CrossEntropyLoss()

def step(z, y):
    return criterion(z, y)
""",
    near=(
        """
import torch
from torch import nn

def step(model, x, y, training):
    z = model(x)
    loss = nn.CrossEntropyLoss()(z, y)
    p = torch.softmax(z, 1)
    return loss, p
""",
        """
import torch
import torch.nn.functional as F

def distill(student, teacher):
    return F.cross_entropy(student, F.softmax(teacher, dim=1))
""",
        """
import torch.nn as nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(8, 3)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        z = self.head(x)
        if self.training:
            return z
        return self.softmax(z)

def step(x, y):
    return nn.CrossEntropyLoss()(Net()(x), y)
""",
    ),
)
def softmax_into_cross_entropy(event: FlowEvent) -> Iterator[Problem]:
    """Softmax before a loss that applies softmax itself.

    The loss takes the softmax of the softmax. It still falls at first, so nothing looks wrong; but it has a floor, and
    the gradient nearly vanishes where it is needed most. Pass the logits, and apply softmax only to report
    probabilities.
    """
    if event.kind == "keras-fit":
        if (
            meaning(event.options["activation"]).op == "softmax"
            and event.name == "softmax"
            and event.options["logits"].const is True
        ):
            yield Problem(
                event.node,
                f"from_logits=True, but the model ends in softmax{made(event.options['activation'], event)}",
                "Drop the activation, or from_logits=True.",
            )
        return
    for origin, node in _into(event, "softmax-logits", {"softmax"}):
        yield Problem(
            node,  # type: ignore[arg-type]
            f"{event.facts.name} applies softmax itself, and is given the output of softmax{made(origin, event)}",
            "Pass the logits, as they are before softmax.",
        )


@rule(
    "LOS102",
    "sigmoid-into-bce-with-logits",
    on=("loss", "keras-fit"),
    numbers="The loss cannot fall below 0.3133 where the target is 1, nor below 0.6931 where it is 0.",
    wrong="""
import torch
import torch.nn.functional as F

def step(z, y):
    return F.binary_cross_entropy_with_logits(torch.sigmoid(z), y)
""",
    right="""
import torch
import torch.nn.functional as F

def step(z, y):
    return F.binary_cross_entropy_with_logits(z, y)
""",
    near=(
        "import torch\nimport torch.nn.functional as F\n\ndef step(z, t):\n"
        "    return F.binary_cross_entropy_with_logits(z, torch.sigmoid(t))\n",
    ),
)
def sigmoid_into_bce_with_logits(event: FlowEvent) -> Iterator[Problem]:
    """Sigmoid before a loss that applies sigmoid itself.

    The loss takes the sigmoid of a number in (0, 1), so it can never say "no" with confidence. Pass the logits.
    """
    if event.kind == "keras-fit":
        if (
            meaning(event.options["activation"]).op == "sigmoid"
            and event.name == "sigmoid"
            and event.options["logits"].const is True
        ):
            yield Problem(
                event.node,
                f"from_logits=True, but the model ends in sigmoid{made(event.options['activation'], event)}",
                "Drop the activation, or from_logits=True.",
            )
        return
    for origin, node in _into(event, "sigmoid-logits", {"sigmoid", "softmax"}):
        yield Problem(
            node,  # type: ignore[arg-type]
            f"{event.facts.name} applies sigmoid itself, and is given the output of {origin.op}{made(origin, event)}",
            "Pass the logits, as they are before the activation.",
        )


@rule(
    "LOS103",
    "sigmoid-into-cross-entropy",
    on="loss",
    numbers="Logits in (0, 1) leave 10 classes with a floor of 1.461, and 2 classes with one of 0.3133.",
    wrong="""
import torch
from torch import nn

def step(z, y):
    return nn.CrossEntropyLoss()(torch.sigmoid(z), y)
""",
    right="""
from torch import nn

def step(z, y):
    return nn.CrossEntropyLoss()(z, y)
""",
    near=("import torch\nfrom torch import nn\n\ndef step(z, y):\n    return nn.BCELoss()(torch.sigmoid(z), y)\n",),
)
def sigmoid_into_cross_entropy(event: FlowEvent) -> Iterator[Problem]:
    """Sigmoid before softmax cross-entropy.

    Cross-entropy takes logits of any size and applies softmax. Squeezed into (0, 1) they can differ by 1 at most, so no
    class can become much likelier than the others. For labels that do not exclude each other use BCEWithLogitsLoss.
    """
    for origin, node in _into(event, "softmax-logits", {"sigmoid"}):
        yield Problem(
            node,  # type: ignore[arg-type]
            f"{event.facts.name} applies softmax to logits, and is given the output of sigmoid{made(origin, event)}",
            "Pass the logits; for independent labels use binary cross-entropy with logits.",
        )


@rule(
    "LOS104",
    "nll-on-probabilities",
    on="loss",
    numbers="A model that gives the right class probability 0.8 has a loss of -0.800; the true loss is 0.223.",
    wrong="""
from torch import nn

def step(x, y):
    return nn.NLLLoss()(nn.Softmax(dim=1)(x), y)
""",
    right="""
from torch import nn

def step(x, y):
    return nn.NLLLoss()(nn.LogSoftmax(dim=1)(x), y)
""",
    near=(
        "from torch import nn\n\ndef step(p, y):\n    return nn.NLLLoss()((nn.Softmax(dim=1)(p) + 1e-9).log(), y)\n",
    ),
)
def nll_on_probabilities(event: FlowEvent) -> Iterator[Problem]:
    """NLLLoss on probabilities instead of their logarithms.

    NLLLoss takes no logarithm: it picks an entry and turns its sign. On probabilities that is a bounded, negative
    number, whose gradient does not grow where the model is wrong. Use log_softmax, or CrossEntropyLoss on the logits.
    """
    if event.facts.target == "index":
        for origin, node in _into(event, "log-probability", {"softmax", "sigmoid"}):
            yield Problem(
                node,  # type: ignore[arg-type]
                f"{event.facts.name} expects log-probabilities, and is given the output of {origin.op}{made(origin, event)}",
                "Use log_softmax, or CrossEntropyLoss on the logits.",
            )


@rule(
    "LOS105",
    "nll-on-logits",
    on="loss",
    numbers="For the logits [100, 0] and the right class 0 the loss is -100, and it goes on falling without bound.",
    wrong="""
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

def step(x, y):
    return nn.NLLLoss()(model(x), y)
""",
    right="""
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))

def step(x, y):
    return nn.CrossEntropyLoss()(model(x), y)
""",
    near=("from torch import nn\n\ndef step(model, x, y):\n    return nn.NLLLoss()(model(x), y)\n",),
)
def nll_on_logits(event: FlowEvent) -> Iterator[Problem]:
    """NLLLoss on raw logits.

    Without log_softmax nothing ties the classes together: the loss is the negative logit of the right class, and falls
    to minus infinity by scaling up.
    """
    if event.facts.target == "index" and event.facts.framework != "lossary":
        for origin, node in _into(event, "log-probability", RAW | {"relu"}):
            yield Problem(
                node,  # type: ignore[arg-type]
                f"{event.facts.name} expects log-probabilities, and is given the raw output of a layer{made(origin, event)}",
                "Use CrossEntropyLoss, or put LogSoftmax before.",
            )


@rule(
    "LOS106",
    "probability-loss-on-logits",
    on=("loss", "keras-fit"),
    numbers="BCELoss refuses the logit 2.0: all elements of input should be between 0 and 1. Clipping to [0, 1] gives the "
    "logits 2.0 and 20.0 the same loss.",
    wrong="""
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))

def step(x, y):
    return nn.BCELoss()(model(x), y)
""",
    right="""
from torch import nn

model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))

def step(x, y):
    return nn.BCEWithLogitsLoss()(model(x), y)
""",
    near=(
        "from torch import nn\n\nmodel = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())\n\ndef step(x, y):\n"
        "    return nn.BCELoss()(model(x), y)\n",
        "import keras\n\nmodel = keras.Sequential([keras.layers.Dense(3, activation='softmax')])\n"
        "model.compile(loss='sparse_categorical_crossentropy')\n",
    ),
)
def probability_loss_on_logits(event: FlowEvent) -> Iterator[Problem]:
    """A loss on probabilities given raw logits.

    Nothing keeps a layer's output in [0, 1]. PyTorch stops with an error (on a GPU with a failed assertion that ends the
    process); Keras clips in silence, and what is clipped has no gradient. Use the loss with logits, which is exact, too.
    """
    if event.kind == "keras-fit":
        output = meaning(event.options["activation"])
        if event.options["logits"].const is False and output.op in RAW:
            yield Problem(
                event.node,
                f"the loss expects probabilities, but the model ends without activation{made(output, event)}",
                "Pass from_logits=True to the loss.",
            )
        elif event.options["logits"].const is False and output.op in ("relu", "tanh", "softplus", "log_softmax"):
            yield Problem(
                event.node,
                f"the loss expects probabilities, but the model ends in {output.op}{made(output, event)}",
                f"End in {event.name}, or without activation and with from_logits=True.",
            )
        return
    if event.facts.framework == "torch":
        for origin, node in _into(event, "probability", RAW | {"relu", "log_softmax", "logsigmoid"}):
            said = "the raw output of a layer" if origin.op in RAW else f"the output of {origin.op}"
            yield Problem(
                node,  # type: ignore[arg-type]
                f"{event.facts.name} expects probabilities, and is given {said}{made(origin, event)}",
                "Use BCEWithLogitsLoss, which applies sigmoid itself.",
            )


@rule(
    "LOS107",
    "kl-div-on-probabilities",
    on="loss",
    numbers="For p = [0.9, 0.1] and q = [0.5, 0.5] it gives -1.193 instead of 0.511.",
    wrong="""
import torch
import torch.nn.functional as F

def step(z, q):
    return F.kl_div(F.softmax(z, dim=1), q, reduction="batchmean")
""",
    right="""
import torch
import torch.nn.functional as F

def step(z, q):
    return F.kl_div(F.log_softmax(z, dim=1), q, reduction="batchmean")
""",
    near=(
        "import torch.nn.functional as F\n\ndef step(z, t):\n"
        "    return F.kl_div(F.log_softmax(z, dim=1), F.softmax(t, dim=1), reduction='batchmean')\n",
    ),
)
def kl_div_on_probabilities(event: FlowEvent) -> Iterator[Problem]:
    """KL divergence whose first argument is no logarithm.

    kl_div(input, target) computes target * (log target - input): input must be log-probabilities. With probabilities
    the result is mostly negative, which no divergence is.
    """
    if event.facts.target == "probability":
        for origin, node in _into(event, "log-probability", {"softmax", "sigmoid", *RAW}):
            said = "the raw output of a layer" if origin.op in RAW else f"the output of {origin.op}"
            yield Problem(
                node,  # type: ignore[arg-type]
                f"{event.facts.name} expects log-probabilities, and is given {said}{made(origin, event)}",
                "Use log_softmax for the first argument; the target stays a probability.",
            )


@rule(
    "LOS108",
    "kl-div-log-target",
    on="loss",
    numbers="For two equal distributions [0.5, 0.5] the result is NaN instead of 0.",
    wrong="""
import torch.nn.functional as F

def step(z, t):
    return F.kl_div(F.log_softmax(z, dim=1), F.log_softmax(t, dim=1), reduction="batchmean")
""",
    right="""
import torch.nn.functional as F

def step(z, t):
    return F.kl_div(F.log_softmax(z, dim=1), F.log_softmax(t, dim=1), reduction="batchmean", log_target=True)
""",
    near=(
        "import torch.nn as nn\nimport torch.nn.functional as F\n\ndef step(z, t):\n"
        "    kl = nn.KLDivLoss(reduction='batchmean', log_target=True)\n"
        "    return kl(F.log_softmax(z, dim=1), F.log_softmax(t, dim=1))\n",
    ),
)
def kl_div_log_target(event: FlowEvent) -> Iterator[Problem]:
    """KL divergence whose target is a logarithm, without log_target=True.

    The target is multiplied and its logarithm taken. The logarithm of a negative number is NaN.
    """
    if event.facts.name not in ("kl_div", "KLDivLoss") or not event.whole:
        return
    value = event.argument("target")
    if (
        value is not None
        and meaning(value).op in ("log_softmax", "logsigmoid", "log")
        and (meaning(value).op != "log" or meaning(value).args[0].origin.op in ("softmax", "sigmoid"))
        and event.option("log_target", False) is False
    ):
        yield Problem(
            where(event, "target"),
            f"{event.facts.name} expects a target of probabilities, and is given the output of {meaning(value).op}",
            "Pass log_target=True.",
        )


@rule(
    "LOS109",
    "ctc-without-log-softmax",
    on="loss",
    numbers="On 10 frames of equal logits 0 and 5 classes the loss for a target of 3 is -3.149 instead of 2.882.",
    wrong="""
import torch
import torch.nn.functional as F

def step(z, y, n, m):
    return F.ctc_loss(F.softmax(z, dim=2), y, n, m)
""",
    right="""
import torch
import torch.nn.functional as F

def step(z, y, n, m):
    return F.ctc_loss(F.log_softmax(z, dim=2), y, n, m)
""",
    near=("import torch.nn.functional as F\n\ndef step(z, y, n, m):\n    return F.ctc_loss(z, y, n, m)\n",),
)
def ctc_without_log_softmax(event: FlowEvent) -> Iterator[Problem]:
    """CTC on something else than log-probabilities.

    ctc_loss sums paths of log-probabilities, and does not normalise. On logits or probabilities it gives finite numbers
    that mean nothing, and PyTorch's gradient is right only for log_softmax outputs.
    """
    if event.facts.name in ("ctc_loss", "CTCLoss"):
        for origin, node in _into(event, "log-probability", {"softmax", "sigmoid", *RAW}):
            said = "the raw output of a layer" if origin.op in RAW else f"the output of {origin.op}"
            yield Problem(
                node,  # type: ignore[arg-type]
                f"{event.facts.name} expects log-probabilities, and is given {said}{made(origin, event)}",
                "Apply log_softmax over the classes first.",
            )


@rule(
    "LOS110",
    "log-softmax-into-cross-entropy",
    on="loss",
    numbers="The loss is the same to the last digit; the second log-softmax costs a pass over the logits and a copy of them.",
    wrong="""
import torch.nn.functional as F

def step(z, y):
    return F.cross_entropy(F.log_softmax(z, dim=1), y)
""",
    right="""
import torch.nn.functional as F

def step(z, y):
    return F.nll_loss(F.log_softmax(z, dim=1), y)
""",
    near=("import torch.nn.functional as F\n\ndef step(z, y):\n    return F.cross_entropy(z, y)\n",),
    default=False,
)
def log_softmax_into_cross_entropy(event: FlowEvent) -> Iterator[Problem]:
    """log_softmax before a loss that applies it again.

    Harmless, for log_softmax of log_softmax is log_softmax; but it is wasted, and a sign that somebody was unsure what
    the loss expects. Off by default: select it by its code.
    """
    for origin, node in _into(event, "softmax-logits", {"log_softmax"}):
        yield Problem(
            node,  # type: ignore[arg-type]
            f"{event.facts.name} applies log_softmax itself, and is given its output{made(origin, event)}",
            "Pass the logits, or use NLLLoss.",
        )


@rule(
    "LOS111",
    "relu-before-logit-loss",
    on=("loss", "keras-fit"),
    numbers="Logits that cannot be negative leave a negative example a loss of at least 0.6931, and no gradient once they "
    "are 0.",
    wrong="""
from torch import nn

model = nn.Sequential(nn.Linear(8, 1), nn.ReLU())

def step(x, y):
    return nn.BCEWithLogitsLoss()(model(x), y)
""",
    right="""
from torch import nn

model = nn.Sequential(nn.Linear(8, 1))

def step(x, y):
    return nn.BCEWithLogitsLoss()(model(x), y)
""",
    near=("from torch import nn\n\ndef step(x, y):\n    return nn.MSELoss()(nn.ReLU()(x), y)\n",),
)
def relu_before_logit_loss(event: FlowEvent) -> Iterator[Problem]:
    """ReLU as the last layer before a loss on logits.

    A logit below 0 is how a model says "no". ReLU makes that 0, "perhaps", and passes no gradient back from there.
    """
    if event.kind == "keras-fit":
        output = meaning(event.options["activation"])
        if event.options["logits"].const is True and output.op == "relu" and meaning(output.args[0]).op in RAW:
            yield Problem(
                event.node,
                f"the loss expects logits of either sign, and the last layer is ReLU{made(output, event)}",
                "Leave the last layer without activation.",
            )
        return
    for kind in ("softmax-logits", "sigmoid-logits"):
        for origin, node in _into(event, kind, {"relu"}):
            if origin.args and meaning(origin.args[0]).op in RAW:
                yield Problem(
                    node,  # type: ignore[arg-type]
                    f"{event.facts.name} expects logits of either sign, and the last layer is ReLU{made(origin, event)}",
                    "Leave the last layer without activation.",
                )


@rule(
    "LOS112",
    "poisson-nll-on-rates",
    on="loss",
    numbers="A rate of 100 is taken for a log-rate: exp(100) is infinite in float32.",
    wrong="""
import torch
import torch.nn.functional as F

def step(z, y):
    return F.poisson_nll_loss(torch.exp(z), y)
""",
    right="""
import torch
import torch.nn.functional as F

def step(z, y):
    return F.poisson_nll_loss(z, y)
""",
    near=(
        "import torch\nimport torch.nn.functional as F\n\ndef step(z, y):\n"
        "    return F.poisson_nll_loss(torch.exp(z), y, log_input=False)\n",
    ),
)
def poisson_nll_on_rates(event: FlowEvent) -> Iterator[Problem]:
    """poisson_nll_loss on rates, while its default is log-rates.

    log_input=True is the default: the loss exponentiates its input. Pass the logarithm (more exact), or log_input=False.
    """
    if event.facts.input == "log-rate" and event.whole and event.option("log_input", True) is True:
        value = _prediction(event)
        if value is not None and value.origin.op in ("exp", "softplus", "relu", "softmax", "sigmoid", "square"):
            yield Problem(
                where(event, *PREDICTION),
                f"{event.facts.name} exponentiates its input, and is given the output of {value.origin.op}",
                "Pass the log-rate, or log_input=False.",
            )


_NOT_VARIANCE = frozenset(
    "std sigma stddev std_dev logvar log_var log_variance log_sigma logsigma log_std logstd scale".split()
)


@rule(
    "LOS113",
    "gaussian-nll-not-a-variance",
    on="loss",
    numbers="For a residual of 1 and a standard deviation of 0.5 the loss is 0.6534 instead of 1.3069.",
    wrong="""
import torch.nn.functional as F

def step(mu, y, sigma):
    return F.gaussian_nll_loss(mu, y, sigma)
""",
    right="""
import torch.nn.functional as F

def step(mu, y, sigma):
    return F.gaussian_nll_loss(mu, y, sigma**2)
""",
    near=(
        "import torch\nimport torch.nn.functional as F\n\ndef step(mu, y, log_var):\n"
        "    return F.gaussian_nll_loss(mu, y, log_var.exp())\n",
        "import torch.nn.functional as F\n\ndef step(mu, y, var):\n    return F.gaussian_nll_loss(mu, y, var)\n",
    ),
)
def gaussian_nll_not_a_variance(event: FlowEvent) -> Iterator[Problem]:
    """gaussian_nll_loss given a standard deviation, or a logarithm, as its variance.

    The third argument is a variance. A standard deviation gives finite numbers that fit the wrong spread; a log-variance
    below 0 is refused, or clamped to eps.
    """
    value = event.argument("var")
    if event.facts.name in ("gaussian_nll_loss", "GaussianNLLLoss") and value is not None:
        node = where(event, "var")
        name = "" if hasattr(node, "func") or hasattr(node, "op") else named(node)
        if name in _NOT_VARIANCE or value.origin.op in ("sqrt", "std", "log", *RAW):
            said = f"`{name}`" if name in _NOT_VARIANCE else f"the output of {value.origin.op}"
            yield Problem(
                node,
                f"{event.facts.name} expects a variance, and is given {said}",
                "Square a standard deviation; exponentiate a log-variance.",
            )


@rule(
    "LOS114",
    "softmax-over-one",
    on=("applied", "softmax", "call"),
    numbers="The softmax of any single number is 1.0, and its gradient is 0.",
    wrong="""
from torch import nn

model = nn.Sequential(nn.Linear(8, 1), nn.Softmax(dim=1))

def predict(x):
    return model(x)
""",
    right="""
from torch import nn

model = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())

def predict(x):
    return model(x)
""",
    near=(
        "from torch import nn\n\nscore = nn.Linear(8, 1)\n\ndef attend(x):\n    return nn.Softmax(dim=1)(score(x).squeeze(-1))\n",
        "from torch import nn\n\nscore = nn.Linear(8, 1)\n\ndef attend(x):\n    return nn.Softmax(dim=0)(score(x))\n",
    ),
)
def softmax_over_one(event: FlowEvent) -> Iterator[Problem]:
    """Softmax over a dimension of size 1.

    A single number competes with nothing: its probability is 1 whatever the model says, and nothing is learned. For
    one yes or no use sigmoid.
    """
    if event.kind == "call":
        if event.name == "keras.layers.Dense" and _dense_softmax(event):
            yield Problem(
                event.node, "softmax over a dimension of size 1 is always 1", "Use sigmoid for one yes or no."
            )
        return
    if event.kind == "applied" and (event.name != "softmax" or str(event.value.const).startswith("keras.")):
        return
    value = event.value
    dim = axis_of(value)
    # (N, T, 1) with dim=1 is attention over T: only dim=-1 is certain, and dim=1 in a Sequential that ends there
    ends = event.kind == "applied" and not event.frame.loops and dim == 1 and _sequential(event)
    ends = ends or (dim == 1 and _flat(value))
    if value.args and last_dimension(value.args[0]) == 1 and (dim == -1 or ends):
        yield Problem(event.node, "softmax over a dimension of size 1 is always 1", "Use sigmoid for one yes or no.")


def _dense_softmax(event: FlowEvent) -> bool:
    units = event.kw.get("units") or (event.args[0] if event.args else None)
    activation = event.kw.get("activation") or (event.args[1] if len(event.args) > 1 else None)
    if units is None or activation is None or not is_const(units, 1):
        return False
    return activation.const in ("softmax", "keras.activations.softmax", "tensorflow.nn.softmax")


def _flat(value: Value) -> bool:
    """Whether a value certainly has the shape (N, classes): its layers follow a flattening or an image's pooling."""
    found = parts(value, {"softmax", "linear", "relu", "dropout", "tanh", "sigmoid"} | KEEPS_MEANING)
    return any(part.op in ("flatten", "view", "reshape") and part is not value for part in found)


def _sequential(event: FlowEvent) -> bool:
    import ast

    callee = event.node.func if isinstance(event.node, ast.Call) else None
    held = event.flow.eval(callee, event.frame) if isinstance(callee, (ast.Name, ast.Attribute)) else None
    return held is not None and held.op == "layer" and held.const == "torch.nn.Sequential"


@rule(
    "LOS115",
    "cross-entropy-with-one-logit",
    on="loss",
    numbers="With one class the loss is 0.0 for every input, and so is the gradient.",
    wrong="""
from torch import nn

model = nn.Linear(8, 1)

def step(x, y):
    return nn.CrossEntropyLoss()(model(x), y)
""",
    right="""
from torch import nn

model = nn.Linear(8, 1)

def step(x, y):
    return nn.BCEWithLogitsLoss()(model(x), y)
""",
    near=(
        "from torch import nn\n\nscore = nn.Linear(8, 1)\n\ndef choose(x, y):\n"
        "    return nn.CrossEntropyLoss()(score(x).squeeze(-1), y)\n",
    ),
)
def cross_entropy_with_one_logit(event: FlowEvent) -> Iterator[Problem]:
    """Softmax cross-entropy on a single logit.

    Softmax over one class is 1, its logarithm 0: there is nothing to learn. For two classes use one logit with
    BCEWithLogitsLoss, or two logits here.
    """
    if event.facts.input == "softmax-logits" and event.facts.framework in ("torch", "optax"):
        value = _prediction(event)
        if (
            value is not None
            and _unshaped(value).op in ("linear", "relu", "sigmoid", "tanh")
            and last_dimension(value) == 1
        ):
            yield Problem(
                where(event, *PREDICTION),
                f"{event.facts.name} over one class is always 0: the last layer has one output{made(value, event)}",
                "Use BCEWithLogitsLoss for one logit, or give the layer one output per class.",
            )


def _unshaped(value: Value) -> Value:
    while value.op == "model":
        value = value.args[0]
    return value


@rule(
    "LOS116",
    "softmax-without-dim",
    on=("softmax", "log_softmax", "applied"),
    numbers="On a tensor of shape (2, 3, 4) the implicit dimension is 0: the classes in the last one sum to 2.000 on "
    "average, not to 1.",
    wrong="""
import torch.nn.functional as F

def predict(z):
    return F.softmax(z)
""",
    right="""
import torch.nn.functional as F

def predict(z):
    return F.softmax(z, dim=-1)
""",
    near=("import jax\n\ndef predict(z):\n    return jax.nn.softmax(z)\n",),
)
def softmax_without_dim(event: FlowEvent) -> Iterator[Problem]:
    """PyTorch's softmax without a dimension.

    It guesses: dimension 0 for tensors of 0, 1 or 3 dimensions, else 1. The guess is deprecated, and over a batch of
    sequences it normalises across the batch.
    """
    value = event.value
    node = value.node
    if event.kind == "applied" and (event.name not in ("softmax", "log_softmax") or value.unit is not event.unit):
        return
    source = event.unit.source(node.func) if hasattr(node, "func") else ""
    callee = event.flow.eval(node.func, event.frame) if source and event.kind != "applied" else None
    if event.kind == "applied":
        missing = (
            value.const in ("torch.nn.Softmax", "torch.nn.LogSoftmax", "torch.nn.Softmin") and "dim" not in value.kw
        )
        missing = missing and node is not event.node and len(node.args) == 0 and not node.keywords
    else:
        spelled = callee is not None and callee.op == "name" and str(callee.const).startswith("torch.nn.functional.")
        missing = spelled and len(node.args) == 1 and not node.keywords
    if missing:
        yield Problem(node, "softmax without dim guesses the dimension", "Pass dim=-1, or whichever holds the classes.")


@rule(
    "LOS117",
    "activation-twice",
    on=("softmax", "sigmoid", "applied", "log_softmax"),
    numbers="sigmoid(sigmoid(x)) lies between 0.5 and 0.7311; the softmax of a softmax over 10 classes never exceeds 0.232.",
    wrong="""
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 1), nn.Sigmoid())

def predict(x):
    return torch.sigmoid(model(x))
""",
    right="""
import torch
from torch import nn

model = nn.Sequential(nn.Linear(8, 1))

def predict(x):
    return torch.sigmoid(model(x))
""",
    near=("import torch\n\ndef gate(x):\n    return torch.sigmoid(torch.tanh(x))\n",),
)
def activation_twice(event: FlowEvent) -> Iterator[Problem]:
    """Softmax or sigmoid applied to its own output.

    The second squeezes what the first has squeezed already: no probability can come near 0 or 1. Often the model
    ends in the activation, and the caller applies it once more.
    """
    value = event.value
    if value.args and value.op in ("softmax", "sigmoid", "log_softmax"):
        inner = meaning(value.args[0])
        if inner.op in ("softmax", "sigmoid") and (
            inner.op == value.op or (value.op == "log_softmax" and inner.op == "softmax")
        ):
            yield Problem(
                event.node, f"{value.op} is applied to the output of {inner.op}{made(inner, event)}", "Apply it once."
            )
