"""Modules for the losses of the catalogue whose names `torch.nn` has not taken, made from the records.

`SigmoidFocalLoss`, `DiceLoss`, `ArcFaceLoss`, `L2Penalty`: the names follow from those of the catalogue. Where torch
has a loss of the same name, that one is reproduced to the letter in `lossary.nn`; `from_record` gives the catalogue's
own meaning of it, with `weight` and `mask`. The types that editors read are in ``catalogue.pyi``, which
``docs/make_stubs.py`` writes from the same records.
"""

from __future__ import annotations

from typing import Any

from lossary.catalogue import Loss, get
from lossary.nn.from_catalogue import ClassifierLoss, RecordLoss, module_class
from lossary.nn.modules import __all__ as reproduced
from lossary.nn.naming import ALSO_KNOWN_AS as ALSO_KNOWN_AS
from lossary.nn.naming import base_name, class_aliases, classes, module_name
from lossary.nn.penalties import ParameterPenalty

_BASES: dict[str, type[RecordLoss]] = {base.__name__: base for base in (RecordLoss, ClassifierLoss, ParameterPenalty)}


def base_of(loss: Loss | str) -> type[RecordLoss]:
    """Return the class that the module of a loss derives from."""
    return _BASES[base_name(loss)]


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
for _name, _loss in classes(reproduced).items():
    globals()[_name] = module_class(_loss, base_of(_loss), __name__)
for _name, _module in class_aliases().items():
    globals()[_name] = globals()[_module]
__all__ += [*classes(reproduced), *class_aliases()]
__all__.sort()
