"""Drop-in for `torch.nn` with Lossary's losses: migrate by ``from lossary import nn`` for ``from torch import nn``.

The loss modules torch has are replaced by ones of the same name and semantics that compute with the catalogue's
mathematics (`lossary.nn.modules`); every other loss of the catalogue is a module beside them (`lossary.nn.catalogue`).
All the rest of `torch.nn`, from `Module` to `Transformer`, is found here as it is. See `docs/torch.md`.

>>> import torch
>>> from lossary import nn
>>> model, criterion = nn.Linear(3, 2), nn.CrossEntropyLoss(label_smoothing=0.1)
>>> isinstance(criterion, torch.nn.CrossEntropyLoss)
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lossary.errors import require

require("torch", "torch")

import torch.nn as _theirs  # noqa: E402  (first the sentence that says how to install it)

from lossary.nn import functional as functional  # noqa: E402
from lossary.nn.catalogue import *  # noqa: E402, F403
from lossary.nn.distributed import *  # noqa: E402, F403
from lossary.nn.modules import *  # noqa: E402, F403
from lossary.nn.multitask import *  # noqa: E402, F403

if TYPE_CHECKING:  # all the rest has torch's types
    from torch.nn import *  # type: ignore[assignment, no-redef]  # noqa: F403

    # Of two imports of a name one checker holds to the first and another to the last: both are ours.
    from lossary.nn import functional as functional
    from lossary.nn.modules import *  # noqa: F403
else:  # a checker knows the names from above: to it what is not there is a mistake

    def __getattr__(name: str) -> Any:
        return getattr(_theirs, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_theirs)})
