"""Lossary: the reference library of loss functions.

Every loss is written once, as mathematics: value, hand-derived gradient, curvature.

>>> import lossary
>>> values = lossary.huber([0.5, 3.0], [0.0, 0.0])          # one value per example
>>> float(lossary.mean(values))                              # the reduction is explicit
1.3125
>>> value, grad = lossary.huber.value_and_grad([0.5, 3.0], [0.0, 0.0], reduction="mean")
>>> grad
array([0.25, 0.5 ])
"""

import sys as _sys

from lossary import _attributes
from lossary._version import __version__ as __version__
from lossary.backends import installed as _installed
from lossary.catalogue import Loss as Loss
from lossary.catalogue import get as get
from lossary.catalogue import names as names
from lossary.catalogue import search as search
from lossary.errors import LossMisuseWarning as LossMisuseWarning
from lossary.evaluate import hooks as _hooks
from lossary.evaluate import transforms as _transforms
from lossary.evaluate.reduction import mean as mean
from lossary.evaluate.reduction import total as total
from lossary.evaluate.transforms import grad_hess as grad_hess
from lossary.evaluate.transforms import hess as hess
from lossary.evaluate.transforms import value as value
from lossary.evaluate.transforms import value_and_grad as value_and_grad
from lossary.head.api import linear as linear
from lossary.head.api import linear_value_and_grad as linear_value_and_grad
from lossary.head.api import token_log_probs as token_log_probs
from lossary.inspect.diagnosis import diagnose as diagnose
from lossary.inspect.explanation import explain as explain
from lossary.inspect.watching import watch as watch
from lossary.losses import *
from lossary.misuse import callsites as _callsites
from lossary.settings import checks as checks
from lossary.testing import check_grad as check_grad
from lossary.toolkit.class_weights import class_weights as class_weights
from lossary.toolkit.padded_sequences import causal_lm_cross_entropy as causal_lm_cross_entropy
from lossary.toolkit.padded_sequences import padded_sequence_cross_entropy as padded_sequence_cross_entropy
from lossary.toolkit.padded_sequences import sequence_report as sequence_report
from lossary.toolkit.weighted_sum import weighted_sum as weighted_sum

# The composition root: what evaluates losses, which frameworks there are, and what inspects calls.
_installed.register()
Loss.engine = _transforms
_callsites.find_silent()
_hooks.before_call = _callsites.inspect_call


def __getattr__(name: str) -> object:
    if name == "nn":  # the PyTorch drop-ins: torch is imported when they are asked for, not before
        import lossary.nn

        return lossary.nn
    try:
        return _attributes.attribute(name)
    except AttributeError:
        # Python drops this error where the name stands in "from lossary import name", and with it the suggestion.
        importing = _sys._getframe(1).f_code.co_name == "_handle_fromlist"
        if importing and not name.startswith("_") and name not in _attributes.modules():
            raise _attributes.unimportable(name) from None
        raise


def __dir__() -> list[str]:
    return sorted({*globals(), *_attributes.aliases(), "nn"})
