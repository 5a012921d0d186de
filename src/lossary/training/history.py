"""The record of a training run: the numbers of each epoch, and why it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Epoch:
    """One pass over the data.

    `loss` is the mean over all examples, each seen with the parameters of its own batch, so it lags behind the
    `validation` loss, which is taken at the end of the epoch (None without validation data). `penalty` is the mean over
    the batches of what `l2` adds, `gradient_norm` that of the Euclidean length of the whole gradient, penalty included.
    `learning_rate` is that of the last step. `seconds` is wall-clock time, validation included.
    """

    epoch: int
    loss: float
    penalty: float
    validation: float | None
    gradient_norm: float
    learning_rate: float
    seconds: float

    @property
    def watched(self) -> float:
        """The number to be minimised: the validation loss if there is one, else training loss and penalty."""
        return self.loss + self.penalty if self.validation is None else self.validation


@dataclass(frozen=True)
class History:
    """The epochs of one training, and why it ended."""

    epochs: Sequence[Epoch]
    stopped: Literal["epochs", "patience", "callback"]

    @property
    def best(self) -> Epoch:
        """The epoch whose `watched` loss is lowest, the first of equals."""
        return min(self.epochs, key=lambda record: record.watched)

    def as_rows(self) -> list[dict[str, Any]]:
        """Return the epochs as dictionaries, ready for a data frame or a table."""
        return [asdict(record) for record in self.epochs]

    def __len__(self) -> int:
        return len(self.epochs)
