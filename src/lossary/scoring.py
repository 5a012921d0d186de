"""Moved to `lossary.compare.metrics`."""

from lossary.compare.metrics import (
    BINS,
    FOR_CLASSES,
    FOR_NUMBERS,
    FOR_TWO_CLASSES,
    Metric,
    Predictions,
    as_rows,
    calibration,
    confusion,
    metric,
    metrics_for,
    paired_interval,
    parse_cost,
    softmax,
    temperature_and_bias,
    tune_threshold,
)

__all__ = [
    "BINS",
    "FOR_CLASSES",
    "FOR_NUMBERS",
    "FOR_TWO_CLASSES",
    "Metric",
    "Predictions",
    "as_rows",
    "calibration",
    "confusion",
    "metric",
    "metrics_for",
    "paired_interval",
    "parse_cost",
    "softmax",
    "temperature_and_bias",
    "tune_threshold",
]
