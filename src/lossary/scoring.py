"""Moved to `lossary.compare.metrics`."""

from lossary.compare.metrics import (
    BINS,
    FOR_CLASSES,
    FOR_NUMBERS,
    Metric,
    as_rows,
    calibration,
    confusion,
    metric,
    metrics_for,
    paired_interval,
    softmax,
    temperature_and_bias,
)

__all__ = [
    "BINS",
    "FOR_CLASSES",
    "FOR_NUMBERS",
    "Metric",
    "as_rows",
    "calibration",
    "confusion",
    "metric",
    "metrics_for",
    "paired_interval",
    "softmax",
    "temperature_and_bias",
]
