"""Losses in scikit-learn: scorers and linear models; see `lossary.integrations.estimators`."""

from lossary.errors import require as _require

_require("sklearn", "sklearn")

from lossary.integrations.estimators import LossClassifier as LossClassifier  # noqa: E402
from lossary.integrations.estimators import LossRegressor as LossRegressor  # noqa: E402
from lossary.integrations.estimators import scorer as scorer  # noqa: E402

__all__ = ["LossClassifier", "LossRegressor", "scorer"]
