"""Losses by task: which losses suit regression, classification and so on, derived from the records."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, Protocol

from lossary.catalogue.signatures import Signature


class Facts(Protocol):
    """The facts of a record that tell which tasks its loss suits."""

    @property
    def signature(self) -> str:
        """The signature of the loss, as the record has it."""

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """The alternatives of the signature, parsed."""

    @property
    def input(self) -> str:
        """The input convention: logit, probability, real ..."""

    @property
    def target(self) -> str | None:
        """The domain of the target, as the record has it; None if there is no target."""

    @property
    def family(self) -> str:
        """The family of losses that it belongs to."""

    @property
    def wrt(self) -> tuple[str, ...]:
        """The arrays that have a gradient."""

    @property
    def optional(self) -> tuple[str, ...]:
        """The arrays that may be left out."""

    @property
    def properties(self) -> Set[str]:
        """The properties: convex, robust ..."""

    @property
    def coupling(self) -> Any:
        """What couples a batch, or None."""


def has_labels(record: Facts) -> bool:
    """Whether an example has one class label, so that examples can be left out by it."""
    labelled = record.target is not None and record.target.startswith("{0, ..., c-1}")
    return labelled and any(signature.inputs[1] == () for signature in record.signatures)


def _pointwise(record: Facts) -> bool:
    return record.signature == "(),()->()" and record.coupling is None


TASKS: dict[str, Callable[[Facts], bool]] = {
    # An unbounded prediction and any number as target.
    "regression": lambda r: _pointwise(r) and r.input == "real" and r.target == "real",
    # Log of the mean as prediction; counts, or any non-negative amount, as target.
    "count": lambda r: r.input == "log-rate" and r.target in ("{0, 1, 2, ...}", "[0, inf)"),
    "positive": lambda r: r.input == "log-rate" and r.target in ("(0, inf)", "[0, inf)"),
    "binary": lambda r: _pointwise(r) and r.input in ("logit", "score") and r.target in ("{0, 1}", "[0, 1]", "{-1, 1}"),
    "multiclass": lambda r: r.input in ("logit", "score") and has_labels(r) and "evaluation" not in r.properties,
    "multilabel": lambda r: r.signature.startswith("(c),(c)") and r.target in ("{0, 1}", "[0, 1]"),
    "probability": lambda r: r.input in ("probability", "log-probability") and r.family != "segmentation",
    "distribution": lambda r: len(r.wrt) > 1 and r.family == "likelihood",
    "embedding": lambda r: r.input == "embedding" and r.coupling is not None,
    "segmentation": lambda r: r.family == "segmentation",
    "sequence": lambda r: bool(r.optional),
    "penalty": lambda r: r.family == "penalty",
}
