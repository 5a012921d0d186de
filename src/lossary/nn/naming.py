"""The names, base classes and signatures of the PyTorch modules that are made from records.

`lossary.nn.catalogue` makes the classes. ``docs/make_stubs.py`` writes their types where a wheel is built and there is
no torch, so this file imports none and is read there by its path.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence

from lossary.catalogue.domains import annotation
from lossary.catalogue.record import Loss
from lossary.catalogue.registry import get, names

# Names under which a loss is better known than under its own: aliases of the catalogue.
ALSO_KNOWN_AS = (
    "aam_softmax",
    "am_softmax",
    "balanced_softmax",
    "categorical_focal",
    "charbonnier",
    "crammer_singer",
    "focal",
    "gce",
    "jensen_shannon",
    "logistic",
    "quantile",
    "simclr",
    "soft_dice",
    "soft_iou",
    "supervised_contrastive",
    "triplet_hard",
)

# Words of class names that are not merely capitalised.
_SPELLED = """
    AAM AM ArcFace CosFace CPO CRF CTC DPO GCE GRPO IoU IPO JS KL KTO MAPE MSLE NCE NLL NT ORPO PPO RNNT SigLIP SimCLR
    SimPO SupCon
"""
_SPELLING = {word.lower(): word for word in _SPELLED.split()}


def class_name(name: str, ending: str = "Loss") -> str:
    """Return the name of a module in torch's style, for the name or alias of a loss.

    >>> [class_name(name) for name in ("sigmoid_focal", "nt_xent", "js_divergence", "poly_loss")]
    ['SigmoidFocalLoss', 'NTXentLoss', 'JSDivergenceLoss', 'PolyLoss']
    """
    words = name.removesuffix(f"_{ending.lower()}").split("_")
    return "".join(_SPELLING.get(word, word[:1].upper() + word[1:]) for word in words) + ending


def module_name(loss: Loss | str) -> str:
    """Return the name of a loss's module: a penalty is called one.

    >>> import lossary
    >>> module_name(lossary.l1_penalty), module_name(lossary.elastic_net)
    ('L1Penalty', 'ElasticNetPenalty')
    """
    loss = get(loss)
    return class_name(loss.name, "Penalty" if loss.family == "penalty" else "Loss")


def constants(loss: Loss | str) -> tuple[str, ...]:
    """Return the arrays that are facts of a task rather than of a batch, such as `class_counts`.

    A module is given them once and holds them as buffers.

    >>> import lossary
    >>> constants(lossary.class_balanced), constants(lossary.softmax_cross_entropy)
    (('class_counts',), ())
    """
    loss = get(loss)
    return tuple(name for name in loss.arguments if name.startswith("class_") and name not in loss.wrt)


def base_name(loss: Loss | str) -> str:
    """Return the name of a module's base class: for penalties, for losses on similarities to classes, for all others.

    >>> [base_name(name) for name in ("l2_penalty", "arcface", "huber")]
    ['ParameterPenalty', 'ClassifierLoss', 'RecordLoss']
    """
    loss = get(loss)
    if loss.family == "penalty":
        return "ParameterPenalty"
    if loss.input == "similarity" and loss.coupling is None and loss.target == "{0, ..., c-1}":
        return "ClassifierLoss"
    return "RecordLoss"


def classes(reproduced: Collection[str]) -> dict[str, Loss]:
    """Return the loss of every class by name, except names that `lossary.nn` reproduces from torch."""
    taken = {name.lower() for name in reproduced}
    named = {module_name(name): get(name) for name in names()}
    return {name: loss for name, loss in named.items() if name.lower() not in taken}


def class_aliases() -> dict[str, str]:
    """Return the second names of classes, each with the first."""
    return {class_name(name): module_name(get(name)) for name in ALSO_KNOWN_AS}


# --- signatures -----------------------------------------------------------------------------------------------------


def signature_of_constructor(base: inspect.Signature, loss: Loss | str) -> inspect.Signature:
    """Return how the module of a loss is made, given the signature of its base's ``__init__``; without ``self``."""
    loss = get(loss)
    return _expanded(base, constants(loss), loss, skip=2)


def signature_of_call(base: inspect.Signature, loss: Loss | str) -> inspect.Signature:
    """Return how the module of a loss is called, given the signature of its base's ``forward``; with ``self``."""
    loss = get(loss)
    arrays = [name for name in loss.arguments if name not in constants(loss)]
    return _expanded(base, arrays, None, skip=0, optional=loss.optional)


def _expanded(
    signature: inspect.Signature, arrays: Sequence[str], loss: Loss | None, skip: int, optional: Sequence[str] = ()
) -> inspect.Signature:
    """Return a base's signature with ``*arrays`` and ``**params`` replaced by the names that they stand for."""
    found = list(signature.parameters.values())[skip:]
    before, after = [], []
    for parameter in found:
        if parameter.kind is parameter.VAR_POSITIONAL:
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            note = "Tensor" if loss is None else "Sequence[float] | Tensor"
            before += [inspect.Parameter(name, kind, annotation=note) for name in arrays if name not in optional]
            before += [inspect.Parameter(name, kind, annotation=f"{note} | None", default=None) for name in optional]
        elif parameter.kind is parameter.KEYWORD_ONLY:
            after.append(parameter)
        elif parameter.kind is not parameter.VAR_KEYWORD:
            before.append(parameter)
    for name, default in (loss.defaults if loss else {}).items():
        domain = loss.parameter_domains.get(name) if loss else None
        note = annotation(*domain, default, "float | Tensor", "Sequence[float] | Tensor") if domain else "Any"
        before.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=note))
    return signature.replace(parameters=[*before, *after], return_annotation=signature.return_annotation)
