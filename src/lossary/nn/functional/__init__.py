"""The loss functions of `torch.nn.functional`, by the same names, with the catalogue's mathematics.

Arguments, defaults, broadcasting, reductions, warnings and types are torch's; value and gradient come from the
catalogue's definitions. Where the two differ, and why, is said in `docs/torch.md` and `docs/numerics.md`. Everything
else of `torch.nn.functional` is found here unchanged, so ``from lossary.nn import functional as F`` is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as theirs

from lossary.nn.ctc import ctc_loss as ctc_loss
from lossary.nn.functional import classification, distributions, embeddings, margins, regression
from lossary.nn.functional.classification import *  # noqa: F403
from lossary.nn.functional.distributions import *  # noqa: F403
from lossary.nn.functional.embeddings import *  # noqa: F403
from lossary.nn.functional.margins import *  # noqa: F403
from lossary.nn.functional.regression import *  # noqa: F403
from lossary.nn.linear import linear_cross_entropy as linear_cross_entropy

if TYPE_CHECKING:  # all the rest has torch's types, and torch's functions are as public as these
    from torch.nn.functional import *  # type: ignore[assignment]  # noqa: F403
else:  # a checker knows the names from above: to it what is not there is a mistake
    _FAMILIES = (classification, distributions, embeddings, margins, regression)
    __all__ = sorted(["ctc_loss", "linear_cross_entropy", *(name for family in _FAMILIES for name in family.__all__)])
    for _name in __all__:  # the path by which a pickle, an exported graph and a traceback name the function
        globals()[_name].__module__ = __name__

    def __getattr__(name: str) -> Any:
        return getattr(theirs, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(theirs)})
