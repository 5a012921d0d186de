"""The loss functions of `torch.nn.functional`, by the same names, with the catalogue's mathematics.

Arguments, defaults, broadcasting, reductions, warnings and types are torch's; value and gradient come from the
catalogue's definitions. Where the two differ, and why, is said in `docs/torch.md` and `docs/numerics.md`. Everything
else of `torch.nn.functional` is found here unchanged, so ``from lossary.nn import functional as F`` is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as theirs

from lossary.nn.ctc import ctc_loss as ctc_loss
from lossary.nn.functional.classification import binary_cross_entropy as binary_cross_entropy
from lossary.nn.functional.classification import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from lossary.nn.functional.classification import cross_entropy as cross_entropy
from lossary.nn.functional.classification import nll_loss as nll_loss
from lossary.nn.functional.distributions import gaussian_nll_loss as gaussian_nll_loss
from lossary.nn.functional.distributions import kl_div as kl_div
from lossary.nn.functional.distributions import poisson_nll_loss as poisson_nll_loss
from lossary.nn.functional.embeddings import cosine_embedding_loss as cosine_embedding_loss
from lossary.nn.functional.embeddings import triplet_margin_loss as triplet_margin_loss
from lossary.nn.functional.embeddings import triplet_margin_with_distance_loss as triplet_margin_with_distance_loss
from lossary.nn.functional.margins import hinge_embedding_loss as hinge_embedding_loss
from lossary.nn.functional.margins import margin_ranking_loss as margin_ranking_loss
from lossary.nn.functional.margins import multi_margin_loss as multi_margin_loss
from lossary.nn.functional.margins import multilabel_margin_loss as multilabel_margin_loss
from lossary.nn.functional.margins import multilabel_soft_margin_loss as multilabel_soft_margin_loss
from lossary.nn.functional.margins import soft_margin_loss as soft_margin_loss
from lossary.nn.functional.regression import huber_loss as huber_loss
from lossary.nn.functional.regression import l1_loss as l1_loss
from lossary.nn.functional.regression import mse_loss as mse_loss
from lossary.nn.functional.regression import smooth_l1_loss as smooth_l1_loss
from lossary.nn.linear import linear_cross_entropy as linear_cross_entropy

if TYPE_CHECKING:  # all the rest has torch's types
    from torch.nn.functional import *  # type: ignore[assignment]  # noqa: F403
else:  # a checker knows the names from above: to it what is not there is a mistake
    __all__ = [
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "cosine_embedding_loss",
        "cross_entropy",
        "ctc_loss",
        "gaussian_nll_loss",
        "hinge_embedding_loss",
        "huber_loss",
        "kl_div",
        "l1_loss",
        "linear_cross_entropy",
        "margin_ranking_loss",
        "mse_loss",
        "multi_margin_loss",
        "multilabel_margin_loss",
        "multilabel_soft_margin_loss",
        "nll_loss",
        "poisson_nll_loss",
        "smooth_l1_loss",
        "soft_margin_loss",
        "triplet_margin_loss",
        "triplet_margin_with_distance_loss",
    ]
    for _name in __all__:  # what a pickle, an exported graph and a traceback call the function
        globals()[_name].__module__ = __name__

    def __getattr__(name: str) -> Any:
        return getattr(theirs, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(theirs)})
