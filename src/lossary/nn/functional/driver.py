"""The driver of the drop-ins: inspects a call, tries the call cache, else computes it by torch's conventions.

Each public function of `lossary.nn.functional` maps its arguments to the arrays and parameters of a `DropIn`, its row
of the table of drop-ins, which holds its record and its conventions. `DropIn.compute` is the one way to the number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from lossary.backends.torch import fast
from lossary.backends.torch.tensors import observed
from lossary.catalogue import Loss, get
from lossary.evaluate import transforms
from lossary.evaluate.call import prepare
from lossary.misuse.callsites import Wording, inspect_call
from lossary.nn.functional.conventions import REDUCTIONS, chosen, reduced, under_autocast

Arrays = Sequence[Tensor]
Params = Mapping[str, Any]
# When autocast computes in float32: losses that torch composes of smaller operations follow its rules for those, which
# differ between devices.
Autocast = Literal["always", "not on cpu", "never"]

NO_PARAMS: Params = {}


class DropIn:
    """One of torch's losses: the record that computes it, and how its calls reach the record.

    Parameters
    ----------
    name: of the function, with which its errors begin.
    record: what computes it, a loss of the catalogue or one of `lossary.nn.torch_variants`.
    wording: how the function names the arrays, for the checks of misuse; None where no rule applies to the loss.
    inspected: the loss of the catalogue whose rules of misuse apply, where the record is a variant of it.
    check: whether arrays outside the record's domains take the general path, which refuses them.
    arrange: lays the arrays out as the record has them.
    class_weights: whether weights are one for each class, a parameter of the record, and not factors of its values.
    mean_by_weight: whether the mean divides by the class weights of the labels.
    listed: whether the second array lists class indices, in each row up to the first -1.
    """

    # The call cache: None where a call takes the general path.
    cached: Callable[..., Tensor | None] = staticmethod(fast.reduced)

    def __init__(
        self,
        name: str,
        record: Loss | str,
        wording: Wording | None = None,
        *,
        inspected: str | None = None,
        check: bool = False,
        arrange: Callable[[Arrays], Arrays] | None = None,
        class_weights: bool = False,
        mean_by_weight: bool = False,
        listed: bool = False,
    ) -> None:
        # Looked up once, so that a compiler tracing a call finds the record and not the catalogue.
        self.name, self.record, self.wording = name, get(record), wording
        self.inspected = self.record if inspected is None else get(inspected)
        self.inspects_params = inspected is None
        self.check, self.arrange, self.listed = check, arrange, listed
        self.class_weights, self.mean_by_weight = class_weights, mean_by_weight

    def compute(
        self,
        arrays: Arrays,
        params: Params,
        reduction: str,
        size_average: bool | None = None,
        reduce: bool | None = None,
        weight: Tensor | None = None,
        denominator: int | None = None,
    ) -> Tensor:
        """Return the reduced loss; a mean divides by `denominator` in place of the number of values."""
        if size_average is not None or reduce is not None or reduction not in REDUCTIONS:
            reduction = chosen(size_average, reduce, reduction)
        if self.wording is not None:
            inspected_params = params if self.inspects_params else NO_PARAMS
            inspect_call(self.inspected, arrays, inspected_params, wording=self.wording)
        if weight is None or self.class_weights:
            found = self.cached(
                self.record,
                arrays if self.arrange is None else self.arrange(arrays),
                params,
                reduction,
                denominator,
                self.check,
                weight,
                weight is not None and self.mean_by_weight,
                self.listed,
            )
            if found is not None:
                return found
        return self.general(arrays, params, reduction, weight, denominator)

    def general(
        self, arrays: Arrays, params: Params, reduction: str, weight: Tensor | None, denominator: int | None
    ) -> Tensor:
        """Return the reduced loss of any arrays that torch takes; refuse others."""
        raise NotImplementedError


# Refuses, broadcasts and promotes the arrays of a call of a named function; returns them, and the type of the answer.
Prepare = Callable[[str, Arrays, Params], tuple[Arrays, torch.dtype]]


@dataclass(frozen=True)
class EntryWeights:
    """How factors of the values enter a loss.

    fit: refuses or broadcasts weights, given the name of the function, that of the argument, the weights and the input.
    divides: whether the mean divides by their sum, and not by the number of values.
    promotes: whether their type takes part in that of the answer.
    autocast: when autocast answers in float32.
    """

    fit: Callable[[str, str, Tensor, Tensor], Tensor]
    divides: bool = False
    promotes: bool = True
    autocast: Autocast = "always"


class EntryLoss(DropIn):
    """A drop-in with one value per entry of its broadcast arrays.

    `prepare` makes the arrays ready; `weights` says how factors of the values enter, if the function takes any.
    """

    def __init__(
        self,
        name: str,
        record: Loss | str,
        prepare: Prepare,
        wording: Wording | None = None,
        *,
        weights: EntryWeights | None = None,
        autocast: Autocast = "always",
        **others: Any,
    ) -> None:
        super().__init__(name, record, wording, **others)
        self.prepare, self.weights, self.autocast = prepare, weights, autocast

    def general(
        self, arrays: Arrays, params: Params, reduction: str, weight: Tensor | None, denominator: int | None
    ) -> Tensor:
        """Return the reduced loss of arrays of any shapes and types that torch takes."""
        input, autocast = arrays[0], self.autocast
        arrays, dtype = self.prepare(self.name, arrays, params)
        if weight is not None and self.weights is not None:
            weight, autocast = self.weights.fit(self.name, "weight", weight, input), self.weights.autocast
            dtype = torch.promote_types(dtype, weight.dtype) if self.weights.promotes else dtype
        if autocast == "always" or (autocast == "not on cpu" and not input.is_cpu):
            dtype = under_autocast(dtype, input.device.type)
        if weight is None:
            return of_values(self.record, arrays, params, reduction, dtype, denominator)
        values = values_of(self.record, arrays, params) * weight
        divides = self.weights is not None and self.weights.divides
        return reduced(values, reduction, dtype, weight.sum(dtype=values.dtype) if divides else None)


def values_of(loss: Loss, arrays: Arrays, params: Params) -> Tensor:
    """Return one value per example for any numbers: torch checks shapes and types, not domains."""
    return transforms.values(loss, arrays, params, check=False)


def added_up(reduction: str) -> bool:
    """Whether values may be added up in the pass that computes them: not where a trace or transform sees them."""
    return reduction != "none" and not (torch.compiler.is_compiling() or observed())


def of_values(
    loss: Loss,
    arrays: Arrays,
    params: Params,
    reduction: str,
    dtype: torch.dtype,
    denominator: Tensor | int | None = None,
) -> Tensor:
    """Reduce a loss's values, which are not stored where they may be added up in the pass that computes them.

    As in torch the mean of nothing is NaN, and so is one whose `denominator` is 0.
    """
    if added_up(reduction) and arrays[0].numel() and dtype.is_floating_point:
        call = prepare(loss, arrays, params, check=False, defer_checks=True)
        kind: Any = reduction
        value: Tensor = transforms.reduced_value(call, kind, denominator if reduction == "mean" else None)
        return value.to(dtype)
    return reduced(values_of(loss, arrays, params), reduction, dtype, denominator)
