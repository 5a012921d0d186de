"""A module for every loss of the catalogue whose name `torch.nn` has not taken, made from the records.

`SigmoidFocalLoss`, `DiceLoss`, `ArcFaceLoss`, `L2Penalty`: the names follow from those of the catalogue. Where torch
has a loss of the same name, that one is reproduced to the letter in `lossary.nn`; `from_record` gives the catalogue's
own meaning of it, with `weight` and `mask`. The types that editors read are in ``catalogue.pyi``, written by
``docs/make_stubs.py`` from the same records.
"""

from __future__ import annotations

from typing import Any

import torch

from lossary.catalogue import Loss, get, names
from lossary.nn.penalties import ParameterPenalty
from lossary.nn.records import ClassifierLoss, RecordLoss, class_name, module_class, module_name

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
_TAKEN = {name.lower() for name in torch.nn.modules.loss.__all__}


def base_of(loss: Loss | str) -> type[RecordLoss]:
    """Return what kind of module a loss becomes: one on parameters, one that holds its classes, or one on arrays."""
    loss = get(loss)
    if loss.family == "penalty":
        return ParameterPenalty
    if loss.input == "similarity" and loss.coupling is None and loss.target == "{0, ..., c-1}":
        return ClassifierLoss
    return RecordLoss


def from_record(loss: Loss | str, /, *constants: Any, **params: Any) -> RecordLoss:
    """Return a module of any loss, by name or record: of the catalogue, bound, or entered by a user's own ``@loss``.

    It takes the loss's arrays as the loss itself does; `params` are its parameters and `reduction`.

    >>> import lossary
    >>> from_record("huber", delta=0.5)
    HuberLoss(delta=0.5, reduction='mean')
    >>> from_record(lossary.pinball.bind(quantile=0.9), reduction="sum")
    PinballLoss(quantile=0.9, reduction='sum')
    """
    record = get(loss)
    known = globals().get(module_name(record))
    if known is not None and known.loss.define is record.define and base_of(record) is RecordLoss:
        made: RecordLoss = known(*constants, **{**record.bound, **params})
        return made
    return RecordLoss(record, *constants, **params)


__all__ = ["from_record"]
for _name in names():
    _module = module_name(get(_name))
    if _module.lower() not in _TAKEN:
        globals()[_module] = module_class(get(_name), base_of(get(_name)), __name__)
        __all__ += [_module]
for _name in ALSO_KNOWN_AS:
    globals()[class_name(_name)] = globals()[module_name(get(_name))]
    __all__ += [class_name(_name)]
__all__.sort()
