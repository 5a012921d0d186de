"""Losses as objectives of gradient boosters; see `lossary.integrations.boosting`."""

from lossary.integrations.boosting import CURVATURES as CURVATURES
from lossary.integrations.boosting import Objective as Objective
from lossary.integrations.boosting import catboost as catboost
from lossary.integrations.boosting import hist_gradient_boosting as hist_gradient_boosting
from lossary.integrations.boosting import lightgbm as lightgbm
from lossary.integrations.boosting import xgboost as xgboost

__all__ = ["CURVATURES", "Objective", "catboost", "hist_gradient_boosting", "lightgbm", "xgboost"]
